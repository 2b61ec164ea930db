#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The tools of `damso serve` against a server by the protocol's own library, over both transports:
tests/mcp_test.py DAMSO.  Needs DAMSO_TEST_MODELS and the package `mcp`."""
import json, os, socket, subprocess, sys, tempfile, unittest

from served import MODELS, SMALL, Server, client, until

DAMSO = os.path.abspath(sys.argv.pop(1))
REFERENCE = f'{os.path.dirname(os.path.abspath(__file__))}/mcp_reference.py'
JSON = {'Content_Type': 'application/json'}
mcp = client('mcp')


@unittest.skipUnless(MODELS and mcp, 'DAMSO_TEST_MODELS is not set, or there is no `mcp`')
class Reference(unittest.TestCase):
    def setUp(self):
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            port = s.getsockname()[1]
        self.http = subprocess.Popen([sys.executable, REFERENCE, 'streamable-http', str(port)], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
        self.addCleanup(self.http.wait)
        self.addCleanup(self.http.terminate)
        until(lambda: self.listens(port))
        with tempfile.NamedTemporaryFile('w', suffix='.json', delete=False) as f:
            json.dump({'mcpServers': {'stdio': {'command': sys.executable, 'args': [REFERENCE, 'stdio']},
                                      'http': {'type': 'http', 'url': f'http://127.0.0.1:{port}/mcp'}}}, f)
        self.addCleanup(os.unlink, f.name)
        self.server = Server(DAMSO, '-m', SMALL, '--mcp', f.name)
        self.addCleanup(lambda: self.assertEqual(self.server.close(), 0))
        self.servers = until(self.settled)

    def listens(self, port):
        with socket.socket() as s:
            return s.connect_ex(('127.0.0.1', port)) == 0

    def settled(self):
        servers = self.server.get('/api/v1/tools')[1]['servers']
        return all(s['state'] != 'starting' for s in servers) and {s['name']: s for s in servers}

    def post(self, path, body):
        status, o = self.server.call('POST', '/api/v1' + path, body, **JSON)
        self.assertEqual(status, 200, o)
        return o

    def call(self, tool):
        """A call of the tool; the schemas leave the model no choice."""
        chat = self.post('/chats', {})['id']
        _, o = self.server.call('PATCH', f'/api/v1/chats/{chat}', {'tools': [tool], 'tools_always': [tool]}, **JSON)
        mid = self.post(f'/chats/{chat}/messages', {'content': 'Go', 'parent': None, 'options': {
            'temperature': 0, 'max_tokens': 100, 'tool_choice': tool}})['answer']['id']

        def ended():
            m = self.server.get(f'/api/v1/chats/{chat}')[1]['messages'][1]
            return m['status'] != 'running' and m
        m = until(ended)
        self.assertEqual(m['status'], 'done', m)
        return m['calls'][0]

    def test_both(self):
        for name in ('stdio', 'http'):
            with self.subTest(name):
                s = self.servers[name]
                self.assertEqual((s['state'], s['error']), ('ready', ''))
                self.assertEqual([t['name'] for t in s['tools']], ['add', 'greet', 'picture', 'broken'])
                self.assertEqual((s['tools'][0]['title'], s['tools'][0]['description']), ('더하기', 'Adds two numbers.'))
                call = self.call(f'{name}__greet')
                self.assertEqual((call['state'], call['result']), ('done', '안녕, 민아'))
                self.assertEqual(self.call(f'{name}__add')['result'], '5')
                call = self.call(f'{name}__picture')
                self.assertEqual((call['state'], len(call['images'])), ('done', 1))
                call = self.call(f'{name}__broken')
                self.assertEqual(call['state'], 'failed')
                self.assertIn('broken', call['result'])


if __name__ == '__main__':
    unittest.main()
