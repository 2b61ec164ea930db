/* SPDX-License-Identifier: MIT */
#include "app/app_model.h"

#include "api/api_projector.h"
#include "app/app_ranks.h"
#include "app/cmd.h"
#include "app/device.h"
#include "app/models.h"
#include "base/num.h"
#include "hf/hf.h"
#include "npu/npu_chip.h"
#include "os/os_sys.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_AFTER_NS 300000000u
#define BAR_CELLS    30

/* Weights of less are packed within a fraction of a second: not worth the disk. */
#define PACKED_BYTES_MIN ((uint64_t)512 << 20)

struct bar {
    uint64_t began_ns;
    bool shown;
    int cells;
};

static void bar_show(void *arg, double share)
{
    struct bar *b = arg;
    int cells = (int)(share * BAR_CELLS + 0.5);
    if (os_now_ns() - b->began_ns < BAR_AFTER_NS || (b->shown && cells == b->cells))
        return;
    b->shown = true;
    b->cells = cells;
    fprintf(stderr, "\rloading [%.*s%.*s] %3d%%", cells, "##############################",
            BAR_CELLS - cells, "                              ", (int)(share * 100));
    fflush(stderr);
}

enum cpu_level app_level(const struct conf *c)
{
    int cap = strcmp(c->cpu, "auto") == 0 ? (int)cpu_best() : cpu_level_named(c->cpu);
    CHECK(cap >= 0);
    return cpu_capped((enum cpu_level)cap);
}

enum sched_speculate app_speculate(const struct conf *c)
{
    return strcmp(c->speculate, "auto") == 0 ? SCHED_SPEC_AUTO : SCHED_SPEC_OFF;
}

enum kern_kv app_kv(const struct conf *c)
{
    int kv = kern_kv_named(c->kv);
    CHECK(kv >= 0);
    return (enum kern_kv)kv;
}

struct sampler_params app_sampling(const struct conf *c)
{
    return (struct sampler_params){
        .temp = (float)c->temp,
        .top_k = (int32_t)c->top_k,
        .top_p = (float)c->top_p,
        .min_p = (float)c->min_p,
        .typical_p = (float)c->typical_p,
        .repeat_penalty = (float)c->repeat_penalty,
        .presence_penalty = (float)c->presence_penalty,
        .frequency_penalty = (float)c->frequency_penalty,
        .repeat_last_n = c->repeat_last_n,
        .dry_multiplier = (float)c->dry_multiplier,
        .dry_base = (float)c->dry_base,
        .dry_allowed_length = c->dry_allowed_length,
        .dry_last_n = c->dry_penalty_last_n,
    };
}

/* What else the model is opened with. */
struct beside {
    bool draft;
    enum app_sight sight;
};

/* The process that reads pictures is forked here, before there are threads. */
static enum err open_sight(struct app_model *m, const struct conf *c, const char *file,
                           enum app_sight sight, struct errinfo *e)
{
    const char *mmproj;
    TRY(models_mmproj(c->mmproj, file, &m->arena, &mmproj, e));
    if (!mmproj && sight == APP_SEES)
        return err_set(e, ERR_USAGE,
                       "%s takes text alone: no projector (" MODELS_MMPROJ
                       "NAME.gguf) stands beside it, and the setting mmproj names none",
                       file);
    if (!mmproj)
        return ERR_OK;
    TRY(vision_child_open(&m->reader, strcmp(c->sandbox, "off") != 0, e));
    return api_projector_count(&m->vision, mmproj, 1, &m->opts, e);
}

static enum err open_files(struct app_model *m, const struct conf *c, struct beside b,
                           struct errinfo *e)
{
    const char *file, *draft;
    TRY(models_find(c, c->model, &m->arena, &file, e));
    const char *path = file; /* or what `quantize` makes of it */
    TRY(models_quantized(c, &m->arena, &path, e));
    TRY(hf_open(&m->gguf, path, e));
    if (b.draft) {
        TRY(models_find(c, c->draft, &m->arena, &draft, e));
        TRY(api_draft_count(&m->draft, draft, &m->opts, e));
    }
    m->alone = m->opts; /* a draft model reads no pictures */
    return b.sight == APP_BLIND ? ERR_OK : open_sight(m, c, file, b.sight, e);
}

static enum err open_loras(struct app_model *m, const struct conf *c, struct errinfo *e)
{
    const struct api_lora_row *rows;
    size_t n;
    TRY(app_loras(c, &m->arena, &rows, &n, e));
    if (n > ENGINE_LORA_MAX)
        return err_set(e, ERR_USAGE, "lora: %zu adapters at once are more than %d", n,
                       ENGINE_LORA_MAX);
    for (size_t i = 0; i < n; i++) {
        struct gguf *g;
        TRY(gguf_open(&g, rows[i].path, e));
        enum err r = engine_lora_add(m->engine, g, e);
        gguf_close(g);
        TRY(r);
        m->lora.one[i].adapter = (uint32_t)i;
        m->lora.one[i].scale = rows[i].scale;
        m->lora.n++;
    }
    return ERR_OK;
}

static enum err open_model(struct app_model *m, const struct conf *c, struct engine_opts o,
                           struct beside b, struct errinfo *e)
{
    struct bar bar = {.began_ns = os_now_ns()};
    *m = (struct app_model){0};
    o.ctx = (size_t)c->ctx;
    o.memory = (size_t)c->memory << 20;
    o.n_threads = (int)c->threads;
    o.level = app_level(c);
    o.kv = app_kv(c);
    app_packed(c, &o);
    m->opts = o;
    arena_init(&m->arena);
    enum err r = device_open(&m->chip, c, &m->opts, e);
    if (r == ERR_OK)
        r = app_ranks_open(c, &m->opts, cmd_stopped, NULL, e);
    if (r == ERR_OK)
        r = open_files(m, c, b, e);
    if (r == ERR_OK) {
        o = m->opts;
        o.progress = isatty(STDERR_FILENO) ? bar_show : NULL;
        o.progress_arg = &bar;
        r = engine_open(&m->engine, m->gguf, &o, e);
    }
    if (r == ERR_OK)
        r = open_loras(m, c, e);
    if (bar.shown)
        fprintf(stderr, "\r\033[K");
    if (r != ERR_OK)
        app_model_close(m);
    return r;
}

enum err app_model_open(struct app_model *m, const struct conf *c, size_t out_max,
                        struct errinfo *e)
{
    return app_model_open_many(m, c, out_max, 1, e);
}

enum err app_model_open_many(struct app_model *m, const struct conf *c, size_t out_max,
                             size_t n_seqs, struct errinfo *e)
{
    size_t total = n_seqs > 1 ? n_seqs * num_align((size_t)c->ctx, ENGINE_PAGE) : 0;
    return app_model_open_for(m, c, out_max, n_seqs, total, e);
}

enum err app_model_open_for(struct app_model *m, const struct conf *c, size_t out_max,
                            size_t rows_min, size_t ctx_total, struct errinfo *e)
{
    const struct engine_opts o = {.ctx_total = ctx_total,
                                  .batch = MAX((size_t)c->batch, rows_min),
                                  .out_max = out_max,
                                  .seqs = rows_min};
    return open_model(m, c, o, (struct beside){0}, e);
}

enum err app_model_open_watched(struct app_model *m, const struct conf *c, size_t out_max,
                                const struct dev_watch *watch, struct errinfo *e)
{
    const struct engine_opts o = {.batch = (size_t)c->batch, .out_max = out_max, .watch = watch};
    return open_model(m, c, o, (struct beside){0}, e);
}

enum err app_model_open_talk(struct app_model *m, const struct conf *c, enum app_sight sight,
                             struct errinfo *e)
{
    bool guesses = app_speculate(c) != SCHED_SPEC_OFF;
    const struct engine_opts o = {.batch = (size_t)c->batch,
                                  .seqs = 1,
                                  .out_max = 1 + (guesses ? (size_t)SCHED_DRAFT_MAX : 0)};
    return open_model(m, c, o, (struct beside){guesses && c->draft[0], sight}, e);
}

enum err app_model_talk(struct app_model *m, const struct tok *tok, struct chat *chat,
                        struct errinfo *e)
{
    if (m->vision)
        TRY(api_projector_start(m->vision, gguf_path(m->gguf), m->engine, tok, chat, e));
    return m->draft.gguf ? api_draft_open(&m->draft, m->gguf, tok, m->engine, &m->alone, 1, e)
                         : ERR_OK;
}

void app_packed(const struct conf *c, struct engine_opts *o)
{
    o->packed_dir = c->packed ? c->cache_dir : NULL;
    o->packed_bytes_min = PACKED_BYTES_MIN;
    o->packed_bytes_max = (uint64_t)c->packed << 20;
}

static bool all_kept(const struct app_model *m, uint64_t wait_ns)
{
    return engine_kept(m->engine, wait_ns) &&
           (!m->draft.engine || engine_kept(m->draft.engine, wait_ns));
}

void app_model_settle(const struct app_model *m)
{
    bool shown = false;
    for (int i = 0; !cmd_stopped() && !all_kept(m, 100000000); i++)
        if (i == 5 && isatty(STDERR_FILENO)) {
            shown = true;
            fputs("[keeping the model on disk as this machine wants it, for quick starts; Ctrl-C "
                  "skips that]",
                  stderr);
        }
    if (shown)
        fprintf(stderr, "\r\033[K");
}

void app_model_close(struct app_model *m)
{
    api_draft_close(&m->draft);
    vision_close(m->vision);
    vision_child_close(m->reader);
    engine_close(m->engine);
    gguf_close(m->gguf);
    npu_chip_free(m->chip);
    arena_done(&m->arena);
    *m = (struct app_model){0};
}
