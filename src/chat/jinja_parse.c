/* SPDX-License-Identifier: MIT
 * jinja_parse.c - statements, and what the parser's two files share. */
#include "chat/jinja_int.h"

#include <string.h>

#define FAIL(p, ...) jinja_fail_at((p)->e, (p)->t->line, __VA_ARGS__)

struct jinja_node *jinja_node_new(struct jinja_parser *p, enum jinja_op op, uint32_t line)
{
    struct jinja_node *n = arena_alloc(&p->j->arena, sizeof(*n));
    n->op = op;
    n->line = line;
    n->depth = 1;
    return n;
}

void jinja_nodes_push(struct jinja_parser *p, struct jinja_list_of_nodes *l, struct jinja_node *x)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        struct jinja_node **to = arena_array(&p->j->arena, cap, sizeof(*to));
        if (l->n)
            memcpy(to, l->p, l->n * sizeof(*to));
        l->p = to;
        l->cap = cap;
    }
    l->p[l->n++] = x;
}

static void deepen(struct jinja_node *n, const struct jinja_node *child)
{
    if (child && child->depth + 1 > n->depth)
        n->depth = child->depth + 1;
}

enum err jinja_node_done(struct jinja_parser *p, struct jinja_node *n)
{
    deepen(n, n->a);
    deepen(n, n->b);
    deepen(n, n->c);
    for (size_t i = 0; i < n->n_kids; i++)
        deepen(n, n->kids[i]);
    for (size_t i = 0; i < n->n_defaults; i++)
        deepen(n, n->defaults[i]);
    for (size_t b = 0; b < n->n_bodies; b++)
        for (size_t i = 0; i < n->bodies[b].n; i++)
            deepen(n, n->bodies[b].p[i]);
    if (n->args) {
        for (size_t i = 0; i < n->args->n_pos; i++)
            deepen(n, n->args->pos[i]);
        for (size_t i = 0; i < n->args->n_kw; i++)
            deepen(n, n->args->kw[i]);
        deepen(n, n->args->dyn_pos);
        deepen(n, n->args->dyn_kw);
    }
    if (n->depth > 2 * JINJA_DEPTH_MAX)
        return jinja_fail_at(p->e, n->line, "nesting deeper than %d", 2 * JINJA_DEPTH_MAX);
    return ERR_OK;
}

bool jinja_tok_is(const struct jinja_tok *t, const char *name)
{
    return t->t == J_T_NAME && span_eq_cstr(jinja_span(t->s), name);
}

bool jinja_tok_skip(struct jinja_parser *p, enum jinja_token t)
{
    if (p->t->t != t)
        return false;
    p->t++;
    return true;
}

bool jinja_tok_skip_name(struct jinja_parser *p, const char *name)
{
    if (!jinja_tok_is(p->t, name))
        return false;
    p->t++;
    return true;
}

enum err jinja_tok_expect(struct jinja_parser *p, enum jinja_token t, const char *what)
{
    if (p->t->t == J_T_EOF && t != J_T_EOF)
        return FAIL(p, "unexpected end of the template, expected %s", what);
    if (p->t->t != t)
        return FAIL(p, "expected %s", what);
    p->t++;
    return ERR_OK;
}

static enum err expect_name(struct jinja_parser *p, const struct jinja_str **out)
{
    if (p->t->t != J_T_NAME)
        return FAIL(p, "expected a name");
    *out = p->t++->s;
    return ERR_OK;
}

static struct jinja_body *add_body(struct jinja_parser *p, struct jinja_node *n)
{
    if ((n->n_bodies & (n->n_bodies - 1)) == 0) { /* full at the powers of two */
        struct jinja_body *to = arena_array(&p->j->arena, MAX(n->n_bodies * 2, 1), sizeof(*to));
        if (n->n_bodies)
            memcpy(to, n->bodies, n->n_bodies * sizeof(*to));
        n->bodies = to;
    }
    return &n->bodies[n->n_bodies++];
}

/* A statement's body: block end, statements, the end tag, which becomes the current token. */
static enum err parse_block(struct jinja_parser *p, struct jinja_node *n, const char *const *ends)
{
    struct jinja_body b;
    jinja_tok_skip(p, J_T_COLON);
    TRY(jinja_tok_expect(p, J_T_BLOCK_END, "the end of the tag"));
    TRY(jinja_parse_body(p, ends, &b));
    if (p->t->t == J_T_EOF)
        return jinja_fail_at(p->e, n->line, "unexpected end of the template: no {%% %s %%}",
                             ends[0]);
    *add_body(p, n) = b;
    return ERR_OK;
}

static enum err parse_block_to(struct jinja_parser *p, struct jinja_node *n, const char *end)
{
    const char *const ends[] = {end, NULL};
    TRY(parse_block(p, n, ends));
    p->t++;
    return ERR_OK;
}

static enum err parse_if(struct jinja_parser *p, struct jinja_node *n)
{
    static const char *const ends[] = {"endif", "elif", "else", NULL};
    struct jinja_list_of_nodes tests = {0};
    for (;;) {
        struct jinja_node *test;
        p->t++;
        TRY(jinja_parse_tuple(p, false, NULL, false, &test));
        jinja_nodes_push(p, &tests, test);
        TRY(parse_block(p, n, ends));
        if (!jinja_tok_is(p->t, "elif"))
            break;
    }
    n->kids = tests.p;
    n->n_kids = tests.n;
    if (jinja_tok_is(p->t++, "else"))
        TRY(parse_block_to(p, n, "endif"));
    return ERR_OK;
}

static enum err parse_for(struct jinja_parser *p, struct jinja_node *n)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    p->t++;
    TRY(jinja_parse_target(p, "in", false, &n->a));
    if (!jinja_tok_skip_name(p, "in"))
        return FAIL(p, "expected 'in'");
    TRY(jinja_parse_tuple(p, false, "recursive", false, &n->b));
    if (jinja_tok_skip_name(p, "if"))
        TRY(jinja_parse_expr(p, true, &n->c));
    n->recursive = jinja_tok_skip_name(p, "recursive");
    TRY(parse_block(p, n, ends));
    if (jinja_tok_is(p->t++, "else"))
        TRY(parse_block_to(p, n, "endfor"));
    return ERR_OK;
}

static enum err parse_set(struct jinja_parser *p, struct jinja_node *n)
{
    p->t++;
    TRY(jinja_parse_target(p, NULL, true, &n->a));
    if (jinja_tok_skip(p, J_T_ASSIGN))
        return jinja_parse_tuple(p, true, NULL, false, &n->b);
    n->op = J_N_SET_BLOCK;
    TRY(jinja_parse_filters(p, NULL, false, &n->b));
    return parse_block_to(p, n, "endset");
}

static enum err parse_signature(struct jinja_parser *p, struct jinja_node *n)
{
    struct jinja_list_of_nodes names = {0}, defaults = {0};
    TRY(jinja_tok_expect(p, J_T_LPAREN, "'('"));
    while (p->t->t != J_T_RPAREN) {
        const struct jinja_str *name;
        struct jinja_node *x;
        if (names.n)
            TRY(jinja_tok_expect(p, J_T_COMMA, "','"));
        TRY(expect_name(p, &name));
        for (size_t i = 0; i < names.n; i++)
            if ((const void *)names.p[i] == (const void *)name)
                return FAIL(p, "parameter %.*s is named twice", (int)name->n, name->p);
        if (jinja_tok_skip(p, J_T_ASSIGN)) {
            TRY(jinja_parse_expr(p, true, &x));
            jinja_nodes_push(p, &defaults, x);
        } else if (defaults.n) {
            return FAIL(p, "a parameter without default follows one with a default");
        }
        jinja_nodes_push(p, &names, (struct jinja_node *)(uintptr_t)name);
        if (names.n > 2 * JINJA_DEPTH_MAX)
            return FAIL(p, "more than %d parameters", 2 * JINJA_DEPTH_MAX);
    }
    p->t++;
    n->n_params = names.n;
    n->params = arena_array(&p->j->arena, names.n, sizeof(*n->params));
    for (size_t i = 0; i < names.n; i++)
        n->params[i] = (const struct jinja_str *)(const void *)names.p[i];
    n->defaults = defaults.p;
    n->n_defaults = defaults.n;
    return ERR_OK;
}

static enum err parse_macro(struct jinja_parser *p, struct jinja_node *n)
{
    p->t++;
    TRY(expect_name(p, &n->name));
    TRY(parse_signature(p, n));
    return parse_block_to(p, n, "endmacro");
}

static enum err parse_call_block(struct jinja_parser *p, struct jinja_node *n)
{
    p->t++;
    if (p->t->t == J_T_LPAREN)
        TRY(parse_signature(p, n));
    TRY(jinja_parse_expr(p, true, &n->a));
    if (n->a->op != J_N_CALL)
        return FAIL(p, "expected a call");
    return parse_block_to(p, n, "endcall");
}

static enum err parse_filter_block(struct jinja_parser *p, struct jinja_node *n)
{
    p->t++;
    TRY(jinja_parse_filters(p, NULL, true, &n->b));
    return parse_block_to(p, n, "endfilter");
}

static enum err parse_with(struct jinja_parser *p, struct jinja_node *n)
{
    struct jinja_list_of_nodes l = {0};
    p->t++;
    while (p->t->t != J_T_BLOCK_END) {
        struct jinja_node *x;
        if (l.n)
            TRY(jinja_tok_expect(p, J_T_COMMA, "','"));
        TRY(jinja_parse_target(p, NULL, false, &x));
        jinja_nodes_push(p, &l, x);
        TRY(jinja_tok_expect(p, J_T_ASSIGN, "'='"));
        TRY(jinja_parse_expr(p, true, &x));
        jinja_nodes_push(p, &l, x);
    }
    n->kids = l.p;
    n->n_kids = l.n;
    return parse_block_to(p, n, "endwith");
}

static enum err parse_print(struct jinja_parser *p, struct jinja_node *n)
{
    struct jinja_list_of_nodes l = {0};
    p->t++;
    while (p->t->t != J_T_BLOCK_END) {
        struct jinja_node *x;
        if (l.n)
            TRY(jinja_tok_expect(p, J_T_COMMA, "','"));
        TRY(jinja_parse_expr(p, true, &x));
        jinja_nodes_push(p, &l, x);
    }
    n->kids = l.p;
    n->n_kids = l.n;
    return ERR_OK;
}

static enum err parse_generation(struct jinja_parser *p, struct jinja_node *n)
{
    p->t++;
    return parse_block_to(p, n, "endgeneration");
}

static enum err parse_named_block(struct jinja_parser *p, struct jinja_node *n)
{
    p->t++;
    TRY(expect_name(p, &n->name));
    jinja_tok_skip_name(p, "scoped");
    TRY(parse_block_to(p, n, "endblock"));
    if (p->t->t == J_T_NAME && p->t->s == n->name)
        p->t++;
    return ERR_OK;
}

static enum err parse_bare(struct jinja_parser *p, struct jinja_node *n)
{
    (void)n;
    p->t++;
    return ERR_OK;
}

static enum err parse_statement(struct jinja_parser *p, struct jinja_node **out)
{
    static const struct {
        const char *name;
        enum jinja_op op;
        enum err (*parse)(struct jinja_parser *, struct jinja_node *);
    } tags[] = {
        {"if",         J_N_IF,           parse_if          },
        {"for",        J_N_FOR,          parse_for         },
        {"set",        J_N_SET,          parse_set         },
        {"macro",      J_N_MACRO,        parse_macro       },
        {"call",       J_N_CALL_BLOCK,   parse_call_block  },
        {"filter",     J_N_FILTER_BLOCK, parse_filter_block},
        {"with",       J_N_WITH,         parse_with        },
        {"print",      J_N_OUTPUT,       parse_print       },
        {"generation", J_N_GENERATION,   parse_generation  },
        {"block",      J_N_SCOPE,        parse_named_block },
        {"break",      J_N_BREAK,        parse_bare        },
        {"continue",   J_N_CONTINUE,     parse_bare        },
    };
    if (p->t->t != J_T_NAME)
        return FAIL(p, "expected the name of a tag");
    for (size_t i = 0; i < N_ELEMS(tags); i++) {
        if (!jinja_tok_is(p->t, tags[i].name))
            continue;
        *out = jinja_node_new(p, tags[i].op, p->t->line);
        TRY(tags[i].parse(p, *out));
        return jinja_node_done(p, *out);
    }
    return FAIL(p, "unknown tag '%.*s'", (int)MIN(p->t->s->n, 60), p->t->s->p);
}

/* Text and {{ }} of a body. */
static enum err parse_output(struct jinja_parser *p, struct jinja_list_of_nodes *l)
{
    struct jinja_node *n = jinja_node_new(p, J_N_DATA, p->t->line);
    if (p->t->t == J_T_DATA) {
        n->val = jinja_of_str(p->t++->s);
    } else {
        n->op = J_N_OUTPUT;
        n->kids = arena_array(&p->j->arena, 1, sizeof(*n->kids));
        n->n_kids = 1;
        p->t++;
        TRY(jinja_parse_tuple(p, true, NULL, false, &n->kids[0]));
        TRY(jinja_tok_expect(p, J_T_VAR_END, "'}}'"));
        TRY(jinja_node_done(p, n));
    }
    jinja_nodes_push(p, l, n);
    return ERR_OK;
}

enum err jinja_parse_body(struct jinja_parser *p, const char *const *ends, struct jinja_body *out)
{
    struct jinja_list_of_nodes l = {0};
    if (++p->depth > JINJA_DEPTH_MAX)
        return FAIL(p, "nesting deeper than %d", JINJA_DEPTH_MAX);
    while (p->t->t != J_T_EOF) {
        if (p->t->t != J_T_BLOCK_BEGIN) {
            TRY(parse_output(p, &l));
            continue;
        }
        p->t++;
        bool ended = false;
        for (size_t i = 0; ends && ends[i]; i++)
            ended |= jinja_tok_is(p->t, ends[i]);
        if (ended)
            break;
        struct jinja_node *n;
        TRY(parse_statement(p, &n));
        TRY(jinja_tok_expect(p, J_T_BLOCK_END, "the end of the tag"));
        jinja_nodes_push(p, &l, n);
    }
    p->depth--;
    out->p = l.p;
    out->n = l.n;
    return ERR_OK;
}
