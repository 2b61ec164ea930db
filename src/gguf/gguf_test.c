/* SPDX-License-Identifier: MIT
 * gguf_test.c - the reader against files that a writer here makes: whole, cut, and hostile. */
#include "base/test.h"

#include "base/arena.h"
#include "base/num.h"
#include "base/str.h"
#include "gguf/gguf.h"
#include "gguf/gguf_type.h"

#include <string.h>
#include <unistd.h>

/* ---- the writer ---- */

static void put_uint(struct str *s, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        str_add_char(s, (char)(v >> (8 * i)));
}

static void put_text(struct str *s, const char *text)
{
    put_uint(s, strlen(text), 8);
    str_add_cstr(s, text);
}

static void put_key(struct str *s, const char *name, enum gguf_kind kind)
{
    put_text(s, name);
    put_uint(s, kind, 4);
}

static void put_number(struct str *s, const char *name, enum gguf_kind kind, uint64_t bits,
                       size_t bytes)
{
    put_key(s, name, kind);
    put_uint(s, bits, bytes);
}

static void put_head(struct str *s, uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    str_clear(s);
    str_add_cstr(s, "GGUF");
    put_uint(s, version, 4);
    put_uint(s, n_tensors, 8);
    put_uint(s, n_keys, 8);
}

static void put_tensor(struct str *s, const char *name, int n_dims, const uint64_t *dims,
                       uint32_t type, uint64_t offset)
{
    put_text(s, name);
    put_uint(s, (uint64_t)n_dims, 4);
    for (int i = 0; i < n_dims; i++)
        put_uint(s, dims[i], 8);
    put_uint(s, type, 4);
    put_uint(s, offset, 8);
}

static void put_data(struct str *s, size_t align, size_t n)
{
    while (s->n % align)
        str_add_char(s, 0);
    for (size_t i = 0; i < n; i++)
        str_add_char(s, (char)i);
}

/* A small file with every kind of key, arrays of numbers and strings, and three tensors. */
static void put_sample(struct str *s, uint32_t version)
{
    static const uint64_t wide[] = {64, 2}, one[] = {8}, four[] = {2, 1, 3, 1};
    put_head(s, version, 3, 15);
    put_key(s, "general.architecture", GGUF_STRING);
    put_text(s, "llama");
    put_number(s, "k.u8", GGUF_U8, 200, 1);
    put_number(s, "k.i8", GGUF_I8, (uint64_t)-100, 1);
    put_number(s, "k.u16", GGUF_U16, 60000, 2);
    put_number(s, "k.i16", GGUF_I16, (uint64_t)-30000, 2);
    put_number(s, "k.u32", GGUF_U32, 4000000000u, 4);
    put_number(s, "k.i32", GGUF_I32, (uint64_t)-2000000000, 4);
    put_number(s, "k.f32", GGUF_F32, 0x3fc00000, 4);
    put_number(s, "k.bool", GGUF_BOOL, 1, 1);
    put_number(s, "k.u64", GGUF_U64, UINT64_MAX, 8);
    put_number(s, "k.i64", GGUF_I64, (uint64_t)INT64_MIN, 8);
    put_number(s, "k.f64", GGUF_F64, 0xbff8000000000000u, 8);
    put_key(s, "a.strings", GGUF_ARRAY);
    put_uint(s, GGUF_STRING, 4);
    put_uint(s, 2, 8);
    put_text(s, "");
    put_text(s, "담소");
    put_key(s, "a.i16", GGUF_ARRAY);
    put_uint(s, GGUF_I16, 4);
    put_uint(s, 2, 8);
    put_uint(s, 7, 2);
    put_uint(s, 0xffff, 2);
    put_number(s, "general.alignment", GGUF_U32, 64, 4);
    put_tensor(s, "t.q8", 2, wide, GGUF_TYPE_Q8_0, 0);  /* 136 bytes */
    put_tensor(s, "t.f32", 1, one, GGUF_TYPE_F32, 192); /* 32 */
    put_tensor(s, "t.i8", 4, four, GGUF_TYPE_I8, 256);  /* 6 */
    put_data(s, 64, 262);
}

/* A file of no key and one tensor, whose parts the caller chooses. */
static void put_one(struct str *s, int n_dims, const uint64_t *dims, uint32_t type, uint64_t offset,
                    size_t n_data)
{
    put_head(s, 3, 1, 0);
    put_tensor(s, "t", n_dims, dims, type, offset);
    put_data(s, 32, n_data);
}

/* ---- reading ---- */

/* Opens a copy whose end is the end of its memory, so that a sanitizer sees one byte too many. */
static enum err open_copy(struct gguf **g, const char *p, size_t n, struct errinfo *e)
{
    static void *copy;
    mem_free(copy);
    copy = malloc(n ? n : 1);
    if (n)
        memcpy(copy, p, n);
    return gguf_open_bytes(g, copy, n, e);
}

static void assert_refused_(const struct str *s, enum err want, const char *words, int line)
{
    struct gguf *g;
    struct errinfo e = {0};
    enum err got = open_copy(&g, s->p, s->n, &e);
    if (got != want || g || !strstr(e.text, words))
        print_error("line %d: %s: %s\n", line, err_name(got), e.text);
    assert_int_equal(got, want);
    assert_null(g);
    assert_non_null(strstr(e.text, words));
}
#define assert_refused(s, want, words) assert_refused_(s, want, words, __LINE__)

static void check_numbers(const struct gguf *g)
{
    struct span text;
    uint32_t u;
    float f;
    bool b;
    struct errinfo e;
    assert_int_equal(gguf_need_str(g, "general.architecture", &text, &e), ERR_OK);
    assert_true(span_eq_cstr(text, "llama"));
    assert_int_equal(gguf_key(g, "k.u8")->u, 200);
    assert_true(gguf_key(g, "k.i8")->i == -100);
    assert_true(gguf_key(g, "k.i16")->i == -30000);
    assert_true(gguf_key(g, "k.i32")->i == -2000000000);
    assert_true(gguf_key(g, "k.i64")->i == INT64_MIN);
    assert_true(gguf_key(g, "k.f64")->f == -1.5);
    assert_int_equal(gguf_need_u32(g, "k.u32", &u, &e), ERR_OK);
    assert_int_equal(u, 4000000000u);
    assert_int_equal(gguf_need_u32(g, "k.u64", &u, &e), ERR_CORRUPT);
    assert_int_equal(gguf_need_u32(g, "k.i8", &u, &e), ERR_CORRUPT);
    assert_int_equal(gguf_need_u32(g, "k.f32", &u, &e), ERR_CORRUPT);
    assert_int_equal(gguf_need_u32(g, "k.none", &u, &e), ERR_CORRUPT);
    assert_int_equal(gguf_get_u32(g, "k.none", 7, &u, &e), ERR_OK);
    assert_int_equal(u, 7);
    assert_int_equal(gguf_get_f32(g, "k.f32", 0, &f, &e), ERR_OK);
    assert_true(f == 1.5f);
    assert_int_equal(gguf_get_f32(g, "k.i8", 0, &f, &e), ERR_OK);
    assert_true(f == -100.0f);
    assert_int_equal(gguf_get_bool(g, "k.bool", false, &b, &e), ERR_OK);
    assert_true(b);
    assert_int_equal(gguf_get_bool(g, "k.u8", false, &b, &e), ERR_CORRUPT);
}

static void check_arrays(const struct gguf *g)
{
    const struct gguf_array *a;
    struct errinfo e;
    assert_int_equal(gguf_get_array(g, "a.strings", GGUF_STRING, &a, &e), ERR_OK);
    assert_int_equal(a->n, 2);
    assert_int_equal(a->strings[0].n, 0);
    assert_true(span_eq_cstr(a->strings[1], "담소"));
    assert_int_equal(gguf_get_array(g, "a.strings", GGUF_U8, &a, &e), ERR_CORRUPT);
    assert_int_equal(gguf_get_array(g, "k.u8", GGUF_U8, &a, &e), ERR_CORRUPT);
    assert_int_equal(gguf_get_array(g, "k.none", GGUF_U8, &a, &e), ERR_OK);
    assert_null(a);
    assert_int_equal(gguf_get_array(g, "a.i16", GGUF_I16, &a, &e), ERR_OK);
    assert_true(gguf_array_i64(a, 0) == 7 && gguf_array_f64(a, 1) == -1.0);
}

static void reads_what_was_written(void **state)
{
    (void)state;
    struct str s;
    struct gguf *g;
    str_init(&s, 1 << 20);
    for (uint32_t version = 2; version <= 3; version++) {
        put_sample(&s, version);
        assert_int_equal(open_copy(&g, s.p, s.n, NULL), ERR_OK);
        assert_int_equal(gguf_version(g), version);
        assert_int_equal(gguf_n_keys(g), 15);
        assert_int_equal(gguf_n_tensors(g), 3);
        assert_int_equal(gguf_file_bytes(g), s.n);
        check_numbers(g);
        check_arrays(g);
        const struct gguf_tensor *t = gguf_tensor(g, "t.q8");
        assert_true(t->bytes == 136 && t->dims[0] == 64 && t->dims[1] == 2 && t->dims[2] == 1);
        assert_int_equal(t->data[1], 1);
        t = gguf_tensor(g, "t.i8");
        assert_true(t->bytes == 6 && t->n_dims == 4 && t->data[5] == (unsigned char)261);
        assert_null(gguf_tensor(g, "t"));
        gguf_close(g);
    }
    str_done(&s);
}

static void refuses_every_cut(void **state)
{
    (void)state;
    struct str s;
    struct gguf *g;
    str_init(&s, 1 << 20);
    put_sample(&s, 3);
    for (size_t n = 0; n < s.n; n++) {
        struct errinfo e = {0};
        enum err code = open_copy(&g, s.p, n, &e);
        assert_int_equal(code, ERR_CORRUPT);
        assert_true(e.text[0] != '\0');
    }
    str_done(&s);
}

/* Whatever one bit does, the reader ends with an answer, and what it gives lies inside the file. */
static void survives_every_bit_flip(void **state)
{
    (void)state;
    struct str s;
    struct gguf *g;
    int n_open = 0;
    str_init(&s, 1 << 20);
    put_sample(&s, 3);
    for (size_t bit = 0; bit < 8 * s.n; bit++) {
        s.p[bit / 8] = (char)(s.p[bit / 8] ^ (1 << bit % 8));
        if (open_copy(&g, s.p, s.n, NULL) == ERR_OK) {
            unsigned sum = 0;
            for (size_t i = 0; i < gguf_n_tensors(g); i++)
                for (size_t k = 0; k < gguf_tensor_at(g, i)->bytes; k++)
                    sum += gguf_tensor_at(g, i)->data[k];
            n_open += sum < UINT32_MAX;
            gguf_close(g);
        }
        s.p[bit / 8] = (char)(s.p[bit / 8] ^ (1 << bit % 8));
    }
    assert_true(n_open > 0); /* flips inside the data, for one, are no fault of the form */
    str_done(&s);
}

static void refuses_versions_and_orders(void **state)
{
    (void)state;
    struct str s;
    str_init(&s, 1 << 20);
    put_sample(&s, 1);
    assert_refused(&s, ERR_UNSUPPORTED, "version 1");
    put_sample(&s, 4);
    assert_refused(&s, ERR_UNSUPPORTED, "version 4");
    put_sample(&s, 0x03000000);
    assert_refused(&s, ERR_UNSUPPORTED, "big-endian");
    put_sample(&s, 3);
    s.p[0] = 'g';
    assert_refused(&s, ERR_CORRUPT, "not a GGUF");
    str_done(&s);
}

static void refuses_hostile_counts(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1,         65537,          262145,    (uint64_t)1 << 32,
                                      INT64_MAX, UINT64_MAX / 2, UINT64_MAX};
    struct str s;
    str_init(&s, 1 << 20);
    for (size_t i = 0; i < N_ELEMS(counts); i++) {
        put_head(&s, 3, counts[i], 0);
        assert_refused(&s, ERR_CORRUPT, "tensors");
        put_head(&s, 3, 0, counts[i]);
        assert_refused(&s, ERR_CORRUPT, "keys");
        put_head(&s, 3, 0, 1);
        put_key(&s, "a", GGUF_ARRAY);
        put_uint(&s, GGUF_STRING, 4);
        put_uint(&s, counts[i], 8);
        put_uint(&s, counts[i], 8); /* is also the first string's length */
        assert_refused(&s, ERR_CORRUPT, "key a");
        put_head(&s, 3, 0, 1);
        put_key(&s, "a", GGUF_ARRAY);
        put_uint(&s, GGUF_F64, 4);
        put_uint(&s, counts[i], 8);
        put_uint(&s, 0, 4);
        assert_refused(&s, ERR_CORRUPT, "key a");
        put_head(&s, 3, 0, 1);
        put_key(&s, "a", GGUF_STRING);
        put_uint(&s, counts[i], 8);
        assert_refused(&s, ERR_CORRUPT, "key a");
    }
    str_done(&s);
}

static void refuses_odd_kinds(void **state)
{
    (void)state;
    struct str s;
    str_init(&s, 1 << 20);
    for (int nested = 0; nested < 2; nested++) { /* an array of arrays, and of an unknown kind */
        put_head(&s, 3, 0, 1);
        put_key(&s, "a", GGUF_ARRAY);
        put_uint(&s, nested ? GGUF_ARRAY : GGUF_KIND_N, 4);
        put_uint(&s, 1, 8);
        put_uint(&s, 0, 8);
        put_uint(&s, 0, 8);
        assert_refused(&s, ERR_CORRUPT, "key a");
    }
    put_head(&s, 3, 0, 1);
    put_number(&s, "k", GGUF_KIND_N, 0, 8);
    assert_refused(&s, ERR_CORRUPT, "unknown kind");
    put_head(&s, 3, 0, 1);
    put_number(&s, "k", GGUF_BOOL, 2, 1);
    assert_refused(&s, ERR_CORRUPT, "bool");
    str_done(&s);
}

static void refuses_bad_names(void **state)
{
    (void)state;
    static const uint64_t one[] = {1};
    char *longest = mem_alloc(GGUF_NAME_MAX + 2);
    const char *bad[] = {"", "a\xff", "a\033[2J", "\xc2\x9b", longest};
    struct str s;
    str_init(&s, 1 << 20);
    memset(longest, 'a', GGUF_NAME_MAX + 1);
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        put_head(&s, 3, 0, 1);
        put_number(&s, bad[i], GGUF_U64, 0, 8);
        assert_refused(&s, ERR_CORRUPT, "not a name");
        put_head(&s, 3, 1, 0);
        put_tensor(&s, bad[i], 1, one, GGUF_TYPE_I8, 0);
        put_data(&s, 32, 1);
        assert_refused(&s, ERR_CORRUPT, "not a name");
    }
    put_head(&s, 3, 0, 2);
    put_number(&s, "twin", GGUF_U8, 1, 1);
    put_number(&s, "twin", GGUF_U32, 1, 4);
    assert_refused(&s, ERR_CORRUPT, "twice");
    put_head(&s, 3, 2, 0);
    put_tensor(&s, "twin", 1, one, GGUF_TYPE_I8, 0);
    put_tensor(&s, "twin", 1, one, GGUF_TYPE_I8, 32);
    put_data(&s, 32, 64);
    assert_refused(&s, ERR_CORRUPT, "twice");
    mem_free(longest);
    str_done(&s);
}

static void refuses_bad_alignment(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0, 1, 4, 7, 12, 33, 131072, UINT32_MAX};
    struct str s;
    struct gguf *g;
    str_init(&s, 1 << 20);
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        put_head(&s, 3, 0, 1);
        put_number(&s, "general.alignment", GGUF_U32, bad[i], 4);
        assert_refused(&s, ERR_CORRUPT, "general.alignment");
    }
    put_head(&s, 3, 0, 1);
    put_number(&s, "general.alignment", GGUF_U64, 32, 8);
    assert_refused(&s, ERR_CORRUPT, "general.alignment");
    put_head(&s, 3, 0, 1);
    put_number(&s, "general.alignment", GGUF_U32, GGUF_ALIGNMENT_MAX, 4);
    assert_int_equal(open_copy(&g, s.p, s.n, NULL), ERR_OK); /* no tensor needs the padding */
    gguf_close(g);
    str_done(&s);
}

static void refuses_bad_tensors(void **state)
{
    (void)state;
    const uint64_t half = (uint64_t)1 << 32, top = (uint64_t)1 << 63;
    struct str s;
    str_init(&s, 1 << 20);
    put_one(&s, 1, (uint64_t[]){32}, GGUF_TYPE_I8, 1, 64);
    assert_refused(&s, ERR_CORRUPT, "aligned");
    put_one(&s, 1, (uint64_t[]){32}, GGUF_TYPE_I8, 64, 64);
    assert_refused(&s, ERR_CORRUPT, "cut short");
    put_one(&s, 1, (uint64_t[]){33}, GGUF_TYPE_I8, 32, 64);
    assert_refused(&s, ERR_CORRUPT, "cut short");
    put_one(&s, 1, (uint64_t[]){32}, GGUF_TYPE_I8, UINT64_MAX - 31, 64);
    assert_refused(&s, ERR_CORRUPT, "cut short");
    put_one(&s, 2, (uint64_t[]){4, 0}, GGUF_TYPE_I8, 0, 64);
    assert_refused(&s, ERR_CORRUPT, "impossible dimension 0");
    put_one(&s, 2, (uint64_t[]){half, half}, GGUF_TYPE_I8, 0, 64);
    assert_refused(&s, ERR_CORRUPT, "impossible dimension");
    put_one(&s, 1, (uint64_t[]){top}, GGUF_TYPE_F32, 0, 64);
    assert_refused(&s, ERR_CORRUPT, "impossibly large");
    put_one(&s, 1, (uint64_t[]){top}, GGUF_TYPE_I8, 0, 64);
    assert_refused(&s, ERR_CORRUPT, "cut short");
    put_one(&s, 1, (uint64_t[]){UINT64_MAX}, GGUF_TYPE_I8, 0, 64);
    assert_refused(&s, ERR_CORRUPT, "cut short");
    put_one(&s, 1, (uint64_t[]){33}, GGUF_TYPE_Q8_0, 0, 64);
    assert_refused(&s, ERR_CORRUPT, "multiple");
    put_one(&s, 0, NULL, GGUF_TYPE_I8, 0, 64);
    assert_refused(&s, ERR_CORRUPT, "dimensions");
    put_one(&s, 5, (uint64_t[]){1, 1, 1, 1, 1}, GGUF_TYPE_I8, 0, 64);
    assert_refused(&s, ERR_CORRUPT, "dimensions");
    static const uint32_t no_type[] = {4, 5, 31, 38, GGUF_TYPE_END, UINT32_MAX};
    for (size_t i = 0; i < N_ELEMS(no_type); i++) {
        put_one(&s, 1, (uint64_t[]){256}, no_type[i], 0, 64);
        assert_refused(&s, ERR_UNSUPPORTED, "unknown type");
    }
    str_done(&s);
}

/* ---- split files ---- */

static void write_file(const char *path, const struct str *s)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(s->p, 1, s->n, f), s->n);
    assert_int_equal(fclose(f), 0);
}

static void put_part(struct str *s, uint32_t no, uint32_t count, uint32_t n_all, const char *tensor)
{
    static const uint64_t one[] = {32};
    put_head(s, 3, 1, 3);
    put_number(s, "split.no", GGUF_U16, no, 2);
    put_number(s, "split.count", GGUF_U16, count, 2);
    put_number(s, "split.tensors.count", GGUF_I32, n_all, 4);
    put_tensor(s, tensor, 1, one, GGUF_TYPE_I8, 0);
    put_data(s, 32, 32);
}

static void assert_open(const char *path, enum err want, const char *words)
{
    struct gguf *g;
    struct errinfo e = {0};
    enum err got = gguf_open(&g, path, &e);
    if (got != want)
        print_error("%s: %s\n", err_name(got), e.text);
    assert_int_equal(got, want);
    if (got == ERR_OK) {
        assert_int_equal(gguf_n_tensors(g), 2);
        assert_int_equal(gguf_tensor(g, "b")->part, 1);
        assert_int_equal(gguf_tensor(g, "b")->data[31], 31);
    } else {
        assert_non_null(strstr(e.text, words));
    }
    gguf_close(g);
}

static void joins_split_files(void **state)
{
    (void)state;
    char dir[] = "/tmp/damso-gguf-XXXXXX", first[64], second[64], other[64];
    struct str s;
    str_init(&s, 1 << 20);
    assert_non_null(mkdtemp(dir));
    snprintf(first, sizeof first, "%s/m-00001-of-00002.gguf", dir);
    snprintf(second, sizeof second, "%s/m-00002-of-00002.gguf", dir);
    snprintf(other, sizeof other, "%s/m.gguf", dir);
    put_part(&s, 0, 2, 2, "a");
    write_file(first, &s);
    write_file(other, &s);
    assert_open(first, ERR_NOTFOUND, "m-00002-of-00002.gguf");
    assert_open(other, ERR_UNSUPPORTED, "00001-of-00002");
    put_part(&s, 1, 2, 2, "b");
    write_file(second, &s);
    assert_open(first, ERR_OK, "");
    assert_open(second, ERR_UNSUPPORTED, "part 2 of 2");
    put_part(&s, 1, 2, 2, "a"); /* the same tensor in both */
    write_file(second, &s);
    assert_open(first, ERR_CORRUPT, "twice");
    put_part(&s, 1, 3, 2, "b"); /* of another split */
    write_file(second, &s);
    assert_open(first, ERR_CORRUPT, "part 2 of 2");
    put_part(&s, 1, 2, 2, "b");
    s.n -= 1; /* cut by a byte */
    write_file(second, &s);
    assert_open(first, ERR_CORRUPT, "m-00002-of-00002.gguf");
    put_part(&s, 1, 2, 2, "b");
    write_file(second, &s);
    put_part(&s, 0, 2, 3, "a"); /* three tensors promised */
    write_file(first, &s);
    assert_open(first, ERR_CORRUPT, "split.tensors.count");
    put_part(&s, 0, 65535, 2, "a");
    write_file(first, &s);
    assert_open(first, ERR_CORRUPT, "65535 parts");
    unlink(first);
    unlink(second);
    unlink(other);
    rmdir(dir);
    str_done(&s);
}

static void names_files_it_cannot_open(void **state)
{
    (void)state;
    char empty[] = "/tmp/damso-gguf-XXXXXX";
    int fd = mkstemp(empty);
    assert_true(fd >= 0);
    close(fd);
    assert_open("/nonexistent/x.gguf", ERR_NOTFOUND, "/nonexistent/x.gguf");
    assert_open("/tmp", ERR_IO, "/tmp");
    assert_open(empty, ERR_CORRUPT, "too short");
    unlink(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),     cmocka_unit_test(refuses_every_cut),
        cmocka_unit_test(survives_every_bit_flip),    cmocka_unit_test(refuses_versions_and_orders),
        cmocka_unit_test(refuses_hostile_counts),     cmocka_unit_test(refuses_odd_kinds),
        cmocka_unit_test(refuses_bad_names),          cmocka_unit_test(refuses_bad_alignment),
        cmocka_unit_test(refuses_bad_tensors),        cmocka_unit_test(joins_split_files),
        cmocka_unit_test(names_files_it_cannot_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
