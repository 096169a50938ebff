# SPDX-License-Identifier: Apache-2.0
"""The cells of bench/peer: what each does with `millrace bench`, and which of its figures stand in the table.

A figure has a goal where Millrace has promised something. Most goals are ratios of Millrace, durable, to Apache Kafka
without fsync; others are held against Kafka with fsync, against what the machine can do, against another cell of the
same broker, or are a bound for Millrace alone.
"""

KIB, MIB = 1 << 10, 1 << 20
PACED_MB_PER_S = 100


class Figure:
    """`small`: less is better. `of` says what the goal is about: the ratio to Kafka without fsync (`peer`), with it (`fsync`: the
    same promise on both sides), to the better of both (`best`), or Millrace's own value (`own`). With `share_of`, the name of
    another cell, the value is what that cell's figure becomes here: 0.9 of it are left."""

    def __init__(self, key, label, goal=None, small=False, of='peer', share_of=None):
        self.key, self.label, self.goal, self.small, self.of, self.share_of = key, label, goal, small, of, share_of


class Cell:
    """`topic` is made if it is not there; `fill` is what a produce puts into it first (once); `load` is the `millrace bench`
    that is measured, with its options; TOPIC stands for the topic. `beside`: commands that run meanwhile, `bytes_factor`:
    what goes through the broker in all for each byte of the load. `share`, `of`: the rate is that share of the batches per
    second of another cell. `machine`: what the machine can do is measured just before (MACHINE). `arguments`: the broker is
    started with them for this cell. Cells with `fsync` make sense with fsync before acknowledging."""

    def __init__(self, name, title, load, figures, topic=None, partitions=1, fill=None, fsync=False, warm=0.25, seconds=1.0,
                 beside=(), bytes_factor=1, share=None, of=None, machine=None, arguments=None):
        self.name, self.title, self.load, self.figures = name, title, load, figures
        self.topic, self.partitions, self.fill, self.fsync = topic or name, partitions, fill, fsync
        self.rate = rate_of(load) if load and '--rate' in load else None  # batches per second
        self.warm, self.seconds = warm, seconds  # shares of --seconds: before the measurement, and measured; None: all
        self.beside, self.bytes_factor = beside, bytes_factor
        self.share, self.of, self.machine, self.arguments = share, of, machine, arguments


def produce(connections, records=1, window=5, rate=None, bytes_max=None):
    """rate: batches per second."""
    return ['produce', 'TOPIC', '--connections', connections, '--batch', records,
            *(['--rate', rate * records] if rate else ['--in-flight', window]),
            *(['--bytes', bytes_max] if bytes_max else [])]


def rate_of(load):
    return load[load.index('--rate') + 1] / load[load.index('--batch') + 1]


def fetch(connections, *options):
    return ['consume', 'TOPIC', '--connections', connections, '--fetch-bytes', MIB, '--max-bytes', 50 * MIB, *options]


# Lines of `millrace bench disk` and `bench net`, as (command, {field: value}); the lowest of a cell's is its limit.
def socket_limit(what, connections):
    return 'net', {'what': what, 'message_bytes': MIB, 'connections': connections}


DRIVE = ('disk', {'what': 'durable write, fresh space', 'block_bytes': MIB})
OF_MACHINE = Figure('of_machine', 'of what drive and sockets carry', goal=0.9, of='own')
CPU = Figure('broker_cpu_s_per_gb', 'CPU s/GB', goal=0.2, small=True)
BATCHES, MB = 'batches_per_s', 'mb_per_s'
P50, P99 = Figure('p50_us', 'p50 us', small=True), Figure('p99_us', 'p99 us', small=True)
AS_SAFE = Figure(BATCHES, 'batches/s, beside fsync', goal=20.0, of='fsync')
LOADED = (P99, Figure('p999_us', 'p99.9 us', goal=5000, small=True, of='own'),
          Figure('p9999_us', 'p99.99 us', goal=10000, small=True, of='own'))


def appends(goal):
    return Figure(BATCHES, 'batches/s', goal=goal)


def paced():
    return (Figure('p50_us', 'p50 us', goal=200, small=True, of='own'), Figure('p99_us', 'p99 us', goal=0.2, small=True),
            Figure('p999_us', 'p99.9 us', goal=0.1, small=True))


def left(of, goal):
    return Figure(BATCHES, 'batches/s', None), Figure(BATCHES, 'what is left', goal=goal, of='own', share_of=of)


CELLS = (
    Cell('rtt', 'round trip, 1 connection', ['ping'], [Figure('p50_us', 'p50 us', goal=30, small=True, of='own'), P99], seconds=0.5),
    Cell('rtt-spin', 'round trip, 1 connection, --spin on one core', ['ping'], [Figure('p50_us', 'p50 us', goal=12, small=True, of='own'), P99],
         seconds=0.5, arguments=('--spin', '--cores', '1')),
    Cell('small', '4 connections x 12 partitions, 1 KiB batches, 5 in flight', produce(4),
         [appends(4.0), AS_SAFE, P99, CPU], 'twelve', 12, fsync=True),
    *(Cell(f'small-{share:.0%}'[:-1], f'4 connections x 12 partitions, 1 KiB batches, {share:.0%} of that', produce(4, rate=1), LOADED, 'twelve', 12,
           share=share, of='small') for share in (0.2, 0.5, 0.8)),
    Cell('wide', '50 connections x 288 partitions, 1 KiB batches, 5 in flight', produce(50),
         [appends(5.0), AS_SAFE, P99, CPU], 'wide', 288, fsync=True, warm=1.0),
    Cell('mid', '16 connections x 12 partitions, 16 KiB batches, 5 in flight', produce(16, 16),
         [Figure(MB, 'MB/s', goal=4.0), P99, CPU], 'twelve', 12, fsync=True),
    *(Cell(f'big-{count}', f'{count} connection{"s" * (count > 1)} x 1 partition, 1 MiB batches, 4 in flight', produce(count, 1000, 4, bytes_max=6 * 10**9),
           [Figure(MB, 'MB/s', of='best', goal=1.5), OF_MACHINE, P99, CPU], 'big', 1, fsync=True,
           machine=(DRIVE, socket_limit('to the server', count))) for count in (1, 4)),
    Cell('many', '16 connections x 256 partitions, 4 KiB batches, 5 in flight', produce(16, 4),
         [appends(3.0), AS_SAFE, P99, CPU], 'many', 256, fsync=True, warm=1.0),
    Cell('most', '16 connections x 2,000 partitions, 4 KiB batches, 5 in flight', produce(16, 4),
         [appends(3.0), AS_SAFE, P99, CPU], 'most', 2000, fsync=True, warm=1.0),
    Cell('crowd', '400 connections x 2,000 partitions, 1 KiB batches, 5 in flight, after a minute', produce(400),
         [appends(2.5), P99, CPU], 'most', 2000, warm=6.0),
    Cell('tail', 'fetch of the newest 64 MiB again and again, 4 connections x 4 partitions', fetch(4, '--repeat'),
         [Figure(MB, 'MB/s', goal=1.0), OF_MACHINE, Figure('broker_cpu_s_per_gb', 'CPU s/GB', small=True)], 'tail', 4,
         fill=produce(4, 100, 4, bytes_max=64 * MIB), machine=(socket_limit('from the server', 4),)),
    Cell('log', 'fetch of 2 GB from its start, 1 connection x 1 partition', fetch(1),
         [Figure(MB, 'MB/s'), Figure('broker_cpu_s_per_gb', 'CPU s/GB', small=True)], 'log', 1,
         fill=produce(1, 1000, 4, bytes_max=2 * 10**9), warm=0, seconds=None),
    Cell('paced', '2,000 batches/s of 1 KiB, 8 connections x 12 partitions', produce(8, rate=2000), paced(), 'twelve', 12, fsync=True),
    Cell('paced-10k', '10,000 batches/s of 1 KiB, 8 connections x 12 partitions', produce(8, rate=10000), paced(), 'twelve', 12),
    Cell('paced-mid', '1,000 batches/s of 16 KiB, 8 connections x 12 partitions', produce(8, 16, rate=1000), (P50, P99), 'twelve', 12, fsync=True),
    Cell('paced-mb', f'{PACED_MB_PER_S} MB/s of 64 KiB, 1 connection x 12 partitions', produce(1, 64, rate=PACED_MB_PER_S * 10**6 // (64 * KIB)),
         (P50, P99), 'twelve', 12),
    Cell('behind', 'the same, and 5 readers behind it', ['e2e', *produce(1, 64, rate=PACED_MB_PER_S * 10**6 // (64 * KIB))[1:]],
         (Figure('e2e_p99_us', 'end to end p99 us', goal=1000, small=True, of='own'),
          Figure('p99_us', "producer's p99, times that of alone", goal=1.5, small=True, of='own', share_of='paced-mb'), CPU), 'twelve', 12,
         beside=[fetch(1, '--from', 'end', '--follow')] * 4, bytes_factor=6),
    Cell('idle', '1,000 parked fetches x 12 partitions, 500 ms', ['consume', 'TOPIC', '--from', 'end', '--follow', '--connections', 1000],
         [Figure('broker_cpu_percent', '% of a core', goal=0.1, small=True)], 'twelve', 12),
    Cell('parked', '10,000 parked fetches x 12 partitions, 30 s', ['consume', 'TOPIC', '--from', 'end', '--follow', '--connections', 10000, '--wait', '30s'],
         [Figure('broker_cpu_percent', '% of a core', goal=1, small=True, of='own')], 'twelve', 12),
    Cell('conns-100', '100 connections x 288 partitions, 1 KiB batches, 1 in flight', produce(100, window=1), (appends(None),), 'wide', 288),
    Cell('conns-10k', '10,000 connections, the same', produce(10000, window=1), left('conns-100', 0.6), 'wide', 288, warm=1.0),
    Cell('parts-10', '16 connections x 10 partitions, 4 KiB batches, 5 in flight', produce(16, 4), (appends(None),), 'ten', 10),
    Cell('parts-10k', '10,000 partitions, the same', produce(16, 4), left('parts-10', 0.9), 'ten-thousand', 10000, warm=3.0),
)

# Measured on starts of their own, not by a cell.
START = Cell('start', 'start', None, [
    Figure('first_ack_ms', 'ms to the first ack, empty directory', small=True, goal=100, of='own'),
    Figure('resident_mib', 'MiB resident 1 s after it (Millrace --memory 512M)', small=True, goal=64, of='own'),
    Figure('restart_ms', 'ms to the first ack, directory of the cells', small=True, goal=100, of='own')])
