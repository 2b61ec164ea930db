/* SPDX-License-Identifier: MIT
 * api_chats_int.h - between the files of api_chats.h; no one else includes it. */
#ifndef API_API_CHATS_INT_H
#define API_API_CHATS_INT_H

#include "api/api_chats.h"
#include "api/api_gen.h"

#include <pthread.h>

/* A generation of a run: the answer, then perhaps the title. */
struct run_part {
    struct run *run;
    struct api_self self;
    struct api_call call;
    struct api_gen *gen; /* NULL: not begun, or let go of */
};

enum run_state {
    RUN_READ,  /* the chat is being read */
    RUN_MODEL, /* the model is being opened */
    RUN_WRITE,
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
    bool kept;              /* the same: the end is stored, and error and usage stay as they are */
    struct arena arena;
    const char *owner, *chat;
    struct store_message message; /* as it began */
    json_t *options, *messages;
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
    char *usage; /* JSON; of the arena */
    struct run_part answer, namer;
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

#endif
