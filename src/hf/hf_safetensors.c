/* SPDX-License-Identifier: MIT
 * hf_safetensors.c - the heads of weight files (github.com/huggingface/safetensors, "Format"):
 * eight bytes with the length of a JSON object, the object, the tensors' bytes without gaps. */
#include "hf/hf_int.h"

#include "base/num.h"
#include "gguf/gguf_type.h"

#include <stdlib.h>
#include <string.h>

/* Types of the format, with the bytes of an element; those that packed types have are 0: they are
 * refused where they are wanted, and their sizes not checked. */
static const struct {
    const char *name;
    size_t bytes;
    int number;
} types[] = {
    {"F32",     4, GGUF_TYPE_F32 },
    {"F16",     2, GGUF_TYPE_F16 },
    {"BF16",    2, GGUF_TYPE_BF16},
    {"F64",     8, -1            },
    {"I64",     8, -1            },
    {"I32",     4, -1            },
    {"I16",     2, -1            },
    {"I8",      1, -1            },
    {"U64",     8, -1            },
    {"U32",     4, -1            },
    {"U16",     2, -1            },
    {"U8",      1, -1            },
    {"BOOL",    1, -1            },
    {"F8_E4M3", 1, -1            },
    {"F8_E5M2", 1, -1            },
};

struct head {
    const char *what;
    struct arena *a;
    const unsigned char *data; /* of the tensors */
    size_t n;
    int part;
    struct errinfo *e;
};

static enum err bad(const struct head *h, const char *name, const char *why)
{
    return err_set(h->e, ERR_CORRUPT, "%s: tensor %.200s: %s", h->what, name, why);
}

static bool whole(json_t *v, uint64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static enum err read_shape(const struct head *h, const char *name, json_t *shape,
                           struct hf_tensor *t, size_t *n_elems)
{
    *n_elems = 1;
    if (!json_is_array(shape) || json_array_size(shape) > HF_DIMS_MAX)
        return bad(h, name, "its shape is no array of at most 4 numbers");
    t->n_dims = (int)json_array_size(shape);
    for (int i = 0; i < t->n_dims; i++) {
        if (!whole(json_array_get(shape, (size_t)i), &t->dims[i]))
            return bad(h, name, "its shape holds what is no whole number");
        if (!num_mul(*n_elems, (size_t)t->dims[i], n_elems))
            return bad(h, name, "its shape is impossibly large");
    }
    return ERR_OK;
}

static enum err read_type(const struct head *h, const char *name, json_t *type, struct hf_tensor *t)
{
    const char *s = json_string_value(type);
    if (!s || strlen(s) > 32)
        return bad(h, name, "its dtype is no name");
    t->type = (struct span){arena_dup(h->a, s, strlen(s)), strlen(s)};
    t->number = -1;
    for (size_t i = 0; i < N_ELEMS(types); i++)
        if (strcmp(types[i].name, s) == 0) {
            t->number = types[i].number;
            t->elem = types[i].bytes;
        }
    return ERR_OK;
}

static enum err read_tensor(const struct head *h, const char *name, json_t *o, struct hf_tensor *t)
{
    uint64_t from, to;
    size_t n_elems, bytes;
    json_t *at = json_object_get(o, "data_offsets");
    *t = (struct hf_tensor){.part = h->part};
    size_t len = strlen(name);
    if (len == 0 || len > GGUF_NAME_MAX || !utf8_printable((struct span){name, len}))
        return bad(h, name, "this is no name (1 to 1024 bytes of printable UTF-8)");
    t->name = (struct span){arena_dup(h->a, name, len), len};
    TRY(read_type(h, name, json_object_get(o, "dtype"), t));
    TRY(read_shape(h, name, json_object_get(o, "shape"), t, &n_elems));
    if (json_array_size(at) != 2 || !whole(json_array_get(at, 0), &from) ||
        !whole(json_array_get(at, 1), &to))
        return bad(h, name, "its data_offsets are no two whole numbers");
    if (from > to || to > h->n)
        return err_set(h->e, ERR_CORRUPT,
                       "%s: tensor %.200s: bytes %llu to %llu of %zu: the file is cut short or "
                       "damaged",
                       h->what, name, (unsigned long long)from, (unsigned long long)to, h->n);
    if (t->elem && (!num_mul(n_elems, t->elem, &bytes) || bytes != to - from))
        return err_set(h->e, ERR_CORRUPT, "%s: tensor %.200s: %zu elements of %.*s in %llu bytes",
                       h->what, name, n_elems, (int)t->type.n, t->type.p,
                       (unsigned long long)(to - from));
    t->data = h->data + from;
    t->bytes = (size_t)(to - from);
    return ERR_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct hf_tensor *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The format wants every byte to belong to one tensor. */
static enum err check_cover(const struct head *h, const struct hf_tensor *t, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (t[i].data != h->data + at)
            return err_set(h->e, ERR_CORRUPT,
                           "%s: tensor %.*s begins at byte %zu, where byte %zu is next: tensors "
                           "overlap or leave gaps",
                           h->what, (int)t[i].name.n, t[i].name.p, (size_t)(t[i].data - h->data),
                           at);
        at += t[i].bytes;
    }
    if (at != h->n)
        return err_set(h->e, ERR_CORRUPT, "%s: %zu bytes of data, and tensors of %zu", h->what,
                       h->n, at);
    return ERR_OK;
}

static enum err read_tensors(const struct head *h, json_t *all, struct hf_tensors *out)
{
    const char *name;
    json_t *o;
    size_t first = out->n, n = json_object_size(all);
    if (n > GGUF_TENSORS_MAX - first)
        return err_set(h->e, ERR_TOOBIG, "%s: more than %d tensors", h->what, GGUF_TENSORS_MAX);
    if (first + n > out->cap) {
        out->cap = MAX(2 * out->cap, first + n);
        out->t = mem_grow(out->t, out->cap * sizeof *out->t);
    }
    json_object_foreach(all, name, o)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        if (!json_is_object(o))
            return bad(h, name, "it is described by no object");
        TRY(read_tensor(h, name, o, &out->t[out->n]));
        out->n++;
    }
    if (out->n > first)
        qsort(out->t + first, out->n - first, sizeof *out->t, by_place);
    return check_cover(h, out->t + first, out->n - first);
}

enum err hf_safetensors_read(struct hf_tensors *out, struct arena *a, struct span file,
                             const char *what, int part, struct errinfo *e)
{
    struct head h = {.what = what, .a = a, .part = part, .e = e};
    uint64_t n = 0;
    json_error_t why;
    if (file.n < 8)
        return err_set(e, ERR_CORRUPT, "%s: %zu bytes are too short for a safetensors file", what,
                       file.n);
    for (int i = 0; i < 8; i++)
        n |= (uint64_t)(unsigned char)file.p[i] << (8 * i);
    if (n > file.n - 8 || n > HF_HEAD_MAX)
        return err_set(e, ERR_CORRUPT,
                       "%s: claims a head of %llu bytes in a file of %zu (at most %zu): not a "
                       "safetensors file, or cut short",
                       what, (unsigned long long)n, file.n, HF_HEAD_MAX);
    h.data = (const unsigned char *)file.p + 8 + n;
    h.n = file.n - 8 - (size_t)n;
    json_t *all = json_loadb(file.p + 8, (size_t)n, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(all)) {
        json_decref(all);
        return err_set(e, ERR_CORRUPT, "%s: the head is no JSON object: %s", what,
                       all ? "another value" : why.text);
    }
    enum err r = read_tensors(&h, all, out);
    json_decref(all);
    return r;
}

/* ---- the files of a folder ---- */

static enum err read_file(struct hf *h, const char *name, struct errinfo *e)
{
    struct span bytes;
    int part;
    TRY(gguf_build_map(h->g, hf_path(h, name), &bytes, &part, e));
    return hf_safetensors_read(&h->tensors, &h->tmp, bytes, hf_path(h, name), part, e);
}

/* The weight_map names a file for each tensor; a name is that of a file beside it. */
static enum err read_index(struct hf *h, json_t *index, struct errinfo *e)
{
    const char *tensor, *done[GGUF_PARTS_MAX];
    json_t *file, *map = json_object_get(index, "weight_map");
    size_t n_done = 0, i;
    const char *what = hf_path(h, "model.safetensors.index.json");
    if (json_object_size(map) == 0)
        return err_set(e, ERR_CORRUPT, "%s: no weight_map", what);
    json_object_foreach(map, tensor, file)
    {
        const char *name = json_string_value(file);
        if (!name || !*name || strlen(name) > 255 || strchr(name, '/') || name[0] == '.')
            return err_set(e, ERR_CORRUPT, "%s: the file of %.200s is no file's name", what,
                           tensor);
        for (i = 0; i < n_done && strcmp(done[i], name) != 0; i++)
            ;
        if (i < n_done)
            continue;
        if (n_done == GGUF_PARTS_MAX - 16)
            return err_set(e, ERR_TOOBIG, "%s: more than %zu files", what, n_done);
        done[n_done++] = name;
        TRY(read_file(h, name, e));
    }
    if (h->tensors.n != json_object_size(map))
        return err_set(e, ERR_CORRUPT, "%s: names %zu tensors, and the files hold %zu", what,
                       json_object_size(map), h->tensors.n);
    return ERR_OK;
}

enum err hf_read_weights(struct hf *h, struct errinfo *e)
{
    json_t *index;
    if (hf_has(h, "model.safetensors"))
        return read_file(h, "model.safetensors", e);
    TRY(hf_json(h, "model.safetensors.index.json", false, &index, e));
    if (!index)
        return err_set(e, ERR_NOTFOUND,
                       "%s: neither model.safetensors nor model.safetensors.index.json is there "
                       "(pickled weights, *.bin, are not read)",
                       h->dir);
    enum err r = read_index(h, index, e);
    json_decref(index);
    return r;
}
