/* SPDX-License-Identifier: MIT
 * chip_sweep.c - damso chip sweep: a workload over a space of chips, on all of the host's cores. */
#include "app/chip.h"

#include "base/num.h"
#include "os/os_pool.h"
#include "os/os_sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AXES_MAX   6
#define VALUES_MAX 64
#define POINTS_MAX 100000

struct axis {
    enum npu_field field; /* N_FIELDS: "chips", how many */
    double value[VALUES_MAX];
    size_t n;
};

struct point {
    double per_s, latency_s, watts;
    bool ok;
};

struct sweep {
    const char *chip;
    const struct chip_ask *ask;
    struct axis axis[AXES_MAX];
    size_t n_axes, n_points;
    struct point *points;
    size_t next; /* taken one by one */
};

static const char chips_key[] = "chips";

static const char *key_of(const struct axis *x)
{
    return x->field == NPU_N_FIELDS ? chips_key : npu_field_key(x->field);
}

/* "core.count=4,8,16" */
static enum err read_axis(struct axis *x, const char *text, struct errinfo *e)
{
    char key[64];
    const char *eq = strchr(text, '=');
    if (!eq || (size_t)(eq - text) >= sizeof key)
        return err_set(e, ERR_USAGE, "'%.60s' is no KEY=VALUE,VALUE,...", text);
    snprintf(key, sizeof key, "%.*s", (int)(eq - text), text);
    x->field = npu_field_find(key);
    if (x->field == NPU_N_FIELDS && strcmp(key, chips_key) != 0)
        return err_set(e, ERR_USAGE, "a chip file has no number '%s'", key);
    for (const char *p = eq + 1; *p;) {
        char *end;
        if (x->n == VALUES_MAX)
            return err_set(e, ERR_TOOBIG, "%s has more than %d values", key, VALUES_MAX);
        x->value[x->n++] = strtod(p, &end);
        if (end == p || (*end && *end != ','))
            return err_set(e, ERR_USAGE, "'%.60s' is no list of numbers", eq + 1);
        p = *end ? end + 1 : end;
    }
    for (size_t i = 0; x->field == NPU_N_FIELDS && i < x->n; i++)
        if (!(x->value[i] >= 1 && x->value[i] <= PLAN_RANKS_MAX) ||
            x->value[i] != (double)(int)x->value[i])
            return err_set(e, ERR_USAGE, "chips are whole numbers from 1 to %d, not %g",
                           PLAN_RANKS_MAX, x->value[i]);
    return x->n ? ERR_OK : err_set(e, ERR_USAGE, "%s has no value", key);
}

static enum err set_point(const struct sweep *s, size_t i, struct npu_chip *c, struct chip_ask *ask,
                          struct errinfo *e)
{
    for (size_t k = 0; k < s->n_axes; k++) {
        double v = s->axis[k].value[i % s->axis[k].n];
        if (s->axis[k].field == NPU_N_FIELDS)
            ask->chips = (int64_t)v;
        else
            TRY(npu_chip_set(c, s->axis[k].field, v, e));
        i /= s->axis[k].n;
    }
    return ERR_OK;
}

static void run_point(const struct sweep *s, size_t i)
{
    struct npu_chip *c;
    struct chip_answer a;
    struct chip_ask ask = *s->ask;
    ask.quiet = true;
    struct errinfo e;
    if (chip_open(&c, s->chip, &e) != ERR_OK)
        return;
    if (set_point(s, i, c, &ask, &e) == ERR_OK && chip_answer(&a, c, &ask, &e) == ERR_OK) {
        s->points[i] = (struct point){a.answer.per_s, a.answer.latency_s, a.answer.watts, true};
        chip_done(&a);
    }
    npu_chip_free(c);
}

static void work(void *arg, int thread, int n_threads)
{
    struct sweep *s = arg;
    (void)thread, (void)n_threads;
    for (size_t i; (i = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED)) < s->n_points;)
        run_point(s, i);
}

/* No other point is faster with as few watts. */
static bool best_of_its_watts(const struct sweep *s, size_t i)
{
    for (size_t k = 0; k < s->n_points; k++)
        if (s->points[k].ok && s->points[k].watts <= s->points[i].watts &&
            s->points[k].per_s > s->points[i].per_s)
            return false;
    return true;
}

static void print_points(const struct sweep *s, bool as_json)
{
    json_t *list = json_array();
    for (size_t k = 0; !as_json && k < s->n_axes; k++)
        printf("%-20s", key_of(&s->axis[k]));
    if (!as_json)
        printf("%12s %12s %9s %10s\n", "a second", "latency ms", "W", "a joule");
    for (size_t i = 0; i < s->n_points; i++) {
        const struct point *p = &s->points[i];
        json_t *o = json_object();
        size_t at = i;
        for (size_t k = 0; k < s->n_axes; k++) {
            double v = s->axis[k].value[at % s->axis[k].n];
            at /= s->axis[k].n;
            json_object_set_new(o, key_of(&s->axis[k]), json_real(v));
            if (!as_json)
                printf("%-20g", v);
        }
        if (p->ok) {
            json_object_set_new(o, "per_s", json_real(p->per_s));
            json_object_set_new(o, "latency_ms", json_real(p->latency_s * 1e3));
            json_object_set_new(o, "watts", json_real(p->watts));
            json_object_set_new(o, "pareto", json_boolean(best_of_its_watts(s, i)));
        }
        if (!as_json && p->ok)
            printf("%12.1f %12.3f %9.1f %10.3g%s\n", p->per_s, p->latency_s * 1e3, p->watts,
                   p->per_s / p->watts, best_of_its_watts(s, i) ? "  best of its watts" : "");
        else if (!as_json)
            printf("   does not go\n");
        json_array_append_new(list, o);
    }
    if (as_json)
        chip_print_json(list);
    else
        json_decref(list);
}

enum err chip_sweep(struct cmd_args *a, struct errinfo *e)
{
    bool as_json = false;
    struct chip_ask ask = CHIP_ASK_DEFAULT;
    struct sweep s = {.ask = &ask, .n_points = 1};
    const struct conf_opt opts[] = {
        {.name = "chip",             .letter = 'c', .arg = "CHIP", .text = &s.chip, .help = "where it begins"},
        CHIP_ASK_OPTIONS(ask),
        {.name = "json", .flag = &as_json,              .help = "print a JSON array"             },
    };
    struct npu_chip *c;
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 1, AXES_MAX, e));
    if (a->done)
        return ERR_OK;
    if (!s.chip)
        return err_set(e, ERR_USAGE,
                       "--chip says where the sweep begins; damso chip list has them");
    TRY(chip_open(&c, s.chip, e));
    npu_chip_free(c);
    chip_ask_settings(&ask, &a->conf);
    for (int i = 0; i < a->n_left; i++) {
        TRY(read_axis(&s.axis[s.n_axes], a->left[i], e));
        s.n_points *= s.axis[s.n_axes++].n;
        if (s.n_points > POINTS_MAX)
            return err_set(e, ERR_TOOBIG, "a sweep has at most %d points", POINTS_MAX);
    }
    s.points = mem_alloc(s.n_points * sizeof *s.points);
    struct os_pool *pool = os_pool_new(os_n_cpus());
    os_pool_run(pool, work, &s);
    os_pool_free(pool);
    print_points(&s, as_json);
    mem_free(s.points);
    return ERR_OK;
}
