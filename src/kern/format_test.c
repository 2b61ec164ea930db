/* SPDX-License-Identifier: MIT
 * format_test.c - the dequantisers against PyPI `gguf` (tests/data/format,
 * tools/format_vectors.py).
 *
 * The values are compared to the bit: both sides compute in binary32, and in the same order. */
#include "base/test.h"

#include "base/arena.h"
#include "base/num.h"
#include "kern/format.h"

#include <string.h>

/* What a .vec file holds. */
struct vec {
    uint32_t number, elems, bytes, n_blocks, n_pool, n_values;
    uint8_t *blocks; /* [n_blocks][bytes] */
    float *values;   /* of the last n_values blocks */
};

static void read_vec(struct vec *v, struct arena *a, const char *name)
{
    char path[256], magic[8];
    snprintf(path, sizeof path, "tests/data/format/%s.vec", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(magic, 1, 8, f), 8);
    assert_memory_equal(magic, "DAMSOFMT", 8);
    assert_int_equal(fread(v, 4, 6, f), 6);
    assert_true(v->elems <= 256 && v->bytes <= 292 && v->n_blocks <= 4096);
    assert_true(v->n_values > 0 && v->n_values <= v->n_blocks);
    size_t n = (size_t)v->n_values * v->elems, bytes = (size_t)v->n_blocks * v->bytes;
    v->blocks = arena_alloc(a, bytes);
    v->values = arena_array(a, n, sizeof *v->values);
    assert_int_equal(fread(v->blocks, 1, bytes, f), bytes);
    assert_int_equal(fread(v->values, 4, n, f), n);
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
}

static void values_are_the_reference(void **state)
{
    (void)state;
    for (int f = 0; f < FORMAT_N; f++) {
        const struct format_info *info = format_info((enum format)f);
        struct arena a;
        struct vec v;
        arena_init(&a);
        read_vec(&v, &a, info->name);
        assert_int_equal(v.number, info->number);
        assert_int_equal(v.elems, info->block_elems);
        assert_int_equal(v.bytes, info->block_bytes);
        size_t n = (size_t)v.n_values * v.elems;
        float *got = arena_array(&a, n, sizeof *got);
        format_dequant((enum format)f, got, v.blocks + (size_t)(v.n_blocks - v.n_values) * v.bytes,
                       n);
        for (size_t i = 0; i < n; i++)
            if (memcmp(&got[i], &v.values[i], sizeof *got) != 0)
                fail_msg("%s: value %zu is %.9g, not %.9g", info->name, i, (double)got[i],
                         (double)v.values[i]);
        arena_done(&a);
    }
}

static void numbers_and_names(void **state)
{
    (void)state;
    for (int f = 0; f < FORMAT_N; f++) {
        const struct format_info *info = format_info((enum format)f);
        assert_int_equal(format_of(info->number), f);
        assert_int_equal(format_bytes((enum format)f, 3 * info->block_elems),
                         3 * info->block_bytes);
        assert_non_null(strstr(format_list(), info->name));
    }
    assert_int_equal(format_of(9), -1);  /* Q8_1: of activations, never in files */
    assert_int_equal(format_of(15), -1); /* Q8_K: likewise */
    assert_int_equal(format_of(UINT32_MAX), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_the_reference),
        cmocka_unit_test(numbers_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
