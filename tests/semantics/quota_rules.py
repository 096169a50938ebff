# SPDX-License-Identifier: Apache-2.0
"""Client quotas: whose, what an answer over one looks like, and for how long a connection is not heard."""

import itertools
import time

from side import alone, batch, check, same

USER = 'ANONYMOUS'
EXACT, DEFAULT, ANY = 0, 1, 2
RATE = 10_000  # bytes a second; ten seconds' worth may come at once
NUMBERS = itertools.count(1)


def entity_of(**whose):
    """user=, client_id=, ip=; None is the default."""
    return [{'entity_type': kind.replace('_', '-'), 'entity_name': name} for kind, name in whose.items()]


def alter_all(b, *entries, **more):
    """[(entity, {key: value, None: none any more})]; the answers."""
    tree = {'validate_only': False, **more, 'entries': [
        {'entity': entity, 'ops': [{'key': key, 'value': value or 0.0, 'remove': value is None} for key, value in
                                   (ops.items() if isinstance(ops, dict) else ops)]} for entity, ops in entries]}
    return b.ask('alter_client_quotas', 1, tree)['entries']


def alter(b, ops, **whose):
    return alter_all(b, (entity_of(**whose), ops))[0]['error_code']


def describe(b, *components, strict=False):
    tree = {'components': [{'entity_type': kind, 'match_type': match, 'match': name} for kind, match, name in components], 'strict': strict}
    return b.ask('describe_client_quotas', 1, tree)


def found(b, *components, strict=False):
    """{((type, name), ...): {key: value}}."""
    answer = describe(b, *components, strict=strict)
    same(answer['error_code'], 0, answer['error_message'])
    return {tuple(sorted((part['entity_type'], part['entity_name']) for part in entry['entity'])):
            {value['key']: value['value'] for value in entry['values']} for entry in answer['entries']}


def client():
    return f'quota-{next(NUMBERS)}'


def limit(b, ops, **whose):
    """Set, and known."""
    same(alter(b, ops, **whose), 0)
    wanted = tuple(sorted((kind.replace('_', '-'), name) for kind, name in whose.items()))
    b.until('it is told', lambda: all(found(b).get(wanted, {}).get(key) == value for key, value in ops.items()))
    time.sleep(0.2)  # where metadata are one thing and the quota another


def produce(link, topic, data, name, acks=-1, version=9):
    tree = {'acks': acks, 'timeout_ms': 10_000, 'topic_data': [{'name': topic, 'partition_data': [{'index': 0, 'records': data}]}]}
    if acks == 0:
        link.send('produce', version, tree, name)
        return 0
    answer = link.ask('produce', version, tree, name)
    same(answer['responses'][0]['partition_responses'][0]['error_code'], 0, 'produce')
    return answer['throttle_time_ms']


def fetch(link, topic, name, session=0, epoch=-1, max_bytes=1 << 20):
    topics = [{'topic': topic, 'partitions': [{'partition': 0, 'fetch_offset': 0, 'partition_max_bytes': max_bytes}]}] if epoch < 1 else []
    return link.ask('fetch', 11, {'replica_id': -1, 'max_wait_ms': 100, 'min_bytes': 1, 'max_bytes': max_bytes, 'isolation_level': 0, 'session_id': session,
                                  'session_epoch': epoch, 'topics': topics, 'rack_id': ''}, name)


def metadata(link, name):
    return link.ask('metadata', 8, {'topics': []}, name)


def seconds(action):
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


# ---- whose quota it is ----

@alone
def q1_which_one_holds(b):
    """From the least to the most particular, one after another too small and large: the last one that is set holds."""
    topic, name = b.topic(), client()
    order = [{'client_id': None}, {'client_id': name}, {'user': None}, {'user': None, 'client_id': None}, {'user': None, 'client_id': name},
             {'user': USER}, {'user': USER, 'client_id': None}, {'user': USER, 'client_id': name}]
    try:
        for number, whose in enumerate(order):
            small = number % 2 == 0
            same(alter(b, {'producer_byte_rate': 1 if small else 1e9}, **whose), 0)
            b.until(f'{whose} holds', lambda s=small: (produce(b.link(), topic, batch(b'x'), name) > 0) == s)
    finally:
        alter_all(b, *((entity_of(**whose), {'producer_byte_rate': None}) for whose in order))
    b.until('it is over', lambda: produce(b.link(), topic, batch(b'x'), name) == 0)


@alone
def q1_a_default_is_of_each(b):
    """The default of client ids counts for each by itself."""
    topic, one, two = b.topic(), client(), client()
    limit(b, {'producer_byte_rate': RATE}, client_id=None)
    try:
        b.until('one is over', lambda: produce(b.link(), topic, batch(b'x' * 60_000), one) > 0)
        same(produce(b.link(), topic, batch(b'x' * 60_000), two), 0, 'another')
    finally:
        alter(b, {'producer_byte_rate': None}, client_id=None)


def q1_of_all_connections(b):
    """Of the broker, not of a connection."""
    topic, name = b.topic(), client()
    limit(b, {'producer_byte_rate': RATE}, client_id=name)
    links = [b.link() for _ in range(8)]
    told = [produce(link, topic, batch(b'x' * 30_000), name) for link in links]
    same(told[:2], [0, 0], 'at first')
    check(all(told[4:]), f'{told}: no connection has a quota of its own')
    same(produce(b.link(), topic, batch(b'x' * 30_000), client()), 0, 'somebody else')


# ---- what happens ----

def q2_the_answer_comes_at_once(b):
    """It says how long to wait; the connection is not heard for so long, others are."""
    topic, name = b.topic(), client()
    limit(b, {'producer_byte_rate': RATE}, client_id=name)
    link, told = b.link(), []
    took = seconds(lambda: told.append(produce(link, topic, batch(b'x' * 125_000), name)))
    check(1000 < told[0] < 3000, f'{told[0]} ms for 125 kB at 10 kB/s')
    check(took < told[0] / 1000, f'the answer took {took:.2f} s, told {told[0]} ms')
    other = seconds(lambda: metadata(b.link(), name))
    check(took + other < told[0] / 1000, f'another connection waited for {other:.2f} s')
    rest = other + seconds(lambda: metadata(link, name))
    check(told[0] / 1000 - 0.6 < rest < told[0] / 1000 + 2, f'not heard for {rest:.2f} s, told {told[0]} ms')


def q2_a_fetch_is_empty(b):
    """Over its quota a fetch has nothing in it, and its session goes on."""
    topic, name, link = b.topic(), client(), b.link()
    for _ in range(8):
        b.put(topic, b'x' * 20_000)
    first = fetch(link, topic, name, epoch=0, max_bytes=1000)
    same(len(first['responses']), 1)
    limit(b, {'consumer_byte_rate': RATE}, client_id=name)
    session, epoch = first['session_id'], 0
    for _ in range(10):
        epoch += 1
        answer = fetch(link, topic, name, session, epoch)
        same((answer['error_code'], answer['session_id']), (0, session))
        if answer['throttle_time_ms']:
            break
    check(answer['throttle_time_ms'], 'ten fetches of 20 kB each')
    same(answer['responses'], [], 'nothing in it')
    rest = seconds(lambda: same(fetch(link, topic, name, session, epoch + 1)['error_code'], 0))
    check(rest > answer['throttle_time_ms'] / 1000 - 0.6, f'heard after {rest:.2f} s')
    for _ in range(20):
        full = fetch(b.link(), topic, name, epoch=0, max_bytes=1 << 20)
        if full['throttle_time_ms']:
            break
    check(full['throttle_time_ms'], 'a full one as well')
    same((full['session_id'], full['responses']), (0, []), 'it has no session')


def q2_a_fetch_is_no_larger_than_its_quota(b):
    """What may be used at once is all that is looked for: whoever asks for more gets on."""
    topic, name = b.topic(), client()
    for _ in range(20):
        b.put(topic, b'x' * 10_000)
    limit(b, {'consumer_byte_rate': RATE}, client_id=name)
    answers = []
    b.until('it gets on', lambda: answers.append(fetch(b.link(), topic, name, max_bytes=1 << 20)) or answers[-1]['responses'])
    size = len(answers[-1]['responses'][0]['partitions'][0]['records'])
    check(50_000 < size <= 10 * RATE, f'{size} bytes')


def q2_without_an_answer(b):
    """acks=0: not heard for as long."""
    topic, name, link = b.topic(), client(), b.link()
    limit(b, {'producer_byte_rate': RATE}, client_id=name)
    produce(link, topic, batch(b'x' * 125_000), name, acks=0)
    rest = seconds(lambda: metadata(link, name))
    check(0.5 < rest < 3.5, f'{rest:.2f} s')


def q3_as_long_as_it_takes(b):
    """(rate - limit) / limit * window."""
    topic, name = b.topic(), client()
    limit(b, {'producer_byte_rate': RATE}, client_id=name)
    told = produce(b.link(), topic, batch(b'x' * 400_000), name)
    check(28_000 < told < 32_000, f'{told} ms for 400 kB at 10 kB/s')


def q3_time_of_requests(b):
    """request_percentage: a second at most; versions that are not told wait all the same."""
    name, link, told = client(), b.link(), []
    limit(b, {'request_percentage': 0.001}, client_id=name)
    b.until('it waits', lambda: told.append(metadata(link, name)['throttle_time_ms']) or told[-1], 60)
    check(0 < told[-1] <= 1000, f'{told[-1]} ms')
    rest = seconds(lambda: metadata(link, name))
    check(rest > told[-1] / 1000 - 0.6, f'heard after {rest:.2f} s')


# ---- the controller's ----

def create(link, version, topic, partitions, name):
    tree = {'topics': [{'name': topic, 'num_partitions': partitions, 'replication_factor': 1, 'configs': [], 'assignments': []}],
            'timeout_ms': 10_000, 'validate_only': False}
    answer = link.ask('create_topics', version, tree, name)
    return answer['topics'][0]['error_code'], answer['throttle_time_ms']


def q4_partitions_are_tokens(b):
    """Eleven seconds' worth, overdrawn once; then new versions are refused, and old ones told to wait."""
    name = client()
    limit(b, {'controller_mutation_rate': 1}, client_id=name)
    same(create(b.link(), 6, f'{name}-a', 15, name), (0, 0))
    error, told = create(b.link(), 6, f'{name}-b', 1, name)
    same(error, 89)
    check(2000 < told <= 4000, f'{told} ms for four partitions too many')
    error, told = create(b.link(), 5, f'{name}-c', 1, name)
    same(error, 0, 'an old version')
    check(3000 < told <= 5000, f'{told} ms')

    def delete(version, topic):
        answer = b.link().ask('delete_topics', version, {'topic_names': [topic], 'timeout_ms': 5000}, name)
        return answer['responses'][0]['error_code'], answer['throttle_time_ms'] > 0

    def grow(version, topic):
        answer = b.link().ask('create_partitions', version, {'topics': [{'name': topic, 'count': 20, 'assignments': None}], 'timeout_ms': 5000,
                                                             'validate_only': False}, name)
        return answer['results'][0]['error_code'], answer['throttle_time_ms'] > 0
    same(delete(5, f'{name}-a'), (89, True), 'delete')
    same(grow(3, f'{name}-a'), (89, True), 'create partitions')
    same(delete(4, f'{name}-a'), (0, True), 'delete of an old version')
    same(create(b.link(), 6, f'{name}-d', 1, client()), (0, 0), 'somebody else')


@alone
def q4_connections_of_an_address(b):
    """Ten seconds' worth come in; the others are closed without having been heard, and not at once."""
    limit(b, {'connection_creation_rate': 1}, ip='127.0.0.1')
    try:
        heard, closed, links = 0, 0, []
        for _ in range(30):
            links.append(b.link())
        for link in links:
            try:
                link.send('metadata', 8, {'topics': []})
                link.receive('metadata', 8)
                heard += 1
            except (OSError, AssertionError):
                closed += 1
        check(5 <= heard <= 13, f'{heard} were heard, {closed} closed')
    finally:
        alter(b, {'connection_creation_rate': None}, ip='127.0.0.1')
    time.sleep(1.2)  # those that are held
    b.until('all may come in', lambda: metadata(b.link(), 'semantics')['brokers'])


# ---- asking and changing ----

def q5_what_is_refused(b):
    """Entities and keys that are none, values that are none, and what is there twice; the others of a request are changed."""
    name = client()
    rate = {'producer_byte_rate': 1000.0}
    for number, (entity, ops) in enumerate((
            ([], rate), (entity_of(nobody='x'), rate), (entity_of(user='u', ip='127.0.0.1'), rate), (entity_of(client_id=''), rate),
            (entity_of(client_id=name), {'no.such.key': 1.0}),
            (entity_of(client_id=name), {'producer_byte_rate': -1.0}), (entity_of(client_id=name), {'producer_byte_rate': 0.0001}),
            (entity_of(client_id=name), {'producer_byte_rate': 1.5}), (entity_of(client_id=name), {'connection_creation_rate': 1.0}),
            (entity_of(ip='127.0.0.1'), rate), (entity_of(ip='no address'), {'connection_creation_rate': 1.0}),
            (entity_of(ip='127.0.0.1'), {'connection_creation_rate': 3e9}),
            (entity_of(client_id=name), [('producer_byte_rate', 1.0), ('producer_byte_rate', 2.0)]),
            (entity_of(client_id=name), [('producer_byte_rate', 1.0), ('consumer_byte_rate', -2.0)]))):
        same(alter_all(b, (entity, ops))[0]['error_code'], 42, f'{number}: {entity} {ops}')
    same(found(b, ('client-id', EXACT, name)), {}, 'nothing was changed')
    answers = alter_all(b, (entity_of(client_id=f'{name}-1'), rate), (entity_of(client_id=f'{name}-2'), {'no.such.key': 1.0}))
    same(sorted(answer['error_code'] for answer in answers), [0, 42])
    b.until('the good one is there', lambda: found(b, ('client-id', EXACT, f'{name}-1')))
    same(found(b, ('client-id', EXACT, f'{name}-2')), {})


def q5_changes(b):
    """Keys one by one; validate_only changes nothing; removing the last removes the entity."""
    name = client()
    mine = (('client-id', name),)

    def now():
        return found(b, ('client-id', EXACT, name))
    same(alter_all(b, (entity_of(client_id=name), {'producer_byte_rate': 7.0}), validate_only=True)[0]['error_code'], 0)
    same(now(), {}, 'validated only')
    same(alter(b, {'producer_byte_rate': 7, 'request_percentage': 0.5}, client_id=name), 0)
    b.until('they are there', lambda: now() == {mine: {'producer_byte_rate': 7, 'request_percentage': 0.5}})
    same(alter(b, {'producer_byte_rate': None, 'consumer_byte_rate': 9}, client_id=name), 0)
    b.until('one went, one came', lambda: now() == {mine: {'consumer_byte_rate': 9, 'request_percentage': 0.5}})
    same(alter(b, {'producer_byte_rate': None}, client_id=name), 0, 'none is there')
    same(alter(b, {'consumer_byte_rate': None, 'request_percentage': None}, client_id=name), 0)
    b.until('the entity is gone', lambda: now() == {})


def q5_what_is_asked_for(b):
    """By name, the default, any; strict: and nothing else."""
    name = client()
    rate = {'producer_byte_rate': 1e9}
    whose = ({'user': name}, {'user': name, 'client_id': name}, {'user': name, 'client_id': None}, {'client_id': name})
    for one in whose:
        same(alter(b, rate, **one), 0)

    def keys(*components, strict=False):
        return {key for key in found(b, *components, strict=strict) if any(part == name for _, part in key)}
    user, both = (('user', name),), (('client-id', name), ('user', name))
    default, only = (('client-id', None), ('user', name)), (('client-id', name),)
    b.until('all are there', lambda: len(keys()) == 4)
    same(keys(('user', EXACT, name)), {user, both, default})
    same(keys(('user', EXACT, name), strict=True), {user})
    same(keys(('user', EXACT, name), ('client-id', ANY, None)), {both, default})
    same(keys(('user', EXACT, name), ('client-id', DEFAULT, None)), {default})
    same(keys(('client-id', EXACT, name)), {both, only})
    same(keys(('client-id', EXACT, name), strict=True), {only})
    same(keys(('user', ANY, None), strict=True), {user})
    for error, components in ((42, [('', EXACT, 'x')]), (35, [('nobody', EXACT, 'x')]), (42, [('user', EXACT, 'x'), ('user', ANY, None)]),
                              (42, [('user', EXACT, None)]), (42, [('user', DEFAULT, 'x')]), (42, [('user', ANY, 'x')]),
                              (42, [('user', 3, None)]), (42, [('ip', ANY, None), ('user', ANY, None)])):
        answer = describe(b, *components)
        same((answer['error_code'], answer['entries']), (error, None), components)
    for one in whose:
        alter(b, {'producer_byte_rate': None}, **one)
