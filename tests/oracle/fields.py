# SPDX-License-Identifier: Apache-2.0
"""Values for the fields of any request, from chance: usual ones that the play's own things are named by, and odd ones
that no client should send. Fields are known by their names and types, not by the API they stand in."""

import batches
import frames

BIG = 2**31 - 1
HUGE = 2**63 - 1
OWN = '<own>'  # the play's prefix: two plays must not share what can be made
LONG = OWN + 'x' * 300
ODD_NAMES = ('', '.', '..', 'a/b', 'a b', 'ü', LONG[:249], LONG[:250], '\0')
LOOKING = ('produce', 'metadata', 'describe_configs', 'describe_topic_partitions', 'offset_commit',
           'offset_fetch')
# Topic settings and values for them: good ones first.
SETTINGS = {
    'cleanup.policy': ('delete', 'compact', 'compact,delete', 'delete,compact', '', 'compress', 'delete,delete', ' delete'),
    'compression.type': ('producer', 'gzip', 'uncompressed', 'lz4', 'snappy', 'zstd', 'none', 'GZIP', ''),
    'compression.gzip.level': ('1', '-1', '9', '0', '10', 'x'),
    'compression.lz4.level': ('9', '1', '17', '0', '18'),
    'compression.zstd.level': ('3', '22', '-131072', '23', '0', '-131073'),
    'delete.retention.ms': ('1000', '0', '-1', 'x'),
    'file.delete.delay.ms': ('60000', '0', '-1'),
    'flush.messages': ('1', '10', '0', '9223372036854775807', '9223372036854775808'),
    'flush.ms': ('1000', '0', '-1'),
    'index.interval.bytes': ('4096', '0', '-1', '2147483648'),
    'max.compaction.lag.ms': ('9223372036854775807', '1', '0'),
    'max.message.bytes': ('1048588', '1000', '100', '0', '-1', '2147483647', ' 1000', '1000 ', '+1000', '1e3', '0x10', '1_000'),
    'message.timestamp.type': ('CreateTime', 'LogAppendTime', 'createtime', ''),
    'message.timestamp.before.max.ms': ('9223372036854775807', '86400000', '1000', '0', '-1'),
    'message.timestamp.after.max.ms': ('3600000', '1000', '0', '-1'),
    'min.cleanable.dirty.ratio': ('0.5', '0', '1', '1.1', '-0.1', '.5', '5e-1', 'NaN', 'x'),
    'min.compaction.lag.ms': ('0', '1000', '-1'),
    'min.insync.replicas': ('1', '2', '0', '-1'),
    'preallocate': ('false', 'true', 'TRUE', 'yes', ''),
    'retention.bytes': ('-1', '1000000', '-2', '0'),
    'retention.ms': ('604800000', '-1', '86400000', '-2', '99999999999999999999', '1.5'),
    'segment.bytes': ('1073741824', '1048576', '1048575', '14', '0'),
    'segment.index.bytes': ('10485760', '1000', '3'),  # with 4 Kafka cannot make the log
    'segment.jitter.ms': ('0', '1000', '-1'),
    'segment.ms': ('604800000', '1', '0'),
    'unclean.leader.election.enable': ('false', 'true', 'maybe'),
    'leader.replication.throttled.replicas': ('', '*', '0:1', '0:1,1:1', 'x', '0'),
    'follower.replication.throttled.replicas': ('', '*', '0:1', 'none'),
    'no.such.setting': ('1',),
    '': ('1',),
}
MOSTLY_EMPTY = ('forgotten_topics_data', 'assignments', 'configs')
USUAL_SETTINGS = ('retention.ms', 'cleanup.policy', 'max.message.bytes', 'compression.type', 'segment.ms',
                  'message.timestamp.type', 'min.insync.replicas', 'delete.retention.ms')


class Things:
    """What a play may name: its topics, groups, members. Names that stand first are likelier."""

    def __init__(self, rng, prefix, symbol):
        self.rng, self.prefix, self.symbol = rng, prefix, symbol
        self.topics = [prefix + name for name in 'abc']
        self.absent = prefix + 'x'
        self.groups = [prefix + name for name in ('g1', 'g2')]
        self.members = [symbol('m1', 'no-member'), symbol('m2', 'no-member'), '']

    def topic(self):
        return self.rng.choice(self.topics * 3 + [self.absent])

    def topic_id(self, name=None):
        return self.symbol(f'id of {name or self.topic()}', b'\x11' * 16)

    def group(self):
        return self.rng.choice(self.groups * 3 + [self.prefix + 'gx'])

    def setting(self, odd=False):
        """A setting and a value."""
        name = self.rng.choice(list(SETTINGS) if odd else USUAL_SETTINGS)
        values = SETTINGS[name]
        return name, self.rng.choice(values if odd else values[:2])


class Filler:
    """Fills a request. The first walk chooses usual values and counts the fields, then some become odd."""

    def __init__(self, rng, things):
        self.rng, self.things = rng, things

    def fill(self, api, version, oddities=None):
        """oddities: how many values to make odd; chance, when None."""
        self.api, self.version = api, version
        tree = self.struct(api.request.root)
        if oddities is None:
            oddities = self.rng.choice((0, 0, 0, 1, 1, 1, 2, 3))
        for _ in range(oddities):
            places = list(self.places(api.request.root, tree))
            if places:
                holder, key, field = self.rng.choice(places)
                holder[key] = self.odd(field, holder[key])
        self.harmless(tree)
        return tree

    def struct(self, struct):
        tree = {}
        for field in struct.plain_fields() + struct.tagged_fields():
            if frames.inside(self.version, field.versions):
                tree[field.name] = self.field(struct, field, tree)
        return tree

    def field(self, struct, field, tree):
        if field.array:
            if frames.inside(self.version, field.null_versions) and self.rng.random() < 0.15:
                return None
            count = self.rng.choice((0, 0, 0, 0, 0, 1) if field.name in MOSTLY_EMPTY else (1, 1, 1, 1, 2, 3, 0))
            return [self.one(struct, field, tree) for _ in range(count)]
        return self.one(struct, field, tree)

    def one(self, struct, field, tree):
        if field.struct:
            return None if field.optional_struct() and self.rng.random() < 0.5 else self.struct(field.struct)
        usual = USUAL.get((struct.label, field.name)) or USUAL.get(field.name)
        if usual:
            return usual(self.things, tree)
        if field.default is not None:
            return frames.default_of(field)
        return {'bool': self.rng.random() < 0.5, 'string': None if field.null_versions else 'text', 'bytes': b'bytes',
                'records': b'', 'uuid': frames.NO_UUID}.get(field.base, self.rng.choice((0, 1, 2)))

    def places(self, struct, tree):
        """(holder, key, field) of every leaf and list of a request."""
        for field in struct.fields:
            if field.name not in tree:
                continue
            value = tree[field.name]
            if field.array and value is None:
                continue
            yield tree, field.name, field
            items = value if field.array and value else [value] if isinstance(value, dict) else []
            for at, item in enumerate(items):
                if isinstance(item, dict):
                    yield from self.places(field.struct, item)
                elif field.array:
                    yield value, at, field

    def odd(self, field, old):
        rng = self.rng
        if isinstance(old, list):
            what = rng.choice(('empty', 'twice', 'null', 'twice'))
            if what == 'twice' and old:
                return old + [old[0]]
            return None if what == 'null' and frames.inside(self.version, field.null_versions) else []
        if field.struct:
            return old
        if field.base == 'string':
            special = ODD.get(field.name)
            if frames.inside(self.version, field.null_versions) and rng.random() < 0.25:
                return None
            names = ODD_NAMES + ('__consumer_offsets',) if self.api.name in LOOKING else ODD_NAMES
            return self.own(rng.choice(special or names))
        if field.base in ('bytes', 'records'):
            return rng.choice((b'', b'\0', b'\xff' * 70, bytes(61))) if rng.random() < 0.7 or not field.null_versions else None
        if field.base == 'uuid':
            return rng.choice((frames.NO_UUID, bytes(15) + b'\1', b'\x22' * 16))
        if field.base == 'bool':
            return not old
        if field.base == 'f64':
            return rng.choice((0.0, -1.0, 0.5, 1e30, 1e9))
        bits = {'i8': 7, 'i16': 15, 'u16': 15, 'i32': 31, 'i64': 63}.get(field.base, 31)
        return rng.choice(ODD.get(field.name) or (-1, 0, 1, 2, 3, 5, 99, -2, 2**bits - 1, -2**bits))

    def own(self, text):
        """As long as it was, where it is long."""
        mine = text.replace(OWN, self.things.prefix)
        return mine if len(text) < 100 else mine[:len(text)]

    def harmless(self, tree):
        """Not what would change the broker for the plays beside this one, or make it wait."""
        for resource in tree.get('resources') or ():
            if resource.get('resource_type') != 2 and 'validate_only' in tree:
                tree['validate_only'] = True
        if 'timeout_ms' in tree and self.api.name not in ('produce', 'list_offsets', 'delete_records'):
            tree['timeout_ms'] = 10000  # or it is chance whether it is done
        if 'max_wait_ms' in tree:
            tree['max_wait_ms'] = min(tree['max_wait_ms'], 60)
        if self.api.name in ('offset_commit', 'delete_groups') and '' in (tree.get('group_id'), *tree.get('groups_names', ())):
            tree.update({'group_id': self.things.group(), 'groups_names': [self.things.group()]})
        if self.api.name == 'alter_client_quotas':
            tree['validate_only'] = True  # some would be of everybody
        if self.api.name == 'produce' and tree.get('acks') == 0:
            tree['acks'] = 1


def resource_name(things, tree):
    return {2: things.topic, 4: lambda: '1', 8: lambda: '1', 32: things.group}.get(tree['resource_type'], lambda: 'r')()


def configs(things, tree):
    name, value = things.setting()
    tree['value'] = value
    return name


def choice(*values):
    return lambda things, tree: things.rng.choice(values)


def group(things, tree):
    return things.group()


def topic(things, tree):
    return things.topic()


def member(things, tree):
    return things.rng.choice(things.members)


def match(things, tree):
    return things.prefix if tree['match_type'] == 0 else None


USUAL = {
    'entity_type': choice('user', 'client-id', 'client-id', 'ip'), 'entity_name': choice('somebody', '192.0.2.1', None), 'match_type': choice(0, 1, 2),
    'match': match, ('op', 'value'): choice(1.0, 1000.0), ('op', 'key'): choice('producer_byte_rate', 'consumer_byte_rate', 'request_percentage',
                                                                               'controller_mutation_rate', 'connection_creation_rate'),
    ('topic', 'name'): topic, ('topic', 'topic'): topic, 'topic_names': topic, 'topic_name': topic, 'topic': topic,
    ('group_topic', 'name'): topic,
    'topic_id': lambda things, tree: things.topic_id(tree.get('name')) if tree.get('name') is None else frames.NO_UUID,
    'group_id': group, 'key': group, 'coordinator_keys': group, 'groups': group, 'groups_names': group,
    'member_id': member, 'group_instance_id': choice(None, None, None, 'i1', 'i2'),
    'protocol_type': choice('consumer'), 'protocol_name': choice('range'), ('protocol', 'name'): choice('range', 'roundrobin'),
    'generation_id': choice(1, 1, 2, -1), 'generation_id_or_member_epoch': choice(-1, -1, 1, 2), 'member_epoch': choice(-1),
    'session_timeout_ms': choice(10000, 30000), 'rebalance_timeout_ms': choice(300, 600),
    'partition_index': choice(0, 0, 0, 1), 'partition': choice(0, 0, 0, 1), 'index': choice(0, 0, 0, 1),
    'partitions': choice(0, 0, 1), 'partition_indexes': choice(0, 0, 1), 'partition_id': choice(0, 0, 1),
    'current_leader_epoch': choice(-1, -1, 0), 'leader_epoch': choice(0), 'last_fetched_epoch': choice(-1, -1, 0),
    'committed_leader_epoch': choice(-1, 0), 'committed_offset': choice(0, 1, 5, 1000), 'retention_time_ms': choice(-1, -1, 60000),
    'committed_metadata': choice('', None, 'note'), 'require_stable': choice(False, True),
    'fetch_offset': choice(0, 0, 1, 2, 5), 'log_start_offset': choice(-1), 'offset': choice(0, 1, -1),
    'partition_max_bytes': choice(1 << 20), 'max_bytes': choice(1 << 20), 'min_bytes': choice(0, 1), 'max_wait_ms': choice(0, 20),
    'isolation_level': choice(0, 1), 'session_id': choice(0), 'session_epoch': choice(-1, 0), 'rack_id': choice(''),
    'cluster_id': choice(None), 'replica_id': choice(-1), 'replica_epoch': choice(-1), 'replica_directory_id': choice(frames.NO_UUID),
    'timestamp': choice(-1, -2, -3, -4, 0, 1000),
    'timeout_ms': choice(10000), 'acks': choice(-1, 1), 'transactional_id': choice(None), 'transaction_timeout_ms': choice(60000),
    'producer_id': choice(-1), 'producer_epoch': choice(-1), 'key_type': choice(0),
    'replicas': choice(1), 'num_partitions': choice(1, 2, 3, -1), 'replication_factor': choice(1, -1), 'broker_ids': choice(1), 'count': choice(2, 3, 4),
    'validate_only': choice(False, True), ('config', 'name'): configs, 'value': lambda things, tree: tree.get('value', '1'),
    'configuration_keys': choice('retention.ms', 'cleanup.policy', 'compression.type', 'max.message.bytes'),
    'resource_type': choice(2, 2, 2, 2, 4), 'resource_name': resource_name, 'config_operation': choice(0, 0, 1, 2, 3),
    'records': lambda things, tree: batches.good(things.rng) if things.rng.random() < 0.8 else batches.odd(things.rng)[1],
    'election_type': choice(0, 1), 'client_software_name': choice('oracle'), 'client_software_version': choice('1.0'),
    'states_filter': choice('Stable', 'Empty', 'stable', 'Dead', 'PreparingRebalance'), 'types_filter': choice('classic', 'Classic', 'consumer'),
    'response_partition_limit': choice(2000, 1, 3), 'endpoint_type': choice(1),
    'allow_auto_topic_creation': choice(False, False, True), 'reason': choice(None, 'because'),
}
ODD = {
    'entity_type': ('', 'nobody'), 'entity_name': ('', 'no address', '::1'), 'match': ('', 'x'), 'match_type': (3, -1),
    'group_id': ('', OWN + 'g' * 300, OWN + '\0', OWN + 'ü'), 'key': ('', 'ü'), 'coordinator_keys': ('', 'ü'), 'groups': ('',), 'groups_names': ('',),
    'member_id': ('', 'nobody', 'x' * 300), 'group_instance_id': ('', '.', 'i1', 'x' * 250), 'protocol_type': ('', 'connect'),
    'protocol_name': ('', 'other'), 'states_filter': ('', 'Nonsense'), 'types_filter': ('', 'nonsense'),
    'committed_metadata': ('', 'm' * 4096, 'm' * 4097), 'transactional_id': ('',), 'reason': ('', 'r' * 300),
    'value': ('', '0', '-1', 'x', '1', 'true'), 'client_software_name': ('', '-x', 'x-', 'a b', 'ü'),
    'client_software_version': ('', '1.', 'v 1'), 'cluster_id': ('other',), 'rack_id': ('rack',),
    'session_timeout_ms': (0, -1, 5999, 6000, 1800001), 'rebalance_timeout_ms': (0, -1, 1),
    'timeout_ms': (0, -1), 'acks': (2, -2), 'num_partitions': (0, -2, -100), 'replication_factor': (0, 2, -2, 32767),
    'count': (0, -1, 1), 'broker_ids': (0, 2, -1), 'replicas': (0, 2, -1), 'election_type': (2, -1), 'config_operation': (4, -1),
    'resource_type': (0, 1, 3, 8, 16, 32, 99, -1), 'key_type': (1, 3, -1), 'isolation_level': (2, -1),
    'max_bytes': (0, 1, 100, -1), 'partition_max_bytes': (0, 1, 100, -1), 'min_bytes': (-1, BIG, 100), 'max_wait_ms': (-1, -BIG),
    'timestamp': (-3, -4, -5, -6, -7, -100, HUGE, 5), 'committed_offset': (-1, -2, HUGE), 'replica_id': (0, 1, -2, -3, 5),
    'fetch_offset': (-1, -2, 99, HUGE), 'offset': (-2, 99, HUGE), 'current_leader_epoch': (1, 5, -2), 'leader_epoch': (-1, 1, 5, -2),
    'session_epoch': (1, 5, -2, BIG), 'session_id': (1, -1, 12345), 'response_partition_limit': (0, -1),
    'partition_index': (-1, 7, BIG), 'partition': (-1, 7, BIG), 'index': (-1, 7, BIG), 'partitions': (-1, 7, BIG),
    'partition_indexes': (-1, 7, BIG), 'endpoint_type': (2, 0, 3),
}
