/* SPDX-License-Identifier: MIT
 * What lasts: streams, late answers, clients that go away, limits of time and number. */
#include "http/http_testing.h"

#define N_IDLE 500

static void feed_push(struct feed *f, size_t n)
{
    atomic_fetch_add(&f->ready, n);
    http_wake(f->r);
}

static void test_stream(void **state)
{
    (void)state;
    struct answer a;
    int fd = dial();
    put(fd, "GET /stream?n=3 HTTP/1.1\r\n" HOST "\r\n");
    uint64_t begin_ns = os_now_ns();
    assert_true(get_head(fd, &a)); /* before the first event */
    printf("head after %.1f ms\n", (double)(os_now_ns() - begin_ns) / 1e6);
    wait_feeds(1);
    double worst_ms = 0;
    for (int i = 0; i < 3; i++) {
        bool last;
        pause_ms(20);
        begin_ns = os_now_ns();
        feed_push(&feeds[0], 1);
        str_clear(&a.body);
        assert_true(get_chunk(fd, &a.body, &last));
        worst_ms = MAX(worst_ms, (double)(os_now_ns() - begin_ns) / 1e6);
        char want[32];
        sprintf(want, "data: %d\n\n", i);
        assert_string_equal(a.body.p, want);
    }
    printf("event after at most %.1f ms\n", worst_ms);
    bool last = false;
    assert_true(get_chunk(fd, &a.body, &last) && last);
    answer_done(&a);
    wait_count(&feeds[0].n_done, 1);
    assert_int_equal(atomic_load(&feeds[0].n_gone), 0);
    http_wake(feeds[0].r);                          /* harmless */
    put(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n"); /* the connection is kept */
    assert_true(get_answer(fd, &a, false));
    assert_string_equal(a.body.p, "hello");
    answer_done(&a);
    put(fd, "GET /big HTTP/1.1\r\n" HOST "\r\nHEAD /big HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_answer(fd, &a, false));
    assert_int_equal(a.body.n, 1600000);
    answer_done(&a);
    assert_true(get_answer(fd, &a, true));
    assert_int_equal(a.status, 200);
    answer_done(&a);
    close(fd);
}

static void *feeder(void *arg)
{
    size_t n_events = *(size_t *)arg;
    for (size_t k = 0; k < n_events; k++) {
        for (size_t i = 0; i < N_STREAMS; i++)
            feed_push(&feeds[i], 1);
    }
    return NULL;
}

static void test_streams_at_once(void **state)
{
    (void)state;
    int fds[N_STREAMS];
    for (size_t i = 0; i < N_STREAMS; i++) {
        fds[i] = dial();
        put(fds[i], "GET /stream?n=40 HTTP/1.1\r\n" HOST "\r\n");
    }
    wait_feeds(N_STREAMS);
    size_t n_events = 20;
    pthread_t two[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&two[i], NULL, feeder, &n_events), 0);
    for (size_t i = 0; i < N_STREAMS; i++) {
        struct answer a;
        struct str want;
        assert_true(get_answer(fds[i], &a, false));
        str_init(&want, 4096);
        for (int k = 0; k < 40; k++)
            str_addf(&want, "data: %d\n\n", k);
        assert_string_equal(a.body.p, want.p);
        str_done(&want);
        answer_done(&a);
        close(fds[i]);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(two[i], NULL);
    for (size_t i = 0; i < N_STREAMS; i++)
        wait_count(&feeds[i].n_done, 1);
    assert_int_equal(http_stats(server).n_streams, 0);
}

static void test_gone(void **state)
{
    (void)state;
    int fds[20];
    uint64_t worst_ns = 0;
    for (size_t i = 0; i < N_ELEMS(fds); i++) {
        fds[i] = dial();
        put(fds[i], i % 2 ? "POST /later HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"
                          : "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        wait_feeds(i + 1);
    }
    pause_ms(50);
    feed_push(&feeds[0], 1);
    for (size_t i = 0; i < N_ELEMS(fds); i++) {
        uint64_t begin_ns = os_now_ns();
        close(fds[i]);
        wait_count(&feeds[i].n_gone, 1);
        wait_count(&feeds[i].n_done, 1);
        worst_ns = MAX(worst_ns, atomic_load(&feeds[i].gone_ns) - begin_ns);
        http_reply(feeds[i].r, 200, NULL, SPAN("late")); /* nobody is there: nothing happens */
    }
    printf("gone noticed after at most %.2f ms\n", (double)worst_ns / 1e6);
    assert_true(worst_ns < 2000000000);
    assert_int_equal(http_stats(server).n_gone, N_ELEMS(fds));
}

static void *answer_late(void *arg)
{
    struct feed *f = arg;
    pause_ms(30);
    http_header(f->r, "X-Late", "yes");
    http_reply(f->r, 201, "text/plain", f->r->body);
    return NULL;
}

static void test_later(void **state)
{
    (void)state;
    struct answer a;
    char v[256];
    int fd = dial();
    for (size_t i = 0; i < 3; i++) {
        pthread_t t;
        put(fd, "POST /later HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody");
        wait_feeds(i + 1);
        pthread_create(&t, NULL, answer_late, &feeds[i]);
        assert_true(get_answer(fd, &a, false));
        pthread_join(t, NULL);
        assert_int_equal(a.status, 201);
        assert_string_equal(a.body.p, "body");
        assert_string_equal(head_value(&a, "X-Late", v), "yes");
        answer_done(&a);
        wait_count(&feeds[i].n_done, 1);
        assert_int_equal(atomic_load(&feeds[i].n_gone), 0);
    }
    for (int i = 0; i < 2; i++) /* the second waits in the connection for the first's answer */
        put(fd, "POST /later HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody");
    for (size_t i = 3; i < 5; i++) {
        wait_feeds(i + 1);
        answer_late(&feeds[i]);
        assert_true(get_answer(fd, &a, false));
        assert_int_equal(a.status, 201);
        answer_done(&a);
    }
    /* a late answer may be a stream: its ops take the place of those of http_later */
    put(fd, "POST /later?n=2 HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody");
    wait_feeds(6);
    assert_true(http_stream_begin(feeds[5].r, 200, "text/event-stream", &feed_ops, &feeds[5]));
    feed_push(&feeds[5], 2);
    assert_true(get_answer(fd, &a, false));
    assert_string_equal(a.body.p, "data: 0\n\ndata: 1\n\n");
    answer_done(&a);
    close(fd);
}

/* What requests make of their bodies counts together until they end; 256 MiB are allowed. */
static void test_charge(void **state)
{
    (void)state;
    const size_t mib = (size_t)1 << 20;
    int fds[2];
    for (size_t i = 0; i < N_ELEMS(fds); i++) {
        fds[i] = dial();
        put(fds[i], "POST /later HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx");
        wait_feeds(i + 1);
    }
    assert_false(http_charge(feeds[0].r, SIZE_MAX));
    assert_false(http_charge(feeds[0].r, 256 * mib)); /* with the bodies themselves */
    assert_true(http_charge(feeds[0].r, 100 * mib));
    assert_true(http_charge(feeds[0].r, 100 * mib));
    assert_false(http_charge(feeds[1].r, 100 * mib));
    assert_true(http_charge(feeds[1].r, 50 * mib));
    close(fds[0]);
    wait_count(&feeds[0].n_done, 1);
    bool freed = false;
    for (int i = 0; i < 1000 && !freed; i++) {
        freed = http_charge(feeds[1].r, 200 * mib);
        pause_ms(1);
    }
    assert_true(freed);
    close(fds[1]);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void test_idle(void **state)
{
    (void)state;
    static int fds[N_IDLE];
    struct answer a;
    size_t resident = os_mem_resident();
    for (size_t i = 0; i < N_IDLE; i++) {
        fds[i] = dial();
        put(fds[i], "GET /hello HTTP/1.1\r\n" HOST "\r\n");
        assert_true(get_answer(fds[i], &a, false));
        answer_done(&a);
    }
    int waiting = dial(); /* and one that sleeps in a stream */
    put(waiting, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    wait_feeds(1);
    assert_int_equal(http_stats(server).n_open, N_IDLE + 1);
    double before = cpu_seconds();
    pause_ms(2000);
    double used = cpu_seconds() - before;
    printf("%d idle connections: %.4f s of processor in 2 s, %zu KiB each\n", N_IDLE, used,
           (MAX(os_mem_resident(), resident) - resident) / 1024 / N_IDLE);
    assert_true(used < 0.2);
    for (size_t i = 0; i < N_IDLE; i += 50) {
        put(fds[i], "GET /hello HTTP/1.1\r\n" HOST "\r\n");
        assert_true(get_answer(fds[i], &a, false));
        assert_int_equal(a.status, 200);
        answer_done(&a);
    }
    for (size_t i = 0; i < N_IDLE; i++)
        close(fds[i]);
    close(waiting);
}

/* ---- limits of time and number; slow_ms is 400, connections_max 4, keep_alive_ms 200 ---- */

static void test_slow(void **state)
{
    (void)state;
    static const char *const begun[] = {
        "GET /hello HTTP/1.1\r\nHo", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n"};
    for (size_t i = 0; i < N_ELEMS(begun); i++) {
        int fd = dial();
        uint64_t begin_ns = os_now_ns();
        put(fd, begun[i]);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int n = 0;
        while (n++ < 100 && poll(&p, 1, 50) == 0) /* a byte every 50 ms keeps it "active" */
            put(fd, "x");
        struct answer a;
        get_answer(fd, &a, false);
        printf("slow: status %d after %.0f ms\n", a.status, (double)(os_now_ns() - begin_ns) / 1e6);
        assert_int_equal(a.status, 408);
        assert_non_null(strstr(a.body.p, "\"ours\":408"));
        assert_true(os_now_ns() - begin_ns < 2000000000);
        assert_true(peer_closed(fd, 1000));
        answer_done(&a);
        close(fd);
    }
    assert_int_equal(ask_get("/hello"), 200);
}

/* A kept connection: silent it ends after idle_s (1), dripping after idle_s and slow_ms. */
static void test_kept_ends(void **state)
{
    (void)state;
    for (int drip = 0; drip < 2; drip++) {
        struct answer a;
        int fd = dial();
        put(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
        assert_true(get_answer(fd, &a, false));
        answer_done(&a);
        uint64_t begin_ns = os_now_ns();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        for (int n = 0; n < 100 && poll(&p, 1, 50) == 0; n++) {
            if (drip)
                put_n(fd, "G", 1);
        }
        assert_true(peer_closed(fd, 1000));
        double ms = (double)(os_now_ns() - begin_ns) / 1e6;
        printf("kept, %s: ended after %.0f ms\n", drip ? "dripping" : "silent", ms);
        assert_true(ms > 900 && ms < 4000);
        close(fd);
    }
}

/* A client that does not read ends by idle_s, and does not hold http_close up either. */
static void test_no_reader(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, "GET /endless HTTP/1.1\r\n" HOST "\r\n");
    wait_feeds(1);
    pause_ms(3000);
    wait_count(&feeds[0].n_gone, 1);
    wait_count(&feeds[0].n_done, 1);
    close(fd);
    fd = dial();
    put(fd, "GET /endless HTTP/1.1\r\n" HOST "\r\n");
    wait_feeds(2);
    pause_ms(100);
    uint64_t begin_ns = os_now_ns();
    for (size_t i = 0; i < 2; i++) {
        http_release(feeds[i].r);
        feeds[i].r = NULL;
    }
    http_close(server);
    server = NULL;
    printf("closed after %.0f ms\n", (double)(os_now_ns() - begin_ns) / 1e6);
    assert_int_equal(atomic_load(&feeds[1].n_done), 1);
    close(fd);
}

static void test_too_many(void **state)
{
    (void)state;
    int fds[4];
    for (size_t i = 0; i < N_ELEMS(fds); i++) {
        fds[i] = dial();
        put(fds[i], "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        wait_feeds(i + 1);
    }
    assert_int_equal(ask_get("/hello"), 503);
    struct str got;
    str_init(&got, 65536);
    assert_true(get_until(fds[0], &got, ": keep-alive\n\n")); /* comments in silence */
    assert_true(get_until(fds[0], &got, ": keep-alive\n\n"));
    str_done(&got);
    for (size_t i = 0; i < N_ELEMS(fds); i++)
        close(fds[i]);
    for (size_t i = 0; i < N_ELEMS(fds); i++)
        wait_count(&feeds[i].n_done, 1);
    int status = 0;
    for (int i = 0; i < 100 && status != 200; i++) {
        status = ask_get("/hello");
        pause_ms(5);
    }
    assert_int_equal(status, 200);
}

static void test_drain(void **state)
{
    (void)state;
    struct answer a;
    int fd = dial(), kept = dial();
    put(kept, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_answer(kept, &a, false));
    answer_done(&a);
    put(fd, "GET /stream?n=2 HTTP/1.1\r\n" HOST "\r\n");
    wait_feeds(1);
    assert_false(http_drain(server, 20000000));
    int late = dial_to(port);
    assert_int_equal(late, -1);
    put(kept, "GET /hello HTTP/1.1\r\n" HOST "\r\n"); /* served, then closed */
    assert_true(get_answer(kept, &a, false));
    assert_int_equal(a.status, 200);
    answer_done(&a);
    assert_true(peer_closed(kept, 2000));
    feed_push(&feeds[0], 2);
    assert_true(get_answer(fd, &a, false));
    assert_string_equal(a.body.p, "data: 0\n\ndata: 1\n\n");
    answer_done(&a);
    assert_true(http_drain(server, 2000000000));
    close(fd);
    close(kept);
}

/* teardown closes the server while streams sleep and late answers are open; every done comes. */
static void test_close_with_open_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < 10; i++) {
        int fd = dial();
        put(fd, i % 2 ? "POST /later HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"
                      : "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        wait_feeds(i + 1);
    }
    put(dial(), "GET /busy HTTP/1.1\r\n" HOST "\r\n");
    pause_ms(50);
    http_close(server);
    assert_int_equal(atomic_load(&n_feeds), 11);
    for (size_t i = 0; i < 11; i++) {
        assert_int_equal(atomic_load(&feeds[i].n_gone), 1);
        assert_int_equal(atomic_load(&feeds[i].n_done), 1);
        http_wake(feeds[i].r); /* held, so harmless after http_close too */
    }
    server = NULL;
}

/* ---- woken ---- */

static atomic_int n_woken[N_STREAMS];

static void answer_woken(struct feed *f)
{
    char text[32];
    snprintf(text, sizeof text, "ready %zu", atomic_load(&f->ready));
    http_reply(f->r, 200, "text/plain", span_of(text));
}

static void woken_last(void *state)
{
    struct feed *f = state;
    atomic_fetch_add(&n_woken[f - feeds], 1);
    answer_woken(f);
}

static const struct http_ops last_ops = {.woken = woken_last, .gone = feed_gone, .done = feed_done};

/* Answers as the request's `how` says once n are ready. */
static void woken_feed(void *state)
{
    struct feed *f = state;
    const char *how = http_query(f->r, "how");
    assert_int_equal(atomic_load(&f->n_done), 0);
    atomic_fetch_add(&n_woken[f - feeds], 1);
    if (atomic_load(&f->ready) < f->n_total)
        return;
    if (strcmp(how, "stream") == 0) {
        http_stream_begin(f->r, 200, "text/event-stream", &feed_ops, f);
    } else if (strcmp(how, "again") == 0) {
        http_later(f->r, &last_ops, f);
        http_wake(f->r);
    } else {
        answer_woken(f);
    }
}

static const struct http_ops woken_ops = {
    .woken = woken_feed, .gone = feed_gone, .done = feed_done};

static void on_woken(struct http_req *r, void *arg)
{
    (void)arg;
    struct feed *f = feed_new(r);
    const char *how = http_query(r, "how");
    atomic_store(&n_woken[f - feeds], 0);
    http_wake(r); /* no one is there to be woken yet */
    http_later(r, &woken_ops, f);
    if (strcmp(how, "early") == 0)
        http_wake(r);
    atomic_fetch_add(&n_feeds, 1);
}

static int setup_woken(void **state)
{
    static const struct http_route of_woken[] = {
        {"GET", "/woken", on_woken}
    };
    struct http_opts o = {.n_threads = 2};
    struct errinfo e = {0};
    (void)state;
    memset(feeds, 0, sizeof feeds);
    atomic_store(&n_feeds, 0);
    if (http_open(&server, &o, of_woken, N_ELEMS(of_woken), NULL, &e) != ERR_OK)
        fail_msg("%s", e.text);
    port = http_port(server);
    return 0;
}

static void expect_answer(int fd, const char *want)
{
    struct answer a;
    assert_true(get_answer(fd, &a, false));
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body.p, want);
    answer_done(&a);
}

static void test_woken_before_the_handler_returns(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, "GET /woken?how=early&n=0 HTTP/1.1\r\n" HOST "\r\n");
    expect_answer(fd, "ready 0");
    wait_count(&feeds[0].n_done, 1);
    assert_int_equal(atomic_load(&n_woken[0]), 1);
    assert_int_equal(atomic_load(&feeds[0].n_gone), 0);
    http_wake(feeds[0].r);                                        /* answered: harmless */
    put(fd, "GET /woken?how=reply&n=0 HTTP/1.1\r\n" HOST "\r\n"); /* the connection is kept */
    wait_feeds(2);
    pause_ms(50);
    assert_int_equal(atomic_load(&n_woken[1]), 0); /* the wake before http_later met no one */
    http_wake(feeds[1].r);
    expect_answer(fd, "ready 0");
    assert_int_equal(atomic_load(&n_woken[1]), 1);
    close(fd);
}

static void *waker(void *arg)
{
    struct feed *f = arg;
    for (int i = 0; i < 500; i++)
        feed_push(f, 1);
    return NULL;
}

/* None of many wakes at once is lost: the last one is seen, and answers. */
static void test_woken_many_times(void **state)
{
    (void)state;
    int fd = dial();
    for (size_t i = 0; i < 20; i++) {
        pthread_t two[2];
        put(fd, "GET /woken?how=reply&n=1000 HTTP/1.1\r\n" HOST "\r\n");
        wait_feeds(i + 1);
        for (int k = 0; k < 2; k++)
            assert_int_equal(pthread_create(&two[k], NULL, waker, &feeds[i]), 0);
        expect_answer(fd, "ready 1000");
        for (int k = 0; k < 2; k++)
            pthread_join(two[k], NULL);
        wait_count(&feeds[i].n_done, 1);
        assert_in_range(atomic_load(&n_woken[i]), 1, 1000);
        assert_int_equal(atomic_load(&feeds[i].n_gone), 0);
    }
    close(fd);
}

static void test_stream_begun_in_woken(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, "GET /woken?how=stream&n=3 HTTP/1.1\r\n" HOST "\r\n");
    wait_feeds(1);
    feed_push(&feeds[0], 2);
    pause_ms(20);
    assert_int_equal(http_stats(server).n_streams, 0);
    feed_push(&feeds[0], 1);
    expect_answer(fd, "data: 0\n\ndata: 1\n\ndata: 2\n\n");
    wait_count(&feeds[0].n_done, 1);
    assert_int_equal(http_stats(server).n_streams, 0);
    close(fd);
}

/* http_later in woken: the new ops are woken, and only theirs end. */
static void test_later_again_in_woken(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, "GET /woken?how=again&n=1 HTTP/1.1\r\n" HOST "\r\n");
    wait_feeds(1);
    feed_push(&feeds[0], 1);
    expect_answer(fd, "ready 1");
    wait_count(&feeds[0].n_done, 1);
    assert_int_equal(atomic_load(&n_woken[0]), 2);
    close(fd);
}

/* Clients that leave while they wait, some as they are woken: each ends once, none is woken after
 * that. */
static void test_gone_while_waiting_to_be_woken(void **state)
{
    (void)state;
    static const char *const hows[] = {"reply", "stream", "again"};
    for (size_t i = 0; i < 60; i++) {
        char text[128];
        int fd = dial();
        snprintf(text, sizeof text, "GET /woken?how=%s&n=%d HTTP/1.1\r\n" HOST "\r\n", hows[i % 3],
                 i % 2 ? 1 : 1000);
        put(fd, text);
        wait_feeds(i + 1);
        if (i % 4 == 1)
            feed_push(&feeds[i], 1); /* answered or gone, whichever is first */
        close(fd);
        if (i % 4 == 3)
            feed_push(&feeds[i], 1);
        wait_count(&feeds[i].n_done, 1);
        int before = atomic_load(&n_woken[i]);
        for (int k = 0; k < 10; k++)
            http_wake(feeds[i].r);
        if (i % 10 == 0)
            pause_ms(5);
        assert_int_equal(atomic_load(&n_woken[i]), before);
        if (i % 2 == 0) {
            assert_int_equal(before, 0);
            assert_int_equal(atomic_load(&feeds[i].n_gone), 1);
        }
    }
}

/* http_close ends who waits to be woken; teardown counts their ends. */
static void test_close_while_waiting_to_be_woken(void **state)
{
    (void)state;
    for (size_t i = 0; i < 10; i++) {
        put(dial(), "GET /woken?how=reply&n=1000 HTTP/1.1\r\n" HOST "\r\n");
        wait_feeds(i + 1);
        feed_push(&feeds[i], 1);
    }
    http_close(server);
    server = NULL;
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(atomic_load(&feeds[i].n_gone), 1);
        http_wake(feeds[i].r);
    }
}

#define TEST(name)       cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_SLOW(name)  cmocka_unit_test_setup_teardown(name, setup_slow, teardown)
#define TEST_WOKEN(name) cmocka_unit_test_setup_teardown(name, setup_woken, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stream),
        TEST(test_streams_at_once),
        TEST(test_gone),
        TEST(test_later),
        TEST(test_charge),
        TEST(test_idle),
        TEST_SLOW(test_slow),
        TEST_SLOW(test_kept_ends),
        TEST_SLOW(test_no_reader),
        TEST_SLOW(test_too_many),
        TEST_SLOW(test_drain),
        TEST(test_close_with_open_requests),
        TEST_WOKEN(test_woken_before_the_handler_returns),
        TEST_WOKEN(test_woken_many_times),
        TEST_WOKEN(test_stream_begun_in_woken),
        TEST_WOKEN(test_later_again_in_woken),
        TEST_WOKEN(test_gone_while_waiting_to_be_woken),
        TEST_WOKEN(test_close_while_waiting_to_be_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
