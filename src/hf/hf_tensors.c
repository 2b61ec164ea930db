/* SPDX-License-Identifier: MIT
 * hf_tensors.c - tensors by GGUF's names, and those that GGUF has otherwise. */
#include "hf/hf_int.h"

#include "base/num.h"
#include "gguf/gguf_type.h"
#include "kern/format.h"

#include <string.h>

static const struct row {
    const char *module, *name;
    enum hf_how how;
    bool in_layer;
    unsigned flag, not_flag;
} rows[] = {
#define ENDS(module, name)                 {module, name, HF_AS_IS, false, 0, 0},
#define LAYER(module, name, how)           {module, name, how, true, 0, 0},
#define LAYER_IF(flag, module, name, how)  {module, name, how, true, flag, 0},
#define LAYER_NOT(flag, module, name, how) {module, name, how, true, 0, flag},
#include "hf/hf_tensor.def"
#undef LAYER_NOT
#undef LAYER_IF
#undef LAYER
#undef ENDS
};

/* Experts of one layer and kind, as they come. */
struct stack {
    const struct hf_tensor *one[HF_EXPERTS_MAX];
    size_t n;
    const char *name;
};

struct put {
    struct hf *h;
    struct errinfo *e;
    struct stack *stack; /* of a layer and a kind, by the name */
    size_t n_stacks, cap_stacks;
};

/* Where a tensor belongs. */
struct place {
    const struct row *row;
    uint64_t layer, expert;
    const char *end; /* ".weight" or ".bias" */
};

/* "12.rest" -> 12, rest; false where it does not begin with a number below the limit. */
static bool take_number(struct span *s, uint64_t limit, uint64_t *out)
{
    size_t i = 0;
    for (*out = 0; i < s->n && s->p[i] >= '0' && s->p[i] <= '9' && *out < limit; i++)
        *out = *out * 10 + (uint64_t)(s->p[i] - '0');
    if (i == 0 || *out >= limit || i == s->n || s->p[i] != '.')
        return false;
    s->p += i + 1;
    s->n -= i + 1;
    return true;
}

/* `s` is the module; a '#' of it is a number. */
static bool fits(const char *module, struct span s, uint64_t *expert)
{
    const char *hash = strchr(module, '#');
    if (!hash)
        return span_eq_cstr(s, module);
    struct span head = {module, (size_t)(hash - module)};
    if (!span_starts(s, head))
        return false;
    s = (struct span){s.p + head.n, s.n - head.n};
    return take_number(&s, HF_EXPERTS_MAX, expert) && span_eq_cstr(s, hash + 2);
}

static void cut(struct span *s, const char *head)
{
    if (span_starts(*s, span_of(head))) {
        s->p += strlen(head);
        s->n -= strlen(head);
    }
}

/* Parts of a model that sees, and what is computed anew. */
static bool left_out(const struct hf *h, struct span s)
{
    static const char *const heads[] = {"vision_tower.", "multi_modal_projector.",
                                        "model.vision_tower.", "model.multi_modal_projector."};
    for (size_t i = 0; h->family->flags & HF_SEES && i < N_ELEMS(heads); i++)
        if (span_starts(s, span_of(heads[i])))
            return true;
    if (span_ends(s, SPAN("lm_head.weight")))
        return h->family->flags & HF_TIED || json_is_true(hf_conf(h, "tie_word_embeddings"));
    return span_ends(s, SPAN(".rotary_emb.inv_freq"));
}

static bool find_place(const struct hf *h, struct span s, struct place *p)
{
    cut(&s, "language_model.");
    cut(&s, "model.");
    cut(&s, "language_model.");
    bool weight = span_ends(s, SPAN(".weight"));
    if (!weight && !span_ends(s, SPAN(".bias")))
        return false;
    p->end = weight ? ".weight" : ".bias";
    s.n -= strlen(p->end);
    bool in_layer = span_starts(s, SPAN("layers."));
    cut(&s, "layers.");
    if (in_layer && !take_number(&s, HF_LAYERS_MAX, &p->layer))
        return false;
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        p->row = &rows[i];
        unsigned flags = h->family->flags;
        if (rows[i].in_layer == in_layer && (flags & rows[i].flag) == rows[i].flag &&
            !(flags & rows[i].not_flag) && fits(rows[i].module, s, &p->expert))
            return true;
    }
    return false;
}

static const char *name_of(struct put *p, const struct place *at, const char *name, size_t n)
{
    return at->row->in_layer ? arena_printf(&p->h->tmp, "blk.%u.%.*s%s", (unsigned)at->layer,
                                            (int)n, name, at->end)
                             : arena_printf(&p->h->tmp, "%.*s%s", (int)n, name, at->end);
}

/* Dimensions of the file are outermost first, GGUF's innermost; one of no dimension is one number.
 */
static struct gguf_tensor described(const char *name, const struct hf_tensor *t)
{
    struct gguf_tensor to = {
        .name = span_of(name),
        .type = (uint32_t)t->number,
        .n_dims = MAX(t->n_dims, 1),
        .dims = {1, 1, 1, 1},
        .data = t->data,
        .bytes = t->bytes,
        .part = t->part
    };
    for (int i = 0; i < t->n_dims; i++)
        to.dims[i] = t->dims[t->n_dims - 1 - i];
    return to;
}

static enum err memory_for(struct put *p, struct gguf_tensor *t, size_t bytes, void **out)
{
    char what[256];
    size_t n = MIN(t->name.n, (size_t)200);
    memcpy(what, t->name.p, n);
    what[n] = '\0';
    TRY(gguf_build_memory(p->h->g, bytes, what, out, p->e));
    t->data = *out;
    t->bytes = bytes;
    t->part = GGUF_PART_MEMORY;
    return ERR_OK;
}

/* A tensor as it lies in the file, unless its numbers would not be aligned. */
static enum err put_plain(struct put *p, const char *name, const struct hf_tensor *t)
{
    struct gguf_tensor to = described(name, t);
    void *data;
    if ((uintptr_t)t->data % t->elem != 0) {
        TRY(memory_for(p, &to, t->bytes, &data));
        memcpy(data, t->data, t->bytes);
    }
    gguf_build_tensor(p->h->g, &to);
    return ERR_OK;
}

/* As floats, `more` added. */
static enum err put_floats(struct put *p, const char *name, const struct hf_tensor *t, float more)
{
    struct gguf_tensor to = described(name, t);
    size_t n = t->bytes / t->elem;
    void *data;
    if (t->number == GGUF_TYPE_F32 && more == 0)
        return put_plain(p, name, t);
    TRY(memory_for(p, &to, n * sizeof(float), &data));
    to.type = GGUF_TYPE_F32;
    float *x = data;
    format_dequant((enum format)format_of((uint32_t)t->number), x, t->data, n);
    for (size_t i = 0; more != 0 && i < n; i++)
        x[i] += more;
    gguf_build_tensor(p->h->g, &to);
    return ERR_OK;
}

/* The rows of each head: those of its first half and of its second in turn. */
static enum err put_turned(struct put *p, const char *name, const struct hf_tensor *t,
                           const char *heads_of)
{
    struct hf *h = p->h;
    struct gguf_tensor to;
    double n_heads;
    void *data;
    json_t *v = hf_conf(h, heads_of) ? hf_conf(h, heads_of) : hf_conf(h, "num_attention_heads");
    TRY(hf_number(h, heads_of, v, 1, 1e6, &n_heads, p->e));
    size_t heads = (size_t)n_heads, rows_all = (size_t)t->dims[0], size = rows_all / heads;
    if (rows_all % heads != 0 || size % 2 != 0)
        return err_set(p->e, ERR_CORRUPT,
                       "%s: tensor %.*s has %zu rows, which are not %zu heads of "
                       "an even size",
                       h->dir, (int)t->name.n, t->name.p, rows_all, heads);
    size_t row = rows_all ? t->bytes / rows_all : 0;
    to = described(name, t);
    TRY(memory_for(p, &to, t->bytes, &data));
    for (size_t r = 0; r < rows_all; r++) {
        size_t head = r / size, at = r % size, from = head * size + at % 2 * (size / 2) + at / 2;
        memcpy((char *)data + r * row, t->data + from * row, row);
    }
    if (t->n_dims == 1 && t->number != GGUF_TYPE_F32) { /* a bias: floats */
        struct hf_tensor turned = *t;
        turned.data = data;
        return put_floats(p, name, &turned, 0);
    }
    gguf_build_tensor(h->g, &to);
    return ERR_OK;
}

/* Two tensors: the first and the second half of the last dimension but one. */
static enum err put_halves(struct put *p, const struct place *at, const struct hf_tensor *t)
{
    const char *names = at->row->name, *second = strchr(names, ' ') + 1;
    if (t->n_dims < 2 || t->dims[t->n_dims - 2] % 2 != 0)
        return err_set(p->e, ERR_CORRUPT, "%s: tensor %.*s cannot be halved", p->h->dir,
                       (int)t->name.n, t->name.p);
    size_t n = t->n_dims > 2 ? (size_t)t->dims[t->n_dims - 3] : 1, half = n ? t->bytes / n / 2 : 0;
    for (int k = 0; k < 2; k++) {
        const char *name = k ? name_of(p, at, second, strlen(second))
                             : name_of(p, at, names, (size_t)(second - 1 - names));
        struct gguf_tensor to = described(name, t);
        void *data;
        to.dims[1] /= 2;
        TRY(memory_for(p, &to, t->bytes / 2, &data));
        for (size_t i = 0; i < n; i++)
            memcpy((char *)data + i * half, t->data + (2 * i + (size_t)k) * half, half);
        gguf_build_tensor(p->h->g, &to);
    }
    return ERR_OK;
}

/* ---- experts ---- */

static struct stack *stack_of(struct put *p, const char *name)
{
    for (size_t i = p->n_stacks; i-- > 0;)
        if (strcmp(p->stack[i].name, name) == 0)
            return &p->stack[i];
    if (p->n_stacks == p->cap_stacks) {
        p->cap_stacks = MAX(2 * p->cap_stacks, 16);
        p->stack = mem_grow(p->stack, p->cap_stacks * sizeof *p->stack);
    }
    struct stack *s = &p->stack[p->n_stacks++];
    *s = (struct stack){.name = name};
    return s;
}

static enum err add_expert(struct put *p, const struct place *at, const struct hf_tensor *t)
{
    struct stack *s = stack_of(p, name_of(p, at, at->row->name, strlen(at->row->name)));
    s->one[at->expert] = t;
    s->n = MAX(s->n, (size_t)at->expert + 1);
    return ERR_OK;
}

static enum err put_stack(struct put *p, const struct stack *s)
{
    const struct hf_tensor *first = s->one[0];
    void *data;
    size_t all;
    for (size_t i = 0; i < s->n; i++) {
        const struct hf_tensor *t = s->one[i];
        if (!t || !first || t->number != first->number || t->n_dims != 2 || first->n_dims != 2 ||
            t->dims[0] != first->dims[0] || t->dims[1] != first->dims[1])
            return err_set(p->e, ERR_CORRUPT, "%s: %s: expert %zu is missing or unlike the first",
                           p->h->dir, s->name, i);
    }
    struct gguf_tensor to = described(s->name, first);
    to.n_dims = 3;
    to.dims[2] = s->n;
    if (!num_mul(first->bytes, s->n, &all))
        return err_set(p->e, ERR_CORRUPT, "%s: %s is impossibly large", p->h->dir, s->name);
    TRY(memory_for(p, &to, all, &data));
    for (size_t i = 0; i < s->n; i++)
        memcpy((char *)data + i * first->bytes, s->one[i]->data, first->bytes);
    gguf_build_tensor(p->h->g, &to);
    return ERR_OK;
}

/* ---- all ---- */

static enum err put_one(struct put *p, const struct hf_tensor *t)
{
    struct place at = {0};
    struct hf *h = p->h;
    if (left_out(h, t->name))
        return ERR_OK;
    if (!find_place(h, t->name, &at))
        return err_set(p->e, ERR_UNSUPPORTED,
                       "%s: the tensor %.*s has no place in %s as it is "
                       "supported here",
                       h->dir, (int)t->name.n, t->name.p, h->family->name);
    if (t->number < 0)
        return err_set(p->e, ERR_UNSUPPORTED,
                       "%s: the tensor %.*s is of the type %.*s, which is "
                       "not read (F32, F16 and BF16 are)",
                       h->dir, (int)t->name.n, t->name.p, (int)t->type.n, t->type.p);
    if (t->bytes == 0)
        return err_set(p->e, ERR_CORRUPT, "%s: the tensor %.*s is empty", h->dir, (int)t->name.n,
                       t->name.p);
    const char *name = name_of(p, &at, at.row->name, strlen(at.row->name));
    bool turn = h->family->flags & HF_TURN_ROWS;
    if (strcmp(name, "token_embd.weight") == 0)
        h->n_vocab = (size_t)t->dims[0];
    switch (at.row->how) {
    case HF_NORM: return put_floats(p, name, t, h->family->flags & HF_NORM_MORE ? 1 : 0);
    case HF_FLOAT: return put_floats(p, name, t, 0);
    case HF_EXPERT: return add_expert(p, &at, t);
    case HF_HALVES: return put_halves(p, &at, t);
    case HF_Q:
        if (turn)
            return put_turned(p, name, t, "num_attention_heads");
        break;
    case HF_K:
        if (turn)
            return put_turned(p, name, t, "num_key_value_heads");
        break;
    case HF_AS_IS: break;
    }
    bool norm = strcmp(name, "output_norm.weight") == 0;
    if (norm || t->n_dims < 2)
        return put_floats(p, name, t, norm && h->family->flags & HF_NORM_MORE ? 1 : 0);
    return put_plain(p, name, t);
}

enum err hf_put_tensors(struct hf *h, struct errinfo *e)
{
    struct put p = {.h = h, .e = e};
    enum err r = ERR_OK;
    bool head = false;
    for (size_t i = 0; r == ERR_OK && i < h->tensors.n; i++) {
        r = put_one(&p, &h->tensors.t[i]);
        head |= span_ends(h->tensors.t[i].name, SPAN("lm_head.weight"));
    }
    for (size_t i = 0; r == ERR_OK && i < p.n_stacks; i++)
        r = put_stack(&p, &p.stack[i]);
    mem_free(p.stack);
    if (r == ERR_OK && h->n_vocab == 0)
        r = err_set(e, ERR_CORRUPT, "%s: the weights hold no embed_tokens.weight", h->dir);
    if (r == ERR_OK && !head && json_is_false(hf_conf(h, "tie_word_embeddings")))
        r = err_set(e, ERR_CORRUPT,
                    "%s: lm_head.weight is missing, and config.json says that the "
                    "embeddings do not serve as it",
                    h->dir);
    return r;
}
