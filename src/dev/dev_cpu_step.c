/* SPDX-License-Identifier: MIT
 * dev_cpu_step.c - one step: every thread walks the plan's operations; what an operation has to do
 * is dealt out by rows, or taken in small pieces. */
#include "dev/dev_cpu_int.h"

#include "base/num.h"

#include <math.h>
#include <string.h>

/* The 8-bit activations that an operation reads or writes. */
static struct mm_act acts_of(const struct dev_cpu *d, const struct cpu_op *co)
{
    struct mm_act a = d->act;
    a.rows = count_rows(d, co->act_rows) * co->n_terms;
    return a;
}

/* A whole row x[k] in its terms: each after the first is what the one before left. */
static void quantize_row(const struct walker *w, const struct cpu_op *co, const float *x,
                         size_t row, size_t k)
{
    const struct dev_cpu *d = w->d;
    const struct mm_act a = acts_of(d, co);
    float *left = d->scratch[w->thread].left;
    for (size_t i = row * co->n_terms; i < (row + 1) * co->n_terms; i++) {
        mm_quantize(&d->kern, &a, i, 0, x, k);
        for (size_t c = 0; i + 1 < (row + 1) * co->n_terms && c < k; c++) {
            size_t at = mm_act_at(&a, i, c);
            left[c] = x[c] - a.d[at / 32] * (float)a.q[at];
        }
        x = left;
    }
}

void cpu_quantize_dst(const struct walker *w, const struct cpu_op *co, size_t row)
{
    const struct dev_cpu *d = w->d;
    if (co->quantizes_dst && row < count_rows(d, co->act_rows))
        quantize_row(w, co, buf_row(d, co->op->dst, row), row, co->op->n);
}

static void run_embed(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct model_matrix *t = co->op->table;
    struct share s = share_of(w, d->n_rows);
    for (size_t r = s.from; r < s.to; r++) {
        float *dst = buf_row(d, co->op->dst, r);
        size_t token = (size_t)MAX(d->step_rows[r].token, 0);
        if (d->step_rows[r].x && co->op->n) {
            memcpy(dst, d->step_rows[r].x, co->op->n * sizeof *dst);
            continue;
        }
        if (co->weight[0])
            mm_unpack_row(d->mm, t->format, t->cols, co->weight[0], token, dst);
        else
            format_dequant(t->format, dst, t->data + token * format_bytes(t->format, t->cols),
                           t->cols);
        cpu_embed_lora(d, t, &d->step_rows[r], dst);
        if (co->op->by != 1)
            d->kern.scale(dst, co->op->by, t->cols);
    }
}

static void run_position(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct model_matrix *t = co->op->table;
    float *row = d->scratch[w->thread].left;
    struct share s = share_of(w, d->n_rows);
    for (size_t r = s.from; r < s.to; r++) {
        size_t pos = (size_t)d->step_rows[r].pos;
        format_dequant(t->format, row, t->data + pos * format_bytes(t->format, t->cols), t->cols);
        d->kern.add(buf_row(d, co->op->dst, r), row, 1, t->cols);
    }
}

static void run_pick(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    struct share s = share_of(w, d->n_rows);
    for (size_t r = s.from; r < s.to; r++) {
        const struct dev_row *row = &d->step_rows[r];
        if (row->out < 0 && row->hidden < 0)
            continue;
        size_t to = row->out >= 0 ? (size_t)row->out : d->n_out + (size_t)row->hidden;
        memcpy(buf_row(d, co->op->dst, to), buf_row(d, co->op->src, r),
               d->plan->width[co->op->dst] * sizeof(float));
    }
}

static void run_norm(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    bool mean = model_norm_mean(d->plan->model, op->norm);
    void (*by_size)(float *, const float *, const float *, size_t, float) = mean ? d->kern.meannorm
                                                                                 : d->kern.rmsnorm;
    struct share s = share_of(w, op_rows(d, op));
    for (size_t r = s.from; r < s.to; r++) {
        float *dst = buf_row(d, op->dst, r);
        const float *src = buf_row(d, op->src, r);
        for (size_t g = 0; g < op->n_groups; g++) {
            size_t own = op->norm->n_gains > 1 ? g * op->n : 0;
            by_size(dst + g * op->n, src + g * op->n, op->norm->gain + own, op->n, op->by);
            if (op->norm->bias)
                d->kern.add(dst + g * op->n, op->norm->bias + own, 1, op->n);
        }
        cpu_quantize_dst(w, co, r);
    }
}

/* Rows [from, to) of part i. */
static void multiply_part(const struct walker *w, const struct cpu_op *co, int i, size_t from,
                          size_t to)
{
    struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    const struct plan_part *part = &op->part[i];
    struct mm_job job = {.weights = co->weight[i],
                         .format = part->weight->format,
                         .k = part->weight->cols,
                         .n_rows = part->weight->rows,
                         .n_tokens = op_rows(d, op),
                         .x = cpu_buf(d, op->src),
                         .x_stride = d->plan->width[op->src],
                         .act = acts_of(d, co),
                         .n_terms = co->n_terms,
                         .dst = cpu_buf(d, part->dst) + part->at,
                         .dst_stride = d->plan->width[part->dst],
                         .add = op->add,
                         .bias = part->bias};
    if (d->pairs && cpu_in_pairs(d->plan, d->mm, part->weight))
        pairs_mm(&job, d->pair, from, to);
    else
        d->mm->run(&job, from, to, d->scratch[w->thread].mm);
}

/* The i-th piece: large ones first and small ones in the end, so that all threads end together;
 * none so large that a thread which the system stops keeps the others for long. */
static size_t piece_at(const struct pieces *p, size_t i, size_t *begin)
{
    const size_t most = MAX(p->units / (8 * p->n_threads), (size_t)1);
    for (*begin = 0; *begin < p->units;) {
        size_t left = p->units - *begin;
        size_t size = MIN(MAX(left / (2 * p->n_threads), (size_t)1), most);
        size_t round = MIN(num_div_up(left, size), p->n_threads);
        if (i < round) {
            *begin += i * size;
            return MIN(size, p->units - *begin);
        }
        *begin = MIN(*begin + round * size, p->units);
        i -= round;
    }
    return 0;
}

size_t cpu_piece_next(const struct walker *w, struct pieces *p, size_t *begin)
{
    if (p->small) {
        struct share s = share_of(w, p->next++ == 0 ? p->units : 0);
        *begin = s.from;
        return s.to - s.from;
    }
    size_t i = p->next++ == 0 ? (size_t)w->thread : p->n_threads + os_pool_take(w->d->pool, 1);
    return piece_at(p, i, begin);
}

static void run_matmul(const struct walker *w, const struct cpu_op *co)
{
    struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    const size_t n = op_rows(d, op), k = op->part[0].weight->cols;
    if (co->quantizes_src) {
        struct share s = share_of(w, n);
        for (size_t r = s.from; r < s.to; r++)
            quantize_row(w, co, buf_row(d, op->src, r), r, k);
        os_pool_barrier(d->pool);
    }
    if (co->pairs_src) {
        struct share s = share_of(w, n);
        for (size_t r = s.from; r < s.to; r++)
            pairs_row(d->pair + r * (k / 2), buf_row(d, op->src, r), k);
        os_pool_barrier(d->pool);
    }
    if (w->thread == 0 && d->opts.watch)
        for (int i = 0; i < op->n_parts; i++)
            d->opts.watch->fn(d->opts.watch->arg, op->part[i].weight, 0, buf_row(d, op->src, 0),
                              d->plan->width[op->src], n);
    /* Two panels a unit; the parts lie one behind the other. */
    const size_t unit = d->pairs ? PAIRS_ROWS : 2 * (size_t)d->mm->panel_rows;
    struct pieces p = {.n_threads = (size_t)w->n_threads};
    size_t at, len;
    for (int i = 0; i < op->n_parts; i++)
        p.units += num_div_up(op->part[i].weight->rows, unit);
    p.small = p.units * unit * k < CPU_SMALL_MACS / n;
    while ((len = cpu_piece_next(w, &p, &at)) > 0)
        for (int i = 0; i < op->n_parts && len > 0; i++) {
            size_t rows = op->part[i].weight->rows, units = num_div_up(rows, unit);
            size_t some = at < units ? MIN(len, units - at) : 0;
            if (some)
                multiply_part(w, co, i, at * unit, MIN((at + some) * unit, rows));
            at = at > units ? at - units : 0;
            len -= some;
        }
    if (d->adapts)
        cpu_run_lora(w, co);
}

static void turn(const struct dev_cpu *d, const struct plan_op *op, float *x,
                 const struct plan_groups *at, size_t n_heads, const float *cos_sin)
{
    x += at->at;
    for (size_t h = 0; h < n_heads; h++, x += at->stride)
        if (op->turn == MODEL_PAIR)
            d->kern.rope_pair(x, cos_sin, op->angles->n_rot);
        else
            d->kern.rope_half(x, cos_sin, op->angles->n_rot);
}

static void run_rope(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct model *m = d->plan->model;
    const struct plan_op *op = co->op;
    size_t table = op->angles == &m->angles ? 0 : d->opts.rows_max;
    struct share s = share_of(w, d->n_rows);
    for (size_t r = s.from; r < s.to; r++) {
        const float *cos_sin = d->cos_sin + (table + r) * cpu_angles_width(d);
        turn(d, op, buf_row(d, op->dst, r), &op->to, op->n_groups, cos_sin);
        turn(d, op, buf_row(d, op->src, r), &op->from, op->alone ? 0 : op->n, cos_sin);
    }
}

/* Keys and values of n rows of one sequence, whose positions share a page. */
static void store_rows(const struct dev_cpu *d, const struct plan_op *op, size_t r, size_t n)
{
    const struct model_layer *l = &d->plan->model->layers[op->layer];
    size_t pos = (size_t)d->step_rows[r].pos;
    for (size_t h = 0; h < l->n_kv_head; h++) {
        struct kern_put p = {.kv = d->opts.kv, .slot = pos % DEV_PAGE, .n = n};
        p.page = cpu_page(d, d->step_rows[r].pages[pos / DEV_PAGE], op->layer, h);
        p.dim = l->k_dim;
        p.x = buf_row(d, op->src, r) + h * l->k_dim;
        p.stride = d->plan->width[op->src];
        d->kern.put_k(&p);
        p.page = (char *)p.page + d->kv[op->layer].k_bytes;
        p.dim = l->v_dim;
        p.x = buf_row(d, op->src2, r) + h * l->v_dim;
        p.stride = d->plan->width[op->src2];
        d->kern.put_v(&p);
    }
}

static void run_store(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct dev_row *rows = d->step_rows;
    struct share s = share_of(w, d->n_rows);
    for (size_t r = s.from, n; r < s.to; r += n) {
        for (n = 1; r + n < s.to && rows[r + n].pages == rows[r].pages; n++)
            if (rows[r + n].pos != rows[r].pos + (int32_t)n || rows[r + n].pos % DEV_PAGE == 0)
                break;
        store_rows(d, co->op, r, n);
    }
}

/* The first position that the one at `pos` sees; a window that looks both ways has a half on each
 * side. */
static int32_t first_seen(const struct dev_cpu *d, const struct plan_op *op, int32_t pos)
{
    const struct model *m = d->plan->model;
    int32_t window = (int32_t)op->window;
    if (window == 0)
        return 0;
    if (m->bidirectional)
        return MAX(0, pos - window / 2);
    return m->arch->flags & MODEL_CHUNKS ? pos / window * window : MAX(0, pos + 1 - window);
}

/* The one after the last; `end` is the text's. */
static int32_t seen_to(const struct dev_cpu *d, const struct plan_op *op, const struct dev_row *row,
                       size_t end)
{
    if (!d->plan->model->bidirectional)
        return cpu_after(row);
    return op->window ? MIN((int32_t)end, row->pos + (int32_t)op->window / 2 + 1) : (int32_t)end;
}

/* Grok 2's (SGLang's extend_attention.py and decode_attention.py: xai_temperature_len). */
static float growth_of(const struct plan_op *op, int32_t pos)
{
    bool grows = op->grow_from && (size_t)pos > op->grow_from;
    return grows ? (float)(log((double)pos) / log((double)op->grow_from)) : 1;
}

/* The rows of a tile with one key-value head; pages of positions [from, to). */
static struct kern_attend attend_of(const struct walker *w, const struct cpu_op *co,
                                    const struct cpu_tile *tile, size_t head, size_t from,
                                    size_t to)
{
    const struct dev_cpu *d = w->d;
    const struct cpu_scratch *s = &d->scratch[w->thread];
    const struct dev_row *first = &d->step_rows[tile->row];
    const struct plan_op *op = co->op;
    const struct model_layer *l = &d->plan->model->layers[op->layer];
    size_t group = l->n_head / l->n_kv_head, n_q = 0;
    for (size_t r = tile->row; r < tile->row + tile->n_rows; r++) {
        int32_t pos = d->step_rows[r].pos;
        float growth = growth_of(op, pos);
        for (size_t g = head * group; g < (head + 1) * group; g++, n_q++) {
            s->q[n_q] = buf_row(d, op->src, r) + g * l->k_dim;
            s->out[n_q] = buf_row(d, op->dst, r) + op->at + g * l->v_dim;
            s->at[n_q] = pos;
            s->to[n_q] = tile->chosen ? (int32_t)tile->end
                                      : seen_to(d, op, &d->step_rows[r], tile->end);
            s->from[n_q] = first_seen(d, op, pos);
            s->sink[n_q] = op->sinks ? op->sinks[g] : 0;
            s->slope[n_q] = d->slopes ? d->slopes[g] : 0;
            s->grow[n_q] = growth;
        }
    }
    size_t n_pages = num_div_up(MIN(to, tile->end), DEV_PAGE);
    if (tile->chosen)
        cpu_take_chosen(w, op, tile, head, from, MIN(to, tile->end));
    for (size_t p = from / DEV_PAGE; p < n_pages; p++) {
        bool seen = (int32_t)(p + 1) * DEV_PAGE > s->from[0];
        s->k[p] = tile->chosen ? cpu_taken(d, s, op->layer, p)
                  : seen       ? cpu_page(d, first->pages[p], op->layer, head)
                               : NULL;
        s->v[p] = s->k[p] ? (const char *)s->k[p] + d->kv[op->layer].k_bytes : NULL;
    }
    return (struct kern_attend){.kv = d->opts.kv,
                                .n_q = n_q,
                                .k_dim = l->k_dim,
                                .v_dim = l->v_dim,
                                .q = s->q,
                                .out = s->out,
                                .from = s->from,
                                .to = s->to,
                                .n_pages = n_pages,
                                .k = s->k,
                                .v = s->v,
                                .scale = op->by,
                                .softcap = op->cap,
                                .sink = op->sinks ? s->sink : NULL,
                                .slope = d->slopes ? s->slope : NULL,
                                .grow = op->grow_from ? s->grow : NULL,
                                .at = s->at,
                                .scratch = s->attend};
}

static void attend_done(const struct dev_cpu *d, const struct cpu_op *co,
                        const struct cpu_tile *tile, size_t head)
{
    const struct model_layer *l = &d->plan->model->layers[co->op->layer];
    const struct mm_act acts = acts_of(d, co);
    size_t n = l->n_head / l->n_kv_head * l->v_dim;
    for (size_t r = tile->row; co->quantizes_dst && r < tile->row + tile->n_rows; r++)
        mm_quantize(&d->kern, &acts, r, head * n, buf_row(d, co->op->dst, r) + head * n, n);
}

static size_t parts_of(const struct cpu_tile *t)
{
    return num_div_up(t->end, KERN_PART);
}

/* Where the parts of a tile's rows with a key-value head of the layer are. */
static float *parts_at(const struct dev_cpu *d, const struct cpu_tile *t,
                       const struct model_layer *l, size_t head)
{
    size_t queries = (t->row * l->n_kv_head + head * t->n_rows) * (l->n_head / l->n_kv_head);
    return d->parts +
           queries * num_div_up(d->opts.ctx_max, KERN_PART) * (2 + d->plan->model->v_dim);
}

/* Few rows of long sequences: threads take pieces of the positions, and then join their parts. */
static void attend_in_pieces(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct model_layer *l = &d->plan->model->layers[co->op->layer];
    size_t n_heads = l->n_kv_head, n = d->n_tiles * n_heads;
    for (size_t i; (i = os_pool_take(d->pool, 1)) < n * d->n_pieces;) {
        const struct cpu_tile *t = &d->tiles[i / d->n_pieces / n_heads];
        size_t head = i / d->n_pieces % n_heads, from = i % d->n_pieces * d->span;
        size_t n_parts = parts_of(t), part = from / KERN_PART;
        if (part >= n_parts)
            continue;
        struct kern_attend a = attend_of(w, co, t, head, from, from + d->span);
        float *dst = parts_at(d, t, l, head) + part * a.n_q * (2 + l->v_dim);
        d->kern.attend_parts(&a, part, MIN(n_parts - part, d->span / KERN_PART), dst);
    }
    os_pool_barrier(d->pool);
    for (size_t i; (i = os_pool_take(d->pool, 1)) < n;) {
        const struct cpu_tile *t = &d->tiles[i / n_heads];
        struct kern_attend a = attend_of(w, co, t, i % n_heads, 0, 0);
        d->kern.attend_join(&a, parts_at(d, t, l, i % n_heads), parts_of(t));
        attend_done(d, co, t, i % n_heads);
    }
}

static void run_attend(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    size_t n_heads = d->plan->model->layers[co->op->layer].n_kv_head, n = d->n_tiles * n_heads;
    if (d->n_pieces > 1) {
        attend_in_pieces(w, co);
        return;
    }
    /* The longest first: later rows see more. */
    for (size_t i; (i = os_pool_take(d->pool, 1)) < n;) {
        const struct cpu_tile *t = &d->tiles[(n - 1 - i) / n_heads];
        size_t head = (n - 1 - i) % n_heads;
        struct kern_attend a = attend_of(w, co, t, head, 0, SIZE_MAX);
        d->kern.attend(&a);
        attend_done(d, co, t, head);
    }
}

typedef void glu_fn(float *dst, const float *gate, const float *up, size_t n);

/* NULL: xielu, which has numbers of its own. */
static glu_fn *glu_of(const struct dev_cpu *d, enum model_act act)
{
    const struct kern *k = &d->kern;
    glu_fn *const fns[MODEL_ACT_N] = {
        [MODEL_SILU] = k->silu_mul,         [MODEL_GELU] = k->gelu_mul,
        [MODEL_RELU2] = k->relu2_mul,       [MODEL_GELU_ERF] = k->gelu_erf_mul,
        [MODEL_SWIGLU_OAI] = k->swiglu_oai,
    };
    return fns[act];
}

static float *glu_row(const struct dev_cpu *d, const struct plan_op *op, enum plan_buf b, size_t r)
{
    return (op->spread ? buf_slot(d, b, r) : buf_row(d, b, r)) + op->at;
}

static void run_glu(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    size_t pieces = num_div_up(op->n, CPU_PIECE);
    struct share here = op->spread ? slots_of(d, op) : (struct share){0, op_rows(d, op)};
    size_t n = (here.to - here.from) * pieces;
    const struct mm_act acts = acts_of(d, co);
    glu_fn *glu = glu_of(d, op->act);
    size_t take = MAX(n / ((size_t)w->n_threads * 16), (size_t)1);
    for (size_t from; (from = os_pool_take(d->pool, take)) < n;)
        for (size_t i = from; i < MIN(from + take, n); i++) {
            size_t r = here.from + i / pieces;
            size_t at = i % pieces * CPU_PIECE, len = MIN(op->n - at, CPU_PIECE);
            float *dst = glu_row(d, op, op->dst, r) + at;
            const float *gate = glu_row(d, op, op->src, r) + at;
            if (!glu)
                d->kern.xielu(dst, gate, op->numbers, len);
            else
                glu(dst, gate, op->alone ? d->ones : glu_row(d, op, op->src2, r) + op->src2_at + at,
                    len);
            if (co->quantizes_dst)
                mm_quantize(&d->kern, &acts, r, at, dst, len);
        }
}

static void add_row(const struct dev_cpu *d, const struct plan_op *op, float *dst, const float *src)
{
    for (size_t g = 0; g < MAX(op->n_groups, (size_t)1); g++)
        d->kern.add(dst + op->to.at + g * op->to.stride, src, op->by, op->n);
}

/* dst += src, and what else is done to whole rows. */
static void run_rows(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    if (op->spread) {
        cpu_run_scale_slots(w, co);
        return;
    }
    struct share s = share_of(w, op_rows(d, op));
    for (size_t r = s.from; r < s.to; r++) {
        float *dst = buf_row(d, op->dst, r);
        const float *src = buf_row(d, op->src, r);
        switch (op->kind) {
        case PLAN_ADD: add_row(d, op, dst, src); break;
        case PLAN_TYPE:
            d->kern.add(dst, op->numbers + d->step_rows[r].type * op->n, 1, op->n);
            break;
        case PLAN_SCALE: d->kern.scale(dst + op->to.at, op->by, op->n); break;
        case PLAN_CLAMP: d->kern.clamp(dst, op->by, op->n); break;
        case PLAN_MUL: (op->sigmoid ? d->kern.sigmoid_mul : d->kern.mul)(dst, src, op->n); break;
        case PLAN_WEIGH: d->kern.scale(dst, 1 / (1 + expf(-src[0])), op->n); break;
        default: CHECK(false);
        }
    }
}

static void run_softcap(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    size_t pieces = num_div_up(op->n, CPU_PIECE), n = op_rows(d, op) * pieces;
    for (size_t i; (i = os_pool_take(d->pool, 1)) < n;) {
        size_t at = i % pieces * CPU_PIECE;
        d->kern.softcap(buf_row(d, op->dst, i / pieces) + at, op->by, MIN(op->n - at, CPU_PIECE));
    }
}

/* Slots lie one behind the other, an expert's beside the next one's: they are gathered as parts of
 * one row. */
static bool gather_slots(const struct dev_cpu *d, const struct plan_op *op, float *slots)
{
    const struct dev_link *l = d->opts.link;
    size_t bounds[PLAN_RANKS_MAX + 1], stride = slot_stride(d, op->dst);
    struct plan_op row = *op;
    for (size_t t = 0; t <= op->n_groups; t++)
        bounds[t] = d->routes.begin[op->bounds[t]] * stride;
    row.bounds = bounds;
    row.n = bounds[op->n_groups];
    return l->gather(l->arg, &row, slots, row.n, 1);
}

/* What the other processes of a share have to do with. */
static void run_link(const struct walker *w, const struct cpu_op *co)
{
    struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    const struct dev_link *l = d->opts.link;
    size_t n = op_rows(d, op), stride = d->plan->width[op->dst];
    float *rows = cpu_buf(d, op->dst);
    if (w->thread != 0)
        return;
    CHECK(l);
    switch (op->kind) {
    case PLAN_GATHER:
        d->cut_off = op->spread ? !gather_slots(d, op, rows)
                                : !l->gather(l->arg, op, rows, stride, n);
        break;
    case PLAN_SEND: d->cut_off = !l->send(l->arg, rows, stride, n); break;
    default: d->cut_off = !l->receive(l->arg, rows, stride, n); break;
    }
}

/* The angles of this thread's rows: those that it will turn itself. */
static void make_angles(const struct walker *w, const struct model_angles *a, size_t table)
{
    const struct dev_cpu *d = w->d;
    size_t half = a->n_rot / 2;
    struct share s = share_of(w, d->n_rows);
    for (size_t r = s.from; a->inverse && r < s.to; r++) {
        float *c = d->cos_sin + (table + r) * cpu_angles_width(d);
        for (size_t i = 0; i < half; i++) {
            double angle = (double)d->step_rows[r].pos * (double)a->inverse[i];
            c[i] = (float)cos(angle) * a->magnitude;
            c[half + i] = (float)sin(angle) * a->magnitude;
        }
    }
}

static void (*const runs[PLAN_KIND_N])(const struct walker *, const struct cpu_op *) = {
    [PLAN_EMBED] = run_embed,
    [PLAN_POSITION] = run_position,
    [PLAN_TYPE] = run_rows,
    [PLAN_POOL] = cpu_run_pool,
    [PLAN_PICK] = run_pick,
    [PLAN_NORM] = run_norm,
    [PLAN_MATMUL] = run_matmul,
    [PLAN_CLAMP] = run_rows,
    [PLAN_ROPE] = run_rope,
    [PLAN_STORE] = run_store,
    [PLAN_STORE_INDEX] = cpu_run_store_index,
    [PLAN_INDEX] = cpu_run_index,
    [PLAN_ATTEND] = run_attend,
    [PLAN_GLU] = run_glu,
    [PLAN_HEADS] = cpu_run_heads,
    [PLAN_COPY] = cpu_run_copy,
    [PLAN_TEMPER] = cpu_run_temper,
    [PLAN_SIZE] = cpu_run_size,
    [PLAN_PREDICT] = cpu_run_predict,
    [PLAN_CORRECT] = cpu_run_correct,
    [PLAN_SPARSE] = cpu_run_sparse,
    [PLAN_ADD] = run_rows,
    [PLAN_SCALE] = run_rows,
    [PLAN_SOFTCAP] = run_softcap,
    [PLAN_WEIGH] = run_rows,
    [PLAN_ROUTE] = cpu_run_route,
    [PLAN_SPREAD] = cpu_run_spread,
    [PLAN_EXPERTS] = cpu_run_experts,
    [PLAN_COMBINE] = cpu_run_combine,
    [PLAN_MUL] = run_rows,
    [PLAN_CONV] = cpu_run_conv,
    [PLAN_SCAN] = cpu_run_scan,
    [PLAN_DELTARULE] = cpu_run_deltarule,
    [PLAN_SHIFT] = cpu_run_shift,
    [PLAN_LERP] = cpu_run_lerp,
    [PLAN_BLEND] = cpu_run_lerp,
    [PLAN_SIGMOID] = cpu_run_lerp,
    [PLAN_WKV] = cpu_run_wkv,
    [PLAN_GATHER] = run_link,
    [PLAN_SEND] = run_link,
    [PLAN_RECEIVE] = run_link,
};

static void walk(void *arg, int thread, int n_threads)
{
    struct dev_cpu *d = arg;
    struct walker w = {d, thread, n_threads};
    make_angles(&w, &d->plan->model->angles, 0);
    make_angles(&w, &d->plan->model->angles_local, d->opts.rows_max);
    for (size_t i = 0; i < d->plan->n_ops; i++) {
        const struct cpu_op *co = &d->ops[i];
        if (op_rows(d, co->op) == 0)
            break; /* what is left would only make what nobody wants */
        runs[co->op->kind](&w, co);
        if (co->barrier_after)
            os_pool_barrier(d->pool);
        if (runs[co->op->kind] != run_link)
            continue;
        bool cut_off = d->cut_off; /* all see the same: it is not written before the next barrier */
        os_pool_barrier(d->pool);
        if (cut_off)
            break;
    }
}

/* What a tile's rows may see: up to its last one or, both ways, to the last of their text, which is
 * in the step as a whole. */
static void find_ends(struct dev_cpu *d)
{
    const struct dev_row *rows = d->step_rows;
    for (size_t i = d->n_tiles; i-- > 0;) {
        struct cpu_tile *t = &d->tiles[i];
        size_t last = t->row + t->n_rows - 1;
        bool goes_on = last + 1 < d->n_rows && rows[last + 1].pages == rows[last].pages;
        bool both = d->plan->model->bidirectional && goes_on;
        t->end = both ? t[1].end : t->chosen ? d->plan->model->index_top_k : 0;
        for (size_t r = t->row; !both && !t->chosen && r <= last; r++)
            t->end = MAX(t->end, (size_t)cpu_after(&rows[r]));
    }
}

/* Rows that attend together: as many as a tile holds, unless threads would lack tiles.  A row that
 * sees positions of its own choice attends alone. */
static void make_tiles(struct dev_cpu *d)
{
    size_t n_heads = d->plan->model->n_kv_head, units = CPU_SHARES * (size_t)d->opts.n_threads;
    size_t most = MAX(d->n_rows * n_heads / units, CPU_TILE_LEAST), longest = 0;
    most = MIN(d->n_rows <= d->split_rows ? d->n_rows : most, d->tile_rows);
    d->n_tiles = 0;
    for (size_t r = 0; r < d->n_rows; r++) {
        struct cpu_tile *t = d->n_tiles ? &d->tiles[d->n_tiles - 1] : NULL;
        const struct dev_row *row = &d->step_rows[r];
        bool chosen = cpu_chooses(d, row);
        if (t && !chosen && !t->chosen && t->n_rows < most && row->pages == row[-1].pages)
            t->n_rows++;
        else
            d->tiles[d->n_tiles++] = (struct cpu_tile){r, 1, 0, chosen};
        longest = MAX(longest, chosen ? d->plan->model->index_top_k : (size_t)cpu_after(row));
    }
    /* A unit's first pages are not asked for ahead: long sequences are taken apart in long ones. */
    size_t share = longest * d->n_tiles * n_heads / (CPU_UNITS * (size_t)d->opts.n_threads);
    d->span = MAX(num_div_up(share, KERN_PART) * KERN_PART, (size_t)CPU_SPAN);
    d->n_pieces = d->n_rows <= d->split_rows ? num_div_up(longest, d->span) : 1;
    find_ends(d);
}

static void make_runs(struct dev_cpu *d)
{
    d->n_runs = 0;
    for (size_t r = 0; r < d->n_rows; r++)
        if (r > 0 && d->step_rows[r].state == d->step_rows[r - 1].state)
            d->runs[d->n_runs - 1].n_rows++;
        else
            d->runs[d->n_runs++] = (struct cpu_tile){r, 1, 0, false};
}

void dev_cpu_step(struct dev *dev, const struct dev_row *rows, size_t n)
{
    struct dev_cpu *d = dev_cpu_of(dev);
    CHECK(n >= 1 && n <= d->opts.rows_max);
    d->step_rows = rows;
    d->n_rows = n;
    d->n_out = 0;
    size_t n_hidden = 0;
    for (size_t r = 0; r < n; r++) {
        CHECK(rows[r].x || (rows[r].token >= 0 && (size_t)rows[r].token < d->plan->model->n_vocab));
        CHECK(rows[r].pos >= 0 && (size_t)rows[r].pos < d->opts.ctx_max);
        CHECK(rows[r].type < MAX(d->plan->model->n_types, (size_t)1));
        CHECK(rows[r].see_to >= 0 && (size_t)rows[r].see_to <= d->opts.ctx_max);
        CHECK(rows[r].out < 0 || (size_t)rows[r].out == d->n_out);
        CHECK(rows[r].hidden < 0 || (size_t)rows[r].hidden == n_hidden);
        CHECK(rows[r].out < 0 || rows[r].hidden < 0);
        d->n_out += rows[r].out >= 0;
        n_hidden += rows[r].hidden >= 0;
    }
    d->n_wanted = d->n_out + n_hidden;
    d->adapts = false;
    for (size_t r = 0; r < n; r++) {
        d->adapts |= rows[r].lora != NULL;
        if (rows[r].out >= 0 || rows[r].hidden >= 0)
            d->picked[rows[r].out >= 0 ? (size_t)rows[r].out : d->n_out + (size_t)rows[r].hidden] =
                (uint32_t)r;
    }
    CHECK(d->n_out <= d->opts.out_max);
    make_tiles(d);
    if (d->plan->state_floats)
        make_runs(d);
    os_pool_run(d->pool, walk, d);
    d->dev.hidden = cpu_buf(d, d->plan->hidden) + d->n_out * d->dev.hidden_stride;
}
