/* SPDX-License-Identifier: MIT
 * gram_schema_num.c - JSON Schema: numbers, their bounds and multiples, digit by digit.
 *
 * A number within bounds is an automaton whose states remember how the digits so far compare with
 * each bound's, and the remainder by the multiple. */
#include "gram/gram_schema_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INT_DIGITS     18
#define FRAC_DIGITS    20
#define PLACES_MAX     20
#define NUM_STATES_MAX 60000u

/* |v| = whole.part, without zeros in front and behind. */
struct decimal {
    bool there, neg, open; /* open: the bound itself is outside */
    char whole[48], part[48];
    int n_whole, n_part;
};

void schema_real_text(char out[40], double v)
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, 40, "%.*g", digits, v);
        if (strtod(out, NULL) == v)
            return;
    }
}

/* False: further from 1 than PLACES_MAX places. */
static bool decimal_of(const json_t *j, struct decimal *d)
{
    char text[40], digits[40];
    int n = 0, point = -1, e10 = 0;
    *d = (struct decimal){.there = true};
    if (json_is_integer(j))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(j));
    else
        schema_real_text(text, json_real_value(j));
    for (const char *p = text; *p; p++) {
        if (*p == '-')
            d->neg = true;
        else if (*p == '.')
            point = n;
        else if (*p == 'e') {
            e10 = atoi(p + 1);
            break;
        } else
            digits[n++] = *p;
    }
    int whole = (point < 0 ? n : point) + e10; /* digits before the point */
    if (whole > PLACES_MAX + 1 || n - whole > PLACES_MAX)
        return false;
    for (int i = MIN(whole, 0); i < MAX(n, whole); i++) {
        char c = i >= 0 && i < n ? digits[i] : '0';
        if (i >= whole)
            d->part[d->n_part++] = c;
        else if (d->n_whole || c != '0')
            d->whole[d->n_whole++] = c;
    }
    while (d->n_part && d->part[d->n_part - 1] == '0')
        d->n_part--;
    if (!d->n_whole && !d->n_part)
        d->neg = false;
    return true;
}

static int compare_sizes(const struct decimal *x, const struct decimal *y)
{
    if (x->n_whole != y->n_whole)
        return x->n_whole < y->n_whole ? -1 : 1;
    int c = memcmp(x->whole, y->whole, (size_t)x->n_whole);
    if (!c)
        c = memcmp(x->part, y->part, (size_t)MIN(x->n_part, y->n_part));
    return c ? c : (x->n_part > y->n_part) - (x->n_part < y->n_part);
}

static int compare(const struct decimal *x, const struct decimal *y)
{
    if (x->neg != y->neg)
        return x->neg ? -1 : 1;
    return x->neg ? compare_sizes(y, x) : compare_sizes(x, y);
}

struct limits {
    struct decimal lo, hi;
    uint64_t mod; /* of the value times 10^places; 0: any */
    int places;
};

static void tighten(struct decimal *have, const struct decimal *d, int sign)
{
    int c = have->there ? sign * compare(d, have) : 1;
    if (c > 0 || (c == 0 && d->open))
        *have = *d;
}

static enum err add_bound(struct schema *c, const struct schema_node *n, const char *keyword,
                          struct limits *l)
{
    const json_t *j = json_object_get(n->j, keyword);
    bool low = strstr(keyword, "inimum") != NULL;
    struct decimal d;
    if (!j)
        return ERR_OK;
    if (!json_is_number(j))
        return schema_bad(c, n, keyword, ERR_CORRUPT, "not a number");
    if (!decimal_of(j, &d)) {
        double v = json_number_value(j);
        if (fabs(v) > 1 && (v < 0) == low)
            return ERR_OK; /* wider than every number that is written here */
        return schema_bad(c, n, keyword, ERR_UNSUPPORTED, "more than %d places", PLACES_MAX);
    }
    d.open = keyword[0] == 'e';
    tighten(low ? &l->lo : &l->hi, &d, low ? 1 : -1);
    return ERR_OK;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

static enum err add_multiple(struct schema *c, const struct schema_node *n, struct limits *l)
{
    const json_t *j = json_object_get(n->j, "multipleOf");
    struct decimal d;
    uint64_t m = 0;
    if (!j)
        return ERR_OK;
    if (!json_is_number(j) || json_number_value(j) <= 0)
        return schema_bad(c, n, "multipleOf", ERR_CORRUPT, "not a number above 0");
    bool ok = decimal_of(j, &d) && d.n_whole + d.n_part <= 9;
    for (int i = 0; ok && i < d.n_whole + d.n_part; i++)
        m = m * 10 + (uint64_t)((i < d.n_whole ? d.whole[i] : d.part[i - d.n_whole]) - '0');
    for (; ok && d.n_part < l->places; d.n_part++)
        m *= 10;
    for (; ok && l->mod && l->places < d.n_part; l->places++)
        l->mod *= 10;
    l->places = d.n_part;
    if (ok)
        l->mod = l->mod ? l->mod / gcd(l->mod, m) * m : m;
    if (!ok || l->mod > NUM_STATES_MAX / 4 || l->places > 9)
        return schema_bad(c, n, "multipleOf", ERR_UNSUPPORTED, "too large or too fine");
    return ERR_OK;
}

static enum err collect(struct schema *c, const struct schema_set *s, struct limits *l)
{
    static const char *const words[] = {"minimum", "maximum", "exclusiveMinimum",
                                        "exclusiveMaximum"};
    const struct schema_node *n;
    *l = (struct limits){0};
    for (uint32_t i = 0; (n = schema_member(c, s, i)); i++) {
        for (size_t w = 0; w < N_ELEMS(words); w++)
            TRY(add_bound(c, n, words[w], l));
        TRY(add_multiple(c, n, l));
    }
    return ERR_OK;
}

/* ---- the automaton of one sign ---- */

enum phase { AT_START, AT_ZERO, IN_WHOLE, AT_POINT, IN_PART };

struct digits {
    uint32_t mod;
    uint8_t phase, n; /* n: digits of this phase */
    int8_t low, high; /* how the digits so far compare with the bounds' */
};

struct machine {
    struct gram_build *b;
    bool integer, uncounted; /* uncounted: digits before the point are not limited */
    struct decimal low, high;
    uint64_t mod;
    int places;
    struct digits *s;
    uint32_t *to; /* build state of each */
    uint32_t n, cap, cap_to;
    uint32_t *slot, n_slots;
};

static int8_t after_whole(const struct decimal *d, int n, int8_t c)
{
    return n != d->n_whole ? (n < d->n_whole ? -1 : 1) : c;
}

static int8_t next_whole(const struct decimal *d, int n, int8_t c, char digit)
{
    if (n > d->n_whole)
        return 1;
    return c ? c : (int8_t)((digit > d->whole[n - 1]) - (digit < d->whole[n - 1]));
}

static int8_t next_part(const struct decimal *d, int n, int8_t c, char digit)
{
    char other = n <= d->n_part ? d->part[n - 1] : '0';
    return c ? c : (int8_t)((digit > other) - (digit < other));
}

static bool accepts(const struct machine *m, struct digits x)
{
    int n = x.phase == IN_PART ? x.n : 0;
    uint64_t r = x.mod;
    if (x.phase == AT_START || x.phase == AT_POINT)
        return false;
    if (x.phase != IN_PART) {
        x.low = after_whole(&m->low, x.n, x.low);
        x.high = after_whole(&m->high, x.n, x.high);
    }
    if (x.low == 0 && m->low.n_part > n)
        x.low = -1;
    if (x.high == 0 && m->high.n_part > n)
        x.high = -1;
    for (int i = n; m->mod && i < m->places; i++)
        r = r * 10 % m->mod;
    return (!m->low.there || x.low > 0 || (x.low == 0 && !m->low.open)) &&
           (!m->high.there || x.high < 0 || (x.high == 0 && !m->high.open)) && (!m->mod || r == 0);
}

/* False: this byte cannot come. */
static bool advance(const struct machine *m, struct digits *x, char byte)
{
    uint64_t digit = (uint64_t)(byte - '0');
    if (byte == '.') {
        if (m->integer || (x->phase != AT_ZERO && x->phase != IN_WHOLE))
            return false;
        x->low = m->low.there ? after_whole(&m->low, x->n, x->low) : 0;
        x->high = m->high.there ? after_whole(&m->high, x->n, x->high) : 0;
        x->phase = AT_POINT;
        x->n = 0;
        return (!m->low.there || x->low >= 0) && (!m->high.there || x->high <= 0);
    }
    if (x->phase == AT_ZERO)
        return false;
    if (x->phase == AT_START && byte == '0') {
        x->phase = AT_ZERO;
        return true;
    }
    if (x->phase == AT_POINT || x->phase == IN_PART) {
        x->phase = IN_PART;
        if (++x->n > FRAC_DIGITS || (m->mod && x->n > m->places && byte != '0'))
            return false;
        if (m->mod && x->n <= m->places)
            x->mod = (uint32_t)((x->mod * 10 + digit) % m->mod);
        x->low = m->low.there ? next_part(&m->low, x->n, x->low, byte) : 0;
        x->high = m->high.there ? next_part(&m->high, x->n, x->high, byte) : 0;
        return true;
    }
    x->phase = IN_WHOLE;
    int enough = MAX(m->low.n_whole, m->high.n_whole) + 1;
    if (!m->uncounted || x->n < enough)
        x->n++;
    if (x->n > INT_DIGITS && !m->uncounted)
        return false;
    if (m->mod)
        x->mod = (uint32_t)((x->mod * 10 + digit) % m->mod);
    x->low = m->low.there ? next_whole(&m->low, x->n, x->low, byte) : 0;
    x->high = m->high.there ? next_whole(&m->high, x->n, x->high, byte) : 0;
    return !m->high.there || x->n <= m->high.n_whole;
}

static uint32_t state_of(struct machine *m, struct digits x)
{
    uint64_t key = (uint64_t)x.mod << 32 | (uint64_t)x.phase << 24 | (uint64_t)x.n << 16 |
                   (uint64_t)(x.low + 1) << 8 | (uint64_t)(x.high + 1);
    uint64_t h = num_hash(&key, sizeof key, 0);
    for (; m->slot[h % m->n_slots]; h++) {
        const struct digits *y = &m->s[m->slot[h % m->n_slots] - 1];
        if (y->mod == x.mod && y->phase == x.phase && y->n == x.n && y->low == x.low &&
            y->high == x.high)
            return m->to[m->slot[h % m->n_slots] - 1];
    }
    if (m->n >= NUM_STATES_MAX) {
        m->b->full = true;
        return 0;
    }
    uint32_t n = m->n;
    GRAM_GROW(m->s, n, m->cap);
    GRAM_GROW(m->to, n, m->cap_to);
    m->s[n] = x;
    m->to[n] = gram_build_state(m->b, accepts(m, x));
    m->slot[h % m->n_slots] = ++m->n;
    return m->to[n];
}

static uint32_t build_machine(struct machine *m)
{
    static const char bytes[] = ".0123456789";
    m->n_slots = 4 * NUM_STATES_MAX;
    m->slot = mem_alloc(m->n_slots * sizeof *m->slot);
    uint32_t start = state_of(m, (struct digits){0});
    for (uint32_t i = 0; i < m->n && !m->b->full; i++)
        for (const char *p = bytes; *p && !m->b->full; p++) {
            struct digits x = m->s[i];
            if (!advance(m, &x, *p))
                continue;
            uint32_t to = state_of(m, x);
            gram_build_byte(m->b, m->to[i], (uint8_t)*p, (uint8_t)*p, to);
        }
    mem_free(m->slot);
    mem_free(m->s);
    mem_free(m->to);
    return start;
}

static bool is_zero(const struct decimal *d)
{
    return !d->n_whole && !d->n_part;
}

static void limited(struct schema *c, const struct limits *l, bool integer, uint32_t start)
{
    struct machine m = {.b = &c->b,
                        .integer = integer,
                        .mod = l->mod,
                        .places = l->places,
                        .uncounted = l->mod > 500};
    struct machine neg = m;
    if (!l->hi.there || !l->hi.neg) {
        if (l->lo.there && !l->lo.neg)
            m.low = l->lo;
        m.high = l->hi;
        gram_build_eps(&c->b, start, build_machine(&m));
    }
    if (!l->lo.there || l->lo.neg || (is_zero(&l->lo) && !integer)) {
        neg.high = l->lo;
        if (l->hi.there && l->hi.neg)
            neg.low = l->hi;
        else if (integer || (l->hi.there && is_zero(&l->hi) && l->hi.open))
            neg.low = (struct decimal){.there = true, .open = true}; /* above zero: no -0 */
        uint32_t at = gram_build_state(&c->b, false);
        gram_build_byte(&c->b, start, '-', '-', at);
        gram_build_eps(&c->b, at, build_machine(&neg));
    }
}

enum err schema_number(struct schema *c, const struct schema_set *s, bool integer, uint32_t *rule)
{
    static const char *const free_text[] = {
        "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,20})?"
        "([eE](\\+?([0-9]{1,2}|1[0-9]{2}|2[0-8][0-9])|-[0-9]{1,3}))?",
        "0|-?[1-9][0-9]{0,17}"};
    struct limits l;
    char key[256];
    TRY(collect(c, s, &l));
    snprintf(key, sizeof key, "number %d %d%d%d:%.*s.%.*s %d%d%d:%.*s.%.*s %llu/%d", integer,
             l.lo.there, l.lo.neg, l.lo.open, l.lo.n_whole, l.lo.whole, l.lo.n_part, l.lo.part,
             l.hi.there, l.hi.neg, l.hi.open, l.hi.n_whole, l.hi.whole, l.hi.n_part, l.hi.part,
             (unsigned long long)l.mod, l.places);
    *rule = schema_text_rule(c, key);
    if (*rule != GRAM_NONE)
        return ERR_OK;
    uint32_t start;
    *rule = gram_build_rule(&c->b);
    if (!l.lo.there && !l.hi.there && !l.mod) {
        struct gram_dfa d;
        TRY(gram_regex_dfa(&d, GRAM_UTF8, span_of(free_text[integer]), false, c->e));
        start = gram_build_dfa(&c->b, &d);
        gram_dfa_done(&d);
    } else {
        start = gram_build_state(&c->b, false);
        limited(c, &l, integer, start);
    }
    if (!c->b.full)
        c->b.rule[*rule] = start;
    schema_text_add(c, key, *rule);
    return ERR_OK;
}

enum err schema_number_fits(struct schema *c, const struct schema_set *s, const json_t *v,
                            bool *fits)
{
    struct limits l;
    struct decimal d;
    TRY(collect(c, s, &l));
    if (!l.lo.there && !l.hi.there && !l.mod)
        return ERR_OK;
    if (!decimal_of(v, &d))
        return schema_bad(c, schema_member(c, s, 0), "enum", ERR_UNSUPPORTED,
                          "a number of more than %d places beside bounds", PLACES_MAX);
    int lo = l.lo.there ? compare(&d, &l.lo) : 1, hi = l.hi.there ? compare(&d, &l.hi) : -1;
    uint64_t r = 0;
    for (int i = 0; l.mod && i < d.n_whole + MAX(d.n_part, l.places); i++) {
        int k = i - d.n_whole;
        uint64_t digit = (uint64_t)((k < 0 ? d.whole[i] : k < d.n_part ? d.part[k] : '0') - '0');
        r = k < l.places ? (r * 10 + digit) % l.mod : r;
    }
    *fits = (lo > 0 || (lo == 0 && !l.lo.open)) && (hi < 0 || (hi == 0 && !l.hi.open)) &&
            (!l.mod || (r == 0 && d.n_part <= l.places));
    return ERR_OK;
}
