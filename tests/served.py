# SPDX-License-Identifier: MIT
"""A damso server for tests of its APIs, and requests to it with nothing but the standard library."""
import http.client, json, os, shutil, signal, subprocess, tempfile

MODELS = os.environ.get('DAMSO_TEST_MODELS')
SMALL = 'smollm2-135m-instruct'
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


def thinking_model(path):
    """A copy of the small model whose template reasons; it takes the old one's place in the file."""
    with open(f'{MODELS}/{SMALL}.gguf', 'rb') as f:
        data = bytearray(f.read())
    at = data.index(b'{% for message in messages %}', data.index(b'tokenizer.chat_template'))
    n = int.from_bytes(data[at - 8:at], 'little')
    data[at:at + n] = THINKS + b'{#' + b' ' * (n - len(THINKS) - 4) + b'#}'
    with open(path, 'wb') as f:
        f.write(data)


class Server:
    def __init__(self, damso, *args, models=None, **env):
        self.dir = tempfile.mkdtemp()
        env = {'PATH': os.environ['PATH'], 'HOME': self.dir, 'DAMSO_MODELS_DIR': models or MODELS,
               'DAMSO_CTX': '2048', 'DAMSO_STORE': f'sqlite:{self.dir}/store.db', **env}
        for name in ('DAMSO_CPU', 'ASAN_OPTIONS', 'TSAN_OPTIONS'):
            if name in os.environ:
                env[name] = os.environ[name]
        self.log = open(f'{self.dir}/log', 'w+')
        self.process = subprocess.Popen([damso, 'serve', '--port', '0', *args], env=env,
                                        stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline().decode()
        if ' at http://' not in line:
            self.log.seek(0)
            raise RuntimeError(f'no server: {self.log.read()}')
        self.url = line.split(' at ')[1].strip()
        self.port = int(self.url.rsplit(':', 1)[1])

    def close(self):
        """Its exit status: 0, unless it crashed or a sanitizer found something."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.process.stdout.close()
        self.log.close()
        shutil.rmtree(self.dir)
        return status

    def raw(self, method, path, body=None, **headers):
        """(status, headers, bytes)"""
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=300)
        headers = {k.replace('_', '-'): v for k, v in headers.items()}
        c.request(method, path, None if body is None else json.dumps(body), headers)
        r = c.getresponse()
        out = r.status, r.headers, r.read()
        c.close()
        return out

    def get(self, path, **headers):
        status, _, body = self.raw('GET', path, **headers)
        return status, json.loads(body)

    def post(self, path, body, **headers):
        status, _, text = self.raw('POST', path, body, **headers)
        return status, json.loads(text)

    def lines(self, path, body):
        """Objects of an NDJSON stream."""
        _, headers, text = self.raw('POST', path, body)
        return headers['content-type'], [json.loads(l) for l in text.decode().splitlines()]

    def events(self, path, body):
        """[(event, data)] of a stream of server-sent events."""
        _, _, text = self.raw('POST', path, body)
        out = []
        for block in text.decode().strip().split('\n\n'):
            event, data = block.split('\n')
            out.append((event.removeprefix('event: '), json.loads(data.removeprefix('data: '))))
        return out
