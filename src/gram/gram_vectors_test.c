/* SPDX-License-Identifier: MIT
 * gram_vectors_test.c - what Python's jsonschema allows (tools/gram_vectors.py), instance by
 * instance.  A schema may be refused as UNSUPPORTED, but not one of those made by hand without a
 * reason in its keyword.  DAMSO_VECTORS names another file. */
#include "base/test.h"
#include "gram/gram.h"

#include <string.h>

static bool accepts(const struct gram *g, const json_t *text)
{
    struct gram_state *s = gram_start(g);
    bool yes = gram_accept(s, json_string_value(text), json_string_length(text)) &&
               gram_finished(s);
    gram_done(s);
    return yes;
}

static void show(const json_t *schema, const json_t *text, const char *what)
{
    char *s = json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY);
    print_error("%s: %s\n  %s\n", what, s, text ? json_string_value(text) : "");
    free(s);
}

static void agrees_with_jsonschema(void **state)
{
    (void)state;
    const char *path = getenv("DAMSO_VECTORS");
    json_error_t je;
    size_t i, k, n = 0, n_valid = 0, n_refused = 0, n_bad = 0;
    json_t *all = json_load_file(path ? path : "tests/data/gram/vectors.json", JSON_ALLOW_NUL, &je);
    json_t *x, *row;
    if (!all)
        fail_msg("%s at %d", je.text, je.position);
    json_array_foreach(all, i, x)
    {
        const json_t *schema = json_object_get(x, "schema");
        struct gram *g;
        struct errinfo e = {0};
        enum err rc = gram_from_schema(&g, schema, NULL, &e);
        if (rc != ERR_OK) {
            bool empty = strstr(e.text, "nothing satisfies") != NULL;
            bool boundary = strstr(e.text, "word boundary") != NULL;
            n_refused++;
            json_array_foreach(json_object_get(x, "cases"), k,
                               row) if (empty && json_integer_value(json_array_get(row, 1)) &&
                                        n_bad++ < 40)
                show(schema, json_array_get(row, 0), "not empty");
            if (rc != ERR_UNSUPPORTED || (json_object_get(x, "hand") && !boundary && !empty)) {
                n_bad++;
                show(schema, NULL, e.text);
            } else if (path && !empty) {
                print_message("refused: %s\n", e.text);
            }
            continue;
        }
        json_array_foreach(json_object_get(x, "cases"), k, row)
        {
            bool want = json_integer_value(json_array_get(row, 1));
            n++;
            n_valid += want;
            if (accepts(g, json_array_get(row, 0)) != want && n_bad++ < 40)
                show(schema, json_array_get(row, 0), want ? "should accept" : "should reject");
        }
        gram_free(g);
    }
    print_message("%zu schemas, %zu refused; %zu instances, %zu of them valid; %zu differ\n", i,
                  n_refused, n, n_valid, n_bad);
    json_decref(all);
    assert_true(n > 0);
    assert_int_equal(n_bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_jsonschema)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
