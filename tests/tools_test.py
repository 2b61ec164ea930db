#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Web pages and tools in the chats of `damso serve`, from outside: tests/tools_test.py DAMSO.  Needs
DAMSO_TEST_MODELS.  That a small model calls a tool is made certain by tool_choice, and what it says in the call by a
schema that leaves one text."""
import gzip, http.server, json, os, signal, subprocess, sys, tempfile, threading, time, unittest

from mcp_server import Http
from served import MODELS, SMALL, Server, until

DAMSO = os.path.abspath(sys.argv.pop(1))
HERE = os.path.dirname(os.path.abspath(__file__))
JSON = {'Content_Type': 'application/json'}
SHORT = {'temperature': 0, 'max_tokens': 12}
PICK = {'temperature': 0, 'max_tokens': 120, 'tool_choice': 's__pick'}


class Site:
    """A web site whose pages are functions of the request."""

    def __init__(self, pages):
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *a):
                pass

            def do_GET(self):
                site.seen.append((self.path, dict(self.headers)))
                pages[self.path.split('?')[0]](self)

        site = self
        self.seen = []
        self.httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.port = self.httpd.server_address[1]
        self.url = f'http://127.0.0.1:{self.port}'
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def close(self):
        self.httpd.shutdown()
        self.httpd.server_close()


def page(body, kind='text/html; charset=utf-8', status=200, **headers):
    def answer(h):
        data = body if isinstance(body, bytes) else body.encode()
        h.send_response(status)
        if kind:
            h.send_header('Content-Type', kind)
        for k, v in headers.items():
            h.send_header(k.replace('_', '-'), v)
        h.end_headers()
        try:
            h.wfile.write(data)
        except OSError:
            pass
    return answer


def move(to, status=302):
    return page('', status=status, Location=to)


def slow(h):
    h.send_response(200)
    h.send_header('Content-Type', 'text/plain')
    h.end_headers()
    try:
        for _ in range(100):
            h.wfile.write(b'x')
            h.wfile.flush()
            time.sleep(1)
    except OSError:
        pass


BOMB = gzip.compress(b'0' * (64 << 20))
NEWS = '<title>첫눈 소식 &amp; 날씨</title><nav>메뉴</nav><main><h1>첫눈</h1><p>' + '서울에 첫눈이 내렸어요. ' * 20 + '</main><script>x</script>'
PAGES = {
    '/news': page(NEWS.encode('cp949'), 'text/html; charset=EUC-KR'),
    '/plain': page('그냥 글', 'text/plain; charset=utf-8'),
    '/json': page('{"a": 1}', 'application/json'),
    '/image': page(b'\x89PNG', 'image/png'),
    '/none': page('x', None),
    '/empty': page('<script>document.write(1)</script>'),
    '/gone': page('no', status=404),
    '/broken': page('no', status=500),
    '/bomb': page(BOMB, 'text/plain', Content_Encoding='gzip'),
    '/large': page(b'x' * (5 << 20), 'text/plain'),
    '/slow': slow,
    '/once': move('/news'),
    '/inside': move('http://169.254.169.254/latest/meta-data/'),
    '/file': move('file:///etc/passwd'),
    '/loop': move('/loop'),
    '/cookie': page('x', 'text/plain', Set_Cookie='a=b'),
    '/evil': page('<title>&lt;img src=x onerror=1></title><p>&lt;script&gt;window.canary=1&lt;/script&gt;'),
    '/bidi': page('<title>a\u202eb</title><p>text'),
}


class Served(unittest.TestCase):
    args = ()

    def start(self, *args, **env):
        self.server = Server(DAMSO, '-m', SMALL, *self.args, *args, **env)
        self.addCleanup(lambda: self.assertEqual(self.server.close(), 0))

    def send(self, method, path, body=None, want=200):
        status, o = self.server.call(method, '/api/v1' + path, {} if body is None else body, **JSON)
        self.assertEqual(status, want, o)
        return o

    def get(self, path, want=200):
        status, o = self.server.get('/api/v1' + path)
        self.assertEqual(status, want, o)
        return o

    def post(self, path, body=None, want=200):
        return self.send('POST', path, body, want)

    def whole(self, chat):
        return self.get(f'/chats/{chat}')

    def message(self, chat, mid):
        return next(m for m in self.whole(chat)['messages'] if m['id'] == mid)

    def ended(self, chat, mid):
        return until(lambda: (m := self.message(chat, mid))['status'] != 'running' and m)

    def ask(self, chat, content='Hello', parent=None, options=SHORT, **fields):
        return self.post(f'/chats/{chat}/messages', {'content': content, 'parent': parent, 'options': options, **fields})

    def answered(self, chat, *args, **fields):
        turn = self.ask(chat, *args, **fields)
        return turn['user'], self.ended(chat, turn['answer']['id'])


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Pages(Served):
    def setUp(self):
        self.site = Site(PAGES)
        self.addCleanup(self.site.close)
        self.start('--fetch-allow', f'127.0.0.1:{self.site.port}')

    def page(self, path, want=200):
        return self.post('/pages', {'url': path if '://' in path else self.site.url + path}, want)

    def text(self, file):
        return self.server.raw('GET', f'/api/v1/files/{file["id"]}')[2].decode()

    def test_page(self):
        self.assertTrue(self.get('/me')['pages'])
        o = self.page('/news?x=1')
        self.assertEqual((o['name'], o['type'], o['url'], o['cut']), ('첫눈 소식 & 날씨', 'text/markdown', self.site.url + '/news?x=1', False))
        text = self.text(o)
        self.assertTrue(text.startswith(f'첫눈 소식 & 날씨\n{self.site.url}/news?x=1\n\n# 첫눈\n\n서울에'), text)
        self.assertNotIn('메뉴', text)
        self.assertIn('그냥 글', self.text(self.page('/plain')))
        self.assertIn('{"a": 1}', self.text(self.page('/json')))
        self.assertEqual(self.page('/once')['url'], self.site.url + '/news')
        self.assertEqual(self.page('/evil')['name'], '<img src=x onerror=1>')
        headers = self.site.seen[0][1]
        self.assertTrue(headers['User-Agent'].startswith('damso/'))
        self.page('/cookie')
        self.page('/plain')
        self.assertNotIn('Cookie', self.site.seen[-1][1])
        # and it is a file of a message, with its address
        chat = self.post('/chats')['id']
        user, answer = self.answered(chat, 'What is new?', files=[o['id']])
        self.assertEqual(user['files'][0]['source'], self.site.url + '/news?x=1')
        self.assertEqual(answer['status'], 'done', answer)

    def test_refused(self):
        for path, status, why in (
                ('/image', 422, 'image/png'), ('/none', 422, 'type'), ('/empty', 422, 'no text'), ('/gone', 422, '404'),
                ('/broken', 502, '500'), ('/bomb', 422, '4 MiB'), ('/large', 422, '4 MiB'), ('/loop', 502, 'redirects'),
                ('/inside', 422, 'not on the public internet'), ('/file', 422, 'http and https'),
                ('file:///etc/passwd', 422, 'http and https'), ('ftp://127.0.0.1/', 422, 'http and https'),
                ('http://127.0.0.1:1/', 422, 'port 1 '), ('http://127.0.0.1/', 422, 'public'), ('http://[::1]/', 422, 'public'),
                ('http://localhost/', 422, 'public'), ('http://2130706433/', 422, 'public'), ('http://0177.1/', 422, 'public'),
                ('http://[::ffff:127.0.0.1]/', 422, 'public'), ('http://[fe80::1%25lo]/', 422, 'public'),
                ('http://user:secret@example.invalid/', 422, 'password'), ('http://example.invalid/', 502, 'not found'),
                ('http://', 422, 'no address'), ('http://[x' + '가' * 99, 422, 'no address'), ('http://' + 'a' * 5000, 422, '4096')):
            with self.subTest(path):
                o = self.page(path, status)
                self.assertIn(why, o['error']['message'])
        self.assertEqual(self.page('/image', 422)['error']['code'], 'page_type')
        self.post('/pages', {}, 400)
        self.post('/pages', {'url': 7}, 400)

    def test_slow(self):
        began = time.monotonic()
        o = self.page('/slow', 502)
        self.assertIn('20 seconds', o['error']['message'])
        self.assertLess(time.monotonic() - began, 30)

    def test_many(self):
        """More than are fetched at once."""
        out = []
        threads = [threading.Thread(target=lambda: out.append(self.page('/plain'))) for _ in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(len({o['id'] for o in out}), 16)

    def children(self):
        """The server's processes beside it, by what they do."""
        pid = self.server.process.pid
        out = subprocess.run(['ps', '-o', 'pid=', '--ppid', str(pid)], capture_output=True, text=True).stdout.split()
        return [int(p) for p in out]

    def test_process_ends(self):
        """Without the process there is an error, and never a wait."""
        for child in self.children():
            os.kill(child, signal.SIGKILL)
        o = until(lambda: (o := self.post('/pages', {'url': self.site.url + '/plain'}, 500)) and o)
        self.assertIn('has ended', o['error']['message'])
        chat = self.post('/chats')['id']
        self.assertEqual(self.answered(chat)[1]['status'], 'done')


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Off(Served):
    def test_off(self):
        self.start('--fetch-pages', 'off')
        self.assertFalse(self.get('/me')['pages'])
        self.assertEqual(self.get('/tools'), {'pages': False, 'servers': []})
        self.assertIn('fetch_pages', self.post('/pages', {'url': 'http://example.invalid/'}, 404)['error']['message'])

    def test_bad_settings(self):
        with tempfile.NamedTemporaryFile('w', suffix='.json') as f:
            f.write('{"mcpServers": {"내 것": {"command": "x"}}}')
            f.flush()
            with self.assertRaisesRegex(RuntimeError, '내 것'):
                Server(DAMSO, '-m', SMALL, '--mcp', f.name)
        for option, value in (('--fetch-ports', 'x'), ('--fetch-allow', 'x'), ('--mcp', '/no/such')):
            with self.assertRaises(RuntimeError):
                Server(DAMSO, '-m', SMALL, option, value)


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Tools(Served):
    def serve(self, servers=None, **env):
        self.log = tempfile.NamedTemporaryFile('r', suffix='.log')
        self.addCleanup(self.log.close)
        good = {'command': sys.executable, 'args': [f'{HERE}/mcp_server.py', 'good', self.log.name], 'env': {'A': 'b'}}
        with tempfile.NamedTemporaryFile('w', suffix='.json', delete=False) as f:
            json.dump({'mcpServers': servers or {'s': good}}, f)
        self.addCleanup(os.unlink, f.name)
        self.start('--mcp', f.name, **env)
        return until(self.settled)

    def settled(self):
        o = self.get('/tools')
        return all(s['state'] != 'starting' for s in o['servers']) and o

    def said(self):
        self.log.seek(0)
        return [json.loads(l) for l in self.log]

    def chat(self, *tools, always=()):
        chat = self.post('/chats')['id']
        self.send('PATCH', f'/chats/{chat}', {'tools': list(tools), 'tools_always': list(always)})
        return chat

    def decide(self, chat, m, allow, call=0, want=200, **body):
        return self.post(f'/chats/{chat}/messages/{m["id"]}/calls/{m["calls"][call]["id"]}', {'allow': allow, 'options': SHORT, **body}, want)

    def test_list(self):
        o = self.serve()
        s, = o['servers']
        self.assertEqual((s['name'], s['state'], len(s['tools'])), ('s', 'ready', 9))
        pick = s['tools'][0]
        self.assertEqual((pick['id'], pick['name'], pick['title']), ('s__pick', 'pick', '차 고르기'))
        self.assertEqual(pick['input_schema']['properties']['tea'], {'enum': ['녹차']})
        self.assertFalse(self.get('/me')['models'][0]['tools'])
        first = self.said()[0]
        self.assertEqual((first['method'], first['params']['protocolVersion']), ('initialize', '2025-06-18'))

    def test_once(self):
        self.serve()
        chat = self.chat('s__pick')
        self.assertEqual(self.whole(chat)['chat']['tools'], ['s__pick'])
        user, m = self.answered(chat, 'Pick a tea', options=PICK)
        self.assertEqual((m['status'], len(m['calls'])), ('done', 1), m)
        call = m['calls'][0]
        self.assertEqual((call['state'], call['server'], call['name'], call['title'], call['at']), ('asked', 's', 'pick', '차 고르기', len(m['content'].encode())))
        self.assertEqual(json.loads(call['arguments']), {'tea': '녹차'})
        self.assertFalse([x for x in self.said() if x['method'] == 'tools/call'])  # nothing is called before
        self.assertEqual(self.message(chat, m['id'])['calls'], m['calls'])
        self.decide(chat, m, 'perhaps', want=400)
        o = self.decide(chat, m, 'once')
        self.assertEqual((o['status'], o['calls'][0]['state']), ('running', 'allowed'))
        self.decide(chat, m, 'no', want=409)
        m = self.ended(chat, m['id'])
        call = m['calls'][0]
        self.assertEqual((call['state'], call['result'], call['bytes']), ('done', '녹차를 골랐어요.', len('녹차를 골랐어요.'.encode())))
        self.assertEqual(m['status'], 'done')
        self.assertGreater(len(m['content'].encode()), call['at'])  # it went on
        asked, = [x for x in self.said() if x['method'] == 'tools/call']
        self.assertEqual(asked['params']['arguments'], {'tea': '녹차'})
        # the model read what came: as the API that forgets, told the same
        tool = {'type': 'function', 'function': {'name': 's__pick', 'description': 'Picks a tea.', 'parameters': self.get('/tools')['servers'][0]['tools'][0]['input_schema']}}
        messages = [{'role': 'user', 'content': 'Pick a tea'},
                    {'role': 'assistant', 'content': '', 'tool_calls': [{'id': call['id'], 'type': 'function', 'function': {'name': 's__pick', 'arguments': call['arguments']}}]},
                    {'role': 'tool', 'tool_call_id': call['id'], 'content': '녹차를 골랐어요.'}]
        _, want = self.server.post('/v1/chat/completions', {'messages': messages, 'tools': [tool], **SHORT})
        self.assertEqual(m['content'][len(m['content'].encode()[:call['at']].decode()):], want['choices'][0]['message']['content'])
        # and in the next turn, in exports, in a shared copy
        _, next_ = self.answered(chat, 'And now?', parent=m['id'])
        messages += [{'role': 'assistant', 'content': want['choices'][0]['message']['content']}, {'role': 'user', 'content': 'And now?'}]
        _, want = self.server.post('/v1/chat/completions', {'messages': messages, 'tools': [tool], **SHORT})
        self.assertEqual(next_['content'], want['choices'][0]['message']['content'])
        self.assertGreater(next_['usage']['cached_tokens'], 64)
        text = self.server.raw('GET', f'/api/v1/chats/{chat}/export')[2].decode()
        self.assertIn('**s: pick** (done)', text)
        self.assertIn('녹차를 골랐어요.', text)
        token = self.post(f'/chats/{chat}/share', {'days': 1})['token']
        self.assertEqual(self.get(f'/shared/{token}')['messages'][1]['calls'][0]['result'], '녹차를 골랐어요.')
        copy = self.post(f'/shared/{token}/copy')['id']
        self.assertEqual(self.whole(copy)['messages'][1]['calls'][0]['state'], 'done')
        self.assertTrue(until(lambda: self.whole(chat)['chat']['title']))

    def test_no(self):
        self.serve()
        chat = self.chat('s__pick')
        _, m = self.answered(chat, 'Pick a tea', options=PICK)
        self.decide(chat, m, 'no')
        m = self.ended(chat, m['id'])
        self.assertEqual((m['status'], m['calls'][0]['state']), ('done', 'refused'))
        self.assertNotIn('result', m['calls'][0])
        self.assertTrue(m['content'])
        self.assertFalse([x for x in self.said() if x['method'] == 'tools/call'])

    def test_always(self):
        self.serve()
        chat = self.chat('s__pick')
        _, m = self.answered(chat, 'Pick a tea', options=PICK)
        self.decide(chat, m, 'always')
        first = self.ended(chat, m['id'])
        self.assertEqual(first['calls'][0]['state'], 'done')
        self.assertEqual(self.whole(chat)['chat']['tools_always'], ['s__pick'])
        _, m = self.answered(chat, 'Again', parent=m['id'], options=PICK)
        self.assertEqual((m['status'], m['calls'][0]['state']), ('done', 'done'))
        # another chat asks again
        _, m = self.answered(self.chat('s__pick'), 'Pick', options=PICK)
        self.assertEqual(m['calls'][0]['state'], 'asked')

    def test_two_decide(self):
        self.serve()
        chat = self.chat('s__pick')
        _, m = self.answered(chat, 'Pick a tea', options=PICK)
        out = []

        def one():
            out.append(self.server.call('POST', f'/api/v1/chats/{chat}/messages/{m["id"]}/calls/{m["calls"][0]["id"]}', {'allow': 'once', 'options': SHORT}, **JSON)[0])

        threads = [threading.Thread(target=one) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(out.count(200), 1, out)
        self.assertEqual(set(out) - {200}, set(out) & {400, 409})
        self.ended(chat, m['id'])
        self.assertEqual(len([x for x in self.said() if x['method'] == 'tools/call']), 1)

    def test_restart(self):
        """A call that waits outlives the server, and can be allowed after."""
        self.serve()
        chat = self.chat('s__pick')
        _, m = self.answered(chat, 'Pick a tea', options=PICK)
        folder, self.server.own = self.server.dir, False
        self.server.kill()
        args = self.server.process.args[4:]
        self.server = Server(DAMSO, *args, folder=folder)
        until(lambda: self.get('/tools')['servers'][0]['state'] == 'ready')
        m = self.message(chat, m['id'])
        self.assertEqual((m['status'], m['calls'][0]['state']), ('done', 'asked'))
        self.decide(chat, m, 'once')
        self.assertEqual(self.ended(chat, m['id'])['calls'][0]['state'], 'done')

    def test_stop(self):
        self.serve()
        chat = self.chat('s__slow', always=['s__slow'])
        turn = self.ask(chat, 'Go', options={**PICK, 'tool_choice': 's__slow'})
        mid = turn['answer']['id']
        m = until(lambda: (m := self.message(chat, mid))['calls'] and m)
        self.assertEqual((m['status'], m['calls'][0]['state']), ('running', 'running'))
        self.post(f'/chats/{chat}/messages/{mid}/stop')
        m = until(lambda: (m := self.message(chat, mid))['calls'][0]['state'] != 'running' and m)
        self.assertEqual((m['status'], m['calls'][0]['state']), ('stopped', 'stopped'))
        until(lambda: [x for x in self.said() if x['method'] == 'notifications/cancelled'])

    def test_results(self):
        self.serve()
        every = [f's__{n}' for n in ('picture', 'long', 'fail', 'evil')]
        chat = self.chat(*every, always=every)
        got = {}
        for tool in every:
            got[tool] = self.answered(chat, 'Go', options={**PICK, 'tool_choice': tool})[1]
            self.assertEqual(got[tool]['status'], 'done', got[tool].get('error'))
        call = got['s__picture']['calls'][0]
        self.assertEqual([i['type'] for i in call['images']], ['image/png'])
        call = got['s__long']['calls'][0]
        self.assertEqual(call['bytes'], len('가나다라마바사 '.encode()) * 20000)
        self.assertLess(len(call['result'].encode()), 65537)
        self.assertLess(call['kept'], len(call['result'].encode()))  # a quarter of the small context
        self.assertLess(got['s__long']['usage']['prompt_tokens'], 2048)
        self.assertEqual((got['s__fail']['calls'][0]['state'], got['s__fail']['calls'][0]['result']), ('failed', 'It went wrong.'))
        self.assertIn('<script>', got['s__evil']['calls'][0]['result'])

    def test_rounds(self):
        """required, and never enough: the answer ends by itself."""
        self.serve()
        chat = self.chat('s__pick', always=['s__pick'])
        _, m = self.answered(chat, 'Pick', options={**PICK, 'tool_choice': 'required'})
        self.assertIn(m['status'], ('done', 'error'))
        self.assertLessEqual(max(c['round'] for c in m['calls']), 9)

    def test_named_by_option(self):
        """A tool may be named without being on; another may not be called; none is none."""
        self.serve()
        chat = self.chat()
        _, m = self.answered(chat, 'Pick', options=PICK)
        self.assertEqual(m['calls'][0]['tool'], 's__pick')
        _, m = self.answered(chat, 'Pick', options={**PICK, 'tool_choice': 'none'})
        self.assertEqual(m['calls'], [])
        _, m = self.answered(chat, 'Pick', options={**PICK, 'tool_choice': 's__nothing'})
        self.assertEqual(m['calls'], [])
        self.send('PATCH', f'/chats/{chat}', {'tools': [7], 'tools_always': []}, 400)
        self.send('PATCH', f'/chats/{chat}', {'tools': []}, 400)
        self.post(f'/chats/{chat}/messages', {'content': 'x', 'options': {'tool_choice': 7}}, 400)

    def test_cut_off(self):
        """A limit that ends an answer within a call: the user is not asked, and nothing is called."""
        self.serve()
        _, m = self.answered(self.chat('s__echo'), 'Say much', options={**PICK, 'tool_choice': 's__echo', 'max_tokens': 20})
        self.assertEqual((m['status'], m['calls'][0]['state']), ('done', 'failed'), m)
        self.assertIn('not whole', m['calls'][0]['result'])
        self.assertFalse([x for x in self.said() if x['method'] == 'tools/call'])

    def test_http(self):
        """Streamable HTTP: JSON and events, sessions, a header from the environment, an end."""
        plain, events = Http(secret='Bearer s3cret'), Http(stream=True)
        self.addCleanup(plain.close)
        self.addCleanup(events.close)
        o = self.serve({'plain': {'url': plain.url, 'headers': {'Authorization': 'Bearer ${TEST_SECRET}'}},
                        'events': {'type': 'http', 'url': events.url},
                        'closed': {'url': plain.url}, 'off': {'url': 'http://127.0.0.1:1/'},
                        'moved': {'url': (moved := Http('redirects')).url}}, TEST_SECRET='s3cret')
        self.addCleanup(moved.close)
        states = {s['name']: (s['state'], s['error']) for s in o['servers']}
        self.assertEqual((states['plain'], states['events']), (('ready', ''), ('ready', '')))
        self.assertIn('401', states['closed'][1])
        self.assertIn('redirects', states['moved'][1])
        self.assertEqual(states['off'][0], 'failed')
        for name, server in (('plain', plain), ('events', events)):
            tool = f'{name}__pick'
            chat = self.chat(tool, always=[tool])
            _, m = self.answered(chat, 'Pick', options={**PICK, 'tool_choice': tool})
            self.assertEqual((m['calls'][0]['state'], m['calls'][0]['result']), ('done', '녹차를 골랐어요.'))
            _, headers = [r for r in server.requests if r[0]['method'] == 'tools/call'][-1]
            self.assertEqual(headers['MCP-Protocol-Version'], '2025-06-18')
            self.assertIn(headers['Mcp-Session-Id'], server.sessions)
            server.forget()  # a new session is made, and the call comes through
            _, m = self.answered(chat, 'Again', parent=None, options={**PICK, 'tool_choice': tool})
            self.assertEqual(m['calls'][0]['state'], 'done', m['calls'])
        self.server.log.flush()
        with open(f'{self.server.dir}/log') as log:
            self.assertNotIn('s3cret', log.read())
        self.server.process.send_signal(signal.SIGTERM)
        self.server.process.wait(60)
        self.assertTrue(plain.deleted and events.deleted)

    def test_http_hostile(self):
        """Over HTTP as well: what is no answer is a failed call, and the next server is none the worse."""
        modes = {'huge': '8 MiB', 'deep': 'no message', 'garbage': 'no message', 'hang': 'no message', 'wrong': 'without a result'}
        servers = {m: Http(m) for m in modes} | {'later': Http('later', stream=True), 'hugestream': Http('huge', stream=True)}
        for server in servers.values():
            self.addCleanup(server.close)
        self.serve({name: {'url': server.url, 'timeout': 5} for name, server in servers.items()})
        for name, why in {**modes, 'hugestream': '8 MiB'}.items():
            with self.subTest(name):
                tool = f'{name}__pick'
                _, m = self.answered(self.chat(tool, always=[tool]), 'Pick', options={**PICK, 'tool_choice': tool})
                self.assertEqual((m['status'], m['calls'][0]['state']), ('done', 'failed'), m)
                self.assertIn(why, m['calls'][0]['result'])
        # what a server says of itself is heard
        until(lambda: len(next(s for s in self.get('/tools')['servers'] if s['name'] == 'later')['tools']) == 2)

    def test_process_ends(self):
        """A call whose process dies fails, and the chat goes on."""
        self.serve()
        chat = self.chat('s__slow', always=['s__slow'])
        mid = self.ask(chat, 'Go', options={**PICK, 'tool_choice': 's__slow'})['answer']['id']
        until(lambda: self.message(chat, mid)['calls'])
        out = subprocess.run(['ps', '-o', 'pid=', '--ppid', str(self.server.process.pid)], capture_output=True, text=True).stdout.split()
        for child in out:
            os.kill(int(child), signal.SIGKILL)
        m = self.ended(chat, mid)
        self.assertEqual((m['status'], m['calls'][0]['state']), ('done', 'failed'), m)
        self.assertIn('has ended', m['calls'][0]['result'])
        self.assertEqual(self.get('/tools')['servers'][0]['state'], 'failed')


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Files(Served):
    """Long files are cut so that they fit, and all are told."""

    def file(self, name, text):
        status, o = self.server.call('POST', f'/api/v1/files?name={name}', text.encode(), Content_Type='text/plain')
        self.assertEqual(status, 200)
        return o['id']

    def test_cut(self):
        self.start()
        short, long_ = self.file('short.txt', 'tea\n' * 30), self.file('long.txt', 'The ship sails on.\n' * 3000)
        chat = self.post('/chats')['id']
        user, answer = self.answered(chat, 'What is in them?', files=[short, long_])
        self.assertEqual(answer['status'], 'done', answer)
        kept = [f['kept'] for f in self.message(chat, user['id'])['files']]
        self.assertEqual(kept[0], 0)
        self.assertTrue(1000 < kept[1] < 19 * 3000 and kept[1] % 19 == 0, kept)  # at the end of a line
        percent = int(kept[1] * 100 / (19 * 3000))
        self.assertLess(answer['usage']['prompt_tokens'], 2048 - 500)
        text = ('File "short.txt":\n```\n' + 'tea\n' * 30 + '\n```\n\n' +
                f'File "long.txt" (too long: only its first {percent} % are here):\n```\n' + 'The ship sails on.\n' * (kept[1] // 19) +
                '\n[The file goes on, but the rest is not here.]\n```\n\nWhat is in them?')
        _, want = self.server.post('/v1/chat/completions', {**SHORT, 'messages': [{'role': 'user', 'content': text}]})
        self.assertEqual(answer['content'], want['choices'][0]['message']['content'])
        # the next turn reads the same, so that what is known stays known
        _, second = self.answered(chat, 'And?', parent=answer['id'])
        self.assertGreater(second['usage']['cached_tokens'], 1000)
        self.assertEqual([f['kept'] for f in self.message(chat, user['id'])['files']], kept)


if __name__ == '__main__':
    unittest.main()
