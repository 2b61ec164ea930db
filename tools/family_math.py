# SPDX-License-Identifier: MIT
"""Models that transformers has no class of, by the math of their makers' code: what
tools/family_vectors.py takes in the place of a class.

A model is a dict of tensors under the names of its checkpoint, and its forward pass here is in
binary64, written with torch for one whole text.  halves: keys and values are rounded to binary16
after the rotation, as in arch_vectors.logits_of.
"""
import torch
import torch.nn.functional as F


def rms(x, w, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w


def rotate(x, base, n_rot):
    """[heads, rows, dim]: halves of the first n_rot numbers turn together."""
    inverse = base ** (-torch.arange(0, n_rot, 2, dtype=torch.float64) / n_rot)
    angles = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * inverse
    cos, sin = angles.cos(), angles.sin()
    a, b, rest = x[..., :n_rot // 2], x[..., n_rot // 2:n_rot], x[..., n_rot:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)


def attend(q, k, v, halves, scale=None, cap=0):
    """Causal; [heads, rows, dim] with fewer heads of k and v."""
    if halves:
        k, v = k.half().double(), v.half().double()
    group = q.shape[0] // k.shape[0]
    k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
    s = q @ k.transpose(1, 2) * (scale or q.shape[-1] ** -0.5)
    if cap:
        s = cap * torch.tanh(s / cap)
    s = s.masked_fill(torch.ones(s.shape[1:]).triu(1).bool(), float("-inf"))
    return (s.softmax(-1) @ v).transpose(0, 1).reshape(q.shape[1], -1)


def heads(x, n):
    return x.reshape(x.shape[0], n, -1).transpose(0, 1)


def gated(x, gate, up, down, act=F.silu):
    return (act(x @ gate.T) * (x @ up.T)) @ down.T


def experts(x, scores, k, norm, each):
    """Softmax of all scores; each: e -> gate, up, down."""
    weights, chosen = scores.softmax(-1).topk(k, -1)
    if norm:
        weights = weights / weights.sum(-1, keepdim=True)
    out = torch.zeros_like(x)
    for r in range(x.shape[0]):
        for e, w in zip(chosen[r].tolist(), weights[r]):
            out[r] += w * gated(x[r:r + 1], *each(e))[0]
    return out


class Decoder:
    """Blocks as Llama's; what differs is in a subclass."""
    embed, norm, head = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"

    def __init__(self, c):
        self.c = c
        self.w = {}

    def shapes(self):
        c = self.c
        d, v = c["hidden_size"], c["vocab_size"]
        out = {self.embed: (v, d), self.norm: (d,), self.head: (v, d)}
        for i in range(c["num_hidden_layers"]):
            out.update({f"model.layers.{i}.{k}": s for k, s in self.layer_shapes(i).items()})
        return out

    def ffn_shapes(self, prefix, n, names=("gate_proj", "up_proj", "down_proj")):
        d = self.c["hidden_size"]
        return {f"{prefix}.{name}.weight": (d, n) if k == 2 else (n, d) for k, name in enumerate(names)}

    def attention_shapes(self):
        c = self.c
        d, size = c["hidden_size"], c["hidden_size"] // c["num_attention_heads"]
        q, k = c["num_attention_heads"] * size, c["num_key_value_heads"] * size
        return {"self_attn.q_proj.weight": (q, d), "self_attn.k_proj.weight": (k, d),
                "self_attn.v_proj.weight": (k, d), "self_attn.o_proj.weight": (d, q)}

    def get(self, i, name):
        return self.w[f"model.layers.{i}.{name}.weight"]

    def ffn(self, i, x, prefix, names=("gate_proj", "up_proj", "down_proj")):
        return gated(x, *(self.get(i, f"{prefix}.{n}") for n in names))

    def qkv(self, i, x):
        return (x @ self.get(i, f"self_attn.{n}_proj").T for n in "qkv")

    def attention(self, i, x, halves, out="self_attn.o_proj"):
        c = self.c
        q, k, v = self.qkv(i, x)
        q, k, v = heads(q, c["num_attention_heads"]), heads(k, c["num_key_value_heads"]), heads(v, c["num_key_value_heads"])
        q, k = (rotate(t, c["rope_theta"], q.shape[-1]) for t in (q, k))
        return attend(q, k, v, halves) @ self.get(i, out).T

    def layer(self, i, x, halves):
        eps = self.c["rms_norm_eps"]
        x = x + self.attention(i, rms(x, self.get(i, "input_layernorm"), eps), halves)
        return x + self.block(i, rms(x, self.get(i, "post_attention_layernorm"), eps))

    def logits(self, ids, halves):
        w = self.w
        x = w[self.embed][torch.tensor(ids.tolist())]
        for i in range(self.c["num_hidden_layers"]):
            x = self.layer(i, x, halves)
        return (rms(x, w[self.norm], self.c["rms_norm_eps"]) @ w[self.head].T).numpy()


class Deepseek(Decoder):
    """modeling_deepseek.py of deepseek-moe-16b: experts by softmax, not normed, beside shared ones."""

    def layer_shapes(self, i):
        c, d = self.c, self.c["hidden_size"]
        out = {"input_layernorm.weight": (d,), "post_attention_layernorm.weight": (d,)}
        out.update(self.attention_shapes())
        if i < c["first_k_dense_replace"]:
            return {**out, **self.ffn_shapes("mlp", c["intermediate_size"])}
        out["mlp.gate.weight"] = (c["n_routed_experts"], d)
        for e in range(c["n_routed_experts"]):
            out.update(self.ffn_shapes(f"mlp.experts.{e}", c["moe_intermediate_size"]))
        return {**out, **self.ffn_shapes("mlp.shared_experts", c["moe_intermediate_size"] * c["n_shared_experts"])}

    def block(self, i, x):
        if i < self.c["first_k_dense_replace"]:
            return self.ffn(i, x, "mlp")
        names = ("gate_proj", "up_proj", "down_proj")
        each = lambda e: [self.get(i, f"mlp.experts.{e}.{n}") for n in names]  # noqa: E731
        routed = experts(x, x @ self.get(i, "mlp.gate").T, self.c["num_experts_per_tok"],
                         self.c["norm_topk_prob"], each)
        return routed + self.ffn(i, x, "mlp.shared_experts")


class Bailing(Deepseek):
    """modeling_bailing_moe.py of Ling-lite: the same with other names, and weights to 1."""
    embed = "model.word_embeddings.weight"

    def attention_shapes(self):
        c, d = self.c, self.c["hidden_size"]
        size = c["head_dim"]
        n = (c["num_attention_heads"] + 2 * c["num_key_value_heads"]) * size
        return {"attention.query_key_value.weight": (n, d),
                "attention.dense.weight": (d, c["num_attention_heads"] * size)}

    def qkv(self, i, x):
        c = self.c
        n = [c[k] * c["head_dim"] for k in ("num_attention_heads", "num_key_value_heads", "num_key_value_heads")]
        return (x @ self.get(i, "attention.query_key_value").T).split(n, -1)

    def attention(self, i, x, halves):
        return super().attention(i, x, halves, "attention.dense")


class Bailing2(Bailing):
    """modeling_bailing_moe_v2.py of Ling-mini-2.0: normed queries and keys, part of them turned; experts
    by sigmoid with a bias for the choice, out of the best groups."""

    def layer_shapes(self, i):
        c = self.c
        out = super().layer_shapes(i)
        out.update({"attention.query_layernorm.weight": (c["head_dim"],),
                    "attention.key_layernorm.weight": (c["head_dim"],)})
        if i >= c["first_k_dense_replace"]:
            out["mlp.gate.expert_bias"] = (c["num_experts"],)
        return out

    def attention(self, i, x, halves):
        c = self.c
        q, k, v = self.qkv(i, x)
        q, k, v = heads(q, c["num_attention_heads"]), heads(k, c["num_key_value_heads"]), heads(v, c["num_key_value_heads"])
        q = rms(q, self.get(i, "attention.query_layernorm"), c["rms_norm_eps"])
        k = rms(k, self.get(i, "attention.key_layernorm"), c["rms_norm_eps"])
        q, k = (rotate(t, c["rope_theta"], int(c["head_dim"] * c["partial_rotary_factor"])) for t in (q, k))
        return attend(q, k, v, halves) @ self.get(i, "attention.dense").T

    def block(self, i, x):
        c = self.c
        if i < c["first_k_dense_replace"]:
            return self.ffn(i, x, "mlp")
        scores = (x @ self.get(i, "mlp.gate").T).sigmoid()
        out = torch.zeros_like(x)
        for r in range(x.shape[0]):
            choice = scores[r] + self.w[f"model.layers.{i}.mlp.gate.expert_bias"]
            groups = choice.reshape(c["n_group"], -1)
            kept = groups.topk(2, -1)[0].sum(-1).topk(c["topk_group"])[1]
            allowed = torch.full_like(groups, float("-inf"))
            allowed[kept] = groups[kept]
            chosen = allowed.reshape(-1).topk(c["num_experts_per_tok"])[1]
            w = scores[r][chosen] / scores[r][chosen].sum() * c["routed_scaling_factor"]
            for e, by in zip(chosen.tolist(), w):
                out[r] += by * self.ffn(i, x[r:r + 1], f"mlp.experts.{e}")[0]
        return out + self.ffn(i, x, "mlp.shared_experts")


class Arctic(Decoder):
    """modeling_arctic.py of snowflake-arctic: a dense block after the attention, and experts that read
    what came into the layer."""
    names = ("w1", "w3", "w2")

    def layer_shapes(self, i):
        c, d = self.c, self.c["hidden_size"]
        out = {f"{n}.weight": (d,) for n in ("input_layernorm", "post_attention_layernorm", "residual_layernorm")}
        out.update(self.attention_shapes())
        out.update(self.ffn_shapes("residual_mlp", d, self.names))
        out["block_sparse_moe.gate.weight"] = (c["num_local_experts"], d)
        for e in range(c["num_local_experts"]):
            out.update(self.ffn_shapes(f"block_sparse_moe.experts.{e}", c["intermediate_size"], self.names))
        return out

    def layer(self, i, x, halves):
        c, eps = self.c, self.c["rms_norm_eps"]
        y = x + self.attention(i, rms(x, self.get(i, "input_layernorm"), eps), halves)
        y = y + self.ffn(i, rms(y, self.get(i, "residual_layernorm"), eps), "residual_mlp", self.names)
        x = rms(x, self.get(i, "post_attention_layernorm"), eps)
        each = lambda e: [self.get(i, f"block_sparse_moe.experts.{e}.{n}") for n in self.names]  # noqa: E731
        return y + experts(x, x @ self.get(i, "block_sparse_moe.gate").T, c["num_experts_per_tok"], True, each)


MODELS = {"deepseek": Deepseek, "bailingmoe": Bailing, "bailingmoe2": Bailing2, "arctic": Arctic}
