#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""MCP servers for tests, kind and hostile: tests/mcp_server.py MODE [LOG] speaks over stdio; Http(MODE) is one over
Streamable HTTP, in the process that makes it.  MODE: good, or the way in which it is not."""
import http.server, json, os, sys, threading, time

PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='


def schema(required=(), **properties):
    return {'type': 'object', 'properties': properties, 'required': list(required), 'additionalProperties': False}


TOOLS = [
    {'name': 'pick', 'title': '차 고르기', 'description': 'Picks a tea.',
     'inputSchema': schema(['tea'], tea={'enum': ['녹차']})},
    {'name': 'echo', 'description': 'Says it again.', 'inputSchema': schema(['text'], text={'type': 'string'})},
    {'name': 'add', 'description': 'Adds.',
     'inputSchema': schema(['a', 'b'], a={'type': 'integer'}, b={'type': 'integer'})},
    {'name': 'picture', 'description': 'A picture.', 'inputSchema': schema()},
    {'name': 'long', 'description': 'Much text.', 'inputSchema': schema()},
    {'name': 'fail', 'description': 'Fails.', 'inputSchema': schema()},
    {'name': 'slow', 'description': 'Takes its time.', 'inputSchema': schema()},
    {'name': 'read', 'description': 'Reads the first line.', 'inputSchema': schema(['path'], path={'type': 'string'})},
    {'name': 'evil', 'description': '<img src=x onerror="window.canary=1">', 'inputSchema': schema()},
]


def text(s, **more):
    return {'content': [{'type': 'text', 'text': s}], **more}


class Server:
    """Answers messages by sending others, each as a Python value or as raw text."""

    def __init__(self, mode, send):
        self.mode, self.send, self.cancelled, self.seen = mode, send, threading.Event(), []

    def reply(self, m, result):
        self.send({'jsonrpc': '2.0', 'id': m['id'], 'result': result})

    def take(self, m):
        self.seen.append(m)
        method = m.get('method')
        if method == 'notifications/cancelled':
            self.cancelled.set()
        if method == 'initialize':
            self.initialize(m)
        elif method == 'tools/list':
            self.list(m)
        elif method == 'tools/call':
            self.call(m)
        elif method == 'ping':
            self.reply(m, {})

    def initialize(self, m):
        version = {'old': '2024-11-05', 'older': '1999-01-01'}.get(self.mode, m['params']['protocolVersion'])
        if self.mode == 'silent':
            return
        if self.mode == 'bad':
            self.send('this is no JSON')
        self.reply(m, {'protocolVersion': version, 'capabilities': {'tools': {'listChanged': True}},
                       'serverInfo': {'name': 'test', 'version': '1'}})
        if self.mode == 'asks':
            self.send({'jsonrpc': '2.0', 'id': 'p1', 'method': 'ping'})
            self.send({'jsonrpc': '2.0', 'id': 'r1', 'method': 'roots/list'})
            self.send({'jsonrpc': '2.0', 'id': 's1', 'method': 'sampling/createMessage', 'params': {}})

    def list(self, m):
        cursor = m.get('params', {}).get('cursor')
        if self.mode == 'pages':
            at = int(cursor or 0)
            page = {'tools': TOOLS[at:at + 2]}
            if at + 2 < len(TOOLS):
                page['nextCursor'] = str(at + 2)
            return self.reply(m, page)
        if self.mode == 'endless':
            return self.reply(m, {'tools': [{'name': f'{cursor}-{i}', 'inputSchema': schema()} for i in range(50)],
                                  'nextCursor': (cursor or '') + 'x'})
        if self.mode == 'fat':
            return self.reply(m, {'tools': [{'name': f't{i}', 'inputSchema': {**schema(), 'title': 'x' * 60000}}
                                            for i in range(100)]})
        if self.mode == 'odd':
            odd = [{'name': ''}, {'name': 'n' * 500, 'inputSchema': schema()}, {'name': 'x'}, 7, None,
                   {'name': 'a\x1b[31m', 'inputSchema': schema()}, {'name': 'y', 'inputSchema': 'none'}]
            return self.reply(m, {'tools': odd + TOOLS[:1] + TOOLS[:1]})
        if self.mode == 'later' and len([x for x in self.seen if x.get('method') == 'tools/list']) > 1:
            return self.reply(m, {'tools': TOOLS[:2]})
        self.reply(m, {'tools': TOOLS[:1] if self.mode == 'later' else TOOLS})
        if self.mode in ('later', 'storm'):
            for _ in range(1 if self.mode == 'later' else 3000):
                self.send({'jsonrpc': '2.0', 'method': 'notifications/tools/list_changed'})

    def call(self, m):
        name, args = m['params']['name'], m['params'].get('arguments', {})
        if self.mode == 'hang':
            return
        if self.mode == 'huge':
            return self.send('{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"%s"}]}}' %
                             (m['id'], 'x' * (9 << 20)))
        if self.mode == 'deep':
            return self.send('{"jsonrpc":"2.0","id":%d,"result":%s}' % (m['id'], '[' * 100000))
        if self.mode == 'garbage':
            return self.send('{"jsonrpc": nonsense')
        if self.mode == 'wrong':
            self.send({'jsonrpc': '2.0', 'id': 99999, 'result': text('of another')})
            self.send({'jsonrpc': '2.0', 'id': str(m['id']), 'result': text('a text for an id')})
            self.send({'jsonrpc': '2.0', 'id': None, 'result': text('of none')})
            return self.send({'jsonrpc': '2.0', 'id': m['id'], 'result': {'content': 'no list'}})
        if self.mode == 'dies':
            os._exit(3)
        if name == 'pick':
            return self.reply(m, text(f'{args["tea"]}를 골랐어요.'))
        if name == 'echo':
            return self.reply(m, text(args['text']))
        if name == 'add':
            total = args['a'] + args['b']
            return self.reply(m, {'content': [], 'structuredContent': {'sum': total}})
        if name == 'picture':
            return self.reply(m, {'content': [{'type': 'text', 'text': 'here'},
                                              {'type': 'image', 'mimeType': 'image/png', 'data': PIXEL},
                                              {'type': 'image', 'mimeType': 'image/svg+xml', 'data': PIXEL}]})
        if name == 'long':
            return self.reply(m, text('가나다라마바사 ' * 20000))
        if name == 'fail':
            return self.reply(m, text('It went wrong.', isError=True))
        if name == 'read':
            try:
                with open(args['path']) as f:
                    return self.reply(m, text(f.readline()))
            except OSError as error:
                return self.reply(m, text(type(error).__name__))
        if name == 'slow':
            return threading.Thread(target=self.slow, args=(m,), daemon=True).start()
        if name == 'evil':
            return self.reply(m, text('<img src=x onerror="window.canary=1"><script>window.canary=1</script>'))
        self.send({'jsonrpc': '2.0', 'id': m['id'], 'error': {'code': -32602, 'message': f'no tool {name}'}})

    def slow(self, m):
        """Ends when it is cancelled, or after a minute; shows progress until then."""
        for i in range(600):
            if self.cancelled.wait(0.1):
                break
            token = m['params'].get('_meta', {}).get('progressToken')
            self.send({'jsonrpc': '2.0', 'method': 'notifications/progress',
                       'params': {'progressToken': token, 'progress': i}})
        self.reply(m, text('late'))


def stdio(mode, log):
    lock = threading.Lock()

    def send(m):
        with lock:
            sys.stdout.write((m if isinstance(m, str) else json.dumps(m)) + '\n')
            sys.stdout.flush()

    server = Server(mode, send)
    if mode == 'noisy':
        sys.stderr.write('noise\n' * 200000)
    for line in sys.stdin:
        m = json.loads(line)
        if log:
            with open(log, 'a') as f:
                f.write(line)
        server.take(m)


class Http:
    """Knows its sessions; `forget` makes it lose them, `stream` makes its answers streams of events, and lets one
    listen to what it says of itself."""

    def __init__(self, mode='good', stream=False, secret=None):
        outer = self
        self.seen, self.ended = [], threading.Event()
        self.sessions, self.requests, self.stream, self.mode, self.deleted = set(), [], stream, mode, []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *a):
                pass

            def plain(self, status, body=b'', kind='text/plain', **headers):
                self.send_response(status)
                self.send_header('Content-Type', kind)
                self.send_header('Content-Length', str(len(body)))
                for k, v in headers.items():
                    self.send_header(k.replace('_', '-'), v)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                if not stream:
                    return self.plain(405)
                self.send_response(200)
                self.send_header('Content-Type', 'text/event-stream')
                self.end_headers()
                if mode == 'later':
                    self.wfile.write(b'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n')
                self.wfile.flush()
                outer.ended.wait(60)
                self.close_connection = True

            def do_DELETE(self):
                outer.deleted.append(self.headers.get('Mcp-Session-Id'))
                self.plain(200)

            def do_POST(self):
                m = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
                outer.requests.append((m, dict(self.headers)))
                first = m.get('method') == 'initialize'
                if secret and self.headers.get('Authorization') != secret:
                    return self.plain(401)
                if mode == 'redirects':
                    return self.plain(307, Location='http://127.0.0.1:1/')
                if not first and self.headers.get('Mcp-Session-Id') not in outer.sessions:
                    return self.plain(404)
                out = []
                server = Server(mode, out.append)
                server.seen = outer.seen
                server.take(m)
                headers = {}
                if first:
                    headers['Mcp_Session_Id'] = f's{len(outer.requests)}'
                    outer.sessions.add(headers['Mcp_Session_Id'])
                if 'id' not in m or 'method' not in m:
                    return self.plain(202)
                texts = [x if isinstance(x, str) else json.dumps(x) for x in out]
                if outer.stream:
                    body = ': hello\r\n\r\n' + ''.join(f'event: message\r\ndata: {x}\r\n\r\n' for x in texts)
                    return self.plain(200, body.encode(), 'text/event-stream', **headers)
                self.plain(200, (texts[0] if texts else '').encode(), 'application/json', **headers)

        self.httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.httpd.handle_error = lambda *a: None  # clients that leave
        self.url = f'http://127.0.0.1:{self.httpd.server_address[1]}/mcp'
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def forget(self):
        self.sessions.clear()

    def close(self):
        self.ended.set()
        self.httpd.shutdown()
        self.httpd.server_close()


if __name__ == '__main__':
    stdio(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
