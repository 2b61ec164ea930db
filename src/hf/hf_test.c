/* SPDX-License-Identifier: MIT
 * hf_test.c - heads of weight files and folders that are refused, each by what is wrong with it;
 * folders that load are held to the converter's files in app/folder_test.c. */
#include "base/test.h"

#include "hf/hf_int.h"

#include "base/num.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file of this head and n_data bytes. */
static enum err read_head(const char *head, size_t n_data, struct errinfo *e, size_t *n)
{
    struct hf_tensors all = {0};
    struct arena a;
    size_t len = strlen(head);
    arena_init(&a);
    char *file = arena_alloc(&a, 8 + len + n_data);
    uint64_t n_head = len;
    memcpy(file, &n_head, 8);
    memcpy(file + 8, head, len);
    enum err r = hf_safetensors_read(&all, &a, (struct span){file, 8 + len + n_data}, "x", 0, e);
    *n = all.n;
    mem_free(all.t);
    arena_done(&a);
    return r;
}

static void heads(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        size_t n_data;
        const char *says; /* NULL: it is read */
    } cases[] = {
        {"{}",                                                                                     0,  NULL              },
        {"{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],"
         "\"data_offsets\":[0,24]},\"b\":{\"dtype\":\"BF16\",\"shape\":[5],\"data_offsets\":[24,34]"
         "}}",                                                                            34, NULL              },
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}",                       4,
         "2 elements of F32"                                                                                             },
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",                       3,  "cut short"       },
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}",                       8,  "cut short"       },
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",                       8,  "tensors of 4"    },
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",                       8,  "gaps"            },
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",               4,  "overlap"         },
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,4]}}",
         4,                                                                                            "impossibly large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]}}",     4,
         "elements of F32"                                                                                               },
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}",                      4,  "no whole number" },
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}",                     4,
         "no whole number"                                                                                               },
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}",               4,  "shape"           },
        {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}",                             4,  "dtype"           },
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}",                         4,  "data_offsets"    },
        {"{\"a\":[]}",                                                                             0,  "no object"       },
        {"{\"a\":{},\"a\":{}}",                                                                    0,  "duplicate"       },
        {"{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",                        4,  "no name"         },
        {"[]",                                                                                     0,  "no JSON object"  },
        {"{\"a\":",                                                                                0,  "no JSON object"  },
    };
    for (size_t i = 0; i < N_ELEMS(cases); i++) {
        struct errinfo e = {0};
        size_t n;
        enum err r = read_head(cases[i].head, cases[i].n_data, &e, &n);
        if (!cases[i].says != (r == ERR_OK) || (cases[i].says && !strstr(e.text, cases[i].says)))
            fail_msg("%s: %s", cases[i].head, r == ERR_OK ? "was read" : e.text);
    }
}

/* Every byte of a real head changed in some ways: read or refused, never beyond the bytes. */
static void mutations(void **state)
{
    (void)state;
    const char *head = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                       "\"b\":{\"dtype\":\"BF16\",\"shape\":[5],\"data_offsets\":[24,34]}}";
    const size_t len = strlen(head), all = 8 + len + 34;
    uint64_t seed = test_seed(), n_head = len;
    size_t n_read = 0, n_refused = 0;
    for (size_t i = 0; i < 20000; i++) {
        struct hf_tensors out = {0};
        struct errinfo e = {0};
        struct arena a;
        arena_init(&a);
        /* just as many bytes as it may read: a sanitizer sees one more */
        size_t n = num_rand(&seed) % 4 ? all : num_rand(&seed) % (all + 1);
        char *file = malloc(all);
        assert_non_null(file);
        memcpy(file, &n_head, 8);
        memcpy(file + 8, head, len);
        memset(file + 8 + len, 1, 34);
        for (uint64_t k = num_rand(&seed) % 3; k-- > 0;)
            file[num_rand(&seed) % all] = (char)("0123456789[]{},:\"-."[num_rand(&seed) % 19]);
        file = realloc(file, MAX(n, (size_t)1));
        if (hf_safetensors_read(&out, &a, (struct span){file, n}, "x", 0, &e) == ERR_OK) {
            n_read++;
            for (size_t k = 0; k < out.n; k++)
                assert_true((const char *)out.t[k].data >= file &&
                            (const char *)out.t[k].data + out.t[k].bytes <= file + n);
        } else {
            n_refused++;
            assert_true(e.text[0]);
        }
        free(file);
        mem_free(out.t);
        arena_done(&a);
    }
    assert_true(n_read > 1000 && n_refused > 1000);
}

/* ---- folders ---- */

static char dir[64];

static void put_file(const char *name, const void *bytes, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void refused(const char *says)
{
    struct gguf *g;
    struct errinfo e = {0};
    if (hf_open(&g, dir, &e) == ERR_OK)
        fail_msg("opened; wanted: %s", says);
    if (!strstr(e.text, says))
        fail_msg("%s; wanted: %s", e.text, says);
    assert_null(g);
}

static void put_text(const char *name, const char *text)
{
    put_file(name, text, strlen(text));
}

#define SIZES                                                                                      \
    "\"hidden_size\":2,\"num_hidden_layers\":1,\"num_attention_heads\":1,\"intermediate_size\":2," \
    "\"max_position_embeddings\":8"

static void put_weights(const char *name, const char *type)
{
    char file[512] = {0};
    int n = snprintf(file + 8, sizeof file - 8,
                     "{\"%s\":{\"dtype\":\"%s\",\"shape\":[2,2],\"data_offsets\":[0,16]}}", name,
                     type);
    file[0] = (char)n;
    put_file("model.safetensors", file, 8 + (size_t)n + 16);
}

static void folders(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/damso-hf-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_false(hf_is_folder(dir));
    put_text("config.json", "{");
    assert_true(hf_is_folder(dir));
    refused("config.json: line 1");
    put_text("config.json", "{}");
    refused("names no architecture");
    put_text("config.json", "{\"architectures\":[\"NoSuchForCausalLM\"]}");
    refused("NoSuchForCausalLM does not load from a folder");
    put_text("config.json", "{\"architectures\":[\"LlamaForCausalLM\"],\"quantization_config\":"
                            "{\"quant_method\":\"awq\"}}");
    refused("quantised (awq)");
    put_text("config.json", "{\"architectures\":[\"LlamaForCausalLM\"]}");
    refused("neither model.safetensors nor");
    put_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"../a.safetensors\"}}");
    refused("no file's name");
    put_weights("model.embed_tokens.weight", "F32");
    refused("num_hidden_layers is missing");
    put_text("config.json",
             "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_act\":\"gelu\"," SIZES "}");
    refused("activation gelu");
    put_text("config.json", "{\"architectures\":[\"LlamaForCausalLM\"]," SIZES
                            ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}");
    refused("rope scaling dynamic");
    put_text("config.json", "{\"architectures\":[\"LlamaForCausalLM\"]," SIZES "}");
    refused("tokenizer.json");
    put_text("tokenizer.json", "{\"model\":{\"type\":\"Unigram\"}}");
    refused("tokenizer model Unigram");
    put_text("tokenizer.json",
             "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":"
             "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"q+\"},\"behavior\":\"Isolated\"}}");
    refused("without ByteLevel");
    put_text("tokenizer.json",
             "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":"
             "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
             "\"q+\"},\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\",\"use_regex\":false}]}}");
    refused("pattern q+ is not known");
    put_text("tokenizer.json", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":7},\"merges\":[]},"
                               "\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}");
    refused("the id of token a");
    put_weights("model.embed_tokens.weight", "I32");
    refused("type I32, which is not read");
    put_weights("model.layers.0.self_attn.rotten.weight", "F32");
    refused("rotten.weight has no place");
    put_weights("lm_head.weight", "F32");
    refused("no embed_tokens");
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json",
                                        "model.safetensors.index.json"};
    for (size_t i = 0; i < N_ELEMS(files); i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads),
        cmocka_unit_test(mutations),
        cmocka_unit_test(folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
