/* SPDX-License-Identifier: MIT
 * Stop texts: whatever the pieces, the same text comes out and the same stop text is found as by
 * looking at the whole text byte by byte. */
#include "base/test.h"

#include "api/api_stop.h"
#include "base/num.h"

#include <string.h>

#define N_ROUNDS  20000
#define TEXT_MAX  96
#define TEXTS_MAX 5

/* The plain reading: the first byte with which a stop text is complete; of those that are, the
 * longest.  *n: bytes before it, or all. */
static size_t reference(struct span text, const struct span *stops, size_t n_stops, size_t *n)
{
    for (size_t end = 1; end <= text.n; end++) {
        size_t best = SIZE_MAX;
        for (size_t i = 0; i < n_stops; i++) {
            bool longer = best == SIZE_MAX || stops[i].n > stops[best].n;
            if (span_ends((struct span){text.p, end}, stops[i]) && longer)
                best = i;
        }
        if (best != SIZE_MAX) {
            *n = end - stops[best].n;
            return best;
        }
    }
    *n = text.n;
    return SIZE_MAX;
}

/* Few letters, one of two and one of three bytes, so that much repeats. */
static size_t random_text(uint64_t *rng, char *out, size_t n_letters)
{
    static const char *const letters[] = {"a", "b", "\xc3\xa9", "\xc3\xa8", "\xe2\x82\xac"};
    size_t n = 0;
    for (size_t i = 0; i < n_letters; i++) {
        const char *l = letters[num_rand(rng) % N_ELEMS(letters)];
        memcpy(out + n, l, strlen(l));
        n += strlen(l);
    }
    return n;
}

/* Gives the text in pieces of whole characters, as tok_stream and chat_parse do. */
static size_t feed(struct api_stop *s, struct span text, uint64_t *rng, struct str *out)
{
    size_t hit = SIZE_MAX, most = 1 + num_rand(rng) % 12;
    for (size_t at = 0; at < text.n && hit == SIZE_MAX;) {
        size_t n = num_rand(rng) % (most + 1); /* also nothing */
        n = n < text.n - at ? n : text.n - at;
        while (at + n < text.n && ((unsigned char)text.p[at + n] & 0xc0) == 0x80)
            n++;
        hit = api_stop_add(s, (struct span){text.p + at, n}, out);
        assert_true(utf8_valid(str_span(out)));
        at += n;
    }
    return hit;
}

static void test_random_cuts(void **state)
{
    (void)state;
    uint64_t rng = test_seed();
    size_t n_found = 0;
    for (int round = 0; round < N_ROUNDS; round++) {
        char bytes[TEXTS_MAX + 1][TEXT_MAX * 3];
        struct span stops[TEXTS_MAX];
        struct api_stop s;
        struct str out;
        size_t n_stops = num_rand(&rng) % (TEXTS_MAX + 1), want_n;
        for (size_t i = 0; i < n_stops; i++)
            stops[i] = (struct span){bytes[i], random_text(&rng, bytes[i], 1 + num_rand(&rng) % 5)};
        char *all = bytes[TEXTS_MAX];
        struct span text = {all, random_text(&rng, all, num_rand(&rng) % TEXT_MAX)};
        size_t want = reference(text, stops, n_stops, &want_n);
        str_init(&out, 4096);
        api_stop_init(&s, stops, n_stops);
        size_t hit = feed(&s, text, &rng, &out);
        if (hit == SIZE_MAX)
            api_stop_end(&s, &out);
        /* equal texts are one */
        if ((hit == SIZE_MAX) != (want == SIZE_MAX) ||
            (hit != SIZE_MAX && !span_eq(stops[hit], stops[want])) ||
            !span_eq(str_span(&out), (struct span){all, want_n}))
            fail_msg("round %d: %.*s: stop text %zd for %zd, %zu bytes for %zu", round, (int)text.n,
                     all, (ssize_t)hit, (ssize_t)want, out.n, want_n);
        n_found += hit != SIZE_MAX;
        api_stop_done(&s);
        str_done(&out);
    }
    assert_true(n_found > N_ROUNDS / 10 && n_found < N_ROUNDS * 9 / 10);
}

static size_t one(const struct span *stops, size_t n, const char *const *pieces, struct str *out)
{
    struct api_stop s;
    size_t hit = SIZE_MAX;
    api_stop_init(&s, stops, n);
    for (; *pieces && hit == SIZE_MAX; pieces++)
        hit = api_stop_add(&s, span_of(*pieces), out);
    if (hit == SIZE_MAX)
        api_stop_end(&s, out);
    api_stop_done(&s);
    return hit;
}

static void test_overlaps(void **state)
{
    (void)state;
    const struct span stops[] = {SPAN("abcd"), SPAN("bc"), SPAN("abc"), SPAN("abc")};
    static const char *const cuts[][5] = {
        {"xabcd", NULL},
        {    "x",    "a",  "b", "c", NULL},
        { "xab",       "cd",       NULL},
    };
    for (size_t i = 0; i < N_ELEMS(cuts); i++) {
        struct str out;
        str_init(&out, 100);
        /* "bc" and "abc" are complete before "abcd"; of those "abc" is longer, and first of two */
        assert_int_equal(one(stops, 4, cuts[i], &out), 2);
        assert_string_equal(out.p, "x");
        str_done(&out);
    }
}

/* What cannot be a stop text any more goes out at once; what may be one stays. */
static void test_holds_no_more_than_needed(void **state)
{
    (void)state;
    const struct span stops[] = {SPAN("\n\nUser"), SPAN("END")};
    static const struct {
        const char *piece, *out;
    } steps[] = {
        {"Hello",   "Hello"               },
        {"\n",      "Hello"               },
        {"\nUs",    "Hello"               },
        {"age E",   "Hello\n\nUsage "     },
        {"N",       "Hello\n\nUsage "     },
        {"C\n\n\n", "Hello\n\nUsage ENC\n"},
    };
    struct api_stop s;
    struct str out;
    str_init(&out, 100);
    api_stop_init(&s, stops, 2);
    for (size_t i = 0; i < N_ELEMS(steps); i++) {
        assert_int_equal(api_stop_add(&s, span_of(steps[i].piece), &out), SIZE_MAX);
        assert_string_equal(out.p, steps[i].out);
    }
    api_stop_end(&s, &out);
    assert_string_equal(out.p, "Hello\n\nUsage ENC\n\n\n");
    str_done(&out);
    api_stop_done(&s);
}

static void test_nothing(void **state)
{
    (void)state;
    struct api_stop s;
    struct str out;
    str_init(&out, 100);
    api_stop_init(&s, NULL, 0);
    assert_int_equal(api_stop_add(&s, SPAN(""), &out), SIZE_MAX);
    assert_int_equal(out.n, 0);
    assert_int_equal(api_stop_add(&s, SPAN("all"), &out), SIZE_MAX);
    assert_string_equal(out.p, "all");
    api_stop_end(&s, &out);
    assert_string_equal(out.p, "all");
    str_done(&out);
    api_stop_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_cuts),
        cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_holds_no_more_than_needed),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
