/* SPDX-License-Identifier: MIT
 * talk_see.h - pictures of a conversation on this machine.
 *
 * Does: read a picture's file, in a process of its own (vision_child.h), and have the model's
 *       projector see it, once for a conversation; put pictures where a prompt has their places.
 * Does not: follow a file that changes: what was seen under its path stays.
 * Owner: the talk; one thread. */
#ifndef APP_TALK_SEE_H
#define APP_TALK_SEE_H

#include "app/talk.h"
#include "vision/vision_prompt.h"

/* The pictures of a prompt, in order. */
struct talk_look {
    size_t n;
    size_t picture[VISION_PROMPT_MAX]; /* of the talk */
    struct engine_span spans[VISION_PROMPT_MAX];
};

/* Errors: USAGE where the model takes text alone, NOTFOUND and IO of the file, those of
 * vision_child_read; each names the file. */
enum err talk_see(struct talk *t, const char *path, size_t *index, struct errinfo *e);
void talk_forget(struct talk *t); /* all of them */

/* Those of all messages.  Errors: those of talk_see; TOOBIG. */
enum err talk_look_messages(struct talk *t, const json_t *messages, struct talk_look *look,
                            struct errinfo *e);
enum err talk_look_paths(struct talk *t, const char *const *paths, size_t n, struct talk_look *look,
                         struct errinfo *e);
/* The tokens of a text with them.  Errors: TEMPLATE where it has not as many places; those of
 * vision_prompt. */
enum err talk_look_encode(const struct talk *t, struct talk_look *look, struct span text,
                          unsigned flags, struct tok_ids *ids, struct errinfo *e);

/* A message of pictures and words: {role: "user", content: parts}.  paths: strings. */
json_t *talk_message_seen(const json_t *paths, const char *content, size_t n);

#endif
