/* SPDX-License-Identifier: MIT
 * main.c - finds the command, runs it, and turns its error into a message and an exit status. */
#include "api/api_call.h"
#include "app/app_ranks.h"
#include "app/cmd.h"
#include "base/arena.h"
#include "base/num.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct cmd commands[] = {
#define CMD(name, usage, help) {#name, cmd_##name, usage, help},
#include "app/cmd.def"
#undef CMD
};

static void print_exit_table(void)
{
    printf("| exit status | name | meaning |\n| --- | --- | --- |\n");
    for (int i = 0; i < ERR_N; i++)
        printf("| %d | %s | %s |\n", err_exit(i), err_name(i), err_text(i));
}

static void print_api_table(void)
{
    static const char *const makers[] = {
        [API_OPENAI] = "OpenAI", [API_ANTHROPIC] = "Anthropic", [API_OLLAMA] = "Ollama"};
    size_t n;
    const struct api_route *r = api_routes(&n);
    struct str scope;
    printf("| method | path | errors as | scope of the key | what it does |\n"
           "| --- | --- | --- | --- | --- |\n");
    str_init(&scope, 256);
    for (size_t i = 0; i < n; i++, r++) {
        str_clear(&scope);
        store_scopes_text((unsigned)r->scope, &scope);
        printf("| %s | `%s` | %s | %s | %s |\n", r->method, r->path, makers[r->dialect],
               scope.n ? scope.p : "none needed", r->summary);
    }
    str_done(&scope);
}

/* damso help [COMMAND ...], damso help exit, damso help api */
static enum err help(struct cmd_args *a, struct errinfo *e)
{
    if (a->argc == 1 && strcmp(a->argv[0], "exit") == 0) {
        print_exit_table();
        return ERR_OK;
    }
    if (a->argc == 1 && strcmp(a->argv[0], "api") == 0) {
        print_api_table();
        return ERR_OK;
    }
    a->want_help = true;
    return cmd_dispatch(commands, N_ELEMS(commands), a, e);
}

static enum err start(struct cmd_args *a, struct errinfo *e)
{
    if (a->argc > 0 && strcmp(a->argv[0], "--version") == 0) {
        printf("damso %s\n", DAMSO_VERSION);
        return ERR_OK;
    }
    if (a->argc > 0 && strcmp(a->argv[0], "help") == 0) {
        a->argc--;
        a->argv++;
        return help(a, e);
    }
    return cmd_dispatch(commands, N_ELEMS(commands), a, e);
}

/* What stdio kept back must reach its place: a full disk is an error, a reader that went away
 * (`damso models | head -1`) needs no words. */
static enum err flush_results(struct errinfo *e)
{
    bool failed = ferror(stdout) != 0;
    errno = 0;
    if (fflush(stdout) == 0 && !failed)
        return ERR_OK;
    enum err code = err_set(e, ERR_IO, "stdout: %s", errno ? strerror(errno) : "a write failed");
    if (errno == EPIPE && e)
        e->text[0] = '\0';
    return code;
}

int main(int argc, char **argv)
{
    struct errinfo e = {0};
    struct cmd_args a = {.argc = argc > 0 ? argc - 1 : 0, .argv = argv + 1};
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);

    enum err code = start(&a, &e);
    if (code == ERR_OK)
        code = flush_results(&e);
    else
        fflush(stdout);
    if (code != ERR_OK && e.text[0])
        fprintf(stderr, "damso: %s\n", e.text);
    app_ranks_end();
    if (a.parsed) {
        conf_done(&a.conf);
        mem_free(a.left);
    }
    return err_exit(code);
}
