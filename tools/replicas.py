#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Three replicas behind HAProxy with many clients, and what may happen to them; prints the table of docs/SCALE.md:
    DAMSO_TEST_MODELS=FOLDER tools/replicas.py build/damso [--clients 200] [--model FILE] [--spaces]
Needs PostgreSQL and haproxy (tests/postgres.sh install).  --spaces: each replica in a network namespace of its own,
with a wire that is cut, and a database whose disk gets full; needs root.  --busy N: before that, for a minute, N
programs compute beside all of it; prints the oldest sign of life that another replica would have seen."""
import argparse, atexit, os, shutil, signal, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'tests'))
from replicas import Cluster, back, check_kept, run_clients
from served import MODELS, SMALL, Postgres, until

DISK_MB = 400
INSIDE = 'DAMSO_REPLICAS_INSIDE'


class Rate(threading.Thread):
    """Questions that were acknowledged, counted twice a second."""

    def __init__(self, clients):
        super().__init__(daemon=True)
        self.clients, self.seen = clients, []
        self.start()

    def run(self):
        while True:
            self.seen.append((time.monotonic(), sum(len(c.acknowledged) for c in self.clients)))
            time.sleep(0.5)

    def of(self, since, until_):
        """A second, between two times."""
        within = [s for s in self.seen if since <= s[0] <= until_]
        return (within[-1][1] - within[0][1]) / (within[-1][0] - within[0][0]) if len(within) > 1 else 0

    def full_after(self, began, before, seconds=2):
        """When, after `began`, so many seconds first had 9 tenths of the rate of before."""
        for t, _ in self.seen:
            if t >= began + seconds and self.of(t - seconds, t) >= 0.9 * before:
                return t - seconds - began
        return None


class FullDisk:
    """The disk of the database, on which somebody writes until nothing is left."""

    def __init__(self, folder):
        self.path = f'{folder}/pg/filler'

    def fill(self):
        with open(self.path, 'wb', buffering=0) as f:
            try:
                while f.write(b'x' * (1 << 20)):
                    pass
            except OSError:
                pass

    def free(self):
        os.remove(self.path)


def small_disk():
    """A database on a file system of DISK_MB, which goes however this program ends."""
    disk = tempfile.mkdtemp()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={DISK_MB}m', 'none', disk], check=True)
    atexit.register(os.rmdir, disk)
    atexit.register(subprocess.run, ['umount', '-l', disk])
    folder = f'{disk}/database'
    os.mkdir(folder)
    return Postgres(folder)


def oldest_beat(cluster, clients, busy, seconds=60):
    """The oldest sign of life of any replica while `busy` programs compute, in seconds, and the errors of clients."""
    began = time.monotonic()
    programs = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(busy)]
    try:
        said = cluster.sql('DO $$BEGIN CREATE TEMP TABLE ages (age float8); FOR i IN 1..%d LOOP INSERT INTO ages SELECT '
                           'extract(epoch FROM clock_timestamp() - max(beat)) FROM beats WHERE beat > now() - '
                           "interval '1 hour' GROUP BY id; PERFORM pg_sleep(0.02); END LOOP; END$$; "
                           'SELECT max(age), count(*) FROM ages' % (seconds * 50))
    finally:
        for p in programs:
            p.kill()
            p.wait()
    load, errors = os.getloadavg()[0], sum(e[1] >= began for c in clients for e in c.errors)
    return *said.split('|'), load, errors


def stay(seconds, begin, end):
    """A fault that is there for so long and then ends by itself."""
    def both():
        begin()
        time.sleep(seconds)
        end()
    return both


def faults_of(cluster, a):
    x, y, z = cluster.replicas
    yield 'kill -9 of a replica', y.kill, y.start
    yield 'SIGSTOP of a replica', lambda: x.signal(signal.SIGSTOP), lambda: x.signal(signal.SIGCONT)
    yield ('wire of a replica cut' if a.spaces else 'link to the database cut'), lambda: z.cut(True), lambda: z.cut(False)
    yield 'database killed and restarted', cluster.postgres.restart, lambda: None
    if a.spaces:
        disk = FullDisk(cluster.postgres.folder)
        yield 'disk of the database full for 10 s', stay(10, disk.fill, disk.free), lambda: None


def suffer(name, begin, end, cluster, clients, rate):
    time.sleep(6)
    now = time.monotonic()
    before = rate.of(now - 6, now)
    began = time.monotonic()
    begin()
    over = time.monotonic()  # a fault that ends by itself: from then on
    took = back(clients, over + 0.01, 180)
    time.sleep(6)
    full = rate.full_after(over, before)
    end()
    until(lambda: cluster.up() == 3, 120)
    errors = [e for x in clients for e in x.errors if e[1] >= began]
    late = max((e[1] - over for e in errors), default=0)
    kinds = sorted({e[2][:60] for e in errors})
    print(f'| {name} | {took:.1f} s | {"-" if full is None else f"{full:.1f} s"} | {before:.1f} | {len(errors)}, '
          f'{max(late, 0):.1f} s |  {kinds[:4]}', flush=True)


def main(a):
    model = a.model if os.path.exists(a.model) else f'{MODELS}/{a.model}.gguf'
    if not os.path.exists(model):
        sys.exit(f'{a.model}: no such file, and DAMSO_TEST_MODELS is {MODELS or "not set"}')
    Postgres.one = small_disk() if a.spaces else Postgres()
    cluster = Cluster(os.path.abspath(a.damso), '--linger', '3', '--drain', '60', spaces=a.spaces, model=a.model)
    clients, go = run_clients(cluster, a.clients, a.look)
    rate = Rate(clients)
    alone = back(clients, time.monotonic(), 180)
    print(f'{a.clients} clients; a round of all takes {alone:.1f} s; load {os.getloadavg()[0]:.1f}\n'
          '| fault | every client has an answer after | nine tenths of the questions a second after | of | errors, the last '
          'after |', flush=True)
    try:
        if a.busy:
            age, n, load, errors = oldest_beat(cluster, clients, a.busy)
            print(f'{a.busy} programs beside it, load {load:.1f}: the oldest sign of life was {float(age):.2f} s old, of {n} '
                  f'looks; {errors} errors', flush=True)
        for fault in faults_of(cluster, a):
            suffer(*fault, cluster, clients, rate)
    finally:
        go.clear()
        for x in clients:
            x.join(60)
    kept = check_kept(clients)
    print(f'{sum(len(x.acknowledged) for x in clients)} acknowledged, {kept} kept, none lost, none twice; '
          f'exit statuses {cluster.close()}')


parser = argparse.ArgumentParser()
parser.add_argument('damso')
parser.add_argument('--clients', type=int, default=200)
parser.add_argument('--model', default=SMALL)
parser.add_argument('--look', type=float, default=0.4, help='seconds between looks of a client whether its answer is there')
parser.add_argument('--spaces', action='store_true')
parser.add_argument('--busy', type=int, default=0, help='programs that compute beside it for a minute')
asked = parser.parse_args()
if asked.spaces and INSIDE not in os.environ:
    if os.geteuid() != 0 or not shutil.which('ip'):
        sys.exit('--spaces needs root and `ip` (Debian: iproute2)')
    os.environ[INSIDE] = '1'  # namespaces of our own, so that nothing of the machine's is touched
    os.execvp('unshare', ['unshare', '-n', '-m', sys.executable, *sys.argv])
main(asked)
