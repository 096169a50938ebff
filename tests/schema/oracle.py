#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks Kafka's own codec about frames that ours has written: it must read them and write the same.

    python3 tests/schema/oracle.py [--frames-by PROGRAM] [--jars DIR]

compare.py shows that the schema says what Kafka's says; this shows that both mean the same bytes.
PROGRAM (default build/dev/test-net-kafka) writes ten pseudo-random frames per message and version.
Oracle.java runs on 4.3.1 and, for what 4.x removed, on 3.9.2. Exit code 77: no Maven or no Java.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from compare import JARS, ROOT, SKIPPED, fetch_jars  # noqa: E402


def ask(jars, frames):
    """The (message, version) pairs that these jars agree with; None when a frame differs."""
    source = os.path.join(ROOT, "tests/schema/Oracle.java")
    answer = subprocess.run(["java", "-cp", ":".join(jars), source, frames], text=True,
                            stdout=subprocess.PIPE, check=False)
    return set(answer.stdout.split("\n")) - {""} if answer.returncode == 0 else None


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--frames-by", default=os.path.join(ROOT, "build/dev/test-net-kafka"))
    options.add_argument("--jars", default=os.path.join(ROOT, "build/schema"))
    options = options.parse_args()
    if not shutil.which("java"):
        print("oracle: skipped, there is no java to run Kafka's codec with")
        return SKIPPED
    fetch_jars(options.jars)
    paths = {jar: os.path.join(options.jars, f"{jar}.jar") for jar in JARS + ["slf4j-api-1.7.36"]}
    old = paths.pop("kafka-clients-3.9.2")
    with tempfile.TemporaryDirectory() as folder:
        frames = os.path.join(folder, "frames")
        subprocess.run([options.frames_by, "--frames", frames], check=True)
        with open(frames, encoding="ascii") as file:
            asked = {" ".join(line.split(" ", 2)[:2]) for line in file}
        agreed = [ask(list(paths.values()), frames), ask([old, paths["slf4j-api-1.7.36"]], frames)]
    if None in agreed:
        return 1
    missing = asked - agreed[0] - agreed[1]
    for pair in sorted(missing):
        print(f"oracle: no release knows {pair}")
    print(f"oracle: Kafka writes the same bytes for {len(asked - missing)} of {len(asked)} "
          "messages and versions")
    return 1 if missing or not asked else 0


if __name__ == "__main__":
    sys.exit(main())
