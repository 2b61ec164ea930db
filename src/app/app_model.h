/* SPDX-License-Identifier: MIT
 * app_model.h - a model opened as the settings say: file, engine. */
#ifndef APP_APP_MODEL_H
#define APP_APP_MODEL_H

#include "api/api.h"
#include "api/api_draft.h"
#include "app/conf.h"
#include "base/arena.h"
#include "base/err.h"
#include "dev/dev.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/sched.h"
#include "gguf/gguf.h"
#include "vision/vision.h"
#include "vision/vision_child.h"

#define APP_LORAS_MAX 64 /* adapters of the setting */

struct npu_chip;

struct app_model {
    struct arena arena; /* as long as the model is open */
    struct gguf *gguf;
    struct engine *engine;
    struct engine_opts opts;  /* that the engine was opened with */
    struct engine_opts alone; /* the same without a projector's part */
    struct npu_chip *chip;    /* that is simulated; NULL: none */
    struct engine_lora lora;  /* all adapters of the setting */
    struct api_draft draft;   /* of the setting; none before app_model_talk */
    struct vision *vision; /* its projector, started by app_model_talk; NULL: it reads text alone */
    struct vision_child *reader; /* of pictures' files, with vision */
};

/* out_max: rows of logits that one step may want.  A bar shows on stderr while weights are
 * prepared, when that takes a while and stderr is a terminal. */
enum err app_model_open(struct app_model *m, const struct conf *c, size_t out_max,
                        struct errinfo *e);
/* The same with room for n_seqs sequences of the whole context. */
enum err app_model_open_many(struct app_model *m, const struct conf *c, size_t out_max,
                             size_t n_seqs, struct errinfo *e);
/* The same with room for ctx_total tokens of all sequences, and steps of at least rows_min rows. */
enum err app_model_open_for(struct app_model *m, const struct conf *c, size_t out_max,
                            size_t rows_min, size_t ctx_total, struct errinfo *e);
/* app_model_open, and every step shows what matrices are multiplied by (dev.h). */
enum err app_model_open_watched(struct app_model *m, const struct conf *c, size_t out_max,
                                const struct dev_watch *watch, struct errinfo *e);
/* Whether it shall see pictures. */
enum app_sight { APP_BLIND, APP_SEES_IF_IT_CAN, APP_SEES };

/* One that writes answers, one at a time: with room for guesses and, where the settings name one,
 * for a draft model; and for its projector, if there is one and it shall see.  Errors: USAGE where
 * it shall see and there is none. */
enum err app_model_open_talk(struct app_model *m, const struct conf *c, enum app_sight sight,
                             struct errinfo *e);
/* Opens the draft model and starts the projector that were made room for, if any.  tok and chat:
 * the model's.  Errors: those of api_draft_open and api_projector_start. */
enum err app_model_talk(struct app_model *m, const struct tok *tok, struct chat *chat,
                        struct errinfo *e);
void app_model_close(struct app_model *m);

/* Waits until weights that are kept for the next start are on disk, and says so on a terminal's
 * stderr when that takes a while; cmd_stopped ends the wait, and what was not complete is lost. */
void app_model_settle(const struct app_model *m);

/* Where packed weights are kept, as the settings say. */
void app_packed(const struct conf *c, struct engine_opts *o);

/* The sampler's settings, without a seed and without DRY's breakers. */
struct sampler_params app_sampling(const struct conf *c);

/* The setting `speculate`. */
enum sched_speculate app_speculate(const struct conf *c);

/* The instruction-set level of the setting `cpu` on this machine. */
enum cpu_level app_level(const struct conf *c);
/* The format of the setting `kv`. */
enum kern_kv app_kv(const struct conf *c);

/* The setting `lora`: rows in the arena.  Errors: USAGE. */
enum err app_loras(const struct conf *c, struct arena *a, const struct api_lora_row **rows,
                   size_t *n, struct errinfo *e);

#endif
