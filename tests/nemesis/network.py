# SPDX-License-Identifier: Apache-2.0
"""A network of its own for a cluster: each host in a network namespace, all on one bridge, and cuts in one direction.

The namespaces are those of a process that `unshare` has started (alone()): they are nobody else's, need no root where
users may have namespaces, and end with it. A cut gives a host a false hardware address of another one, so that what it
sends there is delivered to nobody and nobody tells it: no packet filter is needed, and the other direction goes on.
"""
import collections
import os
import subprocess
import sys

HUB = 254  # the bridge: where the clients are
NOBODY = '02:00:00:00:00:ff'
UNSHARE = ['unshare', '--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child']


def alone(command):
    """The command that runs this one in namespaces of its own."""
    return [*UNSHARE, *([] if os.geteuid() == 0 else ['--map-root-user']), *command]


def missing():
    """Why there can be no such network here, as a sentence; None when there can."""
    try:
        probe = subprocess.run(alone([sys.executable, '-B', os.path.abspath(__file__)]), capture_output=True, text=True)
    except FileNotFoundError:
        return 'there is no unshare: apt-get install util-linux'
    return None if probe.returncode == 0 else 'no network namespaces here: ' + (probe.stderr.strip() or 'no reason').splitlines()[-1]


def ip(*words):
    try:
        done = subprocess.run(['ip', *words], capture_output=True, text=True)
    except FileNotFoundError:
        raise RuntimeError('there is no ip: apt-get install iproute2') from None
    if done.returncode:
        raise RuntimeError(f'ip {" ".join(words)}: {done.stderr.strip()}')


def address(number):
    return f'10.0.0.{number}'


def inside(number):
    """The command that runs another one at this host."""
    return ['ip', 'netns', 'exec', f'host{number}']


class Network:
    """Hosts by number, the hub too; cuts are pairs (from, to)."""

    def __init__(self, numbers):
        self.cuts = collections.Counter()
        os.makedirs('/run/netns', exist_ok=True)
        subprocess.run(['mount', '-t', 'tmpfs', 'none', '/run/netns'], check=True)
        ip('link', 'set', 'lo', 'up')
        ip('link', 'add', 'hub', 'type', 'bridge')
        ip('address', 'add', address(HUB) + '/24', 'dev', 'hub')
        ip('link', 'set', 'hub', 'up')
        for number in numbers:
            self.add(number)

    @staticmethod
    def add(number):
        name = f'host{number}'
        ip('netns', 'add', name)
        ip('link', 'add', f'port{number}', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
        ip('link', 'set', f'port{number}', 'master', 'hub', 'up')
        ip('-n', name, 'address', 'add', address(number) + '/24', 'dev', 'eth0')
        ip('-n', name, 'link', 'set', 'lo', 'up')
        ip('-n', name, 'link', 'set', 'eth0', 'up')

    @staticmethod
    def neighbour(verb, source, target, *words):
        where, device = ((), 'hub') if source == HUB else (('-n', f'host{source}'), 'eth0')
        ip(*where, 'neigh', verb, address(target), *words, 'dev', device)

    def cut(self, pairs):
        """What is sent from the first of a pair to the second is lost, until heal() was called as often."""
        for pair in pairs:
            self.cuts[pair] += 1
            if self.cuts[pair] == 1:
                self.neighbour('replace', *pair, 'lladdr', NOBODY, 'nud', 'permanent')

    def heal(self, pairs):
        for pair in pairs:
            self.cuts[pair] -= 1
            if self.cuts[pair] == 0:
                self.neighbour('del', *pair)


def prove():
    """Makes the smallest of them; fails where that is not possible."""
    network = Network([1, 2])
    network.cut([(1, 2)])
    subprocess.run([*inside(1), 'true'], check=True)


if __name__ == '__main__':
    try:
        prove()
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        sys.exit(str(error))
