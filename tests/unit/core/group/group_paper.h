/* SPDX-License-Identifier: Apache-2.0
 *
 * The classic group against a host of paper: time stands still until a test moves it, what is
 * stored waits until a test says so, and clients say what a test tells them to.
 */
#pragma once

#include "core/group/group.h"

#include "tests/unit/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MS         1000000ULL
#define DELAY_MS   3000
#define RECORD_MAX 4096U
#define STORES     64U
#define MEMBER_ID  128U

struct world {
    struct group_host host;
    struct group *g;
    uint64_t now_ns;
    uint64_t seed;
    uint64_t tickets[STORES]; /* not yet stored */
    unsigned ticket_count;
    unsigned stores;
};

/* A client with its one request at a time. */
struct client {
    struct world *w;
    struct group_join join;
    struct group_sync sync;
    char id[MEMBER_ID];
    char leader[MEMBER_ID];
    char protocol[32];
    char assignment[64];
    const char *instance; /* NULL: dynamic */
    int32_t generation;
    int32_t session_ms;
    int32_t rebalance_ms;
    int16_t version;
    enum err error;
    unsigned joins; /* answered */
    unsigned syncs;
    unsigned members; /* told of */
    bool skip;
    bool leads;
};

static uint64_t now_ns(struct group_host *host)
{
    return container_of(host, struct world, host)->now_ns;
}

static int64_t wall_ms(struct group_host *host)
{
    return (int64_t)(container_of(host, struct world, host)->now_ns / MS);
}

static uint64_t chance(struct group_host *host)
{
    struct world *w = container_of(host, struct world, host);
    w->seed = w->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return w->seed;
}

static void on_store(struct group_host *host, struct group *g, uint64_t ticket)
{
    struct world *w = container_of(host, struct world, host);
    (void)g;
    assert_true(w->ticket_count < STORES);
    w->tickets[w->ticket_count++] = ticket;
    w->stores++;
}

static size_t record_bytes_max(struct group_host *host, const struct group *g)
{
    (void)host;
    (void)g;
    return RECORD_MAX;
}

static void stored(struct world *w, enum err error)
{
    unsigned count = w->ticket_count;
    w->ticket_count = 0;
    for (unsigned i = 0; i < count; i++)
        group_stored(w->g, w->tickets[i], error);
}

static void pass(struct world *w, uint64_t ms)
{
    uint64_t until = w->now_ns + ms * MS;
    while (w->g->deadline_ns <= until) {
        w->now_ns = max_u64(w->now_ns, w->g->deadline_ns);
        group_tick(w->g);
    }
    w->now_ns = until;
}

static void begin(struct world *w)
{
    *w = (struct world){
        .host = {.now_ns = now_ns,
                 .wall_ms = wall_ms,
                 .random = chance,
                 .store = on_store,
                 .record_bytes_max = record_bytes_max,
                 .session_timeout_min_ms = 6000,
                 .session_timeout_max_ms = 1800000,
                 .initial_rebalance_delay_ms = DELAY_MS,
                 .members_max = 100,
                 .group_bytes_max = 1U << 20,
                 .member_bytes_max = 1U << 20},
        .now_ns = 1000 * MS,
        .seed = 7,
    };
    w->g = group_new(&w->host, str_of("group"));
}

static void end(struct world *w)
{
    group_free(w->g);
    assert_int_equal(w->host.member_bytes, 0);
}

static struct client client_of(struct world *w)
{
    return (struct client){
        .w = w, .generation = -1, .session_ms = 10000, .rebalance_ms = 30000, .version = 3};
}

static void text_copy(char *to, size_t size, struct str from)
{
    snprintf(to, size, "%.*s", (int)max_i64(from.len, 0), from.len > 0 ? from.data : "");
}

static void on_joined(struct group_join *join)
{
    struct client *c = container_of(join, struct client, join);
    c->joins++;
    c->error = join->error;
    c->generation = join->generation;
    c->members = join->members_of ? join->members_of->member_count : 0;
    c->skip = join->skip_assignment;
    text_copy(c->leader, sizeof(c->leader), join->leader);
    text_copy(c->protocol, sizeof(c->protocol), join->protocol);
    text_copy(c->id, sizeof(c->id), join->member_id_out);
    c->leads = join->error == ERR_NONE && strcmp(c->leader, c->id) == 0;
}

static void on_synced(struct group_sync *sync)
{
    struct client *c = container_of(sync, struct client, sync);
    c->syncs++;
    c->error = sync->error;
    text_copy(c->assignment, sizeof(c->assignment),
              (struct str){(const char *)sync->assignment.data, sync->assignment.len});
}

static struct bytes bytes_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, (int32_t)strlen(text)};
}

/* protocols: "range:a,roundrobin:b", at most four. */
static void join_type(struct client *c, const char *type, const char *protocols)
{
    struct group_protocol list[4];
    char text[128];
    char *rest = text;
    char *one;
    uint32_t count = 0;
    snprintf(text, sizeof(text), "%s", protocols);
    while ((one = strsep(&rest, ",")) && *one) {
        char *name = strsep(&one, ":");
        list[count++] =
            (struct group_protocol){.name = str_of(name), .metadata = bytes_of(one ? one : "")};
    }
    c->join = (struct group_join){
        .member_id = str_of(c->id),
        .instance_id = str_of(c->instance),
        .client_id = str_of("client"),
        .client_host = str_of("/127.0.0.1"),
        .protocol_type = str_of(type),
        .protocols = list,
        .protocol_count = count,
        .session_timeout_ms = c->session_ms,
        .rebalance_timeout_ms = c->rebalance_ms,
        .member_id_required = c->version >= 4,
        .may_skip = c->version >= 9,
        .done = on_joined,
    };
    group_join(c->w->g, &c->join);
}

static void join(struct client *c, const char *protocols)
{
    join_type(c, "consumer", protocols);
}

static void sync_with(struct client *c, const struct group_assignment *assignments, uint32_t count)
{
    c->sync = (struct group_sync){
        .member_id = str_of(c->id),
        .instance_id = str_of(c->instance),
        .generation = c->generation,
        .protocol_type = str_null(),
        .protocol = str_null(),
        .assignments = assignments,
        .assignment_count = count,
        .done = on_synced,
    };
    group_sync(c->w->g, &c->sync);
}

static void sync_follow(struct client *c)
{
    sync_with(c, NULL, 0);
}

/* The leader decides, and thinks of itself only. What it decided is not stored yet. */
static void assign_itself(struct client *leader, const char *assignment)
{
    struct group_assignment own = {str_of(leader->id), bytes_of(assignment)};
    sync_with(leader, &own, 1);
}

/* A member alone, in generation 1, to whom nothing is assigned yet. */
static void join_alone(struct client *c)
{
    join(c, "range:a");
    pass(c->w, DELAY_MS);
    assert_int_equal(c->error, ERR_NONE);
    assert_true(c->leads);
}

/* One member, stable, in generation 1. */
static void settle_one(struct client *c)
{
    join_alone(c);
    assign_itself(c, "all");
    stored(c->w, ERR_NONE);
    assert_string_equal(c->assignment, "all");
    assert_int_equal(c->w->g->state, GROUP_STABLE);
}

/* Both are told what is theirs: "first" and "second". */
static void assign_two(struct client *leader, struct client *other)
{
    struct group_assignment both[] = {{str_of(leader->id), bytes_of("first")},
                                      {str_of(other->id), bytes_of("second")}};
    sync_follow(other);
    sync_with(leader, both, 2);
    stored(leader->w, ERR_NONE);
    assert_int_equal(leader->w->g->state, GROUP_STABLE);
}

/* Both are in generation 1, and nothing is assigned yet. */
static void join_two(struct client *leader, struct client *other)
{
    join(leader, "range:a");
    join(other, "range:b");
    pass(leader->w, 2 * DELAY_MS);
    assert_true(leader->leads && !other->leads);
}

static void settle_two(struct client *leader, struct client *other)
{
    join_two(leader, other);
    assign_two(leader, other);
}

/* ---- what each test is given ---- */

/* A group in which nobody is, and two clients that have said nothing yet. */
static struct world w;
static struct client a;
static struct client b;

static int group_begin(void **state)
{
    (void)state;
    begin(&w);
    a = client_of(&w);
    b = client_of(&w);
    return 0;
}

static int group_end(void **state)
{
    (void)state;
    end(&w);
    return 0;
}

/* Gives each of the tests a group of its own. */
static void with_a_group(struct CMUnitTest *tests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tests[i].setup_func = group_begin;
        tests[i].teardown_func = group_end;
    }
}
