/* SPDX-License-Identifier: MIT
 * dev_ranks.c - the first process: a device of its share that tells the others what to do. */
#include "dev/dev_ranks.h"

#include "base/arena.h"
#include "base/num.h"
#include "dev/dev_ranks_int.h"
#include "gguf/gguf.h"

#include <stdio.h>
#include <string.h>

struct dev_ranks {
    struct dev dev; /* first */
    struct dev *inner;
    struct plan *share;
    struct dev_opts opts;
    struct ranks_link link;
    char *message; /* [message_cap] */
    size_t message_cap;
    struct dev_peers peers; /* of a simulated chip */
};

static bool in_use; /* the other processes have a model */

static struct dev_ranks *ranks_dev(struct dev *d)
{
    return (struct dev_ranks *)d;
}

static size_t n_ranks(const struct plan_ranks *of)
{
    return of->tensor * of->pipeline;
}

/* To all others, of which each waits for it. */
static bool tell(const struct plan_ranks *of, const void *message, size_t bytes)
{
    struct ranks_io io[RANKS_MAX];
    size_t n = n_ranks(of) - 1;
    for (size_t at = 0, some; at < bytes; at += some) {
        some = at ? bytes - at : MIN(bytes, (size_t)RANKS_SHORT);
        for (size_t i = 0; i < n; i++)
            io[i] = (struct ranks_io){(char *)(uintptr_t)message + at, some, i + 1, true};
        if (!ranks_run(io, n, RANKS_STEP))
            return false;
    }
    return true;
}

static void tell_short(const struct dev_ranks *d, enum ranks_kind kind, uint32_t to, uint32_t from)
{
    const struct ranks_head head = {
        .kind = (uint32_t)kind, .bytes = sizeof head, .to = to, .from = from};
    tell(&d->opts.ranks, &head, sizeof head);
}

/* ---- steps ---- */

static char *message_of(struct dev_ranks *d, size_t bytes)
{
    if (bytes > d->message_cap) {
        d->message = mem_grow(d->message, bytes);
        d->message_cap = bytes;
    }
    return d->message;
}

static bool same_run(const struct dev_row *rows, size_t i)
{
    return i > 0 && rows[i].pages == rows[i - 1].pages && rows[i].state == rows[i - 1].state;
}

static uint32_t pages_of(const struct dev_row *rows, size_t n, size_t i)
{
    while (i + 1 < n && same_run(rows, i + 1))
        i++;
    return (uint32_t)rows[i].pos / DEV_PAGE + 1;
}

static bool tell_rows(struct dev_ranks *d, const struct dev_row *rows, size_t n)
{
    size_t n_pages = 0;
    for (size_t i = 0; i < n; i++)
        n_pages += same_run(rows, i) ? 0 : pages_of(rows, n, i);
    size_t bytes = sizeof(struct ranks_head) + n * sizeof(struct ranks_row) +
                   n_pages * sizeof(uint32_t);
    char *message = message_of(d, bytes);
    struct ranks_head head = {.kind = RANKS_ROWS, .n = (uint32_t)n, .bytes = bytes};
    char *at = message + sizeof head, *pages = at + n * sizeof(struct ranks_row);
    memcpy(message, &head, sizeof head);
    for (size_t i = 0; i < n; i++, at += sizeof(struct ranks_row)) {
        struct ranks_row r = {.token = rows[i].token,
                              .pos = rows[i].pos,
                              .out = rows[i].out,
                              .hidden = rows[i].hidden,
                              .state = rows[i].state,
                              .keep = rows[i].keep,
                              .n_pages = same_run(rows, i) ? 0 : pages_of(rows, n, i)};
        memcpy(at, &r, sizeof r);
        memcpy(pages, rows[i].pages, r.n_pages * sizeof(uint32_t));
        pages += r.n_pages * sizeof(uint32_t);
    }
    return tell(&d->opts.ranks, message, bytes);
}

static enum err ranks_check(struct dev *dev, struct errinfo *e)
{
    (void)dev;
    return ranks_broken() ? err_set(e, ERR_NETWORK, "%s", ranks_why()) : ERR_OK;
}

static enum err ranks_admit(struct dev *dev, const struct dev_row *rows, size_t n,
                            struct errinfo *e)
{
    struct dev *inner = ranks_dev(dev)->inner;
    TRY(ranks_check(dev, e));
    for (size_t i = 0; i < n; i++)
        if (rows[i].x || rows[i].lora)
            return err_set(e, ERR_UNSUPPORTED, "a model that several processes compute takes no %s",
                           rows[i].x ? "pictures" : "adapters");
    return inner->admit ? inner->admit(inner, rows, n, e) : ERR_OK;
}

static void ranks_step(struct dev *dev, const struct dev_row *rows, size_t n)
{
    struct dev_ranks *d = ranks_dev(dev);
    if (!tell_rows(d, rows, n))
        return;
    d->inner->step(d->inner, rows, n);
    dev->logits = d->inner->logits;
    dev->hidden = d->inner->hidden;
}

static void ranks_copy_page(struct dev *dev, uint32_t to, uint32_t from)
{
    struct dev_ranks *d = ranks_dev(dev);
    tell_short(d, RANKS_COPY_PAGE, to, from);
    d->inner->copy_page(d->inner, to, from);
}

static void ranks_clear_state(struct dev *dev, uint32_t slot)
{
    struct dev_ranks *d = ranks_dev(dev);
    tell_short(d, RANKS_CLEAR_STATE, slot, 0);
    d->inner->clear_state(d->inner, slot);
}

static void ranks_copy_state(struct dev *dev, uint32_t to, uint32_t from)
{
    struct dev_ranks *d = ranks_dev(dev);
    tell_short(d, RANKS_COPY_STATE, to, from);
    d->inner->copy_state(d->inner, to, from);
}

static bool ranks_kept(struct dev *dev, uint64_t wait_ns)
{
    (void)dev;
    (void)wait_ns;
    return true;
}

static void ranks_dev_close(struct dev *dev)
{
    struct dev_ranks *d = ranks_dev(dev);
    if (d->inner) {
        tell_short(d, RANKS_CLOSE, 0, 0);
        d->inner->close(d->inner);
        in_use = false;
    }
    ranks_link_done(&d->link);
    dev_peers_close(&d->peers);
    plan_free(d->share);
    mem_free(d->message);
    mem_free(d);
}

/* ---- opening ---- */

/* What a share is opened with: its packed weights are not kept, since a file of them is known by
 * the model's alone. */
static struct dev_opts share_opts(const struct dev_opts *o, const struct dev_link *link)
{
    struct dev_opts s = *o;
    s.ranks = (struct plan_ranks){0};
    s.packed_dir = NULL;
    s.link = link;
    return s;
}

static enum err need_of(const struct plan *p, const struct dev_opts *o, size_t rank,
                        struct dev_need *need, struct errinfo *e)
{
    struct plan *share;
    TRY(plan_share_new(&share, p->model, &o->ranks, rank, e));
    struct dev_opts s = share_opts(o, NULL);
    enum err r = dev_need_here(share, &s, need, e);
    need->work += ranks_link_floats(share, o) * sizeof(float);
    plan_free(share);
    return r;
}

/* The most that any of them needs, times those on this machine, which share its memory. */
enum err dev_ranks_need(const struct plan *p, const struct dev_opts *o, struct dev_need *need,
                        struct errinfo *e)
{
    size_t here = MIN(ranks_on_machine(), n_ranks(&o->ranks));
    if (o->watch)
        return err_set(e, ERR_UNSUPPORTED, "importances are counted by one process alone");
    *need = (struct dev_need){.pages_max = SIZE_MAX};
    for (size_t rank = 0; rank < n_ranks(&o->ranks); rank++) {
        struct dev_need x;
        TRY(need_of(p, o, rank, &x, e));
        need->weights = MAX(need->weights, x.weights);
        need->page = MAX(need->page, x.page);
        need->state = MAX(need->state, x.state);
        need->work = MAX(need->work, x.work);
        need->pages_max = MIN(need->pages_max, x.pages_max);
    }
    if (need->weights > SIZE_MAX / 4 / here || need->work > SIZE_MAX / 4 / here)
        return err_set(e, ERR_MEMORY, "the model is too large to be computed with");
    need->weights *= here;
    need->page *= here;
    need->state *= here;
    need->work *= here;
    return ERR_OK;
}

static bool tell_open(const struct dev_ranks *d, const struct model *m)
{
    const struct dev_opts *o = &d->opts;
    struct ranks_open_body b = {
        .head = {.kind = RANKS_OPEN, .bytes = sizeof b},
        .file_bytes = m->gguf ? gguf_file_bytes(m->gguf) : 0,
        .file_key = ranks_file_key(m),
        .n_pages = o->n_pages,
        .n_states = o->n_states,
        .rows_max = o->rows_max,
        .out_max = o->out_max,
        .ctx_max = o->ctx_max,
        .tensor = o->ranks.tensor,
        .pipeline = o->ranks.pipeline,
        .kv = (int32_t)o->kv,
        .numerics = (int32_t)o->numerics,
        .level = (int32_t)o->level,
    };
    snprintf(b.version, sizeof b.version, "%s", DAMSO_VERSION);
    return tell(&o->ranks, &b, sizeof b);
}

/* What each of the others says of its share; the first error is the answer. */
static enum err hear(const struct dev_ranks *d, struct errinfo *e)
{
    size_t n = n_ranks(&d->opts.ranks) - 1;
    struct ranks_reply *reply = mem_alloc(n * sizeof *reply);
    struct ranks_io io[RANKS_MAX];
    enum err r = ERR_OK;
    for (size_t i = 0; i < n; i++)
        io[i] = (struct ranks_io){&reply[i], sizeof *reply, i + 1, false};
    if (!ranks_run(io, n, RANKS_LOAD))
        r = err_set(e, ERR_NETWORK, "%s", ranks_why());
    for (size_t i = 0; i < n && r == ERR_OK; i++)
        if (reply[i].code != ERR_OK)
            r = err_set(e, (enum err)reply[i].code, "process %zu: %.*s", i + 1,
                        (int)sizeof reply[i].text, reply[i].text);
    mem_free(reply);
    return r;
}

static void set_functions(struct dev_ranks *d)
{
    struct dev *x = d->inner;
    d->dev = (struct dev){.name = x->name,
                          .admit = ranks_admit,
                          .step = ranks_step,
                          .check = ranks_check,
                          .copy_page = ranks_copy_page,
                          .clear_state = ranks_clear_state,
                          .copy_state = ranks_copy_state,
                          .kept = ranks_kept,
                          .close = ranks_dev_close,
                          .logits = x->logits,
                          .hidden = x->hidden,
                          .logits_stride = x->logits_stride,
                          .hidden_stride = x->hidden_stride,
                          .page_bytes = x->page_bytes,
                          .state_bytes = x->state_bytes,
                          .sim = x->sim};
}

enum err dev_ranks_open(struct dev **out, const struct plan *p, const struct dev_opts *o,
                        struct errinfo *e)
{
    *out = NULL;
    if (in_use)
        return err_set(e, ERR_UNSUPPORTED, "the processes that mpirun started compute one model");
    struct dev_ranks *d = mem_alloc(sizeof *d);
    d->opts = *o;
    ranks_link_init(&d->link, &o->ranks, 0);
    d->dev.close = ranks_dev_close;
    enum err r = plan_share_new(&d->share, p->model, &o->ranks, 0, e);
    if (r == ERR_OK && o->sim.chip)
        r = dev_peers_open(&d->peers, p->model, &o->ranks, e);
    if (r == ERR_OK && !tell_open(d, p->model))
        r = err_set(e, ERR_NETWORK, "%s", ranks_why());
    if (r == ERR_OK) {
        struct errinfo there;
        struct dev_opts s = share_opts(o, &d->link.link);
        s.peers = o->sim.chip ? &d->peers : NULL;
        r = dev_open_here(&d->inner, d->share, &s, e);
        enum err theirs = hear(d, &there);
        in_use = true;
        if (r == ERR_OK && theirs != ERR_OK) {
            r = theirs;
            *e = there;
        }
        if (!d->inner) {
            tell_short(d, RANKS_CLOSE, 0, 0);
            in_use = false;
        }
    }
    if (r != ERR_OK) {
        ranks_dev_close(&d->dev);
        return r;
    }
    set_functions(d);
    *out = &d->dev;
    return ERR_OK;
}

void dev_ranks_end(void)
{
    const struct ranks_head head = {.kind = RANKS_END, .bytes = sizeof head};
    struct plan_ranks all = {ranks_started(), 1};
    tell(&all, &head, sizeof head);
}
