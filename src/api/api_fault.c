/* SPDX-License-Identifier: MIT */
#include "api/api_fault.h"

#include "api/api_json.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What a request said is cut to a length in messages, maybe inside a character. */
static void make_utf8(char *text, size_t room)
{
    struct str fixed;
    if (utf8_valid(span_of(text)))
        return;
    str_init(&fixed, 3 * room);
    utf8_repair(&fixed, span_of(text));
    snprintf(text, room, "%s", fixed.p);
    text[utf8_complete(span_of(text))] = '\0';
    str_done(&fixed);
}

bool api_refuse(struct api_fault *f, int status, const char *code, const char *param,
                const char *fmt, ...)
{
    va_list ap;
    if (f->status)
        return false;
    f->status = status;
    snprintf(f->code, sizeof f->code, "%s", code ? code : "");
    snprintf(f->param, sizeof f->param, "%s", param ? param : "");
    va_start(ap, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
    make_utf8(f->param, sizeof f->param);
    make_utf8(f->text, sizeof f->text);
    if (status == 429 || status == 503)
        f->retry_s = 1;
    return false;
}

bool api_refuse_err(struct api_fault *f, const char *param, const struct errinfo *e)
{
    const char *code = "";
    int status = err_http(e->code);
    switch (e->code) {
    case ERR_CONTEXT: code = "context_length_exceeded"; break;
    case ERR_BUSY: code = "queue_full"; break;
    case ERR_CANCELLED: /* the server ends */
        code = "shutting_down";
        status = 503;
        break;
    case ERR_UNSUPPORTED: /* by this server, not a fault of it: the request can be changed */
    case ERR_CORRUPT:
    case ERR_TEMPLATE: status = 400; break;
    default: break;
    }
    return api_refuse(f, status, code, param, "%s", e->text);
}

const char *api_fault_store_text(const struct errinfo *e)
{
    switch (e->code) {
    case ERR_USAGE:
    case ERR_NOTFOUND:
    case ERR_TOOBIG:
    case ERR_CANCELLED: return e->text;
    default: break;
    }
    log_at(LOG_ERROR, "api", "store=\"%s\"", e->text);
    return e->code == ERR_BUSY ? "the server's store cannot be used at the moment"
                               : "the server's store failed; the server's log says how";
}

bool api_refuse_store(struct api_fault *f, const struct errinfo *e)
{
    struct errinfo plain;
    (void)err_set(&plain, e->code == ERR_CORRUPT ? ERR_IO : e->code, "%s", api_fault_store_text(e));
    return api_refuse_err(f, "", &plain);
}

/* The types that OpenAI's clients have seen. */
const char *api_fault_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status < 500 ? "invalid_request_error" : "server_error";
    }
}

/* docs.anthropic.com/en/api/errors */
static const char *anthropic_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status < 500 ? "invalid_request_error" : "api_error";
    }
}

static json_t *text_or_null(const char *s)
{
    return *s ? json_string(s) : json_null();
}

void api_fault_body(const struct api_fault *f, enum api_dialect dialect, struct str *out)
{
    json_t *o;
    if (dialect == API_OLLAMA)
        o = api_pack("{ss}", "error", f->text);
    else if (dialect == API_ANTHROPIC)
        o = api_pack("{sss{ssss}ss*}", "type", "error", "error", "type", anthropic_type(f->status),
                     "message", f->text, "request_id", f->request_id);
    else
        o = api_pack("{s{sssssoso}}", "error", "message", f->text, "type",
                     api_fault_type(f->status), "param", text_or_null(f->param), "code",
                     text_or_null(f->code));
    api_json_add(out, o);
}
