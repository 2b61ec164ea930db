/* SPDX-License-Identifier: MIT
 * api_projector.h - a model's projector of pictures: its share of the memory that both may take,
 * and whether it belongs to the model.
 *
 * Does: count it before the model is opened, and start it afterwards.
 * Does not: find its file.
 * Owner: the caller, who ends it by vision_close. */
#ifndef API_API_PROJECTOR_H
#define API_API_PROJECTOR_H

#include "base/err.h"
#include "chat/chat.h"
#include "engine/engine.h"
#include "tok/tok.h"
#include "vision/vision.h"

/* Opens the file and makes room in o for it, and for steps that read a picture beside n_beside
 * other rows.  Errors: those of vision_open. */
enum err api_projector_count(struct vision **out, const char *path, size_t n_beside,
                             struct engine_opts *o, struct errinfo *e);
/* Once the model at `path` is open; before the chat is shared.  Errors: USAGE, naming both files,
 * where the projector is another model's; those of vision_start. */
enum err api_projector_start(struct vision *v, const char *path, const struct engine *en,
                             const struct tok *tok, struct chat *chat, struct errinfo *e);

#endif
