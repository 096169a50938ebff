/* SPDX-License-Identifier: Apache-2.0
 *
 * Partitions get other replicas: what is refused, how a move goes on as sets change, when it is
 * over, and how it is taken back.
 */
#include "core/controller/controller_reassign.h"
#include "tests/unit/core/controller/replicas_world.h"

static const int32_t b123[] = {1, 2, 3};
static const int32_t b45[] = {4, 5};

static struct world *world_of_five(const char *properties)
{
    return world_with(properties, 5, b123, 3);
}

static int16_t move(struct world *w, const int32_t *ids, int32_t count)
{
    struct control_item item = {.name = str_of("t"), .replicas = ids, .replica_count = count};
    int16_t error = decide(w, CONTROL_REASSIGN, &item);
    end_batch(w);
    return error;
}

static int16_t take_back(struct world *w)
{
    return move(w, NULL, -1);
}

/* Replicas; those that are new; those that go. */
static void replicas_are(struct world *w, const char *all, const char *adding, const char *removing)
{
    const struct partition_image *now = partition(w);
    int32_t ids[METADATA_REPLICAS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < now->replica_count; i++)
        if (now->adding >> i & 1U)
            ids[count++] = now->replicas[i];
    is_list(now->replicas, now->replica_count, all);
    is_list(ids, count, adding);
    is_list(now->replicas + now->replica_count - now->removing_count, now->removing_count,
            removing);
}

static void moved_when_all_have_followed(void **state)
{
    (void)state;
    struct world *w = world_of_five("min.insync.replicas=2\n");
    assert_int_equal(move(w, (int32_t[]){4, 1, 5}, 3), ERR_NONE);
    replicas_are(w, "41523", "45", "23");
    is(w, 1, 1, "123"); /* the same leader, which knows its followers anew */
    assert_int_equal(image_insync_min(&find(w, "t")->conf, partition(w)), 2);
    joins(w, (int32_t[]){1, 2, 3, 4}, 4);
    replicas_are(w, "41523", "45", "23");
    is(w, 1, 1, "1234");
    joins(w, (int32_t[]){1, 2, 3, 4, 5}, 5);
    replicas_are(w, "415", "", "");
    is(w, 1, 2, "145");
    world_free(w);
}

static void leader_goes_with_the_old(void **state)
{
    (void)state;
    struct world *w = world_of_five("min.insync.replicas=2\n");
    assert_int_equal(move(w, b45, 2), ERR_NONE);
    replicas_are(w, "45123", "45", "123");
    joins(w, (int32_t[]){1, 2, 3, 4, 5}, 5);
    replicas_are(w, "45", "", "");
    is(w, 4, 2, "45");
    world_free(w);
}

static void fewer_and_another_order_at_once(void **state)
{
    (void)state;
    struct world *w = world_of_five("");
    assert_int_equal(move(w, (int32_t[]){3, 1, 2}, 3), ERR_NONE);
    replicas_are(w, "312", "", "");
    is(w, 1, 1, "123");
    assert_int_equal(move(w, (int32_t[]){3, 2}, 2), ERR_NONE);
    replicas_are(w, "32", "", "");
    is(w, 3, 2, "23");
    assert_int_equal(move(w, (int32_t[]){3, 2}, 2), ERR_NONE); /* as it is */
    is(w, 3, 2, "23");
    world_free(w);
}

static void what_is_to_stay_must_have_followed(void **state)
{
    (void)state;
    struct world *w = world_of_five("min.insync.replicas=2\n");
    goes(w, 3);
    assert_int_equal(move(w, (int32_t[]){1, 3}, 2), ERR_NONE);
    replicas_are(w, "132", "", "2"); /* 3 is not in the set */
    comes(w, 3, false);
    replicas_are(w, "132", "", "2");
    joins(w, (int32_t[]){1, 2, 3}, 3);
    replicas_are(w, "13", "", "");
    is(w, 1, 2, "13");
    world_free(w);
}

static void one_replica_moves(void **state)
{
    (void)state;
    struct world *w = world_with("min.insync.replicas=2\n", 3, (int32_t[]){1}, 1);
    assert_int_equal(move(w, (int32_t[]){2}, 1), ERR_NONE);
    replicas_are(w, "21", "2", "1");
    assert_int_equal(image_insync_min(&find(w, "t")->conf, partition(w)), 1);
    joins(w, (int32_t[]){1, 2}, 2);
    replicas_are(w, "2", "", "");
    is(w, 2, 2, "2");
    assert_int_equal(move(w, b123, 3), ERR_NONE);
    assert_int_equal(image_insync_min(&find(w, "t")->conf, partition(w)), 1); /* it had one */
    joins(w, (int32_t[]){2, 1, 3}, 3);
    assert_int_equal(image_insync_min(&find(w, "t")->conf, partition(w)), 2);
    is(w, 2, 4, "213");
    world_free(w);
}

static void taken_back(void **state)
{
    (void)state;
    struct world *w = world_of_five("min.insync.replicas=2\n");
    assert_int_equal(take_back(w), ERR_NO_REASSIGNMENT_IN_PROGRESS);
    assert_int_equal(move(w, b45, 2), ERR_NONE);
    joins(w, (int32_t[]){1, 2, 3, 4}, 4);
    assert_int_equal(take_back(w), ERR_NONE);
    replicas_are(w, "123", "", "");
    is(w, 1, 2, "123");
    assert_int_equal(take_back(w), ERR_NO_REASSIGNMENT_IN_PROGRESS);
    world_free(w);
}

/* Only the new ones are left in the set: they stay until enough of the old have followed. */
static void taken_back_late(void **state)
{
    (void)state;
    struct world *w = world_with("min.insync.replicas=2\n", 5, (int32_t[]){1, 2}, 2);
    assert_int_equal(move(w, (int32_t[]){3, 4, 5}, 3), ERR_NONE);
    joins(w, (int32_t[]){1, 2, 3, 4}, 4);
    goes(w, 1);
    goes(w, 2);
    is(w, 3, 2, "34");
    assert_int_equal(take_back(w), ERR_NONE);
    replicas_are(w, "1234", "", "34");
    comes(w, 1, false);
    comes(w, 2, false);
    joins(w, (int32_t[]){3, 4, 1, 2}, 4);
    replicas_are(w, "12", "", "");
    is(w, 1, 4, "12");
    world_free(w);
}

static void another_wish_meanwhile(void **state)
{
    (void)state;
    struct world *w = world_of_five("min.insync.replicas=2\n");
    assert_int_equal(move(w, b45, 2), ERR_NONE);
    joins(w, (int32_t[]){1, 2, 3, 4}, 4);
    assert_int_equal(move(w, (int32_t[]){1, 5}, 2), ERR_NONE);
    replicas_are(w, "15423", "5", "423"); /* 4 is in the set */
    joins(w, (int32_t[]){1, 2, 3, 4, 5}, 5);
    replicas_are(w, "15", "", "");
    is(w, 1, 3, "15");
    assert_int_equal(move(w, (int32_t[]){1, 4}, 2), ERR_NONE);
    assert_int_equal(move(w, (int32_t[]){1, 3}, 2), ERR_NONE);
    replicas_are(w, "135", "3", "5"); /* 4 has nothing that is needed */
    world_free(w);
}

/* At any price, but not at that of everything: who has just been added may have nothing. */
static void unclean_by_who_was_there(void **state)
{
    (void)state;
    struct world *w = world_of_five("");
    struct control_item any = {.name = str_of("t"), .unclean = true};
    goes(w, 2);
    goes(w, 3);
    is(w, 1, 0, "1");
    assert_int_equal(move(w, b45, 2), ERR_NONE);
    goes(w, 1);
    comes(w, 3, false);
    replicas_are(w, "45123", "45", "123");
    assert_int_equal(decide(w, CONTROL_ELECT_LEADERS, &any), ERR_NONE);
    end_batch(w);
    is(w, 3, partition(w)->leader_epoch, "3"); /* and not 4 */
    goes(w, 3);
    assert_int_equal(decide(w, CONTROL_ELECT_LEADERS, &any), ERR_NONE);
    end_batch(w);
    is(w, 4, partition(w)->leader_epoch, "4");
    world_free(w);
}

static void refused(void **state)
{
    (void)state;
    struct world *w = world_of_five("");
    assert_int_equal(move(w, b123, 0), ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(move(w, (int32_t[]){1, 9}, 2), ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(move(w, (int32_t[]){-1}, 1), ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(move(w, (int32_t[]){1, 2, 1}, 3), ERR_INVALID_REPLICA_ASSIGNMENT);
    struct control_item item = {
        .name = str_of("t"), .partition = 1, .replicas = b123, .replica_count = 3};
    assert_int_equal(decide(w, CONTROL_REASSIGN, &item), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    item.partition = 0;
    item.name = str_of("u");
    assert_int_equal(decide(w, CONTROL_REASSIGN, &item), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    item = (struct control_item){
        .name = str_of("t"), .replicas = b45, .replica_count = 2, .same_replica_count = true};
    assert_int_equal(decide(w, CONTROL_REASSIGN, &item), ERR_INVALID_REPLICATION_FACTOR);
    assert_int_equal(end_batch(w), 0);
    assert_int_equal(move(w, b45, 2), ERR_NONE);
    struct control_item more = {.name = str_of("t"), .partition_count = 2};
    assert_int_equal(decide(w, CONTROL_CREATE_PARTITIONS, &more), ERR_REASSIGNMENT_IN_PROGRESS);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moved_when_all_have_followed),
        cmocka_unit_test(leader_goes_with_the_old),
        cmocka_unit_test(fewer_and_another_order_at_once),
        cmocka_unit_test(what_is_to_stay_must_have_followed),
        cmocka_unit_test(one_replica_moves),
        cmocka_unit_test(taken_back),
        cmocka_unit_test(taken_back_late),
        cmocka_unit_test(another_wish_meanwhile),
        cmocka_unit_test(unclean_by_who_was_there),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
