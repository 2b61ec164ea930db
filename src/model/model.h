/* SPDX-License-Identifier: MIT
 * model.h - what a GGUF file's numbers mean: sizes, and tensors bound by name, shape and type.
 *
 * Does: find the architecture's row (arch.def), read its keys, bind every tensor, and refuse a
 *       file that lacks one, has one of another shape or an unknown format, or holds a tensor that
 *       nothing here would use: a model computed without a part of it would be a wrong one.
 * Does not: copy or convert matrices (vectors become floats), compute, or know devices.
 * Owner: the caller; the gguf must outlive the model.  Read-only: any thread may read. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "base/arena.h"
#include "base/err.h"
#include "gguf/gguf.h"
#include "kern/format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_LAYERS_MAX  1024
#define MODEL_DIM_MAX     (1 << 20)
#define MODEL_EXPERTS_MAX 1024
#define MODEL_CHOSEN_MAX  64
#define MODEL_STREAMS_MAX 16

enum model_rope { MODEL_PAIR, MODEL_HALF, MODEL_UNTURNED };
enum model_norm_kind { MODEL_RMS, MODEL_MEAN }; /* MEAN: LayerNorm, which takes the mean away */
enum model_act {
    MODEL_SILU,
    MODEL_GELU,       /* the tanh form */
    MODEL_GELU_ERF,   /* the exact one */
    MODEL_RELU2,      /* the square of what is positive */
    MODEL_SWIGLU_OAI, /* gpt-oss: gate and up cut to 7, gate * sigmoid(1.702 gate) * (up + 1) */
    MODEL_XIELU,      /* with four numbers a layer (Huang and Schlag 2024) */
    MODEL_ACT_N
};
/* How an expert's score becomes its weight. */
enum model_gating {
    MODEL_SOFTMAX,        /* of all scores */
    MODEL_SIGMOID,        /* of its own */
    MODEL_SOFTMAX_CHOSEN, /* of the scores of those that were chosen */
    MODEL_SPARSEMIXER     /* of those near the best that is left, one after the other (Liu et al.
                           * 2024) */
};
enum model_flags {
    MODEL_QK_NORM = 1 << 0,        /* queries and keys are normed: the file has to have the gains */
    MODEL_NORM_TURNED = 1 << 1,    /* they are normed after the rotation */
    MODEL_POST_NORM = 1 << 2,      /* blocks norm what they give, too */
    MODEL_NORM_AFTER = 1 << 3,     /* blocks norm what they give, not what they read */
    MODEL_NORM_BARE = 1 << 4,      /* norms have no gains */
    MODEL_FFN_NORM_POST = 1 << 5,  /* the feed-forward block's is called post_attention_norm */
    MODEL_PARALLEL = 1 << 6,       /* both blocks read the same residual stream */
    MODEL_EMBED_SCALE = 1 << 7,    /* embeddings times sqrt(width) */
    MODEL_LOGITS_DIVIDED = 1 << 8, /* by logit_scale, which others multiply with */
    MODEL_WINDOW_TURNS = 1 << 9,   /* only layers with a window turn queries and keys */
    MODEL_YARN_SMOOTH = 1 << 10,   /* YaRN's ramp begins and ends between frequencies too */
    MODEL_EXPERTS_NORM = 1 << 11,  /* the weights of a token's experts add up to 1 */
    MODEL_WEIGH_FIRST = 1 << 12,   /* they scale what an expert reads, not what it gives */
    MODEL_CHUNKS = 1 << 13,        /* a window begins at a multiple of its size */
    MODEL_QK_BARE = 1 << 14,       /* llama4: turned queries and keys are normed without gains */
    MODEL_LAST_EMBED_NORM = 1 << 15, /* the last norm is called token_embd_norm */
    MODEL_TURN_TUNED = 1 << 16, /* queries and keys turn unless rope.scaling.finetuned is false */
    MODEL_HEADS_TILED =
        1 << 17,            /* value head h goes with key head h % n, not with h / (n a head) */
    MODEL_V_BARE = 1 << 18, /* values are normed without gains; without a matrix they are keys */
    MODEL_SCORES_BY_SIZE = 1 << 19, /* scores are divided by the head's size, not by its root */
    MODEL_BESIDE_ROOT = 1 << 20,    /* what experts and a block beside them give, by sqrt(1/2) */
    MODEL_SCORES_GROW = 1 << 21,    /* beyond attention.temperature_length, behind their cap */
    MODEL_BIDIRECTIONAL = 1 << 24,  /* a token sees what follows it, too */
    MODEL_STREAM_NORM = 1 << 25,  /* the residual stream is normed after each block, and only so */
    MODEL_FIRST_BARE = 1 << 26,   /* the first layer's attention reads the stream as it is */
    MODEL_GLOBAL_FIRST = 1 << 27, /* layers 0, n, 2n see everything: see window_pattern */
};

/* How the hidden states of a text become one; the numbers are GGUF's. */
enum model_pooling {
    MODEL_POOL_NONE, /* the file does not say */
    MODEL_POOL_MEAN,
    MODEL_POOL_CLS, /* the first token's */
    MODEL_POOL_LAST,
    MODEL_POOL_RANK /* a score, by the head */
};

/* One row of arch.def. */
struct model_arch {
    const char *name;
    const char *models; /* of the family, for people */
    enum model_rope rope;
    enum model_rope index_rope; /* of what chooses positions */
    enum model_norm_kind norm;
    enum model_act act;
    enum model_gating gating;
    unsigned flags;
    uint32_t window_pattern;
    uint32_t unturned_pattern;
    float local_rope_base;
    uint32_t window; /* this and the caps: where the file does not say */
    float attn_cap, logit_cap, attn_scale, embed_scale, logit_scale;
    float depth_scale;   /* what blocks give counts by this / sqrt(layers) */
    uint32_t base_width; /* logits by base_width / width */
    float alibi;         /* scores fall with the distance (Press et al. 2022); 0: they do not */
    float temper;
    uint32_t temper_length; /* see struct model */
};

/* A matrix as the file has it, or consecutive rows of one. */
struct model_matrix {
    struct span name;
    enum format format;
    size_t rows, cols; /* dst[rows] = matrix x src[cols] */
    const struct gguf_tensor *tensor;
    const uint8_t *data; /* [rows], in the tensor's bytes */
    /* What it gives is multiplied by, or NULL: one number, of a stack of experts' [n_expert]. */
    const float *scale;
};

/* (x - mean, of MODEL_MEAN) / its size * gain + bias. */
struct model_norm {
    const float *gain; /* NULL: there is no such norm */
    const float *bias; /* or NULL */
    size_t n, n_gains; /* gains of one group, and of how many groups: 1, or one each */
    bool rms;          /* the mean stays, whatever the family does */
    bool mean;         /* it is taken away, whatever the family does */
    float eps;         /* 0: the model's */
};

/* Angles of rotation: position * inverse[i] for pair i. */
struct model_angles {
    const float *inverse; /* [n_rot / 2] */
    float magnitude;      /* of cosines and sines; 1 but for YaRN */
    size_t n_rot;
};

/* A feed-forward block: down(act(gate x) * up x), or down(act(up x)) without a gate. */
struct model_ffn {
    struct model_matrix gate, up, down; /* [n][dim], [n][dim], [dim][n]; rows 0: not there */
    const float *gate_bias, *up_bias, *down_bias; /* or NULL */
    size_t n;
    bool fused; /* up is gate and up: of each expert gate's rows come first */
};

/* Some of n_expert blocks for each token.  Their matrices lie one behind the other: rows are
 * n_expert times those of one, biases [n_expert][rows of one]. */
struct model_experts {
    struct model_matrix router; /* [n_expert][dim]; rows 0: the layer has no experts */
    const float *router_bias;   /* [n_expert] or NULL */
    const float *choice_bias;   /* [n_expert] or NULL: added for the choice, not to the weights */
    /* Where the layer's block is beside them (Gemma 4): norms of what the router reads, of what
     * they read and give, and of what the block gives; or none. */
    struct model_norm router_norm, norm, post_norm, block_post_norm;
    struct model_norm input_norm; /* they read what the layer's attention reads; or none (Arctic) */
    struct model_ffn each;        /* n: of one */
    struct model_ffn shared;      /* of all tokens; n 0: there is none */
    struct model_matrix shared_gate; /* [1][dim]: the shared block counts by its sigmoid; rows 0 */
};

/* Queries, and keys and values, by way of fewer numbers, which are what is kept (DeepSeek-AI 2024):
 * each head's matrices turn its query into the small space, and what it mixes there into values. */
struct model_latent {
    struct model_matrix q_low, q_high; /* [q_low][dim], [n_head * head][q_low or dim] */
    struct model_matrix kv_low;        /* [kv_low + n_rot][dim]; or with kv_from for kv_low */
    struct model_norm q_norm, kv_norm;
    struct model_matrix to_low;   /* [n_head * kv_low][head - n_rot]: a head's behind the other's */
    struct model_matrix to_value; /* [n_head * value][kv_low] */
    /* Instead of both, where heads are kept whole: a head's key without its turned part, and its
     * value; [n_head * (k_dim - n_rot + v_dim)][kv_from]. */
    struct model_matrix kv_high;
};

/* Chooses the positions that a layer's latent attention sees, where there are more than it is to
 * see (DeepSeek-AI 2025): those of the largest sums over heads of weight * max(q k, 0), whose keys
 * are one head's.  The makers' code turns queries and keys by a Hadamard matrix before it makes
 * them 8-bit, which changes no product of theirs: here they stay as they are. */
struct model_indexer {
    struct model_matrix q;       /* [heads * dim][q_low]; rows 0: the layer before has chosen */
    struct model_matrix k;       /* [dim][the model's dim] */
    struct model_matrix weights; /* [heads][the model's dim] */
    struct model_norm k_norm;
};

/* What a layer has beside attention, or in its place: a block whose state is of one size, however
 * long the sequence is. */
enum model_mixer_kind {
    MODEL_NO_MIXER,
    MODEL_CONV,       /* a short convolution between two gates (LFM2) */
    MODEL_SCAN,       /* a selective state space of channels (Gu and Dao 2023) */
    MODEL_SCAN_HEADS, /* of heads (Dao and Gu 2024) */
    MODEL_DELTA,      /* the gated delta rule (Yang et al. 2024) */
    MODEL_DELTA_EACH, /* each number of a key fades by itself (Kimi Team 2025) */
    MODEL_WKV6,       /* RWKV 6 (Peng et al. 2024) */
    MODEL_GATED,      /* the same without what a token adds at once (Yang et al. 2024; QRWKV 6) */
    MODEL_WKV7        /* RWKV 7: what is said of a key is taken back in part (Peng et al. 2025) */
};

/* Sizes of the model's mixers; 0 where they have no such thing. */
struct model_mixer_sizes {
    size_t taps;     /* of the convolution */
    size_t inner;    /* channels of what is mixed */
    size_t state;    /* of a channel; DELTA, WKV: of a key */
    size_t heads;    /* of inner */
    size_t groups;   /* of heads that share what they read and write with; else heads of keys */
    size_t rank;     /* SCAN: of the step sizes */
    bool bare_norms; /* SCAN: steps, b and c are normed without gains */
};

/* high(f(low x)) + bias, by way of few numbers. */
struct model_low_rank {
    struct model_matrix low, high; /* [rank][dim], [n][rank]; rows 0: there is none */
    const float *bias;             /* [n] or NULL */
};

/* What RWKV's products read: the row, moved towards the one before it by a number each. */
enum model_lerp {
    MODEL_LERP_R,
    MODEL_LERP_W,
    MODEL_LERP_K,
    MODEL_LERP_V,
    MODEL_LERP_A,
    MODEL_LERP_G,
    MODEL_LERP_N
};

/* The parts of WKV6, GATED and WKV7 (the families' time mixing). */
struct model_wkv {
    const float *lerp[MODEL_LERP_N]; /* [dim] */
    const float *lerp_x;             /* WKV6, GATED: [dim], for what these numbers grow by: */
    struct model_matrix lerp_low, lerp_high; /* [5 * rank][dim], a [dim][rank] each */
    struct model_matrix r, k, v;             /* [inner][dim]; of groups: k and v */
    const float *r_bias, *k_bias, *v_bias;   /* or NULL */
    struct model_matrix gate;                /* WKV6, GATED: [inner][dim] */
    struct model_low_rank decay;
    const float *first;             /* WKV6: [inner] */
    struct model_low_rank rate;     /* WKV7: how much of a key is taken back */
    struct model_low_rank share;    /* WKV7: of the first layer's values; none in that */
    struct model_low_rank gate_low; /* WKV7: or none */
    const float *k_k, *k_a, *r_k;   /* WKV7: [inner] */
};

struct model_mixer {
    enum model_mixer_kind kind;
    struct model_matrix x;    /* [conv][dim], what the convolution reads; by_head: z, too */
    struct model_matrix z;    /* [inner][dim]: the gate of the result */
    struct model_matrix b, c; /* CONV: gates before and after; SCAN: [state][inner] */
    struct model_matrix dt;   /* step sizes: SCAN: [rank][inner]; SCAN_HEADS, DELTA: [heads][dim] */
    struct model_matrix dt_high; /* SCAN, DELTA_EACH: [inner][rank] */
    /* DELTA_EACH: keys and values, of which x has the queries; z by way of fewer numbers. */
    struct model_matrix k, v, z_low;
    struct model_matrix beta; /* DELTA: [heads][dim]; rows 0: in dt, a group's before its steps */
    struct model_matrix out;  /* [dim][inner] */
    struct model_norm dt_norm, b_norm, c_norm, norm;
    bool by_head;           /* SCAN_HEADS: a head's rows of x are its gate and its channels, and
                             * steps, b and c are read off the channels, as SCAN's are */
    size_t n_conv;          /* channels of the convolution */
    const float *taps;      /* [taps][n_conv], the newest last */
    const float *conv_bias; /* [n_conv] or NULL */
    const float *dt_bias;   /* SCAN: [inner]; else [heads] */
    const float *a;         /* SCAN: [state][inner]; else [heads]: negative */
    const float *d;         /* as a has channels or heads; DELTA: NULL */
    struct model_wkv wkv;
};

/* The feed-forward block of RWKV reads the row before, too (the families' channel mixing). */
struct model_channels {
    const float *lerp_k, *lerp_r; /* [dim]; NULL: there is no such thing; RWKV 7: no lerp_r */
    struct model_matrix r;        /* [dim][dim]: its sigmoid scales the result; rows 0: none */
};

/* A part of a token's own embedding for the layer, which the stream's gate lets in (Gemma 3n). */
struct model_layer_input {
    struct model_matrix gate, out; /* [n][dim], [dim][n]; rows 0: there is none */
    struct model_norm norm;
};

/* What a layer has where there are several residual streams, of which it works on the first. */
struct model_streams {
    struct model_norm router_norm;        /* gains divided by the width */
    struct model_matrix router;           /* [n_streams][dim] */
    struct model_matrix predict, correct; /* [n_streams * n_streams and n_streams][n_streams] */
    const float *scale;                   /* [dim]: of the first, for its inputs' gate; or NULL */
    struct model_matrix laurel_low, laurel_high; /* [low][dim], [dim][low] */
    struct model_norm laurel_norm;
};

/* dst[rows] = weight x src[cols] + bias, of pooled states; rows 0: there is none. */
struct model_dense {
    const float *weight, *bias; /* [rows][cols]; [rows] or NULL */
    size_t rows, cols;
};

/* What scores a pair of texts by their pooled state: out(norm(act(hidden x))); only out has to be.
 * act is tanh, or GELU where there is a norm (ModernBERT's). */
struct model_head {
    struct model_dense hidden, out;
    struct model_norm norm;
    enum model_pooling pooling;
};

struct model_layer {
    struct model_norm attn_norm, ffn_norm, attn_post_norm, ffn_post_norm;
    struct model_norm attn_stream_norm, ffn_stream_norm; /* of the stream, after each block */
    struct model_norm q_norm, k_norm, v_norm;            /* of each head, or of all in one */
    struct model_matrix q, k, v, o; /* [n_head * k_dim][dim] ... [dim][n_head * v_dim] */
    struct model_matrix gate; /* [n_head * v_dim][dim], of what heads mix; rows 0: none, or in q */
    const float *q_bias, *k_bias, *v_bias, *o_bias; /* or NULL */
    const float *sinks;                             /* [n_head] or NULL: scores of nothing */
    struct model_latent latent;                     /* instead of q, k and v; or all empty */
    struct model_indexer indexer;
    bool attends;    /* false: it has no attention, and no pages */
    bool linear;     /* in its place o alone, of what attention would read (Nemotron NAS) */
    bool q_gated;    /* a head's rows of q are its query, then a gate of what it mixes */
    size_t kv_index; /* of those that store keys and values */
    bool reuses_kv;  /* it attends to what an earlier layer stored: kv_index is that one's */
    size_t n_head, n_kv_head, k_dim, v_dim;
    bool local; /* it has a window */
    struct model_mixer mixer;
    struct model_ffn ffn; /* n 0: the layer has experts alone, or neither */
    struct model_channels channels;
    struct model_experts experts;
    struct model_layer_input input;
    struct model_streams streams;
    bool sparse; /* gates count that are above their mean by `sparsity` deviations */
    float sparsity;
    float out_scale;                   /* of the stream, after the layer */
    uint32_t window;                   /* positions seen; 0: all */
    const struct model_angles *angles; /* NULL: queries and keys are not turned */
    bool tempers;                      /* queries grow with the position */
    float xielu[4];                    /* of x > 0, of the others, of both, the least */
};

/* Of a projector file: a picture of image x image pixels is grid x grid patches, which are rows of
 * the encoder; the mean of each square x square of them becomes a row of n_soft for the language
 * model. */
struct model_vision {
    size_t image, patch_side, grid, square, n_soft;
    struct model_matrix patch; /* [dim][3 * patch_side * patch_side]: colours, lines, columns */
    const float *patch_bias;
    struct model_norm soft_norm;
    struct model_matrix project; /* [the language model's width][dim] */
    float mean[3], std[3];       /* of a colour, of 0 to 1 */
};

struct model {
    struct arena arena;
    const struct gguf *gguf;
    const struct model_arch *arch;
    size_t n_attend; /* layers that store keys and values */
    bool no_heads;   /* the file says that none does: sizes of heads mean nothing */
    bool has_state;  /* some layer has a mixer */
    struct model_mixer_sizes mixer;
    /* Of layers that differ: the most that one has.  n_rot_local: of those with a window. */
    size_t dim, ff, n_layer, n_head, n_kv_head, k_dim, v_dim, n_rot, n_rot_local, n_vocab;
    size_t n_shared_kv; /* the last layers, which store no keys and values */
    size_t n_streams;   /* residual streams; 0: the one */
    size_t n_input;     /* numbers of a token's embedding for each layer; 0: there is none */
    size_t n_expert, n_chosen, ff_expert; /* 0: no layer has experts */
    size_t n_group, n_group_chosen;       /* experts are chosen out of some groups; 1: no groups */
    size_t halve_every;   /* layers after which the stream is halved; 0: it never is (RWKV 6) */
    size_t n_layer_ahead; /* layers of the file after these, which guess further tokens */
    size_t ctx_trained;
    /* The most positions that attention sees, and sizes of what chooses them; 0: it sees all. */
    size_t index_top_k, index_heads, index_dim;
    enum model_gating gating;
    enum model_act act;
    bool experts_norm, parallel;
    bool bidirectional; /* tokens see all of their text, which has to be in one step */
    enum model_pooling pooling;
    struct model_head head;      /* of rerankers; out.rows 0: there is none */
    struct model_dense dense[2]; /* of pooled states, one after the other; or none */
    float experts_scale;
    float norm_eps, embed_scale, attn_scale, attn_cap, logit_cap; /* caps: 0 for none */
    float residual_scale, logit_scale;
    float router_cap;  /* of experts' scores; 0: none */
    float value_scale; /* of attention's values */
    float qkv_clamp;   /* 0: none */
    float alibi; /* the steepest head falls by 2^(-alibi / n_head), the others by its powers */
    /* Queries are multiplied by 1 + temper ln(1 + floor((position + temper_ahead) / length)). */
    float temper;
    size_t temper_length, temper_ahead;
    /* Scores, capped, of a query at a later position are multiplied by ln position / ln this; 0:
     * they are not. */
    size_t grow_from;
    /* Of layers whose keys and values are latent: sizes of a head, of the small spaces; 0: none
     * are. k_dim and v_dim are then what one shared head keeps. */
    size_t head_dim, value_dim, q_low, kv_low;
    /* The small space where each head's keys and values are made of it and kept (MiniCPM3, and
     * older files of others); 0: there is none.  k_dim and v_dim are then a head's. */
    size_t kv_from;
    float rope_base;
    struct model_angles angles, angles_local;
    struct model_angles angles_far; /* longrope's, for contexts beyond ctx_near; or none */
    size_t ctx_near;
    struct model_matrix embed, output; /* [n_vocab][dim]; output may be embed; rows 0: the model
                                        * writes no text */
    struct model_matrix positions;     /* [positions][dim], added to the embeddings; rows 0: none */
    const float *type_embed;           /* [n_types][dim] or NULL: each token gets its type's */
    size_t n_types;                    /* BERT's segments: a pair's second text has another */
    struct model_matrix input_embed;   /* [n_vocab][n_layer * n_input] */
    struct model_matrix input_proj;    /* [n_layer * n_input][dim]: of the embedding */
    struct model_matrix *stream_in, *stream_out; /* [n_streams - 1]: [dim][dim], of the others */
    struct model_norm input_norm;                /* of what that gives, for each layer */
    const float *output_bias;                    /* [n_vocab] or NULL */
    struct model_norm embed_norm, output_norm;
    struct model_layer *layers;  /* [n_layer] */
    size_t n_weights;            /* elements of all tensors */
    struct model_vision *vision; /* NULL: it reads tokens */
};

/* Errors: UNSUPPORTED (names the architecture, format or tensor and what is supported), CORRUPT
 * (names the key or tensor and both shapes). */
enum err model_open(struct model **out, const struct gguf *g, struct errinfo *e);
/* The same of a projector file, which `convert_hf_to_gguf.py --mmproj` writes: it has no
 * vocabulary, and its steps read patches. */
enum err model_open_vision(struct model **out, const struct gguf *g, struct errinfo *e);
void model_close(struct model *m);

/* By keys and names alone, before anything is opened: false for encoders and rerankers. */
bool model_writes_text(const struct gguf *g);

/* Are keys and values made of few numbers, whether these are kept or heads made of them? */
static inline bool model_is_latent(const struct model *m)
{
    return m->kv_low || m->kv_from;
}

/* Is the mean taken away? */
static inline bool model_norm_mean(const struct model *m, const struct model_norm *n)
{
    return n->mean || (m->arch->norm == MODEL_MEAN && !n->rms);
}

/* "llama, qwen2, ..." */
const char *model_arch_list(void);

/* The longest sequence that will be computed with: chooses between angles for near and far
 * positions (longrope, of the Phi-3 families), before a step is computed. */
void model_use_context(struct model *m, size_t ctx);

#endif
