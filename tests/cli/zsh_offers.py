#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What zsh offers for the last word of a line, as a user at a terminal gets it.

    tests/cli/zsh_offers.py SCRIPT LINE      prints the words, one a line

zsh completes at a prompt only. So it gets a terminal, the line and a Tab; what the completion adds is written down by a
compadd() in its way, and the shell ends when the completion has ended.
"""
import os
import pty
import select
import signal
import sys
import tempfile
import time

WAIT_S = 30
SETUP = '''PS1='ready> '
autoload -Uz compinit && compinit -u -D
source {script}
compadd() {{
    if [[ ${{@[1,(i)(-|--)]}} != *-(O|A|D)\\ * ]]; then
        local -a offered
        builtin compadd -O offered "$@"
        print -rl -- $offered >>{offers}
    fi
    builtin compadd "$@"
}}
comppostfuncs=(end_here)
end_here() {{ print >>{offers}.ended; }}
'''


def wait_for(terminal, condition, what):
    """Reads what the shell shows until the condition, given it, holds."""
    shown, end = b'', time.monotonic() + WAIT_S
    while not condition(shown):
        if time.monotonic() > end:
            sys.exit(f'zsh: {what}: not within {WAIT_S} s; it shows {shown!r}')
        if select.select([terminal], [], [], 0.05)[0]:
            shown += os.read(terminal, 65536)


def main():
    script, line = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix='zsh-') as folder:
        offers = os.path.join(folder, 'offers')
        with open(os.path.join(folder, '.zshrc'), 'w') as setup:
            setup.write(SETUP.format(script=script, offers=offers))
        child, terminal = pty.fork()
        if child == 0:
            os.execvpe('zsh', ['zsh', '-i'], {'PATH': os.environ['PATH'], 'ZDOTDIR': folder, 'TERM': 'dumb', 'HOME': folder})
        wait_for(terminal, lambda shown: b'ready> ' in shown, 'no prompt')
        os.write(terminal, line.encode() + b'\t')
        wait_for(terminal, lambda shown: os.path.exists(f'{offers}.ended'), 'no completion')
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if os.path.exists(offers):
            with open(offers) as words:
                print(words.read(), end='')


main()
