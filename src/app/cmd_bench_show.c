/* SPDX-License-Identifier: MIT
 * cmd_bench_show.c - the rows of bench as text and as JSON. */
#include "app/cmd_bench.h"

#include "base/num.h"

#include <jansson.h>
#include <stdio.h>

#define MIB 1048576.0

/* ---- text ---- */

static void print_limits(const struct machine *m)
{
    printf("machine   %s, %s, %d %s\n", m->cpu, cpu_level_name(m->level), m->threads,
           m->threads == 1 ? "thread" : "threads");
    for (int i = 0; i < MACHINE_LIMIT_N; i++) {
        const struct machine_limit_info *l = machine_limit_info((enum machine_limit)i);
        const struct machine_rate *r = &m->rate[i];
        printf("%-9s %-22s ", i ? "" : "limits", l->text);
        if (r->all > 0)
            printf("%8.1f %s (one thread %.1f)\n", r->all, l->unit, r->one);
        else
            printf("    none\n");
    }
}

static void print_row(const struct bench_row *r)
{
    char name[64], range[48];
    bench_row_name(r, name, sizeof name);
    snprintf(range, sizeof range, "%.1f to %.1f", r->min, r->max);
    printf("%-20s %9.1f  %-18s %8.1f %6.0f %% %6.0f %% %8.1f %6.0f %% %6.0f %%  %016llx\n", name,
           r->median, range, r->gmacs, 100 * r->product_share, 100 * r->matrix_share, r->gbs,
           100 * r->read_share, 100 * r->file_share, (unsigned long long)r->hash);
}

static void print_reads(const struct bench *b)
{
    double least = 0, most = 0;
    for (size_t i = 0; i < b->n_rows; i++) {
        const struct bench_row *r = &b->rows[i];
        least = least > 0 ? MIN(least, r->reads_min) : r->reads_min;
        most = MAX(most, r->reads_max);
    }
    if (most > 0)
        printf("Between the runs memory was read at %.1f to %.1f GB/s: each run's reads are set "
               "beside those just before and after it.\n",
               least, most);
}

static void print_rows(const struct bench *b)
{
    if (b->n_rows == 0)
        return;
    printf("\n%-20s %9s  %-18s %8s %8s %8s %8s %8s %8s  %s\n", "work", "tokens/s",
           "lowest to highest", "GMAC/s", "of limit", "matrices", "GB/s", "of limit", "as file",
           "logits");
    for (size_t i = 0; i < b->n_rows; i++)
        print_row(&b->rows[i]);
    print_reads(b);
}

static void print_context(const struct bench_row *r)
{
    char name[64];
    bench_row_name(r, name, sizeof name);
    if (r->at && r->kind == BENCH_PREFILL && r->attend_gmacs > 0)
        printf("%s: the context adds attention at %.1f GMAC/s, %.0f %% of the float limit\n", name,
               r->attend_gmacs, 100 * r->attend_share);
    if (r->at && r->kind == BENCH_DECODE && r->kv_gbs > 0)
        printf("%s: the context adds reads of keys and values at %.1f GB/s, %.0f %% of the read "
               "limit\n",
               name, r->kv_gbs, 100 * r->kv_share);
}

static void print_memory(const struct bench *b)
{
    const struct engine_memory *m = &b->memory;
    size_t weights = m->weights ? m->weights + b->embeddings : m->file;
    double counted = (double)bench_accounted(b), over = (double)b->resident - counted;
    printf("\nmemory    %s %.1f MiB, context %.1f MiB, buffers %.1f MiB: %.1f MiB counted; "
           "resident at most %.1f MiB, %.1f %% %s\n",
           m->weights ? "weights" : "file", (double)weights / MIB, (double)m->context / MIB,
           (double)m->work / MIB, counted / MIB, (double)b->resident / MIB,
           100 * (over > 0 ? over : -over) / counted, over > 0 ? "over" : "under");
}

static void print_device(const struct bench *b)
{
    printf("device    %s, simulated in %s: speeds are by the chip's clock; no result of the chip, "
           "and none of MLPerf\n\n%-20s %12s %12s  %s\n",
           b->device, b->computes, "work", "tokens/s", "tokens/J", "logits");
    for (size_t i = 0; i < b->n_rows; i++) {
        const struct bench_row *r = &b->rows[i];
        char name[64];
        bench_row_name(r, name, sizeof name);
        printf("%-20s %12.1f %12.2f  %016llx\n", name, r->median, r->joules > 0 ? 1 / r->joules : 0,
               (unsigned long long)r->hash);
    }
}

void bench_print(const struct bench *b)
{
    if (b->device[0]) {
        print_device(b);
        return;
    }
    print_limits(&b->machine);
    print_rows(b);
    for (size_t i = 0; i < b->n_rows; i++)
        print_context(&b->rows[i]);
    print_memory(b);
}

/* ---- JSON ---- */

static const char *const kind_names[] = {"prefill", "decode", "batch"};

static void put_real(json_t *o, const char *key, double x)
{
    json_object_set_new(o, key, json_real(x));
}

static void put_size(json_t *o, const char *key, size_t x)
{
    json_object_set_new(o, key, json_integer((json_int_t)x));
}

static json_t *json_machine(const struct machine *m)
{
    char key[64];
    json_t *o = json_pack("{s:s, s:s, s:i}", "cpu", m->cpu, "level", cpu_level_name(m->level),
                          "threads", m->threads);
    for (int i = 0; i < MACHINE_LIMIT_N; i++) {
        const struct machine_limit_info *l = machine_limit_info((enum machine_limit)i);
        snprintf(key, sizeof key, "%s_1", l->key);
        put_real(o, key, m->rate[i].one);
        put_real(o, l->key, m->rate[i].all);
    }
    put_size(o, "read_bytes", m->read_bytes);
    return o;
}

static json_t *json_row(const struct bench_row *r)
{
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)r->hash);
    json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:s}", "work", kind_names[r->kind],
                          "tokens", (json_int_t)r->tokens, "sequences", (json_int_t)r->seqs, "at",
                          (json_int_t)r->at, "tps", r->median, "tps_min", r->min, "tps_max", r->max,
                          "logits_hash", hash);
    put_real(o, "gmacs", r->gmacs);
    put_real(o, "product_share", r->product_share);
    put_real(o, "matrix_share", r->matrix_share);
    put_real(o, "gbs", r->gbs);
    put_real(o, "read_share", r->read_share);
    put_real(o, "reads_min", r->reads_min);
    put_real(o, "reads_max", r->reads_max);
    put_real(o, "file_gbs", r->file_gbs);
    put_real(o, "file_share", r->file_share);
    if (r->at && r->kind == BENCH_PREFILL) {
        put_real(o, "attend_gmacs", r->attend_gmacs);
        put_real(o, "attend_share", r->attend_share);
    } else if (r->at) {
        put_real(o, "kv_gbs", r->kv_gbs);
        put_real(o, "kv_share", r->kv_share);
    }
    return o;
}

static json_t *json_memory(const struct bench *b)
{
    json_t *o = json_object();
    put_size(o, "file", b->memory.file);
    put_size(o, "weights", b->memory.weights);
    put_size(o, "embeddings", b->embeddings);
    put_size(o, "context", b->memory.context);
    put_size(o, "work", b->memory.work);
    put_size(o, "counted", bench_accounted(b));
    put_size(o, "resident", b->resident);
    return o;
}

static void dump(json_t *o)
{
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(o);
}

/* The first row of a kind from an empty context once more under a short name, for scripts. */
static void put_first(json_t *o, const struct bench *b, enum bench_kind kind, const char *key)
{
    for (size_t i = b->n_rows; i-- > 0;)
        if (b->rows[i].kind == kind && b->rows[i].at == 0)
            put_real(o, key, b->rows[i].median);
}

void bench_print_json(const struct bench *b)
{
    char hash[17];
    json_t *rows = json_array();
    json_t *o = json_pack("{s:s, s:i, s:I, s:f, s:f}", "model", b->model, "threads", b->threads,
                          "runs", (json_int_t)b->runs, "prefill_tps", 0.0, "decode_tps", 0.0);
    put_first(o, b, BENCH_PREFILL, "prefill_tps");
    put_first(o, b, BENCH_DECODE, "decode_tps");
    snprintf(hash, sizeof hash, "%016llx", b->n_rows ? (unsigned long long)b->rows[0].hash : 0ull);
    json_object_set_new(o, "logits_hash", json_string(hash));
    for (size_t i = 0; i < b->n_rows; i++) {
        json_t *row = json_row(&b->rows[i]);
        if (b->device[0])
            put_real(row, "joules_per_token", b->rows[i].joules);
        json_array_append_new(rows, row);
    }
    if (b->device[0])
        json_object_set_new(o, "device",
                            json_pack("{s:s, s:b, s:s}", "name", b->device, "simulated", 1,
                                      "computes", b->computes));
    json_object_set_new(o, "rows", rows);
    json_object_set_new(o, "memory", json_memory(b));
    json_object_set_new(o, "machine", json_machine(&b->machine));
    dump(o);
}

void bench_print_machine(const struct machine *m, bool json)
{
    if (json)
        dump(json_machine(m));
    else
        print_limits(m);
}
