/* SPDX-License-Identifier: MIT
 * chat_grammar_test.c - what the grammar of an answer allows is what the parser understands: random
 * answers of every syntax are written by the grammar and read by the parser. */
#include "chat/chat_grammar.h"

#include "base/num.h"
#include "base/test.h"
#include "chat/chat_int.h"
#include "chat/chat_parse.h"
#include "gram/gram.h"
#include "tok/tok_made.h"

#include <string.h>

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"add\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":99},\"b\":{\"$ref\":"
    "\"#/$defs/b\"},\"unit\":{\"type\":\"string\",\"enum\":[\"m\",\"k\\\"m\"]}},\"required\":["
    "\"a\"],\"additionalProperties\":false,\"$defs\":{\"b\":{\"enum\":[1,null]}}}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"find.it\",\"parameters\":{\"properties\":{"
    "\"text\":{\"type\":\"string\"}},\"required\":[\"text\"],\"additionalProperties\":false}}},"
    "{\"name\":\"now\"}]";

/* A vocabulary whose control tokens are the marks that are control tokens in the models. */
struct made_tok {
    struct made made;
    struct gguf *g;
    struct tok *t;
};

static void open_tok(struct made_tok *m)
{
    static const struct span piece[] = {
        SPAN("a"),
        SPAN("<|start|>"),
        SPAN("<|channel|>"),
        SPAN("<|message|>"),
        SPAN("<|constrain|>"),
        SPAN("<|end|>"),
        SPAN("<|call|>"),
        SPAN("<|return|>"),
        SPAN("<|python_tag|>"),
        SPAN("[TOOL_CALLS]"),
        SPAN("[ARGS]"),
        SPAN("<|tool_calls_section_begin|>"),
        SPAN("<|tool_calls_section_end|>"),
        SPAN("<|tool_call_begin|>"),
        SPAN("<|tool_call_argument_begin|>"),
        SPAN("<|tool_call_end|>"),
        SPAN("<\uff5ctool\u2581sep\uff5c>"),
    };
    int32_t type[N_ELEMS(piece)];
    struct errinfo e = {0};
    for (size_t i = 0; i < N_ELEMS(piece); i++)
        type[i] = i ? 3 : 1;
    made_begin(&m->made);
    made_str(&m->made, "tokenizer.ggml.model", SPAN("gpt2"));
    made_str(&m->made, "tokenizer.ggml.pre", SPAN("gpt-2"));
    made_strings(&m->made, "tokenizer.ggml.tokens", piece, N_ELEMS(piece));
    made_numbers(&m->made, "tokenizer.ggml.token_type", GGUF_I32, type, N_ELEMS(piece));
    made_strings(&m->made, "tokenizer.ggml.merges", NULL, 0);
    if (gguf_open_bytes(&m->g, made_end(&m->made), m->made.s.n, &e) != ERR_OK ||
        tok_open(&m->t, m->g, &e) != ERR_OK)
        fail_msg("%s", e.text);
}

static void close_tok(struct made_tok *m)
{
    tok_close(m->t);
    gguf_close(m->g);
    made_done(&m->made);
}

struct seen {
    struct str content, name[64], args[64];
    size_t n;
};

static void see_content(void *arg, struct span piece)
{
    str_add_span(&((struct seen *)arg)->content, piece);
}

static void see_begin(void *arg, size_t index, struct span name)
{
    struct seen *s = arg;
    assert_true(index < N_ELEMS(s->name));
    str_init(&s->name[index], 1 << 10);
    str_init(&s->args[index], 1 << 20);
    str_add_span(&s->name[index], name);
    str_add(&s->args[index], "", 0);
    s->n++;
}

static void see_arguments(void *arg, size_t index, struct span piece)
{
    str_add_span(&((struct seen *)arg)->args[index], piece);
}

static void seen_done(struct seen *s)
{
    for (size_t i = 0; i < s->n; i++) {
        str_done(&s->name[i]);
        str_done(&s->args[i]);
    }
    str_done(&s->content);
}

static struct gram *compile(const struct chat *c, const struct chat_answer *a)
{
    struct str gbnf;
    struct errinfo e = {0};
    struct gram *g = NULL;
    json_t *parts = json_object();
    bool needed = false;
    str_init(&gbnf, 1 << 20);
    if (chat_call_grammar(c, a, &gbnf, parts, &needed, &e) != ERR_OK)
        fail_msg("%s: %s", chat_syntax_name(c), e.text);
    if (needed && gram_from_parts(&g, str_span(&gbnf), parts, &e) != ERR_OK)
        fail_msg("%s: %s\n%s", chat_syntax_name(c), e.text, gbnf.p);
    str_done(&gbnf);
    json_decref(parts);
    return g;
}

/* Writes an answer: words that the grammar takes, in random order.  False: it did not end. */
static bool write_answer(const struct chat *c, const struct gram *g, uint64_t *seed,
                         struct str *out)
{
    static const char *const words[] = {"\"",
                                        "}",
                                        "{",
                                        "]",
                                        "1",
                                        "0",
                                        " ",
                                        "\n",
                                        "a",
                                        "null",
                                        ":",
                                        ",",
                                        "\": ",
                                        "\"text\": \"",
                                        "\"a\": ",
                                        "\"b\": ",
                                        "\"unit\": ",
                                        "add",
                                        "find.it",
                                        "now",
                                        "k\\\"m",
                                        "functions",
                                        "7",
                                        "m\"",
                                        "</parameter>\n",
                                        "<parameter=",
                                        "text",
                                        "analysis",
                                        "commentary",
                                        "final",
                                        " to=",
                                        "json",
                                        "assistant",
                                        "<|start|>",
                                        "<|constrain|>",
                                        "한",
                                        "</tool_call>",
                                        "{\"name\": \"",
                                        "; ",
                                        "; {\"name\""};
    struct gram_state *s = gram_start(g);
    bool ended = false;
    str_clear(out);
    str_add(out, "", 0);
    for (int step = 0; step < 6000 && !ended; step++) {
        size_t k = num_rand(seed) % (N_ELEMS(words) + MARK_N + 12);
        char byte = (char)(' ' + num_rand(seed) % 95);
        struct span word = k < N_ELEMS(words) ? span_of(words[k])
                           : k < N_ELEMS(words) + MARK_N
                               ? chat_mark(c, (enum chat_mark)(k - N_ELEMS(words)))
                               : (struct span){&byte, 1};
        struct str coded;
        str_init(&coded, 4096);
        if (num_rand(seed) % 2)
            chat_code(c, word, &coded);
        if (coded.n)
            word = str_span(&coded);
        if (word.n && gram_accept(s, word.p, word.n))
            str_add_span(out, word);
        str_done(&coded);
        ended = gram_finished(s) && num_rand(seed) % 16 == 0;
    }
    gram_done(s);
    return ended;
}

static void check_call(const json_t *tools, const struct str *name, const struct str *args)
{
    const json_t *tool;
    size_t i;
    json_array_foreach(tools, i, tool)
    {
        struct gram *g;
        struct errinfo e = {0};
        if (strcmp(chat_tool_name(tool), name->p) != 0)
            continue;
        const json_t *schema = json_object_get(chat_tool_function(tool), "parameters");
        if (!schema) {
            json_t *none = json_loads(args->p, 0, NULL);
            assert_true(json_is_object(none) && json_object_size(none) == 0);
            json_decref(none);
            return;
        }
        assert_int_equal(gram_from_schema(&g, schema, NULL, &e), ERR_OK);
        struct gram_state *s = gram_start(g);
        if (!gram_accept(s, args->p, args->n) || !gram_finished(s))
            fail_msg("%s was called with %s", name->p, args->p);
        gram_done(s);
        gram_free(g);
        return;
    }
    fail_msg("there is no tool %s", name->p);
}

static void read_answer(const struct chat *c, const struct chat_answer *a, const struct str *text,
                        struct seen *seen)
{
    const struct chat_parse_sink sink = {.arg = seen,
                                         .content = see_content,
                                         .call_begin = see_begin,
                                         .call_arguments = see_arguments};
    struct span prompt = a->reasoning == CHAT_REASONING_OPEN ? SPAN("<think>\n") : SPAN("");
    *seen = (struct seen){.n = 0};
    str_init(&seen->content, 1 << 20);
    struct chat_parse *p = chat_parse_new(c, a->tools, prompt, &sink);
    for (size_t i = 0, n; i < text->n; i += n) {
        bool control = text->p[i] == CHAT_CONTROL;
        const char *end = memchr(text->p + i + 1, CHAT_CONTROL, text->n - i - 1);
        n = end ? (size_t)(end - text->p) - i + control : text->n - i;
        chat_parse_add(p, (struct span){text->p + i + control, n - 2 * (size_t)control}, control);
    }
    chat_parse_end(p, false);
    chat_parse_free(p);
    for (size_t i = 0; i < seen->n; i++)
        check_call(a->tools, &seen->name[i], &seen->args[i]);
}

static void try_syntax(struct chat *c, const json_t *tools, uint64_t *seed)
{
    size_t n_ended = 0, n_calls = 0;
    struct str text;
    str_init(&text, 1 << 20);
    for (unsigned way = 0; way < 12; way++) {
        struct chat_answer a = {.tools = tools,
                                .choice = way % 3 == 0   ? CHAT_CALLS_REQUIRED
                                          : way % 3 == 1 ? CHAT_CALLS_AUTO
                                                         : CHAT_CALLS_NONE,
                                .parallel = way / 3 % 2,
                                .reasoning = way / 6 ? CHAT_REASONING_OPEN : CHAT_REASONING_NONE};
        struct gram *g = compile(c, &a);
        for (int round = 0; round < 25; round++) {
            struct seen seen;
            if (!write_answer(c, g, seed, &text))
                continue;
            n_ended++;
            read_answer(c, &a, &text, &seen);
            n_calls += seen.n;
            if ((a.choice == CHAT_CALLS_REQUIRED && (!seen.n || seen.content.n)) ||
                (a.choice == CHAT_CALLS_NONE && seen.n) || (!a.parallel && seen.n > 1))
                fail_msg("%s, way %u: %zu calls and content '%s' in\n%s", chat_syntax_name(c), way,
                         seen.n, seen.content.n ? seen.content.p : "", text.p);
            seen_done(&seen);
        }
        gram_free(g);
    }
    print_message("%s: %zu answers, %zu calls\n", chat_syntax_name(c), n_ended, n_calls);
    assert_true(n_ended > 50 && n_calls > 5);
    str_done(&text);
}

static void answers_are_understood(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    struct chat *c;
    struct made_tok m = {0};
    json_t *tools = json_loads(tools_text, 0, NULL);
    assert_non_null(tools);
    open_tok(&m);
    assert_int_equal(chat_open(&c, SPAN("{# <think> #}"), SPAN(""), SPAN(""), m.t, NULL), ERR_OK);
    for (size_t i = 0; chat_syntax_at(i); i++) {
        chat_set_syntax(c, chat_syntax_at(i));
        try_syntax(c, tools, &seed);
    }
    chat_close(c);
    close_tok(&m);
    json_decref(tools);
}

static bool accepts(const struct gram *g, const char *text)
{
    struct gram_state *s = gram_start(g);
    bool yes = gram_accept(s, text, strlen(text)) && gram_finished(s);
    gram_done(s);
    return yes;
}

static const struct {
    const char *syntax, *text;
    struct chat_answer a;
    bool named, schema, yes;
} choices[] = {
#define CALL(name, args)                                                                           \
    "<tool_call>\n{\"name\": \"" name "\", \"arguments\": " args "}\n</tool_call>"
    {"hermes",                         "Hello <tool",                                        {.choice = CHAT_CALLS_AUTO},                      false,                                                                                                  false,true },
    {"hermes",                         "Hi\n" CALL("add",                                    "{\"a\": 1}"),                                    {.choice = CHAT_CALLS_AUTO},                                                                            false,false, true},
    {"hermes",
                                                       "Hi\n" CALL("add",                                                                             "{\"a\": \"1\"}"),
                                                       {.choice = CHAT_CALLS_AUTO},
                                                       false,false,
                                                       false},
    {"hermes",                            CALL("sub",                                                                                "{}"),                                                                                                                         {.choice = CHAT_CALLS_AUTO},                                                                                                                                                                                          false,false,false},
    {"hermes",
                                                       CALL("now",                                                                          "{}") "\n" CALL("now",                                                                                                                          "{}"),
                                                       {.choice = CHAT_CALLS_AUTO},
                                                       false,false,
                                                       false},
    {"hermes",
                                                       CALL("now",                                                                                  "{}") "\n" CALL("now",                                                                                                                             "{}"),
                                                       {.choice = CHAT_CALLS_AUTO, .parallel = true},
                                                       false,false,
                                                       true},
    {"hermes",           "Hello",{.choice = CHAT_CALLS_REQUIRED},                                                                                            false,                                                                                                                                                                                                                                            false,false},
    {"hermes",
                                                       "<think>\nhm</think>\n\n" CALL("now",                                                            "{}"),
                                                       {.choice = CHAT_CALLS_REQUIRED},
                                                       false,false,
                                                       true},
    {"hermes",
                                                       "hm</think>\n\n" CALL("now",                                                   "{}"),
                                                       {.choice = CHAT_CALLS_REQUIRED, .reasoning = CHAT_REASONING_OPEN},
                                                       false,false,
                                                       true},
    {"hermes",
                                                       "<think>hm</think>" CALL("now",                                                                             "{}"),
                                                       {.choice = CHAT_CALLS_REQUIRED, .reasoning = CHAT_REASONING_CLOSED},
                                                       false,false,
                                                       false},
    {"hermes",                             CALL("now",                                                                                 "{}"),                                                                                                                          {.choice = CHAT_CALLS_REQUIRED},                                                                                                                                                                                                                   true,false,false},
    {"hermes",                           CALL("add",                                                                                  "{\"a\": 1}"),                                                                                                                                  {.choice = CHAT_CALLS_REQUIRED},                                                                                                                                                                                                                                 true,false,true},
    {"hermes",                            CALL("now",                                                                           "{}"),                                                                                                                      {.choice = CHAT_CALLS_NONE},          false,false,false},
    {"hermes", "Hello",                                                 {.choice = CHAT_CALLS_NONE},false,false,true},
    {"hermes",                           "<think>x</think>{\"x\": 1}",{.choice = CHAT_CALLS_AUTO},false,true,true},
    {"hermes",                         "{\"x\": 1} and",  {.choice = CHAT_CALLS_AUTO},                                                                                   false,                                                                                                                                                                                                                                                                                                                                                        true,                                                                                                                                                                                                                                                                                                                                                               false                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          },
    {"hermes",CALL("now",                          "{}"),                                                                                                                                                                      {.choice = CHAT_CALLS_AUTO},                                                                                                                                                                                                                                                                                 false,                                                                                                                                                            true,                                                                                                                                                                                                                                                                                                                                                                                             true},
    {"llama3",
                                                       "{\"name\": \"now\", \"parameters\": {}}",                {.choice = CHAT_CALLS_AUTO},
                                                       false,false,
                                                       true},
    {"llama3",
                                                       "{\"name\": \"sub\", \"parameters\": {}}",                                                                   {.choice = CHAT_CALLS_AUTO},
                                                       false,false,
                                                       false},
    {"llama3",                         "{\"city\": \"Seoul\"}",                                              {.choice = CHAT_CALLS_AUTO},                                                    false,                                                                                                                                                                                                                                            false,                                                                                                                                                                 true},
    {"harmony",
                                                       "<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>y",
                                                       {.choice = CHAT_CALLS_AUTO},
                                                       false,                                                                                                                                                                                                                                            false,
                                                       true},
    {"harmony",
                                                       "<|channel|>final<|message|>y",                              {.choice = CHAT_CALLS_REQUIRED},
                                                       false,                                                    false,
                                                       false},
    {"harmony",
                                                       "<|channel|>final<|message|>{\"x\": 1}", {.choice = CHAT_CALLS_NONE},
                                                       false,                                                                                                                                                                                                                                            true,
                                                       true},
};

static void keeps_to_choices(void **state)
{
    (void)state;
    struct chat *c;
    json_t *tools = json_loads(tools_text, 0, NULL), *only = json_pack("[s]", "add");
    json_t *schema = json_loads("{\"type\": \"object\", \"required\": [\"x\"]}", 0, NULL);
    assert_int_equal(chat_open(&c, SPAN("{# <think> #}"), SPAN(""), SPAN(""), NULL, NULL), ERR_OK);
    for (size_t i = 0; i < N_ELEMS(choices); i++) {
        struct chat_answer a = choices[i].a;
        a.tools = tools;
        a.only = choices[i].named ? only : NULL;
        a.schema = choices[i].schema ? schema : NULL;
        assert_int_equal(chat_use_syntax(c, span_of(choices[i].syntax), NULL), ERR_OK);
        struct gram *g = compile(c, &a);
        if (accepts(g, choices[i].text) != choices[i].yes)
            fail_msg("row %zu, %s: '%s'", i, choices[i].syntax, choices[i].text);
        gram_free(g);
    }
    chat_close(c);
    json_decref(tools);
    json_decref(only);
    json_decref(schema);
}

static void refuses_calls_of_no_tool(void **state)
{
    (void)state;
    struct chat *c;
    struct errinfo e = {0};
    json_t *tools = json_loads(tools_text, 0, NULL), *only = json_pack("[s, s]", "add", "sub");
    struct chat_answer a = {.choice = CHAT_CALLS_AUTO, .parallel = true};
    assert_int_equal(chat_open(&c, SPAN(""), SPAN(""), SPAN(""), NULL, NULL), ERR_OK);
    assert_null(compile(c, &a)); /* nothing to keep to */
    struct str gbnf;
    bool needed;
    str_init(&gbnf, 1 << 20);
    a.choice = CHAT_CALLS_REQUIRED;
    assert_int_equal(chat_call_grammar(c, &a, &gbnf, NULL, &needed, &e), ERR_USAGE);
    a.tools = tools;
    a.only = only;
    assert_int_equal(chat_call_grammar(c, &a, &gbnf, NULL, &needed, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "'sub'"));
    str_done(&gbnf);
    chat_close(c);
    json_decref(tools);
    json_decref(only);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_understood),
        cmocka_unit_test(keeps_to_choices),
        cmocka_unit_test(refuses_calls_of_no_tool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
