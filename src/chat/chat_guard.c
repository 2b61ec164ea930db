/* SPDX-License-Identifier: MIT
 * chat_guard.c - what others wrote must not become control tokens. */
#include "chat/chat_int.h"

#include <string.h>

/* Appends text with a mark in each control token's text, and at the end where a control token's
 * text begins (templates may join two texts of a user's).  text has no marks. */
static void put_marked(const struct chat *c, struct span text, struct str *out)
{
    for (size_t i = 0; i < text.n;) {
        size_t len, n = 1;
        struct span rest = {text.p + i, text.n - i};
        bool control = tok_control_at(c->tok, rest, &len) >= 0 ||
                       (c->guarded.n && span_starts(rest, c->guarded));
        if (control)
            utf8_get(rest.p, rest.n, &n);
        str_add(out, rest.p, n);
        if (control)
            str_add_cstr(out, TOK_MARK);
        i += n; /* not over the token: what begins inside it is looked at as well */
    }
    if (text.n && tok_control_begun(c->tok, text))
        str_add_cstr(out, TOK_MARK);
}

void chat_guard_text(const struct chat *c, struct span text, struct str *out)
{
    struct str plain;
    size_t at = 0, mark;
    if (!c->tok) {
        str_add(out, text.p, text.n);
        return;
    }
    if (span_find(text, SPAN(TOK_MARK), 0) == SIZE_MAX) {
        put_marked(c, text, out);
        return;
    }
    str_init(&plain, JINJA_OUTPUT_BYTES_MAX);
    for (; (mark = span_find(text, SPAN(TOK_MARK), at)) != SIZE_MAX; at = mark + strlen(TOK_MARK))
        str_add(&plain, text.p + at, mark - at);
    str_add(&plain, text.p + at, text.n - at);
    put_marked(c, str_span(&plain), out);
    str_done(&plain);
}

static json_t *guarded_string(const struct chat *c, const json_t *j)
{
    struct str s;
    str_init(&s, JINJA_OUTPUT_BYTES_MAX);
    chat_guard_text(c, (struct span){json_string_value(j), json_string_length(j)}, &s);
    json_t *out = json_stringn(s.p ? s.p : "", s.n);
    str_done(&s);
    return out;
}

struct todo {
    json_t **p;
    size_t n, cap;
};

static void push(struct todo *t, json_t *j)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->p = mem_grow(t->p, t->cap * sizeof(json_t *));
    }
    t->p[t->n++] = j;
}

static void guard_object(const struct chat *c, json_t *j, struct todo *todo)
{
    json_t *old = json_copy(j), *v;
    const char *key;
    json_object_clear(j);
    json_object_foreach(old, key, v)
    {
        struct str k;
        str_init(&k, JINJA_OUTPUT_BYTES_MAX);
        chat_guard_text(c, span_of(key), &k);
        if (json_is_string(v)) {
            json_object_set_new(j, k.p ? k.p : "", guarded_string(c, v));
        } else {
            json_object_set(j, k.p ? k.p : "", v);
            push(todo, v);
        }
        str_done(&k);
    }
    json_decref(old);
}

json_t *chat_guard(const struct chat *c, const json_t *j)
{
    struct todo todo = {0};
    json_t *copy = json_deep_copy(j), *v;
    size_t i;
    if (!c->tok || !copy)
        return copy;
    push(&todo, copy);
    while (todo.n) {
        json_t *at = todo.p[--todo.n];
        if (json_is_object(at))
            guard_object(c, at, &todo);
        json_array_foreach(at, i, v)
        {
            if (json_is_string(v))
                json_array_set_new(at, i, guarded_string(c, v));
            else
                push(&todo, v);
        }
    }
    mem_free(todo.p);
    return copy;
}
