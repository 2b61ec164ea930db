/* SPDX-License-Identifier: MIT */
#include "api/api_projector.h"

#include "base/num.h"

enum err api_projector_count(struct vision **out, const char *path, size_t n_beside,
                             struct engine_opts *o, struct errinfo *e)
{
    const struct vision_opts vo = {.n_threads = o->n_threads, .level = o->level};
    TRY(vision_open(out, path, &vo, e));
    o->beside.fixed += vision_bytes(*out);
    o->batch = MAX(o->batch, n_beside + vision_rows(*out)); /* a picture is read in one step */
    return ERR_OK;
}

enum err api_projector_start(struct vision *v, const char *path, const struct engine *en,
                             const struct tok *tok, struct chat *chat, struct errinfo *e)
{
    size_t dim = engine_model(en)->dim;
    if (vision_dim(v) != dim)
        return err_set(e, ERR_USAGE,
                       "%s is no projector for %s: its rows are %zu wide, the model's %zu",
                       vision_path(v), path, vision_dim(v), dim);
    if (tok_find(tok, SPAN(VISION_BEGIN)) < 0 || tok_find(tok, SPAN(VISION_END)) < 0)
        return err_set(e, ERR_USAGE,
                       "%s is no projector for %s: its vocabulary has no " VISION_BEGIN
                       " and " VISION_END,
                       vision_path(v), path);
    chat_guard_also(chat, SPAN(VISION_BEGIN));
    return vision_start(v, e);
}
