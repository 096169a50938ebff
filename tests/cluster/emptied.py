# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/cluster/run about a ZooKeeper that comes back without its data, or with older data: no broker goes on as if
nothing had been, each says what to do, and with the data back everything is there."""
import os
import shutil
import time

import broker as brokers
from nodes import check
from replicated import await_full_sets, read, replicated


class Data:
    """What ZooKeeper keeps on its disk; it is down where this is changed."""

    def __init__(self, c):
        self.c, self.path = c, os.path.join(c.zookeeper.folder, 'data')

    def copy(self, name):
        shutil.copytree(self.path, f'{self.path}-{name}')

    def replace(self, name=None):
        """By a copy, or by nothing."""
        shutil.rmtree(self.path)
        if name:
            shutil.copytree(f'{self.path}-{name}', self.path)

    def forget(self, name):
        shutil.rmtree(f'{self.path}-{name}', ignore_errors=True)


def filled(c, name):
    topic = replicated(c, name)
    values = sorted(f'{name}-{i:03}' for i in range(300))
    c.produce(1, topic, values)
    await_full_sets(c, topic)
    return topic, values


def kill_all(c):
    """Brokers, then ZooKeeper."""
    for node in list(c.running):
        brokers.kill(c.running.pop(node))
    c.zookeeper.kill()


def all_stop(c, words):
    """Those who run when ZooKeeper is there again end; and nobody starts."""
    since = {node: len(c.log(node)) for node in c.running}
    c.zookeeper.start()
    for node in list(c.running):
        c.ends_saying(node, words, since[node])
    for node in c.address:
        c.refuses(node, words)


def all_back(c, topic, values):
    for node in c.address:
        c.start(node)
    c.all_see(list(c.address))
    await_full_sets(c, topic)
    got = sorted(value for _, _, value in read(c, 1, topic))
    check(got == values, f'{len(got)} of {len(values)} records are there')


def store_emptied(c):
    """While brokers run: each ends and says so. While they are stopped: none starts."""
    topic, values = filled(c, 'store-emptied')
    data = Data(c)
    c.zookeeper.kill()
    data.copy('kept')
    try:
        data.replace()
        all_stop(c, 'its metadata store is empty; restore the metadata from a copy')
        c.zookeeper.kill()
        data.replace('kept')
        c.zookeeper.start()
    finally:
        data.forget('kept')
    all_back(c, topic, values)


def store_set_back(c):
    """To a copy that knows nothing of a topic: its logs are not taken for those of a deleted one."""
    filled(c, 'store-set-back-older')
    data = Data(c)
    try:
        kill_all(c)
        data.copy('older')
        c.zookeeper.start()
        for node in c.address:
            c.start(node)
        topic, values = filled(c, 'store-set-back-newer')
        time.sleep(0.5)  # brokers note how far they have followed five times a second
        kill_all(c)
        data.copy('newer')
        data.replace('older')
        all_stop(c, 'was applied here: the store has lost entries; restore it from a copy that is not older')
        c.zookeeper.kill()
        data.replace('newer')
        c.zookeeper.start()
    finally:
        data.forget('older')
        data.forget('newer')
    all_back(c, topic, values)


CASES = (store_emptied, store_set_back)
