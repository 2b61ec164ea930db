/* SPDX-License-Identifier: MIT
 * store_sqlite_text.c - the full-text tokenizer "bigram": finds any part of a word.
 *
 * A word of the characters a b c becomes the tokens ab, bc, c at following places.  A part of two
 * or more characters is then a phrase of its pairs (ab bc), and one character is the beginning of a
 * token (a*), the last one of a word included.  So one syllable of Korean is found wherever it
 * stands, which FTS5's own trigram tokenizer cannot do below three.
 * What a character and a word is: store_text.h. */
#include "store/store_sqlite_int.h"
#include "store/store_text.h"

#include "base/num.h"

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
        int32_t cp = at < s.n ? store_text_char(s, at, &len) : ' ';
        bool space = store_text_is_space(cp);
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

/* Each word is a string of FTS5; one character is the beginning of a token. */
void store_sqlite_match(struct span words, struct str *out)
{
    size_t n_chars = 0, len;
    for (size_t at = 0; at <= words.n; at += at < words.n ? len : 1) {
        bool end = at == words.n || words.p[at] == ' ';
        if (end)
            str_add_cstr(out, n_chars == 1 ? "\" *" : "\"");
        else if (n_chars == 0)
            str_add_cstr(out, out->n ? " AND \"" : "\"");
        if (!end && words.p[at] == '"')
            str_add_char(out, '"');
        n_chars = end ? 0 : n_chars + 1;
        if (end || utf8_get(words.p + at, words.n - at, &len) < 0)
            len = 1;
        if (!end)
            str_add(out, words.p + at, len);
    }
}
