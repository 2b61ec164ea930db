/* SPDX-License-Identifier: MIT
 * eval.h - how well a model says what a text says: `damso eval`.
 *
 * Windows.  A text's tokens are read in windows of `window` tokens, each from an empty context and
 * beginning with the model's beginning-of-text token where the model adds one.  A window begins
 * `stride` tokens after the one before it, and scores the tokens that were not scored yet, so each
 * but the first window's has at least window - stride before it.  The first token of all is not
 * scored where nothing stands before it.
 * Perplexity is e to the mean of -log p over all tokens that are scored.
 * With a reference, D(reference || model) = sum over the vocabulary of p_ref (log p_ref - log p),
 * in nats, of the same positions; both models run side by side, step by step. */
#ifndef APP_EVAL_H
#define APP_EVAL_H

#include "app/app_model.h"
#include "base/err.h"
#include "tok/tok.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVAL_OUT 64 /* rows of logits of a step */

struct eval_model {
    struct app_model app;
    struct tok *tok;
    bool open;
};

/* The model of the settings, with a context of `ctx`; watch may be NULL (dev.h). */
enum err eval_open(struct eval_model *m, struct conf *c, size_t ctx, const struct dev_watch *watch,
                   struct errinfo *e);
void eval_close(struct eval_model *m);

/* logits[i]: of model i, [n_vocab], before token `at` of ids; false stops. */
typedef bool eval_row_fn(void *arg, size_t at, const float *const *logits);

/* Runs ids[0, n) from an empty context through all models, and gives fn the logits before each of
 * the tokens [from, n), from >= 1.  Errors: those of engine_step; CANCELLED. */
enum err eval_run(struct eval_model *const *models, size_t n_models, const int32_t *ids, size_t n,
                  size_t from, eval_row_fn *fn, void *arg, struct errinfo *e);

/* log of the sum of e to the x, about the largest of them. */
double eval_log_sum(const float *x, size_t n);
/* D(p || q) in nats of two rows of logits, of which the sums are known. */
double eval_kl(const float *p, double p_sum, const float *q, double q_sum, size_t n);
size_t eval_top(const float *x, size_t n);

/* ---- texts ---- */

struct eval_text {
    int64_t window, stride, limit; /* limit: windows, 0: all */
    size_t n_windows, n_tokens, n_scored;
    double nll, nll_square; /* sums of -log p */
    size_t n_bytes;         /* of what was scored */
    /* With a reference: */
    double ref_nll;
    size_t n_same_top;
    double *kl; /* [n_scored], ascending at the end; of malloc */
};

enum err eval_text(struct eval_model *const *models, size_t n_models, struct span text,
                   struct eval_text *t, struct errinfo *e);
double eval_percentile(const struct eval_text *t, double share);

/* ---- choices ---- */

struct eval_choices {
    size_t n, n_right;  /* by the sum of log p */
    size_t n_right_len; /* by the sum a byte */
};

/* Lines of {"question": "...", "choices": ["...", ...], "answer": 0}.  A choice is read after its
 * question and a space, unless one of them brings white space; its score is the sum of log p of
 * its tokens. */
enum err eval_choices(struct eval_model *m, const char *path, size_t limit, struct eval_choices *c,
                      struct errinfo *e);

#endif
