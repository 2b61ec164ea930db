/* SPDX-License-Identifier: MIT
 * fleet_cost.c - sizes by the hour, energy and cost of a fleet. */
#include "app/fleet.h"

#include "base/num.h"

#define DAYS_A_MONTH 30.4375

static double hour_rate(const struct fleet_ask *a, int hour)
{
    return a->users * a->requests_day * a->curve[hour] / 3600;
}

/* Spares share the load as long as all are there. */
static void energy(struct fleet_answer *x, const struct fleet_ask *a)
{
    double total = (double)x->size.total;
    for (int h = 0; h < FLEET_HOURS; h++) {
        double w = fleet_watts(&x->replica, hour_rate(a, h) / total) * total * a->pue;
        x->kwh_day += w / 1000;
        x->peak_w = MAX(x->peak_w, w);
    }
}

static void cost(struct fleet_answer *x, const struct fleet_ask *a)
{
    const struct fleet_kind *k = x->kind;
    double each = (double)x->machines, total = (double)x->size.total * each, hours = 0;
    double tokens = a->users * a->requests_day * DAYS_A_MONTH * x->replica.answer_tokens;
    x->priced = k->hour >= 0 || k->price >= 0;
    if (!x->priced)
        return;
    for (int h = 0; h < FLEET_HOURS; h++)
        hours += (double)x->by_hour[h] * each;
    if (k->hour >= 0) {
        x->machines_month = total * k->hour * 24 * DAYS_A_MONTH;
        x->elastic_month = hours * k->hour * DAYS_A_MONTH;
    } else {
        x->machines_month = total * k->price / (a->years * 12);
        x->energy_month = x->kwh_day * DAYS_A_MONTH * a->electricity;
    }
    x->month = x->machines_month + x->energy_month;
    x->million = tokens > 0 ? x->month / tokens * 1e6 : 0;
}

void fleet_price(struct fleet_answer *x, const struct fleet_ask *a)
{
    double low = x->replica.low;
    for (int h = 0; h < FLEET_HOURS; h++)
        x->peak_rate = MAX(x->peak_rate, hour_rate(a, h));
    x->size = fleet_size(a, x->peak_rate, a->users, low);
    x->less = fleet_size(a, 0.9 * x->peak_rate, 0.9 * a->users, low);
    x->more = fleet_size(a, 1.1 * x->peak_rate, 1.1 * a->users, low);
    if (!x->size.total)
        return;
    for (int h = 0; h < FLEET_HOURS; h++)
        x->by_hour[h] = fleet_size(a, hour_rate(a, h), a->users, low).total;
    energy(x, a);
    cost(x, a);
}
