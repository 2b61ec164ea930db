/* SPDX-License-Identifier: MIT */
#include "api/api_draft.h"

#include "base/num.h"
#include "hf/hf.h"

#include <stdlib.h>

enum err api_draft_count(struct api_draft *d, const char *path, struct engine_opts *o,
                         struct errinfo *e)
{
    *d = (struct api_draft){0};
    TRY(hf_open(&d->gguf, path, e));
    enum err r = engine_count(d->gguf, o, &o->beside, e);
    if (r != ERR_OK)
        api_draft_close(d);
    return r;
}

/* Models of one family are often padded to other numbers of tokens. */
static enum err check_vocabulary(const struct gguf *g, const struct tok *tok,
                                 const struct gguf *draft_g, const struct tok *draft,
                                 struct errinfo *e)
{
    const char *path = gguf_path(g), *draft_path = gguf_path(draft_g);
    int32_t n = tok_n_vocab(tok), n_draft = tok_n_vocab(draft);
    if (abs(n - n_draft) > API_DRAFT_PADDING)
        return err_set(e, ERR_USAGE,
                       "%s cannot guess for %s: its vocabulary has %d tokens, that one %d",
                       draft_path, path, n_draft, n);
    for (int32_t i = 0; i < MIN(n, n_draft); i++) {
        struct span a = tok_piece(tok, i), b = tok_piece(draft, i);
        if (!span_eq(a, b) || tok_is_control(tok, i) != tok_is_control(draft, i))
            return err_set(e, ERR_USAGE,
                           "%s cannot guess for %s: token %d is \"%.*s\" in its vocabulary, "
                           "\"%.*s\" in that one",
                           draft_path, path, i, (int)MIN(b.n, (size_t)64), b.p,
                           (int)MIN(a.n, (size_t)64), a.p);
    }
    return ERR_OK;
}

static enum err open_engine(struct api_draft *d, const struct engine *other,
                            const struct engine_opts *given, size_t out_max, struct errinfo *e)
{
    struct engine_opts o = *given;
    size_t total = engine_ctx_total(other), ctx = engine_ctx(other);
    o.out_max = out_max;
    o.batch = MAX(o.batch ? o.batch : engine_batch(other), out_max);
    o.beside = (struct engine_need){0};
    o.progress = NULL;
    o.memory = given->beside.fixed + total / ENGINE_PAGE * given->beside.page;
    o.ctx_total = total;
    o.ctx = ctx;
    enum err r = engine_open(&d->engine, d->gguf, &o, e);
    if (r == ERR_CONTEXT) { /* its own is shorter: it guesses as far as that reaches */
        o.ctx = 0;
        r = engine_open(&d->engine, d->gguf, &o, e);
    }
    return r;
}

enum err api_draft_open(struct api_draft *d, const struct gguf *g, const struct tok *tok,
                        const struct engine *other, const struct engine_opts *o, size_t out_max,
                        struct errinfo *e)
{
    struct tok *draft;
    TRY(tok_open(&draft, d->gguf, e));
    enum err r = check_vocabulary(g, tok, d->gguf, draft, e);
    tok_close(draft);
    return r == ERR_OK ? open_engine(d, other, o, out_max, e) : r;
}

void api_draft_close(struct api_draft *d)
{
    engine_close(d->engine);
    gguf_close(d->gguf);
    *d = (struct api_draft){0};
}
