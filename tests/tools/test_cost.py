#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tests/cost/run: what it reads out of callgrind's file, and when it says no."""
import importlib.machinery
import importlib.util
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/cost"))
import callgrind  # noqa: E402

loader = importlib.machinery.SourceFileLoader("cost_run", str(ROOT / "tests/cost/run"))
run = importlib.util.module_from_spec(importlib.util.spec_from_loader("cost_run", loader))
loader.exec_module(run)

# A function with a header inlined, one that is called, one of the simulated world, generated code, a library.
COUNTED = """\
version: 1
events: Ir
summary: 99999

ob=(1) /build/millrace-cost
fl=(1) /top/core/log/log.c
fn=(1) append
10 100
fi=(2) /usr/include/byteswap.h
+3 20
fe=(1)
* 5
cob=(2) /lib/libc.so.6
cfi=(3) memset.S
cfn=(2) memset
calls=2 7
+1 5000
12 1

fl=(4) /top/io/sim/world.c
fn=(3) world_fold
7 9000

ob=(2)
fl=(3)
fn=(2)
-2 5000

ob=(1)
fl=(5) /top/build/release/generated/net/kafka.c
fn=(4) read_it
7 30
fl=(6) /top/net/conn.c
fn=(5) conn_step
1 400
fl=(7) /top/tests/cost/requests.c
fn=(6) counted_turn
1 7
fl=(1)
fn=(7) again
3 1000
"""


class Parts(unittest.TestCase):
    def test_by_part(self):
        parts = callgrind.by_part(COUNTED.splitlines(keepends=True), "millrace-cost", "/top")
        self.assertEqual(parts, {"core/log": 1126, "net": 430})

    def test_another_place(self):
        self.assertEqual(callgrind.by_part(COUNTED.splitlines(), "millrace-cost", "/elsewhere"), {})


class Verdict(unittest.TestCase):
    def test_within_two_percent(self):
        for now in (9800, 10000, 10200):
            self.assertEqual(run.judge("x", now, 10000, True)[0], "PASS")

    def test_more_and_less(self):
        for now in (9799, 10201):
            self.assertEqual(run.judge("x", now, 10000, True)[0], "FAIL")

    def test_another_compiler(self):
        self.assertEqual(run.judge("x", 20000, 10000, False)[0], "SKIP")

    def test_no_figure(self):
        self.assertEqual(run.judge("x", 1, None, False)[0], "FAIL")


class Figures(unittest.TestCase):
    def test_the_committed_ones_are_of_all_loads(self):
        compiler, figures = run.read(run.FIGURES)
        self.assertRegex(compiler, r"^gcc .*-O2 .*x86_64$")
        with open(ROOT / "tests/cost/requests.c") as source:
            text = source.read()
        self.assertTrue(figures)
        for name, figure in figures.items():
            self.assertIn(f'{{"{name}", ', text)
            self.assertGreater(figure, 1000)

    def test_none(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(run.read(folder + "/none"), (None, {}))


if __name__ == "__main__":
    unittest.main()
