#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One model on several processes that Open MPI's mpirun starts: the bits of one process, with matrices and with layers
dealt out; a server; and what becomes of it when a process dies or stands still: tests/ranks_test.py DAMSO."""
import os, re, shutil, signal, subprocess, sys, tempfile, threading, time, unittest

from served import LASTING, MODELS, SMALL, Server, until

DAMSO = os.path.abspath(sys.argv.pop(1))
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data')
IDS = ','.join(str(i * 7 % 60) for i in range(45))
if os.environ.get('DAMSO_TEST_MPI') == 'off' or not shutil.which('mpirun'):
    print('needs Open MPI (Debian: apt install openmpi-bin)', file=sys.stderr)
    sys.exit(77)
if 'build-tsan' in DAMSO:
    print("the thread sanitizer does not see Open MPI's own locks", file=sys.stderr)
    sys.exit(77)


def mpirun(n, *args):
    """The command; as root Open MPI wants to be asked twice."""
    return ['env', 'OMPI_ALLOW_RUN_AS_ROOT=1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1',
            f'ASAN_OPTIONS={os.environ.get("ASAN_OPTIONS", "")}:detect_leaks=0',  # Open MPI's
            'mpirun', '--oversubscribe', '--bind-to', 'none', '-n', str(n), DAMSO, *args]


def run(command, **kw):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **kw)


def ranks_of(pid):
    """{rank: process} of those that this mpirun started."""
    out = {}
    for entry in os.listdir('/proc'):
        try:
            with open(f'/proc/{entry}/stat') as f:
                parent = int(f.read().rsplit(')', 1)[1].split()[1])
            with open(f'/proc/{entry}/environ', 'rb') as f:
                rank = re.search(rb'OMPI_COMM_WORLD_RANK=(\d+)', f.read())
        except (OSError, ValueError):
            continue
        if parent == pid and rank:
            out[int(rank[1])] = int(entry)
    return out


def alive(pid):
    try:
        with open(f'/proc/{pid}/stat') as f:
            return f.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


class Bits(unittest.TestCase):
    """Logits of a text, written to a file: of one process, and of several."""

    def logits(self, model, command, *args):
        with tempfile.TemporaryDirectory() as folder:
            r = run([*command, 'inspect', 'logits', '-m', f'{DATA}/{model}.gguf', '--tokens', IDS, '-c', '64', '-t', '1',
                     '-o', f'{folder}/out.npy', *args])
            self.assertEqual(r.returncode, 0, r.stderr)
            with open(f'{folder}/out.npy', 'rb') as f:
                return f.read()

    def same(self, model, n, *args):
        alone = self.logits(model, [DAMSO])
        self.assertGreater(len(alone), 45 * 32 * 4)
        self.assertEqual(self.logits(model, mpirun(n), *args) == alone, True, f'{model} {n} {args}')

    def test_matrices(self):
        for model in ('arch/llama', 'arch/gemma3', 'arch/qwen3-mqa', 'family/gpt-oss', 'family/deepseek-v2', 'family/glm-dsa'):
            self.same(model, 2)
        self.same('arch/qwen2', 4)
        self.same('arch/llama', 2, '--step')

    def test_layers(self):
        for model in ('arch/llama', 'family/deepseek-v2', 'family/gpt-oss', 'family/mamba', 'family/rwkv6', 'family/minicpm3'):
            self.same(model, 2, '--pipeline-parallel', '2')

    def test_both(self):
        self.same('arch/qwen3', 4, '--pipeline-parallel', '2')

    def test_chip(self):
        """A simulated chip's numbers, by its contract, are those of one chip."""
        alone = self.logits('arch/llama', [DAMSO], '--device', 'atom')
        self.assertEqual(self.logits('arch/llama', mpirun(2), '--device', 'atom') == alone, True)


class Refusals(unittest.TestCase):
    def refused(self, status, text, command):
        r = run([*command, '--tokens', '1,2', '-c', '64', '-o', '/dev/null'])
        self.assertNotEqual(r.returncode, 0)
        self.assertIn(text, r.stderr)
        if status:
            self.assertEqual(r.returncode, status, r.stderr)

    def test_family(self):
        self.refused(0, 'the family mamba', mpirun(2, 'inspect', 'logits', '-m', f'{DATA}/family/mamba.gguf'))

    def test_adapters(self):
        self.refused(0, 'leave out --lora', mpirun(2, 'inspect', 'logits', '-m', f'{DATA}/arch/llama.gguf', '--lora', 'a=b.gguf'))

    def test_numbers(self):
        model = ['inspect', 'logits', '-m', f'{DATA}/arch/llama.gguf']
        self.refused(0, 'no 2 stages', mpirun(3, *model, '--pipeline-parallel', '2'))
        self.refused(2, 'mpirun -n N', [DAMSO, *model, '--tensor-parallel', '2'])
        self.refused(2, 'mpirun -n N', [DAMSO, *model, '--pipeline-parallel', '2'])

    def test_file(self):
        """Each process has to have the same file."""
        command = mpirun(1, 'inspect', 'logits', '-m', f'{DATA}/arch/llama.gguf', '--tokens', '1', '-o', '/dev/null')
        other = [':', '-n', '1', DAMSO, 'inspect', 'logits', '-m', f'{DATA}/arch/qwen2.gguf', '--tokens', '1', '-o',
                 '/dev/null']
        r = run([*command, *other])
        self.assertNotEqual(r.returncode, 0)
        self.assertIn('is another file', r.stderr)


@unittest.skipUnless(MODELS, 'needs DAMSO_TEST_MODELS')
class Served(unittest.TestCase):
    ASK = {'messages': [{'role': 'user', 'content': 'Count from one to twenty.'}], 'temperature': 0, 'max_tokens': 40}
    LONG = {**ASK, 'max_tokens': 1500, 'stream': True, 'ignore_eos': True}

    def serve(self, n, *args):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder, True)
        script = f'{self.folder}/damso'
        with open(script, 'w') as f:
            f.write('#!/bin/sh\nexec ' + ' '.join(mpirun(n)) + ' "$@"\n')
        os.chmod(script, 0o755)
        server = Server(script, '-m', SMALL, '--log-level', 'info', '-t', '1', *LASTING, *args)
        self.addCleanup(lambda: server.process.returncode is None and server.kill())
        self.pids = ranks_of(server.process.pid)
        self.assertEqual(sorted(self.pids), list(range(n)))
        return server

    def end(self, server, limit=30):
        """The status of mpirun, once it and all that it started are gone."""
        status = server.process.wait(limit)
        until(lambda: not any(alive(p) for p in self.pids.values()), 10)
        return status

    def told(self, server):
        server.log.seek(0)
        return server.log.read()

    def test_answers(self):
        alone = Server(DAMSO, '-m', SMALL)
        want = alone.post('/v1/chat/completions', self.ASK)[1]['choices'][0]['message']['content']
        self.assertEqual(alone.close(), 0)
        for n, args in ((2, ()), (2, ('--pipeline-parallel', '2'))):
            server = self.serve(n, *args)
            for _ in range(2):
                status, got = server.post('/v1/chat/completions', self.ASK)
                self.assertEqual((status, got['choices'][0]['message']['content']), (200, want))
            boxes = re.findall(r'sandbox files=(\S+) calls=(\S+)', self.told(server))
            self.assertEqual(len(boxes), n)
            self.assertTrue(all(calls == 'seccomp' for _, calls in boxes), boxes)
            os.kill(self.pids[0], signal.SIGTERM)
            self.assertEqual(self.end(server), 0, self.told(server))
            self.assertNotIn('Sorry', self.told(server))  # what Open MPI says of files that it may not touch
            server._ended()

    def broken(self, server, do):
        """What a client has of an answer amid which `do` happens, and after how many seconds."""
        got, began = [], threading.Event()

        def read():
            c, r = server.open('POST', '/v1/chat/completions', self.LONG)
            try:
                for line in r:
                    got.append(line.decode())
                    if len(got) > 8:
                        began.set()
            except Exception as e:  # a connection that ends amid an answer is an error, too
                got.append(f'error: {e!r}')
            c.close()

        reader = threading.Thread(target=read)
        reader.start()
        self.assertTrue(began.wait(60))
        at = time.monotonic()
        do()
        reader.join(40)
        self.assertFalse(reader.is_alive())
        return ''.join(got), time.monotonic() - at

    def test_killed(self):
        server = self.serve(2)
        text, seconds = self.broken(server, lambda: os.kill(self.pids[1], signal.SIGKILL))
        self.assertIn('process 1 of the 2 that compute the model is gone', text)
        self.assertLess(seconds, 10)
        self.assertNotEqual(self.end(server), 0)
        server._ended()

    def test_nothing_stays(self):
        """Not even where nobody is left to tidy up: mpirun is killed with all that it started."""
        def shared():
            with open('/proc/sysvipc/shm', encoding='ascii') as f:
                ids = [line.split()[1] for line in f.readlines()[1:]]
            return set(ids) | {f for f in os.listdir('/dev/shm') if '_segment.' in f}
        before = shared()
        server = self.serve(2)
        self.assertTrue(shared() - before)
        for pid in (server.process.pid, *self.pids.values()):
            os.kill(pid, signal.SIGKILL)
        self.end(server)
        until(lambda: not shared() - before, 10)
        server._ended()

    def test_stopped(self):
        server = self.serve(2, '--rank-timeout', '2')
        text, seconds = self.broken(server, lambda: os.kill(self.pids[1], signal.SIGSTOP))
        self.assertIn('process 1 of the 2 that compute the model is gone', text)
        self.assertGreater(seconds, 1.5)
        self.assertLess(seconds, 15)
        self.assertNotEqual(self.end(server), 0)
        server._ended()


if __name__ == '__main__':
    unittest.main()
