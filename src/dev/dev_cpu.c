/* SPDX-License-Identifier: MIT
 * dev_cpu.c - the CPU device: its memory, and what it decides once a plan. */
#include "dev/dev_cpu_int.h"

#include "base/num.h"
#include "os/os_map.h"

#include <math.h>
#include <string.h>

#define CPU_ALIGN 64

/* The most columns of a matrix. */
static size_t act_width(const struct plan *p)
{
    size_t k = 0;
    for (size_t i = 0; i < p->n_ops; i++)
        if (p->ops[i].n_parts)
            k = MAX(k, p->ops[i].part[0].weight->cols);
    return k;
}

/* How much of attention is computed together, and by how many. */
static void size_attention(struct dev_cpu *d)
{
    const struct model *m = d->plan->model;
    size_t group = 1; /* queries of a key-value head, in the layer that has most */
    for (size_t i = 0; i < m->n_layer; i++)
        if (m->layers[i].attends)
            group = MAX(group, m->layers[i].n_head / m->layers[i].n_kv_head);
    d->tile_rows = MAX((size_t)1, MIN(d->opts.rows_max, CPU_TILE_QUERIES / group));
    d->n_q_max = d->tile_rows * group;
    d->split_rows = num_div_up(CPU_SHARES * (size_t)d->opts.n_threads, m->n_kv_head) - 1;
    d->split_rows = d->opts.n_threads > 1 ? MIN(d->split_rows, d->opts.rows_max) : 0;
    if (d->pairs) /* which has no attention in parts */
        d->split_rows = 0;
    size_t row = num_div_up(d->opts.ctx_max, KERN_PART) * m->n_head * (2 + m->v_dim);
    d->split_rows = MIN(d->split_rows, MAX(CPU_PARTS_MAX / MAX(row, (size_t)1), (size_t)1));
}

/* Where the keys and values of the plan's layers are in a page: those of the same number in one
 * place. */
static void size_pages(struct dev_cpu *d)
{
    const struct model *m = d->plan->model;
    d->kv = mem_alloc(m->n_layer * sizeof *d->kv);
    for (size_t i = 0; i < d->plan->n_ops; i++) {
        const struct plan_op *op = &d->plan->ops[i];
        if (op->kind == PLAN_STORE_INDEX) {
            d->kv[op->layer].index_at = d->page_bytes;
            d->page_bytes += kern_k_bytes(KERN_KV_f16, m->index_dim);
        }
        if (op->kind != PLAN_ATTEND)
            continue;
        const struct model_layer *l = &m->layers[op->layer];
        struct cpu_kv *kv = &d->kv[op->layer];
        kv->k_bytes = kern_k_bytes(d->opts.kv, l->k_dim);
        kv->v_bytes = kern_v_bytes(d->opts.kv, l->v_dim);
        kv->at = d->page_bytes;
        for (int from = 0; from < op->layer && kv->at == d->page_bytes; from++)
            if (d->kv[from].k_bytes && m->layers[from].kv_index == l->kv_index)
                kv->at = d->kv[from].at;
        if (kv->at == d->page_bytes)
            d->page_bytes += l->n_kv_head * (kv->k_bytes + kv->v_bytes);
    }
}

/* Takes pieces of one allocation; with base NULL it only adds up. */
struct carver {
    char *base;
    size_t used;
    bool over; /* sizes passed what a size_t holds */
};

static void *carve(struct carver *c, size_t n, size_t size)
{
    size_t bytes, at = c->used;
    if (!num_mul(n, size, &bytes) || bytes > SIZE_MAX / 4 || at > SIZE_MAX / 4) {
        c->over = true;
        return NULL;
    }
    c->used = num_align(at + bytes, CPU_ALIGN);
    return c->base ? c->base + at : NULL;
}

/* Rows of 8-bit activations: a term each. */
static size_t act_rows(const struct dev_cpu *d)
{
    return MAX(d->opts.rows_max, CPU_OUT_TERMS * d->opts.out_max);
}

/* 8-bit activations of a step's largest product, in numbers. */
static size_t act_numbers(const struct dev_cpu *d)
{
    const struct model *m = d->plan->model;
    size_t most = 0;
    for (size_t i = 0; i < d->plan->n_ops; i++) {
        const struct plan_op *op = &d->plan->ops[i];
        size_t rows = op->kind == PLAN_MATMUL    ? act_rows(d)
                      : op->kind == PLAN_EXPERTS ? d->opts.rows_max * m->n_chosen
                      : op->kind == PLAN_HEADS   ? d->opts.rows_max * op->n_groups
                                                 : 0;
        if (rows)
            most = MAX(most, rows * mm_act_width(op->part[0].weight->cols));
    }
    return most;
}

static void carve_routes(struct carver *c, struct dev_cpu *d)
{
    const struct model *m = d->plan->model;
    size_t slots = d->opts.rows_max * m->n_chosen;
    struct cpu_routes *s = &d->routes;
    s->chosen = carve(c, slots, sizeof *s->chosen);
    s->weight = carve(c, slots, sizeof *s->weight);
    s->slot = carve(c, slots, sizeof *s->slot);
    s->row = carve(c, slots, sizeof *s->row);
    s->begin = carve(c, m->n_expert + 1, sizeof *s->begin);
    s->active = carve(c, m->n_expert, sizeof *s->active);
}

/* Nothing is chosen in contexts whose positions are all seen. */
static bool is_chosen(const struct dev_cpu *d)
{
    return d->plan->model->index_top_k && d->opts.ctx_max > d->plan->model->index_top_k;
}

static void carve_index(struct carver *c, struct dev_cpu *d)
{
    size_t n = is_chosen(d) ? d->opts.rows_max : 0, width = num_align(d->opts.ctx_max, DEV_PAGE);
    d->index_rows = MIN(n, MAX(CPU_INDEX_SCORES / width, (size_t)1));
    d->chosen = carve(c, n, d->plan->model->index_top_k * sizeof *d->chosen);
    d->index_scores = carve(c, d->index_rows, width * sizeof *d->index_scores);
}

/* Pages for the positions that a row sees. */
static void carve_taken(struct carver *c, const struct dev_cpu *d, struct cpu_scratch *s)
{
    const struct model *m = d->plan->model;
    size_t pages = is_chosen(d) ? num_div_up(m->index_top_k, DEV_PAGE) : 0;
    s->taken = carve(c, pages,
                     kern_k_bytes(d->opts.kv, m->k_dim) + kern_v_bytes(d->opts.kv, m->v_dim));
}

static void carve_scratch(struct carver *c, const struct dev_cpu *d, struct cpu_scratch *s)
{
    const struct model *m = d->plan->model;
    size_t n_q = d->n_q_max, pages = num_div_up(d->opts.ctx_max, DEV_PAGE);
    s->mm = carve(c, mm_scratch_bytes(d->mm, act_width(d->plan), act_rows(d)), 1);
    size_t attend = d->pairs ? pairs_scratch(n_q, m->k_dim, m->v_dim)
                             : kern_attend_scratch(d->opts.kv, n_q, m->k_dim, m->v_dim);
    s->attend = carve(c, attend, sizeof(float));
    s->q = carve(c, n_q, sizeof *s->q);
    s->out = carve(c, n_q, sizeof *s->out);
    s->from = carve(c, n_q, sizeof *s->from);
    s->to = carve(c, n_q, sizeof *s->to);
    s->at = carve(c, n_q, sizeof *s->at);
    s->sink = carve(c, n_q, sizeof *s->sink);
    s->slope = carve(c, n_q, sizeof *s->slope);
    s->grow = carve(c, n_q, sizeof *s->grow);
    s->k = carve(c, pages, sizeof *s->k);
    s->v = carve(c, pages, sizeof *s->v);
    s->left = carve(c, act_width(d->plan), sizeof *s->left);
    carve_taken(c, d, s);
    const struct model_mixer_sizes *x = &m->mixer;
    size_t head = x->heads ? x->inner / x->heads : 0;
    s->taps = carve(c, x->taps, sizeof *s->taps);
    s->state = carve(c, 4 * MAX(x->state, head), sizeof *s->state);
}

/* The work area, in one piece. */
static void carve_work(struct carver *c, struct dev_cpu *d)
{
    const struct plan *p = d->plan;
    size_t n = d->opts.rows_max, acts = act_numbers(d);
    d->rows = carve(c, n, p->row_floats * sizeof(float));
    d->logits = carve(c, d->opts.out_max, p->width[PLAN_LOGITS] * sizeof(float));
    d->cos_sin = carve(c, 2 * n, cpu_angles_width(d) * sizeof(float));
    d->act.q = carve(c, acts, 1);
    d->act.d = carve(c, acts / 32, sizeof(float));
    d->act.sum = carve(c, acts / 32, sizeof(float));
    d->act.neg32 = carve(c, acts / 32, sizeof(int32_t));
    d->act.neg16 = carve(c, acts / 16, sizeof(int32_t));
    d->pair = carve(c, d->pairs ? n : 0, num_div_up(act_width(p), 2) * sizeof *d->pair);
    carve_routes(c, d);
    carve_index(c, d);
    d->tiles = carve(c, n, sizeof *d->tiles);
    d->runs = carve(c, p->state_floats ? n : 0, sizeof *d->runs);
    size_t parts = d->split_rows * num_div_up(d->opts.ctx_max, KERN_PART);
    d->parts = carve(c, parts * p->model->n_head, (2 + p->model->v_dim) * sizeof(float));
    for (int t = 0; t < d->opts.n_threads; t++) {
        struct cpu_scratch s;
        carve_scratch(c, d, c->base ? &d->scratch[t] : &s);
    }
}

/* Sums of whole numbers that an int32 would not hold. */
static enum err check_sums(const struct dev_cpu *d, const struct plan_op *op, struct errinfo *e)
{
    for (int k = 0; d->opts.numerics == KERN_INT8 && k < op->n_parts; k++)
        if (op->part[k].weight->cols > CONTRACT_INT8_COLS)
            return err_set(e, ERR_UNSUPPORTED,
                           "%s: %.*s has %zu columns, and the contract int8 adds up products of %d "
                           "at most; --numerics bf16 has no such limit",
                           gguf_path(d->plan->model->gguf), (int)op->part[k].weight->name.n,
                           op->part[k].weight->name.p, op->part[k].weight->cols,
                           CONTRACT_INT8_COLS);
    return ERR_OK;
}

/* Matrices that lie one behind the other are packed as one: each has to begin with a panel. */
static enum err check_panels(const struct dev_cpu *d, const struct plan_op *op, struct errinfo *e)
{
    size_t panel = (size_t)d->mm->panel_rows;
    for (int k = 0; op->kind != PLAN_MATMUL && k < op->n_parts; k++) {
        size_t rows = plan_part_rows(op, k);
        if (rows % panel != 0)
            return err_set(e, ERR_UNSUPPORTED,
                           "%s: the %zu rows of a matrix in %.*s are no multiple of %zu",
                           gguf_path(d->plan->model->gguf), rows, (int)op->part[k].weight->name.n,
                           op->part[k].weight->name.p, panel);
    }
    return ERR_OK;
}

static enum err needs(struct dev_cpu *d, struct dev_need *need, struct errinfo *e)
{
    const struct model *m = d->plan->model;
    struct carver c = {0};
    carve_work(&c, d);
    *need = (struct dev_need){
        .weights = cpu_pack_bytes(d->plan, d->mm),
        .page = d->page_bytes,
        .state = d->plan->state_floats * sizeof(float),
        .work = c.used,
        .pages_max = SIZE_MAX,
    };
    if (m->positions.rows && d->opts.ctx_max > m->positions.rows)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: the model knows %zu positions, and a context of %zu was asked for",
                       gguf_path(m->gguf), m->positions.rows, d->opts.ctx_max);
    for (size_t i = 0; i < d->plan->n_ops; i++) {
        TRY(check_panels(d, &d->plan->ops[i], e));
        TRY(check_sums(d, &d->plan->ops[i], e));
    }
    if (c.over || need->weights == SIZE_MAX)
        return err_set(e, ERR_MEMORY, "%s: the model is too large to be computed with",
                       gguf_path(m->gguf));
    return ERR_OK;
}

static void init(struct dev_cpu *d, const struct plan *p, const struct dev_opts *o)
{
    *d = (struct dev_cpu){.plan = p, .opts = *o};
    d->dev.name = "cpu";
    if (o->numerics == KERN_NATIVE) {
        kern_init(&d->kern, o->level);
        d->mm = mm_kernel(o->level);
        d->pairs = cpu_pairs(p, d->mm);
        if (d->pairs) /* nobody else reads a picture's pages */
            pairs_use(&d->kern);
    } else {
        contract_init(&d->kern, o->level);
        d->mm = contract_mm(o->numerics, o->level);
    }
    size_pages(d);
    size_attention(d);
}

enum err dev_cpu_need(const struct plan *p, const struct dev_opts *o, struct dev_need *need,
                      struct errinfo *e)
{
    struct dev_cpu d;
    init(&d, p, o);
    enum err r = needs(&d, need, e);
    mem_free(d.kv);
    return r;
}

/* ---- decisions ---- */

/* Can this operation's result be quantised as it is written, block by block? */
static bool makes_blocks(const struct dev_cpu *d, const struct plan_op *op)
{
    switch (op->kind) {
    case PLAN_NORM: return op->n_groups == 1;
    case PLAN_GLU: return !op->spread;
    case PLAN_LERP: return true;
    case PLAN_ATTEND: return d->plan->model->layers[op->layer].v_dim % 32 == 0;
    default: return false;
    }
}

static enum mm_act_kind act_of(const struct dev_cpu *d, const struct plan_op *op)
{
    for (int k = 0; k < op->n_parts; k++)
        if (mm_act_kind(d->mm, op->part[k].weight->format) == MM_ACT_Q8)
            return MM_ACT_Q8;
    return MM_ACT_F32;
}

/* An embedding table that is packed as the output matrix is read there, so that the file's bytes
 * of it need not be in memory. */
static const void *packed_table(const struct dev_cpu *d, const struct model_matrix *table)
{
    if (d->mm->panel_rows == 1 || d->mm->numerics != KERN_NATIVE) /* a contract's is the file's */
        return NULL;
    for (size_t i = 0; i < d->plan->n_ops; i++)
        for (int k = 0; k < d->ops[i].op->n_parts; k++)
            if (d->ops[i].op->part[k].weight->data == table->data &&
                d->ops[i].op->part[k].weight->rows == table->rows)
                return d->ops[i].weight[k];
    return NULL;
}

static void decide(struct dev_cpu *d)
{
    size_t n = d->plan->n_ops, at = 0;
    d->ops = arena_array(&d->arena, n, sizeof *d->ops);
    for (size_t i = 0; i < n; i++) {
        const struct plan_op *op = d->ops[i].op = &d->plan->ops[i];
        const struct plan_op *next = i + 1 < n ? op + 1 : NULL;
        for (int k = 0; k < op->n_parts; k++)
            d->ops[i].weight[k] = cpu_pack_next(&d->pack, op->part[k].weight, &at);
        d->ops[i].barrier_after = !(next && plan_by_rows(op) && plan_by_rows(next) &&
                                    op->rows == next->rows);
        if (op->n_parts == 0)
            continue;
        for (int k = 0; k < op->n_parts && d->pairs; k++)
            d->ops[i].pairs_src |= cpu_in_pairs(d->plan, d->mm, op->part[k].weight);
        d->ops[i].act = act_of(d, op);
        if (d->ops[i].act != MM_ACT_Q8)
            continue;
        d->ops[i].n_terms = op->rows == PLAN_ROWS_OUT ? CPU_OUT_TERMS : 1;
        d->ops[i].act_rows = op->rows;
        if (op->kind == PLAN_MATMUL && makes_blocks(d, op - 1) && op[-1].dst == op->src) {
            d->ops[i - 1].quantizes_dst = true;
            d->ops[i - 1].n_terms = d->ops[i].n_terms;
            d->ops[i - 1].act_rows = op->rows;
        } else {
            d->ops[i].quantizes_src = true;
        }
    }
    for (size_t i = 0; i < n; i++)
        if (d->ops[i].op->kind == PLAN_EMBED && d->ops[i].op->table)
            d->ops[i].weight[0] = packed_table(d, d->ops[i].op->table);
}

/* How scores fall with the distance, a head (Press et al. 2022): powers of a ratio for as many
 * heads as a power of two has, and those between them for the others. */
static const float *slopes_of(struct dev_cpu *d)
{
    const struct model *m = d->plan->model;
    size_t even = 1;
    if (m->alibi <= 0)
        return NULL;
    while (even * 2 <= m->n_head)
        even *= 2;
    float *s = arena_array(&d->arena, m->n_head, sizeof *s);
    for (size_t h = 0; h < m->n_head; h++) {
        float step = h < even ? (float)(h + 1) : (float)(2 * (h - even) + 1) / 2;
        s[h] = exp2f(-m->alibi * step / (float)even);
    }
    return s;
}

static const float *ones(struct dev_cpu *d)
{
    float *x = arena_array(&d->arena, CPU_PIECE, sizeof *x);
    for (size_t i = 0; i < CPU_PIECE; i++)
        x[i] = 1;
    return x;
}

/* ---- opening ---- */

static void dev_cpu_close(struct dev *dev)
{
    struct dev_cpu *d = dev_cpu_of(dev);
    os_pool_free(d->pool);
    cpu_pack_close(&d->pack);
    os_pages_free(d->pages, d->pages_bytes);
    os_pages_free(d->states, d->states_bytes);
    os_pages_free(d->work, d->work_bytes);
    mem_free(d->kv);
    arena_done(&d->arena);
    mem_free(d);
}

static void *dev_cpu_page(struct dev *dev, uint32_t page)
{
    return (char *)dev_cpu_of(dev)->pages + page * dev->page_bytes;
}

static void dev_cpu_copy_page(struct dev *dev, uint32_t to, uint32_t from)
{
    struct dev_cpu *d = dev_cpu_of(dev);
    CHECK(to < d->opts.n_pages && from < d->opts.n_pages && to != from);
    if (dev->page_bytes)
        memcpy(dev_cpu_page(dev, to), dev_cpu_page(dev, from), dev->page_bytes);
}

static bool dev_cpu_kept(struct dev *dev, uint64_t wait_ns)
{
    return dev_keep_over(dev_cpu_of(dev)->pack.writer, wait_ns);
}

static enum err take_memory(struct dev_cpu *d, struct errinfo *e)
{
    struct dev_need need;
    TRY(needs(d, &need, e));
    d->work_bytes = need.work;
    if (!num_mul(need.page, d->opts.n_pages, &d->pages_bytes))
        return err_set(e, ERR_MEMORY, "a context of %zu pages is too large", d->opts.n_pages);
    if (!num_mul(need.state, d->opts.n_states, &d->states_bytes))
        return err_set(e, ERR_MEMORY, "%zu sequences are too many", d->opts.n_states);
    d->pages = d->pages_bytes ? os_pages_alloc(d->pages_bytes) : NULL;
    d->states = d->states_bytes ? os_pages_alloc(d->states_bytes) : NULL;
    d->work = os_pages_alloc(d->work_bytes);
    if ((!d->pages && d->pages_bytes) || (!d->states && d->states_bytes) || !d->work)
        return err_set(e, ERR_MEMORY,
                       "the system refuses %zu MiB for the context and %zu MiB for buffers",
                       (d->pages_bytes + d->states_bytes) >> 20, d->work_bytes >> 20);
    d->scratch = arena_array(&d->arena, (size_t)d->opts.n_threads, sizeof *d->scratch);
    struct carver c = {.base = d->work};
    carve_work(&c, d);
    CHECK(c.used == d->work_bytes);
    return ERR_OK;
}

enum err dev_cpu_open(struct dev **out, const struct plan *p, const struct dev_opts *o,
                      struct errinfo *e)
{
    struct dev_cpu *d = mem_alloc(sizeof *d);
    init(d, p, o);
    arena_init(&d->arena);
    d->pool = os_pool_new(o->n_threads);
    d->opts.n_threads = os_pool_threads(d->pool);
    enum err r = take_memory(d, e);
    if (r == ERR_OK)
        r = cpu_pack_open(&d->pack, p, d->mm, &d->opts, d->pool, e);
    if (r != ERR_OK) {
        dev_cpu_close(&d->dev);
        *out = NULL;
        return r;
    }
    decide(d);
    d->slopes = slopes_of(d);
    d->picked = arena_array(&d->arena, o->rows_max, sizeof *d->picked);
    d->ones = ones(d);
    d->dev.step = dev_cpu_step;
    d->dev.copy_page = dev_cpu_copy_page;
    d->dev.page = dev_cpu_page;
    d->dev.clear_state = cpu_clear_state;
    d->dev.copy_state = cpu_copy_state;
    d->dev.state_bytes = p->state_floats * sizeof(float);
    d->dev.kept = dev_cpu_kept;
    d->dev.page_bytes = d->pages_bytes / d->opts.n_pages;
    d->dev.close = dev_cpu_close;
    d->dev.logits = d->logits;
    d->dev.logits_stride = p->width[PLAN_LOGITS];
    d->dev.hidden_stride = p->width[p->hidden];
    *out = &d->dev;
    return ERR_OK;
}
