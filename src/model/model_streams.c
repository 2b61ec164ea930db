/* SPDX-License-Identifier: MIT
 * model_streams.c - several residual streams (plan_streams.c says what they are): how many, and
 * their tensors; and gates that count where they stand out. */
#include "model/model_int.h"

#include "base/num.h"

#include <math.h>

enum err model_read_streams(struct model *m, struct errinfo *e)
{
    uint32_t n, first;
    TRY(gguf_get_u32(m->gguf, model_key(m, "altup.num_inputs"), 0, &n, e));
    TRY(gguf_get_u32(m->gguf, model_key(m, "altup.active_idx"), 0, &first, e));
    if (n == 1 || n > MODEL_STREAMS_MAX || first != 0 || (n && !m->n_input))
        return err_set(
            e, ERR_UNSUPPORTED,
            "%s: %u residual streams of which %u is worked on are not supported: 2 to %d "
            "are, with embeddings for each layer, and the first",
            gguf_path(m->gguf), n, first, MODEL_STREAMS_MAX);
    m->n_streams = n;
    const struct gguf_key *k = gguf_key(m->gguf, model_key(m, "activation_sparsity_scale"));
    for (size_t i = 0; i < m->n_layer; i++) {
        bool there = k && k->kind == GGUF_ARRAY && k->a.data && i < k->a.n;
        double by = there ? gguf_array_f64(&k->a, i) : -INFINITY;
        m->layers[i].sparse = by != -INFINITY; /* else all count */
        m->layers[i].sparsity = (float)by;
        if (m->layers[i].sparse && !isfinite(by))
            return err_set(e, ERR_UNSUPPORTED, "%s: a sparsity of %g deviations in layer %zu",
                           gguf_path(m->gguf), by, i);
    }
    return ERR_OK;
}

/* One matrix for each stream but the first, one behind the other. */
static enum err bind_each(struct binder *b, const char *name, struct model_matrix **out)
{
    struct model *m = b->m;
    size_t dim = m->dim, n = m->n_streams - 1;
    *out = arena_array(&m->arena, n, sizeof **out);
    for (size_t k = 0; k < n; k++)
        TRY(model_bind_rows(b, -1, name, k * dim, dim, n * dim, dim, &(*out)[k]));
    return ERR_OK;
}

enum err model_bind_stream_ends(struct binder *b)
{
    if (!b->m->n_streams)
        return ERR_OK;
    TRY(bind_each(b, "altup_proj", &b->m->stream_in));
    return bind_each(b, "altup_unembd_proj", &b->m->stream_out);
}

/* Rows as many as the tensor has: of some hundreds, and never more than a layer is wide. */
static enum err bind_low(struct binder *b, int i, const char *name, size_t cols,
                         struct model_matrix *out)
{
    const struct gguf_tensor *t = gguf_tensor(b->m->gguf, model_bind_name(b, i, name, "weight"));
    size_t rows = t ? (size_t)MIN(t->dims[1], (uint64_t)SIZE_MAX) : 0;
    if (t && (rows < 1 || rows > b->m->dim))
        return err_set(b->e, ERR_CORRUPT,
                       "%s: layer %d's %s has %zu rows, which is outside 1 to %zu",
                       gguf_path(b->m->gguf), i, name, rows, b->m->dim);
    return model_bind_rows(b, i, name, 0, rows, rows, cols, out);
}

enum err model_bind_streams(struct binder *b, int i, struct model_streams *s)
{
    struct model *m = b->m;
    size_t n = m->n_streams, dim = m->dim;
    const float *gain;
    if (!n)
        return ERR_OK;
    TRY(model_bind_vector(b, model_bind_name(b, i, "altup_router_norm", "weight"), dim, false,
                          &gain));
    float *divided = arena_array(&m->arena, dim, sizeof *divided);
    for (size_t k = 0; k < dim; k++)
        divided[k] = gain[k] / (float)dim;
    s->router_norm = (struct model_norm){.gain = divided, .n = dim, .n_gains = 1};
    TRY(model_bind_rows(b, i, "altup_router", 0, n, n, dim, &s->router));
    TRY(model_bind_rows(b, i, "altup_predict_coef", 0, n * n, n * n, n, &s->predict));
    TRY(model_bind_rows(b, i, "altup_correct_coef", 0, n, n, n, &s->correct));
    TRY(model_bind_vector(b, model_bind_name(b, i, "altup_correct_scale", "weight"), dim, true,
                          &s->scale));
    TRY(bind_low(b, i, "laurel_l", dim, &s->laurel_low));
    TRY(model_bind_rows(b, i, "laurel_r", 0, dim, dim, s->laurel_low.rows, &s->laurel_high));
    return model_bind_norm(b, i, "laurel_post_norm", dim, 1, &s->laurel_norm);
}
