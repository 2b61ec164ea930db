#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whether `damso bench serve` measures what an independent client does: aiperf (PyPI), against one damso server.

    python3 -m venv V && V/bin/pip install -r tools/bench_agree.txt
    V/bin/python tools/bench_agree.py --damso build/damso --aiperf V/bin/aiperf --model smollm2-135m-instruct.gguf

Both go through a relay of this script's, which notes when a request came, when its first and last text went out
and when it ended: the same observer for both.  On a shared machine two runs after each other differ by what else
runs; how far a client is from the observer of its own run does not.  Prompts of both are of one shape, and none
comes twice.  Rounds go in turns; figures are medians over the rounds, with lowest and highest.  Percentiles of
both are by one rule (the nearest rank) from their single requests.  Takes minutes."""
import argparse, asyncio, json, math, os, random, signal, socket, statistics, subprocess, sys, tempfile, threading, time

WORDS = ('river stone window garden letter winter bridge market summer silver forest music harbor paper candle engine mirror '
         'island butter thread planet copper needle valley orange ladder pepper saddle velvet carbon meadow signal').split()
KINDS = ('damso', 'aiperf')


def rank(values, p):
    v = sorted(values)
    return v[max(math.ceil(p * len(v)), 1) - 1]


def figures(requests):
    """Of (began, first, last, done, tokens), in seconds."""
    seconds = max(r[3] for r in requests) - min(r[0] for r in requests)
    return {'tps': sum(r[4] for r in requests) / seconds, 'ttft': 1e3 * rank([r[1] - r[0] for r in requests], 0.9),
            'tpot': 1e3 * rank([(r[2] - r[1]) / (r[4] - 1) for r in requests], 0.9)}


class Relay:
    """Bytes through as they come; answers are streams in chunks, and their events are read on the way."""

    def __init__(self, port):
        self.to, self.seen, self.tasks = port, [], set()  # a loop alone does not keep its tasks
        ready = threading.Event()

        async def serve():
            server = await asyncio.start_server(self.client, '127.0.0.1', 0)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            await server.serve_forever()
        threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
        ready.wait()

    async def client(self, reader, writer):
        up, task = None, asyncio.current_task()
        self.tasks.add(task)
        try:
            up = await asyncio.open_connection('127.0.0.1', self.to)
            while True:
                head = await reader.readuntil(b'\r\n\r\n')
                began = time.perf_counter()
                size = [int(l.split(b':')[1]) for l in head.lower().split(b'\r\n') if l.startswith(b'content-length:')]
                up[1].write(head + (await reader.readexactly(size[0]) if size else b''))
                await self.answer(up[0], writer, began)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        for w in (writer, up and up[1]):
            if w:
                w.close()
        self.tasks.discard(task)

    async def answer(self, up, writer, began):
        head = await up.readuntil(b'\r\n\r\n')
        writer.write(head)
        low = head.lower()
        if b'content-length:' in low:
            writer.write(await up.readexactly(int(low.split(b'content-length:')[1].split(b'\r\n')[0])))
            return
        first = last = None
        tokens = 0
        while True:
            line = await up.readuntil(b'\r\n')
            data = await up.readexactly(int(line.split(b';')[0], 16) + 2)
            writer.write(line + data)
            now = time.perf_counter()
            for event in data.split(b'\n\n'):
                if event.startswith(b'data: {'):
                    o = json.loads(event[6:])
                    if o.get('usage'):
                        tokens = o['usage']['completion_tokens']
                    if o.get('choices') and o['choices'][0].get('delta', {}).get('content'):
                        first, last = first or now, now
            if int(line.split(b';')[0], 16) == 0:
                break
        if first and tokens > 1:
            self.seen.append((began, first, last, time.perf_counter(), tokens))


def alone():
    """Of the server with --pin: a processor that the clients do not use, before others where that is allowed."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    try:
        os.nice(-10)
    except PermissionError:
        pass


class Server:
    def __init__(self, args):
        self.home = tempfile.TemporaryDirectory()
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            self.port = s.getsockname()[1]
        self.process = subprocess.Popen([args.damso, 'serve', '-m', args.model, '-t', str(args.threads), '--port', str(self.port), '--cache', '0'],
                                        env={**os.environ, 'HOME': self.home.name}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=alone if args.pin else None)
        if args.pin:
            os.sched_setaffinity(0, os.sched_getaffinity(0) - {min(os.sched_getaffinity(0))})
        for _ in range(600):
            try:
                socket.create_connection(('127.0.0.1', self.port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit('damso does not answer')

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.home.cleanup()


def tokenizer(model, out):
    """A folder such as aiperf wants, out of the GGUF file.  It only counts prompts; answers are counted by the server."""
    import gguf
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    fields = gguf.GGUFReader(model).fields
    tokens, kinds, merges = (fields[f'tokenizer.ggml.{k}'].contents() for k in ('tokens', 'token_type', 'merges'))
    t = Tokenizer(models.BPE(vocab={x: i for i, x in enumerate(tokens)}, merges=[tuple(m.split(' ')) for m in merges]))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(x, special=True) for x, k in zip(tokens, kinds) if k == 3])
    PreTrainedTokenizerFast(tokenizer_object=t).save_pretrained(out)


def run_damso(args, relay, clients, n, seed, tmp):
    r = subprocess.run([args.damso, 'bench', 'serve', f'http://127.0.0.1:{relay.port}', '--clients', str(clients), '--requests', str(n), '--words',
                        str(args.words), '--answer', str(args.answer), '--seed', str(seed), '--json'], capture_output=True, text=True, check=True)
    level, = json.loads(r.stdout)['levels']
    assert not level['errors'], level
    return {'tps': level['system_tps'], 'ttft': level['ttft_ms']['p90'], 'tpot': level['tpot_ms']['p90']}


def run_aiperf(args, relay, clients, n, seed, tmp):
    rng, out = random.Random(seed), f'{tmp}/aiperf-{seed}-{clients}'
    os.makedirs(out)
    with open(f'{out}/prompts.jsonl', 'w', encoding='utf-8') as f:
        for _ in range(n + 2):
            text = f'Write a story with these words: {rng.getrandbits(64)} ' + ' '.join(rng.choice(WORDS) for _ in range(args.words))
            f.write(json.dumps({'text': text}) + '\n')
    r = subprocess.run([args.aiperf, 'profile', '-m', 'm', '--endpoint-type', 'chat', '--streaming', '-u', f'http://127.0.0.1:{relay.port}',
                        '--tokenizer', f'{tmp}/tokenizer', '--concurrency', str(clients), '--request-count', str(n), '--warmup-request-count', '2',
                        '--input-file', f'{out}/prompts.jsonl', '--custom-dataset-type', 'single_turn', '--dataset-sampling-strategy', 'sequential',
                        '--extra-inputs', 'ignore_eos:true', '--extra-inputs', 'temperature:0', '--extra-inputs', f'max_completion_tokens:{args.answer}',
                        '--use-server-token-count', '--ui-type', 'none', '--output-artifact-dir', f'{out}/art', '--random-seed', str(seed)],
                       capture_output=True, text=True)
    if r.returncode:
        sys.exit(r.stdout[-2000:] + r.stderr[-2000:])
    with open(f'{out}/art/profile_export_aiperf.json', encoding='utf-8') as f:
        whole = json.load(f)
    with open(f'{out}/art/profile_export.jsonl', encoding='utf-8') as f:
        records = [r for r in map(json.loads, f) if r['metadata']['benchmark_phase'] == 'profiling']
    assert len(records) == n == whole['request_count']['avg'], (len(records), n)
    return {'tps': whole['output_token_throughput']['avg'], 'ttft': rank([r['metrics']['time_to_first_token']['value'] for r in records], 0.9),
            'tpot': rank([r['metrics']['inter_token_latency']['value'] for r in records], 0.9)}


def show(values, digits):
    return f'{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})'


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('damso', 'aiperf', 'model'):
        p.add_argument(f'--{name}', required=name == 'model')
    p.add_argument('--tokenizer-only', metavar='DIR', help='only write the tokenizer of --model there')
    for name, value in (('threads', 1), ('rounds', 3), ('words', 128), ('answer', 64), ('requests', 6), ('least', 40), ('seed', 1)):
        p.add_argument(f'--{name}', type=int, default=value)
    p.add_argument('--clients', default='1,4,8,16')
    p.add_argument('--pin', action='store_true', help='server and clients on processors of their own')
    args = p.parse_args()
    if args.tokenizer_only:
        return tokenizer(args.model, args.tokenizer_only)
    if not args.damso or not args.aiperf:
        p.error('--damso and --aiperf')
    server = Server(args)
    relay = Relay(server.port)
    worst = 0
    print('| clients | figure | damso | aiperf | damso / observer | aiperf / observer | damso / aiperf |\n' + '| --- ' * 7 + '|')
    with tempfile.TemporaryDirectory() as tmp:
        tokenizer(args.model, f'{tmp}/tokenizer')
        for clients in map(int, args.clients.split(',')):
            n, got, against = max(args.least, args.requests * clients), {k: [] for k in KINDS}, {k: [] for k in KINDS}
            for i in range(args.rounds):
                for kind in KINDS[::1 if i % 2 == 0 else -1]:
                    relay.seen.clear()
                    f = globals()[f'run_{kind}'](args, relay, clients, n, args.seed + 10 * i + 1000 * clients + (kind == 'aiperf'), tmp)
                    seen = figures(sorted(relay.seen)[-n:])  # not the two before
                    got[kind].append(f)
                    against[kind].append({k: f[k] / seen[k] for k in f})
            for key, name, digits in (('tps', 'tokens/s', 1), ('ttft', 'TTFT p90 ms', 1), ('tpot', 'TPOT p90 ms', 2)):
                of = {k: [x[key] for x in against[k]] for k in KINDS}
                ratio = statistics.median(of['damso']) / statistics.median(of['aiperf'])
                worst = max(worst, abs(ratio - 1))
                print(f'| {clients} | {name} | ' + ' | '.join(show([x[key] for x in got[k]], digits) for k in KINDS) + ' | ' +
                      ' | '.join(show(of[k], 3) for k in KINDS) + f' | {ratio:.3f} |', flush=True)
    server.close()
    print(f'\nThe furthest apart: {100 * worst:.1f} %')
    return int(worst > 0.03)


if __name__ == '__main__':
    sys.exit(main())
