#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judges the accuracy run of `damso mlperf run --accuracy`: tools/mlperf_accuracy.py DIR [--enforce].
ROUGE by the package `rouge-score`, with its stemmer, as MLPerf's reference implementations have it
(install tools/mlperf_accuracy.txt into an environment).  The answers' text must be that of the
tokens in LoadGen's own log.  Prints a line a metric and writes accuracy.txt beside the log.

For the official benchmarks the targets are those of the reference implementations; the text is
damso's, so a submission uses MLCommons' own evaluation script on the same log.  The small benchmark
has no target: it says how near damso is to llama.cpp with the same file."""
import argparse, glob, json, os, re, sys

TARGETS = {'llama3.1-8b': {'rouge1': 38.7792, 'rouge2': 15.9075, 'rougeL': 24.4957, 'rougeLsum': 35.793},
           'llama3.1-8b-edge': {'rouge1': 39.06, 'rouge2': 16.1147, 'rougeL': 24.6375, 'rougeLsum': 36.124},
           'llama2-70b': {'rouge1': 44.4312, 'rouge2': 22.0352, 'rougeL': 28.6162}}


class Words:
    """rouge-score's own tokenizer leaves out what is not a-z and 0-9, so all of Korean; this one does not."""

    def tokenize(self, text):
        return re.findall(r'[^\W_]', text) if re.search('[가-힣]', text) else re.findall(r'\w+', text.lower())


def read(folder):
    found = glob.glob(f'{folder}/**/accuracy/mlperf_log_accuracy.json', recursive=True)
    if len(found) != 1:
        sys.exit(f'{folder}: {len(found)} accuracy logs, and not one')
    place = os.path.dirname(found[0])
    with open(found[0], encoding='utf-8') as f:
        logged = {x['qsl_idx']: bytes.fromhex(x['data']) for x in json.load(f)}
    with open(f'{place}/damso_answers.jsonl', encoding='utf-8') as f:
        answers = {a['qsl_idx']: a for a in map(json.loads, f)}
    if logged.keys() != answers.keys():
        sys.exit(f'{place}: LoadGen logged {len(logged)} answers, and there are {len(answers)}')
    for i, a in answers.items():
        if b''.join(t.to_bytes(8, 'little') for t in a['tokens']) != logged[i]:
            sys.exit(f'{place}: the answer to question {i} is not what LoadGen logged')
        if a['reference'] is None:
            sys.exit(f'{place}: question {i} has no reference in the set')
    return place, answers


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('dir')
    p.add_argument('--enforce', action='store_true', help='fail below 99 %% of the targets')
    args = p.parse_args()
    from rouge_score import rouge_scorer
    place, answers = read(args.dir)
    bench = os.path.basename(os.path.dirname(os.path.dirname(place)))
    kinds = ['rouge1', 'rouge2', 'rougeL', 'rougeLsum']
    english = bench in TARGETS
    scorer = rouge_scorer.RougeScorer(kinds, use_stemmer=english, tokenizer=None if english else Words())
    sums = dict.fromkeys(kinds, 0.0)
    for a in answers.values():
        for kind, score in scorer.score(a['reference'], a['text']).items():
            sums[kind] += score.fmeasure
    n, tokens = len(answers), sum(len(a['tokens']) for a in answers.values())
    equal = sum(a['text'] == a['reference'] for a in answers.values())
    lines, low = [], False
    for kind in kinds:
        value, target = 100 * sums[kind] / n, TARGETS.get(bench, {}).get(kind)
        low |= target is not None and value < 0.99 * target
        lines.append(f'{kind} {value:.4f}' + (f' target {target} at least {0.99 * target:.4f}' if target else ''))
    lines += [f'same {100 * equal / n:.1f} % to the character', f'gen_num {n}', f'gen_len {sum(len(a["text"]) for a in answers.values())}',
              f'tokens_per_sample {tokens / n:.2f}']
    if not english:
        lines.append('(the small benchmark is not MLPerf; reference: llama.cpp with the same file)')
    print('\n'.join(lines))
    with open(f'{place}/accuracy.txt', 'w', encoding='utf-8') as f:
        f.write('\n'.join(lines) + '\n')
    return int(args.enforce and low)


if __name__ == '__main__':
    sys.exit(main())
