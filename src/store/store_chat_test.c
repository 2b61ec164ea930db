/* SPDX-License-Identifier: MIT
 * Chats: the tree of messages, who sees what, lists and search (Korean parts of words), what is
 * deleted and comes back, and a database of the former form. */
#include "store/store_chat_testing.h"

#include "os/os_sys.h"
#include "store/store_int.h"

#include <stdlib.h>

static void add_chat(const char *id, const char *title)
{
    struct store_chats x = {
        .chat = {.id = id, .title = title}
    };
    expect_ok(run(STORE_CHAT_ADD, &x));
    assert_string_equal(x.chats[0].id, id);
    assert_string_equal(x.chats[0].title, title);
}

static struct store_message message(const char *id, const char *parent, enum store_role role,
                                    const char *content)
{
    return (struct store_message){.id = id,
                                  .parent = parent,
                                  .role = role,
                                  .status = STORE_FINISHED,
                                  .content = span_of(content)};
}

static void add_message(const char *chat, struct store_message m)
{
    struct store_chats x = {.id = chat, .add = &m, .n_add = 1};
    expect_ok(run(STORE_MESSAGES_ADD, &x));
    assert_int_equal(x.n_messages, 1);
    assert_string_equal(x.chats[0].head, m.id);
}

/* The ids that a search or a list gives, with commas. */
static const char *found(struct store_chat_query query, const char *owner)
{
    static char ids[512];
    struct store_chats x = {.owner = owner, .query = query};
    expect_ok(run(STORE_CHAT_LIST, &x));
    ids[0] = 0;
    for (size_t i = 0; i < x.n_chats; i++) {
        strcat(ids, i ? "," : "");
        strcat(ids, x.chats[i].id);
    }
    if (x.more)
        strcat(ids, "+");
    return ids;
}

static const char *search(const char *text)
{
    return found((struct store_chat_query){.text = text}, "local");
}

/* ---- the tree ---- */

static void test_tree(void **state)
{
    (void)state;
    add_chat("c1", "");
    add_message("c1", message("u1", NULL, STORE_USER, "q"));
    add_message("c1", message("a1", "u1", STORE_ASSISTANT, "first"));
    struct store_message m = message("a2", NULL, STORE_ASSISTANT, "second");
    m.sibling = "a1";
    add_message("c1", m);
    add_message("c1", message("u2", "a2", STORE_USER, "more"));

    struct store_chats x = {.id = "c1"};
    expect_ok(run(STORE_CHAT_GET, &x));
    assert_int_equal(x.n_messages, 4);
    assert_null(x.messages[0].parent);
    assert_string_equal(x.messages[2].parent, "u1");
    assert_string_equal(x.messages[2].files, "[]");
    assert_string_equal(x.chats[0].head, "u2");

    x = (struct store_chats){.id = "c1"};
    expect_ok(run(STORE_CHAT_PATH, &x));
    assert_int_equal(x.n_messages, 3);
    assert_string_equal(x.messages[0].id, "u1");
    assert_string_equal(x.messages[1].id, "a2");
    assert_string_equal(x.messages[2].id, "u2");
    x = (struct store_chats){.id = "c1", .at = "a1"};
    expect_ok(run(STORE_CHAT_PATH, &x));
    assert_int_equal(x.n_messages, 2);
    assert_true(span_eq(x.settings, SPAN("{}")));

    x = (struct store_chats){.id = "c1", .at = "a2"};
    expect_ok(run(STORE_MESSAGE_DELETE, &x));
    assert_int_equal(x.n_messages, 2);
    assert_string_equal(x.chats[0].head, "u1");
    x = (struct store_chats){.id = "c1", .at = "nothing"};
    expect_err(run(STORE_MESSAGE_DELETE, &x), ERR_NOTFOUND);
    m = message("a3", "u2", STORE_ASSISTANT, "an orphan");
    x = (struct store_chats){.id = "c1", .add = &m, .n_add = 1};
    expect_err(run(STORE_MESSAGES_ADD, &x), ERR_NOTFOUND);
    x = (struct store_chats){.id = "c1"};
    expect_ok(run(STORE_CHAT_GET, &x));
    assert_int_equal(x.n_messages, 2);
}

/* Longer than SQLite lets triggers call each other. */
static void test_long(void **state)
{
    (void)state;
    enum { N = 3000 };
    struct store_message *all = arena_array(&mem, N, sizeof *all);
    for (size_t i = 0; i < N; i++)
        all[i] = message(arena_printf(&mem, "m%zu", i),
                         i ? arena_printf(&mem, "m%zu", i - 1) : NULL,
                         i % 2 ? STORE_ASSISTANT : STORE_USER, "x");
    struct store_chats x = {.chat = {.id = "c1"}, .add = all, .n_add = N};
    expect_ok(run(STORE_CHAT_ADD, &x));
    x = (struct store_chats){.id = "c1"};
    expect_ok(run(STORE_CHAT_PATH, &x));
    assert_int_equal(x.n_messages, N);
    x = (struct store_chats){.id = "c1", .at = "m1"};
    expect_ok(run(STORE_MESSAGE_DELETE, &x));
    assert_int_equal(x.n_messages, N - 1);
    x = (struct store_chats){.id = "c1"};
    expect_ok(run(STORE_CHAT_GET, &x));
    assert_int_equal(x.n_messages, 1);
}

static void test_running(void **state)
{
    (void)state;
    add_chat("c1", "");
    struct store_message m = message("a1", NULL, STORE_ASSISTANT, "");
    m.status = STORE_RUNNING;
    add_message("c1", m);
    struct store_chats x = {.id = "c1", .at = "a1", .set = STORE_SET_CONTENT};
    x.message.content = SPAN("half an answer");
    expect_ok(run(STORE_MESSAGE_SET, &x));
    assert_true(x.chats[0].running);
    assert_string_equal(search("answer"), "");
    x.idle = true;
    expect_err(run(STORE_MESSAGE_SET, &x), ERR_USAGE);
    expect_err(run(STORE_MESSAGE_DELETE, &x), ERR_USAGE);

    store_close(store); /* whoever wrote it is gone */
    expect_ok(store_open(&store, url, &e));
    struct store_op op = {.what = STORE_RUNNING_END, .chats = &x};
    expect_ok(store_run(store, &op, &e));
    assert_int_equal(op.n, 1);
    x = (struct store_chats){.id = "c1"};
    expect_ok(run(STORE_CHAT_GET, &x));
    assert_int_equal(x.messages[0].status, STORE_STOPPED);
    assert_true(span_eq(x.messages[0].content, SPAN("half an answer")));
    assert_false(x.chats[0].running);
    assert_string_equal(search("answer"), "c1");

    x = (struct store_chats){.id = "c1", .at = "a1", .idle = true};
    x.set = STORE_SET_CONTENT;
    x.message.content = SPAN("edited");
    expect_ok(run(STORE_MESSAGE_SET, &x));
    assert_string_equal(search("answer"), "");
    assert_string_equal(search("dite"), "c1");
}

/* What tools were called by an answer is changed by one at a time. */
static void test_calls(void **state)
{
    (void)state;
    add_chat("c1", "t");
    struct store_message m = message("a1", NULL, STORE_ASSISTANT, "answer");
    m.calls = "[{\"id\":1}]";
    add_message("c1", m);
    struct store_chats x = {.id = "c1", .at = "a1", .set = STORE_SET_CALLS};
    x.message.calls = "[2]";
    x.message.calls_were = "[]";
    expect_err(run(STORE_MESSAGE_SET, &x), ERR_BUSY);
    x.message.calls_were = "[{\"id\":1}]";
    expect_ok(run(STORE_MESSAGE_SET, &x));
    assert_string_equal(x.messages[0].calls, "[2]");
    assert_string_equal(x.messages[0].content.p, "answer");
    x = (struct store_chats){.id = "c1", .chat = {.tools = "{\"on\":[]}"}, .set = STORE_SET_TOOLS};
    expect_ok(run(STORE_CHAT_SET, &x));
    assert_string_equal(x.chats[0].tools, "{\"on\":[]}");
    add_message("c1", message("u2", "a1", STORE_USER, "q"));
    x = (struct store_chats){.id = "c1"};
    expect_ok(run(STORE_CHAT_GET, &x));
    assert_string_equal(x.messages[0].calls, "[2]");
    assert_string_equal(x.messages[1].calls, "[]");
}

static void test_sources(void **state)
{
    (void)state;
    static const char *const ids[] = {"f1", "f2"};
    add_chat("c1", "t");
    struct store_chats x = {
        .file = {.id = "f1", .name = "n", .body = SPAN("12345"), .source = "http://x/\"y"}
    };
    expect_ok(run(STORE_FILE_ADD, &x));
    x.file = (struct store_file){.id = "f2", .name = "m", .body = SPAN("678")};
    expect_ok(run(STORE_FILE_ADD, &x));
    struct store_message m = message("u1", NULL, STORE_USER, "q");
    m.file_ids = ids;
    m.n_files = 2;
    add_message("c1", m);
    x = (struct store_chats){.id = "c1", .at = "u1", .set = STORE_SET_KEPT};
    x.message.kept = (const size_t[]){3, 0};
    x.message.n_kept = 2;
    expect_ok(run(STORE_MESSAGE_SET, &x));
    assert_non_null(strstr(x.messages[0].files, "\"kept\":3"));
    assert_non_null(strstr(x.messages[0].files, "\"source\":\"http://x/\\\"y\""));
    x = (struct store_chats){.id = "c1"};
    expect_ok(run(STORE_CHAT_PATH, &x));
    assert_int_equal(x.files[0].kept, 3);
    assert_int_equal(x.files[1].kept, 0);
    assert_string_equal(x.files[0].source, "http://x/\"y");
    x = (struct store_chats){.id = "f1"};
    expect_ok(run(STORE_FILE_GET, &x));
    assert_string_equal(x.files[0].source, "http://x/\"y");
}

/* ---- search ---- */

static void test_korean(void **state)
{
    (void)state;
    add_chat("c1", "서울 여행 계획");
    add_message("c1", message("u1", NULL, STORE_USER, "대한민국의 수도는 어디인가요?"));
    add_chat("c2", "Cooking");
    add_message("c2", message("u2", NULL, STORE_USER, "김치찌개를 \"맛있게\" 끓이는 법, Recipe"));
    static const char *const cases[][2] = {
        {"한",          "c1"   },
        {"대",          "c1"   },
        {"국",          "c1"   }, /* within, at the start, before the end of
  a word */
        {"의",          "c1"   },
        {"?",            "c1"   }, /* the last of a word and of the text */
        {"한민",       "c1"   },
        {"국의",       "c1"   },
        {"한국",       ""     }, /* both are there, not together */
        {"찌개를",    "c2"   },
        {"민국의",    "c1"   },
        {"대한민국", "c1"   },
        {"의 수",      "c1"   },
        {"의수",       ""     }, /* a word ends between */
        {"행",          "c1"   },
        {"행 계",      "c1"   }, /* of the title */
        {"cook",         "c2"   },
        {"OOK",          "c2"   },
        {"cip",          "c2"   },
        {"\"맛있",     "c2"   },
        {"*",            ""     },
        {"NOT",          ""     },
        {"\"",           "c2"   },
        {"서 킹",      ""     },
        {"e",            "c2"   },
        {"는",          "c2,c1"},
    };
    for (size_t i = 0; i < N_ELEMS(cases); i++) {
        const char *got = search(cases[i][0]);
        if (strcmp(got, cases[i][1]) != 0)
            fail_msg("\"%s\" finds \"%s\", not \"%s\"", cases[i][0], got, cases[i][1]);
    }
    /* Hangul in parts, as some systems write names of files */
    add_chat("c3", "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab\xe1\x84\x80\xe1\x85\xb3\xe1\x86\xaf");
    assert_string_equal(search("한글"), "c3");
    assert_string_equal(search("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"), "c3,c1");
    struct store_chats x = {.query = {.text = "수도"}};
    expect_ok(run(STORE_CHAT_LIST, &x));
    assert_non_null(strstr(x.chats[0].snippet, "수도는"));
    x = (struct store_chats){.id = "c1", .chat = {.title = "부산"}, .set = STORE_SET_TITLE};
    expect_ok(run(STORE_CHAT_SET, &x));
    assert_string_equal(search("행"), "");
    assert_string_equal(search("부"), "c1");
    assert_string_equal(found((struct store_chat_query){.text = "부"}, "other"), "");
}

/* A part of a random text is found, and what is found has it: against strstr. */
static void test_parts(void **state)
{
    (void)state;
    enum { N = 40 };
    static const char *const letters[] = {"가", "나", "다", "a", "b", " "};
    uint64_t seed = test_seed();
    char texts[N][64];
    for (size_t i = 0; i < N; i++) {
        texts[i][0] = 0;
        for (int k = 0; k < 12; k++)
            strcat(texts[i], letters[num_rand(&seed) % N_ELEMS(letters)]);
        add_chat(arena_printf(&mem, "c%02zu", i), texts[i]);
    }
    for (int t = 0; t < 200; t++) {
        char part[16] = "";
        for (uint64_t k = num_rand(&seed) % 3 + 1; k; k--)
            strcat(part, letters[num_rand(&seed) % (N_ELEMS(letters) - 1)]);
        const char *got = search(part);
        for (size_t i = 0; i < N; i++) {
            bool there = strstr(got, arena_printf(&mem, "c%02zu", i)) != NULL;
            if (there != (strstr(texts[i], part) != NULL))
                fail_msg("\"%s\" in \"%s\": found is %d", part, texts[i], there);
        }
    }
}

/* ---- lists and what is deleted ---- */

static void test_list(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++)
        add_chat(arena_printf(&mem, "c%d", i), "t");
    struct store_chats x = {.id = "c0", .chat = {.pinned = true}, .set = STORE_SET_PINNED};
    expect_ok(run(STORE_CHAT_SET, &x));
    x = (struct store_chats){.id = "c5", .chat = {.archived = true}, .set = STORE_SET_ARCHIVED};
    expect_ok(run(STORE_CHAT_SET, &x));
    struct store_chat_query query = {.limit = 2};
    assert_string_equal(found(query, "local"), "c0,c4,c3+");
    x = (struct store_chats){.query = query};
    expect_ok(run(STORE_CHAT_LIST, &x));
    query.before_us = x.chats[2].updated_us;
    assert_string_equal(found(query, "local"), "c2,c1");
    query = (struct store_chat_query){.archived = true};
    assert_string_equal(found(query, "local"), "c5");

    x = (struct store_chats){
        .folder = {.id = "f1", .name = "일"}
    };
    expect_ok(run(STORE_FOLDER_ADD, &x));
    x = (struct store_chats){.id = "c1", .chat = {.folder = "f1"}, .set = STORE_SET_FOLDER};
    expect_ok(run(STORE_CHAT_SET, &x));
    assert_string_equal(x.chats[0].folder, "f1");
    query = (struct store_chat_query){.folder = "f1"};
    assert_string_equal(found(query, "local"), "c1");
    x = (struct store_chats){.id = "c1", .chat = {.folder = "f2"}, .set = STORE_SET_FOLDER};
    expect_err(run(STORE_CHAT_SET, &x), ERR_NOTFOUND);
    x = (struct store_chats){.id = "f1"};
    expect_ok(run(STORE_FOLDER_DELETE, &x));
    query = (struct store_chat_query){.folder = "", .text = "t"};
    assert_string_equal(found(query, "local"), "c5,c4,c3,c2,c1,c0");

    x = (struct store_chats){.id = "c2"};
    expect_ok(run(STORE_CHAT_DELETE, &x));
    expect_err(run(STORE_CHAT_DELETE, &x), ERR_NOTFOUND);
    expect_err(run(STORE_CHAT_GET, &x), ERR_NOTFOUND);
    assert_string_equal(found(query, "local"), "c5,c4,c3,c1,c0");
    expect_ok(run(STORE_CHAT_RESTORE, &x));
    expect_err(run(STORE_CHAT_RESTORE, &x), ERR_NOTFOUND);
    assert_string_equal(found(query, "local"), "c5,c4,c3,c2,c1,c0");
    x = (struct store_chats){.owner = "other", .id = "c2"};
    expect_err(run(STORE_CHAT_GET, &x), ERR_NOTFOUND);
    expect_err(run(STORE_CHAT_DELETE, &x), ERR_NOTFOUND);
}

static void test_titles(void **state)
{
    (void)state;
    add_chat("c1", "");
    struct store_chats x = {.id = "c1", .chat = {.title = "made"}, .set = STORE_SET_UNTITLED};
    expect_ok(run(STORE_CHAT_SET, &x));
    assert_string_equal(x.chats[0].title, "made");
    x.chat.title = "the user's";
    x.set = STORE_SET_TITLE;
    expect_ok(run(STORE_CHAT_SET, &x));
    x.chat.title = "made again";
    x.set = STORE_SET_UNTITLED;
    expect_ok(run(STORE_CHAT_SET, &x));
    assert_string_equal(x.chats[0].title, "the user's");
}

static void test_files(void **state)
{
    (void)state;
    const char *const ids[] = {"f1", "f2"};
    for (int i = 0; i < 2; i++) {
        struct store_chats x = {
            .file = {.id = ids[i], .name = i ? "b.c" : "가.txt"}
        };
        x.file.body = span_of(i ? "int b;" : "text");
        expect_ok(run(STORE_FILE_ADD, &x));
    }
    add_chat("c1", "");
    struct store_message m = message("u1", NULL, STORE_USER, "see");
    m.file_ids = ids;
    m.n_files = 2;
    add_message("c1", m);
    add_message("c1", message("a1", "u1", STORE_ASSISTANT, "seen"));
    struct store_chats x = {.id = "c1"};
    expect_ok(run(STORE_CHAT_PATH, &x));
    assert_int_equal(x.n_files, 2);
    assert_int_equal(x.files[0].message, 0);
    assert_string_equal(x.files[0].name, "가.txt");
    assert_true(span_eq(x.files[1].body, SPAN("int b;")));
    assert_non_null(strstr(x.messages[0].files, "\"size\":6"));
    x = (struct store_chats){.owner = "other", .id = "f1"};
    expect_err(run(STORE_FILE_GET, &x), ERR_NOTFOUND);
    /* another's file cannot be had through a message */
    x = (struct store_chats){.owner = "other", .chat = {.id = "c2"}, .add = &m, .n_add = 1};
    m.id = "u9";
    expect_err(run(STORE_CHAT_ADD, &x), ERR_NOTFOUND);
}

static void test_settings_shares(void **state)
{
    (void)state;
    struct store_chats x = {.settings = SPAN("{\"a\":1}")};
    expect_ok(run(STORE_SETTINGS_PUT, &x));
    x.settings = SPAN("");
    expect_ok(run(STORE_SETTINGS_GET, &x));
    assert_true(span_eq(x.settings, SPAN("{\"a\":1}")));
    x = (struct store_chats){.owner = "other"};
    expect_ok(run(STORE_SETTINGS_GET, &x));
    assert_true(span_eq(x.settings, SPAN("{}")));
    char *big = arena_alloc(&mem, STORE_SETTINGS_BYTES_MAX + 1);
    x.settings = (struct span){big, STORE_SETTINGS_BYTES_MAX + 1};
    expect_err(run(STORE_SETTINGS_PUT, &x), ERR_TOOBIG);

    add_chat("c1", "t");
    x = (struct store_chats){
        .id = "c1", .share = {.token = "s1", .title = "t"}
    };
    x.share.expires = os_unix_time() + 100;
    x.share.body = SPAN("[]");
    expect_ok(run(STORE_SHARE_ADD, &x));
    x.share.token = "s2";
    x.share.expires = os_unix_time();
    expect_ok(run(STORE_SHARE_ADD, &x));
    struct store_chats y = {.owner = "anyone", .id = "s1"};
    expect_ok(run(STORE_SHARE_GET, &y));
    assert_string_equal(y.share.title, "t");
    y.id = "s2"; /* expired */
    expect_err(run(STORE_SHARE_GET, &y), ERR_NOTFOUND);
    expect_ok(run(STORE_CHAT_DELETE, &x));
    y.id = "s1"; /* with its chat */
    expect_err(run(STORE_SHARE_GET, &y), ERR_NOTFOUND);
    expect_ok(run(STORE_CHAT_RESTORE, &x));
    expect_ok(run(STORE_SHARE_GET, &y));
    expect_ok(run(STORE_SHARE_DELETE, &x));
    expect_err(run(STORE_SHARE_GET, &y), ERR_NOTFOUND);
}

/* ---- what one engine could keep and the other not ---- */

static void test_nul(void **state)
{
    (void)state;
    struct store_message m = message("u1", NULL, STORE_USER, "");
    m.content = SPAN("one\0two \0");
    add_chat("c1", "");
    add_message("c1", m);
    struct store_chats x = {.id = "c1"};
    expect_ok(run(STORE_CHAT_GET, &x));
    assert_true(span_eq(x.messages[0].content, SPAN("one\xef\xbf\xbdtwo \xef\xbf\xbd")));
    assert_string_equal(search("e\xef\xbf\xbdt"), "c1");
    x = (struct store_chats){
        .file = {.id = "f", .name = "n", .body = SPAN("\0")}
    };
    expect_ok(run(STORE_FILE_ADD, &x));
    x.id = "f";
    expect_ok(run(STORE_FILE_GET, &x));
    assert_true(span_eq(x.files[0].body, SPAN("\xef\xbf\xbd")));
}

static const char *snippet(const char *text)
{
    struct store_chats x = {.query = {.text = text}};
    expect_ok(run(STORE_CHAT_LIST, &x));
    assert_int_equal(x.n_chats, 1);
    return x.chats[0].snippet;
}

static void test_snippet(void **state)
{
    (void)state;
    add_chat("c1", "여행");
    add_message("c1", message("u1", NULL, STORE_USER,
                              "가나다라마바사아자차카타파하 Ünited 가나다라마바사아자차카타파하"
                              "가나다라마바사아자차카타파하가나다라마바사아자차카타파하"));
    assert_null(snippet("여"));
    assert_string_equal(snippet("ÜN"), "…라마바사아자차카타파하 Ünited 가나다라마바사아자차카타파하"
                                       "가나다라마바사아자차카타파하가나다…");
    assert_string_equal(snippet("가나다라 nit"), snippet("가"));
    assert_int_equal(strncmp(snippet("가"), "가나다라", 12), 0);
}

/* What has gone is swept: a temporary chat a day after its last change, as when its page is closed.
 */
static void test_sweep(void **state)
{
    (void)state;
    struct store_db *db;
    static const char old[] = "UPDATE chats SET updated_us = 1; UPDATE files SET created = 1";
    add_chat("kept", "");
    for (int i = 0; i < 3; i++) {
        struct store_chats x = {
            .chat = {.id = i == 0   ? "t0"
                           : i == 1 ? "t1"
                                    : "t2",
                     .temporary = true}
        };
        struct store_message m = message(arena_printf(&mem, "m%d", i), NULL, STORE_USER, "word");
        x.add = &m;
        x.n_add = 1;
        expect_ok(run(STORE_CHAT_ADD, &x));
    }
    struct store_chats x = {
        .file = {.id = "f", .name = "n"}
    };
    expect_ok(run(STORE_FILE_ADD, &x));
    store_close(store);
    store = NULL;
    exec_sql(old);
    expect_ok(on_postgres() ? store_postgres_open(&db, url, store_schema, &e)
                            : store_sqlite_open(&db, url, store_schema, &e));
    store_db_sweep(db);
    db->engine->close(db);
    expect_ok(store_open(&store, url, &e));
    x = (struct store_chats){.id = "kept"};
    expect_ok(run(STORE_CHAT_GET, &x));
    x.id = "t1";
    expect_err(run(STORE_CHAT_GET, &x), ERR_NOTFOUND);
    x.id = "f";
    expect_err(run(STORE_FILE_GET, &x), ERR_NOTFOUND);
    assert_string_equal(search("word"), "");
}

/* ---- a database of the form before chats ---- */

static void test_migrate(void **state)
{
    (void)state;
    if (on_postgres()) /* which began with this form */
        return;
    struct store_db *db;
    struct store_schema old = store_schema;
    while (old.rows[old.n_rows - 1].version > 1)
        old.n_rows--;
    char backup[200];
    struct stat st;
    store_close(store);
    store = NULL;
    unlink(file);
    unlink(arena_printf(&mem, "%s-wal", file));
    unlink(arena_printf(&mem, "%s-shm", file));
    /* Its statements name tables of the new form, which is the only error. */
    expect_err(store_sqlite_open(&db, file, old, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "no such table"));
    expect_ok(store_open(&store, file, &e));
    snprintf(backup, sizeof backup, "%s.backup-v1", file);
    assert_int_equal(stat(backup, &st), 0);
    expect_ok(put(store, "r1", "k1", 5, "body"));
    add_chat("c1", "한글");
    assert_string_equal(search("글"), "c1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHATS_TEST(test_tree),
        CHATS_TEST(test_long),
        CHATS_TEST(test_running),
        CHATS_TEST(test_calls),
        CHATS_TEST(test_sources),
        CHATS_TEST(test_korean),
        CHATS_TEST(test_parts),
        CHATS_TEST(test_list),
        CHATS_TEST(test_titles),
        CHATS_TEST(test_files),
        CHATS_TEST(test_settings_shares),
        CHATS_TEST(test_nul),
        CHATS_TEST(test_snippet),
        CHATS_TEST(test_sweep),
        CHATS_TEST(test_migrate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
