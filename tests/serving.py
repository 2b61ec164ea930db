# SPDX-License-Identifier: MIT
"""A `damso serve` for tests, and requests to it with nothing but http.client and json."""
import http.client, json, os, re, signal, subprocess, threading


class Server:
    """Serves `model` of DAMSO_TEST_MODELS on a free port; `folder` is its home, with its store."""

    def __init__(self, damso, folder, *args, model='smollm2-135m-instruct', **env):
        models = os.environ['DAMSO_TEST_MODELS']
        self.store = f'sqlite:{folder}/damso.db'
        env = {'PATH': os.environ['PATH'], 'HOME': folder, 'DAMSO_MODELS_DIR': models, 'DAMSO_CTX': '1024',
               **({'DAMSO_CPU': os.environ['DAMSO_CPU']} if 'DAMSO_CPU' in os.environ else {}), **env}
        self.process = subprocess.Popen([damso, 'serve', '-m', model, '--port', '0', '--store', self.store, *args],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, text=True)
        said = ''
        for line in self.process.stdout:
            said += line
            at = re.search(r'http://127\.0\.0\.1:(\d+)', line)
            if at:
                break
        else:
            raise RuntimeError(f'the server did not start: {said}')
        self.port = int(at.group(1))
        self.log = []
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stdout), daemon=True)
        self.reader.start()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self._ended()

    def stop(self):
        """Ends it as an operator does; gives its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self):
        status = self.process.wait(timeout=60)
        self.reader.join()
        self.process.stdout.close()
        return status

    def open(self, method, path, body=None, headers=None):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=120)
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        c.request(method, path, data, {'Content-Type': 'application/json', **(headers or {})})
        return c, c.getresponse()

    def call(self, method, path, body=None, headers=None):
        """(status, object)"""
        c, r = self.open(method, path, body, headers)
        data = r.read()
        c.close()
        return r.status, json.loads(data) if data else None

    def raw_events(self, path, body, headers=None):
        """[(event or None, data as text)] of a stream, or raises with what came in its place."""
        c, r = self.open('POST', path, body, headers)
        data = r.read()
        c.close()
        if r.status != 200:
            raise RuntimeError(f'{r.status}: {data.decode()}')
        assert r.getheader('Content-Type').startswith('text/event-stream'), r.getheader('Content-Type')
        out = []
        for block in data.decode().split('\n\n')[:-1]:  # decode(): no character may be cut
            lines = [l for l in block.split('\n') if not l.startswith(':')]
            names = [l[7:] for l in lines if l.startswith('event: ')]
            texts = [l[6:] for l in lines if l.startswith('data: ')]
            assert len(names) <= 1 and len(texts) + len(names) == len(lines), block
            if texts:
                out.append((names[0] if names else None, '\n'.join(texts)))
        return out
