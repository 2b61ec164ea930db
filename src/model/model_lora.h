/* SPDX-License-Identifier: MIT
 * model_lora.h - low-rank adapters of a model (Hu et al. 2021, arXiv:2106.09685): what is added to
 * the results of some of its matrices, W x + scale * alpha / rank * B (A x).
 *
 * Does: read a GGUF adapter (general.type adapter, adapter.type lora, NAME.lora_a and NAME.lora_b,
 *       as llama.cpp's convert_lora_to_gguf.py writes them), check that it is one of this model's
 *       family and that each pair fits the tensor it names, and hold the numbers as floats.
 *       Experts' pairs are stacks of one for each.  Of the embeddings' pair, which is written
 *       turned, a token takes its row of the first; the output matrix stays as it is where both
 *       are one, as PEFT has it.
 * Does not: change the model's weights, adapt latent heads, norms or positions: an adapter with
 *       such tensors is refused by their names.
 * Owner: the caller; the model must outlive it, its gguf need not.  Read-only: any thread. */
#ifndef MODEL_MODEL_LORA_H
#define MODEL_MODEL_LORA_H

#include "model/model.h"

#define MODEL_LORA_RANK_MAX 4096

/* Of one tensor of the model. */
struct model_lora_pair {
    const struct gguf_tensor *tensor;
    size_t rank, cols, rows; /* of the tensor, or of one expert: rows x cols */
    float by;                /* alpha / rank, or 1 where the file names no alpha */
    const float *a;          /* [experts][rank][cols]; of embeddings [rows][rank] */
    const float *b;          /* [experts][rank][rows]; of embeddings [rank][cols] */
    bool embeds;
};

struct model_lora;

/* Errors: UNSUPPORTED (no adapter, another kind or family, a tensor that cannot be adapted),
 * CORRUPT (a pair that is not whole, or does not fit its tensor). */
enum err model_lora_open(struct model_lora **out, const struct gguf *adapter, const struct model *m,
                         struct errinfo *e);
void model_lora_close(struct model_lora *l);
size_t model_lora_bytes(const struct model_lora *l);
size_t model_lora_rank(const struct model_lora *l); /* the largest */
/* Pairs, for those who want to know whether all can be used. */
size_t model_lora_n(const struct model_lora *l);
const struct model_lora_pair *model_lora_at(const struct model_lora *l, size_t i);
/* What adapts the matrix, and the first of its tensor's rows that the matrix has; or NULL. */
const struct model_lora_pair *model_lora_of(const struct model_lora *l,
                                            const struct model_matrix *w, size_t *row);

#endif
