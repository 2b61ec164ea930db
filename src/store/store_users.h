/* SPDX-License-Identifier: MIT
 * store_users.h - who may use a server: users, their sessions, invitations, what was used.  Part of
 * store.h, which see for threads, owners and how an operation runs.
 *
 * Does: keep users by a name that is one however it is typed; end a user's sessions when the
 *       password changes or the user is disabled; keep at least one admin; give the first admin
 *       what was made on the machine before there were accounts; count use by day, owner and model.
 * Does not: hash passwords or make tokens: it is given their hashes and never the texts.
 * Times: seconds since 1970; a day is a time / 86400. */
#ifndef STORE_STORE_USERS_H
#define STORE_STORE_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_USER_NAME_MAX     ((size_t)64)  /* bytes of a name */
#define STORE_PASSWORD_HASH_MAX ((size_t)127) /* bytes of argon2id's text */
#define STORE_USERS_MAX         ((size_t)10000)
#define STORE_SESSIONS_MAX      ((size_t)32)   /* of a user; one more ends the oldest */
#define STORE_PASSES_MAX        ((size_t)1000) /* invitations that are good */
#define STORE_USAGE_ROWS_MAX    ((size_t)100000)
#define STORE_SESSION_IDLE_S    (14 * (int64_t)86400) /* a session that was not used so long ends */
#define STORE_TOKEN_HASH_BYTES  32

struct store_user {
    const char *id, *name;
    const char *folded;   /* the name as it is compared; unique */
    const char *password; /* argon2id; "": nobody logs in by one */
    bool admin;
    int64_t created, seen;                                /* seen 0: never */
    int64_t disabled;                                     /* 0: not; else since when */
    int64_t requests_minute, tokens_minute, n_concurrent; /* 0: no limit */
};

struct store_session {
    const char *id;   /* names it; opens nothing */
    const char *user; /* id */
    unsigned char hash[STORE_TOKEN_HASH_BYTES];
    int64_t created, used, expires;
    const char *agent, *address; /* of its login */
};

/* A link that makes a user, or sets a user's password. */
struct store_pass {
    const char *id;
    const char *user; /* whose password; NULL: it invites */
    const char *note; /* for whom, in the words of who made it */
    const char *by;   /* the id of who made it, "" a command */
    unsigned char hash[STORE_TOKEN_HASH_BYTES];
    bool admin; /* the role that it gives */
    int64_t n_left, created, expires;
};

/* A key of an API that belongs to a user. */
struct store_key_user {
    const char *key, *user; /* ids */
};

struct store_usage {
    int64_t day;
    const char *owner, *model;
    int64_t n_requests, n_prompt, n_answer; /* tokens */
};

/* What USER_SET changes. */
enum store_user_set {
    STORE_USER_SET_NAME = 1,
    STORE_USER_SET_PASSWORD = 2, /* and all sessions but `keep` end */
    STORE_USER_SET_ADMIN = 4,
    STORE_USER_SET_DISABLED = 8, /* and all sessions end */
    STORE_USER_SET_LIMITS = 16
};

struct store_people {
    struct store_user user;
    struct store_session session;
    struct store_pass pass;
    struct store_key_user key_user;
    const struct store_usage *add;
    size_t n_add;
    unsigned set;     /* enum store_user_set */
    bool by_pass;     /* USER_ADD, USER_SET: pass.hash is used up for it, and says whose role */
    const char *keep; /* the id of a session that stays; NULL: none */
    /* SESSION_ADD, USER_SET: only while this is the user's password's hash, since another that was
     * set meanwhile is to be stronger than who knew the old one; NULL: whatever it is. */
    const char *was;
    int64_t since; /* USAGE_GET: the first day */
    int64_t known; /* PEOPLE_GET: the version that is known; nothing comes where it is that */

    /* What comes back, of op.arena. */
    struct store_user *users;
    struct store_session *sessions;
    struct store_pass *passes;
    struct store_key_user *key_users;
    struct store_usage *usage;
    size_t n_users, n_sessions, n_passes, n_key_users, n_usage;
    int64_t version; /* PEOPLE_GET */
};

#endif
