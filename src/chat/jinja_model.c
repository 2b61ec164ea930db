/* SPDX-License-Identifier: MIT
 * jinja_model.c - Python's data model: types, truth, length, hash, equality, order. */
#include "chat/jinja_int.h"

#include <math.h>
#include <string.h>

const char *jinja_type(struct jinja_val v)
{
    static const char *const names[] = {
        [J_MISSING] = "missing", [J_UNDEF] = "Undefined", [J_NONE] = "NoneType",
        [J_BOOL] = "bool",       [J_INT] = "int",         [J_FLOAT] = "float",
        [J_STR] = "str",         [J_LIST] = "list",       [J_TUPLE] = "tuple",
        [J_DICT] = "dict",       [J_RANGE] = "range",     [J_VIEW] = "dict view",
        [J_ITER] = "generator",  [J_NS] = "Namespace",    [J_MACRO] = "Macro",
        [J_FUNC] = "function",   [J_BOUND] = "method",    [J_LOOP] = "LoopContext",
        [J_CYCLER] = "Cycler",   [J_JOINER] = "Joiner",
    };
    return names[v.k];
}

bool jinja_truth(struct jinja_val v)
{
    switch (v.k) {
    case J_MISSING:
    case J_UNDEF:
    case J_NONE: return false;
    case J_BOOL: return v.b;
    case J_INT: return v.i != 0;
    case J_FLOAT: return v.f != 0;
    case J_STR: return v.s->n != 0;
    case J_LIST:
    case J_TUPLE: return v.l->n != 0;
    case J_DICT: return v.d->n != 0;
    case J_VIEW: return v.view->d->n != 0;
    case J_RANGE: return v.range->n != 0;
    default: return true;
    }
}

bool jinja_is_number(struct jinja_val v)
{
    return v.k == J_BOOL || v.k == J_INT || v.k == J_FLOAT;
}

static int64_t whole(struct jinja_val v)
{
    return v.k == J_BOOL ? v.b : v.i;
}

double jinja_num(struct jinja_val v)
{
    return v.k == J_FLOAT ? v.f : (double)whole(v);
}

enum err jinja_want_int(struct jinja_run *r, struct jinja_val v, const char *what, int64_t *out)
{
    if (v.k == J_UNDEF)
        return jinja_undef_fail(r, v);
    if (v.k != J_BOOL && v.k != J_INT)
        return jinja_fail(r, "%s must be an integer, not %s", what, jinja_type(v));
    *out = whole(v);
    return ERR_OK;
}

enum err jinja_want_str(struct jinja_run *r, struct jinja_val v, const char *what, struct span *out)
{
    if (v.k != J_STR)
        return jinja_fail(r, "%s must be a string, not %s", what, jinja_type(v));
    *out = jinja_span(v.s);
    return ERR_OK;
}

enum err jinja_len(struct jinja_run *r, struct jinja_val v, size_t *out)
{
    int64_t n;
    switch (v.k) {
    case J_UNDEF: *out = 0; return ERR_OK;
    case J_STR: *out = v.s->n_cp; return ERR_OK;
    case J_LIST:
    case J_TUPLE: *out = v.l->n; return ERR_OK;
    case J_DICT: *out = v.d->n; return ERR_OK;
    case J_VIEW: *out = v.view->d->n; return ERR_OK;
    case J_RANGE: *out = (size_t)v.range->n; return ERR_OK;
    case J_LOOP:
        TRY(jinja_loop_length(r, v.loop, &n));
        *out = (size_t)n;
        return ERR_OK;
    default: return jinja_fail(r, "object of type '%s' has no len()", jinja_type(v));
    }
}

/* Equal numbers hash alike, whatever their type. */
static uint64_t hash_number(struct jinja_val v)
{
    if (v.k != J_FLOAT || (v.f == floor(v.f) && fabs(v.f) < 0x1p63)) {
        int64_t i = v.k == J_FLOAT ? (int64_t)v.f : whole(v);
        return num_hash(&i, sizeof i, 1);
    }
    return num_hash(&v.f, sizeof v.f, 2);
}

enum err jinja_hash(struct jinja_run *r, struct jinja_val v, uint64_t *out)
{
    uint64_t h;
    switch (v.k) {
    case J_STR: *out = num_hash(v.s->p, v.s->n, 0); return jinja_step(r, v.s->n / 64);
    case J_BOOL:
    case J_INT:
    case J_FLOAT: *out = hash_number(v); return ERR_OK;
    case J_TUPLE:
        *out = 3;
        TRY(jinja_enter(r));
        for (size_t i = 0; i < v.l->n; i++) {
            TRY(jinja_hash(r, v.l->v[i], &h));
            *out = num_hash(&h, sizeof h, *out);
        }
        r->depth--;
        return jinja_step(r, v.l->n);
    case J_LIST:
    case J_DICT:
    case J_VIEW: return jinja_fail(r, "unhashable type: '%s'", jinja_type(v));
    case J_UNDEF:
    case J_NONE: *out = v.k; return ERR_OK;
    case J_RANGE: *out = (uint64_t)v.range->n; return ERR_OK;
    default: *out = num_hash(&v.s, sizeof v.s, 4); return ERR_OK;
    }
}

static enum err eq_lists(struct jinja_run *r, const struct jinja_list *a,
                         const struct jinja_list *b, bool *out)
{
    *out = a->n == b->n;
    TRY(jinja_enter(r));
    for (size_t i = 0; *out && i < a->n; i++)
        TRY(jinja_eq(r, a->v[i], b->v[i], out));
    r->depth--;
    return ERR_OK;
}

static enum err eq_dicts(struct jinja_run *r, const struct jinja_dict *a,
                         const struct jinja_dict *b, bool with_values, bool *out)
{
    *out = a->n == b->n;
    TRY(jinja_enter(r));
    for (size_t i = 0; *out && i < a->n; i++) {
        const struct jinja_val *v;
        TRY(jinja_dict_get(r, b, a->e[i].key, &v));
        *out = v != NULL;
        if (v && with_values)
            TRY(jinja_eq(r, a->e[i].v, *v, out));
    }
    r->depth--;
    return ERR_OK;
}

static bool eq_numbers(struct jinja_val a, struct jinja_val b)
{
    if (a.k != J_FLOAT && b.k != J_FLOAT)
        return whole(a) == whole(b);
    return jinja_num(a) == jinja_num(b);
}

enum err jinja_eq(struct jinja_run *r, struct jinja_val a, struct jinja_val b, bool *out)
{
    TRY(jinja_step(r, 1));
    *out = false;
    if (jinja_is_number(a) && jinja_is_number(b)) {
        *out = eq_numbers(a, b);
        return ERR_OK;
    }
    if (a.k != b.k)
        return ERR_OK;
    switch (a.k) {
    case J_MISSING:
    case J_UNDEF:
    case J_NONE: *out = true; return ERR_OK;
    case J_STR: *out = span_eq(jinja_span(a.s), jinja_span(b.s)); return jinja_step(r, a.s->n / 64);
    case J_LIST:
    case J_TUPLE: return eq_lists(r, a.l, b.l, out);
    case J_DICT: return eq_dicts(r, a.d, b.d, true, out);
    case J_VIEW:
        if (a.view->kind == b.view->kind && a.view->kind != J_VIEW_VALUES)
            return eq_dicts(r, a.view->d, b.view->d, a.view->kind == J_VIEW_ITEMS, out);
        *out = a.view == b.view;
        return ERR_OK;
    case J_RANGE:
        *out = a.range->n == b.range->n && (a.range->n < 1 || a.range->start == b.range->start) &&
               (a.range->n < 2 || a.range->step == b.range->step);
        return ERR_OK;
    case J_BOUND:
        *out = a.bound->fn == b.bound->fn && a.bound->self.s == b.bound->self.s;
        return ERR_OK;
    default: *out = a.s == b.s; return ERR_OK; /* identity: any of the pointers */
    }
}

static int cmp_numbers(struct jinja_val a, struct jinja_val b)
{
    if (a.k != J_FLOAT && b.k != J_FLOAT)
        return whole(a) < whole(b) ? -1 : whole(a) > whole(b);
    double x = jinja_num(a), y = jinja_num(b);
    return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
}

static enum err cmp_lists(struct jinja_run *r, const struct jinja_list *a,
                          const struct jinja_list *b, int *out)
{
    TRY(jinja_enter(r));
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        bool same;
        TRY(jinja_eq(r, a->v[i], b->v[i], &same));
        if (!same) {
            r->depth--;
            return jinja_cmp(r, a->v[i], b->v[i], out);
        }
    }
    r->depth--;
    *out = a->n < b->n ? -1 : a->n > b->n;
    return ERR_OK;
}

enum err jinja_cmp(struct jinja_run *r, struct jinja_val a, struct jinja_val b, int *out)
{
    TRY(jinja_step(r, 1));
    if (jinja_is_number(a) && jinja_is_number(b)) {
        *out = cmp_numbers(a, b);
        return ERR_OK;
    }
    if (a.k == J_STR && b.k == J_STR) {
        /* UTF-8 sorts as its code points */
        int c = memcmp(a.s->p, b.s->p, MIN(a.s->n, b.s->n));
        *out = c < 0 ? -1 : c > 0 ? 1 : a.s->n < b.s->n ? -1 : a.s->n > b.s->n;
        return jinja_step(r, MIN(a.s->n, b.s->n) / 64);
    }
    if (a.k == b.k && (a.k == J_LIST || a.k == J_TUPLE))
        return cmp_lists(r, a.l, b.l, out);
    if (a.k == J_UNDEF)
        return jinja_undef_fail(r, a);
    if (b.k == J_UNDEF)
        return jinja_undef_fail(r, b);
    return jinja_fail(r, "no order between '%s' and '%s'", jinja_type(a), jinja_type(b));
}

/* Merge sort: stable, and every comparison may fail. */
enum err jinja_sort(struct jinja_run *r, const struct jinja_val *keys, size_t *idx, size_t n,
                    bool reverse)
{
    TRY(jinja_charge(r, 2 * n * sizeof(*idx)));
    size_t *tmp = arena_array(&r->arena, n, sizeof(*tmp));
    for (size_t i = 0; i < n; i++)
        idx[i] = i;
    for (size_t w = 1; w < n; w *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * w) {
            size_t mid = MIN(lo + w, n), hi = MIN(lo + 2 * w, n), i = lo, k = mid;
            for (size_t to = lo; to < hi; to++) {
                int c = 0;
                if (i < mid && k < hi)
                    TRY(reverse ? jinja_cmp(r, keys[idx[i]], keys[idx[k]], &c)
                                : jinja_cmp(r, keys[idx[k]], keys[idx[i]], &c));
                bool take_right = i >= mid || (k < hi && c == -1);
                tmp[to] = take_right ? idx[k++] : idx[i++];
            }
        }
        memcpy(idx, tmp, n * sizeof(*idx));
    }
    return ERR_OK;
}
