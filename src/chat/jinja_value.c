/* SPDX-License-Identifier: MIT
 * jinja_value.c - making values: strings, lists, dicts, and what comes in as JSON. */
#include "chat/jinja_int.h"

#include <string.h>

#define DICT_SMALL 8 /* entries that are searched without an index */

size_t jinja_count_cp(const char *p, size_t n)
{
    size_t n_cp = 0;
    for (size_t i = 0; i < n; i++)
        n_cp += ((unsigned char)p[i] & 0xc0) != 0x80;
    return n_cp;
}

struct jinja_str *jinja_str_view(struct arena *a, const char *p, size_t n, size_t n_cp)
{
    struct jinja_str *s = arena_alloc(a, sizeof(*s));
    s->p = p;
    s->n = n;
    s->n_cp = n_cp;
    return s;
}

struct jinja_str *jinja_str_new(struct arena *a, const char *p, size_t n)
{
    return jinja_str_view(a, arena_dup(a, n ? p : "", n), n, jinja_count_cp(p, n));
}

size_t jinja_cp_pos(const struct jinja_str *s, size_t i)
{
    if (s->n == s->n_cp)
        return i;
    size_t pos = 0;
    for (; i && pos < s->n; i--) {
        pos++;
        while (pos < s->n && ((unsigned char)s->p[pos] & 0xc0) == 0x80)
            pos++;
    }
    return pos;
}

static struct jinja_val undef(struct jinja_run *r, struct jinja_undef u)
{
    struct jinja_undef *p = arena_alloc(&r->arena, sizeof(*p));
    *p = u;
    return (struct jinja_val){.k = J_UNDEF, .u = p};
}

struct jinja_val jinja_undef_name(struct jinja_run *r, const struct jinja_str *name)
{
    return undef(r, (struct jinja_undef){.name = name});
}

struct jinja_val jinja_undef_of(struct jinja_run *r, struct jinja_val owner,
                                const struct jinja_str *name)
{
    return undef(r, (struct jinja_undef){.name = name, .owner = jinja_type(owner)});
}

struct jinja_val jinja_undef_hint(struct jinja_run *r, const char *hint)
{
    return undef(r, (struct jinja_undef){.hint = hint});
}

enum err jinja_undef_fail(struct jinja_run *r, struct jinja_val v)
{
    const struct jinja_undef *u = v.u;
    int n = u->name ? (int)MIN(u->name->n, 80) : 0;
    if (u->hint)
        return jinja_fail(r, "%s", u->hint);
    if (u->owner)
        return jinja_fail(r, "'%s object' has no attribute '%.*s'", u->owner, n,
                          n ? u->name->p : "");
    return jinja_fail(r, "'%.*s' is undefined", n, n ? u->name->p : "");
}

enum err jinja_text(struct jinja_run *r, struct span s, struct jinja_val *out)
{
    TRY(jinja_charge(r, s.n));
    *out = jinja_of_str(jinja_str_new(&r->arena, s.p, s.n));
    return ERR_OK;
}

void jinja_buf(struct jinja_run *r, struct str *buf)
{
    str_init(buf, r->limits.output_bytes);
}

enum err jinja_put_full(struct jinja_run *r, const struct str *out)
{
    if (out->full)
        return jinja_fail(r, "text longer than %zu bytes", out->max);
    return ERR_OK;
}

enum err jinja_take(struct jinja_run *r, enum err rc, struct str *buf, struct jinja_val *out)
{
    if (rc == ERR_OK)
        rc = jinja_put_full(r, buf);
    if (rc == ERR_OK)
        rc = jinja_text(r, str_span(buf), out);
    str_done(buf);
    return rc;
}

struct jinja_list *jinja_list_new(struct jinja_run *r, size_t cap)
{
    struct jinja_list *l = arena_alloc(&r->arena, sizeof(*l));
    struct jinja_grow *g = arena_alloc(&r->arena, sizeof(*g));
    g->cap = MAX(cap, 2) * sizeof(struct jinja_val);
    g->p = arena_alloc(&r->arena, g->cap);
    l->grow = g;
    l->v = (struct jinja_val *)(void *)g->p;
    return l;
}

/* Appends to the storage that l ends in, or moves l to a new one. */
enum err jinja_list_push(struct jinja_run *r, struct jinja_list *l, struct jinja_val v)
{
    struct jinja_grow *g = l->grow;
    size_t used = (size_t)((char *)(void *)(l->v + l->n) - g->p);
    if (used != g->used || g->used + sizeof(v) > g->cap) {
        struct jinja_grow *to = arena_alloc(&r->arena, sizeof(*to));
        to->cap = (l->n + 2) * 2 * sizeof(v);
        TRY(jinja_charge(r, to->cap));
        to->p = arena_alloc(&r->arena, to->cap);
        to->used = l->n * sizeof(v);
        memcpy(to->p, l->v, to->used);
        l->grow = g = to;
        l->v = (struct jinja_val *)(void *)to->p;
    }
    l->v[l->n++] = v;
    g->used += sizeof(v);
    return jinja_step(r, 1);
}

struct jinja_val jinja_of_list(struct jinja_list *l)
{
    return (struct jinja_val){.k = J_LIST, .l = l};
}

struct jinja_val jinja_of_tuple(struct jinja_list *l)
{
    return (struct jinja_val){.k = J_TUPLE, .l = l};
}

struct jinja_val jinja_pair(struct jinja_run *r, struct jinja_val a, struct jinja_val b)
{
    struct jinja_list *l = jinja_list_new(r, 2);
    l->v[0] = a;
    l->v[1] = b;
    l->n = 2;
    l->grow->used = 2 * sizeof(a);
    return jinja_of_tuple(l);
}

struct jinja_dict *jinja_dict_new(struct jinja_run *r)
{
    return arena_alloc(&r->arena, sizeof(struct jinja_dict));
}

static void index_entry(struct jinja_dict *d, size_t i)
{
    size_t h = d->e[i].hash & (d->n_slots - 1);
    while (d->slots[h])
        h = (h + 1) & (d->n_slots - 1);
    d->slots[h] = (uint32_t)i + 1;
}

static enum err find_entry(struct jinja_run *r, const struct jinja_dict *d, struct jinja_val key,
                           uint64_t hash, struct jinja_entry **out)
{
    bool same = false;
    *out = NULL;
    if (!d->slots) {
        for (size_t i = 0; i < d->n; i++)
            if (d->e[i].hash == hash) {
                TRY(jinja_eq(r, d->e[i].key, key, &same));
                if (same) {
                    *out = &d->e[i];
                    return ERR_OK;
                }
            }
        return ERR_OK;
    }
    for (size_t h = hash & (d->n_slots - 1); d->slots[h]; h = (h + 1) & (d->n_slots - 1)) {
        struct jinja_entry *e = &d->e[d->slots[h] - 1];
        if (e->hash == hash)
            TRY(jinja_eq(r, e->key, key, &same));
        if (same) {
            *out = e;
            return ERR_OK;
        }
    }
    return ERR_OK;
}

static enum err grow_dict(struct jinja_run *r, struct jinja_dict *d)
{
    size_t cap = d->cap ? d->cap * 2 : 4;
    TRY(jinja_charge(r, cap * sizeof(*d->e)));
    struct jinja_entry *e = arena_array(&r->arena, cap, sizeof(*e));
    if (d->n)
        memcpy(e, d->e, d->n * sizeof(*e));
    d->e = e;
    d->cap = cap;
    if (cap > DICT_SMALL) {
        d->n_slots = cap * 2;
        d->slots = arena_array(&r->arena, d->n_slots, sizeof(*d->slots));
        for (size_t i = 0; i < d->n; i++)
            index_entry(d, i);
    }
    return ERR_OK;
}

enum err jinja_dict_set(struct jinja_run *r, struct jinja_dict *d, struct jinja_val key,
                        struct jinja_val v)
{
    struct jinja_entry *e;
    uint64_t hash;
    TRY(jinja_hash(r, key, &hash));
    TRY(find_entry(r, d, key, hash, &e));
    if (e) {
        e->v = v;
        return ERR_OK;
    }
    if (d->n == d->cap)
        TRY(grow_dict(r, d));
    d->e[d->n] = (struct jinja_entry){key, v, hash};
    d->n++;
    if (d->slots)
        index_entry(d, d->n - 1);
    return jinja_step(r, 1);
}

enum err jinja_dict_get(struct jinja_run *r, const struct jinja_dict *d, struct jinja_val key,
                        const struct jinja_val **found)
{
    struct jinja_entry *e;
    uint64_t hash;
    TRY(jinja_hash(r, key, &hash));
    TRY(find_entry(r, d, key, hash, &e));
    *found = e ? &e->v : NULL;
    return ERR_OK;
}

const struct jinja_val *jinja_dict_find(const struct jinja_dict *d, struct span key)
{
    for (size_t i = 0; !d->slots && i < d->n; i++)
        if (d->e[i].key.k == J_STR && span_eq(jinja_span(d->e[i].key.s), key))
            return &d->e[i].v;
    if (!d->slots)
        return NULL;
    size_t h = num_hash(key.p, key.n, 0) & (d->n_slots - 1);
    for (; d->slots[h]; h = (h + 1) & (d->n_slots - 1)) {
        const struct jinja_entry *e = &d->e[d->slots[h] - 1];
        if (e->key.k == J_STR && span_eq(jinja_span(e->key.s), key))
            return &e->v;
    }
    return NULL;
}

static enum err of_object(struct jinja_run *r, const json_t *x, int depth, struct jinja_val *out)
{
    struct jinja_dict *d = jinja_dict_new(r);
    /* jansson's iterators take the object as not const, and change nothing. */
    json_t *object = (json_t *)(uintptr_t)x;
    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i)) {
        struct jinja_val key, v;
        TRY(jinja_text(r, (struct span){json_object_iter_key(i), json_object_iter_key_len(i)},
                       &key));
        TRY(jinja_of_json(r, json_object_iter_value(i), depth + 1, &v));
        TRY(jinja_dict_set(r, d, key, v));
    }
    *out = (struct jinja_val){.k = J_DICT, .d = d};
    return ERR_OK;
}

enum err jinja_of_json(struct jinja_run *r, const json_t *x, int depth, struct jinja_val *out)
{
    if (depth > JINJA_DEPTH_MAX)
        return jinja_fail(r, "variables nested deeper than %d", JINJA_DEPTH_MAX);
    switch (json_typeof(x)) {
    case JSON_OBJECT: return of_object(r, x, depth, out);
    case JSON_ARRAY: {
        struct jinja_list *l = jinja_list_new(r, json_array_size(x));
        for (size_t i = 0; i < json_array_size(x); i++) {
            struct jinja_val v;
            TRY(jinja_of_json(r, json_array_get(x, i), depth + 1, &v));
            TRY(jinja_list_push(r, l, v));
        }
        *out = jinja_of_list(l);
        return ERR_OK;
    }
    case JSON_STRING:
        return jinja_text(r, (struct span){json_string_value(x), json_string_length(x)}, out);
    case JSON_INTEGER: *out = jinja_int(json_integer_value(x)); return ERR_OK;
    case JSON_REAL: *out = jinja_float(json_real_value(x)); return ERR_OK;
    case JSON_TRUE: *out = jinja_bool(true); return ERR_OK;
    case JSON_FALSE: *out = jinja_bool(false); return ERR_OK;
    case JSON_NULL: break;
    }
    *out = J_NONE_VAL;
    return ERR_OK;
}
