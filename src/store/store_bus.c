/* SPDX-License-Identifier: MIT
 * Who tells locks the row of events_last until its commit, so numbers are given in the order of
 * commits, and a reader that has seen number N has seen all below it. */
#include "store/store_bus.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"
#include "store/store_postgres_int.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BEATS           5 /* in a lease: so many signs of life would have to be missed */
#define BEAT_NS_MAX     1000000000u
#define AGAIN_NS        100000000u /* until the next, after one that failed or found work */
#define PACE_NS         8000000u /* between two looks or tellings: what comes meanwhile goes together */
#define TOLD_AT_ONCE    200
#define READ_AT_ONCE    1000
#define TELL_BYTES_MAX  ((size_t)16 << 20) /* that wait for a database that is away */
#define EVENT_BYTES_MAX ((size_t)8 << 20)

struct told {
    struct told *next;
    size_t bytes;
    struct span owner, chat, text; /* behind it, each with a NUL */
};

struct store_bus {
    struct store_postgres *s; /* the thread's */
    const struct store_bus_ops *ops;
    void *arg;
    pthread_t thread;
    int wake_fd;
    uint64_t every_ns, beat_ns, paced_ns; /* between beats; of the last one */
    uint64_t since_ns; /* beats have come without a gap of a lease; 0: none yet */

    pthread_mutex_t mu;
    struct told *told, **told_tail;
    struct store_bus_call *calls, **calls_tail;
    size_t told_bytes;
    uint64_t good_ns; /* the last beat; 0: none yet */
    bool cut;         /* something was not told: all begin anew */
    bool look, stop;
    bool tried; /* the first turn is over, whether the database was there or not */
    pthread_cond_t trying;
};

/* ---- statements ---- */

static PGresult *bus_run(struct store_bus *b, const char *text, int n, const char *const *args)
{
    PGresult *last = NULL, *res;
    if (!PQsendQueryParams(b->s->conn, text, n, NULL, args, NULL, NULL, 0))
        return NULL;
    while ((res = store_postgres_result(b->s))) {
        PQclear(last);
        last = res;
    }
    return last;
}

static bool is_good(struct store_bus *b, const PGresult *res)
{
    struct errinfo e;
    ExecStatusType status = PQresultStatus(res);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        return true;
    store_postgres_fail(b->s, res, &e);
    log_at(LOG_WARN, "store", "bus=\"%s\"", e.text);
    return false;
}

static uint64_t number(const PGresult *res, int row, int column)
{
    return PQgetisnull(res, row, column) ? 0 : strtoull(PQgetvalue(res, row, column), NULL, 10);
}

static bool bus_command(struct store_bus *b, const char *text)
{
    PGresult *res = bus_run(b, text, 0, NULL);
    bool good = is_good(b, res);
    PQclear(res);
    return good;
}

/* The first server of a new database, and the first after a crash. */
static bool new_epoch(struct store_bus *b)
{
    char text[160];
    snprintf(text, sizeof text,
             "INSERT INTO events_last VALUES (1, %lld, 0, 0) ON CONFLICT (one) DO NOTHING",
             (long long)randombytes_uniform(INT32_MAX) << 20 | randombytes_uniform(1 << 20));
    return bus_command(b, text);
}

/* ---- signs of life ---- */

/* What is too old for anyone; one of the servers is enough. */
static bool forget(struct store_bus *b)
{
    char text[1024];
    snprintf(text, sizeof text,
             "WITH d AS (DELETE FROM events WHERE n IN (SELECT n FROM events WHERE told < now() "
             "- interval '%d seconds' ORDER BY told LIMIT 5000) RETURNING n), s AS (DELETE FROM "
             "limit_slots AS l WHERE NOT EXISTS (SELECT 1 FROM beats WHERE id = l.runner)), "
             "r AS (DELETE FROM beats WHERE beat < now() - interval '1 day'), "
             "t AS (DELETE FROM tries WHERE last < now() - interval '1 day') "
             "UPDATE events_last SET gone = greatest(gone, (SELECT max(n) FROM d)) "
             "WHERE EXISTS (SELECT 1 FROM d)",
             STORE_BUS_KEPT_S);
    return bus_command(b, text);
}

/* Ends the connections of servers that are silent for a lease, which ends what they have begun and
 * frees the rows that they hold; once they wake they connect anew, and their turns are over.
 * *n: connections.  Connections of another role may not be ended and are left alone. */
static bool fence(struct store_bus *b, uint64_t *n)
{
    char text[1024];
    long long lease_ms = (long long)b->s->db.lease_ms;
    snprintf(text, sizeof text,
             "SELECT count(pg_terminate_backend(a.pid)) FROM beats AS r JOIN pg_locks AS l ON "
             "l.locktype = 'advisory' AND l.classid = %d AND CAST(l.objid AS BIGINT) = r.id AND "
             "l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
             "JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.usename = current_user "
             "WHERE r.id <> %lld AND r.beat < clock_timestamp() - interval '%lld milliseconds' "
             "AND pg_postmaster_start_time() < clock_timestamp() - interval '%lld milliseconds'",
             STORE_PG_LOCKS, (long long)b->s->runner, lease_ms, 2 * lease_ms);
    PGresult *res = bus_run(b, text, 0, NULL);
    bool good = is_good(b, res);
    *n = good ? number(res, 0, 0) : 0;
    PQclear(res);
    if (*n)
        log_at(LOG_WARN, "store", "ended=%llu why=\"a server is silent for %lld ms\"",
               (unsigned long long)*n, lease_ms);
    return good;
}

/* After an outage all come back at their own pace: who was not heard for a lease itself judges
 * nobody for another one. */
static bool may_judge(struct store_bus *b, uint64_t now)
{
    uint64_t lease_ns = (uint64_t)b->s->db.lease_ms * 1000000;
    pthread_mutex_lock(&b->mu);
    if (!b->good_ns || now - b->good_ns > lease_ns)
        b->since_ns = now;
    b->good_ns = now;
    pthread_mutex_unlock(&b->mu);
    return now - b->since_ns >= lease_ns;
}

/* *soon: there is more to look for. */
static bool beat(struct store_bus *b, bool *soon)
{
    char text[160];
    uint64_t n = 0;
    snprintf(text, sizeof text,
             "INSERT INTO beats (id, beat) VALUES (%lld, now()) ON CONFLICT (id) DO UPDATE SET "
             "beat = now()", /* not in `runners`, whose rows the store's transactions change */
             (long long)b->s->runner);
    if (!bus_command(b, text))
        return false;
    bool good = !may_judge(b, os_now_ns()) || fence(b, &n);
    if (good && randombytes_uniform(10) == 0)
        good = forget(b);
    *soon = n > 0;
    b->ops->beat(b->arg);
    return good;
}

/* Comes before everything else, and between the parts of what may take long: a lease is not to be
 * lost for others' sake. */
static void beat_in_time(struct store_bus *b)
{
    bool soon = false;
    uint64_t now = os_now_ns();
    if (now - b->beat_ns < b->every_ns)
        return;
    bool good = beat(b, &soon);
    b->beat_ns = good && !soon ? now : now - b->every_ns + MIN(AGAIN_NS, b->every_ns);
}

/* ---- telling ---- */

static struct told *take_told(struct store_bus *b, bool *cut)
{
    pthread_mutex_lock(&b->mu);
    struct told *first = b->told;
    b->told = NULL;
    b->told_tail = &b->told;
    *cut = b->cut;
    b->cut = false;
    pthread_mutex_unlock(&b->mu);
    return first;
}

/* What could not be told goes before what came meanwhile. */
static void put_back(struct store_bus *b, struct told *first, bool cut)
{
    struct told **tail = &first;
    while (*tail)
        tail = &(*tail)->next;
    pthread_mutex_lock(&b->mu);
    if (first && !b->told)
        b->told_tail = tail;
    *tail = b->told;
    b->told = first;
    b->cut |= cut;
    pthread_mutex_unlock(&b->mu);
}

/* Tells up to TOLD_AT_ONCE of them; n: how many. */
static bool tell_some(struct store_bus *b, const struct told *first, size_t *n)
{
    const char *args[3 * TOLD_AT_ONCE];
    struct str text;
    const struct told *t = first;
    for (*n = 0; t && *n < TOLD_AT_ONCE; t = t->next, ++*n) {
        args[3 * *n] = t->owner.p;
        args[3 * *n + 1] = t->chat.p;
        args[3 * *n + 2] = t->text.p;
    }
    str_init(&text, 65536);
    str_addf(&text,
             "WITH c AS (UPDATE events_last SET n = n + %zu RETURNING n - %zu AS base), i AS ("
             "INSERT INTO events (n, owner, chat, body) SELECT c.base + v.i, v.o, v.c, v.b FROM c, "
             "(VALUES ",
             *n, *n);
    for (size_t i = 0; i < *n; i++)
        str_addf(&text, "%s(%zu,$%zu::text,$%zu::text,$%zu::text)", i ? "," : "", i + 1, 3 * i + 1,
                 3 * i + 2, 3 * i + 3);
    str_add_cstr(&text, ") AS v (i, o, c, b) RETURNING 1) "
                        "SELECT count(*), CAST(pg_notify('damso_events', '') AS text) FROM i");
    CHECK(!text.full);
    bool good = false;
    for (int i = 0; i < 2 && !good; i++) {
        PGresult *res = bus_run(b, text.p, (int)(3 * *n), args);
        good = is_good(b, res);
        bool empty = good && number(res, 0, 0) == 0;
        PQclear(res);
        if (!good || (empty && !new_epoch(b))) {
            good = false;
            break;
        }
        good = !empty;
    }
    str_done(&text);
    return good;
}

static bool tell(struct store_bus *b)
{
    bool cut, good = true;
    size_t n;
    struct told *first = take_told(b, &cut);
    while (first && (good = tell_some(b, first, &n))) {
        size_t bytes = 0;
        for (struct told *gone; n; n--) {
            gone = first;
            first = gone->next;
            bytes += gone->bytes;
            mem_free(gone);
        }
        pthread_mutex_lock(&b->mu);
        b->told_bytes -= bytes;
        pthread_mutex_unlock(&b->mu);
        beat_in_time(b);
    }
    if (good && cut)
        cut = !bus_command(b, "WITH c AS (UPDATE events_last SET n = n + 1, gone = n + 1 "
                              "RETURNING 1) SELECT pg_notify('damso_events', '') FROM c");
    if (first || cut)
        put_back(b, first, cut);
    return good;
}

/* ---- looking ---- */

static const char look_text[] =
    "SELECT l.epoch, l.n, l.gone, e.n, e.owner, e.chat, e.body FROM events_last AS l "
    "LEFT JOIN LATERAL (SELECT * FROM events AS x WHERE x.n > CAST($1 AS bigint) AND "
    "x.owner = ANY (CAST($2 AS text[])) ORDER BY x.n LIMIT 1000) AS e ON true ORDER BY e.n";

static struct store_event event_of(const PGresult *res, int row, int first)
{
    return (struct store_event){
        .n = number(res, row, first),
        .owner = PQgetvalue(res, row, first + 1),
        .chat = PQgetvalue(res, row, first + 2),
        .text = {PQgetvalue(res, row, first + 3), (size_t)PQgetlength(res, row, first + 3)}
    };
}

/* True when there is more. */
static bool look_once(struct store_bus *b, bool *good)
{
    struct str owners;
    char from[24];
    str_init(&owners, 16 << 20);
    str_add_cstr(&owners, "{\"\"");
    snprintf(from, sizeof from, "%llu", (unsigned long long)b->ops->want(b->arg, &owners));
    str_add_cstr(&owners, "}");
    const char *args[] = {from, owners.full ? "{}" : owners.p};
    PGresult *res = bus_run(b, look_text, 2, args);
    *good = is_good(b, res);
    int rows = *good ? PQntuples(res) : 0, n = rows && PQgetisnull(res, 0, 3) ? 0 : rows;
    bool more = n >= READ_AT_ONCE;
    if (rows) {
        struct store_event *events = mem_alloc((size_t)(n + 1) * sizeof *events);
        for (int i = 0; i < n; i++)
            events[i] = event_of(res, i, 3);
        const struct store_news news = {.epoch = number(res, 0, 0),
                                        .upto = more ? events[n - 1].n : number(res, 0, 1),
                                        .gone = number(res, 0, 2),
                                        .last = number(res, 0, 1),
                                        .events = events,
                                        .n = (size_t)n};
        b->ops->came(b->arg, &news);
        mem_free(events);
    } else if (*good) {
        *good = new_epoch(b);
        more = *good;
    }
    PQclear(res);
    str_done(&owners);
    return more;
}

/* ---- calls ---- */

static const struct {
    const char *text; /* its last argument is this server */
    int n_args, n_gives;
} bus_calls[] = {
    [STORE_BUS_LIMIT] = {"SELECT * FROM limit_take($1, CAST($2 AS bigint), CAST($3 AS bigint), $4, "
                         "CAST($5 AS bigint), CAST($6 AS bigint), CAST($7 AS bigint))",           6, 7},
    [STORE_BUS_SPEND] = {"UPDATE limits SET tokens = tokens - CAST($2 AS bigint) WHERE id = $1 AND "
                         "$3 <> ''",                                                              2, 0},
    [STORE_BUS_SLOTS] =
        {"INSERT INTO limit_slots (id, n, runner) VALUES ($1, CAST($2 AS bigint), "
         "CAST($3 AS bigint)) ON CONFLICT (id, runner) DO UPDATE SET n = excluded.n",             2, 0},
    [STORE_BUS_TRY] =
        {"SELECT try_take(CAST($1 AS bigint), CAST($2 AS bigint), CAST($3 AS bigint)) "
         "WHERE $4 <> ''",                                                                        3, 1},
    [STORE_BUS_GOOD] = {"UPDATE tries SET n = CASE $2 WHEN '1' THEN 0 ELSE greatest(n - 1, 0) END, "
                        "until = clock_timestamp() WHERE hash = CAST($1 AS bigint) AND $3 <> ''", 2, 0},
    [STORE_BUS_RECENT] = {"SELECT n, owner, chat, body FROM events WHERE owner = $1 AND chat = $2 "
                          "AND told > clock_timestamp() - interval '30 seconds' AND $3 <> '' "
                          "ORDER BY n",                                                           2, 0},
};

static void read_call(struct store_bus_call *c, const PGresult *res)
{
    for (int i = 0; i < bus_calls[c->what].n_gives && PQntuples(res); i++)
        c->gives[i] = PQgetisnull(res, 0, i) ? 0 : strtoll(PQgetvalue(res, 0, i), NULL, 10);
    if (c->what != STORE_BUS_RECENT)
        return;
    c->events = arena_array(c->arena, (size_t)PQntuples(res), sizeof *c->events);
    for (int i = 0; i < PQntuples(res); i++) {
        struct store_event x = event_of(res, i, 0);
        x.owner = arena_dup(c->arena, x.owner, strlen(x.owner));
        x.chat = arena_dup(c->arena, x.chat, strlen(x.chat));
        x.text.p = arena_dup(c->arena, x.text.p, x.text.n);
        c->events[c->n_events++] = x;
    }
}

/* The next call that is to be run, or with `old` that has waited for too long. */
static struct store_bus_call *next_call(struct store_bus *b, bool old)
{
    pthread_mutex_lock(&b->mu);
    struct store_bus_call *c = b->calls;
    bool waits = c && old && !b->stop &&
                 os_now_ns() - c->sent_ns < STORE_BUS_WAIT_S * (uint64_t)1000000000;
    if (c && !waits) {
        b->calls = c->next;
        if (!b->calls)
            b->calls_tail = &b->calls;
    }
    pthread_mutex_unlock(&b->mu);
    return waits ? NULL : c;
}

static void refuse_calls(struct store_bus *b)
{
    for (struct store_bus_call *c; (c = next_call(b, true));) {
        c->err = ERR_BUSY;
        c->done(c, c->arg);
    }
}

static bool run_calls(struct store_bus *b)
{
    bool good = true;
    for (struct store_bus_call *c; good && (c = next_call(b, false));) {
        char me[24];
        int n = bus_calls[c->what].n_args;
        snprintf(me, sizeof me, "%lld", (long long)b->s->runner);
        c->args[n] = me;
        PGresult *res = bus_run(b, bus_calls[c->what].text, n + 1, c->args);
        good = is_good(b, res);
        c->err = good ? ERR_OK : ERR_BUSY;
        if (good)
            read_call(c, res);
        PQclear(res);
        c->done(c, c->arg); /* it may be gone after this */
        beat_in_time(b);
    }
    return good;
}

/* ---- the thread ---- */

static void hear(struct store_bus *b)
{
    PGnotify *note;
    if (!PQconsumeInput(b->s->conn))
        return; /* the next statement finds it lost */
    while ((note = PQnotifies(b->s->conn))) {
        b->s->heard = true;
        PQfreemem(note);
    }
}

static void bus_wait(struct store_bus *b)
{
    uint64_t now = os_now_ns(), until = b->beat_ns + b->every_ns, ignored;
    pthread_mutex_lock(&b->mu);
    bool work = b->told || b->cut || b->look, calls = b->calls, stop = b->stop;
    pthread_mutex_unlock(&b->mu);
    bool there = b->s->conn && PQstatus(b->s->conn) == CONNECTION_OK;
    if (work || b->s->heard)
        until = MIN(until, b->paced_ns + PACE_NS);
    if (!there)
        until = b->s->down ? now + 100000000 : now;
    if ((calls && there) || stop || until <= now)
        until = now;
    struct pollfd fds[] = {
        {b->wake_fd,                        POLLIN, 0},
        {there ? PQsocket(b->s->conn) : -1, POLLIN, 0}
    };
    poll(fds, 2, (int)((until - now + 999999) / 1000000));
    if (fds[0].revents && read(b->wake_fd, &ignored, sizeof ignored) < 0)
        return;
}

static void bus_turn(struct store_bus *b)
{
    bool good;
    uint64_t now = os_now_ns();
    beat_in_time(b);
    hear(b);
    if (!run_calls(b))
        return;
    if (now - b->paced_ns >= PACE_NS) {
        b->paced_ns = now;
        if (!tell(b))
            return;
        hear(b);
        pthread_mutex_lock(&b->mu);
        bool look = b->look || b->s->heard;
        b->look = b->s->heard = false;
        pthread_mutex_unlock(&b->mu);
        for (good = true; look && good; beat_in_time(b))
            look = look_once(b, &good);
        b->s->heard |= !good;
    }
}

static void *bus_main(void *arg)
{
    struct store_bus *b = arg;
    struct errinfo e;
    for (;;) {
        pthread_mutex_lock(&b->mu);
        bool stop = b->stop;
        pthread_mutex_unlock(&b->mu);
        if (stop)
            break;
        bus_wait(b);
        if (store_postgres_link(b->s, &e) == ERR_OK)
            bus_turn(b);
        else
            refuse_calls(b);
        pthread_mutex_lock(&b->mu);
        b->tried = true;
        pthread_cond_signal(&b->trying);
        pthread_mutex_unlock(&b->mu);
    }
    if (b->s->conn && PQstatus(b->s->conn) == CONNECTION_OK && run_calls(b))
        tell(b);
    refuse_calls(b);
    return NULL;
}

/* ---- from any thread ---- */

static void wake(struct store_bus *b)
{
    uint64_t one = 1;
    CHECK(write(b->wake_fd, &one, sizeof one) == sizeof one);
}

void store_bus_owner(struct str *owners, const char *owner)
{
    str_add_cstr(owners, ",\"");
    for (; *owner; owner++) {
        if (*owner == '"' || *owner == '\\')
            str_add_char(owners, '\\');
        str_add_char(owners, *owner);
    }
    str_add_char(owners, '"');
}

void store_bus_tell(struct store_bus *b, const char *owner, const char *chat, struct span text)
{
    size_t n_owner = strlen(owner), n_chat = strlen(chat);
    size_t bytes = sizeof(struct told) + n_owner + n_chat + text.n + 3;
    struct told *t = text.n <= EVENT_BYTES_MAX ? mem_alloc(bytes) : NULL;
    pthread_mutex_lock(&b->mu);
    if (!t || b->told_bytes > TELL_BYTES_MAX) {
        b->cut = true;
        mem_free(t);
    } else {
        char *p = (char *)(t + 1);
        t->bytes = bytes;
        t->owner = (struct span){memcpy(p, owner, n_owner + 1), n_owner};
        t->chat = (struct span){memcpy(p + n_owner + 1, chat, n_chat + 1), n_chat};
        t->text = (struct span){memcpy(p + n_owner + n_chat + 2, text.p, text.n), text.n};
        p[n_owner + n_chat + 2 + text.n] = 0;
        t->next = NULL;
        *b->told_tail = t;
        b->told_tail = &t->next;
        b->told_bytes += bytes;
    }
    pthread_mutex_unlock(&b->mu);
    wake(b);
}

bool store_bus_is_there(struct store_bus *b)
{
    pthread_mutex_lock(&b->mu);
    uint64_t most_ns = (BEATS - 1) * (uint64_t)b->s->db.lease_ms * 1000000 / BEATS;
    bool there = !b->good_ns || os_now_ns() - b->good_ns < most_ns;
    pthread_mutex_unlock(&b->mu);
    return there;
}

void store_bus_look(struct store_bus *b)
{
    pthread_mutex_lock(&b->mu);
    b->look = true;
    pthread_mutex_unlock(&b->mu);
    wake(b);
}

void store_bus_send(struct store_bus *b, struct store_bus_call *c)
{
    c->next = NULL;
    c->sent_ns = os_now_ns();
    c->err = ERR_OK;
    c->n_events = 0;
    pthread_mutex_lock(&b->mu);
    CHECK(!b->stop);
    *b->calls_tail = c;
    b->calls_tail = &c->next;
    pthread_mutex_unlock(&b->mu);
    wake(b);
}

/* ---- life ---- */

enum err store_bus_open(struct store_bus **out, struct store *s, const struct store_bus_ops *ops,
                        void *arg, struct errinfo *e)
{
    sigset_t all, old;
    *out = NULL;
    struct store_postgres *link = store_postgres_another(store_its_db(s));
    if (!link)
        return ERR_OK;
    struct store_bus *b = mem_alloc(sizeof *b);
    b->s = link;
    b->every_ns = MIN((uint64_t)link->db.lease_ms * 1000000 / BEATS, (uint64_t)BEAT_NS_MAX);
    b->ops = ops;
    b->arg = arg;
    b->told_tail = &b->told;
    b->calls_tail = &b->calls;
    b->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->look = true;
    pthread_mutex_init(&b->mu, NULL);
    pthread_cond_init(&b->trying, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    *out = b; /* before its first callback */
    bool begun = b->wake_fd >= 0 && pthread_create(&b->thread, NULL, bus_main, b) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (begun) { /* who listens from now on is told from where on */
        pthread_mutex_lock(&b->mu);
        while (!b->tried)
            pthread_cond_wait(&b->trying, &b->mu);
        pthread_mutex_unlock(&b->mu);
        return ERR_OK;
    }
    *out = NULL;
    store_postgres_free(link);
    mem_free(b);
    return err_set(e, ERR_MEMORY, "cannot start the store's second thread");
}

void store_bus_close(struct store_bus *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->mu);
    b->stop = true;
    pthread_mutex_unlock(&b->mu);
    wake(b);
    pthread_join(b->thread, NULL);
    for (struct told *t = b->told, *next; t; t = next) {
        next = t->next;
        mem_free(t);
    }
    store_postgres_free(b->s);
    close(b->wake_fd);
    pthread_cond_destroy(&b->trying);
    pthread_mutex_destroy(&b->mu);
    mem_free(b);
}
