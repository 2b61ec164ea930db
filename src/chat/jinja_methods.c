/* SPDX-License-Identifier: MIT
 * jinja_methods.c - methods of str that search, split and strip. */
#include "chat/jinja_filters.h"

#include <string.h>

#define UNUSED    ((void)r, (void)c, (void)a, (void)out)
#define SELF      jinja_span(c->self.s)
#define ABSENT(v) ((v).k == J_MISSING || (v).k == J_NONE)

static struct jinja_val part(struct jinja_run *r, const char *p, size_t n)
{
    return jinja_of_str(jinja_str_view(&r->arena, p, n, jinja_count_cp(p, n)));
}

static bool in_chars(struct span chars, const char *p, size_t len)
{
    return span_find(chars, (struct span){p, len}, 0) != SIZE_MAX;
}

static enum err strip(struct jinja_run *r, const struct jinja_call *c, struct jinja_val chars,
                      bool left, bool right, struct jinja_val *out)
{
    struct span s = SELF, set;
    size_t len;
    TRY(jinja_step(r, s.n / 64));
    if (ABSENT(chars)) {
        s = jinja_strip(s, left, right);
    } else {
        TRY(jinja_want_str(r, chars, "the characters to strip", &set));
        while (left && s.n && (utf8_get(s.p, s.n, &len), in_chars(set, s.p, len))) {
            s.p += len;
            s.n -= len;
            TRY(jinja_step(r, set.n / 64));
        }
        while (right && s.n) {
            size_t at = s.n - 1;
            while (at && ((unsigned char)s.p[at] & 0xc0) == 0x80)
                at--;
            if (!in_chars(set, s.p + at, s.n - at))
                break;
            s.n = at;
            TRY(jinja_step(r, set.n / 64));
        }
    }
    *out = part(r, s.p, s.n);
    return ERR_OK;
}

METHOD_OF(strip)
{
    return strip(r, c, a[0], true, true, out);
}

METHOD_OF(lstrip)
{
    return strip(r, c, a[0], true, false, out);
}

METHOD_OF(rstrip)
{
    return strip(r, c, a[0], false, true, out);
}

static enum err change_case(struct jinja_run *r, const struct jinja_call *c, enum jinja_case how,
                            struct jinja_val *out)
{
    struct str buf;
    TRY(jinja_charge(r, c->self.s->n * 2));
    jinja_buf(r, &buf);
    jinja_put_case(&buf, SELF, how);
    return jinja_take(r, ERR_OK, &buf, out);
}

#define CASE(name, how)                                                                            \
    METHOD_OF(name)                                                                                \
    {                                                                                              \
        UNUSED;                                                                                    \
        return change_case(r, c, how, out);                                                        \
    }

CASE(upper, J_UPPER)
CASE(lower, J_LOWER)
CASE(title, J_TITLE)
CASE(capitalize, J_CAPITAL)
CASE(swapcase, J_SWAP)
CASE(casefold, J_FOLD)

/* Every character has the property, and there is one. */
#define EVERY(name, property)                                                                      \
    METHOD_OF(name)                                                                                \
    {                                                                                              \
        UNUSED;                                                                                    \
        struct span s = SELF;                                                                      \
        bool is = s.n != 0;                                                                        \
        TRY(jinja_step(r, s.n / 16));                                                              \
        for (size_t i = 0, len; is && i < s.n; i += len) {                                         \
            int32_t cp = utf8_get(s.p + i, s.n - i, &len);                                         \
            is = property;                                                                         \
        }                                                                                          \
        *out = jinja_bool(is);                                                                     \
        return ERR_OK;                                                                             \
    }

EVERY(isalpha, jinja_is_alpha(cp))
EVERY(isdigit, jinja_is_digit(cp))
EVERY(isdecimal, jinja_is_decimal(cp))
EVERY(isnumeric, jinja_is_numeric(cp))
EVERY(isspace, jinja_is_space(cp))
EVERY(isalnum, jinja_is_alpha(cp) || jinja_is_numeric(cp) || jinja_is_digit(cp))

METHOD_OF(isprintable)
{
    UNUSED;
    struct span s = SELF;
    bool is = true;
    TRY(jinja_step(r, s.n / 16));
    for (size_t i = 0, len; is && i < s.n; i += len)
        is = jinja_is_printable(utf8_get(s.p + i, s.n - i, &len));
    *out = jinja_bool(is);
    return ERR_OK;
}

METHOD_OF(isascii)
{
    UNUSED;
    *out = jinja_bool(c->self.s->n == c->self.s->n_cp);
    return ERR_OK;
}

METHOD_OF(isidentifier)
{
    UNUSED;
    *out = jinja_bool(jinja_is_identifier(SELF));
    return jinja_step(r, c->self.s->n / 16);
}

METHOD_OF(islower)
{
    UNUSED;
    return jinja_call_fn(r, jinja_find_test(SPAN("lower")), c, out);
}

METHOD_OF(isupper)
{
    UNUSED;
    return jinja_call_fn(r, jinja_find_test(SPAN("upper")), c, out);
}

METHOD_OF(istitle)
{
    UNUSED;
    struct span s = SELF;
    bool some = false, within = false, is = true;
    TRY(jinja_step(r, s.n / 16));
    for (size_t i = 0, len; is && i < s.n; i += len) {
        int32_t cp = utf8_get(s.p + i, s.n - i, &len);
        bool up = jinja_is_upper(cp) || jinja_is_cased_title(cp), low = jinja_is_lower(cp);
        is = up ? !within : !low || within;
        within = up || low;
        some |= within;
    }
    *out = jinja_bool(is && some);
    return ERR_OK;
}

/* ---- searching ---- */

/* The part of a string that find(sub, start, end) looks at, in bytes; false: start is behind. */
static enum err window(struct jinja_run *r, const struct jinja_call *c, const struct jinja_val *lim,
                       size_t *from, size_t *to, bool *valid)
{
    int64_t n = (int64_t)c->self.s->n_cp, edge[2] = {0, n};
    for (int i = 0; i < 2; i++) {
        if (ABSENT(lim[i]))
            continue;
        TRY(jinja_want_int(r, lim[i], "a position", &edge[i]));
        if (edge[i] < 0)
            edge[i] = edge[i] < -n ? 0 : edge[i] + n;
        if (i == 1)
            edge[1] = MIN(edge[1], n);
    }
    *valid = edge[0] <= n && edge[0] <= edge[1];
    *from = *valid ? jinja_cp_pos(c->self.s, (size_t)edge[0]) : 0;
    *to = *valid ? jinja_cp_pos(c->self.s, (size_t)edge[1]) : 0;
    return jinja_step(r, c->self.s->n / 32);
}

static size_t find_last(struct span s, struct span what)
{
    for (size_t i = s.n + 1; i-- > 0;)
        if (s.n - i >= what.n && span_starts((struct span){s.p + i, s.n - i}, what))
            return i;
    return SIZE_MAX;
}

static enum err search(struct jinja_run *r, const struct jinja_call *c, const struct jinja_val *a,
                       bool last, bool must, struct jinja_val *out)
{
    struct span what, s = SELF;
    size_t from, to;
    bool valid;
    TRY(jinja_want_str(r, a[0], "what is searched", &what));
    TRY(window(r, c, a + 1, &from, &to, &valid));
    struct span in = {s.p + from, to - from};
    size_t at = !valid ? SIZE_MAX : last ? find_last(in, what) : span_find(in, what, 0);
    if (at == SIZE_MAX && must)
        return jinja_fail(r, "substring not found");
    *out = jinja_int(at == SIZE_MAX ? -1 : (int64_t)jinja_count_cp(s.p, from + at));
    return ERR_OK;
}

METHOD_OF(find)
{
    return search(r, c, a, false, false, out);
}

METHOD_OF(rfind)
{
    return search(r, c, a, true, false, out);
}

METHOD_OF(str_index)
{
    return search(r, c, a, false, true, out);
}

METHOD_OF(rindex)
{
    return search(r, c, a, true, true, out);
}

METHOD_OF(count)
{
    struct span what, s = SELF;
    size_t from, to;
    bool valid;
    int64_t n = 0;
    TRY(jinja_want_str(r, a[0], "what is counted", &what));
    TRY(window(r, c, a + 1, &from, &to, &valid));
    struct span in = {s.p + from, to - from};
    if (valid && !what.n)
        n = (int64_t)jinja_count_cp(in.p, in.n) + 1;
    for (size_t i = 0; valid && what.n && (i = span_find(in, what, i)) != SIZE_MAX; i += what.n)
        n++;
    *out = jinja_int(n);
    return ERR_OK;
}

static enum err has_edge(struct jinja_run *r, const struct jinja_call *c, const struct jinja_val *a,
                         bool tail, struct jinja_val *out)
{
    struct span what, s = SELF;
    size_t from, to;
    bool valid, is = false;
    const struct jinja_val *v = a;
    size_t n = 1;
    if (a[0].k == J_TUPLE) {
        v = a[0].l->v;
        n = a[0].l->n;
    }
    TRY(window(r, c, a + 1, &from, &to, &valid));
    struct span in = {s.p + from, to - from};
    for (size_t i = 0; i < n && !is; i++) {
        TRY(jinja_want_str(r, v[i], "the first argument", &what));
        is = valid && (tail ? span_ends(in, what) : span_starts(in, what));
        TRY(jinja_step(r, 1));
    }
    *out = jinja_bool(is);
    return ERR_OK;
}

METHOD_OF(startswith)
{
    return has_edge(r, c, a, false, out);
}

METHOD_OF(endswith)
{
    return has_edge(r, c, a, true, out);
}

METHOD_OF(removeprefix)
{
    struct span what, s = SELF;
    TRY(jinja_want_str(r, a[0], "the prefix", &what));
    size_t n = span_starts(s, what) ? what.n : 0;
    *out = part(r, s.p + n, s.n - n);
    return jinja_step(r, s.n / 64);
}

METHOD_OF(removesuffix)
{
    struct span what, s = SELF;
    TRY(jinja_want_str(r, a[0], "the suffix", &what));
    *out = part(r, s.p, s.n - (span_ends(s, what) ? what.n : 0));
    return jinja_step(r, s.n / 64);
}

/* ---- splitting ---- */

static enum err split_space(struct jinja_run *r, struct span s, int64_t max, bool from_right,
                            struct jinja_list *l)
{
    for (;;) {
        s = jinja_strip(s, !from_right, from_right);
        if (!s.n)
            return ERR_OK;
        if (max-- == 0) {
            s = jinja_strip(s, from_right, !from_right);
            return jinja_list_push(r, l, part(r, s.p, s.n));
        }
        size_t i = from_right ? s.n : 0, len, step;
        for (; from_right ? i > 0 : i < s.n; i = from_right ? i - step : i + step) {
            size_t at = i;
            if (from_right)
                do
                    at--;
                while (at && ((unsigned char)s.p[at] & 0xc0) == 0x80);
            if (jinja_is_space(utf8_get(s.p + at, s.n - at, &len)))
                break;
            step = from_right ? i - at : len;
        }
        TRY(jinja_list_push(r, l, from_right ? part(r, s.p + i, s.n - i) : part(r, s.p, i)));
        s = from_right ? (struct span){s.p, i} : (struct span){s.p + i, s.n - i};
    }
}

static enum err split_by(struct jinja_run *r, struct span s, struct span sep, int64_t max,
                         bool from_right, struct jinja_list *l)
{
    for (;;) {
        size_t at = max-- == 0 ? SIZE_MAX : from_right ? find_last(s, sep) : span_find(s, sep, 0);
        if (at == SIZE_MAX)
            return jinja_list_push(r, l, part(r, s.p, s.n));
        if (from_right) {
            TRY(jinja_list_push(r, l, part(r, s.p + at + sep.n, s.n - at - sep.n)));
            s.n = at;
        } else {
            TRY(jinja_list_push(r, l, part(r, s.p, at)));
            s.p += at + sep.n;
            s.n -= at + sep.n;
        }
    }
}

static enum err split(struct jinja_run *r, const struct jinja_call *c, const struct jinja_val *a,
                      bool from_right, struct jinja_val *out)
{
    struct span s = SELF, sep;
    int64_t max = -1;
    struct jinja_list *l = jinja_list_new(r, 4);
    TRY(jinja_step(r, s.n / 16));
    if (a[1].k != J_MISSING)
        TRY(jinja_want_int(r, a[1], "maxsplit", &max));
    if (ABSENT(a[0])) {
        TRY(split_space(r, s, max, from_right, l));
    } else {
        TRY(jinja_want_str(r, a[0], "the separator", &sep));
        if (!sep.n)
            return jinja_fail(r, "empty separator");
        TRY(split_by(r, s, sep, max, from_right, l));
    }
    for (size_t i = 0; from_right && i < l->n / 2; i++) {
        struct jinja_val swap = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = swap;
    }
    *out = jinja_of_list(l);
    return ERR_OK;
}

METHOD_OF(split)
{
    return split(r, c, a, false, out);
}

METHOD_OF(rsplit)
{
    return split(r, c, a, true, out);
}

METHOD_OF(splitlines)
{
    struct span s = SELF;
    struct jinja_list *l = jinja_list_new(r, 4);
    TRY(jinja_step(r, s.n / 16));
    for (size_t i = 0, next; i < s.n; i = next) {
        size_t end = jinja_line_end(s, i, &next);
        TRY(jinja_list_push(r, l, part(r, s.p + i, (jinja_truth(a[0]) ? next : end) - i)));
    }
    *out = jinja_of_list(l);
    return ERR_OK;
}

static enum err partition(struct jinja_run *r, const struct jinja_call *c, struct jinja_val sep,
                          bool last, struct jinja_val *out)
{
    struct span s = SELF, what;
    struct jinja_list *l = jinja_list_new(r, 3);
    TRY(jinja_want_str(r, sep, "the separator", &what));
    TRY(jinja_step(r, s.n / 16));
    if (!what.n)
        return jinja_fail(r, "empty separator");
    size_t at = last ? find_last(s, what) : span_find(s, what, 0);
    bool found = at != SIZE_MAX;
    size_t cut = found ? at : last ? 0 : s.n, n = found ? what.n : 0;
    TRY(jinja_list_push(r, l, part(r, s.p, cut)));
    TRY(jinja_list_push(r, l, part(r, s.p + cut, n)));
    TRY(jinja_list_push(r, l, part(r, s.p + cut + n, s.n - cut - n)));
    *out = jinja_of_tuple(l);
    return ERR_OK;
}

METHOD_OF(partition)
{
    return partition(r, c, a[0], false, out);
}

METHOD_OF(rpartition)
{
    return partition(r, c, a[0], true, out);
}

/* ---- joining and filling ---- */

static enum err put_joined(struct jinja_run *r, struct str *buf, struct span sep,
                           struct jinja_val items, struct jinja_val path, bool any_type)
{
    struct jinja_iter *it;
    struct jinja_val x;
    bool more;
    TRY(jinja_iterate(r, items, &it));
    for (bool first = true;; first = false) {
        TRY(jinja_next(r, it, &x, &more));
        if (!more)
            return ERR_OK;
        TRY(jinja_get_path(r, x, path, (struct jinja_val){.k = J_MISSING}, &x));
        if (!any_type && x.k != J_STR)
            return jinja_fail(r, "join: expected str instance, %s found", jinja_type(x));
        if (!first)
            str_add_span(buf, sep);
        TRY(jinja_charge(r, buf->n - MIN(buf->n, sep.n) < 64 ? 0 : sep.n));
        TRY(jinja_put_str(r, buf, x));
    }
}

enum err jinja_join(struct jinja_run *r, struct span sep, struct jinja_val items,
                    struct jinja_val path, bool any_type, struct jinja_val *out)
{
    struct str buf;
    jinja_buf(r, &buf);
    return jinja_take(r, put_joined(r, &buf, sep, items, path, any_type), &buf, out);
}

METHOD_OF(join)
{
    return jinja_join(r, SELF, a[0], (struct jinja_val){.k = J_MISSING}, false, out);
}

enum err jinja_replace(struct jinja_run *r, struct span s, struct span old, struct span by,
                       int64_t count, struct jinja_val *out)
{
    struct str buf;
    enum err rc = jinja_charge(r, s.n * 2);
    size_t i = 0;
    jinja_buf(r, &buf);
    while (rc == ERR_OK && count-- != 0 && !buf.full) {
        size_t at = span_find(s, old, i), len = 0;
        if (at == SIZE_MAX)
            break;
        str_add(&buf, s.p + i, at - i);
        str_add_span(&buf, by);
        rc = jinja_step(r, 1 + by.n / 64);
        i = at + old.n;
        if (!old.n) { /* between all characters, and at both ends */
            if (i >= s.n) {
                i = s.n;
                break;
            }
            utf8_get(s.p + i, s.n - i, &len);
            str_add(&buf, s.p + i, len);
            i += len;
        }
    }
    str_add(&buf, s.p + i, s.n - i);
    return jinja_take(r, rc, &buf, out);
}

METHOD_OF(replace)
{
    struct span old, by;
    int64_t count = -1;
    TRY(jinja_want_str(r, a[0], "what is replaced", &old));
    TRY(jinja_want_str(r, a[1], "the replacement", &by));
    if (a[2].k != J_MISSING)
        TRY(jinja_want_int(r, a[2], "the count", &count));
    return jinja_replace(r, SELF, old, by, count, out);
}
