/* SPDX-License-Identifier: MIT
 * chat_syntax.c - which syntax of calls and which marks of reasoning a model has.
 *
 * The syntax is found by trying: an assistant message with a call is rendered by the model's own
 * template, and the row whose parser gets that call back is the one.  Where a template shows tools
 * but writes no calls, the marks that its source mentions decide. */
#include "chat/chat_int.h"
#include "chat/chat_parse.h"

#include <string.h>

static const struct chat_syntax syntaxes[] = {
#define BARE                                 CHAT_BARE
#define OURS                                 CHAT_OURS
#define SYNTAX(name, kind, flags, args, ...) {#name, CHAT_##kind, flags, args, {__VA_ARGS__}},
#include "chat/chat_syntax.def"
#undef SYNTAX
#undef OURS
#undef BARE
};

static const struct {
    const char *open, *close;
} thinks[] = {
#define THINK(open, close) {open, close},
#include "chat/chat_think.def"
#undef THINK
};

const struct chat_syntax *chat_syntax_at(size_t i)
{
    return i < N_ELEMS(syntaxes) ? &syntaxes[i] : NULL;
}

const struct chat_syntax *chat_syntax_find(struct span name)
{
    for (size_t i = 0; i < N_ELEMS(syntaxes); i++)
        if (span_eq_cstr(name, syntaxes[i].name))
            return &syntaxes[i];
    return NULL;
}

/* ---- marks ---- */

void chat_code(const struct chat *c, struct span text, struct str *out)
{
    for (size_t i = 0; i < text.n;) {
        size_t len = 0;
        struct span rest = {text.p + i, text.n - i};
        if (c->tok && tok_control_at(c->tok, rest, &len) >= 0) {
            str_add_char(out, CHAT_CONTROL);
            str_add(out, rest.p, len);
            str_add_char(out, CHAT_CONTROL);
            i += len;
        } else {
            str_add_char(out, text.p[i++]);
        }
    }
}

static void set_mark(struct chat *c, enum chat_mark m, const char *text)
{
    str_done(&c->mark[m]);
    str_init(&c->mark[m], 4096);
    chat_code(c, span_of(text), &c->mark[m]);
}

void chat_set_syntax(struct chat *c, const struct chat_syntax *s)
{
    c->syntax = s;
    for (size_t i = 0; i < MARK_ROW_N; i++)
        set_mark(c, (enum chat_mark)i, s->mark[i]);
}

void chat_marks_done(struct chat *c)
{
    for (size_t i = 0; i < MARK_N; i++)
        str_done(&c->mark[i]);
}

static bool mentions(struct span source, const char *what)
{
    return what[0] && span_find(source, span_of(what), 0) != SIZE_MAX;
}

static void find_think(struct chat *c, struct span source)
{
    size_t found = 0;
    for (size_t i = N_ELEMS(thinks); i-- > 0;)
        if (mentions(source, thinks[i].open) || mentions(source, thinks[i].close)) {
            found = i;
            c->thinks = true;
        }
    set_mark(c, MARK_THINK, thinks[found].open);
    set_mark(c, MARK_THINK_END, thinks[found].close);
}

/* ---- switches ---- */

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* The name stands in the source by itself, not in quotes, not as a member or a part of a word. */
static bool mentions_name(struct span source, const char *name)
{
    size_t n = strlen(name);
    for (size_t at = 0; (at = span_find(source, span_of(name), at)) != SIZE_MAX; at += n) {
        char before = at ? source.p[at - 1] : ' ';
        char after = at + n < source.n ? source.p[at + n] : ' ';
        if ((before == ' ' || before == '(') && !is_word(after) && (after == ' ' || after == ')'))
            return true;
    }
    return false;
}

static unsigned find_switches(struct span source)
{
    unsigned found = 0;
    if (mentions_name(source, "enable_thinking"))
        found |= CHAT_ENABLE_THINKING;
    if (mentions_name(source, "reasoning_effort"))
        found |= CHAT_REASONING_EFFORT;
    if (mentions_name(source, "thinking is") || mentions_name(source, "if thinking") ||
        mentions_name(source, "not thinking"))
        found |= CHAT_THINKING;
    return found;
}

/* ---- the probe ---- */

#define PROBE_USER      "{\"role\": \"user\", \"content\": \"qzUserzq\"}"
#define PROBE_ARGUMENTS "{\"qzArgzq\": \"qzValzq\"}"
#define PROBE_TOOL                                                                                 \
    "{\"type\": \"function\", \"function\": {\"name\": \"qzToolzq\", \"description\": \"d\","      \
    " \"parameters\": {\"type\": \"object\", \"properties\": {\"qzArgzq\": {\"type\":"             \
    " \"string\", \"description\": \"d\"}}, \"required\": [\"qzArgzq\"]}}}"

struct seen {
    struct str arguments;
    size_t n;
};

static void see_call(void *arg, size_t index, struct span name)
{
    (void)index;
    (void)name;
    ((struct seen *)arg)->n++;
}

static void see_arguments(void *arg, size_t index, struct span piece)
{
    (void)index;
    str_add_span(&((struct seen *)arg)->arguments, piece);
}

/* The parser of the chat's syntax finds the probe's call in `text`, once. */
static bool finds_call(const struct chat *c, const json_t *tools, struct span text)
{
    struct seen seen = {.n = 0};
    const struct chat_parse_sink sink = {
        .arg = &seen, .call_begin = see_call, .call_arguments = see_arguments};
    str_init(&seen.arguments, 1 << 16);
    struct chat_parse *p = chat_parse_new(c, tools, SPAN(""), &sink);
    chat_parse_add(p, text, false);
    chat_parse_end(p, false);
    chat_parse_free(p);
    struct span s = str_span(&seen.arguments);
    json_t *got = s.n ? json_loadb(s.p, s.n, 0, NULL) : NULL;
    json_t *want = json_loads(PROBE_ARGUMENTS, 0, NULL);
    bool same = seen.n == 1 && json_equal(got, want);
    json_decref(got);
    json_decref(want);
    str_done(&seen.arguments);
    return same;
}

/* bare: where the text of an answer would begin. */
static const struct chat_syntax *syntax_of(struct chat *c, const json_t *tools, struct span text,
                                           struct span bare)
{
    for (int with_mark = 1; with_mark >= 0; with_mark--)
        for (size_t i = 0; i < N_ELEMS(syntaxes); i++) {
            const struct chat_syntax *s = &syntaxes[i];
            if (s->flags & CHAT_OURS || (!with_mark && !(s->flags & CHAT_BARE)))
                continue;
            if (with_mark && span_find(text, span_of(s->mark[MARK_OPEN]), 0) == SIZE_MAX)
                continue;
            chat_set_syntax(c, s);
            if (finds_call(c, tools, with_mark ? text : bare))
                return s;
        }
    return NULL;
}

/* A user's message and, unless `text` and `args` are NULL, an answer of that text or that call. */
static json_t *probe_talk(const char *text, json_t *args)
{
    json_t *talk = json_loads("[" PROBE_USER "]", 0, NULL), *m;
    if (!text && !args)
        return talk;
    m = json_pack("{s:s, s:s}", "role", "assistant", "content", text ? text : "");
    if (args)
        json_object_set_new(m, "tool_calls",
                            json_pack("[{s:s, s:s, s:{s:s, s:o}}]", "id", "qz0000001", "type",
                                      "function", "function", "name", "qzToolzq", "arguments",
                                      args));
    json_array_append_new(talk, m);
    return talk;
}

static void render_probe(const struct chat *c, json_t *talk, const json_t *tools, struct str *out)
{
    str_init(out, (size_t)1 << 20);
    if (chat_probe(c, talk, tools, false, out) != ERR_OK)
        str_clear(out);
    str_add(out, "", 0);
    json_decref(talk);
}

/* What the template writes for a call, behind what it writes before.  *shown: it writes the call,
 * in whatever form. */
static const struct chat_syntax *probe_call(struct chat *c, const json_t *tools, bool show_tools,
                                            bool *shown)
{
    const struct chat_syntax *found = NULL;
    const json_t *t = show_tools ? tools : NULL;
    struct str before, text, plain;
    json_t *args = json_loads(PROBE_ARGUMENTS, 0, NULL);
    if (c->args_as_text) {
        json_decref(args);
        args = json_string(PROBE_ARGUMENTS);
    }
    render_probe(c, probe_talk(NULL, NULL), t, &before);
    render_probe(c, probe_talk("qzTextzq", NULL), t, &plain);
    render_probe(c, probe_talk(NULL, args), t, &text);
    size_t same = 0, at = plain.n ? span_find(str_span(&plain), SPAN("qzTextzq"), 0) : SIZE_MAX;
    while (same < before.n && same < text.n && before.p[same] == text.p[same])
        same++;
    while (same && text.p[same - 1] == '<')
        same--;
    if (before.n && text.n) {
        struct span rest = {text.p + same, text.n - same}, bare = SPAN("");
        if (at < text.n && memcmp(plain.p, text.p, at) == 0)
            bare = (struct span){text.p + at, text.n - at};
        *shown = *shown || span_find(rest, SPAN("qzToolzq"), 0) != SIZE_MAX;
        found = syntax_of(c, tools, rest, bare);
    }
    str_done(&before);
    str_done(&plain);
    str_done(&text);
    return found;
}

static const struct chat_syntax *mentioned(struct span source)
{
    for (size_t i = 0; i < N_ELEMS(syntaxes); i++) {
        const struct chat_syntax *s = &syntaxes[i];
        const char *const first[] = {s->mark[MARK_OPEN], s->mark[MARK_BEFORE],
                                     s->mark[MARK_NAME_END]};
        bool all = !(s->flags & CHAT_OURS);
        for (size_t k = 0; k < N_ELEMS(first) && all; k++)
            all = !first[k][0] || mentions(source, first[k]);
        /* JSON in the marks of another row says less than that row */
        if (all && !(s->kind == CHAT_JSON && mentions(source, "<function=")))
            return s;
    }
    return NULL;
}

void chat_find_syntax(struct chat *c, struct span source)
{
    const struct tok *tok = c->tok;
    const struct chat_syntax *found = NULL;
    json_t *tools = json_loads("[" PROBE_TOOL "]", 0, NULL);
    bool shown = false;
    c->tok = NULL; /* probes read and write plain text */
    find_think(c, source);
    for (int i = 0; c->template && i < 4 && !found; i++) {
        c->args_as_text = i & 1;
        chat_set_syntax(c, &syntaxes[0]);
        found = probe_call(c, tools, i & 2, &shown);
    }
    if (!found)
        c->args_as_text = false;
    if (!found && !shown && c->takes_tools)
        found = mentioned(source);
    c->tok = tok;
    c->switches = find_switches(source);
    chat_set_syntax(c, found ? found : chat_syntax_find(SPAN("generic")));
    find_think(c, source);
    json_decref(tools);
}

/* ---- questions ---- */

const char *chat_syntax_name(const struct chat *c)
{
    return c->syntax->name;
}

enum err chat_use_syntax(struct chat *c, struct span name, struct errinfo *e)
{
    const struct chat_syntax *s = chat_syntax_find(name);
    if (!s)
        return err_set(e, ERR_USAGE, "no syntax of calls is named '%.*s'", (int)MIN(name.n, 60),
                       name.p);
    chat_set_syntax(c, s);
    return ERR_OK;
}

unsigned chat_switches(const struct chat *c)
{
    return c->switches;
}

bool chat_reasons(const struct chat *c)
{
    return c->thinks || c->syntax->kind == CHAT_HARMONY;
}

static bool ends_with_mark(const struct chat *c, struct span text, enum chat_mark m)
{
    struct str plain;
    bool ends;
    str_init(&plain, 4096);
    for (size_t i = 0; i < c->mark[m].n; i++)
        if (c->mark[m].p[i] != CHAT_CONTROL)
            str_add_char(&plain, c->mark[m].p[i]);
    ends = plain.n && span_ends(text, str_span(&plain));
    str_done(&plain);
    return ends;
}

enum chat_reasoning chat_prompt_reasoning(const struct chat *c, struct span prompt)
{
    while (prompt.n && strchr(" \t\r\n", prompt.p[prompt.n - 1]))
        prompt.n--;
    if (ends_with_mark(c, prompt, MARK_THINK))
        return CHAT_REASONING_OPEN;
    return ends_with_mark(c, prompt, MARK_THINK_END) ? CHAT_REASONING_CLOSED : CHAT_REASONING_NONE;
}

const json_t *chat_tool_function(const json_t *tool)
{
    const json_t *f = json_object_get(tool, "function");
    return f ? f : tool;
}

const char *chat_tool_name(const json_t *tool)
{
    return json_string_value(json_object_get(chat_tool_function(tool), "name"));
}
