/* SPDX-License-Identifier: MIT
 * cmd_key.c - damso key: makes API keys, lists and revokes them.  A running server follows. */
#include "app/cmd.h"

#include "base/num.h"
#include "os/os_sys.h"
#include "store/store.h"
#include "store/store_key.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY_S 86400

struct wanted {
    const char *scopes;
    int64_t days, requests_minute, tokens_minute, n_concurrent; /* 0: not given */
};

static enum err add(struct store *s, const char *name, const struct wanted *w, struct arena *a,
                    struct errinfo *e)
{
    unsigned scopes;
    struct str text;
    char secret[STORE_KEY_CHARS + 1];
    TRY(store_scopes_read(w->scopes, &scopes, e));
    str_init(&text, STORE_TEXT_BYTES_MAX);
    store_scopes_text(scopes, &text);
    struct store_key key = {.name = name,
                            .scopes = arena_dup(a, text.p, text.n),
                            .expires = w->days ? os_unix_time() + w->days * DAY_S : 0,
                            .requests_minute = w->requests_minute,
                            .tokens_minute = w->tokens_minute,
                            .n_concurrent = w->n_concurrent};
    str_done(&text);
    TRY(store_key_make(s, &key, secret, a, e));
    printf("%s\n", secret);
    fprintf(stderr, "key %s: %s; the text is shown this once, only its hash is kept\n", key.id,
            key.scopes);
    return ERR_OK;
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

static const char *limit_text(struct arena *a, int64_t n)
{
    return n ? arena_printf(a, "%lld", (long long)n) : "-";
}

static enum err list(struct store *s, struct arena *a, struct errinfo *e)
{
    struct store_op op = {.what = STORE_KEY_LIST, .arena = a};
    int64_t now = os_unix_time();
    TRY(store_run(s, &op, e));
    printf("%-8s  %-7s  %-10s  %-10s  %-10s  %6s  %8s  %4s  %-26s  %s\n", "ID", "STATE", "MADE",
           "EXPIRES", "USED", "RPM", "TPM", "CONC", "SCOPES", "NAME");
    for (size_t i = 0; i < op.n; i++) {
        const struct store_key *k = &op.keys[i];
        const char *state = k->revoked                        ? "revoked"
                            : k->expires && k->expires <= now ? "expired"
                                                              : "good";
        printf("%-8s  %-7s  %-10s  %-10s  %-10s  %6s  %8s  %4s  %-26s  %s\n", k->id, state,
               date_text(a, k->created), date_text(a, k->expires), date_text(a, k->used),
               limit_text(a, k->requests_minute), limit_text(a, k->tokens_minute),
               limit_text(a, k->n_concurrent), k->scopes, k->name);
    }
    return ERR_OK;
}

static enum err revoke(struct store *s, const char *id, struct errinfo *e)
{
    struct store_op op = {.what = STORE_KEY_REVOKE, .key.id = id};
    TRY(store_run(s, &op, e));
    fprintf(stderr, "key %s is revoked\n", id);
    return ERR_OK;
}

/* What there is to do: its name, and the arguments that it takes. */
enum { ADD, LIST, REVOKE };
static const struct {
    const char *name;
    int n_left;
    const char *needs;
} verbs[] = {
    [ADD] = {"add",    2, "a NAME for the key"},
    [LIST] = {"list",   1, "nothing else"      },
    [REVOKE] = {"revoke", 2, "the ID of a key"   },
};

static enum err find_verb(const struct cmd_args *a, bool options, size_t *verb, struct errinfo *e)
{
    const char *names[N_ELEMS(verbs)];
    size_t i = 0;
    while (i < N_ELEMS(verbs) && strcmp(a->left[0], verbs[i].name) != 0) {
        names[i] = verbs[i].name;
        i++;
    }
    if (i == N_ELEMS(verbs)) {
        const char *near = conf_nearest(a->left[0], names, N_ELEMS(verbs));
        return err_set(e, ERR_USAGE, "a key can be added, listed, revoked; not '%.64s'%s%s%s",
                       a->left[0], near ? "; did you mean '" : "", near ? near : "",
                       near ? "'?" : "");
    }
    if (a->n_left != verbs[i].n_left)
        return err_set(e, ERR_USAGE, "`damso key %s` takes %s", verbs[i].name, verbs[i].needs);
    if (options && strcmp(verbs[i].name, "add") != 0)
        return err_set(e, ERR_USAGE, "scopes, expiry and limits are set by `damso key add`");
    *verb = i;
    return ERR_OK;
}

static const char scopes_help[] = "what it opens (add), of"
#define SCOPE(upper, name, help) " " #name
#include "store/store_scope.def"
#undef SCOPE
                                  "; chat and models when not given";

enum err cmd_key(struct cmd_args *a, struct errinfo *e)
{
    struct wanted w = {0};
    const struct conf_opt opts[] = {
        {.name = "scopes",             .arg = "NAMES", .text = &w.scopes, .help = scopes_help},
        { .name = "expires",
         .arg = "DAYS",
         .number = &w.days,
         .min = 1,
         .max = 36500,
         .help = "how long it is good (add); until it is revoked when not given"},
        {              .name = "rpm",
         .arg = "N",
         .number = &w.requests_minute,
         .min = 1,
         .max = 1000000000,
         .help = "most requests a minute (add)"},
        {                                               .name = "tpm",
         .arg = "N",
         .number = &w.tokens_minute,
         .min = 1,
         .max = 1000000000000,
         .help = "most tokens a minute (add)"},
        {                                                 .name = "concurrent",
         .arg = "N",
         .number = &w.n_concurrent,
         .min = 1,
         .max = 1000000,
         .help = "most requests at once (add)"},
    };
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 1, 2, e));
    if (a->done)
        return ERR_OK;
    bool options = w.scopes || w.days || w.requests_minute || w.tokens_minute || w.n_concurrent;
    size_t verb;
    TRY(find_verb(a, options, &verb, e));
    w.scopes = w.scopes ? w.scopes : "chat models";
    struct store *s;
    struct arena tmp;
    TRY(store_open(&s, a->conf.store, e));
    arena_init(&tmp);
    enum err err = verb == ADD    ? add(s, a->left[1], &w, &tmp, e)
                   : verb == LIST ? list(s, &tmp, e)
                                  : revoke(s, a->left[1], e);
    arena_done(&tmp);
    store_close(s);
    return err;
}
