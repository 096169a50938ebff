# SPDX-License-Identifier: Apache-2.0
"""Clients that believe nobody: whoever leads by what metadata says, each broker is sent records (acks=all) for each partition,
and asked for all records and for the ends. A former leader that does not know it yet is so asked as long as it lives.

    insist.py TOPIC PARTITIONS FILE NODE=HOST:PORT...     until its standard input ends

What was done and seen is appended to FILE (history.py).
"""
import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), 'interop')]
sys.dont_write_bytecode = True
import history  # noqa: E402
import wire  # noqa: E402

TIMEOUT_S = 3
NOT_ENOUGH_REPLICAS = 19  # nothing was written; every other error leaves that open


class Client:
    """A thread that speaks to one broker, and connects again after every loss."""

    def __init__(self, node, address, topic, log):
        self.node, self.address, self.topic, self.log, self.link, self.going = node, address, topic, log, None, True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while self.going:
            try:
                if not self.link:
                    self.link = wire.Connection(self.address, TIMEOUT_S)
                pause_s = self.turn()
            except (OSError, wire.Closed):
                if self.link:
                    self.link.socket.close()
                self.link, pause_s = None, 0.1
            time.sleep(pause_s)

    def end(self):
        self.going = False
        self.thread.join()


class Writer(Client):
    """One record after another to one partition. A value is sent once."""

    def __init__(self, partition, *rest):
        self.partition, self.count = partition, 0
        super().__init__(*rest)

    def turn(self):
        name = f'insists-{self.node}-{self.partition}'
        value, self.count, began, offset = f'{name}:{self.count}', self.count + 1, time.monotonic(), history.UNSURE
        try:
            error, base = wire.produce(self.link, self.topic, self.partition, wire.batch([value.encode()]))
            offset = base if error == 0 else history.REFUSED if error == NOT_ENOUGH_REPLICAS else history.UNSURE
        finally:
            self.log.add(history.Write(name, self.partition, value, began, time.monotonic(), offset, self.node, False))
        return 0.05 if error == 0 else 0.1


class Reader(Client):
    """All records of all partitions that this broker tells, and the ends."""

    def __init__(self, partitions, *rest):
        self.position = dict.fromkeys(range(partitions), 0)
        super().__init__(*rest)

    def turn(self):
        for partition, position in self.position.items():
            error, _, _, data = wire.fetch(self.link, self.topic, partition, position, wait_ms=0)
            found = [entry for entry in wire.values(data) if entry[0] >= position] if error == 0 else []
            if found:
                self.log.add(*(history.Read(f'reader-{self.node}', partition, offset, value.decode()) for offset, _, value in found))
                self.position[partition] = found[-1][0] + 1
            error, _, end = wire.list_offset(self.link, self.topic, partition, -1)
            if error == 0:
                self.log.add(history.End(self.node, partition, time.monotonic(), end))
        return 0.1


def main():
    topic, partitions, path, *brokers = sys.argv[1:]
    log, clients = history.Recorder(path), []
    for broker in brokers:
        node, _, address = broker.partition('=')
        host, port = address.rsplit(':', 1)
        rest = (int(node), (host, int(port)), topic, log)
        clients += [Writer(partition, *rest) for partition in range(int(partitions))] + [Reader(int(partitions), *rest)]
    sys.stdin.read()
    for client in clients:
        client.going = False
    for client in clients:
        client.end()


if __name__ == '__main__':
    main()
