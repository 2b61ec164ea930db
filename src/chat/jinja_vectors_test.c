/* SPDX-License-Identifier: MIT
 * jinja_vectors_test.c - every case that Python's jinja2 rendered (tools/jinja_vectors.py), to the
 * byte; where it raised an error, so must we.  DAMSO_VECTORS names another file of cases. */
#include "base/test.h"
#include "chat/jinja.h"

#include <jansson.h>

static const char *run_case(const json_t *vars, const json_t *x, struct str *out, struct errinfo *e)
{
    const json_t *tpl = json_object_get(x, "template");
    const json_t *own = json_object_get(x, "vars");
    const json_t *want = json_object_get(x, "out");
    struct jinja *j;
    struct span source = {json_string_value(tpl), json_string_length(tpl)};
    enum err rc = jinja_parse(&j, source, e);
    if (json_is_integer(own))
        own = json_array_get(vars, (size_t)json_integer_value(own));
    if (rc == ERR_OK)
        rc = jinja_render(j, own, 1732406400, out, e);
    jinja_free(j);
    if (json_is_null(want))
        return rc == ERR_OK ? "jinja2 raised an error" : NULL;
    if (rc != ERR_OK)
        return "we failed";
    struct span w = {json_string_value(want), json_string_length(want)};
    return span_eq(w, str_span(out)) ? NULL : "different text";
}

static void renders_as_jinja2(void **state)
{
    (void)state;
    const char *path = getenv("DAMSO_VECTORS");
    json_error_t je;
    json_t *all = json_load_file(path ? path : "tests/data/jinja/vectors.json", JSON_ALLOW_NUL,
                                 &je);
    if (!all)
        fail_msg("%s at %d", je.text, je.position);
    json_t *x;
    const json_t *vars = json_object_get(all, "vars");
    size_t i, n_bad = 0, n_errors = 0;
    json_array_foreach(json_object_get(all, "cases"), i, x)
    {
        struct str out;
        struct errinfo e = {0};
        str_init(&out, JINJA_OUTPUT_BYTES_MAX);
        const char *bad = run_case(vars, x, &out, &e);
        n_errors += json_is_null(json_object_get(x, "out"));
        if (bad && n_bad++ < 40) {
            char *shown = json_dumps(x, JSON_COMPACT | JSON_ENSURE_ASCII);
            print_error("case %zu: %s: %s\n  %s\n  ours: %.*s\n", i, bad, e.text, shown, (int)out.n,
                        out.n ? out.p : "");
            free(shown);
        }
        str_done(&out);
    }
    print_message("%zu cases, %zu of them errors; %zu differ\n", i, n_errors, n_bad);
    json_decref(all);
    assert_true(i > 0);
    assert_int_equal(n_bad, 0);
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(renders_as_jinja2)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
