/* SPDX-License-Identifier: MIT
 * model_encoder.c - what models of vectors and scores have beside their layers: how far a token
 * sees, how a text's states become one, the layers behind that, and the head of a reranker. */
#include "model/model_int.h"

#include "base/num.h"

#include <stdio.h>

/* The activation where files name it, as config.json does. */
static enum err read_act(struct model *m, struct errinfo *e)
{
    static const struct {
        const char *name;
        enum model_act act;
    } acts[] = {
        {"gelu",              MODEL_GELU_ERF},
        {"gelu_pytorch_tanh", MODEL_GELU    },
        {"gelu_new",          MODEL_GELU    },
        {"silu",              MODEL_SILU    },
    };
    const char *key = model_key(m, "hidden_activation");
    struct span name;
    m->act = m->arch->act;
    TRY(gguf_get_str(m->gguf, key, SPAN(""), &name, e));
    if (name.n == 0 || !(m->arch->flags & MODEL_BIDIRECTIONAL))
        return ERR_OK;
    for (size_t i = 0; i < N_ELEMS(acts); i++)
        if (span_eq_cstr(name, acts[i].name)) {
            m->act = acts[i].act;
            return ERR_OK;
        }
    return err_set(e, ERR_UNSUPPORTED,
                   "%s: %s is '%.*s', and gelu, gelu_pytorch_tanh, gelu_new and silu are supported",
                   gguf_path(m->gguf), key, (int)MIN(name.n, 32), name.p);
}

bool model_writes_text(const struct gguf *g)
{
    struct span name = {"", 0};
    char key[96];
    bool causal = true;
    gguf_get_str(g, "general.architecture", name, &name, NULL);
    const struct model_arch *arch = model_arch_find(name);
    snprintf(key, sizeof key, "%.*s.attention.causal", (int)MIN(name.n, (size_t)64), name.p);
    if (gguf_get_bool(g, key, !arch || !(arch->flags & MODEL_BIDIRECTIONAL), &causal, NULL) !=
        ERR_OK)
        causal = true;
    return causal && !gguf_tensor(g, "cls.output.weight");
}

static enum err read_pooling(struct model *m, const char *name, enum model_pooling most,
                             enum model_pooling otherwise, enum model_pooling *out,
                             struct errinfo *e)
{
    const char *key = model_key(m, name);
    uint32_t type;
    TRY(gguf_get_u32(m->gguf, key, otherwise, &type, e));
    if (type > (uint32_t)most)
        return err_set(e, ERR_UNSUPPORTED, "%s: %s is %u, and 0 to %d are supported",
                       gguf_path(m->gguf), key, type, (int)most);
    *out = (enum model_pooling)type;
    return ERR_OK;
}

enum err model_read_encoder(struct model *m, struct errinfo *e)
{
    bool causal;
    TRY(gguf_get_bool(m->gguf, model_key(m, "attention.causal"),
                      !(m->arch->flags & MODEL_BIDIRECTIONAL), &causal, e));
    m->bidirectional = !causal;
    TRY(read_act(m, e));
    return read_pooling(m, "pooling_type", MODEL_POOL_RANK, MODEL_POOL_NONE, &m->pooling, e);
}

/* ---- tensors ---- */

/* NAME.weight of `cols` columns and its bias; nothing where the file has none. */
static enum err bind_dense(struct binder *b, const char *name, size_t cols, struct model_dense *out)
{
    const struct gguf *g = b->m->gguf;
    const char *weight = model_bind_name(b, -1, name, "weight");
    const struct gguf_tensor *t = gguf_tensor(g, weight);
    if (!t)
        return ERR_OK;
    if (t->n_dims > 2 || t->dims[0] != cols || t->dims[1] > MODEL_DIM_MAX)
        return err_set(b->e, ERR_CORRUPT,
                       "%s: tensor %s is %llu x %llu, where %zu columns are "
                       "needed",
                       gguf_path(g), weight, (unsigned long long)t->dims[0],
                       (unsigned long long)t->dims[1], cols);
    *out = (struct model_dense){.rows = (size_t)t->dims[1], .cols = cols};
    TRY(model_bind_vector(b, weight, out->rows * cols, false, &out->weight));
    return model_bind_vector(b, model_bind_name(b, -1, name, "bias"), out->rows, true, &out->bias);
}

/* EmbeddingGemma's: a pooled state grows and shrinks again. */
static enum err bind_pooled(struct binder *b)
{
    struct model *m = b->m;
    TRY(bind_dense(b, "dense_2", m->dim, &m->dense[0]));
    if (!m->dense[0].rows)
        return ERR_OK;
    TRY(bind_dense(b, "dense_3", m->dense[0].rows, &m->dense[1]));
    if (m->dense[1].rows != m->dim)
        return err_set(b->e, ERR_UNSUPPORTED,
                       "%s: dense_3 makes vectors of %zu out of states of %zu, and only those of "
                       "the same size are supported",
                       gguf_path(m->gguf), m->dense[1].rows, m->dim);
    return ERR_OK;
}

/* Reading a head's state: where the file does not say, the token that saw the whole pair, or
 * ModernBERT's mean. */
static enum err read_head_pooling(struct model *m, struct errinfo *e)
{
    enum model_pooling otherwise = !m->bidirectional   ? MODEL_POOL_LAST
                                   : m->head.norm.gain ? MODEL_POOL_MEAN
                                                       : MODEL_POOL_CLS;
    TRY(read_pooling(m, "classifier.pooling_type", MODEL_POOL_LAST, otherwise, &m->head.pooling,
                     e));
    if (m->head.pooling == MODEL_POOL_NONE)
        m->head.pooling = otherwise;
    return ERR_OK;
}

/* One score, or what speaks for yes and for no (Qwen3-Reranker). */
static enum err check_head(const struct model *m, struct errinfo *e)
{
    const struct model_head *h = &m->head;
    bool pooler_lost = m->bidirectional && !h->hidden.rows && !h->norm.gain && m->type_embed;
    struct span tok;
    TRY(gguf_get_str(m->gguf, "tokenizer.ggml.model", SPAN(""), &tok, e));
    bool distil = m->bidirectional && h->hidden.rows && !m->type_embed && span_eq_cstr(tok, "bert");
    if (h->out.rows != (m->bidirectional ? 1 : 2))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: a classifier of %zu labels is no reranker (one score of encoders, yes "
                       "and no of others are supported)",
                       gguf_path(m->gguf), h->out.rows);
    if (pooler_lost)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: the file has the last layer of a BERT classifier and not the pooler "
                       "before it, which converters leave out: its scores would be wrong",
                       gguf_path(m->gguf));
    if (distil) /* ReLU where others of these names have tanh */
        return err_set(
            e, ERR_UNSUPPORTED,
            "%s: the classifier of a DistilBERT (WordPiece, and no token_types.weight) is "
            "not supported",
            gguf_path(m->gguf));
    return ERR_OK;
}

static enum err bind_head(struct binder *b)
{
    struct model *m = b->m;
    struct model_head *h = &m->head;
    bool ranks = gguf_tensor(m->gguf, "cls.output.weight") != NULL;
    if (!ranks && model_bind_there(b, -1, "cls"))
        return err_set(b->e, ERR_UNSUPPORTED,
                       "%s: the file has the classifier cls.weight and no cls.output.weight behind "
                       "it: the pooler before such a one is left out by converters, so its scores "
                       "would be wrong",
                       gguf_path(m->gguf));
    if (!ranks && m->pooling == MODEL_POOL_RANK)
        return err_set(b->e, ERR_CORRUPT, "%s: a reranker without the tensor cls.output.weight",
                       gguf_path(m->gguf));
    if (!ranks)
        return ERR_OK;
    TRY(bind_dense(b, "cls", m->dim, &h->hidden));
    if (h->hidden.rows && model_bind_there(b, -1, "cls.norm"))
        TRY(model_bind_norm(b, -1, "cls.norm", h->hidden.rows, 1, &h->norm));
    TRY(bind_dense(b, "cls.output", h->hidden.rows ? h->hidden.rows : m->dim, &h->out));
    m->pooling = MODEL_POOL_RANK;
    TRY(read_head_pooling(m, b->e));
    return check_head(m, b->e);
}

/* The types of the texts of a pair; a text alone has the first. */
static enum err bind_types(struct binder *b)
{
    struct model *m = b->m;
    const struct gguf_tensor *t = gguf_tensor(m->gguf, "token_types.weight");
    if (!t)
        return ERR_OK;
    if (t->n_dims > 2 || t->dims[0] != m->dim)
        return err_set(b->e, ERR_CORRUPT, "%s: token_types.weight has %llu columns, not %zu",
                       gguf_path(m->gguf), (unsigned long long)t->dims[0], m->dim);
    m->n_types = (size_t)t->dims[1];
    if (m->n_types > 1 && !m->bidirectional) /* what is known of a beginning would not be by type */
        return err_set(b->e, ERR_UNSUPPORTED,
                       "%s: %zu token types of a model whose tokens see what is before them alone "
                       "are not supported",
                       gguf_path(m->gguf), m->n_types);
    return model_bind_vector(b, "token_types.weight", m->dim * m->n_types, false, &m->type_embed);
}

enum err model_bind_encoder(struct binder *b)
{
    struct model *m = b->m;
    TRY(bind_types(b));
    TRY(bind_pooled(b));
    TRY(bind_head(b));
    if (m->bidirectional && m->mixer.taps)
        return err_set(b->e, ERR_UNSUPPORTED,
                       "%s: layers with states beside attention that sees what follows are not "
                       "supported",
                       gguf_path(m->gguf));
    if (m->bidirectional || m->head.out.rows)
        m->output = (struct model_matrix){0};
    return ERR_OK;
}
