/* SPDX-License-Identifier: MIT
 * api_chats_int.h - between the files of api_chats.h; no one else includes it. */
#ifndef API_API_CHATS_INT_H
#define API_API_CHATS_INT_H

#include "api/api_chats.h"
#include "api/api_gen.h"
#include "store/store_bus.h"

#include <pthread.h>

#define RUN_ROUNDS_MAX ((size_t)8)  /* of calls, of an answer */
#define RUN_CALLS_MAX  ((size_t)64) /* of all rounds */

/* A call under way. */
struct run_call {
    struct run *run;
    size_t index; /* of the run's calls */
    uint64_t number;
    bool over; /* under mu; from here on the rest is the run's */
    json_t *answer;
    struct errinfo e;
};

/* A generation of a run: a round of the answer, or the title. */
struct run_part {
    struct run *run;
    struct api_self self;
    struct api_call call;
    struct api_gen *gen; /* NULL: not begun, or let go of */
};

enum run_state {
    RUN_READ,  /* the chat is being read */
    RUN_MODEL, /* the model is being opened */
    RUN_FIT,   /* how much of files is read is being stored */
    RUN_SEE,   /* pictures are being looked at */
    RUN_WRITE,
    RUN_CALL,  /* tools are being called */
    RUN_TOLD,  /* what they gave is being stored */
    RUN_KEEP,  /* the end is being stored */
    RUN_TITLE, /* a title is being written */
    RUN_NAMED, /* and stored */
    RUN_OVER   /* stays a while, for who read the chat before its end was stored */
};

struct run {
    struct api_chats *set;
    struct run *next;       /* of all; the thread removes, with mu held */
    struct run *next_woken; /* under mu */
    bool woken, stop;       /* under mu */
    bool gone;              /* the same: another server has it */
    bool kept_end;          /* the same: the end is stored, and error and usage stay as they are */
    struct arena arena;
    const char *owner, *chat;
    struct store_message message; /* as it began */
    json_t *options, *messages;
    struct api_run_opts opts; /* without what it points to */
    struct store_chats read;  /* what the chat had; of read_arena */
    struct arena read_arena;
    size_t *kept;    /* [read.n_files] bytes that are read; 0: all */
    size_t fit_next; /* the next message whose files are looked at */

    /* calls: the thread's; the text under mu */
    json_t *calls;               /* of the message; api_chats_calls.c says what they are */
    const char *calls_text;      /* of the arena */
    json_t *tools, *on, *always; /* what there is, what the chat may use, what without asking */
    struct run_call *under_way;  /* [n_under_way] of this round; of the arena */
    size_t n_under_way;
    size_t n_tokens;   /* that former rounds wrote */
    const char *first; /* the user's first words; NULL: not read */
    bool go_on, title;

    /* the thread's, but content, reasoning, status under mu */
    enum run_state state;
    enum store_status status;
    struct str content, reasoning;
    struct str fresh, fresh_reasoning; /* of this turn */
    struct str scratch;
    size_t n_kept; /* bytes of content and reasoning that are stored */
    char error[512];
    char *usage;                     /* JSON; of the arena */
    struct run_part *answer, *namer; /* answer: of this round; of the arena */
    atomic_int n_gens;

    struct store_op op;
    struct store_chats x;
    struct arena op_arena;
    bool op_sent; /* and not yet looked at */
    bool op_last; /* it stores the end */
    atomic_bool op_over;
    uint64_t kept_ns, retry_ns, over_ns;
};

struct api_chats {
    struct api *api;
    struct api_events *events;
    pthread_t thread;
    bool running;
    pthread_mutex_t mu;
    pthread_cond_t work; /* monotonic */
    struct run *all, *woken;
    bool stop; /* under mu */
};

/* ---- api_chats_events.c, for api_bus.c; on the bus's thread ---- */

void api_events_share(struct api_events *k); /* before there are listeners */
/* Whose events are wanted, and behind which number. */
uint64_t api_events_want(struct api_events *k, struct str *owners);
/* Gives them to the listeners; what is to servers was heard up to the number that comes back. */
uint64_t api_events_came(struct api_events *k, const struct store_news *news);

/* ---- api_chats_run.c, for the others ---- */

void run_wake_locked(struct run *r); /* with mu held */
bool run_stopped(struct run *r);
void run_end(struct run *r, enum store_status status, const char *error);
/* Stores what there is; at the end with how it ended. */
bool run_store(struct run *r, bool last);
bool run_op_came(struct run *r); /* true once for each operation that is over */
void run_op_begin(struct run *r);
bool run_op_send(struct run *r, enum store_what what);
void run_tell_message(struct run *r); /* as the operation gave it */
void run_step(struct run *r);         /* all that may be done now */
void run_free(struct run *r);

/* ---- calls: api_chats_calls.c ---- */

/* What the chat has when it was read. */
void run_calls_read(struct run *r);
/* Those that the round just written ends with; false: there are none, or they are not whole. */
bool run_calls_take(struct run *r);
bool run_calls_wait(const struct run *r);    /* some wait for the user */
bool run_calls_ready(const struct run *r);   /* some may be called */
size_t run_calls_round(const struct run *r); /* of the last; 0: there are none */
/* RUN_CALL's steps: sends what may be called; takes what came: true when all has. */
void run_calls_send(struct run *r);
bool run_calls_came(struct run *r);
void run_calls_text(struct run *r); /* calls have changed */
void run_calls_free(struct run *r);
/* How much of results this model reads. */
void run_calls_fit(struct run *r, const struct api_model *m);

/* ---- what fits: api_chats_fit.c ---- */

/* Bytes of a text so that about n tokens are left, at the end of a line where one is near. */
size_t api_fit_cut(const struct api_model *m, struct span text, size_t n);
/* Finds how much of files is read, where all is too much; the body that comes of it. */
json_t *run_fit(struct run *r, const struct api_model *m);

#endif
