/* SPDX-License-Identifier: MIT */
#include "app/cmd.h"

#include "base/arena.h"
#include "base/log.h"
#include "store/store.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static volatile sig_atomic_t stop_asked;

static void note_stop(int sig)
{
    stop_asked = sig;
}

void cmd_catch_stop(void)
{
    struct sigaction sa = {.sa_handler = note_stop};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

bool cmd_stopped(void)
{
    return stop_asked != 0;
}

int cmd_stop_signal(void)
{
    return stop_asked;
}

void cmd_stop_clear(void)
{
    stop_asked = 0;
}

static void print_help(const struct cmd_args *a, const struct conf_opt *opts, size_t n_opts)
{
    struct str out;
    str_init(&out, 1 << 20);
    str_addf(&out, "usage: damso %s %s\n%s\n\n", a->name, a->usage, a->help);
    conf_help(&out, opts, n_opts);
    CHECK(!out.full);
    fwrite(out.p, 1, out.n, stdout);
    str_done(&out);
}

/* Who lists the processes sees the arguments: an address keeps its password for us alone. */
static void hide_secrets(struct cmd_args *a)
{
    const char *store = a->conf.store;
    for (int i = 0; i < a->argc; i++) {
        if (store < a->argv[i] || store > a->argv[i] + strlen(a->argv[i]))
            continue;
        a->conf.store = arena_dup(&a->conf.arena, store, strlen(store));
        store_hide_secret(a->argv[i] + (store - a->argv[i]));
        return;
    }
}

enum err cmd_parse(struct cmd_args *a, const struct conf_opt *opts, size_t n_opts, int min_left,
                   int max_left, struct errinfo *e)
{
    CHECK(!a->parsed && a->argc >= 0);
    if (a->want_help) {
        print_help(a, opts, n_opts);
        a->done = true;
        return ERR_OK;
    }
    bool help = false;
    a->parsed = true;
    a->left = mem_alloc(((size_t)a->argc + 1) * sizeof(*a->left));
    TRY(conf_load(&a->conf, a->argc, a->argv, opts, n_opts, a->left, &a->n_left, &help, e));
    if (help) {
        print_help(a, opts, n_opts);
        a->done = true;
        return ERR_OK;
    }
    hide_secrets(a);
    int level = log_level_named(a->conf.log_level);
    CHECK(level >= 0);
    if (a->conf.origin[CONF_ID_log_level] != CONF_DEFAULT)
        log_level_set((enum log_level)level);
    if (max_left >= 0 && a->n_left > max_left)
        return err_set(e, ERR_USAGE, "%s: unexpected argument '%s' (usage: damso %s %s)", a->name,
                       a->left[max_left], a->name, a->usage);
    if (a->n_left < min_left)
        return err_set(e, ERR_USAGE, "%s: an argument is missing (usage: damso %s %s)", a->name,
                       a->name, a->usage);
    return ERR_OK;
}

static void list_commands(const struct cmd *cmds, size_t n_cmds, const char *prefix)
{
    const char *gap = *prefix ? " " : "";
    printf("usage: damso %s%sCOMMAND [options]\n\n", prefix, gap);
    for (size_t i = 0; i < n_cmds; i++)
        printf("  %-12s %s\n", cmds[i].name, cmds[i].help);
    printf("\n`damso help %s%sCOMMAND` gives a command's options", prefix, gap);
    printf(*prefix ? ".\n" : ", `damso help exit` the exit statuses.\n");
}

static bool wants_help(const char *arg)
{
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

static enum err unknown_command(const struct cmd *cmds, size_t n_cmds, const struct cmd_args *a,
                                struct errinfo *e)
{
    const char *names[64];
    CHECK(n_cmds <= 64);
    for (size_t i = 0; i < n_cmds; i++)
        names[i] = cmds[i].name;
    const char *near = conf_nearest(a->argv[0], names, n_cmds);
    const char *gap = a->name[0] ? " " : "";
    if (a->argv[0][0] == '-')
        return err_set(e, ERR_USAGE, "'%s': options follow a command; `damso help%s%s` lists them",
                       a->argv[0], gap, a->name);
    if (near)
        return err_set(e, ERR_USAGE, "there is no command '%s%s%s'; did you mean '%s'?", a->name,
                       gap, a->argv[0], near);
    return err_set(e, ERR_USAGE, "there is no command '%s%s%s'; `damso help%s%s` lists them",
                   a->name, gap, a->argv[0], gap, a->name);
}

enum err cmd_dispatch(const struct cmd *cmds, size_t n_cmds, struct cmd_args *a, struct errinfo *e)
{
    if (a->argc == 0 && !a->want_help && a->name[0])
        return err_set(e, ERR_USAGE, "%s: say what to %s; `damso help %s` lists it", a->name,
                       a->name, a->name);
    if (a->argc == 0 || wants_help(a->argv[0])) {
        list_commands(cmds, n_cmds, a->name);
        a->done = true;
        return ERR_OK;
    }
    for (size_t i = 0; i < n_cmds; i++) {
        if (strcmp(cmds[i].name, a->argv[0]) != 0)
            continue;
        size_t n = strlen(a->name);
        int len = snprintf(a->name + n, sizeof(a->name) - n, "%s%s", n ? " " : "", cmds[i].name);
        CHECK(len > 0 && (size_t)len < sizeof(a->name) - n);
        a->usage = cmds[i].usage;
        a->help = cmds[i].help;
        a->argc--;
        a->argv++;
        return cmds[i].fn(a, e);
    }
    return unknown_command(cmds, n_cmds, a, e);
}
