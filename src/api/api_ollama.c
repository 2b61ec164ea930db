/* SPDX-License-Identifier: MIT
 * api_ollama.c - Ollama's lists and words about models, and what it has that is not here. */
#include "api/api_ollama.h"

#include "gguf/gguf_type.h"
#include "hf/hf.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define OLLAMA_VERSION "0.13.0" /* of the API that is followed: clients ask for a least one */
#define TEXT_BYTES_MAX ((size_t)64 << 20)
/* Ollama's models expire; ours leave when their memory is needed. */
#define NEVER "2999-01-01T00:00:00Z"

json_t *api_ollama_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return api_json_time((int64_t)now.tv_sec, now.tv_nsec);
}

void api_ollama_line(struct str *out, json_t *o)
{
    api_json_add_exact(out, o);
    str_add_char(out, '\n');
}

static json_t *text_of(struct span s)
{
    struct str fixed;
    str_init(&fixed, TEXT_BYTES_MAX);
    utf8_repair(&fixed, s);
    json_t *t = api_json_text(str_span(&fixed));
    str_done(&fixed);
    return t;
}

/* ---- a model in a few words ---- */

/* "134.52M", "8.0B" */
static json_t *size_name(uint64_t n_weights)
{
    char text[32];
    double n = (double)n_weights;
    if (n >= 1e9)
        snprintf(text, sizeof text, "%.1fB", n / 1e9);
    else
        snprintf(text, sizeof text, "%.2fM", n / 1e6);
    return json_string(text);
}

json_t *api_ollama_details(struct api_model *m)
{
    const struct api_about *about = api_model_about(m);
    return api_pack("{sssssss[s]soss}", "parent_model", "", "format", "gguf", "family",
                    about->family, "families", about->family, "parameter_size",
                    size_name(about->n_weights), "quantization_level", about->quantization);
}

/* Tells one version of a file from another.  It is no hash of the content: that would be read
 * whole. */
static json_t *digest_of(const struct api_model *m)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char text[512], hex[2 * sizeof hash + 1];
    snprintf(text, sizeof text, "%.400s %llu %lld", m->name, (unsigned long long)m->file_bytes,
             (long long)m->file_unix);
    crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    return json_string(hex);
}

static json_t *describe(struct api_model *m, uint64_t bytes)
{
    return api_pack("{sssssIsoso}", "name", m->name, "model", m->name, "size", (json_int_t)bytes,
                    "digest", digest_of(m), "details", api_ollama_details(m));
}

void api_do_ollama_tags(struct api_call *c)
{
    struct api_models *set = c->api->models;
    json_t *list = json_array();
    size_t n = api_models_n(set);
    for (size_t i = 0; i < n; i++) {
        struct api_model *m = api_models_at(set, i);
        json_t *o = describe(m, m->file_bytes);
        json_object_set_new(o, "modified_at", api_json_time(m->file_unix, 0));
        json_array_append_new(list, o);
    }
    api_call_json(c, 200, api_pack("{so}", "models", list));
}

void api_do_ollama_ps(struct api_call *c)
{
    struct api_models *set = c->api->models;
    json_t *list = json_array();
    size_t n = api_models_n(set);
    for (size_t i = 0; i < n; i++) {
        struct api_model *m = api_models_at(set, i);
        if (!api_model_hold(m))
            continue;
        struct engine_memory mem = engine_memory(m->engine);
        json_t *o = describe(m, mem.weights + mem.context + mem.work);
        json_object_set_new(o, "expires_at", json_string(NEVER));
        json_object_set_new(o, "size_vram", json_integer(0));
        json_object_set_new(o, "context_length", json_integer((json_int_t)engine_ctx(m->engine)));
        json_array_append_new(list, o);
        api_model_release(m);
    }
    api_call_json(c, 200, api_pack("{so}", "models", list));
}

/* ---- /api/show ---- */

/* The model's parts when it is open, else as much of its file as a description needs. */
struct view {
    struct api_model *model;
    bool held;
    struct gguf *gguf;
    struct chat *chat;
};

static struct span text_key(const struct gguf *g, const char *name)
{
    struct span s = {"", 0};
    gguf_get_str(g, name, s, &s, NULL);
    return s;
}

static enum err open_view(struct view *v, struct api_model *m, struct errinfo *e)
{
    *v = (struct view){.model = m, .held = api_model_hold(m)};
    if (v->held) {
        v->gguf = m->gguf;
        v->chat = m->chat;
        return ERR_OK;
    }
    TRY(hf_open(&v->gguf, m->path, e));
    struct span source = text_key(v->gguf, "tokenizer.chat_template"), none = {"", 0};
    return chat_open(&v->chat, source, none, none, NULL, e);
}

static void close_view(struct view *v)
{
    if (v->held) {
        api_model_release(v->model);
        return;
    }
    chat_close(v->chat);
    gguf_close(v->gguf);
}

static json_t *element(const struct gguf_array *a, size_t i)
{
    if (a->kind == GGUF_STRING)
        return text_of(a->strings[i]);
    if (a->kind == GGUF_F32 || a->kind == GGUF_F64)
        return json_real(gguf_array_f64(a, i));
    return json_integer((json_int_t)gguf_array_i64(a, i));
}

static json_t *value_of(const struct gguf_key *k, bool verbose)
{
    switch (k->kind) {
    case GGUF_STRING: return text_of(k->s);
    case GGUF_BOOL: return json_boolean(k->u != 0);
    case GGUF_F32:
    case GGUF_F64: return json_real(k->f);
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64: return json_integer((json_int_t)k->i);
    case GGUF_ARRAY: {
        if (!verbose)
            return json_null();
        json_t *list = json_array();
        for (size_t i = 0; i < k->a.n; i++)
            json_array_append_new(list, element(&k->a, i));
        return list;
    }
    default: return json_integer((json_int_t)k->u);
    }
}

/* Every key of the file, but the template, which has a place of its own.  json_real takes no
 * infinity: then there is null. */
static json_t *info_of(const struct view *v, bool verbose)
{
    json_t *info = json_object();
    for (size_t i = 0; i < gguf_n_keys(v->gguf); i++) {
        const struct gguf_key *k = gguf_key_at(v->gguf, i);
        json_t *name = text_of(k->name), *value = value_of(k, verbose);
        if (!span_eq(k->name, SPAN("tokenizer.chat_template")))
            json_object_set(info, json_string_value(name), value ? value : json_null());
        json_decref(name);
        json_decref(value);
    }
    json_object_set_new(info, "general.parameter_count",
                        json_integer((json_int_t)api_model_about(v->model)->n_weights));
    return info;
}

static json_t *abilities_of(const struct view *v)
{
    bool text = api_model_about(v->model)->text;
    json_t *list = text ? api_pack("[s]", "completion") : json_array();
    char key[96];
    uint32_t pooling = 0;
    snprintf(key, sizeof key, "%s.pooling_type", api_model_about(v->model)->family);
    gguf_get_u32(v->gguf, key, 0, &pooling, NULL);
    if (text && chat_takes_tools(v->chat))
        json_array_append_new(list, json_string("tools"));
    if (api_model_sees(v->model))
        json_array_append_new(list, json_string("vision"));
    if (chat_reasons(v->chat))
        json_array_append_new(list, json_string("thinking"));
    bool ranks = pooling == MODEL_POOL_RANK || gguf_tensor(v->gguf, "cls.output.weight");
    if (!ranks && (pooling || !text))
        json_array_append_new(list, json_string("embedding"));
    return list;
}

static json_t *parameters_of(const struct view *v)
{
    const struct sampler_params *p = &v->model->row->sampling;
    char text[160];
    snprintf(text, sizeof text, "temperature %g\ntop_k %d\ntop_p %g\nmin_p %g\nrepeat_penalty %g",
             (double)p->temp, (int)p->top_k, (double)p->top_p, (double)p->min_p,
             (double)p->repeat_penalty);
    return json_string(text);
}

static json_t *tensors_of(const struct view *v)
{
    json_t *list = json_array();
    for (size_t i = 0; i < gguf_n_tensors(v->gguf); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(v->gguf, i);
        json_t *shape = json_array();
        for (int k = 0; k < t->n_dims; k++)
            json_array_append_new(shape, json_integer((json_int_t)t->dims[k]));
        json_array_append_new(list, api_pack("{sossso}", "name", text_of(t->name), "type",
                                             gguf_type_info(t->type)->name, "shape", shape));
    }
    return list;
}

static json_t *show(const struct view *v, bool verbose)
{
    struct api_model *m = v->model;
    struct span source = text_key(v->gguf, "tokenizer.chat_template");
    char from[512];
    snprintf(from, sizeof from, "FROM %.400s\n", m->name);
    json_t *o = api_pack("{sosssosososososo}", "license",
                         text_of(text_key(v->gguf, "general.license")), "modelfile", from,
                         "parameters", parameters_of(v), "template", text_of(source), "details",
                         api_ollama_details(m), "model_info", info_of(v, verbose), "capabilities",
                         abilities_of(v), "modified_at", api_json_time(m->file_unix, 0));
    if (verbose)
        json_object_set_new(o, "tensors", tensors_of(v));
    return o;
}

void api_do_ollama_show(struct api_call *c)
{
    const char *name = NULL;
    bool verbose = false;
    struct view v;
    struct errinfo e;
    if (!api_call_body(c))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (!api_ollama_name(&in, &name) || !api_get_bool(&in, "verbose", &verbose)) {
        api_call_fail(c);
        return;
    }
    struct api_model *m = api_models_need(c->api->models, name, &c->fault);
    if (!m) {
        api_call_fail(c);
        return;
    }
    if (open_view(&v, m, &e) == ERR_OK) {
        api_call_json(c, 200, show(&v, verbose));
    } else {
        api_refuse_err(&c->fault, "model", &e);
        api_call_fail(c);
    }
    close_view(&v);
}

/* ---- the rest ---- */

void api_do_ollama_version(struct api_call *c)
{
    api_call_json(c, 200, api_pack("{ssss}", "version", OLLAMA_VERSION, "damso", DAMSO_VERSION));
}

void api_do_ollama_refused(struct api_call *c)
{
    api_refuse(&c->fault, 501, "unsupported", "",
               "%s is not offered: models are files of who runs this server", c->route->path);
    api_call_fail(c);
}
