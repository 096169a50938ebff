/* SPDX-License-Identifier: Apache-2.0
 *
 * What another replica gives is put into a damaged segment only when it fits and is right
 * (core/log/log_mend.h). A broker of its own, so that nobody mends but this file: it plays the
 * other replica. A segment has three batches of two records, the one in the middle is damaged.
 */
#include "core/log/log_mend.h"
#include "core/log/log_private.h"
#include "tests/unit/sim/desk_topics.h"

#include <errno.h>

#define LARGE   150000
#define BATCHES 8
#define RECORDS (2 * BATCHES)

#define SETTLE_MS (6000 + 6000)
#define PASS_MS   3000
#define SEGMENT   "/data/rots-0/00000000000000000006.log"
#define BASE      6
#define BAD       8
#define NO_LIMIT  INT64_MAX
#define NOTHING   UINT32_MAX /* is damaged */
#define OPEN      "/data/rots-0/00000000000000000012.log"
#define OPEN_BASE 12

struct mending {
    struct desk desk;
    uint8_t *was; /* the segment before the damage */
    uint32_t size;
    uint32_t at[4]; /* of its batches, and its end */
    struct log_mend *mend;
    struct log_mend_result result;
    bool over;
    /* what is given */
    uint8_t *given;
    uint32_t given_len;
    int64_t upto_offset;
};

static uint8_t *file_bytes(const struct mending *m, uint32_t *size)
{
    struct fs *fs = machine_fs(m->desk.node.machine);
    int file = fs_open(fs, SEGMENT, FS_READ);
    assert_true(file >= 0);
    *size = (uint32_t)fs_size(fs, file);
    uint8_t *bytes = malloc(*size);
    must(bytes != NULL);
    assert_int_equal(fs_read(fs, file, bytes, *size, 0), *size);
    fs_close(fs, file);
    return bytes;
}

static void write_records(struct desk *desk, unsigned from, unsigned upto)
{
    uint8_t *bytes = calloc(1, LARGE);
    must(bytes != NULL);
    for (unsigned i = from; i < upto; i++) {
        struct batch_builder builder;
        const uint8_t *batch;
        memset(bytes, (int)i + 1, LARGE);
        batch_builder_init(&builder);
        batch_builder_start(&builder);
        for (unsigned record = 0; record < 2; record++)
            batch_builder_add(&builder, 1000 + i, BYTES_NULL, (struct bytes_or_null){bytes, LARGE},
                              NULL, 0);
        size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &batch);
        assert_int_equal(batch_produce(desk, "rots", 9, batch, len).error_code, ERR_NONE);
        batch_builder_fini(&builder);
    }
    free(bytes);
}

static struct log *log_here(struct shard *sh)
{
    const struct partition_table *table = &broker_shard_of(sh)->partitions;
    for (uint32_t i = 0; i < table->size; i++)
        if (table->slots[i])
            return table->slots[i]->log;
    return NULL;
}

static void find_batches(struct mending *m)
{
    struct batch_header header;
    m->was = file_bytes(m, &m->size);
    for (unsigned i = 0; i < 3; i++) {
        batch_header_of(&header, m->was + m->at[i]);
        assert_int_equal(header.base_offset, BASE + 2 * i);
        m->at[i + 1] = m->at[i] + (uint32_t)batch_size(&header);
    }
    assert_int_equal(m->at[3], m->size);
}

/* The scrub has found the bit. */
static void begin(struct mending *m, uint64_t seed, uint32_t bad_at)
{
    struct desk *desk = &m->desk;
    memset(m, 0, sizeof(*m));
    desk_begin(desk, seed);
    desk->node.retention_bytes = -1;
    desk->node.tail_bytes = 16U << 20;
    desk->node.journal_bytes = 4U << 20;
    desk_set(desk, "connections.max.idle.ms", "-1");
    desk->node.scrub_ms = "1000";
    desk_broker_start(desk, 1);
    TOPIC(desk, "rots", SET("segment.bytes", "1048576"));
    write_records(desk, 0, BATCHES);
    desk_pass(desk, SETTLE_MS);
    desk_broker_stop(desk);
    desk_broker_start(desk, 1);
    find_batches(m);
    if (bad_at != NOTHING)
        assert_true(machine_disk_damage(desk->node.machine, SEGMENT, m->at[1] + bad_at, 0x10));
    desk_pass(desk, PASS_MS);
}

static void on_done(void *user)
{
    struct mending *m = user;
    m->result = *log_mend_result(m->mend);
    m->over = true;
}

static void step(struct shard *sh, void *argument)
{
    struct mending *m = argument;
    if (!m->mend)
        m->mend = log_mend_begin(log_here(sh), 1U << 20);
    if (!log_mend_step(m->mend, on_done, m))
        on_done(m);
}

static void give(struct shard *sh, void *argument)
{
    struct mending *m = argument;
    (void)sh;
    if (!log_mend_give(m->mend, m->given, m->given_len, m->upto_offset, on_done, m))
        on_done(m);
}

static void finish(struct shard *sh, void *argument)
{
    struct mending *m = argument;
    (void)sh;
    log_mend_end(m->mend);
    m->mend = NULL;
    m->over = true;
}

static bool is_over(void *argument)
{
    return ((const struct mending *)argument)->over;
}

static enum log_mend_verdict do_on_shard(struct mending *m, void (*fn)(struct shard *sh, void *m))
{
    m->over = false;
    process_call(m->desk.node.process, 0, fn, m);
    desk_until(&m->desk, is_over, m);
    return m->result.verdict;
}

/* Until it is known what to ask for: the segment is read by the megabyte. */
static enum log_mend_verdict walk(struct mending *m)
{
    enum log_mend_verdict verdict;
    do
        verdict = do_on_shard(m, step);
    while (verdict == LOG_MEND_MORE);
    return verdict;
}

/* Batches [first, end) of the segment as they were. */
static void take(struct mending *m, unsigned first, unsigned end)
{
    free(m->given);
    m->given_len = m->at[end] - m->at[first];
    m->given = malloc(m->given_len + 1);
    must(m->given != NULL);
    memcpy(m->given, m->was + m->at[first], m->given_len);
    m->upto_offset = NO_LIMIT;
}

static void sum_up(uint8_t *batch)
{
    struct batch_header header;
    struct piece piece;
    batch_header_of(&header, batch);
    header.crc = batch_crc(span_of(&piece, batch, (uint32_t)batch_size(&header)));
    batch_header_put(&header, batch);
}

static bool file_is(const struct mending *m, bool as_it_was)
{
    uint32_t size;
    uint8_t *bytes = file_bytes(m, &size);
    bool same = size == m->size && memcmp(bytes, m->was, size) == 0;
    free(bytes);
    return same == as_it_was;
}

static void end(struct mending *m)
{
    (void)do_on_shard(m, finish);
    free(m->was);
    free(m->given);
    desk_end(&m->desk);
}

static void mends(struct mending *m)
{
    take(m, 0, 3);
    assert_int_equal(do_on_shard(m, give), LOG_MEND_DONE);
    assert_true(file_is(m, true));
    assert_int_equal(m->result.from_offset, BAD);
    assert_int_equal(m->result.upto_offset, BAD + 2);
    assert_int_equal(m->result.position, m->at[1]);
    assert_int_equal(m->result.bytes, m->at[2] - m->at[1]);
    assert_int_equal(m->result.batches, 1);
    assert_int_equal(walk(m), LOG_MEND_WHOLE);
}

/* Where bits flip: records, checksum, offset, length, epoch, magic, last offset. */
static const uint32_t places[] = {200000, 61, 17, 7, 2, 9, 15, 16, 26};

static void what_is_right_is_put_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(places); i++) {
        struct mending m;
        begin(&m, 100 + i, places[i]);
        assert_int_equal(walk(&m), LOG_MEND_ASK);
        assert_int_equal(m.result.offset, BASE); /* its block begins in the batch before it */
        assert_int_equal(m.result.from_offset, BAD);
        mends(&m);
        end(&m);
    }
}

/* Nothing of these gets into the file, and the right one does afterwards. */
static void refused(struct mending *m, enum log_mend_verdict wanted)
{
    assert_int_equal(do_on_shard(m, give), wanted);
    assert_true(file_is(m, false));
    if (wanted != LOG_MEND_LATER) {
        assert_int_equal(m->result.offset, BASE);
        mends(m);
    }
}

static void what_is_wrong_is_not(void **state)
{
    (void)state;
    enum { CHECKSUM, EPOCH, OFFSET, MISSING, NEIGHBOUR, CUT, EMPTY, UNCOMMITTED, KINDS };
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct mending m;
        begin(&m, 200 + kind, 5000);
        assert_int_equal(walk(&m), LOG_MEND_ASK);
        take(&m, 0, 3);
        uint8_t *bad = m.given + m.at[1];
        switch (kind) {
        case CHECKSUM:
            bad[1000] ^= 1;
            break;
        case EPOCH: /* newer than all that the log has there */
            bad[BATCH_AT_LEADER_EPOCH + 2] = 7;
            break;
        case OFFSET:
            bad[7] ^= 1;
            break;
        case MISSING: /* the one behind it in its place */
            memmove(bad, m.given + m.at[2], m.at[3] - m.at[2]);
            m.given_len -= m.at[2] - m.at[1];
            break;
        case NEIGHBOUR: /* is good there and here, and not the same */
            m.given[1000] ^= 1;
            sum_up(m.given);
            break;
        case CUT: /* in the middle of the first */
            m.given_len = m.at[1] - 1;
            break;
        case EMPTY:
            m.given_len = 0;
            break;
        case UNCOMMITTED:
            m.upto_offset = BAD + 1;
            break;
        default:
            fail();
        }
        refused(&m, kind == UNCOMMITTED ? LOG_MEND_LATER : LOG_MEND_REFUSED);
        end(&m);
    }
}

/* The directory serves on, and the damage is mended when there is room. */
static void a_full_disk_takes_nothing_offline(void **state)
{
    (void)state;
    struct mending m;
    struct disk_fault full = {.calls = DISK_WRITE, .times = 1, .error = -ENOSPC};
    begin(&m, 250, 5000);
    (void)snprintf(full.prefix, sizeof(full.prefix), "%s", SEGMENT);
    machine_disk_fault(m.desk.node.machine, &full);
    assert_int_equal(walk(&m), LOG_MEND_ASK);
    take(&m, 0, 3);
    assert_int_equal(do_on_shard(&m, give), LOG_MEND_LATER);
    assert_string_equal(m.result.reason, "the disk is full");
    machine_disk_heal(m.desk.node.machine);
    (void)do_on_shard(&m, finish);
    assert_int_equal(walk(&m), LOG_MEND_ASK);
    mends(&m);
    end(&m);
}

/* Segments may end elsewhere there, and an answer is not as long as one wants. */
static void it_may_come_in_pieces(void **state)
{
    (void)state;
    struct mending m;
    begin(&m, 300, 5000);
    assert_int_equal(walk(&m), LOG_MEND_ASK);
    take(&m, 0, 2);
    m.given_len -= 100; /* not the whole second one */
    assert_int_equal(do_on_shard(&m, give), LOG_MEND_ASK);
    assert_int_equal(m.result.offset, BAD);
    take(&m, 1, 2);
    assert_int_equal(do_on_shard(&m, give), LOG_MEND_ASK);
    assert_int_equal(m.result.offset, BAD + 2); /* it shares the last block */
    assert_true(file_is(&m, false));
    take(&m, 2, 3);
    assert_int_equal(do_on_shard(&m, give), LOG_MEND_DONE);
    assert_true(file_is(&m, true));
    assert_int_equal(walk(&m), LOG_MEND_WHOLE);
    end(&m);
}

/* Over two batches, to the end of the segment. */
static void several_at_once(void **state)
{
    (void)state;
    struct mending m;
    begin(&m, 400, 5000);
    for (uint32_t at = m.at[2] - 2000; at < m.at[3]; at += 1000)
        assert_true(machine_disk_damage(m.desk.node.machine, SEGMENT, at, 1));
    assert_int_equal(walk(&m), LOG_MEND_ASK);
    take(&m, 0, 3);
    assert_int_equal(do_on_shard(&m, give), LOG_MEND_DONE);
    assert_true(file_is(&m, true));
    assert_int_equal(m.result.batches, 2);
    assert_int_equal(m.result.upto_offset, BAD + 4);
    assert_int_equal(walk(&m), LOG_MEND_WHOLE);
    end(&m);
}

static bool reads_as(const struct mending *m, unsigned batch)
{
    uint32_t size;
    uint8_t *bytes = file_bytes(m, &size);
    bool same =
        memcmp(bytes + m->at[batch], m->was + m->at[batch], m->at[batch + 1] - m->at[batch]) == 0;
    free(bytes);
    return same;
}

/* Below the log's start nobody has anything, and there damage stays. What is asked for begins
 * there, be it in the middle of a batch, which then comes whole. */
static void what_lies_below_the_start_stays(void **state)
{
    (void)state;
    for (int64_t start = BAD; start < BAD + 2; start++) {
        struct mending m;
        begin(&m, 500 + (uint64_t)start, 5000);
        int64_t low;
        assert_int_equal(delete_records(&m.desk, "rots", start, &low), ERR_NONE);
        assert_true(machine_disk_damage(m.desk.node.machine, SEGMENT, 1000, 1));
        assert_int_equal(walk(&m), LOG_MEND_ASK);
        assert_int_equal(m.result.offset, start);
        take(&m, 1, 3);
        assert_int_equal(do_on_shard(&m, give), LOG_MEND_DONE);
        assert_true(!reads_as(&m, 0) && reads_as(&m, 1) && reads_as(&m, 2));
        assert_int_equal(walk(&m), LOG_MEND_WHOLE);
        end(&m);
    }
}

/* Nobody is asked for it, and what follows is not taken for it. */
static void what_is_wholly_below_it_is_not_asked_for(void **state)
{
    (void)state;
    struct mending m;
    begin(&m, 600, 5000);
    int64_t low;
    assert_int_equal(delete_records(&m.desk, "rots", BAD + 2, &low), ERR_NONE);
    assert_int_equal(walk(&m), LOG_MEND_WHOLE);
    assert_true(!reads_as(&m, 1));
    end(&m);
}

/* The next append closes it. */
static void an_open_segment_waits(void **state)
{
    (void)state;
    struct mending m;
    begin(&m, 700, NOTHING);
    assert_true(machine_disk_damage(m.desk.node.machine, OPEN, 5000, 1));
    desk_pass(&m.desk, PASS_MS);
    assert_int_equal(walk(&m), LOG_MEND_LATER);
    (void)do_on_shard(&m, finish);
    write_records(&m.desk, BATCHES, BATCHES + 1);
    desk_pass(&m.desk, SETTLE_MS);
    assert_int_equal(walk(&m), LOG_MEND_ASK);
    assert_int_equal(m.result.offset, OPEN_BASE);
    end(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_right_is_put_back),
        cmocka_unit_test(what_is_wrong_is_not),
        cmocka_unit_test(a_full_disk_takes_nothing_offline),
        cmocka_unit_test(it_may_come_in_pieces),
        cmocka_unit_test(several_at_once),
        cmocka_unit_test(what_lies_below_the_start_stays),
        cmocka_unit_test(what_is_wholly_below_it_is_not_asked_for),
        cmocka_unit_test(an_open_segment_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
