/* SPDX-License-Identifier: Apache-2.0
 *
 * What every body of the metadata store gives (core/metadata/store.h), asked of all three: the
 * file, the simulated one, and Apache ZooKeeper's own server. Then what only a server across a
 * network can do: be killed in the middle of writes, end a session, drop a connection.
 */
#include "core/metadata/store_sim.h"
#include "core/metadata/store_zookeeper.h"
#include "io/mem.h"
#include "tests/unit/real/zookeeper.h"

#include <dirent.h>
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

static void open_shard(void)
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

static void close_shard(void)
{
    struct io *io = the.sh->io;
    shard_fini(the.sh);
    io_close_all(io);
    shard_group_free(the.group);
}

static void turn(void)
{
    if (!shard_turn(the.sh))
        (void)nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

static uint64_t now_ms(void)
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

static void turn_for(uint64_t ms)
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

static void on_call(struct shard *sh, struct task *task)
{
    (void)sh;
    struct call *call = container_of(task, struct call, task);
    call->fn(call->argument);
    call->called = true;
}

static void in_turn(void (*fn)(void *argument), void *argument)
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

static void on_event(void *user, const struct store_event *event)
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

static void open_now(void *argument)
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

static void client_open(struct client *c)
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

static void on_closed(void *user)
{
    struct client *c = user;
    c->closed++;
}

static void close_now(void *argument)
{
    struct client *c = argument;
    store_close(c->store, on_closed, c);
}

static void client_close(struct client *c)
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

static void answered(struct question *q, enum store_result result)
{
    assert_false(q->done);
    q->done = true;
    q->number = ++q->c->answers;
    q->result = result;
}

static void on_multi(void *user, enum store_result result, uint32_t bad_op,
                     const struct store_stat *stats)
{
    struct question *q = user;
    answered(q, result);
    q->bad_op = bad_op;
    for (uint32_t i = 0; stats && i < q->count && i < array_count(q->stats); i++)
        q->stats[i] = stats[i];
}

static void on_get(void *user, enum store_result result, const void *data, uint32_t len,
                   const struct store_stat *stat)
{
    struct question *q = user;
    answered(q, result);
    q->stat = *stat;
    q->len = len;
    if (data)
        memcpy(q->data, data, len < sizeof(q->data) ? len : sizeof(q->data));
}

static void on_children(void *user, enum store_result result, const char *const *names,
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

static void multi_now(void *argument)
{
    struct question *q = argument;
    store_multi(q->c->store, q->ops, q->count, on_multi, q);
    assert_false(q->done);
}

static void get_now(void *argument)
{
    struct question *q = argument;
    store_get(q->c->store, q->path, q->watch, on_get, q);
}

static void exists_now(void *argument)
{
    struct question *q = argument;
    store_exists(q->c->store, q->path, q->watch, on_get, q);
}

static void children_now(void *argument)
{
    struct question *q = argument;
    store_children(q->c->store, q->path, q->watch, on_children, q);
}

static struct question ask_multi(struct client *c, const struct store_op *ops, uint32_t count)
{
    struct question q = {.c = c, .ops = ops, .count = count};
    in_turn(multi_now, &q);
    turn_until(q.done);
    return q;
}

static struct question ask(struct client *c, void (*now)(void *), const char *path, bool watch)
{
    struct question q = {.c = c, .path = path, .watch = watch};
    in_turn(now, &q);
    turn_until(q.done);
    return q;
}

static enum store_result do_create(struct client *c, const char *path, const char *data,
                                   bool ephemeral)
{
    const struct store_op op = {.kind = STORE_CREATE,
                                .path = path,
                                .data = data,
                                .len = (uint32_t)strlen(data),
                                .ephemeral = ephemeral};
    return ask_multi(c, &op, 1).result;
}

static enum store_result do_set(struct client *c, const char *path, const char *data,
                                int32_t version)
{
    const struct store_op op = {.kind = STORE_SET,
                                .path = path,
                                .data = data,
                                .len = (uint32_t)strlen(data),
                                .version = version};
    return ask_multi(c, &op, 1).result;
}

static enum store_result do_delete(struct client *c, const char *path, int32_t version)
{
    const struct store_op op = {.kind = STORE_DELETE, .path = path, .version = version};
    return ask_multi(c, &op, 1).result;
}

/* ---- what every body gives ---- */

static void nodes_have_versions(struct client *c)
{
    assert_int_equal(do_create(c, "/a", "one", false), STORE_OK);
    assert_int_equal(do_create(c, "/a", "two", false), STORE_EXISTS);
    assert_int_equal(do_create(c, "/no/child", "", false), STORE_NO_NODE);
    struct question q = ask(c, get_now, "/a", false);
    assert_int_equal(q.result, STORE_OK);
    assert_memory_equal(q.data, "one", 3);
    assert_int_equal(q.len, 3);
    assert_int_equal(q.stat.version, 0);
    assert_int_equal(q.stat.owner, 0);
    uint64_t born = q.stat.czxid;
    assert_int_equal(do_set(c, "/a", "changed", 1), STORE_BAD_VERSION);
    assert_int_equal(do_set(c, "/a", "changed", 0), STORE_OK);
    assert_int_equal(do_set(c, "/a", "again", -1), STORE_OK);
    assert_int_equal(do_set(c, "/b", "none", -1), STORE_NO_NODE);
    q = ask(c, exists_now, "/a", false);
    assert_int_equal(q.stat.version, 2);
    assert_int_equal(q.stat.czxid, born);
    assert_true(q.stat.mzxid > born);
    assert_int_equal(q.len, 0);
    assert_int_equal(do_create(c, "/a/x", "", false), STORE_OK);
    assert_int_equal(do_create(c, "/a/c", "", false), STORE_OK);
    assert_string_equal(ask(c, children_now, "/a", false).names, "c x ");
    assert_int_equal(ask(c, children_now, "/a", false).stat.child_count, 2);
    assert_int_equal(do_delete(c, "/a", -1), STORE_NOT_EMPTY);
    assert_int_equal(do_delete(c, "/a/x", 3), STORE_BAD_VERSION);
    assert_int_equal(do_delete(c, "/a/x", 0), STORE_OK);
    assert_int_equal(do_delete(c, "/a/x", 0), STORE_NO_NODE);
    assert_int_equal(ask(c, get_now, "/a/x", false).result, STORE_NO_NODE);
    assert_int_equal(ask(c, children_now, "/none", false).result, STORE_NO_NODE);
}

/* All or nothing; later operations see earlier ones; a failure names its operation. */
static void multis_are_atomic(struct client *c)
{
    const struct store_op good[] = {
        {.kind = STORE_CREATE, .path = "/m", .data = "1", .len = 1},
        {.kind = STORE_CREATE, .path = "/m/child", .data = "", .len = 0},
        {.kind = STORE_SET, .path = "/m", .data = "22", .len = 2, .version = 0},
        {.kind = STORE_CHECK, .path = "/m", .version = 1},
    };
    struct question q = ask_multi(c, good, array_count(good));
    assert_int_equal(q.result, STORE_OK);
    assert_int_equal(q.stats[2].version, 1);
    const struct store_op bad[] = {
        {.kind = STORE_SET, .path = "/m", .data = "333", .len = 3, .version = 1},
        {.kind = STORE_DELETE, .path = "/m/child", .version = -1},
        {.kind = STORE_CHECK, .path = "/m", .version = 7},
        {.kind = STORE_CREATE, .path = "/m/other", .data = "", .len = 0},
    };
    q = ask_multi(c, bad, array_count(bad));
    assert_int_equal(q.result, STORE_BAD_VERSION);
    assert_int_equal(q.bad_op, 2);
    q = ask(c, get_now, "/m", false);
    assert_int_equal(q.stat.version, 1);
    assert_memory_equal(q.data, "22", 2);
    assert_string_equal(ask(c, children_now, "/m", false).names, "child ");
    const struct store_op check = {.kind = STORE_CHECK, .version = -1, .path = "/"};
    struct question barrier = ask_multi(c, &check, 1);
    assert_int_equal(barrier.result, STORE_OK);
}

static bool has_event(const struct client *c, unsigned from, enum store_event_kind kind,
                      const char *path)
{
    for (unsigned i = from; i < c->event_count; i++) {
        if (c->events[i].kind == kind && strcmp(c->events[i].path, path) == 0)
            return true;
    }
    return false;
}

/* Once each, before the answer that shows the change, and only what was asked for. */
static void watches_fire_once(struct client *c)
{
    assert_int_equal(do_create(c, "/w", "", false), STORE_OK);
    (void)ask(c, exists_now, "/w/later", true);
    (void)ask(c, exists_now, "/w/later", true);
    (void)ask(c, get_now, "/w/never", true); /* no node, no watch */
    (void)ask(c, children_now, "/w", true);
    unsigned before = c->answers;
    assert_int_equal(do_create(c, "/w/later", "", false), STORE_OK);
    (void)ask(c, get_now, "/w/later", false);
    assert_int_equal(c->event_count, 2);
    assert_true(has_event(c, 0, STORE_NODE_CREATED, "/w/later"));
    assert_true(has_event(c, 0, STORE_NODE_CHILDREN, "/w"));
    assert_int_equal(c->events[0].answers, before);
    assert_int_equal(c->events[1].answers, before);

    assert_int_equal(do_set(c, "/w/later", "x", -1), STORE_OK); /* nobody watches */
    assert_int_equal(do_create(c, "/w/never", "", false), STORE_OK);
    (void)ask(c, get_now, "/w/later", true);
    (void)ask(c, children_now, "/w/later", true);
    assert_int_equal(do_set(c, "/w/later", "y", -1), STORE_OK);
    (void)ask(c, get_now, "/w/later", true);
    assert_int_equal(do_delete(c, "/w/later", -1), STORE_OK);
    (void)ask(c, exists_now, "/", false);
    assert_int_equal(c->event_count, 4);
    assert_true(has_event(c, 2, STORE_NODE_CHANGED, "/w/later"));
    assert_true(has_event(c, 3, STORE_NODE_DELETED, "/w/later"));
}

static void ephemerals_go_with_their_session(struct client *c)
{
    assert_int_equal(do_create(c, "/e", "", false), STORE_OK);
    assert_int_equal(do_create(c, "/e/me", "", true), STORE_OK);
    struct question q = ask(c, exists_now, "/e/me", false);
    assert_true(q.stat.owner != 0 && q.stat.owner == c->store->session);
    client_close(c);
    client_open(c);
    assert_int_equal(ask(c, exists_now, "/e/me", false).result, STORE_NO_NODE);
    assert_int_equal(ask(c, exists_now, "/e", false).result, STORE_OK);
}

/* What is refused here keeps its place in the line. */
static void too_much_is_refused_in_order(struct client *c)
{
    uint32_t len = STORE_REQUEST_BYTES_MAX + 1;
    char *much = mem_zalloc(len);
    const struct store_op ops[] = {
        {.kind = STORE_CREATE, .path = "/t1", .data = "", .len = 0},
        {.kind = STORE_CREATE, .path = "/t2", .data = much, .len = len},
        {.kind = STORE_CREATE, .path = "/t3", .data = much, .len = 800000},
    };
    struct question q[3];
    for (unsigned i = 0; i < 3; i++) {
        q[i] = (struct question){.c = c, .ops = &ops[i], .count = 1};
        in_turn(multi_now, &q[i]);
    }
    turn_until(q[0].done && q[1].done && q[2].done);
    assert_int_equal(q[0].result, STORE_OK);
    assert_int_equal(q[1].result, STORE_TOO_BIG);
    assert_int_equal(q[2].result, STORE_OK);
    assert_true(q[0].number < q[1].number && q[1].number < q[2].number);
    assert_int_equal(ask(c, exists_now, "/t2", false).result, STORE_NO_NODE);
    assert_int_equal(ask(c, get_now, "/t3", false).len, 800000);
    assert_int_equal(c->suspended, 0);
    mem_free(much);
}

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

static void on_one(void *user, enum store_result result, uint32_t bad_op,
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

static void send_many(void *argument)
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

static void on_found(void *user, enum store_result result, const char *const *names, uint32_t count,
                     const struct store_stat *stat)
{
    (void)stat;
    struct many *many = user;
    assert_int_equal(result, STORE_OK);
    for (uint32_t i = 0; i < count; i++) {
        char *rest;
        unsigned long number = strtoul(names[i], &rest, 10);
        if (*rest == '\0' && number < MANY)
            many->found[number] = true;
    }
    many->found_all = true;
}

static void find_many(void *argument)
{
    struct many *many = argument;
    store_children(many->c->store, "/many", false, on_found, many);
}

/* A thousand at once are told in order. */
static void many_are_told_in_order(struct client *c)
{
    struct many many = {.c = c};
    assert_int_equal(do_create(c, "/many", "", false), STORE_OK);
    in_turn(send_many, &many);
    turn_until(many.told == MANY);
    assert_int_equal(many.good, MANY);
    assert_int_equal(many.order_broken, 0);
    assert_int_equal(ask(c, exists_now, "/many", false).stat.child_count, MANY);
}

static void closed_stores_answer(struct client *c)
{
    struct many many = {.c = c};
    assert_int_equal(do_create(c, "/many", "", false), STORE_OK);
    in_turn(send_many, &many);
    client_close(c); /* with all of them in flight */
    assert_int_equal(many.told, MANY);
    assert_int_equal(many.order_broken, 0);
    client_open(c);
    uint32_t there = ask(c, exists_now, "/many", false).stat.child_count;
    assert_true(there >= many.good && there <= many.good + many.unknown);
}

static uint64_t sim_random(void *user)
{
    uint64_t *state = user;
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return *state >> 20;
}

static uint64_t sim_now_ns(void *user)
{
    (void)user;
    return now_ms() * 1000000U;
}

static void with_a_client(void (*test)(struct client *c))
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

static void test_versions(void **state)
{
    (void)state;
    with_a_client(nodes_have_versions);
}

static void test_multis(void **state)
{
    (void)state;
    with_a_client(multis_are_atomic);
}

static void test_watches(void **state)
{
    (void)state;
    with_a_client(watches_fire_once);
}

static void test_ephemerals(void **state)
{
    (void)state;
    with_a_client(ephemerals_go_with_their_session);
}

static void test_too_much(void **state)
{
    (void)state;
    with_a_client(too_much_is_refused_in_order);
}

static void test_many(void **state)
{
    (void)state;
    with_a_client(many_are_told_in_order);
}

static void test_closing(void **state)
{
    (void)state;
    with_a_client(closed_stores_answer);
}

/* ---- a server across a network ---- */

static void clients_see_each_other(struct client *a)
{
    static struct client b;
    client_open(&b);
    assert_int_equal(do_create(a, "/d", "", false), STORE_OK);
    (void)ask(a, children_now, "/d", true);
    assert_int_equal(do_create(&b, "/d/b", "", true), STORE_OK);
    turn_until(has_event(a, 0, STORE_NODE_CHILDREN, "/d"));
    struct question q = ask(a, exists_now, "/d/b", true);
    assert_true(q.stat.owner == b.store->session && q.stat.owner != a->store->session);
    uint64_t first = q.stat.czxid;
    client_close(&b); /* its session ends at once */
    turn_until(has_event(a, 1, STORE_NODE_DELETED, "/d/b"));
    client_open(&b);
    assert_int_equal(do_create(&b, "/d/b", "", true), STORE_OK);
    const struct store_op check = {.kind = STORE_CHECK, .version = -1, .path = "/"};
    assert_int_equal(ask_multi(a, &check, 1).result, STORE_OK); /* a barrier */
    assert_true(ask(a, exists_now, "/d/b", false).stat.czxid > first);
    client_close(&b);
}

static void test_two_clients(void **state)
{
    (void)state;
    with_a_client(clients_see_each_other);
}

/* Killed with a thousand writes in flight: each is answered once and in order; what was
 * acknowledged is there, what is unknown is whole or absent, and the session with its watches goes
 * on. */
static void a_killed_server_keeps_what_it_acknowledged(struct client *c)
{
    struct many many = {.c = c};
    assert_int_equal(do_create(c, "/many", "", false), STORE_OK);
    assert_int_equal(do_create(c, "/many/me", "", true), STORE_OK);
    (void)ask(c, exists_now, "/after", true);
    in_turn(send_many, &many);
    turn_until(many.told > MANY / 10);
    zookeeper_kill(&the.zk);
    turn_until(c->suspended > 0 && many.told == MANY);
    assert_true(zookeeper_run(&the.zk));
    turn_until(c->connected > 1);
    assert_int_equal(many.order_broken, 0);
    assert_int_equal(many.good + many.unknown, MANY);
    in_turn(find_many, &many);
    turn_until(many.found_all);
    for (uint32_t i = 0; i < MANY; i++) {
        if (many.of_number[i] == STORE_OK)
            assert_true(many.found[i]);
    }
    assert_int_equal(c->expired, 0);
    assert_true(ask(c, exists_now, "/many/me", false).stat.owner == c->store->session);
    assert_int_equal(do_create(c, "/after", "", false), STORE_OK);
    assert_true(has_event(c, 0, STORE_NODE_CREATED, "/after"));
    print_message("%u acknowledged, %u unknown\n", many.good, many.unknown);
}

static void test_killed_server(void **state)
{
    (void)state;
    with_a_client(a_killed_server_keeps_what_it_acknowledged);
}

/* Whoever asks again as long as it is not known what happened. */
struct asker {
    struct question q;
    unsigned unknown;
};

static void on_asker_told(void *user, enum store_result result, uint32_t bad_op,
                          const struct store_stat *stats)
{
    struct asker *asker = user;
    if (result != STORE_UNKNOWN) {
        on_multi(&asker->q, result, bad_op, stats);
        return;
    }
    asker->unknown++;
    store_multi(asker->q.c->store, asker->q.ops, asker->q.count, on_asker_told, asker);
}

static void asker_now(void *argument)
{
    struct asker *asker = argument;
    store_multi(asker->q.c->store, asker->q.ops, asker->q.count, on_asker_told, asker);
}

/* While no server is there, requests wait, in their order; nobody asks again and again. */
static void an_absent_server_is_waited_for(struct client *c)
{
    static const struct store_op early = {.kind = STORE_CREATE, .path = "/early", .data = ""};
    static const struct store_op create = {
        .kind = STORE_CREATE, .path = "/x", .data = "xyz", .len = 3};
    struct asker asker = {.q = {.c = c, .ops = &early, .count = 1}};
    struct question write = {.c = c, .ops = &create, .count = 1};
    struct question reads[] = {{.c = c, .path = "/x"},
                               {.c = c, .path = "/y", .watch = true},
                               {.c = c, .path = "/", .watch = true}};
    zookeeper_kill(&the.zk);
    in_turn(asker_now, &asker); /* in flight, or refused: it may have been */
    turn_until(c->suspended == 1);
    in_turn(multi_now, &write);
    in_turn(get_now, &reads[0]);
    in_turn(exists_now, &reads[1]);
    in_turn(children_now, &reads[2]);
    static struct client other;
    other = (struct client){0};
    (void)snprintf(other.url, sizeof(other.url), "zookeeper:127.0.0.1:%u/x", the.zk.port);
    in_turn(open_now, &other);
    turn_until(other.failed == 1);
    assert_non_null(strstr(other.sentence, "no ZooKeeper server of 127.0.0.1:"));
    client_close(&other);
    print_message("told %u times that nobody knows\n", asker.unknown);
    assert_false(asker.q.done || write.done || reads[0].done || reads[1].done || reads[2].done);
    assert_true(asker.unknown <= 1);
    assert_true(zookeeper_run(&the.zk));
    turn_until(asker.q.done && reads[2].done);
    assert_int_equal(c->connected, 2);
    assert_int_equal(asker.q.result, STORE_OK);
    assert_int_equal(write.result, STORE_OK);
    assert_memory_equal(reads[0].data, "xyz", 3);
    assert_int_equal(reads[1].result, STORE_NO_NODE);
    assert_non_null(strstr(reads[2].names, "x ")); /* the early one may come before or after */
    assert_int_equal(do_create(c, "/y", "", false), STORE_OK);
    turn_until(has_event(c, 0, STORE_NODE_CREATED, "/y"));
    assert_true(has_event(c, 0, STORE_NODE_CHILDREN, "/"));
}

/* Closed meanwhile: what waited did not happen. */
static void waiting_requests_are_closed(struct client *c)
{
    static const struct store_op create = {.kind = STORE_CREATE, .path = "/z", .data = ""};
    struct question write = {.c = c, .ops = &create, .count = 1};
    struct question read = {.c = c, .path = "/z"};
    zookeeper_kill(&the.zk);
    turn_until(c->suspended == 1);
    in_turn(multi_now, &write);
    in_turn(get_now, &read);
    client_close(c);
    assert_int_equal(write.result, STORE_CLOSED);
    assert_int_equal(read.result, STORE_CLOSED);
    assert_true(zookeeper_run(&the.zk));
    client_open(c);
}

static void test_closed_meanwhile(void **state)
{
    (void)state;
    with_a_client(waiting_requests_are_closed);
}

static void test_absent_server(void **state)
{
    (void)state;
    with_a_client(an_absent_server_is_waited_for);
}

/* ---- a client that is stopped for longer than its session ---- */

static struct {
    pid_t pid;
    int orders; /* to it: the port and the root */
    int words;  /* from it: a byte when its node is there */
} sleeper;

struct order {
    uint16_t port;
    unsigned root;
};

/* Of this process, but those that the kernel adds for io_uring. */
static unsigned count_threads(void)
{
    unsigned count = 0;
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *entry;
    must(tasks != NULL);
    while ((entry = readdir(tasks)) != NULL) {
        char path[320], name[32] = "";
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (!file)
            continue;
        count += fgets(name, sizeof(name), file) && strncmp(name, "iou-", 4) != 0;
        (void)fclose(file);
    }
    closedir(tasks);
    return count;
}

/* The library has found that the session is over and has ended its I/O thread before the owner's
 * shard has a turn; then the shard asks before it has heard of it, and asks again as long as it is
 * not known what happened. */
static void ask_of_the_dead(struct client *c, unsigned threads)
{
    static const struct store_op late = {.kind = STORE_CREATE, .path = "/late", .data = ""};
    struct asker asker = {.q = {.c = c, .ops = &late, .count = 1}};
    struct question read = {.c = c, .path = "/late"};
    for (uint64_t until_ms = now_ms() + PATIENCE_MS; count_threads() >= threads;) {
        must(now_ms() < until_ms);
        zookeeper_pause_ms(5);
    }
    in_turn(asker_now, &asker);
    in_turn(get_now, &read);
    turn_until((asker.q.done && read.done) || asker.unknown > 1000);
    must(asker.unknown == 0);
    must(asker.q.result == STORE_EXPIRED && read.result == STORE_EXPIRED);
    must(c->expired == 1 && c->answers_at_end < asker.q.number);
}

static void sleeper_runs(int orders, int words)
{
    static struct client c;
    struct order order;
    if (read(orders, &order, sizeof(order)) != (ssize_t)sizeof(order))
        _exit(0); /* no server: nothing to do */
    the.body = BODY_ZOOKEEPER;
    the.zk.port = order.port;
    the.roots = order.root;
    open_shard();
    client_open(&c);
    must(do_create(&c, "/sleeper", "", true) == STORE_OK);
    unsigned threads = count_threads();
    must(write(words, "r", 1) == 1);
    ask_of_the_dead(&c, threads);
    must(do_create(&c, "/other", "", false) == STORE_EXPIRED);
    must(ask(&c, exists_now, "/other", false).result == STORE_EXPIRED);
    client_close(&c);
    client_open(&c); /* a new session */
    must(do_create(&c, "/sleeper", "", true) == STORE_OK);
    client_close(&c);
    close_shard();
    exit(0);
}

static void sleeper_start(void)
{
    int orders[2], words[2];
    must(pipe(orders) == 0 && pipe(words) == 0);
    sleeper.pid = fork();
    if (sleeper.pid == 0) {
        close(orders[1]);
        close(words[0]);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        sleeper_runs(orders[0], words[1]);
    }
    close(orders[0]);
    close(words[1]);
    sleeper.orders = orders[1];
    sleeper.words = words[0];
}

static void sessions_of_stopped_clients_end(struct client *c)
{
    const struct order order = {.port = the.zk.port, .root = the.roots};
    char word;
    int status;
    must(write(sleeper.orders, &order, sizeof(order)) == (ssize_t)sizeof(order));
    assert_int_equal(read(sleeper.words, &word, 1), 1);
    assert_int_equal(ask(c, exists_now, "/sleeper", true).result, STORE_OK);
    kill(sleeper.pid, SIGSTOP);
    turn_until(has_event(c, 0, STORE_NODE_DELETED, "/sleeper"));
    kill(sleeper.pid, SIGCONT);
    turn_until(waitpid(sleeper.pid, &status, WNOHANG) == sleeper.pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    turn_for(50);
    assert_int_equal(c->expired, 0);
}

static void test_expiry(void **state)
{
    (void)state;
    with_a_client(sessions_of_stopped_clients_end);
}

/* ---- URLs ---- */

static void test_bad_urls(void **state)
{
    (void)state;
    static const char *const urls[] = {"zookeeper:", "zookeeper:/a", "zookeeper:h:1/a/",
                                       "zookeeper:h:1/a//b", "zookeeper:h:1/"};
    for (unsigned i = 0; i < array_count(urls); i++) {
        struct client c = {0};
        (void)snprintf(c.url, sizeof(c.url), "%s", urls[i]);
        in_turn(open_now, &c);
        assert_null(c.store);
        assert_non_null(strstr(c.sentence, "names no ZooKeeper"));
    }
}

static int use_file(void **state)
{
    (void)state;
    the.body = BODY_FILE;
    return 0;
}

static int use_sim(void **state)
{
    (void)state;
    the.body = BODY_SIM;
    return 0;
}

static int use_zookeeper(void **state)
{
    (void)state;
    the.body = BODY_ZOOKEEPER;
    return 0;
}

#define CONTRACT(body)                                                                             \
    {#body " versions", test_versions, use_##body, NULL, NULL},                                    \
        {#body " multis", test_multis, use_##body, NULL, NULL},                                    \
        {#body " watches", test_watches, use_##body, NULL, NULL},                                  \
        {#body " ephemerals", test_ephemerals, use_##body, NULL, NULL},                            \
        {#body " too much", test_too_much, use_##body, NULL, NULL},                                \
        {#body " many", test_many, use_##body, NULL, NULL},                                        \
    {                                                                                              \
#body " closing", test_closing, use_##body, NULL, NULL                                     \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT(file),
        CONTRACT(sim),
        CONTRACT(zookeeper),
        cmocka_unit_test_setup(test_two_clients, use_zookeeper),
        cmocka_unit_test_setup(test_killed_server, use_zookeeper),
        cmocka_unit_test_setup(test_absent_server, use_zookeeper),
        cmocka_unit_test_setup(test_closed_meanwhile, use_zookeeper),
        cmocka_unit_test_setup(test_expiry, use_zookeeper),
        cmocka_unit_test_setup(test_bad_urls, use_zookeeper),
    };
    char command[96];
    sleeper_start();
    (void)snprintf(the.directory, sizeof(the.directory), "/tmp/millrace-store.XXXXXX");
    must(mkdtemp(the.directory) != NULL);
    the.have_zookeeper = zookeeper_installed() && zookeeper_start(&the.zk);
    open_shard();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    close_shard();
    close(sleeper.orders);
    if (the.have_zookeeper)
        zookeeper_stop(&the.zk);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", the.directory);
    return failed + (system(command) != 0);
}
