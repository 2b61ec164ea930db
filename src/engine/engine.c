/* SPDX-License-Identifier: MIT
 * engine.c - opening within a memory budget, sequences and their pages, steps. */
#include "engine/engine_int.h"

#include "base/arena.h"
#include "base/num.h"
#include "engine/engine_cache.h"
#include "os/os_sys.h"

#include <string.h>

#define ENGINE_BATCH   512
#define ENGINE_RESERVE ((size_t)256 << 20) /* left to the system */
#define ENGINE_CTX_MIN 512                 /* less is no conversation */
#define ENGINE_TEXT    2048 /* tokens of an encoder's text, unless more are asked for */

_Static_assert(ENGINE_PAGE == DEV_PAGE, "pages are the device's");

/* ---- opening ---- */

static size_t budget_of(const struct engine_opts *o)
{
    size_t free_bytes = os_mem_available();
    size_t usable = free_bytes > ENGINE_RESERVE ? free_bytes - ENGINE_RESERVE : 0;
    return o->memory ? MIN(o->memory, usable) : usable;
}

static struct dev_opts dev_opts_of(const struct engine *en)
{
    const struct engine_opts *o = &en->opts;
    return (struct dev_opts){.n_pages = en->n_pages,
                             .n_states = en->n_states,
                             .rows_max = o->batch,
                             .out_max = o->out_max,
                             .n_threads = o->n_threads,
                             .level = o->level,
                             .kv = o->kv,
                             .numerics = o->numerics,
                             .sim = o->sim,
                             .ctx_max = o->ctx,
                             .packed_dir = o->packed_dir,
                             .packed_bytes_min = o->packed_bytes_min,
                             .packed_bytes_max = o->packed_bytes_max,
                             .progress = o->progress,
                             .progress_arg = o->progress_arg,
                             .watch = o->watch,
                             .ranks = o->ranks};
}

static enum err need_of(const struct engine *en, struct dev_need *need, struct errinfo *e)
{
    struct dev_opts d = dev_opts_of(en);
    return dev_need(en->plan, &d, need, e);
}

static const char *path_of(const struct engine *en)
{
    return en->model->gguf ? gguf_path(en->model->gguf) : "the model";
}

/* Pages that a simulated chip's memory holds, with what is beside this engine. */
static size_t chip_pages(const struct dev_need *need, const struct engine_need *beside)
{
    double page = need->chip_page + beside->chip_page;
    double left = need->chip_all - need->chip_fixed - beside->chip_fixed;
    if (need->chip_all <= 0 || page <= 0 || beside->chip_fixed <= 0)
        return need->pages_max;
    return left > page ? MIN(need->pages_max, (size_t)(left / page)) : 0;
}

/* A simulated chip's memory holds `most` pages. */
static enum err fit_chip(struct engine *en, size_t most, bool given, size_t *pages,
                         struct errinfo *e)
{
    struct engine_opts *o = &en->opts;
    if (*pages <= most)
        return ERR_OK;
    if (o->sim.dry && most * DEV_PAGE >= o->ctx) { /* of a load: what there is */
        *pages = most;
        return ERR_OK;
    }
    if (given || o->ctx_total || most == 0)
        return err_set(
            e, ERR_MEMORY,
            "%s: %zu tokens of context are more than the %zu that fit into the memory of "
            "%s beside the weights%s; a shorter context (--ctx) or fewer bits (--numerics "
            "int8) would help",
            path_of(en), *pages * DEV_PAGE, most * DEV_PAGE, o->sim.name,
            o->beside.chip_fixed > 0 ? " and a draft model" : "");
    *pages = most;
    o->ctx = MIN(o->ctx, most * DEV_PAGE);
    return ERR_OK;
}

/* Slots for sequences' states, and their bytes: as many as are of use, unless that would be more
 * than a quarter of what is left; one in any case. */
static size_t fit_states(struct engine *en, size_t bytes, size_t left)
{
    if (bytes == 0)
        return 0;
    en->n_states = MIN(state_slots(&en->opts), MAX(left / 4 / bytes, (size_t)1));
    return en->n_states * bytes;
}

/* The most tokens of context that fit beside the weights; the error names what does not. */
static enum err fit_context(struct engine *en, struct errinfo *e)
{
    struct engine_opts *o = &en->opts;
    const char *path = path_of(en);
    bool given = o->ctx != 0;
    size_t budget = budget_of(o), pages;
    struct dev_need need;
    if (o->ctx > en->model->ctx_trained)
        return err_set(e, ERR_CONTEXT,
                       "%s: a context of %zu tokens is more than the model's own %zu", path, o->ctx,
                       en->model->ctx_trained);
    o->ctx = given ? o->ctx : en->model->ctx_trained;
    TRY(need_of(en, &need, e));
    size_t page = need.page + o->beside.page, fixed = need.weights + need.work + o->beside.fixed;
    size_t states = fit_states(en, need.state, budget > fixed ? budget - fixed : 0);
    fixed += states;
    size_t left = budget > fixed ? budget - fixed : 0;
    size_t room = page ? left / page : SIZE_MAX;
    pages = num_div_up(o->ctx_total ? o->ctx_total : o->ctx, DEV_PAGE);
    TRY(fit_chip(en, chip_pages(&need, &o->beside), given, &pages, e));
    if (pages > room && !given && !o->ctx_total) {
        pages = room;
        o->ctx = MIN(o->ctx, pages * DEV_PAGE);
    }
    bool too_short = !given && o->ctx < MIN((size_t)ENGINE_CTX_MIN, en->model->ctx_trained);
    if (fixed > budget || pages > room || too_short)
        return err_set(e, ERR_MEMORY,
                       "%s: %zu MiB for weights%s, %zu MiB for buffers and %zu MiB for %zu tokens "
                       "of context are more than the %zu MiB that may be taken (%zu MiB are "
                       "free)",
                       path, (need.weights + o->beside.fixed) >> 20,
                       o->beside.fixed ? " and a draft model" : "", need.work >> 20,
                       MAX(pages, (size_t)1) * page >> 20, MAX(pages, (size_t)1) * DEV_PAGE,
                       budget >> 20, os_mem_available() >> 20);
    en->n_pages = pages;
    en->memory = (struct engine_memory){
        .file = en->model->gguf ? (size_t)gguf_file_bytes(en->model->gguf) : 0,
        .weights = need.weights,
        .context = pages * need.page + states,
        .work = need.work};
    return ERR_OK;
}

/* Both ways: a text is one step, and keeps nothing after it.  Room for a step of many short ones.
 */
static void fit_texts(struct engine *en)
{
    struct engine_opts *o = &en->opts;
    if (!en->model->bidirectional)
        return;
    size_t most = en->model->ctx_trained;
    o->ctx = MIN(most, o->ctx ? o->ctx : MAX(o->batch, (size_t)ENGINE_TEXT));
    o->batch = MAX(o->batch, o->ctx);
    o->ctx_total = o->batch + 2 * DEV_PAGE * o->out_max;
    o->kv = KERN_KV_f16; /* of one layer and one step: fewer bits would save nothing */
}

static enum err plan_all(struct engine *en, const struct gguf *g, struct errinfo *e)
{
    struct engine_opts *o = &en->opts;
    if (!en->model)
        TRY(model_open(&en->model, g, e));
    en->plan = plan_new(en->model);
    o->batch = o->batch ? o->batch : ENGINE_BATCH;
    o->out_max = o->out_max ? o->out_max : 1;
    o->n_threads = o->n_threads ? o->n_threads : os_n_cpus();
    fit_texts(en);
    return ERR_OK;
}

static enum err open_all(struct engine *en, const struct gguf *g, struct errinfo *e)
{
    struct engine_opts *o = &en->opts;
    TRY(plan_all(en, g, e));
    TRY(fit_context(en, e));
    model_use_context(en->model, o->ctx);
    struct dev_opts d = dev_opts_of(en);
    TRY(dev_open(&en->dev, en->plan, &d, e));
    en->free = mem_alloc(en->n_pages * sizeof *en->free);
    en->refs = mem_alloc(en->n_pages * sizeof *en->refs);
    en->learnt = mem_alloc(en->n_pages * sizeof *en->learnt);
    en->rows = mem_alloc(o->batch * sizeof *en->rows);
    for (size_t i = 0; i < en->n_pages; i++) /* the lowest page is handed out first */
        en->free[en->n_free++] = (uint32_t)(en->n_pages - 1 - i);
    prefix_init(en);
    state_init(en);
    return ERR_OK;
}

static enum err open_it(struct engine **out, const struct gguf *g, struct model *m,
                        const struct engine_opts *o, struct errinfo *e)
{
    struct engine *en = mem_alloc(sizeof *en);
    en->opts = *o;
    en->model = m;
    enum err r = open_all(en, g, e);
    if (r != ERR_OK) {
        engine_close(en);
        en = NULL;
    }
    *out = en;
    return r;
}

enum err engine_open(struct engine **out, const struct gguf *g, const struct engine_opts *o,
                     struct errinfo *e)
{
    return open_it(out, g, NULL, o, e);
}

enum err engine_open_shape(struct engine **out, struct model *m, const struct engine_opts *o,
                           struct errinfo *e)
{
    CHECK(dev_sim_wanted(&o->sim) && o->sim.dry);
    return open_it(out, NULL, m, o, e);
}

void engine_close(struct engine *en)
{
    if (!en)
        return;
    engine_cache_close(en);
    if (en->dev)
        en->dev->close(en->dev);
    plan_free(en->plan);
    lora_done(en);
    model_close(en->model);
    prefix_done(en);
    state_done(en);
    mem_free(en->free);
    mem_free(en->refs);
    mem_free(en->learnt);
    mem_free(en->rows);
    mem_free(en);
}

static enum err count(struct engine *en, const struct gguf *g, struct engine_need *need,
                      struct errinfo *e)
{
    struct dev_need dev;
    TRY(plan_all(en, g, e));
    size_t ctx = en->model->ctx_trained;
    en->opts.ctx = en->opts.ctx ? MIN(en->opts.ctx, ctx) : ctx;
    TRY(need_of(en, &dev, e));
    size_t states = dev.state ? state_slots(&en->opts) : 0;
    *need = (struct engine_need){dev.weights + dev.work + states * dev.state, dev.page,
                                 dev.chip_fixed, dev.chip_page};
    return ERR_OK;
}

enum err engine_count(const struct gguf *g, const struct engine_opts *o, struct engine_need *need,
                      struct errinfo *e)
{
    struct engine *en = mem_alloc(sizeof *en);
    en->opts = *o;
    enum err r = count(en, g, need, e);
    engine_close(en);
    return r;
}

const struct model *engine_model(const struct engine *en)
{
    return en->model;
}

size_t engine_ctx(const struct engine *en)
{
    return en->opts.ctx;
}

size_t engine_ctx_total(const struct engine *en)
{
    return en->n_pages * ENGINE_PAGE;
}

size_t engine_batch(const struct engine *en)
{
    return en->opts.batch;
}

size_t engine_out_max(const struct engine *en)
{
    return en->opts.out_max;
}

int engine_threads(const struct engine *en)
{
    return en->opts.n_threads;
}

const struct dev_sim *engine_sim(const struct engine *en)
{
    return en->dev->sim;
}

struct engine_memory engine_memory(const struct engine *en)
{
    return en->memory;
}

bool engine_kept(struct engine *en, uint64_t wait_ns)
{
    return en->dev->kept(en->dev, wait_ns);
}

/* ---- pages ---- */

uint32_t engine_page_take(struct engine *en)
{
    if (en->n_free == 0)
        prefix_forget_one(en);
    uint32_t page = en->free[--en->n_free];
    en->refs[page] = 1;
    return page;
}

/* Of a page that the tree holds, 1 to 2 references is the first sequence that comes, 2 to 1 the
 * last that goes. */
void engine_page_hold(struct engine *en, uint32_t page)
{
    CHECK(en->refs[page] > 0);
    en->n_cached -= en->learnt[page] && en->refs[page] == 1;
    en->refs[page]++;
}

void engine_page_drop(struct engine *en, uint32_t page)
{
    CHECK(en->refs[page] > 0);
    en->refs[page]--;
    en->n_cached += en->learnt[page] && en->refs[page] == 1;
    if (en->refs[page] == 0)
        en->free[en->n_free++] = page;
}

size_t engine_pages_free(const struct engine *en)
{
    return en->n_free + en->n_cached;
}

/* ---- sequences ---- */

struct engine_seq *engine_seq_new(struct engine *en)
{
    struct engine_seq *s = mem_alloc(sizeof *s);
    s->en = en;
    s->state = DEV_NONE;
    s->second = SIZE_MAX;
    s->tokens = mem_alloc(en->opts.ctx * sizeof *s->tokens);
    s->pages = mem_alloc(num_div_up(en->opts.ctx, DEV_PAGE) * sizeof *s->pages);
    return s;
}

void engine_seq_free(struct engine_seq *s)
{
    if (!s)
        return;
    prefix_learn_rest(s);
    state_leave(s);
    engine_seq_cut(s, 0);
    mem_free(s->tokens);
    mem_free(s->pages);
    mem_free(s);
}

size_t engine_seq_len(const struct engine_seq *s)
{
    return s->n;
}

const int32_t *engine_seq_tokens(const struct engine_seq *s)
{
    return s->tokens;
}

void engine_seq_types(struct engine_seq *s, size_t second)
{
    CHECK(s->n == 0 && second > 0 && s->en->model->n_types > 1);
    s->second = second;
}

/* The page that n falls into will be written again: when others hold it, the sequence gets a copy,
 * or gives up what it has of it where no page is free. */
static void own_last_page(struct engine_seq *s)
{
    struct engine *en = s->en;
    uint32_t *page = &s->pages[s->n_pages - 1];
    if (s->n % DEV_PAGE == 0 || en->refs[*page] == 1)
        return;
    if (engine_pages_free(en) == 0) {
        s->n -= s->n % DEV_PAGE;
        engine_page_drop(en, s->pages[--s->n_pages]);
        return;
    }
    uint32_t copy = engine_page_take(en);
    en->dev->copy_page(en->dev, copy, *page);
    engine_page_drop(en, *page);
    *page = copy;
}

void engine_seq_cut(struct engine_seq *s, size_t n)
{
    CHECK(n <= s->n);
    s->n = n = state_cut(s, n);
    s->n_draft = 0;
    prefix_cut(s, n / DEV_PAGE);
    while (s->n_pages > num_div_up(n, DEV_PAGE))
        engine_page_drop(s->en, s->pages[--s->n_pages]);
    if (s->n_pages)
        own_last_page(s);
    prefix_learn(s);
}

/* ---- steps ---- */

/* Rows of the sequence that begins at rows[at]. */
static size_t run_of(const struct engine_row *rows, size_t n, size_t at)
{
    size_t end = at;
    while (end < n && rows[end].seq == rows[at].seq)
        end++;
    return end - at;
}

static bool wants_logits(const struct engine_row *r)
{
    return r->want == ENGINE_LOGITS || r->want == ENGINE_DRAFT;
}

static enum err check_rows(const struct engine *en, const struct engine_row *rows, size_t n,
                           struct errinfo *e)
{
    size_t pages = 0, n_out = 0, states = 0;
    CHECK(n >= 1 && n <= en->opts.batch);
    for (size_t i = 0, run; i < n; i += run) {
        const struct engine_seq *s = rows[i].seq;
        run = run_of(rows, n, i);
        if (en->model->bidirectional && s->n)
            return err_set(e, ERR_USAGE, "%s: a text of the family %s has to be in one step",
                           path_of(en), en->model->arch->name);
        if (run > en->opts.ctx - s->n)
            return err_set(e, ERR_CONTEXT,
                           "the context is full: %zu tokens and %zu more are over the limit of %zu",
                           s->n, run, en->opts.ctx);
        pages += num_div_up(s->n + run, DEV_PAGE) - s->n_pages;
        states += s->state == DEV_NONE;
        TRY(span_check(s, rows + i, run, e));
        for (size_t k = i; k < i + run; k++) {
            n_out += wants_logits(&rows[k]);
            if (!engine_in_span(rows[k].token) && (size_t)rows[k].token >= en->model->n_vocab)
                return err_set(e, ERR_USAGE, "token %d is outside the vocabulary of %zu",
                               rows[k].token, en->model->n_vocab);
        }
    }
    CHECK(n_out <= en->opts.out_max);
    if (n_out && !en->model->output.rows)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: the family %s makes vectors or scores of texts and "
                       "writes none",
                       path_of(en), en->model->arch->name);
    if (pages > engine_pages_free(en))
        return err_set(e, ERR_BUSY, "%zu pages of context are needed and %zu of %zu are free",
                       pages, engine_pages_free(en), en->n_pages);
    if (states > state_free(en))
        return err_set(e, ERR_BUSY, "%zu sequences more need a state and %zu of %zu are free",
                       states, state_free(en), en->n_states);
    return ERR_OK;
}

/* The device's word, before anything is changed. */
static enum err admit(struct engine *en, const struct engine_row *rows, size_t n, struct errinfo *e)
{
    int32_t n_out = 0, n_hidden = 0;
    if (!en->dev->admit)
        return ERR_OK;
    for (size_t i = 0, at = 0; i < n; i++) {
        at = i > 0 && rows[i].seq == rows[i - 1].seq ? at + 1 : rows[i].seq->n;
        en->rows[i] = (struct dev_row){.token = rows[i].token,
                                       .pos = (int32_t)at,
                                       .type = at >= rows[i].seq->second,
                                       .pages = rows[i].seq->pages,
                                       .lora = rows[i].seq->lora.n ? &rows[i].seq->lora : NULL,
                                       .out = wants_logits(&rows[i]) ? n_out++ : -1,
                                       .hidden = rows[i].want == ENGINE_HIDDEN ? n_hidden++ : -1};
        span_set(rows[i].seq, at, &en->rows[i]);
    }
    return en->dev->admit(en->dev, en->rows, n, e);
}

enum err engine_step(struct engine *en, const struct engine_row *rows, size_t n, const float **out,
                     struct errinfo *e)
{
    int32_t n_out = 0, n_hidden = 0;
    TRY(check_rows(en, rows, n, e));
    TRY(admit(en, rows, n, e));
    for (size_t i = 0; i < n; i += run_of(rows, n, i))
        CHECK(state_begin(rows[i].seq));
    for (size_t i = 0; i < n; i++) {
        struct engine_seq *s = rows[i].seq;
        if (s->n == s->n_pages * DEV_PAGE)
            s->pages[s->n_pages++] = engine_page_take(en);
        en->rows[i] = (struct dev_row){.token = rows[i].token,
                                       .pos = (int32_t)s->n,
                                       .type = s->n >= s->second,
                                       .pages = s->pages,
                                       .state = s->state,
                                       .lora = s->lora.n ? &s->lora : NULL,
                                       .out = wants_logits(&rows[i]) ? n_out++ : -1,
                                       .hidden = rows[i].want == ENGINE_HIDDEN ? n_hidden++ : -1};
        span_set(s, s->n, &en->rows[i]);
        s->tokens[s->n++] = rows[i].token;
        en->rows[i].keep = state_keep(s);
        s->n_draft = rows[i].want == ENGINE_DRAFT ? s->n_draft + 1 : 0;
    }
    en->dev->step(en->dev, en->rows, n);
    if (en->dev->check)
        TRY(en->dev->check(en->dev, e));
    for (size_t i = 0; i < n; i += run_of(rows, n, i))
        prefix_learn(rows[i].seq);
    for (size_t i = 0; i < n; i++)
        state_kept(rows[i].seq, en->rows[i].keep, (size_t)en->rows[i].pos + 1);
    const float *logits = en->dev->logits, *hidden = en->dev->hidden;
    for (size_t i = 0; i < n; i++)
        if (wants_logits(&rows[i])) {
            *out++ = logits;
            logits += en->dev->logits_stride;
        } else if (rows[i].want == ENGINE_HIDDEN) {
            *out++ = hidden;
            hidden += en->dev->hidden_stride;
        }
    return ERR_OK;
}

enum err engine_prefill(struct engine *en, struct engine_seq *s, const int32_t *tokens, size_t n,
                        bool (*stop)(void *arg), void *stop_arg, const float **logits,
                        struct errinfo *e)
{
    struct engine_row *rows = mem_alloc(en->opts.batch * sizeof *rows);
    enum err r = ERR_OK;
    CHECK(n >= 1);
    if (n > en->opts.ctx - s->n)
        r = err_set(e, ERR_CONTEXT,
                    "the context is full: %zu tokens and %zu more are over the limit of %zu", s->n,
                    n, en->opts.ctx);
    for (size_t at = 0, len; r == ERR_OK && at < n; at += len) {
        len = MIN(n - at, en->opts.batch);
        for (size_t i = 0; i < len; i++)
            rows[i] = (struct engine_row){s, tokens[at + i],
                                          at + i + 1 == n ? ENGINE_LOGITS : ENGINE_NOTHING};
        r = stop && stop(stop_arg) ? err_set(e, ERR_CANCELLED, "cancelled")
                                   : engine_step(en, rows, len, logits, e);
    }
    mem_free(rows);
    return r;
}
