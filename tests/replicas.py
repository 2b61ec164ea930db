# SPDX-License-Identifier: MIT
"""Replicas of damso, three or as many as are wanted, on one PostgreSQL behind HAProxy with deploy/haproxy/haproxy.cfg,
each with a link to the database that can be cut, in network namespaces of their own where that is asked for;
clients that count what was acknowledged.  For tests/replicas_test.py, tools/replicas.py, tools/replicas_speed.py."""
import atexit, http.client, json, os, re, select, shutil, signal, socket, subprocess, sys, tempfile, threading, time

from served import SMALL, Postgres, Server, until

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
JSON = {'Content-Type': 'application/json'}


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Link(threading.Thread):
    """A way to the database.  Cut, it neither passes anything on nor says that it does not."""

    def __init__(self, port, host='127.0.0.1'):
        super().__init__(daemon=True)
        self.to, self.cut = port, False
        self.listener = socket.create_server((host, 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        pairs = {}
        while True:
            for s in select.select([self.listener, *pairs], [], [], 0.05)[0]:
                if self.cut:
                    time.sleep(0.02)
                elif s is self.listener:
                    self.open(pairs)
                elif s in pairs:
                    self.move(pairs, s)

    def open(self, pairs):
        a = self.listener.accept()[0]
        try:
            b = socket.create_connection(('127.0.0.1', self.to))
        except OSError:
            a.close()
            return
        pairs[a], pairs[b] = b, a

    def move(self, pairs, s):
        try:
            data = s.recv(65536)
            if data:
                pairs[s].sendall(data)
                return
        except OSError:
            pass
        for one in (s, pairs[s]):
            pairs.pop(one)
            one.close()


class Space:
    """A network namespace with one wire into ours, which has a bridge for them.  The wire can be cut: `ip link set
    down`, which tells nobody.  Ours is to be one of its own (tools/replicas.py), so that nothing is left behind."""
    n = 0
    bridge = '10.99.0.1'

    @staticmethod
    def begin():
        ip('link', 'set', 'lo', 'up')
        ip('link', 'add', 'damso', 'type', 'bridge')
        ip('addr', 'add', f'{Space.bridge}/24', 'dev', 'damso')
        ip('link', 'set', 'damso', 'up')

    def __init__(self):
        Space.n += 1
        self.name, self.wire, self.host = f'damso-{os.getpid()}-{Space.n}', f'wire{Space.n}', f'10.99.0.{Space.n + 1}'
        ip('netns', 'add', self.name)
        atexit.register(subprocess.run, ['ip', 'netns', 'del', self.name])
        ip('link', 'add', self.wire, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', self.name)
        ip('link', 'set', self.wire, 'master', 'damso')
        ip('link', 'set', self.wire, 'up')
        for words in (['link', 'set', 'lo', 'up'], ['addr', 'add', f'{self.host}/24', 'dev', 'eth0'],
                      ['link', 'set', 'eth0', 'up']):
            ip('-n', self.name, *words)

    def set_cut(self, cut):
        ip('link', 'set', self.wire, 'down' if cut else 'up')


def ip(*words):
    subprocess.run(['ip', *words], check=True)


class Replica:
    """One that can be killed, paused, cut off and started again on its port."""

    def __init__(self, damso, database, postgres_port, *args, model=SMALL, space=None, env={}):
        self.link = Link(postgres_port, Space.bridge if space else '127.0.0.1')
        self.damso, self.args, self.model, self.env = damso, args, model, env
        self.port, self.folder, self.space = free_port(), tempfile.mkdtemp(), space
        self.host, self.server = space.host if space else '127.0.0.1', None
        to = Space.bridge if space else '127.0.0.1'
        self.store = f'postgres://damso:pw@{to}:{self.link.port}/{database}?sslmode=disable'
        if space:  # exec keeps the process: signals reach the server
            self.damso, self.args = f'{self.folder}/damso', (*args, '--host', '0.0.0.0', '--proxy', 'on')
            with open(self.damso, 'w') as f:
                f.write(f'#!/bin/sh\nexec ip netns exec {space.name} {damso} "$@"\n')
            os.chmod(self.damso, 0o700)

    def start(self):
        self.server = Server(self.damso, '-m', self.model, '--port', str(self.port), '--threads', '2', *self.args,
                             folder=self.folder, **{'DAMSO_STORE': self.store, **self.env})
        return self

    def cut(self, cut):
        """The wire of its namespace, which clients need, too; or its link to the database."""
        if self.space:
            self.space.set_cut(cut)
        else:
            self.link.cut = cut

    def signal(self, number):
        self.server.process.send_signal(number)

    def kill(self):
        self.server.kill()

    def close(self):
        status = self.server.close()
        shutil.rmtree(self.folder)
        return status


def proxy_config(n, path):
    """deploy/haproxy/haproxy.cfg; for other than three replicas with other lines of servers, at `path`."""
    deployed = f'{ROOT}/deploy/haproxy/haproxy.cfg'
    if n == 3:
        return deployed
    with open(deployed) as f, open(path, 'w') as out:
        for line in f:
            if m := re.match(r'    server r(\d) "\$\{DAMSO_\d\}"$', line):
                if m[1] == '1':
                    out.writelines(f'    server r{i} "${{DAMSO_{i}}}"\n' for i in range(1, n + 1))
            else:
                out.write(line)
    return path


class Cluster:
    """PostgreSQL, replicas, HAProxy."""

    def __init__(self, damso, *args, n=3, spaces=False, **replica):
        self.folder = tempfile.mkdtemp()
        Postgres.one = Postgres.one or Postgres()
        self.database = database = Postgres.one.database(self.folder).rsplit('/', 1)[1]
        self.postgres = Postgres.one
        if spaces:
            Space.begin()
        self.headers = JSON | ({'Authorization': f'Bearer {self.new_key(damso)}'} if spaces else {})
        self.replicas = [Replica(damso, database, self.postgres.port, *args, space=Space() if spaces else None,
                                 **replica) for _ in range(n)]
        threads = [threading.Thread(target=r.start) for r in self.replicas]  # all at once: one makes the tables
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.proxies, self.admins = [], []
        self.port, self.admin = self.add_proxy()

    def add_proxy(self):
        """One more HAProxy before all of them: its port and its socket for operators."""
        n, port, admin = len(self.replicas), free_port(), f'{self.folder}/admin{len(self.proxies)}'
        env = {'DAMSO_LISTEN': f'127.0.0.1:{port}', 'DAMSO_ADMIN': admin, 'PATH': os.environ['PATH'],
               **{f'DAMSO_{i + 1}': f'{r.host}:{r.port}' for i, r in enumerate(self.replicas)}}
        config = proxy_config(n, f'{self.folder}/haproxy.cfg')
        proxy = subprocess.Popen(['haproxy', '-db', '-f', config], env=env, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        self.proxies.append(proxy)
        self.admins.append(admin)
        until(lambda: os.path.exists(admin) or proxy.poll() is not None)
        until(lambda: self.up(admin) == n)
        return port, admin

    def new_key(self, damso):
        """Servers that other machines reach want one."""
        return subprocess.run([damso, 'key', 'add', 'clients', '--store', f'postgres://damso:pw@127.0.0.1:{self.postgres.port}/'
                               f'{self.database}?sslmode=disable'], capture_output=True, text=True, check=True,
                              env={'PATH': os.environ['PATH'], 'HOME': self.folder}).stdout.strip()

    def stat(self, admin, column):
        """What a HAProxy says of each replica."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(admin)
            s.sendall(b'show stat\n')
            rows = b''.join(iter(lambda: s.recv(65536), b'')).decode().splitlines()
        names = rows[0][2:].split(',')
        table = [dict(zip(names, r.split(','))) for r in rows[1:] if r]
        return [r[column] for r in table if r['pxname'] == 'replicas' and r['svname'] != 'BACKEND']

    def states(self, admin=None):
        """UP, DOWN, NOLB (drained by its own word)."""
        return [s.split()[0] for s in self.stat(admin or self.admin, 'status')]

    def is_quiet(self):
        """All replicas are there, and no HAProxy has a request under way that it would spread others for."""
        return all(set(self.states(a)) == {'UP'} and not any(map(int, self.stat(a, 'scur'))) for a in self.admins)

    def sql(self, text):
        url = f'postgres://damso:pw@127.0.0.1:{self.postgres.port}/{self.database}'
        return subprocess.run(['psql', '-qAt', url, '-c', text], check=True, capture_output=True,
                              text=True).stdout.removesuffix('\n')

    def up(self, admin=None):
        return self.states(admin).count('UP')

    def close(self):
        for proxy in self.proxies:
            proxy.terminate()
            proxy.wait()
        ends = [r.close() for r in self.replicas]
        shutil.rmtree(self.folder)
        return ends


class Client(threading.Thread):
    """Asks one question after the other in a chat of its own, through the proxy, as long as `go` is set."""

    def __init__(self, cluster, number, go, look=0.4):
        super().__init__(daemon=True)
        self.cluster, self.number, self.go, self.look = cluster, number, go, look
        self.chat, self.acknowledged, self.tried, self.errors = None, [], 0, []
        self.good_at = self.began = 0  # when the last good request began; when the present one did
        self.start()

    def call(self, method, path, body=None):
        c = http.client.HTTPConnection('127.0.0.1', self.cluster.port, timeout=60)
        try:
            c.request(method, '/api/v1' + path, json.dumps(body) if body is not None else None,
                      self.cluster.headers)
            r = c.getresponse()
            data = r.read()
            if r.status != 200:
                raise OSError(f'{r.status} {data[:200]}')
            return json.loads(data)
        finally:
            c.close()

    def turn(self):
        if not self.chat:
            self.chat = self.call('POST', '/chats', {})['id']
        self.tried += 1
        content = f'client {self.number}, question {self.tried}: say a word'
        got = self.call('POST', f'/chats/{self.chat}/messages',
                        {'content': content, 'parent': None, 'options': {'temperature': 0, 'max_tokens': 3}})
        self.acknowledged.append((got['user']['id'], content, got['answer']['id']))

    def answered(self):
        """Waits for the answer, so that nobody asks for more than there is."""
        last = self.acknowledged[-1][2]
        while self.go.is_set():
            whole = self.call('GET', f'/chats/{self.chat}')
            if all(m['status'] != 'running' for m in whole['messages'] if m['id'] == last):
                return
            time.sleep(self.look)

    def run(self):
        while self.go.is_set():
            self.began = time.monotonic()
            try:
                self.turn()
                self.good_at = self.began
                self.answered()
            except (OSError, http.client.HTTPException, ValueError) as e:
                self.errors.append((self.began, time.monotonic(), str(e)))
            time.sleep(0.1)


def run_clients(cluster, n, look=0.4):
    go = threading.Event()
    go.set()
    return [Client(cluster, i, go, look) for i in range(n)], go


def back(clients, since, seconds=30):
    """Seconds until all clients have had an answer to a request that began after `since`."""
    until(lambda: all(c.good_at > since for c in clients), seconds)
    return time.monotonic() - since


def check_kept(clients):
    """Nothing acknowledged is lost, nothing is there twice; how many questions there are."""
    n = 0
    for c in clients:
        if not c.chat:
            continue
        whole = c.call('GET', f'/chats/{c.chat}')
        contents = [m['content'] for m in whole['messages'] if m['role'] == 'user']
        ids = {m['id']: m for m in whole['messages']}
        assert len(set(contents)) == len(contents), f'twice: {contents}'
        assert len(ids) == len(whole['messages'])
        for user, content, answer in c.acknowledged:
            assert user in ids and ids[user]['content'] == content, f'lost: {content}'
            assert answer in ids and ids[answer]['parent'] == user, f'lost: the answer to {content}'
        n += len(contents)
    return n
