/* SPDX-License-Identifier: Apache-2.0
 *
 * What only a server across a network can do (Apache ZooKeeper's own): be killed in the middle of
 * writes, be absent, end a session, drop a connection. What every body of the metadata store gives
 * is asked in test_store.c.
 */
#include "tests/unit/real/store_client.h"

#include <dirent.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_two_clients, use_zookeeper),
        cmocka_unit_test_setup(test_killed_server, use_zookeeper),
        cmocka_unit_test_setup(test_absent_server, use_zookeeper),
        cmocka_unit_test_setup(test_closed_meanwhile, use_zookeeper),
        cmocka_unit_test_setup(test_expiry, use_zookeeper),
        cmocka_unit_test_setup(test_bad_urls, use_zookeeper),
    };
    sleeper_start();
    store_tests_begin();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    close(sleeper.orders);
    return store_tests_end(failed);
}
