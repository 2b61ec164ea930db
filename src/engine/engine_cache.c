/* SPDX-License-Identifier: MIT
 * engine_cache.c - slots of a file: reading, finding, writing, forgetting.
 *
 * The file: a head, then slots of equal size, each a cache_slot and the page's bytes.  A slot names
 * the slot of the page before it by a number that is given once in the file's life and that rises,
 * so that what was overwritten has no children by mistake, and no ring can be made.  Nothing waits
 * for the disk: a slot that was half written when the machine stopped has a wrong checksum. */
#include "engine/engine_cache.h"

#include "base/arena.h"
#include "base/num.h"
#include "engine/engine_int.h"
#include "os/os_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_VERSION 2 /* also to be raised when kernels begin to give other bits */
#define CACHE_BLOCK   4096
#define CACHE_PIECE   ((size_t)1 << 20) /* written between two questions whether to stop */
#define CACHE_NONE    UINT32_MAX

static const char cache_magic[8] = {'D', 'A', 'M', 'S', 'O', 'K', 'V', '\n'};

struct cache_head {
    char magic[8];
    uint32_t version, page_tokens;
    uint64_t page_bytes, slot_bytes;
    uint64_t key[2];
    uint64_t sum; /* of what is before */
};

struct cache_slot {
    uint64_t id, parent; /* id 0: free; parent 0: the text begins here */
    uint64_t used;
    uint64_t data_sum;
    uint32_t n, zero;
    int32_t token[ENGINE_PAGE];
    uint64_t sum; /* of what is before */
};
_Static_assert(sizeof(struct cache_slot) <= 512, "the page begins after 512 bytes");
#define CACHE_DATA_AT 512

struct cache_entry {
    struct cache_slot s;             /* as the file has it, but for `used` */
    uint64_t used;                   /* now; the file learns it with the next save */
    uint32_t parent, child, sibling; /* slots; CACHE_NONE */
};

struct cache {
    int fd;
    bool broken; /* writing failed once: no more of it */
    size_t page_bytes, slot_bytes;
    struct cache_entry *entry; /* [n] slots of the file */
    size_t n, n_max, n_used;
    uint32_t first; /* of the slots without a parent */
    uint64_t last_id;
    uint64_t learnt_seen; /* prefix.n_learnt when all of it was written */
    struct engine_cache_stat stat;
};

/* ---- keys ---- */

static void mix(uint64_t key[2], const void *p, size_t n)
{
    uint64_t sum = num_sum(p, n);
    key[0] = num_hash(&sum, sizeof sum, key[0]);
    key[1] = num_hash(&sum, sizeof sum, key[1] ^ n);
}

/* Keys of the file but for its texts, on which keys and values do not depend. */
static void mix_keys(uint64_t key[2], const struct gguf *g)
{
    static const size_t size[GGUF_KIND_N] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_BOOL] = 1, [GGUF_U16] = 2,
        [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,  [GGUF_F32] = 4,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        const struct gguf_key *k = gguf_key_at(g, i);
        mix(key, k->name.p, k->name.n);
        if (k->kind == GGUF_STRING)
            mix(key, k->s.p, k->s.n);
        else if (k->kind != GGUF_ARRAY)
            mix(key, &k->u, sizeof k->u);
        else if (k->a.data)
            mix(key, k->a.data, k->a.n * size[k->a.kind]);
    }
}

/* Names, shapes, and bytes from eight places of each tensor: another training leaves none of a
 * tensor's places as it was. */
static void mix_tensors(uint64_t key[2], const struct gguf *g)
{
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        size_t len = MIN(t->bytes, (size_t)64);
        mix(key, t->name.p, t->name.n);
        mix(key, &t->type, sizeof t->type);
        mix(key, t->dims, sizeof t->dims);
        for (size_t k = 0; k < 8; k++)
            mix(key, t->data + (t->bytes - len) / 7 * k, len);
        gguf_forget(g, t, 0, t->bytes); /* what came into memory around them */
    }
}

static void find_key(const struct engine *en, uint64_t key[2])
{
    const struct gguf *g = en->model->gguf;
    const char *level = cpu_level_name(en->opts.level), *kv = kern_kv_name(en->opts.kv);
    uint64_t facts[] = {CACHE_VERSION, ENGINE_PAGE, en->dev->page_bytes, gguf_file_bytes(g), 0, 0};
    struct stat st;
    /* What was changed by hand in a few bytes has another time, if nothing else. */
    if (gguf_path(g) && stat(gguf_path(g), &st) == 0) {
        facts[4] = (uint64_t)st.st_mtim.tv_sec;
        facts[5] = (uint64_t)st.st_mtim.tv_nsec;
    }
    key[0] = 1, key[1] = 2;
    mix(key, facts, sizeof facts);
    mix(key, level, strlen(level));
    mix(key, kv, strlen(kv));
    mix(key, en->dev->name, strlen(en->dev->name));
    if (en->opts.numerics != KERN_NATIVE)
        mix(key, &en->opts.numerics, sizeof en->opts.numerics);
    if (en->model->angles_far.inverse) { /* keys are turned by one set of angles or the other */
        bool far = en->model->angles.inverse == en->model->angles_far.inverse;
        mix(key, &far, sizeof far);
    }
    mix(key, DAMSO_VERSION, sizeof DAMSO_VERSION);
    mix_keys(key, g);
    mix_tensors(key, g);
}

void engine_cache_key(const struct engine *en, char key[ENGINE_CACHE_KEY])
{
    uint64_t k[2];
    find_key(en, k);
    snprintf(key, ENGINE_CACHE_KEY, "%016llx%016llx", (unsigned long long)k[0],
             (unsigned long long)k[1]);
}

/* ---- slots ---- */

static off_t slot_at(const struct cache *c, uint32_t slot)
{
    return (off_t)(CACHE_BLOCK + (uint64_t)slot * c->slot_bytes);
}

static bool read_all(int fd, void *p, size_t n, off_t at)
{
    while (n > 0) {
        ssize_t got = pread(fd, p, n, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        p = (char *)p + got;
        n -= (size_t)got;
        at += got;
    }
    return true;
}

static bool write_all(int fd, const void *p, size_t n, off_t at)
{
    while (n > 0) {
        ssize_t put = pwrite(fd, p, n, at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        p = (const char *)p + put;
        n -= (size_t)put;
        at += put;
    }
    return true;
}

static uint32_t *children_of(struct cache *c, uint32_t slot)
{
    return slot == CACHE_NONE ? &c->first : &c->entry[slot].child;
}

static void link_entry(struct cache *c, uint32_t slot, uint32_t parent)
{
    struct cache_entry *x = &c->entry[slot];
    uint32_t *first = children_of(c, parent);
    x->parent = parent;
    x->child = CACHE_NONE;
    x->sibling = *first;
    *first = slot;
    c->n_used++;
}

/* Nodes of the tree in memory no longer have a slot. */
static void unlink_nodes(struct engine *en, uint32_t slot)
{
    for (size_t i = 1; i <= en->n_pages; i++)
        if (en->prefix.node[i].slot == slot)
            en->prefix.node[i].slot = CACHE_NONE;
}

static void remove_leaf(struct engine *en, uint32_t slot)
{
    static const struct cache_slot nothing;
    struct cache *c = en->cache;
    uint32_t *link = children_of(c, c->entry[slot].parent);
    while (*link != slot)
        link = &c->entry[*link].sibling;
    *link = c->entry[slot].sibling;
    c->entry[slot].s.id = 0;
    c->n_used--;
    unlink_nodes(en, slot);
    if (!c->broken)
        c->broken = !write_all(c->fd, &nothing, sizeof nothing, slot_at(c, slot));
}

/* With what follows it. */
static void remove_entry(struct engine *en, uint32_t slot)
{
    const struct cache_entry *x = en->cache->entry;
    for (uint32_t at = slot;;) {
        while (x[at].child != CACHE_NONE)
            at = x[at].child;
        uint32_t up = x[at].parent;
        remove_leaf(en, at);
        if (at == slot)
            return;
        at = up;
    }
}

/* The slot after `parent` that shares most of tokens[n]. */
static uint32_t best_slot(struct cache *c, uint32_t parent, const int32_t *tokens, size_t n,
                          size_t *shared)
{
    uint32_t best = CACHE_NONE;
    *shared = 0;
    for (uint32_t s = *children_of(c, parent); s != CACHE_NONE; s = c->entry[s].sibling) {
        const struct cache_slot *x = &c->entry[s].s;
        size_t k = prefix_common(x->token, tokens, MIN(n, (size_t)x->n));
        if (k > *shared) {
            *shared = k;
            best = s;
        }
    }
    return best;
}

/* ---- opening ---- */

static bool slot_is_sound(const struct engine *en, const struct cache_slot *s)
{
    bool sound = s->id > s->parent && s->n >= 1 && s->n <= ENGINE_PAGE &&
                 s->sum == num_sum(s, offsetof(struct cache_slot, sum));
    for (size_t i = 0; sound && i < s->n; i++)
        sound = engine_in_span(s->token[i]) || (size_t)s->token[i] < en->model->n_vocab;
    return sound;
}

struct cache_number {
    uint64_t id;
    uint32_t slot;
};

static int by_id(const void *a, const void *b)
{
    const struct cache_number *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Parents come before their children; what has none that is sound is free. */
static void link_all(struct cache *c)
{
    struct cache_number *by = mem_alloc(c->n * sizeof *by), *up;
    size_t n = 0;
    for (uint32_t i = 0; i < c->n; i++)
        if (c->entry[i].s.id)
            by[n++] = (struct cache_number){c->entry[i].s.id, i};
    qsort(by, n, sizeof *by, by_id);
    for (size_t i = 0; i < n; i++) {
        struct cache_entry *x = &c->entry[by[i].slot];
        struct cache_number want = {x->s.parent, 0};
        up = bsearch(&want, by, i, sizeof *by, by_id);
        bool twice = i > 0 && by[i - 1].id == by[i].id;
        bool orphan = want.id &&
                      (!up || !c->entry[up->slot].s.id || c->entry[up->slot].s.n != ENGINE_PAGE);
        if (twice || orphan)
            x->s.id = 0;
        else
            link_entry(c, by[i].slot, up ? up->slot : CACHE_NONE);
        c->last_id = by[i].id;
    }
    mem_free(by);
}

static void read_slots(struct engine *en, uint64_t file_bytes)
{
    struct cache *c = en->cache;
    size_t gap = c->slot_bytes - CACHE_DATA_AT - c->page_bytes; /* the last slot may lack it */
    c->n = (size_t)((file_bytes - CACHE_BLOCK + gap) / c->slot_bytes);
    if (c->n > c->n_max) {
        c->n = c->n_max; /* the limit is lower than it was */
        c->broken = ftruncate(c->fd, slot_at(c, (uint32_t)c->n)) != 0;
    }
    c->entry = mem_alloc(c->n_max * sizeof *c->entry);
    for (uint32_t i = 0; i < c->n; i++) {
        struct cache_entry *x = &c->entry[i];
        bool read = read_all(c->fd, &x->s, sizeof x->s, slot_at(c, i));
        if (read && x->s.id == 0)
            continue;
        if (!read || !slot_is_sound(en, &x->s)) {
            c->stat.n_damaged++;
            x->s.id = 0;
            continue;
        }
        x->used = x->s.used;
        en->prefix.clock = MAX(en->prefix.clock, x->used);
    }
    link_all(c);
}

static struct cache_head make_head(const struct engine *en)
{
    struct cache_head h = {.version = CACHE_VERSION,
                           .page_tokens = ENGINE_PAGE,
                           .page_bytes = en->cache->page_bytes,
                           .slot_bytes = en->cache->slot_bytes};
    memcpy(h.magic, cache_magic, sizeof h.magic);
    find_key(en, h.key);
    h.sum = num_sum(&h, offsetof(struct cache_head, sum));
    return h;
}

static enum err check_head(const struct cache_head *want, const struct cache_head *got,
                           const char *path, struct errinfo *e)
{
    if (memcmp(got->magic, cache_magic, sizeof got->magic) != 0)
        return err_set(e, ERR_CORRUPT, "%s is no cache of known beginnings; it is left as it is",
                       path);
    if (got->sum != num_sum(got, offsetof(struct cache_head, sum)))
        return err_set(e, ERR_CORRUPT, "%s is damaged; it is left as it is and may be deleted",
                       path);
    if (memcmp(got, want, sizeof *got) != 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s was made for another model, another instruction set or another version "
                       "of this program; it may be deleted",
                       path);
    return ERR_OK;
}

static enum err open_file(struct engine *en, const char *path, uint64_t max_bytes,
                          struct errinfo *e)
{
    struct cache *c = en->cache;
    struct cache_head want = make_head(en), got;
    struct stat st;
    uint64_t n_max = max_bytes < CACHE_BLOCK ? 0 : (max_bytes - CACHE_BLOCK) / c->slot_bytes;
    if (n_max == 0)
        return err_set(e, ERR_TOOBIG, "%s: a cache of %llu bytes has no room for a page of %zu",
                       path, (unsigned long long)max_bytes, c->slot_bytes);
    c->n_max = (size_t)MIN(n_max, (uint64_t)CACHE_NONE - 1);
    c->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (c->fd < 0 || fstat(c->fd, &st) != 0)
        return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_IO, "%s is not a file", path);
    if (flock(c->fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(e, ERR_BUSY, "%s is used by another process", path);
    if (fstat(c->fd, &st) != 0)
        return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (st.st_size == 0) {
        char block[CACHE_BLOCK] = {0};
        memcpy(block, &want, sizeof want);
        if (!write_all(c->fd, block, sizeof block, 0))
            return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
        st.st_size = CACHE_BLOCK;
    }
    if (st.st_size < CACHE_BLOCK || !read_all(c->fd, &got, sizeof got, 0))
        return err_set(e, ERR_CORRUPT, "%s is too short; it is left as it is and may be deleted",
                       path);
    TRY(check_head(&want, &got, path, e));
    read_slots(en, (uint64_t)st.st_size);
    return ERR_OK;
}

enum err engine_cache_open(struct engine *en, const char *path, uint64_t max_bytes,
                           struct errinfo *e)
{
    CHECK(!en->cache);
    if (en->model->bidirectional)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: an encoder (%s) keeps nothing of its texts: what it makes of a token "
                       "depends on what follows",
                       path, en->model->arch->name);
    if (en->model->has_state)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: known beginnings are not kept on disk for the family %s, whose layers "
                       "have states beside their pages",
                       path, en->model->arch->name);
    if (!en->dev->page)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: known beginnings are not kept on disk where several processes compute "
                       "the model",
                       path);
    struct cache *c = en->cache = mem_alloc(sizeof *c);
    c->fd = -1;
    c->first = CACHE_NONE;
    c->page_bytes = en->dev->page_bytes;
    c->slot_bytes = num_align(CACHE_DATA_AT + c->page_bytes, CACHE_BLOCK);
    enum err r = open_file(en, path, max_bytes, e);
    if (r != ERR_OK)
        engine_cache_close(en);
    return r;
}

void engine_cache_close(struct engine *en)
{
    struct cache *c = en->cache;
    if (!c)
        return;
    for (size_t i = 1; i <= en->n_pages; i++)
        en->prefix.node[i].slot = CACHE_NONE;
    if (c->fd >= 0)
        close(c->fd);
    mem_free(c->entry);
    mem_free(c);
    en->cache = NULL;
}

/* ---- from the file into the tree ---- */

/* A node that was computed may be in the file as well. */
static uint32_t slot_of(struct engine *en, uint32_t at)
{
    struct prefix_node *n = &en->prefix.node[at];
    if (at == PREFIX_ROOT || n->slot != CACHE_NONE)
        return at == PREFIX_ROOT ? CACHE_NONE : n->slot;
    if (n->parent != PREFIX_ROOT && en->prefix.node[n->parent].slot == CACHE_NONE)
        return CACHE_NONE;
    size_t shared;
    uint32_t up = n->parent == PREFIX_ROOT ? CACHE_NONE : en->prefix.node[n->parent].slot;
    uint32_t s = best_slot(en->cache, up, n->token, n->n, &shared);
    if (s != CACHE_NONE && shared == n->n) /* which may go on where an unfilled page ends */
        n->slot = s;
    return n->slot;
}

/* The pages from the root down to node `at`. */
static void hold_way(struct engine *en, uint32_t at, void (*hold)(struct engine *en, uint32_t page))
{
    for (; at != PREFIX_ROOT; at = en->prefix.node[at].parent)
        hold(en, en->prefix.node[at].page);
}

/* Into a page of its own as a child of node `at`; PREFIX_NONE when it cannot be read or no memory
 * is free. */
static uint32_t fetch_one(struct engine *en, uint32_t at, uint32_t slot)
{
    struct cache *c = en->cache;
    const struct cache_slot *s = &c->entry[slot].s;
    uint32_t node = PREFIX_NONE;
    hold_way(en, at, engine_page_hold); /* or taking a page might forget it */
    if (engine_pages_free(en) == 0) {
        hold_way(en, at, engine_page_drop);
        return PREFIX_NONE;
    }
    uint32_t page = engine_page_take(en);
    void *data = en->dev->page(en->dev, page);
    if (read_all(c->fd, data, c->page_bytes, slot_at(c, slot) + CACHE_DATA_AT) &&
        num_sum(data, c->page_bytes) == s->data_sum) {
        node = prefix_add(en, 0, at, page, s->token, s->n);
        en->prefix.node[node].slot = slot;
        c->stat.n_read++;
    }
    engine_page_drop(en, page);
    hold_way(en, at, engine_page_drop);
    if (node == PREFIX_NONE) {
        c->stat.n_damaged++;
        remove_entry(en, slot);
    }
    return node;
}

bool engine_cache_fetch(struct engine *en, const int32_t *tokens, size_t n, uint64_t until)
{
    uint32_t at = PREFIX_ROOT;
    size_t most = n - (n > 0), known, on_disk;
    if (!en->cache)
        return false;
    for (size_t i = 0; i < most; i += ENGINE_PAGE) {
        size_t want = MIN(most - i, (size_t)ENGINE_PAGE);
        uint32_t child = prefix_child(en, 0, at, tokens + i, want, &known);
        if (known < ENGINE_PAGE) {
            uint32_t up = slot_of(en, at);
            if (at != PREFIX_ROOT && up == CACHE_NONE)
                return false;
            uint32_t slot = best_slot(en->cache, up, tokens + i, want, &on_disk);
            if (on_disk <= known)
                return false;
            child = fetch_one(en, at, slot);
            if (child == PREFIX_NONE || on_disk < ENGINE_PAGE)
                return false;
            if (os_now_ns() >= until)
                return true;
        }
        slot_of(en, child);
        at = child;
    }
    return false;
}

/* ---- from the tree into the file ---- */

bool engine_cache_is_behind(const struct engine *en)
{
    const struct cache *c = en->cache;
    return c && !c->broken && c->learnt_seen != en->prefix.n_learnt;
}

/* A slot to write in: a free one, a new one, or that of the leaf that served longest ago, when
 * that is longer ago than `used`. */
static uint32_t take_slot(struct engine *en, uint32_t parent, uint64_t used)
{
    struct cache *c = en->cache;
    uint32_t oldest = CACHE_NONE;
    for (uint32_t i = 0; c->n_used < c->n && i < c->n; i++)
        if (c->entry[i].s.id == 0)
            return i;
    if (c->n < c->n_max)
        return (uint32_t)c->n++;
    for (uint32_t i = 0; i < c->n; i++)
        if (c->entry[i].child == CACHE_NONE && i != parent &&
            (oldest == CACHE_NONE || c->entry[i].used < c->entry[oldest].used))
            oldest = i;
    if (oldest == CACHE_NONE || c->entry[oldest].used >= used)
        return CACHE_NONE;
    remove_leaf(en, oldest);
    return oldest;
}

struct cache_save {
    struct engine *en;
    bool (*stop)(void *arg);
    void *stop_arg;
    bool stopped;
};

static bool stops(struct cache_save *v)
{
    return v->stopped = v->stopped || (v->stop && v->stop(v->stop_arg));
}

static bool write_slot(struct cache *c, uint32_t slot)
{
    struct cache_slot *s = &c->entry[slot].s;
    s->used = c->entry[slot].used;
    s->sum = num_sum(s, offsetof(struct cache_slot, sum));
    return write_all(c->fd, s, sizeof *s, slot_at(c, slot));
}

/* The page first, then what makes it count. */
static void write_node(struct cache_save *v, uint32_t at)
{
    struct engine *en = v->en;
    struct cache *c = en->cache;
    struct prefix_node *n = &en->prefix.node[at];
    uint32_t up = n->parent == PREFIX_ROOT ? CACHE_NONE : en->prefix.node[n->parent].slot;
    size_t shared;
    uint32_t less = best_slot(c, up, n->token, n->n, &shared);
    if (less != CACHE_NONE && shared == c->entry[less].s.n)
        remove_leaf(en, less); /* an unfilled page of which this one has all */
    uint32_t slot = take_slot(en, up, n->used);
    if (slot == CACHE_NONE)
        return;
    const char *data = en->dev->page(en->dev, n->page);
    for (size_t done = 0, len; done < c->page_bytes; done += len) {
        len = MIN(c->page_bytes - done, CACHE_PIECE);
        if (!write_all(c->fd, data + done, len, slot_at(c, slot) + CACHE_DATA_AT + (off_t)done)) {
            c->broken = true;
            return;
        }
        if (stops(v))
            return;
    }
    c->entry[slot] = (struct cache_entry){
        .s = {.id = ++c->last_id, .parent = up == CACHE_NONE ? 0 : c->entry[up].s.id, .n = n->n},
        .used = n->used
    };
    struct cache_slot *s = &c->entry[slot].s;
    memcpy(s->token, n->token, n->n * sizeof *s->token);
    s->data_sum = num_sum(data, c->page_bytes);
    link_entry(c, slot, up);
    n->slot = slot;
    c->stat.n_written++;
    c->broken = !write_slot(c, slot);
}

struct cache_order {
    uint64_t used;
    uint32_t depth, node;
};

static int by_use(const void *a, const void *b)
{
    const struct cache_order *x = a, *y = b;
    if (x->used != y->used)
        return (x->used < y->used) - (x->used > y->used);
    return (x->depth > y->depth) - (x->depth < y->depth);
}

/* What served last first, and parents, which serve with their children, before them. */
static size_t order_nodes(struct engine *en, struct cache_order *out)
{
    const struct prefix_node *node = en->prefix.node;
    size_t n = 0;
    for (uint32_t i = 1; i <= en->n_pages; i++) {
        if (node[i].n == 0 || node[i].lora != 0) /* adapters have no names that last */
            continue;
        struct cache_order *o = &out[n++];
        *o = (struct cache_order){.used = node[i].used, .node = i};
        for (uint32_t up = node[i].parent; up != PREFIX_ROOT; up = node[up].parent)
            o->depth++;
    }
    qsort(out, n, sizeof *out, by_use);
    return n;
}

static void write_news(struct cache_save *v)
{
    struct engine *en = v->en;
    struct cache *c = en->cache;
    struct prefix_node *node = en->prefix.node;
    struct cache_order *order = mem_alloc(en->n_pages * sizeof *order);
    size_t n = order_nodes(en, order);
    for (size_t i = 0; i < n; i++) { /* before anything is forgotten for what is new */
        uint32_t slot = slot_of(en, order[i].node);
        if (slot != CACHE_NONE)
            c->entry[slot].used = MAX(c->entry[slot].used, order[i].used);
    }
    for (size_t i = 0; i < n && !c->broken && !stops(v); i++) {
        struct prefix_node *x = &node[order[i].node];
        if (x->slot == CACHE_NONE &&
            (x->parent == PREFIX_ROOT || node[x->parent].slot != CACHE_NONE))
            write_node(v, order[i].node);
    }
    for (uint32_t i = 0; i < c->n && !c->broken && !stops(v); i++)
        if (c->entry[i].s.id && c->entry[i].s.used != c->entry[i].used)
            c->broken = !write_slot(c, i);
    mem_free(order);
}

enum err engine_cache_save(struct engine *en, bool (*stop)(void *arg), void *stop_arg,
                           struct errinfo *e)
{
    struct cache_save v = {.en = en, .stop = stop, .stop_arg = stop_arg};
    if (!engine_cache_is_behind(en))
        return ERR_OK;
    uint64_t n_learnt = en->prefix.n_learnt;
    errno = 0;
    write_news(&v);
    if (en->cache->broken)
        return err_set(e, ERR_IO, "the cache of known beginnings cannot be written: %s",
                       errno ? strerror(errno) : "a write came to nothing");
    if (v.stopped)
        return err_set(e, ERR_CANCELLED, "cancelled");
    en->cache->learnt_seen = n_learnt;
    return ERR_OK;
}

struct engine_cache_stat engine_cache_stat(const struct engine *en)
{
    if (!en->cache)
        return (struct engine_cache_stat){0};
    struct engine_cache_stat st = en->cache->stat;
    st.n_pages = en->cache->n_used;
    st.n_pages_max = en->cache->n_max;
    return st;
}
