/* SPDX-License-Identifier: MIT */
#include "engine/load.h"

#include "base/arena.h"
#include "base/num.h"
#include "engine/sched.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS_MAX ((double)(1 << 24))

/* ---- lengths ---- */

static bool number(const char **at, double *out)
{
    char *end;
    errno = 0;
    *out = strtod(*at, &end);
    bool ok = end != *at && !errno && isfinite(*out);
    *at = end;
    return ok;
}

static bool read_length(struct load_length *l, const char *at)
{
    l->kind = *at == '~' ? LOAD_LOGNORMAL : LOAD_FIXED;
    l->b = 1;
    at += *at == '~';
    if (!number(&at, &l->a) || l->a < 1 || l->a > TOKENS_MAX)
        return false;
    if (l->kind == LOAD_LOGNORMAL && *at == '/') {
        at++;
        return number(&at, &l->b) && l->b >= 0 && l->b <= 3 && !*at;
    }
    if (l->kind == LOAD_FIXED && *at == '-') {
        at++;
        l->kind = LOAD_UNIFORM;
        return number(&at, &l->b) && l->b >= l->a && l->b <= TOKENS_MAX && !*at;
    }
    return !*at;
}

enum err load_length_read(struct load_length *l, const char *option, const char *text,
                          struct errinfo *e)
{
    *l = (struct load_length){.max = SIZE_MAX};
    if (!read_length(l, text))
        return err_set(
            e, ERR_USAGE,
            "%s is a number of tokens (512), a range (128-2048), or a median and a sigma "
            "of at most 3 (~512/0.8), not %.40s",
            option, text);
    return ERR_OK;
}

/* Normal, by Box and Muller. */
static double normal(uint64_t *rng)
{
    double u = 1 - num_rand_unit(rng), v = num_rand_unit(rng);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static size_t draw(const struct load_length *l, uint64_t *rng)
{
    double x = l->a;
    if (l->kind == LOAD_UNIFORM)
        x = floor(l->a + num_rand_unit(rng) * (l->b - l->a + 1));
    if (l->kind == LOAD_LOGNORMAL)
        x = floor(l->a * exp(l->b * normal(rng)) + 0.5);
    return (size_t)MIN(MAX(x, 1), MIN((double)l->max, TOKENS_MAX));
}

/* ---- requests ---- */

struct load;

struct request {
    struct job job;
    struct load *load;
    int32_t *ids;  /* [n_prompt + n_max]: the prompt, then the answer */
    double due_ns; /* when it came: perhaps amid a step, which it has to wait for, too */
    bool counted;
    struct request *next;
};

/* A conversation whose user thinks. */
struct talk {
    int32_t *ids; /* [n]: what was said */
    size_t n;
    double due_ns; /* of its next request */
};

/* What is kept of one that is done. */
struct done {
    double ttft, tpot, whole; /* ms; tpot < 0: an answer of one token has none */
};

struct load {
    const struct load_opts *o;
    struct engine *en;
    struct sched *s;
    uint64_t rng, come, n_vocab; /* come: of arrivals that several share */
    size_t n_begun, n_come, n_under_way;
    double next_ns;       /* when the next one comes, with a rate */
    struct request *over; /* done, and not looked at */
    struct talk *talks;   /* [n_talks], a heap: the first one is due first */
    size_t n_talks, cap_talks;
    struct done *done; /* [n_counted - refused ones] */
    size_t n_times, cap_done;
    struct load_result *r;
    uint64_t first_ns, last_ns;
    double running, queue, pages; /* integrals over time */
};

/* Within sched_turn, on this thread. */
static void wake(void *arg)
{
    struct request *q = arg;
    if (job_state(&q->job) != JOB_DONE)
        return;
    q->next = q->load->over;
    q->load->over = q;
}

static void free_request(struct request *q)
{
    job_done(&q->job);
    mem_free(q->ids);
    mem_free(q);
}

/* ---- conversations ---- */

static void sink(struct talk *h, size_t n, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        child += child + 1 < n && h[child + 1].due_ns < h[child].due_ns;
        if (h[i].due_ns <= h[child].due_ns)
            return;
        struct talk t = h[i];
        h[i] = h[child];
        h[child] = t;
    }
}

static void push_talk(struct load *l, struct talk t)
{
    if (l->n_talks == l->cap_talks) {
        l->cap_talks = MAX(2 * l->cap_talks, (size_t)64);
        l->talks = mem_grow(l->talks, l->cap_talks * sizeof *l->talks);
    }
    size_t i = l->n_talks++;
    for (; i > 0 && l->talks[(i - 1) / 2].due_ns > t.due_ns; i = (i - 1) / 2)
        l->talks[i] = l->talks[(i - 1) / 2];
    l->talks[i] = t;
}

static struct talk pop_talk(struct load *l)
{
    struct talk t = l->talks[0];
    l->talks[0] = l->talks[--l->n_talks];
    sink(l->talks, l->n_talks, 0);
    return t;
}

static double exponential(uint64_t *rng)
{
    return -log(1 - num_rand_unit(rng));
}

/* The user thinks, and may ask again, if the context has room.  Takes the text of q then. */
static void go_on(struct load *l, struct request *q)
{
    size_t n = q->job.n_prompt + job_n_out(&q->job);
    if (l->o->turns <= 1 || n + 2 > engine_ctx(l->en))
        return;
    if (num_rand_unit(&l->rng) >= 1 - 1 / l->o->turns)
        return;
    double think = exponential(&l->rng) * l->o->think_s;
    push_talk(l, (struct talk){q->ids, n, (double)q->job.done_ns + think * 1e9});
    q->ids = NULL;
}

/* Tokens [from, n) of a text, of which those before `shared` are all texts'. */
static void write_tokens(const struct load *l, int32_t *ids, size_t from, size_t n, size_t shared,
                         uint64_t *rng)
{
    uint64_t same = l->o->seed ^ 0x5eed;
    for (size_t i = from; i < n; i++)
        ids[i] = (int32_t)((num_rand(i < shared ? &same : rng) ^ l->o->salt) % l->n_vocab);
}

/* t->n > 0: it goes on with that.  It came at t->due_ns. */
static struct request *new_request(struct load *l, const struct talk *t)
{
    size_t ctx = engine_ctx(l->en), said = t->n;
    size_t more = draw(&l->o->prompt, &l->rng), answer = draw(&l->o->answer, &l->rng);
    size_t n = said + MIN(more, ctx - 1 - said);
    size_t shared = MIN(l->o->shared, n - 1), m = MIN(answer, ctx - n);
    struct request *q = mem_alloc(sizeof *q);
    q->load = l;
    q->ids = mem_alloc((n + m) * sizeof *q->ids);
    if (said)
        memcpy(q->ids, t->ids, said * sizeof *q->ids);
    write_tokens(l, q->ids, said, n + m, shared, &l->rng);
    job_init(&q->job, m, 0);
    q->job.prompt = q->ids;
    q->job.n_prompt = n;
    q->job.given = q->ids + n;
    q->job.client = l->n_begun;
    q->job.wake = wake;
    q->job.wake_arg = q;
    q->due_ns = t->due_ns;
    q->counted = t->due_ns - (double)l->first_ns >= l->o->warm_s * 1e9;
    return q;
}

/* ---- what was before ---- */

#define PAST_THINKS 8 /* times to think: who asked so long ago has asked again */

/* A conversation that was: its user still thinks, or it is over and its text merely known. */
struct was {
    struct talk talk;
    bool thinks;
};

/* What was said up to some request of a conversation.  An own generator: later ones come alike. */
static struct talk said(const struct load *l, uint64_t *rng)
{
    const struct load_opts *o = l->o;
    size_t ctx = engine_ctx(l->en), n = 0;
    do
        n += draw(&o->prompt, rng) + draw(&o->answer, rng);
    while (n < ctx && num_rand_unit(rng) < 1 - 1 / o->turns);
    struct talk t = {.n = MIN(n, ctx)};
    t.ids = mem_alloc(t.n * sizeof *t.ids);
    write_tokens(l, t.ids, 0, t.n, o->shared, rng);
    return t;
}

/* Goes back from request to request, as far as the tree remembers; age: of the last one's end.
 * Times to think have no memory: what is left of one is as long as a whole one. */
static struct was *look_back(const struct load *l, uint64_t *rng, size_t *n, double *age)
{
    const struct load_opts *o = l->o;
    size_t cap = 0, pages = 0, room = engine_pages_free(l->en);
    struct was *was = NULL;
    *n = 0;
    for (*age = 0; pages < room && *age < PAST_THINKS * o->think_s;) {
        *age += exponential(rng) / o->rate;
        bool goes_on = num_rand_unit(rng) < 1 - 1 / o->turns;
        bool thinks = goes_on && num_rand_unit(rng) < exp(-*age / o->think_s);
        if (goes_on && !thinks) /* asked again since, which is another one of these */
            continue;
        if (*n == cap) {
            cap = MAX(2 * cap, (size_t)256);
            was = mem_grow(was, cap * sizeof *was);
        }
        struct was w = {said(l, rng), thinks};
        w.thinks &= w.talk.n + 2 <= engine_ctx(l->en);
        w.talk.due_ns = (double)l->first_ns + exponential(rng) * o->think_s * 1e9;
        pages += num_div_up(w.talk.n, ENGINE_PAGE);
        was[(*n)++] = w;
    }
    return was;
}

static void settle(struct load *l)
{
    const struct load_opts *o = l->o;
    uint64_t rng = o->seed ^ 0xbef0;
    size_t n;
    double age, last_s = (double)o->n_requests / o->rate;
    struct was *was = look_back(l, &rng, &n, &age);
    while (n--) { /* the oldest first */
        engine_know(l->en, was[n].talk.ids, was[n].talk.n);
        if (was[n].thinks)
            push_talk(l, was[n].talk);
        else
            mem_free(was[n].talk.ids);
    }
    mem_free(was);
    /* Those before them are forgotten, and ask again all the same. */
    double rate = o->rate * (1 - 1 / o->turns) * exp(-age / o->think_s);
    for (double t = exponential(&rng) / rate; t < last_s; t += exponential(&rng) / rate) {
        if (num_rand_unit(&rng) >= exp(-t / o->think_s))
            continue;
        struct talk x = said(l, &rng);
        x.due_ns = (double)l->first_ns + t * 1e9;
        if (x.n + 2 <= engine_ctx(l->en))
            push_talk(l, x);
        else
            mem_free(x.ids);
    }
}

/* ---- coming and going ---- */

static void count_late(struct load *l, const struct done *d)
{
    struct load_result *r = l->r;
    r->n_counted++;
    for (size_t i = 0; i < LOAD_LATES; i++) {
        const struct load_late *late = &l->o->late[i];
        r->n_late[i] += late->ms > 0 && (late->tpot ? d->tpot : d->ttft) > late->ms;
        r->gave_up |= late->ms > 0 && r->n_late[i] > late->most;
    }
}

/* BUSY is an answer, too: the request was refused. */
static enum err begin(struct load *l, const struct talk *t, struct errinfo *e)
{
    struct request *q = new_request(l, t);
    enum err r = sched_push(l->s, &q->job, e);
    l->n_begun++;
    l->r->queue_last = sched_load(l->s).queued;
    if (r == ERR_OK) {
        l->n_under_way++;
        return ERR_OK;
    }
    l->r->n_refused += r == ERR_BUSY;
    if (r == ERR_BUSY && q->counted)
        count_late(l, &(struct done){INFINITY, INFINITY, INFINITY});
    free_request(q);
    return r == ERR_BUSY ? ERR_OK : r;
}

/* Something new is to come. */
static bool more(const struct load *l)
{
    return (l->o->mine ? l->n_come : l->n_begun) < l->o->n_requests;
}

/* Those that have come by now. */
static enum err begin_all(struct load *l, struct errinfo *e)
{
    const struct load_opts *o = l->o;
    if (o->rate <= 0) {
        while (l->n_begun < o->n_requests && l->n_under_way < o->concurrency) {
            size_t before = l->n_under_way;
            TRY(begin(l, &(struct talk){.due_ns = (double)sched_now(l->s)}, e));
            if (l->n_under_way == before) /* refused: room comes with a step */
                break;
        }
        return ERR_OK;
    }
    double now = (double)sched_now(l->s), turns = MAX(o->turns, 1);
    while (more(l) && l->next_ns <= now) {
        if (!o->mine || o->mine(o->mine_arg, l->n_come))
            TRY(begin(l, &(struct talk){.due_ns = l->next_ns}, e));
        l->n_come++;
        l->next_ns += exponential(o->mine ? &l->come : &l->rng) * turns / o->rate * 1e9;
    }
    while (more(l) && l->n_talks && l->talks[0].due_ns <= now) {
        struct talk t = pop_talk(l);
        enum err r = begin(l, &t, e);
        mem_free(t.ids);
        TRY(r);
    }
    return ERR_OK;
}

/* When the next request comes, with a rate. */
static uint64_t next_ns(const struct load *l)
{
    return (uint64_t)ceil(l->n_talks ? MIN(l->next_ns, l->talks[0].due_ns) : l->next_ns);
}

static enum err end(struct load *l, struct request *q, struct errinfo *e)
{
    const struct job *j = &q->job;
    size_t n = job_n_out(j);
    struct done d = {.ttft = ((double)j->first_ns - q->due_ns) * 1e-6,
                     .tpot = -1,
                     .whole = ((double)j->done_ns - q->due_ns) * 1e-6};
    if (j->end == JOB_END_CANCELLED) /* the run ended before it */
        return ERR_OK;
    if (j->end == JOB_END_FAILED) {
        *e = j->error;
        return e->code;
    }
    if (n > 1)
        d.tpot = (double)(atomic_load(&j->sim.last_ns) - j->first_ns) * 1e-6 / (double)(n - 1);
    struct load_result *r = l->r;
    r->n_within += (l->o->limit_ttft_ms <= 0 || d.ttft <= l->o->limit_ttft_ms) &&
                   (l->o->limit_tpot_ms <= 0 || d.tpot <= l->o->limit_tpot_ms);
    r->n_done++;
    if (q->counted) {
        if (l->n_times == l->cap_done) {
            l->cap_done = MAX(2 * l->cap_done, (size_t)1024);
            l->done = mem_grow(l->done, l->cap_done * sizeof *l->done);
        }
        l->done[l->n_times++] = d;
        count_late(l, &d);
    }
    r->n_prompt += j->n_prompt;
    r->n_cached += j->n_cached;
    r->n_answer += n;
    l->last_ns = MAX(l->last_ns, j->done_ns);
    go_on(l, q);
    return ERR_OK;
}

static enum err end_all(struct load *l, struct errinfo *e)
{
    enum err r = ERR_OK;
    while (l->over) {
        struct request *q = l->over;
        l->over = q->next;
        l->n_under_way--;
        if (r == ERR_OK)
            r = end(l, q, e);
        free_request(q);
    }
    return r;
}

/* A turn, and what was there while it lasted. */
static void turn(struct load *l)
{
    struct load_result *r = l->r;
    uint64_t began = sched_now(l->s);
    sched_turn(l->s);
    struct sched_load now = sched_load(l->s);
    double ns = (double)(sched_now(l->s) - began);
    l->running += ns * (double)now.running;
    l->queue += ns * (double)now.queued;
    l->pages += ns * (double)(now.pages - now.pages_free) / (double)now.pages;
    r->running_most = MAX(r->running_most, now.running);
    r->queue_most = MAX(r->queue_most, now.queued);
}

static enum err run(struct load *l, struct errinfo *e)
{
    const struct load_opts *o = l->o;
    while ((more(l) || l->n_under_way) && !l->r->gave_up) {
        if (o->stop && o->stop(o->stop_arg))
            return err_set(e, ERR_CANCELLED, "stopped");
        if (!l->n_under_way && o->rate > 0) /* nothing to do until the next one comes */
            sched_rest(l->s, next_ns(l));
        TRY(begin_all(l, e));
        turn(l);
        TRY(end_all(l, e));
    }
    return ERR_OK;
}

/* ---- the result ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double rank(const double *v, size_t n, double p)
{
    size_t at = (size_t)ceil(p * (double)n);
    return v[(at < n ? at : n) - 1];
}

static struct load_times times_of(double *v, size_t n)
{
    double sum = 0;
    if (!n)
        return (struct load_times){0};
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    qsort(v, n, sizeof *v, ascending);
    return (struct load_times){sum / (double)n,  rank(v, n, 0.5),  rank(v, n, 0.9),
                               rank(v, n, 0.95), rank(v, n, 0.99), v[n - 1]};
}

static void summarise(struct load *l, const struct dev_sim *sim, struct sched_load load)
{
    struct load_result *r = l->r;
    size_t n = l->n_times, n_tpot = 0;
    double *v = mem_alloc((n + 1) * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = l->done[i].ttft;
    r->ttft = times_of(v, n);
    r->bars.width = MAX(r->ttft.p99 * 1.1 / LOAD_BARS, 1e-6);
    for (size_t i = 0; i < n; i++) {
        size_t bar = (size_t)(v[i] / r->bars.width);
        r->bars.n[bar < LOAD_BARS ? bar : LOAD_BARS - 1]++;
    }
    for (size_t i = 0; i < n; i++)
        if (l->done[i].tpot >= 0)
            v[n_tpot++] = l->done[i].tpot;
    r->tpot = times_of(v, n_tpot);
    for (size_t i = 0; i < n; i++)
        v[i] = l->done[i].whole;
    r->whole = times_of(v, n);
    mem_free(v);
    double ns = (double)(l->last_ns - MIN(l->first_ns, l->last_ns));
    r->seconds = ns * 1e-9;
    r->busy_s = load.sim_s;
    r->joules = load.sim_joules;
    r->idle_joules = sim->static_w * MAX(r->seconds - r->busy_s, 0);
    r->running_mean = ns > 0 ? l->running / ns : 0;
    r->queue_mean = ns > 0 ? l->queue / ns : 0;
    r->pages_mean = ns > 0 ? l->pages / ns : 0;
    r->pages = load.pages;
    r->n_steps = load.n_steps;
    r->rows_mean = load.n_steps ? (double)load.n_rows / (double)load.n_steps : 0;
    r->n_preempted = load.n_preempted;
    r->n_prices = sim->n_prices;
}

enum err load_run(struct engine *en, const struct load_opts *o, struct load_result *r,
                  struct errinfo *e)
{
    const struct dev_sim *sim = engine_sim(en);
    CHECK(sim && sim->clock == DEV_CLOCK_VIRTUAL && o->n_requests >= 1);
    CHECK(o->rate > 0 || o->concurrency >= 1);
    if (engine_ctx(en) < 2)
        return err_set(e, ERR_CONTEXT, "a context of one token holds no prompt and answer");
    const struct sched_opts so = {
        .queue_max = o->queue_max, .running_max = o->running_max, .driven = true};
    struct load l = {.o = o,
                     .en = en,
                     .rng = o->seed,
                     .come = o->seed ^ 0xc03e,
                     .n_vocab = engine_model(en)->n_vocab,
                     .r = r};
    memset(r, 0, sizeof *r);
    l.s = sched_new(en, &so);
    l.first_ns = sched_now(l.s);
    l.next_ns = (double)l.first_ns;
    if (o->settled && o->turns > 1 && o->rate > 0)
        settle(&l);
    enum err code = run(&l, e);
    struct sched_load load = sched_load(l.s);
    sched_free(l.s); /* cancels what runs, whose makers hear of it */
    end_all(&l, e ? &(struct errinfo){0} : NULL);
    if (code == ERR_OK && !r->gave_up)
        summarise(&l, sim, load);
    while (l.n_talks)
        mem_free(l.talks[--l.n_talks].ids);
    mem_free(l.talks);
    mem_free(l.done);
    return code;
}
