/* SPDX-License-Identifier: MIT
 * inspect_template.c - damso inspect template: renders a chat template to stdout.
 *
 * The input is a JSON object with the template's variables: messages, tools, bos_token,
 * add_generation_prompt and whatever else it reads.  A template that fails ends with the exit
 * status of TEMPLATE (11) and its line on stderr, bad JSON with that of CORRUPT (4). */
#include "app/cmd.h"

#include "chat/jinja.h"

#include <stdio.h>
#include <time.h>

#define INPUT_BYTES_MAX ((size_t)64 << 20)

static enum err read_file(const char *path, size_t max, struct str *out, struct errinfo *e)
{
    char part[65536];
    size_t n;
    FILE *f = fopen(path, "rb");
    if (!f)
        return err_set(e, ERR_NOTFOUND, "%s: cannot open this file", path);
    str_init(out, max);
    while (!out->full && (n = fread(part, 1, sizeof part, f)))
        str_add(out, part, n);
    bool failed = ferror(f);
    fclose(f);
    if (failed)
        return err_set(e, ERR_IO, "%s: cannot read this file", path);
    if (out->full)
        return err_set(e, ERR_TOOBIG, "%s: more than %zu bytes", path, max);
    return ERR_OK;
}

static enum err render(struct span source, struct span input, const char *input_path,
                       struct errinfo *e)
{
    json_error_t je;
    struct jinja *j;
    struct str out;
    json_t *vars = json_loadb(input.p ? input.p : "", input.n, JSON_ALLOW_NUL, &je);
    if (!json_is_object(vars)) {
        json_decref(vars);
        return err_set(e, ERR_CORRUPT, "%s: line %d: %.200s", input_path, je.line,
                       vars ? "not a JSON object" : je.text);
    }
    enum err rc = jinja_parse(&j, source, e);
    str_init(&out, JINJA_OUTPUT_BYTES_MAX);
    if (rc == ERR_OK)
        rc = jinja_render(j, vars, (int64_t)time(NULL), &out, e);
    if (rc == ERR_OK)
        fwrite(out.p ? out.p : "", 1, out.n, stdout);
    str_done(&out);
    jinja_free(j);
    json_decref(vars);
    return rc;
}

enum err inspect_template(struct cmd_args *a, struct errinfo *e)
{
    const char *template_path = NULL, *input_path = NULL;
    const struct conf_opt opts[] = {
        {.name = "template", .arg = "FILE", .help = "the Jinja template", .text = &template_path},
        {.name = "input",
         .arg = "FILE",
         .help = "a JSON object: the template's variables",
         .text = &input_path                                                                    },
    };
    TRY(cmd_parse(a, opts, sizeof opts / sizeof opts[0], 0, 0, e));
    if (a->done)
        return ERR_OK;
    if (!template_path || !input_path)
        return err_set(e, ERR_USAGE, "%s needs --template FILE and --input FILE", a->name);
    struct str source = {0}, input = {0};
    enum err rc = read_file(template_path, JINJA_SOURCE_BYTES_MAX, &source, e);
    if (rc == ERR_OK)
        rc = read_file(input_path, INPUT_BYTES_MAX, &input, e);
    if (rc == ERR_OK)
        rc = render(str_span(&source), str_span(&input), input_path, e);
    str_done(&source);
    str_done(&input);
    return rc;
}
