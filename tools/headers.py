#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each header of src/ compiles by itself: tools/headers.py BUILD_FOLDER, whose
compile_commands.json gives compiler and flags."""
import glob, json, os, platform, shlex, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
entry = next(c for c in json.load(open(f'{sys.argv[1]}/compile_commands.json'))
             if c['file'].endswith('src/base/err.c'))
words = shlex.split(entry['command'])
keep = [w for w in words[1:words.index('-o')] if w[:2] in ('-I', '-D', '-W') or w[:4] == '-std']
keep += [a for i, w in enumerate(words) if w == '-isystem' for a in (w, words[i + 1])]
if platform.machine() in ('x86_64', 'AMD64'):  # kernel headers hold inline vector code
    keep += ['-mavx2', '-mfma', '-mf16c', '-mbmi2', '-mavx512f', '-mavx512bw', '-mavx512vl',
             '-mavx512dq', '-mavx512vnni']


def check(header):
    run = subprocess.run([words[0], *keep, '-Wno-unused', '-Wno-unused-function', '-fsyntax-only',
                          '-x', 'c', '-include', header, '/dev/null'],
                         capture_output=True, text=True)
    return f'{header} does not stand alone:\n{run.stderr}' if run.returncode else ''


headers = sorted(glob.glob('src/*/*.h'))
with ThreadPoolExecutor(2) as pool:
    faults = [f for f in pool.map(check, headers) if f]
print('\n'.join(faults) or f'{len(headers)} headers stand alone')
sys.exit(bool(faults))
