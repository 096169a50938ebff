# SPDX-License-Identifier: Apache-2.0
"""`millrace top` on a terminal.

    top.py MILLRACE keys     draws, draws again when the terminal is resized, and q ends it
    top.py MILLRACE signal   TERM ends it, too
    top.py MILLRACE stopped  Ctrl-Z gives the terminal back, and it goes on afterwards
    top.py MILLRACE plain    with NO_COLOR nothing is coloured, and on a dumb terminal nothing is drawn

The broker is the one at $MILLRACE_ADMIN. Prints what is wrong; nothing when all is well.
"""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

PATIENCE_S = 20
ENTER, LEAVE, DRAW = b'\033[?1049h', b'\033[?1049l', b'\033[H\033[J'
WIDTH = 200


class Terminal:
    """A top with a terminal of its own."""

    def __init__(self, millrace, **environment):
        self.ours, theirs = pty.openpty()
        self.seen = b''
        self.resize(40)
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.top = subprocess.Popen([millrace, 'top', '--interval', '100'], stdin=theirs, stdout=theirs, stderr=theirs,
                                    env={**os.environ, 'TERM': 'xterm', **environment}, process_group=0)

    def resize(self, lines):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack('HHHH', lines, WIDTH, 0, 0))

    def read_until(self, what, times=1):
        """What came since the last call, when `what` is in it so many times."""
        until = time.monotonic() + PATIENCE_S
        while self.seen.count(what) < times:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.ours], [], [], left)[0]:
                raise AssertionError(f'{what!r} did not come {times} times; the last: {self.seen[-400:]!r}')
            self.seen += os.read(self.ours, 65536)
        seen, self.seen = self.seen, b''
        return seen

    def end(self, want):
        """It ends with this code, and the terminal is as it was before."""
        until = time.monotonic() + PATIENCE_S
        while (code := self.top.poll()) is None and time.monotonic() < until:
            if select.select([self.ours], [], [], 0.05)[0]:  # else it would wait for a reader
                os.read(self.ours, 65536)
        assert code == want, f'ended with {code}, not {want}'
        assert termios.tcgetattr(self.theirs) == self.before, 'the terminal is not as it was'


def keys(millrace):
    terminal = Terminal(millrace)
    page = terminal.read_until(DRAW, 3)
    assert page.startswith(ENTER) and b'CORE' in page and b'REQUEST' in page and b'q quits' in page, page
    assert termios.tcgetattr(terminal.theirs)[3] & (termios.ICANON | termios.ECHO) == 0, 'keys would need Enter'
    terminal.resize(12)  # room for one core
    os.killpg(terminal.top.pid, signal.SIGWINCH)
    if int(os.environ.get('CORES', '1')) > 1:
        terminal.read_until(b'more: make the window higher')
    terminal.read_until(DRAW)
    os.write(terminal.ours, b'xq')
    terminal.read_until(LEAVE)
    terminal.end(0)


def signalled(millrace):
    terminal = Terminal(millrace)
    terminal.read_until(DRAW, 2)
    terminal.top.send_signal(signal.SIGTERM)
    terminal.read_until(LEAVE)
    terminal.end(130)


def stopped(millrace):
    terminal = Terminal(millrace)
    terminal.read_until(DRAW, 2)
    terminal.top.send_signal(signal.SIGTSTP)
    terminal.read_until(LEAVE)
    until = time.monotonic() + PATIENCE_S
    while (ended := os.waitpid(terminal.top.pid, os.WUNTRACED | os.WNOHANG))[0] == 0:
        assert time.monotonic() < until, 'it is not stopped'
        time.sleep(0.01)
    assert os.WIFSTOPPED(ended[1]), f'it has ended: {ended[1]}'
    assert termios.tcgetattr(terminal.theirs) == terminal.before, 'the shell would not have its terminal'
    terminal.top.send_signal(signal.SIGCONT)
    terminal.read_until(DRAW, 2)
    os.write(terminal.ours, b'q')
    terminal.read_until(LEAVE)
    terminal.end(0)


def plain(millrace):
    terminal = Terminal(millrace, NO_COLOR='1')
    page = terminal.read_until(DRAW, 3)
    assert b'\033[1m' not in page and b'\033[0m' not in page, page
    os.write(terminal.ours, b'q')
    terminal.end(0)
    terminal = Terminal(millrace, TERM='dumb')
    page = terminal.read_until(b'REQUEST', 3)
    assert b'\033' not in page, page
    terminal.top.send_signal(signal.SIGINT)
    terminal.end(130)


CASES = {'keys': keys, 'signal': signalled, 'stopped': stopped, 'plain': plain}

if __name__ == '__main__':
    try:
        CASES[sys.argv[2]](sys.argv[1])
    except AssertionError as error:
        sys.exit(str(error))
