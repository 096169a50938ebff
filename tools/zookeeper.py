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
    """One server in a folder. tick_ms bounds the sessions: 2 to 20 ticks."""

    def __init__(self, folder, port, tick_ms=500):
        self.folder, self.port, self.tick_ms, self.process = folder, port, tick_ms, None
        self.address = f'127.0.0.1:{port}'

    def start(self, wait_s=30):
        if self.listens():
            raise RuntimeError(f'port {self.port} is taken, by another ZooKeeper perhaps: stop it or choose another port')
        os.makedirs(self.folder, exist_ok=True)
        path = os.path.join(self.folder, 'zk.cfg')
        with open(path, 'w') as conf:
            conf.write(f'maxSessionTimeout=60000\ntickTime={self.tick_ms}\ndataDir={self.folder}/data\nclientPort={self.port}\n'
                       'clientPortAddress=127.0.0.1\nmaxClientCnxns=0\n')
        self.process = subprocess.Popen(
            ['java', '-XX:+UseSerialGC', '-Xms64m', '-Xmx256m', '-XX:TieredStopAtLevel=1',
             '-Djava.net.preferIPv4Stack=true', '-Dzookeeper.admin.enableServer=false',
             '-Dzookeeper.4lw.commands.whitelist=*', '-cp', JAR,
             'org.apache.zookeeper.server.quorum.QuorumPeerMain', path],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + wait_s
        while not self.serves():
            if time.monotonic() > end or self.process.poll() is not None:
                self.kill()
                raise RuntimeError(f'ZooKeeper did not serve on {self.address} within {wait_s} s')
            time.sleep(0.05)

    def listens(self):
        try:
            socket.create_connection(('127.0.0.1', self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def serves(self):
        try:
            with socket.create_connection(('127.0.0.1', self.port), timeout=1) as link:
                link.sendall(b'srvr')
                answer = b''
                while part := link.recv(4096):
                    answer += part
                return b'Mode:' in answer
        except OSError:
            return False

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
