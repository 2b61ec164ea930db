/* SPDX-License-Identifier: MIT */
#include "vision/vision_prompt.h"

#include "base/arena.h"

#include <string.h>

#define PIECE_BYTES_MAX ((size_t)64 << 20)

static void place_rows(const struct vision *v, const struct tok *tok, struct vision_place *place,
                       struct tok_ids *ids)
{
    size_t rows = vision_rows(v);
    int32_t *tokens = mem_alloc(rows * sizeof *tokens);
    vision_tokens(place->key, tokens, rows);
    tok_ids_add(ids, tok_find(tok, SPAN(VISION_BEGIN)));
    place->at = ids->n;
    for (size_t k = 0; k < rows; k++)
        tok_ids_add(ids, tokens[k]);
    tok_ids_add(ids, tok_find(tok, SPAN(VISION_END)));
    mem_free(tokens);
}

/* A picture stands between empty lines, as the models' processor writes it (Hugging Face's
 * Gemma3Processor).  Pieces between control tokens are tokens by themselves, so the text may be
 * cut at them. */
static enum err encode_pieces(const struct vision *v, const struct tok *tok, struct span text,
                              unsigned flags, struct vision_place *places, size_t n,
                              size_t *n_found, struct tok_ids *ids, struct str *piece,
                              struct errinfo *e)
{
    size_t at = 0, next = 0;
    for (*n_found = 0;; ++*n_found) {
        next = span_find(text, SPAN(VISION_BEGIN), at);
        str_clear(piece);
        str_add_cstr(piece, at ? "\n\n" : "");
        str_add(piece, text.p + at, (next == SIZE_MAX ? text.n : next) - at);
        str_add_cstr(piece, next != SIZE_MAX ? "\n\n" : "");
        if (piece->full)
            return err_set(e, ERR_TOOBIG, "the prompt is longer than %zu bytes", PIECE_BYTES_MAX);
        TRY(tok_encode(tok, str_span(piece), at ? flags & ~(unsigned)TOK_BOS : flags, ids, e));
        if (next == SIZE_MAX)
            return ERR_OK;
        if (*n_found < n)
            place_rows(v, tok, &places[*n_found], ids);
        at = next + strlen(VISION_BEGIN);
    }
}

enum err vision_prompt(const struct vision *v, const struct tok *tok, struct span text,
                       unsigned flags, struct vision_place *places, size_t n, size_t *n_found,
                       struct tok_ids *ids, struct errinfo *e)
{
    struct str piece;
    str_init(&piece, PIECE_BYTES_MAX);
    enum err r = encode_pieces(v, tok, text, flags, places, n, n_found, ids, &piece, e);
    str_done(&piece);
    return r;
}
