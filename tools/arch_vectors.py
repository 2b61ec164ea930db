#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the outside reference of the model families: tests/data/arch/*.gguf and *.ref.

    pip install gguf transformers torch && tools/arch_vectors.py

Tiny models with random weights, one for each choice in which the families of src/model/arch.def
differ, are made as classes of PyPI `transformers` and written by PyPI `gguf` as its converters do:
names by its own table, rows of llama's Q and K in the order of interleaved rotation, one added to
gemma's norms.  Matrices are quantised before transformers sees them, so that both sides compute
with the same numbers.  The logits come from transformers in binary64, after every token of a text
longer than the windows, twice: as they are, and with keys and values rounded to binary16 as a
cache of halves holds them.

    NAME.ref      "DAMSOARC", u32 tokens, u32 vocabulary, i32 ids, f32 logits, f32 with halves
    format-F.ref  the same for a llama whose matrices are all of format F.  The test makes its file
                  itself, from the blocks in tests/data/format and the generator below.

With --llama (and PyPI `llama-cpp-python`, as tools/logits_vectors.py says) the files are run by
llama.cpp as well, and how near it comes is printed.
"""
import argparse
import os
import struct
import sys
import tempfile

import gguf
import numpy as np
import torch
import transformers

import format_vectors

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "tests", "data", "arch")
FORMATS = os.path.join(HERE, "..", "tests", "data", "format")
N_TOKENS, N_VOCAB, CTX = 40, 96, 256
Q = gguf.GGMLQuantizationType

LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)
LINEAR = dict(rope_type="linear", factor=4.0)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64)
# of gemma3: each kind of layer has its own
GEMMA3 = dict(full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6),
              sliding_attention=dict(rope_type="default", rope_theta=1e4))
GEMMA3_PLAIN = dict(full_attention=dict(rope_type="default", rope_theta=1e6),
                    sliding_attention=dict(rope_type="default", rope_theta=1e4))

EPS = 1e-2 # large, so that a wrong one shows

# name: family, matrices, what its config says beyond COMMON
COMMON = dict(vocab_size=N_VOCAB, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
              num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=EPS,
              max_position_embeddings=CTX, tie_word_embeddings=True, bos_token_id=None,
              eos_token_id=None, pad_token_id=None)
MODELS = {
    "llama": ("llama", Q.Q8_0, dict(tie_word_embeddings=False)),
    "llama-bias-mqa": ("llama", Q.F16, dict(num_key_value_heads=1, hidden_size=32, head_dim=16,
                                            attention_bias=True, rope_parameters=dict(
                                                rope_type="default", rope_theta=5e5))),
    "llama-f32": ("llama", Q.F32, dict(hidden_size=32, num_attention_heads=2, num_hidden_layers=1,
                                       num_key_value_heads=2)),
    "llama-factors": ("llama", Q.Q8_0, dict(rope_parameters=LLAMA3)),
    "llama-linear": ("llama", Q.Q8_0, dict(rope_parameters=LINEAR)),
    "llama-yarn": ("llama", Q.Q8_0, dict(rope_parameters=YARN)),
    "qwen2": ("qwen2", Q.Q8_0, dict(rope_parameters=dict(rope_type="default", rope_theta=1e6))),
    "qwen2-yarn": ("qwen2", Q.Q8_0, dict(tie_word_embeddings=False, rope_parameters=dict(
        YARN, rope_theta=1e6, beta_fast=8.0, beta_slow=0.5, attention_factor=1.3))),
    "qwen3": ("qwen3", Q.Q8_0, dict(head_dim=32, tie_word_embeddings=False)),
    "qwen3-mqa": ("qwen3", Q.Q8_0, dict(head_dim=32, num_key_value_heads=1, num_hidden_layers=1)),
    "gemma2": ("gemma2", Q.Q8_0, dict(
        num_hidden_layers=4, hidden_size=32, head_dim=16, query_pre_attn_scalar=16,
        sliding_window=7, attn_logit_softcapping=3.0, final_logit_softcapping=4.0)),
    # llama.cpp does not read attention.scale of gemma2: this one alone differs there
    "gemma2-scale": ("gemma2", Q.Q8_0, dict(
        num_hidden_layers=2, head_dim=16, query_pre_attn_scalar=5, num_key_value_heads=1,
        sliding_window=12, attn_logit_softcapping=50.0, final_logit_softcapping=30.0)),
    "gemma3": ("gemma3", Q.Q8_0, dict(
        num_hidden_layers=7, hidden_size=32, head_dim=32, query_pre_attn_scalar=32,
        num_key_value_heads=1, sliding_window=6, rope_parameters=GEMMA3)),
    "gemma3-plain": ("gemma3", Q.Q8_0, dict(
        num_hidden_layers=6, hidden_size=32, head_dim=16, query_pre_attn_scalar=16,
        sliding_window=11, rope_parameters=GEMMA3_PLAIN)),
}
CLASSES = {
    "llama": ("Llama", gguf.MODEL_ARCH.LLAMA),
    "qwen2": ("Qwen2", gguf.MODEL_ARCH.QWEN2),
    "qwen3": ("Qwen3", gguf.MODEL_ARCH.QWEN3),
    "gemma2": ("Gemma2", gguf.MODEL_ARCH.GEMMA2),
    "gemma3": ("Gemma3", gguf.MODEL_ARCH.GEMMA3),
}


def quantise(w, kind):
    """The bytes of a matrix, and the numbers that they mean."""
    w = np.ascontiguousarray(w, np.float32)
    raw = gguf.quants.quantize(w, kind)
    return raw, gguf.quants.dequantize(raw, kind).astype(np.float32)


def permute(w, n_head):
    """Rows of the halves of each head in turn, as llama's files have Q and K."""
    rest = w.shape[1:]
    return w.reshape(n_head, 2, w.shape[0] // n_head // 2, *rest).swapaxes(1, 2).reshape(w.shape)


def make_model(family, extra):
    cls = CLASSES[family][0]
    config = cls + ("TextConfig" if family == "gemma3" else "Config")
    config = getattr(transformers, config)(**{**COMMON, **extra})
    config._attn_implementation = "eager"
    return config, getattr(transformers, cls + "ForCausalLM")(config).double().eval()


def random_weights(model, family, kind, rng):
    """Sets every parameter; gives the arrays of the file by the names of transformers."""
    out = {}
    cfg = model.config
    for name, p in model.named_parameters():
        shape = tuple(p.shape)
        if len(shape) == 2:
            size = 1.0 if "embed" in name and not family.startswith("gemma") else shape[1] ** -0.5
            if "q_proj" in name or "k_proj" in name:
                size *= 1.4
            raw, w = quantise(rng.standard_normal(shape) * size, kind)
            out[name] = (raw, kind)
            if family == "llama" and ("q_proj" in name or "k_proj" in name):
                heads = cfg.num_attention_heads if "q_proj" in name else cfg.num_key_value_heads
                out[name] = (permute(raw, heads), kind)
        else: # steps of 1/1024, so that one more or less is exact
            gain = name.endswith("norm.weight") and not family.startswith("gemma")
            w = np.round(rng.standard_normal(shape) * 0.3 * 1024) / 1024 + gain
            shown = w + 1 if family.startswith("gemma") else w
            if family == "llama" and name.endswith((".q_proj.bias", ".k_proj.bias")):
                heads = cfg.num_attention_heads if "q_proj" in name else cfg.num_key_value_heads
                shown = permute(shown, heads)
            out[name] = (shown.astype(np.float32), Q.F32)
        with torch.no_grad():
            p.copy_(torch.from_numpy(np.ascontiguousarray(w)).double())
    return out


def llama3_factors(cfg):
    """By what each pair's frequency is divided, as the converter of llama writes it."""
    r = cfg.rope_parameters
    base, n = r["rope_theta"], cfg.head_dim
    low = r["original_max_position_embeddings"] / r["low_freq_factor"]
    high = r["original_max_position_embeddings"] / r["high_freq_factor"]
    out = []
    for freq in 1.0 / base ** (np.arange(0, n, 2) / n):
        wave = 2 * np.pi / freq
        if wave < high:
            out.append(1)
        elif wave > low:
            out.append(r["factor"])
        else:
            smooth = (r["original_max_position_embeddings"] / wave - r["low_freq_factor"]) / \
                (r["high_freq_factor"] - r["low_freq_factor"])
            out.append(1 / ((1 - smooth) / r["factor"] + smooth))
    return np.array(out, np.float32)


def write_rope(w, family, cfg):
    r = cfg.rope_parameters
    if family == "gemma3":
        r = r["full_attention"]
    w.add_rope_freq_base(float(r["rope_theta"]))
    if family == "llama":
        w.add_rope_dimension_count(cfg.head_dim)
    if r["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(r["factor"])
    elif r["rope_type"] == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(r["factor"])
        w.add_rope_scaling_orig_ctx_len(r["original_max_position_embeddings"])
        if "attention_factor" in r:
            w.add_rope_scaling_yarn_attn_factor(r["attention_factor"])
            w.add_rope_scaling_yarn_beta_fast(r["beta_fast"])
            w.add_rope_scaling_yarn_beta_slow(r["beta_slow"])


def write_keys(w, family, cfg, extra):
    w.add_context_length(cfg.max_position_embeddings)
    w.add_embedding_length(cfg.hidden_size)
    w.add_block_count(cfg.num_hidden_layers)
    w.add_feed_forward_length(cfg.intermediate_size)
    w.add_head_count(cfg.num_attention_heads)
    w.add_head_count_kv(cfg.num_key_value_heads)
    w.add_layer_norm_rms_eps(cfg.rms_norm_eps)
    if "head_dim" in extra or family.startswith("gemma"):
        w.add_key_length(cfg.head_dim)
        w.add_value_length(cfg.head_dim)
    if family.startswith("gemma"):
        w.add_sliding_window(cfg.sliding_window)
        if cfg.query_pre_attn_scalar != cfg.head_dim:
            w.add_attention_scale(cfg.query_pre_attn_scalar ** -0.5)
    if family == "gemma2":
        w.add_attn_logit_softcapping(cfg.attn_logit_softcapping)
        w.add_final_logit_softcapping(cfg.final_logit_softcapping)
    write_rope(w, family, cfg)
    w.add_vocab_size(cfg.vocab_size)
    w.add_tokenizer_model("none")


def write_model(path, family, model, extra, tensors):
    arch = CLASSES[family][1]
    w = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    cfg = model.config
    write_keys(w, family, cfg, extra)
    names = gguf.get_tensor_name_map(arch, cfg.num_hidden_layers)
    if family == "llama" and cfg.rope_parameters["rope_type"] == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_factors(cfg))
    for name, (data, kind) in tensors.items():
        to = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert to, name
        w.add_tensor(to, data, raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def logits_of(model, ids, halves):
    """halves: keys and values are rounded to binary16 after the rotation.  transformers makes its
    angles in binary32 whatever the model's type; binary64 keeps a rounding to halves from turning
    on the last bit of theirs.  A model of family_math.py has a forward pass of its own."""
    if hasattr(model, "logits"):
        return model.logits(ids, halves)
    module = sys.modules[type(model).__module__]
    plain, single = getattr(module, "eager_attention_forward", None), torch.Tensor.float
    to, kind = torch.Tensor.to, torch.Tensor.type

    def rounded(layer, query, key, value, *args, **kwargs):
        return plain(layer, query, key.half().to(key.dtype), value.half().to(value.dtype), *args, **kwargs)

    if halves and plain: # a few older classes attend in their own way: they have no such reference
        module.eager_attention_forward = rounded
    torch.Tensor.float = torch.Tensor.double
    torch.Tensor.to = lambda x, *a, **k: to(x, *(torch.float64 if t is torch.float32 else t for t in a), **k)
    torch.Tensor.type = lambda x, *a, **k: kind(x, *(torch.float64 if t is torch.float32 else t for t in a), **k)
    try:
        with torch.no_grad():
            return model(torch.tensor([ids.tolist()]), use_cache=False).logits[0].numpy()
    finally:
        if plain:
            module.eager_attention_forward = plain
        torch.Tensor.float = single
        torch.Tensor.to, torch.Tensor.type = to, kind


def write_ref(name, model, ids, halves=True):
    plain, halves = logits_of(model, ids, False), logits_of(model, ids, halves)
    with open(os.path.join(DATA, name + ".ref"), "wb") as f:
        f.write(b"DAMSOARC" + struct.pack("<II", len(ids), plain.shape[1]))
        f.write(ids.astype("<i4").tobytes())
        f.write(plain.astype("<f4").tobytes())
        f.write(halves.astype("<f4").tobytes())
    print(f"{name}: logits' size {np.sqrt((plain ** 2).mean()):.3g}, halves cost {nmse(halves, plain):.3g}", end="")
    return plain


def nmse(a, b):
    return float(((a - b) ** 2).sum() / (b ** 2).sum())


def check_llama(path, ids, want):
    """llama.cpp on the same file, with floats in its cache."""
    import llama_cpp

    m = llama_cpp.Llama(path, n_ctx=CTX, n_batch=N_TOKENS, logits_all=True, verbose=False,
                        flash_attn=False, type_k=0, type_v=0, n_threads=1)
    m.eval(ids.tolist())
    print(f", llama.cpp {nmse(np.array(m.scores[:len(ids)], np.float64), want):.3g}", end="")


# ---- a llama of one format ----

FORMAT_LAYERS, FORMAT_VOCAB = 2, 64


class Stream:
    """splitmix64, as src/base/num.h has it."""

    def __init__(self, seed):
        self.state = seed

    def take(self, n):
        mask = (1 << 64) - 1
        states = (self.state + 0x9E3779B97F4A7C15 * np.arange(1, n + 1, dtype=object)) & mask
        self.state = int(states[-1])
        z = states.astype(np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


class Pool:
    """Blocks to draw matrices from, and a stream to draw with."""

    def __init__(self, name):
        raw = open(os.path.join(FORMATS, name + ".vec"), "rb").read()
        kind, self.elems, size, _, n_pool, _ = struct.unpack("<6I", raw[8:32])
        self.kind, self.name = kind, name
        self.blocks = np.frombuffer(raw, np.uint8, n_pool * size, 32).reshape(n_pool, size)
        self.stream = Stream(kind)

    def matrix(self, rows, cols):
        at = self.stream.take(rows * cols // self.elems) % np.uint64(len(self.blocks))
        raw = self.blocks[at.astype(np.int64)].reshape(rows, -1)
        if self.kind == Q.F32:
            return np.ascontiguousarray(raw).view(np.float32)
        if self.kind == Q.F16:
            return np.ascontiguousarray(raw).view(np.float16)
        return np.ascontiguousarray(raw)

    def values(self, raw, ggml):
        if self.kind in (Q.F32, Q.F16):
            return raw.astype(np.float32)
        if self.name in format_vectors.BY_GGML:
            blocks = raw.reshape(-1, self.blocks.shape[1])
            return format_vectors.by_ggml(ggml, self.name, blocks, self.elems).reshape(len(raw), -1)
        return gguf.quants.dequantize(raw, Q(self.kind))

    def gain(self, n):
        return (0.5 + (self.stream.take(n) >> np.uint64(48)).astype(np.float64) / 65536).astype(np.float32)


def unpermute(w, n_head):
    rest = w.shape[1:]
    return w.reshape(n_head, w.shape[0] // n_head // 2, 2, *rest).swapaxes(1, 2).reshape(w.shape)


def format_tensors(pool, cfg):
    """In the order in which the test makes them."""
    head = cfg.hidden_size // cfg.num_attention_heads
    kv, dim, ff = head * cfg.num_key_value_heads, cfg.hidden_size, cfg.intermediate_size
    out = {"model.embed_tokens.weight": pool.matrix(FORMAT_VOCAB, dim)}
    for i in range(cfg.num_hidden_layers):
        for name, rows, cols in [("input_layernorm", 0, dim), ("self_attn.q_proj", dim, dim),
                                 ("self_attn.k_proj", kv, dim), ("self_attn.v_proj", kv, dim),
                                 ("self_attn.o_proj", dim, dim), ("post_attention_layernorm", 0, dim),
                                 ("mlp.gate_proj", ff, dim), ("mlp.up_proj", ff, dim),
                                 ("mlp.down_proj", dim, ff)]:
            out[f"model.layers.{i}.{name}.weight"] = pool.matrix(rows, cols) if rows else pool.gain(cols)
    out["model.norm.weight"] = pool.gain(dim)
    out["lm_head.weight"] = pool.matrix(FORMAT_VOCAB, dim)
    return out


def make_format(name, check, ggml):
    pool = Pool(name)
    dim = max(64, pool.elems)
    extra = dict(vocab_size=FORMAT_VOCAB, hidden_size=dim, intermediate_size=dim, tie_word_embeddings=False,
                 num_hidden_layers=FORMAT_LAYERS)
    cfg, model = make_model("llama", extra)
    made = format_tensors(pool, cfg)
    tensors = {}
    for to, p in model.named_parameters():
        data = made[to]
        if p.dim() == 1:
            w, kind = data, Q.F32
        else:
            kind = pool.kind
            w = pool.values(data, ggml)
        if "q_proj" in to or "k_proj" in to: # the file's rows are in the order of its rotation
            w = unpermute(w, cfg.num_attention_heads if "q_proj" in to else cfg.num_key_value_heads)
        tensors[to] = (data, kind)
        with torch.no_grad():
            p.copy_(torch.from_numpy(np.ascontiguousarray(w)).double())
    ids = (pool.stream.take(N_TOKENS) % np.uint64(FORMAT_VOCAB)).astype(np.int64)[:16]
    want = write_ref("format-" + name, model, ids)
    if check:
        with tempfile.TemporaryDirectory() as tmp:
            path = os.path.join(tmp, "m.gguf")
            write_model(path, "llama", model, extra, tensors)
            check_llama(path, ids, want)
    print()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--llama", action="store_true", help="compare with llama.cpp too")
    a.add_argument("--ggml", help="libggml-base.so of ggml 0.25.3, for what `gguf` cannot dequantise")
    a.add_argument("--formats", help="make these format-F.ref alone: F,F,...")
    a = a.parse_args()
    check = a.llama
    os.makedirs(DATA, exist_ok=True)
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    formats = sorted(f[:-4] for f in os.listdir(FORMATS) if f.endswith(".vec"))
    if a.formats:
        formats = a.formats.split(",")
    for at, (name, (family, kind, extra)) in enumerate([] if a.formats else MODELS.items()):
        rng = np.random.default_rng(at)
        _, model = make_model(family, extra)
        tensors = random_weights(model, family, kind, rng)
        path = os.path.join(DATA, name + ".gguf")
        write_model(path, family, model, extra, tensors)
        ids = rng.integers(0, N_VOCAB, N_TOKENS)
        want = write_ref(name, model, ids)
        if check:
            check_llama(path, ids, want)
        print()
    for name in formats:
        if a.ggml or name not in format_vectors.BY_GGML:
            make_format(name, check, a.ggml)


if __name__ == "__main__":
    main()
