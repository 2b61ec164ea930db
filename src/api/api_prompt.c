/* SPDX-License-Identifier: MIT
 * api_prompt.c - from a conversation, or texts, to the tokens that an answer continues. */
#include "api/api_prompt.h"

#include "api/api_gen.h"

#include "os/os_sys.h"

#include <string.h>

/* Calls are only made for the tools that the choice allows. */
static json_t *tools_allowed(const struct api_ask *ask)
{
    json_t *out = NULL, *t, *name;
    size_t i, k;
    if (ask->tool_choice == API_TOOL_NONE)
        return NULL;
    if (!ask->tool_names)
        return json_incref(ask->tools);
    json_array_foreach(ask->tools, i, t)
    {
        const json_t *fn = json_object_get(t, "function");
        json_array_foreach(ask->tool_names, k, name)
        {
            if (!json_equal(json_object_get(fn, "name"), name))
                continue;
            out = out ? out : json_array();
            json_array_append(out, t);
            break;
        }
    }
    return out;
}

/* Clients may send a template; nobody's but the model's own is ever run. */
static bool check_template(const struct api_model *m, const struct api_ask *ask,
                           struct api_fault *f)
{
    struct span own;
    if (!ask->chat_template ||
        (gguf_get_str(m->gguf, "tokenizer.chat_template", SPAN(""), &own, NULL) == ERR_OK &&
         span_eq_cstr(own, ask->chat_template)))
        return true;
    return api_refuse(f, 400, "unsupported_value", "chat_template",
                      "chat_template: the model's own template is used, and this is another one");
}

bool api_prompt_chat(const struct api_model *m, const struct api_ask *ask, struct str *rendered,
                     struct tok_ids *out, struct api_fault *f)
{
    struct errinfo e;
    if (!check_template(m, ask, f) || !api_picture_taken(m, ask, f))
        return false;
    if (chat_render(m->chat, ask->messages, ask->tools, ask->kwargs, true, os_unix_time(), rendered,
                    &e) != ERR_OK)
        return api_refuse_err(f, ask->messages_name, &e);
    /* A template that writes the BOS token itself must not get a second one. */
    int32_t bos = tok_bos(m->tok);
    struct span text = str_span(rendered);
    bool has_bos = bos >= 0 && span_starts(text, tok_piece(m->tok, bos));
    unsigned flags = TOK_SPECIAL | TOK_MARKED | (has_bos ? 0 : TOK_BOS);
    if (ask->n_pictures) {
        if (!api_picture_encode(m, ask, text, flags, out, f))
            return false;
    } else if (tok_encode(m->tok, text, flags, out, &e) != ERR_OK) {
        return api_refuse_err(f, ask->messages_name, &e);
    }
    /* As the model would have written it: from a token's beginning, and without control tokens. */
    if (ask->prefill.n && chat_prompt_reasoning(m->chat, text) == CHAT_REASONING_OPEN)
        return api_refuse(f, 400, "unsupported_value", "messages",
                          "messages: this model begins its answers with reasoning, so none can be "
                          "begun for it");
    if (tok_encode(m->tok, ask->prefill, 0, out, &e) != ERR_OK)
        return api_refuse_err(f, ask->messages_name, &e);
    if (out->n == 0)
        return api_refuse(f, 400, "invalid_value", ask->messages_name, "the prompt is empty");
    return true;
}

bool api_gen_chat(struct api_gen *g)
{
    struct api_ask *ask = &g->ask;
    g->chat = true;
    g->callable = tools_allowed(ask);
    /* A model without a template reads a transcript (chat.h); its next line would be the user's. */
    const struct span user = SPAN("\nUser:");
    if (!chat_has_template(g->model->chat) &&
        (ask->n_stop == 0 || !span_eq(ask->stop[ask->n_stop - 1], user)))
        ask->stop[ask->n_stop++] = user;
    g->prompts = arena_array(g->arena, 1, sizeof *g->prompts);
    g->n_prompts = 1;
    struct errinfo e;
    if (tok_encode(g->model->tok, str_span(&ask->predicted), 0, &g->predicted, &e) != ERR_OK)
        return api_refuse_err(&g->call->fault, "prediction", &e);
    if (!api_prompt_chat(g->model, ask, &g->rendered, &g->prompts[0], &g->call->fault))
        return false;
    g->sight = api_sight_new(g->call->api->seer, g->model->vision, ask);
    return true;
}

bool api_ids_from(const json_t *list, const struct api_model *m, const struct api_in *in,
                  const char *name, struct tok_ids *ids)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id >= tok_n_vocab(m->tok))
            return api_get_refuse(in, name, "[%zu] is no token id of 0 to %d", i,
                                  tok_n_vocab(m->tok) - 1);
        tok_ids_add(ids, (int32_t)id);
    }
    return true;
}

static bool add_prompt(struct api_prompts *p, const struct api_in *in, const char *name,
                       const json_t *v)
{
    struct errinfo e;
    struct tok_ids *ids = &p->ids[p->n++];
    const struct tok *tok = p->model->tok;
    if (json_is_array(v)) {
        if (!api_ids_from(v, p->model, in, name, ids))
            return false;
    } else if (!json_is_string(v)) {
        return api_get_refuse(in, name, "a string, token ids, or an array of those is expected");
    } else {
        struct span text = {json_string_value(v), json_string_length(v)};
        if (tok_encode(tok, text, TOK_SPECIAL | TOK_BOS, ids, &e) != ERR_OK)
            return api_refuse_err(in->fault, name, &e);
    }
    if (ids->n == 0 && tok_bos(tok) >= 0) /* an empty text still begins */
        tok_ids_add(ids, tok_bos(tok));
    return ids->n > 0 || api_get_refuse(in, name, "is empty");
}

bool api_prompts_read(struct api_prompts *p, const struct api_in *in, const char *name)
{
    const json_t *v = api_get_any(in, name), *one;
    size_t i, n = json_array_size(v);
    bool many = n && !json_is_integer(json_array_get(v, 0));
    if (!v)
        return api_get_refuse(in, name, "is missing");
    if (many && n > API_PROMPTS_MAX)
        return api_get_refuse(in, name, "%zu texts are more than %d", n, API_PROMPTS_MAX);
    p->ids = arena_array(p->arena, many ? n : 1, sizeof *p->ids);
    if (!many)
        return add_prompt(p, in, name, v);
    json_array_foreach(v, i, one)
    {
        if (!add_prompt(p, in, name, one))
            return false;
    }
    return true;
}

bool api_gen_prompts(struct api_gen *g, const struct api_in *in, const char *name)
{
    struct api_prompts p = {.model = g->model, .arena = g->arena};
    bool ok = api_prompts_read(&p, in, name);
    g->prompts = p.ids;
    g->n_prompts = p.n;
    return ok;
}
