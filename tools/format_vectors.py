#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the outside reference of the tensor formats: tests/data/format/*.vec.

    pip install gguf==0.19.0 && tools/format_vectors.py [--ggml libggml-base.so]

Q1_0 and Q2_0, which that package cannot dequantise, are made by the C library of ggml where
--ggml names one (0.25.3, as in the sdist of PyPI `llama-cpp-python` 0.3.36).

Each file holds blocks of random bytes with finite scales and what PyPI `gguf` (quants.py) says
that some of them mean: "DAMSOFMT", then u32 number of the type, elements a block, bytes a block,
blocks, blocks in the pool, blocks with values; the blocks; the values of the last blocks as f32.
The pool, the first blocks, has values a model could have (0.08 on average, as many below zero as
above); the tests of whole models draw their matrices from it (tools/arch_vectors.py).  The blocks
after it have wilder scales: subnormal, negative, zero, large.
"""
import argparse
import ctypes
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
# Formats whose codes are symmetric or nearly so: where d is.
CODED = {"IQ2_XXS": 0, "IQ2_XS": 0, "IQ2_S": 0, "IQ3_XXS": 0, "IQ3_S": 0, "IQ1_S": 0, "IQ4_NL": 0,
         "IQ4_XS": 0, "TQ1_0": 52, "TQ2_0": 64, "IQ1_M": None, "MXFP4": None, "NVFP4": None,
         "Q1_0": 0, "Q2_0": 0}
# The number, elements and bytes a block of what the package does not know.
BY_GGML = {"Q1_0": (41, 128, 18), "Q2_0": (42, 64, 18)}
WILD = [6e-8, -3e-5, 0.0, -1.5, 60.0, 1e-3]


def dequantise(raw, kind):
    if kind == gguf.GGMLQuantizationType.F32:
        return raw.view(np.float32)
    if kind == gguf.GGMLQuantizationType.F16:
        return raw.view(np.float16).astype(np.float32)
    return gguf.quants.dequantize(raw, kind)


def put_half(blocks, at, values):
    blocks[:, at:at + 2] = np.asarray(values, np.float16).reshape(-1, 1).view(np.uint8)


def by_ggml(path, name, raw, elems):
    out = np.empty(len(raw) * elems, np.float32)
    call = getattr(ctypes.CDLL(path), "dequantize_row_" + name.lower())
    call.restype = None
    call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    raw = np.ascontiguousarray(raw)
    call(raw.ctypes.data, out.ctypes.data, out.size)
    return out.reshape(len(raw), elems)


def put_scale(blocks, name, values):
    """The scales of blocks: exactly, or of about that size."""
    if name == "IQ1_M":  # the bits of d are the highest four of four words
        words = blocks[:, 48:56].copy().view("<u2")
        d = np.asarray(values, "<f2").view("<u2").reshape(-1, 1)
        words = (words & 0x0fff) | (d >> np.array([0, 4, 8, 12], "<u2") << 12 & 0xf000)
        blocks[:, 48:56] = words.astype("<u2").view(np.uint8)
    elif name == "MXFP4":
        blocks[:, 0] = np.clip(np.round(np.log2(np.maximum(np.abs(values), 2.0 ** -128))) + 128, 0, 255)
    elif name == "NVFP4":  # all bytes are scales; in the pool some that are alike
        low = np.clip(np.round(np.log2(np.maximum(np.abs(values), 2.0 ** -9)) * 8) + 64, 0, 126)
        blocks[:, :4] = low.reshape(-1, 1) + blocks[:, :4] % 8
    else:
        put_half(blocks, CODED[name], values)


def coded_blocks(rng, name, elems, size, values_of):
    """A pool of 64 blocks, then wild ones."""
    n_wild = 4 if elems == 256 else 8
    blocks = rng.integers(0, 256, (64 + n_wild, size), dtype=np.uint8)
    if name == "TQ2_0":  # as quantisers write it: no code 3, which is 2
        pool = blocks[:64, :64]
        pool &= ~((pool & pool >> 1 & 0x55) << 1)
    put_scale(blocks, name, np.full(len(blocks), 2.0 ** -4))
    unit = np.sqrt((values_of(blocks[:64]).astype(np.float64) ** 2).mean()) / 2.0 ** -4
    sign = np.where(np.arange(len(blocks)) % 2, -1, 1)  # the mean of the codes is not always 0
    put_scale(blocks, name, sign * SIZE / unit * rng.uniform(0.5, 1.5, len(blocks)))
    wild = blocks[64:]
    put_scale(wild, name, rng.permutation([*WILD, 0.002, 2e-7])[:n_wild])
    if name == "MXFP4":
        wild[:, 0] = [0, 1, 2, 3, 127, 128, 246, 250]
    if name == "NVFP4":
        wild[:, :4] = np.arange(32).reshape(8, 4) * 8 + [0, 7, 1, 3]
    blocks[64:] = wild
    return blocks, 64, n_wild + 1


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


def write(name, number, elems, size, blocks, n_pool, n_values, values_of):
    values = values_of(blocks[-n_values:]).astype("<f4").ravel()
    assert np.isfinite(values).all()
    head = struct.pack("<6I", int(number), elems, size, len(blocks), n_pool, n_values)
    with open(os.path.join(DATA, name + ".vec"), "wb") as f:
        f.write(b"DAMSOFMT" + head + blocks.tobytes() + values.tobytes())
    pool = values_of(blocks[:n_pool])
    print(f"{name}: {len(blocks)} blocks, {values.size} values, pool's mean {pool.mean():.4f}, "
          f"size {np.sqrt((pool ** 2).mean()):.4f}")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--ggml", help="libggml-base.so of ggml 0.25.3")
    ggml = p.parse_args().ggml
    os.makedirs(DATA, exist_ok=True)
    rng = np.random.default_rng(20261124)
    for name in ["F32", "F16", "BF16", *QUANTS]:
        kind = gguf.GGMLQuantizationType[name]
        blocks, n_pool, n_values = quant_blocks(rng, name, kind) if name in QUANTS else float_blocks(rng, kind)
        write(name, kind, *gguf.GGML_QUANT_SIZES[kind], blocks, n_pool, n_values,
              lambda raw, kind=kind: dequantise(raw, kind))
    for name in CODED:
        rng = np.random.default_rng([20261127, *name.encode()])
        if name in BY_GGML:
            if not ggml:
                print(f"{name}: left as it is, without --ggml")
                continue
            number, elems, size = BY_GGML[name]

            def values_of(raw):
                return by_ggml(ggml, name, raw, elems)
        else:
            number = gguf.GGMLQuantizationType[name]
            elems, size = gguf.GGML_QUANT_SIZES[number]

            def values_of(raw):
                return dequantise(raw, number)
        write(name, number, elems, size, *coded_blocks(rng, name, elems, size, values_of), values_of)


if __name__ == "__main__":
    main()
