/* SPDX-License-Identifier: MIT
 * api_completions.c - POST /v1/completions: a text, or token ids, continued as they are. */
#include "api/api_gen.h"

#include "api/api_openai.h"

#define TEXT_BYTES_MAX ((size_t)64 << 20)

static json_t *head(const struct api_gen *g)
{
    return api_pack("{sssssIssss}", "id", g->id, "object", "text_completion", "created",
                    (json_int_t)g->created, "model", api_openai_model(g), "system_fingerprint",
                    api_openai_fingerprint());
}

/* ---- logprobs, in the older form: parallel lists ---- */

struct lists {
    json_t *tokens, *logprobs, *tops, *offsets;
    size_t offset; /* in characters of the text, as OpenAI counts */
};

static size_t n_chars(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static json_t *token_text(const struct api_gen *g, int32_t id, size_t *chars)
{
    struct str text, repaired;
    str_init(&text, 65536);
    str_init(&repaired, 3 * 65536);
    api_openai_token(g, id, &text);
    utf8_repair(&repaired, str_span(&text));
    json_t *s = api_json_text(str_span(&repaired));
    if (chars)
        *chars = n_chars(str_span(&repaired));
    str_done(&text);
    str_done(&repaired);
    return s;
}

static void add_token(struct lists *l, const struct api_choice *c, int32_t id, const float *logprob,
                      const struct job_top *top)
{
    size_t chars;
    json_t *tops = json_object();
    json_array_append_new(l->tokens, token_text(c->gen, id, &chars));
    json_array_append_new(l->offsets, json_integer((json_int_t)l->offset));
    l->offset += chars;
    json_array_append_new(l->logprobs,
                          logprob ? json_real(api_openai_real(*logprob)) : json_null());
    for (int k = 0; top && k < c->job.n_top; k++) {
        json_t *name = token_text(c->gen, top[k].token, NULL);
        json_object_set_new(tops, json_string_value(name),
                            json_real(api_openai_real(top[k].logprob)));
        json_decref(name);
    }
    if (!logprob) {
        json_decref(tops);
        tops = json_null();
    }
    json_array_append_new(l->tops, tops);
}

static void add_prompt(struct lists *l, const struct api_choice *c)
{
    const struct job *j = &c->job;
    for (size_t i = 0; i < j->n_prompt; i++)
        add_token(l, c, j->prompt[i], i ? &j->prompt_out[i].logprob : NULL,
                  i && j->n_top ? j->prompt_top + i * (size_t)j->n_top : NULL);
}

/* Where the lists of an answer have come to. */
struct place {
    size_t offset;     /* in characters */
    bool echoed, told; /* the prompt's tokens; its text, in a stream */
};

/* Of the tokens read since the last call; with `echo` those of the prompt first. */
static json_t *logprobs_new(struct api_choice *c)
{
    const struct job *j = &c->job;
    struct place *at = c->own;
    if (!c->gen->ask.logprobs)
        return json_null();
    struct lists l = {json_array(), json_array(), json_array(), json_array(), at->offset};
    if (c->gen->ask.echo && !at->echoed)
        add_prompt(&l, c);
    at->echoed = true;
    for (; c->n_told < c->n_read; c->n_told++)
        add_token(&l, c, j->out[c->n_told].token, &j->out[c->n_told].logprob,
                  j->n_top ? j->top + c->n_told * (size_t)j->n_top : NULL);
    at->offset = l.offset;
    return api_pack("{sosososo}", "tokens", l.tokens, "token_logprobs", l.logprobs, "top_logprobs",
                    l.tops, "text_offset", l.offsets);
}

/* ---- answers ---- */

static void add_chunk(struct api_choice *c, json_t *text, json_t *logprobs, const char *finish,
                      struct str *out)
{
    json_t *o = head(c->gen);
    json_t *choice = api_pack("{sIsoso}", "index", (json_int_t)c->index, "text", text, "logprobs",
                              logprobs);
    json_object_set_new(choice, "finish_reason", finish ? json_string(finish) : json_null());
    json_object_set_new(o, "choices", api_pack("[o]", choice));
    if (c->gen->ask.include_usage)
        json_object_set_new(o, "usage", json_null());
    api_json_event(out, NULL, o);
}

/* The prompt as text, where `echo` asks for it. */
static void add_echo(const struct api_choice *c, struct str *text)
{
    struct str raw;
    if (!c->gen->ask.echo)
        return;
    str_init(&raw, TEXT_BYTES_MAX);
    tok_decode(c->gen->model->tok, c->prompt->id, c->prompt->n, TOK_START, &raw, NULL);
    utf8_repair(text, str_span(&raw));
    str_done(&raw);
}

/* The echo goes first, once what belongs to it is known: with the first text, or at the end. */
static void tell_echo(struct api_choice *c, struct str *out)
{
    struct place *at = c->own;
    struct str text;
    if (!c->gen->ask.echo || at->told)
        return;
    at->told = true;
    str_init(&text, TEXT_BYTES_MAX);
    add_echo(c, &text);
    add_chunk(c, api_json_text(str_span(&text)), logprobs_new(c), NULL, out);
    str_done(&text);
}

static void begin(struct api_gen *g, struct str *out)
{
    (void)out;
    for (size_t i = 0; i < g->n_choices; i++)
        g->choices[i].own = arena_alloc(g->arena, sizeof(struct place));
}

static void content(struct api_choice *c, struct span piece, struct str *out)
{
    tell_echo(c, out);
    add_chunk(c, api_json_text(piece), logprobs_new(c), NULL, out);
}

static void choice_end(struct api_choice *c, struct str *out)
{
    tell_echo(c, out);
    add_chunk(c, json_string(""), json_null(), api_finish_name(c->finish), out);
}

static void end(struct api_gen *g, struct str *out)
{
    if (g->ask.include_usage) {
        json_t *o = head(g);
        json_object_set_new(o, "choices", json_array());
        json_object_set_new(o, "usage", api_openai_usage(g));
        api_json_event(out, NULL, o);
    }
    str_add_cstr(out, "data: [DONE]\n\n");
}

static json_t *whole(struct api_gen *g)
{
    json_t *o = head(g), *choices = json_array();
    begin(g, NULL);
    for (size_t i = 0; i < g->n_choices; i++) {
        struct api_choice *c = &g->choices[i];
        struct str text;
        str_init(&text, 2 * TEXT_BYTES_MAX);
        add_echo(c, &text);
        str_add_span(&text, str_span(&c->content));
        json_array_append_new(choices,
                              api_pack("{sIsososs}", "index", (json_int_t)i, "text",
                                       api_json_text(str_span(&text)), "logprobs", logprobs_new(c),
                                       "finish_reason", api_finish_name(c->finish)));
        str_done(&text);
    }
    json_object_set_new(o, "choices", choices);
    json_object_set_new(o, "usage", api_openai_usage(g));
    return o;
}

static const struct api_gen_ops completion_ops = {
    .begin = begin,
    .content = content,
    .choice_end = choice_end,
    .end = end,
    .fail = api_openai_stream_fail,
    .whole = whole,
};

/* ---- the request ---- */

static void answer(struct api_call *c, struct api_model *m)
{
    struct api_gen *g = api_gen_new(c, m, "cmpl-", &completion_ops);
    const struct api_in in = {g->body, "", &c->fault};
    if (api_gen_prompts(g, &in, "prompt"))
        api_gen_guide(g);
    api_gen_start(g);
}

/* `logprobs` is a number here: so many of the likeliest. */
static bool get_fields(struct api_ask *ask, const struct api_in *in, struct arena *a)
{
    int64_t best_of = -1, top = -1;
    const char *suffix = NULL;
    if (!api_ask_common(ask, in, a))
        return false;
    if (json_is_boolean(api_get_any(in, "logprobs")))
        ask->logprobs = json_is_true(api_get_any(in, "logprobs"));
    else if (!api_get_int(in, "logprobs", 0, 20, &top))
        return false;
    if (!api_get_bool(in, "echo", &ask->echo) ||
        !api_get_int(in, "best_of", 1, API_N_MAX, &best_of) || !api_get_text(in, "suffix", &suffix))
        return false;
    if (best_of >= 0 && (size_t)best_of != ask->n)
        return api_get_refuse(in, "best_of", "only the value of n is supported");
    if (suffix && *suffix)
        return api_get_refuse(in, "suffix", "inserting before a suffix is not supported");
    if (top >= 0) {
        ask->logprobs = true;
        ask->n_top = top;
    }
    if (ask->n_max < 0)
        ask->n_max = 16; /* OpenAI's default of this endpoint */
    if (ask->n_max == 0 && !ask->echo)
        return api_get_refuse(in, "max_tokens", "0 is allowed only with \"echo\": true");
    return true;
}

void api_do_completions(struct api_call *c)
{
    struct api_ask *ask = api_call_ask(c);
    if (!ask)
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (get_fields(ask, &in, c->req->arena))
        api_model_want(c, ask->model, answer);
    else
        api_call_fail(c);
}
