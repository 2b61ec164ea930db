/* SPDX-License-Identifier: MIT */
#include "api/api_sight.h"

#include "api/api_ask.h"
#include "api/api_picture.h"
#include "base/arena.h"
#include "base/num.h"
#include "vision/vision.h"
#include "vision/vision_child.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

/* A picture's rows. */
struct seen {
    struct seen *next; /* in the list, the one used last in front */
    atomic_int refs;   /* the list's, and those of sights */
    uint8_t key[VISION_KEY];
    size_t n; /* numbers */
    float x[];
};

struct api_sight {
    struct api_seer *seer;
    struct vision *vision;
    struct api_picture *pictures;
    size_t n;
    struct seen **seen;        /* [n] */
    struct engine_span *spans; /* [n] */
    struct api_fault fault;
    atomic_bool over, left;
    void (*done)(void *arg);
    void *arg;
    struct api_sight *next;
};

struct api_seer {
    struct vision_child *child;
    pthread_t thread;
    bool running;
    pthread_mutex_t mu;
    pthread_cond_t work;
    struct api_sight *head, **tail;
    size_t n_waiting;
    bool stop;
    struct seen *kept; /* the thread's own, as what follows */
    size_t kept_bytes;
    uint8_t *rgb;
    size_t rgb_bytes;
};

/* ---- what is kept ---- */

static void drop(struct seen *s)
{
    if (s && atomic_fetch_sub(&s->refs, 1) == 1)
        mem_free(s);
}

static size_t bytes_of(const struct seen *s)
{
    return sizeof *s + s->n * sizeof *s->x;
}

/* Takes it out of the list; NULL: it is not there. */
static struct seen *take_kept(struct api_seer *seer, const uint8_t key[VISION_KEY])
{
    for (struct seen **at = &seer->kept; *at; at = &(*at)->next) {
        struct seen *s = *at;
        if (memcmp(s->key, key, VISION_KEY) != 0)
            continue;
        *at = s->next;
        seer->kept_bytes -= bytes_of(s);
        return s;
    }
    return NULL;
}

static void keep(struct api_seer *seer, struct seen *s)
{
    s->next = seer->kept;
    seer->kept = s;
    seer->kept_bytes += bytes_of(s);
    struct seen **at = &seer->kept->next;
    for (size_t sum = bytes_of(s); *at;) {
        struct seen *old = *at;
        if (sum + bytes_of(old) <= API_SIGHT_BYTES_MAX) {
            sum += bytes_of(old);
            at = &old->next;
            continue;
        }
        *at = old->next;
        seer->kept_bytes -= bytes_of(old);
        drop(old);
    }
}

/* ---- the thread ---- */

static bool refuse_file(struct api_sight *x, const struct api_picture *p, const struct errinfo *e)
{
    struct errinfo named;
    bool theirs = e->code == ERR_UNSUPPORTED || e->code == ERR_CORRUPT;
    err_note(&named, e->code, "%s: %.380s", p->param, e->text);
    if (theirs)
        return api_refuse(&x->fault, 400, "invalid_image", p->param, "%s", named.text);
    return api_refuse_err(&x->fault, p->param, &named);
}

static bool see_one(struct api_seer *seer, struct api_sight *x, size_t i)
{
    const struct api_picture *p = &x->pictures[i];
    size_t side = vision_side(x->vision), n = vision_rows(x->vision) * vision_dim(x->vision);
    struct errinfo e;
    struct seen *s = take_kept(seer, p->key);
    if (!s) {
        if (seer->rgb_bytes < side * side * 3)
            seer->rgb = mem_grow(seer->rgb, seer->rgb_bytes = side * side * 3);
        if (!seer->child)
            return api_refuse(&x->fault, 501, "", p->param,
                              "%s: this server was started without what reads pictures", p->param);
        if (vision_child_read(seer->child, p->bytes, p->n, side, seer->rgb, &e) != ERR_OK)
            return refuse_file(x, p, &e);
        s = mem_alloc(sizeof *s + n * sizeof *s->x);
        memcpy(s->key, p->key, sizeof s->key);
        s->n = n;
        atomic_init(&s->refs, 1);
        vision_encode(x->vision, seer->rgb, s->x);
    }
    atomic_fetch_add(&s->refs, 1);
    keep(seer, s);
    x->seen[i] = s;
    x->spans[i] = (struct engine_span){p->at, vision_rows(x->vision), s->x};
    return true;
}

static void work_on(struct api_seer *seer, struct api_sight *x)
{
    for (size_t i = 0; i < x->n; i++) {
        if (atomic_load(&x->left))
            api_refuse(&x->fault, 499, "", "", "nobody waits for it any more");
        if (x->fault.status || !see_one(seer, x, i))
            break;
    }
    atomic_store(&x->over, true);
    x->done(x->arg); /* x may be gone from here on */
}

static void *seer_main(void *arg)
{
    struct api_seer *seer = arg;
    pthread_mutex_lock(&seer->mu);
    for (;;) {
        while (!seer->head && !seer->stop)
            pthread_cond_wait(&seer->work, &seer->mu);
        struct api_sight *x = seer->head;
        if (!x)
            break;
        seer->head = x->next;
        if (!seer->head)
            seer->tail = &seer->head;
        pthread_mutex_unlock(&seer->mu);
        work_on(seer, x);
        pthread_mutex_lock(&seer->mu);
        seer->n_waiting--; /* the one at work counts */
    }
    pthread_mutex_unlock(&seer->mu);
    return NULL;
}

enum err api_seer_open(struct api_seer **out, struct vision_child *child, struct errinfo *e)
{
    sigset_t all, old;
    struct api_seer *seer = mem_alloc(sizeof *seer);
    seer->child = child;
    seer->tail = &seer->head;
    pthread_mutex_init(&seer->mu, NULL);
    pthread_cond_init(&seer->work, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    seer->running = pthread_create(&seer->thread, NULL, seer_main, seer) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    *out = seer;
    if (seer->running)
        return ERR_OK;
    api_seer_close(seer);
    *out = NULL;
    return err_set(e, ERR_MEMORY, "cannot start the thread for pictures");
}

void api_seer_close(struct api_seer *seer)
{
    if (!seer)
        return;
    pthread_mutex_lock(&seer->mu);
    seer->stop = true;
    pthread_cond_signal(&seer->work);
    pthread_mutex_unlock(&seer->mu);
    if (seer->running)
        pthread_join(seer->thread, NULL);
    for (struct seen *s = seer->kept, *next; s; s = next) {
        next = s->next;
        drop(s);
    }
    pthread_cond_destroy(&seer->work);
    pthread_mutex_destroy(&seer->mu);
    mem_free(seer->rgb);
    mem_free(seer);
}

/* ---- a generation's side ---- */

struct api_sight *api_sight_new(struct api_seer *seer, struct vision *v, struct api_ask *ask)
{
    if (!ask->n_pictures)
        return NULL;
    struct api_sight *x = mem_alloc(sizeof *x);
    x->seer = seer;
    x->vision = v;
    x->pictures = ask->pictures;
    x->n = ask->n_pictures;
    x->seen = mem_alloc(x->n * sizeof(struct seen *));
    x->spans = mem_alloc(x->n * sizeof *x->spans);
    ask->pictures = NULL;
    ask->n_pictures = 0;
    return x;
}

void api_sight_free(struct api_sight *x)
{
    if (!x)
        return;
    for (size_t i = 0; i < x->n; i++)
        drop(x->seen[i]);
    api_pictures_free(x->pictures, x->n);
    mem_free(x->seen);
    mem_free(x->spans);
    mem_free(x);
}

bool api_sight_ask(struct api_sight *x, void (*done)(void *arg), void *arg, struct api_fault *f)
{
    struct api_seer *seer = x->seer;
    x->done = done;
    x->arg = arg;
    pthread_mutex_lock(&seer->mu);
    bool full = seer->n_waiting >= API_SIGHTS_MAX;
    if (!full) {
        *seer->tail = x;
        seer->tail = &x->next;
        seer->n_waiting++;
        pthread_cond_signal(&seer->work);
    }
    pthread_mutex_unlock(&seer->mu);
    if (!full)
        return true;
    api_refuse(f, 503, "busy", "",
               "%d requests with pictures wait already, which is the limit: one picture is looked "
               "at at a time",
               API_SIGHTS_MAX);
    f->retry_s = 5;
    return false;
}

void api_sight_leave(struct api_sight *x)
{
    atomic_store(&x->left, true);
}

bool api_sight_over(const struct api_sight *x)
{
    return atomic_load(&x->over);
}

const struct api_fault *api_sight_fault(const struct api_sight *x)
{
    return x->fault.status ? &x->fault : NULL;
}

const struct engine_span *api_sight_spans(const struct api_sight *x, size_t *n)
{
    *n = x->n;
    return x->spans;
}
