/* SPDX-License-Identifier: MIT
 * models_test.c - the setting `model` to a file, states of files, and the built-in catalogue. */
#include "base/test.h"

#include "app/models.h"
#include "base/num.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/damso-models-XXXXXX";
static struct conf conf;
static struct arena arena;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena);
    conf.models_dir = mkdtemp(dir);
    conf.catalogue = "";
    return conf.models_dir ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    arena_done(&arena);
    return rmdir(dir);
}

static const char *write_file(const char *name, const void *p, size_t n)
{
    const char *path = arena_printf(&arena, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
    return path;
}

static const char *resolve(const char *model, enum err want, const char *words)
{
    const char *path;
    struct errinfo e = {0};
    conf.model = model;
    assert_int_equal(models_resolve(&conf, &arena, &path, &e), want);
    assert_true((path != NULL) == (want == ERR_OK));
    assert_non_null(strstr(e.text, words));
    return path;
}

static void names_become_files(void **state)
{
    (void)state;
    resolve("smollm2-135m-instruct", ERR_NOTFOUND, "`damso pull smollm2-135m-instruct`");
    resolve("smolm2", ERR_NOTFOUND, "did you mean 'smollm2-135m-instruct'?");
    resolve("qwen3-4c", ERR_NOTFOUND, "did you mean 'qwen3-4b'?");
    resolve("xyzzy", ERR_NOTFOUND, "`damso models` lists them");
    resolve("", ERR_NOTFOUND, "there is no model ''");
    resolve("none.gguf", ERR_NOTFOUND, "none.gguf: there is no such model file");
    resolve("some/where", ERR_NOTFOUND, "there is no such model file");
    resolve(dir, ERR_NOTFOUND, dir); /* a folder is no model */
    const char *path = write_file("smollm2-135m-instruct.gguf", "x", 1);
    assert_string_equal(resolve("smollm2-135m-instruct", ERR_OK, ""), path);
    assert_string_equal(resolve(path, ERR_OK, ""), path);
    unlink(path);
    conf.catalogue = "/nonexistent/c.yaml";
    resolve("smollm2-135m-instruct", ERR_NOTFOUND, "/nonexistent/c.yaml");
    conf.catalogue = "";
}

static void states_are_told_apart(void **state)
{
    (void)state;
    static const char gguf[24] = "GGUF\3"; /* no key, no tensor */
    struct catalogue_model m = {.name = "m", .file = "m.gguf", .own.gb = 1, .memory_gib = 1};
    const char *path = models_file(&conf, &arena, &m);
    uint64_t bytes;
    assert_int_equal(models_state(path, m.own.bytes, &bytes), MODELS_MISSING);
    const char *part = write_file("m.gguf.part", "xx", 2);
    assert_int_equal(models_state(path, m.own.bytes, &bytes), MODELS_PART);
    assert_int_equal(bytes, 2);
    unlink(part);
    write_file("m.gguf", gguf, sizeof gguf);
    assert_int_equal(models_state(path, m.own.bytes, &bytes), MODELS_WHOLE);
    m.own.bytes = sizeof gguf;
    assert_int_equal(models_state(path, m.own.bytes, &bytes), MODELS_WHOLE);
    m.own.bytes = sizeof gguf + 1;
    assert_int_equal(models_state(path, m.own.bytes, &bytes), MODELS_ODD);
    m.own.bytes = 0;
    write_file("m.gguf", "GGUF", 4);
    assert_int_equal(models_state(path, m.own.bytes, &bytes), MODELS_ODD);
    unlink(path);
    m.memory_gib = 0.001;
    assert_int_equal(models_fit(&m), MODELS_FITS);
    m.memory_gib = 100000;
    assert_int_equal(models_fit(&m), MODELS_TOO_BIG);
}

static void the_catalogue_is_sound(void **state)
{
    (void)state;
    struct catalogue *c;
    struct errinfo e = {0};
    assert_int_equal(catalogue_load(&c, "", &e), ERR_OK);
    for (unsigned i = 0; i < c->n_models; i++) {
        const struct catalogue_model *m = &c->models[i];
        bool tried = false;
        for (unsigned k = 0; k < m->own.n_sources; k++) {
            assert_true(!m->own.sources[k].url ||
                        strncmp(m->own.sources[k].url, "https://", 8) == 0);
            tried |= m->own.sources[k].tried;
        }
        assert_true(!tried || m->own.sha256); /* what we fetched we could hash */
        assert_true(!m->own.bytes || (double)m->own.bytes > 0.9e9 * m->own.gb);
        assert_true(m->memory_gib > 0.9 * m->own.gb);
    }
    catalogue_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_become_files),
        cmocka_unit_test(states_are_told_apart),
        cmocka_unit_test(the_catalogue_is_sound),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
