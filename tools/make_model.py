#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes a GGUF file of a model with random weights, so that any size and format can be timed.

    pip install numpy && tools/make_model.py llama-1b Q4_K llama-1b-q4_k.gguf --vocab SMOLLM2.gguf

The shape is a preset, of which single sizes can be given otherwise (--layers and so on): a llama, a
mixture of experts (Qwen3-30B-A3B's shape), and two with state (LFM2-1.2B's and Mamba2-1.3B's).  All
matrices, the token embeddings and the output matrix among them, are in the one format; the output
matrix is one of its own unless --tied; norms, routers and what belongs to states are F32.  Tokenizer
and vocabulary are those of the GGUF file --vocab (SmolLM2's).  The bytes depend on the shape, the format and --seed alone.

Blocks are random bytes with scales that put the values' mean at zero and their standard deviation
at 0.02, as of an untrained model, so that the logits stay finite and differ; K formats have random
6-bit, 4-bit or 8-bit sub-block scales too.  Floating point is normal.
"""
import argparse
import math
import os
import statistics
import struct
import sys

import numpy as np

ALIGN = 32
PIECE = 16 << 20
STD = 0.02
U32, F32, STRING, ARRAY, U64 = 4, 6, 8, 9, 10
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

# Sizes that --layers and so on may replace; 0: there is no such part.
PARTS = ("layers", "width", "ff", "heads", "kv_heads", "head", "experts", "used")
SHAPES = {
    "llama-1b": ("llama", 16, 2048, 8192, 32, 8, 64, 0, 0),
    "llama-8b": ("llama", 32, 4096, 14336, 32, 8, 128, 0, 0),
    "qwen3-30b-a3b": ("qwen3moe", 48, 2048, 768, 32, 4, 128, 128, 8),
    "lfm2-1b": ("lfm2", 16, 2048, 8192, 32, 8, 64, 0, 0),
    "mamba2-1b": ("mamba2", 48, 2048, 0, 0, 0, 0, 0, 0),
}
LFM2_ATTENTION = (2, 5, 8, 10, 12, 14)  # layers; the others have a convolution of 3 tokens
MAMBA2 = {"conv_kernel": 4, "state_size": 128, "group_count": 1, "inner_size": 4096, "time_step_rank": 64}


def uniform(low, high):
    """Mean and mean square of a whole number, low to high."""
    n = np.arange(low, high + 1, dtype=np.float64)
    return n.mean(), (n * n).mean()


class Quant:
    """A block format: where d is in a block, and the minimum's scale, which is ratio times d."""

    def __init__(self, number, elems, size, at_d, value, scale=None, at_m=None, minimum=None):
        self.number, self.elems, self.size = number, elems, size
        self.at_d, self.at_m, self.ratio = at_d, at_m, 0.0
        self.signed = at_m is None and scale is None and low_heavy(value)
        mean, square = uniform(*value)
        if at_m is None:
            square *= uniform(*scale)[1] if scale else 1
        elif scale is None:  # d q + m
            self.ratio = -mean
            square -= mean * mean
        else:  # d s q - dmin s'
            s, s2 = uniform(*scale)
            m, m2 = uniform(*minimum)
            self.ratio = mean
            square = s2 * square - 2 * mean * (s * mean * m) + mean * mean * m2
        self.unit = STD / np.sqrt(square * (1 + 1 / 12))  # d is 0.5 to 1.5 of its mean

    def piece(self, raw, n):
        blocks = raw(n * self.size).reshape(n, self.size)
        if self.number == 8:  # as quantisers write it: no -128
            blocks[blocks == 0x80] = 0x81
        chance = raw(n * 2).view("<u2")
        d = ((0.5 + chance / 65536.0) * self.unit).astype(np.float32)
        if self.signed:  # the mean of -8..7 is not 0: as many blocks the other way round
            d[chance & 1 == 1] *= -1
        self.put(blocks, self.at_d, d)
        if self.at_m is not None:
            self.put(blocks, self.at_m, d * np.float32(self.ratio))
        return blocks

    @staticmethod
    def put(blocks, at, values):
        blocks[:, at:at + 2] = values.astype("<f2").view(np.uint8).reshape(-1, 2)


def low_heavy(value):
    return -value[0] == value[1] + 1 and value[1] < 127


class Float:
    """A floating-point format: a table of 65536 quantiles of the normal distribution."""

    def __init__(self, number, size):
        self.number, self.elems, self.size = number, 1, size
        self.table = None

    def make_table(self):
        normal = statistics.NormalDist(0, STD)
        t = np.array([normal.inv_cdf((i + 0.5) / 65536) for i in range(65536)], np.float32)
        if self.number == 1:
            return t.astype("<f2")
        return (t.view("<u4") >> 16).astype("<u2") if self.number == 30 else t.astype("<f4")

    def piece(self, raw, n):
        if self.table is None:
            self.table = self.make_table()
        return self.table[raw(n * 2).view("<u2")]


class Coded:
    """A format whose codes stand for values of a table or of points: size is the root mean square
    of random blocks with d = 1, as PyPI `gguf` dequantises them."""

    def __init__(self, number, elems, size, at_d, rms):
        self.number, self.elems, self.size = number, elems, size
        self.at_d, self.unit = at_d, STD / np.sqrt(rms * rms * (1 + 1 / 12))

    def piece(self, raw, n):
        blocks = raw(n * self.size).reshape(n, self.size)
        chance = raw(n * 2).view("<u2")
        d = ((0.5 + chance / 65536.0) * self.unit).astype("<f2").view("<u2")
        d |= chance << 15  # the codes' mean is not always 0: as many blocks the other way round
        if self.number == 29:  # IQ1_M: the highest four bits of four words
            words = blocks[:, 48:56].copy().view("<u2")
            parts = d.reshape(-1, 1) >> np.array([0, 4, 8, 12], "<u2") << 12
            blocks[:, 48:56] = (words & 0x0fff | parts & 0xf000).astype("<u2").view(np.uint8)
        elif self.number == 39:  # MXFP4: 2^-9 or 2^-8 times values of 5.9 on the average
            blocks[:, 0] = 119 + (chance & 1)
        elif self.number == 40:  # NVFP4: 2 to 5 times 2^-10
            blocks[:, :4] = 2 + blocks[:, :4] % 4
        else:
            blocks[:, self.at_d:self.at_d + 2] = d.view(np.uint8).reshape(-1, 2)
        return blocks


# As in src/kern/format.def and the reference dequantiser beside it.
FORMATS = {
    "F32": Float(0, 4),
    "F16": Float(1, 2),
    "BF16": Float(30, 2),
    "Q4_0": Quant(2, 32, 18, 0, (-8, 7)),
    "Q4_1": Quant(3, 32, 20, 0, (0, 15), at_m=2),
    "Q5_0": Quant(6, 32, 22, 0, (-16, 15)),
    "Q5_1": Quant(7, 32, 24, 0, (0, 31), at_m=2),
    "Q8_0": Quant(8, 32, 34, 0, (-128, 127)),
    "Q2_K": Quant(10, 256, 84, 80, (0, 3), (0, 15), at_m=82, minimum=(0, 15)),
    "Q3_K": Quant(11, 256, 110, 108, (-4, 3), (-32, 31)),
    "Q4_K": Quant(12, 256, 144, 0, (0, 15), (0, 63), at_m=2, minimum=(0, 63)),
    "Q5_K": Quant(13, 256, 176, 0, (0, 31), (0, 63), at_m=2, minimum=(0, 63)),
    "Q6_K": Quant(14, 256, 210, 208, (-32, 31), (-128, 127)),
    "IQ2_XXS": Coded(16, 256, 66, 0, 53.4),
    "IQ2_XS": Coded(17, 256, 74, 0, 55.9),
    "IQ2_S": Coded(22, 256, 82, 0, 56.5),
    "IQ3_XXS": Coded(18, 256, 98, 0, 142.5),
    "IQ3_S": Coded(21, 256, 110, 0, 140.2),
    "IQ1_S": Coded(19, 256, 50, 0, 7.21),
    "IQ1_M": Coded(29, 256, 56, 0, 7.19),
    "IQ4_NL": Coded(20, 32, 18, 0, 67.5),
    "IQ4_XS": Coded(23, 256, 136, 0, 1248),
    "TQ1_0": Coded(34, 256, 54, 52, 0.817),
    "TQ2_0": Coded(35, 256, 66, 64, 1.225),
    "MXFP4": Coded(39, 32, 17, 0, 1),
    "NVFP4": Coded(40, 64, 36, 0, 1),
    "Q1_0": Coded(41, 128, 18, 0, 1),
    "Q2_0": Coded(42, 64, 18, 0, 1.225),
}
# general.file_type of llama.cpp
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10,
              "Q3_K": 12, "Q4_K": 15, "Q5_K": 17, "Q6_K": 18, "BF16": 32,
              "IQ2_XXS": 19, "IQ2_XS": 20, "IQ2_S": 28, "IQ3_XXS": 23, "IQ3_S": 26, "IQ1_S": 24, "IQ1_M": 31,
              "IQ4_NL": 25, "IQ4_XS": 30, "TQ1_0": 36, "TQ2_0": 37, "MXFP4": 38, "NVFP4": 39, "Q1_0": 40,
              "Q2_0": 41}


class Reader:
    """Goes through the keys of a GGUF file."""

    def __init__(self, path):
        self.path = path
        self.f = open(path, "rb")
        self.end = os.path.getsize(path)

    def take(self, n):
        b = self.f.read(n) if 0 <= n <= self.end else b""
        if len(b) != n:
            sys.exit(f"make_model: {self.path} ends too early or is no GGUF file")
        return b

    def number(self, code="<Q"):
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def skip(self, kind):
        """One value; gives how many elements it has (1 where it is no array)."""
        if kind == STRING:
            self.take(self.number())
        elif kind == ARRAY:
            elem, n = self.number("<I"), self.number()
            if elem in SIZES:
                self.take(n * SIZES[elem])
            elif elem == STRING:
                for _ in range(n):
                    self.take(self.number())
            else:
                sys.exit(f"make_model: {self.path} has an array of type {elem}")
            return n
        elif kind in SIZES:
            self.take(SIZES[kind])
        else:
            sys.exit(f"make_model: {self.path} has a value of type {kind}")
        return 1


def tokenizer_of(path):
    """The bytes of the tokenizer's keys, how many keys, and the vocabulary's size."""
    r = Reader(path)
    if r.take(4) != b"GGUF" or r.number("<I") not in (2, 3):
        sys.exit(f"make_model: {path} is no GGUF file of version 2 or 3")
    r.number()
    out, n_keys, n_vocab = b"", 0, 0
    for _ in range(r.number()):
        began = r.f.tell()
        key = r.take(r.number())
        n = r.skip(r.number("<I"))
        if not key.startswith(b"tokenizer."):
            continue
        stop = r.f.tell()
        r.f.seek(began)
        out += r.take(stop - began)
        n_keys += 1
        if key == b"tokenizer.ggml.tokens":
            n_vocab = n
    if n_vocab == 0:
        sys.exit(f"make_model: {path} has no tokenizer.ggml.tokens")
    return out, n_keys, n_vocab


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def keys_of(name, fmt, shape, ctx, n_vocab):
    arch, layers, width, ff, heads, kv_heads, head, experts, used = shape
    kv = [kv_heads * (i in LFM2_ATTENTION) for i in range(layers)] if arch == "lfm2" else kv_heads
    own = {"vocab_size": n_vocab, "context_length": ctx, "block_count": layers,
           "embedding_length": width, "feed_forward_length": ff}
    if arch == "mamba2":
        own |= {"attention.head_count": 0} | {f"ssm.{part}": size for part, size in MAMBA2.items()}
    else:
        own |= {"attention.head_count": heads, "attention.head_count_kv": kv,
                "attention.key_length": head, "attention.value_length": head,
                "rope.dimension_count": head, "rope.freq_base": 500000.0}
    if experts:
        own |= {"expert_count": experts, "expert_used_count": used,
                "expert_feed_forward_length": ff}
    if arch == "lfm2":
        own["shortconv.l_cache"] = 3
    own["attention.layer_norm_rms_epsilon"] = 1e-5
    values = [("general.architecture", arch), ("general.name", f"{name} {fmt} random weights"),
              ("general.file_type", FILE_TYPES[fmt]), ("general.quantization_version", 2)]
    values += [(f"{arch}.{key}", v) for key, v in own.items()]
    out = b""
    for key, v in values:
        out += text(key)
        if isinstance(v, str):
            out += struct.pack("<I", STRING) + text(v)
        elif isinstance(v, float):
            out += struct.pack("<If", F32, v)
        elif isinstance(v, list):
            out += struct.pack(f"<IIQ{len(v)}I", ARRAY, U32, len(v), *v)
        else:
            out += struct.pack("<II", U32, v)
    return out, len(values)


# A tensor: its name, its dimensions from the innermost, and what it holds.
ONES, NOISE, MATRIX = range(3)  # F32 ones; F32 of the matrices' deviation; a matrix of the format


def attention_of(shape):
    arch, _, width, _, heads, kv_heads, head, _, _ = shape
    yield "attn_q.weight", (width, heads * head), MATRIX
    yield "attn_k.weight", (width, kv_heads * head), MATRIX
    yield "attn_v.weight", (width, kv_heads * head), MATRIX
    yield "attn_output.weight", (heads * head, width), MATRIX
    if arch != "llama":
        yield "attn_q_norm.weight", (head,), ONES
        yield "attn_k_norm.weight", (head,), ONES


def feed_forward_of(shape):
    _, _, width, ff, _, _, _, experts, _ = shape
    many = "_exps" if experts else ""
    each = (experts,) if experts else ()
    if experts:
        yield "ffn_gate_inp.weight", (width, experts), NOISE
    yield f"ffn_gate{many}.weight", (width, ff, *each), MATRIX
    yield f"ffn_up{many}.weight", (width, ff, *each), MATRIX
    yield f"ffn_down{many}.weight", (ff, width, *each), MATRIX


def mamba2_of(width):
    inner, state, groups = MAMBA2["inner_size"], MAMBA2["state_size"], MAMBA2["group_count"]
    heads, conv = MAMBA2["time_step_rank"], inner + 2 * groups * state
    yield "ssm_in.weight", (width, inner + conv + heads), MATRIX
    yield "ssm_conv1d.weight", (MAMBA2["conv_kernel"], conv), NOISE
    yield "ssm_conv1d.bias", (conv,), NOISE
    yield "ssm_dt.bias", (heads,), NOISE
    yield "ssm_a", (1, heads), -1.0
    yield "ssm_d", (1, heads), ONES
    yield "ssm_norm.weight", (inner // groups, groups), ONES
    yield "ssm_out.weight", (inner, width), MATRIX


def layer_of(shape, i):
    arch, width = shape[0], shape[2]
    yield "attn_norm.weight", (width,), ONES
    if arch == "mamba2":
        yield from mamba2_of(width)
        return
    if arch == "lfm2" and i not in LFM2_ATTENTION:
        yield "shortconv.in_proj.weight", (width, 3 * width), MATRIX
        yield "shortconv.conv.weight", (3, width), NOISE
        yield "shortconv.out_proj.weight", (width, width), MATRIX
    else:
        yield from attention_of(shape)
    yield "ffn_norm.weight", (width,), ONES
    yield from feed_forward_of(shape)


def tensors_of(shape, n_vocab, tied):
    arch, layers, width = shape[:3]
    yield "token_embd.weight", (width, n_vocab), MATRIX
    for i in range(layers):
        for name, dims, kind in layer_of(shape, i):
            yield f"blk.{i}.{name}", dims, kind
    norm = "token_embd_norm" if arch == "lfm2" else "output_norm"
    yield f"{norm}.weight", (width,), ONES
    if not tied:
        yield "output.weight", (width, n_vocab), MATRIX


def padded(n):
    return -n % ALIGN


def write_tensor(f, fmt, n_elems, kind, seed, index):
    if kind not in (NOISE, MATRIX):
        f.write(np.full(n_elems, 1 if kind == ONES else kind, "<f4").data)
        return
    fmt = fmt if kind == MATRIX else FORMATS["F32"]
    random = np.random.PCG64(np.random.SeedSequence([seed, index]))

    def raw(n):
        return random.random_raw((n + 7) // 8).astype("<u8", copy=False).view(np.uint8)[:n]

    blocks = n_elems // fmt.elems
    step = PIECE // fmt.size
    for at in range(0, blocks, step):
        f.write(fmt.piece(raw, min(step, blocks - at)).data)


def write(path, a, shape):
    fmt = FORMATS[a.format]
    tok, n_tok, n_vocab = tokenizer_of(a.vocab)
    keys, n_keys = keys_of(a.preset, a.format, shape, a.ctx, n_vocab)
    tensors = list(tensors_of(shape, n_vocab, a.tied))
    infos, offset = b"", 0
    for name, dims, kind in tensors:
        if kind == MATRIX and dims[0] % fmt.elems:
            sys.exit(f"make_model: {name} has {dims[0]} columns; {a.format} needs a multiple of "
                     f"{fmt.elems}")
        as_ = fmt if kind == MATRIX else FORMATS["F32"]
        size = math.prod(dims) // as_.elems * as_.size
        infos += text(name) + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
        infos += struct.pack("<IQ", as_.number, offset)
        offset += size + padded(size)
    with open(path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), n_keys + n_tok))
        f.write(keys + tok + infos)
        f.write(b"\0" * padded(f.tell()))
        for i, (_, dims, kind) in enumerate(tensors):
            write_tensor(f, fmt, math.prod(dims), kind, a.seed, i)
            f.write(b"\0" * padded(f.tell()))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("preset", choices=SHAPES)
    p.add_argument("format", choices=FORMATS)
    p.add_argument("out")
    p.add_argument("--vocab", required=True, help="GGUF file whose tokenizer is taken")
    p.add_argument("--ctx", type=int, default=131072, help="context length the file says [131072]")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--tied", action="store_true", help="no output matrix: the embeddings serve")
    for part in PARTS:
        p.add_argument("--" + part.replace("_", "-"), type=int, help="instead of the preset's")
    a = p.parse_args()
    arch, *sizes = SHAPES[a.preset]
    shape = (arch, *(getattr(a, part) or size for part, size in zip(PARTS, sizes)))
    heads, kv_heads = shape[4:6]
    if min(shape[1:]) < 0 or a.ctx < 1 or a.seed < 0 or (kv_heads and heads % kv_heads):
        sys.exit("make_model: no size is below 0, and the heads are a multiple of the KV heads")
    unfinished = a.out + ".part"
    try:
        write(unfinished, a, shape)
        os.replace(unfinished, a.out)
    finally:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
    print(f"{a.out}: {os.path.getsize(a.out) / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
