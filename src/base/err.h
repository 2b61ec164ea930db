/* SPDX-License-Identifier: MIT
 * err.h - how failures travel.
 *
 * Does: one list of failures (err.def), an explanation written once where the failure happens,
 *       TRY to hand it on, CHECK for bugs.
 * Does not: print, log or exit (CHECK alone aborts).
 * Three kinds of failure: a bug is CHECK (prints, aborts); an event of life returns `enum err`
 * with the explanation in a `struct errinfo`; memory is refused at the door (limits, budgets). */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum err {
#define ERR(name, http, exit, text) ERR_##name,
#include "base/err.def"
#undef ERR
    ERR_N
};

/* The explanation of the first failure.  Callers may pass NULL where only the code matters. */
struct errinfo {
    enum err code;
    char text[512]; /* one line, UTF-8, names the thing and the limit */
};

/* Stores the explanation in e (when not NULL) and gives `code`: return err_set(e, ERR_IO, "...").
 * A macro, so that the compiler sees which code is returned. */
#define err_set(e, code, ...) (err_note(e, code, __VA_ARGS__), (code))
void err_note(struct errinfo *e, enum err code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

const char *err_name(enum err code); /* "CORRUPT" */
const char *err_text(enum err code); /* short text of the list */
int err_http(enum err code);
int err_exit(enum err code);

/* Prints file, line and the broken promise on stderr, then aborts. */
_Noreturn void err_bug(const char *file, int line, const char *what);

#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum err try_ = (call);                                                                    \
        if (try_ != ERR_OK)                                                                        \
            return try_;                                                                           \
    } while (0)

/* A broken promise between functions of ours: always checked. */
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            err_bug(__FILE__, __LINE__, #cond);                                                    \
    } while (0)

/* The same for hot paths: checked in debug and sanitizer builds only. */
#ifdef NDEBUG
#define DCHECK(cond) ((void)sizeof(cond))
#else
#define DCHECK(cond) CHECK(cond)
#endif

#endif
