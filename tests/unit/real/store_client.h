/* SPDX-License-Identifier: Apache-2.0
 *
 * A client of a metadata store (core/metadata/store.h) on a shard that is turned by hand, whatever
 * body the store has: a file, the simulated one, or Apache ZooKeeper's own server. And a thousand
 * writes at once.
 */
#pragma once

#include "core/metadata/store_sim.h"
#include "core/metadata/store_zookeeper.h"
#include "io/mem.h"
#include "tests/unit/real/zookeeper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define PATIENCE_MS 30000U

/* libzookeeper prints an address into one static buffer of the process; this test opens two
 * sessions, a broker one. Nothing of ours calls sprintf. */
const char *__tsan_default_suppressions(void); /* NOLINT: the name is the sanitizer's */
const char *__tsan_default_suppressions(void)  /* NOLINT */
{
    return "race:__sprintf_chk\n";
}

enum body { BODY_FILE, BODY_SIM, BODY_ZOOKEEPER };

static struct {
    enum body body;
    struct shard_group *group;
    struct shard *sh;
    struct store_sim *sim;
    struct zookeeper zk;
    bool have_zookeeper;
    unsigned roots; /* each test below a path of its own */
    char directory[64];
} the;

/* ---- a shard, turned by hand ---- */

static inline void open_shard(void)
{
    char error[512];
    struct io_options options = {.receive_pool_bytes = 1 << 20, .log_file = -1};
    the.group = shard_group_new(1, SHARD_CREDITS);
    the.sh = shard_of(the.group, 0);
    struct io *io = io_open(&options, error, sizeof(error));
    if (!io)
        fail_msg("%s", error);
    shard_init(the.sh, io);
}

static inline void close_shard(void)
{
    struct io *io = the.sh->io;
    shard_fini(the.sh);
    io_close_all(io);
    shard_group_free(the.group);
}

static inline void turn(void)
{
    if (!shard_turn(the.sh))
        (void)nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

static inline uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

#define turn_until(condition)                                                                      \
    do {                                                                                           \
        uint64_t until_ms_ = now_ms() + PATIENCE_MS;                                               \
        while (!(condition)) {                                                                     \
            turn();                                                                                \
            if (now_ms() > until_ms_)                                                              \
                fail_msg("not within %u ms: %s", PATIENCE_MS, #condition);                         \
        }                                                                                          \
    } while (0)

static inline void turn_for(uint64_t ms)
{
    for (uint64_t until_ms = now_ms() + ms; now_ms() < until_ms;)
        turn();
}

/* What is called from inside a turn, as all calls of a store must be. */
struct call {
    struct task task;
    void (*fn)(void *argument);
    void *argument;
    bool called;
};

static inline void on_call(struct shard *sh, struct task *task)
{
    (void)sh;
    struct call *call = container_of(task, struct call, task);
    call->fn(call->argument);
    call->called = true;
}

static inline void in_turn(void (*fn)(void *argument), void *argument)
{
    struct call call = {.task = {.fn = on_call, .name = "test"}, .fn = fn, .argument = argument};
    shard_ready(the.sh, &call.task);
    turn_until(call.called);
}

/* ---- a client, and what it was told ---- */

#define EVENTS_MAX 64U

struct client {
    struct store *store;
    char url[128];
    char root[32]; /* of this test, in a store that others have used */
    unsigned connected, suspended, expired, failed, closed;
    char sentence[512];
    struct {
        enum store_event_kind kind;
        char path[64];
        unsigned answers; /* that had come before */
    } events[EVENTS_MAX];
    unsigned event_count;
    unsigned answers;
    unsigned answers_at_end; /* of the session: that had come before */
};

static inline void on_event(void *user, const struct store_event *event)
{
    struct client *c = user;
    c->connected += event->kind == STORE_CONNECTED;
    c->suspended += event->kind == STORE_SUSPENDED;
    c->expired += event->kind == STORE_SESSION_EXPIRED;
    c->failed += event->kind == STORE_FAILED;
    if (event->kind == STORE_SESSION_EXPIRED)
        c->answers_at_end = c->answers;
    if (event->sentence)
        (void)snprintf(c->sentence, sizeof(c->sentence), "%s", event->sentence);
    if (!event->path)
        return;
    assert_true(c->event_count < EVENTS_MAX);
    c->events[c->event_count].kind = event->kind;
    c->events[c->event_count].answers = c->answers;
    (void)snprintf(c->events[c->event_count].path, sizeof(c->events[0].path), "%s", event->path);
    c->event_count++;
}

static inline void open_now(void *argument)
{
    struct client *c = argument;
    const struct store_options options = {
        .url = c->url,
        .session_timeout_ms = 2000,
        .connect_timeout_ms = 3000,
        .zookeeper = store_zookeeper_open,
        .sim = the.sim,
        .on_event = on_event,
        .user = c,
    };
    c->store = store_open(the.sh, &options, c->sentence, sizeof(c->sentence));
}

static inline void client_open(struct client *c)
{
    *c = (struct client){0};
    if (the.body == BODY_FILE)
        (void)snprintf(c->url, sizeof(c->url), "file:%s/%u", the.directory, the.roots);
    else if (the.body == BODY_SIM)
        (void)snprintf(c->url, sizeof(c->url), "sim:");
    else
        (void)snprintf(c->url, sizeof(c->url), "zookeeper:127.0.0.1:%u/tests/%u", the.zk.port,
                       the.roots);
    in_turn(open_now, c);
    assert_non_null(c->store);
    turn_until(c->connected || c->failed);
    assert_int_equal(c->failed, 0);
}

static inline void on_closed(void *user)
{
    struct client *c = user;
    c->closed++;
}

static inline void close_now(void *argument)
{
    struct client *c = argument;
    store_close(c->store, on_closed, c);
}

static inline void client_close(struct client *c)
{
    in_turn(close_now, c);
    turn_until(c->closed);
}

/* ---- questions ---- */

struct question {
    struct client *c;
    const struct store_op *ops;
    uint32_t count;
    const char *path;
    bool watch;
    /* the answer */
    bool done;
    unsigned number; /* of this client's answers */
    enum store_result result;
    uint32_t bad_op;
    struct store_stat stats[8];
    struct store_stat stat;
    char data[256];
    uint32_t len;
    char names[256];
};

static inline void answered(struct question *q, enum store_result result)
{
    assert_false(q->done);
    q->done = true;
    q->number = ++q->c->answers;
    q->result = result;
}

static inline void on_multi(void *user, enum store_result result, uint32_t bad_op,
                            const struct store_stat *stats)
{
    struct question *q = user;
    answered(q, result);
    q->bad_op = bad_op;
    for (uint32_t i = 0; stats && i < q->count && i < array_count(q->stats); i++)
        q->stats[i] = stats[i];
}

static inline void on_get(void *user, enum store_result result, const void *data, uint32_t len,
                          const struct store_stat *stat)
{
    struct question *q = user;
    answered(q, result);
    q->stat = *stat;
    q->len = len;
    if (data)
        memcpy(q->data, data, len < sizeof(q->data) ? len : sizeof(q->data));
}

static inline void on_children(void *user, enum store_result result, const char *const *names,
                               uint32_t count, const struct store_stat *stat)
{
    struct question *q = user;
    answered(q, result);
    q->stat = *stat;
    for (uint32_t i = 0; i < count; i++) {
        strncat(q->names, names[i], sizeof(q->names) - strlen(q->names) - 2);
        strncat(q->names, " ", 2);
    }
}

static inline void multi_now(void *argument)
{
    struct question *q = argument;
    store_multi(q->c->store, q->ops, q->count, on_multi, q);
    assert_false(q->done);
}

static inline void get_now(void *argument)
{
    struct question *q = argument;
    store_get(q->c->store, q->path, q->watch, on_get, q);
}

static inline void exists_now(void *argument)
{
    struct question *q = argument;
    store_exists(q->c->store, q->path, q->watch, on_get, q);
}

static inline void children_now(void *argument)
{
    struct question *q = argument;
    store_children(q->c->store, q->path, q->watch, on_children, q);
}

static inline struct question ask_multi(struct client *c, const struct store_op *ops,
                                        uint32_t count)
{
    struct question q = {.c = c, .ops = ops, .count = count};
    in_turn(multi_now, &q);
    turn_until(q.done);
    return q;
}

static inline struct question ask(struct client *c, void (*now)(void *), const char *path,
                                  bool watch)
{
    struct question q = {.c = c, .path = path, .watch = watch};
    in_turn(now, &q);
    turn_until(q.done);
    return q;
}

static inline enum store_result do_create(struct client *c, const char *path, const char *data,
                                          bool ephemeral)
{
    const struct store_op op = {.kind = STORE_CREATE,
                                .path = path,
                                .data = data,
                                .len = (uint32_t)strlen(data),
                                .ephemeral = ephemeral};
    return ask_multi(c, &op, 1).result;
}

static inline enum store_result do_set(struct client *c, const char *path, const char *data,
                                       int32_t version)
{
    const struct store_op op = {.kind = STORE_SET,
                                .path = path,
                                .data = data,
                                .len = (uint32_t)strlen(data),
                                .version = version};
    return ask_multi(c, &op, 1).result;
}

static inline enum store_result do_delete(struct client *c, const char *path, int32_t version)
{
    const struct store_op op = {.kind = STORE_DELETE, .path = path, .version = version};
    return ask_multi(c, &op, 1).result;
}

static inline bool has_event(const struct client *c, unsigned from, enum store_event_kind kind,
                             const char *path)
{
    for (unsigned i = from; i < c->event_count; i++) {
        if (c->events[i].kind == kind && strcmp(c->events[i].path, path) == 0)
            return true;
    }
    return false;
}

/* ---- many at once ---- */

#define MANY 1000U

struct many {
    struct client *c;
    uint32_t sent, told, good, unknown;
    uint32_t order_broken;
    uint32_t of_number[MANY];
    bool found[MANY];
    bool found_all;
};

struct one_of_many {
    struct many *many;
    uint32_t number;
};

static struct one_of_many ones[MANY];

static inline void on_one(void *user, enum store_result result, uint32_t bad_op,
                          const struct store_stat *stats)
{
    (void)bad_op;
    (void)stats;
    struct one_of_many *one = user;
    struct many *many = one->many;
    many->order_broken += one->number != many->told;
    many->told++;
    many->good += result == STORE_OK;
    many->unknown += result == STORE_UNKNOWN;
    many->of_number[one->number] = result;
}

static inline void send_many(void *argument)
{
    struct many *many = argument;
    for (uint32_t i = 0; i < MANY; i++) {
        char path[32];
        (void)snprintf(path, sizeof(path), "/many/%04u", i);
        const struct store_op ops[] = {
            {.kind = STORE_CHECK, .path = "/many", .version = 0},
            {.kind = STORE_CREATE, .path = path, .data = path, .len = (uint32_t)strlen(path)},
        };
        ones[i] = (struct one_of_many){.many = many, .number = i};
        store_multi(many->c->store, ops, array_count(ops), on_one, &ones[i]);
        many->sent++;
    }
}

/* ---- a test ---- */

static inline uint64_t sim_random(void *user)
{
    uint64_t *state = user;
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return *state >> 20;
}

static inline uint64_t sim_now_ns(void *user)
{
    (void)user;
    return now_ms() * 1000000U;
}

static inline void with_a_client(void (*test)(struct client *c))
{
    static struct client c;
    static uint64_t dice = 1;
    if (the.body == BODY_ZOOKEEPER && !the.have_zookeeper)
        skip();
    the.roots++;
    if (the.body == BODY_SIM)
        the.sim = store_sim_new(&(struct store_sim_options){
            .random = sim_random, .now_ns = sim_now_ns, .user = &dice, .delay_ns_max = 300000});
    client_open(&c);
    test(&c);
    client_close(&c);
    if (the.body == BODY_SIM)
        store_sim_free(the.sim);
}

static inline int use_zookeeper(void **state)
{
    (void)state;
    the.body = BODY_ZOOKEEPER;
    return 0;
}

/* ---- all tests ---- */

static inline void store_tests_begin(void)
{
    (void)snprintf(the.directory, sizeof(the.directory), "/tmp/millrace-store.XXXXXX");
    must(mkdtemp(the.directory) != NULL);
    the.have_zookeeper = zookeeper_installed() && zookeeper_start(&the.zk);
    open_shard();
}

/* What main() returns. */
static inline int store_tests_end(int failed)
{
    char command[96];
    close_shard();
    if (the.have_zookeeper)
        zookeeper_stop(&the.zk);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", the.directory);
    return failed + (system(command) != 0);
}
