#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sensors that send their readings to the topic readings, as JSON, keyed by the sensor's name.

    python3 sensor_readings.py                # three sensors, ten readings a second each, until Ctrl-C
    python3 sensor_readings.py --count 20     # twenty readings each

The key decides the partition, so that the readings of one sensor stay in order.
"""

import argparse
import json
import math
import time

from kafka import KafkaProducer
from producer import make_topic

SENSORS = {'kitchen': 21.0, 'cellar': 14.0, 'roof': 8.0}


def reading(sensor, number):
    """A temperature that swings about its mean."""
    return {'sensor': sensor, 'number': number, 'celsius': round(SENSORS[sensor] + 2 * math.sin(number / 5), 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bootstrap-server', default='127.0.0.1:9092')
    parser.add_argument('--topic', default='readings')
    parser.add_argument('--count', type=int, default=0)
    parser.add_argument('--pause', type=float, default=0.1, help='seconds between the readings of a sensor')
    options = parser.parse_args()

    make_topic(options.bootstrap_server, options.topic, 3)
    producer = KafkaProducer(bootstrap_servers=options.bootstrap_server, acks='all')
    number = 0
    try:
        while options.count == 0 or number < options.count:
            for sensor in SENSORS:
                producer.send(options.topic, key=sensor.encode(), value=json.dumps(reading(sensor, number)).encode())
            number += 1
            time.sleep(options.pause)
    except KeyboardInterrupt:
        pass
    producer.close()
    print(f'{number * len(SENSORS)} readings sent')


if __name__ == '__main__':
    main()
