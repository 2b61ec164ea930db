/* SPDX-License-Identifier: MIT
 * npu_time.c - commands in the order of time where that matters, and no further.
 *
 * What a core does by itself (products, vector passes, semaphores, ends of steps) takes its time
 * from its tokens alone, so it is done as soon as they are known.  What all share (links to other
 * memories, the network, channels) is taken in the order of time, by a heap of those queues whose
 * next command needs it.  A queue that cannot know its time yet sleeps where what it waits for will
 * come: a semaphore, a step of all cores, a tile that another core brings. */
#include "npu/npu_time.h"

#include "base/num.h"
#include "npu/npu_array.h"
#include "npu/npu_int.h"
#include "npu/npu_time_int.h"

#include <math.h>
#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))

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

/* Without a jump, which nothing could foresee. */
static bool before(struct npu_wait a, struct npu_wait b)
{
    return (a.at < b.at) | ((a.at == b.at) & (a.q < b.q));
}

/* Puts w where it belongs between the empty place i and the top. */
static void rise(struct npu_wait *heap, size_t i, struct npu_wait w)
{
    for (; i > 0 && before(w, heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = w;
}

static void push(struct npu_sim *s, struct npu_wait w)
{
    rise(s->heap, s->n_heap++, w);
}

/* The last one takes the first one's place: it mostly belongs far below, so the place goes all the
 * way down first. */
static uint32_t pop(struct npu_sim *s)
{
    struct npu_wait *heap = s->heap;
    uint32_t first = heap[0].q;
    size_t n = --s->n_heap, i = 0, child;
    for (; (child = 2 * i + 1) + 1 < n; i = child) {
        child += before(heap[child + 1], heap[child]);
        heap[i] = heap[child];
    }
    if (child < n) {
        heap[i] = heap[child];
        i = child;
    }
    rise(heap, i, heap[n]);
    return first;
}

/* ---- semaphores and gates ---- */

/* What a command leaves. */
struct done {
    uint64_t at, end, from; /* as a token's */
    enum npu_cause cause;
};

ALWAYS void give(struct npu_sim *s, struct npu_core *c, unsigned set, unsigned sem,
                 const struct done *d, uint64_t at)
{
    struct npu_semaphore *x = &c->sem[set][sem];
    CHECK(x->n < NPU_TOKENS);
    struct npu_token *t = &x->token[(x->head + x->n++) % NPU_TOKENS];
    t->at = at;
    t->end = d->end;
    t->work = npu_token_work(d->from, d->cause);
    c->has[set] |= (uint16_t)(1u << sem);
    if (x->sleeper != NPU_NOBODY) {
        s->todo[s->n_todo++] = x->sleeper;
        x->sleeper = NPU_NOBODY;
    }
}

static void sleep_at(struct npu_sim *s, struct npu_gate *g, uint32_t q)
{
    s->queues[q].sleeps_behind = g->sleepers;
    g->sleepers = q;
}

void npu_time_open(struct npu_sim *s, struct npu_gate *g)
{
    for (uint32_t q = g->sleepers; q != NPU_NOBODY; q = s->queues[q].sleeps_behind) {
        s->queues[q].ready = MAX(s->queues[q].ready, g->at);
        s->todo[s->n_todo++] = q;
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
    double exact = (double)bytes * ps_a_byte;
    uint64_t ps = (uint64_t)exact;
    return ps + ((double)ps < exact);
}

static bool moves(const struct npu_cmd *c)
{
    return c->level != NPU_HERE && c->bytes > 0;
}

/* A transfer between a core and a level; *cause: what it waited for longest. */
static uint64_t move(struct npu_sim *s, const struct npu_cmd *c, const struct npu_step *step,
                     uint64_t *link_free, bool write, bool follows, uint64_t start,
                     enum npu_cause *cause)
{
    *cause = NPU_BY_NETWORK;
    if (!moves(c))
        return start;
    if (c->level == NPU_PEER) {
        *cause = NPU_BY_LINKS;
        return npu_link_move(s, c, start);
    }
    uint64_t link = MAX(start, *link_free) + rate_ps(c->bytes, s->link);
    *link_free = link;
    uint64_t end = link + s->latency;
    s->out->counts.shared_bytes += (double)c->bytes;
    if (!follows || !s->multicast) {
        uint64_t net = MAX(start, s->net_free) + rate_ps(c->bytes, s->net);
        s->net_free = net;
        end = MAX(end, net + s->latency);
    }
    if (c->level == NPU_MEMORY) {
        uint64_t mem = npu_mem_move(s->mem, step->base[c->base] + c->addr, c->bytes, write, start);
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
static void blame(struct npu_sim *s, uint32_t step, uint64_t from, uint64_t to,
                  const struct npu_token *t)
{
    if (to <= from)
        return;
    uint64_t split = t ? MIN(MAX(npu_token_from(t), from), to) : to;
    bool launched = !s->known.use || from == s->known.sums.at; /* not between a step's tiles */
    double launch = launched ? MIN(s->launch, (double)(split - from)) : 0;
    s->cause[NPU_BY_LAUNCH] += launch;
    s->cause[npu_step_waits(s->p, step)] += (double)(split - from) - launch;
    if (t)
        s->cause[npu_token_cause(t)] += (double)(to - split);
}

static const struct npu_tile_time *tile_time(struct npu_sim *s, const struct npu_cmd *c,
                                             unsigned beside)
{
    enum npu_type type = s->p->work->type;
    struct npu_tile_time *t = &s->tile[(c->m + 3 * c->k + 5 * c->n) / 8 % NPU_TILE_TIMES];
    if (t->m == c->m && t->k == c->k && t->n == c->n && t->full_m == c->full_m &&
        t->full_n == c->full_n && t->beside == beside)
        return t;
    struct npu_cycles x = npu_tile_cycles(s->chip, type, MAX(c->m, c->full_m), c->k,
                                          MAX(c->n, c->full_n), beside);
    double m = c->m, k = c->k, n = c->n;
    *t = (struct npu_tile_time){.m = c->m,
                                .k = c->k,
                                .n = c->n,
                                .full_m = c->full_m,
                                .full_n = c->full_n,
                                .beside = beside};
    t->busy = (uint64_t)((double)x.busy * s->cycle + 0.5);
    t->tail = (uint64_t)((double)x.tail * s->cycle + 0.5);
    t->macs = m * k * n;
    t->useful = MIN(t->macs / s->peak * s->cycle, (double)t->busy);
    t->slower = MIN(t->useful / s->chip->v[NPU_SUSTAINED] - t->useful, (double)t->busy - t->useful);
    t->here_bytes = (m * k + k * n) * s->p->work->act_bytes + m * n * 4;
    return t;
}

/* The tokens that a command takes: the one that came last, and when all that they stand for is
 * there. */
struct taken {
    const struct npu_token *last; /* NULL: none but those that were there from the beginning */
    uint64_t end;
};

ALWAYS uint64_t do_matrix(struct npu_sim *s, struct npu_core *k, const struct npu_cmd *c,
                          const struct npu_step *step, uint64_t start, const struct taken *taken,
                          struct done *done)
{
    const struct npu_tile_time *t = tile_time(s, c, step->segment->beside);
    s->cause[NPU_BY_USEFUL] += t->useful;
    s->cause[NPU_BY_SUSTAINED] += t->slower;
    s->cause[NPU_BY_EDGES] += (double)t->busy - t->useful - t->slower;
    s->out->counts.macs += t->macs;
    s->out->counts.here_bytes += t->here_bytes;
    uint64_t end = start + t->busy;
    if (c->pieces > 1 && taken->end) { /* the last piece comes late */
        uint64_t piece = taken->end + t->busy / c->pieces;
        s->cause[npu_token_cause(taken->last)] += (double)(MAX(piece, end) - end);
        end = MAX(piece, end);
    }
    k->worked_until = end;
    *done = (struct done){
        .at = end + (c->last ? t->tail : 0), .from = start, .cause = NPU_BY_EDGES};
    return end;
}

/* ---- one command ---- */

/* When the command's tokens let it start.  False: the queue sleeps. */
ALWAYS bool may_start(struct npu_sim *s, enum npu_cmd_kind kind, uint32_t q,
                      const struct npu_cmd *c, uint64_t *start, struct taken *taken)
{
    struct npu_queue_state *x = &s->queues[q];
    struct npu_core *k = &s->cores[q / NPU_N_QUEUES];
    struct npu_semaphore *sem = k->sem[x->step % 2];
    unsigned needs = 1u << c->take[0] | 1u << c->take[1] | 1u << c->take[2];
    unsigned missing = needs & ~(unsigned)k->has[x->step % 2];
    if (missing) {
        sem[31 - __builtin_clz(missing)].sleeper = q; /* the names stand in the order of events */
        return false;
    }
    *start = x->ready;
    for (int i = 0; i < 3; i++) {
        if (c->take[i] == NPU_NO_SEM)
            continue;
        const struct npu_semaphore *of = &sem[c->take[i]];
        const struct npu_token *t = &of->token[of->head];
        taken->end = MAX(taken->end, t->end);
        if (t->at > (taken->last ? taken->last->at : 0))
            taken->last = t;
        *start = MAX(*start, t->at);
    }
    if (kind == NPU_CMD_AWAIT && x->step > 0) {
        struct npu_gate *g = step_gate(s, q / NPU_N_QUEUES, x->step - 1);
        if (!g->open) {
            sleep_at(s, g, q);
            return false;
        }
        *start = MAX(*start, g->at);
    }
    return true;
}

/* False: others have their turn before, or the queue sleeps. */
ALWAYS bool has_turn(struct npu_sim *s, uint32_t q, const struct npu_cmd *c, uint64_t start)
{
    struct npu_wait w = {start, q};
    if (!moves(c) && !c->key)
        return true;
    if (s->n_todo || s->through || (s->n_heap && before(s->heap[0], w))) {
        s->queues[q].ready = start;
        push(s, w);
        return false;
    }
    if (c->kind == NPU_CMD_LOAD && c->key && !c->first) {
        struct npu_gate *g = key_gate(s, q / NPU_N_QUEUES, s->queues[q].step, c->key);
        if (!g->open) {
            s->queues[q].ready = start;
            sleep_at(s, g, q);
            return false;
        }
    }
    return true;
}

/* A core is through with a step. */
static void arrive(struct npu_sim *s, unsigned core, uint32_t step, uint32_t working, uint64_t at)
{
    struct npu_gate *g = step_gate(s, core, step);
    g->at = MAX(g->at, at);
    if (++g->through < working)
        return;
    g->open = true;
    if (core < s->p->cores)
        s->through = step + 1;
    const struct npu_prog *p = s->p;
    if (!s->known.use && p->work->ops[p->steps[step % p->n_steps].op].kind == NPU_EXCHANGE)
        npu_link_through(s, step, g->at);
    if (!s->known.use)
        npu_time_open(s, g);
}

/* Does the command; gives when its queue may go on. */
ALWAYS uint64_t perform(struct npu_sim *s, enum npu_cmd_kind kind, uint32_t q, unsigned core,
                        const struct npu_cmd *c, const struct npu_step *step, uint64_t start,
                        struct done *done, const struct taken *taken)
{
    struct npu_core *k = &s->cores[core];
    uint32_t at = s->queues[q].step;
    bool follows = c->key && !c->first;
    enum npu_cause cause = NPU_BY_ORDER;
    uint64_t next = start;
    *done = (struct done){.at = start, .from = start, .cause = NPU_BY_ORDER};
    switch (kind) {
    case NPU_CMD_AWAIT:
        if (at > 0)
            next = done->at = start + c->bytes * 1000;
        break;
    case NPU_CMD_LOAD:
        done->at = move(s, c, step, &k->in_free, false, follows, start, &cause);
        done->cause = cause;
        if (follows)
            done->at = MAX(done->at, key_gate(s, core, at, c->key)->at);
        if (c->first && c->key) {
            struct npu_gate *g = key_gate(s, core, at, c->key);
            g->at = done->at;
            g->open = true;
            npu_time_open(s, g);
        }
        done->end = done->at;
        if (c->pieces > 1) /* the first piece */
            done->at -= (done->at - start) / c->pieces * (c->pieces - 1u);
        break;
    case NPU_CMD_MATRIX:
        blame(s, at, k->worked_until, start, taken->last);
        next = do_matrix(s, k, c, step, start, taken, done);
        break;
    case NPU_CMD_VECTOR:
        next = start + (uint64_t)(ceil(c->m / s->chip->v[NPU_VEC_LANES]) * s->cycle + 0.5);
        *done = (struct done){.at = next, .from = start, .cause = NPU_BY_VECTOR_UNIT};
        s->out->counts.vector_passes += c->m;
        break;
    case NPU_CMD_STORE:
        done->at = move(s, c, step, &k->out_free, true, false, start, &cause);
        done->cause = cause;
        k->stored_until = MAX(k->stored_until, done->at);
        if (c->last) { /* to say so is a command's time more */
            next = start + 2 * s->issue;
            k->stored_until = MAX(k->stored_until, start + s->issue);
            arrive(s, core, at, step->segment->working, k->stored_until);
        }
        break;
    case NPU_CMD_OPEN:
    case NPU_N_CMDS: break;
    }
    return next;
}

ALWAYS void take_tokens(struct npu_core *k, unsigned set, const struct npu_cmd *c)
{
    for (int i = 0; i < 3; i++)
        if (c->take[i] != NPU_NO_SEM) {
            struct npu_semaphore *sem = &k->sem[set][c->take[i]];
            sem->head = (sem->head + 1) % NPU_TOKENS;
            if (--sem->n == 0)
                k->has[set] &= (uint16_t) ~(1u << c->take[i]);
        }
}

ALWAYS void give_tokens(struct npu_sim *s, enum npu_cmd_kind kind, struct npu_core *k, unsigned set,
                        const struct npu_cmd *c, const struct done *done, uint64_t next)
{
    for (int i = 0; i < 3; i++) { /* inputs are free when the last row has entered */
        uint64_t at = kind == NPU_CMD_MATRIX && i < 2   ? next
                      : kind == NPU_CMD_STORE && i == 1 ? k->stored_until
                                                        : done->at;
        if (c->give[i] != NPU_NO_SEM)
            give(s, k, set, c->give[i], done, at);
    }
}

/* All that the queue can do now.  Which queue it is, is known where this is compiled: of the kinds
 * of commands, its own alone are looked for. */
ALWAYS void go_as(struct npu_sim *s, uint32_t q, enum npu_queue queue)
{
    struct npu_queue_state *x = &s->queues[q];
    unsigned core = q / NPU_N_QUEUES;
    struct npu_core *k = &s->cores[core];
    bool shares = queue == NPU_Q_LOAD || queue == NPU_Q_STORE;
    while (x->step < s->n_steps) {
        const struct npu_cmd *c = x->cmd;
        struct taken taken = {0};
        struct done done;
        uint64_t start;
        unsigned set = x->step % 2;
        enum npu_cmd_kind kind = queue == NPU_Q_MATRIX   ? NPU_CMD_MATRIX
                                 : queue == NPU_Q_VECTOR ? NPU_CMD_VECTOR
                                                         : (enum npu_cmd_kind)c->kind;
        __builtin_prefetch(c + 1);
        if (!may_start(s, kind, q, c, &start, &taken) || (shares && !has_turn(s, q, c, start)))
            return;
        take_tokens(k, set, c);
        uint64_t next = perform(s, kind, q, core, c, x->in, start, &done, &taken);
        next = MAX(next, start + s->issue);
        give_tokens(s, kind, k, set, c, &done, next);
        if (s->watch)
            s->watch(s->arg, core, queue, c, x->in->op, start, done.at);
        x->ready = next;
        if (++x->cmd == x->behind) {
            x->step++;
            npu_time_enter(s, q);
        }
        if (kind == NPU_CMD_STORE && s->through) {
            s->todo[s->n_todo++] = q;
            return;
        }
    }
}

static void go_load(struct npu_sim *s, uint32_t q)
{
    go_as(s, q, NPU_Q_LOAD);
}

static void go_matrix(struct npu_sim *s, uint32_t q)
{
    go_as(s, q, NPU_Q_MATRIX);
}

static void go_vector(struct npu_sim *s, uint32_t q)
{
    go_as(s, q, NPU_Q_VECTOR);
}

static void go_store(struct npu_sim *s, uint32_t q)
{
    go_as(s, q, NPU_Q_STORE);
}

static void go(struct npu_sim *s, uint32_t q)
{
    switch ((enum npu_queue)(q % NPU_N_QUEUES)) {
    case NPU_Q_LOAD: go_load(s, q); break;
    case NPU_Q_MATRIX: go_matrix(s, q); break;
    case NPU_Q_VECTOR: go_vector(s, q); break;
    case NPU_Q_STORE: go_store(s, q); break;
    case NPU_N_QUEUES: break;
    }
}

void npu_time_enter(struct npu_sim *s, uint32_t q)
{
    struct npu_queue_state *x = &s->queues[q];
    unsigned in_instance = q / NPU_N_QUEUES % s->p->cores;
    unsigned at = in_instance * NPU_N_QUEUES + q % NPU_N_QUEUES;
    for (; x->step < s->n_steps; x->step++) { /* to the next that has commands for it */
        size_t i = x->step < s->p->n_steps ? x->step : x->step % s->p->n_steps;
        x->in = &s->p->steps[i];
        const struct npu_segment *g = x->in->segment;
        if (!(g->queues >> q % NPU_N_QUEUES & 1))
            continue;
        x->cmd = g->cmds + g->from[at];
        x->behind = g->cmds + g->from[at + 1];
        if (x->cmd != x->behind) {
            __builtin_prefetch(x->cmd);
            return;
        }
    }
}

/* ---- what is counted ---- */

struct npu_sums npu_sums_now(const struct npu_sim *s, uint64_t at)
{
    struct npu_sums x = {.at = at, .counts = s->out->counts, .n_act = npu_mem_activations(s->mem)};
    memcpy(x.cause, s->cause, sizeof x.cause);
    return x;
}

void npu_sums_add(struct npu_sim *s, const struct npu_sums *from, const struct npu_sums *to,
                  double times)
{
    struct npu_counts *c = &s->out->counts;
    const struct npu_counts *a = &from->counts, *b = &to->counts;
    for (int i = 0; i < NPU_N_CAUSES; i++)
        s->cause[i] += (to->cause[i] - from->cause[i]) * times;
    c->macs += (b->macs - a->macs) * times;
    c->vector_passes += (b->vector_passes - a->vector_passes) * times;
    c->shared_bytes += (b->shared_bytes - a->shared_bytes) * times;
    c->here_bytes += (b->here_bytes - a->here_bytes) * times;
    c->dram_bytes += (b->dram_bytes - a->dram_bytes) * times;
    c->link_bytes += (b->link_bytes - a->link_bytes) * times;
    s->mem->n_act += (to->n_act - from->n_act) * (uint64_t)times;
}

/* ---- a run ---- */

void npu_time_begin(struct npu_sim *s, uint32_t step, uint64_t at)
{
    static const enum npu_sem slots[] = {NPU_W_FREE, NPU_A_FREE, NPU_R_FREE,
                                         NPU_O_FREE, NPU_T_FREE, NPU_V_FREE};
    for (unsigned i = 0; i < s->n_cores; i++)
        for (int set = 0; set < 2; set++) {
            struct npu_core *c = &s->cores[i];
            for (int x = 0; x < NPU_N_SEMS; x++)
                c->sem[set][x] = (struct npu_semaphore){.sleeper = NPU_NOBODY};
            for (size_t x = 0; x < N_ELEMS(slots); x++)
                c->sem[set][slots[x]].n = NPU_SLOTS;
            c->sem[set][NPU_HALF].n = 1;
            c->has[set] = 0;
            for (int x = 0; x < NPU_N_SEMS; x++)
                if (c->sem[set][x].n || x == NPU_NO_SEM)
                    c->has[set] |= (uint16_t)(1u << x);
        }
    s->n_heap = s->n_todo = 0;
    for (uint32_t q = s->n_cores * NPU_N_QUEUES; q-- > 0;) {
        s->queues[q].step = step;
        s->queues[q].ready = at;
        npu_time_enter(s, q);
        s->todo[s->n_todo++] = q;
    }
}

static void init(struct npu_sim *s, unsigned instances, unsigned rounds)
{
    const struct npu_prog *p = s->p;
    const double *v = s->chip->v;
    s->n_cores = p->cores * instances;
    s->n_steps = p->n_steps * rounds;
    for (size_t i = 0; i < p->n_steps; i++)
        s->n_keys = MAX(s->n_keys, p->steps[i].segment->n_keys);
    size_t n_queues = (size_t)s->n_cores * NPU_N_QUEUES;
    struct arena *a = &s->arena;
    s->cores = arena_array(a, s->n_cores, sizeof *s->cores);
    s->queues = arena_array(a, n_queues, sizeof *s->queues);
    s->heap = arena_array(a, n_queues, sizeof *s->heap);
    s->todo = arena_array(a, n_queues, sizeof *s->todo);
    s->gates = arena_array(a, instances * s->n_steps, sizeof *s->gates);
    s->keys = mem_alloc(instances * 2 * s->n_keys * sizeof *s->keys); /* few are ever touched */
    for (size_t i = 0; i < instances * s->n_steps; i++)
        s->gates[i].sleepers = NPU_NOBODY;
    npu_mem_init(s->mem, s->chip);
    s->launch = v[NPU_OP_US] * 1e6;
    s->known.use = s->launch > 0 && instances == 1;
    if (!s->known.use)
        s->repeat = npu_repeat_find(p, s->n_steps);
    s->cycle = 1e6 / v[NPU_CLOCK];
    s->link = s->cycle / v[NPU_LINK];
    s->net = s->cycle / v[NPU_NOC];
    s->issue = (uint64_t)(v[NPU_ISSUE] * s->cycle);
    s->latency = (uint64_t)(v[NPU_NOC_LATENCY] * s->cycle);
    s->multicast = v[NPU_MULTICAST] > 0;
    s->peak = v[NPU_MX_ROWS] * v[NPU_MX_COLS] * v[NPU_MX_DEPTH] * v[NPU_MX_COUNT] *
              npu_chip_rate(s->chip, p->work->type);
    npu_time_begin(s, 0, 0);
}

/* All have ended what they could: whoever waits for a step's end may find that it is known. */
static void end_step(struct npu_sim *s)
{
    uint32_t step = s->through - 1;
    struct npu_gate *g = &s->gates[step];
    s->through = 0;
    if (!s->known.use)
        npu_repeat_look(s, step, g->at);
    else if (!npu_known_look(s, step, g->at))
        npu_time_open(s, g);
}

static void run(struct npu_sim *s)
{
    for (;;) {
        if (s->through && (s->known.use || !s->n_todo))
            end_step(s);
        else if (s->n_todo)
            go(s, s->todo[--s->n_todo]);
        else if (s->n_heap)
            go(s, pop(s));
        else
            return;
    }
}

static void report(struct npu_sim *s, unsigned instances, unsigned rounds)
{
    struct npu_timing_of *t = s->out;
    const struct npu_prog *p = s->p;
    uint64_t half = 0;
    for (unsigned i = 0; i < instances; i++) {
        const struct npu_gate *g = &s->gates[i * s->n_steps];
        CHECK(g[s->n_steps - 1].open); /* else a queue sleeps for ever */
        t->ps = MAX(t->ps, g[s->n_steps - 1].at);
        if (rounds > 1)
            half = MAX(half, g[s->n_steps - p->n_steps - 1].at);
    }
    t->round_ps = t->ps - half;
    for (size_t i = 0; i < p->n_steps; i++)
        t->counts.commands += (uint64_t)p->steps[i].segment->n_cmds * instances * rounds;
    double all = (double)t->ps * s->n_cores, known = 0;
    for (int i = 0; i < NPU_N_CAUSES; i++)
        known += s->cause[i];
    s->cause[NPU_BY_IDLE] += all - known;
    for (int i = 0; i < NPU_N_CAUSES; i++)
        t->share[i] = s->cause[i] / all;
    t->counts.activations = (double)npu_mem_activations(s->mem) * s->mem->in_step;
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
    struct npu_mem mem; /* beside it: of its channels few are ever touched */
    struct npu_sim s = {.p = p, .chip = p->chip, .out = t, .mem = &mem, .watch = watch, .arg = arg};
    uint64_t *op_ps = t->op_ps;
    *t = (struct npu_timing_of){.op_ps = op_ps};
    if (op_ps)
        memset(op_ps, 0, p->work->n_ops * sizeof *op_ps);
    arena_init(&s.arena);
    init(&s, instances, rounds);
    run(&s);
    report(&s, instances, rounds);
    npu_repeat_done(&s.repeat);
    npu_known_done(&s.known);
    mem_free(s.keys);
    arena_done(&s.arena);
}
