/* SPDX-License-Identifier: MIT
 * People: names, links that are used up, sessions and what ends them, the last admin, what the
 * first admin is given, keys of users, usage. */
#include "store/store_testing.h"

#include "os/os_sys.h"
#include "store/store_key.h"

#include <stdlib.h>

static struct arena mem;

static int setup_users(void **state)
{
    arena_init(&mem);
    return setup(state);
}

static int teardown_users(void **state)
{
    arena_done(&mem);
    return teardown_folder(state);
}

#define USERS_TEST(name) cmocka_unit_test_setup_teardown(name, setup_users, teardown_users)

static enum err run(enum store_what what, struct store_people *x)
{
    struct store_op op = {.what = what, .people = x, .arena = &mem};
    e = (struct errinfo){0};
    return store_run(store, &op, &e);
}

static enum err add(const char *id, const char *name, bool admin)
{
    struct store_people x = {
        .user = {.id = id, .name = name, .folded = name, .password = "hash", .admin = admin}
    };
    return run(STORE_USER_ADD, &x);
}

static struct store_people people(void)
{
    struct store_people x = {.known = -1};
    expect_ok(run(STORE_PEOPLE_GET, &x));
    return x;
}

static void hash_of(unsigned char hash[STORE_TOKEN_HASH_BYTES], const char *text)
{
    memset(hash, 0, STORE_TOKEN_HASH_BYTES);
    memcpy(hash, text, strlen(text));
}

static enum err login(const char *id, const char *user, int64_t used, int64_t expires)
{
    struct store_people x = {
        .session = {.id = id,
                    .user = user,
                    .created = used,
                    .used = used,
                    .expires = expires,
                    .agent = "a"}
    };
    hash_of(x.session.hash, id);
    return run(STORE_SESSION_ADD, &x);
}

static struct store_people pass(const char *id, const char *user, int64_t n_left, int64_t expires)
{
    struct store_people x = {
        .pass = {.id = id, .user = user, .note = "", .n_left = n_left, .expires = expires}
    };
    hash_of(x.pass.hash, id);
    return x;
}

/* ---- users ---- */

static void test_users(void **state)
{
    (void)state;
    expect_err(add("u1", "mina", false), ERR_USAGE);
    assert_non_null(strstr(e.text, "first user has to be an admin"));
    expect_ok(add("u1", "mina", true));
    int64_t version = people().version;
    expect_err(add("u2", "mina", false), ERR_USAGE);
    assert_non_null(strstr(e.text, "taken"));
    assert_int_equal(people().version, version); /* what failed changed nothing */
    expect_ok(add("u2", "\xeb\xaf\xbc\xec\x95\x84", false));
    struct store_people x = people();
    assert_true(x.version > version);
    assert_int_equal(x.n_users, 2);
    assert_string_equal(x.users[1].name, "\xeb\xaf\xbc\xec\x95\x84");
    assert_false(x.users[1].admin);
    x.known = x.version;
    expect_ok(run(STORE_PEOPLE_GET, &x));
    assert_int_equal(x.n_users, 0); /* nothing new */

    struct store_people limits = {
        .user = {.id = "u2", .requests_minute = 3, .tokens_minute = 4, .n_concurrent = 5},
        .set = STORE_USER_SET_LIMITS
    };
    expect_ok(run(STORE_USER_SET, &limits));
    assert_int_equal(limits.users[0].tokens_minute, 4);
    struct store_people name = {
        .user = {.id = "u2", .name = "mina", .folded = "mina"},
          .set = STORE_USER_SET_NAME
    };
    expect_err(run(STORE_USER_SET, &name), ERR_USAGE);
    name.user.id = "u9";
    expect_err(run(STORE_USER_SET, &name), ERR_NOTFOUND);
}

static void test_last_admin(void **state)
{
    (void)state;
    expect_ok(add("u1", "one", true));
    expect_ok(add("u2", "two", false));
    struct store_people less = {.user = {.id = "u1"}, .set = STORE_USER_SET_ADMIN};
    expect_err(run(STORE_USER_SET, &less), ERR_USAGE);
    struct store_people off = {
        .user = {.id = "u1", .disabled = 5},
          .set = STORE_USER_SET_DISABLED
    };
    expect_err(run(STORE_USER_SET, &off), ERR_USAGE);
    assert_int_equal(people().users[0].disabled, 0);
    struct store_people more = {
        .user = {.id = "u2", .admin = true},
          .set = STORE_USER_SET_ADMIN
    };
    expect_ok(run(STORE_USER_SET, &more));
    expect_ok(run(STORE_USER_SET, &off));
    assert_int_equal(people().users[0].disabled, 5);
}

/* ---- what was there before ---- */

static void test_take_over(void **state)
{
    (void)state;
    struct store_chats c = {
        .owner = "local", .chat = {.id = "c1", .title = "old"}
    };
    struct store_op op = {.what = STORE_CHAT_ADD, .chats = &c, .arena = &mem};
    expect_ok(store_run(store, &op, &e));
    c = (struct store_chats){.owner = "local", .settings = SPAN("{\"a\":1}")};
    op = (struct store_op){.what = STORE_SETTINGS_PUT, .chats = &c, .arena = &mem};
    expect_ok(store_run(store, &op, &e));
    expect_ok(put(store, "r1", "", 5, "body"));
    expect_ok(put(store, "r2", "key", 5, "body"));
    expect_ok(add("u1", "one", true));
    expect_ok(add("u2", "two", true));
    c = (struct store_chats){.owner = "u1", .id = "c1"};
    op = (struct store_op){.what = STORE_CHAT_GET, .chats = &c, .arena = &mem};
    expect_ok(store_run(store, &op, &e));
    c.owner = "u2";
    expect_err(store_run(store, &op, &e), ERR_NOTFOUND);
    c.owner = "local";
    expect_err(store_run(store, &op, &e), ERR_NOTFOUND);
    c.owner = "u1";
    op.what = STORE_SETTINGS_GET;
    expect_ok(store_run(store, &op, &e));
    assert_true(span_eq_cstr(c.settings, "{\"a\":1}"));
    assert_non_null(get(store, &mem, "r1", "u1"));
    assert_null(get(store, &mem, "r1", ""));
    assert_non_null(get(store, &mem, "r2", "key")); /* a key's stays the key's */
}

/* ---- links ---- */

static void test_invitations(void **state)
{
    (void)state;
    int64_t now = os_unix_time();
    expect_ok(add("u1", "one", true));
    struct store_people p = pass("p1", NULL, 2, now + 100);
    expect_ok(run(STORE_PASS_ADD, &p));
    struct store_people old = pass("p0", NULL, 1, now - 1);
    expect_ok(run(STORE_PASS_ADD, &old));
    expect_err(run(STORE_PASS_GET, &old), ERR_NOTFOUND);
    expect_ok(run(STORE_PASS_GET, &p));
    assert_int_equal(p.passes[0].n_left, 2);
    p.by_pass = true;
    p.user = (struct store_user){.id = "u2", .name = "one", .folded = "one", .admin = true};
    expect_err(run(STORE_USER_ADD, &p), ERR_USAGE); /* the name: the link is not used up by it */
    p.user.name = p.user.folded = "two";
    expect_ok(run(STORE_USER_ADD, &p));
    assert_false(p.users[0].admin); /* the link's role, not the asked one */
    p.user = (struct store_user){.id = "u3", .name = "three", .folded = "three"};
    expect_ok(run(STORE_USER_ADD, &p));
    p.user = (struct store_user){.id = "u4", .name = "four", .folded = "four"};
    expect_err(run(STORE_USER_ADD, &p), ERR_NOTFOUND);
    expect_ok(run(STORE_PASS_LIST, &p));
    assert_int_equal(p.n_passes, 0);
    struct store_people taken = pass("p2", NULL, 1, now + 100);
    expect_ok(run(STORE_PASS_ADD, &taken));
    expect_ok(run(STORE_PASS_END, &taken));
    expect_err(run(STORE_PASS_END, &taken), ERR_NOTFOUND);
    expect_err(run(STORE_PASS_GET, &taken), ERR_NOTFOUND);
}

/* The link for the first admin, who came in another way: it makes no further one. */
static void test_setup_link(void **state)
{
    (void)state;
    struct store_people p = pass("p1", NULL, 1, os_unix_time() + 100);
    p.pass.by = "setup";
    p.pass.admin = true;
    expect_ok(run(STORE_PASS_ADD, &p));
    expect_ok(run(STORE_PASS_GET, &p));
    expect_ok(add("u1", "one", true));
    expect_err(run(STORE_PASS_GET, &p), ERR_NOTFOUND);
}

static void test_reset(void **state)
{
    (void)state;
    int64_t now = os_unix_time();
    expect_ok(add("u1", "one", true));
    expect_ok(login("s1", "u1", now, now + 100));
    struct store_people a = pass("p1", "u1", 1, now + 100), b = pass("p2", "u1", 1, now + 100);
    expect_ok(run(STORE_PASS_ADD, &a));
    expect_ok(run(STORE_PASS_ADD, &b)); /* takes the place of the former */
    expect_err(run(STORE_PASS_GET, &a), ERR_NOTFOUND);
    expect_ok(run(STORE_PASS_GET, &b));
    assert_string_equal(b.users[0].name, "one");
    b.by_pass = true;
    b.set = STORE_USER_SET_PASSWORD;
    b.user = (struct store_user){.password = "new"};
    expect_ok(run(STORE_USER_SET, &b));
    struct store_people x = people();
    assert_string_equal(x.users[0].password, "new");
    assert_int_equal(x.n_sessions, 0);
    expect_err(run(STORE_USER_SET, &b), ERR_NOTFOUND); /* once */
    struct store_people wrong = pass("p3", "u1", 1, now + 100);
    expect_ok(run(STORE_PASS_ADD, &wrong));
    wrong.by_pass = true;
    wrong.user = (struct store_user){.id = "u2", .name = "two", .folded = "two"};
    expect_err(run(STORE_USER_ADD, &wrong), ERR_USAGE); /* it is for one who is there */
    assert_int_equal(people().n_users, 1);
}

/* A password that was right when it was checked, and set anew before what it was checked for. */
static void test_old_password(void **state)
{
    (void)state;
    int64_t now = os_unix_time();
    expect_ok(add("u1", "one", true));
    struct store_people x = {
        .session = {.id = "s1", .user = "u1", .created = now, .used = now, .expires = now + 100},
        .was = "hash"
    };
    hash_of(x.session.hash, "s1");
    expect_ok(run(STORE_SESSION_ADD, &x));
    struct store_people set = {
        .user = {.id = "u1", .password = "new"},
          .set = STORE_USER_SET_PASSWORD, .was = "hash"
    };
    expect_ok(run(STORE_USER_SET, &set));
    x.session.id = "s2";
    hash_of(x.session.hash, "s2");
    expect_err(run(STORE_SESSION_ADD, &x), ERR_USAGE);
    assert_int_equal(people().n_sessions, 0);
    set.user.password = "thief's";
    expect_err(run(STORE_USER_SET, &set), ERR_USAGE);
    assert_string_equal(people().users[0].password, "new");
}

/* ---- sessions ---- */

static void test_sessions(void **state)
{
    (void)state;
    int64_t now = os_unix_time();
    expect_ok(add("u1", "one", true));
    expect_ok(add("u2", "two", false));
    expect_err(login("s0", "u9", now, now + 100), ERR_NOTFOUND);
    expect_ok(login("s1", "u1", now, now + 100));
    expect_ok(login("s2", "u1", now, now + 100));
    expect_ok(login("s3", "u2", now, now + 100));
    expect_ok(login("s4", "u2", now - STORE_SESSION_IDLE_S - 1, now + 100)); /* idle */
    expect_ok(login("s5", "u2", now, now - 1));                              /* over */
    assert_int_equal(people().n_sessions, 3);
    struct store_people x = {
        .session = {.id = "s3", .user = "u1"}
    };
    expect_err(run(STORE_SESSION_END, &x), ERR_NOTFOUND); /* another's */
    x.session.user = "u2";
    expect_ok(run(STORE_SESSION_END, &x));
    struct store_people keep = {.user = {.id = "u1"}, .keep = "s2"};
    expect_ok(run(STORE_SESSIONS_END, &keep));
    struct store_people left = people();
    assert_int_equal(left.n_sessions, 1);
    assert_string_equal(left.sessions[0].id, "s2");
    int64_t version = left.version;
    struct store_people used = {
        .session = {.id = "s2", .user = "u1", .used = now + 7}
    };
    expect_ok(run(STORE_SESSION_USED, &used));
    left = people();
    assert_int_equal(left.sessions[0].used, now + 7);
    assert_int_equal(left.users[0].seen, now + 7);
    assert_int_equal(left.version, version); /* not worth reading all anew */
}

static void test_disabled(void **state)
{
    (void)state;
    int64_t now = os_unix_time();
    expect_ok(add("u1", "one", true));
    expect_ok(add("u2", "two", false));
    expect_ok(login("s1", "u2", now, now + 100));
    struct store_people off = {
        .user = {.id = "u2", .disabled = now},
          .set = STORE_USER_SET_DISABLED
    };
    expect_ok(run(STORE_USER_SET, &off));
    assert_int_equal(people().n_sessions, 0);
    expect_err(login("s2", "u2", now, now + 100), ERR_NOTFOUND);
    off.user.disabled = 0;
    expect_ok(run(STORE_USER_SET, &off));
    expect_ok(login("s2", "u2", now, now + 100));
}

static void test_many_sessions(void **state)
{
    (void)state;
    int64_t now = os_unix_time();
    expect_ok(add("u1", "one", true));
    for (size_t i = 0; i < STORE_SESSIONS_MAX + 3; i++)
        expect_ok(login(arena_printf(&mem, "s%02zu", i), "u1", now + (int64_t)i, now + 1000));
    struct store_people x = people();
    assert_int_equal(x.n_sessions, STORE_SESSIONS_MAX);
    assert_string_equal(x.sessions[0].id, "s03"); /* the oldest went */
}

/* ---- keys and usage ---- */

static enum err add_key(const char *id, const char *user)
{
    struct store_people x = {.key_user = {.user = user}};
    struct store_op op = {
        .what = STORE_KEY_USER_ADD, .people = &x, .key = {.id = id, .name = "k", .scopes = "chat"}
    };
    e = (struct errinfo){0};
    return store_run(store, &op, &e);
}

static void test_keys(void **state)
{
    (void)state;
    expect_ok(add("u1", "one", true));
    expect_err(add_key("k", "u9"), ERR_NOTFOUND);
    for (int i = 0; i < 20; i++)
        expect_ok(add_key(arena_printf(&mem, "k%02d", i), "u1"));
    expect_err(add_key("k20", "u1"), ERR_TOOBIG);
    struct store_op end = {.what = STORE_KEY_REVOKE, .key.id = "k03"};
    expect_ok(store_run(store, &end, &e));
    expect_ok(add_key("k20", "u1"));
    expect_err(add_key("k20", "u1"), ERR_TOOBIG);
    struct store_people x = people();
    assert_int_equal(x.n_key_users, 21);
    assert_string_equal(x.key_users[0].user, "u1");
}

static void test_ended_keys(void **state)
{
    (void)state;
    expect_ok(add("u1", "one", true));
    expect_ok(add("u2", "two", true));
    expect_ok(add_key("other", "u2"));
    for (int i = 0; i < 50; i++) {
        struct store_op end = {.what = STORE_KEY_REVOKE, .key.id = arena_printf(&mem, "k%02d", i)};
        expect_ok(add_key(end.key.id, "u1"));
        expect_ok(store_run(store, &end, &e));
    }
    struct store_op all = {.what = STORE_KEY_LIST, .arena = &mem};
    expect_ok(store_run(store, &all, &e));
    assert_int_equal(all.n, 22);
    assert_int_equal(people().n_key_users, 22);
    assert_string_equal(all.keys[0].id, "k29");
}

static void test_usage(void **state)
{
    (void)state;
    const struct store_usage rows[] = {
        {.day = 7, .owner = "u1", .model = "m", .n_requests = 1, .n_prompt = 10, .n_answer = 2},
        {.day = 8, .owner = "u1", .model = "m", .n_requests = 1, .n_prompt = 10, .n_answer = 2},
    };
    struct store_people x = {.add = rows, .n_add = N_ELEMS(rows)};
    expect_ok(run(STORE_USAGE_ADD, &x));
    expect_ok(run(STORE_USAGE_ADD, &x));
    x = (struct store_people){.since = 8};
    expect_ok(run(STORE_USAGE_GET, &x));
    assert_int_equal(x.n_usage, 1);
    assert_int_equal(x.usage[0].n_requests, 2);
    assert_int_equal(x.usage[0].n_prompt, 20);
    assert_int_equal(x.usage[0].n_answer, 4);
    assert_string_equal(x.usage[0].model, "m");
}

static void test_limits(void **state)
{
    (void)state;
    char name[STORE_USER_NAME_MAX + 2];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    expect_err(add("u1", name, true), ERR_TOOBIG);
    name[STORE_USER_NAME_MAX] = 0;
    expect_ok(add("u1", name, true));
    expect_err(add("u2", "", false), ERR_USAGE);
    expect_err(add("u2", "a\nb", false), ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        USERS_TEST(test_users),         USERS_TEST(test_last_admin),  USERS_TEST(test_take_over),
        USERS_TEST(test_setup_link),    USERS_TEST(test_invitations), USERS_TEST(test_old_password),
        USERS_TEST(test_reset),         USERS_TEST(test_sessions),    USERS_TEST(test_disabled),
        USERS_TEST(test_many_sessions), USERS_TEST(test_ended_keys),  USERS_TEST(test_keys),
        USERS_TEST(test_usage),         USERS_TEST(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
