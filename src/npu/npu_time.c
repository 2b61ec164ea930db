/* SPDX-License-Identifier: MIT
 * npu_time.c - a heap of queues by the time at which each can go on.  A queue that cannot know that
 * time yet sleeps where what it waits for will come: a semaphore, a step of all cores, a tile that
 * another core brings.  What is taken from a shared resource is taken in the heap's order. */
#include "npu/npu_time.h"

#include "base/num.h"
#include "npu/npu_array.h"
#include "npu/npu_int.h"
#include "npu/npu_time_int.h"

#include <math.h>
#include <string.h>

const char *npu_cause_key(enum npu_cause c)
{
    static const char *const keys[] = {
#define CAUSE(name, key, text) key,
        NPU_CAUSES(CAUSE)
#undef CAUSE
    };
    return keys[c];
}

const char *npu_cause_text(enum npu_cause c)
{
    static const char *const texts[] = {
#define CAUSE(name, key, text) text,
        NPU_CAUSES(CAUSE)
#undef CAUSE
    };
    return texts[c];
}

/* ---- the heap: the earliest first, of those the lowest number ---- */

static bool before(const struct npu_sim *s, uint32_t a, uint32_t b)
{
    uint64_t x = s->queues[a].ready, y = s->queues[b].ready;
    return x < y || (x == y && a < b);
}

static void push(struct npu_sim *s, uint32_t q, uint64_t at)
{
    size_t i = s->n_heap++;
    s->queues[q].ready = at;
    for (; i > 0 && before(s, q, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = q;
}

static uint32_t pop(struct npu_sim *s)
{
    uint32_t first = s->heap[0], last = s->heap[--s->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->n_heap)
            break;
        if (child + 1 < s->n_heap && before(s, s->heap[child + 1], s->heap[child]))
            child++;
        if (!before(s, s->heap[child], last))
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return first;
}

/* ---- semaphores and gates ---- */

static void give(struct npu_sim *s, struct npu_core *c, unsigned set, unsigned sem,
                 struct npu_token t)
{
    struct npu_semaphore *x = &c->sem[set][sem];
    if (sem == NPU_NO_SEM)
        return;
    CHECK(x->n < NPU_TOKENS);
    x->token[(x->head + x->n++) % NPU_TOKENS] = t;
    if (x->sleeper != NPU_NOBODY) {
        uint32_t q = x->sleeper;
        x->sleeper = NPU_NOBODY;
        push(s, q, MAX(s->queues[q].ready, t.at));
    }
}

static void sleep_at(struct npu_sim *s, struct npu_gate *g, uint32_t q)
{
    s->queues[q].sleeps_behind = g->sleepers;
    g->sleepers = q;
}

static void open_gate(struct npu_sim *s, struct npu_gate *g)
{
    for (uint32_t q = g->sleepers; q != NPU_NOBODY;) {
        uint32_t next = s->queues[q].sleeps_behind;
        push(s, q, MAX(s->queues[q].ready, g->at));
        q = next;
    }
    g->sleepers = NPU_NOBODY;
}

static struct npu_gate *step_gate(const struct npu_sim *s, unsigned core, uint32_t step)
{
    return &s->gates[core / s->p->cores * s->n_steps + step];
}

/* A tile's gate counts for one step: what an earlier step left in it is forgotten. */
static struct npu_gate *key_gate(const struct npu_sim *s, unsigned core, uint32_t step,
                                 uint32_t key)
{
    struct npu_gate *g = &s->keys[((size_t)(core / s->p->cores) * 2 + step % 2) * s->n_keys + key];
    if (g->stamp != step + 1)
        *g = (struct npu_gate){.stamp = step + 1, .sleepers = NPU_NOBODY};
    return g;
}

/* ---- moving ---- */

static uint64_t rate_ps(uint64_t bytes, double ps_a_byte)
{
    return (uint64_t)ceil((double)bytes * ps_a_byte);
}

/* A transfer between a core and a level; *cause: what it waited for longest. */
static uint64_t move(struct npu_sim *s, const struct npu_cmd *c, const struct npu_step *step,
                     uint64_t *link_free, bool write, bool follows, uint64_t start,
                     enum npu_cause *cause)
{
    *cause = NPU_BY_NETWORK;
    if (c->level == NPU_HERE || c->bytes == 0)
        return start;
    uint64_t link = MAX(start, *link_free) + rate_ps(c->bytes, s->link);
    *link_free = link;
    uint64_t end = link + s->latency;
    s->out->counts.shared_bytes += (double)c->bytes;
    if (!follows || s->chip->v[NPU_MULTICAST] == 0) {
        uint64_t net = MAX(start, s->net_free) + rate_ps(c->bytes, s->net);
        s->net_free = net;
        end = MAX(end, net + s->latency);
    }
    if (c->level == NPU_MEMORY) {
        uint64_t mem = npu_mem_move(&s->mem, step->base[c->base] + c->addr, c->bytes, write, start);
        s->out->counts.dram_bytes += (double)c->bytes;
        if (mem >= end) {
            end = mem;
            *cause = NPU_BY_DRAM;
        }
    }
    return end;
}

/* Of the time that the matrix unit stood still, what the work behind the last token took is its
 * cause; before that work had begun, it waited for the order of operations. */
static void blame(struct npu_sim *s, const struct npu_prog *p, uint32_t step, uint64_t from,
                  uint64_t to, const struct npu_token *t)
{
    if (to <= from)
        return;
    uint64_t split = t ? MIN(MAX(t->from, from), to) : to;
    double launch = MIN(s->chip->v[NPU_OP_US] * 1e6, (double)(split - from));
    uint32_t at = step % (uint32_t)p->n_steps;
    const struct npu_op *prev = at ? &p->work->ops[p->steps[at - 1].op] : NULL;
    bool vector = prev && prev->kind != NPU_MATMUL && prev->kind != NPU_ATTEND;
    s->cause[NPU_BY_LAUNCH] += launch;
    s->cause[vector ? NPU_BY_VECTOR_UNIT : NPU_BY_ORDER] += (double)(split - from) - launch;
    if (t)
        s->cause[t->cause] += (double)(to - split);
}

static uint64_t do_matrix(struct npu_sim *s, struct npu_core *k, const struct npu_cmd *c,
                          const struct npu_step *step, uint64_t start, const struct npu_token *last,
                          struct npu_token *done)
{
    enum npu_type type = s->p->work->type;
    struct npu_last_tile *t = &s->tile;
    if (t->m != c->m || t->k != c->k || t->n != c->n || t->beside != step->segment->beside)
        *t = (struct npu_last_tile){
            c->m, c->k, c->n, step->segment->beside,
            npu_tile_cycles(s->chip, type, c->m, c->k, c->n, step->segment->beside)};
    const struct npu_cycles x = t->cycles;
    const double *v = s->chip->v;
    uint64_t busy = (uint64_t)((double)x.busy * s->cycle + 0.5);
    uint64_t tail = c->last ? (uint64_t)((double)x.tail * s->cycle + 0.5) : 0;
    double macs = (double)c->m * c->k * c->n;
    double peak = v[NPU_MX_ROWS] * v[NPU_MX_COLS] * v[NPU_MX_DEPTH] * v[NPU_MX_COUNT] *
                  npu_chip_rate(s->chip, type);
    double useful = MIN(macs / peak * s->cycle, (double)busy);
    double slower = MIN(useful / v[NPU_SUSTAINED] - useful, (double)busy - useful);
    s->cause[NPU_BY_USEFUL] += useful;
    s->cause[NPU_BY_SUSTAINED] += slower;
    s->cause[NPU_BY_EDGES] += (double)busy - useful - slower;
    s->out->counts.macs += macs;
    s->out->counts.here_bytes += ((double)c->m * c->k + (double)c->k * c->n) *
                                     s->p->work->act_bytes +
                                 (double)c->m * c->n * 4;
    uint64_t end = start + busy;
    if (c->pieces > 1 && last->end) { /* the last piece comes late */
        uint64_t piece = last->end + busy / c->pieces;
        s->cause[last->cause] += (double)(MAX(piece, end) - end);
        end = MAX(piece, end);
    }
    k->worked_until = end;
    *done = (struct npu_token){.at = end + tail, .from = start, .cause = NPU_BY_EDGES};
    return end;
}

/* ---- one command ---- */

/* What the command waits for.  False: the queue sleeps. */
static bool may_start(struct npu_sim *s, uint32_t q, unsigned core, const struct npu_cmd *c,
                      uint64_t *start, struct npu_token *last)
{
    struct npu_core *k = &s->cores[core];
    struct npu_queue_state *x = &s->queues[q];
    *start = x->ready;
    for (int i = 0; i < 3; i++) {
        struct npu_semaphore *sem = &k->sem[x->step % 2][c->take[i]];
        if (c->take[i] == NPU_NO_SEM)
            continue;
        if (sem->n == 0) {
            sem->sleeper = q;
            return false;
        }
        const struct npu_token *t = &sem->token[sem->head];
        uint64_t end = MAX(last->end, t->end);
        if (!last->at || t->at > last->at)
            *last = *t;
        last->end = end;
        *start = MAX(*start, t->at);
    }
    if (c->kind == NPU_CMD_AWAIT && x->step > 0) {
        struct npu_gate *g = step_gate(s, core, x->step - 1);
        if (g->count < s->p->cores) {
            sleep_at(s, g, q);
            return false;
        }
        *start = MAX(*start, g->at);
    }
    if (c->kind == NPU_CMD_LOAD && c->key && !c->first) {
        struct npu_gate *g = key_gate(s, core, x->step, c->key);
        if (!g->count) {
            sleep_at(s, g, q);
            return false;
        }
    }
    return true;
}

static void arrive(struct npu_sim *s, unsigned core, uint32_t step, uint64_t at)
{
    struct npu_gate *g = step_gate(s, core, step);
    g->at = MAX(g->at, at);
    if (++g->count < s->p->cores)
        return;
    open_gate(s, g);
    if (core < s->p->cores)
        npu_repeat_look(s, step, g->at);
}

/* Does the command; gives when its queue may go on. */
static uint64_t perform(struct npu_sim *s, uint32_t q, unsigned core, const struct npu_cmd *c,
                        const struct npu_step *step, uint64_t start, struct npu_token *done,
                        const struct npu_token *last)
{
    struct npu_core *k = &s->cores[core];
    uint32_t at = s->queues[q].step;
    bool follows = c->key && !c->first;
    uint64_t next = start;
    *done = (struct npu_token){.at = start, .from = start, .cause = NPU_BY_ORDER};
    switch ((enum npu_cmd_kind)c->kind) {
    case NPU_CMD_AWAIT:
        if (at > 0)
            next = done->at = start + c->bytes * 1000;
        break;
    case NPU_CMD_LOAD:
        done->at = move(s, c, step, &k->in_free, false, follows, start, &done->cause);
        if (follows)
            done->at = MAX(done->at, key_gate(s, core, at, c->key)->at);
        if (c->first && c->key) {
            struct npu_gate *g = key_gate(s, core, at, c->key);
            g->at = done->at;
            g->count = 1;
            open_gate(s, g);
        }
        done->end = done->at;
        if (c->pieces > 1) /* the first piece */
            done->at -= (done->at - start) / c->pieces * (c->pieces - 1u);
        break;
    case NPU_CMD_MATRIX:
        blame(s, s->p, at, k->worked_until, start, last->at ? last : NULL);
        next = do_matrix(s, k, c, step, start, last, done);
        break;
    case NPU_CMD_VECTOR:
        next = start + (uint64_t)(ceil(c->m / s->chip->v[NPU_VEC_LANES]) * s->cycle + 0.5);
        *done = (struct npu_token){.at = next, .from = start, .cause = NPU_BY_VECTOR_UNIT};
        s->out->counts.vector_passes += c->m;
        break;
    case NPU_CMD_STORE:
        done->at = move(s, c, step, &k->out_free, true, false, start, &done->cause);
        k->stored_until = MAX(k->stored_until, done->at);
        break;
    case NPU_CMD_ARRIVE:
        done->at = MAX(start, k->stored_until);
        arrive(s, core, at, done->at);
        break;
    case NPU_CMD_OPEN:
    case NPU_N_CMDS: break;
    }
    return next;
}

static void go(struct npu_sim *s, uint32_t q)
{
    struct npu_queue_state *x = &s->queues[q];
    unsigned core = q / NPU_N_QUEUES, in_instance = core % s->p->cores;
    struct npu_core *k = &s->cores[core];
    for (;;) { /* to the next step that has commands for this queue */
        if (x->step >= s->n_steps)
            return;
        const uint32_t *from = s->p->steps[x->step % s->p->n_steps].segment->from +
                               in_instance * NPU_N_QUEUES + q % NPU_N_QUEUES;
        if (from[0] + x->next < from[1])
            break;
        x->step++;
        x->next = 0;
    }
    const struct npu_step *step = &s->p->steps[x->step % s->p->n_steps];
    const struct npu_cmd *c =
        &step->segment
             ->cmds[step->segment->from[in_instance * NPU_N_QUEUES + q % NPU_N_QUEUES] + x->next];
    struct npu_token last = {0}, done;
    uint64_t start;
    if (!may_start(s, q, core, c, &start, &last))
        return;
    if (start > x->ready) {
        x->ready = start;
        if (s->n_heap && before(s, s->heap[0], q)) { /* others come first */
            push(s, q, start);
            return;
        }
    }
    for (int i = 0; i < 3; i++)
        if (c->take[i] != NPU_NO_SEM) {
            struct npu_semaphore *sem = &k->sem[x->step % 2][c->take[i]];
            sem->head = (sem->head + 1) % NPU_TOKENS;
            sem->n--;
        }
    uint64_t next = perform(s, q, core, c, step, start, &done, &last);
    next = MAX(next, start + s->issue);
    for (int i = 0; i < 3; i++) { /* inputs are free when the last row has entered */
        struct npu_token t = done;
        if (c->kind == NPU_CMD_MATRIX && i < 2)
            t.at = next;
        give(s, k, x->step % 2, c->give[i], t);
    }
    s->out->counts.commands++;
    if (s->watch)
        s->watch(s->arg, core, (enum npu_queue)(q % NPU_N_QUEUES), c, step->op, start, done.at);
    x->next++;
    push(s, q, next);
}

/* ---- a run ---- */

static void init(struct npu_sim *s, unsigned instances, unsigned rounds)
{
    const struct npu_prog *p = s->p;
    s->n_cores = p->cores * instances;
    s->n_steps = p->n_steps * rounds;
    for (size_t i = 0; i < p->n_steps; i++)
        s->n_keys = MAX(s->n_keys, p->steps[i].segment->n_keys);
    s->cores = mem_alloc(s->n_cores * sizeof *s->cores);
    s->queues = mem_alloc((size_t)s->n_cores * NPU_N_QUEUES * sizeof *s->queues);
    s->heap = mem_alloc((size_t)s->n_cores * NPU_N_QUEUES * sizeof *s->heap);
    s->gates = mem_alloc(instances * s->n_steps * sizeof *s->gates);
    s->keys = mem_alloc(instances * 2 * s->n_keys * sizeof *s->keys);
    for (size_t i = 0; i < instances * s->n_steps; i++)
        s->gates[i].sleepers = NPU_NOBODY;
    static const enum npu_sem slots[] = {NPU_W_FREE, NPU_A_FREE, NPU_R_FREE,
                                         NPU_O_FREE, NPU_T_FREE, NPU_V_FREE};
    for (unsigned i = 0; i < s->n_cores; i++)
        for (int set = 0; set < 2; set++) {
            for (int x = 0; x < NPU_N_SEMS; x++)
                s->cores[i].sem[set][x].sleeper = NPU_NOBODY;
            for (size_t x = 0; x < N_ELEMS(slots); x++)
                s->cores[i].sem[set][slots[x]].n = NPU_SLOTS;
            s->cores[i].sem[set][NPU_HALF].n = 1;
        }
    npu_mem_init(&s->mem, s->chip);
    s->repeat = npu_repeat_find(p, s->n_steps);
    s->cycle = 1e6 / s->chip->v[NPU_CLOCK];
    s->link = s->cycle / s->chip->v[NPU_LINK];
    s->net = s->cycle / s->chip->v[NPU_NOC];
    s->issue = (uint64_t)(s->chip->v[NPU_ISSUE] * s->cycle);
    s->latency = (uint64_t)(s->chip->v[NPU_NOC_LATENCY] * s->cycle);
    for (uint32_t q = 0; q < s->n_cores * NPU_N_QUEUES; q++)
        push(s, q, 0);
}

static void report(struct npu_sim *s, unsigned instances, unsigned rounds)
{
    struct npu_timing_of *t = s->out;
    const struct npu_prog *p = s->p;
    uint64_t half = 0;
    for (unsigned i = 0; i < instances; i++) {
        const struct npu_gate *g = &s->gates[i * s->n_steps];
        CHECK(g[s->n_steps - 1].count == p->cores); /* else a queue sleeps for ever */
        t->ps = MAX(t->ps, g[s->n_steps - 1].at);
        if (rounds > 1)
            half = MAX(half, g[s->n_steps - p->n_steps - 1].at);
    }
    t->round_ps = t->ps - half;
    double all = (double)t->ps * s->n_cores, known = 0;
    for (int i = 0; i < NPU_N_CAUSES; i++)
        known += s->cause[i];
    s->cause[NPU_BY_IDLE] += all - known;
    for (int i = 0; i < NPU_N_CAUSES; i++)
        t->share[i] = s->cause[i] / all;
    t->counts.activations = 0;
    for (unsigned i = 0; i < s->mem.n_channels; i++)
        t->counts.activations += (double)s->mem.channel[i].n_act * s->mem.in_step;
    size_t from = s->n_steps - p->n_steps;
    uint64_t last = from ? s->gates[from - 1].at : 0;
    for (size_t i = 0; t->op_ps && i < p->n_steps; i++) {
        t->op_ps[p->steps[i].op] += s->gates[from + i].at - last;
        last = s->gates[from + i].at;
    }
}

void npu_time(struct npu_timing_of *t, const struct npu_prog *p, unsigned instances,
              unsigned rounds, npu_watch *watch, void *arg)
{
    struct npu_sim s = {.p = p, .chip = p->chip, .out = t, .watch = watch, .arg = arg};
    uint64_t *op_ps = t->op_ps;
    *t = (struct npu_timing_of){.op_ps = op_ps};
    if (op_ps)
        memset(op_ps, 0, p->work->n_ops * sizeof *op_ps);
    init(&s, instances, rounds);
    while (s.n_heap) {
        uint32_t q = pop(&s);
        go(&s, q);
    }
    report(&s, instances, rounds);
    mem_free(s.cores);
    mem_free(s.queues);
    mem_free(s.heap);
    mem_free(s.gates);
    mem_free(s.keys);
}
