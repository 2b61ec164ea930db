/* SPDX-License-Identifier: MIT
 * chat_int.h - what the parts of chat share: the open chat and the marks of its syntax.
 *
 * A coded text is one in which each control token of the vocabulary stands between two bytes 0xFF,
 * which UTF-8 never has: so a token and its spelt name are different texts.
 * Owner: chat_open's caller has the chat; nothing outside src/chat includes this. */
#ifndef CHAT_CHAT_INT_H
#define CHAT_CHAT_INT_H

#include "base/arena.h"
#include "base/num.h"
#include "base/str.h"
#include "chat/chat.h"
#include "chat/jinja_int.h"

#define CHAT_CONTROL ((char)0xff)

enum chat_kind { CHAT_JSON, CHAT_LIST, CHAT_NAMED, CHAT_XML, CHAT_HARMONY };

enum chat_flag { CHAT_BARE = 1, CHAT_OURS = 2 };

enum chat_mark {
    MARK_OUTER,
    MARK_OPEN,
    MARK_BEFORE,
    MARK_SKIP,
    MARK_NAME_END,
    MARK_FENCE,
    MARK_CLOSE,
    MARK_OUTER_END,
    MARK_ROW_N,
    MARK_THINK = MARK_ROW_N,
    MARK_THINK_END,
    MARK_N
};

struct chat_syntax {
    const char *name;
    enum chat_kind kind;
    unsigned flags;
    const char *args; /* key of the arguments */
    const char *mark[MARK_ROW_N];
};

struct chat {
    struct span guarded;    /* a text that is marked as control tokens' are; n 0: none */
    struct jinja *template; /* NULL: the plain fallback */
    const struct tok *tok;  /* NULL: none given */
    char *bos, *eos;
    size_t n_bos, n_eos;
    bool takes_system, takes_tools, wants_parts, args_as_text;
    bool thinks; /* the template knows the marks of reasoning */
    unsigned switches;
    const struct chat_syntax *syntax;
    struct str mark[MARK_N]; /* coded */
};

static inline struct span chat_mark(const struct chat *c, enum chat_mark m)
{
    return str_span(&c->mark[m]);
}

/* Appends `text`, coded by the chat's vocabulary. */
void chat_code(const struct chat *c, struct span text, struct str *out);
/* Row by name, NULL: unknown; row by number, NULL behind the last. */
const struct chat_syntax *chat_syntax_find(struct span name);
const struct chat_syntax *chat_syntax_at(size_t i);
void chat_set_syntax(struct chat *c, const struct chat_syntax *s);
/* Finds syntax, marks of reasoning and switches.  Needs what chat_open found before. */
void chat_find_syntax(struct chat *c, struct span source);
void chat_marks_done(struct chat *c);
/* The function object of a tool in either of its forms, and its name or NULL. */
const json_t *chat_tool_function(const json_t *tool);
const char *chat_tool_name(const json_t *tool);
/* A copy of messages, tools or kwargs in which no text holds a control token of the vocabulary
 * without a mark in it (TOK_MARK); NULL for NULL. */
json_t *chat_guard(const struct chat *c, const json_t *j);
/* Gives the arguments of a message's calls as the template wants them. */
void chat_adapt_calls(const struct chat *c, json_t *message);
/* For models whose template shows no tools: changes `messages`, which is ours, so that it tells of
 * `tools` (may be NULL), and, where the template writes no calls, shows calls and results. */
void chat_tell_tools(const struct chat *c, json_t *messages, const json_t *tools);
/* chat_render with small limits, as probes need it. */
enum err chat_probe(const struct chat *c, const json_t *messages, const json_t *tools, bool prompt,
                    struct str *out);

#endif
