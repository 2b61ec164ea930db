/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    int http;
    int exit;
    const char *text;
} err_list[ERR_N] = {
#define ERR(name, http, exit, text) {#name, http, exit, text},
#include "base/err.def"
#undef ERR
};

void err_note(struct errinfo *e, enum err code, const char *fmt, ...)
{
    if (e) {
        va_list ap;
        va_start(ap, fmt);
        e->code = code;
        vsnprintf(e->text, sizeof e->text, fmt, ap);
        va_end(ap);
    }
}

const char *err_name(enum err code)
{
    CHECK((unsigned)code < ERR_N);
    return err_list[code].name;
}

const char *err_text(enum err code)
{
    CHECK((unsigned)code < ERR_N);
    return err_list[code].text;
}

int err_http(enum err code)
{
    CHECK((unsigned)code < ERR_N);
    return err_list[code].http;
}

int err_exit(enum err code)
{
    CHECK((unsigned)code < ERR_N);
    return err_list[code].exit;
}

_Noreturn void err_bug(const char *file, int line, const char *what)
{
    fprintf(stderr, "damso: bug at %s:%d: %s does not hold\n", file, line, what);
    abort();
}
