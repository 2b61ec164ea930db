/* SPDX-License-Identifier: MIT
 * jinja_call.c - calling: arguments by position and by name, and the built-in functions. */
#include "chat/jinja_int.h"

#include <string.h>
#include <time.h>

/* Parameter i of "a,b,c"; n == 0 past the last. */
static struct span param(const char *sig, size_t i)
{
    const char *p = sig;
    for (; i && *p; i--) {
        p = strchr(p, ',');
        if (!p)
            return (struct span){sig, 0};
        p++;
    }
    return (struct span){p, strcspn(p, ",")};
}

enum err jinja_call_fn(struct jinja_run *r, const struct jinja_fn *fn, const struct jinja_call *c,
                       struct jinja_val *out)
{
    struct jinja_val a[JINJA_ARGS_MAX];
    const char *sig = fn->sig;
    if (*sig == '*')
        return fn->call(r, c, NULL, out);
    bool no_keywords = *sig == '/';
    sig += no_keywords;
    size_t n = 0;
    for (size_t i = 0; i < JINJA_ARGS_MAX; i++)
        a[i] = (struct jinja_val){.k = J_MISSING};
    while (n < JINJA_ARGS_MAX && param(sig, n).n)
        n++;
    if (c->n_pos > n || (no_keywords && c->n_kw))
        return jinja_fail(r, "%s() takes at most %zu arguments, or none by name", fn->name, n);
    for (size_t i = 0; i < c->n_pos; i++)
        a[i] = c->pos[i];
    for (size_t i = 0; i < c->n_kw; i++) {
        size_t k = 0;
        while (k < n && !span_eq(param(sig, k), jinja_span(c->names[i])))
            k++;
        if (k == n || a[k].k != J_MISSING)
            return jinja_fail(r, "%s() got an unexpected keyword argument '%.*s'", fn->name,
                              (int)MIN(c->names[i]->n, 60), c->names[i]->p);
        a[k] = c->kw[i];
    }
    for (int i = 0; i < fn->n_need; i++)
        if (a[i].k == J_MISSING)
            return jinja_fail(r, "%s() misses the argument '%.*s'", fn->name,
                              (int)param(sig, (size_t)i).n, param(sig, (size_t)i).p);
    return fn->call(r, c, a, out);
}

void jinja_keep_markup(struct jinja_val self, struct jinja_val *out)
{
    if (self.k != J_STR || !self.markup)
        return;
    if (out->k == J_STR)
        out->markup = true;
    for (size_t i = 0; (out->k == J_LIST || out->k == J_TUPLE) && i < out->l->n; i++)
        if (out->l->v[i].k == J_STR)
            out->l->v[i].markup = true;
}

static enum err call_loop(struct jinja_run *r, struct jinja_loop *l, const struct jinja_call *c,
                          struct jinja_val *out)
{
    struct str buf;
    if (!l->node)
        return jinja_fail(r, "the loop must be recursive to be called");
    if (c->n_pos != 1 || c->n_kw)
        return jinja_fail(r, "a recursive loop takes one argument");
    TRY(jinja_enter(r));
    jinja_buf(r, &buf);
    enum err rc = jinja_exec_for(r, l->node, c->pos[0], l->depth0 + 1, l->scope, &buf);
    r->depth--;
    return jinja_take(r, rc, &buf, out);
}

enum err jinja_call_val(struct jinja_run *r, struct jinja_val f, const struct jinja_call *c,
                        struct jinja_val *out)
{
    struct jinja_call with = *c;
    switch (f.k) {
    case J_FUNC: return jinja_call_fn(r, f.fn, c, out);
    case J_BOUND:
        with.self = f.bound->self;
        TRY(jinja_call_fn(r, f.bound->fn, &with, out));
        jinja_keep_markup(with.self, out);
        return ERR_OK;
    case J_MACRO: return jinja_call_macro(r, f.macro, c, out);
    case J_LOOP: return call_loop(r, f.loop, c, out);
    case J_JOINER:
        if (c->n_pos || c->n_kw)
            return jinja_fail(r, "a joiner takes no arguments");
        *out = f.joiner->used ? jinja_of_str(f.joiner->sep)
                              : jinja_of_str(jinja_str_view(&r->arena, "", 0, 0));
        f.joiner->used = true;
        return ERR_OK;
    case J_UNDEF: return jinja_undef_fail(r, f);
    default: return jinja_fail(r, "'%s' object is not callable", jinja_type(f));
    }
}

/* ---- built-in functions ---- */

#define GLOBAL(name)                                                                               \
    static enum err fn_##name(struct jinja_run *r, const struct jinja_call *c,                     \
                              const struct jinja_val *a, struct jinja_val *out)

GLOBAL(range)
{
    int64_t v[3] = {0, 0, 1};
    (void)c;
    int n = a[1].k == J_MISSING ? 1 : a[2].k == J_MISSING ? 2 : 3;
    for (int i = 0; i < n; i++)
        TRY(jinja_want_int(r, a[i], "range()", &v[n == 1 ? 1 : i]));
    if (v[2] == 0)
        return jinja_fail(r, "range() arg 3 must not be zero");
    uint64_t gap = 0, by = v[2] < 0 ? 0 - (uint64_t)v[2] : (uint64_t)v[2];
    if (v[2] > 0 ? v[0] < v[1] : v[0] > v[1])
        gap = v[2] > 0 ? (uint64_t)v[1] - (uint64_t)v[0] : (uint64_t)v[0] - (uint64_t)v[1];
    uint64_t count = gap ? (gap - 1) / by + 1 : 0;
    if (count > JINJA_RANGE_MAX)
        return jinja_fail(r, "range too big: the limit is %d", JINJA_RANGE_MAX);
    struct jinja_range *range = arena_alloc(&r->arena, sizeof(*range));
    *range = (struct jinja_range){v[0], v[1], v[2], (int64_t)count};
    *out = (struct jinja_val){.k = J_RANGE, .range = range};
    return ERR_OK;
}

/* What dict(...) and namespace(...) take: a mapping or pairs, then keywords. */
static enum err make_dict(struct jinja_run *r, const struct jinja_call *c, struct jinja_dict **out)
{
    *out = jinja_dict_new(r);
    if (c->n_pos > 1)
        return jinja_fail(r, "dict expected at most 1 argument, got %zu", c->n_pos);
    if (c->n_pos && c->pos[0].k == J_DICT) {
        const struct jinja_dict *d = c->pos[0].d;
        for (size_t i = 0; i < d->n; i++)
            TRY(jinja_dict_set(r, *out, d->e[i].key, d->e[i].v));
    } else if (c->n_pos) {
        struct jinja_list *pairs, *pair;
        if (c->pos[0].k == J_UNDEF)
            return jinja_undef_fail(r, c->pos[0]); /* Python asks it for keys */
        TRY(jinja_to_list(r, c->pos[0], &pairs));
        for (size_t i = 0; i < pairs->n; i++) {
            TRY(jinja_to_list(r, pairs->v[i], &pair));
            if (pair->n != 2)
                return jinja_fail(r, "dictionary update sequence element has not 2 values");
            TRY(jinja_dict_set(r, *out, pair->v[0], pair->v[1]));
        }
    }
    for (size_t i = 0; i < c->n_kw; i++)
        TRY(jinja_dict_set(r, *out, jinja_of_str(c->names[i]), c->kw[i]));
    return ERR_OK;
}

GLOBAL(dict)
{
    struct jinja_dict *d;
    (void)a;
    TRY(make_dict(r, c, &d));
    *out = (struct jinja_val){.k = J_DICT, .d = d};
    return ERR_OK;
}

GLOBAL(namespace)
{
    struct jinja_dict **ns = arena_alloc(&r->arena, sizeof(*ns));
    (void)a;
    TRY(make_dict(r, c, ns));
    for (size_t i = 0; i < (*ns)->n; i++)
        if ((*ns)->e[i].key.k == J_STR && (*ns)->e[i].key.s->n && *(*ns)->e[i].key.s->p == '_')
            return jinja_fail(r, "a namespace cannot have attributes that begin with '_'");
    *out = (struct jinja_val){.k = J_NS, .ns = ns};
    return ERR_OK;
}

GLOBAL(joiner)
{
    struct jinja_joiner *j = arena_alloc(&r->arena, sizeof(*j));
    (void)c;
    if (a[0].k == J_MISSING)
        j->sep = jinja_str_view(&r->arena, ", ", 2, 2);
    else
        TRY(jinja_str_of(r, a[0], &j->sep));
    *out = (struct jinja_val){.k = J_JOINER, .joiner = j};
    return ERR_OK;
}

GLOBAL(cycler)
{
    struct jinja_cycler *x = arena_alloc(&r->arena, sizeof(*x));
    (void)a;
    if (!c->n_pos || c->n_kw)
        return jinja_fail(r, "at least one item has to be provided");
    x->items = jinja_list_new(r, c->n_pos);
    for (size_t i = 0; i < c->n_pos; i++)
        TRY(jinja_list_push(r, x->items, c->pos[i]));
    *out = (struct jinja_val){.k = J_CYCLER, .cycler = x};
    return ERR_OK;
}

GLOBAL(raise_exception)
{
    const struct jinja_str *s;
    (void)c;
    (void)out;
    TRY(jinja_str_of(r, a[0], &s));
    return jinja_fail(r, "%.*s", (int)MIN(s->n, 380), s->p);
}

GLOBAL(strftime_now)
{
    struct span fmt;
    struct tm tm;
    char text[512], f[256];
    time_t now = (time_t)r->now;
    (void)c;
    TRY(jinja_want_str(r, a[0], "the format", &fmt));
    if (fmt.n >= sizeof f - 1)
        return jinja_fail(r, "a date format of %zu bytes", fmt.n);
    memcpy(f, fmt.p, fmt.n);
    f[fmt.n] = '.'; /* so that an empty result differs from one that does not fit */
    f[fmt.n + 1] = 0;
    if (!localtime_r(&now, &tm))
        return jinja_fail(r, "the time has no local date");
    char *use = f;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t n = strftime(text, sizeof text, use, &tm);
#pragma GCC diagnostic pop
    if (!n)
        return jinja_fail(r, "a date longer than %zu bytes", sizeof text);
    if (!utf8_valid((struct span){text, n - 1}))
        return jinja_fail(r, "a date that is not UTF-8");
    return jinja_text(r, (struct span){text, n - 1}, out);
}

const struct jinja_fn *jinja_find_global(struct span name)
{
    static const struct jinja_fn table[] = {
        {"range",           fn_range,           1, "/start,stop,step", 0},
        {"dict",            fn_dict,            0, "*",                0},
        {"namespace",       fn_namespace,       0, "*",                0},
        {"joiner",          fn_joiner,          0, "sep",              0},
        {"cycler",          fn_cycler,          0, "*",                0},
        {"raise_exception", fn_raise_exception, 1, "message",          0},
        {"strftime_now",    fn_strftime_now,    1, "format",           0},
    };
    for (size_t i = 0; i < N_ELEMS(table); i++)
        if (span_eq_cstr(name, table[i].name))
            return &table[i];
    return NULL;
}
