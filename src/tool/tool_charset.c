/* SPDX-License-Identifier: MIT */
#include "tool/tool_charset.h"

#include "base/num.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LABEL_BYTES 40
/* Where a page says its encoding; the standard for HTML asks for 1024. */
#define HEAD_BYTES  4096
#define REPLACEMENT "\xef\xbf\xbd"

/* What labels mean to browsers (encoding.spec.whatwg.org, "names and labels"), where that is not
 * what iconv takes them for. */
static const struct {
    const char *label, *means;
} labels[] = {
    {"euc-kr",         "CP949"       },
    {"euckr",          "CP949"       },
    {"ks_c_5601-1987", "CP949"       },
    {"ks_c_5601-1989", "CP949"       },
    {"ksc5601",        "CP949"       },
    {"ksc_5601",       "CP949"       },
    {"korean",         "CP949"       },
    {"windows-949",    "CP949"       },
    {"uhc",            "CP949"       },
    {"iso-8859-1",     "WINDOWS-1252"},
    {"latin1",         "WINDOWS-1252"},
    {"us-ascii",       "WINDOWS-1252"},
    {"ascii",          "WINDOWS-1252"},
    {"shift_jis",      "CP932"       },
    {"x-sjis",         "CP932"       },
    {"sjis",           "CP932"       },
    {"gb2312",         "GB18030"     },
    {"gbk",            "GB18030"     },
    {"big5",           "BIG5-HKSCS"  },
    {"unicode",        "UTF-16LE"    },
    {"utf-16",         "UTF-16LE"    },
    {"utf8",           "UTF-8"       },
};

static bool is_label_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("-_.:", c));
}

/* The label behind "charset=" or "encoding=", quoted or not. */
static bool label_after(struct span s, const char *name, char out[LABEL_BYTES])
{
    size_t n_name = strlen(name), n = 0;
    for (size_t i = 0; i + n_name <= s.n; i++) {
        if (strncasecmp(s.p + i, name, n_name) != 0)
            continue;
        size_t k = i + n_name;
        while (k < s.n && (s.p[k] == ' ' || s.p[k] == '=' || s.p[k] == '"' || s.p[k] == '\''))
            k++;
        while (k < s.n && is_label_char(s.p[k]) && n + 1 < LABEL_BYTES)
            out[n++] = s.p[k++];
        out[n] = '\0';
        return n > 0;
    }
    return false;
}

static void find_label(struct span bytes, const char *type, char out[LABEL_BYTES])
{
    struct span head = {bytes.p, MIN(bytes.n, HEAD_BYTES)};
    snprintf(out, LABEL_BYTES, "%s", utf8_valid(bytes) ? "utf-8" : "euc-kr");
    if (span_starts(bytes, SPAN("\xef\xbb\xbf")))
        snprintf(out, LABEL_BYTES, "utf-8");
    else if (span_starts(bytes, SPAN("\xff\xfe")))
        snprintf(out, LABEL_BYTES, "utf-16le");
    else if (span_starts(bytes, SPAN("\xfe\xff")))
        snprintf(out, LABEL_BYTES, "utf-16be");
    else if (!(type && label_after(span_of(type), "charset=", out)) &&
             !label_after(head, "charset=", out))
        label_after(head, "encoding=", out);
}

static void add_without_nul(struct str *out, const char *p, size_t n)
{
    for (const char *nul; n && (nul = memchr(p, 0, n));) {
        str_add(out, p, (size_t)(nul - p));
        str_add_cstr(out, REPLACEMENT);
        n -= (size_t)(nul - p) + 1;
        p = nul + 1;
    }
    str_add(out, p, n);
}

static void convert(iconv_t cd, struct span bytes, struct str *out)
{
    char *in = (char *)(uintptr_t)bytes.p, buf[8192];
    size_t left = bytes.n;
    while (left && !out->full) {
        char *to = buf;
        size_t room = sizeof buf;
        size_t rc = iconv(cd, &in, &left, &to, &room);
        int why = rc == (size_t)-1 ? errno : 0;
        add_without_nul(out, buf, (size_t)(to - buf));
        if (why == EILSEQ || why == EINVAL) {
            str_add_cstr(out, REPLACEMENT);
            in++; /* left > 0: there is a byte that means nothing */
            left--;
            iconv(cd, NULL, NULL, NULL, NULL);
        }
    }
}

void tool_charset_decode(struct span bytes, const char *content_type, struct str *out)
{
    char label[LABEL_BYTES];
    find_label(bytes, content_type, label);
    const char *name = label;
    for (size_t i = 0; i < N_ELEMS(labels); i++)
        if (strcasecmp(labels[i].label, label) == 0)
            name = labels[i].means;
    iconv_t cd = strcasecmp(name, "utf-8") == 0 ? (iconv_t)-1 : iconv_open("UTF-8", name);
    size_t from = out->n;
    if (cd == (iconv_t)-1) { /* UTF-8, or a label that nobody knows */
        struct str whole;
        str_init(&whole, out->max);
        utf8_repair(&whole, bytes);
        add_without_nul(out, whole.p ? whole.p : "", whole.n);
        str_done(&whole);
    } else {
        convert(cd, bytes, out);
        iconv_close(cd);
    }
    if (out->n - from >= 3 && memcmp(out->p + from, "\xef\xbb\xbf", 3) == 0) {
        memmove(out->p + from, out->p + from + 3, out->n - from - 3);
        out->n -= 3;
        out->p[out->n] = '\0';
    }
    out->n = utf8_complete(str_span(out)); /* where the limit cut it */
}
