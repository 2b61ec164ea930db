/* SPDX-License-Identifier: MIT
 * jinja_format.c - Python's two ways to fill in a pattern: '%s' % x and '{}'.format(x). */
#include "chat/jinja_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH_MAX     100000
#define PRECISION_MAX 1000

struct spec {
    char fill[5];
    char align; /* < > ^ = or 0 */
    char sign;  /* + - space or 0 */
    bool alt, zero;
    char group; /* , or _ */
    int64_t width;
    int64_t prec; /* -1: none */
    char type;
};

/* Puts sign, prefix and body into the width. */
static enum err put_field(struct jinja_run *r, struct str *out, const struct spec *f,
                          const char *sign, struct span body, char align)
{
    size_t n = strlen(sign) + jinja_count_cp(body.p, body.n);
    size_t gap = f->width > (int64_t)n ? (size_t)f->width - n : 0;
    size_t left = align == '>' ? gap : align == '^' ? gap / 2 : 0;
    TRY(jinja_charge(r, gap + body.n));
    for (size_t i = 0; i < left; i++)
        str_add_cstr(out, f->fill);
    str_add_cstr(out, sign);
    for (size_t i = 0; align == '=' && i < gap; i++)
        str_add_cstr(out, f->fill);
    str_add_span(out, body);
    for (size_t i = left; align != '=' && i < gap; i++)
        str_add_cstr(out, f->fill);
    return jinja_put_full(r, out);
}

static void put_grouped(struct str *out, const char *digits, size_t n, char group)
{
    for (size_t i = 0; i < n; i++) {
        if (group && i && (n - i) % 3 == 0)
            str_add_char(out, group);
        str_add_char(out, digits[i]);
    }
}

static void put_base(struct str *out, uint64_t u, char type)
{
    char text[72];
    size_t n = sizeof text;
    unsigned base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : 2;
    do {
        text[--n] = (type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[u % base];
        u /= base;
    } while (u);
    str_add(out, text + n, sizeof text - n);
}

static const char *sign_of(bool negative, const struct spec *f)
{
    return negative ? "-" : f->sign == '+' ? "+" : f->sign == ' ' ? " " : "";
}

static enum err put_int(struct jinja_run *r, struct str *out, const struct spec *f, int64_t i,
                        bool percent)
{
    char digits[32], sign[8];
    struct str body;
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    char t = f->type ? f->type : 'd';
    str_init(&body, WIDTH_MAX);
    if (t == 'd' || t == 'i' || t == 'u' || t == 'n') {
        int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)u);
        for (int64_t k = n; percent && k < f->prec; k++)
            str_add_char(&body, '0');
        put_grouped(&body, digits, (size_t)n, f->group);
    } else {
        struct str raw;
        str_init(&raw, 100);
        put_base(&raw, u, t);
        for (int64_t k = (int64_t)raw.n; percent && k < f->prec; k++)
            str_add_char(&body, '0');
        str_add_span(&body, str_span(&raw));
        str_done(&raw);
    }
    bool prefix = f->alt && strchr("xXob", t);
    snprintf(sign, sizeof sign, "%s%s%.1s", sign_of(i < 0, f), prefix ? "0" : "", prefix ? &t : "");
    char align = f->align ? f->align : f->zero ? '=' : '>';
    enum err rc = put_field(r, out, f, sign, str_span(&body), align);
    str_done(&body);
    return rc;
}

/* No type but a precision: as g, with a digit after the point or else an exponent. */
static void general_digits(struct str *body, const struct spec *f, int prec, double x)
{
    char text[PRECISION_MAX + 40];
    snprintf(text, sizeof text, "%.*e", prec - 1, x);
    char *e = strchr(text, 'e');
    int point = (int)strtol(e + 1, NULL, 10) + 1;
    if (point > -4 && point <= prec - 1) {
        str_addf(body, f->alt ? "%#.*g" : "%.*g", prec, x);
        if (!memchr(body->p, '.', body->n))
            str_add_cstr(body, ".0");
        return;
    }
    size_t n = (size_t)(e - text);
    while (!f->alt && n > 1 && memchr(text, '.', n) && (text[n - 1] == '0' || text[n - 1] == '.'))
        n--;
    str_add(body, text, n);
    if (f->alt && !memchr(text, '.', n))
        str_add_char(body, '.');
    str_add_cstr(body, e);
}

static void float_digits(struct str *body, const struct spec *f, double x)
{
    char t = f->type;
    int prec = f->prec < 0 ? 6 : (int)f->prec;
    if (t == '%')
        x *= 100;
    if (isnan(x) || isinf(x)) {
        bool upper = t == 'E' || t == 'F' || t == 'G';
        str_add_cstr(body, isnan(x) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf"));
    } else if (t == 'e') {
        str_addf(body, f->alt ? "%#.*e" : "%.*e", prec, x);
    } else if (t == 'E') {
        str_addf(body, f->alt ? "%#.*E" : "%.*E", prec, x);
    } else if (t == 'f' || t == 'F' || t == '%') {
        str_addf(body, f->alt ? "%#.*f" : "%.*f", prec, x);
    } else if (t == 'G') {
        str_addf(body, f->alt ? "%#.*G" : "%.*G", prec, x);
    } else if (t == 'g' || t == 'n') {
        str_addf(body, f->alt ? "%#.*g" : "%.*g", prec, x);
    } else if (f->prec < 0) {
        jinja_put_float(body, x);
    } else {
        general_digits(body, f, MAX(prec, 1), x);
    }
    if (t == '%')
        str_add_char(body, '%');
}

static enum err put_float(struct jinja_run *r, struct str *out, const struct spec *f, double x,
                          bool percent)
{
    struct str body, grouped;
    bool negative = signbit(x) && !isnan(x);
    str_init(&body, WIDTH_MAX);
    str_init(&grouped, WIDTH_MAX);
    float_digits(&body, f, negative ? -x : x);
    size_t whole = 0;
    while (whole < body.n && body.p[whole] >= '0' && body.p[whole] <= '9')
        whole++;
    put_grouped(&grouped, body.p, whole, f->group);
    str_add(&grouped, body.p + whole, body.n - whole);
    char align = f->align ? f->align : f->zero && isfinite(x) ? '=' : '>';
    if (f->zero && !percent && !f->align)
        align = '=';
    enum err rc = put_field(r, out, f, sign_of(negative, f), str_span(&grouped), align);
    str_done(&body);
    str_done(&grouped);
    return rc;
}

static enum err put_text(struct jinja_run *r, struct str *out, const struct spec *f,
                         const struct jinja_str *s, char align)
{
    size_t n = s->n;
    if (f->prec >= 0 && (size_t)f->prec < s->n_cp)
        n = jinja_cp_pos(s, (size_t)f->prec);
    return put_field(r, out, f, "", (struct span){s->p, n}, f->align ? f->align : align);
}

static enum err limit(struct jinja_run *r, const struct spec *f)
{
    if (f->width > WIDTH_MAX || f->prec > PRECISION_MAX)
        return jinja_fail(r, "a format with a width of %lld and a precision of %lld",
                          (long long)f->width, (long long)f->prec);
    return ERR_OK;
}

static enum err to_int(struct jinja_run *r, struct jinja_val v, char type, int64_t *out)
{
    if (v.k == J_FLOAT && strchr("diu", type)) {
        if (!isfinite(v.f) || fabs(v.f) >= 0x1p63)
            return jinja_fail(r, "%%%c: not a 64-bit integer", type);
        *out = (int64_t)v.f;
        return ERR_OK;
    }
    return jinja_want_int(r, v, "what the format takes", out);
}

/* ---- % ---- */

struct percent {
    struct span fmt;
    size_t i;
    struct jinja_val args;
    size_t n_used;
    bool by_name;
};

static enum err next_arg(struct jinja_run *r, struct percent *p, struct jinja_val *out)
{
    bool tuple = p->args.k == J_TUPLE;
    if (p->n_used >= (tuple ? p->args.l->n : 1))
        return jinja_fail(r, "not enough arguments for the format string");
    *out = tuple ? p->args.l->v[p->n_used] : p->args;
    p->n_used++;
    return ERR_OK;
}

static enum err percent_number(struct jinja_run *r, struct percent *p, int64_t *out)
{
    *out = 0;
    if (p->i < p->fmt.n && p->fmt.p[p->i] == '*') {
        struct jinja_val v;
        p->i++;
        TRY(next_arg(r, p, &v));
        return jinja_want_int(r, v, "*", out);
    }
    while (p->i < p->fmt.n && p->fmt.p[p->i] >= '0' && p->fmt.p[p->i] <= '9' && *out < WIDTH_MAX)
        *out = *out * 10 + (p->fmt.p[p->i++] - '0');
    return ERR_OK;
}

static enum err percent_spec(struct jinja_run *r, struct percent *p, struct spec *f)
{
    *f = (struct spec){.fill = " ", .prec = -1};
    bool left = false;
    for (; p->i < p->fmt.n && strchr("-+ #0", p->fmt.p[p->i]) && p->fmt.p[p->i]; p->i++) {
        char ch = p->fmt.p[p->i];
        left |= ch == '-';
        f->alt |= ch == '#';
        f->zero |= ch == '0';
        if (ch == '+' || (ch == ' ' && f->sign != '+'))
            f->sign = ch;
    }
    TRY(percent_number(r, p, &f->width));
    if (f->width < 0) {
        left = true;
        f->width = f->width < -WIDTH_MAX ? WIDTH_MAX + 1 : -f->width;
    }
    if (p->i < p->fmt.n && p->fmt.p[p->i] == '.') {
        p->i++;
        TRY(percent_number(r, p, &f->prec));
        f->prec = MAX(f->prec, 0);
    }
    if (p->i < p->fmt.n && p->fmt.p[p->i] && strchr("hlL", p->fmt.p[p->i]))
        p->i++;
    if (p->i == p->fmt.n)
        return jinja_fail(r, "incomplete format");
    f->type = p->fmt.p[p->i++];
    if (left)
        f->align = '<';
    return limit(r, f);
}

/* The conversions s, r and a: str(), repr(), and repr() with escapes for all but ASCII. */
static enum err put_converted(struct jinja_run *r, struct str *out, struct jinja_val v, char how)
{
    struct jinja_val text;
    struct str buf;
    if (how != 'a')
        return how == 'r' ? jinja_put_repr(r, out, v) : jinja_put_str(r, out, v);
    jinja_buf(r, &buf);
    TRY(jinja_take(r, jinja_put_repr(r, &buf, v), &buf, &text));
    for (size_t i = 0, len; i < text.s->n; i += len) {
        int32_t cp = utf8_get(text.s->p + i, text.s->n - i, &len);
        if (cp < 128)
            str_add_char(out, (char)cp);
        else
            str_addf(out, cp < 256 ? "\\x%02x" : cp < 65536 ? "\\u%04x" : "\\U%08x", (unsigned)cp);
    }
    return jinja_put_full(r, out);
}

static enum err percent_value(struct jinja_run *r, struct str *out, struct spec *f,
                              struct jinja_val v)
{
    const struct jinja_str *s;
    struct jinja_val text;
    int64_t i;
    if (f->type == 's' || f->type == 'r' || f->type == 'a') {
        if (f->type == 's') {
            TRY(jinja_str_of(r, v, &s));
        } else {
            struct str buf;
            jinja_buf(r, &buf);
            TRY(jinja_take(r, put_converted(r, &buf, v, f->type), &buf, &text));
            s = text.s;
        }
        return put_text(r, out, f, s, '>');
    }
    if (f->type == 'c') {
        char cp[4];
        f->prec = -1;
        if (v.k == J_STR && v.s->n_cp == 1)
            return put_text(r, out, f, v.s, '>');
        TRY(jinja_want_int(r, v, "%c", &i));
        if (i < 0 || i > 0x10ffff || (i >= 0xd800 && i < 0xe000))
            return jinja_fail(r, "%%c: not a character");
        return put_text(r, out, f, jinja_str_new(&r->arena, cp, utf8_put(cp, (uint32_t)i)), '>');
    }
    if (f->zero && f->align != '<')
        strcpy(f->fill, "0");
    if (f->type && strchr("diuxXo", f->type)) {
        TRY(to_int(r, v, f->type, &i));
        return put_int(r, out, f, i, true);
    }
    if (!f->type || !strchr("eEfFgG", f->type))
        return jinja_fail(r, "unsupported format character '%c'", f->type ? f->type : '?');
    if (v.k == J_UNDEF)
        return jinja_undef_fail(r, v);
    if (!jinja_is_number(v))
        return jinja_fail(r, "the format takes a number, not %s", jinja_type(v));
    if (f->prec > 300)
        return jinja_fail(r, "a precision of %lld", (long long)f->prec);
    return put_float(r, out, f, jinja_num(v), true);
}

static enum err percent_one(struct jinja_run *r, struct percent *p, struct str *out)
{
    struct jinja_val v;
    struct spec f;
    bool named = p->i < p->fmt.n && p->fmt.p[p->i] == '(';
    if (named) {
        size_t from = ++p->i;
        int depth = 1;
        for (; p->i < p->fmt.n && depth; p->i++)
            depth += p->fmt.p[p->i] == '(' ? 1 : p->fmt.p[p->i] == ')' ? -1 : 0;
        if (p->args.k != J_DICT)
            return jinja_fail(r, "format requires a mapping");
        if (depth)
            return jinja_fail(r, "incomplete format key");
        const struct jinja_val *found = jinja_dict_find(
            p->args.d, (struct span){p->fmt.p + from, p->i - 1 - from});
        if (!found)
            return jinja_fail(r, "a key of the format is missing");
        v = *found;
        p->by_name = true;
    }
    TRY(percent_spec(r, p, &f));
    if (f.type == '%') {
        str_add_char(out, '%');
        return ERR_OK;
    }
    if (!named)
        TRY(next_arg(r, p, &v));
    return percent_value(r, out, &f, v);
}

static enum err put_percent(struct jinja_run *r, struct percent *p, struct str *out)
{
    while (p->i < p->fmt.n) {
        const char *hit = memchr(p->fmt.p + p->i, '%', p->fmt.n - p->i);
        size_t end = hit ? (size_t)(hit - p->fmt.p) : p->fmt.n;
        str_add(out, p->fmt.p + p->i, end - p->i);
        p->i = end + 1;
        if (!hit)
            break;
        TRY(jinja_step(r, 1));
        TRY(percent_one(r, p, out));
    }
    bool mapping = p->args.k == J_DICT || p->args.k == J_LIST || p->args.k == J_RANGE ||
                   p->args.k == J_UNDEF; /* what Python lets go unused: it has keys or indexes */
    size_t n = p->args.k == J_TUPLE ? p->args.l->n : !mapping;
    if (p->n_used < n)
        return jinja_fail(r, "not all arguments converted during string formatting");
    return ERR_OK;
}

enum err jinja_printf(struct jinja_run *r, struct span fmt, struct jinja_val args,
                      struct jinja_val *out)
{
    struct percent p = {.fmt = fmt, .args = args};
    struct str buf;
    TRY(jinja_charge(r, fmt.n));
    jinja_buf(r, &buf);
    return jinja_take(r, put_percent(r, &p, &buf), &buf, out);
}

/* ---- str.format ---- */

struct braces {
    const struct jinja_call *c;
    size_t n_auto;
    bool manual; /* fields were numbered by the pattern */
};

static enum err parse_spec(struct jinja_run *r, struct span s, struct spec *f)
{
    *f = (struct spec){.fill = " ", .prec = -1};
    size_t i = 0, len = 1;
    bool has_fill = false;
    if (s.n)
        utf8_get(s.p, s.n, &len);
    if (s.n > len && strchr("<>=^", s.p[len]) && s.p[len]) {
        memcpy(f->fill, s.p, len);
        f->fill[len] = 0;
        f->align = s.p[len];
        i = len + 1;
        has_fill = true;
    } else if (s.n && strchr("<>=^", s.p[0]) && s.p[0]) {
        f->align = s.p[0];
        i = 1;
    }
    if (i < s.n && s.p[i] && strchr("+- ", s.p[i]))
        f->sign = s.p[i++];
    if (i < s.n && s.p[i] == '#') {
        f->alt = true;
        i++;
    }
    if (i < s.n && s.p[i] == '0') {
        f->zero = true;
        if (!has_fill)
            strcpy(f->fill, "0");
        i++;
    }
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && f->width <= WIDTH_MAX; i++)
        f->width = f->width * 10 + (s.p[i] - '0');
    if (i < s.n && (s.p[i] == ',' || s.p[i] == '_'))
        f->group = s.p[i++];
    if (i < s.n && s.p[i] == '.') {
        size_t from = ++i;
        for (f->prec = 0; i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && f->prec <= WIDTH_MAX; i++)
            f->prec = f->prec * 10 + (s.p[i] - '0');
        if (i == from)
            return jinja_fail(r, "format specifier missing precision");
    }
    if (i < s.n)
        f->type = s.p[i++];
    if (i != s.n || (f->group && f->type == 'n'))
        return jinja_fail(r, "invalid format specifier");
    return limit(r, f);
}

static enum err put_formatted(struct jinja_run *r, struct str *out, struct jinja_val v,
                              struct span text)
{
    struct spec f;
    if (!text.n)
        return jinja_put_str(r, out, v);
    TRY(parse_spec(r, text, &f));
    bool whole = v.k == J_INT || v.k == J_BOOL;
    if (v.k == J_STR) {
        if ((f.type && f.type != 's') || f.sign || f.alt || f.group || f.align == '=')
            return jinja_fail(r, "a format that strings do not have");
        return put_text(r, out, &f, v.s, '<');
    }
    if (whole && f.type == 'c')
        return jinja_fail(r, "the format c is not supported");
    if (v.k == J_BOOL && !f.type) {
        return put_int(r, out, &f, v.b, false); /* as Python: 1 for True */
    }
    if (whole && (!f.type || strchr("dxXobn", f.type))) {
        if (f.prec >= 0)
            return jinja_fail(r, "precision not allowed in integer format specifier");
        if (f.group && f.type && f.type != 'd')
            return jinja_fail(r, "grouping is not supported for this type");
        return put_int(r, out, &f, v.k == J_BOOL ? v.b : v.i, false);
    }
    if (jinja_is_number(v) && (!f.type || strchr("eEfFgGn%", f.type)))
        return put_float(r, out, &f, jinja_num(v), false);
    return jinja_fail(r, "unsupported format for %s", jinja_type(v));
}

static enum err field_arg(struct jinja_run *r, struct braces *b, struct span name,
                          struct jinja_val *out)
{
    bool number = true;
    size_t n = 0;
    for (size_t i = 0; i < name.n; i++) {
        number &= name.p[i] >= '0' && name.p[i] <= '9';
        n = number && n < 100000 ? n * 10 + (size_t)(name.p[i] - '0') : n;
    }
    if (!number) {
        for (size_t i = 0; i < b->c->n_kw; i++)
            if (span_eq(jinja_span(b->c->names[i]), name)) {
                *out = b->c->kw[i];
                return ERR_OK;
            }
        return jinja_fail(r, "format: there is no such keyword argument");
    }
    if (name.n ? b->n_auto != 0 : b->manual)
        return jinja_fail(r, "format: automatic and manual numbering cannot be mixed");
    b->manual |= name.n != 0;
    if (!name.n)
        n = b->n_auto++;
    if (n >= b->c->n_pos)
        return jinja_fail(r, "format: replacement index out of range");
    *out = b->c->pos[n];
    return ERR_OK;
}

/* name.attr[item]... */
static enum err field_value(struct jinja_run *r, struct braces *b, struct span path,
                            struct jinja_val *out)
{
    size_t i = 0;
    while (i < path.n && path.p[i] != '.' && path.p[i] != '[')
        i++;
    TRY(field_arg(r, b, (struct span){path.p, i}, out));
    while (i < path.n) {
        bool item = path.p[i] == '[';
        size_t from = ++i;
        while (i < path.n && (item ? path.p[i] != ']' : path.p[i] != '.' && path.p[i] != '['))
            i++;
        struct span s = {path.p + from, i - from};
        struct jinja_val key;
        if (!s.n || (item && i == path.n))
            return jinja_fail(r, "format: empty attribute");
        TRY(jinja_text(r, s, &key));
        TRY(jinja_step(r, 1));
        if (item) {
            i++;
            if (i < path.n && path.p[i] != '.' && path.p[i] != '[')
                return jinja_fail(r, "format: only '.' or '[' may follow ']'");
            if (strspn(s.p, "0123456789") >= s.n && s.n < 18)
                key = jinja_int(strtoll(key.s->p, NULL, 10));
            TRY(jinja_get_item(r, *out, key, out));
        } else {
            TRY(jinja_get_attr(r, *out, key.s, out));
        }
    }
    return ERR_OK;
}

static enum err put_braces(struct jinja_run *r, struct braces *b, struct span s, int depth,
                           struct str *out);

/* What stands between { and }. */
static enum err put_replacement(struct jinja_run *r, struct braces *b, struct span s, int depth,
                                struct str *out)
{
    size_t i = 0;
    bool bracket = false;
    for (; i < s.n && (bracket || (s.p[i] != '!' && s.p[i] != ':')); i++)
        bracket = s.p[i] == '[' || (bracket && s.p[i] != ']');
    struct jinja_val v;
    struct span spec = {"", 0};
    struct str buf;
    char conversion = 0;
    if (memchr(s.p, '{', i))
        return jinja_fail(r, "format: unexpected '{' in a field's name");
    TRY(field_value(r, b, (struct span){s.p, i}, &v));
    if (i < s.n && s.p[i] == '!') {
        conversion = i + 1 < s.n ? s.p[i + 1] : 0;
        i += 2;
        if ((conversion != 'r' && conversion != 's' && conversion != 'a') ||
            (i < s.n && s.p[i] != ':'))
            return jinja_fail(r, "format: unknown conversion");
    }
    if (i < s.n)
        spec = (struct span){s.p + i + 1, s.n - i - 1};
    if (memchr(spec.p, '{', spec.n)) {
        struct jinja_val inner;
        jinja_buf(r, &buf);
        TRY(jinja_take(r, put_braces(r, b, spec, depth + 1, &buf), &buf, &inner));
        spec = jinja_span(inner.s);
    }
    if (conversion) {
        jinja_buf(r, &buf);
        enum err rc = put_converted(r, &buf, v, conversion);
        TRY(jinja_take(r, rc, &buf, &v));
    }
    return put_formatted(r, out, v, spec);
}

static enum err put_braces(struct jinja_run *r, struct braces *b, struct span s, int depth,
                           struct str *out)
{
    if (depth > 1)
        return jinja_fail(r, "format: max string recursion exceeded");
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        if (ch != '{' && ch != '}') {
            str_add_char(out, ch);
            continue;
        }
        if (i + 1 < s.n && s.p[i + 1] == ch) {
            str_add_char(out, ch);
            i++;
            continue;
        }
        if (ch == '}')
            return jinja_fail(r, "format: single '}' encountered");
        size_t from = ++i;
        int open = 1;
        for (; i < s.n; i++) {
            open += s.p[i] == '{' ? 1 : s.p[i] == '}' ? -1 : 0;
            if (!open)
                break;
        }
        if (open)
            return jinja_fail(r, "format: expected '}' before the end of the string");
        TRY(jinja_step(r, 1));
        TRY(put_replacement(r, b, (struct span){s.p + from, i - from}, depth, out));
    }
    return jinja_put_full(r, out);
}

enum err jinja_format(struct jinja_run *r, const struct jinja_call *c, struct jinja_val *out)
{
    struct braces b = {.c = c};
    struct str buf;
    TRY(jinja_charge(r, c->self.s->n));
    jinja_buf(r, &buf);
    return jinja_take(r, put_braces(r, &b, jinja_span(c->self.s), 0, &buf), &buf, out);
}
