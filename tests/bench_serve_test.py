# SPDX-License-Identifier: MIT
"""damso bench serve against a server of this file's, whose times are known because it makes them: what the
command measures agrees within 3 % with what the server saw; errors and cut streams are counted."""
import asyncio, json, re, subprocess, sys, tempfile, threading, time
import xml.dom.minidom

DAMSO = sys.argv[1]
FIRST, EACH = 0.300, 0.015


class Server:
    """Each answer: FIRST seconds to its first token, EACH to the next.  Of 10 requests `bad` one way or other fail."""

    def __init__(self, usage=True, bad=0):
        self.usage, self.bad, self.n, self.active, self.most = usage, bad, 0, 0, 0
        self.seen, self.bodies, self.connections = [], [], 0
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.ready.wait()

    def _run(self):
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self._serve())

    async def _serve(self):
        self.stop = asyncio.Event()
        server = await asyncio.start_server(self._client, '127.0.0.1', 0)
        self.url = f'http://127.0.0.1:{server.sockets[0].getsockname()[1]}'
        self.ready.set()
        async with server:
            await self.stop.wait()

    def close(self):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join()

    async def _client(self, reader, writer):
        self.connections += 1
        try:
            while await self._request(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def _request(self, reader, writer):
        head = (await reader.readuntil(b'\r\n\r\n')).decode().lower()
        assert head.startswith('post /v1/chat/completions http/1.1'), head
        size = int(head.split('content-length: ')[1].split('\r')[0])
        body = json.loads(await reader.readexactly(size))
        began = time.perf_counter()
        self.bodies.append(body)
        self.n += 1
        self.active += 1
        self.most = max(self.most, self.active)
        way = self.n % 10 if self.bad else 0
        if way == 3:
            said = b'busy\xff\x1b[31m' + '가'.encode() * 50  # cut within one
            writer.write(b'HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n' % len(said) + said)
            self.active -= 1
            return True
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n')
        self._event(writer, {'choices': [{'delta': {'role': 'assistant', 'content': ''}}]})
        n = body['max_completion_tokens']
        for i in range(n):
            # To the moment, not a sleep after a sleep: what the loop is late by does not add up.
            await asyncio.sleep(max(0, began + FIRST + i * EACH - time.perf_counter()))
            if way == 7 and i == 2:
                self.active -= 1
                return False
            self._event(writer, {'choices': [{'delta': {'content': 'word '}}]})
            if i == 0:
                first = time.perf_counter()
        last = time.perf_counter()
        if self.usage:
            self._event(writer, {'choices': [], 'usage': {'completion_tokens': n}})
        data = b'data: [DONE]\n\n'
        writer.write(b'%x\r\n' % len(data) + data + b'\r\n0\r\n\r\n')
        await writer.drain()
        self.seen.append((began, first, last, n))
        self.active -= 1
        return True

    @staticmethod
    def _event(writer, o):
        data = b'data: ' + json.dumps(o).encode() + b'\n\n'
        writer.write(b'%x\r\n' % len(data) + data + b'\r\n')


def bench(server, *args):
    r = subprocess.run([DAMSO, 'bench', 'serve', server.url, '--json', *args], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)['levels']


def near(a, b, share=0.03, more=0.0):
    assert abs(a - b) <= share * b + more, (a, b)


def p90(v):
    v = sorted(v)
    return v[-(-9 * len(v) // 10) - 1]


def test_figures():
    for usage in (True, False):
        s = Server(usage)
        level, = bench(s, '--clients', '8', '--requests', '32', '--answer', '20', '--words', '10')
        s.close()
        seen = s.seen[2:]  # two warm up
        assert level['requests'] == 32 == len(seen) and level['errors'] == 0 and level['tokens'] == 640
        assert s.most == 8 and s.connections <= 9, (s.most, s.connections)  # connections are kept
        seconds = max(x[2] for x in seen) - min(x[0] for x in seen)
        near(level['system_tps'], 640 / seconds)
        near(level['ttft_ms']['p90'], 1000 * p90([x[1] - x[0] for x in seen]), more=10)
        tpot = 1000 * p90([(x[2] - x[1]) / (x[3] - 1) for x in seen])
        near(level['tpot_ms']['p90'], tpot)
        near(level['user_tps'], 1000 / level['tpot_ms']['p90'], 1e-6)
        body = s.bodies[-1]
        assert body['stream'] and body['ignore_eos'] and body['temperature'] == 0
        texts = [b['messages'][0]['content'] for b in s.bodies]
        assert len(set(texts)) == len(texts)  # nothing that a server could know already


def test_errors():
    s = Server(bad=1)
    level, = bench(s, '--clients', '4', '--requests', '38', '--answer', '4')
    s.close()
    assert level['errors'] == 8, level  # of 40 with the two before, each tenth in two ways
    assert level['error'] == 'status 503: busy\ufffd [31m' + '가' * 36, level['error']
    assert level['tokens'] == 30 * 4


def test_rate_and_curve():
    s = Server()
    with tempfile.NamedTemporaryFile(suffix='.svg') as f, tempfile.NamedTemporaryFile(suffix='.html') as h:
        levels = bench(s, '--rate', '100', '--clients', '1,2,3,4,5,6,7', '--requests', '14', '--answer', '3', '--svg', f.name,
                       '--html', h.name, '--model', '<b>x')
        picture = xml.dom.minidom.parse(f.name)
        page = h.read().decode()
    assert not re.search(r'(src|href)=|url\(|<script|@import', page), 'something from outside'
    assert page.count('<svg') == 9 and page.count('class="bars"') == 8 and page.count('<circle') == 8 and '&lt;b&gt;x' in page
    assert 'Result not verified by MLCommons Association' in page and f'{levels[-1]["ttft_ms"]["p90"]:.1f}' in page
    s.close()
    assert len(levels) == 8 and levels[0]['clients'] == 0 and levels[0]['rate'] == 100
    assert len(picture.getElementsByTagName('circle')) == 8
    best = max(levels, key=lambda l: l['system_tps'])
    assert best['pareto'] and any(l['pareto'] for l in levels)
    for a in levels:
        beaten = any(b['system_tps'] > a['system_tps'] and b['user_tps'] > a['user_tps'] for b in levels)
        assert not (a['pareto'] and beaten)


def test_due():
    """Requests that come while the only connection is taken: their times begin when they were due."""
    s = Server()
    level, free = bench(s, '--rate', '20', '--connections', '1', '--requests', '10', '--answer', '3') + \
        bench(s, '--rate', '20', '--requests', '10', '--answer', '3')
    s.close()
    assert s.most > 1 and free['late_ms']['p90'] < 100 and free['ttft_ms']['p90'] < 600, free
    assert level['late_ms']['p90'] > 1000 and level['ttft_ms']['p90'] > level['late_ms']['p90'] + 250, level
    assert level['latency_ms']['p90'] > level['ttft_ms']['p90'], level
    near(level['tpot_ms']['p90'], 1000 * EACH, more=5)  # not from when it was due


def test_refused():
    for args, said in ((['x'], 'no address'), (['http://127.0.0.1:1/'], 'no address'), (['http://127.0.0.1:1', '--rate', '0'], '--rate'),
                       (['http://127.0.0.1:1', '--clients', '2000'], '--clients'), ([], 'argument'),
                       (['http://127.0.0.1:1', '--model', b'a\xff'], '--model'), ([b'http://\xff'], 'UTF-8')):
        r = subprocess.run([DAMSO, 'bench', 'serve', *args], capture_output=True, text=True)
        assert r.returncode == 2 and said in r.stderr, r.stderr
    r = subprocess.run([DAMSO, 'bench', 'serve', 'http://127.0.0.1:1'], capture_output=True, text=True)
    assert r.returncode == 8 and 'no request was answered' in r.stderr


if __name__ == '__main__':
    for name, test in list(globals().items()):
        if name.startswith('test_'):
            test()
            print('ok', name, flush=True)
