/* SPDX-License-Identifier: MIT
 * hf.c - a folder, file by file. */
#include "hf/hf_int.h"

#include "base/num.h"

#include <string.h>
#include <sys/stat.h>

static const struct hf_family families[] = {
#define FAMILY(name, arch, act, flags, defaults) {#name, arch, act, flags, defaults},
#include "hf/hf_family.def"
#undef FAMILY
};

const char *hf_families(void)
{
    static const char names[] =
#define FAMILY(name, ...) ", " #name
#include "hf/hf_family.def"
#undef FAMILY
        ;
    return names + 2;
}

const char *hf_path(struct hf *h, const char *name)
{
    return arena_printf(&h->tmp, "%s/%s", h->dir, name);
}

bool hf_is_folder(const char *path)
{
    struct stat st;
    struct arena tmp;
    arena_init(&tmp);
    bool is = stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
              stat(arena_printf(&tmp, "%s/config.json", path), &st) == 0 && S_ISREG(st.st_mode);
    arena_done(&tmp);
    return is;
}

bool hf_has(struct hf *h, const char *name)
{
    struct stat st;
    return stat(hf_path(h, name), &st) == 0;
}

enum err hf_json(struct hf *h, const char *name, bool needed, json_t **out, struct errinfo *e)
{
    struct span bytes;
    json_error_t why;
    int part;
    const char *path = hf_path(h, name);
    *out = NULL;
    if (!needed && !hf_has(h, name))
        return ERR_OK;
    TRY(gguf_build_map(h->g, path, &bytes, &part, e));
    if (bytes.n > HF_JSON_MAX)
        return err_set(e, ERR_TOOBIG, "%s: %zu bytes of JSON; at most %zu can be read", path,
                       bytes.n, HF_JSON_MAX);
    *out = json_loadb(bytes.n ? bytes.p : "", bytes.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                      &why);
    if (!*out)
        return err_set(e, ERR_CORRUPT, "%s: line %d, column %d: %s", path, why.line, why.column,
                       why.text);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return err_set(e, ERR_CORRUPT, "%s: no JSON object", path);
    }
    return ERR_OK;
}

static enum err find_family(struct hf *h, json_t *config, struct errinfo *e)
{
    const char *name = json_string_value(
        json_array_get(json_object_get(config, "architectures"), 0));
    if (!name)
        return err_set(e, ERR_CORRUPT, "%s: names no architecture (\"architectures\")",
                       hf_path(h, "config.json"));
    for (size_t i = 0; i < N_ELEMS(families); i++)
        if (strcmp(families[i].name, name) == 0)
            h->family = &families[i];
    if (h->family)
        return ERR_OK;
    return err_set(
        e, ERR_UNSUPPORTED,
        "%s: the architecture %.64s does not load from a folder (those that do: %s); as a "
        "GGUF file more are known",
        hf_path(h, "config.json"), name, hf_families());
}

/* What the class has, and what the file says of the text model before that. */
static enum err read_config(struct hf *h, struct errinfo *e)
{
    json_t *all;
    TRY(hf_json(h, "config.json", true, &all, e));
    enum err r = find_family(h, all, e);
    if (r != ERR_OK) {
        json_decref(all);
        return r;
    }
    json_t *text = json_object_get(all, "text_config");
    h->config = json_is_object(text) ? json_copy(text) : json_copy(all);
    json_t *defaults = json_loads(h->family->defaults, 0, NULL);
    CHECK(h->config && defaults);
    json_object_update_missing(h->config, all);
    json_object_update_missing(h->config, defaults);
    json_decref(defaults);
    json_decref(all);
    json_t *q = hf_conf(h, "quantization_config");
    if (!q)
        return ERR_OK;
    const char *how = json_string_value(json_object_get(q, "quant_method"));
    return err_set(
        e, ERR_UNSUPPORTED,
        "%s: the weights are quantised (%.32s), which is not read from folders; take the "
        "original weights, or a GGUF file",
        hf_path(h, "config.json"), how ? how : "quantization_config");
}

static enum err read_folder(struct hf *h, struct errinfo *e)
{
    TRY(read_config(h, e));
    TRY(hf_read_weights(h, e));
    TRY(hf_put_keys(h, e));
    TRY(hf_put_rope(h, e));
    TRY(hf_put_tensors(h, e));
    TRY(hf_put_tokenizer(h, e));
    return gguf_build_end(h->g, e);
}

static enum err open_folder(struct gguf **out, const char *path, struct errinfo *e)
{
    struct hf h = {0};
    size_t n = strlen(path);
    arena_init(&h.tmp);
    while (n > 1 && path[n - 1] == '/')
        n--;
    h.dir = arena_dup(&h.tmp, path, n);
    h.g = gguf_build_new(h.dir);
    enum err r = read_folder(&h, e);
    json_decref(h.config);
    mem_free(h.tensors.t);
    arena_done(&h.tmp);
    if (r != ERR_OK) {
        gguf_close(h.g);
        h.g = NULL;
    }
    *out = h.g;
    return r;
}

enum err hf_open(struct gguf **out, const char *path, struct errinfo *e)
{
    return hf_is_folder(path) ? open_folder(out, path, e) : gguf_open(out, path, e);
}
