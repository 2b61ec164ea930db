#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two servers of OpenAI's API in turn, under the same load: tools/bench_serve.py
    --damso build/damso --peer LLAMA-SERVER --model FILE.gguf [--clients 1,4,16,32] [--rounds 3]

Closed loop: each client sends its next request when its last is answered.  Prompts are random words,
another one for each request, --words long; each answer has --answer tokens (ignore_eos), streamed at
temperature 0.  Only one server runs at a time; the order changes each round.  Prints medians over the
rounds, lowest and highest: output tokens a second of all clients, time to first token (median and the
slowest), time per output token.  Needs nothing but the standard library.

With --again N instead: a prompt of --words words, and how soon its first token comes when it is sent
again, with another ending, and after kill -9 and a restart of the server.

With --leave N instead: clients of damso that go away, N while their prompt is read, N while their
answer is written and N while they wait behind others; how long until the server has stopped."""
import argparse, asyncio, json, os, random, signal, socket, statistics, subprocess, tempfile, threading, time

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
    def __init__(self, kind, args, clients, more=(), home=None):
        self.port = free_port()
        port = ['--port', str(self.port)]
        room = max(clients, 1)
        if kind == 'damso':
            command = [args.damso, 'serve', '-m', args.model, '-t', str(args.threads), *port, *more]
            if not home:  # it would answer from what it kept
                command += ['--cache', '0']
        else:
            command = [args.peer, '-m', args.model, '-t', str(args.threads), '-np', str(room), '-c', str(1024 * room), *port]
        self.home = None if home else tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env={**os.environ, 'HOME': home or self.home.name})
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
        if self.home:
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


def busy(port):
    """Requests that run and that wait, as /metrics has them."""
    with socket.create_connection(('127.0.0.1', port)) as s:
        s.sendall(b'GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n')
        text = b''.join(iter(lambda: s.recv(65536), b'')).decode()
    values = [line.rsplit(' ', 1) for line in text.splitlines() if line.startswith('vllm:num_requests_')]
    return sum(float(v) for name, v in values)


def leave(port, rng, n_words, stay):
    """A client that leaves after `stay` seconds: ms until the server has one request less."""
    text = ' '.join(rng.choice(WORDS) for _ in range(n_words))
    body = json.dumps({'model': 'm', 'messages': [{'role': 'user', 'content': text}], 'max_tokens': 2000,
                       'ignore_eos': True, 'stream': True}).encode()
    client = socket.create_connection(('127.0.0.1', port))
    client.sendall(b'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n'
                   b'Content-Length: %d\r\n\r\n' % len(body) + body)
    time.sleep(stay)
    before = busy(port)
    began = time.perf_counter()
    client.close()
    while busy(port) >= before > 0 and time.perf_counter() - began < 10:
        time.sleep(0.001)
    return (time.perf_counter() - began) * 1e3 if before else None  # None: it had ended already


def leaving(args):
    print('| a client leaves | median ms | slowest ms |\n' + '| --- ' * 3 + '|')
    for what, words, stay in (('while its prompt is read', 5000, 0.3), ('while its answer is written', 10, 0.3),
                              ('while it waits behind 16 others', 10, 0.1)):
        server = Server('damso', args, 1, ['--parallel', '16'])
        rng = random.Random(args.seed)
        if 'others' in what:
            others = [threading.Thread(target=leave, args=(server.port, rng, 10, 60), daemon=True) for _ in range(16)]
            for t in others:
                t.start()
            time.sleep(1)
        ms = sorted(m for m in (leave(server.port, rng, words, stay * (1 + rng.random())) for _ in range(args.leave))
                    if m is not None)
        print(f'| {what} ({len(ms)} times) | {statistics.median(ms):.0f} | {ms[-1]:.0f} |', flush=True)
        server.process.kill()
        server.close()


def again(args):
    rng = random.Random(args.seed)
    text = ' '.join(rng.choice(WORDS) for _ in range(args.words))

    def ttft(server, ending=''):
        out = []
        asyncio.run(request(server.port, text + ending, 4, out))
        return out[0][1] * 1e3

    def row(what, ms):
        print(f'| {what} | {statistics.median(ms):.0f} | {min(ms):.0f} to {max(ms):.0f} |', flush=True)

    print(f'| a prompt of {args.words} words | median ms | lowest to highest |\n' + '| --- ' * 3 + '|')
    with tempfile.TemporaryDirectory() as home:
        server = Server('damso', args, 1, home=home)
        ttft(server, ' warm')
        text = 'Another one: ' + text
        row('first', [ttft(server)])
        row('again', [ttft(server) for _ in range(args.again)])
        row('with another ending', [ttft(server, f' {rng.choice(WORDS)} {i}?') for i in range(args.again)])
        after = []
        for i in range(args.again):
            time.sleep(4)  # the cache is written behind the answers
            server.process.kill()
            server.process.wait()
            server = Server('damso', args, 1, home=home)
            after.append(ttft(server))
        row('after kill -9 and a restart', after)
        server.process.kill()


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
    p.add_argument('--leave', type=int, default=0, metavar='N')
    p.add_argument('--again', type=int, default=0, metavar='N')
    args = p.parse_args()
    if args.leave or args.again:
        (leaving if args.leave else again)(args)
        return
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
