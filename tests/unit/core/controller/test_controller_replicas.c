/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaders and commit sets, as brokers go and come and leaders ask for other sets; and the way back
 * to the first replica. What nothing changes leaves no record.
 */
#include "tests/unit/core/controller/replicas_world.h"

#define BROKERS 3

static const int32_t replicas_123[] = {1, 2, 3};

static struct world *world_with_three(const char *properties)
{
    return world_with(properties, BROKERS, replicas_123, BROKERS);
}

/* How many partitions it keeps, or the error. */
static int32_t drains(struct world *w, int32_t id)
{
    struct control_drain drain = {.id = id, .epoch = image_broker(w->image, id)->epoch};
    struct control_op op = {.kind = CONTROL_DRAIN_BROKER, .arena = &w->arena, .drain = &drain};
    assert_true(controller_step(&w->step, &op));
    assert_int_equal(op.error, ERR_NONE);
    end_batch(w);
    return (int32_t)drain.remaining;
}

static int16_t elects(struct world *w, const char *topic, int32_t index)
{
    struct control_item item = {.name = str_of(topic), .partition = index};
    return decide(w, CONTROL_ELECT_LEADERS, &item);
}

static void sets_keep_their_least(void **state)
{
    (void)state;
    struct world *w = world_with_three("min.insync.replicas=2\n");
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
    struct world *w = world_with_three("min.insync.replicas=2\n");
    goes(w, 1);
    goes(w, 2);
    comes(w, 2, true);
    is(w, 3, 2, "3"); /* below the least: nobody knows what it has lost */
    world_free(w);
}

/* Nobody leads it before somebody asks for that, whoever is there. */
static void the_last_copy_is_lost(void **state)
{
    (void)state;
    struct world *w = world_with_three("");
    goes(w, 2);
    goes(w, 3);
    is(w, 1, 0, "1");
    goes(w, 1);
    comes(w, 1, true);
    is(w, -1, 1, "");
    assert_int_equal(w->step.last_copies_lost, 1);
    comes(w, 2, false);
    is(w, -1, 1, "");
    assert_int_equal(elects(w, "t", 0), ERR_PREFERRED_LEADER_NOT_AVAILABLE);
    struct control_alter alter = alter_of(w, (const int32_t[]){1, 2}, 2);
    assert_int_equal(asks(w, &alter), ERR_STALE_BROKER_EPOCH);
    struct control_item item = {.name = str_of("t"), .unclean = true};
    assert_int_equal(decide(w, CONTROL_ELECT_LEADERS, &item), ERR_NONE);
    end_batch(w);
    is(w, 1, 2, "1");
    world_free(w);
}

/* Told by a broker that is there, of one of its directories. */
static void a_copy_is_lost(void **state)
{
    (void)state;
    struct world *w = world_with_three("min.insync.replicas=2\n");
    struct control_alter alter = alter_of(w, NULL, 0);
    alter.leader = 3; /* who asks: it follows */
    alter.broker_epoch = image_broker(w->image, 3)->epoch;
    alter.lost = true;
    assert_int_equal(asks(w, &alter), ERR_NONE);
    is(w, 1, 0, "12");
    assert_int_equal(asks(w, &alter), ERR_INVALID_UPDATE_VERSION);
    alter = alter_of(w, NULL, 0);
    alter.lost = true;
    alter.broker_epoch--;
    assert_int_equal(asks(w, &alter), ERR_STALE_BROKER_EPOCH);
    alter.broker_epoch++;
    assert_int_equal(asks(w, &alter), ERR_NONE);
    is(w, 2, 1, "2"); /* below the least */
    assert_int_equal(w->step.last_copies_lost, 0);
    goes(w, 1);
    goes(w, 3);
    alter = alter_of(w, NULL, 0);
    alter.lost = true;
    assert_int_equal(asks(w, &alter), ERR_NONE);
    is(w, -1, 2, "");
    assert_int_equal(w->step.last_copies_lost, 1);
    world_free(w);
}

/* What lies on it alone stays as it was when a broker is back under another epoch at once, unless
 * its disk was replaced. */
static void a_bounce_without_its_disk(void **state)
{
    (void)state;
    struct world *w = world_with("", BROKERS, replicas_123, 1);
    struct controller_pass pass = {.bounced = true};
    const struct metadata_broker_down down = {.id = 1, .epoch = image_broker(w->image, 1)->epoch};
    assert_true(controller_broker_down(&w->step, &pass, &down));
    end_batch(w);
    is(w, 1, 0, "1");
    comes(w, 1, true);
    is(w, -1, 1, "");
    world_free(w);
}

static void the_dead_leave_when_others_have_joined(void **state)
{
    (void)state;
    struct world *w = world_with_three("min.insync.replicas=2\n");
    goes(w, 1);
    goes(w, 2);
    is(w, 3, 2, "23");
    comes(w, 1, false);
    joins(w, (int32_t[]){2, 3, 1}, 3);
    is(w, 3, 2, "31"); /* and not as late as 3 misses it */
    world_free(w);
}

static void who_is_about_to_stop_hands_over(void **state)
{
    (void)state;
    struct world *w = world_with_three("min.insync.replicas=2\n");
    struct control_drain stale = {.id = 1, .epoch = 0};
    struct control_op op = {.kind = CONTROL_DRAIN_BROKER, .arena = &w->arena, .drain = &stale};
    assert_true(controller_step(&w->step, &op));
    assert_int_equal(op.error, ERR_STALE_BROKER_EPOCH);
    assert_int_equal(end_batch(w), 0);
    assert_int_equal(drains(w, 1), 0);
    is(w, 2, 1, "23");
    assert_int_equal(drains(w, 1), 0); /* asked twice: nothing more happens */
    is(w, 2, 1, "23");
    struct control_alter alter = alter_of(w, (const int32_t[]){2, 3, 1}, 3);
    assert_int_equal(asks(w, &alter), ERR_INELIGIBLE_REPLICA);
    assert_int_equal(elects(w, "t", 0), ERR_PREFERRED_LEADER_NOT_AVAILABLE);
    assert_int_equal(drains(w, 2), 0);
    is(w, 3, 2, "23"); /* its copy may be needed */
    assert_int_equal(drains(w, 3), 1);
    is(w, 3, 2, "23");
    goes(w, 1);
    comes(w, 1, false); /* a new life does not drain */
    joins(w, (int32_t[]){2, 3, 1}, 3);
    is(w, 1, 3, "31");
    goes(w, 3);
    is(w, 1, 3, "31");
    assert_int_equal(drains(w, 1), 1); /* 3 is in the set, and not there */
    comes(w, 3, false);
    is(w, 3, 4, "31");
    world_free(w);
}

static void leads_all(struct world *w)
{
    struct controller_pass pass = {0};
    assert_true(controller_lead_all(&w->step, &pass));
    end_batch(w);
}

static int16_t elects_any(struct world *w)
{
    struct control_item item = {.name = str_of("t"), .unclean = true};
    return decide(w, CONTROL_ELECT_LEADERS, &item);
}

static void unclean_when_asked(void **state)
{
    (void)state;
    struct world *w = world_with_three("");
    goes(w, 1);
    goes(w, 2);
    is(w, 3, 2, "3");
    assert_int_equal(elects_any(w), ERR_ELECTION_NOT_NEEDED);
    goes(w, 3);
    is(w, -1, 3, "3");
    assert_int_equal(elects_any(w), ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE);
    comes(w, 2, false);
    is(w, -1, 3, "3"); /* nobody has asked */
    assert_int_equal(elects_any(w), ERR_NONE);
    assert_int_equal(w->step.unclean_elections, 1);
    end_batch(w);
    is(w, 2, 4, "2");
    comes(w, 3, false);
    is(w, 2, 4, "2"); /* it follows, and loses what it had more */
    world_free(w);
}

static void unclean_as_the_topic_is_set(void **state)
{
    (void)state;
    struct world *w = world_with_three("unclean.leader.election.enable=true\n");
    goes(w, 1);
    is(w, 2, 1, "23");
    goes(w, 2);
    comes(w, 1, false);
    is(w, 3, 2, "3");
    goes(w, 3);
    is(w, -1, 3, "3");
    leads_all(w);
    is(w, 1, 4, "1");
    goes(w, 1);
    leads_all(w);
    is(w, -1, 5, "1");
    comes(w, 3, false);
    is(w, -1, 5, "1");
    leads_all(w);
    is(w, 3, 6, "3");
    assert_int_equal(w->step.unclean_elections, 2);
    world_free(w);
}

/* Who leaves and comes back in one batch is asked first. */
static void a_bounce_is_no_reason(void **state)
{
    (void)state;
    struct world *w = world_with_three("unclean.leader.election.enable=true\n");
    goes(w, 2);
    goes(w, 3);
    comes(w, 3, false);
    struct controller_pass down_pass = {.bounced = true};
    struct controller_pass up_pass = {0};
    const struct metadata_broker_down down = {.id = 1, .epoch = 1};
    const struct metadata_broker_up up = {
        .id = 1, .epoch = 50, .rack = str_null(), .version = str_null()};
    assert_true(controller_broker_down(&w->step, &down_pass, &down));
    assert_true(controller_broker_up(&w->step, &up_pass, &up));
    end_batch(w);
    leads_all(w);
    assert_int_equal(w->step.unclean_elections, 0);
    is_list(partition(w)->isr, partition(w)->isr_count, "1");
    assert_int_equal(partition(w)->leader, 1);
    world_free(w);
}

static void a_setting_makes_leaders(void **state)
{
    (void)state;
    struct world *w = world_with_three("");
    struct controller_pass pass = {0};
    goes(w, 1);
    goes(w, 2);
    comes(w, 2, false);
    goes(w, 3);
    is(w, -1, 3, "3");
    assert_true(controller_lead_all(&w->step, &pass));
    assert_int_equal(end_batch(w), 0);
    const struct control_config wish = {.name = str_of("unclean.leader.election.enable"),
                                        .value = str_of("true")};
    struct control_item item = {
        .name = str_of("t"), .resource_type = 2, .configs = &wish, .config_count = 1};
    assert_int_equal(decide(w, CONTROL_INCREMENTAL_ALTER_CONFIGS, &item), ERR_NONE);
    end_batch(w);
    pass = (struct controller_pass){0};
    assert_true(controller_lead_all(&w->step, &pass));
    end_batch(w);
    is(w, 2, 4, "2");
    world_free(w);
}

/* Whoever has lost what it alone had acknowledged gets a new epoch; only the leader by the newest
 * state, and once for each asking. */
static void who_recovers_leads_on(void **state)
{
    (void)state;
    struct world *w = world_with("", BROKERS, replicas_123, 1);
    struct control_alter alter = alter_of(w, NULL, 0);
    alter.recovering = true;
    is(w, 1, 0, "1");
    assert_int_equal(asks(w, &alter), ERR_NONE);
    is(w, 1, 1, "1");
    assert_int_equal(asks(w, &alter), ERR_FENCED_LEADER_EPOCH);
    is(w, 1, 1, "1");
    world_free(w);
    w = world_with_three(""); /* it is being moved, or was */
    alter = alter_of(w, NULL, 0);
    alter.recovering = true;
    assert_int_equal(asks(w, &alter), ERR_NONE);
    is(w, 1, 1, "123");
    world_free(w);
}

static void a_leader_resigns(void **state)
{
    (void)state;
    struct world *w = world_with_three("min.insync.replicas=2\n");
    struct control_alter alter = alter_of(w, (const int32_t[]){2, 3}, 2);
    assert_int_equal(asks(w, &alter), ERR_NONE);
    is(w, 2, 1, "23");
    assert_int_equal(asks(w, &alter), ERR_FENCED_LEADER_EPOCH); /* once */
    alter = alter_of(w, (const int32_t[]){3}, 1);
    assert_int_equal(asks(w, &alter), ERR_NONE);
    is(w, 3, 2, "23"); /* no smaller set */
    goes(w, 2);
    alter = alter_of(w, (const int32_t[]){2}, 1);
    assert_int_equal(asks(w, &alter), ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE);
    is(w, 3, 2, "23");
    world_free(w);
}

static void preferred_leaders(void **state)
{
    (void)state;
    struct world *w = world_with_three("");
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
    struct world *w = world_with_three("min.insync.replicas=2\n");
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
    struct world *w = world_with_three("");
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

static bool one_is_lossy(struct world *w, struct controller_pass *pass)
{
    return controller_broker_lossy(&w->step, pass, 1);
}

/* Before it is there again it is in no set; it has been in all of them. */
static void the_lossy_leave_in_several_batches(void **state)
{
    (void)state;
    struct world *w = world_with_three("min.insync.replicas=3\n");
    many_topics(w);
    (void)passes(w, one_goes);
    is(w, 2, 1, "123");
    assert_true(passes(w, one_is_lossy) > 2);
    assert_false(image_broker(w->image, 1)->live);
    for (uint32_t t = 0; t < w->image->topic_count; t++)
        for (uint32_t p = 0; p < w->image->topics[t]->partition_count; p++)
            assert_int_equal(w->image->topics[t]->partitions[p].isr_count, 2);
    assert_int_equal(passes(w, one_is_lossy), 1); /* nothing is left to do */
    is(w, 2, 1, "23");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_keep_their_least),
        cmocka_unit_test(the_lossy_leave_every_set),
        cmocka_unit_test(the_last_copy_is_lost),
        cmocka_unit_test(a_copy_is_lost),
        cmocka_unit_test(a_bounce_without_its_disk),
        cmocka_unit_test(the_dead_leave_when_others_have_joined),
        cmocka_unit_test(who_is_about_to_stop_hands_over),
        cmocka_unit_test(unclean_when_asked),
        cmocka_unit_test(unclean_as_the_topic_is_set),
        cmocka_unit_test(a_bounce_is_no_reason),
        cmocka_unit_test(a_setting_makes_leaders),
        cmocka_unit_test(who_recovers_leads_on),
        cmocka_unit_test(a_leader_resigns),
        cmocka_unit_test(preferred_leaders),
        cmocka_unit_test(what_sets_are_refused),
        cmocka_unit_test(balance_in_several_batches),
        cmocka_unit_test(the_lossy_leave_in_several_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
