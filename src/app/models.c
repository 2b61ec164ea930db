/* SPDX-License-Identifier: MIT */
#include "app/models.h"

#include "base/num.h"
#include "hf/hf.h"
#include "os/os_sys.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define GIB ((double)((uint64_t)1 << 30))

const char *models_file(const struct conf *c, struct arena *a, const struct catalogue_model *m)
{
    return arena_printf(a, "%s/%s", c->models_dir, m->file);
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

const char *models_mmproj_beside(struct arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash + 1 - path) : 0;
    return arena_printf(a, "%.*s" MODELS_MMPROJ "%s", folder, path, path + folder);
}

enum err models_mmproj(const char *set, const char *path, struct arena *a, const char **out,
                       struct errinfo *e)
{
    *out = NULL;
    if (strcmp(set, "none") == 0)
        return ERR_OK;
    if (*set && !is_file(set))
        return err_set(e, ERR_NOTFOUND, "%s: there is no such projector file (mmproj)", set);
    const char *file = *set ? arena_dup(a, set, strlen(set)) : models_mmproj_beside(a, path);
    *out = is_file(file) ? file : NULL;
    return ERR_OK;
}

static bool looks_like_path(const char *model)
{
    return strchr(model, '/') || span_ends(span_of(model), SPAN(".gguf"));
}

enum err models_find(const struct conf *c, const char *name, struct arena *a, const char **path,
                     struct errinfo *e)
{
    struct catalogue *cat;
    const struct catalogue_model *m;
    *path = NULL;
    if (is_file(name)) {
        *path = name;
        return ERR_OK;
    }
    if (hf_is_folder(name)) {
        size_t n = strlen(name);
        while (n > 1 && name[n - 1] == '/') /* its name is what stands behind the last one */
            n--;
        *path = arena_dup(a, name, n);
        return ERR_OK;
    }
    if (looks_like_path(name))
        return err_set(e, ERR_NOTFOUND,
                       "%s: there is no such model file, nor a folder with a "
                       "config.json",
                       name);
    TRY(catalogue_load(&cat, c->catalogue, e));
    enum err code = catalogue_need(cat, name, &m, e);
    if (code == ERR_OK) {
        *path = models_file(c, a, m);
        if (!is_file(*path)) {
            code = err_set(e, ERR_NOTFOUND,
                           "the model %s is not on this machine yet; `damso pull %s` loads it "
                           "(about %.2g GB)",
                           m->name, m->name, m->own.gb);
            *path = NULL;
        }
    }
    catalogue_free(cat);
    return code;
}

enum err models_resolve(const struct conf *c, struct arena *a, const char **path, struct errinfo *e)
{
    TRY(models_find(c, c->model, a, path, e));
    return models_quantized(c, a, path, e);
}

enum err models_check(const char *path, struct errinfo *e)
{
    struct gguf *g;
    TRY(gguf_open(&g, path, e));
    gguf_close(g);
    return ERR_OK;
}

enum models_state models_state(const char *path, uint64_t want, uint64_t *bytes)
{
    struct stat st;
    struct arena tmp;
    enum models_state state = MODELS_MISSING;
    arena_init(&tmp);
    *bytes = 0;
    if (stat(path, &st) == 0) {
        *bytes = (uint64_t)st.st_size;
        bool same = S_ISREG(st.st_mode) && (!want || *bytes == want);
        state = same && models_check(path, NULL) == ERR_OK ? MODELS_WHOLE : MODELS_ODD;
    } else if (stat(arena_printf(&tmp, "%s.part", path), &st) == 0 && st.st_size > 0) {
        *bytes = (uint64_t)st.st_size;
        state = MODELS_PART;
    }
    arena_done(&tmp);
    return state;
}

const char *models_state_name(enum models_state state)
{
    static const char *const names[] = {"missing", "part", "odd", "whole"};
    CHECK((size_t)state < N_ELEMS(names));
    return names[state];
}

enum models_fit models_fit(const struct catalogue_model *m)
{
    double need = m->memory_gib * GIB;
    if (need <= (double)os_mem_available())
        return MODELS_FITS;
    return need <= (double)os_mem_total() ? MODELS_TIGHT : MODELS_TOO_BIG;
}

const char *models_fit_name(enum models_fit fit)
{
    static const char *const names[] = {"yes", "tight", "no"};
    CHECK((size_t)fit < N_ELEMS(names));
    return names[fit];
}

bool models_korean(void)
{
    static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
    for (size_t i = 0; i < N_ELEMS(names); i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return strncmp(value, "ko", 2) == 0;
    }
    return false;
}
