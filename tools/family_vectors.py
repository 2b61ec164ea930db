#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the outside reference of more model families: tests/data/family/*.gguf and *.ref.

    pip install gguf transformers torch    and the sdist of llama-cpp-python, unpacked
    tools/family_vectors.py --convert .../vendor/llama.cpp [NAME...] [--out DIR]

As tools/arch_vectors.py, but the files are written by the converter that real files are made with
(convert_hf_to_gguf.py of llama.cpp, which is part of llama-cpp-python's sdist), so that names of
tensors and keys are those of real files; only the tokenizer is left out.  Models are tiny, their
weights random numbers that Q8_0 and F16 hold exactly, and the logits come from `transformers` in
binary64, plain and with keys and values rounded to binary16.
"""
import argparse
import importlib
import json
import logging
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
if "--convert" in sys.argv:  # the converter's own gguf package, before PyPI's
    repo = sys.argv[sys.argv.index("--convert") + 1]
    sys.path[:0] = [os.path.join(repo, "gguf-py"), repo]
import arch_vectors as av  # noqa: E402
import family_math  # noqa: E402
import family_more  # noqa: E402
import gguf  # noqa: E402

DATA = os.path.join(HERE, "..", "tests", "data", "family")
N_TOKENS, N_VOCAB, CTX = 24, 64, 128

BASE = dict(vocab_size=N_VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=CTX,
            tie_word_embeddings=False, bos_token_id=None, eos_token_id=None, pad_token_id=None)
RMS = dict(rms_norm_eps=1e-2)
MEAN = dict(layer_norm_eps=1e-2)
MOE = dict(num_experts=8, num_experts_per_tok=3, moe_intermediate_size=32)

# Name of the file: the class of transformers, or that of family_math.py, and what its config says
# beyond BASE; if need be which of those parts it takes, what it leaves out, the matrices' format, the
# seed, how many tokens, `margin` (see Margins), and see convert.
MODELS = json.load(open(os.path.join(HERE, "family_vectors.json")))


def exact(rng, shape, size):
    """Numbers that Q8_0 holds exactly along the last axis, and F16 too: whole numbers times a power
    of two, 127 among each 32."""
    step = 2.0 ** np.round(np.log2(size * 3 / 127))
    w = np.clip(np.round(rng.standard_normal(shape) * size / step), -126, 126)
    if shape[-1] % 32 == 0:
        blocks = w.reshape(-1, 32)
        at = rng.integers(0, 32, len(blocks))
        blocks[np.arange(len(blocks)), at] = 127 * np.where(rng.random(len(blocks)) < 0.5, -1, 1)
        w = blocks.reshape(shape)
    return w * step


E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])


def nvfp4(rng, name, shape, packed):
    """A matrix as NVIDIA's ModelOpt writes it: codes, a scale in E4M3 for each 16, and one for all."""
    codes = rng.integers(0, 16, shape)
    scales = torch.from_numpy(rng.uniform(0.5, 2, (shape[0], shape[1] // 16))).to(torch.float8_e4m3fn)
    whole = np.float32(rng.uniform(0.2, 0.6) * shape[1] ** -0.5)
    stem = name.removesuffix("weight")
    packed[name] = torch.from_numpy((codes[:, 0::2] | codes[:, 1::2] << 4).astype(np.uint8))
    packed[stem + "weight_scale"] = scales
    packed[stem + "weight_scale_2"] = torch.tensor(whole)
    packed[stem + "input_scale"] = torch.tensor(np.float32(0.01))
    values = np.where(codes & 8, -1, 1) * E2M1[codes & 7]
    return values * scales.double().numpy().repeat(16, 1) * np.float64(whole)


def drawn(model, name, shape, rng, q8, by_nvfp4):
    if by_nvfp4 and any(x in name for x in ("proj", "query_key_value", "dense")):
        return nvfp4(rng, name, shape, model.packed)
    if len(shape) == 2:
        size = (1.0 if "embed" in name else shape[-1] ** -0.5) * (2 if "gate.weight" in name else 1)
        return exact(rng, shape, size) if q8 else (rng.standard_normal(shape) * size).astype(np.float16)
    return np.round(rng.standard_normal(shape) * 0.3 * 1024) / 1024 + (not name.endswith(model.less))


def math_model(kind, config, rng, q8, by_nvfp4):
    model = {**family_math.MODELS, **family_more.MODELS}[kind](config)
    model.packed = {}
    for name, shape in model.shapes().items():
        w = model.draw(name, shape, rng, exact)
        w = drawn(model, name, shape, rng, q8, by_nvfp4) if w is None else w
        model.w[name] = torch.from_numpy(np.ascontiguousarray(w)).double()
    return model


def save_math(model, folder, arch):
    turned = {k: v.T if k.endswith(model.turned) else v for k, v in model.w.items()}
    tensors = {**{k: v.float().contiguous() for k, v in turned.items()}, **model.packed}
    safetensors.torch.save_file(tensors,
                                os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(folder, "config.json"), "w") as f:
        quant = {"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}
        json.dump({**model.c, "architectures": [arch], **(quant if model.packed else {})}, f)


def randomize(model, rng, q8):
    for name, p in model.named_parameters():
        shape = tuple(p.shape)
        if len(shape) >= 2 and "norm" not in name:
            size = 1.0 if "embed" in name or "wte" in name or "wpe" in name else shape[-1] ** -0.5
            if any(x in name for x in ("router", "gate.weight")) and "proj" not in name:
                size *= 2
            w = exact(rng, shape, size) if q8 else (rng.standard_normal(shape) * size).astype(np.float16)
        else:  # steps of 1/1024, so that one more or less is exact
            kind = model.config.model_type
            plus_one = kind.startswith(("gemma", "nemotron")) and not kind.startswith(("gemma3n", "gemma4"))
            gain = name.endswith(("weight", "scale")) and not plus_one
            w = np.round(rng.standard_normal(shape) * 0.3 * 1024) / 1024 + gain
        with torch.no_grad():
            p.copy_(torch.from_numpy(np.ascontiguousarray(w)).double())
    for name, b in model.named_buffers():  # biases of the choice of experts
        if "bias" in name:
            b.copy_(torch.from_numpy(np.round(rng.standard_normal(tuple(b.shape)) * 0.3 * 1024) / 1024))
        if name.endswith("layer_scalar"):
            b.fill_(0.75 + rng.integers(0, 256) / 1024)


# Arctic's map of names writes into that of all.
NAMES = dict(gguf.TensorNameMap.block_mappings_cfg)


def convert(folder, out, kind, patch, arch, impl):
    """By the converter itself; the vocabulary is left out.  patch: what it reads of files that other
    versions of transformers wrote; null: they have no such thing.  arch: the family in whose name it
    is written: one that computes the same, and that transformers has no class of.  impl: the class within
    the converter's that does the work."""
    gguf.TensorNameMap.block_mappings_cfg = dict(NAMES)
    tool = importlib.import_module("convert_hf_to_gguf")
    hparams = tool.ModelBase.load_hparams(Path(folder), False)
    hparams.update(patch)
    hparams = {k: v for k, v in hparams.items() if k not in patch or v is not None}
    cls = tool.get_model_class(tool.get_model_architecture(hparams, tool.ModelType.TEXT))
    cls = getattr(cls, impl) if impl else cls

    def set_vocab(self):
        self.gguf_writer.add_tokenizer_model("none")
        self.gguf_writer.add_vocab_size(N_VOCAB)

    kind_of = gguf.MODEL_ARCH[arch] if arch else cls.model_arch
    # no_mtp: the tiny models have no layers that guess further tokens; lerp_weights: RWKV's, which its
    # class keeps from one model to the next
    bare = type(cls.__name__, (cls,), dict(set_vocab=set_vocab, model_arch=kind_of, no_mtp=True,
                                       lerp_weights={}))
    with torch.inference_mode():
        bare(Path(folder), kind, Path(out), eager=True, hparams=hparams).write()


class Margins:
    """How clear a model's choices of positions and experts are: the least distance, in deviations of a row's
    scores, between the last one that is chosen and the first that is not.  Who computes with rounded numbers
    chooses otherwise where that is small, and is not wrong: so models are made in which it is not."""

    def __init__(self):
        self.least = float("inf")

    def watched(self, topk):
        def watch(scores, k, *args, **kwargs):
            for row in scores.reshape(-1, scores.shape[-1]):
                seen = row[row > torch.finfo(torch.float32).min / 2].sort(descending=True).values
                if 0 < k < len(seen):
                    self.least = min(self.least, float((seen[k - 1] - seen[k]) / seen.std()))
            return topk(scores, k, *args, **kwargs)

        return watch

    def __enter__(self):
        self.plain = torch.topk, torch.Tensor.topk
        torch.topk, torch.Tensor.topk = map(self.watched, self.plain)
        return self

    def __exit__(self, *_):
        torch.topk, torch.Tensor.topk = self.plain


def random_model(extra, m, seed, q8):
    rng = np.random.default_rng(seed)
    if "math" in m:
        model = math_model(m["math"], extra, rng, q8, m.get("nvfp4", False))
    else:
        config = getattr(transformers, m["class"] + "Config")(**extra)
        config._attn_implementation = "eager"
        config._experts_implementation = "eager"
        model = getattr(transformers, m.get("head", m["class"] + "ForCausalLM"))(config).double().eval()
        randomize(model, rng, q8)
    return model, rng.integers(0, N_VOCAB, m.get("tokens", N_TOKENS))


def clear_model(extra, m, seed, q8):
    """The first seed whose choices are clear."""
    while True:
        model, ids = random_model(extra, m, seed, q8)
        with Margins() as margins:
            av.logits_of(model, ids, False)
        if margins.least >= m["margin"]:
            print(f"seed {seed}, margin {margins.least:.3g}: ", end="")
            return model, ids
        seed += 1


def quiet():
    """Nothing printed but by the script; the same sums on every machine."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--convert", required=True, help="folder of convert_hf_to_gguf.py")
    a.add_argument("--out", default=DATA)
    a.add_argument("names", nargs="*")
    a = a.parse_args()
    os.makedirs(a.out, exist_ok=True)
    av.DATA = a.out
    quiet()
    for name, m in MODELS.items():
        if a.names and name not in a.names:
            continue
        try:
            make(name, m, a)
        except Exception as e:  # a family that fails leaves the others to be made
            print(f"{name}: FAILED {type(e).__name__}: {str(e)[:300]}")
            if len(a.names) == 1:
                raise


def make(name, m, a):
    seed = m.get("seed", 1000 + sum(name.encode()))
    parts = dict(base=BASE, rms=RMS, mean=MEAN, moe=MOE)
    extra = {}
    for p in ["base"] + m.get("with", ["rms"]):
        extra.update(parts[p])
    extra.update(m["config"])
    for k in m.get("without", []):
        extra.pop(k)
    q8 = m.get("format", "q8_0") == "q8_0"
    model, ids = (clear_model if "margin" in m else random_model)(extra, m, seed, q8)
    with tempfile.TemporaryDirectory() as folder:
        if "math" in m:
            save_math(model, folder, m.get("head", m["class"] + "ForCausalLM"))
        else:
            model.float().save_pretrained(folder)
            model.double()
        with open(os.path.join(folder, "tokenizer.json"), "w") as f:  # gemma's counts the tokens in it
            json.dump({"model": {"vocab": {str(i): i for i in range(N_VOCAB)}}, "added_tokens": []}, f)
        path = os.path.join(a.out, name + ".gguf")
        kind = gguf.LlamaFileType.MOSTLY_Q8_0 if q8 else gguf.LlamaFileType.MOSTLY_F16
        convert(folder, path, kind, m.get("patch", {}), m.get("arch"), m.get("impl"))
    av.write_ref(name, model, ids, m.get("halves", True))
    print(f", {os.path.getsize(path)} bytes", flush=True)


if __name__ == "__main__":
    main()
