/* SPDX-License-Identifier: MIT
 * cmd_bench_serve_http.c - requests of one level over libcurl's multi interface, all on one thread;
 * answers are streamed, and each event's time is taken when it is read. */
#include "app/cmd_bench_serve.h"

#include "base/arena.h"
#include "base/num.h"
#include "base/str.h"
#include "os/os_sys.h"

#include <curl/curl.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#define LINE_BYTES_MAX ((size_t)1 << 20)
#define BODY_BYTES_MAX ((size_t)8 << 20)
#define REFUSAL_BYTES  ((size_t)160)
#define WAIT_MS        100
#define IDLE_S         600L /* without a byte: given up */

static const char *const words[] = {
    "river",  "stone",  "window", "garden", "letter", "winter", "bridge", "market",
    "summer", "silver", "forest", "music",  "harbor", "paper",  "candle", "engine",
    "mirror", "island", "butter", "thread", "planet", "copper", "needle", "valley",
    "orange", "ladder", "pepper", "saddle", "velvet", "carbon", "meadow", "signal"};

struct transfer {
    struct run *run;
    struct serve_request *request;
    CURL *easy;
    struct str body, line;
    bool done_mark; /* "data: [DONE]" */
    uint64_t chunks;
    struct str refusal; /* the beginning of a body that is no stream */
};

struct run {
    const struct serve_load *load;
    struct serve_level *l;
    CURLM *multi;
    struct curl_slist *headers;
    char *url;
    struct transfer *transfer; /* [n_transfers] */
    size_t n_transfers, n_active, next;
    uint64_t rng, due_ns; /* due: the next request at a rate */
};

/* ---- an answer ---- */

static bool has_text(const json_t *choice)
{
    static const char *const keys[] = {"content", "reasoning_content", "reasoning"};
    const json_t *delta = json_object_get(choice, "delta");
    for (size_t i = 0; i < N_ELEMS(keys); i++)
        if (json_string_length(json_object_get(delta, keys[i])) > 0)
            return true;
    return json_string_length(json_object_get(choice, "text")) > 0;
}

static void take_event(struct transfer *t, const char *p, size_t n, uint64_t now)
{
    if (n == 6 && memcmp(p, "[DONE]", 6) == 0) {
        t->done_mark = true;
        return;
    }
    json_t *o = json_loadb(p, n, 0, NULL);
    const json_t *usage = json_object_get(o, "usage");
    json_int_t told = json_integer_value(json_object_get(usage, "completion_tokens"));
    if (has_text(json_array_get(json_object_get(o, "choices"), 0))) {
        if (!t->request->first_ns)
            t->request->first_ns = now;
        t->request->last_ns = now;
        t->chunks++;
    }
    if (told > 0)
        t->request->n_tokens = (uint64_t)told;
    json_decref(o);
}

static size_t take_bytes(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    uint64_t now = os_now_ns();
    n *= size;
    if (!t->request->first_ns && t->refusal.n < REFUSAL_BYTES)
        str_add(&t->refusal, p, MIN(n, REFUSAL_BYTES - t->refusal.n));
    for (size_t i = 0; i < n; i++) {
        if (p[i] != '\n') {
            str_add_char(&t->line, p[i]);
            continue;
        }
        while (t->line.n && t->line.p[t->line.n - 1] == '\r')
            t->line.n--;
        if (span_starts(str_span(&t->line), SPAN("data:"))) {
            size_t from = 5 + (t->line.n > 5 && t->line.p[5] == ' ');
            take_event(t, t->line.p + from, t->line.n - from, now);
        }
        str_clear(&t->line);
    }
    return t->line.full ? 0 : n;
}

/* ---- a request ---- */

static void write_body(struct run *x, struct transfer *t)
{
    struct str text;
    const struct serve_load *load = x->load;
    str_init(&text, BODY_BYTES_MAX);
    str_addf(&text, "Write a story with these words: %llu", (unsigned long long)num_rand(&x->rng));
    for (int64_t i = 0; i < load->words; i++)
        str_addf(&text, " %s", words[num_rand(&x->rng) % N_ELEMS(words)]);
    json_t *o = json_pack("{s:s, s:[{s:s, s:s}], s:b, s:i, s:{s:b}}", "model", load->model,
                          "messages", "role", "user", "content", text.p, "stream", 1, "temperature",
                          0, "stream_options", "include_usage", 1);
    CHECK(o);
    json_object_set_new(o, load->plain ? "max_tokens" : "max_completion_tokens",
                        json_integer(load->answer));
    if (!load->plain) /* every answer as long as asked */
        json_object_set_new(o, "ignore_eos", json_true());
    char *body = json_dumps(o, JSON_COMPACT);
    str_clear(&t->body);
    str_add_cstr(&t->body, body);
    free(body); /* jansson's */
    json_decref(o);
    str_done(&text);
}

static void begin(struct run *x, struct transfer *t, uint64_t due_ns)
{
    t->request = &x->l->request[x->next++];
    *t->request = (struct serve_request){.due_ns = due_ns};
    t->done_mark = false;
    t->chunks = 0;
    str_clear(&t->line);
    str_clear(&t->refusal);
    write_body(x, t);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->body.p);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body.n);
    t->request->began_ns = os_now_ns();
    if (!due_ns)
        t->request->due_ns = t->request->began_ns;
    CHECK(curl_multi_add_handle(x->multi, t->easy) == CURLM_OK);
    x->n_active++;
}

/* The beginning of what a server said, for a terminal and for JSON: it may be any bytes. */
static void add_said(char *out, size_t room, const struct str *said)
{
    struct str clean;
    str_init(&clean, 3 * REFUSAL_BYTES);
    utf8_repair(&clean, str_span(said));
    clean.n = utf8_complete((struct span){clean.p, MIN(clean.n, room - 1)});
    while (clean.n && (unsigned char)clean.p[clean.n - 1] <= ' ')
        clean.n--;
    for (size_t i = 0; i < clean.n; i++)
        out[i] = (unsigned char)clean.p[i] < 0x20 || clean.p[i] == 0x7f ? ' ' : clean.p[i];
    out[clean.n] = 0;
    str_done(&clean);
}

static void note_error(struct run *x, const struct transfer *t, CURLcode code, long status)
{
    char *out = x->l->error;
    size_t n = sizeof x->l->error;
    if (out[0])
        return;
    if (code != CURLE_OK)
        snprintf(out, n, "%s", curl_easy_strerror(code));
    else if (status != 200)
        add_said(out + snprintf(out, n, "status %ld: ", status), 121, &t->refusal);
    else
        snprintf(out, n, "%s", t->done_mark ? "an answer without text" : "a stream without an end");
}

static void end(struct run *x, struct transfer *t, CURLcode code)
{
    long status = 0;
    struct serve_request *r = t->request;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    r->done_ns = os_now_ns();
    if (!r->n_tokens)
        r->n_tokens = t->chunks;
    r->ok = code == CURLE_OK && status == 200 && t->done_mark && t->chunks > 0;
    if (!r->ok)
        note_error(x, t, code, status);
    curl_multi_remove_handle(x->multi, t->easy);
    t->request = NULL;
    x->n_active--;
}

/* ---- a level ---- */

static struct transfer *idle(struct run *x)
{
    for (size_t i = 0; i < x->n_transfers; i++)
        if (!x->transfer[i].request)
            return &x->transfer[i];
    return NULL;
}

/* Begins what is due; gives the milliseconds until the next is. */
static int begin_due(struct run *x)
{
    struct transfer *t;
    while (x->next < x->l->n && (t = idle(x))) {
        uint64_t now = os_now_ns(), due = 0;
        if (x->l->clients == 0) {
            due = x->due_ns;
            if (now < x->due_ns)
                return (int)MIN((x->due_ns - now) / 1000000, (uint64_t)WAIT_MS);
            /* Poisson: the gaps are exponential. */
            x->due_ns += (uint64_t)(-log(1 - num_rand_unit(&x->rng)) / x->l->rate * 1e9);
        }
        begin(x, t, due);
    }
    return WAIT_MS;
}

static void take_ended(struct run *x)
{
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(x->multi, &left));) {
        struct transfer *t;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
        end(x, t, code);
    }
}

static enum err drive(struct run *x, struct errinfo *e)
{
    while (x->next < x->l->n || x->n_active) {
        int running, wait = begin_due(x);
        if (cmd_stopped())
            return err_set(e, ERR_CANCELLED, "stopped");
        curl_multi_perform(x->multi, &running);
        take_ended(x);
        if (x->l->clients && x->next < x->l->n && idle(x))
            continue;
        curl_multi_poll(x->multi, NULL, 0, wait, NULL);
    }
    return ERR_OK;
}

static void open_transfer(struct run *x, struct transfer *t)
{
    t->run = x;
    str_init(&t->body, BODY_BYTES_MAX);
    str_init(&t->line, LINE_BYTES_MAX);
    str_init(&t->refusal, REFUSAL_BYTES);
    t->easy = curl_easy_init();
    CHECK(t->easy);
    curl_easy_setopt(t->easy, CURLOPT_URL, x->url);
    curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, x->headers);
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t->easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_TIME, IDLE_S);
    curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
}

static void open_run(struct run *x, struct arena *tmp)
{
    const struct serve_load *load = x->load;
    x->url = arena_printf(tmp, "%s/v1/chat/completions", load->url);
    x->headers = curl_slist_append(NULL, "Content-Type: application/json");
    x->headers = curl_slist_append(x->headers, "Accept: text/event-stream");
    x->headers = curl_slist_append(x->headers, "Expect:");
    if (load->key)
        x->headers = curl_slist_append(x->headers,
                                       arena_printf(tmp, "Authorization: Bearer %s", load->key));
    x->multi = curl_multi_init();
    CHECK(x->multi && x->headers);
    curl_multi_setopt(x->multi, CURLMOPT_MAXCONNECTS, (long)SERVE_CLIENTS_MAX);
    x->n_transfers = x->l->clients ? (size_t)x->l->clients
                                   : MIN(x->l->n, (size_t)load->connections);
    x->transfer = mem_alloc(x->n_transfers * sizeof *x->transfer);
    for (size_t i = 0; i < x->n_transfers; i++)
        open_transfer(x, &x->transfer[i]);
}

static void close_run(struct run *x)
{
    for (size_t i = 0; i < x->n_transfers; i++) {
        struct transfer *t = &x->transfer[i];
        if (t->request)
            curl_multi_remove_handle(x->multi, t->easy);
        curl_easy_cleanup(t->easy);
        str_done(&t->body);
        str_done(&t->line);
        str_done(&t->refusal);
    }
    curl_multi_cleanup(x->multi);
    curl_slist_free_all(x->headers);
    mem_free(x->transfer);
}

enum err serve_run(const struct serve_load *load, struct serve_level *l, struct errinfo *e)
{
    struct run x = {
        .load = load, .l = l, .rng = load->seed ^ num_hash(l, offsetof(struct serve_level, n), 1)};
    struct arena tmp;
    arena_init(&tmp);
    open_run(&x, &tmp);
    x.due_ns = os_now_ns();
    enum err r = drive(&x, e);
    close_run(&x);
    arena_done(&tmp);
    size_t good = 0;
    for (size_t i = 0; i < l->n; i++)
        good += l->request[i].ok;
    if (r == ERR_OK && good == 0)
        r = err_set(e, ERR_NETWORK, "%.200s: no request was answered: %s", load->url, l->error);
    return r;
}
