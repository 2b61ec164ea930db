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

/* A fence that is not in the text. */
static void add_fence(struct str *out, struct span text)
{
    size_t longest = 2, n = 0;
    for (size_t i = 0; i < text.n; i++) {
        n = text.p[i] == '`' ? n + 1 : 0;
        longest = MAX(longest, n);
    }
    for (size_t i = 0; i <= longest; i++)
        str_add_char(out, '`');
}

static void add_files(struct str *out, const struct store_chats *x, size_t message)
{
    for (size_t i = 0; i < x->n_files; i++) {
        const struct store_file *f = &x->files[i];
        if (f->message != message)
            continue;
        str_addf(out, "File \"%s\":\n", f->name);
        add_fence(out, f->body);
        str_add_char(out, '\n');
        str_add_span(out, f->body);
        str_add_char(out, '\n');
        add_fence(out, f->body);
        str_add_cstr(out, "\n\n");
    }
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
    const json_t *content = json_object_get(last, "content");
    str_init(&both, PROMPT_BYTES_MAX);
    str_add(&both, json_string_value(content), json_string_length(content));
    str_add_cstr(&both, "\n\n");
    str_add_span(&both, text);
    json_object_set_new(last, "content", api_json_text(str_span(&both)));
    str_done(&both);
}

json_t *api_chats_body(const struct store_chats *x, const json_t *options)
{
    static const char *const roles[STORE_N_ROLES] = {"user", "assistant", "system"};
    json_t *messages = json_array();
    struct api_fault ignored = {0}; /* the options were looked at when they came */
    add_system(messages, x);
    for (size_t i = 0; i + 1 < x->n_messages; i++) {
        const struct store_message *m = &x->messages[i];
        struct str text;
        str_init(&text, PROMPT_BYTES_MAX);
        add_files(&text, x, i);
        str_add_span(&text, m->content);
        if (text.n)
            add_turn(messages, roles[m->role], str_span(&text));
        str_done(&text);
    }
    json_t *body = api_pack("{so}", "messages", messages);
    api_chats_options(options, body, &ignored);
    return body;
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

json_t *api_chats_title_body(const json_t *messages, struct span answer)
{
    json_t *all = json_copy((json_t *)(uintptr_t)messages);
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
