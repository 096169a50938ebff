/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaders and commit sets, as brokers go and come and leaders ask for other sets; and the way back
 * to the first replica. What nothing changes leaves no record.
 */
#include "core/controller_replicas.h"
#include "tests/unit/core/controller_world.h"

#include <stdio.h>

#define BROKERS 3

static const int32_t replicas_123[] = {1, 2, 3};

static struct world *world_with(const char *properties)
{
    struct world *w = world_of(properties, BROKERS);
    const struct control_assignment assignment = {.broker_ids = replicas_123,
                                                  .broker_count = BROKERS};
    struct control_item item = {.name = str_of("t"),
                                .partition_count = -1,
                                .replication_factor = -1,
                                .assignments = &assignment,
                                .assignment_count = 1};
    assert_int_equal(decide(w, CONTROL_CREATE_TOPICS, &item), ERR_NONE);
    end_batch(w);
    return w;
}

static const struct partition_image *partition(struct world *w)
{
    return &find(w, "t")->partitions[0];
}

static void is(struct world *w, int32_t leader, int32_t leader_epoch, const char *set)
{
    const struct partition_image *now = partition(w);
    char text[64] = "";
    for (uint32_t i = 0; i < now->isr_count; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d", now->isr[i]);
    assert_string_equal(text, set);
    assert_int_equal(now->leader, leader);
    assert_int_equal(now->leader_epoch, leader_epoch);
}

static void goes(struct world *w, int32_t id)
{
    struct controller_pass pass = {0};
    const struct broker_image *broker = image_broker(w->image, id);
    const struct metadata_broker_down down = {.id = id, .epoch = broker->epoch};
    assert_true(controller_broker_down(&w->step, &pass, &down));
    end_batch(w);
}

static void comes(struct world *w, int32_t id, bool lossy)
{
    struct controller_pass pass = {0};
    const struct broker_image *broker = image_broker(w->image, id);
    const struct metadata_broker_up up = {.id = id,
                                          .epoch = broker->epoch + 10,
                                          .rack = str_null(),
                                          .version = str_null(),
                                          .lossy = lossy};
    assert_true(controller_broker_up(&w->step, &pass, &up));
    end_batch(w);
}

/* What the leader by the image may ask for, until a test makes something of it wrong. */
static struct control_alter alter_of(struct world *w, const int32_t *ids, uint32_t count)
{
    const struct partition_image *now = partition(w);
    const struct broker_image *leader = image_broker(w->image, now->leader);
    struct control_alter alter = {.topic_id = find(w, "t")->id,
                                  .leader = now->leader,
                                  .broker_epoch = leader ? leader->epoch : -1,
                                  .leader_epoch = now->leader_epoch,
                                  .partition_epoch = now->partition_epoch,
                                  .member_count = count};
    for (uint32_t i = 0; i < count; i++) {
        const struct broker_image *broker = image_broker(w->image, ids[i]);
        alter.members[i] = (struct control_member){ids[i], broker ? broker->epoch : -1};
    }
    return alter;
}

/* Asks, and what was decided becomes the image; a refusal changes nothing. */
static int16_t asks(struct world *w, const struct control_alter *alter)
{
    struct control_op op = {.kind = CONTROL_ALTER_PARTITION, .arena = &w->arena, .alter = alter};
    assert_true(controller_step(&w->step, &op));
    assert_int_equal(end_batch(w), op.error == ERR_NONE ? 1 : 0);
    return op.error;
}

static void joins(struct world *w, const int32_t *ids, uint32_t count)
{
    struct control_alter alter = alter_of(w, ids, count);
    assert_int_equal(asks(w, &alter), ERR_NONE);
}

static int16_t elects(struct world *w, const char *topic, int32_t index)
{
    struct control_item item = {.name = str_of(topic), .partition = index};
    return decide(w, CONTROL_ELECT_LEADERS, &item);
}

static void sets_keep_their_least(void **state)
{
    (void)state;
    struct world *w = world_with("min.insync.replicas=2\n");
    is(w, 1, 0, "123");
    goes(w, 1);
    is(w, 2, 1, "23");
    goes(w, 2);
    is(w, 3, 2, "23"); /* 2 may be needed: nothing is committed without it */
    goes(w, 3);
    is(w, -1, 3, "23");
    comes(w, 1, false);
    is(w, -1, 3, "23"); /* it has missed something */
    comes(w, 2, false);
    is(w, 2, 4, "23");
    comes(w, 3, false);
    is(w, 2, 4, "23");
    world_free(w);
}

static void the_lossy_leave_every_set(void **state)
{
    (void)state;
    struct world *w = world_with("min.insync.replicas=2\n");
    goes(w, 1);
    goes(w, 2);
    comes(w, 2, true);
    is(w, 3, 2, "3"); /* below the least: nobody knows what it has lost */
    world_free(w);
}

static void preferred_leaders(void **state)
{
    (void)state;
    struct world *w = world_with("");
    assert_int_equal(elects(w, "t", 0), ERR_ELECTION_NOT_NEEDED);
    assert_int_equal(elects(w, "t", 1), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(elects(w, "t", -1), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(elects(w, "u", 0), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    goes(w, 1);
    is(w, 2, 1, "23");
    assert_int_equal(elects(w, "t", 0), ERR_PREFERRED_LEADER_NOT_AVAILABLE); /* it is dead */
    comes(w, 1, false);
    assert_int_equal(elects(w, "t", 0), ERR_PREFERRED_LEADER_NOT_AVAILABLE); /* not in the set */
    assert_int_equal(end_batch(w), 0);
    joins(w, (int32_t[]){2, 3, 1}, 3);
    int32_t epoch = partition(w)->partition_epoch;
    assert_int_equal(elects(w, "t", 0), ERR_NONE);
    assert_int_equal(end_batch(w), 1);
    is(w, 1, 2, "231");
    assert_int_equal(partition(w)->partition_epoch, epoch + 1);
    assert_int_equal(elects(w, "t", 0), ERR_ELECTION_NOT_NEEDED);
    world_free(w);
}

static void what_sets_are_refused(void **state)
{
    (void)state;
    struct world *w = world_with("min.insync.replicas=2\n");
    goes(w, 1);
    comes(w, 1, false);
    static const int32_t all[] = {2, 3, 1};
    struct control_alter alter = alter_of(w, all, 3);
    alter.broker_epoch--;
    assert_int_equal(asks(w, &alter), ERR_STALE_BROKER_EPOCH);
    alter = alter_of(w, all, 3);
    alter.leader_epoch--;
    assert_int_equal(asks(w, &alter), ERR_FENCED_LEADER_EPOCH);
    alter.leader_epoch += 2;
    assert_int_equal(asks(w, &alter), ERR_NOT_CONTROLLER);
    alter = alter_of(w, all, 3);
    alter.partition_epoch--;
    assert_int_equal(asks(w, &alter), ERR_INVALID_UPDATE_VERSION);
    alter = alter_of(w, all, 3);
    alter.members[2].broker_epoch--; /* it was eligible in a former life */
    assert_int_equal(asks(w, &alter), ERR_INELIGIBLE_REPLICA);
    alter = alter_of(w, (const int32_t[]){2, 3, 4}, 3);
    assert_int_equal(asks(w, &alter), ERR_INVALID_REQUEST);
    alter = alter_of(w, (const int32_t[]){2, 3, 3}, 3);
    assert_int_equal(asks(w, &alter), ERR_INVALID_REQUEST);
    alter = alter_of(w, (const int32_t[]){3, 1}, 2); /* without its leader */
    assert_int_equal(asks(w, &alter), ERR_INVALID_REQUEST);
    alter = alter_of(w, (const int32_t[]){2}, 1);
    assert_int_equal(asks(w, &alter), ERR_INVALID_REQUEST);
    alter = alter_of(w, all, 0);
    assert_int_equal(asks(w, &alter), ERR_INVALID_REQUEST);
    is(w, 2, 1, "23");
    alter = alter_of(w, all, 3);
    assert_int_equal(asks(w, &alter), ERR_NONE);
    is(w, 2, 1, "231");
    assert_int_equal(asks(w, &alter), ERR_INVALID_UPDATE_VERSION); /* once */
    goes(w, 3);
    alter = alter_of(w, (const int32_t[]){2, 1, 3}, 3);
    assert_int_equal(asks(w, &alter), ERR_INELIGIBLE_REPLICA); /* it is dead */
    world_free(w);
}

/* Many partitions whose leader has come back; of some it has not caught up. */
enum { TOPICS = 30, PARTITIONS = 1000 };

static void many_topics(struct world *w)
{
    char name[16];
    for (int i = 0; i < TOPICS; i++) {
        (void)snprintf(name, sizeof(name), "many-%d", i);
        assert_int_equal(create(w, name, PARTITIONS, 3), ERR_NONE);
        end_batch(w);
    }
}

/* A broker's coming or going, or a look at all, until it is done; in how many batches. */
static uint32_t passes(struct world *w, bool (*step)(struct world *w, struct controller_pass *pass))
{
    struct controller_pass pass = {0};
    uint32_t batches = 1;
    while (!step(w, &pass)) {
        end_batch(w);
        batches++;
    }
    end_batch(w);
    return batches;
}

static bool one_goes(struct world *w, struct controller_pass *pass)
{
    const struct metadata_broker_down down = {.id = 1, .epoch = 1};
    return controller_broker_down(&w->step, pass, &down);
}

static bool one_comes(struct world *w, struct controller_pass *pass)
{
    const struct metadata_broker_up up = {
        .id = 1, .epoch = 11, .rack = str_null(), .version = str_null()};
    return controller_broker_up(&w->step, pass, &up);
}

static bool balances(struct world *w, struct controller_pass *pass)
{
    return controller_balance(&w->step, pass);
}

static void counts_of_one(struct world *w, uint32_t *leads, uint32_t *might)
{
    *leads = *might = 0;
    for (uint32_t t = 0; t < w->image->topic_count; t++) {
        const struct topic_image *topic = w->image->topics[t];
        for (uint32_t i = 0; i < topic->partition_count; i++) {
            *leads += topic->partitions[i].leader == 1;
            *might += topic->partitions[i].replicas[0] == 1;
        }
    }
}

static void balance_in_several_batches(void **state)
{
    (void)state;
    struct world *w = world_with("");
    uint32_t leads, might;
    many_topics(w);
    counts_of_one(w, &leads, &might);
    assert_int_equal(leads, might);
    assert_true(might > TOPICS * PARTITIONS / 4);
    assert_true(passes(w, one_goes) > 2);
    counts_of_one(w, &leads, &might);
    assert_int_equal(leads, 0);
    (void)passes(w, one_comes);
    uint64_t before = w->image->batch;
    assert_true(passes(w, balances) > 1); /* it looks at some 10,000 at a time */
    counts_of_one(w, &leads, &might);
    assert_int_equal(leads, 0); /* it is in no set */
    joins(w, (int32_t[]){2, 3, 1}, 3);
    assert_true(w->image->batch > before);
    (void)passes(w, balances);
    counts_of_one(w, &leads, &might);
    assert_int_equal(leads, 1);
    is(w, 1, 2, "231");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_keep_their_least),      cmocka_unit_test(the_lossy_leave_every_set),
        cmocka_unit_test(preferred_leaders),          cmocka_unit_test(what_sets_are_refused),
        cmocka_unit_test(balance_in_several_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
