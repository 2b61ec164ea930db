/* SPDX-License-Identifier: MIT
 * model_vision.c - projector files: SigLIP (Zhai et al. 2023) and what makes rows for Gemma 3 of it
 * (Gemma Team 2025), with the names of `convert_hf_to_gguf.py --mmproj`. */
#include "model/model_int.h"

#include "base/num.h"

#include <math.h>

#define IMAGE_MAX   4096 /* pixels of a side */
#define PATCH_MAX   256
#define PATCHES_MAX 16384
#define SQUARE      4 /* patches a side that become a row, where the file does not say */

static const struct model_arch siglip = {.name = "clip",
                                         .models = "SigLIP with Gemma 3's projector",
                                         .rope = MODEL_UNTURNED,
                                         .norm = MODEL_MEAN,
                                         .act = MODEL_GELU};

/* Which projector it is: others compute otherwise. */
static enum err check_kind(const struct gguf *g, struct errinfo *e)
{
    struct span arch, kind;
    bool sees, gelu;
    TRY(gguf_need_str(g, "general.architecture", &arch, e));
    if (!span_eq_cstr(arch, "clip"))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: a file of the architecture '%.*s' is no projector of pictures (one has "
                       "'clip')",
                       gguf_path(g), (int)MIN(arch.n, 64), arch.p);
    TRY(gguf_get_str(g, "clip.projector_type", SPAN(""), &kind, e));
    if (!kind.n)
        TRY(gguf_get_str(g, "clip.vision.projector_type", SPAN(""), &kind, e));
    if (!span_eq_cstr(kind, "gemma3"))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: the projector '%.*s' is not supported (supported: gemma3)",
                       gguf_path(g), (int)MIN(kind.n, 64), kind.p);
    TRY(gguf_get_bool(g, "clip.has_vision_encoder", false, &sees, e));
    TRY(gguf_get_bool(g, "clip.use_gelu", false, &gelu, e));
    if (!sees || !gelu)
        return err_set(e, ERR_UNSUPPORTED, "%s: %s is not set, as it is with gemma3's projectors",
                       gguf_path(g), sees ? "clip.use_gelu" : "clip.has_vision_encoder");
    return ERR_OK;
}

static enum err read_colours(struct model *m, const char *key, float out[3], struct errinfo *e)
{
    const struct gguf_key *k = gguf_key(m->gguf, key);
    bool good = k && k->kind == GGUF_ARRAY && k->a.data && k->a.n == 3;
    for (size_t i = 0; good && i < 3; i++) {
        out[i] = (float)gguf_array_f64(&k->a, i);
        good = isfinite(out[i]) && fabsf(out[i]) < 1e6f;
    }
    if (good)
        return ERR_OK;
    return err_set(e, ERR_CORRUPT, "%s: %s has to be three numbers", gguf_path(m->gguf), key);
}

static enum err read_picture(struct model *m, struct model_vision *v, struct errinfo *e)
{
    uint32_t square;
    TRY(model_need_size(m, "clip.vision.image_size", IMAGE_MAX, &v->image, e));
    TRY(model_need_size(m, "clip.vision.patch_size", PATCH_MAX, &v->patch_side, e));
    TRY(gguf_get_u32(m->gguf, "clip.vision.projector.scale_factor", SQUARE, &square, e));
    v->grid = v->image / v->patch_side;
    v->square = square;
    if (v->image % v->patch_side || !square || v->grid % MAX(square, 1u) || v->grid == 0 ||
        v->grid * v->grid > PATCHES_MAX)
        return err_set(e, ERR_CORRUPT,
                       "%s: a picture of %zu pixels a side in patches of %zu, %u a side together, "
                       "makes no sense, or more than %d patches",
                       gguf_path(m->gguf), v->image, v->patch_side, square, PATCHES_MAX);
    v->n_soft = (v->grid / v->square) * (v->grid / v->square);
    TRY(read_colours(m, "clip.vision.image_mean", v->mean, e));
    TRY(read_colours(m, "clip.vision.image_std", v->std, e));
    for (size_t i = 0; i < 3; i++)
        if (v->std[i] <= 0)
            return err_set(e, ERR_CORRUPT, "%s: clip.vision.image_std is not positive",
                           gguf_path(m->gguf));
    return ERR_OK;
}

static enum err read_sizes(struct model *m, struct errinfo *e)
{
    TRY(model_need_size(m, "clip.vision.block_count", MODEL_LAYERS_MAX, &m->n_layer, e));
    TRY(model_need_size(m, "clip.vision.embedding_length", MODEL_DIM_MAX, &m->dim, e));
    TRY(model_need_size(m, "clip.vision.feed_forward_length", MODEL_DIM_MAX, &m->ff, e));
    TRY(model_need_size(m, "clip.vision.attention.head_count", 65536, &m->n_head, e));
    TRY(gguf_get_f32(m->gguf, "clip.vision.attention.layer_norm_epsilon", 1e-6f, &m->norm_eps, e));
    if (!isfinite(m->norm_eps) || m->norm_eps < 0 || m->dim % m->n_head)
        return err_set(e, ERR_CORRUPT,
                       "%s: %zu heads of %zu dimensions, or an epsilon of %g, make no sense",
                       gguf_path(m->gguf), m->n_head, m->dim, (double)m->norm_eps);
    m->n_kv_head = m->n_head;
    m->k_dim = m->v_dim = m->dim / m->n_head;
    m->n_rot = m->n_rot_local = 2; /* nothing turns: the least that has a shape */
    m->ctx_trained = m->vision->grid * m->vision->grid;
    m->attn_scale = 1 / sqrtf((float)m->k_dim);
    m->embed_scale = m->residual_scale = m->logit_scale = m->value_scale = 1;
    m->angles.magnitude = 1;
    return ERR_OK;
}

/* The kernel of the convolution as a matrix: its numbers lie in that order. */
static enum err bind_patches(struct binder *b, struct model_vision *v)
{
    const struct model *m = b->m;
    const struct gguf_tensor *t = model_bind_take(b, "v.patch_embd.weight");
    size_t side = v->patch_side;
    if (!t || t->dims[0] != side || t->dims[1] != side || t->dims[2] != 3 || t->dims[3] != m->dim)
        return err_set(b->e, ERR_CORRUPT,
                       "%s: the tensor v.patch_embd.weight has to be %zu x %zu x 3 x %zu",
                       gguf_path(m->gguf), side, side, m->dim);
    int f = format_of(t->type);
    if (f != FORMAT_F32 && f != FORMAT_F16 && f != FORMAT_BF16)
        return err_set(b->e, ERR_UNSUPPORTED, "%s: v.patch_embd.weight has to be F32, F16 or BF16",
                       gguf_path(m->gguf));
    v->patch = (struct model_matrix){.name = t->name,
                                     .format = (enum format)f,
                                     .rows = m->dim,
                                     .cols = 3 * side * side,
                                     .tensor = t,
                                     .data = t->data};
    return model_bind_vector(b, "v.patch_embd.bias", m->dim, false, &v->patch_bias);
}

/* The file has it as [dim][the language model's width]: columns become rows here. */
static enum err bind_projection(struct binder *b, struct model_vision *v)
{
    struct model *m = b->m;
    const struct gguf_tensor *t = model_bind_take(b, "mm.input_projection.weight");
    size_t dim = m->dim;
    if (!t || t->n_dims != 2 || t->dims[0] > MODEL_DIM_MAX || t->dims[1] != dim)
        return err_set(b->e, ERR_CORRUPT,
                       "%s: the tensor mm.input_projection.weight has to be of %zu rows",
                       gguf_path(m->gguf), dim);
    int f = format_of(t->type);
    if (f < 0 || !t->data)
        return err_set(b->e, ERR_UNSUPPORTED,
                       "%s: mm.input_projection.weight is of a format that is not supported",
                       gguf_path(m->gguf));
    size_t n = (size_t)t->dims[0], row_bytes = format_bytes((enum format)f, n);
    float *all = arena_array(&m->arena, n * dim, sizeof *all);
    float *row = arena_array(&m->arena, n, sizeof *row);
    for (size_t r = 0; r < dim; r++) {
        format_dequant((enum format)f, row, t->data + r * row_bytes, n);
        for (size_t o = 0; o < n; o++)
            all[o * dim + r] = row[o];
    }
    v->project = (struct model_matrix){.name = t->name,
                                       .format = FORMAT_F32,
                                       .rows = n,
                                       .cols = dim,
                                       .data = (const uint8_t *)all};
    return ERR_OK;
}

static enum err linear(struct binder *b, int i, const char *name, size_t rows, size_t cols,
                       struct model_matrix *out, const float **bias)
{
    const char *full = arena_printf(&b->m->arena, "v.blk.%d.%s", i, name);
    return model_bind_linear(b, -1, full, rows, cols, out, bias);
}

/* Older files call the first matrix ffn_down and the second ffn_up. */
static enum err bind_ffn(struct binder *b, int i, struct model_ffn *f)
{
    const struct model *m = b->m;
    const char *up = arena_printf(&b->m->arena, "v.blk.%d.ffn_up.weight", i);
    const struct gguf_tensor *t = gguf_tensor(m->gguf, up);
    bool swapped = t && t->dims[0] == m->ff && t->dims[1] == m->dim && m->ff != m->dim;
    f->n = m->ff;
    TRY(linear(b, i, swapped ? "ffn_down" : "ffn_up", m->ff, m->dim, &f->up, &f->up_bias));
    return linear(b, i, swapped ? "ffn_up" : "ffn_down", m->dim, m->ff, &f->down, &f->down_bias);
}

static enum err bind_layer(struct binder *b, int i, struct model_layer *l)
{
    struct model *m = b->m;
    size_t n = m->dim;
    const char *name = arena_printf(&m->arena, "v.blk.%d.ln1", i);
    TRY(model_bind_norm(b, -1, name, n, 1, &l->attn_norm));
    name = arena_printf(&m->arena, "v.blk.%d.ln2", i);
    TRY(model_bind_norm(b, -1, name, n, 1, &l->ffn_norm));
    TRY(linear(b, i, "attn_q", n, n, &l->q, &l->q_bias));
    TRY(linear(b, i, "attn_k", n, n, &l->k, &l->k_bias));
    TRY(linear(b, i, "attn_v", n, n, &l->v, &l->v_bias));
    TRY(linear(b, i, "attn_out", n, n, &l->o, &l->o_bias));
    l->attends = true;
    l->n_head = m->n_head;
    l->n_kv_head = m->n_kv_head;
    l->k_dim = m->k_dim;
    l->v_dim = m->v_dim;
    l->out_scale = 1;
    l->kv_index = 0; /* all share one: no later step asks for a layer's keys and values */
    return bind_ffn(b, i, &l->ffn);
}

static enum err bind(struct model *m, struct errinfo *e)
{
    struct binder b = {.m = m, .e = e};
    struct model_vision *v = m->vision;
    size_t patches = v->grid * v->grid;
    b.used = arena_array(&m->arena, gguf_n_tensors(m->gguf), sizeof *b.used);
    m->layers = arena_array(&m->arena, m->n_layer, sizeof *m->layers);
    TRY(bind_patches(&b, v));
    TRY(model_bind_table(&b, "v.position_embd", patches, m->dim, &m->positions));
    for (size_t i = 0; i < m->n_layer; i++)
        TRY(bind_layer(&b, (int)i, &m->layers[i]));
    m->n_attend = 1;
    TRY(model_bind_norm(&b, -1, "v.post_ln", m->dim, 1, &m->output_norm));
    TRY(model_bind_norm(&b, -1, "mm.soft_emb_norm", m->dim, 1, &v->soft_norm));
    v->soft_norm.rms = true;
    TRY(bind_projection(&b, v));
    return model_bind_all_used(&b);
}

static enum err open_all(struct model *m, struct errinfo *e)
{
    TRY(check_kind(m->gguf, e));
    TRY(read_picture(m, m->vision, e));
    TRY(read_sizes(m, e));
    return bind(m, e);
}

enum err model_open_vision(struct model **out, const struct gguf *g, struct errinfo *e)
{
    struct model *m = mem_alloc(sizeof *m);
    arena_init(&m->arena);
    m->gguf = g;
    m->arch = &siglip;
    m->act = siglip.act;
    m->bidirectional = true;
    m->vision = arena_alloc(&m->arena, sizeof *m->vision);
    enum err r = open_all(m, e);
    if (r != ERR_OK) {
        model_close(m);
        m = NULL;
    }
    *out = m;
    return r;
}
