/* SPDX-License-Identifier: Apache-2.0
 *
 * Workloads and drivers from their text: every key, every default, and what is refused.
 */
#include "tools/millrace/bench/bench_workload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct yaml_map map;
static struct yaml_error error;

#define LEAST "topics: 1\npartitionsPerTopic: 2\nmessageSize: 100\nproducersPerTopic: 3\n"

static bool workload_of(struct workload *workload, const char *text)
{
    *workload = (struct workload){0};
    yaml_map_fini(&map);
    return yaml_map_read(&map, text, strlen(text), &error) && workload_read(workload, &map, &error);
}

static void defaults(void **state)
{
    (void)state;
    struct workload w;
    assert_true(workload_of(&w, "# a comment\n---\n" LEAST "name: null\npayloadFile:\n"));
    assert_null(w.name);
    assert_null(w.payload_file);
    assert_int_equal(w.topics, 1);
    assert_int_equal(w.partitions, 2);
    assert_int_equal(w.message_bytes, 100);
    assert_int_equal(w.producers, 3);
    assert_int_equal(w.keys, WORKLOAD_NO_KEY);
    assert_int_equal(w.rate + w.subscriptions + w.consumers + w.backlog_gib + w.randomized, 0);
    assert_int_equal(w.test_minutes, 0);
    assert_int_equal(w.warm_minutes, 1);
    assert_true(w.drain_ratio == 1);
}

static void every_key(void **state)
{
    (void)state;
    struct workload w;
    assert_true(workload_of(&w, "name: 'it: \"is\"'\nkeyDistributor: \"RANDOM_NANO\"\n" LEAST
                                "useRandomizedPayloads: true\nrandomBytesRatio: 0.25\n"
                                "randomizedPayloadPoolSize: 7\npayloadFile: a/b.data\n"
                                "subscriptionsPerTopic: 4\nconsumerPerSubscription: 5\n"
                                "producerRate: 6000\nconsumerBacklogSizeGB: 8\n"
                                "backlogDrainRatio: 0.5\ntestDurationMinutes: 9\n"
                                "warmupDurationMinutes: 0"));
    assert_string_equal(w.name, "it: \"is\"");
    assert_int_equal(w.keys, WORKLOAD_RANDOM);
    assert_true(w.randomized && w.random_ratio == 0.25 && w.pool == 7);
    assert_string_equal(w.payload_file, "a/b.data");
    assert_int_equal(w.subscriptions, 4);
    assert_int_equal(w.consumers, 5);
    assert_int_equal(w.rate, 6000);
    assert_int_equal(w.backlog_gib, 8);
    assert_true(w.drain_ratio == 0.5);
    assert_int_equal(w.test_minutes, 9);
    assert_int_equal(w.warm_minutes, 0);
}

static void what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t line;
        const char *words;
    } bad[] = {
        {"", 1, "nothing in it"},
        {"- a\n- b\n", 1, "KEY: VALUE"},
        {"topics: [1, 2]\n", 1, "single value"},
        {"topics: 1\nname:\n  a: b\n", 3, "single value"},
        {"topics: &x 1\nmessageSize: *x\n", 2, "single value"},
        {"topics: 1\n? [a]\n: b\n", 2, "single value"},
        {"topics: 1\n\ntopics: 2\n", 3, "there already"},
        {"topics: 1\n---\ntopics: 2\n", 2, "second document"},
        {"name: \"a\\0b\"\n", 1, "NUL"},
        {"name: \"a\n", 2, "end of stream"},
        {"\ttopics: 1\n", 1, "token"},
        {LEAST "producerRat: 5\n", 5,
         "producerRat: there is no such key; did you mean 'producerRate'?"},
        {LEAST "whatever: 5\n", 5, "whatever: there is no such key"},
        {"partitionsPerTopic: 2\nmessageSize: 9\nproducersPerTopic: 1\n", 0, "topics is missing"},
        {LEAST "producerRate: fast\n", 5, "producerRate: fast: a number from 0 to"},
        {LEAST "producerRate: 10.5\n", 5, "a number from 0"},
        {LEAST "producerRate: -1\n", 5, "a number from 0"},
        {LEAST "producerRate: 99999999999999999999\n", 5, "a number from 0"},
        {LEAST "randomBytesRatio: 1.5\n", 5, "from 0 to 1"},
        {LEAST "randomBytesRatio: nan\n", 5, "from 0 to 1"},
        {LEAST "useRandomizedPayloads: maybe\n", 5, "one of false|true"},
        {LEAST "keyDistributor: KEY\n", 5, "one of NO_KEY|KEY_ROUND_ROBIN|RANDOM_NANO"},
        {LEAST "useRandomizedPayloads: true\n", 0, "randomizedPayloadPoolSize"},
        {LEAST "useRandomizedPayloads: true\nrandomizedPayloadPoolSize: 9000000\n", 0, "256 MiB"},
        {LEAST "subscriptionsPerTopic: 1\n", 0, "consumerPerSubscription"},
        {LEAST "consumerBacklogSizeGB: 1\nproducerRate: 5\n", 0, "needs subscriptions"},
        {LEAST "consumerBacklogSizeGB: 1\nsubscriptionsPerTopic: 1\nconsumerPerSubscription: 1\n",
         0, "needs a producerRate"},
    };
    for (size_t i = 0; i < array_count(bad); i++) {
        struct workload w;
        if (workload_of(&w, bad[i].text))
            fail_msg("taken: %s", bad[i].text);
        if (!strstr(error.text, bad[i].words) || error.line != bad[i].line)
            fail_msg("%s: line %u: %s", bad[i].text, error.line, error.text);
    }
}

static void what_is_too_much(void **state)
{
    (void)state;
    static char text[YAML_BYTES_MAX + 2];
    size_t len = 0;
    for (unsigned i = 0; i <= YAML_ENTRIES_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "k%u: 1\n", i);
    yaml_map_fini(&map);
    assert_false(yaml_map_read(&map, text, len, &error));
    assert_int_equal(error.line, YAML_ENTRIES_MAX + 1);
    assert_int_equal(map.count, 0);
    memset(text, '#', sizeof(text));
    assert_false(yaml_map_read(&map, text, sizeof(text), &error));
    assert_non_null(strstr(error.text, "1 MiB"));
}

static void a_driver(void **state)
{
    (void)state;
    struct driver driver;
    static const char text[] = "name: Kafka\ndriverClass: a.b.KafkaBenchmarkDriver\n"
                               "replicationFactor: 3\nreset: true\ntopicConfig: |\n"
                               "  min.insync.replicas=2\n\ncommonConfig: |\n"
                               "  bootstrap.servers=localhost:9092\nproducerConfig: |\n"
                               "  acks=all\n  linger.ms=1\nconsumerConfig: ''\n";
    yaml_map_fini(&map);
    assert_true(yaml_map_read(&map, text, strlen(text), &error));
    assert_true(driver_read(&driver, &map, &error));
    assert_string_equal(driver.name, "Kafka");
    assert_int_equal(driver.replication, 3);
    assert_int_equal(driver.reset, 1);
    assert_string_equal(driver.topic, "min.insync.replicas=2\n");
    assert_string_equal(driver.producer, "acks=all\nlinger.ms=1\n");
    assert_string_equal(driver.consumer, "");
    yaml_map_fini(&map);
    assert_true(yaml_map_read(&map, "name: x", 7, &error));
    assert_true(driver_read(&driver, &map, &error));
    assert_int_equal(driver.replication, -1);
    assert_null(driver.common);
    yaml_map_fini(&map);
    assert_true(yaml_map_read(&map, "replicationFacto: 1", 19, &error));
    assert_false(driver_read(&driver, &map, &error));
    assert_non_null(strstr(error.text, "did you mean 'replicationFactor'?"));
}

static void properties(void **state)
{
    (void)state;
    const char *nearest;
    assert_int_equal(property_effect("linger.ms", &nearest), PROPERTY_WORKS);
    assert_int_equal(property_effect("auto.offset.reset", &nearest), PROPERTY_IDLE);
    assert_int_equal(property_effect("linger.md", &nearest), PROPERTY_UNKNOWN);
    assert_string_equal(nearest, "linger.ms");
    assert_int_equal(property_effect("sasl.jaas.config", &nearest), PROPERTY_UNKNOWN);
    assert_null(nearest);
}

static int forget(void **state)
{
    (void)state;
    yaml_map_fini(&map);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),        cmocka_unit_test(every_key),
        cmocka_unit_test(what_is_refused), cmocka_unit_test(what_is_too_much),
        cmocka_unit_test(a_driver),        cmocka_unit_test(properties),
    };
    return cmocka_run_group_tests(tests, NULL, forget);
}
