/* SPDX-License-Identifier: MIT
 * jinja_test.c - limits: templates that want too much end with an error that names their line. */
#include "base/num.h"
#include "base/test.h"
#include "chat/jinja_int.h"

#include <string.h>

static enum err render(struct span source, const char *vars_text, struct str *out,
                       struct errinfo *e)
{
    struct jinja *j;
    json_t *vars = json_loads(vars_text, 0, NULL);
    assert_non_null(vars);
    *e = (struct errinfo){0};
    str_init(out, JINJA_OUTPUT_BYTES_MAX);
    enum err rc = jinja_parse(&j, source, e);
    if (rc == ERR_OK)
        rc = jinja_render(j, vars, 1732406400, out, e);
    else
        assert_null(j);
    jinja_free(j);
    json_decref(vars);
    return rc;
}

static void expect(const char *source, enum err want)
{
    struct str out;
    struct errinfo e;
    enum err rc = render(span_of(source), "{\"n\": 3}", &out, &e);
    if (rc != want)
        fail_msg("%.200s: %s %s", source, err_name(rc), e.text);
    if (want != ERR_OK) {
        assert_int_equal(e.code, want);
        assert_true(utf8_valid(span_of(e.text)));
        assert_null(strchr(e.text, '\n'));
    }
    str_done(&out);
}

/* head, then `open` n times, middle, then `close` n times, tail */
static void expect_nested(const char *head, const char *open, const char *middle, const char *close,
                          const char *tail, int n, enum err want)
{
    struct str s;
    str_init(&s, 4 << 20);
    str_add_cstr(&s, head);
    for (int i = 0; i < n; i++)
        str_add_cstr(&s, open);
    str_add_cstr(&s, middle);
    for (int i = 0; i < n; i++)
        str_add_cstr(&s, close);
    str_add_cstr(&s, tail);
    expect(s.p, want);
    str_done(&s);
}

static void refuses_deep_nesting(void **state)
{
    (void)state;
    expect_nested("{{ ", "(", "1", ")", " }}", 60, ERR_OK);
    for (int n = 150; n <= 15000; n *= 10) {
        expect_nested("{{ ", "(", "1", ")", " }}", n, ERR_TEMPLATE);
        expect_nested("{{ ", "[", "1", "]", " }}", n, ERR_TEMPLATE);
        expect_nested("{{ ", "{1: ", "1", "}", " }}", n, ERR_TEMPLATE);
        expect_nested("{{ ", "n[", "1", "]", " }}", n, ERR_TEMPLATE);
        expect_nested("{{ ", "n(", "1", ")", " }}", n, ERR_TEMPLATE);
        expect_nested("{{ ", "- ", "1", "", " }}", 2 * n, ERR_TEMPLATE);
        expect_nested("{{ ", "not ", "1", "", " }}", 2 * n, ERR_TEMPLATE);
        expect_nested("{{ ", "1 if 1 else ", "1", "", " }}", n, ERR_TEMPLATE);
        expect_nested("{{ 1", "|string", "", "", " }}", 2 * n, ERR_TEMPLATE);
        expect_nested("{{ n", ".x", "", "", " }}", 2 * n, ERR_TEMPLATE);
        expect_nested("", "{% if 1 %}", "x", "{% endif %}", "", n, ERR_TEMPLATE);
        expect_nested("", "{% for i in [1] %}", "x", "{% endfor %}", "", n, ERR_TEMPLATE);
        expect_nested("", "{% macro a() %}", "x", "{% endmacro %}", "", n, ERR_TEMPLATE);
        expect_nested("{% for ", "(", "x", ",)", " in n %}{% endfor %}", n, ERR_TEMPLATE);
    }
    /* long is not deep */
    expect_nested("{{ 1", " + 1", "", "", " }}", 5000, ERR_OK);
    expect_nested("{{ 1", " ~ 1", "", "", " }}", 5000, ERR_OK);
    expect_nested("{{ 1", " and 1", "", "", " }}", 5000, ERR_OK);
    expect_nested("{% if 0 %}", "{% elif 0 %}", "", "", "{% endif %}", 80000, ERR_OK);
    expect_nested("{{ [", "1, ", "", "", "] }}", 5000, ERR_OK);
}

static void refuses_deep_data(void **state)
{
    (void)state;
    struct str s, out;
    struct errinfo e;
    str_init(&s, 1 << 20);
    str_add_cstr(&s, "{\"x\": ");
    for (int i = 0; i < 500; i++)
        str_add_char(&s, '[');
    for (int i = 0; i < 500; i++)
        str_add_char(&s, ']');
    str_add_char(&s, '}');
    assert_int_equal(render(SPAN("{{ x }}"), s.p, &out, &e), ERR_TEMPLATE);
    str_done(&s);
    str_done(&out);
    /* built by the template itself */
    expect("{% set ns = namespace(x=[]) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}"
           "{% endfor %}{{ ns.x }}",
           ERR_TEMPLATE);
    expect("{% set ns = namespace(x=1) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}"
           "{% endfor %}{{ ns.x == [ns.x] }}",
           ERR_TEMPLATE);
    expect("{% set ns = namespace(x=[1]) %}{% for i in range(5000) %}"
           "{% set ns.x = ns.x|map('string') %}{% endfor %}{{ ns.x|list }}",
           ERR_TEMPLATE);
    expect("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}", ERR_TEMPLATE);
    expect("{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns.x|tojson }}", ERR_TEMPLATE);
    expect("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", ERR_TEMPLATE);
    expect("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", ERR_TEMPLATE);
}

static void refuses_large_results(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{% set ns = namespace(x='ab') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}"
        "{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}"
        "{% endfor %}",
        "{{ 'a' * 10 ** 9 }}",
        "{{ [0] * 10 ** 9 }}",
        "{{ 'ab' * 9223372036854775807 }}",
        "{{ [[1] * 1000000] * 1000000 }}",
        "{{ range(1000000000) }}",
        "{{ range(0, 9223372036854775807, 9) }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(1000) %}xxxxxxxx{% endfor %}{% endfor %}",
        "{{ 'x'.center(10 ** 15) }}",
        "{{ 'x'.ljust(9223372036854775807) }}",
        "{{ 'x'.zfill(10 ** 9) }}",
        "{{ '%0999999999d' % 1 }}",
        "{{ '%.999999999f' % 1 }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ '{:.999999999f}'.format(1.0) }}",
        "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
        "{{ ('a' * 1000000)|replace('', 'b' * 1000000) }}",
        "{{ ('b' * 100000).join('a' * 100000) }}",
        "{{ ('\n' * 100000)|indent(100000, true, true) }}",
        "{{ [[1, 2], [3]]|tojson(indent=10 ** 9) }}",
        "{{ [[1, 2], [3]] * 100000|tojson(indent=10 ** 6) }}",
        "{{ ('\t' * 1000000).expandtabs(1000) }}",
        "{{ [1]|batch(10 ** 9, 'x')|list }}",
        "{{ [1]|slice(10 ** 12)|list }}",
        "{% set x = 'a' * 30000000 %}{% for i in range(100000) %}{{ 'b' in x }}{% endfor %}",
        "{% set x = 'a' * 30000000 %}{% for i in range(1000) %}{{ x.upper()|length }}{% endfor %}",
        "{% set x = '가' * 9000000 %}{% for i in range(100000) %}{{ x[8999999] }}{% endfor %}",
        "{% for i in range(100000) %}{% set x %}{{ 'a' * 10000 }}{% endset %}{% endfor %}",
        "{{ 9223372036854775807 + 1 }}",
        "{{ 9223372036854775808 }}",
        "{{ 10 ** 100 }}",
        "{{ 2 ** 9223372036854775807 }}",
        "{{ -9223372036854775807 - 2 }}",
        "{{ (-9223372036854775807 - 1) // -1 }}",
        "{{ (-9223372036854775807 - 1)|abs }}",
        "{{ 1e30|int }}",
    };
    for (size_t i = 0; i < N_ELEMS(bad); i++)
        expect(bad[i], ERR_TEMPLATE);
    expect("{{ (-9223372036854775807 - 1) % -1 }}{{ 0 ** 9223372036854775807 }}"
           "{{ (-1) ** 9223372036854775807 }}{{ 'abc'[-9223372036854775807:9223372036854775807] }}"
           "{{ 'abc'[::9223372036854775807] }}{{ 'abc'[::-9223372036854775807] }}",
           ERR_OK);
}

static void refuses_what_is_not_finished(void **state)
{
    (void)state;
    static const char whole[] =
        "{%- macro m(a, b='x') -%}{{ a ~ b }}{%- endmacro %}{% for x in [1, (2, 3)] if x %}"
        "{% if loop.first and {'k': 'v'}['k'] is string %}{{ m(x, b=\"q\")|replace('a', 'b') }}"
        "{% elif x is not none %}{% else %}{% endif %}{% endfor %}{# c #}{% raw %}{{{% endraw %}"
        "{% set z | upper %}t{% endset %}{% call(u) m(1) %}{% endcall %}{% filter trim %} "
        "{% endfilter %}";
    struct str out;
    struct errinfo e;
    /* every prefix parses or ends with an error, and none reads past its end */
    for (size_t n = 0; n < sizeof whole; n++) {
        char *copy = malloc(n ? n : 1);
        memcpy(copy, whole, n);
        enum err rc = render((struct span){copy, n}, "{}", &out, &e);
        assert_true(rc == ERR_OK || rc == ERR_TEMPLATE);
        free(copy);
        str_done(&out);
    }
}

static void refuses_bad_bytes(void **state)
{
    (void)state;
    struct str out;
    struct errinfo e;
    assert_int_equal(render(SPAN("a\xff"), "{}", &out, &e), ERR_CORRUPT);
    assert_int_equal(render(SPAN("{{ '\xed\xa0\x80' }}"), "{}", &out, &e), ERR_CORRUPT);
    expect("{{ '\\ud800' }}", ERR_TEMPLATE);
    expect("{{ '\\U00110000' }}", ERR_TEMPLATE);
    expect("{{ '\\x4' }}", ERR_TEMPLATE);
    char *large = malloc(JINJA_SOURCE_BYTES_MAX + 1);
    memset(large, 'x', JINJA_SOURCE_BYTES_MAX + 1);
    assert_int_equal(render((struct span){large, JINJA_SOURCE_BYTES_MAX + 1}, "{}", &out, &e),
                     ERR_TOOBIG);
    assert_int_equal(render((struct span){large, JINJA_SOURCE_BYTES_MAX}, "{}", &out, &e), ERR_OK);
    assert_int_equal(out.n, JINJA_SOURCE_BYTES_MAX);
    str_done(&out);
    free(large);
    assert_int_equal(render(SPAN("x"), "[]", &out, &e), ERR_TEMPLATE);
    str_done(&out);
}

static void names_the_line(void **state)
{
    (void)state;
    struct str out;
    struct errinfo e;
    assert_int_equal(render(SPAN("a\n{{ 1 }}\n\n{{ raise_exception('no\n한') }}"), "{}", &out, &e),
                     ERR_TEMPLATE);
    assert_string_equal(e.text, "template line 4: no 한");
    str_done(&out);
    assert_int_equal(render(SPAN("a\n{% if %}"), "{}", &out, &e), ERR_TEMPLATE);
    assert_non_null(strstr(e.text, "line 2"));
    str_done(&out);
}

static void grows_text_without_copying(void **state)
{
    (void)state;
    expect("{% set ns = namespace(s='', l=[]) %}{% for i in range(100000) %}"
           "{% set ns.s = ns.s + 'abcdefghij' %}{% set ns.l = ns.l + [i] %}{% endfor %}"
           "{{ ns.s|length }}{{ ns.l|length }}",
           ERR_OK);
    /* two strings that grow from one must not share what they add */
    struct str out;
    struct errinfo e;
    assert_int_equal(render(SPAN("{% set a = 'x' * 100 ~ 'y' %}{% set b = a ~ '1' %}"
                                 "{% set c = a ~ '2' %}{{ b[-2:] }}{{ c[-2:] }}{{ a[-1] }}"),
                            "{}", &out, &e),
                     ERR_OK);
    assert_string_equal(out.p, "y1y2y");
    str_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_deep_nesting),
        cmocka_unit_test(refuses_deep_data),
        cmocka_unit_test(refuses_large_results),
        cmocka_unit_test(refuses_what_is_not_finished),
        cmocka_unit_test(refuses_bad_bytes),
        cmocka_unit_test(names_the_line),
        cmocka_unit_test(grows_text_without_copying),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
