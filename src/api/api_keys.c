/* SPDX-License-Identifier: MIT */
#include "api/api_keys.h"

#include "api/api_auth.h"
#include "api/api_chats.h"
#include "base/log.h"
#include "os/os_sys.h"

#include <string.h>

#define DAYS_MAX 3650

json_t *api_keys_json(struct api_call *c, const struct store_key *k)
{
    struct api_who who;
    bool owned = api_people_key(c->api->people, k->id, &who);
    return api_pack("{ss ss ss sI sI sI sI sI sI sI so}", "id", k->id, "name", k->name, "scopes",
                    k->scopes, "created", (json_int_t)k->created, "expires", (json_int_t)k->expires,
                    "revoked", (json_int_t)k->revoked, "used", (json_int_t)k->used,
                    "requests_minute", (json_int_t)k->requests_minute, "tokens_minute",
                    (json_int_t)k->tokens_minute, "n_concurrent", (json_int_t)k->n_concurrent,
                    "user", owned ? json_string(who.name) : json_null());
}

static void made(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    log_at(LOG_INFO, "api", "key=%s made_by=%s", s->op.key.id, api_people_log_name(c));
    json_t *o = api_keys_json(c, &s->op.key);
    json_object_set_new(o, "key", json_string(s->body.p)); /* this once */
    api_call_json(c, 200, o);
}

static bool read_key(struct api_call *c, unsigned most, struct store_key *k, unsigned *scopes)
{
    const struct api_in in = {c->body, "", &c->fault};
    const char *name = NULL, *wanted = NULL;
    struct errinfo e = {0};
    int64_t days = 0;
    *scopes = STORE_SCOPE_CHAT | STORE_SCOPE_MODELS;
    if (!api_get_text(&in, "name", &name) || !api_get_text(&in, "scopes", &wanted) ||
        !api_get_int(&in, "days", 0, DAYS_MAX, &days) ||
        !api_get_int(&in, "requests_minute", 0, 1000000000, &k->requests_minute) ||
        !api_get_int(&in, "tokens_minute", 0, 1000000000000, &k->tokens_minute) ||
        !api_get_int(&in, "n_concurrent", 0, 1000000, &k->n_concurrent))
        return false;
    if (!name || !*name || strlen(name) > STORE_USER_NAME_MAX || !utf8_printable(span_of(name)))
        return api_get_refuse(&in, "name", "one line of 1 to %zu bytes is expected",
                              STORE_USER_NAME_MAX);
    if (wanted && store_scopes_read(wanted, scopes, &e) != ERR_OK)
        return api_refuse_err(&c->fault, "scopes", &e);
    if (*scopes & ~most)
        return api_get_refuse(&in, "scopes", "\"%s\" is more than you may give", wanted);
    k->name = name;
    k->expires = days ? os_unix_time() + days * 86400 : 0;
    return true;
}

void api_keys_new(struct api_call *c, unsigned scopes_most, const char *user)
{
    struct store_people *x;
    struct store_key key = {.id = NULL};
    struct str scopes;
    unsigned set;
    char text[STORE_KEY_CHARS + 1];
    if (!api_chats_write(c, false))
        return;
    if (!read_key(c, scopes_most, &key, &set)) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_people_new(c, user ? STORE_KEY_USER_ADD : STORE_KEY_ADD, &x);
    if (!s)
        return;
    str_init(&scopes, STORE_TEXT_BYTES_MAX);
    store_scopes_text(set, &scopes);
    key.name = api_stored_keep(s, key.name);
    key.scopes = api_stored_keep(s, scopes.p);
    str_done(&scopes);
    api_auth_key_new(c->api->auth, &key, text, &s->arena);
    s->op.key = key;
    x->key_user.user = api_stored_keep(s, user);
    str_add_cstr(&s->body, text);
    memset(text, 0, sizeof text);
    api_people_run(s, made);
}

static void ended(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    log_at(LOG_INFO, "api", "key=%s revoked_by=%s", s->op.key.id, api_people_log_name(c));
    api_call_json(c, 200, api_pack("{sb}", "revoked", 1));
}

void api_keys_end(struct api_call *c)
{
    struct store_people *x;
    struct api_stored *s = api_people_new(c, STORE_KEY_REVOKE, &x);
    if (!s)
        return;
    s->op.key.id = api_stored_keep(s, http_param(c->req, "id"));
    api_stored_run(s, ended);
}
