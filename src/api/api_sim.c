/* SPDX-License-Identifier: MIT */
#include "api/api_sim.h"

#include "os/os_sys.h"

#include <string.h>

/* The names of assumed parameters, "a, b", as a list. */
static json_t *names_of(const char *text)
{
    json_t *list = json_array();
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ",");
        json_array_append_new(list, json_stringn(at, n));
        at += n + strspn(at + n, ", ");
    }
    return list;
}

void api_sim_add(json_t *o, const struct api_gen *g)
{
    const struct dev_sim *sim = engine_sim(g->model->engine);
    double ttft = 0, tpot = 0, joules = 0;
    size_t n_first = 0, n_more = 0, n_tokens = 0;
    if (!sim)
        return;
    for (size_t i = 0; i < g->n_choices; i++) {
        const struct job *j = &g->choices[i].job;
        size_t n = job_n_out(j);
        joules += atomic_load(&j->sim.joules);
        if (n == 0)
            continue;
        n_tokens += n;
        n_first++;
        ttft += (double)(j->sim.first_ns - j->sim.pushed_ns) * 1e-6;
        if (n < 2)
            continue;
        n_more++;
        tpot += (double)(atomic_load(&j->sim.last_ns) - j->sim.first_ns) * 1e-6 / (double)(n - 1);
    }
    json_t *s = api_pack("{ss sI}", "device", sim->name, "chips", (json_int_t)sim->n_chips);
    json_object_set_new(s, "ttft_ms", n_first ? json_real(ttft / (double)n_first) : json_null());
    json_object_set_new(s, "tpot_ms", n_more ? json_real(tpot / (double)n_more) : json_null());
    json_object_set_new(s, "joules", json_real(joules));
    json_object_set_new(s, "tokens_per_joule",
                        joules > 0 ? json_real((double)n_tokens / joules) : json_null());
    json_object_set_new(s, "assumed", names_of(sim->assumed));
    json_object_set_new(o, "sim", s);
}

json_t *api_sim_device(const struct engine *en)
{
    static const char *const clocks[] = {"wall", "paced", "virtual"};
    const struct dev_sim *sim = engine_sim(en);
    if (!sim)
        return json_null();
    return api_pack("{ss ss sI sb ss ss sf sI sI so}", "name", sim->name, "title", sim->title,
                    "chips", (json_int_t)sim->n_chips, "simulated", 1, "computes", sim->computes,
                    "clock", clocks[sim->clock], "watts", sim->tdp_w, "memory_bytes",
                    (json_int_t)sim->memory_bytes, "weight_bytes", (json_int_t)sim->weight_bytes,
                    "assumed", names_of(sim->assumed));
}

uint64_t api_sim_now(const struct api_gen *g)
{
    return sched_now(g->model->sched);
}

uint64_t api_sim_arrived_ns(const struct api_choice *c)
{
    const struct dev_sim *sim = engine_sim(c->gen->model->engine);
    bool own_clock = sim && sim->clock == DEV_CLOCK_VIRTUAL;
    return own_clock ? c->job.pushed_ns : api_call_arrived_ns(c->gen->call);
}
