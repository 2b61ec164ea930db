/* SPDX-License-Identifier: MIT
 * dev_cpu_pack.c - packing with all threads, and the key of what is kept.
 *
 * The key of a kept file: the model file's inode, length and times of its last change (which no
 * program can set back), name, format, shape and 64 bytes of every matrix, and what mm_pack makes
 * of noise in each of their formats.  Reading all bytes of a model at each start would cost more
 * than packing them; a file that was changed in a few bytes has another time of change, one that
 * was moved or copied is packed once more. */
#include "dev/dev_cpu_pack.h"

#include "base/log.h"
#include "base/num.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACK_ALIGN  64
#define PACK_SLAB   ((size_t)8 << 20) /* of the file's bytes: what is in memory twice at once */
#define PACK_SAMPLE 64                /* bytes of a matrix that the key has */
#define PACK_PROBE  4096              /* columns of the noise that is packed for the key */

bool cpu_pairs(const struct plan *p, const struct mm_kernel *mm)
{
    return p->model->vision && mm->numerics == KERN_NATIVE && pairs_can(mm->level, p->model->k_dim);
}

bool cpu_in_pairs(const struct plan *p, const struct mm_kernel *mm, const struct model_matrix *w)
{
    return cpu_pairs(p, mm) && (w->format == FORMAT_F16 || w->format == FORMAT_BF16) &&
           w->cols % 2 == 0;
}

static size_t packed_bytes(const struct plan *p, const struct mm_kernel *mm,
                           const struct model_matrix *w)
{
    return cpu_in_pairs(p, mm, w) ? pairs_mm_bytes(w->cols, w->rows)
                                  : mm_packed_bytes(mm, w->format, w->cols, w->rows);
}

size_t cpu_pack_bytes(const struct plan *p, const struct mm_kernel *mm)
{
    size_t total = 0;
    for (size_t i = 0; i < p->n_ops; i++)
        for (int k = 0; k < p->ops[i].n_parts; k++) {
            const struct model_matrix *w = p->ops[i].part[k].weight;
            size_t bytes = packed_bytes(p, mm, w);
            if (bytes > SIZE_MAX / 4 || total > SIZE_MAX / 4)
                return SIZE_MAX;
            total += num_align(bytes, PACK_ALIGN);
        }
    return total;
}

const void *cpu_pack_next(const struct cpu_pack *c, const struct model_matrix *w, size_t *at)
{
    size_t bytes = packed_bytes(c->plan, c->mm, w);
    if (bytes == 0)
        return w->data;
    const char *p = c->data + *at;
    *at += num_align(bytes, PACK_ALIGN);
    CHECK(*at <= c->bytes);
    return p;
}

/* ---- packing ---- */

struct pack_job {
    const struct mm_kernel *mm;
    struct os_pool *pool;
    const struct model_matrix *w;
    void *dst;
    size_t from, to; /* rows */
    bool pairs;
};

static void pack_some(void *arg, int thread, int n_threads)
{
    const struct pack_job *j = arg;
    const struct model_matrix *w = j->w;
    size_t step = (size_t)j->mm->panel_rows * 8; /* panels of either kind */
    float *row = j->pairs ? mem_alloc(w->cols * sizeof *row) : NULL;
    (void)thread;
    (void)n_threads;
    for (size_t r; (r = j->from + os_pool_take(j->pool, step)) < j->to;)
        if (j->pairs)
            pairs_mm_pack(w->format, w->cols, w->data, j->dst, r, MIN(r + step, j->to), row);
        else
            mm_pack(j->mm, w->format, w->cols, w->rows, w->data, j->dst, r, MIN(r + step, j->to));
    mem_free(row);
}

/* A slab after the other, whose pages then leave memory: the packed copy serves from now on. */
static void pack_one(const struct cpu_pack *c, const struct model_matrix *w, void *dst,
                     struct os_pool *pool)
{
    size_t row = format_bytes(w->format, w->cols), panel = (size_t)c->mm->panel_rows * 8;
    size_t slab = MAX(PACK_SLAB / row / panel, (size_t)1) * panel;
    size_t before = w->tensor ? (size_t)(w->data - w->tensor->data) : 0;
    struct pack_job job = {.mm = c->mm, .pool = pool, .w = w, .dst = dst};
    job.pairs = cpu_in_pairs(c->plan, c->mm, w);
    for (; job.from < w->rows; job.from = job.to) {
        job.to = MIN(job.from + slab, w->rows);
        os_pool_run(pool, pack_some, &job);
        if (w->tensor)
            gguf_forget(c->plan->model->gguf, w->tensor, before + job.from * row,
                        (job.to - job.from) * row);
    }
    if (w->tensor) /* where slabs met */
        gguf_forget(c->plan->model->gguf, w->tensor, before, w->rows * row);
}

static void pack_all(struct cpu_pack *c, const struct dev_opts *o, struct os_pool *pool)
{
    size_t at = 0;
    for (size_t i = 0; i < c->plan->n_ops; i++) {
        const struct plan_op *op = &c->plan->ops[i];
        for (int k = 0; k < op->n_parts; k++) {
            const struct model_matrix *w = op->part[k].weight;
            char *dst = (char *)c->own + at;
            if (cpu_pack_next(c, w, &at) == dst)
                pack_one(c, w, dst, pool);
        }
        if (op->n_parts && o->progress)
            o->progress(o->progress_arg, (double)at / (double)c->bytes);
    }
}

/* ---- what is kept ---- */

static void mix(uint64_t key[2], const void *p, size_t n)
{
    uint64_t sum = num_sum(p, n);
    key[0] = num_hash(&sum, sizeof sum, key[0]);
    key[1] = num_hash(&sum, sizeof sum, key[1] ^ n);
}

/* The layout, as mm_pack makes it of noise. */
static void mix_layout(uint64_t key[2], const struct mm_kernel *mm, enum format f)
{
    size_t rows = (size_t)mm->panel_rows * 2 + 1, n = format_bytes(f, PACK_PROBE) * rows;
    size_t bytes = mm_packed_bytes(mm, f, PACK_PROBE, rows);
    uint64_t *noise = mem_alloc(num_align(n, sizeof *noise)), rng = 1;
    void *packed = aligned_alloc(PACK_ALIGN, num_align(bytes, PACK_ALIGN));
    CHECK(packed && bytes);
    memset(packed, 0, num_align(bytes, PACK_ALIGN));
    for (size_t i = 0; i < num_div_up(n, sizeof *noise); i++)
        noise[i] = num_rand(&rng);
    mm_pack(mm, f, PACK_PROBE, rows, noise, packed, 0, rows);
    mix(key, packed, bytes);
    free(packed);
    mem_free(noise);
}

static void mix_matrix(uint64_t key[2], const struct gguf *g, const struct model_matrix *w)
{
    const struct gguf_tensor *t = w->tensor;
    size_t n = MIN(t->bytes, (size_t)PACK_SAMPLE), places = (t->bytes - n) / PACK_SAMPLE;
    uint64_t facts[] = {(uint64_t)w->format, w->rows, w->cols, t->bytes}, rng = t->bytes;
    size_t at = places ? (size_t)(num_rand(&rng) % places) * PACK_SAMPLE : 0;
    mix(key, w->name.p, w->name.n);
    mix(key, facts, sizeof facts);
    mix(key, t->data + at, n);
    gguf_forget(g, t, 0, t->bytes); /* what came into memory around the sample */
}

static void make_key(const struct cpu_pack *c, const struct dev_opts *o, uint64_t key[2])
{
    const struct gguf *g = c->plan->model->gguf;
    const char *level = cpu_level_name(o->level);
    uint64_t change = gguf_change(g);
    bool seen[FORMAT_N] = {0};
    key[0] = 1, key[1] = 2;
    mix(key, &change, sizeof change);
    mix(key, level, strlen(level));
    for (size_t i = 0; i < c->plan->n_ops; i++)
        for (int k = 0; k < c->plan->ops[i].n_parts; k++) {
            const struct model_matrix *w = c->plan->ops[i].part[k].weight;
            if (mm_packed_bytes(c->mm, w->format, w->cols, w->rows) == 0)
                continue;
            mix_matrix(key, g, w);
            if (!seen[w->format])
                mix_layout(key, c->mm, w->format);
            seen[w->format] = true;
        }
}

/* The model's name for people, and a number of its place and the level: a model that changed takes
 * the place of what it was. */
static void make_name(const struct cpu_pack *c, const struct dev_opts *o, char out[DEV_KEEP_NAME])
{
    const char *path = gguf_path(c->plan->model->gguf), *slash = strrchr(path, '/');
    struct span stem = span_of(slash ? slash + 1 : path);
    char *real = realpath(path, NULL);
    uint64_t place = num_hash(real ? real : path, strlen(real ? real : path), 0);
    free(real);
    place = num_hash(&o->level, sizeof o->level, place);
    if (o->numerics != KERN_NATIVE)
        place = num_hash(&o->numerics, sizeof o->numerics, place);
    if (span_ends(stem, SPAN(".gguf")))
        stem.n -= 5;
    snprintf(out, DEV_KEEP_NAME, "%.*s-%016llx", (int)MIN(stem.n, (size_t)100), stem.p,
             (unsigned long long)place);
}

/* Not a picture's: its layout (pairs.h) is the processor's, which the key does not tell. */
static bool is_kept(const struct cpu_pack *c, const struct dev_opts *o)
{
    return o->packed_dir && !cpu_pairs(c->plan, c->mm) && c->bytes >= o->packed_bytes_min &&
           c->bytes <= o->packed_bytes_max && gguf_change(c->plan->model->gguf);
}

/* True when the file of an earlier start serves. */
static bool open_kept(struct cpu_pack *c, const struct dev_keep *k, const struct dev_opts *o,
                      struct os_pool *pool)
{
    struct errinfo e;
    enum err r = dev_keep_open(k, &c->kept, pool, o->progress, o->progress_arg, &e);
    if (r == ERR_OK)
        c->data = c->kept.data;
    else
        log_at(r == ERR_NOTFOUND || r == ERR_UNSUPPORTED ? LOG_INFO : LOG_WARN, "packed",
               "used=no error=\"%s\"", e.text);
    return r == ERR_OK;
}

enum err cpu_pack_open(struct cpu_pack *c, const struct plan *p, const struct mm_kernel *mm,
                       const struct dev_opts *o, struct os_pool *pool, struct errinfo *e)
{
    *c = (struct cpu_pack){.plan = p, .mm = mm, .bytes = cpu_pack_bytes(p, mm)};
    CHECK(c->bytes != SIZE_MAX); /* the caller asked */
    if (c->bytes == 0)
        return ERR_OK;
    struct dev_keep k = {.dir = o->packed_dir, .bytes = c->bytes, .bytes_max = o->packed_bytes_max};
    bool kept = is_kept(c, o);
    if (kept) {
        make_key(c, o, k.key);
        make_name(c, o, k.name);
        if (open_kept(c, &k, o, pool))
            return ERR_OK;
    }
    c->data = c->own = os_pages_alloc(c->bytes);
    if (!c->own)
        return err_set(e, ERR_MEMORY, "the system refuses %zu MiB for weights", c->bytes >> 20);
    pack_all(c, o, pool);
    if (kept)
        c->writer = dev_keep_write(&k, c->own);
    return ERR_OK;
}

void cpu_pack_close(struct cpu_pack *c)
{
    dev_keep_end(c->writer);
    os_pages_free(c->own, c->bytes);
    dev_keep_close(&c->kept);
    *c = (struct cpu_pack){0};
}
