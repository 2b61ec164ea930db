/* SPDX-License-Identifier: MIT */
#include "app/progress.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_CELLS      24
#define REDRAW_NS      100000000u
#define PLAIN_EVERY_NS 10000000000u
#define JSON_EVERY_NS  250000000u

void progress_say(const char *status, uint64_t done, uint64_t total)
{
    printf("{\"status\": \"%s\", \"completed\": %llu, \"total\": %llu}\n", status,
           (unsigned long long)done, (unsigned long long)total);
    if (fflush(stdout) != 0 && errno == EPIPE)
        raise(SIGTERM);
}

static void draw_time(char *out, size_t n, double seconds)
{
    int s = seconds < 359999 ? (int)(seconds + 0.5) : 359999;
    if (s >= 3600)
        snprintf(out, n, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, n, "%d:%02d", s / 60, s % 60);
}

/* Cells that the bar may have: a line that is longer than the terminal would not be redrawn in
 * place. */
static size_t bar_cells(size_t others)
{
    struct winsize w;
    size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
    return columns > others + 2 ? MIN(columns - others - 2, (size_t)BAR_CELLS) : 0;
}

static void draw_text(const struct progress *p, uint64_t done, uint64_t now_ns)
{
    char bar[BAR_CELLS * 3 + 2] = "", left[48] = "", text[160];
    double seconds = (double)(now_ns - p->t_start_ns) * 1e-9;
    double speed = seconds > 0.05 ? (double)(done - MIN(done, p->start)) / seconds : 0;
    if (p->total > done && speed > 1) {
        memcpy(left, ", ", 3);
        draw_time(left + 2, sizeof left - 7, (double)(p->total - done) / speed);
        strcat(left, " left");
    }
    if (p->total)
        snprintf(text, sizeof text, "%.1f of %.1f MB, %.1f MB/s%s", (double)done * 1e-6,
                 (double)p->total * 1e-6, speed * 1e-6, left);
    else
        snprintf(text, sizeof text, "%.1f MB, %.1f MB/s", (double)done * 1e-6, speed * 1e-6);
    size_t cells = p->total && p->tty ? bar_cells(strlen(p->what) + strlen(text) + 1) : 0;
    size_t full = p->total
                      ? (size_t)((double)MIN(done, p->total) / (double)p->total * (double)cells)
                      : 0;
    for (size_t i = 0; i < cells; i++)
        strcat(bar, i < full ? "━" : "╌");
    if (cells)
        strcat(bar, " ");
    fprintf(stderr, "%s%s %s%s%s", p->tty ? "\r" : "", p->what, bar, text,
            p->tty ? "\033[K" : "\n");
    fflush(stderr);
}

static void draw(struct progress *p, uint64_t done, uint64_t now_ns)
{
    if (p->form == PROGRESS_JSON)
        progress_say("loading", p->before + done, p->total ? p->before + p->total : 0);
    else
        draw_text(p, done, now_ns);
    p->drawn = true;
    p->t_drawn_ns = now_ns;
}

void progress_begin(struct progress *p, enum progress_form form, const char *what, uint64_t total,
                    uint64_t start, uint64_t before)
{
    *p = (struct progress){
        .form = form,
        .what = what,
        .total = total,
        .start = start,
        .before = before,
        .t_start_ns = os_now_ns(),
        .tenth = total ? start * 10 / total : 0,
        .tty = form == PROGRESS_TEXT && isatty(STDERR_FILENO),
    };
    p->t_drawn_ns = p->t_start_ns;
    if (form == PROGRESS_JSON)
        draw(p, start, p->t_start_ns);
}

void progress_update(struct progress *p, uint64_t done)
{
    uint64_t now_ns = os_now_ns();
    if (p->tty || p->form == PROGRESS_JSON) {
        if (now_ns - p->t_drawn_ns >= (p->tty ? REDRAW_NS : JSON_EVERY_NS))
            draw(p, done, now_ns);
        return;
    }
    uint64_t tenth = p->total ? done * 10 / p->total : p->tenth + 1;
    if (tenth > p->tenth && now_ns - p->t_drawn_ns >= PLAIN_EVERY_NS) {
        p->tenth = tenth;
        draw(p, done, now_ns);
    }
}

void progress_end(struct progress *p, uint64_t done)
{
    draw(p, done, os_now_ns());
    if (p->tty)
        fputc('\n', stderr);
}
