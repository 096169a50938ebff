# SPDX-License-Identifier: Apache-2.0
"""Consumer groups of KIP-848."""

import time
import uuid

from group_rules import Member, committed, new_group, subscription
from side import alone, check, same

INVALID, UNKNOWN, NO_GROUP, FENCED, UNRELEASED, NO_ASSIGNOR, STALE, BAD_REGEX = 42, 25, 69, 110, 111, 112, 113, 128
FENCED_INSTANCE, UNSUPPORTED, INCONSISTENT, SUBSCRIBED, NOT_EMPTY = 82, 35, 23, 86, 68
SESSION_S = 9  # side.SETTINGS


def parts(topic_partitions):
    return sorted((topic['topic_id'], partition) for topic in topic_partitions for partition in topic['partitions'])


def tree_of(owned):
    topics = {}
    for topic, partition in owned:
        topics.setdefault(topic, []).append(partition)
    return [{'topic_id': topic, 'partitions': partitions} for topic, partitions in topics.items()]


class Consumer:
    """By hand: it does nothing that it is not told."""

    def __init__(self, b, group, *topics, instance=None, rebalance_ms=30_000):
        self.b, self.group, self.topics, self.instance, self.rebalance_ms = b, group, list(topics), instance, rebalance_ms
        self.id, self.epoch, self.owned, self.target = str(uuid.uuid4()), 0, [], []

    def beat(self, version=1, **more):
        """The answer; what it is told is kept."""
        request = {'group_id': self.group, 'member_id': self.id, 'member_epoch': self.epoch, 'instance_id': self.instance, **more}
        if 'owned' in request:
            request['topic_partitions'] = tree_of(request.pop('owned'))
        answer = self.b.ask('consumer_group_heartbeat', version, request)
        if answer['error_code'] == 0:
            self.id, self.epoch = answer['member_id'], answer['member_epoch']
            if answer['assignment'] is not None:
                self.target = parts(answer['assignment']['topic_partitions'])
        return answer

    def join(self, **more):
        self.epoch, self.owned, self.target = 0, [], []
        return self.beat(**{'rebalance_timeout_ms': self.rebalance_ms, 'subscribed_topic_names': self.topics, 'owned': [], **more})

    def joined(self, **more):
        answer = self.join(**more)
        same(answer['error_code'], 0, f'join: {answer["error_message"]}')
        return self

    def obey(self):
        """Takes what it was told, and says so."""
        self.owned = self.target
        return self.beat(owned=self.owned)['error_code']

    def commit(self, topic, offset, partition=0, version=9, **more):
        answer = self.b.ask('offset_commit', version, {
            'group_id': self.group, 'generation_id_or_member_epoch': self.epoch, 'member_id': self.id, 'group_instance_id': self.instance,
            'topics': [{'name': topic, 'partitions': [{'partition_index': partition, 'committed_offset': offset, 'committed_metadata': ''}]}],
            **more})
        return answer['topics'][0]['partitions'][0]['error_code']


def settle(*consumers, total=None, until=None):
    """Until they have as many partitions together, and are told nothing new."""
    end = time.monotonic() + 20
    while True:
        for consumer in consumers:
            same(consumer.beat()['error_code'], 0, 'heartbeat')
            same(consumer.obey(), 0, 'heartbeat')
        if until() if until else sum(len(c.owned) for c in consumers) == total and all(c.owned == c.target for c in consumers):
            return
        check(time.monotonic() < end, f'not at rest: {[(c.epoch, c.target) for c in consumers]}')
        time.sleep(0.1)


def described(b, group, version=1):
    return b.ask('consumer_group_describe', version, {'group_ids': [group], 'include_authorized_operations': False})['groups'][0]


def coordinated(b):
    return new_group(b)


def all_of(b, topic, count):
    return [(b.topic_id(topic), partition) for partition in range(count)]


# ---- K1 ----

def k1_what_is_refused(b):
    """A join without what it has to say, or with what it must not; empty ids; epochs that there are not."""
    group, topic = coordinated(b), b.topic()
    fresh = {'owned': [], 'rebalance_timeout_ms': 1000, 'subscribed_topic_names': [topic]}
    for what, wrong in {'no timeout': {'rebalance_timeout_ms': -1}, 'has some': {'owned': [(b.topic_id(topic), 0)]},
                        'does not say': {'topic_partitions': None}, 'no wishes': {'subscribed_topic_names': None},
                        'no id': {'member_id': ''}, 'no instance': {'instance_id': ''}, 'no rack': {'rack_id': ''},
                        'no group': {'group_id': ''}, 'epoch': {'member_epoch': -3}, 'static': {'member_epoch': -2}}.items():
        request = {**fresh, **wrong}
        if 'topic_partitions' in wrong:
            request.pop('owned')
        same(Consumer(b, group).beat(**request)['error_code'], INVALID, what)
    same(Consumer(b, group).beat(**{**fresh, 'subscribed_topic_names': []})['error_code'], 0, 'no topics')
    same(Consumer(b, group).beat(**{**fresh, 'subscribed_topic_names': None, 'subscribed_topic_regex': ''})['error_code'], 0, 'no expression')


def k1_who_makes_the_id(b):
    """In version 0 the broker."""
    one = Consumer(b, coordinated(b), b.topic())
    one.id = ''
    same(one.join(version=0)['error_code'], 0)
    check(one.id, 'it has an id')
    same(one.beat(version=0)['error_code'], 0)


def k1_who_leaves(b):
    """Is known no more, and what it had is free."""
    topic = b.topic(partitions=2)
    one, two = (Consumer(b, group, topic) for group in [coordinated(b)] * 2)
    one.joined(), two.joined()
    settle(one, two, total=2)
    same(one.beat(member_epoch=-1)['member_epoch'], -1)
    same((one.beat(member_epoch=two.epoch)['error_code'], one.beat(member_epoch=-1)['error_code']), (UNKNOWN, UNKNOWN))
    settle(two, until=lambda: len(two.owned) == 2)
    same(described(b, one.group)['group_state'], 'Stable')


# ---- K2, K3 ----

def k2_only_what_is_new_is_told(b):
    """An assignment when it has changed, when one joins, and to who says all."""
    topic = b.topic(partitions=3)
    one = Consumer(b, coordinated(b), topic).joined()
    settle(one, total=3)  # the coordinator may hear of the topic after we do
    same((one.epoch > 0, one.target), (True, all_of(b, topic, 3)))
    answer = one.beat(owned=one.owned)
    same((answer['assignment'], answer['heartbeat_interval_ms']), (None, 1000))
    same(one.beat()['assignment'], None)
    answer = one.beat(owned=one.owned, rebalance_timeout_ms=one.rebalance_ms, subscribed_topic_names=[topic])
    same(parts(answer['assignment']['topic_partitions']), all_of(b, topic, 3))


def k3_epochs(b):
    """One that is ahead, or behind without having missed an answer, is fenced."""
    topic = b.topic(partitions=2)
    one, two = (Consumer(b, group, topic) for group in [coordinated(b)] * 2)
    one.joined()
    settle(one, total=2)
    first = one.epoch
    same(one.beat(member_epoch=first + 1)['error_code'], FENCED)
    same(two.beat(member_epoch=1)['error_code'], UNKNOWN)
    two.joined()
    one.beat()
    one.owned = one.target
    keep = one.owned
    same((one.beat(owned=keep)['error_code'], one.epoch), (0, first + 1))
    same(one.beat(member_epoch=first, owned=keep)['error_code'], 0, 'the answer was lost')
    same(one.beat(member_epoch=first)['error_code'], FENCED, 'it does not say what it has')
    same(one.beat(member_epoch=first, owned=all_of(b, topic, 2))['error_code'], FENCED, 'it has more than it was given')
    same(two.join()['error_code'], 0, 'a join whose answer was lost')
    same((one.join()['error_code'], one.epoch), (0, first + 1), 'who is a member begins again')


# ---- K4 ----

def k4_assignors(b):
    """uniform and range; range gives one member the same partitions of topics that are alike."""
    group, topics = coordinated(b), sorted(b.topic(partitions=3) for _ in range(2))
    one, two = (Consumer(b, group, *topics) for _ in range(2))
    same(one.join(server_assignor='best')['error_code'], NO_ASSIGNOR)
    one.joined(server_assignor='range'), two.joined(server_assignor='range')
    settle(one, two, total=6)
    same(described(b, group)['assignor_name'], 'range')
    ids = [b.topic_id(topic) for topic in topics]
    for member in (one, two):
        same(*({partition for topic, partition in member.owned if topic == wanted} for wanted in ids), 'aligned')
    same(sorted(len(member.owned) for member in (one, two)), [2, 4])


def k4_uniform_moves_little(b):
    """Who stays keeps as much as his share is."""
    topic = b.topic(partitions=6)
    group = coordinated(b)
    one, two, three = (Consumer(b, group, topic) for _ in range(3))
    one.joined(), two.joined()
    settle(one, two, total=6)
    before = [set(one.owned), set(two.owned)]
    three.joined()
    settle(one, two, three, total=6)
    check(set(one.owned) < before[0] and set(two.owned) < before[1], 'they lose and get nothing')
    same(sorted(one.owned + two.owned + three.owned), all_of(b, topic, 6))


def k4_expressions(b):
    """RE2's; a topic that comes later counts."""
    group = coordinated(b)
    topics = [b.topic(partitions=2) for _ in range(2)]
    one = Consumer(b, group)
    asks = {'subscribed_topic_names': None}
    same([one.join(**asks, subscribed_topic_regex=regex)['error_code'] for regex in ('(', '(?<=a)b', '*')], [BAD_REGEX] * 3)
    one.joined(**asks, subscribed_topic_regex=f'({"|".join(topics)}|later-{group}.*)')
    settle(one, until=lambda: len(one.owned) == 4)
    same(described(b, group)['members'][0]['subscribed_topic_regex'], f'({"|".join(topics)}|later-{group}.*)')
    same(b.create(f'later-{group}-1', 1)['error_code'], 0)
    settle(one, until=lambda: len(one.owned) == 5)


def k4_internal_topics(b):
    """An expression means them, too."""
    topic = b.topic()
    one = Consumer(b, coordinated(b))
    one.joined(subscribed_topic_names=None, subscribed_topic_regex=f'({topic}|__consumer_offsets)')
    settle(one, total=1 + len(b.metadata('__consumer_offsets')['partitions']))


def k4_static_members(b):
    """An instance id has one holder; one that leaves for a while finds what it had."""
    group, topic = coordinated(b), b.topic(partitions=2)
    one, two = (Consumer(b, group, topic, instance='i') for _ in range(2))
    one.joined()
    settle(one, total=2)
    epoch = one.epoch
    same(two.join()['error_code'], UNRELEASED)
    same(two.beat(member_epoch=epoch)['error_code'], FENCED_INSTANCE)
    same(one.beat(member_epoch=-2)['member_epoch'], -2)
    same(described(b, group)['members'][0]['member_epoch'], -2)
    two.joined()
    same((two.epoch, two.target), (epoch, all_of(b, topic, 2)))
    same(described(b, group)['group_epoch'], epoch)
    same(one.beat(member_epoch=epoch)['error_code'], FENCED_INSTANCE)
    same(two.obey(), 0)


# ---- K5 ----

def k5_given_back_first(b):
    """Nobody gets what another one has not given back."""
    group, topic = coordinated(b), b.topic(partitions=2)
    one, two = (Consumer(b, group, topic) for _ in range(2))
    one.joined()
    settle(one, total=2)
    first = one.epoch
    two.joined()
    same((two.epoch, two.target), (first + 1, []))
    same((one.beat()['member_epoch'], len(one.target)), (first, 1))
    two.beat()
    same((two.target, described(b, group)['group_state']), ([], 'Reconciling'))
    same(one.beat(owned=all_of(b, topic, 2))['member_epoch'], first, 'it still has them')
    two.beat()
    same(two.target, [])
    same((one.obey(), one.epoch), (0, first + 1))
    two.beat()
    same(sorted(one.target + two.target), all_of(b, topic, 2))
    same((described(b, group)['group_state'], two.obey()), ('Stable', 0))


def k5_silence(b):
    """For the session timeout: then it is no member any more."""
    group, topic = coordinated(b), b.topic(partitions=2)
    one, two = (Consumer(b, group, topic) for _ in range(2))
    one.joined(), two.joined()
    settle(one, two, total=2)
    end = time.monotonic() + SESSION_S * 3
    while len(two.owned) < 2 and time.monotonic() < end:
        time.sleep(0.5)
        settle(two, until=lambda: True)
    same((len(two.owned), one.beat()['error_code']), (2, UNKNOWN))


def k5_who_does_not_give_back(b):
    """In the time it has said itself, is fenced."""
    group, topic = coordinated(b), b.topic(partitions=2)
    one, two = (Consumer(b, group, topic, rebalance_ms=1500) for _ in range(2))
    one.joined()
    settle(one, total=2)
    two.joined()
    one.beat()
    end, answer = time.monotonic() + 10, 0
    while answer == 0 and time.monotonic() < end:
        time.sleep(0.3)
        answer = one.beat(owned=all_of(b, topic, 2))['error_code']
        two.beat()
    same(answer, UNKNOWN)
    settle(two, until=lambda: len(two.owned) == 2)


def k5_topics_change(b):
    """More partitions, and topics that come and go, are seen."""
    group, topic, later = coordinated(b), b.topic(partitions=1), f'later-{uuid.uuid4()}'
    one = Consumer(b, group, topic, later).joined()
    settle(one, total=1)
    same(b.create(later, 2)['error_code'], 0)
    settle(one, until=lambda: len(one.owned) == 3)
    b.ask('create_partitions', 1, {'topics': [{'name': topic, 'count': 4, 'assignments': None}], 'timeout_ms': 10_000, 'validate_only': False})
    settle(one, until=lambda: len(one.owned) == 6)
    b.ask('delete_topics', 5, {'topic_names': [later], 'timeout_ms': 10_000})
    settle(one, until=lambda: len(one.owned) == 4)


@alone
def k5_more_than_a_record_holds(b):
    """Who wants more partitions than a record of __consumer_offsets may name is refused; the others go on."""
    group, small, large = coordinated(b), b.topic(partitions=2), b.topic(partitions=600)
    one, two, probe = Consumer(b, group, small), Consumer(b, group, large), Consumer(b, coordinated(b), large)
    probe.joined()
    settle(probe, total=600)  # the coordinator has heard of it
    same(probe.beat(member_epoch=-1)['error_code'], 0)

    def limit(value):
        same(b.ask('incremental_alter_configs', 1, {'resources': [{'resource_type': 2, 'resource_name': '__consumer_offsets', 'configs': [
            {'name': 'max.message.bytes', 'config_operation': 0 if value else 1, 'value': value}]}], 'validate_only': False})
            ['responses'][0]['error_code'], 0)

    def refused():
        error = probe.join()['error_code']
        if error == 0:  # the limit is not there yet
            probe.beat(member_epoch=-1)
        return error == -1
    limit('1500')
    try:
        b.until('there is a limit', refused)
        one.joined()
        settle(one, total=2)
        same((two.join()['error_code'], len(described(b, group)['members'])), (-1, 1))
        same((one.beat()['error_code'], one.beat(owned=one.owned)['error_code']), (0, 0))
        settle(one, total=2)
    finally:
        limit(None)
    b.until('it may come in', lambda: two.join()['error_code'] == 0)
    settle(one, two, total=602)


# ---- K6 ----

def k6_commits(b):
    """Under the member's epoch; under an older one what it has had since (KIP-1251); members only."""
    group, topic = coordinated(b), b.topic(partitions=2)
    one, two = (Consumer(b, group, topic) for _ in range(2))
    one.joined()
    settle(one, total=2)
    first = one.epoch
    same([one.commit(topic, 5, partition) for partition in (0, 1)], [0, 0])
    same([one.commit(topic, 5, generation_id_or_member_epoch=first + 1), one.commit(topic, 5, member_id='nobody'),
          one.commit(topic, 5, member_id='', generation_id_or_member_epoch=-1), one.commit(topic, 5, version=8),
          one.commit(topic, 5, version=8, generation_id_or_member_epoch=first + 1), one.commit(topic, 5, version=8, member_id='nobody')],
         [STALE, UNKNOWN, UNKNOWN, UNSUPPORTED, UNSUPPORTED, UNKNOWN])
    two.joined()
    settle(one, two, total=2)
    mine, other = one.owned[0][1], two.owned[0][1]
    same([one.commit(topic, 6, partition, generation_id_or_member_epoch=first) for partition in (mine, other)], [0, STALE])
    same([two.commit(topic, 7, partition, generation_id_or_member_epoch=first) for partition in (mine, other)], [STALE, STALE])
    same([two.commit(topic, 8, other), committed(b, group, topic, mine)[1], committed(b, group, topic, other)[1]], [0, 6, 8])


def k6_who_reads_commits(b):
    """Anybody who does not say who he is; else a member under its epoch."""
    group, topic = coordinated(b), b.topic()
    one = Consumer(b, group, topic).joined()
    same(one.commit(topic, 3), 0)

    def fetch(member, epoch):
        answer = b.ask('offset_fetch', 9, {'groups': [{'group_id': group, 'member_id': member, 'member_epoch': epoch, 'topics': [
            {'name': topic, 'partition_indexes': [0]}]}], 'require_stable': False})['groups'][0]
        return answer['error_code'] or answer['topics'][0]['partitions'][0]['committed_offset']
    same([fetch(None, -1), fetch(one.id, one.epoch), fetch(one.id, one.epoch + 1), fetch('nobody', 1)], [3, 3, STALE, UNKNOWN])


def k6_topics_by_id(b):
    """Version 10 of OffsetCommit and OffsetFetch; an id of no topic has an error of its own, and so has one whose topic is gone."""
    group, topic, gone = coordinated(b), b.topic(partitions=2), b.topic()
    one = Consumer(b, group, topic, gone).joined()
    ids = {name: b.topic_id(name) for name in (topic, gone)}
    nobody = uuid.uuid4().bytes

    def commit(topic_id, partition, offset):
        answer = b.ask('offset_commit', 10, {
            'group_id': group, 'generation_id_or_member_epoch': one.epoch, 'member_id': one.id, 'group_instance_id': None, 'topics': [
                {'topic_id': topic_id, 'partitions': [{'partition_index': partition, 'committed_offset': offset, 'committed_metadata': 'm'}]}]})
        same(answer['topics'][0]['topic_id'], topic_id)
        return answer['topics'][0]['partitions'][0]['error_code']

    def fetch(topics):
        answer = b.ask('offset_fetch', 10, {'groups': [{'group_id': group, 'member_id': one.id, 'member_epoch': one.epoch, 'topics': topics}],
                                            'require_stable': False})['groups'][0]
        same(answer['error_code'], 0)
        return {(of['topic_id'], p['partition_index']): (p['error_code'], p['committed_offset'], p['metadata'])
                for of in answer['topics'] for p in of['partitions']}
    same([commit(ids[topic], 0, 5), commit(ids[gone], 0, 6), commit(nobody, 0, 7), commit(ids[topic], 9, 8)], [0, 0, 100, 3])
    same(fetch([{'topic_id': ids[topic], 'partition_indexes': [0, 1]}, {'topic_id': nobody, 'partition_indexes': [0]}]),
         {(ids[topic], 0): (0, 5, 'm'), (ids[topic], 1): (0, -1, ''), (nobody, 0): (100, -1, '')})
    same(fetch(None), {(ids[topic], 0): (0, 5, 'm'), (ids[gone], 0): (0, 6, 'm')})
    b.ask('delete_topics', 5, {'topic_names': [gone], 'timeout_ms': 10_000})
    b.until('it is gone', lambda: fetch(None) == {(ids[topic], 0): (0, 5, 'm')})
    same(commit(ids[gone], 0, 7), 100)


# ---- K7, and what is told about them ----

def k7_kinds_of_groups(b):
    """An empty group becomes what is asked for, with its offsets; requests about one of the other kind find none."""
    topic = b.topic()
    old = Member(b, coordinated(b), metadata=subscription(topic), kind='connect')
    same(old.join()['error_code'], 0)
    same(Consumer(b, old.group, topic).join()['error_code'], NO_GROUP)
    one = Consumer(b, coordinated(b), topic).joined()
    same(one.commit(topic, 7), 0)
    same([b.ask('heartbeat', 4, {'group_id': one.group, 'generation_id': 1, 'member_id': 'x', 'group_instance_id': None})['error_code'],
          b.ask('describe_groups', 5, {'groups': [one.group], 'include_authorized_operations': False})['groups'][0]['group_state'],
          b.ask('describe_groups', 6, {'groups': [one.group], 'include_authorized_operations': False})['groups'][0]['error_code'],
          described(b, old.group)['error_code']], [UNKNOWN, 'Dead', NO_GROUP, NO_GROUP])
    same(one.beat(member_epoch=-1)['error_code'], 0)
    member = Member(b, one.group, metadata=subscription(topic))
    same(member.join()['error_code'], 0)
    same(committed(b, one.group, topic)[1], 7)


def k7_who_is_refused_changes_no_kind(b):
    """An empty classic group stays one when a consumer's join is refused."""
    topic = b.topic()
    old = Member(b, coordinated(b), metadata=subscription(topic))
    same(old.join()['error_code'], 0)
    old.leave()
    same(Consumer(b, old.group, topic).join(server_assignor='best')['error_code'], NO_ASSIGNOR)
    same([g['group_type'].lower() for g in b.ask('list_groups', 5, {'states_filter': [], 'types_filter': []})['groups']
          if g['group_id'] == old.group], ['classic'])


def k7_lists_and_ends(b):
    """ListGroups, ConsumerGroupDescribe, OffsetDelete, DeleteGroups."""
    group, topic, other = coordinated(b), b.topic(partitions=1), b.topic()
    one = Consumer(b, group, topic).joined()
    same([one.commit(name, 1) for name in (topic, other)], [0, 0])

    def listed(**filters):
        found = b.ask('list_groups', 5, {'states_filter': [], 'types_filter': [], **filters})['groups']
        return [(g['protocol_type'], g['group_state'], g['group_type'].lower()) for g in found if g['group_id'] == group]
    same((listed(), listed(types_filter=['classic']), listed(states_filter=['stable'])),
         ([('consumer', 'Stable', 'consumer')], [], [('consumer', 'Stable', 'consumer')]))
    told = described(b, group)
    member = told['members'][0]
    same((told['group_state'], told['group_epoch'], told['assignment_epoch'], told['assignor_name'], member['member_id'],
          member['member_epoch'], member['subscribed_topic_names'], member['member_type']),
         ('Stable', one.epoch, one.epoch, 'uniform', one.id, one.epoch, [topic], 1))
    same([(t['topic_name'], t['partitions']) for t in member['assignment']['topic_partitions']], [(topic, [0])])
    same(member['assignment'], member['target_assignment'])
    answer = b.ask('offset_delete', 0, {'group_id': group, 'topics': [{'name': name, 'partitions': [{'partition_index': 0}]}
                                                                     for name in (topic, other)]})
    same({t['name']: t['partitions'][0]['error_code'] for t in answer['topics']}, {topic: SUBSCRIBED, other: 0})

    def delete():
        return b.ask('delete_groups', 2, {'groups_names': [group]})['results'][0]['error_code']
    same(delete(), NOT_EMPTY)
    one.beat(member_epoch=-1)
    same((listed()[0][1], delete(), listed(), described(b, group)['error_code']), ('Empty', 0, [], NO_GROUP))
    same(one.beat(member_epoch=1)['error_code'], NO_GROUP)


@alone
def k7_a_restart(b):
    """Members are members under their epochs when the coordinator dies."""
    group, topic = coordinated(b), b.topic(partitions=4)
    one, two = (Consumer(b, group, topic) for _ in range(2))
    one.joined(), two.joined()
    settle(one, two, total=4)
    before = one.epoch, one.owned, two.owned
    b.restart(kill=True)
    b.until('they are known again', lambda: all(c.beat(owned=c.owned)['error_code'] == 0 for c in (one, two)))
    same((one.epoch, one.owned, two.owned), before)
    same(one.commit(topic, 5, one.owned[0][1]), 0)
