# SPDX-License-Identifier: Apache-2.0
"""What requests cost the kernel: system calls and submissions of a real ring, by the broker's own counters. The machine's
mood is in them (how much waits when a shard looks), so they are told and judged by nobody."""
import os
import subprocess
import sys
import tempfile
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'interop'))
import broker as brokers  # noqa: E402

REQUESTS = 2000
READY_S = 60
# The loads of millrace-cost, as `millrace bench` has them.
ALONE, MANY = ('-c', '1', '--in-flight', '1'), ('-c', '4', '--in-flight', '4')
LOADS = {
    'produce-1k-alone': ('produce', '-p', '1', '-s', '1k', '-n', str(REQUESTS), *ALONE),
    'produce-1k-many': ('produce', '-p', '12', '-s', '1k', '-n', str(REQUESTS), *MANY),
    'produce-16k-many': ('produce', '-p', '12', '-s', '16k', '-n', str(REQUESTS), *MANY),
    'fetch-16k-alone': ('consume', '-c', '1', '--fetch-bytes', '16k', '--max-bytes', '16k'),  # of the one before it
}


def counters(port):
    """{name: value} of the broker's one shard."""
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics') as page:
        lines = page.read().decode().splitlines()
    return {line.split('{')[0].removeprefix('millrace_'): float(line.split()[-1]) for line in lines if '{core="0"}' in line}


def told(name, before, after):
    requests, enters, submissions = (after[key] - before[key] for key in
                                     ('requests_received_total', 'uring_enters_total', 'uring_submissions_total'))
    return f'{name} on a real ring: {enters / requests:.2f} system calls and {submissions / requests:.2f} submissions per request'


def report(binary):
    """A line for each load."""
    with tempfile.TemporaryDirectory() as folder:
        port = brokers.free_port()
        broker = brokers.start(binary, os.path.join(folder, 'broker'), None, READY_S,
                               ('--cores', '1', '--memory', '512M', '--admin-listen', f'127.0.0.1:{port}'))
        try:
            for name, (command, *load) in LOADS.items():
                topic = 'cost' + name.split('-')[1]  # a fetch reads what was produced in that size
                before = counters(port)
                done = subprocess.run([binary, 'bench', command, topic, *load, '-q', '-b', '%s:%d' % broker.address],
                                      stdout=subprocess.DEVNULL)
                if done.returncode not in (0, 11):  # 11: the generator was the limit
                    raise RuntimeError(f'bench {command} {topic} ended with {done.returncode}')
                yield told(name, before, counters(port))
        finally:
            broker.process.terminate()
            broker.process.wait()
