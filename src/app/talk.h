/* SPDX-License-Identifier: MIT
 * talk.h - a conversation with a model on this machine: what `damso run` and `damso chat` share.
 *
 * Does: open model, tokenizer and template as the settings say; turn messages into tokens, have
 *       the scheduler answer them as the only job there is, which reads only what it does not know
 *       already, and hand out text that is whole characters; stop at the model's end tokens.
 * Does not: keep the conversation (the caller does) or print.
 * Owner: the caller, who does not move it while it is open; one thread.  `stop` may become true in
 *       a signal handler. */
#ifndef APP_TALK_H
#define APP_TALK_H

#include "app/app_model.h"
#include "app/device.h"
#include "chat/chat.h"
#include "engine/sched.h"
#include "tok/tok.h"

#include <jansson.h>
#include <pthread.h>

/* A picture that was looked at. */
struct talk_picture {
    char *path;
    uint8_t key[VISION_KEY];
    float *rows;
};

struct talk {
    struct app_model model;
    struct talk_picture *pictures; /* [n_pictures] */
    size_t n_pictures;
    struct tok *tok;
    struct chat *chat;
    struct sched *sched;
    bool *ends; /* [n_vocab]: tokens that end an answer */
    struct sampler_params sampling;
    int32_t breakers[4];
    int64_t n_max;        /* tokens of an answer; 0: until the model stops */
    uint64_t seed;        /* that the next answer begins with */
    pthread_mutex_t lock; /* of news */
    pthread_cond_t come;
    bool news; /* the answer has more tokens, or ended */
};

enum talk_end { TALK_END_MODEL, TALK_END_LENGTH, TALK_END_STOPPED };

struct talk_stats {
    size_t n_prompt, n_cached, n_answer; /* tokens */
    size_t n_drafted, n_accepted;        /* tokens guessed ahead; those of them that came */
    uint64_t prompt_ns, answer_ns;       /* answer: after the first token */
    enum talk_end end;
    struct device_run device;
};

/* Who receives an answer, piece by piece. */
struct talk_sink {
    void (*text)(void *arg, struct span piece);
    bool (*stop)(void *arg); /* asked often; true ends the answer where it is */
    void *arg;
};

enum err talk_open(struct talk *t, const struct conf *c, enum app_sight sight, struct errinfo *e);
void talk_close(struct talk *t);

/* The model's turn after `messages`: an array of {role, content}, a content a text or parts
 * {"type": "text", "text"} and {"type": "image", "path"} (talk_see.h).  Errors: TEMPLATE, CONTEXT
 * (also when the context fills up in mid-answer: what came so far was handed out), those of
 * talk_see. */
enum err talk_answer(struct talk *t, const json_t *messages, const struct talk_sink *sink,
                     struct talk_stats *stats, struct errinfo *e);

/* Continues a text as it is, without a template.  Control tokens may be written in it; each
 * VISION_BEGIN has one of the n pictures, which are files' paths. */
enum err talk_continue(struct talk *t, struct span text, const char *const *paths, size_t n,
                       const struct talk_sink *sink, struct talk_stats *stats, struct errinfo *e);

/* The next answer draws by another seed: to write an answer again and get another one. */
void talk_vary(struct talk *t);

/* A message object. */
json_t *talk_message(const char *role, const char *content, size_t n);

/* "12 + 34 tokens, 56.7 and 89.0 tokens/s" for people. */
void talk_print_stats(const struct talk_stats *s, struct str *out);

#endif
