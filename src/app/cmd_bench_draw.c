/* SPDX-License-Identifier: MIT
 * cmd_bench_draw.c - the rows of bench as a picture: for each a bar of the products and a bar of
 * the reads, beside what the machine can do at most.  Plain SVG 1.1 with colours for light and
 * dark, fonts of the system, and no scripts. */
#include "app/cmd_bench.h"

#include "base/num.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WIDTH    880
#define BAR_X    190
#define BAR_W    400 /* of the whole limit */
#define ROW_H    40
#define TOP      104
#define FOOT     44
#define TEXT_MAX ((size_t)1 << 20)

/* The light colours stand at the elements too, for viewers that know no style sheets. */
static const char style[] = "<style>\n"
                            "@media (prefers-color-scheme: dark) {\n"
                            ".ink { fill: #e6edf3 }\n"
                            ".dim { fill: #9198a1 }\n"
                            ".back { fill: #0d1117 }\n"
                            ".all { fill: #21262d }\n"
                            ".products { fill: #6ea8ff }\n"
                            ".reads { fill: #f0a060 }\n"
                            ".grid { stroke: #3d444d }\n"
                            "}\n"
                            "</style>\n";
#define ALL      "class=\"all\" fill=\"#eceff2\""
#define BACK     "class=\"back\" fill=\"#ffffff\""
#define PRODUCTS "class=\"products\" fill=\"#2f6fde\""
#define READS    "class=\"reads\" fill=\"#c9631b\""
#define GRID     "class=\"grid\" stroke=\"#d1d9e0\" stroke-width=\"1\""
#define INK      "class=\"ink\" fill=\"#1f2328\" font-size=\"13\""
#define TITLE    "class=\"ink\" fill=\"#1f2328\" font-size=\"17\" font-weight=\"600\""
#define DIM      "class=\"dim\" fill=\"#59636e\" font-size=\"11\""
#define END      " text-anchor=\"end\""
#define MIDDLE   " text-anchor=\"middle\""

/* Text of others between tags. */
static void add_escaped(struct str *s, const char *text)
{
    struct str plain;
    str_init(&plain, TEXT_MAX);
    utf8_repair(&plain, span_of(text));
    for (size_t i = 0; i < plain.n; i++) {
        unsigned char c = (unsigned char)plain.p[i];
        switch (c) {
        case '&': str_add_cstr(s, "&amp;"); break;
        case '<': str_add_cstr(s, "&lt;"); break;
        case '>': str_add_cstr(s, "&gt;"); break;
        default: str_add_char(s, c < 0x20 || c == 0x7f ? ' ' : (char)c); break;
        }
    }
    str_done(&plain);
}

static void add_bar(struct str *s, int y, const char *kind, double share)
{
    double shown = MIN(share, 1.1) * BAR_W; /* more than the limit: a noisy machine */
    str_addf(s, "<rect " ALL " x=\"%d\" y=\"%d\" width=\"%d\" height=\"10\"/>\n", BAR_X, y, BAR_W);
    str_addf(s, "<rect %s x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"10\"/>\n", kind, BAR_X, y,
             shown);
}

static void add_row(struct str *s, const struct bench_row *r, int y)
{
    char name[64];
    bench_row_name(r, name, sizeof name);
    str_addf(s, "<text " INK END " x=\"%d\" y=\"%d\">%s</text>\n", BAR_X - 12, y + 16, name);
    add_bar(s, y, PRODUCTS, r->product_share);
    add_bar(s, y + 12, READS, r->read_share);
    str_addf(s,
             "<text " DIM " x=\"%d\" y=\"%d\">%.0f %%, %.1f GMAC/s</text>\n"
             "<text " DIM " x=\"%d\" y=\"%d\">%.0f %%, %.1f GB/s</text>\n",
             BAR_X + BAR_W + 48, y + 9, 100 * r->product_share, r->gmacs, BAR_X + BAR_W + 48,
             y + 21, 100 * r->read_share, r->gbs);
    str_addf(s, "<text " INK END " x=\"%d\" y=\"%d\">%.1f tokens/s</text>\n", WIDTH - 16, y + 16,
             r->median);
}

static void add_head(struct str *s, const struct bench *b)
{
    const struct machine *m = &b->machine;
    str_addf(s, "<text " TITLE " x=\"16\" y=\"30\">");
    add_escaped(s, b->model);
    str_addf(s, "</text>\n<text " DIM " x=\"16\" y=\"50\">");
    add_escaped(s, m->cpu);
    str_addf(s, ", %s, %d threads", cpu_level_name(m->level), m->threads);
    for (int i = 0; i < MACHINE_LIMIT_N; i++) {
        const struct machine_limit_info *l = machine_limit_info((enum machine_limit)i);
        if (m->rate[i].all > 0)
            str_addf(s, "; %s %.1f %s", l->text, m->rate[i].all, l->unit);
    }
    str_addf(s, "</text>\n"
                "<rect " PRODUCTS " x=\"16\" y=\"64\" width=\"10\" height=\"10\"/>\n"
                "<text " DIM " x=\"32\" y=\"73\">products, of the limit of their instruction"
                "</text>\n"
                "<rect " READS " x=\"290\" y=\"64\" width=\"10\" height=\"10\"/>\n"
                "<text " DIM " x=\"306\" y=\"73\">reads of weights, keys and values, of the "
                "limit</text>\n");
}

static void add_grid(struct str *s, int height)
{
    for (int i = 0; i <= 4; i++) {
        int x = BAR_X + BAR_W * i / 4;
        str_addf(s,
                 "<line " GRID " x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n"
                 "<text " DIM MIDDLE " x=\"%d\" y=\"%d\">%d %%</text>\n",
                 x, TOP - 8, x, height - FOOT + 4, x, height - FOOT + 20, 25 * i);
    }
}

static enum err write_file(const char *path, struct span text, struct errinfo *e)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    bool ok = fwrite(text.p, 1, text.n, f) == text.n;
    int why = errno;
    if (fclose(f) != 0 || !ok)
        return err_set(e, ERR_IO, "%s: cannot be written: %s", path, strerror(ok ? errno : why));
    return ERR_OK;
}

enum err bench_draw(const struct bench *b, const char *path, struct errinfo *e)
{
    struct str s;
    int height = TOP + ROW_H * (int)b->n_rows + FOOT;
    str_init(&s, TEXT_MAX);
    str_addf(&s,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
             "viewBox=\"0 0 %d %d\" font-family=\"system-ui, sans-serif\">\n%s"
             "<rect " BACK " width=\"%d\" height=\"%d\"/>\n",
             WIDTH, height, WIDTH, height, style, WIDTH, height);
    add_head(&s, b);
    for (size_t i = 0; i < b->n_rows; i++)
        add_row(&s, &b->rows[i], TOP + ROW_H * (int)i);
    add_grid(&s, height);
    str_add_cstr(&s, "</svg>\n");
    CHECK(!s.full);
    enum err r = write_file(path, str_span(&s), e);
    str_done(&s);
    return r;
}
