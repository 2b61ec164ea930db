/* SPDX-License-Identifier: MIT
 * api_gen.h - the answers to one request: from prompts to jobs, from their tokens to text, calls
 * and reasoning, and from those to whatever an endpoint writes.
 *
 * Does: push a job for each answer, all or none; turn tokens into events as they come; look for
 *       stop texts in what the user sees; keep what was said, for answers that are sent whole and
 *       for those who need all of it at the end; cancel what nobody reads any more.
 * Does not: know any API's format: api_gen_ops writes it.
 * Threads: all on the request's io thread, or the one that runs answers without a request, but for
 *       the wake of its jobs.
 * Owner: itself, from api_gen_start on: it ends when the request and its jobs have ended. */
#ifndef API_API_GEN_H
#define API_API_GEN_H

#include "api/api_ask.h"
#include "api/api_call.h"
#include "api/api_gram.h"
#include "api/api_sight.h"
#include "api/api_stop.h"
#include "chat/chat_parse.h"

#include <stdatomic.h>

struct api_gen;

enum api_finish { API_GOING, API_STOPPED, API_LENGTH, API_CALLS };

struct api_tool_call {
    const char *id; /* of the request's arena */
    struct str name, arguments;
};

/* One answer. */
struct api_choice {
    struct api_gen *gen;
    size_t index;
    const struct tok_ids *prompt;
    struct job job;
    size_t n_read; /* tokens of the job that were taken */

    struct chat_parse *parse; /* chat: parts text, reasoning, calls */
    struct tok_stream plain;  /* completions: text as it is */
    struct api_stop stop;
    struct str content, reasoning; /* all so far */
    struct api_tool_call *calls;
    size_t n_calls;
    size_t n_reasoning; /* tokens */
    size_t n_told;      /* tokens whose logprobs the stream has sent */
    bool in_reasoning;
    struct str *out; /* where a stream writes now; NULL: the answer is sent whole */

    enum api_finish finish;
    const char *stop_text; /* that ended it; NULL: none */
    void *own;             /* the endpoint's */
};

/* How an endpoint writes.  The first seven write to a stream as things come, or are NULL where
 * there is nothing to write; `out` takes whole events. */
struct api_gen_ops {
    void (*begin)(struct api_gen *g, struct str *out);
    void (*content)(struct api_choice *c, struct span piece, struct str *out);
    void (*reasoning)(struct api_choice *c, struct span piece, struct str *out);
    void (*call_begin)(struct api_choice *c, struct api_tool_call *t, struct str *out);
    void (*call_arguments)(struct api_choice *c, struct api_tool_call *t, struct span piece,
                           struct str *out);
    void (*call_end)(struct api_choice *c, struct api_tool_call *t, struct str *out);
    void (*choice_end)(struct api_choice *c, struct str *out);
    void (*end)(struct api_gen *g, struct str *out); /* after the last choice */
    void (*fail)(struct api_gen *g, const struct api_fault *f, struct str *out);
    /* The whole answer, where it is not a stream. */
    json_t *(*whole)(struct api_gen *g);
    /* Called when all answers have ended, before `end` or `whole` and again after each wake of the
     * request until it gives true: what must have happened before the client hears of the end.  A
     * fault that it sets takes the answer's place.  NULL: nothing must. */
    bool (*settle)(struct api_gen *g, struct api_fault *f);
    const char *stream_type;         /* NULL: text/event-stream */
    const char *call_kind;           /* begins the ids of calls; NULL: "call_" */
    void (*drop)(struct api_gen *g); /* frees `own`; may be NULL */
};

struct api_gen {
    struct api_call *call;
    struct arena *arena; /* of the request */
    struct api_model *model;
    struct api_ask ask;
    json_t *body;
    const struct api_gen_ops *ops;
    struct tok_ids *prompts; /* [n_prompts] */
    size_t n_prompts;
    struct api_sight *sight;    /* of the prompt's pictures; NULL: it has none */
    struct tok_ids predicted;   /* of ask.predicted */
    bool chat;                  /* parse answers */
    json_t *callable;           /* chat: the tools that may be called; owned */
    struct str rendered;        /* chat: the prompt as text */
    struct api_gram *gram;      /* what answers must be; NULL: anything */
    struct api_choice *choices; /* [n_choices]: ask.n for each prompt in turn */
    size_t n_choices, n_finished;
    const char *id;
    int64_t created;
    bool begun;       /* the stream */
    bool counted;     /* among its key's answers under way */
    struct str *sink; /* where a whole answer writes as if it were a stream; NULL: nowhere */
    void *own;        /* the endpoint's */
    atomic_int refs;
};

/* Takes over the call's ask and body, and the use of the model.  `kind` begins the id:
 * "chatcmpl-". */
struct api_gen *api_gen_new(struct api_call *c, struct api_model *m, const char *kind,
                            const struct api_gen_ops *ops);
/* Renders and encodes ask.messages as the prompt; false with the call's fault. */
bool api_gen_chat(struct api_gen *g);
/* The texts or token ids of a member as prompts, one or several; false with the call's fault. */
bool api_gen_prompts(struct api_gen *g, const struct api_in *in, const char *name);
/* What answers must be, by ask.guide and, for chat, ask.tools; false with the call's fault. */
bool api_gen_guide(struct api_gen *g);
/* Begins, and answers the request in its time; with the fault where there is one already or where
 * jobs are refused. */
void api_gen_start(struct api_gen *g);
/* Ends one that was not started; its request was answered. */
void api_gen_drop(struct api_gen *g);

/* For a call with a self, whose owner calls these by turns of its `wake`: ops' `whole`, `begin`,
 * `end` and `fail` are not used.  Has the prompt's pictures looked at; false with the call's fault.
 */
bool api_gen_look(struct api_gen *g);
/* Whether they were, or there are none; the call may have a fault then. */
bool api_gen_seen(struct api_gen *g);
/* Begins, once they were; false with the call's fault. */
bool api_gen_begin(struct api_gen *g);
/* Hands what there is to ops, with out; true when all is over, false also with a fault. */
bool api_gen_take(struct api_gen *g, struct str *out, struct api_fault *f);
void api_gen_cancel(struct api_gen *g); /* then it ends soon, with a fault where nothing else was */
/* Lets go of it, at any time after api_gen_new; its self's `release` follows. */
void api_gen_end(struct api_gen *g);

struct api_usage {
    size_t n_prompt, n_cached, n_answer, n_reasoning; /* tokens */
    size_t n_accepted, n_rejected; /* guesses, where the request had a prediction */
};
struct api_usage api_gen_usage(const struct api_gen *g);
/* "stop", "length", "tool_calls"; NULL while it goes on. */
const char *api_finish_name(enum api_finish finish);

#endif
