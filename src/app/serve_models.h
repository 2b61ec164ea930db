/* SPDX-License-Identifier: MIT
 * serve_models.h - which models `damso serve` has, each with its own settings.
 *
 * With a model on the command line: that one.  Else the default and every other GGUF file in the
 * folder of the models; one that the catalogue has goes by its name there, and by its file's. While
 * the server runs, models that are loaded join them.  Beside NAME.gguf may stand NAME.conf, a
 * settings file whose few settings (serve_models.c lists them) hold for that model alone, where
 * neither the environment nor the command line says otherwise.
 * Threads: one at a time; rows stay where they are. */
#ifndef APP_SERVE_MODELS_H
#define APP_SERVE_MODELS_H

#include "api/api.h"
#include "app/catalogue.h"
#include "app/conf.h"

#define SERVE_MODELS_MAX 1024

struct serve_models {
    struct arena arena;
    struct api_model_row rows[SERVE_MODELS_MAX];
    size_t n;         /* at least 1; the first is the default */
    const char *file; /* the default's own; its row has what `quantize` made of it, if it did */
    const struct conf *conf;
    struct catalogue *catalogue; /* as it was at the start; NULL with one model */
};

/* Errors: those of models_resolve and catalogue_load, and of a model's settings file. */
enum err serve_models_find(struct serve_models *s, const struct conf *c, struct errinfo *e);
/* The row of a model that has come into the folder; NULL in *out where it had one before.  Errors:
 * of its settings file, TOOBIG. */
enum err serve_models_add(struct serve_models *s, const struct catalogue_model *m,
                          const struct api_model_row **out, struct errinfo *e);
void serve_models_done(struct serve_models *s);

/* "a, b" -> {"a", "b", NULL}; NULL for nothing.  Error: USAGE, naming the setting, for too many. */
enum err serve_names(struct arena *a, const char *setting, const char *text,
                     const char *const **out, struct errinfo *e);

#endif
