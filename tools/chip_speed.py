#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How fast `damso chip` simulates, and SCALE-Sim in the same run beside it: the table of docs/CHIPS.md, "Speed".
    python3 -m venv V && V/bin/pip install -r tools/chip_speed.txt
    tools/chip_speed.py build/damso --scalesim V/bin/python [--runs 15] [--priority 5]
Each figure is the median of --runs processes, each of which compiles and simulates once; the rows take turns, and
SCALE-Sim has its one run, of minutes, when half of them are through.  It computes the products of
src/npu/npu_scalesim.def, and its cycles are compared with those there.  --priority N runs damso before others' programs
(SCHED_FIFO), for machines that are not idle; of SCALE-Sim, which is not, the processor's time counts."""
import argparse, csv, json, os, pathlib, re, resource, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LLAMA_8B = dict(model_type='llama', hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
                num_attention_heads=32, num_key_value_heads=8, vocab_size=128256)
DECODE = '--phase decode --context 1024 --format'
ROWS = (  # what, chip, format of a token's weights; None: an image of ResNet-50
    ('ResNet-50, one image, ATOM', 'atom', None),
    ('the same, TPU v3 (arrays of 128 x 128)', 'tpu-v3-8', None),
    ('Llama-3-8B, one token at 1,024, L4', 'l4', 'bf16'),
    ('the same, RNGD', 'rngd', 'bf16'),
    ('the same, ATOM-Max', 'atom-max', 'bf16'),
    ('the same, TPU v3', 'tpu-v3-8', 'bf16'),
    ('the same, A100 SXM', 'a100-sxm-80', 'bf16'),
    ('the same, H100', 'h100-sxm', 'bf16'),
    ('the same, Maia 100', 'maia-100', 'bf16'),
    ('the same, int8, A100 SXM', 'a100-sxm-80', 'int8'),
    ('the same, int8, H100', 'h100-sxm', 'int8'),
    ('the same, int8, Maia 100', 'maia-100', 'int8'),
)
CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight: 128
ArrayWidth: 128
IfmapSramSzkB: 6144
FilterSramSzkB: 6144
OfmapSramSzkB: 2048
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 100
Dataflow: ws
MemoryBanks: 1
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""
DRIVER = """import sys
from scalesim.scale_sim import scalesim
scalesim(save_disk_space=True, verbose=False, config='run.cfg', topology='run.csv', layout='run.csv',
         input_type_gemm=True).run_scale(top_path='out')
"""


def once(a, row, config):
    """Of one process: latency in seconds, and what `simulation` of its answer says."""
    _, chip, form = row
    work = ['--workload', 'resnet50', '--scenario', 'SingleStream'] if form is None else \
        ['--workload', config, *DECODE.split(), form]
    first = ['chrt', '-f', str(a.priority)] if a.priority else []
    r = subprocess.run([*first, a.damso, 'chip', 'run', '--quick', '--json', '--chip', chip, *work],
                       capture_output=True, text=True)
    if r.returncode:
        sys.exit(f'{chip}: {r.stderr.strip()}')
    o = json.loads(r.stdout)
    return dict(o['simulation'], latency_s=o['latency_ms'] / 1e3)


def scalesim(python):
    """Its seconds, and its cycles of each product."""
    products = re.findall(r'\{(\d+), (\d+), (\d+), (\d+)\}', (ROOT / 'src/npu/npu_scalesim.def').read_text())
    with tempfile.TemporaryDirectory() as folder:
        at = pathlib.Path(folder)
        (at / 'run.cfg').write_text(CONFIG)
        rows = ''.join(f'p{i},{m},{n},{k},\n' for i, (m, n, k, _) in enumerate(products))
        (at / 'run.csv').write_text('Layer,M,N,K,\n' + rows)
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        r = subprocess.run([os.path.abspath(python), '-c', DRIVER], cwd=folder, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, text=True)
        wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        if r.returncode:
            sys.exit('scalesim: ' + r.stderr.strip()[-500:])
        with open(at / 'out/run/COMPUTE_REPORT.csv', newline='') as f:
            cycles = [int(float(line[' Total Cycles'])) for line in csv.DictReader(f)]
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wanted = [int(p[3]) for p in products]
    return wall, spent, cycles, sum(x != y for x, y in zip(cycles, wanted)) + abs(len(cycles) - len(wanted))


def digits(x):
    return f'{x:,.0f}' if x >= 99.5 else f'{x:.0f}' if x >= 9.95 else f'{x:.1f}' if x >= 0.995 else f'{x:.2f}'


def rate(cycles):
    return f'{digits(cycles / 1e9)} G' if cycles >= 1e7 else f'{digits(cycles / 1e3)} k'


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('damso')
    p.add_argument('--scalesim', metavar='PYTHON', help='of the venv that has it; left out without')
    p.add_argument('--runs', type=int, default=15)
    p.add_argument('--priority', type=int, default=0)
    a = p.parse_args()
    found, beside = [[] for _ in ROWS], None
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, 'config.json')
        pathlib.Path(config).write_text(json.dumps(LLAMA_8B))
        for turn in range(a.runs):
            if a.scalesim and turn == a.runs // 2:
                beside = scalesim(a.scalesim)
            for row, runs in zip(ROWS, found):
                runs.append(once(a, row, config))
    print('| work | compile | simulate | cycles a second | times real time |\n|---|---|---|---|---|')
    for (what, _, _), runs in zip(ROWS, found):
        mid = {key: statistics.median(r[key] for r in runs) for key in runs[0]}
        print(f'| {what} | {digits(mid["compile_ms"])} ms | {digits(mid["simulate_ms"])} ms | '
              f'{rate(mid["cycles_per_s"])} | {digits(mid["latency_s"] / mid["simulate_ms"] * 1e3)} |')
    if beside:
        wall, spent, cycles, differ = beside
        print(f'| ResNet-50\'s {len(cycles)} products alone, SCALE-Sim 3.0.0 (128 x 128) | | {digits(spent)} s | '
              f'{rate(sum(cycles) / spent)} | |')
        print(f'SCALE-Sim: {sum(cycles):,} cycles, {differ} of {len(cycles)} products differ from '
              f'src/npu/npu_scalesim.def, {wall:.0f} s by the clock', file=sys.stderr)


main()
