# SPDX-License-Identifier: Apache-2.0
"""The stories that are played: which requests follow each other. A story says what matters to it; everything else, and
the version of each request, is chance (fields.py). Between the steps of a story stand requests that are chance alone."""

import random

import batches
import fields
import frames
import pair

GROUP_APIS = ('offset_commit', 'offset_fetch', 'join_group', 'heartbeat', 'leave_group', 'sync_group', 'describe_groups',
              'list_groups', 'delete_groups', 'offset_delete', 'find_coordinator', 'consumer_group_heartbeat', 'consumer_group_describe')
DATA_APIS = ('produce', 'fetch', 'list_offsets', 'metadata', 'delete_records', 'offset_for_leader_epoch', 'init_producer_id',
             'describe_producers', 'describe_log_dirs')
ADMIN_APIS = ('metadata', 'create_topics', 'delete_topics', 'create_partitions', 'describe_configs', 'alter_configs',
              'incremental_alter_configs', 'describe_topic_partitions', 'describe_cluster', 'elect_leaders', 'api_versions',
              'describe_log_dirs', 'delete_records', 'describe_client_quotas', 'alter_client_quotas')
WAITING = ('join_group', 'sync_group', 'fetch')
BEING_MADE = (3, 5)  # what Metadata says of a topic that it creates
# After these Kafka's brokers know less than its controller for a while.
CHANGING = ('create_topics', 'delete_topics', 'create_partitions', 'alter_configs', 'incremental_alter_configs', 'metadata')


def made(metadata):
    """The topics that an answer knows, and how many partitions they have."""
    return {topic['name']: len(topic['partitions']) for topic in metadata.get('topics', ()) if topic['error_code'] == 0}


class Stage:
    """A play on its way: what a story is written with."""

    def __init__(self, play, rng, versions, newest):
        self.play, self.rng, self.versions, self.newest = play, rng, versions, newest
        self.things = fields.Things(rng, play.prefix, play.symbol)
        self.filler = fields.Filler(rng, self.things)
        self.a, self.b, self.c = self.things.topics
        self.group = self.things.groups[0]

    # --- asking

    def version(self, name, low=0, high=99):
        return self.rng.choice([version for version in self.versions[name] if low <= version <= high])

    def ask(self, name, version=None, tree=None, oddities=0, line='main', learn=(), body=None, **given):
        """A request whose fields are chance but for `given` (of the top level), or those of `tree`."""
        if name not in self.versions:
            return {}
        version = self.version(name) if version is None else version
        if tree is None:
            tree = self.filler.fill(self.play.apis[name], version, oddities)
            tree.update(given)
        answer = self.play.ask(name, version, tree, line, name in WAITING, learn, body)
        if name in CHANGING and not (name == 'metadata' and not self.creates(tree)):
            self.settle(name, answer)
        return answer

    def creates(self, tree):
        return tree.get('allow_auto_topic_creation', True) and tree.get('topics')

    def settle(self, name, answer):
        """Until both brokers say the same of the play's topics, and of all that the answer to a change names. Metadata
        answers before the topics that it creates are there: they must have come to both."""
        told = {item['name']: item.get('error_code') for items in answer.values() if isinstance(items, list) for item in items
                if isinstance(item, dict) and str(item.get('name')).startswith(self.play.prefix)}
        coming = {topic for topic, error in told.items() if name == 'metadata' and error in BEING_MADE}
        names = dict.fromkeys([*self.things.topics, self.things.absent, *told])
        told = self.play.settle('metadata', 12, {'topics': [{'name': name, 'topic_id': frames.NO_UUID} for name in names],
                                                 'allow_auto_topic_creation': False},
                                lambda metadata: coming <= made(metadata).keys())
        there = made(told)
        if there and self.newest:  # an older release has other settings
            self.play.settle('describe_configs', 4, {'resources': [
                {'resource_type': 2, 'resource_name': name, 'configuration_keys': None} for name in there]})
        if there:
            self.play.settle('list_offsets', 1, {'replica_id': -1, 'topics': [
                {'name': name, 'partitions': [{'partition_index': at, 'timestamp': -1} for at in range(count)]}
                for name, count in there.items()]})

    def soup(self, names, count=None):
        """Requests that are chance."""
        for _ in range(self.rng.choice((0, 0, 1, 2)) if count is None else count):
            name = self.rng.choice(names)
            self.ask(name, oddities=None, line='soup' if name in ('join_group', 'sync_group') else 'main')

    # --- common steps

    def create(self, name=None, partitions=None, configs=()):
        settings = [{'name': key, 'value': value} for key, value in dict(configs).items()]
        return self.ask('create_topics', validate_only=False, timeout_ms=10000, topics=[
            {'name': name or self.a, 'num_partitions': partitions or self.rng.choice((1, 2, 3)), 'replication_factor': 1,
             'configs': settings}])

    def topic_of(self, version, name, first_with_id):
        """The fields by which a request names a topic."""
        return {'topic_id': self.things.topic_id(name)} if version >= first_with_id else {'name': name, 'topic': name}

    def produce(self, data, partition=0, name=None, acks=None, version=None, **more):
        version = self.version('produce') if version is None else version
        parts = [{'index': partition, 'records': data}]
        return self.ask('produce', version, {
            'transactional_id': None, 'acks': self.rng.choice((-1, 1)) if acks is None else acks, 'timeout_ms': 10000,
            'topic_data': [{**self.topic_of(version, name or self.a, 13), 'partition_data': parts}], **more})

    def fetch(self, offset=0, partition=0, name=None, version=None, line='main', learn=(), session=(0, -1), **more):
        version = self.version('fetch') if version is None else version
        part = {'partition': partition, 'fetch_offset': offset, 'partition_max_bytes': 1 << 20}
        tree = {'replica_id': -1, 'max_wait_ms': 0, 'min_bytes': 1, 'max_bytes': 1 << 20, 'isolation_level': 0,
                'session_id': session[0], 'session_epoch': session[1],
                'topics': [{**self.topic_of(version, name or self.a, 13), 'partitions': [part]}]}
        part.update((key, more.pop(key)) for key in list(more) if key in (
            'current_leader_epoch', 'last_fetched_epoch', 'log_start_offset', 'partition_max_bytes'))
        return self.ask('fetch', version, {**tree, **more}, line=line, learn=learn)

    def list_offsets(self, timestamp, partition=0, version=None, **more):
        return self.ask('list_offsets', version, {
            'replica_id': -1, 'isolation_level': self.rng.choice((0, 1)), 'timeout_ms': 1000, 'topics': [
                {'name': self.a, 'partitions': [{'partition_index': partition, 'timestamp': timestamp, **more}]}]})


# --- data --------------------------------------------------------------------------------------------------------------

def records(s):
    """Written, read, found by time, deleted."""
    configs = dict([s.things.setting()] if s.rng.random() < 0.4 else ())
    s.create(configs=configs)
    for _ in range(s.rng.choice((2, 4, 6))):
        what = s.rng.random()
        if what < 0.6:
            s.produce(batches.good(s.rng, gzipped=s.rng.random() < 0.2), s.rng.choice((0, 0, 0, 1, 9)))
        else:
            s.produce(batches.odd(s.rng)[1])
        s.soup(DATA_APIS)
    for offset in (0, s.rng.randrange(12), s.rng.choice((-1, 1, 2, 3, 99))):
        s.fetch(offset, partition_max_bytes=s.rng.choice((1 << 20, 1 << 20, 100, 1, 0)),
                max_bytes=s.rng.choice((1 << 20, 1 << 20, 150, 1)), isolation_level=s.rng.choice((0, 1)),
                current_leader_epoch=s.rng.choice((-1, -1, 0, 1)), last_fetched_epoch=s.rng.choice((-1, -1, 0, 1)))
    for timestamp in (-1, -2, s.rng.choice((-3, -4, -5, -6)), batches.BEGIN_MS + s.rng.randrange(11_000), s.rng.choice((0, 1, fields.HUGE))):
        s.list_offsets(timestamp, current_leader_epoch=s.rng.choice((-1, -1, 0, 1)))
    s.soup(DATA_APIS)
    if s.rng.random() < 0.5:
        s.ask('delete_records', topics=[{'name': s.a, 'partitions': [
            {'partition_index': 0, 'offset': s.rng.choice((1, 1, 2, -1, 0, 99, -2))}]}])
        for timestamp in (-2, -1, batches.BEGIN_MS):
            s.list_offsets(timestamp)
        s.fetch(0)
        s.fetch(1)
    for epoch in (0, s.rng.choice((-1, 1, 5))):
        s.ask('offset_for_leader_epoch', topics=[{'topic': s.a, 'partitions': [
            {'partition': s.rng.choice((0, 0, 5)), 'leader_epoch': epoch, 'current_leader_epoch': s.rng.choice((-1, 0, 1))}]}])
    s.soup(DATA_APIS)


def refused(s):
    """Batches that are wrong, on topics of several kinds."""
    s.create(configs=dict([s.rng.choice((('cleanup.policy', 'compact'), ('message.timestamp.type', 'LogAppendTime'),
                                         ('message.timestamp.before.max.ms', '86400000'), ('max.message.bytes', '150'),
                                         ('compression.type', 'gzip'), ('retention.ms', '-1')))]), partitions=1)
    for _ in range(10):
        s.produce(batches.odd(s.rng)[1])
    s.fetch(0)
    s.list_offsets(-1)


def unanswered(s):
    """acks=0: no answer, and after a failure no connection."""
    s.create()
    for _ in range(3):
        version = s.version('produce')
        data = batches.good(s.rng) if s.rng.random() < 0.5 else batches.odd(s.rng, batches.REFUSED)[1]
        s.play.fire('produce', version, {'acks': 0, 'timeout_ms': 1000, 'topic_data': [
            {**s.topic_of(version, s.rng.choice((s.a, s.a, s.b)), 13), 'partition_data': [
                {'index': s.rng.choice((0, 0, 5)), 'records': data}]}]})
        s.ask('api_versions')
        s.list_offsets(-1)
    s.fetch(0)


def idempotent(s):
    """Sequences that go on, come twice, leave a gap; and another epoch."""
    s.create(partitions=1)
    producer = s.play.symbol('producer', -1)
    s.ask('init_producer_id', transactional_id=None, learn={'producer': 'producer_id'})
    s.ask('init_producer_id', oddities=None)
    ids = [side.values.get('producer', -1) for side in s.play.sides]
    if -1 in ids:
        return
    sequence, sent, epoch = 0, [], 0
    for _ in range(10):
        what = s.rng.choice(('next', 'next', 'next', 'again', 'gap', 'older', 'epoch', 'partly'))
        count, at, used = s.rng.choice((1, 2, 3)), sequence, epoch
        if what == 'again' and sent:
            at, count, used = s.rng.choice(sent[-6:])
        elif what == 'gap':
            at = sequence + 3
        elif what == 'older':
            used = epoch - 1
        elif what == 'epoch':
            epoch = used = epoch + 1
            at = s.rng.choice((0, 0, 4))
            sequence = 0
        elif what == 'partly' and sent:
            at = sent[-1][0] + 1
        s.produce(Sequenced(s.rng.randrange(1 << 30), count, producer, used, at))
        if what in ('next', 'epoch') and at == sequence:
            sent.append((at, count, used))
            sequence += count
        s.soup(('produce', 'list_offsets', 'describe_producers'), s.rng.choice((0, 0, 1)))
    s.ask('describe_producers', topics=[{'name': s.a, 'partition_indexes': [0, 3]}])
    s.fetch(0)


class Sequenced(pair.Symbol):
    """A batch of a producer whose id each broker gave itself."""

    def __init__(self, seed, count, producer, epoch, sequence):
        super().__init__(f'{count} records, sequence {sequence}, epoch {epoch}', None)
        self.arguments = seed, count, producer, epoch, sequence

    def value(self, values):
        seed, count, producer, epoch, sequence = self.arguments
        return batches.good(random.Random(seed), count, 0, producer_id=producer.value(values), producer_epoch=epoch,
                            base_sequence=sequence)


def sessions(s):
    """Incremental fetch sessions: what they repeat, what they forget, and wrong epochs."""
    s.create(partitions=3)
    s.produce(batches.good(s.rng), 0)
    version = s.version('fetch', low=7)
    session = s.play.symbol('session', 0)

    def ask(epoch, partitions, forgotten=(), used=None, at=None):
        at = version if at is None else at
        named = s.topic_of(at, s.a, 13)
        tree = {'replica_id': -1, 'max_wait_ms': s.rng.choice((0, 0, 30)), 'min_bytes': 1, 'max_bytes': 1 << 20, 'isolation_level': 0,
                'session_id': session if used is None else used, 'session_epoch': epoch, 'topics': [
                    {**named, 'partitions': [{'partition': p, 'fetch_offset': offset, 'partition_max_bytes': 1 << 20}
                                             for p, offset in partitions]}] if partitions else [],
                'forgotten_topics_data': [{**named, 'partitions': list(forgotten)}] if forgotten else []}
        return s.ask('fetch', at, tree, learn={'session': 'session_id'} if epoch == 0 else ())
    ask(0, [(0, 0), (1, 0), (s.rng.choice((2, 2, 7)), 0)], used=0)
    epoch = 1
    for _ in range(8):
        what = s.rng.choice(('more', 'more', 'produce', 'produce', 'move', 'forget', 'wrong', 'other', 'close', 'again', 'ids'))
        if what == 'produce':
            s.produce(batches.good(s.rng), s.rng.choice((0, 1, 2)))
        if what in ('more', 'produce', 'move', 'forget'):
            ask(epoch, [(s.rng.choice((0, 1, 2)), s.rng.choice((0, 1, 2, 50)))] if what == 'move' else (),
                [s.rng.choice((0, 1, 2, 7))] if what == 'forget' else ())
            epoch += 1
        elif what == 'wrong':
            ask(s.rng.choice((epoch + 1, epoch + 5, 77)), ())
        elif what == 'other':
            ask(1, (), used=s.rng.choice((123456, -1, 1)))
        elif what == 'close':
            ask(-1, [(0, 0)] if s.rng.random() < 0.5 else ())
        elif what == 'ids':
            ask(epoch, (), at=12 if version > 12 else 13)
        elif what == 'again':
            ask(0, [(0, 0), (1, 1)])
            epoch = 1


def log_dirs(s):
    """What an older release serves: the sizes of logs."""
    s.ask('create_topics', s.version('create_topics', high=4), {'topics': [
        {'name': name, 'num_partitions': s.rng.choice((1, 2)), 'replication_factor': 1} for name in (s.a, s.b)], 'timeout_ms': 10000})
    for _ in range(4):
        s.produce(batches.good(s.rng), s.rng.choice((0, 0, 1, 5)), s.rng.choice((s.a, s.b)), version=s.version('produce', high=11))
        s.ask('describe_log_dirs', topics=[{'topic': s.rng.choice((s.a, s.b, s.c)), 'partitions': [0, 1, s.rng.choice((1, 7))]}])
        s.ask('describe_log_dirs', oddities=None)


# --- groups ------------------------------------------------------------------------------------------------------------

class Member:
    def __init__(self, stage, name, instance=None, protocols=('range',)):
        self.s, self.name, self.instance, self.protocols = stage, name, instance, protocols
        self.line = name
        self.id = stage.play.symbol(name, '')
        self.topics = [stage.a]

    def metadata(self):
        return b'\0\0' + frames.encode(frames.DATA['consumer_protocol_subscription'], 0, {'topics': self.topics, 'user_data': b''})

    def join(self, version=None, known=True, **given):
        version = self.s.version('join_group') if version is None else version
        tree = {'group_id': self.s.group, 'session_timeout_ms': 30000 if version else 8000, 'rebalance_timeout_ms': 2500,
                'member_id': self.id if known else '', 'group_instance_id': self.instance if version >= 5 else None,
                'protocol_type': 'consumer', 'protocols': [{'name': name, 'metadata': self.metadata()} for name in self.protocols],
                'reason': None, **given}
        return self.s.ask('join_group', version, tree, line=self.line, learn={self.name: 'member_id'})

    def enter(self, version=None):
        """The first join, and the second where the broker wants one."""
        version = self.s.version('join_group') if version is None else version
        answer = self.join(version, known=False)
        if answer and answer.get('error_code') == 79:
            answer = self.join(version)
        return answer

    def sync(self, generation, assignments=(), **given):
        version = self.s.version('sync_group')
        return self.s.ask('sync_group', version, {
            'group_id': self.s.group, 'generation_id': generation, 'member_id': self.id, 'group_instance_id': self.instance,
            'protocol_type': 'consumer', 'protocol_name': 'range', 'assignments': [
                {'member_id': member.id, 'assignment': b'\0\0\0\0\0\0' + member.name.encode()} for member in assignments], **given},
            line=self.line)

    def beat(self, generation):
        return self.s.ask('heartbeat', tree={'group_id': self.s.group, 'generation_id': generation, 'member_id': self.id,
                                             'group_instance_id': self.instance})

    def leave(self, **given):
        return self.s.ask('leave_group', tree={'group_id': self.s.group, 'member_id': self.id, 'members': [
            {'member_id': self.id, 'group_instance_id': self.instance}], **given})

    def commit(self, generation, offset=None, topic=None):
        return self.s.ask('offset_commit', tree={
            'group_id': self.s.group, 'generation_id_or_member_epoch': generation, 'member_id': self.id,
            'group_instance_id': self.instance, 'topics': [{'name': topic or self.s.a, 'partitions': [
                {'partition_index': self.s.rng.choice((0, 0, 1, 7)), 'committed_offset': self.s.rng.randrange(9) if offset is None else offset,
                 'committed_metadata': self.s.rng.choice((None, '', 'note'))}]}]})


def generation_of(answer, otherwise):
    return answer['generation_id'] if answer and answer.get('error_code') == 0 else otherwise


def look(s):
    """What everybody may see of a group."""
    s.ask('describe_groups', groups=[s.group, *s.rng.choice(((), (s.group,), (s.play.prefix + 'gx',)))])
    s.ask('list_groups')
    s.ask('offset_fetch', oddities=None)
    s.ask('offset_fetch', tree={'group_id': s.group, 'topics': None, 'groups': [{'group_id': s.group, 'topics': None}]},
          version=s.version('offset_fetch', low=2))


def one_member(s):
    s.create()
    one = Member(s, 'm1', s.rng.choice((None, None, 'i1')))
    generation = generation_of(one.enter(), 1)
    s.soup(GROUP_APIS)
    one.sync(generation, [one])
    one.beat(generation)
    s.soup(GROUP_APIS)
    for _ in range(2):
        one.commit(generation + s.rng.choice((0, 0, 0, 1, -1)))
        s.soup(GROUP_APIS)
    look(s)
    s.ask('offset_delete', oddities=None)
    s.ask('offset_delete', tree={'group_id': s.group, 'topics': [{'name': s.a, 'partitions': [{'partition_index': 0}]}]})
    s.ask('delete_groups', groups_names=[s.group])
    if s.rng.random() < 0.5:
        generation = generation_of(one.join(), generation)
        one.sync(generation, [one])
        one.beat(generation)
    one.leave()
    s.soup(GROUP_APIS)
    one.beat(generation)
    one.commit(generation)
    look(s)
    s.ask('offset_delete', tree={'group_id': s.group, 'topics': [{'name': s.a, 'partitions': [{'partition_index': 0}, {'partition_index': 9}]}]})
    s.ask('delete_groups', groups_names=[s.group] * s.rng.choice((1, 1, 2)))
    look(s)


def two_members(s):
    """One comes, another joins, one leaves; static ones come back by another connection."""
    s.create()
    fixed = s.rng.random() < 0.4
    one, two = Member(s, 'm1', 'i1' if fixed else None), Member(s, 'm2', s.rng.choice(('i2', None)) if fixed else None)
    if s.rng.random() < 0.2:
        two.protocols = s.rng.choice((('roundrobin', 'range'), ('roundrobin',), ()))
    generation = generation_of(one.enter(), 1)
    one.sync(generation, [one])
    s.soup(GROUP_APIS, s.rng.choice((0, 1)))
    two.enter()
    one.beat(generation)
    one.commit(generation)
    s.soup(('describe_groups', 'heartbeat', 'list_groups', 'offset_commit', 'offset_fetch'))
    answer = one.join()
    s.play.collect_all()
    generation = generation_of(answer, generation + 1)
    first, second = (one, two) if s.rng.random() < 0.5 else (two, one)
    first.sync(generation, [one, two] if first is one else ())
    one.beat(generation)
    second.sync(generation, [one, two] if second is one else ())
    s.play.collect_all()
    look(s)
    two.beat(generation)
    two.commit(generation)
    if fixed:
        again = Member(s, 'm3', 'i1')
        answer = again.join(known=False)
        s.play.collect_all()
        one.beat(generation)
        one.commit(generation)
        again.beat(generation_of(answer, generation))
        look(s)
    s.soup(GROUP_APIS, s.rng.choice((0, 1)))
    two.leave()
    one.beat(generation)
    generation = generation_of(one.join(), generation + 1)
    s.play.collect_all()
    one.sync(generation, [one])
    one.beat(generation)
    s.ask('delete_groups', groups_names=[s.group])
    one.leave()
    look(s)
    s.ask('delete_groups', groups_names=[s.group])


class Consumer:
    """Of KIP-848."""

    def __init__(self, stage, name, instance=None):
        self.s, self.id, self.instance = stage, f'{stage.play.prefix}-{name}', instance

    def beat(self, epoch, **given):
        return self.s.ask('consumer_group_heartbeat', 1, {
            'group_id': self.s.group, 'member_id': self.id, 'member_epoch': epoch, 'instance_id': self.instance, **given})

    def join(self, topics, **given):
        return self.beat(0, rebalance_timeout_ms=30000, subscribed_topic_names=topics, topic_partitions=[], **given)

    def commit(self, epoch):
        version = self.s.version('offset_commit', low=8)
        return self.s.ask('offset_commit', version, {
            'group_id': self.s.group, 'generation_id_or_member_epoch': epoch, 'member_id': self.id, 'group_instance_id': self.instance,
            'topics': [{**self.s.topic_of(version, self.s.a, 10), 'partitions': [
                {'partition_index': self.s.rng.choice((0, 0, 7)), 'committed_offset': self.s.rng.randrange(9), 'committed_metadata': ''}]}]})


def look_at_consumers(s):
    s.ask('consumer_group_describe', tree={'group_ids': [s.group], 'include_authorized_operations': False})
    look(s)


def consumers(s):
    """A group of KIP-848 of one member; one of the classic protocol comes and goes, or stays behind. Of topics there is none, so that it
    does not matter when a coordinator hears of them."""
    s.create()
    one = Consumer(s, 'c1', s.rng.choice((None, None, 'i1')))
    two = Consumer(s, 'c2', one.instance)
    old = Member(s, 'm1')
    old.topics = []
    if s.rng.random() < 0.5:  # it was a classic group
        generation = generation_of(old.enter(), 1)
        s.ask('sync_group', s.version('sync_group'), {
            'group_id': s.group, 'generation_id': generation, 'member_id': old.id, 'protocol_type': 'consumer', 'protocol_name': 'range',
            'assignments': [{'member_id': old.id, 'assignment': b'\0\0' + bytes(4) + b'\xff' * 4}]}, line=old.line)
    answer = one.join([], **s.rng.choice(({}, {'server_assignor': 'range'}, {'server_assignor': 'none'}, {'rack_id': 'r'}, {'instance_id': ''})))
    epoch = answer.get('member_epoch') or 1
    s.soup(GROUP_APIS)
    for _ in range(3):
        one.beat(epoch + s.rng.choice((0, 0, 0, 1, -1)), **s.rng.choice(({}, {'topic_partitions': []}, {'subscribed_topic_names': []})))
        one.commit(epoch + s.rng.choice((0, 0, 1)))
    look_at_consumers(s)
    two.join([])
    answer = old.enter()
    generation = generation_of(answer, epoch)
    old.sync(generation)
    old.beat(generation)
    old.commit(generation)
    one.beat(epoch)
    look_at_consumers(s)
    s.soup(GROUP_APIS)
    if s.rng.random() < 0.5:
        old.leave()
    two.beat(-1)
    one.beat(-2 if one.instance and s.rng.random() < 0.5 else -1)
    old.beat(generation)
    look_at_consumers(s)
    s.ask('delete_groups', groups_names=[s.group])
    look_at_consumers(s)


def simple_commits(s):
    """Offsets without members."""
    s.create()
    for _ in range(4):
        s.ask('offset_commit', generation_id_or_member_epoch=-1, member_id='', group_instance_id=None, group_id=s.group)
        s.ask('offset_commit', oddities=None)
        s.ask('offset_fetch', oddities=None)
        s.soup(GROUP_APIS)
    look(s)
    s.ask('offset_delete', tree={'group_id': s.group, 'topics': [{'name': s.a, 'partitions': [{'partition_index': 0}]}]})
    if s.rng.random() < 0.5:
        s.ask('delete_topics', topics=[{'name': s.a, 'topic_id': frames.NO_UUID}], topic_names=[s.a])
        for group in s.things.groups:  # Kafka's coordinator forgets what was committed there a little later
            s.play.settle('offset_fetch', 5, {'group_id': group, 'topics': [{'name': s.a, 'partition_indexes': [0, 1, 7]}]})
    look(s)
    s.ask('delete_groups', groups_names=[s.group, s.group][:s.rng.choice((1, 2))])
    look(s)


# --- administration ----------------------------------------------------------------------------------------------------

def topics(s):
    for _ in range(2):
        s.ask('create_topics', oddities=None)
    s.create(s.b, partitions=2, configs=dict([s.things.setting()]))
    s.ask('create_topics', topics=[{'name': s.b, 'num_partitions': 1, 'replication_factor': 1}], validate_only=s.rng.random() < 0.5)
    s.ask('metadata', oddities=None)
    s.ask('create_partitions', topics=[{'name': s.b, 'count': s.rng.choice((3, 4)), 'assignments': None}])
    s.ask('create_partitions', oddities=None)
    s.ask('describe_topic_partitions', topics=[{'name': s.b}, {'name': s.rng.choice((s.a, s.b, s.c))}], cursor=None,
          response_partition_limit=s.rng.choice((2000, 2, 1)))
    s.ask('describe_topic_partitions', oddities=None)
    s.soup(ADMIN_APIS)
    version = s.version('delete_topics')
    s.ask('delete_topics', version, {'topics': [{'name': None, 'topic_id': s.things.topic_id(s.b)}], 'topic_names': [s.b], 'timeout_ms': 10000})
    s.ask('delete_topics', oddities=None)
    s.create(s.b)
    s.ask('metadata', s.version('metadata', low=12), {'topics': [{'name': None, 'topic_id': s.things.topic_id(s.b)}]})
    s.soup(ADMIN_APIS)


def settings(s):
    s.create(configs=dict([s.things.setting(True)]))
    for _ in range(5):
        name, value = s.things.setting(s.rng.random() < 0.6)
        what = s.rng.random()
        resource = {'resource_type': 2, 'resource_name': s.a}
        if what < 0.3:
            s.ask('alter_configs', tree={'resources': [{**resource, 'configs': [{'name': name, 'value': value}]}],
                                         'validate_only': s.rng.random() < 0.2})
        elif what < 0.7:
            s.ask('incremental_alter_configs', tree={'validate_only': s.rng.random() < 0.2, 'resources': [{**resource, 'configs': [
                {'name': name, 'value': s.rng.choice((value, value, value, None)), 'config_operation': s.rng.choice((0, 0, 1, 2, 3))}]}]})
        else:
            s.soup(('alter_configs', 'incremental_alter_configs', 'describe_configs'), 1)
    s.ask('describe_configs', oddities=None)
    s.ask('describe_configs', resources=[{'resource_type': 4, 'resource_name': s.rng.choice(('1', '', '2')), 'configuration_keys': s.rng.choice(
        (['log.retention.ms', 'num.partitions'], [], ['message.max.bytes', 'no.such.key'], ['compression.type']))}])
    logger = {'resource_type': 8, 'resource_name': s.rng.choice(('1', '1', '', '2'))}
    s.ask('incremental_alter_configs', tree={'validate_only': True, 'resources': [{**logger, 'configs': [
        {'name': s.rng.choice(('root', 'no.such.logger')), 'value': s.rng.choice(('DEBUG', 'FATAL', 'LOUD', None)),
         'config_operation': s.rng.choice((0, 0, 1, 2, 3))}]}]})
    s.ask('describe_configs', resources=[{**logger, 'configuration_keys': s.rng.choice((['root'], ['no.such.logger'], None))}])


def anything(s):
    """Chance alone, of every key."""
    if s.rng.random() < 0.8:
        s.create()
    names = [name for name in s.versions if name in s.play.apis]
    for _ in range(16):
        s.soup(names, 1)


def damaged(s):
    """Frames that are no requests."""
    s.create(partitions=1)
    names = [name for name in s.versions if name not in ('create_topics', 'create_partitions', 'alter_configs', 'join_group',
                                                          'incremental_alter_configs', 'sync_group', 'delete_topics', 'metadata', 'alter_client_quotas')]
    for _ in range(12):
        name = s.rng.choice(names)
        api, version = s.play.apis[name], s.version(name)
        tree = s.filler.fill(api, version, 0)
        what = s.rng.choice(('cut', 'more', 'flip', 'long', 'tag', 'key', 'version', 'empty'))
        body = bytearray(frames.encode(api.request, version, pair.resolved(tree, {})))
        if what == 'cut':
            del body[s.rng.randrange(len(body) + 1):]
        elif what == 'more':
            body += bytes(s.rng.choice((1, 3, 100)))
        elif what == 'flip' and body:
            body[s.rng.randrange(len(body))] ^= 1 << s.rng.randrange(8)
        elif what == 'long' and body:
            body[s.rng.randrange(len(body)):] = s.rng.choice((b'\xff\xff\xff\xff\x0f', b'\x7f\xff\xff\xff', b'\xff\xff\xff\xff', b'\xff' * 10))
        elif what == 'empty':
            body = b''
        if what == 'tag' and frames.flexible_at(api.request, version):
            s.ask(name, version, {**tree, '?tags': [(s.rng.choice((9, 77, 1 << 30)), bytes(s.rng.randrange(9)))]})
        elif what == 'key':
            s.play.ask(name, version, tree, may_wait=name in WAITING, key=s.rng.choice((-1, 93, 999, 32767, 4, 6)))
        elif what == 'version':
            s.play.ask(name, s.rng.choice((-1, 99, 32767)), tree={'?damage': what}, body=bytes(body), may_wait=name in WAITING)
        elif what != 'tag':
            s.ask(name, version, {**tree, '?damage': what}, body=bytes(body))
    s.ask('api_versions')


STORIES = {
    'records': (records, 6), 'refused': (refused, 3), 'unanswered': (unanswered, 1), 'idempotent': (idempotent, 3),
    'sessions': (sessions, 3), 'one_member': (one_member, 4), 'two_members': (two_members, 3), 'simple_commits': (simple_commits, 2),
    'consumers': (consumers, 3), 'topics': (topics, 4), 'log_dirs': (log_dirs, 1), 'settings': (settings, 4), 'anything': (anything, 8), 'damaged': (damaged, 3),
}


def story_of(seed, index, only=None):
    rng = random.Random(f'{seed} {index}')
    name = rng.choices(list(STORIES), [weight for _, weight in STORIES.values()])[0]
    return only or name, rng


def run(play, seed, index, versions, only=None, newest=True):
    """Plays one to its end; raises pair.Differs."""
    name, rng = story_of(seed, index, only)
    stage = Stage(play, rng, versions, newest)
    try:
        STORIES[name][0](stage)
        play.collect_all()
    except pair.Differs:
        raise
    except pair.Stop:
        pass
