#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table of bench/peer: medians, ratios and verdicts follow from the stored values."""
import json
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def table(results, *options):
    stored = {"machine": "m", "seconds": 1, "rounds": 3, "heap": "6g", "results": results}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(stored, file)
        file.flush()
        done = subprocess.run([ROOT / "bench/peer", "--from", file.name, "--markdown", *options],
                              capture_output=True, text=True, check=True)
    rows = [[text.strip() for text in line.strip("|").split("|")]
            for line in done.stdout.splitlines() if line.startswith("|")]
    return {row[1]: row[2:] for row in rows[2:]}, done.stdout


def results(cell, millrace, kafka, fsync=None):
    columns = {"millrace durable": millrace, "kafka no fsync": kafka, "kafka fsync": fsync}
    return {name: {cell: figures} for name, figures in columns.items() if figures}


class Table(unittest.TestCase):
    def test_median_and_ratio(self):
        rows, _ = table(results("small", {"batches_per_s": [400, 10, 300]}, {"batches_per_s": [100, 200, 150]}))
        self.assertEqual(rows["batches/s"], ["300 (10.0-400)", "150 (100-200)", "-", "2.00", ">= 4", "missed"])

    def test_met_and_missed(self):
        for ours, verdict in ((600, "met"), (599, "missed")):
            rows, _ = table(results("small", {"batches_per_s": [ours]}, {"batches_per_s": [150]}))
            self.assertEqual(rows["batches/s"][-1], verdict)

    def test_the_same_promise(self):
        rows, _ = table(results("small", {"batches_per_s": [600]}, {"batches_per_s": [150]}, {"batches_per_s": [31]}))
        self.assertEqual(rows["batches/s, beside fsync"][3:], ["19.35", ">= 20 of fsync", "missed"])

    def test_what_is_left_of_another_cell(self):
        stored = results("conns-10k", {"batches_per_s": [60]}, {"batches_per_s": [40]})
        for column, least in (("millrace durable", 100), ("kafka no fsync", 80)):
            stored[column]["conns-100"] = {"batches_per_s": [least]}
        rows, _ = table(stored)
        self.assertEqual(rows["what is left"], ["0.60", "0.50", "-", "-", ">= 0.6 itself", "met"])

    def test_of_what_the_machine_can_do(self):
        rows, _ = table(results("big-4", {"mb_per_s": [500], "of_machine": [0.85]}, {"mb_per_s": [200]}))
        self.assertEqual(rows["of what drive and sockets carry"], ["0.85", "-", "-", "-", ">= 0.9 itself", "missed"])

    def test_less_is_better(self):
        rows, _ = table(results("paced", {"p99_us": [200], "p999_us": [101]}, {"p99_us": [1000], "p999_us": [1000]}))
        self.assertEqual([rows["p99 us"][-1], rows["p99.9 us"][-1]], ["met", "missed"])

    def test_the_better_of_kafkas_modes(self):
        rows, _ = table(results("big-1", {"mb_per_s": [500]}, {"mb_per_s": [200]}, {"mb_per_s": [400]}))
        self.assertEqual(rows["MB/s"][3:], ["1.25", ">= 1.5 of best", "missed"])

    def test_a_rate_that_was_not_reached_is_marked(self):
        rows, text = table(results("paced", {"p50_us": [1], "late": [0]}, {"p50_us": [1], "late": [7]}))
        self.assertEqual(rows["p50 us"][:2], ["1.00", "1.00*"])
        self.assertIn("*: errors", text)

    def test_jetstream(self):
        stored = results("small", {"batches_per_s": [50]}, {"batches_per_s": [10]})
        stored["nats no fsync"] = {"small": {"batches_per_s": [100]}}
        stored["nats fsync"] = {"small": {"batches_per_s": [5]}}
        self.assertIn("(Millrace durable: 0.50 of it, goal > 1: missed), 5.00 with sync_interval: always (10.0)", table(stored)[1])

    def test_one_broker_alone(self):
        rows, _ = table(results("start", {"first_ack_ms": [99]}, None))
        self.assertEqual(rows["ms to the first ack, empty directory"], ["99.0", "-", "-", "-", "<= 100 itself", "met"])


if __name__ == "__main__":
    unittest.main()
