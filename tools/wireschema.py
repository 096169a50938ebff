# SPDX-License-Identifier: Apache-2.0
"""The language of net/kafka.wire, read into objects: parse(path) gives (apis, messages).

Used by tools/wiregen, which writes C, and by tests/schema/compare.py, which holds the schema
against Kafka's own definitions. The language is described at the top of net/kafka.wire.
"""
import re

INFINITE = 32767
SCALARS = {  # schema type: (C type, smallest size on the wire, suffix of rd_ and wr_)
    "bool": ("bool", 1, "bool"), "i8": ("int8_t", 1, "i8"), "i16": ("int16_t", 2, "i16"),
    "u16": ("uint16_t", 2, "u16"), "i32": ("int32_t", 4, "i32"), "i64": ("int64_t", 8, "i64"),
    "f64": ("double", 8, "f64"), "uuid": ("struct uuid", 16, "uuid"),
}
VIEWS = {"string": ("struct str", "str"), "bytes": ("struct bytes", "bytes"),
         "records": ("struct records", "records")}
KEYWORDS = set("auto break case char const continue default do double else enum extern float for "
               "goto if inline int long register restrict return short signed sizeof static struct "
               "switch typedef union unsigned void volatile while bool true false".split())


class SchemaError(Exception):
    pass


def versions_of(text):
    """'3' | '3-5' | '3+' as a pair."""
    match = re.fullmatch(r"(\d+)(?:-(\d+)|(\+))?", text)
    if not match:
        raise SchemaError(f"not a version range: {text}")
    low = int(match[1])
    return low, INFINITE if match[3] else int(match[2] or low)


def clip(a, b):
    return max(a[0], b[0]), min(a[1], b[1])


def flexible_at(message, version):
    return message.flexible is not None and version >= message.flexible


class Struct:
    """A group of fields. `versions` are those in which it can occur at all: the union of its uses.
    """

    def __init__(self, label, c_name, versions, message):
        self.label, self.c_name, self.versions, self.message = label, c_name, versions, message
        self.fields = []

    def plain_fields(self):
        return [f for f in self.fields if f.tag is None]

    def tagged_fields(self):
        return sorted((f for f in self.fields if f.tag is not None), key=lambda f: f.tag)


class Field:
    """`said` and `null_said` are the ranges as written, None where the schema says nothing;
    `versions` and `null_versions` follow from them (Message.resolve)."""

    def __init__(self, name, base, array):
        self.name, self.base, self.array = name, base, array
        self.said = self.null_said = self.versions = self.null_versions = None
        self.tag, self.default, self.inflexible, self.struct = None, None, False, None
        self.own = False  # not Kafka's

    def optional_struct(self):
        return self.struct and not self.array and self.null_versions


class Message:
    """A request, a response or a data format: a root struct and the structs it names."""

    def __init__(self, c_name, versions, flexible, api, kind):
        self.c_name, self.versions, self.flexible = c_name, versions, flexible
        self.api, self.kind = api, kind
        self.root = Struct("", c_name, versions, self)
        self.record_type = None  # of a key or value in an internal topic, or a record of KRaft
        self.structs = {}  # by label, in order of appearance

    def resolve(self):
        for struct in [self.root, *self.structs.values()] * 2:
            for field in struct.fields:
                whole = struct.versions
                field.versions = clip(field.said or whole, whole)
                if field.versions[0] > field.versions[1]:
                    raise SystemExit(f"{struct.c_name}.{field.name} is in no version")
                if field.null_said:
                    field.null_versions = clip(field.null_said, field.versions)
                used = field.struct
                if used:
                    old = used.versions or field.versions
                    used.versions = min(old[0], field.versions[0]), max(old[1], field.versions[1])
                if field.optional_struct() and field.null_versions != field.versions:
                    raise SystemExit(f"{struct.c_name}.{field.name}: optional in some versions only")


class Api:
    def __init__(self, key, name, versions, flexible):
        self.key, self.name, self.versions, self.flexible = key, name, versions, flexible
        self.served, self.advertised_min = None, None


# ---- the schema's language ----

def parse_head(words):
    """NAME VERSIONS flex F [served S] [advertised A], after the section's keyword (and key)."""
    name, versions, options = words[0], versions_of(words[1]), dict(zip(words[2::2], words[3::2]))
    flex = options.pop("flex")
    flexible = None if flex == "never" else versions_of(flex)[0]
    return name, versions, flexible, options


def parse_field(words):
    name, kind, rest = words[0], words[1], words[2:]
    match = re.fullmatch(r"(\?)?(\[\])?([a-z_0-9]+)", kind)
    if not match or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SchemaError(f"cannot read field {name} {kind}")
    if name in KEYWORDS:
        raise SchemaError(f"{name} is a word of C")
    field = Field(name, match[3], bool(match[2]))
    if rest and rest[0][0].isdigit():
        field.said = versions_of(rest.pop(0))
    if match[1]:
        field.null_said = (0, INFINITE)
    while rest:
        word = rest.pop(0)
        if word == "null":
            field.null_said = versions_of(rest.pop(0))
        elif word == "own":
            field.own = True
        elif word == "tag":
            field.tag = int(rest.pop(0))
        elif word == "=":
            field.default = rest.pop(0)
        elif word == "inflexible":
            field.inflexible = True
        else:
            raise SchemaError(f"what is {word}?")
    if field.own and (field.tag is None or field.tag < 1000):
        raise SchemaError(f"{name} is our own: it needs a tag that Kafka will not take, 1000 or more")
    return field


class Parser:
    """Lines in, apis and messages out. `stack` holds the structs the indentation is in."""

    def __init__(self):
        self.apis, self.messages = [], []
        self.api = self.head = self.message = self.record_type = None
        self.stack = []

    def begin_message(self, c_name, versions, flexible, kind):
        if flexible is not None and flexible > versions[1]:
            flexible = None
        self.message = Message(c_name, versions, flexible, self.api, kind)
        self.message.record_type = self.record_type
        self.messages.append(self.message)
        self.stack = [self.message.root]

    def section(self, words):
        keyword = words[0]
        if keyword == "api":
            name, versions, flexible, options = parse_head(words[2:])
            self.record_type = None
            self.api = Api(int(words[1]), name, versions, flexible)
            served = options.get("served", "none")
            self.api.served = None if served == "none" else versions_of(served)
            self.api.advertised_min = int(options.get("advertised", INFINITE))
            self.apis.append(self.api)
            self.head = (name, versions, flexible)
        elif keyword == "data":
            self.api = self.record_type = None
            name, versions, flexible, _ = parse_head(words[1:])
            self.begin_message(name, versions, flexible, "data")
        elif keyword == "record":
            self.api = None
            self.record_type = int(words[1])
            name, versions, flexible, _ = parse_head(words[2:])
            self.head = (name, versions, flexible)
        elif keyword == "metadata":
            self.api = None
            self.record_type = int(words[1])
            name, versions, flexible, _ = parse_head(words[2:])
            self.begin_message(name, versions, flexible, "metadata")
        elif keyword in ("request", "response", "value"):
            name, versions, flexible = self.head
            self.begin_message(f"{name}_{keyword}", versions, flexible, keyword)
        elif keyword == "key":
            self.begin_message(f"{self.head[0]}_key", (0, 0), None, keyword)
        else:
            raise SchemaError(f"unknown section {keyword}")

    def field(self, depth, words):
        if not 1 <= depth <= len(self.stack):
            raise SchemaError("indentation")
        del self.stack[depth:]
        parent = self.stack[-1]
        field = parse_field(words)
        if any(f.name == field.name for f in parent.fields):
            raise SchemaError(f"{field.name} twice")
        parent.fields.append(field)
        if field.base in SCALARS or field.base in VIEWS:
            return
        known = self.message.structs.get(field.base)
        if not known:
            known = Struct(field.base, f"{self.message.c_name}_{field.base}", None, self.message)
            self.message.structs[field.base] = known
        field.struct = known
        self.stack.append(known)

    def line(self, text):
        text = text.split("#")[0].rstrip()
        if not text:
            return
        indent = len(text) - len(text.lstrip())
        if indent % 2:
            raise SchemaError("indentation")
        if indent == 0:
            self.section(text.split())
        else:
            self.field(indent // 2, text.split())


def parse(path):
    parser = Parser()
    with open(path, encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            try:
                parser.line(text)
            except (SchemaError, ValueError, IndexError, KeyError) as error:
                raise SystemExit(f"{path}:{number}: {error!r}")
    for message in parser.messages:
        message.resolve()
    return parser.apis, parser.messages


# ---- facts that follow ----

def bytes_min_at(struct, version):
    """The smallest encoding of `struct`: what bounds an array's count."""
    flex = flexible_at(struct.message, version)
    total = 1 if flex else 0
    for field in struct.plain_fields():
        if not field.versions[0] <= version <= field.versions[1]:
            continue
        if field.array or field.base in ("bytes", "records"):
            total += 1 if flex else 4
        elif field.base == "string":
            total += 1 if flex and not field.inflexible else 2
        elif field.base in SCALARS:
            total += SCALARS[field.base][1]
        else:
            total += 1 if field.null_versions else bytes_min_at(field.struct, version)
    return total


def bytes_min(struct):
    low, high = struct.versions
    smallest = min(bytes_min_at(struct, v) for v in range(low, high + 1))
    if smallest == 0:
        raise SystemExit(f"{struct.c_name} may be empty: its arrays have no bound")
    return smallest


def children_first(message):
    order, seen = [], set()

    def visit(struct):
        if struct.c_name in seen:
            return
        seen.add(struct.c_name)
        for field in struct.fields:
            if field.struct:
                visit(field.struct)
        order.append(struct)
    visit(message.root)
    return order
