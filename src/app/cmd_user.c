/* SPDX-License-Identifier: MIT
 * cmd_user.c - damso user: makes users of a server with accounts, lists, disables them, and gives
 * links by which they set a password.  A running server follows within about a second. */
#include "api/api_password.h"
#include "api/api_people.h"
#include "app/cmd.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define LINK_S (48 * 3600)

struct work {
    struct store *store;
    const struct conf *conf;
    struct arena tmp;
    const char *name, *folded;
    bool admin, password; /* options of add; password also of reset */
};

/* ---- passwords ---- */

/* A line of stdin, without echo on a terminal. */
static enum err read_line(const char *prompt, char *out, size_t room, struct errinfo *e)
{
    struct termios old, quiet;
    bool tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old) == 0;
    if (tty) {
        fprintf(stderr, "%s: ", prompt);
        quiet = old;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    bool got = fgets(out, (int)room, stdin) != NULL;
    if (tty) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
        fputc('\n', stderr);
    }
    size_t n = got ? strcspn(out, "\r\n") : 0;
    if (got && !out[n] && n + 1 == room)
        return err_set(e, ERR_TOOBIG, "a password has at most %d bytes", API_PASSWORD_BYTES_MAX);
    out[n] = 0;
    return got ? ERR_OK : err_set(e, ERR_USAGE, "no password was given on stdin");
}

static enum err ask_password(char hash[API_PASSWORD_HASH], struct errinfo *e)
{
    char text[API_PASSWORD_BYTES_MAX + 2], again[API_PASSWORD_BYTES_MAX + 2];
    struct api_password p = {.n = 0};
    struct api_fault f = {0};
    enum err r = read_line("password", text, sizeof text, e);
    if (r == ERR_OK && isatty(STDIN_FILENO)) {
        r = read_line("once more", again, sizeof again, e);
        if (r == ERR_OK && strcmp(text, again) != 0)
            r = err_set(e, ERR_USAGE, "the two are not the same");
    }
    if (r == ERR_OK && !api_password_read(&p, text, "password", true, &f))
        r = err_set(e, ERR_USAGE, "%s", f.text);
    if (r == ERR_OK)
        r = api_password_hash(&p, hash, e);
    explicit_bzero(text, sizeof text);
    explicit_bzero(again, sizeof again);
    explicit_bzero(&p, sizeof p);
    return r;
}

/* ---- links ---- */

static enum err print_link(struct work *w, const char *user, struct errinfo *e)
{
    char token[API_TOKEN_CHARS + 1];
    const struct conf *c = w->conf;
    struct store_people x = {
        .pass = {.user = user, .n_left = 1}
    };
    x.pass.id = api_new_id(&w->tmp, "invite-");
    x.pass.created = os_unix_time();
    x.pass.expires = x.pass.created + LINK_S;
    api_token_new(token, x.pass.hash);
    struct store_op op = {.what = STORE_PASS_ADD, .people = &x};
    TRY(store_run(w->store, &op, e));
    bool v6 = strchr(c->host, ':') != NULL;
    printf("%s://%s%s%s:%lld/#/join/%s\n", c->tls_cert[0] ? "https" : "http", v6 ? "[" : "",
           c->host, v6 ? "]" : "", (long long)c->port, token);
    fprintf(stderr,
            "the link sets %s's password: good once, for %d hours; behind another name or "
            "port, change its beginning\n",
            w->name, LINK_S / 3600);
    return ERR_OK;
}

/* ---- what there is to do ---- */

static enum err read_people(struct work *w, struct store_people *x, struct errinfo *e)
{
    *x = (struct store_people){.known = -1};
    struct store_op op = {.what = STORE_PEOPLE_GET, .people = x, .arena = &w->tmp};
    return store_run(w->store, &op, e);
}

static enum err find_user(struct work *w, const struct store_user **out, struct errinfo *e)
{
    struct store_people x;
    TRY(read_people(w, &x, e));
    for (size_t i = 0; i < x.n_users; i++) {
        *out = &x.users[i];
        if (strcmp(x.users[i].folded, w->folded) == 0)
            return ERR_OK;
    }
    return err_set(e, ERR_NOTFOUND, "there is no user '%.64s'", w->name);
}

static enum err set_user(struct work *w, struct store_people *x, struct errinfo *e)
{
    struct store_op op = {.what = STORE_USER_SET, .people = x, .arena = &w->tmp};
    return store_run(w->store, &op, e);
}

static enum err add(struct work *w, struct errinfo *e)
{
    char hash[API_PASSWORD_HASH] = "";
    struct store_people x = {
        .user = {.name = w->name, .folded = w->folded, .admin = w->admin}
    };
    if (w->password)
        TRY(ask_password(hash, e));
    x.user.id = api_new_id(&w->tmp, "user-");
    x.user.password = hash;
    struct store_op op = {.what = STORE_USER_ADD, .people = &x, .arena = &w->tmp};
    TRY(store_run(w->store, &op, e));
    fprintf(stderr, "user %s (%s): %s\n", w->name, x.user.id, w->admin ? "admin" : "user");
    return w->password ? ERR_OK : print_link(w, x.user.id, e);
}

static const char *date_text(struct arena *a, int64_t at)
{
    char text[32];
    struct tm tm;
    time_t t = (time_t)at;
    if (!at || !gmtime_r(&t, &tm))
        return "-";
    strftime(text, sizeof text, "%Y-%m-%d", &tm);
    return arena_dup(a, text, strlen(text));
}

static enum err list(struct work *w, struct errinfo *e)
{
    struct store_people x;
    TRY(read_people(w, &x, e));
    printf("%-6s  %-9s  %-10s  %-10s  %8s  %s\n", "ROLE", "STATE", "MADE", "SEEN", "SESSIONS",
           "NAME");
    for (size_t i = 0; i < x.n_users; i++) {
        const struct store_user *u = &x.users[i];
        size_t n = 0;
        for (size_t k = 0; k < x.n_sessions; k++)
            n += strcmp(x.sessions[k].user, u->id) == 0;
        printf("%-6s  %-9s  %-10s  %-10s  %8zu  %s\n", u->admin ? "admin" : "user",
               u->disabled    ? "disabled"
               : *u->password ? "good"
                              : "invited",
               date_text(&w->tmp, u->created), date_text(&w->tmp, u->seen), n, u->name);
    }
    return ERR_OK;
}

static enum err set_disabled(struct work *w, bool disabled, struct errinfo *e)
{
    const struct store_user *u;
    TRY(find_user(w, &u, e));
    struct store_people x = {
        .user = {.id = u->id, .disabled = disabled ? os_unix_time() : 0},
        .set = STORE_USER_SET_DISABLED
    };
    TRY(set_user(w, &x, e));
    fprintf(stderr, "user %s is %s\n", u->name, disabled ? "disabled" : "enabled");
    return ERR_OK;
}

static enum err disable(struct work *w, struct errinfo *e)
{
    return set_disabled(w, true, e);
}

static enum err enable(struct work *w, struct errinfo *e)
{
    return set_disabled(w, false, e);
}

static enum err reset(struct work *w, struct errinfo *e)
{
    char hash[API_PASSWORD_HASH];
    const struct store_user *u;
    TRY(find_user(w, &u, e));
    if (!w->password)
        return print_link(w, u->id, e);
    TRY(ask_password(hash, e));
    struct store_people x = {
        .user = {.id = u->id, .password = hash},
          .set = STORE_USER_SET_PASSWORD
    };
    TRY(set_user(w, &x, e));
    fprintf(stderr, "user %s has the new password, and no session\n", u->name);
    return ERR_OK;
}

static const struct {
    const char *name;
    enum err (*run)(struct work *w, struct errinfo *e);
    int n_left;
    const char *needs;
} verbs[] = {
    {"add",     add,     2, "a NAME"      },
    {"list",    list,    1, "nothing else"},
    {"disable", disable, 2, "a NAME"      },
    {"enable",  enable,  2, "a NAME"      },
    {"reset",   reset,   2, "a NAME"      },
};

static enum err find_verb(const struct cmd_args *a, const struct work *w, size_t *verb,
                          struct errinfo *e)
{
    const char *names[N_ELEMS(verbs)];
    size_t i = 0;
    while (i < N_ELEMS(verbs) && strcmp(a->left[0], verbs[i].name) != 0) {
        names[i] = verbs[i].name;
        i++;
    }
    if (i == N_ELEMS(verbs)) {
        const char *near = conf_nearest(a->left[0], names, N_ELEMS(verbs));
        return err_set(e, ERR_USAGE,
                       "a user can be added, listed, disabled, enabled, reset; not '%.64s'%s%s%s",
                       a->left[0], near ? "; did you mean '" : "", near ? near : "",
                       near ? "'?" : "");
    }
    if (a->n_left != verbs[i].n_left)
        return err_set(e, ERR_USAGE, "`damso user %s` takes %s", verbs[i].name, verbs[i].needs);
    if ((w->admin && verbs[i].run != add) ||
        (w->password && verbs[i].run != add && verbs[i].run != reset))
        return err_set(e, ERR_USAGE,
                       "--admin is for `damso user add`, --password for add and "
                       "reset");
    *verb = i;
    return ERR_OK;
}

static enum err run(struct work *w, size_t verb, const char *name, struct errinfo *e)
{
    struct api_fault f = {0};
    if (name && !api_name_read(name, &w->tmp, &w->name, &w->folded, &f))
        return err_set(e, ERR_USAGE, "%s", f.text);
    TRY(store_open(&w->store, w->conf->store, e));
    enum err err = verbs[verb].run(w, e);
    store_close(w->store);
    return err;
}

enum err cmd_user(struct cmd_args *a, struct errinfo *e)
{
    struct work w = {.conf = &a->conf};
    size_t verb;
    const struct conf_opt opts[] = {
        {.name = "admin",    .flag = &w.admin, .help = "make an admin (add)"                 },
        {.name = "password",
         .flag = &w.password,
         .help = "ask for a password, or read it from stdin, in place of a link (add, reset)"},
    };
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 1, 2, e));
    if (a->done)
        return ERR_OK;
    TRY(find_verb(a, &w, &verb, e));
    arena_init(&w.tmp);
    enum err err = run(&w, verb, a->left[1], e);
    arena_done(&w.tmp);
    return err;
}
