/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention and DeleteRecords as clients see them (D2, D4, D5, D7, C6, C11): a whole broker in the
 * simulated world, whose clock the test moves. Records carry the time of their append, unless said.
 */
#include "core/internal_topic.h"
#include "core/retention.h"
#include "tests/unit/sim/desk_topics.h"

#include <stdio.h>

#define CHECK_MS    1000 /* log.retention.check.interval.ms */
#define TIMES_MAX   256
#define LARGE_BYTES 700000U /* two of them do not fit in a segment of 1 MiB */

static void begin(struct desk *desk, uint64_t seed)
{
    desk_begin(desk, seed);
    desk->node.retention_bytes = -1;
    desk->node.tail_bytes = 16U << 20;
    desk->node.journal_bytes = 4U << 20;
    desk_set(desk, "log.retention.check.interval.ms", "1000");
    desk_set(desk, "connections.max.idle.ms", "-1"); /* hours pass */
    desk_broker_start(desk, 2);
}

/* ---- asking ---- */

#define BROKER_TIME SET("message.timestamp.type", "LogAppendTime")
#define ANY_TIME    SET("message.timestamp.after.max.ms", "9223372036854775807")

/* One record; the time that it was given. `timestamp` is of the producer, with CreateTime. */
static int64_t produce(struct desk *desk, const char *name, uint32_t value_len, int64_t timestamp)
{
    struct batch_builder builder;
    const uint8_t *bytes;
    uint8_t *value = calloc(1, value_len);
    batch_builder_init(&builder);
    batch_builder_start(&builder);
    batch_builder_add(&builder, timestamp, (struct bytes_or_null){(const uint8_t *)"key", 3},
                      (struct bytes_or_null){value, (int32_t)value_len}, NULL, 0);
    size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
    const struct produce_response_partition answer = batch_produce(desk, name, 9, bytes, len);
    assert_int_equal(answer.error_code, ERR_NONE);
    batch_builder_fini(&builder);
    free(value);
    return answer.log_append_time_ms;
}

/* The error; and the offset of the first batch that came, -1: none. */
static enum err fetch_take(struct question *question, int64_t *base_offset)
{
    const struct fetch_response_partition part = fetch_answer(question);
    *base_offset = -1;
    if (part.records.kind == RECORDS_SPAN && part.records.span.len >= BATCH_HEADER_SIZE) {
        uint8_t bytes[BATCH_HEADER_SIZE];
        struct batch_header header;
        span_peek(&part.records.span, bytes, sizeof(bytes));
        batch_header_of(&header, bytes);
        *base_offset = header.base_offset;
    }
    return (enum err)part.error_code;
}

static enum err fetch(struct desk *desk, const char *name, int64_t offset, int64_t *base_offset)
{
    struct question question;
    fetch_ask(desk, &question, name, 11, offset, 0);
    return fetch_take(&question, base_offset);
}

/* ---- by time ---- */

/* A minute is kept, a consumer is away for two. */
static void d4_what_is_gone_is_gone_and_nothing_else(void **state)
{
    (void)state;
    struct desk desk;
    int64_t times[TIMES_MAX];
    int32_t count = 0;
    int64_t base;
    begin(&desk, 1);
    TOPIC(&desk, "minute", BROKER_TIME, SET("retention.ms", "60000"), SET("segment.ms", "10000"));
    for (; count < 40; count++, desk_pass(&desk, 5000))
        times[count] = produce(&desk, "minute", 100, 0);
    const int64_t now_ms = times[count - 1] + 5000;
    const int64_t start = offset_at(&desk, "minute", EARLIEST);
    /* A segment has up to three batches in 10 s: all that are younger than a minute are here, and
     * none that is older than that by a segment and a sweep. */
    assert_true(start > 0 && start < count);
    for (int32_t i = 0; i < count; i++) {
        const enum err error = fetch(&desk, "minute", i, &base);
        assert_int_equal(error, i < start ? ERR_OFFSET_OUT_OF_RANGE : ERR_NONE);
        assert_int_equal(base, i < start ? -1 : i);
        if (now_ms - times[i] <= 60000)
            assert_true(i >= start);
        if (now_ms - times[i] > 60000 + 10000 + CHECK_MS + 5000)
            assert_true(i < start);
    }
    assert_int_equal(offset_at(&desk, "minute", LATEST), count);
    desk_end(&desk);
}

static void d4_the_active_segment_goes_too(void **state)
{
    (void)state;
    for (unsigned end = 0; end < 3; end++) {
        struct desk desk;
        int64_t base;
        begin(&desk, 2 + end);
        TOPIC(&desk, "silent", BROKER_TIME, SET("retention.ms", "60000"));
        for (unsigned i = 0; i < 5; i++)
            (void)produce(&desk, "silent", 100, 0);
        desk_pass(&desk, 50000);
        assert_int_equal(offset_at(&desk, "silent", EARLIEST), 0);
        desk_pass(&desk, 15000);
        assert_int_equal(offset_at(&desk, "silent", EARLIEST), 5);
        assert_int_equal(fetch(&desk, "silent", 5, &base), ERR_NONE);
        if (end == 0)
            desk_broker_stop(&desk);
        else
            desk_broker_crash(&desk, end == 1 ? CRASH_KILL : CRASH_POWER);
        desk_broker_start(&desk, 1);
        assert_int_equal(offset_at(&desk, "silent", EARLIEST), 5);
        assert_int_equal(offset_at(&desk, "silent", LATEST), 5);
        (void)produce(&desk, "silent", 100, 0);
        assert_int_equal(fetch(&desk, "silent", 5, &base), ERR_NONE);
        assert_int_equal(base, 5);
        desk_end(&desk);
    }
}

/* What a restart forgot of its segments is read again. */
static void d4_age_is_known_after_a_restart(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 5);
    TOPIC(&desk, "kept", BROKER_TIME, SET("retention.ms", "60000"), SET("segment.ms", "10000"));
    for (unsigned i = 0; i < 6; i++, desk_pass(&desk, 5000))
        (void)produce(&desk, "kept", 100, 0);
    desk_broker_stop(&desk);
    desk_pass(&desk, 10000);
    desk_broker_start(&desk, 2);
    desk_pass(&desk, 5000);
    assert_int_equal(offset_at(&desk, "kept", EARLIEST), 0);
    desk_pass(&desk, 50000);
    assert_int_equal(offset_at(&desk, "kept", EARLIEST), 6);
    desk_end(&desk);
}

static void d5_one_record_from_the_future_keeps_its_segment(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 6);
    TOPIC(&desk, "clock", BROKER_TIME, SET("retention.ms", "-1"));
    const int64_t now_ms = produce(&desk, "clock", 1, 0);
    TOPIC(&desk, "future", ANY_TIME, SET("retention.ms", "60000"));
    (void)produce(&desk, "future", 100, now_ms);
    (void)produce(&desk, "future", 100, now_ms + 3600000);
    (void)produce(&desk, "future", 100, now_ms);
    desk_pass(&desk, 600000);
    assert_int_equal(offset_at(&desk, "future", EARLIEST), 0);
    desk_pass(&desk, 3600000);
    assert_int_equal(offset_at(&desk, "future", EARLIEST), 3);
    desk_end(&desk);
}

static void d7_a_compacted_topic_keeps_old_records(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 7);
    TOPIC(&desk, "compact", BROKER_TIME, SET("retention.ms", "60000"),
          SET("cleanup.policy", "compact"));
    TOPIC(&desk, "both", BROKER_TIME, SET("retention.ms", "60000"),
          SET("cleanup.policy", "compact,delete"));
    (void)produce(&desk, "compact", 100, 0);
    (void)produce(&desk, "both", 100, 0);
    desk_pass(&desk, 120000);
    assert_int_equal(offset_at(&desk, "compact", EARLIEST), 0);
    assert_int_equal(offset_at(&desk, "both", EARLIEST), 1);
    desk_end(&desk);
}

static void c11_a_new_retention_holds_at_once(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 8);
    TOPIC(&desk, "live", BROKER_TIME, SET("retention.ms", "-1"));
    (void)produce(&desk, "live", 100, 0);
    desk_pass(&desk, 120000);
    assert_int_equal(offset_at(&desk, "live", EARLIEST), 0);
    config_set(&desk, "live", "retention.ms", "60000");
    desk_pass(&desk, 2 * CHECK_MS);
    assert_int_equal(offset_at(&desk, "live", EARLIEST), 1);
    desk_end(&desk);
}

static void a_clock_that_jumps_deletes_nothing_for_an_hour(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 9);
    TOPIC(&desk, "week", BROKER_TIME, SET("retention.ms", "604800000"));
    (void)produce(&desk, "week", 100, 0);
    desk_pass(&desk, 5000);
    machine_jump_wall(desk.node.machine, 30LL * 86400000);
    desk_pass(&desk, CLOCK_JUMP_REST_MS - 60000);
    assert_int_equal(offset_at(&desk, "week", EARLIEST), 0);
    desk_pass(&desk, 120000);
    assert_int_equal(offset_at(&desk, "week", EARLIEST), 1);
    desk_end(&desk);
}

/* ---- by size ---- */

static void d4_the_oldest_segments_go_while_enough_is_left(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 10);
    TOPIC(&desk, "size", BROKER_TIME, SET("segment.bytes", "1048576"),
          SET("retention.bytes", "2000000"));
    for (unsigned i = 0; i < 3; i++)
        (void)produce(&desk, "size", LARGE_BYTES, 0);
    desk_pass(&desk, 3 * CHECK_MS);
    assert_int_equal(offset_at(&desk, "size", EARLIEST), 0); /* without the first: too little */
    (void)produce(&desk, "size", LARGE_BYTES, 0);
    desk_pass(&desk, 3 * CHECK_MS);
    assert_int_equal(offset_at(&desk, "size", EARLIEST), 1);
    desk_end(&desk);
}

/* ---- DeleteRecords ---- */

static void c6_records_are_deleted_up_to_an_offset(void **state)
{
    (void)state;
    struct desk desk;
    int64_t low;
    int64_t base;
    begin(&desk, 11);
    TOPIC(&desk, "orders", BROKER_TIME);
    for (unsigned i = 0; i < 10; i++)
        (void)produce(&desk, "orders", 100, 0);
    assert_int_equal(delete_records(&desk, "orders", 4, &low), ERR_NONE);
    assert_int_equal(low, 4);
    assert_int_equal(fetch(&desk, "orders", 3, &base), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(fetch(&desk, "orders", 4, &base), ERR_NONE);
    assert_int_equal(base, 4);
    assert_int_equal(delete_records(&desk, "orders", 2, &low), ERR_NONE); /* gone already */
    assert_int_equal(low, 4);
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 1);
    assert_int_equal(offset_at(&desk, "orders", EARLIEST), 4);
    assert_int_equal(delete_records(&desk, "orders", -1, &low), ERR_NONE);
    assert_int_equal(low, 10);
    assert_int_equal(offset_at(&desk, "orders", EARLIEST), 10);
    desk_end(&desk);
}

static uint32_t segment_files(struct desk *desk, const char *directory)
{
    struct fs_list list = {0};
    uint32_t count = 0;
    assert_int_equal(fs_list(machine_fs(desk->node.machine), directory, &list), 0);
    for (uint32_t i = 0; i < list.count; i++)
        count += strstr(list.names[i], ".log") != NULL;
    fs_list_free(&list);
    return count;
}

/* Files below the start are not cut to their data, as they are about to go: Kafka's tools would
 * complain of what lies behind it. */
static void c6_a_stop_leaves_no_file_of_what_is_deleted(void **state)
{
    (void)state;
    struct desk desk;
    int64_t low;
    begin(&desk, 40);
    TOPIC(&desk, "orders", BROKER_TIME, SET("file.delete.delay.ms", "3600000"));
    for (unsigned i = 0; i < 3; i++)
        (void)produce(&desk, "orders", 100, 0);
    desk_pass(&desk, 10000); /* it is in its file */
    assert_int_equal(segment_files(&desk, "/data/orders-0"), 1);
    assert_int_equal(delete_records(&desk, "orders", -1, &low), ERR_NONE);
    assert_int_equal(low, 3);
    desk_pass(&desk, 10000);
    assert_int_equal(segment_files(&desk, "/data/orders-0"), 1); /* for an hour */
    desk_broker_stop(&desk);
    assert_int_equal(segment_files(&desk, "/data/orders-0"), 0);
    desk_broker_start(&desk, 2);
    assert_int_equal(offset_at(&desk, "orders", EARLIEST), 3);
    assert_int_equal(offset_at(&desk, "orders", LATEST), 3);
    (void)produce(&desk, "orders", 100, 0);
    assert_int_equal(offset_at(&desk, "orders", LATEST), 4);
    desk_end(&desk);
}

static void c6_what_is_refused(void **state)
{
    (void)state;
    struct desk desk;
    int64_t low;
    begin(&desk, 12);
    TOPIC(&desk, "orders", BROKER_TIME);
    TOPIC(&desk, "compact", SET("cleanup.policy", "compact"));
    (void)produce(&desk, "orders", 100, 0);
    assert_int_equal(delete_records(&desk, "orders", 2, &low), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(low, -1);
    assert_int_equal(delete_records(&desk, "orders", -2, &low), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(delete_records(&desk, "compact", 0, &low), ERR_POLICY_VIOLATION);
    assert_int_equal(delete_records(&desk, "nowhere", 0, &low), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(offset_at(&desk, "orders", EARLIEST), 0);
    desk_end(&desk);
}

/* Who waits at the end is told that his place is gone when more was deleted than he has read. */
static void f2_a_waiting_fetch_learns_of_a_new_start(void **state)
{
    (void)state;
    struct desk desk;
    struct question waiting;
    int64_t base;
    int64_t low;
    begin(&desk, 13);
    TOPIC(&desk, "orders", BROKER_TIME);
    (void)produce(&desk, "orders", 100, 0);
    fetch_ask(&desk, &waiting, "orders", 11, 1, 60000);
    desk_pass(&desk, 100);
    assert_false(waiting.done);
    (void)produce(&desk, "orders", 100, 0);
    assert_int_equal(fetch_take(&waiting, &base), ERR_NONE);
    assert_int_equal(base, 1);
    assert_int_equal(delete_records(&desk, "orders", -1, &low), ERR_NONE);
    assert_int_equal(fetch(&desk, "orders", 1, &base), ERR_OFFSET_OUT_OF_RANGE);
    desk_end(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(d4_what_is_gone_is_gone_and_nothing_else),
        cmocka_unit_test(d4_the_active_segment_goes_too),
        cmocka_unit_test(d4_age_is_known_after_a_restart),
        cmocka_unit_test(d5_one_record_from_the_future_keeps_its_segment),
        cmocka_unit_test(d7_a_compacted_topic_keeps_old_records),
        cmocka_unit_test(c11_a_new_retention_holds_at_once),
        cmocka_unit_test(a_clock_that_jumps_deletes_nothing_for_an_hour),
        cmocka_unit_test(d4_the_oldest_segments_go_while_enough_is_left),
        cmocka_unit_test(c6_records_are_deleted_up_to_an_offset),
        cmocka_unit_test(c6_a_stop_leaves_no_file_of_what_is_deleted),
        cmocka_unit_test(c6_what_is_refused),
        cmocka_unit_test(f2_a_waiting_fetch_learns_of_a_new_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
