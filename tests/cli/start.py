#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cases of `millrace start` that a shell cannot play: tests/cli/start.py PROGRAM CASE FOLDER.

Exits with 0 when it was as it must be, else with a sentence.
"""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

PROGRAM, CASE, FOLDER = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
STOP_S = 20


def start(*options, cores=1, name="data", **how):
    listen = [] if "--listen" in options else ["--listen", "127.0.0.1:0"]
    command = [PROGRAM, "start", "--data-dir", str(FOLDER / name), *listen,
               "--admin-listen", "off", "--memory", "256M", "--cores", str(cores), *options]
    how = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | how
    return subprocess.Popen(command, **how)


def ended(broker, what):
    """The code it ends with; it is killed when it does not."""
    try:
        return broker.wait(STOP_S)
    except subprocess.TimeoutExpired:
        broker.kill()
        broker.wait()
        sys.exit(f"{what}: it does not end within {STOP_S} s")


def blocks(broker, number):
    """Does it hold this signal back, to wait for it? While a library starts a thread all signals are blocked."""
    for line in pathlib.Path(f"/proc/{broker.pid}/status").read_text().splitlines():
        if line.startswith("SigBlk:"):
            blocked = int(line.split()[1], 16)
            return blocked >> (number - 1) & 1 and not blocked >> (signal.SIGWINCH - 1) & 1
    return False


def stop_in_start():
    """TERM is there before any thread runs, so that every shard may begin before or after it."""
    for cores in (1, 2, 4):
        for options in ((), ("--override", "zookeeper.connect=127.0.0.1:1")):
            for i in range(3):
                broker = start(*options, cores=cores, name=f"{cores}-{len(options)}")
                while broker.poll() is None and not blocks(broker, signal.SIGTERM):
                    pass
                broker.terminate()
                what = f"TERM in start {i} with {cores} cores {options}"
                code = ended(broker, what)
                if code != 0:
                    sys.exit(f"{what}: exit {code}")


def ready(broker):
    line = broker.stdout.readline()
    if not line.startswith(b"ready in"):
        sys.exit(f"not ready: {line!r}")


def hangup():
    """A terminal that is closed ends the broker as TERM does: the next start finds a clean stop."""
    broker = start(stdout=subprocess.PIPE)
    ready(broker)
    broker.send_signal(signal.SIGHUP)
    code = ended(broker, "HUP")
    if code != 0:
        sys.exit(f"HUP: exit {code}")
    again = start(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ready(again)
    again.terminate()
    said = again.stderr.read()
    if b"event=recovery.done" not in said or b"last_stop=clean" not in said:
        sys.exit(f"after HUP: {said!r}")
    ended(again, "TERM")


def nohup():
    """Who ignores HUP goes on."""
    broker = start(stdout=subprocess.PIPE,
                   preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    ready(broker)
    broker.send_signal(signal.SIGHUP)
    time.sleep(1)
    if broker.poll() is not None:
        sys.exit(f"HUP under nohup: exit {broker.returncode}")
    broker.terminate()
    if ended(broker, "TERM") != 0:
        sys.exit(f"TERM under nohup: exit {broker.returncode}")


def unread():
    """Nobody reads what it says: counters that are asked for keep it from nothing."""
    broker = start(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ready(broker)
    for _ in range(300):  # far more than the kernel and the ring of the log hold
        broker.send_signal(signal.SIGUSR1)
        time.sleep(0.005)
    broker.terminate()
    code = ended(broker, "TERM after USR1")
    if code != 0:
        sys.exit(f"TERM after USR1: exit {code}")


def counters():
    """Those that are asked for just before the end come out, too."""
    broker = start(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ready(broker)
    broker.send_signal(signal.SIGUSR1)
    time.sleep(0.5)
    broker.terminate()
    said = broker.communicate(timeout=STOP_S)[1]
    if b"event=counters.requests" not in said or broker.returncode != 0:
        sys.exit(f"USR1, then TERM: exit {broker.returncode}, {said!r}")


def closed():
    """Without standard files nothing of ours becomes one of them."""
    def close_all():
        for number in (0, 1, 2):
            os.close(number)
    broker = start(stdout=None, stderr=None, preexec_fn=close_all)
    lock = FOLDER / "data/lock"
    end = time.time() + STOP_S
    while not (FOLDER / "data/checkpoint-0").exists() and time.time() < end:
        time.sleep(0.05)
    time.sleep(1)  # for its line that it is ready
    files = [os.readlink(f"/proc/{broker.pid}/fd/{number}") for number in (0, 1, 2)]
    broker.terminate()
    code = ended(broker, "TERM without standard files")
    if files != ["/dev/null"] * 3 or code != 0:
        sys.exit(f"without standard files: exit {code}, {files}")
    if lock.read_text().strip() != str(broker.pid):
        sys.exit(f"{lock} holds {lock.read_text()!r}")


def both_families():
    """[::] is every address, of IPv4 too, as it is in Java."""
    if not socket.has_dualstack_ipv6():
        return
    for address in ("[::]:0", "0.0.0.0:0"):
        broker = start("--listen", address, "--override", "advertised.listeners=PLAINTEXT://127.0.0.1:1",
                       stdout=subprocess.PIPE)
        line = broker.stdout.readline().decode()
        port = int(line.split(" kafka ")[1].split()[0].rsplit(":", 1)[1])
        for host in ("127.0.0.1", "::1"):
            try:
                socket.create_connection((host, port), 5).close()
            except OSError as error:
                broker.kill()
                sys.exit(f"{address}: {host}: {error}")
        broker.terminate()
        ended(broker, "TERM")


CASES = {"stop-in-start": stop_in_start, "hangup": hangup, "nohup": nohup,
         "unread": unread, "counters": counters, "closed": closed, "both-families": both_families}

if __name__ == "__main__":
    CASES[CASE]()
