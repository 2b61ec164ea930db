/* SPDX-License-Identifier: MIT
 * kern_test.c - what is not a level's: choosing the largest numbers, and copying positions from
 * page to page. */
#include "kern/kern.h"

#include "base/num.h"
#include "base/test.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define MOST 700

static uint64_t rng;

static size_t below(size_t n)
{
    return (size_t)(num_rand(&rng) % n);
}

/* Is a before b, by size and then by place? */
static bool before(const float *x, size_t a, size_t b)
{
    return x[a] > x[b] || (x[a] == x[b] && a < b);
}

/* By the number of those before it. */
static void check_choice(const float *x, size_t n, size_t k)
{
    int32_t got[MOST];
    size_t at = 0;
    kern_choose(x, n, k, got);
    for (size_t i = 0; i < n; i++) {
        size_t ahead = 0;
        for (size_t j = 0; j < n; j++)
            ahead += before(x, j, i);
        if (ahead < k)
            assert_int_equal(got[at++], i);
    }
    assert_int_equal(at, k);
}

static void the_largest_are_chosen(void **state)
{
    (void)state;
    float x[MOST];
    for (int turn = 0; turn < 60; turn++) {
        size_t n = 2 + below(MOST - 2), kinds = 1 + below(turn % 2 ? 5 : 100000);
        for (size_t i = 0; i < n; i++) /* few kinds: many are equal */
            x[i] = ((float)below(kinds) - (float)kinds / 2) * (turn % 3 ? 0.37f : 1e-41f);
        x[below(n)] = turn % 4 ? 0.0f : INFINITY;
        x[below(n)] = turn % 5 ? -0.0f : -INFINITY;
        check_choice(x, n, 1 + below(n - 1));
    }
}

/* What is no number is chosen or not, but always the same way, and nothing is written twice. */
static void what_is_no_number_has_a_place(void **state)
{
    (void)state;
    const float x[] = {1, NAN, 3, -INFINITY, INFINITY, -NAN, 2};
    int32_t got[4];
    kern_choose(x, 7, 4, got);
    assert_memory_equal(got, ((int32_t[]){1, 2, 4, 6}), sizeof got);
}

/* Positions put to a page at once, and put to another and copied from there. */
static void check_take(const struct kern *k, enum kern_kv kv, size_t dim, bool keys)
{
    size_t bytes = keys ? kern_k_bytes(kv, dim) : kern_v_bytes(kv, dim);
    char *page[3];
    float *x = calloc(KERN_PAGE * dim, sizeof *x), *some = calloc(KERN_PAGE * dim, sizeof *some);
    uint8_t at[KERN_PAGE];
    size_t slot = below(KERN_PAGE), n = 1 + below(KERN_PAGE - slot);
    for (size_t i = 0; i < KERN_PAGE * dim; i++)
        x[i] = (float)num_rand_unit(&rng) - 0.5f;
    for (size_t i = 0; i < n; i++) {
        at[i] = (uint8_t)below(KERN_PAGE);
        memcpy(some + i * dim, x + at[i] * dim, dim * sizeof *x);
    }
    for (int i = 0; i < 3; i++) {
        page[i] = malloc(bytes);
        assert_non_null(page[i]);
        memset(page[i], 0x5a, bytes);
    }
    struct kern_put all = {kv, page[0], 0, KERN_PAGE, dim, x, dim};
    struct kern_put few = {kv, page[1], slot, n, dim, some, dim};
    struct kern_take take = {kv, dim, page[2], page[0], slot, n, at};
    (keys ? k->put_k : k->put_v)(&all);
    (keys ? k->put_k : k->put_v)(&few);
    (keys ? kern_take_k : kern_take_v)(&take);
    assert_memory_equal(page[2], page[1], bytes);
    for (int i = 0; i < 3; i++)
        free(page[i]);
    free(x);
    free(some);
}

static void positions_are_taken_whole(void **state)
{
    (void)state;
    struct kern k;
    kern_init(&k, CPU_c);
    for (int turn = 0; turn < 30; turn++)
        for (int kv = 0; kv < KERN_KV_N; kv++) {
            check_take(&k, (enum kern_kv)kv, 1 + below(100), true);
            check_take(&k, (enum kern_kv)kv, 1 + below(100), false);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_largest_are_chosen),
        cmocka_unit_test(what_is_no_number_has_a_place),
        cmocka_unit_test(positions_are_taken_whole),
    };
    rng = test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
