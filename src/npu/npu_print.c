/* SPDX-License-Identifier: MIT
 * npu_print.c - the disassembler. */
#include "npu/npu_prog.h"

static const char *const kinds[] = {"open", "await", "load", "matrix", "vector", "store"};
static const char *const queues[] = {"load", "matrix", "vector", "store"};
static const char *const levels[] = {"here", "shared", "memory", "peer"};
static const char *const bases[] = {"weight", "in", "in2", "out"};
static const char *const sems[] = {"",       "w-free", "a-free", "r-free", "place",
                                   "w-full", "a-full", "r-full", "o-free", "t-free",
                                   "o-full", "p-full", "v-free", "s-full", "half"};

static void print_cmd(const struct npu_cmd *c, struct str *out)
{
    str_addf(out, "    %-7s", kinds[c->kind]);
    bool crosses = c->kind == NPU_CMD_STORE && c->level == NPU_PEER;
    if (crosses)
        str_addf(out, " %llu B to other chips, %llu ps", (unsigned long long)c->bytes,
                 (unsigned long long)c->addr);
    else if (c->kind == NPU_CMD_LOAD || c->kind == NPU_CMD_STORE)
        str_addf(out, " %llu B %s %s+%llx sram %x..%x", (unsigned long long)c->bytes,
                 levels[c->level], bases[c->base], (unsigned long long)c->addr, c->sram,
                 c->sram + c->size);
    if (c->kind == NPU_CMD_STORE && c->last)
        str_addf(out, " last");
    if (c->kind == NPU_CMD_LOAD && c->key)
        str_addf(out, " %s tile %u", c->first ? "brings" : "shares", c->key);
    if (c->kind == NPU_CMD_MATRIX)
        str_addf(out, " %u x %u x %u%s%s sram %x..%x", c->m, c->k, c->n, c->first ? " first" : "",
                 c->last ? " last" : "", c->sram, c->sram + c->size);
    if (c->kind == NPU_CMD_VECTOR)
        str_addf(out, " %u passes sram %x..%x", c->m, c->sram, c->sram + c->size);
    if (c->pieces > 1)
        str_addf(out, " in %u pieces", c->pieces);
    if (c->kind == NPU_CMD_AWAIT && c->bytes)
        str_addf(out, " then %llu ns", (unsigned long long)c->bytes);
    for (int i = 0; i < 3; i++)
        if (c->take[i] != NPU_NO_SEM)
            str_addf(out, " -%s", sems[c->take[i]]);
    for (int i = 0; i < 3; i++)
        if (c->give[i] != NPU_NO_SEM)
            str_addf(out, " +%s", sems[c->give[i]]);
    str_add_char(out, '\n');
}

void npu_prog_print(const struct npu_prog *p, int op, struct str *out)
{
    for (size_t i = 0; i < p->n_steps; i++) {
        const struct npu_step *s = &p->steps[i];
        const struct npu_op *o = &p->work->ops[s->op];
        if (op >= 0 && (uint32_t)op != s->op)
            continue;
        str_addf(out, "step %zu: operation %u, %s %llu x %llu x %llu, weights at %llx\n", i, s->op,
                 o->name, (unsigned long long)o->m, (unsigned long long)o->k,
                 (unsigned long long)o->n, (unsigned long long)s->base[NPU_BASE_WEIGHT]);
        for (unsigned core = 0; core < p->cores; core++)
            for (int q = 0; q < NPU_N_QUEUES; q++) {
                const uint32_t *from = &s->segment->from[core * NPU_N_QUEUES + (unsigned)q];
                if (from[0] < from[1])
                    str_addf(out, "  core %u, %s\n", core, queues[q]);
                for (uint32_t c = from[0]; c < from[1]; c++)
                    print_cmd(&s->segment->cmds[c], out);
            }
    }
}
