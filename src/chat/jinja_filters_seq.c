/* SPDX-License-Identifier: MIT
 * jinja_filters_seq.c - filters over lists, dicts and iterators, and the list of all filters. */
#include "chat/jinja_filters.h"

#include <string.h>

#define UNUSED      ((void)r, (void)c, (void)a, (void)out)
#define IS_GIVEN(v) ((v).k != J_MISSING && (v).k != J_NONE)

FILTER(default)
{
    UNUSED;
    *out = c->self;
    if (c->self.k == J_UNDEF || (jinja_truth(a[1]) && !jinja_truth(c->self)))
        *out = a[0].k == J_MISSING ? jinja_of_str(jinja_str_view(&r->arena, "", 0, 0)) : a[0];
    return ERR_OK;
}

FILTER(length)
{
    size_t n;
    UNUSED;
    TRY(jinja_len(r, c->self, &n));
    *out = jinja_int((int64_t)n);
    return ERR_OK;
}

FILTER(attr)
{
    bool found;
    if (a[0].k != J_STR)
        return jinja_fail(r, "attr: the name must be a string");
    if (c->self.k == J_UNDEF)
        return jinja_undef_fail(r, c->self);
    TRY(jinja_get_field(r, c->self, a[0].s, out, &found));
    if (!found)
        *out = jinja_undef_of(r, c->self, a[0].s);
    return ERR_OK;
}

FILTER(first)
{
    struct jinja_iter *it;
    bool more;
    UNUSED;
    TRY(jinja_iterate(r, c->self, &it));
    TRY(jinja_next(r, it, out, &more));
    if (!more)
        *out = jinja_undef_hint(r, "no first item, the sequence was empty");
    return ERR_OK;
}

static bool can_reverse(struct jinja_val v)
{
    return jinja_can_iterate(v) && v.k != J_ITER && v.k != J_LOOP;
}

FILTER(last)
{
    size_t n;
    bool more;
    UNUSED;
    if (!can_reverse(c->self))
        return jinja_fail(r, "'%s' object is not reversible", jinja_type(c->self));
    TRY(jinja_len(r, c->self, &n));
    if (c->self.k == J_STR && n)
        *out = jinja_at(r, c->self, n - 1);
    else if (n)
        TRY(jinja_next(r, jinja_iter_new(r, J_IT_REVERSED, c->self), out, &more));
    else
        *out = jinja_undef_hint(r, "no last item, the sequence was empty");
    return ERR_OK;
}

FILTER(reverse)
{
    struct jinja_val back[3] = {J_NONE_VAL, J_NONE_VAL, jinja_int(-1)};
    struct jinja_list *l;
    UNUSED;
    if (c->self.k == J_STR)
        return jinja_slice(r, c->self, back, out);
    if (!can_reverse(c->self)) {
        TRY(jinja_to_list(r, c->self, &l));
        return jinja_slice(r, jinja_of_list(l), back, out);
    }
    struct jinja_iter *it = jinja_iter_new(r, J_IT_REVERSED, c->self);
    *out = (struct jinja_val){.k = J_ITER, .it = it};
    return ERR_OK;
}

FILTER(list)
{
    struct jinja_list *l;
    UNUSED;
    TRY(jinja_to_list(r, c->self, &l));
    *out = jinja_of_list(l);
    return ERR_OK;
}

static struct jinja_iter *lazy(struct jinja_run *r, enum jinja_iter_kind kind,
                               const struct jinja_call *c, struct jinja_val *out)
{
    struct jinja_iter *it = jinja_iter_new(r, kind, c->self);
    it->call = *c;
    *out = (struct jinja_val){.k = J_ITER, .it = it};
    return it;
}

FILTER(items)
{
    UNUSED;
    lazy(r, J_IT_ITEMS, c, out);
    return ERR_OK;
}

FILTER(map)
{
    UNUSED;
    struct jinja_iter *it = lazy(r, J_IT_MAP, c, out);
    for (size_t i = 0; !c->n_pos && i < c->n_kw; i++)
        it->attr |= span_eq_cstr(jinja_span(c->names[i]), "attribute");
    for (size_t i = 0; it->attr && i < c->n_kw; i++) {
        bool is_default = span_eq_cstr(jinja_span(c->names[i]), "default");
        if (!is_default && !span_eq_cstr(jinja_span(c->names[i]), "attribute")) {
            if (jinja_truth(c->self))
                it->attr = false; /* fails when the first item is asked for */
            break;
        }
        it->arg[is_default] = c->kw[i];
    }
    return ERR_OK;
}

FILTER(select)
{
    UNUSED;
    lazy(r, J_IT_SELECT, c, out);
    return ERR_OK;
}

FILTER(reject)
{
    UNUSED;
    lazy(r, J_IT_SELECT, c, out)->negate = true;
    return ERR_OK;
}

FILTER(selectattr)
{
    UNUSED;
    lazy(r, J_IT_SELECT, c, out)->attr = true;
    return ERR_OK;
}

FILTER(rejectattr)
{
    UNUSED;
    struct jinja_iter *it = lazy(r, J_IT_SELECT, c, out);
    it->attr = it->negate = true;
    return ERR_OK;
}

FILTER(unique)
{
    struct jinja_iter *it = lazy(r, J_IT_UNIQUE, c, out);
    it->arg[0] = a[0];
    it->arg[1] = a[1];
    it->seen = jinja_dict_new(r);
    return ERR_OK;
}

FILTER(batch)
{
    struct jinja_iter *it = lazy(r, J_IT_BATCH, c, out);
    it->arg[0] = a[0];
    it->arg[1] = a[1].k == J_MISSING ? J_NONE_VAL : a[1];
    return ERR_OK;
}

FILTER(slice)
{
    struct jinja_iter *it = lazy(r, J_IT_SLICE, c, out);
    it->arg[0] = a[0];
    it->arg[1] = a[1].k == J_MISSING ? J_NONE_VAL : a[1];
    return ERR_OK;
}

FILTER(join)
{
    const struct jinja_str *sep = jinja_str_view(&r->arena, "", 0, 0);
    if (a[0].k != J_MISSING)
        TRY(jinja_str_of(r, a[0], &sep));
    return jinja_join(r, jinja_span(sep), c->self, a[1], true, out);
}

FILTER(sum)
{
    struct jinja_iter *it;
    struct jinja_val x;
    bool more;
    *out = a[1].k == J_MISSING ? jinja_int(0) : a[1];
    TRY(jinja_iterate(r, c->self, &it));
    if (out->k == J_STR)
        return jinja_fail(r, "sum() cannot sum strings");
    for (;;) {
        TRY(jinja_next(r, it, &x, &more));
        if (!more)
            return ERR_OK;
        TRY(jinja_get_path(r, x, a[0], (struct jinja_val){.k = J_MISSING}, &x));
        TRY(jinja_binary(r, J_T_ADD, *out, x, out));
    }
}

static enum err extreme(struct jinja_run *r, const struct jinja_call *c, const struct jinja_val *a,
                        int want, struct jinja_val *out)
{
    struct jinja_iter *it;
    struct jinja_val x, key, best = {.k = J_MISSING};
    bool more, fold = !jinja_truth(a[0]);
    int order = want;
    TRY(jinja_iterate(r, c->self, &it));
    for (;;) {
        TRY(jinja_next(r, it, &x, &more));
        if (!more)
            break;
        TRY(jinja_get_path(r, x, a[1], (struct jinja_val){.k = J_MISSING}, &key));
        key = jinja_fold(r, key, !fold);
        if (best.k != J_MISSING)
            TRY(jinja_cmp(r, key, best, &order));
        if (order == want) {
            best = key;
            *out = x;
        }
    }
    if (best.k == J_MISSING)
        *out = jinja_undef_hint(r, "no aggregated item, the sequence was empty");
    return ERR_OK;
}

FILTER(min)
{
    return extreme(r, c, a, -1, out);
}

FILTER(max)
{
    return extreme(r, c, a, 1, out);
}

static enum err in_order(struct jinja_run *r, const struct jinja_list *l,
                         const struct jinja_val *keys, bool reverse, struct jinja_list **out)
{
    TRY(jinja_charge(r, l->n * sizeof(size_t)));
    size_t *idx = arena_array(&r->arena, l->n, sizeof(*idx));
    TRY(jinja_sort(r, keys, idx, l->n, reverse));
    *out = jinja_list_new(r, l->n);
    for (size_t i = 0; i < l->n; i++)
        TRY(jinja_list_push(r, *out, l->v[idx[i]]));
    return ERR_OK;
}

/* A sort key is a list, of one value for each of the attributes "a,b". */
static enum err sort_key(struct jinja_run *r, struct jinja_val x, struct jinja_val attr,
                         bool case_sensitive, struct jinja_val *out)
{
    struct jinja_list *l = jinja_list_new(r, 1);
    struct jinja_val v, path = attr;
    struct span rest = {"", 0};
    if (attr.k == J_STR)
        rest = jinja_span(attr.s);
    for (bool more = true; more;) {
        size_t comma = span_find(rest, SPAN(","), 0);
        more = attr.k == J_STR && comma < rest.n;
        if (attr.k == J_STR)
            TRY(jinja_text(r, (struct span){rest.p, MIN(comma, rest.n)}, &path));
        TRY(jinja_get_path(r, x, path, (struct jinja_val){.k = J_MISSING}, &v));
        TRY(jinja_list_push(r, l, jinja_fold(r, v, case_sensitive)));
        if (more) {
            rest.p += comma + 1;
            rest.n -= comma + 1;
        }
    }
    *out = jinja_of_list(l);
    return ERR_OK;
}

FILTER(sort)
{
    struct jinja_list *l, *sorted;
    TRY(jinja_to_list(r, c->self, &l));
    TRY(jinja_charge(r, l->n * sizeof(struct jinja_val)));
    struct jinja_val *keys = arena_array(&r->arena, l->n, sizeof(*keys));
    for (size_t i = 0; i < l->n; i++)
        TRY(sort_key(r, l->v[i], a[2], jinja_truth(a[1]), &keys[i]));
    TRY(in_order(r, l, keys, jinja_truth(a[0]), &sorted));
    *out = jinja_of_list(sorted);
    return ERR_OK;
}

FILTER(dictsort)
{
    struct span by = SPAN("key");
    struct jinja_list *l, *sorted;
    if (a[1].k != J_MISSING && a[1].k != J_STR)
        return jinja_fail(r, "dictsort: by must be 'key' or 'value'");
    if (a[1].k == J_STR)
        by = jinja_span(a[1].s);
    if (!span_eq_cstr(by, "key") && !span_eq_cstr(by, "value"))
        return jinja_fail(r, "dictsort: by must be 'key' or 'value'");
    if (c->self.k == J_UNDEF)
        return jinja_undef_fail(r, c->self);
    if (c->self.k != J_DICT)
        return jinja_fail(r, "dictsort takes a mapping, not %s", jinja_type(c->self));
    const struct jinja_dict *d = c->self.d;
    TRY(jinja_charge(r, d->n * 3 * sizeof(struct jinja_val)));
    struct jinja_val *keys = arena_array(&r->arena, d->n, sizeof(*keys));
    l = jinja_list_new(r, d->n);
    for (size_t i = 0; i < d->n; i++) {
        keys[i] = jinja_fold(r, by.n == 3 ? d->e[i].key : d->e[i].v, jinja_truth(a[0]));
        TRY(jinja_list_push(r, l, jinja_pair(r, d->e[i].key, d->e[i].v)));
    }
    TRY(in_order(r, l, keys, jinja_truth(a[2]), &sorted));
    *out = jinja_of_list(sorted);
    return ERR_OK;
}

static enum err group(struct jinja_run *r, const struct jinja_list *sorted,
                      const struct jinja_val *a, struct jinja_list *groups)
{
    bool fold = !jinja_truth(a[2]);
    struct jinja_val last = {.k = J_MISSING}, key, folded;
    for (size_t i = 0; i < sorted->n; i++) {
        bool same = false;
        TRY(jinja_get_path(r, sorted->v[i], a[0], a[1], &key));
        folded = jinja_fold(r, key, !fold);
        if (last.k != J_MISSING)
            TRY(jinja_eq(r, folded, last, &same));
        if (!same) {
            struct jinja_val pair = jinja_pair(r, key, jinja_of_list(jinja_list_new(r, 2)));
            pair.l->group = true;
            TRY(jinja_list_push(r, groups, pair));
        }
        last = folded;
        TRY(jinja_list_push(r, groups->v[groups->n - 1].l->v[1].l, sorted->v[i]));
    }
    return ERR_OK;
}

FILTER(groupby)
{
    struct jinja_list *l, *sorted;
    TRY(jinja_to_list(r, c->self, &l));
    TRY(jinja_charge(r, l->n * sizeof(struct jinja_val)));
    struct jinja_val *keys = arena_array(&r->arena, l->n, sizeof(*keys));
    for (size_t i = 0; i < l->n; i++) {
        TRY(jinja_get_path(r, l->v[i], a[0], a[1], &keys[i]));
        keys[i] = jinja_fold(r, keys[i], jinja_truth(a[2]));
    }
    TRY(in_order(r, l, keys, false, &sorted));
    struct jinja_list *groups = jinja_list_new(r, 4);
    TRY(group(r, sorted, a, groups));
    *out = jinja_of_list(groups);
    return ERR_OK;
}

const struct jinja_fn *jinja_find_filter(struct span name)
{
    static const struct jinja_fn table[] = {
#define FN(text, fn, need, sig) {text, jinja_filter_##fn, need, sig, 0},
#include "chat/jinja_filters.def"
#undef FN
    };
    for (size_t i = 0; i < N_ELEMS(table); i++)
        if (span_eq_cstr(name, table[i].name))
            return &table[i];
    return NULL;
}
