/* SPDX-License-Identifier: Apache-2.0 */
#include "core/conf/conf.h"
#include "io/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DATA "tests/unit/core/data/"

/* ---- the table ---- */

static void test_table_is_sound(void **state)
{
    (void)state;
    for (uint16_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        assert_ptr_equal(conf_find(key->scope, key->name), key); /* no name twice in a scope */
        size_t len = strlen(key->doc);
        if (len < 10 || key->doc[len - 1] != '.')
            fail_msg("%s is not documented by a sentence", key->name);
        struct conf_error error;
        char *text = NULL;
        if (key->fallback == NULL)
            continue;
        if (!conf_check(key, key->fallback, &text, &error))
            fail_msg("the default of %s is refused: %s", key->name, error.text);
        assert_string_equal(text, key->fallback); /* and canonical */
        mem_free(text);
    }
}

/* Where a default differs from Kafka 4.3.1's on purpose. */
static bool is_departure(const char *name)
{
    static const char *const names[] = {"node.id", "log.dir", "listeners",
                                        "group.coordinator.rebalance.protocols"};
    for (size_t i = 0; i < array_count(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void check_kafka_row(const char *scope, const char *name, const char *type,
                            const char *fallback)
{
    bool is_topic = strcmp(scope, "topic") == 0;
    const struct conf_key *key = conf_find(is_topic ? CONF_TOPIC : CONF_BROKER, name);
    if (key == NULL) {
        fail_msg("%s is missing", name);
        return;
    }
    if (strcasecmp(conf_type_name(key), type) != 0)
        fail_msg("%s is a %s in Kafka", name, type);
    bool none = strcmp(fallback, "<null>") == 0 || strcmp(fallback, "<none>") == 0;
    bool same = none ? key->fallback == NULL
                     : key->fallback != NULL && strcmp(key->fallback, fallback) == 0;
    if (same == is_departure(name))
        fail_msg("%s: Kafka's default is %s", name, fallback);
}

/* Names, types and defaults as Kafka 4.3.1's own definitions printed them. */
static void test_agrees_with_kafka(void **state)
{
    (void)state;
    FILE *file = fopen(DATA "kafka-4.3.1-config.tsv", "r");
    assert_non_null(file);
    char line[512];
    int count = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *rest = line;
        const char *scope = strsep(&rest, "\t");
        const char *name = strsep(&rest, "\t");
        const char *type = strsep(&rest, "\t");
        assert_non_null(rest);
        check_kafka_row(scope, name, type, rest);
        count++;
    }
    assert_int_equal(fclose(file), 0);
    assert_true(count > 350);
}

static void check_nearest(const char *typed, const char *expected)
{
    const struct conf_key *key = conf_nearest(CONF_BROKER, typed);
    assert_string_equal(key != NULL ? key->name : "", expected);
}

static void test_nearest_name(void **state)
{
    (void)state;
    check_nearest("num.partition", "num.partitions");
    check_nearest("listners", "listeners");
    check_nearest("log.dris", "log.dirs");
    check_nearest("auto.create.topic.enable", "auto.create.topics.enable");
    check_nearest("default.replicaton.factor", "default.replication.factor");
    check_nearest("confluent.metrics.reporter.bootstrap.servers", "");
    check_nearest("", "");
    char text[512];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    check_nearest(text, "");
}

/* ---- values ---- */

static void check_value(const char *name, const char *value, const char *expected)
{
    const struct conf_key *key = conf_find(CONF_BROKER, name);
    key = key != NULL ? key : conf_find(CONF_TOPIC, name);
    assert_non_null(key);
    struct conf_error error = {0};
    char *text = NULL;
    bool ok = conf_check(key, value, &text, &error);
    if (!ok && strstr(error.text, expected) == NULL)
        fail_msg("%s=%s: %s", name, value, error.text);
    if (ok)
        assert_string_equal(text, expected);
    else
        assert_int_equal(error.code, 40);
    mem_free(text);
}

static void test_values(void **state)
{
    (void)state;
    check_value("num.partitions", " +007 ", "7");
    check_value("num.partitions", "0", "it takes an integer from 1 to 2147483647");
    check_value("message.max.bytes", "2147483648",
                "it takes an integer from 0 to 2147483647 bytes");
    check_value("num.partitions", "2147483648", "\"2147483648\" is not valid");
    check_value("num.partitions", "99999999999999999999", "is not valid");
    check_value("num.partitions", "1e3", "is not valid");
    check_value("num.partitions", "", "is not valid");
    check_value("offsets.topic.replication.factor", "32767", "32767");
    check_value("offsets.topic.replication.factor", "32768", "is not valid");
    check_value("retention.ms", "-1", "-1");
    check_value("retention.ms", "-2", "of at least -1 ms");
    check_value("auto.create.topics.enable", "TRUE", "true");
    check_value("auto.create.topics.enable", "yes", "it takes true or false");
    check_value("min.cleanable.dirty.ratio", "0.25", "0.25");
    check_value("min.cleanable.dirty.ratio", "1.01", "from 0 to 1");
    check_value("min.cleanable.dirty.ratio", "nan", "is not valid");
    check_value("min.cleanable.dirty.ratio", "0x1", "is not valid");
    check_value("cleanup.policy", "compact , delete,", "compact,delete");
    check_value("cleanup.policy", "compacted", "it takes some of: compact,delete");
    check_value("cleanup.policy", "compact,delete,compact", "names compact twice");
    check_value("message.timestamp.type", "LogAppendTime", "LogAppendTime");
    check_value("message.timestamp.type", "logappendtime", "one of: CreateTime,LogAppendTime");
    check_value("compression.type", "producer", "producer");
    check_value("compression.type", "lz4", "lz4");
    check_value("compression.type", "none", "one of: producer,uncompressed,gzip,snappy,lz4,zstd");
    check_value("compression.type", "brotli", "is not valid");
    check_value("remote.storage.enable", "false", "false");
    check_value("remote.storage.enable", "true", "there is no remote storage");
    check_value("millrace.durability", "os", "os");
    check_value("millrace.durability", "never", "never");
    check_value("millrace.durability", "fsync", "one of: durable,os,never");
    check_value("millrace.log.level", "warn", "warn");
    check_value("millrace.log.level", "debug", "one of: error,warn,info");
    check_value("millrace.log.format", "json", "json");
    check_value("millrace.memory", "8G", "8G");
    check_value("millrace.memory", "512MiB", "512MiB");
    check_value("millrace.memory", "8X", "512M or 8G");
    check_value("millrace.memory", "9999999999T", "is not valid");
    check_value("millrace.spin.us", "1000", "1000");
    check_value("millrace.spin.us", "1000001", "1000000");
    check_value("millrace.cores", "0-1,3", "0-1,3");
    check_value("millrace.cores", "0", "a count such as 4");
    check_value("security.inter.broker.protocol", "SSL", "PLAINTEXT only");
    check_value("max.connections.per.ip.overrides", "10.0.0.1:5,::1:7,[::2]:8",
                "10.0.0.1:5,::1:7,[::2]:8");
    check_value("max.connections.per.ip.overrides", "host:5", "address:count");
    check_value("max.connections.per.ip.overrides", "10.0.0.1:x", "address:count");
}

static void test_cores(void **state)
{
    (void)state;
    struct conf_cores cores;
    assert_true(conf_cores_parse("all", &cores));
    assert_int_equal(cores.count, 0);
    assert_true(conf_cores_parse("4", &cores));
    assert_int_equal(cores.count, 4);
    assert_false(cores.listed);
    assert_true(conf_cores_parse("62-65,1023", &cores));
    assert_true(cores.listed);
    assert_int_equal(cores.count, 5);
    assert_int_equal(cores.cpus[0], 3ULL << 62);
    assert_int_equal(cores.cpus[1], 3);
    assert_int_equal(cores.cpus[15], 1ULL << 63);
    static const char *const wrong[] = {"",   "0",     "-1",     "3-1", "1,1",
                                        "1,", "1024-", "0-1024", "1 2", "1025"};
    for (size_t i = 0; i < array_count(wrong); i++)
        if (conf_cores_parse(wrong[i], &cores))
            fail_msg("%s was accepted", wrong[i]);
}

/* ---- loading ---- */

static struct conf conf;

static bool load(const char *file)
{
    struct conf_input input = {
        .file_name = "f", .file = file, .file_len = strlen(file), .hostname = "node7.example"};
    return conf_load(&conf, &input);
}

/* The first line of the report with that text, or NULL. */
static const struct conf_line *line_with(const char *part)
{
    for (uint32_t i = 0; i < conf.line_count; i++)
        if (strstr(conf.line[i].text, part) != NULL)
            return &conf.line[i];
    return NULL;
}

static void check_line(enum conf_level level, const char *part)
{
    const struct conf_line *line = line_with(part);
    if (line != NULL) {
        assert_int_equal(line->level, level);
        return;
    }
    for (uint32_t i = 0; i < conf.line_count; i++)
        print_error("%s\n", conf.line[i].text);
    fail_msg("no line says: %s", part);
}

static void test_defaults(void **state)
{
    (void)state;
    struct conf_input input = {.hostname = "node7.example"};
    assert_true(conf_load(&conf, &input));
    assert_int_equal(conf.line_count, 0);
    assert_int_equal(conf.broker.node_id, 1);
    assert_string_equal(conf.broker.log_dirs, "./millrace-data");
    assert_int_equal(conf.broker.num_partitions, 1);
    assert_true(conf.broker.auto_create_topics_enable);
    assert_int_equal(conf.broker.connections_max_idle_ms, 600000);
    assert_int_equal(conf.broker.offsets_topic_replication_factor, 3);
    assert_int_equal(conf.broker.memory_bytes, 0);
    assert_null(conf.broker.advertised_listeners);
    assert_int_equal(conf.topic.max_message_bytes, 1048588);
    assert_int_equal(conf.topic.segment_bytes, 1073741824);
    assert_int_equal(conf.topic.message_timestamp_before_max_ms, INT64_MAX);
    assert_int_equal(conf.topic.cleanup_policy, CONF_CLEANUP_DELETE);
    assert_int_equal(conf.listeners.count, 2);
    assert_string_equal(conf.listeners.listener[1].bind.host, "::1");
    conf_fini(&conf);
}

static void test_order_of_sources(void **state)
{
    (void)state;
    const char *file = "num.partitions=2\nmillrace.memory=1G\nlog.dirs=/a\nbroker.id=5\n";
    const struct conf_assignment override[] = {
        {"num.partitions", "3"}, {"num.partitions", "4"}, {"log.dirs", "/b"}};
    const struct conf_assignment flag[] = {{"log.dirs", "/c"}};
    struct conf_input input = {.file_name = "server.properties",
                               .file = file,
                               .file_len = strlen(file),
                               .override = override,
                               .override_count = array_count(override),
                               .flag = flag,
                               .flag_count = array_count(flag)};
    assert_true(conf_load(&conf, &input));
    assert_int_equal(conf.broker.num_partitions, 4);
    assert_string_equal(conf.broker.log_dirs, "/c");
    assert_int_equal(conf.broker.memory_bytes, 1LL << 30);
    assert_int_equal(conf.broker.node_id, 5);
    check_line(CONF_DETAIL, "server.properties:2: millrace.memory=1G");
    check_line(CONF_DETAIL, "--override: num.partitions=4");
    check_line(CONF_INFO, "--override: num.partitions=3 replaces 2 (server.properties:1)");
    check_line(CONF_INFO, "--override: log.dirs=/b replaces /a (server.properties:3)");
    check_line(CONF_INFO, "command line: log.dirs=/c replaces /b (--override)");
    check_line(CONF_INFO, "server.properties:4: broker.id=5: The older name of node.id");
    conf_fini(&conf);
}

static void test_older_name_beside_the_newer(void **state)
{
    (void)state;
    const char *file = "log.dir=/old\n";
    const struct conf_assignment flag[] = {{"log.dirs", "/c"}};
    struct conf_input input = {.file_name = "server.properties",
                               .file = file,
                               .file_len = strlen(file),
                               .flag = flag,
                               .flag_count = array_count(flag)};
    assert_true(conf_load(&conf, &input));
    assert_string_equal(conf.broker.log_dirs, "/c");
    check_line(CONF_INFO,
               "server.properties:1: log.dir=/old is not used: log.dirs=/c is set (command line)");
    conf_fini(&conf);
}

static void test_twins_give_topic_defaults(void **state)
{
    (void)state;
    assert_true(load("message.max.bytes=100\nlog.segment.bytes=1048576\n"
                     "log.message.timestamp.type=LogAppendTime\nlog.cleanup.policy=compact,delete\n"
                     "log.cleaner.min.cleanable.ratio=0.25\n"
                     "unclean.leader.election.enable=true\n"
                     "max.connection.creation.rate=5\n"
                     "min.insync.replicas=2\nlog.dir=/x\n"));
    assert_true(conf.topic.min_cleanable_dirty_ratio == 0.25);
    assert_int_equal(conf.topic.max_message_bytes, 100);
    assert_int_equal(conf.topic.segment_bytes, 1048576);
    assert_int_equal(conf.topic.message_timestamp_type, CONF_TIMESTAMP_LOG_APPEND_TIME);
    assert_int_equal(conf.topic.cleanup_policy, CONF_CLEANUP_COMPACT | CONF_CLEANUP_DELETE);
    assert_int_equal(conf.topic.min_insync_replicas, 2);
    assert_string_equal(conf.broker.log_dirs, "/x");
    assert_true(conf.topic.unclean_leader_election_enable);
    check_line(CONF_WARN, "nothing obeys these keys yet: max.connection.creation.rate");
    conf_fini(&conf);
}

static void check_refused(const char *file, const char *part)
{
    assert_false(load(file));
    check_line(CONF_ERROR, part);
    conf_fini(&conf);
}

static void test_mistakes(void **state)
{
    (void)state;
    check_refused("num.partitions=0", "f:1: num.partitions: \"0\" is not valid");
    check_refused("a=\\u12", "f:1: \\u must be followed");
    check_refused("a=\\u12", "write \\\\ for a backslash");
    check_refused("a=\\ud800", "write \\\\ for a backslash");
    check_refused("node.id=1\nbroker.id=2", "differently");
    check_refused("log.dirs=", "log.dirs is empty");
    check_refused("log.dirs=/a,/a", "names /a twice");
    check_refused(
        "log.dirs=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,"
        "28,29,30,31,32,33",
        "names 33 directories");
    check_refused("listeners=SSL://:9093", "asks for SSL");
    check_refused("listeners=X://:9093", "add X:PLAINTEXT");
    check_refused("inter.broker.listener.name=X", "X is no listener");
    check_refused("authorizer.class.name=org.Example", "There is no authorizer yet");
    check_refused("process.roles=controller", "only a controller does not exist");
    check_refused("millrace.durability=none", "one of: durable,os,never");
    check_refused("log.cleaner.min.compaction.lag.ms=2\nlog.cleaner.max.compaction.lag.ms=1",
                  "lag.ms=2 is more than");
    /* All at once. */
    assert_false(load("num.partitions=x\nlog.dirs=\nlisteners=\n"));
    assert_int_equal(conf.error_count, 3);
    conf_fini(&conf);
}

static void test_harmless(void **state)
{
    (void)state;
    assert_true(load("broker.id=-1\nauthorizer.class.name=\nzookeeper.connect=\n"
                     "num.partition=3\nretention.ms=5\nconfluent.x=1\n"
                     "listener.name.internal.ssl.keystore.password=secret\n"
                     "num.io.threads=many\nnum.partitions=1\nnum.partitions=6\n"));
    assert_int_equal(conf.broker.node_id, 1);
    assert_int_equal(conf.broker.num_partitions, 6);
    check_line(CONF_WARN, "f:4: num.partition is not known; did you mean num.partitions?");
    check_line(CONF_WARN, "retention.ms is a key of topics; for all topics set log.retention.ms");
    check_line(CONF_WARN, "f:6: confluent.x is not known");
    check_line(CONF_WARN, "f:10: num.partitions replaces its value of line 9");
    check_line(CONF_WARN, "no effect here: num.io.threads, ssl.keystore.password");
    assert_null(line_with("secret"));
    conf_fini(&conf);
    assert_true(load("inter.broker.listener.name=PLAINTEXT\nlog.dirs=/a\\nb\\u007f\n"));
    check_line(CONF_DETAIL, "f:2: log.dirs=/a?b?");
    conf_fini(&conf);
}

static void test_many_unknown_keys(void **state)
{
    (void)state;
    char file[4096] = "";
    size_t len = 0;
    for (int i = 0; i < 60; i++)
        len += (size_t)snprintf(file + len, sizeof(file) - len, "plugin%d.x=1\n", i);
    assert_true(load(file));
    assert_int_equal(conf.line_count, 51);
    check_line(CONF_WARN, "10 more keys are not known");
    conf_fini(&conf);
}

static void test_strict(void **state)
{
    (void)state;
    check_refused("millrace.config.strict=true\nnum.partition=3", "num.partition is not known");
    check_refused("num.partition=3\nmillrace.config.strict=true", "num.partition is not known");
    assert_true(load("millrace.config.strict=true\nnum.io.threads=8"));
    conf_fini(&conf);
}

/* ---- the files that Kafka ships ---- */

struct shipped {
    const char *file;
    const char *refused; /* part of the error, or NULL: it starts */
    const char *address; /* of its first listener */
    const char *advertised;
    int32_t node_id;
    uint32_t honoured;
    uint32_t planned;
    uint32_t no_effect;
    uint32_t mapped;
};

static char *read_data(const char *name, size_t *len)
{
    char path[256];
    (void)snprintf(path, sizeof(path), DATA "%s.properties", name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s is missing", path);
    char *text = malloc(8192);
    *len = fread(text, 1, 8192, file);
    assert_int_equal(fclose(file), 0);
    assert_true(*len > 0 && *len < 8192);
    return text;
}

static uint32_t lines_of(enum conf_class class)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < conf.line_count; i++)
        count += conf.line[i].class == class && conf.line[i].key != NULL;
    return count;
}

static void check_shipped(const struct shipped *shipped)
{
    size_t len = 0;
    char *text = read_data(shipped->file, &len);
    struct conf_input input = {
        .file_name = shipped->file, .file = text, .file_len = len, .hostname = "node7.example"};
    bool ok = conf_load(&conf, &input);
    free(text);
    if (shipped->refused != NULL) {
        assert_false(ok);
        assert_int_equal(conf.error_count, 1);
        check_line(CONF_ERROR, shipped->refused);
    } else {
        if (!ok)
            fail_msg("%s: %s", shipped->file, conf.line[0].text);
        char buffer[ADDRESS_TEXT_SIZE];
        const struct listener *listener = &conf.listeners.listener[0];
        bool by_default = strcmp(shipped->address, "127.0.0.1:9092") == 0; /* and ::1 */
        assert_int_equal(conf.listeners.count, by_default ? 2 : 1);
        assert_string_equal(address_print(&listener->bind, buffer), shipped->address);
        assert_string_equal(address_print(&listener->advertised, buffer), shipped->advertised);
    }
    assert_int_equal(conf.broker.node_id, shipped->node_id);
    assert_int_equal(conf.broker.offsets_topic_replication_factor, 1);
    assert_int_equal(lines_of(CONF_UNKNOWN), 0);
    uint32_t got[] = {lines_of(CONF_HONOURED), lines_of(CONF_PLANNED), lines_of(CONF_NO_EFFECT),
                      lines_of(CONF_MAPPED)};
    uint32_t expected[] = {shipped->honoured, shipped->planned, shipped->no_effect,
                           shipped->mapped};
    for (size_t i = 0; i < array_count(got); i++)
        if (got[i] != expected[i])
            fail_msg("%s: class %zu has %u keys", shipped->file, i, got[i]);
    conf_fini(&conf);
}

static void test_files_of_kafka(void **state)
{
    (void)state;
    static const char roles[] = "only a controller does not exist";
    static const struct shipped all[] = {
        {"kafka-2.8-server", NULL, "127.0.0.1:9092", "127.0.0.1:9092", 0, 12, 0, 5, 1},
        {"kafka-2.8-kraft-server", NULL, ":9092", "localhost:9092", 1, 16, 0, 6, 1},
        {"kafka-2.8-kraft-broker", NULL, "localhost:9092", "localhost:9092", 1, 16, 0, 6, 1},
        {"kafka-2.8-kraft-controller", roles, "", "", 1, 13, 0, 6, 0},
        {"kafka-3.9-server", NULL, "127.0.0.1:9092", "127.0.0.1:9092", 0, 11, 0, 5, 1},
        {"kafka-3.9-kraft-server", NULL, ":9092", "localhost:9092", 1, 16, 0, 6, 1},
        {"kafka-3.9-kraft-reconfig-server", NULL, ":9092", "localhost:9092", 1, 16, 0, 6, 1},
        {"kafka-3.9-kraft-broker", NULL, "localhost:9092", "localhost:9092", 2, 16, 0, 6, 1},
        {"kafka-3.9-kraft-controller", roles, "", "", 1, 14, 0, 6, 0},
        {"kafka-4.3-server", NULL, ":9092", "localhost:9092", 1, 16, 0, 8, 1},
        {"kafka-4.3-broker", NULL, "localhost:9092", "localhost:9092", 2, 16, 0, 8, 1},
        {"kafka-4.3-controller", roles, "", "", 1, 14, 0, 8, 0},
    };
    for (size_t i = 0; i < array_count(all); i++)
        check_shipped(&all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_sound),
        cmocka_unit_test(test_agrees_with_kafka),
        cmocka_unit_test(test_nearest_name),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_cores),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_order_of_sources),
        cmocka_unit_test(test_older_name_beside_the_newer),
        cmocka_unit_test(test_twins_give_topic_defaults),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_harmless),
        cmocka_unit_test(test_many_unknown_keys),
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_files_of_kafka),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
