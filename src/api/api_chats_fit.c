/* SPDX-License-Identifier: MIT
 * api_chats_fit.c - how much of long files a model reads.
 *
 * Where a conversation with its files is more than the context has room for, files are cut at their
 * ends: short ones stay whole, long ones share what is left.  How much was kept is stored with the
 * message, shown there, and told to the model; later answers keep it, so that what was computed
 * of the conversation stays known, unless that is too much as well. */
#include "api/api_chats_int.h"
#include "api/api_prompt.h"
#include "api/api_tools.h"

#include "base/num.h"

#include <string.h>

#define ANSWER_TOKENS 1024 /* that stay free, or a quarter of a small context */
#define TRIES         5
#define PER_TOKEN     32 /* bytes: more than texts have */

/* ---- one text ---- */

static size_t n_tokens(const struct api_model *m, struct span text)
{
    struct tok_ids ids = {0};
    bool ok = tok_encode(m->tok, text, 0, &ids, NULL) == ERR_OK;
    size_t n = ok ? ids.n : text.n;
    tok_ids_done(&ids);
    return n;
}

/* Not within a character; at a line's end where one is among the last tenth. */
static size_t good_end(struct span text, size_t at)
{
    for (size_t i = at; i > at - at / 10; i--)
        if (text.p[i - 1] == '\n')
            return i;
    return utf8_complete((struct span){text.p, at});
}

size_t api_fit_cut(const struct api_model *m, struct span text, size_t n)
{
    size_t at = text.n;
    if (text.n <= n) /* no token has no byte */
        return text.n;
    if (text.n / PER_TOKEN > n)
        at = n * PER_TOKEN;
    for (int i = 0; i < 8; i++) {
        size_t got = n_tokens(m, (struct span){text.p, utf8_complete((struct span){text.p, at})});
        if (got <= n)
            return at == text.n ? at : good_end(text, at);
        at = (size_t)((double)at * (double)n / (double)got * 0.98);
    }
    return good_end(text, at);
}

/* ---- all of them ---- */

static json_t *body_of(struct run *r, const struct api_model *m)
{
    json_t *tools = api_tools_request(r->tools, r->on);
    json_t *body = api_chats_body(&(struct api_chats_ask){.x = &r->read,
                                                          .options = r->options,
                                                          .kept = r->kept,
                                                          .calls = r->calls,
                                                          .content = str_span(&r->content),
                                                          .tools = tools,
                                                          .sees = m->vision});
    if (tools && json_array_size(r->calls)) /* a call that was asked for has been made */
        json_object_del(body, "tool_choice");
    json_decref(tools);
    return body;
}

/* Tokens of the prompt that a body makes; 0: none can be made, which the answer will tell. */
static size_t prompt_tokens(const struct api_model *m, json_t *body)
{
    struct api_fault f = {0};
    const struct api_in in = {body, "", &f};
    struct api_ask ask;
    struct arena tmp;
    struct str text;
    struct tok_ids ids = {0};
    arena_init(&tmp);
    str_init(&text, STORE_ANSWER_BYTES_MAX + STORE_BODY_BYTES_MAX);
    api_ask_init(&ask, &m->row->sampling);
    bool ok = api_ask_chat(&ask, &in, &tmp) && api_prompt_chat(m, &ask, &text, &ids, &f);
    size_t n = ok ? ids.n : 0;
    tok_ids_done(&ids);
    str_done(&text);
    api_ask_done(&ask);
    arena_done(&tmp);
    return n;
}

/* The most that each may have so that all of them have `room`: water that rises. */
static size_t share_of(const size_t *sizes, size_t n, size_t room)
{
    size_t level = 0, left = n;
    while (left) {
        size_t sum = 0, next = SIZE_MAX, above = 0;
        for (size_t i = 0; i < n; i++) {
            sum += MIN(sizes[i], level);
            if (sizes[i] > level) {
                above++;
                next = MIN(next, sizes[i]);
            }
        }
        if (!above || sum >= room)
            break;
        size_t step = MIN((room - sum) / above, next - level);
        if (!step)
            break;
        level += step;
        left = above;
    }
    return level;
}

static size_t kept_of(const struct run *r, size_t i)
{
    size_t n = r->read.files[i].body.n;
    return r->kept[i] && r->kept[i] < n ? r->kept[i] : n;
}

/* Cuts so that `over` tokens less are read. */
static void cut(struct run *r, const struct api_model *m, size_t over)
{
    const struct store_chats *x = &r->read;
    size_t *sizes = mem_alloc((x->n_files + 1) * sizeof *sizes), sum = 0;
    for (size_t i = 0; i < x->n_files; i++) {
        if (!api_chats_is_picture(&x->files[i])) /* which is seen whole */
            sizes[i] = n_tokens(m, (struct span){x->files[i].body.p, kept_of(r, i)});
        sum += sizes[i];
    }
    size_t level = share_of(sizes, x->n_files, sum > over ? sum - over : 0);
    for (size_t i = 0; i < x->n_files; i++) {
        if (sizes[i] <= level)
            continue;
        struct span text = {x->files[i].body.p, kept_of(r, i)};
        r->kept[i] = MAX(api_fit_cut(m, text, level), (size_t)1);
    }
    mem_free(sizes);
}

json_t *run_fit(struct run *r, const struct api_model *m)
{
    size_t ctx = engine_ctx(m->engine);
    size_t room = ctx - MIN(ctx / 4, (size_t)ANSWER_TOKENS);
    run_calls_fit(r, m);
    for (size_t i = 0; i < r->read.n_files; i++) /* what no tokens can make fit is not counted */
        if (kept_of(r, i) / PER_TOKEN > room && !api_chats_is_picture(&r->read.files[i]))
            r->kept[i] = utf8_complete((struct span){r->read.files[i].body.p, room * PER_TOKEN});
    json_t *body = body_of(r, m);
    for (int i = 0; i < TRIES && r->read.n_files; i++) {
        size_t n = prompt_tokens(m, body);
        if (n <= room)
            break;
        cut(r, m, n - room + room / 50); /* a little more: later turns want room too */
        json_decref(body);
        body = body_of(r, m);
    }
    return body;
}
