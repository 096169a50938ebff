/* SPDX-License-Identifier: Apache-2.0
 *
 * Rot: bits that flip on the disk under a whole broker in the simulated world are found by the
 * scrub or by who reads them, told, and never served. Segments are of 1 MiB, three batches each,
 * and a batch has two records.
 */
#include "tests/unit/sim/desk_topics.h"

#include <stdio.h>

#define LARGE     150000
#define BATCHES   11 /* the last segment has two and stays open */
#define RECORDS   (2 * BATCHES)
#define PERIOD_MS 1000 /* millrace.scrub.period.ms */

/* Time for segments to be sealed and noted by a checkpoint, and for two passes. */
#define SETTLE_MS (6000 + 6000)
#define PASS_MS   (3 * PERIOD_MS)

#define SMALL SET("segment.bytes", "1048576")

static void write_records(struct desk *desk, const char *topic)
{
    uint8_t *zeros = calloc(1, LARGE);
    must(zeros != NULL);
    for (int64_t i = 0; i < BATCHES; i++) {
        struct batch_builder builder;
        const uint8_t *bytes;
        batch_builder_init(&builder);
        batch_builder_start(&builder);
        for (unsigned record = 0; record < 2; record++)
            batch_builder_add(&builder, 1000 + i, BYTES_NULL, (struct bytes_or_null){zeros, LARGE},
                              NULL, 0);
        size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
        struct produce_response_partition answer = batch_produce(desk, topic, 9, bytes, len);
        assert_int_equal(answer.error_code, ERR_NONE);
        assert_int_equal(answer.base_offset, 2 * i);
        batch_builder_fini(&builder);
    }
    free(zeros);
}

/* Two topics with the same records, at rest; the second life has nothing of them in memory. */
static void begin(struct desk *desk, uint64_t seed, const char *period_ms)
{
    desk_begin(desk, seed);
    desk->node.retention_bytes = -1;
    desk->node.tail_bytes = 16U << 20;
    desk->node.journal_bytes = 4U << 20;
    desk_set(desk, "connections.max.idle.ms", "-1");
    desk->node.scrub_ms = period_ms;
    desk_broker_start(desk, 2);
    TOPIC(desk, "rots", SMALL);
    TOPIC(desk, "keeps", SMALL);
    write_records(desk, "rots");
    write_records(desk, "keeps");
    desk_pass(desk, SETTLE_MS);
    desk_broker_stop(desk);
    desk_broker_start(desk, 2);
    desk_pass(desk, PASS_MS);
}

static struct log_counts counts_of(const struct desk *desk)
{
    struct log_counts counts;
    node_log_counts(&desk->node, &counts);
    return counts;
}

/* Where the batch of this number begins in its segment, by the lengths of those before it. */
static uint32_t position_of(const struct desk *desk, const char *path, unsigned number)
{
    struct fs *fs = machine_fs(desk->node.machine);
    uint8_t *block = mem_pages(FS_BLOCK);
    struct batch_header header;
    uint32_t at = 0;
    int file = fs_open(fs, path, FS_READ);
    assert_true(file >= 0);
    for (unsigned i = 0; i < number; i++) {
        assert_int_equal(fs_read(fs, file, block, BATCH_HEADER_SIZE, at), BATCH_HEADER_SIZE);
        batch_header_of(&header, block);
        at += (uint32_t)batch_size(&header);
    }
    fs_close(fs, file);
    mem_pages_free(block, FS_BLOCK);
    return at;
}

static void flip(const struct desk *desk, const char *path, uint64_t at, uint8_t mask)
{
    assert_true(machine_disk_damage(desk->node.machine, path, at, mask));
}

/* What a fetch from there says, and the offset after what it brings. Who comes to damage first may
 * lose the connection. */
static int16_t fetched(struct desk *desk, const char *topic, int64_t offset, int64_t *next)
{
    struct question question;
    struct fetch_response response;
    struct batch_header header;
    fetch_ask(desk, &question, topic, 11, offset, 0);
    if (!desk_answer(&question, &response)) {
        desk_pass(desk, 100);
        process_call(desk->process, 0, desk_connect, desk);
        desk_until(desk, desk_is_connected, desk);
        fetch_ask(desk, &question, topic, 11, offset, 0);
        must(desk_answer(&question, &response));
    }
    const struct fetch_response_partition part = response.responses[0].partitions[0];
    const struct span *span = &part.records.span;
    *next = offset;
    if (span->len == 0)
        return part.error_code;
    const uint8_t *bytes = (const uint8_t *)span->piece->data + span->skip;
    for (uint32_t at = 0; span->len - at >= BATCH_HEADER_SIZE;) {
        struct piece piece;
        batch_header_of(&header, bytes + at);
        if (batch_size(&header) > span->len - at)
            break;
        assert_int_equal(batch_crc(span_of(&piece, bytes + at, (uint32_t)batch_size(&header))),
                         header.crc);
        assert_true(header.base_offset <= *next && batch_last_offset(&header) >= *next);
        assert_int_equal(header.base_offset % 2, 0);
        *next = batch_last_offset(&header) + 1;
        at += (uint32_t)batch_size(&header);
    }
    return part.error_code;
}

/* From here to there everything is served. */
static void served(struct desk *desk, const char *topic, int64_t from, int64_t to)
{
    while (from < to) {
        int64_t next;
        assert_int_equal(fetched(desk, topic, from, &next), ERR_NONE);
        assert_true(next > from);
        from = next;
    }
    assert_int_equal(from, to);
}

#define SEGMENT "/data/rots-0/00000000000000000006"
#define BAD     8 /* the batch in its middle */

struct bit {
    uint32_t at; /* in the batch */
    uint8_t mask;
};

/* Records, checksum, and what no checksum covers: both ways of the base offset, its upper half,
 * length, leader epoch, magic; count and last offset, which no walk proves. */
static const struct bit bits[] = {{200000, 0x10}, {61, 0x80}, {17, 0x01}, {7, 0x02},  {7, 0x08},
                                  {2, 0x40},      {11, 0x08}, {8, 0x80},  {15, 0x01}, {12, 0x20},
                                  {16, 0x01},     {26, 0x02}, {26, 0x01}, {60, 0x01}};

/* Nothing of the batch comes, and all that is around it. */
static void is_not_served(struct desk *desk)
{
    int64_t next;
    for (int64_t offset = BAD; offset < BAD + 2; offset++) {
        assert_int_equal(fetched(desk, "rots", offset, &next), ERR_CORRUPT_MESSAGE);
        assert_int_equal(next, offset);
    }
    served(desk, "rots", 0, BAD);
    served(desk, "rots", BAD + 2, RECORDS);
    served(desk, "rots", BAD + 3, RECORDS);
    served(desk, "keeps", 0, RECORDS);
    assert_int_equal(counts_of(desk).damaged, 1);
}

static void a_flipped_bit_is_found_and_not_served(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(bits); i++) {
        struct desk desk;
        begin(&desk, 100 + i, "1000");
        assert_true(counts_of(&desk).scrub_passes > 0);
        assert_int_equal(counts_of(&desk).damaged, 0);
        flip(&desk, SEGMENT ".log", position_of(&desk, SEGMENT ".log", 1) + bits[i].at,
             bits[i].mask);
        desk_pass(&desk, PASS_MS);
        assert_int_equal(counts_of(&desk).damaged, 1);
        is_not_served(&desk);
        desk_end(&desk);
    }
}

/* Nobody has looked before. */
static void a_reader_finds_it_too(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(bits); i++) {
        struct desk desk;
        begin(&desk, 150 + i, "-1");
        flip(&desk, SEGMENT ".log", position_of(&desk, SEGMENT ".log", 1) + bits[i].at,
             bits[i].mask);
        is_not_served(&desk);
        desk_end(&desk);
    }
}

static void several_in_one_segment_are_found(void **state)
{
    (void)state;
    struct desk desk;
    int64_t next;
    begin(&desk, 200, "1000");
    for (unsigned n = 0; n < 3; n++)
        flip(&desk, SEGMENT ".log", position_of(&desk, SEGMENT ".log", n) + 100, 1);
    desk_pass(&desk, PASS_MS);
    assert_int_equal(counts_of(&desk).damaged, 3);
    for (int64_t offset = 6; offset < 12; offset++)
        assert_int_equal(fetched(&desk, "rots", offset, &next), ERR_CORRUPT_MESSAGE);
    served(&desk, "rots", 0, 6);
    served(&desk, "rots", 12, RECORDS);
    desk_end(&desk);
}

/* The open segment is read as far as it is in its file. */
static void an_open_segment_is_read_too(void **state)
{
    (void)state;
    struct desk desk;
    int64_t next;
    begin(&desk, 300, "1000");
    flip(&desk, "/data/rots-0/00000000000000000018.log", 5000, 1);
    desk_pass(&desk, PASS_MS);
    assert_int_equal(counts_of(&desk).damaged, 1);
    assert_int_equal(fetched(&desk, "rots", 18, &next), ERR_CORRUPT_MESSAGE);
    served(&desk, "rots", 20, RECORDS);
    desk_end(&desk);
}

static void an_index_that_does_not_fit_is_removed(void **state)
{
    (void)state;
    static const char *const indexes[] = {SEGMENT ".index", SEGMENT ".timeindex"};
    for (unsigned i = 0; i < array_count(indexes); i++) {
        struct desk desk;
        begin(&desk, 400 + i, "1000");
        assert_int_equal(counts_of(&desk).damaged_indexes, 0);
        flip(&desk, indexes[i], 7, 1);
        desk_pass(&desk, PASS_MS);
        assert_int_equal(counts_of(&desk).damaged_indexes, 1);
        assert_int_equal(counts_of(&desk).damaged, 0);
        assert_true(fs_open(machine_fs(desk.node.machine), indexes[i], FS_READ) < 0);
        served(&desk, "rots", 0, RECORDS);
        assert_int_equal(offset_at(&desk, "rots", 1004), 8);
        desk_pass(&desk, PASS_MS);
        assert_int_equal(counts_of(&desk).damaged_indexes, 1);
        desk_end(&desk);
    }
}

static void set_period(struct desk *desk, const char *period_ms)
{
    config_set_of(desk, 4, "", "millrace.scrub.period.ms", period_ms); /* of all brokers */
}

/* Then whoever reads the batch finds it. */
static void it_can_be_turned_off_and_on(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 500, "-1");
    desk_pass(&desk, 3600000);
    assert_int_equal(counts_of(&desk).scrubbed_bytes, 0);
    flip(&desk, SEGMENT ".log", 5000, 1);
    set_period(&desk, "1000");
    desk_pass(&desk, 20000 + PASS_MS);
    assert_int_equal(counts_of(&desk).damaged, 1);
    set_period(&desk, "-1");
    desk_pass(&desk, 20000);
    uint64_t bytes = counts_of(&desk).scrubbed_bytes;
    desk_pass(&desk, 3600000);
    assert_int_equal(counts_of(&desk).scrubbed_bytes, bytes);
    desk_end(&desk);
}

/* A day is spread over the day, and no pass is faster than it may be. */
static void it_takes_its_time(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 600, "86400000");
    const uint64_t all = 2 * RECORDS * (uint64_t)LARGE;
    desk_pass(&desk, 60000 + 30000); /* the first begins after a minute */
    assert_true(counts_of(&desk).scrubbed_bytes > 0);
    assert_true(counts_of(&desk).scrubbed_bytes < all / 2);
    assert_int_equal(counts_of(&desk).scrub_passes, 0);
    desk_pass(&desk, 3600000);
    assert_int_equal(counts_of(&desk).scrub_passes, 2); /* one of each shard */
    assert_true(counts_of(&desk).scrubbed_bytes >= all);
    assert_true(counts_of(&desk).scrubbed_bytes < all + all / 4);
    desk_end(&desk);
}

static void one_that_skips_a_segment_is_noticed(void **state)
{
    (void)state;
    struct desk desk;
    desk_mistake = "scrub.skips_a_segment";
    begin(&desk, 700, "1000");
    flip(&desk, "/data/rots-0/00000000000000000000.log", 5000, 1);
    desk_pass(&desk, PASS_MS);
    assert_int_equal(counts_of(&desk).damaged, 0);
    desk_end(&desk);
    desk_mistake = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_is_found_and_not_served),
        cmocka_unit_test(a_reader_finds_it_too),
        cmocka_unit_test(several_in_one_segment_are_found),
        cmocka_unit_test(an_open_segment_is_read_too),
        cmocka_unit_test(an_index_that_does_not_fit_is_removed),
        cmocka_unit_test(it_can_be_turned_off_and_on),
        cmocka_unit_test(it_takes_its_time),
        cmocka_unit_test(one_that_skips_a_segment_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
