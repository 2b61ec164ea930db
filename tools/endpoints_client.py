#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""MLPerf Endpoints' own client against `damso serve`: probe, offline, Poisson, and numbers of clients.

    tools/endpoints_client.py --client inference-endpoint --damso build/damso --model M.gguf --tokenizer DIR

--client is the installed program of mlcommons/endpoints (its README says how it is installed; Python 3.12), with its
own settings but for those given here; --tokenizer a folder in Hugging Face's form (tools/bench_agree.py makes one of
a GGUF file: --tokenizer-only DIR), by which the client counts tokens.  Questions are those of src/mlperf/small.jsonl.
Exits with 1 when a request failed.  Takes minutes."""
import argparse, glob, json, os, signal, socket, subprocess, sys, tempfile, time

QUESTIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'src/mlperf/small.jsonl')


def serve(args, home):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    p = subprocess.Popen([args.damso, 'serve', '-m', args.model, '--port', str(port), '--cache', '0'], env={**os.environ, 'HOME': home},
                         stdout=subprocess.DEVNULL)
    for _ in range(600):
        try:
            socket.create_connection(('127.0.0.1', port), 1).close()
            return p, f'http://127.0.0.1:{port}'
        except OSError:
            time.sleep(0.1)
    sys.exit('damso does not answer')


def run(args, url, data, out, n, *mode):
    r = subprocess.run([args.client, 'benchmark', *mode, '--endpoints', url, '--model', 'damso', '--tokenizer', args.tokenizer, '--dataset', data,
                        '--num-samples', str(n), '--max-output-tokens', str(args.answer), '--model-params.temperature', '0', '--duration', '0',
                        '--workers', '1', '--report-dir', out], capture_output=True, text=True, timeout=1800)
    found = glob.glob(f'{out}/**/result_summary.json', recursive=True)
    if r.returncode or len(found) != 1:
        sys.exit(r.stdout[-2000:] + r.stderr[-2000:])
    with open(found[0], encoding='utf-8') as f:
        return json.load(f)


def value(o, name, at):
    v = (o.get(name) or {}).get('percentiles', {}).get(at)
    return f'{v / 1e6:.1f}' if v else ''


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('client', 'damso', 'model', 'tokenizer'):
        p.add_argument(f'--{name}', required=True)
    p.add_argument('--answer', type=int, default=32)
    p.add_argument('--clients', default='1,8,16,64')
    args = p.parse_args()
    os.environ['HF_HUB_OFFLINE'] = '1'  # the tokenizer is a folder
    failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        with open(QUESTIONS, encoding='utf-8') as f, open(f'{tmp}/questions.jsonl', 'w', encoding='utf-8') as out:
            for line in f.read().splitlines()[1:]:
                out.write(json.dumps({'prompt': json.loads(line)['prompt']}) + '\n')
        process, url = serve(args, tmp)
        probe = subprocess.run([args.client, 'probe', '--endpoints', url, '--model', 'damso'], capture_output=True, text=True)
        print('probe:', 'successful' if 'Probe successful' in probe.stdout + probe.stderr else 'FAILED', flush=True)
        failed += probe.returncode
        print('| run | requests | failed | requests/s | tokens/s | TTFT p50 ms | TTFT p90 ms | TPOT p90 ms |\n' + '| --- ' * 8 + '|')
        rows = [('offline', 64, ('offline', '--streaming', 'off')), ('Poisson, 4 a second', 64, ('online', '--load-pattern', 'poisson', '--target-qps', '4', '--streaming', 'on'))]
        rows += [(f'{c} clients', max(32, 3 * c), ('online', '--load-pattern', 'concurrency', '--concurrency', str(c), '--streaming', 'on'))
                 for c in map(int, args.clients.split(','))]
        for i, (name, n, mode) in enumerate(rows):
            o = run(args, url, f'{tmp}/questions.jsonl', f'{tmp}/report{i}', n, *mode)
            failed += o['n_samples_failed'] + (o['n_samples_completed'] != n)
            seconds = o['duration_ns'] / 1e9
            tokens = (o.get('output_sequence_lengths') or {}).get('total', 0)
            print(f"| {name} | {o['n_samples_completed']} | {o['n_samples_failed']} | {n / seconds:.2f} | {tokens / seconds:.1f} | {value(o, 'ttft', '50.0')} | "
                  f"{value(o, 'ttft', '90.0')} | {value(o, 'tpot', '90.0')} |", flush=True)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
