#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""quantize, imatrix and eval from outside, with the real model: tests/quantize_test.py DAMSO.

Mostly needs DAMSO_TEST_MODELS.  What eval prints is computed here again from `damso inspect logits`, what
imatrix says of the first layer from the embeddings, and files are read by a reader of our own and
by PyPI `gguf`, where that is installed."""
import array, json, math, os, random, shutil, struct, subprocess, sys, tempfile, unittest

from gguf_file import write_gguf

DAMSO = os.path.abspath(sys.argv.pop(1))
MODELS = os.environ.get('DAMSO_TEST_MODELS')
MODEL = 'smollm2-135m-instruct'
TEXT = ('The sea was calm that morning, and the small boat lay still beside the pier. An old man '
        'sat in it and mended his net, as his father had done before him. Nobody spoke.\n')
BLOCK = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
         12: (256, 144), 14: (256, 210), 20: (32, 18), 39: (32, 17)}
NUMBER = {0: 'B', 1: 'b', 2: 'H', 3: 'h', 4: 'I', 5: 'i', 6: 'f', 7: '?', 10: 'Q', 11: 'q', 12: 'd'}


class Gguf:
    """Keys, and tensors as (type, dims, offset in the file)."""

    def __init__(self, path):
        with open(path, 'rb') as f:
            self.bytes = f.read()
        self.at, self.path = 4, path
        version, n_tensors, n_keys = self.get('IQQ')
        assert self.bytes[:4] == b'GGUF' and version == 3
        self.keys = {}
        for _ in range(n_keys):
            name = self.text()
            self.keys[name] = self.value(self.get('I')[0])
        self.tensors = {}
        for _ in range(n_tensors):
            name = self.text()
            n_dims, = self.get('I')
            dims = self.get(f'{n_dims}Q')
            kind, offset = self.get('IQ')
            self.tensors[name] = (kind, dims, offset)
        align = self.keys.get('general.alignment', 32)
        self.data = (self.at + align - 1) // align * align

    def get(self, form):
        v = struct.unpack_from('<' + form, self.bytes, self.at)
        self.at += struct.calcsize('<' + form)
        return v

    def text(self):
        n, = self.get('Q')
        self.at += n
        return self.bytes[self.at - n:self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            elem, n = self.get('IQ')
            return [self.text() for _ in range(n)] if elem == 8 else list(self.get(f'{n}{NUMBER[elem]}'))
        return self.get(NUMBER[kind])[0]

    def raw(self, name):
        kind, dims, offset = self.tensors[name]
        elems, size = BLOCK[kind]
        n = math.prod(dims) // elems * size
        return self.bytes[self.data + offset:self.data + offset + n]

    def floats(self, name):
        a = array.array('f')
        a.frombytes(self.raw(name))
        return a


def npy(path):
    """Rows of float32."""
    with open(path, 'rb') as f:
        raw = f.read()
    head = raw[10:10 + struct.unpack('<H', raw[8:10])[0]].decode()
    rows, cols = eval(head)['shape']
    a = array.array('f')
    a.frombytes(raw[10 + len(head):])
    return [a[i * cols:(i + 1) * cols] for i in range(rows)]


def log_softmax(row):
    most = max(row)
    total = most + math.log(sum(math.exp(x - most) for x in row))
    return [x - total for x in row]


class Experts(unittest.TestCase):
    """Files that need no model: tensors of three dimensions, and what stays as it is."""

    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.src, self.out = f'{self.dir}/m.gguf', f'{self.dir}/o.gguf'
        rng = random.Random(3)
        self.cube = [rng.gauss(0, 1) for _ in range(64 * 3 * 2)]
        self.gate = [rng.gauss(0, 1) for _ in range(64 * 2)]
        write_gguf(self.src, {'general.architecture': 'llama', 'other': 'kept'},
                   {'blk.0.ffn_up_exps.weight': ((64, 3, 2), self.cube),
                    'blk.0.ffn_gate_inp.weight': ((64, 2), self.gate),
                    'blk.0.attn_q.weight': ((40, 2), self.gate[:80]),
                    'blk.0.ffn_norm.weight': ((64,), self.gate[:64])})

    def tearDown(self):
        shutil.rmtree(self.dir)

    def quantize(self, *args, want=0):
        p = subprocess.run([DAMSO, 'quantize', self.src, self.out, *args, '-q', '--force'], capture_output=True,
                           text=True, timeout=60, env={'PATH': os.environ['PATH'], 'HOME': self.dir})
        self.assertEqual(p.returncode, want, p.stderr)
        return p.stderr

    def test_experts_by_row_and_small_tensors_as_they_are(self):
        said = self.quantize('Q8_0')
        self.assertIn('1 matrices have rows', said)  # 40 columns: F16
        g = Gguf(self.out)
        self.assertEqual(g.keys['other'], 'kept')
        self.assertEqual(g.tensors['blk.0.ffn_up_exps.weight'][:2], (8, (64, 3, 2)))
        self.assertEqual(g.tensors['blk.0.attn_q.weight'][0], 1)
        self.assertEqual(g.tensors['blk.0.ffn_norm.weight'][0], 0)
        self.assertEqual(list(g.floats('blk.0.ffn_gate_inp.weight')), list(array.array('f', self.gate)))
        raw = g.raw('blk.0.ffn_up_exps.weight')
        for i in range(len(raw) // 34):
            d, *q = struct.unpack_from('<e32b', raw, 34 * i)
            for k in range(32):
                self.assertAlmostEqual(d * q[k], self.cube[32 * i + k], delta=0.51 * d + 1e-3)

    def test_importance_of_an_expert_is_its_own(self):
        im = f'{self.dir}/im.gguf'
        self.quantize('Q4_0')
        plain = Gguf(self.out).raw('blk.0.ffn_up_exps.weight')
        for expert in range(2):  # the other one was never used
            sums = [0.0] * 128
            sums[64 * expert:64 * expert + 64] = [1e4 if i % 7 == 0 else 0.01 for i in range(64)]
            write_gguf(im, {'general.type': 'imatrix'},
                       {'blk.0.ffn_up_exps.weight.in_sum2': ((64, 2), sums),
                        'blk.0.ffn_up_exps.weight.counts': ((1, 2), [10.0 * (i == expert) for i in range(2)])})
            self.quantize('Q4_0', '--imatrix', im)
            raw = Gguf(self.out).raw('blk.0.ffn_up_exps.weight')
            half = len(raw) // 2
            same = [raw[i * half:(i + 1) * half] == plain[i * half:(i + 1) * half] for i in range(2)]
            self.assertEqual(same, [expert == 1, expert == 0])
        write_gguf(im, {'general.type': 'imatrix'},
                   {'blk.0.ffn_up_exps.weight.in_sum2': ((32, 2), sums[:64]),
                    'blk.0.ffn_up_exps.weight.counts': ((1, 2), [1.0, 1.0])})
        self.assertIn('is of 32 columns and 2 experts', self.quantize('Q4_0', '--imatrix', im, want=3))


@unittest.skipUnless(MODELS, 'DAMSO_TEST_MODELS is not set')
class Quantize(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp()
        cls.env = {'PATH': os.environ['PATH'], 'HOME': cls.dir, 'DAMSO_MODELS_DIR': MODELS}
        cls.model = f'{MODELS}/{MODEL}.gguf'
        cls.text = f'{cls.dir}/text.txt'
        with open(cls.text, 'w') as f:
            f.write(TEXT)
        cls.q4 = f'{cls.dir}/q4.gguf'
        cls.damso('quantize', MODEL, cls.q4, 'Q4_0', '-q', '--allow-requantize')
        ids, _ = cls.damso('inspect', 'tokens', '-m', cls.model, stdin=TEXT)
        cls.ids = json.loads(ids)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    @classmethod
    def damso(cls, *args, want=0, stdin=''):
        p = subprocess.run([DAMSO, *args], capture_output=True, text=True, timeout=300, input=stdin, env=cls.env)
        assert p.returncode == want, f'{args}: {p.returncode}, {p.stderr}'
        return p.stdout, p.stderr

    def logits(self, model, ids):
        path = f'{self.dir}/logits.npy'
        self.damso('inspect', 'logits', '-m', model, '--tokens', ','.join(map(str, ids)), '-o', path)
        return [log_softmax(row) for row in npy(path)]

    # ---- quantize ----

    def test_the_file_is_the_model_in_another_format(self):
        was, now = Gguf(self.model), Gguf(self.q4)
        changed = {'general.file_type', 'general.alignment', 'general.quantization_version'}
        for key in was.keys.keys() - changed:
            self.assertEqual(now.keys[key], was.keys[key], key)
        self.assertEqual(now.keys['general.file_type'], 2)
        self.assertEqual(list(now.tensors), list(was.tensors))
        for name, (kind, dims, _) in was.tensors.items():
            self.assertEqual(now.tensors[name][1], dims)
            if kind == 3:
                self.assertEqual(now.tensors[name][0], 2, name)
            else:  # norms, and the embeddings, whose 576 columns no block of 256 divides
                self.assertEqual(now.raw(name), was.raw(name), name)
        self.assertIn('Paris', self.damso('run', '-m', self.q4, '--temp', '0', '-n', '12',
                                          'What is the capital of France?')[0])

    def test_pypi_gguf_reads_it(self):
        try:
            import gguf
        except ImportError:
            self.skipTest('PyPI gguf is not installed')
        made = gguf.GGUFReader(self.q4)
        was = {t.name: t for t in gguf.GGUFReader(self.model).tensors}
        for t in made.tensors:
            w = gguf.quants.dequantize(was[t.name].data, was[t.name].tensor_type)
            d = gguf.quants.dequantize(t.data, t.tensor_type) - w
            self.assertLess((d ** 2).mean() / (w ** 2).mean(), 0.012, t.name)

    def test_types_and_kept_tensors(self):
        out = f'{self.dir}/mixed.gguf'
        said, _ = self.damso('quantize', MODEL, out, 'iq4_nl', '-q', '--allow-requantize', '--embed-type', 'q4_0',
                             '--keep', 'blk.0.*,*attn_v.weight')
        self.assertIn('bits a weight', said)
        now = Gguf(out)
        self.assertEqual(now.tensors['token_embd.weight'][0], 2)
        self.assertEqual(now.tensors['blk.0.attn_q.weight'][0], 3)
        self.assertEqual(now.tensors['blk.7.attn_v.weight'][0], 3)
        self.assertEqual(now.tensors['blk.7.attn_q.weight'][0], 20)

    def test_what_is_refused(self):
        _, err = self.damso('quantize', MODEL, f'{self.dir}/x.gguf', 'Q4_0', want=3)
        self.assertRegex(err, 'quantised already, in Q4_1.*--allow-requantize')
        for args, status, words in [
                ((MODEL, 'x.gguf', 'Q9_9'), 2, "'Q9_9' is none of Q4_0, "),
                ((MODEL, 'x.gguf', 'IQ2_XXS'), 2, "'IQ2_XXS' is none of"),
                ((MODEL, self.q4, 'Q4_0', '--allow-requantize'), 2, 'is there already; --force'),
                ((self.q4, self.q4, 'Q8_0', '--force'), 2, 'is the model itself'),
                ((self.text, f'{self.dir}/x.gguf', 'Q8_0'), 4, 'text.txt'),
                ((MODEL, '/nowhere/x.gguf', 'Q8_0', '--allow-requantize'), 7, '/nowhere/x.gguf')]:
            self.assertIn(words, self.damso('quantize', *args, want=status)[1])
        self.assertFalse([f for f in os.listdir(self.dir) if f.startswith('x.gguf')])

    # ---- imatrix ----

    def test_imatrix_of_the_first_layer(self):
        path, window = f'{self.dir}/im.gguf', len(self.ids)
        self.damso('imatrix', '-m', MODEL, '-f', self.text, '-o', path, '--window', str(window))
        im, model = Gguf(path), Gguf(self.model)
        self.assertEqual(im.keys['general.type'], 'imatrix')
        self.assertEqual(im.keys['imatrix.datasets'], ['text.txt'])
        n = window - 1  # nothing is asked of the last token
        self.assertEqual(list(im.floats('blk.0.attn_q.weight.counts')), [n])
        raw, gain = model.raw('token_embd.weight'), model.floats('blk.0.attn_norm.weight')
        eps = model.keys['llama.attention.layer_norm_rms_epsilon']
        want = [0.0] * len(gain)
        for token in self.ids[:n]:
            row = []
            for at in range(token * len(gain) // 32 * 34, (token + 1) * len(gain) // 32 * 34, 34):
                d, *q = struct.unpack_from('<e32b', raw, at)
                row += [d * x for x in q]
            scale = 1 / math.sqrt(sum(x * x for x in row) / len(row) + eps)
            want = [w + (x * scale * g) ** 2 for w, x, g in zip(want, row, gain)]
        for name in ('attn_q', 'attn_k', 'attn_v'):
            for got, w in zip(im.floats(f'blk.0.{name}.weight.in_sum2'), want):
                self.assertAlmostEqual(got, w, delta=1e-4 * w + 1e-9)
        made = f'{self.dir}/with.gguf'
        self.damso('quantize', MODEL, made, 'Q4_0', '-q', '--allow-requantize', '--imatrix', path)
        keys = Gguf(made).keys
        self.assertEqual(keys['quantize.imatrix.file'], 'im.gguf')
        self.assertEqual(keys['quantize.imatrix.entries_count'], 211)
        _, err = self.damso('quantize', MODEL, made, 'Q4_0', '--force', '--imatrix', self.q4, want=3)
        self.assertIn('is no importance matrix', err)

    # ---- eval ----

    def test_perplexity_and_divergence(self):
        window, stride = 32, 12
        said, _ = self.damso('eval', '-m', self.q4, '--kl', MODEL, '-f', self.text, '--window', str(window),
                             '--stride', str(stride), '--json')
        said = json.loads(said)['text']
        nll, ref_nll, kl, same, done, windows = [], [], [], 0, 1, 0
        for at in range(0, len(self.ids), stride):
            if done >= len(self.ids):
                break
            ids = self.ids[at:at + window]
            p, q = self.logits(MODEL, ids), self.logits(self.q4, ids)
            for i in range(done - at, len(ids)):
                nll.append(-q[i - 1][ids[i]])
                ref_nll.append(-p[i - 1][ids[i]])
                kl.append(sum(math.exp(a) * (a - b) for a, b in zip(p[i - 1], q[i - 1])))
                same += p[i - 1].index(max(p[i - 1])) == q[i - 1].index(max(q[i - 1]))
            done, windows = at + len(ids), windows + 1
        n = len(self.ids) - 1
        self.assertEqual([said[k] for k in ('tokens', 'scored', 'windows')], [n + 1, n, windows])
        ref = said['reference']
        for got, want in [(said['perplexity'], math.exp(sum(nll) / n)),
                          (said['bits_per_byte'], sum(nll) / math.log(2) / (len(TEXT) - len('The'))),
                          (ref['perplexity'], math.exp(sum(ref_nll) / n)),
                          (ref['kl_mean'], sum(kl) / n), (ref['kl_max'], max(kl)),
                          (ref['kl_median'], sorted(kl)[n // 2]), (ref['same_top'], same / n)]:
            self.assertAlmostEqual(got, want, delta=1e-3 * want)
        plain, _ = self.damso('eval', '-m', MODEL, '-f', self.text, '--limit', '1')
        self.assertRegex(plain, r'perplexity  \d+\.\d+ \+- ')

    def test_choices(self):
        questions = [('The capital of France is', ['London', 'Paris', 'a banana'], 1),
                     ('Fish live in the', ['water, and they have done so for a long time', 'sun'], 0)]
        path = f'{self.dir}/q.jsonl'
        with open(path, 'w') as f:
            for question, choices, answer in questions:
                f.write(json.dumps({'question': question, 'choices': choices, 'answer': answer}) + '\n\n')
        right = right_len = 0
        for question, choices, answer in questions:
            sums = []
            for choice in choices:
                ids = [json.loads(self.damso('inspect', 'tokens', '-m', self.model, '--bos', stdin=t)[0])
                       for t in (question, f'{question} {choice}')]
                p = self.logits(MODEL, ids[1])
                sums.append(sum(p[i - 1][ids[1][i]] for i in range(len(ids[0]), len(ids[1]))))
            by_len = [s / len(c) for s, c in zip(sums, choices)]
            right += sums.index(max(sums)) == answer
            right_len += by_len.index(max(by_len)) == answer
        said = json.loads(self.damso('eval', '-m', MODEL, '--choices', path, '--json')[0])['choices']
        self.assertEqual(said, {'questions': 2, 'accuracy': right / 2, 'accuracy_by_length': right_len / 2})
        with open(path, 'w') as f:
            f.write('{"question": "?", "choices": ["a", "b"], "answer": 2}\n')
        _, err = self.damso('eval', '-m', MODEL, '--choices', path, want=2)
        self.assertIn('line 1: needs "question"', err)

    def test_what_eval_refuses(self):
        for args, status, words in [((), 2, 'say -f TEXT'), (('--kl', MODEL), 2, '-f TEXT'),
                                    (('-f', self.text, '--stride', '600'), 2, 'is not less than the window'),
                                    (('-f', '/nowhere.txt'), 5, '/nowhere.txt')]:
            self.assertIn(words, self.damso('eval', '-m', MODEL, *args, want=status)[1])


if __name__ == '__main__':
    unittest.main()
