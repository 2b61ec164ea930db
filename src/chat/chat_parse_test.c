/* SPDX-License-Identifier: MIT
 * chat_parse_test.c - answers in every syntax, whole and in random pieces.
 *
 * What the parser hands out is written down as "content", {reasoning}, and NAME(arguments). */
#include "chat/chat_parse.h"

#include "base/num.h"
#include "base/test.h"

#include <string.h>

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"add\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"}}}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"find.it\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"text\":{\"type\":\"string\"},\"deep\":{\"type\":\"boolean\"},\"list\":{"
    "\"type\":\"array\"}}}}},{\"name\":\"now\"}]";

struct answer {
    const char *syntax, *prompt, *text, *want;
};

#define R1_BEGIN "<｜tool▁calls▁begin｜>"
#define R1_END   "<｜tool▁calls▁end｜>"
#define R1_CALL  "<｜tool▁call▁begin｜>"
#define R1_CLOSE "<｜tool▁call▁end｜>"
#define R1_SEP   "<｜tool▁sep｜>"

static const struct answer answers[] = {
  /* content and reasoning */
    {"hermes",       "",                "Hello, 세계!\n",                                                               "\"Hello, 세계!\n\""                             },
    {"hermes",       "",                "<think>\nhm\n\n</think>\n\nyes <think>",                                         "{hm}\"yes <think>\""                              },
    {"hermes",       "<think>\n",       "hm</think>yes",                                                                  "{hm}\"yes\""                                      },
    {"hermes",       "<think></think>", "yes </think>",                                                                   "\"yes </think>\""                                 },
    {"hermes",       "",                "<think>never ends \n",                                                           "{never ends \n}"                                  },
    {"hermes",       "",                "<think>\n\n</think>\n\nyes",                                                     "\"yes\""                                          },
    {"hermes",       "",                "a < b, a <t, a <tool_cal",                                                       "\"a < b, a <t, a <tool_cal\""                     },
 /* Hermes and Qwen */
    {"hermes",       "",
     "Let me see.\n\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": [2, "
     "\"}\"]}}\n</tool_call>\n",                                                                                          "\"Let me see.\"add({\"a\": 1, \"b\": [2, \"}\"]})"},
    {"hermes",       "",
     "<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":1}}</tool_call>\n<tool_call>\n"
     "{\"arguments\": {}, \"name\": \"now\"}\n</tool_call> done",                                                         "add({\"a\":1})now({})\"done\""                    },
    {"hermes",       "",                "<think>calls</think><tool_call>{\"name\": \"now\"}</tool_call>",
     "{calls}now({})"                                                                                                                                                        },
    {"hermes",       "",
     "<tool_call>{\"name\": \"add\", \"arguments\": \"{\\\"a\\\": \\\"\\ud55c\\u00e9\\n\\\"}\"}",                         "add({\"a\": \"한é\n\"})"                        },
    {"hermes",       "",                "x\n<tool_call>\n{\"name\": \"sub\", \"arguments\": {\"a\": 1}}\n</tool_call> y",
     "\"x\n<tool_call>\n{\"name\": \"sub\", \"arguments\": {\"a\": 1}}\n</tool_call> y\""                                                                                    },
    {"hermes",       "",                "<tool_call>I do not know",                                                       "\"<tool_call>I do not know\""                     },
    {"hermes",       "",                "<tool_call> oh <tool_call>{\"name\": \"now\", \"arguments\": null}</tool_call>",
     "\"<tool_call> oh\"now({})"                                                                                                                                             },
    {"hermes",       "",                "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": \"한",
     "add({\"a\": \"한)"                                                                                                                                                    },
    {"hermes",       "",                "<tool_call>{\"name\": \"add\"",                                                  "add()"                                            },
    {"hermes",       "",                "<tool_call>{\"name\": \"ad",                                                     "\"<tool_call>{\"name\": \"ad\""                   },
    {"generic",      "",                "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",              "now({})"                                          },
 /* Qwen3-Coder */
    {"qwen3_coder",  "",
     "Look:\n<tool_call>\n<function=find.it>\n<parameter=text>\nsay \"hi\"\nto <b>\n</parameter>\n"
     "<parameter=deep>\ntrue\n</parameter>\n<parameter=list>[1, 2]</parameter>\n</function>\n"
     "</tool_call>",                                                                                                      "\"Look:\"find.it({\"text\": \"say \\\"hi\\\"\\nto <b>\", \"deep\": true, \"list\": [1, "
     "2]})"                                                                                                                                              },
    {"qwen3_coder",  "",
     "<tool_call>\n<function=now>\n</function>\n</tool_call>\n<tool_call>\n<function=add>\n"
     "<parameter=a>\none\n</parameter>\n</function>\n</tool_call>",                                                       "now({})add({\"a\": \"one\"})"                     },
    {"qwen3_coder",  "",                "<function=now></function> <function=no></function>",
     "now({})\"<function=no></function>\""                                                                                                                                   },
    {"qwen3_coder",  "",                "<tool_call>\n<function=find.it>\n<parameter=text>\nhalf\n",
     "find.it({\"text\": \"half\\n)"                                                                                                                                         },
 /* Llama 3 */
    {"llama3",       "",                "{\"name\": \"add\", \"parameters\": {\"a\": 1}}",                                "add({\"a\": 1})"                                  },
    {"llama3",       "",
     "<|python_tag|>{\"type\": \"function\", \"name\": \"now\", \"parameters\": {}}; {\"name\": "
     "\"add\", \"parameters\": {\"b\": 2}}<|eom_id|>",                                                                    "now({})add({\"b\": 2})\"<|eom_id|>\""             },
    {"llama3",       "",                "{\"city\": \"Seoul\", \"name\": \"add\"}",
     "\"{\"city\": \"Seoul\", \"name\": \"add\"}\""                                                                                                                          },
    {"llama3",       "",                "{\"name\": \"add\"}",                                                            "\"{\"name\": \"add\"}\""                          },
    {"llama3",       "",                "It is {\"name\": \"now\", \"parameters\": {}}",
     "\"It is {\"name\": \"now\", \"parameters\": {}}\""                                                                                                                     },
 /* Mistral */
    {"mistral",      "",
     "[TOOL_CALLS] [{\"name\": \"add\", \"arguments\": {\"a\": 1}}, {\"name\": \"now\", "
     "\"arguments\": {}, \"id\": \"abc123456\"}]",                                                                        "add({\"a\": 1})now({})"                           },
    {"mistral",      "",                "[TOOL_CALLS][{\"name\":\"add\",\"arguments\":{}},{\"name\":\"x\"}]!",
     "add({})\",{\"name\":\"x\"}]!\""                                                                                                                                        },
    {"mistral",      "",                "[1, 2] [TOOL",                                                                   "\"[1, 2] [TOOL\""                                 },
    {"mistral_args", "",                "[THINK]",                                                                        "\"[THINK]\""                                      },
    {"mistral_args", "",
     "Well[TOOL_CALLS]add[ARGS]{\"a\": 1}[TOOL_CALLS]now[CALL_ID]123456789[ARGS]{}",                                      "\"Well\"add({\"a\": 1})now({})"                   },
    {"mistral_args", "",                "[TOOL_CALLS]sub[ARGS]{\"a\": 1}",                                                "\"[TOOL_CALLS]sub[ARGS]{\"a\": 1}\""              },
    {"mistral_args", "",                "[TOOL_CALLS]add[ARGS]",                                                          "add()"                                            },
    {"mistral_args", "",                "[TOOL_CALLS]add[ARG",                                                            "\"[TOOL_CALLS]add[ARG\""                          },
 /* DeepSeek */
    {"deepseek_v3",  "<think>\n",
     "so\n</think>\n\n" R1_BEGIN R1_CALL "function" R1_SEP "add\n```json\n{\"a\": 1}\n```" R1_CLOSE
     "\n" R1_CALL "function" R1_SEP "now\n```json\n{}\n```" R1_CLOSE R1_END,
     "{so}add({\"a\": 1})now({})"                                                                                                                                            },
    {"deepseek_v3",  "",
     R1_BEGIN R1_CALL "function" R1_SEP "add\n```json\n{\"a\": ",                                                         "add({\"a\": )"                                    },
    {"deepseek_v31", "",
     "x" R1_BEGIN R1_CALL "add" R1_SEP "{\"a\": 1}" R1_CLOSE R1_CALL "now" R1_SEP
     "{}" R1_CLOSE R1_END "y",
     "\"x\"add({\"a\": 1})now({})\"y\""                                                                                                                                      },
    {"deepseek_v31", "",                R1_BEGIN R1_CALL "sub" R1_SEP "{}" R1_CLOSE R1_END,
     "\"" R1_BEGIN R1_CALL "sub" R1_SEP "{}" R1_CLOSE R1_END "\""                                                                                                            },
    {"kimi",         "",
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.add:0<|tool_call_argument_begin|>"
     "{\"a\": 1}<|tool_call_end|><|tool_calls_section_end|>",                                                             "add({\"a\": 1})"                                  },
    {"phi4",         "",                "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]<|/tool_call|>",            "now({})"                                          },
    {"seed",         "",                "<seed:tool_call>\n<function=now>\n</function>\n</seed:tool_call>",               "now({})"                                          },
 /* harmony */
    {"harmony",      "",
     "<|channel|>analysis<|message|>I think.<|end|><|start|>assistant<|channel|>final<|message|>"
     "Yes.<|return|>",                                                                                                    "{I think.}\"Yes.\""                               },
    {"harmony",      "",
     "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>commentary<|message|>"
     "First, add.<|end|><|start|>assistant<|channel|>commentary to=functions.add "
     "<|constrain|>json<|message|>{\"a\": 1}<|call|>",                                                                    "{Hm}\"First, add.\"add({\"a\": 1})"               },
    {"harmony",      "",                " to=functions.now<|channel|>commentary json<|message|><|call|>",                 "now({})"                                          },
    {"harmony",      "",                "<|channel|>commentary to=functions.sub<|message|>{}<|call|>",
     "\"<|channel|>commentary to=functions.sub<|message|>{}\""                                                                                                               },
    {"harmony",      "",                "plain text",                                                                     "\"plain text\""                                   },
    {"harmony",      "",                "<|channel|>final<|message|>cut <|en",                                            "\"cut <|en\""                                     },
};

struct seen {
    struct str text;
    char in; /* what is open: " or { or ( or nothing */
    size_t n_calls;
};

static void close_part(struct seen *s)
{
    if (s->in == '"' || s->in == '{')
        str_add_char(&s->text, s->in == '"' ? '"' : '}');
    s->in = 0;
}

static void see_part(struct seen *s, char kind, struct span piece)
{
    assert_true(piece.n && utf8_valid(piece));
    assert_true(s->in != '(');
    if (s->in != kind) {
        close_part(s);
        str_add_char(&s->text, kind);
    }
    s->in = kind;
    str_add_span(&s->text, piece);
}

static void see_content(void *arg, struct span piece)
{
    see_part(arg, '"', piece);
}

static void see_reasoning(void *arg, struct span piece)
{
    see_part(arg, '{', piece);
}

static void see_begin(void *arg, size_t index, struct span name)
{
    struct seen *s = arg;
    assert_true(s->in != '(');
    close_part(s);
    assert_int_equal(index, s->n_calls++);
    str_add_span(&s->text, name);
    str_add_char(&s->text, '(');
    s->in = '(';
}

static void see_arguments(void *arg, size_t index, struct span piece)
{
    struct seen *s = arg;
    assert_true(s->in == '(' && index + 1 == s->n_calls && piece.n && utf8_valid(piece));
    str_add_span(&s->text, piece);
}

static void see_end(void *arg, size_t index)
{
    struct seen *s = arg;
    assert_true(s->in == '(' && index + 1 == s->n_calls);
    str_add_char(&s->text, ')');
    s->in = 0;
}

/* cut 0: every byte a piece; 1: all in one; then at random. */
static void parse(const struct chat *c, const json_t *tools, const struct answer *a, uint64_t *seed,
                  size_t cut, struct seen *s)
{
    const struct chat_parse_sink sink = {s,         see_content,   see_reasoning,
                                         see_begin, see_arguments, see_end};
    struct span text = span_of(a->text);
    struct chat_parse *p = chat_parse_new(c, tools, span_of(a->prompt), &sink);
    *s = (struct seen){.in = 0};
    str_init(&s->text, 1 << 20);
    str_add(&s->text, "", 0);
    while (text.n) {
        size_t most = cut == 0 ? 1 : cut == 1 ? text.n : num_rand(seed) % 12 + 1;
        size_t n = MIN(most, text.n);
        chat_parse_add(p, (struct span){text.p, n}, false);
        text.p += n;
        text.n -= n;
    }
    chat_parse_end(p, false);
    close_part(s);
    assert_int_equal(chat_parse_n_calls(p), s->n_calls);
    chat_parse_free(p);
}

static void parses_every_syntax(void **state)
{
    (void)state;
    struct chat *c;
    struct seen s;
    uint64_t seed = test_seed();
    json_t *tools = json_loads(tools_text, 0, NULL);
    assert_non_null(tools);
    assert_int_equal(chat_open(&c, SPAN(""), SPAN(""), SPAN(""), NULL, NULL), ERR_OK);
    for (size_t i = 0; i < N_ELEMS(answers); i++) {
        const struct answer *a = &answers[i];
        assert_int_equal(chat_use_syntax(c, span_of(a->syntax), NULL), ERR_OK);
        for (size_t round = 0; round < 40; round++) {
            parse(c, tools, a, &seed, round, &s);
            if (strcmp(s.text.p ? s.text.p : "", a->want) != 0)
                fail_msg("%s, answer %zu, round %zu:\n%s\nbecame\n%s\nnot\n%s", a->syntax, i, round,
                         a->text, s.text.p, a->want);
            str_done(&s.text);
        }
    }
    chat_close(c);
    json_decref(tools);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_every_syntax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
