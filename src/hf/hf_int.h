/* SPDX-License-Identifier: MIT
 * hf_int.h - what the files of this module share; nothing outside src/hf includes it.
 *
 * hf.c              a folder, file by file
 * hf_safetensors.c  the heads of weight files, checked
 * hf_keys.c         config.json -> keys;  hf_rope.c: of them, those of positions
 * hf_tensors.c      names, and the tensors that GGUF has otherwise
 * hf_tok.c          tokenizer.json and its companions -> keys;  hf_pre.c: the pre-tokenizer */
#ifndef HF_HF_INT_H
#define HF_HF_INT_H

#include "base/arena.h"
#include "gguf/gguf_build.h"
#include "hf/hf.h"

#include <jansson.h>

#define HF_DIMS_MAX    4
#define HF_HEAD_MAX    ((size_t)100000000) /* bytes; safetensors' own limit */
#define HF_JSON_MAX    ((size_t)256 << 20)
#define HF_LAYERS_MAX  1024
#define HF_EXPERTS_MAX 1024

enum hf_flags {
    HF_TURN_ROWS = 1 << 0,     /* GGUF has rows of q and k in the order of pairs that turn */
    HF_POST_NORMS = 1 << 1,    /* post_attention_layernorm norms what attention gives */
    HF_NORM_MORE = 1 << 2,     /* norms multiply by one more than their gains */
    HF_TIED = 1 << 3,          /* the output matrix is always the embeddings */
    HF_WINDOW_ALL = 1 << 4,    /* sliding_window, where it is not null, is of all layers */
    HF_WINDOW_LAYERS = 1 << 5, /* of those that layer_types or the family's pattern names */
    HF_SEES = 1 << 6,          /* there are tensors of a part that sees: left out */
};

enum hf_how {
    HF_AS_IS,
    HF_NORM,  /* floats */
    HF_FLOAT, /* a matrix of floats */
    HF_Q,
    HF_K,
    HF_EXPERT, /* one of those that GGUF has in one tensor */
    HF_HALVES  /* of the last dimension but one: two tensors */
};

struct hf_family {
    const char *name, *arch, *act;
    unsigned flags;
    const char *defaults;
};

/* A tensor of a weight file: within its bytes, type and shape checked. */
struct hf_tensor {
    struct span name;
    struct span type; /* as the file has it */
    int number;       /* GGUF's type; -1: none that is read */
    size_t elem;      /* bytes of an element; of other types 0 */
    int n_dims;
    uint64_t dims[HF_DIMS_MAX]; /* outermost first, as the file has them */
    const unsigned char *data;
    size_t bytes;
    int part;
};

struct hf_tensors {
    struct hf_tensor *t; /* [n] */
    size_t n, cap;
};

struct hf {
    const char *dir;
    struct gguf *g;
    struct arena tmp;
    const struct hf_family *family;
    json_t *config; /* of the text model, defaults filled in */
    struct hf_tensors tensors;
    size_t n_vocab; /* rows of the embeddings */
};

/* Appends what one file holds.  what: names it in errors; names lie in the arena.
 * Errors: CORRUPT, TOOBIG. */
enum err hf_safetensors_read(struct hf_tensors *out, struct arena *a, struct span file,
                             const char *what, int part, struct errinfo *e);

/* A file of the folder as JSON; *out NULL where it is not there and need not be. */
enum err hf_json(struct hf *h, const char *name, bool needed, json_t **out, struct errinfo *e);
/* There is such a file. */
bool hf_has(struct hf *h, const char *name);
/* "DIR/NAME" in the temporary arena. */
const char *hf_path(struct hf *h, const char *name);

enum err hf_read_weights(struct hf *h, struct errinfo *e);
enum err hf_put_keys(struct hf *h, struct errinfo *e);
enum err hf_put_rope(struct hf *h, struct errinfo *e);
enum err hf_put_tensors(struct hf *h, struct errinfo *e);
enum err hf_put_tokenizer(struct hf *h, struct errinfo *e);

/* A key ARCH.name. */
const char *hf_key(struct hf *h, const char *name);
/* The member of config.json, or NULL where it is not there or null. */
json_t *hf_conf(const struct hf *h, const char *name);
enum err hf_number(const struct hf *h, const char *name, json_t *v, double lo, double hi,
                   double *out, struct errinfo *e);

/* The name of the pre-tokenizer that a tokenizer.json describes: its `pre_tokenizer`, and whether
 * the normalizer is NFC and pieces that are tokens are taken whole.
 * Errors: UNSUPPORTED, with the part that is not known. */
enum err hf_pre(const char *file, json_t *pre, bool nfc, bool whole, const char **out,
                struct errinfo *e);

#endif
