#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Anthropic's API from outside: tests/anthropic_test.py DAMSO.  Needs DAMSO_TEST_MODELS; where the
client package is installed, it is used, too.  What a small model says proves nothing, so answers
are forced into shapes (guided_choice, an extension; schemas of tools that leave one value)."""
import asyncio, json, os, sys, unittest

from served import EXACT, MODELS, ONLY, SMALL, Server, client, thinking_model

anthropic = client('anthropic')
DAMSO = os.path.abspath(sys.argv.pop(1))
LOOK = {'name': 'look', 'description': 'Looks at a place', 'input_schema': ONLY}
CALL = {'tools': [LOOK], 'tool_choice': {'type': 'any', 'disable_parallel_tool_use': True}}
SCHEMA = {'type': 'object', 'properties': {'a': {'enum': [1, 2]}}, 'required': ['a'],
          'additionalProperties': False}


def setUpModule():
    global server
    if MODELS:
        server = Server(DAMSO, '-m', SMALL)


def tearDownModule():
    if MODELS and server.close() != 0:
        raise AssertionError('the server did not end well')


def user(content):
    return [{'role': 'user', 'content': content}]


def ask(messages='Say it.', say=None, **fields):
    body = {'model': SMALL, 'max_tokens': 200, 'temperature': 0,
            'messages': user(messages) if isinstance(messages, str) else messages, **fields}
    if say is not None:
        body['guided_choice'] = [say]
    return body


def count(messages, **fields):
    body = ask(messages, **fields)
    del body['max_tokens']
    return server.post('/v1/messages/count_tokens', body)[1]['input_tokens']


def n_tokens(text):
    return server.post('/tokenize', {'content': text, 'parse_special': False})[1]['count']


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Raw(unittest.TestCase):
    def message(self, *args, **fields):
        status, m = server.post('/v1/messages', ask(*args, **fields))
        self.assertEqual(status, 200, m)
        return m

    def test_a_message(self):
        m = self.message('A question only asked here.', say='one two')
        self.assertRegex(m['id'], r'^msg_\w{24}$')
        self.assertEqual({k: m[k] for k in ('type', 'role', 'model', 'content', 'stop_reason',
                                            'stop_sequence')},
                         {'type': 'message', 'role': 'assistant', 'model': SMALL,
                          'content': [{'type': 'text', 'text': 'one two'}],
                          'stop_reason': 'end_turn', 'stop_sequence': None})
        again = self.message('A question only asked here.', say='one two')['usage']
        n = count('A question only asked here.')
        self.assertEqual(m['usage']['input_tokens'] + m['usage']['cache_read_input_tokens'], n)
        self.assertEqual(again['input_tokens'] + again['cache_read_input_tokens'], n)
        self.assertGreater(again['cache_read_input_tokens'], n // 2)
        self.assertEqual(again['cache_creation_input_tokens'], 0)

    def test_a_stream(self):
        events = server.events('/v1/messages', ask(say='one two', stream=True))
        self.assertTrue(all(name == data['type'] for name, data in events))
        names = [name for name, _ in events]
        self.assertEqual(names[:3], ['message_start', 'ping', 'content_block_start'])
        self.assertEqual(set(names[3:-3]), {'content_block_delta'})
        self.assertEqual(names[-3:], ['content_block_stop', 'message_delta', 'message_stop'])
        start, end = events[0][1]['message'], events[-2][1]
        self.assertEqual((start['content'], start['stop_reason']), ([], None))
        self.assertEqual(''.join(d['delta']['text'] for _, d in events[3:-3]), 'one two')
        self.assertEqual(end['delta'], {'stop_reason': 'end_turn', 'stop_sequence': None})
        self.assertEqual(end['usage']['input_tokens'] + end['usage']['cache_read_input_tokens'],
                         start['usage']['input_tokens'])

    def test_limits_and_stop_sequences(self):
        m = self.message(say='one two three', max_tokens=1)
        self.assertEqual((m['stop_reason'], m['usage']['output_tokens']), ('max_tokens', 1))
        for field in ({}, {'stream': True}):
            body = ask(say='one two three', stop_sequences=['four', ' th'], **field)
            if field:
                got = server.events('/v1/messages', body)[-2][1]['delta']
            else:
                got = server.post('/v1/messages', body)[1]
                self.assertEqual(got['content'][0]['text'], 'one two')
            self.assertEqual((got['stop_reason'], got['stop_sequence']), ('stop_sequence', ' th'))

    def test_a_call(self):
        m = self.message(**CALL)
        call = m['content'][-1]
        self.assertRegex(call.pop('id'), r'^toolu_\w{24}$')
        self.assertEqual(call, {'type': 'tool_use', 'name': 'look', 'input': EXACT})
        self.assertEqual(m['stop_reason'], 'tool_use')

    def test_calls_in_a_stream(self):
        for choice in (CALL['tool_choice'], {'type': 'any'}):
            events = server.events('/v1/messages',
                                   ask(**{**CALL, 'tool_choice': choice}, stream=True))
            starts = [d for n, d in events if n == 'content_block_start']
            self.assertEqual([d['index'] for d in starts], list(range(len(starts))))
            self.assertEqual([d['index'] for n, d in events if n == 'content_block_stop'],
                             list(range(len(starts))))
            calls = {d['index']: '' for d in starts if d['content_block']['type'] == 'tool_use'}
            self.assertGreater(len(calls), 0)
            self.assertTrue(all(d['content_block'].get('input', {}) == {} for d in starts))
            for name, d in events:
                if name == 'content_block_delta' and d['delta']['type'] == 'input_json_delta':
                    calls[d['index']] += d['delta']['partial_json']
            if events[-2][1]['delta']['stop_reason'] == 'max_tokens':  # it went on calling
                calls.popitem()
            self.assertTrue(all(json.loads(text) == EXACT for text in calls.values()), calls)

    def test_a_call_that_is_cut_off_has_an_empty_input(self):
        m = self.message(**CALL, max_tokens=24)
        self.assertEqual((m['content'][-1]['type'], m['content'][-1]['input'], m['stop_reason']),
                         ('tool_use', {}, 'max_tokens'))

    def test_tool_choice(self):
        other = {**LOOK, 'name': 'other'}
        for name in ('look', 'other'):
            m = self.message(tools=[LOOK, other], tool_choice={'type': 'tool', 'name': name})
            self.assertEqual((m['content'][-1]['name'], m['stop_reason']), (name, 'tool_use'))
        m = self.message(say='no', tools=[LOOK], tool_choice={'type': 'none'})
        self.assertEqual(m['content'], [{'type': 'text', 'text': 'no'}])
        self.message(tools=[LOOK], tool_choice={'type': 'auto'}, max_tokens=4)

    def test_results_go_back(self):
        def talk(**result):
            return [*user([{'type': 'text', 'text': 'Look.', 'cache_control': {'type': 'ephemeral'}}]),
                    {'role': 'assistant', 'content': [
                        {'type': 'thinking', 'thinking': 'hm', 'signature': 'x'},
                        {'type': 'redacted_thinking', 'data': 'abc'},
                        {'type': 'text', 'text': 'I look.'},
                        {'type': 'tool_use', 'id': 'toolu_1', 'name': 'look', 'input': {'x': 1}}]},
                    {'role': 'user', 'content': [
                        {'type': 'tool_result', 'tool_use_id': 'toolu_1', **result},
                        {'type': 'text', 'text': 'So?'}]}]
        m = self.message(talk(content='a tree'), say='A tree.', tools=[LOOK],
                         tool_choice={'type': 'none'})
        self.assertEqual(m['content'][0]['text'], 'A tree.')
        one = count(talk(content='a tree'), tools=[LOOK])
        blocks = [{'type': 'text', 'text': 'a tree'}]
        self.assertEqual(count(talk(content=blocks), tools=[LOOK]), one)
        self.assertGreater(count(talk(content='a tree', is_error=True), tools=[LOOK]), one)
        self.assertLess(count(talk(), tools=[LOOK]), one)

    def test_turns_of_one_role_are_one(self):
        two = [*user('First.'), *user([{'type': 'text', 'text': 'Second.'}])]
        self.assertEqual(count(two), count('First.\nSecond.'))

    def test_system(self):
        blocks = [{'type': 'text', 'text': 'Be kind.', 'cache_control': {'type': 'ephemeral'}},
                  {'type': 'text', 'text': 'Be brief.'}]
        self.assertEqual(count('x', system=blocks), count('x', system='Be kind.\nBe brief.'))
        self.assertNotEqual(count('x', system=blocks), count('x'))

    def test_an_answer_that_is_begun(self):
        begun = [*user('Count.'), {'role': 'assistant', 'content': 'One, <|im_end|> two,'}]
        self.assertEqual(count(begun) - count('Count.'), n_tokens('One, <|im_end|> two,'))
        m = self.message(begun, say=' three')
        self.assertEqual(m['content'][0]['text'], ' three')

    def test_structured_output(self):
        for field in ({'output_config': {'format': {'type': 'json_schema', 'schema': SCHEMA}}},
                      {'output_format': {'type': 'json_schema', 'schema': SCHEMA}}):
            text = self.message(**field)['content'][0]['text']
            self.assertRegex(text, r'^\{\s*"a"\s*:\s*[12]\s*\}$')

    def test_fields_that_change_nothing(self):
        self.message(say='x', metadata={'user_id': 'u'}, service_tier='auto', top_k=5, top_p=0.9)

    def test_refusals(self):
        image = [{'type': 'image', 'source': {'type': 'url', 'url': 'https://example.org'}}]
        cut = [*user('x'), {'role': 'assistant', 'content': [
            {'type': 'tool_use', 'id': 'a', 'name': 'look', 'input': {}}]}]
        for fields, words in [
            ({'max_tokens': None}, 'max_tokens'),
            ({'max_tokens': 0}, 'max_tokens'),
            ({'temperature': 1.1}, 'temperature'),
            ({'messages': []}, 'messages'),
            ({'messages': [{'role': 'system', 'content': 'x'}]}, r'messages\[0\].role'),
            ({'messages': [{'role': 'x' + '가' * 20, 'content': 'x'}]}, '가\ufffd'),  # cut in a character
            ({'messages': user(image)}, r'messages\[0\].content\[0\].*base64'),
            ({'messages': user([{'type': 'tool_result', 'tool_use_id': 'nix'}])}, 'nix'),
            ({'messages': user([{'type': 'tool_use', 'id': 'a', 'name': 'b', 'input': {}}])}, 'user'),
            ({'messages': cut}, 'without results'),
            ({'messages': user(7)}, 'content'),
            ({'tools': [{'type': 'web_search_20250305', 'name': 'web_search'}]}, 'web_search_20250305'),
            ({'tools': [{'name': 'no schema'}]}, 'name'),
            ({'tools': [{'name': 'look'}]}, 'input_schema'),
            ({'tools': [LOOK], 'tool_choice': {'type': 'tool', 'name': 'nix'}}, 'nix'),
            ({'tool_choice': {'type': 'any'}}, 'any'),
            ({'tool_choice': {'type': 'some'}}, 'some'),
            ({'thinking': {'type': 'much'}}, 'much'),
            ({'mcp_servers': [{'type': 'url'}]}, 'mcp_servers'),
            ({'container': 'c'}, 'container'),
            ({'n': 2}, 'n:'),
            ({'output_config': {'format': {'type': 'xml'}}}, 'output_config.format.type'),
            ({'messages': user('word ' * 3000)}, r'\d{4} tokens.*2048'),
        ]:
            status, headers, text = server.raw('POST', '/v1/messages', {**ask(), **fields})
            error = server.post('/v1/messages', {**ask(), **fields})[1]
            self.assertEqual((status, error['type'], error['error']['type']),
                             (400, 'error', 'invalid_request_error'), fields)
            self.assertRegex(error['error']['message'], words)
            self.assertIn(f'"request_id":"{headers["request-id"]}"', text.decode())

    def test_models(self):
        status, page = server.get('/v1/models', anthropic_version='2023-06-01')
        one = page['data'][0]
        self.assertEqual((page['has_more'], page['first_id'], page['last_id']), (False, SMALL, SMALL))
        self.assertEqual((one['type'], one['id']), ('model', SMALL))
        self.assertRegex(one['created_at'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$')
        self.assertEqual(server.get(f'/v1/models/{SMALL}', anthropic_version='x')[1], one)
        self.assertEqual(server.get('/v1/models')[1]['object'], 'list')


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Thinking(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.path = f'{server.dir}/thinks.gguf'
        thinking_model(cls.path)
        cls.server = Server(DAMSO, '-m', cls.path)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.close() == 0

    def test_blocks(self):
        body = ask(say='<think>because</think>so', thinking={'type': 'enabled', 'budget_tokens': 1024})
        thought, text = self.server.post('/v1/messages', body)[1]['content']
        self.assertEqual((thought['type'], thought['thinking']), ('thinking', 'because'))
        self.assertTrue(thought['signature'])
        self.assertEqual(text, {'type': 'text', 'text': 'so'})
        events = self.server.events('/v1/messages', {**body, 'stream': True})
        deltas = [(d['index'], d['delta']['type']) for n, d in events if n == 'content_block_delta']
        self.assertEqual(sorted(set(deltas)), [(0, 'signature_delta'), (0, 'thinking_delta'),
                                               (1, 'text_delta')])
        self.assertEqual(deltas[-1][0], 1)
        self.assertEqual(deltas.count((0, 'signature_delta')), 1)
        back = [*user('x'), {'role': 'assistant', 'content': [thought, text]}, *user('y')]
        plain = [*user('x'), {'role': 'assistant', 'content': [text]}, *user('y')]
        n = [self.server.post('/v1/messages/count_tokens', ask(m))[1]['input_tokens']
             for m in (back, plain)]
        self.assertGreater(n[0], n[1])

    def test_switch(self):
        def tokens(**fields):
            return self.server.post('/v1/messages/count_tokens', ask(**fields))[1]['input_tokens']
        off = tokens(thinking={'type': 'disabled'})
        self.assertEqual(tokens(), off)
        self.assertLess(tokens(thinking={'type': 'enabled', 'budget_tokens': 1024}), off)
        self.assertLess(tokens(thinking={'type': 'adaptive'}), off)


@unittest.skipUnless(MODELS and anthropic, 'the package anthropic or DAMSO_TEST_MODELS is not there')
class Client(unittest.TestCase):
    def setUp(self):
        self.client = anthropic.Anthropic(base_url=server.url, api_key='none', max_retries=0)

    def tearDown(self):
        self.client.close()

    def fields(self, say=None, **more):
        more = {'model': SMALL, 'max_tokens': 200, 'messages': user('Say it.'), **more}
        if say is not None:
            more['extra_body'] = {'guided_choice': [say], 'temperature': 0}
        return more

    def test_create(self):
        m = self.client.messages.create(**self.fields('one two'))
        self.assertEqual((m.content[0].text, m.stop_reason), ('one two', 'end_turn'))
        self.assertTrue(m._request_id)

    def test_stream(self):
        with self.client.messages.stream(**self.fields('one two')) as stream:
            self.assertEqual(''.join(stream.text_stream), 'one two')
            m = stream.get_final_message()
        self.assertEqual((m.content[0].text, m.stop_reason), ('one two', 'end_turn'))
        self.assertGreater(m.usage.output_tokens, 0)

    def test_tools_there_and_back(self):
        with self.client.messages.stream(**self.fields(**CALL)) as stream:
            m = stream.get_final_message()
        call = m.content[-1]
        self.assertEqual((m.stop_reason, call.name, call.input), ('tool_use', 'look', EXACT))
        talk = [*user('Say it.'), {'role': 'assistant', 'content': m.content},
                {'role': 'user', 'content': [
                    {'type': 'tool_result', 'tool_use_id': call.id, 'content': 'a tree'}]}]
        m = self.client.messages.create(**self.fields('A tree.', tools=[LOOK], messages=talk,
                                                      tool_choice={'type': 'none'}))
        self.assertEqual(m.content[0].text, 'A tree.')

    def test_count_and_models(self):
        n = self.client.messages.count_tokens(model=SMALL, messages=user('Say it.'))
        self.assertEqual(n.input_tokens, count('Say it.'))
        self.assertEqual([m.id for m in self.client.models.list()], [SMALL])
        self.assertEqual(self.client.models.retrieve(SMALL).display_name, SMALL)

    def test_errors(self):
        with self.assertRaises(anthropic.BadRequestError) as caught:
            self.client.messages.create(**self.fields(tool_choice={'type': 'any'}))
        self.assertIn('tool_choice', str(caught.exception))
        self.assertTrue(caught.exception.request_id)

    def test_async(self):
        async def talk():
            async with anthropic.AsyncAnthropic(base_url=server.url, api_key='none') as client:
                m = await client.messages.create(**self.fields('one two'))
                async with client.messages.stream(**self.fields('one two')) as stream:
                    return m.content[0].text, await stream.get_final_text()
        self.assertEqual(asyncio.run(talk()), ('one two', 'one two'))


if __name__ == '__main__':
    unittest.main()
