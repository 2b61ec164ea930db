/* SPDX-License-Identifier: MIT
 * cmd_mlperf_verify.c - after a compliance run: the verdict, and its files where the submission
 * rules have them (TEST06/verify_accuracy.txt, accuracy/, performance/run_1/). */
#include "app/cmd_mlperf.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static enum err write_part(struct mlperf_work *w, const char *name, const struct str *text,
                           struct errinfo *e)
{
    if (text->n == 0)
        return ERR_OK;
    fwrite(text->p, 1, text->n, stdout);
    return mlperf_dir_write(arena_printf(&w->arena, "%s/%s", w->report, name), str_span(text), e);
}

/* LoadGen has all its logs in one folder; the rules have that of answers in another. */
static enum err move_answers(const char *from, const char *to, struct errinfo *e)
{
    TRY(os_make_folders(to, 0777, e));
    if (rename(from, to) != 0)
        return err_set(e, ERR_IO, "%.300s: %s", to, strerror(errno));
    return ERR_OK;
}

enum err mlperf_verify(struct mlperf_work *w, struct errinfo *e)
{
    struct arena *a = &w->arena;
    struct mlperf_audit_out out;
    const char *logged = arena_printf(a, "%s/mlperf_log_accuracy.json", w->logs),
               *kept = arena_printf(a, "%s/accuracy/mlperf_log_accuracy.json", w->report);
    const struct mlperf_audit_in in = {
        .answers = logged,
        .detail = arena_printf(a, "%s/mlperf_log_detail.txt", w->logs),
        .accuracy_answers = arena_printf(a, "%s/accuracy/mlperf_log_accuracy.json", w->place),
        .performance_detail = arena_printf(a, "%s/performance/run_1/mlperf_log_detail.txt",
                                           w->place),
        .offline = strcmp(w->scenario, "Offline") == 0,
        .token_bytes = w->bench->token_bytes,
        .ends = w->ends,
        .n_vocab = engine_model(w->model.engine)->n_vocab};
    enum err r = mlperf_audit_check(w->test, &in, &out, e);
    if (r == ERR_OK)
        r = write_part(w, "verify_accuracy.txt", &out.accuracy, e);
    if (r == ERR_OK)
        r = write_part(w, "verify_performance.txt", &out.performance, e);
    if (r == ERR_OK)
        r = write_part(w, "verify_output_len.txt", &out.lengths, e);
    if (r == ERR_OK && w->test->logged)
        r = move_answers(logged, kept, e);
    if (r == ERR_OK && !out.passed)
        r = err_set(e, ERR_FAILED, "%s: it does not pass (%.300s)", w->test->name, w->report);
    mlperf_audit_done(&out);
    return r;
}
