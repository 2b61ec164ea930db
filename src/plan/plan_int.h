/* SPDX-License-Identifier: MIT
 * plan_int.h - what the files of this module share; nobody else includes it. */
#ifndef PLAN_PLAN_INT_H
#define PLAN_PLAN_INT_H

#include "base/num.h"
#include "plan/plan.h"

/* The most operations of a layer are fewer than these, whatever a row chooses. */
#define PLAN_OPS_A_LAYER 80

static inline struct plan_op *emit(struct plan *p, enum plan_kind kind, int layer,
                                   enum plan_buf dst, enum plan_buf src)
{
    CHECK(p->n_ops < (p->model->n_layer + 1) * PLAN_OPS_A_LAYER);
    struct plan_op *op = &p->ops[p->n_ops++];
    *op = (struct plan_op){.kind = kind, .layer = layer, .dst = dst, .src = src, .by = 1};
    return op;
}

/* A norm of one group; without gains there is none, and src is read as it is. */
static inline enum plan_buf emit_norm(struct plan *p, int layer, enum plan_buf dst,
                                      enum plan_buf src, const struct model_norm *norm)
{
    if (!norm->gain)
        return src;
    struct plan_op *op = emit(p, PLAN_NORM, layer, dst, src);
    op->norm = norm;
    op->n = norm->n;
    op->n_groups = 1;
    op->by = norm->eps != 0 ? norm->eps : p->model->norm_eps;
    return dst;
}

static inline void add_part(struct plan_op *op, enum plan_buf dst, const struct model_matrix *w,
                            const float *bias)
{
    CHECK(op->n_parts < PLAN_PARTS_MAX);
    CHECK(op->n_parts == 0 || op->part[0].weight->cols == w->cols);
    op->part[op->n_parts++] = (struct plan_part){.weight = w, .bias = bias, .dst = dst};
}

static inline struct plan_op *emit_matmul(struct plan *p, int layer, enum plan_buf dst,
                                          enum plan_buf src, const struct model_matrix *w,
                                          const float *bias)
{
    struct plan_op *op = emit(p, PLAN_MATMUL, layer, dst, src);
    add_part(op, dst, w, bias);
    return op;
}

/* dst op= by, over rows of n; nothing where that changes nothing. */
static inline void emit_by(struct plan *p, enum plan_kind kind, int layer, enum plan_buf dst,
                           size_t n, float by, float nothing)
{
    if (by == nothing)
        return;
    struct plan_op *op = emit(p, kind, layer, dst, dst);
    op->n = n;
    op->by = by;
}

static inline void emit_add(struct plan *p, int layer, enum plan_buf dst, enum plan_buf src,
                            float by)
{
    struct plan_op *op = emit(p, PLAN_ADD, layer, dst, src);
    op->n = p->model->dim;
    op->by = by;
}

/* n numbers of each of some groups. */
static inline void emit_groups(struct plan *p, int i, enum plan_buf dst, struct plan_groups to,
                               enum plan_buf src, struct plan_groups from, size_t n,
                               size_t n_groups)
{
    struct plan_op *op = emit(p, PLAN_COPY, i, dst, src);
    op->to = to;
    op->from = from;
    op->n = n;
    op->n_groups = n_groups;
}

/* n numbers of src from `at` on. */
static inline void emit_take(struct plan *p, int i, enum plan_buf dst, enum plan_buf src, size_t at,
                             size_t n)
{
    emit_groups(p, i, dst, (struct plan_groups){0}, src, (struct plan_groups){at, 0}, n, 1);
}

static inline struct plan_op *emit_mul(struct plan *p, int i, enum plan_buf dst, enum plan_buf src,
                                       size_t n)
{
    struct plan_op *op = emit(p, PLAN_MUL, i, dst, src);
    op->n = n;
    return op;
}

/* y *= silu(z) */
static inline void emit_gate(struct plan *p, int i)
{
    struct plan_op *op = emit(p, PLAN_GLU, i, PLAN_Y, PLAN_Z);
    op->src2 = PLAN_Y;
    op->act = MODEL_SILU;
    op->n = p->model->mixer.inner;
}

/* A place of n floats in a sequence's state. */
static inline void take_state(struct plan *p, struct plan_op *op, size_t n)
{
    op->state = p->state_floats;
    p->state_floats += num_align(n, 16);
}

static inline struct plan_op *emit_mixed(struct plan *p, int i, enum plan_kind kind,
                                         enum plan_buf dst, enum plan_buf src, size_t n_state)
{
    struct plan_op *op = emit(p, kind, i, dst, src);
    op->mixer = &p->model->layers[i].mixer;
    take_state(p, op, n_state);
    return op;
}

static inline void add_in(struct plan_op *op, enum plan_buf buf, size_t at)
{
    CHECK(op->n_in < PLAN_IN_MAX);
    op->in[op->n_in++] = (struct plan_in){buf, at};
}

/* Scales what matrices with scales give (plan_scales.c): after everything else is emitted. */
void plan_scale_results(struct plan *p);

/* The operations of layers [from, to), with what is before the first layer and behind the last one
 * where they are among them; buffers have no places yet. */
struct plan *plan_of_layers(const struct model *m, size_t from, size_t to);

/* Gives each buffer its place (plan_place.c). */
void plan_place(struct plan *p);

/* Several residual streams (plan_streams.c): their beginning, out of x; what a layer does before
 * its blocks, whose x is the stream that it works on, between them, and after them; and the one
 * that the output reads, in x. */
void plan_begin_streams(struct plan *p);
void plan_predict_streams(struct plan *p, int layer);
void plan_join_laurel(struct plan *p, int layer, enum plan_buf normed);
void plan_correct_streams(struct plan *p, int layer);
void plan_add_to_streams(struct plan *p, int layer, enum plan_buf src);
void plan_end_streams(struct plan *p);

/* The layer's mixer (plan_mixer.c); gives the buffer of what meets its last matrix. */
enum plan_buf plan_mix(struct plan *p, int layer, enum plan_buf src);

/* RWKV (plan_wkv.c): src's row before, less the row; src moved towards that by numbers [dim], into
 * the buffer that is given; and the mixer, of what its last matrix reads, in y. */
void plan_shift(struct plan *p, int layer, enum plan_buf src);
enum plan_buf plan_lerp(struct plan *p, int layer, enum plan_buf src, const float *numbers);
void plan_mix_wkv(struct plan *p, int layer, enum plan_buf src);

#endif
