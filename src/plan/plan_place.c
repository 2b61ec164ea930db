/* SPDX-License-Identifier: MIT
 * plan_place.c - a place for each buffer, from its first to its last use in a layer. */
#include "plan/plan_int.h"

#include "base/num.h"

bool plan_by_rows(const struct plan_op *op)
{
    if (op->spread && op->kind == PLAN_SCALE)
        return false;
    switch (op->kind) {
    case PLAN_EMBED:
    case PLAN_NORM:
    case PLAN_ROPE:
    case PLAN_STORE:
    case PLAN_STORE_INDEX:
    case PLAN_POSITION:
    case PLAN_TYPE:
    case PLAN_COPY:
    case PLAN_TEMPER:
    case PLAN_SIZE:
    case PLAN_PREDICT:
    case PLAN_CORRECT:
    case PLAN_SPARSE:
    case PLAN_CLAMP:
    case PLAN_SCALE:
    case PLAN_WEIGH:
    case PLAN_MUL:
    case PLAN_COMBINE:
    case PLAN_LERP:
    case PLAN_BLEND:
    case PLAN_SIGMOID:
    case PLAN_ADD: return true;
    default: return false;
    }
}

/* First and last operation of a layer that touches each buffer. */
struct life {
    size_t first, last;
    bool used;
};

/* Which buffers are used, and which are at the same time. */
struct meetings {
    bool used[PLAN_BUF_N], meet[PLAN_BUF_N][PLAN_BUF_N];
};

static void touch(struct life *life, size_t at)
{
    life->first = life->used ? life->first : at;
    life->last = at;
    life->used = true;
}

static void touch_all(struct life life[PLAN_BUF_N], const struct plan_op *op, size_t at)
{
    touch(&life[op->src], at);
    touch(&life[op->dst], at);
    if (op->kind == PLAN_STORE || op->kind == PLAN_INDEX || op->kind == PLAN_CORRECT ||
        op->kind == PLAN_LERP || op->kind == PLAN_BLEND || (op->kind == PLAN_GLU && !op->alone))
        touch(&life[op->src2], at);
    for (int k = 0; k < op->n_parts; k++)
        touch(&life[op->part[k].dst], at);
    for (int k = 0; k < op->n_in; k++)
        touch(&life[op->in[k].buf], at);
}

/* The last operation that may run while the one at `at` does. */
static size_t last_beside(const struct plan *p, size_t at)
{
    while (at + 1 < p->n_ops && plan_by_rows(&p->ops[at]) && plan_by_rows(&p->ops[at + 1]))
        at++;
    return at;
}

/* Operations [from, to), over which a buffer that is written anew in each layer lives from its
 * first to its last use.  The residual stream lives throughout. */
static void find_meetings(const struct plan *p, size_t from, size_t to, struct meetings *out)
{
    struct life life[PLAN_BUF_N] = {0};
    for (size_t i = from; i < to; i++)
        touch_all(life, &p->ops[i], i);
    for (int b = 0; b < PLAN_BUF_N; b++)
        life[b].last = last_beside(p, life[b].last);
    life[PLAN_X] = (struct life){from, to, true};
    if (p->model->n_input)
        life[PLAN_INPUTS] = life[PLAN_X];
    if (p->model->n_streams)
        life[PLAN_STREAMS] = life[PLAN_X];
    if (p->model->layers[0].mixer.kind == MODEL_WKV7)
        life[PLAN_V_FIRST] = life[PLAN_X];
    for (int a = 0; a < PLAN_BUF_N; a++) {
        out->used[a] |= life[a].used;
        for (int b = 0; b < PLAN_BUF_N; b++)
            out->meet[a][b] |= life[a].used && life[b].used && life[a].first <= life[b].last &&
                               life[b].first <= life[a].last;
    }
}

/* Layer by layer; what is before the first belongs to it, and what is after the last to that. */
static void find_all_meetings(const struct plan *p, struct meetings *out)
{
    *out = (struct meetings){0};
    for (size_t from = 0, to = 0; from < p->n_ops; from = to) {
        int layer = MAX(p->ops[from].layer, 0);
        while (to < p->n_ops && (p->ops[to].layer == layer || p->ops[to].layer < 0))
            to++;
        find_meetings(p, from, last_beside(p, to - 1) + 1, out);
    }
}

/* First fit: the lowest place where no buffer lies that is used at the same time. */
static size_t find_place(const struct plan *p, const struct meetings *m, int b)
{
    size_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int o = 0; o < b; o++)
            if (o != PLAN_LOGITS && m->meet[o][b] && at < p->place[o] + p->width[o] &&
                p->place[o] < at + p->width[b]) {
                at = p->place[o] + p->width[o];
                moved = true;
            }
    }
    return at;
}

static size_t conv_width(const struct model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_layer; i++)
        n = MAX(n, m->layers[i].mixer.n_conv);
    return n;
}

/* Behind the last number of a row that groups of n numbers each fill. */
static size_t groups_end(const struct plan_op *op, size_t n)
{
    return op->to.at + (op->n_groups - 1) * op->to.stride + n;
}

/* The same of a product's part. */
static size_t part_end(const struct plan_op *op, int k)
{
    size_t rows = plan_part_rows(op, k);
    return op->kind == PLAN_HEADS ? groups_end(op, rows) : op->part[k].at + rows;
}

/* Whole cache lines, so that threads do not share them; spread rows each. */
static size_t width_of(const struct plan *p, enum plan_buf b)
{
    const struct model *m = p->model;
    size_t n = 0, read = 0; /* read: by a matrix, of a share that makes a part of it */
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        for (int k = 0; k < op->n_parts; k++)
            if (op->part[k].dst == b)
                n = MAX(n, part_end(op, k));
        if (op->kind == PLAN_COPY && op->dst == b)
            n = MAX(n, groups_end(op, op->n));
        if (op->kind == PLAN_MATMUL &&
            (op->src == b || (op->src == PLAN_PICKED_MIX && b == PLAN_MIX)))
            read = MAX(read, op->part[0].weight->cols);
        if (op->kind == PLAN_GATHER && op->dst == b)
            n = MAX(n, op->n);
    }
    switch (b) {
    case PLAN_PATCHES: n = m->vision->patch.cols; break;
    case PLAN_VALUES: n = m->n_head * m->value_dim; break;
    case PLAN_STREAMS: n = m->n_streams * m->dim; break;
    case PLAN_INPUTS_EMBED: n = m->n_layer * m->n_input; break;
    case PLAN_INPUT:
    case PLAN_PICKED_INPUT: n = m->n_input; break;
    case PLAN_X:
    case PLAN_NORMED:
    case PLAN_DELTA:
    case PLAN_SHARED:
    case PLAN_EXPERTS_IN:
    case PLAN_SHIFTED:
    case PLAN_LERPED:
    case PLAN_V_FIRST:
    case PLAN_PICKED:
    case PLAN_SPREAD_IN: n = m->dim; break;
    case PLAN_CONV_OUT: n = conv_width(m); break;
    case PLAN_Y: n = m->mixer.inner; break;
    case PLAN_PICKED_Y: n = m->layers[m->n_layer - 1].mixer.out.cols; break;
    case PLAN_Q_GATE:
    case PLAN_MIX:
    case PLAN_PICKED_MIX: n = m->n_head * m->v_dim; break;
    default: break;
    }
    n = MAX(n, read);
    bool spread = b >= PLAN_SPREAD_IN && b <= PLAN_SPREAD_OUT;
    return num_align(n, 16) * (spread ? m->n_chosen : 1);
}

void plan_place(struct plan *p)
{
    struct meetings m;
    find_all_meetings(p, &m);
    for (int b = 0; b < PLAN_BUF_N; b++) {
        p->width[b] = m.used[b] ? width_of(p, (enum plan_buf)b) : 0;
        if (b == PLAN_LOGITS || !m.used[b])
            continue;
        p->place[b] = find_place(p, &m, b);
        p->row_floats = MAX(p->row_floats, p->place[b] + p->width[b]);
    }
}
