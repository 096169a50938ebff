# SPDX-License-Identifier: Apache-2.0
"""The cells of bench/peer: what each does with `millrace bench`, and which of its figures stand in the table.

A figure has a goal where Millrace has promised something: the least (or, for what should be small, the largest) ratio
of Millrace to Apache Kafka, or an absolute bound. Ratios are always Millrace / Kafka without fsync, but for the cell
where Kafka is faster with fsync: there it is the better of its modes.
"""

KIB, MIB = 1 << 10, 1 << 20


class Figure:
    def __init__(self, key, label, goal=None, small=False, best=False, limit=None, fsync=False):
        self.key, self.label = key, label
        self.goal = goal  # of the ratio
        self.small = small  # less is better
        self.best = best  # against the better of Kafka's modes
        self.fsync = fsync  # against Kafka with fsync: the same promise on both sides
        self.limit = limit  # absolute, of Millrace alone


class Cell:
    """`topic` is made if it is not there; `fill` is what a produce puts into it first (once); `load` is the
    `millrace bench` that is measured, with its options; TOPIC stands for the topic. Cells named in `fsync` make sense with fsync before acknowledging."""

    def __init__(self, name, title, load, figures, topic=None, partitions=1, fill=None, fsync=False, warm=0.25,
                 seconds=1.0):
        self.name, self.title, self.load, self.figures = name, title, load, figures
        self.topic, self.partitions, self.fill, self.fsync = topic or name, partitions, fill, fsync
        self.rate = rate_of(load) if load and '--rate' in load else None  # batches per second
        self.warm, self.seconds = warm, seconds  # shares of --seconds: before the measurement, and measured; None: all


def produce(connections, records=1, window=5, rate=None, bytes_max=None):
    """rate: batches per second."""
    return ['produce', 'TOPIC', '--connections', connections, '--batch', records,
            *(['--rate', rate * records] if rate else ['--in-flight', window]),
            *(['--bytes', bytes_max] if bytes_max else [])]


def rate_of(load):
    return load[load.index('--rate') + 1] / load[load.index('--batch') + 1]


def fetch(connections, *options):
    return ['consume', 'TOPIC', '--connections', connections, '--fetch-bytes', MIB, '--max-bytes', 50 * MIB, *options]


CPU = Figure('broker_cpu_s_per_gb', 'CPU s/GB', goal=1 / 3, small=True)
P99 = Figure('p99_us', 'p99 us', small=True)
KEPT = Figure('batches_per_s', 'batches/s, beside fsync', goal=20.0, fsync=True)
P50 = Figure('p50_us', 'p50 us', small=True)


def paced(goal):
    return [P50, Figure('p99_us', 'p99 us', goal=goal, small=True), Figure('p999_us', 'p99.9 us', goal=goal, small=True)]


CELLS = (
    Cell('rtt', 'round trip, 1 connection', ['ping'], [Figure('p50_us', 'p50 us', goal=1 / 3, small=True), P99],
         seconds=0.5),
    Cell('small', '4 connections x 12 partitions, 1 KiB batches, 5 in flight', produce(4),
         [Figure('batches_per_s', 'batches/s', goal=2.0), P99, CPU], 'twelve', 12, fsync=True),
    Cell('wide', '50 connections x 288 partitions, 1 KiB batches, 5 in flight', produce(50),
         [Figure('batches_per_s', 'batches/s', goal=2.0), P99, CPU], 'wide', 288, fsync=True, warm=1.0),
    Cell('mid', '16 connections x 12 partitions, 16 KiB batches, 5 in flight', produce(16, 16),
         [Figure('mb_per_s', 'MB/s', goal=1.5), P99, CPU], 'twelve', 12, fsync=True),
    Cell('big', '1 connection x 1 partition, 1 MiB batches, 4 in flight', produce(1, 1000, 4, bytes_max=6 * 10**9),
         [Figure('mb_per_s', 'MB/s', goal=1.5, best=True), P99, CPU], 'big', 1, fsync=True),
    Cell('many', '16 connections x 256 partitions, 4 KiB batches, 5 in flight', produce(16, 4),
         [Figure('batches_per_s', 'batches/s', goal=3.0), KEPT, P99, CPU], 'many', 256, fsync=True, warm=1.0),
    Cell('most', '16 connections x 2,000 partitions, 4 KiB batches, 5 in flight', produce(16, 4),
         [Figure('batches_per_s', 'batches/s', goal=3.0), KEPT, P99, CPU], 'most', 2000, fsync=True, warm=1.0),
    Cell('tail', 'fetch of the newest 64 MiB again and again, 4 connections x 4 partitions', fetch(4, '--repeat'),
         [Figure('mb_per_s', 'MB/s', goal=1.0), Figure('broker_cpu_s_per_gb', 'CPU s/GB', small=True)], 'tail', 4,
         fill=produce(4, 100, 4, bytes_max=64 * MIB)),
    Cell('log', 'fetch of 2 GB from its start, 1 connection x 1 partition', fetch(1),
         [Figure('mb_per_s', 'MB/s'), Figure('broker_cpu_s_per_gb', 'CPU s/GB', small=True)], 'log', 1,
         fill=produce(1, 1000, 4, bytes_max=2 * 10**9), warm=0, seconds=None),
    Cell('paced', '2,000 batches/s of 1 KiB, 8 connections x 12 partitions', produce(8, rate=2000), paced(1 / 3),
         'twelve', 12, fsync=True),
    Cell('paced-mid', '1,000 batches/s of 16 KiB, 8 connections x 12 partitions', produce(8, 16, rate=1000),
         paced(None), 'twelve', 12, fsync=True),
    Cell('idle', '1,000 parked fetches x 12 partitions', ['consume', 'TOPIC', '--from', 'end', '--follow', '--connections', 1000],
         [Figure('broker_cpu_percent', '% of a core', small=True)], 'twelve', 12),
)

# Measured on starts of their own, not by a cell.
START = Cell('start', 'start', None, [
    Figure('first_ack_ms', 'ms to the first ack, empty directory', small=True, limit=100),
    Figure('resident_mib', 'MiB resident 1 s after it (Millrace --memory 512M)', small=True, limit=64),
    Figure('restart_ms', 'ms to the first ack, directory of the cells', small=True, limit=100)])
