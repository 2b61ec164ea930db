/* SPDX-License-Identifier: MIT
 * api_admin_users.c - /api/v1/admin/users and /invitations. */
#include "api/api_bus.h"
#include "api/api_chats.h"
#include "api/api_people.h"

#include "base/log.h"
#include "os/os_sys.h"

#include <string.h>

#define INVITE_HOURS_MAX (90 * 24)
#define INVITE_USES_MAX  100
#define RESET_S          (48 * 3600)

/* ---- users ---- */

static json_t *user_of(const struct store_user *u)
{
    return api_pack("{ss ss ss sI sI sI sb sI sI sI}", "id", u->id, "name", u->name, "role",
                    u->admin ? "admin" : "user", "created", (json_int_t)u->created, "seen",
                    (json_int_t)u->seen, "disabled", (json_int_t)u->disabled, "password",
                    u->password && *u->password, "requests_minute", (json_int_t)u->requests_minute,
                    "tokens_minute", (json_int_t)u->tokens_minute, "n_concurrent",
                    (json_int_t)u->n_concurrent);
}

static void give_users(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    const struct store_people *x = s->op.people;
    json_t *list = json_array();
    for (size_t i = 0; i < x->n_users; i++)
        json_array_append_new(list, user_of(&x->users[i]));
    api_call_json(c, 200, api_pack("{so}", "users", list));
}

void api_do_admin_users(struct api_call *c)
{
    struct store_people *x;
    struct api_stored *s = api_people_new(c, STORE_PEOPLE_GET, &x);
    if (!s)
        return;
    x->known = -1;
    api_stored_run(s, give_users);
}

static void give_user(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    const struct store_user *u = &s->op.people->users[0];
    log_at(LOG_INFO, "api", "user=%s role=%s disabled=%d by=%s", u->id, u->admin ? "admin" : "user",
           u->disabled != 0, api_people_log_name(c));
    if (u->disabled)
        api_bus_drop(c->api, u->id);
    api_call_json(c, 200, user_of(u));
}

/* What the table says of the user stays where the body says nothing. */
static bool read_change(struct api_call *c, const struct api_who *now, struct store_people *x)
{
    const struct api_in in = {c->body, "", &c->fault};
    const char *role = NULL;
    bool disabled = now->disabled;
    x->user.requests_minute = now->requests_minute;
    x->user.tokens_minute = now->tokens_minute;
    x->user.n_concurrent = now->n_concurrent;
    if (!api_get_text(&in, "role", &role) || !api_get_bool(&in, "disabled", &disabled) ||
        !api_get_int(&in, "requests_minute", 0, 1000000000, &x->user.requests_minute) ||
        !api_get_int(&in, "tokens_minute", 0, 1000000000000, &x->user.tokens_minute) ||
        !api_get_int(&in, "n_concurrent", 0, 1000000, &x->user.n_concurrent))
        return false;
    if (role && strcmp(role, "admin") != 0 && strcmp(role, "user") != 0)
        return api_get_refuse(&in, "role", "admin or user is expected");
    x->user.admin = role && strcmp(role, "admin") == 0;
    x->user.disabled = disabled ? os_unix_time() : 0;
    x->set = STORE_USER_SET_LIMITS | (role ? STORE_USER_SET_ADMIN : 0) |
             (disabled != now->disabled ? STORE_USER_SET_DISABLED : 0);
    return true;
}

/* The user of the address; false, and the call was answered: there is none. */
static bool named_user(struct api_call *c, struct api_who *who)
{
    if (api_people_id(c->api->people, http_param(c->req, "id"), who))
        return true;
    api_refuse(&c->fault, 404, "not_found", "", "there is no such user");
    api_call_fail(c);
    return false;
}

void api_do_admin_user_set(struct api_call *c)
{
    struct api_who now;
    struct store_people *x;
    if (!api_chats_write(c, false) || !named_user(c, &now))
        return;
    struct api_stored *s = api_people_new(c, STORE_USER_SET, &x);
    if (!s)
        return;
    x->user.id = api_stored_keep(s, now.id);
    if (read_change(c, &now, x)) {
        api_people_run(s, give_user);
        return;
    }
    api_call_fail(c);
    api_stored_free(s);
}

/* ---- links ---- */

static json_t *pass_of(struct api_call *c, const struct store_pass *p)
{
    struct api_who who;
    bool known = p->user && api_people_id(c->api->people, p->user, &who);
    return api_pack("{ss ss ss ss sI sI sI}", "id", p->id, "kind",
                    p->user ? "password" : "invitation", "role", p->admin ? "admin" : "user",
                    "note",
                    known     ? who.name
                    : p->note ? p->note
                              : "",
                    "uses_left", (json_int_t)p->n_left, "created", (json_int_t)p->created,
                    "expires", (json_int_t)p->expires);
}

static void give_passes(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    const struct store_people *x = s->op.people;
    json_t *list = json_array();
    for (size_t i = 0; i < x->n_passes; i++)
        json_array_append_new(list, pass_of(c, &x->passes[i]));
    api_call_json(c, 200, api_pack("{so}", "invitations", list));
}

void api_do_admin_invitations(struct api_call *c)
{
    struct store_people *x;
    struct api_stored *s = api_people_new(c, STORE_PASS_LIST, &x);
    if (s)
        api_stored_run(s, give_passes);
}

static void give_pass(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    const struct store_pass *p = &s->op.people->pass;
    log_at(LOG_INFO, "api", "link=%s kind=%s role=%s by=%s", p->id,
           p->user ? "password" : "invitation", p->admin ? "admin" : "user",
           api_people_log_name(c));
    json_t *o = pass_of(c, p);
    json_object_set_new(o, "token", json_string(s->body.p)); /* this once */
    api_call_json(c, 200, o);
}

static void make_pass(struct api_call *c, struct api_stored *s, struct store_people *x,
                      int64_t seconds)
{
    char token[API_TOKEN_CHARS + 1];
    api_token_new(token, x->pass.hash);
    str_add_cstr(&s->body, token);
    x->pass.id = api_new_id(&s->arena, "invite-");
    x->pass.by = api_stored_keep(s, c->owner);
    x->pass.created = os_unix_time();
    x->pass.expires = x->pass.created + seconds;
    api_stored_run(s, give_pass);
}

static bool read_invite(struct api_call *c, struct store_pass *p, int64_t *hours)
{
    const struct api_in in = {c->body, "", &c->fault};
    const char *role = NULL;
    *hours = 72;
    p->n_left = 1;
    if (!api_get_text(&in, "role", &role) || !api_get_text(&in, "note", &p->note) ||
        !api_get_int(&in, "hours", 1, INVITE_HOURS_MAX, hours) ||
        !api_get_int(&in, "uses", 1, INVITE_USES_MAX, &p->n_left))
        return false;
    if (role && strcmp(role, "admin") != 0 && strcmp(role, "user") != 0)
        return api_get_refuse(&in, "role", "admin or user is expected");
    if (p->note && (strlen(p->note) > 200 || !utf8_printable(span_of(p->note))))
        return api_get_refuse(&in, "note", "one line of at most 200 bytes is expected");
    p->admin = role && strcmp(role, "admin") == 0;
    if (p->admin && p->n_left > 1)
        return api_get_refuse(&in, "uses", "an invitation for an admin is used once");
    return true;
}

void api_do_admin_invite(struct api_call *c)
{
    struct store_pass p = {.n_left = 1};
    struct store_people *x;
    int64_t hours;
    if (!api_chats_write(c, true))
        return;
    if (!c->api->o.accounts)
        api_refuse(&c->fault, 404, "no_accounts", "", "this server runs without accounts");
    if (c->fault.status || !read_invite(c, &p, &hours)) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_people_new(c, STORE_PASS_ADD, &x);
    if (!s)
        return;
    x->pass = p;
    x->pass.note = api_stored_keep(s, p.note);
    make_pass(c, s, x, hours * 3600);
}

void api_do_admin_user_reset(struct api_call *c)
{
    struct api_who who;
    struct store_people *x;
    if (!api_chats_write(c, true) || !named_user(c, &who))
        return;
    struct api_stored *s = api_people_new(c, STORE_PASS_ADD, &x);
    if (!s)
        return;
    x->pass.user = api_stored_keep(s, who.id);
    x->pass.n_left = 1;
    make_pass(c, s, x, RESET_S);
}

static void pass_ended(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    log_at(LOG_INFO, "api", "link=%s ended_by=%s", s->op.people->pass.id, api_people_log_name(c));
    api_call_json(c, 200, api_pack("{sb}", "deleted", 1));
}

void api_do_admin_uninvite(struct api_call *c)
{
    struct store_people *x;
    struct api_stored *s = api_people_new(c, STORE_PASS_END, &x);
    if (!s)
        return;
    x->pass.id = api_stored_keep(s, http_param(c->req, "id"));
    api_stored_run(s, pass_ended);
}
