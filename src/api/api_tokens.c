/* SPDX-License-Identifier: MIT
 * api_tokens.c - POST /tokenize, /detokenize, /apply-template: text and ids as llama-server's
 * clients ask for them ({content, add_special, parse_special, with_pieces} -> {tokens}) and as
 * vLLM's do ({prompt, add_special_tokens} -> {count, max_model_len, tokens}). */
#include "api/api_ask.h"
#include "api/api_call.h"
#include "api/api_prompt.h"

#include "os/os_sys.h"

#include <string.h>

#define TEXT_BYTES_MAX ((size_t)64 << 20)
/* About what a token of the answer takes as JSON values. */
#define PIECE_BYTES ((size_t)560)
#define ID_BYTES    ((size_t)48)

static json_t *ids_of(const struct api_model *m, const struct tok_ids *ids, bool with_pieces)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ids->n; i++) {
        struct str piece;
        if (!with_pieces) {
            json_array_append_new(list, json_integer(ids->id[i]));
            continue;
        }
        str_init(&piece, TEXT_BYTES_MAX);
        struct str repaired;
        str_init(&repaired, TEXT_BYTES_MAX);
        tok_decode(m->tok, &ids->id[i], 1, TOK_SPECIAL, &piece, NULL);
        utf8_repair(&repaired, str_span(&piece));
        json_array_append_new(list, api_pack("{siso}", "id", ids->id[i], "piece",
                                             api_json_text(str_span(&repaired))));
        str_done(&piece);
        str_done(&repaired);
    }
    return list;
}

static void tokenize(struct api_call *c, struct api_model *m)
{
    const struct api_in in = {c->body, "", &c->fault};
    bool bos = false, bos2 = false, special = true, pieces = false;
    struct tok_ids ids = {0};
    struct errinfo e;
    const json_t *text = api_get_any(&in, "content");
    text = text ? text : api_get_any(&in, "prompt");
    bool ok = api_get_bool(&in, "add_special", &bos) &&
              api_get_bool(&in, "add_special_tokens", &bos2) &&
              api_get_bool(&in, "parse_special", &special) &&
              api_get_bool(&in, "with_pieces", &pieces);
    unsigned flags = (bos || bos2 ? TOK_BOS : 0) | (special ? TOK_SPECIAL : 0);
    if (ok && !json_is_string(text))
        ok = api_get_refuse(&in, "content", "a string is expected");
    if (ok) {
        struct span s = {json_string_value(text), json_string_length(text)};
        ok = tok_encode(m->tok, s, flags, &ids, &e) == ERR_OK ||
             api_refuse_err(&c->fault, "content", &e);
    }
    if (ok && (pieces ? PIECE_BYTES : ID_BYTES) * ids.n > API_JSON_BYTES_MAX)
        ok = api_refuse(&c->fault, 413, "", "content", "content: %zu tokens are too many to list",
                        ids.n);
    if (ok && !http_charge(c->req, (pieces ? PIECE_BYTES : ID_BYTES) * ids.n))
        ok = api_refuse(&c->fault, 503, "", "", "too many large requests at once");
    if (ok)
        api_call_json(c, 200,
                      api_pack("{sosIsI}", "tokens", ids_of(m, &ids, pieces), "count",
                               (json_int_t)ids.n, "max_model_len",
                               (json_int_t)engine_ctx(m->engine)));
    else
        api_call_fail(c);
    tok_ids_done(&ids);
    api_model_release(m);
}

void api_do_tokenize(struct api_call *c)
{
    const char *model = NULL;
    if (!api_call_body(c))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (api_get_text(&in, "model", &model))
        api_model_want(c, model, tokenize);
    else
        api_call_fail(c);
}

static void detokenize(struct api_call *c, struct api_model *m)
{
    const struct api_in in = {c->body, "", &c->fault};
    struct tok_ids ids = {0};
    struct str text, repaired;
    struct errinfo e;
    json_t *list = NULL;
    bool ok = api_get_array(&in, "tokens", &list);
    str_init(&text, TEXT_BYTES_MAX);
    str_init(&repaired, TEXT_BYTES_MAX);
    if (ok && !list)
        ok = api_get_refuse(&in, "tokens", "is missing");
    ok = ok && api_ids_from(list, m, &in, "tokens", &ids);
    if (ok && tok_decode(m->tok, ids.id, ids.n, TOK_SPECIAL | TOK_START, &text, &e) != ERR_OK)
        ok = api_refuse_err(&c->fault, "tokens", &e);
    if (ok) {
        utf8_repair(&repaired, str_span(&text));
        json_t *s = api_json_text(str_span(&repaired));
        api_call_json(c, 200, api_pack("{sOso}", "content", s, "prompt", s));
    } else {
        api_call_fail(c);
    }
    str_done(&text);
    str_done(&repaired);
    tok_ids_done(&ids);
    api_model_release(m);
}

void api_do_detokenize(struct api_call *c)
{
    const char *model = NULL;
    if (!api_call_body(c))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (api_get_text(&in, "model", &model))
        api_model_want(c, model, detokenize);
    else
        api_call_fail(c);
}

/* Without the marks that keep written control tokens from being any (tok.h): they are for the
 * tokenizer alone. */
static json_t *unmarked(struct span text)
{
    struct str out;
    size_t at = 0, mark;
    str_init(&out, TEXT_BYTES_MAX);
    while ((mark = span_find(text, SPAN(TOK_MARK), at)) != SIZE_MAX) {
        str_add(&out, text.p + at, mark - at);
        at = mark + strlen(TOK_MARK);
    }
    str_add(&out, text.p + at, text.n - at);
    json_t *s = api_json_text(str_span(&out));
    str_done(&out);
    return s;
}

static void render(struct api_call *c, struct api_model *m)
{
    struct str text;
    struct errinfo e;
    str_init(&text, TEXT_BYTES_MAX);
    if (chat_render(m->chat, c->ask->messages, c->ask->tools, c->ask->kwargs, true, os_unix_time(),
                    &text, &e) == ERR_OK) {
        api_call_json(c, 200, api_pack("{so}", "prompt", unmarked(str_span(&text))));
    } else {
        api_refuse_err(&c->fault, "messages", &e);
        api_call_fail(c);
    }
    str_done(&text);
    api_model_release(m);
}

void api_do_template(struct api_call *c)
{
    struct api_ask *ask = api_call_ask(c);
    if (!ask)
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (api_ask_chat(ask, &in, c->req->arena))
        api_model_want(c, ask->model, render);
    else
        api_call_fail(c);
}
