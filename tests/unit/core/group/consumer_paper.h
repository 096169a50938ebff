/* SPDX-License-Identifier: Apache-2.0
 *
 * The consumer group of KIP-848 against a host of paper: time stands still until a test moves it,
 * the log is a list of records, and clients do what the protocol asks of them, late, twice, or not
 * at all.
 */
#pragma once

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

static inline struct world *world_of(struct consumer_host *host)
{
    return container_of(host, struct world, host);
}

static inline uint64_t now_ns(struct consumer_host *host)
{
    return world_of(host)->now_ns;
}

static inline int64_t wall_ms(struct consumer_host *host)
{
    return (int64_t)(world_of(host)->now_ns / MS);
}

static inline struct uuid topic_id(const struct world *w, uint32_t topic)
{
    struct uuid id = {{0}};
    id.bytes[0] = 9;
    id.bytes[7] = (uint8_t)w->generation[topic];
    id.bytes[15] = (uint8_t)topic;
    return id;
}

/* Topics are called t0, t1, ... */
static inline bool topic(struct consumer_host *host, struct str name, struct uuid *id,
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

static inline void assign(struct consumer_host *host, struct consumer_group *g,
                          struct assign_plan *plan)
{
    struct world *w = world_of(host);
    w->plans++;
    assign_run(plan);
    if (w->later)
        w->plan = plan;
    else
        consumer_group_assigned(g, plan);
}

static inline void plan_now(struct world *w)
{
    struct assign_plan *plan = w->plan;
    w->plan = NULL;
    if (plan)
        consumer_group_assigned(w->g, plan);
}

static inline void resolve(struct consumer_host *host, struct consumer_group *g)
{
    (void)g;
    world_of(host)->resolving = true;
}

/* The only expression is "t.*", and means all topics. */
static inline void resolve_now(struct world *w)
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

static inline size_t record_bytes_max(struct consumer_host *host, const struct consumer_group *g)
{
    (void)g;
    return world_of(host)->record_max;
}

static inline const char *regex_check(struct consumer_host *host, struct str regex)
{
    (void)host;
    return str_equal(regex, str_of("t.*")) ? NULL : "bad";
}

/* ---- the log ---- */

static inline struct bytes bytes_copy(struct bytes bytes)
{
    uint8_t *copy = bytes.len >= 0 ? mem_alloc((size_t)bytes.len + 1) : NULL;
    if (bytes.len > 0)
        memcpy(copy, bytes.data, (size_t)bytes.len);
    return (struct bytes){copy, bytes.len};
}

static inline bool log_add(struct consumer_writer *writer, const struct group_record_bytes *record)
{
    struct world *w = container_of(writer, struct world, writer);
    w->log = mem_realloc(w->log, (w->log_count + 1) * sizeof(*w->log));
    w->log[w->log_count++] =
        (struct entry){.key = bytes_copy(record->key), .value = bytes_copy(record->value)};
    arena_reset(&w->arena);
    return true;
}

static inline void flush(struct world *w)
{
    assert_true(consumer_record_changes(&w->writer, w->g));
    consumer_group_clean(w->g);
    assert_false(consumer_group_is_dirty(w->g));
}

static inline void read_log(struct world *w)
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

static inline void restart(struct world *w)
{
    plan_now(w);
    resolve_now(w);
    flush(w);
    consumer_group_free(w->g);
    w->g = consumer_group_new(&w->host, str_of("group"));
    read_log(w);
    consumer_group_resume(w->g);
}

static inline void world_begin(struct world *w)
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

static inline void world_end(struct world *w)
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

static inline struct client client_of(struct world *w, const char *id, const char *topics)
{
    struct client c = {.w = w, .topics = topics};
    snprintf(c.id, sizeof(c.id), "%s", id);
    return c;
}

static inline void client_forget(struct client *c)
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

static inline void send_beat(struct client *c, const struct beat *beat)
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
static inline void say_all(struct client *c)
{
    send_beat(c, &(struct beat){.epoch = c->epoch, .full = true, .owned = &c->owned});
}

static inline void join(struct client *c)
{
    client_forget(c);
    say_all(c);
}

static inline void beat(struct client *c)
{
    send_beat(c, &(struct beat){.epoch = c->epoch, .owned = c->told ? &c->owned : NULL});
}

/* What it was told becomes what it has: both halves at once, as the Java client does it. */
static inline void obey(struct client *c)
{
    if (!c->told)
        return;
    tp_set_replace(&c->owned, tp_set_copy(&c->target));
    send_beat(c, &(struct beat){.epoch = c->epoch, .owned = &c->owned});
    if (tp_set_equal(&c->owned, &c->target))
        c->told = false;
}

static inline void leave(struct client *c, int32_t epoch)
{
    send_beat(c, &(struct beat){.epoch = epoch});
    client_forget(c);
}

static inline void settle_down(struct client *clients, unsigned count)
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

static inline void pass(struct world *w, uint64_t ms)
{
    w->now_ns += ms * MS;
    if (w->g->deadline_ns <= w->now_ns)
        consumer_group_tick(w->g);
    flush(w);
}

/* ---- what each test is given ---- */

/* A group in which nobody is, and three clients that have said nothing yet: a, b and c, who want
 * t0. */
static struct world w;
static struct client clients[3];
static struct client *const a = &clients[0];
static struct client *const b = &clients[1];
static struct client *const c = &clients[2];

static inline int group_begin(void **state)
{
    static const char *const ids[] = {"a", "b", "c"};
    (void)state;
    world_begin(&w);
    for (unsigned i = 0; i < array_count(clients); i++)
        clients[i] = client_of(&w, ids[i], "0");
    return 0;
}

static inline int group_end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(clients); i++)
        client_forget(&clients[i]);
    world_end(&w);
    return 0;
}

/* Gives each of the tests a group of its own. */
static inline void with_a_group(struct CMUnitTest *tests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tests[i].setup_func = group_begin;
        tests[i].teardown_func = group_end;
    }
}

/* It joins, and says that it has what it was told. */
static inline void join_and_obey(struct client *client)
{
    join(client);
    obey(client);
}

/* It joins, and has all that it will have. */
static inline void join_and_settle(struct client *client)
{
    join(client);
    settle_down(client, 1);
}

/* The topic has this many partitions from now on; 0: there is no such topic. */
static inline void topic_becomes(uint32_t number, uint32_t partitions)
{
    w.partitions[number] = partitions;
    w.host.topics_version++;
}
