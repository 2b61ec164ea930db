/* SPDX-License-Identifier: MIT
 * chip_trace.c - damso chip trace: what each queue of each core does when, in Chrome's trace
 * format, which Perfetto opens.  A core is a process, a queue a lane; the link to other chips is a
 * lane of the first core.  Times are microseconds of the chip, at the clock that its power allows.
 */
#include "app/chip.h"

#include "base/num.h"

#include <stdio.h>
#include <string.h>

struct trace {
    FILE *out;
    const struct npu_work *work;
    unsigned first;    /* process of the chip's first core */
    double begin;      /* of the chip's stage, us */
    double tick;       /* us of a ps at its full clock */
    int64_t op, cores; /* only of this operation (-1: all); of so many cores */
    uint64_t n, most, left_out;
};

static void on_command(void *arg, unsigned core, enum npu_queue queue, const struct npu_cmd *c,
                       uint32_t op, uint64_t from, uint64_t to)
{
    struct trace *t = arg;
    int lane = chip_lane(queue, c);
    bool moves = c->kind == NPU_CMD_LOAD || c->kind == NPU_CMD_STORE;
    if (c->kind == NPU_CMD_OPEN || core >= t->cores || (t->op >= 0 && op != (uint64_t)t->op) ||
        (moves && c->level == NPU_HERE) || from == to)
        return;
    if (t->n >= t->most) {
        t->left_out++;
        return;
    }
    fprintf(t->out,
            "%s{\"ph\":\"X\",\"pid\":%u,\"tid\":%d,\"ts\":%.6f,\"dur\":%.6f,\"cat\":\"%s\","
            "\"name\":\"%s",
            t->n++ ? ",\n" : "", t->first + core, lane, t->begin + (double)from * t->tick,
            (double)(to - from) * t->tick, chip_lane_name(lane),
            c->kind == NPU_CMD_AWAIT ? "await " : "");
    fprintf(t->out, "%s\",\"args\":{\"operation\":%u", t->work->ops[op].name, op);
    if (moves)
        fprintf(t->out, ",\"bytes\":%llu,\"%s\":\"%s\"", (unsigned long long)c->bytes,
                c->kind == NPU_CMD_LOAD ? "from" : "to",
                lane == CHIP_LANE_LINK   ? "other chips"
                : c->level == NPU_MEMORY ? "memory"
                                         : "network");
    if (c->kind == NPU_CMD_MATRIX)
        fprintf(t->out, ",\"m\":%u,\"k\":%u,\"n\":%u", c->m, c->k, c->n);
    fputs("}}", t->out);
}

/* chip < 0: it is the only one. */
static void name_lanes(struct trace *t, const struct npu_chip *c, unsigned cores, int chip)
{
    char name[80];
    snprintf(name, sizeof name, chip < 0 ? "%s" : "%s %d", c->name, chip);
    for (unsigned core = 0; core < cores && core < t->cores; core++) {
        unsigned pid = t->first + core;
        fprintf(t->out,
                "%s{\"ph\":\"M\",\"pid\":%u,\"name\":\"process_name\",\"args\":{\"name\":\"%s core "
                "%u\"}}",
                pid ? ",\n" : "", pid, name, core);
        for (int q = 0; q < (chip >= 0 && core == 0 ? CHIP_LANES : NPU_N_QUEUES); q++)
            fprintf(t->out,
                    ",\n{\"ph\":\"M\",\"pid\":%u,\"tid\":%d,\"name\":\"thread_name\","
                    "\"args\":{\"name\":\"%s\"}}",
                    pid, q, chip_lane_name(q));
    }
}

static void run_chip(struct trace *t, const struct npu_work *w, const struct npu_answer *a)
{
    struct npu_timing_of timing = {0};
    t->work = w;
    t->tick = npu_answer_s(a, 1) * 1e6;
    npu_time(&timing, a->prog, 1, 1, on_command, t);
}

/* Each chip beside the other, those of a stage from when it begins: of one group of sequences. */
static void run_team(struct trace *t, const struct npu_chip *c, const struct npu_team *team)
{
    unsigned cores = (unsigned)MIN((int64_t)c->v[NPU_CORES], t->cores);
    for (size_t i = 0; i < team->n_chips; i++) {
        t->first = (unsigned)i * cores;
        name_lanes(t, c, cores, (int)i);
    }
    t->n = 1; /* a comma before the next */
    for (size_t i = 0; i < team->n_chips; i++) {
        const struct npu_member *x = &team->member[team->of[i]];
        t->first = (unsigned)i * cores;
        run_chip(t, x->work, &x->answer);
        if (i % team->ranks.tensor == team->ranks.tensor - 1)
            t->begin += team->stage[i / team->ranks.tensor].once_s * 1e6;
    }
}

static enum err write_trace(struct trace *t, const struct npu_chip *c, const struct chip_answer *x,
                            const char *path, struct errinfo *e)
{
    t->out = fopen(path, "w");
    if (!t->out)
        return err_set(e, ERR_IO, "%s cannot be written", path);
    fputs("{\"displayTimeUnit\":\"ns\",\"otherData\":{\"simulated\":\"true\"},\"traceEvents\":[\n",
          t->out);
    if (x->team) {
        run_team(t, c, x->team);
    } else {
        name_lanes(t, c, x->answer.prog->cores, -1);
        t->n = 1;
        run_chip(t, x->work, &x->answer);
    }
    fputs("\n]}\n", t->out);
    bool bad = ferror(t->out) != 0;
    if (fclose(t->out) != 0 || bad)
        return err_set(e, ERR_IO, "%s could not be written to its end", path);
    return ERR_OK;
}

enum err chip_trace(struct cmd_args *a, struct errinfo *e)
{
    const char *name = NULL, *path = NULL;
    int64_t op = 0, cores = 4, most = 1000000;
    struct chip_ask ask = CHIP_ASK_DEFAULT;
    const struct conf_opt opts[] = {
        CHIP_NAME_OPTION(name),
        CHIP_ASK_OPTIONS(ask),
        {.name = "out",
               .letter = 'o',
               .arg = "FILE",
               .text = &path,
               .help = "where the trace goes"        },
        { .name = "op",
               .arg = "N",
               .number = &op,
               .min = 1,
               .max = 1 << 20,
               .help = "of the N-th operation only"},
        {   .name = "cores",
               .arg = "N",
               .number = &cores,
               .min = 1,
               .max = NPU_CORES_MAX,
               .help = "of the first N cores (4)"},
        {     .name = "events",
               .arg = "N",
               .number = &most,
               .min = 1,
               .max = 100000000,
               .help = "at most N commands (1000000)"},
    };
    struct npu_chip *c;
    struct chip_answer x;
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 0, e));
    if (a->done)
        return ERR_OK;
    if (!path)
        return err_set(e, ERR_USAGE, "--out says where the trace goes");
    chip_ask_settings(&ask, &a->conf);
    TRY(chip_begin(&c, &x, name, &ask, e));
    struct trace t = {.op = op - 1, .cores = cores, .most = (uint64_t)most};
    enum err code = write_trace(&t, c, &x, path, e);
    if (code == ERR_OK)
        fprintf(stderr, "%llu commands in %s%s; open it in Perfetto or chrome://tracing\n",
                (unsigned long long)t.n - 1, path, t.left_out ? ", the rest left out" : "");
    chip_end(c, &x);
    return code;
}
