/* SPDX-License-Identifier: MIT
 * chip_chart.c - the roofline and the timeline of one answer: what its commands did, by operation
 * and by moment, as SVG in the page of `chip run --html`. */
#include "app/chip.h"

#include "base/num.h"

#include <math.h>

#define WIDE      920
#define BINS      460 /* moments of the timeline */
#define LANE_HIGH 26

static const char *const inks[CHIP_LANES] = {"b", "a", "c", "f", "j"};

/* What an operation did in one run of all cores. */
struct did {
    double macs, bytes; /* from and to memory */
};

struct chart {
    const struct npu_work *work;
    const struct npu_answer *answer;
    struct did *ops;               /* [n_ops] */
    double busy[CHIP_LANES][BINS]; /* picoseconds of core 0 */
    double ps;                     /* of a bin */
};

const char *chip_lane_name(int lane)
{
    static const char *const names[CHIP_LANES] = {"load", "matrix", "vector", "store", "link"};
    return names[lane];
}

int chip_lane(enum npu_queue queue, const struct npu_cmd *c)
{
    bool links = c->kind == NPU_CMD_STORE && c->level == NPU_PEER;
    return links ? CHIP_LANE_LINK : (int)queue;
}

static void on_command(void *arg, unsigned core, enum npu_queue queue, const struct npu_cmd *c,
                       uint32_t op, uint64_t from, uint64_t to)
{
    struct chart *x = arg;
    bool moves = c->kind == NPU_CMD_LOAD || c->kind == NPU_CMD_STORE;
    if (moves && c->level == NPU_MEMORY)
        x->ops[op].bytes += (double)c->bytes;
    if (c->kind == NPU_CMD_MATRIX)
        x->ops[op].macs += (double)c->m * c->k * c->n;
    bool works = moves || c->kind == NPU_CMD_MATRIX || c->kind == NPU_CMD_VECTOR;
    if (core != 0 || !works || from == to)
        return;
    for (size_t b = (size_t)((double)from / x->ps); b < BINS; b++) {
        double begin = MAX((double)from, (double)b * x->ps);
        double end = MIN((double)to, (double)(b + 1) * x->ps);
        if (end <= begin)
            break;
        x->busy[chip_lane(queue, c)][b] += end - begin;
    }
}

/* ---- roofline ---- */

struct axes {
    double x0, x1, y0, y1; /* decimal logarithms */
};

static double at_x(const struct axes *a, double v)
{
    return 60 + (log10(v) - a->x0) / (a->x1 - a->x0) * (WIDE - 80);
}

static double at_y(const struct axes *a, double v)
{
    return 290 - (log10(v) - a->y0) / (a->y1 - a->y0) * 270;
}

static void grid(FILE *f, const struct axes *a)
{
    for (int e = (int)ceil(a->x0); e <= (int)floor(a->x1); e++)
        fprintf(f,
                "<path d=\"M%.1f 20V290\" stroke=\"var(--line)\"/><text class=\"dim\" x=\"%.1f\" "
                "y=\"306\" text-anchor=\"middle\">%g</text>",
                at_x(a, pow(10, e)), at_x(a, pow(10, e)), pow(10, e));
    for (int e = (int)ceil(a->y0); e <= (int)floor(a->y1); e++)
        fprintf(f,
                "<path d=\"M60 %.1fH%d\" stroke=\"var(--line)\"/><text class=\"dim\" x=\"54\" "
                "y=\"%.1f\" text-anchor=\"end\">%g</text>",
                at_y(a, pow(10, e)), WIDE - 20, at_y(a, pow(10, e)) + 4, pow(10, e));
}

/* Both roofs: what memory can bring, and what the matrix units can do. */
static void roofs(FILE *f, const struct axes *a, double peak, double bytes)
{
    double x0 = pow(10, a->x0), x1 = pow(10, a->x1), ridge = MIN(MAX(peak / bytes, x0), x1);
    fprintf(f,
            "<path d=\"M%.1f %.1fL%.1f %.1fL%.1f %.1f\" fill=\"none\" stroke=\"var(--ink)\" "
            "stroke-width=\"1.5\"/>",
            at_x(a, x0), at_y(a, MAX(x0 * bytes / 1e12, pow(10, a->y0))), at_x(a, ridge),
            at_y(a, MIN(ridge * bytes, peak) / 1e12), at_x(a, x1), at_y(a, peak / 1e12));
}

/* Operations of one name and shape are alike: one dot, as large as its share of the time. */
static bool alike(const struct npu_op *a, const struct npu_op *b)
{
    return a->kind == b->kind && a->m == b->m && a->k == b->k && a->n == b->n;
}

static bool seen_before(const struct npu_work *w, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (alike(&w->ops[k], &w->ops[i]))
            return true;
    return false;
}

static void dot(FILE *f, const struct chart *x, const struct axes *a, size_t i, double all_ps)
{
    const struct npu_work *w = x->work;
    double ps = 0, macs = 0, bytes = 0;
    for (size_t k = i; k < w->n_ops; k++)
        if (alike(&w->ops[k], &w->ops[i])) {
            ps += (double)x->answer->timing.op_ps[k];
            macs += x->ops[k].macs;
            bytes += x->ops[k].bytes;
        }
    if (macs <= 0 || ps <= 0)
        return;
    double per_byte = MIN(MAX(macs / MAX(bytes, 1), pow(10, a->x0)), pow(10, a->x1));
    double rate = MIN(MAX(macs / ps, pow(10, a->y0)), pow(10, a->y1)); /* a ps: tera a second */
    fprintf(f,
            "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"var(--a)\" fill-opacity=\"0.55\" "
            "stroke=\"var(--a)\"><title>%s %llu x %llu x %llu: %.3g TMAC/s, %.3g products a byte, "
            "%.1f %% of the time</title></circle>",
            at_x(a, per_byte), at_y(a, rate), 3 + 14 * sqrt(ps / all_ps), w->ops[i].name,
            (unsigned long long)w->ops[i].m, (unsigned long long)w->ops[i].k,
            (unsigned long long)w->ops[i].n, macs / ps, macs / MAX(bytes, 1), 100 * ps / all_ps);
}

static void roofline(FILE *f, const struct chart *x, const struct npu_chip *c)
{
    double peak = npu_chip_macs(c, x->work->type), bytes = npu_chip_dram_bytes(c), all_ps = 0;
    double top = ceil(log10(peak / 1e12));
    struct axes a = {-1, 4.2, top - 5, top + 0.3};
    for (size_t i = 0; i < x->work->n_ops; i++)
        all_ps += (double)x->answer->timing.op_ps[i];
    fprintf(f,
            "<h2>Roofline</h2><svg viewBox=\"0 0 %d 330\" width=\"100%%\" role=\"img\" "
            "aria-label=\"Roofline\">",
            WIDE);
    grid(f, &a);
    roofs(f, &a, peak, bytes);
    for (size_t i = 0; i < x->work->n_ops; i++)
        if (!seen_before(x->work, i))
            dot(f, x, &a, i, MAX(all_ps, 1));
    fprintf(f,
            "<text class=\"dim\" x=\"%d\" y=\"324\" text-anchor=\"end\">products a byte of memory, "
            "to the right: fewer bytes</text><text class=\"dim\" x=\"60\" y=\"12\">10¹² products a "
            "second; the line is what %.4g TB/s and %.4g TMAC/s allow</text></svg>\n",
            WIDE - 20, bytes / 1e12, peak / 1e12);
}

/* ---- timeline ---- */

static void lane(FILE *f, const struct chart *x, int q)
{
    double y = 6 + q * (LANE_HIGH + 8);
    fprintf(f,
            "<text class=\"dim\" x=\"0\" y=\"%.0f\">%s</text><path d=\"M60 %.1fH%d\" "
            "stroke=\"var(--line)\"/><path fill=\"var(--%s)\" d=\"M60 %.1f",
            y + LANE_HIGH - 6, chip_lane_name(q), y + LANE_HIGH, WIDE - 20, inks[q], y + LANE_HIGH);
    for (int b = 0; b < BINS; b++) {
        double share = MIN(x->busy[q][b] / x->ps, 1), left = 60 + (double)b * (WIDE - 80) / BINS;
        fprintf(f, "L%.1f %.1fL%.1f %.1f", left, y + LANE_HIGH * (1 - share),
                left + (double)(WIDE - 80) / BINS, y + LANE_HIGH * (1 - share));
    }
    fprintf(f, "L%d %.1fZ\"/>", WIDE - 20, y + LANE_HIGH);
}

static void timeline(FILE *f, const struct chart *x, const char *of, int n_lanes)
{
    double high = 6 + n_lanes * (LANE_HIGH + 8);
    fprintf(f,
            "<h2>Timeline of %sthe first core</h2><svg viewBox=\"0 0 %d %.0f\" width=\"100%%\" "
            "role=\"img\" aria-label=\"Timeline\">",
            of, WIDE, high + 22);
    for (int q = 0; q < n_lanes; q++)
        lane(f, x, q);
    fprintf(f,
            "<text class=\"dim\" x=\"60\" y=\"%.0f\">0</text><text class=\"dim\" x=\"%d\" "
            "y=\"%.0f\" text-anchor=\"end\">%.4g ms</text></svg><p class=\"dim\">How busy each "
            "queue was, from the first command to the last of one run without the host. damso "
            "chip trace has every command.</p>\n",
            high + 14, WIDE - 20, high + 14, npu_answer_s(x->answer, x->ps * BINS) * 1e3);
}

/* ---- both ---- */

/* What the commands of one run do. */
static struct chart *chart_new(const struct npu_work *w, const struct npu_answer *a)
{
    struct chart *x = mem_alloc(sizeof *x);
    struct npu_timing_of timing = {0};
    x->work = w;
    x->answer = a;
    x->ops = mem_alloc(x->work->n_ops * sizeof *x->ops);
    npu_time(&timing, a->prog, 1, 1, NULL, NULL);
    x->ps = MAX((double)timing.ps / BINS, 1);
    npu_time(&timing, a->prog, 1, 1, on_command, x);
    return x;
}

static void chart_free(struct chart *x)
{
    mem_free(x->ops);
    mem_free(x);
}

/* "chip 0 and 2 more like it, ": those that do what a member does. */
static void name_chips(char of[80], const struct npu_team *t, size_t member)
{
    size_t first = 0, n = 0;
    for (size_t k = t->n_chips; k-- > 0;)
        if (t->of[k] == member) {
            first = k;
            n++;
        }
    if (n > 1)
        snprintf(of, 80, "chip %zu and %zu more like it, ", first, n - 1);
    else
        snprintf(of, 80, "chip %zu, ", first);
}

/* The roofline is the slowest stage's; chips that do the same have one timeline. */
void chip_charts(FILE *f, const struct npu_chip *c, const struct chip_answer *answer)
{
    const struct npu_team *t = answer->team;
    struct chart *x = chart_new(answer->work, &answer->answer);
    roofline(f, x, c);
    if (!t)
        timeline(f, x, "", NPU_N_QUEUES);
    for (size_t i = 0; t && i < t->n_members; i++) {
        const struct npu_member *m = &t->member[i];
        struct chart *own = m->work == x->work ? x : chart_new(m->work, &m->answer);
        char of[80];
        name_chips(of, t, i);
        timeline(f, own, of, CHIP_LANES);
        if (own != x)
            chart_free(own);
    }
    chart_free(x);
}
