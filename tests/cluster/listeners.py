# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/cluster/run about brokers that have a listener for themselves (inter.broker.listener.name)."""
import os
import re

import broker as brokers
import hints
import wire
from nodes import Chroot, Cluster, check
from replicated import await_full_sets, read, replicated

CLUSTER_AUTHORIZATION_FAILED = 31


def epoch_of(c, node):
    """Of a broker's registration, as the controller has told."""
    return int(re.findall(rf'cluster\.broker_up node={node} epoch=(\d+)', c.log(c.controller(node)))[-1])


def listener_of_brokers(c):
    """Clients are told the addresses of the listener that they came to; replicas are filled, though a broker's questions are
    refused on the clients' listener, whatever epoch they name."""
    inside = {node: ('127.0.0.1', brokers.free_port()) for node in c.address}
    own = Cluster(os.path.join(c.folder, 'listeners'), Chroot(c.zookeeper, '/listeners'),
                  {node: ('127.0.0.1', brokers.free_port()) for node in c.address})
    for node, address in inside.items():
        own.more[node] = ['--listen', 'INSIDE://%s:%d' % address, '--override', 'inter.broker.listener.name=INSIDE', '--override',
                          'listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT']
    try:
        for node in own.address:
            own.start(node)
        own.all_see(list(own.address))
        for addresses in (own.address, inside):
            with wire.Connection(addresses[1]) as link:
                told = wire.metadata(link)[1]
            check(told == addresses, f'a client of {addresses[1]} is told of {told}')
        topic = replicated(own, 'inside')
        values = sorted(f'v{i:03}' for i in range(300))
        own.produce(1, topic, values)
        await_full_sets(own, topic)
        check(sorted(value for _, _, value in read(own, 2, topic)) == values, 'not all came back')
        controller = own.controller(1)
        asker = next(node for node in own.address if node != controller)
        for addresses, wanted in ((own.address, CLUSTER_AUTHORIZATION_FAILED), (inside, 0)):
            error = hints.alter_partition(addresses[controller], asker, epoch_of(own, asker))
            check(error == wanted, f'AlterPartition at {addresses[controller]} answers {error}')
    finally:
        codes = own.stop()
    check(set(codes.values()) == {0}, f'they ended with {codes}')


CASES = (listener_of_brokers,)
