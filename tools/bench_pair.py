#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Speed beside llama.cpp, paired: damso bench and llama-bench in turn, several rounds, medians.

    tools/bench_pair.py --llama-bench PATH [--rounds 5] [--threads 2] MODEL.gguf ...

llama-bench comes from the sdist of PyPI `llama-cpp-python` (tools/logits_vectors.py says how it is
built).  Prints a Markdown table: tokens a second (lowest to highest of the rounds), and the ratio
of the medians."""
import argparse
import json
import os
import statistics
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def ours(a, model):
    out = subprocess.run([a.damso, "bench", "-m", model, "--json", "--runs", "2", "-t", str(a.threads)],
                         check=True, capture_output=True, text=True).stdout
    r = json.loads(out)
    return r["prefill_tps"], r["decode_tps"], r


def theirs(a, model):
    env = {**os.environ, "LD_LIBRARY_PATH": os.path.dirname(os.path.abspath(a.llama_bench))}
    out = subprocess.run([a.llama_bench, "-m", model, "-t", str(a.threads), "-p", "512", "-n", "64",
                          "-r", "2", "-o", "json"], check=True, capture_output=True, text=True, env=env).stdout
    rows = {(r["n_prompt"], r["n_gen"]): r["avg_ts"] for r in json.loads(out)}
    return rows[(512, 0)], rows[(0, 64)]


def cell(v):
    return f"{statistics.median(v):.0f} ({min(v):.0f} to {max(v):.0f})"


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--llama-bench", required=True)
    a.add_argument("--damso", default=os.path.join(HERE, "..", "build", "damso"))
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("models", nargs="+")
    a = a.parse_args()
    print("| model | work | damso | llama.cpp | ratio |\n|---|---|---|---|---|")
    for model in a.models:
        pairs = [(ours(a, model), theirs(a, model)) for _ in range(a.rounds)]
        for i, work in enumerate(("prefill 512", "decode 64")):
            x, y = [p[0][i] for p in pairs], [p[1][i] for p in pairs]
            print(f"| {os.path.basename(model)} | {work} | {cell(x)} | {cell(y)} | "
                  f"{statistics.median(x) / statistics.median(y):.2f} |", flush=True)
        m = pairs[-1][0][2]["machine"]
    print(f"\n{m['cpu']}, {m['level']}, {m['threads']} threads; limits: 8-bit products {m['int8_gmacs']:.0f} "
          f"GMAC/s, floats {m['f32_gmacs']:.0f} GMAC/s, reads {m['read_gbs']:.1f} GB/s")


if __name__ == "__main__":
    main()
