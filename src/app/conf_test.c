/* SPDX-License-Identifier: MIT
 * conf_test.c - every setting's kind and bounds, taken from the table itself; names, places and
 * their order; the options of a command. */
#include "base/test.h"

#include "app/conf.h"
#include "base/num.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#define ARGS_MAX 8

static char *left[ARGS_MAX];
static int n_left;
static bool help;
static struct errinfo e;

/* Loads with the given arguments (NULL ends them) and no other place unless the test set it. */
static enum err load(struct conf *c, const struct conf_opt *opts, size_t n_opts, ...)
{
    static char text[ARGS_MAX][5000];
    char *argv[ARGS_MAX];
    int argc = 0;
    va_list ap;
    va_start(ap, n_opts);
    for (const char *arg; (arg = va_arg(ap, const char *)); argc++) {
        assert_true(argc < ARGS_MAX);
        snprintf(text[argc], sizeof text[argc], "%s", arg);
        argv[argc] = text[argc];
    }
    va_end(ap);
    e = (struct errinfo){0};
    return conf_load(c, argc, argv, opts, n_opts, left, &n_left, &help, &e);
}

static void assert_usage(const char *words)
{
    assert_int_equal(e.code, ERR_USAGE);
    if (!strstr(e.text, words))
        print_error("'%s' does not say '%s'\n", e.text, words);
    assert_non_null(strstr(e.text, words));
}

static int no_other_place(void **state)
{
    (void)state;
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    unsetenv("DAMSO_CONF");
    unsetenv("DAMSO_MODELS_DIR");
    return 0;
}

/* ---- one value of one row, by way of the command line ---- */

static enum err set(struct conf *c, const char *name, const char *value)
{
    char arg[6000];
    snprintf(arg, sizeof arg, "--%s=%s", name, value);
    return load(c, NULL, 0, arg, (const char *)NULL);
}

static void refuse(const char *name, const char *value, const char *words)
{
    struct conf c;
    assert_int_equal(set(&c, name, value), ERR_USAGE);
    assert_usage(words);
    assert_non_null(strstr(e.text, name));
    conf_done(&c);
}

static void check_int(enum conf_id id, size_t offset, const char *name, int64_t lo, int64_t hi)
{
    const int64_t good[] = {lo, hi};
    struct conf c;
    char text[40];
    for (size_t i = 0; i < N_ELEMS(good); i++) {
        snprintf(text, sizeof text, "%lld", (long long)good[i]);
        assert_int_equal(set(&c, name, text), ERR_OK);
        assert_true(*(int64_t *)((char *)&c + offset) == good[i]);
        assert_int_equal(c.origin[id], CONF_OPTION);
        assert_string_equal(conf_value(&c, id, &c.arena), text);
        conf_done(&c);
    }
    snprintf(text, sizeof text, "%lld", (long long)lo - 1);
    refuse(name, text, "outside");
    snprintf(text, sizeof text, "%lld", (long long)hi + 1);
    refuse(name, text, "outside");
    static const char *const bad[] = {
        "", "x", "1x", " 1", "1 ", "0x10", "1.5", "1e3", "99999999999999999999"};
    for (size_t i = 0; i < N_ELEMS(bad); i++)
        refuse(name, bad[i], "is not an integer");
}

static void check_real(enum conf_id id, size_t offset, const char *name, double lo, double hi)
{
    const double good[] = {lo, hi, lo + (hi - lo) / 3};
    struct conf c;
    char text[40];
    for (size_t i = 0; i < N_ELEMS(good); i++) {
        snprintf(text, sizeof text, "%.17g", good[i]);
        assert_int_equal(set(&c, name, text), ERR_OK);
        assert_true(*(double *)((char *)&c + offset) == good[i]);
        assert_int_equal(c.origin[id], CONF_OPTION);
        conf_done(&c);
    }
    snprintf(text, sizeof text, "%.17g", nextafter(lo, -INFINITY));
    refuse(name, text, "outside");
    snprintf(text, sizeof text, "%.17g", nextafter(hi, INFINITY));
    refuse(name, text, "outside");
    static const char *const bad[] = {"", "x", "1x", " 1", "1 ", "nan", "inf", "1e999", "1,5"};
    for (size_t i = 0; i < N_ELEMS(bad); i++)
        refuse(name, bad[i], "is not a number");
}

static void check_text(size_t offset, const char *name, size_t most)
{
    struct conf c;
    if (most < 5000) {
        char *longest = mem_alloc(most + 2);
        memset(longest, 'a', most);
        assert_int_equal(set(&c, name, longest), ERR_OK);
        assert_int_equal(strlen(*(const char **)((char *)&c + offset)), most);
        conf_done(&c);
        longest[most] = 'a';
        refuse(name, longest, "bytes are more than");
        mem_free(longest);
    }
    assert_int_equal(set(&c, name, "담소"), ERR_OK);
    assert_string_equal(*(const char **)((char *)&c + offset), "담소");
    conf_done(&c);
    refuse(name, "\xff", "UTF-8");
}

static void check_pick(size_t offset, const char *name, const char *choices)
{
    struct conf c;
    char list[400];
    snprintf(list, sizeof list, "%s", choices);
    for (char *save, *one = strtok_r(list, "|", &save); one; one = strtok_r(NULL, "|", &save)) {
        assert_int_equal(set(&c, name, one), ERR_OK);
        assert_string_equal(*(const char **)((char *)&c + offset), one);
        conf_done(&c);
    }
    refuse(name, choices[0] ? choices : "x", strchr(choices, '|') ? "is none of" : "");
    refuse(name, "", "is none of");
    refuse(name, "no-such-choice", "is none of");
}

static void every_row_keeps_its_bounds(void **state)
{
    (void)state;
#define CONF_INT(field, letter, def, lo, hi, text)                                                 \
    check_int(CONF_ID_##field, offsetof(struct conf, field), #field, lo, hi);
#define CONF_REAL(field, letter, def, lo, hi, text)                                                \
    check_real(CONF_ID_##field, offsetof(struct conf, field), #field, lo, hi);
#define CONF_TEXT(field, letter, def, most, text)                                                  \
    check_text(offsetof(struct conf, field), #field, most);
#define CONF_PICK(field, letter, def, choices, text)                                               \
    if (strchr(choices, '|'))                                                                      \
        check_pick(offsetof(struct conf, field), #field, choices);
#include "app/conf.def"
#undef CONF_INT
#undef CONF_REAL
#undef CONF_TEXT
#undef CONF_PICK
}

/* ---- names ---- */

static void rows_are_distinct(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    for (int i = 0; i < CONF_N; i++) {
        struct conf_info x = conf_info((enum conf_id)i, &a);
        assert_true(x.help[0] && x.kind[0]);
        for (int k = 0; k < i; k++) {
            struct conf_info y = conf_info((enum conf_id)k, &a);
            assert_string_not_equal(x.name, y.name);
            assert_true(!x.letter || x.letter != y.letter);
        }
    }
    arena_done(&a);
}

static void unknown_names_get_a_hint(void **state)
{
    (void)state;
    struct conf c;
    assert_int_equal(load(&c, NULL, 0, "--tmep", "1", NULL), ERR_USAGE);
    assert_usage("did you mean '--temp'?");
    conf_done(&c);
    assert_int_equal(load(&c, NULL, 0, "--top_kk=1", NULL), ERR_USAGE);
    assert_usage("did you mean '--top-k'?");
    conf_done(&c);
    assert_int_equal(load(&c, NULL, 0, "--xyzzyxyzzy", NULL), ERR_USAGE);
    assert_usage("--help lists them");
    conf_done(&c);
    assert_int_equal(load(&c, NULL, 0, "--=1", NULL), ERR_USAGE);
    conf_done(&c);
    assert_int_equal(load(&c, NULL, 0, "-Z", NULL), ERR_USAGE);
    conf_done(&c);
    static const char *const names[] = {"qwen3-4b", "qwen3-8b", "llama"};
    assert_string_equal(conf_nearest("lama", names, 3), "llama");
    assert_string_equal(conf_nearest("qwen3-8", names, 3), "qwen3-8b");
    assert_null(conf_nearest("x", names, 3));
    assert_null(conf_nearest("", names, 3));
}

static void hyphens_and_short_forms(void **state)
{
    (void)state;
    struct conf c;
    assert_int_equal(load(&c, NULL, 0, "--top-k", "3", "--min_p=0.5", "-n7", "-t", "2", NULL),
                     ERR_OK);
    assert_true(c.top_k == 3 && c.min_p == 0.5 && c.n == 7 && c.threads == 2);
    conf_done(&c);
    assert_int_equal(load(&c, NULL, 0, "--seed", "-1", "a", "-", "--", "--seed", "-n", NULL),
                     ERR_OK);
    assert_true(c.seed == -1 && n_left == 4);
    assert_string_equal(left[0], "a");
    assert_string_equal(left[1], "-");
    assert_string_equal(left[3], "-n");
    conf_done(&c);
    assert_int_equal(load(&c, NULL, 0, "--temp", NULL), ERR_USAGE);
    assert_usage("--temp needs a value");
    conf_done(&c);
}

/* ---- places ---- */

static void write_text(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

static void later_places_win(void **state)
{
    (void)state;
    struct conf c;
    char path[] = "/tmp/damso-conf-XXXXXX";
    close(mkstemp(path));
    const char *text = "# comment\n\n temp=0.25 \nseed = 5\r\ntop-k = 7\nsystem = a = b\n";
    write_text(path, text, strlen(text));
    setenv("DAMSO_CONF", path, 1);
    setenv("DAMSO_SEED", "6", 1);
    setenv("DAMSO_TEMP", "0.125", 1);
    setenv("DAMSO_TOP_K", "", 1); /* empty: as if it were not there */
    assert_int_equal(load(&c, NULL, 0, "--temp", "0.5", NULL), ERR_OK);
    assert_true(c.temp == 0.5 && c.origin[CONF_ID_temp] == CONF_OPTION);
    assert_true(c.seed == 6 && c.origin[CONF_ID_seed] == CONF_ENVIRONMENT);
    assert_true(c.top_k == 7 && c.origin[CONF_ID_top_k] == CONF_FILE);
    assert_string_equal(c.system, "a = b");
    assert_true(c.top_p == 0.95 && c.origin[CONF_ID_top_p] == CONF_DEFAULT);
    assert_string_equal(c.file, path);
    conf_done(&c);
    assert_int_equal(load(&c, NULL, 0, "--conf", "/nonexistent/x", NULL), ERR_NOTFOUND);
    conf_done(&c);
    setenv("DAMSO_SEED", "x", 1);
    assert_int_equal(load(&c, NULL, 0, NULL), ERR_USAGE);
    assert_usage("DAMSO_SEED: 'x'");
    conf_done(&c);
    unsetenv("DAMSO_CONF");
    unsetenv("DAMSO_SEED");
    unsetenv("DAMSO_TEMP");
    unsetenv("DAMSO_TOP_K");
    unlink(path);
}

static void bad_files_say_where(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"temp = 1\ntmep = 1\n", ":2: there is no setting 'tmep'; did you mean 'temp'?"},
        {"temp\n",               ":1: a line is `name = value`"                        },
        {"\n\nseed = many",      ":3: seed: 'many' is not an integer"                  },
        {"= 1\n",                ":1: there is no setting ''"                          },
        {"conf = x\n",           "no setting 'conf'"                                   },
    };
    struct conf c;
    char path[] = "/tmp/damso-conf-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        write_text(path, bad[i].text, strlen(bad[i].text));
        assert_int_equal(load(&c, NULL, 0, "--conf", path, NULL), ERR_USAGE);
        assert_usage(bad[i].words);
        conf_done(&c);
    }
    write_text(path, "temp = 1\0\n", 10);
    assert_int_equal(load(&c, NULL, 0, "--conf", path, NULL), ERR_USAGE);
    conf_done(&c);
    char *huge = mem_alloc(((size_t)1 << 20) + 1);
    memset(huge, '#', ((size_t)1 << 20) + 1);
    write_text(path, huge, ((size_t)1 << 20) + 1);
    assert_int_equal(load(&c, NULL, 0, "--conf", path, NULL), ERR_TOOBIG);
    conf_done(&c);
    mem_free(huge);
    unlink(path);
}

/* ---- options of a command ---- */

static void commands_have_options_of_their_own(void **state)
{
    (void)state;
    bool raw = false;
    const char *out = NULL;
    int64_t count = 3;
    const struct conf_opt opts[] = {
        {.name = "raw",     .letter = 'r', .help = "h",  .flag = &raw},
        {               .name = "out-file", .letter = 'o',      .arg = "FILE", .help = "h",             .text = &out},
        { .name = "count",        .arg = "N",      .help = "h",          .number = &count,             .min = 1, .max = 9},
    };
    struct conf c;
    assert_int_equal(load(&c, opts, 3, "-r", "--out_file", "x", "--count=9", "y", NULL), ERR_OK);
    assert_true(raw && count == 9 && n_left == 1);
    assert_string_equal(out, "x");
    conf_done(&c);
    assert_int_equal(load(&c, opts, 3, "--count", "10", NULL), ERR_USAGE);
    assert_usage("outside 1 to 9");
    conf_done(&c);
    assert_int_equal(load(&c, opts, 3, "--out-file=", NULL), ERR_USAGE);
    assert_usage("FILE is empty");
    conf_done(&c);
    assert_int_equal(load(&c, opts, 3, "--raw=1", NULL), ERR_USAGE);
    assert_usage("takes no value");
    conf_done(&c);
    assert_int_equal(load(&c, opts, 3, "--temp", "x", "--help", NULL), ERR_OK);
    assert_true(help); /* nothing else is refused then */
    conf_done(&c);
}

static void help_names_everything(void **state)
{
    (void)state;
    struct str out;
    struct arena a;
    bool raw;
    const struct conf_opt opts[] = {
        {.name = "raw", .help = "send as it is", .flag = &raw}
    };
    str_init(&out, 1 << 20);
    arena_init(&a);
    conf_help(&out, opts, 1);
    assert_non_null(strstr(out.p, "--raw"));
    assert_non_null(strstr(out.p, "--conf"));
    for (int i = 0; i < CONF_N; i++)
        assert_non_null(strstr(out.p, conf_info((enum conf_id)i, &a).help));
    arena_done(&a);
    str_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_keeps_its_bounds),
        cmocka_unit_test(rows_are_distinct),
        cmocka_unit_test(unknown_names_get_a_hint),
        cmocka_unit_test(hyphens_and_short_forms),
        cmocka_unit_test(later_places_win),
        cmocka_unit_test(bad_files_say_where),
        cmocka_unit_test(commands_have_options_of_their_own),
        cmocka_unit_test(help_names_everything),
    };
    return cmocka_run_group_tests(tests, no_other_place, NULL);
}
