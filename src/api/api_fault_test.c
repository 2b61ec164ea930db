/* SPDX-License-Identifier: MIT
 * Faults: their bodies in each API's form, and texts that stay UTF-8 wherever they are cut. */
#include "base/test.h"

#include "api/api_fault.h"
#include "api/api_json.h"
#include "base/num.h"

#include <string.h>

static const enum api_dialect dialects[] = {API_OPENAI, API_ANTHROPIC, API_OLLAMA};

static json_t *body_of(const struct api_fault *f, enum api_dialect dialect)
{
    struct str out;
    str_init(&out, 65536);
    api_fault_body(f, dialect, &out);
    json_t *o = json_loadb(out.p, out.n, 0, NULL);
    assert_non_null(o);
    str_done(&out);
    return o;
}

static void assert_json(json_t *o, const char *want)
{
    json_t *w = json_loads(want, 0, NULL);
    assert_non_null(w);
    if (!json_equal(o, w))
        fail_msg("%s is not %s", json_dumps(o, JSON_COMPACT), want);
    json_decref(w);
    json_decref(o);
}

static void test_dialects(void **state)
{
    (void)state;
    struct api_fault f = {0};
    assert_false(api_refuse(&f, 400, "invalid_value", "n", "n: %d is too \"much\"", 9));
    assert_json(body_of(&f, API_OPENAI),
                "{\"error\":{\"message\":\"n: 9 is too \\\"much\\\"\",\"param\":\"n\","
                "\"type\":\"invalid_request_error\",\"code\":\"invalid_value\"}}");
    assert_json(body_of(&f, API_ANTHROPIC),
                "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\","
                "\"message\":\"n: 9 is too \\\"much\\\"\"}}");
    assert_json(body_of(&f, API_OLLAMA), "{\"error\":\"n: 9 is too \\\"much\\\"\"}");
    f = (struct api_fault){0};
    api_refuse(&f, 500, NULL, NULL, "it broke");
    assert_json(body_of(&f, API_OPENAI), "{\"error\":{\"message\":\"it broke\",\"param\":null,"
                                         "\"type\":\"server_error\",\"code\":null}}");
}

static void test_types(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *openai, *anthropic;
    } rows[] = {
        {400, "invalid_request_error", "invalid_request_error"},
        {401, "authentication_error",  "authentication_error" },
        {403, "permission_error",      "permission_error"     },
        {404, "invalid_request_error", "not_found_error"      },
        {413, "invalid_request_error", "request_too_large"    },
        {429, "rate_limit_error",      "rate_limit_error"     },
        {500, "server_error",          "api_error"            },
        {501, "server_error",          "api_error"            },
        {503, "overloaded_error",      "overloaded_error"     },
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct api_fault f = {0};
        api_refuse(&f, rows[i].status, "", "", "no");
        assert_string_equal(api_fault_type(rows[i].status), rows[i].openai);
        json_t *o = body_of(&f, API_ANTHROPIC), *in = json_object_get(o, "error");
        assert_string_equal(json_string_value(json_object_get(in, "type")), rows[i].anthropic);
        assert_int_equal(f.retry_s, rows[i].status == 429 || rows[i].status == 503);
        json_decref(o);
    }
}

static void test_the_first_fault_stays(void **state)
{
    (void)state;
    struct api_fault f = {0};
    api_refuse(&f, 404, "a", "b", "first");
    assert_false(api_refuse(&f, 503, "c", "d", "second"));
    assert_int_equal(f.status, 404);
    assert_int_equal(f.retry_s, 0);
    assert_string_equal(f.text, "first");
    assert_string_equal(f.param, "b");
}

static void test_events(void **state)
{
    (void)state;
    static const struct {
        enum err code;
        int status;
        const char *name;
    } rows[] = {
        {ERR_CONTEXT,     400, "context_length_exceeded"},
        {ERR_BUSY,        503, "queue_full"             },
        {ERR_CANCELLED,   503, "shutting_down"          },
        {ERR_UNSUPPORTED, 400, ""                       },
        {ERR_TEMPLATE,    400, ""                       },
        {ERR_CORRUPT,     400, ""                       },
        {ERR_TOOBIG,      413, ""                       },
        {ERR_IO,          500, ""                       },
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct api_fault f = {0};
        struct errinfo e;
        (void)err_set(&e, rows[i].code, "what happened");
        assert_false(api_refuse_err(&f, "input", &e));
        assert_int_equal(f.status, rows[i].status);
        assert_string_equal(f.code, rows[i].name);
        assert_string_equal(f.param, "input");
        assert_string_equal(f.text, "what happened");
    }
}

static void test_the_store_is_not_shown(void **state)
{
    (void)state;
    static const struct {
        enum err code;
        int status;
        bool shown;
    } rows[] = {
        {ERR_IO,       500, false},
        {ERR_FAILED,   500, false},
        {ERR_CORRUPT,  500, false},
        {ERR_MEMORY,   507, false},
        {ERR_BUSY,     503, false},
        {ERR_USAGE,    400, true },
        {ERR_NOTFOUND, 404, true },
        {ERR_TOOBIG,   413, true },
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct api_fault f = {0};
        struct errinfo e;
        (void)err_set(&e, rows[i].code, "postgres://user@host/db: the disk is full");
        assert_false(api_refuse_store(&f, &e));
        assert_int_equal(f.status, rows[i].status);
        assert_true(*f.text && (strstr(f.text, "postgres") != NULL) == rows[i].shown);
    }
}

/* A format's precision and the room of a fault count bytes, so both may cut a character. */
static void test_cut_characters(void **state)
{
    (void)state;
    char text[700];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'a', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 4)
            memcpy(text + i, "\xf0\x9f\x98\x80", 5);
        for (int cut = 0; cut < 40; cut++) {
            struct api_fault f = {0};
            api_refuse(&f, 400, "", text, "\"%.*s\" is not here", cut, text);
            assert_true(utf8_valid(span_of(f.text)) && utf8_valid(span_of(f.param)));
            assert_non_null(strstr(f.text, "\" is not here"));
            for (size_t i = 0; i < N_ELEMS(dialects); i++)
                json_decref(body_of(&f, dialects[i]));
        }
        struct api_fault f = {0};
        api_refuse(&f, 400, "", "", "%s", text);
        assert_true(utf8_valid(span_of(f.text)));
        assert_true(strlen(f.text) > sizeof f.text - 5);
        json_decref(body_of(&f, API_OPENAI));
    }
    struct api_fault f = {0};
    char bad[600];
    memset(bad, '\xff', sizeof bad - 1);
    bad[sizeof bad - 1] = '\0';
    api_refuse(&f, 400, "", bad, "%s", bad);
    assert_true(utf8_valid(span_of(f.text)) && utf8_valid(span_of(f.param)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dialects),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_the_first_fault_stays),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_the_store_is_not_shown),
        cmocka_unit_test(test_cut_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
