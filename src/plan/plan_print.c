/* SPDX-License-Identifier: MIT
 * plan_print.c - a plan as text, one line an operation. */
#include "plan/plan.h"

static const char *const kind_names[PLAN_KIND_N] = {
#define OP(kind, name, text) [PLAN_##kind] = name,
#include "plan/plan_op.def"
#undef OP
};

static const char *const buf_names[PLAN_BUF_N] = {
    [PLAN_X] = "x",
    [PLAN_NORMED] = "normed",
    [PLAN_Q] = "q",
    [PLAN_K] = "k",
    [PLAN_V] = "v",
    [PLAN_MIX] = "mix",
    [PLAN_GATE] = "gate",
    [PLAN_UP] = "up",
    [PLAN_Q_LOW] = "q_low",
    [PLAN_Q_HEADS] = "q_heads",
    [PLAN_INDEX_Q] = "index_q",
    [PLAN_INDEX_K] = "index_k",
    [PLAN_INDEX_WEIGHTS] = "index_weights",
    [PLAN_KV_LOW] = "kv_low",
    [PLAN_KV_HEADS] = "kv_heads",
    [PLAN_VALUES] = "values",
    [PLAN_DELTA] = "delta",
    [PLAN_SCORES] = "scores",
    [PLAN_EXPERTS_IN] = "experts_in",
    [PLAN_SHARE] = "share",
    [PLAN_SHARED] = "shared",
    [PLAN_Q_GATE] = "q_gate",
    [PLAN_INPUTS] = "inputs",
    [PLAN_INPUTS_EMBED] = "inputs_embed",
    [PLAN_INPUT] = "input",
    [PLAN_STREAMS] = "streams",
    [PLAN_MODES] = "modes",
    [PLAN_COEFS] = "coefs",
    [PLAN_LAUREL] = "laurel",
    [PLAN_CONV_IN] = "conv_in",
    [PLAN_CONV_OUT] = "conv_out",
    [PLAN_Z] = "z",
    [PLAN_Z_LOW] = "z_low",
    [PLAN_STATE_B] = "b",
    [PLAN_STATE_C] = "c",
    [PLAN_STEPS_LOW] = "steps_low",
    [PLAN_STEPS] = "steps",
    [PLAN_BETA] = "beta",
    [PLAN_Y] = "y",
    [PLAN_SHIFTED] = "shifted",
    [PLAN_LERPED] = "lerped",
    [PLAN_LERP_BY] = "lerp_by",
    [PLAN_LOW] = "low",
    [PLAN_STATE_R] = "r",
    [PLAN_STATE_K] = "state_k",
    [PLAN_STATE_V] = "state_v",
    [PLAN_V_SHARE] = "v_share",
    [PLAN_V_FIRST] = "v_first",
    [PLAN_SCALED] = "scaled",
    [PLAN_SPREAD_IN] = "spread_in",
    [PLAN_SPREAD_GATE] = "spread_gate",
    [PLAN_SPREAD_UP] = "spread_up",
    [PLAN_SPREAD_OUT] = "spread_out",
    [PLAN_PICKED] = "picked",
    [PLAN_PICKED_MIX] = "picked_mix",
    [PLAN_PICKED_Y] = "picked_y",
    [PLAN_PATCHES] = "patches",
    [PLAN_SOFT] = "soft",
    [PLAN_PICKED_INPUT] = "picked_input",
    [PLAN_LOGITS] = "logits",
};

const char *plan_kind_name(enum plan_kind k)
{
    CHECK((unsigned)k < PLAN_KIND_N);
    return kind_names[k];
}

const char *plan_buf_name(enum plan_buf b)
{
    CHECK((unsigned)b < PLAN_BUF_N);
    return buf_names[b];
}

static void print_matrix(const struct model_matrix *w, struct str *out)
{
    str_addf(out, "%.*s %s[%zu][%zu]", (int)w->name.n, w->name.p, format_info(w->format)->name,
             w->rows, w->cols);
}

static void print_parts(const struct plan_op *op, struct str *out)
{
    for (int i = 0; i < op->n_parts; i++) {
        str_addf(out, "%s%s", i ? ", " : "", buf_names[op->part[i].dst]);
        if (op->part[i].at)
            str_addf(out, "[%zu]", op->part[i].at);
        str_addf(out, " %s ", op->add ? "+=" : "=");
        print_matrix(op->part[i].weight, out);
        str_addf(out, " x %s%s", buf_names[op->src], op->part[i].bias ? " + bias" : "");
    }
    if (op->kind == PLAN_EXPERTS)
        str_addf(out, ", each row with its own of %zu", op->n_experts);
    if (op->kind == PLAN_HEADS)
        str_addf(out, ", each of %zu heads with its own", op->n_groups);
}

static void print_attend(const struct model *m, const struct plan_op *op, struct str *out)
{
    const struct model_layer *l = &m->layers[op->layer];
    str_addf(out, "%s = softmax(%s K * %g) V, %zu heads on %zu", buf_names[op->dst],
             buf_names[op->src], (double)op->by, l->n_head, l->n_kv_head);
    if (op->window)
        str_addf(out, ", %s %u", m->arch->flags & MODEL_CHUNKS ? "chunk" : "window", op->window);
    str_addf(out, m->bidirectional ? ", both ways" : "");
    if (op->cap > 0)
        str_addf(out, ", cap %g", (double)op->cap);
    if (m->alibi > 0)
        str_addf(out, ", slopes from 2^(-%g / heads)", (double)m->alibi);
    if (op->grow_from)
        str_addf(out, ", grown beyond %zu", op->grow_from);
    str_addf(out, op->sinks ? ", sinks" : "");
    if (op->n)
        str_addf(out, ", %zu positions at most", op->n);
}

static void print_norm(const struct model *m, const struct plan_op *op, struct str *out)
{
    str_addf(out, "%s = %s(%s) * gain%s, %zu x %zu, eps %g", buf_names[op->dst],
             model_norm_mean(m, op->norm) ? "mean" : "rms", buf_names[op->src],
             op->norm->bias ? " + bias" : "", op->n_groups, op->n, (double)op->by);
}

static void print_embed(const struct plan_op *op, struct str *out)
{
    str_addf(out, "%s = ", buf_names[op->dst]);
    if (!op->table) {
        str_addf(out, "%zu numbers of the row", op->n);
        return;
    }
    print_matrix(op->table, out);
    str_addf(out, " [token] * %g", (double)op->by);
}

static void print_mixer(const struct model *m, const struct plan_op *op, struct str *out)
{
    const struct model_mixer_sizes *s = &m->mixer;
    str_addf(out, "%s = ", buf_names[op->dst]);
    switch (op->kind) {
    case PLAN_CONV: str_addf(out, "%zu taps of %zu of", s->taps, op->mixer->n_conv); break;
    case PLAN_SCAN: str_addf(out, "%zu of %zu by", s->state, s->inner); break;
    default: str_addf(out, "%zu heads of %zu x %zu by", s->heads, s->state, s->inner / s->heads);
    }
    if (!op->n_in)
        str_addf(out, " %s", buf_names[op->src]);
    for (int k = 0; k < op->n_in; k++)
        str_addf(out, "%s %s[%zu]", k ? "," : "", buf_names[op->in[k].buf], op->in[k].at);
    str_addf(out, ", state at %zu", op->state);
}

static void print_lerp(const struct plan_op *op, struct str *out)
{
    const char *dst = buf_names[op->dst], *src = buf_names[op->src], *src2 = buf_names[op->src2];
    switch (op->kind) {
    case PLAN_SHIFT:
        str_addf(out, "%s = %s of the token before - %s, %zu, state at %zu", dst, src, src, op->n,
                 op->state);
        break;
    case PLAN_LERP:
        str_addf(out, "%s = %s + %s * numbers, %zu", dst, src, src2, op->n);
        if (op->n_in)
            str_addf(out, ", and %s[%zu]", buf_names[op->in[0].buf], op->in[0].at);
        break;
    case PLAN_BLEND: str_addf(out, "%s += (%s - %s) * sigmoid(%s)", dst, src, dst, src2); break;
    default: str_addf(out, "%s = sigmoid(%s), %zu", dst, dst, op->n); break;
    }
}

static void print_scale(const struct plan_op *op, struct str *out)
{
    str_addf(out, "%s *= ", buf_names[op->dst]);
    if (op->numbers)
        str_addf(out, "its expert's scale");
    else
        str_addf(out, "%g", (double)op->by);
}

static void print_link(const struct plan_op *op, struct str *out)
{
    const char *dst = buf_names[op->dst], *src = buf_names[op->src];
    switch (op->kind) {
    case PLAN_GATHER:
        str_addf(out, "%s[%zu], each rank's part%s", dst, op->n,
                 op->to_first ? ", to the first" : "");
        break;
    case PLAN_SEND: str_addf(out, "%s to the next stage", src); break;
    default: str_addf(out, "%s of the stage before", dst); break;
    }
}

static void print_streams(const struct plan_op *op, struct str *out)
{
    const char *dst = buf_names[op->dst], *src = buf_names[op->src], *src2 = buf_names[op->src2];
    switch (op->kind) {
    case PLAN_SIZE: str_addf(out, "%s *= size of %s / its own", dst, src); break;
    case PLAN_PREDICT: str_addf(out, "%s += %s of %s", dst, src, dst); break;
    case PLAN_CORRECT:
        str_addf(out, "%s += (%s - %s[0]) * (1 + %s); %s = %s[0]%s", dst, src2, dst, src, src2, dst,
                 op->numbers ? " * scale" : "");
        break;
    case PLAN_SPARSE:
        str_addf(out, "%s = what is above mean + %g deviations", dst, (double)op->by);
        break;
    default: break;
    }
}

static void print_glu(const struct plan_op *op, struct str *out)
{
    static const char *const acts[MODEL_ACT_N] = {"silu",  "gelu",       "gelu_erf",
                                                  "relu2", "swiglu_oai", "xielu"};
    str_addf(out, "%s = %s(%s)", buf_names[op->dst], acts[op->act], buf_names[op->src]);
    str_addf(out, "%s%s, %zu", op->alone ? "" : " * ", op->alone ? "" : buf_names[op->src2], op->n);
    if (op->src2_at)
        str_addf(out, " from %zu on", op->src2_at);
}

static void print_route(const struct model *m, const struct plan_op *op, struct str *out)
{
    static const char *const gatings[] = {"softmax", "sigmoid", "softmax of those",
                                          "softmax of those near the best"};
    str_addf(out, "%zu of %zu by %s%s * %g, %s", m->n_chosen, m->n_expert, buf_names[op->src],
             op->bias ? " + bias" : "", (double)m->experts_scale, gatings[m->gating]);
}

static void print_rope(const struct model *m, const struct plan_op *op, struct str *out)
{
    str_addf(out, "%s%s%s by position, %zu of %zu, %s", buf_names[op->dst], op->alone ? "" : ", ",
             op->alone ? "" : buf_names[op->src], op->angles->n_rot, op->to.stride,
             op->turn == MODEL_PAIR ? "pairs" : "halves");
    str_addf(out, op->angles == &m->angles ? "" : ", local base");
}

static void print_op(const struct plan *p, const struct plan_op *op, struct str *out)
{
    const struct model *m = p->model;
    const char *dst = buf_names[op->dst], *src = buf_names[op->src], *src2 = buf_names[op->src2];
    switch (op->kind) {
    case PLAN_EMBED: print_embed(op, out); break;
    case PLAN_POOL:
        str_addf(out, "%s = mean of squares of %zu x %zu of %s, %zu x %zu", dst, op->square,
                 op->square, src, op->grid, op->grid);
        break;
    case PLAN_POSITION:
        str_addf(out, "%s += ", dst);
        print_matrix(op->table, out);
        str_addf(out, " [position]");
        break;
    case PLAN_TYPE: str_addf(out, "%s += the row's of %zu token types", dst, m->n_types); break;
    case PLAN_PICK: str_addf(out, "%s = %s [wanted rows]", dst, src); break;
    case PLAN_NORM: print_norm(m, op, out); break;
    case PLAN_EXPERTS:
    case PLAN_HEADS:
    case PLAN_MATMUL: print_parts(op, out); break;
    case PLAN_CLAMP: str_addf(out, "%s within %g", dst, (double)op->by); break;
    case PLAN_ROPE: print_rope(m, op, out); break;
    case PLAN_COPY:
        str_addf(out, "%s[%zu + %zu i] = %s[%zu + %zu i], %zu of %zu", dst, op->to.at,
                 op->to.stride, src, op->from.at, op->from.stride, op->n, op->n_groups);
        break;
    case PLAN_SIZE:
    case PLAN_PREDICT:
    case PLAN_CORRECT:
    case PLAN_SPARSE: print_streams(op, out); break;
    case PLAN_TEMPER:
        str_addf(out, "%s *= 1 + %g ln(1 + position / %zu)", dst, (double)m->temper,
                 m->temper_length);
        break;
    case PLAN_STORE: str_addf(out, "pages = %s, %s", src, src2); break;
    case PLAN_STORE_INDEX: str_addf(out, "pages of index keys = %s", src); break;
    case PLAN_INDEX:
        str_addf(out, "%zu positions by the sum of %s * max(%s index K, 0), %zu heads", op->n, src2,
                 src, m->index_heads);
        break;
    case PLAN_ATTEND: print_attend(m, op, out); break;
    case PLAN_GLU: print_glu(op, out); break;
    case PLAN_MUL: str_addf(out, "%s *= %s%s", dst, op->sigmoid ? "sigmoid of " : "", src); break;
    case PLAN_CONV:
    case PLAN_SCAN:
    case PLAN_WKV:
    case PLAN_DELTARULE: print_mixer(m, op, out); break;
    case PLAN_ADD: str_addf(out, "%s += %s * %g", dst, src, (double)op->by); break;
    case PLAN_SCALE: print_scale(op, out); break;
    case PLAN_SOFTCAP:
        str_addf(out, "%s = %g tanh(%s / %g)", dst, (double)op->by, src, (double)op->by);
        break;
    case PLAN_WEIGH: str_addf(out, "%s *= sigmoid(%s)", dst, src); break;
    case PLAN_ROUTE: print_route(m, op, out); break;
    case PLAN_SPREAD: str_addf(out, "%s = %s, a row an expert", dst, src); break;
    case PLAN_SHIFT:
    case PLAN_LERP:
    case PLAN_BLEND:
    case PLAN_SIGMOID: print_lerp(op, out); break;
    case PLAN_GATHER:
    case PLAN_SEND:
    case PLAN_RECEIVE: print_link(op, out); break;
    case PLAN_COMBINE: str_addf(out, "%s = sum of %s by weight", dst, src); break;
    case PLAN_KIND_N: break;
    }
}

static const char *const rows_names[] = {
    [PLAN_ROWS_ALL] = "all", [PLAN_ROWS_WANTED] = "wanted", [PLAN_ROWS_OUT] = "out"};

void plan_print(const struct plan *p, struct str *out)
{
    str_addf(out, "# %zu operations;", p->n_ops);
    if (p->state_floats)
        str_addf(out, " a sequence's state is %zu floats;", p->state_floats);
    str_addf(out, " a row's work area is %zu floats:", p->row_floats);
    for (int b = 0; b < PLAN_BUF_N; b++)
        if (p->width[b] && b != PLAN_LOGITS)
            str_addf(out, " %s[%zu] at %zu", buf_names[b], p->width[b], p->place[b]);
    str_add_char(out, '\n');
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        str_addf(out, "%4zu ", i);
        if (op->layer >= 0)
            str_addf(out, "layer %-3d ", op->layer);
        else
            str_addf(out, "%-10s", rows_names[op->rows]);
        str_addf(out, "%-8s ", kind_names[op->kind]);
        print_op(p, op, out);
        str_add_char(out, '\n');
    }
}
