#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the outside reference of the tensor formats: tests/data/format/*.vec.

    pip install gguf && tools/format_vectors.py

Each file holds blocks of random bytes with finite scales and what PyPI `gguf` (quants.py) says
that some of them mean: "DAMSOFMT", then u32 number of the type, elements a block, bytes a block,
blocks, blocks in the pool, blocks with values; the blocks; the values of the last blocks as f32.
The pool, the first blocks, has values a model could have (0.08 on average, as many below zero as
above); the tests of whole models draw their matrices from it (tools/arch_vectors.py).  The blocks
after it have wilder scales: subnormal, negative, zero, large.
"""
import os
import struct

import gguf
import numpy as np

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "data", "format")
SIZE = 0.08
# name: where d and the minimum's scale are in a block, and the latter's ratio to d that puts the
# mean of random bytes at zero
QUANTS = {
    "Q4_0": (0, None, 0),
    "Q4_1": (0, 2, -7.5),
    "Q5_0": (0, None, 0),
    "Q5_1": (0, 2, -15.5),
    "Q8_0": (0, None, 0),
    "Q2_K": (80, 82, 1.5),
    "Q3_K": (108, None, 0),
    "Q4_K": (0, 2, 7.5),
    "Q5_K": (0, 2, 15.5),
    "Q6_K": (208, None, 0),
}
WILD = [6e-8, -3e-5, 0.0, -1.5, 60.0, 1e-3]


def dequantise(raw, kind):
    if kind == gguf.GGMLQuantizationType.F32:
        return raw.view(np.float32)
    if kind == gguf.GGMLQuantizationType.F16:
        return raw.view(np.float16).astype(np.float32)
    return gguf.quants.dequantize(raw, kind)


def put_half(blocks, at, values):
    blocks[:, at:at + 2] = np.asarray(values, np.float16).reshape(-1, 1).view(np.uint8)


def quant_blocks(rng, name, kind):
    """A pool of 64 blocks, then wild ones."""
    elems, size = gguf.GGML_QUANT_SIZES[kind]
    at_d, at_m, ratio = QUANTS[name]
    n_wild = 3 if elems == 256 else len(WILD)
    blocks = rng.integers(0, 256, (64 + n_wild, size), dtype=np.uint8)
    put_half(blocks, at_d, np.ones(len(blocks)))
    if at_m is not None:
        put_half(blocks, at_m, np.full(len(blocks), ratio))
    unit = np.sqrt((dequantise(blocks, kind).astype(np.float64) ** 2).mean())
    d = SIZE / unit * rng.uniform(0.5, 1.5, len(blocks))
    d[64:] = rng.permutation(WILD)[:n_wild]
    put_half(blocks, at_d, d)
    if at_m is not None:
        m = d * ratio
        m[64:] = rng.permutation(WILD)[:n_wild]
        put_half(blocks, at_m, m)
    return blocks, 64, n_wild + (1 if elems == 256 else 2)


def float_blocks(rng, kind):
    """Single numbers: 512 in the pool, then every exponent's like, both zeros, the largest."""
    pool = (rng.standard_normal(512) * SIZE).astype(np.float32)
    if kind == gguf.GGMLQuantizationType.F16:
        wild = rng.integers(0, 0x7c00, 64).astype(np.uint16) | (rng.integers(0, 2, 64) << 15).astype(np.uint16)
        wild[:8] = [0, 0x8000, 1, 0x8001, 0x3ff, 0x400, 0x7bff, 0xfbff]
        raw = np.concatenate([pool.astype(np.float16).view(np.uint16), wild]).astype("<u2")
    else:
        wild = (rng.integers(0, 0x7f80, 64) | (rng.integers(0, 2, 64) << 15)).astype(np.uint32)
        wild[:6] = [0, 0x8000, 1, 0x8001, 0x7f7f, 0xff7f]
        raw = np.concatenate([pool.view(np.uint32) >> 16, wild]).astype("<u2")
    if kind == gguf.GGMLQuantizationType.F32:
        raw = np.concatenate([pool.view(np.uint32), wild << 16 | 0x1234]).astype("<u4")
    return raw.view(np.uint8).reshape(len(raw), -1), 512, 96


def main():
    os.makedirs(DATA, exist_ok=True)
    rng = np.random.default_rng(20261124)
    for name in ["F32", "F16", "BF16", *QUANTS]:
        kind = gguf.GGMLQuantizationType[name]
        blocks, n_pool, n_values = quant_blocks(rng, name, kind) if name in QUANTS else float_blocks(rng, kind)
        values = dequantise(blocks[-n_values:], kind).astype("<f4").ravel()
        assert np.isfinite(values).all()
        elems, size = gguf.GGML_QUANT_SIZES[kind]
        head = struct.pack("<6I", int(kind), elems, size, len(blocks), n_pool, n_values)
        with open(os.path.join(DATA, name + ".vec"), "wb") as f:
            f.write(b"DAMSOFMT" + head + blocks.tobytes() + values.tobytes())
        pool = dequantise(blocks[:n_pool], kind)
        print(f"{name}: {len(blocks)} blocks, {values.size} values, pool's mean {pool.mean():.4f}, "
              f"size {np.sqrt((pool ** 2).mean()):.4f}")


if __name__ == "__main__":
    main()
