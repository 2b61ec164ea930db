/* SPDX-License-Identifier: MIT
 * tok_int.h - what the files of this module share; nothing outside src/tok includes it.
 *
 * tok.c        opens a vocabulary and answers questions about it
 * tok_vocab.c  written form -> id, and the tokens that are found literally
 * tok_encode.c cuts literal tokens out of the text and hands the rest to the model's own file:
 *              tok_bpe.c, tok_spm.c, tok_ugm.c (Unigram), tok_wpm.c (WordPiece), tok_rwkv.c
 * tok_norm.c   SentencePiece's normalizer
 * tok_pre.c    pre-tokenizers (tok_pre.def): text -> pieces that are merged apart from each other
 * tok_merge.c  merges the symbols of one piece, best pair first
 * tok_nfc.c    Unicode normalisation forms C and D
 * tok_decode.c ids -> bytes */
#ifndef TOK_TOK_INT_H
#define TOK_TOK_INT_H

#include "base/arena.h"
#include "tok/tok.h"

#include <string.h>

#define TOK_STEPS_MAX  6
#define TOK_NONE       UINT32_MAX
#define TOK_SPACE      "\xe2\x96\x81" /* U+2581, SentencePiece's written space */
#define TOK_SPACE_LEN  ((size_t)3)
#define TOK_BYTE_CPS   0x144 /* byte-level code points lie below */
#define TOK_BYTE_UTF8  2     /* longest form of one of them */
#define TOK_TYPE(t, i) ((t)->attr[i] & TOK_TYPE_MASK)

/* GGUF's tokenizer.ggml.token_type. */
enum tok_type {
    TOK_UNDEFINED,
    TOK_NORMAL,
    TOK_UNKNOWN,
    TOK_CONTROL,
    TOK_USER,
    TOK_UNUSED,
    TOK_BYTE,
    TOK_TYPE_N
};
#define TOK_TYPE_MASK 0x0f
#define TOK_END       0x80 /* in attr: ends a turn or a text */

enum tok_pre_flags {
    TOK_PRE_NFC = 1,           /* the published normalizer is NFC */
    TOK_PRE_IGNORE_MERGES = 2, /* a piece that is a token is taken whole */
    TOK_PRE_BOS = 4,           /* the published post-processor begins with BOS */
    TOK_PRE_BYTES_2 = 8,       /* steps from number 2 on see bytes, not characters */
    TOK_PRE_EOS = 16,          /* the published post-processor ends with EOS */
    TOK_PRE_CHARS = 32,        /* not byte-level: symbols are characters, U+2581 is a space */
};

struct tok_pre {
    const char *name;
    unsigned flags;
    const char *step[TOK_STEPS_MAX]; /* patterns, NULL after the last */
};

/* A merge; left == TOK_NONE marks an empty slot. */
struct tok_pair {
    uint32_t left, right;
    uint32_t rank;
    int32_t id;
};

struct tok_slot {
    uint32_t tag; /* of the hash */
    int32_t id;   /* -1: empty */
};

/* A token that is found literally in the text. */
struct tok_fix {
    struct span text;
    int32_t id;
};

/* Tokens in the order of their bytes, so that those that begin a text are found byte by byte. */
struct tok_list {
    struct tok_fix *fix;     /* [n], sorted by text, then id */
    uint32_t first[256 + 1]; /* those that begin with byte b: first[b] .. [b + 1] */
    size_t n;
};

/* The tokens of a list that begin with the `at` bytes stepped over so far: fix[lo..hi). */
struct tok_walk {
    const struct tok_list *l;
    size_t lo, hi, at;
};

/* sentencepiece's precompiled_charsmap: a double array (darts-clone) from texts to offsets. */
struct tok_charsmap {
    const uint32_t *unit; /* [n]; NULL: none */
    size_t n;
    struct span to; /* texts that end with a NUL */
};

/* TOK_CHARS: characters are merged by a list of pairs (Gemma 4). */
enum tok_kind { TOK_BPE, TOK_SPM, TOK_CHARS, TOK_UGM, TOK_WPM, TOK_RWKV };

struct tok {
    const struct gguf *g;
    struct arena arena;
    enum tok_kind kind;

    int32_t n;
    const struct span *piece; /* [n], in the gguf; rwkv: in the arena, unescaped */
    uint8_t *attr;            /* [n] enum tok_type, TOK_END */
    struct tok_slot *slot;    /* [slot_mask + 1] */
    size_t slot_mask;
    size_t longest; /* bytes of the longest piece */
    bool has_twins; /* two pieces are written the same */

    struct tok_list fixed; /* control and user-defined tokens */

    int32_t bos, eos, sep, pad, unk;
    bool add_bos, add_eos;
    bool add_sep; /* two ends divide the texts of a pair */

    int32_t byte_id[256];          /* the token of a byte, or -1 */
    int16_t byte_of[TOK_BYTE_CPS]; /* bpe: byte of a code point, or -1 */

    /* bpe */
    const struct tok_pre *pre;
    void *step[TOK_STEPS_MAX]; /* pcre2_code */
    size_t n_steps;
    struct tok_pair *pair; /* [pair_mask + 1] */
    size_t pair_mask;

    /* spm */
    uint32_t *prio; /* [n] smaller is merged earlier */
    int32_t ascii_id[128];
    bool add_space, trim_spaces;
    bool space_once, space_missing; /* add_space: where (tok.h) */
    bool no_cut[256];               /* byte b stands before U+2581 inside a token */
    struct tok_charsmap charsmap;

    /* ugm, wpm, rwkv */
    struct tok_list words; /* what the text is made of */
    float *score;          /* ugm: [n] */
    float score_unk;
    bool lower, strip_accents; /* wpm */
};

/* A symbol of the piece being merged. */
struct tok_sym {
    uint32_t at, n; /* its bytes; n == 0 once it was merged into the one before */
    uint32_t prev, next;
    int32_t id;
};

struct tok_cand {
    uint64_t key; /* priority, then position: smaller is merged earlier */
    int32_t id;   /* what the pair becomes */
    uint32_t n;   /* its bytes: a candidate whose symbols changed is known by it */
};

/* ugm: the best way to write the text up to here. */
struct tok_node {
    float score;
    int32_t id;    /* its last token; -1: unknown */
    uint32_t from; /* where that begins; TOK_NONE: no way yet */
};

struct tok_cps {
    int32_t *p;
    size_t n, cap;
};

/* What one call of tok_encode needs. */
struct tok_work {
    const struct tok *t;
    struct tok_ids *out;
    size_t n_before; /* of out, when the text began */
    struct tok_sym *sym;
    size_t n_sym, cap_sym;
    struct tok_cand *heap;
    size_t n_heap, cap_heap;
    const char *text;      /* what sym.at counts from */
    struct str buf;        /* normalised or escaped text */
    void *match;           /* pcre2_match_data */
    uint16_t *unused_left; /* spm: [n] how an unused token was put together; NULL until needed */
    bool was_unk;
    struct tok_node *node; /* ugm */
    size_t cap_node;
    struct tok_cps cps; /* wpm: the word */
    struct errinfo *e;
};

static inline uint64_t tok_mix(uint64_t a)
{
    __uint128_t m = (__uint128_t)(a ^ 0x2d358dccaa6c78a5u) * 0x9e3779b97f4a7c15u;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* num_hash for short keys, with word loads; the order of bytes in a word does not matter here. */
static inline uint64_t tok_hash(const char *p, size_t n)
{
    uint64_t h = n, w = 0;
    uint32_t a, b;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&w, p, 8);
        h = tok_mix(h ^ w);
    }
    if (n >= 4) {
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
        return tok_mix(h ^ ((uint64_t)a << 32 | b));
    }
    for (size_t i = 0; i < n; i++)
        w = w << 8 | (unsigned char)p[i];
    return tok_mix(h ^ w);
}

/* Code point that byte-level vocabularies write byte b as. */
uint32_t tok_byte_cp(unsigned char b);
/* The byte that the written form "<0x41>" means, or -1. */
int tok_byte_written(struct span piece);

void tok_index_pieces(struct tok *t);
/* Needs attr and kind. */
void tok_index_fixed(struct tok *t);
/* The longest literal token of a type in `types` (1 << type) at p, or -1. */
int32_t tok_match_fixed(const struct tok *t, struct span s, unsigned types, size_t *len);
/* The list of all tokens of `types`.  SentencePiece finds user-defined tokens in text with U+2581
 * for spaces. */
void tok_list_init(struct tok *t, struct tok_list *l, unsigned types);
/* The longest token of l that s, which is not empty, begins with, or -1. */
int32_t tok_list_longest(const struct tok_list *l, struct span s, size_t *len);
void tok_walk_init(struct tok_walk *w, const struct tok_list *l);
/* Goes on by a byte; false when no token has it there. */
bool tok_walk_step(struct tok_walk *w, unsigned char c);
/* The first token that ends here, or -1. */
int32_t tok_walk_id(const struct tok_walk *w);

enum err tok_open_bpe(struct tok *t, struct errinfo *e);
enum err tok_open_spm(struct tok *t, struct errinfo *e); /* and TOK_CHARS, after tok_open_bpe */
enum err tok_open_ugm(struct tok *t, struct errinfo *e);
enum err tok_open_wpm(struct tok *t, struct errinfo *e);
/* Before the pieces are indexed: unescapes them. */
enum err tok_open_rwkv(struct tok *t, struct errinfo *e);
enum err tok_encode_bpe(struct tok_work *w, struct span s);
enum err tok_encode_spm(struct tok_work *w, struct span s);
enum err tok_encode_ugm(struct tok_work *w, struct span s);
enum err tok_encode_wpm(struct tok_work *w, struct span s);
void tok_encode_rwkv(struct tok_work *w, struct span s);

/* Keys of SentencePiece's normalizer and the cuts, for spm and ugm. */
enum err tok_open_norm(struct tok *t, bool add_space, bool trim_spaces, struct errinfo *e);
/* SentencePiece's normalizer: s into w->buf, which has U+2581 for spaces. */
enum err tok_escape(struct tok_work *w, struct span s);
/* Nothing can join what stands before s[i] and what begins there. */
bool tok_cuts_at(const struct tok *t, struct span s, size_t i);
/* tokenizer.ggml.scores, one for each token. */
enum err tok_read_scores(struct tok *t, const struct gguf_array **out, struct errinfo *e);
void tok_put_id(struct tok_work *w, int32_t id);
/* A text that is no token: its bytes, or one unknown token for all unknown text in a row. */
void tok_put_unknown(struct tok_work *w, struct span s);

/* NULL for an unknown name. */
const struct tok_pre *tok_find_pre(struct span name);
void tok_list_pre(struct str *out);
enum err tok_compile_pre(struct tok *t, struct errinfo *e);
void tok_free_pre(struct tok *t);
/* Calls tok_merge_piece for each piece of s, which is UTF-8. */
enum err tok_split_pre(struct tok_work *w, struct span s);
void tok_free_match(struct tok_work *w);
void tok_merge_piece(struct tok_work *w, struct span piece);

void tok_add_sym(struct tok_work *w, size_t at, size_t n, int32_t id);
/* Merges sym[0..n_sym); what remains is the chain that begins at sym[0]. */
void tok_merge_syms(struct tok_work *w);
/* The pair's token, or -1. */
int32_t tok_pair_bpe(const struct tok *t, const struct tok_sym *l, const struct tok_sym *r,
                     uint32_t *prio);
int32_t tok_pair_spm(const struct tok_work *w, const struct tok_sym *l, const struct tok_sym *r,
                     uint32_t *prio);

/* NFC of s, which is UTF-8: s itself where nothing changes, else text in w->buf. */
struct span tok_normalize(struct tok_work *w, struct span s);
void tok_cps_add(struct tok_cps *c, int32_t cp);
/* Appends the canonical decomposition of cp. */
void tok_decompose(struct tok_cps *c, int32_t cp);
/* Puts decomposed marks into canonical order. */
void tok_order_marks(struct tok_cps *c);

#endif
