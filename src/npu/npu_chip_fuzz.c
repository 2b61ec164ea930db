/* SPDX-License-Identifier: MIT
 * Any bytes as a chip file: what is read runs a small product within bounds, or is refused. */
#include "npu/npu_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct npu_chip *c;
    struct npu_prog *p;
    struct errinfo e;
    if (npu_chip_parse(&c, data, size, "fuzz", &e) != ERR_OK)
        return 0;
    struct npu_work *w = npu_work_new("fuzz", 1, npu_bench_type(c));
    int in = npu_work_tensor(w, 64 * 96), out = npu_work_tensor(w, 64 * 80);
    struct npu_op *op = npu_work_op(w, NPU_MATMUL, "fuzz", -1, in, out);
    op->m = 64;
    op->k = 96;
    op->n = 80;
    npu_work_done(w);
    unsigned cores = c->v[NPU_CORES] < 16 ? (unsigned)c->v[NPU_CORES] : 16;
    if (npu_chip_rate(c, w->type) > 0 && npu_compile(&p, w, c, cores, 1, &e) == ERR_OK) {
        struct npu_timing_of t = {0};
        if (npu_check(p, &e) != ERR_OK)
            __builtin_trap();
        npu_time(&t, p, 1, 1, NULL, NULL);
        npu_prog_free(p);
    }
    npu_work_free(w);
    npu_chip_free(c);
    return 0;
}
