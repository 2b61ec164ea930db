/* SPDX-License-Identifier: MIT
 * npu_prove.c - proves of a program what its author must not get wrong.
 *
 * The queues of a core are ordered by their tokens alone.  Each command gets a vector clock: of
 * each queue the last command that must be through before it.  It is joined from its queue's last
 * command and from the tokens that it takes, as each was when it was given.  Two commands that
 * touch the same bytes of a core's memory, one of them writing, must be ordered by their clocks;
 * else some order that the program allows is wrong, whatever the timing is.  A segment is walked
 * three times in a row, so that its buffers meet those of the step before (the other half) and of
 * the one before that (its own); and since other steps may come between and behind, nothing of a
 * step may be left to do when its core gives its half back.  Across cores there are only gates:
 * what waits for ever there stands still here too. */
#include "npu/npu_prog.h"

#include "base/num.h"

#include <string.h>

#define WALKS      3
#define RANGES_MAX 64
#define TOKENS     NPU_TOKENS

struct clock {
    uint32_t of[NPU_N_QUEUES];
};

struct token {
    struct clock clock;
    uint32_t sram, size; /* the buffer that was filled */
};

struct sem {
    struct token token[TOKENS];
    uint32_t taken[TOKENS]; /* the taker's command that took the last one there */
    uint32_t head, n;
};

struct range {
    uint32_t from, size;
    uint32_t write_at, write_queue; /* the last write: its number in its queue; 0: none */
    uint32_t read_at[NPU_N_QUEUES];
};

struct walk_core {
    struct sem sem[2][NPU_N_SEMS];
    struct clock clock[NPU_N_QUEUES];
    uint32_t done[NPU_N_QUEUES]; /* commands, numbered from 1 */
    uint32_t step[NPU_N_QUEUES], next[NPU_N_QUEUES];
    struct clock gave_half[WALKS]; /* a step's last store */
    struct clock ended[WALKS];     /* all commands of a step */
    struct range ranges[RANGES_MAX];
    size_t n_ranges;
    uint32_t in_sram[2], in_size[2]; /* what the matrix unit reads: inputs, weights */
    bool loads_weights;
};

struct walk {
    const struct npu_prog *p;
    const struct npu_segment *s;
    uint32_t op;
    struct walk_core *cores;
    uint32_t through[WALKS]; /* cores */
    bool *keys;              /* [WALKS][n_keys] */
    uint64_t half;
    struct errinfo *e;
};

static const char *const queue_names[] = {"load", "matrix", "vector", "store"};

static enum err fault(const struct walk *w, unsigned core, unsigned queue, const char *what)
{
    const struct walk_core *c = &w->cores[core];
    return err_set(w->e, ERR_CORRUPT, "operation %u (%s), core %u, %s queue, command %u: %s", w->op,
                   w->p->work->ops[w->op].name, core, queue_names[queue], c->next[queue], what);
}

static bool overlap(const struct range *r, uint32_t from, uint32_t size)
{
    return r->from < from + size && from < r->from + r->size;
}

/* An access of the command that queue q does now; false: it is not ordered after another. */
static bool touch(struct walk_core *c, unsigned q, uint32_t from, uint32_t size, bool write)
{
    const struct clock *now = &c->clock[q];
    struct range *own = NULL;
    if (size == 0)
        return true;
    for (size_t i = 0; i < c->n_ranges; i++) {
        struct range *r = &c->ranges[i];
        if (!overlap(r, from, size))
            continue;
        if (r->write_at && r->write_queue != q && now->of[r->write_queue] < r->write_at)
            return false;
        for (unsigned k = 0; write && k < NPU_N_QUEUES; k++)
            if (k != q && now->of[k] < r->read_at[k])
                return false;
        if (r->from == from && r->size == size)
            own = r;
    }
    if (!own && c->n_ranges < RANGES_MAX) {
        own = &c->ranges[c->n_ranges++];
        *own = (struct range){.from = from, .size = size};
    }
    if (!own)
        return false;
    if (write) {
        own->write_at = c->done[q];
        own->write_queue = q;
        memset(own->read_at, 0, sizeof own->read_at);
    } else {
        own->read_at[q] = c->done[q];
    }
    return true;
}

static bool ready(const struct walk *w, unsigned core, unsigned q, const struct npu_cmd *c)
{
    const struct walk_core *k = &w->cores[core];
    uint32_t step = k->step[q];
    for (int i = 0; i < 3; i++)
        if (c->take[i] != NPU_NO_SEM && !k->sem[step % 2][c->take[i]].n)
            return false;
    if (c->kind == NPU_CMD_AWAIT && step > 0 && w->through[step - 1] < w->s->working)
        return false;
    return !(c->kind == NPU_CMD_LOAD && c->key && !c->first &&
             !w->keys[step * w->s->n_keys + c->key]);
}

static void take(struct walk_core *k, unsigned q, const struct npu_cmd *c, uint32_t base)
{
    for (int i = 0; i < 3; i++) {
        if (c->take[i] == NPU_NO_SEM)
            continue;
        struct sem *s = &k->sem[k->step[q] % 2][c->take[i]];
        const struct token *t = &s->token[s->head];
        for (int x = 0; x < NPU_N_QUEUES; x++)
            k->clock[q].of[x] = MAX(k->clock[q].of[x], t->clock.of[x]);
        if (c->take[i] == NPU_A_FULL || c->take[i] == NPU_W_FULL) {
            int which = c->take[i] == NPU_W_FULL;
            k->in_sram[which] = base + t->sram;
            k->in_size[which] = t->size;
        }
        s->taken[s->head] = k->done[q] + 1; /* the number that the command is about to have */
        s->head = (s->head + 1) % TOKENS;
        s->n--;
    }
}

/* Whether a semaphore has room for the token that queue q gives now, in every order: what was in
 * its place has been taken before. */
static bool has_room(const struct walk_core *k, unsigned q, const struct sem *s, unsigned sem)
{
    uint32_t taken = s->taken[(s->head + s->n) % TOKENS];
    enum npu_queue taker = npu_taker_of((enum npu_sem)sem);
    return s->n < TOKENS && k->clock[q].of[taker] >= taken;
}

/* The bytes that a command reads and writes. */
static const char *accesses(struct walk_core *k, unsigned q, const struct npu_cmd *c, uint32_t base)
{
    static const char *const unordered = "it uses a buffer that another command may be using";
    bool ok = true;
    if (c->kind == NPU_CMD_LOAD || c->kind == NPU_CMD_VECTOR)
        ok = touch(k, q, base + c->sram, c->size, true);
    if (c->kind == NPU_CMD_STORE)
        ok = touch(k, q, base + c->sram, c->size, false);
    if (c->kind != NPU_CMD_MATRIX)
        return ok ? NULL : unordered;
    if (!k->in_size[0])
        return "it reads inputs that nothing has loaded";
    if (!k->in_size[1] && k->loads_weights && c->take[0] != NPU_P_FULL &&
        c->take[1] == NPU_NO_SEM && c->take[0] != NPU_A_FULL)
        return "it reads weights that nothing has loaded";
    ok = touch(k, q, k->in_sram[0], k->in_size[0], false) &&
         touch(k, q, k->in_sram[1], k->in_size[1], false) &&
         touch(k, q, base + c->sram, c->size, true);
    return ok ? NULL : unordered;
}

static enum err perform(struct walk *w, unsigned core, unsigned q, const struct npu_cmd *c)
{
    struct walk_core *k = &w->cores[core];
    uint32_t step = k->step[q];
    uint32_t base = (uint32_t)(step % 2 ? w->half : 0);
    if ((uint64_t)c->sram + c->size > w->s->half)
        return fault(w, core, q, "its buffer ends behind the step's memory");
    take(k, q, c, base);
    k->clock[q].of[q] = ++k->done[q];
    const char *wrong = accesses(k, q, c, base);
    if (wrong)
        return fault(w, core, q, wrong);
    k->loads_weights |= c->kind == NPU_CMD_LOAD && c->give[0] == NPU_W_FULL;
    for (int i = 0; i < 3; i++) {
        struct sem *s = &k->sem[step % 2][c->give[i]];
        if (c->give[i] == NPU_NO_SEM)
            continue;
        if (!has_room(k, q, s, c->give[i]))
            return fault(w, core, q, "it gives more tokens than anyone takes");
        s->token[(s->head + s->n++) % TOKENS] = (struct token){
            .clock = k->clock[q], .sram = c->sram, .size = c->size};
    }
    if (c->kind == NPU_CMD_STORE && c->last) {
        w->through[step]++;
        k->gave_half[step] = k->clock[q];
    }
    if (c->kind == NPU_CMD_LOAD && c->key && c->first)
        w->keys[step * w->s->n_keys + c->key] = true;
    return ERR_OK;
}

/* As far as a queue comes; *moved: it came further. */
static enum err advance(struct walk *w, unsigned core, unsigned q, bool *moved)
{
    struct walk_core *k = &w->cores[core];
    const uint32_t *from = &w->s->from[core * NPU_N_QUEUES + q];
    while (k->step[q] < WALKS) {
        if (from[0] + k->next[q] == from[1]) {
            k->ended[k->step[q]].of[q] = k->done[q];
            k->step[q]++;
            k->next[q] = 0;
            continue;
        }
        const struct npu_cmd *c = &w->s->cmds[from[0] + k->next[q]];
        if (!ready(w, core, q, c))
            break;
        TRY(perform(w, core, q, c));
        k->next[q]++;
        *moved = true;
    }
    return ERR_OK;
}

static void start(struct walk_core *k)
{
    static const enum npu_sem slots[] = {NPU_W_FREE, NPU_A_FREE, NPU_R_FREE,
                                         NPU_O_FREE, NPU_T_FREE, NPU_V_FREE};
    for (int set = 0; set < 2; set++) {
        for (size_t i = 0; i < N_ELEMS(slots); i++)
            k->sem[set][slots[i]].n = NPU_SLOTS;
        k->sem[set][NPU_HALF].n = 1;
    }
}

/* The step behind the next one has the same half, and may be any other: it must find it unused. */
static bool is_half_free(const struct walk_core *k, unsigned q)
{
    for (int step = 0; step < WALKS; step++)
        if (k->gave_half[step].of[NPU_Q_STORE] && k->gave_half[step].of[q] < k->ended[step].of[q])
            return false;
    return true;
}

static enum err ended(const struct walk *w, unsigned core)
{
    const struct walk_core *k = &w->cores[core];
    for (unsigned q = 0; q < NPU_N_QUEUES; q++)
        if (k->step[q] < WALKS)
            return fault(w, core, q, "it waits for ever");
        else if (!is_half_free(k, q))
            return fault(w, core, q, "its step's memory is given back before it is through");
    for (int set = 0; set < 2; set++)
        for (int i = 1; i < NPU_N_SEMS; i++) {
            bool slots = i == NPU_W_FREE || i == NPU_A_FREE || i == NPU_R_FREE || i == NPU_O_FREE ||
                         i == NPU_T_FREE || i == NPU_V_FREE;
            uint32_t want = slots ? NPU_SLOTS : i == NPU_HALF;
            if (k->sem[set][i].n != want)
                return fault(w, core, NPU_Q_STORE, "tokens are left, or gone, when the step ends");
        }
    return ERR_OK;
}

static enum err walk_segment(struct walk *w)
{
    bool moved = true;
    while (moved) {
        moved = false;
        for (unsigned core = 0; core < w->p->cores; core++)
            for (unsigned q = 0; q < NPU_N_QUEUES; q++)
                TRY(advance(w, core, q, &moved));
    }
    for (unsigned core = 0; core < w->p->cores; core++)
        TRY(ended(w, core));
    return ERR_OK;
}

enum npu_queue npu_queue_of(enum npu_cmd_kind k)
{
    static const enum npu_queue queues[] = {
        [NPU_CMD_OPEN] = NPU_Q_LOAD,     [NPU_CMD_AWAIT] = NPU_Q_LOAD,
        [NPU_CMD_LOAD] = NPU_Q_LOAD,     [NPU_CMD_MATRIX] = NPU_Q_MATRIX,
        [NPU_CMD_VECTOR] = NPU_Q_VECTOR, [NPU_CMD_STORE] = NPU_Q_STORE};
    return queues[k];
}

enum npu_queue npu_taker_of(enum npu_sem s)
{
    static const enum npu_queue takers[NPU_N_SEMS] = {
        [NPU_NO_SEM] = NPU_N_QUEUES, [NPU_W_FREE] = NPU_Q_LOAD,   [NPU_A_FREE] = NPU_Q_LOAD,
        [NPU_R_FREE] = NPU_Q_LOAD,   [NPU_PLACE] = NPU_Q_LOAD,    [NPU_HALF] = NPU_Q_LOAD,
        [NPU_W_FULL] = NPU_Q_MATRIX, [NPU_A_FULL] = NPU_Q_MATRIX, [NPU_O_FREE] = NPU_Q_MATRIX,
        [NPU_T_FREE] = NPU_Q_MATRIX, [NPU_P_FULL] = NPU_Q_MATRIX, [NPU_R_FULL] = NPU_Q_VECTOR,
        [NPU_O_FULL] = NPU_Q_VECTOR, [NPU_V_FREE] = NPU_Q_VECTOR, [NPU_S_FULL] = NPU_Q_STORE};
    return takers[s];
}

/* What a core does that does not work for a step. */
static bool waits(const struct npu_cmd *c)
{
    return c->kind == NPU_CMD_AWAIT && !c->takes && !c->gives;
}

/* A command takes, and gives, one token of a semaphore at most. */
static bool has_twice(const uint8_t sems[3])
{
    return (sems[0] && (sems[0] == sems[1] || sems[0] == sems[2])) ||
           (sems[1] && sems[1] == sems[2]);
}

static bool well_formed(const struct npu_cmd *c, const struct npu_segment *s)
{
    for (int i = 0; i < 3; i++)
        if (c->take[i] >= NPU_N_SEMS || c->give[i] >= NPU_N_SEMS)
            return false;
    struct npu_cmd tallied = *c;
    npu_cmd_tally(&tallied);
    if (c->takes != tallied.takes || c->gives != tallied.gives ||
        (c->level != NPU_HERE && c->level != NPU_PEER && c->bytes == 0))
        return false;
    return c->kind < NPU_N_CMDS && !has_twice(c->take) && !has_twice(c->give) &&
           c->level <= (c->kind == NPU_CMD_STORE ? NPU_PEER : NPU_MEMORY) &&
           c->base < NPU_N_BASES && c->key < s->n_keys && c->bytes <= NPU_BYTES_MAX &&
           c->addr <= NPU_ADDR_MAX &&
           (c->kind != NPU_CMD_MATRIX ||
            (c->m && c->k && c->n && (double)c->m * c->k * c->n <= NPU_TILE_MACS_MAX));
}

/* Its kinds are the queue's, and it takes none but its tokens.  A core that works takes its half by
 * its first command, AWAIT or an OPEN before it, awaits the step before once, so that it is never
 * two ahead of others, and gives its half back by its last command. */
static bool well_formed_queue(const struct npu_segment *s, unsigned queue, bool works)
{
    enum npu_queue q = (enum npu_queue)(queue % NPU_N_QUEUES);
    uint32_t from = s->from[queue], to = s->from[queue + 1], awaits = 0;
    for (uint32_t i = from; i < to; i++) {
        const struct npu_cmd *c = &s->cmds[i];
        awaits += c->kind == NPU_CMD_AWAIT;
        enum npu_cmd_kind kind = (enum npu_cmd_kind)c->kind;
        bool begins = works && q == NPU_Q_LOAD && i == from;
        bool ends = q == NPU_Q_STORE && i + 1 == to;
        if (!well_formed(c, s) || npu_queue_of(kind) != q || (kind == NPU_CMD_OPEN && !begins) ||
            (begins && kind == NPU_CMD_LOAD) || (c->take[0] == NPU_HALF) != begins ||
            (c->give[1] == NPU_HALF) != ends || (q == NPU_Q_STORE && c->last != ends))
            return false;
        for (int k = 0; k < 3; k++) {
            bool half = (k != 0 && c->take[k] == NPU_HALF) || (k != 1 && c->give[k] == NPU_HALF);
            bool more = (k >= npu_most_takes(q) && c->take[k]) ||
                        (k >= npu_most_gives(q) && c->give[k]);
            if (half || more || (c->take[k] && npu_taker_of((enum npu_sem)c->take[k]) != q))
                return false;
        }
    }
    return works ? (from < to || q == NPU_Q_MATRIX || q == NPU_Q_VECTOR) &&
                       awaits == (q == NPU_Q_LOAD)
                 : to - from <= (q == NPU_Q_LOAD) && (from == to || waits(&s->cmds[from]));
}

/* Which cores work for the segment, and that the others do not. */
static enum err well_formed_segment(const struct npu_prog *p, const struct npu_segment *s,
                                    uint32_t op, struct errinfo *e)
{
    uint32_t working = 0;
    for (unsigned i = 0; i < p->cores * NPU_N_QUEUES; i++) {
        const uint32_t *store = &s->from[i / NPU_N_QUEUES * NPU_N_QUEUES + NPU_Q_STORE];
        bool works = store[0] < store[1];
        working += works && i % NPU_N_QUEUES == 0;
        if (!well_formed_queue(s, i, works))
            return err_set(e, ERR_CORRUPT,
                           "operation %u, core %u, %s queue: not what such a queue does", op,
                           i / NPU_N_QUEUES, queue_names[i % NPU_N_QUEUES]);
    }
    if (!working || working != s->working)
        return err_set(e, ERR_CORRUPT, "operation %u: %u cores work for it, and it says %u", op,
                       working, s->working);
    return ERR_OK;
}

enum err npu_check_segment(const struct npu_prog *p, const struct npu_segment *s, uint32_t op,
                           struct errinfo *e)
{
    struct walk w = {.p = p, .s = s, .op = op, .e = e, .half = (s->half + 63) & ~(uint64_t)63};
    TRY(well_formed_segment(p, s, op, e)); /* what is not would lead astray */
    w.cores = mem_alloc(p->cores * sizeof *w.cores);
    w.keys = mem_alloc(WALKS * (size_t)s->n_keys * sizeof *w.keys);
    for (unsigned i = 0; i < p->cores; i++)
        start(&w.cores[i]);
    enum err code = walk_segment(&w);
    mem_free(w.cores);
    mem_free(w.keys);
    return code;
}

/* Shared tiles are told apart by their step's parity.  A core that has no command in some steps
 * comes to the next one of its own while others are still in the last one that it awaited: between
 * these must be no step of the same parity that shares tiles, if its own does.  Rounds follow each
 * other, so the first steps come behind the last ones. */
static enum err check_tiles(const struct npu_prog *p, struct errinfo *e)
{
    size_t *awaited = mem_alloc(p->cores * sizeof *awaited); /* each core's last step, + 1 */
    size_t shared[2] = {0};                                  /* the last that shares tiles, + 1 */
    enum err code = ERR_OK;
    for (size_t i = 0; i < 2 * p->n_steps && code == ERR_OK; i++) {
        const struct npu_step *step = &p->steps[i % p->n_steps];
        const struct npu_segment *s = step->segment;
        bool shares = s->n_keys > 1 && shared[i % 2];
        for (unsigned c = 0; c < p->cores; c++) {
            const uint32_t *loads = &s->from[c * NPU_N_QUEUES + NPU_Q_LOAD];
            if (loads[0] == loads[1])
                continue;
            if (shares && awaited[c] <= shared[i % 2])
                code = err_set(e, ERR_CORRUPT,
                               "operation %u, core %u: it may come to it while others share tiles "
                               "in a step before it",
                               step->op, c);
            awaited[c] = i + 1;
        }
        if (s->n_keys > 1)
            shared[i % 2] = i + 1;
    }
    mem_free(awaited);
    return code;
}

enum err npu_check(const struct npu_prog *p, struct errinfo *e)
{
    for (size_t i = 0; i < p->n_steps; i++) {
        size_t k = 0; /* each segment once */
        while (k < i && p->steps[k].segment != p->steps[i].segment)
            k++;
        if (k == i)
            TRY(npu_check_segment(p, p->steps[i].segment, p->steps[i].op, e));
    }
    return check_tiles(p, e);
}
