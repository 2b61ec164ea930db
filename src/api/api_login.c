/* SPDX-License-Identifier: MIT
 * api_login.c - coming in and going: a session by name and password, or by a link of an admin.
 *
 * What fails takes as long whether or not there is such a name: a password is always hashed. */
#include "api/api_bus.h"
#include "api/api_chats.h"
#include "api/api_password.h"
#include "api/api_people.h"
#include "api/api_tries.h"

#include "base/log.h"
#include "os/os_sys.h"

#include <stdio.h>
#include <string.h>

/* A login or a join under way; of the request's arena. */
struct coming {
    struct api_password password;
    const char *name, *folded; /* as typed, and as compared */
    char user[API_USER_ID_MAX + 1];
    unsigned char pass[STORE_TOKEN_HASH_BYTES];
    bool known, disabled, sets; /* sets: a password of a user who is there */
};

/* False, and the call was answered: the server has no accounts, or the request is from elsewhere.
 */
static bool may_come(struct api_call *c)
{
    if (!c->api->o.accounts)
        api_refuse(&c->fault, 404, "no_accounts", "", "this server runs without accounts");
    else if (api_people_same_origin(c->req, &c->fault))
        return true;
    api_call_fail(c);
    return false;
}

static json_t *user_json(const char *id, const char *name, bool admin)
{
    return api_pack("{ss ss ss}", "id", id, "name", name, "role", admin ? "admin" : "user");
}

static void tell_session(struct api_call *c, struct api_stored *s)
{
    (void)s;
    struct api_who *who = arena_alloc(c->req->arena, sizeof *who);
    bool accounts = c->api->o.accounts;
    bool known = accounts && api_people_session(c->api->people, c->req, who);
    api_call_json(c, 200,
                  api_pack("{sb so sb}", "accounts", (int)accounts, "user",
                           known ? user_json(who->id, who->name, who->admin) : json_null(), "empty",
                           accounts && api_people_count(c->api->people) == 0));
}

void api_do_session_get(struct api_call *c)
{
    if (c->api->o.accounts && api_people_unknown(c->api->people, c->req))
        api_people_look(c, tell_session);
    else
        tell_session(c, NULL);
}

/* ---- a session ---- */

static void give_session(struct api_call *c, struct api_stored *s)
{
    struct api_who *who = arena_alloc(c->req->arena, sizeof *who);
    const char *token = s->op.people->keep; /* lent: SESSION_ADD does not look at it */
    if (!api_people_ok(c, s))
        return;
    api_people_id(c->api->people, s->op.people->session.user, who);
    log_at(LOG_INFO, "api", "login=ok user=%s address=%s", who->id, api_call_address(c));
    api_people_give_cookie(c->api->people, c->req, token);
    api_call_json(c, 200, api_pack("{so}", "user", user_json(who->id, who->name, who->admin)));
}

static const char *cut(struct api_call *c, const char *text, size_t max)
{
    struct span s = span_of(text ? text : "");
    s.n = s.n > max ? utf8_complete((struct span){s.p, max}) : s.n;
    return utf8_printable(s) ? arena_dup(c->req->arena, s.p, s.n) : "";
}

/* was: the hash that the password was checked by; it may be another's by now. */
static void begin_session(struct api_call *c, const char *user, const char *was)
{
    struct store_people *x;
    struct api_stored *s = api_people_new(c, STORE_SESSION_ADD, &x);
    if (!s)
        return;
    char *token = arena_alloc(&s->arena, API_TOKEN_CHARS + 1);
    api_token_new(token, x->session.hash);
    x->session.id = api_new_id(&s->arena, "session-");
    x->session.user = api_stored_keep(s, user);
    x->was = api_stored_keep(s, was);
    x->session.created = x->session.used = os_unix_time();
    x->session.expires = x->session.created + API_SESSION_S;
    x->session.agent = api_stored_keep(s, cut(c, http_req_header(c->req, "user-agent"), 256));
    x->session.address = api_stored_keep(s, cut(c, api_call_address(c), 64));
    x->keep = token;
    api_people_run(s, give_session);
}

/* ---- by name and password ---- */

static void checked(struct api_call *c, struct api_password *p)
{
    struct coming *m = p->arg;
    const char *address = api_call_address(c);
    if (!p->good || !m->known) {
        log_at(LOG_WARN, "api", "login=refused user=%s address=%s", m->known ? m->user : "-",
               address);
        api_refuse(&c->fault, 401, "wrong_login", "", "the name or the password is wrong");
        api_call_fail(c);
        return;
    }
    if (m->disabled) { /* said to who knows the password alone */
        log_at(LOG_WARN, "api", "login=disabled user=%s address=%s", m->user, address);
        api_refuse(&c->fault, 403, "disabled", "", "this account is disabled");
        api_call_fail(c);
        return;
    }
    api_tries_good_all(c, &api_tries_address, address, false);
    api_tries_good_all(c, &api_tries_name, m->folded, true);
    begin_session(c, m->user, p->hash);
}

static bool read_login(struct api_call *c, struct coming *m)
{
    const struct api_in in = {c->body, "", &c->fault};
    const char *name = NULL, *password = NULL, *shown;
    if (!api_get_text(&in, "name", &name) || !api_get_text(&in, "password", &password))
        return false;
    if (!name || !password)
        return api_refuse(&c->fault, 400, "invalid_value", "", "name and password are expected");
    return api_name_read(name, c->req->arena, &shown, &m->folded, &c->fault) &&
           api_password_read(&m->password, password, "password", false, &c->fault);
}

static void try_login(struct api_call *c)
{
    struct coming *m = c->own;
    struct api_who *who = arena_alloc(c->req->arena, sizeof *who);
    api_call_drop(c); /* it has the password */
    m->known = api_people_named(c->api->people, m->folded, who) && *who->password;
    m->disabled = who->disabled;
    memcpy(m->user, who->id, sizeof m->user);
    m->password.arg = m;
    snprintf(m->password.hash, sizeof m->password.hash, "%s",
             m->known ? who->password : api_password_nobody(c->api->passwords));
    api_password_run(c, &m->password, checked);
}

void api_do_login(struct api_call *c)
{
    struct coming *m = arena_alloc(c->req->arena, sizeof *m);
    if (!may_come(c) || !api_chats_write(c, false))
        return;
    if (!read_login(c, m)) {
        api_call_fail(c);
        return;
    }
    c->own = m;
    const struct api_try tries[] = {
        {&api_tries_address, api_call_address(c)},
        {&api_tries_name,    m->folded          }
    };
    api_tries_ask(c, tries, 2, try_login);
}

/* ---- by a link ---- */

static bool read_token(struct api_call *c, unsigned char hash[STORE_TOKEN_HASH_BYTES])
{
    const struct api_in in = {c->body, "", &c->fault};
    const char *token = NULL;
    if (!api_get_text(&in, "token", &token))
        return false;
    if (!token || !api_token_hash(token, hash))
        return api_refuse(&c->fault, 404, "not_found", "", "this is no link to come in by");
    return true;
}

static void give_invitation(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    const struct store_people *x = s->op.people;
    const struct store_pass *p = &x->passes[0];
    bool admin = p->user ? x->users[0].admin : p->admin;
    api_tries_good_all(c, &api_tries_join, api_call_address(c), false);
    api_call_json(c, 200,
                  api_pack("{ss ss ss sI}", "kind", p->user ? "password" : "invitation", "role",
                           admin ? "admin" : "user", "name", p->user ? x->users[0].name : "",
                           "expires", (json_int_t)p->expires));
}

static void find_invitation(struct api_call *c)
{
    struct store_people *x;
    struct api_stored *s = api_people_new(c, STORE_PASS_GET, &x);
    if (!s)
        return;
    memcpy(x->pass.hash, c->own, sizeof x->pass.hash);
    api_stored_run(s, give_invitation);
}

void api_do_invitation(struct api_call *c)
{
    unsigned char *hash = arena_alloc(c->req->arena, STORE_TOKEN_HASH_BYTES);
    if (!may_come(c) || !api_chats_write(c, false))
        return;
    if (!read_token(c, hash)) {
        api_call_fail(c);
        return;
    }
    c->own = hash;
    api_tries_ask(c, &(const struct api_try){&api_tries_join, api_call_address(c)}, 1,
                  find_invitation);
}

static void joined(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    const struct store_user *u = &s->op.people->users[0];
    log_at(LOG_INFO, "api", "join=%s user=%s role=%s by=%s address=%s",
           s->op.what == STORE_USER_ADD ? "new" : "password", u->id, u->admin ? "admin" : "user",
           s->op.people->passes[0].by, api_call_address(c));
    if (s->op.what == STORE_USER_SET)
        api_bus_drop(c->api, u->id);
    api_tries_good_all(c, &api_tries_join, api_call_address(c), false);
    if (u->disabled) {
        api_refuse(&c->fault, 403, "disabled", "", "this account is disabled");
        api_call_fail(c);
        return;
    }
    begin_session(c, arena_dup(c->req->arena, u->id, strlen(u->id)), u->password);
}

static void hashed(struct api_call *c, struct api_password *p)
{
    struct coming *m = p->arg;
    struct store_people *x;
    if (!p->good) {
        api_refuse(&c->fault, 503, "", "", "no memory to hash a password");
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_people_new(c, m->sets ? STORE_USER_SET : STORE_USER_ADD, &x);
    if (!s)
        return;
    x->by_pass = true;
    memcpy(x->pass.hash, m->pass, sizeof m->pass);
    x->user.password = api_stored_keep(s, p->hash);
    if (m->sets) {
        x->set = STORE_USER_SET_PASSWORD;
    } else {
        x->user.id = api_new_id(&s->arena, "user-");
        x->user.name = api_stored_keep(s, m->name);
        x->user.folded = api_stored_keep(s, m->folded);
    }
    api_people_run(s, joined);
}

/* The link is good, or no password would be hashed for it. */
static void found(struct api_call *c, struct api_stored *s)
{
    struct coming *m = c->own;
    if (!api_people_ok(c, s))
        return;
    m->sets = s->op.people->passes[0].user != NULL;
    if (!m->sets && !m->name) {
        api_refuse(&c->fault, 400, "invalid_value", "name", "name: is missing");
        api_call_fail(c);
        return;
    }
    api_password_run(c, &m->password, hashed);
}

static bool read_join(struct api_call *c, struct coming *m)
{
    const struct api_in in = {c->body, "", &c->fault};
    const char *name = NULL, *password = NULL;
    if (!api_get_text(&in, "name", &name) || !api_get_text(&in, "password", &password) ||
        !read_token(c, m->pass))
        return false;
    if (!password)
        return api_refuse(&c->fault, 400, "invalid_value", "password", "password: is missing");
    if (name && !api_name_read(name, c->req->arena, &m->name, &m->folded, &c->fault))
        return false;
    return api_password_read(&m->password, password, "password", true, &c->fault);
}

static void try_join(struct api_call *c)
{
    struct coming *m = c->own;
    struct store_people *x;
    api_call_drop(c); /* it has the password */
    struct api_stored *s = api_people_new(c, STORE_PASS_GET, &x);
    if (!s)
        return;
    m->password.arg = m;
    memcpy(x->pass.hash, m->pass, sizeof m->pass);
    api_stored_run(s, found);
}

void api_do_join(struct api_call *c)
{
    struct coming *m = arena_alloc(c->req->arena, sizeof *m);
    if (!may_come(c) || !api_chats_write(c, false))
        return;
    if (!read_join(c, m)) {
        api_call_fail(c);
        return;
    }
    c->own = m;
    api_tries_ask(c, &(const struct api_try){&api_tries_join, api_call_address(c)}, 1, try_join);
}

/* ---- going ---- */

static void gone(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    log_at(LOG_INFO, "api", "logout=1 user=%s", s->op.people->session.user);
    api_bus_drop(c->api, s->op.people->session.user);
    api_people_take_cookie(c->api->people, c->req);
    api_call_json(c, 200, api_pack("{sb}", "ended", 1));
}

void api_do_logout(struct api_call *c)
{
    struct api_who *who = arena_alloc(c->req->arena, sizeof *who);
    struct store_people *x;
    if (!may_come(c) || !api_chats_write(c, true))
        return;
    if (!api_people_session(c->api->people, c->req, who)) { /* it has ended already */
        api_people_take_cookie(c->api->people, c->req);
        api_call_json(c, 200, api_pack("{sb}", "ended", 0));
        return;
    }
    struct api_stored *s = api_people_new(c, STORE_SESSION_END, &x);
    if (!s)
        return;
    x->session.id = api_stored_keep(s, who->session);
    x->session.user = api_stored_keep(s, who->id);
    api_people_run(s, gone);
}

/* ---- the first ---- */

enum err api_setup_link(struct api *a, char token[API_SETUP_CHARS + 1], struct errinfo *e)
{
    _Static_assert(API_SETUP_CHARS == API_TOKEN_CHARS, "it is a token");
    struct arena tmp;
    struct store_people x = {
        .pass = {.by = "setup", .admin = true, .n_left = 1}
    };
    *token = 0;
    if (!a->o.accounts || api_people_count(a->people))
        return ERR_OK;
    arena_init(&tmp);
    x.pass.id = api_new_id(&tmp, "invite-");
    x.pass.created = os_unix_time();
    x.pass.expires = x.pass.created + 7 * 86400;
    api_token_new(token, x.pass.hash);
    struct store_op end = {.what = STORE_PASS_SETUP_END, .people = &x};
    struct store_op add = {.what = STORE_PASS_ADD, .people = &x};
    enum err r = store_run(a->o.store, &end, e);
    if (r == ERR_OK)
        r = store_run(a->o.store, &add, e);
    arena_done(&tmp);
    return r;
}
