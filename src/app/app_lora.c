/* SPDX-License-Identifier: MIT
 * app_lora.c - the setting `lora`: "NAME=FILE[:SCALE],...". */
#include "app/app_model.h"

#include "base/num.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* NAME=FILE or NAME=FILE:SCALE; what follows the last colon is a scale where it is a number. */
static enum err read_one(char *text, struct api_lora_row *row, struct errinfo *e)
{
    char *is = strchr(text, '='), *colon = strrchr(text, ':'), *end;
    if (!is || is == text || !is[1])
        return err_set(e, ERR_USAGE, "lora: '%.100s' is no NAME=FILE", text);
    *is = '\0';
    *row = (struct api_lora_row){.name = text, .path = is + 1, .scale = 1};
    if (!colon || colon < is || !colon[1])
        return ERR_OK;
    row->scale = strtof(colon + 1, &end);
    if (*end) {
        row->scale = 1;
        return ERR_OK;
    }
    *colon = '\0';
    if (!isfinite(row->scale) || fabsf(row->scale) > 100)
        return err_set(e, ERR_USAGE, "lora: the scale of %.100s is not from -100 to 100", text);
    return ERR_OK;
}

enum err app_loras(const struct conf *c, struct arena *a, const struct api_lora_row **rows,
                   size_t *n, struct errinfo *e)
{
    struct api_lora_row *list = arena_array(a, APP_LORAS_MAX, sizeof *list);
    char *copy = arena_dup(a, c->lora ? c->lora : "", c->lora ? strlen(c->lora) : 0), *at = NULL;
    *rows = list;
    *n = 0;
    for (char *w = strtok_r(copy, ",", &at); w; w = strtok_r(NULL, ",", &at)) {
        if (*n == APP_LORAS_MAX)
            return err_set(e, ERR_USAGE, "lora: more than %d adapters", APP_LORAS_MAX);
        TRY(read_one(w, &list[*n], e));
        for (size_t i = 0; i < *n; i++)
            if (strcmp(list[i].name, list[*n].name) == 0)
                return err_set(e, ERR_USAGE, "lora: two adapters are called %.100s", list[i].name);
        ++*n;
    }
    return ERR_OK;
}
