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
    if (chat_open(&c, span_of(source), SPAN("<s>"), SPAN("</s>"), &e) != ERR_OK)
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
        "{{ bos_token }}{{ eos_token }}{{ tools|tojson if tools else 'none' }}{{ extra }}");
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
    assert_int_equal(chat_open(&c, SPAN("{% if %}"), SPAN(""), SPAN(""), &e), ERR_TEMPLATE);
    assert_null(c);
    assert_int_equal(chat_open(&c, SPAN("x"), SPAN("\xff"), SPAN(""), &e), ERR_CORRUPT);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_a_conversation),
        cmocka_unit_test(folds_the_system_text),
        cmocka_unit_test(makes_parts),
        cmocka_unit_test(works_without_a_template),
        cmocka_unit_test(opens_what_probes_cannot_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
