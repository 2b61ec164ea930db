#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`damso serve --accounts` from outside: the first admin, invitations, sessions, what one user can reach of
another's, forged requests, floods of logins: tests/accounts_test.py DAMSO.  Needs DAMSO_TEST_MODELS."""
import concurrent.futures, glob, itertools, json, os, re, shutil, subprocess, sys, tempfile, time
import unittest

from served import MODELS, SMALL, Server, store_of

DAMSO = os.path.abspath(sys.argv.pop(1))
GOOD = 'correct horse battery'
SHORT = {'options': {'temperature': 0, 'max_tokens': 8}}
addresses = (f'10.1.{n // 250}.{n % 250 + 1}' for n in itertools.count())


class Who:
    """A browser with its own address, cookie and nothing else."""

    def __init__(self, server, origin=None):
        self.server, self.cookie, self.address = server, None, next(addresses)
        self.origin = origin or f'http://127.0.0.1:{server.port}'

    def headers(self, write, more):
        h = {'X_Forwarded_For': self.address, **({'Cookie': self.cookie} if self.cookie else {})}
        if write:
            h |= {'Origin': self.origin, 'Sec_Fetch_Site': 'same-origin', 'Content_Type': 'application/json'}
        return {k: v for k, v in (h | more).items() if v is not None}

    def ask(self, method, path, body=None, **more):
        """(status, headers, object or text)"""
        write = method != 'GET'
        body = body if isinstance(body, bytes) else json.dumps(body or {}).encode() if write else None
        status, headers, data = self.server.raw(method, path, body, **self.headers(write, more))
        for line in headers.get_all('Set-Cookie') or []:
            self.set_cookie = line
            self.cookie = line.split(';')[0] if 'Max-Age=0' not in line else None
        try:
            return status, headers, json.loads(data)
        except ValueError:
            return status, headers, data.decode()

    def get(self, path, want=200, **more):
        status, _, o = self.ask('GET', path, **more)
        assert status == want, (path, status, o)
        return o

    def post(self, path, body=None, want=200, method='POST', **more):
        status, self.said, o = self.ask(method, path, body, **more)
        assert status == want, (path, status, o)
        return o

    def delete(self, path, want=200):
        return self.post(path, want=want, method='DELETE')

    def join(self, link, name=None, password=GOOD, want=200):
        return self.post('/api/v1/join', {'token': link, 'name': name, 'password': password}, want)

    def login(self, name, password=GOOD, want=200, **more):
        return self.post('/api/v1/login', {'name': name, 'password': password}, want, **more)

    def chat(self, text='Hello'):
        chat = self.post('/api/v1/chats')['id']
        self.post(f'/api/v1/chats/{chat}', {'title': 'mine'}, method='PATCH')  # else the model writes one later
        got = self.post(f'/api/v1/chats/{chat}/messages', {'parent': None, 'content': text, **SHORT})
        return chat, got['user']['id'], got['answer']['id']

    def done(self, chat, seconds=60):
        end = time.monotonic() + seconds
        while (o := self.get(f'/api/v1/chats/{chat}'))['chat']['running']:
            assert time.monotonic() < end
            time.sleep(0.02)
        return o


def link_in(text):
    found = re.search(r'/#/join/([\w-]{43})\b', text)
    return found and found[1]


def wait_for(what, seconds=10):
    end = time.monotonic() + seconds
    while not (got := what()):
        assert time.monotonic() < end, 'waited too long'
        time.sleep(0.02)
    return got


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Accounts(unittest.TestCase):
    def serve(self, *args, folder=None, **env):
        server = Server(DAMSO, '-m', SMALL, *args, folder=folder, **env)
        self.addCleanup(lambda: self.assertEqual(server.close(), 0))
        return server

    def home(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def log(self, server):
        with open(f'{server.dir}/log') as f:
            return f.read()

    def people(self, *args, **env):
        """A server behind a proxy, so that each Who has an address; its admin."""
        server = self.serve('--accounts', '--proxy', *args, **env)
        admin = Who(server)
        admin.join(wait_for(lambda: link_in(self.log(server))), 'admin')
        return server, admin

    def user(self, admin, name, **how):
        who = Who(admin.server)
        who.id = who.join(admin.post('/api/v1/admin/invitations', how)['token'], name)['user']['id']
        return who

    def cli(self, folder, *args, stdin=None, want=0):
        p = subprocess.run([DAMSO, 'user', *args, '--store', store_of(folder)], input=stdin, capture_output=True,
                           text=True, env={'PATH': os.environ['PATH'], 'HOME': folder})
        self.assertEqual(p.returncode, want, p.stderr)
        return p.stdout + p.stderr

    # ---- coming in ----

    def test_first_admin_takes_over(self):
        home = self.home()
        alone = Server(DAMSO, '-m', SMALL, folder=home)
        me = Who(alone)
        self.assertEqual(me.get('/api/v1/session'), {'accounts': False, 'user': None, 'empty': False})
        self.assertEqual(me.get('/api/v1/me')['user'], {'id': 'local', 'name': 'local', 'role': 'admin'})
        chat, *_ = me.chat()
        me.done(chat)
        me.post('/api/v1/folders', {'name': 'F'})
        me.login('x', want=404)
        me.get('/api/v1/account', want=404)
        me.post('/api/v1/admin/invitations', want=404)
        self.assertEqual(me.get('/api/v1/admin/users')['users'], [])
        self.assertEqual(me.get('/api/v1/admin/live')['models'][0]['state'], 'open')
        alone.close()

        first = Server(DAMSO, '-m', SMALL, '--accounts', folder=home)
        old = wait_for(lambda: link_in(self.log(first)))
        self.assertEqual(Who(first).get('/api/v1/session'), {'accounts': True, 'user': None, 'empty': True})
        Who(first).get('/api/v1/chats', want=401)
        first.close()
        server = self.serve('--accounts', '--log-level', 'info', folder=home)
        link = wait_for(lambda: link_in(self.log(server)))
        me = Who(server)
        me.post('/api/v1/invitation', {'token': old}, want=404)  # the newer link took its place
        self.assertEqual(me.post('/api/v1/invitation', {'token': link})['role'], 'admin')
        me.join(link, '민아', password='short', want=400)
        me.join(link, '', want=400)
        me.join(link, '민아')
        self.assertEqual([c['id'] for c in me.get('/api/v1/chats')['chats']], [chat])
        self.assertEqual([f['name'] for f in me.get('/api/v1/folders')['folders']], ['F'])
        self.assertEqual(me.get('/api/v1/me')['user']['role'], 'admin')
        Who(server).join(link, 'other', want=404)  # once
        self.assertFalse(me.get('/api/v1/session')['empty'])
        # Neither words, names nor secrets are in the log, and no secret is in the database.
        told = self.log(server).replace(link, '')  # it was shown by the start
        data = b''
        for path in glob.glob(f'{home}/store.db*'):
            with open(path, 'rb') as f:
                data += f.read()
        for secret in (link, GOOD, me.cookie.split('=')[1]):
            self.assertNotIn(secret, told)
            self.assertNotIn(secret.encode(), data)
        self.assertNotIn('민아', told)
        self.assertRegex(told, r'join=new user=user-\w+ role=admin by=setup address=127\.0\.0\.1')
        self.assertEqual(server.close(), 0)
        again = self.serve('--accounts', folder=home)
        me.server = again
        self.assertEqual(me.get('/api/v1/session'), {'accounts': True, 'empty': False, 'user': me.get('/api/v1/me')['user']})
        self.assertIsNone(link_in(self.log(again)))

    def test_login(self):
        server, admin = self.people()
        b = self.user(admin, 'Boram')
        self.assertRegex(b.set_cookie, r'^__Host-damso=[\w-]{43}; Path=/; Max-Age=\d+; HttpOnly; SameSite=Strict; Secure$')
        who = Who(server)
        wrong = who.login('boram', 'wrong wrong wrong', want=401)
        self.assertEqual(who.login('nobody', want=401), wrong)  # not told apart
        self.assertIsNone(who.cookie)
        who.login('BORAM')  # a name is one however it is typed
        self.assertEqual(who.get('/api/v1/me')['user']['id'], b.id)
        hangul = self.user(admin, '\uac00\ub098')
        Who(server).login('\u1100\u1161\u1102\u1161')  # the same syllables in parts
        # The same password too.
        hangul.post('/api/v1/account/password', {'old': GOOD, 'new': '\uac00\ub098\ub2e4\ub77c\ub9c8\ubc14\uc0ac\uc544\uc790\ucc28'})
        Who(server).login('\uac00\ub098', '\u1100\u1161\u1102\u1161\u1103\u1161\u1105\u1161\u1106\u1161\u1107\u1161\u1109\u1161'
                          '\u110b\u1161\u110c\u1161\u110e\u1161')
        token = who.cookie
        who.post('/api/v1/logout')
        self.assertIsNone(who.cookie)
        who.cookie = token
        who.get('/api/v1/me', want=401)
        self.assertEqual(who.get('/api/v1/session')['user'], None)
        for cookie in ('__Host-damso=', '__Host-damso=' + 'x' * 43, 'damso=' + b.cookie.split('=')[1], 'x=1; ;;;=',
                       '__Host-damso=' + 'x' * 5000):
            who.cookie = cookie
            who.get('/api/v1/me', want=401)
        who.cookie = f'a=b; {b.cookie}; c=d'
        who.get('/api/v1/me')
        for body in ({}, {'name': 'x'}, {'name': 5, 'password': 'x'}, {'name': 'x', 'password': ''},
                     {'name': 'x', 'password': 'x' * 513}, {'name': 'x' * 65, 'password': 'x'}, {'name': 'a\nb', 'password': 'x'}):
            Who(server).post('/api/v1/login', body, want=400)

    def test_time_tells_nothing(self):
        """A name that is there and one that is not: each refusal hashes a password once."""
        server, admin = self.people()
        self.user(admin, 'there')
        times = {'there': [], 'not there': []}
        for _ in range(5):
            for name in times:
                begun = time.monotonic()
                Who(server).login(name, 'wrong wrong wrong', want=401)
                times[name].append(time.monotonic() - begun)
        there, not_there = (min(t) for t in times.values())
        self.assertLess(max(there, not_there), 2 * min(there, not_there), times)
        begun = time.monotonic()
        Who(server).get('/api/v1/me', want=401)
        self.assertGreater(min(there, not_there), 5 * (time.monotonic() - begun))

    def test_waits(self):
        server, admin = self.people()
        self.user(admin, 'mina')
        # A name, from ever other addresses: the wait grows, and is told.
        def refused(who, name):
            for n in range(30):
                status, headers, _ = who().ask('POST', '/api/v1/login', {'name': name, 'password': 'wrong wrong'})
                if status == 429:
                    return n, int(headers['Retry-After'])
                self.assertEqual(status, 401)
            self.fail('no limit')
        n, wait = refused(lambda: Who(server), 'mina')
        self.assertEqual((n, wait <= 2), (6, True))
        _, headers, _ = Who(server).ask('POST', '/api/v1/login', {'name': 'MINA', 'password': GOOD})
        time.sleep(int(headers.get('Retry-After', 0)) + 0.1)
        status, _, _ = Who(server).ask('POST', '/api/v1/login', {'name': 'mina', 'password': 'wrong wrong'})
        self.assertEqual(status, 401)
        self.assertIn(refused(lambda: Who(server), 'mina'), ((0, 3), (0, 4)))
        Who(server).login('admin')  # others are not hindered
        # An address, with ever other names.
        names = (f'name{n}' for n in itertools.count())
        one = Who(server)
        for n in range(11):
            one.login(next(names), 'wrong wrong', want=401)
        one.login(next(names), 'wrong wrong', want=429)
        one.login('admin', want=429)
        one.address = f'6.6.6.6, {one.address}'  # what the client itself claims to have come by
        one.login('admin', want=429)

    def test_no_proxy_no_belief(self):
        """Without --proxy X-Forwarded-For is a client's word, and worth nothing."""
        server = self.serve('--accounts')
        statuses = [Who(server).ask('POST', '/api/v1/login', {'name': f'n{n}', 'password': 'wrong wrong'})[0] for n in range(12)]
        self.assertEqual(statuses, [401] * 11 + [429])

    def test_flood(self):
        """Logins take turns; the rest goes on."""
        server, admin = self.people()
        chat, *_ = admin.chat()
        def flood(n):
            return Who(server).ask('POST', '/api/v1/login', {'name': f'n{n}', 'password': 'wrong wrong'})
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            logins = [pool.submit(flood, n) for n in range(100)]
            slowest = 0
            while not all(f.done() for f in logins):
                begun = time.monotonic()
                admin.get('/api/v1/chats')
                slowest = max(slowest, time.monotonic() - begun)
        answers = [f.result() for f in logins]
        self.assertEqual({a[0] for a in answers}, {401, 503})
        self.assertTrue(all(int(a[1]['Retry-After']) > 0 for a in answers if a[0] == 503))
        self.assertLess(slowest, 1.0)
        self.assertEqual(admin.done(chat)['messages'][-1]['status'], 'done')

    # ---- from elsewhere ----

    def test_forged_requests(self):
        server, admin = self.people()
        port = server.port
        elsewhere = [{'Origin': 'http://evil.example', 'Sec_Fetch_Site': 'cross-site'},
                     {'Origin': f'http://127.0.0.1:{port + 1}', 'Sec_Fetch_Site': 'same-site'},  # another port: same site
                     {'Origin': f'http://localhost:{port}', 'Sec_Fetch_Site': 'cross-site'},
                     {'Origin': 'null', 'Sec_Fetch_Site': 'cross-site'},
                     {'Origin': None, 'Sec_Fetch_Site': 'same-site'},
                     {'Origin': None, 'Sec_Fetch_Site': 'cross-site'}]
        chat, *_ = admin.chat()
        admin.done(chat)
        writes = [('POST', '/api/v1/chats', {}), ('PATCH', f'/api/v1/chats/{chat}', {'title': 'x'}),
                  ('DELETE', f'/api/v1/chats/{chat}', {}), ('POST', '/api/v1/files?name=x', {}),
                  ('PUT', '/api/v1/settings', {'x': 1}), ('POST', '/api/v1/admin/invitations', {}),
                  ('POST', '/api/v1/account/keys', {'name': 'x'}), ('POST', '/api/v1/logout', {}),
                  ('POST', '/v1/completions', {'prompt': 'x', 'max_tokens': 1}), ('POST', '/api/pull', {'model': 'x'})]
        before = admin.get('/api/v1/chats'), admin.get('/api/v1/account'), admin.get('/api/v1/settings')
        for (method, path, body), how in itertools.product(writes, elsewhere):
            status, _, o = admin.ask(method, path, body, **how)
            self.assertEqual(status, 403, (method, path, how, o))
        # A form of another page can send these types without asking.
        for (method, path, body), kind in itertools.product(writes[:2] + writes[4:8], ('text/plain', 'application/x-www-form-urlencoded', None)):
            status, _, o = admin.ask(method, path, body, Content_Type=kind)
            self.assertEqual(status, 415, (method, path, kind, o))
        self.assertEqual((admin.get('/api/v1/chats'), admin.get('/api/v1/account'), admin.get('/api/v1/settings')), before)
        # Logging somebody in as another is the same.
        for how in elsewhere:
            self.assertEqual(Who(server).ask('POST', '/api/v1/login', {'name': 'admin', 'password': GOOD}, **how)[0], 403)
        admin.post('/api/v1/chats')

    def test_network(self):
        """Other machines only where nobody can listen."""
        for args, words in ((['--host', '0.0.0.0'], 'in the clear'), (['--host', '0.0.0.0', '--accounts', 'off'], 'API key')):
            with self.assertRaisesRegex(RuntimeError, words):
                self.serve('--accounts', *args)
        server = self.serve('--accounts', '--host', '0.0.0.0', '--proxy')
        Who(server).get('/api/v1/me', want=401)
        self.assertEqual(Who(server).ask('POST', '/v1/chat/completions', {'messages': []})[0], 401)
        self.assertEqual(Who(server).ask('GET', '/metrics')[0], 401)

    # ---- others' things ----

    def test_nothing_of_another(self):
        server, admin = self.people()
        a, b = self.user(admin, 'a'), self.user(admin, 'b')
        chat, question, answer = a.chat('고래 이야기')
        a.done(chat)
        folder = a.post('/api/v1/folders', {'name': 'F', 'instructions': 'secret'})['id']
        file = a.post('/api/v1/files?name=n.txt', b'whale file', Content_Type='text/plain')['id']
        a.post('/api/v1/settings', {'instructions': 'secret'}, method='PUT')
        share = a.post(f'/api/v1/chats/{chat}/share', {'days': 3})['token']
        response = a.post('/v1/responses', {'input': 'hi', 'max_output_tokens': 4})['id']
        stored = a.post('/v1/chat/completions', {'messages': [{'role': 'user', 'content': 'x'}], 'max_tokens': 2, 'store': True})['id']
        key = b.post('/api/v1/account/keys', {'name': 'k'})['key']
        at, m = f'/api/v1/chats/{chat}', f'/api/v1/chats/{chat}/messages'
        seen = a.get(at), a.get('/api/v1/folders'), a.get(f'/api/v1/files/{file}'), a.get('/api/v1/settings')
        line, stream = server.open('GET', '/api/v1/events', **b.headers(False, {}))
        self.addCleanup(line.close)
        self.assertEqual(stream.status, 200)
        mine = b.post('/api/v1/chats')['id']
        tries = [('GET', at, None), ('PATCH', at, {'title': 'x'}), ('DELETE', at, None), ('POST', f'{at}/restore', {}),
                 ('GET', f'{at}/export', None), ('GET', f'{at}/export?as=json', None), ('POST', m, {'parent': None, 'content': 'x'}),
                 ('POST', m, {'parent': answer, 'content': 'x'}), ('PATCH', f'{m}/{question}', {'content': 'x'}),
                 ('DELETE', f'{m}/{question}', None), ('POST', f'{m}/{answer}/regenerate', {}), ('POST', f'{m}/{answer}/continue', {}),
                 ('POST', f'{at}/share', {'days': 1}), ('DELETE', f'{at}/share', None), ('GET', f'/api/v1/files/{file}', None),
                 ('PATCH', f'/api/v1/folders/{folder}', {'name': 'x'}), ('DELETE', f'/api/v1/folders/{folder}', None),
                 ('PATCH', f'/api/v1/chats/{mine}', {'folder': folder}),
                 ('POST', f'/api/v1/chats/{mine}/messages', {'parent': None, 'content': 'x', 'files': [file]}),
                 ('POST', f'/api/v1/chats/{mine}/messages', {'parent': answer, 'content': 'x'}),
                 ('GET', f'/v1/responses/{response}', None), ('DELETE', f'/v1/responses/{response}', None),
                 ('GET', f'/v1/responses/{response}/input_items', None), ('GET', f'/v1/chat/completions/{stored}', None),
                 ('DELETE', f'/v1/chat/completions/{stored}', None),
                 ('POST', '/v1/responses', {'input': 'x', 'previous_response_id': response})]
        by_key = Who(server)
        for who, more in ((b, {}), (by_key, {'Authorization': f'Bearer {key}'})):
            for method, path, body in tries:
                status, _, o = who.ask(method, path, body, **more)
                self.assertIn(status, (400, 404), (method, path, o))
                self.assertNotIn('고래', json.dumps(o, ensure_ascii=False))
        b.post(f'{m}/{answer}/stop', want=404)
        self.assertEqual((a.get(at), a.get('/api/v1/folders'), a.get(f'/api/v1/files/{file}'), a.get('/api/v1/settings')), seen)
        self.assertEqual(len(a.get(f'/api/v1/shared/{share}')['messages']), 2)
        self.assertEqual([c['id'] for c in b.get('/api/v1/chats?q=%EA%B3%A0%EB%9E%98')['chats']], [])
        self.assertEqual(b.get('/api/v1/folders')['folders'], [])
        self.assertEqual(b.get('/api/v1/settings'), {})
        # An admin reads nobody's chats either.
        admin.get(at, want=404)
        # The key is the same person.
        self.assertEqual([c['id'] for c in by_key.get('/api/v1/chats', Authorization=f'Bearer {key}')['chats']], [mine])
        # Nothing of a's came to b while a went on.
        chat2, *_ = a.chat('a second one')
        a.done(chat2)
        b.post(f'/api/v1/chats/{mine}', {'title': 'the last'}, method='PATCH')
        said = b''
        while b'the last' not in said:
            said += stream.readline()
        stream.close()
        self.assertNotIn(chat.encode(), said)
        self.assertNotIn(chat2.encode(), said)

    # ---- one's own ----

    def test_sessions(self):
        server, admin = self.people()
        a, other, third = self.user(admin, 'a'), Who(server), Who(server)
        other.login('a', User_Agent='Phone')
        third.login('a')
        sessions = a.get('/api/v1/account')['sessions']
        self.assertEqual(len(sessions), 3)
        self.assertEqual([s['here'] for s in sessions].count(True), 1)
        phone = next(s for s in sessions if s['agent'] == 'Phone')
        self.assertEqual(phone['address'], other.address)
        admin.delete(f'/api/v1/account/sessions/{phone["id"]}', want=404)  # not the admin's own
        other.get('/api/v1/me')
        a.delete(f'/api/v1/account/sessions/{phone["id"]}')
        other.get('/api/v1/me', want=401)
        third.get('/api/v1/me')
        a.post('/api/v1/account/password', {'old': 'not the one', 'new': GOOD + '2'}, want=403)
        a.post('/api/v1/account/password', {'old': GOOD, 'new': 'short'}, want=400)
        a.post('/api/v1/account/password', {'old': GOOD, 'new': GOOD + '2'})
        third.get('/api/v1/me', want=401)
        self.assertEqual(len(a.get('/api/v1/account')['sessions']), 1)
        other.login('a', want=401)
        other.login('a', GOOD + '2')
        a.delete('/api/v1/account/sessions')
        other.get('/api/v1/me', want=401)
        a.post('/api/v1/account', {'name': 'admin'}, want=409, method='PATCH')
        self.assertEqual(a.post('/api/v1/account', {'name': '새 이름'}, method='PATCH')['name'], '새 이름')

    def test_two_servers(self):
        """On one database: who came in at one of them is known at the other at once, and soon gone there, too."""
        home = self.home()
        self.cli(home, 'add', 'mina', '--admin', '--password', stdin=GOOD)
        one, two = (self.serve('--accounts', folder=home) for _ in range(2))
        who = Who(one)
        for _ in range(3):
            who.server, who.origin = one, f'http://127.0.0.1:{one.port}'
            who.login('mina')
            who.server, who.origin = two, f'http://127.0.0.1:{two.port}'
            self.assertEqual(who.get('/api/v1/session')['user']['name'], 'mina')
            who.server, who.origin = one, f'http://127.0.0.1:{one.port}'
            who.login('mina')
            who.server, who.origin = two, f'http://127.0.0.1:{two.port}'
            who.get('/api/v1/chats')
        who.server, who.origin = one, f'http://127.0.0.1:{one.port}'
        cookie = who.cookie
        who.post('/api/v1/logout')
        who.cookie, who.server = cookie, two
        wait_for(lambda: who.ask('GET', '/api/v1/me')[0] == 401, 5)

    def test_keys(self):
        server, admin = self.people()
        a = self.user(admin, 'a')
        made = a.post('/api/v1/account/keys', {'name': 'note', 'days': 3})
        by = {'Authorization': f'Bearer {made["key"]}'}
        body = {'messages': [{'role': 'user', 'content': 'hi'}], 'max_tokens': 2}
        key = Who(server)
        key.post('/v1/chat/completions', body, **by)
        key.get('/v1/models', **by)
        for path in ('/api/v1/admin/users', '/metrics', '/api/v1/admin/live'):
            key.get(path, want=403, **by)
        key.get('/api/v1/account', want=403, **by)  # a key changes no account
        a.post('/api/v1/account/keys', {'name': 'x', 'scopes': 'admin'}, want=400)
        self.assertEqual([k['name'] for k in a.get('/api/v1/account')['keys']], ['note'])
        self.assertNotIn('key', a.get('/api/v1/account')['keys'][0])
        admin.delete(f'/api/v1/account/keys/{made["id"]}', want=404)
        listed = {k['id']: k for k in admin.get('/api/v1/admin/keys')['keys']}
        self.assertEqual(listed[made['id']]['user'], 'a')
        a.delete(f'/api/v1/account/keys/{made["id"]}')
        wait_for(lambda: key.ask('POST', '/v1/chat/completions', body, **by)[0] == 401)
        made = admin.post('/api/v1/admin/keys', {'name': 'robot', 'scopes': 'chat metrics', 'requests_minute': 2})
        by = {'Authorization': f'Bearer {made["key"]}'}
        self.assertEqual([key.ask('GET', '/metrics', **by)[0] for _ in range(3)], [200, 200, 429])
        admin.delete(f'/api/v1/admin/keys/{made["id"]}')
        wait_for(lambda: key.ask('GET', '/metrics', **by)[0] == 401)

    def test_no_user_keys(self):
        server, admin = self.people('--user-keys', 'off')
        a = self.user(admin, 'a')
        self.assertFalse(a.get('/api/v1/me')['user_keys'])
        a.post('/api/v1/account/keys', {'name': 'x'}, want=403)
        admin.post('/api/v1/account/keys', {'name': 'x'})

    # ---- admins ----

    def test_users(self):
        server, admin = self.people()
        a = self.user(admin, 'a')
        key = {'Authorization': 'Bearer ' + a.post('/api/v1/account/keys', {'name': 'k'})['key']}
        for method, path in (('GET', 'users'), ('GET', 'live'), ('GET', 'usage'), ('GET', 'keys'), ('GET', 'invitations'),
                             ('POST', 'invitations'), ('POST', 'keys'), ('POST', 'models/load'), ('POST', 'models/unload'),
                             ('PATCH', f'users/{a.id}'), ('POST', f'users/{a.id}/reset'), ('DELETE', 'invitations/x'), ('DELETE', 'keys/x')):
            self.assertEqual(a.ask(method, f'/api/v1/admin/{path}')[0], 403, path)
        me = admin.get('/api/v1/account')['id']
        for change in ({'role': 'user'}, {'disabled': True}):
            admin.post(f'/api/v1/admin/users/{me}', change, want=409, method='PATCH')  # the last one
        # Limits hold over all that a user has: here a session and a key.
        self.assertEqual(admin.post(f'/api/v1/admin/users/{a.id}', {'requests_minute': 3}, method='PATCH')['requests_minute'], 3)
        statuses = [a.ask('GET', '/api/v1/chats')[0], Who(server).ask('GET', '/api/v1/chats', **key)[0], a.ask('GET', '/api/v1/chats')[0]]
        self.assertEqual(statuses, [200, 200, 200])
        for who, more in ((a, {}), (Who(server), key)):
            status, headers, _ = who.ask('GET', '/api/v1/chats', **more)
            self.assertEqual(status, 429)
            self.assertGreater(int(headers['Retry-After']), 0)
        admin.post(f'/api/v1/admin/users/{a.id}', {'requests_minute': 0}, method='PATCH')
        # Disabled: at once and everywhere, the stream that stands too.
        line, stream = server.open('GET', '/api/v1/events', **a.headers(False, {}))
        self.addCleanup(line.close)
        admin.post(f'/api/v1/admin/users/{a.id}', {'disabled': True}, method='PATCH')
        stream.read()  # ends
        a.get('/api/v1/me', want=401)
        self.assertEqual(Who(server).ask('GET', '/api/v1/chats', **key)[0], 401)
        self.assertIn('disabled', Who(server).login('a', want=403)['error']['message'])
        Who(server).login('a', 'wrong wrong wrong', want=401)
        admin.post(f'/api/v1/admin/users/{a.id}', {'disabled': False}, method='PATCH')
        a.login('a')
        # A second admin, and a link for a new password.
        admin.post(f'/api/v1/admin/users/{a.id}', {'role': 'admin'}, method='PATCH')
        a.get('/api/v1/admin/users')
        link = a.post(f'/api/v1/admin/users/{me}/reset')['token']
        new = Who(server)
        self.assertEqual({k: v for k, v in new.post('/api/v1/invitation', {'token': link}).items() if k != 'expires'},
                         {'kind': 'password', 'name': 'admin', 'role': 'admin'})
        new.join(link, password=GOOD + '3')
        admin.get('/api/v1/me', want=401)  # whoever had the old password is out
        new.get('/api/v1/admin/users')
        Who(server).join(link, password=GOOD, want=404)

    def test_invitations(self):
        server, admin = self.people()
        for body in ({'hours': 0}, {'hours': 9999}, {'uses': 0}, {'uses': 101}, {'role': 'root'}, {'role': 'admin', 'uses': 2},
                     {'note': 'x' * 201}):
            admin.post('/api/v1/admin/invitations', body, want=400)
        two = admin.post('/api/v1/admin/invitations', {'uses': 2, 'hours': 1, 'note': '가족'})
        self.assertEqual((two['uses_left'], two['role'], round(two['expires'] - two['created'])), (2, 'user', 3600))
        listed = admin.get('/api/v1/admin/invitations')['invitations']
        self.assertEqual([(i['note'], 'token' in i) for i in listed], [('가족', False)])
        Who(server).join(two['token'], 'one')
        Who(server).join(two['token'], 'ONE', want=409)  # taken, and not used up by that
        Who(server).join(two['token'], 'two')
        Who(server).join(two['token'], 'three', want=404)
        gone = admin.post('/api/v1/admin/invitations')
        admin.delete(f'/api/v1/admin/invitations/{gone["id"]}')
        admin.delete(f'/api/v1/admin/invitations/{gone["id"]}', want=404)
        Who(server).join(gone['token'], 'four', want=404)
        second = self.user(admin, 'second', role='admin')
        second.get('/api/v1/admin/users')
        many = Who(server)  # guesses of links wait, too
        statuses = [many.ask('POST', '/api/v1/invitation', {'token': 'x' * 43})[0] for _ in range(22)]
        self.assertEqual(statuses, [404] * 21 + [429])

    def test_models_and_usage(self):
        server, admin = self.people()
        a = self.user(admin, 'a')
        a.post('/v1/chat/completions', {'messages': [{'role': 'user', 'content': 'hi'}], 'max_tokens': 3, 'temperature': 0})
        chat, *_ = admin.chat()
        admin.done(chat)
        rows = wait_for(lambda: (r := admin.get('/api/v1/admin/usage?days=2')['rows']) and len(r) == 2 and r, 15)
        mine = next(r for r in rows if r['name'] == 'a')
        self.assertEqual((mine['requests'], mine['answer_tokens'], mine['model']), (1, 3, SMALL))
        self.assertGreater(mine['prompt_tokens'], 3)
        admin.get('/api/v1/admin/usage?days=0', want=400)
        live = admin.get('/api/v1/admin/live?offers=1')['models'][0]
        self.assertEqual((live['id'], live['state'], live['in_use']), (SMALL, 'open', False))
        self.assertGreater(live['memory']['weights'], 1e6)
        admin.post('/api/v1/admin/models/unload', {'model': SMALL})
        wait_for(lambda: admin.get('/api/v1/admin/live')['models'][0]['state'] == 'closed')
        admin.post('/api/v1/admin/models/unload', {'model': SMALL}, want=409)
        self.assertEqual(admin.post('/api/v1/admin/models/load', {'model': SMALL})['state'], 'open')
        admin.post('/api/v1/admin/models/unload', {'model': 5}, want=400)

    # ---- the command ----

    def test_command(self):
        home = self.home()
        self.assertIn('has to be an admin', self.cli(home, 'add', 'mina', want=2))
        self.cli(home, 'add', 'boss', '--admin', '--password', stdin=GOOD + '\n')
        self.assertIn('at least 10', self.cli(home, 'add', 'x', '--password', stdin='short\n', want=2))
        link = link_in(self.cli(home, 'add', 'mina'))
        server = self.serve('--accounts', folder=home)
        self.assertIsNone(link_in(self.log(server)))
        boss, mina = Who(server), Who(server)
        boss.login('boss')
        mina.login('mina', 'wrong wrong wrong', want=401)
        mina.join(link, password=GOOD)
        self.assertRegex(self.cli(home, 'list'), r'admin +good .* boss\nuser +good .* mina\n')
        self.cli(home, 'disable', 'mina')  # a running server follows
        wait_for(lambda: mina.ask('GET', '/api/v1/me')[0] == 401)
        self.cli(home, 'enable', 'MINA')
        wait_for(lambda: mina.ask('POST', '/api/v1/login', {'name': 'mina', 'password': GOOD})[0] == 200)
        self.cli(home, 'reset', 'mina', '--password', stdin=GOOD + '4\n')
        wait_for(lambda: mina.ask('GET', '/api/v1/me')[0] == 401)
        mina.login('mina', GOOD + '4')
        mina.join(link_in(self.cli(home, 'reset', 'mina')), password=GOOD)
        for args, words in ((['reset', 'nobody'], 'no user'), (['add', 'mina'], 'taken'), (['ad', 'x'], "did you mean 'add'"),
                            (['list', 'x'], 'takes nothing'), (['list', '--admin'], 'add'), (['disable', 'boss'], 'admin')):
            self.assertRegex(self.cli(home, *args, want=5 if 'nobody' in args else 2), words)


if __name__ == '__main__':
    unittest.main()
