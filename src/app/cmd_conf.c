/* SPDX-License-Identifier: MIT
 * cmd_conf.c - damso conf: every setting with its value and where the value comes from. */
#include "app/cmd.h"

#include "base/num.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

/* The table of docs/CONF.md.  A bar inside a cell is written \| in Markdown. */
static void print_cell(const char *text)
{
    for (; *text; text++)
        printf(*text == '|' ? "\\|" : "%c", *text);
}

static void print_markdown(struct arena *a)
{
    printf("| setting | kind | default | range | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (int i = 0; i < CONF_N; i++) {
        struct conf_info info = conf_info((enum conf_id)i, a);
        printf("| `%s`", info.name);
        if (info.letter)
            printf(", `-%c`", info.letter);
        printf(" | ");
        print_cell(info.kind);
        printf(" | %s | %s | ", info.def[0] ? info.def : "empty", info.range);
        print_cell(info.help);
        printf(" |\n");
    }
}

static void print_values(const struct conf *c, struct arena *a)
{
    printf("# settings file: %s\n", c->file ? c->file : "none");
    for (int i = 0; i < CONF_N; i++) {
        struct conf_info info = conf_info((enum conf_id)i, a);
        char *value = arena_printf(a, "%s", conf_value(c, (enum conf_id)i, a));
        store_hide_secret(value);
        char *line = arena_printf(a, "%s = %s", info.name, value);
        printf("%-44s # %s; %s\n", line, conf_origin_name(c->origin[i]), info.help);
    }
}

enum err cmd_conf(struct cmd_args *a, struct errinfo *e)
{
    bool markdown = false;
    const struct conf_opt opts[] = {
        {.name = "markdown", .help = "print the table of docs/CONF.md", .flag = &markdown},
    };
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 0, e));
    if (a->done)
        return ERR_OK;
    struct arena tmp;
    arena_init(&tmp);
    if (markdown)
        print_markdown(&tmp);
    else
        print_values(&a->conf, &tmp);
    arena_done(&tmp);
    return ERR_OK;
}
