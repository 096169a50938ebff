#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The checker of tests/nemesis: a good history passes, and one with a single mistake is found by the check it is for."""
import os
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / part) for part in ("nemesis", "interop")]
import audit  # noqa: E402
import history  # noqa: E402
import schedule  # noqa: E402
import wire  # noqa: E402
from history import REFUSED, SOMEWHERE, UNSURE, End, Final, Read, Write  # noqa: E402


def write(value, offset, began, node=1, idempotent=False):
    return Write(value.split(":")[0], 0, value, began, began + 0.5, offset, node, idempotent)


def final(offset, epoch, value, producer_epoch=0):
    return Final(0, offset, epoch, [7, producer_epoch] if value.startswith("i:") else [-1, -1], value)


# Two clients take turns; the one in the middle is not sure, and was refused once.
GOOD = [write("a:0", 0, 0), write("i:0", 1, 1, -1, True), write("i:1", SOMEWHERE, 2, -1, True), write("a:1", UNSURE, 3),
        write("a:2", REFUSED, 4), write("a:3", 4, 5, 2), write("a:4", UNSURE, 6),
        *(Read("r", 0, offset, value) for offset, value in enumerate(("a:0", "i:0", "i:1", "a:1"))),
        End(1, 0, 3, 3), End(1, 0, 6, 5), End(2, 0, 6, 4),
        *(final(offset, epoch, value) for offset, epoch, value in
          ((0, 1, "a:0"), (1, 1, "i:0"), (2, 1, "i:1"), (3, 1, "a:1"), (4, 2, "a:3")))]


def found(events):
    return {name for name, _, _ in history.anomalies(history.History(events))}


def changed(old, *new):
    """The good history with other events in the place of one."""
    at = GOOD.index(old)
    return GOOD[:at] + list(new) + GOOD[at + 1:]


class Checker(unittest.TestCase):
    def bites(self, name, events):
        self.assertIn(name, found(events))

    def test_good(self):
        self.assertEqual(found(GOOD), set())

    def test_lines(self):
        self.assertEqual([history.event_of(history.line_of(event)) for event in GOOD], GOOD)

    def test_lost(self):
        self.bites("lost", changed(final(4, 2, "a:3")))
        self.bites("lost", [event for event in GOOD if event != final(2, 1, "i:1")])  # acknowledged without an offset

    def test_swapped(self):
        there = [final(0, 1, "i:0"), final(1, 1, "a:0")]
        events = [event for event in GOOD if not (isinstance(event, Final) and event.offset < 2)] + there
        self.assertEqual(found(events), {"moved", "unread"})

    def test_read_and_gone(self):
        self.assertEqual(found(GOOD + [Read("late", 0, 0, "a:9")]), {"unread"})
        self.bites("unread", GOOD + [Read("r", 0, 4, "a:3"), Read("r", 0, 5, "a:4")])

    def test_twice(self):
        self.assertEqual(found(GOOD + [final(5, 2, "i:0")]), {"twice", "order"})
        self.assertEqual(found(GOOD + [final(5, 2, "a:1")]), {"twice"})

    def test_renumbered(self):
        """The client's own doing, and nothing else, is left out: another producer epoch."""
        again = GOOD + [final(5, 2, "i:1", producer_epoch=1)]
        self.assertEqual(found(again), set())
        self.assertEqual(history.renumbered(history.History(again)), {"i:1"})
        self.assertEqual(found(again + [final(6, 2, "i:1", producer_epoch=1)]), {"twice"})

    def test_strange(self):
        self.assertEqual(found(GOOD + [final(5, 2, "b:0")]), {"strange"})
        self.assertEqual(found(GOOD + [final(5, 2, "a:2")]), {"strange"})

    def test_hole(self):
        self.assertEqual(found(GOOD + [final(6, 2, "a:4")]), {"holes"})

    def test_order(self):
        swapped = [event for event in GOOD if not (isinstance(event, (Final, Read)) and event.offset in (1, 2))]
        self.bites("order", swapped + [final(1, 1, "i:1"), final(2, 1, "i:0")])

    def test_time_order(self):
        """The second was sent when the first was acknowledged, and stands before it."""
        events = [write("a:0", 1, 0), write("b:0", 0, 1), final(0, 1, "b:0"), final(1, 1, "a:0")]
        self.assertEqual(found(events), {"time_order"})
        at_once = [write("a:0", 1, 0), write("b:0", 0, 0.4), *events[2:]]
        self.assertEqual(found(at_once), set())

    def test_jumps(self):
        self.assertEqual(found(GOOD + [Read("r", 0, 3, "a:1")]), {"jumps"})
        self.assertEqual(found(changed(Read("r", 0, 1, "i:0"))), {"jumps"})

    def test_end_goes_back(self):
        self.assertEqual(found(GOOD + [End(1, 0, 7, 4)]), {"ends_back"})

    def test_stale_leader(self):
        events = changed(write("a:4", UNSURE, 6), write("a:4", 5, 6, 1)) + [final(5, 2, "a:4")]
        self.assertEqual(found(events), {"two_leaders"})

    def test_never_acknowledged(self):
        self.assertEqual(found(GOOD + [write("i:2", UNSURE, 7, -1, True)]), {"never_acked"})

    def test_each_check_was_here(self):
        text = pathlib.Path(__file__).read_text()
        self.assertEqual([check.__name__ for check in history.CHECKS if f'"{check.__name__}"' not in text], [])


class Replicas(unittest.TestCase):
    """Three brokers' folders: each replica in two segments, cut where each likes."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.dirs = {node: os.path.join(self.folder.name, str(node)) for node in (1, 2, 3)}
        batches = [wire.batch([b"x%d" % i], base_offset=i) for i in range(6)]
        for node, data_dir in self.dirs.items():
            os.makedirs(os.path.join(data_dir, "t-0"))
            for first, last in ((0, node), (node, 6)):
                pathlib.Path(data_dir, "t-0", f"{first:020}.log").write_bytes(b"".join(batches[first:last]))

    def tearDown(self):
        self.folder.cleanup()

    def test_equal(self):
        self.assertEqual(audit.differences(self.dirs, "t"), [])

    def test_a_byte(self):
        path = pathlib.Path(self.dirs[2], "t-0", f"{2:020}.log")
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        self.assertEqual(len(audit.differences(self.dirs, "t")), 1)

    def test_a_batch(self):
        path = pathlib.Path(self.dirs[3], "t-0", f"{3:020}.log")
        path.write_bytes(path.read_bytes()[:-1])
        self.assertIn("broker 3 5", audit.differences(self.dirs, "t")[0][1])

    def test_nothing(self):
        self.assertEqual(len(audit.differences(self.dirs, "other")), 1)


class Schedule(unittest.TestCase):
    def test_same_seed(self):
        self.assertEqual(schedule.draw(7, 2), schedule.draw(7, 2))
        self.assertNotEqual(schedule.draw(7, 2).faults, schedule.draw(8, 2).faults)

    def test_what_sixty_have(self):
        drawn = [schedule.draw(seed, seed) for seed in range(60)]
        self.assertEqual({fault.kind for plan in drawn for fault in plan.faults}, set(schedule.KINDS))
        self.assertEqual({(plan.brokers, plan.servers) for plan in drawn}, set(schedule.SHAPES))
        self.assertEqual(sum(plan.load_s > schedule.AWAY_S for plan in drawn), 10)
        self.assertTrue(all(plan.load_s >= 30 and len(plan.faults) >= 5 for plan in drawn))


unittest.main()
