/* SPDX-License-Identifier: MIT
 * jinja_fuzz.c - any bytes as a template, over a small conversation, within small limits. */
#include "chat/jinja_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static json_t *variables(void)
{
    return json_loads(
        "{\"messages\": [{\"role\": \"system\", \"content\": \" 담소 \"}, {\"role\": \"user\","
        " \"content\": \"a<think>b</think>c 😀\"}], \"tools\": [{\"type\": \"function\","
        " \"function\": {\"name\": \"f\", \"parameters\": {\"x\": [1, 2.5, null, true]}}}],"
        " \"n\": 3, \"f\": 0.5, \"text\": \"abc ABC\", \"items\": [3, 1, 2], \"d\": {\"b\": 2,"
        " \"a\": 1}, \"nested\": [[1, [2, 3]]], \"bos_token\": \"<s>\", \"nothing\": null}",
        0, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static json_t *vars;
    struct jinja_limits limits = {1 << 16, 1 << 22, 30000};
    struct jinja *j;
    struct str out;
    struct errinfo e;
    if (!vars)
        vars = variables();
    if (jinja_parse(&j, (struct span){(const char *)data, n}, &e) != ERR_OK)
        return 0;
    str_init(&out, 1 << 16);
    if (jinja_render_limited(j, vars, 1732406400, limits, &out, &e) == ERR_OK)
        CHECK(utf8_valid(str_span(&out)));
    str_done(&out);
    jinja_free(j);
    return 0;
}
