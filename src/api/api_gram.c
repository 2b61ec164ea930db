/* SPDX-License-Identifier: MIT */
#include "api/api_gram.h"

#define KEY_BYTES_MAX ((size_t)64 << 20)

static void free_one(struct api_gram *g)
{
    gram_free(g->gram);
    str_done(&g->key);
    mem_free(g);
}

/* With the lock held: moves what `at` points to to the front. */
static struct api_gram *to_front(struct api_model *m, struct api_gram **at)
{
    struct api_gram *g = *at;
    *at = g->next;
    g->next = m->grams;
    m->grams = g;
    return g;
}

/* With the lock held: lets go of those used longest ago that nobody uses now. */
static void trim(struct api_model *m)
{
    size_t n = 0;
    for (struct api_gram **at = &m->grams; *at;) {
        struct api_gram *g = *at;
        if (++n > API_GRAMS_MAX && g->refs == 0) {
            *at = g->next;
            free_one(g);
        } else {
            at = &g->next;
        }
    }
}

struct api_gram *api_gram_find(struct api_model *m, struct span key)
{
    struct api_gram *g = NULL;
    pthread_mutex_lock(&m->gram_lock);
    for (struct api_gram **at = &m->grams; *at && !g; at = &(*at)->next) {
        if (!span_eq(str_span(&(*at)->key), key))
            continue;
        g = to_front(m, at);
        g->refs++;
        break;
    }
    pthread_mutex_unlock(&m->gram_lock);
    return g;
}

struct api_gram *api_gram_add(struct api_model *m, struct span key, struct gram *gram)
{
    struct api_gram *g = mem_alloc(sizeof *g);
    g->gram = gram;
    g->refs = 1;
    str_init(&g->key, KEY_BYTES_MAX);
    str_add_span(&g->key, key);
    pthread_mutex_lock(&m->gram_lock);
    g->next = m->grams;
    m->grams = g;
    trim(m);
    pthread_mutex_unlock(&m->gram_lock);
    return g;
}

void api_gram_drop(struct api_model *m, struct api_gram *g)
{
    if (!g)
        return;
    pthread_mutex_lock(&m->gram_lock);
    CHECK(g->refs > 0);
    g->refs--;
    trim(m);
    pthread_mutex_unlock(&m->gram_lock);
}

void api_gram_clear(struct api_model *m)
{
    for (struct api_gram *g = m->grams, *next; g; g = next) {
        next = g->next;
        CHECK(g->refs == 0);
        free_one(g);
    }
    m->grams = NULL;
}
