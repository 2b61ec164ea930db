/* SPDX-License-Identifier: MIT
 * Operations: what is put is found, by its owner, in order, in part, and until it expires. */
#include "store/store_testing.h"

#include "os/os_sys.h"

static void test_put_get(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    struct store_op op = op_on(STORE_PUT, "r1", "k1");
    op.object.created = 5;
    op.object.model = "smol";
    op.object.metadata = "{\"a\":\"b\"}";
    op.object.previous = "r0";
    op.object.expires = os_unix_time() + 1000;
    op.object.body = SPAN("{\"x\":\"\xea\xb0\x80\"}");
    expect_ok(store_run(store, &op, &e));
    op = op_on(STORE_GET, "r1", "k1");
    op.arena = &a;
    expect_ok(store_run(store, &op, &e));
    const struct store_object *o = op.objects;
    assert_int_equal(op.n, 1);
    assert_string_equal(o->id, "r1");
    assert_string_equal(o->owner, "k1");
    assert_string_equal(o->model, "smol");
    assert_string_equal(o->metadata, "{\"a\":\"b\"}");
    assert_string_equal(o->previous, "r0");
    assert_int_equal(o->created, 5);
    assert_true(o->expires > os_unix_time() + 900);
    assert_true(span_eq(o->body, SPAN("{\"x\":\"\xea\xb0\x80\"}")));
    assert_null(get(store, &a, "r1", "k2"));
    assert_null(get(store, &a, "r1", NULL));
    assert_null(get(store, &a, "r2", "k1"));
    op.object.kind = STORE_CHAT_COMPLETION;
    expect_err(store_run(store, &op, &e), ERR_NOTFOUND);

    expect_ok(put(store, "r1", "k1", 6, "new"));
    assert_string_equal(get(store, &a, "r1", "k1"), "new");
    expect_err(put(store, "r1", "k2", 6, "stolen"), ERR_USAGE);
    assert_string_equal(get(store, &a, "r1", "k1"), "new");
    expect_ok(put(store, "empty", NULL, 0, ""));
    assert_string_equal(get(store, &a, "empty", ""), "");

    op = op_on(STORE_DELETE, "r1", "k2");
    expect_err(store_run(store, &op, &e), ERR_NOTFOUND);
    op.object.owner = "k1";
    expect_ok(store_run(store, &op, &e));
    expect_err(store_run(store, &op, &e), ERR_NOTFOUND);
    assert_null(get(store, &a, "r1", "k1"));
    arena_done(&a);
}

static void test_update(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    expect_ok(put(store, "r1", "k1", 5, "body"));
    struct store_op op = op_on(STORE_UPDATE, "r1", "k1");
    op.arena = &a;
    op.object.metadata = "{\"n\":\"1\"}";
    expect_ok(store_run(store, &op, &e));
    assert_string_equal(op.objects[0].metadata, "{\"n\":\"1\"}");
    assert_string_equal(op.objects[0].body.p, "body");
    assert_int_equal(op.objects[0].created, 5);
    static const char *const bad[] = {
        "[]", "{", "1", "", "{\"a\":}", "{\"a\":\"\xff\"}", "{\"a\":\"\\u0000\"}"};
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        op.object.metadata = bad[i];
        expect_err(store_run(store, &op, &e), ERR_USAGE);
    }
    op.object.owner = "k2";
    op.object.metadata = "{}";
    expect_err(store_run(store, &op, &e), ERR_NOTFOUND);
    op = op_on(STORE_GET, "r1", "k1");
    op.arena = &a;
    expect_ok(store_run(store, &op, &e));
    assert_string_equal(op.objects[0].metadata, "{\"n\":\"1\"}");
    arena_done(&a);
}

/* ---- lists against a plain array ---- */

#define N_MADE 120

struct made {
    char id[16], owner[4], model[4], meta[64];
    int64_t created;
};

static int by_time(const void *a, const void *b)
{
    const struct made *x = a, *y = b;
    if (x->created != y->created)
        return x->created < y->created ? -1 : 1;
    return strcmp(x->id, y->id);
}

static void make_objects(struct made *all, uint64_t *seed)
{
    for (int i = 0; i < N_MADE; i++) {
        struct made *m = &all[i];
        snprintf(m->id, sizeof m->id, "r%04x", (unsigned)(num_rand(seed) % 4096 * 16 + i % 16));
        for (int k = 0; k < i; k++) /* ids are unique */
            if (strcmp(all[k].id, m->id) == 0)
                snprintf(m->id, sizeof m->id, "x%d", i);
        snprintf(m->owner, sizeof m->owner, "%s", num_rand(seed) % 3 ? "k1" : "");
        snprintf(m->model, sizeof m->model, "m%u", (unsigned)(num_rand(seed) % 3));
        snprintf(m->meta, sizeof m->meta, "{\"a\":\"%u\",\"b b\":\"%u\"}",
                 (unsigned)(num_rand(seed) % 2), (unsigned)(num_rand(seed) % 2));
        m->created = (int64_t)(num_rand(seed) % 20);
        struct store_op op = op_on(STORE_PUT, m->id, m->owner);
        op.object.created = m->created;
        op.object.model = m->model;
        op.object.metadata = m->meta;
        op.object.body = span_of(m->id);
        expect_ok(store_run(store, &op, &e));
    }
    qsort(all, N_MADE, sizeof *all, by_time);
}

static bool is_wanted(const struct made *m, const char *owner, const struct store_query *q)
{
    return strcmp(m->owner, owner) == 0 && (!q->model || strcmp(q->model, m->model) == 0) &&
           (!q->metadata || strncmp(m->meta, q->metadata, strlen(q->metadata) - 1) == 0);
}

/* Walks the whole list page by page. */
static void expect_list(const struct made *all, const char *owner, struct store_query q)
{
    struct arena a;
    arena_init(&a);
    int at = q.descending ? N_MADE - 1 : 0, step = q.descending ? -1 : 1;
    struct store_op op = op_on(STORE_LIST, NULL, owner);
    op.arena = &a;
    op.query = q;
    do {
        expect_ok(store_run(store, &op, &e));
        assert_true(op.n <= (q.limit ? q.limit : 20) && (op.n || !op.more));
        for (size_t i = 0; i < op.n; i++, at += step) {
            while (!is_wanted(&all[at], owner, &q))
                at += step;
            assert_string_equal(op.objects[i].id, all[at].id);
            assert_string_equal(op.objects[i].body.p, all[at].id);
            assert_int_equal(op.objects[i].created, all[at].created);
        }
        if (op.n)
            op.query.after = op.objects[op.n - 1].id;
    } while (op.more);
    for (; at >= 0 && at < N_MADE; at += step)
        assert_false(is_wanted(&all[at], owner, &q));
    arena_done(&a);
}

static void test_list(void **state)
{
    (void)state;
    static struct made all[N_MADE];
    uint64_t seed = test_seed();
    make_objects(all, &seed);
    for (int i = 0; i < 48; i++) {
        struct store_query q = {.limit = num_rand(&seed) % 50, .descending = i & 1};
        q.model = i & 2 ? "m1" : NULL;
        q.metadata = i & 4 ? "{\"a\":\"1\"}" : i & 8 ? "{\"a\":\"0\",\"b b\":\"1\"}" : NULL;
        expect_list(all, i & 16 ? "" : "k1", q);
    }
    struct arena a;
    arena_init(&a);
    struct store_op op = op_on(STORE_LIST, NULL, "k1");
    op.arena = &a;
    op.query.after = "nobody";
    expect_err(store_run(store, &op, &e), ERR_NOTFOUND);
    op.query = (struct store_query){.metadata = "{\"a\":1}"}; /* a number is no text */
    expect_ok(store_run(store, &op, &e));
    assert_int_equal(op.n, 0);
    op.query.metadata = "[1]";
    expect_err(store_run(store, &op, &e), ERR_USAGE);
    op.query.metadata = "}";
    expect_err(store_run(store, &op, &e), ERR_USAGE);
    op.query = (struct store_query){.limit = STORE_LIST_MAX + 1};
    expect_err(store_run(store, &op, &e), ERR_USAGE);
    arena_done(&a);
}

/* ---- items ---- */

static enum err put_items(const char *id, const char *previous, size_t n, bool keep)
{
    static struct store_item items[300];
    static char ids[300][32];
    struct store_op op = op_on(STORE_PUT, id, "k");
    assert_true(n <= 300);
    for (size_t i = 0; i < n; i++) {
        snprintf(ids[i], sizeof ids[i], "i%zu", i);
        items[i] = (struct store_item){ids[i], span_of(ids[i])};
    }
    op.object.body = span_of(id);
    op.object.previous = previous;
    op.object.items = items;
    op.object.n_items = n;
    op.keep_items = keep;
    return store_run(store, &op, &e);
}

static void expect_items(const char *id, size_t n, size_t limit, bool down)
{
    struct arena a;
    arena_init(&a);
    struct store_op op = op_on(STORE_ITEMS, id, "k");
    op.arena = &a;
    op.query = (struct store_query){.limit = limit, .descending = down};
    size_t seen = 0;
    char want[32];
    do {
        expect_ok(store_run(store, &op, &e));
        for (size_t i = 0; i < op.n; i++, seen++) {
            snprintf(want, sizeof want, "i%zu", down ? n - 1 - seen : seen);
            assert_string_equal(op.items[i].id, want);
            assert_true(span_eq_cstr(op.items[i].body, want));
        }
        if (op.n)
            op.query.after = op.items[op.n - 1].id;
    } while (op.more);
    assert_int_equal(seen, n);
    arena_done(&a);
}

static void test_items(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    expect_ok(put_items("r1", NULL, 47, false));
    for (size_t limit = 0; limit <= 48; limit += 12) {
        expect_items("r1", 47, limit, false);
        expect_items("r1", 47, limit, true);
    }
    expect_ok(put_items("r1", NULL, 0, true));
    expect_items("r1", 47, 100, false);
    expect_ok(put_items("r1", NULL, 3, false));
    expect_items("r1", 3, 3, false);
    struct store_op op = op_on(STORE_ITEMS, "r1", "k");
    op.arena = &a;
    op.query.after = "i3";
    expect_err(store_run(store, &op, &e), ERR_NOTFOUND);
    op = op_on(STORE_ITEMS, "r1", "other");
    op.arena = &a;
    expect_err(store_run(store, &op, &e), ERR_NOTFOUND);
    /* the same id twice: the object stays what it was */
    struct store_item twice[] = {
        {"i", SPAN("1")},
        {"i", SPAN("2")}
    };
    op = op_on(STORE_PUT, "r1", "k");
    op.object.body = SPAN("other");
    op.object.items = twice;
    op.object.n_items = 2;
    expect_err(store_run(store, &op, &e), ERR_USAGE);
    expect_items("r1", 3, 0, false);
    assert_string_equal(get(store, &a, "r1", "k"), "r1");
    op = op_on(STORE_DELETE, "r1", "k");
    expect_ok(store_run(store, &op, &e));
    expect_ok(put_items("r1", NULL, 0, true));
    expect_items("r1", 0, 5, false);
    arena_done(&a);
}

static void test_chain(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char id[32], previous[32];
    for (size_t i = 0; i < 6; i++) {
        snprintf(id, sizeof id, "r%zu", i);
        snprintf(previous, sizeof previous, "r%zu", i - 1);
        expect_ok(put_items(id, i ? previous : NULL, 2 * i, false));
    }
    struct store_op op = op_on(STORE_CHAIN, "r4", "k");
    op.arena = &a;
    expect_ok(store_run(store, &op, &e));
    assert_int_equal(op.n, 5);
    for (size_t i = 0; i < 5; i++) {
        snprintf(id, sizeof id, "r%zu", i);
        assert_string_equal(op.objects[i].id, id);
        assert_int_equal(op.objects[i].n_items, 2 * i);
        if (i)
            assert_string_equal(op.objects[i].items[2 * i - 1].id, i == 1   ? "i1"
                                                                   : i == 2 ? "i3"
                                                                   : i == 3 ? "i5"
                                                                            : "i7");
    }
    op.query.limit = 4;
    expect_err(store_run(store, &op, &e), ERR_TOOBIG);
    op.query.limit = 5;
    expect_ok(store_run(store, &op, &e));
    op.object.owner = "";
    expect_err(store_run(store, &op, &e), ERR_NOTFOUND);
    struct store_op gone = op_on(STORE_DELETE, "r2", "k");
    expect_ok(store_run(store, &gone, &e));
    op.object.owner = "k";
    expect_err(store_run(store, &op, &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "r2"));
    expect_ok(put_items("r2", "r4", 1, false)); /* in a circle */
    expect_err(store_run(store, &op, &e), ERR_TOOBIG);
    arena_done(&a);
}

static void test_expiry(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    struct store_op op = op_on(STORE_PUT, "old", "k");
    op.object.expires = 1;
    op.object.body = SPAN("x");
    expect_ok(store_run(store, &op, &e));
    assert_null(get(store, &a, "old", "k"));
    static const enum store_what on_one[] = {STORE_GET, STORE_UPDATE, STORE_DELETE, STORE_ITEMS,
                                             STORE_CHAIN};
    for (size_t i = 0; i < N_ELEMS(on_one); i++) {
        op = op_on(on_one[i], "old", "k");
        op.arena = &a;
        expect_err(store_run(store, &op, &e), ERR_NOTFOUND);
    }
    op = op_on(STORE_LIST, NULL, "k");
    op.arena = &a;
    expect_ok(store_run(store, &op, &e));
    assert_int_equal(op.n, 0);
    arena_done(&a);
}

static void test_limits(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char *big = malloc(STORE_BODY_BYTES_MAX + 2);
    memset(big, 'b', STORE_BODY_BYTES_MAX + 1);
    big[STORE_BODY_BYTES_MAX + 1] = 0;
    struct store_op op = op_on(STORE_PUT, "big", "");
    op.object.body = (struct span){big, STORE_BODY_BYTES_MAX + 1};
    expect_err(store_run(store, &op, &e), ERR_TOOBIG);
    op.object.body.n--;
    expect_ok(store_run(store, &op, &e));
    struct store_item item[2] = {
        {"a", op.object.body},
        {"b", SPAN("x")     }
    };
    op.object.items = item;
    op.object.n_items = 2;
    expect_err(store_run(store, &op, &e), ERR_TOOBIG);
    op.object.n_items = 1;
    expect_ok(store_run(store, &op, &e));
    op.object.id = "two";
    expect_ok(store_run(store, &op, &e));
    op = op_on(STORE_CHAIN, "two", "");
    op.arena = &a;
    expect_ok(store_run(store, &op, &e));
    op = op_on(STORE_LIST, NULL, "");
    op.arena = &a;
    expect_ok(store_run(store, &op, &e));
    assert_true(op.n == 2 && !op.more); /* just as much as one answer may have */
    op = op_on(STORE_PUT, "three", "");
    op.object.body = SPAN("x");
    expect_ok(store_run(store, &op, &e));
    op = op_on(STORE_LIST, NULL, "");
    op.arena = &a;
    expect_ok(store_run(store, &op, &e));
    assert_true(op.n == 2 && op.more);
    big[STORE_TEXT_BYTES_MAX + 1] = 0;
    expect_err(put(store, big, "", 0, "x"), ERR_TOOBIG);
    expect_err(put(store, "id", big, 0, "x"), ERR_TOOBIG);
    expect_ok(put(store, "id", big + 1, 0, "x"));
    expect_err(put(store, "", "", 0, "x"), ERR_USAGE);
    expect_err(put(store, "a\nb", "", 0, "x"), ERR_USAGE);
    expect_err(put(store, "\xc0", "", 0, "x"), ERR_USAGE);
    expect_err(put(store, "id", "", 0, "\xc0"), ERR_USAGE);
    expect_err(put(store, "id", "", -1, "x"), ERR_USAGE);
    free(big);
    arena_done(&a);
}

static void test_memory(void **state)
{
    (void)state;
    struct store *s;
    struct arena a;
    arena_init(&a);
    expect_ok(store_open(&s, "sqlite::memory:", &e));
    expect_ok(put(s, "r", "", 1, "here"));
    assert_string_equal(get(s, &a, "r", ""), "here");
    store_close(s);
    expect_ok(store_open(&s, "sqlite::memory:", &e));
    assert_null(get(s, &a, "r", ""));
    store_close(s);
    expect_err(store_open(&s, "mysql://localhost/x", &e), ERR_UNSUPPORTED);
    assert_null(s);
    expect_err(store_open(&s, "sqlite:", &e), ERR_USAGE);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_put_get), TEST(test_update), TEST(test_list),   TEST(test_items),
        TEST(test_chain),   TEST(test_expiry), TEST(test_limits), TEST(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
