/* SPDX-License-Identifier: MIT */
#include "app/line.h"

#include "base/arena.h"
#include "os/os_sys.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#define HISTORY_LINES 1000
#define LINE_POLL_MS  50
#define BLOCK         "\"\"\""

struct line {
    bool (*stopped)(void);
    EditLine *el; /* NULL: no terminal */
    History *history;
    char *history_file; /* NULL: none */
    bool more;          /* within a message of several lines */
    char *plain;        /* getline's */
    size_t plain_cap;
    struct arena arena;
};

static char *line_prompt(EditLine *el)
{
    static char first[] = "> ", next[] = ". ";
    struct line *l;
    el_get(el, EL_CLIENTDATA, &l);
    return l->more ? next : first;
}

/* A character for libedit.  Its own reader takes an interrupted read up again; this one asks, also
 * when the signal came just before the read. */
static int line_getc(EditLine *el, wchar_t *out)
{
    struct line *l;
    struct pollfd fd = {STDIN_FILENO, POLLIN, 0};
    mbstate_t state = {0};
    el_get(el, EL_CLIENTDATA, &l);
    for (;;) {
        char c;
        if (l->stopped()) {
            errno = EINTR;
            return -1;
        }
        if (poll(&fd, 1, LINE_POLL_MS) <= 0)
            continue;
        ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return -1;
        if (n < 0)
            continue;
        size_t r = mbrtowc(out, &c, 1, &state);
        if (r == (size_t)-2)
            continue; /* more bytes of it follow */
        if (r != (size_t)-1)
            return 1;
        memset(&state, 0, sizeof state); /* no character: skipped */
    }
}

/* $XDG_STATE_HOME/damso/history or ~/.local/state/damso/history; its folders are made. */
static char *find_history(struct arena *a)
{
    const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *path;
    if (base && *base)
        path = arena_printf(a, "%s/damso/history", base);
    else if (home && *home)
        path = arena_printf(a, "%s/.local/state/damso/history", home);
    else
        return NULL;
    return os_make_folders(path, 0700, NULL) == ERR_OK ? path : NULL;
}

static void open_terminal(struct line *l)
{
    HistEvent ev;
    /* In a plain C locale Korean would be taken byte by byte. */
    if (MB_CUR_MAX == 1)
        setlocale(LC_CTYPE, "C.UTF-8");
    l->el = el_init("damso", stdin, stdout, stderr);
    l->history = history_init();
    if (!l->el || !l->history)
        return;
    l->history_file = find_history(&l->arena);
    history(l->history, &ev, H_SETSIZE, HISTORY_LINES);
    history(l->history, &ev, H_SETUNIQUE, 1);
    if (l->history_file)
        history(l->history, &ev, H_LOAD, l->history_file);
    el_set(l->el, EL_CLIENTDATA, l);
    el_set(l->el, EL_PROMPT, line_prompt);
    el_set(l->el, EL_HIST, history, l->history);
    el_set(l->el, EL_EDITOR, "emacs");
    el_set(l->el, EL_SIGNAL, 0); /* signals are cmd.h's */
    el_set(l->el, EL_GETCFN, line_getc);
    el_source(l->el, NULL); /* the user's ~/.editrc */
}

struct line *line_open(bool (*stopped)(void))
{
    struct line *l = mem_alloc(sizeof *l);
    l->stopped = stopped;
    arena_init(&l->arena);
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        open_terminal(l);
    return l;
}

void line_close(struct line *l)
{
    HistEvent ev;
    if (l->history && l->history_file) {
        mode_t old = umask(077); /* what people type is theirs */
        history(l->history, &ev, H_SAVE, l->history_file);
        umask(old);
    }
    if (l->el)
        el_end(l->el);
    if (l->history)
        history_end(l->history);
    free(l->plain);
    arena_done(&l->arena);
    mem_free(l);
}

bool line_is_terminal(const struct line *l)
{
    return l->el != NULL;
}

/* One line, with its line break when it has one; NULL at the end or on a signal. */
static const char *read_one(struct line *l, size_t *n)
{
    errno = 0;
    if (l->el) {
        int got = 0;
        const char *p = el_gets(l->el, &got);
        *n = got > 0 ? (size_t)got : 0;
        return got > 0 ? p : NULL;
    }
    ssize_t got = getline(&l->plain, &l->plain_cap, stdin);
    *n = got > 0 ? (size_t)got : 0;
    return got > 0 ? l->plain : NULL;
}

static void remember(struct line *l, const struct str *text)
{
    HistEvent ev;
    if (l->history && text->n && !strchr(text->p, '\n'))
        history(l->history, &ev, H_ENTER, text->p);
}

enum line_end line_read(struct line *l, struct str *text)
{
    bool block = false;
    str_clear(text);
    for (l->more = false;; l->more = true) {
        size_t n;
        const char *p = read_one(l, &n);
        if (!p)
            return l->stopped() ? LINE_STOPPED : text->n ? LINE_READ : LINE_CLOSED;
        if (n && p[n - 1] == '\n')
            n--;
        if (n == strlen(BLOCK) && memcmp(p, BLOCK, n) == 0) {
            if (block)
                break;
            block = true;
            continue;
        }
        if (text->n)
            str_add_char(text, '\n');
        bool goes_on = !block && n && p[n - 1] == '\\';
        str_add(text, p, goes_on ? n - 1 : n);
        if (!block && !goes_on)
            break;
    }
    remember(l, text);
    return LINE_READ;
}
