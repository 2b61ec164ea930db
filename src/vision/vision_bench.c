/* SPDX-License-Identifier: MIT
 * vision_bench.c - how long a projector takes for a picture, and how far its rows are from others.
 *
 *   vision_bench MMPROJ [--level NAME] [--threads N] [--rounds N] [--save FILE] [--beside FILE]
 *
 * The picture is made up: smooth colours with noise.  --save writes its rows, --beside says how far
 * they are from rows that another level, or another version, saved: sum (a - b)^2 / sum b^2. */
#include "base/arena.h"
#include "base/err.h"
#include "base/num.h"
#include "os/os_sys.h"
#include "vision/vision.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bench {
    const char *path, *save, *beside;
    struct vision_opts opts;
    int rounds;
};

static uint8_t *make_picture(size_t side)
{
    uint8_t *rgb = mem_alloc(side * side * 3);
    uint64_t rng = 1;
    for (size_t i = 0; i < side * side * 3; i++) {
        double x = (double)(i / 3 % side) / (double)side, y = (double)(i / 3 / side) / (double)side;
        double wave = sin(9 * x + 5 * y * (double)(i % 3 + 1)) * 90 + num_rand_unit(&rng) * 60;
        rgb[i] = (uint8_t)(98 + wave);
    }
    return rgb;
}

static void compare(const char *path, const float *x, size_t n)
{
    float *ref = mem_alloc(n * sizeof *ref);
    double off = 0, all = 0;
    FILE *f = fopen(path, "rb");
    if (!f || fread(ref, sizeof *ref, n, f) != n) {
        fprintf(stderr, "%s: no rows of this projector\n", path);
        exit(1);
    }
    fclose(f);
    for (size_t i = 0; i < n; i++) {
        double d = (double)x[i] - (double)ref[i];
        off += d * d;
        all += (double)ref[i] * (double)ref[i];
    }
    printf("off by %.2e\n", off / all);
    mem_free(ref);
}

static void save(const char *path, const float *x, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(x, sizeof *x, n, f) != n || fclose(f) != 0) {
        fprintf(stderr, "%s: cannot be written\n", path);
        exit(1);
    }
}

/* Of all threads: on a machine with others at work, half of it is what two threads would take. */
static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void run(const struct bench *b)
{
    struct vision *v;
    struct errinfo e;
    if (vision_open(&v, b->path, &b->opts, &e) != ERR_OK || vision_start(v, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    size_t n = vision_rows(v) * vision_dim(v);
    uint8_t *rgb = make_picture(vision_side(v));
    float *x = mem_alloc(n * sizeof *x);
    for (int i = 0; i < b->rounds; i++) {
        uint64_t began = os_now_ns();
        double cpu = cpu_seconds();
        vision_encode(v, rgb, x);
        printf("%s, %d threads: %.2f s, %.2f s of a processor\n", cpu_level_name(b->opts.level),
               b->opts.n_threads, (double)(os_now_ns() - began) * 1e-9, cpu_seconds() - cpu);
        fflush(stdout);
    }
    if (b->beside)
        compare(b->beside, x, n);
    if (b->save)
        save(b->save, x, n);
    vision_close(v);
    mem_free(rgb);
    mem_free(x);
}

int main(int argc, char **argv)
{
    struct bench b = {
        .opts = {.n_threads = os_n_cpus(), .level = cpu_best()},
          .rounds = 3
    };
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--level") == 0 && cpu_level_named(value) >= 0)
            b.opts.level = cpu_capped((enum cpu_level)cpu_level_named(value));
        else if (strcmp(argv[i], "--threads") == 0)
            b.opts.n_threads = MAX(atoi(value), 1);
        else if (strcmp(argv[i], "--rounds") == 0)
            b.rounds = MAX(atoi(value), 1);
        else if (strcmp(argv[i], "--save") == 0)
            b.save = value;
        else if (strcmp(argv[i], "--beside") == 0)
            b.beside = value;
        else if (argv[i][0] != '-' && !b.path)
            b.path = argv[i--];
        else
            return fprintf(stderr, "vision_bench: what is %s?\n", argv[i]), 2;
        i++;
    }
    if (!b.path)
        return fprintf(stderr, "usage: vision_bench MMPROJ [--level NAME] [--rounds N]\n"), 2;
    run(&b);
    return 0;
}
