/* SPDX-License-Identifier: MIT
 * mm_c.c - the reference: weights as the file has them, made floats row by row, and activations
 * as floats.  Slow and plain; the other levels are held to it. */
#include "kern/mm.h"

#include "base/err.h"

/* Eight sums, so that rounding errors stay small and a compiler may use vectors. */
static float dot(const float *a, const float *b, size_t n)
{
    float sum[8] = {0}, total = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++)
            sum[j] += a[i + (size_t)j] * b[i + (size_t)j];
    for (; i < n; i++)
        sum[0] += a[i] * b[i];
    for (int j = 0; j < 8; j++)
        total += sum[j];
    return total;
}

static void mm_run_c(const struct mm_job *job, size_t from, size_t to, void *scratch)
{
    size_t row_bytes = format_bytes(job->format, job->k);
    float *row = scratch;
    CHECK(to <= job->n_rows);
    for (size_t r = from; r < to; r++) {
        format_dequant(job->format, row, (const char *)job->weights + r * row_bytes, job->k);
        for (size_t t = 0; t < job->n_tokens; t++) {
            float *out = &job->dst[t * job->dst_stride + r];
            float sum = dot(row, job->x + t * job->x_stride, job->k);
            if (job->bias)
                sum += job->bias[r];
            *out = job->add ? *out + sum : sum;
        }
    }
}

const struct mm_kernel mm_kernel_c = {
    .level = CPU_c,
    .panel_rows = 1,
    .act_int = MM_ACT_F32,
    .run = mm_run_c,
};
