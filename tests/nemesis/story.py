# SPDX-License-Identifier: Apache-2.0
"""What happened in a schedule, by time: faults, elections, acknowledgements."""
import collections
import threading
import time

import wire


class Story:
    def __init__(self):
        self.began, self.lines, self.elections = time.monotonic(), [], 0

    def tell(self, words, at=None):
        self.lines.append((time.monotonic() if at is None else at, words))

    def text(self, acked, found):
        """With what was acknowledged (moments) each second, and what the checker has found."""
        per_second = collections.Counter(int(at - self.began) for at in acked)
        last = int(max([at for at, _ in self.lines] + list(acked), default=self.began) - self.began)
        lines = [(self.began + second + 1, f'    {per_second[second]} acknowledged') for second in range(last + 1)]
        lines += self.lines + [(at, f'!!! {check}: {words}') for check, words, at in found if at is not None]
        return '\n'.join(f'{at - self.began:8.3f} s  {words}' for at, words in sorted(lines, key=lambda line: line[0]))


def longest_gap_s(acked):
    times = sorted(acked)
    return max((later - earlier for earlier, later in zip(times, times[1:])), default=0)


class Watcher:
    """Tells the story who leads, as one broker or another says, until end()."""

    def __init__(self, story, addresses, topic):
        self.story, self.addresses, self.topic, self.known, self.going = story, addresses, topic, {}, True
        self.roles = {}  # who is the controller, and who leads partition 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def ask(self):
        """{what: who} of whoever answers first; the last one first."""
        for node in sorted(self.addresses, key=lambda node: node != self.known.get('told by')):
            try:
                with wire.Connection(self.addresses[node], 0.5) as link:
                    controller, live, _ = wire.metadata(link, [])
                    sets = wire.commit_sets(link, self.topic)
            except (OSError, KeyError, ValueError, wire.Closed):
                continue
            self.roles.update({role: who for role, who in (('controller', controller), ('leader', sets[0][0])) if who in self.addresses})
            return {'told by': node, 'controller': controller, 'live': sorted(live),
                    **{f'partition {partition}': f'led by {leader}, in sync {sorted(ids)}' for partition, (leader, _, ids) in sets.items()}}
        return {}

    def run(self):
        while self.going:
            found = self.ask()
            for what, who in found.items():
                if self.known.get(what) != who and what != 'told by':
                    self.story.tell(f'  {what}: {who} (broker {found["told by"]})')
                    before, now = (str(words).split(',')[0] for words in (self.known.get(what, who), who))
                    self.story.elections += what.startswith('partition') and before != now
            self.known.update(found)
            time.sleep(0.1)

    def end(self):
        self.going = False
        self.thread.join()
