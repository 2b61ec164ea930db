/* SPDX-License-Identifier: MIT */
#include "app/talk.h"

#include "api/api.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>
#include <sys/random.h>

#define TALK_SEED_MAX (((uint64_t)1 << 53) - 1)
#define TALK_TEXT_MAX ((size_t)64 << 20)

/* A model without a template reads a transcript (chat.h); its next line would be the user's. */
#define TALK_NEXT_LINE "\nUser:"

/* ---- opening ---- */

static void open_sampler(struct talk *t, const struct conf *c)
{
    if (c->seed >= 0)
        t->seed = (uint64_t)c->seed;
    else if (getrandom(&t->seed, sizeof t->seed, 0) != sizeof t->seed)
        t->seed = os_now_ns();
    t->seed &= TALK_SEED_MAX; /* a number that --seed takes */
    struct sampler_params p = app_sampling(c);
    int32_t breakers[4];
    p.seed = t->seed;
    p.dry_breakers = breakers;
    p.n_dry_breakers = api_dry_breakers(t->tok, breakers);
    t->sampler = sampler_new(&p, engine_model(t->model.engine)->n_vocab,
                             engine_ctx(t->model.engine), NULL);
}

enum err talk_open(struct talk *t, const struct conf *c, struct errinfo *e)
{
    *t = (struct talk){.n_max = c->n};
    TRY(app_model_open(&t->model, c, 1, e));
    enum err r = api_open_text(t->model.gguf, engine_model(t->model.engine)->n_vocab, &t->tok,
                               &t->chat, e);
    if (r != ERR_OK) {
        talk_close(t);
        return r;
    }
    open_sampler(t, c);
    t->seq = engine_seq_new(t->model.engine);
    return ERR_OK;
}

void talk_close(struct talk *t)
{
    sampler_free(t->sampler);
    engine_seq_free(t->seq);
    chat_close(t->chat);
    tok_close(t->tok);
    app_model_close(&t->model);
    *t = (struct talk){0};
}

void talk_vary(struct talk *t)
{
    t->seed = (t->seed + 1) & TALK_SEED_MAX;
}

json_t *talk_message(const char *role, const char *content, size_t n)
{
    json_t *m = json_object();
    json_object_set_new(m, "role", json_string(role));
    json_object_set_new(m, "content", json_stringn(content, n));
    return m;
}

/* ---- an answer ---- */

struct answer {
    struct talk *t;
    const struct talk_sink *sink;
    struct talk_stats *stats;
    struct tok_stream stream;
    struct str text;  /* decoded and not handed out yet */
    struct span stop; /* text that ends the answer; empty: none */
    bool stopped;
};

/* Bytes at the end of the text that may be the beginning of the stop text. */
static size_t held_back(const struct answer *a)
{
    struct span text = str_span(&a->text);
    for (size_t n = MIN(a->stop.n, text.n); n > 0; n--)
        if (span_starts(a->stop, (struct span){text.p + text.n - n, n}))
            return n;
    return 0;
}

static void hand_out(struct answer *a, bool all)
{
    struct span text = str_span(&a->text);
    size_t at = a->stop.n ? span_find(text, a->stop, 0) : SIZE_MAX;
    a->stopped = at != SIZE_MAX;
    size_t n = a->stopped ? at : all ? text.n : text.n - held_back(a);
    if (n)
        a->sink->text(a->sink->arg, (struct span){text.p, n});
    memmove(a->text.p, a->text.p + n, text.n - n);
    a->text.n -= n;
}

/* What the sequence already holds of ids, but for the last: its logits are needed. */
static size_t shared_start(const struct engine_seq *s, const struct tok_ids *ids)
{
    const int32_t *have = engine_seq_tokens(s);
    size_t n = 0, most = MIN(engine_seq_len(s), ids->n - 1);
    while (n < most && have[n] == ids->id[n])
        n++;
    return n;
}

static enum err read_prompt(struct answer *a, const struct tok_ids *ids, const float **logits,
                            struct errinfo *e)
{
    struct talk *t = a->t;
    struct talk_stats *s = a->stats;
    uint64_t began = os_now_ns();
    if (ids->n == 0)
        return err_set(e, ERR_USAGE, "the prompt is empty: there is nothing to answer");
    if (ids->n >= engine_ctx(t->model.engine))
        return err_set(e, ERR_CONTEXT,
                       "the prompt has %zu tokens, the context holds %zu with the answer", ids->n,
                       engine_ctx(t->model.engine));
    engine_seq_cut(t->seq, shared_start(t->seq, ids));
    s->n_prompt = ids->n;
    s->n_cached = engine_seq_len(t->seq);
    TRY(engine_prefill(t->model.engine, t->seq, ids->id + s->n_cached, ids->n - s->n_cached,
                       a->sink->stop, a->sink->arg, logits, e));
    sampler_reset(t->sampler, t->seed);
    for (size_t i = 0; i < ids->n; i++)
        sampler_accept(t->sampler, ids->id[i]);
    s->prompt_ns = os_now_ns() - began;
    return ERR_OK;
}

static enum err write_answer(struct answer *a, const float *logits, struct errinfo *e)
{
    struct talk *t = a->t;
    struct talk_stats *s = a->stats;
    uint64_t began = os_now_ns();
    for (s->end = TALK_END_LENGTH; t->n_max == 0 || s->n_answer < (size_t)t->n_max;) {
        int32_t id = sampler_pick(t->sampler, logits, NULL);
        struct engine_row row = {t->seq, id, true};
        if (tok_is_end(t->tok, id)) {
            s->end = TALK_END_MODEL;
            break;
        }
        s->n_answer++;
        sampler_accept(t->sampler, id);
        TRY(tok_stream_add(&a->stream, id, &a->text, e));
        hand_out(a, false);
        if (a->stopped || a->sink->stop(a->sink->arg)) {
            s->end = a->stopped ? TALK_END_MODEL : TALK_END_STOPPED;
            break;
        }
        if (t->n_max && s->n_answer == (size_t)t->n_max)
            break;
        TRY(engine_step(t->model.engine, &row, 1, &logits, e));
        s->answer_ns = os_now_ns() - began;
    }
    return ERR_OK;
}

static enum err run_ids(struct talk *t, const struct tok_ids *ids, struct span stop,
                        const struct talk_sink *sink, struct talk_stats *stats, struct errinfo *e)
{
    struct answer a = {.t = t, .sink = sink, .stats = stats, .stop = stop};
    const float *logits;
    *stats = (struct talk_stats){0};
    tok_stream_init(&a.stream, t->tok, 0);
    str_init(&a.text, TALK_TEXT_MAX);
    enum err r = read_prompt(&a, ids, &logits, e);
    if (r == ERR_OK) {
        r = write_answer(&a, logits, e);
        if (!a.stopped) {
            tok_stream_end(&a.stream, &a.text);
            hand_out(&a, true);
        }
    }
    str_done(&a.text);
    tok_stream_done(&a.stream);
    return r;
}

/* Encodes a prompt.  A template that writes the BOS token itself must not get a second one. */
static enum err encode_prompt(const struct talk *t, struct span text, unsigned flags,
                              struct tok_ids *ids, struct errinfo *e)
{
    int32_t bos = tok_bos(t->tok);
    bool has_bos = bos >= 0 && span_starts(text, tok_piece(t->tok, bos));
    return tok_encode(t->tok, text, flags | (has_bos ? 0 : TOK_BOS), ids, e);
}

enum err talk_answer(struct talk *t, const json_t *messages, const struct talk_sink *sink,
                     struct talk_stats *stats, struct errinfo *e)
{
    struct str prompt;
    struct tok_ids ids = {0};
    struct span stop = chat_has_template(t->chat) ? SPAN("") : SPAN(TALK_NEXT_LINE);
    str_init(&prompt, TALK_TEXT_MAX);
    enum err r = chat_render(t->chat, messages, NULL, NULL, true, os_unix_time(), &prompt, e);
    if (r == ERR_OK)
        r = encode_prompt(t, str_span(&prompt), TOK_SPECIAL | TOK_MARKED, &ids, e);
    str_done(&prompt);
    if (r == ERR_OK)
        r = run_ids(t, &ids, stop, sink, stats, e);
    tok_ids_done(&ids);
    return r;
}

enum err talk_continue(struct talk *t, struct span text, const struct talk_sink *sink,
                       struct talk_stats *stats, struct errinfo *e)
{
    struct tok_ids ids = {0};
    enum err r = encode_prompt(t, text, TOK_SPECIAL, &ids, e);
    if (r == ERR_OK)
        r = run_ids(t, &ids, SPAN(""), sink, stats, e);
    tok_ids_done(&ids);
    return r;
}

static double per_second(size_t n, uint64_t ns)
{
    return ns ? (double)n * 1e9 / (double)ns : 0;
}

void talk_print_stats(const struct talk_stats *s, struct str *out)
{
    size_t read = s->n_prompt - s->n_cached;
    str_addf(out, "%zu tokens read at %.0f/s", read, per_second(read, s->prompt_ns));
    if (s->n_cached)
        str_addf(out, " (%zu known before)", s->n_cached);
    str_addf(out, ", %zu written", s->n_answer);
    if (s->n_answer > 1)
        str_addf(out, " at %.1f/s", per_second(s->n_answer - 1, s->answer_ns));
    if (s->end == TALK_END_LENGTH)
        str_add_cstr(out, ", cut at the limit of -n");
}
