#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds net/kafka.wire against Kafka's own message definitions, which are inside its jars.

    python3 tests/schema/compare.py [--schema FILE] [--jars DIR]

For each message and each version that we generate, both sides are flattened into one line per
field (path, type, nullable, tag, default, form of its length) and must be equal, in wire order.
Versions that the newest Kafka has and we do not generate must be in NOT_GENERATED, and nothing may
be in there without need. Then every field of the schema is damaged in several ways, in memory, and
each damage must be found: a comparison that finds nothing proves nothing.

Fetches the jars with Maven into build/schema unless they are there. Exit code 77: no Maven.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tools"))
from wireschema import flexible_at, parse, versions_of  # noqa: E402

NEWEST = "4.3.1"
JARS = [f"kafka-clients-{NEWEST}", "kafka-clients-3.9.2", f"kafka-group-coordinator-{NEWEST}",
        f"kafka-transaction-coordinator-{NEWEST}", f"kafka-metadata-{NEWEST}"]
SKIPPED = 77

QUORUM = "belongs to KRaft's quorum, which Millrace does not have"
SHARE_STATE = "internal to Kafka's share coordinator"
SHARE_ADMIN = "administration of share groups, not planned"
NOT_GENERATED = {  # (key, version or None for the whole key): why
    (1, 18): "only adds a field for KRaft followers",
    (2, 11): "only adds a timestamp of tiered storage",
    (10, 6): "coordinators of share groups",
    (22, 6): "unstable: two-phase commit",
    (27, 2): "coordinators of Millrace mark their own partitions",
    (35, 5): "cordoned log directories do not exist here",
    (52, None): QUORUM, (53, None): QUORUM, (54, None): QUORUM, (59, None): QUORUM,
    (62, None): QUORUM, (63, None): QUORUM, (64, None): QUORUM, (70, None): QUORUM,
    (73, None): QUORUM, (80, None): QUORUM, (81, None): QUORUM, (82, None): QUORUM,
    (83, None): SHARE_STATE, (84, None): SHARE_STATE, (85, None): SHARE_STATE,
    (86, None): SHARE_STATE, (87, None): SHARE_STATE,
    (90, None): SHARE_ADMIN, (91, None): SHARE_ADMIN, (92, None): SHARE_ADMIN,
}
TYPES = {"int8": "i8", "int16": "i16", "uint16": "u16", "int32": "i32", "int64": "i64",
         "float64": "f64", "bool": "bool", "uuid": "uuid", "string": "string", "bytes": "bytes",
         "records": "records"}
DATA = {"control_record_key": "ControlRecordTypeSchema"}  # the one that we name otherwise


def fetch_jars(folder):
    if all(os.path.exists(os.path.join(folder, f"{jar}.jar")) for jar in JARS + ["slf4j-api-1.7.36"]):
        return
    if not shutil.which("mvn"):
        print("schema: skipped, there is no mvn to fetch Kafka's jars with")
        sys.exit(SKIPPED)
    subprocess.run(["mvn", "-q", "-B", "-f", os.path.join(ROOT, "tests/schema/pom.xml"),
                    "dependency:copy", f"-DoutputDirectory={folder}"], check=True)


def snake(name):
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name).lower()


def range_of(text):
    return None if text in (None, "none") else versions_of(text)


def inside(version, versions):
    return bool(versions) and versions[0] <= version <= versions[1]


def load(folder):
    """Kafka's definitions by name: a list, the newest release first."""
    found = {}
    for jar in JARS:
        with zipfile.ZipFile(os.path.join(folder, f"{jar}.jar")) as archive:
            for name in archive.namelist():
                if not re.fullmatch(r"common/(message|metadata)/\w+\.json", name):
                    continue
                lines = archive.read(name).decode().split("\n")
                message = json.loads("\n".join(
                    line for line in lines if not line.lstrip().startswith("//")))
                if message["validVersions"] != "none":
                    found.setdefault(message["name"], []).append((jar, message))
    return found


# ---- one line per field ----

def zero(kind):
    return {"bool": "false", "string": "", "bytes": ""}.get(kind, "0" if kind in TYPES.values()
                                                            else "zeroed")


def default_line(kind, array, value):
    """Defaults are compared as text; an absent one is the type's zero."""
    if array or value == "null":
        return "null" if value == "null" else "empty"
    if value in (None, ""):
        return zero(kind)
    text = str(value).lower()
    return str(int(text, 0)) if re.fullmatch(r"-?(0x[0-9a-f]+|[0-9]+)", text) else text


def kafka_lines(message, version, cache={}):
    """`cache`: a definition never changes, and the damage below asks for it thousands of times."""
    known = cache.get((id(message), version))
    if known is not None:
        return known
    commons = {struct["name"]: struct for struct in message.get("commonStructs", [])}
    flexible = inside(version, range_of(message["flexibleVersions"]))
    lines = []

    def walk(fields, path):
        tagged = [f for f in fields if inside(version, range_of(f.get("taggedVersions")))]
        plain = [f for f in fields if f not in tagged]
        for field in plain + sorted(tagged, key=lambda f: f["tag"]):
            if not inside(version, range_of(field.get("versions", field.get("taggedVersions")))):
                continue
            array = field["type"].startswith("[]")
            base = field["type"][2:] if array else field["type"]
            kind = TYPES.get(base, "struct")
            default = field.get("default")  # JSON's null is no default, the text "null" is one
            lines.append((
                f"{path}{snake(field['name'])}", ("[]" if array else "") + kind,
                "nullable" if inside(version, range_of(field.get("nullableVersions"))) else "-",
                f"tag {field['tag']}" if field in tagged else "-",
                default_line(kind, array, default),
                "flex" if flexible and field.get("flexibleVersions") != "none" else "-"))
            if kind == "struct":
                walk(field.get("fields") or commons[base]["fields"],
                     f"{path}{snake(field['name'])}.")

    walk(message["fields"], "")
    cache[id(message), version] = lines
    return lines


def our_lines(message, version):
    lines = []

    def walk(struct, path):
        for field in struct.plain_fields() + struct.tagged_fields():
            if not inside(version, field.versions) or field.own:
                continue
            kind = "struct" if field.struct else field.base
            flexible = flexible_at(message, version) and not field.inflexible
            lines.append((
                f"{path}{field.name}", ("[]" if field.array else "") + kind,
                "nullable" if inside(version, field.null_versions) else "-",
                f"tag {field.tag}" if field.tag is not None else "-",
                default_line(kind, field.array, field.default), "flex" if flexible else "-"))
            if field.struct:
                walk(field.struct, f"{path}{field.name}.")

    walk(message.root, "")
    return lines


def differences(message, definitions, version):
    for jar, definition in definitions:
        if inside(version, range_of(definition["validVersions"])):
            ours, theirs = our_lines(message, version), kafka_lines(definition, version)
            if ours == theirs and flexible_at(message, version) == inside(
                    version, range_of(definition["flexibleVersions"])):
                return []
            place = f"{message.c_name} version {version} ({jar})"
            return [f"{place}: here   {' '.join(x)}" for x in ours if x not in theirs] + \
                   [f"{place}: Kafka  {' '.join(x)}" for x in theirs if x not in ours] or \
                   [f"{place}: the order or the first flexible version differs"]
    return [f"{message.c_name} version {version}: no jar has it"]


def compare(message, definitions):
    low, high = message.versions
    found = []
    for version in range(low, high + 1):
        found += differences(message, definitions, version)
    return found


# ---- which definition belongs to which message ----

def definitions_of(message, kafka):
    if message.api:
        names = {d[0][1]["name"] for name, d in kafka.items()
                 if d[0][1]["type"] == message.kind and d[0][1]["apiKey"] == message.api.key}
        merged = [d for name in sorted(names, key=lambda n: JARS.index(kafka[n][0][0]))
                  for d in kafka[name]]
        return merged
    for name, definitions in kafka.items():
        if DATA.get(message.c_name, "") == name or snake(name) == message.c_name:
            return definitions
    return []


def check_names_and_types(apis, messages, kafka):
    found = []
    for api in apis:
        names = {snake(n)[:-len("_request")] for n, d in kafka.items()
                 if d[0][1]["type"] == "request" and d[0][1]["apiKey"] == api.key}
        if api.name not in names:
            found.append(f"key {api.key} is {names}, not {api.name}")
    for message in messages:
        if message.record_type is not None:
            definition = definitions_of(message, kafka)[0][1]
            if definition["apiKey"] != message.record_type:
                found.append(f"{message.c_name} has type {definition['apiKey']}")
    return found


def check_not_generated(apis, kafka):
    """Every version of the newest release is generated or excused; no excuse without need."""
    needed, generated = set(), {api.key: api.versions for api in apis}
    for definitions in kafka.values():
        jar, definition = definitions[0]
        if definition["type"] != "request" or not jar.endswith(NEWEST):
            continue
        key, (low, high) = definition["apiKey"], range_of(definition["validVersions"])
        if key not in generated:
            needed.add((key, None))
            continue
        needed |= {(key, v) for v in range(low, high + 1) if not inside(v, generated[key])}
    return [f"{key} version {version} is not generated" for key, version in
            sorted(needed - set(NOT_GENERATED), key=str)] + \
           [f"{key} version {version}: the excuse is not needed" for key, version in
            sorted(set(NOT_GENERATED) - needed, key=str)]


# ---- damage ----

def damages(field, whole):
    """Ways to be wrong about one field, each as a function that does it."""
    def set_to(**values):
        return lambda f: f.__dict__.update(values)

    if not field.struct:
        yield "type", set_to(base="i64" if field.base == "i32" else "i32")
        if field.base in ("i8", "i16", "i32", "i64") and not field.array:
            yield "default", set_to(default="77")
    if field.versions[0] < field.versions[1]:
        yield "first version", set_to(versions=(field.versions[0] + 1, field.versions[1]))
        yield "last version", set_to(versions=(field.versions[0], field.versions[1] - 1))
    if field.versions[0] > whole[0]:
        yield "earlier", set_to(versions=(field.versions[0] - 1, field.versions[1]))
    yield "nullable", set_to(null_versions=None if field.null_versions else field.versions)
    yield "array", set_to(array=not field.array)
    yield "name", set_to(name=field.name + "x")
    yield "tag", set_to(tag=None if field.tag is not None else 9)


def count_damages(messages, kafka):
    done, missed = 0, []
    for message in messages:
        definitions = definitions_of(message, kafka)
        versions = range(message.versions[0], message.versions[1] + 1)
        for struct in [message.root, *message.structs.values()]:
            for field in (f for f in struct.fields if not f.own):
                for what, harm in damages(field, struct.versions):
                    sound = dict(field.__dict__)
                    harm(field)
                    done += 1
                    if not any(differences(message, definitions, v) for v in versions):
                        missed.append(f"{struct.c_name}.{field.name}: wrong {what} was not found")
                    field.__dict__.update(sound)
    return done, missed


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--schema", default=os.path.join(ROOT, "net/kafka.wire"))
    options.add_argument("--jars", default=os.path.join(ROOT, "build/schema"))
    options = options.parse_args()
    fetch_jars(options.jars)
    kafka = load(options.jars)
    apis, messages = parse(options.schema)
    found = check_names_and_types(apis, messages, kafka) + check_not_generated(apis, kafka)
    versions = 0
    for message in messages:
        versions += message.versions[1] - message.versions[0] + 1
        found += compare(message, definitions_of(message, kafka))
    for line in found:
        print(f"schema: {line}")
    if found:
        print(f"schema: {len(found)} differences")
        return 1
    done, missed = count_damages(messages, kafka)
    for line in missed:
        print(f"schema: {line}")
    print(f"schema: {len(messages)} messages in {versions} versions equal Kafka's; "
          f"{done - len(missed)} of {done} deliberate mistakes found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
