/* SPDX-License-Identifier: MIT
 * api_ollama.h - what Ollama's endpoints share (github.com/ollama/ollama, docs/api.md).
 *
 * What differs from Ollama: models are files of who runs the server, so nothing here makes, copies
 * or deletes them, and only those of the catalogue are loaded (api_ollama_pull.c); keep_alive is
 * taken and changes nothing, as models leave when their memory is needed; options.num_ctx is taken
 * and changes nothing: a prompt that fits the server's context is answered, one that does not is
 * refused with both numbers; options of the runner (num_gpu, num_thread, ...) are left alone;
 * templates are Jinja. */
#ifndef API_API_OLLAMA_H
#define API_API_OLLAMA_H

#include "api/api_ask.h"
#include "api/api_call.h"

#define API_NDJSON "application/x-ndjson"

/* `model`, or `name` as older clients have it; NULL: neither. */
bool api_ollama_name(const struct api_in *in, const char **name);
/* model, options, format, think, stream and what is refused at both /api/chat and /api/generate. */
bool api_ollama_ask(struct api_ask *ask, const struct api_in *in, struct arena *a);
/* messages and tools of /api/chat. */
bool api_ollama_chat(struct api_ask *ask, const struct api_in *in);
/* system and prompt of /api/generate as messages. */
bool api_ollama_generate(struct api_ask *ask, const struct api_in *in);

/* {format, family, families, parameter_size, quantization_level} */
json_t *api_ollama_details(struct api_model *m);
json_t *api_ollama_now(void); /* RFC 3339 with fractions */
/* Appends o as a line and lets go of it. */
void api_ollama_line(struct str *out, json_t *o);

/* The loads that requests wait for. */
struct api_pulls *api_pulls_new(struct api *a);
void api_pulls_free(struct api_pulls *p); /* all are over */
/* Those under way: [{name, bytes, total}]. */
json_t *api_pulls_json(struct api_pulls *p);

#endif
