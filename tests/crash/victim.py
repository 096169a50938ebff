# SPDX-License-Identifier: Apache-2.0
"""The broker that is killed, and the producers that outlive it."""

import os
import random
import socket
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
READY_S = 30


class Failure(Exception):
    """What the case says went wrong."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def free_port():
    """Below the ephemeral ports: nobody's outgoing connection takes it, or connects to itself, while the broker is down."""
    while True:
        port = random.SystemRandom().randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(('127.0.0.1', port))
                return port
            except OSError:
                continue


class Victim:
    """One data directory and port, and the brokers that succeed each other on them; all of them write to one log."""

    def __init__(self, binary, data_dir, log_path, arguments=()):
        self.binary, self.data_dir, self.log_path, self.arguments = binary, data_dir, log_path, list(arguments)
        self.port = free_port()
        self.address = ('127.0.0.1', self.port)
        self.process, self.began_at = None, 0

    def begin(self, cores=2):
        """Starts a broker and does not wait for it."""
        with open(self.log_path, 'ab') as log:
            self.began_at = log.tell()
            command = [self.binary, 'start', '--listen', '%s:%d' % self.address, '--data-dir', self.data_dir,
                       '--cores', str(cores), '--memory', '512M'] + self.arguments
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def said(self):
        """What the newest broker has written so far."""
        with open(self.log_path, 'rb') as log:
            log.seek(self.began_at)
            return log.read().decode(errors='replace')

    def start(self, cores=2):
        """Starts a broker and returns when it has said that it is ready."""
        self.begin(cores)
        end = time.monotonic() + READY_S
        while '\nready in ' not in '\n' + self.said():
            status = self.process.poll()
            if status is not None:
                raise Failure(f'the broker does not start, status {status}: {self.said().strip()[-600:]}')
            if time.monotonic() > end:
                self.kill()
                raise Failure(f'the broker is not ready after {READY_S} s')
            time.sleep(0.005)

    def refused(self, wait_s=READY_S):
        """Starts a broker that must not: (its status, what it says)."""
        self.begin()
        try:
            status = self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure('the broker starts') from None
        check(status != 0, 'the broker ends with 0')
        check(status > 0, f'the broker is killed by signal {-status}')
        return status, self.said()

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self, wait_s=READY_S):
        self.process.terminate()
        try:
            status = self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f'the broker has not ended {wait_s} s after TERM') from None
        check(status == 0, f'after TERM the broker ends with {status}')


class Load:
    """crash-load (load.c): asked over its stdin, answers a line."""

    def __init__(self, tool, port, seed, rate_mib_per_s=20):
        self.process = subprocess.Popen([tool, str(port), '--seed', str(seed), '--rate', str(rate_mib_per_s)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command):
        """The numbers of the answer."""
        try:
            self.process.stdin.write(command + '\n')
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.process.stdout.readline().strip()
        if not answer.startswith('ok'):
            raise Failure(answer[5:] if answer.startswith('FAIL ') else f'crash-load has ended with {self.process.wait()}')
        return {name: int(value) for name, _, value in (field.partition('=') for field in answer.split()[1:])}

    def close(self):
        try:
            self.process.communicate('quit\n', timeout=60)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.process.kill()
            self.process.wait()
