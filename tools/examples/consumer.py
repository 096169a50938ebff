#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A consumer in the group my-group: reads test-topic from where the group was, and commits after each message.

    python3 consumer.py                      # until Ctrl-C; start a second one, and they share the partitions
    python3 consumer.py --count 6            # ends after six messages
    python3 consumer.py --count 4 --crash    # ends before it commits: whoever comes next gets them again

What the group has committed is the offset of the message it wants next: after the offsets 0 to 5 it commits 6.
A group that has committed nothing begins where --reset says.
"""

import argparse

from kafka import KafkaConsumer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bootstrap-server', default='127.0.0.1:9092')
    parser.add_argument('--topic', default='test-topic')
    parser.add_argument('--group', default='my-group')
    parser.add_argument('--reset', default='earliest', choices=('earliest', 'latest'))
    parser.add_argument('--count', type=int, default=0, help='end after so many messages')
    parser.add_argument('--crash', action='store_true', help='commit nothing')
    options = parser.parse_args()

    consumer = KafkaConsumer(options.topic, bootstrap_servers=options.bootstrap_server, group_id=options.group,
                             auto_offset_reset=options.reset, enable_auto_commit=False)
    try:
        for number, message in enumerate(consumer, 1):
            print(f'partition {message.partition}, offset {message.offset}: {message.value.decode()}', flush=True)
            if not options.crash:
                consumer.commit()
            if number == options.count:
                break
    except KeyboardInterrupt:
        pass
    consumer.close()


if __name__ == '__main__':
    main()
