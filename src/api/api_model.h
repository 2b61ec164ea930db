/* SPDX-License-Identifier: MIT
 * api_model.h - the models of a server: opened when asked for, closed when their memory is needed.
 *
 * Does: list what there was at the start and what was added since; keep one memory budget over
 *       all that are open; open on a thread of its own while requests wait; close the one that was
 *       not used for longest, never one in use; open one anew whose projector has come, when it is
 *       next wanted and nobody uses it.
 * Threads: api_models_want and what follows it on io threads; any for the rest. */
#ifndef API_API_MODEL_H
#define API_API_MODEL_H

#include "api/api.h"
#include "api/api_about.h"
#include "api/api_draft.h"
#include "api/api_fault.h"
#include "chat/chat.h"
#include "engine/sched.h"
#include "gram/gram.h"
#include "vision/vision.h"

#include <pthread.h>

struct api_call;
struct api_gram;
struct api_models;

enum api_model_state { API_COLD, API_WANTED, API_READY, API_BROKEN };

struct api_model {
    struct api_models *set;
    pthread_mutex_t gram_lock; /* of vocab and grams */
    const struct api_model_row *row;
    const char *name, *path; /* the row's */
    int64_t file_unix;       /* when the file was written: what `created` says */
    uint64_t file_bytes;
    struct api_about about; /* api_model_about */
    bool about_known;

    /* under the set's lock */
    enum api_model_state state;
    size_t n_users;
    bool leaves; /* to be closed once nobody uses it */
    uint64_t used_ns;
    struct errinfo error; /* API_BROKEN */

    /* while it has a user */
    struct gguf *gguf;
    struct engine *engine;
    struct api_draft draft;
    struct vision *vision; /* NULL: it takes text alone */
    struct tok *tok;
    struct chat *chat;
    struct sched *sched;
    struct api_gram *grams;   /* api_gram.h */
    struct gram_vocab *vocab; /* api_model_vocab */
    bool *ends;               /* [n_vocab] */
    int32_t breakers[4];
    size_t n_breakers;
    char *cache_path; /* of known beginnings; NULL: none */
};

/* Opens the first model before it returns. */
enum err api_models_open(struct api_models **out, const struct api_opts *o, struct errinfo *e);
void api_models_close(struct api_models *set); /* nothing may use a model any more */

size_t api_models_n(struct api_models *set); /* may grow, so ask once */
/* One more model, at the end; at most as many as api_opts.models_max.  row lives as long as set. */
void api_models_add(struct api_models *set, const struct api_model_row *row);
/* i < n; its name, path and file may be read without a use. */
struct api_model *api_models_at(struct api_models *set, size_t i);
/* The model that a request's name means: exact, without Ollama's ":latest", or the default where
 * there is but one and other names are fine, or none was said.  NULL: there is none. */
struct api_model *api_models_find(struct api_models *set, const char *name);
/* The same; with NULL the fault says so. */
struct api_model *api_models_need(struct api_models *set, const char *name, struct api_fault *f);
enum api_model_state api_model_state(struct api_model *m);

typedef void api_model_then(struct api_call *c, struct api_model *m);
/* Calls `then` with a use of the model, which api_model_release ends: at once, or when it is open.
 * When it cannot be, or there is no such model, the request is answered with the fault. */
void api_model_want(struct api_call *c, const char *name, api_model_then *then);
void api_model_release(struct api_model *m);
/* The same for a call with a self, step by step: false with the fault when there is no such model.
 */
bool api_model_ask(struct api_call *c, const char *name);
/* After each wake: true when c->model is open and its use is the caller's; false with the fault
 * when it cannot be, without when it is not yet. */
bool api_model_came(struct api_call *c);
/* Waits no more. */
void api_model_leave(struct api_call *c);
/* A use without a wait; false where it is not open. */
bool api_model_hold(struct api_model *m);

/* How it is, for people; the error of one that is broken. */
struct api_model_look {
    enum api_model_state state;
    size_t n_users;
    struct engine_memory memory; /* of an open one */
    struct errinfo error;
};
struct api_model_look api_model_look(struct api_model *m);
/* Closes it, on the loader's thread; false where it is not open, or is used. */
bool api_model_unload(struct api_model *m);

/* Does it take pictures, once it is opened anew?  Its projector may have come since. */
bool api_model_sees(const struct api_model *m);
/* What its file says; read when first asked for, without a use. */
const struct api_about *api_model_about(struct api_model *m);
/* Its tokens' bytes for grammars; made when first asked for. */
const struct gram_vocab *api_model_vocab(struct api_model *m);

#endif
