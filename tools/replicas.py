#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Three replicas behind HAProxy with many clients, and what may happen to them; prints the table of docs/SCALE.md:
    DAMSO_TEST_MODELS=FOLDER tools/replicas.py build/damso [CLIENTS]        (200)
Needs PostgreSQL and haproxy (tests/postgres.sh install)."""
import os, signal, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'tests'))
from replicas import Cluster, back, check_kept, run_clients
from served import until


def rate(clients, seconds):
    """Questions a second that are acknowledged."""
    before = sum(len(c.acknowledged) for c in clients)
    time.sleep(seconds)
    return (sum(len(c.acknowledged) for c in clients) - before) / seconds


def main():
    damso, n = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200
    cluster = Cluster(damso, '--linger', '3', '--drain', '60')
    a, b, c = cluster.replicas
    clients, go = run_clients(cluster, n)
    alone = back(clients, time.monotonic(), 120)
    print(f'{n} clients; a round of all takes {alone:.1f} s, {rate(clients, 10):.1f} questions/s')
    faults = [
        ('kill -9 of a replica', b.kill, b.start),
        ('SIGSTOP of a replica', lambda: a.signal(signal.SIGSTOP), lambda: a.signal(signal.SIGCONT)),
        ('link to the database cut', lambda: setattr(c.link, 'cut', True), lambda: setattr(c.link, 'cut', False)),
        ('database killed and restarted', cluster.postgres.restart, lambda: None)]
    try:
        for name, begin, end in faults:
            began = time.monotonic()
            begin()
            took = back(clients, began + 0.01, 120)
            after = rate(clients, 5)
            end()
            until(lambda: cluster.up() == 3, 120)
            errors = [e for x in clients for e in x.errors if e[1] >= began]
            late = max((e[1] - began for e in errors), default=0)
            print(f'| {name} | {took:.1f} s | {len(errors)} errors, the last after {late:.1f} s | {after:.1f}/s |')
    finally:
        go.clear()
        for x in clients:
            x.join(60)
    kept = check_kept(clients)
    print(f'{sum(len(x.acknowledged) for x in clients)} acknowledged, {kept} kept, none lost, none twice; '
          f'exit statuses {cluster.close()}')


main()
