/* SPDX-License-Identifier: Apache-2.0
 *
 * Time in the log as clients see it: whose timestamps are taken (B5 to B8), and which offset a time
 * has (L1 to L3), found by an index that is made of files nobody has to trust (D3).
 */
#include "tests/unit/sim/desk_batches.h"

#include "io/crc.h"

#include <endian.h>
#include <stdio.h>

#define FAR     "9223372036854775807"
#define ANY_AGE SET("message.timestamp.after.max.ms", FAR)

static void begin(struct desk *desk, uint64_t seed)
{
    desk_begin_small(desk, seed);
    desk->node.open_files_max = 8;
    desk_set(desk, "connections.max.idle.ms", "-1");
}

/* ---- batches ---- */

/* Records of `value_len` bytes with these timestamps. */
static void make(struct made *made, enum codec codec, uint32_t value_len, const int64_t *times,
                 int32_t count)
{
    uint8_t *value = calloc(1, value_len + 1);
    made_begin(made);
    for (int32_t i = 0; i < count; i++)
        batch_builder_add(&made->builder, times[i], BYTES_NULL,
                          (struct bytes_or_null){value, (int32_t)value_len}, NULL, 0);
    made_finish(made, codec);
    free(value);
}

/* A batch that no server takes for a new one when it comes again. */
static void make_idempotent(struct made *made, const int64_t *times, int32_t count)
{
    make(made, CODEC_NONE, 10, times, count);
    made_is_of_producer(made, 0);
    made_finish(made, CODEC_NONE);
}

static struct produce_response_partition send(struct desk *desk, const char *name, int16_t version,
                                              enum codec codec, const int64_t *times, int32_t count)
{
    struct made made;
    make(&made, codec, 100, times, count);
    struct produce_response_partition answer =
        batch_produce(desk, name, version, made.bytes, made.len);
    made_fini(&made);
    return answer;
}

#define SEND(desk, name, codec, ...)                                                               \
    send((desk), (name), 9, (codec), (int64_t[]){__VA_ARGS__},                                     \
         (int32_t)array_count(((int64_t[]){__VA_ARGS__})))

/* The broker's clock. */
static int64_t wall_ms(struct desk *desk)
{
    TOPIC(desk, "clock", SET("message.timestamp.type", "LogAppendTime"));
    return SEND(desk, "clock", CODEC_NONE, 0).log_append_time_ms;
}

/* As an older consumer is given it. */
static struct batch_header stored(struct desk *desk, const char *name, int64_t offset)
{
    struct span batch;
    return batch_stored(desk, name, 11, offset, &batch);
}

/* ---- whose time: B5 to B8 ---- */

static void b7_the_broker_s_time(void **state)
{
    struct desk desk;
    (void)state;
    begin(&desk, 1);
    desk_broker_start(&desk, 2);
    TOPIC(&desk, "append", SET("message.timestamp.type", "LogAppendTime"));
    int64_t before = wall_ms(&desk);
    for (enum codec codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        struct produce_response_partition answer = SEND(&desk, "append", codec, 1000, 5000, 3000);
        assert_int_equal(answer.error_code, ERR_NONE);
        int64_t time = answer.log_append_time_ms;
        assert_in_range(time, before, before + 1000);
        before = time + 1000;
        struct batch_header header = stored(&desk, "append", answer.base_offset);
        assert_true(header.attributes & BATCH_LOG_APPEND_TIME);
        assert_int_equal(batch_codec(&header), codec);
        assert_int_equal(header.base_timestamp, 1000);
        assert_int_equal(header.max_timestamp, time);
        /* Every record has the batch's time: the first one answers (L2). */
        struct list_offsets_response_partition found = offset_ask(&desk, "append", 5, time);
        assert_int_equal(found.offset, answer.base_offset);
        assert_int_equal(found.timestamp, time);
        found = offset_ask(&desk, "append", 9, MAX_TIMESTAMP);
        assert_int_equal(found.offset, answer.base_offset);
        assert_int_equal(found.timestamp, time);
        desk_pass(&desk, 1000);
    }
    desk_end(&desk);
}

static void b7_a_duplicate_is_answered_with_its_own_time(void **state)
{
    struct desk desk;
    struct made made;
    (void)state;
    begin(&desk, 2);
    desk_broker_start(&desk, 1);
    TOPIC(&desk, "append", SET("message.timestamp.type", "LogAppendTime"));
    make_idempotent(&made, (int64_t[]){1000, 2000}, 2);
    struct produce_response_partition first = made_produce(&desk, "append", &made);
    assert_int_equal(first.error_code, ERR_NONE);
    desk_pass(&desk, 5000);
    struct produce_response_partition again = made_produce(&desk, "append", &made);
    assert_int_equal(again.error_code, ERR_NONE);
    assert_int_equal(again.base_offset, first.base_offset);
    assert_int_equal(again.log_append_time_ms, first.log_append_time_ms);
    assert_int_equal(offset_at(&desk, "append", LATEST), 2);
    made_fini(&made);
    desk_end(&desk);
}

/* The type is the topic's at the moment of the append; the broker's key is its default. */
static void b7_the_type_changes_while_the_topic_lives(void **state)
{
    struct desk desk;
    (void)state;
    begin(&desk, 3);
    desk_set(&desk, "log.message.timestamp.type", "LogAppendTime");
    desk_broker_start(&desk, 2);
    TOPIC(&desk, "default", SET("retention.ms", "-1"));
    assert_true(SEND(&desk, "default", CODEC_NONE, 1000).log_append_time_ms > 0);
    config_set(&desk, "default", "message.timestamp.type", "CreateTime");
    desk_pass(&desk, 100);
    struct produce_response_partition answer = SEND(&desk, "default", CODEC_NONE, 4000, 3000);
    assert_int_equal(answer.log_append_time_ms, -1);
    struct batch_header header = stored(&desk, "default", answer.base_offset);
    assert_false(header.attributes & BATCH_LOG_APPEND_TIME);
    assert_int_equal(header.max_timestamp, 4000);
    config_set(&desk, "default", "message.timestamp.type", "LogAppendTime");
    desk_pass(&desk, 100);
    assert_true(SEND(&desk, "default", CODEC_NONE, 1000).log_append_time_ms > 0);
    desk_end(&desk);
}

static void b8_a_wrong_maximum_is_corrected(void **state)
{
    struct desk desk;
    struct made made;
    (void)state;
    begin(&desk, 4);
    desk_broker_start(&desk, 1);
    TOPIC(&desk, "times", ANY_AGE);
    make(&made, CODEC_LZ4, 50, (int64_t[]){4000, 9000, 5000}, 3);
    uint8_t lie[4096];
    memcpy(lie, made.bytes, made.len);
    batch_put_timestamp(lie, false, 77777);
    assert_int_equal(batch_produce(&desk, "times", 9, lie, made.len).error_code, ERR_NONE);
    assert_int_equal(stored(&desk, "times", 0).max_timestamp, 9000);
    made_fini(&made);
    desk_end(&desk);
}

static void check_refused(struct produce_response_partition answer, int32_t count,
                          const int32_t *indexes)
{
    assert_int_equal(answer.error_code, ERR_INVALID_TIMESTAMP);
    assert_int_equal(answer.base_offset, -1);
    assert_int_equal(answer.log_append_time_ms, -1);
    assert_int_equal(answer.record_errors_count, count);
    for (int32_t i = 0; i < count; i++) {
        assert_int_equal(answer.record_errors[i].batch_index, indexes[i]);
        assert_true(answer.record_errors[i].batch_index_error_message.len > 0);
    }
    assert_true(count == 0 || answer.error_message.len > 0);
}

static void b5_b6_timestamps_that_are_refused(void **state)
{
    struct desk desk;
    (void)state;
    begin(&desk, 5);
    desk_broker_start(&desk, 2);
    TOPIC(&desk, "window", SET("message.timestamp.before.max.ms", "60000"),
          SET("message.timestamp.after.max.ms", "1000"));
    const int64_t now = wall_ms(&desk);
    const int64_t good[] = {now - 50000, now + 500, -1, now};
    assert_int_equal(send(&desk, "window", 9, CODEC_NONE, good, 4).error_code, ERR_NONE);
    const int64_t bad[] = {now, now - 70000, now, now + 30000};
    check_refused(send(&desk, "window", 8, CODEC_NONE, bad, 4), 2, (int32_t[]){1, 3});
    check_refused(send(&desk, "window", 9, CODEC_GZIP, bad, 4), 2, (int32_t[]){1, 3});
    check_refused(send(&desk, "window", 7, CODEC_NONE, bad, 4), 0, NULL);
    struct made made; /* B5 */
    make(&made, CODEC_NONE, 10, (int64_t[]){now}, 1);
    uint8_t lie[256];
    memcpy(lie, made.bytes, made.len);
    batch_put_timestamp(lie, true, now);
    check_refused(batch_produce(&desk, "window", 9, lie, made.len), 1, (int32_t[]){0});
    made_fini(&made);
    assert_int_equal(offset_at(&desk, "window", LATEST), 4);
    /* Wider windows hold at once, and the broker's time knows none. */
    config_set(&desk, "window", "message.timestamp.before.max.ms", "80000");
    config_set(&desk, "window", "message.timestamp.after.max.ms", "40000");
    desk_pass(&desk, 100);
    assert_int_equal(send(&desk, "window", 9, CODEC_NONE, bad, 4).error_code, ERR_NONE);
    config_set(&desk, "window", "message.timestamp.type", "LogAppendTime");
    desk_pass(&desk, 100);
    assert_int_equal(SEND(&desk, "window", CODEC_NONE, 5, now + 10000000).error_code, ERR_NONE);
    desk_end(&desk);
}

/* Kafka 4's default: an hour ahead at most. */
static void b6_the_defaults(void **state)
{
    struct desk desk;
    (void)state;
    begin(&desk, 6);
    desk_broker_start(&desk, 1);
    TOPIC(&desk, "plain", SET("retention.ms", "-1"));
    const int64_t now = wall_ms(&desk);
    assert_int_equal(SEND(&desk, "plain", CODEC_NONE, 0, now + 3500000).error_code, ERR_NONE);
    check_refused(SEND(&desk, "plain", CODEC_NONE, now, now + 3700000), 1, (int32_t[]){1});
    desk_end(&desk);
}

/* ---- which offset: L1 to L3 ---- */

static void check_offset(struct desk *desk, const char *name, int16_t version, int64_t timestamp,
                         int64_t offset, int64_t found)
{
    struct list_offsets_response_partition answer = offset_ask(desk, name, version, timestamp);
    assert_int_equal(answer.error_code, ERR_NONE);
    assert_int_equal(answer.offset, offset);
    assert_int_equal(answer.timestamp, found);
    bool known = version >= 4 && offset >= 0;
    assert_int_equal(answer.leader_epoch, known ? 0 : -1);
}

static void l1_special_timestamps(void **state)
{
    struct desk desk;
    (void)state;
    begin(&desk, 7);
    desk_broker_start(&desk, 2);
    TOPIC(&desk, "empty", ANY_AGE);
    for (int16_t version = 1; version <= 9; version++) {
        check_offset(&desk, "empty", version, LATEST, 0, -1);
        check_offset(&desk, "empty", version, EARLIEST, 0, -1);
    }
    check_offset(&desk, "empty", 9, MAX_TIMESTAMP, -1, -1);
    TOPIC(&desk, "times", ANY_AGE);
    (void)SEND(&desk, "times", CODEC_NONE, 1000, 9000, 2000);
    (void)SEND(&desk, "times", CODEC_ZSTD, 3000, 9000, 4000);
    for (int16_t version = 1; version <= 9; version++) {
        check_offset(&desk, "times", version, LATEST, 6, -1);
        check_offset(&desk, "times", version, EARLIEST, 0, -1);
        static const struct {
            int64_t timestamp;
            int16_t since;
            int64_t offset, found;
        } special[] = {{MAX_TIMESTAMP, 7, 1, 9000},
                       {EARLIEST_LOCAL, 8, 0, -1},
                       {LATEST_TIERED, 9, -1, -1},
                       {-6, 99, 0, 0}};
        for (unsigned i = 0; i < array_count(special); i++) {
            if (version >= special[i].since)
                check_offset(&desk, "times", version, special[i].timestamp, special[i].offset,
                             special[i].found);
            else
                assert_int_equal(
                    offset_ask(&desk, "times", version, special[i].timestamp).error_code,
                    ERR_UNSUPPORTED_VERSION);
        }
    }
    desk_end(&desk);
}

static void l2_the_first_record_at_or_after_a_time(void **state)
{
    struct desk desk;
    (void)state;
    begin(&desk, 8);
    desk_broker_start(&desk, 2);
    for (enum codec codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        const char *name = codec_name((int)codec);
        TOPIC(&desk, name, ANY_AGE);
        (void)SEND(&desk, name, codec, 1000, 3000, 2000);
        (void)SEND(&desk, name, codec, 2500, 2600);
        (void)SEND(&desk, name, codec, -1, 5000, 4000);
        check_offset(&desk, name, 9, 0, 0, 1000);
        check_offset(&desk, name, 9, 1000, 0, 1000);
        check_offset(&desk, name, 9, 1001, 1, 3000); /* the record's own time */
        check_offset(&desk, name, 1, 2000, 1, 3000);
        check_offset(&desk, name, 9, 3001, 6, 5000);
        check_offset(&desk, name, 9, 5000, 6, 5000);
        check_offset(&desk, name, 9, 5001, -1, -1); /* none: no error */
    }
    desk_end(&desk);
}

/* Whether in one entry of the list or in two, of a topic that is there or not. */
static void l3_a_partition_that_is_named_twice(void **state)
{
    struct desk desk;
    struct list_offsets_request request;
    struct list_offsets_request_topic topics[5];
    struct list_offsets_request_partition parts[2];
    struct list_offsets_response response;
    (void)state;
    begin(&desk, 9);
    desk_broker_start(&desk, 1);
    TOPIC(&desk, "twice", ANY_AGE);
    TOPIC(&desk, "once", ANY_AGE);
    init_list_offsets_request(&request);
    for (unsigned i = 0; i < 2; i++) {
        init_list_offsets_request_partition(&parts[i]);
        parts[i].timestamp = LATEST;
    }
    static const struct {
        const char *name;
        int32_t times;
        int16_t error;
    } lists[2][5] = {
        {{"twice", 2, ERR_INVALID_REQUEST}, {"once", 1, ERR_NONE}},
        {{"twice", 1, ERR_INVALID_REQUEST},
         {"nowhere", 1, ERR_INVALID_REQUEST},
         {"once", 1, ERR_NONE},
         {"nowhere", 1, ERR_INVALID_REQUEST},
         {"twice", 1, ERR_INVALID_REQUEST}},
    };
    request.replica_id = -1;
    request.topics = topics;
    for (unsigned list = 0; list < 2; list++) {
        request.topics_count = 0;
        for (unsigned i = 0; i < 5 && lists[list][i].name; i++) {
            init_list_offsets_request_topic(&topics[i]);
            topics[i].name = str_of(lists[list][i].name);
            topics[i].partitions = parts;
            topics[i].partitions_count = lists[list][i].times;
            request.topics_count++;
        }
        desk_ask(&desk, 0, KEY_LIST_OFFSETS, 5, &request, &response);
        assert_int_equal(response.topics_count, request.topics_count);
        for (int32_t i = 0; i < response.topics_count; i++)
            for (int32_t n = 0; n < lists[list][i].times; n++)
                assert_int_equal(response.topics[i].partitions[n].error_code, lists[list][i].error);
    }
    desk_end(&desk);
}

/* ---- the index ---- */

#define BATCHES     160
#define VALUE_BYTES 9000U /* several batches between two entries, segments of about a hundred */

/* Mostly ascending, with records far ahead and far behind. */
static int64_t time_of(int batch)
{
    return 100000 + batch * 100 + (batch % 13 == 5 ? 650 : 0) - (batch % 17 == 3 ? 900 : 0);
}

static int first_at(int64_t timestamp, int from)
{
    for (int i = from; i < BATCHES; i++)
        if (time_of(i) >= timestamp)
            return i;
    return -1;
}

static int greatest(void)
{
    int best = 0;
    for (int i = 1; i < BATCHES; i++)
        best = time_of(i) > time_of(best) ? i : best;
    return best;
}

static void fill(struct desk *desk, int from, int upto)
{
    for (int i = from; i < upto; i++) {
        struct made made;
        make(&made, CODEC_NONE, VALUE_BYTES, (int64_t[]){time_of(i)}, 1);
        assert_int_equal(made_produce(desk, "times", &made).error_code, ERR_NONE);
        made_fini(&made);
    }
}

static void check_times(struct desk *desk)
{
    for (int64_t time = 99000; time < 100000 + BATCHES * 100 + 800; time += 37) {
        int wanted = first_at(time, 0);
        check_offset(desk, "times", 9, time, wanted, wanted < 0 ? -1 : time_of(wanted));
    }
    check_offset(desk, "times", 9, MAX_TIMESTAMP, greatest(), time_of(greatest()));
}

/* Kafka's 12 bytes an entry, ascending, each a batch that is there. */
static int64_t index_size(struct desk *desk, const char *path)
{
    struct fs *fs = machine_fs(desk->node.machine);
    int file = fs_open(fs, path, FS_READ);
    if (file < 0)
        return -1;
    int64_t size = fs_size(fs, file);
    fs_close(fs, file);
    return size;
}

static int64_t check_index(struct desk *desk, const char *path, int64_t base)
{
    struct fs *fs = machine_fs(desk->node.machine);
    uint8_t bytes[12 * 256];
    int file = fs_open(fs, path, FS_READ);
    assert_true(file >= 0);
    int64_t size = fs_read(fs, file, bytes, sizeof(bytes), 0);
    fs_close(fs, file);
    assert_true(size > 0 && size % 12 == 0);
    int64_t last = -1;
    for (int64_t at = 0; at < size; at += 12) {
        uint64_t time;
        uint32_t relative;
        memcpy(&time, bytes + at, sizeof(time));
        memcpy(&relative, bytes + at + 8, sizeof(relative));
        int64_t timestamp = (int64_t)be64toh(time);
        int batch = (int)(base + be32toh(relative));
        assert_int_equal(timestamp, time_of(batch));
        assert_int_equal(first_at(timestamp, (int)base), batch); /* nothing before it has as much */
        assert_true(timestamp > last);
        last = timestamp;
    }
    return size / 12;
}

#define FIRST_INDEX "/data/times-0/00000000000000000000.timeindex"

static void times_begin(struct desk *desk, uint64_t seed)
{
    begin(desk, seed);
    desk_set(desk, "index.interval.bytes", "20000");
    desk_broker_start(desk, 2);
    TOPIC(desk, "times", ANY_AGE, SET("segment.bytes", "1048576"), SET("retention.ms", "-1"));
}

static void d3_times_are_found_by_an_index(void **state)
{
    struct desk desk;
    (void)state;
    times_begin(&desk, 10);
    fill(&desk, 0, BATCHES / 2);
    desk_broker_stop(&desk);
    (void)check_index(&desk, FIRST_INDEX, 0);
    desk_broker_start(&desk, 1); /* the active segment goes on behind its file */
    fill(&desk, BATCHES / 2, BATCHES);
    check_times(&desk);
    desk_broker_stop(&desk);
    assert_true(check_index(&desk, FIRST_INDEX, 0) > 10);
    desk_broker_start(&desk, 2);
    check_times(&desk);
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 2);
    check_times(&desk);
    desk_end(&desk);
}

/* A log that was never stopped: the index of its last segment is in no file. */
static void d3_a_crash_leaves_the_end_without_an_index(void **state)
{
    struct desk desk;
    (void)state;
    times_begin(&desk, 11);
    fill(&desk, 0, BATCHES);
    check_times(&desk);
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 2);
    check_times(&desk);
    desk_end(&desk);
}

static void index_damage(struct desk *desk, int64_t at, uint8_t flip)
{
    struct fs *fs = machine_fs(desk->node.machine);
    uint8_t byte;
    int file = fs_open(fs, FIRST_INDEX, FS_WRITE);
    assert_true(file >= 0);
    assert_int_equal(fs_read(fs, file, &byte, 1, (uint64_t)at), 1);
    byte ^= flip;
    assert_int_equal(fs_write(fs, file, &byte, 1, (uint64_t)at), 1);
    assert_int_equal(fs_sync(fs, file), 0);
    fs_close(fs, file);
}

/* Whatever it says: the answers are right, and the file is made again. */
static void d3_a_damaged_index_is_not_believed(void **state)
{
    struct desk desk;
    (void)state;
    times_begin(&desk, 12);
    fill(&desk, 0, BATCHES);
    desk_broker_stop(&desk);
    int64_t size = index_size(&desk, FIRST_INDEX);
    assert_true(size > 10 * 12);
    struct rng rng = {.state = 12};
    for (int i = 0; i < 40; i++) {
        int64_t at = (int64_t)rng_below(&rng, (uint64_t)size);
        uint8_t flip = (uint8_t)(1U << rng_below(&rng, 8));
        index_damage(&desk, at, flip);
        desk_broker_start(&desk, 1);
        int64_t time = 99000 + (int64_t)rng_below(&rng, BATCHES * 100);
        int wanted = first_at(time, 0);
        check_offset(&desk, "times", 9, time, wanted, wanted < 0 ? -1 : time_of(wanted));
        check_times(&desk);
        desk_broker_stop(&desk);
        (void)check_index(&desk, FIRST_INDEX, 0);
        size = index_size(&desk, FIRST_INDEX);
    }
    desk_end(&desk);
}

static void d3_a_missing_index_is_made_again(void **state)
{
    struct desk desk;
    (void)state;
    times_begin(&desk, 13);
    fill(&desk, 0, BATCHES);
    desk_broker_stop(&desk);
    struct fs *fs = machine_fs(desk.node.machine);
    assert_int_equal(fs_unlink(fs, FIRST_INDEX), 0);
    desk_broker_start(&desk, 1);
    check_times(&desk);
    desk_broker_stop(&desk);
    assert_true(check_index(&desk, FIRST_INDEX, 0) > 10);
    desk_broker_start(&desk, 1);
    check_times(&desk);
    desk_end(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b7_the_broker_s_time),
        cmocka_unit_test(b7_a_duplicate_is_answered_with_its_own_time),
        cmocka_unit_test(b7_the_type_changes_while_the_topic_lives),
        cmocka_unit_test(b8_a_wrong_maximum_is_corrected),
        cmocka_unit_test(b5_b6_timestamps_that_are_refused),
        cmocka_unit_test(b6_the_defaults),
        cmocka_unit_test(l1_special_timestamps),
        cmocka_unit_test(l2_the_first_record_at_or_after_a_time),
        cmocka_unit_test(l3_a_partition_that_is_named_twice),
        cmocka_unit_test(d3_times_are_found_by_an_index),
        cmocka_unit_test(d3_a_crash_leaves_the_end_without_an_index),
        cmocka_unit_test(d3_a_damaged_index_is_not_believed),
        cmocka_unit_test(d3_a_missing_index_is_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
