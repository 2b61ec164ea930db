/* SPDX-License-Identifier: MIT
 * tok_pre.c - pre-tokenizers: cuts text into pieces by the patterns of tok_pre.def, with PCRE2.
 * Steps nest: a piece of one step is the whole subject of the next, so that a look-ahead ends
 * where the piece ends, as in the originals. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tok/tok_int.h"

#include "base/num.h"

#include <pcre2.h>

static const struct tok_pre pres[] = {
#define PRE(name, flags, ...) {name, flags, {__VA_ARGS__}},
#include "tok/tok_pre.def"
#undef PRE
};

const struct tok_pre *tok_find_pre(struct span name)
{
    for (size_t i = 0; i < N_ELEMS(pres); i++)
        if (span_eq_cstr(name, pres[i].name))
            return &pres[i];
    return NULL;
}

/* The pattern as tok_pre.def writes it: spaces spelled out. */
static void rewrite(struct span s, struct str *out)
{
    bool in_class = false;
    for (size_t i = 0; i < s.n; i++) {
        bool escape = s.p[i] == '\\' && i + 1 < s.n;
        if (escape && (s.p[i + 1] == 's' || s.p[i + 1] == 'S') &&
            !(in_class && s.p[i + 1] == 'S')) {
            const char *form = in_class ? WS_ : s.p[i + 1] == 's' ? "[" WS_ "]" : "[^" WS_ "]";
            str_add_cstr(out, form);
            i++;
            continue;
        }
        str_add_char(out, s.p[i]);
        if (escape)
            str_add_char(out, s.p[++i]);
        else if (s.p[i] == '[' || s.p[i] == ']')
            in_class = s.p[i] == '[';
    }
}

static bool same_steps(const struct tok_pre *p, const struct span *step, size_t n)
{
    struct str s;
    size_t i = 0;
    str_init(&s, 1 << 16);
    for (; i < n && i < TOK_STEPS_MAX && p->step[i]; i++) {
        str_clear(&s);
        rewrite(step[i], &s);
        if (!span_eq_cstr(str_span(&s), p->step[i]))
            break;
    }
    str_done(&s);
    return i == n && (n == TOK_STEPS_MAX || !p->step[n]);
}

const char *tok_pre_named(const struct span *step, size_t n, bool nfc, bool whole)
{
    const unsigned care = TOK_PRE_NFC | TOK_PRE_IGNORE_MERGES | TOK_PRE_BYTES_2 | TOK_PRE_CHARS;
    unsigned flags = (nfc ? TOK_PRE_NFC : 0u) | (whole ? TOK_PRE_IGNORE_MERGES : 0u);
    for (size_t i = 0; n > 0 && n <= TOK_STEPS_MAX && i < N_ELEMS(pres); i++)
        if ((pres[i].flags & care) == flags && same_steps(&pres[i], step, n))
            return pres[i].name;
    return NULL;
}

void tok_list_pre(struct str *out)
{
    for (size_t i = 0; i < N_ELEMS(pres); i++)
        str_addf(out, i ? ", %s" : "%s", pres[i].name);
}

static bool step_is_bytes(const struct tok *t, size_t step)
{
    return (t->pre->flags & TOK_PRE_BYTES_2) && step >= 2;
}

enum err tok_compile_pre(struct tok *t, struct errinfo *e)
{
    while (t->n_steps < TOK_STEPS_MAX && t->pre->step[t->n_steps]) {
        const char *pattern = t->pre->step[t->n_steps];
        uint32_t options = step_is_bytes(t, t->n_steps) ? 0 : PCRE2_UTF | PCRE2_UCP;
        int code;
        PCRE2_SIZE at;
        pcre2_code *c = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &code,
                                      &at, NULL);
        if (!c)
            return err_set(e, ERR_FAILED,
                           "pre-tokenizer %s: pattern %zu, offset %zu: PCRE2 error %d",
                           t->pre->name, t->n_steps, (size_t)at, code);
        pcre2_jit_compile(c, PCRE2_JIT_COMPLETE); /* where there is no JIT, it is only slower */
        t->step[t->n_steps++] = c;
    }
    return ERR_OK;
}

void tok_free_pre(struct tok *t)
{
    for (size_t i = 0; i < t->n_steps; i++)
        pcre2_code_free(t->step[i]);
}

void tok_free_match(struct tok_work *w)
{
    pcre2_match_data_free(w->match);
}

/* A piece that is being cut by a step. */
struct level {
    size_t pos, end;
    size_t hit, hit_end; /* the match found ahead; hit_end <= pos: none */
    size_t start;
};

/* The match at or after l->pos into l->hit; both ends at l->end when there is none. */
static enum err find_hit(struct tok_work *w, struct span s, size_t step, struct level *l)
{
    size_t from = l->pos - l->start, n = l->end - l->start;
    PCRE2_SPTR p = (PCRE2_SPTR)s.p + l->start;
    pcre2_code *code = w->t->step[step];
    int got = pcre2_match(code, p, n, from, PCRE2_NO_UTF_CHECK, w->match, NULL);
    if (got == PCRE2_ERROR_JIT_STACKLIMIT)
        got = pcre2_match(code, p, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, w->match, NULL);
    l->hit = l->hit_end = l->end;
    if (got == PCRE2_ERROR_NOMATCH)
        return ERR_OK;
    if (got < 0)
        return err_set(w->e, ERR_FAILED, "pre-tokenizer %s: pattern %zu fails: PCRE2 error %d",
                       w->t->pre->name, step, got);
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(w->match);
    CHECK(o[1] > o[0] && o[0] >= from && o[1] <= n);
    l->hit = l->start + o[0];
    l->hit_end = l->start + o[1];
    return ERR_OK;
}

enum err tok_split_pre(struct tok_work *w, struct span s)
{
    struct level level[TOK_STEPS_MAX];
    size_t n_steps = w->t->n_steps, depth = 0;
    if (!w->match)
        w->match = pcre2_match_data_create(1, NULL);
    CHECK(w->match);
    level[0] = (struct level){.end = s.n};
    for (;;) {
        struct level *l = &level[depth];
        if (l->pos == l->end) {
            if (depth == 0)
                return ERR_OK;
            depth--;
            continue;
        }
        if (l->hit_end <= l->pos)
            TRY(find_hit(w, s, depth, l));
        size_t from = l->pos;
        l->pos = l->hit > from ? l->hit : l->hit_end;
        if (depth + 1 == n_steps)
            tok_merge_piece(w, (struct span){s.p + from, l->pos - from});
        else
            level[++depth] = (struct level){.pos = from, .end = l->pos, .start = from};
    }
}
