#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ollama's API from outside: tests/ollama_test.py DAMSO.  Needs DAMSO_TEST_MODELS; where the client
package is installed, it is used, too.  Answers are forced into shapes by format, or by
guided_choice among the options, an extension."""
import asyncio, math, os, sys, unittest

from served import EXACT, MODELS, ONLY, SMALL, Server, client, thinking_model

ollama = client('ollama')
DAMSO = os.path.abspath(sys.argv.pop(1))
OTHER = 'gemma3-270m'
LOOK = {'type': 'function', 'function': {
    'name': 'look', 'description': 'Looks at a place', 'parameters': ONLY}}
# tool_choice is OpenAI's; it is taken here, too
CALL = {'tools': [LOOK], 'tool_choice': 'required', 'parallel_tool_calls': False}
SCHEMA = {'type': 'object', 'properties': {'a': {'enum': [1, 2]}}, 'required': ['a'],
          'additionalProperties': False}
TIMES = ('total_duration', 'load_duration', 'prompt_eval_duration', 'eval_duration')
STAMP = r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$'


def setUpModule():
    global server
    if MODELS:
        server = Server(DAMSO, DAMSO_MODEL=SMALL)


def tearDownModule():
    if MODELS and server.close() != 0:
        raise AssertionError('the server did not end well')


def options(say=None, **more):
    return {'temperature': 0, 'num_predict': 200, **({'guided_choice': [say]} if say else {}), **more}


def chat(say=None, messages=None, opts=None, **fields):
    return {'model': SMALL, 'messages': messages or [{'role': 'user', 'content': 'Say it.'}],
            'options': options(say, **(opts or {})), **fields}


def generate(say=None, opts=None, **fields):
    return {'model': SMALL, 'prompt': 'Say it.', 'options': options(say, **(opts or {})), **fields}


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Raw(unittest.TestCase):
    def check_end(self, o, reason='stop'):
        self.assertEqual((o['done'], o['done_reason']), (True, reason))
        self.assertTrue(all(o[t] >= 0 for t in TIMES), o)
        self.assertGreaterEqual(o['total_duration'], sum(o[t] for t in TIMES[1:]))
        self.assertGreater(min(o['prompt_eval_count'], o['eval_count']), 0)
        self.assertRegex(o['created_at'], STAMP)

    def good(self, path, body):
        status, o = server.post(path, body)
        self.assertEqual(status, 200, o)
        return o

    def test_chat_is_a_stream(self):
        kind, lines = server.lines('/api/chat', chat('one two'))
        self.assertEqual(kind, 'application/x-ndjson')
        self.assertEqual(''.join(l['message']['content'] for l in lines), 'one two')
        self.assertTrue(all(l['model'] == SMALL and l['message']['role'] == 'assistant'
                            for l in lines))
        self.assertEqual([l['done'] for l in lines], [False] * (len(lines) - 1) + [True])
        self.assertNotIn('done_reason', lines[0])
        self.check_end(lines[-1])

    def test_chat_whole(self):
        o = self.good('/api/chat', chat('one two', stream=False, keep_alive='5m'))
        self.assertEqual(o['message'], {'role': 'assistant', 'content': 'one two'})
        self.check_end(o)

    def test_limits(self):
        o = self.good('/api/chat', chat('one two three', stream=False, opts={'num_predict': 1}))
        self.check_end(o, 'length')
        self.assertEqual(o['eval_count'], 1)
        for n in (-1, -2):
            self.check_end(self.good('/api/chat', chat('one two', stream=False,
                                                       opts={'num_predict': n, 'num_ctx': 9999})))
        o = self.good('/api/chat', chat('one two three', stream=False, opts={'stop': [' th']}))
        self.assertEqual((o['message']['content'], o['done_reason']), ('one two', 'stop'))

    def test_format(self):
        o = self.good('/api/chat', chat(format=SCHEMA, stream=False))
        self.assertRegex(o['message']['content'], r'^\{\s*"a"\s*:\s*[12]\s*\}$')
        o = self.good('/api/generate', generate(format=SCHEMA, stream=False))
        self.assertRegex(o['response'], r'^\{\s*"a"\s*:\s*[12]\s*\}$')
        o = self.good('/api/generate', generate(format='json', stream=False, opts={'num_predict': 9}))
        self.assertRegex(o['response'], r'^\{')

    def test_calls(self):
        want = [{'index': 0, 'name': 'look', 'arguments': EXACT}]
        message = self.good('/api/chat', chat(**CALL, stream=False))['message']
        self.assertEqual([c['function'] for c in message['tool_calls']], want)
        _, lines = server.lines('/api/chat', chat(**CALL))
        got = [c['function'] for l in lines for c in l['message'].get('tool_calls', [])]
        self.assertEqual(got, want)
        self.check_end(lines[-1])
        cut = self.good('/api/chat', chat(**CALL, stream=False, opts={'num_predict': 24}))
        self.assertEqual(cut['message']['tool_calls'][0]['function']['arguments'], {})
        self.assertEqual(cut['done_reason'], 'length')

    def test_results_go_back(self):
        def talk(result):
            return [{'role': 'user', 'content': 'Look.'},
                    {'role': 'assistant', 'content': '', 'thinking': 'hm',
                     'tool_calls': [{'function': {'name': 'look', 'arguments': {'x': 1}}}]},
                    {'role': 'tool', 'content': result, 'tool_name': 'look'}]
        n = [self.good('/api/chat', chat('A.', messages=talk(result), stream=False))
             ['prompt_eval_count'] for result in ('a', 'a tree and a tree')]
        self.assertGreater(n[1], n[0])

    def test_generate(self):
        _, lines = server.lines('/api/generate', generate('one two'))
        self.assertEqual(''.join(l['response'] for l in lines), 'one two')
        self.check_end(lines[-1])
        plain = self.good('/api/generate', generate('one', stream=False))
        kind = self.good('/api/generate', generate('one', stream=False, system='Be very kind.'))
        self.assertNotEqual(plain['prompt_eval_count'], kind['prompt_eval_count'])
        n = server.post('/tokenize', {'content': 'Say it.', 'add_special': True})[1]['count']
        raw = self.good('/api/generate', generate('one', stream=False, raw=True))
        self.assertEqual((raw['prompt_eval_count'], raw['response']), (n, 'one'))

    def test_nothing_to_say_loads_the_model(self):
        for path, body in (('/api/chat', {'model': SMALL, 'messages': []}),
                           ('/api/generate', {'model': SMALL, 'keep_alive': -1})):
            kind, lines = server.lines(path, body)
            self.assertEqual((kind, len(lines)), ('application/x-ndjson', 1))
            self.assertEqual((lines[0]['done'], lines[0]['done_reason']), (True, 'load'))

    def test_embed(self):
        o = self.good('/api/embed', {'model': SMALL, 'input': ['one', 'two three']})
        self.assertEqual([len(v) for v in o['embeddings']], [576, 576])
        self.assertTrue(all(abs(math.hypot(*v) - 1) < 1e-4 for v in o['embeddings']))
        self.assertGreater(min(o['prompt_eval_count'], o['total_duration']), 0)
        one = self.good('/api/embed', {'model': SMALL, 'input': 'one', 'dimensions': 8})
        self.assertEqual(len(one['embeddings'][0]), 8)
        self.assertEqual(self.good('/api/embed', {'model': SMALL, 'input': []})['embeddings'], [])
        old = self.good('/api/embeddings', {'model': SMALL, 'prompt': 'one'})
        self.assertEqual(len(old['embedding']), 576)
        long = {'model': SMALL, 'input': 'word ' * 3000}
        self.assertEqual(self.good('/api/embed', long)['prompt_eval_count'], 2048)
        status, o = server.post('/api/embed', {**long, 'truncate': False})
        self.assertEqual(status, 400)
        self.assertRegex(o['error'], r'\d{4} tokens.*2048')

    def test_lists(self):
        status, o = server.get('/api/tags')
        small = next(m for m in o['models'] if m['name'] == SMALL)
        self.assertEqual({m['name'] for m in o['models']} & {SMALL, OTHER}, {SMALL, OTHER})
        self.assertEqual(small['details'], {
            'parent_model': '', 'format': 'gguf', 'family': 'llama', 'families': ['llama'],
            'parameter_size': '134.52M', 'quantization_level': 'Q4_1'})
        self.assertEqual(small['size'], os.path.getsize(f'{MODELS}/{SMALL}.gguf'))
        self.assertRegex(small['digest'], r'^[0-9a-f]{64}$')
        self.assertRegex(small['modified_at'], STAMP)
        running = server.get('/api/ps')[1]['models']
        self.assertEqual(running[0]['name'], SMALL)
        self.assertEqual((running[0]['size_vram'], running[0]['context_length']), (0, 2048))
        self.assertRegex(server.get('/api/version')[1]['version'], r'^\d+\.\d+\.\d+$')
        self.assertEqual(server.raw('HEAD', '/')[0], 200)
        self.assertIn('담소', server.raw('GET', '/')[2].decode())

    def test_show(self):
        o = self.good('/api/show', {'model': f'{SMALL}:latest'})
        self.assertIn('completion', o['capabilities'])
        self.assertIn('<|im_start|>', o['template'])
        info = o['model_info']
        self.assertEqual((info['general.architecture'], info['llama.embedding_length'],
                          info['general.parameter_count'], info['tokenizer.ggml.tokens']),
                         ('llama', 576, 134515008, None))
        self.assertNotIn('tensors', o)
        whole = self.good('/api/show', {'name': SMALL, 'verbose': True})
        self.assertEqual(len(whole['model_info']['tokenizer.ggml.tokens']), 49152)
        self.assertIn({'name': 'output_norm.weight', 'type': 'F32', 'shape': [576]}, whole['tensors'])
        closed = self.good('/api/show', {'model': OTHER})  # without opening it
        self.assertEqual(closed['details']['family'], 'gemma3')
        self.assertEqual(len(server.get('/api/ps')[1]['models']), 1)

    def test_refusals(self):
        for path, body, status, words in [
            ('/api/chat', chat(messages=[{'role': 'user', 'content': 'x', 'images': ['aa']}]), 400,
             r'messages\[0\].images'),
            ('/api/chat', chat(messages=[{'role': 'nix', 'content': 'x'}]), 400, 'nix'),
            ('/api/chat', chat(messages='x'), 400, 'messages'),
            ('/api/chat', chat(think='some'), 400, 'think'),
            ('/api/chat', chat(think=True), 400, 'does not support thinking'),
            ('/api/chat', chat(format='xml'), 400, 'format'),
            ('/api/chat', chat(opts={'temperature': 'warm'}), 400, 'options.temperature'),
            ('/api/chat', chat(opts={'mirostat': 1}), 400, 'mirostat'),
            ('/api/chat', chat(opts={'n': 2}), 400, 'options.n'),
            ('/api/chat', chat(logprobs=True), 400, 'logprobs'),
            ('/api/chat', {**chat(), 'model': 'nix'}, 404, 'nix'),
            ('/api/generate', generate(suffix='x'), 400, 'suffix'),
            ('/api/generate', generate(template='x'), 400, 'template'),
            ('/api/generate', generate(context=[1, 2]), 400, 'context'),
            ('/api/generate', generate(images=['aa']), 400, 'images'),
            ('/api/generate', generate(raw=True, system='x'), 400, 'system'),
            ('/api/generate', generate(prompt=7), 400, 'prompt'),
            ('/api/show', {'model': 'nix'}, 404, 'nix'),
            ('/api/create', {'model': 'x'}, 501, '/api/create'),
            ('/api/copy', {'source': 'x'}, 501, '/api/copy'),
            ('/api/push', {'model': 'x'}, 501, '/api/push'),
            ('/api/blobs/sha256:0', {}, 501, '/api/blobs'),
        ]:
            got, o = server.post(path, body)
            self.assertEqual((got, list(o)), (status, ['error']), body)
            self.assertRegex(o['error'], words)
        self.assertEqual(server.raw('DELETE', '/api/delete', {'model': SMALL})[0], 501)

    def test_fields_that_change_nothing(self):
        self.good('/api/chat', chat('x', stream=False, suffix='', template='', images=[], logprobs=False,
                                    opts={'num_gpu': 1, 'num_thread': 2, 'num_keep': 3,
                                          'repeat_last_n': 0, 'seed': 7, 'min_p': 0.1}))


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Thinking(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        path = f'{server.dir}/thinks.gguf'
        thinking_model(path)
        cls.server = Server(DAMSO, '-m', path)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.close() == 0

    def test_thinking(self):
        say = '<think>because</think>so'
        o = self.server.post('/api/chat', chat(say, think=True, stream=False))[1]
        self.assertEqual((o['message']['thinking'], o['message']['content']), ('because', 'so'))
        _, lines = self.server.lines('/api/chat', chat(say, think='high'))
        for name, want in (('thinking', 'because'), ('content', 'so')):
            self.assertEqual(''.join(l['message'].get(name, '') for l in lines), want)
        _, lines = self.server.lines('/api/generate', generate(say, think=True))
        for name, want in (('thinking', 'because'), ('response', 'so')):
            self.assertEqual(''.join(l.get(name, '') for l in lines), want)
        n = [self.server.post('/api/chat', chat('x', think=t, stream=False))[1]['prompt_eval_count']
             for t in (True, False)]
        self.assertLess(n[0], n[1])
        self.assertIn('thinking', self.server.post('/api/show', {})[1]['capabilities'])


@unittest.skipUnless(MODELS and ollama, 'the package ollama or DAMSO_TEST_MODELS is not there')
class Client(unittest.TestCase):
    def setUp(self):
        self.client = ollama.Client(host=server.url)

    def tearDown(self):
        self.client._client.close()

    def test_chat(self):
        o = self.client.chat(**chat('one two'))
        self.assertEqual((o.message.content, o.done, o.done_reason), ('one two', True, 'stop'))
        parts = list(self.client.chat(**chat('one two'), stream=True))
        self.assertEqual(''.join(p.message.content for p in parts), 'one two')
        self.assertGreater(parts[-1].eval_count, 0)

    def test_structured_output(self):
        o = self.client.chat(**chat(format=SCHEMA))
        self.assertRegex(o.message.content, r'^\{\s*"a"\s*:\s*[12]\s*\}$')

    def test_tools_there_and_back(self):
        # what chat() does, with a member that it does not know
        o = self.client._request(ollama.ChatResponse, 'POST', '/api/chat',
                                 json=chat(**CALL, stream=False))
        call = o.message.tool_calls[0]
        self.assertEqual((call.function.name, call.function.arguments), ('look', EXACT))
        talk = [{'role': 'user', 'content': 'Look.'}, o.message,
                {'role': 'tool', 'content': 'a tree', 'tool_name': 'look'}]
        self.assertEqual(self.client.chat(**chat('A tree.', messages=talk)).message.content, 'A tree.')
        o = self.client.chat(**chat(messages=talk, tools=[LOOK], opts={'num_predict': 8}))
        self.assertIn(o.done_reason, ('stop', 'length'))

    def test_generate(self):
        self.assertEqual(self.client.generate(**generate('one two')).response, 'one two')
        parts = list(self.client.generate(**generate('one two'), stream=True))
        self.assertEqual(''.join(p.response for p in parts), 'one two')
        self.assertEqual(self.client.generate(model=SMALL).done_reason, 'load')

    def test_embed(self):
        o = self.client.embed(model=SMALL, input=['one', 'two'], dimensions=8)
        self.assertEqual([len(v) for v in o.embeddings], [8, 8])
        self.assertEqual(len(self.client.embeddings(model=SMALL, prompt='one').embedding), 576)

    def test_lists(self):
        self.assertIn(SMALL, [m.model for m in self.client.list().models])
        self.assertEqual(self.client.ps().models[0].context_length, 2048)
        o = self.client.show(SMALL)
        self.assertEqual(o.modelinfo['llama.embedding_length'], 576)
        self.assertIn('completion', o.capabilities)

    def test_errors(self):
        with self.assertRaises(ollama.ResponseError) as caught:
            self.client.chat(model='nix', messages=[])
        self.assertEqual(caught.exception.status_code, 404)
        with self.assertRaises(ollama.ResponseError) as caught:
            self.client.copy(SMALL, 'b')
        self.assertEqual(caught.exception.status_code, 501)

    def test_async(self):
        async def talk():
            client = ollama.AsyncClient(host=server.url)
            whole = await client.chat(**chat('one two'))
            parts = [p async for p in await client.chat(**chat('one two'), stream=True)]
            await client._client.aclose()
            return whole.message.content, ''.join(p.message.content for p in parts)
        self.assertEqual(asyncio.run(talk()), ('one two', 'one two'))


if __name__ == '__main__':
    unittest.main()
