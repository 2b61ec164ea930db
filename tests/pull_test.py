#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""POST /api/pull from outside, with a catalogue and a web server of ours on 127.0.0.1:
tests/pull_test.py DAMSO.  Needs DAMSO_TEST_MODELS.  No other network is needed."""
import hashlib, http.client, http.server, json, os, shutil, signal, subprocess
import tempfile, threading, time, unittest

from fetch_test import DAMSO, GOOD, Handler
from served import MODELS, SMALL, Server, client

ollama = client('ollama')
SHA = hashlib.sha256(GOOD).hexdigest()


class Web(Handler):
    """/gate sends a part and the rest when `gate` is set; /real is a model that runs."""
    gate = threading.Event()

    def answer(self, path, nth):
        if path == '/gate':
            at = int((self.headers.get('Range') or 'bytes=0-')[6:].rstrip('-'))
            self.send_response(206 if at else 200)
            self.send_header('ETag', self.etag)
            self.send_header('Content-Length', str(len(GOOD) - at))
            if at:
                self.send_header('Content-Range', f'bytes {at}-{len(GOOD) - 1}/{len(GOOD)}')
            self.end_headers()
            upto = at + 1000 if at else 1_000_000
            self.wfile.write(GOOD[at:upto])
            self.wfile.flush()
            self.gate.wait(60)
            self.wfile.write(GOOD[upto:])
        elif path == '/real':
            with open(f'{MODELS}/{SMALL}.gguf', 'rb') as f:
                self.send(200, f.read())
        else:
            super().answer(path, nth)


def entry(port, name, path, file, size=len(GOOD), sha=SHA):
    return (f'  - name: {name}\n    title: T\n    architecture: llama\n    engine: yes\n'
            f'    about:\n      en: a\n      ko: a\n    file: {file}\n    bytes: {size}\n'
            f'    sha256: {sha}\n    gb: 0.003\n    memory_gib: 0.01\n    context: 1\n    licence:\n'
            '      name: MIT\n      url: https://example.org/licence\n    sources:\n'
            f'      - url: http://127.0.0.1:{port}/{path}\n        tried: yes\n')


def children(pid):
    """Processes below this one."""
    out = []
    for p in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{p}/stat') as f:
                state, parent = f.read().rsplit(')', 1)[1].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != 'Z':
            out += [int(p), *children(int(p))]
    return out


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f'not within {seconds} s')
        time.sleep(0.02)


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Pull(unittest.TestCase):
    def setUp(self):
        self.web = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Web)
        self.web.daemon_threads = True
        threading.Thread(target=self.web.serve_forever, args=(0.02,), daemon=True).start()
        Web.seen = []
        Web.gate.clear()
        self.dir = tempfile.mkdtemp()
        self.models = f'{self.dir}/models'
        os.mkdir(self.models)
        os.symlink(f'{MODELS}/{SMALL}.gguf', f'{self.models}/{SMALL}.gguf')
        with open(f'{MODELS}/{SMALL}.gguf', 'rb') as f:
            real = f.read()
        port = self.web.server_port
        with open(f'{self.dir}/catalogue.yaml', 'w') as f:
            f.write('models:\n' + ''.join([
                entry(port, SMALL, 'none', f'{SMALL}.gguf'),
                entry(port, 'real', 'real', 'Real-Q4.gguf', len(real), hashlib.sha256(real).hexdigest()),
                entry(port, 'plain', 'plain', 'plain.gguf'),
                entry(port, 'gone', 'status-404', 'gone.gguf'),
                entry(port, 'wrong', 'plain', 'wrong.gguf', sha='0' * 64),
                *(entry(port, f'gate{i}', 'gate', f'gate{i}.gguf') for i in range(20))]))
        self.server = None
        self.start()

    def start(self, *args, **env):
        self.stop()
        self.server = Server(DAMSO, *args, models=self.models, DAMSO_MODEL=SMALL, DAMSO_TRIES='1',
                             DAMSO_CATALOGUE=f'{self.dir}/catalogue.yaml', DAMSO_FETCH_PAGES='off',  # its children are counted
                             no_proxy='*', **env)

    def stop(self):
        if self.server:
            server, self.server = self.server, None
            self.assertEqual(server.close(), 0)

    def tearDown(self):
        Web.gate.set()
        self.stop()
        self.web.shutdown()
        self.web.server_close()
        shutil.rmtree(self.dir)

    def pull(self, name, **more):
        kind, lines = self.server.lines('/api/pull', {'model': name, **more})
        self.assertEqual(kind, 'application/x-ndjson')
        return lines

    def names(self):
        return {m['name'] for m in self.server.get('/api/tags')[1]['models']}

    def begin(self, name):
        """A pull that has begun to arrive: (connection, response)."""
        c = http.client.HTTPConnection('127.0.0.1', self.server.port, timeout=60)
        c.request('POST', '/api/pull', json.dumps({'model': name}))
        r = c.getresponse()
        while 'completed' not in json.loads(r.readline()):
            pass
        return c, r

    def leave(self, c, r):
        r.close()
        c.close()

    def part(self, name):
        path = f'{self.models}/{name}.gguf.part'
        return os.path.getsize(path) if os.path.exists(path) else -1

    def rest(self, r):
        return [json.loads(l) for l in r.read().decode().splitlines()]

    def loads(self):
        return len(children(self.server.process.pid)) - 2

    # ---- all goes well ----

    def test_load_and_use(self):
        self.assertEqual(self.names(), {SMALL})
        lines = self.pull('real:latest')
        self.assertEqual(lines[0], {'status': 'pulling manifest'})
        self.assertEqual(lines[-1], {'status': 'success'})
        size = os.path.getsize(f'{MODELS}/{SMALL}.gguf')
        for line in lines[1:-1]:
            self.assertEqual((line['status'], line['total']), ('pulling real', size))
            self.assertRegex(line['digest'], '^sha256:[0-9a-f]{64}$')
        done = [line['completed'] for line in lines[1:-1]]
        self.assertEqual((done, done[-1]), (sorted(set(done)), size))
        self.assertEqual(self.names(), {SMALL, 'real'})
        self.check_answers('real', 'Real-Q4', 'real:latest', SMALL)
        self.assertEqual(self.pull('real')[-1], {'status': 'success'})  # here already
        self.assertEqual(len(Web.seen), 1)
        self.assertEqual(len(self.server.get('/api/tags')[1]['models']), 2)
        self.start()  # names are the same when the folder is read
        self.assertEqual(self.names(), {SMALL, 'real'})
        self.check_answers('real', 'Real-Q4')

    def check_answers(self, *names):
        for name in names:
            status, o = self.server.post('/api/chat', {
                'model': name, 'messages': [{'role': 'user', 'content': 'Hi.'}], 'stream': False,
                'options': {'num_predict': 4}})
            self.assertEqual((status, o.get('done')), (200, True), o)
        self.assertEqual(self.server.post('/api/chat', {'model': 'nix', 'messages': []})[0], 404)

    def test_own_settings(self):
        with open(f'{self.models}/Real-Q4.conf', 'w') as f:
            f.write('aliases = mine\n')
        self.assertEqual(self.server.post('/api/pull', {'model': 'real', 'stream': False}),
                         (200, {'status': 'success'}))
        self.check_answers('mine', 'real')

    def test_one_load_for_all(self):
        a, b, c = (self.begin('gate0') for _ in range(3))
        self.leave(*a)
        whole = []
        t = threading.Thread(target=lambda: whole.append(
            self.server.post('/api/pull', {'model': 'gate0', 'stream': False})))
        t.start()
        time.sleep(0.2)
        Web.gate.set()
        for _, r in (b, c):
            self.assertEqual(self.rest(r)[-1], {'status': 'success'})
        t.join()
        self.assertEqual(whole, [(200, {'status': 'success'})])
        self.assertEqual(len(Web.seen), 1)
        self.leave(*b)
        self.leave(*c)

    def test_two_at_once(self):
        held = [self.begin('gate0'), self.begin('gate1')]
        c = http.client.HTTPConnection('127.0.0.1', self.server.port, timeout=60)
        c.request('POST', '/api/pull', json.dumps({'model': 'gate2'}))
        r = c.getresponse()
        self.assertEqual(json.loads(r.readline()), {'status': 'pulling manifest'})
        time.sleep(0.3)
        self.assertEqual((len(Web.seen), self.loads()), (2, 2))
        self.leave(*held[0])  # gives its place up
        until(lambda: len(Web.seen) == 3)
        Web.gate.set()
        self.assertEqual(self.rest(r)[-1], {'status': 'success'})
        self.assertEqual(self.rest(held[1][1])[-1], {'status': 'success'})
        self.leave(*held[1])
        self.leave(c, r)
        self.assertEqual(self.names(), {SMALL, 'gate1', 'gate2'})

    def test_too_many(self):
        held = []
        for i in range(17):
            c = http.client.HTTPConnection('127.0.0.1', self.server.port, timeout=60)
            c.request('POST', '/api/pull', json.dumps({'model': f'gate{i}'}))
            held.append((c, c.getresponse()))
        self.assertEqual([r.status for _, r in held], [200] * 16 + [503])
        for c, r in held:
            self.leave(c, r)
        until(lambda: self.loads() == 0)
        self.assertEqual(self.pull('plain')[-1], {'status': 'success'})

    def test_who_leaves_cancels(self):
        self.leave(*self.begin('gate0'))
        until(lambda: self.loads() == 0)
        self.assertEqual(self.part('gate0'), 1_000_000)
        c, r = self.begin('gate0')  # goes on
        Web.gate.set()
        self.assertEqual(self.rest(r)[-1], {'status': 'success'})
        self.assertEqual([s[1] for s in Web.seen], [None, 'bytes=1000000-'])
        self.leave(c, r)

    def test_come_back_at_once(self):
        for _ in range(3):
            c, r = self.begin('gate0')
            self.leave(c, r)
        c, r = self.begin('gate0')
        Web.gate.set()
        self.assertEqual(self.rest(r)[-1], {'status': 'success'})
        self.leave(c, r)

    # ---- something goes wrong ----

    def test_failures(self):
        for name, status, words in (('gone', 404, '404'), ('wrong', 502, 'sha256 of what arrived')):
            lines = self.pull(name)
            self.assertEqual((lines[0], list(lines[-1])), ({'status': 'pulling manifest'}, ['error']))
            self.assertIn(words, lines[-1]['error'])
            got, o = self.server.post('/api/pull', {'name': name, 'stream': False})
            self.assertEqual((got, list(o)), (status, ['error']), o)
            self.assertIn(words, o['error'])
        self.assertEqual(self.names(), {SMALL})
        self.assertEqual(os.listdir(self.models), [f'{SMALL}.gguf'])

    def test_refusals(self):
        for body, status, words in (
                ({'model': 'plaim'}, 404, "did you mean 'plain'"), ({'model': '../plain'}, 404, 'no model'),
                ({'model': '--help'}, 404, 'no model'), ({'model': 'all-tests'}, 404, 'no model'),
                ({'model': 'x' * 129}, 400, '128'), ({'model': ''}, 400, 'model'), ({}, 400, 'model'),
                ({'model': 7}, 400, 'model'), ({'model': 'plain', 'stream': 1}, 400, 'stream')):
            got, o = self.server.post('/api/pull', body)
            self.assertEqual((got, list(o)), (status, ['error']), (body, o))
            self.assertIn(words, o['error'])
        self.assertEqual(Web.seen, [])

    def test_one_model(self):
        self.start('-m', SMALL)
        got, o = self.server.post('/api/pull', {'model': 'plain'})
        self.assertEqual(got, 501)
        self.assertIn('one model', o['error'])
        self.assertEqual(children(self.server.process.pid), [])

    def test_keys(self):
        store = f'sqlite:{self.dir}/keys.db'
        chat, admin = ({'Authorization': 'Bearer ' + subprocess.run(
            [DAMSO, 'key', 'add', 'x', '--scopes', scopes, '--store', store], text=True, check=True,
            capture_output=True).stdout.strip()} for scopes in ('chat models metrics', 'admin'))
        self.start('--keys', 'always', DAMSO_STORE=store)
        body = {'model': 'plain', 'stream': False}
        self.assertEqual(self.server.post('/api/pull', body)[0], 401)
        self.assertEqual(self.server.post('/api/pull', body, **chat)[0], 403)
        self.assertEqual(Web.seen, [])
        self.assertEqual(self.server.post('/api/pull', body, **admin)[0], 200)

    # ---- ends ----

    def below(self):
        """The child, and two loads that wait for more."""
        self.held = self.begin('gate0'), self.begin('gate1')
        pids = children(self.server.process.pid)
        self.assertEqual(len(pids), 4)
        return pids[:3]  # the last one would read pictures

    def all_gone(self, pids):
        until(lambda: not any(os.path.exists(f'/proc/{p}') for p in pids))

    def test_server_is_killed(self):
        pids = self.below()
        server, self.server = self.server, None
        server.kill()
        self.all_gone(pids)
        self.assertEqual(self.part('gate0'), 1_000_000)
        for h in self.held:
            self.leave(*h)

    def test_server_ends(self):
        pids = self.below()
        began = time.monotonic()
        self.server.process.send_signal(signal.SIGTERM)
        for _, r in self.held:
            self.assertEqual(list(self.rest(r)[-1]), ['error'])
        self.assertEqual(self.server.process.wait(30), 0)
        self.assertLess(time.monotonic() - began, 15)
        self.all_gone(pids)
        self.assertEqual(self.part('gate0'), 1_000_000)
        for h in self.held:
            self.leave(*h)

    def test_child_is_told_to_end(self):
        pids = self.below()
        os.kill(pids[0], signal.SIGTERM)
        for c, r in self.held:
            self.assertEqual(list(self.rest(r)[-1]), ['error'])
            self.leave(c, r)
        self.all_gone(pids[1:])
        until(lambda: len(children(self.server.process.pid)) == 1)
        until(lambda: self.server.raw('POST', '/api/pull', {'model': 'plain'})[0] == 503)
        self.assertEqual(self.server.get('/ready')[0], 200)

    def test_load_is_killed(self):
        pids = self.below()
        for p in pids[1:]:
            os.kill(p, signal.SIGKILL)
        for c, r in self.held:
            self.assertIn('signal 9', self.rest(r)[-1]['error'])
            self.leave(c, r)
        self.assertEqual(self.pull('plain')[-1], {'status': 'success'})

    @unittest.skipUnless(ollama, 'the package ollama is not there')
    def test_client(self):
        c = ollama.Client(host=self.server.url)
        steps = list(c.pull('plain', stream=True))
        self.assertEqual(steps[-1].status, 'success')
        self.assertEqual((steps[-2].completed, steps[-2].total), (len(GOOD), len(GOOD)))
        self.assertEqual(steps[-2].digest, f'sha256:{SHA}')
        self.assertEqual(c.pull('plain').status, 'success')
        with self.assertRaises(ollama.ResponseError):
            list(c.pull('wrong', stream=True))
        c._client.close()


if __name__ == '__main__':
    unittest.main()
