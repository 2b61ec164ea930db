/* SPDX-License-Identifier: MIT
 * jinja_text.c - values as text: Python's str() and repr(), json.dumps, HTML escapes. */
#include "chat/jinja_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* repr() of a float: the fewest digits that read back as the same number. */
void jinja_put_float(struct str *out, double f)
{
    char d[40];
    int n = 1;
    if (isnan(f) || isinf(f)) {
        str_add_cstr(out, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    do
        snprintf(d, sizeof d, "%.*e", n - 1, f);
    while (n++ < 17 && strtod(d, NULL) != f);
    char *e = strchr(d, 'e');
    int exp = (int)strtol(e + 1, NULL, 10);
    const char *p = d;
    if (*p == '-')
        str_add_char(out, *p++);
    char digits[32];
    int n_digits = 0;
    for (; p < e; p++)
        if (*p != '.')
            digits[n_digits++] = *p;
    if (exp < -4 || exp >= 16) {
        str_add_char(out, digits[0]);
        if (n_digits > 1) {
            str_add_char(out, '.');
            str_add(out, digits + 1, (size_t)n_digits - 1);
        }
        str_addf(out, "e%c%02d", exp < 0 ? '-' : '+', abs(exp));
        return;
    }
    if (exp < 0)
        str_addf(out, "0.%.*s", -exp - 1, "000");
    for (int i = 0; i < MAX(n_digits, exp + 1); i++) {
        if (exp >= 0 && i == exp + 1)
            str_add_char(out, '.');
        str_add_char(out, i < n_digits ? digits[i] : '0');
    }
    if (exp >= 0 && n_digits <= exp + 1)
        str_add_cstr(out, ".0");
}

static void put_int(struct str *out, int64_t i)
{
    char text[24];
    size_t n = sizeof text;
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    do
        text[--n] = (char)('0' + u % 10);
    while (u /= 10);
    if (i < 0)
        text[--n] = '-';
    str_add(out, text + n, sizeof text - n);
}

static void put_char_repr(struct str *out, const char *p, size_t len, int32_t cp, char quote)
{
    if (cp == quote || cp == '\\')
        str_addf(out, "\\%c", (char)cp);
    else if (cp == '\n' || cp == '\r' || cp == '\t')
        str_addf(out, "\\%c", cp == '\n' ? 'n' : cp == '\r' ? 'r' : 't');
    else if (jinja_is_printable(cp))
        str_add(out, p, len);
    else
        str_addf(out, cp < 256 ? "\\x%02x" : cp < 65536 ? "\\u%04x" : "\\U%08x", (unsigned)cp);
}

static void put_str_repr(struct str *out, struct span s)
{
    bool has_single = memchr(s.p, '\'', s.n), has_double = memchr(s.p, '"', s.n);
    char quote = has_single && !has_double ? '"' : '\'';
    str_add_char(out, quote);
    for (size_t i = 0, len; i < s.n; i += len) {
        int32_t cp = utf8_get(s.p + i, s.n - i, &len);
        put_char_repr(out, s.p + i, len, cp, quote);
    }
    str_add_char(out, quote);
}

static enum err put_list(struct jinja_run *r, struct str *out, const struct jinja_list *l,
                         char open, char close)
{
    str_add_char(out, open);
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            str_add_cstr(out, ", ");
        TRY(jinja_put_repr(r, out, l->v[i]));
    }
    if (open == '(' && l->n == 1)
        str_add_char(out, ',');
    str_add_char(out, close);
    return ERR_OK;
}

static enum err put_dict(struct jinja_run *r, struct str *out, const struct jinja_dict *d)
{
    str_add_char(out, '{');
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            str_add_cstr(out, ", ");
        TRY(jinja_put_repr(r, out, d->e[i].key));
        str_add_cstr(out, ": ");
        TRY(jinja_put_repr(r, out, d->e[i].v));
    }
    str_add_char(out, '}');
    return ERR_OK;
}

static enum err put_view(struct jinja_run *r, struct str *out, const struct jinja_view *v)
{
    static const char *const names[] = {"dict_keys([", "dict_values([", "dict_items(["};
    str_add_cstr(out, names[v->kind]);
    for (size_t i = 0; i < v->d->n; i++) {
        if (i)
            str_add_cstr(out, ", ");
        if (v->kind == J_VIEW_ITEMS)
            str_add_char(out, '(');
        if (v->kind != J_VIEW_VALUES)
            TRY(jinja_put_repr(r, out, v->d->e[i].key));
        if (v->kind == J_VIEW_ITEMS)
            str_add_cstr(out, ", ");
        if (v->kind != J_VIEW_KEYS)
            TRY(jinja_put_repr(r, out, v->d->e[i].v));
        if (v->kind == J_VIEW_ITEMS)
            str_add_char(out, ')');
    }
    str_add_cstr(out, "])");
    return ERR_OK;
}

static enum err put_object(struct jinja_run *r, struct str *out, struct jinja_val v)
{
    int64_t n;
    switch (v.k) {
    case J_NS:
        str_add_cstr(out, "<Namespace ");
        TRY(put_dict(r, out, *v.ns));
        str_add_char(out, '>');
        return ERR_OK;
    case J_RANGE:
        str_addf(out, "range(%lld, %lld", (long long)v.range->start, (long long)v.range->stop);
        if (v.range->step != 1)
            str_addf(out, ", %lld", (long long)v.range->step);
        str_add_char(out, ')');
        return ERR_OK;
    case J_LOOP:
        TRY(jinja_loop_length(r, v.loop, &n));
        str_addf(out, "<LoopContext %lld/%lld>", (long long)v.loop->index0 + 1, (long long)n);
        return ERR_OK;
    case J_MACRO:
        str_add_cstr(out, "<Macro ");
        if (v.macro->node->name)
            put_str_repr(out, jinja_span(v.macro->node->name));
        else
            str_add_cstr(out, "anonymous");
        str_add_char(out, '>');
        return ERR_OK;
    default: str_addf(out, "<%s object>", jinja_type(v)); return ERR_OK;
    }
}

static enum err put_repr(struct jinja_run *r, struct str *out, struct jinja_val v)
{
    switch (v.k) {
    case J_MISSING:
    case J_UNDEF: str_add_cstr(out, "Undefined"); break;
    case J_NONE: str_add_cstr(out, "None"); break;
    case J_BOOL: str_add_cstr(out, v.b ? "True" : "False"); break;
    case J_INT: put_int(out, v.i); break;
    case J_FLOAT: jinja_put_float(out, v.f); break;
    case J_STR:
        if (v.markup)
            str_add_cstr(out, "Markup(");
        put_str_repr(out, jinja_span(v.s));
        if (v.markup)
            str_add_char(out, ')');
        return jinja_step(r, v.s->n / 16);
    case J_LIST: return put_list(r, out, v.l, '[', ']');
    case J_TUPLE: return put_list(r, out, v.l, '(', ')');
    case J_DICT: return put_dict(r, out, v.d);
    case J_VIEW: return put_view(r, out, v.view);
    default: return put_object(r, out, v);
    }
    return ERR_OK;
}

enum err jinja_put_repr(struct jinja_run *r, struct str *out, struct jinja_val v)
{
    TRY(jinja_step(r, 1));
    TRY(jinja_enter(r));
    TRY(put_repr(r, out, v));
    r->depth--;
    return jinja_put_full(r, out);
}

enum err jinja_put_str(struct jinja_run *r, struct str *out, struct jinja_val v)
{
    if (v.k == J_UNDEF)
        return ERR_OK;
    if (v.k != J_STR)
        return jinja_put_repr(r, out, v);
    TRY(jinja_step(r, v.s->n / 64));
    str_add_span(out, jinja_span(v.s));
    return jinja_put_full(r, out);
}

enum err jinja_str_of(struct jinja_run *r, struct jinja_val v, const struct jinja_str **out)
{
    struct str buf;
    struct jinja_val t;
    if (v.k == J_STR) {
        *out = v.s;
        return ERR_OK;
    }
    jinja_buf(r, &buf);
    TRY(jinja_take(r, jinja_put_str(r, &buf, v), &buf, &t));
    *out = t.s;
    return ERR_OK;
}

void jinja_put_escaped(struct str *out, struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        switch (s.p[i]) {
        case '&': str_add_cstr(out, "&amp;"); break;
        case '<': str_add_cstr(out, "&lt;"); break;
        case '>': str_add_cstr(out, "&gt;"); break;
        case '\'': str_add_cstr(out, "&#39;"); break;
        case '"': str_add_cstr(out, "&#34;"); break;
        default: str_add_char(out, s.p[i]);
        }
}

enum err jinja_escape(struct jinja_run *r, struct jinja_val v, struct jinja_val *out)
{
    const struct jinja_str *s;
    struct str buf;
    if (v.k == J_STR && v.markup) {
        *out = v;
        return ERR_OK;
    }
    TRY(jinja_str_of(r, v, &s));
    TRY(jinja_charge(r, s->n));
    jinja_buf(r, &buf);
    jinja_put_escaped(&buf, jinja_span(s));
    TRY(jinja_take(r, ERR_OK, &buf, out));
    out->markup = true;
    return ERR_OK;
}

/* ---- JSON ---- */

static void put_json_str(struct str *out, struct span s, bool ascii)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    str_add_char(out, '"');
    for (size_t i = 0, len; i < s.n; i += len) {
        int32_t cp = utf8_get(s.p + i, s.n - i, &len);
        const char *short_form = cp > 0 && cp < 128 ? strchr(from, cp) : NULL;
        if (short_form)
            str_addf(out, "\\%c", to[short_form - from]);
        else if (cp >= 0x10000 && ascii)
            str_addf(out, "\\u%04x\\u%04x", (unsigned)(0xd7c0 + (cp >> 10)),
                     (unsigned)(0xdc00 + (cp & 0x3ff)));
        else if (cp < 32 || (ascii && cp >= 127 && cp != 127))
            str_addf(out, "\\u%04x", (unsigned)cp);
        else
            str_add(out, s.p + i, len);
    }
    str_add_char(out, '"');
}

static void put_json_num(struct str *out, struct jinja_val v)
{
    if (v.k == J_BOOL)
        str_add_cstr(out, v.b ? "true" : "false");
    else if (v.k == J_INT)
        put_int(out, v.i);
    else if (isnan(v.f) || isinf(v.f))
        str_add_cstr(out, isnan(v.f) ? "NaN" : v.f < 0 ? "-Infinity" : "Infinity");
    else
        jinja_put_float(out, v.f);
}

static void put_indent(struct str *out, const struct jinja_json *o, int level)
{
    if (!o->has_indent)
        return;
    str_add_char(out, '\n');
    for (int i = 0; i < level; i++)
        str_add_span(out, o->indent);
}

static enum err put_json(struct jinja_run *r, struct str *out, struct jinja_val v,
                         const struct jinja_json *o, int level);

static enum err put_json_list(struct jinja_run *r, struct str *out, const struct jinja_list *l,
                              const struct jinja_json *o, int level)
{
    str_add_char(out, '[');
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            str_add_span(out, o->item_sep);
        put_indent(out, o, level + 1);
        TRY(put_json(r, out, l->v[i], o, level + 1));
    }
    if (l->n)
        put_indent(out, o, level);
    str_add_char(out, ']');
    return ERR_OK;
}

static enum err put_json_key(struct jinja_run *r, struct str *out, struct jinja_val key,
                             const struct jinja_json *o)
{
    if (key.k == J_STR) {
        put_json_str(out, jinja_span(key.s), o->ascii);
    } else if (jinja_is_number(key) || key.k == J_NONE) {
        str_add_char(out, '"');
        if (key.k == J_NONE)
            str_add_cstr(out, "null");
        else
            put_json_num(out, key);
        str_add_char(out, '"');
    } else {
        return jinja_fail(r, "keys of JSON must be strings or numbers, not %s", jinja_type(key));
    }
    str_add_span(out, o->key_sep);
    return ERR_OK;
}

static enum err put_json_dict(struct jinja_run *r, struct str *out, const struct jinja_dict *d,
                              const struct jinja_json *o, int level)
{
    size_t *idx = NULL;
    if (o->sort_keys) {
        TRY(jinja_charge(r, d->n * (sizeof(struct jinja_val) + sizeof(*idx))));
        struct jinja_val *keys = arena_array(&r->arena, d->n, sizeof(*keys));
        idx = arena_array(&r->arena, d->n, sizeof(*idx));
        for (size_t i = 0; i < d->n; i++)
            keys[i] = d->e[i].key;
        TRY(jinja_sort(r, keys, idx, d->n, false));
    }
    str_add_char(out, '{');
    for (size_t i = 0; i < d->n; i++) {
        const struct jinja_entry *e = &d->e[idx ? idx[i] : i];
        if (i)
            str_add_span(out, o->item_sep);
        put_indent(out, o, level + 1);
        TRY(put_json_key(r, out, e->key, o));
        TRY(put_json(r, out, e->v, o, level + 1));
    }
    if (d->n)
        put_indent(out, o, level);
    str_add_char(out, '}');
    return ERR_OK;
}

static enum err put_json(struct jinja_run *r, struct str *out, struct jinja_val v,
                         const struct jinja_json *o, int level)
{
    TRY(jinja_step(r, 1));
    TRY(jinja_put_full(r, out));
    TRY(jinja_enter(r));
    if (v.k == J_NONE)
        str_add_cstr(out, "null");
    else if (jinja_is_number(v))
        put_json_num(out, v);
    else if (v.k == J_STR)
        put_json_str(out, jinja_span(v.s), o->ascii);
    else if (v.k == J_LIST || v.k == J_TUPLE)
        TRY(put_json_list(r, out, v.l, o, level));
    else if (v.k == J_DICT)
        TRY(put_json_dict(r, out, v.d, o, level));
    else
        return jinja_fail(r, "object of type %s is not JSON serializable", jinja_type(v));
    r->depth--;
    return v.k == J_STR ? jinja_step(r, v.s->n / 16) : ERR_OK;
}

enum err jinja_put_json(struct jinja_run *r, struct str *out, struct jinja_val v,
                        const struct jinja_json *o)
{
    return put_json(r, out, v, o, 0);
}
