# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/cluster/run about what is deleted, and made again by the same name, while one of its brokers is down."""
import broker as brokers
import wire
from moves import directories
from replicated import await_first_leaders, await_full_sets, check, read, replicated


def topics_of(c, node):
    """Of all: to ask for one by its name would make it."""
    with wire.Connection(c.address[node]) as link:
        return wire.metadata(link)[2]


def delete(c, node, topic):
    with wire.Connection(c.address[c.controller(node)]) as link:
        error = wire.delete_topic(link, topic)
    check(error == 0, f'DeleteTopics of {topic}: {error}')
    for other in c.running:
        brokers.until(f'broker {other} does not know {topic}', lambda n=other: topic not in topics_of(c, n))


def written(c, node, topic, prefix):
    values = sorted(f'{prefix}-{i:03}' for i in range(300))
    c.produce(node, topic, values)
    return values


def deleted_meanwhile(c):
    """A topic is deleted while a broker is down: its copy goes when it comes back. A second one was made again by its name
    before the broker was missed, a third one after that: nothing of the old ones is in the new ones, whoever leads."""
    topics = deleted, at_once, later = [replicated(c, name) for name in ('deleted', 'again-at-once', 'again-later')]
    away = next(node for node in c.address if node != c.controller(1))
    others = [node for node in c.address if node != away]
    for topic in topics:
        c.produce(1, topic, ['old' * 40_000] * 30)  # enough for folders, and the rest stays in the journal
        written(c, 1, topic, 'old')
        await_full_sets(c, topic)
    check(all(directories(c, away, topic) for topic in topics), 'it has no copy of one of them')
    brokers.kill(c.running.pop(away))
    delete(c, others[0], at_once)
    replicated(c, at_once)
    c.all_see(others)
    delete(c, others[0], deleted)
    delete(c, others[0], later)
    c.create(6, others, later, replicas=len(others), configs={'min.insync.replicas': 2})
    values = {topic: written(c, others[0], topic, 'new') for topic in (at_once, later)}
    c.start(away)
    c.all_see(list(c.address))
    brokers.until('its copies of what was deleted are gone', lambda: directories(c, away, f'({deleted}|{later})') == [])
    await_full_sets(c, at_once)
    await_first_leaders(c, at_once)
    for topic, wanted in values.items():
        got = sorted(value for _, _, value in read(c, away, topic))
        check(got == wanted, f'{topic} has {len(got)} records where {len(wanted)} were written, {got[-1:]} among them')


CASES = (deleted_meanwhile,)
