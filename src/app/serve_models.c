/* SPDX-License-Identifier: MIT */
#include "app/serve_models.h"

#include "app/app_model.h"
#include "app/models.h"
#include "base/num.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 64

/* The settings that one model may have of its own. */
static const enum conf_id of_a_model[] = {
    CONF_ID_aliases,
    CONF_ID_ctx,
    CONF_ID_draft,
    CONF_ID_mmproj,
    CONF_ID_n,
    CONF_ID_temp,
    CONF_ID_top_k,
    CONF_ID_top_p,
    CONF_ID_min_p,
    CONF_ID_typical_p,
    CONF_ID_repeat_penalty,
    CONF_ID_repeat_last_n,
    CONF_ID_presence_penalty,
    CONF_ID_frequency_penalty,
    CONF_ID_dry_multiplier,
    CONF_ID_dry_base,
    CONF_ID_dry_allowed_length,
    CONF_ID_dry_penalty_last_n,
};

enum err serve_names(struct arena *a, const char *setting, const char *text,
                     const char *const **out, struct errinfo *e)
{
    const char **list = arena_array(a, NAMES_MAX + 1, sizeof *list);
    char *copy = arena_dup(a, text, strlen(text)), *at = NULL;
    size_t n = 0;
    for (char *w = strtok_r(copy, ", ", &at); w; w = strtok_r(NULL, ", ", &at)) {
        if (n == NAMES_MAX)
            return err_set(e, ERR_USAGE, "%s: more than %d names", setting, NAMES_MAX);
        list[n++] = w;
    }
    *out = n ? list : NULL;
    return ERR_OK;
}

static const char *without_gguf(struct arena *a, const char *path)
{
    size_t n = strlen(path);
    return arena_dup(a, path, span_ends(span_of(path), SPAN(".gguf")) ? n - 5 : n);
}

static const char *name_of(struct arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    return without_gguf(a, slash ? slash + 1 : path);
}

/* The names, and one more. */
static const char *const *with_name(struct arena *a, const char *const *names, const char *more)
{
    size_t n = 0;
    while (names && names[n])
        n++;
    const char **out = arena_array(a, n + 2, sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = names[i];
    out[n] = more;
    return out;
}

/* Is it where downloads come to, and in what the server goes on reading? */
static bool in_folder(const struct conf *c, const char *path)
{
    size_t n = strlen(c->models_dir);
    return c->origin[CONF_ID_model] != CONF_OPTION && strncmp(path, c->models_dir, n) == 0 &&
           path[n] == '/' && !strchr(path + n + 1, '/');
}

/* The projector that is set, that stands beside the model's file, or that may come there. */
static enum err find_mmproj(struct serve_models *s, const char *set, const char *file,
                            struct api_model_row *row, struct errinfo *e)
{
    TRY(models_mmproj(set, file, &s->arena, &row->mmproj, e));
    row->mmproj_later = !row->mmproj && strcmp(set, "none") != 0 && in_folder(s->conf, file);
    if (row->mmproj_later)
        row->mmproj = models_mmproj_beside(&s->arena, file);
    return ERR_OK;
}

/* more: another name; NULL: none.  file: what other files stand beside; path: that, or what
 * `quantize` made of it. */
static enum err add_row(struct serve_models *s, const char *name, const char *more,
                        const char *file, const char *path, struct errinfo *e)
{
    struct conf c;
    struct api_model_row *row = &s->rows[s->n];
    const char *own = arena_printf(&s->arena, "%s.conf", without_gguf(&s->arena, file));
    enum err r = conf_overlay(&c, s->conf, own, of_a_model, N_ELEMS(of_a_model), e);
    if (r == ERR_OK) {
        *row = (struct api_model_row){.name = name,
                                      .path = path,
                                      .ctx = (size_t)c.ctx,
                                      .n_max = (size_t)c.n,
                                      .sampling = app_sampling(&c)};
        r = serve_names(&s->arena, "aliases", c.aliases, &row->aliases, e);
    }
    if (r == ERR_OK && s->n == 0)
        r = app_loras(s->conf, &s->arena, &row->loras, &row->n_loras, e);
    /* What was said of all is the default model's: others have other vocabularies. */
    bool drafts = c.draft[0] && (s->n == 0 || c.draft != s->conf->draft);
    if (r == ERR_OK && drafts)
        r = models_find(s->conf, arena_dup(&s->arena, c.draft, strlen(c.draft)), &s->arena,
                        &row->draft, e);
    bool named = c.mmproj[0] && (s->n == 0 || c.mmproj != s->conf->mmproj);
    if (r == ERR_OK)
        r = find_mmproj(s, named ? c.mmproj : "", file, row, e);
    if (r == ERR_OK && more)
        row->aliases = with_name(&s->arena, row->aliases, more);
    conf_done(&c);
    s->n += r == ERR_OK;
    return r;
}

/* A file of the models' folder. */
static enum err add_file(struct serve_models *s, const char *path, struct errinfo *e)
{
    const char *file = strrchr(path, '/') + 1, *name = name_of(&s->arena, path);
    for (unsigned i = 0; i < s->catalogue->n_models; i++) {
        const struct catalogue_model *m = &s->catalogue->models[i];
        if (strcmp(m->file, file) == 0)
            return add_row(s, m->name, strcmp(m->name, name) == 0 ? NULL : name, path, path, e);
    }
    return add_row(s, name, NULL, path, path, e);
}

/* Parts of split files after the first are opened with it. */
static bool is_model(const char *file)
{
    const char *of = strstr(file, "-of-");
    bool later_part = of && of - file >= 5 && strncmp(of - 5, "00001", 5) != 0;
    return file[0] != '.' && !span_starts(span_of(file), SPAN(MODELS_MMPROJ)) &&
           span_ends(span_of(file), SPAN(".gguf")) && !later_part;
}

static int by_name(const void *a, const void *b)
{
    const struct api_model_row *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static enum err add_folder(struct serve_models *s, struct errinfo *e)
{
    const struct conf *c = s->conf;
    enum err r = ERR_OK;
    DIR *d = opendir(c->models_dir);
    for (struct dirent *f; d && r == ERR_OK && (f = readdir(d)) && s->n < SERVE_MODELS_MAX;) {
        const char *path = arena_printf(&s->arena, "%s/%s", c->models_dir, f->d_name);
        if (is_model(f->d_name) && strcmp(path, s->file) != 0)
            r = add_file(s, path, e);
    }
    if (d)
        closedir(d);
    qsort(s->rows + 1, s->n - 1, sizeof *s->rows, by_name);
    return r;
}

enum err serve_models_find(struct serve_models *s, const struct conf *c, struct errinfo *e)
{
    arena_init(&s->arena);
    s->conf = c;
    s->n = 0;
    TRY(models_find(c, c->model, &s->arena, &s->file, e));
    const char *path = s->file;
    TRY(models_quantized(c, &s->arena, &path, e));
    bool by_path = span_starts(span_of(c->model), span_of(s->file));
    TRY(add_row(s, by_path ? name_of(&s->arena, s->file) : c->model, NULL, s->file, path, e));
    if (c->origin[CONF_ID_model] == CONF_OPTION)
        return ERR_OK;
    TRY(catalogue_load(&s->catalogue, c->catalogue, e));
    return add_folder(s, e);
}

enum err serve_models_add(struct serve_models *s, const struct catalogue_model *m,
                          const struct api_model_row **out, struct errinfo *e)
{
    const char *path = models_file(s->conf, &s->arena, m);
    *out = NULL;
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(i ? s->rows[i].path : s->file, path) == 0)
            return ERR_OK;
    if (s->n == SERVE_MODELS_MAX)
        return err_set(e, ERR_TOOBIG, "%s is here, but %d models are all that a server lists",
                       m->name, SERVE_MODELS_MAX);
    TRY(add_file(s, path, e));
    *out = &s->rows[s->n - 1];
    return ERR_OK;
}

void serve_models_done(struct serve_models *s)
{
    catalogue_free(s->catalogue);
    arena_done(&s->arena);
}
