#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes a projector file of random weights in the shape of Gemma 3's (SigLIP So400m), to be timed.

    pip install numpy gguf && tools/make_mmproj.py mmproj.gguf && build/tests/vision_bench mmproj.gguf

Names and kinds of tensors are those of convert_hf_to_gguf.py --mmproj; matrices are F16 or BF16.  Gains
are 1 and biases small, so that the numbers stay finite; the bytes depend on the sizes and --seed alone.
"""
import argparse

import gguf
import numpy as np

PATCH = 14


def keys(w, a):
    w.add_string("clip.projector_type", "gemma3")
    w.add_bool("clip.has_vision_encoder", True)
    w.add_bool("clip.use_gelu", True)
    for name, value in (("image_size", a.image), ("patch_size", PATCH), ("block_count", a.layers),
                        ("embedding_length", a.width), ("feed_forward_length", a.ff),
                        ("attention.head_count", a.heads)):
        w.add_uint32(f"clip.vision.{name}", value)
    w.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    for name in ("image_mean", "image_std"):
        w.add_array(f"clip.vision.{name}", [0.5, 0.5, 0.5])


def tensors(a):
    """(name, shape as numpy has it, the numbers' deviation; a matrix is a name's that ends in weight)"""
    patches = (a.image // PATCH) ** 2
    yield "v.patch_embd.weight", (a.width, 3, PATCH, PATCH), 0.04
    yield "v.patch_embd.bias", (a.width,), 0.02
    yield "v.position_embd.weight", (patches, a.width), 0.2
    for i in range(a.layers):
        at = f"v.blk.{i}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            yield f"{at}{name}.weight", (a.width, a.width), 0.04
            yield f"{at}{name}.bias", (a.width,), 0.02
        yield f"{at}ffn_up.weight", (a.ff, a.width), 0.03
        yield f"{at}ffn_up.bias", (a.ff,), 0.02
        yield f"{at}ffn_down.weight", (a.width, a.ff), 0.03
        yield f"{at}ffn_down.bias", (a.width,), 0.02
        for name in ("ln1", "ln2"):
            yield f"{at}{name}.weight", (a.width,), 0
            yield f"{at}{name}.bias", (a.width,), 0.02
    yield "v.post_ln.weight", (a.width,), 0
    yield "v.post_ln.bias", (a.width,), 0.02
    yield "mm.soft_emb_norm.weight", (a.width,), 0
    yield "mm.input_projection.weight", (a.width, a.out_width), 0.04


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    for name, size in (("image", 896), ("layers", 27), ("width", 1152), ("ff", 4304), ("heads", 16),
                       ("out-width", 2560), ("seed", 1)):
        p.add_argument(f"--{name}", type=int, default=size)
    p.add_argument("--bf16", action="store_true", help="matrices are BF16, not F16")
    a = p.parse_args()
    kind = gguf.GGMLQuantizationType.BF16 if a.bf16 else gguf.GGMLQuantizationType.F16
    rng = np.random.default_rng(a.seed)
    w = gguf.GGUFWriter(a.out, "clip")
    keys(w, a)
    for name, shape, deviation in tensors(a):
        x = rng.standard_normal(shape, np.float32) * np.float32(deviation) if deviation else np.ones(shape, np.float32)
        matrix = len(shape) > 1 and "position" not in name
        w.add_tensor(name, gguf.quantize(x, kind) if matrix else x, raw_dtype=kind if matrix else None)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    main()
