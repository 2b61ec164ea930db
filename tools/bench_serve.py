#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two servers of OpenAI's API in turn, under the same load: tools/bench_serve.py
    --damso build/damso --peer LLAMA-SERVER --model FILE.gguf [--clients 1,4,16,32] [--rounds 3]

Closed loop: each client sends its next request when its last is answered.  Prompts are random words,
another one for each request, --words long; each answer has --answer tokens (ignore_eos), streamed at
temperature 0.  Only one server runs at a time; the order changes each round.  Prints medians over the
rounds, lowest and highest: output tokens a second of all clients, time to first token (median and the
slowest), time per output token.  Needs nothing but the standard library."""
import argparse, asyncio, json, os, random, signal, socket, statistics, subprocess, tempfile, time

WORDS = ('time year people way day man thing woman life child world school state family student group country problem '
         'hand part place case week company system program question work government number night point home water room '
         'mother area money story fact month lot right study book eye job word business issue side kind head house '
         'friend father power hour game line end member law car city name team minute idea body back face level office '
         'door health person art war history party result change morning reason research moment air teacher').split()


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, kind, args, clients):
        self.port = free_port()
        port = ['--port', str(self.port)]
        room = max(clients, 1)
        if kind == 'damso':
            command = [args.damso, 'serve', '-m', args.model, '-t', str(args.threads), '--cache', '0', *port]
        else:
            command = [args.peer, '-m', args.model, '-t', str(args.threads), '-np', str(room), '-c', str(1024 * room), *port]
        self.home = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env={**os.environ, 'HOME': self.home.name})
        until = time.time() + 120
        while time.time() < until:
            try:
                with socket.create_connection(('127.0.0.1', self.port), 1) as s:
                    s.sendall(b'GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n')
                    if b' 200 ' in s.recv(100):
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit(f'{command[0]} does not answer')

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.home.cleanup()


async def request(port, text, n_answer, out):
    body = json.dumps({'model': 'm', 'messages': [{'role': 'user', 'content': text}], 'max_tokens': n_answer,
                       'temperature': 0, 'ignore_eos': True, 'stream': True}).encode()
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(b'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n'
                 b'Connection: close\r\nContent-Length: %d\r\n\r\n' % len(body) + body)
    status = (await reader.readline()).split()[1]
    first = last = None
    async for line in reader:
        if line.startswith(b'data: {') and json.loads(line[6:]).get('choices'):
            last = time.perf_counter()
            if first is None and json.loads(line[6:])['choices'][0]['delta'].get('content'):
                first = last
    writer.close()
    out.append((status == b'200' and first is not None, (first or last or began) - began, (last or began) - (first or began)))


async def load(port, clients, n, args, seed):
    rng = random.Random(seed)
    texts = iter([' '.join(rng.choice(WORDS) for _ in range(args.words)) for _ in range(n)])
    out = []

    async def client():
        for text in texts:
            await request(port, text, args.answer, out)
    began = time.perf_counter()
    await asyncio.gather(*[client() for _ in range(clients)])
    seconds = time.perf_counter() - began
    good = [o for o in out if o[0]]
    ttft = sorted(o[1] * 1e3 for o in good)
    return {'tps': len(good) * args.answer / seconds, 'ttft': statistics.median(ttft), 'slowest': ttft[-1],
            'tpot': statistics.median(o[2] * 1e3 / (args.answer - 1) for o in good), 'errors': len(out) - len(good)}


def show(runs, key, digits=0):
    v = [r[key] for r in runs]
    return f'{statistics.median(v):.{digits}f} ({min(v):.{digits}f} to {max(v):.{digits}f})'


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('damso', 'peer', 'model'):
        p.add_argument(f'--{name}', required=name != 'peer')
    for name, value in (('threads', 2), ('rounds', 3), ('words', 180), ('answer', 64), ('seed', 1)):
        p.add_argument(f'--{name}', type=int, default=value)
    p.add_argument('--clients', default='1,4,16,32')
    args = p.parse_args()
    kinds = ['damso', 'peer'] if args.peer else ['damso']
    print('| clients | server | tokens/s | TTFT median ms | TTFT slowest ms | TPOT ms | errors |\n' + '| --- ' * 7 + '|')
    for clients in map(int, args.clients.split(',')):
        runs = {k: [] for k in kinds}
        for i in range(args.rounds):
            for kind in kinds[::1 if i % 2 == 0 else -1]:
                server = Server(kind, args, clients)
                asyncio.run(load(server.port, 1, 1, args, -1 - i))  # the first request warms
                runs[kind].append(asyncio.run(load(server.port, clients, max(4, 2 * clients), args, args.seed + i)))
                server.close()
        for kind in kinds:
            r = runs[kind]
            print(f"| {clients} | {kind} | {show(r, 'tps', 1)} | {show(r, 'ttft')} | {show(r, 'slowest')} | "
                  f"{show(r, 'tpot', 1)} | {sum(x['errors'] for x in r)} |", flush=True)
        if args.peer:
            ratio = statistics.median(a['tps'] / b['tps'] for a, b in zip(*runs.values()))
            print(f'| {clients} | ratio | {ratio:.2f} | | | | |', flush=True)


if __name__ == '__main__':
    main()
