/* SPDX-License-Identifier: MIT
 * Shared chats and what their readers say; chats from elsewhere. */
#include "store/store_chat_testing.h"

#include "os/os_sys.h"

static void add_share(const char *chat, const char *token)
{
    struct store_chats x = {
        .chat = {.id = chat, .title = "t"}
    };
    if (run(STORE_CHAT_GET, &(struct store_chats){.id = chat}) != ERR_OK)
        expect_ok(run(STORE_CHAT_ADD, &x));
    x = (struct store_chats){
        .id = chat,
        .share = {.token = token,
                  .title = "t",
                  .created = os_unix_time(),
                  .expires = os_unix_time() + 100,
                  .body = SPAN("[1]")}
    };
    expect_ok(run(STORE_SHARE_ADD, &x));
}

static struct store_chats seen(const char *token, const char *reader)
{
    struct store_chats x = {.owner = "", .id = token, .note = {.reader = reader}};
    expect_ok(run(STORE_SHARE_GET, &x));
    return x;
}

static enum err like(const char *token, const char *note, const char *reader, bool on)
{
    struct store_chats x = {
        .owner = "", .id = token, .at = note, .liked = on, .note = {.reader = reader}};
    return run(STORE_SHARE_LIKE, &x);
}

static enum err add_note(const char *token, const char *id, const char *reader, const char *text)
{
    struct store_chats x = {
        .owner = "",
        .id = token,
        .note = {.id = id,
                 .reader = reader,
                 .name = "가람",
                 .text = text,
                 .message = "m1",
                 .quote = "한 구절",
                 .nth = 2}
    };
    return run(STORE_NOTE_ADD, &x);
}

/* One reader counts once, with any number of tries, and can take it back. */
static void test_likes(void **state)
{
    (void)state;
    add_share("c1", "s1");
    add_share("c1", "s2");
    expect_ok(like("s1", NULL, "r1", true));
    expect_ok(like("s1", NULL, "r1", true));
    expect_ok(like("s1", NULL, "r2", true));
    struct store_chats x = seen("s1", "r1");
    assert_int_equal(x.share.n_likes, 2);
    assert_true(x.share.liked);
    assert_true(span_eq(x.share.body, SPAN("[1]")));
    assert_false(seen("s1", NULL).share.liked);
    assert_int_equal(seen("s2", "r1").share.n_likes, 0);
    expect_ok(like("s1", NULL, "r1", false));
    x = seen("s1", "r1");
    assert_int_equal(x.share.n_likes, 1);
    assert_false(x.share.liked);
    expect_err(like("none", NULL, "r1", true), ERR_NOTFOUND);
    expect_err(like("s1", "none", "r1", true), ERR_NOTFOUND);
    expect_err(like("s1", NULL, NULL, true), ERR_USAGE);
}

static void test_notes(void **state)
{
    (void)state;
    add_share("c1", "s1");
    expect_ok(add_note("s1", "n1", "r1", "첫 줄\n둘째 줄"));
    expect_ok(add_note("s1", "n2", "r2", "two"));
    expect_ok(like("s1", "n1", "r2", true));
    struct store_chats x = seen("s1", "r2");
    assert_int_equal(x.n_notes, 2);
    assert_string_equal(x.notes[0].text, "첫 줄\n둘째 줄");
    assert_string_equal(x.notes[0].name, "가람");
    assert_string_equal(x.notes[0].message, "m1");
    assert_string_equal(x.notes[0].quote, "한 구절");
    assert_int_equal(x.notes[0].nth, 2);
    assert_int_equal(x.notes[0].n_likes, 1);
    assert_true(x.notes[0].liked && !x.notes[0].own && x.notes[1].own && !x.notes[1].liked);
    assert_int_equal(x.share.n_likes, 0);

    /* Who wrote one takes it back; who did not, does not. */
    struct store_chats drop = {.owner = "", .id = "s1", .at = "n1", .note = {.reader = "r2"}};
    expect_err(run(STORE_NOTE_DELETE, &drop), ERR_NOTFOUND);
    drop.at = "n2";
    expect_ok(run(STORE_NOTE_DELETE, &drop));
    /* The owner of the chat, and no other owner, deletes any. */
    drop = (struct store_chats){.owner = "other", .id = "c1", .at = "n1"};
    expect_err(run(STORE_NOTE_DELETE, &drop), ERR_NOTFOUND);
    drop.owner = "local";
    expect_ok(run(STORE_NOTE_DELETE, &drop));
    expect_err(run(STORE_NOTE_DELETE, &drop), ERR_NOTFOUND);
    assert_int_equal(seen("s1", NULL).n_notes, 0);
    char *big = arena_alloc(&mem, STORE_NOTE_BYTES_MAX + 2);
    memset(big, 'x', STORE_NOTE_BYTES_MAX + 1);
    expect_err(add_note("s1", "n3", "r1", big), ERR_TOOBIG);
}

static void test_owner(void **state)
{
    (void)state;
    add_share("c1", "s1");
    add_share("c2", "s9");
    expect_ok(add_note("s1", "n1", "r1", "one"));
    expect_ok(add_note("s9", "n9", "r1", "of another chat"));
    expect_ok(like("s1", NULL, "r1", true));
    struct store_chats x = {.id = "c1"};
    expect_ok(run(STORE_SHARE_LIST, &x));
    assert_int_equal(x.n_shares, 1);
    assert_string_equal(x.shares[0].token, "s1");
    assert_int_equal(x.shares[0].n_likes, 1);
    assert_true(x.shares[0].comments);
    assert_int_equal(x.n_notes, 1);
    x = (struct store_chats){.id = "c1", .share = {.comments = false}};
    expect_ok(run(STORE_SHARE_SET, &x));
    assert_false(x.shares[0].comments);
    expect_err(add_note("s1", "n2", "r1", "late"), ERR_USAGE);
    assert_int_equal(seen("s1", NULL).n_notes, 1); /* what is there stays */
    x = (struct store_chats){.owner = "other", .id = "c1"};
    expect_err(run(STORE_SHARE_LIST, &x), ERR_NOTFOUND);
    expect_err(run(STORE_SHARE_SET, &x), ERR_NOTFOUND);
    x = (struct store_chats){.id = "c1"};
    expect_ok(run(STORE_SHARE_DELETE, &x));
    expect_err(add_note("s1", "n2", "r1", "late"), ERR_NOTFOUND);
    assert_int_equal(seen("s9", NULL).n_notes, 1);
}

static void test_too_many_notes(void **state)
{
    (void)state;
    add_share("c1", "s1");
    for (size_t i = 0; i < STORE_NOTES_MAX; i++)
        expect_ok(add_note("s1", arena_printf(&mem, "n%zu", i), "r1", "x"));
    expect_err(add_note("s1", "more", "r1", "x"), ERR_TOOBIG);
}

static struct store_chats imported(const char *owner, const char *id, const char *source)
{
    static const char *const ids[] = {"u", "a1", "a2"};
    struct store_message *add = arena_array(&mem, 3, sizeof *add);
    for (int i = 0; i < 3; i++)
        add[i] = (struct store_message){.id = arena_printf(&mem, "%s-%s", id, ids[i]),
                                        .parent = i ? add[0].id : NULL,
                                        .role = i ? STORE_ASSISTANT : STORE_USER,
                                        .status = STORE_FINISHED,
                                        .created = 100 + i,
                                        .content = SPAN("담소")};
    struct store_chats x = {
        .owner = owner,
        .source = source,
        .chat = {.id = id,
                 .title = "옛 대화",
                 .titled = true,
                 .created = 100,
                 .updated_us = 7000000,
                 .pinned = true,
                 .archived = true,
                 .head = add[1].id},
        .add = add,
        .n_add = 3
    };
    expect_ok(run(STORE_CHAT_IMPORT, &x));
    return x;
}

/* What is imported twice is there once, until it is deleted. */
static void test_import(void **state)
{
    (void)state;
    struct store_chats x = imported("local", "c1", "chatgpt:1");
    assert_false(x.known);
    const struct store_chat *c = &x.chats[0];
    assert_true(c->created == 100 && c->updated_us == 7000000 && c->pinned && c->archived);
    assert_string_equal(c->head, "c1-a1");
    assert_string_equal(c->title, "옛 대화");
    x = imported("local", "c2", "chatgpt:1");
    assert_true(x.known);
    assert_string_equal(x.chats[0].id, "c1");
    x = imported("other", "c3", "chatgpt:1");
    assert_false(x.known);
    x = (struct store_chats){.id = "c1"};
    expect_ok(run(STORE_CHAT_GET, &x));
    assert_int_equal(x.n_messages, 3);
    x = (struct store_chats){.query = {.text = "소"}};
    expect_ok(run(STORE_CHAT_LIST, &x));
    assert_int_equal(x.n_chats, 1);
    x = (struct store_chats){.id = "c1"};
    expect_ok(run(STORE_CHAT_DELETE, &x));
    assert_false(imported("local", "c4", "chatgpt:1").known);
    assert_true(imported("local", "c5", "damso:c4").known);
    assert_false(imported("other", "c6", "damso:c4").known);
    assert_true(imported("other", "c7", "damso:c4").known);
    /* A head that is not there leaves nothing behind. */
    struct store_message m = {.id = "u9", .role = STORE_USER, .status = STORE_FINISHED};
    x = (struct store_chats){
        .source = "s", .chat = {.id = "c9", .head = "none"},
             .add = &m, .n_add = 1
    };
    expect_err(run(STORE_CHAT_IMPORT, &x), ERR_NOTFOUND);
    x = (struct store_chats){.id = "c9"};
    expect_err(run(STORE_CHAT_GET, &x), ERR_NOTFOUND);
}

static void add_file(const char *id, const char *owner)
{
    struct store_chats x = {
        .owner = owner, .file = {.id = id, .name = "메모.txt", .body = SPAN("text")}
    };
    expect_ok(run(STORE_FILE_ADD, &x));
}

static enum err folder_file(enum store_what what, const char *id, const char *file_id)
{
    struct store_chats x = {.id = id, .file = {.id = file_id}};
    return run(what, &x);
}

/* A folder's files are read with each of its chats, and stay when no message has them. */
static void test_folder_files(void **state)
{
    (void)state;
    struct store_chats x = {
        .folder = {.id = "f1", .name = "n"}
    };
    expect_ok(run(STORE_FOLDER_ADD, &x));
    assert_string_equal(x.folders[0].files, "[]");
    add_file("file1", "local");
    add_file("file2", "other");
    expect_ok(folder_file(STORE_FOLDER_FILE_ADD, "f1", "file1"));
    expect_ok(folder_file(STORE_FOLDER_FILE_ADD, "f1", "file1"));
    expect_err(folder_file(STORE_FOLDER_FILE_ADD, "f1", "file2"), ERR_NOTFOUND);
    expect_err(folder_file(STORE_FOLDER_FILE_ADD, "none", "file1"), ERR_NOTFOUND);
    x = (struct store_chats){.owner = "local"};
    expect_ok(run(STORE_FOLDER_LIST, &x));
    assert_string_equal(x.folders[0].files,
                        "[{\"id\":\"file1\",\"name\":\"메모.txt\",\"type\":\"\",\"size\":4}]");
    struct store_message m = {.id = "u1", .role = STORE_USER, .status = STORE_FINISHED};
    x = (struct store_chats){
        .chat = {.id = "c1", .folder = "f1"},
          .add = &m, .n_add = 1
    };
    expect_ok(run(STORE_CHAT_ADD, &x));
    x = (struct store_chats){.id = "c1"};
    expect_ok(run(STORE_CHAT_PATH, &x));
    assert_int_equal(x.n_files, 1);
    assert_true(x.files[0].message == STORE_OF_FOLDER);
    assert_true(span_eq(x.files[0].body, SPAN("text")));
    expect_ok(folder_file(STORE_FOLDER_FILE_DELETE, "f1", "file1"));
    expect_err(folder_file(STORE_FOLDER_FILE_DELETE, "f1", "file1"), ERR_NOTFOUND);
    expect_ok(run(STORE_CHAT_PATH, &x));
    assert_int_equal(x.n_files, 0);
    for (size_t i = 0; i <= STORE_FOLDER_FILES_MAX; i++) {
        const char *id = arena_printf(&mem, "many%zu", i);
        add_file(id, "local");
        enum err err = folder_file(STORE_FOLDER_FILE_ADD, "f1", id);
        assert_int_equal(err, i < STORE_FOLDER_FILES_MAX ? ERR_OK : ERR_TOOBIG);
    }
}

/* No link of a chat is one that its owner does not see. */
static void test_too_many_shares(void **state)
{
    (void)state;
    add_share("c1", "t0");
    for (size_t i = 1; i < STORE_SHARES_MAX; i++)
        add_share("c1", arena_printf(&mem, "t%zu", i));
    struct store_chats x = {
        .id = "c1",
        .share = {
                  .token = "more", .title = "t", .expires = os_unix_time() + 100, .body = SPAN("[]")}
    };
    expect_err(run(STORE_SHARE_ADD, &x), ERR_TOOBIG);
    add_share("c2", "other");
    expect_ok(run(STORE_SHARE_DELETE, &x));
    expect_ok(run(STORE_SHARE_ADD, &x));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHATS_TEST(test_likes),           CHATS_TEST(test_notes),  CHATS_TEST(test_owner),
        CHATS_TEST(test_too_many_notes),  CHATS_TEST(test_import), CHATS_TEST(test_folder_files),
        CHATS_TEST(test_too_many_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
