/* SPDX-License-Identifier: MIT */
#include "api/api_embed.h"

#include "api/api_auth.h"
#include "api/api_people.h"
#include "api/api_prompt.h"
#include "base/num.h"

#include <math.h>
#include <string.h>

struct api_embed *api_embed_new(struct api_call *c, struct api_model *m,
                                json_t *(*whole)(struct api_embed *b))
{
    struct api_embed *b = arena_alloc(c->req->arena, sizeof *b);
    http_hold(c->req);
    b->call = c;
    b->model = m;
    b->body = c->body;
    b->model_name = json_string_value(json_object_get(c->body, "model"));
    b->model_name = b->model_name ? b->model_name : m->name;
    b->whole = whole;
    b->dim = engine_model(m->engine)->dim;
    c->body = NULL;
    atomic_init(&b->refs, 1);
    return b;
}

/* May run on the engine thread, when the request ended before its jobs. */
static void unref(struct api_embed *b)
{
    if (atomic_fetch_sub(&b->refs, 1) != 1)
        return;
    if (b->counted)
        api_limit_end(b->call->limit, b->n_tokens);
    if (b->counted)
        api_people_used(b->call->api->people, b->call->owner, b->model->name, b->n_tokens, 0);
    for (size_t i = 0; i < b->n; i++) {
        if (b->jobs)
            job_done(&b->jobs[i]);
        tok_ids_done(&b->inputs[i]);
    }
    json_decref(b->body);
    api_model_release(b->model);
    http_release(b->call->req);
}

void api_embed_inputs(struct api_embed *b, const struct api_in *in, const char *name)
{
    struct api_prompts p = {.model = b->model, .arena = b->call->req->arena};
    api_prompts_read(&p, in, name);
    b->inputs = p.ids;
    b->n = p.n;
    for (size_t i = 0; i < b->n; i++)
        b->n_tokens += b->inputs[i].n;
}

void api_embed_shape(struct api_embed *b, const struct api_in *in, const char *pooling, size_t dim)
{
    static const struct {
        const char *name;
        enum job_pool pool;
    } pools[] = {
        {"mean", JOB_POOL_MEAN},
        {"cls",  JOB_POOL_CLS },
        {"last", JOB_POOL_LAST},
    };
    const struct model *m = engine_model(b->model->engine);
    enum model_pooling type = m->pooling;
    b->pool = type >= MODEL_POOL_MEAN && type <= MODEL_POOL_LAST ? pools[type - 1].pool
                                                                 : JOB_POOL_MEAN;
    if (type == MODEL_POOL_RANK && !pooling)
        api_get_refuse(
            in, "model",
            "%s is a reranker: POST /v1/rerank has its scores; for vectors of its hidden "
            "states, say their pooling",
            b->model->name);
    for (size_t i = 0; pooling && i <= N_ELEMS(pools); i++) {
        if (i == N_ELEMS(pools))
            api_get_refuse(in, "pooling", "\"%.32s\" is none of mean, cls, last", pooling);
        else if (strcmp(pooling, pools[i].name) == 0) {
            b->pool = pools[i].pool;
            break;
        }
    }
    if (dim > b->dim)
        api_get_refuse(in, "dimensions", "%zu are more than the model's %zu", dim, b->dim);
    else if (dim)
        b->dim = dim;
}

void api_embed_truncate(struct api_embed *b)
{
    size_t ctx = engine_ctx(b->model->engine);
    b->n_tokens = 0;
    for (size_t i = 0; i < b->n; i++) {
        struct tok_ids *ids = &b->inputs[i];
        if (ids->n > ctx) {
            int32_t last = ids->id[ids->n - 1];
            ids->n = ctx;
            if (tok_is_control(b->model->tok, last))
                ids->id[ctx - 1] = last;
        }
        b->n_tokens += ids->n;
    }
}

/* On the engine thread.  A job without tokens wakes once, when it is done. */
static void job_woken(void *arg)
{
    struct api_embed *b = arg;
    http_wake(b->call->req);
    unref(b);
}

static void scale_to_one(float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
    for (size_t i = 0; i < n; i++)
        v[i] *= scale;
}

/* JSON has no other numbers; a damaged model file, or one whose sizes overflow, makes them. */
static bool all_finite(const struct api_embed *b, const struct job *j)
{
    bool finite = !b->ranks || isfinite(j->score);
    for (size_t i = 0; finite && !b->ranks && i < b->dim; i++)
        finite = isfinite(j->embedding[i]);
    return finite;
}

static bool failed(struct api_embed *b, const struct job *j)
{
    if (j->end == JOB_END_FAILED)
        api_refuse_err(&b->call->fault, "", &j->error);
    else if (j->end != JOB_END_LENGTH)
        api_refuse(&b->call->fault, 503, "timeout", "", "the request ended before its vectors");
    else if (!all_finite(b, j))
        api_refuse(&b->call->fault, 500, "", "",
                   "the model made what is no finite number: its file may be damaged");
    return b->call->fault.status != 0;
}

static void woken(void *state)
{
    struct api_embed *b = state;
    for (size_t i = 0; i < b->n; i++)
        if (job_state(&b->jobs[i]) != JOB_DONE)
            return;
    b->vectors = arena_array(b->call->req->arena, b->n, sizeof *b->vectors);
    for (size_t i = 0; i < b->n; i++) {
        if (failed(b, &b->jobs[i])) {
            api_call_fail(b->call);
            return;
        }
        b->vectors[i] = b->jobs[i].embedding;
        if (!b->ranks)
            scale_to_one(b->vectors[i], b->dim);
    }
    api_call_json(b->call, 200, b->whole(b));
}

static void cancel_all(void *state)
{
    struct api_embed *b = state;
    for (size_t i = 0; i < b->n; i++)
        job_cancel(&b->jobs[i]);
}

/* What may be many values is freed here: the last to let go may be the engine thread. */
static void request_done(void *state)
{
    struct api_embed *b = state;
    json_decref(b->body);
    b->body = NULL;
    unref(b);
}

static void set_job(struct api_embed *b, size_t i)
{
    struct job *j = &b->jobs[i];
    unsigned timeout_s = b->call->api->o.timeout_s;
    job_init(j, 0, 0);
    j->prompt = b->inputs[i].id;
    j->n_prompt = b->inputs[i].n;
    j->client = b->call->client;
    j->deadline_ns = timeout_s ? b->call->req->arrived_ns + timeout_s * 1000000000ull : 0;
    j->wake = job_woken;
    j->wake_arg = b;
    const struct model *m = engine_model(b->model->engine);
    if (b->second && m->n_types > 1)
        j->second = b->second[i];
    if (b->ranks)
        job_want_score(j, m);
    else
        job_want_embedding(j, b->pool, m->dim);
}

/* All jobs or none. */
static bool push_all(struct api_embed *b)
{
    struct errinfo e;
    for (size_t i = 0; i < b->n; i++) {
        atomic_fetch_add(&b->refs, 1); /* the job's, until its wake */
        if (sched_push(b->model->sched, &b->jobs[i], &e) == ERR_OK)
            continue;
        atomic_fetch_sub(&b->refs, 1);
        cancel_all(b);
        return api_refuse_err(&b->call->fault, e.code == ERR_CONTEXT ? "input" : "", &e);
    }
    return true;
}

static bool start(struct api_embed *b)
{
    if (b->call->fault.status)
        return false;
    b->jobs = arena_array(b->call->req->arena, b->n, sizeof *b->jobs);
    for (size_t i = 0; i < b->n; i++)
        set_job(b, i);
    b->counted = api_limit_begin(b->call->limit, &b->call->fault);
    if (!b->counted || push_all(b))
        return b->counted;
    b->counted = false; /* a refused request costs its key no tokens */
    api_limit_end(b->call->limit, 0);
    return false;
}

void api_embed_start(struct api_embed *b)
{
    static const struct http_ops ops = {.woken = woken, .gone = cancel_all, .done = request_done};
    if (start(b)) {
        http_later(b->call->req, &ops, b);
        http_wake(b->call->req);
    } else {
        api_call_fail(b->call);
        unref(b);
    }
}
