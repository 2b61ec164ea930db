# SPDX-License-Identifier: MIT
"""Exact match of gpt-oss-120b, by the rules of MLPerf's reference implementation (mlcommons/inference at b66003e1,
language/gpt-oss-120b: which part of an answer counts, how a letter or a number is found in it, how the sets are
weighed).  LiveCodeBench is scored by running programs that a model wrote: not by this file, which takes a list of
which answers passed."""
import re

# Each question is asked so many times; a set's score is what was right, divided by it.
REPEATS = {'aime25': 8, 'gpqa_diamond': 5, 'livecodebench_v6': 3}
# What stands before the final answer: analysis that may name other answers.  The mark may be broken.
FINAL = re.compile(r'<\|channel\|>final[^<]*<\|message\|>(.*?)(?:<\|return\|>|$)', re.DOTALL)


def final(text):
    found = FINAL.search(text)
    return found.group(1).strip() if found else text


def letter(text):
    """A to D: at the beginning of the final part, after "Answer" in it, or after the last ANSWER of the whole."""
    text = text.strip()
    part = re.sub(r'\*\*([^*]+)\*\*', r'\1', final(text))
    if part[:2] in ("['", '["') and part[-2:] in ("']", '"]'):
        part = part[2:-2].strip()
    part, whole = (s.replace('\\n', '\n').replace("\\'", "'") for s in (part, text))
    found = re.match(r'[^a-zA-Z]*([A-D])(?:[^a-zA-Z]|$)', part.strip(), re.I) or re.search(r'\bAnswer\s*[:.]?\s*([A-D])\b', part, re.I)
    if found:
        return found.group(1).upper()
    last = None
    for last in re.finditer(r'\b(?:FINAL\s*)?ANSWER\b\s*[:=]?\s*(?:\(?\s*([A-D])\s*\)?)(?:\s*$|[^A-Za-z])', whole, re.I):
        pass
    return last.group(1).upper() if last else None


def number(text):
    """0 to 999: in the last box, else after the last "Answer:"."""
    found = re.findall(r'\\boxed{\s*(\d+)\s*}', text) or re.findall(r'Answer:\s*(\d+)(?!\.)\b', text, re.I)
    return int(found[-1]) if found and int(found[-1]) <= 999 else None


def right(name, text, truth):
    if 'gpqa' in name:
        return letter(text) is not None and letter(text) == str(truth).strip().upper()
    if 'aime' in name:
        try:
            return number(text) is not None and number(text) == int(truth)
        except (TypeError, ValueError):
            return False
    raise ValueError(f'there is no rule for the set {name!r}')


def score(answers, rows, passed=None):
    """answers: question -> text; rows: of the data set, in order; passed: question -> bool, of LiveCodeBench.
    Gives lines for people, and the score in percent, None when LiveCodeBench is not in it."""
    sets, lines, whole = {}, [], True
    for i in sorted(answers):
        name = str(rows[i]['dataset']).lower()
        if 'livecodebench' in name:
            if passed is None:
                whole = False
                continue
            ok = bool(passed.get(i, passed.get(str(i))))
        else:
            ok = right(name, answers[i], rows[i].get('ground_truth'))
        n = sets.setdefault(name, [0, 0])
        n[0] += ok
        n[1] += 1
    got = most = 0.0
    for name, (n_right, n) in sorted(sets.items()):
        repeats = REPEATS.get(name, 1)
        got, most = got + n_right / repeats, most + n / repeats
        lines.append(f'{name}: {n_right} of {n}, each asked {repeats} times')
    value = 100 * got / most if most else 0.0
    if not whole:
        lines.append(f'without LiveCodeBench, which was not run (--livecodebench): {value:.3f}; that is not the score')
    return lines, value if whole else None
