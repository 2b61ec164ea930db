/* SPDX-License-Identifier: MIT
 * Two servers on one PostgreSQL: events in one order, also through a crash of the database; limits
 * and tries that hold over both. */
#include "store/store_bus.h"
#include "store/store_postgres_int.h"
#include "store/store_testing.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#define EVENTS  600
#define LEASE_S 2

/* A server: what it heard of the owner "o", in order. */
struct side {
    struct store *store;
    struct store_bus *bus;
    pthread_mutex_t mu;
    uint64_t epoch, last;
    unsigned n, n_resets, hash;
    atomic_int n_beats;
};

static uint64_t want(void *arg, struct str *owners)
{
    struct side *s = arg;
    store_bus_owner(owners, "o");
    store_bus_owner(owners, "\"q\\"); /* quoting */
    pthread_mutex_lock(&s->mu);
    uint64_t last = s->epoch ? s->last : INT64_MAX;
    pthread_mutex_unlock(&s->mu);
    return last;
}

static void came(void *arg, const struct store_news *news)
{
    struct side *s = arg;
    pthread_mutex_lock(&s->mu);
    s->n_resets += s->epoch && (s->epoch != news->epoch || s->last < news->gone);
    for (size_t i = 0; s->epoch == news->epoch && i < news->n; i++) {
        const struct store_event *x = &news->events[i];
        assert_true(x->n > s->last);
        s->last = x->n;
        s->n++;
        for (size_t k = 0; k < x->text.n; k++)
            s->hash = s->hash * 31 + (unsigned char)x->text.p[k];
    }
    s->last = news->upto;
    s->epoch = news->epoch;
    pthread_mutex_unlock(&s->mu);
}

static void beat(void *arg)
{
    atomic_fetch_add(&((struct side *)arg)->n_beats, 1);
}

static bool until(bool (*look)(struct side *s), struct side *s)
{
    for (int i = 0; i < 3000 && !look(s); i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    return look(s);
}

static bool is_there(struct side *s)
{
    pthread_mutex_lock(&s->mu);
    bool there = s->epoch != 0;
    pthread_mutex_unlock(&s->mu);
    return there;
}

static bool has_all(struct side *s)
{
    pthread_mutex_lock(&s->mu);
    bool all = s->n == 2 * EVENTS;
    pthread_mutex_unlock(&s->mu);
    return all;
}

static void side_open(struct side *s)
{
    static const struct store_bus_ops ops = {.want = want, .came = came, .beat = beat};
    pthread_mutex_init(&s->mu, NULL);
    expect_ok(store_open_leased(&s->store, url, LEASE_S, &e));
    expect_ok(store_bus_open(&s->bus, s->store, &ops, s, &e));
    assert_non_null(s->bus);
    store_bus_look(s->bus);
    assert_true(until(is_there, s));
}

static void side_close(struct side *s)
{
    store_bus_close(s->bus);
    store_close(s->store);
    pthread_mutex_destroy(&s->mu);
}

static void *tell_all(void *arg)
{
    struct side *s = arg;
    for (int i = 0; i < EVENTS; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "%p %d", arg, i);
        store_bus_tell(s->bus, i % 3 ? "o" : "\"q\\", "c", (struct span){text, (size_t)n});
        store_bus_tell(s->bus, "others", "c", SPAN("not for these"));
    }
    return NULL;
}

static void test_order(void **state)
{
    (void)state;
    struct side a = {0}, b = {0};
    pthread_t threads[2];
    side_open(&a);
    side_open(&b);
    assert_int_equal(pthread_create(&threads[0], NULL, tell_all, &a), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, tell_all, &b), 0);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    assert_true(until(has_all, &a) && until(has_all, &b));
    assert_int_equal(a.hash, b.hash); /* the same, in the same order */
    assert_int_equal(a.epoch, b.epoch);
    assert_int_equal(a.n_resets + b.n_resets, 0);
    side_close(&a);
    side_close(&b);
}

/* ---- calls ---- */

static void call_done(struct store_bus_call *c, void *arg)
{
    (void)c;
    atomic_store((atomic_bool *)arg, true);
}

static const int64_t *ask(struct side *s, struct store_bus_call *c)
{
    atomic_bool over = false;
    c->done = call_done;
    c->arg = &over;
    store_bus_send(s->bus, c);
    while (!atomic_load(&over))
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    expect_ok(c->err);
    return c->gives;
}

static void test_limits(void **state)
{
    (void)state;
    struct side two[2] = {0};
    side_open(&two[0]);
    side_open(&two[1]);
    const struct store_bus_call take = {
        .what = STORE_BUS_LIMIT, .args = {"k", "6", "1000", "u", "9", "0"}
    };
    struct store_bus_call c;
    for (int i = 0; i < 6; i++) {
        c = take;
        assert_int_equal(ask(&two[i % 2], &c)[0], 0);
        assert_int_equal(c.gives[3], 5 - i);
    }
    c = take;
    assert_int_equal(ask(&two[0], &c)[0], 1); /* the key's, of requests */
    assert_int_equal(c.gives[1], 0);
    assert_in_range(c.gives[2], 500, 1000);
    for (int i = 0; i < 3; i++) {
        c = take;
        c.args[0] = "another key of u";
        assert_int_equal(ask(&two[i % 2], &c)[0], 0);
    }
    c = take;
    c.args[0] = "another key of u";
    assert_int_equal(ask(&two[1], &c)[0], 2); /* the user's */

    c = (struct store_bus_call){
        .what = STORE_BUS_LIMIT, .args = {"t", "0", "100", "", "0", "0"}
    };
    struct store_bus_call spend = {
        .what = STORE_BUS_SPEND, .args = {"t", "160"}
    };
    struct store_bus_call slots = {
        .what = STORE_BUS_SLOTS, .args = {"t", "3"}
    };
    assert_int_equal(ask(&two[0], &c)[0], 0);
    ask(&two[0], &spend);
    ask(&two[0], &slots);
    assert_int_equal(ask(&two[1], &c)[0], 1);
    assert_int_equal(c.gives[1], 1);
    assert_in_range(c.gives[2], 50000, 61000); /* thousandths of a token */
    assert_int_equal(c.gives[5], 3);           /* under way on the other */
    assert_int_equal(ask(&two[0], &c)[5], 0);
    side_close(&two[0]);
    side_close(&two[1]);
}

static void test_tries(void **state)
{
    (void)state;
    struct side two[2] = {0};
    side_open(&two[0]);
    side_open(&two[1]);
    struct store_bus_call c = {
        .what = STORE_BUS_TRY, .args = {"-77", "3", "60"}
    };
    for (int i = 0; i < 4; i++) /* the fourth costs: those after it wait */
        assert_int_equal(ask(&two[i % 2], &c)[0], 0);
    assert_in_range(ask(&two[0], &c)[0], 1, 2000);
    assert_in_range(ask(&two[1], &c)[0], 1, 2000);
    struct store_bus_call good = {
        .what = STORE_BUS_GOOD, .args = {"-77", "1"}
    };
    ask(&two[1], &good);
    assert_int_equal(ask(&two[0], &c)[0], 0);
    side_close(&two[0]);
    side_close(&two[1]);
}

static bool was_reset(struct side *s)
{
    pthread_mutex_lock(&s->mu);
    bool reset = s->n_resets > 0;
    pthread_mutex_unlock(&s->mu);
    return reset;
}

/* A crash of the database: another epoch, and it goes on by itself. */
static void test_crash(void **state)
{
    (void)state;
    char command[128];
    struct side a = {0};
    side_open(&a);
    store_bus_tell(a.bus, "o", "c", SPAN("before"));
    snprintf(command, sizeof command, "tests/postgres.sh restart %s", pg_folder);
    assert_int_equal(system(command), 0);
    store_bus_tell(a.bus, "o", "c", SPAN("after"));
    assert_true(until(was_reset, &a));
    int beats = atomic_load(&a.n_beats);
    for (int i = 0; i < 3000 && atomic_load(&a.n_beats) < beats + 2; i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    assert_true(atomic_load(&a.n_beats) >= beats + 2 && store_bus_is_there(a.bus));
    side_close(&a);
}

/* ---- a server that is silent ---- */

__attribute__((format(printf, 2, 3))) static void sql_on(PGconn *c, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    PGresult *r = PQexec(c, text);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(c));
    PQclear(r);
}

/* What a server has: the lock of those that are connected, and a transaction under way. */
static PGconn *another_server(int id, const char *beat)
{
    PGconn *c = PQconnectdb(url);
    assert_int_equal(PQstatus(c), CONNECTION_OK);
    sql_on(c, "SELECT pg_advisory_lock_shared(%d, %d)", STORE_PG_LOCKS, id);
    sql_on(c, "INSERT INTO beats VALUES (%d, now() %s)", id, beat);
    sql_on(c, "BEGIN");
    sql_on(c, "INSERT INTO runners (id, batch) VALUES (%d, 1)", id);
    return c;
}

/* Its connections are ended, and so is what it had begun; those of one that beats are not. */
static void test_silent(void **state)
{
    (void)state;
    struct side a = {0};
    side_open(&a);
    PGconn *silent = another_server(7, "- interval '1 hour'");
    PGconn *heard = another_server(8, "+ interval '1 hour'");
    struct pollfd fd = {.fd = PQsocket(silent), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 60000), 1);
    while (PQstatus(silent) == CONNECTION_OK && PQconsumeInput(silent))
        assert_int_equal(poll(&fd, 1, 60000), 1);
    assert_int_equal(PQstatus(silent), CONNECTION_BAD);
    assert_string_equal(pg_sql(pg_database, "SELECT count(*) FROM runners WHERE id = 7"), "0");
    sql_on(heard, "COMMIT");
    assert_string_equal(pg_sql(pg_database, "SELECT count(*) FROM runners WHERE id = 8"), "1");
    PQfinish(silent);
    PQfinish(heard);
    side_close(&a);
}

/* Rows that others hold do not keep it from saying that it lives. */
static void test_held_up(void **state)
{
    (void)state;
    struct side a = {0};
    side_open(&a);
    store_bus_tell(a.bus, "o", "c", SPAN("first"));
    PGconn *other = PQconnectdb(url);
    sql_on(other, "BEGIN");
    sql_on(other, "LOCK TABLE events_last");
    store_bus_tell(a.bus, "o", "c", SPAN("second")); /* waits for that */
    int beats = atomic_load(&a.n_beats);
    for (int i = 0; i < 3000 && atomic_load(&a.n_beats) < beats + 4; i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    assert_true(atomic_load(&a.n_beats) >= beats + 4);
    PQfinish(other);
    side_close(&a);
}

/* A file has one server. */
static void test_none(void **state)
{
    (void)state;
    struct store_bus *bus;
    struct store *s;
    expect_ok(store_open(&s, "sqlite::memory:", &e));
    expect_ok(store_bus_open(&bus, s, NULL, NULL, &e));
    assert_null(bus);
    store_close(s);
}

#define TEST_CLOSED(name) cmocka_unit_test_setup_teardown(name, setup_folder, teardown_folder)

int main(void)
{
    setenv("DAMSO_TEST_STORE", "postgres", 1);
    const struct CMUnitTest tests[] = {TEST_CLOSED(test_order),  TEST_CLOSED(test_limits),
                                       TEST_CLOSED(test_tries),  TEST_CLOSED(test_crash),
                                       TEST_CLOSED(test_silent), TEST_CLOSED(test_held_up),
                                       TEST_CLOSED(test_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
