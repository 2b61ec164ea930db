/* SPDX-License-Identifier: MIT
 * chat_parse_int.h - what the parts of the parser share.
 *
 * The text waits in buf, coded (chat_int.h), until it is known what it is; a step function looks at
 * buf from `at` on, hands out or drops a beginning of buf, changes the mode and says whether there
 * is more to do before the next piece comes.
 * Owner: chat_parse.c. */
#ifndef CHAT_CHAT_PARSE_INT_H
#define CHAT_CHAT_PARSE_INT_H

#include "base/num.h"
#include "chat/chat_int.h"
#include "chat/chat_parse.h"

enum parse_mode {
    PARSE_TEXT,
    PARSE_REASON,
    PARSE_CALL,
};

enum parse_hit { HIT_NO, HIT_MAYBE, HIT_YES };

/* Where a call stands; each kind uses its own. */
enum parse_phase {
    /* JSON, LIST */
    P_BEGIN,
    P_KEY,
    P_IN_KEY,
    P_COLON,
    P_VALUE,
    P_IN_VALUE,
    P_AFTER,
    P_NEXT,
    /* NAMED, XML */
    P_OUTER,
    P_NAME,
    P_SKIP,
    P_ARGS,
    P_IN_ARGS,
    P_CLOSE,
    P_PARAMETER,
    P_PARAMETER_NAME,
    P_PARAMETER_VALUE,
    /* HARMONY */
    P_START,
    P_HEADER,
    P_BODY,
};

/* Finds the end of a JSON value, which it does not check. */
struct parse_value {
    bool begun, in_text, escaped, scalar;
    size_t depth;
};

struct chat_parse {
    const struct chat *c;
    const struct chat_parse_sink *sink;
    struct chat_parse_sink own;
    json_t *known;       /* name -> parameters, true where there are none */
    size_t longest_name; /* of known */
    struct str buf, out;
    size_t at;
    char tail[4]; /* of a character that is not whole yet */
    size_t n_tail;
    enum parse_mode mode;
    bool ending;
    bool fresh;      /* no content yet */
    bool drop_space; /* what comes next loses its leading white space */

    /* the call */
    enum parse_phase phase;
    bool marked;             /* its mark was written */
    bool list;               /* inside [ ] */
    bool open;               /* call_begin was called */
    size_t n_calls, n_given; /* n_given: bytes of its arguments */
    size_t key_from, value_from;
    enum { KEY_OTHER, KEY_NAME, KEY_ARGS } key;
    struct parse_value value;
    const char *name; /* in known */
    /* arguments in buf: from..to; SIZE_MAX: not there, not ended */
    size_t args_from, args_to;
    bool args_text; /* written as a string */
    int escape;     /* of that string: 0, 1 after \, 2..5 digits left + 1 */
    uint32_t unit, high;
    /* XML */
    struct str parameter;
    bool value_is_text, value_begun;
    size_t n_parameters;
    /* HARMONY */
    enum { BODY_CONTENT, BODY_REASON, BODY_CALL } body;
};

enum parse_hit parse_looking_at(const struct chat_parse *p, size_t at, struct span what);
/* Position behind the white space at `at`. */
size_t parse_skip_space(const struct chat_parse *p, size_t at);
bool parse_is_space(char c);
/* Bytes of the character, or of the whole control token, at `at`. */
size_t parse_unit(const struct chat_parse *p, size_t at);
/* Removes the first n bytes of buf; at and the other places move with it. */
void parse_drop(struct chat_parse *p, size_t n);
/* Appends buf[from..to) as text: control tokens in their written form, or left out. */
void parse_decode(const struct chat_parse *p, size_t from, size_t to, bool written,
                  struct str *out);
/* Hands out the first n bytes of buf and removes them. */
void parse_give_content(struct chat_parse *p, size_t n, bool written);
void parse_give_reasoning(struct chat_parse *p, size_t n);
/* What was read so far, up to `at`, is content after all. */
void parse_give_back(struct chat_parse *p);
/* The tool of this name as `known` has it, or NULL. */
const char *parse_known(const struct chat_parse *p, struct span name);
void parse_call_begin(struct chat_parse *p, const char *name);
void parse_call_give(struct chat_parse *p, struct span arguments);
void parse_call_end(struct chat_parse *p);
/* Behind the last call of a block. */
void parse_to_text(struct chat_parse *p);

/* Reads one byte of a value: 0: inside; 1: it ends with this byte; 2: it ended before it. */
int parse_value_byte(struct parse_value *v, char c);

/* Steps of the kinds; each true when something changed. */
bool parse_step_json(struct chat_parse *p);
bool parse_step_named(struct chat_parse *p);
bool parse_step_xml(struct chat_parse *p);
bool parse_step_harmony(struct chat_parse *p);
/* Where the end cuts off an object whose name is known, it is a call all the same. */
void parse_cut_json(struct chat_parse *p);
/* What follows a call of the kinds NAMED and XML: marks that end it, or the next one. */
bool parse_step_close(struct chat_parse *p);
/* Finds `what` in the first `max` bytes from `from`: HIT_YES with its place, HIT_MAYBE where more
 * text is needed. */
enum parse_hit parse_find(const struct chat_parse *p, size_t from, size_t max, struct span what,
                          size_t *place);
/* s without the white space at its ends. */
struct span parse_trim(struct span s);

#endif
