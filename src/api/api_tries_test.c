/* SPDX-License-Identifier: MIT
 * Tries: free ones, waits that grow and end at a most, what a good one forgives, who is counted
 * together, a full table. */
#include "base/test.h"

#include "api/api_tries.h"
#include "base/num.h"

static struct api_tries *tries;

static int setup(void **state)
{
    (void)state;
    tries = api_tries_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    api_tries_free(tries);
    return 0;
}

/* Seconds to wait; 0: it may. */
static unsigned try(const struct api_tries_kind *kind, const char *what)
{
    struct api_fault f = {0};
    if (api_tries_take(tries, kind, what, &f))
        return 0;
    assert_int_equal(f.status, 429);
    assert_true(f.retry_s > 0);
    return f.retry_s;
}

static void test_free_then_waits(void **state)
{
    (void)state;
    for (unsigned i = 0; i < api_tries_name.n_free; i++)
        assert_int_equal(try(&api_tries_name, "mina"), 0);
    assert_int_equal(try(&api_tries_name, "mina"), 0); /* the first that costs: those after wait */
    unsigned wait = try(&api_tries_name, "mina");
    assert_in_range(wait, 1, 2);
    assert_int_equal(try(&api_tries_name, "mina"), wait); /* asking costs nothing more */
    assert_int_equal(try(&api_tries_name, "minb"), 0);
    assert_int_equal(try(&api_tries_address, "mina"), 0); /* another kind */
}

static void test_good(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= api_tries_name.n_free; i++)
        try(&api_tries_name, "mina");
    assert_true(try(&api_tries_name, "mina") > 0);
    api_tries_good(tries, &api_tries_name, "mina", true);
    for (unsigned i = 0; i <= api_tries_name.n_free; i++)
        assert_int_equal(try(&api_tries_name, "mina"), 0);
    /* of an address only itself: who has one account guesses others' no faster */
    for (unsigned i = 0; i <= api_tries_address.n_free; i++)
        try(&api_tries_address, "10.0.0.1");
    api_tries_good(tries, &api_tries_address, "10.0.0.1", false);
    assert_int_equal(try(&api_tries_address, "10.0.0.1"), 0);
    assert_true(try(&api_tries_address, "10.0.0.1") > 0);
}

static void test_network(void **state)
{
    (void)state;
    char text[64];
    for (unsigned i = 0; i <= api_tries_address.n_free; i++) {
        snprintf(text, sizeof text, "2001:db8::%x", i + 1);
        assert_int_equal(try(&api_tries_address, text), 0);
    }
    assert_true(try(&api_tries_address, "2001:db8::ffff:1") > 0); /* one network, one count */
    assert_int_equal(try(&api_tries_address, "2001:db8:0:1::1"), 0);
}

static void test_full(void **state)
{
    (void)state;
    char text[64];
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(text, sizeof text, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        assert_int_equal(try(&api_tries_address, text), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_free_then_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_network, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
