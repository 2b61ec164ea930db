/* SPDX-License-Identifier: MIT
 * tok_ugm.c - SentencePiece Unigram: of all ways to write the text as tokens the one of the highest
 * sum of scores (Viterbi), as sentencepiece's EncodeOptimized finds it, in the same arithmetic.
 * Runs that no token crosses are searched one after the other; the sum goes on through them. */
#include "tok/tok_int.h"

#include "base/num.h"

#include <math.h>

#define UNK_PENALTY 10.0f
#define USER_GAIN   0.1f /* a user-defined token's score, for each byte after the first */

enum err tok_open_ugm(struct tok *t, struct errinfo *e)
{
    const struct gguf_array *a;
    float low = INFINITY;
    TRY(tok_read_scores(t, &a, e));
    t->score = arena_array(&t->arena, a->n, sizeof *t->score);
    memcpy(t->score, a->data, a->n * sizeof *t->score);
    for (int32_t id = 0; id < t->n; id++) {
        if (!isfinite(t->score[id]))
            return err_set(e, ERR_CORRUPT, "%s: tokenizer.ggml.scores: element %d is not finite",
                           gguf_path(t->g), id);
        if (TOK_TYPE(t, id) == TOK_NORMAL)
            low = MIN(low, t->score[id]);
    }
    t->score_unk = isfinite(low) ? low - UNK_PENALTY : -UNK_PENALTY;
    TRY(tok_open_norm(t, true, true, e));
    tok_index_fixed(t);
    tok_list_init(t, &t->words, 1u << TOK_NORMAL | 1u << TOK_USER);
    memset(t->byte_id, 0xff, sizeof t->byte_id);
    for (int32_t id = t->n; id-- > 0;)
        if (TOK_TYPE(t, id) == TOK_BYTE && tok_byte_written(t->piece[id]) >= 0)
            t->byte_id[tok_byte_written(t->piece[id])] = id;
    return ERR_OK;
}

static void offer(struct tok_node *to, float score, int32_t id, size_t from)
{
    if (to->from == TOK_NONE || score > to->score)
        *to = (struct tok_node){score, id, (uint32_t)from};
}

/* All tokens that begin at s[at], which a way leads to. */
static void search_from(struct tok_work *w, struct span s, size_t at, size_t char_len)
{
    const struct tok *t = w->t;
    float here = w->node[at].score;
    bool single = false;
    struct tok_walk walk;
    tok_walk_init(&walk, &t->words);
    for (size_t i = at; i < s.n && tok_walk_step(&walk, (unsigned char)s.p[i]);) {
        int32_t id = tok_walk_id(&walk);
        i++;
        if (id < 0)
            continue;
        size_t n = i - at;
        if (TOK_TYPE(t, id) == TOK_USER) /* others are below 0 */
            offer(&w->node[i], USER_GAIN * (float)(n - 1) + here, id, at);
        else
            offer(&w->node[i], t->score[id] + here, id, at);
        single = single || n == char_len;
    }
    if (!single)
        offer(&w->node[at + char_len], t->score_unk + here, -1, at);
}

/* Turns the links of the best way round, so that node[x].from says where the token that begins at x
 * ends and node[x].id which it is. */
static void turn_round(struct tok_node *node, size_t n)
{
    uint32_t next = (uint32_t)n, at = next;
    int32_t id = -1;
    for (;;) {
        struct tok_node was = node[at];
        node[at].from = next;
        node[at].id = id;
        if (at == 0)
            return;
        next = at;
        id = was.id;
        at = was.from;
    }
}

static void put_run(struct tok_work *w, struct span s, float *sum)
{
    if (s.n == 0)
        return;
    if (w->cap_node < s.n + 1) {
        w->cap_node = MAX(2 * w->cap_node, MAX(s.n + 1, 256));
        w->node = mem_grow(w->node, w->cap_node * sizeof *w->node);
    }
    for (size_t i = 0; i <= s.n; i++)
        w->node[i].from = TOK_NONE;
    w->node[0].score = *sum;
    for (size_t i = 0, len; i < s.n; i += len) {
        len = 1;
        if ((unsigned char)s.p[i] >= 0x80)
            utf8_get(s.p + i, s.n - i, &len);
        if (i == 0 || w->node[i].from != TOK_NONE)
            search_from(w, s, i, len);
    }
    *sum = w->node[s.n].score;
    turn_round(w->node, s.n);
    for (size_t i = 0, end; i < s.n; i = end) {
        end = w->node[i].from;
        if (w->node[i].id >= 0)
            tok_put_id(w, w->node[i].id);
        else
            tok_put_unknown(w, (struct span){s.p + i, end - i});
    }
}

enum err tok_encode_ugm(struct tok_work *w, struct span s)
{
    float sum = 0;
    size_t from = 0;
    TRY(tok_escape(w, s));
    s = str_span(&w->buf);
    w->was_unk = false;
    for (size_t i = 1; i < s.n; i++) {
        if (!tok_cuts_at(w->t, s, i))
            continue;
        put_run(w, (struct span){s.p + from, i - from}, &sum);
        from = i;
    }
    put_run(w, (struct span){s.p + from, s.n - from}, &sum);
    return ERR_OK;
}
