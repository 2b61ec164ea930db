/* SPDX-License-Identifier: MIT */
#include "app/catalogue.h"

#include "app/conf.h"
#include "base/num.h"
#include "os/os_map.h"

#include <cyaml/cyaml.h>
#include <stdio.h>
#include <string.h>

#define CATALOGUE_BYTES_MAX  ((size_t)1 << 20)
#define CATALOGUE_MODELS_MAX 1000

extern const unsigned char catalogue_yaml[];
extern const size_t catalogue_yaml_bytes;

/* ---- the form ---- */

#define TEXT(key, structure, member, most)                                                         \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_DEFAULT, structure, member, 1, most)
#define TEXT_OPTIONAL(key, structure, member, most)                                                \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_OPTIONAL, structure, member, 1, most)

/* The library's own booleans take every other word for a yes. */
static const cyaml_strval_t yes_no[] = {
    {"yes", 1},
    {"no",  0}
};
#define YES_NO(key, structure, member)                                                             \
    CYAML_FIELD_ENUM(key, CYAML_FLAG_STRICT, structure, member, yes_no, N_ELEMS(yes_no))

static const cyaml_schema_field_t wheel_fields[] = {
    TEXT("package", struct catalogue_wheel, package, 100),
    TEXT("version", struct catalogue_wheel, version, 100),
    TEXT("member", struct catalogue_wheel, member, 1000),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t wheel_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct catalogue_wheel, wheel_fields),
};

static const cyaml_schema_field_t source_fields[] = {
    TEXT_OPTIONAL("url", struct catalogue_source, url, 2000),
    CYAML_FIELD_SEQUENCE_COUNT("wheels", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                               struct catalogue_source, wheels, n_wheels, &wheel_schema, 1, 100),
    YES_NO("tried", struct catalogue_source, tried),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t source_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct catalogue_source, source_fields),
};

static const cyaml_schema_field_t about_fields[] = {
    TEXT("en", struct catalogue_model, about.en, 200),
    TEXT("ko", struct catalogue_model, about.ko, 400),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t licence_fields[] = {
    TEXT("name", struct catalogue_model, licence.name, 100),
    TEXT("url", struct catalogue_model, licence.url, 500),
    TEXT_OPTIONAL("note", struct catalogue_model, licence.note, 500),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t projector_fields[] = {
    CYAML_FIELD_UINT("bytes", CYAML_FLAG_OPTIONAL, struct catalogue_file, bytes),
    TEXT_OPTIONAL("sha256", struct catalogue_file, sha256, 64),
    CYAML_FIELD_FLOAT("gb", CYAML_FLAG_DEFAULT, struct catalogue_file, gb),
    CYAML_FIELD_SEQUENCE_COUNT("sources", CYAML_FLAG_POINTER, struct catalogue_file, sources,
                               n_sources, &source_schema, 1, 20),
    CYAML_FIELD_END,
};

/* A mapping whose fields lie in the model itself: their offsets count from the model. */
#define INSIDE(key_, fields_)                                                                      \
    {                                                                                              \
        .key = key_, .data_offset = 0,                                                             \
        .value = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct catalogue_model, fields_)},       \
    }

static const cyaml_schema_field_t model_fields[] = {
    TEXT("name", struct catalogue_model, name, 60),
    TEXT("title", struct catalogue_model, title, 100),
    TEXT("architecture", struct catalogue_model, architecture, 60),
    YES_NO("engine", struct catalogue_model, engine),
    INSIDE("about", about_fields),
    TEXT("file", struct catalogue_model, file, 200),
    CYAML_FIELD_UINT("bytes", CYAML_FLAG_OPTIONAL, struct catalogue_model, own.bytes),
    TEXT_OPTIONAL("sha256", struct catalogue_model, own.sha256, 64),
    CYAML_FIELD_FLOAT("gb", CYAML_FLAG_DEFAULT, struct catalogue_model, own.gb),
    CYAML_FIELD_FLOAT("memory_gib", CYAML_FLAG_DEFAULT, struct catalogue_model, memory_gib),
    CYAML_FIELD_UINT("context", CYAML_FLAG_DEFAULT, struct catalogue_model, context),
    INSIDE("licence", licence_fields),
    CYAML_FIELD_SEQUENCE_COUNT("sources", CYAML_FLAG_POINTER, struct catalogue_model, own.sources,
                               own.n_sources, &source_schema, 1, 20),
    CYAML_FIELD_MAPPING_PTR("projector", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                            struct catalogue_model, projector, projector_fields),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t model_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct catalogue_model, model_fields),
};

static const cyaml_schema_field_t top_fields[] = {
    CYAML_FIELD_SEQUENCE_COUNT("models", CYAML_FLAG_POINTER, struct catalogue, models, n_models,
                               &model_schema, 1, CATALOGUE_MODELS_MAX),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t top_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct catalogue, top_fields),
};

/* ---- reading ---- */

/* The library says what is wrong in its first line, and then the keys that lead there, the
 * innermost first, each with its line. */
__attribute__((format(printf, 3, 0))) static void note_yaml_error(cyaml_log_t level, void *ctx,
                                                                  const char *fmt, va_list ap)
{
    struct str *s = ctx;
    char line[300];
    (void)level;
    vsnprintf(line, sizeof line, fmt, ap);
    char *p = line;
    if (strncmp(p, "Load: ", 6) == 0)
        p += 6;
    p += strspn(p, " ");
    p[strcspn(p, "\n")] = '\0';
    if (strncmp(p, "Backtrace", 9) == 0 || !*p)
        return;
    str_addf(s, "%s%s", s->n ? "; " : "", p);
}

static cyaml_config_t yaml_config(struct str *errors)
{
    return (cyaml_config_t){
        .log_fn = note_yaml_error,
        .log_ctx = errors,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_ERROR,
        .flags = CYAML_CFG_NO_ALIAS,
    };
}

/* ---- what the form cannot say ---- */

static bool only(const char *s, const char *others)
{
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || strchr(others, *s)))
            return false;
    return true;
}

#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

bool catalogue_url_ok(const char *url, bool must_be_https)
{
    static const char local[] = "http://127.0.0.1";
    if (strncmp(url, "https://", 8) == 0)
        return url[8] != '\0' && url[8] != '/';
    if (must_be_https || strncmp(url, local, sizeof local - 1) != 0)
        return false;
    const char *p = url + sizeof local - 1;
    if (*p == ':')
        p += 1 + strspn(p + 1, "0123456789");
    return *p == '/';
}

static bool wheel_ok(const struct catalogue_wheel *w)
{
    return only(w->package, UPPER "._-") && strchr("._-", w->package[0]) == NULL &&
           only(w->version, UPPER "._+!") && w->member[0] != '/' && !strstr(w->member, "..") &&
           utf8_printable(span_of(w->member));
}

static const char *source_fault(const struct catalogue_source *s)
{
    if (!s->url == !s->n_wheels)
        return "a source has either url or wheels";
    if (s->url && (!catalogue_url_ok(s->url, false) || !utf8_printable(span_of(s->url))))
        return "a url must begin with https://";
    for (unsigned i = 0; i < s->n_wheels; i++)
        if (!wheel_ok(&s->wheels[i]))
            return "a wheel's package, version or member has characters it cannot have";
    return NULL;
}

/* A sentence, or NULL where all is well. */
static const char *file_fault(const struct catalogue_file *f)
{
    if (f->sha256 && (strlen(f->sha256) != 64 || strspn(f->sha256, "0123456789abcdef") != 64))
        return "sha256: 64 lower-case hex digits";
    if (f->sha256 && !f->bytes)
        return "sha256 needs bytes beside it";
    if (f->bytes > INT64_MAX / 2)
        return "bytes: impossibly large";
    if (!(f->gb > 0 && f->gb < 1e6))
        return "gb: more than 0";
    for (unsigned i = 0; i < f->n_sources; i++) {
        const char *fault = source_fault(&f->sources[i]);
        if (fault)
            return fault;
    }
    return NULL;
}

static const char *model_fault(const struct catalogue_model *m)
{
    if (!only(m->name, ".-") || strchr(".-", m->name[0]))
        return "name: lower-case letters, digits, dots and hyphens only";
    if (strchr(m->file, '/') || m->file[0] == '.' || !span_ends(span_of(m->file), SPAN(".gguf")))
        return "file: a file name without a slash that ends in .gguf";
    if (!(m->memory_gib > 0 && m->memory_gib < 1e6))
        return "memory_gib: more than 0";
    const char *texts[] = {m->title,
                           m->architecture,
                           m->about.en,
                           m->about.ko,
                           m->licence.name,
                           m->licence.url,
                           m->licence.note ? m->licence.note : "",
                           m->file};
    for (size_t i = 0; i < N_ELEMS(texts); i++)
        if (!utf8_printable(span_of(texts[i])))
            return "a text has line ends, control characters or bytes that are not UTF-8";
    const char *fault = file_fault(&m->own);
    return fault || !m->projector ? fault : file_fault(m->projector);
}

static enum err check_all(const struct catalogue *c, const char *what, struct errinfo *e)
{
    for (unsigned i = 0; i < c->n_models; i++) {
        const struct catalogue_model *m = &c->models[i];
        const char *fault = model_fault(m);
        if (fault)
            return err_set(e, ERR_CORRUPT, "%s: model %s: %s", what,
                           utf8_printable(span_of(m->name)) ? m->name : "?", fault);
        for (unsigned k = 0; k < i; k++)
            if (strcmp(c->models[k].name, m->name) == 0 || strcmp(c->models[k].file, m->file) == 0)
                return err_set(e, ERR_CORRUPT, "%s: the name or file of model %s appears twice",
                               what, m->name);
    }
    return ERR_OK;
}

enum err catalogue_parse(struct catalogue **out, const void *bytes, size_t n, const char *what,
                         struct errinfo *e)
{
    struct str errors;
    *out = NULL;
    if (n > CATALOGUE_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "%s: a catalogue has at most %zu bytes", what,
                       CATALOGUE_BYTES_MAX);
    str_init(&errors, 400);
    cyaml_config_t config = yaml_config(&errors);
    cyaml_err_t r = cyaml_load_data(bytes, n, &config, &top_schema, (cyaml_data_t **)out, NULL);
    if (r != CYAML_OK || !*out) { /* an empty file gives no data and no error */
        const char *reason = r != CYAML_OK ? cyaml_strerror(r) : "there is nothing in it";
        bool said = errors.n && strncmp(errors.p, "in ", 3) != 0;
        err_note(e, ERR_CORRUPT, "%s: %s%s%s", what, said ? "" : reason,
                 !said && errors.n ? "; " : "", errors.n ? errors.p : "");
        str_done(&errors);
        *out = NULL;
        return ERR_CORRUPT;
    }
    str_done(&errors);
    enum err code = check_all(*out, what, e);
    if (code != ERR_OK) {
        catalogue_free(*out);
        *out = NULL;
    }
    return code;
}

enum err catalogue_load(struct catalogue **out, const char *path, struct errinfo *e)
{
    struct os_map map;
    *out = NULL;
    if (!path || !*path)
        return catalogue_parse(out, catalogue_yaml, catalogue_yaml_bytes, "catalogue.yaml", e);
    TRY(os_map_open(&map, path, e));
    enum err code = catalogue_parse(out, map.data ? map.data : (const void *)"", map.bytes, path,
                                    e);
    os_map_close(&map);
    return code;
}

void catalogue_free(struct catalogue *c)
{
    cyaml_config_t config = yaml_config(NULL);
    config.log_fn = NULL;
    if (c)
        cyaml_free(&config, &top_schema, c, 0);
}

const struct catalogue_model *catalogue_find(const struct catalogue *c, const char *name)
{
    for (unsigned i = 0; i < c->n_models; i++)
        if (strcmp(c->models[i].name, name) == 0)
            return &c->models[i];
    return NULL;
}

/* The name nearest to what was given, as a whole or else by its beginning: "smolm2" means
 * smollm2-135m-instruct. */
static const char *nearest(const struct catalogue *c, const char *given)
{
    const char *names[CATALOGUE_MODELS_MAX];
    struct arena tmp;
    for (unsigned i = 0; i < c->n_models; i++)
        names[i] = c->models[i].name;
    const char *near = conf_nearest(given, names, c->n_models);
    if (near)
        return near;
    arena_init(&tmp);
    for (unsigned i = 0; i < c->n_models; i++)
        names[i] = arena_dup(&tmp, c->models[i].name, strcspn(c->models[i].name, "-"));
    const char *head = conf_nearest(given, names, c->n_models);
    for (unsigned i = 0; head && !near && i < c->n_models; i++)
        if (names[i] == head)
            near = c->models[i].name;
    arena_done(&tmp);
    return near;
}

enum err catalogue_need(const struct catalogue *c, const char *name,
                        const struct catalogue_model **out, struct errinfo *e)
{
    *out = catalogue_find(c, name);
    if (*out)
        return ERR_OK;
    const char *near = nearest(c, name);
    return err_set(e, ERR_NOTFOUND, "there is no model '%.100s'; %s%s%s`damso models` lists them",
                   name, near ? "did you mean '" : "", near ? near : "", near ? "'? " : "");
}
