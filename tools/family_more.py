# SPDX-License-Identifier: MIT
"""More models that transformers has no class of, as in family_math.py."""
import numpy as np
import torch
import torch.nn.functional as F

from family_math import Decoder, attend, experts, gated, gelu, heads, mean_norm, rms, rotate, rotate_pairs


class Grok(Decoder):
    """Grok 2, by grok.py and extend_attention.py of SGLang, which its makers name to run it; without a dense
    block Grok 1, by model.py of xai-org/grok-1: capped scores that grow with the position, norms before and
    after, experts' weights as they are."""
    names = ("w1", "w3", "w2")

    def layer_shapes(self, i):
        c, d = self.c, self.c["hidden_size"]
        norms = ("pre_attn_norm", "post_attn_norm", "pre_moe_norm", "post_moe_norm")
        out = {f"{n}.weight": (d,) for n in norms}
        out.update(self.attention_shapes())
        if c["residual_moe"]:
            out.update(self.ffn_shapes("mlp", c["intermediate_size"]))
        out["block_sparse_moe.gate.weight"] = (c["num_local_experts"], d)
        for e in range(c["num_local_experts"]):
            out.update(self.ffn_shapes(f"block_sparse_moe.experts.{e}", c["moe_intermediate_size"], self.names))
        return out

    def attention(self, i, x, halves):
        c = self.c
        return super().attention(i, x, halves, scale=c["attn_output_multiplier"], cap=c["attn_logit_softcapping"],
                                 grow=c.get("attn_temperature_len", 0))

    def block(self, i, x):
        c = self.c
        scores = x @ self.get(i, "block_sparse_moe.gate").T
        cap = c["router_logit_softcapping"]
        each = lambda e: [self.get(i, f"block_sparse_moe.experts.{e}.{n}") for n in self.names]  # noqa: E731
        out = experts(x, cap * torch.tanh(scores / cap), c["num_experts_per_tok"], False, each, gelu)
        if not c["residual_moe"]:
            return out
        part = [self.get(i, f"mlp.{n}") for n in ("gate_proj", "up_proj", "down_proj")]
        return (out + gated(x, *part, act=gelu)) * 0.5 ** 0.5

    def layer(self, i, x, halves):
        eps = self.c["rms_norm_eps"]
        norm = lambda y, n: rms(y, self.get(i, n), eps)  # noqa: E731
        x = x + norm(self.attention(i, norm(x, "pre_attn_norm"), halves), "post_attn_norm")
        return x + norm(self.block(i, norm(x, "pre_moe_norm")), "post_moe_norm")

    def begin(self, x):
        return x * self.c["embedding_multiplier_scale"]

    def end(self, logits):
        out, cap = logits * self.c["output_multiplier_scale"], self.c.get("final_logit_softcapping")
        return cap * torch.tanh(out / cap) if cap else out


class Plamo(Decoder):
    """modeling_plamo.py of plamo-13b: one norm, and both blocks beside each other."""

    def layer_shapes(self, i):
        c, d = self.c, self.c["hidden_size"]
        return {"input_layernorm.weight": (d,), **self.attention_shapes(),
                **self.ffn_shapes("mlp", c["intermediate_size"])}

    def layer(self, i, x, halves):
        y = rms(x, self.get(i, "input_layernorm"), self.c["rms_norm_eps"])
        return x + self.attention(i, y, halves) + self.ffn(i, y, "mlp")


class Plamo3(Decoder):
    """modeling_plamo.py of plamo-3-nict-2b-base: norms around both blocks, whose gains are stored less
    a number, normed queries and keys, windows with a rotation of their own."""
    layers, less = "model.layers.layers", ("norm.weight",)

    def layer_shapes(self, i):
        c, d = self.c, self.c["hidden_size"]
        size = c["head_dim"]
        n = (c["num_attention_heads"] + 2 * c["num_key_value_heads"]) * size
        out = {f"{n}.weight": (d,) for n in ("pre_mixer_norm", "post_mixer_norm", "pre_mlp_norm", "post_mlp_norm")}
        out.update(self.mixer_shapes(i, n, size))
        out["mlp.gate_up_proj.weight"] = (2 * c["intermediate_size"], d)
        out["mlp.down_proj.weight"] = (d, c["intermediate_size"])
        return out

    def mixer_shapes(self, i, n, size):
        c, d = self.c, self.c["hidden_size"]
        return {"mixer.qkv_proj.weight": (n, d), "mixer.o_proj.weight": (d, c["num_attention_heads"] * size),
                "mixer.q_norm.weight": (size,), "mixer.k_norm.weight": (size,)}

    def normed(self, i, x, name, more):
        return rms(x, self.get(i, name) + more, self.c["rms_norm_eps"])

    def attention(self, i, x, halves):
        c = self.c
        size, n, n_kv = c["head_dim"], c["num_attention_heads"], c["num_key_value_heads"]
        q, k, v = (x @ self.get(i, "mixer.qkv_proj").T).split([n * size, n_kv * size, n_kv * size], -1)
        local = (i + 1) % c["sliding_window_pattern"] != 0
        q = self.normed(i, heads(q, n), "mixer.q_norm", 1)
        k = self.normed(i, heads(k, n_kv), "mixer.k_norm", 1)
        base = c["rope_local_theta"] if local else c["rope_theta"]
        q, k = (rotate(t, base, size) for t in (q, k))
        mix = attend(q, k, heads(v, n_kv), halves, window=c["window_size"] if local else 0)
        return mix @ self.get(i, "mixer.o_proj").T

    def mixer(self, i, x, halves):
        return self.attention(i, x, halves)

    def layer(self, i, x, halves):
        y = self.mixer(i, self.normed(i, x, "pre_mixer_norm", 1), halves)
        x = x + self.normed(i, y, "post_mixer_norm", 1 / 5)
        gate, up = (self.normed(i, x, "pre_mlp_norm", 1) @ self.get(i, "mlp.gate_up_proj").T).chunk(2, -1)
        y = (F.silu(gate) * up) @ self.get(i, "mlp.down_proj").T
        return x + self.normed(i, y, "post_mlp_norm", 1 / 5 ** 1.5)

    def last(self, x):
        return rms(x, self.w[self.norm] + 1, self.c["rms_norm_eps"])


class Plamo2(Plamo3):
    """modeling_plamo.py of plamo-2-1b: in every second layer heads that scan a state (Dao and Gu 2024),
    whose steps are of few numbers and normed."""

    def scans(self, i):
        return i % self.c["mamba_step"] != self.c["mamba_step"] // 2

    def low(self):
        return max(64, self.c["hidden_size"] // 16)

    def mixer_shapes(self, i, n, size):
        c, d = self.c, self.c["hidden_size"]
        n_heads, each, state = c["mamba_num_heads"], c["hidden_size_per_head"], c["mamba_d_state"]
        inner = n_heads * each
        if not self.scans(i):
            return {"mixer.qkv_proj.weight": (n, d), "mixer.o_proj.weight": (d, c["num_attention_heads"] * size),
                    "mixer.q_weight": (c["num_attention_heads"], size),
                    "mixer.k_weight": (c["num_key_value_heads"], size)}
        return {"mixer.in_proj.weight": (2 * inner, d), "mixer.conv1d.weight": (inner, 1, c["mamba_d_conv"]),
                "mixer.bcdt_proj.weight": (self.low() + 2 * state, inner),
                "mixer.dt_proj.weight": (n_heads, self.low()), "mixer.dt_bias": (n_heads,),
                "mixer.A_log": (n_heads,), "mixer.D": (n_heads,), "mixer.dt_norm_weight": (self.low(),),
                "mixer.B_norm_weight": (state,), "mixer.C_norm_weight": (state,),
                "mixer.out_proj.weight": (d, inner)}

    def of(self, i, name):
        return self.w[f"{self.layers}.{i}.mixer.{name}"]

    def attention(self, i, x, halves):
        c = self.c
        size, n, n_kv = c["head_dim"], c["num_attention_heads"], c["num_key_value_heads"]
        q, k, v = (x @ self.get(i, "mixer.qkv_proj").T).split([n * size, n_kv * size, n_kv * size], -1)
        q = rms(heads(q, n), self.of(i, "q_weight")[:, None], c["rms_norm_eps"])
        k = rms(heads(k, n_kv), self.of(i, "k_weight")[:, None], c["rms_norm_eps"])
        q, k = (rotate(t, c["rope_theta"], size) for t in (q, k))
        return attend(q, k, heads(v, n_kv), halves) @ self.get(i, "mixer.o_proj").T

    def mixer(self, i, x, halves):
        if not self.scans(i):
            return self.attention(i, x, halves)
        c, eps = self.c, self.c["rms_norm_eps"]
        n_heads, each, state = c["mamba_num_heads"], c["hidden_size_per_head"], c["mamba_d_state"]
        z, y = (x @ self.get(i, "mixer.in_proj").T).reshape(len(x), n_heads, 2 * each).split(each, -1)
        taps = self.get(i, "mixer.conv1d")
        y = F.conv1d(F.pad(y.reshape(len(x), -1).T, (taps.shape[-1] - 1, 0))[None], taps, groups=len(taps))
        y = F.silu(y[0].T)
        b, r, dt = (y @ self.get(i, "mixer.bcdt_proj").T).split([state, state, self.low()], -1)
        b, r = rms(b, self.of(i, "B_norm_weight"), eps), rms(r, self.of(i, "C_norm_weight"), eps)
        dt = rms(dt, self.of(i, "dt_norm_weight"), eps) @ self.get(i, "mixer.dt_proj").T
        dt = F.softplus(dt + self.of(i, "dt_bias"))
        y, a = y.reshape(len(x), n_heads, each), -self.of(i, "A_log").exp()
        kept, out = torch.zeros(n_heads, each, state, dtype=torch.float64), []
        for t in range(len(x)):
            kept = kept * (dt[t] * a).exp()[:, None, None] + (dt[t][:, None] * y[t])[..., None] * b[t]
            out.append(kept @ r[t] + self.of(i, "D")[:, None] * y[t])
        return (torch.stack(out) * F.silu(z)).reshape(len(x), -1) @ self.get(i, "mixer.out_proj").T


class Deci(Decoder):
    """modeling_decilm.py of Llama-3_1-Nemotron-51B and Llama-3_3-Nemotron-Super-49B: layers differ in their heads
    and widths, and may lack a block, or have a matrix in the place of attention."""

    def block_of(self, i):
        b = self.c["block_configs"][i]
        return b["attention"]["n_heads_in_group"], b["attention"]["replace_with_linear"], b["ffn"]["ffn_mult"]

    def kv_heads(self, i):
        return self.c["num_attention_heads"] // self.block_of(i)[0]

    def layer_shapes(self, i):
        d = self.c["hidden_size"]
        group, linear, mult = self.block_of(i)
        out = {}
        if group:
            n = d // self.c["num_attention_heads"] * self.kv_heads(i)
            out.update({**self.attention_shapes(), "self_attn.k_proj.weight": (n, d), "self_attn.v_proj.weight": (n, d)})
        if linear:
            out["self_attn.linear_attn.weight"] = (d, d)
        if group or linear:
            out["input_layernorm.weight"] = (d,)
        if mult:
            n = -(-int(2 * mult * d / 3) // 256) * 256
            out.update({"post_attention_layernorm.weight": (d,), **self.ffn_shapes("mlp", n)})
        return out

    def layer(self, i, x, halves):
        eps = self.c["rms_norm_eps"]
        group, linear, mult = self.block_of(i)
        if group or linear:
            y = rms(x, self.get(i, "input_layernorm"), eps)
        if group:
            x = x + self.attention(i, y, halves)
        if linear:
            x = x + y @ self.get(i, "self_attn.linear_attn").T
        return x + self.ffn(i, rms(x, self.get(i, "post_attention_layernorm"), eps), "mlp") if mult else x


class Maincoder(Decoder):
    """modeling_maincoder.py of Maincoder-1B: neighbours turn together, and heads are normed after it."""
    rotate = staticmethod(rotate_pairs)

    def layer_shapes(self, i):
        c, d = self.c, self.c["hidden_size"]
        size = d // c["num_attention_heads"]
        return {"input_layernorm.weight": (d,), "post_attention_layernorm.weight": (d,),
                "self_attn.q_norm.weight": (size,), "self_attn.k_norm.weight": (size,),
                **self.attention_shapes(), **self.ffn_shapes("mlp", c["intermediate_size"])}

    def turn(self, i, t, which):
        return rms(super().turn(i, t, which), self.get(i, f"self_attn.{which}_norm"), self.c["rms_norm_eps"])

    def block(self, i, x):
        return self.ffn(i, x, "mlp")


class Plm(Decoder):
    """modeling_plm.py of PLM-1.8B: each head's keys and values out of few numbers, and ReLU squared."""

    def layer_shapes(self, i):
        c, d = self.c, self.c["hidden_size"]
        n, low, turned = c["num_attention_heads"], c["kv_lora_rank"], c["qk_rope_head_dim"]
        plain, value = c["qk_nope_head_dim"], c["v_head_dim"]
        return {"input_layernorm.weight": (d,), "post_attention_layernorm.weight": (d,),
                "self_attn.q_proj.weight": (n * (plain + turned), d),
                "self_attn.kv_a_proj_with_mqa.weight": (low + turned, d), "self_attn.kv_a_layernorm.weight": (low,),
                "self_attn.kv_b_proj.weight": (n * (plain + value), low), "self_attn.o_proj.weight": (d, n * value),
                "mlp.up_proj.weight": (c["intermediate_size"], d), "mlp.down_proj.weight": (d, c["intermediate_size"])}

    def attention(self, i, x, halves):
        c = self.c
        n, low, turned, plain = (c[k] for k in ("num_attention_heads", "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim"))
        q = heads(x @ self.get(i, "self_attn.q_proj").T, n)
        small, shared = (x @ self.get(i, "self_attn.kv_a_proj_with_mqa").T).split([low, turned], -1)
        small = rms(small, self.get(i, "self_attn.kv_a_layernorm"), 1e-6)
        kv = heads(small @ self.get(i, "self_attn.kv_b_proj").T, n)
        shared = rotate_pairs(shared[None], c["rope_theta"], turned).expand(n, -1, -1)
        q = torch.cat([q[..., :plain], rotate_pairs(q[..., plain:], c["rope_theta"], turned)], -1)
        k = torch.cat([kv[..., :plain], shared], -1)
        return attend(q, k, kv[..., plain:], halves) @ self.get(i, "self_attn.o_proj").T

    def block(self, i, x):
        return F.relu(x @ self.get(i, "mlp.up_proj").T).pow(2) @ self.get(i, "mlp.down_proj").T


class Refact(Decoder):
    """modeling_gpt_refact.py of Refact-1_6B-fim: LayerNorm without biases, ALiBi, one head of keys."""
    embed, norm, head, layers = "transformer.wte.weight", "transformer.ln_f.weight", "lm_head.weight", "transformer.h"

    def layer_shapes(self, i):
        d = self.c["hidden_size"]
        size, n = d // self.c["n_head"], 256 * -(-int(8 * d / 3) // 256)
        return {"ln_1.weight": (d,), "ln_2.weight": (d,), "attn.q.weight": (d, d), "attn.k.weight": (size, d),
                "attn.v.weight": (size, d), "attn.c_proj.weight": (d, d), "mlp.linear_1.weight": (n, d),
                "mlp.linear_3.weight": (n, d), "mlp.c_proj.weight": (d, n)}

    def normed(self, i, x, name):
        return mean_norm(x, self.get(i, name), None, self.c["layer_norm_epsilon"])

    def layer(self, i, x, halves):
        y = self.normed(i, x, "ln_1")
        q, k, v = (y @ self.get(i, f"attn.{n}").T for n in "qkv")
        mix = attend(heads(q, self.c["n_head"]), heads(k, 1), heads(v, 1), halves, alibi=True)
        x = x + mix @ self.get(i, "attn.c_proj").T
        part = (self.get(i, f"mlp.{n}") for n in ("linear_1", "linear_3", "c_proj"))
        return x + gated(self.normed(i, x, "ln_2"), *part)

    def last(self, x):
        return mean_norm(x, self.w[self.norm], None, self.c["layer_norm_epsilon"])


class Jais(Decoder):
    """modeling_jais.py of jais-family-590m: GPT-2's blocks with ALiBi, a gate, and scores divided by the
    head's size."""
    embed, norm, head, layers = "transformer.wte.weight", "transformer.ln_f.weight", "lm_head.weight", "transformer.h"
    turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight", "c_fc2.weight")

    def shapes(self):
        d = self.c["hidden_size"]
        return {**super().shapes(), "transformer.ln_f.bias": (d,), "transformer.relative_pe.slopes": (self.c["n_head"],)}

    def layer_shapes(self, i):
        d, n = self.c["hidden_size"], self.c["n_inner"]
        sizes = {"attn.c_attn": (3 * d, d), "attn.c_proj": (d, d), "mlp.c_fc": (n, d), "mlp.c_fc2": (n, d),
                 "mlp.c_proj": (d, n)}
        out = {f"{k}.weight": s for k, s in sizes.items()}
        out.update({f"{k}.bias": (s[0],) for k, s in sizes.items()})
        return {**out, **{f"{n}.{e}": (d,) for n in ("ln_1", "ln_2") for e in ("weight", "bias")}}

    def draw(self, name, shape, rng, exact):
        n = self.c["n_head"]
        return 2.0 ** (-8.0 * (np.arange(n) + 1) / n) if name.endswith("slopes") else None

    def linear(self, i, x, name):
        return x @ self.get(i, name).T + self.w[f"{self.layers}.{i}.{name}.bias"]

    def normed(self, i, x, name):
        return mean_norm(x, self.get(i, name), self.w[f"{self.layers}.{i}.{name}.bias"], self.c["layer_norm_epsilon"])

    def layer(self, i, x, halves):
        n = self.c["n_head"]
        q, k, v = (heads(t, n) for t in self.linear(i, self.normed(i, x, "ln_1"), "attn.c_attn").chunk(3, -1))
        x = x + self.linear(i, attend(q, k, v, halves, 1 / q.shape[-1], alibi=True), "attn.c_proj")
        y = self.normed(i, x, "ln_2")
        y = F.silu(self.linear(i, y, "mlp.c_fc2")) * self.linear(i, y, "mlp.c_fc")
        return x + self.linear(i, y, "mlp.c_proj")

    def begin(self, x):
        return x * self.c["mup_embeddings_scale"]

    def last(self, x):
        return mean_norm(x, self.w[self.norm], self.w["transformer.ln_f.bias"], self.c["layer_norm_epsilon"])

    def end(self, logits):
        return logits * (self.c["mup_output_alpha"] * self.c["mup_width_scale"])


class OpenElm(Decoder):
    """modeling_openelm.py of OpenELM-270M: normed queries and keys, and layers that have heads and blocks
    of sizes of their own."""
    embed = head = "transformer.token_embeddings.weight"
    norm = "transformer.norm.weight"
    layers = "transformer.layers"

    def sizes(self, i):
        """Heads of queries and of keys, and the block's width."""
        c = self.c
        step = c["ffn_dim_divisor"]
        width = max(step, int(c["ffn_multipliers"][i] * c["hidden_size"] + step / 2) // step * step)
        return c["num_query_heads"][i], c["num_kv_heads"][i], width

    def layer_shapes(self, i):
        d, size = self.c["hidden_size"], self.c["head_dim"]
        n, n_kv, width = self.sizes(i)
        return {"attn_norm.weight": (d,), "ffn_norm.weight": (d,), "attn.q_norm.weight": (size,),
                "attn.k_norm.weight": (size,), "attn.qkv_proj.weight": ((n + 2 * n_kv) * size, d),
                "attn.out_proj.weight": (d, n * size), "ffn.proj_1.weight": (2 * width, d),
                "ffn.proj_2.weight": (d, width)}

    def layer(self, i, x, halves):
        c, eps, size = self.c, self.c["rms_norm_eps"], self.c["head_dim"]
        n, n_kv, _ = self.sizes(i)
        y = rms(x, self.get(i, "attn_norm"), eps) @ self.get(i, "attn.qkv_proj").T
        q, k, v = (heads(t, m) for t, m in zip(y.split([n * size, n_kv * size, n_kv * size], -1), (n, n_kv, n_kv)))
        q, k = rms(q, self.get(i, "attn.q_norm"), eps), rms(k, self.get(i, "attn.k_norm"), eps)
        q, k = (rotate(t, c["rope_freq_constant"], size) for t in (q, k))
        x = x + attend(q, k, v, halves) @ self.get(i, "attn.out_proj").T
        gate, up = (rms(x, self.get(i, "ffn_norm"), eps) @ self.get(i, "ffn.proj_1").T).chunk(2, -1)
        return x + (F.silu(gate) * up) @ self.get(i, "ffn.proj_2").T


MODELS = {"grok": Grok, "openelm": OpenElm, "plamo": Plamo, "plamo2": Plamo2, "plamo3": Plamo3, "deci": Deci,
          "maincoder": Maincoder, "plm": Plm, "refact": Refact, "jais": Jais}
