/* SPDX-License-Identifier: MIT
 * chip_team.c - one model on several chips: how it is split, how many are enough, and what is said
 * of it. */
#include "app/chip.h"
#include "app/member.h"

#include "base/num.h"
#include "npu/npu_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHIPS_MOST PLAN_RANKS_MAX

void chip_ask_settings(struct chip_ask *a, const struct conf *c)
{
    a->chips = c->chips;
    a->split = c->split;
}

/* ---- splits ---- */

static bool is_auto(const char *split)
{
    return split && strcmp(split, "auto") == 0;
}

/* "4x2" */
static bool read_product(const char *text, size_t *a, size_t *b)
{
    char *end;
    unsigned long x = strtoul(text, &end, 10), y = *end == 'x' ? strtoul(end + 1, &end, 10) : 0;
    *a = x;
    *b = y;
    return !*end && x >= 1 && y >= 1 && x <= CHIPS_MOST && y <= CHIPS_MOST;
}

enum err chip_split_read(struct plan_ranks *out, const char *split, size_t n, struct errinfo *e)
{
    *out = (struct plan_ranks){n, 1};
    if (!split || strcmp(split, "tensor") == 0)
        return ERR_OK;
    *out = is_auto(split) ? (struct plan_ranks){0, 0} : (struct plan_ranks){1, n};
    if (is_auto(split) || strcmp(split, "pipeline") == 0)
        return ERR_OK;
    if (!read_product(split, &out->tensor, &out->pipeline))
        return err_set(e, ERR_USAGE,
                       "--split is tensor, pipeline, auto, or as 4x2: two stages of four chips; "
                       "not %.16s",
                       split);
    if (out->tensor * out->pipeline != n)
        return err_set(e, ERR_USAGE, "--split %s is of %zu chips, and --chips says %zu", split,
                       out->tensor * out->pipeline, n);
    return ERR_OK;
}

/* The i-th way to split n chips, by the words of --split; false: there is no more. */
static bool split_at(struct plan_ranks *out, const struct plan_ranks *asked, size_t n, size_t i)
{
    if (asked->tensor) {
        *out = *asked;
        return i == 0;
    }
    for (size_t tensor = n; tensor >= 1; tensor--)
        if (n % tensor == 0 && i-- == 0) {
            *out = (struct plan_ranks){tensor, n / tensor};
            return true;
        }
    return false;
}

static enum err check(const struct npu_team_ask *t, struct errinfo *e)
{
    return t->groups == 1 || t->ranks.pipeline > 1
               ? ERR_OK
               : err_set(e, ERR_USAGE,
                         "groups in flight are of several stages, and this is one: --split");
}

enum err chip_team_run(struct chip_answer *out, const struct model *m, const struct npu_chip *c,
                       const struct chip_ask *ask, struct npu_team_ask *t, struct errinfo *e)
{
    struct plan_ranks asked;
    struct errinfo first, more;
    enum err r = ERR_OK;
    TRY(chip_split_read(&asked, ask->split, (size_t)ask->chips, e));
    for (size_t i = 0; split_at(&t->ranks, &asked, (size_t)ask->chips, i); i++) {
        struct npu_team *team = NULL;
        enum err code = check(t, &more);
        if (code == ERR_OK)
            code = npu_team_run(&team, m, c, t, &more);
        if (code != ERR_OK && r == ERR_OK) {
            r = code;
            first = more;
        }
        if (!team)
            continue;
        if (out->team && out->team->answer.per_s >= team->answer.per_s) {
            npu_team_free(team);
            continue;
        }
        npu_team_free(out->team);
        out->team = team;
    }
    if (!out->team) {
        *e = first;
        return r;
    }
    out->answer = out->team->answer;
    out->work = out->team->member[out->team->stage[out->team->slowest].slowest].work;
    return ERR_OK;
}

/* ---- how many are enough ---- */

/* Of all weights, so many chips would have to hold at least. */
static size_t least_chips(const struct model *m, const struct npu_chip *c,
                          const struct npu_team_ask *t)
{
    struct plan *p = plan_new(m);
    struct npu_work *w = npu_work_mix(p, &t->mix, t->format, t->type);
    double bytes = w->weight_values * w->weight_bits / 8;
    npu_work_free(w);
    plan_free(p);
    return (size_t)(bytes / (c->v[NPU_DRAM_GB] * 1e9));
}

enum err chip_team_smallest(const struct model *m, const struct npu_chip *c,
                            const struct chip_ask *ask, struct npu_team_ask *t, struct errinfo *e)
{
    struct errinfo before = *e, other;
    struct plan_ranks asked, any = {0, 0};
    bool layers = ask->split && strcmp(ask->split, "pipeline") == 0;
    size_t n = MAX((size_t)MAX(ask->chips, 1) + 1, least_chips(m, c, t));
    for (; n <= CHIPS_MOST; n++) {
        asked = layers ? (struct plan_ranks){1, n} : any;
        for (size_t i = 0; split_at(&t->ranks, &asked, n, i); i++) {
            const struct plan_ranks *s = &t->ranks;
            if (check(t, &other) != ERR_OK || npu_team_fits(m, c, t, &other) != ERR_OK)
                continue;
            char split[32] = "";
            if (s->pipeline > 1)
                snprintf(split, sizeof split, " --split %zux%zu", s->tensor, s->pipeline);
            return err_set(e, ERR_TOOBIG, "%s; it fits on %zu chips: --chips %zu%s", before.text, n,
                           n, split);
        }
    }
    *e = before;
    return ERR_TOOBIG;
}

/* ---- what is said of it ---- */

static json_t *link_json(const struct npu_chip *c, const struct npu_team *t)
{
    struct npu_way way = npu_way_of(c, t->n_chips);
    enum npu_field rate = way.host ? NPU_HOST_GBS : NPU_PEER_GBS;
    json_t *o = json_pack("{s:s, s:f, s:f}", "kind",
                          way.host   ? "host"
                          : way.ring ? "ring"
                                     : "full",
                          "gb_s", way.gb_s, "us", c->v[NPU_PEER_US]);
    json_object_set_new(o, "assumed",
                        json_boolean(c->source[rate].assumed || c->source[NPU_PEER_US].assumed));
    return o;
}

static json_t *stages_json(const struct npu_chip *c, const struct npu_team *t)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->ranks.pipeline; i++) {
        const struct npu_team_stage *s = &t->stage[i];
        const struct npu_answer *a = &t->member[s->slowest].answer;
        json_array_append_new(list, json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "chips",
                                              (json_int_t)t->ranks.tensor, "first_chip",
                                              (json_int_t)(i * t->ranks.tensor), "first_layer",
                                              (json_int_t)s->from, "layers",
                                              (json_int_t)(s->to - s->from), "ms", s->once_s * 1e3,
                                              "links", a->timing.share[NPU_BY_LINKS], "memory_mb",
                                              (double)a->prog->memory / 1e6, "memory_share",
                                              (double)a->prog->memory / (c->v[NPU_DRAM_GB] * 1e9)));
    }
    return list;
}

void chip_json_team(json_t *o, const struct npu_chip *c, const struct chip_ask *ask,
                    const struct npu_team *t)
{
    json_object_set_new(o, "chips", json_integer((json_int_t)t->n_chips));
    json_object_set_new(o, "tensor", json_integer((json_int_t)t->ranks.tensor));
    json_object_set_new(o, "pipeline", json_integer((json_int_t)t->ranks.pipeline));
    json_object_set_new(o, "in_flight", json_integer(t->groups));
    json_object_set_new(o, "collective", json_string(ask->collective));
    json_object_set_new(o, "simulated_chips", json_integer((json_int_t)t->n_members));
    json_object_set_new(o, "attention_whole", json_boolean(t->whole_attention));
    json_object_set_new(o, "link", link_json(c, t));
    json_object_set_new(o, "stages", stages_json(c, t));
    json_object_set_new(o, "weight_mb", json_real(t->weights / 1e6));
    json_object_set_new(o, "memory_mb", json_real(t->memory / 1e6));
}

void chip_print_team(const json_t *o)
{
    const json_t *link = json_object_get(o, "link");
    const char *kind = json_string_value(json_object_get(link, "kind"));
    bool whole = json_is_true(json_object_get(o, "attention_whole"));
    size_t i;
    json_t *s;
    printf("chips        %10.0f in %.0f stage%s of %.0f, by %s; simulated %.0f, the others are "
           "alike\n",
           member_number(o, "chips"), member_number(o, "pipeline"),
           member_number(o, "pipeline") > 1 ? "s" : "", member_number(o, "tensor"),
           json_string_value(json_object_get(o, "collective")),
           member_number(o, "simulated_chips"));
    printf("link         %10s, %g GB/s, %g us%s\n",
           strcmp(kind, "host") == 0 ? "by the host" : kind, member_number(link, "gb_s"),
           member_number(link, "us"),
           json_is_true(json_object_get(link, "assumed")) ? " (assumed)" : "");
    if (whole)
        printf(
            "attention    each chip of a stage computes all heads: they do not go up in chips\n");
    json_array_foreach(json_object_get(o, "stages"), i, s) printf(
        "  stage %-3zu layers %.0f to %.0f, %9.3f ms, %4.1f %% in links, %.1f MB a chip\n", i,
        member_number(s, "first_layer"),
        member_number(s, "first_layer") + member_number(s, "layers") - 1, member_number(s, "ms"),
        100 * member_number(s, "links"), member_number(s, "memory_mb"));
}

void chip_html_team(FILE *f, const json_t *o)
{
    const json_t *link = json_object_get(o, "link");
    size_t i;
    json_t *s;
    if (!link)
        return;
    fprintf(f,
            "<h2>%.0f chips</h2><p>%.0f stages of %.0f, by %s; link: %s, %g GB/s, %g "
            "us.</p><table><tr><th>chips</th><th>layers</th><th>ms</th><th>in "
            "links</th><th>MB a chip</th></tr>",
            member_number(o, "chips"), member_number(o, "pipeline"), member_number(o, "tensor"),
            member_text(o, "collective"), member_text(link, "kind"), member_number(link, "gb_s"),
            member_number(link, "us"));
    json_array_foreach(json_object_get(o, "stages"), i, s) fprintf(
        f,
        "<tr><td>%.0f to %.0f</td><td>%.0f to %.0f</td><td>%.3f</td><td>%.1f "
        "%%</td><td>%.1f</td></tr>",
        member_number(s, "first_chip"),
        member_number(s, "first_chip") + member_number(s, "chips") - 1,
        member_number(s, "first_layer"),
        member_number(s, "first_layer") + member_number(s, "layers") - 1, member_number(s, "ms"),
        100 * member_number(s, "links"), member_number(s, "memory_mb"));
    fputs("</table>\n", f);
}
