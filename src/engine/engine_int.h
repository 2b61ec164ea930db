/* SPDX-License-Identifier: MIT
 * engine_int.h - what the files of this module share; nobody else includes it. */
#ifndef ENGINE_ENGINE_INT_H
#define ENGINE_ENGINE_INT_H

#include "dev/dev.h"
#include "engine/engine.h"
#include "plan/plan.h"

#define PREFIX_NONE UINT32_MAX
#define PREFIX_ROOT 0 /* holds no page: every text begins there */

/* One page of a text that some sequence ran: the tokens on the way from the root are what comes
 * before it.  Only full pages have children. */
struct prefix_node {
    uint32_t page;
    uint32_t parent;
    uint32_t n_children;
    uint32_t before, after; /* in its bucket; free nodes are linked by `after`; PREFIX_NONE: none */
    uint32_t n;             /* tokens, 1 to ENGINE_PAGE */
    uint64_t used;          /* the clock when it last served */
    uint32_t older, newer;  /* by that, the root between the newest and the oldest */
    uint32_t slot;          /* of the cache's file; PREFIX_NONE */
    uint64_t lora;          /* of the adapters it was read with (lora_key); 0: none */
    int32_t token[ENGINE_PAGE];
};

struct prefix {
    struct prefix_node *node; /* [n_pages + 1]: no more nodes than pages, and the root */
    uint32_t free;            /* first free node */
    /* [mask + 1]: the newest node of those with one hash of parent, adapters and first token.  A
     * root may have as many children as there are pages. */
    uint32_t *bucket;
    size_t mask;
    uint64_t clock;
    uint64_t n_learnt; /* nodes ever made from what was run */
};

/* What a state was after a text: that of a node and n_rest tokens behind it (engine_state.c). */
struct state_mark {
    bool there;
    uint32_t node;
    size_t n_rest;
    uint64_t lora; /* the adapters' key */
    uint64_t used; /* the tree's clock when it last served */
    int32_t rest[ENGINE_PAGE];
};

struct engine {
    struct model *model;
    struct plan *plan;
    struct dev *dev;
    struct engine_opts opts;
    struct engine_memory memory;
    size_t n_pages, n_free;
    uint32_t *free;       /* [n_free] pages */
    uint32_t *refs;       /* [n_pages]: sequences that list the page, and 1 for the tree */
    bool *learnt;         /* [n_pages]: the tree holds the page */
    size_t n_cached;      /* pages that only the tree holds: free when they are needed */
    struct dev_row *rows; /* [batch] */
    size_t n_states, n_free_states, n_marks; /* slots: those of sequences are the others */
    uint32_t *free_states;                   /* [n_free_states] */
    struct state_mark *marks;                /* [n_states]: of the slots that are marks */
    struct prefix prefix;
    struct cache *cache;      /* engine_cache.c; NULL: none */
    struct model_lora **lora; /* [n_lora] */
    size_t n_lora;
};

struct engine_seq {
    struct engine *en;
    int32_t *tokens; /* [ctx] */
    uint32_t *pages; /* [pages of ctx] */
    size_t n;        /* tokens */
    size_t n_draft;  /* the last of them, which may be cut off again */
    size_t n_pages;
    size_t n_learnt; /* full pages that the tree holds too */
    uint32_t node;   /* of the last of them; the root when there is none */
    uint32_t state;  /* its slot; DEV_NONE: none yet */
    size_t mark;     /* where a mark is asked for; 0: nowhere */
    size_t branch;   /* where it leaves a text that the tree knows, and no mark is; 0: nowhere */
    size_t second;   /* where tokens of the second type begin */
    const struct engine_span *spans; /* [n_spans] of its text */
    size_t n_spans;
    struct dev_lora lora;
    uint64_t lora_key;
};

/* ---- spans (engine_span.c) ---- */

/* The span that holds a position; NULL: none. */
const struct engine_span *span_at(const struct engine_seq *s, size_t pos);
/* Rows of one sequence that begin at its length: those in spans are all of them. */
enum err span_check(const struct engine_seq *s, const struct engine_row *rows, size_t n,
                    struct errinfo *e);
/* Of a row at a position: what the device has to know of its span. */
void span_set(const struct engine_seq *s, size_t pos, struct dev_row *row);
/* Nothing of a span that is not whole is taken over: a few rows would be known by too few bits. */
void span_whole(struct engine_seq *s, int32_t next);

/* ---- pages (engine.c) ---- */

/* A page with one reference: a free one, or the one that the tree used longest ago.  The caller has
 * seen that there is one. */
uint32_t engine_page_take(struct engine *en);
void engine_page_hold(struct engine *en, uint32_t page);
void engine_page_drop(struct engine *en, uint32_t page);

/* ---- the tree of known beginnings (engine_prefix.c) ---- */

void prefix_init(struct engine *en);
void prefix_done(struct engine *en);
/* The tree learns the pages that the sequence has filled, but with no draft.  Where it knows the
 * same text already, the sequence takes over the tree's page, which holds the same bits. */
void prefix_learn(struct engine_seq *s);
/* The sequence ends: what its last, unfilled page holds is learnt too. */
void prefix_learn_rest(struct engine_seq *s);
/* The sequence is cut to fewer full pages than were learnt. */
void prefix_cut(struct engine_seq *s, size_t n_full);
/* The child of node `at` that shares most of tokens[n] read with those adapters, and how many;
 * PREFIX_NONE. */
uint32_t prefix_child(const struct engine *en, uint64_t lora, uint32_t at, const int32_t *tokens,
                      size_t n, size_t *shared);
/* A page that the caller holds becomes known as what follows node `at`. */
uint32_t prefix_add(struct engine *en, uint64_t lora, uint32_t at, uint32_t page,
                    const int32_t *tokens, size_t n);
/* What tells texts of other adapters apart; 0 of none. */
uint64_t lora_key(const struct engine_lora *lora);
void lora_done(struct engine *en);
/* How many of the first n tokens are the same. */
size_t prefix_common(const int32_t *a, const int32_t *b, size_t n);
/* Forgets the page that served longest ago and that only the tree holds; there is one. */
void prefix_forget_one(struct engine *en);

/* ---- states (engine_state.c); all do nothing for models without them ---- */

size_t state_slots(const struct engine_opts *o); /* as many as are of use */
void state_init(struct engine *en);
void state_done(struct engine *en);
size_t state_free(const struct engine *en); /* slots that new sequences could have now */
/* A slot of zeros for a sequence that has none; false: there is none. */
bool state_begin(struct engine_seq *s);
void state_give_back(struct engine_seq *s);
/* The sequence ends: what its state is becomes a mark. */
void state_leave(struct engine_seq *s);
/* How many of the first n tokens may be taken over from the tree. */
size_t state_reusable(struct engine_seq *s, const int32_t *tokens, size_t n);
/* The sequence took over what it has now: its state, too; false: that is not known. */
bool state_reuse(struct engine_seq *s);
/* Back to what the state was after n tokens or, if that is not known, fewer: gives how many. */
size_t state_cut(struct engine_seq *s, size_t n);
/* A slot for what the state will be after the sequence's last token, where that is worth a mark;
 * when the step is over it becomes one, of the first n tokens. */
uint32_t state_keep(struct engine_seq *s);
void state_kept(struct engine_seq *s, uint32_t slot, size_t n);
/* The tree forgets a node. */
void state_forget_node(struct engine *en, uint32_t node);

#endif
