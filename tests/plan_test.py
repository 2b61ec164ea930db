#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""damso plan as a user meets it: answers that hold together, kinds side by side, pages, and what is refused.
What it computes is held to formulas in src/app/fleet_test.c."""
import json, os, subprocess, sys, tempfile, unittest

DAMSO = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith('-') else 'build/damso'
SHAPE = dict(model_type='llama', hidden_size=1024, intermediate_size=4096, num_hidden_layers=4,
             num_attention_heads=16, num_key_value_heads=4, vocab_size=32000, max_position_embeddings=4096)
BENCH = {'machine': {'cpu': 'Some <CPU>', 'threads': 2}, 'rows': [
    {'work': 'prefill', 'tokens': 512, 'sequences': 1, 'at': 0, 'tps': 2000},
    {'work': 'decode', 'tokens': 64, 'sequences': 1, 'at': 0, 'tps': 100},
    {'work': 'batch', 'tokens': 64, 'sequences': 16, 'at': 0, 'tps': 640}]}
LEVELS = {'answer': 64, 'levels': [
    {'requests': 100, 'errors': 0, 'seconds': 50, 'ttft_ms': {'p90': 200, 'p99': 300}, 'tpot_ms': {'p90': 20, 'p99': 30}},
    {'requests': 100, 'errors': 0, 'seconds': 10, 'ttft_ms': {'p90': 2000, 'p99': 3000}, 'tpot_ms': {'p90': 90, 'p99': 99}}]}


class Plan(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory()
        no_tpot = {**LEVELS, 'levels': [LEVELS['levels'][0], {**LEVELS['levels'][1], 'tpot_ms': {}}]}
        for name, o in (('shape', SHAPE), ('bench', BENCH), ('levels', LEVELS), ('no-tpot', no_tpot), ('none', {})):
            with open(f'{cls.dir.name}/{name}.json', 'w') as f:
                json.dump(o, f)
        with open(f'{cls.dir.name}/day', 'w') as f:
            f.write('# an office\n' + '\n'.join(str(100 if 9 <= h < 17 else 0) for h in range(24)) + '\n')

    @classmethod
    def tearDownClass(cls):
        cls.dir.cleanup()

    def damso(self, *args, **env):
        return subprocess.run([DAMSO, 'plan', '-w', f'{self.dir.name}/shape.json', '--requests', '200', '--turns', '1', *args],
                              capture_output=True, text=True, timeout=300, env={**os.environ, **env})

    def answer(self, *args):
        r = self.damso('--json', *args)
        self.assertEqual(r.returncode, 0, r.stderr)
        return json.loads(r.stdout)

    def test_kinds_side_by_side(self):
        d = self.dir.name
        args = ('--users', '20000', '--ttft-p99', '1000', '--tpot-p99', '60', '--html', f'{d}/page.html',
                f'{d}/bench.json,price=2000,watts=90,idle=30', 'warboy,price=9000', 'atom,hour=0.7', f'{d}/levels.json')
        first, again = self.answer(*args), self.answer(*args)
        self.assertEqual(first, again)
        kinds = first['kinds']
        self.assertEqual(len(kinds), 4)
        costs = [k['cost_per_month'] for k in kinds if 'cost_per_month' in k]
        self.assertEqual(len(costs), 3)
        self.assertEqual(costs, sorted(costs))
        self.assertEqual([k for k in kinds[:3] if 'cost_per_month' not in k], [])
        by = {os.path.basename(k['name']): k for k in kinds}
        for k in kinds:
            self.assertEqual(k['replicas'], k['cells'] * (k['serving_per_cell'] + k['spare_per_cell']))
            self.assertGreater(k['cells'] * k['serving_per_cell'] * k['capacity_low_per_s'], first['peak_requests_per_s'])
            self.assertLessEqual(k['replicas_for_10_percent_less'], k['replicas'])
            self.assertGreaterEqual(k['replicas_for_10_percent_more'], k['replicas'])
            self.assertEqual(max(k['replicas_by_hour']), k['replicas'])
        for name in ('bench.json', 'warboy', 'atom'):  # the spare is one that may be away
            away = by[name]['when_away']
            self.assertTrue(away[0]['within_limits'] and away[1]['within_limits'], away)
            self.assertLess(away[0]['rate'], away[1]['rate'])
        self.assertEqual(by['levels.json']['capacity_per_s'], 2)
        self.assertGreaterEqual(by['atom']['cost_per_month'], by['atom']['elastic_per_month'])
        self.assertLess(min(by['bench.json']['replicas_by_hour']), by['bench.json']['replicas'])
        with open(f'{d}/page.html') as f:
            page = f.read()
        self.assertNotIn('http', page)
        self.assertNotIn('<script', page)
        self.assertEqual(page.count('<polyline'), 4 * 2)
        self.assertIn('Some &lt;CPU&gt;', page)

    def test_more_users_need_no_fewer(self):
        last = 0
        for users in ('100', '10000', '1000000'):
            o = self.answer('--users', users, '--ttft-p90', '500', f'{self.dir.name}/levels.json')
            self.assertGreaterEqual(o['kinds'][0]['replicas'], last)
            last = o['kinds'][0]['replicas']
        self.assertGreater(last, 10)

    def test_a_day_of_ones_own(self):
        d = self.dir.name
        o = self.answer('--users', '1000', '--ttft-p90', '500', '--curve', f'{d}/day', f'{d}/levels.json')
        self.assertAlmostEqual(o['peak_share'], 1 / 8)
        o = self.answer('--users', '1000', '--ttft-p90', '500', '--peak-share', '0.2', f'{d}/levels.json')
        self.assertAlmostEqual(o['peak_share'], 0.2, places=6)
        o = self.answer('--users', '1000', '--ttft-p90', '500', '--peak-share', '1', f'{self.dir.name}/levels.json')
        self.assertAlmostEqual(o['peak_share'], 1)
        self.assertAlmostEqual(sum(o['curve']), 1)

    def test_a_fleet_simulated_whole(self):
        o = self.answer('--users', '5000', '--ttft-p99', '1000', '--whole', '3', '--prompt', '64', '--answer', '16',
                        f'{self.dir.name}/bench.json')
        whole = o['kinds'][0]['whole']
        self.assertLess(abs(whole['found_per_s'] / whole['planned_per_s'] - 1), 0.08)

    def alone(self, kind):
        """Milliseconds of a token of one answer alone, on prompts of 128 and answers of 64."""
        o = self.answer('--users', '10', '--tpot-p90', '1000', '--prompt', '128', '--answer', '64', kind)
        k = o['kinds'][0]
        self.assertAlmostEqual(1000 / k['bench_decode_tokens_per_s'], k['alone_tpot_ms'], places=3)
        return k['alone_tpot_ms']

    def test_machines_that_compute_together(self):
        """Compute by the share, exchanges by the network (docs/SCALE.md): counted here by hand for SHAPE."""
        d, dim, ff, layers, vocab, us, byte_ms = self.dir.name, 1024, 4096, 4, 32000, 200, 8e-6
        one = self.alone(f'{d}/bench.json')  # a limit that each rate holds: where the queue grows is the end
        self.assertAlmostEqual(one, 10, places=3)  # ms, as measured: decode of 100 a second
        for t in (2, 4):
            exchanges = 4 * layers + 1 + 1
            sent = 4 * layers * (16 * 64 + 2 * dim + ff) * (t - 1) / t + 4 * vocab * (t - 1) / t
            told = self.alone(f'{d}/bench.json,tensor={t},gbit=1,us={us}')
            self.assertAlmostEqual(told, one / t + exchanges * us / 1000 + sent * byte_ms, delta=0.02 * one)
            self.assertAlmostEqual(told - exchanges * 0.1, self.alone(f'{d}/bench.json,tensor={t},gbit=1,us=100'), places=6)
        # A prompt's rows: each number for each row, but for the logits, which are of the last one alone.
        o = self.answer('--users', '10', '--tpot-p90', '1000', '--prompt', '8', '--answer', '8', f'{d}/bench.json,tensor=2,gbit=1,us={us}')
        sent = (512 * (layers - 1) + 1) * 4 * (16 * 64 + 2 * dim + ff) / 2 + 4 * vocab / 2  # of the last layer, too
        told = 512000 / o['kinds'][0]['bench_prefill_tokens_per_s']
        self.assertAlmostEqual(told, 512 / 2000 * 1000 / 2 + (4 * layers + 2) * us / 1000 + sent * byte_ms, delta=2)
        # Stages wait for each other: the time of one machine, and one exchange for each that begins, and the telling.
        self.assertAlmostEqual(self.alone(f'{d}/bench.json,pipeline=2,gbit=1,us={us}'),
                               one + 2 * us / 1000 + 4 * dim * byte_ms, places=3)
        # In one machine's memory next to nothing is added; the file is of all its processes' threads.
        self.assertAlmostEqual(self.alone(f'{d}/bench.json,tensor=2,machines=1'), one, delta=0.02)

    def test_replicas_of_several(self):
        """They say so, and cost and draw what all of theirs do."""
        d, args = self.dir.name, ('--users', '10', '--ttft-p99', '5000', '--spare', '0')
        o = self.answer(*args, '--chips', '4', '--html', f'{d}/several.html', 'h100-sxm,hour=1',
                        f'{d}/bench.json,hour=1,watts=90,idle=90,tensor=2,gbit=10')
        chips, machines = (next(k for k in o['kinds'] if word in k) for word in ('chips', 'machines'))
        self.assertEqual((chips['chips'], machines['machines']), (4, 2))
        self.assertTrue(chips['title'].startswith('4 x ') and chips['title'].endswith('split by tensor'), chips)
        for k, n in ((chips, 4), (machines, 2)):
            self.assertAlmostEqual(k['machines_per_month'], k['replicas'] * n * 24 * 30.4375, places=6)
        self.assertAlmostEqual(machines['kwh_per_day'], machines['replicas'] * 2 * 0.09 * 24 * o['pue'], places=6)
        with open(f'{d}/several.html') as f:
            self.assertIn('4 x h100-sxm', f.read())
        r = self.damso(*args, '--chips', '4', '--split', '2x2', 'h100-sxm')
        for part in ('4 x h100-sxm', 'of 4 chips: ', 'split by 2x2'):
            self.assertIn(part, r.stdout)
        self.assertNotIn(' x h100-sxm', self.damso(*args, 'h100-sxm').stdout)
        # What the environment says of other commands, too, is nothing that was asked of a machine.
        r = self.damso(*args, f'{d}/levels.json', DAMSO_CHIPS='4')
        self.assertEqual(r.returncode, 0, r.stderr)

    def test_text(self):
        r = self.damso('--users', '5000', '--ttft-p99', '1000', '--availability', '0.999', f'{self.dir.name}/bench.json')
        self.assertEqual(r.returncode, 0, r.stderr)
        for part in ('5000 users', 'a replica', 'no price', 'one away', '+10 %', 'MLPerf'):
            self.assertIn(part, r.stdout)

    def test_what_cannot_serve_says_why(self):
        o = self.answer('--users', '10', '--ttft-p99', '1', f'{self.dir.name}/bench.json')
        self.assertIn('first token', o['kinds'][0]['error'])
        self.assertNotIn('replicas', o['kinds'][0])

    def test_refusals(self):
        d = self.dir.name
        good = ('--users', '10', '--ttft-p99', '100')
        for args, part in (
                ((), 'argument is missing'), (('warboy',), '--users'), (('--users', '10', 'warboy'), 'limit is missing'),
                (('--users', '0', 'warboy'), 'users'), ((*good, 'nochip'), 'nochip'),
                ((*good, 'warboy,price=x'), 'price of warboy'), ((*good, 'warboy,cost=1'), 'cost=1'),
                ((*good, 'warboy,price=1,hour=1'), 'not both'), ((*good, 'warboy,tensor=2'), 'damso bench --json'),
                ((*good, f'{d}/bench.json,tensor=2'), 'gbit='), ((*good, f'{d}/bench.json,us=5'), 'us='),
                ((*good, f'{d}/bench.json,tensor=3,machines=2'), 'evenly'), ((*good, 'warboy,watts=5'), 'watts='),
                ((*good, '--chips', '4', f'{d}/bench.json', f'{d}/levels.json'), '--chips is of simulated chips'),
                ((*good, '--split', '2x2', f'{d}/bench.json'), '--split is of simulated chips'),
                ((*good, f'{d}/none.json'), 'none.json'), ((*good, f'{d}/gone.json'), 'gone.json'),
                ((*good, '--curve', f'{d}/none.json', 'warboy'), 'none.json:1'),
                ((*good, '--curve', f'{d}/gone', 'warboy'), 'gone'),
                ((*good, '--peak-share', '2', 'warboy'), '--peak-share'),
                ((*good, '--curve', f'{d}/day', '--peak-share', '0.5', 'warboy'), 'it is from 0.125 to 0.125'),
                ((*good, '--tpot-p90', '9', f'{d}/no-tpot.json'), 'level 2: no tpot_ms with p90'), ((*good, '--turns', '0', 'warboy'), '--turns'),
                ((*good, '--spare', '1', '--availability', '0.99', 'warboy'), 'not both'),
                ((*good, '--spare', '30', 'warboy'), '--cell'), ((*good, '--prompt', '-1', 'warboy'), '--prompt')):
            r = self.damso(*args)
            self.assertNotEqual(r.returncode, 0, args)
            self.assertIn(part, r.stderr, args)


if __name__ == '__main__':
    unittest.main()
