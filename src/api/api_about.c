/* SPDX-License-Identifier: MIT */
#include "api/api_about.h"

#include "base/num.h"
#include "chat/chat.h"
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

/* general.file_type's numbers (ggml's docs/gguf.md and the enumeration it names). */
static const char *file_type_name(uint32_t type)
{
    static const char *const names[] = {
        [0] = "F32",      [1] = "F16",      [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
        [8] = "Q5_0",     [9] = "Q5_1",     [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
        [13] = "Q3_K_L",  [14] = "Q4_K_S",  [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
        [18] = "Q6_K",    [19] = "IQ2_XXS", [20] = "IQ2_XS", [21] = "Q2_K_S", [22] = "IQ3_XS",
        [23] = "IQ3_XXS", [24] = "IQ1_S",   [25] = "IQ4_NL", [26] = "IQ3_S",  [27] = "IQ3_M",
        [28] = "IQ2_S",   [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",  [32] = "BF16",
        [36] = "TQ1_0",   [37] = "TQ2_0",   [38] = "MXFP4",  [39] = "NVFP4",  [40] = "Q1_0",
        [41] = "Q2_0",
    };
    return type < N_ELEMS(names) && names[type] ? names[type] : "unknown";
}

static uint32_t arch_u32(const struct gguf *g, const char *arch, const char *key)
{
    char name[160];
    uint32_t v = 0;
    snprintf(name, sizeof name, "%s.%s", arch, key);
    gguf_get_u32(g, name, 0, &v, NULL);
    return v;
}

static bool template_takes_tools(const struct gguf *g)
{
    const struct span none = {"", 0};
    struct span source;
    struct chat *chat = NULL;
    bool tools = gguf_get_str(g, "tokenizer.chat_template", none, &source, NULL) == ERR_OK &&
                 source.n && chat_open(&chat, source, none, none, NULL, NULL) == ERR_OK &&
                 chat_takes_tools(chat);
    chat_close(chat);
    return tools;
}

void api_about_read(struct api_about *out, const struct gguf *g)
{
    struct span arch = {"", 0};
    uint32_t type = UINT32_MAX;
    *out = (struct api_about){0};
    if (gguf_get_str(g, "general.architecture", arch, &arch, NULL) == ERR_OK && utf8_valid(arch))
        snprintf(out->family, sizeof out->family, "%.*s", (int)MIN(arch.n, (size_t)60), arch.p);
    out->family[utf8_complete(span_of(out->family))] = '\0';
    gguf_get_u32(g, "general.file_type", UINT32_MAX, &type, NULL);
    snprintf(out->quantization, sizeof out->quantization, "%s", file_type_name(type));
    out->ctx = arch_u32(g, out->family, "context_length");
    out->dim = arch_u32(g, out->family, "embedding_length");
    out->tools = template_takes_tools(g);
    out->text = model_writes_text(g);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const uint64_t *d = gguf_tensor_at(g, i)->dims;
        out->n_weights += d[0] * d[1] * d[2] * d[3]; /* gguf_open saw that they do not wrap */
    }
}
