/* SPDX-License-Identifier: MIT
 * plan_scales.c - matrices that have a scale beside their blocks' (NVFP4): what they give is scaled
 * by operations of their own. */
#include "plan/plan_int.h"

static bool has_scales(const struct plan_op *op)
{
    for (int k = 0; k < op->n_parts; k++)
        if (op->part[k].weight->scale)
            return true;
    return false;
}

static struct plan_op *copy_op(struct plan *p, const struct plan_op *op)
{
    struct plan_op *to = &p->ops[p->n_ops++];
    *to = *op;
    return to;
}

/* An operation on what part k of op gives, at the same rows. */
static struct plan_op *follow(struct plan *p, const struct plan_op *op, enum plan_kind kind,
                              enum plan_buf dst, enum plan_buf src)
{
    struct plan_op *to = &p->ops[p->n_ops++];
    *to = (struct plan_op){
        .kind = kind, .layer = op->layer, .rows = op->rows, .dst = dst, .src = src, .by = 1};
    return to;
}

/* A product that is added to something goes by way of a buffer; the biases are scaled before. */
static void scale_one(struct plan *p, const struct plan_op *op)
{
    struct plan_op *made = copy_op(p, op);
    size_t n = 0;
    for (int k = 0; k < op->n_parts; k++) {
        const struct model_matrix *w = op->part[k].weight;
        enum plan_buf dst = op->add ? PLAN_SCALED : op->part[k].dst;
        n = op->kind == PLAN_HEADS ? op->to.stride * op->n_groups : plan_part_rows(op, k);
        made->part[k].dst = dst;
        if (!w->scale)
            continue;
        struct plan_op *scale = follow(p, op, PLAN_SCALE, dst, dst);
        scale->n = n;
        scale->to.at = op->part[k].at;
        scale->spread = op->kind == PLAN_EXPERTS;
        scale->numbers = scale->spread ? w->scale : NULL;
        scale->by = *w->scale;
    }
    if (!op->add)
        return;
    CHECK(op->n_parts == 1);
    made->dst = PLAN_SCALED;
    made->add = false;
    follow(p, op, PLAN_ADD, op->dst, PLAN_SCALED)->n = n;
}

void plan_scale_results(struct plan *p)
{
    size_t n = p->n_ops, extra = 0;
    for (size_t i = 0; i < n; i++)
        extra += has_scales(&p->ops[i]) ? PLAN_PARTS_MAX + 1 : 0;
    if (!extra)
        return;
    struct plan_op *old = p->ops;
    p->ops = mem_alloc((n + extra) * sizeof *p->ops);
    p->n_ops = 0;
    for (size_t i = 0; i < n; i++)
        if (has_scales(&old[i]))
            scale_one(p, &old[i]);
        else
            copy_op(p, &old[i]);
    mem_free(old);
}
