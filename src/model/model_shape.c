/* SPDX-License-Identifier: MIT */
#include "model/model_shape.h"

#include "base/num.h"
#include "model/model_int.h"

#include <math.h>

static struct model_matrix matrix(size_t rows, size_t cols)
{
    return (struct model_matrix){
        .name = SPAN("(none)"), .format = FORMAT_F16, .rows = rows, .cols = cols};
}

static enum err check(const struct model_shape *s, const char *what, struct errinfo *e)
{
    const struct {
        const char *name;
        size_t value, most;
    } sizes[] = {
        {"hidden size",       s->dim,       MODEL_DIM_MAX   },
        {"feed-forward size", s->ff,        MODEL_DIM_MAX   },
        {"layers",            s->n_layer,   MODEL_LAYERS_MAX},
        {"heads",             s->n_head,    65536           },
        {"key-value heads",   s->n_kv_head, 65536           },
        {"head size",         s->head_dim,  65536           },
        {"vocabulary",        s->n_vocab,   (size_t)1 << 24 },
    };
    for (size_t i = 0; i < N_ELEMS(sizes); i++)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].most)
            return err_set(e, ERR_CORRUPT, "%s: %s is %zu, which is outside 1 to %zu", what,
                           sizes[i].name, sizes[i].value, sizes[i].most);
    if (s->n_expert && (s->n_expert > MODEL_EXPERTS_MAX || s->n_chosen < 1 ||
                        s->n_chosen > MIN(s->n_expert, MODEL_CHOSEN_MAX) || s->ff_expert < 1 ||
                        s->ff_expert > MODEL_DIM_MAX || s->ff_shared > MODEL_DIM_MAX))
        return err_set(e, ERR_CORRUPT, "%s: %zu of %zu experts of %zu make no sense", what,
                       s->n_chosen, s->n_expert, s->ff_expert);
    if (s->n_head % s->n_kv_head != 0 || s->n_head * s->head_dim > MODEL_DIM_MAX)
        return err_set(e, ERR_CORRUPT,
                       "%s: %zu heads of %zu with %zu key-value heads make no sense", what,
                       s->n_head, s->head_dim, s->n_kv_head);
    return ERR_OK;
}

/* `of` blocks of width n, one behind the other. */
static struct model_ffn block(const struct model *m, size_t n, size_t of)
{
    return (struct model_ffn){.n = n,
                              .gate = matrix(n * of, m->dim),
                              .up = matrix(n * of, m->dim),
                              .down = matrix(m->dim * of, n)};
}

static void fill_layer(struct model *m, struct model_layer *l, const float *zeros, bool qk_norm)
{
    const struct model_norm norm = {.gain = zeros, .n = m->dim, .n_gains = 1};
    const struct model_norm head = {.gain = zeros, .n = m->k_dim, .n_gains = 1};
    l->attn_norm = l->ffn_norm = norm;
    l->q = matrix(m->n_head * m->k_dim, m->dim);
    l->k = matrix(m->n_kv_head * m->k_dim, m->dim);
    l->v = matrix(m->n_kv_head * m->v_dim, m->dim);
    l->o = matrix(m->dim, m->n_head * m->v_dim);
    l->angles = &m->angles;
    l->attends = true;
    l->kv_index = m->n_attend++;
    l->n_head = m->n_head;
    l->n_kv_head = m->n_kv_head;
    l->k_dim = m->k_dim;
    l->v_dim = m->v_dim;
    l->out_scale = 1;
    if (qk_norm || m->arch->flags & MODEL_QK_NORM)
        l->q_norm = l->k_norm = head;
    if (m->arch->flags & MODEL_POST_NORM)
        l->attn_post_norm = l->ffn_post_norm = norm;
}

static void fill(struct model *m, const struct model_shape *s)
{
    float *zeros = arena_array(&m->arena, MAX(s->dim, s->head_dim), sizeof *zeros);
    uint32_t window = s->window ? s->window : m->arch->window;
    m->dim = s->dim;
    m->ff = s->ff;
    m->n_layer = s->n_layer;
    m->n_expert = s->n_expert;
    m->n_chosen = s->n_expert ? s->n_chosen : 0;
    m->ff_expert = s->ff_expert;
    m->n_head = s->n_head;
    m->n_kv_head = s->n_kv_head;
    m->k_dim = m->v_dim = m->n_rot = m->n_rot_local = s->head_dim;
    m->n_vocab = s->n_vocab;
    m->ctx_trained = s->ctx_trained;
    m->norm_eps = 1e-5f;
    m->embed_scale = m->residual_scale = m->logit_scale = m->value_scale = 1;
    m->angles.n_rot = m->n_rot;
    m->attn_scale = 1 / sqrtf((float)m->k_dim);
    m->act = m->arch->act;
    m->attn_cap = m->arch->attn_cap;
    m->logit_cap = m->arch->logit_cap;
    m->embed = matrix(m->n_vocab, m->dim);
    m->output = m->embed;
    m->output_norm = (struct model_norm){.gain = zeros, .n = m->dim, .n_gains = 1};
    m->layers = arena_array(&m->arena, m->n_layer, sizeof *m->layers);
    for (size_t i = 0; i < m->n_layer; i++) {
        struct model_layer *l = &m->layers[i];
        fill_layer(m, l, zeros, s->qk_norm);
        if (s->n_expert && i >= s->n_dense) {
            l->experts.router = matrix(s->n_expert, m->dim);
            l->experts.each = block(m, s->ff_expert, s->n_expert);
            if (s->ff_shared)
                l->experts.shared = block(m, s->ff_shared, 1);
        } else {
            l->ffn = block(m, m->ff, 1);
        }
        uint32_t pattern = m->arch->window_pattern;
        bool local = pattern && (i + 1) % pattern != 0;
        m->layers[i].window = local || (!pattern && s->window) ? window : 0;
    }
    size_t n_sparse = s->n_expert ? m->n_layer - MIN(s->n_dense, m->n_layer) : 0;
    m->n_weights = m->n_vocab * m->dim * (s->tied ? 1 : 2) +
                   m->n_layer * m->dim * m->k_dim * (2 * m->n_head + 2 * m->n_kv_head) +
                   (m->n_layer - n_sparse) * 3 * m->dim * m->ff +
                   n_sparse * (3 * m->dim * (s->n_expert * s->ff_expert + s->ff_shared) +
                               s->n_expert * m->dim);
}

enum err model_from_shape(struct model **out, const struct model_shape *s, const char *what,
                          struct errinfo *e)
{
    *out = NULL;
    const struct model_arch *arch = model_arch_find(span_of(s->arch));
    if (!arch)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: the family '%.64s' is not supported (supported: %s)", what, s->arch,
                       model_arch_list());
    TRY(check(s, what, e));
    struct model *m = mem_alloc(sizeof *m);
    arena_init(&m->arena);
    m->arch = arch;
    fill(m, s);
    *out = m;
    return ERR_OK;
}
