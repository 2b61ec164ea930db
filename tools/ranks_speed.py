#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One model on 2 and 4 processes, in memory and over a network of --gbit and --us, beside what `damso plan` predicts:
the table of docs/SCALE.md:
    tools/ranks_speed.py build/damso MODEL [--gbit 1] [--us 200] [--priority 50]
The network is two namespaces, each with a TUN device, and a program that passes packets on as a wire of that speed and
length would (netem, where the kernel has it, does the same).  Needs root, Open MPI and iproute2.  --priority N runs all
of it before others' programs (SCHED_FIFO), for machines that are not idle."""
import argparse, atexit, collections, ctypes, fcntl, json, os, re, select, signal, struct, subprocess, sys, tempfile, threading, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INSIDE = 'DAMSO_RANKS_INSIDE'
HOSTS = ('10.98.0.1', '10.98.0.2')
SPACES = tuple(f'damso-rank-{os.getpid()}-{i}' for i in (0, 1))
MTU = 9000
TUNSETIFF, IFF_TUN_NO_PI, CLONE_NEWNET = 0x400454ca, 0x1001, 0x40000000
# processes, stages, machines: those of a stage on one machine share its threads
WAYS = ((2, 1, 1), (2, 2, 1), (4, 1, 1), (4, 2, 1), (2, 1, 2), (2, 2, 2), (4, 1, 2), (4, 2, 2))


def run(*words, **kw):
    return subprocess.run(words, check=True, capture_output=True, text=True, **kw).stdout


def tun(i):
    """A TUN device in a namespace of its own, up; its file."""
    name = SPACES[i]
    run('ip', 'netns', 'add', name)
    atexit.register(subprocess.run, ['ip', 'netns', 'del', name])
    out = []

    def make():  # a thread may be in another namespace than its process
        with open(f'/run/netns/{name}') as ns:
            if ctypes.CDLL(None, use_errno=True).setns(ns.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), 'setns')
        fd = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack('16sH22x', b'wire', IFF_TUN_NO_PI))
        out.append(fd)
    t = threading.Thread(target=make)
    t.start()
    t.join()
    for words in ('addr add %s/24 dev wire' % HOSTS[i], f'link set wire mtu {MTU} up', 'link set lo up'):
        run('ip', '-n', name, *words.split())
    return out[0]


def relay(fds, gbit, us):
    """Passes packets on; each direction is a wire of its own."""
    ways = [(fds[0], fds[1], collections.deque()), (fds[1], fds[0], collections.deque())]
    free = [0.0, 0.0]
    while True:
        now = time.monotonic()
        due = [q[0][0] for _, _, q in ways if q]
        ready = select.select(fds, [], [], max(min(due) - now, 0) if due else 1)[0]
        now = time.monotonic()
        for i, (source, to, queue) in enumerate(ways):
            while source in ready:
                try:
                    packet = os.read(source, 65536)
                except BlockingIOError:
                    break
                free[i] = max(now, free[i]) + len(packet) * 8e-9 / gbit
                queue.append((free[i] + us * 1e-6, packet))
            while queue and queue[0][0] <= now:
                try:
                    os.write(to, queue.popleft()[1])
                except OSError:
                    pass  # lost, as on a wire that nobody listens on


def start_network(a, folder):
    """A child that passes packets on; the agent by which mpirun reaches the other machine."""
    run('ip', 'link', 'set', 'lo', 'up')  # of processes that are not over the network
    fds = [tun(0), tun(1)]
    child = os.fork()
    if not child:
        if a.priority:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(a.priority + 1))
        try:
            relay(fds, a.gbit, a.us)
        finally:
            os._exit(1)
    for fd in fds:
        os.close(fd)
    agent = f'{folder}/agent'
    with open(agent, 'w') as f:
        f.write('#!/bin/sh\nshift\nexec ip netns exec ' + SPACES[1] + ' unshare -u sh -c "hostname rank1; $*"\n')
    os.chmod(agent, 0o700)
    return child, agent


def bench(a, agent, n, stages, machines, threads, model=None, *args):
    """The rows of `damso bench --json` on n processes."""
    command = [a.damso, 'bench', '-m', model or a.model, '--json', '--runs', '5', '-t', str(threads),
               *(args or ('--prefill', '128', '--decode', '64'))]
    if a.priority:
        command = ['chrt', '-f', str(a.priority), *command]
    if n > 1:
        mpi = ['mpirun', '--oversubscribe', '--bind-to', 'none', '-n', str(n)]
        if machines > 1:
            mpi = ['ip', 'netns', 'exec', SPACES[0], *mpi, '--host', ','.join(f'{h}:{n // 2}' for h in HOSTS),
                   '--mca', 'plm_rsh_agent', agent, '--mca', 'btl_tcp_if_include', '10.98.0.0/24',
                   '--mca', 'oob_tcp_if_include', '10.98.0.0/24']
        command = [*mpi, *command, '--pipeline-parallel', str(stages)]
    env = {**os.environ, 'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1'}
    try:
        return json.loads(run(*command, env=env, timeout=600))
    except subprocess.CalledProcessError as e:
        sys.exit(f'{" ".join(command)}: {e.stderr}')


def speeds(o):
    rows = {r['work']: r['tps'] for r in o['rows'] if r['at'] == 0}
    return rows['decode'], rows['prefill']


def predicted(a, folder, base, n, stages, machines):
    """Decode and prefill of 128, tokens a second, as `damso plan` says that `damso bench` would measure them."""
    network = f',machines=2,gbit={a.swap},us={a.latency}' if machines > 1 else ',machines=1'
    kind = f'{base},tensor={n // stages},pipeline={stages}{network}'
    out = run(a.damso, 'plan', '-w', a.model, '--users', '10', '--tpot-p90', '5000', '--prompt', '128', '--answer', '64',
              '--turns', '1', '--requests', '100', '--json', kind)
    k = json.loads(out)['kinds'][0]
    assert k['bench_prefill_tokens'] == 128
    return k['bench_decode_tokens_per_s'], k['bench_prefill_tokens_per_s']


def exchange_us(a, agent):
    """Of a model that computes next to nothing: two layers of four exchanges, the logits and the telling."""
    tiny = os.path.join(ROOT, 'tests/data/arch/llama.gguf')
    decode, _ = speeds(bench(a, agent, 2, 1, 2, 1, tiny, '-c', '64', '--prefill', '16', '--decode', '32'))
    return round(1e6 / decode / (4 * 2 + 2))


SWAP = """
import socket, sys, threading, time
c = {connect}
c.setsockopt(6, 1, 1)
t = []
for _ in range(60):
    began, got = time.monotonic(), 0
    s = threading.Thread(target=c.sendall, args=(bytes({n}),))
    s.start()
    while got < {n}:
        got += len(c.recv({n} - got))
    s.join()
    t.append(time.monotonic() - began)
print(sorted(t)[30])
"""


def swap_gbit(us, n=256 << 10):
    """What both ways have when both machines send each other n bytes, over and over, as processes do for a prompt."""
    listen = f'socket.create_server(("{HOSTS[1]}", 7000)).accept()[0]'
    server = subprocess.Popen(['ip', 'netns', 'exec', SPACES[1], sys.executable, '-c', SWAP.format(connect=listen, n=n)],
                              stdout=subprocess.DEVNULL)
    connect = f'socket.create_connection(("{HOSTS[1]}", 7000))'
    for _ in range(50):
        time.sleep(0.1)
        r = subprocess.run(['ip', 'netns', 'exec', SPACES[0], sys.executable, '-c', SWAP.format(connect=connect, n=n)],
                           capture_output=True, text=True)
        if r.returncode == 0:
            break
    server.wait(10)
    return round(n * 8e-9 / (float(r.stdout) - us * 1e-6), 2)


def main(a):
    with tempfile.TemporaryDirectory() as folder:
        child, agent = start_network(a, folder)
        try:
            a.latency = exchange_us(a, agent) if a.latency is None else a.latency
            a.swap = swap_gbit(a.latency)
            print(f'# {a.latency} us an exchange, {a.swap} Gbit/s each way; load {os.getloadavg()[0]:.1f}', flush=True)
            base = {}
            for threads in (1, 2):
                o = bench(a, agent, 1, 1, 1, threads)
                base[threads] = f'{folder}/{threads}.json'
                with open(base[threads], 'w') as f:
                    json.dump(o, f)
                d, p = speeds(o)
                print(f'| 1, {threads} threads | | {d:.0f} | | {p:.0f} | |', flush=True)
            for n, stages, machines in WAYS:
                d, p = speeds(bench(a, agent, n, stages, machines, 1))
                together = min(n // stages, os.cpu_count())  # processes of a stage compute at once, on this one machine
                pd, pp = predicted(a, folder, base[together], n, stages, machines)
                print(f'| {n}, {stages} stages | {"memory" if machines == 1 else "network"} | {d:.0f} | {pd:.0f} | {p:.0f} | '
                      f'{pp:.0f} |', flush=True)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


parser = argparse.ArgumentParser()
parser.add_argument('damso', type=os.path.abspath)
parser.add_argument('model')
parser.add_argument('--gbit', type=float, default=1)
parser.add_argument('--us', type=float, default=200, help='how long the wire is')
parser.add_argument('--latency', type=int, help='microseconds of an exchange for the prediction; else measured')
parser.add_argument('--priority', type=int, default=0)
asked = parser.parse_args()
if INSIDE not in os.environ:
    if os.geteuid() != 0:
        sys.exit('root is needed for network namespaces')
    os.environ[INSIDE] = '1'  # namespaces of our own, so that nothing of the machine's is touched
    os.execvp('unshare', ['unshare', '-n', '-m', sys.executable, *sys.argv])
main(asked)
