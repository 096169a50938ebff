# SPDX-License-Identifier: Apache-2.0
"""Groups of the classic protocol, and the offsets that they commit."""

import itertools
import struct
import time

from side import alone, batch, check, same

NUMBERS = itertools.count(1)
SESSION_MS, REBALANCE_MS = 6000, 2000
UNKNOWN, ILLEGAL_GENERATION, REBALANCING, FENCED, ID_REQUIRED = 25, 22, 27, 82, 79


def subscription(*topics):
    """Version 0 of what consumers say in protocol metadata."""
    names = b''.join(struct.pack('>h', len(topic)) + topic.encode() for topic in topics)
    return struct.pack('>hi', 0, len(topics)) + names + struct.pack('>i', -1)


def new_group(b, name=None):
    name = f'group-{next(NUMBERS)}' if name is None else name
    b.until(f'{name} has a coordinator', lambda: b.ask('find_coordinator', 4, {'key_type': 0, 'coordinator_keys': [name]})
            ['coordinators'][0]['error_code'] == 0)
    b.until(f'{name} is looked after', lambda: b.ask('offset_fetch', 7, {'group_id': name, 'topics': None, 'require_stable': False})
            ['error_code'] == 0)
    return name


class Member:
    """A consumer by hand, on a connection of its own; a join or sync that waits is collected later."""

    def __init__(self, b, group, instance=None, metadata=None, protocols=('range',), kind='consumer', session_ms=SESSION_MS,
                 rebalance_ms=REBALANCE_MS):
        self.b, self.group, self.instance, self.link, self.id, self.generation = b, group, instance, b.link(), '', -1
        self.kind, self.session_ms, self.rebalance_ms = kind, session_ms, rebalance_ms
        self.protocols = [{'name': name, 'metadata': metadata if metadata is not None else subscription('t')} for name in protocols]

    def send_join(self, version=7, **more):
        self.link.send('join_group', version, {
            'group_id': self.group, 'session_timeout_ms': self.session_ms, 'rebalance_timeout_ms': self.rebalance_ms, 'member_id': self.id,
            'group_instance_id': self.instance, 'protocol_type': self.kind, 'protocols': self.protocols, **more})

    def joined(self, version=7):
        answer = self.link.receive('join_group', version)
        if answer['error_code'] == 0:
            self.id, self.generation = answer['member_id'], answer['generation_id']
        return answer

    def join(self, version=7, **more):
        self.send_join(version, **more)
        answer = self.joined(version)
        if answer['error_code'] == ID_REQUIRED:
            self.id = answer['member_id']
            self.send_join(version, **more)
            answer = self.joined(version)
        return answer

    def begin_join(self, version=7):
        """With an id, if it had none; the answer waits."""
        if not self.id and self.instance is None:
            self.send_join(version)
            self.id = self.joined(version)['member_id']
        self.send_join(version)

    def send_sync(self, assignments=(), version=3, **more):
        self.link.send('sync_group', version, {
            'group_id': self.group, 'generation_id': self.generation, 'member_id': self.id, 'group_instance_id': self.instance,
            'assignments': [{'member_id': member.id, 'assignment': data} for member, data in assignments], **more})

    def sync(self, *assignments, **more):
        """(error, what it was assigned)."""
        self.send_sync(assignments, **more)
        answer = self.link.receive('sync_group', 3)
        return answer['error_code'], answer['assignment']

    def beat(self, **more):
        return self.b.ask('heartbeat', 3, {'group_id': self.group, 'generation_id': self.generation, 'member_id': self.id,
                                           'group_instance_id': self.instance, **more})['error_code']

    def commit(self, topic, offset, metadata='', **more):
        return commit(self.b, self.group, topic, offset, metadata, **{
            'generation_id_or_member_epoch': self.generation, 'member_id': self.id, 'group_instance_id': self.instance, **more})

    def leave(self):
        return self.b.ask('leave_group', 2, {'group_id': self.group, 'member_id': self.id})['error_code']

    def waits(self):
        return self.link.silent(0.3)


def commit(b, group, topic, offset, metadata='', partition=0, **more):
    tree = {'group_id': group, 'generation_id_or_member_epoch': -1, 'member_id': '', 'topics': [{'name': topic, 'partitions': [
        {'partition_index': partition, 'committed_offset': offset, 'committed_metadata': metadata}]}], **more}
    return b.ask('offset_commit', 7, tree)['topics'][0]['partitions'][0]['error_code']


def committed(b, group, topic=None, partition=0):
    """(error, offset, metadata) of one, or {topic: {partition: ...}} of all."""
    asked = None if topic is None else [{'name': topic, 'partition_indexes': [partition]}]
    answer = b.ask('offset_fetch', 5, {'group_id': group, 'topics': asked})
    found = {of_topic['name']: {p['partition_index']: (p['error_code'], p['committed_offset'], p['metadata']) for p in of_topic['partitions']}
             for of_topic in answer['topics']}
    return found if topic is None else found[topic][partition]


def described(b, group, version=5):
    return b.ask('describe_groups', version, {'groups': [group]})['groups'][0]


def state(b, group):
    return described(b, group)['group_state']


def stay(member):
    """With an offset a group without members is there until somebody deletes it; without one it goes when it is next looked over."""
    same(member.commit(member.b.topic(), 1), 0)


def alone_in(b, **more):
    """A member of a stable group of one."""
    member = Member(b, new_group(b), **more)
    same(member.join()['error_code'], 0)
    same(member.sync((member, b'mine')), (0, b'mine'))
    return member


def two_in(b, **more):
    """Leader and follower of a stable group."""
    leader = alone_in(b, **more)
    follower = Member(b, leader.group, **more)
    follower.begin_join()
    b.until('it is to rebalance', lambda: leader.beat() == REBALANCING)
    same(leader.join()['error_code'], 0)
    same(follower.joined()['error_code'], 0)
    follower.send_sync()
    same(leader.sync((leader, b'first'), (follower, b'second')), (0, b'first'))
    same(follower.link.receive('sync_group', 3)['assignment'], b'second')
    return leader, follower


# ---- joining ----

def g1_states_and_generations(b):
    """Empty, a member joins, it syncs, it leaves; each completed join is a generation."""
    member = Member(b, new_group(b))
    same(member.join()['generation_id'], 1)
    same(state(b, member.group), 'CompletingRebalance')
    member.sync((member, b''))
    same(state(b, member.group), 'Stable')
    stay(member)
    same(member.join()['generation_id'], 2, 'the leader came again')
    same(member.leave(), 0)
    same(state(b, member.group), 'Empty')


def g2_what_is_no_session(b):
    """Session times that the broker does not allow, and a group without a name."""
    group = new_group(b)
    same([Member(b, group, session_ms=ms).join()['error_code'] for ms in (5999, 1_800_001)], [26, 26])
    same(Member(b, '').join()['error_code'], 24)


def g2_a_group_without_a_name(b):
    """Has no members; but offsets may be committed to it, and it is described and deleted."""
    topic, nobody = b.topic(), {'group_id': '', 'generation_id': 1, 'member_id': 'x'}
    same([b.ask('heartbeat', 3, nobody)['error_code'], b.ask('sync_group', 3, nobody)['error_code'],
          b.ask('leave_group', 2, nobody)['error_code']], [24] * 3)
    same((commit(b, new_group(b, ''), topic, 3), committed(b, '', topic)), (0, (0, 3, '')))
    same(state(b, ''), 'Empty')
    same(b.ask('delete_groups', 1, {'groups_names': ['']})['results'][0]['error_code'], 0)
    same(committed(b, '', topic), (0, -1, ''))


def g4_an_id_is_required(b):
    """A dynamic member comes a second time, with the id that it was given (KIP-394); old versions and static members need not."""
    group = new_group(b)
    member = Member(b, group)
    member.send_join()
    answer = member.joined()
    same(answer['error_code'], ID_REQUIRED)
    check(answer['member_id'].startswith('semantics-'), answer['member_id'])
    member.leave()
    old = Member(b, new_group(b))
    old.send_join(3)
    same(old.joined(3)['error_code'], 0, 'version 3')
    static = Member(b, new_group(b), instance='one')
    static.send_join()
    same(static.joined()['error_code'], 0, 'static')
    same(Member(b, new_group(b)).join(member_id='nobody')['error_code'], UNKNOWN)


def g5_a_protocol_for_all(b):
    """Type and at least one protocol in common; most votes win, each votes for its first that all know."""
    first = alone_in(b, protocols=('a', 'b', 'c'))
    same(Member(b, first.group, protocols=('z',)).join()['error_code'], 23)
    same(Member(b, first.group, kind='connect').join()['error_code'], 23)
    second, third = (Member(b, first.group, protocols=('c', 'b')) for _ in range(2))
    second.begin_join()
    third.begin_join()
    b.until('it is to rebalance', lambda: first.beat() == REBALANCING)
    same(first.join()['protocol_name'], 'c')


def g6_members_are_waited_for(b):
    """A rebalance ends when all known members have come, or their time is over; who did not come is out."""
    member = alone_in(b)
    other = Member(b, member.group)
    other.begin_join()
    check(other.waits(), 'it did not wait for the first')
    begin = time.monotonic()
    same((other.joined()['error_code'], other.generation), (0, 2))
    check(1.2 < time.monotonic() - begin + 0.3 < 4, f'{time.monotonic() - begin:.1f} s for a rebalance time of 2 s')
    same(member.beat(), UNKNOWN)


def g6_static_members_stay(b):
    """Until their session ends: a rebalance goes on without them, with them in it."""
    static = alone_in(b, instance='one')
    other = Member(b, static.group)
    other.begin_join()
    answer = other.joined()
    same((answer['error_code'], answer['generation_id'], answer['leader']), (0, 2, other.id))
    same({member['member_id'] for member in answer['members']}, {static.id, other.id})
    same(other.sync((other, b'all')), (0, b'all'))
    b.until('its session ends', lambda: other.beat() == REBALANCING)
    same(len(other.join()['members']), 1)


def g6_version_0_has_one_timeout(b):
    """The session's, which a rebalance waits for as well."""
    old = Member(b, new_group(b))
    old.send_join(0)
    same(old.joined(0)['error_code'], 0)
    same(old.sync((old, b'mine')), (0, b'mine'))
    other, begin = Member(b, old.group, session_ms=30_000), time.monotonic()
    other.begin_join()
    b.until('it is to rebalance', lambda: old.beat() == REBALANCING)
    b.until('it is out', lambda: old.beat() == UNKNOWN)
    same(other.joined()['error_code'], 0)
    check(5 < time.monotonic() - begin < 9, f'{time.monotonic() - begin:.1f} s of 6')


def g7_another_one_leads(b):
    """When the leader does not come back in time."""
    leader, follower = two_in(b)
    other = Member(b, leader.group)
    other.begin_join()
    b.until('it is to rebalance', lambda: follower.beat() == REBALANCING)
    follower.send_join()
    answers = {member.id: member.joined() for member in (follower, other)}
    same({answer['leader'] for answer in answers.values()} <= set(answers), True, 'one of the two leads')
    same(sorted(len(answer['members']) for answer in answers.values()), [0, 2])
    same(leader.beat(), UNKNOWN)


def g7_the_leader_knows_all(b):
    """Only the leader is told who the members are."""
    leader, follower = two_in(b)
    other = Member(b, leader.group)
    other.begin_join()
    b.until('it is to rebalance', lambda: leader.beat() == REBALANCING)
    leader.send_join()
    follower.send_join()
    answers = [member.joined() for member in (leader, follower, other)]
    same({answer['leader'] for answer in answers}, {leader.id})
    same([len(answer['members']) for answer in answers], [3, 0, 0])


def g8_coming_again(b):
    """In a stable group: the leader begins a rebalance; a follower with nothing new is told what holds."""
    leader, follower = two_in(b)
    answer = follower.join()
    same((answer['error_code'], answer['generation_id']), (0, 2))
    same((leader.beat(), follower.sync()), (0, (0, b'second')))
    follower.protocols[0]['metadata'] = subscription('other')
    follower.send_join()
    b.until('it is to rebalance', lambda: leader.beat() == REBALANCING)
    leader.join()
    same(follower.joined()['generation_id'], 3)


def g8_coming_again_before_the_sync(b):
    """With nothing new the same is said again; with something new all come again."""
    member = Member(b, new_group(b))
    first, again = member.join(), member.join()
    same((again['error_code'], again['generation_id'], again['leader'], again['members']), (0, 1, member.id, first['members']))
    member.protocols[0]['metadata'] = subscription('other')
    same(member.join()['generation_id'], 2)
    same(member.sync((member, b'mine')), (0, b'mine'))


def g9_who_never_syncs_is_out(b):
    """After the rebalance time, though it says that it lives; the others come again."""
    leader = alone_in(b, session_ms=30_000)
    other = Member(b, leader.group, session_ms=30_000)
    other.begin_join()
    b.until('it is to rebalance', lambda: leader.beat() == REBALANCING)
    leader.join()
    other.joined()
    begin = time.monotonic()
    same(leader.sync((leader, b'all')), (0, b'all'))
    b.until('it is out', lambda: other.beat() == UNKNOWN)
    check(1.2 < time.monotonic() - begin < 5, f'{time.monotonic() - begin:.1f} s for a rebalance time of 2 s')
    same(leader.beat(), REBALANCING)
    same(len(leader.join()['members']), 1)


def g9_sync(b):
    """A wrong generation, a stranger, and one that waits for the leader; who gets nothing gets nothing."""
    leader = alone_in(b)
    follower = Member(b, leader.group)
    follower.begin_join()
    b.until('it is to rebalance', lambda: leader.beat() == REBALANCING)
    same(leader.sync()[0], REBALANCING, 'while members are waited for')
    leader.join()
    follower.joined()
    same(follower.sync(generation_id=77)[0], ILLEGAL_GENERATION)
    same(follower.sync(member_id='nobody')[0], UNKNOWN)
    follower.send_sync()
    check(follower.waits(), 'it did not wait for the leader')
    same(leader.sync((leader, b'all')), (0, b'all'))
    same(follower.link.receive('sync_group', 3)['assignment'], b'')


def g10_heartbeats(b):
    """What they say in each state."""
    member = Member(b, new_group(b))
    same(member.beat(member_id='nobody', generation_id=1), UNKNOWN)
    member.join()
    same(member.beat(), 0, 'while it is waited for the leader')
    member.sync((member, b''))
    same([member.beat(), member.beat(generation_id=7), member.beat(member_id='nobody')], [0, ILLEGAL_GENERATION, UNKNOWN])
    other = Member(b, member.group)
    other.begin_join()
    b.until('it is to rebalance', lambda: member.beat() == REBALANCING)


def g10_who_is_silent_is_out(b):
    """A member that does not say anything for its session time."""
    member = alone_in(b)
    stay(member)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        same(member.beat(), 0)
        time.sleep(0.5)
    begin = time.monotonic()
    b.until('it is out', lambda: state(b, member.group) == 'Empty', 10)
    check(4.5 < time.monotonic() - begin < 8, f'{time.monotonic() - begin:.1f} s of 6')


def g11_leaving(b):
    """By id, or an administrator by the name of a static member; errors are of a member from version 3 on."""
    member = alone_in(b)
    same(b.ask('leave_group', 2, {'group_id': member.group, 'member_id': 'nobody'})['error_code'], UNKNOWN)
    answer = b.ask('leave_group', 3, {'group_id': member.group, 'members': [{'member_id': 'nobody'}, {'member_id': member.id}]})
    same((answer['error_code'], [left['error_code'] for left in answer['members']]), (0, [UNKNOWN, 0]))
    static = alone_in(b, instance='one')
    stay(static)
    answer = b.ask('leave_group', 3, {'group_id': static.group, 'members': [{'member_id': '', 'group_instance_id': name}
                                                                             for name in ('two', 'one')]})
    same([left['error_code'] for left in answer['members']], [UNKNOWN, 0])
    same(state(b, static.group), 'Empty')


def g12_static_members(b):
    """Who comes with a name that is taken gets a new id, without a rebalance; the old one is fenced."""
    leader = alone_in(b, instance='one')
    again = Member(b, leader.group, instance='one')
    answer = again.join()
    same((answer['error_code'], answer['generation_id']), (0, leader.generation))
    check(again.id != leader.id, 'it has the old id')
    same(again.sync(), (0, b'mine'))
    same([leader.beat(), leader.sync()[0], leader.join()['error_code'], leader.commit(b.topic(), 1)], [FENCED] * 4)


def g12_a_static_member_before_the_sync(b):
    """Who comes with its name while the leader is waited for begins another rebalance."""
    leader = Member(b, new_group(b), instance='one')
    same(leader.join()['generation_id'], 1)
    again = Member(b, leader.group, instance='one')
    same(again.join()['generation_id'], 2)
    same((again.sync((again, b'mine')), leader.sync()[0]), ((0, b'mine'), FENCED))


def g12_a_static_leader_need_not_assign(b):
    """From version 9 on it is told so, and who the members are."""
    leader = alone_in(b, instance='one')
    again = Member(b, leader.group, instance='one')
    again.send_join(9)
    answer = again.joined(9)
    same((answer['skip_assignment'], answer['leader'], len(answer['members'])), (True, again.id, 1))
    other = alone_in(b, instance='one')
    again = Member(b, other.group, instance='one')
    again.send_join(8)
    answer = again.joined(8)
    same((answer['leader'], answer['members']), (other.id, []), 'version 8')


def g13_a_group_that_is_full(b):
    """group.max.size, on these brokers 4: the fifth is told so, and the others go on."""
    group = new_group(b)
    members = [Member(b, group, instance=f'm{i}') for i in range(5)]
    same(members[0].join()['error_code'], 0)
    for member in members[1:4]:
        member.send_join()
    b.until('four are there', lambda: len(described(b, group)['members']) == 4)
    same(members[0].join()['error_code'], 0)
    same([member.joined()['error_code'] for member in members[1:4]], [0, 0, 0])
    same(members[4].join()['error_code'], 81)
    same(members[0].sync((members[0], b'all')), (0, b'all'))
    same([member.beat() for member in members[:4]], [0, 0, 0, 0])


def g14_what_members_say_to_each_other(b):
    """Metadata and assignments are bytes that the coordinator passes on as they are, and shows as they are."""
    said, given = bytes(range(256)), bytes(reversed(range(256)))
    member = Member(b, new_group(b), metadata=said, kind='connect')
    same([one['metadata'] for one in member.join()['members']], [said])
    same(member.sync((member, given)), (0, given))
    same([(one['member_metadata'], one['member_assignment']) for one in described(b, member.group)['members']], [(said, given)])


def g15_describing_and_deleting(b):
    """Groups that are not there are Dead, or not found from version 6 on; only empty ones are deleted."""
    same([(described(b, 'nobody', version)['error_code'], described(b, 'nobody', version)['group_state']) for version in (5, 6)],
         [(0, 'Dead'), (69, 'Dead')])
    member = alone_in(b)
    found = described(b, member.group)
    same((found['protocol_type'], found['protocol_data'], [(m['member_id'], m['client_id'], m['member_assignment']) for m in found['members']]),
         ('consumer', 'range', [(member.id, 'semantics', b'mine')]))

    def delete(*names):
        return [result['error_code'] for result in b.ask('delete_groups', 1, {'groups_names': list(names)})['results']]
    same(delete(member.group), [68])
    same(delete('nobody'), [69])
    member.leave()
    same(delete(member.group), [0])
    same(state(b, member.group), 'Dead')


def g16_listing(b):
    """Also of groups that only commit; by state and type."""
    member, topic = alone_in(b), b.topic()
    simple = new_group(b)
    same(commit(b, simple, topic, 1), 0)

    def listed(states=(), types=()):
        found = b.ask('list_groups', 5, {'states_filter': list(states), 'types_filter': list(types)})['groups']
        return {group['group_id']: (group['protocol_type'], group['group_state'], group['group_type'].lower()) for group in found}
    everybody = listed()
    same((everybody[member.group], everybody[simple]), (('consumer', 'Stable', 'classic'), ('', 'Empty', 'classic')))
    check(simple not in listed(['Stable']) and member.group in listed(['stable']), 'states')
    check(member.group not in listed(types=['consumer']) and member.group in listed(types=['classic']), 'types')


# ---- offsets ----

def o1_who_may_commit(b):
    """Members of the generation; nobody else while there are members; anybody where there are none."""
    member, topic = alone_in(b), b.topic()
    same(member.commit(topic, 5, 'words'), 0)
    same(committed(b, member.group, topic), (0, 5, 'words'))
    same([member.commit(topic, 6, generation_id_or_member_epoch=7), member.commit(topic, 6, member_id='nobody'),
          commit(b, member.group, topic, 6)], [ILLEGAL_GENERATION, UNKNOWN, UNKNOWN])
    other = Member(b, member.group)
    other.begin_join()
    b.until('it is to rebalance', lambda: member.beat() == REBALANCING)
    same(member.commit(topic, 7), 0, 'while members are waited for')
    member.join()
    other.joined()
    same(member.commit(topic, 8), REBALANCING, 'while the leader is waited for')
    same(committed(b, member.group, topic), (0, 7, ''))
    simple = new_group(b)
    same((commit(b, simple, topic, 3), committed(b, simple, topic)), (0, (0, 3, '')))


def o2_what_is_no_commit(b):
    """Topics that are not there; too many words."""
    group, topic = new_group(b), b.topic()
    same(commit(b, group, 'never-there', 1), 3)
    same(commit(b, group, topic, 1, partition=9), 3)
    same([commit(b, group, topic, 1, 'x' * size) for size in (4096, 4097)], [0, 12])


def o4_what_was_not_committed(b):
    """-1 and no error, of groups and topics that nobody knows, too; null asks for all."""
    group, topic = new_group(b), b.topic(partitions=3)
    same([committed(b, name, known) for name, known in ((group, topic), ('nobody', topic), (group, 'never-there'))], [(0, -1, '')] * 3)
    same(committed(b, group), {})
    for partition in (0, 2):
        same(commit(b, group, topic, 10 + partition, partition=partition), 0)
    same(committed(b, group), {topic: {0: (0, 10, ''), 2: (0, 12, '')}})


def o4_many_groups(b):
    """From version 8 on each group has its answer."""
    groups, topic = [new_group(b) for _ in range(2)], b.topic()
    same(commit(b, groups[1], topic, 4), 0)
    answer = b.ask('offset_fetch', 8, {'groups': [{'group_id': group, 'topics': None} for group in groups], 'require_stable': True})
    same([(group['group_id'], group['error_code'], [p['committed_offset'] for topic in group['topics'] for p in topic['partitions']])
          for group in answer['groups']], [(groups[0], 0, []), (groups[1], 0, [4])])


def o5_a_commit_with_a_time_of_its_own(b):
    """retention_time of versions 2 to 4 counts from the commit, and -1 is the broker's; a group without offsets is gone."""
    short, long, topic = new_group(b), new_group(b), b.topic()
    for group, retention_ms in ((short, 1), (long, -1)):
        tree = {'group_id': group, 'generation_id_or_member_epoch': -1, 'member_id': '', 'retention_time_ms': retention_ms,
                'topics': [{'name': topic, 'partitions': [{'partition_index': 0, 'committed_offset': 4, 'committed_metadata': ''}]}]}
        same(b.ask('offset_commit', 2, tree)['topics'][0]['partitions'][0]['error_code'], 0)
    b.until('the short one is gone', lambda: committed(b, short) == {})
    b.until('and its group', lambda: state(b, short) == 'Dead')
    same(committed(b, long, topic), (0, 4, ''))


def o6_offsets_are_deleted(b):
    """Not of topics that a member has subscribed to, not of groups that are not there."""
    topic, other = b.topic(), b.topic()
    member = alone_in(b, metadata=subscription(topic))
    same([member.commit(name, 1) for name in (topic, other)], [0, 0])

    def delete(group):
        answer = b.ask('offset_delete', 0, {'group_id': group, 'topics': [{'name': name, 'partitions': [{'partition_index': 0}]}
                                                                         for name in (topic, other)]})
        return answer['error_code'], {t['name']: t['partitions'][0]['error_code'] for t in answer['topics']}
    same(delete(member.group), (0, {topic: 86, other: 0}))
    same([committed(b, member.group, name)[1] for name in (topic, other)], [1, -1])
    same(delete('nobody')[0], 69)


def o6_not_while_others_than_consumers_are_in_it(b):
    """What they read is not known."""
    member, topic = alone_in(b, kind='connect'), b.topic()
    same(member.commit(topic, 1), 0)
    asked = {'group_id': member.group, 'topics': [{'name': topic, 'partitions': [{'partition_index': 0}]}]}
    same(b.ask('offset_delete', 0, asked)['error_code'], 68)
    member.leave()
    answer = b.ask('offset_delete', 0, asked)
    same((answer['error_code'], answer['topics'][0]['partitions'][0]['error_code'], committed(b, member.group, topic)), (0, 0, (0, -1, '')))


def o7_commits_are_records(b):
    """In __consumer_offsets, at the partition of the group's hash, with Kafka's key and value."""
    group, topic = new_group(b), b.topic()
    code = 0
    for letter in group:
        code = (31 * code + ord(letter)) & 0xffffffff
    code = code - (1 << 32) if code >= 1 << 31 else code
    same(commit(b, group, topic, 42, 'words'), 0)
    partition = abs(code) % len(b.metadata('__consumer_offsets')['partitions'])

    def text(words):
        return struct.pack('>h', len(words)) + words.encode()
    key = struct.pack('>h', 1) + text(group) + text(topic) + struct.pack('>i', 0)
    found = [value for _, _, name, value in b.records('__consumer_offsets', partition) if name == key]
    same(len(found), 1)
    version, offset, epoch = struct.unpack_from('>hqi', found[0])
    same((version, offset, epoch, found[0][14:21]), (3, 42, -1, text('words')))


@alone
def o3_a_commit_that_is_too_large(b):
    """What does not fit the log of commits is told to be too large, and nothing of it counts; smaller ones go on."""
    group, topic = new_group(b), b.topic()
    same(b.alter(2, '__consumer_offsets', ('max.message.bytes', 0, '2000'))['error_code'], 0)
    try:
        b.until('the limit holds', lambda: commit(b, group, topic, 5, 'x' * 4000) != 0)
        same((commit(b, group, topic, 6, 'y'), committed(b, group, topic)), (0, (0, 6, 'y')))
        same((commit(b, group, topic, 7, 'x' * 4000), committed(b, group, topic)), (28, (0, 6, 'y')))
    finally:
        same(b.alter(2, '__consumer_offsets', ('max.message.bytes', 1, None))['error_code'], 0)


@alone
def g6_the_first_members_are_waited_for(b):
    """group.initial.rebalance.delay.ms: for so long, and once more when others have come meanwhile."""
    b.restart(group_initial_rebalance_delay_ms='1500')
    try:
        one, two = (Member(b, group, rebalance_ms=60_000, session_ms=60_000) for group in [new_group(b)] * 2)
        begin = time.monotonic()
        one.begin_join()
        time.sleep(0.7)
        two.begin_join()
        same([member.joined()['generation_id'] for member in (one, two)], [1, 1])
        check(2.7 < time.monotonic() - begin < 5, f'{time.monotonic() - begin:.1f} s of 3')
        same(len(described(b, one.group)['members']), 2)
    finally:
        b.restart()


@alone
def o7_a_restart(b):
    """Members stay members and commits stay commits when the coordinator dies."""
    member, topic = alone_in(b, session_ms=60_000), b.topic()
    same(b.produce(topic, batch(b'x'))['error_code'], 0)
    same(member.commit(topic, 6), 0)
    b.restart(kill=True)
    b.until('it is looked after again', lambda: committed(b, member.group) != {})
    same(committed(b, member.group, topic), (0, 6, ''))
    b.until('the member is known', lambda: member.beat() == 0)
    same((state(b, member.group), member.commit(topic, 7)), ('Stable', 0))
