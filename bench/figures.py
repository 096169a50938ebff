# SPDX-License-Identifier: Apache-2.0
"""What the pages of bench/peer, bench/clients and bench/cluster have in common: how a figure is written, and where it was measured."""

import os
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def text_of(value):
    return f'{value:,.0f}' if value >= 100 else f'{value:.1f}' if value >= 10 else f'{value:.2f}'


def machine():
    with open('/proc/meminfo') as meminfo:
        memory = int(meminfo.readline().split()[1]) / 2**20
    return f'{os.cpu_count()} cores, {memory:.0f} GB, Linux {os.uname().release}'


def commit():
    return subprocess.run(['git', 'describe', '--always', '--dirty'], cwd=TOP, stdout=subprocess.PIPE, text=True).stdout.strip()


def print_columns(rows, are_words):
    """Columns of a terminal; numbers to the right, the others (their places) to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print('  '.join(text.ljust(width) if i in are_words else text.rjust(width)
                        for i, (text, width) in enumerate(zip(row, widths))).rstrip())


def markdown_of(rows, are_words):
    """The first row is the head."""
    rule = ['---' if i in are_words else '---:' for i in range(len(rows[0]))]
    return ['| ' + ' | '.join(row) + ' |' for row in (rows[0], rule, *rows[1:])]
