/* SPDX-License-Identifier: MIT
 * gram_fuzz.c - any grammar and any text: one byte of kind (s, g, r, p), the grammar, a NUL, the
 * text; kind p: GBNF, a NUL, the parts, a NUL, the text.
 *
 * Holds: refused bytes leave the state as it was; a copy and a compacted state go on as the
 * original does. */
#include "gram/gram_int.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void follow(const struct gram *g, const uint8_t *text, size_t n)
{
    struct gram_state *s = gram_start(g), *x = gram_copy(s);
    for (size_t i = 0; i < n && i < 4096; i++) {
        bool finished = gram_finished(s), yes = gram_accept_byte(s, text[i]);
        CHECK(gram_accept_byte(x, text[i]) == yes);
        CHECK(yes || gram_finished(s) == finished);
        CHECK(gram_finished(s) == gram_finished(x));
        if (i % 16 == 7)
            gram_state_compact(x, NULL, 0);
    }
    gram_done(s);
    gram_done(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct gram *g = NULL;
    struct errinfo e = {0};
    enum err rc = ERR_CORRUPT;
    if (n < 1)
        return 0;
    const uint8_t *end = memchr(data + 1, 0, n - 1);
    struct span grammar = {(const char *)data + 1, end ? (size_t)(end - data) - 1 : n - 1};
    if (data[0] == 'p' && end) {
        const uint8_t *from = end + 1;
        end = memchr(from, 0, n - (size_t)(from - data));
        size_t len = end ? (size_t)(end - from) : n - (size_t)(from - data);
        json_t *parts = json_loadb((const char *)from, len, 0, NULL);
        rc = gram_from_parts(&g, grammar, parts, &e);
        json_decref(parts);
    } else if (data[0] == 'g' || data[0] == 'p') {
        rc = gram_from_gbnf(&g, grammar, &e);
    } else if (data[0] == 'r') {
        rc = gram_from_regex(&g, grammar, &e);
    } else {
        json_t *j = json_loadb(grammar.p, grammar.n, JSON_DECODE_ANY, NULL);
        if (j)
            rc = gram_from_schema(&g, j, NULL, &e);
        else
            err_note(&e, rc, "no JSON");
        json_decref(j);
    }
    CHECK((rc == ERR_OK) == (g != NULL));
    CHECK(rc == ERR_OK || e.text[0]);
    if (g && end)
        follow(g, end + 1, n - (size_t)(end + 1 - data));
    gram_free(g);
    return 0;
}
