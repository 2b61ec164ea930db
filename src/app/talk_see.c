/* SPDX-License-Identifier: MIT */
#include "app/talk_see.h"

#include "base/arena.h"
#include "os/os_map.h"

#include <string.h>

/* ---- one picture ---- */

static enum err look_at(struct talk *t, const struct os_map *file, const char *path,
                        struct errinfo *e)
{
    const struct vision *v = t->model.vision;
    size_t side = vision_side(v);
    struct errinfo why;
    uint8_t *rgb = mem_alloc(side * side * 3);
    const void *bytes = file->data ? file->data : (const void *)"";
    enum err r = vision_child_read(t->model.reader, bytes, file->bytes, side, rgb, &why);
    if (r != ERR_OK) {
        mem_free(rgb);
        return err_set(e, r, "%.300s: %s", path, why.text);
    }
    t->pictures = mem_grow(t->pictures, (t->n_pictures + 1) * sizeof *t->pictures);
    struct talk_picture *p = &t->pictures[t->n_pictures++];
    *p = (struct talk_picture){.path = mem_alloc(strlen(path) + 1),
                               .rows = mem_alloc(vision_rows(v) * vision_dim(v) * sizeof(float))};
    strcpy(p->path, path);
    vision_key(v, bytes, file->bytes, p->key);
    vision_encode(t->model.vision, rgb, p->rows);
    mem_free(rgb);
    return ERR_OK;
}

enum err talk_see(struct talk *t, const char *path, size_t *index, struct errinfo *e)
{
    struct os_map file;
    for (*index = 0; *index < t->n_pictures; ++*index)
        if (strcmp(t->pictures[*index].path, path) == 0)
            return ERR_OK;
    if (!utf8_valid(span_of(path)))
        return err_set(e, ERR_USAGE, "the path of a picture is not valid UTF-8");
    if (!t->model.vision)
        return err_set(e, ERR_USAGE, "%.300s: this model takes text alone: it has no projector",
                       path);
    TRY(os_map_open(&file, path, e));
    enum err r = look_at(t, &file, path, e);
    os_map_close(&file);
    return r;
}

void talk_forget(struct talk *t)
{
    for (size_t i = 0; i < t->n_pictures; i++) {
        mem_free(t->pictures[i].path);
        mem_free(t->pictures[i].rows);
    }
    mem_free(t->pictures);
    t->pictures = NULL;
    t->n_pictures = 0;
}

/* ---- those of a prompt ---- */

static enum err look_more(struct talk *t, const char *path, struct talk_look *look,
                          struct errinfo *e)
{
    if (look->n == VISION_PROMPT_MAX)
        return err_set(e, ERR_TOOBIG, "%.300s: a conversation has at most %d pictures", path,
                       VISION_PROMPT_MAX);
    TRY(talk_see(t, path, &look->picture[look->n], e));
    look->n++;
    return ERR_OK;
}

enum err talk_look_messages(struct talk *t, const json_t *messages, struct talk_look *look,
                            struct errinfo *e)
{
    size_t i, k;
    const json_t *message, *part;
    look->n = 0;
    json_array_foreach(messages, i, message)
    {
        json_array_foreach(json_object_get(message, "content"), k, part)
        {
            const char *path = json_string_value(json_object_get(part, "path"));
            if (path)
                TRY(look_more(t, path, look, e));
        }
    }
    return ERR_OK;
}

enum err talk_look_paths(struct talk *t, const char *const *paths, size_t n, struct talk_look *look,
                         struct errinfo *e)
{
    look->n = 0;
    for (size_t i = 0; i < n; i++)
        TRY(look_more(t, paths[i], look, e));
    return ERR_OK;
}

enum err talk_look_encode(const struct talk *t, struct talk_look *look, struct span text,
                          unsigned flags, struct tok_ids *ids, struct errinfo *e)
{
    struct vision_place places[VISION_PROMPT_MAX];
    size_t n_found;
    for (size_t i = 0; i < look->n; i++)
        memcpy(places[i].key, t->pictures[look->picture[i]].key, VISION_KEY);
    TRY(vision_prompt(t->model.vision, t->tok, text, flags, places, look->n, &n_found, ids, e));
    if (n_found != look->n)
        return err_set(e, ERR_TEMPLATE,
                       "the prompt has %zu places for pictures (" VISION_BEGIN
                       "), and there are %zu pictures",
                       n_found, look->n);
    for (size_t i = 0; i < look->n; i++)
        look->spans[i] = (struct engine_span){places[i].at, vision_rows(t->model.vision),
                                              t->pictures[look->picture[i]].rows};
    return ERR_OK;
}

json_t *talk_message_seen(const json_t *paths, const char *content, size_t n)
{
    json_t *parts = json_array(), *path;
    size_t i;
    json_array_foreach(paths, i, path)
    {
        json_array_append_new(parts, json_pack("{s:s, s:O}", "type", "image", "path", path));
    }
    json_array_append_new(parts, json_pack("{s:s, s:s%}", "type", "text", "text", content, n));
    return json_pack("{s:s, s:o}", "role", "user", "content", parts);
}
