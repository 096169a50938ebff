/* SPDX-License-Identifier: Apache-2.0 */
#include "core/metadata/metadata_record.h"
#include "tests/unit/heap.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TOPIC_ID                                                                                   \
    {                                                                                              \
        {                                                                                          \
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16                                  \
        }                                                                                          \
    }
static const int32_t replicas[] = {1, 2, 2, 3, 3, 1};
static const struct metadata_endpoint endpoints[] = {
    {{"PLAINTEXT", 9}, {"localhost", 9}, 9092},
    {{"OUTSIDE", 7}, {"broker.example", 14}, 19092},
};
static const struct metadata_setting settings[] = {
    {{"retention.ms", 12}, {"1000", 4}},
    {{"cleanup.policy", 14}, {"", 0}},
};

static const struct metadata_limit limits[] = {
    {{"producer_byte_rate", 18}, 1048576},
    {{"request_percentage", 18}, 12.5},
};

static const struct metadata_record samples[] = {
    {.kind = METADATA_NOOP, .noop = {.controller_id = 1, .controller_epoch = 7}},
    {.kind = METADATA_BROKER_UP,
     .broker_up = {.id = 1,
                   .epoch = 1LL << 40,
                   .rack = {NULL, -1},
                   .version = {"0.1", 3},
                   .endpoints = endpoints,
                   .endpoint_count = 2}},
    {.kind = METADATA_TOPIC_CREATE, .topic_create = {.id = TOPIC_ID, .name = {"orders", 6}}},
    {.kind = METADATA_PARTITIONS,
     .partitions =
         {.topic_id = TOPIC_ID, .first = 4, .count = 3, .replica_count = 2, .replicas = replicas}},
    {.kind = METADATA_PARTITION_CHANGE,
     .partition_change = {.topic_id = TOPIC_ID,
                          .partition = 5,
                          .leader = -1,
                          .leader_epoch = 3,
                          .partition_epoch = 9,
                          .replicas = replicas,
                          .isr = replicas,
                          .replica_count = 2,
                          .isr_count = 1}},
    {.kind = METADATA_CONFIG,
     .config = {.resource = METADATA_RESOURCE_TOPIC,
                .topic_id = TOPIC_ID,
                .broker_id = -1,
                .settings = settings,
                .setting_count = 2}},
    {.kind = METADATA_PRODUCER_IDS,
     .producer_ids = {.broker_id = 1, .broker_epoch = 5, .first = 3000, .count = 1000}},
    {.kind = METADATA_FEATURE, .feature = {.name = {"millrace.metadata", 17}, .level = 1}},
    {.kind = METADATA_BROKER_DOWN, .broker_down = {.id = 3, .epoch = 1LL << 40}},
    {.kind = METADATA_BROKER_DRAINING, .broker_draining = {.id = 3, .epoch = 1LL << 41}},
    {.kind = METADATA_TOPIC_DELETE, .topic_delete = {.id = TOPIC_ID}},
    {.kind = METADATA_PARTITION_CHANGE,
     .partition_change = {.topic_id = TOPIC_ID,
                          .leader = 1,
                          .replicas = replicas,
                          .replica_count = 3,
                          .isr = replicas,
                          .isr_count = 1,
                          .removing_count = 1,
                          .adding = 2}},
    {.kind = METADATA_CLIENT_QUOTA,
     .quota = {.entity = {{{QUOTA_NAMED, {"alice", 5}}, {QUOTA_DEFAULT, {NULL, 0}}, {0}}},
               .limits = limits,
               .limit_count = 2}},
    {.kind = METADATA_CLIENT_QUOTA,
     .quota = {.entity = {{{0}, {0}, {QUOTA_NAMED, {"192.0.2.1", 9}}}}}},
};

struct fixture {
    struct metadata_records records;
    struct arena arena;
    char sentence[256];
};

static int begin(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    for (size_t i = 0; i < array_count(samples); i++)
        metadata_records_add(&f->records, &samples[i]);
    arena_init(&f->arena, 1U << 20);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    metadata_records_fini(&f->records);
    arena_fini(&f->arena);
    mem_free(f);
    return 0;
}

static void check_fields(size_t i, const struct metadata_record *record)
{
    if (i == 1) {
        assert_int_equal(record->broker_up.rack.len, -1);
        assert_int_equal(record->broker_up.endpoint_count, 2);
        assert_int_equal(record->broker_up.endpoints[1].port, 19092);
        assert_true(str_equal(record->broker_up.endpoints[1].host, endpoints[1].host));
    } else if (i == 3) {
        assert_int_equal(record->partitions.first, 4);
        assert_memory_equal(record->partitions.replicas, replicas, sizeof(replicas));
    } else if (i == 4) {
        assert_int_equal(record->partition_change.leader, -1);
        assert_int_equal(record->partition_change.isr_count, 1);
        assert_int_equal(record->partition_change.replicas[1], 2);
    } else if (i == 11) {
        assert_int_equal(record->partition_change.removing_count, 1);
        assert_int_equal(record->partition_change.adding, 2);
    } else if (i == 12) {
        assert_int_equal(quota_entity_compare(&record->quota.entity, &samples[12].quota.entity), 0);
        assert_true(record->quota.limits[1].value == 12.5);
    } else if (i == 13) {
        assert_int_equal(quota_entity_compare(&record->quota.entity, &samples[13].quota.entity), 0);
        assert_int_equal(record->quota.limit_count, 0);
    } else if (i == 5) {
        assert_true(str_equal(record->config.settings[0].value, settings[0].value));
        assert_int_equal(record->config.settings[1].value.len, 0);
    }
}

/* What is written is read again: encoding what was decoded gives the same bytes. */
static void every_kind_comes_back(void **state)
{
    struct fixture *f = *state;
    struct bytes_in in = bytes_in_of(f->records.data, f->records.length);
    struct metadata_records again = {0};
    struct metadata_record record;
    for (size_t i = 0; i < array_count(samples); i++) {
        assert_int_equal(metadata_record_decode(&in, METADATA_LEVEL_NEWEST, &f->arena, &record,
                                                f->sentence, sizeof(f->sentence)),
                         METADATA_READ);
        assert_int_equal(record.kind, samples[i].kind);
        check_fields(i, &record);
        metadata_records_add(&again, &record);
    }
    assert_int_equal(metadata_record_decode(&in, METADATA_LEVEL_NEWEST, &f->arena, &record,
                                            f->sentence, sizeof(f->sentence)),
                     METADATA_END);
    assert_int_equal(again.length, f->records.length);
    assert_memory_equal(again.data, f->records.data, again.length);
    metadata_records_fini(&again);
}

/* At every length the last record is whole or refused, never misread. */
static void every_cut_is_noticed(void **state)
{
    struct fixture *f = *state;
    for (size_t len = 0; len < f->records.length; len++) {
        uint8_t *copy = mem_alloc(len);
        memcpy(copy, f->records.data, len);
        struct bytes_in in = bytes_in_of(copy, len);
        struct metadata_record record;
        enum metadata_verdict verdict;
        size_t good = 0;
        do {
            verdict = metadata_record_decode(&in, METADATA_LEVEL_NEWEST, &f->arena, &record,
                                             f->sentence, sizeof(f->sentence));
            good += verdict == METADATA_READ;
        } while (verdict == METADATA_READ);
        assert_true(verdict == METADATA_REFUSED || verdict == METADATA_END);
        assert_true(good < array_count(samples));
        arena_reset(&f->arena);
        mem_free(copy);
    }
}

static enum metadata_verdict decode_envelope(struct fixture *f, uint16_t kind, uint8_t flags,
                                             uint8_t least_reader)
{
    uint8_t bytes[METADATA_ENVELOPE + 4];
    struct bytes_out out = bytes_out_of(bytes, sizeof(bytes));
    put_u16(&out, kind);
    put_u8(&out, flags);
    put_u8(&out, 9);
    put_u8(&out, least_reader);
    put_u32(&out, 4);
    put_u32(&out, 7);
    struct bytes_in in = bytes_in_of(bytes, sizeof(bytes));
    struct metadata_record record;
    enum metadata_verdict verdict = metadata_record_decode(
        &in, METADATA_LEVEL_NEWEST, &f->arena, &record, f->sentence, sizeof(f->sentence));
    if (verdict == METADATA_SKIPPED)
        assert_ptr_equal(in.at, in.end);
    return verdict;
}

static void unknown_kinds(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(decode_envelope(f, 99, 1, 1), METADATA_REFUSED);
    assert_non_null(strstr(f->sentence, "99"));
    assert_int_equal(decode_envelope(f, 99, 0, 1), METADATA_SKIPPED);
    assert_int_equal(decode_envelope(f, 12, 1, 1), METADATA_REFUSED);
    assert_non_null(strstr(f->sentence, "acl"));
    /* A known kind that only newer readers may read. */
    assert_int_equal(decode_envelope(f, METADATA_FEATURE, 1, 2), METADATA_REFUSED);
    assert_int_equal(decode_envelope(f, METADATA_FEATURE, 0, 2), METADATA_SKIPPED);
}

/* Records of a later level are unknown to who takes part in an earlier one. */
static void kinds_of_later_levels(void **state)
{
    struct fixture *f = *state;
    const struct metadata_record quota = {
        .kind = METADATA_CLIENT_QUOTA,
        .quota = {
            .entity = {.part = {{QUOTA_DEFAULT, str_null()}}}, .limits = limits, .limit_count = 1}};
    struct metadata_records records = {0};
    struct metadata_record record;
    metadata_records_add(&records, &quota);
    struct bytes_in in = bytes_in_of(records.data, records.length);
    assert_int_equal(metadata_kind_level(METADATA_NOOP), METADATA_LEVEL_OLDEST);
    assert_int_equal(metadata_kind_level(METADATA_CLIENT_QUOTA), 2);
    assert_int_equal(
        metadata_record_decode(&in, 1, &f->arena, &record, f->sentence, sizeof(f->sentence)),
        METADATA_REFUSED);
    assert_non_null(strstr(f->sentence, "client_quota"));
    in = bytes_in_of(records.data, records.length);
    assert_int_equal(
        metadata_record_decode(&in, 2, &f->arena, &record, f->sentence, sizeof(f->sentence)),
        METADATA_READ);
    metadata_records_fini(&records);
}

/* A newer version may add fields at the end. */
static void longer_bodies_are_read(void **state)
{
    struct fixture *f = *state;
    struct metadata_records records = {0};
    metadata_records_add(&records, &samples[6]);
    uint8_t bytes[128] = {0};
    memcpy(bytes, records.data, records.length);
    struct bytes_out length = bytes_out_of(bytes + METADATA_ENVELOPE - 4, 4);
    put_u32(&length, (uint32_t)(records.length - METADATA_ENVELOPE + 5));
    struct bytes_in in = bytes_in_of(bytes, records.length + 5);
    struct metadata_record record;
    assert_int_equal(metadata_record_decode(&in, METADATA_LEVEL_NEWEST, &f->arena, &record,
                                            f->sentence, sizeof(f->sentence)),
                     METADATA_READ);
    assert_int_equal(record.producer_ids.first, 3000);
    assert_ptr_equal(in.at, in.end);
    metadata_records_fini(&records);
}

/* A count that the bytes cannot hold allocates nothing. */
static void lying_counts(void **state)
{
    struct fixture *f = *state;
    struct metadata_records records = {0};
    metadata_records_add(&records, &samples[3]);
    struct bytes_out count = bytes_out_of(records.data + METADATA_ENVELOPE + 20, 4);
    put_u32(&count, INT32_MAX);
    struct bytes_in in = bytes_in_of(records.data, records.length);
    struct metadata_record record;
    assert_int_equal(metadata_record_decode(&in, METADATA_LEVEL_NEWEST, &f->arena, &record,
                                            f->sentence, sizeof(f->sentence)),
                     METADATA_REFUSED);
    assert_int_equal(f->arena.held_bytes, 0);
    metadata_records_fini(&records);
}

/* Images keep texts with a zero at the end, so one inside would change them. */
static void texts_hold_no_zero(void **state)
{
    struct fixture *f = *state;
    struct metadata_records records = {0};
    metadata_records_add(&records, &samples[7]);
    records.data[METADATA_ENVELOPE + 2] = '\0';
    struct bytes_in in = bytes_in_of(records.data, records.length);
    struct metadata_record record;
    assert_int_equal(metadata_record_decode(&in, METADATA_LEVEL_NEWEST, &f->arena, &record,
                                            f->sentence, sizeof(f->sentence)),
                     METADATA_REFUSED);
    metadata_records_fini(&records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_kind_comes_back, begin, end),
        cmocka_unit_test_setup_teardown(every_cut_is_noticed, begin, end),
        cmocka_unit_test_setup_teardown(unknown_kinds, begin, end),
        cmocka_unit_test_setup_teardown(kinds_of_later_levels, begin, end),
        cmocka_unit_test_setup_teardown(longer_bodies_are_read, begin, end),
        cmocka_unit_test_setup_teardown(lying_counts, begin, end),
        cmocka_unit_test_setup_teardown(texts_hold_no_zero, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
