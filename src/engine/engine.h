/* SPDX-License-Identifier: MIT
 * engine.h - a model ready to run: sequences of tokens over pages of keys and values, and steps.
 *
 * Does: count weights, context and buffers against what memory is free before taking any of it;
 *       run the rows of any number of sequences together; hand out pages, share them between
 *       sequences that begin alike, keep what ended sequences computed until memory is needed.
 * Does not: see text, choose tokens (sampler.h), or start threads of its own beside the device's.
 * Owner: one thread calls everything here; logits live until the next step.
 * A context that is full is an error with both numbers, never a shift. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/err.h"
#include "cpu/cpu.h"
#include "dev/dev_sim.h"
#include "gguf/gguf.h"
#include "kern/kern.h"
#include "plan/plan_share.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENGINE_PAGE 64 /* tokens of a page: memory is handed out in these */

#define ENGINE_LORA_MAX 8 /* adapters of a sequence */

struct dev_watch;
struct engine;
struct engine_seq;

/* What an engine takes, in bytes, beside the mapped file. */
struct engine_need {
    size_t fixed; /* weights and buffers */
    size_t page;  /* of a page of context */
    /* The same of a simulated chip's memory, of the fullest one where there are several. */
    double chip_fixed, chip_page;
};

struct engine_opts {
    /* Tokens a sequence may have; 0: the model's, as far as memory allows.  Of a bidirectional
     * model no more than its own, and 0 is 2048: a text is one step, whose buffers grow with it. */
    size_t ctx;
    size_t ctx_total; /* tokens of all sequences together; 0: as ctx */
    size_t batch;     /* rows of a step; 0: 512; of a bidirectional model ctx at least */
    size_t out_max;   /* rows of logits of a step; 0: 1 */
    size_t seqs;      /* sequences that run together, of models with a state for each; 0: 4 */
    size_t memory;    /* bytes that all of it may take; 0: what is free less a reserve */
    /* Another engine of as many tokens of context, opened later: it is counted in `memory`, and on
     * the same simulated chip. */
    struct engine_need beside;
    int n_threads;        /* 0: all processors */
    enum cpu_level level; /* as cpu_capped gives it */
    enum kern_kv kv;      /* how keys and values are kept; of a bidirectional model f16 */
    enum kern_numerics numerics;
    /* A simulated chip, whose memory limits the context, too; where it is dry, ctx_total is as much
     * of what is asked as fits. */
    struct dev_sim_opts sim;
    /* Folder in which packed weights of packed_bytes_min or more are kept from start to start, all
     * such files within packed_bytes_max; NULL: nowhere.  Outlives the engine. */
    const char *packed_dir;
    uint64_t packed_bytes_min, packed_bytes_max;
    void (*progress)(void *arg, double share); /* of opening; may be NULL */
    void *progress_arg;
    struct plan_ranks
        ranks; /* processes that compute it together (dev_ranks.h); or this one alone */
    const struct dev_watch *watch; /* of every step, outlives the engine (dev.h); may be NULL */
};

/* What an opened engine takes, in bytes. */
struct engine_memory {
    size_t file;    /* mapped; read where weights are not packed */
    size_t weights; /* packed */
    size_t context;
    size_t work;
};

/* Opens a model of a gguf that outlives the engine.
 * Errors: UNSUPPORTED, CORRUPT (model_open), MEMORY (with the numbers), CONTEXT (ctx is more than
 * the model's own). */
enum err engine_open(struct engine **out, const struct gguf *g, const struct engine_opts *o,
                     struct errinfo *e);
void engine_close(struct engine *en);
/* The same for a model that was read from shapes alone (model_shape.h), which is the engine's then:
 * o->sim must be dry. */
enum err engine_open_shape(struct engine **out, struct model *m, const struct engine_opts *o,
                           struct errinfo *e);
/* What engine_open would take; the longest context is o->ctx or, if that is less or 0 is said, the
 * model's own.  Errors: those of model_open. */
enum err engine_count(const struct gguf *g, const struct engine_opts *o, struct engine_need *need,
                      struct errinfo *e);

const struct model *engine_model(const struct engine *en);
size_t engine_ctx(const struct engine *en);       /* tokens a sequence may have */
size_t engine_ctx_total(const struct engine *en); /* tokens of all sequences together */
size_t engine_batch(const struct engine *en);     /* rows a step may have */
size_t engine_out_max(const struct engine *en);   /* rows of logits a step may have */
int engine_threads(const struct engine *en);
/* The simulated chip that it runs on, NULL: none.  Its names and sizes stay as they are; its sums
 * change with every step and are the engine's thread's. */
const struct dev_sim *engine_sim(const struct engine *en);
struct engine_memory engine_memory(const struct engine *en);
/* True when packed weights are no longer being written to the folder; waits for that up to wait_ns.
 * What is not complete when the engine closes is lost. */
bool engine_kept(struct engine *en, uint64_t wait_ns);

/* ---- adapters ---- */

/* Which adapters, each with its weight: the sum of what they add.  Equal ones are equal bytes. */
struct engine_lora {
    uint32_t n; /* 0: none */
    struct {
        uint32_t adapter;
        float scale;
    } one[ENGINE_LORA_MAX];
};

/* Reads an adapter of the model, before there are sequences; its number counts up from 0.  The file
 * may be closed afterwards.
 * Errors: those of model_lora_open; UNSUPPORTED (a simulated chip, a tensor that is used otherwise
 * than for products), MEMORY. */
enum err engine_lora_add(struct engine *en, const struct gguf *adapter, struct errinfo *e);
size_t engine_n_lora(const struct engine *en);
/* The sequence's, which is empty.  What is known of texts read with other adapters is not its own.
 */
void engine_seq_lora(struct engine_seq *s, const struct engine_lora *lora);

/* ---- sequences ---- */

struct engine_seq *engine_seq_new(struct engine *en);
/* Takes over what was computed before, by this or another sequence, of the beginning of tokens[n];
 * gives how many tokens, at most n - 1.  s is empty. */
size_t engine_seq_reuse(struct engine_seq *s, const int32_t *tokens, size_t n);
/* What the sequence held stays known, and is forgotten when its memory is needed. */
void engine_seq_free(struct engine_seq *s);
size_t engine_seq_len(const struct engine_seq *s);
const int32_t *engine_seq_tokens(const struct engine_seq *s); /* [len] */
/* Forgets what follows the first n tokens; n <= len.  Where memory is full it may keep less, down
 * to a whole page, and of a model with states down to the last mark or nothing: engine_seq_len
 * says. */
void engine_seq_cut(struct engine_seq *s, size_t n);
/* The text's first n tokens, most of which are still to be run, are likely to be taken up again: a
 * model with states keeps what it is after them.  Where a sequence ends, and where it leaves a text
 * that is known, it does so unasked. */
void engine_seq_mark(struct engine_seq *s, size_t n);
/* Sequences that may run together so that half of the states are left for marks; SIZE_MAX for
 * models without. */
size_t engine_seqs_max(const struct engine *en);
/* Pages that a step could take now. */
size_t engine_pages_free(const struct engine *en);
/* Pages of the beginning of tokens[n] that sequences with these adapters hold now: one that begins
 * so takes none for them. */
size_t engine_pages_shared(const struct engine *en, const struct engine_lora *lora,
                           const int32_t *tokens, size_t n);
/* Of a dry device alone: as if a text had been run and its sequence let go just now. */
void engine_know(struct engine *en, const int32_t *tokens, size_t n);

/* ---- pictures ---- */

/* Positions of a text that rows of numbers take the place of, as a projector makes them of a
 * picture: they see each other, and are run in one step.  In texts of tokens they are negative
 * numbers, made of what the picture is, so that texts with other pictures are others; the first has
 * not the bit ENGINE_SPAN_MORE. */
struct engine_span {
    size_t at, n;
    const float *x; /* [n][dim] */
};
#define ENGINE_SPAN_MORE ((int32_t)1 << 30)

static inline bool engine_in_span(int32_t token)
{
    return token < 0;
}
static inline bool engine_begins_span(int32_t token)
{
    return token < 0 && !(token & ENGINE_SPAN_MORE);
}
/* The spans of the sequence's text, in order; they live as long as it does. */
void engine_seq_spans(struct engine_seq *s, const struct engine_span *spans, size_t n);

/* ---- token types ---- */

/* In the text of the sequence, which is empty, tokens from `second` on, more than 0, are of the
 * model's second type; without this all are of the first.  Of a model that has several. */
void engine_seq_types(struct engine_seq *s, size_t second);

/* ---- steps ---- */

/* What is wanted of a token. */
enum engine_want {
    ENGINE_NOTHING,
    ENGINE_LOGITS, /* [n_vocab], at most out_max of a step */
    ENGINE_HIDDEN, /* [dim]: the hidden state after the model's last norm or, without, layer */
    /* Logits, of a token that may be cut off again: no other sequence hears of a page that it
     * fills before engine_seq_cut, or a row that is no draft, says that it stays. */
    ENGINE_DRAFT
};

struct engine_row {
    struct engine_seq *seq;
    int32_t token; /* becomes the sequence's next */
    enum engine_want want;
};

/* Runs 1 <= n <= batch rows; rows of one sequence stand together.  out[i], for the rows that want
 * something in order, points to it until the next step.  On an error nothing has changed.
 * Errors: CONTEXT, BUSY (no page is free), USAGE (a token outside the vocabulary; a
 * span that is not whole; of a bidirectional model, which wants whole texts, a text that goes on),
 * UNSUPPORTED (logits of a model that writes no text), NETWORK (a process that computes a part of
 * the model is gone: no step will be computed any more). */
enum err engine_step(struct engine *en, const struct engine_row *rows, size_t n, const float **out,
                     struct errinfo *e);

/* Runs n tokens of one sequence in steps of the batch's size; *logits after the last.  stop, when
 * not NULL, is asked before each step and ends the work with CANCELLED; what ran stays. */
enum err engine_prefill(struct engine *en, struct engine_seq *s, const int32_t *tokens, size_t n,
                        bool (*stop)(void *arg), void *stop_arg, const float **logits,
                        struct errinfo *e);

#endif
