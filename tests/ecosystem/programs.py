# SPDX-License-Identifier: Apache-2.0
"""Programs that others have built on Kafka, as processes: where their jars come from, what they say, and Kafka Streams' word count."""

import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'interop'))
import broker as brokers  # noqa: E402
import clients  # noqa: E402
from matrix import check  # noqa: E402

POM = os.path.join(HERE, 'pom.xml')
FOLDER = os.path.join(clients.BUILD, 'ecosystem')
JVM = ['-Xmx768m', '-XX:+UseSerialGC', f'-Djava.io.tmpdir={FOLDER}']


def jars(profile):
    return clients.once('jars-' + profile, lambda path: clients.maven(
        '-f', POM, '-P', profile, 'dependency:copy-dependencies', '-DincludeScope=runtime', '-DoutputDirectory=' + path), [POM])


class Program:
    """A program in the background; what it says goes to a file."""

    def __init__(self, name, command):
        self.log_path = os.path.join(FOLDER, name + '.log')
        with open(self.log_path, 'w') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def said(self):
        with open(self.log_path, errors='replace') as log:
            return log.read()

    def until_said(self, words, wait_s=120):
        def found():
            check(self.process.poll() is None or words in self.said(), f'it ended, see {self.log_path}')
            return words in self.said()
        brokers.until(words, found, wait_s)

    def no_complaint(self, pattern):
        """No line of its log may match."""
        complaint = next((line for line in self.said().splitlines() if re.search(pattern, line)), None)
        check(complaint is None, f'{complaint}, see {self.log_path}')

    def end(self, wait_s=30):
        self.process.terminate()
        try:
            self.process.wait(wait_s)
        finally:
            self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()


def java(name, profile, main, *arguments):
    return Program(name, [clients.tool('java'), *JVM, '-Dorg.slf4j.simpleLogger.defaultLogLevel=info',
                          '-cp', os.path.join(jars(profile), '*'), main, *arguments])


def last_counts(bootstrap, topic):
    """{key: value} of the newest records, whose values are 64-bit integers."""
    done = subprocess.run([clients.tool('kcat'), '-b', bootstrap, '-C', '-t', topic, '-e', '-q', '-s', 'value=q',
                           '-f', '%k %s\n'], capture_output=True, text=True, timeout=60, check=True)
    return {key: int(value) for key, value in (line.split() for line in done.stdout.splitlines())}


INPUT, OUTPUT = 'streams-plaintext-input', 'streams-wordcount-output'
LINES = ('all streams lead to kafka', 'hello kafka streams', 'join kafka summit')


def word_count(bootstrap, folder, *settings):
    """The word count of Kafka Streams' examples: an internal topic to repartition by, one that keeps the state, a group."""
    path = os.path.join(folder, 'streams.properties')
    with open(path, 'w') as file:
        file.write('\n'.join([f'bootstrap.servers={bootstrap}', f'state.dir={folder}/streams-state', *settings]) + '\n')
    return java('streams', 'streams', 'org.apache.kafka.streams.examples.wordcount.WordCountDemo', path)
