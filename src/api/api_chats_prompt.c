/* SPDX-License-Identifier: MIT
 * api_chats_prompt.c - what a model is asked: the user's and the folder's instructions, the
 * conversation with its files, and at its end the question for a title. */
#include "api/api_chats.h"

#include "base/num.h"

#include <string.h>

#define PROMPT_BYTES_MAX ((size_t)128 << 20)
#define TITLE_BYTES_MAX  ((size_t)90)

/* ---- instructions ---- */

static void add_block(struct str *out, const char *text)
{
    if (!text || !*text)
        return;
    if (out->n)
        str_add_cstr(out, "\n\n");
    str_add_cstr(out, text);
}

/* What the user lets it keep; shapes that are none are passed over, since settings are the app's.
 */
static void add_memory(struct str *out, const json_t *memory)
{
    size_t i, n = 0;
    json_t *v;
    json_array_foreach(memory, i, v)
    {
        const char *text = json_string_value(json_object_get(v, "text"));
        if (!text || !*text)
            continue;
        if (n++ == 0)
            add_block(out, "What is known of the user:");
        str_add_cstr(out, "\n- ");
        str_add_cstr(out, text);
    }
}

static void add_system(json_t *messages, const struct store_chats *x)
{
    struct str text;
    json_t *settings = api_stored_json(x->settings);
    str_init(&text, PROMPT_BYTES_MAX);
    add_block(&text, json_string_value(json_object_get(settings, "instructions")));
    add_memory(&text, json_object_get(settings, "memory"));
    add_block(&text, x->instructions);
    if (text.n)
        json_array_append_new(messages, api_pack("{ssso}", "role", "system", "content",
                                                 api_json_text(str_span(&text))));
    str_done(&text);
    json_decref(settings);
}

/* ---- the conversation ---- */

void api_chats_fence(struct str *out, struct span text)
{
    size_t longest = 2, n = 0;
    for (size_t i = 0; i < text.n; i++) {
        n = text.p[i] == '`' ? n + 1 : 0;
        longest = MAX(longest, n);
    }
    for (size_t i = 0; i <= longest; i++)
        str_add_char(out, '`');
}

/* What is left out is said: the model must not take a part for the whole. */
static void add_file(struct str *out, const struct store_file *f, size_t kept)
{
    struct span body = f->body;
    size_t percent = 100;
    if (kept && kept < body.n) {
        percent = MAX((size_t)((double)kept * 100 / (double)body.n), (size_t)1);
        body.n = kept;
    }
    str_addf(out, "File \"%s\"", f->name);
    if (percent < 100)
        str_addf(out, " (too long: only its first %zu %% are here)", percent);
    str_add_cstr(out, ":\n");
    api_chats_fence(out, body);
    str_add_char(out, '\n');
    str_add_span(out, body);
    if (percent < 100)
        str_add_cstr(out, "\n[The file goes on, but the rest is not here.]");
    str_add_char(out, '\n');
    api_chats_fence(out, body);
    str_add_cstr(out, "\n\n");
}

bool api_chats_is_picture(const struct store_file *f)
{
    return strncmp(f->type, "image/", 6) == 0 && span_starts(f->body, SPAN("data:image/"));
}

/* Pictures that the model sees go to `pictures`; of others it is told. */
static void add_files(struct str *out, json_t *pictures, const struct api_chats_ask *a,
                      size_t message)
{
    for (size_t i = 0; i < a->x->n_files; i++) {
        const struct store_file *f = &a->x->files[i];
        if (f->message != message)
            continue;
        if (!api_chats_is_picture(f))
            add_file(out, f, a->kept ? a->kept[i] : 0);
        else if (a->sees)
            json_array_append_new(pictures, api_pack("{sss{so}}", "type", "image_url", "image_url",
                                                     "url", api_json_text(f->body)));
        else
            str_addf(out, "[Here is a picture, \"%s\", which you cannot see.]\n\n", f->name);
    }
}

static json_t *text_part(struct span text)
{
    return api_pack("{ssso}", "type", "text", "text", api_json_text(text));
}

/* A user's turn with pictures: parts, which a turn before it becomes as well. */
static void add_pictures(json_t *messages, json_t *pictures, struct span text)
{
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const char *before = json_string_value(json_object_get(last, "role"));
    json_t *content = json_object_get(last, "content"), *parts = json_array();
    if (text.n)
        json_array_append_new(pictures, text_part(text));
    if (!before || strcmp(before, "user") != 0) {
        json_decref(parts);
        json_array_append_new(messages, api_pack("{sssO}", "role", "user", "content", pictures));
        return;
    }
    if (json_is_array(content))
        json_array_extend(parts, content);
    else
        json_array_append_new(parts, text_part((struct span){json_string_value(content),
                                                             json_string_length(content)}));
    json_array_extend(parts, pictures);
    json_object_set_new(last, "content", parts);
}

/* Templates want turns: what follows its like, because an answer failed, is one with it. */
static void add_turn(json_t *messages, const char *role, struct span text)
{
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const char *before = json_string_value(json_object_get(last, "role"));
    if (!before || strcmp(before, role) != 0) {
        json_array_append_new(messages,
                              api_pack("{ssso}", "role", role, "content", api_json_text(text)));
        return;
    }
    struct str both;
    json_t *content = json_object_get(last, "content");
    if (json_is_array(content)) {
        json_array_append_new(content, text_part(text));
        return;
    }
    str_init(&both, PROMPT_BYTES_MAX);
    str_add(&both, json_string_value(content), json_string_length(content));
    str_add_cstr(&both, "\n\n");
    str_add_span(&both, text);
    json_object_set_new(last, "content", api_json_text(str_span(&both)));
    str_done(&both);
}

/* ---- calls ---- */

size_t api_calls_at(const json_t *call, struct span content)
{
    json_int_t at = json_integer_value(json_object_get(call, "at"));
    size_t n = at > 0 ? MIN((size_t)at, content.n) : 0;
    return n ? utf8_complete((struct span){content.p, n}) : 0;
}

struct span api_calls_tail(const json_t *calls, struct span content)
{
    size_t n = json_array_size(calls);
    size_t from = n ? api_calls_at(json_array_get(calls, n - 1), content) : 0;
    return (struct span){content.p ? content.p + from : "", content.n - from};
}

static json_t *call_of(const json_t *call)
{
    return api_pack("{sO ss s{sO sO}}", "id", json_object_get(call, "id"), "type", "function",
                    "function", "name", json_object_get(call, "tool"), "arguments",
                    json_object_get(call, "arguments"));
}

/* A round's calls, which begin at i, as the turn that made them and what came of each; the first
 * that is no more of it. */
static size_t add_round(json_t *messages, const json_t *calls, size_t i, struct span before)
{
    const json_t *round = json_object_get(json_array_get(calls, i), "round");
    json_t *list = json_array(), *results = json_array();
    for (; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        struct str told;
        if (!json_equal(json_object_get(call, "round"), round))
            break;
        str_init(&told, PROMPT_BYTES_MAX);
        api_calls_told(call, &told);
        json_array_append_new(list, call_of(call));
        json_array_append_new(results, api_pack("{ss sO so}", "role", "tool", "tool_call_id",
                                                json_object_get(call, "id"), "content",
                                                api_json_text(str_span(&told))));
        str_done(&told);
    }
    add_turn(messages, "assistant", before);
    json_object_set_new(json_array_get(messages, json_array_size(messages) - 1), "tool_calls",
                        list);
    json_array_extend(messages, results);
    json_decref(results);
    return i;
}

/* An answer's rounds of calls; what it says after the last is left. */
static size_t add_calls(json_t *messages, const json_t *calls, struct span content)
{
    size_t said = 0;
    content.p = content.p ? content.p : "";
    for (size_t i = 0; i < json_array_size(calls);) {
        size_t at = api_calls_at(json_array_get(calls, i), content);
        i = add_round(messages, calls, i,
                      (struct span){content.p + said, at > said ? at - said : 0});
        said = MAX(said, at);
    }
    return said;
}

static void add_message(json_t *messages, const struct api_chats_ask *a, size_t i)
{
    static const char *const roles[STORE_N_ROLES] = {"user", "assistant", "system"};
    const struct store_message *m = &a->x->messages[i];
    struct str text;
    json_t *calls = api_stored_json(span_of(m->calls ? m->calls : "[]"));
    size_t said = add_calls(messages, calls, m->content);
    json_t *pictures = json_array();
    str_init(&text, PROMPT_BYTES_MAX);
    if (i == 0) /* what all chats of the folder begin with is read once for them */
        add_files(&text, pictures, a, STORE_OF_FOLDER);
    add_files(&text, pictures, a, i);
    if (m->content.n > said)
        str_add(&text, m->content.p + said, m->content.n - said);
    if (json_array_size(pictures))
        add_pictures(messages, pictures, str_span(&text));
    else if (text.n)
        add_turn(messages, roles[m->role], str_span(&text));
    str_done(&text);
    json_decref(pictures);
    json_decref(calls);
}

json_t *api_chats_body(const struct api_chats_ask *a)
{
    json_t *messages = json_array();
    struct api_fault ignored = {0}; /* the options were looked at when they came */
    add_system(messages, a->x);
    for (size_t i = 0; i + 1 < a->x->n_messages; i++)
        add_message(messages, a, i);
    add_calls(messages, a->calls, a->content);
    json_t *body = api_pack("{so}", "messages", messages);
    if (a->tools)
        json_object_set(body, "tools", (json_t *)(uintptr_t)a->tools);
    api_chats_options(a->options, body, &ignored);
    if (!a->tools)
        json_object_del(body, "tool_choice");
    return body;
}

/* auto, none, required, or the id of a tool. */
static bool set_choice(json_t *v, json_t *body, struct api_fault *f)
{
    static const char *const words[] = {"auto", "none", "required"};
    const char *text = json_string_value(v);
    if (!text || !*text)
        return api_refuse(f, 400, "invalid_value", "options.tool_choice",
                          "options.tool_choice: auto, none, required or the id of a tool is "
                          "expected");
    for (size_t i = 0; i < N_ELEMS(words); i++)
        if (strcmp(words[i], text) == 0)
            return json_object_set(body, "tool_choice", v) == 0;
    json_object_set_new(body, "tool_choice",
                        api_pack("{ss s{sO}}", "type", "function", "function", "name", v));
    return true;
}

bool api_chats_options(const json_t *options, json_t *body, struct api_fault *f)
{
    static const char *const same[] = {"temperature",
                                       "top_p",
                                       "top_k",
                                       "min_p",
                                       "seed",
                                       "max_tokens",
                                       "reasoning_effort",
                                       "stop",
                                       "repeat_penalty",
                                       "presence_penalty",
                                       "frequency_penalty"};
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)options, name, v)
    {
        size_t i = 0;
        while (i < N_ELEMS(same) && strcmp(name, same[i]) != 0)
            i++;
        if (json_is_null(v))
            continue;
        if (i < N_ELEMS(same))
            json_object_set(body, name, v);
        else if (strcmp(name, "tool_choice") == 0 && set_choice(v, body, f))
            continue;
        else if (f->status)
            return false;
        else if (strcmp(name, "json_schema") == 0)
            json_object_set_new(body, "response_format",
                                api_pack("{sss{sssO}}", "type", "json_schema", "json_schema",
                                         "name", "answer", "schema", v));
        else
            return api_refuse(f, 400, "unknown_parameter", "options",
                              "options: there is no \"%.64s\"", name);
    }
    return true;
}

/* ---- titles ---- */

/* A title is made of words: of a message with pictures, the others of its parts. */
static json_t *without_pictures(const json_t *message)
{
    const json_t *content = json_object_get(message, "content"), *part;
    struct str text;
    size_t i;
    if (!json_is_array(content))
        return json_incref((json_t *)(uintptr_t)message);
    json_t *out = json_copy((json_t *)(uintptr_t)message);
    str_init(&text, PROMPT_BYTES_MAX);
    json_array_foreach(content, i, part)
    {
        const json_t *said = json_object_get(part, "text");
        if (json_is_string(said) && text.n)
            str_add_cstr(&text, "\n\n");
        str_add(&text, json_string_value(said), json_string_length(said));
    }
    json_object_set_new(out, "content", api_json_text(str_span(&text)));
    str_done(&text);
    return out;
}

json_t *api_chats_title_body(const json_t *messages, struct span answer)
{
    json_t *all = json_array(), *m;
    size_t i;
    json_array_foreach(messages, i, m)
    {
        json_array_append_new(all, without_pictures(m));
    }
    json_array_append_new(
        all, api_pack("{ssso}", "role", "assistant", "content", api_json_text(answer)));
    json_array_append_new(
        all, api_pack("{ssss}", "role", "user", "content",
                      "Write a title for this conversation, at most six words, in the language "
                      "of the conversation. Answer with the title alone."));
    return api_pack("{sosisisssi}", "messages", all, "temperature", 0, "max_tokens", 32,
                    "reasoning_effort", "none", "seed", 1);
}

static bool is_wrapping(char ch)
{
    return ch && strchr(" \t\r\n\"'`*#_.:-", ch);
}

/* Without words that say what it is. */
static struct span without_label(struct span s)
{
    static const char *const labels[] = {"Title:", "title:", "제목:"};
    for (size_t i = 0; i < N_ELEMS(labels); i++) {
        if (span_starts(s, span_of(labels[i])))
            return (struct span){s.p + strlen(labels[i]), s.n - strlen(labels[i])};
    }
    return s;
}

static struct span trimmed(struct span s)
{
    while (s.n && is_wrapping(s.p[0]))
        s = (struct span){s.p + 1, s.n - 1};
    while (s.n && is_wrapping(s.p[s.n - 1]))
        s.n--;
    return s;
}

void api_chats_title(struct span text, struct str *out)
{
    if (!text.n)
        return;
    struct span s = trimmed(without_label(trimmed(text)));
    size_t end = span_find(s, SPAN("\n"), 0);
    bool cut = false;
    if (end != SIZE_MAX)
        s = trimmed((struct span){s.p, end});
    if (s.n > TITLE_BYTES_MAX) {
        s.n = utf8_complete((struct span){s.p, TITLE_BYTES_MAX});
        cut = true;
    }
    for (size_t i = 0, len; i < s.n; i += len) {
        int32_t cp = utf8_get(s.p + i, s.n - i, &len);
        bool control = cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
        if (control)
            str_add_char(out, ' ');
        else
            str_add(out, s.p + i, len);
    }
    if (cut)
        str_add_cstr(out, "…");
}
