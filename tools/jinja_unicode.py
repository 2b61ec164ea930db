#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes src/chat/jinja_uni.def: where Python's view of a character is more than its category and
its simple case mapping, which is what utf8proc knows.  Run: tools/jinja_unicode.py > ..."""
import unicodedata as u

chars = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def ranges(name, want):
    start = prev = None
    for ch in chars + [None]:
        c = ord(ch) if ch else None
        if ch and want(ch):
            if prev is not None and c == prev + 1:
                prev = c
                continue
            if start is not None:
                print(f"{name}(0x{start:x}, 0x{prev:x})")
            start = prev = c
    if start is not None:
        print(f"{name}(0x{start:x}, 0x{prev:x})")


print("/* Made by tools/jinja_unicode.py from Python's tables, Unicode %s. */" % u.unidata_version)
ranges("DIGIT", lambda c: c.isdigit() and u.category(c) != "Nd")
ranges("NUMERIC", lambda c: c.isnumeric() and u.category(c)[0] != "N")
ranges("LOWER", lambda c: c.islower() and u.category(c) != "Ll")
ranges("UPPER", lambda c: c.isupper() and u.category(c) != "Lu")
for name, f in (("TO_UPPER", str.upper), ("TO_LOWER", str.lower), ("TO_TITLE", str.title),
                ("TO_FOLD", str.casefold)):
    for ch in chars:
        m = f(ch)
        if len(m) > 1:
            three = [f"0x{ord(x):x}" for x in m] + ["0"] * (3 - len(m))
            print(f"{name}(0x{ord(ch):x}, {', '.join(three)})")
