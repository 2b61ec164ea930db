#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A server, and the commands, on a simulated chip: tests/device_test.py DAMSO.  Needs DAMSO_TEST_MODELS;
asks with OpenAI's own client where that is installed.  The C side of it is src/app/device_test.c."""
import json, os, re, subprocess, sys, tempfile, time, unittest

from served import MODELS, SMALL, Server, client

openai = client('openai')
DAMSO = os.path.abspath(sys.argv.pop(1))
USER = [{'role': 'user', 'content': 'Write the numbers from one to ten.'}]
ASK = {'model': SMALL, 'messages': USER, 'temperature': 0, 'max_tokens': 24}
BF16 = ('atom', 'chips/rngd.yaml', 'l4')


def setUpModule():
    if not MODELS:
        raise unittest.SkipTest('DAMSO_TEST_MODELS is not set')


def run(*args, **env):
    return subprocess.run([DAMSO, *args], capture_output=True, text=True, timeout=300,
                          env={**os.environ, 'DAMSO_MODELS_DIR': MODELS, 'DAMSO_CTX': '512', **env})


def reply(*args, **env):
    r = run('run', '-m', SMALL, '--temp', '0', '-n', '16', *args, 'What is a chip?', **env)
    assert r.returncode == 0, r.stderr
    return r.stdout, r.stderr


class Run(unittest.TestCase):
    def test_every_chip_of_a_contract_says_the_same(self):
        want = {n: reply('--numerics', n)[0] for n in ('int8', 'bf16')}
        for chip in BF16:
            self.assertEqual(reply('--device', chip)[0], want['bf16'])
        self.assertEqual(reply('--device', 'atom', '--numerics', 'int8')[0], want['int8'])
        self.assertEqual(reply('--device', 'warboy')[0], want['int8'])
        self.assertEqual(reply('--device', 'warboy', DAMSO_CPU='c')[0], want['int8'])

    def test_line_on_stderr(self):
        err = reply('--device', 'atom')[1]
        self.assertRegex(err, r'atom, simulated in bf16: first token after [\d.]+ ms, then [\d.]+ tokens/s; '
                              r'[\d.]+ J, [\d.]+ tokens/J; \d+ numbers of the chip are assumed')
        self.assertNotIn('simulated', reply()[1])

    def test_times_do_not_depend_on_this_machine(self):
        times = {re.search(r'first token .* tokens/J', reply('--device', 'atom', '--clock', 'virtual', *more)[1])[0]
                 for more in ((), ('--threads', '1'), ('--cpu', 'c'))}
        self.assertEqual(len(times), 1)

    def test_several_chips_say_what_one_says(self):
        want, line = reply('--device', 'rngd')
        for split in 'tensor', 'pipeline', '2x2':
            got, err = reply('--device', 'rngd', '--chips', '4', '--split', split)
            self.assertEqual(got, want)
            self.assertIn('4 x rngd, simulated in bf16', err)
            self.assertNotEqual(err, line)

    def test_a_draft_model_is_on_the_chip_too(self):
        want, alone = reply('--device', 'atom', '--clock', 'virtual')
        got, err = reply('--device', 'atom', '--clock', 'virtual', '--draft', SMALL)
        self.assertEqual(got, want)
        self.assertIn('atom, simulated in bf16', err)
        more = reply('--device', 'atom', '--clock', 'virtual', '--draft', SMALL, '--threads', '1')[1]
        self.assertEqual(re.search(r'first token .* tokens/J', more)[0], re.search(r'first token .* tokens/J', err)[0])

    def test_refused(self):
        for args, word in ((('--device', 'nochip'), 'there is no chip'),
                           (('--chips', '2'), '--device'),
                           (('--device', 'atom', '--chips', '2', '--split', 'auto'), '--split auto'),
                           (('--device', 'atom', '--chips', '31', '--split', 'pipeline'), '30 layers'),
                           (('--device', 'warboy', '--numerics', 'bf16'), 'warboy computes in int8'),
                           (('--clock', 'paced'), '--device'),
                           (('--device', 'README.md'), 'README.md:')):
            r = run('run', '-m', SMALL, *args, 'x')
            self.assertNotEqual(r.returncode, 0)
            self.assertIn(word, r.stderr)

    def test_bench_names_the_chip(self):
        r = run('bench', '-m', SMALL, '--device', 'l4', '--json', '--prefill', '32', '--decode', '4', '--runs', '1')
        o = json.loads(r.stdout)
        self.assertEqual(o['device'], {'name': 'l4', 'simulated': True, 'computes': 'bf16'})
        self.assertGreater(o['rows'][0]['joules_per_token'], 0)
        again = json.loads(run('bench', '-m', SMALL, '--device', 'l4', '--json', '--prefill', '32', '--decode', '4',
                               '--runs', '1').stdout)
        self.assertEqual(o['decode_tps'], again['decode_tps'])


class Serve(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(DAMSO, '-m', SMALL, '--device', 'atom', '--speculate', 'off')
        cls.addClassCleanup(cls.server.close)

    def check(self, sim, tokens):
        self.assertEqual(set(sim), {'device', 'chips', 'ttft_ms', 'tpot_ms', 'joules', 'tokens_per_joule', 'assumed'})
        self.assertEqual((sim['device'], sim['chips']), ('atom', 1))
        # both read all weights once; behind a few tokens there are old positions, before them none
        self.assertTrue(0 < sim['tpot_ms'] <= sim['ttft_ms'] * 1.03, sim)
        self.assertAlmostEqual(sim['tokens_per_joule'] * sim['joules'], tokens, places=3)
        self.assertIn('clock.mhz', sim['assumed'])

    def ask(self, path, **fields):
        status, _, body = self.server.raw('POST', path, {**ASK, **fields}, Content_Type='application/json')
        self.assertEqual(status, 200, body)
        return json.loads(body)

    @unittest.skipIf(not openai, 'the package openai is not here')
    def test_openai_client(self):
        with openai.OpenAI(base_url=self.server.url + '/v1', api_key='none') as c:
            o = c.chat.completions.create(**ASK)
            self.check(o.usage.model_extra['sim'], o.usage.completion_tokens)
            *_, last = c.chat.completions.create(**ASK, stream=True, stream_options={'include_usage': True})
            self.check(last.usage.model_extra['sim'], last.usage.completion_tokens)
            r = c.responses.create(model=SMALL, input='Say hello.', temperature=0, max_output_tokens=16)
            self.check(r.usage.model_extra['sim'], r.usage.output_tokens)

    def test_completions(self):
        o = self.ask('/v1/completions', prompt='One, two,', messages=None)
        self.check(o['usage']['sim'], o['usage']['completion_tokens'])

    def test_me_tells_the_device(self):
        model = json.loads(self.server.raw('GET', '/api/v1/me')[2])['models'][0]
        d = model['device']
        self.assertEqual((d['name'], d['simulated'], d['computes'], d['clock']), ('atom', True, 'bf16', 'wall'))
        self.assertEqual((d['watts'], d['memory_bytes']), (85, 16e9))
        self.assertTrue(0.2e9 < d['weight_bytes'] < 0.3e9)

    def compare(self, status=200, **body):
        got, _, data = self.server.raw('POST', '/api/v1/compare', body, Content_Type='application/json')
        self.assertEqual(got, status, data)
        return json.loads(data)

    def test_compare_says_what_the_device_says(self):
        usage = self.ask('/v1/chat/completions', temperature=1.5, seed=3, ignore_eos=True)['usage']
        o = self.compare(chips=['atom', 'x220-compact', 'tpu-v1'], model=SMALL, prompt_tokens=usage['prompt_tokens'],
                         cached_tokens=usage['prompt_tokens_details']['cached_tokens'],
                         completion_tokens=usage['completion_tokens'])
        atom, x220, tpu = o['chips']
        self.assertTrue(o['simulated'])
        self.assertAlmostEqual(atom['ttft_ms'], usage['sim']['ttft_ms'], places=4)
        self.assertAlmostEqual(atom['tpot_ms'], usage['sim']['tpot_ms'], places=4)
        self.assertAlmostEqual(atom['joules'], usage['sim']['joules'], places=4)
        self.assertEqual((atom['computes'], x220['computes'], tpu['computes']), ('bf16', 'int8', 'int8'))
        self.assertGreater(x220['tpot_ms'], atom['tpot_ms'])

    def test_compare_refuses(self):
        for body in ({}, {'chips': ['nochip'], 'prompt_tokens': 1, 'completion_tokens': 1}, {'chips': ['atom']},
                     {'chips': ['atom'], 'prompt_tokens': 5, 'cached_tokens': 5, 'completion_tokens': 1},
                     {'chips': ['atom'], 'prompt_tokens': 5000, 'completion_tokens': 1},
                     {'chips': ['atom'] * 9, 'prompt_tokens': 5, 'completion_tokens': 1}):
            self.assertTrue(self.compare(400, **body)['error']['param'])
        chips = json.loads(self.server.raw('GET', '/api/v1/chips')[2])
        self.assertEqual(chips['numerics'], 'bf16')
        self.assertEqual(chips['chips'][0]['name'], 'atom')
        self.assertGreater(len(chips['chips']), 15)

    def test_metrics(self):
        self.ask('/v1/chat/completions')
        self.assertGreater(self.server.gauge('damso_sim_seconds_total'), 0)
        self.assertGreater(self.server.gauge('damso_sim_joules_total'), 0)

    def test_same_answer_as_the_cpu_of_the_contract(self):
        server = Server(DAMSO, '-m', SMALL, '--numerics', 'bf16')
        try:
            want = json.loads(server.raw('POST', '/v1/chat/completions', ASK, Content_Type='application/json')[2])
            self.assertNotIn('sim', want['usage'])
            self.assertEqual(self.ask('/v1/chat/completions')['choices'], want['choices'])
            self.assertIsNone(json.loads(server.raw('GET', '/api/v1/me')[2])['models'][0]['device'])
        finally:
            self.assertEqual(server.close(), 0)


class Clocks(unittest.TestCase):
    def answer(self, *args):
        server = Server(DAMSO, '-m', SMALL, *args)
        try:
            began = time.monotonic()
            o = json.loads(server.raw('POST', '/v1/chat/completions', ASK, Content_Type='application/json')[2])
            return o['usage'], time.monotonic() - began, server.gauge('damso_time_to_first_token_seconds_sum')
        finally:
            self.assertEqual(server.close(), 0)

    def test_paced_is_no_faster_than_the_chip(self):
        with open('chips/atom.yaml') as f, tempfile.NamedTemporaryFile('w', suffix='.yaml') as slow:
            slow.write(re.sub(r'\n  us: \{value: [0-9.]+', '\n  us: {value: 60000', f.read()))
            slow.flush()
            usage, seconds, first = self.answer('--device', slow.name, '--clock', 'paced', '--speculate', 'off')
        sim, n = usage['sim'], usage['completion_tokens']
        self.assertGreater(sim['tpot_ms'], 60)
        self.assertGreaterEqual(seconds * 1e3, sim['ttft_ms'] + (n - 1) * sim['tpot_ms'])
        self.assertGreaterEqual(first * 1e3, sim['ttft_ms'])

    def test_virtual_times_are_the_chips(self):
        usage, _, first = self.answer('--device', 'atom', '--clock', 'virtual')
        self.assertAlmostEqual(first * 1e3, usage['sim']['ttft_ms'], places=5)


if __name__ == '__main__':
    unittest.main()
