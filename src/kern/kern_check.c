/* SPDX-License-Identifier: MIT
 * kern_check.c - every kernel at every level of this machine against the C reference: odd sizes,
 * canaries behind every result, a printed seed, and with --bench the time of each.
 *
 *   kern_check [--bench] [--level NAME] [--only NAME]
 *
 * DAMSO_SEED sets the seed.  The exit status is 1 when a check failed.
 * kern_check_emulated is the same program with the AVX-512 levels in code that every x86-64 machine
 * with AVX2 runs (tests/simde); it checks them alone. */
#include "base/arena.h"
#include "base/err.h"
#include "base/num.h"
#include "kern/kern.h"
#include "kern/mm.h"
#include "os/os_sys.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAD 32 /* canary floats behind each result */

static uint64_t rng;
static int n_failed, n_checked;
static const char *only;
static bool bench;

static float rnd(void)
{
    return (float)(num_rand_unit(&rng) * 2 - 1);
}

static size_t rnd_below(size_t n)
{
    return (size_t)(num_rand(&rng) % n);
}

static void fill(float *p, size_t n, float by)
{
    for (size_t i = 0; i < n; i++)
        p[i] = rnd() * by;
}

static float *floats(struct arena *a, size_t n, float by)
{
    float *p = arena_array(a, n + PAD, sizeof *p);
    fill(p, n + PAD, by);
    return p;
}

static void expect(bool ok, enum cpu_level level, const char *name, size_t n, const char *what)
{
    n_checked++;
    if (ok)
        return;
    if (n_failed++ < 20)
        printf("FAILED %s %s n=%zu: %s\n", cpu_level_name(level), name, n, what);
}

/* Equal within abs + rel * |want|; what lies behind n floats must be equal bits. */
static void expect_close(enum cpu_level level, const char *name, const float *want,
                         const float *got, size_t n, float rel, float abs)
{
    char what[128];
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(want[i] - got[i]) <= abs + rel * fabsf(want[i]))) {
            snprintf(what, sizeof what, "[%zu] is %.9g, not %.9g", i, (double)got[i],
                     (double)want[i]);
            expect(false, level, name, n, what);
            return;
        }
    expect(true, level, name, n, "");
    expect(memcmp(want + n, got + n, PAD * sizeof *want) == 0, level, name, n,
           "wrote behind the end");
}

static bool wanted(const char *name)
{
    return !only || strstr(name, only);
}

/* Prints time and rate of `call`, which moves `bytes` and does `macs`. */
#define BENCH(level, name, bytes, macs, call)                                                      \
    do {                                                                                           \
        double best = 1e30;                                                                        \
        for (int round_ = 0; round_ < 7; round_++) {                                               \
            uint64_t t_ = os_now_ns();                                                             \
            call;                                                                                  \
            best = MIN(best, (double)(os_now_ns() - t_));                                          \
        }                                                                                          \
        printf("%-10s %-28s %10.1f us %8.2f GB/s %8.2f GMAC/s\n", cpu_level_name(level), name,     \
               best / 1e3, (double)(bytes) / best, (double)(macs) / best);                         \
    } while (0)

/* ---- vector kernels ---- */

struct pair {
    const struct kern *ref, *k;
    struct arena *a;
};

/* Two copies of n random floats, so that both kernels begin with the same. */
static void twins(struct pair p, size_t n, float by, float **want, float **got)
{
    *want = floats(p.a, n, by);
    *got = arena_array(p.a, n + PAD, sizeof(float));
    memcpy(*got, *want, (n + PAD) * sizeof(float));
}

#define CHECK_ROW(name, rel, abs, by, ...)                                                         \
    if (wanted(#name)) {                                                                           \
        float *x, *want, *got;                                                                     \
        twins(p, n, by, &want, &got);                                                              \
        x = want;                                                                                  \
        p.ref->name(__VA_ARGS__);                                                                  \
        x = got;                                                                                   \
        p.k->name(__VA_ARGS__);                                                                    \
        expect_close(p.k->level, #name, want, got, n, rel, abs);                                   \
    }

static void check_rows(struct pair p, size_t n)
{
    float *y = floats(p.a, n, 1), *z = floats(p.a, n, 8), *cs = floats(p.a, n, 1);
    CHECK_ROW(rmsnorm, 2e-6f, 1e-7f, 3, x, x, y, n, 1e-5f)
    CHECK_ROW(meannorm, 4e-6f, 4e-6f, 3, x, z, y, n, 1e-5f)
    CHECK_ROW(add, 0, 0, 3, x, y, 1, n)
    CHECK_ROW(add, 0, 3e-7f, 3, x, y, 0.37f, n)
    CHECK_ROW(scale, 0, 0, 3, x, 1.37f, n)
    CHECK_ROW(silu_mul, 2e-6f, 1e-30f, 30, x, x, y, n)
    CHECK_ROW(gelu_mul, 1e-5f, 2e-7f, 8, x, z, x, n)
    CHECK_ROW(gelu_erf_mul, 1e-5f, 2e-6f, 8, x, z, x, n)
    CHECK_ROW(relu2_mul, 1e-6f, 0, 8, x, z, x, n)
    CHECK_ROW(swiglu_oai, 4e-6f, 1e-30f, 12, x, x, z, n)
    const float bends[4] = {0.8f, 1.3f, 0.5f, -1e-6f};
    CHECK_ROW(xielu, 1e-5f, 1e-6f, 8, x, z, bends, n)
    CHECK_ROW(clamp, 0, 0, 3, x, 1.37f, n)
    CHECK_ROW(mul, 0, 0, 3, x, z, n)
    CHECK_ROW(sigmoid_mul, 2e-6f, 1e-30f, 3, x, z, n)
    CHECK_ROW(exp, 2e-6f, 1e-30f, 30, x, n)
    CHECK_ROW(softcap, 2e-5f, 2e-5f, 200, x, 50, n)
    if (n % 2 == 0) {
        CHECK_ROW(rope_half, 1e-6f, 1e-6f, 3, x, cs, n)
        CHECK_ROW(rope_pair, 1e-6f, 1e-6f, 3, x, cs, n)
    }
}

/* Steps of states: what they give and what they leave. */
static void check_states(struct pair p, size_t n)
{
    const size_t n_state = 1 + rnd_below(40), all = n * n_state;
    const float *b = floats(p.a, n_state, 1), *c = floats(p.a, n_state, 1);
    const float *x = floats(p.a, n, 1), *rows[3] = {x, floats(p.a, n, 1), floats(p.a, n, 1)};
    float *dt = floats(p.a, n, 0.5f), *a = floats(p.a, all, 0.5f), *h[2], *y[2];
    float *fades = floats(p.a, n_state, 1), *back = floats(p.a, n_state, 0.2f);
    for (size_t i = 0; i < n; i++)
        dt[i] = fabsf(dt[i]);
    for (int kind = 0; kind < 7; kind++) {
        static const char *const names[] = {"scan", "scan_each", "delta", "wkv6",
                                            "wkv6", "wkv7",      "conv"};
        if (!wanted(names[kind]))
            continue;
        twins(p, all, 1, &h[0], &h[1]);
        twins(p, n, 1, &y[0], &y[1]);
        struct kern_scan scan = {n_state, n, n, x, b, c, 0.7f, dt, a};
        struct kern_delta delta = {n_state, n, b, c, x, fades, 0.6f};
        struct kern_wkv wkv = {n_state, n, b, c, x, fades, kind == 3 ? NULL : a, c, back};
        for (int i = 0; i < 2; i++) {
            const struct kern *k = i ? p.k : p.ref;
            switch (kind) {
            case 0: k->scan(y[i], h[i], &scan); break;
            case 1: k->scan_each(y[i], h[i], &scan); break;
            case 2: k->delta(y[i], h[i], &delta); break;
            case 3:
            case 4: k->wkv6(y[i], h[i], &wkv); break;
            case 5: k->wkv7(y[i], h[i], &wkv); break;
            default: k->conv(y[i], rows, a, n_state > 2 ? n : 0, 3, n); break;
            }
        }
        expect_close(p.k->level, names[kind], y[0], y[1], n, 1e-5f, 2e-5f);
        expect_close(p.k->level, names[kind], h[0], h[1], all, 1e-5f, 2e-5f);
    }
}

static void check_quantize(struct pair p, size_t n)
{
    struct {
        int8_t q[4096 + PAD];
        float d[128 + PAD];
        float sum[128 + PAD];
        int32_t neg32[128 + PAD], neg16[256 + PAD];
    } *out = arena_array(p.a, 2, sizeof *out);
    float *x = floats(p.a, n, 5);
    for (size_t i = 0; i < 32; i++) /* a block of zeros, one with a single value */
        x[i] = 0;
    CHECK(n <= 4096 && n % 32 == 0);
    for (int i = 0; i < 2; i++)
        (i ? p.k : p.ref)
            ->quantize(out[i].q, out[i].d, out[i].sum, out[i].neg32, out[i].neg16, x, n);
    expect(memcmp(&out[0], &out[1], sizeof out[0]) == 0, p.k->level, "quantize", n, "other bits");
}

/* The same page written by both, in two pieces: equal bytes, also where nothing was to be written.
 */
static void check_put(struct pair p, enum kern_kv kv, size_t dim)
{
    size_t bytes = MAX(kern_k_bytes(kv, dim), kern_v_bytes(kv, dim)), slot = rnd_below(KERN_PAGE);
    size_t n = 1 + rnd_below(KERN_PAGE - slot), stride = dim + rnd_below(9);
    float *x = floats(p.a, n * stride, 3);
    char *page[2];
    x[rnd_below(n * stride)] = 70000; /* more than binary16 holds */
    x[rnd_below(n * stride)] = 1e-7f; /* a scale below its normal numbers, where it is alone */
    for (size_t i = 0; i < MIN(n * stride, rnd_below(200)); i++)
        x[i] *= rnd_below(2) ? 0 : 1e-7f;
    for (int i = 0; i < 4; i++) {
        struct kern_put put = {kv, NULL, slot, n, dim, x, stride};
        const struct kern *k = i % 2 ? p.k : p.ref;
        page[i % 2] = put.page = arena_alloc(p.a, bytes + PAD);
        memset(put.page, 0x5a, bytes + PAD);
        (i < 2 ? k->put_k : k->put_v)(&put);
        if (i % 2)
            expect(memcmp(page[0], page[1], bytes + PAD) == 0, p.k->level,
                   i < 2 ? "put_k" : "put_v", dim, "other bytes");
    }
}

/* n pages of random keys or values. */
static const void **random_pages(struct pair p, enum kern_kv kv, bool keys, size_t n, size_t dim)
{
    const void **pages = arena_array(p.a, n, sizeof *pages);
    size_t bytes = keys ? kern_k_bytes(kv, dim) : kern_v_bytes(kv, dim);
    for (size_t i = 0; i < n; i++) {
        char *page = arena_alloc(p.a, bytes + 64);
        page += 64 - (uintptr_t)page % 64;
        struct kern_put put = {kv, page, 0, KERN_PAGE, dim, floats(p.a, KERN_PAGE * dim, 2), dim};
        memset(put.page, 0xff, bytes); /* NaN where nothing is put */
        (keys ? p.ref->put_k : p.ref->put_v)(&put);
        pages[i] = put.page;
    }
    return pages;
}

/* Whole pages, as close to the reference as the weights' sizes say. */
static void check_index(struct pair p, size_t n_heads, size_t dim)
{
    float *want = floats(p.a, KERN_PAGE, 1), *got = floats(p.a, KERN_PAGE, 1);
    const void **page = random_pages(p, KERN_KV_f16, true, 1, dim);
    struct kern_index x = {.n_heads = n_heads,
                           .dim = dim,
                           .q = floats(p.a, n_heads * dim, 3),
                           .weight = floats(p.a, n_heads, 1),
                           .k = page[0]};
    memcpy(got + KERN_PAGE, want + KERN_PAGE, PAD * sizeof *got);
    p.ref->index(want, &x);
    p.k->index(got, &x);
    expect_close(p.k->level, "index", want, got, KERN_PAGE, 1e-5f,
                 1e-6f * (float)n_heads * sqrtf((float)dim));
    if (bench && n_heads == 64 && dim == 128)
        BENCH(p.k->level, "index", kern_k_bytes(KERN_KV_f16, dim), n_heads * dim * KERN_PAGE,
              p.k->index(got, &x));
}

static void check_indexes(struct pair p)
{
    for (int i = 0; i < 20; i++)
        check_index(p, 1 + rnd_below(70), 1 + rnd_below(140));
    check_index(p, 64, 128);
}

static void attend_into(const struct kern *k, struct kern_attend a, float *to)
{
    float *out[256];
    CHECK(a.n_q <= 256);
    for (size_t i = 0; i < a.n_q; i++)
        out[i] = to + i * a.v_dim;
    a.out = out;
    k->attend(&a);
}

/* Some of the queries by themselves, and all of them from parts: the same bits as together. */
static void check_attend_bits(struct pair p, struct kern_attend a, const float *got)
{
    size_t n = a.n_q * a.v_dim, n_parts = num_div_up(a.n_pages * KERN_PAGE, KERN_PART);
    float *parts = floats(p.a, n_parts * a.n_q * (a.v_dim + 2), 1), *other = floats(p.a, n, 1);
    float *out[256];
    bool same = true; /* as numbers: a zero's sign is free */
    for (size_t i = 0, some; i < a.n_q; i += some) {
        struct kern_attend b = a;
        some = 1 + rnd_below(3);
        b.n_q = MIN(some, a.n_q - i), b.q = a.q + i, b.from = a.from + i, b.to = a.to + i;
        b.sink = a.sink ? a.sink + i : NULL, b.slope = a.slope ? a.slope + i : NULL;
        b.grow = a.grow ? a.grow + i : NULL;
        b.at = a.at ? a.at + i : NULL;
        attend_into(p.k, b, other + i * a.v_dim);
    }
    for (size_t i = 0; i < n; i++)
        same &= other[i] == got[i];
    expect(same, p.k->level, "attend", a.n_q, "a query alone differs from the same among others");
    for (size_t i = 0, some; i < n_parts; i += some) {
        some = 1 + rnd_below(n_parts - i);
        p.k->attend_parts(&a, i, some, parts + i * a.n_q * (a.v_dim + 2));
    }
    for (size_t i = 0; i < a.n_q; i++)
        out[i] = other + i * a.v_dim;
    a.out = out;
    p.k->attend_join(&a, parts, n_parts);
    same = true;
    for (size_t i = 0; i < n; i++)
        same &= other[i] == got[i];
    expect(same, p.k->level, "attend_join", a.n_q, "parts joined differ from the whole");
}

/* Random pages and ranges, among them windows and ranges that see nothing; with and without
 * sinks, slopes and growth. */
static void check_attend(struct pair p, enum kern_kv kv, size_t n_q, size_t k_dim, size_t v_dim,
                         size_t n_pages, float cap)
{
    struct kern_attend a = {.kv = kv,
                            .n_q = n_q,
                            .k_dim = k_dim,
                            .v_dim = v_dim,
                            .n_pages = n_pages,
                            .scale = 1 / sqrtf((float)k_dim),
                            .softcap = cap};
    const float **q = arena_array(p.a, n_q, sizeof *q);
    float *want = floats(p.a, n_q * v_dim, 1), *got = floats(p.a, n_q * v_dim, 1);
    int32_t *from = arena_array(p.a, n_q, sizeof *from), *to = arena_array(p.a, n_q, sizeof *to);
    int32_t *at = arena_array(p.a, n_q, sizeof *at);
    float *grow = arena_array(p.a, n_q, sizeof *grow);
    memcpy(got + n_q * v_dim, want + n_q * v_dim, PAD * sizeof *got);
    a.k = random_pages(p, kv, true, n_pages, k_dim);
    a.v = random_pages(p, kv, false, n_pages, v_dim);
    bool causal = rnd_below(2);
    for (size_t i = 0; i < n_q; i++) {
        q[i] = floats(p.a, k_dim, 3);
        to[i] = (int32_t)(1 + rnd_below(n_pages * KERN_PAGE));
        from[i] = rnd_below(2) ? 0 : (int32_t)rnd_below((size_t)to[i] + 1);
        if (causal && i && to[i - 1] < (int32_t)(n_pages * KERN_PAGE))
            to[i] = to[i - 1] + 1, from[i] = from[0];
        at[i] = (int32_t)rnd_below((size_t)to[i]);
        grow[i] = 1 + fabsf(rnd());
    }
    a.q = q, a.from = from, a.to = to;
    a.sink = rnd_below(3) ? NULL : floats(p.a, n_q, 3);
    a.slope = rnd_below(3) ? NULL : floats(p.a, n_q, 0.1f);
    a.at = rnd_below(2) ? NULL : at;
    a.grow = rnd_below(3) ? NULL : grow;
    a.scratch = floats(p.a, kern_attend_scratch(kv, n_q, k_dim, v_dim), 1);
    uint32_t canary[PAD], *end = (uint32_t *)a.scratch + kern_attend_scratch(kv, n_q, k_dim, v_dim);
    memcpy(canary, end, sizeof canary);
    attend_into(p.ref, a, want);
    attend_into(p.k, a, got);
    /* q8: queries and weights may be 16-bit integers */
    const float near = kv == KERN_KV_q8 ? 4e-4f : 1e-4f;
    expect_close(p.k->level, "attend", want, got, n_q * v_dim, near, near);
    check_attend_bits(p, a, got);
    expect(memcmp(canary, end, sizeof canary) == 0, p.k->level, "attend", n_q,
           "wrote behind its scratch");
}

static void check_attends(struct pair p)
{
    static const size_t dims[] = {16, 64, 80, 96, 128, 256};
    for (int i = 0; i < 60; i++) {
        enum kern_kv kv = (enum kern_kv)(i % KERN_KV_N);
        bool odd = rnd_below(2);
        size_t k_dim = odd ? 1 + rnd_below(140) : dims[rnd_below(6)];
        size_t v_dim = odd ? 1 + rnd_below(140) : dims[rnd_below(6)];
        check_put(p, kv, k_dim);
        check_attend(p, kv, 1 + rnd_below(i % 3 ? 15 : 70), k_dim, v_dim, 1 + rnd_below(9),
                     i % 6 > 1 ? 0 : 30);
    }
}

static void check_vectors(enum cpu_level level)
{
    struct kern ref, k;
    struct arena a;
    kern_init_c(&ref);
    kern_init(&k, level);
    arena_init(&a);
    struct pair p = {&ref, &k, &a};
    for (size_t n = 1; n < 300; n += 1 + rnd_below(5)) {
        check_rows(p, n);
        check_states(p, n);
    }
    for (size_t n = 32; wanted("quantize") && n <= 4096; n += 32 * (1 + rnd_below(20)))
        check_quantize(p, n);
    if (wanted("attend"))
        check_attends(p);
    if (wanted("index"))
        check_indexes(p);
    arena_done(&a);
}

/* ---- matrix products ---- */

struct product {
    enum format f;
    size_t k, n_rows, n_tokens, n_terms;
    const uint8_t *weights; /* the file's rows */
    struct mm_job job;
    float *want, *slack; /* [n_tokens][n_rows]; slack: the sum of |w x| */
};

static void put_half(uint8_t *p, float f)
{
    uint16_t h = half_from_float(f);
    memcpy(p, &h, 2);
}

static void put_floats(enum format f, uint8_t *w, size_t n)
{
    const size_t bytes = format_info(f)->block_bytes;
    for (size_t i = 0; i < n; i++) {
        float x = rnd();
        if (f == FORMAT_F16)
            put_half(w + 2 * i, x);
        else
            memcpy(w + i * bytes, (char *)&x + 4 - bytes, bytes);
    }
}

/* Makes the scales of a block of random bytes such as a model could have. */
static void put_scales(enum format f, uint8_t *block)
{
    const struct format_info *info = format_info(f);
    bool two = info->scales == FORMAT_SCALES_DM || info->scales == FORMAT_SCALES_KDM ||
               info->scales == FORMAT_SCALES_KN;
    uint8_t d[4];
    put_half(d, rnd() * 0.02f);
    put_half(d + 2, rnd() * 0.02f);
    switch (f) {
    case FORMAT_Q2_K: memcpy(block + 80, d, 4); break;
    case FORMAT_Q3_K:
    case FORMAT_Q6_K:
    case FORMAT_TQ1_0:
    case FORMAT_TQ2_0: memcpy(block + info->block_bytes - 2, d, 2); break;
    case FORMAT_MXFP4: block[0] = (uint8_t)(110 + rnd_below(16)); break;
    case FORMAT_NVFP4: break; /* any byte is a scale of a size like the others' */
    case FORMAT_IQ1_M:
        for (int i = 0; i < 4; i++) {
            uint8_t part = (uint8_t)(d[i / 2] >> 4 * (i % 2) << 4);
            block[49 + 2 * i] = (uint8_t)((block[49 + 2 * i] & 15) | part);
        }
        break;
    default: memcpy(block, d, two ? 4 : 2); break;
    }
}

/* Random blocks with scales that a model could have. */
static const uint8_t *random_weights(struct arena *a, enum format f, size_t n)
{
    size_t bytes = format_bytes(f, n);
    uint8_t *w = arena_alloc(a, bytes);
    for (size_t i = 0; i < bytes; i++)
        w[i] = (uint8_t)num_rand(&rng);
    if (format_info(f)->scales == FORMAT_SCALES_F)
        put_floats(f, w, n);
    else
        for (size_t i = 0; i < bytes; i += format_info(f)->block_bytes)
            put_scales(f, w + i);
    return w;
}

static struct mm_act act_alloc(struct arena *a, size_t rows, size_t k)
{
    size_t n = rows * mm_act_width(k);
    return (struct mm_act){arena_alloc(a, n),
                           arena_array(a, n / 32, sizeof(float)),
                           arena_array(a, n / 32, sizeof(float)),
                           arena_array(a, n / 32, sizeof(int32_t)),
                           arena_array(a, n / 16, sizeof(int32_t)),
                           rows};
}

/* Tokens [from, from + act.rows / n_terms): token t's terms are rows t * n_terms and after, each
 * with what is left before it. */
static void quantize_acts(struct arena *a, const struct product *p, const struct kern *k,
                          const struct mm_act *act, size_t from)
{
    float *left = arena_array(a, p->k, sizeof *left);
    for (size_t i = 0; i < act->rows; i++) {
        if (i % p->n_terms == 0)
            memcpy(left, p->job.x + (from + i / p->n_terms) * p->k, p->k * sizeof *left);
        mm_quantize(k, act, i, 0, left, p->k);
        for (size_t c = 0; c < p->k; c++) {
            size_t at = mm_act_at(act, i, c);
            left[c] -= act->d[at / 32] * (float)act->q[at];
        }
    }
}

static void random_acts(struct arena *a, struct product *p, const struct kern *k)
{
    struct mm_job *j = &p->job;
    size_t n = p->n_tokens * p->k;
    float *x = floats(a, n, 2);
    x[rnd_below(n)] = 50; /* an outlier */
    j->x = x;
    j->x_stride = p->k;
    j->n_terms = p->n_terms;
    j->act = act_alloc(a, p->n_tokens * p->n_terms, p->k);
    if (p->k % 32 == 0)
        quantize_acts(a, p, k, &j->act, 0);
}

/* Activation c of token t as the kernel sees it. */
static double act_value(const struct product *p, enum mm_act_kind kind, size_t t, size_t c)
{
    double x = 0;
    if (kind == MM_ACT_F32)
        return (double)p->job.x[t * p->k + c];
    for (size_t i = t * p->n_terms; i < (t + 1) * p->n_terms; i++) {
        size_t at = mm_act_at(&p->job.act, i, c);
        x += (double)p->job.act.d[at / 32] * p->job.act.q[at];
    }
    return x;
}

/* The sums in double, over the activations as the kernel sees them. */
static void reference(struct arena *a, struct product *p, enum mm_act_kind kind)
{
    float *row = arena_array(a, p->k, sizeof *row);
    p->want = floats(a, p->n_tokens * p->n_rows, 1);
    p->slack = floats(a, p->n_tokens * p->n_rows, 1);
    for (size_t r = 0; r < p->n_rows; r++) {
        format_dequant(p->f, row, p->weights + r * format_bytes(p->f, p->k), p->k);
        for (size_t t = 0; t < p->n_tokens; t++) {
            double sum = 0, slack = 0;
            for (size_t i = 0; i < p->k; i++) {
                double x = act_value(p, kind, t, i);
                sum += (double)row[i] * x;
                slack += fabs((double)row[i] * x);
            }
            sum += p->job.bias ? (double)p->job.bias[r] : 0;
            p->want[t * p->n_rows + r] = (float)sum;
            p->slack[t * p->n_rows + r] = (float)slack + 1;
        }
    }
}

static void compare(const struct product *p, const struct mm_kernel *kn, const float *got)
{
    char what[160];
    const char *name = format_info(p->f)->name;
    size_t n = p->n_tokens * p->n_rows;
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - p->want[i]) <= 4e-6f * p->slack[i])) {
            snprintf(what, sizeof what, "k=%zu tokens=%zu [%zu] is %.9g, not %.9g", p->k,
                     p->n_tokens, i, (double)got[i], (double)p->want[i]);
            expect(false, kn->level, name, p->n_rows, what);
            return;
        }
    expect(true, kn->level, name, p->n_rows, "");
}

static void bench_product(const struct product *p, const struct mm_kernel *kn, size_t packed,
                          void *scratch)
{
    char name[64];
    size_t bytes = packed ? packed : format_bytes(p->f, p->k * p->n_rows);
    snprintf(name, sizeof name, "%s %zux%zu tokens=%zu", format_info(p->f)->name, p->n_rows, p->k,
             p->n_tokens);
    BENCH(kn->level, name, bytes, p->k * p->n_rows * p->n_tokens,
          kn->run(&p->job, 0, p->n_rows, scratch));
}

static void bench_pack(const struct product *p, const struct mm_kernel *kn, void *packed)
{
    char name[64];
    snprintf(name, sizeof name, "pack %s", format_info(p->f)->name);
    BENCH(kn->level, name, format_bytes(p->f, p->k * p->n_rows), 0,
          mm_pack(kn, p->f, p->k, p->n_rows, p->weights, packed, 0, p->n_rows));
}

/* A packed row is what the file's row is. */
static void check_unpack(struct arena *a, const struct product *p, const struct mm_kernel *kn,
                         const void *packed)
{
    size_t row = rnd_below(p->job.n_rows);
    float *want = floats(a, p->k, 1), *got = floats(a, p->k, 1);
    format_dequant(p->f, want, p->weights + row * format_bytes(p->f, p->k), p->k);
    memcpy(got + p->k, want + p->k, PAD * sizeof *got);
    mm_unpack_row(kn, p->f, p->k, packed, row, got);
    expect(memcmp(want, got, (p->k + PAD) * sizeof *got) == 0, kn->level, format_info(p->f)->name,
           p->k, "an unpacked row differs, or wrote behind the end");
}

static const void *pack_checked(struct arena *a, const struct product *p,
                                const struct mm_kernel *kn, size_t packed)
{
    size_t n_rows = p->job.n_rows, step = (size_t)kn->panel_rows;
    uint8_t *w = arena_alloc(a, packed + PAD);
    memset(w + packed, 0xa5, PAD);
    for (size_t r = 0; r < n_rows; r += step)
        mm_pack(kn, p->f, p->k, n_rows, p->weights, w, r, MIN(r + step, n_rows));
    expect(w[packed] == 0xa5, kn->level, "pack", n_rows, "wrote behind the end");
    if (bench && p->n_tokens == 1 && n_rows < 4096)
        bench_pack(p, kn, w);
    if (!bench)
        check_unpack(a, p, kn, w);
    return w;
}

/* Whole, then in ranges, then token by token: near the reference, and equal bits among themselves.
 */
static void check_product(const struct mm_kernel *kn, enum format f, size_t k, size_t n_rows,
                          size_t n_tokens)
{
    struct arena a;
    struct kern vec;
    arena_init(&a);
    kern_init_c(&vec);
    struct product p = {.f = f,
                        .k = k,
                        .n_rows = n_rows,
                        .n_tokens = n_tokens,
                        .n_terms = 1 + (!bench && rnd_below(3) == 0)};
    p.weights = random_weights(&a, f, k * n_rows);
    p.job = (struct mm_job){.weights = p.weights,
                            .format = f,
                            .k = k,
                            .n_rows = n_rows,
                            .n_tokens = n_tokens,
                            .dst_stride = n_rows};
    if (rnd_below(2))
        p.job.bias = floats(&a, n_rows, 1);
    random_acts(&a, &p, &vec);
    size_t packed = mm_packed_bytes(kn, f, k, n_rows), step = (size_t)kn->panel_rows;
    if (packed)
        p.job.weights = pack_checked(&a, &p, kn, packed);
    if (!bench)
        reference(&a, &p, mm_act_kind(kn, f));
    size_t n = n_tokens * n_rows;
    float *got = floats(&a, n, 1), *part = floats(&a, n, 1);
    uint32_t canary[PAD];
    memcpy(canary, got + n, sizeof canary);
    void *scratch = arena_alloc(&a, MAX(mm_scratch_bytes(kn, k, n_tokens * p.n_terms), 64));
    p.job.dst = got;
    kn->run(&p.job, 0, n_rows, scratch);
    expect(memcmp(canary, got + n, sizeof canary) == 0, kn->level, format_info(f)->name, n_rows,
           "wrote behind the end");
    if (bench) {
        bench_product(&p, kn, packed, scratch);
        arena_done(&a);
        return;
    }
    compare(&p, kn, got);
    p.job.dst = part;
    for (size_t r = 0; r < n_rows; r += step)
        kn->run(&p.job, r, MIN(r + step, n_rows), scratch);
    expect(memcmp(got, part, n * sizeof *got) == 0, kn->level, format_info(f)->name, n_rows,
           "ranges differ from the whole");
    memcpy(part, got, n * sizeof *got);
    for (size_t t = 0; t < n_tokens; t++) { /* added to itself, so twice */
        struct mm_job one = p.job;
        one.n_tokens = 1, one.add = true;
        one.x += t * k, one.dst += t * n_rows;
        one.act = act_alloc(&a, p.n_terms, k);
        if (k % 32 == 0)
            quantize_acts(&a, &p, &vec, &one.act, t);
        kn->run(&one, 0, n_rows, scratch);
    }
    bool same = true;
    for (size_t i = 0; i < n; i++)
        same &= part[i] == got[i] + got[i];
    expect(same, kn->level, format_info(f)->name, n_rows, "a token alone differs");
    arena_done(&a);
}

static void check_products(enum cpu_level level)
{
    const struct mm_kernel *kn = mm_kernel(level);
    if (kn->level != level && level != CPU_c)
        return; /* this level has no products of its own */
    for (int f = 0; f < FORMAT_N; f++) {
        const struct format_info *info = format_info((enum format)f);
        if (!wanted(info->name) && !wanted("mm"))
            continue;
        if (bench) {
            for (size_t t = 1; t <= 512; t += t < 8 ? 1 : t)
                check_product(kn, (enum format)f, 2048, 1024, t);
            check_product(kn, (enum format)f, 2048, 32768, 1); /* more than caches hold */
            continue;
        }
        for (int i = 0; i < 24; i++) {
            size_t unit = info->block_elems == 1 ? 1 + rnd_below(3) : info->block_elems;
            check_product(kn, (enum format)f,
                          unit * (1 + rnd_below(1600 / info->block_elems % 60 + 5)),
                          1 + rnd_below(70), i % 8 ? 1 + rnd_below(11) : 1 + rnd_below(40));
        }
    }
}

/* half_from_float against the definition: of the two halves around f the nearer, ties to even. */
static void check_halves(void)
{
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float lo = half_to_float((uint16_t)h), hi = half_to_float((uint16_t)(h + 1));
        float mid = h == 0x7bff ? 65520 : (lo + hi) / 2;
        bool ok = half_from_float(lo) == h && half_from_float(-lo) == (h | 0x8000) &&
                  half_from_float(nextafterf(mid, 0)) == h &&
                  half_from_float(nextafterf(mid, INFINITY)) == h + 1 &&
                  half_from_float(mid) == h + (h & 1);
        expect(ok, CPU_c, "half_from_float", h, "wrong rounding");
    }
}

static bool level_runs(enum cpu_level level)
{
#ifdef KERN_CHECK_EMULATED
    return cpu_has(CPU_avx2) && (level == CPU_avx512 || level == CPU_avx512vnni);
#else
    return cpu_has(level);
#endif
}

int main(int argc, char **argv)
{
    int cap = -1;
    const char *seed = getenv("DAMSO_SEED");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0)
            bench = true;
        else if (strcmp(argv[i], "--level") == 0 && i + 1 < argc)
            cap = cpu_level_named(argv[++i]);
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            only = argv[++i];
        else
            return fprintf(stderr, "usage: kern_check [--bench] [--level NAME] [--only NAME]\n"), 2;
    }
    rng = seed ? strtoull(seed, NULL, 10) : 20261124;
    printf("seed %llu (set DAMSO_SEED to change it), best level %s\n", (unsigned long long)rng,
           cpu_level_name(cpu_best()));
    if (!bench)
        check_halves();
    for (int level = 0; level < CPU_LEVEL_N; level++) {
        if ((cap >= 0 && level != cap) || !level_runs((enum cpu_level)level))
            continue;
        int before = n_checked;
        if (level != CPU_c || bench)
            check_vectors((enum cpu_level)level);
        check_products((enum cpu_level)level);
        printf("%s: %d checks\n", cpu_level_name((enum cpu_level)level), n_checked - before);
    }
    printf("%d passed, %d failed\n", n_checked - n_failed, n_failed);
    return n_failed ? 1 : 0;
}
