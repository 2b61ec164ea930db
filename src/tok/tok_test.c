/* SPDX-License-Identifier: MIT
 * tok_test.c - vocabularies made in memory: what every rule of tok.h says, and files that lie.
 * Equality with other tokenizers is tok_vectors_test.c. */
#include "tok/tok.h"

#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"
#include "tok/tok_int.h"
#include "tok/tok_made.h"

#include <math.h>
#include <string.h>

#define DATA  "tests/data/tok/"
#define TYPES "tokenizer.ggml.token_type"

/* A vocabulary being described: pieces with types and scores. */
struct vocab {
    struct span piece[600];
    int32_t type[600];
    float score[600];
    size_t n;
    char forms[256][5];
    struct made made;
    struct gguf *gguf;
    struct tok *tok;
};

static int32_t add(struct vocab *v, struct span piece, int32_t type, float score)
{
    v->piece[v->n] = piece;
    v->type[v->n] = type;
    v->score[v->n] = score;
    return (int32_t)v->n++;
}

/* The 256 byte-level tokens: id == byte. */
static void begin_bpe(struct vocab *v, const char *pre)
{
    *v = (struct vocab){0};
    for (int b = 0; b < 256; b++) {
        size_t n = utf8_put(v->forms[b], tok_byte_cp((unsigned char)b));
        add(v, (struct span){v->forms[b], n}, TOK_NORMAL, 0);
    }
    made_begin(&v->made);
    made_str(&v->made, "tokenizer.ggml.model", SPAN("gpt2"));
    made_str(&v->made, "tokenizer.ggml.pre", span_of(pre));
}

static void begin_spm(struct vocab *v)
{
    *v = (struct vocab){0};
    add(v, SPAN("<unk>"), TOK_UNKNOWN, 0);
    add(v, SPAN("<s>"), TOK_CONTROL, 0);
    add(v, SPAN("</s>"), TOK_CONTROL, 0);
    made_begin(&v->made);
    made_str(&v->made, "tokenizer.ggml.model", SPAN("llama"));
    made_id(&v->made, "tokenizer.ggml.bos_token_id", 1);
    made_id(&v->made, "tokenizer.ggml.eos_token_id", 2);
}

static enum err try_open(struct vocab *v, struct errinfo *e)
{
    e->code = ERR_OK;
    assert_int_equal(gguf_open_bytes(&v->gguf, made_end(&v->made), v->made.s.n, e), ERR_OK);
    enum err err = tok_open(&v->tok, v->gguf, e);
    assert_int_equal(err, e->code);
    assert_true((err == ERR_OK) == (v->tok != NULL));
    return err;
}

static void end(struct vocab *v)
{
    tok_close(v->tok);
    gguf_close(v->gguf);
    made_done(&v->made);
}

static void add_tokens(struct vocab *v)
{
    made_strings(&v->made, "tokenizer.ggml.tokens", v->piece, v->n);
    made_numbers(&v->made, TYPES, GGUF_I32, v->type, v->n);
}

static void open_bpe(struct vocab *v, const struct span *merges, size_t n)
{
    struct errinfo e;
    add_tokens(v);
    made_strings(&v->made, "tokenizer.ggml.merges", merges, n);
    if (try_open(v, &e) != ERR_OK)
        fail_msg("%s", e.text);
}

static void open_spm(struct vocab *v)
{
    struct errinfo e;
    add_tokens(v);
    made_numbers(&v->made, "tokenizer.ggml.scores", GGUF_F32, v->score, v->n);
    if (try_open(v, &e) != ERR_OK)
        fail_msg("%s", e.text);
}

/* Fails with the merges given, and says what is wrong. */
static void refuse(struct vocab *v, enum err want, const char *word)
{
    struct errinfo e;
    assert_int_equal(try_open(v, &e), want);
    if (!strstr(e.text, word))
        fail_msg("no '%s' in: %s", word, e.text);
    end(v);
}

static void expect(const struct vocab *v, struct span text, unsigned flags, const int32_t *want,
                   size_t n)
{
    struct errinfo e;
    struct tok_ids got = {0};
    assert_int_equal(tok_encode(v->tok, text, flags, &got, &e), ERR_OK);
    bool same = got.n == n && (n == 0 || memcmp(got.id, want, n * sizeof *want) == 0);
    if (!same) {
        for (size_t i = 0; i < got.n; i++)
            printf("%d ", got.id[i]);
        fail_msg("wrong ids for '%.*s'", (int)text.n, text.p);
    }
    tok_ids_done(&got);
}

#define N_IDS(...)                       (sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))
#define IDS(...)                         (const int32_t[]){__VA_ARGS__}, N_IDS(__VA_ARGS__)
#define EXPECT(v, text, flags, ...)      expect(v, SPAN(text), flags, IDS(__VA_ARGS__))
#define EXPECT_TEXT(v, flags, want, ...) expect_text(v, IDS(__VA_ARGS__), flags, SPAN(want))

static void expect_text(const struct vocab *v, const int32_t *id, size_t n, unsigned flags,
                        struct span want)
{
    struct errinfo e;
    struct str s;
    str_init(&s, 1000);
    assert_int_equal(tok_decode(v->tok, id, n, flags, &s, &e), ERR_OK);
    if (!span_eq(str_span(&s), want))
        fail_msg("'%.*s', not '%.*s'", (int)s.n, str_span(&s).p, (int)want.n, want.p);
    str_done(&s);
}

static void test_bpe(void **state)
{
    (void)state;
    struct vocab v;
    begin_bpe(&v, "gpt-2");
    int32_t ab = add(&v, SPAN("ab"), TOK_NORMAL, 0), bc = add(&v, SPAN("bc"), TOK_NORMAL, 0);
    int32_t abc = add(&v, SPAN("abc"), TOK_NORMAL, 0), aa = add(&v, SPAN("aa"), TOK_NORMAL, 0);
    int32_t im = add(&v, SPAN("<|im_end|>"), TOK_CONTROL, 0);
    int32_t tool = add(&v, SPAN("<t>"), TOK_USER, 0), tools = add(&v, SPAN("<t>s"), TOK_USER, 0);
    add(&v, SPAN("ab"), TOK_NORMAL, 0); /* written twice: the first is found */
    const struct span merges[] = {SPAN("b c"), SPAN("a b"), SPAN("a bc"), SPAN("a a"),
                                  SPAN("x nothing")};
    made_id(&v.made, "tokenizer.ggml.eos_token_id", 'e');
    made_id(&v.made, "tokenizer.ggml.bos_token_id", 'B');
    open_bpe(&v, merges, N_ELEMS(merges));
    EXPECT(&v, "abc", 0, abc);
    EXPECT(&v, "abab", 0, ab, ab);
    EXPECT(&v, "bcb", 0, bc, 'b');
    EXPECT(&v, "aaa", 0, aa, 'a');
    EXPECT(&v, "ab ab", 0, ab, ' ', ab);
    EXPECT(&v, "x<|im_end|>", TOK_SPECIAL, 'x', im);
    EXPECT(&v, "<|im", TOK_SPECIAL, '<', '|', 'i', 'm');
    EXPECT(&v, "<t>s<t>", 0, tools, tool);
    EXPECT(&v, "<<t>", 0, '<', tool);
    EXPECT(&v, "ab", TOK_BOS, ab); /* no add_bos_token */
    EXPECT(&v,
           "a\xff\xe1\x80"
           "b",
           0, 'a', 0xff, 0xe1, 0x80, 'b');
    expect(&v, SPAN(""), 0, NULL, 0);
    EXPECT_TEXT(&v, TOK_SPECIAL, "abc <|im_end|><t>\xff", abc, ' ', im, tool, 0xff);
    EXPECT_TEXT(&v, 0, "abc", abc, im);
    assert_true(tok_is_end(v.tok, im) && tok_is_end(v.tok, 'e') && !tok_is_end(v.tok, tool));
    assert_true(tok_is_control(v.tok, im) && !tok_is_control(v.tok, tool));
    assert_int_equal(tok_find(v.tok, SPAN("ab")), ab);
    assert_int_equal(tok_find(v.tok, SPAN("no such token")), -1);
    assert_int_equal(tok_bos(v.tok), 'B');
    assert_int_equal(tok_pad(v.tok), -1);
    assert_true(span_eq_cstr(tok_piece(v.tok, tools), "<t>s"));
    assert_int_equal(tok_n_vocab(v.tok), v.n);
    assert_string_equal(tok_model(v.tok), "bpe");
    assert_string_equal(tok_pre(v.tok), "gpt-2");
    end(&v);
}

static void test_marks(void **state)
{
    (void)state;
    struct vocab v;
    begin_bpe(&v, "gpt-2");
    int32_t im = add(&v, SPAN("<|im_end|>"), TOK_CONTROL, 0);
    int32_t tool = add(&v, SPAN("<t>"), TOK_USER, 0), ab = add(&v, SPAN("ab"), TOK_NORMAL, 0);
    const struct span merges[] = {SPAN("a b")};
    size_t len = 0;
    open_bpe(&v, merges, 1);
    unsigned both = TOK_SPECIAL | TOK_MARKED;
    EXPECT(&v, "ab<|im_end|><t>", both, ab, im, tool);
    EXPECT(&v, "<" TOK_MARK "|im_end|>", both, '<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>');
    EXPECT(&v, "a" TOK_MARK "b<" TOK_MARK "t><|im_end|>" TOK_MARK, both, ab, tool, im);
    EXPECT(&v, "a" TOK_MARK "b", TOK_SPECIAL, 'a', 0xef, 0xb7, 0x90, 'b');
    expect(&v, SPAN(TOK_MARK), both, NULL, 0);
    assert_int_equal(tok_control_at(v.tok, SPAN("<|im_end|>x"), &len), im);
    assert_int_equal(len, 10);
    assert_int_equal(tok_control_at(v.tok, SPAN("<t>"), &len), -1);
    assert_int_equal(tok_control_at(v.tok, SPAN(""), &len), -1);
    assert_true(tok_control_begun(v.tok, SPAN("x<|im_")) && tok_control_begun(v.tok, SPAN("<")));
    assert_false(tok_control_begun(v.tok, SPAN("<|im_end|>")));
    assert_false(tok_control_begun(v.tok, SPAN("x<t")) || tok_control_begun(v.tok, SPAN("")));
    end(&v);
}

static void test_ends_of_harmony(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {
        struct vocab v;
        begin_bpe(&v, "gpt-4o");
        int32_t message = add(&v, SPAN("<|end|>"), TOK_CONTROL, 0);
        int32_t call = add(&v, SPAN("<|call|>"), TOK_CONTROL, 0);
        if (all)
            add(&v, SPAN("<|return|>"), TOK_CONTROL, 0);
        open_bpe(&v, NULL, 0);
        assert_int_equal(tok_is_end(v.tok, message), !all);
        assert_true(tok_is_end(v.tok, call));
        end(&v);
    }
}

static void test_bos(void **state)
{
    (void)state;
    struct vocab v;
    begin_bpe(&v, "llama-bpe"); /* adds BOS without being told */
    made_id(&v.made, "tokenizer.ggml.bos_token_id", 1);
    made_id(&v.made, "tokenizer.ggml.eos_token_id", 2);
    made_bool(&v.made, "tokenizer.ggml.add_eos_token", true);
    int32_t hello = add(&v, SPAN("hello"), TOK_NORMAL, 0);
    open_bpe(&v, NULL, 0);
    EXPECT(&v, "hello", TOK_BOS, 1, hello, 2); /* and takes whole tokens without merges */
    EXPECT(&v, "hellos", 0, 'h', 'e', 'l', 'l', 'o', 's');
    end(&v);
    begin_spm(&v);
    made_bool(&v.made, "tokenizer.ggml.add_bos_token", false);
    open_spm(&v);
    EXPECT(&v, "x", TOK_BOS, 0);
    end(&v);
}

static void test_spm(void **state)
{
    (void)state;
    struct vocab v;
    begin_spm(&v);
    int32_t space = add(&v, SPAN(TOK_SPACE), TOK_NORMAL, -9),
            a = add(&v, SPAN("a"), TOK_NORMAL, -9);
    int32_t b = add(&v, SPAN("b"), TOK_NORMAL, -9),
            sa = add(&v, SPAN(TOK_SPACE "a"), TOK_NORMAL, -3);
    int32_t ab = add(&v, SPAN("ab"), TOK_NORMAL, -2), aba = add(&v, SPAN("aba"), TOK_UNUSED, -1);
    int32_t x41 = add(&v, SPAN("<0x43>"), TOK_BYTE, 0), sp2 = add(&v, SPAN("  "), TOK_USER, 0);
    int32_t nan = add(&v, SPAN("bb"), TOK_NORMAL, NAN);
    open_spm(&v);
    EXPECT(&v, "a", 0, sa);
    EXPECT(&v, "ab", TOK_BOS, 1, space, ab);
    EXPECT(&v, "a a", 0, sa, sa);
    EXPECT(&v, "bb", 0, space, nan);
    EXPECT(&v, "baba", 0, space, b, ab, a); /* aba is merged, and comes apart again */
    EXPECT(&v, "C", 0, space, x41);
    EXPECT(&v, "zz\xff", 0, space, 0);
    EXPECT(&v, "a  a", 0, sa, sp2, a);
    EXPECT(&v, "a<s>a", 0, sa, 0, a);
    EXPECT(&v, "a<s>a", TOK_SPECIAL, sa, 1, sa);
    EXPECT_TEXT(&v, 0, " a b", sa, space, b);
    EXPECT_TEXT(&v, TOK_START, "a b", sa, space, b);
    EXPECT_TEXT(&v, TOK_SPECIAL | TOK_START, "<s>a  C</s>", 1, sa, sp2, x41, 2);
    EXPECT_TEXT(&v, 0, "\x20\xe2\x81\x87 ab", 0, ab);
    assert_true(tok_is_end(v.tok, 2) && !tok_is_end(v.tok, 1) && aba > 0);
    assert_string_equal(tok_model(v.tok), "spm");
    assert_string_equal(tok_pre(v.tok), "");
    end(&v);
}

static void test_stream(void **state)
{
    (void)state;
    struct vocab v;
    struct errinfo e;
    struct tok_stream s;
    struct str out;
    const unsigned char bytes[] = {'a', 0xea, 0xb0, 0x80, 0xff, 'b', 0xea, 0xb0};
    begin_bpe(&v, "gpt-2");
    open_bpe(&v, NULL, 0);
    str_init(&out, 100);
    tok_stream_init(&s, v.tok, TOK_START);
    for (size_t i = 0; i < N_ELEMS(bytes); i++) {
        assert_int_equal(tok_stream_add(&s, bytes[i], &out, &e), ERR_OK);
        assert_true(utf8_valid(str_span(&out)));
        if (i == 2)
            assert_true(span_eq_cstr(str_span(&out), "a"));
    }
    assert_true(span_eq_cstr(str_span(&out), "a\xea\xb0\x80\xef\xbf\xbd"
                                             "b"));
    tok_stream_end(&s, &out);
    assert_true(span_eq_cstr(str_span(&out), "a\xea\xb0\x80\xef\xbf\xbd"
                                             "b\xef\xbf\xbd"));
    assert_int_equal(tok_stream_add(&s, 9999, &out, &e), ERR_USAGE);
    tok_stream_done(&s);
    str_done(&out);
    end(&v);
}

static void test_limits(void **state)
{
    (void)state;
    struct vocab v;
    struct errinfo e;
    struct tok_ids ids = {0};
    struct str s;
    begin_bpe(&v, "gpt-2");
    open_bpe(&v, NULL, 0);
    assert_int_equal(tok_encode(v.tok, (struct span){"", TOK_TEXT_BYTES_MAX + 1}, 0, &ids, &e),
                     ERR_TOOBIG);
    str_init(&s, 2);
    assert_int_equal(tok_decode(v.tok, IDS('a', 'b', 'c'), 0, &s, &e), ERR_TOOBIG);
    str_done(&s);
    str_init(&s, 2);
    assert_int_equal(tok_decode(v.tok, IDS(-1), 0, &s, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "-1"));
    str_done(&s);
    end(&v);
}

static void test_hostile(void **state)
{
    (void)state;
    struct vocab v;
    const struct span pair[] = {SPAN("a b")}, bad[] = {SPAN("ab")}, edge[] = {SPAN("a ")};
    static char big[TOK_PIECE_BYTES_MAX + 1];
    begin_bpe(&v, "gpt-2");
    refuse(&v, ERR_CORRUPT, "tokenizer.ggml.tokens");
    begin_bpe(&v, "gpt-2");
    add_tokens(&v);
    refuse(&v, ERR_CORRUPT, "tokenizer.ggml.merges");
    begin_bpe(&v, "no-such-pre");
    add_tokens(&v);
    refuse(&v, ERR_UNSUPPORTED, "qwen2");
    begin_bpe(&v, "gpt-2");
    made_strings(&v.made, "tokenizer.ggml.tokens", v.piece, v.n);
    made_numbers(&v.made, TYPES, GGUF_I32, v.type, v.n - 1);
    refuse(&v, ERR_CORRUPT, TYPES);
    begin_bpe(&v, "gpt-2");
    v.type[7] = 99;
    add_tokens(&v);
    refuse(&v, ERR_CORRUPT, "99");
    begin_bpe(&v, "gpt-2");
    made_id(&v.made, "tokenizer.ggml.eos_token_id", 256);
    add_tokens(&v);
    refuse(&v, ERR_CORRUPT, "eos_token_id");
    begin_bpe(&v, "gpt-2");
    add_tokens(&v);
    made_strings(&v.made, "tokenizer.ggml.merges", bad, 1);
    refuse(&v, ERR_CORRUPT, "element 0");
    begin_bpe(&v, "gpt-2");
    add_tokens(&v);
    made_strings(&v.made, "tokenizer.ggml.merges", edge, 1);
    refuse(&v, ERR_CORRUPT, "element 0");
    begin_bpe(&v, "gpt-2");
    add(&v, (struct span){big, sizeof big}, TOK_NORMAL, 0);
    add_tokens(&v);
    made_strings(&v.made, "tokenizer.ggml.merges", pair, 1);
    refuse(&v, ERR_CORRUPT, "token 256");
    begin_spm(&v);
    add_tokens(&v);
    made_numbers(&v.made, "tokenizer.ggml.scores", GGUF_F32, v.score, 2);
    refuse(&v, ERR_CORRUPT, "scores");
    made_begin(&v.made);
    made_str(&v.made, "tokenizer.ggml.model", SPAN("plamo2"));
    refuse(&v, ERR_UNSUPPORTED, "bert");
    made_begin(&v.made);
    refuse(&v, ERR_CORRUPT, "tokenizer.ggml.model");
}

/* Empty tokens, and merges whose halves or results do not exist. */
static void test_odd(void **state)
{
    (void)state;
    struct vocab v;
    begin_bpe(&v, "default");
    int32_t empty = add(&v, SPAN(""), TOK_CONTROL, 0);
    int32_t ab = add(&v, SPAN("ab"), TOK_NORMAL, 0);
    const struct span merges[] = {SPAN("a b"), SPAN("a b"), SPAN("ab ab"), SPAN("b a"),
                                  SPAN("a  b")};
    open_bpe(&v, merges, N_ELEMS(merges));
    EXPECT(&v, "abab", TOK_SPECIAL, ab, ab);
    EXPECT_TEXT(&v, TOK_SPECIAL, "ab", empty, ab, empty);
    end(&v);
}

/* A megabyte of one character, or of a few, must cost no more than other text. */
static void run_long(const char *name, const char *unit, const char *tail)
{
    struct errinfo e;
    struct gguf *g;
    struct tok *t;
    struct str text, back;
    struct tok_ids ids = {0};
    char path[256];
    size_t bytes = (size_t)1 << 20;
    snprintf(path, sizeof path, DATA "%s.gguf", name);
    assert_int_equal(gguf_open(&g, path, &e), ERR_OK);
    assert_int_equal(tok_open(&t, g, &e), ERR_OK);
    str_init(&text, 4 << 20);
    str_init(&back, 4 << 20);
    while (text.n < bytes)
        str_add_cstr(&text, unit);
    str_add_cstr(&text, tail);
    if (tok_encode(t, str_span(&text), TOK_SPECIAL, &ids, &e) != ERR_OK)
        fail_msg("%s", e.text);
    assert_int_equal(tok_decode(t, ids.id, ids.n, TOK_SPECIAL | TOK_START, &back, &e), ERR_OK);
    assert_true(span_eq(str_span(&back), str_span(&text)));
    tok_ids_done(&ids);
    str_done(&text);
    str_done(&back);
    tok_close(t);
    gguf_close(g);
}

static void test_long(void **state)
{
    (void)state;
    static const char *const units[] = {"a",   " ", "\xea\xb0\x80", "\n", "1", "A",
                                        "\t ", "!", "\xff"};
    static const char *const names[] = {"llama-bpe", "gpt-4o"};
    for (size_t n = 0; n < N_ELEMS(names); n++)
        for (size_t u = 0; u < N_ELEMS(units); u++)
            run_long(names[n], units[u], "");
    run_long("spm-llama", "a", "");
    run_long("spm-llama", " ", "");
    run_long("spm-llama", "\xea\xb0\x80", "");
    run_long("deepseek-llm", " ", "\xea\xb0\x80");
    run_long("deepseek-v3", " \t", "1");
    run_long("falcon", "1", "");
    run_long("qwen2", "<|im_en", "");
}

/* Canonical order of a million marks on one letter, which naive sorting never finishes. */
static void test_long_marks(void **state)
{
    (void)state;
    struct errinfo e;
    struct gguf *g;
    struct tok *t;
    struct str text;
    struct tok_ids ids = {0};
    assert_int_equal(gguf_open(&g, DATA "qwen2.gguf", &e), ERR_OK);
    assert_int_equal(tok_open(&t, g, &e), ERR_OK);
    str_init(&text, 4 << 20);
    str_add_cstr(&text, "a");
    for (int i = 0; i < 500000; i++)
        str_add_cstr(&text, i % 2 ? "\xcc\x96" : "\xcc\x80"); /* U+0316 U+0300 */
    assert_int_equal(tok_encode(t, str_span(&text), 0, &ids, &e), ERR_OK);
    str_clear(&text);
    assert_int_equal(tok_decode(t, ids.id, ids.n, 0, &text, &e), ERR_OK);
    /* a + U+0300 compose across the marks below, which come first */
    assert_true(span_starts(str_span(&text), SPAN("\xc3\xa0\xcc\x96\xcc\x96")));
    assert_int_equal(text.n, 2 + 2 * 499999);
    tok_ids_done(&ids);
    str_done(&text);
    tok_close(t);
    gguf_close(g);
}

/* BERT: [CLS] and [SEP] around, words with U+2581, what goes on without. */
static void test_wordpiece(void **state)
{
    (void)state;
    struct vocab v = {0};
    made_begin(&v.made);
    made_str(&v.made, "tokenizer.ggml.model", SPAN("bert"));
    int32_t unk = add(&v, SPAN("[UNK]"), TOK_CONTROL, 0),
            cls = add(&v, SPAN("[CLS]"), TOK_CONTROL, 0);
    int32_t sep = add(&v, SPAN("[SEP]"), TOK_CONTROL, 0),
            un = add(&v, SPAN(TOK_SPACE "un"), TOK_NORMAL, 0);
    int32_t able = add(&v, SPAN("able"), TOK_NORMAL, 0),
            mark = add(&v, SPAN(TOK_SPACE "!"), TOK_NORMAL, 0);
    add_tokens(&v);
    struct errinfo e;
    if (try_open(&v, &e) != ERR_OK)
        fail_msg("%s", e.text);
    EXPECT(&v,
           "UN\xc3\xa1"
           "ble! xyz",
           TOK_BOS, cls, un, able, mark, unk, sep);
    EXPECT(&v, "un[SEP]un", TOK_SPECIAL, un, sep, un);
    EXPECT_TEXT(&v, TOK_START, "unable! un", un, able, mark, un);
    assert_int_equal(tok_sep(v.tok), sep);
    assert_string_equal(tok_model(v.tok), "wordpiece");
    end(&v);
}

static void begin_model(struct vocab *v, const char *model)
{
    *v = (struct vocab){0};
    made_begin(&v->made);
    made_str(&v->made, "tokenizer.ggml.model", span_of(model));
}

static void test_rwkv(void **state)
{
    (void)state;
    struct vocab v;
    begin_model(&v, "rwkv");
    int32_t line = add(&v, SPAN("\\n\\n"), TOK_NORMAL, 0),
            a = add(&v, SPAN("\\xea\\xb0"), TOK_NORMAL, 0);
    int32_t b = add(&v, SPAN("\\x80"), TOK_NORMAL, 0), one = add(&v, SPAN("\\n"), TOK_NORMAL, 0);
    add_tokens(&v);
    struct errinfo e;
    if (try_open(&v, &e) != ERR_OK)
        fail_msg("%s", e.text);
    EXPECT(&v, "\n\n\n\xea\xb0\x80", 0, line, one, a, b);
    EXPECT_TEXT(&v, 0, "\xea\xb0\x80\n\n", a, b, line);
    end(&v);
    begin_model(&v, "rwkv");
    add(&v, SPAN("\\q"), TOK_NORMAL, 0);
    add_tokens(&v);
    refuse(&v, ERR_CORRUPT, "escape");
}

static void test_hostile_scores_and_maps(void **state)
{
    (void)state;
    struct vocab v;
    const float bad[] = {0.0f, 1.0f / 0.0f};
    begin_model(&v, "t5");
    add(&v, SPAN("a"), TOK_NORMAL, 0);
    add_tokens(&v);
    refuse(&v, ERR_CORRUPT, "scores has 0");
    begin_model(&v, "t5");
    add(&v, SPAN("a"), TOK_NORMAL, 0);
    add(&v, SPAN("b"), TOK_NORMAL, 0);
    add_tokens(&v);
    made_numbers(&v.made, "tokenizer.ggml.scores", GGUF_F32, bad, 2);
    refuse(&v, ERR_CORRUPT, "element 1");
    begin_model(&v, "t5");
    add(&v, SPAN("a"), TOK_NORMAL, 0);
    add_tokens(&v);
    made_numbers(&v.made, "tokenizer.ggml.scores", GGUF_F32, bad, 1);
    made_key(&v.made, "tokenizer.ggml.precompiled_charsmap", GGUF_ARRAY);
    made_u32(&v.made, GGUF_U8);
    made_u64(&v.made, 8);
    made_u32(&v.made, 400); /* of the array, which has 4 */
    made_u32(&v.made, 0);
    refuse(&v, ERR_CORRUPT, "400 of 8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bpe),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_ends_of_harmony),
        cmocka_unit_test(test_bos),
        cmocka_unit_test(test_spm),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_odd),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_wordpiece),
        cmocka_unit_test(test_rwkv),
        cmocka_unit_test(test_hostile_scores_and_maps),
        cmocka_unit_test(test_long_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
