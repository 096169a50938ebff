#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A producer: sends `Message 0`, `Message 1`, ... to test-topic, and says where each one went.

    python3 producer.py
    python3 producer.py --partitions 3 --count 30    # the topic is made with 3 partitions, if it is new
"""

import argparse

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError


def make_topic(server, topic, partitions):
    admin = KafkaAdminClient(bootstrap_servers=server)
    try:
        admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)])
    except TopicAlreadyExistsError:
        pass
    admin.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bootstrap-server', default='127.0.0.1:9092')
    parser.add_argument('--topic', default='test-topic')
    parser.add_argument('--partitions', type=int, default=1)
    parser.add_argument('--count', type=int, default=10)
    options = parser.parse_args()

    make_topic(options.bootstrap_server, options.topic, options.partitions)
    # acks='all': the broker answers when the message is on stable storage.
    producer = KafkaProducer(bootstrap_servers=options.bootstrap_server, acks='all')
    for number in range(options.count):
        sent = producer.send(options.topic, b'Message %d' % number).get(timeout=30)
        print(f'Message {number} -> partition {sent.partition}, offset {sent.offset}', flush=True)
    producer.close()


if __name__ == '__main__':
    main()
