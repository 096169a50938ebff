#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tests/oracle waits for what two brokers learn at different moments, and for nothing else: two pretended ones."""
import os
import random
import socketserver
import struct
import sys
import threading
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "oracle"))
import compare  # noqa: E402
import frames  # noqa: E402
import pair  # noqa: E402
import plays  # noqa: E402

PREFIX = "o-1-"
NEVER = 1 << 30
LIST_OFFSETS = frames.APIS["list_offsets"].key


class Pretended(socketserver.ThreadingTCPServer):
    """Makes the topics that Metadata 0 names, and knows of them after `looks` more requests."""

    daemon_threads = True

    def __init__(self, looks):
        super().__init__(("127.0.0.1", 0), Connection)
        self.looks, self.asked, self.made = looks, 0, {}  # topic: how many requests it is still away
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def metadata(self, version, request):
        self.asked += 1
        self.made = {name: away - 1 for name, away in self.made.items()}
        names = [topic["name"] for topic in request["topics"] or ()]
        if version == 0:
            self.made.update((name, self.looks) for name in names if name not in self.made)
        there = {name for name, away in self.made.items() if away <= 0}
        topics = [{"name": name, "error_code": 0 if name in there else 3,
                   "partitions": [{"partition_index": 0}] if name in there else []} for name in names or sorted(there)]
        return {"topics": topics}


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        while size := self.rfile.read(4):
            frame = self.rfile.read(*struct.unpack(">i", size))
            key, version, number, client = struct.unpack_from(">hhih", frame)
            api = frames.APIS["list_offsets" if key == LIST_OFFSETS else "metadata"]
            flexible = frames.flexible_at(api.request, version)
            request = frames.decode(api.request, version, frame[10 + client + flexible:])
            tree = {} if key == LIST_OFFSETS else self.server.metadata(version, request)
            answer = struct.pack(">i", number) + bytes(flexible) + frames.encode(api.response, version, tree)
            self.wfile.write(struct.pack(">i", len(answer)) + answer)


class Settling(unittest.TestCase):
    def brokers(self, **looks):
        """The answer to Metadata 5 of all topics, behind a Metadata 0 that makes one."""
        brokers = {name: Pretended(count) for name, count in looks.items()}
        play = pair.Play(frames.APIS, [(name, broker.server_address) for name, broker in brokers.items()],
                         compare.Rules(), PREFIX, "o-")
        try:
            stage = plays.Stage(play, random.Random(1), {"metadata": [0, 5]}, False)
            stage.ask("metadata", 0, {"topics": [{"name": stage.c}]})
            return stage.ask("metadata", 5, {"topics": None, "allow_auto_topic_creation": False})
        finally:
            play.close()
            for broker in brokers.values():
                broker.shutdown()
                broker.server_close()

    def test_one_learns_of_a_topic_later(self):
        for looks in ({"kafka": 5, "millrace": 2}, {"kafka": 2, "millrace": 5}):
            self.assertEqual([topic["name"] for topic in self.brokers(**looks)["topics"]], [PREFIX + "c"])

    def test_one_never_does(self):
        wait, pair.SETTLE_S = pair.SETTLE_S, 0.2
        self.addCleanup(setattr, pair, "SETTLE_S", wait)
        for looks in ({"kafka": NEVER, "millrace": 2}, {"kafka": 2, "millrace": NEVER}):
            with self.assertRaises(pair.Differs) as told:
                self.brokers(**looks)
            self.assertEqual(told.exception.found[0].place, f"topics[{PREFIX}c].error_code")


unittest.main()
