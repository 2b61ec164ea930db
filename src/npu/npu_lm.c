/* SPDX-License-Identifier: MIT
 * npu_lm.c - BERT-Large by its rule, and language models from the plan that the server runs. */
#include "base/num.h"
#include "npu/npu_int.h"

#include <math.h>

/* Passes of the vector unit over a row: a norm sums squares, then scales; a softmax finds the
 * largest, subtracts and takes powers, sums, divides; a gated unit takes a power, divides,
 * multiplies. */
#define PASSES_NORM    3
#define PASSES_SOFTMAX 5
#define PASSES_GELU    4
#define PASSES_GLU     5
#define PASSES_ROPE    3
#define PASSES_INDEX   2 /* what is positive, times a weight */

static int vector(struct npu_work *w, const char *name, int layer, uint64_t m, uint64_t n,
                  double passes, double reads, int in, int out)
{
    struct npu_op *op = npu_work_op(w, NPU_VECTOR, name, layer, in, out);
    op->m = m;
    op->n = n;
    op->passes = passes;
    op->reads = reads;
    return out;
}

static int product(struct npu_work *w, const char *name, int layer, uint64_t m, uint64_t k,
                   uint64_t n, int in)
{
    int out = npu_work_tensor(w, m * n);
    struct npu_op *op = npu_work_op(w, NPU_MATMUL, name, layer, in, out);
    op->m = m;
    op->k = k;
    op->n = n;
    return out;
}

/* Devlin et al. 2018: 24 layers, 1024 wide, 16 heads; answers to questions: two numbers a position.
 */
void npu_make_bert(struct npu_work *w)
{
    enum { LAYERS = 24, WIDE = 1024, FF = 4096, HEADS = 16, SEEN = 384 };
    uint64_t rows = w->batch * SEEN;
    int x = npu_work_tensor(w, rows * WIDE);
    struct npu_op *op = npu_work_op(w, NPU_GATHER, "embed", -1, -1, x);
    op->m = rows;
    op->n = WIDE;
    for (int i = 0; i < LAYERS; i++) {
        int qkv = product(w, "qkv", i, rows, WIDE, 3 * WIDE, x);
        int mix = npu_work_tensor(w, rows * WIDE);
        op = npu_work_op(w, NPU_ATTEND, "attend", i, qkv, mix);
        *op = (struct npu_op){.kind = NPU_ATTEND,
                              .name = "attend",
                              .layer = i,
                              .in = qkv,
                              .in2 = -1,
                              .weights_of = -1,
                              .out = mix,
                              .unique = 1,
                              .n_seq = w->batch,
                              .rows = SEEN,
                              .context = SEEN + (SEEN - 1) / 2, /* each sees all: twice the half */
                              .heads = HEADS,
                              .kv_heads = HEADS,
                              .dim = WIDE / HEADS,
                              .passes = PASSES_SOFTMAX};
        int y = product(w, "output", i, rows, WIDE, WIDE, mix);
        w->ops[w->n_ops - 1].in2 = x;
        w->ops[w->n_ops - 1].passes = 1;
        y = vector(w, "norm", i, rows, WIDE, PASSES_NORM, 1, y, npu_work_tensor(w, rows * WIDE));
        int up = product(w, "up", i, rows, WIDE, FF, y);
        w->ops[w->n_ops - 1].passes = PASSES_GELU;
        x = product(w, "down", i, rows, FF, WIDE, up);
        w->ops[w->n_ops - 1].in2 = y;
        w->ops[w->n_ops - 1].passes = 1;
        x = vector(w, "norm", i, rows, WIDE, PASSES_NORM, 1, x, npu_work_tensor(w, rows * WIDE));
    }
    product(w, "answer", -1, rows, WIDE, 2, x);
    w->host_in = rows * 8;
    w->host_out = rows * 4;
}

/* ---- from a plan ---- */

struct lowering {
    struct npu_work *w;
    const struct plan *plan;
    const struct npu_mix *mix;
    uint64_t all;        /* rows */
    int now[PLAN_BUF_N]; /* the tensor that a buffer holds; -1: none */
};

static uint64_t rows_of(const struct lowering *l, const struct plan_op *op)
{
    const uint64_t n[] = {[PLAN_ROWS_ALL] = l->all,
                          [PLAN_ROWS_WANTED] = l->mix->wanted,
                          [PLAN_ROWS_OUT] = l->mix->out};
    return op->spread ? n[op->rows] * l->plan->model->n_chosen : n[op->rows];
}

/* Experts that some of `rows` tokens choose, which are expected where they choose as if by chance.
 */
static uint64_t experts_met(const struct model *m, uint64_t rows)
{
    double chosen = (double)m->n_chosen / (double)m->n_expert;
    double met = (double)m->n_expert * (1 - pow(1 - chosen, (double)rows));
    return MAX((uint64_t)(met + 0.5), m->n_chosen);
}

/* A new value in a buffer. */
static int put(struct lowering *l, enum plan_buf b, uint64_t rows, uint64_t width)
{
    l->now[b] = npu_work_tensor(l->w, rows * width);
    return l->now[b];
}

static void lower_matmul(struct lowering *l, const struct plan_op *op)
{
    static const char *const names[] = {
        [PLAN_Q] = "qkv",        [PLAN_X] = "output",     [PLAN_PICKED] = "output",
        [PLAN_DELTA] = "output", [PLAN_GATE] = "gate-up", [PLAN_LOGITS] = "vocabulary",
        [PLAN_BUF_N] = NULL};
    uint64_t n = 0, rows = rows_of(l, op);
    for (int i = 0; i < op->n_parts; i++)
        n += op->part[i].weight->rows;
    int in = l->now[op->src], before = l->now[op->dst];
    const char *name = names[op->dst] ? names[op->dst] : "matmul";
    int out = product(l->w, op->src == PLAN_GATE ? "down" : name, op->layer, rows,
                      op->part[0].weight->cols, n, in);
    if (op->add) {
        l->w->ops[l->w->n_ops - 1].in2 = before;
        l->w->ops[l->w->n_ops - 1].passes = 1;
    }
    for (int i = 0; i < op->n_parts; i++)
        l->now[op->part[i].dst] = out;
}

/* As one product with the matrices of all experts that are met, each with its part of the rows: as
 * many weights to load and as many products as there are. */
static void lower_experts(struct lowering *l, const struct plan_op *op)
{
    const struct model *m = l->plan->model;
    uint64_t n = 0, all = rows_of(l, op), slots = num_div_up(all * op->n_experts, m->n_expert);
    uint64_t met = num_div_up(experts_met(m, all / m->n_chosen) * op->n_experts, m->n_expert);
    for (int i = 0; i < op->n_parts; i++)
        n += plan_part_rows(op, i);
    int out = product(l->w, "experts", op->layer, num_div_up(slots, met), op->part[0].weight->cols,
                      n * met, l->now[op->src]);
    for (int i = 0; i < op->n_parts; i++)
        l->now[op->part[i].dst] = out;
}

/* Each head's product has as many rows as there are tokens: as one with all heads' matrices. */
static void lower_heads(struct lowering *l, const struct plan_op *op)
{
    const struct model_matrix *w = op->part[0].weight;
    l->now[op->dst] = product(l->w, "heads", op->layer, rows_of(l, op), w->cols, w->rows,
                              l->now[op->src]);
}

static void lower_group(struct lowering *l, const struct plan_op *op, const struct npu_group *g,
                        int in, int out)
{
    const struct model *m = l->plan->model;
    uint64_t context = g->past + g->rows;
    if (op->window && context > op->window)
        context = op->window;
    if (op->n && context > op->n) /* of so many that were chosen */
        context = op->n;
    struct npu_op *x = npu_work_op(l->w, NPU_ATTEND, "attend", op->layer, in, out);
    x->n_seq = g->n_seq;
    x->rows = g->rows;
    x->context = MAX(context, g->rows);
    const struct model_layer *layer = &m->layers[op->layer];
    x->heads = layer->n_head;
    x->kv_heads = layer->n_kv_head;
    x->dim = layer->k_dim;
    x->passes = PASSES_SOFTMAX;
    l->w->kv_values += (double)g->n_seq * (double)context * (double)layer->n_kv_head *
                       (double)(layer->k_dim + layer->v_dim);
}

/* An operation a group: they read and write parts of the same tensors. */
static void lower_attend(struct lowering *l, const struct plan_op *op)
{
    const struct model *m = l->plan->model;
    const struct model_layer *layer = &m->layers[op->layer];
    int in = l->now[PLAN_Q], out = put(l, op->dst, l->all, layer->n_head * layer->v_dim);
    for (int i = 0; i < NPU_GROUPS; i++)
        if (l->mix->group[i].n_seq)
            lower_group(l, op, &l->mix->group[i], in, out);
}

/* Scores of all positions, and no values of theirs: attention of half the size. */
static void lower_index(struct lowering *l, const struct plan_op *op)
{
    const struct model *m = l->plan->model;
    uint64_t half = num_div_up(m->index_dim, 2);
    int out = npu_work_tensor(l->w, l->all * m->index_heads * half);
    for (int i = 0; i < NPU_GROUPS; i++) {
        const struct npu_group *g = &l->mix->group[i];
        if (!g->n_seq || g->past + g->rows <= op->n)
            continue;
        struct npu_op *x = npu_work_op(l->w, NPU_ATTEND, "index", op->layer, l->now[op->src], out);
        x->n_seq = g->n_seq;
        x->rows = g->rows;
        x->context = g->past + g->rows;
        x->heads = m->index_heads;
        x->kv_heads = 1;
        x->dim = half;
        x->passes = PASSES_INDEX;
    }
}

/* Each row's step on its own part of the vector unit: a pass for each number of the state that a
 * channel meets, as often as the step does. */
static void lower_mixer(struct lowering *l, const struct plan_op *op)
{
    const struct model_mixer_sizes *s = &l->plan->model->mixer;
    bool conv = op->kind == PLAN_CONV;
    uint64_t width = conv ? op->mixer->n_conv : s->inner, rows = rows_of(l, op);
    double passes = conv                    ? (double)s->taps
                    : op->kind == PLAN_SCAN ? 3 * (double)s->state
                                            : 5 * (double)s->state;
    vector(l->w, plan_kind_name(op->kind), op->layer, rows, width, passes, 1, l->now[op->src],
           put(l, op->dst, rows, width));
}

/* Is a table the output matrix, too, whose weights are counted there? */
static bool multiplies(const struct plan *p, const struct model_matrix *table)
{
    for (size_t i = 0; i < p->n_ops; i++)
        for (int k = 0; k < p->ops[i].n_parts; k++)
            if (p->ops[i].part[k].weight == table ||
                (table->tensor && p->ops[i].part[k].weight->tensor == table->tensor))
                return true;
    return false;
}

/* What makes each number of a row of those at its place. */
static void lower_each(struct lowering *l, const struct plan_op *op)
{
    uint64_t rows = rows_of(l, op);
    bool gates = op->kind == PLAN_BLEND || op->kind == PLAN_SIGMOID;
    double passes = gates ? PASSES_GLU : op->kind == PLAN_LERP ? 2 : 1;
    double reads = op->kind == PLAN_SIGMOID ? 1 : op->kind == PLAN_BLEND ? 3 : 2;
    vector(l->w, plan_kind_name(op->kind), op->layer, rows, op->n, passes, reads, l->now[op->src],
           put(l, op->dst, rows, op->n));
}

static void lower_embed(struct lowering *l, const struct plan_op *op, uint64_t rows)
{
    size_t dim = op->table ? op->table->cols : op->n;
    if (op->table && !multiplies(l->plan, op->table))
        l->w->table_values += (double)op->table->rows * (double)op->table->cols;
    struct npu_op *x = npu_work_op(l->w, NPU_GATHER, "embed", -1, -1, put(l, op->dst, rows, dim));
    x->m = rows;
    x->n = dim;
}

/* Of several residual streams, and of gates that stand out. */
static void lower_streams(struct lowering *l, const struct plan_op *op)
{
    bool all = op->kind == PLAN_PREDICT || op->kind == PLAN_CORRECT;
    uint64_t n = l->plan->model->n_streams, width = op->n * (all ? n : 1), rows = rows_of(l, op);
    double passes = op->kind == PLAN_PREDICT ? (double)n : all ? 2 : PASSES_NORM;
    vector(l->w, plan_kind_name(op->kind), op->layer, rows, width, passes, all ? 2 : 1,
           l->now[op->dst], put(l, op->dst, rows, width));
}

static void lower_kv(struct lowering *l, const struct plan_op *op)
{
    const struct model_layer *layer = &l->plan->model->layers[op->layer];
    uint64_t rows = rows_of(l, op);
    if (op->kind == PLAN_ROPE) {
        uint64_t dim = op->dst == PLAN_INDEX_Q ? l->plan->model->index_dim : layer->k_dim;
        uint64_t width = (op->n_groups + (op->alone ? 0 : op->n)) * dim;
        vector(l->w, "rope", op->layer, rows, width, PASSES_ROPE, 1, l->now[op->dst],
               put(l, op->dst, rows, width));
        return;
    }
    struct npu_op *x = npu_work_op(l->w, NPU_STORE, "store", op->layer, l->now[op->src], -1);
    x->m = rows;
    x->n = op->kind == PLAN_STORE_INDEX ? l->plan->model->index_dim
                                        : layer->n_kv_head * (layer->k_dim + layer->v_dim);
}

/* ---- of a share: exchanges with the other chips ---- */

static void exchange(struct lowering *l, const struct plan_op *op, enum npu_exchange how, int in)
{
    static const char *const names[] = {
        [NPU_ALL_GATHER] = "gather", [NPU_ALL_REDUCE] = "reduce", [NPU_SEND] = "receive"};
    uint64_t rows = rows_of(l, op);
    int out = put(l, op->dst, rows, op->n);
    struct npu_op *x = npu_work_op(l->w, NPU_EXCHANGE, names[how], op->layer, in, out);
    x->m = rows;
    x->k = op->n_groups;
    x->n = op->n;
    x->how = how;
}

/* A row is gathered, multiplied by this chip's rows of the weights, and the results are gathered.
 */
static bool is_between_gathers(const struct plan *p, size_t i)
{
    const struct plan_op *op = &p->ops[i];
    return i + 2 < p->n_ops && op[0].kind == PLAN_GATHER && !op[0].spread &&
           op[1].kind == PLAN_MATMUL && op[1].n_parts == 1 && op[1].src == op[0].dst &&
           op[2].kind == PLAN_GATHER && !op[2].to_first && op[2].dst == op[1].part[0].dst &&
           op[2].n_groups == op[0].n_groups;
}

/* The same by sums: this chip's part of the row by all rows of the weights. */
static void lower_reduced(struct lowering *l, const struct plan_op *op)
{
    uint64_t rows = rows_of(l, &op[1]);
    int in = l->now[op[0].dst], before = l->now[op[1].dst];
    size_t t = 0; /* whose rows of the weights begin there */
    while (t + 1 < op[2].n_groups && op[2].bounds[t] < op[1].part[0].at)
        t++;
    int out = product(l->w, op[1].src == PLAN_GATE ? "down" : "output", op[1].layer, rows,
                      op[0].bounds[t + 1] - op[0].bounds[t], op[2].n, in);
    if (op[1].add) {
        l->w->ops[l->w->n_ops - 1].in2 = before;
        l->w->ops[l->w->n_ops - 1].passes = 1;
    }
    exchange(l, &op[2], NPU_ALL_REDUCE, out);
}

static void lower_op(struct lowering *l, const struct plan_op *op)
{
    const struct model *m = l->plan->model;
    struct npu_work *w = l->w;
    uint64_t rows = rows_of(l, op);
    int in = op->kind == PLAN_EMBED ? -1 : l->now[op->src];
    switch (op->kind) {
    case PLAN_EMBED: lower_embed(l, op, rows); break;
    case PLAN_POOL: break; /* of a projector, which is no chip's */
    case PLAN_PICK: l->now[op->dst] = in; break;
    case PLAN_NORM:
        vector(w, "norm", op->layer, rows, op->n * op->n_groups, PASSES_NORM, 1, in,
               put(l, op->dst, rows, op->n * op->n_groups));
        break;
    case PLAN_MATMUL: lower_matmul(l, op); break;
    case PLAN_ROPE:
    case PLAN_STORE_INDEX:
    case PLAN_STORE: lower_kv(l, op); break;
    case PLAN_INDEX: lower_index(l, op); break;
    case PLAN_ATTEND: lower_attend(l, op); break;
    case PLAN_GLU:
        vector(w, "glu", op->layer, rows, op->n, PASSES_GLU, 2, in, put(l, op->dst, rows, op->n));
        break;
    case PLAN_TYPE:
    case PLAN_POSITION:
        vector(w, "position", -1, rows, m->dim, 1, 2, in, put(l, op->dst, rows, m->dim));
        break;
    case PLAN_HEADS: lower_heads(l, op); break;
    case PLAN_COPY: /* a place that HEADS leaves free, or a part that is read where it is */
        l->now[op->dst] = op->to.at == 0 || l->now[op->dst] < 0 ? in : l->now[op->dst];
        break;
    case PLAN_PREDICT:
    case PLAN_CORRECT:
    case PLAN_SIZE:
    case PLAN_SPARSE: lower_streams(l, op); break;
    case PLAN_TEMPER:
    case PLAN_CLAMP:
    case PLAN_SCALE:
    case PLAN_WEIGH:
        vector(w, plan_kind_name(op->kind), op->layer, rows, op->n, 1, 1, l->now[op->dst],
               put(l, op->dst, rows, op->n));
        break;
    case PLAN_MUL:
        vector(w, "mul", op->layer, rows, op->n, op->sigmoid ? PASSES_GLU : 1, 2, in,
               put(l, op->dst, rows, op->n));
        break;
    case PLAN_CONV:
    case PLAN_SCAN:
    case PLAN_WKV:
    case PLAN_DELTARULE: lower_mixer(l, op); break;
    case PLAN_SHIFT:
    case PLAN_LERP:
    case PLAN_BLEND:
    case PLAN_SIGMOID:
    case PLAN_ADD: lower_each(l, op); break;
    case PLAN_ROUTE: vector(w, "route", op->layer, rows, op->n, PASSES_SOFTMAX, 1, in, in); break;
    case PLAN_SPREAD: l->now[op->dst] = in; break; /* an address for each row */
    case PLAN_EXPERTS: lower_experts(l, op); break;
    case PLAN_COMBINE:
        vector(w, "combine", op->layer, rows / m->n_chosen, op->n, (double)m->n_chosen,
               (double)m->n_chosen, in, put(l, op->dst, rows / m->n_chosen, op->n));
        break;
    case PLAN_SOFTCAP:
        vector(w, "softcap", op->layer, rows, op->n, 3, 1, in, put(l, op->dst, rows, op->n));
        break;
    case PLAN_RECEIVE: exchange(l, op, NPU_SEND, -1); break;
    case PLAN_GATHER: exchange(l, op, NPU_ALL_GATHER, in); break;
    case PLAN_SEND:
    case PLAN_KIND_N: break;
    }
}

struct npu_work *npu_work_mix(const struct plan *p, const struct npu_mix *mix, enum npu_type format,
                              enum npu_type type)
{
    uint64_t n_seq = 0, all = 0;
    for (int i = 0; i < NPU_GROUPS; i++) {
        n_seq += mix->group[i].n_seq;
        all += mix->group[i].n_seq * mix->group[i].rows;
    }
    struct npu_work *w = npu_work_new("language model", n_seq, type);
    struct lowering l = {.w = w, .plan = p, .mix = mix, .all = all};
    w->weight_bits = format == NPU_BF16 ? 16 : format == NPU_INT4 ? 4.5 : 8;
    for (int b = 0; b < PLAN_BUF_N; b++)
        l.now[b] = -1;
    for (size_t i = 0; i < p->n_ops && rows_of(&l, &p->ops[i]) > 0; i++) {
        if (mix->reduce && is_between_gathers(p, i)) {
            lower_reduced(&l, &p->ops[i]);
            i += 2;
        } else {
            lower_op(&l, &p->ops[i]);
        }
    }
    w->tokens = n_seq;
    if (p->n_ops && p->ops[0].kind != PLAN_RECEIVE)
        w->host_in = all * 4;
    if (p->n_ops && p->ops[p->n_ops - 1].kind != PLAN_SEND)
        w->host_out = mix->wanted * 4; /* the chip picks the token */
    npu_work_done(w);
    return w;
}

struct npu_work *npu_work_plan(const struct plan *p, uint64_t batch, uint64_t rows, uint64_t past,
                               enum npu_type format, enum npu_type type)
{
    const struct npu_mix mix = {.group = {{batch, rows, past}}, .wanted = batch, .out = batch};
    return npu_work_mix(p, &mix, format, type);
}
