/* SPDX-License-Identifier: MIT
 * dev_cpu_pack.h - the weights of a plan as the CPU's matrix kernel wants them.
 *
 * Does: pack every matrix with all threads while the file's own pages leave memory behind it, or
 *       map what an earlier start packed and kept (dev_keep.h).
 * Does not: know how a panel lies in memory: mm.h decides, and the key of what is kept is made from
 *           what mm_pack really does, so that a new layout needs no number to be raised.
 * Owner: the device.  Read-only once it is open. */
#ifndef DEV_DEV_CPU_PACK_H
#define DEV_DEV_CPU_PACK_H

#include "dev/dev.h"
#include "dev/dev_keep.h"
#include "kern/mm.h"
#include "kern/pairs.h"
#include "os/os_pool.h"

struct cpu_pack {
    const struct plan *plan;
    const struct mm_kernel *mm;
    const char *data; /* [bytes]: the matrices in the plan's order; NULL where none is packed */
    size_t bytes;
    void *own;            /* memory that data lies in, or */
    struct dev_kept kept; /* what an earlier start packed */
    struct dev_keep_writer *writer;
};

/* Whether the plan, a picture's, is computed in bfloat16 (pairs.h), and whether its matrix is: one
 * that the file has in 16 bits. */
bool cpu_pairs(const struct plan *p, const struct mm_kernel *mm);
bool cpu_in_pairs(const struct plan *p, const struct mm_kernel *mm, const struct model_matrix *w);

/* Bytes of a plan's packed weights; SIZE_MAX: too large. */
size_t cpu_pack_bytes(const struct plan *p, const struct mm_kernel *mm);

/* Errors: MEMORY.  What is wrong with a kept file goes to the log, and it is packed anew. */
enum err cpu_pack_open(struct cpu_pack *c, const struct plan *p, const struct mm_kernel *mm,
                       const struct dev_opts *o, struct os_pool *pool, struct errinfo *e);
void cpu_pack_close(struct cpu_pack *c);

/* What the kernel reads of the plan's next matrix in order, *at being 0 before the first. */
const void *cpu_pack_next(const struct cpu_pack *c, const struct model_matrix *w, size_t *at);

#endif
