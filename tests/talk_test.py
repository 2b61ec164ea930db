#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Conversations from outside, with the real models: run, chat (through a pipe and through a pseudo
terminal, Korean too), bench, inspect: tests/talk_test.py DAMSO.  Needs DAMSO_TEST_MODELS."""
import json, os, pty, re, select, shutil, signal, struct, subprocess, sys, tempfile, time, unittest, xml.dom.minidom

DAMSO = os.path.abspath(sys.argv.pop(1))
MODELS = os.environ.get('DAMSO_TEST_MODELS')
KOREAN = '대한민국의 수도는 어디인가요?'


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Talk(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.env = {'PATH': os.environ['PATH'], 'HOME': self.dir, 'DAMSO_MODELS_DIR': MODELS,
                    'DAMSO_CTX': '1024'}
        if 'DAMSO_CPU' in os.environ:
            self.env['DAMSO_CPU'] = os.environ['DAMSO_CPU']

    def tearDown(self):
        shutil.rmtree(self.dir)

    def damso(self, *args, want=0, stdin=b'', **env):
        p = subprocess.run([DAMSO, *args], capture_output=True, timeout=300, input=stdin,
                           env={**self.env, **env})
        self.assertEqual(p.returncode, want, p.stderr.decode())
        return p.stdout.decode(), p.stderr.decode()

    # ---- run ----

    def test_run_answers_once_on_stdout(self):
        out, err = self.damso('run', '--temp', '0', 'What is the capital of Korea?')
        self.assertIn('Seoul', out)
        self.assertTrue(out.endswith('\n') and not out.endswith('\n\n'))
        self.assertEqual(err, '')

    def test_run_takes_the_prompt_from_stdin(self):
        want, _ = self.damso('run', '--temp', '0', '-n', '8', 'Say hello.')
        self.assertEqual(self.damso('run', '--temp', '0', '-n', '8', stdin=b'Say hello.')[0], want)
        self.assertEqual(self.damso('run', '--temp', '0', '-n', '8', '-', stdin=b'Say hello.')[0], want)

    def test_run_limits_and_seeds(self):
        out, err = self.damso('run', '-n', '5', '--temp', '0', '--stats', 'Tell me a story.')
        self.assertRegex(err, r'5 written .*limit of -n; seed \d+')
        one = self.damso('run', '-n', '12', '--temp', '1', '--seed', '7', 'Tell me a story.')
        self.assertEqual(self.damso('run', '-n', '12', '--temp', '1', '--seed', '7', 'Tell me a story.'), one)
        others = {self.damso('run', '-n', '12', '--temp', '1', '--seed', str(i), 'Tell me a story.')[0]
                  for i in range(8, 11)}
        self.assertGreater(len(others | {one[0]}), 1)

    def test_run_is_the_same_with_one_thread_and_two(self):
        got = {self.damso('run', '-n', '24', '--temp', '0', '-t', t, KOREAN)[0] for t in '12'}
        self.assertEqual(len(got), 1)

    def test_run_raw_goes_on_with_a_text(self):
        out, _ = self.damso('run', '--raw', '-n', '3', '--temp', '0', 'The capital of France is')
        self.assertIn('Paris', out)
        self.damso('run', '--raw', '-n', '3', stdin=b'\xff\xfe any bytes \x80')

    def test_run_korean_with_a_base_model(self):
        out, _ = self.damso('run', '-m', 'gemma3-270m', '-n', '24', '--temp', '0', KOREAN)
        self.assertNotIn('User:', out)
        out.encode()  # whole characters

    def test_guesses_change_nothing(self):
        lines = '\n'.join(f'item {i}: {i * i} pieces of kind {chr(97 + i)}' for i in range(12))
        ask = ['run', '-n', '80', '--stats', '--seed', '3', f'Repeat this text exactly:\n{lines}']
        for temp in ('0', '1'):
            want, err = self.damso(*ask, '--temp', temp, '--speculate', 'off')
            self.assertNotIn('guesses', err)
            for more in ([], ['--draft', 'smollm2-135m-instruct']):
                out, err = self.damso(*ask, '--temp', temp, *more)
                self.assertEqual(out, want)
                self.assertTrue(temp == '1' or re.search(r'[1-9]\d* of \d+ guesses came true', err), err)

    def test_a_draft_model_needs_the_same_vocabulary(self):
        for draft, want, words in [
            ('gemma3-270m', 2, 'gemma3-270m.gguf cannot guess for .*smollm2.*262144 tokens, that one 49152'),
            ('none.gguf', 5, 'none.gguf: there is no such model file'),
        ]:
            _, err = self.damso('run', '--draft', draft, 'hi', want=want)
            self.assertRegex(err, words)
        self.damso('run', '--draft', 'gemma3-270m', '--speculate', 'off', '-n', '1', 'hi')

    def test_run_refuses(self):
        for args, stdin, want, words in [
            (['run', ''], b'', 2, 'empty'),
            (['run'], b'', 2, 'empty'),
            (['run'], b'\xff', 2, 'UTF-8'),
            (['run', '-c', '64', 'word ' * 80], b'', 9, r'8\d+|1\d\d tokens.*64'),
            (['run', '-c', '9999', 'x'], b'', 9, '9999.*8192'),
            (['run', '--memory', '64', 'x'], b'', 6, 'MiB.*64 MiB'),
            (['run', '--temp', 'warm', 'x'], b'', 2, 'warm'),
            (['run', '-m', '/etc/passwd', 'x'], b'', 4, 'GGUF'),
        ]:
            out, err = self.damso(*args, stdin=stdin, want=want)
            self.assertRegex(err, words)
            self.assertEqual(out, '')

    def test_a_context_that_fills_up_says_both_numbers(self):
        out, err = self.damso('run', '-c', '64', '--temp', '0', 'Write a very long story.', want=9)
        self.assertGreater(len(out), 40)  # what fitted was handed out
        self.assertRegex(err, r'context is full: 64 tokens and 1 more are over the limit of 64')

    def test_ctrl_c_ends_run(self):
        p = subprocess.Popen([DAMSO, 'run', '--temp', '0', '--raw', 'One, two, three, four,'],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env)
        p.stdout.read(20)
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=30)
        self.assertEqual((p.returncode, err), (130, b'damso: stopped\n'))

    # ---- chat ----

    def test_chat_remembers_and_saves(self):
        talk = b'My name is Mina.\nWhat is my name?\n/save t.json\n/save t.json\n/clear\n/load t.json\n/regen\n'
        os.chdir(self.dir)
        out, err = self.damso('chat', '--temp', '0', '-n', '40', stdin=talk)
        self.assertIn('Mina', out)
        self.assertIn('Saved: t.json', err)
        self.assertIn('Loaded, messages: 4', err)
        with open(f'{self.dir}/t.json', encoding='utf-8') as f:
            saved = json.load(f)
        self.assertEqual([m['role'] for m in saved['messages']], ['user', 'assistant'] * 2)
        self.assertEqual(os.stat(f'{self.dir}/t.json').st_mode & 0o777, 0o600)
        lines = out.strip().split('\n')
        self.assertEqual(lines[-1], lines[-2])  # greedy: written again, the same
        _, err = self.damso('chat', stdin=b'/save t.json\n/load none\n/load /etc/passwd\n/nix\n/regen\n')
        for words in ('t.json is there already', 'none: No such file', '/etc/passwd:1:',
                      'There is no such command', 'no answer to write again'):
            self.assertIn(words, err)
        with open(f'{self.dir}/parts.json', 'w', encoding='utf-8') as f:  # only what a user says may have pictures
            json.dump({'damso': 1, 'messages': [{'role': 'system', 'content': [{'type': 'text', 'text': 'hello'}]}]}, f)
        _, err = self.damso('chat', stdin=b'/load parts.json\n/system\n/clear\n/system\n')
        self.assertIn('parts.json: message 1 has no role and content', err)
        self.assertNotIn('null', err)

    def test_chat_system_and_blocks(self):
        talk = '/system You only say 42.\n/system\n"""\nline one\n두 번째 줄\n"""\nback\\\nslash\n//comment\n/save b.json\n'
        os.chdir(self.dir)
        _, err = self.damso('chat', '--temp', '0', '-n', '4', stdin=talk.encode())
        self.assertIn('System message: You only say 42.', err)
        with open(f'{self.dir}/b.json', encoding='utf-8') as f:
            m = json.load(f)['messages']
        self.assertEqual([x['content'] for x in m if x['role'] != 'assistant'],
                         ['You only say 42.', 'line one\n두 번째 줄', 'back\nslash', '/comment'])

    def test_chat_speaks_korean(self):
        _, err = self.damso('chat', stdin=b'/help\n/regen\n', LANG='ko_KR.UTF-8')
        self.assertIn('대화를 JSON 파일로 저장합니다', err)
        self.assertIn('다시 쓸 답이 없습니다', err)

    def test_chat_survives_a_full_context(self):
        out, err = self.damso('chat', '-c', '96', '--temp', '0',
                              stdin=b'Write a long story.\n/clear\nSay hi.\n')
        self.assertIn('context is full', err)
        self.assertIn('/clear', err)
        self.assertGreater(len(out.strip().split('\n')), 1)

    def terminal(self, *args, **env):
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(DAMSO, [DAMSO, *args], {**self.env, 'TERM': 'xterm', 'LANG': 'C.UTF-8', **env})
        return pid, fd

    def expect(self, fd, pattern, seconds=60):
        seen, end = b'', time.time() + seconds
        while time.time() < end:
            if select.select([fd], [], [], 0.1)[0]:
                try:
                    seen += os.read(fd, 65536)
                except OSError:
                    break
            if re.search(pattern.encode(), seen):
                return seen.decode(errors='replace')
        self.fail(f'{pattern} did not come: {seen.decode(errors="replace")!r}')

    def prompt(self, fd, before=''):
        self.expect(fd, f'(?s){before}.*> ')
        time.sleep(0.3)  # libedit shows the prompt, then takes the keys over from the terminal

    def test_chat_in_a_terminal(self):
        pid, fd = self.terminal('chat', '--temp', '0', '-n', '400')
        try:
            self.prompt(fd, 'Ctrl-D')
            # Two syllables typed wrongly and taken back: wide characters, one key each.
            os.write(fd, '/system 나는 담소이댜댜\x7f\x7f다\r'.encode())
            self.prompt(fd, 'anew')
            os.write(fd, b'/system\r')
            self.prompt(fd, 'System message: 나는 담소이다')
            os.write(fd, b'/system You write long stories.\r')
            self.prompt(fd, 'anew')
            os.write(fd, b'Write a very long story about a dragon and a princess.\r')
            self.expect(fd, r'princess\.[^\n]*\n[^\n]{20}')  # the echo, then an answer
            os.write(fd, b'\x03')  # stops the answer, not the program
            self.prompt(fd, r'written.*\[stopped\]')
            os.write(fd, b'half a line')
            self.expect(fd, 'half a line')
            os.write(fd, b'\x03')
            self.prompt(fd, 'Ctrl-D or /exit')
            os.write(fd, b'\x1b[A')  # the line before, out of the history
            self.expect(fd, 'a dragon and')
            os.write(fd, b'\x15/exit\r')
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            pid = 0
            with open(f'{self.dir}/.local/state/damso/history', encoding='utf-8') as f:
                self.assertIn('dragon', f.read())
        finally:
            if pid:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            os.close(fd)

    # ---- bench and inspect ----

    def test_bench_gives_what_it_promises(self):
        svg = f'{self.dir}/bench.svg'
        out, _ = self.damso('bench', '--json', '--threads', '1', '--prefill', '32', '--decode', '4',
                            '--runs', '2', '--batch', '1,3', '--at', '100,28', '--svg', svg)
        r = json.loads(out)
        rows = [(row['work'], row['tokens'], row['sequences'], row['at']) for row in r['rows']]
        self.assertEqual(rows, [('prefill', 32, 1, 0), ('decode', 4, 1, 0), ('batch', 4, 1, 0), ('batch', 4, 3, 0),
                                ('prefill', 32, 1, 28), ('decode', 4, 1, 28), ('prefill', 32, 1, 100),
                                ('decode', 4, 1, 100)])
        for row in r['rows']:
            self.assertRegex(row['logits_hash'], '^[0-9a-f]{16}$')
            for name in ('tps', 'gmacs', 'product_share', 'matrix_share', 'gbs', 'read_share', 'reads_min', 'reads_max', 'file_share'):
                self.assertGreater(row[name], 0, name)
            self.assertLessEqual(row['tps_min'], row['tps'])
        hashes = [row['logits_hash'] for row in r['rows']]
        self.assertEqual(hashes[1], hashes[2])  # alone or as a batch of one: the same tokens, the same bits
        self.assertEqual(hashes[0], hashes[5])  # 32 tokens at once, or 28 and then four one by one
        self.assertEqual(len(set(hashes)), 6)
        self.assertEqual((r['threads'], r['prefill_tps'], r['decode_tps'], r['logits_hash']),
                         (1, r['rows'][0]['tps'], r['rows'][1]['tps'], hashes[0]))
        for name in ('int8_gmacs', 'f32_gmacs', 'read_gbs'):
            self.assertGreater(r['machine'][name], 0)
        self.assertGreater(r['memory']['resident'], r['memory']['weights'])
        self.assertEqual(xml.dom.minidom.parse(svg).documentElement.tagName, 'svg')
        again, _ = self.damso('bench', '--threads', '2', '--prefill', '32', '--decode', '0', '--runs', '1')
        self.assertRegex(again, f'(?m)^prefill 32 .* {hashes[0]}$')  # threads change no bit
        self.assertRegex(again, r'(?m)^memory .* MiB counted; resident at most')

    def test_bench_refuses(self):
        for wrong in (['--batch', '0'], ['--batch', '4,'], ['--at', '1,x'], ['machine', '--svg', 'x'], ['nonsense']):
            self.damso('bench', *wrong, want=2)
        self.damso('bench', '-c', '64', want=9)
        self.damso('bench', '--prefill', '8', '--decode', '0', '--runs', '1', '--svg', '/no/such/folder/x', want=7)

    def test_inspect_model(self):
        r = json.loads(self.damso('inspect', 'model', '--json', 'gemma3-270m')[0])
        self.assertEqual((r['architecture'], r['layers'], r['runs']), ('gemma3', 18, True))
        self.assertEqual(r['formats']['Q5_0']['tensors'], 81)

    def test_inspect_logits(self):
        path = f'{self.dir}/l.npy'
        sizes = []
        for extra in ([], ['--step']):
            self.damso('inspect', 'logits', '--tokens', '1,2,3,400', '-o', path, *extra)
            with open(path, 'rb') as f:
                data = f.read()
            self.assertEqual(data[:8], b'\x93NUMPY\x01\x00')
            n = struct.unpack('<H', data[8:10])[0]
            self.assertIn(b"'shape': (4, 49152)", data[10:10 + n])
            self.assertEqual((10 + n) % 64, 0)
            sizes.append(data[10 + n:])
            self.assertEqual(len(sizes[-1]), 4 * 4 * 49152)
        self.assertEqual(sizes[0], sizes[1])  # step by step: the same bits
        self.damso('inspect', 'logits', '--tokens', '1,99999', '-o', path, want=2)
        self.damso('inspect', 'logits', '--tokens', '1,x', '-o', path, want=2)
        self.damso('inspect', 'logits', '--tokens', '1', '-o', '/no/such/folder/x.npy', want=7)

    def test_inspect_tokens_and_text(self):
        text = '안녕하세요! <|im_end|> 👩‍👩‍👧 x\n'
        for model in ('smollm2-135m-instruct', 'gemma3-270m'):
            path = f'{MODELS}/{model}.gguf'
            ids = json.loads(self.damso('inspect', 'tokens', '-m', path, stdin=text.encode())[0])
            self.assertEqual(self.damso('inspect', 'text', '-m', path, stdin=json.dumps(ids).encode())[0], text)
        special = json.loads(self.damso('inspect', 'tokens', '-m', f'{MODELS}/smollm2-135m-instruct.gguf',
                                        '--special', stdin=text.encode())[0])
        self.assertIn(2, special)


if __name__ == '__main__':
    unittest.main()
