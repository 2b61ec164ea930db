/* SPDX-License-Identifier: MIT */
#include "base/arena.h"
#include "base/err.h"
#include "base/num.h"
#include "base/str.h"
#include "base/test.h"

#include <string.h>

static void err_codes_are_distinct(void **state)
{
    (void)state;
    struct errinfo e = {0};
    assert_int_equal(err_set(&e, ERR_CORRUPT, "%s: %d", "x", 7), ERR_CORRUPT);
    assert_string_equal(e.text, "x: 7");
    assert_int_equal(err_set(NULL, ERR_IO, "no place to write"), ERR_IO);
    for (int i = 0; i < ERR_N; i++)
        for (int k = i + 1; k < ERR_N; k++) {
            assert_int_not_equal(err_exit(i), err_exit(k));
            assert_string_not_equal(err_name(i), err_name(k));
        }
}

static void arena_marks(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char *one = arena_dup(&a, "one", 3);
    struct arena_mark m = arena_mark(&a);
    for (size_t n = 1; n < 1000000; n = n * 3 + 1) {
        unsigned char *p = arena_alloc(&a, n);
        assert_int_equal((uintptr_t)p % (n >= 64 ? 64 : 16), 0);
        assert_int_equal(p[0] | p[n - 1], 0);
        memset(p, 0xa5, n);
    }
    arena_reset(&a, m);
    assert_int_equal(a.total_bytes, 4);
    assert_string_equal(one, "one");
    assert_string_equal(arena_printf(&a, "%d-%s", 5, "x"), "5-x");
    arena_done(&a);
}

static void str_stops_at_its_maximum(void **state)
{
    (void)state;
    struct str s;
    str_init(&s, 10);
    str_add_cstr(&s, "12345");
    str_addf(&s, "%d", 678);
    assert_string_equal(s.p, "12345678");
    str_add_cstr(&s, "9012");
    assert_true(s.full);
    assert_int_equal(s.n, 8);
    str_clear(&s);
    str_add_cstr(&s, "0123456789");
    assert_false(s.full);
    str_done(&s);
    assert_int_equal(span_find(SPAN("abcabc"), SPAN("ca"), 0), 2);
    assert_int_equal(span_find(SPAN("abcabc"), SPAN("x"), 0), SIZE_MAX);
}

static void utf8_follows_the_standard(void **state)
{
    (void)state;
    /* The example of Unicode chapter 3, table 3-11: maximal subparts of ill-formed sequences. */
    struct str out;
    str_init(&out, 100);
    utf8_repair(&out, SPAN("\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64"));
    assert_string_equal(out.p, "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                               "b\xef\xbf\xbd"
                               "c\xef\xbf\xbd\xef\xbf\xbd"
                               "d");
    str_done(&out);
    for (uint32_t cp = 0; cp <= 0x10ffff; cp += cp < 0x3000 ? 1 : 61) {
        char b[4];
        size_t len, n;
        if (cp >= 0xd800 && cp <= 0xdfff)
            continue;
        n = utf8_put(b, cp);
        assert_int_equal(utf8_get(b, n, &len), cp);
        assert_int_equal(len, n);
        for (size_t cut = 1; cut < n; cut++)
            assert_int_equal(utf8_complete((struct span){b, cut}), 0);
        assert_int_equal(utf8_complete((struct span){b, n}), n);
    }
    assert_false(utf8_valid(SPAN("\xed\xa0\x80")));
    assert_true(utf8_printable(SPAN("담소 ~\xc2\xa0")) && utf8_printable(SPAN("")));
    assert_false(utf8_printable(SPAN("a\033[2J")) || utf8_printable(SPAN("\xc2\x9b")) ||
                 utf8_printable(SPAN("\x7f")) || utf8_printable(SPAN("\xff")));
    assert_false(utf8_valid(SPAN("\xc0\x80")));
    assert_int_equal(utf8_complete(SPAN("a\xff")), 2);
    assert_int_equal(utf8_complete(SPAN("a\x80\x80")), 3);
}

static void num_overflow(void **state)
{
    (void)state;
    size_t x;
    assert_false(num_mul(SIZE_MAX / 2, 3, &x));
    assert_false(num_add(SIZE_MAX, 1, &x));
    assert_true(num_mul(3, 4, &x));
    assert_int_equal(x, 12);
    assert_int_equal(num_align(65, 64), 128);
    assert_int_equal(num_div_up(65, 64), 2);
    assert_int_not_equal(num_hash("abc", 3, 0), num_hash("abd", 3, 0));
    assert_int_not_equal(num_hash("abc", 3, 0), num_hash("abc\0", 4, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_codes_are_distinct),
        cmocka_unit_test(arena_marks),
        cmocka_unit_test(str_stops_at_its_maximum),
        cmocka_unit_test(utf8_follows_the_standard),
        cmocka_unit_test(num_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
