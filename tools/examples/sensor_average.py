#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A stream of averages: for each reading that comes in, the mean of that sensor's last ten goes to the topic averages.

    python3 sensor_average.py                 # until Ctrl-C; several of them share the sensors
    python3 sensor_average.py --count 60      # ends after sixty readings

The readings count as read when their averages are on the broker: flush first, commit then. A crash in between means
that a few averages are sent twice, and that none is missing. The last ten are in memory only, so a sensor's first
averages after a start are of fewer.
"""

import argparse
import collections
import json

from kafka import KafkaConsumer, KafkaProducer
from producer import make_topic

WINDOW = 10


class Averages:
    def __init__(self):
        self.last = collections.defaultdict(lambda: collections.deque(maxlen=WINDOW))

    def add(self, reading):
        window = self.last[reading['sensor']]
        window.append(reading['celsius'])
        return {'sensor': reading['sensor'], 'number': reading['number'], 'of': len(window),
                'celsius': round(sum(window) / len(window), 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bootstrap-server', default='127.0.0.1:9092')
    parser.add_argument('--readings', default='readings')
    parser.add_argument('--averages', default='averages')
    parser.add_argument('--group', default='averaging')
    parser.add_argument('--count', type=int, default=0)
    options = parser.parse_args()

    for topic in (options.readings, options.averages):
        make_topic(options.bootstrap_server, topic, 3)
    consumer = KafkaConsumer(options.readings, bootstrap_servers=options.bootstrap_server, group_id=options.group,
                             auto_offset_reset='earliest', enable_auto_commit=False)
    producer = KafkaProducer(bootstrap_servers=options.bootstrap_server, acks='all')
    averages, done = Averages(), 0
    try:
        while options.count == 0 or done < options.count:
            for batch in consumer.poll(timeout_ms=500).values():
                for message in batch:
                    average = averages.add(json.loads(message.value.decode()))
                    producer.send(options.averages, key=message.key, value=json.dumps(average).encode())
                    done += 1
                    print('{sensor:8} {celsius:7.3f} C, mean of {of}'.format(**average), flush=True)
            producer.flush()
            consumer.commit()
    except KeyboardInterrupt:
        pass
    consumer.close()
    producer.close()


if __name__ == '__main__':
    main()
