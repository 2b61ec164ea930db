# SPDX-License-Identifier: MIT
"""tools/mlperf_exact.py: which answers of gpt-oss-120b are right, by the rules of MLPerf's reference implementation."""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'tools'))
from mlperf_exact import letter, number, right, score

ANALYSIS = '<|channel|>analysis<|message|>Answer: A? No. \\boxed{7}<|end|><|start|>assistant'
FINAL = ANALYSIS + '<|channel|>final<|message|>'
LETTERS = {'B': 'B', '**C**': 'C', '(d) because': 'D', 'Answer: B': 'B', 'The answer.\nAnswer: **D**': 'D', "['A']": 'A', '': None, 'E': None,
           FINAL + '**B**<|return|>': 'B', FINAL + 'I say\nAnswer: C.': 'C', '<|channel|>final 明<|message|>D': 'D', 'Beta': None,
           'so FINAL ANSWER = (C)\n': 'C', 'ANSWER: A\nno, ANSWER: B': 'A', 'Choice (A': None}
NUMBERS = {'\\boxed{42}': 42, '\\boxed{1} then \\boxed{ 204 }': 204, 'Answer: 17': 17, 'answer: 3.5': None, '\\boxed{1000}': None, '42': None,
           '\\boxed{x}': None, 'Answer: 007': 7, FINAL + '\\boxed{12}': 12}


def main():
    for text, want in LETTERS.items():
        assert letter(text) == want, (text, letter(text), want)
    for text, want in NUMBERS.items():
        assert number(text) == want, (text, number(text), want)
    assert right('gpqa_diamond', 'b', 'B') and not right('gpqa_diamond', '', 'B')
    assert right('aime25', '\\boxed{7}', '7') and not right('aime25', '\\boxed{7}', None)
    rows = [{'dataset': 'aime25', 'ground_truth': '7'}] * 8 + [{'dataset': 'gpqa_diamond', 'ground_truth': 'A'}] * 5
    answers = {i: '\\boxed{7}' if i < 4 else 'A' if i >= 10 else 'no' for i in range(13)}
    lines, value = score(answers, rows)
    assert abs(value - 100 * (4 / 8 + 3 / 5) / 2) < 1e-9, (lines, value)  # each set weighs as one question
    coded = rows + [{'dataset': 'livecodebench_v6', 'ground_truth': 'x'}] * 3
    more = {**answers, 13: 'a', 14: 'b', 15: 'c'}
    assert score(more, coded)[1] is None  # programs were not run
    lines, value = score(more, coded, {'13': True, '14': False, '15': True})
    assert abs(value - 100 * (4 / 8 + 3 / 5 + 2 / 3) / 3) < 1e-9, (lines, value)
    try:
        score({0: 'x'}, [{'dataset': 'riddles', 'ground_truth': 'x'}])
        raise AssertionError('a set without a rule was scored')
    except ValueError as e:
        assert 'riddles' in str(e)
    print('ok')


if __name__ == '__main__':
    main()
