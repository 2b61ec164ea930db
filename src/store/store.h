/* SPDX-License-Identifier: MIT
 * store.h - what outlives the process: stored answers with their items, chats, API keys, users.
 *
 * Does: run operations on one thread of its own, out of a bounded queue, and call back.  What waits
 *       together is written together, with one wait for the disk.  An operation that was answered
 *       with ERR_OK survives a kill and the loss of power; one that was not has changed nothing.
 * Does not: know JSON (bodies are opaque; metadata is one object of texts), HTTP, or SQL: nothing
 *       here names an engine.  It is never called on the token path, and waits on no io thread.
 * Threads: store_send and store_run from any.  `done` runs on the store's thread, must not block,
 *       and may send again.
 * Owner: an operation, its texts and its arena belong to the store from store_send to `done`.
 * Limits: the constants below; a full queue is BUSY.  What has expired is not found, and is
 *       removed in passing.  Several processes may have the same database open.  A transaction
 *       that another process or a lost connection spoilt is run again, with all that is in it. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "store/store_chat.h"
#include "store/store_users.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_BODY_BYTES_MAX   ((size_t)64 << 20)  /* of an object, and of an item */
#define STORE_TEXT_BYTES_MAX   ((size_t)1024)      /* id, owner, model, name, scopes */
#define STORE_META_BYTES_MAX   ((size_t)64 << 10)  /* metadata */
#define STORE_ITEMS_MAX        ((size_t)65536)     /* of one object */
#define STORE_PUT_BYTES_MAX    ((size_t)128 << 20) /* body and items of one operation */
#define STORE_ANSWER_BYTES_MAX ((size_t)128 << 20) /* bodies of one answer */
#define STORE_LIST_MAX         ((size_t)1000)      /* objects or items of one answer */
#define STORE_QUEUE_MAX        ((size_t)1024)      /* operations that wait */
#define STORE_QUEUE_BYTES_MAX  ((size_t)256 << 20) /* bodies that wait */
#define STORE_LEASE_S          5u                  /* unless another is said */

enum store_kind { STORE_RESPONSE, STORE_CHAT_COMPLETION, STORE_N_KINDS };

/* An input item of a response; a message of a chat completion. */
struct store_item {
    const char *id; /* unique in its object */
    struct span body;
};

struct store_object {
    enum store_kind kind;
    const char *id;       /* unique in its kind */
    const char *owner;    /* the id of an API key, "" without; no other owner finds the object */
    const char *model;    /* "": none */
    const char *metadata; /* a JSON object as text; NULL: "{}" */
    const char *previous; /* the object that this one goes on from, or NULL; it may be gone */
    int64_t created;      /* seconds since 1970 */
    int64_t expires;      /* the same; 0: never */
    struct span body;     /* UTF-8 */
    const struct store_item *items; /* in order */
    size_t n_items;
};

struct store_query {
    const char *after;    /* begin behind this id; NULL: at the start */
    size_t limit;         /* 1 to STORE_LIST_MAX; 0: 20 */
    bool descending;      /* newest (last) first */
    const char *model;    /* LIST: of this model only; NULL: all */
    const char *metadata; /* LIST: with all pairs of this JSON object; NULL: all */
};

#define STORE_HASH_BYTES 32

/* See store_key.h for what a key is. */
struct store_key {
    const char *id, *name;
    const char *scopes; /* names with a space between */
    unsigned char hash[STORE_HASH_BYTES];
    int64_t created;
    int64_t expires, revoked;                             /* 0: never, not */
    int64_t used;                                         /* about; 0: never */
    int64_t requests_minute, tokens_minute, n_concurrent; /* limits; 0: none */
};

enum store_what {
#define STORE_OP(name, fn, writes) STORE_##name,
#include "store/store_op.def"
#undef STORE_OP
    STORE_N_OPS
};

/* What each takes and gives stands in store_op.def; `objects`, `items`, `keys` lie in `arena`. */
struct store_op {
    enum store_what what;
    struct store_object object;
    bool keep_items;
    struct store_query query;
    struct store_key key;
    unsigned char secret[STORE_HASH_BYTES];
    struct store_chats *chats;   /* of operations on chats; lives until `done` */
    struct store_people *people; /* the same, of those on people */
    struct arena *arena;         /* for the answer; NULL where there is none (PUT, DELETE, ...) */
    void (*done)(struct store_op *op, void *arg);
    void *arg;

    enum err err;
    struct errinfo e; /* explains err; names no user text */
    struct store_object *objects;
    struct store_item *items;
    struct store_key *keys;
    size_t n; /* of the one that the operation gives */
    bool more;

    struct store_op *next; /* the store's own */
    size_t bytes;          /* the same */
};

struct store;

/* url: "sqlite:FILE", "sqlite::memory:", or a path; "postgres://..." as libpq takes it.  A new file
 * and its folder can be read by their owner alone.  What has an older form is brought up to date,
 * after a copy was made: of the file beside it, of the tables in the database.
 * Errors: UNSUPPORTED (another engine; a newer form, with both numbers), CORRUPT, IO, BUSY, USAGE
 * and NOTFOUND (who may not in, and where there is no such database), each naming the store
 * without its password. */
enum err store_open(struct store **out, const char *url, struct errinfo *e);
/* The same with a lease, in seconds: a server of the same PostgreSQL that is silent for so long is
 * taken for gone, and what it holds is taken from it (store_bus.h).  The same for all of them. */
enum err store_open_leased(struct store **out, const char *url, unsigned lease_s,
                           struct errinfo *e);
/* Runs what waits, then ends.  NULL is fine.  Nothing may be sent meanwhile. */
void store_close(struct store *s);

/* What a process needs to keep a store open, for a sandbox. */
struct store_needs {
    bool connects;        /* opens connections, also later */
    int ports[8];         /* by TCP to these; 0 behind the last */
    const char *files[8]; /* reads these too; NULL behind the last */
};
struct store_needs store_needs(const char *url, struct arena *a);
/* Overwrites what is secret in an address, for lists of processes and of settings. */
void store_hide_secret(char *url);

/* Hands op to the store; `done` is called once, also when it fails.  Errors of this call, after
 * which `done` is not called: BUSY (the queue is full), USAGE, TOOBIG. */
enum err store_send(struct store *s, struct store_op *op, struct errinfo *e);
/* The same, waiting: op->done is not looked at.  For commands and tests; not on the store's thread
 * and not on an io thread. */
enum err store_run(struct store *s, struct store_op *op, struct errinfo *e);

/* Calls `keys` on the store's thread with all keys: once soon, and when they may have changed,
 * within about a second also when another process did it.  They live for the call.  It must not
 * wait for the store.  One watcher; NULL ends it, and returns when it does not run. */
void store_watch(struct store *s, void (*keys)(void *arg, const struct store_key *keys, size_t n),
                 void *arg);

struct store_stats {
    uint64_t n_ops, n_failed;     /* answered, of those with an error */
    uint64_t n_writes, n_commits; /* operations that write; waits for the disk */
    size_t n_waiting;
};
struct store_stats store_stats(struct store *s);

#endif
