/* SPDX-License-Identifier: MIT
 * store_testing.h - what the tests of this folder share: a database in a folder of its own. */
#ifndef STORE_STORE_TESTING_H
#define STORE_STORE_TESTING_H

#include "base/test.h"

#include "base/num.h"
#include "store/store.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], file[128];
static struct store *store;
static struct errinfo e;

#define expect_ok(call)                                                                            \
    do {                                                                                           \
        e = (struct errinfo){0};                                                                   \
        if ((call) != ERR_OK)                                                                      \
            fail_msg("%s:%d: %s", __FILE__, __LINE__, e.text);                                     \
    } while (0)
#define expect_err(call, code)                                                                     \
    do {                                                                                           \
        assert_int_equal(call, code);                                                              \
        assert_true(e.text[0]);                                                                    \
    } while (0)

static inline int setup_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/store_test_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/a/damso.db", folder);
    return 0;
}

static inline void remove_files(const char *path)
{
    char below[512];
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *x; (x = readdir(d));) {
        snprintf(below, sizeof below, "%s/%s", path, x->d_name);
        if (x->d_name[0] != '.' && unlink(below) != 0)
            remove_files(below);
    }
    closedir(d);
    assert_int_equal(rmdir(path), 0);
}

static inline int teardown_folder(void **state)
{
    (void)state;
    store_close(store);
    store = NULL;
    remove_files(folder);
    return 0;
}

static inline int setup(void **state)
{
    setup_folder(state);
    expect_ok(store_open(&store, file, &e));
    return 0;
}

/* ---- short forms ---- */

static inline struct store_op op_on(enum store_what what, const char *id, const char *owner)
{
    return (struct store_op){
        .what = what, .object = {.kind = STORE_RESPONSE, .id = id, .owner = owner}
    };
}

static inline enum err put(struct store *s, const char *id, const char *owner, int64_t created,
                           const char *body)
{
    struct store_op op = op_on(STORE_PUT, id, owner);
    op.object.created = created;
    op.object.model = "m";
    op.object.body = span_of(body);
    return store_run(s, &op, &e);
}

/* The body by an arena's memory, or NULL. */
static inline const char *get(struct store *s, struct arena *a, const char *id, const char *owner)
{
    struct store_op op = op_on(STORE_GET, id, owner);
    op.arena = a;
    return store_run(s, &op, &e) == ERR_OK ? op.objects[0].body.p : NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown_folder)

#endif
