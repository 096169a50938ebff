# SPDX-License-Identifier: Apache-2.0
"""A case of tests/cluster/run about brokers of two versions in one cluster: upgraded one by one under load, taken back, upgraded again,
and only then told to use what came with the newer version.

The older version is this one with the setting that lets it work as the older one did, or MILLRACE_OLDER, a program.
"""
import os

import broker as brokers
import hints
from nodes import PROGRAM, Cluster, check
from replicated import Java, Kcat, await_full_sets, await_leaders, check_once_in_order, jars, read, replicated

FEATURE, OLDER, NEWER = 'millrace.metadata', 1, 2
OLDER_PROGRAM = os.environ.get('MILLRACE_OLDER')
INVALID_UPDATE_VERSION, UNSUPPORTED_VERSION, NOT_CONTROLLER = 95, 35, 41
COUNT = 30_000  # records by Java, 1,000 a second: to the end of the second upgrade


class Place:
    """A path of its own in the ZooKeeper of the other cases."""

    def __init__(self, zookeeper, path):
        self.address = zookeeper.address + path

    def kill(self):
        pass


def set_version(c, node, version):
    c.more[node] = ['--override', f'millrace.metadata.level={OLDER}'] if version == OLDER and not OLDER_PROGRAM else []
    c.programs[node] = OLDER_PROGRAM if version == OLDER and OLDER_PROGRAM else PROGRAM


def roll(c, topic, version):
    """One after the other stops and comes back with that version, when the sets are full again."""
    for node in list(c.running):
        await_full_sets(c, topic)
        code = brokers.stop(c.running.pop(node))
        check(code == 0, f'broker {node} stopped with {code}')
        set_version(c, node, version)
        c.start(node)
        await_leaders(c, topic, 15)


def features(c, node):
    """(up to which level it takes part, the one in use); an older version need not say anything."""
    told = hints.ask_once(c.address[node], 'api_versions', 3, {'client_software_name': 'test', 'client_software_version': '1'})
    known = {f['name']: f['max_version'] for f in told.get('supported_features', [])}
    in_use = {f['name']: f['max_version_level'] for f in told.get('finalized_features', [])}
    return known.get(FEATURE, OLDER), in_use.get(FEATURE, OLDER)


def update(c, level):
    """(error, words) of the controller."""
    told = {}

    def answered():
        told.update(hints.ask_once(c.address[c.controller(1) or 1], 'update_features', 2, {
            'timeout_ms': 10_000, 'feature_updates': [{'feature': FEATURE, 'max_version_level': level, 'upgrade_type': 1}]}))
        return told['error_code'] != NOT_CONTROLLER
    brokers.until('the controller answers', answered)
    return told['error_code'], told['error_message']


def set_quota(c):
    told = hints.ask_once(c.address[c.controller(1)], 'alter_client_quotas', 1, {'entries': [{
        'entity': [{'entity_type': 'client-id', 'entity_name': 'somebody'}], 'ops': [{'key': 'producer_byte_rate', 'value': 1e6}]}]})
    return told['entries'][0]['error_code']


def refuse_early(c, node):
    """With one older broker left the level is refused, and so is what came with it."""
    error, words = update(c, NEWER)
    check(error == INVALID_UPDATE_VERSION and f'broker {node} ' in words, f'the level is answered {error}: {words}')
    check(set_quota(c) == UNSUPPORTED_VERSION, 'a quota was set')


def upgrade_but_one(c, topic):
    """The last one is older yet, and so is not in office: older versions do not know of levels."""
    others = list(c.running)[:-1]
    last = list(c.running)[-1]
    for node in others:
        await_full_sets(c, topic)
        check(brokers.stop(c.running.pop(node)) == 0, f'broker {node} did not stop as it should')
        set_version(c, node, NEWER)
        c.start(node)
    if c.controller(1) == last:
        check(brokers.stop(c.running.pop(last)) == 0, f'broker {last} did not stop as it should')
        c.start(last)
    brokers.until('a newer one is in office', lambda: c.controller(1) in others)
    c.all_see(list(c.address))
    return last


def refuse_late(c, node):
    """Once the level is in use, an older one says why it does not start."""
    check(brokers.stop(c.running.pop(node)) == 0, f'broker {node} did not stop as it should')
    set_version(c, node, OLDER)
    try:
        c.start(node)
    except RuntimeError:
        words = brokers.last_words(os.path.join(c.folder, str(node)))
        check(f'{FEATURE} at level {NEWER}' in words or 'kind 13 (client_quota)' in words, f'its last words: {words}')
    else:
        raise AssertionError(f'broker {node} started with the older version')
    set_version(c, node, NEWER)
    c.start(node)
    return words


def upgraded(c):
    """Upgraded, taken back and upgraded again, broker by broker, under load: nothing is lost, and nobody stops for it. The newer level
    is refused until all know it, and an older version afterwards."""
    two = Cluster(os.path.join(c.folder, 'two-versions'), Place(c.zookeeper, '/two-versions'),
                  {node: ('127.0.0.1', brokers.free_port()) for node in c.address})
    kcat = java = None
    try:
        for node in two.address:
            set_version(two, node, OLDER)
            two.start(node)
        two.all_see(list(two.address))
        topic, other = replicated(two, 'upgraded'), replicated(two, 'upgraded-java')
        kcat, java = Kcat(two, topic, 'u'), Java(two, other, COUNT) if jars() else None
        roll(two, topic, NEWER)
        check(features(two, 1) == (NEWER, OLDER), f'features are {features(two, 1)}')
        roll(two, topic, OLDER)
        refuse_early(two, upgrade_but_one(two, topic))
        roll(two, topic, NEWER)
        check(update(two, NEWER)[0] == 0, f'the level is answered {update(two, NEWER)}')
        for node in two.running:
            brokers.until(f'broker {node} uses the newer level', lambda n=node: features(two, n) == (NEWER, NEWER))
        check(set_quota(two) == 0, 'a quota was refused')
        words = refuse_late(two, 2)
        await_full_sets(two, topic)
        values = kcat.end()
        sent = java.end(COUNT, 60) if java else {}
        check_once_in_order(read(two, 2, topic), values)
        check({(p, o): v for p, o, v in read(two, 2, other)} == sent, 'java: other records than were acknowledged')
    finally:
        for load in filter(None, (kcat, java)):
            load.kill()
        codes = two.stop()
    check(all(code == 0 for code in codes.values()), f'ended with {codes}')
    return f'{len(values)} by kcat, {len(sent)} by Java: none lost, none twice; then an older one: {words}'


CASES = (upgraded,)
