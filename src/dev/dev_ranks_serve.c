/* SPDX-License-Identifier: MIT
 * dev_ranks_serve.c - the other processes: each computes its share of the steps that the first one
 * tells it. */
#include "dev/dev_ranks.h"

#include "base/arena.h"
#include "base/num.h"
#include "dev/dev_ranks_int.h"
#include "gguf/gguf.h"
#include "model/model.h"
#include "os/os_sys.h"

#include <stdio.h>
#include <string.h>

struct worker {
    struct model *model;
    int n_threads;
    struct dev *dev; /* NULL: none is open */
    struct plan *share;
    struct dev_opts opts;
    struct ranks_link link;
    char *message; /* [message_cap] */
    size_t message_cap;
    struct dev_row *rows; /* [opts.rows_max] */
};

/* The next message of the first process, whole. */
static bool hear(struct worker *w, struct ranks_head *head)
{
    struct ranks_io io = {w->message, RANKS_SHORT, 0, false};
    if (!ranks_run(&io, 1, RANKS_IDLE))
        return false;
    memcpy(head, w->message, sizeof *head);
    CHECK(head->bytes >= sizeof *head);
    if (head->bytes <= RANKS_SHORT)
        return true;
    if (head->bytes > w->message_cap) {
        w->message = mem_grow(w->message, head->bytes);
        w->message_cap = head->bytes;
    }
    io = (struct ranks_io){w->message + RANKS_SHORT, head->bytes - RANKS_SHORT, 0, false};
    return ranks_run(&io, 1, RANKS_STEP);
}

/* ---- opening ---- */

static void close_share(struct worker *w)
{
    if (w->dev)
        w->dev->close(w->dev);
    w->dev = NULL;
    plan_free(w->share);
    w->share = NULL;
    mem_free(w->rows);
    w->rows = NULL;
}

static enum err check_alike(const struct worker *w, const struct ranks_open_body *b,
                            struct errinfo *e)
{
    const struct model *m = w->model;
    if (strncmp(b->version, DAMSO_VERSION, sizeof b->version) != 0)
        return err_set(e, ERR_UNSUPPORTED, "it is damso %s, and the first one is %.*s",
                       DAMSO_VERSION, (int)sizeof b->version, b->version);
    if (b->file_bytes != (m->gguf ? gguf_file_bytes(m->gguf) : 0) ||
        b->file_key != ranks_file_key(m))
        return err_set(e, ERR_UNSUPPORTED, "%s is another file than the first process has",
                       m->gguf ? gguf_path(m->gguf) : "the model");
    if (cpu_capped((enum cpu_level)b->level) != (enum cpu_level)b->level)
        return err_set(e, ERR_UNSUPPORTED,
                       "its processor is below %s, by which the first one computes: --cpu %s",
                       cpu_level_name((enum cpu_level)b->level), cpu_level_name(cpu_best()));
    return ERR_OK;
}

static enum err check_memory(const struct worker *w, struct errinfo *e)
{
    struct dev_need need;
    TRY(dev_cpu_need(w->share, &w->opts, &need, e));
    size_t all = need.weights + need.work + w->opts.n_pages * need.page +
                 w->opts.n_states * need.state;
    size_t room = os_mem_available() / ranks_on_machine();
    if (all > room)
        return err_set(e, ERR_MEMORY, "its share takes %zu MiB, and %zu MiB are free", all >> 20,
                       room >> 20);
    return ERR_OK;
}

static enum err open_share(struct worker *w, const struct ranks_open_body *b, struct errinfo *e)
{
    const struct plan_ranks of = {(size_t)b->tensor, (size_t)b->pipeline};
    TRY(check_alike(w, b, e));
    w->opts = (struct dev_opts){.n_pages = (size_t)b->n_pages,
                                .n_states = (size_t)b->n_states,
                                .rows_max = (size_t)b->rows_max,
                                .out_max = (size_t)b->out_max,
                                .ctx_max = (size_t)b->ctx_max,
                                .n_threads = w->n_threads,
                                .level = (enum cpu_level)b->level,
                                .kv = (enum kern_kv)b->kv,
                                .numerics = (enum kern_numerics)b->numerics,
                                .link = &w->link.link};
    model_use_context(w->model, w->opts.ctx_max);
    TRY(plan_share_new(&w->share, w->model, &of, ranks_number(), e));
    TRY(check_memory(w, e));
    ranks_link_done(&w->link);
    ranks_link_init(&w->link, &of, ranks_number());
    TRY(dev_cpu_open(&w->dev, w->share, &w->opts, e));
    w->rows = mem_alloc(w->opts.rows_max * sizeof *w->rows);
    return ERR_OK;
}

static bool open_and_say(struct worker *w)
{
    struct ranks_open_body b;
    struct ranks_reply reply = {0};
    struct errinfo e = {0};
    memcpy(&b, w->message, sizeof b);
    close_share(w);
    reply.code = open_share(w, &b, &e);
    snprintf(reply.text, sizeof reply.text, "%s", e.text);
    if (reply.code != ERR_OK)
        close_share(w);
    struct ranks_io io = {&reply, sizeof reply, 0, true};
    return ranks_run(&io, 1, RANKS_LOAD);
}

/* ---- steps ---- */

static void step(struct worker *w, const struct ranks_head *head)
{
    const char *at = w->message + sizeof *head;
    const char *pages = at + head->n * sizeof(struct ranks_row), *end = w->message + head->bytes;
    CHECK(w->dev && head->n >= 1 && head->n <= w->opts.rows_max && pages <= end);
    for (size_t i = 0; i < head->n; i++, at += sizeof(struct ranks_row)) {
        struct ranks_row r;
        memcpy(&r, at, sizeof r);
        CHECK((i > 0 || r.n_pages) && r.n_pages <= (size_t)(end - pages) / sizeof(uint32_t));
        w->rows[i] = (struct dev_row){.token = r.token,
                                      .pos = r.pos,
                                      .pages = r.n_pages ? (const uint32_t *)(const void *)pages
                                                         : w->rows[i - 1].pages,
                                      .state = r.state,
                                      .keep = r.keep,
                                      .out = r.out,
                                      .hidden = r.hidden};
        pages += r.n_pages * sizeof(uint32_t);
    }
    w->dev->step(w->dev, w->rows, head->n);
}

/* False: it is over. */
static bool obey(struct worker *w, const struct ranks_head *head)
{
    switch ((enum ranks_kind)head->kind) {
    case RANKS_OPEN: return open_and_say(w);
    case RANKS_ROWS: step(w, head); break;
    case RANKS_COPY_PAGE: w->dev->copy_page(w->dev, head->to, head->from); break;
    case RANKS_CLEAR_STATE: w->dev->clear_state(w->dev, head->to); break;
    case RANKS_COPY_STATE: w->dev->copy_state(w->dev, head->to, head->from); break;
    case RANKS_CLOSE: close_share(w); break;
    case RANKS_END: return false;
    }
    return !ranks_broken();
}

enum err dev_ranks_serve(struct model *m, int n_threads, struct errinfo *e)
{
    struct worker w = {.model = m, .n_threads = n_threads, .message_cap = RANKS_SHORT};
    struct ranks_head head;
    w.message = mem_alloc(w.message_cap);
    while (hear(&w, &head) && obey(&w, &head))
        ;
    close_share(&w);
    ranks_link_done(&w.link);
    mem_free(w.message);
    return ranks_broken() ? err_set(e, ERR_NETWORK, "%s", ranks_why()) : ERR_OK;
}
