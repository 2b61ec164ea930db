/* SPDX-License-Identifier: MIT
 * npu_time.c - commands in the order of time where that matters, and no further.
 *
 * What a core does by itself (products, vector passes, semaphores, ends of steps) takes its time
 * from its tokens alone, so it is done as soon as they are known.  What all share (links to other
 * memories, the network, channels) is taken in the order of time, by a list of those queues whose
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

/* ---- who waits for what all share: the earliest first, of those the lowest number ---- */

/* As numbers of 128 bits: without a jump, which nothing could foresee. */
static bool before(struct npu_wait a, struct npu_wait b)
{
    return ((unsigned __int128)a.at << 64 | a.q) < ((unsigned __int128)b.at << 64 | b.q);
}

/* It is brought to its place from the end, since it is mostly later than nearly all others: it goes
 * past 0.3 of 7 that wait on 8 cores, 4 of 53 on 64, and 21 of 127 on 132. */
static void push(struct npu_sim *s, struct npu_wait w)
{
    if (s->wait_to == s->wait_cap) { /* as many places as there are queues are free in front */
        s->wait_to -= s->wait_from;
        memmove(s->wait, s->wait + s->wait_from, s->wait_to * sizeof *s->wait);
        s->wait_from = 0;
    }
    size_t i = s->wait_to++;
    for (; i > s->wait_from && before(w, s->wait[i - 1]); i--)
        s->wait[i] = s->wait[i - 1];
    s->wait[i] = w;
}

static uint32_t pop(struct npu_sim *s)
{
    return (uint32_t)s->wait[s->wait_from++].q;
}

/* ---- gates ---- */

static void sleep_at(struct npu_gate *g, struct npu_queue_state *x, uint32_t q)
{
    x->sleeps_behind = g->sleepers;
    g->sleepers = q;
}

void npu_time_open(struct npu_sim *s, struct npu_gate *g)
{
    for (uint32_t q = g->sleepers; q != NPU_NOBODY; q = npu_queue(s, q)->sleeps_behind) {
        npu_queue(s, q)->ready = MAX(npu_queue(s, q)->ready, g->at);
        s->todo[s->n_todo++] = q;
    }
    g->sleepers = NPU_NOBODY;
}

/* A tile's gate counts for one step: what an earlier step left in it is forgotten. */
ALWAYS struct npu_gate *key_gate(const struct npu_sim *s, const struct npu_core *k, uint32_t step,
                                 uint32_t key)
{
    struct npu_gate *g = &k->keys[(step % 2 ? s->n_keys : 0) + key];
    if (g->stamp != step + 1)
        *g = (struct npu_gate){.stamp = step + 1, .sleepers = NPU_NOBODY};
    return g;
}

/* ---- moving ---- */

/* What a command leaves. */
struct done {
    uint64_t at, end, from; /* as a token's */
    enum npu_cause cause;
};

/* The next whole number. */
ALWAYS uint64_t up(double exact)
{
    uint64_t n = (uint64_t)exact;
    return n + ((double)n < exact);
}

static uint64_t move_far(struct npu_sim *s, const struct npu_cmd *c, const struct npu_step *step,
                         uint64_t *link_free, bool write, bool follows, uint64_t start,
                         enum npu_cause *cause)
{
    if (c->level == NPU_PEER) {
        *cause = NPU_BY_LINKS;
        return npu_link_move(s, c, start);
    }
    uint64_t link = MAX(start, *link_free) + up((double)c->bytes * s->link);
    *link_free = link;
    uint64_t end = link + s->latency;
    s->out->counts.shared_bytes += (double)c->bytes;
    if (!follows || !s->multicast) {
        uint64_t net = MAX(start, s->net_free) + up((double)c->bytes * s->net);
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

/* A transfer between a core and a level; *cause: what it waited for longest. */
ALWAYS uint64_t move(struct npu_sim *s, const struct npu_cmd *c, const struct npu_step *step,
                     uint64_t *link_free, bool write, bool follows, uint64_t start,
                     enum npu_cause *cause)
{
    *cause = NPU_BY_NETWORK;
    return c->level == NPU_HERE ? start
                                : move_far(s, c, step, link_free, write, follows, start, cause);
}

/* Of the time that the matrix unit stood still, what the work behind the last token took is its
 * cause; before that work had begun, it waited for the order of operations. */
static void blame(struct npu_sim *s, uint32_t step, uint64_t from, uint64_t to,
                  const struct npu_behind *t)
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

static void new_tile_time(struct npu_sim *s, struct npu_tile_time *t, const struct npu_cmd *c,
                          unsigned beside)
{
    enum npu_type type = s->p->work->type;
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
}

ALWAYS const struct npu_tile_time *tile_time(struct npu_sim *s, const struct npu_cmd *c,
                                             unsigned beside)
{
    struct npu_tile_time *t = &s->tile[(c->m + 3 * c->k + 5 * c->n) / 8 % NPU_TILE_TIMES];
    if (t->m != c->m || t->k != c->k || t->n != c->n || t->full_m != c->full_m ||
        t->full_n != c->full_n || t->beside != beside)
        new_tile_time(s, t, c, beside);
    return t;
}

/* Of the tokens that the matrix unit takes, what the one that came last stands for; NULL: none but
 * those that were there from the beginning. */
ALWAYS const struct npu_behind *last_of(const struct npu_tokens *t, const struct npu_cmd *c)
{
    const struct npu_behind *last = NULL;
    uint64_t latest = 0;
    for (int i = 0; i < 3; i++) {
        if (c->take[i] == NPU_NO_SEM)
            continue;
        unsigned slot = npu_slot(t, c->take[i], 0);
        uint64_t at = t->at[c->take[i]][slot];
        if (at > latest) {
            latest = at;
            last = &t->behind[npu_matrix_sem(c->take[i])][slot];
        }
    }
    return last;
}

/* When all that they stand for is there; 0: from the beginning. */
ALWAYS uint64_t end_of(const struct npu_tokens *t, const struct npu_cmd *c)
{
    uint64_t end = 0;
    for (int i = 0; i < 3; i++)
        if (c->take[i] != NPU_NO_SEM)
            end = MAX(end, t->behind[npu_matrix_sem(c->take[i])][npu_slot(t, c->take[i], 0)].end);
    return end;
}

ALWAYS uint64_t do_matrix(struct npu_sim *s, struct npu_core *k, const struct npu_cmd *c,
                          const struct npu_step *step, uint64_t start,
                          const struct npu_tokens *tokens, const struct npu_behind *last,
                          struct done *done)
{
    const struct npu_tile_time *t = tile_time(s, c, step->segment->beside);
    s->cause[NPU_BY_USEFUL] += t->useful;
    s->cause[NPU_BY_SUSTAINED] += t->slower;
    s->cause[NPU_BY_EDGES] += (double)t->busy - t->useful - t->slower;
    s->out->counts.macs += t->macs;
    s->out->counts.here_bytes += t->here_bytes;
    uint64_t end = start + t->busy;
    uint64_t there = c->pieces > 1 ? end_of(tokens, c) : 0;
    if (there && last) { /* the last piece comes late */
        uint64_t piece = there + t->busy / c->pieces;
        s->cause[npu_token_cause(last)] += (double)(MAX(piece, end) - end);
        end = MAX(piece, end);
    }
    k->worked_until = end;
    *done = (struct done){
        .at = end + (c->last ? t->tail : 0), .from = start, .cause = NPU_BY_EDGES};
    return end;
}

/* ---- one command ---- */

/* When the command's tokens let it start.  False: the queue sleeps. */
ALWAYS bool may_start(enum npu_queue queue, struct npu_core *k, struct npu_queue_state *x,
                      const struct npu_cmd *c, uint64_t *start)
{
    struct npu_tokens *t = x->tokens;
    unsigned missing = c->takes & ~(unsigned)t->has;
    if (missing) { /* the last one: the names stand in the order of events */
        t->wanted |= (uint16_t)(1u << (31 - __builtin_clz(missing)));
        return false;
    }
    *start = x->ready;
    for (int i = 0; i < npu_most_takes(queue); i++)
        if (c->take[i] != NPU_NO_SEM)
            *start = MAX(*start, t->at[c->take[i]][npu_slot(t, c->take[i], 0)]);
    if (queue == NPU_Q_LOAD && c->kind == NPU_CMD_AWAIT && x->step > 0) {
        struct npu_gate *g = &k->gates[x->step - 1];
        if (!g->open) {
            sleep_at(g, x, k->number * NPU_N_QUEUES + NPU_Q_LOAD);
            return false;
        }
        *start = MAX(*start, g->at);
    }
    return true;
}

/* False: others have their turn before, or the queue sleeps. */
ALWAYS bool has_turn(struct npu_sim *s, struct npu_core *k, struct npu_queue_state *x,
                     const struct npu_cmd *c, uint64_t start)
{
    if (c->level == NPU_HERE && !c->key)
        return true;
    uint32_t q = k->number * NPU_N_QUEUES + (uint32_t)(x - k->queue);
    struct npu_wait w = {.q = q, .at = start};
    if (s->n_todo || s->through || (npu_any_waits(s) && before(s->wait[s->wait_from], w))) {
        x->ready = start;
        push(s, w);
        return false;
    }
    if (c->kind == NPU_CMD_LOAD && c->key && !c->first) {
        struct npu_gate *g = key_gate(s, k, x->step, c->key);
        if (!g->open) {
            x->ready = start;
            sleep_at(g, x, q);
            return false;
        }
    }
    return true;
}

/* A core is through with a step. */
static void arrive(struct npu_sim *s, const struct npu_core *k, uint32_t step, uint32_t working,
                   uint64_t at)
{
    struct npu_gate *g = &k->gates[step];
    g->at = MAX(g->at, at);
    if (++g->through < working)
        return;
    g->open = true;
    if (k->number < s->p->cores)
        s->through = step + 1;
    if (s->known.use) /* end_step opens it */
        return;
    if (s->p->work->ops[npu_step_at(s->p, step)->op].kind == NPU_EXCHANGE)
        npu_link_through(s, step, g->at);
    npu_time_open(s, g);
}

/* Does the command; gives when its queue may go on. */
ALWAYS uint64_t perform(struct npu_sim *s, enum npu_cmd_kind kind, struct npu_core *k,
                        const struct npu_queue_state *x, const struct npu_cmd *c, uint64_t start,
                        struct done *done)
{
    const struct npu_step *step = x->in;
    const struct npu_behind *last = kind == NPU_CMD_MATRIX ? last_of(x->tokens, c) : NULL;
    uint32_t at = x->step;
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
            done->at = MAX(done->at, key_gate(s, k, at, c->key)->at);
        if (c->first && c->key) {
            struct npu_gate *g = key_gate(s, k, at, c->key);
            g->at = done->at;
            g->open = true;
            npu_time_open(s, g);
        }
        done->end = done->at;
        if (c->pieces > 1) /* the first piece */
            done->at -= (done->at - start) / c->pieces * (c->pieces - 1u);
        break;
    case NPU_CMD_MATRIX:
        blame(s, at, k->worked_until, start, last);
        next = do_matrix(s, k, c, step, start, x->tokens, last, done);
        break;
    case NPU_CMD_VECTOR:
        next = start + (uint64_t)((double)up(c->m / s->lanes) * s->cycle + 0.5);
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
            arrive(s, k, at, step->segment->working, k->stored_until);
        }
        break;
    case NPU_CMD_OPEN:
    case NPU_N_CMDS: break;
    }
    return next;
}

ALWAYS void take_tokens(struct npu_tokens *t, const struct npu_cmd *c)
{
    unsigned two = t->two;
    t->has &= (uint16_t)(two | ~(unsigned)c->takes);
    t->two = (uint16_t)(two & ~(unsigned)c->takes);
    t->head ^= c->takes;
}

ALWAYS void give_tokens(struct npu_sim *s, enum npu_queue queue, const struct npu_core *k,
                        struct npu_tokens *t, const struct npu_cmd *c, const struct done *done,
                        uint64_t next)
{
    unsigned has = t->has, head = t->head;
    CHECK(!(c->gives & t->two));
    for (int i = 0; i < npu_most_gives(queue); i++) { /* inputs are free with the last row's */
        unsigned sem = c->give[i], slot = ((has ^ head) >> sem) & 1u;
        if (sem == NPU_NO_SEM)
            continue;
        t->at[sem][slot] = queue == NPU_Q_MATRIX && i < 2   ? next
                           : queue == NPU_Q_STORE && i == 1 ? k->stored_until
                                                            : done->at;
        if (npu_matrix_sem(sem) < NPU_MATRIX_SEMS)
            t->behind[npu_matrix_sem(sem)][slot] = (struct npu_behind){
                done->end, npu_token_work(done->from, done->cause)};
    }
    t->two |= (uint16_t)(c->gives & has);
    t->has = (uint16_t)(has | c->gives);
    unsigned wakes = c->gives & t->wanted;
    t->wanted ^= (uint16_t)wakes;
    for (; wakes; wakes &= wakes - 1)
        s->todo[s->n_todo++] = k->number * NPU_N_QUEUES + s->taker[__builtin_ctz(wakes)];
}

/* Puts the queue before its first command from its step on. */
static void enter(struct npu_sim *s, struct npu_core *k, enum npu_queue queue)
{
    struct npu_queue_state *x = &k->queue[queue];
    for (; x->step < s->n_steps; x->step++) { /* to the next that has commands for it */
        size_t i = x->step < s->p->n_steps ? x->step : x->step % s->p->n_steps;
        x->in = &s->p->steps[i];
        const struct npu_segment *g = x->in->segment;
        if (!(g->queues >> queue & 1))
            continue;
        x->cmd = g->cmds + g->from[k->first_queue + queue];
        x->behind = g->cmds + g->from[k->first_queue + queue + 1];
        if (x->cmd != x->behind) {
            __builtin_prefetch(x->cmd);
            x->tokens = &k->half[x->step % 2];
            return;
        }
    }
    x->cmd = NULL;
}

/* All that the queue can do now.  Which queue it is, is known where this is compiled: of the kinds
 * of commands, its own alone are looked for. */
ALWAYS void go_as(struct npu_sim *s, struct npu_core *k, enum npu_queue queue)
{
    struct npu_queue_state *x = &k->queue[queue];
    bool shares = queue == NPU_Q_LOAD || queue == NPU_Q_STORE;
    for (const struct npu_cmd *c; (c = x->cmd);) {
        struct npu_tokens *t = x->tokens;
        struct done done;
        uint64_t start;
        enum npu_cmd_kind kind = queue == NPU_Q_MATRIX   ? NPU_CMD_MATRIX
                                 : queue == NPU_Q_VECTOR ? NPU_CMD_VECTOR
                                                         : (enum npu_cmd_kind)c->kind;
        __builtin_prefetch(c + 1);
        if (!may_start(queue, k, x, c, &start) || (shares && !has_turn(s, k, x, c, start)))
            return;
        uint64_t next = perform(s, kind, k, x, c, start, &done);
        next = MAX(next, start + s->issue);
        take_tokens(t, c);
        give_tokens(s, queue, k, t, c, &done, next);
        if (s->watch)
            s->watch(s->arg, k->number, queue, c, x->in->op, start, done.at);
        x->ready = next;
        x->cmd = ++c;
        if (c == x->behind) {
            x->step++;
            enter(s, k, queue);
        }
        if (kind == NPU_CMD_STORE && s->through) {
            s->todo[s->n_todo++] = k->number * NPU_N_QUEUES + queue;
            return;
        }
    }
}

ALWAYS void go(struct npu_sim *s, uint32_t q)
{
    struct npu_core *k = &s->cores[q / NPU_N_QUEUES];
    switch ((enum npu_queue)(q % NPU_N_QUEUES)) {
    case NPU_Q_LOAD: go_as(s, k, NPU_Q_LOAD); break;
    case NPU_Q_MATRIX: go_as(s, k, NPU_Q_MATRIX); break;
    case NPU_Q_VECTOR: go_as(s, k, NPU_Q_VECTOR); break;
    case NPU_Q_STORE: go_as(s, k, NPU_Q_STORE); break;
    case NPU_N_QUEUES: break;
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
    const unsigned slots = 1u << NPU_W_FREE | 1u << NPU_A_FREE | 1u << NPU_R_FREE |
                           1u << NPU_O_FREE | 1u << NPU_T_FREE | 1u << NPU_V_FREE;
    for (unsigned i = 0; i < s->n_cores; i++)
        for (int set = 0; set < 2; set++)
            s->cores[i].half[set] = (struct npu_tokens){.has = (uint16_t)(slots | 1u << NPU_HALF),
                                                        .two = (uint16_t)slots};
    s->wait_from = s->wait_to = s->n_todo = 0;
    for (uint32_t q = s->n_cores * NPU_N_QUEUES; q-- > 0;) {
        npu_queue(s, q)->step = step;
        npu_queue(s, q)->ready = at;
        enter(s, &s->cores[q / NPU_N_QUEUES], (enum npu_queue)(q % NPU_N_QUEUES));
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
    s->wait_cap = 2 * n_queues;
    s->wait = arena_array(a, s->wait_cap, sizeof *s->wait);
    s->todo = arena_array(a, n_queues, sizeof *s->todo);
    s->gates = arena_array(a, instances * s->n_steps, sizeof *s->gates);
    s->keys = mem_alloc(instances * 2 * s->n_keys * sizeof *s->keys); /* few are ever touched */
    for (size_t i = 0; i < instances * s->n_steps; i++)
        s->gates[i].sleepers = NPU_NOBODY;
    for (unsigned i = 0; i < s->n_cores; i++) {
        s->cores[i].number = i;
        s->cores[i].first_queue = i % p->cores * NPU_N_QUEUES;
        s->cores[i].gates = &s->gates[i / p->cores * s->n_steps];
        s->cores[i].keys = &s->keys[(size_t)(i / p->cores) * 2 * s->n_keys];
    }
    for (unsigned i = 0; i < NPU_N_SEMS; i++)
        s->taker[i] = (uint8_t)npu_taker_of((enum npu_sem)i);
    npu_mem_init(s->mem, s->chip);
    s->launch = floor(v[NPU_OP_US] * 1000) * 1000; /* as AWAIT has it: whole nanoseconds */
    s->known.use = s->launch > 0 && instances == 1;
    if (!s->known.use)
        s->repeat = npu_repeat_find(p, s->n_steps);
    s->cycle = 1e6 / v[NPU_CLOCK];
    s->link = s->cycle / v[NPU_LINK];
    s->net = s->cycle / v[NPU_NOC];
    s->issue = (uint64_t)(v[NPU_ISSUE] * s->cycle);
    s->latency = (uint64_t)(v[NPU_NOC_LATENCY] * s->cycle);
    s->multicast = v[NPU_MULTICAST] > 0;
    s->lanes = v[NPU_VEC_LANES];
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
        else if (s->n_todo || npu_any_waits(s))
            go(s, s->n_todo ? s->todo[--s->n_todo] : pop(s));
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
