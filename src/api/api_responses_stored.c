/* SPDX-License-Identifier: MIT
 * api_responses_stored.c - stored responses: read, their input, delete, cancel. */
#include "api/api_stored.h"

#include <string.h>

static struct api_stored *stored(struct api_call *c, enum store_what what)
{
    struct api_stored *s = api_stored_new(c, what, STORE_RESPONSE, http_param(c->req, "id"));
    if (!s)
        api_call_fail(c);
    return s;
}

void api_do_responses_get(struct api_call *c)
{
    const char *stream = http_query(c->req, "stream");
    if (stream && strcmp(stream, "false") != 0) {
        api_refuse(&c->fault, 400, "unsupported_parameter", "stream",
                   "stream: a stored response is given whole, its events are not kept");
        api_call_fail(c);
        return;
    }
    struct api_stored *s = stored(c, STORE_GET);
    if (s)
        api_stored_run(s, api_stored_give);
}

static void give_deleted(struct api_call *c, struct api_stored *s)
{
    if (api_stored_ok(s, &c->fault))
        api_call_json(
            c, 200,
            api_pack("{sssssb}", "id", s->op.object.id, "object", "response", "deleted", 1));
    else
        api_call_fail(c);
}

void api_do_responses_delete(struct api_call *c)
{
    struct api_stored *s = stored(c, STORE_DELETE);
    if (s)
        api_stored_run(s, give_deleted);
}

/* None runs in the background, so one that is there is at its end. */
static void refuse_cancel(struct api_call *c, struct api_stored *s)
{
    if (api_stored_ok(s, &c->fault))
        api_refuse(&c->fault, 400, "invalid_value", "",
                   "Cannot cancel a synchronous response: '%.64s' was not made with background",
                   s->op.object.id);
    api_call_fail(c);
}

void api_do_responses_cancel(struct api_call *c)
{
    struct api_stored *s = stored(c, STORE_GET);
    if (s)
        api_stored_run(s, refuse_cancel);
}

void api_do_responses_items(struct api_call *c)
{
    api_stored_items(c, STORE_RESPONSE, true);
}
