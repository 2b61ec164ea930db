/* SPDX-License-Identifier: MIT
 * chat_parse_xml.c - calls whose parameters stand in tags; they become JSON by the tool's schema.
 */
#include "chat/chat_parse_int.h"

#include <string.h>

#define PARAMETER     SPAN("<parameter=")
#define PARAMETER_END SPAN("</parameter>")
#define NAME_MAX_     1024

/* Appends text as the inside of a JSON string. */
static void put_escaped(struct str *out, struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            str_addf(out, "\\%c", c);
        else if (c == '\n')
            str_add_cstr(out, "\\n");
        else if (c == '\t')
            str_add_cstr(out, "\\t");
        else if (c < 0x20)
            str_addf(out, "\\u%04x", c);
        else
            str_add_char(out, (char)c);
    }
}

/* The schema lets the parameter be nothing but a string, or does not speak of it. */
static bool takes_text_only(const struct chat_parse *p, const char *name)
{
    const json_t *properties = json_object_get(json_object_get(p->known, p->name), "properties");
    const json_t *type = json_object_get(json_object_get(properties, name), "type");
    const json_t *schema = json_object_get(properties, name);
    if (!json_is_object(schema))
        return true;
    return json_is_string(type) && strcmp(json_string_value(type), "string") == 0;
}

static void give_text(struct chat_parse *p, size_t n)
{
    struct str text;
    str_init(&text, (size_t)64 << 20);
    parse_decode(p, 0, n, false, &text);
    str_clear(&p->out);
    put_escaped(&p->out, str_span(&text));
    parse_call_give(p, str_span(&p->out));
    parse_drop(p, n);
    str_done(&text);
}

static void give_any(struct chat_parse *p, size_t n)
{
    struct str text;
    str_init(&text, (size_t)64 << 20);
    parse_decode(p, 0, n, false, &text);
    struct span s = parse_trim(str_span(&text));
    json_t *j = s.n ? json_loadb(s.p, s.n, JSON_DECODE_ANY, NULL) : NULL;
    if (j) {
        parse_call_give(p, s);
    } else {
        str_clear(&p->out);
        str_add_char(&p->out, '"');
        put_escaped(&p->out, str_span(&text));
        str_add_char(&p->out, '"');
        parse_call_give(p, str_span(&p->out));
    }
    parse_drop(p, n);
    json_decref(j);
    str_done(&text);
}

/* Ends the call; what follows in buf is whatever it is. */
static bool end_call(struct chat_parse *p)
{
    parse_call_give(p, SPAN("}"));
    parse_call_end(p);
    p->phase = P_CLOSE;
    return true;
}

static bool step_name(struct chat_parse *p)
{
    size_t place;
    struct span end = chat_mark(p->c, MARK_NAME_END);
    enum parse_hit hit = parse_find(p, p->at, p->longest_name + 1, end, &place);
    if (hit == HIT_MAYBE)
        return false;
    if (hit == HIT_YES)
        p->name = parse_known(p, (struct span){p->buf.p + p->at, place - p->at});
    if (hit == HIT_NO || !p->name) {
        parse_give_back(p);
        return true;
    }
    parse_call_begin(p, p->name);
    parse_drop(p, place + end.n);
    parse_call_give(p, SPAN("{"));
    p->n_parameters = 0;
    p->phase = P_PARAMETER;
    return true;
}

static bool step_parameter_name(struct chat_parse *p)
{
    size_t place;
    enum parse_hit hit = parse_find(p, 0, NAME_MAX_, SPAN(">"), &place);
    if (hit == HIT_MAYBE || (hit == HIT_NO && p->ending))
        return false;
    if (hit == HIT_NO)
        return end_call(p);
    str_clear(&p->parameter);
    parse_decode(p, 0, place, false, &p->parameter);
    str_add_char(&p->parameter, 0);
    parse_drop(p, place + 1);
    p->value_is_text = takes_text_only(p, p->parameter.p);
    p->value_begun = false;
    str_clear(&p->out);
    str_add_cstr(&p->out, p->n_parameters++ ? ", \"" : "\"");
    put_escaped(&p->out, (struct span){p->parameter.p, p->parameter.n - 1});
    str_add_cstr(&p->out, p->value_is_text ? "\": \"" : "\": ");
    parse_call_give(p, str_span(&p->out));
    p->phase = P_PARAMETER_VALUE;
    return true;
}

static bool step_value(struct chat_parse *p)
{
    enum parse_hit hit = HIT_NO;
    size_t i = 0, end = 0;
    if (!p->value_begun && p->buf.n) {
        parse_drop(p, p->buf.p[0] == '\n'); /* the tags stand on lines of their own */
        p->value_begun = true;
    }
    for (; i < p->buf.n; i += parse_unit(p, i)) {
        end = i + (p->buf.p[i] == '\n');
        hit = end == p->buf.n && !p->ending ? HIT_MAYBE
              : end < p->buf.n              ? parse_looking_at(p, end, PARAMETER_END)
                                            : HIT_NO;
        if (hit != HIT_NO)
            break;
    }
    if (hit != HIT_YES) {
        if (p->value_is_text)
            give_text(p, i);
        return false;
    }
    end -= i;
    if (p->value_is_text) {
        give_text(p, i);
        parse_call_give(p, SPAN("\""));
    } else {
        give_any(p, i);
    }
    parse_drop(p, end + PARAMETER_END.n);
    p->phase = P_PARAMETER;
    return true;
}

/* The next parameter, or the end of them. */
static bool step_parameter(struct chat_parse *p)
{
    size_t at = parse_skip_space(p, 0);
    struct span end = chat_mark(p->c, MARK_FENCE);
    if (at == p->buf.n)
        return false;
    enum parse_hit hit = parse_looking_at(p, at, PARAMETER), ends = parse_looking_at(p, at, end);
    if (hit == HIT_YES) {
        parse_drop(p, at + PARAMETER.n);
        p->phase = P_PARAMETER_NAME;
        return true;
    }
    if (ends == HIT_YES)
        parse_drop(p, at + end.n);
    else if (hit == HIT_MAYBE || ends == HIT_MAYBE || p->ending)
        return false;
    return end_call(p);
}

bool parse_step_xml(struct chat_parse *p)
{
    switch (p->phase) {
    case P_NAME: return step_name(p);
    case P_PARAMETER: return step_parameter(p);
    case P_PARAMETER_NAME: return step_parameter_name(p);
    case P_PARAMETER_VALUE: return step_value(p);
    case P_CLOSE: return parse_step_close(p);
    default: break;
    }
    struct span before = chat_mark(p->c, MARK_BEFORE);
    p->at = parse_skip_space(p, p->at);
    if (p->at == p->buf.n)
        return false;
    enum parse_hit hit = parse_looking_at(p, p->at, before);
    if (hit == HIT_MAYBE)
        return false;
    if (hit == HIT_NO) {
        parse_give_back(p);
        return true;
    }
    p->at += before.n;
    p->phase = P_NAME;
    return true;
}
