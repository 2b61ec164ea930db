/* SPDX-License-Identifier: MIT
 * model_lora.c - an adapter's pairs, bound to the tensors they adapt. */
#include "model/model_lora.h"

#include "base/num.h"
#include "gguf/gguf_type.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct model_lora {
    struct arena arena;
    const struct model *model;
    struct model_lora_pair *pair; /* [n], by the tensor's place */
    size_t n, rank;
    float alpha;
    struct errinfo *e; /* while it opens */
    const struct gguf *g;
};

static enum err check_keys(struct model_lora *l)
{
    const struct gguf *g = l->g;
    struct span kind, type, arch;
    TRY(gguf_get_str(g, "general.type", SPAN(""), &kind, l->e));
    TRY(gguf_get_str(g, "adapter.type", SPAN(""), &type, l->e));
    TRY(gguf_need_str(g, "general.architecture", &arch, l->e));
    TRY(gguf_get_f32(g, "adapter.lora.alpha", 0, &l->alpha, l->e));
    if (!span_eq_cstr(kind, "adapter") || !span_eq_cstr(type, "lora"))
        return err_set(l->e, ERR_UNSUPPORTED,
                       "%s: no LoRA adapter (general.type \"%.*s\", adapter.type \"%.*s\")",
                       gguf_path(g), (int)MIN(kind.n, 32), kind.p, (int)MIN(type.n, 32), type.p);
    if (!span_eq_cstr(arch, l->model->arch->name))
        return err_set(l->e, ERR_UNSUPPORTED,
                       "%s: adapts models of the family %.*s, and this is one "
                       "of %s",
                       gguf_path(g), (int)MIN(arch.n, 32), arch.p, l->model->arch->name);
    const struct gguf_key *k = gguf_key(g, "adapter.alora.invocation_tokens");
    if (k)
        return err_set(l->e, ERR_UNSUPPORTED,
                       "%s: an adapter that some tokens of the prompt turn on "
                       "(aLoRA) is not supported",
                       gguf_path(g));
    if (!isfinite(l->alpha))
        return err_set(l->e, ERR_CORRUPT, "%s: adapter.lora.alpha is not a finite number",
                       gguf_path(g));
    return ERR_OK;
}

static enum err bad(struct model_lora *l, const char *name, enum err code, const char *why)
{
    return err_set(l->e, code, "%s: %.200s: %s", gguf_path(l->g), name, why);
}

/* The tensor's numbers as floats; `turned`: columns of each matrix become its rows. */
static enum err floats(struct model_lora *l, const struct gguf_tensor *t, bool turned,
                       const float **out)
{
    int f = format_of(t->type);
    size_t cols = (size_t)t->dims[0], n_rows = (size_t)t->dims[1], n = n_rows * (size_t)t->dims[2];
    if (f < 0)
        return bad(l, gguf_type_info(t->type)->name, ERR_UNSUPPORTED, "a type that is not read");
    float *x = arena_array(&l->arena, cols * n, sizeof *x), *row = mem_alloc(cols * sizeof *row);
    for (size_t i = 0; i < n; i++) {
        size_t r = i % n_rows, before = (i - r) * cols;
        format_dequant((enum format)f, row, t->data + i * format_bytes((enum format)f, cols), cols);
        for (size_t c = 0; c < cols; c++)
            x[before + (turned ? c * n_rows + r : r * cols + c)] = row[c];
    }
    mem_free(row);
    *out = x;
    return ERR_OK;
}

static bool adaptable(const char *name, const struct gguf_tensor *w)
{
    static const char *const never[] = {"attn_k_b.", "attn_v_b.", "position_embd.", "_norm."};
    for (size_t i = 0; i < N_ELEMS(never); i++)
        if (strstr(name, never[i]))
            return false;
    return w->n_dims == 2 || (w->n_dims == 3 && strstr(name, "_exps."));
}

static enum err check_pair(struct model_lora *l, const struct model_lora_pair *p, const char *name,
                           const struct gguf_tensor *a, const struct gguf_tensor *b)
{
    const struct gguf_tensor *w = p->tensor;
    bool fits = p->embeds ? b->dims[1] == w->dims[0] && a->dims[1] == w->dims[1] &&
                                a->dims[0] == b->dims[0]
                          : a->dims[0] == w->dims[0] && b->dims[1] == w->dims[1] &&
                                b->dims[0] == a->dims[1];
    if (fits && a->dims[2] == w->dims[2] && b->dims[2] == w->dims[2] && a->dims[3] == 1 &&
        b->dims[3] == 1 && p->rank <= MODEL_LORA_RANK_MAX)
        return ERR_OK;
    return err_set(l->e, ERR_CORRUPT,
                   "%s: %s: %llu x %llu x %llu and %llu x %llu x %llu do not make a matrix of %llu "
                   "x %llu x %llu by a rank of at most %d",
                   gguf_path(l->g), name, (unsigned long long)b->dims[2],
                   (unsigned long long)b->dims[1], (unsigned long long)b->dims[0],
                   (unsigned long long)a->dims[2], (unsigned long long)a->dims[1],
                   (unsigned long long)a->dims[0], (unsigned long long)w->dims[2],
                   (unsigned long long)w->dims[1], (unsigned long long)w->dims[0],
                   MODEL_LORA_RANK_MAX);
}

/* t is NAME.lora_a; its other half is looked up. */
static enum err add_pair(struct model_lora *l, const struct gguf_tensor *t)
{
    char name[GGUF_NAME_MAX + 8];
    size_t n = t->name.n - strlen(".lora_a");
    snprintf(name, sizeof name, "%.*s.lora_b", (int)n, t->name.p);
    const struct gguf_tensor *b = gguf_tensor(l->g, name);
    if (!b)
        return bad(l, name, ERR_CORRUPT, "is missing");
    name[n] = '\0';
    const struct gguf_tensor *w = gguf_tensor(l->model->gguf, name);
    if (!w)
        return bad(l, name, ERR_UNSUPPORTED, "the model has no such tensor");
    if (!adaptable(name, w))
        return bad(l, name, ERR_UNSUPPORTED, "adapters of such tensors are not supported");
    struct model_lora_pair *p = &l->pair[l->n++];
    bool embeds = strcmp(name, "token_embd.weight") == 0;
    *p = (struct model_lora_pair){.tensor = w,
                                  .rank = (size_t)t->dims[embeds ? 0 : 1],
                                  .cols = (size_t)w->dims[0],
                                  .rows = (size_t)w->dims[1],
                                  .embeds = embeds};
    TRY(check_pair(l, p, name, t, b));
    p->by = l->alpha != 0 ? l->alpha / (float)p->rank : 1;
    l->rank = MAX(l->rank, p->rank);
    TRY(floats(l, t, false, &p->a));
    return floats(l, b, true, &p->b);
}

static int by_tensor(const void *x, const void *y)
{
    const struct model_lora_pair *a = x, *b = y;
    return (a->tensor > b->tensor) - (a->tensor < b->tensor);
}

static enum err read_pairs(struct model_lora *l)
{
    size_t n = gguf_n_tensors(l->g), n_b = 0;
    l->pair = arena_array(&l->arena, n, sizeof *l->pair);
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(l->g, i);
        if (span_ends(t->name, SPAN(".lora_a")))
            TRY(add_pair(l, t));
        else if (span_ends(t->name, SPAN(".lora_b")))
            n_b++;
        else
            return err_set(l->e, ERR_UNSUPPORTED,
                           "%s: the tensor %.*s is no part of a low-rank pair", gguf_path(l->g),
                           (int)t->name.n, t->name.p);
    }
    if (n_b != l->n || n == 0)
        return err_set(l->e, ERR_CORRUPT, "%s: %zu tensors .lora_a and %zu .lora_b",
                       gguf_path(l->g), l->n, n_b);
    qsort(l->pair, l->n, sizeof *l->pair, by_tensor);
    return ERR_OK;
}

enum err model_lora_open(struct model_lora **out, const struct gguf *adapter, const struct model *m,
                         struct errinfo *e)
{
    struct model_lora *l = mem_alloc(sizeof *l);
    *l = (struct model_lora){.model = m, .e = e, .g = adapter};
    arena_init(&l->arena);
    enum err r = check_keys(l);
    if (r == ERR_OK)
        r = read_pairs(l);
    l->e = NULL;
    l->g = NULL;
    if (r != ERR_OK) {
        model_lora_close(l);
        l = NULL;
    }
    *out = l;
    return r;
}

void model_lora_close(struct model_lora *l)
{
    if (!l)
        return;
    arena_done(&l->arena);
    mem_free(l);
}

size_t model_lora_bytes(const struct model_lora *l)
{
    return l->arena.total_bytes;
}

size_t model_lora_rank(const struct model_lora *l)
{
    return l->rank;
}

size_t model_lora_n(const struct model_lora *l)
{
    return l->n;
}

const struct model_lora_pair *model_lora_at(const struct model_lora *l, size_t i)
{
    CHECK(i < l->n);
    return &l->pair[i];
}

const struct model_lora_pair *model_lora_of(const struct model_lora *l,
                                            const struct model_matrix *w, size_t *row)
{
    size_t lo = 0, hi = l->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (l->pair[mid].tensor < w->tensor)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == l->n || l->pair[lo].tensor != w->tensor)
        return NULL;
    *row = (size_t)(w->data - w->tensor->data) / format_bytes(w->format, w->cols);
    return &l->pair[lo];
}
