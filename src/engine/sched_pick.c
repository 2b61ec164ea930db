/* SPDX-License-Identifier: MIT
 * sched_pick.c - tokens from logits: grammars, end tokens, logprobs, guesses that came true. */
#include "engine/logits.h"
#include "engine/sched_int.h"

#include <math.h>
#include <string.h>

/* ---- logprobs ---- */

static void note_top(struct job_top *top, int n_top, const float *logits, size_t n_vocab,
                     float log_sum)
{
    int n = 0;
    float least = -INFINITY; /* of a full list */
    for (size_t v = 0; v < n_vocab; v++) {
        if (n == n_top && logits[v] <= least)
            continue;
        int k = n < n_top ? n++ : n - 1;
        for (; k > 0 && top[k - 1].logprob < logits[v]; k--)
            top[k] = top[k - 1];
        top[k] = (struct job_top){(int32_t)v, logits[v]};
        least = top[n - 1].logprob;
    }
    for (int k = 0; k < n; k++)
        top[k].logprob -= log_sum;
}

static void note(const struct sched *s, const struct job *j, struct job_out *out,
                 struct job_top *top, int32_t token, const float *logits)
{
    size_t n_vocab = engine_model(s->en)->n_vocab;
    float log_sum = logits_log_sum(logits, n_vocab);
    out->token = token;
    out->logprob = logits[token] - log_sum;
    if (j->n_top)
        note_top(top, j->n_top, logits, n_vocab, log_sum);
}

static struct job_top *top_of(const struct job *j, struct job_top *all, size_t at)
{
    return j->n_top ? all + at * (size_t)j->n_top : NULL;
}

void sched_note_prompt(struct sched *s, struct job *j, size_t at, const float *logits)
{
    note(s, j, &j->prompt_out[at + 1], top_of(j, j->prompt_top, at + 1), j->prompt[at + 1], logits);
    j->n_used = at + 1;
}

/* ---- what may come ---- */

static bool any_left(const struct sched *s)
{
    for (size_t i = 0; i < s->n_mask; i++)
        if (s->mask[i])
            return true;
    return false;
}

/* The next token at or after t that ends an answer; n_vocab: none. */
static size_t next_end(const bool *ends, size_t t, size_t n_vocab)
{
    const void *at = ends && t < n_vocab ? memchr(ends + t, true, n_vocab - t) : NULL;
    return at ? (size_t)((const bool *)at - ends) : n_vocab;
}

static void set_ends(struct sched *s, const struct job *j, bool on)
{
    size_t n = engine_model(s->en)->n_vocab;
    for (size_t t = next_end(j->ends, 0, n); t < n; t = next_end(j->ends, t + 1, n)) {
        uint32_t bit = 1u << (t % 32);
        s->mask[t / 32] = on ? s->mask[t / 32] | bit : s->mask[t / 32] & ~bit;
    }
}

/* What may come next: NULL when all may.  A grammar's own end tokens have no bytes. */
static const uint32_t *mask_of(struct sched *s, struct job *j, size_t n_out)
{
    bool no_end = j->ignore_end || n_out < j->n_min;
    if (j->gram) {
        bool complete = gram_finished(j->gram);
        memset(s->mask, 0, s->n_mask * sizeof *s->mask); /* its vocabulary may be shorter */
        gram_mask(j->gram, j->vocab, s->mask);
        if (no_end || !complete)
            set_ends(s, j, false);
        if (!any_left(s) && complete)
            set_ends(s, j, true);
        return s->mask;
    }
    if (!no_end || !j->ends)
        return NULL;
    memset(s->mask, 0xff, s->n_mask * sizeof *s->mask);
    set_ends(s, j, false);
    return s->mask;
}

void sched_pick_fit(struct sched *s, const struct job *j)
{
    size_t n = gram_vocab_words(j->vocab);
    if (n <= s->n_mask)
        return;
    s->mask = mem_grow(s->mask, n * sizeof *s->mask);
    s->n_mask = n;
}

static bool ends_answer(const struct job *j, int32_t token)
{
    if (token < 0 || (j->ends && j->ends[token]))
        return true;
    return j->gram && gram_vocab_bytes(j->vocab, token).n == 0;
}

/* Chooses the next token of a job; true when the answer ends with or before it. */
static bool pick(struct sched *s, struct job *j, const float *logits, enum job_end *end)
{
    size_t n = atomic_load(&j->n_out);
    int32_t token = j->given ? j->given[n] : sampler_pick(j->sampler, logits, mask_of(s, j, n));
    uint64_t sim_ns = atomic_load(&s->sim_ns);
    if (n == 0) {
        j->first_ns = sched_now(s);
        j->sim.first_ns = sim_ns;
    }
    atomic_store(&j->sim.last_ns, sim_ns);
    *end = JOB_END_STOP;
    if (ends_answer(j, token))
        return true;
    if (j->gram)
        CHECK(gram_accept_token(j->gram, j->vocab, token));
    j->out[n].token = token;
    if (j->logprobs || j->n_top)
        note(s, j, &j->out[n], top_of(j, j->top, n), token, logits);
    if (j->sampler)
        sampler_accept(j->sampler, token);
    sched_spec_add(j, token);
    atomic_store_explicit(&j->n_out, n + 1, memory_order_release);
    s->n_answer++;
    *end = JOB_END_LENGTH;
    if (n + 1 == j->n_max || sched_n_known(j) > engine_ctx(s->en))
        return true;
    if (j->wake)
        j->wake(j->wake_arg);
    return false;
}

/* Guesses that did not come true are cut off; of a job that goes on its last token is left to be
 * read. */
static void settle(struct job *j, bool goes_on)
{
    size_t n = MIN(engine_seq_len(j->seq), sched_n_known(j) - goes_on);
    engine_seq_cut(j->seq, n);
    j->n_read = engine_seq_len(j->seq);
}

size_t sched_pick_all(struct sched *s, size_t at)
{
    enum job_end end;
    struct job *j = s->wants[at].job;
    size_t n = 1, k = 0;
    bool over = false, came_true = true;
    while (at + n < s->n_wants && s->wants[at + n].job == j && s->wants[at + n].draft)
        n++;
    for (; k < n && came_true && !over; k++) {
        size_t n_out = atomic_load(&j->n_out);
        over = pick(s, j, s->got[at + k], &end);
        bool more = atomic_load(&j->n_out) > n_out;
        came_true = sched_spec_note(s, j, k, more ? j->out[n_out].token : -1);
    }
    if (n > 1)
        settle(j, !over);
    if (over)
        sched_finish_running(s, j, end);
    return n;
}
