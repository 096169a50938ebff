/* SPDX-License-Identifier: Apache-2.0
 *
 * The consumer group of KIP-848, on paper. Tests are named by the rule they hold (K).
 */
#include "tests/unit/core/group/consumer_paper.h"

/* ---- rules ---- */

static enum err checked(const struct consumer_heartbeat *hb, bool client_made_id)
{
    const char *why;
    return consumer_heartbeat_check(hb, client_made_id, &why);
}

static void k1_what_is_refused(void **state)
{
    static struct tp part = {.partition = 1};
    static const struct tp_set nothing;
    static const struct tp_set one = {&part, 1};
    (void)state;
    const struct consumer_heartbeat good = {.member_id = str_of("m"),
                                            .instance_id = str_null(),
                                            .rack_id = str_null(),
                                            .rebalance_timeout_ms = 1,
                                            .name_count = 0,
                                            .regex = str_null(),
                                            .owned = &nothing};
    struct consumer_heartbeat hb = good;
    assert_int_equal(checked(&hb, true), ERR_NONE);
    hb.member_id = str_of("");
    assert_int_equal(checked(&hb, true), ERR_INVALID_REQUEST);
    assert_int_equal(checked(&hb, false), ERR_NONE);
    hb.epoch = 3;
    assert_int_equal(checked(&hb, false), ERR_INVALID_REQUEST);
    hb = good;
    hb.instance_id = str_of("");
    assert_int_equal(checked(&hb, true), ERR_INVALID_REQUEST);
    hb = good;
    hb.rack_id = str_of("");
    assert_int_equal(checked(&hb, true), ERR_INVALID_REQUEST);
    hb = good;
    hb.rebalance_timeout_ms = -1;
    assert_int_equal(checked(&hb, true), ERR_INVALID_REQUEST);
    hb = good;
    hb.owned = NULL;
    assert_int_equal(checked(&hb, true), ERR_INVALID_REQUEST);
    hb.owned = &one;
    assert_int_equal(checked(&hb, true), ERR_INVALID_REQUEST);
    hb = good;
    hb.name_count = -1;
    assert_int_equal(checked(&hb, true), ERR_INVALID_REQUEST);
    hb.regex = str_of("");
    assert_int_equal(checked(&hb, true), ERR_NONE);
    hb = good;
    hb.epoch = -2;
    assert_int_equal(checked(&hb, true), ERR_INVALID_REQUEST);
    hb.instance_id = str_of("i");
    assert_int_equal(checked(&hb, true), ERR_NONE);
    hb.epoch = -3;
    assert_int_equal(checked(&hb, true), ERR_INVALID_REQUEST);
}

static void k1_what_cannot_be_stored(void **state)
{
    static char text[8192];
    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    a->regex = text;
    say_all(a);
    assert_int_equal(a->error, ERR_INVALID_REQUEST);
    assert_true(consumer_group_is_void(w.g));
}

static void room_is_for_all_groups(void **state)
{
    (void)state;
    join_and_obey(a);
    w.host.member_bytes_max = w.host.member_bytes;
    join(b); /* it passes: an answer on which clients come back */
    assert_int_equal(b->error, ERR_COORDINATOR_NOT_AVAILABLE);
    assert_int_equal(w.g->member_count, 1);
    say_all(a);
    assert_int_equal(a->error, ERR_NONE); /* says what it said */
    a->topics = "00";
    join(a);
    assert_int_equal(a->error, ERR_NONE);
    obey(a);
    a->topics = "01";
    say_all(a);
    assert_int_equal(a->error, ERR_COORDINATOR_NOT_AVAILABLE);
    a->topics = "0";
    a->regex = "t.*";
    say_all(a);
    assert_int_equal(a->error, ERR_COORDINATOR_NOT_AVAILABLE);
    a->error = ERR_NONE;
    beat(a);
    assert_int_equal(a->error, ERR_NONE);
    w.host.member_bytes_max = 1U << 30;
    w.host.members_max = 1;
    say_all(b);
    assert_int_equal(b->error, ERR_GROUP_MAX_SIZE_REACHED);
}

static void who_would_be_refused_changes_nothing(void **state)
{
    static const struct tp_set nothing;
    const struct str name = str_of("t0");
    (void)state;
    struct consumer_heartbeat hb = {.member_id = str_of("a"),
                                    .instance_id = str_null(),
                                    .rack_id = str_null(),
                                    .client_id = str_null(),
                                    .rebalance_timeout_ms = 1,
                                    .names = &name,
                                    .name_count = 1,
                                    .regex = str_null(),
                                    .assignor = str_of("best"),
                                    .owned = &nothing};
    assert_false(consumer_group_may_join(w.g, &hb));
    assert_int_equal(hb.error, ERR_UNSUPPORTED_ASSIGNOR);
    hb.assignor = str_null();
    assert_true(consumer_group_may_join(w.g, &hb));
    w.host.member_bytes_max = 0;
    assert_false(consumer_group_may_join(w.g, &hb));
    assert_int_equal(hb.error, ERR_COORDINATOR_NOT_AVAILABLE);
    assert_true(consumer_group_is_void(w.g));
}

static void k2_only_what_is_new_is_told(void **state)
{
    (void)state;
    a->topics = "01";
    join(a);
    assert_int_equal(a->error, ERR_NONE);
    assert_int_equal(a->epoch, 2);
    assert_int_equal(a->target.count, 8);
    obey(a);
    assert_false(a->assigned);
    const size_t records = w.log_count;
    beat(a);
    assert_false(a->assigned);
    assert_int_equal(w.log_count, records); /* nothing new, nothing written */
    say_all(a);
    assert_true(a->assigned);
    assert_int_equal(w.log_count, records);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
}

static void k3_epochs(void **state)
{
    (void)state;
    join_and_obey(a);
    send_beat(a, &(struct beat){.epoch = 3});
    assert_int_equal(a->error, ERR_FENCED_MEMBER_EPOCH);
    join(b);
    assert_int_equal(b->epoch, 3);
    assert_int_equal(b->target.count, 0);
    beat(a); /* is told to give back */
    assert_int_equal(a->epoch, 2);
    assert_int_equal(a->target.count, 2);
    tp_set_replace(&a->owned, tp_set_copy(&a->target));
    send_beat(a, &(struct beat){.epoch = 2, .owned = &a->owned, .lost = true});
    beat(a); /* with the old epoch, again: the answer was lost */
    assert_int_equal(a->error, ERR_NONE);
    assert_int_equal(a->epoch, 3);
    a->epoch = 2;
    send_beat(a, &(struct beat){.epoch = 2}); /* does not say what it has */
    assert_int_equal(a->error, ERR_FENCED_MEMBER_EPOCH);
    struct client *const stranger = c;
    stranger->epoch = 4;
    beat(stranger);
    assert_int_equal(stranger->error, ERR_UNKNOWN_MEMBER_ID);
    join(stranger); /* and a join whose answer was lost comes again */
    join(stranger);
    assert_int_equal(stranger->error, ERR_NONE);
    settle_down(stranger, 1);
    join(a); /* again, as the same: it finds what it had */
    assert_int_equal(a->error, ERR_NONE);
    assert_int_equal(w.g->member_count, 3);
    assert_int_equal(a->epoch, w.g->assignment_epoch);
    join(b);
    join(stranger);
    settle_down(clients, 3);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
    assert_int_equal(a->owned.count + b->owned.count + c->owned.count, 4);
}

static void k4_assignors_and_expressions(void **state)
{
    static const struct tp_set nothing;
    (void)state;
    a->topics = "";
    send_beat(a, &(struct beat){.full = true, .owned = &nothing, .assignor = "best"});
    assert_int_equal(a->error, ERR_UNSUPPORTED_ASSIGNOR);
    a->regex = "(";
    say_all(a);
    assert_int_equal(a->error, ERR_INVALID_REGULAR_EXPRESSION);
    assert_true(consumer_group_is_void(w.g));
    a->regex = "t.*";
    send_beat(a, &(struct beat){.full = true, .owned = &nothing, .assignor = "range"});
    assert_int_equal(a->error, ERR_NONE);
    assert_int_equal(a->epoch, 1); /* at once, if without anything */
    assert_int_equal(consumer_group_assignor(w.g), ASSIGN_RANGE);
    settle_down(a, 1);
    assert_int_equal(a->owned.count, 12);
    topic_becomes(4, 2); /* a new topic */
    settle_down(a, 1);
    assert_int_equal(a->owned.count, 14);
    restart(&w);
    join(b); /* while nobody knows what "t.*" means, nobody loses anything */
    beat(a);
    assert_false(a->assigned);
    settle_down(clients, 2);
    assert_int_equal(a->owned.count + b->owned.count, 14);
    assert_true(b->owned.count > 0);
}

static void k4_static_members(void **state)
{
    (void)state;
    a->instance = "one";
    b->instance = "one";
    join_and_obey(a);
    join(b);
    assert_int_equal(b->error, ERR_UNRELEASED_INSTANCE_ID);
    b->epoch = 1;
    beat(b);
    assert_int_equal(b->error, ERR_FENCED_INSTANCE_ID);
    leave(a, -2);
    assert_int_equal(a->error, ERR_NONE);
    const int32_t epoch = w.g->epoch;
    join(b);
    assert_int_equal(b->error, ERR_NONE);
    assert_int_equal(b->epoch, 2);
    assert_int_equal(b->target.count, 4);
    assert_int_equal(w.g->epoch, epoch); /* nobody had to share anew */
    assert_null(consumer_group_member(w.g, str_of("a")));
    restart(&w);
    obey(b);
    assert_int_equal(b->error, ERR_NONE);
    leave(b, -2);
    pass(&w, SESSION_MS + 1);
    assert_int_equal(w.g->member_count, 0);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_EMPTY);
}

static void k5_a_partition_is_given_back_first(void **state)
{
    (void)state;
    join_and_obey(a);
    join(b);
    beat(b);
    assert_int_equal(b->target.count, 0);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_RECONCILING);
    send_beat(a, &(struct beat){.epoch = a->epoch, .owned = &a->owned}); /* has not given back */
    beat(b);
    assert_int_equal(b->target.count, 0);
    obey(a);
    assert_int_equal(a->epoch, 3);
    beat(b);
    assert_int_equal(b->target.count, 2);
    assert_false(tp_set_meets(&a->owned, &b->target));
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
}

static void k5_who_does_not_give_back_is_fenced(void **state)
{
    (void)state;
    join_and_obey(a);
    join(b);
    beat(a);
    for (unsigned i = 0; i < 7; i++) {
        pass(&w, 9000);
        a->told = false;
        beat(a);
        beat(b);
    }
    assert_int_equal(a->error, ERR_UNKNOWN_MEMBER_ID);
    settle_down(b, 1);
    assert_int_equal(b->owned.count, 4);
}

static void k5_silence(void **state)
{
    (void)state;
    join(a);
    pass(&w, SESSION_MS - 1);
    beat(a);
    pass(&w, SESSION_MS - 1);
    beat(a);
    assert_int_equal(a->error, ERR_NONE);
    pass(&w, SESSION_MS);
    beat(a);
    assert_int_equal(a->error, ERR_UNKNOWN_MEMBER_ID);
}

static void k6_commits(void **state)
{
    bool each;
    (void)state;
    const struct tp first = {.topic = topic_id(&w, 0), .partition = 0};
    assert_int_equal(consumer_group_commit(w.g, str_of(""), -1, &each), ERR_NONE);
    join_and_obey(a);
    assert_int_equal(consumer_group_commit(w.g, str_of(""), -1, &each), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(consumer_group_commit(w.g, str_of("a"), 2, &each), ERR_NONE);
    assert_false(each);
    assert_int_equal(consumer_group_commit(w.g, str_of("a"), 3, &each), ERR_STALE_MEMBER_EPOCH);
    assert_int_equal(consumer_group_fetch(w.g, str_null(), -1), ERR_NONE);
    assert_int_equal(consumer_group_fetch(w.g, str_of("a"), 3), ERR_STALE_MEMBER_EPOCH);
    join(b);
    settle_down(clients, 2);
    for (uint32_t p = 0; p < 4; p++) { /* under its old epoch: what it has still */
        const struct tp part = {.topic = first.topic, .partition = (int32_t)p};
        assert_int_equal(consumer_group_commit(w.g, str_of("a"), 2, &each), ERR_NONE);
        assert_true(each);
        assert_int_equal(consumer_group_commit_of(w.g, str_of("a"), 2, &part),
                         tp_set_has(&a->owned, &part));
        assert_false(consumer_group_commit_of(w.g, str_of("b"), 2, &part));
        assert_int_equal(consumer_group_commit_of(w.g, str_of("b"), 3, &part),
                         tp_set_has(&b->owned, &part));
    }
    restart(&w); /* the epochs of partitions are in the log, too */
    assert_true(consumer_group_commit_of(w.g, str_of("a"), 2, &a->owned.parts[0]));
    assert_false(consumer_group_commit_of(w.g, str_of("b"), 2, &b->owned.parts[0]));
}

/* As they are in Kafka's records. */
static void k5_who_gives_back_twice_waits_twice(void **state)
{
    (void)state;
    a->topics = "01";
    b->topics = "01";
    c->topics = "01";
    join_and_settle(a);
    const int32_t first = a->epoch;
    const struct consumer_member *member = consumer_group_member(w.g, str_of("a"));
    join(b);
    beat(a);
    assert_int_equal(member->state, CONSUMER_MEMBER_REVOKING);
    join(c);
    obey(a); /* and is told to give back more */
    assert_int_equal(member->state, CONSUMER_MEMBER_REVOKING);
    assert_int_equal(a->epoch, first);
    obey(a);
    assert_int_equal(member->state, CONSUMER_MEMBER_STABLE);
    assert_int_equal(a->epoch, w.g->epoch);
}

static void k6_commits_for_what_is_given_back_outlive_a_restart(void **state)
{
    (void)state;
    join_and_settle(a);
    const int32_t first = a->epoch;
    a->topics = "01";
    send_beat(a, &(struct beat){.epoch = a->epoch, .full = true, .owned = &a->owned});
    settle_down(a, 1);
    assert_true(a->epoch > first);
    join(b);
    beat(a);
    restart(&w);
    const struct consumer_member *member = consumer_group_member(w.g, str_of("a"));
    uint32_t old = 0;
    assert_int_equal(member->state, CONSUMER_MEMBER_REVOKING);
    for (uint32_t i = 0; i < member->revoking.count; i++)
        old += consumer_group_commit_of(w.g, str_of("a"), first, &member->revoking.parts[i]);
    assert_true(old > 0);
}

static struct tp_set all_of_topic(uint32_t topic)
{
    struct tp_set set = {.parts = mem_alloc(w.partitions[topic] * sizeof(struct tp))};
    for (uint32_t i = 0; i < w.partitions[topic]; i++)
        set.parts[set.count++] = (struct tp){.topic = topic_id(&w, topic), .partition = (int32_t)i};
    return set;
}

/* Nobody writes that; should it be read, the first one has it. */
static void one_reader_of_what_two_were_written_to_have(void **state)
{
    static const char *const ids[] = {"a", "b"};
    struct str name = str_of("t0");
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        const struct consumer_restored_member member = {.instance_id = str_null(),
                                                        .rack_id = str_null(),
                                                        .client_id = str_of("c"),
                                                        .client_host = str_of("/h"),
                                                        .names = &name,
                                                        .name_count = 1,
                                                        .regex = str_null(),
                                                        .assignor = str_null(),
                                                        .rebalance_timeout_ms = 60000};
        consumer_restore_member(w.g, str_of(ids[i]), &member);
        const struct consumer_restored_current current = {
            .epoch = 3, .previous_epoch = 3, .assigned = all_of_topic(0)};
        consumer_restore_current(w.g, str_of(ids[i]), &current);
    }
    consumer_group_resume(w.g);
    assert_int_equal(consumer_group_member(w.g, str_of("a"))->assigned.count, 4);
    assert_int_equal(consumer_group_member(w.g, str_of("b"))->assigned.count, 0);
    flush(&w);
}

static void states_have_their_numbers(void **state)
{
    (void)state;
    assert_int_equal(CONSUMER_MEMBER_STABLE, 0);
    assert_int_equal(CONSUMER_MEMBER_REVOKING, 1);
    assert_int_equal(CONSUMER_MEMBER_WAITING, 2);
}

static void set_state(const char *id, int8_t number)
{
    const struct consumer_record record = {
        .kind = CONSUMER_RECORD_CURRENT,
        .group = w.g->id,
        .member = str_of(id),
        .of_current = {.member_epoch = 2, .previous_member_epoch = 1, .state = number}};
    consumer_record_restore(&record, w.g);
    consumer_group_resume(w.g);
}

static void a_state_that_is_not_known(void **state)
{
    static const struct tp_set nothing;
    (void)state;
    join(a);
    flush(&w);
    consumer_group_free(w.g);
    w.g = consumer_group_new(&w.host, str_of("group"));
    read_log(&w);
    set_state("a", 99);
    obey(a);
    assert_int_equal(a->error, ERR_FENCED_MEMBER_EPOCH);
    send_beat(a, &(struct beat){.epoch = 2});
    assert_int_equal(a->error, ERR_FENCED_MEMBER_EPOCH);
    send_beat(a, &(struct beat){.epoch = 2, .owned = &nothing});
    assert_int_equal(a->error, ERR_NONE);
    assert_int_equal(a->target.count, 4);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
}

static void topics_change(void **state)
{
    (void)state;
    a->topics = "03";
    join_and_settle(a);
    assert_int_equal(a->owned.count, 4);
    topic_becomes(1, 9); /* is not ours */
    settle_down(a, 1);
    assert_int_equal(w.g->epoch, 2);
    w.partitions[0] = 6;
    topic_becomes(3, 1);
    settle_down(a, 1);
    assert_int_equal(w.g->epoch, 3);
    assert_int_equal(a->owned.count, 7);
    w.generation[0]++; /* deleted and made again */
    w.host.topics_version++;
    settle_down(a, 1);
    assert_int_equal(a->owned.count, 7);
    topic_becomes(0, 0);
    settle_down(a, 1);
    assert_int_equal(a->owned.count, 1);
}

static void the_first_plan_may_take_its_time(void **state)
{
    (void)state;
    w.later = true;
    join(a);
    join(b);
    assert_int_equal(a->epoch, 1); /* in which nobody has anything */
    assert_int_equal(b->epoch, 1);
    assert_int_equal(a->target.count, 0);
    settle_down(clients, 2);
    assert_int_equal(a->owned.count, 2);
    assert_int_equal(b->owned.count, 2);
}

/* What stood behind the group's own record never came to the log. */
static void a_first_plan_that_was_cut_off(void **state)
{
    for (int32_t epoch = 1; epoch < 4; epoch++) {
        const struct consumer_record record = {
            .kind = CONSUMER_RECORD_GROUP, .group = w.g->id, .of_group = {.epoch = epoch}};
        consumer_record_restore(&record, w.g);
        consumer_group_resume(w.g);
        w.later = true;
        join(a);
        assert_int_equal(a->error, ERR_NONE);
        assert_int_equal(a->epoch, 1);
        assert_true(w.g->epoch > 1);
        restart(&w);
        settle_down(a, 1);
        assert_int_equal(a->owned.count, 4);
        group_end(state);
        group_begin(state);
    }
}

static void a_plan_may_take_its_time(void **state)
{
    (void)state;
    join(a);
    settle_down(a, 1);
    w.later = true;
    join(b);
    assert_int_equal(b->epoch, 2); /* of the target that there is */
    assert_int_equal(consumer_group_state(w.g), CONSUMER_ASSIGNING);
    leave(a, -1); /* meanwhile */
    plan_now(&w);
    settle_down(b, 1);
    assert_int_equal(b->owned.count, 4);
    leave(b, -1);
    restart(&w);
    join(a);
    assert_true(a->epoch > 0);
}

static void a_static_member_comes_back_while_a_plan_is_made(void **state)
{
    (void)state;
    a->instance = "one";
    b->instance = "one";
    join_and_obey(a);
    w.later = true;
    join(c);
    assert_non_null(w.plan);
    leave(a, -2);
    join(b);
    assert_int_equal(b->error, ERR_NONE);
    assert_int_equal(b->target.count, 4);
    plan_now(&w);
    settle_down(&clients[1], 2); /* b and c */
    assert_int_equal(b->owned.count, 2);
    assert_int_equal(c->owned.count, 2);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
}

static void what_comes_late_changes_no_empty_group(void **state)
{
    (void)state;
    a->regex = "t.*";
    join(a);
    resolve_now(&w);
    w.later = true;
    w.partitions[0]++;
    w.host.topics_version++;
    beat(a);
    assert_true(w.resolving);
    resolve_now(&w);
    beat(a);
    assert_non_null(w.plan);
    w.host.topics_version++;
    beat(a);
    assert_true(w.resolving);
    leave(a, -1);
    const size_t records = w.log_count;
    const int32_t epoch = w.g->epoch;
    plan_now(&w);
    assert_false(consumer_group_is_dirty(w.g));
    resolve_now(&w);
    assert_false(consumer_group_is_dirty(w.g));
    assert_int_equal(w.g->epoch, epoch);
    assert_int_equal(w.log_count, records);
    join(a); /* and it goes on from there */
    settle_down(a, 1);
    assert_int_equal(a->owned.count, 13);
}

/* ---- everything at once ---- */

#define CROWD 6U

static uint32_t chance(uint32_t below)
{
    w.seed = w.seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(w.seed >> 33) % below;
}

static bool is_member(const struct client *client)
{
    const struct consumer_member *m = consumer_group_member(client->w->g, str_of(client->id));
    return m && client->epoch > 0;
}

static void check_owners(const struct client *crowd)
{
    for (unsigned i = 0; i < CROWD; i++)
        for (unsigned j = 0; j < i; j++)
            if (is_member(&crowd[i]) && is_member(&crowd[j]))
                assert_false(tp_set_meets(&crowd[i].owned, &crowd[j].owned));
}

static void look_at_error(struct client *client)
{
    if (client->error != ERR_NONE)
        client_forget(client);
}

/* It gives back before it takes, and may have done half of it. */
static void obey_half(struct client *client)
{
    if (client->told)
        tp_set_replace(&client->owned, tp_set_both(&client->owned, &client->target));
}

static void act(struct client *client)
{
    static const char *const wishes[] = {"0", "01", "012", "12", "2", "3"};
    switch (chance(14)) {
    case 0:
        if (client->epoch > 0)
            leave(client, -1);
        break;
    case 1:
    case 2: /* now and then it was a member */
        if (client->epoch == 0 || chance(8) == 0) {
            client->topics = wishes[chance(6)];
            join(client);
            look_at_error(client);
        }
        break;
    case 3:
        obey_half(client);
        break;
    case 4: /* an answer is lost; the client asks again with what it knew */
        if (client->epoch > 0)
            send_beat(client, &(struct beat){
                                  .epoch = client->epoch, .owned = &client->owned, .lost = true});
        break;
    case 5:
        if (client->epoch > 0) {
            client->topics = wishes[chance(6)];
            say_all(client);
            look_at_error(client);
        }
        break;
    default:
        if (client->epoch > 0 && client->told && chance(2) == 0)
            obey(client);
        else if (client->epoch > 0)
            say_all(client);
        look_at_error(client);
    }
}

static void happen(void)
{
    switch (chance(60)) {
    case 0:
        restart(&w);
        break;
    case 1:
        pass(&w, chance(30000));
        break;
    case 2:
        w.partitions[chance(4)] = chance(8);
        w.host.topics_version++;
        break;
    case 3:
        w.later = chance(2) == 0;
        break;
    default:
        if (chance(3) == 0)
            plan_now(&w);
        flush(&w);
    }
}

static void one_reader_whatever_happens(void **state)
{
    for (uint64_t seed = 1; seed <= 25; seed++) {
        w.seed = seed;
        struct client crowd[CROWD];
        for (unsigned i = 0; i < CROWD; i++) {
            const char id[] = {'c', (char)('0' + i), 0};
            crowd[i] = client_of(&w, id, "0");
        }
        for (unsigned step = 0; step < 600; step++) {
            act(&crowd[chance(CROWD)]);
            happen();
            check_owners(crowd);
        }
        w.later = false;
        for (unsigned i = 0; i < CROWD; i++) { /* and it comes to rest */
            if (crowd[i].epoch > 0) {
                say_all(&crowd[i]);
                look_at_error(&crowd[i]);
            }
            if (crowd[i].epoch == 0) {
                join(&crowd[i]); /* as the same: the coordinator may know it still */
                assert_int_equal(crowd[i].error, ERR_NONE);
            }
            plan_now(&w);
        }
        for (unsigned i = 0; i < 4; i++) { /* whoever is only in the coordinator's memory goes */
            pass(&w, SESSION_MS / 3);
            for (unsigned j = 0; j < CROWD; j++) {
                beat(&crowd[j]);
                assert_int_equal(crowd[j].error, ERR_NONE);
                obey(&crowd[j]);
            }
        }
        settle_down(crowd, CROWD);
        assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
        assert_int_equal(w.g->member_count, CROWD);
        uint32_t total = 0;
        for (unsigned i = 0; i < CROWD; i++)
            total += crowd[i].owned.count;
        assert_int_equal(total, HASH_COUNT(w.g->holdings));
        check_owners(crowd);
        for (unsigned i = 0; i < CROWD; i++)
            client_forget(&crowd[i]);
        group_end(state);
        group_begin(state);
    }
}

int main(void)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(k1_what_is_refused),
        cmocka_unit_test(k1_what_cannot_be_stored),
        cmocka_unit_test(room_is_for_all_groups),
        cmocka_unit_test(who_would_be_refused_changes_nothing),
        cmocka_unit_test(k2_only_what_is_new_is_told),
        cmocka_unit_test(k3_epochs),
        cmocka_unit_test(k4_assignors_and_expressions),
        cmocka_unit_test(k4_static_members),
        cmocka_unit_test(k5_a_partition_is_given_back_first),
        cmocka_unit_test(k5_who_does_not_give_back_is_fenced),
        cmocka_unit_test(k5_silence),
        cmocka_unit_test(k6_commits),
        cmocka_unit_test(k5_who_gives_back_twice_waits_twice),
        cmocka_unit_test(k6_commits_for_what_is_given_back_outlive_a_restart),
        cmocka_unit_test(one_reader_of_what_two_were_written_to_have),
        cmocka_unit_test(states_have_their_numbers),
        cmocka_unit_test(a_state_that_is_not_known),
        cmocka_unit_test(topics_change),
        cmocka_unit_test(the_first_plan_may_take_its_time),
        cmocka_unit_test(a_first_plan_that_was_cut_off),
        cmocka_unit_test(a_plan_may_take_its_time),
        cmocka_unit_test(a_static_member_comes_back_while_a_plan_is_made),
        cmocka_unit_test(what_comes_late_changes_no_empty_group),
        cmocka_unit_test(one_reader_whatever_happens),
    };
    with_a_group(tests, array_count(tests));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
