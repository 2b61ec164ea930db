/* SPDX-License-Identifier: MIT
 * hf_pre.c - which pre-tokenizer a tokenizer.json describes.  Its parts are those of Hugging Face's
 * `tokenizers` (docs: Components, Pre-tokenizers); what they cut is compared with the patterns that
 * tok knows, so that a description that is not known is refused and never guessed. */
#include "hf/hf_int.h"

#include "base/num.h"
#include "tok/tok.h"

#include <string.h>

#define STEPS_MAX 8

/* What ByteLevel cuts with where use_regex is true. */
#define BYTE_LEVEL_CUTS                                                                            \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

struct steps {
    const char *file;
    struct span step[STEPS_MAX];
    size_t n;
    bool bytes; /* ByteLevel was there */
    struct errinfo *e;
};

static enum err unknown(const struct steps *s, const char *what, const char *part)
{
    return err_set(s->e, ERR_UNSUPPORTED, "%s: the pre-tokenizer's %s %.300s is not known", s->file,
                   what, part ? part : "(none)");
}

static enum err add(struct steps *s, const char *pattern)
{
    if (s->n == STEPS_MAX)
        return unknown(s, "step", pattern);
    s->step[s->n++] = span_of(pattern);
    return ERR_OK;
}

/* Pieces are the matches and what lies between, or the matches alone, where they leave nothing. */
static enum err add_split(struct steps *s, json_t *o)
{
    const char *behavior = json_string_value(json_object_get(o, "behavior"));
    const char *regex = json_string_value(json_object_get(json_object_get(o, "pattern"), "Regex"));
    bool invert = json_is_true(json_object_get(o, "invert"));
    if (!regex)
        return unknown(s, "pattern", "of a Split without a Regex");
    if (!behavior || strcmp(behavior, invert ? "Removed" : "Isolated") != 0)
        return unknown(s, "behavior", behavior);
    return add(s, regex);
}

static enum err add_step(struct steps *s, json_t *o)
{
    const char *type = json_string_value(json_object_get(o, "type"));
    if (s->bytes)
        return unknown(s, "step after ByteLevel:", type);
    if (type && strcmp(type, "Split") == 0)
        return add_split(s, o);
    if (type && strcmp(type, "Digits") == 0)
        return add(s, json_is_true(json_object_get(o, "individual_digits")) ? "\\p{N}" : "\\p{N}+");
    if (!type || strcmp(type, "ByteLevel") != 0)
        return unknown(s, "type", type);
    if (json_is_true(json_object_get(o, "add_prefix_space")))
        return unknown(s, "setting", "add_prefix_space");
    s->bytes = true;
    return json_is_false(json_object_get(o, "use_regex")) ? ERR_OK : add(s, BYTE_LEVEL_CUTS);
}

enum err hf_pre(const char *file, json_t *pre, bool nfc, bool whole, const char **out,
                struct errinfo *e)
{
    struct steps s = {.file = file, .e = e};
    json_t *list = json_object_get(pre, "pretokenizers"), *o;
    size_t i;
    if (json_is_array(list))
        json_array_foreach(list, i, o) TRY(add_step(&s, o));
    else
        TRY(add_step(&s, pre));
    if (!s.bytes)
        return unknown(&s,
                       "type without ByteLevel:", json_string_value(json_object_get(pre, "type")));
    *out = tok_pre_named(s.step, s.n, nfc, whole);
    if (*out)
        return ERR_OK;
    return unknown(&s,
                   nfc     ? "pattern, with NFC,"
                   : whole ? "pattern, with ignore_merges,"
                           : "pattern",
                   s.n ? s.step[s.n - 1].p : "(none)");
}
