/* SPDX-License-Identifier: MIT
 * conf.h - the settings: one row of conf.def each, from four places.
 *
 * Does: default < file < environment < command line; refuses unknown names (naming the nearest
 *       one), values of the wrong kind and values outside their range, each with its place.
 * The file is $XDG_CONFIG_HOME/damso/damso.conf (or ~/.config/...), `name = value` lines, # begins
 * a comment line; DAMSO_CONF or --conf FILE names another.  The environment has DAMSO_<NAME>.
 * Options stand anywhere among the arguments: --temp 0.5, --temp=0.5, -m FILE, -mFILE; `--` ends
 * them.  A hyphen and an underscore in a name are the same.
 * A command adds options of its own by a table of struct conf_opt, checked the same way.
 * Owner: whoever called conf_load; texts live until conf_done, argv and the environment as long as
 * the process.  Limits: 1 MiB for the file. */
#ifndef APP_CONF_H
#define APP_CONF_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_id {
#define CONF_INT(name, letter, def, min, max, help)  CONF_ID_##name,
#define CONF_REAL(name, letter, def, min, max, help) CONF_ID_##name,
#define CONF_TEXT(name, letter, def, max, help)      CONF_ID_##name,
#define CONF_PICK(name, letter, def, choices, help)  CONF_ID_##name,
#include "app/conf.def"
#undef CONF_INT
#undef CONF_REAL
#undef CONF_TEXT
#undef CONF_PICK
    CONF_N
};

enum conf_origin { CONF_DEFAULT, CONF_FILE, CONF_ENVIRONMENT, CONF_OPTION };

struct conf {
#define CONF_INT(name, letter, def, min, max, help)  int64_t name;
#define CONF_REAL(name, letter, def, min, max, help) double name;
#define CONF_TEXT(name, letter, def, max, help)      const char *name;
#define CONF_PICK(name, letter, def, choices, help)  const char *name;
#include "app/conf.def"
#undef CONF_INT
#undef CONF_REAL
#undef CONF_TEXT
#undef CONF_PICK
    enum conf_origin origin[CONF_N];
    const char *file; /* the settings file that was read; NULL for none */
    struct arena arena;
};

#define CONF_LIST_MAX 32

/* Texts of an option that may stand more than once. */
struct conf_list {
    const char *item[CONF_LIST_MAX];
    size_t n;
};

/* An option of one command.  Exactly one target is set. */
struct conf_opt {
    const char *name; /* without the hyphens: "json" */
    char letter;      /* 0: no short form */
    const char *arg;  /* the value's name in the help, "FILE"; NULL with `flag` */
    const char *help;
    bool *flag;             /* set to true */
    const char **text;      /* any text that is not empty */
    struct conf_list *list; /* the same, each time it stands there */
    int64_t *number;        /* min <= number <= max */
    int64_t min, max;
};

/* Reads all four places.  left[] receives the arguments that are no options, in order, and must
 * have room for argc; *help is set when -h or --help stands among the options (nothing else is
 * refused then).  argv holds what follows the command's name.
 * Errors: USAGE (names the option, the nearest name, the range), NOTFOUND (--conf), IO, TOOBIG. */
enum err conf_load(struct conf *c, int argc, char **argv, const struct conf_opt *opts,
                   size_t n_opts, char **left, int *n_left, bool *help, struct errinfo *e);
void conf_done(struct conf *c);

/* Base, and over it what a file of the same form says, where neither the environment nor the
 * command line has said it already; no file is fine.  Only the n settings of `ids` may stand in it.
 * base must outlive out, which conf_done ends.  Errors: as for conf_load's file. */
enum err conf_overlay(struct conf *out, const struct conf *base, const char *path,
                      const enum conf_id *ids, size_t n, struct errinfo *e);

/* What a row is, for lists and help. */
struct conf_info {
    const char *name;
    char letter;
    const char *kind;  /* "integer", "number", "text", or the choices "a|b|c" */
    const char *def;   /* the default as text */
    const char *range; /* "0 to 100"; "" for a choice */
    const char *help;
};
struct conf_info conf_info(enum conf_id id, struct arena *a);
/* The value as text, as the settings file would have it. */
const char *conf_value(const struct conf *c, enum conf_id id, struct arena *a);
const char *conf_origin_name(enum conf_origin origin);

/* Every option's lines of help, the command's own first. */
void conf_help(struct str *out, const struct conf_opt *opts, size_t n_opts);

/* The name nearest to `given` of n names, or NULL when none is near. */
const char *conf_nearest(const char *given, const char *const *names, size_t n);

#endif
