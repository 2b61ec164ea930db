/* SPDX-License-Identifier: MIT
 * jinja_tests.c - the tests of `x is ...`. */
#include "chat/jinja_int.h"

#define TEST(name)                                                                                 \
    static enum err fn_##name(struct jinja_run *r, const struct jinja_call *c,                     \
                              const struct jinja_val *a, struct jinja_val *out)

/* A test that only looks at the value. */
#define PLAIN(name, expr)                                                                          \
    TEST(name)                                                                                     \
    {                                                                                              \
        (void)r;                                                                                   \
        (void)a;                                                                                   \
        struct jinja_val x = c->self;                                                              \
        *out = jinja_bool(expr);                                                                   \
        return ERR_OK;                                                                             \
    }

#define COMPARE(name, op)                                                                          \
    TEST(name)                                                                                     \
    {                                                                                              \
        bool is;                                                                                   \
        TRY(jinja_compare(r, op, c->self, a[0], &is));                                             \
        *out = jinja_bool(is);                                                                     \
        return ERR_OK;                                                                             \
    }

PLAIN(defined, x.k != J_UNDEF)
PLAIN(undefined, x.k == J_UNDEF)
PLAIN(none, x.k == J_NONE)
PLAIN(boolean, x.k == J_BOOL)
PLAIN(is_false, x.k == J_BOOL && !x.b)
PLAIN(is_true, x.k == J_BOOL && x.b)
PLAIN(integer, x.k == J_INT)
PLAIN(float, x.k == J_FLOAT)
PLAIN(string, x.k == J_STR)
PLAIN(mapping, x.k == J_DICT)
PLAIN(number, jinja_is_number(x))
PLAIN(sequence, x.k == J_STR || x.k == J_LIST || x.k == J_TUPLE || x.k == J_DICT ||
                    x.k == J_RANGE || x.k == J_UNDEF)
PLAIN(iterable, jinja_can_iterate(x))
PLAIN(callable, x.k == J_FUNC || x.k == J_BOUND || x.k == J_MACRO || x.k == J_JOINER ||
                    x.k == J_LOOP || x.k == J_UNDEF)
PLAIN(escaped, x.k == J_STR && x.markup)
COMPARE(eq, J_T_EQ)
COMPARE(ne, J_T_NE)
COMPARE(lt, J_T_LT)
COMPARE(le, J_T_LE)
COMPARE(gt, J_T_GT)
COMPARE(ge, J_T_GE)
COMPARE(in, J_T_IN)

static enum err mod_is(struct jinja_run *r, struct jinja_val x, struct jinja_val by, int64_t want,
                       struct jinja_val *out)
{
    struct jinja_val rest;
    bool is;
    TRY(jinja_binary(r, J_T_MOD, x, by, &rest));
    TRY(jinja_eq(r, rest, jinja_int(want), &is));
    *out = jinja_bool(is);
    return ERR_OK;
}

TEST(odd)
{
    (void)a;
    return mod_is(r, c->self, jinja_int(2), 1, out);
}

TEST(even)
{
    (void)a;
    return mod_is(r, c->self, jinja_int(2), 0, out);
}

TEST(divisibleby)
{
    return mod_is(r, c->self, a[0], 0, out);
}

/* str(x).islower(), .isupper(): some letter has the case, and none another */
static enum err case_is(struct jinja_run *r, struct jinja_val x, bool upper, struct jinja_val *out)
{
    const struct jinja_str *s;
    bool some = false, other = false;
    TRY(jinja_str_of(r, x, &s));
    TRY(jinja_step(r, s->n / 16));
    for (size_t i = 0, len; i < s->n; i += len) {
        int32_t cp = utf8_get(s->p + i, s->n - i, &len);
        bool up = jinja_is_upper(cp), low = jinja_is_lower(cp);
        some |= upper ? up : low;
        other |= (upper ? low : up) || jinja_is_cased_title(cp);
    }
    *out = jinja_bool(some && !other);
    return ERR_OK;
}

TEST(lower)
{
    (void)a;
    return case_is(r, c->self, false, out);
}

TEST(upper)
{
    (void)a;
    return case_is(r, c->self, true, out);
}

TEST(sameas)
{
    (void)r;
    struct jinja_val x = c->self, y = a[0];
    bool is = x.k == y.k;
    if (is && x.k == J_BOOL)
        is = x.b == y.b;
    else if (is && x.k == J_INT)
        is = x.i == y.i;
    else if (is && x.k == J_FLOAT)
        is = x.f == y.f;
    else if (is && x.k == J_STR)
        is = x.s == y.s || span_eq(jinja_span(x.s), jinja_span(y.s));
    else if (is && x.k != J_NONE)
        is = x.s == y.s; /* any of the pointers */
    *out = jinja_bool(is);
    return ERR_OK;
}

TEST(filter)
{
    uint64_t hash;
    (void)a;
    TRY(jinja_hash(r, c->self, &hash)); /* a lookup in a dict, in Python */
    *out = jinja_bool(c->self.k == J_STR && jinja_find_filter(jinja_span(c->self.s)));
    return ERR_OK;
}

TEST(test)
{
    uint64_t hash;
    (void)a;
    TRY(jinja_hash(r, c->self, &hash));
    *out = jinja_bool(c->self.k == J_STR && jinja_find_test(jinja_span(c->self.s)));
    return ERR_OK;
}

const struct jinja_fn *jinja_find_test(struct span name)
{
    static const struct jinja_fn table[] = {
#define FN(text, fn, need, sig) {text, fn_##fn, need, sig, 0},
#include "chat/jinja_tests.def"
#undef FN
    };
    for (size_t i = 0; i < N_ELEMS(table); i++)
        if (span_eq_cstr(name, table[i].name))
            return &table[i];
    return NULL;
}
