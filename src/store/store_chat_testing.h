/* SPDX-License-Identifier: MIT
 * store_chat_testing.h - what the tests of chats and of shares begin with, beside store_testing.h.
 */
#ifndef STORE_STORE_CHAT_TESTING_H
#define STORE_STORE_CHAT_TESTING_H

#include "store/store_testing.h"

static struct arena mem;

static inline int setup_chats(void **state)
{
    arena_init(&mem);
    return setup(state);
}

static inline int teardown_chats(void **state)
{
    arena_done(&mem);
    return teardown_folder(state);
}

#define CHATS_TEST(name) cmocka_unit_test_setup_teardown(name, setup_chats, teardown_chats)

static inline enum err run(enum store_what what, struct store_chats *x)
{
    struct store_op op = {.what = what, .chats = x, .arena = &mem};
    if (!x->owner)
        x->owner = "local";
    e = (struct errinfo){0};
    return store_run(store, &op, &e);
}

#endif
