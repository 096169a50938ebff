# SPDX-License-Identifier: Apache-2.0
"""Disks that lose their power: powerfs (powerfs.c) and a file system on a loop device.

The loop device's own file stays in the kernel's page cache, so its hard shutdown loses what the file system had not yet
given to the device: names, sizes, the file system's journal. What was written with O_DIRECT survives there even when no
flush followed; powerfs is the test of the flushes.
"""

import ctypes
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import time

from victim import Failure

SHUTDOWN = 0x8004587d  # EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN: _IOR('X', 125, u32)
SHUTDOWN_LOSES_LOG = 2


class Missing(Exception):
    """Why this cannot be tested here."""


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Missing('%s: %s' % (' '.join(command[:2]), (done.stderr or done.stdout).strip()[:200]))
    return done.stdout


def unmount(path, lazily=False):
    """Calls of a broker that was just killed keep the file system busy for a moment."""
    libc = ctypes.CDLL(None, use_errno=True)
    for _ in range(200):
        if libc.umount2(path.encode(), 2 if lazily else 0) == 0 or ctypes.get_errno() == 22:  # EINVAL: nothing mounted
            return
        time.sleep(0.05)
    raise Failure(f'{path} cannot be unmounted: {os.strerror(ctypes.get_errno())}')


class PowerDisk:
    """powerfs on folder/mount; folder/disk is what survives."""

    def __init__(self, tool, folder, seed, delay_us=2000, lie=None):
        if not os.path.exists(tool):
            raise Missing('powerfs is not built: libfuse3-dev is missing')
        if not os.path.exists('/dev/fuse') or os.geteuid() != 0:
            raise Missing('no /dev/fuse here, or not root')
        self.tool, self.seed, self.delay_us, self.lie, self.process = tool, seed, delay_us, lie, None
        self.backing, self.path = os.path.join(folder, 'disk'), os.path.join(folder, 'mount')
        os.makedirs(self.backing)
        os.makedirs(self.path)
        self.total = {}

    def mount(self):
        options = f'backing={self.backing},seed={self.seed},delay_us={self.delay_us}'
        if self.lie:
            options += f',lie={self.lie}'
        self.seed += 1
        self.process = subprocess.Popen([self.tool, '-f', '-o', options, self.path], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(1000):
            if os.path.ismount(self.path):
                return
            if self.process.poll() is not None:
                raise Missing(f'powerfs does not mount: {self.process.stderr.read().strip()}')
            time.sleep(0.005)
        raise Missing('powerfs does not mount')

    def cut(self):
        """What the cut lost; from now on every call on the mount fails."""
        self.process.send_signal(signal.SIGUSR1)
        said, wrong = self.process.communicate(timeout=60)
        if not said.startswith('cut '):
            raise Failure(f'powerfs ended with {self.process.returncode}: {wrong.strip()}')
        lost = {name: int(value) for name, _, value in (field.partition('=') for field in said.split()[1:])}
        for name, value in lost.items():
            self.total[name] = self.total.get(name, 0) + value
        return lost

    def unmount(self):
        """After a cut, or to end the test."""
        unmount(self.path, lazily=True)
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.communicate()
        for name in os.listdir(self.backing):
            if name.startswith('lost'):
                shutil.rmtree(os.path.join(self.backing, name), ignore_errors=True)


class LoopDisk:
    """A file with a file system in it, on folder/mount."""

    def __init__(self, folder, kind, size_bytes):
        if os.geteuid() != 0:
            raise Missing('not root')
        if not shutil.which(f'mkfs.{kind}'):
            raise Missing(f'mkfs.{kind} is missing')
        self.image, self.path, self.total = os.path.join(folder, 'image'), os.path.join(folder, 'mount'), {}
        os.makedirs(self.path)
        with open(self.image, 'wb') as image:
            image.truncate(size_bytes)
        run(f'mkfs.{kind}', '-q', self.image)

    def mount(self):
        run('mount', '-o', 'loop', self.image, self.path)

    def cut(self):
        file = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(file, SHUTDOWN, struct.pack('I', SHUTDOWN_LOSES_LOG))
        finally:
            os.close(file)
        return {}

    def unmount(self):
        unmount(self.path)
