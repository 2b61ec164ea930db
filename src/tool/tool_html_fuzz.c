/* SPDX-License-Identifier: MIT
 * tool_html_fuzz.c - any bytes as a page: decoded, and made text. */
#include "base/err.h"
#include "tool/tool_charset.h"
#include "tool/tool_html.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text;
    struct tool_html page;
    str_init(&text, 1 << 16);
    tool_charset_decode((struct span){(const char *)data, n}, NULL, &text);
    CHECK(utf8_valid(str_span(&text)));
    CHECK(!text.n || !memchr(text.p, 0, text.n));
    tool_html_text(str_span(&text), 1 << 15, &page);
    CHECK(utf8_valid(str_span(&page.text)) && utf8_valid(str_span(&page.title)));
    CHECK(page.text.n <= 1 << 15 && (!page.text.n || !memchr(page.text.p, 0, page.text.n)));
    tool_html_done(&page);
    str_done(&text);
    return 0;
}
