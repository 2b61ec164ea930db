#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The layers hold: every #include "module/..." of src/ is one that tools/layers.txt allows, names
a file that exists, and no chain of includes leads back to its start."""
import glob, os, re, sys

os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
rows = [l.split(':') for l in open('tools/layers.txt') if l.strip() and l[0] != '#']
allowed = {module.strip(): rest.split() for module, rest in rows}
includes, faults = {}, []
for path in sorted(f for ext in ('c', 'h', 'inc', 'def') for f in glob.glob(f'src/*/*.{ext}')):
    name, module = path[4:], path.split('/')[1]
    text = open(path, encoding='utf-8').read()
    includes[name] = re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.M)
    for inc in includes[name]:
        other = inc.split('/')[0]
        test = re.search(r'_(test|fuzz|check|bench)\.c$', name) and other in ('base', 'os')  # clocks, files
        if not os.path.exists('src/' + inc) and not inc.startswith('gen/'):
            faults.append(f'{path}: "{inc}" is not below src/ (write "module/file.h")')
        elif module not in allowed:
            faults.append(f'{path}: tools/layers.txt does not know the module {module}')
        elif other not in [module, *allowed[module]] and allowed[module] != ['*'] and not test:
            faults.append(f'{path}: {module} may not include {other} ({inc})')

def walk(name, chain):
    if name in chain:
        faults.append('a cycle of includes: ' + ' -> '.join(chain[chain.index(name):] + [name]))
    elif name not in done:
        done.add(name)
        for inc in includes.get(name, []):
            walk(inc, chain + [name])

done = set()
for name in includes:
    walk(name, [])
print('\n'.join(faults) or f'{len(includes)} files keep to tools/layers.txt')
sys.exit(bool(faults))
