/* SPDX-License-Identifier: MIT
 * spec_test.c - guesses are taken where they pay, left where they do not, and tried again. */
#include "engine/spec.h"

#include "base/num.h"
#include "base/test.h"

static uint64_t rng;

/* A machine whose step costs `a_row` for each row beyond the first, which costs 1000 ns. */
struct machine {
    double a_row, noise, by; /* by: of all costs, as other programs come and go */
};

static double step_ns(const struct machine *m, size_t rows)
{
    double noise = 1 + m->noise * num_rand_unit(&rng);
    return m->by * noise * (1000 + m->a_row * (double)(rows - 1));
}

/* Steps of one text where each guess comes true with `chance`, after those before it; gives tokens
 * per ns as a multiple of what they are without guesses. */
static double speed(const struct machine *m, double chance, int n_steps)
{
    struct spec_cost c = {0};
    struct spec_rate r = spec_rate_new(0.2f, 0.8f);
    double ns = 0, plain_ns = 0;
    size_t tokens = 0;
    for (int i = 0; i < n_steps; i++) {
        float gain[16], p = 1;
        size_t k = 0, n;
        for (size_t g = 0; g < 16; g++)
            gain[g] = p *= r.share[3];
        n = spec_choose(&c, 1, gain, 16);
        double took = step_ns(m, 1 + n);
        spec_cost_note(&c, 1 + n, took);
        ns += took;
        for (bool hit = true; hit && k <= n; k++) {
            hit = num_rand_unit(&rng) < chance;
            spec_rate_note(&r, 3, hit);
            tokens++;
        }
    }
    for (size_t i = 0; i < tokens; i++)
        plain_ns += step_ns(m, 1);
    return plain_ns / ns;
}

static void it_wins_or_loses_nothing(void **state)
{
    (void)state;
    const struct {
        struct machine m;
        double chance, at_least;
    } cases[] = {
        {{0, 0, 1},      0.5,  1.6 }, /* rows cost nothing */
        {{50, 0.2, 1},   0.9,  3   },
        {{200, 0.2, 1},  0.95, 2.2 },
        {{200, 0.2, 1},  0.5,  1.1 },
        {{200, 0.2, 1},  0.1,  0.98}, /* what does not pay is left out */
        {{1000, 0.2, 1}, 0.9,  0.97},
        {{1000, 0.2, 1}, 0,    0.98},
        {{400, 1, 1},    0.2,  0.97},
    };
    for (size_t i = 0; i < N_ELEMS(cases); i++) {
        double got = speed(&cases[i].m, cases[i].chance, 5000);
        print_message("a row %.0f, chance %.2f: %.2f times\n", cases[i].m.a_row, cases[i].chance,
                      got);
        assert_true(got >= cases[i].at_least);
    }
}

static void costs_follow_the_machine(void **state)
{
    (void)state;
    struct spec_cost c = {0};
    struct machine m = {100, 0.1, 1};
    assert_true(spec_cost_of(&c, 3) == 0);
    assert_int_equal(spec_cost_reach(&c, 1), 0);
    spec_cost_note(&c, 1, step_ns(&m, 1));
    assert_int_equal(spec_cost_reach(&c, 1), 1); /* twice what was seen */
    for (int i = 0; i < 200; i++)
        for (size_t rows = 1; rows <= 9; rows += 4)
            spec_cost_note(&c, rows, step_ns(&m, rows));
    for (size_t rows = 1; rows <= 9; rows++) {
        double want = 1000 + 100 * (double)(rows - 1);
        assert_true(spec_cost_of(&c, rows) > 0.9 * want && spec_cost_of(&c, rows) < 1.2 * want);
    }
    m.by = 3; /* the text is longer: seen with 5 rows alone, known of all */
    for (int i = 0; i < 60; i++)
        spec_cost_note(&c, 5, step_ns(&m, 5));
    assert_true(spec_cost_of(&c, 5) > 0.9 * 3 * 1400);
    assert_true(spec_cost_of(&c, 1) > 1.4 * 1000 && spec_cost_of(&c, 1) < 4000);
    spec_cost_note(&c, SPEC_ROWS + 1, 1); /* none of its business */
    spec_cost_note(&c, 0, 1);
    assert_true(spec_cost_of(&c, 2 * SPEC_ROWS) == spec_cost_of(&c, SPEC_ROWS));
}

int main(void)
{
    rng = test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_wins_or_loses_nothing),
        cmocka_unit_test(costs_follow_the_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
