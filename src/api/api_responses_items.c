/* SPDX-License-Identifier: MIT
 * api_responses_items.c - input items: whole, as they are stored, and as messages of a template.
 *
 * A response's items are finer than messages: reasoning, text and calls of one answer are items of
 * their own, and become one message of the assistant again. */
#include "api/api_responses.h"

#include <stdio.h>
#include <string.h>

#define ITEMS_MAX      16384
#define TEXT_BYTES_MAX ((size_t)32 << 20)

/* ---- whole items ---- */

static const struct kind {
    const char *type, *id;
} kinds[] = {
    {"message",              "msg_"},
    {"function_call",        "fc_" },
    {"function_call_output", "fco_"},
    {"reasoning",            "rs_" },
    {"item_reference",       NULL  },
    {NULL,                   NULL  },
};

static const struct kind *kind_of(const json_t *item)
{
    const json_t *type = json_object_get(item, "type");
    const char *word = type ? json_string_value(type) : "message";
    const struct kind *k = kinds;
    while (k->type && (!word || strcmp(word, k->type) != 0))
        k++;
    return k;
}

/* A content that is a string becomes the part that it stands for. */
static void complete_message(json_t *item)
{
    json_t *content = json_object_get(item, "content");
    const char *role = json_string_value(json_object_get(item, "role"));
    bool answer = role && strcmp(role, "assistant") == 0;
    json_object_set_new(item, "type", json_string("message"));
    if (!json_is_string(content))
        return;
    json_t *part = api_pack("{sssO}", "type", answer ? "output_text" : "input_text", "text",
                            content);
    if (answer) {
        json_object_set_new(part, "annotations", json_array());
        json_object_set_new(part, "logprobs", json_array());
    }
    json_object_set_new(item, "content", api_pack("[o]", part));
}

static bool complete_item(json_t *item, json_t *ids, const char *at, struct api_fault *f,
                          struct arena *a)
{
    const struct api_in in = {item, at, f};
    const char *id = NULL;
    if (!json_is_object(item))
        return api_refuse(f, 400, "invalid_value", "input", "%s is not an object", at);
    const struct kind *k = kind_of(item);
    if (!k->type) {
        const char *type = json_string_value(json_object_get(item, "type"));
        return api_get_refuse(&in, "type", "items of type \"%.48s\" are not supported here",
                              type ? type : "");
    }
    if (!api_get_text(&in, "id", &id))
        return false;
    if (!k->id && (!id || !*id))
        return api_get_refuse(&in, "id", "is missing");
    if (strcmp(k->type, "message") == 0)
        complete_message(item);
    if (k->id && !json_is_string(json_object_get(item, "status")))
        json_object_set_new(item, "status", json_string("completed"));
    if (!id || !*id)
        json_object_set_new(item, "id", json_string(api_new_id(a, k->id)));
    else if (strlen(id) > STORE_TEXT_BYTES_MAX)
        return api_get_refuse(&in, "id", "is longer than %zu bytes", STORE_TEXT_BYTES_MAX);
    else if (!utf8_printable(span_of(id))) /* the store would refuse it, after the answer */
        return api_get_refuse(&in, "id", "has a control character");
    else if (json_object_get(ids, id))
        return api_get_refuse(&in, "id", "there is another item \"%.64s\"", id);
    else
        json_object_set_new(ids, id, json_true());
    return true;
}

bool api_responses_input(struct api_call *c)
{
    const struct api_in in = {c->body, "", &c->fault};
    json_t *items = api_get_any(&in, "input"), *ids, *item;
    char at[32];
    size_t i;
    bool ok = true;
    if (items && !json_is_string(items) && !json_is_array(items))
        return api_get_refuse(&in, "input", "a string or an array of items is expected");
    if (json_array_size(items) > ITEMS_MAX)
        return api_get_refuse(&in, "input", "%zu items are more than %d", json_array_size(items),
                              ITEMS_MAX);
    if (!items)
        json_object_set_new(c->body, "input", json_array());
    else if (json_is_string(items))
        json_object_set_new(c->body, "input",
                            api_pack("[{sssO}]", "role", "user", "content", items));
    items = json_object_get(c->body, "input");
    ids = json_object();
    json_array_foreach(items, i, item)
    {
        snprintf(at, sizeof at, "input[%zu].", i);
        ok = complete_item(item, ids, at, &c->fault, c->req->arena);
        if (!ok)
            break;
    }
    json_decref(ids);
    return ok;
}

const char *api_responses_maker(struct arena *a, const char *item_id)
{
    const char *begin = strchr(item_id, '_'), *end = strrchr(item_id, '_');
    if (!begin || begin == end)
        return NULL;
    return arena_printf(a, "resp%.*s", (int)(end - begin), begin);
}

/* ---- messages ---- */

static json_t *last_message(const struct api_ask *ask, const char *role)
{
    size_t n = json_array_size(ask->messages);
    json_t *m = n ? json_array_get(ask->messages, n - 1) : NULL;
    const char *has = json_string_value(json_object_get(m, "role"));
    return has && strcmp(has, role) == 0 ? m : NULL;
}

static json_t *new_message(struct api_ask *ask, const char *role, json_t *content)
{
    json_t *m = api_pack("{ssso}", "role", role, "content", content);
    json_array_append_new(ask->messages, m);
    return m;
}

/* Templates look for one system message, in front: texts that follow each other are one.  Until
 * api_responses_join its content is an array of them, so that each is copied once. */
void api_responses_add_system(struct api_ask *ask, struct span text)
{
    json_t *m = last_message(ask, "system");
    if (!m)
        m = new_message(ask, "system", json_array());
    json_array_append_new(json_object_get(m, "content"), api_json_text(text));
}

void api_responses_join(struct api_ask *ask)
{
    size_t i, k;
    json_t *m, *part;
    json_array_foreach(ask->messages, i, m)
    {
        struct str all;
        const json_t *parts = json_object_get(m, "content");
        if (!json_is_array(parts) || !json_is_string(json_array_get(parts, 0)))
            continue; /* parts of a user's message with pictures are objects */
        str_init(&all, 4 * TEXT_BYTES_MAX);
        json_array_foreach(parts, k, part)
        {
            if (k)
                str_add_cstr(&all, "\n\n");
            str_add(&all, json_string_value(part), json_string_length(part));
        }
        json_object_set_new(m, "content", api_json_text(str_span(&all)));
        str_done(&all);
    }
}

/* Text of the assistant belongs to its message while that has but reasoning. */
static void add_answer(struct api_ask *ask, struct span text)
{
    json_t *m = last_message(ask, "assistant");
    if (m && json_string_length(json_object_get(m, "content")) == 0 &&
        !json_object_get(m, "tool_calls"))
        json_object_set_new(m, "content", api_json_text(text));
    else
        new_message(ask, "assistant", api_json_text(text));
}

static bool add_message(struct api_ask *ask, const struct api_in *in)
{
    static const char *const roles[] = {"user", "assistant", "system", "developer"};
    const char *role = NULL;
    char param[64];
    size_t i = 0;
    struct str text;
    if (!api_get_text(in, "role", &role))
        return false;
    while (i < 4 && (!role || strcmp(role, roles[i]) != 0))
        i++;
    if (i == 4)
        return api_get_refuse(in, "role", "\"%.32s\" is none of user, assistant, system, developer",
                              role ? role : "");
    const json_t *content = api_get_any(in, "content");
    if (!content)
        return api_get_refuse(in, "content", "is missing");
    snprintf(param, sizeof param, "%scontent", in->at);
    if (i == 0) {
        json_t *said = api_ask_user_content(ask, content, param, in->fault);
        if (said)
            new_message(ask, "user", said);
        return said;
    }
    str_init(&text, TEXT_BYTES_MAX);
    bool ok = api_ask_content(content, param, &text, in->fault);
    if (ok && i == 1)
        add_answer(ask, str_span(&text));
    else if (ok)
        api_responses_add_system(ask, str_span(&text));
    str_done(&text);
    return ok;
}

static bool add_call(struct api_ask *ask, const struct api_in *in)
{
    const char *id = NULL, *name = NULL, *arguments = NULL;
    if (!api_get_text(in, "call_id", &id) || !api_get_text(in, "name", &name) ||
        !api_get_text(in, "arguments", &arguments))
        return false;
    if (!id || !*id)
        return api_get_refuse(in, "call_id", "is missing");
    if (!name)
        return api_get_refuse(in, "name", "is missing");
    if (!arguments)
        return api_get_refuse(in, "arguments", "is missing");
    json_t *o = api_ask_arguments(ask, api_get_any(in, "arguments"), in->at, in->fault);
    if (!o)
        return false;
    json_t *m = last_message(ask, "assistant");
    if (!m)
        m = new_message(ask, "assistant", json_string(""));
    if (!json_object_get(m, "tool_calls"))
        json_object_set_new(m, "tool_calls", json_array());
    json_array_append_new(json_object_get(m, "tool_calls"),
                          api_pack("{sssss{ssso}}", "id", id, "type", "function", "function",
                                   "name", name, "arguments", o));
    if (!ask->call_names)
        ask->call_names = json_object();
    json_object_set_new(ask->call_names, id, json_string(name));
    return true;
}

static bool add_result(struct api_ask *ask, const struct api_in *in)
{
    const char *id = NULL;
    char param[64];
    struct str text;
    if (!api_get_text(in, "call_id", &id))
        return false;
    const json_t *name = json_object_get(ask->call_names, id ? id : "");
    if (!name)
        return api_get_refuse(in, "call_id", "no function call \"%.64s\" comes before its output",
                              id ? id : "");
    const json_t *output = api_get_any(in, "output");
    if (!output)
        return api_get_refuse(in, "output", "is missing");
    snprintf(param, sizeof param, "%soutput", in->at);
    str_init(&text, TEXT_BYTES_MAX);
    bool ok = api_ask_content(output, param, &text, in->fault);
    if (ok) {
        json_t *m = new_message(ask, "tool", api_json_text(str_span(&text)));
        json_object_set_new(m, "tool_call_id", json_string(id));
        json_object_set(m, "name", (json_t *)(uintptr_t)name);
    }
    str_done(&text);
    return ok;
}

/* Only what was thought in full: summaries and encrypted reasoning are nothing to a model. */
static bool add_reasoning(struct api_ask *ask, const struct api_in *in)
{
    json_t *content = NULL, *part;
    struct str text;
    size_t i;
    if (!api_get_array(in, "content", &content))
        return false;
    str_init(&text, TEXT_BYTES_MAX);
    json_array_foreach(content, i, part)
    {
        const json_t *t = json_object_get(part, "text");
        if (!json_is_string(t)) {
            str_done(&text);
            return api_get_refuse(in, "content", "[%zu] has no text", i);
        }
        str_add(&text, json_string_value(t), json_string_length(t));
    }
    if (text.n)
        json_object_set_new(new_message(ask, "assistant", json_string("")), "reasoning_content",
                            api_json_text(str_span(&text)));
    str_done(&text);
    return true;
}

bool api_responses_add(struct api_ask *ask, const json_t *item, const char *at, struct api_fault *f)
{
    const struct api_in in = {item, at, f};
    const char *type = kind_of(item)->type;
    if (strcmp(type, "message") == 0)
        return add_message(ask, &in);
    if (strcmp(type, "function_call") == 0)
        return add_call(ask, &in);
    if (strcmp(type, "function_call_output") == 0)
        return add_result(ask, &in);
    return strcmp(type, "reasoning") == 0 ? add_reasoning(ask, &in)
                                          : api_get_refuse(&in, "id", "was not found");
}

bool api_responses_add_stored(struct api_ask *ask, const struct store_object *o,
                              struct api_fault *f)
{
    size_t i;
    json_t *item;
    bool ok = true;
    for (i = 0; ok && i < o->n_items; i++) {
        item = api_stored_json(o->items[i].body);
        ok = api_responses_add(ask, item, "previous_response_id: ", f);
        json_decref(item);
    }
    json_t *body = api_stored_json(o->body);
    json_array_foreach(json_object_get(body, "output"), i, item)
    {
        ok = ok && api_responses_add(ask, item, "previous_response_id: ", f);
    }
    json_decref(body);
    return ok;
}
