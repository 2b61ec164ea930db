/* SPDX-License-Identifier: MIT
 * Who may: keys in each header, scopes, buckets, answers under way, over a server whose only
 * endpoint asks api_auth_check. */
#include "http/http_testing.h"

#include "api/api_auth.h"
#include "store/store_key.h"

static struct store *store;
static struct api_auth *auth;
static struct arena process;
static struct errinfo why;

#define expect_ok(call)                                                                            \
    do {                                                                                           \
        why = (struct errinfo){0};                                                                 \
        if ((call) != ERR_OK)                                                                      \
            fail_msg("%s:%d: %s", __FILE__, __LINE__, why.text);                                   \
    } while (0)

/* ---- the server ---- */

static enum api_scope asked_scope(const struct http_req *r)
{
    const char *name = http_param(r, "scope");
    return strcmp(name, "open") == 0      ? API_OPEN
           : strcmp(name, "use") == 0     ? API_CHAT
           : strcmp(name, "read") == 0    ? API_MODELS
           : strcmp(name, "metrics") == 0 ? API_METRICS
                                          : API_ADMIN;
}

/* Answers with the owner, or the fault's code; ?tokens=N also begins and ends an answer of so
 * many, ?hold begins one that does not end. */
static void on_ask(struct http_req *r, void *arg)
{
    (void)arg;
    struct api_route route = {.method = "GET", .path = "/x", .scope = asked_scope(r)};
    static struct api api; /* with no option set */
    struct api_call c = {.api = &api, .req = r, .route = &route, .owner = "", .client = 7};
    const char *tokens = http_query(r, "tokens");
    bool hold = http_query(r, "hold") != NULL;
    bool ok = api_auth_check(auth, &c) && api_auth_take(&c);
    if (ok && (tokens || hold))
        ok = api_limit_begin(c.limit, &c.fault);
    if (ok && tokens)
        api_limit_end(c.limit, strtoul(tokens, NULL, 10));
    if (c.fault.retry_s) {
        char text[16];
        snprintf(text, sizeof text, "%u", c.fault.retry_s);
        http_header(r, "Retry-After", text);
    }
    assert_int_equal(ok, c.fault.status == 0);
    assert_true(!ok || (c.limit == NULL) == (c.client == 7));
    http_reply(r, ok ? 200 : c.fault.status, "text/plain", span_of(ok ? c.owner : c.fault.code));
}

static const struct http_route of_auth[] = {
    {"GET", "/{scope}", on_ask}
};

static int setup_auth(void **state)
{
    (void)state;
    struct http_opts o = {.n_threads = 2};
    arena_init(&process);
    expect_ok(store_open(&store, "sqlite::memory:", &why));
    expect_ok(http_open(&server, &o, of_auth, N_ELEMS(of_auth), NULL, &why));
    port = http_port(server);
    return 0;
}

static int teardown_auth(void **state)
{
    (void)state;
    http_close(server);
    server = NULL;
    api_auth_close(auth);
    auth = NULL;
    store_close(store);
    arena_done(&process);
    return 0;
}

static const char *key_with(struct store_key key)
{
    char *text = arena_alloc(&process, STORE_KEY_CHARS + 1);
    key.name = key.name ? key.name : "test";
    key.scopes = key.scopes ? key.scopes : "chat";
    expect_ok(store_key_make(store, &key, text, &process, &why));
    return text;
}

/* The header is "name: before KEY"; the status, and what came in *a where it is wanted. */
static int get(const char *path, const char *header, const char *key, struct answer *a)
{
    char text[512];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "%s%s\r\n\r\n", path, header, key);
    return ask(text, a);
}

static int get_by(const char *path, const char *key)
{
    return get(path, "Authorization: Bearer ", key, NULL);
}

/* ---- keys ---- */

static void test_no_key_where_one_is_needed(void **state)
{
    (void)state;
    why = (struct errinfo){0};
    assert_int_equal(api_auth_open(&auth, store, NULL, true, false, &why), ERR_USAGE);
    assert_non_null(strstr(why.text, "damso key add"));
    assert_null(auth);
    assert_int_equal(api_auth_open(&auth, NULL, NULL, true, false, &why), ERR_USAGE);
    assert_null(auth);
}

static void test_headers(void **state)
{
    (void)state;
    const char *key = key_with((struct store_key){0});
    struct answer a;
    char v[256];
    expect_ok(api_auth_open(&auth, store, NULL, true, false, &why));
    assert_int_equal(get_by("/use", key), 200);
    assert_int_equal(get("/use", "authorization: bearer   ", key, NULL), 200);
    assert_int_equal(get("/use", "x-api-key: ", key, NULL), 200);
    assert_int_equal(get("/use", "api-key: ", key, NULL), 200);
    assert_int_equal(get("/use", "Authorization: Basic eDp5\r\nx-api-key: ", key, NULL), 200);
    assert_int_equal(get("/use", "Authorization: Basic ", key, NULL), 401);
    assert_int_equal(get("/use", "Authorization: ", key, NULL), 401);
    assert_int_equal(get("/use", "x-api-key: ", "", NULL), 401);
    assert_int_equal(get("/use", "x-api-key: damso-", "wrong", NULL), 401);
    /* a bad bearer is not made good by another header */
    assert_int_equal(get("/use", "Authorization: Bearer no\r\nx-api-key: ", key, NULL), 401);
    assert_int_equal(get("/use", "X-None: ", "", &a), 401);
    assert_string_equal(a.body.p, "invalid_api_key");
    assert_string_equal(head_value(&a, "WWW-Authenticate", v), "Bearer");
    answer_done(&a);
    assert_int_equal(get("/open", "X-None: ", "", NULL), 200);
    assert_int_equal(get("/use", "Authorization: Bearer ", key, &a), 200);
    assert_memory_equal(a.body.p, key + strlen(STORE_KEY_PREFIX), STORE_KEY_ID); /* the owner */
    assert_int_equal(a.body.n, STORE_KEY_ID);
    answer_done(&a);
}

static void test_keys_that_ended(void **state)
{
    (void)state;
    const char *late = key_with((struct store_key){.expires = 1}), *good;
    good = key_with((struct store_key){0});
    expect_ok(api_auth_open(&auth, store, NULL, false, false, &why));
    assert_int_equal(get_by("/use", late), 401); /* also where none is needed */
    assert_int_equal(get_by("/use", good), 200);
    assert_int_equal(get_by("/use", "sk-anything"), 200); /* SDKs send some text */
    assert_int_equal(get("/use", "X-None: ", "", NULL), 200);
    struct store_op op = {.what = STORE_KEY_REVOKE};
    op.key.id = arena_dup(&process, good + strlen(STORE_KEY_PREFIX), STORE_KEY_ID);
    expect_ok(store_run(store, &op, &why));
    int status = 200;
    for (int i = 0; i < 500 && status == 200; i++, pause_ms(10))
        status = get_by("/use", good);
    assert_int_equal(status, 401);
}

static void test_scopes(void **state)
{
    (void)state;
    static const char *const paths[] = {"/open", "/use", "/read", "/metrics", "/admin"};
    static const struct {
        const char *scopes;
        int want[5];
    } rows[] = {
        {"chat",        {200, 200, 403, 403, 403}},
        {"models",      {200, 403, 200, 403, 403}},
        {"metrics",     {200, 403, 403, 200, 403}},
        {"chat models", {200, 200, 200, 403, 403}},
        {"admin",       {200, 200, 200, 200, 200}},
    };
    const char *keys[N_ELEMS(rows)];
    for (size_t i = 0; i < N_ELEMS(rows); i++)
        keys[i] = key_with((struct store_key){.scopes = rows[i].scopes});
    expect_ok(api_auth_open(&auth, store, NULL, true, false, &why));
    for (size_t i = 0; i < N_ELEMS(rows); i++)
        for (size_t k = 0; k < N_ELEMS(paths); k++)
            assert_int_equal(get_by(paths[k], keys[i]), rows[i].want[k]);
}

/* ---- limits ---- */

static void test_requests_a_minute(void **state)
{
    (void)state;
    const char *three = key_with((struct store_key){.requests_minute = 3});
    const char *other = key_with((struct store_key){.requests_minute = 3});
    const char *fast = key_with((struct store_key){.requests_minute = 6000});
    struct answer a;
    char v[256];
    expect_ok(api_auth_open(&auth, store, NULL, true, false, &why));
    for (int i = 2; i >= 0; i--) {
        char want[16];
        snprintf(want, sizeof want, "%d", i);
        assert_int_equal(get("/use", "x-api-key: ", three, &a), 200);
        assert_string_equal(head_value(&a, "x-ratelimit-limit-requests", v), "3");
        assert_string_equal(head_value(&a, "x-ratelimit-remaining-requests", v), want);
        assert_null(head_value(&a, "x-ratelimit-limit-tokens", v));
        answer_done(&a);
    }
    assert_int_equal(get("/use", "x-api-key: ", three, &a), 429);
    assert_string_equal(a.body.p, "rate_limit_exceeded");
    assert_in_range(atoi(head_value(&a, "Retry-After", v)), 1, 20); /* a third of a minute */
    answer_done(&a);
    assert_int_equal(get_by("/open", three), 200); /* what asks for no key counts nothing */
    assert_int_equal(get_by("/use", other), 200);  /* each key has its own */
    for (int i = 0; i < 50; i++)
        assert_int_equal(get_by("/use", fast), 200);
    pause_ms(100); /* fills again, ten in 100 ms */
    assert_int_equal(get("/use", "x-api-key: ", fast, &a), 200);
    assert_true(atoi(head_value(&a, "x-ratelimit-remaining-requests", v)) >= 5950);
    answer_done(&a);
}

static void test_tokens_a_minute(void **state)
{
    (void)state;
    const char *key = key_with((struct store_key){.tokens_minute = 6000});
    struct answer a;
    char v[256];
    expect_ok(api_auth_open(&auth, store, NULL, true, false, &why));
    assert_int_equal(get("/use?tokens=50", "x-api-key: ", key, &a), 200);
    assert_string_equal(head_value(&a, "x-ratelimit-remaining-tokens", v), "6000");
    answer_done(&a);
    /* more than there is: taken, and the next waits until it is filled again */
    assert_int_equal(get_by("/use?tokens=6050", key), 200);
    assert_int_equal(get("/use", "x-api-key: ", key, &a), 429);
    assert_in_range(atoi(head_value(&a, "Retry-After", v)), 1, 2);
    answer_done(&a);
    int status = 429;
    for (int i = 0; i < 300 && status == 429; i++, pause_ms(10)) /* 100 tokens a second */
        status = get_by("/use", key);
    assert_int_equal(status, 200);
}

static void test_answers_under_way(void **state)
{
    (void)state;
    const char *two = key_with((struct store_key){.n_concurrent = 2});
    const char *any = key_with((struct store_key){0});
    struct answer a;
    expect_ok(api_auth_open(&auth, store, NULL, true, false, &why));
    assert_int_equal(get_by("/use?tokens=1", two), 200); /* begins and ends */
    assert_int_equal(get_by("/use?hold", two), 200);
    assert_int_equal(get_by("/use?tokens=1", two), 200);
    assert_int_equal(get_by("/use?hold", two), 200);
    assert_int_equal(get("/use?hold", "x-api-key: ", two, &a), 429);
    assert_string_equal(a.body.p, "rate_limit_exceeded");
    answer_done(&a);
    assert_int_equal(get_by("/use", two), 200); /* no answer, no limit */
    for (int i = 0; i < 20; i++)
        assert_int_equal(get_by("/use?hold", any), 200);
    struct api_fault f = {0};
    assert_true(api_limit_begin(NULL, &f)); /* without a key there is none */
    api_limit_end(NULL, 5);
}

static atomic_int n_let_in;

static void *asker(void *key)
{
    for (int i = 0; i < 15; i++)
        atomic_fetch_add(&n_let_in, get_by("/use", key) == 200);
    return NULL;
}

/* A bucket is emptied once, whoever takes from it. */
static void test_buckets_from_many_sides(void **state)
{
    (void)state;
    const char *key = key_with((struct store_key){.requests_minute = 20});
    pthread_t t[4];
    expect_ok(api_auth_open(&auth, store, NULL, true, false, &why));
    atomic_store(&n_let_in, 0);
    uint64_t begin_ns = os_now_ns();
    for (size_t i = 0; i < N_ELEMS(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, asker, (void *)(uintptr_t)key), 0);
    for (size_t i = 0; i < N_ELEMS(t); i++)
        pthread_join(t[i], NULL);
    double filled = (double)(os_now_ns() - begin_ns) * 20 / 60e9;
    assert_in_range(atomic_load(&n_let_in), 20, 20 + (int)filled);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_auth, teardown_auth)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_key_where_one_is_needed),
        TEST(test_headers),
        TEST(test_keys_that_ended),
        TEST(test_scopes),
        TEST(test_requests_a_minute),
        TEST(test_tokens_a_minute),
        TEST(test_answers_under_way),
        TEST(test_buckets_from_many_sides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
