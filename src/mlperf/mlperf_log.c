/* SPDX-License-Identifier: MIT */
#include "mlperf/mlperf_log.h"

#include "base/arena.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES (1 << 20)
#define FILE_MAX_BYTES ((long long)1 << 30)
#define ERRORS_MAX     20
#define HEAD           ":::MLLOG "

static void take_line(struct mlperf_log *l, const json_t *line)
{
    const char *key = json_string_value(json_object_get(line, "key"));
    json_t *value = json_object_get(line, "value");
    bool is_error = json_is_true(json_object_get(json_object_get(line, "metadata"), "is_error"));
    if (!key || !value)
        return;
    if (is_error) {
        l->n_errors++;
        if (json_array_size(l->errors) < ERRORS_MAX)
            json_array_append(l->errors, value);
    }
    json_object_set(l->values, key, value);
}

/* What LoadGen was writing when it was ended is half a line: the last one. */
static enum err take_text(struct mlperf_log *l, const char *path, const char *text, size_t n,
                          size_t number, bool last, struct errinfo *e)
{
    json_error_t je;
    if (n < sizeof HEAD - 1 || memcmp(text, HEAD, sizeof HEAD - 1) != 0)
        return ERR_OK;
    /* As reals: seeds have 64 bits and no sign. */
    json_t *line = json_loadb(text + sizeof HEAD - 1, n - (sizeof HEAD - 1),
                              JSON_DECODE_INT_AS_REAL, &je);
    if (!line && last)
        return ERR_OK;
    if (!line)
        return err_set(e, ERR_CORRUPT, "%.300s:%zu: no JSON: %.100s", path, number, je.text);
    take_line(l, line);
    json_decref(line);
    return ERR_OK;
}

static enum err take_lines(struct mlperf_log *l, FILE *f, const char *path, struct errinfo *e)
{
    char *line = NULL;
    size_t cap = 0, number = 0;
    long long total = 0;
    enum err r = ERR_OK;
    for (ssize_t n; r == ERR_OK && (n = getline(&line, &cap, f)) > 0;) {
        number++;
        total += n;
        if (n > LINE_MAX_BYTES || total > FILE_MAX_BYTES)
            r = err_set(e, ERR_TOOBIG, "%.300s:%zu: a line over %d bytes or a file over 1 GiB",
                        path, number, LINE_MAX_BYTES);
        else
            r = take_text(l, path, line, (size_t)n, number, line[n - 1] != '\n', e);
    }
    if (r == ERR_OK && ferror(f))
        r = err_set(e, ERR_IO, "%.300s: %s", path, strerror(errno));
    free(line); /* getline's */
    return r;
}

enum err mlperf_log_read(struct mlperf_log *l, const char *path, struct errinfo *e)
{
    *l = (struct mlperf_log){.values = json_object(), .errors = json_array()};
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%.300s: %s", path,
                       strerror(errno));
    enum err r = take_lines(l, f, path, e);
    fclose(f);
    l->ended = json_object_get(l->values, "num_errors") != NULL;
    return r;
}

void mlperf_log_done(struct mlperf_log *l)
{
    json_decref(l->values);
    json_decref(l->errors);
    *l = (struct mlperf_log){0};
}

double mlperf_log_number(const struct mlperf_log *l, const char *key, double none)
{
    const json_t *v = json_object_get(l->values, key);
    return json_is_number(v) ? json_number_value(v) : none;
}

const char *mlperf_log_text(const struct mlperf_log *l, const char *key)
{
    return json_string_value(json_object_get(l->values, key));
}

bool mlperf_log_valid(const struct mlperf_log *l)
{
    const char *v = mlperf_log_text(l, "result_validity");
    return v && strcmp(v, "VALID") == 0 && l->n_errors == 0 &&
           mlperf_log_number(l, "num_errors", 1) == 0;
}
