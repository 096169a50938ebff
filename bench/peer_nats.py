# SPDX-License-Identifier: Apache-2.0
"""NATS with JetStream beside the cell `small` of bench/peer: single messages of 1 KiB from four asynchronous publishers into one
stream on disk, by NATS's own `nats bench`. Both come from Go's module proxy and are built once."""

import os
import re
import subprocess
import time

from peer_brokers import Broker, clients, free_port

SERVER, TOOL = 'github.com/nats-io/nats-server/v2@v2.15.2', 'github.com/nats-io/natscli/nats@v0.5.0'
VERSION = SERVER.rsplit('@v')[1]
TOLD = re.compile(r'aggregated stats: ([\d,]+) msgs/sec')
PUBLISHERS, BYTES = 4, 1024


def installed():
    go = clients.tool('go')

    def recipe(folder):
        env = {**os.environ, 'GOBIN': folder, 'CGO_ENABLED': '0'}
        for package in (SERVER, TOOL):
            clients.run_logged([go, 'install', package], 'install.log', env=env)
    return clients.once('nats', recipe, [__file__])


class Nats(Broker):
    name = 'nats'
    modes = {'no fsync': '2m', 'fsync': 'always'}  # sync_interval; two minutes is its default

    def __init__(self, folder, options):
        super().__init__(folder)
        self.programs, self.seconds = installed(), options.seconds

    def start(self, mode):
        self.port = self.port or free_port()
        path = os.path.join(self.folder, 'nats.conf')
        with open(path, 'w') as file:
            file.write(f'listen: 127.0.0.1:{self.port}\njetstream {{ store_dir: "{self.data}", sync_interval: {self.modes[mode]} }}\n')
        self.spawn([os.path.join(self.programs, 'nats-server'), '-c', path])

    def publish(self, messages):
        """Messages per second."""
        command = [os.path.join(self.programs, 'nats'), '-s', f'nats://127.0.0.1:{self.port}', 'bench', 'js', 'pub', 'async', 'bench', '--create',
                   '--maxbytes', '16GB', '--clients', PUBLISHERS, '--size', BYTES, '--msgs', messages, '--no-progress']
        for _ in range(100):
            self.check()
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
            told = TOLD.search(done.stdout)
            if told:
                return float(told[1].replace(',', ''))
            time.sleep(0.1)  # it does not listen yet
        raise RuntimeError(f'nats bench: {done.stdout}{done.stderr}')

    def measured(self, mode):
        """For about as long as other cells take."""
        self.clear()
        self.start(mode)
        try:
            warm = self.publish(20_000)
            os.sync()
            return self.publish(max(10_000, int(warm * self.seconds)))
        finally:
            self.stop()
            self.clear()
