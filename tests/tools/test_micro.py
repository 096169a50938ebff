#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The page of bench/micro: medians, and verdicts that follow from the stored values."""
import json
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HOP = "mail_round_trip/in_flight:256/spin_us:50/real_time"
NAMES = {"decode_request/produce.v13/1": 300, "decode_request/produce.v13/8": 9000, "batch_check/none/1024": 600,
         "memcpy/1024": 50, "memcpy/16384": 400, "log_append/partitions:12/bytes:1024": 1049,
         "log_append/partitions:12/bytes:16384": 1401, HOP: 190}


def page(names):
    runs = [{"run_type": "iteration", "run_name": name, "time_unit": "ns", "bytes_per_second": 5e9,
             "cpu_time": 1 if name == HOP else ns * way, "real_time": ns * way if name == HOP else 1}
            for name, ns in names.items() for way in (1, 0.5, 3)]
    stored = {"context": {"num_cpus": 2, "load_avg": [0.5]}, "benchmarks": [*runs, {"run_type": "aggregate"}],
              "millrace": {"commit": "c", "compiler": "gcc", "flags": "-O2", "processor": "p", "kernel": "k"}}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(stored, file)
        file.flush()
        done = subprocess.run([ROOT / "bench/micro", "--from", file.name], capture_output=True, text=True, check=True)
    return [[text.strip() for text in line.strip("|").split("|")] for line in done.stdout.splitlines() if line.startswith("| ")]


class Page(unittest.TestCase):
    def test_goals(self):
        goals = [row[1:] for row in page(NAMES) if row[-1] in ("met", "missed")]
        self.assertEqual([[row[0], row[1], row[3]] for row in goals],
                         [["900", "1,000", "met"], ["1,049", "1,050", "met"], ["1,401", "1,400", "missed"], ["95.0", "100", "met"]])

    def test_each_benchmark(self):
        self.assertIn(["memcpy/1024", "50.0", "25.0 to 150", "5,000"], page(NAMES))

    def test_what_was_not_measured_has_no_verdict(self):
        goals = [row for row in page({"memcpy/1024": 50}) if row[-1] in ("met", "missed")]
        self.assertEqual(goals, [])


if __name__ == "__main__":
    unittest.main()
