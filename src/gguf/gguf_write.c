/* SPDX-License-Identifier: MIT
 * gguf_write.c - writing GGUF: a head put together in memory, then tensors as they come. */
#include "gguf/gguf_write.h"

#include "base/arena.h"
#include "base/num.h"
#include "gguf/gguf_int.h"
#include "gguf/gguf_type.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITE_ALIGN   32 /* what readers assume where no key says otherwise */
#define WRITE_VERSION 3
#define WRITE_HEAD    ((size_t)1 << 31) /* bytes of keys and descriptions */
#define WRITE_BUFFER  ((size_t)1 << 20)

struct write_key {
    const char *name;
    struct span bytes; /* kind and value */
};

struct write_tensor {
    const char *name;
    uint32_t type;
    int n_dims;
    uint64_t dims[GGUF_DIMS_MAX];
    uint64_t bytes;
};

struct gguf_write {
    struct arena arena;
    char *path, *part;
    FILE *f; /* NULL: not open */
    char *buffer;
    struct write_key *keys;
    struct write_tensor *tensors;
    size_t n_keys, n_tensors, cap_keys, cap_tensors;
    uint32_t *slot; /* [n_slots]: keys by their names' hashes, a number and 1; at most half full */
    size_t n_slots; /* a power of two */
    uint64_t seed;  /* of the hashes */
    size_t tensor;  /* the one whose data comes */
    uint64_t begun; /* bytes of it */
    uint64_t bytes; /* of the file */
    bool headed;
};

static enum err write_failed(const struct gguf_write *w, struct errinfo *e)
{
    return err_set(e, ERR_IO, "%s: %s", w->part, strerror(errno));
}

/* A temporary file with the mode that a new file gets. */
static int make_part(char *name)
{
    int fd = mkostemp(name, O_CLOEXEC);
    mode_t mask = umask(0);
    umask(mask);
    if (fd >= 0 && fchmod(fd, 0666 & ~mask) != 0)
        errno = 0; /* it stays the owner's own */
    return fd;
}

enum err gguf_write_new(struct gguf_write **out, const char *path, struct errinfo *e)
{
    struct gguf_write *w = mem_alloc(sizeof *w);
    arena_init(&w->arena);
    w->path = arena_dup(&w->arena, path, strlen(path));
    w->part = arena_printf(&w->arena, "%s.part-XXXXXX", path);
    *out = w;
    int fd = make_part(w->part);
    if (fd >= 0)
        w->f = fdopen(fd, "wb");
    if (!w->f) {
        enum err r = write_failed(w, e);
        if (fd >= 0) {
            close(fd);
            unlink(w->part);
        }
        gguf_write_free(w);
        *out = NULL;
        return r;
    }
    w->buffer = mem_alloc(WRITE_BUFFER);
    setvbuf(w->f, w->buffer, _IOFBF, WRITE_BUFFER);
    return ERR_OK;
}

void gguf_write_free(struct gguf_write *w)
{
    if (!w)
        return;
    if (w->f) {
        fclose(w->f);
        unlink(w->part);
    }
    mem_free(w->buffer);
    mem_free(w->keys);
    mem_free(w->slot);
    mem_free(w->tensors);
    arena_done(&w->arena);
    mem_free(w);
}

/* ---- keys ---- */

static void add_uint(struct str *s, uint64_t v, size_t bytes)
{
    str_add(s, &v, bytes); /* little-endian machines only, as GGUF is */
}

static void add_text(struct str *s, struct span text)
{
    add_uint(s, text.n, 8);
    str_add_span(s, text);
}

static size_t kind_bytes(enum gguf_kind kind)
{
    switch (kind) {
    case GGUF_U8:
    case GGUF_I8:
    case GGUF_BOOL: return 1;
    case GGUF_U16:
    case GGUF_I16: return 2;
    case GGUF_U64:
    case GGUF_I64:
    case GGUF_F64: return 8;
    default: return 4;
    }
}

static void add_value(struct str *s, const struct gguf_key *k)
{
    float f;
    switch (k->kind) {
    case GGUF_STRING: add_text(s, k->s); break;
    case GGUF_F64: str_add(s, &k->f, 8); break;
    case GGUF_F32:
        f = (float)k->f;
        str_add(s, &f, 4);
        break;
    case GGUF_ARRAY:
        add_uint(s, (uint64_t)k->a.kind, 4);
        add_uint(s, k->a.n, 8);
        if (k->a.kind != GGUF_STRING) {
            str_add(s, k->a.data, k->a.n * kind_bytes(k->a.kind));
            break;
        }
        for (size_t i = 0; i < k->a.n; i++)
            add_text(s, k->a.strings[i]);
        break;
    default: add_uint(s, k->u, kind_bytes(k->kind)); break; /* the low bytes of i as well */
    }
}

/* Where the key of that name is, or would be. */
static uint32_t *slot_of(const struct gguf_write *w, struct span name)
{
    size_t at = (size_t)num_hash(name.p, name.n, w->seed) & (w->n_slots - 1);
    while (w->slot[at] && !span_eq_cstr(name, w->keys[w->slot[at] - 1].name))
        at = (at + 1) & (w->n_slots - 1);
    return &w->slot[at];
}

static void grow_keys(struct gguf_write *w)
{
    w->cap_keys = w->cap_keys ? 2 * w->cap_keys : 64;
    w->keys = mem_grow(w->keys, w->cap_keys * sizeof *w->keys);
    mem_free(w->slot);
    w->n_slots = 2 * w->cap_keys;
    w->slot = mem_alloc(w->n_slots * sizeof *w->slot);
    w->seed = gguf_seed(w->slot);
    for (size_t i = 0; i < w->n_keys; i++)
        *slot_of(w, span_of(w->keys[i].name)) = (uint32_t)i + 1;
}

static struct write_key *key_named(struct gguf_write *w, struct span name)
{
    CHECK(w->n_keys < UINT32_MAX);
    if (w->n_keys == w->cap_keys)
        grow_keys(w);
    uint32_t *slot = slot_of(w, name);
    if (*slot)
        return &w->keys[*slot - 1];
    *slot = (uint32_t)w->n_keys + 1;
    w->keys[w->n_keys].name = arena_dup(&w->arena, name.p, name.n);
    return &w->keys[w->n_keys++];
}

void gguf_write_key(struct gguf_write *w, const struct gguf_key *key)
{
    struct str s;
    CHECK(!w->headed);
    str_init(&s, WRITE_HEAD);
    add_uint(&s, (uint64_t)key->kind, 4);
    add_value(&s, key);
    CHECK(!s.full); /* the keys of a file that was read, or of ours */
    key_named(w, key->name)->bytes = (struct span){arena_dup(&w->arena, s.p, s.n), s.n};
    str_done(&s);
}

void gguf_write_u32(struct gguf_write *w, const char *name, uint32_t v)
{
    gguf_write_key(w, &(struct gguf_key){.name = span_of(name), .kind = GGUF_U32, .u = v});
}

void gguf_write_str(struct gguf_write *w, const char *name, struct span v)
{
    gguf_write_key(w, &(struct gguf_key){.name = span_of(name), .kind = GGUF_STRING, .s = v});
}

void gguf_write_strs(struct gguf_write *w, const char *name, const struct span *v, size_t n)
{
    gguf_write_key(w, &(struct gguf_key){
                          .name = span_of(name),
                          .kind = GGUF_ARRAY,
                          .a = {.kind = GGUF_STRING, .n = n, .strings = v}
    });
}

/* ---- tensors ---- */

void gguf_write_tensor(struct gguf_write *w, struct span name, uint32_t type, int n_dims,
                       const uint64_t *dims)
{
    struct write_tensor t = {
        .name = arena_dup(&w->arena, name.p, name.n), .type = type, .n_dims = n_dims};
    size_t n = 1;
    CHECK(!w->headed && n_dims >= 1 && n_dims <= GGUF_DIMS_MAX && gguf_type_info(type));
    for (int i = 0; i < n_dims; i++) {
        t.dims[i] = dims[i];
        CHECK(num_mul(n, (size_t)dims[i], &n));
    }
    CHECK(dims[0] % gguf_type_info(type)->block_elems == 0);
    t.bytes = gguf_type_bytes(type, n);
    if (w->n_tensors == w->cap_tensors) {
        w->cap_tensors = w->cap_tensors ? 2 * w->cap_tensors : 256;
        w->tensors = mem_grow(w->tensors, w->cap_tensors * sizeof *w->tensors);
    }
    w->tensors[w->n_tensors++] = t;
}

static void add_tensors(const struct gguf_write *w, struct str *s)
{
    uint64_t at = 0;
    for (size_t i = 0; i < w->n_tensors; i++) {
        const struct write_tensor *t = &w->tensors[i];
        add_text(s, span_of(t->name));
        add_uint(s, (uint64_t)t->n_dims, 4);
        str_add(s, t->dims, (size_t)t->n_dims * sizeof *t->dims);
        add_uint(s, t->type, 4);
        add_uint(s, at, 8);
        at += (t->bytes + WRITE_ALIGN - 1) / WRITE_ALIGN * WRITE_ALIGN;
    }
}

/* ---- the file ---- */

static enum err put(struct gguf_write *w, const void *p, size_t n, struct errinfo *e)
{
    if (n && fwrite(p, 1, n, w->f) != n)
        return write_failed(w, e);
    w->bytes += n;
    return ERR_OK;
}

static enum err put_padding(struct gguf_write *w, struct errinfo *e)
{
    static const char zeros[WRITE_ALIGN];
    return put(w, zeros, (WRITE_ALIGN - w->bytes % WRITE_ALIGN) % WRITE_ALIGN, e);
}

enum err gguf_write_head(struct gguf_write *w, struct errinfo *e)
{
    struct str s;
    CHECK(!w->headed);
    gguf_write_u32(w, "general.alignment", WRITE_ALIGN);
    if (w->n_keys > GGUF_KEYS_MAX || w->n_tensors > GGUF_TENSORS_MAX)
        return err_set(e, ERR_TOOBIG, "%s: %zu keys and %zu tensors; at most %d and %d", w->path,
                       w->n_keys, w->n_tensors, GGUF_KEYS_MAX, GGUF_TENSORS_MAX);
    w->headed = true;
    str_init(&s, WRITE_HEAD);
    str_add_cstr(&s, "GGUF");
    add_uint(&s, WRITE_VERSION, 4);
    add_uint(&s, w->n_tensors, 8);
    add_uint(&s, w->n_keys, 8);
    for (size_t i = 0; i < w->n_keys; i++) {
        add_text(&s, span_of(w->keys[i].name));
        str_add_span(&s, w->keys[i].bytes);
    }
    add_tensors(w, &s);
    enum err r = s.full ? err_set(e, ERR_TOOBIG, "%s: keys and descriptions of more than %zu bytes",
                                  w->path, WRITE_HEAD)
                        : put(w, s.p, s.n, e);
    str_done(&s);
    return r == ERR_OK ? put_padding(w, e) : r;
}

enum err gguf_write_data(struct gguf_write *w, const void *p, size_t n, struct errinfo *e)
{
    const char *at = p;
    CHECK(w->headed);
    while (n > 0) {
        CHECK(w->tensor < w->n_tensors);
        const struct write_tensor *t = &w->tensors[w->tensor];
        size_t some = (size_t)MIN((uint64_t)n, t->bytes - w->begun);
        TRY(put(w, at, some, e));
        at += some, n -= some, w->begun += some;
        if (w->begun == t->bytes) {
            w->tensor++, w->begun = 0;
            TRY(put_padding(w, e));
        }
    }
    return ERR_OK;
}

enum err gguf_write_end(struct gguf_write *w, struct errinfo *e)
{
    CHECK(w->headed && w->tensor == w->n_tensors);
    bool good = fflush(w->f) == 0 && fsync(fileno(w->f)) == 0;
    if (!good || rename(w->part, w->path) != 0)
        return write_failed(w, e);
    fclose(w->f); /* it is on the disk */
    w->f = NULL;
    return ERR_OK;
}

uint64_t gguf_write_bytes(const struct gguf_write *w)
{
    return w->bytes;
}
