#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/test adds up what suites say, and what they do not say is a failure, never a zero."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
COUNT = r"printf '3 passed, 0 failed\n'"

# what, body of tools/suite, expected last line, expected to succeed
CASES = [
    ("a clean suite", COUNT, "6 passed, 0 failed", True),
    ("skips are counted", "echo 3 passed, 0 failed, 2 skipped", "6 passed, 0 failed, 4 skipped", True),
    ("failures are counted", "echo 3 passed, 2 failed; exit 1", "6 passed, 4 failed", False),
    ("a failure with exit status 0", "echo 3 passed, 2 failed", "6 passed, 4 failed", False),
    ("no output", ":", "0 passed, 2 failed", False),
    ("a count that is not the last line", COUNT + "; echo more", "0 passed, 2 failed", False),
    ("a clean count, then a bad exit", COUNT + "; exit 3", "6 passed, 2 failed", False),
    ("a suite killed by a signal", COUNT + "; kill -SEGV $$", "6 passed, 2 failed", False),
    ("a suite over its limit", "sleep 20", "0 passed, 2 failed", False),
    ("a suite that is not in the tree", COUNT, "3 passed, 0 failed", True),
    ("suites beside each other", "[ $1 = one ] && sleep 0.2; " + COUNT, "9 passed, 0 failed", True),
    ("failures beside each other", "[ $1 = two ] && sleep 0.2; echo 3 passed, 2 failed", "9 passed, 6 failed", False),
    ("they do run beside each other", "touch ran-$1; until [ -e ran-one ] && [ -e ran-two ]; do sleep 0.01; done; " + COUNT,
     "9 passed, 0 failed", True),
]


def last_line(what, body):
    with tempfile.TemporaryDirectory() as name:
        tools = pathlib.Path(name, "tools")
        tools.mkdir()
        for file in ("test", "lib.sh"):
            shutil.copy(TOOLS / file, tools)
        needs = "absent/*" if "not in the tree" in what else "*"
        beside = "+" if "beside" in what else ""
        (tools / "tiers").write_text(f"ci budget 9\nci one - 1 *\nci{beside} two all 1 {needs}\nlong one - 1 *\n" +
                                     ("ci three - 1 *\n" if beside else ""))
        for file, text in (("suite", body), ("install-packages", ":")):
            (tools / file).write_text("#!/bin/bash\n" + text + "\n")
            (tools / file).chmod(0o755)
        run = subprocess.run([tools / "test"], capture_output=True, text=True)
        return (run.stdout.splitlines() or [""])[-1], run.returncode == 0, run.stdout + run.stderr


def main():
    failed = 0
    for what, body, line, succeeds in CASES:
        got_line, got_success, output = last_line(what, body)
        good = (got_line, got_success) == (line, succeeds)
        failed += not good
        print(("PASS " if good else "FAIL ") + what)
        if not good:
            print(output)
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
