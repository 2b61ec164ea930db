/* SPDX-License-Identifier: MIT
 * Requests as fields: what is taken, and the name under which the rest is refused. */
#include "base/test.h"

#include "api/api_ask.h"
#include "api/api_responses.h"
#include "base/num.h"

#include <math.h>
#include <string.h>

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static const struct sampler_params defaults = {.temp = 0.75f,
                                               .top_k = 40,
                                               .top_p = 0.9f,
                                               .typical_p = 1,
                                               .repeat_penalty = 1,
                                               .dry_base = 1.75f,
                                               .dry_allowed_length = 2};

/* A request on its way, read by one of the readers. */
struct reading {
    struct arena arena;
    struct api api;
    struct http_req req;
    struct api_call call;
    struct api_ask ask;
    struct api_responses r;
    bool ok;
};

enum reader { COMMON, CHAT, RESPONSES };

static void begin_text(struct reading *x, enum reader reader, struct span body)
{
    memset(x, 0, sizeof *x);
    arena_init(&x->arena);
    x->req.arena = &x->arena;
    x->call.api = &x->api;
    x->call.req = &x->req;
    x->call.ask = &x->ask;
    api_ask_init(&x->ask, &defaults);
    x->call.body = api_json_parse(body, &x->call.fault);
    if (!x->call.body)
        fail_msg("%.*s: %s", (int)body.n, body.p, x->call.fault.text);
    const struct api_in in = {x->call.body, "", &x->call.fault};
    if (reader == RESPONSES)
        x->ok = api_responses_read(&x->r, &x->call);
    else
        x->ok = reader == CHAT ? api_ask_chat(&x->ask, &in, &x->arena)
                               : api_ask_common(&x->ask, &in, &x->arena);
    assert_int_equal(x->ok, x->call.fault.status == 0);
}

static void begin(struct reading *x, enum reader reader, const char *body)
{
    begin_text(x, reader, span_of(body));
}

static void end(struct reading *x)
{
    api_ask_done(&x->ask);
    api_responses_done(&x->r);
    json_decref(x->call.body);
    arena_done(&x->arena);
}

static void begin_good(struct reading *x, enum reader reader, const char *body)
{
    begin(x, reader, body);
    if (!x->ok)
        fail_msg("%s: %s", body, x->call.fault.text);
}

/* ---- sampling: every row at its limits ---- */

static const struct param {
    const char *name;
    double min, max;
    bool whole;
} params[] = {
#define PARAM_REAL(name, field, min, max) {#name, min, max, false},
#define PARAM_INT(name, field, min, max)  {#name, min, max, true},
#include "api/api_param.def"
#undef PARAM_REAL
#undef PARAM_INT
};

static double field_of(const struct sampler_params *p, size_t i)
{
    double values[] = {
#define PARAM_REAL(name, field, min, max) (double)p->field,
#define PARAM_INT(name, field, min, max)  (double)p->field,
#include "api/api_param.def"
#undef PARAM_REAL
#undef PARAM_INT
    };
    return values[i];
}

static void try_param(const struct param *p, size_t i, double value, bool fine)
{
    struct reading x;
    char body[128];
    snprintf(body, sizeof body, "{\"%s\":%.17g}", p->name, value);
    begin(&x, COMMON, body);
    if (x.ok != fine)
        fail_msg("%s: %s", body, x.ok ? "was taken" : x.call.fault.text);
    if (fine && strcmp(p->name, "top_k") != 0)
        assert_true(field_of(&x.ask.sampling, i) == (p->whole ? value : (double)(float)value));
    if (!fine) {
        assert_int_equal(x.call.fault.status, 400);
        assert_string_equal(x.call.fault.param, p->name);
    }
    end(&x);
}

static void test_params_at_their_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMS(params); i++) {
        const struct param *p = &params[i];
        double step = p->whole ? 1 : 0.001;
        try_param(p, i, p->min, true);
        try_param(p, i, p->max, true);
        try_param(p, i, p->min - step, false);
        try_param(p, i, p->max + step, false);
        try_param(p, i, 1e300, false);
        if (p->whole)
            try_param(p, i, p->min + 0.5, false);
    }
}

static void test_params_of_other_kinds(void **state)
{
    (void)state;
    static const char *const values[] = {"\"1\"", "true", "[1]", "{}"};
    for (size_t i = 0; i < N_ELEMS(params) * N_ELEMS(values); i++) {
        struct reading x;
        char body[128];
        const char *name = params[i / N_ELEMS(values)].name;
        snprintf(body, sizeof body, "{\"%s\":%s}", name, values[i % N_ELEMS(values)]);
        begin(&x, COMMON, body);
        assert_int_equal(x.call.fault.status, 400);
        assert_string_equal(x.call.fault.param, name);
        end(&x);
    }
    struct reading x; /* what is not said, or null, is the server's */
    begin_good(&x, COMMON, "{\"temperature\":null,\"top_k\":null}");
    assert_true(x.ask.sampling.temp == defaults.temp && x.ask.sampling.top_k == defaults.top_k);
    end(&x);
    begin_good(&x, COMMON, "{\"top_k\":-1}");
    assert_int_equal(x.ask.sampling.top_k, 0); /* all */
    end(&x);
}

/* ---- tables of faults ---- */

struct row {
    const char *body, *param, *words;
};

static void try_rows(enum reader reader, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct reading x;
        begin(&x, reader, rows[i].body);
        const struct api_fault *f = &x.call.fault;
        if (x.ok || f->status != 400 || strcmp(f->param, rows[i].param) != 0 ||
            !strstr(f->text, rows[i].words))
            fail_msg("%s: %d, %s, %s", rows[i].body, f->status, f->param, f->text);
        end(&x);
    }
}

static void test_common_faults(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{\"model\":5}",                                                       "model",                 "a string"            },
        {"{\"model\":\"a\\nb\"}",                                               "model",                 "control characters"  },
        {"{\"seed\":1.5}",                                                      "seed",                  "an integer"          },
        {"{\"n\":0}",                                                           "n",                     "1 to 128"            },
        {"{\"n\":129}",                                                         "n",                     "1 to 128"            },
        {"{\"max_tokens\":-1}",                                                 "max_tokens",            "0 to"                },
        {"{\"max_completion_tokens\":2147483648}",                              "max_completion_tokens", "0 to"                },
        {"{\"min_tokens\":-1}",                                                 "min_tokens",            "0 to"                },
        {"{\"ignore_eos\":1}",                                                  "ignore_eos",            "true or false"       },
        {"{\"stream\":\"yes\"}",                                                "stream",                "true or false"       },
        {"{\"stream_options\":{}}",                                             "stream_options",        "only with"           },
        {"{\"stream\":true,\"stream_options\":{\"include_usage\":1}}",
         "stream_options.include_usage",                                                                 "true or false"       },
        {"{\"stop\":5}",                                                        "stop",                  "a string or an array"},
        {"{\"stop\":[\"a\",5]}",                                                "stop",                  "a string or an array"},
        {"{\"logit_bias\":[]}",                                                 "logit_bias",            "an object"           },
        {"{\"logit_bias\":{\"x\":1}}",                                          "logit_bias",            "no token id"         },
        {"{\"logit_bias\":{\"\":1}}",                                           "logit_bias",            "no token id"         },
        {"{\"logit_bias\":{\"-1\":1}}",                                         "logit_bias",            "no token id"         },
        {"{\"logit_bias\":{\"2147483648\":1}}",                                 "logit_bias",            "no token id"         },
        {"{\"logit_bias\":{\"5\":101}}",                                        "logit_bias",            "-100 to 100"         },
        {"{\"logit_bias\":{\"5\":\"1\"}}",                                      "logit_bias",            "-100 to 100"         },
        {"{\"response_format\":\"json\"}",                                      "response_format",       "an object"           },
        {"{\"response_format\":{\"type\":\"xml\"}}",                            "response_format.type",  "none of"             },
        {"{\"response_format\":{}}",                                            "response_format.type",  "none of"             },
        {"{\"guided_regex\":5}",                                                "guided_regex",          "a string"            },
        {"{\"lora\":[{\"scale\":1}]}",                                          "lora[].id",             "is missing"          },
        {"{\"lora\":[7]}",                                                      "lora",                  "an array of"         },
        {"{\"lora\":[{\"id\":0,\"scale\":1e9}]}",                               "lora[].scale",          ""                    },
        {"{\"guided_json\":\"{}\"}",                                            "guided_json",           "an object"           },
        {"{\"guided_choice\":[]}",                                              "guided_choice",         "empty"               },
        {"{\"guided_choice\":[1]}",                                             "guided_choice",         "array of strings"    },
        {"{\"guided_regex\":\"a\",\"grammar\":\"root ::= \\\"a\\\"\"}",         "grammar",               "only one form"       },
        {"{\"response_format\":{\"type\":\"json_object\"},\"guided_json\":{}}", "guided_json",
         "only one form"                                                                                                       },
    };
    try_rows(COMMON, rows, N_ELEMS(rows));
}

static void test_chat_faults(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{}",                                                                                            "messages",                     "at least one"                },
        {"{\"messages\":[]}",                                                                             "messages",                     "at least one"                },
        {"{\"messages\":[5]}",                                                                            "messages",                     "messages[0] is not an object"},
        {"{\"messages\":[{\"content\":\"x\"}]}",                                                          "messages[0].role",             "none of"                     },
        {"{\"messages\":[{\"role\":\"robot\",\"content\":\"x\"}]}",                                       "messages[0].role",             "robot"                       },
        {"{\"messages\":[{\"role\":\"user\"}]}",                                                          "messages[0].content",          "missing"                     },
        {"{\"messages\":[{\"role\":\"user\",\"content\":5}]}",                                            "messages[0].content",
         "content part"                                                                                                                                                 },
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
         "messages[0].content[0]",                                                                                                        "image_url"                   },
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
         "messages[0].content[0]",                                                                                                        "no text"                     },
        {"{\"messages\":[{\"role\":\"user\",\"content\":[\"x\"]}]}",                                      "messages[0].content[0]",
         "parts"                                                                                                                                                        },
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}]}]}",                                 "messages[0].",                 "name"                        },
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"name\":5}]}",                             "messages[0].name",
         "a string"                                                                                                                                                     },
        {"{" USER ",\"tools\":[{\"type\":\"web\"}]}",                                                     "tools",                        "\"web\""                     },
        {"{" USER ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]}",
         "tools[0].function.name",                                                                                                        "1 to 64"                     },
        {"{" USER
         ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\",\"parameters\":1}}]}", "tools[0].function.parameters", "an object"                   },
        {"{" USER ",\"tool_choice\":\"any\"}",                                                            "tool_choice",                  "none of"                     },
        {"{" USER ",\"tool_choice\":\"required\"}",                                                       "tool_choice",                  "no tools"                    },
        {"{" USER ",\"tool_choice\":5}",                                                                  "tool_choice",                  "a string or an object"       },
        {"{" USER ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}",
         "tool_choice",                                                                                                                   "not among"                   },
        {"{" USER ",\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"auto\"}}",                     "tool_choice",
         "names no tools"                                                                                                                                               },
        {"{" USER ",\"top_logprobs\":2}",                                                                 "top_logprobs",                 "only with"                   },
        {"{" USER ",\"logprobs\":true,\"top_logprobs\":21}",                                              "top_logprobs",                 "0 to 20"                     },
        {"{" USER ",\"max_tokens\":0}",                                                                   "max_completion_tokens",        "at least 1"                  },
        {"{" USER ",\"reasoning_effort\":\"very\"}",                                                      "reasoning_effort",             "none of"                     },
        {"{" USER ",\"prediction\":{\"type\":\"x\"}}",                                                    "prediction.type",              "content"                     },
        {"{" USER ",\"prediction\":{\"type\":\"content\",\"content\":5}}",                                "prediction.content",
         "a string or an array"                                                                                                                                         },
        {"{" USER ",\"prediction\":\"x\"}",                                                               "prediction",                   "object"                      },
        {"{" USER ",\"modalities\":[\"audio\"]}",                                                         "modalities",                   "only"                        },
        {"{" USER ",\"audio\":{}}",                                                                       "audio",                        "only text"                   },
        {"{" USER ",\"chat_template\":5}",                                                                "chat_template",                "a string"                    },
    };
    try_rows(CHAT, rows, N_ELEMS(rows));
}

static void test_responses_faults(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{\"input\":\"x\",\"bogus\":1}",                                                     "bogus",             "Unknown parameter"   },
        {"{\"input\":5}",                                                                     "input",             "a string or an array"},
        {"{\"input\":[5]}",                                                                   "input",             "not an object"       },
        {"{\"input\":[{\"type\":5}]}",                                                        "input[0].type",     "not supported"       },
        {"{\"input\":[{\"type\":\"web_search_call\"}]}",                                      "input[0].type",     "web_search_call"     },
        {"{\"input\":[{\"type\":\"item_reference\"}]}",                                       "input[0].id",       "missing"             },
        {"{\"input\":[{\"type\":\"item_reference\",\"id\":\"\"}]}",                           "input[0].id",       "missing"             },
        {"{\"input\":[{\"role\":\"user\",\"content\":\"x\",\"id\":\"a\\u0007\"}]}",           "input[0].id",
         "control character"                                                                                                             },
        {"{\"input\":[{\"id\":\"a\"},{\"id\":\"a\"}]}",                                       "input[1].id",       "another item"        },
        {"{\"input\":\"x\",\"background\":true}",                                             "background",        "waits"               },
        {"{\"input\":\"x\",\"prompt\":{}}",                                                   "prompt",            "no stored prompts"   },
        {"{\"input\":\"x\",\"truncation\":\"some\"}",                                         "truncation",        "not known"           },
        {"{\"input\":\"x\",\"max_output_tokens\":0}",                                         "max_output_tokens", "1 to"                },
        {"{\"input\":\"x\",\"include\":[\"all\"]}",                                           "include",           "\"all\""             },
        {"{\"input\":\"x\",\"text\":{\"format\":{}}}",                                        "text.format.type",  "missing"             },
        {"{\"input\":\"x\",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\"}}}",
         "text.format.schema",                                                                                     "missing"             },
        {"{\"input\":\"x\",\"metadata\":{\"k\":5}}",                                          "metadata",          "no string"           },
        {"{\"input\":\"x\",\"user\":5}",                                                      "user",              "a string"            },
    };
    try_rows(RESPONSES, rows, N_ELEMS(rows));
}

/* ---- what is taken ---- */

static void test_fields(void **state)
{
    (void)state;
    struct reading x;
    begin_good(&x, COMMON,
               "{\"model\":\"m\",\"seed\":-1,\"n\":3,\"max_tokens\":7,\"max_completion_tokens\":9,"
               "\"min_tokens\":2,\"ignore_eos\":true,\"stream\":true,\"stop\":[\"a\",\"\",\"bc\"],"
               "\"stream_options\":{\"include_usage\":true},\"logit_bias\":{\"5\":-100,\"6\":0.5,"
               "\"7\":100}}");
    assert_string_equal(x.ask.model, "m");
    assert_true(x.ask.seeded && x.ask.sampling.seed == ((uint64_t)1 << 53) - 1);
    assert_int_equal(x.ask.n, 3);
    assert_int_equal(x.ask.n_max, 9); /* the newer name goes before */
    assert_int_equal(x.ask.n_min, 2);
    assert_true(x.ask.ignore_end && x.ask.stream && x.ask.include_usage);
    assert_int_equal(x.ask.n_stop, 2); /* an empty one would end all */
    assert_true(span_eq_cstr(x.ask.stop[1], "bc"));
    assert_int_equal(x.ask.sampling.n_bias, 3);
    assert_true(isinf(x.ask.sampling.bias[0].add) && x.ask.sampling.bias[0].token == 5);
    assert_true(x.ask.sampling.bias[1].add == 0.5f && x.ask.sampling.bias[2].add > 1e5f);
    end(&x);
    begin_good(&x, COMMON, "{}");
    assert_true(!x.ask.model && !x.ask.seeded && x.ask.n == 1 && x.ask.n_max == -1);
    assert_true(x.ask.parallel_calls && x.ask.guide == API_FREE && !x.ask.stream);
    end(&x);
}

static void test_guides(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum api_guide guide;
        bool strict;
    } rows[] = {
        {"{\"response_format\":{\"type\":\"text\"}}",                      API_FREE,   false},
        {"{\"response_format\":{\"type\":\"json_object\"}}",               API_JSON,   false},
        {"{\"response_format\":{\"type\":\"json_object\",\"schema\":{}}}", API_SCHEMA, false},
        {"{\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
         "\"schema\":{},\"strict\":true}}}",                      API_SCHEMA, true },
        {"{\"guided_json\":{}}",                                           API_SCHEMA, false},
        {"{\"json_schema\":{}}",                                           API_SCHEMA, false},
        {"{\"guided_regex\":\"a+\"}",                                      API_REGEX,  false},
        {"{\"grammar\":\"root ::= x\"}",                                   API_GBNF,   false},
        {"{\"guided_grammar\":\"root ::= x\"}",                            API_GBNF,   false},
        {"{\"guided_choice\":[\"a\",\"b\"]}",                              API_CHOICE, false},
        {"{\"guided_regex\":\"\",\"grammar\":null}",                       API_FREE,   false},
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct reading x;
        begin_good(&x, COMMON, rows[i].body);
        assert_int_equal(x.ask.guide, rows[i].guide);
        assert_int_equal(x.ask.strict, rows[i].strict);
        end(&x);
    }
}

static const json_t *at(const json_t *messages, size_t i, const char *name)
{
    return json_object_get(json_array_get(messages, i), name);
}

static void test_conversation(void **state)
{
    (void)state;
    struct reading x;
    begin_good(
        &x, CHAT,
        "{\"messages\":[{\"role\":\"developer\",\"content\":\"s\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
        "{\"type\":\"text\",\"text\":\"b\"}]},"
        "{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"r\","
        "\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{\\\"x\\\":1}\"}},{\"function\":{\"name\":\"g\",\"arguments\":\"x\"}},"
        "{\"function\":{\"name\":\"h\"}}]},"
        "{\"role\":\"function\",\"name\":\"f\",\"content\":\"done\"}]}");
    const json_t *m = x.ask.messages;
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    assert_int_equal(json_array_size(m), 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(json_string_value(at(m, i, "role")), roles[i]);
    assert_string_equal(json_string_value(at(m, 1, "content")), "a\nb");
    assert_string_equal(json_string_value(at(m, 2, "content")), "");
    assert_string_equal(json_string_value(at(m, 2, "reasoning_content")), "r");
    const json_t *calls = at(m, 2, "tool_calls");
    char *text = json_dumps(calls, JSON_COMPACT);
    assert_string_equal(
        text, "[{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
              "{\"x\":1}}},{\"id\":\"\",\"type\":\"function\",\"function\":{\"name\":\"g\","
              "\"arguments\":\"x\"}},{\"id\":\"\",\"type\":\"function\",\"function\":{\"name\":"
              "\"h\",\"arguments\":{}}}]");
    free(text);
    end(&x);
}

static void test_tool_choices(void **state)
{
    (void)state;
    static const struct {
        const char *choice;
        enum api_tool_choice want;
        size_t n_names;
    } rows[] = {
        {"null",                                                  API_TOOL_AUTO,     0},
        {"\"auto\"",                                              API_TOOL_AUTO,     0},
        {"\"none\"",                                              API_TOOL_NONE,     0},
        {"\"required\"",                                          API_TOOL_REQUIRED, 0},
        {"{\"type\":\"function\",\"function\":{\"name\":\"f\"}}", API_TOOL_NAMED,    1},
        {"{\"type\":\"function\",\"name\":\"g\"}",                API_TOOL_NAMED,    1},
        {"{\"type\":\"allowed_tools\",\"mode\":\"required\",\"tools\":[{\"name\":\"f\"},"
         "{\"name\":\"g\"}]}",                           API_TOOL_REQUIRED, 2},
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct reading x;
        char body[512];
        snprintf(body, sizeof body,
                 "{" USER ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
                 "{\"type\":\"function\",\"name\":\"g\"}],\"tool_choice\":%s}",
                 rows[i].choice);
        begin_good(&x, CHAT, body);
        assert_int_equal(json_array_size(x.ask.tools), 2);
        assert_int_equal(x.ask.tool_choice, rows[i].want);
        assert_int_equal(json_array_size(x.ask.tool_names), rows[i].n_names);
        end(&x);
    }
}

static void test_responses_fields(void **state)
{
    (void)state;
    struct reading x;
    begin_good(&x, RESPONSES,
               "{\"input\":\"hello\",\"max_output_tokens\":5,\"truncation\":\"auto\",\"top_p\":0.5,"
               "\"reasoning\":{\"effort\":\"none\"},\"instructions\":\"i\"}");
    assert_int_equal(x.ask.n_max, 5);
    assert_true(x.r.truncate && !x.r.store); /* there is no store */
    assert_string_equal(x.r.instructions, "i");
    assert_true(json_is_false(json_object_get(x.ask.kwargs, "enable_thinking")));
    const json_t *item = json_array_get(json_object_get(x.call.body, "input"), 0);
    assert_memory_equal(json_string_value(json_object_get(item, "id")), "msg_", 4);
    assert_true(json_is_array(json_object_get(item, "content")));
    end(&x);
}

/* ---- limits that hold work and memory down ---- */

/* head, n times unit with commas between, tail */
static void begin_many(struct reading *x, enum reader reader, const char *head, const char *unit,
                       size_t n, const char *tail)
{
    struct str s;
    str_init(&s, (size_t)64 << 20);
    str_add_cstr(&s, head);
    for (size_t i = 0; i < n; i++) {
        str_add_cstr(&s, i ? "," : "");
        str_add_cstr(&s, unit);
    }
    str_add_cstr(&s, tail);
    begin_text(x, reader, str_span(&s));
    str_done(&s);
}

static void test_counts(void **state)
{
    (void)state;
    static const char message[] = "{\"role\":\"user\",\"content\":\"x\"}";
    static const char tool[] = "{\"type\":\"function\",\"name\":\"f\"}";
    static const struct {
        enum reader reader;
        const char *head, *unit, *tail, *param;
        size_t most;
    } rows[] = {
        {COMMON,    "{\"stop\":[",                                    "\"a\"", "]}",  "stop",        API_STOP_MAX},
        {CHAT,      "{\"messages\":[",                                message, "]}",  "messages",    16384       },
        {CHAT,      "{" USER ",\"tools\":[",                          tool,    "]}",  "tools",       256         },
        {CHAT,
         "{" USER ",\"tools\":[{\"type\":\"function\",\"name\":\"f\"}],\"tool_choice\":"
         "{\"type\":\"allowed_tools\",\"mode\":\"auto\",\"tools\":[", tool,    "]}}", "tool_choice", 256         },
        {RESPONSES, "{\"input\":[",                                   message, "]}",  "input",       16384       },
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        for (size_t more = 0; more < 2; more++) {
            struct reading x;
            begin_many(&x, rows[i].reader, rows[i].head, rows[i].unit, rows[i].most + more,
                       rows[i].tail);
            assert_int_equal(x.ok, more == 0);
            if (more)
                assert_string_equal(x.call.fault.param, rows[i].param);
            end(&x);
        }
    }
}

static void test_long_texts(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t most;
    } rows[] = {
        {"stop",  API_STOP_BYTES_MAX},
        {"model", 512               },
    };
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        for (size_t more = 0; more < 2; more++) {
            struct reading x;
            struct str s;
            str_init(&s, 65536);
            str_addf(&s, "{\"%s\":\"", rows[i].name);
            for (size_t k = 0; k < rows[i].most + more; k++)
                str_add_char(&s, 'a');
            str_add_cstr(&s, "\"}");
            begin_text(&x, COMMON, str_span(&s));
            assert_int_equal(x.ok, more == 0);
            str_done(&s);
            end(&x);
        }
    }
}

/* JSON inside of a text is values, too. */
static void test_arguments_are_bounded(void **state)
{
    (void)state;
    struct reading x;
    begin_many(
        &x, CHAT,
        "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
        "\"arguments\":\"{\\\"a\\\":[",
        "[]", 60000, "]}\"}}]}]}");
    assert_int_equal(x.call.fault.status, 413);
    assert_string_equal(x.call.fault.param, "messages[0].");
    end(&x);
    begin_many(&x, CHAT, "{\"messages\":[",
               "{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
               "\"arguments\":\"{\\\"a\\\":[[],[],[]]}\"}}]}",
               5000, "]}");
    assert_true(x.ok);
    end(&x);
}

/* Texts of the system that follow each other are one, without a copy of all at each. */
static void test_system_texts_are_joined(void **state)
{
    (void)state;
    struct reading x;
    struct str text;
    str_init(&text, 65536);
    for (int i = 0; i < 4096; i++)
        str_add_char(&text, 'x');
    begin_good(&x, RESPONSES, "{\"input\":\"hello\"}");
    x.ask.messages = json_array();
    for (int i = 0; i < 5000; i++)
        api_responses_add_system(&x.ask, str_span(&text));
    api_responses_join(&x.ask);
    assert_int_equal(json_array_size(x.ask.messages), 1);
    assert_int_equal(json_string_length(at(x.ask.messages, 0, "content")),
                     5000 * 4096 + 4999 * strlen("\n\n"));
    str_done(&text);
    end(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params_at_their_limits),
        cmocka_unit_test(test_params_of_other_kinds),
        cmocka_unit_test(test_common_faults),
        cmocka_unit_test(test_chat_faults),
        cmocka_unit_test(test_responses_faults),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_guides),
        cmocka_unit_test(test_conversation),
        cmocka_unit_test(test_tool_choices),
        cmocka_unit_test(test_responses_fields),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_arguments_are_bounded),
        cmocka_unit_test(test_system_texts_are_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
