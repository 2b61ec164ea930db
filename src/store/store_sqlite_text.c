/* SPDX-License-Identifier: MIT
 * store_sqlite_text.c - the full-text tokenizer "bigram": finds any part of a word.
 *
 * A word of the characters a b c becomes the tokens ab, bc, c at following places.  A part of two
 * or more characters is then a phrase of its pairs (ab bc), and one character is the beginning of a
 * token (a*), the last one of a word included.  So one syllable of Korean is found wherever it
 * stands, which FTS5's own trigram tokenizer cannot do below three.
 * Words end at spaces and control characters; case is folded, Hangul in parts is put together. */
#include "store/store_sqlite_int.h"

#include "base/num.h"

#include <string.h>
#include <utf8proc.h>

/* Of Unicode's chapter 3.12. */
#define L_BASE  0x1100
#define V_BASE  0x1161
#define T_BASE  0x11a7
#define S_BASE  0xac00
#define L_COUNT 19
#define V_COUNT 21
#define T_COUNT 28

static int32_t text_peek(struct span s, size_t at, size_t *len)
{
    *len = 0;
    return at < s.n ? utf8_get(s.p + at, s.n - at, len) : -1;
}

/* A character at `at` and what it takes; Hangul that is written in parts is one. */
static int32_t text_char(struct span s, size_t at, size_t *len)
{
    size_t more;
    int32_t cp = text_peek(s, at, len);
    if (cp < 0)
        return 0xfffd;
    if (cp >= L_BASE && cp < L_BASE + L_COUNT) {
        int32_t v = text_peek(s, at + *len, &more);
        if (v < V_BASE || v >= V_BASE + V_COUNT)
            return cp;
        *len += more;
        cp = S_BASE + ((cp - L_BASE) * V_COUNT + (v - V_BASE)) * T_COUNT;
        int32_t t = text_peek(s, at + *len, &more);
        if (t > T_BASE && t < T_BASE + T_COUNT) {
            *len += more;
            cp += t - T_BASE;
        }
        return cp;
    }
    return utf8proc_tolower(cp);
}

static bool text_is_space(int32_t cp)
{
    utf8proc_category_t c = utf8proc_category(cp);
    return c == UTF8PROC_CATEGORY_ZS || c == UTF8PROC_CATEGORY_ZL || c == UTF8PROC_CATEGORY_ZP ||
           c == UTF8PROC_CATEGORY_CC;
}

typedef int text_token(void *ctx, int flags, const char *token, int n, int start, int end);

static int text_tokenize(Fts5Tokenizer *none, void *ctx, int flags, const char *text, int n,
                         text_token *token)
{
    (void)none;
    struct span s = {text, (size_t)n};
    bool query = flags & FTS5_TOKENIZE_QUERY;
    int32_t before = -1; /* the character before in the same word */
    size_t before_at = 0, at = 0, len;
    bool paired = false; /* it ended a pair */
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK && at <= s.n) {
        int32_t cp = at < s.n ? text_char(s, at, &len) : ' ';
        bool space = text_is_space(cp);
        char pair[8];
        if (before >= 0 && !(space && query && paired)) {
            size_t m = utf8_put(pair, (uint32_t)before);
            if (!space)
                m += utf8_put(pair + m, (uint32_t)cp);
            size_t end = at < s.n && !space ? at + len : at;
            rc = token(ctx, 0, pair, (int)m, (int)before_at, (int)end);
        }
        paired = before >= 0 && !space;
        before = space ? -1 : cp;
        before_at = at;
        at += at < s.n ? len : 1;
    }
    return rc;
}

static int text_create(void *none, const char **args, int n, Fts5Tokenizer **out)
{
    static char one; /* it has no state, but NULL would be a failure */
    (void)none;
    (void)args;
    *out = (Fts5Tokenizer *)&one;
    return n == 0 ? SQLITE_OK : SQLITE_ERROR;
}

static void text_delete(Fts5Tokenizer *t)
{
    (void)t;
}

enum err store_sqlite_text(struct store_sqlite *s, struct errinfo *e)
{
    fts5_tokenizer bigram = {text_create, text_delete, text_tokenize};
    fts5_api *api = NULL;
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(s->lite, "SELECT fts5(?1)", -1, &q, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_pointer(q, 1, &api, "fts5_api_ptr", NULL);
    if (rc == SQLITE_OK)
        sqlite3_step(q);
    sqlite3_finalize(q);
    if (!api)
        return err_set(e, ERR_UNSUPPORTED, "the SQLite library has no full-text search (FTS5)");
    rc = api->xCreateTokenizer(api, "bigram", NULL, &bigram, NULL);
    return rc == SQLITE_OK ? ERR_OK : store_sqlite_fail(s, rc, e);
}

/* One word as a string of FTS5; one character is the beginning of a token. */
static void text_add_word(struct str *out, struct span word, size_t n_chars)
{
    str_add_cstr(out, out->n ? " AND \"" : "\"");
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] == '"')
            str_add_char(out, '"');
        str_add_char(out, word.p[i]);
    }
    str_add_cstr(out, n_chars == 1 ? "\" *" : "\"");
}

bool store_sqlite_match(struct span text, struct str *out)
{
    size_t at = 0, len;
    while (at < text.n) {
        size_t from = at, n_chars = 0;
        while (at < text.n && !text_is_space(text_char(text, at, &len))) {
            at += len;
            n_chars++;
        }
        if (n_chars)
            text_add_word(out, (struct span){text.p + from, at - from}, n_chars);
        else
            at += len;
    }
    return out->n > 0;
}
