#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The house rules that a program can check: format, sizes of functions and files, leftovers,
licence lines, tabs, addresses of package registries, Python that compiles."""
import os, re, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FUNCTION_MAX, FILE_MAX = 70, 800
EXEMPT = re.compile(r'^src/kern/.*_(avx2|avx512|avx512vnni|neon)\.c$|\.def$|_table\.c$')
LEFTOVER = re.compile(r'\b(TO' r'DO|FIX' r'ME|XX' r'X)\b')
REGISTRY = re.compile(r'py' r'pi\.org|python' r'hosted\.org|registry\.np' r'mjs\.org|'
                      r'(deb|security|ftp)\.deb' r'ian\.org|proxy\.gol' r'ang\.org|crat' r'es\.io')
MUST_SPDX = re.compile(r'^(src|tools|tests|web/src)/.*\.(c|h|inc|py|sh|cmake|mjs|ts|css)$')
NO_TEXT = re.compile(r'^tests/(corpus|data|golden)/|\.(png|webp|ico|woff2?|gguf|npy|bin)$|'
                     r'(^|/)package-lock\.json$')
# These macros evaluate what they are given twice.
TWICE = re.compile(r'\b(MIN|MAX)\([^;]*?(\+\+|--)')
faults = []


def git_files():
    """What is, or would be, in the repository; a plain folder without git is walked."""
    try:
        out = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard', '-z'],
                             capture_output=True, check=True).stdout.decode()
        return sorted(f for f in out.split('\0') if f and os.path.isfile(f))
    except (OSError, subprocess.CalledProcessError):
        skip = re.compile(r'^\./(build|models|\.git|\.venv|.*node_modules)')
        return sorted(os.path.join(d, f)[2:] for d, _, names in os.walk('.') if not skip.match(d)
                      for f in names)


def check_functions(path, lines):
    start = None
    for i, line in enumerate(lines, 1):
        if line.startswith('{'):
            start = i
        elif line.startswith('}') and start:
            if i - start + 1 > FUNCTION_MAX:
                faults.append(f'{path}:{start}: a function of {i - start + 1} lines (at most '
                              f'{FUNCTION_MAX})')
            start = None


def check_text(path):
    try:
        text = open(path, encoding='utf-8').read()
    except UnicodeDecodeError:
        faults.append(f'{path}: not UTF-8')
        return
    lines = text.split('\n')
    c_file = path.endswith(('.c', '.h', '.inc')) and not EXEMPT.search(path)
    if MUST_SPDX.match(path) and not any('SPDX-License-Identifier: MIT' in l for l in lines[:2]):
        faults.append(f'{path}:1: begins without its SPDX-License-Identifier line')
    if c_file and len(lines) - 1 > FILE_MAX:
        faults.append(f'{path}: {len(lines) - 1} lines (at most {FILE_MAX})')
    if c_file:
        check_functions(path, lines)
    for i, line in enumerate(lines, 1):
        if LEFTOVER.search(line):
            faults.append(f'{path}:{i}: left over: {line.strip()[:60]}')
        if REGISTRY.search(line):
            faults.append(f'{path}:{i}: the address of a package registry')
        if c_file and TWICE.search(line):
            faults.append(f'{path}:{i}: MIN and MAX evaluate their arguments twice')
        if '\t' in line and path != 'Makefile':
            faults.append(f'{path}:{i}: a tab')
        if line.endswith((' ', '\r')) and not path.endswith('.md'):
            faults.append(f'{path}:{i}: ends in white space')
    if path.endswith('.py'):
        try:
            compile(text, path, 'exec')
        except SyntaxError as error:
            faults.append(f'{path}:{error.lineno}: {error.msg}')


def check_format(paths):
    run = subprocess.run(['clang-format-14', '--dry-run', '-Werror', '--ferror-limit=1', *paths],
                         capture_output=True, text=True)
    faults.extend(l for l in run.stderr.split('\n') if ': error:' in l)
    if run.returncode and not run.stderr:
        faults.append('clang-format-14 failed')


files = [f for f in git_files() if not NO_TEXT.search(f)]
for f in files:
    check_text(f)
c_files = [f for f in files if f.startswith(('src/', 'tests/')) and f.endswith(('.c', '.h'))]
with ThreadPoolExecutor(2) as pool:
    list(pool.map(check_format, [c_files[0::2], c_files[1::2]]))
print('\n'.join(faults) or f'{len(files)} files are tidy')
sys.exit(bool(faults))
