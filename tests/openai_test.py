#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""OpenAI's own Python client against `damso serve`: tests/openai_test.py DAMSO.  Needs
DAMSO_TEST_MODELS and the package openai (tools/clients.sh).  What a small model says proves nothing:
answers are greedy or seeded, compared with each other, or forced into shapes.  Responses and stored
chats have their own test (responses_test.py)."""
import asyncio, enum, json, math, os, shutil, socket, sys, tempfile, time, typing, unittest

from served import LASTING, MODELS, SMALL, Server, client, new_key

openai = client('openai')
DAMSO = os.path.abspath(sys.argv.pop(1))
KOREAN = '안녕하세요, 담소입니다! 👩‍👩‍👧 값은 훑다.'
USER = [{'role': 'user', 'content': 'Write the numbers from one to ten.'}]
LONG = {'max_tokens': 1500, 'extra_body': {'ignore_eos': True}}  # far longer than any test


def setUpModule():
    if not MODELS or not openai:
        raise unittest.SkipTest('DAMSO_TEST_MODELS is not set' if openai else 'the package openai is not here')


def connect(server, cls=None, **options):
    return (cls or openai.OpenAI)(**{'base_url': server.url + '/v1', 'api_key': 'none', 'max_retries': 0,
                                     'timeout': 300, **options})


def ask(messages=USER, **fields):
    if isinstance(messages, str):
        messages = [{'role': 'user', 'content': messages}]
    return {'model': SMALL, 'messages': messages, 'temperature': 0, 'max_tokens': 24, **fields}


# A shape that every seed fills in its own way, and that ends: the helpers refuse what the limit has cut.
WORDS = {'extra_body': {'guided_regex': '[a-z]{1,9}( [a-z]{1,9}){2,4}'}, 'max_tokens': 100}


def said(choice):
    return choice.message.content


class Served(unittest.TestCase):
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(DAMSO, '-m', SMALL, *cls.options)
        cls.addClassCleanup(cls.server.close)
        cls.client = connect(cls.server)
        cls.chat = cls.client.chat.completions

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        assert cls.server.close() == 0


class Chat(Served):
    def test_create(self):
        o = self.chat.create(**ask())
        self.assertEqual((o.object, o.model, len(o.choices)), ('chat.completion', SMALL, 1))
        self.assertRegex(o.id, '^chatcmpl-')
        self.assertLess(abs(o.created - time.time()), 300)
        c = o.choices[0]
        self.assertEqual((c.finish_reason, c.message.role, c.message.refusal), ('length', 'assistant', None))
        self.assertTrue(said(c))
        self.assertEqual((o.usage.completion_tokens, o.usage.total_tokens - o.usage.prompt_tokens), (24, 24))
        known = self.chat.create(**ask()).usage.prompt_tokens_details.cached_tokens
        self.assertLessEqual(known, o.usage.prompt_tokens)

    def test_stream(self):
        whole = self.chat.create(**ask())
        chunks = list(self.chat.create(**ask(), stream=True, stream_options={'include_usage': True}))
        self.assertEqual(''.join(c.choices[0].delta.content or '' for c in chunks[:-1]), said(whole.choices[0]))
        self.assertEqual([c.object for c in chunks], ['chat.completion.chunk'] * len(chunks))
        self.assertEqual((chunks[-1].choices, chunks[-1].usage.total_tokens), ([], whole.usage.total_tokens))
        self.assertEqual(chunks[-2].choices[0].finish_reason, 'length')

    def test_stream_helper(self):
        fields = ask(n=2, temperature=1, seed=7, logprobs=True, top_logprobs=2, **WORDS)
        whole = self.chat.create(**fields)
        deltas, logprobs, done, snapshot = '', [], [], ''
        with self.chat.stream(**fields, stream_options={'include_usage': True}) as stream:
            for event in stream:
                if event.type == 'content.delta':
                    deltas += event.delta
                    snapshot = event.snapshot
                elif event.type == 'logprobs.content.delta':
                    logprobs += event.content
                elif event.type == 'content.done':
                    done.append(event.content)
            final = stream.get_final_completion()
        self.assertEqual([said(c) for c in final.choices], [said(c) for c in whole.choices])
        self.assertEqual([c.logprobs for c in final.choices], [c.logprobs for c in whole.choices])
        self.assertEqual([c.finish_reason for c in final.choices], ['stop'] * 2)
        self.assertEqual(final.usage.completion_tokens, whole.usage.completion_tokens)
        self.assertEqual(set(done), {said(c) for c in whole.choices})
        self.assertIn(snapshot, done)
        self.assertEqual((len(deltas), len(logprobs)), (
            sum(map(len, done)), sum(len(c.logprobs.content) for c in whole.choices)))

    def test_seeds(self):
        say = lambda seed: [said(c) for c in self.chat.create(**ask(n=3, temperature=1, seed=seed)).choices]
        texts = say(7)
        self.assertEqual(len(set(texts)), 3)
        self.assertEqual(say(7), texts)
        self.assertNotEqual(say(8), texts)

    def test_logprobs(self):
        c = self.chat.create(**ask(logprobs=True, top_logprobs=3, max_tokens=8)).choices[0]
        self.assertEqual(len(c.logprobs.content), 8)
        self.assertEqual(b''.join(bytes(l.bytes) for l in c.logprobs.content).decode(), said(c))
        for l in c.logprobs.content:
            tops = [t.logprob for t in l.top_logprobs]
            self.assertEqual((l.top_logprobs[0].token, tops), (l.token, sorted(tops, reverse=True)))
            self.assertLessEqual(sum(map(math.exp, tops)), 1.0001)

    def test_stop(self):
        text = said(self.chat.create(**ask(max_tokens=40)).choices[0])
        for stop in (text[10:13], ['never said', text[21:30]]):
            c = self.chat.create(**ask(max_tokens=40, stop=stop)).choices[0]
            self.assertEqual((said(c), c.finish_reason), (text[:text.index(stop if isinstance(stop, str) else stop[1])], 'stop'))

    def test_no_character_is_cut(self):
        fields = lambda **more: ask(extra_body={'guided_choice': [KOREAN]}, **{'max_tokens': 200, **more})
        whole = self.chat.create(**fields())
        self.assertEqual((said(whole.choices[0]), whole.choices[0].finish_reason), (KOREAN, 'stop'))
        pieces = [c.choices[0].delta.content or '' for c in self.chat.create(**fields(), stream=True)]
        self.assertEqual(''.join(pieces), KOREAN)
        self.assertGreater(len([p for p in pieces if p]), 10)
        # the limit comes anywhere; what it leaves of a character is left out
        for n in range(1, whole.usage.completion_tokens, 3):
            text = said(self.chat.create(**fields(max_tokens=n)).choices[0])
            self.assertTrue(KOREAN.startswith(text), text)
            self.assertEqual(''.join(c.choices[0].delta.content or '' for c in self.chat.create(
                **fields(max_tokens=n), stream=True)), text)

    def test_sixty_four_at_once(self):
        prompts = [f'{KOREAN if i % 2 else ""} Tell me about the number {i}. ' * (1 + i) for i in range(8)]
        alone = [said(self.chat.create(**ask(p)).choices[0]) for p in prompts]

        async def one(chat, i):
            if i % 16 < 8:
                return said((await chat.create(**ask(prompts[i % 8]))).choices[0])
            text = ''
            async for chunk in await chat.create(**ask(prompts[i % 8]), stream=True):
                text += chunk.choices[0].delta.content or ''
            return text

        async def all_of_them():
            async with connect(self.server, openai.AsyncOpenAI) as c:
                return await asyncio.gather(*(one(c.chat.completions, i) for i in range(64)))

        self.assertEqual(asyncio.run(all_of_them()), alone * 8)

    def test_async_stream_helper(self):
        async def run():
            async with connect(self.server, openai.AsyncOpenAI) as c:
                async with c.chat.completions.stream(**ask(**WORDS)) as stream:
                    text = ''.join([e.delta async for e in stream if e.type == 'content.delta'])
                    return text, said((await stream.get_final_completion()).choices[0])

        self.assertEqual(asyncio.run(run()), (said(self.chat.create(**ask(**WORDS)).choices[0]),) * 2)


def shapes():
    """(a model of answers, a model of arguments); made late, since pydantic may be missing."""
    import pydantic
    Field = pydantic.Field

    class Color(str, enum.Enum):
        RED = 'red'
        BLUE = '파랑'

    class Address(pydantic.BaseModel):
        city: str = Field(max_length=8)
        number: typing.Optional[int] = Field(ge=1, le=99)

    class Person(pydantic.BaseModel):
        """Somebody."""
        name: str = Field(min_length=1, max_length=8, description='of the person')
        age: int = Field(ge=0, le=130)
        address: Address
        former: typing.List[Address] = Field(max_length=2)
        colors: typing.List[Color] = Field(min_length=1, max_length=3)
        kind: typing.Literal['a', 'b']
        nick: typing.Optional[Color]
        either: typing.Union[bool, Color]

    class Look(pydantic.BaseModel):
        """Looks at a place."""
        where: Address
        colors: typing.List[Color] = Field(min_length=2, max_length=2)
        deep: typing.Optional[bool]

    return Person, Look


class Shapes(Served):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Person, cls.Look = shapes()
        cls.call = ask(tools=[openai.pydantic_function_tool(cls.Look, name='look')], tool_choice='required',
                       parallel_tool_calls=False, max_tokens=300)

    def test_parse(self):
        fields = ask(response_format=self.Person, max_tokens=400)
        o = self.chat.parse(**fields).choices[0]
        self.assertIsInstance(o.message.parsed, self.Person)
        self.assertEqual(self.Person.model_validate_json(said(o), strict=True), o.message.parsed)
        partial = []
        with self.chat.stream(**fields) as stream:
            for event in stream:
                if event.type == 'content.delta':
                    partial.append(event.parsed)
                elif event.type == 'content.done':
                    self.assertEqual(event.parsed, o.message.parsed)
            self.assertEqual(stream.get_final_completion().choices[0].message.parsed, o.message.parsed)
        self.assertGreater(len(partial), 10)

    def test_parse_of_many_seeds(self):
        o = self.chat.parse(**ask(response_format=self.Person, max_tokens=400, temperature=1, seed=1, n=6))
        parsed = [c.message.parsed for c in o.choices]
        self.assertTrue(all(isinstance(p, self.Person) for p in parsed))
        self.assertGreater(len({p.model_dump_json() for p in parsed}), 1)

    def test_cut_answers_are_not_parsed(self):
        with self.assertRaises(openai.LengthFinishReasonError) as caught:
            self.chat.parse(**ask(response_format=self.Person, max_tokens=5))
        self.assertEqual(caught.exception.completion.usage.completion_tokens, 5)
        with self.assertRaises(openai.LengthFinishReasonError):
            with self.chat.stream(**ask(response_format=self.Person, max_tokens=5)) as stream:
                stream.get_final_completion()

    def check_call(self, choice):
        call = choice.message.tool_calls[0]
        self.assertEqual((choice.finish_reason, len(choice.message.tool_calls), call.type, call.function.name),
                         ('tool_calls', 1, 'function', 'look'))
        self.assertIsInstance(call.function.parsed_arguments, self.Look)
        return call

    def test_tools(self):
        o = self.chat.parse(**self.call).choices[0]
        call = self.check_call(o)
        self.assertIsNone(said(o))
        self.assertTrue(call.id)
        named = self.chat.parse(**{**self.call, 'tool_choice': {'type': 'function', 'function': {'name': 'look'}}})
        self.check_call(named.choices[0])
        # the answer goes back as it came, with what the tool says
        turn = [*USER, o.message, {'role': 'tool', 'tool_call_id': call.id, 'content': '42'}]
        again = self.chat.create(**{**self.call, 'messages': turn, 'tool_choice': 'none', 'max_tokens': 4})
        self.assertTrue(said(again.choices[0]))
        self.assertGreater(again.usage.prompt_tokens, self.chat.create(**{**self.call, 'max_tokens': 1}).usage.prompt_tokens)

    def test_tools_by_stream(self):
        whole = self.check_call(self.chat.parse(**self.call).choices[0])
        deltas, done = '', []
        with self.chat.stream(**self.call) as stream:
            for event in stream:
                if event.type == 'tool_calls.function.arguments.delta':
                    deltas += event.arguments_delta
                    self.assertEqual((event.name, event.index, event.arguments), ('look', 0, deltas))
                elif event.type == 'tool_calls.function.arguments.done':
                    done.append(event.parsed_arguments)
            call = self.check_call(stream.get_final_completion().choices[0])
        self.assertEqual((deltas, call.function.arguments), (whole.function.arguments,) * 2)
        self.assertEqual(done, [whole.function.parsed_arguments])

    def test_cut_calls_are_told(self):
        with self.assertRaises(openai.LengthFinishReasonError):
            self.chat.parse(**{**self.call, 'max_tokens': 16})
        o = self.chat.create(**{**self.call, 'max_tokens': 16}).choices[0]
        self.assertEqual(o.finish_reason, 'length')

    def test_several_calls(self):
        """As many as fit: each has an id of its own and its place, in the stream as in the whole."""
        fields = {**self.call, 'parallel_tool_calls': True, 'max_tokens': 200}
        calls = self.chat.create(**fields).choices[0].message.tool_calls
        self.assertEqual(len({c.id for c in calls}), len(calls))
        got = {}
        for chunk in self.chat.create(**fields, stream=True):
            for d in chunk.choices[0].delta.tool_calls or []:
                if d.id:
                    self.assertNotIn(d.index, got)
                    got[d.index] = (d.function.name, '')
                got[d.index] = (got[d.index][0], got[d.index][1] + (d.function.arguments or ''))
        self.assertEqual(list(got.items()), [(i, (c.function.name, c.function.arguments)) for i, c in enumerate(calls)])


class Texts(Served):
    def test_completions(self):
        fields = {'model': SMALL, 'temperature': 0, 'max_tokens': 6}
        create = self.client.completions.create
        prompts = ['The capital of France is', 'One two three']
        alone = [create(prompt=p, **fields).choices[0].text for p in prompts]
        ids = [self.server.post('/tokenize', {'content': p})[1]['tokens'] for p in prompts]
        self.assertEqual(create(prompt=ids[0], **fields).choices[0].text, alone[0])
        for many in (prompts, ids):
            o = create(prompt=many, **fields)
            self.assertEqual([(c.index, c.text, c.finish_reason) for c in o.choices],
                             [(i, t, 'length') for i, t in enumerate(alone)])
            self.assertEqual(o.usage.completion_tokens, 12)
            text = ['', '']
            for chunk in create(prompt=many, stream=True, **fields):
                for c in chunk.choices:
                    text[c.index] += c.text
            self.assertEqual(text, alone)

    def test_echo_and_logprobs(self):
        text, n = 'One two three four', len(self.server.post('/tokenize', {'content': 'One two three four'})[1]['tokens'])
        o = self.client.completions.create(model=SMALL, prompt=text, echo=True, logprobs=2, temperature=0, max_tokens=3)
        c, l = o.choices[0], o.choices[0].logprobs
        self.assertTrue(c.text.startswith(text) and len(c.text) > len(text))
        self.assertEqual((''.join(l.tokens), len(l.tokens), len(l.top_logprobs)), (c.text, n + 3, n + 3))
        self.assertEqual((l.token_logprobs[0], l.text_offset[0]), (None, 0))
        self.assertTrue(all(x <= 0 for x in l.token_logprobs[1:]))
        for token, top in list(zip(l.tokens, l.top_logprobs))[n:]:
            self.assertEqual(max(top, key=top.get), token)  # greedy

    def test_embeddings(self):
        create = lambda **f: [d.embedding for d in self.client.embeddings.create(model=SMALL, **f).data]
        texts = ['a cat', KOREAN, 'the stock market']
        v = create(input=texts)  # the client asks for base64 and decodes it
        self.assertEqual((len(v), {type(x) for e in v for x in e}), (3, {float}))
        for e in v:
            self.assertAlmostEqual(sum(x * x for x in e), 1, places=4)
        for a, b in zip(v, create(input=texts, encoding_format='float')):
            self.assertEqual(len(a), len(b))
            self.assertLess(max(abs(x - y) for x, y in zip(a, b)), 1e-6)
        short = create(input=texts[0], dimensions=16)[0]
        scale = math.sqrt(sum(x * x for x in v[0][:16]))
        self.assertLess(max(abs(x - y / scale) for x, y in zip(short, v[0][:16], strict=False)), 1e-5)
        self.assertEqual(len(short), 16)
        ids = self.server.post('/tokenize', {'content': texts[0]})[1]['tokens']
        self.assertEqual(create(input=ids), create(input=texts[0]))
        with self.assertRaises(openai.BadRequestError) as caught:
            create(input='x', dimensions=10**6)
        self.assertEqual(caught.exception.param, 'dimensions')

    def test_models(self):
        models = list(self.client.models.list())
        self.assertEqual([m.id for m in models], [SMALL])
        self.assertEqual((models[0].object, self.client.models.retrieve(SMALL)), ('model', models[0]))

    def test_errors(self):
        for fields, kind, code, param in (
                ({'messages': [{'role': 'user', 'content': 'word ' * 3000}]}, openai.BadRequestError,
                 'context_length_exceeded', 'messages'),
                ({'temperature': 9}, openai.BadRequestError, None, 'temperature'),
                ({'messages': []}, openai.BadRequestError, None, 'messages'),
                ({'response_format': {'type': 'json_schema', 'json_schema': {'name': 'x', 'schema': {'type': 'nix'}}}},
                 openai.BadRequestError, 'invalid_schema', None)):
            for stream in (False, True):
                with self.assertRaises(kind) as caught:
                    self.chat.create(**{**ask(), **fields}, stream=stream)
                e = caught.exception
                self.assertEqual(code or e.code, e.code)
                self.assertEqual(param or e.param, e.param)
                self.assertEqual(e.type, 'invalid_request_error')
                self.assertTrue(e.message)
        with self.assertRaises(openai.NotFoundError):
            self.client.post('/no/such', cast_to=object, body={})


class Ends(unittest.TestCase):
    def test_several_models(self):
        server = Server(DAMSO, DAMSO_MODEL=SMALL)
        self.addCleanup(server.close)
        c = connect(server)
        self.assertIn(SMALL, [m.id for m in c.models.list()])
        self.assertEqual(c.chat.completions.create(**ask(max_tokens=1)).model, SMALL)
        for call in (lambda: c.models.retrieve('no-such'),
                     lambda: c.chat.completions.create(**{**ask(), 'model': 'no-such'})):
            with self.assertRaises(openai.NotFoundError) as caught:
                call()
            self.assertEqual(caught.exception.code, 'model_not_found')
        self.assertEqual(server.close(), 0)

    def test_keys(self):
        home = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, home)
        good, reader = new_key(DAMSO, home, 'good'), new_key(DAMSO, home, 'reader', '--scopes', 'models')
        slow = new_key(DAMSO, home, 'slow', '--rpm', '2')
        server = Server(DAMSO, '-m', SMALL, '--keys', 'always', folder=home)
        self.addCleanup(server.close)
        ok = connect(server, api_key=good)
        self.assertTrue(said(ok.chat.completions.create(**ask(max_tokens=2)).choices[0]))
        with self.assertRaises(openai.AuthenticationError) as caught:
            connect(server, api_key=good[:-1]).models.list()
        self.assertEqual(caught.exception.code, 'invalid_api_key')
        with self.assertRaises(openai.PermissionDeniedError):
            connect(server, api_key=reader).chat.completions.create(**ask())
        limited = connect(server, api_key=slow)
        for _ in range(2):
            self.assertEqual([m.id for m in limited.models.list()], [SMALL])
        with self.assertRaises(openai.RateLimitError) as caught:
            limited.models.list()
        self.assertEqual(caught.exception.code, 'rate_limit_exceeded')
        self.assertGreater(int(caught.exception.response.headers['retry-after']), 0)
        self.assertEqual(server.close(), 0)


class Patience(Served):
    options = ('--parallel', '1', '--queue', '1', *LASTING)

    def fill(self):
        """Two answers that last: one is written and one waits, so that a third is refused."""
        body = json.dumps(ask(stream=True, max_tokens=1500, ignore_eos=True)).encode()
        sockets = []
        for i in range(2):
            s = socket.create_connection(('127.0.0.1', self.server.port))
            self.addCleanup(s.close)
            s.sendall(b'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n' % len(body))
            s.sendall(body)
            sockets.append(s)
            end = time.monotonic() + 60
            while self.server.gauge('damso_running') + self.server.gauge('damso_queue_length') <= i:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.02)
        return sockets

    def test_a_full_queue_is_asked_again_later(self):
        held, seen = self.fill(), []

        def response(r):
            seen.append((time.monotonic(), r.status_code, r.headers.get('retry-after')))
            if len(seen) == 3:  # twice refused: now there is room
                for s in held:
                    s.close()

        http = openai.DefaultHttpxClient(event_hooks={'response': [response]})
        with connect(self.server, max_retries=0, http_client=http) as once:
            with self.assertRaises(openai.InternalServerError) as caught:
                once.chat.completions.create(**ask())
            self.assertEqual((caught.exception.status_code, caught.exception.code), (503, 'queue_full'))
            patient = once.with_options(max_retries=20)
            self.assertTrue(said(patient.chat.completions.create(**ask()).choices[0]))
        self.assertEqual({s for _, s, _ in seen[:-1]}, {503})
        self.assertEqual(seen[-1][1], 200)
        self.assertGreaterEqual(len(seen), 4)
        for (before, _, wait), (after, _, _) in zip(seen[1:], seen[2:]):
            self.assertGreater(int(wait), 0)
            self.assertGreaterEqual(after - before, int(wait) - 0.05)

    def test_timeout(self):
        with self.assertRaises(openai.APITimeoutError):
            connect(self.server, timeout=0.2).chat.completions.create(**ask(**LONG))
        self.assertTrue(self.server.idle())

    def test_early_close(self):
        for close in (lambda s: s.close(), lambda s: s.response.close()):
            stream = self.chat.create(**ask(**LONG), stream=True)
            for _, chunk in zip(range(3), stream):
                self.assertEqual(chunk.object, 'chat.completion.chunk')
            self.assertEqual(self.server.gauge('damso_running'), 1)
            close(stream)
            self.assertTrue(self.server.idle(5))  # the whole would take far longer
        with self.chat.stream(**ask(**LONG)) as stream:
            next(stream)
        self.assertTrue(self.server.idle(5))


if __name__ == '__main__':
    unittest.main()
