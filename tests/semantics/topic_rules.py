# SPDX-License-Identifier: Apache-2.0
"""Topics and their configuration."""

from side import MIB, alone, batch, check, records_of, same

TOPIC, BROKER, LOGGER = 2, 4, 8
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3


def c1_names(b):
    """What a topic may be called."""
    for number, (name, error) in enumerate((('', 17), ('.', 17), ('..', 17), ('a b', 17), ('a/b', 17), ('x' * 250, 17), ('y' * 249, 0),
                                            ('c1.Name_of-9', 0))):
        same(b.create(name)['error_code'], error, f'{number}: {name[:20]!r}')
    same(b.create('c1_Name.of-9')['error_code'], 17, "'.' and '_' collide")
    same(b.create('c1.Name_of-9')['error_code'], 36, 'it exists')


def c2_counts(b):
    """Partitions and replicas: the broker's defaults for -1, and what is no count."""
    made = b.create('c2-default', -1, -1)
    same((made['error_code'], made['num_partitions'], made['replication_factor']), (0, 1, 1))
    for partitions, replicas, error in ((0, 1, 37), (-2, 1, 37), (1, 0, 38), (1, -2, 38), (1, 2, 38)):
        same(b.create('c2-none', partitions, replicas)['error_code'], error, f'{partitions} partitions of {replicas}')
    same(b.metadata('c2-none')['error_code'], 3)


def c2_assignments(b):
    """A replica list by hand: no counts beside it, partitions from 0 on, each broker once, and all of one size."""
    node = b.ask('metadata', 8, {'topics': []})['brokers'][0]['node_id']

    def assigned(*lists, partitions=-1, replicas=-1):
        return b.create('c2-hand', partitions, replicas, assignments=[
            {'partition_index': index, 'broker_ids': ids} for index, ids in lists])['error_code']
    same(assigned((0, [node]), partitions=1, replicas=1), 42, 'counts beside it')
    same(assigned((1, [node])), 39, 'not from 0 on')
    same(assigned((0, [node, node])), 39, 'twice')
    same(assigned((0, [node + 7])), 39, 'nobody')
    same(assigned((0, [])), 39, 'empty')
    same(assigned((0, [node]), (1, [node])), 0, 'two')
    b.until('both are there', lambda: len(b.metadata('c2-hand')['partitions']) == 2)


def c2_configs(b):
    """A setting that does not exist, or has a value that does not fit: INVALID_CONFIG, and no topic."""
    for key, value in (('no.such.key', '1'), ('retention.ms', 'long'), ('cleanup.policy', 'keep'), ('retention.ms', None),
                       ('segment.bytes', '1'), ('min.insync.replicas', '0')):
        same(b.create('c2-config', configs={key: value})['error_code'], 40, f'{key}={value}')
    same(b.metadata('c2-config')['error_code'], 3)


def c2_twice_in_a_request(b):
    """A name that is there twice is INVALID_REQUEST."""
    topic = {'name': 'c2-twice', 'num_partitions': 1, 'replication_factor': 1, 'configs': [], 'assignments': []}
    answer = b.ask('create_topics', 5, {'topics': [topic, topic], 'timeout_ms': 1000, 'validate_only': False})
    same({topic['error_code'] for topic in answer['topics']}, {42})
    same(b.metadata('c2-twice')['error_code'], 3)


def c3_only_validated(b):
    """validate_only looks at everything and makes nothing; the answer tells what would be."""
    made = b.create('c3', 3, 1, {'retention.ms': 5000}, validate_only=True)
    same((made['error_code'], made['num_partitions'], made['replication_factor']), (0, 3, 1))
    same(b.create('c3', 0, 1, validate_only=True)['error_code'], 37)
    same(b.metadata('c3')['error_code'], 3)


def c3_what_was_made(b):
    """The answer has the settings and an id; Metadata the same id."""
    made = b.create('c3-made', 2, 1, {'retention.ms': 5000})
    configs = {entry['name']: (entry['value'], entry['config_source']) for entry in made['configs']}
    same(configs['retention.ms'], ('5000', 1))
    same(configs['segment.bytes'], ('1073741824', 5))
    b.until('it is known', lambda: b.metadata('c3-made')['error_code'] == 0)
    same(b.topic_id('c3-made'), made['topic_id'])
    same((made['topic_id'][6] >> 4, made['topic_id'][8] >> 6), (4, 2), 'a random UUID')


def c3_no_time_to_wait(b):
    """A timeout of nothing: the topic is made, and the answer says that it was not waited for."""
    same(b.create('c3-hurry', timeout_ms=0)['error_code'], 7)
    b.until('it is there', lambda: b.metadata('c3-hurry')['error_code'] == 0)


@alone
def c4_deletion_may_be_forbidden(b):
    """delete.topic.enable=false: TOPIC_DELETION_DISABLED, and nothing goes."""
    topic = b.topic()
    b.restart(delete_topic_enable='false')
    try:
        same(b.ask('delete_topics', 5, {'topic_names': [topic], 'timeout_ms': 5000})['responses'][0]['error_code'], 73)
        same(b.metadata(topic)['error_code'], 0)
    finally:
        b.restart()


def c4_deleted_by_name_and_id(b):
    """Version 6 takes either; both, or none, or what does not exist is refused."""
    one, two = b.topic(), b.topic()

    def delete(name, topic_id=bytes(16)):
        return b.ask('delete_topics', 6, {'topics': [{'name': name, 'topic_id': topic_id}], 'timeout_ms': 5000})['responses'][0]['error_code']
    topic_id = b.topic_id(two)
    same(delete(one, b.topic_id(one)), 42, 'both')
    same(delete('never-there'), 3, 'unknown name')
    same(delete(None, bytes(range(16))), 100, 'unknown id')
    same((delete(one), delete(None, topic_id)), (0, 0))
    for name in (one, two):
        b.until(f'{name} is gone', lambda n=name: b.metadata(n)['error_code'] == 3)


def c5_more_partitions(b):
    """More, never fewer or as many; records stay where they are."""
    topic = b.topic(partitions=2)
    b.put(topic, b'a')

    def grow(count, assignments=None, validate_only=False):
        return b.ask('create_partitions', 1, {'topics': [{'name': topic, 'count': count, 'assignments': assignments}], 'timeout_ms': 5000,
                                              'validate_only': validate_only})['results'][0]['error_code']
    same([grow(2), grow(1), grow(0), grow(-1)], [37] * 4, 'not more')
    same(grow(3, [{'broker_ids': [99]}]), 39, 'a broker that is not there')
    same(grow(5, [{'broker_ids': [1]}]), 39, 'too few lists')
    same(grow(4, validate_only=True), 0)
    same(len(b.metadata(topic)['partitions']), 2, 'validated only')
    same(grow(4), 0)
    b.until('there are four', lambda: len(b.metadata(topic)['partitions']) == 4)
    same(b.values(topic), [b'a'])


def c6_records_are_deleted(b):
    """Up to an offset, which may lie inside of a batch; -1 is the end."""
    topic = b.topic()
    b.put(topic, b'a', b'b', b'c')
    b.put(topic, b'd')
    answer = b.delete_records(topic, 1)
    same((answer['error_code'], answer['low_watermark'], b.offset(topic, -2)), (0, 1, 1))
    same(b.fetch(topic, 0)['error_code'], 1)
    same(records_from(b, topic, 1), [b'a', b'b', b'c', b'd'], 'the whole batch comes, clients skip')
    same([b.delete_records(topic, offset)['error_code'] for offset in (5, -2)], [1, 1])
    answer = b.delete_records(topic, -1)
    same((answer['error_code'], answer['low_watermark'], b.offset(topic, -1)), (0, 4, 4))
    same(b.delete_records(topic, 2)['low_watermark'], 4, 'it does not go back')


def records_from(b, topic, offset):
    return [value for _, _, _, value in records_of(b.fetch(topic, offset)['records'])]


def c6_not_where_nothing_is_deleted(b):
    """cleanup.policy without delete: POLICY_VIOLATION."""
    topic = b.topic(cleanup_policy='compact')
    b.put(topic, (b'k', b'v'))
    same(b.delete_records(topic, 1)['error_code'], 44)


def c7_settings_one_by_one(b):
    """SET, DELETE, and APPEND and SUBTRACT of lists; others stay."""
    topic = b.topic(retention_ms=5000, cleanup_policy='delete')
    same(b.alter(TOPIC, topic, ('segment.bytes', SET, str(2 * MIB)), ('cleanup.policy', APPEND, 'compact'))['error_code'], 0)

    def now(*keys):
        found = b.configs(TOPIC, topic, list(keys))
        return [found[key]['value'] for key in keys]
    b.until('it holds', lambda: now('segment.bytes', 'retention.ms') == [str(2 * MIB), '5000'])
    same(set(now('cleanup.policy')[0].split(',')), {'compact', 'delete'})
    same(b.alter(TOPIC, topic, ('cleanup.policy', SUBTRACT, 'delete'), ('retention.ms', DELETE, None))['error_code'], 0)
    b.until('it holds', lambda: now('cleanup.policy', 'retention.ms') == ['compact', '604800000'])


def c7_what_is_refused(b):
    """As a whole: a bad change beside a good one changes nothing."""
    topic = b.topic()
    for error, changes in ((40, [('retention.ms', APPEND, '1')]), (40, [('no.such.key', SET, '1')]), (40, [('retention.ms', SET, 'x')]),
                           (42, [('retention.ms', SET, '1'), ('retention.ms', SET, '2')]),
                           (40, [('retention.ms', SET, '1'), ('segment.bytes', SET, '-1')])):
        same(b.alter(TOPIC, topic, *changes)['error_code'], error, changes)
    same(b.alter(TOPIC, 'never-there', ('retention.ms', SET, '1'))['error_code'], 3)
    same(b.alter(TOPIC, topic, ('retention.ms', SET, '1'), validate_only=True)['error_code'], 0)
    same(b.configs(TOPIC, topic)['retention.ms']['value'], '604800000')


def c7_all_at_once(b):
    """AlterConfigs replaces every setting of the topic."""
    topic = b.topic(retention_ms=5000)
    answer = b.ask('alter_configs', 1, {'resources': [{'resource_type': TOPIC, 'resource_name': topic, 'configs': [
        {'name': 'segment.bytes', 'value': str(2 * MIB)}]}], 'validate_only': False})
    same(answer['responses'][0]['error_code'], 0)
    b.until('it holds', lambda: [b.configs(TOPIC, topic)[key]['value'] for key in ('segment.bytes', 'retention.ms')]
            == [str(2 * MIB), '604800000'])


def loggers(b):
    """(the broker's id, {logger: level}, one of them that is not the root)."""
    node = str(b.ask('metadata', 8, {'topics': []})['brokers'][0]['node_id'])
    found = {name: entry['value'] for name, entry in b.configs(LOGGER, node).items()}
    return node, found, min(set(found) - {'root'})


def level(b, node, name):
    return b.configs(LOGGER, node, [name])[name]['value']


def c7_loggers_are_told(b):
    """All of them or those asked for, as settings of their own kind; only by the broker whose they are."""
    node, found, name = loggers(b)
    check('root' in found, f'no root among {sorted(found)}')
    entry = b.configs(LOGGER, node, [name, 'no.such.logger'])
    same(list(entry), [name])
    entry = entry[name]
    same((entry['config_source'], entry['read_only'], entry['is_sensitive'], entry['synonyms'], entry['config_type']), (6, False, False, [], 0))
    for other in ('', '4711', 'x'):
        asked = {'resource_type': LOGGER, 'resource_name': other, 'configuration_keys': None}
        same(b.ask('describe_configs', 4, {'resources': [asked]})['results'][0]['error_code'], 42, other)


@alone
def c7_levels_of_loggers(b):
    """Each level by its name, and taken back: then the logger goes by the root. A restart forgets them."""
    node, found, name = loggers(b)
    try:
        for word in ('TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'):
            same(b.alter(LOGGER, node, (name, SET, word))['error_code'], 0, word)
            same(level(b, node, name), word)
        same(level(b, node, 'root'), found['root'])
        same(b.alter(LOGGER, node, (name, DELETE, None))['error_code'], 0)
        same(b.alter(LOGGER, node, (name, DELETE, None))['error_code'], 0, 'once more')
        same(b.alter(LOGGER, node, ('root', SET, 'ERROR'))['error_code'], 0)
        same((level(b, node, name), level(b, node, 'root')), ('ERROR', 'ERROR'))
    finally:
        b.restart()
    same(level(b, node, 'root'), found['root'], 'started again')


@alone
def c7_levels_that_are_refused(b):
    """What is no level or no logger; the root's is not taken back; nothing is a list; nothing by half, nothing that is only validated."""
    node, found, name = loggers(b)
    for error, changes in ((40, [(name, SET, 'LOUD')]), (40, [(name, SET, 'debug')]), (40, [(name, SET, '')]), (42, [(name, SET, None)]),
                           (40, [('no.such.logger', SET, 'INFO')]), (40, [('no.such.logger', DELETE, None)]), (42, [('root', DELETE, None)]),
                           (42, [(name, APPEND, 'INFO')]), (42, [(name, SUBTRACT, 'INFO')]), (42, [(name, SET, 'INFO'), (name, SET, 'WARN')]),
                           (40, [(name, SET, 'TRACE'), ('root', SET, 'LOUD')])):
        same(b.alter(LOGGER, node, *changes)['error_code'], error, changes)
    same(b.alter(LOGGER, node, (name, SET, 'TRACE'), validate_only=True)['error_code'], 0)
    same(level(b, node, name), found[name])
    for other in ('', '4711', 'x'):
        same(b.alter(LOGGER, other, (name, SET, 'TRACE'))['error_code'], 42, other)
    entries = [{'name': name, 'value': 'INFO'}]
    answer = b.ask('alter_configs', 1, {'resources': [{'resource_type': LOGGER, 'resource_name': node, 'configs': entries}],
                                        'validate_only': False})
    same(answer['responses'][0]['error_code'], 42, 'AlterConfigs')


@alone
def c7_loggers_beside_others(b):
    """Each resource of a request has its own answer, in the order in which they were named."""
    node, _, name = loggers(b)
    topic = b.topic()
    wanted = ((LOGGER, node, name, 'TRACE', 0), (TOPIC, 'never-there', 'retention.ms', '1', 3), (LOGGER, '4711', name, 'TRACE', 42),
              (TOPIC, topic, 'retention.ms', '5000', 0))
    answer = b.ask('incremental_alter_configs', 1, {'validate_only': False, 'resources': [
        {'resource_type': kind, 'resource_name': of, 'configs': [{'name': key, 'config_operation': SET, 'value': value}]}
        for kind, of, key, value, _ in wanted]})
    same([(each['resource_type'], each['resource_name'], each['error_code']) for each in answer['responses']],
         [(kind, of, error) for kind, of, _, _, error in wanted])
    same(level(b, node, name), 'TRACE')
    b.until('it holds', lambda: b.configs(TOPIC, topic)['retention.ms']['value'] == '5000')
    b.alter(LOGGER, node, (name, DELETE, None))


def c8_where_a_value_comes_from(b):
    """The sources, and synonyms in the order that counts."""
    topic = b.topic(retention_ms=5000)
    entry = b.configs(TOPIC, topic)['retention.ms']
    same((entry['value'], entry['config_source'], entry['config_type']), ('5000', 1, 5))
    same([(synonym['name'], synonym['source']) for synonym in entry['synonyms']][:1], [('retention.ms', 1)])
    entry = b.configs(TOPIC, topic)['min.cleanable.dirty.ratio']
    same((entry['value'], entry['config_source']), ('0.01', 4), 'of the broker')
    same([(synonym['name'], synonym['value'], synonym['source']) for synonym in entry['synonyms']],
         [('log.cleaner.min.cleanable.ratio', '0.01', 4), ('log.cleaner.min.cleanable.ratio', '0.5', 5)])
    keys = b.configs(TOPIC, topic, ['retention.ms', 'no.such.key'])
    same(list(keys), ['retention.ms'], 'only what was asked for')


@alone
def c8_what_brokers_set(b):
    """For one broker before that for all, before the file and the default; topics take it over at once."""
    topic, key, node = b.topic(), 'log.segment.delete.delay.ms', str(b.ask('metadata', 8, {'topics': []})['brokers'][0]['node_id'])

    def now():
        entry = b.configs(TOPIC, topic)['file.delete.delay.ms']
        return entry['value'], entry['config_source'], [synonym['source'] for synonym in entry['synonyms']]
    same(now(), ('60000', 5, [5]))
    try:
        same(b.alter(BROKER, '', (key, SET, '50000'))['error_code'], 0)
        b.until('it holds for all', lambda: now() == ('50000', 3, [3, 5]))
        same({name: entry['value'] for name, entry in b.configs(BROKER, '').items()}, {key: '50000'})
        same(b.alter(BROKER, node, (key, SET, '40000'))['error_code'], 0)
        b.until('it holds for this one', lambda: now() == ('40000', 2, [2, 3, 5]))
        entry = b.configs(BROKER, node, [key])[key]
        same((entry['value'], entry['config_source'], entry['read_only']), ('40000', 2, False))
        same(b.alter(BROKER, node, (key, SET, 'soon'))['error_code'], 40)
        same(b.alter(BROKER, node, ('log.dirs', SET, '/elsewhere'))['error_code'], 42, 'what a start alone decides')
    finally:
        b.alter(BROKER, node, (key, DELETE, None))
        b.alter(BROKER, '', (key, DELETE, None))
    b.until('it is over', lambda: now() == ('60000', 5, [5]))


def c8_of_whom(b):
    """A topic that is not there is unknown; only the broker itself tells of a broker."""
    def error(kind, name):
        asked = {'resource_type': kind, 'resource_name': name, 'configuration_keys': None}
        return b.ask('describe_configs', 4, {'resources': [asked]})['results'][0]['error_code']
    same([error(TOPIC, 'never-there'), error(TOPIC, 'no name'), error(BROKER, '4711'), error(BROKER, 'x')], [3, 17, 42, 42])


def c10_the_defaults(b):
    """What a topic's settings are when nobody sets them (C9 and C10)."""
    wanted = {
        'cleanup.policy': 'delete', 'compression.type': 'producer', 'delete.retention.ms': '86400000', 'file.delete.delay.ms': '60000',
        'flush.messages': '9223372036854775807', 'flush.ms': '9223372036854775807', 'index.interval.bytes': '4096',
        'max.compaction.lag.ms': '9223372036854775807', 'max.message.bytes': '1048588', 'message.timestamp.type': 'CreateTime',
        'message.timestamp.before.max.ms': '9223372036854775807', 'message.timestamp.after.max.ms': '3600000',
        'min.compaction.lag.ms': '0', 'min.insync.replicas': '1', 'preallocate': 'false', 'retention.bytes': '-1',
        'retention.ms': '604800000', 'segment.bytes': '1073741824', 'segment.index.bytes': '10485760', 'segment.jitter.ms': '0',
        'segment.ms': '604800000', 'unclean.leader.election.enable': 'false', 'compression.gzip.level': '-1', 'compression.lz4.level': '9',
        'compression.zstd.level': '3', 'leader.replication.throttled.replicas': '', 'follower.replication.throttled.replicas': ''}
    found = b.configs(TOPIC, b.topic())
    same({key: found[key]['value'] for key in wanted if key in found}, wanted)


def c11_settings_hold_at_once(b):
    """A smaller max.message.bytes is there at the next append."""
    topic = b.topic()
    b.put(topic, b'x' * 5000)
    same(b.alter(TOPIC, topic, ('max.message.bytes', SET, '1000'))['error_code'], 0)
    b.until('it holds', lambda: b.produce(topic, batch(b'x' * 5000))['error_code'] == 10)


def c11_a_segment_may_be_smaller(b):
    """From the next append on."""
    topic = b.topic()
    b.put(topic, b'x' * 900_000)
    same(b.alter(TOPIC, topic, ('segment.bytes', SET, str(MIB)))['error_code'], 0)
    b.until('it holds', lambda: b.configs(TOPIC, topic)['segment.bytes']['value'] == str(MIB))
    b.put(topic, b'y' * 900_000)
    b.until('there are two', lambda: len(b.files(topic)) == 2)


def c12_a_topic_made_again_is_another(b):
    """Its id is new, and nothing of the old one is in it."""
    topic = b.topic()
    b.put(topic, b'old')
    old = b.topic_id(topic)
    same(b.ask('delete_topics', 4, {'topic_names': [topic], 'timeout_ms': 5000})['responses'][0]['error_code'], 0)
    b.until('it can be made again', lambda: b.create(topic)['error_code'] == 0)
    b.until('it is led', lambda: b.produce(topic, batch(b'new'))['error_code'] == 0)
    check(b.topic_id(topic) != old, 'it has the old id')
    check(b'old' not in b.values(topic), 'it has the old records')
