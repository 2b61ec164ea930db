# SPDX-License-Identifier: MIT
"""What the client of MLPerf Endpoints (mlcommons/endpoints, `inference-endpoint`) sends and needs: each field, bare
requests on kept connections, events that end in an empty line, a chunk a token, 1 to 64 clients."""
import http.client, json, os, resource, socket, sys, threading
from served import MODELS, SMALL, Server, sse

HELLO = [{'role': 'user', 'content': 'Say hello.'}]
TOOL = {'type': 'function', 'function': {'name': 'clock', 'parameters': {'type': 'object', 'properties': {}}}}
CHAT, TEXT = '/v1/chat/completions', '/v1/completions'


def own_template():
    with open(f'{MODELS}/{SMALL}.gguf', 'rb') as f:
        data = f.read(16 << 20)
    at = data.index(b'tokenizer.chat_template') + len(b'tokenizer.chat_template') + 4
    n = int.from_bytes(data[at:at + 8], 'little')
    return data[at + 8:at + 8 + n].decode()


# Every field that the client's adapters for chat can send, with a value of its kind.
FIELDS = {'model': 'any/name', 'temperature': 0.5, 'max_completion_tokens': 5, 'stream': False, 'seed': 7, 'top_p': 0.9,
          'top_k': 20, 'repetition_penalty': 1.1, 'n': 2, 'stop': ['\n\n\n'], 'presence_penalty': 0.5,
          'frequency_penalty': 0.5, 'logit_bias': {'5': -100}, 'user': 'mlperf', 'chat_template_kwargs': {'enable_thinking': False},
          'tools': [TOOL], 'tool_choice': 'auto', 'stream_options': {'include_usage': True}, 'something_new': 1}


def test_fields(server):
    base = {'messages': HELLO, 'max_completion_tokens': 4}
    for name, value in FIELDS.items():
        body = {**base, name: value}
        if name == 'tool_choice':
            body['tools'] = [TOOL]
        if name == 'stream_options':
            body['stream'] = True
        status, _, data = server.raw('POST', CHAT, body)
        assert status == 200, (name, data)
        if name == 'n':
            assert len(json.loads(data)['choices']) == 2
        if name == 'max_completion_tokens':
            assert json.loads(data)['usage']['completion_tokens'] <= 5
    for value in (-1, 0):  # both say all
        assert server.post(CHAT, {**base, 'top_k': value})[0] == 200
    # The model's own template is one that may be sent; another is refused by its name, and never run.
    assert server.post(CHAT, {**base, 'chat_template': own_template()})[0] == 200
    status, body = server.post(CHAT, {**base, 'chat_template': '{{ 1 }}'})
    assert status == 400 and body['error']['param'] == 'chat_template', body
    whole = {**base, **FIELDS, 'chat_template': own_template(), 'stream': True, 'n': 1}
    assert server.events(CHAT, whole)[-1][1] == '[DONE]'


def test_ids(server):
    a = server.post(TEXT, {'model': 'm', 'prompt': [504, 3575, 282], 'max_tokens': 6, 'temperature': 0})
    b = server.post(TEXT, {'model': 'm', 'prompt': [[504, 3575, 282]], 'max_tokens': 6, 'temperature': 0})
    assert a[0] == b[0] == 200 and a[1]['choices'][0]['text'] == b[1]['choices'][0]['text'] != ''
    events = server.events(TEXT, {'prompt': [504, 3575, 282], 'max_tokens': 6, 'temperature': 0, 'stream': True})
    assert ''.join(e[1]['choices'][0]['text'] for e in events[:-1] if e[1]['choices']) == a[1]['choices'][0]['text']


def bare(connection, body):
    """A request with the client's four headers and no other."""
    data = json.dumps(body).encode()
    connection.putrequest('POST', CHAT, skip_accept_encoding=True)
    for name, value in (('Content-Type', 'application/json'), ('Accept', 'text/event-stream'), ('Content-Length', str(len(data)))):
        connection.putheader(name, value)
    connection.endheaders(data)
    r = connection.getresponse()
    return r.status, r.read()


# Byte for byte what the client sent when it ran against damso (mlcommons/endpoints at ea332753): its probe, its offline
# runs (not streamed), and its online runs with every setting of sampling; Host and Content-Length are filled in.
SENT = (('application/json', '{"model":"smollm2","messages":[{"role":"user","content":"Please write me a joke in 30 words."}],"stream":false}'),
        ('application/json', '{"model":"damso","messages":[{"role":"user","content":"84은 짝수인가요?"}],"temperature":0.0,"max_completion_tokens":32,"stream":false}'),
        ('text/event-stream', '{"model":"smollm2","messages":[{"role":"user","content":"84은 짝수인가요?"}],"temperature":0.5,'
                              '"max_completion_tokens":32,"stream":true,"seed":5,"top_p":0.9,"top_k":20,"repetition_penalty":1.1}'))


def test_what_it_sends(server):
    for accept, body in SENT:
        data = body.encode()
        s = socket.create_connection(('127.0.0.1', server.port), 120)
        for _ in range(2):  # kept open
            s.sendall(f'POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\nAccept: {accept}\r\n'
                      f'Content-Length: {len(data)}\r\n\r\n'.encode() + data)
            r = http.client.HTTPResponse(s)
            r.begin()
            got = r.read()
            assert r.status == 200 and not r.will_close, (r.status, got)
            if 'event' in accept:
                assert r.headers['Content-Type'].startswith('text/event-stream') and 1 <= len(chunks(got)) <= 32
                assert not any(e[1].get('usage') for e in sse(got) if e[1] != '[DONE]')  # it did not ask for it
            else:
                choice = json.loads(got)['choices'][0]
                assert choice['finish_reason'] in ('stop', 'length') and isinstance(choice['message']['content'], str)
        s.close()


def test_many_connections(server):
    """With its own settings it opens 7058 before the first request, a quarter of the ports that Linux gives out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n = min(7058, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, n + 100), hard))
    idle = [socket.create_connection(('127.0.0.1', server.port), 10) for _ in range(n)]
    for s in (idle[0], idle[-1]):
        body = json.dumps({'model': 'm', 'messages': HELLO, 'max_completion_tokens': 2}).encode()
        s.sendall(f'POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n'.replace(
            'Host: x', f'Host: 127.0.0.1:{server.port}').encode() + body)
        r = http.client.HTTPResponse(s)
        r.begin()
        assert r.status == 200, (n, r.status, r.read())
    for s in idle:
        s.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def chunks(data):
    """Texts of a stream, one for each event that has one; an event is what ends in an empty line."""
    assert data.endswith(b'data: [DONE]\n\n') and b'\r' not in data
    deltas = [e[1]['choices'][0]['delta'] for e in sse(data) if e[1] != '[DONE]' and e[1]['choices']]
    return [d['content'] for d in deltas if d.get('content')]


def test_a_chunk_a_token(server):
    c = http.client.HTTPConnection('127.0.0.1', server.port, timeout=120)
    body = {'model': 'm', 'messages': [{'role': 'user', 'content': 'Count from one to twenty.'}], 'stream': True,
            'max_completion_tokens': 24, 'temperature': 0, 'seed': 1, 'ignore_eos': True}
    whole = server.post(CHAT, {**body, 'stream': False})[1]
    for _ in range(12):  # on one connection, which stays open
        status, data = bare(c, body)
        assert status == 200, data
        got = chunks(data)
        assert len(got) == whole['usage']['completion_tokens'] == 24, got
        assert ''.join(got) == whole['choices'][0]['message']['content']
    c.close()


def test_many_clients(server):
    for n in (1, 8, 64):
        faults = []

        def one(i, rounds):
            c = http.client.HTTPConnection('127.0.0.1', server.port, timeout=300)
            try:
                for k in range(rounds):
                    status, data = bare(c, {'model': 'm', 'messages': [{'role': 'user', 'content': f'Say {i} {k}.'}],
                                            'stream': True, 'max_completion_tokens': 4, 'temperature': 0, 'ignore_eos': True})
                    if status != 200 or len(chunks(data)) > 4 or not chunks(data):
                        faults.append((status, data[:200]))
            except Exception as e:  # a thread's
                faults.append(repr(e))
            c.close()

        threads = [threading.Thread(target=one, args=(i, 2)) for i in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not faults, (n, faults[:3])


def main():
    if not MODELS:
        print('DAMSO_TEST_MODELS is not set')
        return 77
    server = Server(sys.argv[1], '-m', SMALL)
    try:
        for name, test in list(globals().items()):
            if name.startswith('test_'):
                test(server)
                print('ok', name, flush=True)
    finally:
        status = server.close()
    return status


if __name__ == '__main__':
    sys.exit(main())
