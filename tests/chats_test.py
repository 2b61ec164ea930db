#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The web app's API of `damso serve` from outside: chats, answers that go on by themselves, events, search,
shares, and what a kill leaves: tests/chats_test.py DAMSO.  Needs DAMSO_TEST_MODELS."""
import concurrent.futures, json, os, re, shutil, socket, sys, tempfile, threading, time
import unittest
from urllib.parse import quote

from served import LASTING, MODELS, SMALL, Server

DAMSO = os.path.abspath(sys.argv.pop(1))
JSON = {'Content_Type': 'application/json'}
SHORT = {'temperature': 0, 'max_tokens': 8}
# No machine is through with it while a test looks: an answer that may not end by itself.
LONG = {'temperature': 0, 'max_tokens': 6000, 'json_schema': {'type': 'array', 'items': {'type': 'boolean'}, 'minItems': 2000}}
POEM = 'Write a very long story about a ship, with many chapters.'


def length(text):
    """As the server counts."""
    return len(text.encode())


class Events(threading.Thread):
    """Follows /api/v1/events and applies it, as the web app does."""

    def __init__(self, server, chat=None):
        super().__init__(daemon=True)
        c, self.r = server.open('GET', '/api/v1/events' + (f'?chat={chat}' if chat else ''))
        self.sock = self.r.fp.raw._sock
        assert self.r.status == 200 and self.r.headers['Content-Type'].startswith('text/event-stream')
        self.seen, self.ids, self.texts, self.lock = [], [], {}, threading.Lock()
        self.ended = threading.Event()
        self.start()

    def run(self):
        event = {}
        try:
            for line in self.r:
                line = line.decode().rstrip('\n')
                if line == '' and 'data' in event:
                    self.take(event['event'], json.loads(event['data']), int(event['id'].split('-')[1]))
                    event = {}
                elif line and not line.startswith(':'):
                    name, value = line.split(': ', 1)
                    event[name] = value
        except (OSError, ValueError, AttributeError):
            pass
        self.ended.set()

    def take(self, name, o, number):
        with self.lock:
            self.seen.append((name, o))
            self.ids.append(number)
            if name == 'message' and 'message' in o:
                self.texts[o['message']['id']] = o['message']['content']
            if name == 'delta':
                self.join(o)

    def join(self, o):
        """Adds what is not there yet; nothing may be missing between."""
        if o['message'] not in self.texts or 'content' not in o:
            return
        text = self.texts[o['message']]
        known = length(text) - o['at']
        assert known >= 0, (o, text)
        self.texts[o['message']] = text + o['content'].encode()[known:].decode()

    def read(self, mid, text):
        """What the chat had when it was read, after this began to listen."""
        with self.lock:
            self.texts[mid] = text
            for name, o in self.seen:
                if name == 'delta' and o['message'] == mid:
                    self.join(o)

    def of(self, name):
        with self.lock:
            return [o for n, o in self.seen if n == name]

    def close(self):
        """Goes away at once, as a page that is closed."""
        self.sock.shutdown(socket.SHUT_RDWR)
        self.ended.wait(10)
        self.sock.close()


class Chats(unittest.TestCase):
    options = ('-m', SMALL, *LASTING)

    def setUp(self):
        self.server = Server(DAMSO, *self.options)

    def tearDown(self):
        self.assertEqual(self.server.close(), 0)

    def get(self, path, want=200):
        status, o = self.server.get('/api/v1' + path)
        self.assertEqual(status, want, o)
        return o

    def send(self, method, path, body=None, want=200):
        status, o = self.server.call(method, '/api/v1' + path, body, **JSON)
        self.assertEqual(status, want, o)
        return o

    def post(self, path, body=None, want=200):
        return self.send('POST', path, {} if body is None else body, want)

    def chat(self, **fields):
        return self.post('/chats', fields)['id']

    def ask(self, chat, content='Hello', parent=None, options=SHORT, **fields):
        return self.post(f'/chats/{chat}/messages',
                         {'content': content, 'parent': parent, 'options': options, **fields})

    def message(self, chat, mid):
        return next(m for m in self.get(f'/chats/{chat}')['messages'] if m['id'] == mid)

    def until(self, look, seconds=60):
        end = time.monotonic() + seconds
        while not (got := look()):
            self.assertLess(time.monotonic(), end, 'it did not come')
            time.sleep(0.02)
        return got

    def ended(self, chat, mid):
        return self.until(lambda: (m := self.message(chat, mid))['status'] != 'running' and m)

    def answered(self, chat, content='Hello', **fields):
        turn = self.ask(chat, content, **fields)
        return turn['user'], self.ended(chat, turn['answer']['id'])


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Contract(Chats):
    def test_me(self):
        me = self.get('/me')
        self.assertEqual(me['user']['id'], 'local')
        self.assertFalse(me['accounts'])
        self.assertEqual(me['default_model'], SMALL)
        self.assertEqual(me['models'][0]['context'], 2048)

    def test_described(self):
        """The description names only what there is, and what comes is as it says."""
        o = self.server.get('/openapi.json')[1]
        schemas = o['components']['schemas']
        refs = set(re.findall(r'#/components/schemas/(\w+)', json.dumps(o)))
        self.assertEqual(refs - set(schemas), set())
        ours = {p: ops for p, ops in o['paths'].items() if p.startswith('/api/v1/')}
        self.assertEqual(len(ours), 55)
        unsaid = {(m, p) for p, ops in ours.items() for m, op in ops.items() if 'content' not in op['responses']['200']}
        self.assertEqual(unsaid, {('get', '/api/v1/events'), ('get', '/api/v1/files/{id}'), ('get', '/api/v1/chats/{id}/export')})
        chat = self.chat()
        user, answer = self.answered(chat)
        whole = self.get(f'/chats/{chat}')
        folder = self.post('/folders', {'name': 'f'})
        for name, got in (('Chat', whole['chat']), ('ChatWhole', whole), ('ChatMessage', answer), ('ChatMe', self.get('/me')),
                          ('ChatUsage', answer['usage']), ('ChatFolder', folder), ('ChatList', self.get('/chats'))):
            optional = {'snippet', 'error', 'sim'}
            self.assertEqual(set(got) | optional, set(schemas[name]['properties']) | optional, name)

    def test_turns(self):
        chat = self.chat()
        user, answer = self.answered(chat)
        self.assertEqual((answer['status'], answer['role'], answer['parent'], answer['model']),
                         ('done', 'assistant', user['id'], SMALL))
        self.assertTrue(answer['content'])
        self.assertEqual(answer['usage']['completion_tokens'], 8)
        self.assertEqual(answer['usage']['context'], 2048)
        whole = self.get(f'/chats/{chat}')
        self.assertEqual([m['id'] for m in whole['messages']], [user['id'], answer['id']])
        self.assertEqual(whole['head'], answer['id'])
        # the same as the API that forgets
        _, o = self.server.post('/v1/chat/completions', {'messages': [{'role': 'user', 'content': 'Hello'}], **SHORT})
        self.assertEqual(o['choices'][0]['message']['content'], answer['content'])
        # a second turn knows the first
        _, second = self.answered(chat, 'And you?', parent=answer['id'])
        _, o = self.server.post('/v1/chat/completions', {**SHORT, 'messages': [
            {'role': 'user', 'content': 'Hello'}, {'role': 'assistant', 'content': answer['content']},
            {'role': 'user', 'content': 'And you?'}]})
        self.assertEqual(o['choices'][0]['message']['content'], second['content'])
        self.assertGreater(second['usage']['cached_tokens'], 0)

    def test_branches(self):
        chat = self.chat()
        user, first = self.answered(chat)
        second = self.post(f'/chats/{chat}/messages/{first["id"]}/regenerate', {'options': {'max_tokens': 4, 'seed': 3}})
        self.assertEqual(second['parent'], user['id'])
        self.assertNotEqual(second['id'], first['id'])
        self.assertEqual(self.ended(chat, second['id'])['usage']['completion_tokens'], 4)
        self.assertEqual(self.get(f'/chats/{chat}')['head'], second['id'])
        # an edited question is a new branch; the old one stays
        edited, third = self.answered(chat, 'Good evening')
        self.assertIsNone(edited['parent'])
        self.assertEqual(len(self.get(f'/chats/{chat}')['messages']), 5)
        self.send('PATCH', f'/chats/{chat}', {'head': first['id']})
        self.assertEqual(self.get(f'/chats/{chat}')['head'], first['id'])
        self.send('PATCH', f'/chats/{chat}', {'head': 'nothing'}, want=404)
        # in place
        m = self.send('PATCH', f'/chats/{chat}/messages/{first["id"]}', {'content': 'changed'})
        self.assertEqual(m['content'], 'changed')
        # a message goes with what follows
        gone = self.send('DELETE', f'/chats/{chat}/messages/{user["id"]}')
        self.assertEqual(set(gone['removed']), {user['id'], first['id'], second['id']})
        self.assertEqual([m['id'] for m in self.get(f'/chats/{chat}')['messages']], [edited['id'], third['id']])

    def test_continue(self):
        chat = self.chat()
        _, answer = self.answered(chat, POEM, options={'temperature': 0, 'max_tokens': 10})
        self.post(f'/chats/{chat}/messages/{answer["id"]}/continue', {'options': {'temperature': 0, 'max_tokens': 10}})
        more = self.ended(chat, answer['id'])
        _, o = self.server.post('/v1/chat/completions', {'messages': [{'role': 'user', 'content': POEM}],
                                                         'temperature': 0, 'max_tokens': 20})
        self.assertEqual(more['content'], o['choices'][0]['message']['content'])
        self.assertEqual(len(self.get(f'/chats/{chat}')['messages']), 2)

    def test_schema(self):
        chat = self.chat()
        schema = {'type': 'object', 'properties': {'n': {'enum': [7]}}, 'required': ['n'], 'additionalProperties': False}
        _, answer = self.answered(chat, 'A number', options={'temperature': 0, 'max_tokens': 40, 'json_schema': schema})
        self.assertEqual(json.loads(answer['content']), {'n': 7})

    def test_stop(self):
        chat = self.chat()
        turn = self.ask(chat, POEM, options=LONG)
        mid = turn['answer']['id']
        self.assertEqual(turn['answer']['status'], 'running')
        self.until(lambda: len(self.message(chat, mid)['content']) > 20)
        self.assertTrue(self.get(f'/chats/{chat}')['chat']['running'])
        self.assertEqual(self.send('PATCH', f'/chats/{chat}/messages/{mid}', {'content': 'x'}, want=400)['error']['code'], None)
        stopped = self.post(f'/chats/{chat}/messages/{mid}/stop')
        self.assertEqual(stopped['status'], 'stopped')
        self.until(lambda: not self.get(f'/chats/{chat}')['chat']['running'])
        kept = self.message(chat, mid)
        self.assertTrue(kept['content'].startswith(stopped['content']))
        self.assertEqual(kept['status'], 'stopped')
        self.assertTrue(self.server.idle(5))
        self.assertTrue(self.get(f'/chats/{chat}')['chat']['title'])

    def test_deleted_running(self):
        chat = self.chat()
        events = Events(self.server)
        mid = self.ask(chat, POEM, options=LONG)['answer']['id']
        self.until(lambda: len(self.message(chat, mid)['content']) > 20)
        self.send('DELETE', f'/chats/{chat}')
        self.assertTrue(self.server.idle(5))
        self.until(lambda: events.of('deleted'))
        time.sleep(0.5)
        names = [n for n, _ in events.seen]
        self.assertFalse({'chat', 'message'} & set(names[names.index('deleted'):])) # nothing brings it back to a list
        events.close()
        self.post(f'/chats/{chat}/restore')
        answer = self.ended(chat, mid)
        self.assertEqual(answer['status'], 'stopped')
        self.assertGreater(len(answer['content']), 20)
        self.assertEqual([c['id'] for c in self.get('/chats?q=' + quote(answer['content'][5:15].strip()))['chats']], [chat])

    def test_titles(self):
        chat = self.chat()
        self.assertEqual(self.get(f'/chats/{chat}')['chat']['title'], '')
        self.answered(chat, 'What is the capital of France?')
        title = self.until(lambda: self.get(f'/chats/{chat}')['chat']['title'])
        self.assertNotIn('\n', title)
        self.assertLessEqual(len(title), 100)
        named = self.chat()
        self.send('PATCH', f'/chats/{named}', {'title': '내 이름'})
        self.answered(named)
        time.sleep(0.3)
        self.assertEqual(self.get(f'/chats/{named}')['chat']['title'], '내 이름')
        self.send('PATCH', f'/chats/{named}', {'title': 'two\nlines'}, want=400)
        # the question for a title has not cost the next turn what is known
        head = self.get(f'/chats/{chat}')['head']
        _, more = self.answered(chat, 'And of Korea?', parent=head)
        self.assertGreaterEqual(more['usage']['cached_tokens'], 32)

    def test_instructions(self):
        folder = self.post('/folders', {'name': '일', 'instructions': 'Speak like a pirate.'})
        self.send('PUT', '/settings', {'instructions': 'Be brief.', 'memory': [{'id': '1', 'text': 'Likes tea.'}]})
        chat = self.chat(folder=folder['id'])
        _, answer = self.answered(chat)
        system = 'Be brief.\n\nWhat is known of the user:\n- Likes tea.\n\nSpeak like a pirate.'
        _, o = self.server.post('/v1/chat/completions', {**SHORT, 'messages': [
            {'role': 'system', 'content': system}, {'role': 'user', 'content': 'Hello'}]})
        self.assertEqual(answer['content'], o['choices'][0]['message']['content'])
        self.assertEqual(answer['usage']['prompt_tokens'], o['usage']['prompt_tokens'])

    def test_files(self):
        status, o = self.server.call('POST', '/api/v1/files?name=' + quote('가 나.txt'), 'tea\n'.encode() * 30, Content_Type='text/plain')
        self.assertEqual((status, o['name'], o['size']), (200, '가 나.txt', 120))
        chat = self.chat()
        user, answer = self.answered(chat, 'What is in it?', files=[o['id']])
        self.assertEqual(user['files'], [{'id': o['id'], 'name': '가 나.txt', 'type': 'text/plain', 'size': 120, 'source': '', 'kept': 0}])
        _, want = self.server.post('/v1/chat/completions', {**SHORT, 'messages': [
            {'role': 'user', 'content': 'File "가 나.txt":\n```\n' + 'tea\n' * 30 + '\n```\n\nWhat is in it?'}]})
        self.assertEqual(answer['usage']['prompt_tokens'], want['usage']['prompt_tokens'])
        status, headers, body = self.server.raw('GET', f'/api/v1/files/{o["id"]}')
        self.assertEqual((status, body), (200, b'tea\n' * 30))
        self.assertTrue(headers['Content-Type'].startswith('text/plain'))
        self.assertEqual(self.server.call('POST', '/api/v1/files?name=a', b'\xff')[0], 400)
        self.assertEqual(self.server.call('POST', '/api/v1/files?name=a', b'x' * (4 * 2**20 + 1))[0], 413)
        self.assertEqual(self.server.call('POST', '/api/v1/files', b'x')[0], 400)
        self.ask_refused(chat, files=['nothing'])

    def ask_refused(self, chat, want=404, **fields):
        n = len(self.get(f'/chats/{chat}')['messages'])
        self.post(f'/chats/{chat}/messages', {'content': 'x', **fields}, want=want)
        self.assertEqual(len(self.get(f'/chats/{chat}')['messages']), n)

    def test_refused(self):
        chat = self.chat()
        self.ask_refused(chat, parent='nothing')
        self.ask_refused(chat, model='nothing') if len(self.get('/me')['models']) > 1 else None
        self.ask_refused(chat, 400, options={'temperature': 9})
        self.ask_refused(chat, 400, options={'nonsense': 1})
        self.ask_refused(chat, 400, options={'json_schema': {'type': 'nonsense'}, 'stop': 7})
        self.ask_refused(chat, 400, content='')
        self.ask_refused(chat, 400, content=7)
        self.get('/chats/nothing', want=404)
        self.post('/chats/nothing/messages', {'content': 'x'}, want=404)
        self.get('/chats?limit=0', want=400)
        self.get('/chats?before=x', want=400)
        self.get('/chats?archived=2', want=400)
        # what a form on another site could send
        status, o = self.server.call('POST', '/api/v1/chats', b'{}', Content_Type='text/plain')
        self.assertEqual(status, 415)
        status, _ = self.server.call('POST', '/api/v1/chats', {}, Origin='https://evil.example', **JSON)
        self.assertEqual(status, 403)
        self.send('PUT', '/settings', {'a': 'x' * 300000}, want=413)

    def test_too_long(self):
        chat = self.chat()
        _, answer = self.answered(chat, 'word ' * 5000)
        self.assertEqual(answer['status'], 'error')
        self.assertIn('2048', answer['error'])
        # and the next question is answered, though two of the user's stand together
        _, second = self.answered(chat, 'Hello')
        self.assertEqual(second['status'], 'done')

    def test_list(self):
        chats = [self.chat() for _ in range(5)]
        self.send('PATCH', f'/chats/{chats[0]}', {'pinned': True})
        self.send('PATCH', f'/chats/{chats[1]}', {'archived': True})
        temporary = self.chat(temporary=True)
        page = self.get('/chats?limit=2')
        self.assertEqual([c['id'] for c in page['chats']], [chats[0], chats[4], chats[3]])
        self.assertTrue(page['more'])
        rest = self.get(f'/chats?limit=2&before={page["chats"][-1]["updated"]!r}')
        self.assertEqual(([c['id'] for c in rest['chats']], rest['more']), ([chats[2]], False))
        self.assertEqual([c['id'] for c in self.get('/chats?archived=1')['chats']], [chats[1]])
        self.assertEqual(self.get(f'/chats/{temporary}')['chat']['temporary'], True)
        self.assertEqual(self.send('DELETE', f'/chats/{chats[2]}'), {'deleted': True})
        self.get(f'/chats/{chats[2]}', want=404)
        self.assertEqual(self.post(f'/chats/{chats[2]}/restore')['id'], chats[2])
        self.get(f'/chats/{chats[2]}')
        folder = self.post('/folders', {'name': 'f'})['id']
        self.send('PATCH', f'/chats/{chats[3]}', {'folder': folder})
        self.assertEqual([c['id'] for c in self.get(f'/chats?folder={folder}')['chats']], [chats[3]])
        self.assertEqual(self.send('PATCH', f'/chats/{chats[3]}', {'folder': None})['folder'], None)
        self.assertEqual(self.send('PATCH', f'/folders/{folder}', {'instructions': 'x'})['name'], 'f')
        self.send('DELETE', f'/folders/{folder}')
        self.assertEqual(self.get('/folders'), {'folders': []})

    def test_search(self):
        a, b = self.chat(), self.chat()
        self.answered(a, '대한민국의 수도는 어디인가요?', options={'max_tokens': 1})
        self.answered(b, '김치찌개 끓이는 법', options={'max_tokens': 1})
        for q, want in (('한', {a}), ('민국', {a}), ('한민국', {a}), ('찌', {b}), ('찌개 끓', {b}), ('는', {a, b}), ('한국', set())):
            found = self.get('/chats?q=' + quote(q))['chats']
            self.assertEqual({c['id'] for c in found}, want, q)
        self.assertIn('찌개', self.get('/chats?q=' + quote('찌개'))['chats'][0]['snippet'])

    def test_share(self):
        chat = self.chat()
        user, answer = self.answered(chat)
        share = self.post(f'/chats/{chat}/share', {'days': 1})
        self.assertAlmostEqual(share['expires'], time.time() + 86400, delta=60)
        self.answered(chat, 'a secret for later', parent=answer['id'])
        shared = self.get(f'/shared/{share["token"]}')
        self.assertEqual([m['content'] for m in shared['messages']], ['Hello', answer['content']])
        self.assertNotIn('secret', json.dumps(shared))
        copy = self.post(f'/shared/{share["token"]}/copy')
        self.assertEqual([m['content'] for m in self.get(f'/chats/{copy["id"]}')['messages']], ['Hello', answer['content']])
        self.post(f'/chats/{chat}/share', {'days': 0}, want=400)
        self.send('DELETE', f'/chats/{chat}/share')
        self.get(f'/shared/{share["token"]}', want=404)
        status, headers, text = self.server.raw('GET', f'/api/v1/chats/{chat}/export?as=markdown')
        self.assertEqual(status, 200)
        self.assertTrue(headers['Content-Type'].startswith('text/markdown'))
        self.assertIn('## user\n\nHello\n', text.decode())
        self.assertEqual(len(self.get(f'/chats/{chat}/export?as=json')['messages']), 4)
        self.get(f'/chats/{chat}/export?as=doc', want=400)


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Live(Chats):
    def test_events(self):
        """Two listeners, and one who comes in mid-answer, see the same text in the end."""
        chat = self.chat()
        one, two, other = Events(self.server), Events(self.server, chat), Events(self.server, 'another')
        turn = self.ask(chat, POEM + ' 안녕 😀', options={'temperature': 0, 'max_tokens': 120})
        mid = turn['answer']['id']
        self.until(lambda: len(one.of('delta')) > 10)
        late = Events(self.server, chat)
        so_far = self.message(chat, mid)
        self.assertEqual(so_far['status'], 'running')
        self.assertTrue(so_far['content'])
        late.read(mid, so_far['content'])
        final = self.ended(chat, mid)
        for l in (one, two, late):
            self.until(lambda: any(m['message']['status'] == 'done' for m in l.of('message')
                                   if m.get('message', {}).get('id') == mid))
            self.assertEqual(l.texts[mid], final['content'])
        self.assertEqual(''.join(d['content'] for d in one.of('delta')), final['content'])
        self.assertEqual(one.ids, sorted(set(one.ids)))
        self.until(lambda: [c for c in one.of('chat') if c['chat']['title']])
        self.assertEqual(other.seen, [])
        self.send('DELETE', f'/chats/{chat}')
        self.until(lambda: one.of('deleted') == [{'chat': chat}])
        for l in (one, two, late, other):
            l.close()

    def test_goes_on(self):
        """The one who asked goes away; the answer is there."""
        chat = self.chat()
        events = Events(self.server, chat)
        mid = self.ask(chat, POEM, options={'temperature': 0, 'max_tokens': 60})['answer']['id']
        events.close()
        answer = self.ended(chat, mid)
        self.assertEqual((answer['status'], answer['usage']['completion_tokens']), ('done', 60))

    def test_kill(self):
        """Killed in mid-answer: the question is there, the answer is stopped, with what was stored."""
        folder = tempfile.mkdtemp()
        serve = lambda: Server(DAMSO, *self.options, folder=folder, DAMSO_CTX='8192')
        server = serve()
        own, self.server = self.server, server
        try:
            chat = self.chat()
            turn = self.ask(chat, POEM + ' 안녕', options=LONG)
            mid = turn['answer']['id']
            self.until(lambda: len(self.message(chat, mid)['content']) > 40)
            time.sleep(1.6) # one second's progress is on the disk
            seen = self.message(chat, mid)
            self.assertEqual(seen['status'], 'running')
            server.kill()
            self.server = server = serve()
            whole = self.get(f'/chats/{chat}')
            self.assertEqual([m['id'] for m in whole['messages']], [turn['user']['id'], mid])
            self.assertEqual(whole['messages'][0]['content'], POEM + ' 안녕')
            kept = whole['messages'][1]
            self.assertEqual(kept['status'], 'stopped')
            self.assertFalse(whole['chat']['running'])
            self.assertTrue(kept['content'] and seen['content'].startswith(kept['content'][:20]), kept)
            self.post(f'/chats/{chat}/messages/{mid}/continue', {'options': {'max_tokens': 4}})
            self.assertTrue(self.ended(chat, mid)['content'].startswith(kept['content']))
            # a kill just after the answer to a question
            second = self.ask(chat, 'again', parent=mid)
            server.kill()
            self.server = server = serve()
            ids = [m['id'] for m in self.get(f'/chats/{chat}')['messages']]
            self.assertEqual(ids[2:], [second['user']['id'], second['answer']['id']])
            self.assertEqual(server.close(), 0)
        finally:
            self.server = own
            shutil.rmtree(folder)

    def test_end(self):
        """An end by a signal waits for the answer under way, not for listeners."""
        chat = self.chat()
        events = Events(self.server)
        self.ask(chat, POEM, options={'temperature': 0, 'max_tokens': 30})
        began = time.monotonic()
        self.assertEqual(self.server.close(), 0)
        self.assertLess(time.monotonic() - began, 25)
        self.assertTrue(events.ended.wait(5))
        events.sock.close()

    def test_many(self):
        """30 users at once (DAMSO_TEST_USERS): no message is lost or doubled."""
        n = int(os.environ.get('DAMSO_TEST_USERS', 30))
        def user(i):
            chat, parent, sent = self.chat(), None, []
            for turn in range(3):
                text = f'user {i} turn {turn}'
                got = self.ask(chat, text, parent=parent, options={'max_tokens': 3, 'seed': i})
                sent.append((text, parent, got['user']['id'], got['answer']['id']))
                self.ended(chat, got['answer']['id'])
                parent = got['answer']['id']
            return chat, sent

        listener = Events(self.server)
        with concurrent.futures.ThreadPoolExecutor(n) as pool:
            all_users = list(pool.map(user, range(n)))
        ids = set()
        for chat, sent in all_users:
            messages = self.get(f'/chats/{chat}')['messages']
            self.assertEqual(len(messages), 6)
            for (text, parent, uid, aid), u, a in zip(sent, messages[::2], messages[1::2]):
                self.assertEqual((u['id'], u['content'], u['parent']), (uid, text, parent))
                self.assertEqual((a['id'], a['parent'], a['status']), (aid, uid, 'done'))
                ids |= {uid, aid}
        self.assertEqual(len(ids), 6 * n)
        told = [o['message']['id'] for o in listener.of('message') if o['message']['status'] == 'done'
                and o['message']['role'] == 'assistant']
        self.assertEqual(sorted(told), sorted(a for _, sent in all_users for *_, a in sent))
        listener.close()


if __name__ == '__main__':
    unittest.main()
