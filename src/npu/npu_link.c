/* SPDX-License-Identifier: MIT */
#include "npu/npu_link.h"

#include "base/num.h"
#include "npu/npu_emit.h"
#include "npu/npu_time_int.h"

#include <math.h>

struct npu_way npu_way_of(const struct npu_chip *c, uint64_t cards)
{
    double most = c->v[NPU_PEER_MOST];
    bool host = c->v[NPU_PEER_GBS] <= 0 || (most > 0 && (double)cards > most);
    return (struct npu_way){
        .host = host, .ring = !host && c->ring, .gb_s = c->v[host ? NPU_HOST_GBS : NPU_PEER_GBS]};
}

/* Steps, and bytes that go one after the other. */
struct course {
    double steps, bytes;
};

static struct course by_host(enum npu_exchange how, double n, double bytes)
{
    struct course gather = {2, bytes / n + bytes * (n - 1) / n};
    if (how == NPU_SEND)
        return (struct course){2, 2 * bytes};
    if (how == NPU_ALL_GATHER)
        return gather;
    return (struct course){2 + gather.steps, 2 * bytes * (n - 1) / n + gather.bytes};
}

static struct course by_ring(enum npu_exchange how, double n, double bytes)
{
    double steps = how == NPU_ALL_REDUCE ? 2 * (n - 1) : n - 1;
    return how == NPU_SEND ? (struct course){1, bytes} : (struct course){steps, steps * bytes / n};
}

static struct course by_switch(enum npu_exchange how, double n, double bytes, double step_bytes)
{
    struct course once = {1, (n - 1) * bytes}, twice = {2, 2 * bytes * (n - 1) / n};
    if (how == NPU_SEND)
        return (struct course){1, bytes};
    if (how == NPU_ALL_GATHER)
        return (struct course){1, bytes * (n - 1) / n};
    return once.bytes - twice.bytes <= step_bytes ? once : twice;
}

struct npu_crossing npu_cross(const struct npu_chip *c, enum npu_exchange how, uint64_t cards,
                              double bytes)
{
    struct npu_way way = npu_way_of(c, cards);
    double n = (double)cards, us = c->v[NPU_PEER_US];
    struct course x = way.host   ? by_host(how, n, bytes)
                      : way.ring ? by_ring(how, n, bytes)
                                 : by_switch(how, n, bytes, us * way.gb_s * 1e3);
    /* a link may be as slow as a file likes: bounded before they are whole numbers */
    double ps = x.steps * us * 1e6 + x.bytes / way.gb_s * 1e3;
    return (struct npu_crossing){.ps = (uint64_t)fmin(ceil(ps), (double)NPU_ADDR_MAX),
                                 .bytes = (uint64_t)fmin(ceil(x.bytes), (double)NPU_BYTES_MAX)};
}

/* The first core's store queue speaks with the other chips, once all cores are through with what is
 * sent; the next operation's weights load meanwhile. */
void npu_emit_exchange(struct npu_emit *e, const struct npu_op *op, const struct npu_where *at)
{
    struct npu_crossing x = npu_cross(e->chip, op->how, op->k,
                                      (double)op->m * (double)op->n * NPU_LINK_NUMBER);
    npu_emit_begin(e, op, at);
    npu_emit_await(e, 0)->give[0] = NPU_S_FULL;
    struct npu_cmd *c = npu_emit_cmd(e, 0, NPU_CMD_STORE);
    c->level = NPU_PEER;
    c->base = NPU_BASE_OUT;
    c->take[0] = NPU_S_FULL;
    c->bytes = x.bytes;
    c->addr = x.ps;
    npu_emit_end(e);
}

/* ---- in a run ---- */

uint64_t npu_link_move(struct npu_sim *s, const struct npu_cmd *c, uint64_t start)
{
    s->link_from = start;
    s->out->counts.link_bytes += (double)c->bytes;
    return start + c->addr;
}

void npu_link_through(struct npu_sim *s, uint32_t step, uint64_t at)
{
    enum npu_cause before = npu_step_waits(s->p, step);
    for (unsigned k = 0; k < s->n_cores; k++) {
        uint64_t from = s->cores[k].worked_until, split = MAX(MIN(s->link_from, at), from);
        s->cause[before] += (double)(split - MIN(from, split));
        s->cause[NPU_BY_LINKS] += (double)(at - MIN(split, at));
        s->cores[k].worked_until = MAX(from, at);
    }
}
