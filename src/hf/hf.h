/* SPDX-License-Identifier: MIT
 * hf.h - a model in a folder as Hugging Face publishes them, described as a GGUF file is.
 *
 * Does: read config.json, tokenizer.json, tokenizer_config.json and model.safetensors or its parts
 *       (model.safetensors.index.json), and give the keys and tensors that the same model has as a
 *       GGUF file, so that nothing above knows a second format.  Tensors stay in the mapped files
 *       but for those that GGUF has otherwise: rows of queries and keys in another order, experts
 *       side by side, norms as floats.
 * Does not: compute or quantise, run code of the folder, read pickled weights (*.bin),
 *       tokenizer.model, or weights that are quantised in Hugging Face's own ways.
 * Owner: as of gguf_open: the caller; gguf_close unmaps the folder's files.
 * Threads: any thread may read what hf_open gave.
 * Errors: NOTFOUND (a file that is needed, by its name), CORRUPT (what, and where), UNSUPPORTED
 *       (the architecture, tensor, type, pre-tokenizer or setting by its name), MEMORY, TOOBIG. */
#ifndef HF_HF_H
#define HF_HF_H

#include "gguf/gguf.h"

/* path: a GGUF file, or such a folder.  *out is NULL after an error. */
enum err hf_open(struct gguf **out, const char *path, struct errinfo *e);

/* The path is a folder that holds a config.json. */
bool hf_is_folder(const char *path);

/* "LlamaForCausalLM, ..." */
const char *hf_families(void);

#endif
