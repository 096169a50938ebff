/* SPDX-License-Identifier: Apache-2.0 */
#include "core/conf/overrides.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A broker with a file, and the overrides of one topic on it. */
static struct conf conf;
static struct overrides overrides;
static struct conf_view view;
static struct conf_error error;

static void begin(const char *file)
{
    struct conf_input input = {
        .file_name = "f", .file = file, .file_len = strlen(file), .hostname = "node7.example"};
    assert_true(conf_load(&conf, &input));
    overrides_init(&overrides, CONF_TOPIC);
    view = (struct conf_view){.conf = &conf, .topic = &overrides};
}

static void finish(void)
{
    overrides_fini(&overrides);
    conf_fini(&conf);
}

static bool alter(enum override_op op, const char *name, const char *value)
{
    return overrides_alter(&overrides, op, name, strlen(name), value,
                           value != NULL ? strlen(value) : 0, &view, &error);
}

static const char *value_of(const char *name)
{
    static struct conf_value value;
    conf_value_find(&view, conf_find(CONF_TOPIC, name), &value);
    return value.text;
}

static void test_set_and_delete(void **state)
{
    (void)state;
    begin("message.max.bytes=500\n");
    assert_true(alter(OVERRIDE_SET, "retention.ms", " 60000 "));
    assert_true(alter(OVERRIDE_SET, "max.message.bytes", "100"));
    assert_true(alter(OVERRIDE_SET, "max.message.bytes", "200"));
    assert_int_equal(overrides.count, 2);
    assert_string_equal(value_of("retention.ms"), "60000");

    struct topic_conf topic;
    assert_true(overrides_resolve_topic(&view, &topic, &error));
    assert_int_equal(topic.max_message_bytes, 200);
    assert_int_equal(topic.segment_bytes, 1 << 30);

    assert_true(alter(OVERRIDE_DELETE, "max.message.bytes", NULL));
    assert_true(alter(OVERRIDE_DELETE, "max.message.bytes", NULL));
    assert_true(alter(OVERRIDE_DELETE, "no.such.key", NULL));
    assert_true(overrides_resolve_topic(&view, &topic, &error));
    assert_int_equal(topic.max_message_bytes, 500);
    assert_int_equal(overrides.count, 1);
    finish();
}

static void test_lists(void **state)
{
    (void)state;
    begin("");
    assert_true(alter(OVERRIDE_APPEND, "cleanup.policy", "compact"));
    assert_string_equal(value_of("cleanup.policy"), "delete,compact");
    assert_true(alter(OVERRIDE_APPEND, "cleanup.policy", "delete"));
    assert_string_equal(value_of("cleanup.policy"), "delete,compact");
    assert_true(alter(OVERRIDE_SUBTRACT, "cleanup.policy", "delete"));
    assert_string_equal(value_of("cleanup.policy"), "compact");
    struct topic_conf topic;
    assert_true(overrides_resolve_topic(&view, &topic, &error));
    assert_int_equal(topic.cleanup_policy, CONF_CLEANUP_COMPACT);
    finish();

    static const char *const throttled = "leader.replication.throttled.replicas";
    begin("");
    assert_true(alter(OVERRIDE_SET, throttled, "30:1, 4:1,,100:1,5:2"));
    assert_true(alter(OVERRIDE_APPEND, throttled, "7:1,4:1,1:1"));
    assert_string_equal(value_of(throttled), "30:1,4:1,100:1,5:2,7:1,1:1");
    assert_true(alter(OVERRIDE_SUBTRACT, throttled, "1:1,9:9,30:1"));
    assert_string_equal(value_of(throttled), "4:1,100:1,5:2,7:1");
    assert_false(alter(OVERRIDE_SET, throttled, "4:1,30:1,5:1,10:1,4:1"));
    assert_non_null(strstr(error.text, "names 4:1 twice"));
    finish();

    begin("log.cleanup.policy=compact\n");
    assert_true(alter(OVERRIDE_APPEND, "cleanup.policy", "delete"));
    assert_string_equal(value_of("cleanup.policy"), "compact,delete");
    finish();
}

static void check_refused(enum override_op op, const char *name, const char *value, int16_t code,
                          const char *part)
{
    assert_false(alter(op, name, value));
    assert_int_equal(error.code, code);
    if (strstr(error.text, part) == NULL)
        fail_msg("%s", error.text);
    assert_int_equal(overrides.count, 0);
}

static void test_refuses(void **state)
{
    (void)state;
    begin("");
    check_refused(OVERRIDE_SET, "retention.mss", "1", 40, "did you mean retention.ms?");
    check_refused(OVERRIDE_SET, "bogus", "1", 40, "\"bogus\" is not a key of a topic");
    check_refused(OVERRIDE_SET, "num.partitions", "1", 40, "is not a key of a topic");
    check_refused(OVERRIDE_SET, "retention.ms", "x", 40, "\"x\" is not valid");
    check_refused(OVERRIDE_SET, "segment.bytes", "1048575", 40, "from 1048576 to 2147483647 bytes");
    check_refused(OVERRIDE_SET, "remote.storage.enable", "true", 40, "there is no remote storage");
    check_refused(OVERRIDE_SET, "retention.ms", NULL, 42, "null");
    check_refused(OVERRIDE_APPEND, "retention.ms", "1", 40, "only lists");
    check_refused(OVERRIDE_SUBTRACT, "compression.type", "producer", 40, "only lists");
    check_refused(OVERRIDE_APPEND, "cleanup.policy", "", 40, "nothing to append");
    check_refused((enum override_op)7, "retention.ms", "1", 42, "not a config operation");
    assert_false(
        overrides_alter(&overrides, OVERRIDE_SET, "retention.ms", 12, "1\0", 2, &view, &error));

    char *text = malloc(CONF_VALUE_LEN_MAX + 2);
    memset(text, 'a', CONF_VALUE_LEN_MAX + 1);
    text[CONF_VALUE_LEN_MAX + 1] = '\0';
    check_refused(OVERRIDE_SET, "leader.replication.throttled.replicas", text, 40, "longer than");
    check_refused(OVERRIDE_SET, text, "1", 40, "is not a key");
    free(text);
    finish();
}

static void test_checked_as_a_whole(void **state)
{
    (void)state;
    begin("");
    struct topic_conf topic;
    assert_true(alter(OVERRIDE_SET, "max.compaction.lag.ms", "10"));
    assert_true(alter(OVERRIDE_SET, "min.compaction.lag.ms", "11"));
    assert_false(overrides_resolve_topic(&view, &topic, &error));
    assert_int_equal(error.code, 40);
    assert_true(alter(OVERRIDE_SET, "min.compaction.lag.ms", "10"));
    assert_true(overrides_resolve_topic(&view, &topic, &error));
    finish();
}

static void test_copy_is_independent(void **state)
{
    (void)state;
    begin("");
    assert_true(alter(OVERRIDE_SET, "unclean.leader.election.enable", "true"));
    struct overrides copy;
    overrides_copy(&copy, &overrides);
    assert_true(alter(OVERRIDE_SET, "unclean.leader.election.enable", "false"));
    assert_string_equal(copy.item[0].value, "true");
    overrides_fini(&copy);
    finish();
}

/* "source:name=value" for the value and then each synonym. */
static void check_described(enum conf_scope scope, const char *name, const char *expected)
{
    struct conf_entry entry;
    conf_describe(&view, conf_find(scope, name), &entry);
    char got[512];
    size_t len = (size_t)snprintf(got, sizeof(got), "%d:%s", entry.value.source,
                                  entry.value.text != NULL ? entry.value.text : "-");
    for (uint32_t i = 0; i < entry.synonym_count; i++)
        len += (size_t)snprintf(got + len, sizeof(got) - len, " %d:%s=%s", entry.synonym[i].source,
                                entry.synonym[i].name,
                                entry.synonym[i].text != NULL ? entry.synonym[i].text : "-");
    assert_string_equal(got, expected);
}

static void test_sources_and_synonyms(void **state)
{
    (void)state;
    begin("log.retention.minutes=2\nbroker.id=3\nssl.key.password=secret\n");
    check_described(CONF_TOPIC, "max.message.bytes", "5:1048588 5:message.max.bytes=1048588");
    check_described(CONF_TOPIC, "retention.ms",
                    "4:120000 4:log.retention.minutes=2 5:log.retention.hours=168");
    assert_true(alter(OVERRIDE_SET, "retention.ms", "9"));
    check_described(CONF_TOPIC, "retention.ms",
                    "1:9 1:retention.ms=9 4:log.retention.minutes=2 5:log.retention.hours=168");
    check_described(CONF_BROKER, "log.retention.ms",
                    "4:120000 4:log.retention.minutes=2 5:log.retention.hours=168");
    check_described(CONF_BROKER, "node.id", "4:3 4:broker.id=3 5:node.id=1 5:broker.id=-1");
    check_described(CONF_BROKER, "ssl.key.password", "4:- 4:ssl.key.password=-");
    check_described(CONF_BROKER, "advertised.listeners", "5:-");
    finish();
}

static void test_dynamic_layers(void **state)
{
    (void)state;
    begin("message.max.bytes=400\n");
    struct overrides cluster;
    struct overrides broker;
    overrides_init(&cluster, CONF_BROKER);
    overrides_init(&broker, CONF_BROKER);
    view.cluster = &cluster;
    view.broker = &broker;
    assert_true(
        overrides_alter(&cluster, OVERRIDE_SET, "message.max.bytes", 17, "300", 3, &view, &error));
    check_described(
        CONF_TOPIC, "max.message.bytes",
        "3:300 3:message.max.bytes=300 4:message.max.bytes=400 5:message.max.bytes=1048588");
    assert_true(
        overrides_alter(&broker, OVERRIDE_SET, "message.max.bytes", 17, "200", 3, &view, &error));
    struct topic_conf topic;
    assert_true(overrides_resolve_topic(&view, &topic, &error));
    assert_int_equal(topic.max_message_bytes, 200);
    assert_false(overrides_alter(&broker, OVERRIDE_SET, "log.dirs", 8, "/x", 2, &view, &error));
    assert_int_equal(error.code, 42);
    overrides_fini(&cluster);
    overrides_fini(&broker);
    finish();
}

static void test_listing(void **state)
{
    (void)state;
    begin("num.io.threads=8\n");
    assert_true(conf_is_listed(&view, conf_find(CONF_BROKER, "log.dirs")));
    assert_true(conf_is_listed(&view, conf_find(CONF_BROKER, "num.io.threads")));
    assert_false(conf_is_listed(&view, conf_find(CONF_BROKER, "num.network.threads")));
    assert_true(conf_is_listed(&view, conf_find(CONF_TOPIC, "flush.ms")));
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_delete),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_checked_as_a_whole),
        cmocka_unit_test(test_copy_is_independent),
        cmocka_unit_test(test_sources_and_synonyms),
        cmocka_unit_test(test_dynamic_layers),
        cmocka_unit_test(test_listing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
