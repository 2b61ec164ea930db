/* SPDX-License-Identifier: MIT
 * api_rerank.c - POST /v1/rerank: how well each document answers a query, best first, in the form
 * that Jina, Cohere and vLLM share.
 *
 * relevance_score is within 0 and 1: the logistic function of the head's number, or the share of
 * "yes" in yes and no.  Each document is read with the query as a pair or, where the file has a
 * template for that (tokenizer.chat_template.rerank), by it. */
#include "api/api_embed.h"
#include "api/api_prompt.h"
#include "base/num.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct rerank {
    struct api_embed *embed;
    const char *query;
    const json_t *documents; /* the body's */
    size_t top_n;
    bool with_documents, truncate;
    struct span template; /* of the file; n 0: it has none */
};

struct ranked {
    size_t index;
    double score;
};

/* The text of a document: a string or {"text": ...}; NULL: neither. */
static const json_t *text_of(const json_t *document)
{
    const json_t *t = json_is_object(document) ? json_object_get(document, "text") : document;
    return json_is_string(t) ? t : NULL;
}

static struct span span_of_json(const json_t *t)
{
    return (struct span){json_string_value(t), json_string_length(t)};
}

/* ---- the answer ---- */

static int better(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static json_t *whole(struct api_embed *b)
{
    const struct rerank *r = b->own;
    struct ranked *all = arena_array(b->call->req->arena, b->n, sizeof *all);
    json_t *results = json_array();
    for (size_t i = 0; i < b->n; i++)
        all[i] = (struct ranked){i, 1 / (1 + exp(-(double)b->jobs[i].score))};
    qsort(all, b->n, sizeof *all, better);
    for (size_t i = 0; i < MIN(b->n, r->top_n); i++) {
        json_t *o = api_pack("{sIsf}", "index", (json_int_t)all[i].index, "relevance_score",
                             all[i].score);
        if (r->with_documents) {
            struct span text = span_of_json(text_of(json_array_get(r->documents, all[i].index)));
            json_object_set_new(o, "document", api_pack("{so}", "text", api_json_text(text)));
        }
        json_array_append_new(results, o);
    }
    return api_pack("{sssssosss{sIsI}}", "id", api_new_id(b->call->req->arena, "rerank-"), "object",
                    "list", "results", results, "model", b->model_name, "usage", "prompt_tokens",
                    (json_int_t)b->n_tokens, "total_tokens", (json_int_t)b->n_tokens);
}

/* ---- the prompts ---- */

/* The template with the query and a document in their places, whose control tokens are text. */
static void fill(const struct rerank *r, struct span document, struct str *out)
{
    const struct span places[] = {SPAN("{query}"), SPAN("{document}")};
    const struct span texts[] = {span_of(r->query), document};
    const struct chat *chat = r->embed->model->chat;
    struct span rest = r->template;
    while (rest.n) {
        size_t next = SIZE_MAX, which = 0;
        for (size_t i = 0; i < N_ELEMS(places); i++) {
            size_t at = span_find(rest, places[i], 0);
            which = at < next ? i : which;
            next = MIN(at, next);
        }
        str_add(out, rest.p, MIN(next, rest.n));
        if (next == SIZE_MAX)
            return;
        chat_guard_text(chat, texts[which], out);
        next += places[which].n;
        rest = (struct span){rest.p + next, rest.n - next};
    }
}

static enum err encode(const struct rerank *r, struct span document, struct tok_ids *ids,
                       size_t *second, struct errinfo *e)
{
    const struct api_model *m = r->embed->model;
    size_t ctx = engine_ctx(m->engine);
    struct str text;
    if (!r->template.n)
        return tok_encode_pair(m->tok, span_of(r->query), document, r->truncate ? ctx : SIZE_MAX,
                               ids, second, e);
    *second = 0;
    str_init(&text, TOK_TEXT_BYTES_MAX);
    fill(r, document, &text);
    enum err err = tok_encode(m->tok, str_span(&text), TOK_SPECIAL | TOK_MARKED, ids, e);
    str_done(&text);
    return err;
}

static bool read_document(struct rerank *r, const struct api_in *in, size_t i)
{
    struct api_embed *b = r->embed;
    const json_t *text = text_of(json_array_get(r->documents, i));
    size_t ctx = engine_ctx(b->model->engine);
    struct errinfo e;
    if (!text)
        return api_get_refuse(in, "documents", "[%zu] is no string and no object with a text", i);
    b->n = i + 1;
    if (encode(r, span_of_json(text), &b->inputs[i], &b->second[i], &e) != ERR_OK)
        return api_refuse_err(in->fault, "documents", &e);
    if (b->inputs[i].n > ctx)
        return api_get_refuse(
            in, "documents", "[%zu] has %zu tokens with the query, and the model reads %zu%s", i,
            b->inputs[i].n, ctx, r->template.n ? "" : "; with truncate, its end is left out");
    b->n_tokens += b->inputs[i].n;
    return true;
}

static bool read_documents(struct rerank *r, const struct api_in *in)
{
    struct api_embed *b = r->embed;
    size_t n = json_array_size(r->documents);
    if (n == 0 || n > API_PROMPTS_MAX)
        return api_get_refuse(in, "documents", "1 to %d documents are expected, not %zu",
                              API_PROMPTS_MAX, n);
    b->inputs = arena_array(b->call->req->arena, n, sizeof *b->inputs);
    b->second = arena_array(b->call->req->arena, n, sizeof *b->second);
    for (size_t i = 0; i < n; i++)
        if (!read_document(r, in, i))
            return false;
    return true;
}

static bool read_ask(struct rerank *r, const struct api_in *in)
{
    const struct api_model *m = r->embed->model;
    json_t *documents = NULL;
    int64_t top_n = API_PROMPTS_MAX;
    struct errinfo e;
    if (!engine_model(m->engine)->head.out.rows)
        return api_refuse(in->fault, 400, "unsupported_model", "model",
                          "model: %s is no reranker: its file has no cls.output", m->name);
    if (!api_get_text(in, "query", &r->query) || !api_get_array(in, "documents", &documents) ||
        !api_get_int(in, "top_n", 1, INT32_MAX, &top_n) ||
        !api_get_bool(in, "return_documents", &r->with_documents) ||
        !api_get_bool(in, "truncate", &r->truncate))
        return false;
    if (!r->query)
        return api_get_refuse(in, "query", "is missing");
    if (!documents)
        return api_get_refuse(in, "documents", "is missing");
    if (gguf_get_str(m->gguf, "tokenizer.chat_template.rerank", SPAN(""), &r->template, &e) !=
        ERR_OK)
        return api_refuse_err(in->fault, "model", &e);
    r->documents = documents;
    r->top_n = (size_t)top_n;
    return true;
}

static void rank(struct api_call *c, struct api_model *m)
{
    struct api_embed *b = api_embed_new(c, m, whole);
    struct rerank *r = arena_alloc(c->req->arena, sizeof *r);
    const struct api_in in = {b->body, "", &c->fault};
    *r = (struct rerank){.embed = b};
    b->own = r;
    b->ranks = true;
    if (read_ask(r, &in))
        read_documents(r, &in);
    api_embed_start(b);
}

void api_do_rerank(struct api_call *c)
{
    const char *model = NULL;
    if (!api_call_body(c))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (api_get_text(&in, "model", &model))
        api_model_want(c, model, rank);
    else
        api_call_fail(c);
}
