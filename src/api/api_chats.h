/* SPDX-License-Identifier: MIT
 * api_chats.h - what the web app's endpoints share: events for all who look, and answers that
 * belong to the server instead of a request.
 *
 * Does: run answers on one thread of its own, which stores what was written about each second and
 *       at the end; tell every listener of an owner what changes; name chats after their first
 *       answer; stop what runs when asked, when its chat goes, and when the server ends.
 * Does not: answer requests (api_chats_*.c do), or resume an answer after a crash: it is found
 *       stopped, with what was stored.
 * Threads: any, but for what says otherwise.  Locks: the runs' before the listeners', before
 * http's. Owner: struct api; it ends after the server takes no requests, before its models. */
#ifndef API_API_CHATS_H
#define API_API_CHATS_H

#include "api/api_stored.h"

struct api_chats;

/* Errors: those of the store, which is told that nothing runs. */
enum err api_chats_open(struct api_chats **out, struct api *api, struct errinfo *e);
void api_chats_drain(struct api_chats *k); /* listeners are sent home; NULL is fine */
bool api_chats_idle(struct api_chats *k);  /* no answer is being written; NULL is */
void api_chats_close(struct api_chats *k); /* NULL is fine */

/* ---- events: api_chats_events.c ---- */

struct api_events;

struct api_events *api_events_new(void);
void api_events_end(struct api_events *k); /* ends all streams, those to come too */
void api_events_free(struct api_events *k);
/* Tells the owner's listeners; o goes.  chat: for those who listen to one only. */
void api_events_tell(struct api_chats *k, const char *owner, const char *chat, const char *name,
                     json_t *o);
/* Ends the owner's streams: who may, connects again. */
void api_events_drop(struct api_chats *k, const char *owner);
/* A stream of events for the call. */
void api_events_listen(struct api_events *k, struct api_call *c, const char *owner,
                       const char *chat);

/* ---- answers: api_chats_run.c ---- */

struct api_run_opts {
    const char *owner, *chat;
    const struct store_message *message; /* the answer, as the store has it, running */
    json_t *options;                     /* taken over; may be NULL */
    bool go_on;                          /* from the content that there is */
    bool title;                          /* the chat wants one */
    uint64_t client;
    struct api_limit *limit;
};

/* Begins; what is copied from o lives on. */
void api_run_start(struct api_chats *k, const struct api_run_opts *o);
/* Stops the answer, or all of a chat (message NULL); how many. */
size_t api_run_stop(struct api_chats *k, const char *owner, const char *chat, const char *message);
/* Whether this server writes it. */
bool api_run_here(struct api_chats *k, const struct store_message *m);
/* What runs knows more than the store: its texts, with memory of `a`. */
void api_run_overlay(struct api_chats *k, struct store_message *messages, size_t n,
                     struct arena *a);

/* ---- answers of other servers: api_chats_others.c ---- */

/* Those that run on another server: their texts as events have them, then `then`. */
void api_others_overlay(struct api_call *c, struct api_stored *s, api_stored_then *then);

/* ---- from a chat to a request: api_chats_prompt.c ---- */

struct api_chats_ask {
    const struct store_chats *x; /* the chat's path; its last message is the one to be written */
    const json_t *options;
    const size_t *kept;  /* of each file of x, bytes that are read; NULL or 0: all */
    const json_t *calls; /* of the message to be written; NULL: none */
    struct span content; /* the same: what it has */
    const json_t *tools; /* as requests have them; NULL: none */
    bool sees;           /* the model takes pictures; else it is told of them */
};
/* Whether a file is a picture: a data address, as the web app keeps it. */
bool api_chats_is_picture(const struct store_file *f);
/* {messages, tools, and the options}, as /v1/chat/completions takes it. */
json_t *api_chats_body(const struct api_chats_ask *a);
/* Where in its message's content a call was made: between characters, also of content that was
 * edited since. */
size_t api_calls_at(const json_t *call, struct span content);
/* What the content says after the last call. */
struct span api_calls_tail(const json_t *calls, struct span content);
/* What options mean there; false with the fault: a name or a value that is not known. */
bool api_chats_options(const json_t *options, json_t *body, struct api_fault *f);
/* The `options` of a body, borrowed from it; false with the fault. */
bool api_chats_read_options(struct api_call *c, const struct api_in *in, json_t **options);
/* The request for a title of a conversation: messages, and the answer to them. */
json_t *api_chats_title_body(const json_t *messages, struct span answer);
/* One short line of what a model or a user wrote; empty where there is nothing in it. */
void api_chats_title(struct span text, struct str *out);

/* ---- calls of tools: api_chats_calls.c ---- */

enum api_allow { API_ALLOW_NO, API_ALLOW_ONCE, API_ALLOW_ALWAYS };

/* Decides about a call of a message's calls, which it changes; false with the fault: there is none,
 * or it was decided.  *waits: others still wait. */
bool api_calls_decide(json_t *calls, const char *id, enum api_allow allow, bool *waits,
                      struct api_fault *f);
/* What the model is told of a call: its result, or why there is none. */
void api_calls_told(const json_t *call, struct str *out);
/* A fence, of ` alone, that is not in the text. */
void api_chats_fence(struct str *out, struct span text);
/* The message's content with its calls in their places. */
void api_calls_markdown(const struct store_message *m, struct str *out);
/* Of {"on": [...], "always": [...]}, which a chat's tools are; never NULL, to let go of. */
json_t *api_chats_tools(const struct store_chat *c, const char *which);

/* ---- JSON and operations: api_chats_json.c ---- */

json_t *api_chats_chat(const struct store_chat *c);
json_t *api_chats_message(const struct store_message *m);
json_t *api_chats_messages(const struct store_message *m, size_t n);

/* Whose things the call is about. */
const char *api_chats_owner(const struct api_call *c);
/* An operation of the call's owner with the address's {id}; NULL: the call was answered. */
struct api_stored *api_chats_new(struct api_call *c, enum store_what what, struct store_chats **x);
/* False, and the call was answered: the operation failed. */
bool api_chats_ok(struct api_call *c, const struct api_stored *s);
/* The message of the address's {mid} among those that were read; NULL: the call was answered. */
const struct store_message *api_chats_named(struct api_call *c, const struct store_chats *x);
/* The body, which may be missing where all members may; NULL: the call was answered. */
json_t *api_chats_write(struct api_call *c, bool may_miss);
/* The `model` of a body, if it is here; "" for null, the default.  False with the fault. */
bool api_chats_model(struct api_call *c, const struct api_in *in, const char **out);
/* Tells of a chat that changed. */
void api_chats_tell(struct api_call *c, const struct store_chat *chat);
void api_chats_tell_message(struct api_call *c, const char *chat, const struct store_message *m);

#endif
