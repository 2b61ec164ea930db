#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Replicas on one PostgreSQL behind HAProxy: a page on one follows and stops what another writes, an answer
outlives the one that wrote it, limits hold over all, and nothing that was acknowledged is lost or doubled by kills,
pauses, cuts and restarts: tests/replicas_test.py DAMSO.  Needs DAMSO_TEST_MODELS, PostgreSQL, haproxy."""
import concurrent.futures, http.client, json, os, shutil, signal, socket, subprocess, sys, threading, time
import unittest

from replicas import Cluster, back, check_kept, run_clients
from served import MODELS, until

DAMSO = os.path.abspath(sys.argv.pop(1))
JSON = {'Content_Type': 'application/json'}
LONG = {'temperature': 0, 'max_tokens': 7000,
        'json_schema': {'type': 'array', 'items': {'type': 'boolean'}, 'minItems': 2000}}
CLIENTS = 60
if os.environ.get('DAMSO_TEST_POSTGRES') == 'off' or not shutil.which('haproxy') or not MODELS:
    print('needs PostgreSQL, haproxy and DAMSO_TEST_MODELS', file=sys.stderr)
    sys.exit(77)


class Follower(threading.Thread):
    """Reads the events of a replica, from an id on, and joins the texts of one message."""

    def __init__(self, replica, mid=None, text='', last=None):
        super().__init__(daemon=True)
        self.c, self.r = replica.server.open('GET', '/api/v1/events', **({'Last_Event_ID': last} if last else {}))
        self.mid, self.text, self.last, self.names, self.ended = mid, text, last, [], threading.Event()
        self.messages, self.begun, self.sock = {}, threading.Event(), self.r.fp.raw._sock
        self.deltas, self.lock = [], threading.Lock()
        self.start()
        assert self.begun.wait(10)

    def run(self):
        event = {}
        try:
            for line in self.r:
                line = line.decode().rstrip('\n')
                self.begun.set()
                if line and not line.startswith(':'):
                    name, value = line.split(': ', 1)
                    event[name] = value
                elif not line:
                    self.last = event.get('id', self.last)
                    if 'data' in event:
                        self.take(event['event'], json.loads(event['data']))
                    event = {}
        except (OSError, ValueError, AttributeError):
            pass
        self.ended.set()

    def take(self, name, o):
        self.names.append(name)
        if name == 'message':
            self.messages[o['message']['id']] = o['message']
        if name == 'delta' and 'content' in o:
            with self.lock:
                self.deltas.append(o)
                self.add(o)

    def add(self, o):
        """Adds what is new of the message that is followed; nothing may be missing between."""
        if o['message'] != self.mid:
            return
        known = len(self.text.encode()) - o['at']
        assert known >= 0, f'a gap of {-known} bytes'
        self.text += o['content'].encode()[known:].decode()

    def follow(self, mid, text):
        """From a text on that was read: what came while it was on its way counts too."""
        with self.lock:
            self.mid, self.text = mid, text
            for o in self.deltas:
                self.add(o)

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.ended.wait(10)


class Replicas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(DAMSO, '--linger', '3', '--drain', '30', env={'DAMSO_CTX': '8192'})
        cls.a, cls.b, cls.c = cls.cluster.replicas

    @classmethod
    def tearDownClass(cls):
        ends = cls.cluster.close()
        assert ends == [0, 0, 0], ends

    def get(self, replica, path):
        status, o = replica.server.get('/api/v1' + path)
        self.assertEqual(status, 200, o)
        return o

    def post(self, replica, path, body):
        status, o = replica.server.call('POST', '/api/v1' + path, body, **JSON)
        self.assertEqual(status, 200, o)
        return o

    def message(self, replica, chat, mid):
        return next(m for m in self.get(replica, f'/chats/{chat}')['messages'] if m['id'] == mid)

    def ask(self, replica, options=LONG):
        chat = self.post(replica, '/chats', {})['id']
        turn = self.post(replica, f'/chats/{chat}/messages', {'content': 'Go.', 'parent': None, 'options': options})
        return chat, turn['answer']['id']

    def writing(self, replica, chat, mid, n=40):
        return until(lambda: (m := self.message(replica, chat, mid)) and len(m['content']) > n and m)

    def stored(self, mid):
        """What the store has of an answer, once it is something: what it writes each second."""
        return until(lambda: self.cluster.sql(f"SELECT content FROM messages WHERE id = '{mid}'"))

    def test_1_follow(self):
        """B follows what A writes, C goes on from B's last event, and C's stop reaches A."""
        early = Follower(self.b)
        chat, mid = self.ask(self.a)
        seen = self.writing(self.b, chat, mid)  # as the one that listens reads it
        self.assertEqual(seen['status'], 'running')
        early.follow(mid, seen['content'])
        until(lambda: len(early.text) > len(seen['content']) + 40)
        early.close()
        late = Follower(self.c, mid, early.text, early.last)
        until(lambda: len(late.text) > len(early.text) + 40)
        self.assertNotIn('reset', late.names)
        self.assertEqual(self.post(self.c, f'/chats/{chat}/messages/{mid}/stop', {})['status'], 'stopped')
        until(lambda: late.messages.get(mid, {}).get('status') == 'stopped')
        kept = self.message(self.b, chat, mid)
        self.assertEqual((kept['status'], kept['content']), ('stopped', late.text))
        unknown = Follower(self.c, last='00000000deadbeef-5')
        until(lambda: unknown.names)
        self.assertEqual(unknown.names[0], 'reset')
        unknown.close()
        late.close()

    def test_2_limits(self):
        """Six requests a minute are six, wherever they are sent."""
        key = subprocess.run([DAMSO, 'key', 'add', 'k', '--rpm', '6', '--store', self.a.store], text=True, check=True,
                             capture_output=True, env={'PATH': os.environ['PATH'], 'HOME': self.a.folder}).stdout.strip()
        auth = {'Authorization': f'Bearer {key}'}
        began = time.monotonic()
        for r in self.cluster.replicas:  # one from each, once it knows of the key
            until(lambda: 'x-ratelimit-limit-requests' in r.server.raw('GET', '/v1/models', **auth)[1])
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            got = list(pool.map(lambda r: r.server.get('/v1/models', **auth)[0], self.cluster.replicas * 4))
        refilled = (time.monotonic() - began) / 10
        self.assertEqual(set(got) - {200, 429}, set())
        self.assertLessEqual(got.count(200), 6 - 3 + refilled, got)
        self.assertGreaterEqual(got.count(200), 3, got)

    def test_3_killed(self):
        """kill -9: another marks the answer, and goes on with it."""
        chat, mid = self.ask(self.a)
        listener = Follower(self.b)
        seen = self.stored(mid)
        self.a.kill()
        until(lambda: listener.messages.get(mid, {}).get('status') == 'stopped', 30)
        kept = self.message(self.c, chat, mid)
        self.assertEqual((kept['status'], kept['error']), ('stopped', 'interrupted'))
        self.assertTrue(seen and kept['content'].startswith(seen), (seen, kept))
        self.post(self.b, f'/chats/{chat}/messages/{mid}/continue', {'options': {'max_tokens': 4, 'temperature': 0}})
        done = until(lambda: (m := self.message(self.c, chat, mid))['status'] != 'running' and m)
        self.assertEqual(done['status'], 'done')
        self.assertTrue(len(done['content']) > len(kept['content']) and done['content'].startswith(kept['content']))
        self.assertNotIn('error', done)
        listener.close()

    def tearDown(self):
        for r in self.cluster.replicas:
            if r.server.process.poll() is not None:
                r.start()

    def test_4_paused(self):
        """SIGSTOP: it is taken for gone; once it wakes, it cannot write into what another went on with."""
        chat, mid = self.ask(self.a)
        self.stored(mid)
        self.a.signal(signal.SIGSTOP)
        try:
            until(lambda: self.message(self.b, chat, mid)['status'] == 'stopped', 40)
            self.post(self.b, f'/chats/{chat}/messages/{mid}/continue', {'options': {'max_tokens': 4, 'temperature': 0}})
            done = until(lambda: (m := self.message(self.b, chat, mid))['status'] == 'done' and m)
        finally:
            self.a.signal(signal.SIGCONT)
        until(lambda: self.a.server.gauge('damso_running') == 0)  # it gave up
        self.assertEqual(self.message(self.a, chat, mid)['content'], done['content'])
        self.assertEqual(self.message(self.b, chat, mid)['content'], done['content'])

    def test_5_faults(self):
        """60 clients, and what may happen to replicas, links and the database."""
        until(lambda: self.cluster.up() == 3)
        clients, go = run_clients(self.cluster, CLIENTS)
        back(clients, 0)
        spans = []

        def fault(name, begin, end=None):
            began = time.monotonic()
            begin()
            try:
                took = back(clients, began + 0.01)
            finally:
                if end:
                    end()
            spans.append((name, began, began + took, took))
            until(lambda: self.cluster.up() == 3)
        try:
            fault('killed', self.b.kill, self.b.start)
            fault('paused', lambda: self.a.signal(signal.SIGSTOP), lambda: self.a.signal(signal.SIGCONT))
            fault('cut', lambda: setattr(self.c.link, 'cut', True), lambda: setattr(self.c.link, 'cut', False))
            fault('database', self.cluster.postgres.restart)
        finally:
            go.clear()
            for c in clients:
                c.join(60)
        kept = check_kept(clients)
        errors = [e for c in clients for e in c.errors]
        for name, began, ended, took in spans:
            print(f'{name}: back after {took:.1f} s')
        print(f'{sum(len(c.acknowledged) for c in clients)} acknowledged, {kept} kept, {len(errors)} errors')
        for begun, ended, text in errors:  # only what was under way when something happened
            self.assertTrue(any(began - 0.1 <= ended and begun <= over for _, began, over, _ in spans), text)

    def test_6_rolling(self):
        """All replicas are restarted, one after the other, as an operator does: no request fails."""
        until(lambda: self.cluster.up() == 3)
        clients, go = run_clients(self.cluster, 20)
        back(clients, 0)
        try:
            for r in self.cluster.replicas:
                r.signal(signal.SIGTERM)
                self.assertEqual(r.server.process.wait(60), 0)
                r.server._ended()
                r.start()
                until(lambda: self.cluster.up() == 3)
                back(clients, time.monotonic())
        finally:
            go.clear()
            for c in clients:
                c.join(60)
        check_kept(clients)
        self.assertEqual([e for c in clients for e in c.errors], [])


if __name__ == '__main__':
    unittest.main()
