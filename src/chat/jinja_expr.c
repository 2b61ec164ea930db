/* SPDX-License-Identifier: MIT
 * jinja_expr.c - expressions, by recursive descent in the order of jinja2's grammar. */
#include "chat/jinja_int.h"

#include <string.h>

#define FAIL(p, ...) jinja_fail_at((p)->e, (p)->t->line, __VA_ARGS__)

static enum err parse_unary(struct jinja_parser *p, bool with_filter, struct jinja_node **out);

static struct jinja_node *const_node(struct jinja_parser *p, uint32_t line, struct jinja_val v)
{
    struct jinja_node *n = jinja_node_new(p, J_N_CONST, line);
    n->val = v;
    return n;
}

/* Every operand level that jinja2 parses the same way: left operand, then operators of a set. */
static enum err parse_chain(struct jinja_parser *p, const enum jinja_token *set, enum jinja_op op,
                            enum err (*operand)(struct jinja_parser *, struct jinja_node **),
                            struct jinja_node **out)
{
    struct jinja_list_of_nodes l = {0}, ops = {0};
    struct jinja_node *x;
    uint32_t line = p->t->line;
    TRY(operand(p, &x));
    jinja_nodes_push(p, &l, x);
    for (;;) {
        int i = 0;
        while (set[i] && set[i] != p->t->t)
            i++;
        if (!set[i])
            break;
        jinja_nodes_push(p, &ops, NULL);
        p->t++;
        TRY(operand(p, &x));
        jinja_nodes_push(p, &l, x);
        /* the operator is kept in the right operand's place of a second array, made below */
        ops.p[ops.n - 1] = (struct jinja_node *)(uintptr_t)set[i];
    }
    if (l.n == 1) {
        *out = l.p[0];
        return ERR_OK;
    }
    *out = jinja_node_new(p, op, line);
    (*out)->kids = l.p;
    (*out)->n_kids = l.n;
    (*out)->ops = arena_array(&p->j->arena, ops.n, sizeof(enum jinja_token));
    for (size_t i = 0; i < ops.n; i++)
        (*out)->ops[i] = (enum jinja_token)(uintptr_t)ops.p[i];
    return jinja_node_done(p, *out);
}

static enum err parse_unary_full(struct jinja_parser *p, struct jinja_node **out)
{
    return parse_unary(p, true, out);
}

static enum err parse_pow(struct jinja_parser *p, struct jinja_node **out)
{
    static const enum jinja_token set[] = {J_T_POW, 0};
    return parse_chain(p, set, J_N_CHAIN, parse_unary_full, out);
}

static enum err parse_math2(struct jinja_parser *p, struct jinja_node **out)
{
    static const enum jinja_token set[] = {J_T_MUL, J_T_DIV, J_T_FLOORDIV, J_T_MOD, 0};
    return parse_chain(p, set, J_N_CHAIN, parse_pow, out);
}

static enum err parse_concat(struct jinja_parser *p, struct jinja_node **out)
{
    static const enum jinja_token set[] = {J_T_TILDE, 0};
    return parse_chain(p, set, J_N_CONCAT, parse_math2, out);
}

static enum err parse_math1(struct jinja_parser *p, struct jinja_node **out)
{
    static const enum jinja_token set[] = {J_T_ADD, J_T_SUB, 0};
    return parse_chain(p, set, J_N_CHAIN, parse_concat, out);
}

static enum err parse_compare(struct jinja_parser *p, struct jinja_node **out)
{
    struct jinja_list_of_nodes l = {0};
    struct jinja_node *x;
    enum jinja_token ops[JINJA_DEPTH_MAX];
    uint32_t line = p->t->line;
    TRY(parse_math1(p, &x));
    jinja_nodes_push(p, &l, x);
    for (;;) {
        enum jinja_token t = p->t->t;
        if (t == J_T_EQ || t == J_T_NE || t == J_T_LT || t == J_T_LE || t == J_T_GT ||
            t == J_T_GE) {
            p->t++;
        } else if (jinja_tok_skip_name(p, "in")) {
            t = J_T_IN;
        } else if (jinja_tok_is(p->t, "not") && jinja_tok_is(p->t + 1, "in")) {
            t = J_T_NOT_IN;
            p->t += 2;
        } else {
            break;
        }
        if (l.n == JINJA_DEPTH_MAX)
            return FAIL(p, "a comparison of more than %d values", JINJA_DEPTH_MAX);
        ops[l.n - 1] = t;
        TRY(parse_math1(p, &x));
        jinja_nodes_push(p, &l, x);
    }
    *out = l.p[0];
    if (l.n == 1)
        return ERR_OK;
    *out = jinja_node_new(p, J_N_COMPARE, line);
    (*out)->kids = l.p;
    (*out)->n_kids = l.n;
    (*out)->ops = arena_array(&p->j->arena, l.n - 1, sizeof(ops[0]));
    memcpy((*out)->ops, ops, (l.n - 1) * sizeof(ops[0]));
    return jinja_node_done(p, *out);
}

static enum err parse_not(struct jinja_parser *p, struct jinja_node **out)
{
    uint32_t line = p->t->line;
    size_t n_not = 0;
    while (jinja_tok_skip_name(p, "not"))
        n_not++;
    TRY(parse_compare(p, out));
    for (; n_not; n_not--) {
        struct jinja_node *n = jinja_node_new(p, J_N_NOT, line);
        n->a = *out;
        *out = n;
        TRY(jinja_node_done(p, n));
    }
    return ERR_OK;
}

static enum err parse_logic(struct jinja_parser *p, bool is_or, struct jinja_node **out)
{
    struct jinja_list_of_nodes l = {0};
    struct jinja_node *x;
    uint32_t line = p->t->line;
    do {
        TRY(is_or ? parse_logic(p, false, &x) : parse_not(p, &x));
        jinja_nodes_push(p, &l, x);
    } while (jinja_tok_skip_name(p, is_or ? "or" : "and"));
    *out = l.p[0];
    if (l.n == 1)
        return ERR_OK;
    *out = jinja_node_new(p, is_or ? J_N_OR : J_N_AND, line);
    (*out)->kids = l.p;
    (*out)->n_kids = l.n;
    return jinja_node_done(p, *out);
}

static enum err parse_cond(struct jinja_parser *p, struct jinja_node **out)
{
    uint32_t line = p->t->line;
    TRY(parse_logic(p, true, out));
    while (jinja_tok_skip_name(p, "if")) {
        struct jinja_node *n = jinja_node_new(p, J_N_COND, line);
        n->b = *out;
        TRY(parse_logic(p, true, &n->a));
        if (jinja_tok_skip_name(p, "else"))
            TRY(jinja_parse_expr(p, true, &n->c));
        *out = n;
        TRY(jinja_node_done(p, n));
        line = p->t->line;
    }
    return ERR_OK;
}

enum err jinja_parse_expr(struct jinja_parser *p, bool with_cond, struct jinja_node **out)
{
    if (++p->depth > JINJA_DEPTH_MAX)
        return FAIL(p, "nesting deeper than %d", JINJA_DEPTH_MAX);
    TRY(with_cond ? parse_cond(p, out) : parse_logic(p, true, out));
    p->depth--;
    return ERR_OK;
}

static bool is_tuple_end(const struct jinja_parser *p, const char *end_name)
{
    enum jinja_token t = p->t->t;
    return t == J_T_VAR_END || t == J_T_BLOCK_END || t == J_T_RPAREN ||
           (end_name && jinja_tok_is(p->t, end_name));
}

static enum err parse_primary(struct jinja_parser *p, bool with_ns, struct jinja_node **out);

/* simple: assignment targets, which are names and tuples of names. */
static enum err parse_items(struct jinja_parser *p, bool simple, bool with_ns, bool with_cond,
                            const char *end_name, bool explicit_parens, struct jinja_node **out)
{
    struct jinja_list_of_nodes l = {0};
    uint32_t line = p->t->line;
    bool is_tuple = false;
    for (;;) {
        struct jinja_node *x;
        if (l.n)
            TRY(jinja_tok_expect(p, J_T_COMMA, "','"));
        if (is_tuple_end(p, end_name))
            break;
        TRY(simple ? parse_primary(p, with_ns, &x) : jinja_parse_expr(p, with_cond, &x));
        jinja_nodes_push(p, &l, x);
        if (p->t->t != J_T_COMMA)
            break;
        is_tuple = true;
    }
    if (!is_tuple && l.n) {
        *out = l.p[0];
        return ERR_OK;
    }
    if (!is_tuple && !explicit_parens)
        return FAIL(p, "expected an expression");
    *out = jinja_node_new(p, J_N_TUPLE, line);
    (*out)->kids = l.p;
    (*out)->n_kids = l.n;
    return jinja_node_done(p, *out);
}

enum err jinja_parse_tuple(struct jinja_parser *p, bool with_cond, const char *end_name,
                           bool explicit_parens, struct jinja_node **out)
{
    return parse_items(p, false, false, with_cond, end_name, explicit_parens, out);
}

static enum err check_target(struct jinja_parser *p, const struct jinja_node *n)
{
    if (n->op == J_N_NAME || n->op == J_N_NSREF)
        return ERR_OK;
    if (n->op != J_N_TUPLE)
        return FAIL(p, "cannot assign to this expression");
    for (size_t i = 0; i < n->n_kids; i++)
        TRY(check_target(p, n->kids[i]));
    return ERR_OK;
}

enum err jinja_parse_target(struct jinja_parser *p, const char *end_name, bool with_ns,
                            struct jinja_node **out)
{
    TRY(parse_items(p, true, with_ns, true, end_name, false, out));
    return check_target(p, *out);
}

static enum err parse_name(struct jinja_parser *p, bool with_ns, struct jinja_node **out)
{
    static const struct {
        const char *name;
        struct jinja_val v;
    } consts[] = {
        {"true",  {.k = J_BOOL, .b = true} },
        {"True",  {.k = J_BOOL, .b = true} },
        {"false", {.k = J_BOOL, .b = false}},
        {"False", {.k = J_BOOL, .b = false}},
        {"none",  {.k = J_NONE}            },
        {"None",  {.k = J_NONE}            },
    };
    const struct jinja_tok *t = p->t++;
    for (size_t i = 0; i < N_ELEMS(consts); i++)
        if (jinja_tok_is(t, consts[i].name)) {
            *out = const_node(p, t->line, consts[i].v);
            return ERR_OK;
        }
    *out = jinja_node_new(p, J_N_NAME, t->line);
    (*out)->name = t->s;
    if (with_ns && jinja_tok_skip(p, J_T_DOT)) {
        (*out)->op = J_N_NSREF;
        if (p->t->t != J_T_NAME)
            return FAIL(p, "expected a name after '.'");
        (*out)->val = jinja_of_str(p->t++->s);
    }
    return ERR_OK;
}

static enum err parse_string(struct jinja_parser *p, struct jinja_node **out)
{
    uint32_t line = p->t->line;
    if (p->t[1].t != J_T_STRING) {
        *out = const_node(p, line, jinja_of_str(p->t++->s));
        return ERR_OK;
    }
    struct str s;
    str_init(&s, JINJA_SOURCE_BYTES_MAX * 3);
    for (; p->t->t == J_T_STRING; p->t++)
        str_add_span(&s, jinja_span(p->t->s));
    *out = const_node(p, line, jinja_of_str(jinja_str_new(&p->j->arena, s.p, s.n)));
    str_done(&s);
    return ERR_OK;
}

static enum err parse_list(struct jinja_parser *p, struct jinja_node **out)
{
    struct jinja_list_of_nodes l = {0};
    *out = jinja_node_new(p, J_N_LIST, p->t++->line);
    while (p->t->t != J_T_RBRACKET) {
        struct jinja_node *x;
        if (l.n)
            TRY(jinja_tok_expect(p, J_T_COMMA, "','"));
        if (p->t->t == J_T_RBRACKET)
            break;
        TRY(jinja_parse_expr(p, true, &x));
        jinja_nodes_push(p, &l, x);
    }
    p->t++;
    (*out)->kids = l.p;
    (*out)->n_kids = l.n;
    return jinja_node_done(p, *out);
}

static enum err parse_dict(struct jinja_parser *p, struct jinja_node **out)
{
    struct jinja_list_of_nodes l = {0};
    *out = jinja_node_new(p, J_N_DICT, p->t++->line);
    while (p->t->t != J_T_RBRACE) {
        struct jinja_node *key, *v;
        if (l.n)
            TRY(jinja_tok_expect(p, J_T_COMMA, "','"));
        if (p->t->t == J_T_RBRACE)
            break;
        TRY(jinja_parse_expr(p, true, &key));
        TRY(jinja_tok_expect(p, J_T_COLON, "':'"));
        TRY(jinja_parse_expr(p, true, &v));
        jinja_nodes_push(p, &l, key);
        jinja_nodes_push(p, &l, v);
    }
    p->t++;
    (*out)->kids = l.p;
    (*out)->n_kids = l.n;
    return jinja_node_done(p, *out);
}

static enum err parse_primary(struct jinja_parser *p, bool with_ns, struct jinja_node **out)
{
    const struct jinja_tok *t = p->t;
    switch (t->t) {
    case J_T_NAME: return parse_name(p, with_ns, out);
    case J_T_STRING: return parse_string(p, out);
    case J_T_INT:
        *out = const_node(p, t->line, jinja_int(t->i));
        p->t++;
        return ERR_OK;
    case J_T_FLOAT:
        *out = const_node(p, t->line, jinja_float(t->f));
        p->t++;
        return ERR_OK;
    case J_T_LPAREN:
        p->t++;
        TRY(jinja_parse_tuple(p, true, NULL, true, out));
        return jinja_tok_expect(p, J_T_RPAREN, "')'");
    case J_T_LBRACKET: return parse_list(p, out);
    case J_T_LBRACE: return parse_dict(p, out);
    default: return FAIL(p, "unexpected token where a value should be");
    }
}

/* One index or slice inside of [ ]. */
static enum err parse_index(struct jinja_parser *p, struct jinja_node **out)
{
    struct jinja_node *part[3] = {0};
    uint32_t line = p->t->line;
    if (p->t->t != J_T_COLON) {
        TRY(jinja_parse_expr(p, true, out));
        if (p->t->t != J_T_COLON)
            return ERR_OK;
        part[0] = *out;
    }
    p->t++;
    if (p->t->t != J_T_COLON && p->t->t != J_T_RBRACKET && p->t->t != J_T_COMMA)
        TRY(jinja_parse_expr(p, true, &part[1]));
    if (jinja_tok_skip(p, J_T_COLON) && p->t->t != J_T_RBRACKET && p->t->t != J_T_COMMA)
        TRY(jinja_parse_expr(p, true, &part[2]));
    *out = jinja_node_new(p, J_N_SLICE, line);
    (*out)->kids = arena_array(&p->j->arena, 3, sizeof(*part));
    memcpy((*out)->kids, part, sizeof part);
    (*out)->n_kids = 3;
    return jinja_node_done(p, *out);
}

static enum err parse_subscript(struct jinja_parser *p, struct jinja_node *x,
                                struct jinja_node **out)
{
    struct jinja_node *n = jinja_node_new(p, J_N_ITEM, p->t->line);
    n->a = x;
    *out = n;
    if (p->t++->t == J_T_DOT) {
        if (p->t->t == J_T_NAME) {
            n->op = J_N_ATTR;
            n->name = p->t->s;
        } else if (p->t->t == J_T_INT) {
            n->b = const_node(p, p->t->line, jinja_int(p->t->i));
        } else {
            return FAIL(p, "expected a name or number after '.'");
        }
        p->t++;
        return jinja_node_done(p, n);
    }
    struct jinja_list_of_nodes l = {0};
    while (p->t->t != J_T_RBRACKET) {
        if (l.n)
            TRY(jinja_tok_expect(p, J_T_COMMA, "','"));
        struct jinja_node *i;
        TRY(parse_index(p, &i));
        jinja_nodes_push(p, &l, i);
    }
    p->t++;
    if (l.n == 1) {
        n->b = l.p[0];
    } else {
        n->b = jinja_node_new(p, J_N_TUPLE, n->line);
        n->b->kids = l.p;
        n->b->n_kids = l.n;
        TRY(jinja_node_done(p, n->b));
    }
    return jinja_node_done(p, n);
}

static enum err parse_arg(struct jinja_parser *p, struct jinja_args *a,
                          struct jinja_list_of_nodes *pos, struct jinja_list_of_nodes *kw,
                          struct jinja_list_of_nodes *names)
{
    struct jinja_node *x;
    if (p->t->t == J_T_MUL) {
        if (a->dyn_pos || a->dyn_kw)
            return FAIL(p, "invalid syntax for a call");
        p->t++;
        return jinja_parse_expr(p, true, &a->dyn_pos);
    }
    if (p->t->t == J_T_POW) {
        if (a->dyn_kw)
            return FAIL(p, "invalid syntax for a call");
        p->t++;
        return jinja_parse_expr(p, true, &a->dyn_kw);
    }
    if (p->t->t == J_T_NAME && p->t[1].t == J_T_ASSIGN) {
        if (a->dyn_kw)
            return FAIL(p, "invalid syntax for a call");
        const struct jinja_str *name = p->t->s;
        for (size_t i = 0; i < names->n; i++)
            if ((const void *)names->p[i] == (const void *)name)
                return FAIL(p, "keyword argument repeated: %.*s", (int)name->n, name->p);
        p->t += 2;
        TRY(jinja_parse_expr(p, true, &x));
        jinja_nodes_push(p, names, (struct jinja_node *)(uintptr_t)name);
        jinja_nodes_push(p, kw, x);
        return ERR_OK;
    }
    if (a->dyn_pos || a->dyn_kw || kw->n)
        return FAIL(p, "invalid syntax for a call");
    TRY(jinja_parse_expr(p, true, &x));
    jinja_nodes_push(p, pos, x);
    return ERR_OK;
}

static enum err parse_args(struct jinja_parser *p, struct jinja_args **out)
{
    struct jinja_args *a = arena_alloc(&p->j->arena, sizeof(*a));
    struct jinja_list_of_nodes pos = {0}, kw = {0}, names = {0};
    TRY(jinja_tok_expect(p, J_T_LPAREN, "'('"));
    for (bool first = true; p->t->t != J_T_RPAREN; first = false) {
        if (!first)
            TRY(jinja_tok_expect(p, J_T_COMMA, "','"));
        if (!first && p->t->t == J_T_RPAREN)
            break;
        TRY(parse_arg(p, a, &pos, &kw, &names));
        if (kw.n > JINJA_DEPTH_MAX)
            return FAIL(p, "more than %d keyword arguments", JINJA_DEPTH_MAX);
    }
    p->t++;
    a->pos = pos.p;
    a->n_pos = pos.n;
    a->kw = kw.p;
    a->n_kw = kw.n;
    a->names = arena_array(&p->j->arena, kw.n, sizeof(*a->names));
    for (size_t i = 0; i < kw.n; i++)
        a->names[i] = (const struct jinja_str *)(const void *)names.p[i];
    *out = a;
    return ERR_OK;
}

static enum err parse_call(struct jinja_parser *p, struct jinja_node *x, struct jinja_node **out)
{
    struct jinja_node *n = jinja_node_new(p, J_N_CALL, p->t->line);
    n->a = x;
    *out = n;
    TRY(parse_args(p, &n->args));
    return jinja_node_done(p, n);
}

static enum err parse_postfix(struct jinja_parser *p, struct jinja_node **x)
{
    for (;;) {
        if (p->t->t == J_T_DOT || p->t->t == J_T_LBRACKET)
            TRY(parse_subscript(p, *x, x));
        else if (p->t->t == J_T_LPAREN)
            TRY(parse_call(p, *x, x));
        else
            return ERR_OK;
    }
}

/* name or name.name, as filters and tests may be called */
static enum err parse_dotted(struct jinja_parser *p, const struct jinja_str **out)
{
    if (p->t->t != J_T_NAME)
        return FAIL(p, "expected a name");
    *out = p->t++->s;
    while (jinja_tok_skip(p, J_T_DOT)) {
        if (p->t->t != J_T_NAME)
            return FAIL(p, "expected a name after '.'");
        const char *both = arena_printf(&p->j->arena, "%.*s.%.*s", (int)(*out)->n, (*out)->p,
                                        (int)p->t->s->n, p->t->s->p);
        *out = jinja_str_new(&p->j->arena, both, strlen(both));
        p->t++;
        if ((*out)->n > 1000)
            return FAIL(p, "a name longer than 1000 bytes");
    }
    return ERR_OK;
}

enum err jinja_parse_filters(struct jinja_parser *p, struct jinja_node *x, bool inline_first,
                             struct jinja_node **out)
{
    *out = x;
    while (inline_first || jinja_tok_skip(p, J_T_PIPE)) {
        struct jinja_node *n = jinja_node_new(p, J_N_FILTER, p->t->line);
        inline_first = false;
        n->a = *out;
        *out = n;
        TRY(parse_dotted(p, &n->name));
        n->fn = jinja_find_filter(jinja_span(n->name));
        if (p->t->t == J_T_LPAREN)
            TRY(parse_args(p, &n->args));
        TRY(jinja_node_done(p, n));
    }
    return ERR_OK;
}

static enum err parse_test(struct jinja_parser *p, struct jinja_node *x, struct jinja_node **out)
{
    struct jinja_node *n = jinja_node_new(p, J_N_TEST, p->t++->line);
    bool negated = jinja_tok_skip_name(p, "not");
    n->a = x;
    TRY(parse_dotted(p, &n->name));
    n->fn = jinja_find_test(jinja_span(n->name));
    enum jinja_token t = p->t->t;
    if (t == J_T_LPAREN) {
        TRY(parse_args(p, &n->args));
    } else if ((t == J_T_NAME || t == J_T_STRING || t == J_T_INT || t == J_T_FLOAT ||
                t == J_T_LBRACKET || t == J_T_LBRACE) &&
               !jinja_tok_is(p->t, "else") && !jinja_tok_is(p->t, "or") &&
               !jinja_tok_is(p->t, "and")) {
        if (jinja_tok_is(p->t, "is"))
            return FAIL(p, "tests cannot be chained with is");
        struct jinja_list_of_nodes l = {0};
        struct jinja_node *arg;
        TRY(parse_primary(p, false, &arg));
        TRY(parse_postfix(p, &arg));
        jinja_nodes_push(p, &l, arg);
        n->args = arena_alloc(&p->j->arena, sizeof(*n->args));
        n->args->pos = l.p;
        n->args->n_pos = 1;
    }
    TRY(jinja_node_done(p, n));
    *out = n;
    if (negated) {
        *out = jinja_node_new(p, J_N_NOT, n->line);
        (*out)->a = n;
        TRY(jinja_node_done(p, *out));
    }
    return ERR_OK;
}

static enum err parse_unary(struct jinja_parser *p, bool with_filter, struct jinja_node **out)
{
    uint32_t line = p->t->line;
    enum jinja_token t = p->t->t;
    if (t == J_T_SUB || t == J_T_ADD) {
        struct jinja_node *n = jinja_node_new(p, t == J_T_SUB ? J_N_NEG : J_N_POS, line);
        p->t++;
        if (++p->depth > JINJA_DEPTH_MAX)
            return FAIL(p, "nesting deeper than %d", JINJA_DEPTH_MAX);
        TRY(parse_unary(p, false, &n->a));
        p->depth--;
        TRY(jinja_node_done(p, n));
        *out = n;
    } else {
        TRY(parse_primary(p, false, out));
    }
    TRY(parse_postfix(p, out));
    while (with_filter) {
        if (p->t->t == J_T_PIPE)
            TRY(jinja_parse_filters(p, *out, false, out));
        else if (jinja_tok_is(p->t, "is"))
            TRY(parse_test(p, *out, out));
        else if (p->t->t == J_T_LPAREN)
            TRY(parse_call(p, *out, out));
        else
            break;
    }
    return ERR_OK;
}
