/* SPDX-License-Identifier: MIT
 * cmd_chat.c - damso chat: a conversation in the terminal.  Answers go to stdout, everything else
 * to stderr.  Commands are rows of chat_cmd.def, texts rows of chat_text.def. */
#include "app/chat_file.h"
#include "app/cmd.h"
#include "app/line.h"
#include "app/models.h"
#include "app/talk_see.h"

#include "base/num.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum text_id {
#define TEXT(name, en, ko) TEXT_##name,
#include "app/chat_text.def"
#undef TEXT
};

static const char *const texts[][2] = {
#define TEXT(name, en, ko) {en, ko},
#include "app/chat_text.def"
#undef TEXT
};

struct chatter {
    struct talk talk;
    struct line *line;
    json_t *messages;     /* the conversation, the system message first when there is one */
    json_t *images;       /* paths of pictures that go with the next message */
    const char *own_file; /* the file that /save may write over: it is this conversation's */
    bool korean, colour, ended;
    struct str words; /* of the command that runs */
    struct arena arena;
};

static const char *text(const struct chatter *c, enum text_id id)
{
    return texts[id][c->korean];
}

/* A line for the person, dim where the terminal can. */
static void tell(const struct chatter *c, const char *a, const char *b)
{
    fprintf(stderr, "%s%s%s%s\n", c->colour ? "\033[2m" : "", a, b, c->colour ? "\033[0m" : "");
}

static const char *role_of(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role ? role : "";
}

static const json_t *system_of(const struct chatter *c)
{
    const json_t *first = json_array_get(c->messages, 0);
    return first && strcmp(role_of(first), "system") == 0 ? first : NULL;
}

/* ---- answers ---- */

static void print_piece(void *arg, struct span piece)
{
    str_add_span(arg, piece);
    fwrite(piece.p, 1, piece.n, stdout);
    fflush(stdout);
}

static bool asked_to_stop(void *arg)
{
    (void)arg;
    return cmd_stopped();
}

static void drop_last(struct chatter *c)
{
    json_array_remove(c->messages, json_array_size(c->messages) - 1);
}

static void tell_end(struct chatter *c, const struct talk_stats *stats)
{
    struct str line;
    str_init(&line, 4096);
    str_add_cstr(&line, "[");
    talk_print_stats(stats, &line);
    if (stats->device.sim) {
        str_add_cstr(&line, "; ");
        device_print(&stats->device, &line);
    }
    str_add_cstr(&line, "]");
    tell(c, line.p, stats->end == TALK_END_STOPPED ? text(c, TEXT_STOPPED) : "");
    str_done(&line);
}

/* The model's turn.  After an error the user's message is taken back, so that nothing half remains;
 * an answer that a full context cut stays, since it was read. */
static void answer(struct chatter *c)
{
    struct errinfo e = {0};
    struct talk_stats stats = {0};
    struct str reply;
    str_init(&reply, LINE_BYTES_MAX);
    struct talk_sink sink = {print_piece, asked_to_stop, &reply};
    enum err r = talk_answer(&c->talk, c->messages, &sink, &stats, &e);
    if (reply.n)
        putchar('\n');
    fflush(stdout);
    if (stats.n_answer)
        json_array_append_new(c->messages,
                              talk_message("assistant", reply.p ? reply.p : "", reply.n));
    else if (r != ERR_OK || stats.end == TALK_END_STOPPED)
        drop_last(c);
    if (r != ERR_OK)
        fprintf(stderr, "damso: %s\n", e.text);
    if (r == ERR_CONTEXT)
        tell(c, text(c, TEXT_FULL), "");
    if (r == ERR_OK && line_is_terminal(c->line))
        tell_end(c, &stats);
    if (cmd_stop_signal() == SIGTERM)
        c->ended = true;
    cmd_stop_clear();
    str_done(&reply);
}

/* ---- commands ---- */

static void chat_help(struct chatter *c, const char *arg)
{
    static const struct {
        const char *name, *arg, *en, *ko;
    } rows[] = {
#define CHAT(name, arg, en, ko) {#name, arg, en, ko},
#include "app/chat_cmd.def"
#undef CHAT
    };
    (void)arg;
    for (size_t i = 0; i < N_ELEMS(rows); i++)
        fprintf(stderr, "  /%-7s %-7s %s\n", rows[i].name, rows[i].arg,
                c->korean ? rows[i].ko : rows[i].en);
    tell(c, text(c, TEXT_MULTILINE), "");
}

static void begin_anew(struct chatter *c, const char *system)
{
    json_array_clear(c->messages);
    json_array_clear(c->images);
    talk_forget(&c->talk);
    if (system && *system)
        json_array_append_new(c->messages, talk_message("system", system, strlen(system)));
    c->own_file = NULL;
}

static void chat_clear(struct chatter *c, const char *arg)
{
    const json_t *s = system_of(c);
    (void)arg;
    begin_anew(c,
               s ? arena_printf(&c->arena, "%s", json_string_value(json_object_get(s, "content")))
                 : NULL);
    tell(c, text(c, TEXT_CLEARED), "");
}

static void chat_regen(struct chatter *c, const char *arg)
{
    size_t n = json_array_size(c->messages);
    (void)arg;
    if (n == 0 || strcmp(role_of(json_array_get(c->messages, n - 1)), "assistant") != 0) {
        tell(c, text(c, TEXT_NOTHING), "");
        return;
    }
    drop_last(c);
    talk_vary(&c->talk);
    answer(c);
}

static void chat_system(struct chatter *c, const char *arg)
{
    const json_t *s = system_of(c);
    if (*arg) {
        begin_anew(c, arg);
        tell(c, text(c, TEXT_CLEARED), "");
    } else if (s) {
        tell(c, text(c, TEXT_SYSTEM_NOW), json_string_value(json_object_get(s, "content")));
    } else {
        tell(c, text(c, TEXT_SYSTEM_NONE), "");
    }
}

/* It is looked at now: what is wrong with it is said before anything is asked. */
static void chat_image(struct chatter *c, const char *arg)
{
    struct errinfo e;
    size_t index;
    if (!*arg) {
        tell(c, text(c, TEXT_NEED_FILE), "");
    } else if (json_array_size(c->images) == VISION_PROMPT_MAX) {
        fprintf(stderr, "damso: a message has at most %d pictures\n", VISION_PROMPT_MAX);
    } else if (talk_see(&c->talk, arg, &index, &e) != ERR_OK) {
        fprintf(stderr, "damso: %s\n", e.text);
    } else {
        json_array_append_new(c->images, json_string(arg));
        tell(c, text(c, TEXT_SEEN), arg);
    }
}

static void chat_save(struct chatter *c, const char *arg)
{
    struct errinfo e;
    bool own = c->own_file && strcmp(c->own_file, arg) == 0;
    if (!*arg) {
        tell(c, text(c, TEXT_NEED_FILE), "");
    } else if (chat_file_save(arg, c->messages, own, &e) != ERR_OK) {
        fprintf(stderr, "damso: %s\n", e.text);
    } else {
        c->own_file = arena_printf(&c->arena, "%s", arg);
        tell(c, text(c, TEXT_SAVED), arg);
    }
}

static void chat_load(struct chatter *c, const char *arg)
{
    struct errinfo e;
    json_t *messages;
    char n[32];
    if (!*arg) {
        tell(c, text(c, TEXT_NEED_FILE), "");
        return;
    }
    if (chat_file_load(arg, &messages, &e) != ERR_OK) {
        fprintf(stderr, "damso: %s\n", e.text);
        return;
    }
    begin_anew(c, NULL);
    json_decref(c->messages);
    c->messages = messages;
    c->own_file = arena_printf(&c->arena, "%s", arg);
    snprintf(n, sizeof n, "%zu", json_array_size(messages));
    tell(c, text(c, TEXT_LOADED), n);
}

static void chat_exit(struct chatter *c, const char *arg)
{
    (void)arg;
    c->ended = true;
}

static void command(struct chatter *c, char *words)
{
    static const struct {
        const char *name;
        void (*fn)(struct chatter *, const char *);
    } rows[] = {
#define CHAT(name, arg, en, ko) {#name, chat_##name},
#include "app/chat_cmd.def"
#undef CHAT
    };
    size_t n = strcspn(words, " \t\n");
    char *arg = words + n + strspn(words + n, " \t\n");
    for (size_t end = strlen(arg); end && strchr(" \t\n", arg[end - 1]);)
        arg[--end] = 0;
    for (size_t i = 0; i < N_ELEMS(rows); i++)
        if (strlen(rows[i].name) == n && memcmp(rows[i].name, words, n) == 0) {
            rows[i].fn(c, arg);
            return;
        }
    tell(c, text(c, TEXT_UNKNOWN), "");
}

/* ---- the conversation ---- */

static void message(struct chatter *c, const char *p, size_t n)
{
    struct str fixed;
    str_init(&fixed, 3 * LINE_BYTES_MAX);
    utf8_repair(&fixed, (struct span){p, n}); /* a terminal may send anything */
    const char *words = fixed.p ? fixed.p : "";
    json_array_append_new(c->messages, json_array_size(c->images)
                                           ? talk_message_seen(c->images, words, fixed.n)
                                           : talk_message("user", words, fixed.n));
    json_array_clear(c->images);
    str_done(&fixed);
    answer(c);
}

static void one_turn(struct chatter *c)
{
    switch (line_read(c->line, &c->words)) {
    case LINE_CLOSED:
        if (line_is_terminal(c->line))
            fputc('\n', stderr);
        c->ended = true;
        return;
    case LINE_STOPPED:
        fputc('\n', stderr);
        c->ended = cmd_stop_signal() == SIGTERM;
        tell(c, text(c, TEXT_AGAIN), "");
        cmd_stop_clear();
        return;
    case LINE_READ: cmd_stop_clear(); break; /* a signal before the line began is over */
    }
    const char *p = c->words.p ? c->words.p : "";
    if (p[strspn(p, " \t\n")] == 0)
        return;
    if (p[0] == '/' && p[1] != '/')
        command(c, c->words.p + 1);
    else
        message(c, p[0] == '/' ? p + 1 : p, p[0] == '/' ? c->words.n - 1 : c->words.n);
}

static void greet(const struct chatter *c)
{
    const struct model *m = engine_model(c->talk.model.engine);
    struct span name = {"", 0};
    char about[256];
    gguf_get_str(c->talk.model.gguf, "general.name", name, &name, NULL);
    snprintf(about, sizeof about, "damso · %.*s · %zuM · %zu tokens", (int)MIN(name.n, 80),
             utf8_printable(name) ? name.p : "", m->n_weights / 1000000,
             engine_ctx(c->talk.model.engine));
    tell(c, about, "");
    if (!chat_has_template(c->talk.chat))
        tell(c, text(c, TEXT_NO_TEMPLATE), "");
    tell(c, text(c, TEXT_HINT), "");
}

enum err cmd_chat(struct cmd_args *a, struct errinfo *e)
{
    TRY(cmd_parse(a, NULL, 0, 0, 0, e));
    if (a->done)
        return ERR_OK;
    struct chatter c = {.korean = models_korean(), .colour = isatty(STDERR_FILENO)};
    TRY(talk_open(&c.talk, &a->conf, APP_SEES_IF_IT_CAN, e));
    arena_init(&c.arena);
    str_init(&c.words, LINE_BYTES_MAX);
    c.messages = json_array();
    c.images = json_array();
    begin_anew(&c, a->conf.system);
    cmd_catch_stop();
    c.line = line_open(cmd_stopped);
    if (line_is_terminal(c.line))
        greet(&c);
    while (!c.ended)
        one_turn(&c);
    line_close(c.line);
    json_decref(c.messages);
    json_decref(c.images);
    str_done(&c.words);
    arena_done(&c.arena);
    app_model_settle(&c.talk.model);
    talk_close(&c.talk);
    return ERR_OK;
}
