/* SPDX-License-Identifier: MIT
 * npu_work.c - lists of operations and what they add up to. */
#include "npu/npu_work.h"

#include "base/num.h"
#include "npu/npu_int.h"

#include <string.h>

static const struct {
    const char *name;
    void (*make)(struct npu_work *w);
} benches[] = {
    {"resnet50",       npu_make_resnet50     },
    {"mobilenet",      npu_make_mobilenet    },
    {"ssd-mobilenet",  npu_make_ssd_mobilenet},
    {"ssd-resnet34",   npu_make_ssd_resnet34 },
    {"bert-large-384", npu_make_bert         },
};

const char *npu_work_name(size_t i)
{
    return i < N_ELEMS(benches) ? benches[i].name : NULL;
}

static size_t bench_find(const char *name)
{
    size_t i = 0;
    while (i < N_ELEMS(benches) && strcmp(benches[i].name, name) != 0)
        i++;
    return i;
}

bool npu_work_known(const char *name)
{
    return bench_find(name) < N_ELEMS(benches);
}

struct npu_work *npu_work_new(const char *name, uint64_t batch, enum npu_type type)
{
    struct arena a;
    arena_init(&a);
    struct npu_work *w = arena_alloc(&a, sizeof *w);
    w->arena = a;
    w->name = arena_dup(&w->arena, name, strlen(name));
    w->batch = batch;
    w->type = type;
    w->weight_bits = type == NPU_BF16 ? 16 : type == NPU_INT4 ? 4.5 : 8;
    w->act_bytes = type == NPU_BF16 ? 2 : 1;
    w->kv_bytes = w->act_bytes;
    return w;
}

/* The list at *p with room for one more. */
static void *grown(struct arena *a, void *p, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return p;
    void *more = arena_array(a, *cap ? 2 * *cap : 64, size);
    if (n)
        memcpy(more, p, n * size);
    *cap = *cap ? 2 * *cap : 64;
    return more;
}

int npu_work_tensor(struct npu_work *w, uint64_t values)
{
    w->tensors = grown(&w->arena, w->tensors, w->n_tensors, &w->cap_tensors, sizeof *w->tensors);
    w->tensors[w->n_tensors] = (struct npu_tensor){.values = values, .last = -1};
    return (int)w->n_tensors++;
}

struct npu_op *npu_work_op(struct npu_work *w, enum npu_op_kind kind, const char *name, int layer,
                           int in, int out)
{
    w->ops = grown(&w->arena, w->ops, w->n_ops, &w->cap_ops, sizeof *w->ops);
    struct npu_op *op = &w->ops[w->n_ops++];
    *op = (struct npu_op){.kind = kind,
                          .name = name,
                          .layer = layer,
                          .in = in,
                          .in2 = -1,
                          .out = out,
                          .weights_of = -1,
                          .unique = 1,
                          .reads = 1};
    return op;
}

/* Sums, and who reads what last. */
void npu_work_done(struct npu_work *w)
{
    for (size_t i = 0; i < w->n_ops; i++) {
        const struct npu_op *op = &w->ops[i];
        if (op->in >= 0)
            w->tensors[op->in].last = (int)i;
        if (op->in2 >= 0)
            w->tensors[op->in2].last = (int)i;
        bool product = op->kind == NPU_MATMUL || op->kind == NPU_DEPTHWISE;
        if (product && op->weights_of < 0)
            w->weight_values += (double)op->k * (double)op->n;
        if (product)
            w->macs += (double)op->m * (double)op->k * (double)op->n;
        if (op->kind == NPU_ATTEND) {
            double seen = (double)op->context - ((double)op->rows - 1) / 2;
            w->macs += 2 * (double)op->n_seq * (double)op->rows * seen * (double)op->heads *
                       (double)op->dim;
        }
    }
}

struct npu_work *npu_work_product(enum npu_type type, uint64_t m, uint64_t k, uint64_t n)
{
    struct npu_work *w = npu_work_new("a product", 1, type);
    int in = npu_work_tensor(w, m * k), out = npu_work_tensor(w, m * n);
    struct npu_op *op = npu_work_op(w, NPU_MATMUL, "product", -1, in, out);
    op->m = m;
    op->k = k;
    op->n = n;
    npu_work_done(w);
    return w;
}

struct npu_work *npu_work_bench(const char *name, uint64_t batch, enum npu_type type)
{
    size_t i = bench_find(name);
    CHECK(i < N_ELEMS(benches));
    struct npu_work *w = npu_work_new(name, batch, type);
    benches[i].make(w);
    npu_work_done(w);
    return w;
}

/* Whether of what the first n operations make, only the last one's result is read behind them. */
bool npu_work_cuts(const struct npu_work *w, size_t n)
{
    for (size_t i = n; i < w->n_ops; i++)
        for (size_t k = 0; k + 1 < n; k++) {
            int made = w->ops[k].out;
            if (made >= 0 && made != w->ops[n - 1].out &&
                (w->ops[i].in == made || w->ops[i].in2 == made))
                return false;
        }
    return n > 0 && n < w->n_ops && w->ops[n - 1].out >= 0;
}

struct npu_work *npu_work_slice(const struct npu_work *w, size_t n, unsigned slices)
{
    struct npu_work *s = npu_work_new(w->name, w->batch, w->type);
    int last = w->ops[n - 1].out;
    s->host_in = w->host_in;
    s->host_out = w->host_out;
    for (size_t t = 0; t < w->n_tensors; t++)
        npu_work_tensor(s, w->tensors[t].values);
    int *map = arena_array(&s->arena, w->n_tensors, sizeof *map);
    for (size_t k = 0; k < slices * n + (w->n_ops - n); k++) {
        bool sliced = k < slices * n;
        const struct npu_op *from = &w->ops[sliced ? k % n : k - (slices - 1) * n];
        struct npu_op *op = npu_work_op(s, from->kind, from->name, from->layer, -1, -1);
        *op = *from;
        if (!sliced)
            continue;
        if (k % n == 0) /* tensors of the slice's own; what it begins with and its end are whole */
            for (size_t t = 0; t < w->n_tensors; t++)
                map[t] = -1;
        op->m /= slices;
        op->weights_of = k >= n ? (int)(k % n) : from->weights_of;
        if (from->out >= 0 && from->out != last && map[from->out] < 0)
            map[from->out] = npu_work_tensor(s, w->tensors[from->out].values / slices);
        op = &s->ops[k];
        op->in = from->in >= 0 && map[from->in] >= 0 ? map[from->in] : from->in;
        op->in2 = from->in2 >= 0 && map[from->in2] >= 0 ? map[from->in2] : from->in2;
        op->out = from->out >= 0 && map[from->out] >= 0 ? map[from->out] : from->out;
    }
    npu_work_done(s);
    return s;
}

bool npu_op_alike(const struct npu_op *a, const struct npu_op *b)
{
    return a->kind == b->kind && a->m == b->m && a->k == b->k && a->n == b->n &&
           a->unique == b->unique && a->passes == b->passes && a->reads == b->reads &&
           (a->in2 >= 0) == (b->in2 >= 0) && a->n_seq == b->n_seq && a->rows == b->rows &&
           a->context == b->context && a->heads == b->heads && a->kv_heads == b->kv_heads &&
           a->dim == b->dim && a->how == b->how;
}

bool npu_work_alike(const struct npu_work *a, const struct npu_work *b)
{
    bool same = a->n_ops == b->n_ops && a->n_tensors == b->n_tensors && a->type == b->type &&
                a->weight_bits == b->weight_bits && a->batch == b->batch &&
                a->host_in == b->host_in && a->host_out == b->host_out &&
                a->kv_values == b->kv_values && a->table_values == b->table_values;
    for (size_t i = 0; same && i < a->n_ops; i++) {
        const struct npu_op *x = &a->ops[i], *y = &b->ops[i];
        same = npu_op_alike(x, y) && x->in == y->in && x->in2 == y->in2 && x->out == y->out &&
               x->weights_of == y->weights_of;
    }
    for (size_t i = 0; same && i < a->n_tensors; i++)
        same = a->tensors[i].values == b->tensors[i].values;
    return same;
}

void npu_work_free(struct npu_work *w)
{
    if (!w)
        return;
    struct arena a = w->arena; /* the work lies in it */
    arena_done(&a);
}

enum err npu_work_type(const struct npu_chip *c, enum npu_type format, enum npu_type *out,
                       struct errinfo *e)
{
    char can[80] = "";
    *out = format;
    if (format == NPU_INT4)
        *out = npu_chip_rate(c, NPU_BF16) > 0 ? NPU_BF16 : NPU_INT8;
    if (npu_chip_rate(c, *out) > 0)
        return ERR_OK;
    for (int t = 0; t < NPU_N_TYPES; t++)
        if (npu_chip_rate(c, (enum npu_type)t) > 0) {
            strncat(can, *can ? ", " : "", sizeof can - strlen(can) - 1);
            strncat(can, npu_type_name((enum npu_type)t), sizeof can - strlen(can) - 1);
        }
    return err_set(e, ERR_UNSUPPORTED, "%s computes in %s, not in %s", c->name, can,
                   npu_type_name(*out));
}
