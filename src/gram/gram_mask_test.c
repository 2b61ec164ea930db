/* SPDX-License-Identifier: MIT
 * gram_mask_test.c - masks against the slow way, token by token, with the real vocabularies.
 *
 * For states along random walks and along sample texts: the mask has a token's bit just when a
 * copy of the state accepts the token.  Prints how long masks took; nothing depends on that.
 * Needs DAMSO_TEST_MODELS, a folder with the models named below. */
#include "base/test.h"
#include "gram/gram_int.h"

#include <string.h>
#include <time.h>

/* Of this thread: other work on the machine is no business of these figures. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct sample {
    const char *kind, *source, *text;
};

/* Of the sample of kind "parts". */
static const char sample_parts[] =
    "{\"free\": {\"without\": [\"<tool_call>\", {\"control\": \"<|im_start|>\"}, {\"control\": "
    "\"<start_of_turn>\"}]}, \"open\": {\"regex\": \"<tool_call>\"}, \"close\": {\"regex\": "
    "\"</tool_call>\"}, \"args\": {\"schema\": {\"type\": \"object\", \"properties\": {\"city\": "
    "{\"type\": "
    "\"string\"}, \"days\": {\"type\": \"integer\"}}, \"required\": [\"city\", \"days\"]}}}";

static const struct sample samples[] = {
    {"schema",
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":"
     "\"integer\",\"minimum\":0,\"maximum\":150},\"mail\":{\"type\":\"string\",\"format\":"
     "\"email\"},"
     "\"tags\":{\"type\":\"array\",\"items\":{\"enum\":[\"red\",\"green\",\"blue\"]}},\"born\":{"
     "\"type\":\"string\",\"format\":\"date\"},\"note\":{\"type\":[\"string\",\"null\"],"
     "\"maxLength\":200}},\"required\":[\"name\",\"age\",\"mail\",\"tags\",\"born\",\"note\"],"
     "\"additionalProperties\":false}",                                                      "{\"name\": \"Kim Min-jun \xea\xb9\x80\xeb\xaf\xbc\xec\xa4\x80\", \"age\": 41, \"mail\": "
     "\"min@example.org\", \"tags\": [\"red\", \"blue\"], \"born\": \"1983-02-28\", \"note\": \"He "
     "said \\\"hello\\\" to everyone in the office, and then he left for lunch at noon.\"}"    },
    {"schema",
     "{\"$defs\":{\"node\":{\"type\":\"object\",\"properties\":{\"value\":{\"type\":\"number\"},"
     "\"text\":{\"type\":\"string\"},\"left\":{\"anyOf\":[{\"$ref\":\"#/$defs/node\"},{\"type\":"
     "\"null\"}]},\"right\":{\"anyOf\":[{\"$ref\":\"#/$defs/node\"},{\"type\":\"null\"}]}},"
     "\"required\":[\"value\"],\"additionalProperties\":false}},\"$ref\":\"#/$defs/node\"}", "{\"value\": 1.5, \"text\": \"the root of the tree\", \"left\": {\"value\": -2e3, \"text\": "
     "\"a leaf on the left side\", \"left\": null, \"right\": {\"value\": 7, \"text\": "
     "\"deeper\"}},"
     "\n  \"right\": null}"               },
    {"schema", "{}",
     "{\"any\": [1, \"two words\", {\"three\": null, \"four\": [true, false]}], \"more\": \"a "
     "longer "
     "piece of text with words in it\"}"                                                                                              },
    {"schema",
     "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"maxLength\":3000},\"b\":{"
     "\"type\":\"string\",\"minLength\":5,\"maxLength\":12,\"pattern\":\"^[a-z "
     "]+$\"}},\"patternProperties\":"
     "{\"^x-\":{\"type\":\"integer\"}},\"additionalProperties\":{\"type\":\"array\"}}",      "{\"a\": \"This text is counted, character by character, to three thousand.\", \"b\": \"some "
     "words\", \"x-1\": 7, \"other\": [\"x\"]}"},
    {"gbnf",
     "root ::= (line \"\\n\")+\nline ::= expr \" = \" expr\nexpr ::= term ((\" + \" | \" - \") "
     "term)*\n"
     "term ::= [a-z]+ | [0-9]{1,6} | \"(\" expr \")\"\n",                                    "abc + (12 - x) = y\nfoo = 77 - bar\n"   },
    {"gbnf",   "root ::= [^#]* \"#\" s\ns ::= \"a\" s \"x\" | \"a\" s \"y\" | \"b\"\n",
     "Free text comes first, as much as you like. #aaabxyx"                                                                           },
    {"parts",  "root ::= free (open ws args ws close)?\nws ::= [ \\n]?",
     "First comes text, as much as you like, with < and <tool in it; 1 < 2. <tool_call>{\"city\": "
     "\"Seoul\", \"days\": 3}</tool_call>"                                                                                            },
    {"regex",  "[A-Z][a-z]+ ([0-9]{1,3},?)+( [^0-9]*)?",                                     "Hello 123,456 and some more words"      },
};

static struct gram *open_sample(const struct sample *x)
{
    struct gram *g = NULL;
    struct errinfo e = {0};
    uint64_t from = cpu_ns();
    enum err rc;
    if (x->kind[0] == 's') {
        json_t *j = json_loads(x->source, JSON_DECODE_ANY, NULL);
        assert_non_null(j);
        rc = gram_from_schema(&g, j, NULL, &e);
        json_decref(j);
    } else {
        json_t *parts = x->kind[0] == 'p' ? json_loads(sample_parts, 0, NULL) : NULL;
        rc = x->kind[0] != 'r' ? gram_from_parts(&g, span_of(x->source), parts, &e)
                               : gram_from_regex(&g, span_of(x->source), &e);
        json_decref(parts);
    }
    if (rc != ERR_OK)
        fail_msg("%s: %s", x->source, e.text);
    print_message("  %s: %u states in %.2f ms\n", x->kind, gram_n_states(g),
                  (double)(cpu_ns() - from) / 1e6);
    return g;
}

struct bench {
    const struct tok *tok;
    const struct gram_vocab *v;
    uint32_t *bits;
    double us[20000];
    size_t n, n_checked;
    uint64_t seed;
};

static void take_mask(struct bench *b, struct gram_state *s)
{
    uint64_t from = cpu_ns();
    gram_mask(s, b->v, b->bits);
    if (b->n < N_ELEMS(b->us))
        b->us[b->n++] = (double)(cpu_ns() - from) / 1e3;
}

static bool has(const struct bench *b, uint32_t id)
{
    return b->bits[id / 32] >> (id % 32) & 1;
}

static void check_mask(struct bench *b, const struct gram_state *s)
{
    struct gram_state *x = gram_copy(s);
    uint32_t n = (uint32_t)tok_n_vocab(b->tok);
    for (uint32_t id = 0; id < n; id++) {
        uint32_t now = x->now;
        size_t made = x->n_compacted;
        bool yes = gram_accept_token(x, b->v, (int32_t)id);
        if (yes != has(b, id)) {
            struct span t = gram_vocab_bytes(b->v, (int32_t)id);
            fail_msg("token %u '%.*s': the mask says %d", id, (int)t.n, t.p, has(b, id));
        }
        x->now = now;
        if (made != x->n_compacted) { /* numbers changed */
            gram_done(x);
            x = gram_copy(s);
        }
    }
    gram_done(x);
    b->n_checked++;
}

/* A token of the mask at random, or -1. */
static int32_t pick(struct bench *b)
{
    uint32_t n = (uint32_t)tok_n_vocab(b->tok), from = (uint32_t)(num_rand(&b->seed) % n);
    for (uint32_t i = 0; i < n; i++)
        if (has(b, (from + i) % n) && !tok_is_end(b->tok, (int32_t)((from + i) % n)))
            return (int32_t)((from + i) % n);
    return -1;
}

static void walk_sample(struct bench *b, const struct gram *g, int steps)
{
    struct gram_state *s = gram_start(g);
    for (int i = 0; i < steps; i++) {
        take_mask(b, s);
        if (num_rand(&b->seed) % 6 == 0)
            check_mask(b, s);
        int32_t id = pick(b);
        if (id < 0) {
            assert_true(gram_finished(s));
            gram_done(s);
            s = gram_start(g);
        } else {
            assert_true(gram_accept_token(s, b->v, id));
        }
    }
    gram_done(s);
}

static void follow_sample(struct bench *b, const struct gram *g, const char *text)
{
    struct tok_ids ids = {0};
    struct gram_state *s = gram_start(g);
    assert_int_equal(tok_encode(b->tok, span_of(text), 0, &ids, NULL), ERR_OK);
    for (size_t i = 0; i < ids.n; i++) {
        if (i == 0 && gram_vocab_bytes(b->v, ids.id[0]).p[0] == ' ' && text[0] != ' ')
            continue; /* SentencePiece's first space */
        take_mask(b, s);
        if (!has(b, (uint32_t)ids.id[i]))
            fail_msg("token %zu of '%s' is not in the mask", i, text);
        if (i % 8 == 0)
            check_mask(b, s);
        assert_true(gram_accept_token(s, b->v, ids.id[i]));
    }
    assert_true(gram_finished(s));
    gram_done(s);
    tok_ids_done(&ids);
}

static int by_size(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void report(struct bench *b, const char *what)
{
    qsort(b->us, b->n, sizeof *b->us, by_size);
    print_message("  %s: %zu masks: median %.1f us, p99 %.1f us, max %.1f us; %zu checked\n", what,
                  b->n, b->us[b->n / 2], b->us[b->n * 99 / 100], b->us[b->n - 1], b->n_checked);
    b->n = b->n_checked = 0;
}

static void masks_are_exact(void **state)
{
    const char *folder = getenv("DAMSO_TEST_MODELS");
    char path[512];
    struct gguf *file;
    struct tok *t = NULL;
    struct errinfo e = {0};
    if (!folder) {
        print_message("skipped: DAMSO_TEST_MODELS is not set\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/%s.gguf", folder, (const char *)*state);
    if (gguf_open(&file, path, &e) != ERR_OK || tok_open(&t, file, &e) != ERR_OK)
        fail_msg("%s", e.text);
    uint64_t from = cpu_ns();
    struct gram_vocab *v = gram_vocab_new(t);
    print_message("%s: %d tokens, prepared in %.0f ms\n", (const char *)*state, tok_n_vocab(t),
                  (double)(cpu_ns() - from) / 1e6);
    struct bench *b = mem_alloc(sizeof *b);
    b->tok = t;
    b->v = v;
    b->bits = mem_alloc(gram_vocab_words(v) * sizeof *b->bits);
    b->seed = test_seed();
    for (size_t i = 0; i < N_ELEMS(samples); i++) {
        struct gram *g = open_sample(&samples[i]);
        follow_sample(b, g, samples[i].text);
        report(b, "text, first time");
        follow_sample(b, g, samples[i].text);
        report(b, "text, again");
        walk_sample(b, g, 120);
        report(b, "random walk");
        gram_free(g);
    }
    mem_free(b->bits);
    mem_free(b);
    gram_vocab_free(v);
    tok_close(t);
    gguf_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"smollm2", masks_are_exact, NULL, NULL, "smollm2-135m-instruct"},
        {"gemma3",  masks_are_exact, NULL, NULL, "gemma3-270m"          },
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
