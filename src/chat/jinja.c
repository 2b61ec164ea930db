/* SPDX-License-Identifier: MIT
 * jinja.c - parse and render, and the limits of a run. */
#include "chat/jinja_int.h"

#include <stdio.h>

enum err jinja_parse(struct jinja **out, struct span source, struct errinfo *e)
{
    *out = NULL;
    if (source.n > JINJA_SOURCE_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "a template of %zu bytes: the limit is %zu", source.n,
                       JINJA_SOURCE_BYTES_MAX);
    if (!utf8_valid(source))
        return err_set(e, ERR_CORRUPT, "the template is not UTF-8");
    struct jinja *j = mem_alloc(sizeof(*j));
    arena_init(&j->arena);
    struct jinja_tok *toks = NULL;
    size_t n;
    enum err rc = jinja_lex(j, source, &toks, &n, e);
    if (rc == ERR_OK) {
        struct jinja_parser p = {.j = j, .t = toks, .e = e};
        rc = jinja_parse_body(&p, NULL, &j->body);
    }
    if (rc == ERR_OK)
        rc = jinja_scan_body(j, j->body, e);
    if (rc == ERR_OK)
        *out = j;
    else
        jinja_free(j);
    return rc;
}

void jinja_free(struct jinja *j)
{
    if (!j)
        return;
    arena_done(&j->arena);
    mem_free(j);
}

void jinja_note(struct jinja_run *r, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    jinja_note_at(r->e, r->line, "%s", text);
}

enum err jinja_step(struct jinja_run *r, size_t n)
{
    r->steps += n;
    if (r->steps > r->limits.steps)
        return jinja_fail(r, "more than %llu steps", (unsigned long long)r->limits.steps);
    if (r->arena.total_bytes + r->buffered > r->limits.memory_bytes)
        return jinja_fail(r, "more than %zu bytes of memory", r->limits.memory_bytes);
    return ERR_OK;
}

enum err jinja_charge(struct jinja_run *r, size_t n_bytes)
{
    if (n_bytes > r->limits.memory_bytes)
        return jinja_fail(r, "more than %zu bytes of memory", r->limits.memory_bytes);
    size_t before = r->buffered;
    r->buffered += n_bytes; /* as if it were there already */
    enum err rc = jinja_step(r, n_bytes / 64);
    r->buffered = before;
    return rc;
}

enum err jinja_enter(struct jinja_run *r)
{
    if (++r->depth > JINJA_EVAL_DEPTH_MAX)
        return jinja_fail(r, "evaluation nested deeper than %d", JINJA_EVAL_DEPTH_MAX);
    return ERR_OK;
}

enum err jinja_render_limited(const struct jinja *j, const json_t *vars, int64_t now_unix,
                              struct jinja_limits limits, struct str *out, struct errinfo *e)
{
    struct jinja_run r = {.j = j, .now = now_unix, .limits = limits, .line = 1, .e = e};
    struct jinja_val v;
    if (!json_is_object(vars))
        return err_set(e, ERR_TEMPLATE, "the variables of a template must be a JSON object");
    arena_init(&r.arena);
    enum err rc = jinja_of_json(&r, vars, 0, &v);
    if (rc == ERR_OK) {
        r.vars = v.d;
        rc = jinja_exec(&r, j->body, jinja_scope_new(&r, NULL), out);
    }
    if (rc == ERR_OK)
        rc = jinja_put_full(&r, out);
    arena_done(&r.arena);
    return rc;
}

enum err jinja_render(const struct jinja *j, const json_t *vars, int64_t now_unix, struct str *out,
                      struct errinfo *e)
{
    struct jinja_limits limits = {JINJA_OUTPUT_BYTES_MAX, JINJA_MEMORY_MAX, JINJA_STEPS_MAX};
    return jinja_render_limited(j, vars, now_unix, limits, out, e);
}
