/* SPDX-License-Identifier: MIT
 * api_ollama_talk.c - POST /api/chat and /api/generate.
 *
 * Both are a stream unless the request says otherwise: a JSON object a line, the last one with
 * done and the times.  Without messages, or a prompt, the model is opened and that is all. */
#include "api/api_gen.h"
#include "api/api_sim.h"
#include "api/api_ollama.h"
#include "api/api_openai.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>

/* ---- answers ---- */

static json_t *head(const char *model)
{
    return api_pack("{ssso}", "model", model, "created_at", api_ollama_now());
}

static void set_ns(json_t *o, const char *name, uint64_t from, uint64_t to)
{
    json_object_set_new(o, name, json_integer((json_int_t)(to - MIN(from, to))));
}

/* The answer is over, but its job may run a moment longer. */
static void set_end(json_t *o, const struct api_choice *c)
{
    const struct job *j = &c->job;
    uint64_t arrived_ns = api_sim_arrived_ns(c);
    uint64_t end_ns = job_state(j) == JOB_DONE ? j->done_ns : api_sim_now(c->gen);
    json_object_set_new(o, "done", json_true());
    json_object_set_new(o, "done_reason", json_string(c->finish == API_LENGTH ? "length" : "stop"));
    set_ns(o, "total_duration", arrived_ns, end_ns);
    set_ns(o, "load_duration", arrived_ns, j->pushed_ns);
    json_object_set_new(o, "prompt_eval_count", json_integer((json_int_t)j->n_prompt));
    set_ns(o, "prompt_eval_duration", j->started_ns, j->first_ns);
    json_object_set_new(o, "eval_count", json_integer((json_int_t)c->n_read));
    set_ns(o, "eval_duration", j->first_ns, end_ns);
}

static json_t *call_of(const struct api_choice *c, const struct api_tool_call *t)
{
    return api_pack("{sss{sIsoso}}", "id", t->id, "function", "index", (json_int_t)(t - c->calls),
                    "name", api_json_text(str_span(&t->name)), "arguments",
                    api_json_arguments(str_span(&t->arguments)));
}

static json_t *message_of(struct span text)
{
    return api_pack("{ssso}", "role", "assistant", "content", api_json_text(text));
}

/* A line of /api/chat with a message, of /api/generate with texts at the top. */
static void add_line(struct api_gen *g, json_t *what, const char *name, struct str *out)
{
    json_t *o = head(api_openai_model(g));
    if (name) {
        json_object_set_new(o, name, what);
    } else {
        json_object_update(o, what);
        json_decref(what);
    }
    json_object_set_new(o, "done", json_false());
    api_ollama_line(out, o);
}

/* ---- /api/chat ---- */

static void chat_content(struct api_choice *c, struct span piece, struct str *out)
{
    add_line(c->gen, message_of(piece), "message", out);
}

static void chat_reasoning(struct api_choice *c, struct span piece, struct str *out)
{
    json_t *m = message_of(SPAN(""));
    json_object_set_new(m, "thinking", api_json_text(piece));
    add_line(c->gen, m, "message", out);
}

static void chat_call(struct api_choice *c, struct api_tool_call *t, struct str *out)
{
    json_t *m = message_of(SPAN(""));
    json_object_set_new(m, "tool_calls", api_pack("[o]", call_of(c, t)));
    add_line(c->gen, m, "message", out);
}

static void chat_end(struct api_choice *c, struct str *out)
{
    json_t *o = head(api_openai_model(c->gen));
    json_object_set_new(o, "message", message_of(SPAN("")));
    set_end(o, c);
    api_ollama_line(out, o);
}

static json_t *chat_whole(struct api_gen *g)
{
    const struct api_choice *c = &g->choices[0];
    json_t *o = head(api_openai_model(g)), *m = message_of(str_span(&c->content));
    if (c->reasoning.n)
        json_object_set_new(m, "thinking", api_json_text(str_span(&c->reasoning)));
    for (size_t i = 0; i < c->n_calls; i++) {
        if (i == 0)
            json_object_set_new(m, "tool_calls", json_array());
        json_array_append_new(json_object_get(m, "tool_calls"), call_of(c, &c->calls[i]));
    }
    json_object_set_new(o, "message", m);
    set_end(o, c);
    return o;
}

/* ---- /api/generate ---- */

static void generate_content(struct api_choice *c, struct span piece, struct str *out)
{
    add_line(c->gen, api_json_text(piece), "response", out);
}

static void generate_reasoning(struct api_choice *c, struct span piece, struct str *out)
{
    add_line(c->gen, api_pack("{ssso}", "response", "", "thinking", api_json_text(piece)), NULL,
             out);
}

static void generate_end(struct api_choice *c, struct str *out)
{
    json_t *o = head(api_openai_model(c->gen));
    json_object_set_new(o, "response", json_string(""));
    set_end(o, c);
    api_ollama_line(out, o);
}

static json_t *generate_whole(struct api_gen *g)
{
    const struct api_choice *c = &g->choices[0];
    json_t *o = head(api_openai_model(g));
    json_object_set_new(o, "response", api_json_text(str_span(&c->content)));
    if (c->reasoning.n)
        json_object_set_new(o, "thinking", api_json_text(str_span(&c->reasoning)));
    set_end(o, c);
    return o;
}

/* ---- both ---- */

static void end(struct api_gen *g, struct str *out)
{
    (void)g, (void)out;
}

static void fail(struct api_gen *g, const struct api_fault *f, struct str *out)
{
    (void)g;
    api_fault_body(f, API_OLLAMA, out);
    str_add_char(out, '\n');
}

static const struct api_gen_ops chat_ops = {
    .content = chat_content,
    .reasoning = chat_reasoning,
    .call_end = chat_call,
    .choice_end = chat_end,
    .end = end,
    .fail = fail,
    .whole = chat_whole,
    .stream_type = API_NDJSON,
};

static const struct api_gen_ops generate_ops = {
    .content = generate_content,
    .reasoning = generate_reasoning,
    .choice_end = generate_end,
    .end = end,
    .fail = fail,
    .whole = generate_whole,
    .stream_type = API_NDJSON,
};

/* Ollama's clients rely on this refusal to ask again without. */
static bool check_think(const struct api_gen *g)
{
    const json_t *v = json_object_get(g->body, "think");
    bool wanted = json_is_true(v) || json_is_string(v);
    if (!wanted || chat_reasons(g->model->chat))
        return true;
    return api_refuse(&g->call->fault, 400, "unsupported_value", "think",
                      "\"%.128s\" does not support thinking", api_openai_model(g));
}

static void answer_chat(struct api_call *c, struct api_model *m)
{
    struct api_gen *g = api_gen_new(c, m, "", &chat_ops);
    if (check_think(g) && api_gen_chat(g))
        api_gen_guide(g);
    api_gen_start(g);
}

static void answer_generate(struct api_call *c, struct api_model *m)
{
    struct api_gen *g = api_gen_new(c, m, "", &generate_ops);
    const struct api_in in = {g->body, "", &c->fault};
    bool raw = !g->ask.messages;
    if (check_think(g) && (raw ? api_gen_prompts(g, &in, "prompt") : api_gen_chat(g)))
        api_gen_guide(g);
    api_gen_start(g);
}

static void loaded(struct api_call *c, struct api_model *m)
{
    struct str line;
    bool chat = strcmp(c->route->path, "/api/chat") == 0;
    json_t *o = head(c->ask->model ? c->ask->model : m->name);
    if (chat)
        json_object_set_new(o, "message", message_of(SPAN("")));
    else
        json_object_set_new(o, "response", json_string(""));
    json_object_set_new(o, "done", json_true());
    json_object_set_new(o, "done_reason", json_string("load"));
    str_init(&line, 65536);
    api_ollama_line(&line, o);
    http_reply(c->req, 200, c->ask->stream ? API_NDJSON : "application/json", str_span(&line));
    str_done(&line);
    api_call_drop(c);
    api_model_release(m);
}

void api_do_ollama_chat(struct api_call *c)
{
    struct api_ask *ask = api_call_ask(c);
    if (!ask)
        return;
    const struct api_in in = {c->body, "", &c->fault};
    const json_t *messages = api_get_any(&in, "messages");
    bool empty = !messages || (json_is_array(messages) && json_array_size(messages) == 0);
    c->exact = true;
    if (api_ollama_ask(ask, &in, c->req->arena) && (empty || api_ollama_chat(ask, &in)))
        api_model_want(c, ask->model, empty ? loaded : answer_chat);
    else
        api_call_fail(c);
}

static bool read_generate(struct api_ask *ask, const struct api_in *in, struct arena *a)
{
    bool raw = false;
    if (!api_ollama_ask(ask, in, a) || !api_get_bool(in, "raw", &raw))
        return false;
    if (!raw)
        return api_ollama_generate(ask, in);
    const char *text = NULL;
    if (!api_get_text(in, "prompt", &text) || !api_get_text(in, "system", &text))
        return false;
    return !text || !*text || !api_get_any(in, "system") ||
           api_get_refuse(in, "system", "a raw prompt is all that the model reads");
}

void api_do_ollama_generate(struct api_call *c)
{
    struct api_ask *ask = api_call_ask(c);
    if (!ask)
        return;
    const struct api_in in = {c->body, "", &c->fault};
    const json_t *prompt = api_get_any(&in, "prompt");
    bool empty = !prompt || (json_is_string(prompt) && json_string_length(prompt) == 0);
    c->exact = true;
    if (read_generate(ask, &in, c->req->arena))
        api_model_want(c, ask->model, empty ? loaded : answer_generate);
    else
        api_call_fail(c);
}
