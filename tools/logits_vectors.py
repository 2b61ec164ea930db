#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the outside reference of the logits tests: tests/data/logits/*.ref and greedy-*.json.

The reference is the meaning of a GGUF file: every tensor dequantised to F32 by llama-quantize and
run by llama.cpp with float activations and a float cache.  Both come from the sdist of PyPI
`llama-cpp-python`, built by the user:

    pip download --no-deps --no-binary :all: llama-cpp-python && tar xf llama_cpp_python-*.tar.gz
    cmake -B b -S llama_cpp_python-*/vendor/llama.cpp -DLLAMA_CURL=OFF && cmake --build b
    PYTHONPATH=llama_cpp_python-* LLAMA_CPP_LIB_PATH=b/bin \\
        tools/logits_vectors.py --quantize b/bin/llama-quantize --models DIR

For each position of a text the vectors hold the 32 likeliest tokens with their log-probabilities;
what is left is one more outcome.  The divergence over these 33 outcomes is a lower bound of that
over the whole vocabulary, and here within a few per cent of it (printed).  The same is done for
llama.cpp's own quantised path, whose mean divergence is stored beside.
"""
import argparse
import json
import os
import struct
import subprocess
import tempfile

import numpy as np

TOP = 32
N_TOKENS = 512
N_GREEDY = 48
HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "tests", "data", "logits")
MODELS = ["smollm2-135m-instruct", "gemma3-270m"]
PROMPTS = [
    "The capital of France is",
    "Once upon a time there was a small robot who",
    "def fibonacci(n):\n",
    "Water boils at a temperature of",
    "Dear Sir or Madam,\n\nI am writing to",
    "대한민국의 수도는",
    "옛날 옛적에 호랑이가",
    "인공지능이란",
    "김치찌개를 끓이려면 먼저",
    "안녕하세요, 저는",
]


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def open_model(path, f32_cache):
    import llama_cpp

    kind = 0 if f32_cache else 1  # GGML_TYPE_F32, GGML_TYPE_F16
    return llama_cpp.Llama(path, n_ctx=N_TOKENS + 64, n_batch=N_TOKENS, logits_all=True, verbose=False,
                           flash_attn=False, type_k=kind, type_v=kind, n_threads=os.cpu_count())


def logits_of(model, ids):
    model.reset()
    model.eval(ids)
    return np.array(model.scores[: len(ids)], dtype=np.float32)


def coarse(logp, top):
    p = np.take_along_axis(logp, top, -1)
    rest = np.log(np.maximum(1 - np.exp(p).sum(-1, keepdims=True), 1e-12))
    return np.concatenate([p, rest], -1)


def divergence(p, q):
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def make_text(name, lang, exact, quantised):
    text = open(os.path.join(DATA, lang + ".txt"), "rb").read()
    ids = exact.tokenize(text, add_bos=True, special=False)[:N_TOKENS]
    assert len(ids) == N_TOKENS, (name, lang, len(ids))
    want = log_softmax(logits_of(exact, ids))
    theirs = log_softmax(logits_of(quantised, ids))
    top = np.argsort(-want, -1)[:, :TOP]
    full, short = divergence(want, theirs), divergence(coarse(want, top), coarse(theirs, top))
    print(f"{name} {lang}: llama.cpp's quantised path: {full:.6f} nats, over {TOP} + 1: {short:.6f}")
    with open(os.path.join(DATA, f"{name}-{lang}.ref"), "wb") as f:
        f.write(b"DAMSOREF" + struct.pack("<IIf", len(ids), TOP, short))
        f.write(np.array(ids, "<i4").tobytes())
        f.write(top.astype("<i4").tobytes())
        f.write(np.take_along_axis(want, top, -1).astype("<f4").tobytes())


def make_greedy(name, exact):
    out = []
    for prompt in PROMPTS:
        ids = exact.tokenize(prompt.encode(), add_bos=True, special=False)
        answer, margins = [], []
        exact.reset()
        exact.eval(ids)
        for _ in range(N_GREEDY):
            row = np.array(exact.scores[exact.n_tokens - 1])
            best = np.argsort(-row)[:2]
            answer.append(int(best[0]))
            margins.append(round(float(row[best[0]] - row[best[1]]), 4))
            exact.eval([int(best[0])])
        out.append({"prompt": prompt, "ids": ids, "answer": answer, "margins": margins})
        print(name, repr(exact.detokenize(ids + answer).decode(errors="replace")))
    with open(os.path.join(DATA, f"greedy-{name}.json"), "w") as f:
        json.dump(out, f, ensure_ascii=False, indent=None, separators=(",", ":"))
        f.write("\n")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--quantize", required=True, help="the program llama-quantize")
    a.add_argument("--models", required=True, help="folder of the two test models")
    a = a.parse_args()
    for name in MODELS:
        path = os.path.join(a.models, name + ".gguf")
        with tempfile.TemporaryDirectory() as tmp:
            f32 = os.path.join(tmp, "f32.gguf")
            subprocess.run([a.quantize, "--allow-requantize", path, f32, "F32"], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            exact, quantised = open_model(f32, True), open_model(path, False)
            for lang in ("en", "ko"):
                make_text(name, lang, exact, quantised)
            make_greedy(name, exact)


if __name__ == "__main__":
    main()
