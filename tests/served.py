# SPDX-License-Identifier: MIT
"""A damso server for tests of its APIs, and requests to it with nothing but the standard library."""
import atexit, http.client, importlib, json, os, re, shutil, signal, subprocess, sys, tempfile, time

MODELS = os.environ.get('DAMSO_TEST_MODELS')
SMALL = 'smollm2-135m-instruct'
# For answers that have to last: where tokens are guessed ahead, 2,000 that repeat themselves take a second.
LASTING = ('--speculate', 'off')
# A template that reasons, as Qwen3's does: the empty reasoning says that none is wanted.
THINKS = b"""{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if not enable_thinking %}<think>

</think>

{% endif %}{% endif %}"""


# A value that only fits when no digit and no character is lost, and the schema that leaves no other.
EXACT = {'x': 1732470000.125, 'who': '민아'}
ONLY = {'type': 'object', 'properties': {'x': {'enum': [EXACT['x']]}, 'who': {'enum': [EXACT['who']]}},
        'required': ['x', 'who'], 'additionalProperties': False}


def client(name):
    """The package of a real client, or None where it is not installed; `make test` wants all."""
    try:
        return importlib.import_module(name)
    except ImportError:
        if os.environ.get('DAMSO_TEST_CLIENTS'):
            raise
        return None


def thinking_model(path):
    """A copy of the small model whose template reasons; it takes the old one's place in the file."""
    with open(f'{MODELS}/{SMALL}.gguf', 'rb') as f:
        data = bytearray(f.read())
    at = data.index(b'{% for message in messages %}', data.index(b'tokenizer.chat_template'))
    n = int.from_bytes(data[at - 8:at], 'little')
    data[at:at + n] = THINKS + b'{#' + b' ' * (n - len(THINKS) - 4) + b'#}'
    with open(path, 'wb') as f:
        f.write(data)


class Postgres:
    """A PostgreSQL of this program's own (tests/postgres.sh), with a database for each folder of a server."""
    one = None
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'postgres.sh')

    def __init__(self, folder=None):
        self.folder, self.made = folder or tempfile.mkdtemp(), set()
        r = subprocess.run([self.script, 'start', self.folder, str(os.getpid())], stdout=subprocess.PIPE)
        if r.returncode:
            shutil.rmtree(self.folder)
            sys.exit(r.returncode)  # 77: it is to be left out
        self.port = int(r.stdout)
        atexit.register(subprocess.run, [self.script, 'stop', self.folder])

    def restart(self):
        """As the lack of power does."""
        subprocess.run([self.script, 'restart', self.folder], check=True)

    def database(self, folder):
        name = 'd' + ''.join(c for c in folder if c.isalnum()).lower()
        if name not in self.made:
            self.made.add(name)
            subprocess.run(['psql', '-q', f'postgresql://damso@/postgres?host={self.folder}/pg&port={self.port}',
                            '-c', f'CREATE DATABASE {name}'], check=True)
        return f'postgres://damso:pw@127.0.0.1:{self.port}/{name}'


def store_of(folder):
    """The store of a server at home in `folder`: a file there, or with DAMSO_TEST_STORE=postgres a database."""
    if os.environ.get('DAMSO_TEST_STORE') != 'postgres':
        return f'sqlite:{folder}/store.db'
    Postgres.one = Postgres.one or Postgres()
    return Postgres.one.database(folder)


def new_key(damso, folder, *args):
    """A new API key, with these arguments of `damso key add`, in the store of a server at home in `folder`."""
    out = subprocess.run([damso, 'key', 'add', *args, '--store', store_of(folder)], capture_output=True, text=True,
                         check=True, env={'PATH': os.environ['PATH'], 'HOME': folder}).stdout
    return out.strip()


def sse(data):
    """[(event or None, object, or text when it is [DONE])] of a whole stream of server-sent events."""
    text = data.decode()  # no character may be cut
    assert '\r' not in text and text.endswith('\n\n'), text[-80:]
    out = []
    for block in text.split('\n\n')[:-1]:
        if block == ': keep-alive':
            continue
        *names, value = block.split('\n')
        assert len(names) <= 1 and all(n.startswith('event: ') for n in names) and value.startswith('data: '), block
        value = value[6:]
        out.append((names[0][7:] if names else None, value if value == '[DONE]' else json.loads(value)))
    return out


def until(look, seconds=60):
    """What `look` gives, once it is something."""
    end = time.monotonic() + seconds
    while not (got := look()):
        assert time.monotonic() < end, 'it did not come'
        time.sleep(0.02)
    return got


class Server:
    """A server on a free port; `folder` is its home, with its store, and one of its own if not given."""

    def __init__(self, damso, *args, folder=None, models=None, **env):
        self.dir, self.own = folder or tempfile.mkdtemp(), not folder
        env = {'PATH': os.environ['PATH'], 'HOME': self.dir, 'DAMSO_MODELS_DIR': models or MODELS or '',
               'DAMSO_CTX': '2048', 'DAMSO_STORE': store_of(self.dir), **env}
        for name in ('DAMSO_CPU', 'DAMSO_SANDBOX', 'ASAN_OPTIONS', 'TSAN_OPTIONS'):
            if name in os.environ:
                env[name] = os.environ[name]
        self.log = open(f'{self.dir}/log', 'w+')
        self.process = subprocess.Popen([damso, 'serve', '--port', '0', *args], env=env,
                                        stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline().decode()
        if ' at http://' not in line:
            log = self._told()
            self._ended()
            raise RuntimeError(f'no server: {log}')
        self.url = line.split(' at ')[1].strip()
        self.port = int(self.url.rsplit(':', 1)[1])

    def close(self):
        """Ends it as an operator does.  Its exit status: 0, unless it crashed or a sanitizer found something."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60) and not self.log.closed:
            print(self._told(), file=sys.stderr)
        return self._ended()

    def kill(self):
        """Ends it as the lack of power does."""
        self.process.kill()
        self._ended()

    def _told(self):
        self.log.seek(0)
        return self.log.read()

    def _ended(self):
        status = self.process.wait(60)
        self.process.stdout.close()
        self.log.close()
        if self.own:
            shutil.rmtree(self.dir, ignore_errors=True)
        return status

    def open(self, method, path, body=None, **headers):
        """(connection, response), for who wants to read a part; a body is an object, or bytes as they are."""
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=300)
        headers = {k.replace('_', '-'): v for k, v in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        c.request(method, path, body, headers)
        return c, c.getresponse()

    def raw(self, method, path, body=None, **headers):
        """(status, headers, bytes)"""
        c, r = self.open(method, path, body, **headers)
        out = r.status, r.headers, r.read()
        c.close()
        return out

    def call(self, method, path, body=None, **headers):
        """(status, object)"""
        status, _, data = self.raw(method, path, body, **headers)
        return status, json.loads(data) if data else None

    def get(self, path, **headers):
        return self.call('GET', path, **headers)

    def post(self, path, body, **headers):
        return self.call('POST', path, body, **headers)

    def lines(self, path, body):
        """Objects of an NDJSON stream."""
        _, headers, text = self.raw('POST', path, body)
        return headers['content-type'], [json.loads(l) for l in text.decode().splitlines()]

    def events(self, path, body, **headers):
        """sse() of a stream that must come."""
        status, got, data = self.raw('POST', path, body, **headers)
        assert status == 200, (status, data)
        assert got['Content-Type'].startswith('text/event-stream'), got['Content-Type']
        return sse(data)

    def gauge(self, name):
        """A value of /metrics; the sum of those that differ in labels."""
        text = self.raw('GET', '/metrics')[2].decode()
        return sum(float(v) for v in re.findall(rf'^{name}(?:{{.*}})? (\S+)$', text, re.M))

    def idle(self, seconds=60):
        """Waits until nothing is answered or waits to be; whether that came within this time."""
        end = time.monotonic() + seconds
        while busy := self.gauge('damso_running') + self.gauge('damso_queue_length'):
            if time.monotonic() > end:
                break
            time.sleep(0.02)
        return not busy
