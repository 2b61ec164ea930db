/* SPDX-License-Identifier: MIT
 * api_share_notes.c - what readers say to a shared chat: they recommend it, or leave a note beside
 * a phrase; and what its owner does with that.
 *
 * Who has the link may read and write; nobody logs in for it.  All they write is text. */
#include "api/api_chats.h"
#include "api/api_readers.h"
#include "api/api_shares.h"

#include <string.h>

json_t *api_shares_notes(const struct store_chats *x)
{
    json_t *list = json_array();
    for (size_t i = 0; i < x->n_notes; i++) {
        const struct store_note *a = &x->notes[i];
        json_array_append_new(
            list, api_pack("{ss ss ss ss ss sI sI sI sb sb}", "id", a->id, "name", a->name, "text",
                           a->text, "message", a->message, "quote", a->quote, "nth",
                           (json_int_t)a->nth, "created", (json_int_t)a->created, "likes",
                           (json_int_t)a->n_likes, "liked", (int)a->liked, "own", (int)a->own));
    }
    return list;
}

/* ---- readers ---- */

/* What they see now, without the chat itself. */
static void give_said(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    const struct store_chats *x = s->op.chats;
    api_call_json(c, 200,
                  api_pack("{sI sb sb so}", "likes", (json_int_t)x->share.n_likes, "liked",
                           (int)x->share.liked, "comments", (int)x->share.comments, "notes",
                           api_shares_notes(x)));
}

/* An operation of a reader on the share of the address. */
static struct api_stored *of_reader(struct api_call *c, enum store_what what, const char *reader,
                                    struct store_chats **x)
{
    struct api_stored *s = api_chats_new(c, what, x);
    if (!s)
        return NULL;
    (*x)->id = api_stored_keep(s, http_param(c->req, "token"));
    (*x)->note.reader = api_stored_keep(s, reader);
    return s;
}

void api_do_shared_like(struct api_call *c)
{
    struct store_chats *x;
    bool on = true;
    const char *note = NULL;
    if (!api_chats_write(c, true))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (!api_get_bool(&in, "on", &on) || !api_get_text(&in, "note", &note) ||
        !api_readers_take(c->api->readers, c, API_READER_LIKE)) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = of_reader(c, STORE_SHARE_LIKE, api_reader_make(c), &x);
    if (!s)
        return;
    x->at = api_stored_keep(s, note);
    x->liked = on;
    api_stored_run(s, give_said);
}

/* Lines of a person's words: no control characters but newlines and tabs, and something to see. */
static bool is_prose(const char *text)
{
    bool something = false;
    for (const char *p = text; *p; p++) {
        unsigned char x = (unsigned char)*p;
        if ((x < 0x20 && x != '\n' && x != '\t') || x == 0x7f)
            return false;
        something |= x > 0x20;
    }
    return something;
}

static bool read_note(const struct api_in *in, struct store_note *a)
{
    a->text = a->name = a->message = a->quote = "";
    if (!api_get_text(in, "text", &a->text) || !api_get_text(in, "name", &a->name) ||
        !api_get_text(in, "message", &a->message) || !api_get_text(in, "quote", &a->quote) ||
        !api_get_int(in, "nth", 0, 1000000, &a->nth))
        return false;
    if (!is_prose(a->text) || strlen(a->text) > STORE_NOTE_BYTES_MAX)
        return api_get_refuse(in, "text", "a text of 1 to %zu bytes is expected",
                              STORE_NOTE_BYTES_MAX);
    if (strlen(a->name) > STORE_NOTE_NAME_MAX || !utf8_printable(span_of(a->name)))
        return api_get_refuse(in, "name", "one line of at most %zu bytes is expected",
                              STORE_NOTE_NAME_MAX);
    if (*a->quote && (!is_prose(a->quote) || strlen(a->quote) > STORE_NOTE_BYTES_MAX))
        return api_get_refuse(in, "quote", "a text of at most %zu bytes is expected",
                              STORE_NOTE_BYTES_MAX);
    if (*a->quote && !*a->message)
        return api_get_refuse(in, "message", "is missing: the one that the quote is of");
    return true;
}

static bool has_message(const struct store_share *h, const char *id)
{
    json_t *list = api_shares_messages(h), *v;
    bool found = !*id;
    size_t i;
    json_array_foreach(list, i, v)
    {
        const char *known = json_string_value(json_object_get(v, "id"));
        found |= known && strcmp(known, id) == 0;
    }
    json_decref(list);
    return found;
}

static void add_note(struct api_call *c, struct api_stored *read)
{
    const struct store_note *a = c->own;
    struct store_chats *x;
    if (!api_chats_ok(c, read))
        return;
    const struct store_share *h = &read->op.chats->share;
    if (!h->comments)
        api_refuse(&c->fault, 403, "comments_off", "", "the owner takes no notes on this chat");
    else if (!has_message(h, a->message))
        api_refuse(&c->fault, 400, "invalid_value", "message",
                   "message: \"%.64s\" is not in this chat", a->message);
    else
        api_readers_take(c->api->readers, c, API_READER_NOTE);
    if (c->fault.status) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = of_reader(c, STORE_NOTE_ADD, api_reader_make(c), &x);
    if (!s)
        return;
    x->note = (struct store_note){.id = api_new_id(&s->arena, "note-"),
                                  .reader = x->note.reader,
                                  .name = api_stored_keep(s, a->name),
                                  .text = api_stored_keep(s, a->text),
                                  .message = api_stored_keep(s, a->message),
                                  .quote = api_stored_keep(s, a->quote),
                                  .nth = a->nth};
    api_stored_run(s, give_said);
}

void api_do_shared_note_new(struct api_call *c)
{
    struct store_chats *x;
    struct store_note *a = arena_alloc(c->req->arena, sizeof *a);
    if (!api_chats_write(c, false))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    c->own = a;
    if (!read_note(&in, a)) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = of_reader(c, STORE_SHARE_GET, NULL, &x);
    if (s)
        api_stored_run(s, add_note);
}

static void give_deleted(struct api_call *c, struct api_stored *s)
{
    if (api_chats_ok(c, s))
        api_call_json(c, 200, api_pack("{sb}", "deleted", 1));
}

void api_do_shared_note_delete(struct api_call *c)
{
    struct store_chats *x;
    const char *reader = api_reader(c);
    if (!reader) {
        api_refuse(&c->fault, 404, "not_found", "", "there is no note of yours here");
        api_call_fail(c);
        return;
    }
    struct api_stored *s = of_reader(c, STORE_NOTE_DELETE, reader, &x);
    if (!s)
        return;
    x->at = api_stored_keep(s, http_param(c->req, "nid"));
    api_stored_run(s, give_deleted);
}

/* ---- the owner ---- */

static void give_shares(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    const struct store_chats *x = s->op.chats;
    json_t *list = json_array();
    for (size_t i = 0; i < x->n_shares; i++) {
        const struct store_share *h = &x->shares[i];
        json_array_append_new(list, api_pack("{ss ss sI sI sI sb}", "token", h->token, "title",
                                             h->title, "created", (json_int_t)h->created, "expires",
                                             (json_int_t)h->expires, "likes",
                                             (json_int_t)h->n_likes, "comments", (int)h->comments));
    }
    api_call_json(c, 200, api_pack("{so so}", "shares", list, "notes", api_shares_notes(x)));
}

void api_do_share_list(struct api_call *c)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_SHARE_LIST, &x);
    if (s)
        api_stored_run(s, give_shares);
}

void api_do_share_set(struct api_call *c)
{
    struct store_chats *x;
    bool comments = true;
    if (!api_chats_write(c, false))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    bool ok = api_get_bool(&in, "comments", &comments);
    if (ok && !api_get_any(&in, "comments"))
        ok = api_get_refuse(&in, "comments", "is missing");
    if (!ok) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_chats_new(c, STORE_SHARE_SET, &x);
    if (!s)
        return;
    x->share.comments = comments;
    api_stored_run(s, give_shares);
}

void api_do_share_note_delete(struct api_call *c)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_NOTE_DELETE, &x);
    if (!s)
        return;
    x->at = api_stored_keep(s, http_param(c->req, "nid"));
    api_stored_run(s, give_deleted);
}
