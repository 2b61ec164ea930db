/* SPDX-License-Identifier: MIT
 * engine_cache.h - known beginnings in a file, so that they are still known after a restart.
 *
 * Does: keep pages of keys and values in a file of slots, a page with its tokens a slot; find what
 *       a text begins with and bring it into the tree in memory when it is asked for; write what is
 *       new page by page, so that a process that is killed loses what was not written yet and
 *       nothing else; forget what served longest ago when the file is full.
 * Does not: trust the file.  It says which model, which layout, page and instruction set it is for,
 *       every slot has a checksum of its tokens and one of its page, and texts are found by their
 *       tokens from the beginning, never by a hash.  What does not fit is computed anew.
 * Owner: the engine's thread.  A file serves one process at a time (BUSY); it holds the tokens that
 *       users sent, so that nobody but its owner may read it. */
#ifndef ENGINE_ENGINE_CACHE_H
#define ENGINE_ENGINE_CACHE_H

#include "engine/engine.h"

#define ENGINE_CACHE_KEY 33 /* bytes of a key in hexadecimal, with its NUL */

/* What a file must have been made for: differs when the model's file, the layout of pages or
 * anything else does that keys and values depend on.  Good as a part of the file's name. */
void engine_cache_key(const struct engine *en, char key[ENGINE_CACHE_KEY]);

/* Opens or makes the file, of at most max_bytes, and reads what it knows; pages are read when they
 * are wanted.  After an error the engine works on without.
 * Errors: IO; BUSY (another process has it); CORRUPT (not such a file, or damaged: it is left as it
 * is); UNSUPPORTED (made for another key, or the model
 * has states, which the file does not hold); TOOBIG (max_bytes has no room for a page). */
enum err engine_cache_open(struct engine *en, const char *path, uint64_t max_bytes,
                           struct errinfo *e);
void engine_cache_close(struct engine *en); /* engine_close does so too; saves nothing */

/* Reads pages that tokens[n] begin with and that are not in memory, until os_now_ns is `until`;
 * true when there may be more. */
bool engine_cache_fetch(struct engine *en, const int32_t *tokens, size_t n, uint64_t until);

/* Something was learnt that the file does not have. */
bool engine_cache_is_behind(const struct engine *en);
/* Writes it, what served last first.  stop, when not NULL, is asked after every MiB at most and
 * ends the work with CANCELLED; what was written stays.  Errors: IO, after which no more is
 * written. */
enum err engine_cache_save(struct engine *en, bool (*stop)(void *arg), void *stop_arg,
                           struct errinfo *e);

struct engine_cache_stat {
    size_t n_pages, n_pages_max; /* in the file */
    uint64_t n_read, n_written;  /* pages, since it was opened */
    uint64_t n_damaged;          /* slots with a wrong checksum */
};
struct engine_cache_stat engine_cache_stat(const struct engine *en);

#endif
