/* SPDX-License-Identifier: MIT
 * chat_parse.c - content, reasoning, and where calls begin. */
#include "chat/chat_parse_int.h"

#include <string.h>

/* White space before a mark is held back up to this length; what is longer is content. */
#define SPACE_MAX ((size_t)64)
#define BUF_MAX   ((size_t)64 << 20)

/* ---- looking ---- */

bool parse_is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

size_t parse_skip_space(const struct chat_parse *p, size_t at)
{
    while (at < p->buf.n && parse_is_space(p->buf.p[at]))
        at++;
    return at;
}

enum parse_hit parse_looking_at(const struct chat_parse *p, size_t at, struct span what)
{
    size_t n = MIN(what.n, p->buf.n - at);
    if (!what.n || (n && memcmp(p->buf.p + at, what.p, n) != 0))
        return HIT_NO;
    return n == what.n ? HIT_YES : p->ending ? HIT_NO : HIT_MAYBE;
}

size_t parse_unit(const struct chat_parse *p, size_t at)
{
    const char *end = NULL;
    if (p->buf.p[at] == CHAT_CONTROL)
        end = memchr(p->buf.p + at + 1, CHAT_CONTROL, p->buf.n - at - 1);
    return end ? (size_t)(end - p->buf.p) + 1 - at : 1;
}

/* ---- handing out ---- */

void parse_drop(struct chat_parse *p, size_t n)
{
    size_t *places[] = {&p->at, &p->key_from, &p->value_from, &p->args_from, &p->args_to};
    if (n == 0)
        return;
    memmove(p->buf.p, p->buf.p + n, p->buf.n - n + 1);
    p->buf.n -= n;
    for (size_t i = 0; i < N_ELEMS(places); i++)
        if (*places[i] != SIZE_MAX)
            *places[i] -= MIN(*places[i], n);
}

void parse_decode(const struct chat_parse *p, size_t from, size_t to, bool written, struct str *out)
{
    while (from < to) {
        const char *at = p->buf.p + from, *control = memchr(at, CHAT_CONTROL, to - from);
        size_t n = control ? (size_t)(control - at) : to - from;
        str_add(out, at, n);
        from += n;
        if (control) {
            n = parse_unit(p, from);
            if (written && n > 2)
                str_add(out, p->buf.p + from + 1, n - 2);
            from += n;
        }
    }
}

static void give(struct chat_parse *p, size_t n, bool written,
                 void (*to)(void *arg, struct span piece))
{
    str_clear(&p->out);
    parse_decode(p, 0, n, written, &p->out);
    if (p->out.n && to)
        to(p->sink->arg, str_span(&p->out));
    parse_drop(p, n);
}

void parse_give_content(struct chat_parse *p, size_t n, bool written)
{
    give(p, n, written, p->sink->content);
}

void parse_give_reasoning(struct chat_parse *p, size_t n)
{
    give(p, n, false, p->sink->reasoning);
}

void parse_give_back(struct chat_parse *p)
{
    while (p->at < p->buf.n && ((unsigned char)p->buf.p[p->at] & 0xc0) == 0x80)
        p->at++; /* whole characters */
    parse_give_content(p, p->at, true);
    p->fresh = p->drop_space = false;
    p->mode = PARSE_TEXT;
}

/* ---- calls ---- */

const char *parse_known(const struct chat_parse *p, struct span name)
{
    const char *key;
    json_t *v;
    json_object_foreach(p->known, key, v) if (span_eq_cstr(name, key)) return key;
    return NULL;
}

void parse_call_begin(struct chat_parse *p, const char *name)
{
    p->open = true;
    p->n_given = 0;
    p->name = name;
    if (p->sink->call_begin)
        p->sink->call_begin(p->sink->arg, p->n_calls, span_of(name));
    p->n_calls++;
}

void parse_call_give(struct chat_parse *p, struct span arguments)
{
    CHECK(p->open);
    p->n_given += arguments.n;
    if (arguments.n && p->sink->call_arguments)
        p->sink->call_arguments(p->sink->arg, p->n_calls - 1, arguments);
}

void parse_call_end(struct chat_parse *p)
{
    if (p->open && p->sink->call_end)
        p->sink->call_end(p->sink->arg, p->n_calls - 1);
    p->open = false;
    p->name = NULL;
}

void parse_to_text(struct chat_parse *p)
{
    p->mode = PARSE_TEXT;
    p->drop_space = true;
}

static void enter_call(struct chat_parse *p, enum chat_mark opener, bool bare)
{
    enum chat_kind kind = p->c->syntax->kind;
    p->mode = PARSE_CALL;
    p->marked = !bare;
    p->list = p->open = false;
    p->name = NULL;
    p->key_from = p->args_from = p->args_to = SIZE_MAX;
    p->phase = kind == CHAT_JSON || kind == CHAT_LIST                              ? P_BEGIN
               : opener == MARK_OUTER || (kind == CHAT_XML && opener == MARK_OPEN) ? P_OUTER
                                                                                   : P_NAME;
}

/* ---- text ---- */

/* What begins at `at`: *len its length; `bare`: a call without its mark. */
static enum parse_hit find_mark(const struct chat_parse *p, size_t at, enum chat_mark *mark,
                                size_t *len, bool *bare)
{
    static const enum chat_mark calls[] = {MARK_OUTER, MARK_OPEN, MARK_BEFORE};
    enum parse_hit best = HIT_NO;
    enum chat_mark which[4];
    size_t n = 0;
    if (p->mode == PARSE_REASON)
        which[n++] = MARK_THINK_END;
    if (p->mode == PARSE_TEXT && p->fresh)
        which[n++] = MARK_THINK;
    for (size_t i = 0; p->mode == PARSE_TEXT && p->known && i < N_ELEMS(calls); i++)
        if (calls[i] != MARK_BEFORE || p->c->syntax->kind == CHAT_XML)
            which[n++] = calls[i];
    *bare = false;
    for (size_t i = 0; i < n; i++) {
        struct span s = chat_mark(p->c, which[i]);
        enum parse_hit hit = parse_looking_at(p, at, s);
        best = MAX(best, hit);
        if (hit == HIT_YES) {
            *mark = which[i];
            *len = s.n;
            return hit;
        }
    }
    if (p->mode == PARSE_TEXT && p->known && p->fresh && (p->c->syntax->flags & CHAT_BARE) &&
        at < p->buf.n && p->buf.p[at] == '{') {
        *bare = true;
        *len = 0;
        return HIT_YES;
    }
    return best;
}

static void pass_mark(struct chat_parse *p, enum chat_mark mark, size_t end, bool bare)
{
    if (!bare && (mark == MARK_THINK || mark == MARK_THINK_END)) {
        parse_drop(p, end);
        p->mode = mark == MARK_THINK ? PARSE_REASON : PARSE_TEXT;
        p->drop_space = true;
        return;
    }
    enter_call(p, mark, bare);
    p->at = end;
}

static void give_text(struct chat_parse *p, size_t n)
{
    if (p->mode == PARSE_REASON)
        parse_give_reasoning(p, n);
    else
        parse_give_content(p, n, false);
}

/* Hands out text up to the next mark; true when there was one. */
static bool step_text(struct chat_parse *p)
{
    enum chat_mark mark = MARK_N;
    size_t len = 0, i = 0;
    bool bare;
    if (p->drop_space)
        parse_drop(p, parse_skip_space(p, 0));
    p->at = 0;
    p->drop_space = p->drop_space && !p->buf.n;
    while (i < p->buf.n && (p->mode == PARSE_REASON || p->known || p->fresh)) {
        size_t at = parse_skip_space(p, i), from = MAX(i, at > SPACE_MAX ? at - SPACE_MAX : 0);
        enum parse_hit hit = HIT_MAYBE;
        if (at < p->buf.n)
            hit = find_mark(p, at, &mark, &len, &bare);
        else if (p->ending)
            break;
        if (hit != HIT_NO) {
            give_text(p, from);
            if (hit == HIT_YES)
                pass_mark(p, mark, at - from + len, bare);
            return hit == HIT_YES;
        }
        if (p->mode == PARSE_TEXT && p->buf.p[at] != CHAT_CONTROL)
            p->fresh = false;
        i = at + parse_unit(p, at);
    }
    give_text(p, p->buf.n);
    return false;
}

static bool step(struct chat_parse *p)
{
    if (p->mode != PARSE_CALL)
        return step_text(p);
    switch (p->c->syntax->kind) {
    case CHAT_JSON:
    case CHAT_LIST: return parse_step_json(p);
    case CHAT_NAMED: return parse_step_named(p);
    case CHAT_XML: return parse_step_xml(p);
    case CHAT_HARMONY: return parse_step_harmony(p);
    }
    return false;
}

/* ---- the outside ---- */

static void learn_tools(struct chat_parse *p, const json_t *tools)
{
    const json_t *tool;
    size_t i;
    json_array_foreach(tools, i, tool)
    {
        const char *name = chat_tool_name(tool);
        json_t *parameters = json_object_get(chat_tool_function(tool), "parameters");
        if (!name || !name[0])
            continue;
        if (!p->known)
            p->known = json_object();
        json_object_set(p->known, name, parameters ? parameters : json_true());
        p->longest_name = MAX(p->longest_name, strlen(name));
    }
}

struct chat_parse *chat_parse_new(const struct chat *c, const json_t *tools, struct span prompt,
                                  const struct chat_parse_sink *sink)
{
    struct chat_parse *p = mem_alloc(sizeof *p);
    p->c = c;
    p->own = *sink;
    p->sink = &p->own;
    p->fresh = true;
    p->args_from = p->args_to = SIZE_MAX;
    str_init(&p->buf, BUF_MAX);
    str_init(&p->out, BUF_MAX);
    str_init(&p->parameter, BUF_MAX);
    str_add(&p->buf, "", 0);
    learn_tools(p, tools);
    if (c->syntax->kind == CHAT_HARMONY) {
        p->mode = PARSE_CALL;
        p->phase = P_START;
    } else if (chat_prompt_reasoning(c, prompt) == CHAT_REASONING_OPEN) {
        p->mode = PARSE_REASON;
        p->drop_space = true;
    }
    return p;
}

void chat_parse_add(struct chat_parse *p, struct span piece, bool is_control)
{
    struct str joined;
    str_init(&joined, BUF_MAX);
    str_add(&joined, p->tail, p->n_tail);
    p->n_tail = 0;
    if (is_control && p->c->tok) {
        utf8_repair(&p->buf, str_span(&joined));
        str_add_char(&p->buf, CHAT_CONTROL);
        utf8_repair(&p->buf, piece);
        str_add_char(&p->buf, CHAT_CONTROL);
    } else {
        str_add_span(&joined, piece);
        size_t whole = utf8_complete(str_span(&joined));
        p->n_tail = joined.n - whole;
        CHECK(p->n_tail < sizeof p->tail);
        if (p->n_tail)
            memcpy(p->tail, joined.p + whole, p->n_tail);
        if (whole)
            utf8_repair(&p->buf, (struct span){joined.p, whole});
    }
    str_done(&joined);
    while (step(p))
        ;
}

void chat_parse_end(struct chat_parse *p, bool cut)
{
    utf8_repair(&p->buf, (struct span){p->tail, cut ? 0 : p->n_tail});
    p->n_tail = 0;
    p->ending = true;
    while (step(p))
        ;
    if (p->mode != PARSE_CALL)
        return;
    parse_cut_json(p);
    if (p->open)
        parse_call_end(p); /* what came behind its arguments says nothing */
    else
        parse_give_content(p, p->buf.n, true);
}

void chat_parse_free(struct chat_parse *p)
{
    if (!p)
        return;
    json_decref(p->known);
    str_done(&p->buf);
    str_done(&p->out);
    str_done(&p->parameter);
    mem_free(p);
}

size_t chat_parse_n_calls(const struct chat_parse *p)
{
    return p->n_calls;
}
