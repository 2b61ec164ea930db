#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How much faster eight replicas are than one, and how much of the prompts each knows: replicas that are paced as a
simulated chip behind HAProxy, conversations of several turns.  Prints the rows of docs/SCALE.md:
    DAMSO_TEST_MODELS=FOLDER tools/replicas_speed.py build/damso [--replicas 8] [--model FILE]
The chip is an L4 whose host takes --step-ms for each step, so that this machine can play all of them; a model of few
weights (tools/make_model.py) leaves it more room.  A replica writes --parallel answers at a time, and twice as many
clients ask for each, so that it has always work and the total is what the replicas can do."""
import argparse, http.client, json, os, re, sys, tempfile, threading, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, f'{ROOT}/tests')
from replicas import Cluster
from served import SMALL

WORDS = 'river stone lamp paper engine cloud bridge garden letter copper window forest signal harbour market'.split()


def chip(folder, step_ms):
    with open(f'{ROOT}/chips/l4.yaml') as f:
        text = re.sub(r'us: \{value: 30,', f'us: {{value: {step_ms * 1000},', f.read().replace('name: l4', 'name: slow'))
    path = f'{folder}/slow.yaml'
    with open(path, 'w') as f:
        f.write(text)
    return path


class User(threading.Thread):
    """One conversation after the other; what was written and known is counted as it ends."""

    def __init__(self, cluster, number, go, turns, answer):
        super().__init__(daemon=True)
        self.cluster, self.number, self.go, self.turns, self.answer = cluster, number, go, turns, answer
        self.done, self.errors, self.seed = [], 0, number * 7919 + 1  # done: (when, prompt, known, written)
        self.start()

    def words(self, n):
        out = []
        for _ in range(n):
            self.seed = (self.seed * 6364136223846793005 + 1442695040888963407) % 2**64
            out.append(WORDS[(self.seed >> 33) % len(WORDS)])
        return ' '.join(out)

    def ask(self, messages, key):
        c = http.client.HTTPConnection('127.0.0.1', self.cluster.port, timeout=120)
        try:
            c.request('POST', '/v1/chat/completions', json.dumps(
                {'model': 'x', 'messages': messages, 'max_tokens': self.answer, 'ignore_eos': True, 'temperature': 0}),
                {'Content-Type': 'application/json', 'X-Damso-Conversation': key})
            r = c.getresponse()
            got = json.loads(r.read())
            if r.status != 200:
                raise OSError(got)
            return got
        finally:
            c.close()

    def run(self):
        n = 0
        while self.go.is_set():
            messages, n = [], n + 1
            for _ in range(self.turns):
                messages.append({'role': 'user', 'content': self.words(60)})
                try:
                    got = self.ask(messages, f'{self.number}-{n}')
                except (OSError, http.client.HTTPException, ValueError):
                    self.errors += 1
                    break
                messages.append({'role': 'assistant', 'content': got['choices'][0]['message']['content']})
                u = got['usage']
                known = u.get('prompt_tokens_details', {}).get('cached_tokens', 0)
                self.done.append((time.monotonic(), u['prompt_tokens'], known, u['completion_tokens']))
                if not self.go.is_set():
                    return


def cpu_seconds():
    """Of the whole machine, busy."""
    with open('/proc/stat') as f:
        t = [int(x) for x in f.readline().split()[1:]]
    return (sum(t[:3]) + sum(t[5:8])) / os.sysconf('SC_CLK_TCK')


def measure(a, n, device):
    cluster = Cluster(os.path.abspath(a.damso), '--device', device, '--clock', 'paced', '--numerics', 'native',
                      '--parallel', str(a.parallel), '--threads', '1', '--speculate', 'off', n=n, model=a.model,
                      env={'DAMSO_CTX': '2048'})
    go = threading.Event()
    go.set()
    users = [User(cluster, i, go, a.turns, a.answer) for i in range(2 * a.parallel * n)]
    time.sleep(a.warm)
    began, busy = time.monotonic(), cpu_seconds()
    time.sleep(a.seconds)
    ended, busy = time.monotonic(), cpu_seconds() - busy
    go.clear()
    late = sum(r.server.gauge('damso_sim_late_steps_total') for r in cluster.replicas)
    steps = sum(r.server.gauge('damso_steps_total') for r in cluster.replicas)
    each = [r.server.gauge('damso_step_rows_total') for r in cluster.replicas]
    for u in users:
        u.join(120)
    done = [d for u in users for d in u.done if began <= d[0] <= ended]
    prompt, known, written = (sum(d[i] for d in done) for i in (1, 2, 3))
    row = {'replicas': n, 'tokens_per_s': written / (ended - began), 'known': known / prompt, 'requests': len(done),
           'errors': sum(u.errors for u in users), 'late_steps': late, 'steps': steps,
           'busiest': max(each) / (sum(each) / n) if sum(each) else None,
           'cpu_busy': busy / (ended - began) / os.cpu_count(), 'exits': cluster.close()}
    print(json.dumps(row), flush=True)
    return row


parser = argparse.ArgumentParser()
parser.add_argument('damso')
parser.add_argument('--replicas', type=int, default=8)
parser.add_argument('--model', default=SMALL)
parser.add_argument('--parallel', type=int, default=4)
parser.add_argument('--step-ms', type=int, default=60)
parser.add_argument('--turns', type=int, default=5)
parser.add_argument('--answer', type=int, default=24)
parser.add_argument('--warm', type=float, default=20)
parser.add_argument('--seconds', type=float, default=60)
asked = parser.parse_args()
with tempfile.TemporaryDirectory() as folder:
    path = chip(folder, asked.step_ms)
    one, many = measure(asked, 1, path), measure(asked, asked.replicas, path)
print(f'| {asked.replicas} replicas | {many["tokens_per_s"]:.1f} tokens/s, one {one["tokens_per_s"]:.1f}: '
      f'{many["tokens_per_s"] / one["tokens_per_s"]:.2f} times | known {100 * many["known"]:.1f} %, '
      f'one {100 * one["known"]:.1f} % | load {os.getloadavg()[0]:.1f} |')
