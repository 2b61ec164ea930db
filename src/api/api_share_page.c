/* SPDX-License-Identifier: MIT
 * api_share_page.c - GET /shared/{token}: the web app's page, with a title and a description for
 * whoever shows a preview of the link.  No search engine is to keep it. */
#include "api/api_shares.h"
#include "api/api_web.h"

#include <string.h>

#define ABOUT_CHARS 180 /* of the description */

/* Appends one line of at most `most` characters of the text, safe in an attribute. */
static void add_line(struct str *out, const char *text, size_t most)
{
    size_t n = strlen(text), chars = 0;
    bool blank = true; /* what came before is white, or nothing */
    for (size_t i = 0, len; i < n && chars < most; i += len) {
        int32_t x = utf8_get(text + i, n - i, &len);
        bool white = x <= ' ' || (x >= 0x7f && x <= 0xa0);
        if (white && blank)
            continue;
        blank = white;
        chars++;
        if (white)
            str_add_char(out, ' ');
        else if (strchr("&<>\"'`", (int)x) && x < 0x80)
            str_addf(out, "&#%d;", (int)x);
        else
            str_add(out, text + i, len);
    }
    if (chars == most)
        str_add_cstr(out, "…");
}

static const char *words_of(const json_t *messages, const char *role)
{
    const json_t *v;
    size_t i;
    json_array_foreach(messages, i, v)
    {
        const char *is = json_string_value(json_object_get(v, "role"));
        const char *content = json_string_value(json_object_get(v, "content"));
        if (is && content && *content && strcmp(is, role) == 0)
            return content;
    }
    return "";
}

static void add_tags(struct str *out, const struct store_share *h)
{
    json_t *messages = api_shares_messages(h);
    const char *question = words_of(messages, "user"), *answer = words_of(messages, "assistant");
    const char *title = *h->title ? h->title : question;
    str_add_cstr(out, "<meta name=\"robots\" content=\"noindex\">\n"
                      "<meta property=\"og:type\" content=\"article\">\n"
                      "<meta property=\"og:site_name\" content=\"담소 damso\">\n"
                      "<meta name=\"twitter:card\" content=\"summary\">\n"
                      "<meta property=\"og:title\" content=\"");
    add_line(out, title, ABOUT_CHARS);
    str_add_cstr(out, "\">\n<meta property=\"og:description\" content=\"");
    add_line(out, *answer ? answer : question, ABOUT_CHARS);
    str_add_cstr(out, "\">\n<meta name=\"description\" content=\"");
    add_line(out, *answer ? answer : question, ABOUT_CHARS);
    str_add_cstr(out, "\">\n");
    json_decref(messages);
}

static void give_page(struct api_call *c, struct api_stored *s)
{
    struct str tags;
    bool found = s->op.err == ERR_OK;
    str_init(&tags, 65536);
    if (found)
        add_tags(&tags, &s->op.chats->share);
    /* Who is no person is told that there is nothing; to a person the page says it. */
    api_web_page(c, found ? 200 : 404, str_span(&tags));
    str_done(&tags);
}

void api_do_shared_page(struct api_call *c)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_SHARE_GET, &x);
    if (!s)
        return;
    x->id = api_stored_keep(s, http_param(c->req, "token"));
    api_stored_run(s, give_page);
}
