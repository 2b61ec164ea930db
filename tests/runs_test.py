# SPDX-License-Identifier: MIT
"""/api/v1/runs: what is listed of the operator's folder, what is left out, and that nothing leads out of it."""
import json, os, sys, tempfile
from served import MODELS, SMALL, Server

MLPERF = {'benchmark': 'small', 'official_benchmark': False, 'scenario': 'Offline', 'mode': 'performance', 'verdict': 'VALID',
          'model': 'm', 'tokens_per_s': 12.5, 'unix_time': 1790000000, 'latency_ms': {'p50': 1.5, 'p90': 2}, 'histogram': None,
          'machine': {'cpu': 'a <b>processor</b>'}, 'logs': '/home/somebody/secret', 'loadgen': {'x': 1}}
SERVE = {'url': 'http://127.0.0.1:1', 'model': 'm', 'words': 5, 'answer': 4, 'levels': [{'clients': 1, 'system_tps': 3.5}]}


def lay(folder):
    def write(name, text):
        path = os.path.join(folder, 'runs', name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text if isinstance(text, str) else json.dumps(text))
    write('offline/run.json', MLPERF)
    write('curve.json', SERVE)
    write('broken/run.json', '{"benchmark": ')
    write('other/run.json', {'benchmark': 1})
    write('twice/run.json', '{"benchmark": "a", "benchmark": "b", "verdict": "VALID"}')
    write('large/run.json', json.dumps({**MLPERF, 'why': 'x' * (5 << 20)}))
    write('.hidden/run.json', MLPERF)
    write('a b/run.json', MLPERF)
    write('notes.txt', SERVE)
    with open(f'{folder}/outside.json', 'w', encoding='utf-8') as f:
        json.dump(SERVE, f)
    os.makedirs(f'{folder}/away')
    with open(f'{folder}/away/run.json', 'w', encoding='utf-8') as f:
        json.dump(MLPERF, f)
    os.symlink('../outside.json', f'{folder}/runs/link.json')
    os.symlink('../away', f'{folder}/runs/linked')
    os.makedirs(f'{folder}/runs/inner')
    os.symlink('../../away/run.json', f'{folder}/runs/inner/run.json')
    os.mkfifo(f'{folder}/runs/pipe.json')


def test_list(server):
    status, _, data = server.raw('GET', '/api/v1/runs')
    got = json.loads(data)
    assert status == 200 and got['folder'] and not got['more']
    assert [r['id'] for r in got['runs']] == ['curve.json', 'offline'], got
    curve, offline = got['runs']
    assert curve['kind'] == 'serve' and curve['n_levels'] == 1 and 'levels' not in curve
    assert offline['kind'] == 'mlperf' and offline['tokens_per_s'] == 12.5 and 'latency_ms' not in offline


def test_one(server):
    status, _, data = server.raw('GET', '/api/v1/runs/offline')
    got = json.loads(data)
    assert status == 200 and got['latency_ms'] == {'p50': 1.5, 'p90': 2} and got['histogram'] is None
    assert 'secret' not in data.decode() and 'loadgen' not in got  # only what is named
    assert json.loads(server.raw('GET', '/api/v1/runs/curve.json')[2])['levels'] == SERVE['levels']


def test_no_way_out(server):
    for name in ('link.json', 'linked', 'inner', 'pipe.json', 'broken', 'other', 'twice', 'large', '.hidden', 'a%20b', 'notes.txt',
                 'none', '..', '%2e%2e', '..%2foutside.json', '%2e%2e%2foutside.json', 'offline%2frun.json', 'x' * 200, '%00', '%ff'):
        status, _, data = server.raw('GET', f'/api/v1/runs/{name}')
        assert status in (400, 404), (name, status, data)
    for method in ('PUT', 'POST', 'DELETE'):
        assert server.raw(method, '/api/v1/runs/offline')[0] in (404, 405), method


def test_many(server, folder):
    """A list reads no more than so many files, and says that it stopped."""
    names = [f'{folder}/runs/0{i:04}.json' for i in range(1000)]
    for name in names:
        with open(name, 'w', encoding='utf-8') as f:
            f.write('{}')
    got = json.loads(server.raw('GET', '/api/v1/runs')[2])
    assert got == {'folder': True, 'more': True, 'runs': []}, got
    for name in names:
        os.unlink(name)
    test_list(server)


def test_without(damso):
    server = Server(damso, '-m', SMALL)
    status, _, data = server.raw('GET', '/api/v1/runs')
    assert status == 200 and json.loads(data) == {'folder': False, 'more': False, 'runs': []}
    assert server.raw('GET', '/api/v1/runs/offline')[0] == 404
    assert server.close() == 0


def main():
    if not MODELS:
        print('DAMSO_TEST_MODELS is not set')
        return 77
    with tempfile.TemporaryDirectory() as folder:
        lay(folder)
        server = Server(sys.argv[1], '-m', SMALL, '--runs', f'{folder}/runs')
        try:
            for test in (test_list, test_one, test_no_way_out):
                test(server)
                print('ok', test.__name__, flush=True)
            test_many(server, folder)
            print('ok test_many', flush=True)
        finally:
            status = server.close()
        test_without(sys.argv[1])
        print('ok test_without')
    return status


if __name__ == '__main__':
    sys.exit(main())
