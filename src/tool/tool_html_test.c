/* SPDX-License-Identifier: MIT */
#include "base/test.h"
#include "tool/tool_charset.h"
#include "tool/tool_html.h"

#include "base/num.h"

#include <string.h>

static void check(const char *html, const char *want)
{
    struct tool_html got;
    tool_html_text(span_of(html), 1 << 16, &got);
    assert_false(got.cut);
    assert_string_equal(got.text.n ? got.text.p : "", want);
    tool_html_done(&got);
}

static void blocks(void **state)
{
    (void)state;
    check("<p>one\n  two<p>three", "one two\n\nthree");
    check("<h1>A &amp; B</h1>text<h3>c</h3><p>d", "# A & B\n\ntext\n\n### c\n\nd");
    check("a<br>b<hr>c", "a\nb\n\nc");
    check("<div><div><div>deep</div></div></div><span>in</span>line", "deep\n\ninline");
    check("<blockquote><p>said</blockquote>after", "> said\n\nafter");
    check("<pre>  x = 1\n\n  y</pre>z", "```\n  x = 1\n\n  y\n```\n\nz");
    check("<b>bold</b> <i>words</i>, joined<b>up</b>", "bold words, joinedup");
}

static void lists(void **state)
{
    (void)state;
    check("<ul><li>a<li>b<ul><li>c</ul><li>d</ul>e", "- a\n- b\n  - c\n- d\n\ne");
    check("<ol><li>a</li><li>b</li></ol>", "1. a\n2. b");
}

static void tables(void **state)
{
    (void)state;
    check("<table><tr><th>나라<th>수도<tr><td>한국<td>서울</table>",
          "| 나라 | 수도 |\n| --- | --- |\n| 한국 | 서울 |");
    check("<table><tr><td><p>a</p><p>b|c</p></table>d", "| a b\\|c |\n| --- |\n\nd");
    check("<table><tr><td>x<table><tr><td>y</table></table>", "| x y |\n| --- |");
}

static void links(void **state)
{
    (void)state;
    check("<a href='https://a.example/x'>a</a> <a href='/y'>b</a> <a href='javascript:x'>c</a>"
          "<a href='https://a.example/z'></a>",
          "a (https://a.example/x) b c");
    check("<a href='https://a.example/\" onclick=\"'>a</a>", "a");
}

static void left_out(void **state)
{
    (void)state;
    check("<script>if (a < b) x('<p>no</p>')</script><style>p{}</style><p>yes", "yes");
    check("<nav><p>menu</nav><p hidden>no<p>yes<p style='display : none'>no"
          "<div aria-hidden=true>no<p>no</div><aside>no</aside>"
          "<form>ok<select><option>no</select><button>no</button></form>"
          "<div role=navigation>no</div><noscript>no</noscript><template>no</template>"
          "<footer>no</footer><svg><text>no</text></svg><!-- no --><iframe>no</iframe>end",
          "yes\n\nok\n\nend");
}

#define LONG                                                                                       \
    "The main part of this page is long enough to be one, since it has more than two hundred "     \
    "bytes of text; otherwise it would be taken for a teaser and the whole page would be given, "  \
    "as it is for the pages that have none."

static void main_part(void **state)
{
    (void)state;
    check("<div>site</div><main><h1>t</h1><p>" LONG "</main><div>more</div>", "# t\n\n" LONG);
    check("<div>site</div><article><p>" LONG "</article><p>between<article>two</article>x",
          LONG "\n\nbetween\n\ntwo");
    check("<div>site</div><main>short</main>", "site\n\nshort");
}

static void titles(void **state)
{
    struct tool_html got;
    (void)state;
    const char *html = "<title> 담소 \n - 첫\tpage &lt;b>\n</title><title>no</title><p>x"
                       "<svg><title>no</title></svg>";
    tool_html_text(span_of(html), 1 << 16, &got);
    assert_string_equal(got.title.p, "담소 - 첫 page <b>");
    assert_string_equal(got.text.p, "x");
    tool_html_done(&got);
}

/* Elements within each other, and many: cut, and told. */
static void limits(void **state)
{
    struct str html;
    struct tool_html got;
    (void)state;
    str_init(&html, 8 << 20);
    for (size_t i = 0; i < 100000; i++)
        str_add_cstr(&html, "<div>");
    str_add_cstr(&html, "deep");
    tool_html_text(str_span(&html), 1 << 16, &got);
    assert_true(got.cut);
    tool_html_done(&got);
    str_clear(&html);
    for (size_t i = 0; i <= TOOL_HTML_ELEMENTS_MAX; i++)
        str_add_cstr(&html, "<br>");
    tool_html_text(str_span(&html), 1 << 16, &got);
    assert_true(got.cut);
    tool_html_done(&got);
    str_clear(&html);
    for (size_t i = 0; i < 3000; i++)
        str_add_cstr(&html, "가나다 ");
    tool_html_text(str_span(&html), 1000, &got);
    assert_true(got.cut);
    assert_true(got.text.n <= 1000 && got.text.n > 990);
    assert_true(utf8_valid(str_span(&got.text)));
    tool_html_done(&got);
    str_done(&html);
}

static void decode(const char *bytes, size_t n, const char *type, const char *want)
{
    struct str out;
    str_init(&out, 4096);
    tool_charset_decode((struct span){bytes, n}, type, &out);
    assert_string_equal(out.n ? out.p : "", want);
    str_done(&out);
}

static void charsets(void **state)
{
    (void)state;
#define BYTES(s) s, sizeof(s) - 1
    decode(BYTES("\xb4\xe3\xbc\xd2"), "text/html; charset=EUC-KR", "담소");
    decode(BYTES("\xb4\xe3\xbc\xd2"), "text/html;charset=\"ks_c_5601-1987\"", "담소");
    decode(BYTES("\x8c\x63\xb9\xe6"), "text/html; charset=euc-kr", "똠방"); /* of CP949 alone */
    decode(BYTES("<meta charset='euc-kr'>\xb4\xe3"), "text/html", "<meta charset='euc-kr'>담");
    decode(BYTES("\xb4\xe3\xbc\xd2"), NULL, "담소");
    decode(BYTES("담소"), NULL, "담소");
    decode(BYTES("\xef\xbb\xbf담소"), "text/html; charset=euc-kr", "담소");
    decode(BYTES("\xff\xfe\xf4\xb2\x8c\xc1"), NULL, "담소");
    decode(BYTES("caf\xe9"), "text/plain; charset=iso-8859-1", "café");
    decode(BYTES("a\0b"), "text/plain; charset=utf-8",
           "a\xef\xbf\xbd"
           "b");
    decode(BYTES("a\xffz"), "text/plain; charset=utf-8", "a\xef\xbf\xbdz");
    decode(BYTES("\xb4\xe3\xff!"), "text/plain; charset=euc-kr", "담\xef\xbf\xbd!");
    decode(BYTES("담소"), "text/plain; charset=no-such-thing", "담소");
    decode(BYTES(""), NULL, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks), cmocka_unit_test(lists),    cmocka_unit_test(tables),
        cmocka_unit_test(links),  cmocka_unit_test(left_out), cmocka_unit_test(main_part),
        cmocka_unit_test(titles), cmocka_unit_test(limits),   cmocka_unit_test(charsets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
