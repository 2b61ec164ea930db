/* SPDX-License-Identifier: MIT */
#include "tool/tool_html.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/num.h"

#include <libxml/HTMLparser.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CHUNK_BYTES   4096
#define LINK_BYTES    400
#define LIST_DEPTH    8
#define MAIN_BYTES    200 /* a main part with less is none */
#define HEAD_MAX      6
#define PROPERTY_TEXT 64

/* What an element means for the text. */
enum kind {
    PLAIN,
    SKIP,  /* left out with all in it */
    BLOCK, /* a paragraph of its own */
    HEADING,
    LIST,
    ITEM,
    BREAK,
    RULE,
    QUOTE,
    CODE,
    TABLE,
    ROW,
    CELL,
    LINK,
    TITLE,
    MAIN
};

static const struct {
    const char *name;
    enum kind kind;
} elements[] = {
    {"a",          LINK   },
    {"address",    BLOCK  },
    {"applet",     SKIP   },
    {"article",    MAIN   },
    {"aside",      SKIP   },
    {"audio",      SKIP   },
    {"br",         BREAK  },
    {"button",     SKIP   },
    {"canvas",     SKIP   },
    {"caption",    BLOCK  },
    {"center",     BLOCK  },
    {"dd",         ITEM   },
    {"details",    BLOCK  },
    {"dialog",     SKIP   },
    {"div",        BLOCK  },
    {"dl",         LIST   },
    {"dt",         BLOCK  },
    {"fieldset",   SKIP   },
    {"figure",     BLOCK  },
    {"footer",     SKIP   },
    {"form",       BLOCK  }, /* some pages are one form */
    {"h1",         HEADING},
    {"h2",         HEADING},
    {"h3",         HEADING},
    {"h4",         HEADING},
    {"h5",         HEADING},
    {"h6",         HEADING},
    {"header",     BLOCK  },
    {"hr",         RULE   },
    {"iframe",     SKIP   },
    {"input",      SKIP   },
    {"li",         ITEM   },
    {"main",       MAIN   },
    {"map",        SKIP   },
    {"menu",       SKIP   },
    {"nav",        SKIP   },
    {"noscript",   SKIP   },
    {"object",     SKIP   },
    {"ol",         LIST   },
    {"p",          BLOCK  },
    {"pre",        CODE   },
    {"quote",      QUOTE  },
    {"blockquote", QUOTE  },
    {"script",     SKIP   },
    {"section",    BLOCK  },
    {"select",     SKIP   },
    {"style",      SKIP   },
    {"svg",        SKIP   },
    {"table",      TABLE  },
    {"td",         CELL   },
    {"template",   SKIP   },
    {"textarea",   SKIP   },
    {"th",         CELL   },
    {"title",      TITLE  },
    {"tr",         ROW    },
    {"ul",         LIST   },
    {"video",      SKIP   },
};

/* An element that is open. */
struct open {
    enum kind kind;
    bool main;    /* its end ends the main part */
    bool numbers; /* LIST */
    size_t n;     /* LIST: items; TABLE: rows; ROW: cells */
    size_t at;    /* where its text began */
    char *href;   /* LINK; NULL: not kept */
};

struct page {
    struct tool_html *out;
    xmlParserCtxtPtr parser;
    struct open stack[TOOL_HTML_DEPTH_MAX];
    size_t depth, n_elements, n_links;
    size_t skip; /* depth of the element that is left out; 0: none */
    size_t lists, tables, quotes, codes;
    bool in_title, titled; /* titled: there was one */
    bool gap;              /* a blank stands before the next word */
    size_t breaks;         /* line breaks that stand before it */
    size_t main_from, main_to;
    size_t n_main; /* main parts that are open */
};

/* ---- writing ---- */

static bool at_start(const struct page *p)
{
    return p->out->text.n == 0;
}

/* Line breaks and what stands before a line. */
static void flush_breaks(struct page *p)
{
    struct str *t = &p->out->text;
    if (!p->breaks)
        return;
    for (size_t i = 0; i < p->breaks && !at_start(p); i++)
        str_add_char(t, '\n');
    for (size_t i = 0; i < MIN(p->quotes, (size_t)LIST_DEPTH); i++)
        str_add_cstr(t, "> ");
    p->breaks = 0;
    p->gap = false;
}

/* Inside a table's cell everything is one line. */
static void want_breaks(struct page *p, size_t n)
{
    if (p->tables && !p->codes) {
        p->gap = true;
        return;
    }
    p->breaks = MAX(p->breaks, n);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static void add_words(struct page *p, const char *s, size_t n)
{
    struct str *t = &p->out->text;
    for (size_t i = 0; i < n;) {
        size_t from = i;
        if (is_blank(s[i])) {
            p->gap = true;
            i++;
            continue;
        }
        while (i < n && !is_blank(s[i]))
            i++;
        bool fresh = p->breaks || at_start(p);
        flush_breaks(p);
        if (p->gap && !fresh && t->n && t->p[t->n - 1] != ' ' && t->p[t->n - 1] != '\n')
            str_add_char(t, ' ');
        p->gap = false;
        for (size_t k = from; k < i; k++) { /* a cell's own bar would be another cell */
            if (s[k] == '|' && p->tables)
                str_add_char(t, '\\');
            str_add_char(t, s[k]);
        }
    }
}

static void add_code(struct page *p, const char *s, size_t n)
{
    flush_breaks(p);
    str_add(&p->out->text, s, n);
}

static void add_title(struct page *p, const char *s, size_t n)
{
    struct str *t = &p->out->title;
    for (size_t i = 0; i < n; i++) {
        bool blank = is_blank(s[i]) || (unsigned char)s[i] < 0x20 || s[i] == 0x7f;
        if (!blank)
            str_add_char(t, s[i]);
        else if (t->n && t->p[t->n - 1] != ' ')
            str_add_char(t, ' ');
    }
}

static void on_text(void *arg, const xmlChar *s, int n)
{
    struct page *p = arg;
    if (n <= 0 || p->skip)
        return;
    if (p->in_title && p->titled)
        return;
    if (p->in_title)
        add_title(p, (const char *)s, (size_t)n);
    else if (p->codes)
        add_code(p, (const char *)s, (size_t)n);
    else
        add_words(p, (const char *)s, (size_t)n);
    if (p->out->text.full)
        xmlStopParser(p->parser);
}

/* ---- elements ---- */

static enum kind kind_of(const char *name)
{
    for (size_t i = 0; i < N_ELEMS(elements); i++)
        if (strcmp(elements[i].name, name) == 0)
            return elements[i].kind;
    return PLAIN;
}

static const char *attribute(const xmlChar **list, const char *name)
{
    for (; list && list[0]; list += 2)
        if (strcmp((const char *)list[0], name) == 0)
            return list[1] ? (const char *)list[1] : "";
    return NULL;
}

/* Without blanks, as styles are looked at. */
static bool style_hides(const char *style)
{
    char bare[PROPERTY_TEXT * 4];
    size_t n = 0;
    for (; *style && n + 1 < sizeof bare; style++)
        if (!is_blank(*style))
            bare[n++] = *style;
    bare[n] = '\0';
    return strcasestr(bare, "display:none") || strcasestr(bare, "visibility:hidden");
}

static bool is_hidden(const xmlChar **list)
{
    const char *aria = attribute(list, "aria-hidden"), *style = attribute(list, "style");
    const char *role = attribute(list, "role");
    if (attribute(list, "hidden") || (aria && strcasecmp(aria, "true") == 0))
        return true;
    if (role && (strcasecmp(role, "navigation") == 0 || strcasecmp(role, "search") == 0 ||
                 strcasecmp(role, "banner") == 0 || strcasecmp(role, "contentinfo") == 0))
        return true;
    return style && style_hides(style);
}

/* An address that means the same elsewhere; others are the page's own. */
static char *kept_link(struct page *p, const char *href)
{
    if (!href || p->n_links >= TOOL_HTML_LINKS_MAX || strlen(href) > LINK_BYTES ||
        (strncasecmp(href, "https://", 8) != 0 && strncasecmp(href, "http://", 7) != 0) ||
        strpbrk(href, " ()<>\"\\\n\r\t"))
        return NULL;
    char *copy = mem_alloc(strlen(href) + 1);
    strcpy(copy, href);
    return copy;
}

static struct open *nearest(struct page *p, enum kind kind)
{
    for (size_t i = p->depth; i-- > 0;)
        if (p->stack[i].kind == kind)
            return &p->stack[i];
    return NULL;
}

static void begin_item(struct page *p)
{
    struct open *list = nearest(p, LIST);
    size_t deep = p->lists ? MIN(p->lists, (size_t)LIST_DEPTH) - 1 : 0;
    want_breaks(p, 1);
    if (p->tables)
        return;
    flush_breaks(p);
    for (size_t i = 0; i < deep; i++)
        str_add_cstr(&p->out->text, "  ");
    if (list && list->numbers)
        str_addf(&p->out->text, "%zu. ", ++list->n);
    else
        str_add_cstr(&p->out->text, "- ");
}

static void begin_row(struct page *p)
{
    if (p->tables != 1) /* a table in a cell is part of its line */
        return;
    p->breaks = MAX(p->breaks, (size_t)1);
}

static void begin_cell(struct page *p)
{
    struct open *row = nearest(p, ROW);
    if (p->tables != 1 || !row)
        return;
    flush_breaks(p);
    str_add_cstr(&p->out->text, row->n++ ? " | " : "| ");
    p->gap = false;
}

static void begin(struct page *p, struct open *o, const char *name, const xmlChar **list)
{
    struct str *t = &p->out->text;
    switch (o->kind) {
    case HEADING:
        want_breaks(p, 2);
        if (p->tables)
            break;
        flush_breaks(p);
        for (int i = 0; i < MIN(name[1] - '0', HEAD_MAX); i++)
            str_add_char(t, '#');
        str_add_char(t, ' ');
        break;
    case LIST:
        want_breaks(p, p->lists ? 1 : 2);
        o->numbers = strcmp(name, "ol") == 0;
        p->lists++;
        break;
    case ITEM: begin_item(p); break;
    case QUOTE:
        want_breaks(p, 2);
        p->quotes++;
        break;
    case CODE:
        want_breaks(p, 2);
        flush_breaks(p);
        str_add_cstr(t, "```\n");
        p->codes++;
        break;
    case TABLE:
        want_breaks(p, 2);
        p->tables++;
        break;
    case ROW: begin_row(p); break;
    case CELL: begin_cell(p); break;
    case RULE: want_breaks(p, 2); break;
    case BREAK: want_breaks(p, 1); break;
    case LINK: o->href = kept_link(p, attribute(list, "href")); break;
    case TITLE: p->in_title = true; break;
    case MAIN:
    case BLOCK: want_breaks(p, 2); break;
    case PLAIN:
    case SKIP: break;
    }
    o->at = t->n;
}

/* The first main part counts, or all from the first article to the last. */
static void begin_main(struct page *p, struct open *o, const xmlChar **list)
{
    const char *role = attribute(list, "role"), *what = attribute(list, "itemprop");
    o->main = o->kind == MAIN || (role && strcmp(role, "main") == 0) ||
              (what && strcmp(what, "articleBody") == 0);
    if (!o->main)
        return;
    if (p->n_main++ == 0 && p->main_from == SIZE_MAX)
        p->main_from = p->out->text.n;
}

static void stop(struct page *p)
{
    p->out->cut = true;
    xmlStopParser(p->parser);
}

static void on_start(void *arg, const xmlChar *name, const xmlChar **list)
{
    struct page *p = arg;
    if (p->depth == TOOL_HTML_DEPTH_MAX || p->n_elements++ == TOOL_HTML_ELEMENTS_MAX) {
        stop(p);
        return;
    }
    struct open *o = &p->stack[p->depth++];
    *o = (struct open){.kind = p->skip ? SKIP : kind_of((const char *)name)};
    if (p->skip)
        return;
    if (o->kind == SKIP || is_hidden(list)) {
        o->kind = SKIP;
        p->skip = p->depth;
        return;
    }
    begin_main(p, o, list);
    begin(p, o, (const char *)name, list);
}

static void end_row(struct page *p, const struct open *row)
{
    struct open *table = nearest(p, TABLE);
    if (p->tables != 1 || !row->n)
        return;
    str_add_cstr(&p->out->text, " |");
    if (table && table->n++ == 0) {
        str_add_cstr(&p->out->text, "\n|");
        for (size_t i = 0; i < row->n; i++)
            str_add_cstr(&p->out->text, " --- |");
    }
    p->breaks = 1;
}

/* [the words](address), where there are any. */
static void end_link(struct page *p, struct open *o)
{
    struct str *t = &p->out->text;
    if (!o->href)
        return;
    if (t->n > o->at && !p->codes) {
        str_addf(t, " (%s)", o->href);
        p->n_links++;
    }
    mem_free(o->href);
}

static void end(struct page *p, struct open *o)
{
    switch (o->kind) {
    case LIST:
        p->lists--;
        want_breaks(p, p->lists ? 1 : 2);
        break;
    case QUOTE:
        p->quotes--;
        want_breaks(p, 2);
        break;
    case CODE:
        p->codes--;
        str_add_cstr(&p->out->text, "\n```");
        want_breaks(p, 2);
        break;
    case TABLE:
        p->tables--;
        want_breaks(p, 2);
        break;
    case ROW: end_row(p, o); break;
    case LINK: end_link(p, o); break;
    case TITLE:
        p->in_title = false;
        p->titled |= p->out->title.n > 0;
        break;
    case ITEM: want_breaks(p, 1); break;
    case HEADING:
    case MAIN:
    case BLOCK: want_breaks(p, 2); break;
    case PLAIN:
    case SKIP:
    case RULE:
    case BREAK:
    case CELL: break;
    }
    if (o->main && --p->n_main == 0)
        p->main_to = p->out->text.n;
}

static void on_end(void *arg, const xmlChar *name)
{
    struct page *p = arg;
    (void)name;
    if (!p->depth) /* after stop */
        return;
    struct open *o = &p->stack[--p->depth];
    if (p->skip) {
        if (p->depth + 1 == p->skip)
            p->skip = 0;
        return;
    }
    end(p, o);
}

/* ---- the whole ---- */

/* What stands outside the main part is the site, not the page. */
static void keep_main(struct page *p)
{
    struct str *t = &p->out->text;
    size_t to = p->n_main || p->main_to < p->main_from ? t->n : p->main_to;
    if (p->main_from == SIZE_MAX || to < p->main_from || to - p->main_from < MAIN_BYTES)
        return;
    memmove(t->p, t->p + p->main_from, to - p->main_from);
    t->n = to - p->main_from;
    t->p[t->n] = '\0';
}

/* Without blanks at either end. */
static void trim(struct str *t)
{
    size_t from = 0;
    while (t->n && is_blank(t->p[t->n - 1]))
        t->n--;
    while (from < t->n && (t->p[from] == '\n' || t->p[from] == '\r'))
        from++;
    if (from)
        memmove(t->p, t->p + from, t->n - from);
    t->n -= from;
    if (t->p)
        t->p[t->n] = '\0';
}

static void parse(struct page *p, struct span html)
{
    xmlSAXHandler sax = {.startElement = on_start,
                         .endElement = on_end,
                         .characters = on_text,
                         .ignorableWhitespace = on_text};
    p->parser = htmlCreatePushParserCtxt(&sax, p, NULL, 0, NULL, XML_CHAR_ENCODING_UTF8);
    CHECK(p->parser);
    htmlCtxtUseOptions(p->parser, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING |
                                      HTML_PARSE_NONET | HTML_PARSE_IGNORE_ENC |
                                      HTML_PARSE_NODEFDTD);
    for (size_t at = 0; at < html.n && !p->out->cut && !p->out->text.full;) {
        size_t n = MIN(html.n - at, (size_t)CHUNK_BYTES);
        htmlParseChunk(p->parser, html.p + at, (int)n, 0);
        at += n;
    }
    htmlParseChunk(p->parser, NULL, 0, 1);
    htmlFreeParserCtxt(p->parser);
}

void tool_html_text(struct span html, size_t max_bytes, struct tool_html *out)
{
    struct page *p = mem_alloc(sizeof *p);
    *out = (struct tool_html){.cut = false};
    str_init(&out->title, TOOL_HTML_TITLE_BYTES);
    str_init(&out->text, max_bytes);
    p->out = out;
    p->main_from = SIZE_MAX;
    parse(p, html);
    while (p->depth) /* what was open when it stopped */
        mem_free(p->stack[--p->depth].href);
    out->cut |= out->text.full;
    keep_main(p);
    out->text.n = utf8_complete(str_span(&out->text));
    out->title.n = utf8_complete(str_span(&out->title));
    trim(&out->text);
    trim(&out->title);
    mem_free(p);
}

void tool_html_done(struct tool_html *h)
{
    str_done(&h->title);
    str_done(&h->text);
}
