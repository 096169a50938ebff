#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A consumer group at work: two consumers share the three partitions of a topic, a third joins them, one leaves.

    python3 group.py

Each line says which partitions the consumers have at that moment: every partition belongs to one of them, always.
"""

import argparse
import threading
import time

from kafka import KafkaConsumer
from producer import make_topic

PARTITIONS = 3


class Member(threading.Thread):
    """One consumer on a thread of its own. Partitions are given out while it polls."""

    def __init__(self, name, options):
        super().__init__(name=name, daemon=True)
        self.options, self.partitions, self.is_leaving = options, set(), False
        self.start()

    def run(self):
        consumer = KafkaConsumer(self.options.topic, bootstrap_servers=self.options.bootstrap_server,
                                 group_id=self.options.group, auto_offset_reset='earliest')
        while not self.is_leaving:
            consumer.poll(timeout_ms=200)
            self.partitions = {partition.partition for partition in consumer.assignment()}
        self.partitions = set()
        consumer.close()


def wait_for_share(what, members):
    """Until every partition has one owner, and every member a partition."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        owned = [partition for member in members for partition in member.partitions]
        if sorted(owned) == list(range(PARTITIONS)) and all(member.partitions for member in members):
            print(f'{what}: ' + ', '.join(f'{m.name} has {sorted(m.partitions)}' for m in members), flush=True)
            return
        time.sleep(0.1)
    raise SystemExit(f'{what}: the members did not come to share the partitions')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bootstrap-server', default='127.0.0.1:9092')
    parser.add_argument('--topic', default='shared-topic')
    parser.add_argument('--group', default='my-group')
    options = parser.parse_args()

    make_topic(options.bootstrap_server, options.topic, PARTITIONS)
    members = [Member('Anna', options), Member('Bert', options)]
    wait_for_share('two consumers', members)
    members.append(Member('Cleo', options))
    wait_for_share('a third joins', members)
    gone = members.pop(0)
    gone.is_leaving = True
    gone.join()
    wait_for_share('Anna leaves', members)
    for member in members:
        member.is_leaving = True
    for member in members:
        member.join()


if __name__ == '__main__':
    main()
