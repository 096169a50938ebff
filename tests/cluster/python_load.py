# SPDX-License-Identifier: Apache-2.0
"""The Python clients that people use, as they come: kafka-python, or librdkafka by confluent-kafka.

    python_load.py LIBRARY produce TOPIC BOOTSTRAP      until its standard input ends, and all is acknowledged
    python_load.py LIBRARY consume TOPIC BOOTSTRAP      in a group, until its standard input ends

Prints "PARTITION OFFSET VALUE" for each record that was acknowledged, or read.
"""
import sys
import threading
import time

RATE = 300  # records per second


class KafkaPython:
    def __init__(self, topic, bootstrap):
        self.topic, self.bootstrap = topic, bootstrap.split(',')

    def produce(self, values, tell):
        from kafka import KafkaProducer
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks='all', enable_idempotence=True)
        sent = [(value, producer.send(self.topic, value.encode())) for value in values]
        producer.flush()
        for value, future in sent:
            told = future.get(60)
            tell(told.partition, told.offset, value)
        producer.close()

    def consume(self, going, tell):
        from kafka import KafkaConsumer
        consumer = KafkaConsumer(self.topic, bootstrap_servers=self.bootstrap, group_id='of-' + self.topic, auto_offset_reset='earliest')
        while going():
            for records in consumer.poll(100).values():
                for record in records:
                    tell(record.partition, record.offset, record.value.decode())
        consumer.close()


class Confluent:
    def __init__(self, topic, bootstrap):
        self.topic, self.bootstrap = topic, bootstrap

    def produce(self, values, tell):
        from confluent_kafka import Producer
        producer = Producer({'bootstrap.servers': self.bootstrap, 'enable.idempotence': True})

        def on_delivery(error, message):
            if error:
                sys.exit(f'{message.value()} was not delivered: {error}')
            tell(message.partition(), message.offset(), message.value().decode())
        for value in values:
            producer.produce(self.topic, value.encode(), on_delivery=on_delivery)
            producer.poll(0)
        producer.flush()

    def consume(self, going, tell):
        from confluent_kafka import Consumer
        consumer = Consumer({'bootstrap.servers': self.bootstrap, 'group.id': 'of-' + self.topic, 'auto.offset.reset': 'earliest'})
        consumer.subscribe([self.topic])
        while going():
            message = consumer.poll(0.1)
            if message is not None and not message.error():
                tell(message.partition(), message.offset(), message.value().decode())
        consumer.close()


def main():
    library, what, topic, bootstrap = sys.argv[1:]
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()

    def values():
        began, count = time.monotonic(), 0
        while not ended.is_set():
            while count < (time.monotonic() - began) * RATE:
                yield f'{library}-{count:06}'
                count += 1
            time.sleep(0.005)

    def tell(*words):
        print(*words, flush=True)
    client = {'kafka-python': KafkaPython, 'confluent': Confluent}[library](topic, bootstrap)
    if what == 'produce':
        client.produce(values(), tell)
    else:
        client.consume(lambda: not ended.is_set(), tell)


if __name__ == '__main__':
    main()
