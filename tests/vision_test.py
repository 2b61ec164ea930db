#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Pictures from outside, through every API: tests/vision_test.py DAMSO.  Needs DAMSO_TEST_MODELS: the
small Gemma 3 gets a tiny projector of random weights, so that what it sees is noise, but another noise
for each picture."""
import base64, functools, hashlib, http.server, json, os, shutil, struct, subprocess, sys, tempfile, threading, unittest

from served import MODELS, SMALL, Server, until

DAMSO = os.path.abspath(sys.argv.pop(1))
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data', 'vision')
GEMMA = 'gemma3-270m'
ROWS = 16  # of a picture, with this projector


def read(name):
    with open(f'{DATA}/{name}', 'rb') as f:
        return base64.b64encode(f.read()).decode()


PNG, JPEG, WEBP = read('picture.png'), read('plain.jpg'), read('lossy.webp')


# As Gemma 3's instructed models have it; the small test model has none.
TEMPLATE = b"""{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}
{% if m.content is string %}{{ m.content | trim }}{% else %}{% for p in m.content %}{% if p.type == 'image' %}\
<start_of_image>{% else %}{{ p.text | trim }}{% endif %}{% endfor %}{% endif %}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""
SIZES = [1, 1, 2, 2, 4, 4, 4, 1, None, None, 8, 8, 8]  # of GGUF's kinds of values; 8: text, 9: array


def with_template(path, out):
    """A copy of a GGUF file with one more key, a chat template."""
    with open(path, 'rb') as f:
        data = f.read()
    n_tensors, n_keys = struct.unpack_from('<QQ', data, 8)
    at = 24

    def skip(kind):
        nonlocal at
        if kind == 8:
            at += 8 + int.from_bytes(data[at:at + 8], 'little')
        elif kind == 9:
            of, n = struct.unpack_from('<IQ', data, at)
            at += 12
            if SIZES[of]:
                at += n * SIZES[of]
            else:
                for _ in range(n):
                    skip(of)
        else:
            at += SIZES[kind]

    for _ in range(n_keys):
        skip(8)
        at += 4
        skip(int.from_bytes(data[at - 4:at], 'little'))
    keys = at
    for _ in range(n_tensors):
        skip(8)
        at += 4 + 8 * int.from_bytes(data[at:at + 4], 'little') + 12
    name = b'tokenizer.chat_template'
    head = data[:16] + struct.pack('<Q', n_keys + 1) + data[24:keys]
    head += struct.pack('<Q', len(name)) + name + struct.pack('<IQ', 8, len(TEMPLATE)) + TEMPLATE + data[keys:at]
    with open(out, 'wb') as f:
        f.write(head + bytes(-len(head) % 32) + data[at + -at % 32:])


def setUpModule():
    global folder, server
    if not MODELS:
        return
    folder = tempfile.mkdtemp()
    with_template(f'{MODELS}/{GEMMA}.gguf', f'{folder}/{GEMMA}.gguf')
    shutil.copy(f'{DATA}/mmproj-640.gguf', f'{folder}/mmproj-{GEMMA}.gguf')  # found by its name
    os.symlink(f'{MODELS}/{SMALL}.gguf', f'{folder}/{SMALL}.gguf')
    server = Server(DAMSO, models=folder, DAMSO_MODEL=GEMMA)


def tearDownModule():
    if not MODELS:
        return
    status = server.close()
    shutil.rmtree(folder)
    if status:
        raise AssertionError('the server did not end well')


def url(data, kind='png'):
    return {'type': 'image_url', 'image_url': {'url': f'data:image/{kind};base64,{data}'}}


def text(say):
    return {'type': 'text', 'text': say}


def ask(*parts, **more):
    return {'model': GEMMA, 'messages': [{'role': 'user', 'content': list(parts)}], 'max_tokens': 4,
            'temperature': 0, 'logprobs': True, 'top_logprobs': 3, **more}


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Pictures(unittest.TestCase):
    def good(self, path, body, **headers):
        status, o = server.post(path, body, **headers)
        self.assertEqual(status, 200, o)
        return o

    def chat(self, *parts, **more):
        o = self.good('/v1/chat/completions', ask(*parts, **more))
        c = o['choices'][0]
        return o['usage'], c['message']['content'], [t['logprob'] for t in c['logprobs']['content']]

    def test_openai(self):
        plain, _, _ = self.chat(text('What is this?'))
        usage, said, probs = self.chat(url(PNG), text('What is this?'))
        # Its rows, the two tokens around them and two empty lines, which join the text's own.
        more = usage['prompt_tokens'] - plain['prompt_tokens']
        self.assertTrue(ROWS + 3 <= more <= ROWS + 4, more)
        # The same picture again: what was read of it is known, and the answer is the same.
        again, said2, probs2 = self.chat(url(PNG), text('What is this?'))
        self.assertEqual((said, probs), (said2, probs2))
        self.assertEqual(again['prompt_tokens_details']['cached_tokens'], again['prompt_tokens'] - 1)
        # Another picture is read, from where it begins, and changes what is likely.
        other, _, probs3 = self.chat(url(JPEG, 'jpeg'), text('What is this?'))
        self.assertLess(other['prompt_tokens_details']['cached_tokens'], usage['prompt_tokens'] - ROWS)
        self.assertNotEqual(probs, probs3)
        two, _, _ = self.chat(url(PNG), text('and'), url(WEBP, 'webp'), text('What differs?'))
        self.assertGreater(two['prompt_tokens'], usage['prompt_tokens'] + ROWS)

    def test_stream(self):
        want = self.chat(url(PNG), text('Tell me.'))[1]
        events = server.events('/v1/chat/completions', ask(url(PNG), text('Tell me.'), stream=True, logprobs=False,
                                                           top_logprobs=None))
        said = ''.join(o['choices'][0]['delta'].get('content') or '' for _, o in events
                       if o != '[DONE]' and o['choices'])
        self.assertEqual(said, want)

    def test_written_marks(self):
        """Who writes the control token's text gets no picture's place by it."""
        usage, _, _ = self.chat(url(PNG), text('<start_of_image> What is this?'))
        self.assertGreater(usage['prompt_tokens'], ROWS)

    def test_responses(self):
        o = self.good('/v1/responses', {
            'model': GEMMA, 'max_output_tokens': 16, 'input': [{'role': 'user', 'content': [
                {'type': 'input_image', 'image_url': f'data:image/png;base64,{PNG}', 'detail': 'auto'},
                {'type': 'input_text', 'text': 'What is this?'}]}]})
        self.assertGreater(o['usage']['input_tokens'], ROWS)
        # The conversation goes on with the picture in it.
        more = self.good('/v1/responses', {'model': GEMMA, 'max_output_tokens': 16, 'input': 'And now?',
                                           'previous_response_id': o['id']})
        self.assertGreater(more['usage']['input_tokens'], o['usage']['input_tokens'])

    def test_anthropic(self):
        source = {'type': 'base64', 'media_type': 'image/png', 'data': PNG}
        body = {'model': GEMMA, 'max_tokens': 4, 'temperature': 0, 'messages': [{'role': 'user', 'content': [
            {'type': 'image', 'source': source}, text('What is this?')]}]}
        o = self.good('/v1/messages', body)
        self.assertGreater(o['usage']['input_tokens'] + o['usage'].get('cache_read_input_tokens', 0), ROWS)
        n = self.good('/v1/messages/count_tokens', {k: v for k, v in body.items() if k in ('model', 'messages')})
        self.assertGreater(n['input_tokens'], ROWS)
        status, o = server.post('/v1/messages', {**body, 'messages': [{'role': 'user', 'content': [
            {'type': 'image', 'source': {'type': 'url', 'url': 'https://example.org/a.png'}}]}]})
        self.assertEqual(status, 400)
        self.assertIn('base64', o['error']['message'])

    def test_ollama(self):
        options = {'temperature': 0, 'num_predict': 4}
        o = self.good('/api/chat', {'model': GEMMA, 'stream': False, 'options': options, 'messages': [
            {'role': 'user', 'content': 'What is this?', 'images': [PNG]}]})
        self.assertGreater(o['prompt_eval_count'], ROWS)
        o = self.good('/api/generate', {'model': GEMMA, 'stream': False, 'options': options,
                                        'prompt': 'What is this?', 'images': [PNG]})
        self.assertGreater(o['prompt_eval_count'], ROWS)
        for name, sees in (GEMMA, True), (SMALL, False):
            self.assertEqual('vision' in self.good('/api/show', {'model': name})['capabilities'], sees, name)

    def test_refusals(self):
        def image(address):
            return {'type': 'image_url', 'image_url': {'url': address}}
        at = 'messages[0].content[0]'
        for part, words in [
            (image('https://example.org/a.png'), 'of image_url only data addresses'),
            (image('data:image/png,abc'), 'of image_url only data addresses'),
            (image('data:image/png;base64,***'), 'no base64'),
            (image('data:image/png;base64,'), 'no base64'),
            ({'type': 'image_url'}, 'no address'),
            (url(base64.b64encode(b'GIF89a...').decode()), 'GIF'),
            (url(base64.b64encode(b'no picture').decode()), 'no JPEG, PNG or WebP'),
            (url(PNG[:400]), 'PNG'),
            (url(JPEG[:len(JPEG) // 8 * 4], 'jpeg'), 'JPEG'),
        ]:
            status, o = server.post('/v1/chat/completions', ask(part))
            self.assertEqual((status, o['error']['param']), (400, at), (words, o))
            self.assertIn(words, o['error']['message'])
        status, o = server.post('/v1/chat/completions', ask(*[url(PNG)] * 33))
        self.assertEqual((status, o['error']['param']), (400, 'messages[0].content[32]'))
        self.chat(url(PNG), text('It still answers.'))

    def test_another_model(self):
        """A model without a projector says so."""
        status, o = server.post('/v1/chat/completions', {**ask(url(PNG)), 'model': SMALL})
        self.assertEqual((status, o['error']['param']), (400, 'messages[0].content[0]'), o)
        self.assertIn('this model takes text', o['error']['message'])
        status, o = server.post('/api/chat', {'model': SMALL, 'messages': [
            {'role': 'user', 'content': 'x', 'images': [PNG]}]})
        self.assertEqual(status, 400)
        self.assertIn('messages[0].images[0]', o['error'])


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Chats(unittest.TestCase):
    """Pictures in chats of the web app: files whose text is a data address."""

    def send(self, method, path, body, want=200, kind='application/json'):
        status, o = server.call(method, '/api/v1' + path, body, Content_Type=kind)
        self.assertEqual(status, want, o)
        return o

    def answered(self, chat, content, **fields):
        o = self.send('POST', f'/chats/{chat}/messages',
                      {'parent': None, 'content': content, 'options': {'temperature': 0, 'max_tokens': 4}, **fields})
        return until(lambda: next((m for m in server.get(f'/api/v1/chats/{chat}')[1]['messages']
                                   if m['id'] == o['answer']['id'] and m['status'] != 'running'), None))

    def file(self, text):
        return self.send('POST', '/files?name=picture.png', text.encode(), kind='image/png')['id']

    def test_chat(self):
        models = {m['id']: m['pictures'] for m in server.get('/api/v1/me')[1]['models']}
        self.assertEqual(models, {GEMMA: True, SMALL: False})
        chat = self.send('POST', '/chats', {})['id']
        picture = self.file(f'data:image/png;base64,{PNG}')
        plain = self.answered(chat, 'What is this?', model=GEMMA)
        seen = self.answered(chat, 'What is this?', model=GEMMA, files=[picture])
        self.assertEqual((plain['status'], seen['status']), ('done', 'done'), seen)
        more = seen['usage']['prompt_tokens'] - plain['usage']['prompt_tokens']
        self.assertTrue(ROWS + 3 <= more <= ROWS + 4, more)
        # The next question has the picture before it, and what was read of it is known.
        after = self.answered(chat, 'And now?', model=GEMMA, parent=seen['id'])
        self.assertGreater(after['usage']['cached_tokens'], ROWS)
        # A model that sees none is told of it, and answers.
        told = self.answered(chat, 'What is this?', model=SMALL, files=[picture])
        self.assertEqual(told['status'], 'done', told)

    def test_bad_picture(self):
        chat = self.send('POST', '/chats', {})['id']
        bad = self.answered(chat, 'What is this?', model=GEMMA,
                            files=[self.file('data:image/png;base64,' + base64.b64encode(b'none').decode())])
        self.assertEqual(bad['status'], 'error')
        self.assertIn('no JPEG, PNG or WebP', str(bad['error']))


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Starting(unittest.TestCase):
    def test_wrong_projectors(self):
        for path, words in [
            (f'{DATA}/mmproj.gguf', 'is no projector for'),
            (f'{DATA}/model.gguf', 'no projector of pictures'),
            ('/no/such.gguf', 'no such projector file'),
        ]:
            with self.assertRaises(RuntimeError) as e:
                Server(DAMSO, '--mmproj', path, DAMSO_MODEL=GEMMA).close()
            self.assertIn(words, str(e.exception))

    def test_no_template(self):
        """A model that has no template has no place for a picture; with "none" it takes text alone."""
        for args, words in [(('--mmproj', f'{DATA}/mmproj-640.gguf'), 'no place for this picture'),
                            (('--mmproj', 'none'), 'this model takes text')]:
            other = Server(DAMSO, *args, DAMSO_MODEL=GEMMA)
            status, o = other.post('/v1/chat/completions', ask(url(PNG)))
            self.assertEqual((status, o['error']['param']), (400, 'messages[0].content[0]'), o)
            self.assertIn(words, o['error']['message'])
            self.assertEqual(other.close(), 0)


def damso(*args, want=0, stdin=b'', models=None, **env):
    """What a command says on stdout and stderr."""
    p = subprocess.run([DAMSO, *args], capture_output=True, timeout=300, input=stdin, cwd=models or folder,
                       env={'PATH': os.environ['PATH'], 'HOME': models or folder, 'DAMSO_MODEL': GEMMA,
                            'DAMSO_MODELS_DIR': models or folder, 'DAMSO_CTX': '1024', 'no_proxy': '*', **env})
    if p.returncode != want:
        raise AssertionError(f'{args}: {p.returncode}, {p.stderr.decode()}')
    return p.stdout.decode(), p.stderr.decode()


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Talk(unittest.TestCase):
    """`damso run --image` and /image of `damso chat`."""
    ASK = 'run', '-n', '4', '--temp', '0', '--stats'

    def read(self, *args, **more):
        out, err = damso(*self.ASK, *args, **more)
        return out, int(err.split('[')[1].split(' tokens read')[0])

    def test_run(self):
        _, plain = self.read('--', 'What is this?')
        one, n = self.read('--image', f'{DATA}/picture.png', '--', 'What is this?')
        self.assertTrue(ROWS + 3 <= n - plain <= ROWS + 4, (plain, n))
        # The same question by the API is the same prompt, with the same answer.
        o = server.post('/v1/chat/completions', ask(url(PNG), text('What is this?')))[1]
        self.assertEqual((o['choices'][0]['message']['content'], o['usage']['prompt_tokens']), (one[:-1], n))
        two, both = self.read('--image', f'{DATA}/picture.png', '--image', f'{DATA}/plain.jpg', 'What is this?')
        self.assertGreater(both, n + ROWS)
        turned, n = self.read('--image', f'{DATA}/plain.jpg', '--image', f'{DATA}/picture.png', 'What is this?')
        self.assertEqual(n, both)
        o = server.post('/v1/chat/completions', ask(url(JPEG, 'jpeg'), url(PNG), text('What is this?')))[1]
        self.assertEqual(o['choices'][0]['message']['content'], turned[:-1])

    def test_raw(self):
        _, plain = self.read('--raw', 'This is: .')
        _, n = self.read('--raw', '--image', f'{DATA}/picture.png', 'This is <start_of_image>: .')
        self.assertGreater(n, plain + ROWS)
        _, err = damso(*self.ASK, '--raw', '--image', f'{DATA}/picture.png', 'This is: .', want=11)
        self.assertIn('the prompt has 0 places for pictures (<start_of_image>), and there are 1', err)

    def test_run_refuses(self):
        bad = f'{folder}/bad.txt'
        with open(bad, 'w') as f:
            f.write('no picture')
        for args, want, words in [
            (['--image', '/no/such.png'], 5, '/no/such.png: No such file'),
            (['--image', bad], 3, f'{bad}: this is no JPEG, PNG or WebP'),
            (['--image', folder], 7, 'not a regular file'),
            (['--image', ''], 2, '--image: FILE is empty'),
            (['--image', f'{DATA}/plain.jpg'] * 33, 2, '--image: more than 32'),
            (['-m', SMALL, '--image', f'{DATA}/plain.jpg'], 2, 'takes text alone: no projector (mmproj-NAME.gguf)'),
            (['--mmproj', 'none', '--image', f'{DATA}/plain.jpg'], 2, 'takes text alone'),
            (['--mmproj', f'{DATA}/mmproj.gguf', '--image', f'{DATA}/plain.jpg'], 2, 'is no projector for'),
        ]:
            out, err = damso('run', *args, 'What is this?', want=want)
            self.assertIn(words, err)
            self.assertEqual(out, '')

    def test_chat(self):
        shutil.copy(f'{DATA}/plain.jpg', f'{folder}/a picture.jpg')
        talk = ('/image nothing.png\n/image\n/image a picture.jpg\nWhat is this?\nAnd now?\n/save seen.json\n'
                '/clear\n/load seen.json\n/regen\n')
        out, err = damso('chat', '-n', '4', '--temp', '0', stdin=talk.encode())
        for words in ('nothing.png: No such file', 'Say which file', 'sent with the next message: a picture.jpg',
                      'Loaded, messages: 4'):
            self.assertIn(words, err)
        with open(f'{folder}/seen.json') as f:
            m = [m['content'] for m in json.load(f)['messages']]
        self.assertEqual(m[0], [{'type': 'image', 'path': 'a picture.jpg'}, {'type': 'text', 'text': 'What is this?'}])
        self.assertEqual(m[2], 'And now?')
        self.assertTrue(out.endswith(m[3] + '\n' + m[3] + '\n'), (out, m[3]))  # written again, the same
        _, err = damso('chat', '-m', SMALL, stdin=b'/image a picture.jpg\n/load seen.json\n/regen\n')
        self.assertEqual(err.count('a picture.jpg: this model takes text alone'), 2, err)


class Web(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def sha256(path):
    with open(path, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Pulled(unittest.TestCase):
    """A model's projector comes with it, from a web server of ours on 127.0.0.1."""

    def setUp(self):
        web = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Web, directory=folder))
        threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
        self.addCleanup(web.server_close)
        self.addCleanup(web.shutdown)
        self.models = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.models)
        os.symlink(f'{MODELS}/{SMALL}.gguf', f'{self.models}/{SMALL}.gguf')
        files = f'{folder}/{GEMMA}.gguf', f'{folder}/mmproj-{GEMMA}.gguf'
        model, projector = ({'bytes': os.path.getsize(f), 'sha256': sha256(f), 'gb': 0.001, 'sources': [
            {'url': f'http://127.0.0.1:{web.server_port}/{os.path.basename(f)}', 'tried': 'yes'}]} for f in files)
        rest = {'title': 'T', 'architecture': 'gemma3', 'engine': 'yes', 'about': {'en': 'a', 'ko': 'a'},
                'memory_gib': 0.01, 'context': 1, 'licence': {'name': 'MIT', 'url': 'https://example.org'}}
        wrong = {**projector, 'sha256': '0' * 64}
        self.sizes = model['bytes'], projector['bytes']
        with open(f'{self.models}/catalogue.yaml', 'w') as f:  # JSON is YAML
            json.dump({'models': [
                {**model, **rest, 'name': SMALL, 'file': f'{SMALL}.gguf'},
                {**model, **rest, 'name': 'seeing', 'file': 'Seeing-Q4.gguf', 'projector': projector},
                {**model, **rest, 'name': 'wrong', 'file': 'wrong.gguf', 'projector': wrong}]}, f)
        self.catalogue = f'{self.models}/catalogue.yaml'

    def here(self):
        return sorted(f for f in os.listdir(self.models) if 'Q4' in f or 'wrong' in f)

    def test_command(self):
        def run(*args, want=0):
            return damso(*args, want=want, models=self.models, DAMSO_CATALOGUE=self.catalogue)
        _, err = run('pull', 'wrong', want=4)
        self.assertIn('mmproj-wrong.gguf: the sha256 of what arrived is', err)
        self.assertEqual(self.here(), [])
        out, _ = run('pull', 'seeing')
        self.assertIn('projector of seeing is whole, its sha256 is right', out)
        self.assertEqual(self.here(), ['Seeing-Q4.gguf', 'mmproj-Seeing-Q4.gguf'])
        os.remove(f'{self.models}/mmproj-Seeing-Q4.gguf')  # as an older version left it
        told = {m['name']: m for m in json.loads(run('models', '--json')[0])}['seeing']
        self.assertEqual((told['state'], told['projector']['state']), ('whole', 'missing'))
        out, _ = run('pull', 'seeing', '--verify')
        self.assertIn('projector of seeing is whole', out)
        self.assertIn('seeing: the sha256 is right', out)
        lines = [json.loads(l) for l in run('pull', 'seeing', '--progress', 'json')[0].splitlines()]
        self.assertEqual(lines, [{'status': 'success', 'completed': sum(self.sizes), 'total': sum(self.sizes)}])

    def test_while_serving(self):
        """The model sees pictures at once, as it does where both files were there before."""
        other = Server(DAMSO, models=self.models, DAMSO_MODEL=SMALL, DAMSO_CATALOGUE=self.catalogue, no_proxy='*')
        _, lines = other.lines('/api/pull', {'model': 'seeing'})
        self.assertEqual(lines[-1], {'status': 'success'})
        done = [l['completed'] for l in lines if 'completed' in l]
        self.assertEqual((done, done[-1]), (sorted(done), sum(self.sizes)))
        want = server.post('/v1/chat/completions', ask(url(PNG), text('What is this?')))
        got = other.post('/v1/chat/completions', {**ask(url(PNG), text('What is this?')), 'model': 'seeing'})
        self.assertEqual((want[0], got[0]), (200, 200), got)
        self.assertEqual(got[1]['choices'], want[1]['choices'])
        self.assertEqual(other.close(), 0)

    def test_projector_comes_later(self):
        """A model that is open without a projector sees by the next request after one has come."""
        def pull_by_api(other):
            self.assertEqual(other.lines('/api/pull', {'model': 'seeing'})[1][-1], {'status': 'success'})

        def pull_by_command(_):
            damso('pull', 'seeing', models=self.models, DAMSO_CATALOGUE=self.catalogue)
        os.link(f'{folder}/{GEMMA}.gguf', f'{self.models}/Seeing-Q4.gguf')
        question = {**ask(url(PNG), text('What is this?')), 'model': 'seeing'}
        want = server.post('/v1/chat/completions', ask(url(PNG), text('What is this?')))[1]
        for pull in pull_by_api, pull_by_command:
            other = Server(DAMSO, models=self.models, DAMSO_MODEL=SMALL, DAMSO_CATALOGUE=self.catalogue, no_proxy='*')

            def sees():
                return {m['id']: m['pictures'] for m in other.get('/api/v1/me')[1]['models']}['seeing']
            status, o = other.post('/v1/chat/completions', question)
            self.assertEqual((status, sees()), (400, False), o)
            self.assertIn('this model takes text', o['error']['message'])
            pull(other)
            self.assertTrue(sees())
            status, o = other.post('/v1/chat/completions', question)
            self.assertEqual(status, 200, o)
            self.assertEqual(o['choices'], want['choices'])
            self.assertEqual(other.close(), 0)
            os.remove(f'{self.models}/mmproj-Seeing-Q4.gguf')


if __name__ == '__main__':
    unittest.main()
