/* SPDX-License-Identifier: MIT
 * api_metrics.h - what the server counts; any thread. */
#ifndef API_API_METRICS_H
#define API_API_METRICS_H

#include "engine/sched.h"

#include <stdint.h>

struct api_metrics;

struct api_metrics *api_metrics_new(void);
void api_metrics_free(struct api_metrics *m);
/* An answer ended now, at least for its reader; both times by its scheduler's clock. */
void api_metrics_answer(struct api_metrics *m, const struct job *j, uint64_t arrived_ns,
                        uint64_t now);
/* A request was refused or failed, with this status. */
void api_metrics_fault(struct api_metrics *m, int status);

#endif
