/* SPDX-License-Identifier: MIT */
#include "mlperf/mlperf_book.h"

#include "base/arena.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>
#include <time.h>

#define NS_A_SECOND 1000000000u

void mlperf_book_init(struct mlperf_book *b, struct mlperf_hear hear, size_t token_bytes)
{
    pthread_condattr_t monotonic;
    CHECK(token_bytes == 4 || token_bytes == 8);
    *b = (struct mlperf_book){.hear = hear, .heard_ns = os_now_ns(), .token_bytes = token_bytes};
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&b->news, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

void mlperf_book_done(struct mlperf_book *b)
{
    pthread_cond_destroy(&b->news);
    pthread_mutex_destroy(&b->lock);
    mem_free(b->entry);
    b->entry = NULL;
}

size_t mlperf_book_ask(struct mlperf_book *b, const struct mlperf_sample *s, size_t n)
{
    uint64_t now = os_now_ns();
    pthread_mutex_lock(&b->lock);
    size_t at = b->n;
    if (b->n_done == b->n)
        b->heard_ns = now;
    if (b->cap - b->n < n) {
        b->cap = MAX(2 * b->cap, b->n + n + 1024);
        b->entry = mem_grow(b->entry, b->cap * sizeof *b->entry);
    }
    for (size_t i = 0; i < n; i++)
        b->entry[b->n++] = (struct mlperf_entry){
            .id = s[i].id, .question = s[i].index, .asked_ns = now};
    pthread_mutex_unlock(&b->lock);
    return at;
}

/* Under the lock. */
#define fault(b, ...)                                                                              \
    do {                                                                                           \
        if ((b)->fault.code == ERR_OK)                                                             \
            err_note(&(b)->fault, ERR_FAILED, __VA_ARGS__);                                        \
        pthread_cond_broadcast(&(b)->news);                                                        \
    } while (0)

/* The entry that a claim is about, or NULL with the fault.  Under the lock. */
static struct mlperf_entry *entry_of(struct mlperf_book *b, size_t query, size_t question)
{
    b->heard_ns = os_now_ns();
    if (query >= b->n) {
        fault(b, "the engine answered query %zu, and %zu were asked", query, b->n);
        return NULL;
    }
    struct mlperf_entry *en = &b->entry[query];
    if (en->question != question) {
        fault(b, "the engine answered question %zu for query %zu, which asked question %zu",
              question, query, en->question);
        return NULL;
    }
    if (en->done_ns) {
        fault(b, "the engine answered query %zu twice", query);
        return NULL;
    }
    return en;
}

/* LoadGen logs bytes, which the accuracy scripts of its benchmarks read as numbers of 4 or 8. */
static void put_tokens(const struct mlperf_book *b, char *out, const int32_t *token, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int64_t wide = token[i];
        if (b->token_bytes == 8)
            memcpy(out + 8 * i, &wide, 8);
        else
            memcpy(out + 4 * i, &token[i], 4);
    }
}

void mlperf_book_first(struct mlperf_book *b, size_t query, size_t question, int32_t token)
{
    char data[8];
    uintptr_t id = 0;
    put_tokens(b, data, &token, 1);
    pthread_mutex_lock(&b->lock);
    struct mlperf_entry *en = entry_of(b, query, question);
    if (en && en->first_ns)
        fault(b, "the engine gave the first token of query %zu twice", query);
    else if (en) {
        en->first_ns = b->heard_ns;
        id = en->id;
    }
    pthread_mutex_unlock(&b->lock);
    if (id && b->hear.first)
        b->hear.first(id, data, b->token_bytes);
}

/* LoadGen's id of an answer that is right, or 0. */
static uintptr_t take_answer(struct mlperf_book *b, size_t query, size_t question, size_t n)
{
    uintptr_t id = 0;
    pthread_mutex_lock(&b->lock);
    struct mlperf_entry *en = entry_of(b, query, question);
    if (en && !en->first_ns)
        fault(b, "the engine answered query %zu without a first token", query);
    else if (en && n < 2)
        fault(b, "the answer to query %zu has %zu token: LoadGen's times a token take two", query,
              n);
    else if (en) {
        en->done_ns = b->heard_ns;
        en->n_tokens = (uint32_t)n;
        id = en->id;
        b->n_done++;
        b->n_tokens += n;
    }
    pthread_mutex_unlock(&b->lock);
    return id;
}

void mlperf_book_complete(struct mlperf_book *b, size_t query, size_t question,
                          const int32_t *token, size_t n)
{
    char *data = mem_alloc((n + 1) * b->token_bytes);
    put_tokens(b, data, token, n);
    uintptr_t id = take_answer(b, query, question, n);
    if (id && b->keep)
        b->keep(b->keep_arg, question, token, n);
    if (id && b->hear.complete)
        b->hear.complete(id, data, n * b->token_bytes, (int64_t)n);
    mem_free(data);
    pthread_mutex_lock(&b->lock);
    pthread_cond_broadcast(&b->news);
    pthread_mutex_unlock(&b->lock);
}

void mlperf_book_fail(struct mlperf_book *b, const struct errinfo *e)
{
    pthread_mutex_lock(&b->lock);
    if (b->fault.code == ERR_OK)
        b->fault = *e;
    pthread_cond_broadcast(&b->news);
    pthread_mutex_unlock(&b->lock);
}

void mlperf_book_wait(struct mlperf_book *b, size_t n_done, uint64_t wait_ns)
{
    uint64_t until = os_now_ns() + wait_ns;
    struct timespec at = {(time_t)(until / NS_A_SECOND), (long)(until % NS_A_SECOND)};
    pthread_mutex_lock(&b->lock);
    for (int r = 0; r == 0 && b->n_done < n_done && b->fault.code == ERR_OK;)
        r = pthread_cond_timedwait(&b->news, &b->lock, &at);
    pthread_mutex_unlock(&b->lock);
}

void mlperf_book_watch(struct mlperf_book *b, uint64_t stall_ns)
{
    uint64_t now = os_now_ns();
    pthread_mutex_lock(&b->lock);
    if (b->n_done < b->n && now > b->heard_ns && now - b->heard_ns > stall_ns)
        fault(b, "%zu of %zu queries have no answer, and the engine said nothing for %.1f s",
              b->n - b->n_done, b->n, (double)(now - b->heard_ns) * 1e-9);
    pthread_mutex_unlock(&b->lock);
}

bool mlperf_book_right(struct mlperf_book *b, struct errinfo *e)
{
    pthread_mutex_lock(&b->lock);
    bool right = b->fault.code == ERR_OK;
    if (!right && e)
        *e = b->fault;
    pthread_mutex_unlock(&b->lock);
    return right;
}

struct mlperf_count mlperf_book_count(struct mlperf_book *b)
{
    pthread_mutex_lock(&b->lock);
    struct mlperf_count c = {b->n, b->n_done, b->n_tokens};
    pthread_mutex_unlock(&b->lock);
    return c;
}
