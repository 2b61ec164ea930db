/* SPDX-License-Identifier: MIT
 * jinja_methods_more.c - methods of str that fill, those of the other types, and their list. */
#include "chat/jinja_filters.h"

#include <string.h>

#define UNUSED ((void)r, (void)c, (void)a, (void)out)
#define SELF   jinja_span(c->self.s)

/* n copies of a character on each side. */
static enum err pad(struct jinja_run *r, const struct jinja_call *c, struct jinja_val fill,
                    int64_t left, int64_t right, struct jinja_val *out)
{
    struct span ch = {" ", 1};
    struct str buf;
    if (fill.k != J_MISSING) {
        if (fill.k != J_STR || fill.s->n_cp != 1)
            return jinja_fail(r, "the fill character must be exactly one character long");
        ch = jinja_span(fill.s);
    }
    if (left + right > (int64_t)r->limits.output_bytes)
        return jinja_fail(r, "text longer than %zu bytes", r->limits.output_bytes);
    TRY(jinja_charge(r, (size_t)(left + right) * ch.n + c->self.s->n));
    jinja_buf(r, &buf);
    for (int64_t i = 0; i < left; i++)
        str_add_span(&buf, ch);
    str_add_span(&buf, SELF);
    for (int64_t i = 0; i < right; i++)
        str_add_span(&buf, ch);
    return jinja_take(r, ERR_OK, &buf, out);
}

static enum err missing(struct jinja_run *r, const struct jinja_call *c, struct jinja_val width,
                        int64_t *out)
{
    int64_t w;
    TRY(jinja_want_int(r, width, "the width", &w));
    *out = w > (int64_t)c->self.s->n_cp ? w - (int64_t)c->self.s->n_cp : 0;
    if (*out > INT64_MAX / 4)
        return jinja_fail(r, "a width of %lld", (long long)w);
    return ERR_OK;
}

METHOD_OF(center)
{
    int64_t n;
    TRY(missing(r, c, a[0], &n));
    int64_t width = n + (int64_t)c->self.s->n_cp, left = n / 2 + (n & width & 1);
    return pad(r, c, a[1], left, n - left, out);
}

METHOD_OF(ljust)
{
    int64_t n;
    TRY(missing(r, c, a[0], &n));
    return pad(r, c, a[1], 0, n, out);
}

METHOD_OF(rjust)
{
    int64_t n;
    TRY(missing(r, c, a[0], &n));
    return pad(r, c, a[1], n, 0, out);
}

METHOD_OF(zfill)
{
    int64_t n;
    struct jinja_val zeros, rest;
    struct span s = SELF;
    TRY(missing(r, c, a[0], &n));
    bool sign = s.n && (*s.p == '-' || *s.p == '+');
    struct jinja_call with = *c;
    with.self = jinja_of_str(
        jinja_str_view(&r->arena, s.p + sign, s.n - sign, c->self.s->n_cp - sign));
    zeros = jinja_of_str(jinja_str_view(&r->arena, "0", 1, 1));
    TRY(pad(r, &with, zeros, n, 0, &rest));
    return jinja_binary(r, J_T_ADD, jinja_of_str(jinja_str_view(&r->arena, s.p, sign, sign)), rest,
                        out);
}

METHOD_OF(expandtabs)
{
    struct str buf;
    int64_t size = 8, column = 0;
    struct span s = SELF;
    if (a[0].k != J_MISSING)
        TRY(jinja_want_int(r, a[0], "the tab size", &size));
    if (size > 1000)
        return jinja_fail(r, "a tab size of %lld", (long long)size);
    TRY(jinja_charge(r, s.n));
    jinja_buf(r, &buf);
    for (size_t i = 0, len; i < s.n && !buf.full; i += len) {
        utf8_get(s.p + i, s.n - i, &len);
        if (s.p[i] != '\t') {
            str_add(&buf, s.p + i, len);
            column = s.p[i] == '\n' || s.p[i] == '\r' ? 0 : column + 1;
            continue;
        }
        for (int64_t n = size > 0 ? size - column % size : 0; n > 0; n--, column++)
            str_add_char(&buf, ' ');
        r->steps += size > 0 ? (uint64_t)size / 16 : 0;
    }
    return jinja_take(r, jinja_step(r, 1), &buf, out);
}

METHOD_OF(format)
{
    UNUSED;
    return jinja_format(r, c, out);
}

/* ---- lists, tuples, ranges ---- */

METHOD_OF(list_count)
{
    int64_t n = 0;
    size_t len;
    bool same;
    TRY(jinja_len(r, c->self, &len));
    for (size_t i = 0; i < len; i++) {
        TRY(jinja_eq(r, jinja_at(r, c->self, i), a[0], &same));
        n += same;
    }
    *out = jinja_int(n);
    return ERR_OK;
}

METHOD_OF(list_index)
{
    int64_t edge[2] = {0, INT64_MAX};
    size_t n;
    bool same = false;
    TRY(jinja_len(r, c->self, &n));
    for (int i = 0; i < 2 && c->self.k != J_RANGE; i++) {
        if (a[i + 1].k != J_MISSING)
            TRY(jinja_want_int(r, a[i + 1], "a position", &edge[i]));
        if (edge[i] < 0)
            edge[i] = edge[i] < -(int64_t)n ? 0 : edge[i] + (int64_t)n;
    }
    for (int64_t i = edge[0]; i < (int64_t)n && i < edge[1]; i++) {
        TRY(jinja_eq(r, jinja_at(r, c->self, (size_t)i), a[0], &same));
        if (same) {
            *out = jinja_int(i);
            return ERR_OK;
        }
    }
    return jinja_fail(r, "the value is not in the %s", jinja_type(c->self));
}

METHOD_OF(list_copy)
{
    struct jinja_list *l;
    UNUSED;
    TRY(jinja_to_list(r, c->self, &l));
    *out = jinja_of_list(l);
    return ERR_OK;
}

/* ---- dicts ---- */

METHOD_OF(dict_get)
{
    const struct jinja_val *v;
    TRY(jinja_dict_get(r, c->self.d, a[0], &v));
    *out = v ? *v : a[1].k == J_MISSING ? J_NONE_VAL : a[1];
    return ERR_OK;
}

static enum err view(struct jinja_run *r, const struct jinja_call *c, enum jinja_view_kind kind,
                     struct jinja_val *out)
{
    struct jinja_view *v = arena_alloc(&r->arena, sizeof(*v));
    v->kind = kind;
    v->d = c->self.d;
    *out = (struct jinja_val){.k = J_VIEW, .view = v};
    return ERR_OK;
}

METHOD_OF(dict_items)
{
    UNUSED;
    return view(r, c, J_VIEW_ITEMS, out);
}

METHOD_OF(dict_keys)
{
    UNUSED;
    return view(r, c, J_VIEW_KEYS, out);
}

METHOD_OF(dict_values)
{
    UNUSED;
    return view(r, c, J_VIEW_VALUES, out);
}

METHOD_OF(dict_copy)
{
    UNUSED;
    *out = c->self; /* nothing can change either */
    return ERR_OK;
}

/* ---- loops and cyclers ---- */

METHOD_OF(loop_cycle)
{
    UNUSED;
    if (!c->n_pos || c->n_kw)
        return jinja_fail(r, "no items for cycling given");
    *out = c->pos[(size_t)c->self.loop->index0 % c->n_pos];
    return ERR_OK;
}

METHOD_OF(loop_changed)
{
    struct jinja_loop *l = c->self.loop;
    bool same = false;
    UNUSED;
    if (c->n_kw)
        return jinja_fail(r, "changed() takes no keyword arguments");
    struct jinja_list *now = jinja_list_new(r, c->n_pos);
    for (size_t i = 0; i < c->n_pos; i++)
        TRY(jinja_list_push(r, now, c->pos[i]));
    if (l->last_changed)
        TRY(jinja_eq(r, jinja_of_tuple(l->last_changed), jinja_of_tuple(now), &same));
    l->last_changed = now;
    *out = jinja_bool(!same);
    return ERR_OK;
}

METHOD_OF(cycler_next)
{
    struct jinja_cycler *x = c->self.cycler;
    UNUSED;
    *out = x->items->v[x->pos];
    x->pos = (x->pos + 1) % x->items->n;
    return ERR_OK;
}

METHOD_OF(cycler_reset)
{
    UNUSED;
    c->self.cycler->pos = 0;
    *out = J_NONE_VAL;
    return ERR_OK;
}

const struct jinja_fn *jinja_find_method(enum jinja_kind k, struct span name, bool *is_unsafe)
{
    static const char *const list_unsafe[] = {"append", "clear",  "pop",    "reverse", "insert",
                                              "sort",   "extend", "remove", NULL};
    static const char *const dict_unsafe[] = {"clear",      "pop",    "popitem",
                                              "setdefault", "update", NULL};
    static const struct jinja_fn table[] = {
#define METHOD(kind, text, fn, need, sig) {text, jinja_method_##fn, need, sig, 1u << J_##kind},
#include "chat/jinja_methods.def"
#undef METHOD
    };
    const char *const *u = k == J_LIST ? list_unsafe : k == J_DICT ? dict_unsafe : NULL;
    *is_unsafe = false;
    for (; u && *u; u++)
        *is_unsafe |= span_eq_cstr(name, *u);
    if (k != J_STR && k != J_LIST && k != J_TUPLE && k != J_RANGE && k != J_DICT && k != J_LOOP &&
        k != J_CYCLER)
        return NULL;
    for (size_t i = 0; i < N_ELEMS(table); i++)
        if ((table[i].of_kind & 1u << k) && span_eq_cstr(name, table[i].name))
            return &table[i];
    return NULL;
}
