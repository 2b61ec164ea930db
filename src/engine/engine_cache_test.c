/* SPDX-License-Identifier: MIT
 * engine_cache_test.c - known beginnings in a file: what comes back gives the same bits as
 * computing it, after restarts, in small memories and small files; what is damaged, foreign or
 * taken is refused, and nothing wrong is ever used. */
#include "base/arena.h"
#include "engine/engine_int.h"
#include "engine/sched_testing.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODEL "tests/data/arch/llama.gguf"
#define SLOT  20480 /* bytes: a page of the model, its tokens, whole blocks */
#define MIB   ((uint64_t)1 << 20)

static char path[256];

static struct engine *open_model(struct gguf **g, const char *file, size_t ctx_total,
                                 enum cpu_level level)
{
    struct engine *en = NULL;
    struct errinfo e;
    struct engine_opts opts = {
        .ctx = CTX, .ctx_total = ctx_total, .batch = 64, .n_threads = 1, .level = level};
    if (gguf_open(g, file, &e) != ERR_OK || engine_open(&en, *g, &opts, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return en;
}

static struct server start(size_t ctx_total, uint64_t max_bytes)
{
    struct server v = {0};
    struct errinfo e;
    v.en = open_model(&v.g, MODEL, ctx_total, cpu_best());
    if (max_bytes && engine_cache_open(v.en, path, max_bytes, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return v;
}

static void stop(struct server *v)
{
    engine_close(v->en);
    gguf_close(v->g);
}

/* A text of n tokens; texts of one stem begin with the same 100 tokens. */
static void make_text(int32_t *ids, size_t n, uint64_t stem, uint64_t rest)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)(num_rand(i < 100 ? &stem : &rest) % 90);
}

/* Runs a text as far as it is not known; how much was. */
static size_t run_text(struct engine *en, const int32_t *ids, size_t n, float *out)
{
    const float *logits;
    struct errinfo e;
    while (engine_cache_fetch(en, ids, n, 0))
        ;
    struct engine_seq *s = engine_seq_new(en);
    size_t known = engine_seq_reuse(s, ids, n);
    enum err r = engine_prefill(en, s, ids + known, n - known, NULL, NULL, &logits, &e);
    assert_int_equal(r, ERR_OK);
    memcpy(out, logits, engine_model(en)->n_vocab * sizeof *out);
    engine_seq_free(s);
    return known;
}

static size_t check_text(struct engine *en, struct engine *plain, const int32_t *ids, size_t n)
{
    float got[256], want[256];
    size_t known = run_text(en, ids, n, got);
    run_text(plain, ids, n, want);
    assert_memory_equal(got, want, engine_model(en)->n_vocab * sizeof *got);
    while (plain->n_cached)
        prefix_forget_one(plain);
    return known;
}

static void save(struct engine *en)
{
    struct errinfo e;
    if (engine_cache_save(en, NULL, NULL, &e) != ERR_OK)
        fail_msg("%s", e.text);
    assert_false(engine_cache_is_behind(en));
}

static void what_was_known_is_known_again(void **state)
{
    (void)state;
    int32_t ids[CTX], other[CTX];
    float out[256];
    unlink(path);
    make_text(ids, 180, 1, 1);
    make_text(other, 180, 1, 2);
    struct server v = start(0, MIB), plain = start(0, 0);
    assert_int_equal(run_text(v.en, ids, 180, out), 0);
    assert_true(engine_cache_is_behind(v.en));
    save(v.en);
    assert_int_equal(engine_cache_stat(v.en).n_written, 3);
    stop(&v);
    for (int round = 0; round < 2; round++) {
        v = start(0, MIB);
        assert_int_equal(engine_cache_stat(v.en).n_pages, round ? 5 : 3);
        assert_int_equal(engine_cache_stat(v.en).n_read, 0);
        assert_int_equal(check_text(v.en, plain.en, ids, 180), 179); /* its end was kept as well */
        assert_int_equal(engine_cache_stat(v.en).n_read, 3);
        assert_int_equal(check_text(v.en, plain.en, other, 180), round ? 179 : 100);
        save(v.en); /* nothing but the two pages of the other ending */
        assert_int_equal(engine_cache_stat(v.en).n_written, round ? 0 : 2);
        stop(&v);
    }
    stop(&plain);
}

static bool stop_at(void *arg)
{
    return --*(int *)arg == 0;
}

static void files_keep_to_their_size(void **state)
{
    (void)state;
    const uint64_t max_bytes = 4096 + 7 * SLOT + 100;
    int32_t ids[CTX];
    float out[256];
    struct stat st;
    struct errinfo e;
    unlink(path);
    struct server v = start(4096, max_bytes), plain = start(0, 0);
    for (uint64_t i = 0; i < 12; i++) {
        make_text(ids, 140, i, i);
        run_text(v.en, ids, 140, out);
        int calls = 1 + (int)(i % 4);
        enum err r = engine_cache_save(v.en, stop_at, &calls, &e);
        assert_true(r == ERR_CANCELLED || r == ERR_OK);
        assert_true(r == ERR_OK || engine_cache_is_behind(v.en));
        save(v.en);
    }
    stop(&v);
    assert_int_equal(stat(path, &st), 0);
    assert_true((uint64_t)st.st_size <= max_bytes);
    assert_int_equal(st.st_mode & 0777, 0600);
    v = start(4096, max_bytes);
    assert_int_equal(engine_cache_stat(v.en).n_pages, 7);
    assert_int_equal(engine_cache_stat(v.en).n_damaged, 0);
    make_text(ids, 140, 11, 11);
    assert_int_equal(check_text(v.en, plain.en, ids, 140), 139);
    make_text(ids, 140, 0, 0);
    assert_int_equal(check_text(v.en, plain.en, ids, 140), 0);
    stop(&v);
    v = start(4096, 4096 + 3 * SLOT); /* a lower limit */
    assert_true(engine_cache_stat(v.en).n_pages <= 3);
    assert_int_equal(stat(path, &st), 0);
    assert_true((uint64_t)st.st_size <= 4096 + 3 * SLOT);
    stop(&v);
    stop(&plain);
}

/* Texts at random, a memory of 6 pages and a file of 9, restarts in between. */
static void small_memories_and_files(void **state)
{
    (void)state;
    int32_t ids[CTX];
    size_t n_known = 0;
    unlink(path);
    struct server v = start(6 * ENGINE_PAGE, 4096 + 9 * SLOT), plain = start(0, 0);
    uint64_t n_read = 0;
    for (int i = 0; i < 400; i++) {
        size_t n = 1 + num_rand(&rng) % (CTX - 1);
        make_text(ids, n, num_rand(&rng) % 2, num_rand(&rng) % 3);
        n_known += check_text(v.en, plain.en, ids, n);
        if (num_rand(&rng) % 4 == 0)
            save(v.en);
        n_read += engine_cache_stat(v.en).n_read;
        assert_int_equal(engine_cache_stat(v.en).n_damaged, 0);
        assert_int_equal(engine_pages_free(v.en), 6);
        if (num_rand(&rng) % 9 == 0) {
            stop(&v);
            v = start(6 * ENGINE_PAGE, 4096 + 9 * SLOT);
        }
    }
    assert_true(n_known > 0 && n_read > 0);
    stop(&v);
    stop(&plain);
}

/* ---- damage ---- */

static size_t read_file(unsigned char *bytes, size_t max)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, bytes, max);
    assert_true(n > 0);
    close(fd);
    return (size_t)n;
}

static void write_file(const void *bytes, size_t n)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

/* Bytes changed anywhere, the end missing: an error or pages that are computed anew, and never
 * another result. */
static void damage_is_never_used(void **state)
{
    (void)state;
    static unsigned char whole[1 << 20], bytes[1 << 20];
    int32_t ids[CTX];
    float out[256];
    struct errinfo e;
    int n_refused = 0, n_damaged = 0, n_used = 0;
    unlink(path);
    make_text(ids, 180, 1, 1);
    struct server v = start(0, MIB), plain = start(0, 0);
    run_text(v.en, ids, 180, out);
    save(v.en);
    stop(&v);
    size_t n = read_file(whole, sizeof whole);
    for (int round = 0; round < 150; round++) {
        size_t len = round % 3 ? n : num_rand(&rng) % n, where = round % 4 < 2 ? n : 8192;
        memcpy(bytes, whole, n);
        for (int k = 0; round % 3 && k < 1 + round % 5; k++)
            bytes[num_rand(&rng) % MIN(len, where)] ^= (unsigned char)(1 + num_rand(&rng) % 255);
        write_file(bytes, len);
        v = start(0, 0);
        enum err r = engine_cache_open(v.en, path, MIB, &e);
        if (r != ERR_OK) {
            assert_true(r == ERR_CORRUPT && strstr(e.text, path));
            n_refused++;
        }
        size_t known = check_text(v.en, plain.en, ids, 180);
        n_used += known > 0;
        n_damaged += engine_cache_stat(v.en).n_damaged > 0;
        save(v.en);
        stop(&v);
        if (r != ERR_OK)
            continue;
        v = start(0, MIB); /* what was damaged has been written again */
        assert_int_equal(check_text(v.en, plain.en, ids, 180), 179);
        stop(&v);
    }
    print_message("  %d files refused, %d with damaged pages, %d of use\n", n_refused, n_damaged,
                  n_used);
    assert_true(n_refused > 1 && n_damaged > 10 && n_used > 10);
    stop(&plain);
}

/* Of a model with two sets of angles, keys of one are nothing to the other. */
static void near_and_far_contexts_are_apart(void **state)
{
    (void)state;
    struct errinfo e;
    struct gguf *g;
    char keys[2][ENGINE_CACHE_KEY];
    if (gguf_open(&g, "tests/data/family/phi3-far.gguf", &e) != ERR_OK)
        fail_msg("%s", e.text);
    for (size_t i = 0, near = 1; i < 2; i++) {
        struct engine *en;
        struct engine_opts opts = {
            .ctx = near + i, .batch = 1, .n_threads = 1, .level = cpu_best()};
        if (engine_open(&en, g, &opts, &e) != ERR_OK)
            fail_msg("%s", e.text);
        near = engine_model(en)->ctx_near;
        assert_true(near > 1);
        engine_cache_key(en, keys[i]);
        engine_close(en);
    }
    assert_string_not_equal(keys[0], keys[1]);
    gguf_close(g);
}

static void foreign_files_are_refused(void **state)
{
    (void)state;
    static unsigned char before[1 << 20], after[1 << 20];
    int32_t ids[CTX];
    float out[256];
    struct errinfo e;
    struct gguf *g;
    char keys[2][ENGINE_CACHE_KEY];
    unlink(path);
    make_text(ids, 180, 1, 1);
    struct server v = start(0, MIB);
    run_text(v.en, ids, 180, out);
    save(v.en);
    engine_cache_key(v.en, keys[0]);
    struct engine *second = open_model(&g, MODEL, 0, cpu_best());
    assert_int_equal(engine_cache_open(second, path, MIB, &e), ERR_BUSY);
    engine_cache_key(second, keys[1]);
    assert_string_equal(keys[0], keys[1]);
    engine_close(second);
    gguf_close(g);
    stop(&v);
    size_t n = read_file(before, sizeof before);
    const struct {
        const char *file;
        enum cpu_level level;
    } others[] = {
        {"tests/data/arch/llama-linear.gguf", cpu_best()},
        {"tests/data/arch/gemma3.gguf",       cpu_best()},
        {MODEL,                               CPU_c     },
    };
    for (size_t i = 0; i < N_ELEMS(others); i++) {
        if (i == 2 && cpu_best() == CPU_c)
            continue;
        struct engine *en = open_model(&g, others[i].file, 0, others[i].level);
        assert_int_equal(engine_cache_open(en, path, MIB, &e), ERR_UNSUPPORTED);
        assert_non_null(strstr(e.text, path));
        run_text(en, ids, 180, out); /* it works on without */
        assert_int_equal(engine_cache_save(en, NULL, NULL, &e), ERR_OK);
        engine_close(en);
        gguf_close(g);
    }
    assert_int_equal(read_file(after, sizeof after), n);
    assert_memory_equal(before, after, n);
    write_file("a diary, and no cache at all", 28);
    v = start(0, 0);
    assert_int_equal(engine_cache_open(v.en, path, MIB, &e), ERR_CORRUPT);
    assert_int_equal(read_file(after, sizeof after), 28);
    unlink(path);
    assert_int_equal(engine_cache_open(v.en, path, 4096 + SLOT - 1, &e), ERR_TOOBIG);
    assert_int_equal(engine_cache_open(v.en, "/", MIB, &e), ERR_IO);
    stop(&v);
}

/* ---- with the scheduler ---- */

static struct sched *start_sched(struct server *v, uint64_t idle_ns)
{
    struct sched_opts o = {.queue_max = 8,
                           .running_max = 4,
                           .cache_path = path,
                           .cache_bytes_max = MIB,
                           .cache_idle_ns = idle_ns};
    open_engine(v, 0);
    return v->s = sched_new(v->en, &o);
}

static void schedulers_know_it_again(void **state)
{
    (void)state;
    static struct ask a;
    struct server v;
    struct errinfo e;
    int32_t first = 0;
    unlink(path);
    for (int round = 0; round < 3; round++) {
        memset(&a, 0, sizeof a);
        make_ask(&a, 2 * ENGINE_PAGE + 30, 5);
        make_text(a.prompt, a.job.n_prompt, 5, 5);
        a.job.sampling.temp = 0;
        /* The first is saved when it idles, the second at its end. */
        start_sched(&v, round == 0 ? 1000000 : 3600000000000u);
        assert_int_equal(sched_push(v.s, &a.job, &e), ERR_OK);
        wait_done(&a.job);
        assert_true(round == 0 ? a.job.n_cached == 0 : a.job.n_cached >= a.job.n_prompt - 1);
        first = round ? first : a.job.out[0].token;
        assert_int_equal(a.job.out[0].token, first);
        for (int i = 0; round == 0 && sched_load(v.s).cache.n_written < 3; i++) {
            assert_true(i < 5000);
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        }
        job_done(&a.job);
        close_server(&v);
    }
}

int main(void)
{
    char folder[] = "/tmp/damso-cache-XXXXXX";
    rng = test_seed();
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/known", folder);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_known_is_known_again),
        cmocka_unit_test(files_keep_to_their_size),
        cmocka_unit_test(small_memories_and_files),
        cmocka_unit_test(damage_is_never_used),
        cmocka_unit_test(foreign_files_are_refused),
        cmocka_unit_test(schedulers_know_it_again),
        cmocka_unit_test(near_and_far_contexts_are_apart),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    rmdir(folder);
    return r;
}
