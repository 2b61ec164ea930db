/* SPDX-License-Identifier: MIT
 * inspect_model.c - damso inspect model: what a GGUF file is, in sizes, formats and template.  A
 * file that this version cannot run is described all the same, with the reason. */
#include "app/cmd.h"
#include "app/conf.h"
#include "app/models.h"

#include "base/num.h"
#include "gguf/gguf.h"
#include "gguf/gguf_type.h"
#include "hf/hf.h"
#include "model/model.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static json_t *json_span(struct span s)
{
    struct str fixed;
    str_init(&fixed, s.n * 3);
    utf8_repair(&fixed, s);
    json_t *j = json_stringn(fixed.p ? fixed.p : "", fixed.n);
    str_done(&fixed);
    return j;
}

static json_t *text_key(const struct gguf *g, const char *name)
{
    const struct gguf_key *k = gguf_key(g, name);
    return k && k->kind == GGUF_STRING ? json_span(k->s) : json_null();
}

/* {"Q4_1": {"tensors": 210, "bytes": ...}, ...} in the order of their numbers. */
static json_t *formats(const struct gguf *g)
{
    json_t *all = json_object();
    for (uint32_t type = 0; type < GGUF_TYPE_END; type++) {
        size_t n = 0, bytes = 0;
        for (size_t i = 0; i < gguf_n_tensors(g); i++) {
            const struct gguf_tensor *t = gguf_tensor_at(g, i);
            n += t->type == type;
            bytes += t->type == type ? t->bytes : 0;
        }
        if (n)
            json_object_set_new(
                all, gguf_type_info(type)->name,
                json_pack("{s:I, s:I}", "tensors", (json_int_t)n, "bytes", (json_int_t)bytes));
    }
    return all;
}

static void set_size(json_t *o, const char *name, size_t v)
{
    json_object_set_new(o, name, json_integer((json_int_t)v));
}

static void describe_model(json_t *o, const struct model *m)
{
    set_size(o, "weights", m->n_weights);
    set_size(o, "layers", m->n_layer);
    set_size(o, "width", m->dim);
    set_size(o, "feed_forward", m->ff);
    set_size(o, "heads", m->n_head);
    set_size(o, "kv_heads", m->n_kv_head);
    set_size(o, "head_width", m->k_dim);
    set_size(o, "vocabulary", m->n_vocab);
    set_size(o, "context", m->ctx_trained);
    size_t kv = 0;
    for (size_t i = 0; i < m->n_layer; i++) {
        const struct model_layer *l = &m->layers[i];
        kv += l->attends && !l->reuses_kv ? l->n_kv_head * (l->k_dim + l->v_dim) : 0;
        kv += l->indexer.q.rows ? m->index_dim : 0;
    }
    set_size(o, "kv_bytes_a_token", kv * sizeof(uint16_t));
    json_object_set_new(o, "rope_base", json_real((double)m->rope_base));
    json_object_set_new(o, "tied_output", json_boolean(m->output.tensor == m->embed.tensor));
}

static json_t *describe(const struct gguf *g)
{
    struct model *m;
    struct errinfo why;
    json_t *o = json_object();
    json_object_set_new(o, "file", json_span(span_of(gguf_path(g))));
    set_size(o, "bytes", (size_t)gguf_file_bytes(g));
    set_size(o, "gguf_version", gguf_version(g));
    json_object_set_new(o, "name", text_key(g, "general.name"));
    json_object_set_new(o, "architecture", text_key(g, "general.architecture"));
    json_object_set_new(o, "licence", text_key(g, "general.license"));
    json_object_set_new(o, "tokenizer", text_key(g, "tokenizer.ggml.model"));
    json_object_set_new(o, "pre_tokenizer", text_key(g, "tokenizer.ggml.pre"));
    set_size(o, "tensors", gguf_n_tensors(g));
    json_object_set_new(o, "formats", formats(g));
    bool runs = model_open(&m, g, &why) == ERR_OK;
    json_object_set_new(o, "runs", json_boolean(runs));
    if (runs)
        describe_model(o, m);
    else
        json_object_set_new(o, "why_not", json_span(span_of(why.text)));
    model_close(m);
    json_object_set_new(o, "template", text_key(g, "tokenizer.chat_template"));
    return o;
}

static void print_value(const char *name, const json_t *v)
{
    if (json_is_null(v))
        return;
    printf("%-18s ", name);
    if (json_is_string(v))
        printf("%s\n", json_string_value(v));
    else if (json_is_integer(v))
        printf("%lld\n", (long long)json_integer_value(v));
    else if (json_is_real(v))
        printf("%g\n", json_real_value(v));
    else
        printf("%s\n", json_is_true(v) ? "yes" : "no");
}

static void print_text(json_t *o)
{
    const char *name, *format;
    json_t *v, *f;
    json_object_foreach(o, name, v)
    {
        if (!json_is_object(v)) {
            print_value(name, v);
            continue;
        }
        printf("%-18s", name);
        json_object_foreach(v, format, f)
            printf(" %s %lld (%.1f MB)", format,
                   (long long)json_integer_value(json_object_get(f, "tensors")),
                   (double)json_integer_value(json_object_get(f, "bytes")) / 1e6);
        putchar('\n');
    }
}

enum err inspect_model(struct cmd_args *a, struct errinfo *e)
{
    bool as_json = false;
    const struct conf_opt opts[] = {
        {.name = "json", .help = "one JSON object", .flag = &as_json},
    };
    struct gguf *g;
    const char *path;
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 1, e));
    if (a->done)
        return ERR_OK;
    if (a->n_left)
        a->conf.model = a->left[0];
    TRY(models_resolve(&a->conf, &a->conf.arena, &path, e));
    TRY(hf_open(&g, path, e));
    json_t *o = describe(g);
    if (as_json)
        json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    else
        print_text(o);
    if (as_json)
        putchar('\n');
    json_decref(o);
    gguf_close(g);
    return ERR_OK;
}
