/* SPDX-License-Identifier: MIT
 * JSON in and out: readers refuse by name, bodies are bounded, what is written is read back. */
#include "base/test.h"

#include "api/api_json.h"
#include "base/arena.h"
#include "base/num.h"

#include <malloc.h>
#include <string.h>

static json_t *parse(const char *text, struct api_fault *f)
{
    *f = (struct api_fault){0};
    return api_json_parse(span_of(text), f);
}

static json_t *good(const char *text)
{
    struct api_fault f;
    json_t *o = parse(text, &f);
    if (!o)
        fail_msg("%s: %s", text, f.text);
    return o;
}

/* n times a text, between two others. */
static struct span many(struct str *s, const char *head, const char *unit, size_t n,
                        const char *tail)
{
    str_init(s, (size_t)64 << 20);
    str_add_cstr(s, head);
    for (size_t i = 0; i < n; i++)
        str_add_cstr(s, unit);
    str_add_cstr(s, tail);
    return str_span(s);
}

static void test_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *body, *words;
    } rows[] = {
        {"",                             "has no body"     },
        {"[1]",                          "not an object"   },
        {"7",                            "not JSON"        },
        {"{\"a\":1",                     "line 1, column 6"},
        {"{\"a\":1}x",                   "not JSON"        },
        {"{\"a\":1,\"a\":2}",            "duplicate"       },
        {"{\n\"a\":}",                   "line 2, column 5"},
        {"{\"a\":\"\xff\"}",             "not JSON"        },
        {"{\"a\":1e999}",                "not JSON"        },
        {"{\"a\":99999999999999999999}", "not JSON"        },
        {"{\"a\":\"\\ud800\"}",          "not JSON"        },
        {"{\"a\\u0000b\":1}",            "not JSON"        },
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct api_fault f;
        assert_null(parse(rows[i].body, &f));
        if (f.status != 400 || !strstr(f.text, rows[i].words))
            fail_msg("%s: %d %s", rows[i].body, f.status, f.text);
        assert_true(utf8_valid(span_of(f.text)));
    }
    json_decref(good("{\"a\":\"\\u0000\"}"));
}

static void test_depth(void **state)
{
    (void)state;
    struct api_fault f = {0};
    struct str s, t;
    many(&s, "{\"a\":", "[", 2000, "");
    many(&t, "", "]", 2000, "}");
    str_add_span(&s, str_span(&t));
    json_t *o = api_json_parse(str_span(&s), &f);
    assert_non_null(o);
    json_t *copy = json_deep_copy(o); /* as deep as it can be: the stack holds it */
    assert_true(json_equal(o, copy));
    struct str out;
    str_init(&out, 65536);
    api_json_add(&out, copy);
    assert_true(span_eq(str_span(&out), str_span(&s)));
    json_decref(o);
    str_done(&out);
    str_done(&s);
    str_done(&t);
    assert_null(api_json_parse(many(&s, "{\"a\":", "[", 3000000, ""), &f));
    assert_int_equal(f.status, 413);
    str_done(&s);
    f = (struct api_fault){0};
    assert_null(api_json_parse(many(&s, "{\"a\":", "[", 100000, ""), &f));
    assert_int_equal(f.status, 400);
    str_done(&s);
}

#if !DAMSO_SANITIZED
/* What is counted for values of every kind, against what the allocator gives. */
static void test_bytes_are_no_guess(void **state)
{
    (void)state;
    static const char *const units[] = {
        "1,",
        "1.5,",
        "\"\",",
        "\"abcdefgh\",",
        "[],",
        "{},",
        "[1],",
        "{\"a\":1},",
        "[[[]]],",
        "{\"a\":{\"b\":{}}},",
        "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8},",
    };
    for (size_t i = 0; i < N_ELEMS(units); i++) {
        struct str s;
        struct api_fault f = {0};
        struct span text = many(&s, "{\"a\":[", units[i], 20000, "0]}");
        size_t counted = api_json_bytes(text);
        struct mallinfo2 before = mallinfo2();
        json_t *o = api_json_parse(text, &f);
        struct mallinfo2 after = mallinfo2();
        assert_non_null(o);
        size_t took = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
        printf("%-20.20s counted %zu KiB, took %zu KiB\n", units[i], counted >> 10, took >> 10);
        assert_true(took <= counted + counted / 4 && counted <= 3 * took);
        json_decref(o);
        str_done(&s);
    }
}
#endif

static void test_bytes_of_strings(void **state)
{
    (void)state;
    size_t plain = api_json_bytes(SPAN("{\"a\":\"\"}"));
    assert_int_equal(api_json_bytes(SPAN("{\"a\":\"[{,:\\\"[[[\\\\\"}")), plain);
    assert_true(api_json_bytes(SPAN("{\"a\":\"\\\\\",\"b\":[]}")) > plain + 48 + 96);
    assert_int_equal(api_json_bytes(SPAN("")), 0);
    assert_int_equal(api_json_bytes(SPAN("\"\\")), api_json_bytes(SPAN("\"")));
}

/* ---- readers ---- */

static struct api_in in_of(json_t *o, struct api_fault *f)
{
    *f = (struct api_fault){0};
    return (struct api_in){o, "messages[2].", f};
}

static void assert_refused(bool ok, const struct api_fault *f, const char *words)
{
    assert_false(ok);
    assert_int_equal(f->status, 400);
    assert_string_equal(f->param, "messages[2].x");
    if (!strstr(f->text, words))
        fail_msg("%s does not say %s", f->text, words);
}

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int64_t min, max, want;
        const char *words; /* NULL: fine */
    } rows[] = {
        {"{}",                             0,         9,             77,        NULL        },
        {"{\"x\":null}",                   0,         9,             77,        NULL        },
        {"{\"x\":0}",                      0,         9,             0,         NULL        },
        {"{\"x\":9}",                      0,         9,             9,         NULL        },
        {"{\"x\":9.0}",                    0,         9,             9,         NULL        },
        {"{\"x\":10}",                     0,         9,             0,         "0 to 9"    },
        {"{\"x\":-1}",                     0,         9,             0,         "0 to 9"    },
        {"{\"x\":1.5}",                    0,         9,             0,         "an integer"},
        {"{\"x\":\"1\"}",                  0,         9,             0,         "an integer"},
        {"{\"x\":true}",                   0,         9,             0,         "an integer"},
        {"{\"x\":1e300}",                  INT64_MIN, INT64_MAX,     0,         "outside"   },
        {"{\"x\":9223372036854775808.0}",  INT64_MIN, INT64_MAX,     0,         "outside"   },
        {"{\"x\":-9223372036854775808.0}", INT64_MIN, INT64_MAX,     INT64_MIN, NULL        },
        {"{\"x\":9223372036854775807}",    INT64_MIN, INT64_MAX,     INT64_MAX, NULL        },
        {"{\"x\":9223372036854775807}",    0,         INT64_MAX - 1, 0,         "outside"   },
        {"{\"x\":-9223372036854775808}",   INT64_MIN, INT64_MAX,     INT64_MIN, NULL        },
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct api_fault f;
        json_t *o = good(rows[i].body);
        const struct api_in in = in_of(o, &f);
        int64_t x = 77;
        bool ok = api_get_int(&in, "x", rows[i].min, rows[i].max, &x);
        if (rows[i].words)
            assert_refused(ok, &f, rows[i].words);
        else
            assert_true(ok && x == rows[i].want);
        json_decref(o);
    }
}

static void test_reals(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        double want;
        const char *words;
    } rows[] = {
        {"{}",            77,  NULL      },
        {"{\"x\":0}",     0,   NULL      },
        {"{\"x\":2}",     2,   NULL      },
        {"{\"x\":0.5}",   0.5, NULL      },
        {"{\"x\":2.001}", 0,   "0 to 2"  },
        {"{\"x\":-1e-9}", 0,   "0 to 2"  },
        {"{\"x\":\"1\"}", 0,   "a number"},
        {"{\"x\":[1]}",   0,   "a number"},
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct api_fault f;
        json_t *o = good(rows[i].body);
        const struct api_in in = in_of(o, &f);
        double x = 77;
        bool ok = api_get_real(&in, "x", 0, 2, &x);
        if (rows[i].words)
            assert_refused(ok, &f, rows[i].words);
        else
            assert_true(ok && x == rows[i].want);
        json_decref(o);
    }
}

static void test_other_kinds(void **state)
{
    (void)state;
    struct api_fault f;
    bool b = true;
    const char *text = "old";
    json_t *sub = NULL;
    json_t *o = good("{\"x\":5,\"t\":\"text\",\"f\":false,\"nul\":\"a\\u0000b\",\"o\":{},\"a\":[],"
                     "\"n\":null}");
    const struct api_in in = in_of(o, &f);
    assert_true(api_get_bool(&in, "f", &b) && !b);
    assert_true(api_get_bool(&in, "n", &b) && !b);
    assert_true(api_get_text(&in, "n", &text) && strcmp(text, "old") == 0);
    assert_true(api_get_text(&in, "t", &text) && strcmp(text, "text") == 0);
    assert_true(api_get_object(&in, "n", &sub) && !sub);
    assert_true(api_get_object(&in, "o", &sub) && json_is_object(sub));
    assert_true(api_get_array(&in, "a", &sub) && json_is_array(sub));
    assert_null(api_get_any(&in, "n"));
    assert_null(api_get_any(&in, "absent"));
    assert_refused(api_get_bool(&in, "x", &b), &f, "true or false");
    f = (struct api_fault){0};
    assert_refused(api_get_text(&in, "x", &text), &f, "a string");
    f = (struct api_fault){0};
    assert_refused(api_get_object(&in, "x", &sub), &f, "an object");
    f = (struct api_fault){0};
    assert_refused(api_get_array(&in, "x", &sub), &f, "an array");
    f = (struct api_fault){0};
    assert_false(api_get_text(&in, "nul", &text));
    assert_string_equal(f.param, "messages[2].nul");
    json_decref(o);
}

static void test_written_and_read(void **state)
{
    (void)state;
    struct str out;
    str_init(&out, 4096);
    api_json_event(&out, "a.b",
                   api_pack("{soss}", "x", api_json_text(SPAN("a\0\n\"\xe2\x82\xac")), "y", ""));
    assert_string_equal(out.p,
                        "event: a.b\ndata: {\"x\":\"a\\u0000\\n\\\"\xe2\x82\xac\",\"y\":\"\"}"
                        "\n\n");
    str_clear(&out);
    api_json_event(&out, NULL, json_real(0.1));
    assert_string_equal(out.p, "data: 0.1\n\n");
    str_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_depth),
#if !DAMSO_SANITIZED
        cmocka_unit_test(test_bytes_are_no_guess),
#endif
        cmocka_unit_test(test_bytes_of_strings),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_reals),
        cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_written_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
