/* SPDX-License-Identifier: MIT
 * models.h - from the setting `model` to a file, and what is in the models' folder.
 *
 * Does: resolve a path or a catalogue name; say whether a model is there and fits this machine.
 * Does not: load anything from the network (cmd_pull.c), or read tensors.
 * Owner: results live in the caller's arena or catalogue. */
#ifndef APP_MODELS_H
#define APP_MODELS_H

#include "app/catalogue.h"
#include "app/conf.h"
#include "base/arena.h"
#include "base/err.h"

/* The setting `model`: an existing file as it is, else the file of the catalogue's model of that
 * name in the models' folder.
 * Errors: NOTFOUND, which names what to do: `damso pull NAME`, or the nearest name; CORRUPT for a
 * catalogue that cannot be read. */
enum err models_resolve(const struct conf *c, struct arena *a, const char **path,
                        struct errinfo *e);

/* The same for another setting's name. */
enum err models_find(const struct conf *c, const char *name, struct arena *a, const char **path,
                     struct errinfo *e);

/* Where the model's file stands, or would. */
const char *models_file(const struct conf *c, struct arena *a, const struct catalogue_model *m);

#define MODELS_MMPROJ "mmproj-" /* begins the name of a projector's file */

/* Where the projector stands that is found beside the model at `path`, or would. */
const char *models_mmproj_beside(struct arena *a, const char *path);
/* The projector of the model at `path` that a setting names; "": the one beside it, if it is
 * there; "none": none.  *out: NULL for none.  Errors: NOTFOUND for one that is named. */
enum err models_mmproj(const char *set, const char *path, struct arena *a, const char **out,
                       struct errinfo *e);

/* The setting `quantize`, if there is one: where the model at *path has matrices of floats, *path
 * becomes a file that has them in the setting's type, in the caches' folder; made if it is not
 * there yet.  Errors: USAGE (no type), those of quant_file. */
enum err models_quantized(const struct conf *c, struct arena *a, const char **path,
                          struct errinfo *e);

enum models_state {
    MODELS_MISSING,
    MODELS_PART, /* a pull began and did not end */
    MODELS_ODD,  /* a file is there, but it is not the one: another length, or no GGUF */
    MODELS_WHOLE
};
/* Looks at the length, which is `want` (0: not known), and the file's head, not at every byte.
 * *bytes: of the file or the part. */
enum models_state models_state(const char *path, uint64_t want, uint64_t *bytes);
const char *models_state_name(enum models_state state);

enum models_fit {
    MODELS_FITS,
    MODELS_TIGHT, /* only when other programs give memory back */
    MODELS_TOO_BIG
};
enum models_fit models_fit(const struct catalogue_model *m);
const char *models_fit_name(enum models_fit fit); /* "yes", "tight", "no" */

/* Whether a file opens as a GGUF. */
enum err models_check(const char *path, struct errinfo *e);

/* True when LC_ALL, LC_MESSAGES or LANG asks for Korean. */
bool models_korean(void);

#endif
