/* SPDX-License-Identifier: MIT */
#include "api/api_openai.h"
#include "api/api_sim.h"

#define TOKEN_BYTES_MAX 65536

const char *api_openai_model(const struct api_gen *g)
{
    return g->ask.model ? g->ask.model : g->model->name;
}

const char *api_openai_fingerprint(void)
{
    return "damso-" DAMSO_VERSION;
}

json_t *api_openai_usage(const struct api_gen *g)
{
    struct api_usage u = api_gen_usage(g);
    json_t *o = api_pack(
        "{sIsIsIs{sIsI}s{sIsIsIsI}}", "prompt_tokens", (json_int_t)u.n_prompt, "completion_tokens",
        (json_int_t)u.n_answer, "total_tokens", (json_int_t)(u.n_prompt + u.n_answer),
        "prompt_tokens_details", "cached_tokens", (json_int_t)u.n_cached, "audio_tokens",
        (json_int_t)0, "completion_tokens_details", "reasoning_tokens", (json_int_t)u.n_reasoning,
        "audio_tokens", (json_int_t)0, "accepted_prediction_tokens", (json_int_t)u.n_accepted,
        "rejected_prediction_tokens", (json_int_t)u.n_rejected);
    api_sim_add(o, g);
    return o;
}

void api_openai_token(const struct api_gen *g, int32_t id, struct str *out)
{
    tok_decode(g->model->tok, &id, 1, TOK_SPECIAL, out, NULL);
}

double api_openai_real(float logprob)
{
    return logprob >= -9999 ? (double)logprob : -9999;
}

/* "token" may be part of a character: `bytes` tells it exactly. */
static json_t *token_object(const struct api_gen *g, int32_t id, float logprob)
{
    struct str text, repaired;
    json_t *bytes = json_array();
    str_init(&text, TOKEN_BYTES_MAX);
    str_init(&repaired, 3 * TOKEN_BYTES_MAX);
    api_openai_token(g, id, &text);
    utf8_repair(&repaired, str_span(&text));
    for (size_t i = 0; i < text.n; i++)
        json_array_append_new(bytes, json_integer((unsigned char)text.p[i]));
    json_t *o = api_pack("{sosfso}", "token", api_json_text(str_span(&repaired)), "logprob",
                         api_openai_real(logprob), "bytes", bytes);
    str_done(&text);
    str_done(&repaired);
    return o;
}

json_t *api_openai_logprob(const struct api_choice *c, size_t i)
{
    const struct job *j = &c->job;
    json_t *o = token_object(c->gen, j->out[i].token, j->out[i].logprob);
    json_t *tops = json_array();
    const struct job_top *top = j->n_top ? j->top + i * (size_t)j->n_top : NULL;
    for (int k = 0; k < j->n_top; k++)
        json_array_append_new(tops, token_object(c->gen, top[k].token, top[k].logprob));
    json_object_set_new(o, "top_logprobs", tops);
    return o;
}

json_t *api_openai_logprobs_new(struct api_choice *c)
{
    if (!c->gen->ask.logprobs)
        return NULL;
    json_t *list = json_array();
    for (; c->n_told < c->n_read; c->n_told++)
        json_array_append_new(list, api_openai_logprob(c, c->n_told));
    return api_pack("{soso}", "content", list, "refusal", json_null());
}

void api_openai_logprobs_skip(struct api_choice *c)
{
    c->n_told = c->n_read;
}

void api_openai_stream_fail(struct api_gen *g, const struct api_fault *f, struct str *out)
{
    (void)g;
    str_add_cstr(out, "data: ");
    api_fault_body(f, API_OPENAI, out);
    str_add_cstr(out, "\n\ndata: [DONE]\n\n");
}
