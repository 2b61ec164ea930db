/* SPDX-License-Identifier: MIT
 * str.h - byte strings: views (struct span) and growing buffers with a maximum (struct str).
 *
 * A str that reaches its maximum stops growing and remembers it in `full`; the caller checks once
 * at the end.  p always ends in a NUL that n does not count.  Bytes may be anything. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
    const char *p; /* not NUL-terminated */
    size_t n;
};

#define SPAN(literal) ((struct span){literal, sizeof(literal) - 1})

struct span span_of(const char *cstr);
bool span_eq(struct span a, struct span b);
bool span_eq_cstr(struct span a, const char *b);
bool span_starts(struct span a, struct span head);
bool span_ends(struct span a, struct span tail);
/* Position of the first `what` at or after `from`, or SIZE_MAX. */
size_t span_find(struct span a, struct span what, size_t from);

struct str {
    char *p;
    size_t n;
    size_t cap;
    size_t max; /* bytes, without the NUL */
    bool full;  /* something did not fit */
};

void str_init(struct str *s, size_t max_bytes);
void str_done(struct str *s);
void str_clear(struct str *s); /* keeps the memory and max; forgets `full` */
void str_add(struct str *s, const void *p, size_t n);
void str_add_cstr(struct str *s, const char *cstr);
void str_add_span(struct str *s, struct span x);
void str_add_char(struct str *s, char c);
void str_add_html(struct str *s, const char *text); /* text or an attribute's value, escaped */
void str_addf(struct str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct span str_span(const struct str *s);

/* UTF-8 (Unicode 15, table 3-7: shortest form, no surrogates, at most U+10FFFF). */

/* Code point at p (n > 0 bytes left) and its length in *len; -1 for an ill-formed sequence, then
 * *len is the length of its maximal subpart (1..3), as Unicode recommends for replacement. */
int32_t utf8_get(const char *p, size_t n, size_t *len);
/* Writes 1..4 bytes. cp must be a scalar value. */
size_t utf8_put(char out[4], uint32_t cp);
bool utf8_valid(struct span s);
/* Valid, and without control characters (C0, DEL, C1): safe to show on a terminal. */
bool utf8_printable(struct span s);
/* Appends s with every ill-formed maximal subpart replaced by U+FFFD. */
void utf8_repair(struct str *out, struct span s);
/* Length of the longest prefix that does not end inside a character that more bytes could
 * complete.  Ill-formed bytes that nothing can complete count as complete. */
size_t utf8_complete(struct span s);

#endif
