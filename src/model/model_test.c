/* SPDX-License-Identifier: MIT
 * model_test.c - models that a writer here makes: whole, and each with one thing wrong. */
#include "base/test.h"

#include "gguf/gguf_made.h"
#include "gguf/gguf_write.h"
#include "model/model.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

/* A model of the least sizes; the tests change one part of it. */
struct recipe {
    const char *arch;
    uint32_t layers, dim, ff, heads, kv_heads, k_dim, ctx, window;
    float base;
    const char *without;     /* a key or tensor left out */
    const char *reshaped;    /* a tensor with one more row or element */
    const char *text_key;    /* a key written as a string */
    const char *extra;       /* a tensor of nobody's */
    uint32_t type;           /* of the matrices */
    uint32_t n_layers_there; /* layers with tensors, when other than `layers` */
    const uint32_t *kv_list; /* [layers]: the key-value heads as an array */
    bool yarn, post_norm, qk_norm;
};

static struct recipe usual(const char *arch)
{
    return (struct recipe){.arch = arch,
                           .layers = 2,
                           .dim = 32,
                           .ff = 64,
                           .heads = 4,
                           .kv_heads = 2,
                           .k_dim = 8,
                           .ctx = 128,
                           .base = 10000,
                           .post_norm = strncmp(arch, "gemma", 5) == 0,
                           .qk_norm = strcmp(arch, "qwen3") == 0 || strcmp(arch, "gemma3") == 0};
}

static bool same(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static const char *key(const struct recipe *r, const char *name)
{
    static char full[128];
    snprintf(full, sizeof full, "%s.%s", r->arch, name);
    return full;
}

static void put_u32(struct gguf_made *f, const struct recipe *r, const char *name, uint32_t v)
{
    if (same(r->text_key, name))
        gguf_made_str(f, key(r, name), "seven");
    else if (!same(r->without, name))
        gguf_made_u32(f, key(r, name), v);
}

static void put_keys(struct gguf_made *f, const struct recipe *r)
{
    if (!same(r->without, "general.architecture"))
        gguf_made_str(f, "general.architecture", r->arch);
    put_u32(f, r, "block_count", r->layers);
    put_u32(f, r, "context_length", r->ctx);
    put_u32(f, r, "embedding_length", r->dim);
    put_u32(f, r, "feed_forward_length", r->ff);
    put_u32(f, r, "attention.head_count", r->heads);
    if (r->kv_list)
        gguf_made_u32s(f, key(r, "attention.head_count_kv"), r->kv_list, r->layers);
    else
        put_u32(f, r, "attention.head_count_kv", r->kv_heads);
    put_u32(f, r, "attention.key_length", r->k_dim);
    if (r->window)
        put_u32(f, r, "attention.sliding_window", r->window);
    gguf_made_f32(f, key(r, "rope.freq_base"), r->base);
    if (r->yarn) {
        gguf_made_str(f, key(r, "rope.scaling.type"), "yarn");
        gguf_made_f32(f, key(r, "rope.scaling.factor"), 4);
    }
}

/* rows 0: a vector, always floats. */
static void put_tensor(struct gguf_made *f, const struct recipe *r, const char *name, uint64_t cols,
                       uint64_t rows)
{
    bool more = same(r->reshaped, name);
    if (same(r->without, name))
        return;
    if (rows)
        gguf_made_tensor(f, name, r->type, cols, rows + more, NULL);
    else
        gguf_made_tensor(f, name, GGUF_TYPE_F32, cols + more, 0, NULL);
}

static void put_layer(struct gguf_made *f, const struct recipe *r, uint32_t i)
{
    const uint64_t q = (uint64_t)r->heads * r->k_dim, kv = (uint64_t)r->kv_heads * r->k_dim;
    const struct {
        const char *name;
        uint64_t cols, rows;
        bool there;
    } parts[] = {
        {"attn_norm",           r->dim,   0,      true        },
        {"attn_q",              r->dim,   q,      true        },
        {"attn_k",              r->dim,   kv,     true        },
        {"attn_v",              r->dim,   kv,     true        },
        {"attn_output",         q,        r->dim, true        },
        {"attn_q_norm",         r->k_dim, 0,      r->qk_norm  },
        {"attn_k_norm",         r->k_dim, 0,      r->qk_norm  },
        {"post_attention_norm", r->dim,   0,      r->post_norm},
        {"ffn_norm",            r->dim,   0,      true        },
        {"ffn_gate",            r->dim,   r->ff,  true        },
        {"ffn_up",              r->dim,   r->ff,  true        },
        {"ffn_down",            r->ff,    r->dim, true        },
        {"post_ffw_norm",       r->dim,   0,      r->post_norm},
    };
    for (size_t k = 0; k < N_ELEMS(parts); k++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.%s.weight", i, parts[k].name);
        if (parts[k].there)
            put_tensor(f, r, name, parts[k].cols, parts[k].rows);
    }
}

static enum err open_made(struct gguf_made *f, struct gguf **g, struct model **m, struct errinfo *e)
{
    const void *bytes = gguf_made_end(f);
    *m = NULL;
    *e = (struct errinfo){0};
    assert_int_equal(gguf_open_bytes(g, bytes, f->all.n, e), ERR_OK);
    return model_open(m, *g, e);
}

static enum err open_recipe(const struct recipe *r, struct gguf_made *f, struct gguf **g,
                            struct model **m, struct errinfo *e)
{
    gguf_made_begin(f);
    put_keys(f, r);
    put_tensor(f, r, "token_embd.weight", r->dim, 16);
    put_tensor(f, r, "output_norm.weight", r->dim, 0);
    for (uint32_t i = 0; i < (r->n_layers_there ? r->n_layers_there : r->layers); i++)
        put_layer(f, r, i);
    if (r->extra)
        gguf_made_tensor(f, r->extra, GGUF_TYPE_F32, 4, 0, NULL);
    return open_made(f, g, m, e);
}

/* Refused with `want` and a text that has all of the words, separated by '|'. */
static void assert_refused_(const struct recipe *r, enum err want, const char *words, int line)
{
    struct gguf_made f;
    struct gguf *g;
    struct model *m;
    struct errinfo e;
    enum err got = open_recipe(r, &f, &g, &m, &e);
    bool all = got == want && !m;
    for (const char *p = words; all && p; p = strchr(p, '|')) {
        p += *p == '|';
        char word[128];
        snprintf(word, sizeof word, "%.*s", (int)strcspn(p, "|"), p);
        all = strstr(e.text, word) != NULL;
    }
    if (!all)
        fail_msg("line %d: %s: %s (not '%s')", line, err_name(got), e.text, words);
    gguf_close(g);
    gguf_made_done(&f);
}
#define assert_refused(r, want, words) assert_refused_(r, want, words, __LINE__)

static void opens_every_family(void **state)
{
    (void)state;
    /* Those whose files have the usual tensors; engine_arch_test opens a file of every row. */
    static const char *const names[] = {"llama", "qwen2", "qwen3", "gemma2", "gemma3"};
    for (size_t i = 0; i < N_ELEMS(names); i++) {
        struct recipe r = usual(names[i]);
        struct gguf_made f;
        struct gguf *g;
        struct model *m;
        struct errinfo e;
        if (open_recipe(&r, &f, &g, &m, &e) != ERR_OK)
            fail_msg("%s: %s", names[i], e.text);
        assert_int_equal(m->n_vocab, 16);
        assert_int_equal(m->n_rot, 8);
        assert_true(m->output.tensor == m->embed.tensor);
        assert_non_null(strstr(model_arch_list(), names[i]));
        model_close(m);
        gguf_close(g);
        gguf_made_done(&f);
    }
}

static void refuses_what_is_not_supported(void **state)
{
    (void)state;
    struct recipe r = usual("wavtokenizer");
    assert_refused(&r, ERR_UNSUPPORTED, "'wavtokenizer'|docs/MODELS.md");
    r.arch = "dream";
    assert_refused(&r, ERR_UNSUPPORTED, "'dream'|diffusion");
    r.arch = "gemma4-assistant";
    assert_refused(&r, ERR_UNSUPPORTED, "'gemma4-assistant'|another model's states");
    r = usual("llama"), r.type = GGUF_TYPE_I8;
    assert_refused(&r, ERR_UNSUPPORTED, "token_embd.weight|I8|F32|Q4_K|Q6_K");
    r = usual("llama"), r.extra = "blk.0.attn_mystery.weight";
    assert_refused(&r, ERR_UNSUPPORTED, "blk.0.attn_mystery.weight|no place|llama");
    r = usual("llama"), r.extra = "token_embd.scale"; /* rows that are looked up are not scaled */
    assert_refused(&r, ERR_UNSUPPORTED, "token_embd.scale|no place");
    r = usual("llama"), r.layers = 1, r.n_layers_there = 2;
    assert_refused(&r, ERR_UNSUPPORTED, "blk.1.attn_norm.weight|no place");
    r = usual("llama"), r.kv_list = (const uint32_t[]){4, 3};
    assert_refused(&r, ERR_CORRUPT, "layer 1|4 heads|3 of keys");
}

static void refuses_keys(void **state)
{
    (void)state;
    static const char *const needed[] = {"block_count", "context_length", "embedding_length",
                                         "feed_forward_length", "attention.head_count"};
    struct recipe r = usual("llama");
    r.without = "general.architecture";
    assert_refused(&r, ERR_CORRUPT, "general.architecture");
    for (size_t i = 0; i < N_ELEMS(needed); i++) {
        r = usual("llama"), r.without = needed[i];
        assert_refused(&r, ERR_CORRUPT, needed[i]);
        r = usual("llama"), r.text_key = needed[i];
        assert_refused(&r, ERR_CORRUPT, needed[i]);
    }
    r = usual("llama"), r.text_key = "attention.key_length";
    assert_refused(&r, ERR_CORRUPT, "llama.attention.key_length");
}

static void refuses_sizes(void **state)
{
    (void)state;
    struct recipe r = usual("llama");
    r.layers = 0;
    assert_refused(&r, ERR_CORRUPT, "llama.block_count|0|1024");
    r = usual("llama"), r.layers = 5000, r.n_layers_there = 1;
    assert_refused(&r, ERR_CORRUPT, "llama.block_count|5000|1024");
    r = usual("llama"), r.ctx = 0;
    assert_refused(&r, ERR_CORRUPT, "llama.context_length|0");
    r = usual("llama"), r.ctx = UINT32_MAX;
    assert_refused(&r, ERR_CORRUPT, "llama.context_length|4294967295");
    r = usual("llama"), r.heads = 3;
    assert_refused(&r, ERR_CORRUPT, "3 heads|2 key-value heads");
    r = usual("llama"), r.kv_heads = 5;
    assert_refused(&r, ERR_CORRUPT, "llama.attention.head_count_kv|5|1 to 4");
    r = usual("llama"), r.k_dim = 7;
    assert_refused(&r, ERR_CORRUPT, "7 rotated");
    r = usual("llama"), r.k_dim = 1;
    assert_refused(&r, ERR_CORRUPT, "llama.rope.dimension_count");
}

/* Numbers that only the keys have: no tensor could be that large in a test. */
static void refuses_huge_numbers(void **state)
{
    (void)state;
    static const char *const names[] = {"embedding_length", "feed_forward_length",
                                        "attention.head_count", "attention.key_length",
                                        "attention.head_count_kv"};
    static const uint32_t values[] = {0, 1u << 21, UINT32_MAX};
    for (size_t i = 0; i < N_ELEMS(names); i++)
        for (size_t k = 0; k < N_ELEMS(values); k++) {
            struct recipe r = usual("llama");
            struct gguf_made f;
            struct gguf *g;
            struct model *m;
            struct errinfo e;
            r.without = names[i];
            gguf_made_begin(&f);
            put_keys(&f, &r);
            gguf_made_u32(&f, key(&r, names[i]), values[k]);
            assert_int_equal(open_made(&f, &g, &m, &e), ERR_CORRUPT);
            assert_null(m);
            assert_non_null(strstr(e.text, key(&r, names[i])));
            gguf_close(g);
            gguf_made_done(&f);
        }
}

static void refuses_tensors(void **state)
{
    (void)state;
    struct recipe r = usual("gemma3");
    r.reshaped = "blk.1.ffn_down.weight";
    assert_refused(&r, ERR_CORRUPT, "blk.1.ffn_down.weight|64 x 33|64 x 32");
    r = usual("gemma3"), r.reshaped = "blk.0.attn_k_norm.weight";
    assert_refused(&r, ERR_CORRUPT, "blk.0.attn_k_norm.weight|9 elements|8 are");
    r = usual("gemma3"), r.without = "blk.1.post_ffw_norm.weight";
    assert_refused(&r, ERR_CORRUPT, "blk.1.post_ffw_norm.weight|missing");
    r = usual("qwen3"), r.without = "blk.0.attn_q_norm.weight";
    assert_refused(&r, ERR_CORRUPT, "blk.0.attn_q_norm.weight|missing");
    r = usual("llama"), r.without = "token_embd.weight";
    assert_refused(&r, ERR_CORRUPT, "token_embd.weight|missing");
    r = usual("llama"), r.n_layers_there = 1;
    assert_refused(&r, ERR_CORRUPT, "blk.1.attn_norm.weight|missing");
}

/* One more key with this number: refused, and named. */
static void refuse_number(const char *name, float v, enum err want, const char *words)
{
    struct recipe r = usual("llama");
    struct gguf_made f;
    struct gguf *g;
    struct model *m;
    struct errinfo e;
    r.yarn = true;
    gguf_made_begin(&f);
    put_keys(&f, &r);
    if (strncmp(name, "expert_", 7) == 0 && strcmp(name, "expert_weights_scale") != 0)
        gguf_made_u32(&f, key(&r, name), (uint32_t)v);
    else
        gguf_made_f32(&f, key(&r, name), v);
    put_tensor(&f, &r, "token_embd.weight", r.dim, 16);
    put_tensor(&f, &r, "output_norm.weight", r.dim, 0);
    put_layer(&f, &r, 0);
    put_layer(&f, &r, 1);
    enum err got = open_made(&f, &g, &m, &e);
    if (got != want || m || !strstr(e.text, words))
        fail_msg("%s = %g: %s: %s", name, (double)v, err_name(got), e.text);
    gguf_close(g);
    gguf_made_done(&f);
}

static void refuses_numbers(void **state)
{
    (void)state;
    static const float bases[] = {NAN, INFINITY, 0, 1, -10000};
    for (size_t i = 0; i < N_ELEMS(bases); i++) {
        struct recipe r = usual("llama");
        r.base = bases[i];
        assert_refused(&r, ERR_CORRUPT, "rope base");
    }
    refuse_number("expert_count", 8, ERR_CORRUPT, "expert_used_count");
    refuse_number("expert_count", 1e6f, ERR_CORRUPT, "expert_count");
    refuse_number("residual_scale", 0, ERR_CORRUPT, "scale of zero");
    refuse_number("attention.max_alibi_bias", -1, ERR_CORRUPT, "slope");
    refuse_number("rope.freq_base_swa", 0.5f, ERR_CORRUPT, "rope base of 0.5");
    refuse_number("rope.freq_base_swa", NAN, ERR_CORRUPT, "rope base");
    refuse_number("attention.layer_norm_rms_epsilon", NAN, ERR_CORRUPT, "epsilon");
    refuse_number("attention.layer_norm_rms_epsilon", -1, ERR_CORRUPT, "epsilon");
    refuse_number("attn_logit_softcapping", -1, ERR_CORRUPT, "cap");
    refuse_number("final_logit_softcapping", INFINITY, ERR_CORRUPT, "final_logit_softcapping");
    refuse_number("attention.scale", NAN, ERR_CORRUPT, "attention.scale");
    refuse_number("attention.output_scale", NAN, ERR_CORRUPT, "attention.output_scale");
    refuse_number("attention.value_scale", INFINITY, ERR_CORRUPT, "attention.value_scale");
    refuse_number("router_logit_softcapping", -1, ERR_CORRUPT, "cap");
    refuse_number("rope.scaling.attn_factor", INFINITY, ERR_CORRUPT, "scaling");
    refuse_number("rope.scaling.attn_factor", 0, ERR_CORRUPT, "scaling");
    refuse_number("rope.scaling.yarn_beta_fast", NAN, ERR_CORRUPT, "scaling");
    refuse_number("rope.scaling.original_context_length", 2, ERR_CORRUPT, "original_context");
}

/* ---- what files leave out ---- */

static struct model *open_or_fail(const struct recipe *r, struct gguf_made *f, struct gguf **g)
{
    struct model *m;
    struct errinfo e;
    if (open_recipe(r, f, g, &m, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return m;
}

/* config.json of the 27B models: query_pre_attn_scalar is width / heads; else the head's size. */
static void scales_gemma_by_its_size(void **state)
{
    (void)state;
    static const struct {
        const char *arch;
        uint32_t layers;
        float by;
    } cases[] = {
        {"gemma2", 46, 16},
        {"gemma2", 42, 8 },
        {"gemma3", 62, 16},
        {"gemma3", 46, 8 },
        {"qwen3",  62, 8 },
        {"llama",  46, 8 }
    };
    for (size_t i = 0; i < N_ELEMS(cases); i++) {
        struct recipe r = usual(cases[i].arch);
        struct gguf_made f;
        struct gguf *g;
        r.layers = cases[i].layers, r.dim = 64;
        struct model *m = open_or_fail(&r, &f, &g);
        assert_true(fabsf(m->attn_scale - 1 / sqrtf(cases[i].by)) < 1e-6f);
        model_close(m);
        gguf_close(g);
        gguf_made_done(&f);
    }
}

static void first_files_of_gemma2_say_less(void **state)
{
    (void)state;
    struct gguf_made f;
    struct gguf *g;
    struct recipe r = usual("gemma2");
    struct model *m = open_or_fail(&r, &f, &g);
    assert_true(m->attn_cap == 50 && m->logit_cap == 30);
    assert_int_equal(m->layers[0].window, 4096);
    assert_int_equal(m->layers[1].window, 0);
    assert_true(m->layers[0].angles == &m->angles);
    model_close(m);
    gguf_close(g);
    gguf_made_done(&f);
}

static void windows_and_bases_of_gemma3(void **state)
{
    (void)state;
    struct gguf_made f;
    struct gguf *g;
    struct recipe r = usual("gemma3");
    r.layers = 13, r.window = UINT32_MAX, r.base = 1000000;
    struct model *m = open_or_fail(&r, &f, &g);
    for (size_t i = 0; i < m->n_layer; i++) {
        bool whole = i == 5 || i == 11;
        assert_int_equal(m->layers[i].window, whole ? 0 : INT32_MAX);
        assert_true(m->layers[i].angles == (whole ? &m->angles : &m->angles_local));
    }
    assert_true(fabsf(m->angles.inverse[1] - powf(1e6f, -0.25f)) < 1e-7f);
    assert_true(fabsf(m->angles_local.inverse[1] - powf(1e4f, -0.25f)) < 1e-7f);
    model_close(m);
    gguf_close(g);
    gguf_made_done(&f);
}

/* A copy of a model with one thing more: a layer's tensor, [v] floats, or a key, which is v. */
static void copy_with(const char *from, const char *path, const char *extra, uint32_t v)
{
    const uint64_t n = v;
    bool tensor = strncmp(extra, "blk.", 4) == 0;
    static const float ones[4096];
    struct gguf *g;
    struct gguf_write *w;
    struct errinfo e;
    assert_true(n <= 4096);
    if (gguf_open(&g, from, &e) != ERR_OK || gguf_write_new(&w, path, &e) != ERR_OK)
        fail_msg("%s", e.text);
    for (size_t i = 0; i < gguf_n_keys(g); i++)
        gguf_write_key(w, gguf_key_at(g, i));
    if (!tensor)
        gguf_write_u32(w, extra, v);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        gguf_write_tensor(w, t->name, t->type, t->n_dims, t->dims);
    }
    if (tensor)
        gguf_write_tensor(w, span_of(extra), 0, 1, &n);
    enum err r = gguf_write_head(w, &e);
    for (size_t i = 0; r == ERR_OK && i < gguf_n_tensors(g); i++)
        r = gguf_write_data(w, gguf_tensor_at(g, i)->data, gguf_tensor_at(g, i)->bytes, &e);
    if (r == ERR_OK && tensor)
        r = gguf_write_data(w, ones, n * sizeof *ones, &e);
    if (r != ERR_OK || gguf_write_end(w, &e) != ERR_OK)
        fail_msg("%s", e.text);
    gguf_write_free(w);
    gguf_close(g);
}

/* A part or a number that latent attention would leave out makes another model of it, and other
 * sizes with a window have no place in its heads; whether they are kept in the small space or
 * whole. */
static void refuses_what_latent_heads_have_no_place_for(void **state)
{
    static const struct {
        const char *file, *extra, *says;
        uint32_t v;
    } cases[] = {
        {"deepseek-v2", "blk.0.attn_kv_a_mqa.bias",            "attn_kv_a_mqa.bias", 40},
        {"deepseek-v2", "blk.0.attn_q_norm.weight",            "attn_q_norm.weight", 40},
        {"deepseek-v2", "blk.0.attn_k_norm.weight",            "attn_k_norm.weight", 40},
        {"deepseek-v2", "deepseek2.rope.dimension_count_swa",  "40 of them turned",  40},
        {"deepseek-v2", "deepseek2.attention.clamp_kqv",       "clamp_kqv is not",   8 },
        {"deepseek-v2", "deepseek2.attention.value_scale",     "value_scale is not", 2 },
        {"minicpm3",    "minicpm3.attention.clamp_kqv",        "clamp_kqv is not",   8 },
        {"minicpm3",    "minicpm3.attention.value_scale",      "value_scale is not", 2 },
        {"minicpm3",    "blk.0.attn_gate.weight",              "attn_gate.weight",   64},
        {"minicpm3",    "minicpm3.rope.dimension_count_swa",   "24 of them turned",  24},
        {"minicpm3",    "minicpm3.attention.value_length_swa", "values of 8 with",   8 },
    };
    char path[] = "/tmp/model_test_XXXXXX";
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < N_ELEMS(cases); i++) {
        char from[80];
        struct gguf *g;
        struct model *m;
        struct errinfo e;
        snprintf(from, sizeof from, "tests/data/family/%s.gguf", cases[i].file);
        copy_with(from, path, cases[i].extra, cases[i].v);
        if (gguf_open(&g, path, &e) != ERR_OK)
            fail_msg("%s", e.text);
        assert_int_equal(model_open(&m, g, &e), ERR_UNSUPPORTED);
        if (!strstr(e.text, cases[i].says))
            fail_msg("'%s' does not say '%s'", e.text, cases[i].says);
        gguf_close(g);
    }
    unlink(path);
}

/* Behind the first occurrence of a text in the file. */
static char *behind(char *bytes, size_t n, const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i + len < n; i++)
        if (memcmp(bytes + i, text, len) == 0)
            return bytes + i + len;
    fail_msg("%s is not in the file", text);
    return NULL;
}

static void expect_corrupt(const char *bytes, size_t n, const char *says)
{
    struct gguf *g;
    struct model *m;
    struct errinfo e;
    if (gguf_open_bytes(&g, bytes, n, &e) != ERR_OK)
        fail_msg("%s", e.text);
    assert_int_equal(model_open(&m, g, &e), ERR_CORRUPT);
    if (!strstr(e.text, says))
        fail_msg("'%s' does not say '%s'", e.text, says);
    gguf_close(g);
}

/* A copy of an RWKV 6 whose shares of the row before are a tensor each, as older files have them.
 */
static void copy_parted(const struct gguf *g, const char *path)
{
    static const char *const names[] = {"w", "k", "v", "r", "g"};
    struct gguf_write *w;
    struct errinfo e;
    char name[64];
    enum err r = gguf_write_new(&w, path, &e);
    for (size_t i = 0; r == ERR_OK && i < gguf_n_keys(g); i++)
        gguf_write_key(w, gguf_key_at(g, i));
    for (int data = 0; r == ERR_OK && data < 2; data++) {
        for (size_t i = 0; r == ERR_OK && i < gguf_n_tensors(g); i++) {
            const struct gguf_tensor *t = gguf_tensor_at(g, i);
            bool fused = span_find(t->name, SPAN("lerp_fused"), 0) != SIZE_MAX;
            if (!data && !fused)
                gguf_write_tensor(w, t->name, t->type, t->n_dims, t->dims);
            for (size_t k = 0; !data && fused && k < N_ELEMS(names); k++) {
                snprintf(name, sizeof name, "%.6stime_mix_lerp_%s.weight", t->name.p, names[k]);
                gguf_write_tensor(w, span_of(name), t->type, 1, t->dims);
            }
            for (size_t k = 0, n = fused ? N_ELEMS(names) : 1; data && r == ERR_OK && k < n; k++)
                r = gguf_write_data(w, t->data + t->bytes / n * k, t->bytes / n, &e);
        }
        if (!data && r == ERR_OK)
            r = gguf_write_head(w, &e);
    }
    if (r != ERR_OK || gguf_write_end(w, &e) != ERR_OK)
        fail_msg("%s", e.text);
    gguf_write_free(w);
}

static void reads_parted_shares(void **state)
{
    char path[] = "/tmp/model_test_XXXXXX";
    struct gguf *g, *parted;
    struct model *m, *other;
    struct errinfo e;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    if (gguf_open(&g, "tests/data/family/rwkv6.gguf", &e) != ERR_OK ||
        model_open(&m, g, &e) != ERR_OK)
        fail_msg("%s", e.text);
    copy_parted(g, path);
    if (gguf_open(&parted, path, &e) != ERR_OK || model_open(&other, parted, &e) != ERR_OK)
        fail_msg("%s", e.text);
    for (size_t i = 0; i < m->n_layer; i++)
        for (int k = 0; k < MODEL_LERP_N; k++) {
            const float *a = m->layers[i].mixer.wkv.lerp[k];
            const float *b = other->layers[i].mixer.wkv.lerp[k];
            assert_true(!a == (k == MODEL_LERP_A) && !a == !b);
            if (a)
                assert_memory_equal(a, b, m->dim * sizeof *a);
        }
    model_close(m);
    model_close(other);
    gguf_close(g);
    gguf_close(parted);
    unlink(path);
}

/* RWKV: heads that do not fit the width, or a part that is not there.  PLaMo 2: groups of heads, of
 * which its files have one. */
static void refuses_states_that_do_not_fit(void **state)
{
    static const struct {
        const char *file, *key;
        uint32_t value;
        const char *says;
    } keys[] = {
        {"rwkv7",      "rwkv7.wkv.head_size",                0,     "head_count"   },
        {"rwkv7",      "rwkv7.wkv.head_size",                3,     "10 heads of 3"},
        {"rwkv7",      "rwkv7.wkv.head_size",                64,    "0 heads of 64"},
        {"rwkv6",      "rwkv6.wkv.head_size",                70000, "head_size"    },
        {"rwkv6qwen2", "rwkv6qwen2.attention.head_count_kv", 3,     "with 3 of"    },
        {"plamo2",     "plamo2.ssm.group_count",             4,     "4 groups"     },
    };
    static const char *const parts[] = {"blk.0.time_mix_lerp_fuse", "blk.1.time_mix_w",
                                        "blk.2.time_mix_r_", "blk.1.channel_mix_valu"};
    char path[80];
    size_t n;
    (void)state;
    for (size_t i = 0; i < N_ELEMS(keys); i++) {
        snprintf(path, sizeof path, "tests/data/family/%s.gguf", keys[i].file);
        char *bytes = test_read_file(NULL, path, &n), *at = behind(bytes, n, keys[i].key);
        memcpy(at + 4, &keys[i].value, 4); /* behind the number that says that it is 32 bits */
        expect_corrupt(bytes, n, keys[i].says);
        mem_free(bytes);
    }
    for (size_t i = 0; i < N_ELEMS(parts); i++) {
        char *bytes = test_read_file(NULL, "tests/data/family/rwkv7.gguf", &n);
        *behind(bytes, n, parts[i]) = '_';
        expect_corrupt(bytes, n, parts[i]);
        mem_free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_every_family),
        cmocka_unit_test(refuses_what_is_not_supported),
        cmocka_unit_test(refuses_keys),
        cmocka_unit_test(refuses_sizes),
        cmocka_unit_test(refuses_huge_numbers),
        cmocka_unit_test(refuses_tensors),
        cmocka_unit_test(refuses_states_that_do_not_fit),
        cmocka_unit_test(reads_parted_shares),
        cmocka_unit_test(refuses_numbers),
        cmocka_unit_test(scales_gemma_by_its_size),
        cmocka_unit_test(first_files_of_gemma2_say_less),
        cmocka_unit_test(windows_and_bases_of_gemma3),
        cmocka_unit_test(refuses_what_latent_heads_have_no_place_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
