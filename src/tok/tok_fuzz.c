/* SPDX-License-Identifier: MIT
 * tok_fuzz.c - the first byte picks what the rest is: 'G' a GGUF file, 'V' a vocabulary (pieces,
 * types, scores and merges between separators), anything else text for a fixed vocabulary. */
#include "base/arena.h"
#include "base/log.h"
#include "base/num.h"
#include "tok/tok_int.h"
#include "tok/tok_made.h"

#include <stdio.h>

#define PIECES_MAX 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const texts[] = {
    "Hello, world! it's 1234  \n\n\t x",
    "\xec\x95\x88\xeb\x85\x95 \xe1\x84\x92\xe1\x85\xa1 e\xcc\x81 \xf0\x9f\x91\x8d",
    "<|im_start|><s>a</s><t><0x41>\xff\xfe \xe2\x96\x81 \xe2\x96\x81",
    "aaaaaaaabababab  aa",
};

/* Encodes s and decodes the ids; `lossless`: that must give s again. */
static void turn_over(const struct tok *t, struct span s, unsigned flags, bool lossless)
{
    struct errinfo e;
    struct tok_ids ids = {0};
    struct tok_stream stream;
    struct str all, parts;
    str_init(&all, (size_t)1 << 26);
    str_init(&parts, (size_t)1 << 26);
    CHECK(tok_encode(t, s, flags, &ids, &e) == ERR_OK);
    CHECK(tok_decode(t, ids.id, ids.n, TOK_SPECIAL | TOK_START, &all, &e) == ERR_OK);
    CHECK(!lossless || span_eq(str_span(&all), s));
    tok_stream_init(&stream, t, TOK_SPECIAL);
    for (size_t i = 0; i < ids.n; i++) {
        CHECK(tok_stream_add(&stream, ids.id[i], &parts, &e) == ERR_OK);
        CHECK(tok_is_end(t, ids.id[i]) || tok_n_vocab(t) > 0);
    }
    tok_stream_end(&stream, &parts);
    CHECK(utf8_valid(str_span(&parts)));
    tok_stream_done(&stream);
    tok_ids_done(&ids);
    str_done(&all);
    str_done(&parts);
}

static void try_file(const void *bytes, size_t n)
{
    struct errinfo e;
    struct gguf *g;
    struct tok *t;
    if (gguf_open_bytes(&g, bytes, n, &e) != ERR_OK)
        return;
    if (tok_open(&t, g, &e) == ERR_OK) {
        for (size_t i = 0; i < N_ELEMS(texts); i++)
            turn_over(t, span_of(texts[i]), TOK_SPECIAL | TOK_BOS, false);
        for (int32_t id = 0; id < MIN(tok_n_vocab(t), 50); id++)
            turn_over(t, tok_piece(t, id), id % 2 ? TOK_SPECIAL : 0, false);
        tok_close(t);
    }
    gguf_close(g);
}

/* Pieces are divided by 0xfe; a piece begins with a byte for type and score.  Merges are pairs of
 * bytes after 0xfd, indexes of pieces. */
static void try_vocabulary(const uint8_t *p, size_t n)
{
    struct made m;
    struct span piece[PIECES_MAX], merge[PIECES_MAX];
    int32_t type[PIECES_MAX];
    float score[PIECES_MAX];
    char text[PIECES_MAX][64];
    size_t n_pieces = 0, n_merges = 0, i = 2;
    unsigned how = n > 1 ? p[1] : 0;
    for (; i < n && p[i] != 0xfd && n_pieces < PIECES_MAX; i++, n_pieces++) {
        size_t from = i + 1;
        type[n_pieces] = p[i] % 8;
        score[n_pieces] = p[i] == 0xff ? 0.0f / (float)(how >> 9) : (float)(p[i] >> 3);
        while (i < n && p[i] != 0xfe && p[i] != 0xfd)
            i++;
        from = MIN(from, i);
        piece[n_pieces] = (struct span){(const char *)p + from, i - from};
        if (i < n && p[i] == 0xfd)
            i--;
    }
    for (i++; i + 1 < n && n_pieces && n_merges < PIECES_MAX; i += 2, n_merges++) {
        struct span l = piece[p[i] % n_pieces], r = piece[p[i + 1] % n_pieces];
        int len = snprintf(text[n_merges], sizeof text[0], "%.*s %.*s", (int)MIN(l.n, 30), l.p,
                           (int)MIN(r.n, 30), r.p);
        merge[n_merges] = (struct span){text[n_merges], (size_t)len};
    }
    made_begin(&m);
    static const char *const models[] = {"gpt2", "llama", "gemma4", "t5", "bert", "rwkv"};
    unsigned model = n > 2 && how >> 6 ? 2 + (how >> 4) % 4 : how & 1;
    made_str(&m, "tokenizer.ggml.model", span_of(models[model]));
    made_str(&m, "tokenizer.ggml.pre", how & 2 ? SPAN("qwen2") : SPAN("llama-bpe"));
    if (n > 8 && how & 1) { /* the vocabulary's own bytes as a charsmap of one unit or more */
        made_key(&m, "tokenizer.ggml.precompiled_charsmap", GGUF_ARRAY);
        made_u32(&m, GGUF_U8);
        made_u64(&m, 4 + n);
        made_u32(&m, 4 * (uint32_t)(1 + p[2] % (n / 4)));
        str_add(&m.s, p, n);
    }
    made_bool(&m, "tokenizer.ggml.add_space_prefix", how & 4);
    made_bool(&m, "tokenizer.ggml.remove_extra_whitespaces", how & 8);
    made_strings(&m, "tokenizer.ggml.tokens", piece, n_pieces);
    made_numbers(&m, "tokenizer.ggml.token_type", GGUF_I32, type, n_pieces);
    made_numbers(&m, "tokenizer.ggml.scores", GGUF_F32, score, n_pieces);
    made_strings(&m, "tokenizer.ggml.merges", merge, n_merges);
    made_id(&m, "tokenizer.ggml.bos_token_id", how >> 4);
    try_file(made_end(&m), m.s.n);
    made_done(&m);
}

#define FIXED "tests/data/tok/"

static void try_text(unsigned which, struct span s)
{
    static const char *const names[] = {
        "gpt-2",      "llama-bpe", "qwen2",         "gpt-4o",    "deepseek-llm",   "deepseek-v3",
        "falcon",     "bloom",     "spm-llama",     "spm-plain", "deepseek-coder", "tekken",
        "gemma4",     "unigram",   "unigram-bytes", "wordpiece", "rwkv",           "spm-rules",
        "exaone-moe", "kimi-k2",   "bailingmoe",    "youtu"};
    static struct gguf *gguf[N_ELEMS(names)];
    static struct tok *tok[N_ELEMS(names)];
    struct errinfo e;
    size_t i = which % N_ELEMS(names);
    if (!tok[i]) {
        char path[128];
        snprintf(path, sizeof path, FIXED "%s.gguf", names[i]);
        CHECK(gguf_open(&gguf[i], path, &e) == ERR_OK);
        CHECK(tok_open(&tok[i], gguf[i], &e) == ERR_OK);
    }
    bool nfc = tok[i]->pre && (tok[i]->pre->flags & TOK_PRE_NFC);
    bool lossless = (tok[i]->kind == TOK_BPE && !nfc) || tok[i]->kind == TOK_RWKV;
    turn_over(tok[i], s, 0, lossless);
    turn_over(tok[i], s, TOK_SPECIAL, lossless);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    log_level_set(LOG_ERROR);
    if (n == 0)
        return 0;
    if (data[0] == 'G')
        try_file(data + 1, n - 1);
    else if (data[0] == 'V')
        try_vocabulary(data, n);
    else
        try_text(data[0], (struct span){(const char *)data + 1, n - 1});
    return 0;
}
