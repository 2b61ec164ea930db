/* SPDX-License-Identifier: MIT
 * folder_test.c - models in folders against the files that llama.cpp's converter made of them
 * (tools/hf_vectors.py): keys, tensors to the bit, logits to the bit, and token ids against those
 * of Hugging Face's `tokenizers`.  DAMSO_HF names a folder of more of them. */
#include "base/test.h"

#include "base/num.h"
#include "engine/engine.h"
#include "gguf/gguf_type.h"
#include "hf/hf.h"
#include "quant/quant_file.h"
#include "tok/tok.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define N_TOKENS 24
#define DATA     "tests/data/hf"

static struct gguf *open_it(const char *path)
{
    struct gguf *g;
    struct errinfo e;
    if (hf_open(&g, path, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return g;
}

static float *floats_of(const struct gguf *g, const struct gguf_tensor *t, size_t *n)
{
    size_t row = (size_t)t->dims[0], n_rows = (size_t)(t->dims[1] * t->dims[2] * t->dims[3]);
    int f = format_of(t->type);
    if (f < 0)
        fail_msg("%s: %.*s has a strange type", gguf_path(g), (int)t->name.n, t->name.p);
    float *x = mem_alloc(row * n_rows * sizeof *x);
    for (size_t r = 0; r < n_rows; r++)
        format_dequant((enum format)f, x + r * row, t->data + r * format_bytes((enum format)f, row),
                       row);
    *n = row * n_rows;
    return x;
}

/* Factors of positions are computed by powers: those of two libraries differ in the last bit. */
static bool near(float a, float b, bool exact)
{
    return exact ? memcmp(&a, &b, sizeof a) == 0 : fabsf(a - b) <= 1e-6f * fabsf(b);
}

static void check_tensors(const struct gguf *folder, const struct gguf *file)
{
    assert_int_equal(gguf_n_tensors(folder), gguf_n_tensors(file));
    for (size_t i = 0; i < gguf_n_tensors(file); i++) {
        const struct gguf_tensor *want = gguf_tensor_at(file, i);
        char name[256];
        size_t n, n_want;
        snprintf(name, sizeof name, "%.*s", (int)want->name.n, want->name.p);
        const struct gguf_tensor *got = gguf_tensor(folder, name);
        if (!got)
            fail_msg("%s: there is no %s", gguf_path(folder), name);
        for (int k = 0; k < GGUF_DIMS_MAX; k++)
            if (got->dims[k] != want->dims[k])
                fail_msg("%s: dimension %d of %s is %llu, not %llu", gguf_path(folder), k, name,
                         (unsigned long long)got->dims[k], (unsigned long long)want->dims[k]);
        float *x = floats_of(folder, got, &n), *y = floats_of(file, want, &n_want);
        for (size_t k = 0; k < n; k++)
            if (!near(x[k], y[k], !strstr(name, "rope_")))
                fail_msg("%s: %s at %zu: %.9g, not %.9g", gguf_path(folder), name, k, (double)x[k],
                         (double)y[k]);
        mem_free(x);
        mem_free(y);
    }
}

static bool same_key(const struct gguf_key *a, const struct gguf_key *b)
{
    if (a->kind == GGUF_STRING || b->kind == GGUF_STRING)
        return a->kind == b->kind && span_eq(a->s, b->s);
    if (a->kind != GGUF_ARRAY && b->kind != GGUF_ARRAY) {
        bool fa = a->kind == GGUF_F32, fb = b->kind == GGUF_F32;
        return fa == fb && (fa ? near((float)a->f, (float)b->f, false) : a->u == b->u);
    }
    if (a->kind != b->kind || a->a.n != b->a.n)
        return false;
    for (size_t i = 0; i < a->a.n; i++)
        if (a->a.strings ? !span_eq(a->a.strings[i], b->a.strings[i])
                         : gguf_array_f64(&a->a, i) != gguf_array_f64(&b->a, i))
            return false;
    return true;
}

/* What the converter says, the folder says too, but for what it says of itself. */
static void check_keys(const struct gguf *folder, const struct gguf *file, bool tokens, bool type)
{
    static const char *const own[] = {
        "general.name",           "general.size_label",   "general.quantization",
        "general.basename",       "general.finetune",     "general.alignment",
        "general.version",        "general.organization", "general.sampling",
        "tokenizer.ggml.add_sep", "vocab_size",           "expert_group"};
    for (size_t i = 0; i < gguf_n_keys(file); i++) {
        const struct gguf_key *want = gguf_key_at(file, i);
        char name[256];
        bool skip = (!tokens && span_starts(want->name, SPAN("tokenizer."))) ||
                    (!type && span_eq_cstr(want->name, "general.file_type"));
        snprintf(name, sizeof name, "%.*s", (int)want->name.n, want->name.p);
        for (size_t k = 0; k < N_ELEMS(own); k++)
            skip |= strstr(name, own[k]) != NULL;
        const struct gguf_key *got = gguf_key(folder, name);
        if (!skip && !got)
            fail_msg("%s: there is no key %s", gguf_path(folder), name);
        if (!skip && !same_key(got, want))
            fail_msg("%s: the key %s differs", gguf_path(folder), name);
    }
}

static void logits_of(const struct gguf *g, float **out, size_t *n)
{
    struct engine *en;
    struct errinfo e;
    struct engine_opts o = {.out_max = N_TOKENS, .n_threads = 1, .level = CPU_c};
    struct engine_row rows[N_TOKENS];
    const float *logits[N_TOKENS];
    o.ctx = 64, o.ctx_total = 64, o.batch = N_TOKENS;
    if (engine_open(&en, g, &o, &e) != ERR_OK)
        fail_msg("%s", e.text);
    struct engine_seq *s = engine_seq_new(en);
    size_t vocab = engine_model(en)->n_vocab;
    for (size_t i = 0; i < N_TOKENS; i++)
        rows[i] = (struct engine_row){s, (int32_t)(i * 7 % vocab), true};
    if (engine_step(en, rows, N_TOKENS, logits, &e) != ERR_OK)
        fail_msg("%s", e.text);
    *n = N_TOKENS * vocab;
    *out = mem_alloc(*n * sizeof **out);
    for (size_t i = 0; i < N_TOKENS; i++)
        memcpy(*out + i * vocab, logits[i], vocab * sizeof **out);
    engine_seq_free(s);
    engine_close(en);
}

static void check_logits(const struct gguf *folder, const struct gguf *file, bool exact)
{
    float *x, *y;
    size_t n, n_want;
    double d = 0, all = 0;
    logits_of(folder, &x, &n);
    logits_of(file, &y, &n_want);
    assert_int_equal(n, n_want);
    if (exact)
        assert_memory_equal(x, y, n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        d += (double)(x[i] - y[i]) * (double)(x[i] - y[i]);
        all += (double)y[i] * (double)y[i];
    }
    assert_true(all > 0 && d / all < 1e-10);
    mem_free(x);
    mem_free(y);
}

static void check_ids(const struct gguf *folder, const char *path)
{
    struct tok *t;
    struct errinfo e;
    json_t *o, *all = json_load_file(path, 0, NULL), *id;
    size_t i, k;
    assert_true(json_is_array(all));
    if (tok_open(&t, folder, &e) != ERR_OK)
        fail_msg("%s", e.text);
    json_array_foreach(all, i, o)
    {
        struct tok_ids ids = {0};
        json_t *want = json_object_get(o, "ids");
        const char *text = json_string_value(json_object_get(o, "text"));
        assert_int_equal(tok_encode(t, span_of(text), TOK_SPECIAL | TOK_BOS, &ids, &e), ERR_OK);
        bool same = ids.n == json_array_size(want);
        json_array_foreach(want, k, id) same = same && ids.id[k] == (int32_t)json_integer_value(id);
        if (!same) {
            fprintf(stderr, "%s: '%s' gives", path, text);
            for (k = 0; k < ids.n; k++)
                fprintf(stderr, " %d", ids.id[k]);
            fail_msg("; wanted %s", json_dumps(want, JSON_COMPACT));
        }
        tok_ids_done(&ids);
    }
    tok_close(t);
    json_decref(all);
}

/* A file written from the folder is the folder's model. */
static void check_quantised(const struct gguf *folder, const char *path)
{
    char out[] = "/tmp/damso-folder-XXXXXX";
    struct quant_result result;
    struct errinfo e;
    const struct quant_opts o = {.type = FORMAT_F32, .output = -1, .embed = -1, .n_threads = 1};
    int fd = mkstemp(out);
    assert_true(fd >= 0);
    close(fd);
    if (quant_file(path, out, &o, &result, &e) != ERR_OK)
        fail_msg("%s", e.text);
    struct gguf *file = open_it(out);
    check_tensors(folder, file);
    check_keys(folder, file, true, false);
    gguf_close(file);
    unlink(out);
}

static size_t check_all(const char *dir)
{
    DIR *d = opendir(dir);
    size_t n = 0;
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));) {
        char path[512];
        size_t len = strlen(f->d_name);
        if (len < 6 || strcmp(f->d_name + len - 5, ".gguf") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%.*s", dir, (int)(len - 5), f->d_name);
        printf("%s\n", path);
        struct gguf *folder = open_it(path);
        strcat(path, ".gguf");
        struct gguf *file = open_it(path);
        struct span model = SPAN("");
        gguf_get_str(file, "tokenizer.ggml.model", model, &model, NULL);
        check_tensors(folder, file);
        check_keys(folder, file, !span_eq(model, SPAN("none")), true);
        check_logits(folder, file, !gguf_tensor(file, "rope_freqs.weight"));
        path[strlen(path) - 5] = '\0';
        check_quantised(folder, path);
        strcat(path, ".json");
        check_ids(folder, path);
        gguf_close(folder);
        gguf_close(file);
        n++;
    }
    closedir(d);
    return n;
}

static void folders(void **state)
{
    (void)state;
    const char *more = getenv("DAMSO_HF");
    assert_true(check_all(DATA) >= 6);
    if (more)
        printf("%zu more\n", check_all(more));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(folders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
