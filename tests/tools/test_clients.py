#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/clients: its table follows from the stored values, its loop is an open one, and its groups are stable when it says so."""
import json
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))
import clients_load as load  # noqa: E402

SIZES = {"clients": 20, "rate": 100, "committers": 5, "groups": 10, "idle": 50, "many": 20, "shared": 40, "seconds": 1}


def table(**columns):
    stored = {"machine": "m", "commit": "c", "sizes": SIZES, "processes": 2, "rounds": 1, "heap": "6g",
              "results": {name.replace("_", "-"): figures for name, figures in columns.items()}}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(stored, file)
        file.flush()
        done = subprocess.run([ROOT / "bench/clients", "--from", file.name, "--markdown"], capture_output=True, text=True, check=True)
    rows = [[text.strip() for text in line.strip("|").split("|")] for line in done.stdout.splitlines() if line.startswith("|")]
    return {row[1]: row[2:] for row in rows[2:]}, done.stdout


class Table(unittest.TestCase):
    def test_median_and_ratio(self):
        rows, _ = table(millrace={"commits_p50_ms": [3, 90, 1]}, kafka={"commits_p50_ms": [6, 2, 12]})
        self.assertEqual(rows["p50, ms"], ["3.00", "6.00", "0.50", "<= 1.00", "met"])

    def test_missed(self):
        rows, _ = table(millrace={"storm_s": [2.1]}, kafka={"storm_s": [2]}, kafka_fsync={"storm_s": [9]})
        self.assertEqual(rows["until all have metadata, s"], ["2.10", "2.00", "9.00", "1.05", "<= 1.00", "missed"])

    def test_a_limit_needs_no_peer(self):
        rows, _ = table(millrace={"many_rest_percent": [1.2]})
        self.assertEqual(rows["at rest: broker CPU, % of a core"], ["1.20", "-", "-", "< 1", "missed"])

    def test_what_is_no_ratio(self):
        rows, _ = table(millrace={"idle_kib": [7]}, kafka={"idle_kib": [-0.3]})
        self.assertEqual(rows["more resident, KiB per connection with its fetch"], ["7.00", "-0.30", "-", "< 12", "met"])

    def test_marks(self):
        """The rate was not reached, commits were not answered, the client was late, or out of processor time."""
        for more in ({"commits_per_s": [97]}, {"commits_unanswered": [1]}, {"commits_late_p99_ms": [1.1]}, {"commits_busy": [0.9]}):
            rows, text = table(millrace={"commits_p50_ms": [1], **more}, kafka={"commits_p50_ms": [1], "commits_per_s": [100]})
            self.assertEqual(rows["p50, ms"][:2], ["1.00*", "1.00"], more)
            self.assertIn("*: the clients", text)


class Coordinator(threading.Thread):
    """Answers what is asked on each connection: a group of `each`, whose first generation has only the first who comes; commits stall once."""

    def __init__(self, each=2, stall_s=0):
        super().__init__(daemon=True)
        self.each, self.stall_s, self.lock, self.joined, self.names = each, stall_s, threading.Condition(), {}, 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.start()

    def run(self):
        while True:
            connection = self.server.accept()[0]
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rwb") as stream:
            while size := stream.read(4):
                request = load.wire.Reader(stream.read(struct.unpack(">i", size)[0]))
                key = request.i16()
                request.take(6)
                request.string()
                answer = bytes(8) + {load.JOIN: self.join, load.SYNC: self.sync, load.COMMIT: self.commit}[key](request)
                stream.write(load.wire.frame(answer))
                stream.flush()

    def join(self, request):
        request.string()
        request.take(8)
        name, error, generation = request.string(), 0, 1
        with self.lock:
            if not name:
                self.names += 1
                name, error = f"m{self.names}", load.MEMBER_ID_REQUIRED
            else:  # the first generation has only the first one
                self.joined[name] = self.joined.get(name, 0) + 1
                first = next(iter(self.joined))
                self.lock.notify_all()
                if len(self.joined) > 1 or self.joined[name] > 1:
                    generation = 2
                    self.lock.wait_for(lambda: len(self.joined) == self.each and self.joined[first] > 1 or self.each == 1)
        return (load.wire.i16(error) + load.wire.i32(generation) + load.wire.string("range") + load.wire.string("m1")
                + load.wire.string(name) + load.wire.array([]))

    def sync(self, request):
        request.string()
        old = request.i32() == 1 and self.each > 1
        return load.wire.i16(load.REBALANCING if old else 0) + load.wire.blob(b"a")

    def commit(self, _):
        with self.lock:
            stall_s, self.stall_s = self.stall_s, 0
        time.sleep(stall_s)
        return load.wire.array([load.wire.string(load.TOPIC) + load.wire.array([bytes(6)])])


class Loading(unittest.TestCase):
    def test_a_group_is_stable_when_all_are_in_one_generation(self):
        client = load.Load(Coordinator(each=3).port, 0, 1)
        client.connect(3)
        client.form(1, 3, "g", 30000, time.monotonic())
        self.assertEqual({(member.generation, bool(member.id)) for member in client.members()}, {(2, True)})
        client.close()

    def test_a_stall_is_in_the_latency_of_all_that_was_due(self):
        client = load.Load(Coordinator(each=1, stall_s=0.5).port, 0, 1)
        client.connect(1)
        client.form(1, 1, "g", 30000, time.monotonic())
        took, late = client.commit(200, time.monotonic(), 0, 1)
        client.close()
        self.assertEqual(len(took), 200)
        self.assertGreater(sum(each > 100 for each in took), 75)
        self.assertLess(sorted(late)[100], 50)

    def test_a_refusal_ends_it(self):
        coordinator = Coordinator(each=1)
        coordinator.commit = lambda _: load.wire.i16(load.UNKNOWN_MEMBER)
        client = load.Load(coordinator.port, 0, 1)
        client.connect(1)
        client.form(1, 1, "g", 30000, time.monotonic())
        with self.assertRaisesRegex(load.Failed, "OffsetCommit: error 25"):
            client.commit(10, time.monotonic(), 0, 1)
        client.close()

    def test_the_processes_share_the_work(self):
        """And end, each with its connections."""
        crew = load.Crew(Coordinator(each=1).port, 2)
        crew.call("connect", 4)
        crew.call("form", 4, 1, "g", 30000, time.monotonic())
        begin = time.monotonic()
        told = crew.call("commit", 100, begin, 0, 0.5)
        self.assertEqual([len(took) for took, _ in told], [25, 25])
        with self.assertRaisesRegex(load.Failed, "no_such_thing"):
            crew.call("no_such_thing")
        crew.end()
        self.assertLess(time.monotonic() - begin, 8)


if __name__ == "__main__":
    unittest.main()
