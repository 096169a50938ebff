# SPDX-License-Identifier: Apache-2.0
"""librdkafka through confluent-kafka: an idempotent producer and a consumer of all partitions.

    stock.py TOPIC PARTITIONS FILE BOOTSTRAP      until its standard input ends

Then the producer waits for what it has sent and the consumer reads to the end: exit code 0. What was done and seen is
appended to FILE (history.py).
"""
import os
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import history  # noqa: E402

RATE = 200  # records per second
PATIENCE_S = 90
NAME = 'idempotent'


class Load:
    def __init__(self, topic, partitions, path, bootstrap):
        self.topic, self.partitions, self.log, self.ended = topic, partitions, history.Recorder(path), threading.Event()
        self.outstanding = {}  # what is not acknowledged yet
        base = {'bootstrap.servers': bootstrap, 'socket.timeout.ms': 5000, 'reconnect.backoff.max.ms': 500}
        # What it says of sequences stands in its log: whether a duplicate is the client's own doing.
        self.producer = Producer({**base, 'debug': 'eos', 'enable.idempotence': True, 'linger.ms': 5, 'message.timeout.ms': 300_000})
        self.consumer = Consumer({**base, 'group.id': 'unused', 'enable.auto.commit': False})
        self.consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])

    def send(self, count):
        value, partition, began = f'{NAME}:{count}', count % self.partitions, time.monotonic()

        def told(error, message):
            offset = history.SOMEWHERE if message.offset() is None or message.offset() < 0 else message.offset()
            self.log.add(self.outstanding.pop(value)._replace(ended=time.monotonic(), offset=history.UNSURE if error else offset))
        self.outstanding[value] = history.Write(NAME, partition, value, began, began, history.UNSURE, -1, True)
        self.producer.produce(self.topic, value.encode(), partition=partition, on_delivery=told)

    def produce(self):
        began, count = time.monotonic(), 0
        while not self.ended.is_set():
            while count < (time.monotonic() - began) * RATE:
                self.send(count)
                count += 1
            self.producer.poll(0.01)
        left = self.producer.flush(PATIENCE_S)
        if left:
            self.log.add(*self.outstanding.values())
            sys.exit(f'{left} records of an idempotent producer are not acknowledged {PATIENCE_S} s after the last one was sent')

    def read(self):
        """True: there was something."""
        message = self.consumer.poll(0.1)
        if message is None or message.error():
            return False
        self.log.add(history.Read('consumer', message.partition(), message.offset(), message.value().decode()))
        return True

    def consume(self):
        while not self.ended.is_set():
            self.read()

    def last_offset(self, place, end):
        """Leaders may change once more: whoever has led until now says so, and is asked again."""
        while True:
            try:
                return self.consumer.get_watermark_offsets(place, timeout=10)[1]
            except KafkaException:
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def read_to_end(self):
        end = time.monotonic() + PATIENCE_S
        for partition in range(self.partitions):
            place = TopicPartition(self.topic, partition)
            last = self.last_offset(place, end)
            while self.consumer.position([place])[0].offset < last:
                self.read()
                if time.monotonic() > end:
                    sys.exit(f'the consumer has not read partition {partition} up to {last} within {PATIENCE_S} s')


def main():
    topic, partitions, path, bootstrap = sys.argv[1:]
    load = Load(topic, int(partitions), path, bootstrap)
    consumer = threading.Thread(target=load.consume, daemon=True)
    consumer.start()
    threading.Thread(target=lambda: (sys.stdin.read(), load.ended.set()), daemon=True).start()
    load.produce()
    consumer.join()
    load.read_to_end()


if __name__ == '__main__':
    main()
