/* SPDX-License-Identifier: MIT
 * engine_prefix.c - a tree of the texts that were run, page by page, so that what begins alike is
 * computed once: the next turn of a conversation, a system message that many share.
 *
 * A sequence holds the tree's pages from the root down to its node, so a page that only the tree
 * holds has no descendant that a sequence holds: all such pages can go, leaves first. */
#include "engine/engine_int.h"

#include "base/arena.h"
#include "base/num.h"

#include <string.h>

void prefix_init(struct engine *en)
{
    struct prefix *p = &en->prefix;
    p->node = mem_alloc((en->n_pages + 1) * sizeof *p->node);
    p->node[PREFIX_ROOT] = (struct prefix_node){
        .page = PREFIX_NONE, .parent = PREFIX_NONE, .older = PREFIX_ROOT, .newer = PREFIX_ROOT};
    p->free = PREFIX_NONE;
    for (size_t i = en->n_pages; i > PREFIX_ROOT; i--) {
        p->node[i].after = p->free;
        p->free = (uint32_t)i;
    }
    for (p->mask = 1; p->mask < en->n_pages;)
        p->mask = 2 * p->mask + 1;
    p->bucket = mem_alloc((p->mask + 1) * sizeof *p->bucket);
    for (size_t i = 0; i <= p->mask; i++)
        p->bucket[i] = PREFIX_NONE;
}

void prefix_done(struct engine *en)
{
    mem_free(en->prefix.node);
    mem_free(en->prefix.bucket);
}

size_t prefix_common(const int32_t *a, const int32_t *b, size_t n)
{
    size_t i = 0;
    while (i < n && a[i] == b[i])
        i++;
    return i;
}

/* ---- children ---- */

static uint32_t *bucket_of(const struct prefix *p, uint64_t lora, uint32_t parent, int32_t token)
{
    const uint64_t key[] = {lora, (uint64_t)parent << 32 | (uint32_t)token};
    return &p->bucket[num_hash(key, sizeof key, 0) & p->mask];
}

static void put_child(struct prefix *p, uint32_t at)
{
    struct prefix_node *n = &p->node[at];
    uint32_t *bucket = bucket_of(p, n->lora, n->parent, n->token[0]);
    n->before = PREFIX_NONE;
    n->after = *bucket;
    if (n->after != PREFIX_NONE)
        p->node[n->after].before = at;
    *bucket = at;
    p->node[n->parent].n_children++;
}

static void take_child(struct prefix *p, uint32_t at)
{
    struct prefix_node *n = &p->node[at];
    if (n->after != PREFIX_NONE)
        p->node[n->after].before = n->before;
    if (n->before != PREFIX_NONE)
        p->node[n->before].after = n->after;
    else
        *bucket_of(p, n->lora, n->parent, n->token[0]) = n->after;
    p->node[n->parent].n_children--;
}

/* The child of `at` that shares most of tokens[n], of several the newest, and how many. */
static uint32_t best_child(const struct prefix *p, uint64_t lora, uint32_t at,
                           const int32_t *tokens, size_t n, size_t *shared)
{
    uint32_t best = PREFIX_NONE;
    *shared = 0;
    if (n == 0) /* there is no token to look for */
        return best;
    for (uint32_t c = *bucket_of(p, lora, at, tokens[0]); c != PREFIX_NONE; c = p->node[c].after) {
        const struct prefix_node *x = &p->node[c];
        if (x->parent != at || x->lora != lora)
            continue;
        size_t k = prefix_common(x->token, tokens, MIN(n, (size_t)x->n));
        if (k > *shared) {
            *shared = k;
            best = c;
        }
    }
    return best;
}

/* ---- which served last ---- */

static void take_out(struct prefix *p, uint32_t at)
{
    struct prefix_node *n = &p->node[at];
    p->node[n->older].newer = n->newer;
    p->node[n->newer].older = n->older;
}

static void put_newest(struct prefix *p, uint32_t at)
{
    uint32_t before = p->node[PREFIX_ROOT].older;
    p->node[at].older = before;
    p->node[at].newer = PREFIX_ROOT;
    p->node[before].newer = p->node[PREFIX_ROOT].older = at;
}

/* From the end of a text up, so that it is older than what it begins with. */
static void touch(struct prefix *p, uint32_t at)
{
    p->clock++;
    for (; at != PREFIX_ROOT; at = p->node[at].parent) {
        p->node[at].used = p->clock;
        take_out(p, at);
        put_newest(p, at);
    }
}

/* ---- learning ---- */

static uint32_t add_child(struct engine *en, uint64_t lora, uint32_t parent, uint32_t page,
                          const int32_t *tokens, size_t n)
{
    struct prefix *p = &en->prefix;
    uint32_t at = p->free;
    CHECK(at != PREFIX_NONE); /* a node a page at most */
    p->free = p->node[at].after;
    p->node[at] = (struct prefix_node){
        .page = page, .parent = parent, .slot = PREFIX_NONE, .lora = lora, .n = (uint32_t)n};
    memcpy(p->node[at].token, tokens, n * sizeof *tokens);
    put_child(p, at);
    put_newest(p, at);
    engine_page_hold(en, page);
    en->learnt[page] = true;
    return at;
}

static void remove_node(struct engine *en, uint32_t at)
{
    struct prefix *p = &en->prefix;
    CHECK(p->node[at].n_children == 0);
    take_child(p, at);
    take_out(p, at);
    state_forget_node(en, at);
    uint32_t page = p->node[at].page;
    en->learnt[page] = false;
    en->n_cached -= en->refs[page] == 1;
    engine_page_drop(en, page);
    p->node[at].n = 0;
    p->node[at].after = p->free;
    p->free = at;
}

uint32_t prefix_child(const struct engine *en, uint64_t lora, uint32_t at, const int32_t *tokens,
                      size_t n, size_t *shared)
{
    return best_child(&en->prefix, lora, at, tokens, n, shared);
}

uint32_t prefix_add(struct engine *en, uint64_t lora, uint32_t at, uint32_t page,
                    const int32_t *tokens, size_t n)
{
    size_t shared;
    uint32_t c = best_child(&en->prefix, lora, at, tokens, n, &shared);
    /* An unfilled page of the same beginning has nothing that this one has not. */
    if (c != PREFIX_NONE && shared == en->prefix.node[c].n)
        remove_node(en, c);
    c = add_child(en, lora, at, page, tokens, n);
    touch(&en->prefix, c);
    return c;
}

static void learn_page(struct engine_seq *s, size_t i)
{
    struct engine *en = s->en;
    struct prefix *p = &en->prefix;
    const int32_t *tokens = s->tokens + i * ENGINE_PAGE;
    size_t shared;
    uint32_t c = best_child(p, s->lora_key, s->node, tokens, ENGINE_PAGE, &shared);
    if (shared == ENGINE_PAGE) {
        if (p->node[c].page != s->pages[i]) {
            engine_page_hold(en, p->node[c].page);
            engine_page_drop(en, s->pages[i]);
            s->pages[i] = p->node[c].page;
        }
        s->node = c;
        return;
    }
    s->node = prefix_add(en, s->lora_key, s->node, s->pages[i], tokens, ENGINE_PAGE);
    p->n_learnt++;
}

void prefix_learn(struct engine_seq *s)
{
    size_t n_full = (s->n - s->n_draft) / ENGINE_PAGE;
    if (s->n_learnt == n_full || s->en->model->bidirectional) /* of use to no other text */
        return;
    while (s->n_learnt < n_full)
        learn_page(s, s->n_learnt++);
    touch(&s->en->prefix, s->node);
}

void prefix_cut(struct engine_seq *s, size_t n_full)
{
    for (; s->n_learnt > n_full; s->n_learnt--)
        s->node = s->en->prefix.node[s->node].parent;
}

void prefix_learn_rest(struct engine_seq *s)
{
    struct prefix *p = &s->en->prefix;
    const int32_t *tokens = s->tokens + s->n / ENGINE_PAGE * ENGINE_PAGE;
    size_t n = s->n % ENGINE_PAGE, shared;
    if (n == 0 || s->n_learnt != s->n / ENGINE_PAGE || s->en->model->bidirectional)
        return;
    best_child(p, s->lora_key, s->node, tokens, n, &shared);
    if (shared == n)
        return;
    prefix_add(s->en, s->lora_key, s->node, s->pages[s->n_pages - 1], tokens, n);
    p->n_learnt++;
}

void prefix_forget_one(struct engine *en)
{
    const struct prefix_node *node = en->prefix.node;
    uint32_t at = node[PREFIX_ROOT].newer; /* the oldest */
    while (at != PREFIX_ROOT && (node[at].n_children || en->refs[node[at].page] != 1))
        at = node[at].newer;
    CHECK(at != PREFIX_ROOT);
    remove_node(en, at);
}

/* ---- using ---- */

/* A copy of the first n tokens of the page of node c, as the sequence's own last page. */
static void copy_start(struct engine_seq *s, uint32_t c, size_t n)
{
    struct engine *en = s->en;
    uint32_t from = en->prefix.node[c].page;
    engine_page_hold(en, from); /* or taking a page might forget it */
    uint32_t page = engine_page_take(en);
    en->dev->copy_page(en->dev, page, from);
    engine_page_drop(en, from);
    s->pages[s->n_pages++] = page;
    memcpy(s->tokens + s->n, en->prefix.node[c].token, n * sizeof *s->tokens);
    s->n += n;
}

size_t engine_pages_shared(const struct engine *en, const struct engine_lora *lora,
                           const int32_t *tokens, size_t n)
{
    const struct prefix *p = &en->prefix;
    uint64_t key = lora_key(lora);
    size_t n_pages = 0, shared;
    uint32_t at = PREFIX_ROOT;
    for (; (n_pages + 1) * ENGINE_PAGE < n; n_pages++) {
        at = best_child(p, key, at, tokens + n_pages * ENGINE_PAGE, ENGINE_PAGE, &shared);
        if (shared < ENGINE_PAGE || en->refs[p->node[at].page] == 1)
            break;
    }
    return n_pages;
}

void engine_know(struct engine *en, const int32_t *tokens, size_t n)
{
    struct engine_seq *s = engine_seq_new(en);
    CHECK(en->opts.sim.dry && !en->model->has_state);
    n = MIN(n, en->opts.ctx);
    engine_seq_reuse(s, tokens, n);
    for (; s->n < n; s->n++) {
        if (s->n % ENGINE_PAGE == 0 && engine_pages_free(en) == 0)
            break;
        if (s->n % ENGINE_PAGE == 0)
            s->pages[s->n_pages++] = engine_page_take(en);
        s->tokens[s->n] = tokens[s->n];
    }
    prefix_learn(s);
    engine_seq_free(s);
}

size_t engine_seq_reuse(struct engine_seq *s, const int32_t *tokens, size_t n)
{
    struct engine *en = s->en;
    struct prefix *p = &en->prefix;
    size_t most = MIN(n, en->opts.ctx), shared = 0;
    uint32_t c = PREFIX_NONE;
    CHECK(s->n == 0);
    most -= most > 0; /* the last token is run: its logits are wanted */
    most = state_reusable(s, tokens, most);
    while (s->n < most) {
        c = best_child(p, s->lora_key, s->node, tokens + s->n,
                       MIN(most - s->n, (size_t)ENGINE_PAGE), &shared);
        if (shared < ENGINE_PAGE)
            break;
        engine_page_hold(en, p->node[c].page);
        s->pages[s->n_pages++] = p->node[c].page;
        memcpy(s->tokens + s->n, p->node[c].token, sizeof p->node[c].token);
        s->n += ENGINE_PAGE;
        s->n_learnt++;
        s->node = c;
    }
    if (s->n < most && shared > 0 && en->n_free + en->n_cached > 1)
        copy_start(s, c, shared);
    touch(p, s->node);
    if (!state_reuse(s))
        engine_seq_cut(s, 0);
    if (s->n < n)
        span_whole(s, tokens[s->n]);
    return s->n;
}
