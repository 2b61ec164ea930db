/* SPDX-License-Identifier: MIT
 * jinja_iter.c - iterators: as lazy as Python's generators, since templates can see when and
 * how often their parts are evaluated.  And the loop variable, which looks ahead in one. */
#include "chat/jinja_int.h"

#include <string.h>

struct jinja_iter *jinja_iter_new(struct jinja_run *r, enum jinja_iter_kind kind,
                                  struct jinja_val src)
{
    struct jinja_iter *it = arena_alloc(&r->arena, sizeof(*it));
    it->kind = kind;
    it->src = src;
    return it;
}

bool jinja_can_iterate(struct jinja_val v)
{
    switch (v.k) {
    case J_UNDEF:
    case J_STR:
    case J_LIST:
    case J_TUPLE:
    case J_DICT:
    case J_VIEW:
    case J_RANGE:
    case J_ITER:
    case J_LOOP: return true;
    default: return false;
    }
}

enum err jinja_iterate(struct jinja_run *r, struct jinja_val v, struct jinja_iter **out)
{
    if (!jinja_can_iterate(v))
        return jinja_fail(r, "'%s' object is not iterable", jinja_type(v));
    *out = v.k == J_ITER ? v.it : jinja_iter_new(r, J_IT_SEQ, v);
    return ERR_OK;
}

enum err jinja_to_list(struct jinja_run *r, struct jinja_val v, struct jinja_list **out)
{
    struct jinja_iter *it;
    struct jinja_val x;
    bool more;
    TRY(jinja_iterate(r, v, &it));
    *out = jinja_list_new(r, 4);
    for (;;) {
        TRY(jinja_next(r, it, &x, &more));
        if (!more)
            return ERR_OK;
        TRY(jinja_list_push(r, *out, x));
    }
}

static struct jinja_val view_at(struct jinja_run *r, const struct jinja_view *v, size_t i)
{
    const struct jinja_entry *e = &v->d->e[i];
    return v->kind == J_VIEW_KEYS     ? e->key
           : v->kind == J_VIEW_VALUES ? e->v
                                      : jinja_pair(r, e->key, e->v);
}

static enum err next_seq(struct jinja_run *r, struct jinja_iter *it, struct jinja_val *out,
                         bool *more)
{
    struct jinja_val v = it->src;
    size_t n;
    if (v.k == J_LOOP) {
        struct jinja_val item;
        TRY(jinja_loop_next(r, v.loop, &item, more));
        if (*more)
            *out = jinja_pair(r, item, v);
        return ERR_OK;
    }
    TRY(jinja_len(r, v, &n));
    *more = it->pos < n;
    if (!*more)
        return ERR_OK;
    size_t i = it->kind == J_IT_REVERSED ? n - 1 - it->pos : it->pos;
    it->pos++;
    if (v.k == J_STR) {
        size_t len;
        utf8_get(v.s->p + it->byte_pos, v.s->n - it->byte_pos, &len);
        *out = jinja_of_str(jinja_str_view(&r->arena, v.s->p + it->byte_pos, len, 1));
        it->byte_pos += len;
    } else if (v.k == J_DICT) {
        *out = v.d->e[i].key;
    } else if (v.k == J_VIEW) {
        *out = view_at(r, v.view, i);
    } else {
        *out = jinja_at(r, v, i);
    }
    return ERR_OK;
}

/* The filter of |map(...) on one item. */
static enum err map_item(struct jinja_run *r, struct jinja_iter *it, struct jinja_val item,
                         struct jinja_val *out)
{
    if (it->attr)
        return jinja_get_path(r, item, it->arg[0], it->arg[1], out);
    struct jinja_call c = it->call;
    const struct jinja_fn *fn = NULL;
    if (c.pos[0].k == J_STR)
        fn = jinja_find_filter(jinja_span(c.pos[0].s));
    if (!fn)
        return jinja_fail(r, "map: there is no such filter");
    c.self = item;
    c.pos++;
    c.n_pos--;
    return jinja_call_fn(r, fn, &c, out);
}

/* The test of |select(...) or |selectattr(...) on one item. */
static enum err test_item(struct jinja_run *r, struct jinja_iter *it, struct jinja_val item,
                          bool *out)
{
    struct jinja_call c = it->call;
    size_t skip = it->attr;
    struct jinja_val v = item, result;
    if (it->attr)
        TRY(jinja_get_path(r, item, c.pos[0], (struct jinja_val){.k = J_MISSING}, &v));
    if (c.n_pos <= skip) {
        *out = jinja_truth(v) != it->negate;
        return ERR_OK;
    }
    const struct jinja_fn *fn = NULL;
    if (c.pos[skip].k == J_STR)
        fn = jinja_find_test(jinja_span(c.pos[skip].s));
    if (!fn)
        return jinja_fail(r, "there is no such test");
    c.self = v;
    c.pos += skip + 1;
    c.n_pos -= skip + 1;
    TRY(jinja_call_fn(r, fn, &c, &result));
    *out = jinja_truth(result) != it->negate;
    return ERR_OK;
}

/* What a for with a condition hands on: its target, read again, where it unpacks. */
static struct jinja_val target_value(struct jinja_run *r, const struct jinja_node *target,
                                     struct jinja_scope *s)
{
    if (target->op != J_N_TUPLE)
        return jinja_lookup(r, s, target->name);
    struct jinja_list *l = jinja_list_new(r, target->n_kids);
    for (size_t i = 0; i < target->n_kids; i++)
        l->v[l->n++] = target_value(r, target->kids[i], s);
    l->grow->used = l->n * sizeof(l->v[0]);
    return jinja_of_tuple(l);
}

static enum err next_where(struct jinja_run *r, struct jinja_iter *it, struct jinja_val *out,
                           bool *more)
{
    for (;;) {
        bool keep = false;
        TRY(jinja_next(r, it->src.it, out, more));
        if (!*more)
            return ERR_OK;
        if (it->kind == J_IT_SELECT) {
            TRY(test_item(r, it, *out, &keep));
        } else if (it->kind == J_IT_FILTERED) {
            struct jinja_val v;
            struct jinja_scope *s = jinja_scope_new(r, it->scope);
            TRY(jinja_assign(r, it->node->a, s, s, *out));
            TRY(jinja_eval(r, it->node->c, s, &v));
            keep = jinja_truth(v);
            if (keep)
                *out = target_value(r, it->node->a, s);
        } else {
            struct jinja_val key;
            const struct jinja_val *seen;
            TRY(jinja_get_path(r, *out, it->arg[1], (struct jinja_val){.k = J_MISSING}, &key));
            key = jinja_fold(r, key, jinja_truth(it->arg[0]));
            TRY(jinja_dict_get(r, it->seen, key, &seen));
            TRY(jinja_dict_set(r, it->seen, key, J_NONE_VAL));
            keep = !seen;
        }
        if (keep)
            return ERR_OK;
    }
}

static enum err next_batch(struct jinja_run *r, struct jinja_iter *it, struct jinja_val *out,
                           bool *more)
{
    struct jinja_list *l = jinja_list_new(r, 4);
    struct jinja_val x;
    int64_t size;
    TRY(jinja_want_int(r, it->arg[0], "the batch size", &size));
    /* as jinja2: the size is compared before an item is added, so 0 never matches a full row */
    for (bool any = true; l->n == 0 || (int64_t)l->n != size;) {
        TRY(jinja_next(r, it->src.it, &x, &any));
        if (!any)
            break;
        TRY(jinja_list_push(r, l, x));
    }
    *more = l->n != 0;
    while (*more && it->arg[1].k != J_NONE && (int64_t)l->n < size)
        TRY(jinja_list_push(r, l, it->arg[1]));
    *out = jinja_of_list(l);
    return ERR_OK;
}

static enum err next_slice(struct jinja_run *r, struct jinja_iter *it, struct jinja_val *out,
                           bool *more)
{
    int64_t slices;
    TRY(jinja_want_int(r, it->arg[0], "the number of slices", &slices));
    if (it->src.k == J_ITER) {
        struct jinja_list *all;
        TRY(jinja_to_list(r, it->src, &all));
        it->src = jinja_of_list(all);
        if (slices == 0)
            return jinja_fail(r, "integer division or modulo by zero");
    }
    const struct jinja_list *all = it->src.l;
    *more = slices > 0 && it->pos < (size_t)slices;
    if (!*more)
        return ERR_OK;
    size_t per = all->n / (size_t)slices, extra = all->n % (size_t)slices;
    size_t i = it->pos++;
    size_t from = i * per + MIN(i, extra), to = from + per + (i < extra);
    struct jinja_list *l = jinja_list_new(r, to - from + 1);
    for (; from < to; from++)
        TRY(jinja_list_push(r, l, all->v[from]));
    if (it->arg[1].k != J_NONE && i >= extra)
        TRY(jinja_list_push(r, l, it->arg[1]));
    *out = jinja_of_list(l);
    return jinja_step(r, 1);
}

static enum err start(struct jinja_run *r, struct jinja_iter *it)
{
    struct jinja_iter *src;
    it->started = true;
    bool lenient = it->kind == J_IT_MAP || it->kind == J_IT_SELECT;
    if (lenient && !jinja_truth(it->src)) {
        it->done = true; /* "if value:" of jinja2: nothing, whatever it is */
        return ERR_OK;
    }
    if (it->kind == J_IT_MAP && !it->attr && !it->call.n_pos)
        return jinja_fail(r, "map requires a filter");
    if (it->kind == J_IT_SELECT && it->attr && !it->call.n_pos)
        return jinja_fail(r, "missing parameter for the attribute's name");
    if (it->kind == J_IT_ITEMS && it->src.k == J_UNDEF) {
        it->done = true;
        return ERR_OK;
    }
    if (it->kind == J_IT_ITEMS) {
        if (it->src.k != J_DICT)
            return jinja_fail(r, "can only get item pairs from a mapping");
        struct jinja_view *v = arena_alloc(&r->arena, sizeof(*v));
        v->kind = J_VIEW_ITEMS;
        v->d = it->src.d;
        it->src = (struct jinja_val){.k = J_VIEW, .view = v};
    }
    TRY(jinja_iterate(r, it->src, &src));
    it->src = (struct jinja_val){.k = J_ITER, .it = src};
    return ERR_OK;
}

static enum err next_of(struct jinja_run *r, struct jinja_iter *it, struct jinja_val *out,
                        bool *more)
{
    struct jinja_val x;
    switch (it->kind) {
    case J_IT_SEQ:
    case J_IT_REVERSED: return next_seq(r, it, out, more);
    case J_IT_ITEMS: return jinja_next(r, it->src.it, out, more);
    case J_IT_MAP:
        TRY(jinja_next(r, it->src.it, &x, more));
        return *more ? map_item(r, it, x, out) : ERR_OK;
    case J_IT_BATCH: return next_batch(r, it, out, more);
    case J_IT_SLICE: return next_slice(r, it, out, more);
    default: return next_where(r, it, out, more);
    }
}

enum err jinja_next(struct jinja_run *r, struct jinja_iter *it, struct jinja_val *out, bool *more)
{
    *more = false;
    TRY(jinja_step(r, 1));
    TRY(jinja_enter(r));
    if (!it->started && it->kind != J_IT_SEQ && it->kind != J_IT_REVERSED)
        TRY(start(r, it));
    if (!it->done)
        TRY(next_of(r, it, out, more));
    it->done = !*more;
    r->depth--;
    return ERR_OK;
}

/* ---- the loop variable ---- */

static enum err peek(struct jinja_run *r, struct jinja_loop *l)
{
    if (l->has_after)
        return ERR_OK;
    return jinja_next(r, l->it, &l->after, &l->has_after);
}

enum err jinja_loop_next(struct jinja_run *r, struct jinja_loop *l, struct jinja_val *out,
                         bool *more)
{
    TRY(peek(r, l));
    *more = l->has_after;
    if (!*more)
        return ERR_OK;
    *out = l->after;
    l->has_after = false;
    l->index0++;
    l->before = l->current;
    l->current = *out;
    return ERR_OK;
}

enum err jinja_loop_length(struct jinja_run *r, struct jinja_loop *l, int64_t *out)
{
    if (!l->has_length) {
        if (l->iterable.k == J_ITER) {
            struct jinja_list *rest;
            TRY(jinja_to_list(r, (struct jinja_val){.k = J_ITER, .it = l->it}, &rest));
            l->it = jinja_iter_new(r, J_IT_SEQ, jinja_of_list(rest));
            l->length = (int64_t)rest->n + l->index0 + 1 + l->has_after;
        } else {
            size_t n;
            TRY(jinja_len(r, l->iterable, &n));
            l->length = (int64_t)n;
        }
        l->has_length = true;
    }
    *out = l->length;
    return ERR_OK;
}

enum err jinja_loop_field(struct jinja_run *r, struct jinja_loop *l, struct span name,
                          struct jinja_val *out, bool *found)
{
    int64_t n;
    *found = true;
    if (span_eq_cstr(name, "index0") || span_eq_cstr(name, "index")) {
        *out = jinja_int(l->index0 + (name.n == 5));
    } else if (span_eq_cstr(name, "first")) {
        *out = jinja_bool(l->index0 == 0);
    } else if (span_eq_cstr(name, "depth") || span_eq_cstr(name, "depth0")) {
        *out = jinja_int(l->depth0 + (name.n == 5));
    } else if (span_eq_cstr(name, "last")) {
        TRY(peek(r, l));
        *out = jinja_bool(!l->has_after);
    } else if (span_eq_cstr(name, "length")) {
        TRY(jinja_loop_length(r, l, &n));
        *out = jinja_int(n);
    } else if (span_eq_cstr(name, "revindex") || span_eq_cstr(name, "revindex0")) {
        TRY(jinja_loop_length(r, l, &n));
        *out = jinja_int(n - l->index0 - (name.n == 9));
    } else if (span_eq_cstr(name, "previtem")) {
        *out = l->index0 == 0 ? jinja_undef_hint(r, "there is no previous item") : l->before;
    } else if (span_eq_cstr(name, "nextitem")) {
        TRY(peek(r, l));
        *out = l->has_after ? l->after : jinja_undef_hint(r, "there is no next item");
    } else {
        *found = false;
    }
    return ERR_OK;
}
