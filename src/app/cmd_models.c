/* SPDX-License-Identifier: MIT
 * cmd_models.c - damso models: the catalogue, what of it is here, and what fits this machine. */
#include "app/cmd.h"

#include "app/models.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#define N_COLUMNS 7

struct entry {
    const struct catalogue_model *m;
    const char *path;
    enum models_state state;
    uint64_t bytes;
    const char *projector; /* its path; NULL: there is none */
    enum models_state projector_state;
    enum models_fit fit;
};

/* Cells on a terminal: a Hangul syllable takes two. */
static int width_of(const char *s)
{
    int width = 0;
    size_t n = strlen(s), len;
    for (size_t i = 0; i < n; i += len) {
        int32_t cp = utf8_get(s + i, n - i, &len);
        width += cp < 0 ? 1 : utf8proc_charwidth(cp);
    }
    return width;
}

/* The longest beginning of s that takes at most `cells`. */
static size_t cut_to(const char *s, int cells)
{
    size_t n = strlen(s), i = 0, len;
    for (; i < n; i += len) {
        int32_t cp = utf8_get(s + i, n - i, &len);
        cells -= cp < 0 ? 1 : utf8proc_charwidth(cp);
        if (cells < 0)
            break;
    }
    return i;
}

static const char *size_text(struct arena *a, const struct entry *en)
{
    const struct catalogue_model *m = en->m;
    uint64_t bytes = m->own.bytes ? m->own.bytes : en->state == MODELS_WHOLE ? en->bytes : 0;
    double gb = bytes ? (double)bytes * 1e-9 : m->own.gb;
    const char *about = bytes ? "" : "~";
    return gb < 1 ? arena_printf(a, "%s%.0f MB", about, gb * 1000)
                  : arena_printf(a, "%s%.1f GB", about, gb);
}

static const char *here_text(struct arena *a, const struct entry *en)
{
    if (en->state == MODELS_PART)
        return arena_printf(a, "%.0f %%", MIN(99, (double)en->bytes * 1e-7 / en->m->own.gb));
    return en->state == MODELS_WHOLE ? "yes" : en->state == MODELS_ODD ? "odd" : "-";
}

static void fill_row(struct arena *a, const struct entry *en, const char *cell[N_COLUMNS])
{
    const struct catalogue_model *m = en->m;
    const char *about = models_korean() ? m->about.ko : m->about.en;
    cell[0] = m->name;
    cell[1] = here_text(a, en);
    cell[2] = size_text(a, en);
    cell[3] = arena_printf(a, "%.3g GiB", m->memory_gib);
    cell[4] = m->engine ? models_fit_name(en->fit) : "not yet";
    cell[5] = m->licence.name;
    cell[6] = m->engine ? about
                        : arena_printf(a, "%s (needs the architecture %s)", about, m->architecture);
}

static void print_row(const char *const cell[N_COLUMNS], const int width[N_COLUMNS], int columns)
{
    int at = 0;
    for (int i = 0; i < N_COLUMNS - 1; i++) {
        int pad = width[i] - width_of(cell[i]);
        bool right = i == 2 || i == 3;
        printf("%*s%s%*s  ", right ? pad : 0, "", cell[i], right ? 0 : pad, "");
        at += width[i] + 2;
    }
    const char *last = cell[N_COLUMNS - 1];
    if (columns && at + width_of(last) > columns)
        printf("%.*s\n", (int)cut_to(last, MAX(columns - at, 0)), last);
    else
        printf("%s\n", last);
}

/* Columns of the terminal that stdout is; 0 where it is none: then nothing is cut. */
static int terminal_columns(void)
{
    struct winsize w;
    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

static void print_table(struct arena *a, const struct conf *c, const struct entry *list, size_t n)
{
    static const char *const english[] = {"NAME", "HERE",    "SIZE", "MEMORY",
                                          "RUNS", "LICENCE", "ABOUT"};
    static const char *const korean[] = {"이름", "있음",     "크기", "메모리",
                                         "실행", "라이선스", "소개"};
    const char *(*rows)[N_COLUMNS] = arena_array(a, n + 1, sizeof *rows);
    int width[N_COLUMNS] = {0};
    memcpy(rows[0], models_korean() ? korean : english, sizeof rows[0]);
    for (size_t i = 0; i < n; i++)
        fill_row(a, &list[i], rows[i + 1]);
    for (size_t i = 0; i <= n; i++)
        for (int k = 0; k < N_COLUMNS; k++)
            width[k] = MAX(width[k], width_of(rows[i][k]));
    for (size_t i = 0; i <= n; i++)
        print_row(rows[i], width, terminal_columns());
    printf("\n%s: %s\n%s: %.1f GiB, %.1f GiB\n", models_korean() ? "폴더" : "folder", c->models_dir,
           models_korean() ? "메모리 전체, 남은 것" : "memory in all, free",
           (double)os_mem_total() / 0x1p30, (double)os_mem_available() / 0x1p30);
}

static json_t *entry_json(const struct entry *en)
{
    const struct catalogue_model *m = en->m;
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:b, s:{s:s, s:s}, s:s, s:s, s:I, s:f, s:f, s:I, s:s, s:{s:s, s:s, s:s?}}",
        "name", m->name, "title", m->title, "architecture", m->architecture, "engine", m->engine,
        "about", "en", m->about.en, "ko", m->about.ko, "path", en->path, "state",
        models_state_name(en->state), "file_bytes", (json_int_t)en->bytes, "gb", m->own.gb,
        "memory_gib", m->memory_gib, "context", (json_int_t)m->context, "fits",
        models_fit_name(en->fit), "licence", "name", m->licence.name, "url", m->licence.url, "note",
        m->licence.note);
    CHECK(o);
    if (m->own.bytes)
        json_object_set_new(o, "bytes", json_integer((json_int_t)m->own.bytes));
    if (m->own.sha256)
        json_object_set_new(o, "sha256", json_string(m->own.sha256));
    if (m->projector)
        json_object_set_new(o, "projector",
                            json_pack("{s:s, s:s, s:f}", "path", en->projector, "state",
                                      models_state_name(en->projector_state), "gb",
                                      m->projector->gb));
    return o;
}

static void print_json(const struct entry *list, size_t n)
{
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(all, entry_json(&list[i]));
    json_dumpf(all, stdout, JSON_INDENT(2)); /* main reports a failed write */
    json_decref(all);
    putchar('\n');
}

enum err cmd_models(struct cmd_args *a, struct errinfo *e)
{
    bool json = false;
    struct catalogue *cat;
    struct arena tmp;
    const struct conf_opt opts[] = {
        {.name = "json", .help = "print a JSON array", .flag = &json},
    };
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 0, e));
    if (a->done)
        return ERR_OK;
    TRY(catalogue_load(&cat, a->conf.catalogue, e));
    arena_init(&tmp);
    struct entry *list = arena_array(&tmp, cat->n_models, sizeof *list);
    for (unsigned i = 0; i < cat->n_models; i++) {
        struct entry *en = &list[i];
        en->m = &cat->models[i];
        en->path = models_file(&a->conf, &tmp, en->m);
        en->state = models_state(en->path, en->m->own.bytes, &en->bytes);
        en->fit = models_fit(en->m);
        if (en->m->projector) {
            uint64_t bytes;
            en->projector = models_mmproj_beside(&tmp, en->path);
            en->projector_state = models_state(en->projector, en->m->projector->bytes, &bytes);
        }
    }
    if (json)
        print_json(list, cat->n_models);
    else
        print_table(&tmp, &a->conf, list, cat->n_models);
    arena_done(&tmp);
    catalogue_free(cat);
    return ERR_OK;
}
