/* SPDX-License-Identifier: MIT
 * npu_int.h - what the files of this module share and nobody else needs. */
#ifndef NPU_NPU_INT_H
#define NPU_NPU_INT_H

#include "npu/npu_chip.h"
#include "npu/npu_dram.h"
#include "npu/npu_work.h"

double npu_field_otherwise(enum npu_field f);

/* The benchmarks' networks, into an empty list. */
void npu_make_resnet50(struct npu_work *w);
void npu_make_mobilenet(struct npu_work *w);
void npu_make_ssd_mobilenet(struct npu_work *w);
void npu_make_ssd_resnet34(struct npu_work *w);
void npu_make_bert(struct npu_work *w);

#endif
