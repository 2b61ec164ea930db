/* SPDX-License-Identifier: MIT
 * eval.c - models side by side, and the sums over a text. */
#include "app/eval.h"

#include "app/cmd.h"
#include "base/num.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum err eval_open(struct eval_model *m, struct conf *c, size_t ctx, const struct dev_watch *watch,
                   struct errinfo *e)
{
    *m = (struct eval_model){0};
    c->ctx = (int64_t)ctx;
    TRY(app_model_open_watched(&m->app, c, EVAL_OUT, watch, e));
    enum err r = tok_open(&m->tok, m->app.gguf, e);
    if (r != ERR_OK)
        app_model_close(&m->app);
    m->open = r == ERR_OK;
    return r;
}

void eval_close(struct eval_model *m)
{
    if (!m->open)
        return;
    tok_close(m->tok);
    app_model_close(&m->app);
    m->open = false;
}

/* ---- running ---- */

struct run {
    struct eval_model *const *models;
    size_t n_models;
    struct engine_seq *seq[2];
    struct engine_row rows[EVAL_OUT];
    const float *out[2][EVAL_OUT];
};

/* Tokens [at, at + n) of ids: their logits are of the tokens after them. */
static enum err run_some(struct run *r, const int32_t *ids, size_t at, size_t n, eval_row_fn *fn,
                         void *arg, struct errinfo *e)
{
    for (size_t m = 0; m < r->n_models; m++) {
        for (size_t i = 0; i < n; i++)
            r->rows[i] = (struct engine_row){r->seq[m], ids[at + i], ENGINE_LOGITS};
        TRY(engine_step(r->models[m]->app.engine, r->rows, n, r->out[m], e));
    }
    for (size_t i = 0; i < n; i++) {
        const float *row[2] = {r->out[0][i], r->out[1][i]};
        if (!fn(arg, at + i + 1, row))
            return err_set(e, ERR_CANCELLED, "stopped");
    }
    return ERR_OK;
}

static bool stopped(void *arg)
{
    (void)arg;
    return cmd_stopped();
}

static enum err run_all(struct run *r, const int32_t *ids, size_t n, size_t from, eval_row_fn *fn,
                        void *arg, struct errinfo *e)
{
    for (size_t m = 0; m < r->n_models && from > 1; m++) {
        const float *unused;
        TRY(engine_prefill(r->models[m]->app.engine, r->seq[m], ids, from - 1, stopped, NULL,
                           &unused, e));
    }
    for (size_t at = from - 1, len; at + 1 < n; at += len) {
        len = MIN((size_t)EVAL_OUT, n - 1 - at);
        TRY(run_some(r, ids, at, len, fn, arg, e));
        if (cmd_stopped())
            return err_set(e, ERR_CANCELLED, "stopped");
    }
    return ERR_OK;
}

enum err eval_run(struct eval_model *const *models, size_t n_models, const int32_t *ids, size_t n,
                  size_t from, eval_row_fn *fn, void *arg, struct errinfo *e)
{
    struct run *r = mem_alloc(sizeof *r);
    CHECK(n_models >= 1 && n_models <= 2 && from >= 1);
    r->models = models, r->n_models = n_models;
    for (size_t m = 0; m < n_models; m++) {
        r->seq[m] = engine_seq_new(models[m]->app.engine);
        engine_seq_lora(r->seq[m], &models[m]->app.lora);
    }
    enum err result = run_all(r, ids, n, from, fn, arg, e);
    for (size_t m = 0; m < n_models; m++)
        engine_seq_free(r->seq[m]);
    mem_free(r);
    return result;
}

/* ---- rows of logits ---- */

size_t eval_top(const float *x, size_t n)
{
    size_t top = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[top])
            top = i;
    return top;
}

double eval_log_sum(const float *x, size_t n)
{
    float most = x[eval_top(x, n)];
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)expf(x[i] - most);
    return (double)most + log(sum);
}

double eval_kl(const float *p, double p_sum, const float *q, double q_sum, size_t n)
{
    double kl = 0;
    for (size_t i = 0; i < n; i++) {
        double log_p = (double)p[i] - p_sum;
        if (log_p > -60)
            kl += exp(log_p) * (log_p - ((double)q[i] - q_sum));
    }
    return MAX(kl, 0); /* rounding */
}

/* ---- texts ---- */

struct scorer {
    struct eval_text *t;
    const int32_t *ids;
    size_t vocab, n_models;
};

static bool score(void *arg, size_t at, const float *const *logits)
{
    struct scorer *s = arg;
    struct eval_text *t = s->t;
    const double sum = eval_log_sum(logits[0], s->vocab);
    const double nll = sum - (double)logits[0][s->ids[at]];
    t->nll += nll, t->nll_square += nll * nll;
    if (s->n_models > 1) {
        const double ref_sum = eval_log_sum(logits[1], s->vocab);
        t->ref_nll += ref_sum - (double)logits[1][s->ids[at]];
        t->n_same_top += eval_top(logits[0], s->vocab) == eval_top(logits[1], s->vocab);
        t->kl[t->n_scored] = eval_kl(logits[1], ref_sum, logits[0], sum, s->vocab);
    }
    t->n_scored++;
    return true;
}

/* The token that begins every window, or -1. */
static enum err beginning(const struct tok *tok, int32_t *bos, struct errinfo *e)
{
    struct tok_ids ids = {0};
    TRY(tok_encode(tok, SPAN(""), TOK_BOS, &ids, e));
    *bos = ids.n && ids.id[0] == tok_bos(tok) ? ids.id[0] : -1;
    tok_ids_done(&ids);
    return ERR_OK;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Windows over all ids.  With a beginning token the window holds one token less of the text. */
static enum err run_windows(struct eval_model *const *models, size_t n_models,
                            const struct tok_ids *ids, int32_t bos, struct eval_text *t,
                            struct errinfo *e)
{
    const size_t head = bos >= 0, size = (size_t)t->window - head;
    int32_t *window = mem_alloc((size_t)t->window * sizeof *window);
    size_t done = 1 - head; /* tokens that are scored, or cannot be */
    enum err r = ERR_OK;
    for (size_t at = 0; r == ERR_OK && done < ids->n; at += (size_t)t->stride) {
        size_t n = MIN(size, ids->n - at);
        if (t->limit && t->n_windows == (size_t)t->limit)
            break;
        if (head)
            window[0] = bos;
        memcpy(window + head, ids->id + at, n * sizeof *window);
        struct scorer s = {t, window, engine_model(models[0]->app.engine)->n_vocab, n_models};
        r = eval_run(models, n_models, window, n + head, done - at + head, score, &s, e);
        done = at + n;
        t->n_windows++;
    }
    mem_free(window);
    return r;
}

static enum err scored_bytes(const struct tok *tok, const struct tok_ids *ids, int32_t bos,
                             struct eval_text *t, struct errinfo *e)
{
    struct str text;
    str_init(&text, 2 * TOK_TEXT_BYTES_MAX);
    enum err r = tok_decode(tok, ids->id + (bos < 0), t->n_scored, TOK_SPECIAL, &text, e);
    t->n_bytes = text.n;
    str_done(&text);
    return r;
}

static enum err encode(struct eval_model *const *models, size_t n_models, struct span text,
                       struct tok_ids *ids, struct errinfo *e)
{
    TRY(tok_encode(models[0]->tok, text, 0, ids, e));
    if (n_models == 1)
        return ERR_OK;
    struct tok_ids other = {0};
    enum err r = tok_encode(models[1]->tok, text, 0, &other, e);
    bool same = r == ERR_OK && other.n == ids->n &&
                memcmp(other.id, ids->id, ids->n * sizeof *ids->id) == 0 &&
                engine_model(models[0]->app.engine)->n_vocab ==
                    engine_model(models[1]->app.engine)->n_vocab;
    tok_ids_done(&other);
    if (r == ERR_OK && !same)
        return err_set(e, ERR_UNSUPPORTED,
                       "--kl: the reference has another vocabulary than the model");
    return r;
}

enum err eval_text(struct eval_model *const *models, size_t n_models, struct span text,
                   struct eval_text *t, struct errinfo *e)
{
    struct tok_ids ids = {0};
    int32_t bos = -1;
    enum err r = beginning(models[0]->tok, &bos, e);
    if (r == ERR_OK)
        r = encode(models, n_models, text, &ids, e);
    if (r == ERR_OK && ids.n < 2)
        r = err_set(e, ERR_USAGE, "a text of %zu tokens has nothing to score", ids.n);
    if (r == ERR_OK) {
        t->n_tokens = ids.n;
        t->kl = n_models > 1 ? mem_alloc(ids.n * sizeof *t->kl) : NULL;
        r = run_windows(models, n_models, &ids, bos, t, e);
    }
    if (r == ERR_OK)
        r = scored_bytes(models[0]->tok, &ids, bos, t, e);
    if (r == ERR_OK && t->kl)
        qsort(t->kl, t->n_scored, sizeof *t->kl, ascending);
    tok_ids_done(&ids);
    return r;
}

double eval_percentile(const struct eval_text *t, double share)
{
    return t->kl[MIN((size_t)(share * (double)t->n_scored), t->n_scored - 1)];
}
