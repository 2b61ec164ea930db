/* SPDX-License-Identifier: MIT
 * ngram_test.c - what is proposed is what followed the longest match, found here the slow way. */
#include "engine/ngram.h"

#include "base/num.h"
#include "base/test.h"
#include "os/os_sys.h"

#define N_TEXT 3000

static uint64_t rng;

static size_t match_at(const int32_t *text, size_t n, size_t place)
{
    size_t k = 0;
    while (k < place && k < NGRAM_MAX && text[place - 1 - k] == text[n - 1 - k])
        k++;
    return k;
}

static size_t longest(const int32_t *text, size_t n)
{
    size_t best = 0;
    for (size_t place = 1; place < n; place++)
        best = MAX(best, match_at(text, n, place));
    return best;
}

/* New tokens, and runs that are copied from earlier. */
static int32_t next_token(const int32_t *text, size_t n, size_t *from, size_t n_tokens)
{
    if (*from == 0 && n > 10 && num_rand(&rng) % 12 == 0)
        *from = 1 + num_rand(&rng) % (n - 1);
    if (*from && num_rand(&rng) % 30 == 0)
        *from = 0;
    return *from ? text[(*from)++] : (int32_t)(num_rand(&rng) % n_tokens);
}

static void the_longest_match_is_found(void **state)
{
    (void)state;
    static int32_t text[N_TEXT];
    const size_t vocab[] = {50000, 500, 40};
    for (size_t v = 0; v < N_ELEMS(vocab); v++) {
        struct ngram *g = ngram_new(N_TEXT);
        size_t from = 0, n_found = 0, n_longest = 0;
        for (size_t n = 0; n < N_TEXT; n++) {
            int32_t out[20];
            size_t match, k = 0, got = ngram_propose(g, out, 20, &match);
            size_t best = longest(text, n);
            assert_true(got == 0 || got == 20);
            assert_int_equal(got > 0, best >= NGRAM_MIN);
            assert_true(got == 0 || (match >= NGRAM_MIN && match <= best));
            n_found += got > 0;
            n_longest += got > 0 && match == best;
            for (size_t place = 1; got && place < n && !k; place++) /* it did follow there */
                if (match_at(text, n, place) == match && text[place] == out[0])
                    for (k = 1; k < 20 && place + k < n && text[place + k] == out[k]; k++)
                        ;
            assert_true(got == 0 || k > 0);
            text[n] = next_token(text, n, &from, vocab[v]);
            ngram_add(g, text[n]);
        }
        assert_true(n_found > 100);
        assert_true((double)n_longest >= 0.95 * (double)n_found); /* only so many are tried */
        ngram_free(g);
    }
}

static void what_repeats_itself_goes_on(void **state)
{
    (void)state;
    struct ngram *g = ngram_new(10);
    int32_t out[8];
    size_t match;
    for (int32_t i = 0; i < 8; i++)
        ngram_add(g, 7 + i % 3);
    assert_int_equal(ngram_propose(g, out, 8, &match), 8);
    assert_int_equal(match, 5);
    for (int32_t i = 0; i < 8; i++)
        assert_int_equal(out[i], 7 + (8 + i) % 3);
    for (int32_t i = 8; i < 30; i++) /* more than it has room for */
        ngram_add(g, 7 + i % 3);
    ngram_propose(g, out, 8, &match);
    ngram_free(g);
}

static void a_long_text_takes_no_longer(void **state)
{
    (void)state;
    const size_t n = 32768;
    struct ngram *g = ngram_new(n);
    int32_t out[16];
    size_t match, n_found = 0;
    uint64_t most = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        /* Few tokens: every pair has thousands of places. */
        ngram_add(g, (int32_t)(num_rand(&rng) % 12));
        uint64_t began = os_now_ns();
        n_found += ngram_propose(g, out, 16, &match) > 0;
        uint64_t ns = os_now_ns() - began;
        sum += ns;
        most = MAX(most, ns);
    }
    print_message("a proposal: %llu ns, at most %llu\n", (unsigned long long)(sum / n),
                  (unsigned long long)most);
    assert_true(n_found > n / 2);
    assert_true(sum / n < 20000);
    ngram_free(g);
}

int main(void)
{
    rng = test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_match_is_found),
        cmocka_unit_test(what_repeats_itself_goes_on),
        cmocka_unit_test(a_long_text_takes_no_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
