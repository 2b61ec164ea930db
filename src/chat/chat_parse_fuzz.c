/* SPDX-License-Identifier: MIT
 * chat_parse_fuzz.c - any answer in any pieces: a byte that picks the syntax, a byte of ways (1:
 * tools, 2: the prompt opened reasoning, 4: a vocabulary), then pieces: a byte of length and the
 * bytes, or 0x80 + the number of a control token.
 *
 * Holds: all that comes out is UTF-8 and in order; the same comes out when every byte is a piece
 * of its own; an answer without calls and marks of reasoning comes out as it is. */
#include "chat/chat_int.h"
#include "chat/chat_parse.h"
#include "tok/tok_made.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct span controls[] = {
    SPAN("<|start|>"),      SPAN("<|channel|>"), SPAN("<|message|>"), SPAN("<|end|>"),
    SPAN("<|call|>"),       SPAN("[ARGS]"),      SPAN("<tool_call>"), SPAN("[TOOL_CALLS]"),
    SPAN("<|python_tag|>"), SPAN("<think>"),     SPAN("</think>"),    SPAN("<|other|>"),
};

static struct {
    struct made made;
    struct gguf *g;
    struct tok *t;
    struct chat *plain, *with_tok;
    json_t *tools;
} all;

static void open_all(void)
{
    struct span piece[N_ELEMS(controls) + 1] = {
        {"a", 1}
    };
    int32_t type[N_ELEMS(controls) + 1] = {1};
    for (size_t i = 0; i < N_ELEMS(controls); i++) {
        piece[i + 1] = controls[i];
        type[i + 1] = 3;
    }
    made_begin(&all.made);
    made_str(&all.made, "tokenizer.ggml.model", SPAN("gpt2"));
    made_str(&all.made, "tokenizer.ggml.pre", SPAN("gpt-2"));
    made_strings(&all.made, "tokenizer.ggml.tokens", piece, N_ELEMS(piece));
    made_numbers(&all.made, "tokenizer.ggml.token_type", GGUF_I32, type, N_ELEMS(type));
    made_strings(&all.made, "tokenizer.ggml.merges", NULL, 0);
    CHECK(gguf_open_bytes(&all.g, made_end(&all.made), all.made.s.n, NULL) == ERR_OK);
    CHECK(tok_open(&all.t, all.g, NULL) == ERR_OK);
    CHECK(chat_open(&all.plain, SPAN(""), SPAN(""), SPAN(""), NULL, NULL) == ERR_OK);
    CHECK(chat_open(&all.with_tok, SPAN(""), SPAN(""), SPAN(""), all.t, NULL) == ERR_OK);
    all.tools = json_loads("[{\"name\": \"f\", \"parameters\": {\"properties\": {\"t\": {\"type\": "
                           "\"string\"}, \"n\": {\"type\": \"integer\"}}}}, {\"name\": \"now\"}]",
                           0, NULL);
    CHECK(all.tools);
}

struct seen {
    struct str events, content;
    char in;
    size_t n_calls;
};

static void see(struct seen *s, char kind, struct span piece)
{
    CHECK(piece.n && utf8_valid(piece));
    if (s->in != kind)
        str_add_char(&s->events, kind);
    s->in = kind;
    str_add_span(&s->events, piece);
}

static void see_content(void *arg, struct span piece)
{
    struct seen *s = arg;
    CHECK(s->in != '(');
    see(s, '"', piece);
    str_add_span(&s->content, piece);
}

static void see_reasoning(void *arg, struct span piece)
{
    CHECK(((struct seen *)arg)->in != '(');
    see(arg, '{', piece);
}

static void see_begin(void *arg, size_t index, struct span name)
{
    struct seen *s = arg;
    CHECK(s->in != '(' && index == s->n_calls);
    s->n_calls++;
    str_add_span(&s->events, name);
    str_add_char(&s->events, '(');
    s->in = '(';
}

static void see_arguments(void *arg, size_t index, struct span piece)
{
    struct seen *s = arg;
    CHECK(s->in == '(' && index + 1 == s->n_calls);
    see(s, '(', piece);
}

static void see_end(void *arg, size_t index)
{
    struct seen *s = arg;
    CHECK(s->in == '(' && index + 1 == s->n_calls);
    str_add_char(&s->events, ')');
    s->in = 0;
}

/* text: what is added, control tokens too. */
static void parse(const struct chat *c, unsigned ways, const uint8_t *data, size_t n, bool bytes,
                  struct seen *s, struct str *text)
{
    const struct chat_parse_sink sink = {s,         see_content,   see_reasoning,
                                         see_begin, see_arguments, see_end};
    struct chat_parse *p = chat_parse_new(c, ways & 1 ? all.tools : NULL,
                                          ways & 2 ? SPAN("<think>\n") : SPAN(""), &sink);
    *s = (struct seen){.in = 0};
    str_init(&s->events, (size_t)1 << 24);
    str_init(&s->content, (size_t)1 << 24);
    str_init(text, (size_t)1 << 24);
    for (size_t i = 0, len; i < n; i += len) {
        uint8_t head = data[i++];
        len = head & 0x80 ? 0 : MIN((size_t)head, n - i);
        struct span piece = {(const char *)data + i, len};
        if (head & 0x80)
            piece = controls[(head & 0x7f) % N_ELEMS(controls)];
        str_add_span(text, piece);
        for (size_t k = 0; bytes && !(head & 0x80) && k < len; k++)
            chat_parse_add(p, (struct span){piece.p + k, 1}, false);
        if (!bytes || head & 0x80)
            chat_parse_add(p, piece, head & 0x80);
    }
    chat_parse_end(p, false);
    CHECK(s->in != '(' && chat_parse_n_calls(p) == s->n_calls);
    chat_parse_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct seen whole, cut;
    struct str text, again, repaired;
    if (!all.tools)
        open_all();
    if (n < 2 || n > 1 << 16)
        return 0;
    size_t n_rows = 0;
    while (chat_syntax_at(n_rows))
        n_rows++;
    struct chat *c = data[1] & 4 ? all.with_tok : all.plain;
    chat_set_syntax(c, chat_syntax_at(data[0] % n_rows));
    parse(c, data[1], data + 2, n - 2, false, &whole, &text);
    parse(c, data[1], data + 2, n - 2, true, &cut, &again);
    CHECK(whole.events.n == cut.events.n &&
          (!cut.events.n || !memcmp(whole.events.p, cut.events.p, cut.events.n)));
    str_init(&repaired, (size_t)1 << 24);
    utf8_repair(&repaired, str_span(&text));
    bool plain = !(data[1] & 6) && c->syntax->kind != CHAT_HARMONY && !whole.n_calls &&
                 span_find(str_span(&text), SPAN("<think>"), 0) == SIZE_MAX;
    if (plain)
        CHECK(span_eq(str_span(&repaired), str_span(&whole.content)));
    str_done(&repaired);
    str_done(&text);
    str_done(&again);
    str_done(&whole.events);
    str_done(&whole.content);
    str_done(&cut.events);
    str_done(&cut.content);
    return 0;
}
