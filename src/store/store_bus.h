/* SPDX-License-Identifier: MIT
 * store_bus.h - between the servers that share a PostgreSQL: events that all hear, in one order,
 * and what has to be asked of all at once.
 *
 * Does: keep events for STORE_BUS_KEPT_S seconds, numbered in the order in which they were
 *       committed, so that "all behind number N" is the same on every server; wake all servers by
 *       LISTEN/NOTIFY, and read once more after a lost connection; say five times in a lease, and
 *       once a second at least, that this server lives, by the database's clock; end the
 *       connections of one that was silent for its lease, so that it keeps no row and can commit
 *       nothing; take from limits and tries that hold over all.
 * Does not: wait for the disk: a crash of the database takes the events, and what was taken from
 *       limits in the last second.  Then there is another epoch, and who follows begins anew.
 * Threads: one of its own, with a connection of its own, on which the callbacks run and must not
 *       block; store_bus_tell and store_bus_send from any.
 * Owner: a call and its texts are the bus's from store_bus_send to `done`.
 * Errors: BUSY where the database was away for STORE_BUS_WAIT_S. */
#ifndef STORE_STORE_BUS_H
#define STORE_STORE_BUS_H

#include "store/store.h"

#define STORE_BUS_KEPT_S    300
#define STORE_BUS_WAIT_S    3
#define STORE_BUS_ARGS_MAX  8
#define STORE_BUS_GIVES_MAX 8

struct store_bus;

struct store_event {
    uint64_t n;
    const char *owner, *chat;
    struct span text;
};

/* What a look brought: what was asked for, in order, up to number `upto` of this epoch, of which
 * the newest is `last`.  What is not above `gone` is not kept any more. */
struct store_news {
    uint64_t epoch, upto, gone, last;
    const struct store_event *events;
    size_t n;
};

struct store_bus_ops {
    /* Names the owners that are followed (store_bus_owner); gives the number behind which. */
    uint64_t (*want)(void *arg, struct str *owners);
    void (*came)(void *arg, const struct store_news *news);
    void (*beat)(void *arg); /* with each sign of life, the database being there */
};

enum store_bus_what {
    /* id, requests and tokens a minute of a key; the same of its user ("", 0, 0: none): gives
     * level (0: admitted), kind (0: requests, 1: tokens), missing thousandths, requests and tokens
     * left, answers under way on other servers of both. */
    STORE_BUS_LIMIT,
    STORE_BUS_SPEND, /* id, tokens that an answer took */
    STORE_BUS_SLOTS, /* id, answers of it under way here */
    STORE_BUS_TRY,   /* a hash, tries that are free, seconds at most: gives milliseconds to wait */
    STORE_BUS_GOOD,  /* a hash, 1: all tries of it are forgotten, 0: one */
    STORE_BUS_RECENT /* owner, chat: its events of the last 30 s */
};

struct store_bus_call {
    enum store_bus_what what;
    const char *args[STORE_BUS_ARGS_MAX]; /* numbers as text */
    int64_t gives[STORE_BUS_GIVES_MAX];
    struct arena *arena; /* RECENT: for events */
    struct store_event *events;
    size_t n_events;
    enum err err;
    void (*done)(struct store_bus_call *c, void *arg);
    void *arg;

    struct store_bus_call *next; /* the bus's own */
    uint64_t sent_ns;            /* the same */
};

/* *out is NULL, with OK, where the store has one server. */
enum err store_bus_open(struct store_bus **out, struct store *s, const struct store_bus_ops *ops,
                        void *arg, struct errinfo *e);
/* Tells what waits, where the database is there; what is asked is BUSY.  NULL is fine. */
void store_bus_close(struct store_bus *b);
/* The texts are copied. */
void store_bus_tell(struct store_bus *b, const char *owner, const char *chat, struct span text);
void store_bus_look(struct store_bus *b); /* what is wanted has changed */
void store_bus_send(struct store_bus *b, struct store_bus_call *c);
/* The database answered within the last seconds. */
bool store_bus_is_there(struct store_bus *b);
void store_bus_owner(struct str *owners, const char *owner);

#endif
