# SPDX-License-Identifier: MIT
"""Adapters of a request, by name and by number, through every API: tests/lora_test.py DAMSO.
The adapter is made here, of random numbers large enough to change what the small model says; that it is computed rightly
is src/engine/engine_lora_test.c's to say."""
import os, random, subprocess, sys, tempfile

from gguf_file import write_gguf
from served import MODELS, SMALL, Server, sse

DIM, FF, RANK = 576, 1536, 2  # of the small model
ASK = [{'role': 'user', 'content': 'What is the capital of France?'}]
N = 12


def adapter(path, arch='llama', seed=1):
    """A GGUF file with a pair for one matrix, as convert_lora_to_gguf.py writes it."""
    rng = random.Random(seed)
    keys = {'general.type': 'adapter', 'general.architecture': arch, 'adapter.type': 'lora',
            'adapter.lora.alpha': 2.0 * RANK}
    write_gguf(path, keys, {'blk.20.ffn_down.weight' + end: (dims, [rng.uniform(-1, 1) for _ in range(dims[0] * dims[1])])
                            for end, dims in (('.lora_a', (FF, RANK)), ('.lora_b', (RANK, DIM)))})


def chat(server, model=SMALL, **more):
    status, o = server.post('/v1/chat/completions', {'model': model, 'messages': ASK, 'temperature': 0, 'max_tokens': N, **more})
    return status, o['choices'][0]['message']['content'] if status == 200 else o


def responses(server, model=SMALL, **more):
    status, o = server.post('/v1/responses', {'model': model, 'input': ASK, 'temperature': 0, 'max_output_tokens': N, **more})
    return status, o['output'][0]['content'][0]['text'] if status == 200 else o


def anthropic(server, model=SMALL, **more):
    status, o = server.post('/v1/messages', {'model': model, 'messages': ASK, 'temperature': 0, 'max_tokens': N, **more})
    return status, o['content'][0]['text'] if status == 200 else o


def ollama(server, model=SMALL, **more):
    options = {'temperature': 0, 'num_predict': N, **more}
    status, o = server.post('/api/chat', {'model': model, 'messages': ASK, 'stream': False, 'options': options})
    return status, o['message']['content'] if status == 200 else o


APIS = chat, responses, anthropic, ollama


def test_every_api(server):
    plain, loud, half = (chat(server, **({'lora': [{'id': 0, 'scale': s}]} if s else {}))[1] for s in (0, 1, 0.5))
    assert len({plain, loud, half}) == 3, (plain, loud, half)
    for api in APIS:
        say = lambda **more: api(server, **more)
        assert say() == (200, plain), api.__name__
        assert say(lora=[]) == say(lora=[{'id': 0, 'scale': 0}]) == (200, plain), api.__name__
        assert say(lora=[{'id': 0}]) == say(lora=[{'id': 0, 'scale': 1}]) == (200, loud), api.__name__
        assert say(lora=[{'id': 0, 'scale': 0.5}]) == (200, half), api.__name__
        assert say(model='loud') == (200, loud), api.__name__  # by its name, with the setting's weight
        assert say(model='soft') == (200, half), api.__name__
        assert say(model='loud', lora=[]) == (200, plain), api.__name__  # what is said of lora goes before the name
        assert say(lora=[{'id': 0, 'scale': 0.25}, {'id': 1, 'scale': 0.25}]) == (200, half), api.__name__  # one file twice


def test_refusals(server):
    for api in APIS:
        for bad, word in (([{'id': 2}], 'there is no adapter 2'), ([{'scale': 1}], 'missing'), ([{'id': 0, 'scale': 1000}], '100'),
                          ('loud', 'lora'), ([{'id': 0}] * 9, '8')):
            status, o = api(server, lora=bad)
            assert status == 400 and word in str(o), (api.__name__, bad, status, o)


def test_list(server):
    ids = [m['id'] for m in server.get('/v1/models')[1]['data']]
    assert ids == [SMALL, 'loud', 'soft'], ids


def test_at_once(server):
    """Answers with and without share steps."""
    body = lambda n: {'model': SMALL, 'messages': ASK, 'temperature': 0, 'max_tokens': N, 'stream': True,
                      **({'lora': [{'id': 0, 'scale': n / 2}]} if n else {})}
    want = [chat(server, **({'lora': [{'id': 0, 'scale': n / 2}]} if n else {}))[1] for n in range(3)]
    open_ = [server.open('POST', '/v1/chat/completions', body(n % 3)) for n in range(6)]
    for n, (c, r) in enumerate(open_):
        events = [o for _, o in sse(r.read()) if o != '[DONE]']
        text = ''.join(o['choices'][0]['delta'].get('content') or '' for o in events if o['choices'])
        assert text == want[n % 3], (n, text, want)
        c.close()


def refused(damso, word, *args, command='run'):
    r = subprocess.run([damso, command, '-m', SMALL, *args], capture_output=True, text=True, timeout=120,
                       env={**os.environ, 'DAMSO_MODELS_DIR': MODELS})
    assert r.returncode and word in r.stderr, (args, r)


def test_modes(damso, folder):
    """What computes without adapters says so, and so does a file of another family."""
    one = f'loud={folder}/a.gguf'
    refused(damso, 'simulated chips compute without adapters', '--lora', one, '--device', 'rngd', 'hello')
    adapter(f'{folder}/other.gguf', arch='qwen2')
    refused(damso, 'family qwen2', '--lora', f'x={folder}/other.gguf', 'hello')


def main():
    if not MODELS:
        print('DAMSO_TEST_MODELS is not set')
        return 77
    damso = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        adapter(f'{folder}/a.gguf')
        server = Server(damso, '-m', SMALL, '--lora', f'loud={folder}/a.gguf,soft={folder}/a.gguf:0.5')
        try:
            for test in (test_list, test_every_api, test_refusals, test_at_once):
                test(server)
                print('ok', test.__name__, flush=True)
        finally:
            status = server.close()
        test_modes(damso, folder)
        print('ok test_modes')
    return status


if __name__ == '__main__':
    sys.exit(main())
