/* SPDX-License-Identifier: MIT
 * npu_tile.c - the search for a cut: every sensible tile is priced by what it would make wait. */
#include "npu/npu_tile.h"

#include "base/num.h"
#include "npu/npu_array.h"
#include "npu/npu_int.h"

#include <math.h>

#define SUM_BYTES  4
#define SHADOW     0.05
#define ISSUED     0.5   /* commands mostly wait for something else */
#define FEWER      0.004 /* half as many commands are worth so much */
#define CHUNKS     4 /* of a tile: the first is there soon, and there are not too many commands */
#define PIECES_MAX 4096
#define FINER      16 /* pieces where memory would hold a tile whole: it ends soon after the last */
#define FEW_ROWS   32 /* products with so many wait for their weights */
#define PARTS_MAX  16 /* of a sum */
#define PART_LEAST 64 /* products in one of them */

uint64_t npu_weight_bytes(const struct npu_work *w, uint64_t values)
{
    return (uint64_t)ceil((double)values * w->weight_bits / 8);
}

/* A chip whose operations are launched one by one prefetches nothing: all memory is for the one. */
uint64_t npu_half_bytes(const struct npu_chip *c)
{
    double work = c->v[NPU_SRAM] * 1024 * (1 - c->v[NPU_KEEP]);
    return (uint64_t)(c->v[NPU_OP_US] > 0 ? work : work / 2) & ~(uint64_t)63;
}

struct search {
    const struct npu_chip *c;
    const struct npu_work *w;
    const struct npu_op *op;
    const struct npu_where *at;
    uint64_t cores, instances;
    double cycle, link, noc, dram; /* ps a cycle, ps a byte */
    struct npu_tiling best;
};

uint64_t npu_tile_wave(const struct npu_tiling *t, unsigned cores)
{
    return (uint64_t)cores * MIN(t->beside, (unsigned)NPU_SLOTS); /* buffers are of so many */
}

bool npu_tile_rows(const struct npu_tiling *t, unsigned cores)
{
    uint64_t run = (t->mt * t->nt * t->ks + cores - 1) / cores;
    return t->ks == 1 && (t->nt == 1 || (!t->down_first && run % t->nt == 0));
}

/* Rows that lie at the borders of a core's part come from its neighbours: about a twentieth. */
double npu_tile_here(const struct npu_tiling *t, bool spread, bool rows, unsigned cores)
{
    if (!spread)
        return 0;
    return cores == 1 ? 1 : rows && npu_tile_rows(t, cores) ? 0.95 : 1.0 / cores;
}

static double down(double a, double b)
{
    return ceil(a / b);
}

/* Whether the buffers fit, and what stays for the next tile. */
static bool fits(const struct search *s, struct npu_tiling *t)
{
    double acc = s->c->v[NPU_ACC] * 1024, sums = (double)(t->tm * t->tn) * SUM_BYTES;
    if (sums > acc)
        return false;
    /* a tile whose sums leave no room for others has the core's memory for itself, too */
    t->beside = (unsigned)MIN(s->c->v[NPU_TILES], acc / sums);
    double half = (double)npu_half_bytes(s->c) / t->beside;
    double k = (double)((t->tk + t->pieces - 1) / t->pieces);
    double w = k * (double)t->tn * s->w->weight_bits / 8;
    double a = k * (double)t->tm * s->op->unique * s->w->act_bytes;
    double o = (double)(t->tm * t->tn) * (t->ks > 1 ? SUM_BYTES : s->w->act_bytes) *
               (s->op->in2 >= 0 ? 2 : 1);
    if (NPU_SLOTS * (w + a + o) > half)
        return false;
    t->keep_w = t->chunks == 1 && t->pieces == 1 && t->down_first && !s->c->cache;
    t->keep_a = t->chunks == 1 && t->pieces == 1 && !t->down_first && !s->c->cache;
    return true;
}

/* How often a core loads inputs and weights, in tiles, and how many different ones all cores use.
 */
struct loads {
    double tiles; /* of the core that has most */
    double a, w;
};

static struct loads count_loads(const struct search *s, const struct npu_tiling *t)
{
    double all = (double)(t->mt * t->nt * t->ks), tiles = down(all, (double)s->cores);
    struct loads l = {tiles, tiles, tiles};
    if (t->keep_w) /* a run goes down a column of mt tiles */
        l.w = MIN(tiles, down(tiles, (double)t->mt) + 1);
    if (t->keep_a)
        l.a = MIN(tiles, down(tiles, (double)t->nt) + 1);
    if (s->c->cache && l.tiles > 1) /* neighbours are of other cores */
        return l;
    if (t->keep_w &&
        (t->mt == 1 || fmod((double)t->mt, tiles) == 0 || fmod(tiles, (double)t->mt) == 0))
        l.w = down(tiles, (double)t->mt);
    if (t->keep_a &&
        (t->nt == 1 || fmod((double)t->nt, tiles) == 0 || fmod(tiles, (double)t->nt) == 0))
        l.a = down(tiles, (double)t->nt);
    return l;
}

/* How often a cache has all inputs, and all weights, brought to it. */
struct brought {
    double a, w;
};

/* Cores walk along their inputs and weights side by side: what one wave of tiles shares with a
 * later one is still there if all that is used from the one to the other fits.  In the order of
 * tiles, those next to each other share the outer side's data, and the inner side's come again
 * after all of its length.  a, w, out: bytes of a tile's inputs, weights, results; notes in the
 * tiling what is lost. */
static struct brought count_brought(const struct search *s, struct npu_tiling *t, double a,
                                    double w, double out)
{
    double room = s->c->v[NPU_SHARED_KIB] * 1024 / (double)s->instances;
    double wave = (double)npu_tile_wave(t, s->cores);
    bool down = t->down_first;
    double inner = (double)(down ? t->mt : t->nt), outer = (double)(down ? t->nt : t->mt);
    double inner_bytes = down ? a : w, outer_bytes = down ? w : a;
    double used = MIN(inner, wave) * inner_bytes + MAX(wave / inner, 1) * outer_bytes + wave * out;
    double used_by_row = inner * (inner_bytes + out) + 2 * outer_bytes;
    bool lose_inner = inner > wave ? used_by_row > room : outer > wave / inner && used > room;
    bool lose_outer = inner > wave && used > room;
    double inner_times = !lose_inner ? 1 : inner > wave ? outer : ceil(inner * outer / wave);
    double outer_times = lose_outer ? inner / wave : 1;
    t->lose_a = down ? lose_inner : lose_outer;
    t->lose_w = down ? lose_outer : lose_inner;
    return down ? (struct brought){inner_times, outer_times}
                : (struct brought){outer_times, inner_times};
}

/* Products of few rows that wait for memory: the next tile's weights load while this one works. */
static bool streams(const struct search *s)
{
    return !s->c->cache && s->op->m <= FEW_ROWS && s->at->weight == NPU_MEMORY;
}

static void price(struct search *s, struct npu_tiling *t)
{
    const struct npu_op *op = s->op;
    const struct npu_where *at = s->at;
    double cores = (double)s->cores, k = (double)(t->tk * t->chunks);
    if (!fits(s, t))
        return;
    struct loads l = count_loads(s, t);
    unsigned beside = (unsigned)MIN((double)t->beside, l.tiles);
    struct npu_cycles x = npu_tile_cycles(s->c, s->w->type, t->tm, t->tk, t->tn, MAX(beside, 1u));
    double tile = (double)x.busy * (double)t->chunks * s->cycle;
    double o_tile = (double)(t->tm * t->tn) * (t->ks > 1 ? SUM_BYTES : s->w->act_bytes);
    /* a slot of results is free again when its tile has gone all the way out */
    double out_way = (double)x.tail * s->cycle +
                     (double)(t->tm * t->tn) * op->passes / s->c->v[NPU_VEC_LANES] * s->cycle +
                     (at->out_cores ? 0 : o_tile * s->link + s->c->v[NPU_NOC_LATENCY] * s->cycle);
    double work = l.tiles * MAX(tile, (tile + out_way) / NPU_SLOTS) + (double)x.tail * s->cycle;
    double w_tile = k * (double)t->tn * s->w->weight_bits / 8;
    double a_tile = (double)t->tm * k * op->unique * s->w->act_bytes;
    bool w_alone = at->weight_kept && t->mt == 1;
    double w_core = w_alone ? 0 : l.w * w_tile;
    double a_far = 1 - npu_tile_here(t, at->in_cores, at->in_rows, (unsigned)s->cores);
    double r_far = 1 - npu_tile_here(t, at->in2_cores, at->in2_rows, (unsigned)s->cores);
    double a_core = l.a * a_tile * a_far;
    double r_core = op->in2 >= 0 ? l.tiles * o_tile * r_far : 0;
    double out_core = at->out_cores && t->ks == 1 ? 0 : l.tiles * o_tile;
    double all_w = k * (double)t->ks * (double)(t->nt * t->tn) * s->w->weight_bits / 8;
    double all_a = (double)(t->mt * t->tm) * k * (double)t->ks * op->unique * s->w->act_bytes;
    double all_o = (double)(t->mt * t->nt * t->ks) * o_tile;
    struct brought times = s->c->cache ? count_brought(s, t, a_tile, w_tile, o_tile)
                                       : (struct brought){1, 1};
    double dram = (at->weight == NPU_MEMORY ? all_w * times.w : 0) +
                  (at->in == NPU_MEMORY ? all_a * times.a : 0) +
                  (op->in2 >= 0 && at->in2 == NPU_MEMORY ? all_o : 0) +
                  (at->out == NPU_MEMORY ? all_o : 0);
    double net = cores * (w_core + a_core + r_core + out_core);
    if (s->c->v[NPU_MULTICAST] > 0)
        net = MIN(net, (w_alone ? 0 : all_w) + all_a * a_far + cores * (r_core + out_core));
    double vec = l.tiles * (double)(t->tm * t->tn) * op->passes / s->c->v[NPU_VEC_LANES] * s->cycle;
    bool ahead = w_alone || streams(s); /* weights are there before their turn */
    double first = ((ahead ? 0 : w_tile) + a_tile * a_far) / (double)(t->chunks * t->pieces) *
                   s->link;
    double bounds[] = {work, vec, (w_core + a_core + r_core) * s->link,
                       net * s->noc * (double)s->instances, dram * s->dram * (double)s->instances};
    double longest = 0, all = 0;
    for (size_t i = 0; i < N_ELEMS(bounds); i++) {
        longest = MAX(longest, bounds[i]);
        all += bounds[i];
    }
    /* of equal ones that which asks least of the rest */
    double issued = l.tiles * (double)t->chunks * s->c->v[NPU_ISSUE] * s->cycle;
    /* a stream's last piece is worked on when all has been loaded */
    double behind = streams(s) ? tile / (double)t->pieces : tile * 0.1;
    t->cost = longest + SHADOW * all + first + o_tile * s->link + behind + ISSUED * issued;
    if (t->ks > 1) /* sums of the parts: written, read, added */
        t->cost += 2 * all_o * s->noc +
                   all_o / SUM_BYTES / cores / s->c->v[NPU_VEC_LANES] * s->cycle +
                   s->c->v[NPU_OP_US] * 1e6 + 4 * s->c->v[NPU_NOC_LATENCY] * s->cycle;
    t->cost *= 1 + FEWER * log2(l.tiles * (double)t->chunks);
    if (!s->best.tm || t->cost < s->best.cost)
        s->best = *t;
}

/* In so many chunks, each of which streams through the buffers in at least so many pieces. */
static void price_streamed(struct search *s, struct npu_tiling t, uint64_t chunks, uint64_t pieces)
{
    uint64_t k = (s->op->k + t.ks - 1) / t.ks;
    uint64_t grain = s->c->array == NPU_DOT ? (uint64_t)s->c->v[NPU_MX_DEPTH]
                                            : (uint64_t)s->c->v[NPU_MX_ROWS];
    t.tk = (k + chunks - 1) / chunks;
    t.tk = MIN((t.tk + grain - 1) / grain * grain, k);
    t.chunks = (k + t.tk - 1) / t.tk;
    t.pieces = pieces;
    while (!fits(s, &t) && t.pieces < PIECES_MAX && t.tk / t.pieces > grain)
        t.pieces *= 2;
    price(s, &t);
}

/* Whether a core's memory would hold the weights of all tiles whose loads are under way. */
static bool holds_all_ahead(const struct search *s, const struct npu_tiling *t)
{
    uint64_t tiles = (t->mt * t->nt * t->ks + s->cores - 1) / s->cores;
    uint64_t bytes = npu_weight_bytes(s->w, (s->op->k + t->ks - 1) / t->ks * t->tn);
    return MIN(tiles, NPU_SLOTS) * bytes <= npu_half_bytes(s->c);
}

/* All products of a tile at once where they fit, so that weights or inputs can stay for the next
 * tile; else a few chunks.  Where nothing is prefetched beyond the tile, or nothing is used twice
 * and memory never rests, one chunk does what a few would, with fewer commands. */
static void price_chunks(struct search *s, struct npu_tiling t)
{
    t.tk = (s->op->k + t.ks - 1) / t.ks;
    t.chunks = t.pieces = 1;
    if (fits(s, &t))
        price(s, &t);
    if (!s->c->cache)
        price_streamed(s, t, CHUNKS, 1);
    if (s->c->cache || s->op->m <= FEW_ROWS)
        price_streamed(s, t, 1, CHUNKS);
    if (streams(s) && holds_all_ahead(s, &t))
        price_streamed(s, t, 1, FINER);
}

/* Libraries of kernels split a sum no further than all parts run at once, into any number. */
static void price_parts(struct search *s, struct npu_tiling t)
{
    bool kernels = s->c->v[NPU_TILE_MOST] > 0;
    uint64_t tiles = t.mt * t.nt, most = kernels ? s->cores : 4 * s->cores;
    for (t.ks = 1;
         t.ks == 1 || (t.ks <= PARTS_MAX && t.ks * PART_LEAST <= s->op->k && tiles * t.ks <= most);
         t.ks += kernels ? MAX(t.ks / 4, 1) : t.ks)
        for (int order = 0; order < 2; order++) {
            t.down_first = order;
            price_chunks(s, t);
        }
}

/* Sizes to try for a side: what gives each of so many cores a part, and powers of two of the array.
 */
static size_t sides(uint64_t whole, uint64_t grain, uint64_t cores, uint64_t least,
                    uint64_t longest, uint64_t out[], size_t most)
{
    size_t n = 0;
    while (grain < least)
        grain *= 2;
    for (uint64_t x = grain; n < most && x < whole && x <= (longest ? longest : 8192); x *= 2)
        out[n++] = x;
    uint64_t next = n ? 2 * out[n - 1] : grain;
    if (longest && next <= longest) /* the whole in one */
        out[n++] = next;
    for (uint64_t parts = 1; !longest && n < most && parts <= cores; parts *= 2) {
        uint64_t x = (whole + parts - 1) / parts;
        out[n++] = MIN((x + grain - 1) / grain * grain, MAX(whole, 1u));
        if (x <= grain)
            break;
    }
    return n;
}

struct npu_tiling npu_tile_search(const struct npu_chip *c, const struct npu_work *w,
                                  const struct npu_op *op, const struct npu_where *at,
                                  unsigned cores, unsigned instances)
{
    enum { SIDES = 40 };
    struct search s = {.c = c, .w = w, .op = op, .at = at, .cores = cores, .instances = instances};
    uint64_t down_sides[SIDES], across[SIDES];
    bool dot = c->array == NPU_DOT;
    double wide = c->v[NPU_TILE_WIDE];
    s.cycle = 1e6 / c->v[NPU_CLOCK];
    s.link = s.cycle / c->v[NPU_LINK];
    s.noc = s.cycle / c->v[NPU_NOC];
    s.dram = 1e12 / (npu_chip_dram_bytes(c) * c->v[NPU_DRAM_EFFICIENCY]);
    uint64_t longest = (uint64_t)c->v[NPU_TILE_MOST], least = (uint64_t)c->v[NPU_TILE_LEAST];
    uint64_t m_grain = dot || c->array == NPU_SYSTOLIC_OS ? (uint64_t)c->v[NPU_MX_ROWS] : 1;
    size_t nm = sides(op->m, m_grain, cores, least, longest, down_sides, SIDES);
    size_t nn = sides(op->n, (uint64_t)c->v[NPU_MX_COLS], cores, least, longest, across, SIDES);
    /* 2, 4, 8 equal tiles for each core: one loads while another works */
    for (uint64_t parts = 2; streams(&s) && parts <= 8 && nn < SIDES; parts *= 2) {
        uint64_t each = (op->n + parts * cores - 1) / (parts * cores);
        uint64_t grain = (uint64_t)c->v[NPU_MX_COLS];
        across[nn++] = (each + grain - 1) / grain * grain;
    }
    for (size_t i = 0; i < nm; i++)
        for (size_t j = 0; j < nn; j++) {
            struct npu_tiling t = {.tm = down_sides[i], .tn = across[j]};
            t.mt = (op->m + t.tm - 1) / t.tm;
            t.nt = (op->n + t.tn - 1) / t.tn;
            bool too_wide = wide > 0 && j > 0 && t.mt > 1 && (double)t.tn > wide * (double)t.tm;
            if (!too_wide && t.mt * t.nt <= (uint64_t)1 << 18)
                price_parts(&s, t);
        }
    return s.best;
}
