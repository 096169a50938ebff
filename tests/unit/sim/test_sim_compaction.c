/* SPDX-License-Identifier: Apache-2.0
 *
 * Compaction as clients see it (B12, D7 to D11, D16): a whole broker in the simulated world, whose
 * clock the test moves. Segments are of 1 MiB, so that records of LARGE bytes fill one by threes.
 */
#include "core/clock_jump.h"
#include "core/internal_topic.h"
#include "tests/unit/sim/desk_topics.h"

#include <stdio.h>

#define BACKOFF_MS  1000 /* log.cleaner.backoff.ms */
#define LARGE       300000
#define OFFSETS_MAX 512

/* Time for a segment to be sealed, for the checkpoint behind that, and for a sweep. */
#define SETTLE_MS (6000 + 6000 + 3 * BACKOFF_MS)

static void begin(struct desk *desk, uint64_t seed)
{
    desk_begin(desk, seed);
    desk->node.retention_bytes = -1;
    desk->node.tail_bytes = 16U << 20;
    desk->node.journal_bytes = 4U << 20;
    desk_set(desk, "log.cleaner.backoff.ms", "1000");
    desk_set(desk, "log.retention.check.interval.ms", "1000");
    desk_set(desk, "connections.max.idle.ms", "-1"); /* hours pass */
    desk_broker_start(desk, 2);
}

#define COMPACT   SET("cleanup.policy", "compact")
#define SMALL     SET("segment.bytes", "1048576")
#define ANY_DIRT  SET("min.cleanable.dirty.ratio", "0")
#define RETENTION SET("delete.retention.ms", "60000")

struct desk_record {
    const char *key;     /* NULL: none */
    int64_t value_len;   /* zeros; -1: a tombstone */
    int64_t timestamp;   /* the producer's, with CreateTime */
    int64_t producer_id; /* 0: none; else epoch 0 and this sequence */
    int32_t sequence;
};

/* One record in a batch of its own. */
static struct produce_response_partition produce_record(struct desk *desk, const char *name,
                                                        const struct desk_record *record)
{
    struct batch_builder builder;
    const uint8_t *bytes;
    struct bytes_or_null key = BYTES_NULL;
    struct bytes_or_null value = BYTES_NULL;
    uint8_t *zeros = calloc(1, (size_t)max_i64(record->value_len, 1));
    must(zeros != NULL);
    batch_builder_init(&builder);
    batch_builder_start(&builder);
    if (record->producer_id > 0) {
        builder.header.producer_id = record->producer_id;
        builder.header.producer_epoch = 0;
        builder.header.base_sequence = record->sequence;
    }
    if (record->key)
        key = (struct bytes_or_null){record->key, (int32_t)strlen(record->key)};
    if (record->value_len >= 0)
        value = (struct bytes_or_null){zeros, (int32_t)record->value_len};
    batch_builder_add(&builder, record->timestamp, key, value, NULL, 0);
    size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
    struct produce_response_partition answer = batch_produce(desk, name, 9, bytes, len);
    batch_builder_fini(&builder);
    free(zeros);
    return answer;
}

/* The offset of the first batch that comes for this one. */
static int64_t first_batch(struct desk *desk, const char *name, int64_t offset)
{
    struct question question;
    uint8_t bytes[BATCH_HEADER_SIZE];
    struct batch_header header;
    fetch_ask(desk, &question, name, 11, offset, 0);
    const struct fetch_response_partition part = fetch_answer(&question);
    assert_int_equal(part.error_code, ERR_NONE);
    assert_true(part.records.span.len >= BATCH_HEADER_SIZE);
    span_peek(&part.records.span, bytes, sizeof(bytes));
    batch_header_of(&header, bytes);
    return header.base_offset;
}

static int64_t put(struct desk *desk, const char *topic, const char *key, int64_t value_len)
{
    const struct desk_record record = {.key = key, .value_len = value_len};
    struct produce_response_partition answer = produce_record(desk, topic, &record);
    assert_int_equal(answer.error_code, ERR_NONE);
    return answer.base_offset;
}

/* ---- what is there ---- */

struct contents {
    bool there[OFFSETS_MAX];
    bool tombstone[OFFSETS_MAX];
    char keys[OFFSETS_MAX][16];
    uint32_t records;
    uint32_t batches;
};

static void take_records(struct contents *all, const struct span *span)
{
    struct inflater inflater;
    struct batch_header header;
    const uint8_t *bytes = (const uint8_t *)span->piece->data + span->skip;
    inflater_init(&inflater);
    for (uint32_t at = 0; span->len - at >= BATCH_HEADER_SIZE;) {
        struct record_iter iter;
        struct record record;
        struct piece piece;
        batch_header_of(&header, bytes + at);
        if (batch_size(&header) > span->len - at)
            break;
        struct span batch = span_of(&piece, bytes + at, (uint32_t)batch_size(&header));
        assert_int_equal(batch_crc(batch), header.crc);
        assert_true(record_iter_init(&iter, &inflater, batch, 1 << 30));
        while (record_iter_next(&iter, &record) == RECORD_READY) {
            assert_true(record.offset < OFFSETS_MAX && !all->there[record.offset]);
            all->there[record.offset] = true;
            all->tombstone[record.offset] = record.value == NULL;
            (void)snprintf(all->keys[record.offset], sizeof(all->keys[0]), "%.*s", record.key_len,
                           (const char *)record.key);
            all->records++;
        }
        record_iter_fini(&iter);
        all->batches++;
        at += (uint32_t)batch_size(&header);
    }
    inflater_fini(&inflater);
}

/* The offset after the last batch that came, `offset` when none did. */
static int64_t next_of(const struct span *span, int64_t offset)
{
    struct batch_header header;
    const uint8_t *bytes = (const uint8_t *)span->piece->data + span->skip;
    for (uint32_t at = 0; span->len - at >= BATCH_HEADER_SIZE;) {
        batch_header_of(&header, bytes + at);
        if (batch_size(&header) > span->len - at)
            break;
        at += (uint32_t)batch_size(&header);
        offset = batch_last_offset(&header) + 1;
    }
    return offset;
}

/* Everything, as a consumer reads it from the beginning. */
static void read_all(struct desk *desk, const char *topic, struct contents *all)
{
    int64_t offset = offset_at(desk, topic, EARLIEST);
    const int64_t end = offset_at(desk, topic, LATEST);
    memset(all, 0, sizeof(*all));
    while (offset < end) {
        struct question question;
        fetch_ask(desk, &question, topic, 11, offset, 0);
        const struct fetch_response_partition part = fetch_answer(&question);
        assert_int_equal(part.error_code, ERR_NONE);
        take_records(all, &part.records.span);
        int64_t next = next_of(&part.records.span, offset);
        assert_true(next > offset);
        offset = next;
    }
}

static int64_t newest_of(const struct contents *all, const char *key)
{
    int64_t newest = -1;
    for (int64_t i = 0; i < OFFSETS_MAX; i++)
        if (all->there[i] && strcmp(all->keys[i], key) == 0)
            newest = i;
    return newest;
}

/* ---- tests ---- */

static void d8_the_last_record_of_each_key_is_kept(void **state)
{
    (void)state;
    struct desk desk;
    struct contents before;
    struct contents after;
    char key[16];
    begin(&desk, 1);
    TOPIC(&desk, "table", COMPACT, SMALL);
    for (unsigned i = 0; i < 30; i++) {
        (void)snprintf(key, sizeof(key), "k%u", i % 4);
        (void)put(&desk, "table", key, LARGE);
    }
    read_all(&desk, "table", &before);
    assert_int_equal(before.records, 30);
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "table", &after);
    /* Three records to a segment, the last one active: 27 records become 4. */
    assert_int_equal(after.records, 7);
    for (int64_t i = 23; i < 30; i++)
        assert_true(after.there[i]);
    assert_int_equal(offset_at(&desk, "table", EARLIEST), 0);
    assert_int_equal(offset_at(&desk, "table", LATEST), 30);
    /* D16: in a hole the next batch comes. */
    assert_int_equal(first_batch(&desk, "table", 5), 23);
    for (unsigned end = 0; end < 3; end++) {
        if (end == 0)
            desk_broker_stop(&desk);
        else
            desk_broker_crash(&desk, end == 1 ? CRASH_KILL : CRASH_POWER);
        desk_broker_start(&desk, (uint16_t)(end + 1));
        read_all(&desk, "table", &after);
        assert_int_equal(after.records, 7);
        assert_int_equal(first_batch(&desk, "table", 1), 23);
        assert_int_equal(offset_at(&desk, "table", LATEST), 30);
    }
    desk_end(&desk);
}

static void d9_the_dirty_ratio_is_waited_for(void **state)
{
    (void)state;
    struct desk desk;
    struct contents all;
    begin(&desk, 2);
    TOPIC(&desk, "table", COMPACT, SMALL, ANY_DIRT);
    char key[16];
    for (unsigned i = 0; i < 31; i++) {
        (void)snprintf(key, sizeof(key), "k%u", i);
        (void)put(&desk, "table", key, LARGE); /* nothing can go */
    }
    desk_pass(&desk, SETTLE_MS);
    config_set(&desk, "table", "min.cleanable.dirty.ratio", "0.5");
    for (unsigned i = 0; i < 12; i++)
        (void)put(&desk, "table", "k0", LARGE);
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "table", &all);
    assert_int_equal(all.records, 43); /* a third is dirty: less than a half */
    config_set(&desk, "table", "min.cleanable.dirty.ratio", "0.1");
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "table", &all);
    assert_true(all.records < 43 && newest_of(&all, "k0") == 42 && newest_of(&all, "k7") == 7);
    desk_end(&desk);
}

/* Kept for its time from the first pass on that met it, then gone with the next. */
static void d10_a_tombstone_stays_for_its_time(void **state)
{
    (void)state;
    struct desk desk;
    struct contents all;
    begin(&desk, 3);
    TOPIC(&desk, "table", COMPACT, SMALL, ANY_DIRT, RETENTION);
    (void)put(&desk, "table", "dead", LARGE);
    (void)put(&desk, "table", "dead", -1);
    for (unsigned i = 0; i < 4; i++)
        (void)put(&desk, "table", "other", LARGE);
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "table", &all);
    assert_false(all.there[0]);
    assert_true(all.there[1] && all.tombstone[1]);
    desk_pass(&desk, 30000);
    for (unsigned i = 0; i < 4; i++)
        (void)put(&desk, "table", "other", LARGE);
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "table", &all);
    assert_true(all.there[1]); /* a second pass, 45 s after the first */
    desk_pass(&desk, 30000);
    for (unsigned i = 0; i < 4; i++)
        (void)put(&desk, "table", "other", LARGE);
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "table", &all);
    assert_false(all.there[1]);
    desk_end(&desk);
}

static void d10_a_clock_that_jumps_ends_no_tombstone(void **state)
{
    (void)state;
    struct desk desk;
    struct contents all;
    begin(&desk, 4);
    TOPIC(&desk, "table", COMPACT, SMALL, ANY_DIRT, SET("delete.retention.ms", "86400000"));
    (void)put(&desk, "table", "dead", -1);
    for (unsigned i = 0; i < 4; i++)
        (void)put(&desk, "table", "other", LARGE);
    desk_pass(&desk, SETTLE_MS);
    machine_jump_wall(desk.node.machine, 30LL * 86400000);
    for (unsigned i = 0; i < 4; i++)
        (void)put(&desk, "table", "other", LARGE);
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "table", &all);
    assert_true(all.there[0] && all.records < 8);
    desk_pass(&desk, CLOCK_JUMP_REST_MS);
    for (unsigned i = 0; i < 4; i++)
        (void)put(&desk, "table", "other", LARGE);
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "table", &all);
    assert_false(all.there[0]);
    desk_end(&desk);
}

static void d9_nothing_younger_than_the_lag(void **state)
{
    (void)state;
    struct desk desk;
    struct contents all;
    begin(&desk, 5);
    TOPIC(&desk, "table", COMPACT, SMALL, ANY_DIRT, SET("message.timestamp.type", "LogAppendTime"),
          SET("min.compaction.lag.ms", "100000"));
    for (unsigned i = 0; i < 6; i++)
        (void)put(&desk, "table", "key", LARGE);
    desk_pass(&desk, 60000);
    for (unsigned i = 0; i < 6; i++)
        (void)put(&desk, "table", "key", LARGE);
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "table", &all);
    assert_int_equal(all.records, 12);
    desk_broker_crash(&desk, CRASH_KILL); /* times have to be found again */
    desk_broker_start(&desk, 1);
    desk_pass(&desk, 50000 - SETTLE_MS);
    read_all(&desk, "table", &all); /* the first six are older now */
    assert_true(all.records < 12 && !all.there[0] && all.there[5] && all.there[6]);
    desk_pass(&desk, 100000);
    read_all(&desk, "table", &all);
    assert_true(!all.there[5] && all.there[11]);
    desk_end(&desk);
}

/* The ratio would never be reached, and nobody fills the active segment. */
static void d9_the_greatest_lag_does_not_wait_for_dirt(void **state)
{
    (void)state;
    struct desk desk;
    struct contents all;
    begin(&desk, 6);
    TOPIC(&desk, "table", COMPACT, SMALL, SET("min.cleanable.dirty.ratio", "1"),
          SET("message.timestamp.type", "LogAppendTime"), SET("max.compaction.lag.ms", "60000"));
    (void)put(&desk, "table", "key", 100);
    (void)put(&desk, "table", "key", 100);
    desk_pass(&desk, 70000);
    (void)put(&desk, "table", "key", 100); /* rolls */
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "table", &all);
    assert_true(!all.there[0] && all.there[1] && all.there[2]);
    desk_end(&desk);
}

static void d7_both_policies(void **state)
{
    (void)state;
    struct desk desk;
    struct contents all;
    begin(&desk, 7);
    TOPIC(&desk, "both", SET("cleanup.policy", "compact,delete"), SMALL, ANY_DIRT,
          SET("message.timestamp.type", "LogAppendTime"), SET("retention.ms", "60000"));
    for (unsigned i = 0; i < 7; i++)
        (void)put(&desk, "both", "key", LARGE);
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "both", &all);
    assert_int_equal(all.records, 2); /* the newest of six, and the active segment's */
    assert_int_equal(offset_at(&desk, "both", EARLIEST), 0);
    desk_pass(&desk, 60000);
    assert_int_equal(offset_at(&desk, "both", EARLIEST), 7);
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 1);
    assert_int_equal(offset_at(&desk, "both", EARLIEST), 7);
    assert_int_equal(put(&desk, "both", "key", 10), 7);
    desk_end(&desk);
}

static void a_policy_that_changes(void **state)
{
    (void)state;
    struct desk desk;
    struct contents all;
    begin(&desk, 8);
    TOPIC(&desk, "topic", SMALL);
    (void)put(&desk, "topic", NULL, 100); /* a record without a key */
    for (unsigned i = 0; i < 7; i++)
        (void)put(&desk, "topic", "key", LARGE);
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "topic", &all);
    assert_int_equal(all.records, 8);
    config_set(&desk, "topic", "cleanup.policy", "compact");
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "topic", &all);
    assert_true(all.records < 8 && !all.there[0] && all.there[7]);
    /* B12 */
    const struct desk_record keyless = {.key = NULL, .value_len = 1};
    struct produce_response_partition answer = produce_record(&desk, "topic", &keyless);
    assert_int_equal(answer.error_code, ERR_INVALID_RECORD);
    assert_int_equal(answer.record_errors_count, 1);
    desk_end(&desk);
}

/* An idempotent producer goes on where it was, whatever became of its records. */
static void d11_a_producer_goes_on(void **state)
{
    (void)state;
    struct desk desk;
    struct contents all;
    begin(&desk, 9);
    TOPIC(&desk, "table", COMPACT, SMALL, ANY_DIRT);
    struct desk_record record = {.key = "key", .value_len = 1000, .producer_id = 77};
    for (record.sequence = 0; record.sequence < 3; record.sequence++)
        assert_int_equal(produce_record(&desk, "table", &record).error_code, ERR_NONE);
    for (unsigned i = 0; i < 7; i++)
        (void)put(&desk, "table", "key", LARGE);
    desk_pass(&desk, SETTLE_MS);
    read_all(&desk, "table", &all);
    assert_false(all.there[0] || all.there[1] || all.there[2]);
    /* An empty batch stands where its last one was. */
    assert_int_equal(first_batch(&desk, "table", 0), 2);
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 1);
    record.sequence = 2; /* sent again */
    struct produce_response_partition answer = produce_record(&desk, "table", &record);
    assert_int_equal(answer.error_code, ERR_NONE);
    assert_int_equal(answer.base_offset, 2);
    record.sequence = 4;
    assert_int_equal(produce_record(&desk, "table", &record).error_code,
                     ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    record.sequence = 3;
    assert_int_equal(produce_record(&desk, "table", &record).error_code, ERR_NONE);
    desk_end(&desk);
}

/* Times are found in what is left, and not in batches that are empty. */
static void l2_times_after_compaction(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 10);
    TOPIC(&desk, "table", COMPACT, SMALL, ANY_DIRT);
    struct desk_record record = {
        .key = "key", .value_len = LARGE, .timestamp = 5000, .producer_id = 78};
    assert_int_equal(produce_record(&desk, "table", &record).error_code, ERR_NONE);
    record.producer_id = 0;
    for (unsigned i = 0; i < 7; i++) {
        record.timestamp = 1000 + i;
        assert_int_equal(produce_record(&desk, "table", &record).error_code, ERR_NONE);
    }
    assert_int_equal(offset_at(&desk, "table", 1002), 0);
    desk_pass(&desk, SETTLE_MS);
    for (unsigned restart = 0; restart < 2; restart++) {
        assert_int_equal(offset_at(&desk, "table", 1), 5); /* the newest of six */
        assert_int_equal(offset_at(&desk, "table", 1006), 7);
        assert_int_equal(offset_at(&desk, "table", 5000), -1);
        assert_int_equal(offset_at(&desk, "table", -3), 7);
        desk_broker_stop(&desk);
        desk_broker_start(&desk, 1);
    }
    desk_end(&desk);
}

static int64_t log_bytes(struct desk *desk, const char *name)
{
    struct describe_log_dirs_request request;
    struct describe_log_dirs_response response;
    init_describe_log_dirs_request(&request);
    request.topics_count = -1;
    desk_ask(desk, 0, KEY_DESCRIBE_LOG_DIRS, 1, &request, &response);
    int64_t bytes = 0;
    for (int32_t i = 0; i < response.results[0].topics_count; i++) {
        const struct describe_log_dirs_response_topic *topic = &response.results[0].topics[i];
        for (int32_t p = 0; str_equal(topic->name, str_of(name)) && p < topic->partitions_count;
             p++)
            bytes += topic->partitions[p].partition_size;
    }
    return bytes;
}

static void commit_offset(struct desk *desk, int64_t offset, const char *metadata)
{
    struct offset_commit_request request;
    struct offset_commit_request_topic topic;
    struct offset_commit_request_partition part;
    struct offset_commit_response response;
    init_offset_commit_request(&request);
    init_offset_commit_request_topic(&topic);
    init_offset_commit_request_partition(&part);
    request.group_id = str_of("readers");
    request.generation_id_or_member_epoch = -1;
    request.topics = &topic;
    request.topics_count = 1;
    topic.name = str_of("orders");
    topic.partitions = &part;
    topic.partitions_count = 1;
    part.committed_offset = offset;
    part.committed_metadata = str_of(metadata);
    desk_ask(desk, 0, KEY_OFFSET_COMMIT, 5, &request, &response);
    assert_int_equal(response.topics[0].partitions[0].error_code, ERR_NONE);
}

static int64_t committed_offset(struct desk *desk)
{
    struct offset_fetch_request request;
    struct offset_fetch_request_topic topic;
    struct offset_fetch_response response;
    int32_t index = 0;
    init_offset_fetch_request(&request);
    init_offset_fetch_request_topic(&topic);
    request.group_id = str_of("readers");
    request.topics = &topic;
    request.topics_count = 1;
    topic.name = str_of("orders");
    topic.partition_indexes = &index;
    topic.partition_indexes_count = 1;
    for (unsigned i = 0; i < 100; i++, desk_pass(desk, 100)) {
        desk_ask(desk, 0, KEY_OFFSET_FETCH, 5, &request, &response);
        if (response.error_code == ERR_NONE)
            return response.topics[0].partitions[0].committed_offset;
    }
    fail_msg("no offset: %s", err_name(response.error_code));
    return -1;
}

static void coordinator_make(struct desk *desk)
{
    struct find_coordinator_request request;
    struct find_coordinator_response response;
    init_find_coordinator_request(&request);
    request.key = str_of("readers");
    do {
        desk_ask(desk, 0, KEY_FIND_COORDINATOR, 2, &request, &response);
        desk_pass(desk, 100);
    } while (response.error_code != ERR_NONE);
}

/* What groups have written is compacted like anything else, and a start reads what is left. */
static void o7_consumer_offsets_do_not_grow_for_ever(void **state)
{
    (void)state;
    struct desk desk;
    char metadata[4001] = "";
    desk_begin(&desk, 11);
    desk_set(&desk, "offsets.topic.segment.bytes", "1");
    desk.node.retention_bytes = -1;
    desk.node.tail_bytes = 16U << 20;
    desk.node.journal_bytes = 4U << 20;
    desk_set(&desk, "log.cleaner.backoff.ms", "1000");
    desk_set(&desk, "connections.max.idle.ms", "-1");
    desk_broker_start(&desk, 2);
    TOPIC(&desk, "orders", SMALL);
    coordinator_make(&desk);
    memset(metadata, 'm', sizeof(metadata) - 1);
    for (unsigned i = 0; i < 800; i++)
        commit_offset(&desk, i, metadata);
    assert_true(log_bytes(&desk, INTERNAL_TOPIC_OFFSETS) > 3000000);
    desk_pass(&desk, SETTLE_MS);
    assert_true(log_bytes(&desk, INTERNAL_TOPIC_OFFSETS) < 1200000);
    assert_int_equal(committed_offset(&desk), 799);
    desk_broker_crash(&desk, CRASH_KILL);
    desk_broker_start(&desk, 1);
    assert_int_equal(committed_offset(&desk), 799);
    desk_end(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(d8_the_last_record_of_each_key_is_kept),
        cmocka_unit_test(d9_the_dirty_ratio_is_waited_for),
        cmocka_unit_test(d10_a_tombstone_stays_for_its_time),
        cmocka_unit_test(d10_a_clock_that_jumps_ends_no_tombstone),
        cmocka_unit_test(d9_nothing_younger_than_the_lag),
        cmocka_unit_test(d9_the_greatest_lag_does_not_wait_for_dirt),
        cmocka_unit_test(d7_both_policies),
        cmocka_unit_test(a_policy_that_changes),
        cmocka_unit_test(d11_a_producer_goes_on),
        cmocka_unit_test(l2_times_after_compaction),
        cmocka_unit_test(o7_consumer_offsets_do_not_grow_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
