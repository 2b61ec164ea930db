/* SPDX-License-Identifier: MIT */
#include "chat/chat.h"

#include "base/test.h"

#define CHATML                                                                                     \
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"                         \
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"

static const char talk[] = "[{\"role\": \"system\", \"content\": \"Be kind.\"},"
                           " {\"role\": \"user\", \"content\": \"안녕\"}]";

static struct chat *open_chat(const char *source)
{
    struct chat *c;
    struct errinfo e = {0};
    if (chat_open(&c, span_of(source), SPAN("<s>"), SPAN("</s>"), NULL, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return c;
}

static void expect(const struct chat *c, const char *messages, const char *tools,
                   const char *kwargs, bool prompt, const char *want)
{
    json_t *m = json_loads(messages, 0, NULL);
    json_t *t = tools ? json_loads(tools, 0, NULL) : NULL;
    json_t *k = kwargs ? json_loads(kwargs, 0, NULL) : NULL;
    struct str out;
    struct errinfo e = {0};
    assert_non_null(m);
    str_init(&out, 1 << 20);
    enum err rc = chat_render(c, m, t, k, prompt, 0, &out, &e);
    if (rc != ERR_OK && want)
        fail_msg("%s", e.text);
    if (want)
        assert_string_equal(out.p, want);
    else
        assert_int_equal(rc, ERR_TEMPLATE);
    str_done(&out);
    json_decref(m);
    json_decref(t);
    json_decref(k);
}

static void renders_a_conversation(void **state)
{
    (void)state;
    struct chat *c = open_chat(CHATML);
    assert_true(chat_has_template(c));
    assert_true(chat_takes_system(c));
    assert_false(chat_takes_tools(c));
    assert_false(chat_wants_parts(c));
    expect(c, talk, NULL, NULL, true, "<|system|>Be kind.\n<|user|>안녕\n<|assistant|>");
    expect(c, talk, NULL, NULL, false, "<|system|>Be kind.\n<|user|>안녕\n");
    /* parts become a string, null becomes an empty one */
    expect(
        c,
        "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"},"
        " {\"type\": \"text\", \"text\": \"b\"}]}, {\"role\": \"assistant\", \"content\": null}]",
        NULL, NULL, false, "<|user|>a\nb\n<|assistant|>\n");
    expect(c, "{}", NULL, NULL, false, NULL);
    expect(c, "[1]", NULL, NULL, false, NULL);
    chat_close(c);
    c = open_chat(
        "{# <tool_call> #}{{ bos_token }}{{ eos_token }}{{ tools|tojson if tools else 'none' }}"
        "{{ extra }}");
    assert_true(chat_takes_tools(c));
    expect(c, talk, "[1]", "{\"extra\": \"x\", \"eos_token\": \"E\"}", false, "<s>E[1]x");
    expect(c, talk, NULL, NULL, false, "<s></s>none");
    chat_close(c);
}

static void folds_the_system_text(void **state)
{
    (void)state;
    struct chat *c = open_chat(
        "{% if messages[0].role == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}" CHATML);
    assert_false(chat_takes_system(c));
    expect(c, talk, NULL, NULL, true, "<|user|>Be kind.\n\n안녕\n<|assistant|>");
    expect(c, "[{\"role\": \"system\", \"content\": \"S\"}]", NULL, NULL, false, "<|user|>S\n");
    chat_close(c);
    /* a template that drops it silently is helped as well */
    c = open_chat("{% for m in messages %}{% if m.role != 'system' %}<{{ m.content }}>{% endif %}"
                  "{% endfor %}");
    assert_false(chat_takes_system(c));
    expect(c, talk, NULL, NULL, true, "<Be kind.\n\n안녕>");
    chat_close(c);
}

static void makes_parts(void **state)
{
    (void)state;
    struct chat *c = open_chat("{% for m in messages %}[{{ m.role }}]{% for p in m.content %}"
                               "{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}"
                               "{% endfor %}");
    assert_true(chat_wants_parts(c));
    assert_true(chat_takes_system(c));
    expect(c, talk, NULL, NULL, true, "[system]Be kind.[user]안녕");
    expect(c,
           "[{\"role\": \"user\", \"content\": [{\"type\": \"image\"},"
           " {\"type\": \"text\", \"text\": \"b\"}]}]",
           NULL, NULL, false, "[user]b");
    chat_close(c);
}

static void works_without_a_template(void **state)
{
    (void)state;
    struct chat *c = open_chat("");
    assert_false(chat_has_template(c));
    expect(c, talk, NULL, NULL, true, "Be kind.\n\nUser: 안녕\n\nAssistant:");
    expect(c,
           "[{\"role\": \"tool\", \"content\": \"4\"}, {\"role\": \"assistant\","
           " \"content\": \"it is 4\"}]",
           NULL, NULL, false, "Tool: 4\n\nAssistant: it is 4\n\n");
    chat_close(c);
}

static const char add_tool[] = "[{\"type\": \"function\", \"function\": {\"name\": \"add\"}}]";
static const char call_talk[] =
    "[{\"role\": \"user\", \"content\": \"1+1?\"}, {\"role\": \"assistant\", \"content\": null,"
    " \"tool_calls\": [{\"id\": \"x\", \"type\": \"function\", \"function\": {\"name\": \"add\","
    " \"arguments\": \"{\\\"a\\\": 1}\"}}]}, {\"role\": \"tool\", \"content\": \"2\"},"
    " {\"role\": \"tool\", \"content\": \"3\"}]";

static void tells_of_tools(void **state)
{
    (void)state;
    struct chat *c = open_chat(CHATML);
    assert_string_equal(chat_syntax_name(c), "generic");
    expect(c, talk, add_tool, NULL, true,
           "<|system|>Be kind.\n\n"
           "You can call these functions, each given as JSON with its name, what it does and the "
           "schema of its arguments:\n{\"name\": \"add\"}\n\n"
           "To call one, write exactly this, and nothing after it:\n"
           "<tool_call>\n{\"name\": \"NAME\", \"arguments\": {...}}\n</tool_call>\n"
           "For several calls write this several times. When no function is needed, answer as "
           "usual.\n<|user|>안녕\n<|assistant|>");
    expect(
        c, call_talk, NULL, NULL, false,
        "<|user|>1+1?\n<|assistant|><tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n"
        "</tool_call>\n<|user|><tool_response>\n2\n</tool_response>\n<tool_response>\n3\n"
        "</tool_response>\n");
    chat_close(c);
}

#define CALLS(before, args, after)                                                                 \
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for t in m.tool_calls or [] %}"      \
    "{% set f = t.function %}" before "{{ f.name }}" args after "{% endfor %}\n{% endfor %}"       \
    "{{ tools or '' }}"

static void finds_the_syntax(void **state)
{
    (void)state;
    static const struct {
        const char *source, *name, *rendered;
    } rows[] = {
        {CALLS("<tool_call>\n{\"name\": \"",                                           "\", \"arguments\": {{ f.arguments|tojson }}}",
         "\n</tool_call>"),
         "hermes", "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>"},
        {CALLS("[TOOL_CALLS]", "[ARGS]{{ f.arguments|tojson }}",                                               ""),                                                                                                         "mistral_args",
         "[TOOL_CALLS]add[ARGS]{\"a\": 1}"},
        {CALLS("",                                                                         "",                                                           "{{ {'name': f.name, 'parameters': f.arguments}|tojson }}"),                                                                                                                                                                           "generic",
         NULL},
        {CALLS("<tool_call>\n<function=",                                                                     ">",
         "{% for k, v in f.arguments.items() %}\n<parameter={{ k }}>\n{{ v }}\n</parameter>"
               "{% endfor %}\n</function>\n</tool_call>"),
         "qwen3_coder", "<tool_call>\n<function=add><parameter=a>\n1\n</parameter></function>\n</tool_call>"},
        {CALLS("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>",
         "<｜tool▁sep｜>{{ f.arguments + '' }}",                                                                                                                       "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
         "deepseek_v31", "<｜tool▁sep｜>{\"a\": 1}<｜tool▁call▁end｜>"},
        {"{% for m in messages %}<|{{ m.role }}|>{% if m.tool_calls %}{\"name\": "
         "{{ m.tool_calls[0].function.name|tojson }}, \"parameters\": "
         "{{ m.tool_calls[0].function.arguments|tojson }}}{% else %}{{ m.content }}{% endif %}"
         "{% endfor %}{{ tools or '' }}",                             "llama3",                                                                                                                "{\"name\": \"add\", \"parameters\": {\"a\": 1}}"                                                                                                        },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct chat *c = open_chat(rows[i].source);
        json_t *m = json_loads(call_talk, 0, NULL);
        struct str out;
        assert_string_equal(chat_syntax_name(c), rows[i].name);
        str_init(&out, 1 << 20);
        assert_int_equal(chat_render(c, m, NULL, NULL, false, 0, &out, NULL), ERR_OK);
        if (rows[i].rendered && span_find(str_span(&out), span_of(rows[i].rendered), 0) == SIZE_MAX)
            fail_msg("%s is not in %s", rows[i].rendered, out.p);
        str_done(&out);
        json_decref(m);
        chat_close(c);
    }
    struct chat *c = open_chat("{% if enable_thinking is defined and not enable_thinking %}x"
                               "{% endif %}<think>");
    assert_int_equal(chat_switches(c), CHAT_ENABLE_THINKING);
    assert_true(chat_reasons(c));
    assert_int_equal(chat_prompt_reasoning(c, SPAN("a<think>\n")), CHAT_REASONING_OPEN);
    assert_int_equal(chat_prompt_reasoning(c, SPAN("<think>\n</think>\n")), CHAT_REASONING_CLOSED);
    assert_int_equal(chat_prompt_reasoning(c, SPAN("<think>x")), CHAT_REASONING_NONE);
    chat_close(c);
    c = open_chat("{{ reasoning_effort }}{# thinking #}");
    assert_int_equal(chat_switches(c), CHAT_REASONING_EFFORT);
    assert_false(chat_reasons(c));
    assert_int_equal(chat_use_syntax(c, SPAN("none"), NULL), ERR_USAGE);
    chat_close(c);
}

static void opens_what_probes_cannot_use(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "{{ raise_exception('always') }}",
        "{{ messages.x.y }}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "plain text",
        "{{ documents[0].title }}",
        "{{ messages[3].content }}",
    };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct chat *c = open_chat(odd[i]);
        assert_true(chat_takes_system(c)); /* its own error is more useful than our help */
        chat_close(c);
    }
    struct chat *c;
    struct errinfo e = {0};
    assert_int_equal(chat_open(&c, SPAN("{% if %}"), SPAN(""), SPAN(""), NULL, &e), ERR_TEMPLATE);
    assert_null(c);
    assert_int_equal(chat_open(&c, SPAN("x"), SPAN("\xff"), SPAN(""), NULL, &e), ERR_CORRUPT);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_a_conversation),
        cmocka_unit_test(folds_the_system_text),
        cmocka_unit_test(makes_parts),
        cmocka_unit_test(works_without_a_template),
        cmocka_unit_test(tells_of_tools),
        cmocka_unit_test(finds_the_syntax),
        cmocka_unit_test(opens_what_probes_cannot_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
