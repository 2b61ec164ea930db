/* SPDX-License-Identifier: MIT
 * model_encoder_test.c - what is refused of encoders and rerankers, and by which words: files of
 * tests/data/encoder with a few bytes changed. */
#include "base/test.h"
#include "model/model.h"

#include "base/arena.h"

#include <stdio.h>
#include <string.h>

struct file {
    char *bytes;
    size_t n;
};

static void read_file(struct file *f, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "tests/data/encoder/%s.gguf", name);
    f->bytes = test_read_file(NULL, path, &f->n);
}

/* Where a text of the file ends. */
static char *after(const struct file *f, const char *text)
{
    size_t n = strlen(text);
    char *at = memmem(f->bytes, f->n, text, n);
    assert_non_null(at);
    return at + n;
}

static void opens_as(struct file *f, enum err want, const char *says)
{
    struct gguf *g;
    struct model *m;
    struct errinfo e;
    assert_int_equal(gguf_open_bytes(&g, f->bytes, f->n, &e), ERR_OK);
    assert_int_equal(model_open(&m, g, &e), want);
    if (want != ERR_OK && !strstr(e.text, says))
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
    model_close(m);
    gguf_close(g);
    mem_free(f->bytes);
}

static void poolings(void **state)
{
    (void)state;
    static const struct {
        char type;
        enum err want;
        const char *says;
    } cases[] = {
        {2, ERR_OK,          ""                          },
        {9, ERR_UNSUPPORTED, "bert.pooling_type is 9"    },
        {4, ERR_CORRUPT,     "without the tensor cls.out"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct file f;
        read_file(&f, "bert");
        after(&f, "bert.pooling_type")[4] = cases[i].type; /* behind the value's type */
        opens_as(&f, cases[i].want, cases[i].says);
    }
}

/* A tensor or value that is called otherwise. */
static void renamed(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text;
        const char *more; /* another one, or NULL */
        enum err want;
        const char *says;
    } cases[] = {
        {"modern-bert",           "hidden_activation",              NULL,       ERR_UNSUPPORTED, "gelu_new"         },
        {"xlm-roberta-rank",      "cls.weight",                     "cls.bias", ERR_UNSUPPORTED, "the pooler"       },
        {"xlm-roberta-rank",      "cls.bias",                       NULL,       ERR_UNSUPPORTED, "clz.bias"         },
        {"xlm-roberta-rank",      "cls.output.weight",              NULL,       ERR_UNSUPPORTED, "no cls.output"    },
        {"gemma-embedding-dense", "dense_3.weight",                 NULL,       ERR_UNSUPPORTED, "dense_3"          },
        {"bert",                  "blk.0.layer_output_norm.weight", NULL,       ERR_CORRUPT,     "layer_output_norm"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *texts[] = {cases[i].text, cases[i].more};
        struct file f;
        read_file(&f, cases[i].file);
        for (size_t k = 0; k < 2 && texts[k]; k++) {
            char *end = after(&f, texts[k]);
            if (strcmp(texts[k], "hidden_activation") == 0)
                end[4 + 8] = 'z'; /* the value: behind its type and length */
            else
                end[-(ptrdiff_t)strlen(texts[k]) + 2] = 'z';
        }
        opens_as(&f, cases[i].want, cases[i].says);
    }
}

/* Takes a tensor out of the header, which keeps its length: the model's name grows by as much. */
static void drop(struct file *f, const char *tensor)
{
    char *end = after(f, tensor), *from = end - strlen(tensor) - 8,
         *name = after(f, "general.name") + 4;
    uint64_t length, n_tensors;
    uint32_t n_dims;
    memcpy(&n_dims, end, sizeof n_dims);
    end += 4 + n_dims * 8 + 4 + 8; /* dimensions, type, offset */
    memcpy(&length, name, sizeof length);
    char *rest = name + 8 + length;
    const size_t grown = (size_t)(end - from);
    memmove(rest + grown, rest, (size_t)(from - rest));
    memset(rest, 'x', grown);
    length += grown;
    memcpy(name, &length, sizeof length);
    memcpy(&n_tensors, f->bytes + 8, sizeof n_tensors);
    n_tensors--;
    memcpy(f->bytes + 8, &n_tensors, sizeof n_tensors);
}

static void distil_bert(void **state)
{
    (void)state;
    for (int words = 0; words < 2; words++) {
        struct file f;
        read_file(&f, "xlm-roberta-rank");
        drop(&f, "token_types.weight");
        if (words) /* WordPiece, in place of none; behind the value's type and length */
            memcpy(after(&f, "tokenizer.ggml.model") + 12, "bert", 4);
        opens_as(&f, words ? ERR_UNSUPPORTED : ERR_OK, "a DistilBERT");
    }
}

/* Types, of which a sequence's known beginning says nothing, are of texts that are read whole. */
static void types_of_pairs(void **state)
{
    (void)state;
    struct file f;
    read_file(&f, "bert-rank");
    assert_int_equal(after(&f, "bert.attention.causal")[4], 0); /* behind the value's type */
    after(&f, "bert.attention.causal")[4] = 1;
    opens_as(&f, ERR_UNSUPPORTED, "2 token types");
    read_file(&f, "bert-rank");
    opens_as(&f, ERR_OK, "");
}

static void check_head(const char *name, size_t n_out, size_t n_types, enum model_pooling pooling)
{
    struct file f;
    struct gguf *g;
    struct model *m;
    struct errinfo e;
    read_file(&f, name);
    assert_int_equal(gguf_open_bytes(&g, f.bytes, f.n, &e), ERR_OK);
    assert_int_equal(model_open(&m, g, &e), ERR_OK);
    assert_int_equal(m->head.out.rows, n_out);
    assert_int_equal(m->n_types, n_types);
    assert_int_equal(m->head.pooling, pooling);
    assert_int_equal(m->pooling, MODEL_POOL_RANK);
    assert_int_equal(m->output.rows, 0);
    assert_false(model_writes_text(g));
    model_close(m);
    gguf_close(g);
    mem_free(f.bytes);
}

static void heads(void **state)
{
    (void)state;
    check_head("bert-rank", 1, 2, MODEL_POOL_CLS);
    check_head("xlm-roberta-rank", 1, 1, MODEL_POOL_CLS);
    check_head("modern-bert-rank", 1, 0, MODEL_POOL_MEAN);
    check_head("modern-bert-rank-cls", 1, 0, MODEL_POOL_CLS);
    check_head("qwen3-rank", 2, 0, MODEL_POOL_LAST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(poolings),       cmocka_unit_test(renamed), cmocka_unit_test(distil_bert),
        cmocka_unit_test(types_of_pairs), cmocka_unit_test(heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
