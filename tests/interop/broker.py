# SPDX-License-Identifier: Apache-2.0
"""The broker under test: one that runs already, or our own release binary on a free port with a fresh directory."""

import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Broker:
    """address, pid (None for a broker elsewhere) and data_dir (likewise)."""

    def __init__(self, address, pid=None, data_dir=None):
        self.address, self.pid, self.data_dir, self.process = address, pid, data_dir, None

    def resident_bytes(self):
        """None where /proc does not tell."""
        try:
            with open(f'/proc/{self.pid}/status') as status:
                for line in status:
                    if line.startswith('VmRSS:'):
                        return int(line.split()[1]) * 1024
        except (FileNotFoundError, ProcessLookupError):
            pass
        return None

    def alive(self):
        return self.process is None or self.process.poll() is None


def start(binary, folder, address, wait_s, arguments=(), data_dir=None, before=()):
    """Starts the binary and returns when it has said that it is ready: on a free port with a fresh directory, or, given
    the address, as the successor of the broker that had both. More arguments are for `start`; `before` is a command that runs
    the binary (ip netns exec NAME). Its output is kept in folder/broker.log."""
    if address is None:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        address = ('127.0.0.1', free_port())
    data_dir = data_dir or os.path.join(folder, 'data')
    log_path = os.path.join(folder, 'broker.log')
    process = subprocess.Popen([*before, binary, 'start', '--listen', '%s:%d' % address, '--data-dir', data_dir, *arguments],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    ready = queue.Queue()

    def pump():
        with open(log_path, 'ab') as log:
            for line in process.stdout:
                log.write(line)
                log.flush()
                if line.startswith(b'ready in '):  # a warning may say "already in use"
                    ready.put(True)
        ready.put(False)
    threading.Thread(target=pump, daemon=True).start()
    try:
        is_ready = ready.get(timeout=wait_s)
    except queue.Empty:
        is_ready = False
    if not is_ready:
        process.kill()
        process.wait()
        raise RuntimeError(f'the broker did not say `ready in`, see {log_path}')
    broker = Broker(address, process.pid, data_dir)
    broker.process = process
    return broker


def last_words(folder):
    """What the broker said of its end: the line of a panic if there is one, else the last line."""
    with open(os.path.join(folder, 'broker.log'), errors='replace') as log:
        lines = [line.strip() for line in log if line.strip()] or ['nothing']
    return next((line for line in reversed(lines) if 'panic' in line.lower() or 'must(' in line), lines[-1])


def stop(broker, wait_s=30):
    """TERM, and the exit status; a broker that does not end is killed and reported as None."""
    if broker.process.poll() is None:
        broker.process.send_signal(signal.SIGTERM)
    try:
        return broker.process.wait(wait_s)
    except subprocess.TimeoutExpired:
        broker.process.kill()
        broker.process.wait()
        return None


def kill(broker):
    if broker.process is not None and broker.process.poll() is None:
        broker.process.kill()
        broker.process.wait()


def until(what, condition, wait_s=10):
    """Polls until condition() is true."""
    end = time.monotonic() + wait_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'{what}: not within {wait_s} s')
        time.sleep(0.02)
