/* SPDX-License-Identifier: MIT
 * vision_file_test.c - files of pictures against Pillow's pixels, damaged ones, and the process
 * that reads them.
 *
 * Lossless files are equal; JPEG and lossy WebP may round otherwise in another version of their
 * library, so they are near. */
#include "vision/vision_child.h"
#include "vision/vision_decode.h"
#include "vision/vision_resize.h"

#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"

#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/data/vision/"
#define SIDE   20

static const struct {
    const char *name;
    int most; /* that a number may be off */
} files[] = {
    {"plain.jpg",       2},
    {"progressive.jpg", 2},
    {"grey.jpg",        2},
    {"turned.jpg",      2},
    {"mirrored.jpg",    2},
    {"plain.png",       0},
    {"palette.png",     0},
    {"alpha.png",       1},
    {"lossless.webp",   0},
    {"lossy.webp",      3},
    {"alpha.webp",      1},
};

static uint8_t *read_file(const char *name, const char *end, size_t *n)
{
    char path[256];
    snprintf(path, sizeof path, FOLDER "%s%s", name, end);
    return test_read_file(NULL, path, n);
}

static void test_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMS(files); i++) {
        struct vision_picture p;
        struct errinfo e;
        size_t n, n_want;
        uint32_t sides[2];
        uint8_t *bytes = read_file(files[i].name, "", &n);
        uint8_t *want = read_file(files[i].name, ".rgb", &n_want);
        if (vision_decode(bytes, n, &p, &e) != ERR_OK)
            fail_msg("%s: %s", files[i].name, e.text);
        memcpy(sides, want, sizeof sides);
        assert_int_equal(p.width, sides[0]);
        assert_int_equal(p.height, sides[1]);
        assert_int_equal(n_want, 8 + p.width * p.height * 3);
        int most = 0;
        for (size_t k = 0; k < p.width * p.height * 3; k++)
            most = MAX(most, abs(p.rgb[k] - want[8 + k]));
        if (most > files[i].most)
            fail_msg("%s: %d off", files[i].name, most);
        vision_picture_done(&p);
        mem_free(bytes);
        mem_free(want);
    }
}

/* Cut anywhere, and with bytes that are others, a file is an error or a picture. */
static void test_damaged(void **state)
{
    uint64_t rng = test_seed();
    (void)state;
    for (size_t i = 0; i < N_ELEMS(files); i++) {
        struct vision_picture p;
        struct errinfo e;
        size_t n;
        uint8_t *bytes = read_file(files[i].name, "", &n), *copy = mem_alloc(n);
        for (size_t len = 0; len + 16 < n; len += 1 + len / 16) {
            memcpy(copy, bytes, len);
            if (vision_decode(copy, len, &p, &e) == ERR_OK)
                fail_msg("%s of %zu bytes, cut to %zu, is a picture", files[i].name, n, len);
            assert_null(p.rgb);
        }
        for (int round = 0; round < 200; round++) {
            memcpy(copy, bytes, n);
            for (int k = 0; k < 4; k++)
                copy[num_rand(&rng) % n] = (uint8_t)num_rand(&rng);
            if (vision_decode(copy, n, &p, &e) == ERR_OK)
                vision_picture_done(&p);
        }
        mem_free(bytes);
        mem_free(copy);
    }
}

static void test_refused(void **state)
{
    struct vision_picture p;
    struct errinfo e;
    size_t n;
    uint8_t *png = read_file("plain.png", "", &n);
    (void)state;
    assert_int_equal(vision_decode("", 0, &p, &e), ERR_UNSUPPORTED);
    assert_int_equal(vision_decode("GIF89a", 6, &p, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "GIF"));
    assert_int_equal(vision_decode(png, VISION_BYTES_MAX + 1, &p, &e), ERR_TOOBIG);
    /* More pixels than there may be, before any memory is taken for them. */
    assert_int_equal(vision_picture_init(&p, VISION_SIDE_MAX + 1, 1, &e), ERR_TOOBIG);
    assert_int_equal(vision_picture_init(&p, 16000, 16000, &e), ERR_TOOBIG);
    assert_int_equal(vision_picture_init(&p, SIZE_MAX, SIZE_MAX, &e), ERR_TOOBIG);
    assert_int_equal(vision_picture_init(&p, 0, 3, &e), ERR_CORRUPT);
    mem_free(png);
}

/* A flat picture stays flat, whichever sizes; a picture in its own size is itself. */
static void test_resize(void **state)
{
    static const size_t sides[][2] = {
        {1,   1  },
        {1,   300},
        {300, 1  },
        {7,   5  },
        {20,  20 },
        {61,  33 }
    };
    uint64_t rng = test_seed();
    uint8_t out[SIDE * SIDE * 3];
    (void)state;
    for (size_t i = 0; i < N_ELEMS(sides); i++) {
        size_t n = sides[i][0] * sides[i][1] * 3;
        uint8_t *src = mem_alloc(n);
        memset(src, 200, n);
        vision_resize(src, sides[i][0], sides[i][1], out, SIDE, SIDE);
        for (size_t k = 0; k < sizeof out; k++)
            assert_int_equal(out[k], 200);
        for (size_t k = 0; k < n; k++)
            src[k] = (uint8_t)num_rand(&rng);
        vision_resize(src, sides[i][0], sides[i][1], out, SIDE, SIDE);
        if (sides[i][0] == SIDE && sides[i][1] == SIDE)
            assert_memory_equal(src, out, n);
        mem_free(src);
    }
}

static void test_child(void **state)
{
    struct vision_child *c;
    struct vision_picture p;
    struct errinfo e;
    size_t n;
    uint8_t *jpeg = read_file("plain.jpg", "", &n);
    uint8_t want[SIDE * SIDE * 3], got[SIDE * SIDE * 3];
    (void)state;
    assert_int_equal(vision_child_open(&c, true, &e), ERR_OK);
    assert_int_equal(vision_decode(jpeg, n, &p, &e), ERR_OK);
    vision_resize(p.rgb, p.width, p.height, want, SIDE, SIDE);
    vision_picture_done(&p);
    for (int round = 0; round < 3; round++) {
        if (vision_child_read(c, jpeg, n, SIDE, got, &e) != ERR_OK)
            fail_msg("%s", e.text);
        assert_memory_equal(got, want, sizeof want);
        assert_int_equal(vision_child_read(c, jpeg, n / 2, SIDE, got, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.text, "JPEG"));
        assert_int_equal(vision_child_read(c, "nothing", 7, SIDE, got, &e), ERR_UNSUPPORTED);
        assert_int_equal(vision_child_read(c, jpeg, VISION_BYTES_MAX + 1, SIDE, got, &e),
                         ERR_TOOBIG);
    }
    vision_child_close(c);
    mem_free(jpeg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),   cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_resize),
        cmocka_unit_test(test_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
