# SPDX-License-Identifier: Apache-2.0
"""A case of tests/cluster/run about tools/cluster: ZooKeeper and brokers by one command."""
import os
import random
import re
import signal
import socket
import subprocess

from replicated import ROOT, check

COUNT = 3


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(('127.0.0.1', port)) == 0


def free_ports(count):
    """The first of so many in a row; below those that connections which go out are given, by whomever, until it is taken."""
    with open('/proc/sys/net/ipv4/ip_local_port_range') as limits:
        end = int(limits.read().split()[0])
    while True:
        first = random.randrange(end // 2, end - count)
        if not any(listens(port) for port in range(first, first + count)):
            return first


class Started:
    """tools/cluster from its start to TERM; words is what it has printed when it says how to end it."""

    def __init__(self, c, port):
        self.ports = range(port, port + COUNT + 1)
        self.process = subprocess.Popen(
            [os.path.join(ROOT, 'tools/cluster'), str(COUNT), '--port', str(port), '--zookeeper-port', str(port + COUNT), '--data-dir',
             os.path.join(c.folder, 'one-command')], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
            env={**os.environ, 'MILLRACE': c.program})
        self.words = ''
        for line in self.process.stdout:
            self.words += line
            if line.startswith('^C stops everything'):
                break

    def __enter__(self):
        if '^C stops everything' not in self.words:
            raise AssertionError(f'it ended with {self.process.wait()}: {self.words}')
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        check(code == 0, f'it ended with {code}')
        left = [pid for pid in re.findall(r'pid (\d+)', self.words) if os.path.exists(f'/proc/{pid}')]
        check(not left, f'processes {left} are left behind')
        check(not any(listens(port) for port in self.ports), 'a port is still open')


def tried(words):
    """What the commands under `Try:` print, without the last one, which kills."""
    lines = words.split('Try:\n')[1].split('\n\n')[0].splitlines()
    check(len(lines) == 6 and 'kill -9' in lines[-1], f'to try: {lines}')
    return [subprocess.run(['bash', '-c', line], cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=60).stdout.decode()
            for line in lines[:-1]]


def one_command(c):
    """tools/cluster 3: what it says to try works, TERM ends all of it, and the same command finds what was written."""
    port = free_ports(COUNT + 1)
    with Started(c, port) as started:
        told, *_, read = tried(started.words)
        check(all(str(port + i) in told.split() for i in range(COUNT)), f'brokers: {told}')
        check(len(read.splitlines()) == 1000, f'{len(read.splitlines())} records of 1000 were read')
    with Started(c, port):
        again = subprocess.run([c.program, 'consume', 'orders', '-o', 'start', '-e', '-b', f'127.0.0.1:{port}'],
                               stdout=subprocess.PIPE, check=True, timeout=60).stdout.decode()
        check(sorted(again.splitlines()) == sorted(read.splitlines()), 'the second start has other records')


CASES = (one_command,)
