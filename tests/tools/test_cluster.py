#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table of bench/cluster: medians, ratios and verdicts follow from the stored values; and its onlookers' arithmetic."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))
sys.dont_write_bytecode = True
import cluster_clients  # noqa: E402


def table(cell, millrace, kafka=None):
    results = {name: {cell: figures} for name, figures in (("millrace", millrace), ("kafka", kafka)) if figures}
    stored = {"machine": "m", "seconds": 1, "heap": "1g", "memory": "1G", "partitions": 10, "gigabytes": 1, "results": results}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(stored, file)
        file.flush()
        done = subprocess.run([ROOT / "bench/cluster", "--from", file.name, "--markdown"], capture_output=True, text=True, check=True)
    rows = [[text.strip() for text in line.strip("|").split("|")] for line in done.stdout.splitlines() if line.startswith("|")]
    return {row[1]: row[2:] for row in rows[2:]}


class Table(unittest.TestCase):
    def test_met_and_missed(self):
        for ours, verdict in ((30, "met"), (29.9, "missed")):
            rows = table("small", {"mb_per_s": [ours]}, {"mb_per_s": [10]})
            self.assertEqual(rows["MB/s"][-1], verdict)

    def test_range(self):
        rows = table("small", {"mb_per_s": [31, 29, 30]}, {"mb_per_s": [10]})
        self.assertEqual(rows["MB/s"], ["30.0 (29.0-31.0)", "10.0", "3.00", ">= 3", "met"])

    def test_a_bound(self):
        for ours, verdict in ((100, "met"), (101, "missed")):
            rows = table("kill", {"after_ms": [ours]}, {"after_ms": [1]})
            self.assertEqual(rows["ms to the first acknowledged write after that"], [str(ours), "1.00", "-", "<= 100 itself", verdict])

    def test_one_alone(self):
        self.assertEqual(table("catch-up", {"of_fio": [0.7]})["of that"], ["0.70", "-", "-", ">= 0.7 itself", "met"])


class Onlookers(unittest.TestCase):
    def test_the_longest_time_without_an_acknowledgement(self):
        lines = [(at, []) for at in (1.0, 2.0, 2.5, 4.5, 4.6)]
        self.assertEqual(cluster_clients.gap(lines, 2.2), (2.5, 4.5))
        self.assertEqual(cluster_clients.gap(lines, 2.6), (2.6, 4.5))
        self.assertEqual(cluster_clients.gap(lines, 5.0), (5.0, 5.0))

    def test_a_line(self):
        self.assertEqual(cluster_clients.Told.read(b"12.5 /controller gone\n"), (12.5, ["/controller", "gone"]))
        self.assertIsNone(cluster_clients.Java.read(b'{"name":"startup_complete"}\n'))


if __name__ == "__main__":
    unittest.main()
