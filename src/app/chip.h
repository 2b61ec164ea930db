/* SPDX-License-Identifier: MIT
 * chip.h - what the commands of `damso chip` share: chips by name, workloads by name, answers as
 * text and JSON. */
#ifndef APP_CHIP_H
#define APP_CHIP_H

#include "app/cmd.h"
#include "npu/npu_team.h"

#include <jansson.h>
#include <stdio.h>

#define CMD(name, usage, help) cmd_fn chip_##name;
#include "app/chip.def"
#undef CMD

/* A file's path, or the name of a chip that the program carries (chips/NAME.yaml).  NOTFOUND has
 * the list. */
enum err chip_open(struct npu_chip **out, const char *name, struct errinfo *e);
/* The carried chips in order of their names; NULL behind the last. */
const char *chip_name(size_t i);

#define CHIP_NAME_OPTION(to)                                                                       \
    {                                                                                              \
        .name = "chip", .letter = 'c', .arg = "CHIP", .text = &(to),                               \
        .help = "a chip file, or the name of one that comes along"                                 \
    }

/* What is asked of a chip, from the command line. */
struct chip_ask {
    const char *workload, *scenario, *phase, *format, *collective;
    int64_t batch, context, in_flight;
    int64_t chips;     /* --chips and --split of the settings (chip_ask_settings); 0: as 1 */
    const char *split; /* NULL: tensor */
    bool quiet;        /* looks for no number of chips that would be enough */
};

/* The options that fill it in. */
#define CHIP_ASK_OPTIONS(a)                                                                        \
    {.name = "workload",                                                                           \
     .letter = 'w',                                                                                \
     .arg = "W",                                                                                   \
     .text = &(a).workload,                                                                        \
     .help = "resnet50, mobilenet, ssd-mobilenet, ssd-resnet34, bert-large-384, a GGUF file or a " \
             "config.json"},                                                                       \
        {.name = "scenario",                                                                       \
         .arg = "S",                                                                               \
         .text = &(a).scenario,                                                                    \
         .help = "of a benchmark: SingleStream, MultiStream8 or Offline"},                         \
        {.name = "phase",                                                                          \
         .arg = "P",                                                                               \
         .text = &(a).phase,                                                                       \
         .help = "of a language model: prefill or decode"},                                        \
        {.name = "format",                                                                         \
         .arg = "F",                                                                               \
         .text = &(a).format,                                                                      \
         .help = "of a language model's weights: bf16, fp8, int8 or int4"},                        \
        {.name = "collective",                                                                     \
         .arg = "C",                                                                               \
         .text = &(a).collective,                                                                  \
         .help = "of several chips: gather, whose tokens are those of one, or reduce, as most "    \
                 "software of chips does it"},                                                     \
        {.name = "in-flight",                                                                      \
         .arg = "G",                                                                               \
         .number = &(a).in_flight,                                                                 \
         .min = 1,                                                                                 \
         .max = 4096,                                                                              \
         .help = "of several stages: the batch in G groups, one behind the other"},                \
        {.name = "batch",                                                                          \
         .arg = "N",                                                                               \
         .number = &(a).batch,                                                                     \
         .min = 1,                                                                                 \
         .max = 4096,                                                                              \
         .help = "sequences (inputs of a benchmark, instead of its chip's own)"},                  \
    {                                                                                              \
        .name = "context", .arg = "N", .number = &(a).context, .min = 1, .max = 1 << 20,           \
        .help = "positions: to read in prefill, behind the token in decode"                        \
    }
#define CHIP_ASK_DEFAULT                                                                           \
    (struct chip_ask)                                                                              \
    {                                                                                              \
        .scenario = "Offline", .phase = "decode", .format = "bf16", .collective = "gather",        \
        .context = 1024, .in_flight = 1                                                            \
    }

/* Takes --chips and --split. */
void chip_ask_settings(struct chip_ask *a, const struct conf *c);
/* "tensor", "pipeline", "4x2" or "auto", of n chips; auto: tensor is 0.  USAGE names what is wrong.
 */
enum err chip_split_read(struct plan_ranks *out, const char *split, size_t n, struct errinfo *e);

/* The answer with its work, which chip_done frees. */
struct chip_answer {
    struct npu_answer answer; /* of several chips: all of them, */
    struct npu_work *work;    /* and a chip's of the slowest stage, both the team's */
    struct npu_team *team;    /* NULL: one chip */
    bool language;            /* a language model */
    bool prefill;
    enum npu_type format;
};

/* Chips that answer together. */
static inline size_t chip_n(const struct chip_answer *a)
{
    return a->team ? a->team->n_chips : 1;
}

enum err chip_answer(struct chip_answer *out, const struct npu_chip *c, const struct chip_ask *ask,
                     struct errinfo *e);
void chip_done(struct chip_answer *a);
/* Used by chip_answer: the same on ask->chips chips, whose split may be auto (chip_team.c). */
enum err chip_team_run(struct chip_answer *out, const struct model *m, const struct npu_chip *c,
                       const struct chip_ask *ask, struct npu_team_ask *t, struct errinfo *e);
/* Says in an error of too little memory how many chips would have enough, the fewest, split by
 * matrices as far as that goes. */
enum err chip_team_smallest(const struct model *m, const struct npu_chip *c,
                            const struct chip_ask *ask, struct npu_team_ask *t, struct errinfo *e);
/* Opens the chip and has it answer: what a command on one chip begins with.  USAGE: name is NULL.
 * chip_end ends both. */
enum err chip_begin(struct npu_chip **c, struct chip_answer *out, const char *name,
                    const struct chip_ask *ask, struct errinfo *e);
void chip_end(struct npu_chip *c, struct chip_answer *a);

/* Has a changed chip answer the same; what it gives is for chip_done. */
typedef enum err chip_asker(struct chip_answer *out, const struct npu_chip *c, void *arg,
                            struct errinfo *e);
/* How far an answer may be off by what the chip's file assumes: {"latency_ms": [low, high],
 * "per_s": .., "joules": .., "per_s_by": {key: the largest share either end makes}}; the caller's.
 * n_chips: that answer together. */
json_t *chip_range(struct npu_chip *c, size_t n_chips, const struct npu_answer *nominal,
                   chip_asker *asker, void *arg);

/* One object, as docs/CHIPS.md describes it; the caller's. */
json_t *chip_json(const struct npu_chip *c, const struct chip_ask *ask,
                  const struct chip_answer *a);
/* Names of assumed numbers that matter to so many chips. */
json_t *chip_assumed(const struct npu_chip *c, size_t n_chips);
/* Of several chips: how they are split, their link, and their stages. */
void chip_json_team(json_t *o, const struct npu_chip *c, const struct chip_ask *ask,
                    const struct npu_team *t);
/* As text. */
void chip_print_team(const json_t *o);
void chip_print_json(json_t *o); /* prints and frees it */

/* A page's head up to its body; text of files, escaped. */
void chip_html_begin(FILE *f);
void chip_html_text(FILE *f, const char *text);
/* The same as one HTML file: of one answer, of a list of them. */
void chip_html_answer(FILE *f, const json_t *o, const struct npu_chip *c,
                      const struct chip_answer *x);
/* Lanes of a timeline (chip_chart.c): a core's queues, and its link to other chips. */
#define CHIP_LANE_LINK NPU_N_QUEUES
#define CHIP_LANES     (CHIP_LANE_LINK + 1)
const char *chip_lane_name(int lane);
int chip_lane(enum npu_queue queue, const struct npu_cmd *c);
/* Its roofline and its timeline (chip_chart.c). */
void chip_charts(FILE *f, const struct npu_chip *c, const struct chip_answer *x);
/* A table of the stages of several chips. */
void chip_html_team(FILE *f, const json_t *o);
void chip_html_compare(FILE *f, const json_t *list, const char *workload);
void chip_html_load(FILE *f, const json_t *o);
enum err chip_html_open(FILE **out, const char *path, struct errinfo *e);
enum err chip_html_close(FILE *f, const char *path, struct errinfo *e);

/* A language model's shape out of a Hugging Face config.json. */
struct model;
enum err chip_model_config(struct model **out, const char *path, struct errinfo *e);

#endif
