# SPDX-License-Identifier: Apache-2.0
"""MATRIX.md: what each client, and each of Kafka's tools, can do with Millrace, as last run. A run adds what it has seen to build/interop/matrix.json,
so that families may be run one after another, and the page is made from all of it."""

import datetime
import json
import os
import re
import subprocess

import clients

PAGE, SEEN = os.path.join(clients.HERE, 'MATRIX.md'), os.path.join(clients.BUILD, 'matrix.json')
# Title, and the cases whose sum it is; a name that ends in `-` stands for all that begin with it.
COLUMNS = (
    ('codecs, keys, headers', ('codec-', 'topic-codec')),
    ('acks, idempotence', ('acks-', 'idempotent')),
    ('1 MB, 40 MB, too large', ('one-megabyte', 'forty-megabytes', 'too-large')),
    ("others' records", ('cross',)),
    ('offsets by time', ('list-offsets', 'append-time')),
    ('read committed', ('read-committed',)),
    ('topics, configs', ('create', 'delete', 'auto-create', 'cluster', 'configs')),
    ('senseless requests', ('refusals',)),
    ('group, commit, resume', ('groups-consume',)),
    ('three members, one killed', ('groups-rebalance', 'groups-seed')),
    ('newer protocol (KIP-848)', ('groups-kip-848',)),
    ('rolled to it and back', ('groups-migration',)),
    ('reset', ('groups-reset',)),
    ('no reset', ('groups-reset-none',)),
    ('broker restarts', ('restart', 'kill')),
    ('transaction refused', ('transaction',)),
)
TOOL_COLUMNS = (
    ('topics', ('topics',)),
    ('configs', ('configs', 'broker-configs', 'quotas')),
    ('consumer-groups', ('consumer-groups', 'members')),
    ('every way to reset', ('reset-offsets',)),
    ('console-producer, console-consumer', ('console', 'consumer-groups', 'members', 'times', 'compaction')),
    ('verifiable-producer, verifiable-consumer', ('verifiable',)),
    ('get-offsets', ('times',)),
    ('delete-records', ('delete-records',)),
    ('log-dirs', ('log-dirs',)),
    ('producer-perf-test', ('perf-test',)),
    ('transactions', ('producers',)),
    ('leader-election', ('elections',)),
)
MARKS = {'PASS': 'yes', 'FAIL': '**no**', 'SKIP': '-'}
HEAD = '''# Clients and what they can do with Millrace

Written by `tests/interop/run --write`; what each case does is in `tests/interop/matrix.py`, `groups.py` and `tools.py`, and
the releases are pinned in `clients.py`. *yes*: all cases passed. *some*: all that the client has a way to ask for passed.
*-*: the client has no way to ask for it. **no**: at least one case failed. Empty: there is no such case for it, or it
has not run.
'''


def by_client(versions, results):
    """{client: {case: [verdict, text]}} of names as the runner has them: CLIENT/CASE, groups-CLIENT/CASE, HOW/CLIENT."""
    found = {client: {} for client in versions}
    for name, seen in results.items():
        where, _, case = name.partition('/')
        if where in found:
            found[where][case] = seen
        elif where.removeprefix('groups-') in found:
            found[where.removeprefix('groups-')]['groups-' + case] = seen
        elif case in found:
            found[case][where] = seen
    return found


def remember(versions, results):
    try:
        with open(SEEN) as file:
            seen = json.load(file)
    except FileNotFoundError:
        seen = {}
    today = datetime.date.today().isoformat()
    for client, cases in by_client(versions, results).items():
        if cases:
            entry = seen.setdefault(client, {'cases': {}})
            entry.update(version=versions[client], date=today)
            entry['cases'].update(cases)
    with open(SEEN, 'w') as file:
        json.dump(seen, file, indent=1)
    return seen


def mark(cases, wanted):
    got = [verdict for case, (verdict, _) in cases.items()
           if any(case == one or one.endswith('-') and case.startswith(one) for one in wanted)]
    if not got:
        return ''
    if 'FAIL' in got or len(set(got)) == 1:
        return MARKS['FAIL' if 'FAIL' in got else got[0]]
    return 'some'


def short(client, text):
    """Without what differs from run to run."""
    text = text.removeprefix(client + ' cannot: ')
    text = re.sub(r'127\.0\.0\.1:\d+(/\d+)?', 'HOST:PORT', text)
    text = re.sub(r'it-[0-9a-f]{6}-(\w+)-\d+', r'\1', text)
    text = re.sub(r'\|\d+\.\d+\|', '|', text)
    return text if len(text) <= 240 else text[:240] + ' ...'


def texts(seen, verdict, only=None):
    """One line per client that has something to tell: - client: case (text); ..."""
    for client, entry in seen.items():
        told = [(case, short(client, text)) for case, (got, text) in entry['cases'].items()
                if got == verdict and only in (None, case) and (text or only is None)]
        if told:
            yield f'- {client}: ' + '; '.join(text if only else case if text == case else f'{case} ({text})' for case, text in told)


def table(title, seen, columns):
    """The rows of a table, one for each that has run."""
    yield f'| {title} | says of itself | run | ' + ' | '.join(column for column, _ in columns) + ' |'
    yield '| --- ' * (3 + len(columns)) + '|'
    for name, entry in seen.items():
        yield f'| {name} | {entry["version"]} | {entry["date"]} | ' + ' | '.join(mark(entry['cases'], wanted) for _, wanted in columns) + ' |'


def in_order(seen, names):
    return {name: seen[name] for name in names if name in seen}


def write(versions, results):
    seen = remember(versions, results)
    tools = in_order(seen, [f'tools-{version}' for version in clients.JAVA_VERSIONS])
    seen = in_order(seen, [name for name, _, _ in clients.CLIENTS])
    commit = subprocess.run(['git', '-C', clients.TOP, 'describe', '--always'], capture_output=True, text=True).stdout.strip()
    rows = [HEAD, f'Millrace at or before {commit}.', '', *table('Client', seen, COLUMNS),
            "\n## Kafka's own tools\n", *table('Release', tools, TOOL_COLUMNS)]
    seen.update(tools)
    for title, verdict, only in (('Failures', 'FAIL', None), ('What a client has no way to ask for', 'SKIP', None),
                                  ('What its user reads when a transaction is asked for', 'PASS', 'transaction')):
        lines = list(texts(seen, verdict, only))
        rows += [f'\n## {title}\n', *(lines or ['Nothing.'])]
    with open(PAGE, 'w') as file:
        file.write('\n'.join(rows) + '\n')
