# SPDX-License-Identifier: Apache-2.0
"""The files of stopped brokers, side by side: every replica of a partition has the same batches, byte for byte."""
import glob
import os

import wire


def batches_of(folder):
    """[(base offset, bytes)] of one replica, over all its segments."""
    found = []
    for path in sorted(glob.glob(os.path.join(folder, '*.log'))):
        with open(path, 'rb') as file:
            data = file.read()
        at = 0
        for head in wire.batches(data):
            found.append((head['base_offset'], data[at:at + head['size']]))
            at += head['size']
    return found


def difference(name, first, second):
    """What is different between two replicas, (node, batches) each; None when nothing is."""
    (node, batches), (other, others) = first, second
    for mine, theirs in zip(batches, others):
        if mine != theirs:
            return f'{name}: broker {node} has another batch at {mine[0]} than broker {other} at {theirs[0]}'
    if len(batches) != len(others):
        return f'{name}: broker {node} has {len(batches)} batches, broker {other} {len(others)}'
    return None


def differences(data_dirs, topic):
    """[(check, words, None)] over all partitions of a topic; data_dirs by node."""
    replicas = {}
    for node, data_dir in data_dirs.items():
        for folder in glob.glob(os.path.join(glob.escape(data_dir), topic + '-*')):
            replicas.setdefault(os.path.basename(folder), []).append((node, batches_of(folder)))
    if not replicas or not any(batches for have in replicas.values() for _, batches in have):
        return [('replicas', f'nobody has anything of {topic}', None)]
    found = [difference(name, have[0], other) for name, have in replicas.items() for other in have[1:]]
    return [('replicas', words, None) for words in found if words]
