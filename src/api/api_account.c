/* SPDX-License-Identifier: MIT
 * api_account.c - /api/v1/account: one's own name, password, sessions and keys. */
#include "api/api_auth.h"
#include "api/api_bus.h"
#include "api/api_chats.h"
#include "api/api_keys.h"
#include "api/api_password.h"
#include "api/api_people.h"
#include "api/api_tries.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

/* False, and the call was answered: nobody is logged in. */
static bool mine(struct api_call *c)
{
    if (api_auth_user_may(c))
        return true;
    api_call_fail(c);
    return false;
}

/* ---- reading ---- */

static json_t *sessions_of(struct api_call *c)
{
    struct store_session *list;
    size_t n = api_people_sessions(c->api->people, c->who->id, c->req->arena, &list);
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            all, api_pack("{ss sI sI sI ss ss sb}", "id", list[i].id, "created",
                          (json_int_t)list[i].created, "used", (json_int_t)list[i].used, "expires",
                          (json_int_t)list[i].expires, "agent", list[i].agent, "address",
                          list[i].address, "here", strcmp(list[i].id, c->who->session) == 0));
    return all;
}

static void give_account(struct api_call *c, struct api_stored *s)
{
    struct api_who now;
    if (!api_people_ok(c, s))
        return;
    const struct api_who *who = api_people_id(c->api->people, c->who->id, &now) ? &now : c->who;
    json_t *keys = json_array();
    for (size_t i = 0; i < s->op.n; i++) {
        const struct store_key *k = &s->op.keys[i];
        struct api_who whose;
        if (!k->revoked && api_people_key(c->api->people, k->id, &whose) &&
            strcmp(whose.id, who->id) == 0)
            json_array_append_new(keys, api_keys_json(c, k));
    }
    api_call_json(
        c, 200,
        api_pack("{ss ss ss sI sI sI sI so so sb}", "id", who->id, "name", who->name, "role",
                 who->admin ? "admin" : "user", "created", (json_int_t)who->created,
                 "requests_minute", (json_int_t)who->requests_minute, "tokens_minute",
                 (json_int_t)who->tokens_minute, "n_concurrent", (json_int_t)who->n_concurrent,
                 "sessions", sessions_of(c), "keys", keys, "user_keys", (int)c->api->o.user_keys));
}

static void read_account(struct api_call *c)
{
    struct store_people *x;
    struct api_stored *s = api_people_new(c, STORE_KEY_LIST, &x);
    if (s)
        api_stored_run(s, give_account);
}

void api_do_account(struct api_call *c)
{
    if (mine(c))
        read_account(c);
}

static void then_read(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    api_call_drop(c);
    read_account(c);
}

/* ---- the name ---- */

void api_do_account_set(struct api_call *c)
{
    const char *name = NULL, *shown, *folded;
    struct store_people *x;
    if (!mine(c) || !api_chats_write(c, false))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (!api_get_text(&in, "name", &name) ||
        !api_name_read(name ? name : "", c->req->arena, &shown, &folded, &c->fault)) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_people_new(c, STORE_USER_SET, &x);
    if (!s)
        return;
    x->user.id = api_stored_keep(s, c->who->id);
    x->user.name = api_stored_keep(s, shown);
    x->user.folded = api_stored_keep(s, folded);
    x->set = STORE_USER_SET_NAME;
    api_people_run(s, then_read);
}

/* ---- the password ---- */

struct change {
    struct api_password old, fresh;
};

static void password_set(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    log_at(LOG_INFO, "api", "password=changed user=%s", c->who->id);
    api_bus_drop(c->api, c->who->id);
    read_account(c);
}

static void hashed(struct api_call *c, struct api_password *p)
{
    struct store_people *x;
    if (!p->good) {
        api_refuse(&c->fault, 503, "", "", "no memory to hash a password");
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_people_new(c, STORE_USER_SET, &x);
    if (!s)
        return;
    x->user.id = api_stored_keep(s, c->who->id);
    x->user.password = api_stored_keep(s, p->hash);
    x->set = STORE_USER_SET_PASSWORD;
    x->was = api_stored_keep(s, ((struct change *)p->arg)->old.hash);
    x->keep = api_stored_keep(s, c->who->session);
    api_people_run(s, password_set);
}

static void checked(struct api_call *c, struct api_password *p)
{
    struct change *m = p->arg;
    if (!p->good) {
        log_at(LOG_WARN, "api", "password=refused user=%s", c->who->id);
        api_refuse(&c->fault, 403, "wrong_password", "old", "old: this is not your password");
        api_call_fail(c);
        return;
    }
    api_tries_good_all(c, &api_tries_name, c->who->id, true);
    m->fresh.arg = m;
    api_password_run(c, &m->fresh, hashed);
}

static void try_password(struct api_call *c)
{
    struct change *m = c->own;
    api_call_drop(c); /* it has the passwords */
    m->old.arg = m;
    snprintf(m->old.hash, sizeof m->old.hash, "%s",
             *c->who->password ? c->who->password : api_password_nobody(c->api->passwords));
    api_password_run(c, &m->old, checked);
}

void api_do_account_password(struct api_call *c)
{
    struct change *m = arena_alloc(c->req->arena, sizeof *m);
    const char *old = NULL, *fresh = NULL;
    if (!mine(c) || !api_chats_write(c, false))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (!api_get_text(&in, "old", &old) || !api_get_text(&in, "new", &fresh) ||
        !api_password_read(&m->old, old ? old : "", "old", false, &c->fault) ||
        !api_password_read(&m->fresh, fresh ? fresh : "", "new", true, &c->fault)) {
        api_call_fail(c);
        return;
    }
    c->own = m;
    api_tries_ask(c, &(const struct api_try){&api_tries_name, c->who->id}, 1, try_password);
}

/* ---- sessions ---- */

static void sessions_ended(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    log_at(LOG_INFO, "api", "sessions=ended user=%s", c->who->id);
    api_bus_drop(c->api, c->who->id);
    read_account(c);
}

void api_do_account_sessions_end(struct api_call *c)
{
    struct store_people *x;
    if (!mine(c))
        return;
    struct api_stored *s = api_people_new(c, STORE_SESSIONS_END, &x);
    if (!s)
        return;
    x->user.id = api_stored_keep(s, c->who->id);
    x->keep = api_stored_keep(s, c->who->session);
    api_people_run(s, sessions_ended);
}

void api_do_account_session_end(struct api_call *c)
{
    struct store_people *x;
    if (!mine(c))
        return;
    struct api_stored *s = api_people_new(c, STORE_SESSION_END, &x);
    if (!s)
        return;
    x->session.id = api_stored_keep(s, http_param(c->req, "id"));
    x->session.user = api_stored_keep(s, c->who->id);
    api_people_run(s, sessions_ended);
}

/* ---- keys ---- */

void api_do_account_key_new(struct api_call *c)
{
    if (!mine(c))
        return;
    if (c->api->o.user_keys || c->who->admin) {
        api_keys_new(c, STORE_SCOPE_CHAT | STORE_SCOPE_MODELS, c->who->id);
        return;
    }
    api_refuse(&c->fault, 403, "no_user_keys", "", "on this server admins alone make API keys");
    api_call_fail(c);
}

void api_do_account_key_end(struct api_call *c)
{
    struct api_who who;
    if (!mine(c))
        return;
    if (api_people_key(c->api->people, http_param(c->req, "id"), &who) &&
        strcmp(who.id, c->who->id) == 0) {
        api_keys_end(c);
        return;
    }
    api_refuse(&c->fault, 404, "not_found", "", "there is no such key of yours");
    api_call_fail(c);
}
