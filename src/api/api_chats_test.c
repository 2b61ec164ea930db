/* SPDX-License-Identifier: MIT
 * What a chat becomes for a model, what a title becomes, and which options are known. */
#include "base/test.h"

#include "api/api_chats.h"
#include "base/num.h"

#include <string.h>

static json_t *parse(const char *text)
{
    json_t *o = json_loads(text, JSON_DECODE_ANY, NULL);
    if (!o)
        fail_msg("not JSON: %s", text);
    return o;
}

static void expect_json(json_t *got, const char *want)
{
    json_t *o = parse(want);
    if (!json_equal(got, o)) {
        char *text = json_dumps(got, JSON_COMPACT);
        fail_msg("%s\nis not %s", text, want);
    }
    json_decref(o);
    json_decref(got);
}

static struct store_message message(enum store_role role, const char *content)
{
    return (struct store_message){.role = role, .content = span_of(content)};
}

static json_t *messages_of(struct store_chats *x)
{
    x->settings = x->settings.p ? x->settings : SPAN("{}");
    json_t *body = api_chats_body(&(struct api_chats_ask){.x = x});
    json_t *messages = json_incref(json_object_get(body, "messages"));
    json_decref(body);
    return messages;
}

static void test_messages(void **state)
{
    (void)state;
    struct store_message m[] = {message(STORE_USER, "q"), message(STORE_ASSISTANT, "a"),
                                message(STORE_USER, "more"), message(STORE_ASSISTANT, "")};
    struct store_chats x = {.messages = m, .n_messages = 4, .instructions = ""};
    expect_json(messages_of(&x), "[{\"role\":\"user\",\"content\":\"q\"},"
                                 "{\"role\":\"assistant\",\"content\":\"a\"},"
                                 "{\"role\":\"user\",\"content\":\"more\"}]");
    /* an answer that failed leaves two turns of the user's, which are one */
    m[1].content = SPAN("");
    expect_json(messages_of(&x), "[{\"role\":\"user\",\"content\":\"q\\n\\nmore\"}]");
}

static void test_system(void **state)
{
    (void)state;
    struct store_message m[] = {message(STORE_USER, "q"), message(STORE_ASSISTANT, "")};
    struct store_chats x = {.messages = m, .n_messages = 2, .instructions = "folder"};
    x.settings = SPAN("{\"instructions\":\"own\",\"memory\":[{\"id\":\"1\",\"text\":\"tea\"},"
                      "{\"text\":\"\"},7,{\"text\":8},{\"text\":\"cats\"}]}");
    expect_json(messages_of(&x),
                "[{\"role\":\"system\",\"content\":\"own\\n\\nWhat is known of the user:\\n- tea\\n"
                "- cats\\n\\nfolder\"},{\"role\":\"user\",\"content\":\"q\"}]");
    x.settings = SPAN("{\"instructions\":7,\"memory\":{\"a\":1}}");
    x.instructions = "";
    expect_json(messages_of(&x), "[{\"role\":\"user\",\"content\":\"q\"}]");
}

static void test_files(void **state)
{
    (void)state;
    struct store_message m[] = {message(STORE_USER, "q"), message(STORE_ASSISTANT, "a"),
                                message(STORE_USER, ""), message(STORE_ASSISTANT, "")};
    struct store_file files[] = {
        {.name = "a.md", .type = "text/plain", .body = SPAN("```c\nx\n```\n````"), .message = 0},
        {.name = "b",    .type = "text/plain", .body = SPAN("two"),                .message = 2},
    };
    struct store_chats x = {
        .messages = m, .n_messages = 4, .instructions = "", .files = files, .n_files = 2};
    /* what a file has cannot end its fence */
    expect_json(
        messages_of(&x),
        "[{\"role\":\"user\",\"content\":\"File \\\"a.md\\\":\\n`````\\n```c\\nx\\n```\\n````\\n"
        "`````\\n\\nq\"},{\"role\":\"assistant\",\"content\":\"a\"},"
        "{\"role\":\"user\",\"content\":\"File \\\"b\\\":\\n```\\ntwo\\n```\\n\\n\"}]");
}

/* A model that sees pictures has them before the message's words; others are told of them. */
static void test_pictures(void **state)
{
    (void)state;
    struct store_message m[] = {message(STORE_USER, "q"), message(STORE_ASSISTANT, ""),
                                message(STORE_USER, "r"), message(STORE_ASSISTANT, "")};
    struct store_file files[] = {
        {.name = "a", .type = "image/png",  .body = SPAN("data:image/png;base64,aa"), .message = 0},
        {.name = "b", .type = "text/plain", .body = SPAN("data:image/png;base64,bb"), .message = 2},
    };
    struct store_chats x = {.messages = m,
                            .n_messages = 4,
                            .instructions = "",
                            .settings = SPAN("{}"),
                            .files = files,
                            .n_files = 2};
    json_t *body = api_chats_body(&(struct api_chats_ask){.x = &x, .sees = true});
    json_t *messages = json_incref(json_object_get(body, "messages"));
    json_t *title = api_chats_title_body(messages, SPAN("a"));
    expect_json(
        messages,
        "[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
        "\"data:image/png;base64,aa\"}},{\"type\":\"text\",\"text\":\"q\"},{\"type\":\"text\","
        "\"text\":\"File \\\"b\\\":\\n```\\ndata:image/png;base64,bb\\n```\\n\\nr\"}]}]");
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(title, "messages"), 0), "content")),
                        "q\n\nFile \"b\":\n```\ndata:image/png;base64,bb\n```\n\nr");
    json_decref(title);
    json_decref(body);
    x.n_messages = 2;
    x.n_files = 1;
    expect_json(messages_of(&x), "[{\"role\":\"user\",\"content\":\"[Here is a picture, "
                                 "\\\"a\\\", which you cannot see.]\\n\\nq\"}]");
}

/* A file of which a part is read says so. */
static void test_kept(void **state)
{
    (void)state;
    struct store_message m[] = {message(STORE_USER, "q"), message(STORE_ASSISTANT, "")};
    struct store_file files[] = {
        {.name = "a", .type = "text/plain", .body = SPAN("0123456789"), .message = 0},
        {.name = "b", .type = "text/plain", .body = SPAN("x"),          .message = 0},
    };
    struct store_chats x = {.messages = m,
                            .n_messages = 2,
                            .instructions = "",
                            .settings = SPAN("{}"),
                            .files = files,
                            .n_files = 2};
    const struct api_chats_ask a = {
        .x = &x, .kept = (const size_t[]){4, 0}
    };
    json_t *body = api_chats_body(&a);
    expect_json(
        json_incref(json_object_get(body, "messages")),
        "[{\"role\":\"user\",\"content\":\"File \\\"a\\\" (too long: only its first 40 % "
        "are here):\\n```\\n0123\\n[The file goes on, but the rest is not here.]\\n```\\n\\n"
        "File \\\"b\\\":\\n```\\nx\\n```\\n\\nq\"}]");
    json_decref(body);
}

/* Rounds of calls come where they were made; what came of each follows. */
static void test_calls(void **state)
{
    (void)state;
    struct store_message m[] = {message(STORE_USER, "q"),
                                message(STORE_ASSISTANT, "I lookso it is"),
                                message(STORE_USER, "more"), message(STORE_ASSISTANT, "well")};
    m[1].calls =
        "[{\"id\":\"1\",\"tool\":\"s__a\",\"arguments\":\"{}\",\"at\":6,\"round\":1,"
        "\"state\":\"done\",\"result\":\"r1\",\"bytes\":9},"
        "{\"id\":\"2\",\"tool\":\"s__b\",\"arguments\":\"{\\\"x\\\":1}\",\"at\":6,\"round\":1,"
        "\"state\":\"refused\"},"
        "{\"id\":\"3\",\"tool\":\"s__a\",\"arguments\":\"{}\",\"at\":6,\"round\":2,"
        "\"state\":\"failed\",\"result\":\"gone\",\"bytes\":4}]";
    struct store_chats x = {.messages = m, .n_messages = 4, .instructions = ""};
#define CALL(id, name, arguments)                                                                  \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name                      \
    "\",\"arguments\":\"" arguments "\"}}"
#define RESULT(id, text) "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"" text "\"},"
    expect_json(messages_of(&x),
                "[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"I "
                "look\","
                "\"tool_calls\":[" CALL("1", "s__a", "{}") "," CALL(
                    "2", "s__b", "{\\\"x\\\":1}") "]}," RESULT("1",
                                                               "r1\\n[The result is cut here: "
                                                               "these are the first 2 of 9 bytes.]")
                    RESULT("2", "The user refused this call. Do not make it again; go on without "
                                "it.") "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":"
                                       "[" CALL("3", "s__a", "{}") "]}," RESULT(
                                           "3", "Error: gone") "{\"role\":\"assistant\","
                                                               "\"content\":\"so it is\"},"
                                                               "{\"role\":\"user\",\"content\":"
                                                               "\"more\"}]");
    json_t *calls = parse(m[1].calls);
    assert_true(span_eq_cstr(api_calls_tail(calls, m[1].content), "so it is"));
    assert_true(span_eq_cstr(api_calls_tail(NULL, m[1].content), "I lookso it is"));
    /* of content that was edited since: between characters, within it */
    assert_true(span_eq_cstr(api_calls_tail(calls, SPAN("가")), ""));
    assert_true(span_eq_cstr(api_calls_tail(calls, SPAN("ab가나")), "나"));
    json_decref(calls);
    struct str text;
    str_init(&text, 4096);
    api_calls_markdown(&m[1], &text);
    assert_true(span_starts(str_span(&text), SPAN("I look\n\n**s")) ||
                span_starts(str_span(&text), SPAN("I look\n\n**:")));
    assert_true(span_ends(str_span(&text), SPAN("so it is")));
    str_clear(&text);
    m[1].content = SPAN("ab가나");
    json_decref(messages_of(&x));
    api_calls_markdown(&m[1], &text);
    assert_true(utf8_valid(str_span(&text)));
    str_done(&text);
}

static void test_decide(void **state)
{
    (void)state;
    struct api_fault f = {0};
    bool waits;
    json_t *calls = parse("[{\"id\":\"1\",\"tool\":\"a\",\"state\":\"asked\"},"
                          "{\"id\":\"2\",\"tool\":\"b\",\"state\":\"asked\"},"
                          "{\"id\":\"3\",\"tool\":\"b\",\"state\":\"asked\"}]");
    assert_true(api_calls_decide(calls, "1", API_ALLOW_NO, &waits, &f));
    assert_true(waits);
    assert_false(api_calls_decide(calls, "1", API_ALLOW_ONCE, &waits, &f));
    assert_int_equal(f.status, 409);
    f = (struct api_fault){0};
    assert_false(api_calls_decide(calls, "9", API_ALLOW_ONCE, &waits, &f));
    assert_int_equal(f.status, 404);
    f = (struct api_fault){0};
    assert_true(api_calls_decide(calls, "2", API_ALLOW_ALWAYS, &waits, &f)); /* and 3 with it */
    assert_false(waits);
    expect_json(calls, "[{\"id\":\"1\",\"tool\":\"a\",\"state\":\"refused\"},"
                       "{\"id\":\"2\",\"tool\":\"b\",\"state\":\"allowed\"},"
                       "{\"id\":\"3\",\"tool\":\"b\",\"state\":\"allowed\"}]");
}

static void test_options(void **state)
{
    (void)state;
    struct api_fault f = {0};
    json_t *body = json_object();
    json_t *o = parse("{\"temperature\":1,\"top_p\":null,\"json_schema\":{\"type\":\"object\"}}");
    assert_true(api_chats_options(o, body, &f));
    assert_true(api_chats_options(NULL, body, &f));
    json_decref(o);
    expect_json(body, "{\"temperature\":1,\"response_format\":{\"type\":\"json_schema\","
                      "\"json_schema\":{\"name\":\"answer\",\"schema\":{\"type\":\"object\"}}}}");
    static const char *const choices[][2] = {
        {"\"auto\"", "{\"tool_choice\":\"auto\"}"                                                },
        {"\"s__x\"", "{\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"s__x\"}}}"},
    };
    for (size_t i = 0; i < N_ELEMS(choices); i++) {
        body = json_object();
        o = json_pack("{so}", "tool_choice", parse(choices[i][0]));
        assert_true(api_chats_options(o, body, &f));
        json_decref(o);
        expect_json(body, choices[i][1]);
    }
    o = parse("{\"messages\":[]}");
    body = json_object();
    assert_false(api_chats_options(o, body, &f));
    assert_int_equal(f.status, 400);
    assert_non_null(strstr(f.text, "messages"));
    json_decref(o);
    json_decref(body);
}

static void test_titles(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"Capital of France",          "Capital of France"},
        {"  \"Capital of France.\"\n", "Capital of France"},
        {"**Title: Tea**\nand more",   "Tea"              },
        {"제목: 서울 여행",      "서울 여행"    },
        {"\n\n# 서울\n",             "서울"           },
        {"a\tb\x01",                   "a b "             },
        {"",                           ""                 },
        {"\"'\n. ",                    ""                 },
        {"What is it?",                "What is it?"      },
    };
    struct str out;
    str_init(&out, 1000);
    for (size_t i = 0; i < N_ELEMS(cases); i++) {
        str_clear(&out);
        api_chats_title(span_of(cases[i][0]), &out);
        assert_string_equal(out.n ? out.p : "", cases[i][1]);
    }
    str_clear(&out); /* cut between characters, and said so */
    struct str text;
    str_init(&text, 1000);
    for (int i = 0; i < 100; i++)
        str_add_cstr(&text, "가");
    api_chats_title(str_span(&text), &out);
    assert_int_equal(out.n, 90 + 3);
    assert_true(utf8_valid(str_span(&out)) && span_ends(str_span(&out), SPAN("…")));
    str_done(&text);
    str_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages), cmocka_unit_test(test_system),
        cmocka_unit_test(test_files),    cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_kept),     cmocka_unit_test(test_calls),
        cmocka_unit_test(test_decide),   cmocka_unit_test(test_options),
        cmocka_unit_test(test_titles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
