# SPDX-License-Identifier: Apache-2.0
"""Groups that change their protocol while their members go on: members of the classic protocol in consumer groups of KIP-848, and back."""

import contextlib
import struct
import time

from consumer_rules import Consumer, all_of, described, parts, settle
from group_rules import REBALANCING, Member, committed, described as classic, new_group, stay
from side import alone, check, same

UNKNOWN, ILLEGAL_GENERATION, INCONSISTENT, NO_GROUP, ID_REQUIRED, FENCED_INSTANCE = 25, 22, 23, 69, 79, 82


def text(value):
    return struct.pack('>h', len(value)) + value.encode()


def by_topic(owned):
    """{topic: [partition]} as both kinds of bytes have it."""
    return struct.pack('>i', len(owned)) + b''.join(
        text(topic) + struct.pack(f'>i{len(numbers)}i', len(numbers), *numbers) for topic, numbers in owned.items())


def wants(*topics, owned=None):
    """Of version 1, with what the member has."""
    return struct.pack('>hi', 1, len(topics)) + b''.join(text(topic) for topic in topics) + struct.pack('>i', -1) + by_topic(owned or {})


def gets(owned, user_data=None):
    return struct.pack('>h', 1) + by_topic(owned) + (struct.pack('>i', -1) if user_data is None else struct.pack('>i', len(user_data)) + user_data)


def read(data):
    """{topic: [partition]} of an assignment."""
    found, at = {}, 6
    for _ in range(struct.unpack_from('>i', data, 2)[0]):
        size = struct.unpack_from('>h', data, at)[0]
        topic = data[at + 2:at + 2 + size].decode()
        count = struct.unpack_from('>i', data, at + 2 + size)[0]
        found[topic] = sorted(struct.unpack_from(f'>{count}i', data, at + 6 + size))
        at += 6 + size + 4 * count
    return found


class Old(Member):
    """Of the classic protocol; it keeps what it may keep."""

    def __init__(self, b, group, topic, **more):
        super().__init__(b, group, metadata=wants(topic), rebalance_ms=30_000, **more)
        self.topic, self.owned = topic, []

    def says(self):
        for protocol in self.protocols:
            protocol['metadata'] = wants(self.topic, owned={self.topic: self.owned} if self.owned else None)

    def rejoin(self):
        """Joins and asks what is its own; what it is to give back it gives back and joins again."""
        self.says()
        answer = self.join()
        same(answer['error_code'], 0, 'a join')
        same((answer['leader'], answer['members'], answer['protocol_name']), ('', [], self.protocols[0]['name']), 'nobody leads')
        error, data = self.sync()
        if error == REBALANCING:
            return
        same(error, 0, 'a sync')
        self.owned = read(data).get(self.topic, [])

    def follow(self):
        """As a client does: what a heartbeat tells it."""
        error = self.beat()
        if error == REBALANCING:
            self.rejoin()
        else:
            same(error, 0, 'a heartbeat')


def known_topic(b, partitions):
    """A new one, of which the coordinators have heard: Kafka's hear of topics later than its clients."""
    topic = b.topic(partitions=partitions)
    probe = Consumer(b, new_group(b), topic).joined()
    settle(probe, total=partitions)
    same(probe.beat(member_epoch=-1)['error_code'], 0)
    return topic


def pair(b, topic, count):
    """Two members of a stable classic group, each with half of the partitions."""
    leader, follower = (Old(b, group, topic) for group in [new_group(b)] * 2)
    same(leader.join()['error_code'], 0)
    same(leader.sync((leader, gets({topic: list(range(count))})))[0], 0)
    follower.begin_join()
    b.until('it is to rebalance', lambda: leader.beat() == REBALANCING)
    same((leader.join()['error_code'], follower.joined()['error_code']), (0, 0))
    follower.send_sync()
    half = count // 2
    leader.owned, follower.owned = list(range(half)), list(range(half, count))
    same(leader.sync((leader, gets({topic: leader.owned})), (follower, gets({topic: follower.owned})))[0], 0)
    same(read(follower.link.receive('sync_group', 3)['assignment']), {topic: follower.owned})
    return leader, follower


def rest(b, olds, news, count):
    """Until everything is somebody's; never two people's."""
    end = time.monotonic() + 20
    while True:
        for new in news:
            same(new.beat()['error_code'], 0, 'heartbeat')
            same(new.obey(), 0, 'heartbeat')
        for old in olds:
            old.follow()
        held = [partition for old in olds for partition in old.owned] + [partition for new in news for _, partition in new.owned]
        same(len(held), len(set(held)), f'twice among {held}')
        if len(held) == count and all(old.beat() == 0 for old in olds):
            return
        check(time.monotonic() < end, f'not at rest: {held} of {count}')
        time.sleep(0.1)


# ---- K8 ----

def k8_taken_over(b):
    """A classic group becomes one of KIP-848 when such a member joins; its members have what they had, and its generation is the epoch."""
    topic = known_topic(b, 4)
    one, two = pair(b, topic, 4)
    generation = one.generation
    same(one.commit(topic, 5), 0)
    new = Consumer(b, one.group, topic)
    new.joined()
    same((new.epoch, new.target), (generation + 1, []), 'it gets nothing yet')
    told = described(b, one.group)
    same({m['member_id']: (m['member_type'], m['member_epoch'], parts(m['assignment']['topic_partitions'])) for m in told['members']},
         {one.id: (0, generation, all_of(b, topic, 4)[:2]), two.id: (0, generation, all_of(b, topic, 4)[2:]), new.id: (1, generation + 1, [])})
    same((classic(b, one.group)['group_state'], one.beat(), two.beat()), ('Dead', REBALANCING, REBALANCING))
    same((one.commit(topic, 6), committed(b, one.group, topic)[1]), (0, 6), 'commits go on')
    same((one.beat(generation_id=generation + 1), one.beat(member_id='nobody'), one.sync(), one.commit(topic, 7, generation_id_or_member_epoch=generation + 1)),
         (ILLEGAL_GENERATION, UNKNOWN, (REBALANCING, b''), ILLEGAL_GENERATION))
    rest(b, (one, two), (new,), 4)
    same((one.generation, two.generation, described(b, one.group)['group_state']), (generation + 1, generation + 1, 'Stable'))
    same(sorted(len(owned) for owned in (one.owned, two.owned, new.owned)), [1, 1, 2])
    same((one.commit(topic, 8, generation_id_or_member_epoch=generation), one.beat()), (0 if 0 in one.owned else ILLEGAL_GENERATION, 0))


def k8_given_back_first(b):
    """A member that goes on with what it may keep stays in its generation until it has given the rest back."""
    topic = known_topic(b, 2)
    group = new_group(b)
    old = Old(b, group, topic)
    same(old.join()['error_code'], 0)
    old.owned = [0, 1]
    same(old.sync((old, gets({topic: old.owned})))[0], 0)
    new = Consumer(b, group, topic).joined()
    old.says()
    generation = old.generation
    same((old.join()['error_code'], old.generation), (0, generation))
    error, data = old.sync()
    same((error, len(read(data)[topic]), old.beat()), (0, 1, REBALANCING))
    new.beat()
    same(new.target, [], 'it has not given it back')
    old.owned = read(data)[topic]
    old.says()
    same((old.join()['error_code'], old.generation, old.beat()), (0, generation + 1, 0))
    new.beat()
    same(len(new.target), 1)


def k8_what_stays_classic(b):
    """What is no group of consumers, and what was assigned in another language, or with data of an assignor's own."""
    topic = b.topic()
    other = Member(b, new_group(b), metadata=wants(topic), kind='connect')
    same(other.join()['error_code'], 0)
    same(Consumer(b, other.group, topic).join()['error_code'], NO_GROUP)
    for assignment in (b'?', gets({topic: [0]}, b'mine')):
        old = Member(b, new_group(b), metadata=wants(topic))
        same((old.join()['error_code'], old.sync((old, assignment))[0]), (0, 0))
        same(Consumer(b, old.group, topic).join()['error_code'], NO_GROUP, repr(assignment))
        same((old.beat(), classic(b, old.group)['group_state']), (0, 'Stable'))
    old = Member(b, new_group(b), metadata=b'?')
    same((old.join()['error_code'], old.sync((old, gets({})))[0]), (0, 0))
    same(Consumer(b, old.group, topic).join()['error_code'], NO_GROUP)


def k8_who_is_refused_changes_nothing(b):
    """A join that would be refused leaves the members as they were."""
    topic = known_topic(b, 2)
    one, two = pair(b, topic, 2)
    same(Consumer(b, one.group, topic).join(server_assignor='best')['error_code'], 112)
    same((one.beat(), two.beat(), classic(b, one.group)['group_state']), (0, 0, 'Stable'))


def k8_waiting_members(b):
    """Who waits in a join when the group is taken over joins again."""
    topic = known_topic(b, 2)
    one, two = pair(b, topic, 2)
    third = Old(b, one.group, topic)
    third.begin_join()
    b.until('it is to rebalance', lambda: one.beat() == REBALANCING)
    new = Consumer(b, one.group, topic).joined()
    same(third.joined()['error_code'], REBALANCING)
    third.rejoin()
    rest(b, (one, two, third), (new,), 2)


def k8_who_may_join(b):
    """A member of the classic protocol is given an id first; of what it speaks one must be everybody's."""
    topic = known_topic(b, 2)
    new = Consumer(b, new_group(b), topic).joined()
    settle(new, total=2)
    old = Old(b, new.group, topic, protocols=('range', 'sticky'))
    old.send_join()
    answer = old.joined()
    same((answer['error_code'], bool(answer['member_id'])), (ID_REQUIRED, True))
    old.id = answer['member_id']
    old.rejoin()
    rest(b, (old,), (new,), 2)
    same([len(old.owned), len(new.owned)], [1, 1])
    same([Old(b, new.group, topic, protocols=('own',)).join()['error_code'], Old(b, new.group, topic, kind='connect').join()['error_code'],
          Old(b, new.group, topic, session_ms=1).join()['error_code']], [INCONSISTENT, INCONSISTENT, 26])
    third = Old(b, new.group, topic, protocols=('sticky',))
    same(third.join()['error_code'], 0)
    same([(g['group_type'].lower(), g['group_state']) for g in b.ask('list_groups', 5, {'states_filter': [], 'types_filter': []})['groups']
          if g['group_id'] == new.group][0][0], 'consumer')


def k8_what_cannot_be_read(b):
    """Of a subscription that is none and an instance id that nobody has the latter is told; no member id stands beside an error."""
    new = Consumer(b, new_group(b), known_topic(b, 2)).joined()
    found = []
    for instance in (None, 'i'):
        answer = Member(b, new.group, instance=instance, metadata=b'bytes').join(member_id='nobody')
        found.append((answer['error_code'], answer['member_id']))
    same(found, [(-1, ''), (UNKNOWN, '')])


def k8_leaving(b):
    """LeaveGroup is heard; a member of KIP-848 that leaves shares what it had among those that are there."""
    topic = known_topic(b, 3)
    one, two = pair(b, topic, 3)
    new, newer = (Consumer(b, one.group, topic) for _ in range(2))
    new.joined()
    rest(b, (one, two), (new,), 3)
    same((one.leave(), one.leave(), one.beat()), (0, UNKNOWN, UNKNOWN))
    rest(b, (two,), (new,), 3)
    newer.joined()
    rest(b, (two,), (new, newer), 3)
    same(newer.beat(member_epoch=-1)['error_code'], 0)
    rest(b, (two,), (new,), 3)


def k8_the_way_back(b):
    """When the last member of KIP-848 leaves the group is a classic one again, and its members join anew."""
    topic = known_topic(b, 4)
    one, two = pair(b, topic, 4)
    new = Consumer(b, one.group, topic).joined()
    rest(b, (one, two), (new,), 4)
    same(new.commit(topic, 9, new.owned[0][1]), 0)
    epoch = new.epoch
    same(new.beat(member_epoch=-1)['error_code'], 0)
    same((described(b, one.group)['error_code'], classic(b, one.group)['group_state'], new.beat()['error_code']),
         (NO_GROUP, 'PreparingRebalance', NO_GROUP))
    same((one.generation, one.beat(), two.beat()), (epoch, REBALANCING, REBALANCING))
    one.says(), two.says()
    one.begin_join()
    answer = two.join()
    same((answer['error_code'], answer['generation_id'], one.joined()['error_code']), (0, epoch + 1, 0))
    leader, follower = (two, one) if answer['members'] else (one, two)
    follower.send_sync()
    same(leader.sync((leader, gets({topic: [0, 1]})), (follower, gets({topic: [2, 3]})))[0], 0)
    same(read(follower.link.receive('sync_group', 3)['assignment']), {topic: [2, 3]})
    same((one.beat(), two.beat(), committed(b, one.group, topic, new.owned[0][1])[1]), (0, 0, 9))
    again = Consumer(b, one.group, topic).joined()
    same(again.epoch, epoch + 2, 'and up again')


def k8_the_last_one_dies(b):
    """The same when it is not heard of any more."""
    topic = known_topic(b, 2)
    group = new_group(b)
    old = Old(b, group, topic, session_ms=30_000)
    same((old.join()['error_code'], old.sync((old, gets({topic: [0, 1]})))[0]), (0, 0))
    Consumer(b, group, topic).joined()
    b.until('it is a classic group', lambda: classic(b, group)['group_state'] in ('PreparingRebalance', 'Stable'), wait_s=30)


def k8_static_members(b):
    """An instance id goes from one protocol to the other with what its holder has; the last one of KIP-848 that is replaced needs no rebalance."""
    topic = known_topic(b, 2)
    group = new_group(b)
    old = Old(b, group, topic, instance='i')
    same((old.join()['error_code'], old.sync((old, gets({topic: [0, 1]})))[0]), (0, 0))
    generation = old.generation
    new = Consumer(b, group, topic, instance='i').joined()
    same((len(new.target), old.beat()), (2, FENCED_INSTANCE))
    same(new.obey(), 0)
    back = Old(b, group, topic, instance='i')
    answer = back.join()
    same((answer['error_code'], answer['generation_id'] >= generation), (0, True))
    error, data = back.sync()
    same((error, read(data)), (0, {topic: [0, 1]}))
    same((back.beat(), new.beat()['error_code'], classic(b, group)['group_state']), (0, NO_GROUP, 'Stable'))


def kill(b, *olds):
    b.restart(kill=True)
    for old in olds:
        old.link = b.link()


@alone
def k8_a_restart(b):
    """A group in the middle of its migration is what it was when the coordinator dies, and so is one that has come back."""
    topic = known_topic(b, 4)
    one, two = pair(b, topic, 4)
    new = Consumer(b, one.group, topic).joined()
    kill(b, one, two)
    b.until('they are known again', lambda: new.beat()['error_code'] == 0)
    same((one.beat(), two.beat(), new.target), (REBALANCING, REBALANCING, []))
    rest(b, (one, two), (new,), 4)
    kill(b, one, two)
    b.until('they are known again', lambda: new.beat(owned=new.owned)['error_code'] == 0)
    same((one.beat(), two.beat()), (0, 0))
    same(new.beat(member_epoch=-1)['error_code'], 0)
    kill(b, one, two)
    b.until('it is to rebalance', lambda: one.beat() == REBALANCING)
    same(described(b, one.group)['error_code'], NO_GROUP)


# ---- what the policy allows ----

@contextlib.contextmanager
def policy(b, name):
    """The coordinator has another one than `bidirectional`."""
    b.restart(group_consumer_migration_policy=name)
    try:
        yield
    finally:
        b.restart()


def kind_of(b, group):
    return next(g['group_type'].lower() for g in b.ask('list_groups', 5, {'states_filter': [], 'types_filter': []})['groups'] if g['group_id'] == group)


def new_consumer(b):
    """(Its topic of two partitions, the one member of a new group of KIP-848, which has both)."""
    topic = known_topic(b, 2)
    new = Consumer(b, new_group(b), topic).joined()
    settle(new, total=2)
    return topic, new


def no_way_up(b):
    """A classic group with members stays one, and they notice nothing; one without becomes what is asked for."""
    topic = known_topic(b, 2)
    one, two = pair(b, topic, 2)
    same(one.commit(topic, 5), 0)
    same(Consumer(b, one.group, topic).join()['error_code'], NO_GROUP)
    same((one.beat(), two.beat(), kind_of(b, one.group), classic(b, one.group)['group_state']), (0, 0, 'classic', 'Stable'))
    same((one.leave(), two.leave()), (0, 0))
    new = Consumer(b, one.group, topic).joined()
    settle(new, total=2)
    same((kind_of(b, one.group), committed(b, one.group, topic)[1]), ('consumer', 5))


@alone
def k8_policy_disabled(b):
    """No group with members changes its protocol, and none of the classic protocol comes into a consumer group."""
    with policy(b, 'disabled'):
        no_way_up(b)
        topic, new = new_consumer(b)
        same(Old(b, new.group, topic).join()['error_code'], INCONSISTENT)
        same(new.beat(member_epoch=-1)['error_code'], 0)
        old = Old(b, new.group, topic)
        same((old.join()['error_code'], old.sync((old, gets({topic: [0, 1]})))[0], kind_of(b, new.group)), (0, 0, 'classic'))


@alone
def k8_policy_disabled_midway(b):
    """Of a group of both kinds that is there already, members of the classic protocol go on, but do not come in again; it stays one of KIP-848."""
    topic = known_topic(b, 4)
    one, two = pair(b, topic, 4)
    new = Consumer(b, one.group, topic).joined()
    rest(b, (one, two), (new,), 4)
    with policy(b, 'disabled'):
        one.link, two.link = b.link(), b.link()
        b.until('they are known again', lambda: new.beat(owned=new.owned)['error_code'] == 0)
        same((one.beat(), two.beat(), one.commit(topic, 5, partition=one.owned[0])), (0, 0, 0))
        same((two.join()['error_code'], Old(b, one.group, topic).join()['error_code']), (INCONSISTENT, INCONSISTENT))
        same(new.beat(member_epoch=-1)['error_code'], 0)
        same((kind_of(b, one.group), len(described(b, one.group)['members']), one.commit(topic, 6, partition=one.owned[0])), ('consumer', 2, 0))
        same((one.leave(), two.leave(), described(b, one.group)['group_state']), (0, 0, 'Empty'))


def upgraded(b, count):
    """(Members of the classic protocol, a group that only upgrades, whose one member of KIP-848 has gone)."""
    topic = known_topic(b, count)
    olds = pair(b, topic, count)
    new = Consumer(b, olds[0].group, topic).joined()
    rest(b, olds, (new,), count)
    same((new.beat(member_epoch=-1)['error_code'], kind_of(b, new.group)), (0, 'consumer'))
    return topic, olds


@alone
def k8_policy_upgrade(b):
    """Classic groups are taken over; there is no way back, though members of the classic protocol come in."""
    with policy(b, 'upgrade'):
        topic, olds = upgraded(b, 4)
        third = Old(b, olds[0].group, topic)
        third.rejoin()
        rest(b, (*olds, third), (), 4)
        stay(third)
        same((kind_of(b, third.group), described(b, third.group)['group_state'], len(described(b, third.group)['members'])), ('consumer', 'Stable', 3))
        same([old.leave() for old in (*olds, third)], [0, 0, 0])
        same((kind_of(b, third.group), described(b, third.group)['group_state']), ('consumer', 'Empty'))


@alone
def k8_policy_upgrade_nobody_comes(b):
    """What the last member of KIP-848 had is shared among those of the classic protocol that are left."""
    with policy(b, 'upgrade'):
        _, olds = upgraded(b, 4)
        rest(b, olds, (), 4)


@alone
def k8_policy_downgrade(b):
    """A consumer group of which only members of the classic protocol are left is a classic one; there is no way up."""
    with policy(b, 'downgrade'):
        no_way_up(b)
        topic, new = new_consumer(b)
        old = Old(b, new.group, topic)
        old.rejoin()
        rest(b, (old,), (new,), 2)
        same((kind_of(b, new.group), new.beat(member_epoch=-1)['error_code']), ('consumer', 0))
        same((kind_of(b, new.group), old.beat()), ('classic', REBALANCING))
        same((old.join()['error_code'], old.sync((old, gets({topic: [0, 1]})))[0], old.beat()), (0, 0, 0))
        same(Consumer(b, new.group, topic).join()['error_code'], NO_GROUP, 'there is no way up')
