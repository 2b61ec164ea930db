/* SPDX-License-Identifier: MIT
 * npu_chip_read.c - reads a chip file.  libyaml's documents are read here, not libcyaml's
 * structures, since a number may stand by itself or as {value, source, tolerance, assumed}, which
 * the latter cannot say, and since every node knows its line. */
#include "npu/npu_chip.h"

#include "base/num.h"
#include "npu/npu_int.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define KEY_MAX      64
#define SECTIONS_MAX 32
#define KEYS_MAX     64

struct reader {
    struct npu_chip *chip;
    yaml_document_t doc;
    const char *what;
    struct errinfo *e;
    bool seen[NPU_N_FIELDS];
};

#define FAIL(r, node, ...) fail(r, node, err_text_of(r, __VA_ARGS__))

static const char *err_text_of(struct reader *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static const char *err_text_of(struct reader *r, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return arena_dup(&r->chip->arena, text, strlen(text));
}

static enum err fail(struct reader *r, const yaml_node_t *node, const char *text)
{
    return err_set(r->e, ERR_CORRUPT, "%s:%zu: %s", r->what,
                   node ? node->start_mark.line + 1 : (size_t)1, text);
}

static const char *text_of(const yaml_node_t *n)
{
    return (const char *)n->data.scalar.value;
}

/* A printable text of at most `most` bytes, kept in the chip's arena. */
static enum err read_text(struct reader *r, const yaml_node_t *n, const char *key, size_t most,
                          const char **out)
{
    if (n->type != YAML_SCALAR_NODE)
        return FAIL(r, n, "%s is a text", key);
    struct span s = {text_of(n), n->data.scalar.length};
    if (s.n == 0 || s.n > most || !utf8_printable(s))
        return FAIL(r, n, "%s is a text of 1 to %zu printable bytes", key, most);
    *out = arena_dup(&r->chip->arena, s.p, s.n);
    return ERR_OK;
}

static enum err read_number(struct reader *r, const yaml_node_t *n, const char *key, double *out)
{
    char *end;
    if (n->type != YAML_SCALAR_NODE || n->data.scalar.length == 0 || n->data.scalar.length > 40)
        return FAIL(r, n, "%s is a number", key);
    errno = 0;
    *out = strtod(text_of(n), &end);
    if (*end || errno || !isfinite(*out))
        return FAIL(r, n, "%s is a number, not \"%.40s\"", key, text_of(n));
    return ERR_OK;
}

static enum err read_bool(struct reader *r, const yaml_node_t *n, const char *key, bool *out)
{
    const char *t = n->type == YAML_SCALAR_NODE ? text_of(n) : "";
    *out = strcmp(t, "yes") == 0;
    if (!*out && strcmp(t, "no") != 0)
        return FAIL(r, n, "%s is yes or no", key);
    return ERR_OK;
}

/* The i-th pair of a mapping; false behind the last. */
static bool pair_at(struct reader *r, const yaml_node_t *map, size_t i, const yaml_node_t **key,
                    const yaml_node_t **value)
{
    const yaml_node_pair_t *p = map->data.mapping.pairs.start + i;
    if (p >= map->data.mapping.pairs.top)
        return false;
    *key = yaml_document_get_node(&r->doc, p->key);
    *value = yaml_document_get_node(&r->doc, p->value);
    return true;
}

static bool key_ok(const yaml_node_t *k)
{
    return k->type == YAML_SCALAR_NODE && k->data.scalar.length < KEY_MAX &&
           strlen(text_of(k)) == k->data.scalar.length;
}

/* {value: 1000, source: "...", tolerance: 0.2, assumed: yes} */
static enum err read_value_map(struct reader *r, const yaml_node_t *map, const char *key,
                               double *value, struct npu_source *src)
{
    const yaml_node_t *k, *n;
    bool given = false;
    for (size_t i = 0; pair_at(r, map, i, &k, &n); i++) {
        const char *name = key_ok(k) ? text_of(k) : "";
        if (strcmp(name, "value") == 0) {
            TRY(read_number(r, n, key, value));
            given = true;
        } else if (strcmp(name, "source") == 0) {
            TRY(read_text(r, n, "source", 300, &src->text));
        } else if (strcmp(name, "tolerance") == 0) {
            TRY(read_number(r, n, "tolerance", &src->tolerance));
            if (src->tolerance < 0 || src->tolerance > 10)
                return FAIL(r, n, "tolerance is a share from 0 to 10");
        } else if (strcmp(name, "assumed") == 0) {
            TRY(read_bool(r, n, "assumed", &src->assumed));
        } else {
            return FAIL(r, k, "%s has value, source, tolerance, assumed, and no \"%.40s\"", key,
                        name);
        }
    }
    return given ? ERR_OK : FAIL(r, map, "%s has no value", key);
}

static enum err read_field(struct reader *r, const yaml_node_t *k, const yaml_node_t *n,
                           const char *key)
{
    enum npu_field f = npu_field_find(key);
    struct errinfo why;
    double value;
    if (f == NPU_N_FIELDS)
        return FAIL(r, k, "there is no \"%s\" in a chip file", key);
    if (r->seen[f])
        return FAIL(r, k, "%s stands there twice", key);
    r->seen[f] = true;
    if (n->type == YAML_MAPPING_NODE)
        TRY(read_value_map(r, n, key, &value, &r->chip->source[f]));
    else
        TRY(read_number(r, n, key, &value));
    if (npu_chip_set(r->chip, f, value, &why) != ERR_OK)
        return FAIL(r, n, "%s", why.text);
    return ERR_OK;
}

static enum err read_word(struct reader *r, const yaml_node_t *n, const char *key,
                          const char *const *words, int n_words, int *out)
{
    const char *t = n->type == YAML_SCALAR_NODE ? text_of(n) : "";
    for (*out = 0; *out < n_words; ++*out)
        if (strcmp(words[*out], t) == 0)
            return ERR_OK;
    char list[100] = "";
    for (int i = 0; i < n_words; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", words[i]);
    return FAIL(r, n, "%s is one of %s", key, list);
}

/* What is no number.  *is: the key is one of those. */
static enum err read_special(struct reader *r, const yaml_node_t *n, const char *key, bool *is)
{
    static const char *const arrays[] = {"systolic_ws", "systolic_os", "dot"};
    static const char *const preloads[] = {"exposed", "overlapped"};
    static const char *const kinds[] = {"scratchpad", "cache"};
    static const char *const links[] = {"full", "ring"};
    int word;
    *is = true;
    if (strcmp(key, "matrix.kind") == 0) {
        TRY(read_word(r, n, key, arrays, N_ELEMS(arrays), &word));
        r->chip->array = (enum npu_array)word;
    } else if (strcmp(key, "matrix.preload") == 0) {
        TRY(read_word(r, n, key, preloads, N_ELEMS(preloads), &word));
        r->chip->overlapped = word;
    } else if (strcmp(key, "shared.kind") == 0) {
        TRY(read_word(r, n, key, kinds, N_ELEMS(kinds), &word));
        r->chip->cache = word;
    } else if (strcmp(key, "peer.kind") == 0) {
        TRY(read_word(r, n, key, links, N_ELEMS(links), &word));
        r->chip->ring = word;
    } else if (strcmp(key, "dram.type") == 0) {
        TRY(read_text(r, n, key, 20, &r->chip->dram_type));
        if (!npu_dram_find(r->chip->dram_type))
            return FAIL(r, n, "dram.type is one of %s", npu_dram_list());
    } else {
        *is = false;
    }
    return ERR_OK;
}

/* A section: its keys with "section." before them; matrix.rate is a section in a section. */
static enum err read_section(struct reader *r, const yaml_node_t *map, const char *prefix)
{
    const yaml_node_t *k, *n;
    for (size_t i = 0; pair_at(r, map, i, &k, &n); i++) {
        char key[2 * KEY_MAX];
        bool special;
        if (!key_ok(k))
            return FAIL(r, k, "a key is a short text");
        snprintf(key, sizeof key, "%s.%s", prefix, text_of(k));
        if (strcmp(key, "matrix.rate") == 0 && n->type == YAML_MAPPING_NODE) {
            TRY(read_section(r, n, key)); /* goes no deeper: no key of it is a section */
            continue;
        }
        TRY(read_special(r, n, key, &special));
        if (!special)
            TRY(read_field(r, k, n, key));
    }
    return ERR_OK;
}

/* ---- runs and results ---- */

static enum err read_whole(struct reader *r, const yaml_node_t *n, const char *key, int most,
                           int *out)
{
    double v;
    TRY(read_number(r, n, key, &v));
    if (v != floor(v) || v < 1 || v > most)
        return FAIL(r, n, "%s is a whole number from 1 to %d", key, most);
    *out = (int)v;
    return ERR_OK;
}

static enum err read_scenario(struct reader *r, const yaml_node_t *n, enum npu_scenario *out)
{
    const char *text;
    TRY(read_text(r, n, "scenario", 40, &text));
    *out = npu_scenario_find(text);
    if (*out == NPU_N_SCENARIOS)
        return FAIL(r, n, "scenario is SingleStream, MultiStream8 or Offline");
    return ERR_OK;
}

static enum err read_setup(struct reader *r, const yaml_node_t *map, struct npu_setup *s)
{
    const yaml_node_t *k, *n;
    for (size_t i = 0; pair_at(r, map, i, &k, &n); i++) {
        const char *key = key_ok(k) ? text_of(k) : "";
        if (strcmp(key, "workload") == 0)
            TRY(read_text(r, n, key, 40, &s->workload));
        else if (strcmp(key, "scenario") == 0)
            TRY(read_scenario(r, n, &s->scenario));
        else if (strcmp(key, "instances") == 0)
            TRY(read_whole(r, n, key, NPU_CORES_MAX, &s->instances));
        else if (strcmp(key, "cores") == 0)
            TRY(read_whole(r, n, key, NPU_CORES_MAX, &s->cores));
        else if (strcmp(key, "batch") == 0)
            TRY(read_whole(r, n, key, 4096, &s->batch));
        else
            return FAIL(r, k,
                        "a run has workload, scenario, instances, cores, batch, and no "
                        "\"%.40s\"",
                        key);
    }
    if (!s->workload || !s->instances || !s->cores || !s->batch)
        return FAIL(r, map, "a run needs workload, scenario, instances, cores and batch");
    if (s->instances * (double)s->cores > r->chip->v[NPU_CORES])
        return FAIL(r, map, "%d instances of %d cores are more than the chip's %g", s->instances,
                    s->cores, r->chip->v[NPU_CORES]);
    return ERR_OK;
}

static enum err read_result(struct reader *r, const yaml_node_t *map, struct npu_result *s)
{
    const yaml_node_t *k, *n;
    for (size_t i = 0; pair_at(r, map, i, &k, &n); i++) {
        const char *key = key_ok(k) ? text_of(k) : "";
        const struct {
            const char *key;
            const char **text;
            double *number;
        } plain[] = {
            {"workload",   &s->workload, NULL          },
            {"round",      &s->round,    NULL          },
            {"division",   &s->division, NULL          },
            {"system",     &s->system,   NULL          },
            {"per_s",      NULL,         &s->per_s     },
            {"latency_us", NULL,         &s->latency_us},
            {"watts",      NULL,         &s->watts     },
        };
        size_t p = 0;
        while (p < N_ELEMS(plain) && strcmp(plain[p].key, key) != 0)
            p++;
        if (p < N_ELEMS(plain) && plain[p].text)
            TRY(read_text(r, n, key, 100, plain[p].text));
        else if (p < N_ELEMS(plain))
            TRY(read_number(r, n, key, plain[p].number));
        else if (strcmp(key, "scenario") == 0)
            TRY(read_scenario(r, n, &s->scenario));
        else if (strcmp(key, "fitted") == 0)
            TRY(read_bool(r, n, key, &s->fitted));
        else
            return FAIL(r, k, "a result has no \"%.40s\"", key);
    }
    if (!s->workload || !s->round || !s->system || (s->per_s > 0) == (s->latency_us > 0))
        return FAIL(r, map,
                    "a result needs workload, scenario, round, system, and either per_s or "
                    "latency_us");
    return ERR_OK;
}

/* A list of mappings, each read by one of the two above into items of `size` bytes. */
static enum err read_list(struct reader *r, const yaml_node_t *list, const char *key)
{
    bool setups = strcmp(key, "runs") == 0;
    if (list->type != YAML_SEQUENCE_NODE)
        return FAIL(r, list, "%s is a list", key);
    size_t n = (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
    if (n > NPU_RUNS_MAX)
        return FAIL(r, list, "%s has %zu items, and %d is the most", key, n, NPU_RUNS_MAX);
    struct npu_setup *s = arena_array(&r->chip->arena, n, sizeof *s);
    struct npu_result *p = arena_array(&r->chip->arena, n, sizeof *p);
    for (size_t i = 0; i < n; i++) {
        const yaml_node_t *item = yaml_document_get_node(&r->doc,
                                                         list->data.sequence.items.start[i]);
        if (item->type != YAML_MAPPING_NODE)
            return FAIL(r, item, "%s is a list of mappings", key);
        TRY(setups ? read_setup(r, item, &s[i]) : read_result(r, item, &p[i]));
    }
    if (setups) {
        r->chip->setups = s;
        r->chip->n_setups = n;
    } else {
        r->chip->results = p;
        r->chip->n_results = n;
    }
    return ERR_OK;
}

/* ---- the whole ---- */

static enum err read_top(struct reader *r, const yaml_node_t *k, const yaml_node_t *n)
{
    static const char *const sections[] = {"chip", "clock", "core", "matrix", "vector", "shared",
                                           "noc",  "dram",  "host", "peer",   "power"};
    const char *key = text_of(k);
    if (strcmp(key, "name") == 0)
        return read_text(r, n, key, 40, &r->chip->name);
    if (strcmp(key, "title") == 0)
        return read_text(r, n, key, 100, &r->chip->title);
    if (strcmp(key, "vendor") == 0)
        return read_text(r, n, key, 100, &r->chip->vendor);
    for (size_t i = 0; i < N_ELEMS(sections); i++)
        if (strcmp(key, sections[i]) == 0)
            return n->type == YAML_MAPPING_NODE ? read_section(r, n, key)
                                                : FAIL(r, n, "%s is a section", key);
    return strcmp(key, "runs") != 0 && strcmp(key, "results") != 0
               ? FAIL(r, k, "there is no \"%.40s\" in a chip file", key)
               : ERR_OK; /* read when the cores are known */
}

/* What no single number shows. */
static enum err check_whole(struct reader *r, const yaml_node_t *root)
{
    const struct npu_chip *c = r->chip;
    double any = 0;
    for (int f = 0; f < NPU_N_FIELDS; f++)
        if (isnan(c->v[f]))
            return FAIL(r, root, "%s is missing: %s", npu_field_key((enum npu_field)f),
                        npu_field_text((enum npu_field)f));
    static const enum npu_field whole[] = {NPU_CORES,    NPU_MX_ROWS,      NPU_MX_COLS,
                                           NPU_MX_DEPTH, NPU_MX_COUNT,     NPU_MX_MIN_ROWS,
                                           NPU_TILES,    NPU_DRAM_CHANNELS};
    for (size_t i = 0; i < N_ELEMS(whole); i++)
        if (c->v[whole[i]] != floor(c->v[whole[i]]))
            return FAIL(r, root, "%s is a whole number, not %g", npu_field_key(whole[i]),
                        c->v[whole[i]]);
    for (int t = 0; t < NPU_N_TYPES; t++)
        any += npu_chip_rate(c, (enum npu_type)t);
    if (any <= 0)
        return FAIL(r, root, "matrix.rate gives no format that the matrix unit computes with");
    if (c->array != NPU_DOT && c->v[NPU_MX_DEPTH] != 1)
        return FAIL(r, root, "matrix.depth is of dot units; a systolic array has rows and cols");
    if (c->v[NPU_STATIC] >= c->v[NPU_TDP])
        return FAIL(r, root, "power.static_w is %g W and leaves nothing of power.tdp_w, %g W",
                    c->v[NPU_STATIC], c->v[NPU_TDP]);
    if (!c->name || !c->title || !c->vendor || !c->dram_type)
        return FAIL(r, root, "name, title, vendor and dram.type are needed");
    return ERR_OK;
}

/* A section, or a key that is no number, which stands in one mapping twice. */
static enum err check_twice(struct reader *r)
{
    for (yaml_node_t *m = r->doc.nodes.start; m < r->doc.nodes.top; m++) {
        const yaml_node_t *k, *other, *n;
        if (m->type != YAML_MAPPING_NODE)
            continue;
        for (size_t i = 0; pair_at(r, m, i, &k, &n); i++) {
            if (!key_ok(k) || i >= KEYS_MAX)
                return FAIL(r, k, "a mapping has at most %d keys, short texts", KEYS_MAX);
            for (size_t j = 0; j < i && pair_at(r, m, j, &other, &n); j++)
                if (strcmp(text_of(k), text_of(other)) == 0)
                    return FAIL(r, k, "%s stands there twice", text_of(k));
        }
    }
    return ERR_OK;
}

static enum err read_document(struct reader *r)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc), *k, *n;
    if (!root || root->type != YAML_MAPPING_NODE)
        return FAIL(r, root, "a chip file is a mapping of sections");
    for (size_t i = 0; pair_at(r, root, i, &k, &n); i++) {
        if (!key_ok(k) || i >= SECTIONS_MAX)
            return FAIL(r, k, "a chip file has a few sections with short names");
        TRY(read_top(r, k, n));
    }
    TRY(check_twice(r));
    TRY(check_whole(r, root));
    r->chip->cores_read = r->chip->v[NPU_CORES];
    for (size_t i = 0; pair_at(r, root, i, &k, &n); i++)
        if (strcmp(text_of(k), "runs") == 0 || strcmp(text_of(k), "results") == 0)
            TRY(read_list(r, n, text_of(k)));
    return ERR_OK;
}

static enum err load_document(struct reader *r, const void *bytes, size_t n)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return err_set(r->e, ERR_MEMORY, "%s: no memory to read it", r->what);
    yaml_parser_set_input_string(&parser, bytes, n);
    int ok = yaml_parser_load(&parser, &r->doc);
    enum err code = ok ? ERR_OK
                       : err_set(r->e, ERR_CORRUPT, "%s:%zu: no YAML: %s", r->what,
                                 parser.problem_mark.line + 1,
                                 parser.problem ? parser.problem : "it cannot be read");
    yaml_parser_delete(&parser);
    return code;
}

enum err npu_chip_parse(struct npu_chip **out, const void *bytes, size_t n, const char *what,
                        struct errinfo *e)
{
    struct arena arena;
    struct reader r = {.what = what, .e = e};
    *out = NULL;
    if (n > NPU_CHIP_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "%s: a chip file has at most %zu bytes", what,
                       NPU_CHIP_BYTES_MAX);
    TRY(load_document(&r, bytes, n));
    arena_init(&arena);
    r.chip = arena_alloc(&arena, sizeof *r.chip);
    r.chip->arena = arena;
    r.chip->path = arena_dup(&r.chip->arena, what, strlen(what));
    for (int f = 0; f < NPU_N_FIELDS; f++)
        r.chip->v[f] = npu_field_otherwise((enum npu_field)f);
    enum err code = read_document(&r);
    yaml_document_delete(&r.doc);
    if (code == ERR_OK)
        *out = r.chip;
    else
        npu_chip_free(r.chip);
    return code;
}
