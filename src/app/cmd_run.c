/* SPDX-License-Identifier: MIT
 * cmd_run.c - damso run: one answer to one prompt, the reply alone on stdout. */
#include "app/app_ranks.h"
#include "app/cmd.h"
#include "app/talk_see.h"

#include "base/num.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROMPT_BYTES_MAX ((size_t)16 << 20)

static void print_piece(void *arg, struct span piece)
{
    (void)arg;
    fwrite(piece.p, 1, piece.n, stdout);
    fflush(stdout);
}

static bool asked_to_stop(void *arg)
{
    (void)arg;
    return cmd_stopped();
}

/* The prompt: the argument, or stdin for "-" and where no argument is given. */
static enum err read_prompt(const struct cmd_args *a, struct str *prompt, struct errinfo *e)
{
    char part[65536];
    if (a->n_left && strcmp(a->left[0], "-") != 0) {
        str_add_cstr(prompt, a->left[0]);
        return ERR_OK;
    }
    if (isatty(STDIN_FILENO))
        return err_set(e, ERR_USAGE, "run: say the prompt, or give it on stdin");
    for (size_t n; (n = fread(part, 1, sizeof part, stdin)) > 0;)
        str_add(prompt, part, n);
    if (ferror(stdin))
        return err_set(e, ERR_IO, "stdin: %s", strerror(errno));
    return ERR_OK;
}

static enum err check_prompt(const struct str *prompt, const struct conf_list *images, bool raw,
                             struct errinfo *e)
{
    for (size_t i = 0; i < images->n; i++)
        if (!utf8_valid(span_of(images->item[i])))
            return err_set(e, ERR_USAGE, "run: --image: the path is not valid UTF-8");
    if (prompt->full)
        return err_set(e, ERR_TOOBIG, "run: a prompt has at most %zu bytes", PROMPT_BYTES_MAX);
    if (prompt->n == 0)
        return err_set(e, ERR_USAGE, "run: the prompt is empty");
    if (!raw && !utf8_valid(str_span(prompt)))
        return err_set(e, ERR_USAGE, "run: the prompt is not valid UTF-8 (--raw takes any bytes)");
    return ERR_OK;
}

/* What is asked. */
struct ask {
    struct span prompt;
    struct conf_list images;
    bool raw, with_stats;
};

static json_t *message_of(const struct ask *ask)
{
    if (!ask->images.n)
        return talk_message("user", ask->prompt.p, ask->prompt.n);
    json_t *paths = json_array();
    for (size_t i = 0; i < ask->images.n; i++)
        json_array_append_new(paths, json_string(ask->images.item[i]));
    json_t *message = talk_message_seen(paths, ask->prompt.p, ask->prompt.n);
    json_decref(paths);
    return message;
}

static enum err answer(struct talk *t, const struct conf *c, const struct ask *ask,
                       struct talk_stats *stats, struct errinfo *e)
{
    const struct talk_sink sink = {print_piece, asked_to_stop, NULL};
    if (ask->raw)
        return talk_continue(t, ask->prompt, ask->images.item, ask->images.n, &sink, stats, e);
    json_t *messages = json_array();
    if (c->system[0])
        json_array_append_new(messages, talk_message("system", c->system, strlen(c->system)));
    json_array_append_new(messages, message_of(ask));
    enum err r = talk_answer(t, messages, &sink, stats, e);
    json_decref(messages);
    return r;
}

static void print_stats(const struct talk *t, const struct talk_stats *stats)
{
    struct str line;
    str_init(&line, 4096);
    talk_print_stats(stats, &line);
    fprintf(stderr, "[%s; seed %llu]\n", line.p, (unsigned long long)t->seed);
    str_done(&line);
}

static void print_device(const struct device_run *r)
{
    struct str line;
    str_init(&line, 4096);
    device_print(r, &line);
    fprintf(stderr, "[%s]\n", line.p);
    str_done(&line);
}

static enum err run(const struct cmd_args *a, const struct ask *ask, struct errinfo *e)
{
    struct talk t;
    struct talk_stats stats = {0};
    TRY(talk_open(&t, &a->conf, ask->images.n ? APP_SEES : APP_BLIND, e));
    cmd_catch_stop();
    enum err r = answer(&t, &a->conf, ask, &stats, e);
    if (stats.n_answer)
        putchar('\n');
    fflush(stdout);
    if (ask->with_stats)
        print_stats(&t, &stats);
    if (stats.device.sim)
        print_device(&stats.device);
    if (r == ERR_OK && cmd_stopped())
        r = err_set(e, ERR_CANCELLED, "stopped");
    app_model_settle(&t.model);
    talk_close(&t);
    return r;
}

enum err cmd_run(struct cmd_args *a, struct errinfo *e)
{
    struct ask ask = {0};
    const struct conf_opt opts[] = {
        {.name = "image",
         .arg = "FILE",
         .help = "a picture before the prompt (JPEG, PNG, WebP); may be said more than once",
         .list = &ask.images},
        {.name = "raw",               .help = "send the prompt without a chat template",   .flag = &ask.raw   },
        {.name = "stats",
         .help = "print tokens, speed and seed on stderr",
         .flag = &ask.with_stats                                   },
    };
    struct str prompt;
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 1, e));
    if (a->done)
        return ERR_OK;
    if (app_ranks_is_worker()) /* it has no prompt to read */
        return app_ranks_work(&a->conf, false, e);
    str_init(&prompt, PROMPT_BYTES_MAX);
    enum err r = read_prompt(a, &prompt, e);
    if (r == ERR_OK)
        r = check_prompt(&prompt, &ask.images, ask.raw, e);
    if (r == ERR_OK) {
        ask.prompt = str_span(&prompt);
        r = run(a, &ask, e);
    }
    str_done(&prompt);
    return r;
}
