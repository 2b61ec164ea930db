/* SPDX-License-Identifier: MIT */
#include "app/app_ranks.h"

#include "app/models.h"
#include "base/log.h"
#include "base/num.h"
#include "dev/dev_ranks.h"
#include "gguf/gguf.h"
#include "model/model.h"
#include "os/os_sandbox.h"
#include "os/os_sys.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool app_ranks_is_worker(void)
{
    return ranks_started() > 1 && ranks_number() > 0;
}

/* Processes of one machine share its processors, unless mpirun gave each its own. */
static int threads_of(const struct conf *c)
{
    long all = sysconf(_SC_NPROCESSORS_ONLN);
    int own = os_n_cpus(), here = (int)ranks_on_machine();
    if (c->threads)
        return (int)c->threads;
    return all > 0 && own * here > (int)all ? MAX((int)all / here, 1) : own;
}

static enum err split(const struct conf *c, struct plan_ranks *out, struct errinfo *e)
{
    size_t n = ranks_started(), stages = (size_t)c->pipeline_parallel;
    size_t tensor = (size_t)c->tensor_parallel;
    if (!tensor)
        tensor = n / stages;
    *out = (struct plan_ranks){tensor, stages};
    if (tensor * stages == n)
        return ERR_OK;
    return err_set(e, ERR_USAGE,
                   "mpirun started %zu processes, which are no %zu stages (--pipeline-parallel) of "
                   "%zu (--tensor-parallel)",
                   n, stages, MAX(tensor, (size_t)1));
}

static enum err check(const struct conf *c, struct errinfo *e)
{
    if (ranks_started() > 1 && c->draft[0])
        return err_set(e, ERR_USAGE,
                       "a draft model beside one that several processes compute is not supported: "
                       "leave out --draft");
    if (ranks_started() > 1 && c->lora[0])
        return err_set(e, ERR_USAGE,
                       "adapters of a model that several processes compute are not supported: "
                       "leave out --lora");
    if (ranks_started() > 1 || (c->pipeline_parallel == 1 && c->tensor_parallel <= 1))
        return ERR_OK;
    return err_set(e, ERR_USAGE,
                   "--tensor-parallel and --pipeline-parallel deal a model out to the processes "
                   "that mpirun starts: mpirun -n N damso ...");
}

static enum err join(const struct conf *c, bool (*hurry)(void), void (*broken)(void),
                     struct errinfo *e)
{
    const struct ranks_opts o = {(unsigned)c->rank_timeout, hurry, broken};
    return ranks_are_open() ? ERR_OK : ranks_open(&o, e);
}

enum err app_ranks_open(const struct conf *c, struct engine_opts *o, bool (*hurry)(void),
                        void (*broken)(void), struct errinfo *e)
{
    TRY(check(c, e));
    if (ranks_started() == 1)
        return ERR_OK;
    if (app_ranks_is_worker()) {
        enum err r = app_ranks_work(c, false, e);
        if (r != ERR_OK)
            fprintf(stderr, "damso: %s\n", e->text);
        exit(err_exit(r));
    }
    TRY(split(c, &o->ranks, e));
    o->n_threads = threads_of(c);
    return join(c, hurry, broken, e);
}

/* ---- the other processes ---- */

static enum err give_up(const char *path, struct errinfo *e)
{
    struct os_sandbox s;
    const char *const read[] = {path, NULL};
    const struct os_sandbox_opts o = {.read = read, .remove = ranks_removes, .beside = true};
    char text[64];
    TRY(os_sandbox_files(&s, &o, e));
    TRY(os_sandbox_calls(&s, &o, e));
    os_sandbox_text(&s, text);
    log_at(LOG_INFO, "ranks", "sandbox %s", text);
    return ERR_OK;
}

static enum err work(const struct conf *c, const char *path, bool confined, struct errinfo *e)
{
    struct gguf *g;
    struct model *m;
    TRY(gguf_open(&g, path, e));
    enum err r = model_open(&m, g, e);
    if (r == ERR_OK && confined)
        r = give_up(path, e);
    if (r == ERR_OK)
        r = dev_ranks_serve(m, threads_of(c), e);
    model_close(m);
    gguf_close(g);
    return r;
}

enum err app_ranks_work(const struct conf *c, bool serves, struct errinfo *e)
{
    struct arena arena;
    const char *path;
    struct plan_ranks of;
    TRY(check(c, e));
    TRY(split(c, &of, e));
    TRY(join(c, NULL, NULL, e));
    /* A terminal's interrupt and mpirun's end are for the first one to act on. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    arena_init(&arena);
    enum err r = models_resolve(c, &arena, &path, e);
    if (r == ERR_OK)
        r = work(c, path, serves && strcmp(c->sandbox, "off") != 0, e);
    arena_done(&arena);
    if (r == ERR_OK) /* else mpirun is to see that this one did not end well, and ends the others */
        ranks_close();
    return r;
}

void app_ranks_end(void)
{
    if (!ranks_are_open() || app_ranks_is_worker())
        return;
    if (!ranks_broken())
        dev_ranks_end();
    ranks_close();
}
