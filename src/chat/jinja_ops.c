/* SPDX-License-Identifier: MIT
 * jinja_ops.c - operators, as Python has them, on 64-bit integers: what needs more is an error. */
#include "chat/jinja_int.h"

#include <math.h>
#include <string.h>

#define OVERFLOW "an integer beyond 64 bits"

static int64_t whole(struct jinja_val v)
{
    return v.k == J_BOOL ? v.b : v.i;
}

/* a + b for strings; b is appended behind a when a ends where its storage ends, so that a string
 * which grows in a loop is not copied each time. */
static enum err concat(struct jinja_run *r, struct jinja_val a, struct jinja_val b,
                       struct jinja_val *out)
{
    if (a.markup != b.markup)
        TRY(jinja_escape(r, a.markup ? b : a, a.markup ? &b : &a));
    size_t n = a.s->n + b.s->n;
    struct jinja_grow *g = a.s->grow;
    if (n > r->limits.output_bytes)
        return jinja_fail(r, "text longer than %zu bytes", r->limits.output_bytes);
    if (!b.s->n) {
        *out = a;
        return ERR_OK;
    }
    TRY(jinja_charge(r, b.s->n));
    if (!g || a.s->p + a.s->n != g->p + g->used || g->used + b.s->n > g->cap) {
        size_t cap = n < 64 ? n : n + n / 2;
        TRY(jinja_charge(r, cap));
        g = arena_alloc(&r->arena, sizeof(*g));
        g->p = arena_alloc(&r->arena, cap);
        g->cap = cap;
        memcpy(g->p, a.s->p, a.s->n);
        g->used = a.s->n;
    }
    memcpy(g->p + g->used, b.s->p, b.s->n);
    g->used += b.s->n;
    struct jinja_str *s = jinja_str_view(&r->arena, g->p + g->used - n, n, a.s->n_cp + b.s->n_cp);
    s->grow = g;
    *out = jinja_of_str(s);
    out->markup = a.markup;
    return ERR_OK;
}

static enum err add_lists(struct jinja_run *r, struct jinja_val a, struct jinja_val b,
                          struct jinja_val *out)
{
    struct jinja_list *l = arena_alloc(&r->arena, sizeof(*l));
    *l = *a.l;
    l->group = false;
    for (size_t i = 0, n = b.l->n; i < n; i++)
        TRY(jinja_list_push(r, l, b.l->v[i]));
    *out = (struct jinja_val){.k = a.k, .l = l};
    return ERR_OK;
}

static enum err repeat(struct jinja_run *r, struct jinja_val x, int64_t times,
                       struct jinja_val *out)
{
    size_t n = x.k == J_STR ? x.s->n : x.l->n, total;
    if (times < 0)
        times = 0;
    if (!num_mul(n, (size_t)times, &total) || total > r->limits.output_bytes)
        return jinja_fail(r, "a repetition of more than %zu bytes", r->limits.output_bytes);
    if (x.k == J_STR) {
        TRY(jinja_charge(r, total));
        char *p = arena_alloc(&r->arena, total + 1);
        for (size_t at = 0; at < total; at += n)
            memcpy(p + at, x.s->p, n);
        *out = jinja_of_str(jinja_str_view(&r->arena, p, total, x.s->n_cp * (size_t)times));
        out->markup = x.markup;
        return ERR_OK;
    }
    TRY(jinja_charge(r, total * sizeof(x)));
    struct jinja_list *l = jinja_list_new(r, total);
    for (size_t i = 0; i < total; i++)
        TRY(jinja_list_push(r, l, x.l->v[i % n]));
    *out = (struct jinja_val){.k = x.k, .l = l};
    return ERR_OK;
}

static enum err int_pow(struct jinja_run *r, int64_t base, int64_t exp, struct jinja_val *out)
{
    int64_t v = 1;
    if (base == 0 || base == 1 || base == -1)
        exp = exp ? 2 - (exp & 1) : 0;
    for (; exp > 0; exp--)
        if (__builtin_mul_overflow(v, base, &v))
            return jinja_fail(r, OVERFLOW);
    *out = jinja_int(v);
    return ERR_OK;
}

static enum err int_op(struct jinja_run *r, enum jinja_token op, int64_t a, int64_t b,
                       struct jinja_val *out)
{
    int64_t v = 0;
    bool wrapped = false;
    switch (op) {
    case J_T_ADD: wrapped = __builtin_add_overflow(a, b, &v); break;
    case J_T_SUB: wrapped = __builtin_sub_overflow(a, b, &v); break;
    case J_T_MUL: wrapped = __builtin_mul_overflow(a, b, &v); break;
    case J_T_FLOORDIV:
        wrapped = a == INT64_MIN && b == -1;
        if (!wrapped)
            v = a / b - (a % b != 0 && (a % b < 0) != (b < 0));
        break;
    default:
        v = b == -1 ? 0 : a % b;
        if (v != 0 && (v < 0) != (b < 0))
            v += b;
    }
    if (wrapped)
        return jinja_fail(r, OVERFLOW);
    *out = jinja_int(v);
    return ERR_OK;
}

static double float_mod(double a, double b)
{
    double m = fmod(a, b);
    if (m == 0)
        return copysign(0, b);
    return (m < 0) != (b < 0) ? m + b : m;
}

static double float_floordiv(double a, double b)
{
    double m = fmod(a, b), d = (a - m) / b;
    if (m != 0 && (b < 0) != (m < 0))
        d -= 1;
    if (d == 0)
        return copysign(0, a / b);
    double f = floor(d);
    return d - f > 0.5 ? f + 1 : f;
}

static enum err float_pow(struct jinja_run *r, double a, double b, struct jinja_val *out)
{
    if (a == 0 && b < 0)
        return jinja_fail(r, "0.0 cannot be raised to a negative power");
    if (a < 0 && b != floor(b) && isfinite(b))
        return jinja_fail(r, "a complex number");
    double v = pow(a, b);
    if (isinf(v) && isfinite(a) && isfinite(b))
        return jinja_fail(r, "the result of ** is too large");
    *out = jinja_float(v);
    return ERR_OK;
}

static enum err number_op(struct jinja_run *r, enum jinja_token op, struct jinja_val a,
                          struct jinja_val b, struct jinja_val *out)
{
    bool ints = a.k != J_FLOAT && b.k != J_FLOAT;
    double x = jinja_num(a), y = jinja_num(b);
    if (op == J_T_POW)
        return ints && whole(b) >= 0 ? int_pow(r, whole(a), whole(b), out)
                                     : float_pow(r, x, y, out);
    if ((op == J_T_DIV || op == J_T_FLOORDIV || op == J_T_MOD) && y == 0)
        return jinja_fail(r, "division by zero");
    if (ints && op != J_T_DIV)
        return int_op(r, op, whole(a), whole(b), out);
    if (ints) { /* more digits than a double has, so that the quotient is rounded once */
        *out = jinja_float((double)((long double)whole(a) / (long double)whole(b)));
        return ERR_OK;
    }
    *out = jinja_float(op == J_T_ADD        ? x + y
                       : op == J_T_SUB      ? x - y
                       : op == J_T_MUL      ? x * y
                       : op == J_T_DIV      ? x / y
                       : op == J_T_FLOORDIV ? float_floordiv(x, y)
                                            : float_mod(x, y));
    return ERR_OK;
}

static bool is_seq(struct jinja_val v)
{
    return v.k == J_STR || v.k == J_LIST || v.k == J_TUPLE;
}

static bool is_whole(struct jinja_val v)
{
    return v.k == J_INT || v.k == J_BOOL;
}

enum err jinja_binary(struct jinja_run *r, enum jinja_token op, struct jinja_val a,
                      struct jinja_val b, struct jinja_val *out)
{
    TRY(jinja_step(r, 1));
    if (op == J_T_MOD && a.k == J_STR)
        return jinja_printf(r, jinja_span(a.s), b, out);
    if (jinja_is_number(a) && jinja_is_number(b))
        return number_op(r, op, a, b, out);
    if (op == J_T_ADD && a.k == b.k && a.k == J_STR)
        return concat(r, a, b, out);
    if (op == J_T_ADD && a.k == b.k && (a.k == J_LIST || a.k == J_TUPLE))
        return add_lists(r, a, b, out);
    if (op == J_T_MUL && is_seq(a) && is_whole(b))
        return repeat(r, a, whole(b), out);
    if (op == J_T_MUL && is_seq(b) && is_whole(a))
        return repeat(r, b, whole(a), out);
    if (a.k == J_UNDEF)
        return jinja_undef_fail(r, a);
    if (b.k == J_UNDEF)
        return jinja_undef_fail(r, b);
    return jinja_fail(r, "unsupported operands: '%s' and '%s'", jinja_type(a), jinja_type(b));
}

enum err jinja_contains(struct jinja_run *r, struct jinja_val x, struct jinja_val in, bool *out)
{
    struct jinja_iter *it;
    struct jinja_val v;
    const struct jinja_val *found;
    bool more;
    *out = false;
    if (in.k == J_STR) {
        if (x.k == J_UNDEF)
            return jinja_undef_fail(r, x);
        if (x.k != J_STR)
            return jinja_fail(r, "'in' a string requires a string, not %s", jinja_type(x));
        *out = span_find(jinja_span(in.s), jinja_span(x.s), 0) != SIZE_MAX;
        return jinja_step(r, in.s->n / 16);
    }
    if (in.k == J_DICT || (in.k == J_VIEW && in.view->kind == J_VIEW_KEYS)) {
        TRY(jinja_dict_get(r, in.k == J_DICT ? in.d : in.view->d, x, &found));
        *out = found != NULL;
        return ERR_OK;
    }
    if (!jinja_can_iterate(in))
        return jinja_fail(r, "argument of type '%s' is not iterable", jinja_type(in));
    TRY(jinja_iterate(r, in, &it));
    for (;;) {
        TRY(jinja_next(r, it, &v, &more));
        if (more)
            TRY(jinja_eq(r, v, x, out));
        if (!more || *out)
            return ERR_OK;
    }
}

enum err jinja_compare(struct jinja_run *r, enum jinja_token op, struct jinja_val a,
                       struct jinja_val b, bool *out)
{
    int c;
    switch (op) {
    case J_T_EQ: return jinja_eq(r, a, b, out);
    case J_T_NE:
        TRY(jinja_eq(r, a, b, out));
        *out = !*out;
        return ERR_OK;
    case J_T_IN: return jinja_contains(r, a, b, out);
    case J_T_NOT_IN:
        TRY(jinja_contains(r, a, b, out));
        *out = !*out;
        return ERR_OK;
    default:
        TRY(jinja_cmp(r, a, b, &c));
        *out = op == J_T_LT   ? c == -1
               : op == J_T_GT ? c == 1
               : op == J_T_LE ? c <= 0
                              : c == 0 || c == 1;
        return ERR_OK;
    }
}

/* ---- attributes and subscripts ---- */

struct jinja_val jinja_at(struct jinja_run *r, struct jinja_val x, size_t i)
{
    if (x.k == J_RANGE)
        return jinja_int(x.range->start + (int64_t)i * x.range->step);
    if (x.k != J_STR)
        return x.l->v[i];
    size_t from = jinja_cp_pos(x.s, i), len;
    utf8_get(x.s->p + from, x.s->n - from, &len);
    struct jinja_val v = jinja_of_str(jinja_str_view(&r->arena, x.s->p + from, len, 1));
    v.markup = x.markup;
    return v;
}

/* Attributes that are values, not methods. */
static enum err get_value_field(struct jinja_run *r, struct jinja_val x, struct span name,
                                struct jinja_val *out, bool *found)
{
    const struct jinja_val *v;
    *found = false;
    if (x.k == J_NS) {
        v = jinja_dict_find(*x.ns, name);
        *found = v != NULL;
        if (v)
            *out = *v;
    } else if (x.k == J_LOOP) {
        return jinja_loop_field(r, x.loop, name, out, found);
    } else if (x.k == J_TUPLE && x.l->group) {
        *found = span_eq_cstr(name, "grouper") || span_eq_cstr(name, "list");
        *out = x.l->v[name.n == 4];
    } else if (x.k == J_CYCLER && span_eq_cstr(name, "current")) {
        *found = true;
        *out = x.cycler->items->v[x.cycler->pos];
    } else if (x.k == J_MACRO && span_eq_cstr(name, "name")) {
        *found = true;
        *out = x.macro->node->name ? jinja_of_str(x.macro->node->name) : J_NONE_VAL;
    } else if (x.k == J_RANGE && (span_eq_cstr(name, "start") || span_eq_cstr(name, "stop") ||
                                  span_eq_cstr(name, "step"))) {
        *found = true;
        *out = jinja_int(name.n == 5        ? x.range->start
                         : name.p[2] == 'o' ? x.range->stop
                                            : x.range->step);
    }
    return ERR_OK;
}

enum err jinja_get_field(struct jinja_run *r, struct jinja_val x, const struct jinja_str *name,
                         struct jinja_val *out, bool *found)
{
    bool is_unsafe;
    TRY(get_value_field(r, x, jinja_span(name), out, found));
    if (*found)
        return ERR_OK;
    const struct jinja_fn *fn = jinja_find_method(x.k, jinja_span(name), &is_unsafe);
    *found = fn || is_unsafe;
    if (is_unsafe) {
        *out = jinja_undef_hint(r, "access to an attribute that changes the object is unsafe");
    } else if (fn) {
        struct jinja_bound *b = arena_alloc(&r->arena, sizeof(*b));
        b->fn = fn;
        b->self = x;
        *out = (struct jinja_val){.k = J_BOUND, .bound = b};
    }
    return ERR_OK;
}

/* x[key] alone: *found false where Python raises TypeError or LookupError. */
static enum err subscript(struct jinja_run *r, struct jinja_val x, struct jinja_val key,
                          struct jinja_val *out, bool *found)
{
    const struct jinja_val *v = NULL;
    size_t n;
    *found = false;
    if (x.k == J_DICT) {
        bool hashable = key.k != J_LIST && key.k != J_DICT && key.k != J_VIEW;
        if (!hashable)
            return ERR_OK;
        TRY(jinja_dict_get(r, x.d, key, &v));
        *found = v != NULL;
        if (v)
            *out = *v;
        return ERR_OK;
    }
    if (!is_whole(key) || !(is_seq(x) || x.k == J_RANGE))
        return ERR_OK;
    TRY(jinja_len(r, x, &n));
    int64_t i = whole(key);
    if (i < 0)
        i += (int64_t)n;
    *found = i >= 0 && i < (int64_t)n;
    if (*found)
        *out = jinja_at(r, x, (size_t)i);
    return x.k == J_STR ? jinja_step(r, x.s->n == x.s->n_cp ? 0 : x.s->n / 64) : ERR_OK;
}

enum err jinja_get_attr(struct jinja_run *r, struct jinja_val x, const struct jinja_str *name,
                        struct jinja_val *out)
{
    bool found;
    if (x.k == J_UNDEF && !(name->n > 4 && name->p[0] == '_' && name->p[1] == '_'))
        return jinja_undef_fail(r, x);
    TRY(jinja_get_field(r, x, name, out, &found));
    if (!found && x.k == J_DICT)
        TRY(subscript(r, x, jinja_of_str(name), out, &found));
    if (!found)
        *out = jinja_undef_of(r, x, name);
    return ERR_OK;
}

enum err jinja_get_item(struct jinja_run *r, struct jinja_val x, struct jinja_val key,
                        struct jinja_val *out)
{
    bool found;
    if (x.k == J_UNDEF)
        return jinja_undef_fail(r, x);
    TRY(subscript(r, x, key, out, &found));
    if (!found && key.k == J_STR)
        TRY(jinja_get_field(r, x, key.s, out, &found));
    if (!found)
        *out = jinja_undef_of(r, x, key.k == J_STR ? key.s : NULL);
    return ERR_OK;
}

/* Where a slice begins and how many elements it has, as Python's slice.indices(). */
static enum err slice_range(struct jinja_run *r, size_t n, const struct jinja_val lim[3],
                            struct jinja_range *out)
{
    int64_t len = (int64_t)n, step = 1;
    if (lim[2].k != J_NONE)
        TRY(jinja_want_int(r, lim[2], "a slice's step", &step));
    if (step == 0)
        return jinja_fail(r, "slice step cannot be zero");
    int64_t edge[2] = {step < 0 ? len - 1 : 0, step < 0 ? -1 : len};
    for (int i = 0; i < 2; i++) {
        int64_t v, lo = step < 0 ? -1 : 0, hi = step < 0 ? len - 1 : len;
        if (lim[i].k == J_NONE)
            continue;
        TRY(jinja_want_int(r, lim[i], "a slice's limit", &v));
        if (v < 0)
            v = v < -len ? lo : MAX(v + len, lo);
        edge[i] = MIN(v, hi);
    }
    int64_t gap = step < 0 ? edge[0] - edge[1] : edge[1] - edge[0];
    uint64_t by = step < 0 ? 0 - (uint64_t)step : (uint64_t)step;
    int64_t count = gap <= 0 ? 0 : (int64_t)(((uint64_t)gap - 1) / by) + 1;
    *out = (struct jinja_range){edge[0], edge[1], step, count};
    return ERR_OK;
}

static enum err slice_str(struct jinja_run *r, struct jinja_val x, const struct jinja_range *w,
                          struct jinja_val *out)
{
    const struct jinja_str *s = x.s;
    struct jinja_str *to;
    TRY(jinja_charge(r, w->step == 1 ? s->n / 16 : s->n));
    if (w->n <= 0) {
        to = jinja_str_view(&r->arena, "", 0, 0);
    } else if (w->step == 1) {
        size_t from = jinja_cp_pos(s, (size_t)w->start);
        struct jinja_str rest = {s->p + from, s->n - from, s->n_cp - (size_t)w->start, NULL};
        size_t n = jinja_cp_pos(&rest, (size_t)w->n);
        to = jinja_str_view(&r->arena, s->p + from, n, (size_t)w->n);
    } else {
        /* positions of all code points, then the wanted ones */
        TRY(jinja_charge(r, (s->n_cp + 1) * sizeof(uint32_t)));
        uint32_t *pos = arena_array(&r->arena, s->n_cp + 1, sizeof(*pos));
        char *p = arena_alloc(&r->arena, s->n + 1);
        size_t n = 0, i = 0;
        for (size_t b = 0; b < s->n; b++)
            if (((unsigned char)s->p[b] & 0xc0) != 0x80)
                pos[i++] = (uint32_t)b;
        pos[i] = (uint32_t)s->n;
        for (int64_t k = 0; k < w->n; k++) {
            size_t c = (size_t)(w->start + k * w->step);
            memcpy(p + n, s->p + pos[c], pos[c + 1] - pos[c]);
            n += pos[c + 1] - pos[c];
        }
        to = jinja_str_view(&r->arena, p, n, (size_t)w->n);
    }
    *out = jinja_of_str(to);
    out->markup = x.markup;
    return ERR_OK;
}

enum err jinja_slice(struct jinja_run *r, struct jinja_val x, const struct jinja_val lim[3],
                     struct jinja_val *out)
{
    struct jinja_range w;
    size_t n;
    if (x.k == J_UNDEF)
        return jinja_undef_fail(r, x);
    if (!is_seq(x) && x.k != J_RANGE)
        return jinja_fail(r, "'%s' object cannot be sliced", jinja_type(x));
    TRY(jinja_len(r, x, &n));
    TRY(slice_range(r, n, lim, &w));
    if (x.k == J_STR)
        return slice_str(r, x, &w, out);
    if (x.k == J_RANGE) {
        struct jinja_range *to = arena_alloc(&r->arena, sizeof(*to));
        const struct jinja_range *of = x.range;
        if (__builtin_mul_overflow(of->step, w.step, &to->step))
            return jinja_fail(r, OVERFLOW);
        to->start = of->start + w.start * of->step;
        to->stop = of->start + w.stop * of->step;
        to->n = w.n;
        *out = (struct jinja_val){.k = J_RANGE, .range = to};
        return ERR_OK;
    }
    TRY(jinja_charge(r, (size_t)w.n * sizeof(x)));
    struct jinja_list *l = jinja_list_new(r, (size_t)w.n);
    for (int64_t i = 0; i < w.n; i++)
        TRY(jinja_list_push(r, l, x.l->v[w.start + i * w.step]));
    *out = (struct jinja_val){.k = x.k, .l = l};
    return ERR_OK;
}

/* ---- paths ---- */

enum err jinja_get_path(struct jinja_run *r, struct jinja_val x, struct jinja_val path,
                        struct jinja_val dflt, struct jinja_val *out)
{
    bool has_default = dflt.k != J_MISSING && dflt.k != J_NONE;
    *out = x;
    if (path.k == J_NONE || path.k == J_MISSING)
        return ERR_OK;
    if (path.k != J_STR) {
        TRY(jinja_get_item(r, x, path, out));
        if (has_default && out->k == J_UNDEF)
            *out = dflt;
        return ERR_OK;
    }
    struct span s = jinja_span(path.s);
    for (;;) {
        size_t dot = span_find(s, SPAN("."), 0);
        struct span part = {s.p, MIN(dot, s.n)};
        bool is_int = part.n != 0 && part.n < 19;
        int64_t i = 0;
        for (size_t k = 0; is_int && k < part.n; k++) {
            is_int = part.p[k] >= '0' && part.p[k] <= '9';
            i = i * 10 + (part.p[k] - '0');
        }
        struct jinja_val key = jinja_int(i);
        if (!is_int)
            TRY(jinja_text(r, part, &key));
        TRY(jinja_get_item(r, *out, key, out));
        if (has_default && out->k == J_UNDEF)
            *out = dflt;
        if (dot >= s.n)
            return ERR_OK;
        s.p += dot + 1;
        s.n -= dot + 1;
    }
}

struct jinja_val jinja_fold(struct jinja_run *r, struct jinja_val v, bool case_sensitive)
{
    struct str buf;
    struct jinja_val out = v;
    if (v.k != J_STR || case_sensitive)
        return v;
    jinja_buf(r, &buf);
    jinja_put_case(&buf, jinja_span(v.s), J_LOWER);
    out = jinja_of_str(jinja_str_new(&r->arena, buf.p ? buf.p : "", buf.n));
    str_done(&buf);
    return out;
}
