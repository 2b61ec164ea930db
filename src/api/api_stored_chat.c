/* SPDX-License-Identifier: MIT
 * api_stored_chat.c - the stored chat completions: list, read, describe, delete. */
#include "api/api_stored.h"

#include <string.h>

static struct api_stored *stored(struct api_call *c, enum store_what what)
{
    struct api_stored *s = api_stored_new(c, what, STORE_CHAT_COMPLETION, http_param(c->req, "id"));
    if (!s)
        api_call_fail(c);
    return s;
}

void api_do_chat_get(struct api_call *c)
{
    struct api_stored *s = stored(c, STORE_GET);
    if (s)
        api_stored_run(s, api_stored_give);
}

void api_do_chat_update(struct api_call *c)
{
    json_t *metadata = NULL;
    if (!api_call_body(c))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (!api_stored_metadata(&in, "metadata", &metadata) ||
        (!metadata && !api_get_refuse(&in, "metadata", "is missing"))) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = stored(c, STORE_UPDATE);
    if (!s)
        return;
    s->op.object.metadata = api_stored_text(&s->arena, metadata);
    api_stored_run(s, api_stored_give);
}

static void give_deleted(struct api_call *c, struct api_stored *s)
{
    if (api_stored_ok(s, &c->fault))
        api_call_json(c, 200,
                      api_pack("{sssssb}", "object", "chat.completion.deleted", "id",
                               s->op.object.id, "deleted", 1));
    else
        api_call_fail(c);
}

void api_do_chat_delete(struct api_call *c)
{
    struct api_stored *s = stored(c, STORE_DELETE);
    if (s)
        api_stored_run(s, give_deleted);
}

/* ---- lists ---- */

static void give_list(struct api_call *c, struct api_stored *s)
{
    if (!api_stored_ok(s, &c->fault)) {
        api_call_fail(c);
        return;
    }
    json_t *data = json_array();
    for (size_t i = 0; i < s->op.n; i++)
        json_array_append_new(data, api_stored_object(&s->op.objects[i]));
    api_call_json(c, 200, api_stored_list(data, s->op.more));
    json_decref(data);
}

static void add_pair(void *arg, const char *name, const char *value)
{
    static const char head[] = "metadata[";
    size_t n = strlen(name), n_head = sizeof head - 1;
    if (n > n_head && strncmp(name, head, n_head) == 0 && name[n - 1] == ']')
        json_object_setn_new(arg, name + n_head, n - n_head - 1, json_string(value));
}

/* metadata[key]=value, any number of them, as one object. */
static const char *metadata_query(struct api_stored *s)
{
    json_t *want = json_object();
    http_queries(s->call->req, add_pair, want);
    const char *text = json_object_size(want) ? api_stored_text(&s->arena, want) : NULL;
    json_decref(want);
    return text;
}

void api_do_chat_list(struct api_call *c)
{
    struct api_stored *s = stored(c, STORE_LIST);
    if (!s)
        return;
    s->op.query.model = http_query(c->req, "model");
    s->op.query.metadata = metadata_query(s);
    if (api_stored_query(s, false)) {
        api_stored_run(s, give_list);
    } else {
        api_call_fail(c);
        api_stored_free(s);
    }
}

void api_do_chat_messages(struct api_call *c)
{
    api_stored_items(c, STORE_CHAT_COMPLETION, false);
}
