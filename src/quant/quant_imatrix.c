/* SPDX-License-Identifier: MIT
 * quant_imatrix.c - reading importance matrices. */
#include "quant/quant_imatrix.h"

#include "base/num.h"
#include "gguf/gguf_type.h"

#include <math.h>
#include <string.h>

enum err quant_imatrix_open(struct quant_imatrix *im, const char *path, struct errinfo *e)
{
    struct span type;
    const struct gguf_array *sets;
    *im = (struct quant_imatrix){0};
    TRY(gguf_open(&im->gguf, path, e));
    enum err r = gguf_get_str(im->gguf, "general.type", SPAN(""), &type, e);
    if (r == ERR_OK && !span_eq_cstr(type, "imatrix"))
        r = err_set(e, ERR_UNSUPPORTED, "%s: is no importance matrix (general.type is '%.*s')",
                    path, (int)MIN(type.n, 64), type.p);
    if (r == ERR_OK)
        r = gguf_get_u32(im->gguf, "imatrix.chunk_count", 0, &im->n_chunks, e);
    if (r == ERR_OK)
        r = gguf_get_array(im->gguf, "imatrix.datasets", GGUF_STRING, &sets, e);
    if (r != ERR_OK) {
        quant_imatrix_close(im);
        return r;
    }
    if (sets && sets->n)
        im->dataset = sets->strings[0];
    return ERR_OK;
}

void quant_imatrix_close(struct quant_imatrix *im)
{
    gguf_close(im->gguf);
    *im = (struct quant_imatrix){0};
}

size_t quant_imatrix_n(const struct quant_imatrix *im)
{
    return gguf_n_tensors(im->gguf) / 2;
}

static const struct gguf_tensor *part_of(const struct quant_imatrix *im,
                                         const struct gguf_tensor *t, const char *end)
{
    char name[GGUF_NAME_MAX + 16];
    if (t->name.n > GGUF_NAME_MAX)
        return NULL;
    memcpy(name, t->name.p, t->name.n);
    strcpy(name + t->name.n, end);
    return gguf_tensor(im->gguf, name);
}

static float float_at(const struct gguf_tensor *t, size_t i)
{
    float x;
    memcpy(&x, t->data + 4 * i, 4);
    return x;
}

enum err quant_imatrix_of(const struct quant_imatrix *im, const struct gguf_tensor *t,
                          struct arena *a, const float **out, struct errinfo *e)
{
    const struct gguf_tensor *sums = part_of(im, t, ".in_sum2"),
                             *counts = part_of(im, t, ".counts");
    const size_t cols = (size_t)t->dims[0], n = (size_t)(t->dims[2] * t->dims[3]);
    *out = NULL;
    if (!sums || !counts)
        return ERR_OK;
    if (sums->type != GGUF_TYPE_F32 || counts->type != GGUF_TYPE_F32 || sums->dims[0] != cols ||
        sums->bytes != n * cols * sizeof(float) || counts->bytes != n * sizeof(float))
        return err_set(e, ERR_UNSUPPORTED,
                       "the importance of %.*s is of %llu columns and %zu experts; the model's "
                       "tensor has %zu and %zu",
                       (int)t->name.n, t->name.p, (unsigned long long)sums->dims[0],
                       counts->bytes / sizeof(float), cols, n);
    float *mean = arena_array(a, n * cols, sizeof *mean);
    for (size_t i = 0; i < n * cols; i++) {
        float count = float_at(counts, i / cols), sum = float_at(sums, i);
        bool good = isfinite(sum) && sum >= 0 && isfinite(count) && count > 0;
        mean[i] = good ? sum / count : 1;
    }
    *out = mean;
    return ERR_OK;
}
