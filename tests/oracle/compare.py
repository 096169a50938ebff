# SPDX-License-Identifier: Apache-2.0
"""Two answers side by side: a difference is a place, what Kafka said there and what Millrace said. The rules of
tests/oracle/differences excuse some; each counts what it has excused, so that those that nothing needs are told."""

import difflib
import os
import re

ABSENT, PRESENT = '<absent>', '<present>'
# By these the items of a list are told apart: their order means nothing, but for records.
IDENTITY = ('name', 'topic', 'topic_name', 'topic_id', 'group_id', 'transactional_id', 'resource_type', 'resource_name',
            'partition_index', 'partition', 'partition_id', 'index', 'member_id', 'group_instance_id', 'key', 'api_key',
            'node_id', 'broker_id', 'producer_id', 'log_dir', 'base_offset', 'batch_index', 'entity_type', 'source')


def labels_of(items):
    """A label for each dict of a list."""
    seen, labels = {}, []
    for item in items:
        named = item.get('name') is not None or item.get('topic') is not None
        parts = [str(item[name]) for name in IDENTITY if item.get(name) not in (None, '<no id>') and
                 not isinstance(item[name], (list, dict)) and not (named and name == 'topic_id') and
                 not (name == 'base_offset' and 'index' in item)]
        if isinstance(item.get('entity'), list):  # of a quota
            parts += sorted(f"{part.get('entity_type')}={part.get('entity_name')}" for part in item['entity'])
        label = ','.join(parts)
        seen[label] = seen.get(label, 0) + 1
        labels.append(label if seen[label] == 1 else f'{label}#{seen[label]}')
    return labels


def flat(tree, path='', out=None):
    """{place: leaf}; an item of a list has a leaf of its own, so that its absence is one difference."""
    out = {} if out is None else out
    for name, value in tree.items():
        at = f'{path}.{name}' if path else name
        if isinstance(value, dict):
            flat(value, at, out)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for label, item in zip(labels_of(value), value):
                out[f'{at}[{label}]'] = PRESENT
                flat(item, f'{at}[{label}]', out)
        else:
            out[at] = value
    return out


def shown(value):
    if isinstance(value, bytes):
        return f'{len(value)} bytes {value[:24].hex()}' if value else 'no bytes'
    return 'null' if value is None else "''" if value == '' else str(value)


class Difference:
    def __init__(self, place, kafka, millrace):
        self.place, self.kafka, self.millrace = place, shown(kafka), shown(millrace)

    def anonymous(self, prefix):
        text = str(self).replace(prefix, '')
        return re.sub(r'\[[^\]]*\]', '[]', text) if 'configs[' not in text else text

    def __str__(self):
        return f'{self.place}: Kafka {self.kafka}, Millrace {self.millrace}'


def differences(kafka, millrace):
    """Of two answers that have been made normal. What lies inside an item that only one has is not told again."""
    if kafka.get('outcome') != millrace.get('outcome'):
        return [Difference('outcome', kafka.get('outcome'), millrace.get('outcome'))]
    left, right = flat(kafka), flat(millrace)
    found, inside = [], None
    for place in sorted(place for place in left.keys() | right.keys() if left.get(place, ABSENT) != right.get(place, ABSENT)):
        if inside and place.startswith(inside):
            continue
        one_sided = place not in left or place not in right
        if one_sided and PRESENT in (left.get(place), right.get(place)):
            inside = place + '.'
        found.append(Difference(place, left.get(place, ABSENT), right.get(place, ABSENT)))
    # An empty list has no items but is a leaf: the items of the other one say it.
    return [d for d in found if not ('[]' in (d.kafka, d.millrace) and ABSENT in (d.kafka, d.millrace))]


# --- rules ---------------------------------------------------------------------------------------------------------------

def glob(text):
    """* stands for anything, {a,b} for a or b."""
    def pattern(part):
        if part.startswith('{'):
            return f'(?:{"|".join(glob(choice).pattern for choice in part[1:-1].split(","))})'
        return '.*' if part == '*' else re.escape(part)
    return re.compile(''.join(map(pattern, re.split(r'(\*|\{[^}]*\})', text))), re.S)


class Rule:
    """API VERSIONS | PLACE | KAFKA / MILLRACE | WHY; behind the values may stand `when PLACE=VALUE` of the request, and
    `ends`: the brokers are in different states from here on, so the play ends."""

    def __init__(self, line, number):
        self.number, self.line, self.matches = number, line, 0
        head, place, values, self.why = (part.strip() for part in line.split(' | '))
        name, versions = head.split()
        low, _, high = versions.partition('-')
        self.low, self.high = (0, 99) if versions == '*' else (int(low), int(high or low))
        values, *options = re.split(r' (?=when |ends$)', values)
        self.ends = 'ends' in options
        self.when = [[glob(part) for part in option[5:].split('=', 1)] for option in options if option != 'ends']
        kafka, millrace = values.split(' / ')
        self.name, self.place, self.kafka, self.millrace = map(glob, (name, place, kafka, millrace))

    def excuses(self, name, version, request, difference):
        return (self.low <= version <= self.high and self.name.fullmatch(name) and
                self.place.fullmatch(difference.place) and self.kafka.fullmatch(difference.kafka) and
                self.millrace.fullmatch(difference.millrace) and
                all(any(place.fullmatch(at) and value.fullmatch(shown(leaf)) for at, leaf in request.items())
                    for place, value in self.when))


class Rules:
    def __init__(self, path=os.path.join(os.path.dirname(os.path.abspath(__file__)), 'differences')):
        self.rules = []
        with open(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip() and not line.startswith('#'):
                    try:
                        self.rules.append(Rule(line, number))
                    except ValueError as error:
                        raise SystemExit(f'{path}:{number}: not a rule: {error}') from None

    def judge(self, name, version, request, found):
        """(differences without an excuse, whether the play ends)."""
        left, ends, asked = [], False, None
        for difference in found:
            asked = flat(request) if asked is None else asked
            rule = next((rule for rule in self.rules if rule.excuses(name, version, asked, difference)), None)
            if rule is None:
                left.append(difference)
            else:
                rule.matches += 1
                ends = ends or rule.ends
        return left, ends

    def unused(self):
        return [rule for rule in self.rules if not rule.matches]


# --- for people ----------------------------------------------------------------------------------------------------------

def lines_of(tree, indent=0):
    """A tree as lines, a leaf each."""
    pad, out = '  ' * indent, []
    for name, value in tree.items():
        if isinstance(value, dict):
            out += [f'{pad}{name}', *lines_of(value, indent + 1)]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for label, item in sorted(zip(labels_of(value), value), key=lambda pair: pair[0]):
                out += [f'{pad}{name}[{label}]', *lines_of(item, indent + 1)]
        else:
            out.append(f'{pad}{name} {shown(value)}')
    return out


def side_by_side(kafka, millrace):
    """A unified diff of the two answers, whole."""
    left, right = lines_of(kafka), lines_of(millrace)
    return '\n'.join(difflib.unified_diff(left, right, 'Kafka', 'Millrace', lineterm='', n=max(len(left), len(right))))
