/* SPDX-License-Identifier: Apache-2.0
 *
 * What the test of an import does to a broker, and what it sees there.
 *
 *   Node fill BOOTSTRAP VERSION   topics of all kinds, transactions that end well and badly, groups
 *   Node more BOOTSTRAP           further records, and the oldest of a topic go
 *   Node dump BOOTSTRAP           a line for each topic, setting, offset, record, committed offset
 */
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Node {
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    static final String[] GROUPS = {"plain", "in-transactions", "new-protocol"};
    static final long BEGIN_MS = System.currentTimeMillis() - 3_600_000;
    static final Random random = new Random(4711);
    static String bootstrap;

    static Properties settings(Object... pairs) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < pairs.length; i += 2)
            settings.put(pairs[i], pairs[i + 1]);
        return settings;
    }

    static KafkaProducer<byte[], byte[]> producer(Object... pairs) {
        Properties settings = settings(pairs);
        settings.putIfAbsent("linger.ms", 5);
        settings.put("max.block.ms", 60000);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Object... pairs) {
        Properties settings = settings(pairs);
        settings.put("enable.auto.commit", false);
        settings.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /* Half of it compresses. */
    static byte[] value(int size) {
        byte[] value = new byte[size];
        random.nextBytes(value);
        Arrays.fill(value, size / 2, size, (byte) 'x');
        return value;
    }

    static void codecs() {
        int number = 0;
        for (String codec : CODECS) {
            try (KafkaProducer<byte[], byte[]> producer = producer("compression.type", codec, "batch.size", 20000)) {
                for (int i = 0; i < 300; i++, number++) {
                    ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                        "codecs", number % 3, BEGIN_MS + number, number % 7 == 0 ? null : bytes("key-" + number),
                        number % 11 == 0 ? null : value(number % 13 == 0 ? 0 : random.nextInt(600)));
                    for (int h = 0; h < number % 3; h++)
                        record.headers().add("header-" + h, h == 1 ? null : bytes("h" + number));
                    producer.send(record);
                }
            }
        }
    }

    /* Rounds of the same keys; in the last one each tenth is deleted. */
    static void compacted(String topic, int rounds, int keys, int deleted) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer("compression.type", "lz4")) {
            for (int round = 0; round < rounds; round++)
                for (int key = 0; key < keys; key++) {
                    byte[] value = round == rounds - 1 && key % 10 == deleted ? null : value(1000);
                    producer.send(new ProducerRecord<>(topic, 0, bytes("key-" + key), value));
                    if (round == rounds - 1)
                        System.out.println("wanted " + topic + "-0 " + hex(bytes("key-" + key)) + " " + digest(value));
                }
        }
    }

    static void sendAll(KafkaProducer<byte[], byte[]> producer, String topic, int partitions, String what, int count) {
        for (int i = 0; i < count; i++)
            producer.send(new ProducerRecord<>(topic, i % partitions, bytes("key-" + i % 40), bytes(what + " " + i + " "
                + new String(new char[600]).replace('\0', 'y'))));
        producer.flush();
    }

    static void end(KafkaProducer<byte[], byte[]> producer, boolean good) {
        if (good)
            producer.commitTransaction();
        else
            producer.abortTransaction();
    }

    /* Two at a time that overlap, and records of no transaction between them. */
    static void transactions(String topic, int partitions, int rounds) {
        try (KafkaProducer<byte[], byte[]> a = producer("transactional.id", topic + "-a");
             KafkaProducer<byte[], byte[]> b = producer("transactional.id", topic + "-b");
             KafkaProducer<byte[], byte[]> plain = producer()) {
            a.initTransactions();
            b.initTransactions();
            for (int round = 0; round < rounds; round++) {
                a.beginTransaction();
                sendAll(a, topic, partitions, "a " + round + (round % 2 == 0 ? " good" : " bad"), 30);
                b.beginTransaction();
                sendAll(b, topic, partitions, "b " + round + (round % 3 == 0 ? " good" : " bad"), 30);
                sendAll(plain, topic, partitions, "plain " + round, 10);
                end(a, round % 2 == 0);
                sendAll(b, topic, partitions, "b again " + round + (round % 3 == 0 ? " good" : " bad"), 5);
                end(b, round % 3 == 0);
            }
        }
    }

    static void groups(String version) throws Exception {
        TopicPartition first = new TopicPartition("codecs", 0), second = new TopicPartition("codecs", 1);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("group.id", "plain")) {
            consumer.assign(List.of(first, second));
            consumer.commitSync(Map.of(first, new OffsetAndMetadata(17, "some metadata"), second, new OffsetAndMetadata(23)));
        }
        try (KafkaProducer<byte[], byte[]> producer = producer("transactional.id", "offsets")) {
            ConsumerGroupMetadata group = new ConsumerGroupMetadata("in-transactions");
            producer.initTransactions();
            for (int round = 0; round < 4; round++) {
                producer.beginTransaction();
                producer.sendOffsetsToTransaction(Map.of(first, new OffsetAndMetadata(40 + round)), group);
                end(producer, round < 2); /* 41 holds */
            }
        }
        if (!version.startsWith("4."))
            return;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("group.id", "new-protocol", "group.protocol", "consumer")) {
            consumer.subscribe(List.of("appended"));
            long until = System.currentTimeMillis() + 60000;
            while (consumer.poll(Duration.ofMillis(200)).isEmpty())
                if (System.currentTimeMillis() > until)
                    throw new RuntimeException("the group of the new protocol reads nothing");
            consumer.commitSync();
        }
    }

    static NewTopic topic(String name, int partitions, String... pairs) {
        Map<String, String> settings = new HashMap<>();
        for (int i = 0; i < pairs.length; i += 2)
            settings.put(pairs[i], pairs[i + 1]);
        return new NewTopic(name, partitions, (short) 1).configs(settings);
    }

    static void fill(String version) throws Exception {
        String[] compact = {"cleanup.policy", "compact", "segment.bytes", "1048576", "min.cleanable.dirty.ratio", "0.01",
                            "file.delete.delay.ms", "1000"};
        try (Admin admin = Admin.create(settings())) {
            admin.createTopics(List.of(
                topic("codecs", 3, "retention.ms", "999999999"), topic("compacted", 1, compact), topic("compacted.transactions", 1, compact),
                topic("transactions", 2, "segment.bytes", "1048576", "file.delete.delay.ms", "1000"), topic("empty", 4), topic("recreated", 2),
                topic("appended", 1, "message.timestamp.type", "LogAppendTime"), topic("trimmed", 1))).all().get();
            sendAllOf("recreated", 2, 40);
            admin.deleteTopics(List.of("recreated")).all().get();
            codecs();
            compacted("compacted", 4, 1000, 0);
            transactions("transactions", 2, 60);
            transactions("compacted.transactions", 1, 60);
            compacted("compacted.transactions", 2, 40, 1);
            sendAllOf("appended", 1, 100);
            sendAllOf("trimmed", 1, 500);
            admin.deleteRecords(Map.of(new TopicPartition("trimmed", 0), RecordsToDelete.beforeOffset(123))).all().get();
            admin.createTopics(List.of(topic("recreated", 3))).all().get();
            sendAllOf("recreated", 3, 60);
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, "trimmed");
            admin.incrementalAlterConfigs(Map.of(resource, List.of(
                new AlterConfigOp(new ConfigEntry("max.message.bytes", "2000000"), AlterConfigOp.OpType.SET)))).all().get();
            groups(version);
        }
    }

    static void sendAllOf(String topic, int partitions, int count) {
        try (KafkaProducer<byte[], byte[]> producer = producer()) {
            sendAll(producer, topic, partitions, topic, count);
        }
    }

    static void more() throws Exception {
        codecs();
        compacted("compacted", 3, 1000, 2);
        compacted("compacted.transactions", 3, 1000, 3);
        sendAllOf("transactions", 2, 4000);
        sendAllOf("empty", 4, 100);
        try (Admin admin = Admin.create(settings())) {
            admin.deleteRecords(Map.of(new TopicPartition("codecs", 0), RecordsToDelete.beforeOffset(700),
                                       new TopicPartition("transactions", 1), RecordsToDelete.beforeOffset(-1))).all().get();
        }
    }

    /* ---- dump ---- */

    static String hex(byte[] bytes) {
        if (bytes == null)
            return "null";
        StringBuilder text = new StringBuilder();
        for (byte one : bytes)
            text.append(String.format("%02x", one));
        return text.toString();
    }

    static String digest(byte[] bytes) throws Exception {
        return bytes == null ? "null" : bytes.length + ":" + hex(MessageDigest.getInstance("SHA-1").digest(bytes)).substring(0, 16);
    }

    static void read(TopicPartition at, String isolation) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("isolation.level", isolation)) {
            consumer.assign(List.of(at));
            long begin = consumer.beginningOffsets(List.of(at)).get(at), end = consumer.endOffsets(List.of(at)).get(at);
            System.out.println("range " + isolation + " " + at + " " + begin + " " + end);
            consumer.seek(at, begin);
            long until = System.currentTimeMillis() + 120000;
            while (consumer.position(at) < end) {
                if (System.currentTimeMillis() > until)
                    throw new RuntimeException(at + " is not read to its end");
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    StringBuilder headers = new StringBuilder();
                    for (Header header : record.headers())
                        headers.append(' ').append(header.key()).append('=').append(hex(header.value()));
                    System.out.println("record " + isolation + " " + at + " " + record.offset() + " " + record.timestamp() + " "
                        + record.timestampType() + " " + record.leaderEpoch().orElse(-1) + " " + hex(record.key()) + " "
                        + digest(record.value()) + headers);
                }
            }
        }
    }

    static void dump() throws Exception {
        try (Admin admin = Admin.create(settings())) {
            System.out.println("cluster " + admin.describeCluster().clusterId().get());
            List<String> names = new ArrayList<>(admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get());
            names.removeIf(name -> name.startsWith("__") && !name.equals("__consumer_offsets")); /* Kafka's own */
            Collections.sort(names);
            Map<String, TopicDescription> topics = admin.describeTopics(names).allTopicNames().get();
            for (String name : names) {
                TopicDescription topic = topics.get(name);
                System.out.println("topic " + name + " " + topic.topicId() + " " + topic.partitions().size());
                ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
                admin.describeConfigs(List.of(resource)).all().get().get(resource).entries().stream()
                    .filter(entry -> entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG)
                    .map(entry -> "setting " + name + " " + entry.name() + "=" + entry.value()).sorted()
                    .forEach(System.out::println);
                for (int partition = 0; partition < topic.partitions().size(); partition++)
                    for (String isolation : new String[] {"read_uncommitted", "read_committed"})
                        read(new TopicPartition(name, partition), isolation);
            }
            for (String group : GROUPS) {
                Map<TopicPartition, OffsetAndMetadata> offsets;
                try {
                    offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                } catch (java.util.concurrent.ExecutionException error) {
                    continue; /* 4.x says that there is no such group */
                }
                offsets.entrySet().stream().map(entry -> "offset " + group + " " + entry.getKey() + " " + entry.getValue().offset()
                    + " " + entry.getValue().metadata()).sorted().forEach(System.out::println);
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[1];
        switch (arguments[0]) {
        case "fill": fill(arguments[2]); break;
        case "more": more(); break;
        case "dump": dump(); break;
        default: throw new RuntimeException(arguments[0]);
        }
    }
}
