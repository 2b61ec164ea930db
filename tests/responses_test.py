#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""OpenAI's Responses API and stored chats from outside: tests/responses_test.py DAMSO.  Needs
DAMSO_TEST_MODELS; with the package openai its client is tried, too.  What the model says does not
matter: temperature 0, and shapes by schemas."""
import json, os, shutil, sqlite3, sys, tempfile, time, unittest
from concurrent.futures import ThreadPoolExecutor

from served import MODELS, SMALL, Server, client, new_key

openai = client('openai')
DAMSO = os.path.abspath(sys.argv.pop(1))
KOREAN = '안녕하세요! 👩‍👩‍👧'
SCHEMA = {'type': 'object', 'properties': {'word': {'type': 'string', 'maxLength': 8}, 'n': {'enum': [1, 2]}},
          'required': ['word', 'n'], 'additionalProperties': False}
FORMAT = {'type': 'json_schema', 'name': 'words', 'schema': SCHEMA, 'strict': True}
TOOL = {'type': 'function', 'name': 'weather', 'description': 'The weather of a city.',
        'parameters': {'type': 'object', 'properties': {'city': {'type': 'string'}}, 'required': ['city']}}

# OpenAI's specification: what a response must have, and what this server gives besides.
RESPONSE = {'id', 'object', 'created_at', 'error', 'incomplete_details', 'instructions', 'metadata', 'model',
            'output', 'parallel_tool_calls', 'temperature', 'tool_choice', 'tools', 'top_p', 'status',
            'completed_at', 'background', 'max_output_tokens', 'max_tool_calls', 'previous_response_id',
            'prompt_cache_key', 'reasoning', 'safety_identifier', 'service_tier', 'store', 'text',
            'top_logprobs', 'truncation', 'usage', 'user'}
EVENT = {
    'response.created': {'response'}, 'response.in_progress': {'response'},
    'response.completed': {'response'}, 'response.incomplete': {'response'}, 'response.failed': {'response'},
    'response.output_item.added': {'output_index', 'item'},
    'response.output_item.done': {'output_index', 'item'},
    'response.content_part.added': {'item_id', 'output_index', 'content_index', 'part'},
    'response.content_part.done': {'item_id', 'output_index', 'content_index', 'part'},
    'response.output_text.delta': {'item_id', 'output_index', 'content_index', 'delta', 'logprobs'},
    'response.output_text.done': {'item_id', 'output_index', 'content_index', 'text', 'logprobs'},
    'response.reasoning_text.delta': {'item_id', 'output_index', 'content_index', 'delta'},
    'response.reasoning_text.done': {'item_id', 'output_index', 'content_index', 'text'},
    'response.function_call_arguments.delta': {'item_id', 'output_index', 'delta'},
    'response.function_call_arguments.done': {'item_id', 'output_index', 'arguments', 'name'},
    'error': {'code', 'message', 'param'},
}
ITEM = {'message': {'id', 'type', 'role', 'status', 'content'},
        'reasoning': {'id', 'type', 'status', 'summary', 'content'},
        'function_call': {'id', 'type', 'status', 'call_id', 'name', 'arguments'}}
PART = {'output_text': {'type', 'text', 'annotations', 'logprobs'}, 'reasoning_text': {'type', 'text'}}


def serve(*args, **more):
    return Server(DAMSO, '-m', SMALL, *args, DAMSO_CTX='1024', **more)


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not MODELS:
            raise unittest.SkipTest('DAMSO_TEST_MODELS is not set')
        cls.server = serve()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.close() == 0

    def get(self, path, want=200):
        status, o = self.server.call('GET', path)
        self.assertEqual(status, want, o)
        return o

    def post(self, path, want=200, **body):
        status, o = self.server.call('POST', path, body)
        self.assertEqual(status, want, o)
        return o

    def create(self, input='Say hello.', want=200, **body):
        o = self.post('/v1/responses', want, input=input, **{'temperature': 0, 'max_output_tokens': 8, **body})
        if want == 200:
            self.check_response(o)
        return o

    def refused(self, code, param, words, want=400, path='/v1/responses', **body):
        e = self.post(path, want, **body)['error']
        self.assertEqual(set(e), {'message', 'type', 'param', 'code'})
        self.assertEqual((e['code'], e['param']), (code, param), e)
        self.assertRegex(e['message'], words)

    # ---- shapes ----

    def check_item(self, item):
        self.assertEqual(set(item), ITEM[item['type']])
        self.assertIn(item['status'], ('in_progress', 'completed', 'incomplete'))
        self.assertRegex(item['id'], {'message': '^msg_', 'reasoning': '^rs_', 'function_call': '^fc_'}[item['type']])
        for part in item.get('content', []):
            self.assertEqual(set(part), PART[part['type']])

    def check_response(self, o):
        self.assertLessEqual(RESPONSE, set(o))
        self.assertRegex(o['id'], '^resp_[A-Za-z0-9]{24}$')
        self.assertEqual((o['object'], o['background']), ('response', False))
        self.assertLess(abs(o['created_at'] - time.time()), 300)
        for item in o['output']:
            self.check_item(item)
        if o['status'] == 'in_progress':
            self.assertEqual((o['usage'], o['output']), (None, []))
            return
        u = o['usage']
        self.assertEqual(u['total_tokens'], u['input_tokens'] + u['output_tokens'])
        self.assertLessEqual(u['input_tokens_details']['cached_tokens'], u['input_tokens'])
        self.assertLessEqual(u['output_tokens_details']['reasoning_tokens'], u['output_tokens'])
        if o['status'] == 'completed':
            self.assertGreaterEqual(o['completed_at'], o['created_at'])
            self.assertEqual((o['error'], o['incomplete_details']), (None, None))
            self.assertGreaterEqual(len(o['output']), 1)

    def check_stream(self, events):
        """Every event is whole and in its place; gives the last one's response."""
        output, open_item, open_part, last = [], None, None, None
        self.assertEqual([e['sequence_number'] for _, e in events], list(range(len(events))))
        self.assertEqual([n for n, _ in events[:2]], ['response.created', 'response.in_progress'])
        for name, e in events:
            kind = e['type']
            self.assertEqual(name, kind)
            self.assertEqual(set(e), EVENT[kind] | {'type', 'sequence_number'})
            self.assertIsNone(last, f'{kind} after the end')
            if 'item_id' in e:
                self.assertEqual((e['item_id'], e['output_index']), (open_item['id'], len(output)))
            if 'response' in e:
                self.check_response(e['response'])
                last = None if e['response']['status'] == 'in_progress' else e['response']
            elif kind == 'response.output_item.added':
                self.assertIsNone(open_item)
                open_item, text = e['item'], ''
                self.check_item(open_item)
                self.assertEqual(open_item['status'], 'in_progress')
            elif kind == 'response.content_part.added':
                self.assertEqual(e['part']['text'], '')
                open_part = e['part']
            elif kind.endswith('.delta'):
                self.assertNotEqual(e['delta'], '')
                self.assertTrue(open_part or open_item['type'] == 'function_call')
                text += e['delta']
            elif kind in ('response.output_text.done', 'response.reasoning_text.done'):
                self.assertEqual(e['text'], text)
            elif kind == 'response.function_call_arguments.done':
                self.assertEqual((e['arguments'], e['name']), (text, open_item['name']))
            elif kind == 'response.content_part.done':
                self.assertEqual((e['part']['text'], e['part']['type']), (text, open_part['type']))
                open_part = None
            elif kind == 'response.output_item.done':
                self.assertIsNone(open_part)
                self.check_item(e['item'])
                self.assertEqual(e['item']['id'], open_item['id'])
                output.append(e['item'])
                open_item = None
        self.assertIsNotNone(last, 'the stream has no end')
        self.assertEqual(last['output'], output)
        self.assertEqual(events[-1][0], f'response.{last["status"]}')
        return last

    def stream(self, input='Say hello.', **body):
        body = {'input': input, 'temperature': 0, 'max_output_tokens': 8, 'stream': True, **body}
        return self.check_stream(self.server.events('/v1/responses', body))


def text_of(response):
    return ''.join(p['text'] for item in response['output'] if item['type'] == 'message' for p in item['content'])


class Create(Base):
    def test_a_string_is_answered(self):
        o = self.create(max_output_tokens=64, text={'format': FORMAT})
        self.assertEqual(o['status'], 'completed')
        self.assertEqual(set(json.loads(text_of(o))), {'word', 'n'})
        self.assertEqual(o['text']['format'], FORMAT)
        self.assertEqual(o['store'], True)

    def test_a_stream_and_a_whole_answer_are_the_same(self):
        for body in ({'max_output_tokens': 12}, {'max_output_tokens': 64, 'text': {'format': FORMAT}}):
            a, b = self.create(**body), self.stream(**body)
            self.assertEqual((text_of(a), a['status']), (text_of(b), b['status']))
            mine = {k for k in a if a[k] != b[k]}
            self.assertLessEqual(mine, {'id', 'created_at', 'completed_at', 'output', 'usage'})

    def test_the_limit_makes_it_incomplete(self):
        for o in (self.create(max_output_tokens=3), self.stream(max_output_tokens=3)):
            self.assertEqual((o['status'], o['incomplete_details']), ('incomplete', {'reason': 'max_output_tokens'}))
            self.assertEqual((o['usage']['output_tokens'], o['completed_at']), (3, None))
            self.assertEqual(o['output'][-1]['status'], 'incomplete')

    def test_no_character_is_cut(self):
        fmt = {'type': 'json_schema', 'name': 'k', 'schema': {'const': KOREAN}}
        o = self.stream(max_output_tokens=200, text={'format': fmt})
        self.assertEqual(json.loads(text_of(o)), KOREAN)
        for n in range(1, 12):  # ends anywhere, also within a character
            part = text_of(self.stream(max_output_tokens=n, text={'format': fmt}))
            self.assertNotIn('\ufffd', part)

    def test_all_fields_come_back(self):
        said = {'instructions': 'Be brief.', 'metadata': {'키': '값', 'k' * 64: '글' * 512}, 'temperature': 0.25,
                'top_p': 0.5, 'parallel_tool_calls': False, 'tool_choice': 'none', 'truncation': 'auto',
                'user': 'u', 'safety_identifier': 's', 'prompt_cache_key': 'p', 'service_tier': 'flex',
                'max_output_tokens': 4, 'max_tool_calls': 3, 'top_logprobs': 2, 'store': False}
        o = self.create(tools=[TOOL], text={'verbosity': 'low'}, reasoning={'effort': 'low', 'summary': 'auto'}, **said)
        self.assertEqual({k: o[k] for k in said}, said)
        self.assertEqual(o['tools'], [{**TOOL, 'strict': None}])
        self.assertEqual(o['text'], {'format': {'type': 'text'}, 'verbosity': 'low'})
        self.assertEqual(o['reasoning'], {'effort': 'low', 'summary': 'auto'})
        self.get(f'/v1/responses/{o["id"]}', 404)

    def test_logprobs(self):
        body = {'include': ['message.output_text.logprobs'], 'top_logprobs': 2, 'max_output_tokens': 4}
        for o in (self.create(**body), self.stream(**body)):
            part = o['output'][0]['content'][0]
            self.assertEqual(len(part['logprobs']), 4)
            self.assertEqual(b''.join(bytes(l['bytes']) for l in part['logprobs']).decode(), part['text'])
            for l in part['logprobs']:
                self.assertEqual(set(l), {'token', 'logprob', 'bytes', 'top_logprobs'})
                self.assertEqual(len(l['top_logprobs']), 2)
                self.assertEqual(l['top_logprobs'][0]['token'], l['token'])  # greedy
        self.assertEqual(self.create(top_logprobs=2)['output'][0]['content'][0]['logprobs'], [])

    def test_items_are_the_conversation_that_chats_have(self):
        """Counted with the other endpoint: the same prompt has the same number of tokens."""
        call = {'type': 'function_call', 'call_id': 'c1', 'name': 'weather', 'arguments': '{"city":"Seoul"}'}
        out = {'type': 'function_call_output', 'call_id': 'c1', 'output': 'sunny'}
        for items, messages in (
            ('hi', [{'role': 'user', 'content': 'hi'}]),
            ([{'role': 'user', 'content': [{'type': 'input_text', 'text': 'a'}, {'type': 'input_text', 'text': 'b'}]}],
             [{'role': 'user', 'content': 'a\nb'}]),
            ([{'role': 'developer', 'content': 'x'}, {'role': 'user', 'content': 'hi'},
              {'type': 'message', 'role': 'assistant', 'content': [{'type': 'output_text', 'text': 'yo'}]},
              {'role': 'user', 'content': KOREAN}],
             [{'role': 'system', 'content': 'x'}, {'role': 'user', 'content': 'hi'},
              {'role': 'assistant', 'content': 'yo'}, {'role': 'user', 'content': KOREAN}]),
            ([{'role': 'user', 'content': 'w'},
              {'type': 'reasoning', 'id': 'rs_1', 'summary': [], 'content': [{'type': 'reasoning_text', 'text': 'hm'}]},
              {'role': 'assistant', 'content': 'I look.'}, call, out,
              {**call, 'call_id': 'c2'}, {**out, 'call_id': 'c2', 'output': [{'type': 'input_text', 'text': 'rain'}]}],
             [{'role': 'user', 'content': 'w'},
              {'role': 'assistant', 'content': 'I look.', 'reasoning_content': 'hm', 'tool_calls': [
                  {'id': 'c1', 'type': 'function', 'function': {'name': 'weather', 'arguments': '{"city":"Seoul"}'}}]},
              {'role': 'tool', 'tool_call_id': 'c1', 'content': 'sunny'},
              {'role': 'assistant', 'content': '', 'tool_calls': [
                  {'id': 'c2', 'type': 'function', 'function': {'name': 'weather', 'arguments': '{"city":"Seoul"}'}}]},
              {'role': 'tool', 'tool_call_id': 'c2', 'content': 'rain'}])):
            n = self.post('/v1/responses/input_tokens', input=items)
            chat = self.post('/v1/chat/completions', messages=messages, max_tokens=1)
            self.assertEqual(n, {'object': 'response.input_tokens', 'input_tokens': chat['usage']['prompt_tokens']})
            self.assertEqual(self.create(items)['usage']['input_tokens'], n['input_tokens'])

    def test_instructions_are_the_system_message(self):
        n = [self.post('/v1/responses/input_tokens', **b)['input_tokens'] for b in (
            {'instructions': 'x y z', 'input': 'hi'},
            {'input': [{'role': 'system', 'content': 'x y z'}, {'role': 'user', 'content': 'hi'}]},
            {'instructions': 'x', 'input': [{'role': 'system', 'content': 'y'}, {'role': 'user', 'content': 'hi'}]},
            {'input': [{'role': 'system', 'content': 'x\n\ny'}, {'role': 'user', 'content': 'hi'}]})]
        self.assertEqual((n[0], n[2]), (n[1], n[3]))

    def test_truncation(self):
        turns = []
        for i in range(40):
            turns += [{'role': 'user', 'content': f'Question {i}: ' + 'word ' * 30}, {'role': 'assistant', 'content': 'ok'}]
        items = [{'role': 'system', 'content': 'Be brief.'}, *turns, {'role': 'user', 'content': 'last'}]
        self.refused('context_length_exceeded', 'input', r'1024', input=items)
        self.refused('context_length_exceeded', 'input', r'1024', input=items, truncation='disabled')
        o = self.create(items, truncation='auto', max_output_tokens=8)
        self.assertGreater(o['usage']['input_tokens'], 900)  # no more is left out than must be
        self.assertLessEqual(o['usage']['input_tokens'], 1024 - 8)
        self.assertEqual(len(self.get(f'/v1/responses/{o["id"]}/input_items?limit=100')['data']), 82)
        whole = self.create('short', truncation='auto')
        self.assertEqual(whole['usage']['input_tokens'], self.create('short')['usage']['input_tokens'])
        self.refused('context_length_exceeded', 'input', r'1024', input='word ' * 2000, truncation='auto')

    def test_what_is_not_here_is_refused_by_name(self):
        for name, value, words in (
                ('background', True, 'client'), ('conversation', 'conv_1', 'conversation'),
                ('prompt', {'id': 'x'}, 'prompt'), ('context_management', [], 'compacted'),
                ('moderation', {'model': 'x'}, 'moderated')):
            self.refused('unsupported_parameter', name, words, input='x', **{name: value})
        self.refused('unknown_parameter', 'max_tokens', 'max_tokens', input='x', max_tokens=3)
        self.refused('unknown_parameter', 'no_such', 'no_such', input='x', no_such=None)
        for kind in ('web_search', 'file_search', 'code_interpreter', 'mcp', 'custom', 'image_generation'):
            self.refused('invalid_value', 'tools', kind, input='x', tools=[{'type': kind, 'name': 'x'}])
        self.refused('invalid_value', 'tool_choice', 'file_search', input='x', tools=[TOOL],
                     tool_choice={'type': 'file_search'})
        self.refused('unsupported', None, 'compact', want=501, path='/v1/responses/compact', input='x')
        for ok in ({'background': False}, {'conversation': None}, {'stream_options': None},
                   {'include': ['reasoning.encrypted_content']}, {'seed': 3, 'top_k': 2, 'stop': ['x']}):
            self.create(**ok)

    def test_faults_name_their_field(self):
        call = {'type': 'function_call', 'call_id': 'c', 'name': 'f', 'arguments': '{}'}
        for param, body in (
                ('input', {'input': 3}), ('input', {'input': ['x']}), ('input[0].type', {'input': [{'type': 'nix'}]}),
                ('input[0].role', {'input': [{'role': 'nix', 'content': 'x'}]}),
                ('input[1].content', {'input': [{'role': 'user', 'content': 'x'}, {'role': 'user'}]}),
                ('input[0].call_id', {'input': [{'type': 'function_call_output', 'call_id': 'c', 'output': 'x'}]}),
                ('input[0].arguments', {'input': [{**call, 'arguments': None}]}),
                ('input[1].output', {'input': [call, {'type': 'function_call_output', 'call_id': 'c'}]}),
                ('input[1].id', {'input': [{**call, 'id': 'i'}, {'role': 'user', 'content': 'x', 'id': 'i'}]}),
                ('max_output_tokens', {'input': 'x', 'max_output_tokens': 0}),
                ('temperature', {'input': 'x', 'temperature': 3}), ('top_p', {'input': 'x', 'top_p': -1}),
                ('top_logprobs', {'input': 'x', 'top_logprobs': 21}), ('include', {'input': 'x', 'include': ['nix']}),
                ('truncation', {'input': 'x', 'truncation': 'nix'}), ('user', {'input': 'x', 'user': 3}),
                ('text.format.type', {'input': 'x', 'text': {'format': {'type': 'nix'}}}),
                ('text.format.schema', {'input': 'x', 'text': {'format': {'type': 'json_schema', 'name': 'x'}}}),
                ('text.verbosity', {'input': 'x', 'text': {'verbosity': 'nix'}}),
                ('reasoning.effort', {'input': 'x', 'reasoning': {'effort': 'nix'}}),
                ('metadata', {'input': 'x', 'metadata': {str(i): '' for i in range(17)}}),
                ('metadata', {'input': 'x', 'metadata': {'k' * 65: ''}}),
                ('metadata', {'input': 'x', 'metadata': {'k': '글' * 513}}),
                ('metadata', {'input': 'x', 'metadata': {'k': 3}}),
                ('tools[0].name', {'input': 'x', 'tools': [{'type': 'function', 'name': 'a b'}]}),
                ('tool_choice', {'input': 'x', 'tools': [TOOL], 'tool_choice': {'type': 'function', 'name': 'nix'}}),
                ('tool_choice', {'input': 'x', 'tool_choice': 'required'})):
            self.refused('invalid_value', param, '.', **body)
        self.refused('missing_required_parameter', 'input', 'input', temperature=0)
        self.refused('unsupported_content', 'input[0].content[0]', 'input_image', input=[
            {'role': 'user', 'content': [{'type': 'input_image', 'image_url': 'data:'}]}])
        self.refused('invalid_schema', 'text.format', 'type', input='x', text={'format': {
            **FORMAT, 'schema': {'type': 'nix'}}})
        status, o = self.server.call('POST', '/v1/responses', b'{"input": "x", "input": "y"}')
        self.assertEqual((status, o['error']['type']), (400, 'invalid_request_error'))

    def test_reasoning_comes_first(self):
        """Written by a grammar that leaves the model no choice."""
        said = '<think>\nhm, 글\n</think>\n\nyes'
        body = {'max_output_tokens': 60, 'grammar': 'root ::= ' + json.dumps(said, ensure_ascii=False)}
        for o in (self.create(**body), self.stream(**body)):
            self.assertEqual((o['status'], [i['type'] for i in o['output']]), ('completed', ['reasoning', 'message']))
            self.assertEqual((o['output'][0]['content'][0]['text'], text_of(o)), ('hm, 글', 'yes'))
            self.assertGreater(o['usage']['output_tokens_details']['reasoning_tokens'], 3)
            again = self.create('And?', previous_response_id=o['id'])  # what was thought is no obstacle
            self.assertEqual(again['previous_response_id'], o['id'])
        body['max_output_tokens'] = o['usage']['output_tokens'] - 7  # within what is thought
        for o in (self.create(**body), self.stream(**body)):
            self.assertEqual([(i['type'], i['status']) for i in o['output']], [('reasoning', 'incomplete')])

    def test_calls(self):
        tool = {**TOOL, 'strict': True, 'parameters': {**TOOL['parameters'], 'additionalProperties': False,
                                                       'properties': {'city': {'type': 'string', 'enum': [KOREAN]}}}}
        named = {'type': 'function', 'name': 'weather'}
        for choice in ('required', named, {'type': 'allowed_tools', 'mode': 'required', 'tools': [named]}):
            body = {'tools': [tool, {**tool, 'name': 'other'}], 'tool_choice': choice, 'parallel_tool_calls': False,
                    'max_output_tokens': 200}
            for o in (self.create('w', **body), self.stream('w', **body)):
                self.assertEqual((o['status'], [i['type'] for i in o['output']]), ('completed', ['function_call']))
                call = o['output'][0]
                self.assertEqual((call['status'], json.loads(call['arguments'])), ('completed', {'city': KOREAN}))
                if choice != 'required':
                    self.assertEqual(call['name'], 'weather')
        # the loop of an agent, with and without the store
        result = {'type': 'function_call_output', 'call_id': call['call_id'], 'output': 'rain'}
        a = self.create([result], previous_response_id=o['id'])
        b = self.create([{'role': 'user', 'content': 'w'}, *o['output'], result])
        self.assertEqual((text_of(a), a['usage']['input_tokens']), (text_of(b), b['usage']['input_tokens']))
        body['max_output_tokens'] = o['usage']['output_tokens'] - 10  # within the arguments
        for o in (self.create('w', **body), self.stream('w', **body)):
            self.assertEqual((o['status'], [(i['type'], i['status']) for i in o['output']]),
                             ('incomplete', [('function_call', 'incomplete')]))

    def test_tool_choices_are_taken(self):
        for choice in ('auto', 'none', {'type': 'allowed_tools', 'mode': 'auto',
                                        'tools': [{'type': 'function', 'name': 'weather'}]}):
            o = self.create(tools=[TOOL], tool_choice=choice)
            self.assertEqual(o['tool_choice'], choice)


class State(Base):
    def test_retrieve_is_what_was_answered(self):
        for o in (self.create(metadata={'a': 'b'}), self.stream(metadata={'a': 'b'})):
            self.assertEqual(self.get(f'/v1/responses/{o["id"]}'), o)
            e = self.get(f'/v1/responses/{o["id"]}?stream=true', 400)['error']
            self.assertEqual(e['param'], 'stream')

    def test_a_chain_is_the_whole_conversation(self):
        a = self.create('My name is Mina.', instructions='Only for the first.')
        b = self.create('What is my name?', previous_response_id=a['id'])
        c = self.stream('And yours?', previous_response_id=b['id'])
        said = [{'role': 'user', 'content': 'My name is Mina.'}, {'role': 'assistant', 'content': text_of(a)},
                {'role': 'user', 'content': 'What is my name?'}, {'role': 'assistant', 'content': text_of(b)},
                {'role': 'user', 'content': 'And yours?'}]
        by_hand = self.create(said)
        self.assertEqual((text_of(c), c['usage']['input_tokens']), (text_of(by_hand), by_hand['usage']['input_tokens']))
        self.assertEqual((b['previous_response_id'], c['previous_response_id']), (a['id'], b['id']))
        self.assertGreater(c['usage']['input_tokens_details']['cached_tokens'], 0)
        # two ways on from the same answer
        self.assertNotEqual(self.create('Two?', previous_response_id=a['id'])['id'], b['id'])
        self.assertEqual(self.server.call('DELETE', f'/v1/responses/{a["id"]}')[1],
                         {'id': a['id'], 'object': 'response', 'deleted': True})
        self.refused('previous_response_not_found', 'previous_response_id', 'not found', input='x',
                     previous_response_id=b['id'])
        self.get(f'/v1/responses/{a["id"]}', 404)

    def test_tools_go_on_over_the_store(self):
        call = {'type': 'function_call', 'call_id': 'c1', 'name': 'weather', 'arguments': '{"city":"Seoul"}'}
        a = self.create([{'role': 'user', 'content': 'w'}, call,
                         {'type': 'function_call_output', 'call_id': 'c1', 'output': 'sunny'}], tools=[TOOL])
        b = self.create([{'type': 'function_call_output', 'call_id': 'c1', 'output': 'rain'}], tools=[TOOL],
                        previous_response_id=a['id'])  # the call is in the chain
        self.assertEqual(b['previous_response_id'], a['id'])
        self.refused('invalid_value', 'input[0].call_id', 'c2', previous_response_id=a['id'],
                     input=[{'type': 'function_call_output', 'call_id': 'c2', 'output': 'x'}])

    def test_items_may_be_named(self):
        a, b = self.create('One'), self.create('Two')
        refs = [{'role': 'user', 'content': 'One'}, {'type': 'item_reference', 'id': a['output'][0]['id']},
                {'role': 'user', 'content': 'Two'}, {'type': 'item_reference', 'id': b['output'][0]['id']},
                {'role': 'user', 'content': 'Three'}]
        said = [r if 'role' in r else {'role': 'assistant', 'content': text_of(o)}
                for r, o in zip(refs, (None, a, None, b, None))]
        got = self.create(refs)
        self.assertEqual(text_of(got), text_of(self.create(said)))
        items = self.get(f'/v1/responses/{got["id"]}/input_items?order=asc')['data']
        self.assertEqual([i['type'] for i in items], ['message'] * 5)  # kept whole: a may be deleted now
        for bad in ('nix', 'msg_nix_0', a['output'][0]['id'][:-1] + '7'):
            self.refused('not_found', None if bad == 'msg_nix_0' else 'input', '.', want=404,
                         input=[{'type': 'item_reference', 'id': bad}])

    def test_input_items(self):
        items = [{'role': 'user', 'content': f'm{i}', 'id': f'msg_{i}'} for i in range(5)]
        o = self.create(items)
        path = f'/v1/responses/{o["id"]}/input_items'
        ids = lambda q: [i['id'] for i in self.get(path + q)['data']]
        self.assertEqual(ids(''), ['msg_4', 'msg_3', 'msg_2', 'msg_1', 'msg_0'])
        self.assertEqual(ids('?order=asc&limit=2'), ['msg_0', 'msg_1'])
        self.assertEqual(ids('?order=asc&limit=2&after=msg_1'), ['msg_2', 'msg_3'])
        page = self.get(path + '?order=asc&after=msg_2')
        self.assertEqual((page['object'], page['first_id'], page['last_id'], page['has_more']),
                         ('list', 'msg_3', 'msg_4', False))
        self.assertTrue(self.get(path + '?limit=4')['has_more'])
        self.assertEqual(page['data'][0], {'id': 'msg_3', 'type': 'message', 'role': 'user', 'status': 'completed',
                                           'content': [{'type': 'input_text', 'text': 'm3'}]})
        empty = self.get(path + '?order=asc&after=msg_4')
        self.assertEqual((empty['data'], empty['first_id'], empty['last_id']), ([], None, None))
        for bad in ('?limit=0', '?limit=101', '?limit=x', '?order=up', '?after=nix'):
            self.get(path + bad, 400)
        self.get('/v1/responses/resp_nix/input_items', 404)

    def test_cancel_and_what_is_not_there(self):
        o = self.create()
        self.assertRegex(self.post(f'/v1/responses/{o["id"]}/cancel', 400)['error']['message'], 'synchronous')
        self.post('/v1/responses/resp_nix/cancel', 404)
        self.assertEqual(self.server.call('DELETE', '/v1/responses/resp_nix')[0], 404)

    def test_many_at_once(self):
        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda i: self.stream(f'Number {i}', max_output_tokens=4), range(24)))
        self.assertEqual(len({o['id'] for o in got}), 24)
        for o in got:
            self.assertEqual(self.get(f'/v1/responses/{o["id"]}'), o)

    def test_a_client_that_leaves_ends_its_answer(self):
        c, r = self.server.open('POST', '/v1/responses', {
            'input': 'x', 'stream': True, 'ignore_eos': True, 'max_output_tokens': 900})
        r.readline()
        id = json.loads(r.readline().split(b'data: ')[1])['response']['id']
        while b'output_text.delta' not in r.readline():
            pass
        self.assertEqual(self.server.gauge('damso_running'), 1)
        r.close()
        c.close()
        self.assertTrue(self.server.idle(5))  # all of it takes far longer
        self.get(f'/v1/responses/{id}', 404)


class Crash(unittest.TestCase):
    def setUp(self):
        if not MODELS:
            self.skipTest('DAMSO_TEST_MODELS is not set')
        self.dir = tempfile.mkdtemp()

    def tearDown(self):
        shutil.rmtree(self.dir)

    def test_what_was_acknowledged_survives_kill_9(self):
        server, kept = serve(folder=self.dir), {}
        for round in range(3):
            body = {'input': f'Round {round}', 'temperature': 0, 'max_output_tokens': 4}
            if round == 1:  # killed on the very heels of the last event
                events = server.events('/v1/responses', {**body, 'stream': True})
                o = events[-1][1]['response']
            else:
                o = server.call('POST', '/v1/responses', body)[1]
            server.kill()
            kept[o['id']] = o
            server = serve(folder=self.dir)
            for id, want in kept.items():
                self.assertEqual(server.call('GET', f'/v1/responses/{id}'), (200, want))
        chat = server.call('POST', '/v1/chat/completions', {
            'messages': [{'role': 'user', 'content': 'hi'}], 'max_tokens': 4, 'store': True})[1]
        server.kill()
        server = serve(folder=self.dir)
        self.assertEqual(server.call('GET', f'/v1/chat/completions/{chat["id"]}'), (200, {**chat, 'metadata': {}}))
        self.assertEqual(server.call('POST', '/v1/responses', {
            'input': 'on', 'previous_response_id': o['id'], 'max_output_tokens': 2})[0], 200)
        self.assertEqual(server.close(), 0)

    def test_what_cannot_be_stored_is_not_acknowledged(self):
        server = serve(folder=self.dir)
        body = {'input': 'x', 'temperature': 0, 'max_output_tokens': 2}
        other = sqlite3.connect(f'{self.dir}/store.db', isolation_level=None)
        other.execute('BEGIN IMMEDIATE')  # another program writes and does not end
        events = server.events('/v1/responses', {**body, 'stream': True})
        self.assertEqual([name for name, _ in events[-3:]], ['response.output_item.done', 'error', 'response.failed'])
        error, failed = (o for _, o in events[-2:])
        self.assertEqual(set(error), EVENT['error'] | {'type', 'sequence_number'})
        self.assertEqual((error['sequence_number'], failed['sequence_number']), (len(events) - 2, len(events) - 1))
        o = failed['response']
        self.assertLessEqual(RESPONSE, set(o))
        self.assertEqual((o['status'], o['store'], o['error']),
                         ('failed', False, {'code': 'server_error', 'message': error['message']}))
        self.assertGreaterEqual(server.call('POST', '/v1/responses', body)[0], 500)
        self.assertEqual(server.call('POST', '/v1/responses', {**body, 'store': False})[0], 200)
        other.execute('ROLLBACK')
        other.close()
        self.assertEqual(server.call('GET', f'/v1/responses/{o["id"]}')[0], 404)
        self.assertEqual(server.call('POST', '/v1/responses', body)[0], 200)
        self.assertEqual(server.close(), 0)

    def test_owners_do_not_see_each_other(self):
        keys = [{'Authorization': 'Bearer ' + new_key(DAMSO, self.dir, name)} for name in ('a', 'b')]
        server = serve('--keys', 'always', folder=self.dir)
        o = server.call('POST', '/v1/responses', {'input': 'x', 'max_output_tokens': 2}, **keys[0])[1]
        path = f'/v1/responses/{o["id"]}'
        self.assertEqual([server.call('GET', path, **k)[0] for k in keys], [200, 404])
        self.assertEqual(server.call('DELETE', path, **keys[1])[0], 404)
        self.assertEqual(server.call('POST', '/v1/responses', {
            'input': 'x', 'previous_response_id': o['id']}, **keys[1])[0], 400)
        self.assertEqual(server.call('GET', path)[0], 401)
        self.assertEqual(server.close(), 0)


class Chats(Base):
    def chat(self, content='hi', **body):
        return self.post('/v1/chat/completions', messages=[{'role': 'user', 'content': content}],
                         **{'temperature': 0, 'max_tokens': 4, 'store': True, **body})

    def test_kept_as_answered(self):
        o = self.chat(metadata={'a': '1'}, logprobs=True, top_logprobs=1)
        self.assertEqual(self.get(f'/v1/chat/completions/{o["id"]}'), {**o, 'metadata': {'a': '1'}})
        self.get(f'/v1/chat/completions/{self.chat(store=False)["id"]}', 404)
        self.get(f'/v1/chat/completions/{self.chat(store=None)["id"]}', 404)

    def test_streams_are_kept_whole(self):
        body = {'messages': [{'role': 'user', 'content': KOREAN}], 'temperature': 0, 'max_tokens': 6, 'store': True,
                'stream': True, 'logprobs': True}
        events = self.server.events('/v1/chat/completions', body)
        self.assertEqual(events[-1], (None, '[DONE]'))
        chunks = [o for _, o in events[:-1]]
        o = self.get(f'/v1/chat/completions/{chunks[0]["id"]}')
        said = ''.join(c['choices'][0]['delta'].get('content', '') for c in chunks)
        self.assertEqual((o['object'], o['choices'][0]['message']['content']), ('chat.completion', said))
        self.assertEqual(len(o['choices'][0]['logprobs']['content']), 6)

    def test_update_and_delete(self):
        o = self.chat(metadata={'a': '1', 'b': '2'})
        path = f'/v1/chat/completions/{o["id"]}'
        self.assertEqual(self.post(path, metadata={'c': '3'}), {**o, 'metadata': {'c': '3'}})
        self.assertEqual(self.get(path)['metadata'], {'c': '3'})
        self.post(path, 400)
        self.post(path, 400, metadata={'c': 3})
        self.post('/v1/chat/completions/chatcmpl-nix', 404, metadata={})
        self.assertEqual(self.server.call('DELETE', path),
                         (200, {'object': 'chat.completion.deleted', 'id': o['id'], 'deleted': True}))
        self.get(path, 404)
        self.assertEqual(self.server.call('DELETE', path)[0], 404)

    def test_messages(self):
        parts = [{'type': 'text', 'text': 'a'}, {'type': 'text', 'text': KOREAN}]
        o = self.post('/v1/chat/completions', store=True, max_tokens=2, messages=[
            {'role': 'system', 'content': 's'}, {'role': 'user', 'content': parts}])
        m = self.get(f'/v1/chat/completions/{o["id"]}/messages')
        self.assertEqual([(x['role'], x['content'], x['content_parts']) for x in m['data']],
                         [('system', 's', None), ('user', 'a\n' + KOREAN, parts)])
        self.assertEqual((m['first_id'], m['has_more']), (m['data'][0]['id'], False))
        page = self.get(f'/v1/chat/completions/{o["id"]}/messages?limit=1&after={m["first_id"]}')
        self.assertEqual(page['data'], m['data'][1:])
        self.get('/v1/chat/completions/nix/messages', 404)

    def test_list(self):
        mine = [self.chat(metadata={'run': 'list', 'i': str(i % 2)})['id'] for i in range(5)]
        path = '/v1/chat/completions?metadata%5Brun%5D=list'
        ids = lambda q='': [o['id'] for o in self.get(path + q)['data']]
        self.assertEqual(set(ids()), set(mine))
        self.assertEqual(ids('&order=desc'), ids()[::-1])
        self.assertEqual(len(ids('&metadata[i]=1')), 2)
        self.assertEqual(ids('&model=nix'), [])
        self.assertEqual(set(ids('&model=smollm2-135m-instruct')), set(mine))
        walked, after = [], ''
        while True:
            page = self.get(f'{path}&limit=2{after}')
            walked += [o['id'] for o in page['data']]
            if not page['has_more']:
                break
            after = f'&after={page["last_id"]}'
        self.assertEqual(walked, ids())
        self.get(path + '&after=nix', 400)


@unittest.skipUnless(openai, 'the package openai is not here')
class Client(Base):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = openai.OpenAI(base_url=f'{cls.server.url}/v1', api_key='none', max_retries=0)

    def test_create_retrieve_delete(self):
        r = self.client.responses
        a = r.create(model='m', input='My name is Mina.', temperature=0, max_output_tokens=8, metadata={'a': 'b'})
        self.assertTrue(a.output_text)
        self.assertEqual(r.retrieve(a.id), a)
        b = r.create(model='m', input='And?', previous_response_id=a.id, max_output_tokens=4)
        self.assertEqual(b.previous_response_id, a.id)
        self.assertEqual([i.content[0].text for i in r.input_items.list(a.id)], ['My name is Mina.'])
        self.assertEqual(r.input_tokens.count(model='m', input='My name is Mina.').input_tokens, a.usage.input_tokens)
        with self.assertRaises(openai.BadRequestError):
            r.cancel(a.id)
        r.delete(a.id)
        with self.assertRaises(openai.NotFoundError):
            r.retrieve(a.id)
        with self.assertRaises(openai.BadRequestError) as caught:
            r.create(model='m', input='x', previous_response_id=a.id)
        self.assertEqual(caught.exception.code, 'previous_response_not_found')

    def test_stream(self):
        text, kinds = '', []
        for e in self.client.responses.create(model='m', input=KOREAN, stream=True, temperature=0, max_output_tokens=16):
            kinds.append(e.type)
            text += e.delta if e.type == 'response.output_text.delta' else ''
        self.assertEqual((kinds[0], kinds[-1][:9]), ('response.created', 'response.'))
        schema = {'format': FORMAT}
        with self.client.responses.stream(model='m', input='x', temperature=0, max_output_tokens=64, text=schema) as s:
            snapshots = [e.snapshot for e in s if e.type == 'response.output_text.delta']
            final = s.get_final_response()
        self.assertEqual((final.output_text, final.status), (snapshots[-1], 'completed'))
        self.assertEqual(set(json.loads(final.output_text)), {'word', 'n'})

    def test_parse(self):
        import pydantic

        class Word(pydantic.BaseModel):
            kind: bool
            n: int = pydantic.Field(ge=1, le=3)

        got = self.client.responses.parse(model='m', input='x', text_format=Word, temperature=0, max_output_tokens=64)
        self.assertIsInstance(got.output_parsed, Word)
        with self.client.responses.stream(model='m', input='x', text_format=Word, temperature=0, max_output_tokens=64) as s:
            s.until_done()
            self.assertEqual(s.get_final_response().output_parsed, got.output_parsed)

    def test_tools_by_hand(self):
        call = {'type': 'function_call', 'call_id': 'c1', 'name': 'weather', 'arguments': '{"city":"Seoul"}'}
        r = self.client.responses.create(model='m', tools=[{**TOOL, 'strict': False}], max_output_tokens=8, input=[
            {'role': 'user', 'content': 'w'}, call, {'type': 'function_call_output', 'call_id': 'c1', 'output': 'sunny'}])
        self.assertEqual(r.tools[0].name, 'weather')
        # the output of one request is the input of the next, as the manual does it
        again = self.client.responses.create(model='m', max_output_tokens=4, input=[
            {'role': 'user', 'content': 'w'}, *r.output, {'role': 'user', 'content': 'more'}])
        self.assertEqual(again.object, 'response')

    def test_tools_by_stream(self):
        with self.client.responses.stream(model='m', input='w', tools=[{**TOOL, 'strict': False}], temperature=0,
                                          tool_choice='required', parallel_tool_calls=False, max_output_tokens=300) as s:
            snapshots = [e.snapshot for e in s if e.type == 'response.function_call_arguments.delta']
            call = s.get_final_response().output[0]
        self.assertEqual((call.type, call.name, call.arguments), ('function_call', 'weather', snapshots[-1]))

    def test_stored_chats(self):
        chats = self.client.chat.completions
        o = chats.create(model='m', messages=[{'role': 'user', 'content': 'hi'}], store=True, max_tokens=4,
                         metadata={'who': 'client'})
        self.assertEqual(chats.retrieve(o.id).choices[0].message.content, o.choices[0].message.content)
        self.assertEqual([c.id for c in chats.list(metadata={'who': 'client'})], [o.id])
        self.assertEqual(chats.update(o.id, metadata={'who': 'x'}).metadata, {'who': 'x'})
        self.assertEqual([m.content for m in chats.messages.list(o.id)], ['hi'])
        self.assertTrue(chats.delete(o.id).deleted)


if __name__ == '__main__':
    unittest.main()
