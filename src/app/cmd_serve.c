/* SPDX-License-Identifier: MIT
 * cmd_serve.c - damso serve: models for programs, over HTTP.
 *
 * Which models: serve_models.h; how more come: serve_pull.h.  Prints one line with the URL on
 * stdout when requests are taken.  SIGTERM and SIGINT end it once the requests under way are
 * answered, which does not wait for loads of models; a second one at once. */
#include "api/api.h"
#include "app/app_model.h"
#include "app/app_ranks.h"
#include "app/cmd.h"
#include "app/device.h"
#include "app/serve_chips.h"
#include "app/serve_models.h"
#include "app/serve_pull.h"
#include "app/web.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_crash.h"
#include "os/os_sandbox.h"
#include "npu/npu_chip.h"
#include "os/os_sys.h"
#include "tool/tool.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILES_BESIDE 256 /* models, the store, tools */

struct serve {
    const struct conf *conf;
    struct arena arena; /* as long as the server runs */
    struct serve_models models;
    struct serve_pull *pull; /* NULL: models are not loaded */
    struct tool *tool;
    struct vision_child *pictures; /* NULL: no model takes any */
    struct npu_chip *chip;         /* that is simulated; NULL: none */
    struct serve_chips chips;
    struct api_opts opts;
    struct os_sandbox sandbox;
    struct store_needs store; /* what it may reach from within the sandbox */
};

/* ---- options ---- */

static enum err set_http(struct serve *s, struct errinfo *e)
{
    const struct conf *c = s->conf;
    struct http_opts *h = &s->opts.http;
    size_t files = (size_t)c->connections + FILES_BESIDE;
    if (os_files_allow(files) < files)
        fprintf(stderr,
                "damso: %zu open files are allowed (ulimit -n), fewer than the setting "
                "connections, %lld, needs\n",
                os_files_allow(0), (long long)c->connections);
    *h = (struct http_opts){
        .address = c->host,
        .port = (uint16_t)c->port,
        .connections_max = (size_t)c->connections,
        .keep_alive_ms = 15000,
        .tls_cert_file = c->tls_cert[0] ? c->tls_cert : NULL,
        .tls_key_file = c->tls_key[0] ? c->tls_key : NULL,
    };
    TRY(serve_names(&s->arena, "allow_hosts", c->allow_hosts, &h->allowed_hosts, e));
    return serve_names(&s->arena, "allow_origins", c->allow_origins, &h->allowed_origins, e);
}

static bool for_this_machine(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           strncmp(host, "127.", 4) == 0;
}

static void set_rest(struct serve *s)
{
    const struct conf *c = s->conf;
    struct api_opts *o = &s->opts;
    o->model = (struct engine_opts){.batch = (size_t)c->batch,
                                    .seqs = (size_t)c->parallel,
                                    .memory = (size_t)c->memory << 20,
                                    .n_threads = (int)c->threads,
                                    .level = app_level(c),
                                    .kv = app_kv(c)};
    app_packed(c, &o->model);
    o->accounts = strcmp(c->accounts, "on") == 0;
    o->metrics_open = strcmp(c->metrics, "open") == 0;
    o->user_keys = strcmp(c->user_keys, "on") == 0;
    o->proxy = strcmp(c->proxy, "on") == 0;
    o->keys_needed = strcmp(c->keys, "always") == 0 || !for_this_machine(c->host);
    o->cache_dir = c->cache ? c->cache_dir : NULL;
    o->cache_bytes_max = (uint64_t)c->cache << 20;
    o->runs = c->runs[0] ? c->runs : NULL;
    o->parallel = (size_t)c->parallel;
    o->queue_max = (size_t)c->queue;
    o->speculate = app_speculate(c);
    o->timeout_s = (unsigned)c->timeout;
    o->web = app_web;
    o->models = s->models.rows;
    o->n_models = s->models.n;
    o->models_max = s->pull ? SERVE_MODELS_MAX : 0;
    o->tool = s->tool;
    o->pictures = s->pictures;
}

/* Elsewhere than on one's own machine, whoever may use the server could make it visit addresses:
 * that is for the operator to allow. */
static enum err open_tools(struct serve *s, struct errinfo *e)
{
    const struct conf *c = s->conf;
    bool pages = strcmp(c->fetch_pages, "on") == 0 ||
                 (strcmp(c->fetch_pages, "auto") == 0 && for_this_machine(c->host));
    return tool_open(&s->tool,
                     &(struct tool_opts){.pages = pages,
                                         .ports = c->fetch_ports,
                                         .allow = c->fetch_allow,
                                         .mcp = c->mcp,
                                         .confined = strcmp(c->sandbox, "off") != 0},
                     e);
}

/* Files of pictures are read in a process of their own, which can only be forked now: a model that
 * is loaded later may see pictures, too. */
static enum err open_pictures(struct serve *s, struct errinfo *e)
{
    bool any = s->pull != NULL;
    for (size_t i = 0; i < s->models.n; i++)
        any = any || s->models.rows[i].mmproj;
    if (!any)
        return ERR_OK;
    return vision_child_open(&s->pictures, strcmp(s->conf->sandbox, "off") != 0, e);
}

/* Passwords cross no network in the clear. */
static enum err check_accounts(const struct serve *s, struct errinfo *e)
{
    const struct conf *c = s->conf;
    if (!s->opts.accounts || for_this_machine(c->host) || s->opts.proxy || c->tls_cert[0])
        return ERR_OK;
    return err_set(e, ERR_USAGE,
                   "passwords would cross the network in the clear: give --tls-cert and --tls-key, "
                   "or --proxy with a proxy before this server that does https");
}

/* ---- giving up what is not needed ---- */

/* The folder of a file store; NULL for one in memory or on a server. */
static const char *store_folder(struct serve *s)
{
    const char *path = s->conf->store;
    if (strncmp(path, "sqlite:", 7) == 0)
        path += 7;
    if (*path == ':' || strstr(path, "://"))
        return NULL;
    const char *slash = strrchr(path, '/');
    size_t n = slash && slash > path ? (size_t)(slash - path) : 1;
    return slash ? arena_dup(&s->arena, path, n) : ".";
}

static enum err make_folder(struct serve *s, const char *folder, struct errinfo *e)
{
    return os_make_folders(arena_printf(&s->arena, "%s/", folder), 0700, e);
}

/* Weights that cannot be kept are packed at each start. */
static enum err make_cache(struct serve *s, struct errinfo *e)
{
    if (!s->opts.cache_dir && !s->opts.model.packed_dir)
        return ERR_OK;
    enum err r = make_folder(s, s->conf->cache_dir, e);
    if (r == ERR_OK || s->opts.cache_dir)
        return r;
    s->opts.model.packed_dir = NULL;
    return ERR_OK;
}

/* Before there are threads: which files the server may open from here on. */
static enum err keep_files(struct serve *s, struct errinfo *e)
{
    const struct conf *c = s->conf;
    const char *folder = store_folder(s);
    const char *read[APP_LORAS_MAX + 3 * SERVE_MODELS_MAX + 6 + N_ELEMS(s->store.files)] = {0},
                                                                *write[4] = {0};
    size_t n_read = 0, n_write = 0;
    for (size_t i = 0; i < s->opts.n_models; i++)
        read[n_read++] = s->models.rows[i].path;
    for (size_t i = 0; i < s->opts.n_models; i++)
        if (s->models.rows[i].draft)
            read[n_read++] = s->models.rows[i].draft;
    for (size_t i = 0; i < s->opts.n_models; i++)
        if (s->models.rows[i].mmproj && !s->models.rows[i].mmproj_later)
            read[n_read++] = s->models.rows[i].mmproj;
    for (size_t i = 0; i < s->models.rows[0].n_loras; i++)
        read[n_read++] = s->models.rows[0].loras[i].path;
    if (s->pull && make_folder(s, c->models_dir, NULL) == ERR_OK) /* else a load says why not */
        read[n_read++] = c->models_dir;
    if (c->tls_cert[0])
        read[n_read++] = c->tls_cert;
    if (c->tls_key[0])
        read[n_read++] = c->tls_key;
    if (c->runs[0])
        read[n_read++] = c->runs;
    s->store = store_needs(c->store, &s->arena);
    for (size_t i = 0; s->store.files[i]; i++)
        read[n_read++] = s->store.files[i];
    if (folder) {
        TRY(make_folder(s, folder, e));
        TRY(os_crash_open(DAMSO_VERSION, arena_printf(&s->arena, "%s/crash.log", folder), e));
        write[n_write++] = folder;
    }
    TRY(make_cache(s, e));
    if (s->opts.cache_dir || s->opts.model.packed_dir)
        write[n_write++] = c->cache_dir;
    if (strcmp(c->sandbox, "off") == 0)
        return ERR_OK;
    const struct os_sandbox_opts o = {.read = read,
                                      .write = write,
                                      .connect = s->store.connects,
                                      .ports = s->store.ports,
                                      .remove = ranks_are_open() ? ranks_removes : NULL,
                                      .beside = ranks_are_open()};
    return os_sandbox_files(&s->sandbox, &o, e);
}

/* Once the server listens: which system calls it may make. */
static enum err keep_calls(struct serve *s, struct errinfo *e)
{
    char text[64];
    if (strcmp(s->conf->sandbox, "off") == 0)
        return ERR_OK;
    TRY(os_sandbox_calls(&s->sandbox, &(struct os_sandbox_opts){.connect = s->store.connects}, e));
    os_sandbox_text(&s->sandbox, text);
    log_at(LOG_INFO, "serve", "sandbox %s", text);
    return ERR_OK;
}

/* ---- running ---- */

/* A process that computes a part of the model is gone: the answers under way have their errors, and
 * this one ends as by a signal. */
static void end_all(void)
{
    kill(getpid(), SIGTERM);
}

static void print_ready(const struct serve *s, const struct api *api)
{
    const char *host = strchr(s->conf->host, ':') ? "[" : "", *end = *host ? "]" : "";
    const char *scheme = s->opts.http.tls_cert_file ? "https" : "http";
    printf("damso serves %s at %s://%s%s%s:%u\n", s->models.rows[0].name, scheme, host,
           s->conf->host, end, api_port(api));
    fflush(stdout);
    if (s->opts.accounts)
        return; /* a request needs a key there */
    fprintf(stderr,
            "try: curl %s://%s%s%s:%u/v1/chat/completions -H 'Content-Type: application/json' "
            "-d '{\"messages\":[{\"role\":\"user\",\"content\":\"Say hello.\"}]}'\n",
            scheme, host, s->conf->host, end, api_port(api));
}

/* The first admin comes in by a link that is shown here alone. */
static enum err print_setup(const struct serve *s, struct api *api, struct errinfo *e)
{
    char token[API_SETUP_CHARS + 1];
    const char *host = s->conf->host, *end = strchr(host, ':') ? "]" : "";
    TRY(api_setup_link(api, token, e));
    if (*token)
        fprintf(stderr,
                "nobody has an account yet: open %s://%s%s%s:%u/#/join/%s to become the admin "
                "(good once, for 7 days)\n",
                s->opts.http.tls_cert_file ? "https" : "http", *end ? "[" : "", host, end,
                api_port(api), token);
    return ERR_OK;
}

/* Waits for the signal, then for the requests under way; a second signal ends the wait. */
static void wait_for_end(const struct serve *s, struct api *api, const sigset_t *signals)
{
    int number;
    time_t until;
    sigwait(signals, &number);
    ranks_hurry();
    if (s->conf->linger && !ranks_broken()) {
        fprintf(stderr, "damso: not ready any more; new requests are taken for %lld s\n",
                (long long)s->conf->linger);
        api_leave(api);
        sigtimedwait(signals, NULL, &(struct timespec){.tv_sec = (time_t)s->conf->linger});
    }
    until = time(NULL) + s->conf->drain;
    fprintf(stderr, "damso: ending once the requests under way are answered\n");
    serve_pull_end(s->pull); /* what was loaded of a model stays for the next time */
    while (!api_drain(api, 100000000) && time(NULL) < until)
        if (sigtimedwait(signals, NULL, &(struct timespec){0}) > 0)
            break;
}

static enum err serve_api(struct serve *s, const sigset_t *signals, struct errinfo *e)
{
    struct api *api;
    enum err r = api_open(&api, &s->opts, e);
    if (r != ERR_OK)
        return r;
    r = keep_calls(s, e);
    if (r == ERR_OK) {
        print_ready(s, api);
        r = print_setup(s, api, e);
    }
    if (r == ERR_OK) {
        wait_for_end(s, api, signals);
    }
    serve_pull_end(s->pull);
    api_close(api);
    return r;
}

static enum err serve(struct serve *s, struct errinfo *e)
{
    sigset_t signals;
    TRY(serve_models_find(&s->models, s->conf, e));
    TRY(set_http(s, e));
    TRY(serve_pull_open(&s->pull, &s->models, &s->opts.loader, e));
    TRY(open_tools(s, e));
    TRY(open_pictures(s, e));
    set_rest(s);
    TRY(device_open(&s->chip, s->conf, &s->opts.model, e));
    TRY(serve_chips_open(&s->chips, s->chip, e));
    TRY(app_ranks_open(s->conf, &s->opts.model, NULL, end_all, e));
    if (s->opts.model.ranks.tensor)
        s->opts.cache_dir = NULL;
    s->opts.chips = s->chips.row;
    s->opts.n_chips = s->chips.n;
    TRY(check_accounts(s, e));
    /* Threads inherit this: only the wait below takes the signals. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    TRY(keep_files(s, e));
    TRY(store_open_leased(&s->opts.store, s->conf->store, (unsigned)s->conf->lease, e));
    serve_pull_run(s->pull);
    tool_run(s->tool);
    enum err r = serve_api(s, &signals, e);
    store_close(s->opts.store);
    if (r == ERR_OK && ranks_broken())
        r = err_set(e, ERR_NETWORK, "%s", ranks_why());
    return r;
}

enum err cmd_serve(struct cmd_args *a, struct errinfo *e)
{
    bool strict_model = false;
    const struct conf_opt opts[] = {
        {.name = "strict-model",
         .help = "refuse requests for another model's name",
         .flag = &strict_model},
    };
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 0, e));
    if (a->done)
        return ERR_OK;
    if (app_ranks_is_worker())
        return app_ranks_work(&a->conf, true, e);
    struct serve *s = mem_alloc(sizeof *s);
    s->conf = &a->conf;
    s->opts.strict_model = strict_model;
    arena_init(&s->arena);
    enum err r = serve(s, e);
    tool_close(s->tool);
    vision_child_close(s->pictures);
    serve_pull_close(s->pull);
    serve_models_done(&s->models);
    serve_chips_close(&s->chips);
    npu_chip_free(s->chip);
    arena_done(&s->arena);
    mem_free(s);
    return r;
}
