/* SPDX-License-Identifier: MIT
 * jinja_int.h - what the files of the template interpreter share: tree, values, a run.
 *
 * Values are Python's as far as a template can see them.  They are immutable but for namespaces,
 * cyclers, joiners, loops and iterators, which a sandboxed template can change; everything a run
 * makes lives in its arena.  A parsed template is never written to by a run.
 * Every loop driven by input charges jinja_step; every recursion goes through jinja_enter. */
#ifndef CHAT_JINJA_INT_H
#define CHAT_JINJA_INT_H

#include "base/arena.h"
#include "base/num.h"
#include "chat/jinja.h"

#define JINJA_MEMORY_MAX     ((size_t)256 << 20) /* values and buffers of one run */
#define JINJA_EVAL_DEPTH_MAX 1000                /* nested evaluations, macro calls included */
#define JINJA_RANGE_MAX      100000              /* elements, as jinja2's sandbox */
#define JINJA_ARGS_MAX       8                   /* parameters of a built-in */

/* ---- values ---- */

enum jinja_kind {
    J_MISSING, /* an argument that was not given; never seen by a template */
    J_UNDEF,
    J_NONE,
    J_BOOL,
    J_INT,
    J_FLOAT,
    J_STR,
    J_LIST,
    J_TUPLE,
    J_DICT,
    J_RANGE,
    J_VIEW,
    J_ITER,
    J_NS,
    J_MACRO,
    J_FUNC,
    J_BOUND,
    J_LOOP,
    J_CYCLER,
    J_JOINER
};

struct jinja_grow { /* storage that a growing string or list shares with its prefixes */
    char *p;
    size_t used, cap;
};

struct jinja_str {
    const char *p; /* UTF-8, not NUL-terminated */
    size_t n;
    size_t n_cp; /* code points; n_cp == n: ASCII */
    struct jinja_grow *grow;
};

struct jinja_undef {
    const struct jinja_str *name; /* NULL with a hint */
    const char *hint;
    const char *owner; /* type name of the object that lacks it; NULL for a variable */
};

struct jinja_val {
    enum jinja_kind k;
    bool markup; /* of J_STR: came out of |safe or |escape */
    union {
        bool b;
        int64_t i;
        double f;
        const struct jinja_str *s;
        const struct jinja_undef *u;
        struct jinja_list *l;
        struct jinja_dict *d;
        struct jinja_range *range;
        struct jinja_view *view;
        struct jinja_iter *it;
        struct jinja_dict **ns;
        struct jinja_macro *macro;
        const struct jinja_fn *fn;
        struct jinja_bound *bound;
        struct jinja_loop *loop;
        struct jinja_cycler *cycler;
        struct jinja_joiner *joiner;
    };
};

struct jinja_list { /* list and tuple */
    struct jinja_val *v;
    size_t n;
    struct jinja_grow *grow;
    bool group; /* a tuple of |groupby: has .grouper and .list */
};

struct jinja_entry {
    struct jinja_val key, v;
    uint64_t hash;
};

struct jinja_dict { /* in order of insertion */
    struct jinja_entry *e;
    size_t n, cap;
    uint32_t *slots; /* [n_slots] index + 1; NULL while small */
    size_t n_slots;
};

struct jinja_range {
    int64_t start, stop, step, n;
};

enum jinja_view_kind { J_VIEW_KEYS, J_VIEW_VALUES, J_VIEW_ITEMS };

struct jinja_view {
    enum jinja_view_kind kind;
    struct jinja_dict *d;
};

struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_var {
        const struct jinja_str *name; /* interned: compared by address */
        struct jinja_val v;
    } * vars;
    size_t n, cap;
};

struct jinja_macro {
    const struct jinja_node *node; /* J_N_MACRO or J_N_CALL_BLOCK */
    struct jinja_scope *scope;     /* where it was defined */
};

struct jinja_bound {
    const struct jinja_fn *fn;
    struct jinja_val self;
};

struct jinja_cycler {
    struct jinja_list *items;
    size_t pos;
};

struct jinja_joiner {
    const struct jinja_str *sep;
    bool used;
};

/* ---- the tree ---- */

enum jinja_op {
    /* expressions */
    J_N_CONST,
    J_N_NAME,
    J_N_TUPLE,
    J_N_LIST,
    J_N_DICT, /* kids: key, value, key, value */
    J_N_ATTR,
    J_N_ITEM,
    J_N_SLICE, /* kids[3], each may be NULL */
    J_N_CALL,
    J_N_FILTER, /* a NULL: the block's text */
    J_N_TEST,
    J_N_COND, /* a test, b then, c else or NULL */
    J_N_AND,  /* kids */
    J_N_OR,   /* kids */
    J_N_NOT,
    J_N_NEG,
    J_N_POS,
    J_N_CHAIN,   /* kids[0] ops[0] kids[1] ops[1] ... from the left */
    J_N_CONCAT,  /* kids */
    J_N_COMPARE, /* as CHAIN */
    J_N_NSREF,   /* assignment target name.attr */
    /* statements */
    J_N_DATA,
    J_N_OUTPUT,
    J_N_IF, /* kids: the tests; bodies[i], a last body more for else */
    J_N_FOR,
    J_N_SET,
    J_N_SET_BLOCK,
    J_N_MACRO,
    J_N_CALL_BLOCK,
    J_N_FILTER_BLOCK,
    J_N_WITH, /* kids: target, value, ... */
    J_N_BREAK,
    J_N_CONTINUE,
    J_N_GENERATION,
    J_N_SCOPE /* block, autoescape: renders its body */
};

enum jinja_token {
    J_T_EOF,
    J_T_DATA,
    J_T_VAR_BEGIN,
    J_T_VAR_END,
    J_T_BLOCK_BEGIN,
    J_T_BLOCK_END,
    J_T_NAME,
    J_T_STRING,
    J_T_INT,
    J_T_FLOAT,
#define TOKEN(name, text) J_T_##name,
#include "chat/jinja_token.def"
#undef TOKEN
    J_T_IN, /* made by the parser: operators of COMPARE */
    J_T_NOT_IN
};

struct jinja_body {
    struct jinja_node **p;
    size_t n;
};

struct jinja_args {
    struct jinja_node **pos;
    size_t n_pos;
    const struct jinja_str **names;
    struct jinja_node **kw;
    size_t n_kw;
    struct jinja_node *dyn_pos, *dyn_kw;
};

struct jinja_node {
    enum jinja_op op;
    uint32_t line;
    uint32_t depth;
    bool uses_loop, uses_caller, uses_kwargs, uses_varargs; /* FOR, MACRO, CALL_BLOCK */
    bool recursive;                                         /* FOR */
    const struct jinja_str *name;                           /* NAME, ATTR, FILTER, TEST, MACRO */
    const struct jinja_fn *fn;                              /* FILTER, TEST; NULL: unknown */
    struct jinja_val val;                                   /* CONST, DATA */
    struct jinja_node *a, *b, *c;
    struct jinja_node **kids;
    size_t n_kids;
    enum jinja_token *ops;
    struct jinja_body *bodies;
    size_t n_bodies;
    struct jinja_args *args;
    /* MACRO, CALL_BLOCK: parameters; the last n_defaults have a default */
    const struct jinja_str **params;
    size_t n_params;
    struct jinja_node **defaults;
    size_t n_defaults;
};

struct jinja {
    struct arena arena;
    struct jinja_body body;
    /* names the runtime looks for itself */
    const struct jinja_str *s_loop, *s_caller, *s_kwargs, *s_varargs;
};

struct jinja_tok {
    enum jinja_token t;
    uint32_t line;
    const struct jinja_str *s; /* DATA, NAME (interned), STRING */
    int64_t i;
    double f;
};

/* Errors: TEMPLATE, TOOBIG.  *toks ends with EOF; both live in j->arena. */
enum err jinja_lex(struct jinja *j, struct span source, struct jinja_tok **toks, size_t *n,
                   struct errinfo *e);

struct jinja_parser {
    struct jinja *j;
    struct jinja_tok *t; /* the current token */
    int depth;
    struct errinfo *e;
};

struct jinja_list_of_nodes {
    struct jinja_node **p;
    size_t n, cap;
};

/* As err_set: macros, so that the compiler sees which code is returned. */
#define jinja_fail_at(e, line, ...) (jinja_note_at(e, line, __VA_ARGS__), ERR_TEMPLATE)
#define jinja_fail(r, ...)          (jinja_note(r, __VA_ARGS__), ERR_TEMPLATE)
void jinja_note_at(struct errinfo *e, uint32_t line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
struct jinja_node *jinja_node_new(struct jinja_parser *p, enum jinja_op op, uint32_t line);
void jinja_nodes_push(struct jinja_parser *p, struct jinja_list_of_nodes *l, struct jinja_node *x);
/* Sets n->depth from its children; refuses a tree that is too deep. */
enum err jinja_node_done(struct jinja_parser *p, struct jinja_node *n);
bool jinja_tok_is(const struct jinja_tok *t, const char *name);
bool jinja_tok_skip(struct jinja_parser *p, enum jinja_token t);
bool jinja_tok_skip_name(struct jinja_parser *p, const char *name);
enum err jinja_tok_expect(struct jinja_parser *p, enum jinja_token t, const char *what);
enum err jinja_parse_expr(struct jinja_parser *p, bool with_cond, struct jinja_node **out);
enum err jinja_parse_tuple(struct jinja_parser *p, bool with_cond, const char *end_name,
                           bool explicit_parens, struct jinja_node **out);
enum err jinja_parse_target(struct jinja_parser *p, const char *end_name, bool with_ns,
                            struct jinja_node **out);
enum err jinja_parse_filters(struct jinja_parser *p, struct jinja_node *x, bool inline_first,
                             struct jinja_node **out);
enum err jinja_parse_body(struct jinja_parser *p, const char *const *ends, struct jinja_body *out);
/* What jinja2's compiler refuses or notes: unknown filters outside of conditions, loop control
 * outside of loops, use of loop, caller, kwargs and varargs. */
enum err jinja_scan_body(struct jinja *j, struct jinja_body b, struct errinfo *e);

/* ---- a run ---- */

enum jinja_flow { J_FLOW_NONE, J_FLOW_BREAK, J_FLOW_CONTINUE };

struct jinja_limits {
    size_t output_bytes;
    size_t memory_bytes;
    uint64_t steps;
};

struct jinja_run {
    const struct jinja *j;
    struct arena arena;
    struct jinja_limits limits;
    struct jinja_dict *vars;
    int64_t now;
    uint64_t steps;
    size_t buffered; /* bytes in the buffers of blocks and macros */
    int depth;
    uint32_t line;
    enum jinja_flow flow;
    struct jinja_val block_text; /* what the filters of a block start from */
    struct errinfo *e;
};

enum err jinja_render_limited(const struct jinja *j, const json_t *vars, int64_t now_unix,
                              struct jinja_limits limits, struct str *out, struct errinfo *e);

void jinja_note(struct jinja_run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Counts n elementary steps; fails past the limits of steps and memory. */
enum err jinja_step(struct jinja_run *r, size_t n);
/* Before n bytes are made: counts them as steps and refuses what does not fit. */
enum err jinja_charge(struct jinja_run *r, size_t n_bytes);
enum err jinja_enter(struct jinja_run *r); /* pairs with r->depth-- */

struct jinja_call {
    struct jinja_val self; /* the filtered value, a method's receiver */
    const struct jinja_val *pos;
    size_t n_pos;
    const struct jinja_str *const *names;
    const struct jinja_val *kw;
    size_t n_kw;
};

typedef enum err jinja_fn_call(struct jinja_run *r, const struct jinja_call *c,
                               const struct jinja_val *a, struct jinja_val *out);

struct jinja_fn {
    const char *name;
    jinja_fn_call *call;
    int n_need;       /* parameters without a default */
    const char *sig;  /* "a,b": names; "/a,b": no keywords; "*": the call is handed on raw */
    uint64_t of_kind; /* methods: bits 1 << kind of the receivers */
};

const struct jinja_fn *jinja_find_filter(struct span name);
const struct jinja_fn *jinja_find_test(struct span name);
const struct jinja_fn *jinja_find_global(struct span name);
/* NULL: no such attribute.  *unsafe: the sandbox keeps it away. */
const struct jinja_fn *jinja_find_method(enum jinja_kind k, struct span name, bool *is_unsafe);

/* Binds the arguments by fn->sig and calls. */
enum err jinja_call_fn(struct jinja_run *r, const struct jinja_fn *fn, const struct jinja_call *c,
                       struct jinja_val *out);
/* The methods of text that is marked as safe give such text. */
void jinja_keep_markup(struct jinja_val self, struct jinja_val *out);
/* Calls any value. */
enum err jinja_call_val(struct jinja_run *r, struct jinja_val f, const struct jinja_call *c,
                        struct jinja_val *out);
enum err jinja_call_macro(struct jinja_run *r, struct jinja_macro *m, const struct jinja_call *c,
                          struct jinja_val *out);

enum err jinja_eval(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                    struct jinja_val *out);
enum err jinja_eval_args(struct jinja_run *r, const struct jinja_args *args, struct jinja_scope *s,
                         struct jinja_call *c);
enum err jinja_exec(struct jinja_run *r, struct jinja_body b, struct jinja_scope *s,
                    struct str *out);
/* Renders a body into a new string. */
enum err jinja_exec_text(struct jinja_run *r, struct jinja_body b, struct jinja_scope *s,
                         struct jinja_val *out);
enum err jinja_exec_for(struct jinja_run *r, const struct jinja_node *n, struct jinja_val iter,
                        int depth0, struct jinja_scope *s, struct str *out);
enum err jinja_assign(struct jinja_run *r, const struct jinja_node *target, struct jinja_scope *s,
                      struct jinja_scope *into, struct jinja_val v);
struct jinja_scope *jinja_scope_new(struct jinja_run *r, struct jinja_scope *parent);
void jinja_scope_set(struct jinja_run *r, struct jinja_scope *s, const struct jinja_str *name,
                     struct jinja_val v);
struct jinja_val jinja_lookup(struct jinja_run *r, struct jinja_scope *s,
                              const struct jinja_str *name);

/* ---- making values ---- */

#define J_NONE_VAL ((struct jinja_val){.k = J_NONE})

static inline struct jinja_val jinja_bool(bool b)
{
    return (struct jinja_val){.k = J_BOOL, .b = b};
}

static inline struct jinja_val jinja_int(int64_t i)
{
    return (struct jinja_val){.k = J_INT, .i = i};
}

static inline struct jinja_val jinja_float(double f)
{
    return (struct jinja_val){.k = J_FLOAT, .f = f};
}

static inline struct jinja_val jinja_of_str(const struct jinja_str *s)
{
    return (struct jinja_val){.k = J_STR, .s = s};
}

static inline struct span jinja_span(const struct jinja_str *s)
{
    return (struct span){s->p, s->n};
}

struct jinja_str *jinja_str_new(struct arena *a, const char *p, size_t n); /* copies */
struct jinja_str *jinja_str_view(struct arena *a, const char *p, size_t n, size_t n_cp);
struct jinja_val jinja_undef_name(struct jinja_run *r, const struct jinja_str *name);
struct jinja_val jinja_undef_of(struct jinja_run *r, struct jinja_val owner,
                                const struct jinja_str *name);
struct jinja_val jinja_undef_hint(struct jinja_run *r, const char *hint);
enum err jinja_undef_fail(struct jinja_run *r, struct jinja_val v);
enum err jinja_text(struct jinja_run *r, struct span s, struct jinja_val *out); /* copies */
/* Takes the bytes of a buffer that a function filled, and frees it; keeps rc when it failed. */
enum err jinja_take(struct jinja_run *r, enum err rc, struct str *buf, struct jinja_val *out);
void jinja_buf(struct jinja_run *r, struct str *buf); /* str_init with the run's limits */
struct jinja_list *jinja_list_new(struct jinja_run *r, size_t cap);
enum err jinja_list_push(struct jinja_run *r, struct jinja_list *l, struct jinja_val v);
struct jinja_val jinja_of_list(struct jinja_list *l);
struct jinja_val jinja_of_tuple(struct jinja_list *l);
struct jinja_val jinja_pair(struct jinja_run *r, struct jinja_val a, struct jinja_val b);
struct jinja_dict *jinja_dict_new(struct jinja_run *r);
enum err jinja_dict_set(struct jinja_run *r, struct jinja_dict *d, struct jinja_val key,
                        struct jinja_val v);
/* *found NULL: no such key.  Fails for a key that cannot be hashed. */
enum err jinja_dict_get(struct jinja_run *r, const struct jinja_dict *d, struct jinja_val key,
                        const struct jinja_val **found);
const struct jinja_val *jinja_dict_find(const struct jinja_dict *d, struct span key);
enum err jinja_of_json(struct jinja_run *r, const json_t *x, int depth, struct jinja_val *out);

/* ---- what Python does with values ---- */

const char *jinja_type(struct jinja_val v);
bool jinja_truth(struct jinja_val v);
bool jinja_is_number(struct jinja_val v); /* bool, int, float */
double jinja_num(struct jinja_val v);
/* bool and int give their value; fails for others: "... must be an integer" */
enum err jinja_want_int(struct jinja_run *r, struct jinja_val v, const char *what, int64_t *out);
enum err jinja_want_str(struct jinja_run *r, struct jinja_val v, const char *what,
                        struct span *out);
enum err jinja_hash(struct jinja_run *r, struct jinja_val v, uint64_t *out);
enum err jinja_eq(struct jinja_run *r, struct jinja_val a, struct jinja_val b, bool *out);
/* *out < 0, 0, > 0; 2 for unordered floats.  Fails where Python has no order. */
enum err jinja_cmp(struct jinja_run *r, struct jinja_val a, struct jinja_val b, int *out);
/* Length, or fails. */
enum err jinja_len(struct jinja_run *r, struct jinja_val v, size_t *out);
enum err jinja_str_of(struct jinja_run *r, struct jinja_val v, const struct jinja_str **out);
enum err jinja_put_str(struct jinja_run *r, struct str *out, struct jinja_val v);
enum err jinja_put_repr(struct jinja_run *r, struct str *out, struct jinja_val v);
void jinja_put_float(struct str *out, double f);
enum err jinja_put_full(struct jinja_run *r, const struct str *out);
enum err jinja_binary(struct jinja_run *r, enum jinja_token op, struct jinja_val a,
                      struct jinja_val b, struct jinja_val *out);
enum err jinja_compare(struct jinja_run *r, enum jinja_token op, struct jinja_val a,
                       struct jinja_val b, bool *out);
enum err jinja_contains(struct jinja_run *r, struct jinja_val x, struct jinja_val in, bool *out);
enum err jinja_get_attr(struct jinja_run *r, struct jinja_val x, const struct jinja_str *name,
                        struct jinja_val *out);
enum err jinja_get_item(struct jinja_run *r, struct jinja_val x, struct jinja_val key,
                        struct jinja_val *out);
/* The attribute alone, without x[name]: *found false where Python raises AttributeError. */
enum err jinja_get_field(struct jinja_run *r, struct jinja_val x, const struct jinja_str *name,
                         struct jinja_val *out, bool *found);
enum err jinja_slice(struct jinja_run *r, struct jinja_val x, const struct jinja_val lim[3],
                     struct jinja_val *out);
/* Element i (0 <= i < length) of a list, tuple, string or range. */
struct jinja_val jinja_at(struct jinja_run *r, struct jinja_val x, size_t i);
/* Byte position of code point i (i <= n_cp). */
size_t jinja_cp_pos(const struct jinja_str *s, size_t i);
size_t jinja_count_cp(const char *p, size_t n);

/* ---- iterators ---- */

struct jinja_iter {
    enum jinja_iter_kind {
        J_IT_SEQ,
        J_IT_REVERSED,
        J_IT_MAP,
        J_IT_SELECT,
        J_IT_UNIQUE,
        J_IT_BATCH,
        J_IT_SLICE,
        J_IT_ITEMS,
        J_IT_FILTERED /* for ... if */
    } kind;
    struct jinja_val src; /* SEQ, REVERSED: the value; others: a J_ITER once started */
    bool started, done;
    size_t pos;
    size_t byte_pos;
    struct jinja_call call; /* MAP, SELECT: the filter's own arguments */
    bool negate, attr;      /* SELECT: reject; selectattr */
    struct jinja_val arg[3];
    struct jinja_dict *seen;
    const struct jinja_node *node; /* FILTERED */
    struct jinja_scope *scope;
};

/* An iterator over v, or fails: "... is not iterable". */
enum err jinja_iterate(struct jinja_run *r, struct jinja_val v, struct jinja_iter **out);
/* *more false at the end. */
enum err jinja_next(struct jinja_run *r, struct jinja_iter *it, struct jinja_val *out, bool *more);
enum err jinja_to_list(struct jinja_run *r, struct jinja_val v, struct jinja_list **out);
struct jinja_iter *jinja_iter_new(struct jinja_run *r, enum jinja_iter_kind kind,
                                  struct jinja_val src);
bool jinja_can_iterate(struct jinja_val v);

struct jinja_loop {
    struct jinja_iter *it;
    struct jinja_val iterable;
    int64_t index0;
    bool has_length, has_after, has_last_changed;
    int64_t length;
    struct jinja_val after, current, before;
    struct jinja_list *last_changed;
    int depth0;
    const struct jinja_node *node; /* of a recursive loop */
    struct jinja_scope *scope;
};

enum err jinja_loop_next(struct jinja_run *r, struct jinja_loop *l, struct jinja_val *out,
                         bool *more);
enum err jinja_loop_field(struct jinja_run *r, struct jinja_loop *l, struct span name,
                          struct jinja_val *out, bool *found);
enum err jinja_loop_length(struct jinja_run *r, struct jinja_loop *l, int64_t *out);

struct jinja_json {
    bool ascii, sort_keys, has_indent;
    struct span indent;
    struct span item_sep, key_sep;
};

/* ---- attributes by path, sorting, text ---- */

/* "a.b.0" as |map(attribute=) follows it; dflt J_MISSING or J_NONE for none. */
enum err jinja_get_path(struct jinja_run *r, struct jinja_val x, struct jinja_val path,
                        struct jinja_val dflt, struct jinja_val *out);
/* Sorts idx[n] by keys, stable. */
enum err jinja_sort(struct jinja_run *r, const struct jinja_val *keys, size_t *idx, size_t n,
                    bool reverse);
struct jinja_val jinja_fold(struct jinja_run *r, struct jinja_val v, bool case_sensitive);
enum err jinja_put_json(struct jinja_run *r, struct str *out, struct jinja_val v,
                        const struct jinja_json *o);
enum err jinja_printf(struct jinja_run *r, struct span fmt, struct jinja_val args,
                      struct jinja_val *out);
enum err jinja_format(struct jinja_run *r, const struct jinja_call *c, struct jinja_val *out);
void jinja_put_escaped(struct str *out, struct span s);
enum err jinja_escape(struct jinja_run *r, struct jinja_val v, struct jinja_val *out);

/* Unicode as Python has it. */
enum jinja_case { J_UPPER, J_LOWER, J_TITLE, J_CAPITAL, J_SWAP, J_FOLD };
void jinja_put_case(struct str *out, struct span s, enum jinja_case how);
bool jinja_is_space(int32_t cp);
bool jinja_is_alpha(int32_t cp);
bool jinja_is_digit(int32_t cp);
bool jinja_is_decimal(int32_t cp);
bool jinja_is_numeric(int32_t cp);
bool jinja_is_upper(int32_t cp);
bool jinja_is_lower(int32_t cp);
bool jinja_is_cased_title(int32_t cp);
bool jinja_is_printable(int32_t cp);
bool jinja_is_word(int32_t cp); /* \w */
bool jinja_is_identifier(struct span s);
struct span jinja_strip(struct span s, bool left, bool right);
/* End of the line that starts at `from`; *next is where the following one starts. */
size_t jinja_line_end(struct span s, size_t from, size_t *next);

#endif
