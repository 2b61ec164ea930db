/* SPDX-License-Identifier: MIT */
#include "api/api_json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* As measured with jansson 2.14: what a value takes with its place in an array or a table, counted
 * where its first byte is, or the comma or colon before it. */
static size_t bytes_of(char ch)
{
    switch (ch) {
    case '{': return 240;
    case '[': return 144;
    case '"': return 96;
    case ',':
    case ':': return 48;
    default: return 0;
    }
}

size_t api_json_bytes(struct span text)
{
    size_t bytes = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.n; i++) {
        char ch = text.p[i];
        if (!quoted)
            bytes += bytes_of(ch);
        if (ch == '"')
            quoted = !quoted;
        else if (quoted && ch == '\\')
            i++;
    }
    return bytes;
}

json_t *api_json_parse(struct span body, struct api_fault *f)
{
    json_error_t why;
    size_t bytes = api_json_bytes(body);
    if (body.n == 0) {
        api_refuse(f, 400, "", "", "the request has no body; a JSON object is expected");
        return NULL;
    }
    if (bytes > API_JSON_BYTES_MAX) {
        api_refuse(f, 413, "", "", "the body's values would take about %zu MiB, %zu are allowed",
                   bytes >> 20, API_JSON_BYTES_MAX >> 20);
        return NULL;
    }
    /* jansson limits the depth to 2,048 and numbers to what a double or 63 bits hold. */
    json_t *o = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!o) {
        struct str text;
        str_init(&text, 400);
        utf8_repair(&text, span_of(why.text));
        api_refuse(f, 400, "", "", "the body is not JSON: line %d, column %d: %s", why.line,
                   why.column, text.p ? text.p : "");
        str_done(&text);
        return NULL;
    }
    if (!json_is_object(o)) {
        json_decref(o);
        api_refuse(f, 400, "", "", "the body is JSON, but not an object");
        return NULL;
    }
    return o;
}

json_t *api_get_any(const struct api_in *in, const char *name)
{
    json_t *v = json_object_get(in->o, name);
    return json_is_null(v) ? NULL : v;
}

bool api_get_refuse(const struct api_in *in, const char *name, const char *fmt, ...)
{
    char text[320], param[96];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    snprintf(param, sizeof param, "%s%s", in->at, name);
    return api_refuse(in->fault, 400, "invalid_value", param, "%s: %s", param, text);
}

static bool wrong_type(const struct api_in *in, const char *name, const char *wanted)
{
    return api_get_refuse(in, name, "%s is expected", wanted);
}

bool api_get_int(const struct api_in *in, const char *name, int64_t min, int64_t max, int64_t *out)
{
    const json_t *v = api_get_any(in, name);
    if (!v)
        return true;
    if (!json_is_number(v) || json_number_value(v) != floor(json_number_value(v)))
        return wrong_type(in, name, "an integer");
    double d = json_number_value(v);
    bool fits = json_is_integer(v) || (d >= -0x1p63 && d < 0x1p63); /* (double)INT64_MAX is 2^63 */
    if (!fits || d < (double)min || d > (double)max)
        return api_get_refuse(in, name, "%.17g is outside %lld to %lld", d, (long long)min,
                              (long long)max);
    *out = json_is_integer(v) ? json_integer_value(v) : (int64_t)d;
    if (*out < min || *out > max) /* numbers that a double rounds to the limit */
        return api_get_refuse(in, name, "%lld is outside %lld to %lld", (long long)*out,
                              (long long)min, (long long)max);
    return true;
}

bool api_get_real(const struct api_in *in, const char *name, double min, double max, double *out)
{
    const json_t *v = api_get_any(in, name);
    if (!v)
        return true;
    if (!json_is_number(v))
        return wrong_type(in, name, "a number");
    double d = json_number_value(v);
    if (!(d >= min && d <= max))
        return api_get_refuse(in, name, "%g is outside %g to %g", d, min, max);
    *out = d;
    return true;
}

bool api_get_bool(const struct api_in *in, const char *name, bool *out)
{
    const json_t *v = api_get_any(in, name);
    if (!v)
        return true;
    if (!json_is_boolean(v))
        return wrong_type(in, name, "true or false");
    *out = json_is_true(v);
    return true;
}

bool api_get_text(const struct api_in *in, const char *name, const char **out)
{
    const json_t *v = api_get_any(in, name);
    if (!v)
        return true;
    if (!json_is_string(v))
        return wrong_type(in, name, "a string");
    *out = json_string_value(v);
    if (strlen(*out) != json_string_length(v))
        return api_get_refuse(in, name, "the character U+0000 is not allowed here");
    return true;
}

bool api_get_object(const struct api_in *in, const char *name, json_t **out)
{
    json_t *v = api_get_any(in, name);
    if (!v)
        return true;
    if (!json_is_object(v))
        return wrong_type(in, name, "an object");
    *out = v;
    return true;
}

bool api_get_array(const struct api_in *in, const char *name, json_t **out)
{
    json_t *v = api_get_any(in, name);
    if (!v)
        return true;
    if (!json_is_array(v))
        return wrong_type(in, name, "an array");
    *out = v;
    return true;
}

json_t *api_pack(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    json_t *o = json_vpack_ex(NULL, 0, format, ap);
    va_end(ap);
    CHECK(o);
    return o;
}

static int add_part(const char *p, size_t n, void *arg)
{
    str_add(arg, p, n);
    return 0;
}

static void add_json(struct str *out, json_t *o, size_t digits)
{
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits);
    CHECK(o && json_dump_callback(o, add_part, out, flags) == 0);
    json_decref(o);
}

void api_json_add(struct str *out, json_t *o)
{
    add_json(out, o, 9);
}

void api_json_add_exact(struct str *out, json_t *o)
{
    add_json(out, o, 17);
}

void api_json_event(struct str *out, const char *name, json_t *o)
{
    if (name)
        str_addf(out, "event: %s\n", name);
    str_add_cstr(out, "data: ");
    api_json_add(out, o);
    str_add_cstr(out, "\n\n");
}

json_t *api_json_text(struct span s)
{
    json_t *t = json_stringn(s.p ? s.p : "", s.n);
    CHECK(t); /* refused only when it is not UTF-8 */
    return t;
}

json_t *api_json_arguments(struct span s)
{
    json_t *o = json_loadb(s.p ? s.p : "", s.n, JSON_ALLOW_NUL, NULL);
    if (json_is_object(o))
        return o;
    json_decref(o);
    return json_object();
}

json_t *api_json_time(int64_t unix_s, long ns)
{
    char day[40], all[64];
    struct tm tm;
    time_t t = (time_t)unix_s;
    CHECK(gmtime_r(&t, &tm) && strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm));
    if (ns < 0)
        snprintf(all, sizeof all, "%sZ", day);
    else
        snprintf(all, sizeof all, "%s.%09ldZ", day, ns);
    return json_string(all);
}
