/* SPDX-License-Identifier: MIT
 * tool_test.c - the server's side with the real processes, against tests/mcp_server.py over stdio.
 */
#include "base/test.h"
#include "tool/tool.h"

#include "base/arena.h"
#include "base/num.h"
#include "base/str.h"
#include "os/os_sandbox.h"
#include "os/os_sys.h"
#include "tool/tool_mcp.h"
#include "tool/tool_mcp_int.h"

#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_NS (60ull * 1000000000)

/* ---- the file ---- */

static char path[64];

static void write_file(const char *text)
{
    snprintf(path, sizeof path, "/tmp/damso-mcp-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static const struct {
    const char *text, *error; /* "": it is good */
} files[] = {
    {"{\"mcpServers\": {}}",                                                                        ""                             },
    {"{\"mcpServers\": {\"a\": {\"command\": \"x\", \"args\": [\"y\"], \"env\": {\"A\": \"b\"}}}}",
     ""                                                                                                                            },
    {"{\"mcpServers\": {\"a\": {\"url\": \"https://x.example/mcp\", \"type\": \"http\"}}}",         ""                             },
    {"{\"mcpServers\": {\"a\": {\"disabled\": true}}}",                                             ""                             },
    {"{\"mcpServers\": {\"a\": {\"command\": \"x\", \"alwaysAllow\": []}}}",                        ""                             },
    {"{\"mcpServers\": {\"a\": ",                                                                   ":1:"                          },
    {"[]",                                                                                          "mcpServers"                   },
    {"{\"mcpServers\": {\"a b\": {\"command\": \"x\"}}}",                                           "\"a b\""                      },
    {"{\"mcpServers\": {\"a\": {}}}",                                                               "\"a\": one of command and url"},
    {"{\"mcpServers\": {\"a\": {\"command\": \"x\", \"url\": \"http://x\"}}}",                      "\"a\": one of"                },
    {"{\"mcpServers\": {\"a\": {\"command\": 7}}}",                                                 "\"a\": command"               },
    {"{\"mcpServers\": {\"a\": {\"command\": \"x\", \"args\": \"y\"}}}",                            "\"a\": args"                  },
    {"{\"mcpServers\": {\"a\": {\"command\": \"x\", \"args\": [1]}}}",                              "\"a\": args"                  },
    {"{\"mcpServers\": {\"a\": {\"command\": \"x\", \"env\": {\"A=\": \"b\"}}}}",                   "\"a\": env"                   },
    {"{\"mcpServers\": {\"a\": {\"url\": \"ftp://x\"}}}",                                           "\"a\": url"                   },
    {"{\"mcpServers\": {\"a\": {\"url\": \"http://x\", \"type\": \"sse\"}}}",                       "\"a\": type"                  },
    {"{\"mcpServers\": {\"a\": {\"url\": \"http://x\", \"headers\": {\"A\": \"b\\nC: d\"}}}}",
     "\"a\": headers"                                                                                                              },
    {"{\"mcpServers\": {\"a\": {\"command\": \"x\", \"timeout\": 0}}}",                             "\"a\": timeout"               },
    {"{\"mcpServers\": {\"a\": {\"url\": \"http://${DAMSO_NO_SUCH}/\"}}}",                          "DAMSO_NO_SUCH"                },
    {"{\"mcpServers\": {\"a\": {\"url\": \"http://x\", \"headers\": {\"A\": \"${file:/no/f}\"}}}}",
     "/no/f"                                                                                                                       },
};

static void conf(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMS(files); i++) {
        struct tool_mcp_conf c;
        struct errinfo e = {.text = ""};
        write_file(files[i].text);
        enum err r = tool_mcp_read(&c, path, &e);
        if ((r == ERR_OK) != !*files[i].error || !strstr(e.text, files[i].error))
            fail_msg("%s: %s", files[i].text, e.text);
        tool_mcp_conf_done(&c);
        unlink(path);
    }
}

static void conf_values(void **state)
{
    struct tool_mcp_conf c;
    struct errinfo e;
    char text[400], secret[64] = "/tmp/damso-secret-XXXXXX";
    (void)state;
    int fd = mkstemp(secret);
    assert_int_equal(write(fd, "s3cret\nmore\n", 12), 12);
    close(fd);
    setenv("DAMSO_TEST_PORT", "81", 1);
    snprintf(
        text, sizeof text,
        "{\"mcpServers\": {\"a\": {\"url\": \"http://x:${DAMSO_TEST_PORT}/${env:DAMSO_TEST_PORT}\","
        " \"headers\": {\"Authorization\": \"Bearer ${file:%s}\"}, \"timeout\": 7}}}",
        secret);
    write_file(text);
    assert_int_equal(tool_mcp_read(&c, path, &e), ERR_OK);
    assert_string_equal(c.entries[0].url, "http://x:81/81");
    assert_string_equal(c.entries[0].headers[0], "Authorization: Bearer s3cret");
    assert_int_equal(c.entries[0].timeout_s, 7);
    tool_mcp_conf_done(&c);
    unlink(path);
    unlink(secret);
}

/* ---- servers ---- */

struct got {
    pthread_mutex_t lock;
    pthread_cond_t came;
    bool over;
    json_t *answer;
    struct errinfo e;
};

static void done(void *arg, const json_t *answer, const struct errinfo *e)
{
    struct got *g = arg;
    pthread_mutex_lock(&g->lock);
    g->over = true;
    g->answer = answer ? json_deep_copy(answer) : NULL;
    if (e)
        g->e = *e;
    pthread_cond_signal(&g->came);
    pthread_mutex_unlock(&g->lock);
}

/* more: members of the entry. */
static struct tool *open_more(const char *mode, unsigned timeout, const char *more)
{
    struct tool *t;
    struct errinfo e;
    char text[1000];
    snprintf(text, sizeof text,
             "{\"mcpServers\": {\"s\": {\"command\": \"%s\", \"args\": "
             "[\"tests/mcp_server.py\", \"%s\"], \"timeout\": %u%s}}}",
             access("/usr/bin/python3", X_OK) == 0 ? "/usr/bin/python3" : "python3", mode, timeout,
             more);
    write_file(text);
    const struct tool_opts o = {.ports = "80", .allow = "", .mcp = path};
    if (tool_open(&t, &o, &e) != ERR_OK)
        fail_msg("%s", e.text);
    unlink(path);
    tool_run(t);
    return t;
}

static struct tool *open_with(const char *mode, unsigned timeout)
{
    return open_more(mode, timeout, "");
}

/* The server, once its state is no longer `starting` and it has n tools or more; to let go of. */
static json_t *server_with(struct tool *t, size_t n)
{
    uint64_t until = os_now_ns() + WAIT_NS;
    for (;;) {
        json_t *servers = tool_servers(t);
        json_t *s = json_incref(json_array_get(servers, 0));
        const char *now = json_string_value(json_object_get(s, "state"));
        json_decref(servers);
        if (strcmp(now, "starting") != 0 && json_array_size(json_object_get(s, "tools")) >= n)
            return s;
        json_decref(s);
        assert_true(os_now_ns() < until);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

static void is_state(struct tool *t, const char *state, const char *error, size_t n)
{
    json_t *s = server_with(t, n);
    assert_string_equal(json_string_value(json_object_get(s, "state")), state);
    if (!strstr(json_string_value(json_object_get(s, "error")), error))
        fail_msg("%s", json_string_value(json_object_get(s, "error")));
    assert_int_equal(json_array_size(json_object_get(s, "tools")), n);
    json_decref(s);
}

static void begin(struct tool *t, struct got *g, const char *tool, const char *arguments,
                  uint64_t *number)
{
    struct errinfo e;
    json_t *a = json_loads(arguments, 0, NULL);
    *g = (struct got){.over = false};
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->came, NULL);
    *number = tool_call(t, "s", tool, a, done, g, &e);
    json_decref(a);
    assert_int_not_equal(*number, 0);
}

static void wait_for(struct got *g)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&g->lock);
    while (!g->over)
        assert_int_equal(pthread_cond_timedwait(&g->came, &g->lock, &until), 0);
    pthread_mutex_unlock(&g->lock);
}

/* The text of an answer that must come; to free. */
static json_t *call(struct tool *t, const char *tool, const char *arguments)
{
    struct got g;
    uint64_t number;
    begin(t, &g, tool, arguments, &number);
    wait_for(&g);
    if (!g.answer)
        fail_msg("%s: %s", tool, g.e.text);
    return g.answer;
}

static void call_fails(struct tool *t, const char *tool, const char *why)
{
    struct got g;
    uint64_t number;
    begin(t, &g, tool, "{}", &number);
    wait_for(&g);
    assert_null(g.answer);
    if (!strstr(g.e.text, why))
        fail_msg("%s", g.e.text);
}

static void has_text(json_t *answer, const char *text)
{
    assert_string_equal(json_string_value(json_object_get(answer, "text")), text);
    json_decref(answer);
}

static void good(void **state)
{
    struct tool *t = open_with("good", 20);
    (void)state;
    is_state(t, "ready", "", 9);
    has_text(call(t, "echo", "{\"text\": \"담소 \\\"a\\\"\"}"), "담소 \"a\"");
    has_text(call(t, "add", "{\"a\": 2, \"b\": 3}"), "{\"sum\":5}");
    json_t *o = call(t, "picture", "{}");
    assert_int_equal(json_array_size(json_object_get(o, "images")), 1);
    assert_non_null(strstr(json_string_value(json_object_get(o, "text")), "image/svg+xml"));
    json_decref(o);
    o = call(t, "long", "{}");
    assert_int_equal(json_integer_value(json_object_get(o, "bytes")), 22 * 20000);
    size_t n = json_string_length(json_object_get(o, "text"));
    assert_true(n <= TOOL_MCP_RESULT_MAX && n > TOOL_MCP_RESULT_MAX - 4);
    json_decref(o);
    o = call(t, "fail", "{}");
    assert_true(json_is_true(json_object_get(o, "failed")));
    json_decref(o);
    call_fails(t, "nothing", "no tool nothing");
    tool_close(t);
}

static void cancelled(void **state)
{
    struct tool *t = open_with("good", 1); /* progress keeps it alive for longer */
    struct got g;
    uint64_t number;
    (void)state;
    is_state(t, "ready", "", 9);
    begin(t, &g, "slow", "{}", &number);
    nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 500000000}, NULL);
    assert_false(g.over);
    tool_cancel(t, number);
    wait_for(&g);
    assert_int_equal(g.e.code, ERR_CANCELLED);
    has_text(call(t, "echo", "{\"text\": \"still there\"}"), "still there");
    tool_close(t);
}

/* What is asked of a process that ends fails at once. */
static void closed(void **state)
{
    struct tool *t = open_with("hang", 20);
    struct got g;
    uint64_t number;
    (void)state;
    is_state(t, "ready", "", 9);
    begin(t, &g, "echo", "{}", &number);
    tool_close(t);
    assert_true(g.over);
    assert_int_equal(g.e.code, ERR_FAILED);
}

static void hostile(void **state)
{
    static const struct {
        const char *mode, *why;
    } modes[] = {
        {"hang",    "no answer within 1 seconds"},
        {"huge",    "over 8 MiB"                },
        {"deep",    "no message"                },
        {"garbage", "no message"                },
        {"wrong",   "no result of a call"       },
        {"dies",    "ended with status 3"       },
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMS(modes); i++) {
        struct tool *t = open_with(modes[i].mode, 1);
        is_state(t, "ready", "", 9);
        call_fails(t, "echo", modes[i].why);
        call_fails(t, "echo", modes[i].why); /* and it was started again where it had to be */
        tool_close(t);
    }
}

/* However often a program ends, nothing of it stays open. */
static void ends_often(void **state)
{
    struct rlimit old, few;
    (void)state;
    getrlimit(RLIMIT_NOFILE, &old);
    few = (struct rlimit){.rlim_cur = 24, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    struct tool *t = open_with("dies", 20);
    setrlimit(RLIMIT_NOFILE, &old);
    for (int i = 0; i < 9; i++)
        call_fails(t, "echo", "ended with status 3");
    tool_close(t);
}

static void beginnings(void **state)
{
    static const struct {
        const char *mode, *state, *error;
        size_t n;
    } modes[] = {
        {"old",     "ready",  "",                   9                 },
        {"older",   "failed", "version 1999-01-01", 0                 },
        {"bad",     "failed", "no message",         0                 },
        {"asks",    "ready",  "",                   9                 },
        {"pages",   "ready",  "",                   9                 },
        {"endless", "ready",  "",                   TOOL_MCP_TOOLS_MAX},
        {"fat",     "ready",  "",                   12                },
        {"odd",     "ready",  "",                   1                 },
        {"later",   "ready",  "",                   2                 },
        {"storm",   "ready",  "",                   9                 },
        {"noisy",   "ready",  "",                   9                 },
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMS(modes); i++) {
        struct tool *t = open_with(modes[i].mode, 20);
        is_state(t, modes[i].state, modes[i].error, modes[i].n);
        if (strcmp(modes[i].state, "ready") == 0)
            has_text(call(t, "echo", "{\"text\": \"x\"}"), "x");
        tool_close(t);
    }
}

/* With a sandbox, what it does not name cannot be read. */
static void confined(void **state)
{
    struct os_sandbox s;
    char secret[] = "/tmp/damso-secret-XXXXXX", args[100];
    (void)state;
    pid_t pid = fork(); /* where the kernel cannot, nothing is started */
    if (pid == 0)
        _exit(os_sandbox_files(&s, &(struct os_sandbox_opts){0}, NULL) == ERR_OK && s.landlock);
    int status;
    waitpid(pid, &status, 0);
    int fd = mkstemp(secret);
    assert_int_equal(write(fd, "s3cret", 6), 6);
    close(fd);
    snprintf(args, sizeof args, "{\"path\": \"%s\"}", secret);
    struct tool *t = open_more("good", 20, ", \"sandbox\": {\"read\": [\"tests\"]}");
    if (!WEXITSTATUS(status)) {
        is_state(t, "failed", "sandbox cannot be made", 0);
    } else {
        is_state(t, "ready", "", 9);
        has_text(call(t, "read", args), "PermissionError");
        has_text(call(t, "read", "{\"path\": \"tests/mcp_server.py\"}"),
                 "#!/usr/bin/env python3\n");
    }
    tool_close(t);
    t = open_with("good", 20);
    is_state(t, "ready", "", 9);
    has_text(call(t, "read", args), "s3cret");
    tool_close(t);
    t = open_more("good", 20, ", \"sandbox\": {\"read\": [\"/no/such/folder\"]}");
    is_state(t, "failed", "sandbox cannot be made", 0);
    tool_close(t);
    unlink(secret);
}

static void no_program(void **state)
{
    struct tool *t;
    struct errinfo e;
    (void)state;
    write_file("{\"mcpServers\": {\"s\": {\"command\": \"/no/such/program\"}}}");
    const struct tool_opts o = {.ports = "80", .allow = "", .mcp = path};
    assert_int_equal(tool_open(&t, &o, &e), ERR_OK);
    unlink(path);
    tool_run(t);
    is_state(t, "failed", "/no/such/program is not found", 0);
    call_fails(t, "echo", "/no/such/program");
    json_t *none = json_object();
    assert_int_equal(tool_page(t, "http://x/", "", done, NULL, &e), 0);
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    json_decref(none);
    tool_close(t);
}

static void rules(void **state)
{
    struct tool *t;
    struct errinfo e;
    (void)state;
    const char *const bad[][2] = {
        {"80,x",  ""        },
        {"0",     ""        },
        {"65536", ""        },
        {"80",    "host"    },
        {"80",    ":80"     },
        {"80",    "host:"   },
        {"80",    "host:99x"},
    };
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        const struct tool_opts o = {.ports = bad[i][0], .allow = bad[i][1], .mcp = ""};
        assert_int_equal(tool_open(&t, &o, &e), ERR_USAGE);
        assert_null(t);
    }
    const struct tool_opts missing = {.ports = "80", .allow = "", .mcp = "/no/such/file"};
    assert_int_equal(tool_open(&t, &missing, &e), ERR_NOTFOUND);
}

static void nesting(void **state)
{
    char deep[200];
    (void)state;
    assert_true(mcp_nesting_ok(span_of("{\"a\": [1, {\"b\": \"[[[[\\\"[[[\"}]}")));
    memset(deep, '[', sizeof deep);
    assert_true(mcp_nesting_ok((struct span){deep, MCP_NESTING_MAX}));
    assert_false(mcp_nesting_ok((struct span){deep, MCP_NESTING_MAX + 1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conf),       cmocka_unit_test(conf_values), cmocka_unit_test(rules),
        cmocka_unit_test(nesting),    cmocka_unit_test(good),        cmocka_unit_test(cancelled),
        cmocka_unit_test(closed),     cmocka_unit_test(hostile),     cmocka_unit_test(beginnings),
        cmocka_unit_test(no_program), cmocka_unit_test(confined),    cmocka_unit_test(ends_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
