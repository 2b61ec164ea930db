/* SPDX-License-Identifier: MIT
 * api_fuzz.c - any bytes as the body of a request, read as a chat, as a completion's common fields
 * and as a request for a response, without a model behind.  What is refused has a status of 4xx and
 * a text that every dialect can say; what is taken obeys the limits. */
#include "api/api_ask.h"
#include "api/api_responses.h"

#include "base/num.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_fault(const struct api_fault *f)
{
    static const enum api_dialect dialects[] = {API_OPENAI, API_ANTHROPIC, API_OLLAMA};
    CHECK(f->status >= 400 && f->status < 500);
    CHECK(*f->text && utf8_valid(span_of(f->text)) && utf8_valid(span_of(f->param)));
    for (size_t i = 0; i < N_ELEMS(dialects); i++) {
        struct str out;
        str_init(&out, 65536);
        api_fault_body(f, dialects[i], &out);
        json_t *o = json_loadb(out.p, out.n, 0, NULL);
        CHECK(o && !out.full);
        json_decref(o);
        str_done(&out);
    }
}

static void check_sampling(const struct sampler_params *p)
{
    double real;
    int64_t whole;
#define PARAM_REAL(name, field, min, max)                                                          \
    real = (double)p->field;                                                                       \
    CHECK(real >= (double)(float)(min) && real <= (double)(float)(max));
#define PARAM_INT(name, field, min, max)                                                           \
    whole = (int64_t)p->field;                                                                     \
    CHECK(whole >= (min) && whole <= (max));
#include "api/api_param.def"
#undef PARAM_REAL
#undef PARAM_INT
    for (size_t i = 0; i < p->n_bias; i++)
        CHECK(p->bias[i].token >= 0 && !isnan(p->bias[i].add));
}

static void check_ask(const struct api_ask *ask)
{
    check_sampling(&ask->sampling);
    CHECK(ask->n >= 1 && ask->n <= API_N_MAX);
    CHECK(ask->n_max >= -1 && ask->n_max <= INT32_MAX);
    CHECK(ask->n_min >= 0 && ask->n_top >= 0 && ask->n_top <= 20);
    CHECK(ask->n_stop <= API_STOP_MAX);
    for (size_t i = 0; i < ask->n_stop; i++)
        CHECK(ask->stop[i].n >= 1 && ask->stop[i].n <= API_STOP_BYTES_MAX);
    CHECK(!ask->include_usage || ask->stream);
    CHECK((ask->guide == API_SCHEMA || ask->guide == API_CHOICE) == (ask->schema != NULL));
    bool by_text = ask->guide == API_REGEX || ask->guide == API_GBNF;
    CHECK(by_text == (ask->guide_text != NULL));
    CHECK(ask->tool_choice != API_TOOL_NAMED || json_array_size(ask->tool_names) >= 1);
}

/* What templates rely on. */
static void check_messages(const struct api_ask *ask)
{
    size_t i, k;
    json_t *m, *call, *t;
    CHECK(json_array_size(ask->messages) >= 1);
    json_array_foreach(ask->messages, i, m)
    {
        CHECK(json_is_string(json_object_get(m, "role")));
        CHECK(json_is_string(json_object_get(m, "content")));
        json_array_foreach(json_object_get(m, "tool_calls"), k, call)
        {
            const json_t *fn = json_object_get(call, "function");
            CHECK(json_is_string(json_object_get(fn, "name")) && json_object_get(fn, "arguments"));
        }
    }
    json_array_foreach(ask->tools, i, t)
    {
        const json_t *fn = json_object_get(t, "function");
        CHECK(json_is_string(json_object_get(fn, "name")));
        CHECK(json_is_object(json_object_get(fn, "parameters")));
    }
}

static void fuzz_ask(json_t *body, struct arena *a, bool chat)
{
    const struct sampler_params defaults = sampler_neutral();
    struct api_fault f = {0};
    struct api_ask ask;
    const struct api_in in = {body, "", &f};
    api_ask_init(&ask, &defaults);
    if (!(chat ? api_ask_chat(&ask, &in, a) : api_ask_common(&ask, &in, a))) {
        check_fault(&f);
    } else {
        CHECK(!f.status);
        check_ask(&ask);
        if (chat)
            check_messages(&ask);
    }
    api_ask_done(&ask);
}

/* The request reader of the Responses API, and its items as messages. */
static void fuzz_responses(json_t *body, struct arena *a)
{
    const struct sampler_params defaults = sampler_neutral();
    struct api api = {.started_unix = 0};
    struct http_req req = {.arena = a};
    struct api_ask ask;
    struct api_responses r = {.store = false};
    struct api_call c = {.api = &api, .req = &req, .body = body, .ask = &ask};
    size_t i;
    json_t *item;
    bool ok;
    api_ask_init(&ask, &defaults);
    ok = api_responses_read(&r, &c);
    if (ok) {
        check_ask(&ask);
        ask.messages = json_array();
        if (r.instructions)
            api_responses_add_system(&ask, span_of(r.instructions));
        json_array_foreach(json_object_get(body, "input"), i, item)
        {
            ok = ok && api_responses_add(&ask, item, "input[0].", &c.fault);
        }
        api_responses_join(&ask);
    }
    if (!ok)
        check_fault(&c.fault);
    else if (json_array_size(ask.messages))
        check_messages(&ask);
    api_ask_done(&ask);
    api_responses_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct api_fault f = {0};
    struct span body = {(const char *)data, n};
    struct arena a;
    json_t *o = api_json_parse(body, &f);
    if (!o) {
        check_fault(&f);
        return 0;
    }
    arena_init(&a);
    fuzz_ask(o, &a, true);
    fuzz_ask(o, &a, false);
    fuzz_responses(o, &a); /* last: it completes the items */
    json_decref(o);
    arena_done(&a);
    return 0;
}
