/* SPDX-License-Identifier: Apache-2.0
 *
 * The Java clients as a client process of the matrix: one source for kafka-clients 2.8, 3.9 and 4.3, so only calls
 * that all three have. Argument: HOST:PORT. Requests and records: see records.py and repl.py. */

import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

public class Client {
    static final int BIG = 80_000_000;

    final String address;
    final Admin admin;
    KafkaConsumer<byte[], byte[]> member; // of a group
    final List<String> changes = new ArrayList<>(); // of what the member has, with the machine's monotonic time
    final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII), 1 << 20);

    Client(String address) {
        this.address = address;
        this.admin = Admin.create(settings());
    }

    Properties settings(String... pairs) {
        Properties all = new Properties();
        all.put("bootstrap.servers", address);
        all.put("client.id", "interop-java");
        for (int i = 0; i < pairs.length; i += 2)
            all.put(pairs[i], pairs[i + 1]);
        return all;
    }

    static byte[] bytesOf(String text) {
        return text.equals("~") ? null : Base64.getDecoder().decode(text);
    }

    static String textOf(byte[] data) {
        return data == null ? "~" : Base64.getEncoder().encodeToString(data);
    }

    static String row(Object... fields) {
        StringBuilder line = new StringBuilder();
        for (Object field : fields)
            line.append(line.length() == 0 ? "" : "\t").append(field);
        return line.toString();
    }

    static Map<String, String> pairsOf(String text) {
        Map<String, String> pairs = new HashMap<>();
        for (String pair : text.split(","))
            if (!pair.isEmpty())
                pairs.put(pair.substring(0, pair.indexOf('=')), pair.substring(pair.indexOf('=') + 1));
        return pairs;
    }

    static String field(String[] fields, int index) {
        return index < fields.length ? fields[index] : "";
    }

    ProducerRecord<byte[], byte[]> recordOf(String topic, String line) {
        String[] fields = line.split("\t", -1);
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, Integer.valueOf(fields[1]),
            Long.valueOf(fields[2]), bytesOf(fields[3]), bytesOf(fields[4]));
        for (String pair : fields[5].split(","))
            if (!pair.isEmpty()) {
                String[] sides = pair.split(":", -1);
                record.headers().add(new String(bytesOf(sides[0]), StandardCharsets.UTF_8), bytesOf(sides[1]));
            }
        return record;
    }

    static String lineOf(ConsumerRecord<byte[], byte[]> record) {
        StringBuilder headers = new StringBuilder();
        for (Header header : record.headers())
            headers.append(headers.length() == 0 ? "" : ",")
                .append(textOf(header.key().getBytes(StandardCharsets.UTF_8))).append(':')
                .append(textOf(header.value()));
        return row(record.offset(), record.partition(), record.timestamp(), textOf(record.key()),
            textOf(record.value()), headers);
    }

    List<String> hello() {
        return List.of(row("version", AppInfoParser.getVersion()), row("codecs", "none,gzip,snappy,lz4,zstd"),
            row("features",
                "create,delete,configs,alter,idempotent,transactions,isolation,null-header,null-record,binary,timestamps,"
                + "offsets,groups,reset-none" + (AppInfoParser.getVersion().startsWith("4.") ? ",kip-848" : "")));
    }

    List<String> create(String topic, String partitions, String configs) throws Exception {
        NewTopic wanted = new NewTopic(topic, Integer.parseInt(partitions), (short) 1).configs(pairsOf(configs));
        admin.createTopics(List.of(wanted)).all().get(15, TimeUnit.SECONDS);
        return List.of();
    }

    List<String> delete(String topic) throws Exception {
        admin.deleteTopics(List.of(topic)).all().get(15, TimeUnit.SECONDS);
        return List.of();
    }

    List<String> produce(String topic, String codec, String acks, String idempotent, int count) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < count; i++)
            records.add(recordOf(topic, in.readLine()));
        Properties settings = settings("compression.type", codec, "acks", acks, "linger.ms", "50",
            "max.request.size", "" + BIG, "buffer.memory", "" + 2 * BIG, "batch.size", "262144",
            "enable.idempotence", idempotent.equals("1") ? "true" : "false", "delivery.timeout.ms", "30000",
            "request.timeout.ms", "20000", "max.block.ms", "20000");
        List<String> answer = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer =
                 new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (ProducerRecord<byte[], byte[]> record : records)
                sent.add(producer.send(record));
            producer.flush();
            for (Future<RecordMetadata> future : sent) {
                RecordMetadata done = future.get(30, TimeUnit.SECONDS);
                answer.add(row(done.partition(), done.hasOffset() ? done.offset() : -1));
            }
        }
        return answer;
    }

    KafkaConsumer<byte[], byte[]> consumer(String isolation) {
        Properties settings = settings("enable.auto.commit", "false", "auto.offset.reset", "none",
            "isolation.level", isolation, "fetch.max.wait.ms", "100");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    List<String> consume(String topic, String partition, String offset, String count, String isolation)
        throws Exception {
        int wanted = Integer.parseInt(count);
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        List<String> found = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(isolation)) {
            TopicPartition where = new TopicPartition(topic, Integer.parseInt(partition));
            consumer.assign(List.of(where));
            consumer.seek(where, Long.parseLong(offset));
            while (found.size() < wanted) {
                if (System.nanoTime() > end)
                    throw new TimeoutException(found.size() + " of " + wanted + " records");
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500)))
                    if (found.size() < wanted)
                        found.add(lineOf(record));
            }
        }
        return found;
    }

    List<String> offset(String topic, String partition, String which) {
        TopicPartition where = new TopicPartition(topic, Integer.parseInt(partition));
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("read_uncommitted")) {
            if (which.equals("earliest"))
                return List.of(row(consumer.beginningOffsets(List.of(where)).get(where)));
            if (which.equals("latest"))
                return List.of(row(consumer.endOffsets(List.of(where)).get(where)));
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(where, Long.valueOf(which))).get(where);
            return List.of(row(found == null ? -1 : found.offset()));
        }
    }

    List<String> cluster() throws Exception {
        DescribeClusterResult found = admin.describeCluster();
        List<String> answer = new ArrayList<>();
        answer.add(row(found.clusterId().get(15, TimeUnit.SECONDS), found.controller().get().id()));
        for (Node node : found.nodes().get())
            answer.add(row(node.id(), node.host(), node.port()));
        return answer;
    }

    List<String> partitions(String topic) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("read_uncommitted")) {
            return List.of(row(consumer.partitionsFor(topic).size()));
        }
    }

    List<String> configs(String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        List<String> answer = new ArrayList<>();
        for (ConfigEntry entry :
             admin.describeConfigs(List.of(resource)).all().get(15, TimeUnit.SECONDS).get(resource).entries())
            answer.add(row(entry.name(), entry.value()));
        return answer;
    }

    List<String> alter(String topic, String name, String value) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Collection<AlterConfigOp> change =
            List.of(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET));
        admin.incrementalAlterConfigs(Map.of(resource, change)).all().get(15, TimeUnit.SECONDS);
        return List.of();
    }

    List<String> transaction(String name) {
        Properties settings = settings("transactional.id", name, "max.block.ms", "10000");
        try (KafkaProducer<byte[], byte[]> producer =
                 new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
        }
        return List.of();
    }

    void changed(String how, Collection<TopicPartition> parts) {
        for (TopicPartition part : parts)
            changes.add(row(how, part.partition(), System.nanoTime()));
    }

    List<String> join(String group, String topic, String reset, String sessionMs, String protocol) {
        Properties settings = settings("group.id", group, "enable.auto.commit", "false", "auto.offset.reset", reset);
        if (protocol.equals("consumer"))
            settings.put("group.protocol", protocol);
        else
            settings.putAll(Map.of("session.timeout.ms", sessionMs, "heartbeat.interval.ms", "500"));
        changes.clear();
        member = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        member.subscribe(List.of(topic), new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> parts) {
                changed("+", parts);
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> parts) {
                changed("-", parts);
            }
        });
        return List.of();
    }

    List<String> poll(String ms) {
        List<String> read = new ArrayList<>();
        for (ConsumerRecord<byte[], byte[]> record : member.poll(Duration.ofMillis(Long.parseLong(ms))))
            read.add(row(record.partition(), record.offset()));
        StringBuilder owned = new StringBuilder();
        for (TopicPartition where : member.assignment())
            owned.append(owned.length() == 0 ? "" : ",").append(where.partition());
        read.add(0, owned.toString());
        return read;
    }

    List<String> commit(String topic, String partition, String offset) {
        member.commitSync(Map.of(new TopicPartition(topic, Integer.parseInt(partition)),
            new OffsetAndMetadata(Long.parseLong(offset))));
        return List.of();
    }

    List<String> leave() {
        member.close();
        return changes;
    }

    List<String> answer(String[] f) throws Exception {
        switch (f[0]) {
        case "hello": return hello();
        case "create": return create(f[1], f[2], field(f, 3));
        case "delete": return delete(f[1]);
        case "produce": return produce(f[1], f[2], f[3], f[4], Integer.parseInt(f[5]));
        case "consume": return consume(f[1], f[2], f[3], f[4], f[5]);
        case "offset": return offset(f[1], f[2], f[3]);
        case "cluster": return cluster();
        case "partitions": return partitions(f[1]);
        case "configs": return configs(f[1]);
        case "alter": return alter(f[1], f[2], f[3]);
        case "transaction": return transaction(f[1]);
        case "join": return join(f[1], f[2], f[3], f[4], field(f, 5));
        case "poll": return poll(f[1]);
        case "commit": return commit(f[1], f[2], f[3]);
        case "leave": return leave();
        default: throw new IllegalArgumentException("unknown request " + f[0]);
        }
    }

    void serve() throws Exception {
        BufferedWriter out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8), 1 << 20);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            long begin = System.nanoTime();
            try {
                List<String> rows = answer(line.split("\t", -1));
                out.write("ok\t" + rows.size() + "\n");
                for (String row : rows) {
                    out.write(row);
                    out.write('\n');
                }
            } catch (Exception caught) {
                Throwable error = caught instanceof ExecutionException ? caught.getCause() : caught;
                error.printStackTrace();
                String kind = error.getClass().getSimpleName() + (error instanceof RetriableException ? "/retriable" : "");
                String text = ("" + error.getMessage()).replaceAll("\\s+", " ");
                out.write(row("error", (System.nanoTime() - begin) / 1_000_000, kind, text) + "\n");
            }
            out.flush();
        }
    }

    public static void main(String[] arguments) throws Exception {
        new Client(arguments[0]).serve();
    }
}
