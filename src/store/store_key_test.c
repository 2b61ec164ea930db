/* SPDX-License-Identifier: MIT
 * Keys: their form, what is kept of them, who is let in, and changes by another program. */
#include "store/store_testing.h"

#include "os/os_sys.h"
#include "store/store_key.h"

#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

static void make(struct store *s, struct arena *a, struct store_key *key,
                 char text[STORE_KEY_CHARS + 1])
{
    key->name = key->name ? key->name : "name";
    key->scopes = key->scopes ? key->scopes : "chat";
    expect_ok(store_key_make(s, key, text, a, &e));
}

static enum store_verdict check(struct store_keys *k, const char *text)
{
    struct store_grant g;
    return store_keys_check(k, span_of(text), &g);
}

static void wait_for(struct store_keys *k, const char *text, enum store_verdict want)
{
    for (int i = 0; i < 500 && check(k, text) != want; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(check(k, text), want);
}

static void test_scopes(void **state)
{
    (void)state;
    unsigned scopes;
    struct str text;
    str_init(&text, 100);
    expect_ok(store_scopes_read("metrics, chat", &scopes, &e));
    assert_int_equal(scopes, STORE_SCOPE_CHAT | STORE_SCOPE_METRICS);
    store_scopes_text(scopes, &text);
    assert_string_equal(text.p, "chat metrics");
    expect_err(store_scopes_read("chat,chatt", &scopes, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "'chatt'; there are: chat models metrics admin"));
    expect_err(store_scopes_read(" ,", &scopes, &e), ERR_USAGE);
    expect_err(store_scopes_read("", &scopes, NULL), ERR_USAGE);
    str_done(&text);
}

static void test_check(void **state)
{
    (void)state;
    struct arena a;
    struct store_keys *k;
    struct store_grant g;
    char text[STORE_KEY_CHARS + 1], other[STORE_KEY_CHARS + 2];
    arena_init(&a);
    struct store_key key = {
        .scopes = "admin", .requests_minute = 60, .tokens_minute = 1000, .n_concurrent = 4};
    make(store, &a, &key, text);
    assert_int_equal(strlen(text), STORE_KEY_CHARS);
    assert_int_equal(strspn(text + strlen(STORE_KEY_PREFIX), "0123456789abcdefghijklmnopqrstuvwxyz"
                                                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
                     STORE_KEY_ID + STORE_KEY_SECRET);
    assert_memory_equal(key.id, text + strlen(STORE_KEY_PREFIX), STORE_KEY_ID);
    expect_ok(store_keys_open(&k, store, &e));
    assert_int_equal(store_keys_check(k, span_of(text), &g), STORE_KEY_GOOD);
    assert_string_equal(g.id, key.id);
    assert_int_equal(g.scopes, (1u << STORE_N_SCOPES) - 1);
    assert_true(g.requests_minute == 60 && g.tokens_minute == 1000 && g.n_concurrent == 4);
    for (size_t i = 0; i < STORE_KEY_CHARS; i++) { /* each character counts */
        strcpy(other, text);
        other[i] = other[i] == 'x' ? 'y' : 'x';
        assert_int_equal(check(k, other), STORE_KEY_UNKNOWN);
    }
    strcat(strcpy(other, text), "x");
    assert_int_equal(check(k, other), STORE_KEY_UNKNOWN);
    other[STORE_KEY_CHARS - 1] = 0;
    assert_int_equal(check(k, other), STORE_KEY_UNKNOWN);
    assert_int_equal(check(k, ""), STORE_KEY_UNKNOWN);
    assert_int_equal(store_keys_check(k, (struct span){NULL, 0}, &g), STORE_KEY_UNKNOWN);
    memset(other, 0, sizeof other);
    memcpy(other, STORE_KEY_PREFIX, strlen(STORE_KEY_PREFIX));
    assert_int_equal(store_keys_check(k, (struct span){other, STORE_KEY_CHARS}, &g),
                     STORE_KEY_UNKNOWN);
    store_keys_close(k);
    arena_done(&a);
}

static void test_life(void **state)
{
    (void)state;
    struct arena a;
    struct store_keys *k;
    char old[STORE_KEY_CHARS + 1], text[STORE_KEY_CHARS + 1];
    arena_init(&a);
    struct store_key key = {.expires = 1};
    expect_ok(store_keys_open(&k, store, &e));
    make(store, &a, &key, old);
    key = (struct store_key){.name = "\xea\xb0\x80"};
    make(store, &a, &key, text);
    wait_for(k, old, STORE_KEY_EXPIRED);
    wait_for(k, text, STORE_KEY_GOOD);
    assert_int_equal(store_keys_count(k), 1);

    struct store_op op = {.what = STORE_KEY_REVOKE, .key.id = key.id};
    expect_ok(store_run(store, &op, &e));
    int64_t revoked = op.key.revoked;
    assert_true(revoked > 0);
    expect_ok(store_run(store, &op, &e));
    assert_int_equal(op.key.revoked, revoked);
    wait_for(k, text, STORE_KEY_REVOKED);
    assert_int_equal(store_keys_count(k), 0);
    op.key.id = "nobody";
    expect_err(store_run(store, &op, &e), ERR_NOTFOUND);
    store_keys_close(k);

    op = (struct store_op){.what = STORE_KEY_LIST, .arena = &a};
    expect_ok(store_run(store, &op, &e));
    assert_int_equal(op.n, 2);
    for (size_t i = 0; i < 2; i++) {
        bool first = strcmp(op.keys[i].id, key.id) == 0;
        assert_int_equal(op.keys[i].revoked, first ? revoked : 0);
        assert_string_equal(op.keys[i].name, first ? "\xea\xb0\x80" : "name");
        assert_true(first ? op.keys[i].used >= key.created : op.keys[i].used == 0);
    }
    arena_done(&a);
}

/* The text of a key is nowhere in the database's files; the database is a key's home: under another
 * secret it is nothing. */
static void test_at_rest(void **state)
{
    (void)state;
    struct arena a;
    struct store *s;
    struct store_keys *k;
    char text[STORE_KEY_CHARS + 1];
    arena_init(&a);
    struct store_key key = {.name = NULL};
    make(store, &a, &key, text);
    store_close(store);
    store = NULL;
    if (on_postgres())
        pg_sql(pg_database, "CHECKPOINT");
    const char *where = on_postgres() ? pg_folder : folder;
    assert_int_equal(system(arena_printf(&a, "grep -rqaF -e %s %s", key.id, where)), 0);
    const char *secret = arena_dup(&a, text + strlen(STORE_KEY_PREFIX) + STORE_KEY_ID, 12);
    int status = system(arena_printf(&a, "grep -rqaF -e %s %s", secret, where));
    assert_int_equal(WEXITSTATUS(status), 1); /* 2: it could not read */

    expect_ok(store_open(&s, "sqlite::memory:", &e));
    struct store_op op = {.what = STORE_SECRET}; /* another secret */
    expect_ok(store_run(s, &op, &e));
    op = (struct store_op){.what = STORE_KEY_ADD, .key = key};
    expect_ok(store_run(s, &op, &e));
    expect_err(store_run(s, &op, &e), ERR_USAGE);
    expect_ok(store_keys_open(&k, s, &e));
    assert_int_equal(store_keys_count(k), 1);
    assert_int_equal(check(k, text), STORE_KEY_UNKNOWN);
    store_keys_close(k);
    store_close(s);
    arena_done(&a);
}

/* Another program adds and revokes while this one serves. */
static void test_other_program(void **state)
{
    (void)state;
    struct arena a;
    struct store *other;
    struct store_keys *k;
    char text[STORE_KEY_CHARS + 1];
    arena_init(&a);
    struct store_key key = {.name = NULL};
    expect_ok(store_keys_open(&k, store, &e));
    expect_ok(store_open(&other, url, &e));
    make(other, &a, &key, text);
    wait_for(k, text, STORE_KEY_GOOD);
    struct store_op op = {.what = STORE_KEY_REVOKE, .key.id = key.id};
    expect_ok(store_run(other, &op, &e));
    wait_for(k, text, STORE_KEY_REVOKED);
    store_close(other);
    store_keys_close(k);
    arena_done(&a);
}

struct checker {
    pthread_t thread;
    struct store_keys *k;
    const char *text;
};

static void *check_often(void *arg)
{
    struct checker *c = arg;
    for (int i = 0; i < 2000; i++)
        CHECK(check(c->k, c->text) == STORE_KEY_GOOD);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct arena a;
    struct store_keys *k;
    struct checker c[4];
    char text[STORE_KEY_CHARS + 1], more[STORE_KEY_CHARS + 1];
    arena_init(&a);
    struct store_key key = {.name = NULL};
    make(store, &a, &key, text);
    expect_ok(store_keys_open(&k, store, &e));
    for (size_t i = 0; i < N_ELEMS(c); i++) {
        c[i].k = k;
        c[i].text = text;
        assert_int_equal(pthread_create(&c[i].thread, NULL, check_often, &c[i]), 0);
    }
    for (int i = 0; i < 20; i++)
        make(store, &a, &key, more);
    for (size_t i = 0; i < N_ELEMS(c); i++)
        pthread_join(c[i].thread, NULL);
    wait_for(k, more, STORE_KEY_GOOD);
    assert_int_equal(store_keys_count(k), 21);
    store_keys_close(k);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scopes), TEST(test_check),   TEST(test_life), TEST(test_at_rest),
        TEST(test_other_program),      TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
