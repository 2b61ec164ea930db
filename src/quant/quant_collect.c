/* SPDX-License-Identifier: MIT
 * quant_collect.c - sums of squares of what matrices are multiplied by, written as an importance
 * matrix. */
#include "quant/quant_imatrix.h"

#include "base/num.h"
#include "gguf/gguf_type.h"
#include "gguf/gguf_write.h"

#include <stdio.h>
#include <string.h>

struct entry {
    char *name;
    size_t cols, n_experts;
    double *sums;   /* [n_experts][cols] */
    uint64_t *rows; /* [n_experts] */
};

struct quant_collect {
    struct entry *entries;
    size_t n, cap;
    size_t next; /* where the one of the last call was: matrices come in the same order again */
};

struct quant_collect *quant_collect_new(void)
{
    return mem_alloc(sizeof(struct quant_collect));
}

void quant_collect_free(struct quant_collect *c)
{
    for (size_t i = 0; c && i < c->n; i++) {
        mem_free(c->entries[i].name);
        mem_free(c->entries[i].sums);
        mem_free(c->entries[i].rows);
    }
    if (c)
        mem_free(c->entries);
    mem_free(c);
}

static struct entry *entry_of(struct quant_collect *c, struct span name, size_t cols,
                              size_t n_experts)
{
    for (size_t i = 0; i < c->n; i++) {
        size_t at = (c->next + i) % c->n;
        if (!span_eq_cstr(name, c->entries[at].name))
            continue;
        c->next = at + 1;
        CHECK(c->entries[at].cols == cols && c->entries[at].n_experts == n_experts);
        return &c->entries[at];
    }
    if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 256;
        c->entries = mem_grow(c->entries, c->cap * sizeof *c->entries);
    }
    struct entry *new = &c->entries[c->n++];
    *new = (struct entry){.cols = cols, .n_experts = n_experts};
    new->name = mem_alloc(name.n + 1);
    memcpy(new->name, name.p, name.n);
    new->sums = mem_alloc(cols * n_experts * sizeof *new->sums);
    new->rows = mem_alloc(n_experts * sizeof *new->rows);
    return new;
}

void quant_collect_add(struct quant_collect *c, struct span matrix, size_t cols, size_t n_experts,
                       size_t expert, const float *x, size_t stride, size_t n_rows)
{
    struct entry *to = entry_of(c, matrix, cols, n_experts);
    double *sums = to->sums + expert * cols;
    CHECK(expert < n_experts);
    for (size_t r = 0; r < n_rows; r++, x += stride)
        for (size_t i = 0; i < cols; i++)
            sums[i] += (double)x[i] * (double)x[i];
    to->rows[expert] += n_rows;
}

size_t quant_collect_n(const struct quant_collect *c)
{
    return c->n;
}

static void describe(const struct quant_collect *c, struct gguf_write *w)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct entry *t = &c->entries[i];
        char name[GGUF_NAME_MAX + 16];
        uint64_t dims[2] = {t->cols, t->n_experts};
        int n = snprintf(name, sizeof name, "%s.in_sum2", t->name);
        gguf_write_tensor(w, (struct span){name, (size_t)n}, GGUF_TYPE_F32, 2, dims);
        dims[0] = 1;
        n = snprintf(name, sizeof name, "%s.counts", t->name);
        gguf_write_tensor(w, (struct span){name, (size_t)n}, GGUF_TYPE_F32, 2, dims);
    }
}

static enum err put(const struct quant_collect *c, struct gguf_write *w, struct errinfo *e)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct entry *t = &c->entries[i];
        for (size_t k = 0; k < t->cols * t->n_experts; k++)
            TRY(gguf_write_data(w, &(float){(float)t->sums[k]}, 4, e));
        for (size_t k = 0; k < t->n_experts; k++)
            TRY(gguf_write_data(w, &(float){(float)t->rows[k]}, 4, e));
    }
    return ERR_OK;
}

enum err quant_collect_write(const struct quant_collect *c, const char *path, struct span dataset,
                             uint32_t n_chunks, uint32_t chunk_size, struct errinfo *e)
{
    struct gguf_write *w;
    TRY(gguf_write_new(&w, path, e));
    gguf_write_str(w, "general.type", SPAN("imatrix"));
    gguf_write_strs(w, "imatrix.datasets", &dataset, 1);
    gguf_write_u32(w, "imatrix.chunk_count", n_chunks);
    gguf_write_u32(w, "imatrix.chunk_size", chunk_size);
    describe(c, w);
    enum err r = gguf_write_head(w, e);
    if (r == ERR_OK)
        r = put(c, w, e);
    if (r == ERR_OK)
        r = gguf_write_end(w, e);
    gguf_write_free(w);
    return r;
}
