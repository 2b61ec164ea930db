/* SPDX-License-Identifier: MIT
 * tok_vectors_test.c - the ids that other tokenizers give: tests/data/tok/, made by
 * tools/tok_vectors.py with Hugging Face `tokenizers` and `sentencepiece`.
 * The two real vocabularies need DAMSO_TEST_MODELS, a folder with the files named below. */
#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"
#include "tok/tok.h"

#include <jansson.h>
#include <string.h>

#define DATA "tests/data/tok/"

struct vectors {
    json_t *texts, *ids;
    struct gguf *gguf;
    struct tok *tok;
};

static json_t *load_json(const char *name)
{
    char path[256];
    json_error_t why;
    snprintf(path, sizeof path, DATA "%s.json", name);
    json_t *j = json_load_file(path, JSON_ALLOW_NUL, &why);
    if (!j)
        fail_msg("%s: %s", path, why.text);
    return j;
}

static void vectors_open(struct vectors *v, const char *folder, const char *name)
{
    struct errinfo e = {0};
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.gguf", folder, name);
    v->texts = load_json("texts");
    v->ids = load_json(name);
    assert_int_equal(json_array_size(v->texts), json_array_size(v->ids));
    if (gguf_open(&v->gguf, path, &e) != ERR_OK || tok_open(&v->tok, v->gguf, &e) != ERR_OK)
        fail_msg("%s", e.text);
}

static void vectors_close(struct vectors *v)
{
    tok_close(v->tok);
    gguf_close(v->gguf);
    json_decref(v->texts);
    json_decref(v->ids);
}

static bool ids_equal(const struct tok_ids *got, const json_t *want)
{
    bool equal = got->n == json_array_size(want);
    for (size_t i = 0; equal && i < got->n; i++)
        equal = got->id[i] == json_integer_value(json_array_get(want, i));
    return equal;
}

static void print_difference(size_t i, const json_t *text, const struct tok_ids *got,
                             const json_t *want)
{
    char *t = json_dumps(text, JSON_ENSURE_ASCII), *w = json_dumps(want, JSON_COMPACT);
    printf("text %zu: %.300s\n  want %.400s\n  got  [", i, t, w);
    for (size_t k = 0; k < MIN(got->n, 80); k++)
        printf("%s%d", k ? "," : "", got->id[k]);
    printf("]\n");
    free(t);
    free(w);
}

/* The bytes of a row: its text, or its `hex`. */
static struct span row_bytes(const json_t *row, char out[64])
{
    const json_t *text = json_object_get(row, "text");
    const char *hex = json_string_value(json_object_get(row, "hex"));
    size_t n = 0;
    if (text)
        return (struct span){json_string_value(text), json_string_length(text)};
    for (unsigned byte; n < 64 && sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
        out[n] = (char)byte;
    return (struct span){out, n};
}

/* `lossless`: the pipeline does not normalise, so decoding gives the text again. */
static void compare_all(const struct vectors *v, bool lossless)
{
    size_t n_wrong = 0;
    for (size_t i = 0; i < json_array_size(v->texts); i++) {
        struct errinfo e = {0};
        struct tok_ids got = {0};
        struct str back;
        const json_t *row = json_array_get(v->texts, i), *want = json_array_get(v->ids, i);
        char hex[64];
        struct span s = row_bytes(row, hex);
        unsigned flags = json_is_true(json_object_get(row, "special")) ? TOK_SPECIAL : 0;
        assert_int_equal(tok_encode(v->tok, s, flags, &got, &e), ERR_OK);
        if (!json_is_null(want) && !ids_equal(&got, want)) {
            n_wrong++;
            print_difference(i, row, &got, want);
        }
        str_init(&back, 1 << 20);
        assert_int_equal(tok_decode(v->tok, got.id, got.n, TOK_SPECIAL | TOK_START, &back, &e),
                         ERR_OK);
        if (lossless && !span_eq(str_span(&back), s)) {
            n_wrong++;
            printf("text %zu does not come back: %.*s\n", i, (int)back.n, str_span(&back).p);
        }
        str_done(&back);
        tok_ids_done(&got);
    }
    printf("%s %s: %zu of %zu texts differ\n", tok_model(v->tok), tok_pre(v->tok), n_wrong,
           json_array_size(v->texts));
    assert_int_equal(n_wrong, 0);
}

static void test_small(void **state)
{
    struct vectors v;
    const char *name = *state;
    vectors_open(&v, DATA, name);
    /* text with a written U+2581 does not come back from SentencePiece, so spm is not `lossless` */
    bool nfc = strcmp(name, "mpt") == 0 || strcmp(name, "command-r") == 0 ||
               strcmp(name, "exaone-moe") == 0 || strncmp(name, "qwen", 4) == 0;
    bool spaces = strcmp(name, "gemma4") == 0; /* U+2581 is one, too */
    bool bytes = strcmp(tok_model(v.tok), "bpe") == 0 || strcmp(tok_model(v.tok), "rwkv") == 0;
    compare_all(&v, bytes && !nfc && !spaces);
    vectors_close(&v);
}

static void test_real(void **state)
{
    struct vectors v;
    const char *folder = getenv("DAMSO_TEST_MODELS");
    if (!folder) {
        printf("skipped: DAMSO_TEST_MODELS is not set (a folder with %s.gguf)\n",
               (const char *)*state);
        skip();
    }
    vectors_open(&v, folder, *state);
    compare_all(&v, false); /* SmolLM2 lacks some bytes' tokens */
    vectors_close(&v);
}

#define SMALL(name)                                                                                \
    {                                                                                              \
        name, test_small, NULL, NULL, name                                                         \
    }
#define REAL(name)                                                                                 \
    {                                                                                              \
        name, test_real, NULL, NULL, name                                                          \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL("gpt-2"),
        SMALL("mpt"),
        SMALL("starcoder"),
        SMALL("command-r"),
        SMALL("llama-bpe"),
        SMALL("dbrx"),
        SMALL("qwen2"),
        SMALL("qwen35"),
        SMALL("gpt-4o"),
        SMALL("tekken"),
        SMALL("deepseek-llm"),
        SMALL("deepseek-coder"),
        SMALL("deepseek-v3"),
        SMALL("falcon"),
        SMALL("bloom"),
        SMALL("exaone-moe"),
        SMALL("kimi-k2"),
        SMALL("bailingmoe"),
        SMALL("seed-coder"),
        SMALL("minicpm5"),
        SMALL("youtu"),
        SMALL("spark2_5"),
        SMALL("viking"),
        SMALL("gemma4"),
        SMALL("spm-llama"),
        SMALL("spm-plain"),
        SMALL("spm-rules"),
        SMALL("unigram"),
        SMALL("unigram-bytes"),
        SMALL("wordpiece"),
        SMALL("wordpiece-cased"),
        SMALL("rwkv"),
        SMALL("jais-2"),
        SMALL("afmoe"),
        SMALL("tiny_aya"),
        SMALL("superbpe"),
        REAL("smollm2-135m-instruct"),
        REAL("gemma3-270m"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
