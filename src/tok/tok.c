/* SPDX-License-Identifier: MIT
 * tok.c - opens a vocabulary: the keys that all models share, then the model's own. */
#include "tok/tok_int.h"

#include "base/num.h"

/* What ends a turn or a text in published vocabularies, whatever the eos key names. */
static const char *const end_names[] = {
    "</s>",
    "<eos>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|eom|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|end_of_turn|>",
    "<end_of_turn>",
    "<|END_OF_TURN_TOKEN|>",
    "<EOT>",
    "<|EOT|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "[|endofturn|]",
};

static enum err read_tokens(struct tok *t, struct errinfo *e)
{
    const struct gguf_array *a;
    TRY(gguf_get_array(t->g, "tokenizer.ggml.tokens", GGUF_STRING, &a, e));
    if (!a || a->n == 0 || a->n > TOK_VOCAB_MAX)
        return err_set(e, ERR_CORRUPT, "%s: tokenizer.ggml.tokens has %zu elements (1 to %d)",
                       gguf_path(t->g), a ? a->n : 0, TOK_VOCAB_MAX);
    t->piece = a->strings;
    t->n = (int32_t)a->n;
    for (size_t i = 0; i < a->n; i++) {
        if (t->piece[i].n > TOK_PIECE_BYTES_MAX)
            return err_set(e, ERR_CORRUPT, "%s: token %zu has %zu bytes; at most %d can be read",
                           gguf_path(t->g), i, t->piece[i].n, TOK_PIECE_BYTES_MAX);
        t->longest = MAX(t->longest, t->piece[i].n);
    }
    return ERR_OK;
}

static enum err read_types(struct tok *t, struct errinfo *e)
{
    const struct gguf_key *k = gguf_key(t->g, "tokenizer.ggml.token_type");
    t->attr = arena_alloc(&t->arena, (size_t)t->n);
    memset(t->attr, TOK_NORMAL, (size_t)t->n);
    if (!k)
        return ERR_OK;
    if (k->kind != GGUF_ARRAY || !k->a.data || k->a.n != (size_t)t->n)
        return err_set(e, ERR_CORRUPT, "%s: tokenizer.ggml.token_type is no array of %d integers",
                       gguf_path(t->g), t->n);
    for (size_t i = 0; i < k->a.n; i++) {
        int64_t type = gguf_array_i64(&k->a, i);
        if (type < 0 || type >= TOK_TYPE_N)
            return err_set(e, ERR_CORRUPT,
                           "%s: tokenizer.ggml.token_type: element %zu is %lld (0 to %d)",
                           gguf_path(t->g), i, (long long)type, TOK_TYPE_N - 1);
        t->attr[i] = type == TOK_UNDEFINED ? TOK_NORMAL : (uint8_t)type;
    }
    return ERR_OK;
}

static enum err read_id(const struct tok *t, const char *key, int32_t *out, struct errinfo *e)
{
    uint32_t id;
    TRY(gguf_get_u32(t->g, key, TOK_NONE, &id, e));
    *out = -1;
    if (!gguf_key(t->g, key))
        return ERR_OK;
    if (id >= (uint32_t)t->n)
        return err_set(e, ERR_CORRUPT, "%s: %s is %u, but there are %d tokens", gguf_path(t->g),
                       key, id, t->n);
    *out = (int32_t)id;
    return ERR_OK;
}

static enum err read_ids(struct tok *t, struct errinfo *e)
{
    int32_t eot, eom;
    TRY(read_id(t, "tokenizer.ggml.bos_token_id", &t->bos, e));
    TRY(read_id(t, "tokenizer.ggml.eos_token_id", &t->eos, e));
    /* the key's spelling is the format's */
    TRY(read_id(t, "tokenizer.ggml.seperator_token_id", &t->sep, e));
    TRY(read_id(t, "tokenizer.ggml.padding_token_id", &t->pad, e));
    TRY(read_id(t, "tokenizer.ggml.unknown_token_id", &t->unk, e));
    TRY(read_id(t, "tokenizer.ggml.eot_token_id", &eot, e));
    TRY(read_id(t, "tokenizer.ggml.eom_token_id", &eom, e));
    for (int32_t id = 0; t->unk < 0 && id < t->n; id++)
        if (TOK_TYPE(t, id) == TOK_UNKNOWN)
            t->unk = id;
    const int32_t ends[] = {t->eos, eot, eom};
    for (size_t i = 0; i < N_ELEMS(ends); i++)
        if (ends[i] >= 0)
            t->attr[ends[i]] |= TOK_END;
    for (size_t i = 0; i < N_ELEMS(end_names); i++) {
        int32_t id = tok_find(t, span_of(end_names[i]));
        if (id >= 0 && TOK_TYPE(t, id) == TOK_CONTROL)
            t->attr[id] |= TOK_END;
    }
    /* In harmony (openai/harmony, docs/format.md) <|end|> ends one message of an answer, and only
     * these end the answer. */
    int32_t message = tok_find(t, SPAN("<|end|>")), call = tok_find(t, SPAN("<|call|>"));
    if (message >= 0 && call >= 0 && tok_find(t, SPAN("<|return|>")) >= 0 && message != t->eos &&
        message != eot)
        t->attr[message] &= (uint8_t)~TOK_END;
    return ERR_OK;
}

/* tokenizer.ggml.model */
static const struct {
    const char *name;
    enum tok_kind kind;
} models[] = {
    {"gpt2",   TOK_BPE  },
    {"llama",  TOK_SPM  },
    {"gemma4", TOK_CHARS},
    {"t5",     TOK_UGM  },
    {"bert",   TOK_WPM  },
    {"rwkv",   TOK_RWKV },
};

static enum err read_model(struct tok *t, struct errinfo *e)
{
    struct span model;
    struct str known;
    TRY(gguf_need_str(t->g, "tokenizer.ggml.model", &model, e));
    for (size_t i = 0; i < N_ELEMS(models); i++) {
        if (span_eq_cstr(model, models[i].name)) {
            t->kind = models[i].kind;
            return ERR_OK;
        }
    }
    str_init(&known, 256);
    for (size_t i = 0; i < N_ELEMS(models); i++)
        str_addf(&known, i ? ", %s" : "%s", models[i].name);
    err_note(e, ERR_UNSUPPORTED, "the tokenizer model %.*s is not known (known: %s)",
             (int)MIN(model.n, 64), model.p, known.p);
    str_done(&known);
    return ERR_UNSUPPORTED;
}

static enum err open_kind(struct tok *t, struct errinfo *e)
{
    switch (t->kind) {
    case TOK_BPE:
    case TOK_CHARS:
        TRY(tok_open_bpe(t, e));
        return t->kind == TOK_CHARS ? tok_open_spm(t, e) : ERR_OK;
    case TOK_SPM: return tok_open_spm(t, e);
    case TOK_UGM: return tok_open_ugm(t, e);
    case TOK_WPM: return tok_open_wpm(t, e);
    case TOK_RWKV: tok_index_fixed(t); tok_list_init(t, &t->words, 1u << TOK_NORMAL);
    }
    return ERR_OK;
}

static enum err open_model(struct tok *t, struct errinfo *e)
{
    TRY(read_model(t, e));
    TRY(read_tokens(t, e));
    TRY(read_types(t, e));
    if (t->kind == TOK_RWKV)
        TRY(tok_open_rwkv(t, e));
    tok_index_pieces(t);
    TRY(read_ids(t, e));
    TRY(open_kind(t, e));
    unsigned pre = t->pre ? t->pre->flags : 0;
    bool bos = t->kind == TOK_SPM || t->kind == TOK_WPM || (pre & TOK_PRE_BOS);
    bool eos = t->kind == TOK_UGM || t->kind == TOK_WPM || (pre & TOK_PRE_EOS);
    TRY(gguf_get_bool(t->g, "tokenizer.ggml.add_bos_token", bos, &t->add_bos, e));
    TRY(gguf_get_bool(t->g, "tokenizer.ggml.add_eos_token", eos, &t->add_eos, e));
    /* RoBERTa's habit; others' files say so, too, whose published pairs have one [SEP]. */
    bool twice = t->eos >= 0 && span_eq_cstr(t->piece[t->eos], "</s>");
    TRY(gguf_get_bool(t->g, "tokenizer.ggml.add_sep_token", twice, &t->add_sep, e));
    t->add_sep = t->add_sep && twice;
    return ERR_OK;
}

enum err tok_open(struct tok **out, const struct gguf *g, struct errinfo *e)
{
    struct tok *t = mem_alloc(sizeof *t);
    t->g = g;
    arena_init(&t->arena);
    enum err err = open_model(t, e);
    if (err != ERR_OK) {
        tok_close(t);
        t = NULL;
    }
    *out = t;
    return err;
}

void tok_close(struct tok *t)
{
    if (!t)
        return;
    tok_free_pre(t);
    arena_done(&t->arena);
    mem_free(t);
}

int32_t tok_n_vocab(const struct tok *t)
{
    return t->n;
}

int32_t tok_bos(const struct tok *t)
{
    return t->bos;
}

int32_t tok_eos(const struct tok *t)
{
    return t->eos;
}

int32_t tok_sep(const struct tok *t)
{
    return t->sep;
}

int32_t tok_pad(const struct tok *t)
{
    return t->pad;
}

bool tok_is_end(const struct tok *t, int32_t id)
{
    CHECK(id >= 0 && id < t->n);
    return t->attr[id] & TOK_END;
}

bool tok_is_control(const struct tok *t, int32_t id)
{
    CHECK(id >= 0 && id < t->n);
    return TOK_TYPE(t, id) == TOK_CONTROL;
}

struct span tok_piece(const struct tok *t, int32_t id)
{
    CHECK(id >= 0 && id < t->n);
    return t->piece[id];
}

const char *tok_model(const struct tok *t)
{
    static const char *const names[] = {"bpe", "spm", "bpe", "unigram", "wordpiece", "rwkv"};
    return names[t->kind];
}

const char *tok_pre(const struct tok *t)
{
    return t->pre ? t->pre->name : "";
}
