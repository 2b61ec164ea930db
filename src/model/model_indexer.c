/* SPDX-License-Identifier: MIT
 * model_indexer.c - what chooses the positions that latent attention sees, where there are more
 * than it is to see: DeepSeek's sparse attention (DeepSeek-AI 2025, V3.2), and its choice shared
 * by several layers (GLM 5.2). */
#include "model/model_int.h"

#include "base/num.h"

#define INDEX_HEADS_MAX 4096
#define INDEX_DIM_MAX   4096

enum err model_read_indexer(struct model *m, struct errinfo *e)
{
    if (!gguf_key(m->gguf, model_key(m, "attention.indexer.top_k")))
        return ERR_OK;
    TRY(model_need_size(m, model_key(m, "attention.indexer.top_k"), INT32_MAX, &m->index_top_k, e));
    TRY(model_need_size(m, model_key(m, "attention.indexer.head_count"), INDEX_HEADS_MAX,
                        &m->index_heads, e));
    TRY(model_need_size(m, model_key(m, "attention.indexer.key_length"), INDEX_DIM_MAX,
                        &m->index_dim, e));
    if (!m->kv_low || !m->q_low || m->alibi > 0 || m->bidirectional)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: attention to chosen positions is supported with latent queries and "
                       "keys alone, which see what is before them, wherever it is",
                       gguf_path(m->gguf));
    if (m->index_dim < m->n_rot || m->index_heads * m->index_dim > MODEL_DIM_MAX)
        return err_set(e, ERR_CORRUPT,
                       "%s: an indexer of %zu heads of %zu with %zu rotated dimensions makes no "
                       "sense",
                       gguf_path(m->gguf), m->index_heads, m->index_dim, m->n_rot);
    return ERR_OK;
}

/* Does the layer choose for itself?  Files that do not say have the tensors where it does. */
static enum err chooses(struct binder *b, int i, bool *out)
{
    const char *key = model_key(b->m, "attention.indexer.types");
    const struct gguf_key *k = gguf_key(b->m->gguf, key);
    *out = model_bind_there(b, i, "indexer.attn_q_b");
    if (!k)
        return ERR_OK;
    if (k->kind != GGUF_ARRAY || !k->a.data || k->a.n < b->m->n_layer)
        return err_set(b->e, ERR_CORRUPT, "%s: %s has to be %zu truths", gguf_path(b->m->gguf), key,
                       b->m->n_layer);
    *out = gguf_array_i64(&k->a, (size_t)i) != 0;
    return ERR_OK;
}

/* A shared choice's layer may have tensors of its own, which are not used. */
static void skip(struct binder *b, int i)
{
    static const char *const names[] = {"attn_q_b", "attn_k", "k_norm", "proj"};
    for (size_t k = 0; k < N_ELEMS(names); k++) {
        const char *name = arena_printf(&b->m->arena, "indexer.%s", names[k]);
        model_bind_take(b, model_bind_name(b, i, name, "weight"));
        model_bind_take(b, model_bind_name(b, i, name, "bias"));
    }
}

enum err model_bind_indexer(struct binder *b, int i, struct model_indexer *out)
{
    const struct model *m = b->m;
    size_t heads = m->index_heads, dim = m->index_dim;
    bool own;
    if (!m->index_top_k)
        return ERR_OK;
    if (m->layers[i].window)
        return err_set(b->e, ERR_UNSUPPORTED,
                       "%s: layer %d has a window and attends to chosen positions",
                       gguf_path(m->gguf), i);
    TRY(chooses(b, i, &own));
    if (!own && i == 0)
        return err_set(b->e, ERR_CORRUPT,
                       "%s: the first layer has no indexer, and there is no choice to share",
                       gguf_path(m->gguf));
    if (!own) {
        skip(b, i);
        return ERR_OK;
    }
    TRY(model_bind_rows(b, i, "indexer.attn_q_b", 0, heads * dim, heads * dim, m->q_low, &out->q));
    TRY(model_bind_rows(b, i, "indexer.attn_k", 0, dim, dim, m->dim, &out->k));
    TRY(model_bind_rows(b, i, "indexer.proj", 0, heads, heads, m->dim, &out->weights));
    TRY(model_bind_norm(b, i, "indexer.k_norm", dim, 1, &out->k_norm));
    out->k_norm.mean = true;
    out->k_norm.eps = MODEL_OWN_EPS;
    return ERR_OK;
}
