/* SPDX-License-Identifier: MIT */
#include "app/conf.h"

#include "base/num.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX_BYTES ((size_t)1 << 20)
#define NAME_MAX_BYTES 64

enum kind { KIND_INT, KIND_REAL, KIND_TEXT, KIND_PICK };

struct row {
    const char *name;
    char letter;
    enum kind kind;
    size_t offset;       /* of the field in struct conf */
    const char *def;     /* INT, REAL: the default as text */
    const char *choices; /* PICK: "a|b|c" */
    double min, max;     /* REAL; TEXT: the most bytes */
    int64_t imin, imax;  /* INT */
    const char *help;
};

static const struct row rows[CONF_N] = {
#define CONF_INT(field, letter, def, lo, hi, text)                                                 \
    {#field, letter, KIND_INT, offsetof(struct conf, field), #def, NULL, 0, 0, lo, hi, text},
#define CONF_REAL(field, letter, def, lo, hi, text)                                                \
    {#field, letter, KIND_REAL, offsetof(struct conf, field), #def, NULL, lo, hi, 0, 0, text},
#define CONF_TEXT(field, letter, def, most, text)                                                  \
    {#field, letter, KIND_TEXT, offsetof(struct conf, field), def, NULL, 0, most, 0, 0, text},
#define CONF_PICK(field, letter, def, choices, text)                                               \
    {#field, letter, KIND_PICK, offsetof(struct conf, field), def, choices, 0, 0, 0, 0, text},
#include "app/conf.def"
#undef CONF_INT
#undef CONF_REAL
#undef CONF_TEXT
#undef CONF_PICK
};

/* Where a value stands, for messages: "--temp", "DAMSO_TEMP", "damso.conf:3: temp". */
struct place {
    enum conf_origin origin;
    const char *text;
};

const char *conf_origin_name(enum conf_origin origin)
{
    static const char *const names[] = {"default", "file", "environment", "command line"};
    CHECK((size_t)origin < N_ELEMS(names));
    return names[origin];
}

/* ---- numbers ---- */

static bool read_int(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno || isspace((unsigned char)text[0]))
        return false;
    *out = v;
    return true;
}

static bool read_real(const char *text, double *out)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v) || isspace((unsigned char)text[0]))
        return false;
    *out = v;
    return true;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t n = strlen(text);
    for (const char *p = choices; *p;) {
        size_t len = strcspn(p, "|");
        if (len == n && memcmp(p, text, n) == 0)
            return true;
        p += len;
        p += *p == '|';
    }
    return false;
}

/* ---- one value into its field ---- */

static enum err set_int(const struct row *r, int64_t *field, const char *text, struct place at,
                        struct errinfo *e)
{
    int64_t v;
    if (!read_int(text, &v))
        return err_set(e, ERR_USAGE, "%s: '%.64s' is not an integer", at.text, text);
    if (v < r->imin || v > r->imax)
        return err_set(e, ERR_USAGE, "%s: %.64s is outside %lld to %lld", at.text, text,
                       (long long)r->imin, (long long)r->imax);
    *field = v;
    return ERR_OK;
}

static enum err set_real(const struct row *r, double *field, const char *text, struct place at,
                         struct errinfo *e)
{
    double v;
    if (!read_real(text, &v))
        return err_set(e, ERR_USAGE, "%s: '%.64s' is not a number", at.text, text);
    if (v < r->min || v > r->max)
        return err_set(e, ERR_USAGE, "%s: %.64s is outside %g to %g", at.text, text, r->min,
                       r->max);
    *field = v;
    return ERR_OK;
}

static enum err set_value(struct conf *c, enum conf_id id, const char *text, struct place at,
                          struct errinfo *e)
{
    const struct row *r = &rows[id];
    void *field = (char *)c + r->offset;
    CHECK(text && at.text);
    switch (r->kind) {
    case KIND_INT: TRY(set_int(r, field, text, at, e)); break;
    case KIND_REAL: TRY(set_real(r, field, text, at, e)); break;
    case KIND_PICK:
        if (!is_choice(r->choices, text))
            return err_set(e, ERR_USAGE, "%s: '%.64s' is none of %s", at.text, text, r->choices);
        *(const char **)field = text;
        break;
    case KIND_TEXT:
        if ((double)strlen(text) > r->max)
            return err_set(e, ERR_USAGE, "%s: %zu bytes are more than %.0f", at.text, strlen(text),
                           r->max);
        if (!utf8_valid(span_of(text)))
            return err_set(e, ERR_USAGE, "%s: the text is not valid UTF-8", at.text);
        *(const char **)field = text;
        break;
    }
    c->origin[id] = at.origin;
    return ERR_OK;
}

/* ---- names ---- */

/* Equal but for hyphens and underscores; b may be longer than n only in bytes that are not read. */
static bool same_name(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!b[i] || (a[i] == '_' ? '-' : a[i]) != (b[i] == '_' ? '-' : b[i]))
            return false;
    return b[n] == '\0';
}

static int find_row(const char *name, size_t n)
{
    for (int i = 0; i < CONF_N; i++)
        if (same_name(name, rows[i].name, n))
            return i;
    return -1;
}

/* Edits (insert, delete, replace, swap of neighbours) that turn a into b. */
static int distance(const char *a, const char *b)
{
    int d[3][NAME_MAX_BYTES + 1];
    int na = (int)strlen(a), nb = (int)strlen(b);
    if (na > NAME_MAX_BYTES || nb > NAME_MAX_BYTES)
        return NAME_MAX_BYTES;
    for (int k = 0; k <= nb; k++)
        d[0][k] = k;
    for (int i = 1; i <= na; i++) {
        int *cur = d[i % 3], *prev = d[(i + 2) % 3], *old = d[(i + 1) % 3];
        cur[0] = i;
        for (int k = 1; k <= nb; k++) {
            int best = prev[k - 1] + (a[i - 1] != b[k - 1]);
            best = MIN(best, prev[k] + 1);
            best = MIN(best, cur[k - 1] + 1);
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                best = MIN(best, old[k - 2] + 1);
            cur[k] = best;
        }
    }
    return d[na % 3][nb];
}

const char *conf_nearest(const char *given, const char *const *names, size_t n)
{
    const char *best = NULL;
    int best_distance = 4;
    size_t len = strlen(given);
    for (size_t i = 0; i < n; i++) {
        int far = distance(given, names[i]);
        if (len >= 3 && strncmp(given, names[i], len) == 0)
            far = MIN(far, 1); /* the beginning of a name */
        if (far < best_distance && (size_t)far < MAX(len, (size_t)2)) {
            best = names[i];
            best_distance = far;
        }
    }
    return best;
}

/* A row's name as an option is written: with hyphens. */
static void option_name(char out[NAME_MAX_BYTES + 1], const char *name)
{
    size_t n = strlen(name);
    CHECK(n <= NAME_MAX_BYTES);
    for (size_t i = 0; i <= n; i++)
        out[i] = name[i] == '_' ? '-' : name[i];
}

static enum err unknown_option(const char *arg, const char *name, const struct conf_opt *opts,
                               size_t n_opts, struct errinfo *e)
{
    const char *names[CONF_N + 64];
    char hyphened[CONF_N][NAME_MAX_BYTES + 1];
    char given[NAME_MAX_BYTES + 1];
    size_t n = 0;
    CHECK(n_opts <= 63);
    for (size_t i = 0; i < n_opts; i++)
        names[n++] = opts[i].name;
    for (int i = 0; i < CONF_N; i++) {
        option_name(hyphened[i], rows[i].name);
        names[n++] = hyphened[i];
    }
    names[n++] = "conf";
    size_t len = strcspn(name, "=");
    snprintf(given, sizeof(given), "%.*s", (int)MIN(len, (size_t)NAME_MAX_BYTES), name);
    const char *near = conf_nearest(given, names, n);
    if (near)
        return err_set(e, ERR_USAGE, "there is no option '%.64s'; did you mean '--%s'?", arg, near);
    return err_set(e, ERR_USAGE, "there is no option '%.64s'; --help lists them", arg);
}

/* ---- the file ---- */

static char *default_file(struct arena *a)
{
    const char *base = getenv("XDG_CONFIG_HOME");
    if (base && *base)
        return arena_printf(a, "%s/damso/damso.conf", base);
    base = getenv("HOME");
    return base && *base ? arena_printf(a, "%s/.config/damso/damso.conf", base) : NULL;
}

static enum err read_whole(struct arena *a, FILE *f, const char *path, char **text, size_t *n,
                           struct errinfo *e)
{
    char *buf = arena_alloc(a, FILE_MAX_BYTES + 1);
    *n = fread(buf, 1, FILE_MAX_BYTES + 1, f);
    if (ferror(f))
        return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (*n > FILE_MAX_BYTES)
        return err_set(e, ERR_TOOBIG, "%s: a settings file has at most %zu bytes", path,
                       FILE_MAX_BYTES);
    if (memchr(buf, '\0', *n))
        return err_set(e, ERR_USAGE, "%s: a zero byte is no text", path);
    *text = buf;
    return ERR_OK;
}

static char *trim(char *p)
{
    while (isspace((unsigned char)*p))
        p++;
    size_t n = strlen(p);
    while (n && isspace((unsigned char)p[n - 1]))
        p[--n] = '\0';
    return p;
}

static enum err take_line(struct conf *c, const char *path, int line_no, char *line,
                          struct errinfo *e)
{
    char *key = trim(line);
    if (!*key || *key == '#')
        return ERR_OK;
    char *equals = strchr(key, '=');
    if (!equals)
        return err_set(e, ERR_USAGE, "%s:%d: a line is `name = value`", path, line_no);
    *equals = '\0';
    char *value = trim(equals + 1);
    key = trim(key);
    int id = find_row(key, strlen(key));
    if (id < 0) {
        const char *names[CONF_N];
        for (int i = 0; i < CONF_N; i++)
            names[i] = rows[i].name;
        const char *near = conf_nearest(key, names, CONF_N);
        return err_set(e, ERR_USAGE, "%s:%d: there is no setting '%.64s'%s%s%s", path, line_no, key,
                       near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    char *at = arena_printf(&c->arena, "%s:%d: %s", path, line_no, rows[id].name);
    return set_value(c, (enum conf_id)id, value, (struct place){CONF_FILE, at}, e);
}

static enum err load_file(struct conf *c, const char *path, bool must_exist, struct errinfo *e)
{
    FILE *f = fopen(path, "rb");
    if (!f && !must_exist && (errno == ENOENT || errno == ENOTDIR))
        return ERR_OK;
    if (!f)
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "settings file %s: %s", path,
                       strerror(errno));
    char *text = NULL;
    size_t n = 0;
    enum err code = read_whole(&c->arena, f, path, &text, &n, e);
    fclose(f);
    TRY(code);
    c->file = path;
    int line_no = 1;
    for (char *p = text, *end = text + n; p < end; line_no++) {
        char *newline = memchr(p, '\n', (size_t)(end - p));
        char *next = newline ? newline + 1 : end;
        if (newline)
            *newline = '\0';
        TRY(take_line(c, path, line_no, p, e));
        p = next;
    }
    return ERR_OK;
}

/* ---- the environment ---- */

static enum err load_environment(struct conf *c, struct errinfo *e)
{
    for (int i = 0; i < CONF_N; i++) {
        char *name = arena_printf(&c->arena, "DAMSO_%s", rows[i].name);
        for (char *p = name; *p; p++)
            *p = (char)toupper((unsigned char)*p);
        const char *value = getenv(name);
        if (value && *value)
            TRY(set_value(c, (enum conf_id)i, value, (struct place){CONF_ENVIRONMENT, name}, e));
    }
    return ERR_OK;
}

/* ---- the command line ---- */

struct args {
    int argc, i;
    char **argv;
    const struct conf_opt *opts;
    size_t n_opts;
    char **left;
    int n_left;
    bool help;
    const char *conf_file; /* --conf */
};

/* An option as it was found: its name, and the value that stands in the same argument or NULL. */
struct found {
    int row;                    /* of conf.def, or -1 */
    const struct conf_opt *opt; /* or NULL */
    bool is_conf;               /* --conf */
    const char *shown;          /* "--temp" */
    const char *value;
};

static bool find_long(const struct args *s, const char *name, size_t n, struct found *f)
{
    for (size_t i = 0; i < s->n_opts; i++)
        if (same_name(name, s->opts[i].name, n)) {
            f->opt = &s->opts[i];
            return true;
        }
    f->is_conf = same_name(name, "conf", n);
    f->row = f->is_conf ? -1 : find_row(name, n);
    return f->is_conf || f->row >= 0;
}

static bool find_short(const struct args *s, char letter, struct found *f)
{
    for (size_t i = 0; i < s->n_opts; i++)
        if (s->opts[i].letter == letter) {
            f->opt = &s->opts[i];
            return true;
        }
    for (int i = 0; i < CONF_N; i++)
        if (rows[i].letter == letter) {
            f->row = i;
            return true;
        }
    return false;
}

static enum err find_option(const struct args *s, struct arena *a, const char *arg, struct found *f,
                            struct errinfo *e)
{
    *f = (struct found){.row = -1};
    if (arg[1] != '-') {
        if (!find_short(s, arg[1], f))
            return unknown_option(arg, arg + 1, s->opts, s->n_opts, e);
        f->shown = arena_printf(a, "-%c", arg[1]);
        f->value = arg[2] ? arg + 2 : NULL;
        return ERR_OK;
    }
    size_t n = strcspn(arg + 2, "=");
    if (n == 0 || n > NAME_MAX_BYTES || !find_long(s, arg + 2, n, f))
        return unknown_option(arg, arg + 2, s->opts, s->n_opts, e);
    f->shown = arena_printf(a, "%.*s", (int)n + 2, arg);
    f->value = arg[n + 2] == '=' ? arg + n + 3 : NULL;
    return ERR_OK;
}

static enum err set_opt(const struct conf_opt *o, const char *shown, const char *value,
                        struct errinfo *e)
{
    int64_t v;
    CHECK(!!o->flag + !!o->text + !!o->list + !!o->number == 1);
    if ((o->text || o->list) && !*value)
        return err_set(e, ERR_USAGE, "%s: %s is empty", shown, o->arg);
    if (o->text) {
        *o->text = value;
        return ERR_OK;
    }
    if (o->list) {
        if (o->list->n == CONF_LIST_MAX)
            return err_set(e, ERR_USAGE, "%s: more than %d of them", shown, CONF_LIST_MAX);
        o->list->item[o->list->n++] = value;
        return ERR_OK;
    }
    if (!read_int(value, &v))
        return err_set(e, ERR_USAGE, "%s: '%.64s' is not an integer", shown, value);
    if (v < o->min || v > o->max)
        return err_set(e, ERR_USAGE, "%s: %.64s is outside %lld to %lld", shown, value,
                       (long long)o->min, (long long)o->max);
    *o->number = v;
    return ERR_OK;
}

/* --accounts: a setting that is off or on, and neither word follows. */
static bool is_switch(const struct found *f, const struct args *s)
{
    if (f->row < 0 || rows[f->row].kind != KIND_PICK || strcmp(rows[f->row].choices, "off|on") != 0)
        return false;
    return s->i >= s->argc || !is_choice("off|on", s->argv[s->i]);
}

/* One option with its value; s->i stands behind both after it.  With c == NULL only --conf and
 * --help are looked at, which must be known before the file is read. */
static enum err take_option(struct args *s, struct conf *c, struct arena *a, struct errinfo *e)
{
    const char *arg = s->argv[s->i++];
    struct found f;
    if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
        s->help = true;
        return ERR_OK;
    }
    TRY(find_option(s, a, arg, &f, e));
    if (f.opt && f.opt->flag) {
        if (f.value)
            return err_set(e, ERR_USAGE, "%s takes no value ('%.64s')", f.shown, f.value);
        *f.opt->flag = true;
        return ERR_OK;
    }
    if (!f.value && is_switch(&f, s))
        f.value = "on";
    if (!f.value && s->i >= s->argc)
        return err_set(e, ERR_USAGE, "%s needs a value", f.shown);
    if (!f.value)
        f.value = s->argv[s->i++];
    if (f.is_conf)
        s->conf_file = f.value;
    else if (f.opt && (c || !f.opt->list)) /* a list takes each of them once */
        TRY(set_opt(f.opt, f.shown, f.value, e));
    else if (c)
        TRY(set_value(c, (enum conf_id)f.row, f.value, (struct place){CONF_OPTION, f.shown}, e));
    return ERR_OK;
}

static enum err take_arguments(struct args *s, struct conf *c, struct arena *a, struct errinfo *e)
{
    s->i = 0;
    s->n_left = 0;
    while (s->i < s->argc) {
        char *arg = s->argv[s->i];
        if (strcmp(arg, "--") == 0) {
            while (++s->i < s->argc)
                s->left[s->n_left++] = s->argv[s->i];
        } else if (arg[0] != '-' || !arg[1]) {
            s->left[s->n_left++] = arg;
            s->i++;
        } else {
            TRY(take_option(s, c, a, e));
        }
    }
    return ERR_OK;
}

/* ---- all four ---- */

/* A path in a folder of the user's: $variable/damso, or ~/otherwise/damso; without a home, in the
 * current folder. */
static const char *user_path(struct arena *a, const char *variable, const char *otherwise,
                             const char *name)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    if (base && *base)
        return arena_printf(a, "%s/damso%s", base, name);
    if (home && *home)
        return arena_printf(a, "%s/%s/damso%s", home, otherwise, name);
    return arena_printf(a, "damso%s", name);
}

static const char *data_path(struct arena *a, const char *name)
{
    return user_path(a, "XDG_DATA_HOME", ".local/share", name);
}

static void fill_paths(struct conf *c)
{
    if (!c->models_dir[0])
        c->models_dir = data_path(&c->arena, "/models");
    if (!c->store[0])
        c->store = arena_printf(&c->arena, "sqlite:%s", data_path(&c->arena, "/damso.db"));
    if (!c->cache_dir[0])
        c->cache_dir = user_path(&c->arena, "XDG_CACHE_HOME", ".cache", "");
}

enum err conf_load(struct conf *c, int argc, char **argv, const struct conf_opt *opts,
                   size_t n_opts, char **left, int *n_left, bool *help, struct errinfo *e)
{
    struct args s = {.argc = argc, .argv = argv, .opts = opts, .n_opts = n_opts, .left = left};
    CHECK(argc >= 0 && left && n_left && help);
    memset(c, 0, sizeof(*c));
    arena_init(&c->arena);
    for (int i = 0; i < CONF_N; i++)
        CHECK(set_value(c, (enum conf_id)i, rows[i].def, (struct place){CONF_DEFAULT, rows[i].name},
                        e) == ERR_OK);
    enum err code = take_arguments(&s, NULL, &c->arena, e);
    *help = s.help;
    *n_left = s.n_left;
    if (s.help) {
        if (e)
            *e = (struct errinfo){0};
        fill_paths(c);
        return ERR_OK;
    }
    TRY(code);
    const char *named = s.conf_file ? s.conf_file : getenv("DAMSO_CONF");
    const char *path = named && *named ? named : default_file(&c->arena);
    if (path)
        TRY(load_file(c, path, path == named, e));
    TRY(load_environment(c, e));
    TRY(take_arguments(&s, c, &c->arena, e));
    fill_paths(c);
    return ERR_OK;
}

static size_t field_bytes(const struct row *r)
{
    return r->kind == KIND_INT    ? sizeof(int64_t)
           : r->kind == KIND_REAL ? sizeof(double)
                                  : sizeof(const char *);
}

enum err conf_overlay(struct conf *out, const struct conf *base, const char *path,
                      const enum conf_id *ids, size_t n, struct errinfo *e)
{
    *out = *base;
    arena_init(&out->arena);
    memset(out->origin, 0, sizeof out->origin); /* so that what the file says stands out */
    TRY(load_file(out, path, false, e));
    for (int i = 0; i < CONF_N; i++) {
        size_t k = 0;
        while (k < n && (int)ids[k] != i)
            k++;
        bool said = out->origin[i] == CONF_FILE;
        if (said && k == n)
            return err_set(e, ERR_USAGE, "%s: %s is no setting of one model", path, rows[i].name);
        if (said && base->origin[i] > CONF_FILE)
            memcpy((char *)out + rows[i].offset, (const char *)base + rows[i].offset,
                   field_bytes(&rows[i]));
        if (!said || base->origin[i] > CONF_FILE)
            out->origin[i] = base->origin[i];
    }
    out->file = base->file;
    return ERR_OK;
}

void conf_done(struct conf *c)
{
    arena_done(&c->arena);
    memset(c, 0, sizeof(*c));
}

/* ---- lists ---- */

struct conf_info conf_info(enum conf_id id, struct arena *a)
{
    CHECK((size_t)id < CONF_N);
    const struct row *r = &rows[id];
    struct conf_info info = {r->name, r->letter, r->choices, r->def, "", r->help};
    switch (r->kind) {
    case KIND_INT:
        info.kind = "integer";
        info.range = arena_printf(a, "%lld to %lld", (long long)r->imin, (long long)r->imax);
        break;
    case KIND_REAL:
        info.kind = "number";
        info.range = arena_printf(a, "%g to %g", r->min, r->max);
        break;
    case KIND_TEXT:
        info.kind = "text";
        info.range = arena_printf(a, "at most %.0f bytes", r->max);
        break;
    case KIND_PICK: break;
    }
    return info;
}

const char *conf_value(const struct conf *c, enum conf_id id, struct arena *a)
{
    CHECK((size_t)id < CONF_N);
    const void *field = (const char *)c + rows[id].offset;
    switch (rows[id].kind) {
    case KIND_INT: return arena_printf(a, "%lld", (long long)*(const int64_t *)field);
    case KIND_REAL: return arena_printf(a, "%.10g", *(const double *)field);
    default: return *(const char *const *)field;
    }
}

static void help_line(struct str *out, char letter, const char *name, const char *arg,
                      const char *help)
{
    char shown[NAME_MAX_BYTES + 1], head[160], first[8] = "   ";
    option_name(shown, name);
    if (letter)
        snprintf(first, sizeof(first), "-%c,", letter);
    snprintf(head, sizeof(head), "%s --%s%s%s", first, shown, arg ? " " : "", arg ? arg : "");
    str_addf(out, "  %-30s %s\n", head, help);
}

void conf_help(struct str *out, const struct conf_opt *opts, size_t n_opts)
{
    struct arena a;
    arena_init(&a);
    if (n_opts)
        str_add_cstr(out, "Options of this command:\n");
    for (size_t i = 0; i < n_opts; i++)
        help_line(out, opts[i].letter, opts[i].name, opts[i].arg, opts[i].help);
    str_addf(out,
             "%sSettings (also lines of the settings file, and DAMSO_NAME in the environment):\n",
             n_opts ? "\n" : "");
    for (int i = 0; i < CONF_N; i++) {
        struct conf_info info = conf_info((enum conf_id)i, &a);
        const char *arg = rows[i].kind == KIND_INT    ? "N"
                          : rows[i].kind == KIND_REAL ? "X"
                          : rows[i].kind == KIND_TEXT ? "TEXT"
                                                      : "NAME";
        char *help = arena_printf(&a, "%s [%s%s%s]", info.help, info.def[0] ? info.def : "empty",
                                  rows[i].choices ? ", of " : "",
                                  rows[i].choices ? rows[i].choices : "");
        help_line(out, info.letter, info.name, arg, help);
    }
    help_line(out, 0, "conf", "FILE", "the settings file to read");
    help_line(out, 'h', "help", NULL, "print this");
    arena_done(&a);
}
