/* SPDX-License-Identifier: MIT
 * dev_chip.c - a simulated chip as a device: tokens from the CPU, times and joules from the chip's
 * simulator.  What a step costs is known before it runs (admit), so that one that cannot be priced
 * is refused and not half done. */
#include "base/arena.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "dev/dev_price.h"
#include "npu/npu_run.h"
#include "os/os_map.h"
#include "os/os_sys.h"

#include <string.h>

#define ASSUMED_BYTES_MAX 4096
#define DEV_CHIPS_TRIED   64
#define PACE_GAP_NS       1000000u /* a step that begins so soon follows the one before it */

struct dev_chip {
    struct dev dev;                /* first */
    struct dev *inner;             /* NULL: dry */
    struct dev_price *price;       /* of its plan; NULL: its plan is dealt out to team's chips */
    const struct dev_peers *peers; /* NULL: it has none beside it, and price is all */
    struct dev_price **stage;      /* [peers->n] */
    struct dev_peers team;         /* of sim.ranks: this process plays all of them */
    struct dev_sim sim;
    struct dev_cost next; /* of the step that was admitted */
    uint64_t due_ns;      /* PACED: when the last step may end at the soonest, by the machine */
    uint64_t rest_ps;     /* less than a nanosecond, of the steps up to now */
    struct str assumed;
    float *zeros; /* DRY: of a row; every row is the same one */
};

static struct dev_chip *chip_of(struct dev *d)
{
    return (struct dev_chip *)d;
}

enum err dev_chip_numerics(const struct npu_chip *c, enum kern_numerics *out, struct errinfo *e)
{
    *out = npu_chip_rate(c, NPU_BF16) > 0 ? KERN_BF16 : KERN_INT8;
    if (npu_chip_rate(c, NPU_BF16) > 0 || npu_chip_rate(c, NPU_INT8) > 0)
        return ERR_OK;
    return err_set(e, ERR_UNSUPPORTED, "%s computes neither in bf16 nor in int8", c->name);
}

/* What the chip's time is of: the contract's format, or its own where the machine computes as it
 * likes. */
static enum err type_of(const struct dev_opts *o, enum npu_type *out, struct errinfo *e)
{
    enum kern_numerics n = o->numerics;
    if (n == KERN_NATIVE)
        TRY(dev_chip_numerics(o->sim.chip, &n, e));
    return npu_work_type(o->sim.chip, n == KERN_BF16 ? NPU_BF16 : NPU_INT8, out, e);
}

static enum err open_price(struct dev_price **out, const struct plan *p, const struct dev_opts *o,
                           enum npu_type *type, struct dev_room *room, struct errinfo *e)
{
    if (p->model->bidirectional)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: encoders (%s), whose texts are seen both ways, are not computed on a "
                       "simulated chip",
                       o->sim.name, p->model->arch->name);
    if (p->state_floats)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: the family %s, whose layers have states beside their pages, is not "
                       "computed on a simulated chip",
                       o->sim.name, p->model->arch->name);
    *type = NPU_BF16;
    if (o->sim.chip)
        TRY(type_of(o, type, e));
    *out = o->sim.chip ? dev_price_new(p, o->sim.chip, *type, o->rows_max, o->ctx_max)
                       : dev_price_measured(p, o->sim.speeds, o->rows_max, o->ctx_max);
    enum err r = dev_price_room(*out, room, e);
    if (r != ERR_OK) {
        dev_price_free(*out);
        *out = NULL;
    }
    return r;
}

/* ---- several chips, of which this process plays all ---- */

static size_t n_chips(const struct dev_opts *o)
{
    return o->sim.chip ? o->sim.ranks.tensor * o->sim.ranks.pipeline : 0;
}

static size_t pages_of(const struct dev_room *r)
{
    return (size_t)((r->all - r->weights - r->buffers) / r->page);
}

/* What a chip's memory needs of what it has: for the fewest pages, and for what is beside it. */
static void note_room(struct dev_need *need, const struct dev_room *r)
{
    need->pages_max = r->page > 0 ? MIN(need->pages_max, pages_of(r)) : need->pages_max;
    need->chip_all = r->all;
    need->chip_fixed = MAX(need->chip_fixed, r->weights + r->buffers);
    need->chip_page = MAX(need->chip_page, r->page);
}

/* What the memory of a chip of each stage holds, of which the largest share decides.  *sum: of all
 * chips. */
static enum err team_room(const struct plan *p, const struct dev_opts *o,
                          const struct plan_ranks *of, struct dev_room *sum, struct dev_need *need,
                          struct errinfo *e)
{
    *sum = (struct dev_room){0};
    *need = (struct dev_need){.pages_max = SIZE_MAX};
    for (size_t i = of->pipeline; i-- > 0;) {
        struct plan *share;
        struct dev_price *price;
        struct dev_room room;
        enum npu_type type;
        TRY(plan_share_new(&share, p->model, of, plan_largest_rank(of, i), e));
        enum err r = open_price(&price, share, o, &type, &room, e);
        if (r == ERR_OK) {
            dev_price_free(price);
            sum->weights += room.weights * (double)of->tensor;
            sum->all += room.all * (double)of->tensor;
            note_room(need, &room);
        }
        plan_free(share);
        if (r != ERR_OK)
            return r;
    }
    return ERR_OK;
}

/* Says in an error of too little memory how many chips would have enough. */
static enum err say_how_many(const struct plan *p, const struct dev_opts *o, struct errinfo *e)
{
    struct errinfo before = *e, other;
    struct dev_room room;
    struct dev_need need;
    for (size_t i = 0, n = MAX(n_chips(o), 1u) + 1; o->sim.chip && n <= DEV_CHIPS_TRIED;
         n += i++ % 2) {
        struct plan_ranks of = i % 2 ? (struct plan_ranks){1, n} : (struct plan_ranks){n, 1};
        if (team_room(p, o, &of, &room, &need, &other) == ERR_OK)
            return err_set(e, ERR_TOOBIG, "%s; it fits on %zu chips: --chips %zu%s", before.text, n,
                           n, i % 2 ? " --split pipeline" : "");
    }
    return ERR_TOOBIG;
}

enum err dev_chip_need(const struct plan *p, const struct dev_opts *o, struct dev_need *need,
                       struct errinfo *e)
{
    struct dev_need chips = {.pages_max = SIZE_MAX};
    struct dev_room room;
    enum err r;
    if (n_chips(o) > 1) {
        r = team_room(p, o, &o->sim.ranks, &room, &chips, e);
    } else {
        struct dev_price *price;
        enum npu_type type;
        r = open_price(&price, p, o, &type, &room, e);
        if (r == ERR_OK) {
            note_room(&chips, &room);
            dev_price_free(price);
        }
    }
    if (r == ERR_TOOBIG && !o->peers)
        r = say_how_many(p, o, e);
    *need = (struct dev_need){0};
    if (r == ERR_OK && !o->sim.dry)
        r = dev_cpu_need(p, o, need, e);
    need->pages_max = chips.pages_max;
    need->chip_all = chips.chip_all;
    need->chip_fixed = chips.chip_fixed;
    need->chip_page = chips.chip_page;
    return r;
}

/* ---- steps ---- */

static enum err dev_chip_admit(struct dev *dev, const struct dev_row *rows, size_t n,
                               struct errinfo *e)
{
    struct dev_chip *d = chip_of(dev);
    const struct dev_peers *x = d->peers;
    if (!x)
        return dev_price_step(d->price, rows, n, &d->next, e);
    d->next = (struct dev_cost){0};
    for (size_t i = 0; i < x->n; i++) {
        struct dev_cost cost;
        TRY(dev_price_step(d->stage[i], rows, n, &cost, e));
        dev_cost_add(&d->next, &cost, d->sim.chip, x->a_stage, x->n, i == 0);
    }
    return ERR_OK;
}

/* Waits until the chip would be through.  Steps that follow each other at once are paced as one
 * run, so that what a wait is too long does not add up. */
static void pace(struct dev_chip *d, uint64_t began)
{
    bool follows = began - d->due_ns < PACE_GAP_NS;
    d->due_ns = (follows ? d->due_ns : began) + d->sim.step_ns;
    uint64_t now = os_now_ns();
    if (now <= d->due_ns) {
        os_sleep_until_ns(d->due_ns);
        return;
    }
    if (!d->sim.n_late++)
        log_at(LOG_WARN, "device",
               "%s would be faster than this machine: a step took %.2f ms here, %.2f ms there; "
               "answers come later than they would",
               d->sim.name, (double)(now - began) * 1e-6, (double)d->sim.step_ns * 1e-6);
    d->sim.late_ns += now - d->due_ns;
    d->due_ns = now;
}

static void dev_chip_step(struct dev *dev, const struct dev_row *rows, size_t n)
{
    struct dev_chip *d = chip_of(dev);
    uint64_t began = os_now_ns();
    if (d->inner) {
        d->inner->step(d->inner, rows, n);
        dev->logits = d->inner->logits;
        dev->hidden = d->inner->hidden;
    }
    uint64_t ps = d->next.ps + d->rest_ps;
    d->rest_ps = ps % 1000;
    d->sim.step_ns = ps / 1000;
    d->sim.step_joules = d->next.joules;
    d->sim.ns += d->sim.step_ns;
    d->sim.joules += d->next.joules;
    d->sim.n_steps++;
    d->sim.n_prices = d->price ? dev_price_n(d->price) : 0;
    for (size_t i = 0; d->peers && i < d->peers->n; i++)
        d->sim.n_prices += dev_price_n(d->stage[i]);
    if (d->sim.clock == DEV_CLOCK_PACED)
        pace(d, began);
}

static void dev_chip_copy_page(struct dev *dev, uint32_t to, uint32_t from)
{
    struct dev *inner = chip_of(dev)->inner;
    if (inner)
        inner->copy_page(inner, to, from);
}

static void *dev_chip_page(struct dev *dev, uint32_t page)
{
    struct dev *inner = chip_of(dev)->inner;
    return inner ? inner->page(inner, page) : NULL;
}

static bool dev_chip_kept(struct dev *dev, uint64_t wait_ns)
{
    struct dev *inner = chip_of(dev)->inner;
    return !inner || inner->kept(inner, wait_ns);
}

static void dev_chip_close(struct dev *dev)
{
    struct dev_chip *d = chip_of(dev);
    if (d->inner)
        d->inner->close(d->inner);
    dev_price_free(d->price);
    for (size_t i = 0; d->stage && i < d->peers->n; i++)
        dev_price_free(d->stage[i]);
    mem_free(d->stage);
    dev_peers_close(&d->team);
    str_done(&d->assumed);
    mem_free(d->zeros);
    mem_free(d);
}

/* ---- opening ---- */

static void list_assumed(struct dev_chip *d, const struct npu_chip *c, size_t n)
{
    str_init(&d->assumed, ASSUMED_BYTES_MAX);
    for (int f = 0; f < NPU_N_FIELDS; f++)
        if (npu_chip_assumes(c, (enum npu_field)f, n))
            str_addf(&d->assumed, "%s%s", d->assumed.n ? ", " : "",
                     npu_field_key((enum npu_field)f));
}

static void set_sim(struct dev_chip *d, const struct dev_opts *o, enum npu_type type,
                    const struct dev_room *room)
{
    const struct npu_chip *c = o->sim.chip;
    const struct dev_speeds *s = o->sim.speeds;
    if (!c) {
        d->sim = (struct dev_sim){.name = s->name,
                                  .title = s->title,
                                  .computes = "what was measured",
                                  .clock = o->sim.clock,
                                  .n_chips = 1,
                                  .tdp_w = s->busy_w,
                                  .static_w = s->idle_w,
                                  .assumed = ""};
        return;
    }
    size_t n = d->peers ? d->peers->n * d->peers->a_stage : 1;
    list_assumed(d, c, n);
    d->sim = (struct dev_sim){.chip = c,
                              .name = c->name,
                              .title = c->title,
                              .computes = npu_type_name(type),
                              .clock = o->sim.clock,
                              .n_chips = n,
                              .tdp_w = c->v[NPU_TDP] * (double)n,
                              .static_w = c->v[NPU_STATIC] * (double)n,
                              .memory_bytes = (uint64_t)room->all,
                              .weight_bytes = (uint64_t)room->weights,
                              .assumed = d->assumed.n ? d->assumed.p : ""};
}

static void open_stages(struct dev_chip *d, const struct dev_opts *o, enum npu_type type)
{
    if (!d->peers)
        return;
    d->stage = mem_alloc(d->peers->n * sizeof(struct dev_price *));
    for (size_t i = 0; i < d->peers->n; i++)
        d->stage[i] = dev_price_new(d->peers->share[i], o->sim.chip, type, o->rows_max, o->ctx_max);
}

static enum err open_team(struct dev_chip *d, const struct plan *p, const struct dev_opts *o,
                          enum npu_type *type, struct dev_room *room, struct errinfo *e)
{
    struct dev_need need;
    TRY(team_room(p, o, &o->sim.ranks, room, &need, e));
    TRY(type_of(o, type, e));
    TRY(dev_peers_open(&d->team, p->model, &o->sim.ranks, e));
    d->peers = &d->team;
    return ERR_OK;
}

/* Every row of logits, and every hidden state, is the same zeros. */
static void open_dry(struct dev_chip *d, const struct plan *p)
{
    d->zeros = mem_alloc(MAX(p->width[PLAN_LOGITS], p->width[PLAN_PICKED]) * sizeof *d->zeros);
    d->dev.logits = d->dev.hidden = d->zeros;
}

static void open_computing(struct dev_chip *d)
{
    d->dev.page_bytes = d->inner->page_bytes;
    d->dev.logits = d->inner->logits;
    d->dev.logits_stride = d->inner->logits_stride;
    d->dev.hidden_stride = d->inner->hidden_stride;
}

enum err dev_chip_open(struct dev **out, const struct plan *p, const struct dev_opts *o,
                       struct errinfo *e)
{
    struct dev_chip *d = mem_alloc(sizeof *d);
    struct dev_room room;
    enum npu_type type;
    *out = NULL;
    d->peers = o->peers;
    enum err r = n_chips(o) > 1 ? open_team(d, p, o, &type, &room, e)
                                : open_price(&d->price, p, o, &type, &room, e);
    if (r == ERR_OK) {
        set_sim(d, o, type, &room);
        open_stages(d, o, type);
    }
    if (r == ERR_OK && !o->sim.dry)
        r = dev_cpu_open(&d->inner, p, o, e);
    if (r != ERR_OK) {
        dev_chip_close(&d->dev);
        return r;
    }
    d->dev.name = d->sim.name;
    d->dev.admit = dev_chip_admit;
    d->dev.step = dev_chip_step;
    d->dev.copy_page = dev_chip_copy_page;
    d->dev.page = dev_chip_page;
    d->dev.kept = dev_chip_kept;
    d->dev.close = dev_chip_close;
    d->dev.sim = &d->sim;
    if (d->inner)
        open_computing(d);
    else
        open_dry(d, p);
    *out = &d->dev;
    return ERR_OK;
}
