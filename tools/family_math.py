# SPDX-License-Identifier: MIT
"""Models that transformers has no class of, by the math of their makers' code: what
tools/family_vectors.py takes in the place of a class.

A model is a dict of tensors under the names of its checkpoint, and its forward pass here is in
binary64, written with torch for one whole text.  halves: keys and values are rounded to binary16
after the rotation, as in arch_vectors.logits_of.
"""
import numpy as np
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


def rotate_pairs(x, base, n_rot):
    """[heads, rows, dim]: neighbours among the first n_rot numbers turn together."""
    order = list(range(0, n_rot, 2)) + list(range(1, n_rot, 2))
    turned = rotate(x[..., :n_rot][..., order], base, n_rot)
    out = x.clone()
    out[..., order] = turned
    return out


def mean_norm(x, w, b, eps):
    return F.layer_norm(x, (x.shape[-1],), w, b, eps)


def gelu(x):
    return F.gelu(x, approximate="tanh")


def attend(q, k, v, halves, scale=None, cap=0, alibi=False, window=0, grow=0):
    """Causal; [heads, rows, dim] with fewer heads of k and v.  alibi: by the distance, the steepest
    head falls by 2^(-8 / heads).  grow: the scores of queries beyond this position, by the logarithm."""
    if halves:
        k, v = k.half().double(), v.half().double()
    group = q.shape[0] // k.shape[0]
    k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
    s = q @ k.transpose(1, 2) * (scale or q.shape[-1] ** -0.5)
    if cap:
        s = cap * torch.tanh(s / cap)
    rows = torch.arange(s.shape[1])
    if grow:
        s = s * torch.where(rows > grow, rows.double().log2() / np.log2(grow), 1.0)[:, None]
    if alibi:
        slopes = 2.0 ** (-8.0 * (torch.arange(len(q), dtype=torch.float64) + 1) / len(q))
        s = s + slopes[:, None, None] * (rows[None, :] - rows[:, None]).double()
    s = s.masked_fill(torch.ones(s.shape[1:]).triu(1).bool(), float("-inf"))
    if window:
        s = s.masked_fill(rows[:, None] - rows[None, :] >= window, float("-inf"))
    return (s.softmax(-1) @ v).transpose(0, 1).reshape(q.shape[1], -1)


def heads(x, n):
    return x.reshape(x.shape[0], n, -1).transpose(0, 1)


def gated(x, gate, up, down, act=F.silu):
    return (act(x @ gate.T) * (x @ up.T)) @ down.T


def experts(x, scores, k, norm, each, act=F.silu):
    """Softmax of all scores; each: e -> gate, up, down."""
    weights, chosen = scores.softmax(-1).topk(k, -1)
    if norm:
        weights = weights / weights.sum(-1, keepdim=True)
    out = torch.zeros_like(x)
    for r in range(x.shape[0]):
        for e, w in zip(chosen[r].tolist(), weights[r]):
            out[r] += w * gated(x[r:r + 1], *each(e), act=act)[0]
    return out


class Decoder:
    """Blocks as Llama's; what differs is in a subclass."""
    embed, norm, head = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"
    layers = "model.layers"
    turned = ()  # the ends of names whose matrices the checkpoint has the other way round
    less = ()  # the ends of names of gains that the checkpoint has less 1 or some other number
    rotate = staticmethod(rotate)

    def __init__(self, c):
        self.c = c
        self.w = {}

    def draw(self, name, shape, rng, exact):
        """A weight in its own way; None: as others."""

    def shapes(self):
        c = self.c
        d, v = c["hidden_size"], c["vocab_size"]
        out = {self.embed: (v, d), self.norm: (d,), self.head: (v, d)}
        for i in range(c["num_hidden_layers"]):
            out.update({f"{self.layers}.{i}.{k}": s for k, s in self.layer_shapes(i).items()})
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
        return self.w[f"{self.layers}.{i}.{name}.weight"]

    def ffn(self, i, x, prefix, names=("gate_proj", "up_proj", "down_proj")):
        return gated(x, *(self.get(i, f"{prefix}.{n}") for n in names))

    def qkv(self, i, x):
        return (x @ self.get(i, f"self_attn.{n}_proj").T for n in "qkv")

    def kv_heads(self, i):
        return self.c["num_key_value_heads"]

    def turn(self, i, t, which):
        """Queries' heads, or keys': which is q or k."""
        return self.rotate(t, self.c["rope_theta"], t.shape[-1])

    def attention(self, i, x, halves, out="self_attn.o_proj", **how):
        n, n_kv = self.c["num_attention_heads"], self.kv_heads(i)
        q, k, v = (heads(t, m) for t, m in zip(self.qkv(i, x), (n, n_kv, n_kv)))
        return attend(self.turn(i, q, "q"), self.turn(i, k, "k"), v, halves, **how) @ self.get(i, out).T

    def layer(self, i, x, halves):
        eps = self.c["rms_norm_eps"]
        x = x + self.attention(i, rms(x, self.get(i, "input_layernorm"), eps), halves)
        return x + self.block(i, rms(x, self.get(i, "post_attention_layernorm"), eps))

    def logits(self, ids, halves):
        x = self.begin(self.w[self.embed][torch.tensor(ids.tolist())])
        for i in range(self.c["num_hidden_layers"]):
            x = self.layer(i, x, halves)
        return self.end(self.last(x) @ self.w[self.head].T).numpy()

    def begin(self, x):
        return x

    def end(self, logits):
        return logits

    def last(self, x):
        return rms(x, self.w[self.norm], self.c["rms_norm_eps"])


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

    def turn(self, i, t, which):
        c, name = self.c, {"q": "query", "k": "key"}[which]
        t = rms(t, self.get(i, f"attention.{name}_layernorm"), c["rms_norm_eps"])
        return rotate(t, c["rope_theta"], int(c["head_dim"] * c["partial_rotary_factor"]))

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


def shifted(x):
    """The row before each, less the row."""
    return torch.cat([torch.zeros_like(x[:1]), x[:-1]]) - x


class Rwkv(Decoder):
    """What RWKV's families share.  Weights are drawn so that gates, fades and shares of the row before
    are neither all nor nothing.  Matrices [in, out], as the checkpoints have some, are turned."""

    def draw(self, name, shape, rng, exact):
        last = name.split(".")[-1]
        if last in ("weight", "w1", "w2", "a1", "a2", "v1", "v2", "g1", "g2", "time_maa_w1", "time_decay_w1",
                    "time_decay_w2") and len(shape) == 2:
            size = 1.0 if "embed" in name else (shape[0] if last != "weight" else shape[-1]) ** -0.5
            return exact(rng, shape, size) if last == "weight" else exact(rng, shape[::-1], size).T
        if last == "time_maa_w2":
            return exact(rng, shape, shape[1] ** -0.5)
        low, high = -0.5, 0.5  # biases
        if last in ("time_decay", "w0") or name.endswith("w_lora.lora.2.bias"):
            low, high = -3, 2
        elif "maa_" in last or last.startswith("x_") or last in ("k_k", "k_a"):
            low, high = 0, 1
        elif last == "weight":  # gains
            low, high = 0.5, 1.5
        return np.round(rng.uniform(low, high, shape) * 1024) / 1024

    def names(self, prefix, names, *shape):
        return {f"{prefix}{n}": shape for n in names}

    def head_norm(self, y, w, b):
        n = self.heads
        y = mean_norm(heads(y, n), None, None, 64e-5) * w.reshape(n, 1, -1) + b.reshape(n, 1, -1)
        return y.transpose(0, 1).flatten(1)

    def logits(self, ids, halves):
        """halves: nothing is kept in them."""
        self.first = None
        return super().logits(ids, halves)


def rwkv6_mix(x, g, maa, order, heads_of):
    """What both families of RWKV 6 make of x: keys, values and so on, and fades' logarithms.  g: the
    parameters by name; maa: their prefix; heads_of: how many heads a result has."""
    dx = shifted(x)
    low = torch.tanh((x + dx * g(maa + "x")) @ g(maa + "w1")).reshape(len(x), 5, -1).transpose(0, 1)
    grown = low @ g(maa + "w2")
    of = {n: x + dx * (g(maa + n) + grown[k]) for k, n in enumerate(order)}
    w = g("time_decay").flatten() + torch.tanh(of["w"] @ g("time_decay_w1")) @ g("time_decay_w2")
    return of, heads(-w.exp(), heads_of)


class Rwkv6(Rwkv):
    """RWKV_v6_demo.py of BlinkDL's ChatRWKV, and modeling_rwkv6.py of RWKV/v6-Finch-1B6-HF for the names
    and the halving of the stream."""
    embed, norm, head = "rwkv.embeddings.weight", "rwkv.ln_out", "head.weight"

    def shapes(self):
        c = self.c
        d, n, low, decay = c["hidden_size"], c["intermediate_size"], c["rank"], c["rank_decay"]
        self.heads = d // c["head_size"]
        out = {self.embed: (c["vocab_size"], d), self.head: (c["vocab_size"], d)}
        for prefix in ("rwkv.blocks.0.pre_ln", self.norm):
            out.update(self.names(prefix, (".weight", ".bias"), d))
        for i in range(c["num_hidden_layers"]):
            p = f"rwkv.blocks.{i}."
            for name in ("ln1", "ln2", "attention.ln_x"):
                out.update(self.names(p + name, (".weight", ".bias"), d))
            out.update(self.names(p + "attention.time_maa_", "xwkvrg", 1, 1, d))
            out.update(self.names(p + "attention.", [n + ".weight" for n in
                                                     ("receptance", "key", "value", "gate", "output")], d, d))
            out.update({p + "attention.time_maa_w1": (d, 5 * low), p + "attention.time_maa_w2": (5, low, d),
                        p + "attention.time_decay": (1, 1, d), p + "attention.time_decay_w1": (d, decay),
                        p + "attention.time_decay_w2": (decay, d),
                        p + "attention.time_faaaa": (self.heads, c["head_size"]),
                        p + "feed_forward.key.weight": (n, d), p + "feed_forward.value.weight": (d, n),
                        p + "feed_forward.receptance.weight": (d, d)})
            out.update(self.names(p + "feed_forward.time_maa_", "kr", 1, 1, d))
        return out

    def norm_by(self, x, prefix):
        return mean_norm(x, self.w[prefix + ".weight"], self.w[prefix + ".bias"], self.c["layer_norm_epsilon"])

    def begin(self, x):
        return self.norm_by(x, "rwkv.blocks.0.pre_ln")

    def last(self, x):
        return self.norm_by(x, self.norm)

    def mix(self, x, p):
        g = lambda n: self.w[p + n].squeeze()  # noqa: E731
        of, log = rwkv6_mix(x, g, "time_maa_", "wkvrg", self.heads)
        r, k, v = (heads(of[a] @ g(n + ".weight").T, self.heads)
                   for a, n in (("r", "receptance"), ("k", "key"), ("v", "value")))
        state, y = torch.zeros(self.heads, r.shape[-1], r.shape[-1], dtype=torch.float64), []
        for t in range(len(x)):
            kv = k[:, t, :, None] * v[:, t, None, :]
            y.append((r[:, t, None] @ (state + self.w[p + "time_faaaa"][:, :, None] * kv)).flatten())
            state = log[:, t, :, None].exp() * state + kv
        y = self.head_norm(torch.stack(y), g("ln_x.weight"), g("ln_x.bias"))
        return (y * F.silu(of["g"] @ g("gate.weight").T)) @ g("output.weight").T

    def feed(self, x, p):
        g = lambda n: self.w[p + n].squeeze()  # noqa: E731
        dx = shifted(x)
        k = F.relu((x + dx * g("time_maa_k")) @ g("key.weight").T).square()
        return torch.sigmoid((x + dx * g("time_maa_r")) @ g("receptance.weight").T) * (k @ g("value.weight").T)

    def layer(self, i, x, halves):
        p, every = f"rwkv.blocks.{i}.", self.c["rescale_every"]
        by = 2.0 ** (i // every)
        x = x + self.mix(self.norm_by(x, p + "ln1"), p + "attention.") / by
        x = x + self.feed(self.norm_by(x, p + "ln2"), p + "feed_forward.") / by
        return x / 2 if (i + 1) % every == 0 else x


class Qrwkv6(Rwkv):
    """TMix_qwen2rwkv6 of RADLADS, the training code of recursal's QRWKV6: RWKV 6 as gated linear
    attention in Qwen 2."""

    def layer_shapes(self, i):
        c = self.c
        d, low, decay = c["hidden_size"], c["rank"], c["rank_decay"]
        self.heads = c["num_attention_heads"]
        kv = d // self.heads * c["num_key_value_heads"]
        out = {"input_layernorm.weight": (d,), "post_attention_layernorm.weight": (d,)}
        for name, n in (("q", d), ("k", kv), ("v", kv)):
            out.update({f"self_attn.{name}_proj.weight": (n, d), f"self_attn.{name}_proj.bias": (n,)})
        out.update(self.names("self_attn.", ("o_proj.weight", "gate.weight"), d, d))
        out.update(self.names("self_attn.time_maa_", "xrkvwg", 1, 1, d))
        out.update({"self_attn.time_maa_w1": (d, 5 * low), "self_attn.time_maa_w2": (5, low, d),
                    "self_attn.time_decay": (1, 1, d), "self_attn.time_decay_w1": (d, decay),
                    "self_attn.time_decay_w2": (decay, d)})
        return {**out, **self.ffn_shapes("mlp", c["intermediate_size"])}

    def attention(self, i, x, halves):
        g = lambda n: self.w[f"model.layers.{i}.self_attn.{n}"].squeeze()  # noqa: E731
        of, log = rwkv6_mix(x, g, "time_maa_", "rkvwg", self.heads)
        log, size = log.clamp(-5), x.shape[-1] // self.heads
        q, k, v = (heads(of[a] @ g(n + "_proj.weight").T + g(n + "_proj.bias"), g(n + "_proj.bias").numel() // size)
                   for a, n in (("r", "q"), ("k", "k"), ("v", "v")))
        k, v = (t.repeat_interleave(self.heads // t.shape[0], 0) for t in (k, v))
        k = k * (1 - log.exp())
        state, y = torch.zeros(self.heads, size, size, dtype=torch.float64), []
        for t in range(len(x)):
            state = log[:, t, :, None].exp() * state + k[:, t, :, None] * v[:, t, None, :]
            y.append((q[:, t, None] * size ** -0.5 @ state).flatten())
        return (torch.stack(y) * torch.sigmoid(of["g"] @ g("gate.weight").T)) @ g("o_proj.weight").T

    def block(self, i, x):
        return self.ffn(i, x, "mlp")


class Rwkv7(Rwkv):
    """rwkv_v7_demo_rnn.py of BlinkDL's RWKV-LM; the names are those of fla-hub's checkpoints."""
    embed, norm = "model.embeddings.weight", "model.norm"
    output = {"r": "attn.r_proj", "k": "attn.k_proj", "v": "attn.v_proj", "o": "attn.o_proj", "x": "attn.",
              "norm": "attn.g_norm"}

    def lora(self, i, n, rank):
        """Tensors of a low-rank product and their shapes: low, high, bias."""
        d, p = self.c["hidden_size"], f"attn.{n}_lora.lora."
        return {p + "0.weight": (rank, d), p + "2.weight": (d, rank), **({p + "2.bias": (d,)} if n != "g" else {})}

    def low_rank(self, i, n, x, f=lambda x: x):
        p = f"model.layers.{i}.attn.{n}_lora.lora."
        bias = self.w.get(p + "2.bias", 0)
        return f(x @ self.w[p + "0.weight"].T) @ self.w[p + "2.weight"].T + bias

    def mix_shapes(self, i):
        c = self.c
        d, size = c["hidden_size"], c.get("head_dim", c.get("head_size"))
        self.heads = d // size
        out = self.names(self.output["x"] + "x_", "rwkvag" if c.get("wkv_has_gate", True) else "rwkva", 1, 1, d)
        for n in "rkvo":
            out[self.output[n] + ".weight"] = (d, d)
        out.update(self.names(self.output["x"], ("k_k", "k_a"), *((d,) if "head_dim" in c else (1, 1, d))))
        out[self.output["x"] + "r_k"] = (self.heads, size)
        if c.get("has_group_norm", True):
            out.update(self.names(self.output["norm"], (".weight", ".bias"), d))
        for n, rank in self.ranks(i).items():
            out.update(self.lora(i, n, rank))
        return out

    def ranks(self, i):
        c = self.c
        return {"w": c["decay_low_rank_dim"], "a": c["a_low_rank_dim"], "g": c["gate_low_rank_dim"],
                **({"v": c["v_low_rank_dim"]} if i else {})}

    def shapes(self):
        c = self.c
        d, n = c["hidden_size"], c["intermediate_size"]
        out = {self.embed: (c["vocab_size"], d), self.head: (c["vocab_size"], d)}
        for prefix in ("model.layers.0.pre_norm", self.norm):
            out.update(self.names(prefix, (".weight", ".bias"), d))
        for i in range(c["num_hidden_layers"]):
            p = f"model.layers.{i}."
            for name in ("attn_norm", "ffn_norm"):
                out.update(self.names(p + name, (".weight", ".bias"), d))
            out.update({p + k: s for k, s in self.mix_shapes(i).items()})
            out.update({p + "ffn.x_k": (d,), p + "ffn.key.weight": (n, d), p + "ffn.value.weight": (d, n)})
        return out

    def norm_by(self, x, prefix):
        return mean_norm(x, self.w[prefix + ".weight"], self.w[prefix + ".bias"], self.c["norm_eps"])

    def begin(self, x):
        return self.norm_by(x, "model.layers.0.pre_norm")

    def last(self, x):
        return self.norm_by(x, self.norm)

    def mix(self, i, x):
        p = f"model.layers.{i}."
        g = lambda n: self.w[p + self.output["x"] + n].flatten()  # noqa: E731
        matrix = lambda n: self.w[p + self.output[n] + ".weight"].T  # noqa: E731
        dx = shifted(x)
        at = lambda n: x + dx * g("x_" + n)  # noqa: E731
        r, k, v = at("r") @ matrix("r"), at("k") @ matrix("k"), at("v") @ matrix("v")
        fade = torch.exp(-torch.exp(-F.softplus(-self.low_rank(i, "w", at("w"), torch.tanh)) - 0.5))
        if self.first is None:
            self.first = v
        else:
            v = v + (self.first - v) * torch.sigmoid(self.low_rank(i, "v", at("v")))
        a = torch.sigmoid(self.low_rank(i, "a", at("a")))
        kk = F.normalize(heads(k * g("k_k"), self.heads), dim=-1)
        k = k * (1 + (a - 1) * g("k_a"))
        r, k, v, a, fade = (heads(t, self.heads) for t in (r, k, v, a, fade))
        state, y = torch.zeros(self.heads, r.shape[-1], r.shape[-1], dtype=torch.float64), []
        for t in range(len(x)):  # [values][keys]
            taken = (state @ kk[:, t, :, None]) @ (kk * a)[:, t, None]
            state = state * fade[:, t, None] - taken + v[:, t, :, None] * k[:, t, None]
            y.append((state @ r[:, t, :, None]).flatten())
        y = torch.stack(y)
        if self.c.get("has_group_norm", True):
            y = self.head_norm(y, *(self.w[p + self.output["norm"] + e] for e in (".weight", ".bias")))
        own = (r * k * self.w[p + self.output["x"] + "r_k"][:, None]).sum(-1, keepdim=True) * v
        y = y + own.transpose(0, 1).flatten(1)
        if self.c.get("wkv_has_gate", True):
            y = y * self.low_rank(i, "g", at("g"), torch.sigmoid)
        return y @ matrix("o")

    def layer(self, i, x, halves):
        p = f"model.layers.{i}."
        x = x + self.mix(i, self.norm_by(x, p + "attn_norm"))
        y = self.norm_by(x, p + "ffn_norm")
        k = F.relu((y + shifted(y) * self.w[p + "ffn.x_k"]) @ self.w[p + "ffn.key.weight"].T).square()
        return x + k @ self.w[p + "ffn.value.weight"].T


class Arwkv(Rwkv7):
    """TimeMixer.py of yynil's RWKVInside, in Qwen 2: RWKV 7, with and without gate and norm of heads."""
    embed, norm = "model.embed_tokens.weight", "model.norm.weight"
    output = {"r": "self_attn.time_mixer.receptance", "k": "self_attn.time_mixer.key",
              "v": "self_attn.time_mixer.value", "o": "self_attn.time_mixer.output",
              "x": "self_attn.time_mixer.", "norm": "self_attn.time_mixer.ln_x"}
    shapes, last, begin = Decoder.shapes, Decoder.last, Decoder.begin

    def lora(self, i, n, rank):
        d, p = self.c["hidden_size"], f"self_attn.time_mixer.{n}"
        return {p + "1": (d, rank), p + "2": (rank, d), **({p + "0": (1, 1, d)} if n != "g" else {})}

    def low_rank(self, i, n, x, f=lambda x: x):
        p = f"model.layers.{i}.self_attn.time_mixer.{n}"
        return f(x @ self.w[p + "1"]) @ self.w[p + "2"] + (self.w[p + "0"].flatten() if n != "g" else 0)

    def ranks(self, i):
        return {n: 32 for n in "wa" + "g" * self.c["wkv_has_gate"] + "v" * (i > 0)}

    def layer_shapes(self, i):
        d = self.c["hidden_size"]
        return {"input_layernorm.weight": (d,), "post_attention_layernorm.weight": (d,), **self.mix_shapes(i),
                **self.ffn_shapes("mlp", self.c["intermediate_size"])}

    def layer(self, i, x, halves):
        eps = self.c["rms_norm_eps"]
        x = x + self.mix(i, rms(x, self.get(i, "input_layernorm"), eps))
        return x + self.ffn(i, rms(x, self.get(i, "post_attention_layernorm"), eps), "mlp")


MODELS = {"deepseek": Deepseek, "bailingmoe": Bailing, "bailingmoe2": Bailing2, "arctic": Arctic,
          "rwkv6": Rwkv6, "rwkv6qwen2": Qrwkv6, "rwkv7": Rwkv7, "arwkv7": Arwkv}
