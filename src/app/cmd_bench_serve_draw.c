/* SPDX-License-Identifier: MIT
 * cmd_bench_serve_draw.c - the curve of bench serve: tokens a second of the system over tokens a
 * second a user, a dot a level.  Plain SVG 1.1, colours for light and dark, no scripts. */
#include "app/cmd_bench_serve.h"

#include "base/num.h"
#include "base/str.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH    760
#define HEIGHT   440
#define LEFT     80
#define TOP      56
#define PLOT_W   640
#define PLOT_H   320
#define TEXT_MAX ((size_t)1 << 20)

static const char style[] =
    "<style>\n@media (prefers-color-scheme: dark) {\n.ink { fill: #e6edf3 }\n"
    ".dim { fill: #9198a1 }\n.back { fill: #0d1117 }\n.dot { fill: #6ea8ff }\n"
    ".curve { stroke: #6ea8ff }\n.grid { stroke: #3d444d }\n}\n</style>\n";

/* The first of 1, 2, 5 times a power of ten that is no less. */
static double round_up(double v)
{
    double power = pow(10, floor(log10(MAX(v, 1e-9))));
    for (int i = 0; i < 3; i++) {
        double step = power * (const double[]){1, 2, 5}[i];
        if (step >= v)
            return step;
    }
    return 10 * power;
}

/* Attributes and text alike; a picture has no room for more than ASCII. */
static void add_text(struct str *s, const char *text)
{
    for (const char *p = text; *p; p++)
        if (*p == '&')
            str_add_cstr(s, "&amp;");
        else if (*p == '<')
            str_add_cstr(s, "&lt;");
        else if ((unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f)
            str_add_char(s, *p);
}

static void add_grid(struct str *s, double x_max, double y_max)
{
    for (int i = 0; i <= 4; i++) {
        int x = LEFT + PLOT_W * i / 4, y = TOP + PLOT_H - PLOT_H * i / 4;
        str_addf(
            s,
            "<line class=\"grid\" stroke=\"#d1d9e0\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n"
            "<line class=\"grid\" stroke=\"#d1d9e0\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n"
            "<text class=\"dim\" fill=\"#59636e\" font-size=\"12\" text-anchor=\"middle\" "
            "x=\"%d\" y=\"%d\">%g</text>\n"
            "<text class=\"dim\" fill=\"#59636e\" font-size=\"12\" text-anchor=\"end\" "
            "x=\"%d\" y=\"%d\">%g</text>\n",
            x, TOP, x, TOP + PLOT_H, LEFT, y, LEFT + PLOT_W, y, x, TOP + PLOT_H + 18, x_max * i / 4,
            LEFT - 8, y + 4, y_max * i / 4);
    }
    str_addf(
        s,
        "<text class=\"dim\" fill=\"#59636e\" font-size=\"13\" x=\"%d\" y=\"%d\">tokens a second"
        " a user (1000 / TPOT p90)</text>\n"
        "<text class=\"dim\" fill=\"#59636e\" font-size=\"13\" x=\"16\" y=\"46\">tokens a second "
        "of the system</text>\n",
        LEFT, HEIGHT - 20);
}

struct place {
    double x, y;
};

static struct place place_of(const struct serve_level *l, double x_max, double y_max)
{
    return (struct place){LEFT + PLOT_W * l->user_tps / x_max,
                          TOP + PLOT_H - PLOT_H * l->system_tps / y_max};
}

/* Through the levels of the curve, from many users to few. */
static void add_curve(struct str *s, const struct serve_level *l, size_t n, double x_max,
                      double y_max)
{
    double last = -1;
    str_add_cstr(s, "<polyline class=\"curve\" fill=\"none\" stroke=\"#2f6fde\" stroke-width=\"2\" "
                    "points=\"");
    for (;;) {
        const struct serve_level *next = NULL;
        for (size_t i = 0; i < n; i++)
            if (l[i].pareto && l[i].user_tps > last && (!next || l[i].user_tps < next->user_tps))
                next = &l[i];
        if (!next)
            break;
        struct place p = place_of(next, x_max, y_max);
        str_addf(s, "%.1f,%.1f ", p.x, p.y);
        last = next->user_tps;
    }
    str_add_cstr(s, "\"/>\n");
}

enum err serve_write(const char *path, struct span text, struct errinfo *e)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return err_set(e, ERR_IO, "%.300s: %s", path, strerror(errno));
    bool ok = fwrite(text.p, 1, text.n, f) == text.n;
    int why = errno;
    if (fclose(f) != 0 || !ok)
        return err_set(e, ERR_IO, "%.300s: cannot be written: %s", path,
                       strerror(ok ? errno : why));
    return ERR_OK;
}

void serve_svg(struct str *s, const char *title, const struct serve_level *l, size_t n)
{
    double x_max = 0, y_max = 0;
    for (size_t i = 0; i < n; i++) {
        x_max = MAX(x_max, l[i].user_tps);
        y_max = MAX(y_max, l[i].system_tps);
    }
    x_max = round_up(x_max);
    y_max = round_up(y_max);
    str_addf(s,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" role=\"img\" "
             "aria-label=\"Pareto curve\" viewBox=\"0 0 %d "
             "%d\" font-family=\"system-ui, sans-serif\">\n%s<rect class=\"back\" fill=\"#ffffff\" "
             "width=\"%d\" height=\"%d\"/>\n<text class=\"ink\" fill=\"#1f2328\" font-size=\"17\" "
             "font-weight=\"600\" x=\"16\" y=\"26\">",
             WIDTH, HEIGHT, WIDTH, HEIGHT, style, WIDTH, HEIGHT);
    add_text(s, title);
    str_add_cstr(s, "</text>\n");
    add_grid(s, x_max, y_max);
    add_curve(s, l, n, x_max, y_max);
    for (size_t i = 0; i < n; i++) {
        struct place p = place_of(&l[i], x_max, y_max);
        char name[32];
        if (l[i].clients)
            snprintf(name, sizeof name, "%lld", (long long)l[i].clients);
        else
            snprintf(name, sizeof name, "%.4g/s", l[i].rate);
        str_addf(s,
                 "<circle class=\"dot\" fill=\"#2f6fde\" fill-opacity=\"%s\" cx=\"%.1f\" "
                 "cy=\"%.1f\" r=\"5\"/>\n<text class=\"ink\" fill=\"#1f2328\" font-size=\"12\" "
                 "x=\"%.1f\" y=\"%.1f\">%s</text>\n",
                 l[i].pareto ? "1" : "0.4", p.x, p.y, p.x + 8, p.y - 6, name);
    }
    str_add_cstr(s, "</svg>\n");
}

enum err serve_draw(const char *path, const char *title, const struct serve_level *l, size_t n,
                    struct errinfo *e)
{
    struct str s;
    str_init(&s, TEXT_MAX);
    serve_svg(&s, title, l, n);
    CHECK(!s.full);
    enum err r = serve_write(path, str_span(&s), e);
    str_done(&s);
    return r;
}
