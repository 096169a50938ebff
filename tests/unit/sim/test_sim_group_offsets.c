/* SPDX-License-Identifier: Apache-2.0
 *
 * Committed offsets as clients see them: who may commit, what comes back after a stop or a crash,
 * and what is forgotten.
 */
#include "core/group/group_record.h"
#include "core/internal_topic.h"
#include "tests/unit/sim/desk_groups.h"

/* ---- what may be committed ---- */

static void o1_who_may_commit(void **state)
{
    (void)state;
    struct desk desk;
    groups_begin(&desk, 14, 3);
    struct committer by = {.member = "stranger", .generation = 3};
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 1), ERR_GROUP_ID_NOT_FOUND);
    assert_int_equal(commit(&desk, "group", "topic", 0, 1), ERR_NONE); /* nobody is in it */
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    by = committer_of(&m);
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 2), ERR_NONE);
    assert_int_equal(commit(&desk, "group", "topic", 0, 3), ERR_UNKNOWN_MEMBER_ID);
    by.generation--;
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 4), ERR_ILLEGAL_GENERATION);
    by = (struct committer){"stranger", NULL, m.generation};
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 5), ERR_UNKNOWN_MEMBER_ID);
    by = (struct committer){m.id, "stranger", m.generation};
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 6), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(fetch(&desk, "group", "topic", 0), 2);
    desk_end(&desk);
}

static void o2_unknown_topics_and_long_notes_are_refused(void **state)
{
    (void)state;
    static char note[4097];
    struct desk desk;
    groups_begin(&desk, 15, 2);
    memset(note, 'n', sizeof(note));
    assert_int_equal(commit(&desk, "group", "nowhere", 0, 1), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(commit(&desk, "group", "topic", 4, 1), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(
        commit_note(&desk, "group", &nobody, "topic", 0, 1, (struct str){note, sizeof(note)}),
        ERR_OFFSET_METADATA_TOO_LARGE);
    assert_int_equal(
        commit_note(&desk, "group", &nobody, "topic", 0, 2, (struct str){note, sizeof(note) - 1}),
        ERR_NONE);
    assert_int_equal(fetch(&desk, "group", "topic", 0), 2);
    desk_end(&desk);
}

static void o4_what_was_not_committed_is_minus_one(void **state)
{
    (void)state;
    struct desk desk;
    groups_begin(&desk, 16, 2);
    assert_int_equal(fetch(&desk, "group", "topic", 0), -1);
    assert_int_equal(fetch(&desk, "group", "nowhere", 7), -1);
    assert_int_equal(fetch_count(&desk, "group"), 0);
    desk_end(&desk);
}

/* ---- over lives ---- */

static void o7_offsets_and_groups_come_back_whatever_ended_the_broker(void **state)
{
    (void)state;
    struct desk desk;
    groups_begin(&desk, 11, 2);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    const struct committer by = committer_of(&m);
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 6), ERR_NONE);
    assert_int_equal(commit(&desk, "by-hand", "topic", 3, 44), ERR_NONE);
    for (int life = 0; life < 3; life++) {
        if (life == 0)
            desk_broker_stop(&desk);
        else
            desk_broker_crash(&desk, life == 1 ? CRASH_KILL : CRASH_POWER);
        desk_broker_start(&desk, (uint16_t)(3 - life));
        desk_pass(&desk, 100);
        assert_int_equal(fetch(&desk, "group", "topic", 0), 6 + life);
        assert_int_equal(fetch(&desk, "by-hand", "topic", 3), 44);
        assert_int_equal(fetch(&desk, "by-hand", "topic", 2), -1);
        assert_state(&desk, "group", "Stable");
        assert_int_equal(heartbeat(&m), ERR_NONE); /* as if nothing had been */
        assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 7 + life), ERR_NONE);
    }
    desk_end(&desk);
}

/* Writes into __consumer_offsets as replicating tools do. */
static void write_record(struct desk *desk, int32_t partition, struct bytes key, struct bytes value)
{
    struct one_batch one;
    struct produce_response response;
    struct batch_builder builder;
    const uint8_t *bytes;
    batch_builder_init(&builder);
    batch_builder_start(&builder);
    batch_builder_add(&builder, 1, (struct bytes_or_null){key.data, key.len},
                      (struct bytes_or_null){value.data, value.len}, NULL, 0);
    size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
    struct produce_request request =
        produce_request_of(&one, INTERNAL_TOPIC_OFFSETS, partition, bytes, len);
    desk_ask(desk, DESK_ADMIN, KEY_PRODUCE, 9, &request, &response);
    assert_int_equal(response.responses[0].partition_responses[0].error_code, ERR_NONE);
    batch_builder_fini(&builder);
}

static void o7_poisoned_records_are_skipped(void **state)
{
    (void)state;
    static const uint8_t half[] = {0, 1, 0};
    static const uint8_t strange[] = {9, 9, 1, 2, 3};
    struct desk desk;
    groups_begin(&desk, 29, 1);
    assert_int_equal(commit(&desk, "hand", "topic", 0, 1), ERR_NONE);
    const int32_t home = internal_topic_partition(str_of("hand"), 3);
    struct arena arena;
    struct group_record_bytes record;
    const struct group_offset offset = {
        .topic = str_of("topic"), .offset = 77, .metadata = str_of(""), .expire_ms = -1};
    arena_init(&arena, 1U << 20);
    assert_true(group_record_of_offset(&record, &arena, str_of("hand"), &offset));
    write_record(&desk, home, (struct bytes){half, sizeof(half)}, record.value);
    write_record(&desk, home, (struct bytes){strange, sizeof(strange)}, record.value);
    write_record(&desk, home, record.key, (struct bytes){half, sizeof(half)});
    write_record(&desk, home, (struct bytes){.len = 0, .data = half}, record.value);
    /* A record of a group that belongs elsewhere would be found by nobody, or twice. */
    write_record(&desk, (home + 1) % 3, record.key, record.value);
    assert_int_equal(commit(&desk, "hand", "topic", 1, 2), ERR_NONE);
    desk_broker_stop(&desk);
    desk_broker_start(&desk, 2);
    desk_pass(&desk, 100);
    assert_int_equal(fetch(&desk, "hand", "topic", 0), 1);
    assert_int_equal(fetch(&desk, "hand", "topic", 1), 2);
    arena_fini(&arena);
    desk_end(&desk);
}

/* ---- what is forgotten ---- */

static void o6_offsets_of_a_topic_that_is_read_stay(void **state)
{
    (void)state;
    struct desk desk;
    enum err error = ERR_NONE;
    groups_begin(&desk, 23, 2);
    assert_int_equal(topic_ask(&desk, "other", 1), ERR_NONE);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    const struct committer by = committer_of(&m);
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 1), ERR_NONE);
    assert_int_equal(commit_by(&desk, "group", &by, "other", 0, 2), ERR_NONE);
    assert_int_equal(offset_delete(&desk, "group", "topic", 0, &error), ERR_NONE);
    assert_int_equal(error, ERR_GROUP_SUBSCRIBED_TO_TOPIC);
    assert_int_equal(offset_delete(&desk, "group", "other", 0, &error), ERR_NONE);
    assert_int_equal(error, ERR_NONE);
    assert_int_equal(offset_delete(&desk, "nobody", "other", 0, &error), ERR_GROUP_ID_NOT_FOUND);
    assert_int_equal(group_delete(&desk, "group"), ERR_NON_EMPTY_GROUP);
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 2);
    desk_pass(&desk, 100);
    assert_int_equal(fetch(&desk, "group", "topic", 0), 1);
    assert_int_equal(fetch(&desk, "group", "other", 0), -1);
    desk_end(&desk);
}

static void o5_offsets_expire_when_their_group_has_been_empty_for_long(void **state)
{
    (void)state;
    struct desk desk;
    desk_begin(&desk, 25);
    desk_set(&desk, "offsets.retention.minutes", "1");
    desk_set(&desk, "offsets.retention.check.interval.ms", "5000");
    groups_begin_with(&desk, 2);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    const struct committer by = committer_of(&m);
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 1), ERR_NONE);
    assert_int_equal(commit(&desk, "hand", "topic", 0, 2), ERR_NONE);
    for (int i = 0; i < 10; i++) {
        desk_pass(&desk, 9000);
        assert_int_equal(heartbeat(&m), ERR_NONE);
    }
    assert_int_equal(fetch(&desk, "group", "topic", 0), 1); /* somebody reads it */
    assert_int_equal(fetch(&desk, "hand", "topic", 0), -1);
    assert_state(&desk, "hand", "Dead");
    assert_int_equal(leave(&m), ERR_NONE);
    desk_pass(&desk, 50000);
    assert_int_equal(fetch(&desk, "group", "topic", 0), 1);
    desk_pass(&desk, 20000);
    assert_int_equal(fetch(&desk, "group", "topic", 0), -1);
    assert_state(&desk, "group", "Dead");
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 2);
    desk_pass(&desk, 100);
    assert_state(&desk, "group", "Dead");
    assert_int_equal(fetch(&desk, "group", "topic", 0), -1);
    desk_end(&desk);
}

static void a_jump_of_the_wall_clock_expires_nothing_at_once(void **state)
{
    (void)state;
    struct desk desk;
    desk_begin(&desk, 26);
    desk_set(&desk, "offsets.retention.minutes", "60");
    desk_set(&desk, "offsets.retention.check.interval.ms", "60000");
    groups_begin_with(&desk, 1);
    assert_int_equal(commit(&desk, "hand", "topic", 0, 2), ERR_NONE);
    machine_jump_wall(desk.node.machine, (int64_t)86400 * 1000);
    desk_pass(&desk, 70000);
    assert_int_equal(fetch(&desk, "hand", "topic", 0), 2);
    desk_pass(&desk, 60000); /* the clock stayed there */
    assert_int_equal(fetch(&desk, "hand", "topic", 0), -1);
    desk_end(&desk);
}

static void offsets_of_a_deleted_topic_go_with_it(void **state)
{
    (void)state;
    struct desk desk;
    groups_begin(&desk, 27, 3);
    assert_int_equal(commit(&desk, "hand", "topic", 0, 2), ERR_NONE);
    assert_int_equal(commit(&desk, "hand", "topic", 1, 3), ERR_NONE);
    desk_broker_stop(&desk); /* offsets that were read back do not know their topic's id */
    desk_broker_start(&desk, 2);
    desk_pass(&desk, 100);
    assert_int_equal(commit(&desk, "hand", "topic", 1, 4), ERR_NONE);
    assert_int_equal(fetch_count(&desk, "hand"), 2);
    topic_delete(&desk, "topic");
    assert_int_equal(topic_ask(&desk, "topic", 4), ERR_NONE);
    desk_pass(&desk, 100);
    assert_int_equal(fetch_count(&desk, "hand"), 0);
    assert_int_equal(commit(&desk, "hand", "topic", 1, 5), ERR_NONE);
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 3);
    desk_pass(&desk, 200);
    assert_int_equal(fetch(&desk, "hand", "topic", 0), -1);
    assert_int_equal(fetch(&desk, "hand", "topic", 1), 5);
    desk_end(&desk);
}

static void offsets_of_a_topic_that_went_unseen_go_at_the_next_start(void **state)
{
    (void)state;
    struct desk desk;
    groups_begin(&desk, 28, 1);
    assert_int_equal(topic_ask(&desk, "wide", MANY_PARTITIONS), ERR_NONE);
    commit_many(&desk, "hand", "wide", MANY_PARTITIONS);
    topic_delete(&desk, "wide"); /* its tombstones are on their way */
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 2);
    desk_pass(&desk, 1000);
    assert_int_equal(fetch_count(&desk, "hand"), 0);
    desk_end(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(o7_offsets_and_groups_come_back_whatever_ended_the_broker),
        cmocka_unit_test(o1_who_may_commit),
        cmocka_unit_test(o2_unknown_topics_and_long_notes_are_refused),
        cmocka_unit_test(o4_what_was_not_committed_is_minus_one),
        cmocka_unit_test(o6_offsets_of_a_topic_that_is_read_stay),
        cmocka_unit_test(o5_offsets_expire_when_their_group_has_been_empty_for_long),
        cmocka_unit_test(a_jump_of_the_wall_clock_expires_nothing_at_once),
        cmocka_unit_test(offsets_of_a_deleted_topic_go_with_it),
        cmocka_unit_test(offsets_of_a_topic_that_went_unseen_go_at_the_next_start),
        cmocka_unit_test(o7_poisoned_records_are_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
