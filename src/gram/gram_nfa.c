/* SPDX-License-Identifier: MIT
 * gram_nfa.c - Thompson's construction: fragments with one way in and one way out. */
#include "gram/gram_int.h"

#include <string.h>

void gram_nfa_init(struct gram_nfa *m, enum gram_coding coding)
{
    *m = (struct gram_nfa){.coding = coding};
}

void gram_nfa_done(struct gram_nfa *m)
{
    mem_free(m->s);
    *m = (struct gram_nfa){0};
}

uint32_t gram_nfa_add(struct gram_nfa *m, struct gram_nfa_state s)
{
    if (m->n >= GRAM_NFA_MAX) {
        m->full = true;
        return 0;
    }
    GRAM_GROW(m->s, m->n, m->cap);
    m->s[m->n] = s;
    return m->n++;
}

static uint32_t add_end(struct gram_nfa *m)
{
    return gram_nfa_add(m, (struct gram_nfa_state){GRAM_NONE, GRAM_NONE, GRAM_NFA_SPLIT, 0, 0});
}

struct gram_frag gram_frag_empty(struct gram_nfa *m)
{
    uint32_t at = add_end(m);
    return (struct gram_frag){at, m->n, at, at};
}

struct gram_frag gram_frag_kind(struct gram_nfa *m, enum gram_nfa_kind kind, uint32_t rule)
{
    uint32_t end = add_end(m);
    uint32_t at = gram_nfa_add(m, (struct gram_nfa_state){end, rule, (uint8_t)kind, 0, 0});
    return (struct gram_frag){end, m->n, at, end};
}

struct gram_frag gram_frag_bytes(struct gram_nfa *m, struct span bytes)
{
    uint32_t end = add_end(m), at = end;
    for (size_t i = bytes.n; i-- > 0;) {
        uint8_t c = (uint8_t)bytes.p[i];
        at = gram_nfa_add(m, (struct gram_nfa_state){at, GRAM_NONE, GRAM_NFA_BYTE, c, c});
    }
    return (struct gram_frag){end, m->n, at, end};
}

struct gram_frag gram_frag_cat(struct gram_nfa *m, struct gram_frag x, struct gram_frag y)
{
    m->s[x.end].a = y.start;
    return (struct gram_frag){MIN(x.begin, y.begin), MAX(x.past, y.past), x.start, y.end};
}

struct gram_frag gram_frag_alt(struct gram_nfa *m, struct gram_frag x, struct gram_frag y)
{
    uint32_t end = add_end(m);
    uint32_t at = gram_nfa_add(m, (struct gram_nfa_state){x.start, y.start, GRAM_NFA_SPLIT, 0, 0});
    m->s[x.end].a = end;
    m->s[y.end].a = end;
    return (struct gram_frag){MIN(x.begin, y.begin), m->n, at, end};
}

static uint32_t moved(uint32_t to, const struct gram_frag *x, uint32_t by)
{
    return to != GRAM_NONE && to >= x->begin && to < x->past ? to + by : to;
}

/* A copy of x, whose end is open, behind everything. */
static void copy_frag(struct gram_nfa *m, const struct gram_frag *x)
{
    uint32_t by = m->n - x->begin;
    for (uint32_t i = x->begin; i < x->past; i++) {
        struct gram_nfa_state s = m->s[i];
        s.a = moved(s.a, x, by);
        if (s.kind != GRAM_NFA_CALL)
            s.b = moved(s.b, x, by);
        gram_nfa_add(m, s);
    }
}

struct gram_frag gram_frag_repeat(struct gram_nfa *m, struct gram_frag x, uint32_t min,
                                  uint32_t max)
{
    size_t length = x.past - x.begin, total = max == GRAM_NONE ? MAX(min, 1) : max, need;
    if (max == 0)
        return gram_frag_empty(m);
    if (m->full || !num_mul(length + 1, total, &need) || need > GRAM_NFA_MAX - m->n) {
        m->full = true;
        return x;
    }
    CHECK(x.past == m->n);
    for (size_t i = 1; i < total; i++)
        copy_frag(m, &x);
    uint32_t end = add_end(m), start = x.start, n = (uint32_t)length;
    for (uint32_t i = 0; i < total && !m->full; i++) {
        uint32_t way_in = x.start + i * n;
        if (i >= min && max != GRAM_NONE)
            way_in = gram_nfa_add(m, (struct gram_nfa_state){way_in, end, GRAM_NFA_SPLIT, 0, 0});
        if (i == 0)
            start = way_in;
        else
            m->s[x.end + (i - 1) * n].a = way_in;
    }
    uint32_t last = (uint32_t)(total - 1) * n, out = end;
    if (max == GRAM_NONE) {
        out = gram_nfa_add(m, (struct gram_nfa_state){x.start + last, end, GRAM_NFA_SPLIT, 0, 0});
        if (min == 0)
            start = out;
    }
    m->s[x.end + last].a = out;
    return (struct gram_frag){x.begin, m->n, start, end};
}
