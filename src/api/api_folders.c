/* SPDX-License-Identifier: MIT
 * api_folders.c - /api/v1/folders, /api/v1/settings, /api/v1/files: what chats are given to work
 * with. */
#include "api/api_chats.h"

#include "os/os_sys.h"

#include <string.h>

/* ---- folders ---- */

static json_t *folder_of(const struct store_folder *f)
{
    return api_pack("{ss ss ss sI so}", "id", f->id, "name", f->name, "instructions",
                    f->instructions, "created", (json_int_t)f->created, "files",
                    api_stored_json(span_of(f->files)));
}

static void give_folders(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < s->op.chats->n_folders; i++)
        json_array_append_new(list, folder_of(&s->op.chats->folders[i]));
    api_call_json(c, 200, api_pack("{so}", "folders", list));
}

void api_do_folders_list(struct api_call *c)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_FOLDER_LIST, &x);
    if (s)
        api_stored_run(s, give_folders);
}

static void give_folder(struct api_call *c, struct api_stored *s)
{
    if (api_chats_ok(c, s))
        api_call_json(c, 200, folder_of(&s->op.chats->folders[0]));
}

static bool read_folder(struct api_stored *s, struct store_chats *x, const struct api_in *in)
{
    const char *name = NULL, *words = NULL;
    if (!api_get_text(in, "name", &name) || !api_get_text(in, "instructions", &words))
        return false;
    if (name && (!*name || strlen(name) > STORE_TEXT_BYTES_MAX || !utf8_printable(span_of(name))))
        return api_get_refuse(in, "name", "one line of 1 to %zu bytes is expected",
                              STORE_TEXT_BYTES_MAX);
    if (words && strlen(words) > STORE_PROSE_BYTES_MAX)
        return api_get_refuse(in, "instructions", "%zu bytes are more than %zu", strlen(words),
                              STORE_PROSE_BYTES_MAX);
    if (!name && s->op.what == STORE_FOLDER_ADD)
        return api_get_refuse(in, "name", "is missing");
    x->folder.name = api_stored_keep(s, name);
    x->folder.instructions = api_stored_keep(s, words);
    return true;
}

static void write_folder(struct api_call *c, enum store_what what)
{
    struct store_chats *x;
    if (!api_chats_write(c, false))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    struct api_stored *s = api_chats_new(c, what, &x);
    if (!s)
        return;
    x->folder.id = what == STORE_FOLDER_ADD ? api_new_id(&s->arena, "folder-") : x->id;
    if (read_folder(s, x, &in)) {
        api_stored_run(s, give_folder);
        return;
    }
    api_call_fail(c);
    api_stored_free(s);
}

void api_do_folders_new(struct api_call *c)
{
    write_folder(c, STORE_FOLDER_ADD);
}

void api_do_folders_set(struct api_call *c)
{
    write_folder(c, STORE_FOLDER_SET);
}

void api_do_folder_file_add(struct api_call *c)
{
    struct store_chats *x;
    const char *file = NULL;
    if (!api_chats_write(c, false))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    bool ok = api_get_text(&in, "file", &file);
    if (!ok || (!file && !api_get_refuse(&in, "file", "is missing"))) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_chats_new(c, STORE_FOLDER_FILE_ADD, &x);
    if (!s)
        return;
    x->file.id = api_stored_keep(s, file);
    api_stored_run(s, give_folder);
}

void api_do_folder_file_delete(struct api_call *c)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_FOLDER_FILE_DELETE, &x);
    if (!s)
        return;
    x->file.id = api_stored_keep(s, http_param(c->req, "fid"));
    api_stored_run(s, give_folder);
}

static void give_deleted(struct api_call *c, struct api_stored *s)
{
    if (api_chats_ok(c, s))
        api_call_json(c, 200, api_pack("{sb}", "deleted", 1));
}

void api_do_folders_delete(struct api_call *c)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_FOLDER_DELETE, &x);
    if (s)
        api_stored_run(s, give_deleted);
}

/* ---- settings ---- */

static void give_settings(struct api_call *c, struct api_stored *s)
{
    if (api_chats_ok(c, s))
        api_call_json(c, 200, api_stored_json(s->op.chats->settings));
}

void api_do_settings_get(struct api_call *c)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_SETTINGS_GET, &x);
    if (s)
        api_stored_run(s, give_settings);
}

void api_do_settings_put(struct api_call *c)
{
    struct store_chats *x;
    if (c->req->body.n > STORE_SETTINGS_BYTES_MAX) {
        api_refuse(&c->fault, 413, "", "", "the settings have %zu bytes, at most %zu are kept",
                   c->req->body.n, STORE_SETTINGS_BYTES_MAX);
        api_call_fail(c);
        return;
    }
    if (!api_chats_write(c, false))
        return;
    struct api_stored *s = api_chats_new(c, STORE_SETTINGS_PUT, &x);
    if (!s)
        return;
    x->settings = span_of(api_stored_text(&s->arena, c->body));
    api_stored_run(s, give_settings);
}

/* ---- files ---- */

static json_t *file_of(const struct store_file *f)
{
    return api_pack("{ss ss ss sI}", "id", f->id, "name", f->name, "type", f->type, "size",
                    (json_int_t)f->body.n);
}

static void give_new_file(struct api_call *c, struct api_stored *s)
{
    if (api_chats_ok(c, s))
        api_call_json(c, 200, file_of(&s->op.chats->file));
}

static bool check_file(struct api_call *c, const char *name)
{
    struct span body = c->req->body;
    if (!name || !*name || strlen(name) > STORE_TEXT_BYTES_MAX || !utf8_printable(span_of(name)))
        return api_refuse(&c->fault, 400, "invalid_value", "name",
                          "name: one line of 1 to %zu bytes is expected", STORE_TEXT_BYTES_MAX);
    if (body.n > STORE_FILE_BYTES_MAX)
        return api_refuse(&c->fault, 413, "", "", "the file has %zu bytes, at most %zu are kept",
                          body.n, STORE_FILE_BYTES_MAX);
    if (!utf8_valid(body) || (body.n && memchr(body.p, 0, body.n)))
        return api_refuse(&c->fault, 400, "", "", "the file is no text in UTF-8");
    return true;
}

void api_do_files_new(struct api_call *c)
{
    const char *name = http_query(c->req, "name"), *type = http_req_header(c->req, "content-type");
    struct store_chats *x;
    if (!check_file(c, name)) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_chats_new(c, STORE_FILE_ADD, &x);
    if (!s)
        return;
    x->file = (struct store_file){
        .id = api_new_id(&s->arena, "file-"),
        .name = api_stored_keep(s, name),
        .type = type && strlen(type) < 128 ? api_stored_keep(s, type) : "text/plain",
        .body = {arena_dup(&s->arena, c->req->body.n ? c->req->body.p : "", c->req->body.n),
                 c->req->body.n}
    };
    api_stored_run(s, give_new_file);
}

static void give_file(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    const struct store_file *f = &s->op.chats->files[0];
    const char *as = http_query(c->req, "as");
    /* Never as what it says it is: this origin runs no file of a user.  What is previewed is drawn,
     * in an origin of its own, without scripts, forms or anything from elsewhere. */
    http_header(c->req, "Content-Security-Policy",
                as ? "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
                     "font-src data:; frame-ancestors 'self'"
                   : "sandbox; default-src 'none'");
    http_header(c->req, "X-Content-Type-Options", "nosniff");
    http_reply(c->req, 200,
               !as                       ? "text/plain; charset=utf-8"
               : strcmp(as, "html") == 0 ? "text/html; charset=utf-8"
                                         : "image/svg+xml; charset=utf-8",
               f->body);
    api_call_drop(c);
}

void api_do_files_get(struct api_call *c)
{
    struct store_chats *x;
    const char *as = http_query(c->req, "as");
    if (as && strcmp(as, "html") != 0 && strcmp(as, "svg") != 0) {
        api_refuse(&c->fault, 400, "invalid_value", "as", "as: html or svg is expected");
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_chats_new(c, STORE_FILE_GET, &x);
    if (s)
        api_stored_run(s, give_file);
}
