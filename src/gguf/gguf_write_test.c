/* SPDX-License-Identifier: MIT
 * gguf_write_test.c - files that are written, read again; tools' own reader (PyPI `gguf`) reads
 * them in tests/quantize_test.py. */
#include "base/test.h"

#include "base/num.h"
#include "gguf/gguf_type.h"
#include "gguf/gguf_write.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/gguf_write_XXXXXX", path[64];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static int n_files(void)
{
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));)
        n += f->d_name[0] != '.';
    closedir(d);
    return n;
}

static struct gguf_write *begin(void)
{
    struct errinfo e;
    struct gguf_write *w;
    if (gguf_write_new(&w, path, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return w;
}

#define NAME(text) .name = SPAN(text)

static void put_keys(struct gguf_write *w)
{
    static const unsigned char bytes[3] = {7, 8, 9};
    static const float floats[2] = {0.5f, -3};
    static const struct span texts[2] = {
        {"a", 1},
        {"",  0}
    };
    const struct gguf_key keys[] = {
        {NAME("u8"),     .kind = GGUF_U8,    .u = 200                          },
        {NAME("i8"),     .kind = GGUF_I8,    .i = -5                           },
        {NAME("u16"),    .kind = GGUF_U16,   .u = 60000                        },
        {NAME("i16"),    .kind = GGUF_I16,   .i = -300                         },
        {NAME("i32"),    .kind = GGUF_I32,   .i = -70000                       },
        {NAME("f32"),    .kind = GGUF_F32,   .f = 0.1f                         },
        {NAME("bool"),   .kind = GGUF_BOOL,  .u = 1                            },
        {NAME("u64"),    .kind = GGUF_U64,   .u = UINT64_MAX                   },
        {NAME("i64"),    .kind = GGUF_I64,   .i = INT64_MIN                    },
        {NAME("f64"),    .kind = GGUF_F64,   .f = 1e300                        },
        {NAME("bytes"),  .kind = GGUF_ARRAY, .a = {GGUF_U8, 3, bytes, NULL}    },
        {NAME("floats"), .kind = GGUF_ARRAY,
         .a = {GGUF_F32, 2, (const unsigned char *)floats, NULL}               },
        {NAME("texts"),  .kind = GGUF_ARRAY, .a = {GGUF_STRING, 2, NULL, texts}},
        {NAME("none"),   .kind = GGUF_ARRAY, .a = {GGUF_STRING, 0, NULL, NULL} },
    };
    for (size_t i = 0; i < N_ELEMS(keys); i++)
        gguf_write_key(w, &keys[i]);
    gguf_write_u32(w, "twice", 1);
    gguf_write_str(w, "general.architecture", SPAN("llama"));
    gguf_write_u32(w, "twice", 2);
}

static void check_keys(const struct gguf *g)
{
    uint32_t twice;
    assert_int_equal(gguf_n_keys(g), 17); /* and the alignment */
    assert_int_equal(gguf_key(g, "u8")->u, 200);
    assert_int_equal(gguf_key(g, "i8")->i, -5);
    assert_int_equal(gguf_key(g, "i16")->i, -300);
    assert_int_equal(gguf_key(g, "i32")->i, -70000);
    assert_true(gguf_key(g, "f32")->f == (double)0.1f);
    assert_true(gguf_key(g, "u64")->u == UINT64_MAX && gguf_key(g, "i64")->i == INT64_MIN);
    assert_true(gguf_key(g, "f64")->f == 1e300 && gguf_key(g, "bool")->u == 1);
    assert_int_equal(gguf_array_i64(&gguf_key(g, "bytes")->a, 2), 9);
    assert_true(gguf_array_f64(&gguf_key(g, "floats")->a, 1) == -3);
    assert_true(span_eq_cstr(gguf_key(g, "texts")->a.strings[0], "a"));
    assert_int_equal(gguf_key(g, "texts")->a.strings[1].n, 0);
    assert_int_equal(gguf_key(g, "none")->a.n, 0);
    assert_int_equal(gguf_get_u32(g, "twice", 0, &twice, NULL), ERR_OK);
    assert_int_equal(twice, 2);
}

static void what_is_written_is_read(void **state)
{
    static const uint64_t odd[1] = {5}, cube[3] = {32, 3, 2}, one[1] = {8};
    unsigned char cubes[34 * 6];
    float fives[5] = {1, 2, 3, 4, 5}, eights[8] = {8};
    struct errinfo e;
    struct gguf *g;
    (void)state;
    for (size_t i = 0; i < sizeof cubes; i++)
        cubes[i] = (unsigned char)i;
    struct gguf_write *w = begin();
    put_keys(w);
    gguf_write_tensor(w, SPAN("odd"), GGUF_TYPE_F32, 1, odd);
    gguf_write_tensor(w, SPAN("cube.weight"), GGUF_TYPE_Q8_0, 3, cube);
    gguf_write_tensor(w, SPAN("last"), GGUF_TYPE_F32, 1, one);
    assert_int_equal(gguf_write_head(w, &e), ERR_OK);
    assert_int_equal(gguf_write_data(w, fives, sizeof fives, &e), ERR_OK);
    assert_int_equal(gguf_write_data(w, cubes, 100, &e), ERR_OK);
    assert_int_equal(gguf_write_data(w, cubes + 100, sizeof cubes - 100, &e), ERR_OK);
    assert_int_equal(gguf_write_data(w, eights, sizeof eights, &e), ERR_OK);
    assert_int_equal(access(path, F_OK), -1); /* not before it is whole */
    assert_int_equal(gguf_write_end(w, &e), ERR_OK);
    uint64_t bytes = gguf_write_bytes(w);
    gguf_write_free(w);
    if (gguf_open(&g, path, &e) != ERR_OK)
        fail_msg("%s", e.text);
    check_keys(g);
    assert_int_equal(gguf_file_bytes(g), bytes);
    const struct gguf_tensor *t = gguf_tensor(g, "cube.weight");
    assert_true(t->n_dims == 3 && t->dims[1] == 3 && t->dims[2] == 2 && t->bytes == sizeof cubes);
    assert_memory_equal(t->data, cubes, sizeof cubes);
    assert_memory_equal(gguf_tensor(g, "odd")->data, fives, sizeof fives);
    assert_memory_equal(gguf_tensor(g, "last")->data, eights, sizeof eights);
    gguf_close(g);
    assert_int_equal(n_files(), 1);
}

static void what_is_dropped_leaves_nothing(void **state)
{
    struct errinfo e;
    (void)state;
    unlink(path);
    struct gguf_write *w = begin();
    gguf_write_u32(w, "key", 1);
    assert_int_equal(gguf_write_head(w, &e), ERR_OK);
    gguf_write_free(w);
    assert_int_equal(n_files(), 0);
    assert_int_equal(gguf_write_new(&w, "/nowhere/at/all.gguf", &e), ERR_IO);
    assert_non_null(strstr(e.text, "/nowhere/at/all.gguf"));
    assert_null(w);
}

/* Many keys, each told anew: every one keeps its place and has its last value. */
static void keys_are_told_anew(void **state)
{
    enum { KEYS = 5000 };
    struct errinfo e;
    struct gguf *g;
    char name[32];
    (void)state;
    struct gguf_write *w = begin();
    gguf_write_str(w, "general.architecture", SPAN("llama"));
    for (uint32_t i = 0; i < 3 * KEYS; i++) {
        snprintf(name, sizeof name, "key.%u", i * 7919 % KEYS);
        gguf_write_u32(w, name, i);
    }
    assert_int_equal(gguf_write_head(w, &e), ERR_OK);
    assert_int_equal(gguf_write_end(w, &e), ERR_OK);
    gguf_write_free(w);
    if (gguf_open(&g, path, &e) != ERR_OK)
        fail_msg("%s", e.text);
    assert_int_equal(gguf_n_keys(g), KEYS + 2);
    for (uint32_t i = 2 * KEYS; i < 3 * KEYS; i++) {
        snprintf(name, sizeof name, "key.%u", i * 7919 % KEYS);
        assert_int_equal(gguf_key(g, name)->u, i);
    }
    gguf_close(g);
}

/* The processor's seconds that n keys of these names of 16 bytes take. */
static double seconds_of(const uint64_t (*names)[2], size_t n)
{
    struct timespec a, b;
    struct gguf_write *w = begin();
    struct gguf_key key = {.kind = GGUF_U8};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (size_t i = 0; i < n; i++) {
        key.name = (struct span){(const char *)names[i], sizeof names[i]};
        gguf_write_key(w, &key);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    gguf_write_free(w);
    return (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
}

/* Names that all have one hash where its seed is known: the second half of each brings what the
 * first one made of the seed to the same number.  They take as long as others. */
static void names_that_collide_cost_no_more(void **state)
{
    enum { KEYS = 20000 };
    static uint64_t hostile[KEYS][2], plain[KEYS][2];
    const uint64_t mix = 0x2d358dccaa6c78a5u, by = 0x8bb84b93962eacc9u; /* num_hash's */
    uint64_t random = 1, want = 0;
    (void)state;
    for (size_t i = 0; i < KEYS; i++) {
        uint64_t *x = hostile[i];
        do {
            x[0] = num_rand(&random);
            __uint128_t m = (__uint128_t)(16 * 0x9e3779b97f4a7c15u ^ x[0] ^ mix) * by;
            x[1] = (uint64_t)m ^ (uint64_t)(m >> 64); /* what comes before the second half is 0 */
        } while (memchr(x, 0, sizeof hostile[i]));    /* it would end the name */
        if (i == 0)
            want = num_hash(x, 16, 0);
        assert_true(num_hash(x, 16, 0) == want);
        do
            plain[i][0] = num_rand(&random), plain[i][1] = num_rand(&random);
        while (memchr(plain[i], 0, sizeof plain[i]));
    }
    double some = seconds_of(plain, KEYS), all = seconds_of(hostile, KEYS);
    printf("%d names that collide: %.4f s, others: %.4f s\n", KEYS, all, some);
    assert_true(all < 20 * some + 0.05);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_dropped_leaves_nothing),
        cmocka_unit_test(keys_are_told_anew),
        cmocka_unit_test(names_that_collide_cost_no_more),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
