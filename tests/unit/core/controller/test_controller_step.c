/* SPDX-License-Identifier: Apache-2.0
 *
 * Decisions of the controller, against Kafka's rules (the acceptance list's C1-C7): what is refused
 * with which code, and that what is refused, or only validated, leaves no record.
 */
#include "tests/unit/core/controller/controller_world.h"

#include <stdio.h>

static void names(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    char longest[251];
    memset(longest, 'a', sizeof(longest));
    longest[250] = '\0';
    assert_int_equal(create(w, longest, 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    longest[249] = '\0';
    assert_int_equal(create(w, longest, 1, 1), ERR_NONE);
    static const char *const bad[] = {"", ".", "..", "a b", "a/b", "t\xc3\xa4", "a\n", "a:b"};
    for (size_t i = 0; i < array_count(bad); i++)
        assert_int_equal(create(w, bad[i], 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    assert_int_equal(create(w, "...", 1, 1), ERR_NONE);
    struct control_item null = {.name = str_null(), .partition_count = 1, .replication_factor = 1};
    assert_int_equal(decide(w, CONTROL_CREATE_TOPICS, &null), ERR_INVALID_TOPIC_EXCEPTION);

    /* In one batch and over several; '.' and '_' are the same, '-' is not. */
    assert_int_equal(create(w, "a.b_c", 1, 1), ERR_NONE);
    assert_int_equal(create(w, "a.b_c", 1, 1), ERR_TOPIC_ALREADY_EXISTS);
    assert_int_equal(create(w, "a_b.c", 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    end_batch(w);
    assert_int_equal(create(w, "a_b_c", 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    assert_int_equal(create(w, "a.b_c", 1, 1), ERR_TOPIC_ALREADY_EXISTS);
    assert_int_equal(create(w, "a-b-c", 1, 1), ERR_NONE);
    world_free(w);
}

static void counts(void **state)
{
    (void)state;
    struct world *w = world_of("num.partitions=5\ndefault.replication.factor=2\n", 3);
    assert_int_equal(create(w, "t", 0, 1), ERR_INVALID_PARTITIONS);
    assert_int_equal(create(w, "t", -2, 1), ERR_INVALID_PARTITIONS);
    assert_int_equal(create(w, "t", 1, 0), ERR_INVALID_REPLICATION_FACTOR);
    assert_int_equal(create(w, "t", 1, -2), ERR_INVALID_REPLICATION_FACTOR);
    assert_int_equal(create(w, "t", 1, 4), ERR_INVALID_REPLICATION_FACTOR);
    assert_int_equal(create(w, "t", INT32_MAX, 3), ERR_INVALID_PARTITIONS);
    assert_int_equal(create(w, "t", CONTROL_REPLICAS_PER_ITEM_MAX + 1, 1), ERR_INVALID_PARTITIONS);
    assert_int_equal(w->step.records.count, 0);
    struct control_item item = {
        .name = str_of("t"), .partition_count = -1, .replication_factor = -1};
    assert_int_equal(decide(w, CONTROL_CREATE_TOPICS, &item), ERR_NONE);
    assert_int_equal(item.created_partitions, 5);
    assert_int_equal(item.created_replication_factor, 2);
    const struct topic_image *topic = find(w, "t");
    assert_true(uuid_equal(&topic->id, &item.created_id));
    assert_int_equal(topic->id.bytes[6] >> 4, 4); /* a version 4 UUID */
    for (uint32_t i = 0; i < 5; i++) {
        const struct partition_image *partition = &topic->partitions[i];
        assert_int_equal(partition->replica_count, 2);
        assert_int_not_equal(partition->replicas[0], partition->replicas[1]);
        assert_int_equal(partition->leader, partition->replicas[0]);
    }
    assert_int_not_equal(topic->partitions[0].leader, topic->partitions[1].leader);
    world_free(w);
}

/* `racks`: a letter for each broker, from 1 on; '-': it does not say. */
static struct world *world_in_racks(const char *racks)
{
    int32_t count = (int32_t)strlen(racks);
    struct world *w = world_of("", count);
    for (int32_t i = 0; i < count; i++) {
        char sentence[128];
        char rack[2] = {racks[i]};
        const struct metadata_record up = {
            .kind = METADATA_BROKER_UP,
            .broker_up = {.id = i + 1,
                          .epoch = 100 + i,
                          .rack = racks[i] == '-' ? str_null() : str_of(rack),
                          .version = str_null()}};
        assert_true(image_edit_apply(w->step.edit, &up, sentence, sizeof(sentence)));
    }
    end_batch(w);
    return w;
}

/* How many racks have a replica; a broker that does not say counts as one. No broker has two. */
static uint32_t racks_of(const struct partition_image *partition, const char *racks)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        bool again = false;
        for (uint32_t j = 0; j < i; j++) {
            char rack = racks[partition->replicas[i] - 1];
            assert_int_not_equal(partition->replicas[i], partition->replicas[j]);
            again |= rack != '-' && rack == racks[partition->replicas[j] - 1];
        }
        count += !again;
    }
    return count;
}

static void replicas_are_spread_over_racks(void **state)
{
    (void)state;
    static const struct {
        const char *racks;
        int16_t replicas;
        uint32_t expected;
    } cases[] = {{"aaabbc", 3, 3}, {"aaabbc", 2, 2}, {"aaabbc", 5, 3}, {"abcabc", 3, 3},
                 {"aabb", 2, 2},   {"aabb", 4, 2},   {"aaaa", 3, 1},   {"a-a-a", 3, 3},
                 {"----", 3, 3},   {"aaaaab", 2, 2}, {"a", 1, 1}};
    for (size_t i = 0; i < array_count(cases); i++) {
        struct world *w = world_in_racks(cases[i].racks);
        const uint32_t brokers = (uint32_t)strlen(cases[i].racks);
        uint32_t leads[8] = {0};
        assert_int_equal(create(w, "before", 1, 1), ERR_NONE); /* they begin somewhere else */
        assert_int_equal(create(w, "t", (int32_t)(4 * brokers), cases[i].replicas), ERR_NONE);
        const struct topic_image *topic = find(w, "t");
        for (uint32_t p = 0; p < topic->partition_count; p++) {
            assert_int_equal(racks_of(&topic->partitions[p], cases[i].racks), cases[i].expected);
            leads[topic->partitions[p].leader - 1]++;
        }
        for (uint32_t b = 0; b < brokers; b++)
            assert_int_equal(leads[b], 4);
        world_free(w);
    }
}

static void partitions_per_broker(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    assert_int_equal(create(w, "a", 50000, 1), ERR_NONE);
    end_batch(w);
    assert_int_equal(create(w, "b", 50000, 1), ERR_NONE);
    end_batch(w);
    assert_int_equal(create(w, "c", 1, 1), ERR_INVALID_PARTITIONS);
    struct control_item more = {.name = str_of("b"), .partition_count = 50001};
    assert_int_equal(decide(w, CONTROL_CREATE_PARTITIONS, &more), ERR_INVALID_PARTITIONS);
    world_free(w);
}

static int16_t assign(struct world *w, const char *name,
                      const struct control_assignment *assignments, int32_t count)
{
    struct control_item item = {.name = str_of(name),
                                .partition_count = -1,
                                .replication_factor = -1,
                                .assignments = assignments,
                                .assignment_count = count};
    return decide(w, CONTROL_CREATE_TOPICS, &item);
}

static void assignments(void **state)
{
    (void)state;
    struct world *w = world_of("", 3);
    static const int32_t b12[] = {1, 2};
    static const int32_t b31[] = {3, 1};
    static const int32_t b11[] = {1, 1};
    static const int32_t b19[] = {1, 9};
    const struct control_assignment good[] = {{1, b31, 2}, {0, b12, 2}};
    const struct control_assignment gap[] = {{0, b12, 2}, {2, b31, 2}};
    const struct control_assignment twice[] = {{0, b12, 2}, {0, b31, 2}};
    const struct control_assignment uneven[] = {{0, b12, 2}, {1, b31, 1}};
    const struct control_assignment double_id[] = {{0, b11, 2}};
    const struct control_assignment stranger[] = {{0, b19, 2}};
    const struct control_assignment empty[] = {{0, b19, 0}};
    const struct control_assignment negative[] = {{-1, b12, 2}};
    assert_int_equal(assign(w, "t", gap, 2), ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(assign(w, "t", twice, 2), ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(assign(w, "t", uneven, 2), ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(assign(w, "t", double_id, 1), ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(assign(w, "t", stranger, 1), ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(assign(w, "t", empty, 1), ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(assign(w, "t", negative, 1), ERR_INVALID_REPLICA_ASSIGNMENT);
    struct control_item both = {.name = str_of("t"),
                                .partition_count = 2,
                                .replication_factor = -1,
                                .assignments = good,
                                .assignment_count = 2};
    assert_int_equal(decide(w, CONTROL_CREATE_TOPICS, &both), ERR_INVALID_REQUEST);
    assert_int_equal(w->step.records.count, 0);
    assert_int_equal(assign(w, "t", good, 2), ERR_NONE);
    assert_int_equal(find(w, "t")->partitions[0].replicas[1], 2);
    assert_int_equal(find(w, "t")->partitions[1].leader, 3);
    world_free(w);
}

static int16_t create_with(struct world *w, const char *name, const struct control_config *configs,
                           int32_t count)
{
    struct control_item item = {.name = str_of(name),
                                .partition_count = 1,
                                .replication_factor = 1,
                                .configs = configs,
                                .config_count = count};
    return decide(w, CONTROL_CREATE_TOPICS, &item);
}

static void settings_of_new_topics(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    const struct control_config good[] = {{str_of("max.message.bytes"), str_of("2000"), 0},
                                          {str_of("cleanup.policy"), str_of("compact"), 0}};
    const struct control_config unknown[] = {{str_of("max.mesage.bytes"), str_of("2000"), 0}};
    const struct control_config bad[] = {{str_of("max.message.bytes"), str_of("many"), 0}};
    const struct control_config null[] = {{str_of("max.message.bytes"), str_null(), 0}};
    const struct control_config twice[] = {good[0], good[0]};
    const struct control_config against[] = {{str_of("min.compaction.lag.ms"), str_of("10"), 0},
                                             {str_of("max.compaction.lag.ms"), str_of("5"), 0}};
    assert_int_equal(create_with(w, "t", unknown, 1), ERR_INVALID_CONFIG);
    assert_int_equal(create_with(w, "t", bad, 1), ERR_INVALID_CONFIG);
    assert_int_equal(create_with(w, "t", null, 1), ERR_INVALID_CONFIG);
    assert_int_equal(create_with(w, "t", twice, 2), ERR_INVALID_REQUEST);
    assert_int_equal(create_with(w, "t", against, 2), ERR_INVALID_CONFIG);
    assert_int_equal(w->step.records.count, 0);
    assert_int_equal(create_with(w, "t", good, 2), ERR_NONE);
    end_batch(w);
    assert_int_equal(image_topic_by_name(w->image, "t", 1)->conf.max_message_bytes, 2000);
    world_free(w);
}

static void validate_only_changes_nothing(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    struct control_item items[] = {
        {.name = str_of("t"), .partition_count = 3, .replication_factor = 1},
        {.name = str_of("u"), .partition_count = 3, .replication_factor = 2}};
    struct control_op op = {.kind = CONTROL_CREATE_TOPICS,
                            .arena = &w->arena,
                            .items = items,
                            .item_count = 2,
                            .validate_only = true};
    assert_true(controller_step(&w->step, &op));
    assert_int_equal(items[0].error, ERR_NONE);
    assert_int_equal(items[0].created_partitions, 3);
    assert_int_equal(items[1].error, ERR_INVALID_REPLICATION_FACTOR);
    assert_int_equal(w->step.records.count, 0);
    assert_null(find(w, "t"));
    assert_int_equal(create(w, "t", 1, 1), ERR_NONE);
    end_batch(w);
    const struct control_config config = {str_of("retention.ms"), str_of("5"), 0};
    struct control_item configured = {
        .name = str_of("t"), .resource_type = 2, .configs = &config, .config_count = 1};
    struct control_item extended = {
        .name = str_of("t"), .partition_count = 2, .assignment_count = -1};
    op = (struct control_op){.kind = CONTROL_ALTER_CONFIGS,
                             .arena = &w->arena,
                             .items = &configured,
                             .item_count = 1,
                             .validate_only = true};
    assert_true(controller_step(&w->step, &op));
    op.kind = CONTROL_CREATE_PARTITIONS;
    op.items = &extended;
    op.next_item = 0;
    assert_true(controller_step(&w->step, &op));
    assert_int_equal(configured.error, ERR_NONE);
    assert_int_equal(extended.error, ERR_NONE);
    assert_int_equal(w->step.records.count, 0);
    world_free(w);
}

static void auto_creation_of_what_exists(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    assert_int_equal(create(w, "t", 1, 1), ERR_NONE);
    struct control_item item = {
        .name = str_of("t"), .partition_count = -1, .replication_factor = -1};
    struct control_op op = {.kind = CONTROL_CREATE_TOPICS,
                            .arena = &w->arena,
                            .items = &item,
                            .item_count = 1,
                            .from_auto_create = true};
    assert_true(controller_step(&w->step, &op));
    assert_int_equal(item.error, ERR_NONE);
    assert_true(uuid_equal(&item.created_id, &find(w, "t")->id));
    assert_int_equal(w->step.records.count, 2);
    world_free(w);
}

static void deletion(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    assert_int_equal(create(w, "a", 1, 1), ERR_NONE);
    assert_int_equal(create(w, "b", 1, 1), ERR_NONE);
    end_batch(w);
    const struct uuid b = image_topic_by_name(w->image, "b", 1)->id;
    const struct uuid nobody = {{9}};
    struct control_item by_name = {.name = str_of("a")};
    struct control_item by_id = {.name = str_null(), .by_id = true, .topic_id = b};
    struct control_item unknown_id = {.name = str_null(), .by_id = true, .topic_id = nobody};
    assert_int_equal(decide(w, CONTROL_DELETE_TOPICS, &by_name), ERR_NONE);
    assert_int_equal(decide(w, CONTROL_DELETE_TOPICS, &by_name), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(decide(w, CONTROL_DELETE_TOPICS, &by_id), ERR_NONE);
    assert_string_equal(by_id.found_name, "b");
    assert_int_equal(decide(w, CONTROL_DELETE_TOPICS, &unknown_id), ERR_UNKNOWN_TOPIC_ID);
    assert_int_equal(create(w, "b", 1, 1), ERR_NONE); /* in the same batch, with another id */
    assert_false(uuid_equal(&find(w, "b")->id, &b));
    end_batch(w);
    assert_int_equal(w->image->topic_count, 1);
    world_free(w);

    w = world_of("delete.topic.enable=false\n", 1);
    assert_int_equal(create(w, "a", 1, 1), ERR_NONE);
    assert_int_equal(decide(w, CONTROL_DELETE_TOPICS, &by_name), ERR_TOPIC_DELETION_DISABLED);
    world_free(w);
}

static void more_partitions(void **state)
{
    (void)state;
    struct world *w = world_of("", 3);
    assert_int_equal(create(w, "t", 2, 2), ERR_NONE);
    end_batch(w);
    struct control_item item = {.name = str_of("t"), .partition_count = 2};
    assert_int_equal(decide(w, CONTROL_CREATE_PARTITIONS, &item), ERR_INVALID_PARTITIONS);
    item.partition_count = 1;
    assert_int_equal(decide(w, CONTROL_CREATE_PARTITIONS, &item), ERR_INVALID_PARTITIONS);
    item.partition_count = -1;
    assert_int_equal(decide(w, CONTROL_CREATE_PARTITIONS, &item), ERR_INVALID_PARTITIONS);
    item.name = str_of("nobody");
    assert_int_equal(decide(w, CONTROL_CREATE_PARTITIONS, &item), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    static const int32_t b12[] = {1, 2};
    static const int32_t b9[] = {1, 9};
    struct control_assignment assigned[] = {{0, b12, 2}, {0, b12, 1}};
    item = (struct control_item){
        .name = str_of("t"), .partition_count = 4, .assignments = assigned, .assignment_count = 1};
    assert_int_equal(decide(w, CONTROL_CREATE_PARTITIONS, &item), ERR_INVALID_REPLICA_ASSIGNMENT);
    item.assignment_count = 2;
    assert_int_equal(decide(w, CONTROL_CREATE_PARTITIONS, &item), ERR_INVALID_REPLICA_ASSIGNMENT);
    assigned[1] = (struct control_assignment){0, b9, 2};
    assert_int_equal(decide(w, CONTROL_CREATE_PARTITIONS, &item), ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(w->step.records.count, 0);
    assigned[1].broker_ids = b12;
    assert_int_equal(decide(w, CONTROL_CREATE_PARTITIONS, &item), ERR_NONE);
    assert_int_equal(item.created_partitions, 4);
    const struct topic_image *topic = find(w, "t");
    assert_int_equal(topic->partition_count, 4);
    assert_int_equal(topic->partitions[3].replicas[1], 2);
    item = (struct control_item){.name = str_of("t"), .partition_count = 6};
    assert_int_equal(decide(w, CONTROL_CREATE_PARTITIONS, &item), ERR_INVALID_REPLICA_ASSIGNMENT);
    item.assignment_count = -1; /* nobody assigns: the controller does */
    assert_int_equal(decide(w, CONTROL_CREATE_PARTITIONS, &item), ERR_NONE);
    assert_int_equal(find(w, "t")->partitions[5].replica_count, 2);
    world_free(w);
}

static int16_t alter(struct world *w, enum control_kind kind, int8_t type, const char *name,
                     const struct control_config *configs, int32_t count)
{
    struct control_item item = {
        .name = str_of(name), .resource_type = type, .configs = configs, .config_count = count};
    return decide(w, kind, &item);
}

static void settings_change(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    const struct control_config bytes[] = {{str_of("max.message.bytes"), str_of("2000"), 0}};
    const struct control_config ms[] = {{str_of("retention.ms"), str_of("7"), 0}};
    const struct control_config delete_ms[] = {{str_of("retention.ms"), str_null(), 1}};
    const struct control_config append[] = {{str_of("cleanup.policy"), str_of("compact"), 2}};
    const struct control_config append_number[] = {{str_of("retention.ms"), str_of("7"), 2}};
    const struct control_config mixed[] = {ms[0], {str_of("segment.bytes"), str_of("x"), 0}};
    const struct control_config nameless[] = {{str_of(""), str_of("7"), 0}};
    const struct control_config replicas[] = {
        {str_of("leader.replication.throttled.replicas"), str_of("0:1,1"), 0}};
    const struct control_config no_op[] = {{str_of("retention.ms"), str_of("7"), 4}};
    assert_int_equal(create(w, "t", 1, 1), ERR_NONE);
    end_batch(w);
    const enum control_kind step_by_step = CONTROL_INCREMENTAL_ALTER_CONFIGS;
    assert_int_equal(alter(w, step_by_step, 2, "t", bytes, 1), ERR_NONE);
    assert_int_equal(alter(w, step_by_step, 2, "t", ms, 1), ERR_NONE);
    assert_int_equal(alter(w, step_by_step, 2, "t", append, 1), ERR_NONE);
    assert_int_equal(end_batch(w), 3);
    const struct topic_image *topic = image_topic_by_name(w->image, "t", 1);
    assert_int_equal(topic->overrides.count, 3);
    assert_int_equal(topic->conf.cleanup_policy, CONF_CLEANUP_COMPACT | CONF_CLEANUP_DELETE);

    assert_int_equal(alter(w, step_by_step, 2, "t", append_number, 1), ERR_INVALID_CONFIG);
    assert_int_equal(alter(w, step_by_step, 2, "t", no_op, 1), ERR_INVALID_REQUEST);
    assert_int_equal(alter(w, step_by_step, 2, "t", mixed, 2), ERR_INVALID_CONFIG);
    assert_int_equal(alter(w, step_by_step, 2, "nobody", ms, 1), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(alter(w, step_by_step, 2, "no/topic", ms, 1), ERR_INVALID_TOPIC_EXCEPTION);
    assert_int_equal(alter(w, step_by_step, 2, "", ms, 1), ERR_INVALID_REQUEST);
    assert_int_equal(alter(w, step_by_step, 2, "t", nameless, 1), ERR_INVALID_CONFIG);
    assert_int_equal(alter(w, step_by_step, 2, "t", replicas, 1), ERR_INVALID_CONFIG);
    assert_int_equal(alter(w, step_by_step, 8, "t", ms, 1), ERR_INVALID_REQUEST);
    assert_int_equal(w->step.records.count, 0); /* a resource is changed as a whole or not */
    assert_int_equal(alter(w, step_by_step, 2, "t", delete_ms, 1), ERR_NONE);
    end_batch(w);
    assert_int_equal(image_topic_by_name(w->image, "t", 1)->overrides.count, 2);

    /* AlterConfigs replaces all that was set. */
    assert_int_equal(alter(w, CONTROL_ALTER_CONFIGS, 2, "t", ms, 1), ERR_NONE);
    end_batch(w);
    topic = image_topic_by_name(w->image, "t", 1);
    assert_int_equal(topic->overrides.count, 1);
    assert_int_equal(topic->conf.max_message_bytes, w->conf.topic.max_message_bytes);
    world_free(w);
}

static void settings_of_brokers(void **state)
{
    (void)state;
    struct world *w = world_of("", 2);
    const struct control_config bytes[] = {{str_of("message.max.bytes"), str_of("4000"), 0}};
    const struct control_config read_only[] = {{str_of("node.id"), str_of("4"), 0}};
    const enum control_kind step_by_step = CONTROL_INCREMENTAL_ALTER_CONFIGS;
    assert_int_equal(create(w, "t", 1, 1), ERR_NONE);
    assert_int_equal(alter(w, step_by_step, 4, "9", bytes, 1), ERR_BROKER_ID_NOT_REGISTERED);
    assert_int_equal(alter(w, step_by_step, 4, "one", bytes, 1), ERR_INVALID_REQUEST);
    assert_int_equal(alter(w, step_by_step, 4, "1", read_only, 1), ERR_INVALID_REQUEST);
    assert_int_equal(alter(w, step_by_step, 4, "", bytes, 1), ERR_NONE);
    end_batch(w);
    assert_int_equal(image_topic_by_name(w->image, "t", 1)->conf.max_message_bytes, 4000);
    assert_int_equal(w->image->cluster_overrides->count, 1);
    assert_int_equal(alter(w, CONTROL_ALTER_CONFIGS, 4, "", NULL, 0), ERR_NONE);
    assert_int_equal(alter(w, step_by_step, 4, "2", bytes, 1), ERR_NONE); /* another broker's */
    end_batch(w);
    assert_int_equal(image_topic_by_name(w->image, "t", 1)->conf.max_message_bytes,
                     w->conf.topic.max_message_bytes);
    world_free(w);
}

static void producer_ids(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    struct control_op op = {.kind = CONTROL_ALLOCATE_PRODUCER_IDS, .arena = &w->arena};
    for (int64_t i = 0; i < 3; i++) {
        assert_true(controller_step(&w->step, &op));
        assert_int_equal(op.producer_id_first, i * CONTROL_PRODUCER_IDS);
        assert_int_equal(op.producer_id_count, CONTROL_PRODUCER_IDS);
        if (i == 1)
            end_batch(w);
    }
    end_batch(w);
    assert_int_equal(w->image->producer_id_next, 3 * CONTROL_PRODUCER_IDS);
    world_free(w);
}

/* A request larger than a batch goes on in the next one. */
static void full_batches(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    enum { COUNT = 5000 };
    struct control_item *items = mem_zalloc(COUNT * sizeof(*items));
    static char text[COUNT][64];
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "topic-with-a-name-of-some-length-%06d", i);
        items[i] = (struct control_item){
            .name = str_of(text[i]), .partition_count = 1, .replication_factor = 1};
    }
    struct control_op op = {
        .kind = CONTROL_CREATE_TOPICS, .arena = &w->arena, .items = items, .item_count = COUNT};
    uint32_t batches = 1;
    while (!controller_step(&w->step, &op)) {
        assert_true(w->step.records.length < CONTROL_BATCH_BYTES + 1024);
        end_batch(w);
        batches++;
    }
    end_batch(w);
    assert_true(batches > 2);
    assert_int_equal(w->image->topic_count, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(items[i].error, ERR_NONE);
    mem_free(items);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(counts),
        cmocka_unit_test(replicas_are_spread_over_racks),
        cmocka_unit_test(partitions_per_broker),
        cmocka_unit_test(assignments),
        cmocka_unit_test(settings_of_new_topics),
        cmocka_unit_test(validate_only_changes_nothing),
        cmocka_unit_test(auto_creation_of_what_exists),
        cmocka_unit_test(deletion),
        cmocka_unit_test(more_partitions),
        cmocka_unit_test(settings_change),
        cmocka_unit_test(settings_of_brokers),
        cmocka_unit_test(producer_ids),
        cmocka_unit_test(full_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
