/* SPDX-License-Identifier: MIT
 * gram_int.h - what the parts of gram share.
 *
 * pattern text -> gram_nfa (gram_regex, gram_gbnf, gram_class) -> gram_dfa (gram_dfa) -> gram_build
 * JSON Schema  -> gram_build (gram_schema*)                      gram_build -> gram (gram_build)
 *
 * Owner: each init has its done; nothing here is shared between threads but struct gram. */
#ifndef GRAM_GRAM_INT_H
#define GRAM_GRAM_INT_H

#include "gram/gram.h"
#include "base/arena.h"
#include "base/num.h"

#define GRAM_NONE UINT32_MAX

/* Arrays that grow: GROW(p, n, cap) makes room for one more. */
#define GRAM_GROW(p, n, cap)                                                                       \
    do {                                                                                           \
        if ((n) == (cap)) {                                                                        \
            (cap) = (cap) ? 2 * (cap) : 16;                                                        \
            (p) = mem_grow((p), (size_t)(cap) * sizeof *(p));                                      \
        }                                                                                          \
    } while (0)

/* ---- automata with choices ---- */

enum gram_nfa_kind {
    GRAM_NFA_SPLIT, /* to a and to b, each may be GRAM_NONE */
    GRAM_NFA_BYTE,  /* lo..hi, then a */
    GRAM_NFA_CALL,  /* rule b, then a */
    GRAM_NFA_BEGIN, /* a, at the beginning only */
    GRAM_NFA_END,   /* a, at the end only */
};

struct gram_nfa_state {
    uint32_t a, b;
    uint8_t kind, lo, hi;
};

enum gram_coding {
    GRAM_UTF8,
    GRAM_JSON, /* inside a JSON string, shortest escapes */
};

struct gram_nfa {
    struct gram_nfa_state *s;
    uint32_t n, cap;
    enum gram_coding coding;
    bool full; /* GRAM_NFA_MAX was reached: what was built means nothing */
};
#define GRAM_NFA_MAX 400000u

/* States [begin, past) with one way in and one way out: `end` is a SPLIT whose a is still open. */
struct gram_frag {
    uint32_t begin, past, start, end;
};

void gram_nfa_init(struct gram_nfa *m, enum gram_coding coding);
void gram_nfa_done(struct gram_nfa *m);
uint32_t gram_nfa_add(struct gram_nfa *m, struct gram_nfa_state s);
/* Fragments are made one after the other; those that are joined must be neighbours. */
struct gram_frag gram_frag_empty(struct gram_nfa *m);
struct gram_frag gram_frag_kind(struct gram_nfa *m, enum gram_nfa_kind kind, uint32_t rule);
struct gram_frag gram_frag_bytes(struct gram_nfa *m, struct span bytes);
struct gram_frag gram_frag_cat(struct gram_nfa *m, struct gram_frag x, struct gram_frag y);
struct gram_frag gram_frag_alt(struct gram_nfa *m, struct gram_frag x, struct gram_frag y);
/* x{min,max}; max GRAM_NONE is no maximum.  x must be the last fragment made. */
struct gram_frag gram_frag_repeat(struct gram_nfa *m, struct gram_frag x, uint32_t min,
                                  uint32_t max);

/* ---- classes of code points ---- */

struct gram_class {
    struct gram_range {
        uint32_t lo, hi;
    } * r;
    uint32_t n, cap;
};

void gram_class_done(struct gram_class *c);
void gram_class_add(struct gram_class *c, uint32_t lo, uint32_t hi);
void gram_class_add_all(struct gram_class *c, const struct gram_class *from);
void gram_class_invert(struct gram_class *c); /* surrogates are in neither */
/* ECMA's d w s . and their capitals. */
void gram_class_escape(struct gram_class *c, char name);
/* \p{name}: a general category ("L", "Lu", "Letter", "Any", "ASCII").  False: unknown. */
bool gram_class_property(struct gram_class *c, struct span name);
/* One code point of the class, in m's coding. */
struct gram_frag gram_frag_class(struct gram_nfa *m, struct gram_class *c);
/* Appends the shortest JSON form of one code point. */
void gram_json_escape(struct str *out, uint32_t cp);

/* ---- automata without choices ---- */

struct gram_dfa_edge {
    uint32_t to; /* rule calls: edge with rule != GRAM_NONE */
    uint32_t rule;
    uint8_t lo, hi;
};

struct gram_dfa {
    struct gram_dfa_state {
        uint32_t first, n; /* edges, by lo; calls after them */
        bool accept;
    } * s; /* state 0 is the start; none: the empty language */
    struct gram_dfa_edge *e;
    uint32_t n, cap, n_e, cap_e;
};

void gram_dfa_done(struct gram_dfa *d);
/* Starts at f.start, accepts at f.end.  False: too large. */
bool gram_dfa_from_nfa(struct gram_dfa *d, const struct gram_nfa *m, struct gram_frag f);
/* What every dfa of yes and none of no accepts; no calls in them. */
bool gram_dfa_product(struct gram_dfa *d, const struct gram_dfa *const *yes, size_t n_yes,
                      const struct gram_dfa *const *no, size_t n_no);
bool gram_dfa_accepts(const struct gram_dfa *d, struct span text);
uint32_t gram_dfa_step(const struct gram_dfa *d, uint32_t state, unsigned char byte);

/* ---- regular expressions ---- */

/* Appends the pattern's fragment; `search` adds any text before and after.  ERR_CORRUPT and
 * ERR_UNSUPPORTED give the column. */
enum err gram_regex_frag(struct gram_nfa *m, struct span pattern, bool search,
                         struct gram_frag *out, struct errinfo *e);
enum err gram_regex_dfa(struct gram_dfa *d, enum gram_coding coding, struct span pattern,
                        bool search, struct errinfo *e);

/* ---- the grammar while it is made ---- */

enum gram_edge_kind { GRAM_EDGE_BYTE, GRAM_EDGE_CALL, GRAM_EDGE_EPS };

struct gram_build {
    struct gram_build_state {
        uint32_t edge; /* the last one added */
        uint32_t like; /* the same for GRAM_LIKE_BYTES bytes; GRAM_NONE: not known */
        bool accept;
    } * s;
    struct gram_build_edge {
        uint32_t next, to, rule;
        uint8_t kind, lo, hi;
    } * e;
    uint32_t *rule; /* [n_rules] start state or GRAM_NONE */
    uint32_t n, cap, n_e, cap_e, n_rules, cap_rules;
    bool full; /* GRAM_STATES_MAX or GRAM_RULES_MAX */
};
#define GRAM_LIKE_BYTES 32
#define GRAM_CONTROL    ((char)0xff) /* before and after a control token's written form */

void gram_build_done(struct gram_build *b);
uint32_t gram_build_state(struct gram_build *b, bool accept);
void gram_build_byte(struct gram_build *b, uint32_t from, uint8_t lo, uint8_t hi, uint32_t to);
void gram_build_call(struct gram_build *b, uint32_t from, uint32_t rule, uint32_t to);
void gram_build_eps(struct gram_build *b, uint32_t from, uint32_t to);
/* A path of these bytes; the state after them. */
uint32_t gram_build_bytes(struct gram_build *b, uint32_t from, struct span bytes);
uint32_t gram_build_rule(struct gram_build *b);
/* Copies d with all its states; the copy of its start. */
uint32_t gram_build_dfa(struct gram_build *b, const struct gram_dfa *d);
/* Keeps what is of use, refuses left recursion and the empty language.  b is done afterwards.
 * name_of gives a rule's name for messages, or NULL. */
enum err gram_build_finish(struct gram **out, struct gram_build *b, uint32_t root,
                           const char *(*name_of)(void *ctx, uint32_t rule), void *ctx,
                           struct errinfo *e);

/* Adds what the schema allows; *start is its first state. */
enum err gram_schema_into(struct gram_build *b, const json_t *schema, const struct gram_opts *opts,
                          uint32_t *start, struct errinfo *e);
/* The same of a part (gram_from_parts). */
enum err gram_part_into(struct gram_build *b, const char *name, const json_t *part, uint32_t *start,
                        struct errinfo *e);

/* ---- the grammar ---- */

struct gram_edge {
    uint32_t to;
    uint8_t lo, hi;
};
struct gram_call {
    uint32_t start, to; /* the rule's start state, and where to go on */
    bool recursive;     /* the rule may lead to this call again */
};
struct gram_node {
    uint32_t edge, n_edges, call, n_calls, eps, n_eps;
    uint32_t like;
    bool accept;
    bool final; /* accepts, and nothing leaves it */
    bool inner; /* of a rule that is called: something may follow its end */
};

struct gram_masks; /* what gram_mask learnt for one vocabulary; gram_mask.c */

struct gram {
    struct gram_node *s;
    struct gram_edge *edge;
    struct gram_call *call;
    uint32_t *eps;
    uint32_t n, n_edges, n_calls, n_eps, root;
    uint32_t n_class;
    uint8_t class_of[256]; /* bytes that no edge tells apart */
    uint8_t byte_of[256];  /* one byte of each class */
    _Atomic(struct gram_masks *) masks;
};

void gram_masks_free(struct gram_masks *m);

/* ---- following text (gram_state.c) ---- */

/* A stack is a set of frames, each a state to return to and the stack below: stacks that differ in
 * depth only share everything else, and many stacks cost as much as one.  Frames, sets and
 * configurations are kept once each (hash-consed) and known by index.  A configuration is a list
 * of (state, set); its successors are remembered, so that following text becomes a table look-up.
 */
struct gram_item {
    uint32_t state, set;
};

struct gram_config {
    uint32_t item, n_items; /* its key, sorted */
    uint32_t live, n_live;  /* after calls and returns: those that can read a byte */
    bool finished;          /* the outermost rule is complete */
    bool ended;             /* part of the key: completed by returning from the key's items */
};

struct gram_table {
    uint32_t *slot; /* index + 1, or 0 */
    uint32_t size, n;
};

#define GRAM_UNKNOWN  0u
#define GRAM_DEAD     1u
#define GRAM_SET_ROOT 0u /* the stack of the outermost rule */

struct gram_state {
    const struct gram *g;
    uint32_t now; /* configuration */
    struct gram_item *frame, *item;
    struct gram_set {
        uint32_t first, n, depth;
    } * set;
    uint32_t *member; /* of sets: frames */
    struct gram_config *config;
    uint32_t *next; /* [config][class] */
    uint32_t n_frame, cap_frame, n_item, cap_item, n_set, cap_set, n_member, cap_member, n_config,
        cap_config, cap_next;
    struct gram_table frames, sets, configs;
    struct gram_item *work, *raw; /* scratch */
    uint64_t *work_slot;          /* of work: round << 32 | index */
    uint32_t work_round, n_work_slot;
    uint32_t n_work, cap_work, n_raw, cap_raw;
    struct gram_memo *memo; /* masks of whole configurations, gram_mask.c */
    uint64_t n_compacted;
    uint32_t *path; /* gram_mask.c: configuration at each depth of a trie */
};

/* The successor, GRAM_DEAD when there is none. */
uint32_t gram_step_slow(struct gram_state *s, uint32_t config, uint32_t byte_class);
static inline uint32_t gram_step(struct gram_state *s, uint32_t config, uint32_t byte_class)
{
    uint32_t to = s->next[(size_t)config * s->g->n_class + byte_class];
    return to != GRAM_UNKNOWN ? to : gram_step_slow(s, config, byte_class);
}
/* The configuration of one state over a stack, and that of returning from a stack. */
uint32_t gram_config_of(struct gram_state *s, uint32_t state, uint32_t set);
uint32_t gram_config_return(struct gram_state *s, uint32_t set);
size_t gram_state_bytes(const struct gram_state *s);
/* Forgets everything but `now` and roots[0..n), whose numbers are changed to the new ones. */
void gram_state_compact(struct gram_state *s, uint32_t *roots, size_t n);
void gram_memo_free(struct gram_memo *m);
#define GRAM_STATE_BYTES_MAX ((size_t)24 << 20)

#endif
