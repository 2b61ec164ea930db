/* SPDX-License-Identifier: MIT
 * eval_choices.c - questions with choices: which one the model finds likeliest. */
#include "app/eval.h"

#include "base/num.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES_MAX ((size_t)4 << 20)
#define CHOICES_MAX    64

struct question {
    const char *text;
    const json_t *choices;
    size_t answer;
};

/* The line as a question; the texts live as long as root. */
static enum err read_question(const json_t *root, size_t line, struct question *q,
                              struct errinfo *e)
{
    json_int_t answer = -1;
    const json_t *index = json_object_get(root, "answer");
    q->text = json_string_value(json_object_get(root, "question"));
    q->choices = json_object_get(root, "choices");
    size_t n = json_array_size(q->choices);
    if (json_is_integer(index))
        answer = json_integer_value(index);
    if (!q->text || n < 2 || n > CHOICES_MAX || answer < 0 || (size_t)answer >= n)
        return err_set(e, ERR_USAGE,
                       "--choices, line %zu: needs \"question\", \"choices\" of 2 to %d texts and "
                       "\"answer\", the number of one from 0 on",
                       line, CHOICES_MAX);
    q->answer = (size_t)answer;
    for (size_t i = 0; i < n; i++)
        if (json_string_length(json_array_get(q->choices, i)) == 0)
            return err_set(e, ERR_USAGE, "--choices, line %zu: choice %zu is no text", line, i);
    return ERR_OK;
}

struct choice {
    const int32_t *ids;
    size_t vocab;
    double log_p;
};

static bool add_row(void *arg, size_t at, const float *const *logits)
{
    struct choice *c = arg;
    c->log_p += (double)logits[0][c->ids[at]] - eval_log_sum(logits[0], c->vocab);
    return true;
}

/* How many tokens of the whole are the question's: as many as both begin with. */
static size_t common(const struct tok_ids *a, const struct tok_ids *b)
{
    size_t n = 0;
    while (n < a->n && n < b->n && a->id[n] == b->id[n])
        n++;
    return n;
}

static enum err score_choice(struct eval_model *m, const char *question, const char *choice,
                             double *log_p, struct errinfo *e)
{
    struct str whole;
    struct tok_ids head = {0}, all = {0};
    size_t n = strlen(question);
    bool spaced = n == 0 || isspace((unsigned char)question[n - 1]) ||
                  isspace((unsigned char)choice[0]);
    str_init(&whole, LINE_BYTES_MAX);
    str_add_cstr(&whole, question);
    if (!spaced)
        str_add_char(&whole, ' ');
    str_add_cstr(&whole, choice);
    enum err r = tok_encode(m->tok, span_of(question), TOK_BOS, &head, e);
    if (r == ERR_OK)
        r = tok_encode(m->tok, str_span(&whole), TOK_BOS, &all, e);
    size_t from = MAX(common(&head, &all), (size_t)1);
    if (r == ERR_OK && all.n > engine_ctx(m->app.engine))
        r = err_set(e, ERR_CONTEXT, "a question with its choice has %zu tokens; --window is %zu",
                    all.n, engine_ctx(m->app.engine));
    if (r == ERR_OK && from >= all.n)
        r = err_set(e, ERR_USAGE, "a choice that adds no token cannot be scored");
    if (r == ERR_OK) {
        struct choice c = {all.id, engine_model(m->app.engine)->n_vocab, 0};
        r = eval_run(&m, 1, all.id, all.n, from, add_row, &c, e);
        *log_p = c.log_p;
    }
    tok_ids_done(&head);
    tok_ids_done(&all);
    str_done(&whole);
    return r;
}

static enum err ask(struct eval_model *m, const struct question *q, struct eval_choices *c,
                    struct errinfo *e)
{
    size_t best = 0, best_len = 0;
    double most = 0, most_len = 0;
    for (size_t i = 0; i < json_array_size(q->choices); i++) {
        const char *choice = json_string_value(json_array_get(q->choices, i));
        double log_p;
        TRY(score_choice(m, q->text, choice, &log_p, e));
        double by_len = log_p / (double)strlen(choice);
        if (i == 0 || log_p > most)
            most = log_p, best = i;
        if (i == 0 || by_len > most_len)
            most_len = by_len, best_len = i;
    }
    c->n++;
    c->n_right += best == q->answer;
    c->n_right_len += best_len == q->answer;
    return ERR_OK;
}

static enum err ask_line(struct eval_model *m, const char *text, size_t n, size_t line,
                         struct eval_choices *c, struct errinfo *e)
{
    struct question q;
    json_error_t why;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return err_set(e, ERR_USAGE, "--choices, line %zu: %.100s", line, why.text);
    enum err r = read_question(root, line, &q, e);
    if (r == ERR_OK)
        r = ask(m, &q, c, e);
    json_decref(root);
    return r;
}

static enum err ask_all(struct eval_model *m, FILE *f, size_t limit, struct eval_choices *c,
                        struct errinfo *e)
{
    char *text = NULL;
    size_t cap = 0, line = 0;
    enum err r = ERR_OK;
    for (ssize_t n; r == ERR_OK && (!limit || c->n < limit) && (n = getline(&text, &cap, f)) > 0;) {
        line++;
        if ((size_t)n > LINE_BYTES_MAX)
            r = err_set(e, ERR_TOOBIG, "--choices, line %zu: more than %zu bytes", line,
                        LINE_BYTES_MAX);
        else if (text[strspn(text, " \t\r\n")])
            r = ask_line(m, text, (size_t)n, line, c, e);
    }
    free(text);
    return r;
}

enum err eval_choices(struct eval_model *m, const char *path, size_t limit, struct eval_choices *c,
                      struct errinfo *e)
{
    FILE *f = fopen(path, "re");
    *c = (struct eval_choices){0};
    if (!f)
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%s: %s", path, strerror(errno));
    enum err r = ask_all(m, f, limit, c, e);
    if (r == ERR_OK && ferror(f))
        r = err_set(e, ERR_IO, "%s: could not be read", path);
    fclose(f);
    if (r == ERR_OK && c->n == 0)
        r = err_set(e, ERR_USAGE, "%s: has no question", path);
    return r;
}
