#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""damso chip as a user meets it: answers, orders that were published, limits, and what is refused."""
import json, os, re, subprocess, sys, tempfile, unittest
from itertools import accumulate

DAMSO = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith('-') else 'build/damso'
LLAMA_8B = dict(model_type='llama', hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
                num_attention_heads=32, num_key_value_heads=8, vocab_size=128256)


def damso(*args, stdin=None):
    return subprocess.run([DAMSO, 'chip', *args], capture_output=True, text=True, input=stdin, timeout=300)


def answer(*args):
    r = damso('run', '--quick', '--json', *args)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def bench(chip, scenario, workload='resnet50'):
    return answer('--chip', chip, '--workload', workload, '--scenario', scenario)


class Answers(unittest.TestCase):
    def test_shares_are_whole_and_repeatable(self):
        first, again = bench('chips/atom.yaml', 'SingleStream'), bench('atom', 'SingleStream')
        self.assertAlmostEqual(sum(first['where_time_goes'].values()), 1, places=6)
        self.assertAlmostEqual(sum(first['where_joules_go'].values()), first['joules'], places=6)
        for key in ('latency_ms', 'per_s', 'watts', 'utilisation', 'where_time_goes'):
            self.assertEqual(first[key], again[key])
        self.assertIn('clock.mhz', first['assumed'])
        self.assertNotIn('core.count', first['assumed'])
        self.assertTrue(first['simulated'])

    def test_what_is_assumed_leaves_a_range(self):
        r = damso('run', '--json', '--chip', 'warboy', '--workload', 'resnet50', '--scenario', 'SingleStream')
        self.assertEqual(r.returncode, 0, r.stderr)
        o = json.loads(r.stdout)
        for key in ('latency_ms', 'per_s', 'joules'):
            low, high = o['range'][key]
            self.assertLess(low, o[key])
            self.assertGreater(high, o[key])
        self.assertTrue(set(o['range']['per_s_by']) <= set(o['assumed']), o['range']['per_s_by'])
        self.assertGreater(max(o['range']['per_s_by'].values()), 0.01)
        r = damso('validate', '--json', '--range', 'warboy')
        for x in json.loads(r.stdout)['results']:
            self.assertLess(x['range'][0], x['simulated'])
            self.assertGreater(x['range'][1], x['simulated'])

    def test_published_orders(self):
        ms = {c: bench(c, 'SingleStream')['latency_ms'] for c in ('atom', 'cloud-ai-100-pro', 't4')}
        self.assertLess(ms['atom'], ms['cloud-ai-100-pro'])
        self.assertLess(ms['cloud-ai-100-pro'], ms['t4'])
        x220, a2 = bench('x220-compact', 'Offline'), bench('a2', 'Offline')
        self.assertGreater(x220['per_s'], 1.5 * a2['per_s'])
        self.assertGreater(x220['per_s'] / 65, 1.8 * a2['per_s'] / 60)  # of the cards' watts

    def test_validation_beats_nothing_it_was_not_fitted_on(self):
        r = damso('validate', '--json', 'atom', 'warboy', 'x220-compact', 'cloud-ai-100-pro', 'cloud-ai-100-dm2')
        v = json.loads(r.stdout)
        self.assertEqual(len(v['results']), 9)
        for x in v['results']:
            self.assertLess(abs(x['error']), 0.02, x)
            self.assertTrue(x['round'] and x['system'])

    def test_sensitivity_finds_what_bounds(self):
        r = damso('run', '--json', '--chip', 'rngd', '--workload', self.config(), '--format', 'bf16')
        o = json.loads(r.stdout)
        self.assertGreater(o['sensitivity']['dram.mtps'], 0.04)
        self.assertLess(abs(o['sensitivity']['vector.lanes']), 0.02)

    def config(self, **change):
        path = os.path.join(tempfile.mkdtemp(), 'config.json')
        with open(path, 'w') as f:
            json.dump({**LLAMA_8B, **change}, f)
        return path

    def test_language_models(self):
        path = self.config()
        one = answer('--chip', 'rngd', '--workload', path, '--phase', 'decode', '--batch', '1', '--context', '1024')
        many = answer('--chip', 'rngd', '--workload', path, '--phase', 'decode', '--batch', '32', '--context', '1024')
        self.assertGreater(many['tokens_per_s'], 8 * one['tokens_per_s'])
        # all weights are read once a step: no faster than memory
        self.assertGreater(one['latency_ms'], 0.95 * (one['weight_mb'] - one['on_chip_weight_mb']) / 1536)
        few = answer('--chip', 'rngd', '--workload', path, '--context', '1024', '--limit-ms', '13')['within_limit']
        lots = answer('--chip', 'rngd', '--workload', path, '--context', '1024', '--limit-ms', '25')['within_limit']
        self.assertGreater(few['users'], 0)
        self.assertGreater(lots['users'], few['users'])
        half = answer('--chip', 'rngd', '--workload', path, '--format', 'fp8')
        self.assertGreater(half['tokens_per_s'], 1.5 * one['tokens_per_s'])
        read = answer('--chip', 'h100-sxm', '--workload', path, '--phase', 'prefill', '--context', '2048')
        self.assertGreater(read['utilisation'], 0.3)
        self.assertGreater(read['tokens_per_s'], 1e4)

    def test_products_and_trace(self):
        r = damso('products', '--chip', 'a100-sxm-80', stdin='4096 4096 4096 600\n1 4096 4096\n')
        rows = [l.split() for l in r.stdout.splitlines()]
        self.assertEqual([len(x) for x in rows], [6, 4])
        self.assertGreater(float(rows[0][3]), 2 * 4096 ** 3 / 312e6)
        path = os.path.join(tempfile.mkdtemp(), 't.json')
        self.assertEqual(damso('trace', '--chip', 'warboy', '--workload', 'resnet50', '--scenario',
                               'SingleStream', '--out', path).returncode, 0)
        with open(path) as f:
            events = json.load(f)['traceEvents']
        self.assertTrue(any(e['ph'] == 'X' and e['name'] == 'conv3x3' for e in events))
        self.assertIn('matrix', damso('print', '--chip', 'tpu-v1', '--workload', 'resnet50', '--op', '3').stdout)

    def test_pages(self):
        d = tempfile.mkdtemp()
        r = damso('run', '--quick', '--chip', 'warboy', '--workload', 'resnet50', '--html', f'{d}/a.html')
        self.assertEqual(r.returncode, 0, r.stderr)
        r = damso('compare', '--workload', 'resnet50', '--html', f'{d}/c.html', 'warboy', 't4')
        self.assertEqual(r.returncode, 0, r.stderr)
        for name in ('a', 'c'):
            with open(f'{d}/{name}.html', encoding='utf-8') as f:
                page = f.read()
            self.assertNotIn('http', page)
            self.assertNotIn('<script', page)
            self.assertIn('simulated', page)
            if name == 'a':  # a dot at least for convolutions, and four lanes
                self.assertGreater(page.split('Roofline')[-1].count('<circle'), 3)
                for lane in ('load', 'matrix', 'vector', 'store'):
                    self.assertIn(f'>{lane}</text>', page)

    def test_sweep(self):
        r = damso('sweep', '--json', '--chip', 'atom', '--workload', 'resnet50', 'core.count=4,8', 'clock.mhz=500,1000')
        points = json.loads(r.stdout)
        self.assertEqual(len(points), 4)
        self.assertEqual(max(points, key=lambda p: p['per_s'])['core.count'], 8)


    def test_experts(self):
        """Two of eight experts of half the width: as much to read as a dense model's for one token,
        four times as much for many."""
        def speed(batch, **change):
            r = damso('run', '--quick', '--json', '--chip', 'rngd', '--phase', 'decode', '--batch', str(batch),
                      '--format', 'bf16', '--workload', self.config(intermediate_size=4096, **change))
            self.assertEqual(r.returncode, 0, r.stderr)
            return json.loads(r.stdout)['tokens_per_s']
        experts = dict(num_local_experts=8, num_experts_per_tok=2, moe_intermediate_size=2048)
        self.assertAlmostEqual(speed(1, **experts) / speed(1), 1, delta=0.15)
        self.assertLess(speed(32, **experts), speed(32))


LLAMA_70B = dict(LLAMA_8B, hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64)


class Several(unittest.TestCase):
    """One model over several chips: damso chip --chips N --split S."""
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.small, cls.large = f'{cls.folder.name}/8b.json', f'{cls.folder.name}/70b.json'
        for path, shape in ((cls.small, LLAMA_8B), (cls.large, LLAMA_70B)):
            with open(path, 'w') as f:
                json.dump(shape, f)

    def on(self, chips, *args, chip='h100-sxm', model=None):
        return answer('--chip', chip, '--workload', model or self.small, '--chips', str(chips), *args)

    def test_tensor(self):
        one = self.on(1, '--phase', 'prefill', '--context', '2048')
        self.assertEqual((one['chips'], one['where_time_goes']['links'], one.get('link')), (1, 0, None))
        before = one['latency_ms']
        for n in 2, 4, 8:
            o = self.on(n, '--phase', 'prefill', '--context', '2048', '--collective', 'reduce')
            self.assertTrue(before / 2 < o['latency_ms'] < before, (n, o['latency_ms'], before))
            before = o['latency_ms']
            self.assertAlmostEqual(sum(o['where_time_goes'].values()), 1, places=6)
            self.assertAlmostEqual(sum(o['where_joules_go'].values()) / o['joules'], 1, places=6)
            self.assertGreater(o['where_time_goes']['links'], 0)
            self.assertEqual((o['chips'], o['tensor'], o['pipeline'], o['link']['kind']), (n, n, 1, 'full'))
            self.assertLess(o['memory_mb'], one['memory_mb'])
            self.assertTrue(any(x['name'] == 'reduce' for x in o['costliest']) or n < 8, o['costliest'])
        self.assertEqual(o, {**self.on(8, '--phase', 'prefill', '--context', '2048', '--collective', 'reduce'),
                             'simulation': o['simulation']})

    def test_pipeline(self):
        one, two = self.on(1), self.on(2, '--split', 'pipeline')
        self.assertTrue(0.98 * one['latency_ms'] < two['latency_ms'] < 1.2 * one['latency_ms'])
        self.assertEqual([s['layers'] for s in two['stages']], [16, 16])
        self.assertAlmostEqual(sum(s['memory_mb'] for s in two['stages']), one['memory_mb'], delta=300)
        self.assertTrue(0.4 < two['where_time_goes']['stages'] < 0.6)
        many = self.on(2, '--split', 'pipeline', '--batch', '16', '--in-flight', '2')
        alone = self.on(2, '--split', 'pipeline', '--batch', '8')
        self.assertGreater(many['tokens_per_s'], 1.5 * alone['tokens_per_s'])
        self.assertEqual(many['batch'], 16)
        self.assertGreater(many['memory_mb'], alone['memory_mb'] + 500)  # keys and values of both groups: 0.54 GB more
        users = self.on(2, '--split', 'pipeline', '--batch', '2', '--in-flight', '2', '--limit-ms', '12')['within_limit']['users']
        self.assertTrue(users > 2 and users % 2 == 0, users)

    def test_auto_takes_the_fastest(self):
        ways = [self.on(4, '--split', s) for s in ('tensor', 'pipeline', '2x2')]
        best = self.on(4, '--split', 'auto')
        self.assertEqual(best['latency_ms'], min(o['latency_ms'] for o in ways))

    def test_by_the_host(self):
        o = self.on(2, chip='rngd')
        self.assertEqual((o['link']['kind'], o['link']['assumed']), ('host', True))
        self.assertEqual(self.on(2, chip='a100-pcie-80')['link']['kind'], 'full')
        self.assertEqual(self.on(4, chip='a100-pcie-80')['link']['kind'], 'host')  # a bridge joins two

    def test_what_the_link_brings(self):
        r = damso('run', '--json', '--chip', 'rngd', '--workload', self.small, '--chips', '4')
        o = json.loads(r.stdout)
        self.assertGreater(o['sensitivity']['peer.us'], 0.02)
        self.assertGreaterEqual(o['sensitivity']['host.gb_s'], 0)
        self.assertNotIn('peer.gb_s', o['sensitivity'])
        self.assertNotIn('peer.us', json.loads(damso('run', '--json', '--chip', 'rngd', '--workload',
                                                     self.small).stdout)['sensitivity'])

    def test_how_many_are_enough(self):
        r = damso('run', '--chip', 'h100-sxm', '--workload', self.large)
        self.assertRegex(r.stderr, r'does not fit into h100-sxm.*; it fits on 2 chips: --chips 2$')
        self.assertEqual(self.on(2, model=self.large)['chips'], 2)
        r = damso('run', '--chip', 'l4', '--workload', self.large, '--format', 'bf16', '--split', 'pipeline')
        n = int(re.search(r'it fits on (\d+) chips: --chips \1 --split 1x\1', r.stderr)[1])
        self.on(n, '--split', 'pipeline', model=self.large, chip='l4')
        r = damso('run', '--chip', 'l4', '--workload', self.large, '--split', 'pipeline', '--chips', str(n - 1))
        self.assertIn('does not fit', r.stderr)

    def test_refused(self):
        for args, word in ((('--workload', 'resnet50', '--chips', '2'), 'resnet50 runs on one chip'),
                           (('--workload', self.small, '--chips', '4', '--split', '3x2'), 'is of 6 chips'),
                           (('--workload', self.small, '--chips', '4', '--split', 'rows'), '--split is tensor'),
                           (('--workload', self.small, '--chips', '64', '--split', 'pipeline'), '32 layers'),
                           (('--workload', self.small, '--chips', '2', '--collective', 'sum'), '--collective is'),
                           (('--workload', self.small, '--chips', '2', '--in-flight', '2'), '--in-flight'),
                           (('--workload', self.small, '--chips', '2', '--in-flight', '2', '--batch', '2'),
                            'groups in flight are of several stages'),
                           (('--workload', self.small, '--in-flight', '2', '--batch', '2'), '--chips')):
            r = damso('run', '--chip', 'h100-sxm', *args)
            self.assertNotEqual(r.returncode, 0, args)
            self.assertIn(word, r.stderr)
            self.assertEqual(r.stderr.count('\n'), 1, r.stderr)

    def test_compare_sweep_trace_and_page(self):
        r = damso('compare', '--json', '--chips', '2', '--workload', self.small, 'h100-sxm', 'l4')
        self.assertEqual([(o['chip'], o['chips']) for o in json.loads(r.stdout)], [('h100-sxm', 2), ('l4', 2)])
        r = damso('compare', '--chips', '2', '--workload', self.small, '--html', f'{self.folder.name}/c.html', 'l4')
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(f'{self.folder.name}/c.html', encoding='utf-8') as f:
            self.assertIn('on 2 chips of each kind', f.read())
        r = damso('sweep', '--json', '--chip', 'h100-sxm', '--workload', self.small, 'chips=1,2,4', 'peer.us=1,5')
        points = json.loads(r.stdout)
        self.assertEqual([(p['chips'], p['peer.us']) for p in points],
                         [(n, us) for us in (1, 5) for n in (1, 2, 4)])
        self.assertEqual(points[0]['per_s'], points[3]['per_s'])
        self.assertGreater(points[2]['per_s'], points[5]['per_s'])
        path = f'{self.folder.name}/t.json'
        r = damso('trace', '--chip', 'rngd', '--workload', self.small, '--chips', '4', '--split', '2x2', '--cores',
                  '1', '--out', path)
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(path) as f:
            events = json.load(f)['traceEvents']
        names = {e['args']['name'] for e in events if e['name'] == 'process_name'}
        self.assertEqual(names, {f'rngd {i} core 0' for i in range(4)})
        links = [e for e in events if e['ph'] == 'X' and e['cat'] == 'link']
        self.assertEqual({e['pid'] for e in links}, {0, 1, 2, 3})
        self.assertGreater(min(e['ts'] for e in events if e['ph'] == 'X' and e['pid'] == 2),
                           max(e['ts'] for e in events if e['ph'] == 'X' and e['pid'] == 0 and e['cat'] == 'matrix'))
        # Stages follow each other at the clock that the power allows, and so does what is in them.
        two = ('--chip', 'a100-sxm-80', '--workload', self.small, '--phase', 'prefill', '--context', '2048', '--chips',
               '2', '--split', '1x2')
        whole = answer(*two)
        self.assertLess(whole['clock_share'], 0.95)
        for op in whole['costliest']:  # of the slowest stage
            self.assertAlmostEqual(op['us'] / op['share'], 1000 * max(s['ms'] for s in whole['stages']), delta=1000)
        self.assertEqual(damso('trace', *two, '--cores', '1', '--out', path).returncode, 0)
        with open(path) as f:
            events = [e for e in json.load(f)['traceEvents'] if e['ph'] == 'X']
        ends = [max(e['ts'] + e['dur'] for e in events if e['pid'] == stage) for stage in (0, 1)]
        self.assertLessEqual(ends[0], min(e['ts'] for e in events if e['pid'] == 1) + 1e-3)
        for end, ms in zip(ends, accumulate(s['ms'] for s in whole['stages'])):
            self.assertAlmostEqual(end / 1000, ms, delta=0.01 * ms)
        r = damso('run', '--quick', '--chip', 'rngd', '--workload', self.small, '--chips', '4', '--split', '2x2',
                  '--html', f'{self.folder.name}/a.html')
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn('4 in 2 stages of 2', r.stdout)
        with open(f'{self.folder.name}/a.html', encoding='utf-8') as f:
            page = f.read()
        self.assertIn('<h2>4 chips</h2>', page)
        self.assertEqual(page.count('>link</text>'), 2)  # chips of a stage are alike


class Refusals(unittest.TestCase):
    def refused(self, text, *args, stdin=None):
        r = damso(*args, stdin=stdin)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn(text, r.stderr)
        self.assertEqual(r.stderr.count('\n'), 1, r.stderr)

    def test_names(self):
        self.refused("there is no chip 'atm'", 'run', '--chip', 'atm', '--workload', 'resnet50')
        self.refused("there is no workload 'resnet'", 'run', '--chip', 'atom', '--workload', 'resnet')
        self.refused('--scenario is', 'run', '--chip', 'atom', '--workload', 'resnet50', '--scenario', 'Online')
        self.refused("has no number 'core.cuont'", 'sweep', '--chip', 'atom', '--workload', 'resnet50', 'core.cuont=1')
        self.refused('line 2 of the input', 'products', '--chip', 'l4', stdin='1 2 3\nx\n')

    def test_what_does_not_fit(self):
        path = Answers.config(self, num_hidden_layers=80, hidden_size=8192, intermediate_size=28672,
                              num_attention_heads=64)
        self.refused('does not fit into h100-sxm', 'run', '--chip', 'h100-sxm', '--workload', path)
        self.refused('computes in int8, not in fp8', 'run', '--chip', 'warboy', '--workload',
                     Answers.config(self), '--format', 'fp8')
        self.refused('latent keys', 'run', '--chip', 'rngd', '--workload', Answers.config(self, kv_lora_rank=512))
        self.refused('num_experts_per_tok is a whole number', 'run', '--chip', 'rngd', '--workload',
                     Answers.config(self, num_local_experts=8))
        self.refused('hidden_size is a whole number', 'run', '--chip', 'rngd', '--workload',
                     Answers.config(self, hidden_size='4096'))

    def test_chip_file(self):
        with open('chips/atom.yaml') as f:
            text = f.read()
        for old, new, say in (('sram_kib', 'sram_kb', ':13: there is no "core.sram_kb"'),
                              ('count: {value: 8', 'count: {value: 0', 'core.count is 0, which is outside 1')):
            with tempfile.NamedTemporaryFile('w', suffix='.yaml') as f:
                f.write(text.replace(old, new, 1))
                f.flush()
                self.refused(say, 'run', '--chip', f.name, '--workload', 'resnet50')


class Load(unittest.TestCase):
    SMALL = dict(LLAMA_8B, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                 num_key_value_heads=3, vocab_size=49152, tie_word_embeddings=True)

    def load(self, *args, model=None):
        with tempfile.TemporaryDirectory() as d:
            with open(f'{d}/config.json', 'w') as f:
                json.dump(model or self.SMALL, f)
            return damso('load', '--workload', f'{d}/config.json', *args)

    def test_ten_thousand_requests_in_a_minute(self):
        args = ('--chip', 'rngd', '--concurrency', '48', '--parallel', '48', '--limit-ttft-ms', '100', '--json')
        r = self.load(*args)
        self.assertEqual(r.returncode, 0, r.stderr)
        o = json.loads(r.stdout)
        self.assertLess(o['host_s'], 60)
        self.assertEqual((o['answered'], o['refused'], o['running_most']), (10000, 0, 48))
        self.assertGreater(o['running_mean'], 40)
        self.assertAlmostEqual(o['joules_per_token'] * o['answer_tokens'], o['joules'], places=3)
        self.assertAlmostEqual(o['watts'] * o['seconds'], o['joules'], places=3)
        self.assertTrue(o['ttft_ms']['p50'] <= o['ttft_ms']['p99'] <= o['ttft_ms']['max'])
        self.assertEqual(sum(o['ttft_bars']), 10000)
        self.assertTrue(o['simulated'] and o['assumed'])

    def test_same_seed_same_result(self):
        args = ('--chip', 'atom', '--rate', '40', '--requests', '300', '--json', '--seed')
        first, again, other = (json.loads(self.load(*args, seed).stdout) for seed in ('4', '4', '5'))
        for o in first, again, other:
            o.pop('host_s'), o.pop('workload')
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_html(self):
        with tempfile.TemporaryDirectory() as d:
            r = self.load('--chip', 'l4', '--rate', '5', '--requests', '50', '--html', f'{d}/x.html')
            self.assertIn('not an MLPerf result', r.stdout)
            with open(f'{d}/x.html') as f:
                page = f.read()
        self.assertIn('Time to the first token', page)
        self.assertNotIn('<script', page)

    def test_refused(self):
        for args, word in ((('--chip', 'atom'), '--rate'), (('--rate', '1'), '--chip'),
                           (('--chip', 'atom', '--rate', '1', '--concurrency', '1'), 'not both'),
                           (('--chip', 'atom', '--rate', '-1'), '--rate is from'),
                           (('--chip', 'atom', '--rate', '1', '--prompt', '9-1'), '--prompt')):
            r = self.load(*args)
            self.assertNotEqual(r.returncode, 0)
            self.assertIn(word, r.stderr)
        r = self.load('--chip', 'atom', '--rate', '1', model=LLAMA_8B)
        self.assertIn('does not fit into atom', r.stderr)
        self.assertIn('--numerics int8', r.stderr)
        self.assertIn('it fits on 2 chips: --chips 2', r.stderr)

    def test_several_chips(self):
        args = ('--chip', 'atom', '--rate', '2', '--requests', '60', '--json')
        o = json.loads(self.load(*args, '--chips', '2', model=LLAMA_8B).stdout)
        self.assertEqual((o['chips'], o['answered']), (2, 60))
        more = json.loads(self.load(*args, '--chips', '4', model=LLAMA_8B).stdout)
        self.assertLess(more['tpot_ms']['mean'], o['tpot_ms']['mean'])
        self.assertGreater(more['pages'], o['pages'])


if __name__ == '__main__':
    unittest.main()
