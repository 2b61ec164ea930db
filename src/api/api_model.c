/* SPDX-License-Identifier: MIT */
#include "api/api_model.h"

#include "api/api_call.h"
#include "api/api_gram.h"
#include "api/api_projector.h"
#include "base/log.h"
#include "base/num.h"
#include "hf/hf.h"
#include "os/os_sys.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* Context that all answers of a model share, where memory allows and its own is shorter. */
#define CTX_TOTAL_WISH ((size_t)65536)
/* How long opening waits for models in use to come free. */
#define ROOM_WAIT_S 20

struct api_models {
    const struct api_opts *o;
    struct api_model *model; /* [n_max]; those below n stay where they are */
    size_t n, n_max;         /* n grows under the lock */
    pthread_t loader;
    bool loading, stop;
    pthread_mutex_t lock;
    pthread_cond_t change;      /* something is wanted, or a use ended */
    struct api_call *waiting;   /* requests whose model is being opened */
    pthread_mutex_t facts_lock; /* of what is read from a model's file once */
};

size_t api_dry_breakers(const struct tok *tok, int32_t out[4])
{
    static const char *const texts[] = {"\n", ":", "\"", "*"};
    size_t n = 0;
    for (size_t i = 0; i < N_ELEMS(texts); i++) {
        struct tok_ids ids = {0};
        if (tok_encode(tok, span_of(texts[i]), 0, &ids, NULL) == ERR_OK && ids.n)
            out[n++] = ids.id[ids.n - 1];
        tok_ids_done(&ids);
    }
    return n;
}

/* ---- opening and closing one ---- */

static void close_parts(struct api_model *m)
{
    sched_free(m->sched);
    api_draft_close(&m->draft);
    vision_close(m->vision);
    api_gram_clear(m);
    gram_vocab_free(m->vocab);
    chat_close(m->chat);
    tok_close(m->tok);
    engine_close(m->engine);
    gguf_close(m->gguf);
    mem_free(m->ends);
    mem_free(m->cache_path);
    m->sched = NULL;
    m->vision = NULL;
    m->vocab = NULL;
    m->chat = NULL;
    m->tok = NULL;
    m->engine = NULL;
    m->gguf = NULL;
    m->ends = NULL;
    m->cache_path = NULL;
}

bool api_model_sees(const struct api_model *m)
{
    struct stat st;
    return m->row->mmproj &&
           (!m->row->mmproj_later || (stat(m->row->mmproj, &st) == 0 && S_ISREG(st.st_mode)));
}

/* What the open ones take. */
static size_t memory_taken(struct api_models *set)
{
    size_t sum = 0, n = api_models_n(set);
    for (size_t i = 0; i < n; i++) {
        const struct engine *both[] = {set->model[i].engine, set->model[i].draft.engine};
        for (size_t k = 0; k < N_ELEMS(both); k++) {
            struct engine_memory mem = {0};
            if (both[k])
                mem = engine_memory(both[k]);
            sum += mem.weights + mem.context + mem.work;
        }
        if (set->model[i].vision)
            sum += vision_bytes(set->model[i].vision);
    }
    return sum;
}

/* A number of the model's architecture; 0: the file does not say. */
static enum err read_arch(struct api_model *m, const char *name, uint32_t *out, struct errinfo *e)
{
    struct span arch;
    char key[96];
    TRY(gguf_get_str(m->gguf, "general.architecture", SPAN(""), &arch, e));
    snprintf(key, sizeof key, "%.*s.%s", (int)MIN(arch.n, (size_t)64), arch.p, name);
    return gguf_get_u32(m->gguf, key, 0, out, e);
}

enum err api_open_text(const struct gguf *g, size_t n_vocab, struct tok **tok, struct chat **chat,
                       struct errinfo *e)
{
    struct span source, bos = {"", 0}, eos = {"", 0};
    TRY(tok_open(tok, g, e));
    if ((size_t)tok_n_vocab(*tok) != n_vocab)
        return err_set(e, ERR_CORRUPT, "%s: %d tokens, but the model's table has %zu rows",
                       gguf_path(g), tok_n_vocab(*tok), n_vocab);
    TRY(gguf_get_str(g, "tokenizer.chat_template", SPAN(""), &source, e));
    if (tok_bos(*tok) >= 0)
        bos = tok_piece(*tok, tok_bos(*tok));
    if (tok_eos(*tok) >= 0)
        eos = tok_piece(*tok, tok_eos(*tok));
    return chat_open(chat, source, bos, eos, *tok, e);
}

static enum err open_text(struct api_model *m, struct errinfo *e)
{
    size_t n_vocab = engine_model(m->engine)->n_vocab;
    TRY(api_open_text(m->gguf, n_vocab, &m->tok, &m->chat, e));
    m->ends = mem_alloc(n_vocab * sizeof *m->ends);
    for (size_t i = 0; i < n_vocab; i++)
        m->ends[i] = tok_is_end(m->tok, (int32_t)i);
    m->n_breakers = api_dry_breakers(m->tok, m->breakers);
    return ERR_OK;
}

/* The model's own context is what one answer may have; together they should have more.  Whether
 * that fits is found out before any weight is packed. */
static enum err open_engine(struct api_model *m, const struct engine_opts *given, struct errinfo *e)
{
    struct engine_opts o = *given;
    uint32_t trained;
    TRY(read_arch(m, "context_length", &trained, e));
    if (!o.ctx_total && (o.ctx ? o.ctx : trained) <= CTX_TOTAL_WISH) {
        o.ctx_total = CTX_TOTAL_WISH;
        enum err r = engine_open(&m->engine, m->gguf, &o, e);
        if (r != ERR_MEMORY)
            return r;
        o.ctx_total = 0;
    }
    return engine_open(&m->engine, m->gguf, &o, e);
}

static void set_cache_path(struct api_model *m)
{
    char key[ENGINE_CACHE_KEY];
    const char *dir = m->set->o->cache_dir;
    size_t n = strlen(dir) + sizeof key + 8;
    engine_cache_key(m->engine, key);
    m->cache_path = mem_alloc(n);
    snprintf(m->cache_path, n, "%s/%s.kv", dir, key);
}

/* The adapters of the row, numbered as it has them. */
static enum err open_loras(struct api_model *m, struct errinfo *e)
{
    enum err r = ERR_OK;
    for (size_t i = 0; r == ERR_OK && i < m->row->n_loras; i++) {
        struct gguf *g;
        TRY(gguf_open(&g, m->row->loras[i].path, e));
        r = engine_lora_add(m->engine, g, e);
        gguf_close(g);
    }
    return r;
}

static enum err open_parts(struct api_model *m, struct errinfo *e)
{
    struct api_models *set = m->set;
    struct engine_opts o = set->o->model;
    size_t taken = memory_taken(set);
    if (o.memory)
        o.memory = o.memory > taken ? o.memory - taken : 1;
    o.ctx = m->row->ctx;
    /* Many answers at once leave guesses nothing to win: room for those of one is enough. */
    size_t n_draft = set->o->speculate ? SCHED_DRAFT_MAX : 0;
    o.out_max = MAX(o.out_max, MAX(set->o->parallel, 1 + n_draft));
    o.batch = MAX(o.batch, set->o->parallel);
    bool drafts = set->o->speculate != SCHED_SPEC_OFF && m->row->draft;
    TRY(hf_open(&m->gguf, m->path, e));
    if (drafts)
        TRY(api_draft_count(&m->draft, m->row->draft, &o, e));
    struct engine_opts alone = o; /* a draft model reads no pictures */
    if (api_model_sees(m))
        TRY(api_projector_count(&m->vision, m->row->mmproj, m->set->o->parallel, &o, e));
    TRY(open_engine(m, &o, e));
    TRY(open_loras(m, e));
    TRY(open_text(m, e));
    if (m->vision)
        TRY(api_projector_start(m->vision, m->path, m->engine, m->tok, m->chat, e));
    if (drafts)
        TRY(api_draft_open(&m->draft, m->gguf, m->tok, m->engine, &alone, set->o->parallel, e));
    if (set->o->cache_dir && !engine_model(m->engine)->bidirectional)
        set_cache_path(m);
    const struct sched_opts so = {.queue_max = set->o->queue_max,
                                  .running_max = set->o->parallel,
                                  .speculate = set->o->speculate,
                                  .draft = m->draft.engine,
                                  .cache_path = m->cache_path,
                                  .cache_bytes_max = set->o->cache_bytes_max};
    m->sched = sched_new(m->engine, &so);
    return ERR_OK;
}

static enum err open_one(struct api_model *m, struct errinfo *e)
{
    uint64_t began = os_now_ns();
    enum err r = open_parts(m, e);
    if (r != ERR_OK)
        close_parts(m);
    log_at(LOG_INFO, "api", "open=%s result=%s ms=%llu", m->name, err_name(r),
           (unsigned long long)((os_now_ns() - began) / 1000000));
    return r;
}

/* ---- the loader ---- */

/* The open model that nobody uses and nobody used for longest; with the lock held. */
static struct api_model *least_used(struct api_models *set)
{
    struct api_model *least = NULL;
    for (size_t i = 0; i < set->n; i++) {
        struct api_model *m = &set->model[i];
        if (m->state == API_READY && m->n_users == 0 && (!least || m->used_ns < least->used_ns))
            least = m;
    }
    return least;
}

/* Makes room by closing a model; false when all are in use for too long. */
static bool make_room(struct api_models *set)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ROOM_WAIT_S;
    struct api_model *m;
    int r = 0;
    pthread_mutex_lock(&set->lock);
    while (!(m = least_used(set)) && !set->stop && r == 0)
        r = pthread_cond_timedwait(&set->change, &set->lock, &until);
    if (m)
        m->state = API_COLD;
    pthread_mutex_unlock(&set->lock);
    if (m) {
        close_parts(m);
        log_at(LOG_INFO, "api", "close=%s", m->name);
    }
    return m != NULL;
}

static bool any_open(struct api_models *set)
{
    size_t n = api_models_n(set);
    for (size_t i = 0; i < n; i++)
        if (set->model[i].engine)
            return true;
    return false;
}

static void load(struct api_models *set, struct api_model *m)
{
    struct errinfo e = {0};
    enum err r;
    if (m->engine) /* as it was before its projector came */
        close_parts(m);
    do
        r = open_one(m, &e);
    while (r == ERR_MEMORY && any_open(set) && make_room(set));
    pthread_mutex_lock(&set->lock);
    m->state = r == ERR_OK ? API_READY : API_BROKEN;
    m->error = e;
    for (struct api_call *c = set->waiting; c; c = c->next_waiting)
        if (c->model == m)
            api_call_wake(c);
    pthread_mutex_unlock(&set->lock);
}

/* With the lock held. */
static struct api_model *wanted(struct api_models *set)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->model[i].state == API_WANTED)
            return &set->model[i];
    return NULL;
}

/* The same: one that is to be closed, and is cold from now on. */
static struct api_model *leaving(struct api_models *set)
{
    for (size_t i = 0; i < set->n; i++) {
        struct api_model *m = &set->model[i];
        bool leaves = m->leaves && m->state == API_READY && !m->n_users;
        m->leaves = false; /* who wants it meanwhile keeps it */
        if (!leaves)
            continue;
        m->state = API_COLD;
        return m;
    }
    return NULL;
}

static void *loader_main(void *arg)
{
    struct api_models *set = arg;
    for (;;) {
        struct api_model *m = NULL, *old = NULL;
        pthread_mutex_lock(&set->lock);
        while (!set->stop && !(old = leaving(set)) && !(m = wanted(set)))
            pthread_cond_wait(&set->change, &set->lock);
        bool stop = set->stop;
        pthread_mutex_unlock(&set->lock);
        if (old) {
            close_parts(old);
            log_at(LOG_INFO, "api", "close=%s", old->name);
        } else if (stop) {
            return NULL;
        } else {
            load(set, m);
        }
    }
}

/* ---- the set ---- */

static void init_row(struct api_models *set, struct api_model *m, const struct api_model_row *row)
{
    struct stat st = {0};
    *m = (struct api_model){.set = set, .row = row, .name = row->name, .path = row->path};
    pthread_mutex_init(&m->gram_lock, NULL);
    if (stat(m->path, &st) == 0) {
        m->file_unix = (int64_t)st.st_mtime;
        m->file_bytes = (uint64_t)st.st_size;
    }
}

enum err api_models_open(struct api_models **out, const struct api_opts *o, struct errinfo *e)
{
    CHECK(o->n_models >= 1 && o->parallel >= 1);
    struct api_models *set = mem_alloc(sizeof *set);
    set->o = o;
    set->n = o->n_models;
    set->n_max = MAX(o->models_max, o->n_models);
    set->model = mem_alloc(set->n_max * sizeof *set->model);
    for (size_t i = 0; i < set->n; i++)
        init_row(set, &set->model[i], &o->models[i]);
    pthread_mutex_init(&set->lock, NULL);
    pthread_mutex_init(&set->facts_lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&set->change, &clock);
    pthread_condattr_destroy(&clock);
    enum err r = open_one(&set->model[0], e);
    if (r == ERR_OK) {
        set->model[0].state = API_READY;
        set->loading = pthread_create(&set->loader, NULL, loader_main, set) == 0;
        CHECK(set->loading);
    } else {
        api_models_close(set);
        set = NULL;
    }
    *out = set;
    return r;
}

void api_models_close(struct api_models *set)
{
    if (!set)
        return;
    pthread_mutex_lock(&set->lock);
    set->stop = true;
    pthread_cond_broadcast(&set->change);
    pthread_mutex_unlock(&set->lock);
    if (set->loading)
        pthread_join(set->loader, NULL);
    for (size_t i = 0; i < set->n; i++) {
        close_parts(&set->model[i]);
        pthread_mutex_destroy(&set->model[i].gram_lock);
    }
    pthread_cond_destroy(&set->change);
    pthread_mutex_destroy(&set->lock);
    pthread_mutex_destroy(&set->facts_lock);
    mem_free(set->model);
    mem_free(set);
}

static bool is_called(const struct api_model_row *row, struct span name)
{
    bool yes = span_eq_cstr(name, row->name);
    for (size_t i = 0; row->aliases && row->aliases[i]; i++)
        yes |= span_eq_cstr(name, row->aliases[i]);
    for (size_t i = 0; i < row->n_loras; i++)
        yes |= span_eq_cstr(name, row->loras[i].name);
    return yes;
}

static struct api_model *find_exact(struct api_models *set, size_t n, struct span name)
{
    for (size_t i = 0; i < n; i++)
        if (is_called(set->model[i].row, name))
            return &set->model[i];
    return NULL;
}

size_t api_models_n(struct api_models *set)
{
    pthread_mutex_lock(&set->lock);
    size_t n = set->n;
    pthread_mutex_unlock(&set->lock);
    return n;
}

void api_models_add(struct api_models *set, const struct api_model_row *row)
{
    pthread_mutex_lock(&set->lock);
    CHECK(set->n < set->n_max);
    init_row(set, &set->model[set->n], row);
    set->n++;
    pthread_mutex_unlock(&set->lock);
}

struct api_model *api_models_at(struct api_models *set, size_t i)
{
    CHECK(i < api_models_n(set));
    return &set->model[i];
}

struct api_model *api_models_find(struct api_models *set, const char *name)
{
    struct span s = span_of(name ? name : "");
    size_t n = api_models_n(set);
    struct api_model *m = find_exact(set, n, s);
    if (!m && span_ends(s, SPAN(":latest"))) /* Ollama's clients add it */
        m = find_exact(set, n, (struct span){s.p, s.n - strlen(":latest")});
    if (m)
        return m;
    bool any_name = n == 1 && !set->o->strict_model;
    return !name || any_name ? &set->model[0] : NULL;
}

struct api_model *api_models_need(struct api_models *set, const char *name, struct api_fault *f)
{
    struct api_model *m = api_models_find(set, name);
    if (!m)
        api_refuse(f, 404, "model_not_found", "model", "the model \"%.128s\" is not here", name);
    return m;
}

enum api_model_state api_model_state(struct api_model *m)
{
    pthread_mutex_lock(&m->set->lock);
    enum api_model_state state = m->state;
    pthread_mutex_unlock(&m->set->lock);
    return state;
}

struct api_model_look api_model_look(struct api_model *m)
{
    struct api_model_look look = {.state = API_COLD};
    pthread_mutex_lock(&m->set->lock);
    look.state = m->state;
    look.n_users = m->n_users;
    if (m->state == API_BROKEN)
        look.error = m->error;
    if (m->state == API_READY)
        look.memory = engine_memory(m->engine);
    pthread_mutex_unlock(&m->set->lock);
    return look;
}

bool api_model_unload(struct api_model *m)
{
    pthread_mutex_lock(&m->set->lock);
    bool may = m->state == API_READY && !m->n_users;
    m->leaves = may;
    pthread_cond_broadcast(&m->set->change);
    pthread_mutex_unlock(&m->set->lock);
    return may;
}

/* ---- uses ---- */

bool api_model_hold(struct api_model *m)
{
    pthread_mutex_lock(&m->set->lock);
    bool ready = m->state == API_READY;
    m->n_users += ready;
    pthread_mutex_unlock(&m->set->lock);
    return ready;
}

void api_model_release(struct api_model *m)
{
    pthread_mutex_lock(&m->set->lock);
    CHECK(m->n_users > 0);
    m->n_users--;
    m->used_ns = os_now_ns();
    pthread_cond_broadcast(&m->set->change);
    pthread_mutex_unlock(&m->set->lock);
}

static void stop_waiting(struct api_call *c)
{
    struct api_models *set = c->model->set;
    struct api_call **at = &set->waiting;
    while (*at != c)
        at = &(*at)->next_waiting;
    *at = c->next_waiting;
}

static void refuse_broken(struct api_call *c, const struct errinfo *e)
{
    api_refuse_err(&c->fault, "model", e);
    if (e->code == ERR_MEMORY) { /* others in use take it: later it may be there */
        c->fault.status = 503;
        c->fault.retry_s = 5;
    }
    api_call_fail(c);
}

/* On the io thread, when the loader is done with the model. */
static void woken(void *state)
{
    struct api_call *c = state;
    struct api_model *m = c->model;
    pthread_mutex_lock(&m->set->lock);
    bool over = m->state == API_READY || m->state == API_BROKEN;
    bool ready = m->state == API_READY;
    struct errinfo e = m->error;
    if (over) {
        stop_waiting(c);
        c->waits = false;
    }
    if (over && !ready)
        m->n_users--;
    pthread_mutex_unlock(&m->set->lock);
    if (ready)
        c->then(c, m);
    else if (over)
        refuse_broken(c, &e);
}

static void waiter_done(void *state)
{
    struct api_call *c = state;
    if (!c->waits)
        return;
    pthread_mutex_lock(&c->model->set->lock);
    stop_waiting(c);
    pthread_mutex_unlock(&c->model->set->lock);
    api_model_release(c->model);
    api_call_drop(c);
}

/* A use begins; false where the call has to wait for the loader. */
static bool begin_use(struct api_call *c, struct api_model *m)
{
    struct api_models *set = m->set;
    bool sees = api_model_sees(m); /* before the lock: a file system may take its time */
    c->model = m;
    pthread_mutex_lock(&set->lock);
    if (m->state == API_READY && !m->n_users && !m->vision && sees)
        m->state = API_WANTED;
    m->n_users++;
    bool ready = m->state == API_READY;
    if (!ready) {
        m->state = API_WANTED;
        c->waits = true;
        c->next_waiting = set->waiting;
        set->waiting = c;
        pthread_cond_broadcast(&set->change);
    }
    pthread_mutex_unlock(&set->lock);
    return ready;
}

void api_model_want(struct api_call *c, const char *name, api_model_then *then)
{
    static const struct http_ops ops = {.woken = woken, .done = waiter_done};
    struct api_model *m = api_models_need(c->api->models, name, &c->fault);
    if (!m) {
        api_call_fail(c);
        return;
    }
    c->then = then;
    if (begin_use(c, m)) {
        then(c, m);
        return;
    }
    http_later(c->req, &ops, c);
    http_wake(c->req); /* the loader may have been done before there was someone to wake */
}

/* ---- for calls without a request ---- */

bool api_model_ask(struct api_call *c, const char *name)
{
    struct api_model *m = api_models_need(c->api->models, name, &c->fault);
    if (m)
        begin_use(c, m);
    return m != NULL;
}

bool api_model_came(struct api_call *c)
{
    struct api_model *m = c->model;
    pthread_mutex_lock(&m->set->lock);
    bool ready = m->state == API_READY, broken = m->state == API_BROKEN;
    struct errinfo e = m->error;
    if (c->waits && (ready || broken)) {
        stop_waiting(c);
        c->waits = false;
    }
    m->n_users -= broken;
    pthread_mutex_unlock(&m->set->lock);
    if (broken)
        api_refuse_err(&c->fault, "model", &e);
    return ready;
}

void api_model_leave(struct api_call *c)
{
    pthread_mutex_lock(&c->model->set->lock);
    if (c->waits)
        stop_waiting(c);
    c->waits = false;
    pthread_mutex_unlock(&c->model->set->lock);
    api_model_release(c->model);
}

const struct gram_vocab *api_model_vocab(struct api_model *m)
{
    pthread_mutex_lock(&m->gram_lock);
    if (!m->vocab)
        m->vocab = gram_vocab_new(m->tok);
    pthread_mutex_unlock(&m->gram_lock);
    return m->vocab;
}

const struct api_about *api_model_about(struct api_model *m)
{
    struct gguf *g;
    pthread_mutex_lock(&m->set->facts_lock);
    if (!m->about_known && hf_open(&g, m->path, NULL) == ERR_OK) {
        api_about_read(&m->about, g);
        gguf_close(g);
    }
    m->about_known = true;
    pthread_mutex_unlock(&m->set->facts_lock);
    return &m->about;
}
