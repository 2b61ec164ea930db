/* SPDX-License-Identifier: MIT
 * chat_parse_json.c - calls that are JSON objects, one or a list of them. */
#include "chat/chat_parse_int.h"

#include <string.h>

/* ---- values ---- */

int parse_value_byte(struct parse_value *v, char c)
{
    if (v->in_text) {
        bool ends = c == '"' && !v->escaped;
        v->escaped = c == '\\' && !v->escaped;
        v->in_text = !ends;
        return ends && v->depth == 0 ? 1 : 0;
    }
    if (!v->begun) {
        v->begun = true;
        v->scalar = c != '"' && c != '{' && c != '[';
    } else if (v->scalar) {
        return c == ',' || c == '}' || c == ']' || parse_is_space(c) ? 2 : 0;
    }
    if (c == '"')
        v->in_text = true;
    else if (c == '{' || c == '[')
        v->depth++;
    else if ((c == '}' || c == ']') && v->depth)
        return --v->depth == 0 ? 1 : 0;
    return 0;
}

static void put_unit(struct chat_parse *p)
{
    char utf8[4];
    uint32_t u = p->unit;
    bool low = u >= 0xdc00 && u <= 0xdfff;
    if (p->high && low) {
        u = 0x10000 + ((p->high - 0xd800) << 10) + (u - 0xdc00);
    } else {
        if (p->high)
            str_add_cstr(&p->out, "\xef\xbf\xbd");
        p->high = 0;
        if (u >= 0xd800 && u <= 0xdbff) {
            p->high = u;
            return;
        }
        if (low)
            u = 0xfffd;
    }
    p->high = 0;
    str_add(&p->out, utf8, utf8_put(utf8, u));
}

/* Half of a pair whose other half does not come. */
static void end_pair(struct chat_parse *p)
{
    if (p->high)
        str_add_cstr(&p->out, "\xef\xbf\xbd");
    p->high = 0;
}

/* The value of a hexadecimal digit, or -1. */
static int hex_value(char c)
{
    static const char hex[] = "0123456789abcdef";
    const char *d = c ? strchr(hex, c >= 'A' && c <= 'F' ? c | 0x20 : c) : NULL;
    return d ? (int)(d - hex) : -1;
}

/* One byte of a string of JSON: what it stands for is appended to out. */
static void unescape(struct chat_parse *p, char c)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    if (p->escape > 1 && hex_value(c) >= 0) {
        p->unit = p->unit * 16 + (uint32_t)hex_value(c);
        if (--p->escape == 1) {
            p->escape = 0;
            put_unit(p);
        }
        return;
    }
    if (p->escape > 1) { /* its digits do not come */
        end_pair(p);
        str_add_cstr(&p->out, "\xef\xbf\xbd");
        p->escape = 0;
    }
    if (p->escape == 1 && c == 'u') {
        p->escape = 5;
        p->unit = 0;
    } else if (p->escape == 1) {
        const char *known = c ? strchr(from, c) : NULL;
        end_pair(p);
        str_add_char(&p->out, known ? to[known - from] : c);
        p->escape = 0;
    } else if (c == '\\') {
        p->escape = 1;
    } else {
        end_pair(p);
        str_add_char(&p->out, c);
    }
}

/* ---- arguments ---- */

static void begin_if_known(struct chat_parse *p)
{
    if (p->open || !p->name || p->args_from == SIZE_MAX)
        return;
    parse_call_begin(p, p->name);
    parse_drop(p, p->args_from);
    p->escape = 0;
    p->high = 0;
}

static void give_arguments(struct chat_parse *p)
{
    if (!p->open || p->args_from == SIZE_MAX)
        return;
    bool ended = p->args_to != SIZE_MAX;
    size_t end = ended ? p->args_to : p->at;
    if (!ended && p->value.scalar)
        return;
    struct span s = {p->buf.p + p->args_from, end - p->args_from};
    str_clear(&p->out);
    for (size_t i = 0; p->args_text && i < s.n; i++)
        unescape(p, s.p[i]);
    if (p->args_text && ended)
        end_pair(p);
    if (!p->args_text && !(ended && span_eq_cstr(s, "null")))
        str_add_span(&p->out, s);
    parse_call_give(p, str_span(&p->out));
    p->args_from = end;
    parse_drop(p, end);
}

/* ---- objects ---- */

static bool fail(struct chat_parse *p)
{
    if (!p->open) {
        parse_give_back(p);
        return true;
    }
    if (p->args_to == SIZE_MAX)
        p->args_to = p->at;
    give_arguments(p);
    parse_call_end(p);
    parse_drop(p, p->at);
    parse_to_text(p);
    return true;
}

static void begin_object(struct chat_parse *p)
{
    p->name = NULL;
    p->open = false;
    p->args_from = p->args_to = SIZE_MAX;
    p->value = (struct parse_value){0};
    p->phase = P_KEY;
}

static bool end_object(struct chat_parse *p)
{
    if (!p->name || (!p->marked && p->args_from == SIZE_MAX && !p->open))
        return fail(p);
    begin_if_known(p);
    if (!p->open)
        parse_call_begin(p, p->name);
    give_arguments(p);
    if (!p->n_given)
        parse_call_give(p, SPAN("{}"));
    parse_call_end(p);
    parse_drop(p, p->at);
    p->phase = P_NEXT;
    return true;
}

/* False: a key that no call begins with, where its mark is missing. */
static bool sort_key(struct chat_parse *p)
{
    static const char *const others[] = {"type", "id", "index"};
    struct span key = {p->buf.p + p->key_from, p->at - p->key_from};
    bool has_args = p->args_from != SIZE_MAX || p->open;
    bool is_args = span_eq_cstr(key, "arguments") || span_eq_cstr(key, "parameters");
    bool is_name = span_eq_cstr(key, "name");
    p->key = is_name && !p->name ? KEY_NAME : is_args && !has_args ? KEY_ARGS : KEY_OTHER;
    bool known = p->marked || is_args || is_name;
    for (size_t i = 0; !known && i < N_ELEMS(others); i++)
        known = span_eq_cstr(key, others[i]);
    return known;
}

static bool end_value(struct chat_parse *p)
{
    p->phase = P_AFTER;
    if (p->key == KEY_ARGS) {
        p->args_to = p->args_text ? p->at - 1 : p->at;
        give_arguments(p);
    } else if (p->key == KEY_NAME) {
        struct span s = {p->buf.p + p->value_from, p->at - p->value_from};
        json_t *j = json_loadb(s.p, s.n, JSON_DECODE_ANY, NULL);
        const char *text = json_string_value(j);
        p->name = text ? parse_known(p, span_of(text)) : NULL;
        json_decref(j);
        if (!p->name)
            return fail(p);
        begin_if_known(p);
        give_arguments(p);
    }
    return true;
}

/* Inside a key or a value, byte by byte. */
static bool step_inside(struct chat_parse *p)
{
    while (p->at < p->buf.n) {
        char c = p->buf.p[p->at];
        if (c == CHAT_CONTROL)
            return fail(p);
        int end = parse_value_byte(&p->value, c);
        if (end == 0) {
            p->at++;
            continue;
        }
        if (p->phase == P_IN_KEY) {
            bool known = sort_key(p);
            p->at++;
            p->phase = P_COLON;
            return known || fail(p);
        }
        p->at += end == 1;
        return end_value(p);
    }
    if (p->key == KEY_ARGS && p->phase == P_IN_VALUE)
        give_arguments(p);
    return false;
}

static void begin_value(struct chat_parse *p, char c)
{
    p->value = (struct parse_value){0};
    p->value_from = p->at;
    p->phase = P_IN_VALUE;
    if (p->key != KEY_ARGS)
        return;
    p->args_text = c == '"';
    p->args_from = p->at;
    if (p->args_text) {
        parse_value_byte(&p->value, c);
        p->args_from = ++p->at;
    }
    begin_if_known(p);
}

/* Behind an object: the next one, or the end. */
static bool step_next(struct chat_parse *p)
{
    struct span close = chat_mark(p->c, MARK_CLOSE);
    size_t at = parse_skip_space(p, 0);
    char c = at < p->buf.n ? p->buf.p[at] : 0;
    if (c == ',' || c == ';') {
        at = parse_skip_space(p, at + 1);
        c = at < p->buf.n ? p->buf.p[at] : 0;
    }
    if (at == p->buf.n && !p->ending)
        return false;
    if (c == '{') {
        p->at = at + 1;
        begin_object(p);
        return true;
    }
    if (c == ']' && p->list) {
        parse_drop(p, at + 1);
        p->list = false;
        return true;
    }
    enum parse_hit hit = at < p->buf.n ? parse_looking_at(p, at, close) : HIT_NO;
    if (hit == HIT_MAYBE)
        return false;
    if (hit == HIT_YES)
        parse_drop(p, at + close.n);
    parse_to_text(p);
    return true;
}

bool parse_step_json(struct chat_parse *p)
{
    if (p->phase == P_NEXT)
        return step_next(p);
    if (p->phase == P_IN_KEY || p->phase == P_IN_VALUE)
        return step_inside(p);
    p->at = parse_skip_space(p, p->at);
    if (p->at == p->buf.n)
        return false;
    char c = p->buf.p[p->at];
    if (p->phase == P_BEGIN && c == '[' && !p->list) {
        p->list = true;
        p->at++;
    } else if (p->phase == P_BEGIN && c == '{') {
        p->at++;
        begin_object(p);
    } else if (p->phase == P_KEY && c == '"') {
        p->value = (struct parse_value){.begun = true, .in_text = true};
        p->key_from = ++p->at;
        p->phase = P_IN_KEY;
    } else if (p->phase == P_COLON && c == ':') {
        p->at++;
        p->phase = P_VALUE;
    } else if (p->phase == P_AFTER && c == ',') {
        p->at++;
        p->phase = P_KEY;
    } else if (p->phase == P_VALUE && !strchr(",:]}", c) && c != CHAT_CONTROL) {
        begin_value(p, c);
    } else if ((p->phase == P_AFTER || p->phase == P_KEY) && c == '}') {
        p->at++;
        return end_object(p);
    } else {
        return fail(p);
    }
    return true;
}

void parse_cut_json(struct chat_parse *p)
{
    enum chat_kind kind = p->c->syntax->kind;
    if ((kind != CHAT_JSON && kind != CHAT_LIST) || !p->name)
        return;
    begin_if_known(p);
    if (!p->open && p->marked)
        parse_call_begin(p, p->name);
    if (p->open && p->args_from != SIZE_MAX && p->args_to == SIZE_MAX)
        p->args_to = p->at;
    give_arguments(p);
}
