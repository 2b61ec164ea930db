/* SPDX-License-Identifier: MIT
 * api_ask.h - a request for an answer in typed fields, whichever API it came by.
 *
 * JSON ends here, but for what templates and grammars take as JSON: messages, tools, schemas. */
#ifndef API_API_ASK_H
#define API_API_ASK_H

#include "api/api_json.h"
#include "api/api_picture.h"
#include "base/arena.h"
#include "engine/engine.h"
#include "engine/sampler.h"

#define API_N_MAX          128  /* answers to one request */
#define API_STOP_MAX       16   /* texts that end an answer */
#define API_STOP_BYTES_MAX 1024 /* of each */

enum api_guide { API_FREE, API_JSON, API_SCHEMA, API_REGEX, API_GBNF, API_CHOICE };

enum api_tool_choice { API_TOOL_AUTO, API_TOOL_NONE, API_TOOL_REQUIRED, API_TOOL_NAMED };

struct api_ask {
    const char *model;                       /* as asked; NULL: the default */
    const char *messages_name, *format_name; /* how the request calls messages and its format */
    json_t *messages;                        /* chat: [{role, content, ...}], normalised; owned */
    json_t *tools;      /* chat: [{type:"function", function}], or NULL; owned */
    json_t *kwargs;     /* for the template; an object, or NULL; owned */
    json_t *call_names; /* {id: name} of calls in messages, for APIs whose results have ids only;
                         * or NULL; owned */
    size_t arguments_bytes;    /* of calls in messages, as values */
    const char *chat_template; /* chat: must be the model's own; NULL: not said; borrowed */
    const char *reasoning_effort;
    struct span prefill; /* chat: how the answer begins; not part of what is answered; borrowed */

    struct api_picture *pictures; /* [n_pictures] in the order of messages; owned */
    size_t n_pictures;

    struct str predicted; /* chat: what much of the answer may be; empty: not said; owned */
    bool has_prediction;

    struct engine_lora lora; /* adapters by their numbers */
    bool has_lora;           /* said; else the model's name says it */

    struct sampler_params sampling;
    bool seeded;
    size_t n;      /* answers to a prompt */
    int64_t n_max; /* tokens of an answer; -1: not said */
    int64_t n_min;
    bool ignore_end;
    bool logprobs;
    int64_t n_top;
    struct span stop[API_STOP_MAX + 1]; /* and what a transcript ends with (api_gen_chat) */
    size_t n_stop;
    bool stream, include_usage;
    bool echo; /* completions: the prompt, with its logprobs, comes before the answer */

    enum api_guide guide;
    const json_t *schema; /* API_SCHEMA; API_CHOICE: an array of strings */
    bool strict;
    const char *guide_text; /* API_REGEX, API_GBNF */
    enum api_tool_choice tool_choice;
    json_t *tool_names; /* [name] that a choice allows; NULL: all; owned */
    bool parallel_calls;
};

/* What the settings say where a request says nothing. */
void api_ask_init(struct api_ask *ask, const struct sampler_params *defaults);
void api_ask_done(struct api_ask *ask);

/* Sampling, limits, stop texts, structured output: the fields that all of the OpenAI endpoints
 * share.  Borrows from in->o; `a` keeps what must be made. */
bool api_ask_common(struct api_ask *ask, const struct api_in *in, struct arena *a);
/* Texts that end an answer: a string or an array of strings. */
bool api_ask_stop(struct api_ask *ask, const struct api_in *in, const char *name);
/* messages, tools and what belongs to them, of /v1/chat/completions and kin. */
bool api_ask_chat(struct api_ask *ask, const struct api_in *in, struct arena *a);
/* Messages as templates expect them, appended to ask->messages. */
bool api_ask_messages(struct api_ask *ask, const json_t *messages, struct api_fault *f);
/* The arguments of a call in messages: a value where v is the JSON text of an object, else v.  NULL
 * with the fault when those of all calls are too many values. */
json_t *api_ask_arguments(struct api_ask *ask, const json_t *v, const char *param,
                          struct api_fault *f);
/* tools, tool_choice, parallel_tool_calls and the older functions, function_call. */
bool api_ask_tools(struct api_ask *ask, const struct api_in *in);
/* How hard to think, for templates that know of it: Qwen3's enable_thinking and others' effort. */
bool api_ask_effort(struct api_ask *ask, const struct api_in *in, const char *name);
/* The text of part i of a content, appended to out. */
bool api_ask_part(const json_t *part, const char *at, size_t i, struct str *out,
                  struct api_fault *f);
/* The text of a content: a string, null, or an array of text parts; at: "messages[2].content". */
bool api_ask_content(const json_t *content, const char *at, struct str *out, struct api_fault *f);
/* The same as templates take it, of a user's message, which may hold pictures: a text, or parts;
 * NULL with the fault. */
json_t *api_ask_user_content(struct api_ask *ask, const json_t *content, const char *at,
                             struct api_fault *f);

#endif
