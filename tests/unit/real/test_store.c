/* SPDX-License-Identifier: Apache-2.0
 *
 * What every body of the metadata store gives (core/metadata/store.h), asked of all three: the
 * file, the simulated one, and Apache ZooKeeper's own server.
 */
#include "tests/unit/real/store_client.h"

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
    };
    store_tests_begin();
    return store_tests_end(cmocka_run_group_tests(tests, NULL, NULL));
}
