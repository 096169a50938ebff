# SPDX-License-Identifier: Apache-2.0
"""The loop of a client process: one request a line on stdin, one answer on stdout. README of the protocol: run."""

import sys
import time
import traceback

from records import line_of, record_of


def serve(client):
    """`client` has one method per request; what it raises becomes an `error` answer with the exception's own name."""
    out = sys.stdout
    for line in sys.stdin:
        name, *arguments = line.rstrip('\n').split('\t')
        if name == 'produce':
            arguments[-1] = [record_of(sys.stdin.readline()) for _ in range(int(arguments[-1]))]
        begin = time.monotonic()
        try:
            answer = getattr(client, name)(*arguments)
            out.write('ok\t' + str(len(answer)) + '\n')
            for item in answer:
                out.write((line_of(item) if name == 'consume' else '\t'.join(map(str, item))) + '\n')
        except Exception as error:  # the runner judges every failure, whatever its kind
            traceback.print_exc()
            elapsed_ms = int((time.monotonic() - begin) * 1000)
            text = ' '.join(str(error).split()) or repr(error)
            kind = getattr(client, 'kind_of', lambda e: type(e).__name__)(error)
            out.write(f'error\t{elapsed_ms}\t{kind}\t{text}\n')
        out.flush()
