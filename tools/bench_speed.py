#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Speed beside others' engines, paired: all in turn, several rounds, medians.

    tools/bench_speed.py --llama-bench PATH --batched-bench PATH [--ik-bench PATH]
        [--openvino PYTHON] [--rounds 5] [--threads 2] MODEL.gguf ...

damso bench beside llama-bench and llama-batched-bench of llama.cpp (the sdist of PyPI
`llama-cpp-python`; tools/logits_vectors.py says how it is built), ik_llama.cpp's llama-bench with
its repacking at run time (-rtr 1), and OpenVINO GenAI (the Python of an environment in which
`pip install openvino-genai` was done).  Peers that are not named are left out; one that is not
there or cannot open a model is skipped with a line that says why.

Work: a prompt of 512 tokens, 64 tokens one by one, 64 tokens of 16 and 32 sequences together, and
with --at the first two after a context of so many tokens.  Prints a Markdown table: tokens a second
as the median (lowest to highest of the rounds), damso's share of the machine's limit, and what the
ratio of the medians is to each peer.  DAMSO_CPU=avx2 in the environment caps damso; name a
llama-bench that was built so."""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


class Unable(Exception):
    """A peer cannot do this; the text says why."""


def run(argv, env=None):
    try:
        r = subprocess.run(argv, capture_output=True, text=True, errors="replace", env=env)
    except OSError as why:
        raise Unable(f"{argv[0]}: {why.strerror}") from why
    if r.returncode != 0:
        lines = [x for x in (r.stderr + r.stdout).splitlines() if x.strip()]
        raise Unable(f"exit status {r.returncode}: {lines[-1][:200] if lines else 'no output'}")
    return r.stdout


def beside(program):
    """The environment in which a program finds the libraries that lie beside it."""
    folder = os.path.dirname(os.path.abspath(program))
    roots = [folder, os.path.join(folder, "..", "src"), os.path.join(folder, "..", "ggml", "src")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(roots)}


class Damso:
    name = "damso"

    def __init__(self, a):
        self.a = a
        self.rows, self.machines, self.hashes = {}, [], {}

    def open(self, model):
        self.rows, self.hashes = {}, {}

    def close(self):
        pass

    def measure(self, model):
        a = self.a
        argv = [a.damso, "bench", "-m", model, "--json", "--runs", str(a.runs), "-t", str(a.threads),
                "--prefill", str(a.prefill), "--decode", str(a.decode)]
        for option, values in (("--batch", a.batch), ("--at", a.at)):
            if values:
                argv += [option, ",".join(map(str, values))]
        r = json.loads(run(argv))
        self.machines.append(r["machine"])
        out = {}
        for row in r["rows"]:
            work = (row["work"], row["sequences"] if row["work"] == "batch" else row["at"])
            out[work] = row["tps"]
            self.rows.setdefault(work, []).append(row)
            if self.hashes.setdefault(work, row["logits_hash"]) != row["logits_hash"]:
                sys.exit(f"bench_speed: {model}: {work} has other logits than in the round before")
        return out

    def share(self, work):
        """Of the limit: products for a prompt, reads for one by one, and whichever is nearer."""
        rows = self.rows.get(work, [])
        if not rows:
            return ""
        products = statistics.median(r["product_share"] for r in rows)
        matrices = statistics.median(r["matrix_share"] for r in rows)
        reads = statistics.median(r["read_share"] for r in rows)
        if work[0] == "prefill":
            return f"{products:.0%} of products ({matrices:.0%} by matrices alone)"
        if work[0] == "decode" or reads >= products:
            return f"{reads:.0%} of reads"
        return f"{products:.0%} of products"


class LlamaBench:
    def __init__(self, a, name, program, batched=None, extra=()):
        self.a, self.name, self.program, self.batched, self.extra = a, name, program, batched, extra

    def open(self, model):
        for program in (self.program, self.batched):
            if program and not os.access(program, os.X_OK):
                raise Unable(f"{program} is not there or no program")

    def close(self):
        pass

    def measure(self, model):
        a, out = self.a, {}
        common = ["-m", model, "-t", str(a.threads)]
        depths = ["-d", ",".join(map(str, [0, *a.at]))] if a.at else []
        if self.program:
            text = run([self.program, *common, "-p", str(a.prefill), "-n", str(a.decode), "-r", str(a.runs),
                        "-o", "json", *depths, *self.extra], beside(self.program))
            for r in json.loads(text[text.index("["):]):
                work = "prefill" if r["n_gen"] == 0 else "decode"
                out[(work, r.get("n_depth", 0))] = r["avg_ts"]
        if self.batched and a.batch:
            # One token of prompt each: as near as it comes to the empty context of damso's rows.
            text = run([self.batched, *common, "-c", str(max(a.batch) * (a.decode + 1) + 64), "-npp", "1", "-ntg",
                        str(a.decode), "-npl", ",".join(map(str, a.batch)), "--output-format", "jsonl"],
                       beside(self.batched))
            for line in text.splitlines():
                if line.startswith("{"):
                    r = json.loads(line)
                    out[("batch", r["pl"])] = r["speed_tg"]
        return out


# Runs in the environment that has openvino_genai: opens the model once, then a line of JSON for
# each line read.
OPENVINO = r"""
import json, sys
import numpy as np, openvino as ov, openvino_genai as genai
model, threads, prefill, decode = sys.argv[1], *map(int, sys.argv[2:])
pipe = genai.LLMPipeline(model, 'CPU', INFERENCE_NUM_THREADS=threads)
def generate(n_in, n_out, seed):
    ids = np.random.default_rng(seed).integers(1000, 40000, (1, n_in), dtype=np.int64)
    inputs = genai.TokenizedInputs(ov.Tensor(ids), ov.Tensor(np.ones_like(ids)))
    config = genai.GenerationConfig(max_new_tokens=n_out, min_new_tokens=n_out, ignore_eos=True, do_sample=False)
    metrics = pipe.generate(inputs, config).perf_metrics
    return metrics
generate(prefill, 2, 1)
print('ready', flush=True)
for round_, _ in enumerate(sys.stdin):
    first = generate(prefill, 1, 2 + round_).get_ttft().mean
    each = generate(1, decode + 1, 2 + round_).get_tpot().mean
    print(json.dumps([prefill * 1000 / first, 1000 / each]), flush=True)
"""


class OpenVino:
    name = "OpenVINO GenAI"

    def __init__(self, a):
        self.a, self.child = a, None

    def open(self, model):
        a = self.a
        try:
            self.child = subprocess.Popen([a.openvino, "-c", OPENVINO, model, str(a.threads), str(a.prefill),
                                           str(a.decode)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE, text=True, errors="replace")
        except OSError as why:
            raise Unable(f"{a.openvino}: {why.strerror}") from why
        self.line("ready")

    def line(self, start):
        """The next line that begins so: the library prints lines of its own."""
        for text in self.child.stdout:
            if text.startswith(start):
                return text
        lines = [x for x in self.child.stderr.read().splitlines() if x.strip()]
        raise Unable(lines[-1][:200] if lines else "it ended without a word")

    def close(self):
        if self.child:
            self.child.kill()
            self.child.communicate()
        self.child = None

    def measure(self, model):
        try:
            self.child.stdin.write("\n")
            self.child.stdin.flush()
        except OSError as why:
            raise Unable("it has ended") from why
        prefill, decode = json.loads(self.line("["))
        return {("prefill", 0): prefill, ("decode", 0): decode}


def numbers(text):
    return [int(x) for x in text.split(",") if x]


def cell(v):
    def show(x):
        return f"{x:.0f}" if x >= 100 else f"{x:.1f}"
    return f"{show(statistics.median(v))} ({show(min(v))} to {show(max(v))})" if v else "-"


def work_name(a, work):
    kind, n = work
    if kind == "batch":
        return f"decode {a.decode}, {n} sequences"
    size = a.prefill if kind == "prefill" else a.decode
    return f"{kind} {size}" + (f" at {n:,}" if n else "")


def open_peers(peers, model, notes):
    able = []
    for p in peers:
        try:
            p.open(model)
            able.append(p)
        except Unable as why:
            p.close()
            notes.append(f"{p.name} skipped on {os.path.basename(model)}: {why}")
    return able


def rounds(a, peers, model, notes):
    """{peer: {work: [tokens a second of each round]}}"""
    able = open_peers(peers, model, notes)
    speeds = {p: {} for p in able}
    for i in range(a.rounds):
        for p in able[i % len(able):] + able[:i % len(able)]:  # each is first in turn
            if p not in speeds:
                continue
            try:
                for work, tps in p.measure(model).items():
                    speeds[p].setdefault(work, []).append(tps)
            except Unable as why:
                notes.append(f"{p.name} skipped on {os.path.basename(model)}: {why}")
                del speeds[p]
    for p in able:
        p.close()
    return speeds


def print_model(a, damso, peers, model, speeds):
    works = [("prefill", 0), ("decode", 0), *[("batch", n) for n in a.batch],
             *[(kind, n) for n in a.at for kind in ("prefill", "decode")]]
    for work in works:
        ours = speeds[damso].get(work, [])
        row = [os.path.basename(model), work_name(a, work), cell(ours), damso.share(work)]
        for p in peers:
            theirs = speeds.get(p, {}).get(work, [])
            row += [cell(theirs),
                    f"{statistics.median(ours) / statistics.median(theirs):.2f}" if ours and theirs else "-"]
        print("| " + " | ".join(row) + " |", flush=True)


def print_machine(machines):
    if not machines:
        return
    m = machines[-1]

    def rate(key):
        return f"{max(x[key] for x in machines):.0f} (one thread {max(x[key + '_1'] for x in machines):.0f})"
    print(f"\n{m['cpu']}, {m['level']}, {m['threads']} threads. The limits, the most of all rounds: 8-bit products "
          f"{rate('int8_gmacs')} GMAC/s, bfloat16 {rate('bf16_gmacs')}, 32-bit floats {rate('f32_gmacs')}, reads "
          f"{rate('read_gbs')} GB/s.")


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--damso", default=os.path.join(HERE, "..", "build", "damso"))
    p.add_argument("--llama-bench", help="llama.cpp's")
    p.add_argument("--batched-bench", help="llama.cpp's llama-batched-bench")
    p.add_argument("--ik-bench", help="ik_llama.cpp's llama-bench")
    p.add_argument("--openvino", help="a Python that has openvino_genai")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--runs", type=int, default=2, help="of each in a round [2]")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--prefill", type=int, default=512)
    p.add_argument("--decode", type=int, default=64)
    p.add_argument("--batch", type=numbers, default=[16, 32], help="sequences together [16,32]; '': none")
    p.add_argument("--at", type=numbers, default=[], help="contexts, 8192,32768")
    p.add_argument("models", nargs="+")
    a = p.parse_args()
    if min(a.rounds, a.runs, a.threads, a.prefill, a.decode, *a.batch, *a.at) < 1:
        p.error("numbers are 1 or more")
    a.at.sort()
    return a


def main():
    a = arguments()
    damso, peers, notes = Damso(a), [], []
    if a.llama_bench or a.batched_bench:
        peers.append(LlamaBench(a, "llama.cpp", a.llama_bench, a.batched_bench))
    if a.ik_bench:
        peers.append(LlamaBench(a, "ik_llama.cpp", a.ik_bench, extra=("-rtr", "1")))
    if a.openvino:
        peers.append(OpenVino(a))
    head = ["model", "work", "damso", "of the limit"] + [x for p in peers for x in (p.name, "ratio")]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|", flush=True)
    for model in a.models:
        speeds = rounds(a, [damso, *peers], model, notes)
        if damso not in speeds:
            sys.exit(f"bench_speed: {notes[-1]}")
        print_model(a, damso, peers, model, speeds)
    print_machine(damso.machines)
    for note in notes:
        print(f"\n{note}")


if __name__ == "__main__":
    main()
