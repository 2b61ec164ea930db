/* SPDX-License-Identifier: MIT
 * gram_class.c - sets of code points, and the bytes that write them.
 *
 * Escapes and white space are those of ECMA-262 (22.2.2.9, CharacterClassEscape). */
#include "gram/gram_int.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

void gram_class_done(struct gram_class *c)
{
    mem_free(c->r);
    *c = (struct gram_class){0};
}

void gram_class_add(struct gram_class *c, uint32_t lo, uint32_t hi)
{
    GRAM_GROW(c->r, c->n, c->cap);
    c->r[c->n++] = (struct gram_range){lo, hi};
}

void gram_class_add_all(struct gram_class *c, const struct gram_class *from)
{
    for (uint32_t i = 0; i < from->n; i++)
        gram_class_add(c, from->r[i].lo, from->r[i].hi);
}

static int by_lo(const void *x, const void *y)
{
    uint32_t a = ((const struct gram_range *)x)->lo, b = ((const struct gram_range *)y)->lo;
    return (a > b) - (a < b);
}

/* Sorted, apart from each other by at least one code point. */
static void normalise(struct gram_class *c)
{
    uint32_t n = 0;
    if (c->n)
        qsort(c->r, c->n, sizeof *c->r, by_lo);
    for (uint32_t i = 0; i < c->n; i++) {
        if (n && c->r[i].lo <= c->r[n - 1].hi + 1)
            c->r[n - 1].hi = MAX(c->r[n - 1].hi, c->r[i].hi);
        else
            c->r[n++] = c->r[i];
    }
    c->n = n;
}

void gram_class_invert(struct gram_class *c)
{
    struct gram_class out = {0};
    uint32_t from = 0;
    normalise(c);
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->r[i].lo > from)
            gram_class_add(&out, from, c->r[i].lo - 1);
        from = c->r[i].hi + 1;
    }
    if (from <= 0x10ffff)
        gram_class_add(&out, from, 0x10ffff);
    gram_class_done(c);
    *c = out;
}

void gram_class_escape(struct gram_class *c, char name)
{
    static const struct gram_range white[] = {
        {0x9,    0xd   },
        {0x20,   0x20  },
        {0xa0,   0xa0  },
        {0x1680, 0x1680},
        {0x2000, 0x200a},
        {0x2028, 0x2029},
        {0x202f, 0x202f},
        {0x205f, 0x205f},
        {0x3000, 0x3000},
        {0xfeff, 0xfeff}
    };
    struct gram_class out = {0};
    switch (name | 0x20) {
    case 'd': gram_class_add(&out, '0', '9'); break;
    case 'w':
        gram_class_add(&out, '0', '9');
        gram_class_add(&out, 'A', 'Z');
        gram_class_add(&out, '_', '_');
        gram_class_add(&out, 'a', 'z');
        break;
    case 's':
        for (size_t i = 0; i < N_ELEMS(white); i++)
            gram_class_add(&out, white[i].lo, white[i].hi);
        break;
    default: /* '.': all but line ends */
        gram_class_add(&out, '\n', '\n');
        gram_class_add(&out, '\r', '\r');
        gram_class_add(&out, 0x2028, 0x2029);
    }
    if (name == '.' || (name >= 'A' && name <= 'Z'))
        gram_class_invert(&out);
    gram_class_add_all(c, &out);
    gram_class_done(&out);
}

/* General categories by their short and long names (Unicode, PropertyValueAliases). */
static const struct {
    const char *name, *wide;
} categories[] = {
    {"L",  "Letter"          },
    {"Lu", "Uppercase_Letter"},
    {"Ll", "Lowercase_Letter"},
    {"Lt", "Titlecase_Letter"},
    {"Lm", "Modifier_Letter" },
    {"Lo", "Other_Letter"    },
    {"M",  "Mark"            },
    {"Mn", "Nonspacing_Mark" },
    {"N",  "Number"          },
    {"Nd", "Decimal_Number"  },
    {"Nl", "Letter_Number"   },
    {"No", "Other_Number"    },
    {"P",  "Punctuation"     },
    {"S",  "Symbol"          },
    {"Sm", "Math_Symbol"     },
    {"Sc", "Currency_Symbol" },
    {"Z",  "Separator"       },
    {"Zs", "Space_Separator" },
};

bool gram_class_property(struct gram_class *c, struct span name)
{
    const char *want = NULL;
    if (span_eq_cstr(name, "Any") || span_eq_cstr(name, "ASCII")) {
        gram_class_add(c, 0, name.n == 3 ? 0x10ffff : 0x7f);
        return true;
    }
    for (size_t i = 0; i < N_ELEMS(categories); i++)
        if (span_eq_cstr(name, categories[i].name) || span_eq_cstr(name, categories[i].wide))
            want = categories[i].name;
    if (!want)
        return false;
    uint32_t from = GRAM_NONE;
    for (uint32_t cp = 0; cp <= 0x110000; cp++) {
        const char *has = cp < 0x110000 ? utf8proc_category_string((utf8proc_int32_t)cp) : "-";
        bool in = has[0] == want[0] && (!want[1] || has[1] == want[1]);
        if (in && from == GRAM_NONE)
            from = cp;
        if (!in && from != GRAM_NONE) {
            gram_class_add(c, from, cp - 1);
            from = GRAM_NONE;
        }
    }
    return true;
}

void gram_json_escape(struct str *out, uint32_t cp)
{
    static const char names[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    char utf8[4];
    for (const char *p = names; *p; p += 2)
        if ((uint32_t)*p == cp) {
            str_addf(out, "\\%c", p[1]);
            return;
        }
    if (cp < 0x20)
        str_addf(out, "\\u%04x", (unsigned)cp);
    else
        str_add(out, utf8, utf8_put(utf8, cp));
}

/* ---- bytes ---- */

struct ways {
    struct gram_nfa *m;
    uint32_t end, head; /* head: a SPLIT chain of the ways so far */
};

static void add_way(struct ways *w, const uint8_t (*range)[2], int n)
{
    uint32_t at = w->end;
    while (n-- > 0)
        at = gram_nfa_add(
            w->m, (struct gram_nfa_state){at, GRAM_NONE, GRAM_NFA_BYTE, range[n][0], range[n][1]});
    w->head = gram_nfa_add(w->m, (struct gram_nfa_state){at, w->head, GRAM_NFA_SPLIT, 0, 0});
}

/* lo..hi differ so that each byte of their UTF-8 is an independent range. */
static void add_aligned(struct ways *w, uint32_t lo, uint32_t hi)
{
    char a[4], b[4];
    uint8_t range[4][2];
    int n = (int)utf8_put(a, lo);
    utf8_put(b, hi);
    for (int i = 0; i < n; i++) {
        range[i][0] = (uint8_t)a[i];
        range[i][1] = (uint8_t)b[i];
    }
    add_way(w, range, n);
}

/* Cuts lo..hi where lengths change, around surrogates, and where trailing bytes are not whole. */
static void add_utf8(struct ways *w, uint32_t from, uint32_t to)
{
    static const uint32_t cuts[] = {0x7f, 0x7ff, 0xd7ff, 0xdfff, 0xffff, 0x10ffff};
    struct gram_range open[16];
    for (size_t c = 0; c < N_ELEMS(cuts); c++) {
        uint32_t first = c ? cuts[c - 1] + 1 : 0;
        int n = 0;
        if (from <= cuts[c] && to >= first && first != 0xd800)
            open[n++] = (struct gram_range){MAX(from, first), MIN(to, cuts[c])};
        while (n) {
            struct gram_range r = open[--n];
            uint32_t cut = GRAM_NONE;
            for (int bits = 6; bits <= 18 && cut == GRAM_NONE; bits += 6) {
                uint32_t low = (1u << bits) - 1;
                if ((r.lo & ~low) == (r.hi & ~low) || r.hi <= 0x7f)
                    break;
                if (r.lo & low)
                    cut = r.lo | low;
                else if ((r.hi & low) != low)
                    cut = (r.hi & ~low) - 1;
            }
            if (cut == GRAM_NONE) {
                add_aligned(w, r.lo, r.hi);
                continue;
            }
            open[n++] = (struct gram_range){cut + 1, r.hi};
            open[n++] = (struct gram_range){r.lo, cut};
        }
    }
}

static void add_json(struct ways *w, uint32_t lo, uint32_t hi)
{
    struct str text;
    str_init(&text, 16);
    for (uint32_t cp = lo; cp <= MIN(hi, 0x5c); cp++) {
        if (cp >= 0x20 && cp != '"' && cp != '\\')
            continue;
        uint8_t range[8][2];
        str_clear(&text);
        gram_json_escape(&text, cp);
        for (size_t i = 0; i < text.n; i++)
            range[i][0] = range[i][1] = (uint8_t)text.p[i];
        add_way(w, (const uint8_t(*)[2])range, (int)text.n);
    }
    str_done(&text);
    static const struct gram_range plain[] = {
        {0x20, 0x21    },
        {0x23, 0x5b    },
        {0x5d, 0x10ffff}
    };
    for (size_t i = 0; i < N_ELEMS(plain); i++)
        if (lo <= plain[i].hi && hi >= plain[i].lo)
            add_utf8(w, MAX(lo, plain[i].lo), MIN(hi, plain[i].hi));
}

struct gram_frag gram_frag_class(struct gram_nfa *m, struct gram_class *c)
{
    struct gram_frag end = gram_frag_empty(m);
    struct ways w = {m, end.end, GRAM_NONE};
    normalise(c);
    for (uint32_t i = 0; i < c->n; i++) {
        if (m->coding == GRAM_UTF8)
            add_utf8(&w, c->r[i].lo, c->r[i].hi);
        else
            add_json(&w, c->r[i].lo, c->r[i].hi);
    }
    if (w.head == GRAM_NONE) /* nothing: a split that leads nowhere */
        w.head = gram_nfa_add(m,
                              (struct gram_nfa_state){GRAM_NONE, GRAM_NONE, GRAM_NFA_SPLIT, 0, 0});
    return (struct gram_frag){end.begin, m->n, w.head, end.end};
}
