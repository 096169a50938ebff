/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/kafka_kraft.h"

#include "net/kafka.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct world {
    struct kafka_cluster cluster;
    struct kraft kraft;
    struct arena arena;
    char why[320];
};

static void setup(struct world *w)
{
    kafka_cluster_init(&w->cluster, 1);
    kraft_init(&w->kraft, &w->cluster);
    arena_init(&w->arena, 1 << 20);
}

static void teardown(struct world *w)
{
    kraft_fini(&w->kraft);
    kafka_cluster_fini(&w->cluster);
    arena_fini(&w->arena);
}

/* A frame of this kind, and what `write` puts behind it. */
static bool take(struct world *w, uint32_t kind, uint32_t version,
                 void (*write)(struct wr *wr, const void *what), const void *what)
{
    struct wr wr;
    uint8_t bytes[4096];
    size_t len = 0;
    arena_reset(&w->arena);
    wr_init(&wr, &w->arena);
    wr_uvarint(&wr, 1);
    wr_uvarint(&wr, kind);
    wr_uvarint(&wr, version);
    if (write)
        write(&wr, what);
    for (const struct out_part *part = wr_finish(&wr); part; part = part->next) {
        assert_true(len + part->len <= sizeof(bytes));
        memcpy(bytes + len, part->data, part->len);
        len += part->len;
    }
    return kraft_take(&w->kraft, (struct bytes){bytes, (int32_t)len}, w->why, sizeof(w->why));
}

static void write_topic(struct wr *wr, const void *what)
{
    write_topic_record(wr, 0, what);
}

static void write_partition(struct wr *wr, const void *what)
{
    write_partition_record(wr, 2, what);
}

static void write_config(struct wr *wr, const void *what)
{
    write_config_record(wr, 0, what);
}

static void write_remove(struct wr *wr, const void *what)
{
    write_remove_topic_record(wr, 0, what);
}

static struct uuid id_of(uint8_t number)
{
    return (struct uuid){.bytes = {number, 1}};
}

static bool topic(struct world *w, const char *name, uint8_t number)
{
    struct topic_record record = {.name = str_of(name), .topic_id = id_of(number)};
    return take(w, 2, 0, write_topic, &record);
}

static bool partition(struct world *w, uint8_t number, int32_t index, int32_t replica,
                      int32_t epoch)
{
    struct partition_record record;
    init_partition_record(&record);
    record.partition_id = index;
    record.topic_id = id_of(number);
    record.replicas = &replica;
    record.replicas_count = 1;
    record.leader_epoch = epoch;
    return take(w, 3, 2, write_partition, &record);
}

static bool config(struct world *w, int8_t type, const char *resource, const char *name,
                   const char *value)
{
    struct config_record record = {.resource_type = type,
                                   .resource_name = str_of(resource),
                                   .name = str_of(name),
                                   .value = value ? str_of(value) : str_null()};
    return take(w, 4, 0, write_config, &record);
}

static void test_topics(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    assert_true(topic(&w, "orders", 1));
    assert_true(partition(&w, 1, 1, 2, 5));
    assert_true(partition(&w, 1, 0, 1, 4));
    assert_true(config(&w, 2, "orders", "retention.ms", "1"));
    assert_true(config(&w, 2, "orders", "cleanup.policy", "compact"));
    assert_true(config(&w, 2, "orders", "retention.ms", NULL));
    assert_true(config(&w, 4, "", "x", "y"));
    struct kafka_topic *found = kafka_topic_find(&w.cluster, "orders");
    assert_non_null(found);
    assert_ptr_equal(found, kafka_topic_of_id(&w.cluster, &found->id));
    assert_int_equal(found->partition_count, 2);
    assert_int_equal(found->partitions[0].leader_epoch, 4);
    assert_false(found->partitions[0].elsewhere);
    assert_true(found->partitions[1].elsewhere);
    assert_int_equal(found->settings.count, 1);
    assert_string_equal(found->settings.items[0].value, "compact");
    assert_int_equal(w.cluster.others[KAFKA_BROKER_SETTINGS], 1);
    /* One that was deleted takes its settings along; another of its name may come. */
    struct remove_topic_record gone = {.topic_id = id_of(1)};
    assert_true(take(&w, 9, 0, write_remove, &gone));
    assert_null(kafka_topic_find(&w.cluster, "orders"));
    assert_false(take(&w, 9, 0, write_remove, &gone));
    assert_true(topic(&w, "orders", 2));
    assert_int_equal(kafka_topic_find(&w.cluster, "orders")->settings.count, 0);
    teardown(&w);
}

static void test_refused(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    assert_true(topic(&w, "orders", 1));
    assert_false(topic(&w, "orders", 2));
    assert_false(topic(&w, "others", 1));
    assert_false(topic(&w, "a/b", 3));
    assert_false(partition(&w, 9, 0, 1, 0));
    assert_false(partition(&w, 1, -1, 1, 0));
    assert_false(partition(&w, 1, KAFKA_PARTITIONS_MAX, 1, 0));
    assert_false(take(&w, 99, 0, NULL, NULL));
    assert_non_null(strstr(w.why, "newer"));
    assert_false(take(&w, 2, 1, NULL, NULL));
    assert_non_null(strstr(w.why, "newer"));
    assert_false(take(&w, 2, 0, NULL, NULL));
    assert_false(kraft_take(&w.kraft, (struct bytes){.len = -1}, w.why, sizeof(w.why)));
    assert_false(
        kraft_take(&w.kraft, (struct bytes){(const uint8_t *)"\2\2\0", 3}, w.why, sizeof(w.why)));
    teardown(&w);
}

/* What stands in a metadata transaction counts when it ends. */
static void test_transactions(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    assert_true(take(&w, 23, 0, NULL, NULL));
    assert_true(topic(&w, "orders", 1));
    assert_null(kafka_topic_find(&w.cluster, "orders"));
    assert_true(take(&w, 24, 0, NULL, NULL));
    assert_non_null(kafka_topic_find(&w.cluster, "orders"));
    assert_true(take(&w, 23, 0, NULL, NULL));
    assert_true(topic(&w, "aborted", 2));
    assert_true(take(&w, 25, 0, NULL, NULL));
    assert_true(topic(&w, "later", 3));
    assert_null(kafka_topic_find(&w.cluster, "aborted"));
    assert_non_null(kafka_topic_find(&w.cluster, "later"));
    assert_true(take(&w, 23, 0, NULL, NULL));
    assert_true(topic(&w, "never", 4));
    teardown(&w);
}

/* What is not taken over is counted. */
static void test_others(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    assert_true(take(&w, 18, 0, NULL, NULL));
    assert_true(take(&w, 18, 0, NULL, NULL));
    assert_true(take(&w, 19, 0, NULL, NULL));
    assert_true(take(&w, 14, 0, NULL, NULL));
    assert_true(take(&w, 20, 0, NULL, NULL));
    assert_int_equal(w.cluster.others[KAFKA_ACLS], 1);
    assert_int_equal(w.cluster.others[KAFKA_QUOTAS], 1);
    assert_int_equal(w.cluster.others[KAFKA_TOKENS], 0);
    teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topics),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
