#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Shared chats and what their readers say, chats from elsewhere, events told again: tests/shares_test.py DAMSO.
Needs DAMSO_TEST_MODELS."""
import html.parser, http.client, json, os, sys, threading, time
import unittest
from urllib.parse import urlsplit

from served import SMALL, Server

DAMSO = os.path.abspath(sys.argv.pop(1))
SHARED = os.environ.get('DAMSO_TEST_STORE') == 'postgres'  # events come through the database, in its order
JSON = {'Content-Type': 'application/json'}
HOSTILE = ['<img src=x onerror="window.canary=1">', '"><script>window.canary=1</script>', "'\"`&lt;&#60;",
           '</title></head><script>window.canary=1</script>', '\u202e<svg onload=canary>', '{{7*7}} ${7*7}']


class Tags(html.parser.HTMLParser):
    """The meta tags of a page, by property or name, and its elements."""

    def __init__(self, text):
        super().__init__()
        self.meta, self.elements = {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        attrs = dict(attrs)
        if tag == 'meta' and 'content' in attrs:
            self.meta[attrs.get('property') or attrs.get('name')] = attrs['content']


class Reader:
    """A browser: it keeps the cookie that it is given."""

    def __init__(self, server):
        self.at = urlsplit(server.url)
        self.cookie = None

    def ask(self, method, path, body=None, **headers):
        c = http.client.HTTPConnection(self.at.hostname, self.at.port, timeout=30)
        head = dict(headers)
        if body is not None:
            head.update(JSON)
        if self.cookie:
            head['Cookie'] = f'theme=dark; {self.cookie}; x=y'
        c.request(method, path, None if body is None else json.dumps(body).encode(), head)
        r = c.getresponse()
        text = r.read().decode()
        given = r.headers['Set-Cookie']
        if given:
            self.cookie = given.split(';')[0]
            self.attributes = given
        c.close()
        return r.status, r.headers, text

    def call(self, method, path, body=None, want=200):
        status, self.head, text = self.ask(method, '/api/v1' + path, body)
        assert status == want, (status, text)
        return json.loads(text)


def message(mid, parent, role, content, **more):
    return {'id': mid, 'parent': parent, 'role': role, 'content': content, **more}


def talk(source='test:1', **more):
    return {'source': source, 'title': '되와 돼', 'created': 1600000000.5, 'updated': 1600000100,
            'messages': [message('u', None, 'user', '‘되’와 ‘돼’가 늘 헷갈려요.', created=1600000000.5),
                         message('a', 'u', 'assistant', '‘돼’는 **‘되어’가** 줄어든 말이에요.', model='gpt-4o'),
                         message('b', 'u', 'assistant', '다른 답')],
            'head': 'a', **more}


class Shares(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(DAMSO, '-m', SMALL)
        cls.owner = Reader(cls.server)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.close() == 0

    def shared(self, **more):
        """A chat and the token of a link to it."""
        chat = self.owner.call('POST', '/import', talk(self.id(), **more))['chat']['id']
        return chat, self.owner.call('POST', f'/chats/{chat}/share', {'days': 3})['token']

    # ---- recommending ----

    def test_like(self):
        _, token = self.shared()
        one, two = Reader(self.server), Reader(self.server)
        seen = one.call('GET', f'/shared/{token}')
        self.assertEqual((seen['likes'], seen['liked'], seen['comments'], seen['notes']), (0, False, True, []))
        self.assertIsNone(one.cookie)  # who only reads is given none
        for _ in range(2):
            self.assertEqual(one.call('POST', f'/shared/{token}/like', {})['likes'], 1)
        self.assertRegex(one.attributes, r'^damso_reader=\w{24}; Path=/api/v1/shared; Max-Age=\d+; HttpOnly; '
                                         r'SameSite=Strict$')
        self.assertEqual(two.call('POST', f'/shared/{token}/like', {'on': True})['likes'], 2)
        self.assertTrue(one.call('GET', f'/shared/{token}')['liked'])
        self.assertEqual(one.call('POST', f'/shared/{token}/like', {'on': False})['likes'], 1)
        self.assertFalse(one.call('GET', f'/shared/{token}')['liked'])
        one.call('POST', '/shared/none/like', {}, want=404)
        one.call('POST', f'/shared/{token}/like', {'on': 1}, want=400)

    def test_forged(self):
        """A form of another site cannot say what JSON is."""
        _, token = self.shared()
        for path in ('like', 'notes'):
            status, *_ = Reader(self.server).ask('POST', f'/api/v1/shared/{token}/{path}')
            self.assertEqual(status, 415)

    # ---- notes ----

    def test_notes(self):
        chat, token = self.shared()
        path = f'/shared/{token}/notes'
        shown = self.owner.call('GET', f'/shared/{token}')['messages']
        self.assertEqual([m['parent'] for m in shown], [None, shown[0]['id']])
        one, two = Reader(self.server), Reader(self.server)
        note = {'text': '‘하/해’가\n먼저 나왔으면 해요.', 'name': '가람', 'message': shown[1]['id'],
                'quote': '‘되어’가 줄어든', 'nth': 1}
        got = one.call('POST', path, note)['notes']
        self.assertEqual({k: got[0][k] for k in note}, note)
        self.assertTrue(got[0]['own'])
        two.call('POST', path, {'text': '저도요'})
        got = two.call('POST', f'/shared/{token}/like', {'note': got[0]['id']})
        self.assertEqual(got['likes'], 0)
        self.assertEqual([(n['likes'], n['liked'], n['own']) for n in got['notes']],
                         [(1, True, False), (0, False, True)])
        first, second = (n['id'] for n in got['notes'])
        two.call('DELETE', f'{path}/{first}', want=404)
        Reader(self.server).call('DELETE', f'{path}/{second}', want=404)
        two.call('DELETE', f'{path}/{second}')
        # The owner sees them with the chat, deletes them, and takes no more.
        mine = self.owner.call('GET', f'/chats/{chat}/share')
        self.assertEqual(([h['token'] for h in mine['shares']], [n['id'] for n in mine['notes']]),
                         ([token], [first]))
        self.owner.call('DELETE', f'/chats/{chat}/share/notes/{first}')
        self.owner.call('DELETE', f'/chats/{chat}/share/notes/{first}', want=404)
        self.assertFalse(self.owner.call('PATCH', f'/chats/{chat}/share', {'comments': False})['shares'][0]['comments'])
        self.assertEqual(one.call('POST', path, note, want=403)['error']['code'], 'comments_off')
        self.owner.call('PATCH', f'/chats/{chat}/share', {}, want=400)

    def test_hostile_notes(self):
        """They come back as they went in, as JSON, and what is no text is refused."""
        _, token = self.shared()
        path = f'/shared/{token}/notes'
        r = Reader(self.server)
        texts = HOSTILE[:4]
        for text in texts:
            r.call('POST', path, {'text': text, 'name': text[:30]})
        self.assertEqual([n['text'] for n in r.call('GET', f'/shared/{token}')['notes']], texts)
        self.assertEqual(r.head['Content-Type'], 'application/json')
        for bad in ({'text': ''}, {'text': ' \n '}, {'text': 'x' * 4001}, {'text': 'a\x1b[31m'}, {'text': 5}, {},
                    {'text': 'x', 'name': 'n' * 121}, {'text': 'x', 'name': 'a\nb'}, {'text': 'x', 'quote': 'q'},
                    {'text': 'x', 'message': 'none'}, {'text': 'x', 'nth': -1},
                    {'text': 'x', 'message': 'none', 'quote': 'q' * 4001}):
            self.assertIn(r.ask('POST', '/api/v1' + path, bad)[0], (400, 413), bad)

    def test_title(self):
        """Tags for previews hold texts and nothing else, and name no address."""
        for title in HOSTILE:
            chat, token = self.shared()
            self.owner.call('PATCH', f'/chats/{chat}', {'title': title})
            token = self.owner.call('POST', f'/chats/{chat}/share', {'days': 1})['token']
            status, head, text = self.owner.ask('GET', f'/shared/{token}')
            if status == 404 and 'without the web app' in text:
                self.skipTest('the program was built without the web app')
            page = Tags(text)
            self.assertEqual((status, page.meta['og:title']), (200, title))
            self.assertEqual(page.meta['description'], '‘돼’는 **‘되어’가** 줄어든 말이에요.')
            self.assertEqual(page.elements.count('script'), 2, text)
            self.assertNotIn('http', text.split('<body>')[0].replace('http-equiv', ''))
            self.assertEqual((head['Cache-Control'], head['X-Robots-Tag']), ('private, no-store', 'noindex'))
            self.assertIn("script-src 'self'", head['Content-Security-Policy'])
            self.owner.call('DELETE', f'/chats/{chat}')
            self.assertEqual(self.owner.ask('GET', f'/shared/{token}')[0], 404)
        for path in ('/c/any', '/settings'):
            self.assertEqual(self.owner.ask('GET', path)[0], 200)

    def test_copy(self):
        """Who reads goes on in a chat of their own."""
        _, token = self.shared()
        copy = self.owner.call('POST', f'/shared/{token}/copy', {})
        got = self.owner.call('GET', f'/chats/{copy["id"]}')['messages']
        self.assertEqual([m['content'] for m in got], [m['content'] for m in talk()['messages'][:2]])

    # ---- from elsewhere ----

    def test_import(self):
        """A tree with its times, once, and found by a part of a Korean word."""
        got = self.owner.call('POST', '/import', talk('chatgpt:a', pinned=True, archived=True, model='gone'))
        chat = got['chat']
        self.assertEqual((got['known'], chat['created'], chat['updated'], chat['pinned'], chat['archived']),
                         (False, 1600000000, 1600000100, True, True))
        whole = self.owner.call('GET', f'/chats/{chat["id"]}')
        self.assertEqual([m['content'] for m in whole['messages']], [m['content'] for m in talk()['messages']])
        self.assertEqual(whole['head'], whole['messages'][1]['id'])
        self.assertEqual({m['parent'] for m in whole['messages'][1:]}, {whole['messages'][0]['id']})
        self.assertEqual(whole['messages'][1]['model'], 'gpt-4o')
        again = self.owner.call('POST', '/import', talk('chatgpt:a'))
        self.assertEqual((again['known'], again['chat']['id']), (True, chat['id']))
        self.assertIn(chat['id'], [c['id'] for c in self.owner.call('GET', '/chats?q=%EB%93%A0+%EB%A7%90')['chats']])

    def test_import_refused(self):
        good = talk('bad')
        bad = [{**good, 'source': None}, {**good, 'messages': []}, {**good, 'head': 'x'}, {**good, 'title': 'a\nb'},
               {**good, 'created': -1}, {**good, 'updated': 1e300}, {**good, 'messages': [5]},
               {**good, 'messages': good['messages'][::-1]}, {**good, 'messages': good['messages'] * 2},
               {**good, 'messages': [message('u', None, 'tool', 'x')]}, {**good, 'title': 't' * 1025},
               {**good, 'messages': [message('u', 'u', 'user', 'x')], 'head': None}]
        for o in bad:
            status, _, text = self.owner.ask('POST', '/api/v1/import', o)
            self.assertEqual(status, 400, (o, text))
            self.assertIn('error', json.loads(text))
        self.owner.call('POST', '/import', {**good, 'folder': 'folder-none'}, want=404)
        self.owner.call('POST', '/import', {**good, 'messages': [message('u', None, 'user', 'x', files=['none'])],
                                            'head': None}, want=404)
        self.assertFalse(self.owner.call('POST', '/import', good)['known'])  # nothing of those was kept

    # ---- files of folders ----

    def test_folder_files(self):
        """Each of a folder's chats is asked with them, also one that was there before."""
        folder = self.owner.call('POST', '/folders', {'name': '칩'})
        self.assertEqual(folder['files'], [])
        chat = self.owner.call('POST', '/chats', {'folder': folder['id']})['id']
        before = self.tokens(chat)
        c = http.client.HTTPConnection('127.0.0.1', urlsplit(self.server.url).port)
        c.request('POST', '/api/v1/files?name=memo.txt', '청자 C1의 대역폭은 256 GB/s예요. '.encode() * 8)
        file = json.loads(c.getresponse().read())['id']
        got = self.owner.call('POST', f'/folders/{folder["id"]}/files', {'file': file})
        self.assertEqual([f['name'] for f in got['files']], ['memo.txt'])
        self.assertEqual(self.owner.call('GET', '/folders')['folders'][-1]['files'], got['files'])
        self.assertGreater(self.tokens(chat), before + 50)
        self.assertEqual(self.owner.call('DELETE', f'/folders/{folder["id"]}/files/{file}')['files'], [])
        self.assertEqual(self.tokens(chat), before)
        self.owner.call('POST', f'/folders/{folder["id"]}/files', {'file': 'none'}, want=404)
        self.owner.call('POST', f'/folders/{folder["id"]}/files', {}, want=400)

    def tokens(self, chat):
        """Of the prompt of a first question."""
        asked = self.owner.call('POST', f'/chats/{chat}/messages',
                                {'parent': None, 'content': 'Hi', 'options': {'max_tokens': 1}})
        for _ in range(600):
            whole = self.owner.call('GET', f'/chats/{chat}')['messages']
            answer = next(m for m in whole if m['id'] == asked['answer']['id'])
            if answer['status'] != 'running':
                self.assertIn(answer['status'], ('done', 'stopped'))
                return answer['usage']['prompt_tokens']
            time.sleep(0.05)
        self.fail('no answer')

    # ---- events ----

    def listen(self, last=None):
        at = urlsplit(self.server.url)
        c = http.client.HTTPConnection(at.hostname, at.port, timeout=20)
        c.request('GET', '/api/v1/events', headers={'Last-Event-ID': last} if last else {})
        return c, c.getresponse()

    def next(self, r):
        """(id, name, object) of the next event; name None: only an id."""
        event = {}
        while line := r.readline().decode().rstrip('\n'):
            if not line.startswith(':'):
                name, value = line.split(': ', 1)
                event[name] = value
        if not event:
            return self.next(r)
        return event.get('id'), event.get('event'), json.loads(event.get('data', 'null'))

    def test_events(self):
        """What was told between two connections is told again, once; two clients hear the same."""
        a, ra = self.listen()
        b, rb = self.listen()
        first = self.next(ra)[0]
        self.next(rb)
        def rename(title):
            self.owner.call('PATCH', f'/chats/{chat}', {'title': title})
        chat = self.owner.call('POST', '/chats', {})['id']
        rename('하나')

        def mine(r):
            """The next event of this chat: servers that share a store may tell of others just before."""
            while True:
                event = self.next(r)
                if not SHARED or event[1] == 'chat' and event[2]['chat']['id'] == chat:
                    return event
        heard = [mine(ra), mine(ra)]
        self.assertEqual([o['chat']['title'] for _, _, o in heard], ['', '하나'])
        a.close()
        rename('둘')
        rename('셋')
        a, ra = self.listen(heard[1][0])
        again = [mine(ra), mine(ra)]
        self.assertEqual([o['chat']['title'] for _, _, o in again], ['둘', '셋'])
        rename('넷')
        if not SHARED:
            self.assertEqual(self.next(ra)[1], None)  # the id to go on from
        again.append(mine(ra))
        self.assertEqual(again[-1][2]['chat']['title'], '넷')
        self.assertEqual([mine(rb) for _ in range(5)], heard + again)
        a.close()
        b.close()
        a, ra = self.listen(first)  # before all of it
        self.assertEqual([mine(ra) for _ in range(5)], heard + again)
        a.close()

    def test_events_reset(self):
        a, ra = self.listen()
        last = self.next(ra)[0]
        a.close()
        run, number = last.split('-')
        for unknown in (f'{int(run, 16) ^ 1:016x}-{number}', f'{run}-{int(number) + 1}', f'{run}-x', 'x', '7', '-',
                        f'{run}-99999999999999999999999'):
            a, ra = self.listen(unknown)
            given = self.next(ra)
            self.assertEqual(given[1:], ('reset', {}), unknown)
            at = given[0] if SHARED else self.next(ra)[0]  # where to go on from, with it or behind it
            self.assertEqual(at.split('-')[0], run)
            a.close()


class Large(unittest.TestCase):
    def test_too_large(self):
        """A share that is too large to be kept is refused, and not kept in part, which nobody could read."""
        server = Server(DAMSO, '-m', SMALL)
        owner = Reader(server)
        ids = [str(i) for i in range(5)]
        chat = owner.call('POST', '/import', {'source': 'large', 'head': ids[-1], 'messages': [
            message(i, str(int(i) - 1) if int(i) else None, 'user', 'x') for i in ids]})['chat']['id']
        for m in owner.call('GET', f'/chats/{chat}')['messages']:
            owner.call('PATCH', f'/chats/{chat}/messages/{m["id"]}', {'content': 'x' * (14 << 20)})
        status, _, text = owner.ask('POST', f'/api/v1/chats/{chat}/share', {})
        self.assertEqual(status, 413, text)
        self.assertEqual(server.close(), 0)


class Pace(unittest.TestCase):
    def test_pace(self):
        """From one address only so much, however many readers it says it is; others of the program go on."""
        server = Server(DAMSO, '-m', SMALL)
        owner = Reader(server)
        chat = owner.call('POST', '/import', talk())['chat']['id']
        token = owner.call('POST', f'/chats/{chat}/share', {})['token']
        for what, body, n in (('notes', {'text': 'x'}, 6), ('like', {}, 20)):
            for _ in range(n):
                Reader(server).call('POST', f'/shared/{token}/{what}', body)
            r = Reader(server)
            began = time.monotonic()
            while r.ask('POST', f'/api/v1/shared/{token}/{what}', body)[0] == 200:
                self.assertLess(time.monotonic() - began, 2)
            r.call('POST', f'/shared/{token}/{what}', body, want=429)
            self.assertGreaterEqual(int(r.head['Retry-After']), 1)
        r.call('GET', f'/shared/{token}')
        self.assertEqual(server.close(), 0)

    def test_behind_a_proxy(self):
        """The address is the one that the proxy saw, or all its readers would wait for each other."""
        server = Server(DAMSO, '-m', SMALL, '--proxy')
        owner = Reader(server)
        chat = owner.call('POST', '/import', talk())['chat']['id']
        token = owner.call('POST', f'/chats/{chat}/share', {})['token']

        def note(address):
            return Reader(server).ask('POST', f'/api/v1/shared/{token}/notes', {'text': 'x'},
                                      **{'X-Forwarded-For': address})[0]
        for one, other in (('192.0.2.1', '192.0.2.2'), ('::ffff:192.0.2.3', '::ffff:192.0.2.4'),
                           ('2001:db8::1', '2001:db8:0:1::1')):
            self.assertEqual([note(one) for _ in range(7)], [200] * 6 + [429], one)
            self.assertEqual(note(other), 200, other)
        self.assertEqual(note('2001:db8::2'), 429)  # who has one has its /64
        self.assertEqual(server.close(), 0)


if __name__ == '__main__':
    unittest.main()
