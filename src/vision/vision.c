/* SPDX-License-Identifier: MIT */
#include "vision/vision.h"

#include "base/arena.h"
#include "base/num.h"
#include "dev/dev.h"
#include "engine/engine.h"
#include "gguf/gguf.h"
#include "model/model.h"
#include "os/os_sys.h"
#include "plan/plan.h"

#include <sodium.h>
#include <string.h>

#define SAMPLE_BYTES 4096 /* of a tensor, in what a projector is known by */

struct vision {
    struct gguf *gguf;
    struct model *model;
    struct plan *plan;
    struct dev_opts opts;
    struct dev_need need;
    struct dev *dev;      /* NULL: not started */
    float *patches;       /* [n_patches][numbers of a patch] */
    struct dev_row *rows; /* [n_patches] */
    uint32_t *pages;
    size_t n_patches;
    uint8_t id[VISION_KEY];
};

static void find_id(struct vision *v)
{
    crypto_generichash_state h;
    CHECK(sodium_init() >= 0);
    crypto_generichash_init(&h, NULL, 0, sizeof v->id);
    for (size_t i = 0; i < gguf_n_tensors(v->gguf); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(v->gguf, i);
        size_t n = MIN(t->bytes, (size_t)SAMPLE_BYTES);
        crypto_generichash_update(&h, (const uint8_t *)t->name.p, t->name.n);
        crypto_generichash_update(&h, (const uint8_t *)t->dims, sizeof t->dims);
        crypto_generichash_update(&h, t->data + (t->bytes - n) / 2, n);
    }
    const struct model_vision *x = v->model->vision;
    crypto_generichash_update(&h, (const uint8_t *)x->mean, sizeof x->mean);
    crypto_generichash_update(&h, (const uint8_t *)x->std, sizeof x->std);
    crypto_generichash_update(&h, (const uint8_t *)&x->square, sizeof x->square);
    crypto_generichash_final(&h, v->id, sizeof v->id);
}

static enum err open_all(struct vision *v, const char *path, const struct vision_opts *o,
                         struct errinfo *e)
{
    TRY(gguf_open(&v->gguf, path, e));
    TRY(model_open_vision(&v->model, v->gguf, e));
    v->plan = plan_new(v->model);
    v->n_patches = v->model->vision->grid * v->model->vision->grid;
    v->opts = (struct dev_opts){.n_pages = num_div_up(v->n_patches, DEV_PAGE),
                                .rows_max = v->n_patches,
                                .n_threads = o->n_threads ? o->n_threads : os_n_cpus(),
                                .level = o->level,
                                .ctx_max = v->n_patches,
                                .kv = KERN_KV_f16,
                                .numerics = KERN_NATIVE};
    find_id(v);
    return dev_cpu_need(v->plan, &v->opts, &v->need, e);
}

enum err vision_open(struct vision **out, const char *path, const struct vision_opts *o,
                     struct errinfo *e)
{
    struct vision *v = mem_alloc(sizeof *v);
    enum err r = open_all(v, path, o, e);
    if (r != ERR_OK) {
        vision_close(v);
        v = NULL;
    }
    *out = v;
    return r;
}

enum err vision_start(struct vision *v, struct errinfo *e)
{
    TRY(dev_cpu_open(&v->dev, v->plan, &v->opts, e));
    v->patches = mem_alloc(v->n_patches * v->model->vision->patch.cols * sizeof *v->patches);
    v->rows = mem_alloc(v->n_patches * sizeof *v->rows);
    v->pages = mem_alloc(v->opts.n_pages * sizeof *v->pages);
    for (size_t i = 0; i < v->opts.n_pages; i++)
        v->pages[i] = (uint32_t)i;
    for (size_t i = 0; i < v->n_patches; i++)
        v->rows[i] = (struct dev_row){.x = v->patches + i * v->model->vision->patch.cols,
                                      .pos = (int32_t)i,
                                      .pages = v->pages,
                                      .out = -1,
                                      .hidden = i < v->model->vision->n_soft ? (int32_t)i : -1};
    return ERR_OK;
}

void vision_close(struct vision *v)
{
    if (!v)
        return;
    if (v->dev)
        v->dev->close(v->dev);
    plan_free(v->plan);
    model_close(v->model);
    gguf_close(v->gguf);
    mem_free(v->patches);
    mem_free(v->rows);
    mem_free(v->pages);
    mem_free(v);
}

const char *vision_path(const struct vision *v)
{
    return gguf_path(v->gguf);
}

size_t vision_side(const struct vision *v)
{
    return v->model->vision->image;
}

size_t vision_rows(const struct vision *v)
{
    return v->model->vision->n_soft;
}

size_t vision_dim(const struct vision *v)
{
    return v->model->vision->project.rows;
}

size_t vision_bytes(const struct vision *v)
{
    size_t patches = v->n_patches * v->model->vision->patch.cols * sizeof(float);
    return v->need.weights + v->need.work + v->opts.n_pages * v->need.page + patches;
}

/* A patch's numbers, in the order of the convolution's kernel. */
static void fill_patch(const struct model_vision *x, const uint8_t *rgb, size_t patch, float *out)
{
    size_t side = x->patch_side, top = patch / x->grid * side, left = patch % x->grid * side;
    for (size_t c = 0; c < 3; c++)
        for (size_t y = top; y < top + side; y++)
            for (size_t k = left; k < left + side; k++)
                *out++ = ((float)rgb[(y * x->image + k) * 3 + c] / 255 - x->mean[c]) / x->std[c];
}

void vision_encode(struct vision *v, const uint8_t *rgb, float *out)
{
    const struct model_vision *x = v->model->vision;
    size_t dim = vision_dim(v);
    CHECK(v->dev);
    for (size_t i = 0; i < v->n_patches; i++)
        fill_patch(x, rgb, i, v->patches + i * x->patch.cols);
    v->dev->step(v->dev, v->rows, v->n_patches);
    for (size_t i = 0; i < x->n_soft; i++)
        memcpy(out + i * dim, v->dev->hidden + i * v->dev->hidden_stride, dim * sizeof *out);
}

void vision_key(const struct vision *v, const void *bytes, size_t n, uint8_t key[VISION_KEY])
{
    crypto_generichash(key, VISION_KEY, bytes, n, v->id, sizeof v->id);
}

void vision_tokens(const uint8_t key[VISION_KEY], int32_t *out, size_t n)
{
    uint32_t some[16];
    for (size_t i = 0; i < n; i++) {
        uint64_t block = i / N_ELEMS(some);
        if (i % N_ELEMS(some) == 0)
            crypto_generichash((uint8_t *)some, sizeof some, (const uint8_t *)&block, sizeof block,
                               key, VISION_KEY);
        int32_t bits = (int32_t)(some[i % N_ELEMS(some)] & (ENGINE_SPAN_MORE - 1));
        out[i] = INT32_MIN | bits | (i ? ENGINE_SPAN_MORE : 0);
    }
}
