/* SPDX-License-Identifier: MIT
 * inspect_tok.h - what inspect tokens and inspect text share: a vocabulary, and all of stdin.
 *
 * Does: open the GGUF file at `path` and its vocabulary (no tensor is read), read stdin.
 * Does not: find models by name.
 * Owner: the caller of inspect_tok_open, also of what it printed. */
#ifndef APP_INSPECT_TOK_H
#define APP_INSPECT_TOK_H

#include "app/cmd.h"
#include "base/str.h"
#include "gguf/gguf.h"
#include "tok/tok.h"

struct inspect_tok {
    struct gguf *gguf;
    struct tok *tok;
    struct str in;
};

/* Nothing is open after an error.  Errors: those of gguf_open and tok_open, IO, TOOBIG (more than
 * max bytes on stdin). */
enum err inspect_tok_open(struct inspect_tok *x, const char *path, size_t max, struct errinfo *e);
void inspect_tok_close(struct inspect_tok *x);

#endif
