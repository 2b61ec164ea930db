#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judges the accuracy run of `damso mlperf run --accuracy`: tools/mlperf_accuracy.py DIR [--enforce].
ROUGE by the package `rouge-score`, with its stemmer, as MLPerf's reference implementations have it
(install tools/mlperf_accuracy.txt into an environment); exact match of gpt-oss-120b by
tools/mlperf_exact.py.  The answers' text must be that of the tokens in LoadGen's own log.  Prints
what it finds and writes accuracy.txt beside the log, in the words that the submission checker reads.

For the official benchmarks the targets are those of the reference implementations; the text is
damso's, so a submission uses MLCommons' own evaluation script on the same log.  The small benchmark
has no target: it says how near damso is to llama.cpp with the same file.

--test07 judges the answers of `--compliance TEST07` in place of the accuracy run."""
import argparse, glob, json, os, re, sys
import mlperf_exact

TARGETS = {'llama3.1-8b': {'rouge1': 38.7792, 'rouge2': 15.9075, 'rougeL': 24.4957, 'rougeLsum': 35.793},
           'llama3.1-8b-edge': {'rouge1': 39.06, 'rouge2': 16.1147, 'rougeL': 24.6375, 'rougeLsum': 36.124},
           'llama2-70b-99.9': {'rouge1': 44.4312, 'rouge2': 22.0352, 'rougeL': 28.6162},
           'gpt-oss-120b': {'exact_match': 83.13}}
GEN_LEN = {'llama3.1-8b': 8167644, 'llama3.1-8b-edge': 3051113}  # characters; 90 % to 110 %
TOKENS = {'llama2-70b-99.9': 294.45}  # a sample; 90 % to 110 %
SHARE = {'llama2-70b-99.9': 0.999}  # of the targets; 0.99 of the others'
TEST07 = 60.698
KINDS = ['rouge1', 'rouge2', 'rougeL', 'rougeLsum']


class Words:
    """rouge-score's own tokenizer leaves out what is not a-z and 0-9, so all of Korean; this one does not."""

    def tokenize(self, text):
        return re.findall(r'[^\W_]', text) if re.search('[가-힣]', text) else re.findall(r'\w+', text.lower())


def read(folder, part, log):
    found = [f for f in glob.glob(f'{folder}/**/{log}', recursive=True) if part.startswith('TEST') or '/TEST' not in f]
    if len(found) != 1:
        sys.exit(f'{folder}: {len(found)} logs of answers ({log}), and not one')
    place = found[0][:-len(log)] + part
    with open(found[0], encoding='utf-8') as f:
        logged = {x['qsl_idx']: bytes.fromhex(x['data']) for x in json.load(f)}
    with open(f'{place}/damso_answers.jsonl', encoding='utf-8') as f:
        answers = {a['qsl_idx']: a for a in map(json.loads, f)}
    if logged.keys() != answers.keys():
        sys.exit(f'{place}: LoadGen logged {len(logged)} answers, and there are {len(answers)}')
    for i, a in answers.items():
        wide = len(logged[i]) // max(len(a['tokens']), 1)
        if wide not in (4, 8) or b''.join(t.to_bytes(wide, 'little') for t in a['tokens']) != logged[i]:
            sys.exit(f'{place}: the answer to question {i} is not what LoadGen logged')
    return place, answers


def sentences(text):
    """A line each, which ROUGE-Lsum goes by.  The reference takes NLTK's, whose data is not in its package."""
    import nltk
    return '\n'.join(nltk.sent_tokenize(text.strip()))


def rouge(bench, answers):
    from rouge_score import rouge_scorer
    english, kinds = bench in TARGETS, list(KINDS)
    if english:
        try:
            sentences('One. Two.')
        except LookupError:
            print('rougeLsum is left out: NLTK has no data here (NLTK_DATA; punkt_tab)')
            kinds.remove('rougeLsum')
    scorer = rouge_scorer.RougeScorer(kinds, use_stemmer=english, tokenizer=None if english else Words())
    split = sentences if english and 'rougeLsum' in kinds else str.strip
    sums = dict.fromkeys(kinds, 0.0)
    for i, a in answers.items():
        if a['reference'] is None:
            sys.exit(f'question {i} has no reference in the set')
        for kind, value in scorer.score(split(a['reference']), split(a['text'])).items():
            sums[kind] += value.fmeasure
    return {k: round(100 * v / len(answers), 4) for k, v in sums.items()}


def rows_of(path):
    if not path:
        sys.exit('--data FILE: the questions that the run had, with `dataset` and `ground_truth`')
    with open(path, encoding='utf-8') as f:
        text = f.read()
    return json.loads(text) if text.lstrip().startswith('[') else [json.loads(l) for l in text.splitlines()]


def exact(answers, args):
    passed = None
    if args.livecodebench:
        with open(args.livecodebench, encoding='utf-8') as f:
            passed = json.load(f)
    lines, value = mlperf_exact.score({i: a['text'] for i, a in answers.items()}, rows_of(args.data), passed)
    print('\n'.join(lines))
    return {} if value is None else {'exact_match': round(value, 3)}


def low(bench, out):
    """What misses its target, or is not there."""
    bad = [k for k, t in TARGETS.get(bench, {}).items() if not out.get(k, 0) >= SHARE.get(bench, 0.99) * t]
    if bench in GEN_LEN and not 0.9 <= out['gen_len'] / GEN_LEN[bench] <= 1.1:
        bad.append('gen_len')
    if bench in TOKENS and not 0.9 <= out['tokens_per_sample'] / TOKENS[bench] <= 1.1:
        bad.append('tokens_per_sample')
    return bad


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('dir')
    p.add_argument('--enforce', action='store_true', help='fail below the targets')
    p.add_argument('--data', help='of gpt-oss-120b: the questions, with `dataset` and `ground_truth`')
    p.add_argument('--livecodebench', metavar='FILE', help='of gpt-oss-120b: {"question": true or false}, which programs passed')
    p.add_argument('--test07', action='store_true', help='the answers of --compliance TEST07')
    args = p.parse_args()
    if args.test07:
        place, answers = read(args.dir, 'TEST07', 'TEST07/accuracy/mlperf_log_accuracy.json')
        out = exact(answers, args)
        passed = out.get('exact_match', 0) >= TEST07
        with open(f'{place}/verify_accuracy.txt', 'w', encoding='utf-8') as f:
            f.write(f"{out}\nAccuracy threshold: {TEST07}\nAccuracy check pass: {passed}\nTEST {'PASS' if passed else 'FAIL'}\n")
        print(f"{out} TEST {'PASS' if passed else 'FAIL'}")
        return int(not passed)
    place, answers = read(args.dir, 'accuracy', 'accuracy/mlperf_log_accuracy.json')
    bench = os.path.basename(os.path.dirname(os.path.dirname(place)))
    tokens = sum(len(a['tokens']) for a in answers.values())
    out = exact(answers, args) if bench == 'gpt-oss-120b' else rouge(bench, answers)
    out |= {'gen_len': sum(len(a['text'].strip()) for a in answers.values()), 'gen_num': len(answers), 'gen_tok_len': tokens,
            'tokens_per_sample': round(tokens / len(answers), 2)}
    lines = [str(out)]
    if bench not in TARGETS:
        same = sum(a['text'] == a['reference'] for a in answers.values())
        lines += [f'same {100 * same / len(answers):.1f} % to the character',
                  '(the small benchmark is not MLPerf; reference: llama.cpp with the same file)']
    bad = low(bench, out)
    if bad:
        lines.append('below its target, or not there: ' + ', '.join(bad))
    print('\n'.join(lines))
    with open(f'{place}/accuracy.txt', 'w', encoding='utf-8') as f:
        f.write('\n'.join(lines) + '\n')
    return int(args.enforce and bool(bad))


if __name__ == '__main__':
    sys.exit(main())
