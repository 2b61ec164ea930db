/* SPDX-License-Identifier: MIT */
#include "vision/vision_resize.h"

#include "base/arena.h"
#include "base/num.h"

#include <math.h>

#define BITS 22 /* of a weight: the largest sum of 8-bit numbers stays within 31 */

/* What each of n places is made of: `most` weights of pixels from `first` on. */
struct filter {
    size_t n, most;
    size_t *first, *count; /* [n] */
    int32_t *weight;       /* [n][most] */
};

static double triangle(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static void filter_init(struct filter *f, size_t from, size_t to)
{
    double scale = (double)from / (double)to, wide = MAX(scale, 1.0);
    f->n = to;
    f->most = (size_t)ceil(wide) * 2 + 1;
    f->first = mem_alloc(to * sizeof *f->first);
    f->count = mem_alloc(to * sizeof *f->count);
    f->weight = mem_alloc(to * f->most * sizeof *f->weight);
    double *w = mem_alloc(f->most * sizeof *w);
    for (size_t i = 0; i < to; i++) {
        double centre = ((double)i + 0.5) * scale, sum = 0;
        double begin = centre - wide + 0.5, end = centre + wide + 0.5;
        size_t first = begin > 0 ? (size_t)begin : 0;
        size_t count = MIN((size_t)end, from) - first;
        for (size_t k = 0; k < count; k++) {
            w[k] = triangle(((double)(k + first) - centre + 0.5) / wide);
            sum += w[k];
        }
        for (size_t k = 0; k < count; k++) {
            double share = sum > 0 ? w[k] / sum : w[k];
            f->weight[i * f->most + k] = (int32_t)(0.5 + share * (1 << BITS));
        }
        f->first[i] = first;
        f->count[i] = count;
    }
    mem_free(w);
}

static void filter_done(struct filter *f)
{
    mem_free(f->first);
    mem_free(f->count);
    mem_free(f->weight);
}

/* Place i of a line whose pixels are `step` numbers apart. */
static uint8_t place(const struct filter *f, size_t i, const uint8_t *line, size_t step)
{
    const int32_t *w = f->weight + i * f->most;
    int64_t sum = 1 << (BITS - 1);
    line += f->first[i] * step;
    for (size_t k = 0; k < f->count[i]; k++)
        sum += w[k] * (int64_t)line[k * step];
    sum >>= BITS;
    return (uint8_t)(sum < 0 ? 0 : MIN(sum, 255));
}

void vision_resize(const uint8_t *src, size_t width, size_t height, uint8_t *dst, size_t to_width,
                   size_t to_height)
{
    struct filter across, down;
    filter_init(&across, width, to_width);
    filter_init(&down, height, to_height);
    uint8_t *lines = mem_alloc(to_width * height * 3);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < to_width; x++)
            for (size_t c = 0; c < 3; c++)
                lines[(y * to_width + x) * 3 + c] = place(&across, x, src + y * width * 3 + c, 3);
    for (size_t y = 0; y < to_height; y++)
        for (size_t x = 0; x < to_width * 3; x++)
            dst[y * to_width * 3 + x] = place(&down, y, lines + x, to_width * 3);
    mem_free(lines);
    filter_done(&across);
    filter_done(&down);
}
