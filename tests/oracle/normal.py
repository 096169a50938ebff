# SPDX-License-Identifier: Apache-2.0
"""What is different in two brokers by their nature, made the same: THE ONE PLACE where answers lose anything before they
are compared. Everything else that differs is a difference: it is mended, or has a rule in tests/oracle/differences."""

import gzip
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'interop'))
import wire  # noqa: E402
from frames import NO_UUID, OWN  # noqa: E402

# Each broker has sentences of its own, and errors that it says nothing about.
TEXTS = ('error_message', 'batch_index_error_message', 'documentation')
# How fast a broker is and how much room its disk has is its own affair; zero and -1 mean something.
AMOUNTS = ('throttle_time_ms', 'total_bytes', 'usable_bytes')
NAMES = ('name', 'topic', 'group_id')
# Kafka makes these when somebody first asks for a coordinator that Millrace does not have.
ELSEWHERE = ('__transaction_state', '__share_group_state')
MEMBER = re.compile(r'.*-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[A-Za-z0-9_-]{22}')
INVENTED_PRODUCER = 10**8  # no broker gives such ids so soon, plays do
NO_UTF8 = re.compile('[\udc80-\udcff\ufffd]+')
NEAR_MS = 120_000  # what is so near to now was stamped by a broker: plays write times an hour old


def joined(items):
    """Kafka may tell the partitions of one topic in several items."""
    out, known = [], {}
    for item in items:
        name = isinstance(item, dict) and (item.get('name') or item.get('topic') or item.get('topic_id'))
        inside = [key for key, value in item.items() if isinstance(value, list)] if name else []
        if len(inside) == 1 and (name, inside[0]) in known:
            known[name, inside[0]].extend(item[inside[0]])
        else:
            out.append(item)
            if len(inside) == 1:
                known[name, inside[0]] = item[inside[0]]
    return out


class Normal:
    """Of one play, as one broker sees it: `known` maps what this broker called something to what the play calls it."""

    def __init__(self, prefix, family, port):
        self.prefix, self.family, self.port, self.known = prefix, family, port, {}

    def learn(self, symbol, value):
        if value not in (None, '', -1, NO_UUID) and (value or 'session' not in symbol):
            self.known[value] = symbol

    def foreign(self, tree):
        """Of another play, or a topic that only Kafka needs."""
        for name in NAMES:
            text = tree.get(name)
            if isinstance(text, str):
                if text in ELSEWHERE or text.startswith(self.family) and not text.startswith(self.prefix):
                    return True
        # What the coordinator writes there is compared by what it answers.
        return tree.get('name') == '__consumer_offsets' and any(
            isinstance(item, dict) and 'partition_size' in item for item in tree.get('partitions') or ())

    def leaf(self, name, value):
        if name in TEXTS:
            return '<text>'
        if name in AMOUNTS:
            return '<amount>' if value > 0 else value
        if name == 'port':
            return '<port>' if value == self.port else value
        if isinstance(value, str):
            value = NO_UTF8.sub('\ufffd', value)  # Java's strings cannot hold it
        if name == 'cluster_id':
            return '<cluster>' if value else value
        if name == 'log_dir':
            return '<dir>'
        if name == 'records':
            return self.records(value)
        if isinstance(value, bytes) and name.endswith('_id'):
            return self.known.get(value) or ('<no id>' if value == NO_UUID else '<an id>')
        if name == 'session_id':
            return self.known.get(value) or ('<a session>' if value else 0)
        if name == 'producer_id':
            return self.known.get(value) or ('<a producer>' if 0 <= value < INVENTED_PRODUCER else value)
        if name in ('member_id', 'leader') and value:
            return self.known.get(value) or ('<a member>' if MEMBER.fullmatch(value) else value)
        if isinstance(value, int) and ('time' in name or 'timestamp' in name):
            return self.time(value)
        return value

    def time(self, value):
        return '<now>' if abs(value - time.time() * 1000) < NEAR_MS else value

    def records(self, data):
        """Batches as trees; how they lie in the answer is compared, too: a cut one at the end is told."""
        if not data:
            return data
        found, at = [], 0
        for head in wire.batches(data):
            payload = data[at + 61:at + head['size']]
            at += head.pop('size')
            if head['attributes'] & 7 == 1:  # what gzip makes of the same bytes is its own affair
                try:
                    payload = gzip.decompress(payload)
                except (OSError, EOFError):
                    pass
            head['base_timestamp'], head['max_timestamp'] = map(self.time, (head['base_timestamp'], head['max_timestamp']))
            head['producer_id'] = self.known.get(head['producer_id'], head['producer_id'])
            found.append({**head, 'payload': payload})
        return found + ([{'cut': len(data) - at}] if at < len(data) else [])

    def tree(self, tree):
        out = {}
        for name, value in tree.items():
            if name in OWN:
                continue
            if isinstance(value, list):
                out[name] = joined([self.tree(item) if isinstance(item, dict) else self.leaf(name, item)
                                    for item in value if not (isinstance(item, dict) and self.foreign(item))])
            else:
                out[name] = self.tree(value) if isinstance(value, dict) else self.leaf(name, value)
        return out
