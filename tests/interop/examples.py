# SPDX-License-Identifier: Apache-2.0
"""The programs that README gives to newcomers (tools/examples), run as it says, by each release of their client."""

import json
import os
import re
import subprocess

from clients import TOP
from matrix import check

FOLDER = os.path.join(TOP, 'tools', 'examples')
WINDOW = 10  # of sensor_average.py


class Examples:
    def __init__(self, run, python):
        self.run, self.python = run, python

    def call(self, name, *arguments):
        """The lines that the program printed."""
        command = [self.python, '-B', os.path.join(FOLDER, name), '--bootstrap-server', '%s:%d' % self.run.address, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90)
        check(done.returncode == 0, f'{name} exits {done.returncode}: {done.stderr[-400:]}')
        return done.stdout.splitlines()

    def messages(self):
        """Offsets 0 to 5 and a commit of 6; a crash before the commit, and they come again."""
        topic, group = self.run.topic('test-topic'), self.run.topic('my-group')

        def consume(count, *more):
            return self.call('consumer.py', '--topic', topic, '--group', group, '--count', str(count), *more)

        sent = self.call('producer.py', '--topic', topic, '--count', '6')
        check(sent == [f'Message {i} -> partition 0, offset {i}' for i in range(6)], sent)
        read = consume(6)
        check(read == [f'partition 0, offset {i}: Message {i}' for i in range(6)], read)
        self.call('producer.py', '--topic', topic, '--count', '4')
        wanted = [f'partition 0, offset {6 + i}: Message {i}' for i in range(4)]
        for more in (('--crash',), ()):
            read = consume(4, *more)
            check(read == wanted, read)

    def group(self):
        said = self.call('group.py', '--topic', self.run.topic('shared'), '--group', self.run.topic('my-group'))
        check([line.split(':')[0] for line in said] == ['two consumers', 'a third joins', 'Anna leaves'], said)
        for line, sizes in zip(said, ([1, 2], [1, 1, 1], [1, 2])):
            owned = [part.split(', ') for part in re.findall(r'\[([^]]*)\]', line)]
            check(sorted(len(part) for part in owned) == sizes, line)
            check(sorted(sum(owned, [])) == ['0', '1', '2'], line)

    def sensors(self):
        code = ('import json, sensor_readings as s; '
                'print(json.dumps({name: [s.reading(name, i)["celsius"] for i in range(20)] for name in s.SENSORS}))')
        readings = json.loads(subprocess.run([self.python, '-B', '-c', code], cwd=FOLDER, capture_output=True, text=True,
                                             check=True).stdout)
        topics = ('--readings', self.run.topic('readings'), '--averages', self.run.topic('averages'))
        self.call('sensor_readings.py', '--topic', topics[1], '--count', '20', '--pause', '0.01')
        said = self.call('sensor_average.py', *topics, '--group', self.run.topic('averaging'), '--count', '60')
        for sensor, values in readings.items():
            got = [line.split(maxsplit=1)[1] for line in said if line.startswith(sensor + ' ')]
            windows = [values[max(0, end - WINDOW):end] for end in range(1, 21)]
            check(got == ['%.3f C, mean of %d' % (round(sum(w) / len(w), 3), len(w)) for w in windows], got)


CASES = [('messages', Examples.messages), ('group', Examples.group), ('sensors', Examples.sensors)]
