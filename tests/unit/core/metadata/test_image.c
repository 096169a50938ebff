/* SPDX-License-Identifier: Apache-2.0 */
#include "core/metadata/image_edit.h"
#include "core/metadata/quota_table.h"
#include "tests/unit/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct conf conf;

static int load(void **state)
{
    (void)state;
    const struct conf_input input = {.hostname = "localhost"};
    return conf_load(&conf, &input) ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    conf_fini(&conf);
    return 0;
}

static struct image_edit *from_nothing(uint16_t shard_count)
{
    const struct image_options options = {.conf = &conf,
                                          .cluster_id = "AAAAAAAAAAAAAAAAAAAAAA",
                                          .node_id = 1,
                                          .shard_count = shard_count,
                                          .seed = 1};
    return image_edit_new(&options);
}

static struct uuid id_of(uint8_t number)
{
    return (struct uuid){{number, 1}};
}

static void apply(struct image_edit *edit, const struct metadata_record *record)
{
    char sentence[256] = "";
    if (!image_edit_apply(edit, record, sentence, sizeof(sentence)))
        fail_msg("%s", sentence);
}

static void refuse(struct image_edit *edit, const struct metadata_record *record)
{
    char sentence[256] = "";
    assert_false(image_edit_apply(edit, record, sentence, sizeof(sentence)));
    assert_true(strlen(sentence) > 10);
}

static struct metadata_record partitions_of(uint8_t number, int32_t first, uint32_t count)
{
    static const int32_t ones[64] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    return (struct metadata_record){.kind = METADATA_PARTITIONS,
                                    .partitions = {.topic_id = id_of(number),
                                                   .first = first,
                                                   .count = count,
                                                   .replica_count = 1,
                                                   .replicas = ones}};
}

static void create(struct image_edit *edit, uint8_t number, const char *name, uint32_t count)
{
    apply(edit,
          &(struct metadata_record){.kind = METADATA_TOPIC_CREATE,
                                    .topic_create = {.id = id_of(number), .name = str_of(name)}});
    const struct metadata_record partitions = partitions_of(number, 0, count);
    apply(edit, &partitions);
}

static const struct topic_image *by_name(const struct image *image, const char *name)
{
    return image_topic_by_name(image, name, strlen(name));
}

static void topics_are_found(void **state)
{
    (void)state;
    struct image_edit *edit = from_nothing(2);
    create(edit, 3, "payments", 3);
    create(edit, 1, "orders", 2);
    create(edit, 2, "__consumer_offsets", 1);
    assert_non_null(image_edit_topic_by_name(edit, str_of("orders")));
    struct image *image = image_edit_end(edit, 7);
    assert_int_equal(image->batch, 7);
    assert_int_equal(image->topic_count, 3);
    assert_int_equal(image->partition_count, 6);
    assert_string_equal(image->topics[0]->name, "__consumer_offsets");
    assert_string_equal(image->topics[2]->name, "payments");
    assert_true(by_name(image, "__consumer_offsets")->internal);
    assert_false(by_name(image, "orders")->internal);
    assert_null(by_name(image, "order"));
    assert_null(by_name(image, ""));
    const struct uuid id = id_of(3);
    const struct topic_image *payments = image_topic_by_id(image, &id);
    assert_string_equal(payments->name, "payments");
    const struct partition_image *last = image_partition(payments, 2);
    assert_int_equal(last->leader, 1);
    assert_int_equal(last->leader_epoch, 0);
    assert_int_equal(last->isr_count, 1);
    assert_null(image_partition(payments, 3));
    assert_null(image_partition(payments, -1));
    const struct uuid nobody = id_of(9);
    assert_null(image_topic_by_id(image, &nobody));
    assert_int_equal(payments->conf.max_message_bytes, conf.topic.max_message_bytes);
    image_free(image);
}

/* Unchanged topics are the same memory; a changed one is another, and the old image keeps its. */
static void unchanged_topics_are_shared(void **state)
{
    (void)state;
    struct image_edit *edit = from_nothing(2);
    create(edit, 1, "a", 1);
    create(edit, 2, "b", 1);
    struct image *first = image_edit_end(edit, 1);
    const struct topic_image *a = by_name(first, "a");
    const struct topic_image *b = by_name(first, "b");

    edit = image_edit_begin(first);
    const struct metadata_record more = partitions_of(2, 1, 2);
    apply(edit, &more);
    create(edit, 3, "c", 1);
    struct image *second = image_edit_end(edit, 2);
    assert_ptr_equal(by_name(second, "a"), a);
    assert_ptr_not_equal(by_name(second, "b"), b);
    assert_int_equal(b->partition_count, 1);
    assert_int_equal(by_name(second, "b")->partition_count, 3);
    assert_int_equal(second->partition_count, 5);
    image_free(first);
    assert_string_equal(by_name(second, "a")->name, "a");

    edit = image_edit_begin(second);
    apply(edit, &(struct metadata_record){.kind = METADATA_TOPIC_DELETE,
                                          .topic_delete = {.id = id_of(1)}});
    assert_null(image_edit_topic_by_name(edit, str_of("a")));
    create(edit, 4, "a", 1); /* the same name, another topic */
    struct image *third = image_edit_end(edit, 3);
    const struct uuid fourth = id_of(4);
    assert_true(uuid_equal(&by_name(third, "a")->id, &fourth));
    assert_int_equal(third->topic_count, 3);
    image_free(second);
    image_free(third);
}

static void cancelled_edits_leave_no_trace(void **state)
{
    (void)state;
    struct image_edit *edit = from_nothing(2);
    create(edit, 1, "a", 4);
    struct image *image = image_edit_end(edit, 1);
    edit = image_edit_begin(image);
    const struct metadata_record more = partitions_of(1, 4, 8);
    apply(edit, &more);
    create(edit, 2, "b", 1);
    image_edit_cancel(edit);
    assert_int_equal(image->topic_count, 1);
    assert_int_equal(by_name(image, "a")->partition_count, 4);
    image_free(image);
}

static void homes_are_least_loaded(void **state)
{
    (void)state;
    struct image_edit *edit = from_nothing(3);
    create(edit, 1, "a", 4);
    create(edit, 2, "b", 2);
    struct image *image = image_edit_end(edit, 1);
    uint32_t load[3] = {0};
    for (uint32_t t = 0; t < 2; t++)
        for (uint32_t i = 0; i < image->topics[t]->partition_count; i++)
            load[image->topics[t]->partitions[i].home]++;
    for (int i = 0; i < 3; i++)
        assert_int_equal(load[i], 2);

    /* What a deletion frees is filled first; nobody else moves. */
    uint16_t homes[2] = {by_name(image, "b")->partitions[0].home,
                         by_name(image, "b")->partitions[1].home};
    edit = image_edit_begin(image);
    apply(edit, &(struct metadata_record){.kind = METADATA_TOPIC_DELETE,
                                          .topic_delete = {.id = id_of(1)}});
    create(edit, 3, "c", 1);
    struct image *next = image_edit_end(edit, 2);
    assert_int_equal(by_name(next, "b")->partitions[0].home, homes[0]);
    assert_int_equal(by_name(next, "b")->partitions[1].home, homes[1]);
    assert_int_not_equal(by_name(next, "c")->partitions[0].home, homes[0]);
    image_free(image);
    image_free(next);
}

static void set(struct image_edit *edit, struct metadata_config config, const char *name,
                const char *value)
{
    const struct metadata_setting setting = {str_of(name), str_of(value)};
    config.settings = &setting;
    config.setting_count = 1;
    apply(edit, &(struct metadata_record){.kind = METADATA_CONFIG, .config = config});
}

static void settings_are_resolved(void **state)
{
    (void)state;
    const struct metadata_config of_a = {
        .resource = METADATA_RESOURCE_TOPIC, .topic_id = id_of(1), .broker_id = -1};
    const struct metadata_config of_all = {.resource = METADATA_RESOURCE_BROKER, .broker_id = -1};
    const struct metadata_config of_other = {.resource = METADATA_RESOURCE_BROKER, .broker_id = 7};
    struct image_edit *edit = from_nothing(1);
    create(edit, 1, "a", 1);
    create(edit, 2, "b", 1);
    set(edit, of_a, "max.message.bytes", "2000");
    set(edit, of_other, "message.max.bytes", "3");
    struct image *first = image_edit_end(edit, 1);
    assert_int_equal(by_name(first, "a")->conf.max_message_bytes, 2000);
    assert_int_equal(by_name(first, "b")->conf.max_message_bytes, conf.topic.max_message_bytes);

    /* A broker-wide default reaches every topic that does not say otherwise. */
    edit = image_edit_begin(first);
    set(edit, of_all, "message.max.bytes", "5000");
    set(edit, of_all, "message.max.bytes", "4000"); /* the second replaces the first */
    create(edit, 3, "c", 1);
    struct image *second = image_edit_end(edit, 2);
    assert_int_equal(by_name(second, "a")->conf.max_message_bytes, 2000);
    assert_int_equal(by_name(second, "b")->conf.max_message_bytes, 4000);
    assert_int_equal(by_name(second, "c")->conf.max_message_bytes, 4000);
    assert_int_equal(second->cluster_overrides->count, 1);
    assert_int_equal(second->broker_overrides->count, 0);

    /* A setting that this version does not know is left out, and counted. */
    edit = image_edit_begin(second);
    set(edit, of_a, "no.such.key", "1");
    assert_int_equal(image_edit_ignored(edit), 1);
    struct image *third = image_edit_end(edit, 3);
    assert_int_equal(by_name(third, "a")->conf.max_message_bytes, 4000);
    image_free(first);
    image_free(second);
    image_free(third);
}

static void damage_is_refused(void **state)
{
    (void)state;
    struct image_edit *edit = from_nothing(1);
    create(edit, 1, "a", 2);
    refuse(edit, &(struct metadata_record){.kind = METADATA_TOPIC_CREATE,
                                           .topic_create = {.id = id_of(1), .name = str_of("b")}});
    refuse(edit, &(struct metadata_record){.kind = METADATA_TOPIC_CREATE,
                                           .topic_create = {.id = id_of(2), .name = str_of("a")}});
    const struct metadata_record gap = partitions_of(1, 3, 1);
    refuse(edit, &gap);
    const struct metadata_record nowhere = partitions_of(5, 0, 1);
    refuse(edit, &nowhere);
    refuse(edit, &(struct metadata_record){.kind = METADATA_TOPIC_DELETE,
                                           .topic_delete = {.id = id_of(5)}});
    const int32_t one[] = {1};
    struct metadata_record change = {.kind = METADATA_PARTITION_CHANGE,
                                     .partition_change = {.topic_id = id_of(1),
                                                          .partition = 1,
                                                          .leader = 1,
                                                          .leader_epoch = 4,
                                                          .partition_epoch = 1,
                                                          .replicas = one,
                                                          .isr = one,
                                                          .replica_count = 1,
                                                          .isr_count = 1}};
    apply(edit, &change);
    change.partition_change.leader_epoch = 3; /* I2: epochs only grow */
    refuse(edit, &change);
    image_edit_cancel(edit);
}

static void add(void *user, const struct metadata_record *record)
{
    metadata_records_add(user, record);
}

/* A snapshot's records give an image whose snapshot is the same. */
static struct quota_entity client_of(const char *name)
{
    return (struct quota_entity){{{0}, {QUOTA_NAMED, str_of(name)}, {0}}};
}

/* 0: it has none any more. */
static void quota(struct image_edit *edit, const char *client, double rate)
{
    const struct metadata_limit limit = {str_of("producer_byte_rate"), rate};
    apply(edit,
          &(struct metadata_record){
              .kind = METADATA_CLIENT_QUOTA,
              .quota = {.entity = client_of(client), .limits = &limit, .limit_count = rate > 0}});
}

static double quota_of(const struct image *image, const char *client)
{
    const struct quota_entity entity = client_of(client);
    const struct quota_image *found = quota_table_find(image->quotas, &entity);
    return found ? found->limits[QUOTA_PRODUCE] : 0;
}

/* Images share the table until it changes, and an edit that is thrown away changes none. */
static void quotas_are_shared(void **state)
{
    (void)state;
    struct image_edit *edit = from_nothing(1);
    quota(edit, "a", 1);
    struct image *first = image_edit_end(edit, 1);
    edit = image_edit_begin(first);
    create(edit, 1, "t", 1);
    struct image *second = image_edit_end(edit, 2);
    assert_ptr_equal(first->quotas, second->quotas);
    edit = image_edit_begin(second);
    quota(edit, "a", 2);
    quota(edit, "b", 3);
    assert_true(quota_of(image_edit_peek(edit), "a") == 2);
    image_edit_cancel(edit);
    assert_true(quota_of(second, "a") == 1);
    edit = image_edit_begin(second);
    quota(edit, "a", 0);
    quota(edit, "b", 3);
    struct image *third = image_edit_end(edit, 3);
    image_free(first);
    assert_true(quota_of(second, "a") == 1);
    assert_int_equal(second->quotas->version, 1);
    assert_int_equal(third->quotas->version, 3);
    assert_true(quota_of(third, "a") == 0 && quota_of(third, "b") == 3);
    image_free(second);
    image_free(third);
}

static void snapshots_come_back(void **state)
{
    (void)state;
    const int32_t sets[] = {2, 1, 3};
    const struct metadata_endpoint endpoint = {str_of("PLAINTEXT"), str_of("h"), 9092};
    struct image_edit *edit = from_nothing(2);
    apply(edit, &(struct metadata_record){.kind = METADATA_BROKER_UP,
                                          .broker_up = {.id = 1,
                                                        .epoch = 77,
                                                        .directory = id_of(200),
                                                        .rack = str_of("r1"),
                                                        .version = str_of("1"),
                                                        .endpoints = &endpoint,
                                                        .endpoint_count = 1}});
    apply(edit, &(struct metadata_record){.kind = METADATA_FEATURE,
                                          .feature = {.name = str_of("f"), .level = 3}});
    create(edit, 1, "a", 3);
    create(edit, 2, "b", 1);
    apply(edit, &(struct metadata_record){.kind = METADATA_PARTITION_CHANGE,
                                          .partition_change = {.topic_id = id_of(1),
                                                               .partition = 1,
                                                               .leader = 3,
                                                               .leader_epoch = 4,
                                                               .partition_epoch = 6,
                                                               .replicas = sets,
                                                               .isr = sets + 1,
                                                               .replica_count = 3,
                                                               .isr_count = 2}});
    set(edit,
        (struct metadata_config){
            .resource = METADATA_RESOURCE_TOPIC, .topic_id = id_of(2), .broker_id = -1},
        "retention.ms", "1");
    apply(edit, &(struct metadata_record){.kind = METADATA_PRODUCER_IDS,
                                          .producer_ids = {.first = 5000, .count = 1000}});
    quota(edit, "orders", 1000);
    quota(edit, "audit", 2000);
    quota(edit, "orders", 3000);
    struct image *image = image_edit_end(edit, 9);
    struct metadata_records first = {0};
    struct metadata_records second = {0};
    image_records(image, add, &first);

    edit = from_nothing(5); /* another number of shards is no obstacle */
    struct bytes_in in = bytes_in_of(first.data, first.length);
    struct arena arena;
    arena_init(&arena, 1U << 20);
    struct metadata_record record;
    char sentence[128];
    while (metadata_record_decode(&in, METADATA_LEVEL_NEWEST, &arena, &record, sentence,
                                  sizeof(sentence)) == METADATA_READ)
        apply(edit, &record);
    struct image *again = image_edit_end(edit, 9);
    image_records(again, add, &second);
    assert_int_equal(second.length, first.length);
    assert_memory_equal(second.data, first.data, first.length);
    assert_int_equal(again->producer_id_next, 6000);
    assert_int_equal(image_partition(by_name(again, "a"), 1)->leader, 3);
    assert_int_equal(image_partition(by_name(again, "a"), 1)->isr[1], 3);
    assert_string_equal(image_broker(again, 1)->rack, "r1");
    assert_int_equal(image_endpoint(image_broker(again, 1), "plaintext")->port, 9092);
    assert_null(image_endpoint(image_broker(again, 1), "OTHER"));
    assert_null(image_broker(again, 2));
    assert_int_equal(again->quotas->count, 2);
    assert_true(quota_of(again, "orders") == 3000);
    arena_fini(&arena);
    metadata_records_fini(&first);
    metadata_records_fini(&second);
    image_free(image);
    image_free(again);
}

/* The image that a snapshot makes, in place of `before` or of nothing. */
static struct image *from_snapshot(const struct image *image, const struct image *before)
{
    const struct image_options options = {.conf = &conf,
                                          .cluster_id = "AAAAAAAAAAAAAAAAAAAAAA",
                                          .node_id = 1,
                                          .shard_count = 3,
                                          .seed = 1,
                                          .before = before};
    struct metadata_records records = {0};
    struct image_edit *edit = image_edit_new(&options);
    struct metadata_record record;
    struct arena arena;
    char sentence[128];
    image_records(image, add, &records);
    struct bytes_in in = bytes_in_of(records.data, records.length);
    arena_init(&arena, 1U << 20);
    while (metadata_record_decode(&in, METADATA_LEVEL_NEWEST, &arena, &record, sentence,
                                  sizeof(sentence)) == METADATA_READ)
        apply(edit, &record);
    arena_fini(&arena);
    metadata_records_fini(&records);
    return image_edit_end(edit, image->batch);
}

static unsigned moved(const struct image *from, const struct image *to)
{
    unsigned count = 0;
    for (uint32_t t = 0; t < from->topic_count; t++)
        for (uint32_t i = 0; i < from->topics[t]->partition_count; i++)
            count += from->topics[t]->partitions[i].home != to->topics[t]->partitions[i].home;
    return count;
}

/* A running broker that reads a snapshot has its partitions at home where they are. */
static void homes_outlive_snapshots(void **state)
{
    (void)state;
    struct image_edit *edit = from_nothing(3);
    create(edit, 1, "a", 4);
    create(edit, 2, "b", 2);
    apply(edit, &(struct metadata_record){.kind = METADATA_TOPIC_DELETE,
                                          .topic_delete = {.id = id_of(1)}});
    create(edit, 3, "c", 3);
    struct image *image = image_edit_end(edit, 1);
    struct image *again = from_snapshot(image, image);
    struct image *anew = from_snapshot(image, NULL);
    assert_int_equal(moved(image, again), 0);
    assert_int_not_equal(moved(image, anew), 0);
    edit = image_edit_begin(again); /* and what comes next is placed by what is there */
    create(edit, 4, "d", 1);
    struct image *next = image_edit_end(edit, 2);
    edit = image_edit_begin(image);
    create(edit, 4, "d", 1);
    struct image *same = image_edit_end(edit, 2);
    assert_int_equal(by_name(next, "d")->partitions[0].home,
                     by_name(same, "d")->partitions[0].home);
    image_free(next);
    image_free(same);
    image_free(image);
    image_free(again);
    image_free(anew);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_are_found),
        cmocka_unit_test(unchanged_topics_are_shared),
        cmocka_unit_test(cancelled_edits_leave_no_trace),
        cmocka_unit_test(homes_are_least_loaded),
        cmocka_unit_test(settings_are_resolved),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(quotas_are_shared),
        cmocka_unit_test(snapshots_come_back),
        cmocka_unit_test(homes_outlive_snapshots),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
