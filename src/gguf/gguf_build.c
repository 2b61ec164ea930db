/* SPDX-License-Identifier: MIT
 * gguf_build.c - keys and tensors that come one by one. */
#include "gguf/gguf_build.h"

#include "base/num.h"
#include "gguf/gguf_int.h"
#include "os/os_sys.h"

#include <string.h>

struct gguf *gguf_build_new(const char *path)
{
    return gguf_new(path);
}

enum err gguf_build_map(struct gguf *g, const char *path, struct span *bytes, int *part,
                        struct errinfo *e)
{
    if (g->n_parts == GGUF_PARTS_MAX)
        return err_set(e, ERR_TOOBIG, "%s: more than %d files", g->path, GGUF_PARTS_MAX);
    struct os_map *m = &g->map[g->n_parts];
    TRY(os_map_open(m, path, e));
    g->file_bytes += m->bytes;
    *part = g->n_parts++;
    *bytes = (struct span){(const char *)m->data, m->bytes};
    return ERR_OK;
}

enum err gguf_build_memory(struct gguf *g, size_t n, const char *for_what, void **out,
                           struct errinfo *e)
{
    size_t left = os_mem_available();
    if (n > left)
        return err_set(
            e, ERR_MEMORY,
            "%s: %s takes %zu MiB of memory, and %zu MiB are free; `damso quantize` on a "
            "larger machine makes a file that is mapped",
            g->path, for_what, n >> 20, left >> 20);
    *out = arena_alloc(&g->arena, n);
    g->file_bytes += n;
    return ERR_OK;
}

static void *grown(struct gguf *g, void *items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return items;
    *cap = MAX(*cap * 2, (size_t)64);
    void *more = arena_array(&g->arena, *cap, size);
    if (n)
        memcpy(more, items, n * size);
    return more;
}

static struct gguf_key *add_key(struct gguf *g, const char *name, enum gguf_kind kind)
{
    g->keys = grown(g, g->keys, g->n_keys, &g->cap_keys, sizeof *g->keys);
    struct gguf_key *k = &g->keys[g->n_keys++];
    size_t n = strlen(name);
    *k = (struct gguf_key){
        .name = {arena_dup(&g->arena, name, n), n},
          .kind = kind
    };
    return k;
}

void gguf_build_u32(struct gguf *g, const char *name, uint32_t v)
{
    add_key(g, name, GGUF_U32)->u = v;
}

void gguf_build_f32(struct gguf *g, const char *name, float v)
{
    add_key(g, name, GGUF_F32)->f = (double)v;
}

void gguf_build_bool(struct gguf *g, const char *name, bool v)
{
    add_key(g, name, GGUF_BOOL)->u = v;
}

void gguf_build_str(struct gguf *g, const char *name, struct span v)
{
    struct gguf_key *k = add_key(g, name, GGUF_STRING);
    k->s = (struct span){arena_dup(&g->arena, v.p, v.n), v.n};
}

void gguf_build_strs(struct gguf *g, const char *name, const struct span *v, size_t n)
{
    struct gguf_key *k = add_key(g, name, GGUF_ARRAY);
    struct span *s = arena_array(&g->arena, n, sizeof *s);
    for (size_t i = 0; i < n; i++)
        s[i] = (struct span){arena_dup(&g->arena, v[i].p, v[i].n), v[i].n};
    k->a = (struct gguf_array){.kind = GGUF_STRING, .n = n, .strings = s};
}

void gguf_build_numbers(struct gguf *g, const char *name, enum gguf_kind kind, const void *v,
                        size_t n)
{
    bool four = kind == GGUF_I32 || kind == GGUF_U32 || kind == GGUF_F32;
    CHECK(four || kind == GGUF_BOOL || kind == GGUF_U8);
    struct gguf_key *k = add_key(g, name, GGUF_ARRAY);
    const char *data = arena_dup(&g->arena, v, n * (four ? 4 : 1));
    k->a = (struct gguf_array){.kind = kind, .n = n, .data = (const unsigned char *)data};
}

void gguf_build_tensor(struct gguf *g, const struct gguf_tensor *t)
{
    g->tensors = grown(g, g->tensors, g->n_tensors, &g->cap_tensors, sizeof *g->tensors);
    struct gguf_tensor *to = &g->tensors[g->n_tensors++];
    *to = *t;
    to->name.p = arena_dup(&g->arena, t->name.p, t->name.n);
}

enum err gguf_build_end(struct gguf *g, struct errinfo *e)
{
    if (g->n_keys > GGUF_KEYS_MAX || g->n_tensors > GGUF_TENSORS_MAX)
        return err_set(e, ERR_TOOBIG, "%s: %zu keys and %zu tensors; at most %d and %d", g->path,
                       g->n_keys, g->n_tensors, GGUF_KEYS_MAX, GGUF_TENSORS_MAX);
    return gguf_index_all(g, e);
}
