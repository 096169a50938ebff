# SPDX-License-Identifier: Apache-2.0
"""The same request to both brokers: what each did with it, and whether that is the same. A play is a story of such
requests with topics and groups of its own; its names in answers are made the same by normal.py."""

import collections
import select
import socket
import struct
import time

import compare
import frames
import normal

PATIENCE_S = 12  # for an answer that the other broker has given, or that nothing holds up
SETTLE_S = 10    # for what both brokers know of a change to become the same
PARK_S = 0.15    # neither has answered so long what may wait: then it waits, and is collected later


class Symbol:
    """What each broker has its own value of, by the name that the play gives it."""

    def __init__(self, name, otherwise):
        self.name, self.otherwise = name, otherwise  # the value until it is learnt

    def value(self, values):
        return values.get(self.name, self.otherwise)

    def __repr__(self):
        return f'<{self.name}>'


def resolved(tree, values):
    if isinstance(tree, dict):
        return {name: resolved(value, values) for name, value in tree.items()}
    if isinstance(tree, list):
        return [resolved(value, values) for value in tree]
    return tree.value(values) if isinstance(tree, Symbol) else tree


class Line:
    """One connection. Frames come in when somebody looks."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.closed = bytearray(), False

    def send(self, frame):
        try:
            self.socket.sendall(struct.pack('>i', len(frame)) + frame)
        except OSError:
            self.closed = True

    def look(self):
        """To be called when there is something to read."""
        try:
            data = self.socket.recv(1 << 20)
        except OSError:
            data = b''
        self.buffer += data
        self.closed = self.closed or not data

    def frame(self):
        if len(self.buffer) < 4:
            return None
        size = struct.unpack_from('>i', self.buffer)[0]
        if len(self.buffer) < 4 + size:
            return None
        frame = bytes(self.buffer[4:4 + size])
        del self.buffer[:4 + size]
        return frame


class Side:
    """One of the two brokers, as one play sees it."""

    def __init__(self, name, address, prefix, family):
        self.name, self.address, self.lines = name, address, {}
        self.values, self.normal = {}, normal.Normal(prefix, family, address[1])

    def line(self, name):
        line = self.lines.get(name)
        if line is None or line.closed:
            line = self.lines[name] = Line(self.address)
        return line

    def learn(self, symbol, value):
        self.values[symbol] = value
        self.normal.learn(f'<{symbol}>', value)

    def learn_ids(self, tree):
        """Topics have ids: whoever names both says which."""
        if isinstance(tree, dict):
            name = tree.get('name') or tree.get('topic')
            if isinstance(tree.get('topic_id'), bytes) and tree['topic_id'] != frames.NO_UUID and name:
                self.learn(f'id of {name}', tree['topic_id'])
            tree = tree.values()
        elif not isinstance(tree, list):
            return
        for value in tree:
            self.learn_ids(value)

    def close(self):
        for line in self.lines.values():
            line.socket.close()


class Asked:
    """A request on its way to both."""

    def __init__(self, number, api, version, tree, body, line, correlation_id):
        self.number, self.api, self.version, self.tree, self.body = number, api, version, tree, body
        self.line, self.correlation_id = line, correlation_id
        self.learns = {}
        self.outcomes = {}  # side: a tree that says what happened, normal

    def __str__(self):
        body = '' if self.body is None else f', body {self.body.hex()}'
        return f'{self.number}: {self.api.name} {self.version} on {self.line}{body}'


class Stop(Exception):
    """The play ends here: a difference, or a rule that says so."""


class Differs(Stop):
    def __init__(self, asked, found):
        super().__init__(f'{asked}')
        self.asked, self.found = asked, found


class Play:
    """asks(): sends to both and compares. `told` gets a line per thing that happens, when somebody wants to know."""

    def __init__(self, apis, addresses, rules, prefix, family, told=None, survey=None):
        self.apis, self.rules, self.told, self.prefix, self.survey = apis, rules, told, prefix, survey
        self.sides = [Side(name, address, prefix, family) for name, address in addresses]
        self.count = 0
        self.asked = collections.Counter()  # (api, version)
        self.pending = {}  # line: the request whose answer is still to come

    def symbol(self, name, otherwise):
        return Symbol(name, otherwise)

    # --- sending

    def send(self, name, version, tree, line, body, key):
        self.count += 1
        self.asked[(name, version)] += 1
        api = self.apis[name]
        asked = Asked(self.count, api, version, tree, body, line, self.count + 1000)
        for side in self.sides:
            frame = api.frame(version, asked.correlation_id, 'oracle', resolved(tree, side.values), body)
            side.line(line).send(frame if key is None else struct.pack('>h', key) + frame[2:])
        return asked

    def ask(self, name, version, tree=(), line='main', may_wait=False, learn=(), body=None, key=None):
        """The answer's tree as Kafka gave it, made normal; None when it is still to come (may_wait), {} when there is
        none. `body`: bytes in place of the tree. `key`: another api key over it."""
        if line in self.pending:
            self.collect(line)
        asked = self.send(name, version, dict(tree), line, body, key)
        asked.learns = dict(learn)
        if not self.wait(asked, PARK_S if may_wait else None):
            self.pending[line] = asked
            self.tell(asked, 'waits')
            return None
        return self.judge(asked)

    def fire(self, name, version, tree, line='main'):
        """Sends what is not answered."""
        if line in self.pending:
            self.collect(line)
        self.tell(self.send(name, version, dict(tree), line, None, None), 'sent')

    def collect(self, line):
        asked = self.pending.pop(line, None)
        if asked is None:
            return None
        self.wait(asked, None)
        return self.judge(asked)

    def collect_all(self):
        for line in list(self.pending):
            self.collect(line)

    # --- what happened

    def wait(self, asked, park_s):
        """False when neither has answered within park_s."""
        begin = time.monotonic()
        while True:
            missing = [side for side in self.sides if not self.arrived(asked, side)]
            if not missing:
                return True
            elapsed = time.monotonic() - begin
            parks = park_s is not None and len(missing) == len(self.sides)
            left = (park_s if parks else PATIENCE_S) - elapsed
            if left <= 0:
                if parks:
                    return False
                for side in missing:
                    asked.outcomes[side] = {'outcome': 'no answer'}
                    side.lines.pop(asked.line).socket.close()
                return True
            lines = {side.lines[asked.line].socket: side.lines[asked.line] for side in missing}
            for readable in select.select(list(lines), [], [], left)[0]:
                lines[readable].look()

    def arrived(self, asked, side):
        if side in asked.outcomes:
            return True
        line = side.lines[asked.line]
        frame = line.frame()
        if frame is None:
            if line.closed:
                asked.outcomes[side] = {'outcome': 'closed'}
            return line.closed
        asked.outcomes[side] = self.outcome(asked, side, frame)
        return True

    def outcome(self, asked, side, frame):
        try:
            version = asked.version
            # A version of ApiVersions that is not served is answered as version 0 (KIP-511).
            if asked.api.name == 'api_versions' and not frames.inside(version, asked.api.served):
                version = 0
            correlation_id, tree = asked.api.answer(version, frame)
        except frames.Unreadable as error:
            return {'outcome': f'unreadable: {error}'}
        if correlation_id != asked.correlation_id:
            return {'outcome': f'the answer to another request, {correlation_id - 1000}'}
        if not asked.tree.get('validate_only'):  # what is not made may have an id, too
            side.learn_ids(tree)
        for symbol, path in asked.learns.items():
            value = tree
            for step in path.split('.'):
                value = value[int(step)] if step.isdigit() else value.get(step)
                if value in (None, []):
                    break
            if value not in (None, []):
                side.learn(symbol, value)
        return {'outcome': 'answer', **side.normal.tree(tree)}

    def judge(self, asked):
        kafka, millrace = (asked.outcomes[side] for side in self.sides)
        found = compare.differences(kafka, millrace)
        left, ends = self.rules.judge(asked.api.name, asked.version, asked.tree, found)
        self.tell(asked, '\n'.join(map(str, found)) or 'the same', kafka)
        if left and self.survey:
            self.survey(asked, left, self.prefix)
            raise Stop()
        if left:
            raise Differs(asked, left)
        if ends:
            raise Stop()
        return kafka if kafka.pop('outcome') == 'answer' else {}

    def tell(self, asked, text, kafka=None):
        if self.told:
            self.told(asked, text, kafka)

    # --- what is the same after a while

    def settle(self, name, version, tree, complete=lambda answer: True):
        """Asks both until their answers are the same, because Kafka's brokers learn later than its controller; then
        compares. They are also the same while neither has begun: `complete` says of an answer that all is there. The
        line is that of the questions which follow, as each shard of Millrace may learn at another moment."""
        end = time.monotonic() + SETTLE_S
        while True:
            asked = self.send(name, version, dict(tree), 'main', None, None)
            self.wait(asked, None)
            outcomes = [asked.outcomes[side] for side in self.sides]
            same = not self.rules.judge(name, version, asked.tree, compare.differences(*outcomes))[0]
            if same and all(map(complete, outcomes)) or time.monotonic() > end:
                return self.judge(asked)
            self.count -= 1
            time.sleep(0.005)

    def close(self):
        for side in self.sides:
            side.close()
