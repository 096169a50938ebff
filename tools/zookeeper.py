# SPDX-License-Identifier: Apache-2.0
"""Debian's ZooKeeper (libzookeeper-java) on this machine: for tools/cluster and the tests of clusters."""

import os
import signal
import socket
import subprocess
import time

JAR = '/usr/share/java/zookeeper.jar'


def missing():
    """What is not installed, as a sentence; None when all is there."""
    try:
        subprocess.run(['java', '-version'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return 'there is no Java: apt-get install default-jre-headless'
    return None if os.path.exists(JAR) else f'{JAR} is not there: apt-get install libzookeeper-java'


class ZooKeeper:
    """One server in a folder. tick_ms bounds the sessions: 2 to 20 ticks. Of an ensemble: hosts are all of its servers,
    itself included; `before` is a command that runs it (ip netns exec NAME)."""

    def __init__(self, folder, port, tick_ms=500, host='127.0.0.1', hosts=(), before=()):
        self.folder, self.host, self.port, self.tick_ms, self.process = folder, host, port, tick_ms, None
        self.hosts, self.before = hosts, before
        self.address = f'{host}:{port}'

    def start(self, wait_s=30):
        self.launch()
        self.await_serving(wait_s)

    def configure(self):
        os.makedirs(os.path.join(self.folder, 'data'), exist_ok=True)
        path = os.path.join(self.folder, 'zk.cfg')
        with open(path, 'w') as conf:
            conf.write(f'maxSessionTimeout=60000\ntickTime={self.tick_ms}\ndataDir={self.folder}/data\nclientPort={self.port}\n'
                       f'clientPortAddress={self.host}\nmaxClientCnxns=0\ninitLimit=10\nsyncLimit=4\n')
            conf.writelines(f'server.{number}={host}:2888:3888\n' for number, host in enumerate(self.hosts, 1))
        if self.hosts:
            with open(os.path.join(self.folder, 'data', 'myid'), 'w') as myid:
                myid.write(str(self.hosts.index(self.host) + 1))
        return path

    def launch(self):
        if self.listens():
            raise RuntimeError(f'port {self.port} is taken, by another ZooKeeper perhaps: stop it or choose another port')
        path = self.configure()
        with open(os.path.join(self.folder, 'log'), 'ab') as log:
            self.process = subprocess.Popen(
                [*self.before, 'java', '-XX:+UseSerialGC', '-Xms64m', '-Xmx256m', '-XX:TieredStopAtLevel=1',
                 '-Djava.net.preferIPv4Stack=true', '-Dzookeeper.admin.enableServer=false',
                 '-Dzookeeper.4lw.commands.whitelist=*', '-cp', JAR,
                 'org.apache.zookeeper.server.quorum.QuorumPeerMain', path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def await_serving(self, wait_s=30):
        end = time.monotonic() + wait_s
        while not self.serves():
            if time.monotonic() > end or self.process.poll() is not None:
                self.kill()
                raise RuntimeError(f'ZooKeeper did not serve on {self.address} within {wait_s} s')
            time.sleep(0.05)

    def listens(self):
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def mode(self):
        """standalone, leader or follower; None: it serves nobody."""
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as link:
                link.sendall(b'srvr')
                answer = b''
                while part := link.recv(4096):
                    answer += part
        except OSError:
            return None
        return next((line.split()[1] for line in answer.decode().splitlines() if line.startswith('Mode:')), None)

    def serves(self):
        return self.mode() is not None

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()


class Ensemble:
    """Several servers that are one ZooKeeper: one on each of these hosts; before(host) is a command that runs it."""

    def __init__(self, folder, port, hosts, before):
        self.servers = [ZooKeeper(os.path.join(folder, host), port, 500, host, hosts if len(hosts) > 1 else (), before(host))
                        for host in hosts]
        self.address = ','.join(server.address for server in self.servers)

    def start(self, wait_s=60):
        for server in self.servers:
            server.launch()
        for server in self.servers:
            server.await_serving(wait_s)

    def leader(self):
        """The server that leads, or is alone; None while there is none."""
        return next((server for server in self.servers if server.mode() in ('leader', 'standalone')), None)

    def kill(self):
        for server in self.servers:
            server.kill()
