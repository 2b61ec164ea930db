#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The official submission checker, and the official verdicts on compliance runs, over what `damso mlperf run` left.

    tools/mlperf_check.py --inference CHECKOUT DIR...

CHECKOUT is a checkout of mlcommons/inference, which brings the checker (tools/submission) and the scripts
(compliance); they need numpy and pyyaml.  DIR are folders of --out; they are put together, and not changed: answers'
logs are cut short in a copy, as the rules have it.  Prints what the checker says in error, its results, and for each
compliance run its official verdict beside ours.  Exits with 0 when the checker is content and the verdicts agree."""
import argparse, glob, os, re, shutil, subprocess, sys, tempfile


def run(*command, cwd):
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True)


def official(args, test, folder, tmp):
    """What compliance/TESTnn/run_verification.py says of the logs in `folder`."""
    logs, out = f'{tmp}/logs', f'{tmp}/out'
    for d in (logs, out):
        shutil.rmtree(d, ignore_errors=True)
        os.makedirs(d)
    for path in glob.glob(f'{folder}/performance/run_1/*') + glob.glob(f'{folder}/accuracy/*'):
        shutil.copy(path, logs)
    script, scenario = f'{args.inference}/compliance/{test}/run_verification.py', os.path.basename(os.path.dirname(folder))
    more = {'TEST01': ['-r', os.path.dirname(folder), '--dtype', 'int64'], 'TEST06': ['-s', scenario, '-d', 'int64', '-e', str(args.eos)],
            'TEST09': ['--audit-config', f'{folder}/audit.config']}[test]
    r = run(script, '-c', logs, '-o', out, *more, cwd=tmp)
    said = r.stdout + r.stderr
    for path in glob.glob(f'{out}/{test}/verify_*.txt'):
        with open(path, encoding='utf-8') as f:
            said += f.read()
    return r.returncode == 0 and 'False' not in said and 'TEST FAIL' not in said and 'failed' not in said, said


def ours(folder):
    said = ''
    for path in glob.glob(f'{folder}/verify_*.txt'):
        with open(path, encoding='utf-8') as f:
            said += f.read()
    return bool(said) and 'False' not in said and 'TEST FAIL' not in said and 'failed' not in said


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--inference', required=True)
    p.add_argument('--version', default='v6.1')
    p.add_argument('--eos', type=int, default=2, help="the model's end token [2]")
    p.add_argument('dirs', nargs='+', metavar='DIR')
    args = p.parse_args()
    args.inference = os.path.abspath(args.inference)
    bad = 0
    with tempfile.TemporaryDirectory() as tmp:
        tree, cut = f'{tmp}/tree', f'{tmp}/cut'
        for d in args.dirs:
            for division in ('open', 'closed'):
                if os.path.isdir(f'{d}/{division}'):
                    shutil.copytree(f'{d}/{division}', f'{tree}/{division}', dirs_exist_ok=True)
        if not os.path.isdir(tree):
            sys.exit('no folder of `damso mlperf run`: neither open/ nor closed/ in it')
        for folder in sorted(glob.glob(f'{tree}/*/*/results/*/*/*/TEST0[169]')):
            test = os.path.basename(folder)
            theirs, said = official(args, test, folder, tmp)
            print(f"{'/'.join(folder.split('/')[-4:])}: official {'passed' if theirs else 'FAILED'}, damso {'passed' if ours(folder) else 'FAILED'}")
            bad += theirs != ours(folder)
            if theirs != ours(folder):
                print(said)
        for submitter in sorted({os.path.basename(x) for x in glob.glob(f'{tree}/*/*')}):
            r = run(f'{args.inference}/tools/submission/truncate_accuracy_log.py', '--input', tree, '--submitter', submitter, '--output', cut, cwd=tmp)
            if r.returncode:
                print(r.stderr[-2000:])
                bad += 1
        r = run('-m', 'submission_checker.main', '--input', cut, '--version', args.version, '--csv', f'{tmp}/summary.csv',
                cwd=f'{args.inference}/tools/submission')
        for line in (r.stdout + r.stderr).splitlines():
            if re.search(r'ERROR|WARNING|Error|Results|Closed|Open|SUMMARY', line) and 'Loading' not in line:
                print(line.replace(tmp, ''))
    return int(bool(bad) or r.returncode != 0)


if __name__ == '__main__':
    sys.exit(main())
