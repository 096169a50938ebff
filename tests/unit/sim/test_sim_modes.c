/* SPDX-License-Identifier: Apache-2.0
 *
 * What an acknowledgement is worth (millrace.durability), told and kept: after a kill, after a loss
 * of power, when the mode changes, and what clients hear of it afterwards.
 */
#include "tests/unit/sim/desk_topics.h"

#define SEEDS         12U
#define MISTAKE_SEEDS 300U
#define RECORDS       30
#define PRODUCER      4711

static struct desk desk;
static struct batch_builder builder;
static struct deflater deflater;

static void begin(uint64_t seed)
{
    desk_begin(&desk, seed);
    desk_set(&desk, "connections.max.idle.ms", "-1");
    desk.node.journal_bytes = 8U << 20; /* a small one is flushed for its length */
    desk_broker_start(&desk, 1);
    batch_builder_init(&builder);
    deflater_init(&deflater);
}

static void end(void)
{
    batch_builder_fini(&builder);
    deflater_fini(&deflater);
    desk_end(&desk);
}

/* One record; epoch -1: of nobody. */
static enum err produce_as(const char *topic, int16_t epoch, int32_t sequence)
{
    const uint8_t *bytes;
    batch_builder_start(&builder);
    batch_builder_add(&builder, 1000 + sequence, BYTES_NULL,
                      (struct bytes_or_null){.data = (const uint8_t *)"value", .len = 5}, NULL, 0);
    builder.header.producer_id = epoch < 0 ? -1 : PRODUCER;
    builder.header.producer_epoch = epoch;
    builder.header.base_sequence = epoch < 0 ? -1 : sequence;
    size_t len = batch_builder_finish(&builder, &deflater, CODEC_NONE, 1, &bytes);
    return (enum err)batch_produce(&desk, topic, 7, bytes, len).error_code;
}

static void produce(const char *topic, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        assert_int_equal(produce_as(topic, -1, 0), ERR_NONE);
}

static void crash(enum crash kind)
{
    desk_broker_crash(&desk, kind);
    desk_broker_start(&desk, 1);
    desk_pass(&desk, 1000); /* the controller gives its epochs */
}

static int32_t epoch_of(const char *topic)
{
    struct metadata_response response = metadata_ask(&desk, 0, topic, 9);
    assert_int_equal(response.topics[0].partitions[0].error_code, ERR_NONE);
    return response.topics[0].partitions[0].leader_epoch;
}

static int64_t end_of_epoch(const char *topic, int32_t epoch)
{
    struct offset_for_leader_epoch_request request;
    struct offset_for_leader_epoch_request_topic one;
    struct offset_for_leader_epoch_request_partition part;
    struct offset_for_leader_epoch_response response;
    init_offset_for_leader_epoch_request(&request);
    init_offset_for_leader_epoch_request_topic(&one);
    init_offset_for_leader_epoch_request_partition(&part);
    request.replica_id = -1;
    request.topics = &one;
    request.topics_count = 1;
    one.topic = str_of(topic);
    one.partitions = &part;
    one.partitions_count = 1;
    part.current_leader_epoch = -1;
    part.leader_epoch = epoch;
    desk_ask(&desk, 0, KEY_OFFSET_FOR_LEADER_EPOCH, 3, &request, &response);
    assert_int_equal(response.topics[0].partitions[0].error_code, ERR_NONE);
    return response.topics[0].partitions[0].end_offset;
}

static void describes(const char *topic, const char *mode)
{
    struct describe_configs_request request;
    struct describe_configs_request_resource resource;
    struct describe_configs_response response;
    struct str key = str_of("millrace.durability");
    init_describe_configs_request(&request);
    init_describe_configs_request_resource(&resource);
    resource.resource_type = 2;
    resource.resource_name = str_of(topic);
    resource.configuration_keys = &key;
    resource.configuration_keys_count = 1;
    request.resources = &resource;
    request.resources_count = 1;
    desk_ask(&desk, 0, KEY_DESCRIBE_CONFIGS, 1, &request, &response);
    assert_int_equal(response.results[0].configs_count, 1);
    assert_true(str_equal(response.results[0].configs[0].value, str_of(mode)));
}

static void modes_are_told(void **state)
{
    (void)state;
    begin(1);
    TOPIC(&desk, "silent", SET("retention.ms", "-1"));
    TOPIC(&desk, "os", SET("millrace.durability", "os"));
    TOPIC(&desk, "never", SET("millrace.durability", "never"));
    describes("silent", "durable");
    describes("os", "os");
    describes("never", "never");
    config_set(&desk, "os", "millrace.durability", "durable");
    describes("os", "durable");
    end();
}

static void a_kill_takes_nothing_of_os(void **state)
{
    (void)state;
    begin(2);
    TOPIC(&desk, "durable", SET("retention.ms", "-1"));
    TOPIC(&desk, "os", SET("millrace.durability", "os"));
    produce("durable", RECORDS);
    produce("os", RECORDS);
    crash(CRASH_KILL);
    assert_int_equal(offset_at(&desk, "os", LATEST), RECORDS);
    assert_int_equal(epoch_of("os"), 1);
    assert_int_equal(epoch_of("durable"), 0); /* of the concerned only */
    produce("os", 1);
    desk_broker_stop(&desk);
    desk_broker_start(&desk, 1);
    assert_int_equal(offset_at(&desk, "os", LATEST), RECORDS + 1);
    assert_int_equal(epoch_of("os"), 1); /* a clean stop loses nothing */
    end();
}

/* What is gone is an end of the log, the old epoch ends there, and what was durable is there. */
static void power_takes_an_end_of_os(void **state)
{
    uint32_t seeds_that_lost = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        begin(seed);
        TOPIC(&desk, "durable", SET("retention.ms", "-1"));
        TOPIC(&desk, "os", SET("millrace.durability", "os"));
        produce("os", 1);
        produce("durable", 1); /* what is durable is so with all before it */
        produce("os", RECORDS - 1);
        crash(CRASH_POWER);
        int64_t left = offset_at(&desk, "os", LATEST);
        assert_in_range(left, 1, RECORDS);
        assert_int_equal(offset_at(&desk, "durable", LATEST), 1);
        assert_int_equal(epoch_of("os"), 1);
        assert_int_equal(epoch_of("durable"), 0);
        produce("os", 2);
        assert_int_equal(end_of_epoch("os", 0), left);
        assert_int_equal(end_of_epoch("os", 1), left + 2);
        seeds_that_lost += left < RECORDS;
        end();
    }
    assert_in_range(seeds_that_lost, 1, SEEDS);
}

/* A producer whose batches are gone cannot go on where it was, and is not refused for ever. */
static void a_producer_begins_anew(void **state)
{
    uint32_t seeds_that_lost = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        begin(seed);
        TOPIC(&desk, "never", SET("millrace.durability", "never"));
        for (int32_t i = 0; i < RECORDS; i++)
            assert_int_equal(produce_as("never", 0, i), ERR_NONE);
        crash(CRASH_POWER);
        int64_t left = offset_at(&desk, "never", LATEST);
        if (left > 0) { /* the last one that is there is known to be */
            assert_int_equal(produce_as("never", 0, (int32_t)left - 1), ERR_NONE);
            assert_int_equal(offset_at(&desk, "never", LATEST), left);
        }
        bool lost = left > 0 && left < RECORDS;
        assert_int_equal(produce_as("never", 0, RECORDS),
                         lost ? ERR_OUT_OF_ORDER_SEQUENCE_NUMBER : ERR_NONE);
        assert_int_equal(produce_as("never", 1, 0), ERR_NONE);
        assert_int_equal(produce_as("never", 1, 1), ERR_NONE);
        seeds_that_lost += lost;
        end();
    }
    assert_in_range(seeds_that_lost, 1, SEEDS);
}

/* The next acknowledgement after the change covers all that came before it; and the other way round
 * what was durable stays so. */
static void a_change_to_durable_covers_all(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        begin(seed);
        TOPIC(&desk, "topic", SET("millrace.durability", "never"));
        produce("topic", RECORDS);
        config_set(&desk, "topic", "millrace.durability", "durable");
        produce("topic", 1);
        crash(CRASH_POWER);
        assert_int_equal(offset_at(&desk, "topic", LATEST), RECORDS + 1);
        config_set(&desk, "topic", "millrace.durability", "os");
        produce("topic", RECORDS);
        crash(CRASH_POWER);
        assert_in_range(offset_at(&desk, "topic", LATEST), RECORDS + 1, 2 * RECORDS + 1);
        end();
    }
}

/* Plays until the power fails, seed after seed; false: in none did the topic end below `least`. */
static bool ends_below(int64_t least, uint64_t seeds, void (*play)(void))
{
    bool below = false;
    for (uint64_t seed = 1; seed <= seeds && !below; seed++) {
        begin(seed);
        play();
        crash(CRASH_POWER);
        below = offset_at(&desk, "topic", LATEST) < least;
        end();
    }
    return below;
}

/* What must hold does, and does not with the deliberate mistake. */
static void holds_but_for(const char *mistake, int64_t least, void (*play)(void))
{
    assert_false(ends_below(least, SEEDS, play));
    desk_mistake = mistake;
    assert_true(ends_below(least, MISTAKE_SEEDS, play));
    desk_mistake = NULL;
}

static void play_flush_messages(void)
{
    TOPIC(&desk, "topic", SET("millrace.durability", "never"), SET("flush.messages", "5"));
    produce("topic", RECORDS);
}

static void fewer_than_flush_messages_are_open(void **state)
{
    (void)state;
    holds_but_for("promise.flush_messages_ignored", RECORDS - 4, play_flush_messages);
}

static void play_flush_ms(void)
{
    TOPIC(&desk, "topic", SET("millrace.durability", "os"), SET("flush.ms", "20"));
    produce("topic", RECORDS);
    desk_pass(&desk, 40);
    produce("topic", 3);
}

static void flush_ms_flushes(void **state)
{
    (void)state;
    holds_but_for("promise.flush_ms_ignored", RECORDS, play_flush_ms);
}

/* A batch that was acknowledged from memory, sent again when its topic is durable. */
static void play_duplicate(void)
{
    TOPIC(&desk, "topic", SET("millrace.durability", "os"));
    for (int32_t i = 0; i < RECORDS; i++)
        assert_int_equal(produce_as("topic", 0, i), ERR_NONE);
    config_set(&desk, "topic", "millrace.durability", "durable");
    machine_disk_slow(desk.node.machine,
                      10); /* what the change itself makes durable takes its time */
    assert_int_equal(produce_as("topic", 0, RECORDS - 1), ERR_NONE);
}

static void a_duplicate_is_as_durable_as_its_topic(void **state)
{
    (void)state;
    holds_but_for("promise.duplicate_answered_as_before", RECORDS, play_duplicate);
}

/* Readers see what is acknowledged; records are deleted when they are durable. */
static void what_is_acknowledged_is_read(void **state)
{
    struct question question;
    int64_t low;
    (void)state;
    begin(3);
    TOPIC(&desk, "never", SET("millrace.durability", "never"));
    produce("never", RECORDS);
    assert_int_equal(offset_at(&desk, "never", LATEST), RECORDS);
    fetch_ask(&desk, &question, "never", 11, RECORDS - 1, 0);
    struct fetch_response_partition answer = fetch_answer(&question);
    assert_int_equal(answer.error_code, ERR_NONE);
    assert_int_equal(answer.high_watermark, RECORDS);
    assert_true(answer.records.span.len > 0);
    assert_int_equal(delete_records(&desk, "never", -1, &low), ERR_NONE);
    assert_int_equal(low, RECORDS);
    crash(CRASH_POWER);
    assert_int_equal(offset_at(&desk, "never", EARLIEST), RECORDS);
    assert_int_equal(offset_at(&desk, "never", LATEST), RECORDS);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modes_are_told),
        cmocka_unit_test(a_kill_takes_nothing_of_os),
        cmocka_unit_test(power_takes_an_end_of_os),
        cmocka_unit_test(a_producer_begins_anew),
        cmocka_unit_test(a_change_to_durable_covers_all),
        cmocka_unit_test(fewer_than_flush_messages_are_open),
        cmocka_unit_test(flush_ms_flushes),
        cmocka_unit_test(a_duplicate_is_as_durable_as_its_topic),
        cmocka_unit_test(what_is_acknowledged_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
