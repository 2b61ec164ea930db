/* SPDX-License-Identifier: MIT */
#include "mlperf/mlperf_set.h"

#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX ((size_t)4 << 30)

static const struct mlperf_bench benches[] = {
#define BENCH(...) {__VA_ARGS__},
#include "mlperf/mlperf_bench.def"
#undef BENCH
};

const struct mlperf_bench *mlperf_benches(size_t *n)
{
    *n = N_ELEMS(benches);
    return benches;
}

enum err mlperf_bench_find(const struct mlperf_bench **out, const char *name, struct errinfo *e)
{
    struct str list;
    for (size_t i = 0; i < N_ELEMS(benches); i++)
        if (strcmp(benches[i].name, name) == 0) {
            *out = &benches[i];
            return ERR_OK;
        }
    str_init(&list, 256);
    for (size_t i = 0; i < N_ELEMS(benches); i++)
        str_addf(&list, "%s%s", i ? ", " : "", benches[i].name);
    enum err r = err_set(e, ERR_USAGE, "there is no benchmark '%.64s': %s", name, list.p);
    str_done(&list);
    return r;
}

/* ---- a question ---- */

struct reading {
    struct mlperf_set *s;
    const struct mlperf_bench *b;
    size_t want, n_max;
    const char *name;
    const char *unit; /* "line" or "question" */
};

static enum err bad(const struct reading *x, size_t at, struct errinfo *e, const char *what)
{
    return err_set(e, ERR_CORRUPT, "%.200s: %s %zu: %.160s", x->name, x->unit, at, what);
}

static enum err take_ids(struct reading *x, const json_t *ids, size_t at, struct mlperf_text *q,
                         struct errinfo *e)
{
    size_t n = json_array_size(ids);
    if (n == 0 || n > MLPERF_TOKENS_MAX)
        return bad(x, at, e, "tok_input is no array of 1 to 1048576 tokens");
    int32_t *id = arena_array(&x->s->arena, n, sizeof *id);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(ids, i);
        json_int_t t = json_integer_value(v);
        if (!json_is_integer(v) || t < 0 || t > INT32_MAX)
            return bad(x, at, e, "tok_input has something that is no token");
        id[i] = (int32_t)t;
    }
    q->id = id;
    q->n_id = n;
    return ERR_OK;
}

static const char *text_of(struct reading *x, const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) ? arena_dup(&x->s->arena, json_string_value(v), json_string_length(v))
                             : NULL;
}

static enum err take(struct reading *x, const json_t *o, size_t at, struct errinfo *e)
{
    struct mlperf_text q = {.n_max = x->n_max};
    const json_t *ids = json_object_get(o, "tok_input");
    if (!json_is_object(o))
        return bad(x, at, e, "a question is an object");
    if (x->s->n == x->want)
        return err_set(e, ERR_CORRUPT, "%.200s: %s %zu: more than the %zu questions of %s", x->name,
                       x->unit, at, x->want, x->b->name);
    if (ids)
        TRY(take_ids(x, ids, at, &q, e));
    else if (!(q.prompt = text_of(x, o, "prompt")) || !q.prompt[0])
        return bad(x, at, e, "neither `tok_input` nor a `prompt`");
    if (q.n_max == 0) {
        json_int_t n = json_integer_value(json_object_get(o, "max_tokens"));
        if (n < 2 || n > MLPERF_TOKENS_MAX)
            return bad(x, at, e, "`max_tokens` is no number from 2 to 1048576");
        q.n_max = (size_t)n;
    }
    q.reference = text_of(x, o, "reference");
    if (!q.reference)
        q.reference = text_of(x, o, "output");
    x->s->q[x->s->n++] = q;
    return ERR_OK;
}

/* ---- a file ---- */

/* The head of JSON Lines says how many follow; true when this is one. */
static bool is_head(const json_t *o)
{
    return json_is_string(json_object_get(o, "set")) &&
           json_is_integer(json_object_get(o, "count"));
}

static enum err take_line(struct reading *x, struct span line, size_t at, struct errinfo *e)
{
    json_error_t je;
    json_t *o = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &je);
    if (!o)
        return bad(x, at, e, je.text);
    enum err r = at == 1 && is_head(o) ? ERR_OK : take(x, o, at, e);
    json_decref(o);
    return r;
}

static enum err take_lines(struct reading *x, struct span data, struct errinfo *e)
{
    x->unit = "line";
    for (size_t from = 0, at = 1; from < data.n; at++) {
        size_t end = span_find(data, SPAN("\n"), from);
        end = MIN(end, data.n);
        TRY(take_line(x, (struct span){data.p + from, end - from}, at, e));
        from = end + 1;
    }
    return ERR_OK;
}

static enum err take_array(struct reading *x, struct span data, struct errinfo *e)
{
    json_error_t je;
    x->unit = "question";
    json_t *all = json_loadb(data.p, data.n, JSON_REJECT_DUPLICATES, &je);
    if (!all)
        return err_set(e, ERR_CORRUPT, "%.200s: line %d: %.160s", x->name, je.line, je.text);
    enum err r = ERR_OK;
    for (size_t i = 0; i < json_array_size(all) && r == ERR_OK; i++)
        r = take(x, json_array_get(all, i), i + 1, e);
    json_decref(all);
    return r;
}

static void hash(struct span data, char hex[65])
{
    unsigned char sum[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(sum, (const unsigned char *)data.p, data.n);
    sodium_bin2hex(hex, 65, sum, sizeof sum);
}

static enum err check(const struct reading *x, struct errinfo *e)
{
    if (x->s->n != x->want)
        return err_set(e, ERR_CORRUPT, "%.200s: %zu questions; %s has %zu", x->name, x->s->n,
                       x->b->name, x->want);
    if (x->b->sha256[0] && strcmp(x->b->sha256, x->s->sha256) != 0)
        return err_set(e, ERR_CORRUPT, "%.200s: its sha256 is %s; that of %s is %s", x->name,
                       x->s->sha256, x->b->name, x->b->sha256);
    return ERR_OK;
}

enum err mlperf_set_parse(struct mlperf_set *s, const struct mlperf_bench *b, bool accuracy,
                          struct span data, const char *name, struct errinfo *e)
{
    struct reading x = {.s = s,
                        .b = b,
                        .want = accuracy ? b->n_accuracy : b->n,
                        .n_max = accuracy ? b->n_max_accuracy : b->n_max,
                        .name = name};
    size_t first = 0;
    *s = (struct mlperf_set){0};
    arena_init(&s->arena);
    CHECK(x.want <= MLPERF_QUESTIONS_MAX);
    s->q = arena_array(&s->arena, x.want, sizeof *s->q);
    hash(data, s->sha256);
    while (first < data.n && strchr(" \t\r\n", data.p[first]) && data.p[first])
        first++;
    bool array = first < data.n && data.p[first] == '[';
    enum err r = array ? take_array(&x, data, e) : take_lines(&x, data, e);
    if (r == ERR_OK)
        r = check(&x, e);
    if (r != ERR_OK)
        mlperf_set_done(s);
    return r;
}

enum err mlperf_set_read(struct mlperf_set *s, const struct mlperf_bench *b, bool accuracy,
                         const char *path, struct errinfo *e)
{
    struct stat st;
    void *p = MAP_FAILED;
    *s = (struct mlperf_set){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%.300s: %s", path,
                       strerror(errno));
    bool sized = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0;
    if (sized && (size_t)st.st_size <= FILE_BYTES_MAX)
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        return err_set(e, ERR_IO, "%.300s: no file of 1 byte to 4 GiB that can be read", path);
    enum err r = mlperf_set_parse(s, b, accuracy, (struct span){p, (size_t)st.st_size}, path, e);
    munmap(p, (size_t)st.st_size);
    return r;
}

void mlperf_set_done(struct mlperf_set *s)
{
    if (s->q)
        arena_done(&s->arena);
    *s = (struct mlperf_set){0};
}
