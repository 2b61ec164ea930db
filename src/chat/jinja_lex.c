/* SPDX-License-Identifier: MIT
 * jinja_lex.c - from a template's text to tokens, with jinja2's rules of white space: trim_blocks,
 * lstrip_blocks, the signs - and +, and no newline at the end of the file. */
#include "chat/jinja_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NEST_MAX 256 /* open brackets in one tag; the parser's limit is lower */

struct lexer {
    struct jinja *j;
    struct span src; /* newlines normalized */
    size_t pos;
    uint32_t line;
    bool line_starting; /* the last match ended with a newline */
    struct jinja_tok *toks;
    size_t n, cap;
    const struct jinja_str **names; /* interned, open addressing */
    size_t n_names, n_slots;
    char open[NEST_MAX];
    int n_open;
    struct errinfo *e;
};

void jinja_note_at(struct errinfo *e, uint32_t line, const char *fmt, ...)
{
    char text[420];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t n = utf8_complete(span_of(text));
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ')
            text[i] = ' ';
    err_note(e, ERR_TEMPLATE, "template line %u: %.*s", line, (int)n, text);
}

static void grow_names(struct lexer *x)
{
    size_t n = x->n_slots ? x->n_slots * 2 : 64;
    const struct jinja_str **to = arena_array(&x->j->arena, n, sizeof(*to));
    for (size_t i = 0; i < x->n_slots; i++)
        if (x->names[i]) {
            size_t h = num_hash(x->names[i]->p, x->names[i]->n, 0) & (n - 1);
            while (to[h])
                h = (h + 1) & (n - 1);
            to[h] = x->names[i];
        }
    x->names = to;
    x->n_slots = n;
}

static const struct jinja_str *intern(struct lexer *x, struct span s)
{
    if (x->n_names * 2 >= x->n_slots)
        grow_names(x);
    size_t h = num_hash(s.p, s.n, 0) & (x->n_slots - 1);
    for (; x->names[h]; h = (h + 1) & (x->n_slots - 1))
        if (span_eq(jinja_span(x->names[h]), s))
            return x->names[h];
    x->n_names++;
    return x->names[h] = jinja_str_new(&x->j->arena, s.p, s.n);
}

static struct jinja_tok *push(struct lexer *x, enum jinja_token t)
{
    if (x->n == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 256;
        struct jinja_tok *to = arena_array(&x->j->arena, cap, sizeof(*to));
        if (x->n)
            memcpy(to, x->toks, x->n * sizeof(*to));
        x->toks = to;
        x->cap = cap;
    }
    x->toks[x->n] = (struct jinja_tok){.t = t, .line = x->line};
    return &x->toks[x->n++];
}

/* Consumes up to `to`, counting lines; a match of jinja2's lexer ends there. */
static void advance(struct lexer *x, size_t to)
{
    for (size_t i = x->pos; i < to; i++)
        x->line += x->src.p[i] == '\n';
    if (to > x->pos)
        x->line_starting = x->src.p[to - 1] == '\n';
    x->pos = to;
}

static bool at(const struct lexer *x, size_t pos, const char *what)
{
    size_t n = strlen(what);
    return x->src.n - pos >= n && memcmp(x->src.p + pos, what, n) == 0;
}

static size_t skip_space(const struct lexer *x, size_t pos)
{
    while (pos < x->src.n) {
        size_t len;
        if (!jinja_is_space(utf8_get(x->src.p + pos, x->src.n - pos, &len)))
            break;
        pos += len;
    }
    return pos;
}

/* The end of a tag at pos: [+-]CLOSE, and the white space that goes with it; 0 for none. */
static size_t tag_end(const struct lexer *x, size_t pos, const char *close, bool plus, bool trim)
{
    if (pos < x->src.n && x->src.p[pos] == '-' && at(x, pos + 1, close))
        return skip_space(x, pos + 1 + strlen(close));
    if (plus && pos < x->src.n && x->src.p[pos] == '+' && at(x, pos + 1, close))
        return pos + 1 + strlen(close);
    if (!at(x, pos, close))
        return 0;
    pos += strlen(close);
    return pos + (trim && at(x, pos, "\n"));
}

/* Text before a tag: the sign and lstrip_blocks decide what of its white space stays. */
static void push_data(struct lexer *x, size_t from, size_t to, char sign, bool is_var)
{
    struct span text = {x->src.p + from, to - from};
    if (sign == '-') {
        text = jinja_strip(text, false, true);
    } else if (sign != '+' && !is_var) {
        size_t l = text.n;
        while (l && text.p[l - 1] != '\n')
            l--;
        struct span tail = {text.p + l, text.n - l};
        if ((l || x->line_starting) && jinja_strip(tail, true, false).n == 0)
            text.n = l;
    }
    if (text.n)
        push(x, J_T_DATA)->s = jinja_str_new(&x->j->arena, text.p, text.n);
}

/* {%- raw -%}: the position after it, or 0. */
static size_t raw_begin(const struct lexer *x, size_t pos)
{
    if (pos < x->src.n && (x->src.p[pos] == '-' || x->src.p[pos] == '+'))
        pos++;
    pos = skip_space(x, pos);
    if (!at(x, pos, "raw"))
        return 0;
    pos = skip_space(x, pos + 3);
    return tag_end(x, pos, "%}", false, false);
}

static size_t raw_end(const struct lexer *x, size_t pos)
{
    if (pos < x->src.n && (x->src.p[pos] == '-' || x->src.p[pos] == '+'))
        pos++;
    pos = skip_space(x, pos);
    if (!at(x, pos, "endraw"))
        return 0;
    return tag_end(x, skip_space(x, pos + 6), "%}", true, true);
}

/* Like jinja2, a raw block or comment that begins where the template ends is none at all. */
static enum err lex_raw(struct lexer *x)
{
    if (x->pos == x->src.n)
        return ERR_OK;
    size_t from = x->pos;
    for (size_t i = from; i + 1 < x->src.n; i++) {
        size_t end = at(x, i, "{%") ? raw_end(x, i + 2) : 0;
        if (end) {
            char sign = x->src.p[i + 2];
            push_data(x, from, i, sign, false);
            advance(x, end);
            return ERR_OK;
        }
    }
    return jinja_fail_at(x->e, x->line, "missing end of the raw block");
}

static enum err lex_comment(struct lexer *x)
{
    if (x->pos == x->src.n)
        return ERR_OK;
    for (size_t i = x->pos; i + 1 < x->src.n; i++) {
        size_t end = tag_end(x, i, "#}", true, true);
        if (end) {
            advance(x, end);
            return ERR_OK;
        }
    }
    return jinja_fail_at(x->e, x->line, "missing end of the comment");
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* (\d+_)*\d+ at pos: the end, or pos. */
static size_t digits(const struct lexer *x, size_t pos)
{
    size_t end = pos;
    while (end < x->src.n && is_digit(x->src.p[end])) {
        end++;
        if (end + 1 < x->src.n && x->src.p[end] == '_' && is_digit(x->src.p[end + 1]))
            end++;
    }
    return end;
}

/* The end of a float literal at pos, or 0. */
static size_t float_end(const struct lexer *x, size_t pos)
{
    if (pos && x->src.p[pos - 1] == '.')
        return 0;
    size_t end = digits(x, pos), whole = end;
    if (end == pos)
        return 0;
    if (end < x->src.n && x->src.p[end] == '.' && digits(x, end + 1) > end + 1)
        end = digits(x, end + 1);
    if (end < x->src.n && (x->src.p[end] | 32) == 'e') {
        size_t k = end + 1;
        if (k < x->src.n && (x->src.p[k] == '+' || x->src.p[k] == '-'))
            k++;
        if (digits(x, k) > k)
            return digits(x, k);
    }
    return end > whole ? end : 0;
}

static int digit_of(char c)
{
    if (is_digit(c))
        return c - '0';
    return (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : 99;
}

static enum err lex_int(struct lexer *x)
{
    size_t pos = x->pos, end = pos + 1;
    int base = 10;
    char c = end < x->src.n && x->src.p[pos] == '0' ? (char)(x->src.p[end] | 32) : 0;
    int b = c == 'b' ? 2 : c == 'o' ? 8 : c == 'x' ? 16 : 0;
    if (b) {
        size_t k = end + 1;
        k += k < x->src.n && x->src.p[k] == '_';
        if (k < x->src.n && digit_of(x->src.p[k]) < b) {
            base = b;
            pos = end + 1;
            end = k;
        }
    }
    int64_t v = 0;
    bool zero = base == 10 && x->src.p[pos] == '0';
    for (end = pos; end < x->src.n; end++) {
        size_t k = end + (x->src.p[end] == '_');
        if (k >= x->src.n || digit_of(x->src.p[k]) >= base || (zero && x->src.p[k] != '0'))
            break;
        if (k > end && end == x->pos)
            break;
        end = k;
        if (__builtin_mul_overflow(v, base, &v) ||
            __builtin_add_overflow(v, digit_of(x->src.p[k]), &v))
            return jinja_fail_at(x->e, x->line, "an integer beyond 64 bits");
    }
    push(x, J_T_INT)->i = v;
    advance(x, end);
    return ERR_OK;
}

static enum err lex_number(struct lexer *x)
{
    size_t end = float_end(x, x->pos);
    if (!end)
        return lex_int(x);
    char text[400];
    size_t n = 0;
    if (end - x->pos >= sizeof text)
        return jinja_fail_at(x->e, x->line, "a number of %zu digits", end - x->pos);
    for (size_t i = x->pos; i < end; i++)
        if (x->src.p[i] != '_')
            text[n++] = x->src.p[i];
    text[n] = 0;
    push(x, J_T_FLOAT)->f = strtod(text, NULL);
    advance(x, end);
    return ERR_OK;
}

static void put_cp(struct str *out, uint32_t cp)
{
    char b[4];
    str_add(out, b, utf8_put(b, cp));
}

/* Reads `max` digits (at least `min`) of a base; false when there are fewer. */
static bool escape_digits(struct span s, size_t *i, int base, int min, int max, uint32_t *cp)
{
    int n = 0;
    *cp = 0;
    for (; n < max && *i < s.n && digit_of(s.p[*i]) < base; n++)
        *cp = *cp * (uint32_t)base + (uint32_t)digit_of(s.p[(*i)++]);
    return n >= min;
}

/* One escape; *i stands after the backslash.  Python decodes the source as unicode-escape after
 * writing what is not ASCII as escapes, which a backslash before such a character then breaks. */
static bool unescape(struct span s, size_t *i, struct str *out)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    size_t len;
    int32_t c = utf8_get(s.p + *i, s.n - *i, &len);
    const char *plain = c > 0 && c < 128 ? strchr(from, c) : NULL;
    uint32_t cp;
    if (plain && *plain) {
        str_add_char(out, to[plain - from]);
        (*i)++;
    } else if (c == '\n') {
        (*i)++;
    } else if (c == 'x' || c == 'u' || c == 'U') {
        int n = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        (*i)++;
        if (!escape_digits(s, i, 16, n, n, &cp) || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
            return false;
        put_cp(out, cp);
    } else if (c >= '0' && c <= '7') {
        escape_digits(s, i, 8, 1, 3, &cp);
        put_cp(out, cp);
    } else if (c == 'N') {
        return false; /* names of characters: no template has them */
    } else if (c >= 128) {
        str_addf(out, c < 256 ? "\\x%02x" : c < 65536 ? "\\u%04x" : "\\U%08x", (unsigned)c);
        *i += len;
    } else {
        str_add_char(out, '\\');
    }
    return true;
}

static enum err lex_string(struct lexer *x)
{
    char quote = x->src.p[x->pos];
    size_t end = x->pos + 1;
    bool escapes = false;
    for (; end < x->src.n && x->src.p[end] != quote; end++)
        if (x->src.p[end] == '\\') {
            escapes = true;
            end++;
        }
    if (end >= x->src.n)
        return jinja_fail_at(x->e, x->line, "a string without its closing quote");
    struct span s = {x->src.p + x->pos + 1, end - x->pos - 1};
    struct jinja_tok *t = push(x, J_T_STRING);
    if (!escapes) {
        t->s = jinja_str_new(&x->j->arena, s.p, s.n);
    } else {
        struct str out;
        bool ok = true;
        str_init(&out, s.n * 3 + 16);
        for (size_t i = 0; ok && i < s.n;)
            if (s.p[i] == '\\') {
                i++;
                ok = unescape(s, &i, &out);
            } else {
                str_add_char(&out, s.p[i++]);
            }
        t->s = jinja_str_new(&x->j->arena, out.p, out.n);
        str_done(&out);
        if (!ok)
            return jinja_fail_at(x->e, x->line, "an escape that Python does not know");
    }
    advance(x, end + 1);
    return ERR_OK;
}

static enum err lex_operator(struct lexer *x)
{
    static const struct {
        enum jinja_token t;
        const char *text;
    } ops[] = {
#define TOKEN(name, text) {J_T_##name, text},
#include "chat/jinja_token.def"
#undef TOKEN
    };
    for (size_t i = 0; i < N_ELEMS(ops); i++) {
        if (!at(x, x->pos, ops[i].text))
            continue;
        char c = ops[i].text[0];
        if (strchr("([{", c)) {
            if (x->n_open == NEST_MAX)
                return jinja_fail_at(x->e, x->line, "more than %d open brackets", NEST_MAX);
            x->open[x->n_open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
        } else if (strchr(")]}", c)) {
            if (!x->n_open || x->open[--x->n_open] != c)
                return jinja_fail_at(x->e, x->line, "unexpected '%c'", c);
        }
        push(x, ops[i].t);
        advance(x, x->pos + strlen(ops[i].text));
        return ERR_OK;
    }
    size_t len;
    utf8_get(x->src.p + x->pos, x->src.n - x->pos, &len);
    return jinja_fail_at(x->e, x->line, "unexpected character '%.*s'", (int)len, x->src.p + x->pos);
}

static enum err lex_name(struct lexer *x)
{
    size_t end = x->pos, len;
    while (end < x->src.n && jinja_is_word(utf8_get(x->src.p + end, x->src.n - end, &len)))
        end += len;
    struct span s = {x->src.p + x->pos, end - x->pos};
    if (!jinja_is_identifier(s))
        return jinja_fail_at(x->e, x->line, "invalid character in identifier");
    push(x, J_T_NAME)->s = intern(x, s);
    advance(x, end);
    return ERR_OK;
}

/* What stands between {{ and }}, or {% and %}. */
static enum err lex_tag(struct lexer *x, bool is_var)
{
    x->n_open = 0;
    for (;;) {
        if (!x->n_open) {
            size_t end = tag_end(x, x->pos, is_var ? "}}" : "%}", !is_var, !is_var);
            if (end) {
                push(x, is_var ? J_T_VAR_END : J_T_BLOCK_END);
                advance(x, end);
                return ERR_OK;
            }
        }
        size_t after = skip_space(x, x->pos);
        if (after > x->pos) {
            advance(x, after);
            continue;
        }
        if (x->pos >= x->src.n)
            return ERR_OK; /* the parser meets EOF where the tag should end */
        size_t len;
        char c = x->src.p[x->pos];
        if (is_digit(c))
            TRY(lex_number(x));
        else if (c == '\'' || c == '"')
            TRY(lex_string(x));
        else if (jinja_is_word(utf8_get(x->src.p + x->pos, x->src.n - x->pos, &len)))
            TRY(lex_name(x));
        else
            TRY(lex_operator(x));
    }
}

static enum err lex_root(struct lexer *x)
{
    while (x->pos < x->src.n) {
        size_t i = x->pos;
        while (i < x->src.n && !(at(x, i, "{%") || at(x, i, "{{") || at(x, i, "{#")))
            i++;
        if (i == x->src.n) {
            push(x, J_T_DATA)->s = jinja_str_new(&x->j->arena, x->src.p + x->pos, i - x->pos);
            advance(x, i);
            break;
        }
        char kind = x->src.p[i + 1], sign = i + 2 < x->src.n ? x->src.p[i + 2] : 0;
        size_t raw = kind == '%' ? raw_begin(x, i + 2) : 0;
        push_data(x, x->pos, i, sign, kind == '{');
        advance(x, raw ? raw : i + 2 + (sign == '-' || sign == '+'));
        if (raw) {
            TRY(lex_raw(x));
        } else if (kind == '#') {
            TRY(lex_comment(x));
        } else {
            push(x, kind == '{' ? J_T_VAR_BEGIN : J_T_BLOCK_BEGIN);
            TRY(lex_tag(x, kind == '{'));
        }
    }
    push(x, J_T_EOF);
    return ERR_OK;
}

/* \r\n and \r become \n; one newline at the end goes. */
static struct span normalize(struct jinja *j, struct span s)
{
    char *p = arena_alloc(&j->arena, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        p[n++] = s.p[i] == '\r' ? '\n' : s.p[i];
        if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n')
            i++;
    }
    if (n && p[n - 1] == '\n')
        n--;
    return (struct span){p, n};
}

enum err jinja_lex(struct jinja *j, struct span source, struct jinja_tok **toks, size_t *n,
                   struct errinfo *e)
{
    struct lexer *x = arena_alloc(&j->arena, sizeof(*x));
    x->j = j;
    x->src = normalize(j, source);
    x->line = 1;
    x->line_starting = true;
    x->e = e;
    j->s_loop = intern(x, SPAN("loop"));
    j->s_caller = intern(x, SPAN("caller"));
    j->s_kwargs = intern(x, SPAN("kwargs"));
    j->s_varargs = intern(x, SPAN("varargs"));
    TRY(lex_root(x));
    *toks = x->toks;
    *n = x->n;
    return ERR_OK;
}
