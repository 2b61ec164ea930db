/* SPDX-License-Identifier: MIT
 * jinja_filters.c - filters over text and numbers. */
#include "chat/jinja_filters.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define UNUSED ((void)r, (void)c, (void)a, (void)out)

enum err jinja_as_method(struct jinja_run *r, const struct jinja_call *c, jinja_fn_call *method,
                         const struct jinja_val *a, struct jinja_val *out)
{
    const struct jinja_str *s;
    struct jinja_call with = *c;
    TRY(jinja_str_of(r, c->self, &s));
    with.self = jinja_of_str(s);
    TRY(method(r, &with, a, out));
    jinja_keep_markup(c->self, out);
    return ERR_OK;
}

FILTER(upper)
{
    return jinja_as_method(r, c, jinja_method_upper, a, out);
}

FILTER(lower)
{
    return jinja_as_method(r, c, jinja_method_lower, a, out);
}

FILTER(capitalize)
{
    return jinja_as_method(r, c, jinja_method_capitalize, a, out);
}

FILTER(trim)
{
    return jinja_as_method(r, c, jinja_method_strip, a, out);
}

FILTER(center)
{
    struct jinja_val width[2] = {a[0].k == J_MISSING ? jinja_int(80) : a[0], {.k = J_MISSING}};
    return jinja_as_method(r, c, jinja_method_center, width, out);
}

/* Words begin after space, - ( { [ and <, other than in str.title(). */
FILTER(title)
{
    const struct jinja_str *s;
    struct str buf;
    UNUSED;
    TRY(jinja_str_of(r, c->self, &s));
    TRY(jinja_charge(r, s->n * 2));
    jinja_buf(r, &buf);
    size_t i = 0, len;
    while (i < s->n) {
        size_t from = i;
        bool sep = false;
        for (size_t k = i; k < s->n; k += len) {
            int32_t cp = utf8_get(s->p + k, s->n - k, &len);
            bool is = jinja_is_space(cp) || (cp < 128 && cp > 0 && strchr("-({[<", cp));
            if (k == from)
                sep = is;
            else if (is != sep)
                break;
            i = k + len;
        }
        utf8_get(s->p + from, s->n - from, &len);
        jinja_put_case(&buf, (struct span){s->p + from, len}, J_UPPER);
        jinja_put_case(&buf, (struct span){s->p + from + len, i - from - len}, J_LOWER);
    }
    return jinja_take(r, ERR_OK, &buf, out);
}

FILTER(string)
{
    const struct jinja_str *s;
    UNUSED;
    TRY(jinja_str_of(r, c->self, &s));
    *out = jinja_of_str(s);
    out->markup = c->self.k == J_STR && c->self.markup;
    return ERR_OK;
}

FILTER(safe)
{
    TRY(jinja_filter_string(r, c, a, out));
    out->markup = true;
    return ERR_OK;
}

FILTER(escape)
{
    UNUSED;
    return jinja_escape(r, c->self, out);
}

FILTER(forceescape)
{
    struct jinja_val x = c->self;
    UNUSED;
    x.markup = false;
    return jinja_escape(r, x, out);
}

FILTER(replace)
{
    const struct jinja_str *s, *old, *by;
    int64_t count = -1;
    TRY(jinja_str_of(r, c->self, &s));
    TRY(jinja_str_of(r, a[0], &old));
    TRY(jinja_str_of(r, a[1], &by));
    if (a[2].k != J_MISSING && a[2].k != J_NONE)
        TRY(jinja_want_int(r, a[2], "the count", &count));
    return jinja_replace(r, jinja_span(s), jinja_span(old), jinja_span(by), count, out);
}

FILTER(format)
{
    struct jinja_val args;
    const struct jinja_str *s;
    UNUSED;
    if (c->n_pos && c->n_kw)
        return jinja_fail(r, "format: positional and keyword arguments at the same time");
    if (c->n_kw) {
        struct jinja_dict *d = jinja_dict_new(r);
        for (size_t i = 0; i < c->n_kw; i++)
            TRY(jinja_dict_set(r, d, jinja_of_str(c->names[i]), c->kw[i]));
        args = (struct jinja_val){.k = J_DICT, .d = d};
    } else {
        struct jinja_list *l = jinja_list_new(r, c->n_pos);
        for (size_t i = 0; i < c->n_pos; i++)
            TRY(jinja_list_push(r, l, c->pos[i]));
        args = jinja_of_tuple(l);
    }
    TRY(jinja_str_of(r, c->self, &s));
    return jinja_printf(r, jinja_span(s), args, out);
}

FILTER(indent)
{
    struct str buf;
    struct span s, by = {"    ", 4};
    int64_t width = 4;
    bool first = jinja_truth(a[1]), blank = jinja_truth(a[2]);
    struct jinja_val pad;
    UNUSED;
    if (c->self.k == J_UNDEF)
        return jinja_undef_fail(r, c->self);
    TRY(jinja_want_str(r, c->self, "what |indent takes", &s));
    if (a[0].k == J_STR) {
        by = jinja_span(a[0].s);
    } else if (a[0].k != J_MISSING) {
        TRY(jinja_want_int(r, a[0], "the width", &width));
        TRY(jinja_binary(r, J_T_MUL, jinja_of_str(jinja_str_view(&r->arena, " ", 1, 1)),
                         jinja_int(width), &pad));
        by = jinja_span(pad.s);
    }
    TRY(jinja_charge(r, s.n));
    jinja_buf(r, &buf);
    bool start = true;
    for (size_t i = 0, next; start || i < s.n; i = next) {
        size_t end = jinja_line_end(s, i, &next);
        if (!start)
            str_add_char(&buf, '\n');
        if (start ? first : blank || end > i)
            str_add_span(&buf, by);
        str_add(&buf, s.p + i, end - i);
        start = false;
        if (jinja_step(r, 1 + by.n / 64) != ERR_OK || buf.full)
            break;
    }
    /* the newline that jinja2 adds closes an open line, or makes one more after a closed one */
    size_t ignored = 0, tail = s.n;
    while (tail && ((unsigned char)s.p[tail - 1] & 0xc0) == 0x80)
        tail--;
    tail -= tail != 0;
    bool closed = s.n && jinja_line_end(s, tail, &ignored) < s.n;
    bool joins = closed && s.p[s.n - 1] == '\r'; /* \r and the added \n are one line end */
    if (closed && !joins) {
        str_add_char(&buf, '\n');
        if (blank)
            str_add_span(&buf, by);
    }
    return jinja_take(r, jinja_step(r, 1), &buf, out);
}

FILTER(truncate)
{
    int64_t length = 255, leeway = 5;
    const struct jinja_str *end = jinja_str_view(&r->arena, "...", 3, 3);
    struct jinja_val cut, sum;
    if (a[0].k != J_MISSING)
        TRY(jinja_want_int(r, a[0], "the length", &length));
    if (a[2].k != J_MISSING && a[2].k != J_STR)
        return jinja_fail(r, "the end must be a string");
    if (a[2].k == J_STR)
        end = a[2].s;
    if (a[3].k != J_MISSING && a[3].k != J_NONE)
        TRY(jinja_want_int(r, a[3], "the leeway", &leeway));
    if (length < (int64_t)end->n_cp || leeway < 0)
        return jinja_fail(r, "truncate: the length is less than the end's, or the leeway below 0");
    size_t n;
    TRY(jinja_len(r, c->self, &n));
    *out = c->self;
    if (length > INT64_MAX / 2 || leeway > INT64_MAX / 2 || (int64_t)n <= length + leeway)
        return ERR_OK;
    struct jinja_val lim[3] = {J_NONE_VAL, jinja_int(length - (int64_t)end->n_cp), J_NONE_VAL};
    TRY(jinja_slice(r, c->self, lim, &cut));
    if (cut.k != J_STR)
        return jinja_fail(r, "only text can be truncated");
    if (!jinja_truth(a[1])) {
        size_t k = cut.s->n;
        while (k && cut.s->p[k - 1] != ' ')
            k--;
        if (k)
            cut = jinja_of_str(
                jinja_str_view(&r->arena, cut.s->p, k - 1, jinja_count_cp(cut.s->p, k - 1)));
    }
    TRY(jinja_binary(r, J_T_ADD, cut, jinja_of_str(end), &sum));
    *out = sum;
    return ERR_OK;
}

FILTER(wordcount)
{
    const struct jinja_str *s;
    int64_t n = 0;
    bool within = false;
    UNUSED;
    TRY(jinja_str_of(r, c->self, &s));
    TRY(jinja_step(r, s->n / 16));
    for (size_t i = 0, len; i < s->n; i += len) {
        bool word = jinja_is_word(utf8_get(s->p + i, s->n - i, &len));
        n += word && !within;
        within = word;
    }
    *out = jinja_int(n);
    return ERR_OK;
}

static enum err put_quoted(struct jinja_run *r, struct str *out, struct jinja_val v, bool query)
{
    const struct jinja_str *s;
    TRY(jinja_str_of(r, v, &s));
    TRY(jinja_charge(r, s->n * 3));
    for (size_t i = 0; i < s->n; i++) {
        unsigned char ch = (unsigned char)s->p[i];
        if (ch < 128 && (jinja_is_word(ch) || strchr("-.~", ch)) && ch)
            str_add_char(out, (char)ch);
        else if (ch == '/' && !query)
            str_add_char(out, '/');
        else if (ch == ' ' && query)
            str_add_char(out, '+');
        else
            str_addf(out, "%%%02X", ch);
    }
    return ERR_OK;
}

static enum err put_query(struct jinja_run *r, struct str *out, struct jinja_val v)
{
    struct jinja_list *pairs, *pair;
    struct jinja_view view = {J_VIEW_ITEMS, v.d};
    if (v.k == J_DICT)
        v = (struct jinja_val){.k = J_VIEW, .view = &view};
    TRY(jinja_to_list(r, v, &pairs));
    for (size_t i = 0; i < pairs->n; i++) {
        TRY(jinja_to_list(r, pairs->v[i], &pair));
        if (pair->n != 2)
            return jinja_fail(r, "urlencode takes pairs");
        if (i)
            str_add_char(out, '&');
        TRY(put_quoted(r, out, pair->v[0], true));
        str_add_char(out, '=');
        TRY(put_quoted(r, out, pair->v[1], true));
    }
    return ERR_OK;
}

FILTER(urlencode)
{
    struct str buf;
    UNUSED;
    jinja_buf(r, &buf);
    bool plain = c->self.k == J_STR || !jinja_can_iterate(c->self);
    return jinja_take(r, plain ? put_quoted(r, &buf, c->self, false) : put_query(r, &buf, c->self),
                      &buf, out);
}

static enum err put_attrs(struct jinja_run *r, struct str *out, const struct jinja_dict *d,
                          bool space)
{
    for (size_t i = 0; i < d->n; i++) {
        struct jinja_val key = d->e[i].key, v = d->e[i].v;
        if (v.k == J_NONE || v.k == J_UNDEF)
            continue;
        if (key.k != J_STR)
            return jinja_fail(r, "attribute names must be strings");
        for (size_t k = 0; k < key.s->n; k++) {
            unsigned char ch = (unsigned char)key.s->p[k];
            if ((ch >= 9 && ch <= 13) || (ch && strchr(" />=", ch)))
                return jinja_fail(r, "invalid character in an attribute's name");
        }
        TRY(jinja_escape(r, key, &key));
        TRY(jinja_escape(r, v, &v));
        if (space || out->n)
            str_add_char(out, ' ');
        str_add_span(out, jinja_span(key.s));
        str_add_cstr(out, "=\"");
        str_add_span(out, jinja_span(v.s));
        str_add_char(out, '"');
    }
    return ERR_OK;
}

FILTER(xmlattr)
{
    struct str buf;
    if (c->self.k != J_DICT)
        return jinja_fail(r, "xmlattr takes a mapping");
    jinja_buf(r, &buf);
    bool space = a[0].k == J_MISSING || jinja_truth(a[0]);
    return jinja_take(r, put_attrs(r, &buf, c->self.d, space), &buf, out);
}

FILTER(tojson)
{
    struct jinja_json o = {.item_sep = SPAN(", "), .key_sep = SPAN(": ")};
    struct jinja_val pad;
    struct str buf;
    int64_t n = 0;
    o.ascii = jinja_truth(a[0]);
    o.sort_keys = jinja_truth(a[3]);
    o.has_indent = a[1].k != J_MISSING && a[1].k != J_NONE;
    if (o.has_indent) {
        o.item_sep = SPAN(",");
        if (a[1].k == J_STR) {
            o.indent = jinja_span(a[1].s);
        } else {
            TRY(jinja_want_int(r, a[1], "the indent", &n));
            TRY(jinja_binary(r, J_T_MUL, jinja_of_str(jinja_str_view(&r->arena, " ", 1, 1)),
                             jinja_int(n), &pad));
            o.indent = jinja_span(pad.s);
        }
    }
    if (a[2].k != J_MISSING && a[2].k != J_NONE) {
        if ((a[2].k != J_TUPLE && a[2].k != J_LIST) || a[2].l->n != 2)
            return jinja_fail(r, "separators must be two strings");
        TRY(jinja_want_str(r, a[2].l->v[0], "a separator", &o.item_sep));
        TRY(jinja_want_str(r, a[2].l->v[1], "a separator", &o.key_sep));
    }
    jinja_buf(r, &buf);
    return jinja_take(r, jinja_put_json(r, &buf, c->self, &o), &buf, out);
}

/* ---- numbers ---- */

FILTER(abs)
{
    struct jinja_val x = c->self;
    UNUSED;
    if (x.k == J_UNDEF)
        return jinja_undef_fail(r, x);
    if (!jinja_is_number(x))
        return jinja_fail(r, "bad operand type for abs(): '%s'", jinja_type(x));
    if (x.k == J_FLOAT) {
        *out = jinja_float(fabs(x.f));
        return ERR_OK;
    }
    return jinja_binary(r, jinja_num(x) < 0 ? J_T_SUB : J_T_ADD, jinja_int(0), x, out);
}

/* Digits with single underscores between them, as int() and float() accept them. */
static bool drop_underscores(struct span s, char *to, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '_') {
            if (!i || i + 1 == s.n || s.p[i - 1] == '_' || s.p[i + 1] == '_')
                return false;
            continue;
        }
        if (n + 1 >= room || !s.p[i])
            return false;
        to[n++] = s.p[i];
    }
    to[n] = 0;
    return n != 0;
}

bool jinja_parse_float(struct span s, double *out)
{
    char text[512], *end;
    s = jinja_strip(s, true, true);
    if (!drop_underscores(s, text, sizeof text))
        return false;
    const char *p = text + (*text == '-' || *text == '+');
    bool word = strcasecmp(p, "inf") == 0 || strcasecmp(p, "nan") == 0 ||
                strcasecmp(p, "infinity") == 0;
    if (!word && (!*p || strspn(p, "0123456789.eE+-") != strlen(p)))
        return false;
    *out = strtod(text, &end);
    return *end == 0;
}

/* int(text, base): false when it is no number; *big when it is one beyond 64 bits. */
static bool parse_int(struct span s, int64_t base, int64_t *out, bool *big)
{
    char text[512], *end;
    s = jinja_strip(s, true, true);
    bool negative = s.n && *s.p == '-';
    if (s.n && (*s.p == '-' || *s.p == '+')) {
        s.p++;
        s.n--;
    }
    if (s.n > 1 && s.p[0] == '0') {
        char x = (char)(s.p[1] | 32);
        int64_t named = x == 'x' ? 16 : x == 'o' ? 8 : x == 'b' ? 2 : 0;
        if (named && (base == named || base == 0)) {
            base = named;
            s.p += 2;
            s.n -= 2;
            if (s.n && *s.p == '_') {
                s.p++;
                s.n--;
            }
        } else if (base == 0 && strspn(s.p, "0_") < s.n) {
            return false; /* 0123 */
        }
    }
    *big = false;
    if (!drop_underscores(s, text + 1, sizeof text - 1))
        return false;
    if (text[1] == '-' || text[1] == '+' || jinja_is_space((unsigned char)text[1]) ||
        (text[1] == '0' && (text[2] | 32) == 'x'))
        return false;
    text[0] = negative ? '-' : '+';
    errno = 0;
    *out = strtoll(text, &end, base ? (int)base : 10);
    *big = errno == ERANGE;
    return *end == 0;
}

static enum err int_of_float(struct jinja_run *r, double f, struct jinja_val *out)
{
    if (fabs(f) >= 0x1p63)
        return jinja_fail(r, "an integer beyond 64 bits");
    *out = jinja_int((int64_t)f);
    return ERR_OK;
}

FILTER(int)
{
    struct jinja_val x = c->self;
    int64_t i, base = 10;
    double f;
    bool big = false;
    if (x.k == J_UNDEF)
        return jinja_undef_fail(r, x);
    if (a[1].k != J_MISSING)
        TRY(jinja_want_int(r, a[1], "the base", &base));
    *out = a[0].k == J_MISSING ? jinja_int(0) : a[0];
    if (x.k == J_BOOL || x.k == J_INT) {
        *out = jinja_int(x.k == J_BOOL ? x.b : x.i);
    } else if (x.k == J_FLOAT) {
        if (isinf(x.f))
            return jinja_fail(r, "cannot convert float infinity to integer");
        return isnan(x.f) ? ERR_OK : int_of_float(r, x.f, out);
    } else if (x.k == J_STR) {
        if (base >= 0 && base != 1 && base <= 36 && parse_int(jinja_span(x.s), base, &i, &big)) {
            if (big)
                return jinja_fail(r, "an integer beyond 64 bits");
            *out = jinja_int(i);
        } else if (jinja_parse_float(jinja_span(x.s), &f) && isfinite(f)) {
            return int_of_float(r, f, out);
        }
    }
    return ERR_OK;
}

FILTER(float)
{
    struct jinja_val x = c->self;
    double f;
    if (x.k == J_UNDEF)
        return jinja_undef_fail(r, x);
    if (jinja_is_number(x))
        *out = jinja_float(jinja_num(x));
    else if (x.k == J_STR && jinja_parse_float(jinja_span(x.s), &f))
        *out = jinja_float(f);
    else
        *out = a[0].k == J_MISSING ? jinja_float(0) : a[0];
    return ERR_OK;
}

/* round(): to even on the decimal that the double really is */
static enum err round_common(struct jinja_run *r, struct jinja_val x, int64_t digits,
                             struct jinja_val *out)
{
    char text[800];
    if (x.k != J_FLOAT) {
        int64_t i = x.k == J_BOOL ? x.b : x.i, unit = 1;
        for (; digits < 0 && unit < INT64_MAX / 20; digits++)
            unit *= 10;
        int64_t rest = i % unit, low = i - rest;
        if (rest < 0) {
            rest += unit;
            low -= unit;
        }
        bool up = rest > unit / 2 || (rest * 2 == unit && (low / unit) % 2 != 0);
        return jinja_binary(r, J_T_ADD, jinja_int(low), jinja_int(up ? unit : 0), out);
    }
    if (!isfinite(x.f) || digits > 330) {
        *out = x;
        return ERR_OK;
    }
    if (digits < -330)
        digits = -330;
    if (digits >= 0) {
        snprintf(text, sizeof text, "%.*f", (int)digits, x.f);
        *out = jinja_float(strtod(text, NULL));
    } else {
        double unit = pow(10, (double)-digits);
        *out = jinja_float(isfinite(unit) ? nearbyint(x.f / unit) * unit : copysign(0, x.f));
    }
    return ERR_OK;
}

FILTER(round)
{
    struct jinja_val x = c->self;
    int64_t digits = 0;
    struct span how = SPAN("common");
    if (a[1].k != J_MISSING)
        TRY(jinja_want_str(r, a[1], "the method", &how));
    bool up = span_eq_cstr(how, "ceil"), down = span_eq_cstr(how, "floor");
    if (!up && !down && !span_eq_cstr(how, "common"))
        return jinja_fail(r, "method must be common, ceil or floor");
    if (x.k == J_UNDEF)
        return jinja_undef_fail(r, x);
    if (!jinja_is_number(x))
        return jinja_fail(r, "type %s cannot be rounded", jinja_type(x));
    if (!up && !down && a[0].k == J_NONE) {
        TRY(round_common(r, x, 0, out));
        return out->k == J_FLOAT ? int_of_float(r, out->f, out) : ERR_OK;
    }
    if (a[0].k != J_MISSING)
        TRY(jinja_want_int(r, a[0], "the precision", &digits));
    if (!up && !down)
        return round_common(r, x, digits, out);
    if (digits > 300 || digits < -300)
        return jinja_fail(r, "a precision of %lld", (long long)digits);
    double unit = pow(10, (double)digits), v = jinja_num(x) * unit;
    if (x.k != J_FLOAT && digits >= 0) { /* exact in Python: v * 10 ** digits is an integer */
        *out = jinja_float(jinja_num(x));
        return ERR_OK;
    }
    if (!isfinite(v))
        return jinja_fail(r, "cannot round %s", isnan(v) ? "nan" : "infinity");
    v = up ? ceil(v) : floor(v);
    *out = jinja_float((v == 0 ? 0 : v) / unit);
    return ERR_OK;
}

FILTER(filesizeformat)
{
    static const char *const units[2][8] = {
        {"kB",  "MB",  "GB",  "TB",  "PB",  "EB",  "ZB",  "YB" },
        {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"},
    };
    bool binary = jinja_truth(a[0]);
    double base = binary ? 1024 : 1000, n, unit;
    char text[400];
    if (c->self.k == J_STR ? !jinja_parse_float(jinja_span(c->self.s), &n)
                           : !jinja_is_number(c->self))
        return jinja_fail(r, "filesizeformat takes a number");
    if (c->self.k != J_STR)
        n = jinja_num(c->self);
    if (!isfinite(n))
        return jinja_fail(r, "filesizeformat takes a finite number");
    if (n == 1) {
        snprintf(text, sizeof text, "1 Byte");
    } else if (n < base) {
        snprintf(text, sizeof text, "%.0f Bytes", trunc(n) + 0.0);
    } else {
        int i = 0;
        for (unit = base * base; i < 7 && n >= unit; unit *= base)
            i++;
        snprintf(text, sizeof text, "%.1f %s", base * n / unit, units[binary][i]);
    }
    return jinja_text(r, span_of(text), out);
}
