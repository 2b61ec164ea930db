/* SPDX-License-Identifier: MIT
 * engine_lora.c - adapters: those that the engine has, and those of a sequence. */
#include "engine/engine_int.h"

#include "base/arena.h"
#include "base/num.h"
#include "model/model_lora.h"
#include "os/os_sys.h"

#include <string.h>

_Static_assert(ENGINE_LORA_MAX == DEV_LORA_MAX, "a sequence's adapters are the device's");

/* Is a pair's tensor one that the operation takes adapters of?  *other: it is used otherwise. */
static bool adapts(const struct plan_op *op, const struct model_lora_pair *p, bool *other)
{
    bool found = false;
    if (p->embeds)
        return op->kind == PLAN_EMBED && op->table && op->table->tensor == p->tensor;
    for (int j = 0; j < op->n_parts; j++)
        if (op->part[j].weight->tensor == p->tensor) {
            bool product = op->kind == PLAN_MATMUL || op->kind == PLAN_EXPERTS;
            *other |= !product;
            found |= product;
        }
    return found;
}

/* Embeddings, products and experts' products are adapted: every pair has to be of one. */
static enum err all_are_used(const struct engine *en, const struct model_lora *l,
                             const struct gguf *g, struct errinfo *e)
{
    for (size_t i = 0; i < model_lora_n(l); i++) {
        const struct model_lora_pair *p = model_lora_at(l, i);
        bool found = false, other = false;
        for (size_t k = 0; k < en->plan->n_ops; k++)
            found |= adapts(&en->plan->ops[k], p, &other);
        if (!found || other)
            return err_set(e, ERR_UNSUPPORTED,
                           "%s: adapters of the tensor %.*s are not supported in this family",
                           gguf_path(g), (int)p->tensor->name.n, p->tensor->name.p);
    }
    return ERR_OK;
}

enum err engine_lora_add(struct engine *en, const struct gguf *adapter, struct errinfo *e)
{
    struct model_lora *l;
    size_t floats = 0, left = os_mem_available();
    if (en->opts.ranks.tensor)
        return err_set(e, ERR_UNSUPPORTED, "%s: several processes compute without adapters",
                       gguf_path(adapter));
    if (en->opts.sim.chip)
        return err_set(e, ERR_UNSUPPORTED, "%s: simulated chips compute without adapters",
                       gguf_path(adapter));
    for (size_t i = 0; i < gguf_n_tensors(adapter); i++) {
        const uint64_t *d = gguf_tensor_at(adapter, i)->dims;
        floats += (size_t)(d[0] * d[1] * d[2] * d[3]);
    }
    if (floats > left / sizeof(float))
        return err_set(e, ERR_MEMORY, "%s: %zu MiB as floats, and %zu MiB are free",
                       gguf_path(adapter), floats >> 18, left >> 20);
    TRY(model_lora_open(&l, adapter, en->model, e));
    enum err r = all_are_used(en, l, adapter, e);
    if (r != ERR_OK) {
        model_lora_close(l);
        return r;
    }
    en->lora = mem_grow(en->lora, (en->n_lora + 1) * sizeof *en->lora);
    en->lora[en->n_lora++] = l;
    en->memory.weights += model_lora_bytes(l);
    return ERR_OK;
}

size_t engine_n_lora(const struct engine *en)
{
    return en->n_lora;
}

void lora_done(struct engine *en)
{
    for (size_t i = 0; i < en->n_lora; i++)
        model_lora_close(en->lora[i]);
    mem_free(en->lora);
}

uint64_t lora_key(const struct engine_lora *lora)
{
    uint64_t key = 0;
    for (uint32_t i = 0; i < lora->n; i++) {
        uint32_t bits[2] = {lora->one[i].adapter, 0};
        memcpy(&bits[1], &lora->one[i].scale, sizeof bits[1]);
        key = num_hash(bits, sizeof bits, key + 1);
    }
    return key;
}

void engine_seq_lora(struct engine_seq *s, const struct engine_lora *lora)
{
    CHECK(s->n == 0 && lora->n <= ENGINE_LORA_MAX);
    s->lora.n = lora->n;
    for (uint32_t i = 0; i < lora->n; i++) {
        CHECK(lora->one[i].adapter < s->en->n_lora);
        s->lora.one[i].adapter = s->en->lora[lora->one[i].adapter];
        s->lora.one[i].scale = lora->one[i].scale;
    }
    s->lora_key = lora_key(lora);
}
