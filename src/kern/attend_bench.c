/* SPDX-License-Identifier: MIT
 * attend_bench.c - the speed of attention beside the machine's limits, on one thread.
 *
 *   attend_bench [--level NAME] [--kv NAME] [--only many|few] [--rounds N] [--mib N]
 *
 * many: rows of a prompt at the end of a context, with a key-value head: multiply-adds a second,
 * of pairs that are seen, beside the level's fp32 peak.  few: a row of an answer, over N MiB of
 * pages, more than caches hold: bytes a second beside plain reading.  The best of N rounds counts.
 */
#include "base/arena.h"
#include "base/err.h"
#include "base/num.h"
#include "kern/kern.h"
#include "kern/peak.h"
#include "os/os_map.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t rng = 1;
static size_t cold_bytes = (size_t)256 << 20;
static int rounds = 5;
static enum cpu_level level;

/* This thread's own time, so that whoever else is on the machine counts less. */
static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Seconds of the best round of `call`. */
#define BEST(best, call)                                                                           \
    double best = 1e30;                                                                            \
    for (int round_ = 0; round_ < rounds; round_++) {                                              \
        double t_ = seconds();                                                                     \
        call;                                                                                      \
        best = MIN(best, seconds() - t_);                                                          \
    }

static double peak_gmacs(void)
{
    uint64_t n = 0;
    BEST(s, n = peak_of(level)->f32(1000000))
    return (double)n / s / 1e9;
}

static double peak_gbs(void)
{
    float *p = os_pages_alloc(cold_bytes);
    volatile float sink;
    memset(p, 1, cold_bytes);
    BEST(s, sink = peak_of(level)->read(p, cold_bytes, 4, 2048))
    (void)sink;
    os_pages_free(p, cold_bytes);
    return (double)cold_bytes / s / 1e9;
}

static float *floats(struct arena *a, size_t n)
{
    float *p = arena_array(a, n, sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = (float)(num_rand_unit(&rng) * 2 - 1);
    return p;
}

/* n pages of keys and of values, one after another as a device has them; gives their memory. */
static void *make_pages(struct arena *ar, const struct kern *k, struct kern_attend *a, size_t n)
{
    size_t k_bytes = kern_k_bytes(a->kv, a->k_dim), v_bytes = kern_v_bytes(a->kv, a->v_dim);
    const void **ks = arena_array(ar, n, sizeof *ks), **vs = arena_array(ar, n, sizeof *vs);
    char *all = os_pages_alloc(n * (k_bytes + v_bytes)), *at = all;
    CHECK(all);
    float *x = floats(ar, KERN_PAGE * MAX(a->k_dim, a->v_dim));
    for (size_t i = 0; i < n; i++, at += k_bytes + v_bytes) {
        struct kern_put put = {a->kv, at, 0, KERN_PAGE, a->k_dim, x, a->k_dim};
        k->put_k(&put);
        ks[i] = at;
        put.page = at + k_bytes, put.dim = put.stride = a->v_dim;
        k->put_v(&put);
        vs[i] = put.page;
    }
    a->k = ks, a->v = vs, a->n_pages = n;
    return all;
}

/* rows x group queries, the last rows of a context. */
static void make_queries(struct arena *ar, struct kern_attend *a, size_t rows, size_t group,
                         size_t ctx)
{
    a->n_q = rows * group;
    const float **q = arena_array(ar, a->n_q, sizeof *q);
    float **out = arena_array(ar, a->n_q, sizeof *out);
    int32_t *from = arena_array(ar, a->n_q, sizeof *from),
            *to = arena_array(ar, a->n_q, sizeof *to);
    for (size_t i = 0; i < a->n_q; i++) {
        q[i] = floats(ar, a->k_dim);
        out[i] = floats(ar, a->v_dim);
        from[i] = 0;
        to[i] = (int32_t)(ctx - rows + 1 + i / group);
    }
    a->q = q, a->out = out, a->from = from, a->to = to;
    a->scale = 1 / sqrtf((float)a->k_dim);
    a->scratch = floats(ar, kern_attend_scratch(a->kv, a->n_q, a->k_dim, a->v_dim));
}

static void many(const struct kern *k, enum kern_kv kv, size_t rows, size_t group, size_t dim,
                 size_t ctx, double peak)
{
    struct arena ar;
    struct kern_attend a = {.kv = kv, .k_dim = dim, .v_dim = dim};
    double pairs = 0;
    arena_init(&ar);
    make_queries(&ar, &a, rows, group, ctx);
    size_t n_pages = num_div_up(ctx, KERN_PAGE);
    void *pages = make_pages(&ar, k, &a, n_pages);
    for (size_t i = 0; i < a.n_q; i++)
        pairs += a.to[i];
    BEST(s, k->attend(&a))
    double rate = pairs * 2 * (double)dim / s / 1e9;
    printf("%s many: %3zu rows x %zu heads of %3zu, context %6zu: %9.1f us %7.1f GMAC/s %5.1f %%\n",
           kern_kv_name(kv), rows, group, dim, ctx, s * 1e6, rate, 100 * rate / peak);
    os_pages_free(pages, n_pages * (kern_k_bytes(kv, dim) + kern_v_bytes(kv, dim)));
    arena_done(&ar);
}

static void all_heads(const struct kern *k, struct kern_attend *a, size_t n, const void *const *ks,
                      const void *const *vs)
{
    for (size_t h = 0; h < n; h++) {
        a->k = ks + h * a->n_pages, a->v = vs + h * a->n_pages;
        k->attend(a);
    }
}

static void few(const struct kern *k, enum kern_kv kv, size_t group, size_t dim, size_t ctx,
                double peak)
{
    struct arena ar;
    struct kern_attend a = {.kv = kv, .k_dim = dim, .v_dim = dim};
    arena_init(&ar);
    make_queries(&ar, &a, 1, group, ctx);
    size_t n_pages = num_div_up(ctx, KERN_PAGE);
    size_t bytes = n_pages * (kern_k_bytes(kv, dim) + kern_v_bytes(kv, dim));
    size_t heads = MAX(cold_bytes / bytes, (size_t)1);
    void *pages = make_pages(&ar, k, &a, n_pages * heads);
    const void *const *ks = a.k, *const *vs = a.v;
    a.n_pages = n_pages;
    BEST(s, all_heads(k, &a, heads, ks, vs))
    double rate = (double)(bytes * heads) / s / 1e9;
    printf("%s few:    1 row  x %zu heads of %3zu, context %6zu: %9.1f us %7.1f GB/s   %5.1f %%\n",
           kern_kv_name(kv), group, dim, ctx, s * 1e6 / (double)heads, rate, 100 * rate / peak);
    os_pages_free(pages, bytes * heads);
    arena_done(&ar);
}

static void run(const struct kern *k, enum kern_kv kv, const char *only)
{
    static const struct {
        size_t rows, group, dim, ctx;
    } prompts[] = {
        {512, 3, 64,  512  },
        {64,  3, 64,  512  },
        {11,  3, 64,  1800 },
        {64,  4, 64,  8192 },
        {64,  4, 64,  32768},
        {48,  4, 128, 8192 },
        {64,  4, 256, 2048 },
        {64,  1, 80,  8192 },
        {4,   4, 64,  8192 },
        {2,   4, 64,  8192 }
    };
    static const struct {
        size_t group, dim, ctx;
    } answers[] = {
        {1, 64,  8192 },
        {3, 64,  2048 },
        {4, 64,  8192 },
        {4, 64,  32768},
        {4, 128, 8192 },
        {4, 256, 8192 },
        {8, 128, 8192 }
    };
    double macs = peak_gmacs(), bytes = peak_gbs();
    printf("%s: fp32 %.1f GMAC/s, reads %.1f GB/s\n", cpu_level_name(level), macs, bytes);
    for (size_t i = 0; strstr("many", only) && i < sizeof prompts / sizeof prompts[0]; i++)
        many(k, kv, prompts[i].rows, prompts[i].group, prompts[i].dim, prompts[i].ctx, macs);
    for (size_t i = 0; strstr("few", only) && i < sizeof answers / sizeof answers[0]; i++)
        few(k, kv, answers[i].group, answers[i].dim, answers[i].ctx, bytes);
}

int main(int argc, char **argv)
{
    const char *only = "";
    int kv = -1, named = (int)cpu_best();
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--level") == 0)
            named = cpu_level_named(value);
        else if (strcmp(argv[i], "--kv") == 0)
            kv = kern_kv_named(value);
        else if (strcmp(argv[i], "--only") == 0)
            only = value;
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = MAX(atoi(value), 1);
        else if (strcmp(argv[i], "--mib") == 0)
            cold_bytes = (size_t)MAX(atoi(value), 1) << 20;
        else
            return fprintf(stderr, "usage: attend_bench [--level NAME] [--kv NAME] "
                                   "[--only many|few] [--rounds N] [--mib N]\n"),
                   2;
        i++;
    }
    if (named < 0 || !cpu_has((enum cpu_level)named))
        return fprintf(stderr, "attend_bench: this machine has no such level\n"), 2;
    level = (enum cpu_level)named;
    struct kern k;
    kern_init(&k, level);
    for (int i = 0; i < KERN_KV_N; i++)
        if (kv < 0 || kv == i)
            run(&k, (enum kern_kv)i, only);
    return 0;
}
