/* SPDX-License-Identifier: Apache-2.0
 *
 * The consumer group of KIP-848 against a host of paper: time stands still until a test moves it,
 * the log is a list of records, and clients do what the protocol asks of them, late, twice, or not
 * at all. Tests are named by the rule they hold (K).
 */
#include "core/group/consumer_record.h"

#include "tests/unit/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MS         1000000ULL
#define SESSION_MS 45000
#define TOPICS     6U

struct entry {
    struct bytes key;
    struct bytes value; /* len -1: a tombstone */
};

struct world {
    struct consumer_host host;
    struct consumer_group *g;
    uint64_t now_ns;
    uint64_t seed;
    uint32_t partitions[TOPICS]; /* 0: there is no such topic */
    uint32_t generation[TOPICS]; /* a topic that was made again has another id */
    size_t record_max;
    unsigned plans;
    bool later; /* plans wait for plan_now() */
    struct assign_plan *plan;
    bool resolving;
    struct entry *log;
    size_t log_count;
    struct consumer_writer writer;
    struct arena arena;
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

static struct uuid topic_id(const struct world *w, uint32_t topic)
{
    struct uuid id = {{0}};
    id.bytes[0] = 9;
    id.bytes[7] = (uint8_t)w->generation[topic];
    id.bytes[15] = (uint8_t)topic;
    return id;
}

/* Topics are called t0, t1, ... */
static bool topic(struct consumer_host *host, struct str name, struct uuid *id,
                  uint32_t *partitions)
{
    const struct world *w = world_of(host);
    assert_int_equal(name.len, 2);
    const uint32_t number = (uint32_t)(name.data[1] - '0');
    if (number >= TOPICS || w->partitions[number] == 0)
        return false;
    *id = topic_id(w, number);
    *partitions = w->partitions[number];
    return true;
}

static void assign(struct consumer_host *host, struct consumer_group *g, struct assign_plan *plan)
{
    struct world *w = world_of(host);
    w->plans++;
    assign_run(plan);
    if (w->later)
        w->plan = plan;
    else
        consumer_group_assigned(g, plan);
}

static void plan_now(struct world *w)
{
    struct assign_plan *plan = w->plan;
    w->plan = NULL;
    if (plan)
        consumer_group_assigned(w->g, plan);
}

static void resolve(struct consumer_host *host, struct consumer_group *g)
{
    (void)g;
    world_of(host)->resolving = true;
}

/* The only expression is "t.*", and means all topics. */
static void resolve_now(struct world *w)
{
    static const char *const names[] = {"t0", "t1", "t2", "t3", "t4", "t5"};
    struct str topics[TOPICS];
    uint32_t count = 0;
    if (!w->resolving)
        return;
    w->resolving = false;
    for (uint32_t i = 0; i < TOPICS; i++)
        if (w->partitions[i] > 0)
            topics[count++] = str_of(names[i]);
    consumer_group_resolve_one(w->g, str_of("t.*"), w->host.topics_version, topics, count);
    consumer_group_resolved(w->g);
}

static size_t record_bytes_max(struct consumer_host *host, const struct consumer_group *g)
{
    (void)g;
    return world_of(host)->record_max;
}

static const char *regex_check(struct consumer_host *host, struct str regex)
{
    (void)host;
    return str_equal(regex, str_of("t.*")) ? NULL : "bad";
}

/* ---- the log ---- */

static struct bytes bytes_copy(struct bytes bytes)
{
    uint8_t *copy = bytes.len >= 0 ? mem_alloc((size_t)bytes.len + 1) : NULL;
    if (bytes.len > 0)
        memcpy(copy, bytes.data, (size_t)bytes.len);
    return (struct bytes){copy, bytes.len};
}

static bool log_add(struct consumer_writer *writer, const struct group_record_bytes *record)
{
    struct world *w = container_of(writer, struct world, writer);
    w->log = mem_realloc(w->log, (w->log_count + 1) * sizeof(*w->log));
    w->log[w->log_count++] =
        (struct entry){.key = bytes_copy(record->key), .value = bytes_copy(record->value)};
    arena_reset(&w->arena);
    return true;
}

static void flush(struct world *w)
{
    assert_true(consumer_record_changes(&w->writer, w->g));
    consumer_group_clean(w->g);
    assert_false(consumer_group_is_dirty(w->g));
}

static void read_log(struct world *w)
{
    for (size_t i = 0; i < w->log_count; i++) {
        struct group_record record;
        struct consumer_record consumer;
        group_record_read(&record, w->log[i].key, w->log[i].value, &w->arena);
        assert_int_equal(record.kind, GROUP_RECORD_OTHER);
        assert_true(consumer_record_read(&consumer, &record, &w->arena));
        assert_null(consumer.reason);
        assert_true(str_equal(consumer.group, str_of("group")));
        if (!consumer.tombstone || consumer.member.len > 0)
            consumer_record_restore(&consumer, w->g);
        arena_reset(&w->arena);
    }
}

static void restart(struct world *w)
{
    plan_now(w);
    resolve_now(w);
    flush(w);
    consumer_group_free(w->g);
    w->g = consumer_group_new(&w->host, str_of("group"));
    read_log(w);
    consumer_group_resume(w->g);
}

static void world_begin(struct world *w)
{
    memset(w, 0, sizeof(*w));
    w->now_ns = 1000 * MS;
    w->record_max = 4096;
    w->seed = 42;
    for (uint32_t i = 0; i < 3; i++)
        w->partitions[i] = 4;
    arena_init(&w->arena, 16U << 20);
    w->writer = (struct consumer_writer){.add = log_add, .arena = &w->arena};
    w->host = (struct consumer_host){
        .now_ns = now_ns,
        .wall_ms = wall_ms,
        .topic = topic,
        .assign = assign,
        .resolve = resolve,
        .regex_check = regex_check,
        .record_bytes_max = record_bytes_max,
        .session_timeout_ms = SESSION_MS,
        .heartbeat_interval_ms = 5000,
        .members_max = 100,
        .served = {true, true},
        .regexes_max = 4,
        .topics_version = 1,
        .member_bytes_max = 1U << 30,
    };
    w->g = consumer_group_new(&w->host, str_of("group"));
}

static void world_end(struct world *w)
{
    plan_now(w);
    resolve_now(w);
    consumer_group_free(w->g);
    assert_int_equal(w->host.member_bytes, 0);
    for (size_t i = 0; i < w->log_count; i++) {
        mem_free(no_const(w->log[i].key.data));
        mem_free(no_const(w->log[i].value.data));
    }
    mem_free(w->log);
    arena_fini(&w->arena);
}

/* ---- clients ---- */

struct client {
    struct world *w;
    char id[16];
    const char *instance; /* NULL: dynamic */
    const char *topics;   /* "012" */
    const char *regex;
    int32_t epoch;
    struct tp_set owned;
    struct tp_set target; /* what it was last told */
    bool told;            /* and has not looked at */
    enum err error;
    bool assigned; /* the last answer had an assignment */
};

static struct client client_of(struct world *w, const char *id, const char *topics)
{
    struct client c = {.w = w, .topics = topics};
    snprintf(c.id, sizeof(c.id), "%s", id);
    return c;
}

static void client_forget(struct client *c)
{
    tp_set_fini(&c->owned);
    tp_set_fini(&c->target);
    c->told = false;
    c->epoch = 0;
}

struct beat {
    int32_t epoch;
    bool full;
    const struct tp_set *owned;
    bool lost; /* the answer never comes */
    const char *assignor;
};

static void send_beat(struct client *c, const struct beat *beat)
{
    static const char *const all[] = {"t0", "t1", "t2", "t3", "t4", "t5"};
    struct str names[TOPICS];
    int32_t count = 0;
    for (const char *t = c->topics; *t; t++)
        names[count++] = str_of(all[*t - '0']);
    struct consumer_heartbeat hb = {
        .member_id = str_of(c->id),
        .epoch = beat->epoch,
        .instance_id = str_of(c->instance),
        .rack_id = str_null(),
        .client_id = str_of("client"),
        .client_host = str_of("/127.0.0.1"),
        .rebalance_timeout_ms = beat->full ? 60000 : -1,
        .names = names,
        .name_count = beat->full ? count : -1,
        .regex = beat->full ? str_of(c->regex) : str_null(),
        .assignor = str_of(beat->assignor),
        .owned = beat->owned,
    };
    consumer_group_heartbeat(c->w->g, &hb);
    flush(c->w);
    if (beat->lost)
        return;
    c->error = hb.error;
    c->assigned = hb.assignment != NULL;
    if (hb.error != ERR_NONE)
        return;
    c->epoch = hb.epoch_out;
    if (hb.assignment) {
        tp_set_replace(&c->target, tp_set_copy(hb.assignment));
        c->told = true;
    }
}

/* All that it wants and has. */
static void say_all(struct client *c)
{
    send_beat(c, &(struct beat){.epoch = c->epoch, .full = true, .owned = &c->owned});
}

static void join(struct client *c)
{
    client_forget(c);
    say_all(c);
}

static void beat(struct client *c)
{
    send_beat(c, &(struct beat){.epoch = c->epoch, .owned = c->told ? &c->owned : NULL});
}

/* What it was told becomes what it has: both halves at once, as the Java client does it. */
static void obey(struct client *c)
{
    if (!c->told)
        return;
    tp_set_replace(&c->owned, tp_set_copy(&c->target));
    send_beat(c, &(struct beat){.epoch = c->epoch, .owned = &c->owned});
    if (tp_set_equal(&c->owned, &c->target))
        c->told = false;
}

static void leave(struct client *c, int32_t epoch)
{
    send_beat(c, &(struct beat){.epoch = epoch});
    client_forget(c);
}

static void settle_down(struct client *clients, unsigned count)
{
    for (unsigned round = 0; round < 12; round++)
        for (unsigned i = 0; i < count; i++) {
            beat(&clients[i]);
            assert_int_equal(clients[i].error, ERR_NONE);
            obey(&clients[i]);
            plan_now(clients[i].w);
            resolve_now(clients[i].w);
        }
}

static void pass(struct world *w, uint64_t ms)
{
    w->now_ns += ms * MS;
    if (w->g->deadline_ns <= w->now_ns)
        consumer_group_tick(w->g);
    flush(w);
}

/* ---- rules ---- */

static void k1_what_is_refused(void **state)
{
    static struct tp part = {.partition = 1};
    static const struct tp_set nothing;
    static const struct tp_set one = {&part, 1};
    const char *why;
    (void)state;
    const struct consumer_heartbeat good = {.member_id = str_of("m"),
                                            .instance_id = str_null(),
                                            .rack_id = str_null(),
                                            .rebalance_timeout_ms = 1,
                                            .name_count = 0,
                                            .regex = str_null(),
                                            .owned = &nothing};
    struct consumer_heartbeat hb = good;
    assert_int_equal(consumer_heartbeat_check(&hb, true, &why), ERR_NONE);
    hb.member_id = str_of("");
    assert_int_equal(consumer_heartbeat_check(&hb, true, &why), ERR_INVALID_REQUEST);
    assert_int_equal(consumer_heartbeat_check(&hb, false, &why), ERR_NONE);
    hb.epoch = 3;
    assert_int_equal(consumer_heartbeat_check(&hb, false, &why), ERR_INVALID_REQUEST);
    hb = good;
    hb.instance_id = str_of("");
    assert_int_equal(consumer_heartbeat_check(&hb, true, &why), ERR_INVALID_REQUEST);
    hb = good;
    hb.rack_id = str_of("");
    assert_int_equal(consumer_heartbeat_check(&hb, true, &why), ERR_INVALID_REQUEST);
    hb = good;
    hb.rebalance_timeout_ms = -1;
    assert_int_equal(consumer_heartbeat_check(&hb, true, &why), ERR_INVALID_REQUEST);
    hb = good;
    hb.owned = NULL;
    assert_int_equal(consumer_heartbeat_check(&hb, true, &why), ERR_INVALID_REQUEST);
    hb.owned = &one;
    assert_int_equal(consumer_heartbeat_check(&hb, true, &why), ERR_INVALID_REQUEST);
    hb = good;
    hb.name_count = -1;
    assert_int_equal(consumer_heartbeat_check(&hb, true, &why), ERR_INVALID_REQUEST);
    hb.regex = str_of("");
    assert_int_equal(consumer_heartbeat_check(&hb, true, &why), ERR_NONE);
    hb = good;
    hb.epoch = -2;
    assert_int_equal(consumer_heartbeat_check(&hb, true, &why), ERR_INVALID_REQUEST);
    hb.instance_id = str_of("i");
    assert_int_equal(consumer_heartbeat_check(&hb, true, &why), ERR_NONE);
    hb.epoch = -3;
    assert_int_equal(consumer_heartbeat_check(&hb, true, &why), ERR_INVALID_REQUEST);
}

static void k1_what_cannot_be_stored(void **state)
{
    static char text[8192];
    struct world w;
    (void)state;
    world_begin(&w);
    memset(text, 'a', sizeof(text) - 1);
    struct client a = client_of(&w, "a", "0");
    a.regex = text;
    say_all(&a);
    assert_int_equal(a.error, ERR_INVALID_REQUEST);
    assert_true(consumer_group_is_void(w.g));
    world_end(&w);
}

/* Topic 3 has more partitions than a record of one member's may name. */
static void what_is_too_much_for_a_record(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    w.partitions[3] = 1000;
    struct client a = client_of(&w, "a", "0");
    struct client b = client_of(&w, "b", "3");
    join(&a);
    settle_down(&a, 1);
    join(&b);
    assert_int_equal(b.error, ERR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(w.g->member_count, 1); /* as if it had never come */
    settle_down(&a, 1);
    assert_int_equal(a.owned.count, 4);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
    w.later = true; /* it is known when the plan is made */
    join(&b);
    assert_int_equal(b.error, ERR_NONE);
    plan_now(&w);
    beat(&a);
    assert_int_equal(a.error, ERR_NONE);
    beat(&b);
    assert_int_equal(b.error, ERR_UNKNOWN_SERVER_ERROR);
    beat(&b);
    assert_int_equal(b.error, ERR_UNKNOWN_MEMBER_ID);
    w.later = false;
    settle_down(&a, 1);
    a.topics = "03"; /* who wants more is out as well */
    send_beat(&a, &(struct beat){.epoch = a.epoch, .full = true, .owned = &a.owned});
    assert_int_equal(a.error, ERR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(w.g->member_count, 0);
    client_forget(&a);
    client_forget(&b);
    world_end(&w);
}

static void topics_that_grow_too_much_change_nothing(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "0");
    join(&a);
    settle_down(&a, 1);
    w.partitions[0] = 1000;
    w.host.topics_version++;
    const unsigned plans = w.plans;
    settle_down(&a, 1); /* and no heartbeat makes a plan again */
    assert_int_equal(w.plans, plans + 1);
    assert_int_equal(a.owned.count, 4);
    w.partitions[0] = 8;
    w.host.topics_version++;
    settle_down(&a, 1);
    assert_int_equal(a.owned.count, 8);
    client_forget(&a);
    world_end(&w);
}

static void members_whose_records_are_too_large_are_shed(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "0");
    struct client b = client_of(&w, "b", "0");
    join(&a);
    settle_down(&a, 1);
    join(&b);
    assert_int_equal(consumer_group_shed(w.g), 0);
    struct consumer_heartbeat hb = {.member_id = str_of("a"),
                                    .epoch = a.epoch,
                                    .instance_id = str_null(),
                                    .rack_id = str_of("moved"),
                                    .client_id = str_null(),
                                    .client_host = str_null(),
                                    .rebalance_timeout_ms = -1,
                                    .name_count = -1,
                                    .regex = str_null(),
                                    .assignor = str_null()};
    consumer_group_heartbeat(w.g, &hb);
    w.record_max = 256;
    assert_int_equal(consumer_group_shed(w.g), 1);
    assert_int_equal(w.g->member_count, 1);
    flush(&w);
    assert_null(consumer_group_member(w.g, str_of("a")));
    client_forget(&a);
    client_forget(&b);
    world_end(&w);
}

static void what_is_too_much_for_memory(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    w.record_max = 1U << 20;
    w.partitions[3] = 3000;
    struct client a = client_of(&w, "a", "0");
    struct client b = client_of(&w, "b", "3");
    struct client c = client_of(&w, "c", "");
    c.regex = "t.*";
    join(&a);
    settle_down(&a, 1);
    w.host.member_bytes_max = 100000;
    join(&b);
    assert_int_equal(b.error, ERR_COORDINATOR_NOT_AVAILABLE);
    assert_int_equal(w.g->member_count, 1);
    settle_down(&a, 1);
    w.host.member_bytes_max = 1U << 30; /* that passes */
    join(&b);
    settle_down(&b, 1);
    assert_int_equal(b.owned.count, 3000);
    assert_true(w.host.member_bytes > 3000 * 2 * sizeof(struct tp));
    join(&c);
    w.host.member_bytes_max = w.host.member_bytes + 8;
    resolve_now(&w);
    beat(&c);
    assert_int_equal(c.error, ERR_COORDINATOR_NOT_AVAILABLE);
    beat(&a);
    assert_int_equal(a.error, ERR_NONE);
    assert_int_equal(w.g->member_count, 2);
    client_forget(&a);
    client_forget(&b);
    client_forget(&c);
    world_end(&w);
}

static void room_is_for_all_groups(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "0");
    struct client b = client_of(&w, "b", "0");
    join(&a);
    obey(&a);
    w.host.member_bytes_max = w.host.member_bytes;
    join(&b); /* it passes: an answer on which clients come back */
    assert_int_equal(b.error, ERR_COORDINATOR_NOT_AVAILABLE);
    assert_int_equal(w.g->member_count, 1);
    say_all(&a);
    assert_int_equal(a.error, ERR_NONE); /* says what it said */
    a.topics = "00";
    join(&a);
    assert_int_equal(a.error, ERR_NONE);
    obey(&a);
    a.topics = "01";
    say_all(&a);
    assert_int_equal(a.error, ERR_COORDINATOR_NOT_AVAILABLE);
    a.topics = "0";
    a.regex = "t.*";
    say_all(&a);
    assert_int_equal(a.error, ERR_COORDINATOR_NOT_AVAILABLE);
    a.error = ERR_NONE;
    beat(&a);
    assert_int_equal(a.error, ERR_NONE);
    w.host.member_bytes_max = 1U << 30;
    w.host.members_max = 1;
    say_all(&b);
    assert_int_equal(b.error, ERR_GROUP_MAX_SIZE_REACHED);
    client_forget(&a);
    client_forget(&b);
    world_end(&w);
}

static void who_would_be_refused_changes_nothing(void **state)
{
    static const struct tp_set nothing;
    const struct str name = str_of("t0");
    struct world w;
    (void)state;
    world_begin(&w);
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
    world_end(&w);
}

static void k2_only_what_is_new_is_told(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "01");
    join(&a);
    assert_int_equal(a.error, ERR_NONE);
    assert_int_equal(a.epoch, 2);
    assert_int_equal(a.target.count, 8);
    obey(&a);
    assert_false(a.assigned);
    const size_t records = w.log_count;
    beat(&a);
    assert_false(a.assigned);
    assert_int_equal(w.log_count, records); /* nothing new, nothing written */
    say_all(&a);
    assert_true(a.assigned);
    assert_int_equal(w.log_count, records);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
    client_forget(&a);
    world_end(&w);
}

static void k3_epochs(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "0");
    join(&a);
    obey(&a);
    send_beat(&a, &(struct beat){.epoch = 3});
    assert_int_equal(a.error, ERR_FENCED_MEMBER_EPOCH);
    struct client b = client_of(&w, "b", "0");
    join(&b);
    assert_int_equal(b.epoch, 3);
    assert_int_equal(b.target.count, 0);
    beat(&a); /* is told to give back */
    assert_int_equal(a.epoch, 2);
    assert_int_equal(a.target.count, 2);
    tp_set_replace(&a.owned, tp_set_copy(&a.target));
    send_beat(&a, &(struct beat){.epoch = 2, .owned = &a.owned, .lost = true});
    beat(&a); /* with the old epoch, again: the answer was lost */
    assert_int_equal(a.error, ERR_NONE);
    assert_int_equal(a.epoch, 3);
    a.epoch = 2;
    send_beat(&a, &(struct beat){.epoch = 2}); /* does not say what it has */
    assert_int_equal(a.error, ERR_FENCED_MEMBER_EPOCH);
    struct client stranger = client_of(&w, "s", "0");
    stranger.epoch = 4;
    beat(&stranger);
    assert_int_equal(stranger.error, ERR_UNKNOWN_MEMBER_ID);
    join(&stranger); /* and a join whose answer was lost comes again */
    join(&stranger);
    assert_int_equal(stranger.error, ERR_NONE);
    settle_down(&stranger, 1);
    join(&a); /* again, as the same: it finds what it had */
    assert_int_equal(a.error, ERR_NONE);
    assert_int_equal(w.g->member_count, 3);
    assert_int_equal(a.epoch, w.g->assignment_epoch);
    struct client three[3] = {a, b, stranger};
    for (unsigned i = 1; i < 3; i++)
        join(&three[i]);
    settle_down(three, 3);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
    assert_int_equal(three[0].owned.count + three[1].owned.count + three[2].owned.count, 4);
    a = three[0];
    b = three[1];
    stranger = three[2];
    client_forget(&a);
    client_forget(&b);
    client_forget(&stranger);
    world_end(&w);
}

static void k4_assignors_and_expressions(void **state)
{
    static const struct tp_set nothing;
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "");
    send_beat(&a, &(struct beat){.full = true, .owned = &nothing, .assignor = "best"});
    assert_int_equal(a.error, ERR_UNSUPPORTED_ASSIGNOR);
    a.regex = "(";
    say_all(&a);
    assert_int_equal(a.error, ERR_INVALID_REGULAR_EXPRESSION);
    assert_true(consumer_group_is_void(w.g));
    a.regex = "t.*";
    send_beat(&a, &(struct beat){.full = true, .owned = &nothing, .assignor = "range"});
    assert_int_equal(a.error, ERR_NONE);
    assert_int_equal(a.epoch, 1); /* at once, if without anything */
    assert_int_equal(consumer_group_assignor(w.g), ASSIGN_RANGE);
    settle_down(&a, 1);
    assert_int_equal(a.owned.count, 12);
    w.partitions[4] = 2; /* a new topic */
    w.host.topics_version++;
    settle_down(&a, 1);
    assert_int_equal(a.owned.count, 14);
    restart(&w);
    struct client b = client_of(&w, "b", "0");
    join(&b); /* while nobody knows what "t.*" means, nobody loses anything */
    beat(&a);
    assert_false(a.assigned);
    struct client both[2] = {a, b};
    settle_down(both, 2);
    assert_int_equal(both[0].owned.count + both[1].owned.count, 14);
    assert_true(both[1].owned.count > 0);
    client_forget(&both[0]);
    client_forget(&both[1]);
    world_end(&w);
}

static void k4_static_members(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "0");
    struct client b = client_of(&w, "b", "0");
    a.instance = "one";
    b.instance = "one";
    join(&a);
    obey(&a);
    join(&b);
    assert_int_equal(b.error, ERR_UNRELEASED_INSTANCE_ID);
    b.epoch = 1;
    beat(&b);
    assert_int_equal(b.error, ERR_FENCED_INSTANCE_ID);
    leave(&a, -2);
    assert_int_equal(a.error, ERR_NONE);
    const int32_t epoch = w.g->epoch;
    join(&b);
    assert_int_equal(b.error, ERR_NONE);
    assert_int_equal(b.epoch, 2);
    assert_int_equal(b.target.count, 4);
    assert_int_equal(w.g->epoch, epoch); /* nobody had to share anew */
    assert_null(consumer_group_member(w.g, str_of("a")));
    restart(&w);
    obey(&b);
    assert_int_equal(b.error, ERR_NONE);
    leave(&b, -2);
    pass(&w, SESSION_MS + 1);
    assert_int_equal(w.g->member_count, 0);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_EMPTY);
    world_end(&w);
}

static void k5_a_partition_is_given_back_first(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "0");
    struct client b = client_of(&w, "b", "0");
    join(&a);
    obey(&a);
    join(&b);
    beat(&b);
    assert_int_equal(b.target.count, 0);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_RECONCILING);
    send_beat(&a, &(struct beat){.epoch = a.epoch, .owned = &a.owned}); /* has not given back */
    beat(&b);
    assert_int_equal(b.target.count, 0);
    obey(&a);
    assert_int_equal(a.epoch, 3);
    beat(&b);
    assert_int_equal(b.target.count, 2);
    assert_false(tp_set_meets(&a.owned, &b.target));
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
    client_forget(&a);
    client_forget(&b);
    world_end(&w);
}

static void k5_who_does_not_give_back_is_fenced(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "0");
    struct client b = client_of(&w, "b", "0");
    join(&a);
    obey(&a);
    join(&b);
    beat(&a);
    for (unsigned i = 0; i < 7; i++) {
        pass(&w, 9000);
        a.told = false;
        beat(&a);
        beat(&b);
    }
    assert_int_equal(a.error, ERR_UNKNOWN_MEMBER_ID);
    settle_down(&b, 1);
    assert_int_equal(b.owned.count, 4);
    client_forget(&a);
    client_forget(&b);
    world_end(&w);
}

static void k5_silence(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "0");
    join(&a);
    pass(&w, SESSION_MS - 1);
    beat(&a);
    pass(&w, SESSION_MS - 1);
    beat(&a);
    assert_int_equal(a.error, ERR_NONE);
    pass(&w, SESSION_MS);
    beat(&a);
    assert_int_equal(a.error, ERR_UNKNOWN_MEMBER_ID);
    client_forget(&a);
    world_end(&w);
}

static void k6_commits(void **state)
{
    struct world w;
    bool each;
    (void)state;
    world_begin(&w);
    const struct tp first = {.topic = topic_id(&w, 0), .partition = 0};
    assert_int_equal(consumer_group_commit(w.g, str_of(""), -1, &each), ERR_NONE);
    struct client a = client_of(&w, "a", "0");
    struct client b = client_of(&w, "b", "0");
    join(&a);
    obey(&a);
    assert_int_equal(consumer_group_commit(w.g, str_of(""), -1, &each), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(consumer_group_commit(w.g, str_of("a"), 2, &each), ERR_NONE);
    assert_false(each);
    assert_int_equal(consumer_group_commit(w.g, str_of("a"), 3, &each), ERR_STALE_MEMBER_EPOCH);
    assert_int_equal(consumer_group_fetch(w.g, str_null(), -1), ERR_NONE);
    assert_int_equal(consumer_group_fetch(w.g, str_of("a"), 3), ERR_STALE_MEMBER_EPOCH);
    join(&b);
    struct client both[2] = {a, b};
    settle_down(both, 2);
    for (uint32_t p = 0; p < 4; p++) { /* under its old epoch: what it has still */
        const struct tp part = {.topic = first.topic, .partition = (int32_t)p};
        assert_int_equal(consumer_group_commit(w.g, str_of("a"), 2, &each), ERR_NONE);
        assert_true(each);
        assert_int_equal(consumer_group_commit_of(w.g, str_of("a"), 2, &part),
                         tp_set_has(&both[0].owned, &part));
        assert_false(consumer_group_commit_of(w.g, str_of("b"), 2, &part));
        assert_int_equal(consumer_group_commit_of(w.g, str_of("b"), 3, &part),
                         tp_set_has(&both[1].owned, &part));
    }
    restart(&w); /* the epochs of partitions are in the log, too */
    assert_true(consumer_group_commit_of(w.g, str_of("a"), 2, &both[0].owned.parts[0]));
    assert_false(consumer_group_commit_of(w.g, str_of("b"), 2, &both[1].owned.parts[0]));
    client_forget(&both[0]);
    client_forget(&both[1]);
    world_end(&w);
}

/* As they are in Kafka's records. */
static void k5_who_gives_back_twice_waits_twice(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "01");
    struct client b = client_of(&w, "b", "01");
    struct client c = client_of(&w, "c", "01");
    join(&a);
    settle_down(&a, 1);
    const int32_t first = a.epoch;
    const struct consumer_member *member = consumer_group_member(w.g, str_of("a"));
    join(&b);
    beat(&a);
    assert_int_equal(member->state, CONSUMER_MEMBER_REVOKING);
    join(&c);
    obey(&a); /* and is told to give back more */
    assert_int_equal(member->state, CONSUMER_MEMBER_REVOKING);
    assert_int_equal(a.epoch, first);
    obey(&a);
    assert_int_equal(member->state, CONSUMER_MEMBER_STABLE);
    assert_int_equal(a.epoch, w.g->epoch);
    client_forget(&a);
    client_forget(&b);
    client_forget(&c);
    world_end(&w);
}

static void k6_commits_for_what_is_given_back_outlive_a_restart(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "0");
    struct client b = client_of(&w, "b", "0");
    join(&a);
    settle_down(&a, 1);
    const int32_t first = a.epoch;
    a.topics = "01";
    send_beat(&a, &(struct beat){.epoch = a.epoch, .full = true, .owned = &a.owned});
    settle_down(&a, 1);
    assert_true(a.epoch > first);
    join(&b);
    beat(&a);
    restart(&w);
    const struct consumer_member *member = consumer_group_member(w.g, str_of("a"));
    uint32_t old = 0;
    assert_int_equal(member->state, CONSUMER_MEMBER_REVOKING);
    for (uint32_t i = 0; i < member->revoking.count; i++)
        old += consumer_group_commit_of(w.g, str_of("a"), first, &member->revoking.parts[i]);
    assert_true(old > 0);
    client_forget(&a);
    client_forget(&b);
    world_end(&w);
}

static struct tp_set all_of_topic(const struct world *w, uint32_t topic)
{
    struct tp_set set = {.parts = mem_alloc(w->partitions[topic] * sizeof(struct tp))};
    for (uint32_t i = 0; i < w->partitions[topic]; i++)
        set.parts[set.count++] = (struct tp){.topic = topic_id(w, topic), .partition = (int32_t)i};
    return set;
}

/* Nobody writes that; should it be read, the first one has it. */
static void one_reader_of_what_two_were_written_to_have(void **state)
{
    static const char *const ids[] = {"a", "b"};
    struct str name = str_of("t0");
    struct world w;
    (void)state;
    world_begin(&w);
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
            .epoch = 3, .previous_epoch = 3, .assigned = all_of_topic(&w, 0)};
        consumer_restore_current(w.g, str_of(ids[i]), &current);
    }
    consumer_group_resume(w.g);
    assert_int_equal(consumer_group_member(w.g, str_of("a"))->assigned.count, 4);
    assert_int_equal(consumer_group_member(w.g, str_of("b"))->assigned.count, 0);
    flush(&w);
    world_end(&w);
}

static void states_have_their_numbers(void **state)
{
    (void)state;
    assert_int_equal(CONSUMER_MEMBER_STABLE, 0);
    assert_int_equal(CONSUMER_MEMBER_REVOKING, 1);
    assert_int_equal(CONSUMER_MEMBER_WAITING, 2);
}

static void set_state(struct world *w, const char *id, int8_t number)
{
    const struct consumer_record record = {
        .kind = CONSUMER_RECORD_CURRENT,
        .group = w->g->id,
        .member = str_of(id),
        .of_current = {.member_epoch = 2, .previous_member_epoch = 1, .state = number}};
    consumer_record_restore(&record, w->g);
    consumer_group_resume(w->g);
}

static void a_state_that_is_not_known(void **state)
{
    static const struct tp_set nothing;
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "0");
    join(&a);
    flush(&w);
    consumer_group_free(w.g);
    w.g = consumer_group_new(&w.host, str_of("group"));
    read_log(&w);
    set_state(&w, "a", 99);
    obey(&a);
    assert_int_equal(a.error, ERR_FENCED_MEMBER_EPOCH);
    send_beat(&a, &(struct beat){.epoch = 2});
    assert_int_equal(a.error, ERR_FENCED_MEMBER_EPOCH);
    send_beat(&a, &(struct beat){.epoch = 2, .owned = &nothing});
    assert_int_equal(a.error, ERR_NONE);
    assert_int_equal(a.target.count, 4);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
    client_forget(&a);
    world_end(&w);
}

static void topics_change(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "03");
    join(&a);
    settle_down(&a, 1);
    assert_int_equal(a.owned.count, 4);
    w.partitions[1] = 9; /* is not ours */
    w.host.topics_version++;
    settle_down(&a, 1);
    assert_int_equal(w.g->epoch, 2);
    w.partitions[0] = 6;
    w.partitions[3] = 1;
    w.host.topics_version++;
    settle_down(&a, 1);
    assert_int_equal(w.g->epoch, 3);
    assert_int_equal(a.owned.count, 7);
    w.generation[0]++; /* deleted and made again */
    w.host.topics_version++;
    settle_down(&a, 1);
    assert_int_equal(a.owned.count, 7);
    w.partitions[0] = 0;
    w.host.topics_version++;
    settle_down(&a, 1);
    assert_int_equal(a.owned.count, 1);
    client_forget(&a);
    world_end(&w);
}

static void the_first_plan_may_take_its_time(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    w.later = true;
    struct client both[2] = {client_of(&w, "a", "0"), client_of(&w, "b", "0")};
    join(&both[0]);
    join(&both[1]);
    assert_int_equal(both[0].epoch, 1); /* in which nobody has anything */
    assert_int_equal(both[1].epoch, 1);
    assert_int_equal(both[0].target.count, 0);
    settle_down(both, 2);
    assert_int_equal(both[0].owned.count, 2);
    assert_int_equal(both[1].owned.count, 2);
    client_forget(&both[0]);
    client_forget(&both[1]);
    world_end(&w);
}

/* What stood behind the group's own record never came to the log. */
static void a_first_plan_that_was_cut_off(void **state)
{
    struct world w;
    (void)state;
    for (int32_t epoch = 1; epoch < 4; epoch++) {
        world_begin(&w);
        const struct consumer_record record = {
            .kind = CONSUMER_RECORD_GROUP, .group = w.g->id, .of_group = {.epoch = epoch}};
        consumer_record_restore(&record, w.g);
        consumer_group_resume(w.g);
        w.later = true;
        struct client a = client_of(&w, "a", "0");
        join(&a);
        assert_int_equal(a.error, ERR_NONE);
        assert_int_equal(a.epoch, 1);
        assert_true(w.g->epoch > 1);
        restart(&w);
        settle_down(&a, 1);
        assert_int_equal(a.owned.count, 4);
        client_forget(&a);
        world_end(&w);
    }
}

static void a_plan_may_take_its_time(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client both[2] = {client_of(&w, "a", "0"), client_of(&w, "b", "0")};
    join(&both[0]);
    settle_down(both, 1);
    w.later = true;
    join(&both[1]);
    assert_int_equal(both[1].epoch, 2); /* of the target that there is */
    assert_int_equal(consumer_group_state(w.g), CONSUMER_ASSIGNING);
    leave(&both[0], -1); /* meanwhile */
    plan_now(&w);
    settle_down(&both[1], 1);
    assert_int_equal(both[1].owned.count, 4);
    leave(&both[1], -1);
    restart(&w);
    join(&both[0]);
    assert_true(both[0].epoch > 0);
    client_forget(&both[0]);
    client_forget(&both[1]);
    world_end(&w);
}

static void a_static_member_comes_back_while_a_plan_is_made(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "0");
    struct client both[2] = {client_of(&w, "b", "0"), client_of(&w, "c", "0")};
    a.instance = "one";
    both[0].instance = "one";
    join(&a);
    obey(&a);
    w.later = true;
    join(&both[1]);
    assert_non_null(w.plan);
    leave(&a, -2);
    join(&both[0]);
    assert_int_equal(both[0].error, ERR_NONE);
    assert_int_equal(both[0].target.count, 4);
    plan_now(&w);
    settle_down(both, 2);
    assert_int_equal(both[0].owned.count, 2);
    assert_int_equal(both[1].owned.count, 2);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
    client_forget(&both[0]);
    client_forget(&both[1]);
    world_end(&w);
}

static void what_comes_late_changes_no_empty_group(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w);
    struct client a = client_of(&w, "a", "0");
    a.regex = "t.*";
    join(&a);
    resolve_now(&w);
    w.later = true;
    w.partitions[0]++;
    w.host.topics_version++;
    beat(&a);
    assert_true(w.resolving);
    resolve_now(&w);
    beat(&a);
    assert_non_null(w.plan);
    w.host.topics_version++;
    beat(&a);
    assert_true(w.resolving);
    leave(&a, -1);
    const size_t records = w.log_count;
    const int32_t epoch = w.g->epoch;
    plan_now(&w);
    assert_false(consumer_group_is_dirty(w.g));
    resolve_now(&w);
    assert_false(consumer_group_is_dirty(w.g));
    assert_int_equal(w.g->epoch, epoch);
    assert_int_equal(w.log_count, records);
    join(&a); /* and it goes on from there */
    settle_down(&a, 1);
    assert_int_equal(a.owned.count, 13);
    client_forget(&a);
    world_end(&w);
}

/* ---- everything at once ---- */

#define CROWD 6U

static uint32_t chance(struct world *w, uint32_t below)
{
    w->seed = w->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(w->seed >> 33) % below;
}

static bool is_member(const struct client *c)
{
    const struct consumer_member *m = consumer_group_member(c->w->g, str_of(c->id));
    return m && c->epoch > 0;
}

static void check_owners(struct client *clients)
{
    for (unsigned i = 0; i < CROWD; i++)
        for (unsigned j = 0; j < i; j++)
            if (is_member(&clients[i]) && is_member(&clients[j]))
                assert_false(tp_set_meets(&clients[i].owned, &clients[j].owned));
}

static void look_at_error(struct client *c)
{
    if (c->error != ERR_NONE)
        client_forget(c);
}

/* It gives back before it takes, and may have done half of it. */
static void obey_half(struct client *c)
{
    if (c->told)
        tp_set_replace(&c->owned, tp_set_both(&c->owned, &c->target));
}

static void act(struct world *w, struct client *c)
{
    static const char *const wishes[] = {"0", "01", "012", "12", "2", "3"};
    switch (chance(w, 14)) {
    case 0:
        if (c->epoch > 0)
            leave(c, -1);
        break;
    case 1:
    case 2: /* now and then it was a member */
        if (c->epoch == 0 || chance(w, 8) == 0) {
            c->topics = wishes[chance(w, 6)];
            join(c);
            look_at_error(c);
        }
        break;
    case 3:
        obey_half(c);
        break;
    case 4: /* an answer is lost; the client asks again with what it knew */
        if (c->epoch > 0)
            send_beat(c, &(struct beat){.epoch = c->epoch, .owned = &c->owned, .lost = true});
        break;
    case 5:
        if (c->epoch > 0) {
            c->topics = wishes[chance(w, 6)];
            say_all(c);
            look_at_error(c);
        }
        break;
    default:
        if (c->epoch > 0 && c->told && chance(w, 2) == 0)
            obey(c);
        else if (c->epoch > 0)
            say_all(c);
        look_at_error(c);
    }
}

static void happen(struct world *w)
{
    switch (chance(w, 60)) {
    case 0:
        restart(w);
        break;
    case 1:
        pass(w, chance(w, 30000));
        break;
    case 2:
        w->partitions[chance(w, 4)] = chance(w, 8);
        w->host.topics_version++;
        break;
    case 3:
        w->later = chance(w, 2) == 0;
        break;
    default:
        if (chance(w, 3) == 0)
            plan_now(w);
        flush(w);
    }
}

static void one_reader_whatever_happens(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 25; seed++) {
        struct world w;
        world_begin(&w);
        w.seed = seed;
        struct client clients[CROWD];
        for (unsigned i = 0; i < CROWD; i++) {
            const char id[] = {'c', (char)('0' + i), 0};
            clients[i] = client_of(&w, id, "0");
        }
        for (unsigned step = 0; step < 600; step++) {
            act(&w, &clients[chance(&w, CROWD)]);
            happen(&w);
            check_owners(clients);
        }
        w.later = false;
        for (unsigned i = 0; i < CROWD; i++) { /* and it comes to rest */
            if (clients[i].epoch > 0) {
                say_all(&clients[i]);
                look_at_error(&clients[i]);
            }
            if (clients[i].epoch == 0) {
                join(&clients[i]); /* as the same: the coordinator may know it still */
                assert_int_equal(clients[i].error, ERR_NONE);
            }
            plan_now(&w);
        }
        for (unsigned i = 0; i < 4; i++) { /* whoever is only in the coordinator's memory goes */
            pass(&w, SESSION_MS / 3);
            for (unsigned j = 0; j < CROWD; j++) {
                beat(&clients[j]);
                assert_int_equal(clients[j].error, ERR_NONE);
                obey(&clients[j]);
            }
        }
        settle_down(clients, CROWD);
        assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
        assert_int_equal(w.g->member_count, CROWD);
        uint32_t total = 0;
        for (unsigned i = 0; i < CROWD; i++)
            total += clients[i].owned.count;
        assert_int_equal(total, HASH_COUNT(w.g->holdings));
        check_owners(clients);
        for (unsigned i = 0; i < CROWD; i++)
            client_forget(&clients[i]);
        world_end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(k1_what_is_refused),
        cmocka_unit_test(k1_what_cannot_be_stored),
        cmocka_unit_test(what_is_too_much_for_a_record),
        cmocka_unit_test(topics_that_grow_too_much_change_nothing),
        cmocka_unit_test(members_whose_records_are_too_large_are_shed),
        cmocka_unit_test(what_is_too_much_for_memory),
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
    return cmocka_run_group_tests(tests, NULL, NULL);
}
