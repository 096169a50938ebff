# SPDX-License-Identifier: Apache-2.0
"""Questions of tests/cluster in newer versions than wire.py speaks, by the schema (tests/oracle/frames.py), and a producer that
does as it is told: one record after another to one partition with acks=all, and when a broker says who leads by now (KIP-951:
Produce 10), there at once. What it saw of a change of leaders is the longest time between two acknowledgements.
"""
import os
import sys
import threading
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, part) for part in ('interop', 'oracle')]
import frames  # noqa: E402
import wire  # noqa: E402

PRODUCE_VERSION = 10
PAUSE_S = 0.005  # after a broker that is not there, or does not know


def ask(link, name, version, tree):
    api = frames.APIS[name]
    tags = b'\0' if frames.flexible_at(api.request, version) else b''  # of the header
    reader = link.call(api.key, version, tags + frames.encode(api.request, version, tree))
    return api.answer(version, reader.data)[1]


def ask_once(address, name, version, tree):
    with wire.Connection(address) as link:
        return ask(link, name, version, tree)


def produce(link, topic, partition, data):
    """(error, the leader it names or -1, {node: address})."""
    answer = ask(link, 'produce', PRODUCE_VERSION, {
        'acks': -1, 'timeout_ms': 10_000,
        'topic_data': [{'name': topic, 'partition_data': [{'index': partition, 'records': data}]}]})
    told = answer['responses'][0]['partition_responses'][0]
    nodes = {node['node_id']: (node['host'], node['port']) for node in answer['node_endpoints']}
    return told['error_code'], told['current_leader'].get('leader_id', -1), nodes


def alter_partition(address, broker, epoch):
    """The error of a wish for no sets at all in this broker's name."""
    return ask_once(address, 'alter_partition', 3, {'broker_id': broker, 'broker_epoch': epoch})['error_code']


def controlled_shutdown(address, broker, epoch):
    return ask_once(address, 'controlled_shutdown', 3, {'broker_id': broker, 'broker_epoch': epoch})['error_code']


def reassign(address, topic, partition, replicas):
    answer = ask_once(address, 'alter_partition_reassignments', 0, {
        'timeout_ms': 10_000,
        'topics': [{'name': topic, 'partitions': [{'partition_index': partition, 'replicas': replicas}]}]})
    return answer['error_code'] or answer['responses'][0]['partitions'][0]['error_code']


class Producer:
    """Runs from the start to end(); acked() hears of each acknowledgement."""

    def __init__(self, addresses, topic, partition, acked=lambda: None):
        self.addresses, self.topic, self.partition, self.acked = dict(addresses), topic, partition, acked
        self.sent, self.hints, self.acked_at, self.going = 0, 0, [], True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def leader(self):
        for address in self.addresses.values():
            try:
                with wire.Connection(address, 2) as link:
                    leader = wire.metadata(link, [self.topic])[2][self.topic][1][self.partition][1]
                if leader in self.addresses:
                    return self.addresses[leader]
            except (OSError, KeyError, wire.Closed):
                continue
        return None

    def run(self):
        address = link = None
        while self.going:
            try:
                if not link:
                    address = address or self.leader()
                    link = wire.Connection(address, 5) if address else None
                if not link:
                    time.sleep(PAUSE_S)
                    continue
                data = wire.batch([b'%08d' % self.sent])
                error, leader, nodes = produce(link, self.topic, self.partition, data)
            except (OSError, wire.Closed):
                address = link = None
                time.sleep(PAUSE_S)
                continue
            if error == 0:
                self.sent += 1
                self.acked_at.append(time.monotonic())
                self.acked()
                time.sleep(0.001)
                continue
            link.socket.close()
            link, address = None, nodes.get(leader)
            self.hints += address is not None
            if not address:
                time.sleep(PAUSE_S)

    def gap_s(self, since):
        """The longest time without an acknowledgement from that moment on."""
        times = [since] + [at for at in self.acked_at if at > since] + ([time.monotonic()] if self.going else [])
        return max(later - earlier for earlier, later in zip(times, times[1:]))

    def end(self):
        self.going = False
        self.thread.join()
