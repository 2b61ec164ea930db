/* SPDX-License-Identifier: MIT
 * gram_test.c - grammars by hand: GBNF, whitespace, errors that are named, hostile input. */
#include "base/test.h"
#include "gram/gram_int.h"

#include <string.h>

static bool accepts(const struct gram *g, const char *text)
{
    struct gram_state *s = gram_start(g);
    bool yes = gram_accept(s, text, strlen(text)) && gram_finished(s);
    gram_done(s);
    return yes;
}

static enum err from_schema(struct gram **g, const char *text, bool strict, struct errinfo *e)
{
    json_error_t je;
    struct gram_opts opts = {.strict = strict};
    json_t *j = json_loads(text, JSON_DECODE_ANY, &je);
    if (!j)
        fail_msg("%s: %s", je.text, text);
    enum err rc = gram_from_schema(g, j, &opts, e);
    json_decref(j);
    return rc;
}

/* kind: 's'chema, 'S'trict, 'g'bnf, 'r'egex */
static enum err from_text(struct gram **g, char kind, const char *text, struct errinfo *e)
{
    return kind == 'g'   ? gram_from_gbnf(g, span_of(text), e)
           : kind == 'r' ? gram_from_regex(g, span_of(text), e)
                         : from_schema(g, text, kind == 'S', e);
}

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        char kind;
        const char *grammar, *good[4], *bad[4];
    } rows[] = {
        {'g', "root ::= \"a\" root \"b\" | \"c\"",                                       {"c", "acb", "aacbb"},                                    {"", "acbb", "ab"}      },
        {'g',
         "# note\nroot ::= x (\n  \",\" x )* # more\nx ::= [0-9]+ | \"\\x41\" .\n",      {"1", "1,22", "A!,3"},
         {",", "1,", "A"}                                                                                                                                                  },
        {'g', "root ::= x{2} | y{1,}\n | z{,3}x\nx ::= \"x\"\ny ::= \"y\"\nz ::= \"z\"", {0},                                                      {0}                     },
        {'g',
         "root ::= x{2} | y{1,}\n | z{0,3} x\nx ::= \"x\"\ny ::= \"y\"\nz ::= \"z\"",    {"xx", "yyy", "zzzx", "x"},
         {"", "zzzzx", "xxx"}                                                                                                                                              },
        {'g',
         "root ::= ws \"x\" ws\nws ::= ([ \\t\\n] ws)?",                                 {"x", " \t x\n\n", "x "},
         {"", "x x"}                                                                                                                                                       },
        {'g',
         "root ::= e\ne ::= t | t \"+\" e\nt ::= \"1\" | \"(\" e \")\"",                 {"1", "1+1", "((1)+1)+(1)"},
         {"(1", "1+", ")"}                                                                                                                                                 },
        {'g', "root ::= a? b\na ::= \"x\"?\nb ::= [^x\\]-]",                             {"y", "xy"},                                              {"x", "]", "-"}         },
        {'g',
         "root ::= \"\xea\xb0\x80\" [\xea\xb0\x80-\xed\x9e\xa3]",                        {"\xea\xb0\x80\xeb\x8b\xb4"},
         {"\xea\xb0\x80", "\xea\xb0\x80x"}                                                                                                                                 },
        {'r', "[0-9]{3}-[0-9]{4}",                                                       {"555-1234"},                                             {"x555-1234", "555-123"}},
        {'r', "^a|b$",                                                                   {"a", "b"},                                               {"ax", "xb", ""}        },
        {'s',
         "{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}",                        {"[1, 2]", "[ 1,\n    2\n]", "[]", "[\n\t1]"},
         {"[  1]", " [1]", "[1] ", "[1,]"}                                                                                                                                 },
        {'s',
         "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}}}",                     {"{}", "{ \"a\" : 1 , \"b\" : 2 }", "{\"b\":1,\"c\":2}"},
         {"{\"b\":1,\"a\":2}", "{\"a\":1,}"}                                                                                                                               },
        {'s',
         "{\"type\":\"string\"}",                                                        {"\"\\u00e9\\ud83d\\ude00\"", "\"\\/\""},
         {"\"\\ud83d\"", "\"\\x\"", "\"\n\"", "\"\xff\""}                                                                                                                  },
        {'s', "{\"type\":\"string\",\"maxLength\":1}",                                   {"\"\\ud83d\\ude00\"", "\"\""},                           {"\"ab\""}              },
        {'s',
         "{\"type\":\"integer\"}",                                                       {"0", "-7", "123456789012345678"},
         {"-0", "01", "1.0", "1234567890123456789"}                                                                                                                        },
        {'s',
         "{\"type\":\"number\"}",                                                        {"-0", "1e5", "1.5E-10", "1e289"},
         {"1e290", ".5", "1.", "+1"}                                                                                                                                       },
        {'s', "{\"const\":3.0}",                                                         {"3", "3.0"},                                             {"3.1", "30"}           },
        {'S',
         "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"}},\"required\":[\"a\"],"
         "\"additionalProperties\":false}",                                              {"{\"a\":null}"},
         {"{}"}                                                                                                                                                            },
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct gram *g;
        struct errinfo e = {0};
        enum err rc = from_text(&g, rows[i].kind, rows[i].grammar, &e);
        if (!rows[i].good[0]) { /* a grammar that is none */
            assert_int_equal(rc, ERR_CORRUPT);
            continue;
        }
        if (rc != ERR_OK)
            fail_msg("%s: %s", rows[i].grammar, e.text);
        for (int k = 0; k < 4; k++) {
            if (rows[i].good[k] && !accepts(g, rows[i].good[k]))
                fail_msg("%s should accept '%s'", rows[i].grammar, rows[i].good[k]);
            if (rows[i].bad[k] && accepts(g, rows[i].bad[k]))
                fail_msg("%s should reject '%s'", rows[i].grammar, rows[i].bad[k]);
        }
        gram_free(g);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        char kind;
        enum err rc;
        const char *grammar, *words;
    } rows[] = {
        {'s', ERR_UNSUPPORTED, "{\"properties\":{\"a\":{\"not\":{}}}}",
         "'not' at '#/properties/a'"                                                                                    },
        {'s', ERR_UNSUPPORTED, "{\"if\":{}}",                                                  "'if'"                   },
        {'s', ERR_UNSUPPORTED, "{\"contains\":{}}",                                            "'contains'"             },
        {'s', ERR_UNSUPPORTED, "{\"minimun\":1}",                                              "'minimun'"              },
        {'s', ERR_UNSUPPORTED, "{\"unevaluatedProperties\":false}",                            "'unevaluatedProperties'"},
        {'s', ERR_UNSUPPORTED, "{\"format\":\"regex\"}",                                       "'format'"               },
        {'s', ERR_UNSUPPORTED, "{\"pattern\":\"(?=x)\"}",                                      "'pattern'"              },
        {'s', ERR_UNSUPPORTED, "{\"$ref\":\"#\"}",                                             "'$ref'"                 },
        {'s', ERR_UNSUPPORTED, "{\"$ref\":\"http://x/y\"}",                                    "'$ref'"                 },
        {'s', ERR_UNSUPPORTED, "{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}",           "itself"                 },
        {'s', ERR_UNSUPPORTED, "{\"uniqueItems\":true}",                                       "'uniqueItems'"          },
        {'s', ERR_UNSUPPORTED, "{\"maxLength\":1000000}",                                      "'maxLength'"            },
        {'s', ERR_UNSUPPORTED, "{\"items\":{},\"minItems\":100000000}",                        "'minItems'"             },
        {'s', ERR_UNSUPPORTED, "{\"pattern\":\"(a{1000}){1000}\"}",                            "'pattern'"              },
        {'s', ERR_UNSUPPORTED, "{\"pattern\":\"^[ab]*a[ab]{30}$\"}",                           "'pattern'"              },
        {'s', ERR_UNSUPPORTED, "{\"oneOf\":[{},{\"type\":\"null\"}]}",                         "'oneOf'"                },
        {'s', ERR_UNSUPPORTED, "{\"allOf\":[{\"type\":\"null\"},{\"type\":\"string\"}]}",
         "nothing satisfies"                                                                                            },
        {'s', ERR_UNSUPPORTED, "false",                                                        "nothing satisfies"      },
        {'s', ERR_UNSUPPORTED,
         "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", "nothing satisfies"      },
        {'s', ERR_CORRUPT,     "{\"type\":\"strin\"}",                                         "'type'"                 },
        {'s', ERR_CORRUPT,     "{\"$ref\":\"#/$defs/x\"}",                                     "leads nowhere"          },
        {'s', ERR_CORRUPT,     "{\"minLength\":-1}",                                           "'minLength'"            },
        {'s', ERR_CORRUPT,     "{\"pattern\":\"(\"}",                                          "'pattern'"              },
        {'s', ERR_CORRUPT,     "7",                                                            "schema"                 },
        {'S', ERR_USAGE,       "{\"type\":\"string\"}",                                        "root"                   },
        {'S', ERR_USAGE,       "{\"type\":\"object\",\"properties\":{}}",                      "additionalProperties"   },
        {'S', ERR_USAGE,
         "{\"type\":\"object\",\"properties\":{\"a\":{}},\"additionalProperties\":false}",     "'a' is missing"         },
        {'g', ERR_UNSUPPORTED, "root ::= root \"x\" | \"y\"",                                  "root begins with itself"},
        {'g', ERR_UNSUPPORTED, "root ::= a\na ::= \"\" b\nb ::= a? b \"x\" | \"y\"",           "itself"                 },
        {'g', ERR_UNSUPPORTED, "root ::= \"x\" root",                                          "nothing satisfies"      },
        {'g', ERR_UNSUPPORTED, "root ::= \"x\"{1,1000000}",                                    "line 1"                 },
        {'g', ERR_CORRUPT,     "root ::= x\n",                                                 "line 1, column 10"      },
        {'g', ERR_CORRUPT,     "rot ::= \"x\"\n",                                              "no rule 'root'"         },
        {'g', ERR_CORRUPT,     "root ::= \"x\n",                                               "line 1, column 11"      },
        {'g', ERR_CORRUPT,     "root ::= \"x\"\nroot ::= \"y\"\n",                             "line 2, column 1"       },
        {'r', ERR_UNSUPPORTED, "(a)\\1",                                                       "byte 4"                 },
        {'r', ERR_CORRUPT,     "a**",                                                          "nothing to repeat"      },
        {'r', ERR_CORRUPT,     "[b-a]",                                                        "range"                  },
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct gram *g;
        struct errinfo e = {0};
        enum err rc = from_text(&g, rows[i].kind, rows[i].grammar, &e);
        if (rc != rows[i].rc || !strstr(e.text, rows[i].words))
            fail_msg("%s: %s: %s", rows[i].grammar, err_name(rc), e.text);
        assert_null(g);
    }
}

/* What doubles at each level, chains, nests: all end soon, by a limit or well. */
static void test_hostile(void **state)
{
    (void)state;
    struct str t;
    struct gram *g;
    struct errinfo e;
    str_init(&t, (size_t)1 << 24);
    str_add_cstr(&t, "{\"$defs\":{");
    for (int i = 0; i < 60; i++)
        str_addf(&t,
                 "\"d%d\":{\"anyOf\":[{\"allOf\":[{\"$ref\":\"#/$defs/d%d\"},{\"title\":\"x\"}]},"
                 "{\"allOf\":[{\"$ref\":\"#/$defs/d%d\"},{\"maxLength\":%d}]}]},",
                 i, i + 1, i + 1, i + 5);
    str_add_cstr(&t, "\"d60\":{\"type\":\"string\"}},\"$ref\":\"#/$defs/d0\"}");
    assert_int_equal(from_schema(&g, t.p, false, &e), ERR_UNSUPPORTED);
    str_clear(&t);
    for (int i = 0; i < 1000; i++)
        str_add_cstr(&t, "{\"items\":");
    str_add_cstr(&t, "true");
    for (int i = 0; i < 1000; i++)
        str_add_cstr(&t, "}");
    assert_int_equal(from_schema(&g, t.p, false, &e), ERR_OK);
    gram_free(g);
    for (int kind = 0; kind < 2; kind++) {
        str_clear(&t);
        str_add_cstr(&t, kind ? "root ::= " : "");
        for (int i = 0; i < 100000; i++)
            str_add_char(&t, '(');
        assert_int_equal(from_text(&g, kind ? 'g' : 'r', t.p, &e), ERR_UNSUPPORTED);
    }
    str_clear(&t);
    str_add_cstr(&t, "{\"type\":\"object\",\"properties\":{");
    for (int i = 0; i < 1000; i++)
        str_addf(&t, "%s\"property%d\":{\"type\":\"integer\"}", i ? "," : "", i);
    str_add_cstr(&t, "}}");
    assert_int_equal(from_schema(&g, t.p, false, &e), ERR_OK);
    assert_true(accepts(g, "{\"property7\":1,\"property999\":2,\"else\":null}"));
    assert_false(accepts(g, "{\"property7\":1,\"property6\":2}"));
    gram_free(g);
    str_done(&t);
}

static void test_deep_text(void **state)
{
    (void)state;
    struct gram *g;
    assert_int_equal(from_schema(&g, "{}", false, NULL), ERR_OK);
    struct gram_state *s = gram_start(g);
    int depth = 0;
    while (depth < 100000 && gram_accept_byte(s, '['))
        depth++;
    assert_in_range(depth, 500, GRAM_DEPTH_MAX + 1); /* a frame each but the last */
    struct gram_state *x = gram_copy(s);
    for (int i = 0; i < depth; i++)
        assert_true(gram_accept_byte(s, ']'));
    assert_true(gram_finished(s));
    assert_false(gram_finished(x));
    gram_state_compact(x, NULL, 0);
    for (int i = 0; i < depth; i++)
        assert_true(gram_accept(x, "\n]", 2));
    assert_true(gram_finished(x));
    assert_false(gram_accept_byte(x, ' '));
    gram_done(s);
    gram_done(x);
    gram_free(g);
}

/* Stacks that differ in each frame are shared: 2^n of them cost as much as n. */
static void test_ambiguity(void **state)
{
    (void)state;
    struct gram *g;
    char text[400];
    assert_int_equal(gram_from_gbnf(&g,
                                    SPAN("root ::= s\ns ::= a | b | \"c\"\na ::= \"(\" s \")\"\n"
                                         "b ::= \"(\" s \"]\""),
                                    NULL),
                     ERR_OK);
    memset(text, '(', 399);
    text[399] = 'c';
    struct gram_state *s = gram_start(g);
    assert_true(gram_accept(s, text, 400));
    for (int i = 0; i < 399; i++)
        assert_true(gram_accept_byte(s, i % 3 ? ')' : ']'));
    assert_true(gram_finished(s));
    assert_true(gram_state_bytes(s) < (size_t)4 << 20);
    gram_done(s);
    gram_free(g);
}

static enum err from_parts(struct gram **g, const char *text, const char *parts, struct errinfo *e)
{
    json_t *j = json_loads(parts, 0, NULL);
    if (!j)
        fail_msg("no JSON: %s", parts);
    enum err rc = gram_from_parts(g, span_of(text), j, e);
    json_decref(j);
    return rc;
}

#define TOKEN(name) "\xff" name "\xff"

static void test_parts(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *parts, *good[5], *bad[6];
    } rows[] = {
        {"root ::= \"f(\" args \")\" name",
         "{\"args\": {\"schema\": {\"type\": \"object\", \"properties\": {\"a\": {\"type\": "
         "\"integer\"}},"
         " \"required\": [\"a\"], \"additionalProperties\": false}}, \"name\": {\"regex\": "
         "\"[a-c]+\"},"
         " \"unused\": 7}",                                                                 {"f({\"a\": 12})abc"},
         {"f({})a", "f({\"a\": 12})", "f({\"a\": 12})d"}                                          },
        {"root ::= call+\ncall ::= open [a-z]+ close",
         "{\"open\": {\"control\": \"<|x|>\"}, \"close\": {\"control\": \"<|y|>\"}}",       {TOKEN("<|x|>") "ab" TOKEN("<|y|>"),
          TOKEN("<|x|>") "a" TOKEN("<|y|>") TOKEN("<|x|>") "b" TOKEN("<|y|>")},
         {"<|x|>ab<|y|>", TOKEN("<|x|>") "ab<|y|>", "<|x|>", TOKEN("<|y|>")}                      },
        {"root ::= free (\"<call>\" [0-9]+)?",
         "{\"free\": {\"without\": [\"<call>\", {\"control\": \"<|x|>\"}]}}",               {"", "\xea\xb0\x80 <cal <call <<ca<", "text<call>12", TOKEN("<|z|>") "a" TOKEN("<|xx|>"),
          "<|x|>"},
         {"<call>", "a<call>b", "a<<call>", "a" TOKEN("<|x|>"), "\xea\xb0", TOKEN("<|z|>") "\xff"}},
        {"root ::= free",
         "{\"free\": {\"without\": [{\"first\": \"{a\"}, \"<x>\", {\"first\": \"{ a\"}]}}", {"{", "{b{a", " {a", "{ b"},
         {"{a", "{ab", "b<x>", "{ a"}                                                             },
        {"root ::= a | b",
         "{\"a\": {\"schema\": {\"$ref\": \"#/$defs/x\", \"$defs\": {\"x\": {\"const\": 1}}}},"
         " \"b\": {\"schema\": {\"const\": 2}}}",                                           {"1", "2"},
         {"3", "12"}                                                                              },
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct gram *g;
        struct errinfo e = {0};
        if (from_parts(&g, rows[i].grammar, rows[i].parts, &e) != ERR_OK)
            fail_msg("%s: %s", rows[i].grammar, e.text);
        for (int k = 0; k < 5 && rows[i].good[k]; k++)
            if (!accepts(g, rows[i].good[k]))
                fail_msg("%s: '%s' is refused", rows[i].grammar, rows[i].good[k]);
        for (int k = 0; k < 6 && rows[i].bad[k]; k++)
            if (accepts(g, rows[i].bad[k]))
                fail_msg("%s: '%s' is accepted", rows[i].grammar, rows[i].bad[k]);
        gram_free(g);
    }
}

static void test_errors_of_parts(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *parts, *text;
        enum err code;
    } rows[] = {
        {"root ::= \"x\" y", "{\"z\": {\"regex\": \"a\"}}",                                     "column 14: a name without a rule",
         ERR_CORRUPT                                                                                                                           },
        {"root ::= y",       "{\"y\": 1}",                                                      "part 'y': none of",                ERR_CORRUPT},
        {"root ::= y",       "{\"y\": {\"schema\": {\"odd\": 1}}}",                             "part 'y': schema, keyword 'odd'",
         ERR_UNSUPPORTED                                                                                                                       },
        {"root ::= y",       "{\"y\": {\"schema\": {\"type\": \"object\"}, \"strict\": true}}",
         "part 'y': ",                                                                                                              ERR_USAGE  },
        {"root ::= y",       "{\"y\": {\"regex\": \"(\"}}",                                     "part 'y': ",                       ERR_CORRUPT},
        {"root ::= y",       "{\"y\": {\"regex\": 1}}",                                         "part 'y': ",                       ERR_CORRUPT},
        {"root ::= y",       "{\"y\": {\"without\": []}}",                                      "part 'y': ",                       ERR_CORRUPT},
        {"root ::= y",       "{\"y\": {\"without\": [\"\"]}}",                                  "part 'y': ",                       ERR_CORRUPT},
        {"root ::= y",       "{\"y\": {\"control\": \"\"}}",                                    "part 'y': ",                       ERR_CORRUPT},
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct gram *g;
        struct errinfo e = {0};
        enum err rc = from_parts(&g, rows[i].grammar, rows[i].parts, &e);
        assert_null(g);
        if (rc != rows[i].code || !strstr(e.text, rows[i].text))
            fail_msg("%s: %s '%s', not '%s'", rows[i].parts, err_name(rc), e.text, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),           cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_hostile),         cmocka_unit_test(test_deep_text),
        cmocka_unit_test(test_ambiguity),       cmocka_unit_test(test_parts),
        cmocka_unit_test(test_errors_of_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
