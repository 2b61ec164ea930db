/* SPDX-License-Identifier: MIT
 * Commands changed by any bytes: the proof refuses them, or the engine runs them to their end. */
#include "npu/npu_run.h"

#include "base/num.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char chip_text[] =
    "name: fuzz\ntitle: fuzz\nvendor: fuzz\nchip: {node_nm: 7}\nclock: {mhz: 1000}\n"
    "core: {count: 2, sram_kib: 64, keep: 0.2, link_bytes: 64, acc_kib: 16}\n"
    "matrix: {kind: dot, rows: 8, cols: 8, depth: 8, rate: {int8: 1}}\n"
    "vector: {lanes: 32, macs: 32}\nnoc: {bytes: 128, multicast: 1}\n"
    "dram: {type: ddr4, gb: 8, channels: 1, bits: 64, mtps: 3200}\nhost: {gb_s: 10}\n"
    "power: {tdp_w: 20, static_w: 2}\n";

/* A convolution with a residual: all queues have work. */
static struct npu_work *make_work(void)
{
    struct npu_work *w = npu_work_new("fuzz", 1, NPU_INT8);
    int in = npu_work_tensor(w, 200 * 96), add = npu_work_tensor(w, 200 * 80);
    struct npu_op *op = npu_work_op(w, NPU_MATMUL, "fuzz", -1, in, npu_work_tensor(w, 200 * 80));
    op->in2 = add;
    op->passes = 1;
    op->m = 200;
    op->k = 96;
    op->n = 80;
    npu_work_done(w);
    return w;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct npu_chip *c;
    struct npu_prog *p;
    struct errinfo e;
    CHECK(npu_chip_parse(&c, chip_text, sizeof chip_text - 1, "fuzz", &e) == ERR_OK);
    struct npu_work *w = make_work();
    CHECK(npu_compile(&p, w, c, 2, 1, &e) == ERR_OK);
    struct npu_segment s = *p->steps[0].segment;
    struct npu_cmd *cmds = mem_alloc(s.n_cmds * sizeof *cmds);
    memcpy(cmds, s.cmds, s.n_cmds * sizeof *cmds);
    s.cmds = cmds;
    for (size_t i = 0; i + 4 <= size; i += 4) { /* which command, which byte, what */
        size_t at = (data[i] | (size_t)data[i + 1] << 8) % s.n_cmds;
        ((unsigned char *)&cmds[at])[data[i + 2] % sizeof *cmds] ^= data[i + 3];
    }
    for (size_t i = 0; i < s.n_cmds; i++) { /* a bool has two values */
        unsigned char *b = (unsigned char *)&cmds[i];
        b[offsetof(struct npu_cmd, first)] &= 1;
        b[offsetof(struct npu_cmd, last)] &= 1;
        for (int k = 0; k < 3; k++) { /* of semaphores that there are, bits are known */
            cmds[i].take[k] %= NPU_N_SEMS;
            cmds[i].give[k] %= NPU_N_SEMS;
        }
        npu_cmd_tally(&cmds[i]);
    }
    if (npu_check_segment(p, &s, 0, &e) == ERR_OK) {
        struct npu_step steps[8]; /* enough for some to be moved over as repetitions */
        struct npu_timing_of t = {0};
        for (size_t i = 0; i < N_ELEMS(steps); i++) {
            steps[i] = p->steps[0];
            steps[i].segment = &s;
        }
        struct npu_prog several = *p;
        several.steps = steps;
        several.n_steps = N_ELEMS(steps);
        npu_time(&t, &several, 1 + (unsigned)size / 4 % 2, 2, NULL, NULL);
    }
    mem_free(cmds);
    npu_prog_free(p);
    npu_work_free(w);
    npu_chip_free(c);
    return 0;
}
