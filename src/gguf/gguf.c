/* SPDX-License-Identifier: MIT
 * gguf.c - opening (one file or all parts of a split model) and questions about keys. */
#include "gguf/gguf.h"

#include "base/num.h"
#include "gguf/gguf_int.h"

#include <stdio.h>
#include <string.h>

enum err gguf_index_build(struct gguf_index *ix, struct arena *a, const void *first, size_t n,
                          size_t stride, const char *what, struct errinfo *e)
{
    size_t n_slots = 2;
    while (n_slots < 2 * n)
        n_slots *= 2;
    ix->slot = arena_array(a, n_slots, sizeof *ix->slot);
    ix->mask = n_slots - 1;
    ix->seed = gguf_seed(ix->slot);
    for (size_t i = 0; i < n; i++) {
        const struct span *name = (const void *)((const char *)first + i * stride);
        size_t at = (size_t)num_hash(name->p, name->n, ix->seed) & ix->mask;
        for (; ix->slot[at]; at = (at + 1) & ix->mask) {
            const struct span *other = (const void *)((const char *)first +
                                                      (ix->slot[at] - 1) * stride);
            if (span_eq(*name, *other))
                return err_set(e, ERR_CORRUPT, "the %s %.*s appears twice", what, (int)name->n,
                               name->p);
        }
        ix->slot[at] = (uint32_t)i + 1;
    }
    return ERR_OK;
}

static const void *gguf_index_find(const struct gguf_index *ix, const void *first, size_t stride,
                                   const char *name)
{
    struct span want = span_of(name);
    size_t at = (size_t)num_hash(want.p, want.n, ix->seed) & ix->mask;
    for (; ix->slot[at]; at = (at + 1) & ix->mask) {
        const void *item = (const char *)first + (ix->slot[at] - 1) * stride;
        if (span_eq(*(const struct span *)item, want))
            return item;
    }
    return NULL;
}

/* Both structs begin with their name: the name tables rely on it. */
_Static_assert(offsetof(struct gguf_key, name) == 0, "name first");
_Static_assert(offsetof(struct gguf_tensor, name) == 0, "name first");

enum err gguf_index_all(struct gguf *g, struct errinfo *e)
{
    TRY(gguf_index_build(&g->key_index, &g->arena, g->keys, g->n_keys, sizeof *g->keys, "key", e));
    return gguf_index_build(&g->tensor_index, &g->arena, g->tensors, g->n_tensors,
                            sizeof *g->tensors, "tensor", e);
}

/* The path of part i (from 0) of n, when `path` is that of part 1; NULL where it is not named so.
 */
static char *gguf_part_path(struct gguf *g, const char *path, int i, int n)
{
    char tail[32];
    snprintf(tail, sizeof tail, "-%05d-of-%05d.gguf", 1, n);
    struct span p = span_of(path);
    if (!span_ends(p, span_of(tail)))
        return NULL;
    return arena_printf(&g->arena, "%.*s-%05d-of-%05d.gguf", (int)(p.n - strlen(tail)), path, i + 1,
                        n);
}

/* Appends the part's tensors.  Keys of later parts only describe the split. */
static enum err gguf_join(struct gguf *g, const struct gguf_part *p, struct errinfo *e)
{
    if (p->n_tensors > GGUF_TENSORS_MAX - g->n_tensors)
        return err_set(e, ERR_CORRUPT, "%s: more than %d tensors in all parts", g->path,
                       GGUF_TENSORS_MAX);
    struct gguf_tensor *all = arena_array(&g->arena, g->n_tensors + p->n_tensors, sizeof *all);
    if (g->n_tensors)
        memcpy(all, g->tensors, g->n_tensors * sizeof *all);
    if (p->n_tensors)
        memcpy(all + g->n_tensors, p->tensors, p->n_tensors * sizeof *all);
    g->tensors = all;
    g->n_tensors += p->n_tensors;
    return ERR_OK;
}

/* A later part must say that it is part i of as many as the first one says: files of two models
 * that share a folder are not mixed. */
static enum err gguf_check_part(const struct gguf_part *p, const char *path, uint32_t i,
                                uint32_t n_parts, struct errinfo *e)
{
    uint64_t no = UINT64_MAX, count = UINT64_MAX;
    for (size_t k = 0; k < p->n_keys; k++) {
        const struct gguf_key *key = &p->keys[k];
        bool integer = key->kind <= GGUF_I32 || key->kind == GGUF_U64 || key->kind == GGUF_I64;
        if (integer && span_eq_cstr(key->name, "split.no"))
            no = key->u;
        if (integer && span_eq_cstr(key->name, "split.count"))
            count = key->u;
    }
    if (no == i && count == n_parts)
        return ERR_OK;
    return err_set(e, ERR_CORRUPT,
                   "%s: does not say that it is part %u of %u (split.no, "
                   "split.count)",
                   path, i + 1, n_parts);
}

static enum err gguf_add_file(struct gguf *g, const char *path, struct gguf_part *p,
                              struct errinfo *e)
{
    struct os_map *m = &g->map[g->n_parts];
    TRY(os_map_open(m, path, e));
    g->file_bytes += m->bytes;
    g->n_parts++;
    return gguf_read_part(g, m->data, m->bytes, path, g->n_parts - 1, p, e);
}

static enum err gguf_open_parts(struct gguf *g, const char *path, struct errinfo *e)
{
    struct gguf_part p = {0};
    uint32_t n_parts, i_part;
    TRY(gguf_add_file(g, path, &p, e));
    g->version = p.version;
    g->keys = p.keys;
    g->n_keys = p.n_keys;
    TRY(gguf_join(g, &p, e));
    TRY(gguf_index_all(g, e));
    TRY(gguf_get_u32(g, "split.count", 1, &n_parts, e));
    TRY(gguf_get_u32(g, "split.no", 0, &i_part, e));
    if (n_parts <= 1)
        return ERR_OK;
    if (n_parts > GGUF_PARTS_MAX)
        return err_set(e, ERR_CORRUPT, "%s: split into %u parts (at most %d)", path, n_parts,
                       GGUF_PARTS_MAX);
    if (i_part != 0 || !gguf_part_path(g, path, 0, (int)n_parts))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: this is part %u of %u; open the first part, NAME-00001-of-%05u.gguf",
                       path, i_part + 1, n_parts, n_parts);
    for (int i = 1; i < (int)n_parts; i++) {
        const char *part = gguf_part_path(g, path, i, (int)n_parts);
        TRY(gguf_add_file(g, part, &p, e));
        TRY(gguf_check_part(&p, part, (uint32_t)i, n_parts, e));
        TRY(gguf_join(g, &p, e));
    }
    TRY(gguf_index_all(g, e));
    uint32_t want;
    TRY(gguf_get_u32(g, "split.tensors.count", (uint32_t)g->n_tensors, &want, e));
    if (want != g->n_tensors)
        return err_set(e, ERR_CORRUPT, "%s: the parts hold %zu tensors, split.tensors.count is %u",
                       path, g->n_tensors, want);
    return ERR_OK;
}

struct gguf *gguf_new(const char *path)
{
    struct gguf *g = mem_alloc(sizeof *g);
    arena_init(&g->arena);
    g->path = arena_dup(&g->arena, path, strlen(path));
    g->map = arena_array(&g->arena, GGUF_PARTS_MAX, sizeof *g->map);
    return g;
}

enum err gguf_open(struct gguf **out, const char *path, struct errinfo *e)
{
    struct gguf *g = gguf_new(path);
    enum err r = gguf_open_parts(g, path, e);
    if (r != ERR_OK) {
        gguf_close(g);
        g = NULL;
    }
    *out = g;
    return r;
}

enum err gguf_open_bytes(struct gguf **out, const void *bytes, size_t n, struct errinfo *e)
{
    struct gguf *g = gguf_new("(memory)");
    struct gguf_part p = {0};
    g->file_bytes = n;
    enum err r = gguf_read_part(g, bytes, n, g->path, 0, &p, e);
    if (r == ERR_OK) {
        g->version = p.version;
        g->keys = p.keys;
        g->n_keys = p.n_keys;
        r = gguf_join(g, &p, e);
        if (r == ERR_OK)
            r = gguf_index_all(g, e);
    }
    if (r != ERR_OK) {
        gguf_close(g);
        g = NULL;
    }
    *out = g;
    return r;
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->n_parts; i++)
        os_map_close(&g->map[i]);
    arena_done(&g->arena);
    mem_free(g);
}

const char *gguf_path(const struct gguf *g)
{
    return g->path;
}

uint32_t gguf_version(const struct gguf *g)
{
    return g->version;
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
    return g->file_bytes;
}

uint64_t gguf_change(const struct gguf *g)
{
    uint64_t all = 0;
    for (int i = 0; i < g->n_parts; i++)
        all = num_hash(&g->map[i].change, sizeof g->map[i].change, all);
    return all;
}

size_t gguf_n_keys(const struct gguf *g)
{
    return g->n_keys;
}

const struct gguf_key *gguf_key_at(const struct gguf *g, size_t i)
{
    CHECK(i < g->n_keys);
    return &g->keys[i];
}

const struct gguf_key *gguf_key(const struct gguf *g, const char *name)
{
    return gguf_index_find(&g->key_index, g->keys, sizeof *g->keys, name);
}

size_t gguf_n_tensors(const struct gguf *g)
{
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
    CHECK(i < g->n_tensors);
    return &g->tensors[i];
}

const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name)
{
    return gguf_index_find(&g->tensor_index, g->tensors, sizeof *g->tensors, name);
}

void gguf_forget(const struct gguf *g, const struct gguf_tensor *t, size_t from, size_t n)
{
    CHECK(from <= t->bytes && n <= t->bytes - from);
    if (g->n_parts && t->part != GGUF_PART_MEMORY) /* only mapped files can be read again */
        os_map_forget(t->data + from, n);
}
