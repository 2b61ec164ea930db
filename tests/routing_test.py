#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What of prompts is known where three replicas, paced as a simulated chip, stand behind HAProxy with deploy/'s
configuration: as much as on one server, since a conversation's key leads to who knows it: tests/routing_test.py DAMSO.
One request at a time, and counts alone: tools/replicas_speed.py measures the same under load."""
import http.client, json, os, shutil, sys, unittest

from replicas import Cluster
from served import MODELS, until

DAMSO = os.path.abspath(sys.argv.pop(1))
CHIP = ('--device', 'l4', '--clock', 'paced', '--numerics', 'native', '--threads', '1', '--speculate', 'off')
CONVERSATIONS, TURNS, WORDS = 9, 4, 'river stone lamp paper engine cloud bridge garden letter copper window'.split()
if os.environ.get('DAMSO_TEST_POSTGRES') == 'off' or not shutil.which('haproxy') or not MODELS:
    print('needs PostgreSQL, haproxy and DAMSO_TEST_MODELS', file=sys.stderr)
    sys.exit(77)


def question(conversation, turn):
    return ' '.join(WORDS[(7 * i * (conversation + 2) + 3 * i * i + turn) % len(WORDS)] for i in range(60))


def ask(port, messages, key):
    c = http.client.HTTPConnection('127.0.0.1', port, timeout=120)
    c.request('POST', '/v1/chat/completions', json.dumps(
        {'model': 'x', 'messages': messages, 'max_tokens': 4, 'ignore_eos': True, 'temperature': 0}),
        {'Content-Type': 'application/json', 'X-Damso-Conversation': key})
    r = c.getresponse()
    got = json.loads(r.read())
    c.close()
    assert r.status == 200, got
    return got


def talk(cluster, ports, first, key_of):
    """[(tokens of the prompt, of them known)] of each turn of conversations side by side, in order of turns, which go
    to one proxy after the other.  first: the number of the first conversation, so that others say something else."""
    said, out = [[] for _ in range(CONVERSATIONS)], []
    for turn in range(TURNS):
        for n, messages in enumerate(said):
            messages.append({'role': 'user', 'content': question(first + n, turn)})
            until(cluster.is_quiet)
            got = ask(ports[turn % len(ports)], messages, key_of(n, turn))
            messages.append({'role': 'assistant', 'content': got['choices'][0]['message']['content']})
            u = got['usage']
            out.append((u['prompt_tokens'], u['prompt_tokens_details']['cached_tokens']))
    return out


def share(turns):
    return sum(t[1] for t in turns) / sum(t[0] for t in turns)


class Routing(unittest.TestCase):
    def answers(self, n, *ways):
        """What talks come to, one after the other, on n replicas, behind two proxies where there are several; and the
        rows that each of the replicas had."""
        cluster = Cluster(DAMSO, *CHIP, n=n, env={'DAMSO_CTX': '2048'})
        try:
            ports = [cluster.port] if n == 1 else [cluster.port, cluster.add_proxy()[0]]
            told = [talk(cluster, ports, i * CONVERSATIONS, way) for i, way in enumerate(ways)]
            return told, [r.server.gauge('damso_step_rows_total') for r in cluster.replicas]
        finally:
            self.assertEqual(cluster.close(), [0] * n)

    def test_as_much_is_known_as_on_one(self):
        by_key, another = (lambda n, turn: f'conversation {n}'), (lambda n, turn: f'of turn {turn} of {n}')
        (alone,), _ = self.answers(1, by_key)
        (many, scattered), rows = self.answers(3, by_key, another)
        self.assertEqual([t[0] for t in alone], [t[0] for t in many])  # the same answers
        self.assertTrue(all(rows), rows)
        print(f'known: {100 * share(alone):.1f} % on one, {100 * share(many):.1f} % on three')
        self.assertLess(abs(share(alone) - share(many)), 0.05)
        for before, now in zip(many, many[CONVERSATIONS:]):  # all that was read before, but for a page
            self.assertGreaterEqual(now[1], before[0] - 64, (before, now))
        self.assertLess(share(scattered), share(many) - 0.1)  # it is the key that does it


if __name__ == '__main__':
    unittest.main()
