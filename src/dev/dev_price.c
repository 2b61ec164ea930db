/* SPDX-License-Identifier: MIT */
#include "dev/dev_price.h"

#include "base/arena.h"
#include "base/num.h"
#include "npu/npu_run.h"

#include <string.h>

/* A bucket: all there is of a step. */
struct key {
    uint32_t n_seq[NPU_GROUPS], rows[NPU_GROUPS], past[NPU_GROUPS];
    uint32_t wanted, out;
};

struct entry {
    struct key key;
    struct dev_cost cost;
    bool used;
};

struct dev_price {
    const struct plan *plan;
    const struct npu_chip *chip;
    const struct dev_speeds *speeds; /* instead of a chip */
    enum npu_type type;
    size_t rows_max, ctx_max;
    struct entry *table; /* [cap], a power of two, at most half full */
    size_t n, cap;
};

struct dev_price *dev_price_new(const struct plan *p, const struct npu_chip *c, int type,
                                size_t rows_max, size_t ctx_max)
{
    struct dev_price *x = mem_alloc(sizeof *x);
    *x = (struct dev_price){.plan = p,
                            .chip = c,
                            .type = (enum npu_type)type,
                            .rows_max = rows_max,
                            .ctx_max = ctx_max,
                            .cap = 256};
    x->table = mem_alloc(x->cap * sizeof *x->table);
    return x;
}

struct dev_price *dev_price_by(const struct plan *p, const struct npu_chip *c,
                               enum kern_numerics numerics, size_t rows_max, size_t ctx_max)
{
    return dev_price_new(p, c, numerics == KERN_BF16 ? NPU_BF16 : NPU_INT8, rows_max, ctx_max);
}

struct dev_price *dev_price_measured(const struct plan *p, const struct dev_speeds *s,
                                     size_t rows_max, size_t ctx_max)
{
    struct dev_price *x = dev_price_new(p, NULL, NPU_BF16, rows_max, ctx_max);
    CHECK(s->n >= 1 && s->n <= DEV_SPEEDS_MAX);
    x->speeds = s;
    return x;
}

void dev_price_free(struct dev_price *p)
{
    if (!p)
        return;
    mem_free(p->table);
    mem_free(p);
}

size_t dev_price_n(const struct dev_price *p)
{
    return p->n;
}

/* ---- buckets ---- */

uint64_t dev_price_bucket(uint64_t n)
{
    uint64_t b = 1;
    while (b < n && b <= UINT64_MAX / 4)
        b *= 2;
    return b >= 4 && b / 4 * 3 >= n ? b / 4 * 3 : b;
}

static uint64_t up(uint64_t n, uint64_t most)
{
    return MAX(MIN(dev_price_bucket(n), most), n);
}

/* Nothing old is a graph of its own: that of a prompt's beginning.  Of two groups that meet there
 * are many more pairs than steps: powers of two then. */
static uint64_t up_past(uint64_t n, uint64_t most, bool mixed)
{
    uint64_t b = dev_price_bucket(MAX(n, (uint64_t)DEV_PRICE_PAST));
    if (mixed && (b & (b - 1)) != 0)
        b = b / 3 * 4;
    return n == 0 ? 0 : MAX(MIN(b, most), n);
}

static struct npu_mix round_up(const struct dev_price *p, const struct npu_mix *mix)
{
    struct npu_mix m = *mix;
    uint64_t n_seq = 0, n_real = 0;
    bool mixed = m.group[0].n_seq && m.group[1].n_seq;
    for (int i = 0; i < NPU_GROUPS; i++) {
        struct npu_group *g = &m.group[i];
        n_real += g->n_seq;
        if (!g->n_seq)
            continue;
        g->n_seq = up(g->n_seq, p->rows_max);
        g->rows = up(g->rows, MAX(p->rows_max / g->n_seq, 1u));
        g->past = up_past(g->past, p->ctx_max, mixed);
        n_seq += g->n_seq;
    }
    /* What every sequence wants, those wanted that fill up the bucket, too. */
    m.wanted = mix->wanted == n_real ? n_seq : mix->wanted ? up(mix->wanted, n_seq) : 0;
    m.out = mix->out == n_real ? n_seq : mix->out ? up(mix->out, n_seq) : 0;
    m.wanted = MAX(m.wanted, m.out);
    return m;
}

struct npu_mix dev_price_mix_of(const struct dev_row *rows, size_t n)
{
    struct npu_mix m = {0};
    uint64_t new_rows = 0, old = 0, old_one = 0;
    for (size_t i = 0, run; i < n; i += run) {
        for (run = 1; i + run < n && rows[i + run].pages == rows[i].pages;)
            run++;
        struct npu_group *g = &m.group[run > 1];
        g->n_seq++;
        if (run > 1)
            new_rows += run;
        *(run > 1 ? &old : &old_one) += (uint64_t)rows[i].pos;
    }
    for (size_t i = 0; i < n; i++) {
        m.out += rows[i].out >= 0;
        m.wanted += rows[i].out >= 0 || rows[i].hidden >= 0;
    }
    if (m.group[0].n_seq)
        m.group[0] = (struct npu_group){m.group[0].n_seq, 1, num_div_up(old_one, m.group[0].n_seq)};
    if (m.group[1].n_seq)
        m.group[1] = (struct npu_group){m.group[1].n_seq, num_div_up(new_rows, m.group[1].n_seq),
                                        num_div_up(old, m.group[1].n_seq)};
    return m;
}

/* ---- prices ---- */

static struct key key_of(const struct npu_mix *m)
{
    struct key k = {.wanted = (uint32_t)m->wanted, .out = (uint32_t)m->out};
    for (int i = 0; i < NPU_GROUPS; i++) {
        k.n_seq[i] = (uint32_t)m->group[i].n_seq;
        k.rows[i] = (uint32_t)m->group[i].rows;
        k.past[i] = (uint32_t)m->group[i].past;
    }
    return k;
}

static struct entry *find(struct entry *table, size_t cap, const struct key *k)
{
    size_t at = num_hash(k, sizeof *k, 0) & (cap - 1);
    while (table[at].used && memcmp(&table[at].key, k, sizeof *k) != 0)
        at = (at + 1) & (cap - 1);
    return &table[at];
}

static void grow(struct dev_price *p)
{
    size_t cap = 2 * p->cap;
    struct entry *table = mem_alloc(cap * sizeof *table);
    for (size_t i = 0; i < p->cap; i++)
        if (p->table[i].used)
            *find(table, cap, &p->table[i].key) = p->table[i];
    mem_free(p->table);
    p->table = table;
    p->cap = cap;
}

/* Keys and values are the pages' (dev_price_room), whatever a bucket would hold. */
static struct npu_work *work_of(const struct dev_price *p, const struct npu_mix *m)
{
    struct npu_work *w = npu_work_mix(p->plan, m, p->type, p->type);
    w->kv_values = MIN(w->kv_values, 1.0);
    return w;
}

static enum err price(const struct dev_price *p, const struct npu_mix *m, struct dev_cost *out,
                      struct errinfo *e)
{
    struct npu_work *w = work_of(p, m);
    struct npu_ask ask = npu_ask_once(p->chip, NULL);
    struct npu_answer a;
    enum err r = npu_run(&a, w, p->chip, &ask, e);
    if (r == ERR_OK) {
        *out = (struct dev_cost){(uint64_t)(a.latency_s * 1e12 + 0.5),
                                 a.joules * (double)w->tokens};
        npu_answer_done(&a);
    }
    npu_work_free(w);
    return r;
}

/* Seconds of a step of so many rows, with nothing before them. */
static double step_s(const struct dev_speeds *s, double rows)
{
    size_t i = 0;
    while (i < s->n && s->step[i].rows < rows)
        i++;
    if (i == s->n)
        return s->step[i - 1].s * rows / s->step[i - 1].rows;
    if (i == 0)
        return s->step[0].s;
    double share = (rows - s->step[i - 1].rows) / (s->step[i].rows - s->step[i - 1].rows);
    return s->step[i - 1].s + share * (s->step[i].s - s->step[i - 1].s);
}

static struct dev_cost measured(const struct dev_speeds *speeds, const struct npu_mix *m)
{
    double rows = 0, past = 0;
    for (int i = 0; i < NPU_GROUPS; i++) {
        double n = (double)m->group[i].n_seq * (double)m->group[i].rows;
        rows += n;
        past += n * (double)m->group[i].past;
    }
    double s = step_s(speeds, rows) + speeds->s_row_past * past;
    if (speeds->share > 0)
        s = s * speeds->share + speeds->s_step + speeds->s_row * rows +
            speeds->s_wanted * (double)m->wanted;
    return (struct dev_cost){(uint64_t)(s * 1e12 + 0.5), s * speeds->busy_w};
}

enum err dev_price_mix(struct dev_price *p, const struct npu_mix *mix, struct dev_cost *out,
                       struct errinfo *e)
{
    if (p->speeds) {
        *out = measured(p->speeds, mix);
        return ERR_OK;
    }
    struct npu_mix m = round_up(p, mix);
    struct key k = key_of(&m);
    struct entry *at = find(p->table, p->cap, &k);
    if (!at->used) {
        TRY(price(p, &m, &at->cost, e));
        at->key = k;
        at->used = true;
        *out = at->cost;
        if (2 * ++p->n > p->cap)
            grow(p);
        return ERR_OK;
    }
    *out = at->cost;
    return ERR_OK;
}

enum err dev_price_step(struct dev_price *p, const struct dev_row *rows, size_t n,
                        struct dev_cost *out, struct errinfo *e)
{
    struct npu_mix m = dev_price_mix_of(rows, n);
    return dev_price_mix(p, &m, out, e);
}

enum err dev_price_alone(struct dev_price *p, size_t rows, size_t past, bool wanted,
                         struct dev_cost *out, struct errinfo *e)
{
    struct npu_mix m = {.wanted = wanted, .out = wanted};
    m.group[rows > 1] = (struct npu_group){1, rows, past};
    return dev_price_mix(p, &m, out, e);
}

/* ---- stages ---- */

/* A stage's joules hold its own chips' draw at rest; while it works, those of the other stages
 * rest, but not for the host, which is with the first. */
void dev_cost_add(struct dev_cost *sum, const struct dev_cost *stage, const struct npu_chip *c,
                  size_t a_stage, size_t stages, bool first)
{
    uint64_t host = first ? 0 : (uint64_t)(c->v[NPU_HOST_US] * 1e6 + 0.5);
    uint64_t ps = stage->ps - MIN(host, stage->ps);
    double chips = (double)a_stage, all = chips * (double)stages, rest = c->v[NPU_STATIC] * 1e-12;
    sum->ps += ps;
    sum->joules += chips * (stage->joules - rest * (double)stage->ps) + all * rest * (double)ps;
}

/* ---- memory ---- */

/* Of a position's keys and values. */
static double kv_values(const struct plan *p)
{
    double n = 0;
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct model_layer *l = &p->model->layers[MAX(p->ops[i].layer, 0)];
        n += p->ops[i].kind == PLAN_STORE ? (double)(l->n_kv_head * (l->k_dim + l->v_dim)) : 0;
        n += p->ops[i].kind == PLAN_STORE_INDEX ? (double)p->model->index_dim : 0;
    }
    return n;
}

enum err dev_price_room(struct dev_price *p, struct dev_room *out, struct errinfo *e)
{
    if (p->speeds) {
        *out = (struct dev_room){.page = 1, .all = (double)p->speeds->pages};
        return ERR_OK;
    }
    uint64_t rows = MIN(p->rows_max, p->ctx_max);
    const struct npu_mix most = {
        .group = {{0}, {1, rows, p->ctx_max - rows}},
          .wanted = 1, .out = 1
    };
    struct npu_work *w = work_of(p, &most);
    struct npu_prog *prog;
    double tables = w->table_values * w->act_bytes;
    w->table_values = 0; /* whether they fit, too, is for the error below to say */
    enum err r = npu_compile(&prog, w, p->chip, (unsigned)p->chip->v[NPU_CORES], 1, e);
    if (r == ERR_OK) {
        *out = (struct dev_room){.weights = prog->weight_bytes + tables,
                                 .buffers = prog->peak_bytes,
                                 .page = kv_values(p->plan) * DEV_PAGE * w->kv_bytes,
                                 .all = p->chip->v[NPU_DRAM_GB] * 1e9};
        npu_prog_free(prog);
    }
    npu_work_free(w);
    if (r == ERR_OK && out->weights + out->buffers + out->page > out->all)
        return err_set(
            e, ERR_TOOBIG,
            "the model does not fit into %s: weights %.2f GB in %s and buffers %.2f GB, "
            "and it has %.1f GB; a smaller model, fewer bits (--numerics int8) or a chip "
            "with more memory would help",
            p->chip->name, out->weights / 1e9, npu_type_name(p->type), out->buffers / 1e9,
            out->all / 1e9);
    return r;
}
