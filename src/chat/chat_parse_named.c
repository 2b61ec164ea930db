/* SPDX-License-Identifier: MIT
 * chat_parse_named.c - calls whose name stands before their arguments. */
#include "chat/chat_parse_int.h"

#include <string.h>

#define NAME_MORE 64  /* bytes beside a name, up to what ends it */
#define SKIP_MAX  256 /* an id */

struct span parse_trim(struct span s)
{
    while (s.n && parse_is_space(s.p[0]))
        s.p++, s.n--;
    while (s.n && parse_is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

enum parse_hit parse_find(const struct chat_parse *p, size_t from, size_t max, struct span what,
                          size_t *place)
{
    for (size_t i = from; i < p->buf.n && i - from <= max; i++) {
        enum parse_hit hit = parse_looking_at(p, i, what);
        *place = i;
        if (hit != HIT_NO)
            return hit;
    }
    return p->buf.n - MIN(from, p->buf.n) <= max && !p->ending ? HIT_MAYBE : HIT_NO;
}

static bool fail(struct chat_parse *p)
{
    parse_give_back(p);
    return true;
}

bool parse_step_close(struct chat_parse *p)
{
    static const enum chat_mark marks[] = {MARK_FENCE, MARK_CLOSE, MARK_OUTER_END, MARK_OPEN,
                                           MARK_OUTER};
    size_t at = parse_skip_space(p, 0);
    if (at == p->buf.n && !p->ending)
        return false;
    enum parse_hit best = HIT_NO;
    for (size_t i = 0; i < N_ELEMS(marks) && at < p->buf.n; i++) {
        struct span s = parse_trim(chat_mark(p->c, marks[i]));
        enum parse_hit hit = parse_looking_at(p, at, s);
        best = MAX(best, hit);
        if (hit != HIT_YES)
            continue;
        p->at = at + s.n;
        p->key_from = SIZE_MAX;
        p->name = NULL;
        if (marks[i] == MARK_OPEN)
            p->phase = p->c->syntax->kind == CHAT_XML ? P_OUTER : P_NAME;
        else if (marks[i] == MARK_OUTER)
            p->phase = P_OUTER;
        else
            parse_drop(p, p->at);
        if (marks[i] == MARK_OUTER_END)
            parse_to_text(p);
        return true;
    }
    if (best == HIT_MAYBE)
        return false;
    parse_to_text(p);
    return true;
}

static bool step_name(struct chat_parse *p)
{
    struct span before = chat_mark(p->c, MARK_BEFORE), skip = chat_mark(p->c, MARK_SKIP);
    struct span end = chat_mark(p->c, MARK_NAME_END);
    while (end.n && parse_is_space(end.p[end.n - 1]))
        end.n--;
    if (p->key_from == SIZE_MAX) {
        enum parse_hit hit = parse_looking_at(p, p->at, before);
        if (hit == HIT_MAYBE)
            return false;
        p->key_from = p->at += hit == HIT_YES ? before.n : 0;
    }
    for (; p->at < p->buf.n; p->at++) {
        enum parse_hit ends = parse_looking_at(p, p->at, end);
        enum parse_hit skips = parse_looking_at(p, p->at, skip);
        if (ends != HIT_YES && skips != HIT_YES) {
            if (ends == HIT_MAYBE || skips == HIT_MAYBE)
                return false;
            if (p->buf.p[p->at] == CHAT_CONTROL ||
                p->at - p->key_from > p->longest_name + NAME_MORE)
                return fail(p);
            continue;
        }
        struct span name = {p->buf.p + p->key_from, p->at - p->key_from};
        p->name = parse_known(p, parse_trim(name));
        p->at += ends == HIT_YES ? end.n : skip.n;
        p->phase = ends == HIT_YES ? P_ARGS : P_SKIP;
        return p->name || fail(p);
    }
    return false;
}

static bool step_skip(struct chat_parse *p)
{
    size_t place;
    struct span end = chat_mark(p->c, MARK_NAME_END);
    enum parse_hit hit = parse_find(p, p->at, SKIP_MAX, end, &place);
    if (hit == HIT_NO)
        return fail(p);
    if (hit == HIT_MAYBE)
        return false;
    p->at = place + end.n;
    p->phase = P_ARGS;
    return true;
}

static bool step_arguments(struct chat_parse *p)
{
    int end = 0;
    bool bad = false;
    for (; p->at < p->buf.n && end == 0 && !bad; p->at += !bad) {
        bad = p->buf.p[p->at] == CHAT_CONTROL;
        end = bad ? 0 : parse_value_byte(&p->value, p->buf.p[p->at]);
    }
    parse_call_give(p, (struct span){p->buf.p, p->at});
    parse_drop(p, p->at);
    if (!end && !bad)
        return false;
    parse_call_end(p);
    p->phase = P_CLOSE;
    return true;
}

bool parse_step_named(struct chat_parse *p)
{
    switch (p->phase) {
    case P_NAME: return step_name(p);
    case P_SKIP: return step_skip(p);
    case P_IN_ARGS: return step_arguments(p);
    case P_CLOSE: return parse_step_close(p);
    default: break;
    }
    p->at = parse_skip_space(p, p->at);
    bool here = p->at < p->buf.n;
    if (p->phase == P_OUTER && here) {
        enum parse_hit hit = parse_looking_at(p, p->at, chat_mark(p->c, MARK_OPEN));
        if (hit == HIT_MAYBE)
            return false;
        if (hit == HIT_NO)
            return fail(p);
        p->at += chat_mark(p->c, MARK_OPEN).n;
        p->key_from = SIZE_MAX;
        p->phase = P_NAME;
        return true;
    }
    if (p->phase == P_ARGS && (here ? p->buf.p[p->at] == '{' : p->ending)) {
        parse_call_begin(p, p->name);
        parse_drop(p, p->at);
        p->value = (struct parse_value){0};
        p->phase = P_IN_ARGS;
        return here;
    }
    return here && fail(p);
}
