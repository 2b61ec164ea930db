/* SPDX-License-Identifier: MIT */
#include "app/serve_pull.h"

#include "app/pull_child.h"
#include "base/num.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct load {
    unsigned id; /* 0: this place is free */
    const struct catalogue_model *model;
    api_load_told *told;
    void *sink;
    /* the reader's */
    uint64_t bytes, bytes_total;
    bool well;
    struct errinfo e; /* OK: not said yet */
};

struct serve_pull {
    struct serve_models *models;
    int child; /* the socket */
    pthread_t reader;
    bool reads;
    pthread_mutex_t lock;
    bool over; /* the child is gone, or the server ends */
    unsigned last_id;
    struct load loads[PULL_LOADS_MAX]; /* a place is freed by the reader alone */
};

/* ---- what the API calls ---- */

static enum err start(void *arg, const char *name, api_load_told *told, void *sink,
                      const char **sha256, struct errinfo *e)
{
    struct serve_pull *p = arg;
    const struct catalogue_model *m;
    enum err r = ERR_OK;
    size_t i = 0;
    TRY(catalogue_need(p->models->catalogue, name, &m, e));
    pthread_mutex_lock(&p->lock);
    while (i < PULL_LOADS_MAX && p->loads[i].id)
        i++;
    if (p->over)
        r = err_set(e, ERR_CANCELLED, "no more models are loaded: the server ends");
    else if (i == PULL_LOADS_MAX)
        r = err_set(e, ERR_BUSY, "%d models are being loaded or wait for it", PULL_LOADS_MAX);
    else if (!pull_send(p->child, PULL_START, p->last_id + 1, m->name, true))
        r = err_set(e, ERR_BUSY, "the process that loads models takes no names now");
    else
        p->loads[i] = (struct load){.id = ++p->last_id, .model = m, .told = told, .sink = sink};
    pthread_mutex_unlock(&p->lock);
    *sha256 = m->own.sha256;
    return r;
}

static void cancel(void *arg, void *sink)
{
    struct serve_pull *p = arg;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < PULL_LOADS_MAX; i++)
        if (p->loads[i].id && p->loads[i].sink == sink)
            pull_send(p->child, PULL_CANCEL, p->loads[i].id, "", true);
    pthread_mutex_unlock(&p->lock);
}

/* ---- the reader ---- */

static enum err err_named(const char *name)
{
    for (int i = 1; i < ERR_N; i++)
        if (name && strcmp(err_name(i), name) == 0)
            return i;
    return ERR_FAILED;
}

/* A line of cmd_pull.c's. */
static void take_line(struct load *l, const char *text)
{
    const char *status = NULL, *error = NULL, *kind = NULL;
    json_int_t bytes = 0, total = 0;
    json_t *o = json_loads(text, 0, NULL);
    if (json_unpack(o, "{s?:s, s?:s, s?:s, s?:I, s?:I}", "status", &status, "error", &error, "kind",
                    &kind, "completed", &bytes, "total", &total) == 0) {
        l->well = status && strcmp(status, "success") == 0;
        if (error)
            err_note(&l->e, err_named(kind), "%s", error);
        if (status) {
            l->bytes = (uint64_t)MAX(bytes, 0);
            l->bytes_total = (uint64_t)MAX(total, 0);
        }
    }
    json_decref(o);
}

static void tell(struct serve_pull *p, struct load *l, bool over)
{
    struct load now = *l;
    struct api_load_news news = {.bytes = now.bytes, .bytes_total = now.bytes_total, .over = over};
    if (over && now.well && serve_models_add(p->models, now.model, &news.row, &now.e) != ERR_OK)
        now.well = false;
    if (over && !now.well) {
        news.code = now.e.code;
        news.text = now.e.text;
    }
    if (over) {
        pthread_mutex_lock(&p->lock);
        l->id = 0;
        pthread_mutex_unlock(&p->lock);
    }
    now.told(now.sink, &news);
}

static void take(struct serve_pull *p, const struct pull_msg *msg)
{
    struct load *l = NULL;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < PULL_LOADS_MAX; i++)
        if (p->loads[i].id == msg->id)
            l = &p->loads[i];
    pthread_mutex_unlock(&p->lock);
    if (!l || msg->id == 0)
        return;
    if (msg->kind == PULL_LINE)
        take_line(l, msg->text);
    else if (!l->well && l->e.code == ERR_OK)
        err_note(&l->e, msg->text[0] ? ERR_FAILED : ERR_CANCELLED, "%s",
                 msg->text[0] ? msg->text : "the load ended without a word");
    tell(p, l, msg->kind == PULL_END);
}

/* Until the child is gone. */
static void *reader_main(void *arg)
{
    struct serve_pull *p = arg;
    struct pull_msg msg;
    while (pull_receive(p->child, &msg))
        take(p, &msg);
    pthread_mutex_lock(&p->lock);
    p->over = true;
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < PULL_LOADS_MAX; i++) {
        struct load *l = &p->loads[i];
        if (!l->id)
            continue;
        l->well = false;
        err_note(&l->e, ERR_CANCELLED, "the process that loads models has ended");
        tell(p, l, true);
    }
    return NULL;
}

/* ---- beginning and end ---- */

/* Those that this version can run. */
static void list_offers(struct serve_models *models, struct api_loader *loader)
{
    const struct catalogue *k = models->catalogue;
    struct api_offer *offers = arena_array(&models->arena, k->n_models, sizeof *offers);
    size_t n = 0;
    for (unsigned i = 0; i < k->n_models; i++) {
        const struct catalogue_model *m = &k->models[i];
        if (m->engine)
            offers[n++] = (struct api_offer){.name = m->name,
                                             .title = m->title,
                                             .about_ko = m->about.ko,
                                             .about_en = m->about.en,
                                             .licence = m->licence.name,
                                             .gb = m->own.gb +
                                                   (m->projector ? m->projector->gb : 0),
                                             .memory_gib = m->memory_gib};
    }
    loader->offers = offers;
    loader->n_offers = n;
}

enum err serve_pull_open(struct serve_pull **out, struct serve_models *models,
                         struct api_loader *loader, struct errinfo *e)
{
    int ends[2];
    *out = NULL;
    *loader = (struct api_loader){.refusal = "this server serves one model (-m); `damso pull NAME` "
                                             "on its machine loads others"};
    if (!models->catalogue)
        return ERR_OK;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return err_set(e, ERR_FAILED, "socketpair: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]); /* or the child would never see it closed */
        pull_child_run(ends[1], models->conf);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return err_set(e, ERR_FAILED, "fork: %s", strerror(errno));
    }
    struct serve_pull *p = mem_alloc(sizeof *p);
    p->models = models;
    p->child = ends[0];
    pthread_mutex_init(&p->lock, NULL);
    loader->arg = p;
    loader->start = start;
    loader->cancel = cancel;
    list_offers(models, loader);
    *out = p;
    return ERR_OK;
}

void serve_pull_run(struct serve_pull *p)
{
    if (!p)
        return;
    p->reads = pthread_create(&p->reader, NULL, reader_main, p) == 0;
    CHECK(p->reads);
}

void serve_pull_end(struct serve_pull *p)
{
    if (!p || !p->reads)
        return;
    pthread_mutex_lock(&p->lock);
    p->over = true;
    pthread_mutex_unlock(&p->lock);
    shutdown(p->child, SHUT_WR); /* the child ends its loads, tells of it, and goes */
    pthread_join(p->reader, NULL);
    p->reads = false;
}

void serve_pull_close(struct serve_pull *p)
{
    if (!p)
        return;
    serve_pull_end(p);
    close(p->child);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}
