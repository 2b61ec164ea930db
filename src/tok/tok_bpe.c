/* SPDX-License-Identifier: MIT
 * tok_bpe.c - byte-level BPE: vocabularies that write each byte as a printable character (GPT-2's
 * alphabet) and give the pairs that merge, in their order. */
#include "tok/tok_int.h"

#include "base/log.h"
#include "base/num.h"

/* GPT-2's bytes_to_unicode: printable Latin-1 stands for itself, the rest counts up from U+0100. */
uint32_t tok_byte_cp(unsigned char b)
{
    static const unsigned char ranges[][2] = {
        {33,  126},
        {161, 172},
        {174, 255}
    };
    uint32_t n_before = 0;
    for (size_t i = 0; i < N_ELEMS(ranges); i++) {
        if (b >= ranges[i][0] && b <= ranges[i][1])
            return b;
        if (b > ranges[i][1])
            n_before += ranges[i][1] - ranges[i][0] + 1u;
    }
    return 256 + b - n_before;
}

static void index_bytes(struct tok *t)
{
    memset(t->byte_of, 0xff, sizeof t->byte_of);
    for (int b = 0; b < 256; b++) {
        char form[4];
        uint32_t cp = tok_byte_cp((unsigned char)b);
        size_t n = utf8_put(form, cp);
        t->byte_of[cp] = (int16_t)b;
        t->byte_id[b] = tok_find(t, (struct span){form, n});
    }
}

static size_t pair_slot(const struct tok *t, uint32_t left, uint32_t right)
{
    return (size_t)(tok_mix((uint64_t)left << 32 | right) >> 32) & t->pair_mask;
}

static struct tok_pair *find_pair(const struct tok *t, uint32_t left, uint32_t right)
{
    size_t i = pair_slot(t, left, right);
    while (t->pair[i].left != TOK_NONE && (t->pair[i].left != left || t->pair[i].right != right))
        i = (i + 1) & t->pair_mask;
    return &t->pair[i];
}

int32_t tok_pair_bpe(const struct tok *t, const struct tok_sym *l, const struct tok_sym *r,
                     uint32_t *prio)
{
    const struct tok_pair *p = find_pair(t, (uint32_t)l->id, (uint32_t)r->id);
    *prio = p->rank;
    return p->left == TOK_NONE ? -1 : p->id;
}

/* Most vocabularies have what merges make in the order of the merges, and looking there first is
 * much cheaper than the hash table. */
static int32_t find_near(const struct tok *t, struct span piece, int32_t last)
{
    for (int32_t id = last; !t->has_twins && id < t->n && id <= last + 1; id++)
        if (span_eq(t->piece[id], piece))
            return id;
    return tok_find(t, piece);
}

/* "left right" -> the pair's slot.  False where one of the three tokens does not exist.  *last is
 * what the merge before made. */
static bool add_pair(struct tok *t, struct span left, struct span right, uint32_t rank,
                     int32_t *last)
{
    char both[2 * TOK_PIECE_BYTES_MAX];
    if (left.n > TOK_PIECE_BYTES_MAX || right.n > TOK_PIECE_BYTES_MAX)
        return false;
    memcpy(both, left.p, left.n);
    memcpy(both + left.n, right.p, right.n);
    int32_t l = tok_find(t, left), r = tok_find(t, right);
    int32_t id = find_near(t, (struct span){both, left.n + right.n}, *last);
    if (l < 0 || r < 0 || id < 0)
        return false;
    *last = id;
    *find_pair(t, (uint32_t)l, (uint32_t)r) = (struct tok_pair){
        (uint32_t)l, (uint32_t)r, rank, id}; /* a repeated pair: the last one */
    return true;
}

static enum err read_merges(struct tok *t, struct errinfo *e)
{
    const struct gguf_array *a;
    size_t n_slots = 64, n_lost = 0;
    int32_t last = 0;
    TRY(gguf_get_array(t->g, "tokenizer.ggml.merges", GGUF_STRING, &a, e));
    if (!a)
        return err_set(e, ERR_CORRUPT, "%s: the key tokenizer.ggml.merges is missing",
                       gguf_path(t->g));
    if (a->n >= TOK_NONE)
        return err_set(e, ERR_CORRUPT, "%s: tokenizer.ggml.merges has %zu elements",
                       gguf_path(t->g), a->n);
    while (n_slots < a->n + a->n / 2)
        n_slots *= 2;
    t->pair_mask = n_slots - 1;
    t->pair = arena_array(&t->arena, n_slots, sizeof *t->pair);
    for (size_t i = 0; i < n_slots; i++)
        t->pair[i].left = TOK_NONE;
    for (size_t i = 0; i < a->n; i++) {
        struct span m = a->strings[i];
        /* the left token is not empty, so the space that divides is not the first byte */
        const char *space = m.n > 2 ? memchr(m.p + 1, ' ', m.n - 2) : NULL;
        if (!space)
            return err_set(e, ERR_CORRUPT, "%s: tokenizer.ggml.merges: element %zu is no pair",
                           gguf_path(t->g), i);
        size_t left = (size_t)(space - m.p);
        struct span right = {space + 1, m.n - left - 1};
        n_lost += !add_pair(t, (struct span){m.p, left}, right, (uint32_t)i, &last);
    }
    if (n_lost)
        log_at(LOG_WARN, "tok", "file=%s merges=%zu without_tokens=%zu", gguf_path(t->g), a->n,
               n_lost);
    return ERR_OK;
}

enum err tok_open_bpe(struct tok *t, struct errinfo *e)
{
    struct span name;
    if (t->kind == TOK_CHARS)
        name = SPAN("gemma4");
    else
        TRY(gguf_get_str(t->g, "tokenizer.ggml.pre", SPAN("default"), &name, e));
    t->pre = tok_find_pre(name);
    if (!t->pre) {
        struct str known;
        str_init(&known, 4096);
        tok_list_pre(&known);
        err_note(e, ERR_UNSUPPORTED, "the pre-tokenizer %.*s is not known (known: %s)",
                 (int)MIN(name.n, 64), name.p, known.p);
        str_done(&known);
        return ERR_UNSUPPORTED;
    }
    if (t->pre->flags & TOK_PRE_CHARS)
        t->kind = TOK_CHARS;
    tok_index_fixed(t);
    index_bytes(t);
    TRY(read_merges(t, e));
    return tok_compile_pre(t, e);
}

void tok_merge_piece(struct tok_work *w, struct span piece)
{
    const struct tok *t = w->t;
    if (t->pre->flags & TOK_PRE_IGNORE_MERGES) {
        char form[TOK_PIECE_BYTES_MAX + TOK_BYTE_UTF8];
        size_t n = 0, i = 0;
        for (; i < piece.n && n < t->longest; i++)
            n += utf8_put(form + n, tok_byte_cp((unsigned char)piece.p[i]));
        int32_t id = i == piece.n ? tok_find(t, (struct span){form, n}) : -1;
        if (id >= 0 && TOK_TYPE(t, id) == TOK_NORMAL) {
            tok_ids_add(w->out, id);
            return;
        }
    }
    w->n_sym = 0;
    for (size_t i = 0; i < piece.n; i++) {
        int32_t id = t->byte_id[(unsigned char)piece.p[i]];
        if (id >= 0) /* see tok.h */
            tok_add_sym(w, i, 1, id);
    }
    if (w->n_sym == 0)
        return;
    tok_merge_syms(w);
    for (uint32_t i = 0; i != TOK_NONE; i = w->sym[i].next)
        tok_ids_add(w->out, w->sym[i].id);
}

/* Bytes of s that are UTF-8. */
static size_t valid_prefix(struct span s)
{
    size_t i = 0, len;
    for (; i < s.n; i += len) {
        len = 1;
        if ((unsigned char)s.p[i] >= 0x80 && utf8_get(s.p + i, s.n - i, &len) < 0)
            break;
    }
    return i;
}

enum err tok_encode_bpe(struct tok_work *w, struct span s)
{
    while (s.n) {
        size_t n = valid_prefix(s);
        struct span text = {s.p, n};
        if (n && (w->t->pre->flags & TOK_PRE_NFC))
            text = tok_normalize(w, text);
        if (n)
            TRY(tok_split_pre(w, text));
        for (; n < s.n && valid_prefix((struct span){s.p + n, MIN(s.n - n, 4)}) == 0; n++)
            if (w->t->byte_id[(unsigned char)s.p[n]] >= 0)
                tok_ids_add(w->out, w->t->byte_id[(unsigned char)s.p[n]]);
        s = (struct span){s.p + n, s.n - n};
    }
    return ERR_OK;
}
