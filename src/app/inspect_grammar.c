/* SPDX-License-Identifier: MIT
 * inspect_grammar.c - damso inspect grammar: does a grammar accept the text on stdin?
 *
 * Exit status 0: accepted; 1 (FAILED): rejected, with the byte; 3 (UNSUPPORTED): the grammar says
 * something that is not supported, with its keyword; 4: it is no schema, grammar or pattern. */
#include "app/cmd.h"

#include "base/num.h"
#include "gram/gram.h"

#include <stdio.h>

#define SCHEMA_BYTES_MAX ((size_t)4 << 20)
#define INPUT_BYTES_MAX  ((size_t)64 << 20)

static enum err read_all(FILE *f, const char *name, size_t max, struct str *out, struct errinfo *e)
{
    char part[65536];
    size_t n;
    str_init(out, max);
    while (!out->full && (n = fread(part, 1, sizeof part, f)))
        str_add(out, part, n);
    if (ferror(f))
        return err_set(e, ERR_IO, "%s: cannot read this", name);
    if (out->full)
        return err_set(e, ERR_TOOBIG, "%s: more than %zu bytes", name, max);
    return ERR_OK;
}

static enum err read_file(const char *path, size_t max, struct str *out, struct errinfo *e)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return err_set(e, ERR_NOTFOUND, "%s: cannot open this file", path);
    enum err rc = read_all(f, path, max, out, e);
    fclose(f);
    return rc;
}

static enum err open_schema(struct gram **g, const char *path, bool strict, struct errinfo *e)
{
    struct str text = {0};
    json_error_t je;
    struct gram_opts opts = {.strict = strict};
    enum err rc = read_file(path, SCHEMA_BYTES_MAX, &text, e);
    if (rc == ERR_OK) {
        json_t *j = json_loadb(text.n ? text.p : "", text.n,
                               JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &je);
        rc = j ? gram_from_schema(g, j, &opts, e)
               : err_set(e, ERR_CORRUPT, "%s: line %d: %.200s", path, je.line, je.text);
        json_decref(j);
    }
    str_done(&text);
    return rc;
}

static enum err open_gbnf(struct gram **g, const char *path, struct errinfo *e)
{
    struct str text = {0};
    enum err rc = read_file(path, GRAM_TEXT_BYTES_MAX, &text, e);
    if (rc == ERR_OK)
        rc = gram_from_gbnf(g, str_span(&text), e);
    str_done(&text);
    return rc;
}

static enum err match(const struct gram *g, struct span text, struct errinfo *e)
{
    struct gram_state *s = gram_start(g);
    size_t i = 0;
    while (i < text.n && gram_accept_byte(s, (unsigned char)text.p[i]))
        i++;
    bool done = i == text.n && gram_finished(s);
    gram_done(s);
    if (done)
        return ERR_OK;
    if (i == text.n)
        return err_set(e, ERR_FAILED, "rejected: the text is not complete after %zu bytes", i);
    return err_set(e, ERR_FAILED, "rejected at byte %zu (0x%02x)", i, (unsigned char)text.p[i]);
}

enum err inspect_grammar(struct cmd_args *a, struct errinfo *e)
{
    const char *schema = NULL, *gbnf = NULL, *regex = NULL;
    bool strict = false;
    const struct conf_opt opts[] = {
        {.name = "schema",  .arg = "FILE",                             .help = "a JSON Schema", .text = &schema},
        {.name = "strict",  .help = "demand what strict mode demands", .flag = &strict        },
        {.name = "gbnf",    .arg = "FILE",                  .help = "a GBNF grammar",           .text = &gbnf               },
        {.name = "regex", .arg = "PATTERN",     .help = "the whole text matches this",          .text = &regex},
    };
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 0, e));
    if (a->done)
        return ERR_OK;
    if (!!schema + !!gbnf + !!regex != 1)
        return err_set(e, ERR_USAGE, "%s needs --schema FILE, --gbnf FILE or --regex PATTERN",
                       a->name);
    struct gram *g = NULL;
    struct str text = {0};
    enum err rc = schema ? open_schema(&g, schema, strict, e)
                  : gbnf ? open_gbnf(&g, gbnf, e)
                         : gram_from_regex(&g, span_of(regex), e);
    if (rc == ERR_OK)
        rc = read_all(stdin, "stdin", INPUT_BYTES_MAX, &text, e);
    if (rc == ERR_OK)
        rc = match(g, str_span(&text), e);
    str_done(&text);
    gram_free(g);
    return rc;
}
