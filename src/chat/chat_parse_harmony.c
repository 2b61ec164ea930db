/* SPDX-License-Identifier: MIT
 * chat_parse_harmony.c - gpt-oss: an answer of several messages, each with a header
 * (openai/harmony, docs/format.md):
 *   <|start|>assistant [to=functions.NAME] <|channel|>CHANNEL [to=...]
 * [<|constrain|>json]<|message|> analysis is reasoning; commentary to a function is a call; the
 * rest is content. */
#include "chat/chat_parse_int.h"

#include <string.h>

#define HEADER_MAX ((size_t)1024)

/* The word behind `mark` in the header; empty: there is none. */
static struct span word_behind(struct span header, const char *mark)
{
    size_t at = span_find(header, span_of(mark), 0), end;
    if (at == SIZE_MAX)
        return SPAN("");
    at += strlen(mark);
    for (end = at; end < header.n && !parse_is_space(header.p[end]) && header.p[end] != '<';)
        end++;
    return (struct span){header.p + at, end - at};
}

static bool begins_header(const struct chat_parse *p, size_t at, enum parse_hit *best)
{
    const struct span starts[] = {chat_mark(p->c, MARK_OUTER), chat_mark(p->c, MARK_OPEN),
                                  SPAN("to=")};
    *best = HIT_NO;
    for (size_t i = 0; i < N_ELEMS(starts); i++) {
        enum parse_hit hit = parse_looking_at(p, at, starts[i]);
        *best = MAX(*best, hit);
    }
    return *best == HIT_YES;
}

static bool step_start(struct chat_parse *p)
{
    enum parse_hit hit;
    size_t at = parse_skip_space(p, 0);
    if (at == p->buf.n)
        return false;
    p->at = 0;
    p->phase = begins_header(p, at, &hit) ? P_HEADER : P_BODY;
    if (hit == HIT_MAYBE) {
        p->phase = P_START;
        return false;
    }
    p->body = BODY_CONTENT;
    return true;
}

static bool step_header(struct chat_parse *p)
{
    size_t place;
    struct span end = chat_mark(p->c, MARK_NAME_END);
    enum parse_hit hit = parse_find(p, 0, HEADER_MAX, end, &place);
    p->body = BODY_CONTENT;
    if (hit == HIT_MAYBE || (hit == HIT_NO && p->ending))
        return false;
    p->phase = P_BODY;
    if (hit == HIT_NO) { /* no header: its mark is content, and so is what follows */
        parse_give_content(p, parse_unit(p, 0), true);
        return true;
    }
    struct str text;
    str_init(&text, 4 * HEADER_MAX);
    parse_decode(p, 0, place, true, &text);
    struct span header = str_span(&text), to = word_behind(header, "to=");
    struct span before = SPAN("functions.");
    const char *channel_mark = p->c->syntax->mark[MARK_OPEN];
    bool analysis = span_eq_cstr(word_behind(header, channel_mark), "analysis");
    if (span_starts(to, before))
        to = (struct span){to.p + before.n, to.n - before.n};
    const char *name = to.n ? parse_known(p, to) : NULL;
    bool strange = to.n && !name && !analysis;
    str_done(&text);
    if (strange)
        parse_give_content(p, place + end.n, true);
    else
        parse_drop(p, place + end.n);
    if (name) {
        p->body = BODY_CALL;
        parse_call_begin(p, name);
    } else if (analysis) {
        p->body = BODY_REASON;
    }
    return true;
}

static void give(struct chat_parse *p, size_t n)
{
    if (p->body == BODY_CALL) {
        str_clear(&p->out);
        parse_decode(p, 0, n, false, &p->out);
        parse_call_give(p, str_span(&p->out));
        parse_drop(p, n);
    } else if (p->body == BODY_REASON) {
        parse_give_reasoning(p, n);
    } else {
        parse_give_content(p, n, false);
    }
}

/* The text of a message, up to a mark. */
static bool step_body(struct chat_parse *p)
{
    static const enum chat_mark ends[] = {MARK_OUTER_END, MARK_CLOSE, MARK_FENCE, MARK_OUTER,
                                          MARK_OPEN};
    for (size_t i = 0; i < p->buf.n; i += parse_unit(p, i)) {
        enum parse_hit best = HIT_NO;
        size_t drop = 0;
        for (size_t k = 0; k < N_ELEMS(ends) && best != HIT_YES; k++) {
            struct span s = chat_mark(p->c, ends[k]);
            best = MAX(best, parse_looking_at(p, i, s));
            drop = k < 3 ? s.n : 0;
        }
        if (best == HIT_NO)
            continue;
        give(p, i);
        if (best == HIT_MAYBE)
            return false;
        if (p->body == BODY_CALL && !p->n_given)
            parse_call_give(p, SPAN("{}"));
        parse_call_end(p);
        parse_drop(p, drop);
        p->phase = P_START;
        return true;
    }
    give(p, p->buf.n);
    if (p->ending && p->body == BODY_CALL && p->open && !p->n_given)
        parse_call_give(p, SPAN("{}"));
    return false;
}

bool parse_step_harmony(struct chat_parse *p)
{
    if (p->phase == P_START)
        return step_start(p);
    return p->phase == P_HEADER ? step_header(p) : step_body(p);
}
