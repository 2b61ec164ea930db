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

#define MODEL_LAYERS_MAX 1024
#define MODEL_DIM_MAX    (1 << 20)

enum model_rope { MODEL_ROPE_PAIR, MODEL_ROPE_HALF };
enum model_act { MODEL_ACT_SILU, MODEL_ACT_GELU };
enum model_flags { MODEL_QK_NORM = 1, MODEL_POST_NORM = 2, MODEL_EMBED_SCALE = 4 };

struct model_arch {
    const char *name;
    enum model_rope rope;
    enum model_act act;
    unsigned flags;
    uint32_t window_pattern;
    float local_rope_base;
    uint32_t window; /* this and the caps: where the file does not say */
    float attn_cap, logit_cap;
};

/* A matrix as the file has it. */
struct model_matrix {
    struct span name;
    enum format format;
    size_t rows, cols; /* dst[rows] = matrix x src[cols] */
    const struct gguf_tensor *tensor;
};

/* Angles of rotation: position * inverse[i] for pair i. */
struct model_angles {
    const float *inverse; /* [n_rot / 2] */
    float magnitude;      /* of cosines and sines; 1 but for YaRN */
};

struct model_layer {
    const float *attn_norm;         /* [dim] */
    struct model_matrix q, k, v, o; /* [n_head * k_dim][dim] ... [dim][n_head * v_dim] */
    const float *q_bias, *k_bias, *v_bias, *o_bias; /* or NULL */
    const float *q_norm, *k_norm;                   /* [k_dim] or NULL */
    const float *attn_post_norm;                    /* [dim] or NULL */
    const float *ffn_norm;                          /* [dim] */
    struct model_matrix gate, up, down;             /* [ff][dim], [ff][dim], [dim][ff] */
    const float *ffn_post_norm;                     /* [dim] or NULL */
    uint32_t window;                                /* positions seen; 0: all */
    const struct model_angles *angles;
};

struct model {
    struct arena arena;
    const struct gguf *gguf;
    const struct model_arch *arch;
    size_t dim, ff, n_layer, n_head, n_kv_head, k_dim, v_dim, n_rot, n_vocab;
    size_t ctx_trained;
    float norm_eps, embed_scale, attn_scale, attn_cap, logit_cap; /* caps: 0 for none */
    float rope_base;
    struct model_angles angles, angles_local;
    struct model_matrix embed, output; /* [n_vocab][dim]; output may be embed */
    const float *output_norm;          /* [dim] */
    struct model_layer *layers;        /* [n_layer] */
    size_t n_weights;                  /* elements of all tensors */
};

/* Errors: UNSUPPORTED (names the architecture, format or tensor and what is supported), CORRUPT
 * (names the key or tensor and both shapes). */
enum err model_open(struct model **out, const struct gguf *g, struct errinfo *e);
void model_close(struct model *m);

/* "llama, qwen2, ..." */
const char *model_arch_list(void);

/* Used by model.c: the rotation's angles with the file's scaling (model_rope.c). */
enum err model_read_angles(struct model *m, const float *factors, struct errinfo *e);

#endif
