/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups that change their protocol with their members, on paper: a classic group that was read
 * back, members that speak both protocols in one consumer group, and the way back. K8 is the rule.
 */
#include "core/group/consumer_classic.h"
#include "core/group/consumer_migrate.h"
#include "core/group/consumer_record.h"

#include "tests/unit/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MS         1000000ULL
#define SESSION_MS 10000
#define REBALANCE  30000
#define PARTS      4U

struct world {
    struct consumer_host host;
    struct group_host classic_host;
    struct group *classic;
    struct consumer_group *g;
    uint64_t now_ns;
    struct arena arena; /* of what is written */
    struct arena bytes; /* of what members say */
    struct {
        struct bytes key, value;
    } log[256];
    size_t log_count;
    struct consumer_writer writer;
};

static struct world *world_of(struct consumer_host *host)
{
    return container_of(host, struct world, host);
}

static uint64_t now_ns(struct consumer_host *host)
{
    return world_of(host)->now_ns;
}

static int64_t wall_ms(struct consumer_host *host)
{
    return (int64_t)(world_of(host)->now_ns / MS);
}

static uint64_t classic_now_ns(struct group_host *host)
{
    return container_of(host, struct world, classic_host)->now_ns;
}

static int64_t classic_wall_ms(struct group_host *host)
{
    return (int64_t)(classic_now_ns(host) / MS);
}

static uint64_t chance(struct group_host *host)
{
    return classic_now_ns(host) + 1;
}

static void on_store(struct group_host *host, struct group *g, uint64_t ticket)
{
    (void)host;
    (void)g;
    (void)ticket;
}

static size_t classic_record_bytes_max(struct group_host *host, const struct group *g)
{
    (void)host;
    (void)g;
    return 1U << 20;
}

static const struct uuid topic_id = {.bytes = {9, 9}};

static bool topic(struct consumer_host *host, struct str name, struct uuid *id,
                  uint32_t *partitions)
{
    (void)host;
    *id = topic_id;
    *partitions = PARTS;
    return str_equal(name, str_of("t"));
}

static struct str topic_name(struct consumer_host *host, const struct uuid *id)
{
    (void)host;
    return uuid_equal(id, &topic_id) ? str_of("t") : str_null();
}

static void assign(struct consumer_host *host, struct consumer_group *g, struct assign_plan *plan)
{
    (void)host;
    assign_run(plan);
    consumer_group_assigned(g, plan);
}

static size_t record_bytes_max(struct consumer_host *host, const struct consumer_group *g)
{
    (void)host;
    (void)g;
    return 4096;
}

static bool log_add(struct consumer_writer *writer, const struct group_record_bytes *record)
{
    struct world *w = container_of(writer, struct world, writer);
    const struct bytes from[2] = {record->key, record->value};
    struct bytes to[2];
    for (unsigned i = 0; i < 2; i++) {
        to[i] = (struct bytes){.len = from[i].len};
        uint8_t *copy = arena_alloc(&w->bytes, (size_t)max_i64(from[i].len, 0));
        assert_non_null(copy);
        if (from[i].len > 0)
            memcpy(copy, from[i].data, (size_t)from[i].len);
        to[i].data = copy;
    }
    assert_true(w->log_count < array_count(w->log));
    w->log[w->log_count].key = to[0];
    w->log[w->log_count++].value = to[1];
    arena_reset(writer->arena);
    return true;
}

static void flush(struct world *w)
{
    assert_true(consumer_record_changes(&w->writer, w->g));
    consumer_group_clean(w->g);
}

static void restart(struct world *w)
{
    flush(w);
    consumer_group_free(w->g);
    w->g = consumer_group_new(&w->host, str_of("group"));
    for (size_t i = 0; i < w->log_count; i++) {
        struct group_record record;
        struct consumer_record consumer;
        group_record_read(&record, w->log[i].key, w->log[i].value, &w->arena);
        assert_int_equal(record.kind, GROUP_RECORD_OTHER);
        assert_true(consumer_record_read(&consumer, &record, &w->arena));
        assert_null(consumer.reason);
        if (!consumer.tombstone || consumer.member.len > 0)
            consumer_record_restore(&consumer, w->g);
        arena_reset(&w->arena);
    }
    consumer_group_resume(w->g);
}

/* ---- what members say ---- */

static struct bytes written(struct world *w, struct wr *wr)
{
    struct bytes bytes;
    assert_true(group_record_piece(wr, &w->bytes, &bytes));
    return bytes;
}

/* "02": these of topic t; NULL: a member that knows nothing of owned partitions. */
static struct bytes wants(struct world *w, const char *topic_text, const char *owned)
{
    struct consumer_protocol_subscription subscription;
    struct consumer_protocol_subscription_owned_partition of;
    struct str name = str_of(topic_text);
    int32_t numbers[PARTS];
    struct wr wr;
    init_consumer_protocol_subscription(&subscription);
    init_consumer_protocol_subscription_owned_partition(&of);
    subscription.topics = &name;
    subscription.topics_count = 1;
    of.topic = str_of("t");
    of.partitions = numbers;
    for (; owned && *owned; owned++)
        numbers[of.partitions_count++] = *owned - '0';
    subscription.owned_partitions = &of;
    subscription.owned_partitions_count = of.partitions_count > 0;
    wr_init(&wr, &w->bytes);
    wr_i16(&wr, owned ? 1 : 0);
    write_consumer_protocol_subscription(&wr, owned ? 1 : 0, &subscription);
    return written(w, &wr);
}

static struct bytes has(struct world *w, const char *parts, const char *user_data)
{
    struct consumer_protocol_assignment assignment;
    struct consumer_protocol_assignment_assigned_partition of;
    int32_t numbers[PARTS];
    struct wr wr;
    init_consumer_protocol_assignment(&assignment);
    init_consumer_protocol_assignment_assigned_partition(&of);
    of.topic = str_of("t");
    of.partitions = numbers;
    for (; *parts; parts++)
        numbers[of.partitions_count++] = *parts - '0';
    assignment.assigned_partitions = &of;
    assignment.assigned_partitions_count = of.partitions_count > 0;
    if (user_data)
        assignment.user_data =
            (struct bytes){(const uint8_t *)user_data, (int32_t)strlen(user_data)};
    wr_init(&wr, &w->bytes);
    wr_i16(&wr, 0);
    write_consumer_protocol_assignment(&wr, 0, &assignment);
    return written(w, &wr);
}

static void add_bytes(struct world *w, const char *id, const char *instance, struct bytes metadata,
                      struct bytes assignment)
{
    const struct group_protocol protocols[] = {{str_of("range"), metadata},
                                               {str_of("roundrobin"), metadata}};
    group_restore_member(w->classic, str_of(id), str_of(instance), str_of("client"),
                         str_of("/127.0.0.1"), SESSION_MS, REBALANCE, protocols,
                         array_count(protocols), assignment);
}

static void add(struct world *w, const char *id, const char *instance, const char *parts)
{
    add_bytes(w, id, instance, wants(w, "t", ""), has(w, parts, NULL));
}

/* The members that were added are stable, in generation 7; does their group change its protocol? */
static bool up(struct world *w)
{
    const char *message = NULL;
    group_restore(w->classic, 7, str_of("consumer"), str_of("range"), str_of("one"), 5);
    w->g = consumer_group_new(&w->host, str_of("group"));
    if (consumer_migrate_up(w->g, w->classic, &message)) {
        flush(w);
        return true;
    }
    assert_non_null(message);
    consumer_group_free(w->g);
    w->g = NULL;
    return false;
}

static void goes_up(struct world *w)
{
    assert_true(up(w));
    must(w->g);
}

static void begin(struct world *w)
{
    memset(w, 0, sizeof(*w));
    w->now_ns = 1000 * MS;
    arena_init(&w->arena, 16U << 20);
    arena_init(&w->bytes, 16U << 20);
    w->writer = (struct consumer_writer){.add = log_add, .arena = &w->arena};
    w->classic_host = (struct group_host){.now_ns = classic_now_ns,
                                          .wall_ms = classic_wall_ms,
                                          .random = chance,
                                          .store = on_store,
                                          .record_bytes_max = classic_record_bytes_max,
                                          .session_timeout_min_ms = 6000,
                                          .session_timeout_max_ms = 60000,
                                          .initial_rebalance_delay_ms = 3000,
                                          .members_max = 100,
                                          .group_bytes_max = 1U << 20,
                                          .member_bytes_max = 1U << 20};
    w->host = (struct consumer_host){.now_ns = now_ns,
                                     .wall_ms = wall_ms,
                                     .topic = topic,
                                     .topic_name = topic_name,
                                     .assign = assign,
                                     .record_bytes_max = record_bytes_max,
                                     .session_timeout_ms = 45000,
                                     .heartbeat_interval_ms = 5000,
                                     .members_max = 100,
                                     .served = {true, true},
                                     .regexes_max = 4,
                                     .topics_version = 1,
                                     .member_bytes_max = 1U << 30,
                                     .upgrades = true,
                                     .downgrades = true,
                                     .mixes = true,
                                     .classic_members_max = 100,
                                     .classic_session_min_ms = 6000,
                                     .classic_session_max_ms = 60000};
    w->classic = group_new(&w->classic_host, str_of("group"));
}

static void end(struct world *w)
{
    if (w->g)
        consumer_group_free(w->g);
    group_free(w->classic);
    assert_int_equal(w->host.member_bytes, 0);
    assert_int_equal(w->classic_host.member_bytes, 0);
    arena_fini(&w->arena);
    arena_fini(&w->bytes);
}

/* ---- requests ---- */

struct newcomer {
    const char *id, *instance;
    int32_t epoch;
    struct tp_set owned;
    struct tp_set told;
};

static enum err beat(struct world *w, struct newcomer *c, int32_t epoch)
{
    static const struct tp_set nothing;
    struct str name = str_of("t");
    struct consumer_heartbeat hb = {.member_id = str_of(c->id),
                                    .epoch = epoch,
                                    .instance_id = str_of(c->instance),
                                    .rack_id = str_null(),
                                    .client_id = str_of("client"),
                                    .client_host = str_of("/127.0.0.1"),
                                    .rebalance_timeout_ms = epoch == 0 ? REBALANCE : -1,
                                    .names = &name,
                                    .name_count = epoch == 0 ? 1 : -1,
                                    .regex = str_null(),
                                    .assignor = str_null(),
                                    .owned = epoch == 0 ? &nothing : &c->owned};
    consumer_group_heartbeat(w->g, &hb);
    if (hb.error == ERR_NONE)
        c->epoch = hb.epoch_out;
    if (hb.error == ERR_NONE && hb.assignment)
        tp_set_replace(&c->told, tp_set_copy(hb.assignment));
    flush(w);
    return hb.error;
}

static enum err obey(struct world *w, struct newcomer *c)
{
    tp_set_replace(&c->owned, tp_set_copy(&c->told));
    return beat(w, c, c->epoch);
}

static void newcomer_end(struct newcomer *c)
{
    tp_set_fini(&c->owned);
    tp_set_fini(&c->told);
}

static struct group_join join(struct world *w, const char *id, const char *instance,
                              const char *protocol, struct bytes metadata)
{
    const struct group_protocol protocols[] = {{str_of(protocol), metadata}};
    struct group_join join = {.member_id = str_of(id),
                              .instance_id = str_of(instance),
                              .client_id = str_of("client"),
                              .client_host = str_of("/127.0.0.1"),
                              .protocol_type = str_of("consumer"),
                              .protocols = protocols,
                              .protocol_count = 1,
                              .session_timeout_ms = SESSION_MS,
                              .rebalance_timeout_ms = REBALANCE,
                              .member_id_required = true};
    consumer_classic_join(w->g, &join, str_of("made"));
    flush(w);
    join.protocols = NULL;
    return join;
}

static enum err rejoin(struct world *w, const char *id, const char *owned, int32_t *generation)
{
    const struct group_join answer = join(w, id, NULL, "range", wants(w, "t", owned));
    *generation = answer.generation;
    return answer.error;
}

/* What is assigned, as "02"; "-": an error, which *error tells. */
static const char *sync(struct world *w, const char *id, int32_t generation, enum err *error)
{
    static char text[PARTS + 2];
    struct group_sync sync = {.member_id = str_of(id),
                              .instance_id = str_null(),
                              .generation = generation,
                              .protocol_type = str_of("consumer"),
                              .protocol = str_of("range")};
    struct consumer_protocol_assignment assignment;
    size_t len = 0;
    consumer_classic_sync(w->g, &sync, &w->bytes);
    flush(w);
    *error = sync.error;
    if (sync.error != ERR_NONE)
        return "-";
    assert_true(consumer_embedded_assignment(sync.assignment, &w->bytes, &assignment));
    for (int32_t i = 0; i < assignment.assigned_partitions_count; i++)
        for (int32_t p = 0; p < assignment.assigned_partitions[i].partitions_count; p++)
            text[len++] = (char)('0' + assignment.assigned_partitions[i].partitions[p]);
    text[len] = '\0';
    return text;
}

static enum err classic_beat(struct world *w, const char *id, int32_t generation)
{
    const enum err error = consumer_classic_heartbeat(w->g, str_of(id), str_null(), generation);
    flush(w);
    return error;
}

static void pass(struct world *w, uint64_t ms)
{
    w->now_ns += ms * MS;
    if (w->g->deadline_ns <= w->now_ns)
        consumer_group_tick(w->g);
    flush(w);
}

/* ---- what each test is given ---- */

/* A classic group that nobody has been added to, and a member of the new protocol that has said
 * nothing yet. */
static struct world w;
static struct newcomer new;

static int group_begin(void **state)
{
    (void)state;
    begin(&w);
    new = (struct newcomer){.id = "new"};
    return 0;
}

static int group_end(void **state)
{
    (void)state;
    newcomer_end(&new);
    end(&w);
    return 0;
}

/* For a test of several: the one before is gone. */
static void another_group(void **state)
{
    group_end(state);
    group_begin(state);
}

/* A consumer group, of one member that speaks the classic protocol and has these partitions. */
static void goes_up_with_one(const char *parts)
{
    add(&w, "one", NULL, parts);
    goes_up(&w);
}

/* ---- K8: up ---- */

static void nobody_gets_what_is_not_given_back(void **state)
{
    int32_t generation;
    enum err error;
    (void)state;
    add(&w, "one", NULL, "012");
    add(&w, "two", NULL, "3");
    goes_up(&w);
    assert_int_equal(w.g->classic_count, 2);
    assert_int_equal(classic_beat(&w, "one", 7), ERR_NONE);
    assert_int_equal(beat(&w, &new, 0), ERR_NONE);
    assert_int_equal(new.epoch, 8);
    assert_int_equal(new.told.count, 0);
    assert_int_equal(classic_beat(&w, "one", 7), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(classic_beat(&w, "one", 8), ERR_ILLEGAL_GENERATION);
    assert_int_equal(classic_beat(&w, "nobody", 7), ERR_UNKNOWN_MEMBER_ID);
    sync(&w, "one", 7, &error);
    assert_int_equal(error, ERR_REBALANCE_IN_PROGRESS);
    restart(&w);
    /* one keeps on reading while it gives back: its epoch stays until it has */
    assert_int_equal(rejoin(&w, "one", "012", &generation), ERR_NONE);
    assert_int_equal(generation, 7);
    assert_string_equal(sync(&w, "one", 7, &error), "01");
    assert_int_equal(classic_beat(&w, "one", 7), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(beat(&w, &new, new.epoch), ERR_NONE);
    assert_int_equal(new.told.count, 0);
    restart(&w);
    assert_int_equal(rejoin(&w, "one", "01", &generation), ERR_NONE);
    assert_int_equal(generation, 8);
    assert_string_equal(sync(&w, "one", 8, &error), "01");
    assert_int_equal(classic_beat(&w, "one", 8), ERR_NONE);
    assert_int_equal(beat(&w, &new, new.epoch), ERR_NONE);
    assert_int_equal(new.told.count, 1);
    /* two has given up everything before it joins, as eager ones do */
    assert_int_equal(rejoin(&w, "two", "", &generation), ERR_NONE);
    assert_int_equal(generation, 8);
    assert_int_equal(strlen(sync(&w, "two", 8, &error)), 1);
    assert_int_equal(obey(&w, &new), ERR_NONE);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
    restart(&w);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
    assert_int_equal(w.g->classic_count, 2);
    assert_int_equal(classic_beat(&w, "two", 8), ERR_NONE);
}

static void what_a_rebalance_had_dropped_is_still_held(void **state)
{
    (void)state;
    add_bytes(&w, "one", NULL, wants(&w, "t", "01"), (struct bytes){0});
    add_bytes(&w, "two", NULL, wants(&w, "t", "12"), (struct bytes){0}); /* 1 is one's */
    goes_up(&w);
    assert_int_equal(HASH_COUNT(w.g->holdings), 3);
    assert_int_equal(consumer_group_member(w.g, str_of("two"))->assigned.count, 1);
}

static void what_was_not_assigned_again_is_given_back_first(void **state)
{
    int32_t generation;
    (void)state;
    add_bytes(&w, "one", NULL, wants(&w, "t", "0123"), has(&w, "01", NULL));
    goes_up(&w);
    assert_int_equal(HASH_COUNT(w.g->holdings), 4);
    restart(&w);
    assert_int_equal(beat(&w, &new, 0), ERR_NONE);
    assert_int_equal(new.told.count, 0);
    assert_int_equal(classic_beat(&w, "one", 7), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(rejoin(&w, "one", "01", &generation), ERR_NONE);
    assert_int_equal(generation, 8);
    assert_int_equal(beat(&w, &new, new.epoch), ERR_NONE);
    assert_int_equal(new.told.count, 2);
}

static void what_cannot_be_taken_over(void **state)
{
    static const struct bytes rubbish = {(const uint8_t *)"\0", 1};
    add_bytes(&w, "one", NULL, wants(&w, "t", ""), has(&w, "0", "mine"));
    assert_false(up(&w));
    another_group(state);
    add_bytes(&w, "one", NULL, rubbish, has(&w, "0", NULL));
    assert_false(up(&w));
    another_group(state);
    add_bytes(&w, "one", NULL, wants(&w, "t", ""), rubbish);
    assert_false(up(&w));
}

static void who_may_join(void **state)
{
    static char text[8192];
    int32_t generation;
    (void)state;
    goes_up_with_one("0123");
    struct group_join answer = join(&w, "", NULL, "range", wants(&w, "t", ""));
    assert_int_equal(answer.error, ERR_MEMBER_ID_REQUIRED);
    assert_true(str_equal(answer.member_id_out, str_of("made")));
    assert_int_equal(rejoin(&w, "made", "", &generation), ERR_NONE);
    assert_int_equal(generation, 8);
    assert_int_equal(join(&w, "x", NULL, "sticky", wants(&w, "t", "")).error,
                     ERR_INCONSISTENT_GROUP_PROTOCOL);
    answer = join(&w, "x", NULL, "range", (struct bytes){0});
    assert_int_equal(answer.error, ERR_UNKNOWN_SERVER_ERROR);
    assert_true(str_equal(answer.member_id_out, str_of("")));
    answer =
        join(&w, "x", "i", "range", (struct bytes){0}); /* nobody's instance id is told first */
    assert_int_equal(answer.error, ERR_UNKNOWN_MEMBER_ID);
    assert_true(str_equal(answer.member_id_out, str_of("")));
    memset(text, 'a', sizeof(text) - 1);
    assert_int_equal(join(&w, "x", NULL, "range", wants(&w, text, "")).error,
                     ERR_UNKNOWN_SERVER_ERROR);
    w.host.classic_session_min_ms = SESSION_MS + 1;
    assert_int_equal(rejoin(&w, "one", "", &generation), ERR_INVALID_SESSION_TIMEOUT);
    w.host.classic_session_min_ms = 1;
    w.host.mixes = false;
    assert_int_equal(rejoin(&w, "one", "", &generation), ERR_INCONSISTENT_GROUP_PROTOCOL);
    w.host.mixes = true;
    w.host.members_max = 2;
    assert_int_equal(rejoin(&w, "x", "", &generation), ERR_GROUP_MAX_SIZE_REACHED);
    assert_int_equal(rejoin(&w, "made", "", &generation), ERR_NONE);
}

static void who_does_not_come_back_is_out(void **state)
{
    int32_t generation;
    (void)state;
    add(&w, "one", NULL, "01");
    add(&w, "two", NULL, "23");
    goes_up(&w);
    w.host.session_timeout_ms = 600000;
    assert_int_equal(beat(&w, &new, 0), ERR_NONE);
    assert_int_equal(rejoin(&w, "two", "23", &generation), ERR_NONE); /* and never syncs */
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(w.g->member_count, 3);
        assert_int_equal(classic_beat(&w, "one", 7), ERR_REBALANCE_IN_PROGRESS);
        assert_int_equal(classic_beat(&w, "two", generation), ERR_REBALANCE_IN_PROGRESS);
        pass(&w, REBALANCE / 6);
    }
    assert_int_equal(w.g->member_count, 1); /* one did not join, two did not sync */
    assert_int_equal(w.g->classic_count, 0);
    assert_int_equal(classic_beat(&w, "one", 7), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(beat(&w, &new, new.epoch), ERR_NONE);
    assert_int_equal(new.told.count, 4);
}

static void silence(void **state)
{
    (void)state;
    goes_up_with_one("01");
    assert_int_equal(beat(&w, &new, 0), ERR_NONE);
    pass(&w, SESSION_MS - 1);
    assert_int_equal(w.g->member_count, 2);
    pass(&w, 2);
    assert_int_equal(w.g->member_count, 1); /* its own session timeout, not the group's */
}

static void commits_of_the_classic_protocol(void **state)
{
    bool each;
    (void)state;
    goes_up_with_one("01");
    assert_int_equal(beat(&w, &new, 0), ERR_NONE);
    assert_int_equal(consumer_group_commit(w.g, str_of("one"), 7, &each), ERR_NONE);
    assert_false(each);
    assert_int_equal(consumer_group_commit(w.g, str_of("one"), 8, &each), ERR_ILLEGAL_GENERATION);
    assert_int_equal(consumer_group_commit(w.g, str_of("one"), 6, &each), ERR_NONE);
    assert_true(each);
    assert_int_equal(consumer_group_fetch(w.g, str_of("one"), 6), ERR_ILLEGAL_GENERATION);
}

static void a_member_changes_its_protocol(void **state)
{
    struct newcomer with_name = {.id = "later", .instance = "i"};
    int32_t generation;
    (void)state;
    new.id = "one";
    add(&w, "one", NULL, "01");
    add(&w, "two", "i", "23");
    goes_up(&w);
    assert_int_equal(beat(&w, &new, 0), ERR_NONE);
    assert_int_equal(w.g->classic_count, 1);
    /* one who has the instance id of a member of the classic protocol takes its place */
    assert_int_equal(beat(&w, &with_name, 0), ERR_NONE);
    assert_int_equal(w.g->classic_count, 0);
    assert_int_equal(w.g->member_count, 2);
    assert_int_equal(with_name.told.count, 2);
    restart(&w);
    assert_int_equal(w.g->classic_count, 0);
    assert_int_equal(rejoin(&w, "one", "", &generation), ERR_NONE);
    assert_int_equal(w.g->classic_count, 1);
    newcomer_end(&with_name);
}

/* ---- K8: down ---- */

static void down(void)
{
    struct group *to = group_new(&w.classic_host, str_of("group"));
    assert_true(consumer_group_wants_downgrade(w.g));
    assert_true(consumer_migrate_down(w.g, false, to));
    group_free(w.classic);
    w.classic = to;
    consumer_group_free(w.g);
    w.g = NULL;
}

static void the_last_newcomer_leaves(void **state)
{
    int32_t generation;
    enum err error;
    (void)state;
    goes_up_with_one("0123");
    w.host.downgrades = false;
    assert_int_equal(beat(&w, &new, 0), ERR_NONE);
    assert_false(consumer_group_wants_downgrade(w.g));
    w.host.downgrades = true;
    assert_false(consumer_group_wants_downgrade(w.g));
    assert_int_equal(rejoin(&w, "one", "", &generation), ERR_NONE);
    sync(&w, "one", generation, &error);
    assert_int_equal(error, ERR_NONE);
    assert_int_equal(beat(&w, &new, CONSUMER_EPOCH_LEAVE), ERR_NONE);
    assert_int_equal(w.g->epoch, 8); /* what follows is a new generation anyway */
    restart(&w);
    down();
    assert_int_equal(w.classic->state, GROUP_STABLE);
    assert_int_equal(w.classic->generation, 8);
    assert_true(str_equal(w.classic->protocol, str_of("range")));
    assert_true(group_is_consumer(w.classic));
    assert_int_equal(w.classic->member_count, 1);

    /* As it is written, it is read: members are to join again, whoever reads it. */
    struct group_record_bytes bytes;
    struct group_record record;
    assert_true(group_record_of_group(&bytes, &w.bytes, w.classic));
    group_free(w.classic);
    w.classic = group_new(&w.classic_host, str_of("group"));
    group_record_read(&record, bytes.key, bytes.value, &w.bytes);
    assert_int_equal(record.kind, GROUP_RECORD_GROUP);
    group_record_restore(&record, w.classic);
    group_resume(w.classic);
    assert_int_equal(w.classic->state, GROUP_PREPARING_REBALANCE);
    assert_int_equal(group_heartbeat(w.classic, str_of("one"), str_null(), 8),
                     ERR_REBALANCE_IN_PROGRESS);
}

static void a_static_member_comes_back_with_the_classic_protocol(void **state)
{
    (void)state;
    new.instance = "i";
    add(&w, "one", "i", "0123");
    goes_up(&w);
    assert_int_equal(beat(&w, &new, 0), ERR_NONE);
    assert_int_equal(w.g->classic_count, 0);
    const int32_t epoch = new.epoch;
    const struct group_join answer = join(&w, "", "i", "range", wants(&w, "t", ""));
    assert_int_equal(answer.error, ERR_NONE);
    assert_int_equal(answer.generation, epoch);
    down();
    /* nothing has changed for anybody */
    group_resume(w.classic);
    assert_int_equal(w.classic->state, GROUP_STABLE);
    assert_int_equal(w.classic->generation, epoch);
    assert_int_equal(group_heartbeat(w.classic, str_of("made"), str_of("i"), epoch), ERR_NONE);
}

static void it_may_have_to_stay(void **state)
{
    (void)state;
    goes_up_with_one("0123");
    assert_int_equal(beat(&w, &new, 0), ERR_NONE);
    assert_int_equal(beat(&w, &new, CONSUMER_EPOCH_LEAVE), ERR_NONE);
    assert_true(consumer_group_wants_downgrade(w.g));
    consumer_group_stay(w.g); /* its record was too large */
    assert_false(consumer_group_wants_downgrade(w.g));
    assert_int_equal(w.g->epoch, 9);
    assert_int_equal(classic_beat(&w, "one", 7), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(consumer_classic_leave(w.g, str_of("one"), str_null()), ERR_NONE);
    consumer_classic_left(w.g);
    assert_int_equal(consumer_classic_leave(w.g, str_of("one"), str_null()), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_EMPTY);
    flush(&w);
}

int main(void)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_gets_what_is_not_given_back),
        cmocka_unit_test(what_a_rebalance_had_dropped_is_still_held),
        cmocka_unit_test(what_was_not_assigned_again_is_given_back_first),
        cmocka_unit_test(what_cannot_be_taken_over),
        cmocka_unit_test(who_may_join),
        cmocka_unit_test(who_does_not_come_back_is_out),
        cmocka_unit_test(silence),
        cmocka_unit_test(commits_of_the_classic_protocol),
        cmocka_unit_test(a_member_changes_its_protocol),
        cmocka_unit_test(the_last_newcomer_leaves),
        cmocka_unit_test(a_static_member_comes_back_with_the_classic_protocol),
        cmocka_unit_test(it_may_have_to_stay),
    };
    for (size_t i = 0; i < array_count(tests); i++) {
        tests[i].setup_func = group_begin;
        tests[i].teardown_func = group_end;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
