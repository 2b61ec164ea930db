/* SPDX-License-Identifier: MIT
 * api.h - the server that `damso serve` is: endpoints of OpenAI, Anthropic and Ollama over models.
 *
 * Does: read requests into typed fields, have the scheduler of the named model answer them, write
 *       the answers as each API's clients expect them, whole or as a stream.
 * Does not: read the command line, or find or load models: the caller names them, and may give
 *       a loader.
 * Threads: api_open to api_close by one; everything within on io threads, which never block, and
 *       one loader thread that opens and closes models.
 * Owner: the caller; what the options point to must live until api_close. */
#ifndef API_API_H
#define API_API_H

#include "api/api_web.h"
#include "base/err.h"
#include "chat/chat.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/sched.h"
#include "http/http.h"
#include "store/store.h"
#include "tok/tok.h"
#include "tool/tool.h"
#include "vision/vision_child.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define API_SETUP_CHARS 43

struct api;

/* An adapter of a model (model_lora.h), as clients name it. */
struct api_lora_row {
    const char *name, *path;
    float scale; /* where it is named and nothing else is said */
};

struct api_model_row {
    const char *name;                 /* as clients name it */
    const char *path;                 /* of its GGUF file */
    const char *draft;                /* of the model that guesses for it; NULL: none */
    const char *mmproj;               /* of its projector of pictures; NULL: it takes text alone */
    bool mmproj_later;                /* which was not there at the start, and is looked for */
    const char *const *aliases;       /* more names, NULL-terminated; NULL: none */
    const struct api_lora_row *loras; /* [n_loras] */
    size_t n_loras;
    size_t ctx;   /* tokens of context; 0: its own */
    size_t n_max; /* tokens of an answer that names no limit; 0: the context's rest */
    struct sampler_params sampling; /* where a request says nothing */
};

/* How a load goes.  One that is over is the last. */
struct api_load_news {
    uint64_t bytes, bytes_total; /* that are here; 0: not known */
    bool over;
    enum err code; /* over: how it went; the text says why */
    const char *text;
    const struct api_model_row *row; /* over and well: to be listed; NULL: it is already */
};

/* A model that may be loaded, as lists show it. */
struct api_offer {
    const char *name, *title, *about_ko, *about_en, *licence;
    double gb; /* 10^9 bytes to be loaded */
    double memory_gib;
};

typedef void api_load_told(void *sink, const struct api_load_news *news);

/* Loads models that a server then has: the caller's, for POST /api/pull.  Its news come one after
 * the other on a thread of its own, none of them from within start or cancel, all before the caller
 * closes the server. */
struct api_loader {
    void *arg;
    const char *refusal;            /* why there is no start */
    const struct api_offer *offers; /* what there is to load */
    size_t n_offers;
    /* sha256: of the file, 64 digits, lives as long as the server; NULL: not known.  Errors:
     * NOTFOUND, BUSY, CANCELLED; then there are no news. */
    enum err (*start)(void *arg, const char *name, api_load_told *told, void *sink,
                      const char **sha256, struct errinfo *e);
    /* News that it is over follow all the same. */
    void (*cancel)(void *arg, void *sink);
};

/* A chip that answers can be priced on. */
struct api_chip {
    const char *name, *title;
    const char *computes; /* "int8", "bf16" */
    double watts, memory_gb;
    size_t n_assumed;
    const struct npu_chip *chip;
};

struct api_opts {
    struct http_opts http; /* without error_body */
    const struct api_model_row *models;
    size_t n_models;   /* at least 1; the first is the default */
    size_t models_max; /* that a loader may bring it to; 0: n_models */
    struct api_loader loader;
    bool strict_model;        /* with one model: refuse other names, too */
    struct engine_opts model; /* for each; `memory` is for all together, 0: what is free */
    size_t parallel;          /* answers at once, of a model */
    size_t queue_max;         /* requests that wait, of a model */
    enum sched_speculate speculate;
    unsigned timeout_s;           /* of a request; 0: none */
    const char *runs;             /* folder of measurements to show; NULL: none */
    const char *cache_dir;        /* where known beginnings outlive the process; NULL: nowhere */
    uint64_t cache_bytes_max;     /* of each model */
    bool keys_needed;             /* no request without an API key */
    bool accounts;                /* people log in; needs a store */
    bool metrics_open;            /* /metrics without a key */
    bool user_keys;               /* they may make API keys of their own */
    bool proxy;                   /* a proxy is before it: ends TLS, says X-Forwarded-For */
    struct store *store;          /* keeps stored answers, chats and keys; NULL: none are kept */
    const struct api_chip *chips; /* [n_chips], as long as the server; NULL: none */
    size_t n_chips;
    struct tool *tool;             /* fetches pages, runs tools; NULL: neither */
    struct vision_child *pictures; /* reads files of pictures; NULL: none are read */
    struct api_web web;            /* lives as long as the server */
};

/* Opens the first model and listens.  Errors: those of engine_open, tok_open, chat_open (the first
 * model's), http_open. */
enum err api_open(struct api **out, const struct api_opts *o, struct errinfo *e);
uint16_t api_port(const struct api *a);
/* With accounts and no user yet: the secret of a new link that makes the first admin, to be shown
 * once, and former such links are gone.  "" where there are users.  May wait. */
enum err api_setup_link(struct api *a, char token[API_SETUP_CHARS + 1], struct errinfo *e);
/* /ready says 404 from now on (HAProxy: nothing new, what is under way goes on); requests are taken
 * as before. */
void api_leave(struct api *a);
/* No new requests; true when the last is answered, false when some are left after wait_ns. */
bool api_drain(struct api *a, uint64_t wait_ns);
/* Ends what still runs. */
void api_close(struct api *a);

/* A model's vocabulary and chat template; the gguf outlives both, the vocabulary the chat.  After
 * an error either may be there, for the caller to close. Errors: CORRUPT (also where the vocabulary
 * has not n_vocab tokens), those of tok_open, chat_open. */
enum err api_open_text(const struct gguf *g, size_t n_vocab, struct tok **tok, struct chat **chat,
                       struct errinfo *e);

/* Tokens of line breaks and quotes, which end what DRY calls a repetition: at most 4, one a text,
 * as its author proposes (p-e-w, text-generation-webui 5677). */
size_t api_dry_breakers(const struct tok *tok, int32_t out[4]);

#endif
