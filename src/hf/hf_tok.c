/* SPDX-License-Identifier: MIT
 * hf_tok.c - tokenizer.json (Hugging Face's `tokenizers`), tokenizer_config.json and what else says
 * how texts begin and end, as keys tokenizer.*: byte-level BPE, and BPE of characters with tokens
 * of bytes for the others. */
#include "hf/hf_int.h"

#include "base/num.h"
#include "tok/tok.h"

#include <string.h>

#define SPACE "\xe2\x96\x81" /* U+2581 */

/* tokenizer.ggml.token_type */
enum type { NORMAL = 1, CONTROL = 3, USER = 4, UNUSED = 5 };

struct vocab {
    struct hf *h;
    const char *file;           /* for errors */
    json_t *all, *model, *conf; /* tokenizer.json, its model, tokenizer_config.json or NULL */
    struct span *piece;         /* [n] */
    int32_t *type;              /* [n] */
    size_t n;
    bool nfc, spaced, prepends, once, whole; /* spaced: spaces become U+2581 */
    struct errinfo *e;
};

static enum err unsupported(const struct vocab *v, const char *what, const char *which)
{
    return err_set(v->e, ERR_UNSUPPORTED, "%s: %s %.64s is not supported", v->file, what,
                   which ? which : "(none)");
}

static const char *type_of(json_t *o)
{
    return json_string_value(json_object_get(o, "type"));
}

static bool is(const char *s, const char *what)
{
    return s && strcmp(s, what) == 0;
}

/* ---- tokens ---- */

static enum err put_token(struct vocab *v, const char *text, size_t len, json_t *id, enum type type)
{
    json_int_t i = json_integer_value(id);
    if (!json_is_integer(id) || i < 0 || (size_t)i >= v->n)
        return err_set(v->e, ERR_CORRUPT, "%s: the id of token %.64s is not from 0 to %zu", v->file,
                       text, v->n - 1);
    if (len > TOK_PIECE_BYTES_MAX)
        return err_set(v->e, ERR_TOOBIG, "%s: token %lld has %zu bytes; at most %d can be read",
                       v->file, (long long)i, len, TOK_PIECE_BYTES_MAX);
    v->piece[i] = (struct span){text, len};
    v->type[i] = (int32_t)type;
    return ERR_OK;
}

/* Tokens that some makers add without calling them special, though they are. */
static bool looks_special(struct span s)
{
    return (span_starts(s, SPAN("<|")) && span_ends(s, SPAN("|>"))) ||
           (span_starts(s, SPAN("<\uff5c")) && span_ends(s, SPAN("\uff5c>"))) ||
           (span_starts(s, SPAN("<unused")) && span_ends(s, SPAN(">"))) ||
           span_eq_cstr(s, "<pad>") || span_eq_cstr(s, "<mask>") || span_eq_cstr(s, "<2mass>") ||
           span_eq_cstr(s, "[@BOS@]");
}

/* User-defined tokens are found in the text as it is written. */
static struct span with_spaces(struct vocab *v, struct span s)
{
    char *out = arena_alloc(&v->h->tmp, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n;) {
        bool space = span_starts((struct span){s.p + i, s.n - i}, SPAN(SPACE));
        out[n++] = space ? ' ' : s.p[i];
        i += space ? strlen(SPACE) : 1;
    }
    return (struct span){out, n};
}

static enum err put_added(struct vocab *v)
{
    json_t *o;
    size_t i;
    json_array_foreach(json_object_get(v->all, "added_tokens"), i, o)
    {
        json_t *content = json_object_get(o, "content");
        struct span s = {json_string_value(content), json_string_length(content)};
        if (!s.p || s.n == 0)
            return err_set(v->e, ERR_CORRUPT, "%s: added token %zu has no content", v->file, i);
        bool special = json_is_true(json_object_get(o, "special")) || looks_special(s);
        if (!special)
            s = with_spaces(v, s);
        TRY(put_token(v, s.p, s.n, json_object_get(o, "id"), special ? CONTROL : USER));
    }
    return ERR_OK;
}

static enum err put_tokens(struct vocab *v)
{
    const char *text;
    json_t *id, *vocab = json_object_get(v->model, "vocab");
    struct gguf *g = v->h->g;
    v->piece = arena_array(&v->h->tmp, v->n, sizeof *v->piece);
    v->type = arena_array(&v->h->tmp, v->n, sizeof *v->type);
    if (json_object_size(vocab) == 0)
        return err_set(v->e, ERR_CORRUPT, "%s: model.vocab holds no tokens", v->file);
    json_object_foreach(vocab, text, id) TRY(put_token(v, text, strlen(text), id, NORMAL));
    TRY(put_added(v));
    for (size_t i = 0; i < v->n; i++)
        if (!v->type[i]) { /* rows of the embeddings that no token has */
            v->piece[i] = span_of(arena_printf(&v->h->tmp, "[PAD%zu]", i));
            v->type[i] = UNUSED;
        }
    gguf_build_strs(g, "tokenizer.ggml.tokens", v->piece, v->n);
    gguf_build_numbers(g, "tokenizer.ggml.token_type", GGUF_I32, v->type, v->n);
    return ERR_OK;
}

/* "a b", or two texts; a space within one is written as the byte-level alphabet has it. */
static enum err merge_of(struct vocab *v, json_t *o, size_t i, struct span *out)
{
    struct str s;
    if (json_is_string(o)) {
        *out = (struct span){json_string_value(o), json_string_length(o)};
        return ERR_OK;
    }
    if (json_array_size(o) != 2 || !json_is_string(json_array_get(o, 0)) ||
        !json_is_string(json_array_get(o, 1)))
        return err_set(v->e, ERR_CORRUPT, "%s: merge %zu is no pair of texts", v->file, i);
    str_init(&s, (size_t)4 * TOK_PIECE_BYTES_MAX);
    for (size_t k = 0; k < 2; k++) {
        json_t *part = json_array_get(o, k);
        const char *p = json_string_value(part);
        if (k)
            str_add_char(&s, ' ');
        for (size_t j = 0; j < json_string_length(part); j++)
            if (p[j] == ' ')
                str_add_cstr(&s, "\u0120");
            else
                str_add_char(&s, p[j]);
    }
    bool full = s.full;
    *out = (struct span){arena_dup(&v->h->tmp, s.p, s.n), s.n};
    str_done(&s);
    return full ? err_set(v->e, ERR_TOOBIG, "%s: merge %zu is too long", v->file, i) : ERR_OK;
}

static enum err put_merges(struct vocab *v)
{
    json_t *o, *list = json_object_get(v->model, "merges");
    size_t i, n = json_array_size(list);
    if (!json_is_array(list))
        return err_set(v->e, ERR_CORRUPT, "%s: model.merges is no array", v->file);
    struct span *merge = arena_array(&v->h->tmp, n, sizeof *merge);
    json_array_foreach(list, i, o) TRY(merge_of(v, o, i, &merge[i]));
    gguf_build_strs(v->h->g, "tokenizer.ggml.merges", merge, n);
    return ERR_OK;
}

/* ---- what is done to a text first ---- */

static enum err read_normalizer(struct vocab *v, json_t *o)
{
    const char *type = type_of(o);
    if (is(type, "NFC")) {
        v->nfc = true;
        return ERR_OK;
    }
    if (is(type, "Prepend")) {
        v->prepends = true;
        return is(json_string_value(json_object_get(o, "prepend")), SPACE)
                   ? ERR_OK
                   : unsupported(v, "the normalizer", "Prepend of another text");
    }
    if (is(type, "Replace")) {
        json_t *pattern = json_object_get(o, "pattern");
        v->spaced = true;
        return is(json_string_value(json_object_get(pattern, "String")), " ") &&
                       is(json_string_value(json_object_get(o, "content")), SPACE)
                   ? ERR_OK
                   : unsupported(v, "the normalizer", "Replace of other texts");
    }
    return unsupported(v, "the normalizer", type);
}

static enum err read_normalizers(struct vocab *v)
{
    json_t *n = json_object_get(v->all, "normalizer"), *o, *list;
    size_t i;
    if (!n || json_is_null(n))
        return ERR_OK;
    if (!is(type_of(n), "Sequence"))
        return read_normalizer(v, n);
    list = json_object_get(n, "normalizers");
    json_array_foreach(list, i, o) TRY(read_normalizer(v, o));
    return ERR_OK;
}

/* Of a vocabulary of characters: spaces become U+2581 by a normalizer or by Metaspace. */
static enum err read_chars(struct vocab *v, json_t *pre)
{
    const char *type = type_of(pre);
    if (is(type, "Metaspace")) {
        const char *scheme = json_string_value(json_object_get(pre, "prepend_scheme"));
        bool first = !scheme && !json_is_false(json_object_get(pre, "add_prefix_space"));
        if (!is(json_string_value(json_object_get(pre, "replacement")), SPACE) ||
            json_is_true(json_object_get(pre, "split")) || v->spaced)
            return unsupported(v, "the pre-tokenizer", "Metaspace with these settings");
        v->spaced = true;
        v->prepends = first || is(scheme, "always") || is(scheme, "first");
        v->once = is(scheme, "first");
    } else if (pre && !json_is_null(pre)) {
        /* Gemma's cuts at spaces, of which its normalizer has left none */
        json_t *pattern = json_object_get(pre, "pattern");
        if (!is(type, "Split") || !v->spaced ||
            !is(json_string_value(json_object_get(pattern, "String")), " "))
            return unsupported(v, "the pre-tokenizer", type);
    }
    if (!v->spaced || v->nfc || v->whole)
        return unsupported(v, "the tokenizer", "of characters with these settings");
    gguf_build_str(v->h->g, "tokenizer.ggml.model", SPAN("gemma4"));
    gguf_build_bool(v->h->g, "tokenizer.ggml.add_space_prefix", v->prepends);
    if (is(type, "Metaspace"))
        gguf_build_bool(v->h->g, TOK_KEY_SPACE_MISSING, true);
    if (v->once)
        gguf_build_bool(v->h->g, TOK_KEY_SPACE_ONCE, true);
    return ERR_OK;
}

static enum err put_kind(struct vocab *v)
{
    json_t *pre = json_object_get(v->all, "pre_tokenizer");
    const char *type = type_of(v->model), *name;
    if (type ? !is(type, "BPE") : !json_object_get(v->model, "merges"))
        return unsupported(v, "the tokenizer model", type);
    static const char *const parts[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < N_ELEMS(parts); i++)
        if (json_string_length(json_object_get(v->model, parts[i])))
            return unsupported(v, "the setting", parts[i]);
    v->whole = json_is_true(json_object_get(v->model, "ignore_merges"));
    TRY(read_normalizers(v));
    if (json_is_true(json_object_get(v->model, "byte_fallback")))
        return read_chars(v, pre);
    if (v->spaced || v->prepends)
        return unsupported(v, "the tokenizer", "of characters without tokens of bytes");
    TRY(hf_pre(v->file, pre, v->nfc, v->whole, &name, v->e));
    gguf_build_str(v->h->g, "tokenizer.ggml.model", SPAN("gpt2"));
    gguf_build_str(v->h->g, "tokenizer.ggml.pre", span_of(name));
    return ERR_OK;
}

/* ---- how texts begin and end ---- */

static int64_t find_id(const struct vocab *v, const char *text)
{
    json_t *o;
    size_t i;
    if (!text)
        return -1;
    json_array_foreach(json_object_get(v->all, "added_tokens"), i,
                       o) if (is(json_string_value(json_object_get(o, "content")),
                                 text)) return json_integer_value(json_object_get(o, "id"));
    o = json_object_get(json_object_get(v->model, "vocab"), text);
    return json_is_integer(o) ? json_integer_value(o) : -1;
}

/* A token that tokenizer_config.json names, as a text or an object; else by config.json's number.
 */
static int64_t special_id(const struct vocab *v, const char *name)
{
    char member[32], number[32];
    snprintf(member, sizeof member, "%s_token", name);
    snprintf(number, sizeof number, "%s_token_id", name);
    json_t *t = json_object_get(v->conf, member);
    int64_t id = find_id(v,
                         json_string_value(json_is_object(t) ? json_object_get(t, "content") : t));
    json_t *c = hf_conf(v->h, number);
    if (id < 0 && json_is_array(c))
        c = json_array_get(c, 0);
    return id < 0 && json_is_integer(c) ? json_integer_value(c) : id;
}

static void put_id(const struct vocab *v, const char *key, int64_t id)
{
    if (id >= 0 && (size_t)id < v->n)
        gguf_build_u32(v->h->g, key, (uint32_t)id);
}

/* TemplateProcessing's answer to one text: tokens before it and after it. */
static enum err read_template(const struct vocab *v, json_t *o, int64_t *bos, int64_t *eos)
{
    json_t *part, *single = json_object_get(o, "single");
    size_t i;
    bool text = false;
    json_array_foreach(single, i, part)
    {
        json_t *special = json_object_get(part, "SpecialToken");
        if (!special) {
            text = true;
            continue;
        }
        int64_t id = find_id(v, json_string_value(json_object_get(special, "id")));
        int64_t *to = text ? eos : bos;
        if (id < 0 || *to >= 0)
            return unsupported(v, "the post_processor", "of these tokens");
        *to = id;
    }
    return ERR_OK;
}

static enum err read_post(const struct vocab *v, int64_t *bos, int64_t *eos)
{
    json_t *post = json_object_get(v->all, "post_processor"), *o;
    json_t *list = json_object_get(post, "processors");
    size_t i;
    *bos = *eos = -1;
    if (is(type_of(post), "TemplateProcessing"))
        return read_template(v, post, bos, eos);
    if (is(type_of(post), "RobertaProcessing") || is(type_of(post), "BertProcessing"))
        return unsupported(v, "the post_processor", type_of(post));
    json_array_foreach(list, i, o) if (is(type_of(o), "TemplateProcessing"))
        TRY(read_template(v, o, bos, eos));
    return ERR_OK;
}

/* Further tokens that end an answer: the lists of generation_config.json and config.json. */
static enum err put_ends(const struct vocab *v, int64_t eos)
{
    static const char *const keys[] = {"tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    json_t *o, *file;
    size_t i, n = 0;
    TRY(hf_json(v->h, "generation_config.json", false, &file, v->e));
    json_t *list = json_object_get(file, "eos_token_id");
    if (!json_is_array(list))
        list = hf_conf(v->h, "eos_token_id");
    json_array_foreach(list, i, o) if (json_is_integer(o) && json_integer_value(o) != eos &&
                                       n < N_ELEMS(keys))
        put_id(v, keys[n++], json_integer_value(o));
    json_decref(file);
    return ERR_OK;
}

static enum err put_specials(const struct vocab *v)
{
    int64_t first, last, bos = special_id(v, "bos"), eos = special_id(v, "eos");
    json_t *add = json_object_get(v->conf, "add_bos_token"),
           *unk = json_object_get(v->model, "unk_token");
    TRY(read_post(v, &first, &last));
    if (last >= 0 && eos >= 0 && last != eos)
        return unsupported(v, "the post_processor", "which ends texts with another token than eos");
    put_id(v, "tokenizer.ggml.bos_token_id", first >= 0 ? first : bos);
    put_id(v, "tokenizer.ggml.eos_token_id", last >= 0 ? last : eos);
    int64_t unk_id = find_id(v, json_string_value(unk));
    put_id(v, "tokenizer.ggml.unknown_token_id", unk_id >= 0 ? unk_id : special_id(v, "unk"));
    put_id(v, "tokenizer.ggml.padding_token_id", special_id(v, "pad"));
    put_id(v, "tokenizer.ggml.seperator_token_id",
           special_id(v, "sep")); /* the format's spelling */
    bool has_post = json_object_get(v->all, "post_processor") &&
                    !json_is_null(json_object_get(v->all, "post_processor"));
    gguf_build_bool(v->h->g, "tokenizer.ggml.add_bos_token",
                    first >= 0 || (!has_post && json_is_true(add)));
    gguf_build_bool(v->h->g, "tokenizer.ggml.add_eos_token", last >= 0);
    return put_ends(v, last >= 0 ? last : eos);
}

/* ---- the chat template ---- */

static void put_template(const struct vocab *v, json_t *t)
{
    json_t *o;
    size_t i;
    if (json_is_string(t))
        gguf_build_str(v->h->g, "tokenizer.chat_template",
                       (struct span){json_string_value(t), json_string_length(t)});
    json_array_foreach(t, i, o)
    { /* several, by their names */
        json_t *text = json_object_get(o, "template");
        const char *name = json_string_value(json_object_get(o, "name"));
        if (json_is_string(text) && is(name, "default"))
            put_template(v, text);
    }
}

static enum err put_templates(const struct vocab *v)
{
    struct span text;
    int part;
    json_t *t = json_object_get(v->conf, "chat_template"), *file;
    if (t && !json_is_null(t)) {
        put_template(v, t);
        return ERR_OK;
    }
    if (hf_has(v->h, "chat_template.jinja")) {
        TRY(gguf_build_map(v->h->g, hf_path(v->h, "chat_template.jinja"), &text, &part, v->e));
        gguf_build_str(v->h->g, "tokenizer.chat_template", text);
        return ERR_OK;
    }
    TRY(hf_json(v->h, "chat_template.json", false, &file, v->e));
    put_template(v, json_object_get(file, "chat_template"));
    json_decref(file);
    return ERR_OK;
}

static enum err put_all(struct vocab *v)
{
    TRY(put_kind(v));
    TRY(put_tokens(v));
    TRY(put_merges(v));
    TRY(put_specials(v));
    return put_templates(v);
}

enum err hf_put_tokenizer(struct hf *h, struct errinfo *e)
{
    struct vocab v = {.h = h, .n = h->n_vocab, .e = e};
    if (h->n_vocab > TOK_VOCAB_MAX)
        return err_set(e, ERR_TOOBIG, "%s: %zu rows of embeddings; at most %d tokens can be read",
                       h->dir, h->n_vocab, TOK_VOCAB_MAX);
    v.file = hf_path(h, "tokenizer.json");
    TRY(hf_json(h, "tokenizer.json", true, &v.all, e));
    v.model = json_object_get(v.all, "model");
    enum err r = hf_json(h, "tokenizer_config.json", false, &v.conf, e);
    if (r == ERR_OK)
        r = put_all(&v);
    json_decref(v.conf);
    json_decref(v.all);
    return r;
}
