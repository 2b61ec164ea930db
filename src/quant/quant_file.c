/* SPDX-License-Identifier: MIT
 * quant_file.c - a model through quant_row, tensor by tensor. */
#include "quant/quant_file.h"

#include "base/arena.h"
#include "base/num.h"
#include "gguf/gguf_type.h"
#include "gguf/gguf_write.h"
#include "hf/hf.h"
#include "os/os_pool.h"
#include "quant/quant.h"
#include "quant/quant_imatrix.h"

#include <fnmatch.h>
#include <string.h>
#include <strings.h>

#define FILE_SLAB ((size_t)8 << 20) /* bytes of rows that are written at once */
#define FILE_ROWS 4                 /* that a thread takes at once */

/* A row of quant_type.def. */
struct type_row {
    const char *name;
    enum format format;
    uint32_t file_type;
    enum format fallback, output;
};

static const struct type_row rows[] = {
#define QUANT_FLOAT(name, file_type)                                                               \
    {#name, FORMAT_##name, file_type, FORMAT_##name, FORMAT_##name},
#define QUANT(name, file_type, fallback, output)                                                   \
    {#name, FORMAT_##name, file_type, FORMAT_##fallback, FORMAT_##output},
#include "quant/quant_type.def"
#undef QUANT
#undef QUANT_FLOAT
};

const char *quant_names(void)
{
    static const char names[] =
#define QUANT(name, ...)       ", " #name
#define QUANT_FLOAT(name, ...) ", " #name
#include "quant/quant_type.def"
#undef QUANT_FLOAT
#undef QUANT
        ;
    return names + 2;
}

int quant_named(const char *name)
{
    for (size_t i = 0; i < N_ELEMS(rows); i++)
        if (strcasecmp(rows[i].name, name) == 0)
            return (int)rows[i].format;
    return -1;
}

static const struct type_row *row_of(enum format f)
{
    for (size_t i = 0; i < N_ELEMS(rows); i++)
        if (rows[i].format == f)
            return &rows[i];
    return NULL;
}

/* ---- what becomes of a tensor ---- */

/* Parts of names of what has two dimensions but is small, or no matrix of a product; of RWKV the
 * shares of the row before, and low-rank products. */
static const char *const never[] = {
    "_norm.",       "ffn_gate_inp.", "position_embd.", "token_types.",    "ssm_conv1d.",
    "shortconv.",   "attn_rel_b.",   "altup",          "laurel",          "rope_freqs.",
    "patch_embd.",  "indexer.",      "tid2eid.",       "rope_factors_",   "_lerp_",
    "time_mix_w1.", "time_mix_w2.",  "time_mix_decay", "time_mix_first.", "time_mix_a1.",
    "time_mix_a2.", "time_mix_v1.",  "time_mix_v2.",   "time_mix_g1.",    "time_mix_g2.",
};

static bool is_matrix(const struct gguf_tensor *t)
{
    if (t->n_dims < 2 || !span_ends(t->name, SPAN(".weight")))
        return false;
    for (size_t i = 0; i < N_ELEMS(never); i++)
        if (span_find(t->name, span_of(never[i]), 0) != SIZE_MAX)
            return false;
    return true;
}

static bool is_kept(const struct quant_opts *o, const struct gguf_tensor *t)
{
    char name[GGUF_NAME_MAX + 1];
    memcpy(name, t->name.p, MIN(t->name.n, (size_t)GGUF_NAME_MAX));
    name[MIN(t->name.n, (size_t)GGUF_NAME_MAX)] = '\0';
    for (size_t i = 0; i < o->n_keep; i++)
        if (fnmatch(o->keep[i], name, 0) == 0)
            return true;
    return false;
}

struct maker {
    const struct quant_opts *o;
    const struct type_row *row;
    struct gguf *g;
    struct gguf_write *w;
    struct os_pool *pool;
    struct quant_imatrix im;
    bool tied; /* the embeddings are the output matrix too */
    int *to;   /* [tensors] a format; -1: as it is */
    struct quant_result *result;
};

/* A format that divides the row; -1: none does. */
static int fitting(const struct maker *m, enum format f, uint64_t cols)
{
    const struct type_row *row = row_of(f);
    const enum format chain[] = {f, row ? row->fallback : f, FORMAT_Q8_0, FORMAT_F16};
    (void)m;
    for (size_t i = 0; i < N_ELEMS(chain); i++)
        if (cols % format_info(chain[i])->block_elems == 0)
            return (int)chain[i];
    return -1;
}

static int wanted(const struct maker *m, const struct gguf_tensor *t)
{
    bool embeds = span_eq_cstr(t->name, "token_embd.weight");
    bool out = span_eq_cstr(t->name, "output.weight") || (embeds && m->tied);
    if (embeds && m->o->embed >= 0)
        return m->o->embed;
    if (out)
        return m->o->output >= 0 ? m->o->output : (int)m->row->output;
    return (int)m->row->format;
}

static enum err decide_one(struct maker *m, size_t i, struct errinfo *e)
{
    const struct gguf_tensor *t = gguf_tensor_at(m->g, i);
    int from = format_of(t->type);
    m->to[i] = -1;
    if (!is_matrix(t) || is_kept(m->o, t))
        return ERR_OK;
    int want = wanted(m, t), to = fitting(m, (enum format)want, t->dims[0]);
    if (from < 0)
        return err_set(e, ERR_UNSUPPORTED, "%.*s is of the type %s, which cannot be read",
                       (int)t->name.n, t->name.p, gguf_type_info(t->type)->name);
    if (from == to)
        return ERR_OK;
    if (format_info((enum format)from)->bits && !m->o->allow_requantize)
        return err_set(e, ERR_UNSUPPORTED,
                       "%.*s is quantised already, in %s, and would lose twice; take the original "
                       "model, or say --allow-requantize",
                       (int)t->name.n, t->name.p, format_info((enum format)from)->name);
    m->to[i] = to;
    m->result->n_fallback += to != want;
    return ERR_OK;
}

static enum err decide(struct maker *m, struct errinfo *e)
{
    size_t n = gguf_n_tensors(m->g);
    m->to = mem_alloc(n * sizeof *m->to);
    m->tied = !gguf_tensor(m->g, "output.weight");
    for (size_t i = 0; i < n; i++)
        TRY(decide_one(m, i, e));
    return ERR_OK;
}

/* ---- the head ---- */

static void put_keys(struct maker *m)
{
    for (size_t i = 0; i < gguf_n_keys(m->g); i++) {
        const struct gguf_key *k = gguf_key_at(m->g, i);
        if (!span_starts(k->name, SPAN("split."))) /* one file now */
            gguf_write_key(m->w, k);
    }
    gguf_write_u32(m->w, "general.file_type", m->row->file_type);
    gguf_write_u32(m->w, "general.quantization_version", 2);
    if (!m->im.gguf)
        return;
    const char *path = m->o->imatrix, *slash = strrchr(path, '/');
    gguf_write_str(m->w, "quantize.imatrix.file", span_of(slash ? slash + 1 : path));
    if (m->im.dataset.n)
        gguf_write_str(m->w, "quantize.imatrix.dataset", m->im.dataset);
    gguf_write_u32(m->w, "quantize.imatrix.entries_count", (uint32_t)quant_imatrix_n(&m->im));
    gguf_write_u32(m->w, "quantize.imatrix.chunks_count", m->im.n_chunks);
}

static enum err put_head(struct maker *m, struct errinfo *e)
{
    put_keys(m);
    for (size_t i = 0; i < gguf_n_tensors(m->g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(m->g, i);
        uint32_t type = m->to[i] < 0 ? t->type : format_info((enum format)m->to[i])->number;
        gguf_write_tensor(m->w, t->name, type, t->n_dims, t->dims);
    }
    return gguf_write_head(m->w, e);
}

/* ---- the data ---- */

struct slab {
    struct os_pool *pool;
    enum format from, to;
    size_t cols, row, n, rows_each; /* the first row, how many, how many an expert has */
    const unsigned char *src;
    const float *importance; /* [experts][cols], or NULL */
    unsigned char *dst;
    float *rows; /* [threads][cols] */
};

static void quant_some(void *arg, int thread, int n_threads)
{
    const struct slab *s = arg;
    float *x = s->rows + (size_t)thread * s->cols;
    const size_t in = format_bytes(s->from, s->cols), out = format_bytes(s->to, s->cols);
    (void)n_threads;
    for (size_t i; (i = os_pool_take(s->pool, FILE_ROWS)) < s->n;)
        for (size_t r = i; r < MIN(i + FILE_ROWS, s->n); r++) {
            const float *imp = s->importance ? s->importance + (s->row + r) / s->rows_each * s->cols
                                             : NULL;
            format_dequant(s->from, x, s->src + (s->row + r) * in, s->cols);
            quant_row(s->to, x, imp, s->cols, s->dst + r * out);
        }
}

/* The importance of a tensor's columns; that of an expert's rows begins at its multiple. */
static enum err importance_of(struct maker *m, const struct gguf_tensor *t, struct arena *a,
                              const float **out, struct errinfo *e)
{
    *out = NULL;
    if (!m->im.gguf)
        return ERR_OK;
    TRY(quant_imatrix_of(&m->im, t, a, out, e));
    m->result->n_without_importance += !*out;
    return ERR_OK;
}

static enum err put_matrix(struct maker *m, const struct gguf_tensor *t, enum format to,
                           struct errinfo *e)
{
    const size_t cols = (size_t)t->dims[0], n_rows = (size_t)(t->dims[1] * t->dims[2] * t->dims[3]);
    const enum format from = (enum format)format_of(t->type);
    const size_t in = format_bytes(from, cols), out = format_bytes(to, cols);
    const size_t step = MAX(FILE_SLAB / MAX(in, out), (size_t)1);
    struct arena a;
    struct slab s = {.pool = m->pool,
                     .from = from,
                     .to = to,
                     .cols = cols,
                     .rows_each = (size_t)t->dims[1],
                     .src = t->data};
    arena_init(&a);
    enum err r = importance_of(m, t, &a, &s.importance, e);
    s.dst = mem_alloc(MIN(step, n_rows) * out);
    s.rows = mem_alloc((size_t)os_pool_threads(m->pool) * cols * sizeof(float));
    for (; r == ERR_OK && s.row < n_rows; s.row += s.n) {
        s.n = MIN(step, n_rows - s.row);
        os_pool_run(m->pool, quant_some, &s);
        r = gguf_write_data(m->w, s.dst, s.n * out, e);
        gguf_forget(m->g, t, s.row * in, s.n * in);
    }
    m->result->matrix_elems += cols * n_rows;
    m->result->matrix_bytes += out * n_rows;
    mem_free(s.dst);
    mem_free(s.rows);
    arena_done(&a);
    return r;
}

static enum err put_tensors(struct maker *m, struct errinfo *e)
{
    const size_t n = gguf_n_tensors(m->g);
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(m->g, i);
        int from = format_of(t->type), to = m->to[i];
        if (to >= 0) {
            TRY(put_matrix(m, t, (enum format)to, e));
            m->result->n_made++;
        } else {
            TRY(gguf_write_data(m->w, t->data, t->bytes, e));
            gguf_forget(m->g, t, 0, t->bytes);
            m->result->n_kept++;
        }
        if (m->o->progress && from >= 0 &&
            !m->o->progress(m->o->arg, t, (enum format)from, (enum format)(to >= 0 ? to : from),
                            i + 1, n))
            return err_set(e, ERR_CANCELLED, "stopped after %zu of %zu tensors; nothing is left",
                           i + 1, n);
    }
    return ERR_OK;
}

static enum err make(struct maker *m, struct errinfo *e)
{
    TRY(decide(m, e));
    TRY(put_head(m, e));
    TRY(put_tensors(m, e));
    TRY(gguf_write_end(m->w, e));
    m->result->bytes_in = gguf_file_bytes(m->g);
    m->result->bytes_out = gguf_write_bytes(m->w);
    return ERR_OK;
}

enum err quant_file(const char *in, const char *out, const struct quant_opts *o,
                    struct quant_result *result, struct errinfo *e)
{
    struct maker m = {.o = o, .row = row_of(o->type), .result = result};
    CHECK(m.row);
    *result = (struct quant_result){0};
    enum err r = hf_open(&m.g, in, e);
    if (r == ERR_OK && o->imatrix)
        r = quant_imatrix_open(&m.im, o->imatrix, e);
    if (r == ERR_OK)
        r = gguf_write_new(&m.w, out, e);
    if (r == ERR_OK) {
        m.pool = os_pool_new(o->n_threads);
        r = make(&m, e);
        os_pool_free(m.pool);
    }
    gguf_write_free(m.w);
    if (m.im.gguf)
        quant_imatrix_close(&m.im);
    gguf_close(m.g);
    mem_free(m.to);
    return r;
}
