#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A hundred users chat at once over /api/v1, on either store, and the server is killed in the middle: what was
acknowledged is there once and in order.  tests/users_test.py DAMSO; DAMSO_TEST_STORE=postgres for that store.
Needs DAMSO_TEST_MODELS."""
import os, shutil, sys, tempfile, threading, time, unittest

from served import MODELS, SMALL, Postgres, Server, store_of

DAMSO = os.path.abspath(sys.argv.pop(1))
ENGINE = os.environ.get('DAMSO_TEST_STORE', 'sqlite')
USERS, TURNS = 100, 4
JSON = {'Content_Type': 'application/json'}
FEW = {'temperature': 0, 'max_tokens': 2}


class User(threading.Thread):
    """One chat; `said` are the ids and texts of the messages that the server acknowledged, in order."""

    def __init__(self, server, number):
        super().__init__(daemon=True)
        self.server, self.number = server, number
        self.said, self.failed, self.chat, self.answers = [], None, None, 0

    def send(self, method, path, body):
        while True:
            status, o = self.server.call(method, '/api/v1' + path, body, **JSON)
            if status != 503:
                assert status == 200, (status, o)
                return o
            time.sleep(0.1)  # the server has too much to do, and has kept nothing of it

    def run(self):
        try:
            self.chat = self.send('POST', '/chats', {})['id']
            self.send('PATCH', f'/chats/{self.chat}', {'title': f'사용자 {self.number}'})  # none is asked of the model
            for turn in range(TURNS):
                self.turn(f'user {self.number} turn {turn}')
        except Exception as e:
            self.failed = e

    def turn(self, text):
        o = self.send('POST', f'/chats/{self.chat}/messages',
                      {'parent': self.said[-1][0] if self.said else None, 'content': text, 'options': FEW})
        self.said += [(o['user']['id'], text), (o['answer']['id'], None)]
        while True:
            whole = self.send('GET', f'/chats/{self.chat}', None)
            last = whole['messages'][-1]
            if last['id'] == o['answer']['id'] and last['status'] != 'running':
                assert last['status'] == 'done', last
                self.said[-1] = (last['id'], last['content'])
                self.answers += 1
                return
            time.sleep(0.3)


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Users(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.url = store_of(self.dir)
        self.server = self.open()

    def open(self, **env):
        return Server(DAMSO, '-m', SMALL, '--store', self.url, '--log-level', 'info', folder=self.dir, DAMSO_CTX='256', **env)

    def check(self, users):
        """Each acknowledged message once, in order, and nothing else but what its sender may not have heard of."""
        n = 0
        for u in users:
            if not u.chat:
                continue
            status, whole = self.server.get(f'/api/v1/chats/{u.chat}')
            self.assertEqual(status, 200, whole)
            got = [(m['id'], m['content']) for m in whole['messages']]
            for (mid, text), (want_id, want) in zip(got, u.said):
                self.assertEqual(mid, want_id)
                if want is not None:
                    self.assertEqual(text, want)
            self.assertGreaterEqual(len(got), len(u.said))
            self.assertLessEqual(len(got), len(u.said) + (2 if u.failed else 0))
            parents = [m['parent'] for m in whole['messages']]
            self.assertEqual(parents, [None] + [mid for mid, _ in got[:-1]])
            n += len(u.said)
        return n

    def start_users(self):
        users = [User(self.server, i) for i in range(USERS)]
        for u in users:
            u.start()
        return users

    def wait_for_answers(self, users, n):
        end = time.monotonic() + 60
        while sum(u.answers for u in users) < n and time.monotonic() < end:
            time.sleep(0.02)

    def all_through(self, users):
        """None of them met anything but patience."""
        for u in users:
            u.join(120)
        self.assertEqual([(u.number, u.failed) for u in users if u.failed or u.is_alive()], [])
        self.assertEqual(self.check(users), USERS * TURNS * 2)

    def test_all_at_once(self):
        began = time.monotonic()
        users = self.start_users()
        self.all_through(users)
        taken = time.monotonic() - began
        self.assertEqual(self.server.close(), 0)
        with open(f'{self.dir}/log') as f:
            log = f.read()
        self.assertNotIn(':pw@', log)
        self.server = self.open()  # and by another process
        self.assertEqual(self.check(users), USERS * TURNS * 2)
        chats = self.server.get('/api/v1/chats?limit=100')[1]['chats']
        self.assertEqual({c['title'] for c in chats}, {f'사용자 {i}' for i in range(USERS)})
        self.assertEqual(len(chats), USERS)
        self.assertEqual(self.server.close(), 0)
        print(f'{ENGINE}: {USERS * TURNS * 2} messages of {USERS} users in {taken:.1f} s', file=sys.stderr)

    def test_killed(self):
        users = self.start_users()
        self.wait_for_answers(users, USERS // 4)
        self.server.kill()
        for u in users:
            u.join(120)
        self.assertEqual([u.number for u in users if u.is_alive()], [])
        self.server = self.open()
        n = self.check(users)
        self.assertGreater(n, USERS // 4)
        for u in users:  # what was being written is ended
            if u.chat:
                whole = self.server.get(f'/api/v1/chats/{u.chat}')[1]
                self.assertEqual([m for m in whole['messages'] if m['status'] == 'running'], [])
        self.assertEqual(self.server.close(), 0)
        print(f'{ENGINE}: {n} messages acknowledged before the kill, all there', file=sys.stderr)

    @unittest.skipUnless(ENGINE == 'postgres', 'a file does not go away')
    def test_database_restarts(self):
        """The sandboxed server finds its database again, and shows nobody its password."""
        chat = self.server.call('POST', '/api/v1/chats', {}, **JSON)[1]['id']
        for _ in range(2):
            Postgres.one.restart()
            self.assertEqual(self.server.get(f'/api/v1/chats/{chat}')[0], 200)
            self.assertEqual(self.server.call('PATCH', f'/api/v1/chats/{chat}', {'title': 'x'}, **JSON)[0], 200)
        with open(f'/proc/{self.server.process.pid}/cmdline') as f:
            self.assertIn(f'damso:**@127.0.0.1', f.read())
        self.assertEqual(self.server.close(), 0)
        with open(f'{self.dir}/log') as f:
            log = f.read()
        self.assertIn('connected=again', log)
        self.assertIn('connect=yes', log)
        self.assertNotIn(':pw@', log)

    @unittest.skipUnless(ENGINE == 'postgres', 'a file does not go away')
    def test_database_restarts_under_load(self):
        users = self.start_users()
        for n in (USERS, 2 * USERS):
            self.wait_for_answers(users, n)
            Postgres.one.restart()
        self.all_through(users)
        self.assertEqual(self.server.close(), 0)

    @unittest.skipUnless(ENGINE == 'postgres', 'a file has no password')
    def test_password_file(self):
        """The password from a file and a certificate, both out of the sandbox; a new connection too."""
        self.assertEqual(self.server.close(), 0)
        with open(f'{self.dir}/pass', 'w') as f:
            f.write('127.0.0.1:*:*:damso:pw')
        os.chmod(f'{self.dir}/pass', 0o600)
        self.url = self.url.replace(':pw@', '@') + f'?sslmode=verify-full&sslrootcert={Postgres.one.folder}/root.crt'
        self.server = self.open(PGPASSFILE=f'{self.dir}/pass')
        os.unlink(f'{self.dir}/pass')  # the first connection has read it
        Postgres.one.restart()
        self.assertEqual(self.server.get('/api/v1/chats')[1], {'chats': [], 'more': False})
        self.assertEqual(self.server.close(), 0)


if __name__ == '__main__':
    unittest.main()
