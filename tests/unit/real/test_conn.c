/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections over real sockets: a service that echoes, answers late and out of order, and answers
 * by reference, against a client that cuts its frames in all the wrong places. The shard runs on a
 * thread of its own, the client is plain blocking code. What the shard has counted is the shard's:
 * the client asks for it with a request, like anything else.
 */
#include "io/mem.h"
#include "net/conn.h"
#include "net/header.h"
#include "net/listen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY_ECHO        ((int16_t)KEY_METADATA)
#define KEY_LATE        ((int16_t)KEY_HEARTBEAT) /* answers after 20 ms */
#define KEY_PIPELINED   ((int16_t)KEY_PRODUCE)   /* the later one is answered first */
#define KEY_REFERENCE   ((int16_t)KEY_FETCH)
#define KEY_STOP        ((int16_t)KEY_SYNC_GROUP)
#define KEY_LOOK        ((int16_t)KEY_JOIN_GROUP)   /* answered with struct seen */
#define KEY_PARK        ((int16_t)KEY_LIST_OFFSETS) /* takes memory, and waits until it is hurried */
#define KEY_END         ((int16_t)KEY_OFFSET_COMMIT) /* the last one of its connection */
#define KEY_GROW        ((int16_t)KEY_OFFSET_FETCH) /* takes memory in steps, with GROWERS of them */
#define PARK_BYTES      (3U << 20)
#define GROW_BYTES      (3U << 20)
#define GROW_STEP       (60U << 10)
#define GROWERS         3U
#define REFERENCE_BYTES (3U << 20)
#define FRAME_MAX       (8U << 20)

/* What the shard saw; its maxima since it was last asked. */
struct seen {
    uint32_t running_max;
    uint32_t pins;
    uint32_t pins_max;
    uint64_t unfinished_bytes;
    uint64_t whole_bytes;
    uint64_t working_bytes;
    uint64_t working_bytes_max;
    uint64_t closed[CLOSE_REASON_COUNT];
    uint32_t orphans; /* late answers that nobody waits for any more */
    uint32_t orphans_may_wait;
};

struct world {
    pthread_t thread;
    struct shard_group *group;
    struct shard *sh;
    struct net_shard net;
    struct listen listen;
    uint16_t port;
    pthread_barrier_t ready;
    struct net_limits limits;
    uint8_t *big;
    struct seen seen;
    uint32_t growing;
};

static struct world *world;

/* ---- the service ---- */

static void echo(struct request *q)
{
    request_answer_begin(q);
    struct span body = q->body;
    uint32_t len;
    const uint8_t *data;
    while ((data = span_front(&body, &len)), len > 0) {
        wr_raw(&q->answer, data, len);
        span_advance(&body, len);
    }
    request_answer(q);
}

static void tell_seen(struct request *q)
{
    struct seen *seen = &world->seen;
    seen->unfinished_bytes = world->net.unfinished_bytes;
    seen->whole_bytes = world->net.whole_bytes;
    seen->working_bytes = world->net.working_bytes;
    memcpy(seen->closed, world->net.closed, sizeof(seen->closed));
    request_answer_begin(q);
    wr_raw(&q->answer, seen, sizeof(*seen));
    request_answer(q);
    seen->running_max = 0;
    seen->pins_max = seen->pins;
}

struct grow {
    struct task task;
    struct request *q;
    uint32_t bytes;
};

static void on_grow(struct shard *sh, struct task *task)
{
    (void)sh;
    struct grow *grow = container_of(task, struct grow, task);
    struct request *q = grow->q;
    if (world->growing == GROWERS) {
        assert_non_null(arena_alloc(&q->arena, GROW_STEP));
        grow->bytes += GROW_STEP;
    }
    if (world->net.working_bytes > world->seen.working_bytes_max)
        world->seen.working_bytes_max = world->net.working_bytes;
    if (grow->bytes < GROW_BYTES) {
        request_yield(q, task);
        return;
    }
    free(grow);
    request_yield_end(q);
    echo(q);
}

static void grow_begin(struct request *q)
{
    struct grow *grow = calloc(1, sizeof(*grow));
    grow->task = (struct task){.fn = on_grow, .name = "test.grow"};
    grow->q = q;
    world->growing++;
    request_yield(q, &grow->task);
}

struct late {
    struct timer timer;
    struct request *q;
};

static void on_late(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct late *late = container_of(timer, struct late, timer);
    struct request *q = late->q;
    free(late);
    if (q->conn->closing) {
        world->seen.orphans++;
        world->seen.orphans_may_wait += request_may_wait(q);
    }
    echo(q);
}

static void answer_after(struct request *q, uint64_t ns)
{
    struct late *late = calloc(1, sizeof(*late));
    late->timer = (struct timer){.fn = on_late, .name = "test.late"};
    late->q = q;
    timer_set(world->sh, &late->timer, io_now_ns(world->sh->io) + ns);
}

static void on_empty(void *user)
{
    (void)user;
    shard_stop(world->sh);
}

static void on_listen_stopped(void *user)
{
    (void)user;
    net_shard_drain(&world->net, on_empty, NULL);
}

static void on_request(struct request *q)
{
    if (q->conn->running > world->seen.running_max)
        world->seen.running_max = q->conn->running;
    switch (q->header.request_api_key) {
    case KEY_LATE:
        answer_after(q, 20000000);
        break;
    case KEY_PIPELINED: /* the first waits longest */
        answer_after(q, q->header.correlation_id % 8 == 0 ? 30000000 : 1000000);
        break;
    case KEY_STOP:
        request_silent(q);
        listen_stop(&world->listen, on_listen_stopped, NULL);
        break;
    case KEY_PARK:
        assert_non_null(arena_alloc(&q->arena, PARK_BYTES));
        q->user = q;
        break;
    case KEY_GROW:
        grow_begin(q);
        break;
    case KEY_LOOK:
        tell_seen(q);
        break;
    case KEY_END:
        conn_close_after_answers(q->conn, CLOSE_MALFORMED);
        request_silent(q);
        break;
    case KEY_REFERENCE:
        request_answer_begin(q);
        wr_i32(&q->answer, 7);
        wr_records_ref(&q->answer, REFERENCE_BYTES, 1);
        wr_i32(&q->answer, 8);
        request_answer(q);
        break;
    default:
        echo(q);
    }
}

static bool on_resolve(struct conn_pin *pin)
{
    uint32_t len = pin->len > 100000 ? 100000 : pin->len;
    pin->iov[0] = (struct iovec){world->big + pin->skip, len};
    pin->count = 1;
    pin->bytes = len;
    world->seen.pins++;
    if (world->seen.pins > world->seen.pins_max)
        world->seen.pins_max = world->seen.pins;
    return true;
}

static void on_release(struct conn_pin *pin)
{
    (void)pin;
    world->seen.pins--;
}

static void on_end_of_input(struct conn *c)
{
    struct request *q;
    TAILQ_FOREACH (q, &c->requests, link)
        if (request_is_running(q) && q->user)
            request_silent(q);
}

static void on_close(struct conn *c)
{
    on_end_of_input(c);
}

static bool is_patient(int16_t key)
{
    return key == KEY_PARK;
}

static bool on_hurry(struct request *q, bool hard)
{
    (void)hard;
    if (!q->user)
        return false;
    echo(q);
    return true;
}

static void on_gone(struct conn *c)
{
    listen_connection_gone(&world->listen, world->sh, &c->peer);
}

static bool is_pipelined(int16_t key)
{
    return key == KEY_PIPELINED;
}

static bool is_served(int16_t key, int16_t version)
{
    (void)version;
    return key != KEY_LEAVE_GROUP;
}

static const struct conn_service service = {.on_request = on_request,
                                            .on_resolve = on_resolve,
                                            .on_release = on_release,
                                            .on_end_of_input = on_end_of_input,
                                            .on_close = on_close,
                                            .on_gone = on_gone,
                                            .is_pipelined = is_pipelined,
                                            .is_patient = is_patient,
                                            .on_hurry = on_hurry,
                                            .is_served = is_served};

static struct net_shard *net_of(struct shard *sh)
{
    (void)sh;
    return &world->net;
}

static void *shard_main(void *argument)
{
    (void)argument;
    char error[256];
    const struct io_options options = {.receive_pool_bytes = 32U << 20, .log_file = -1};
    struct io *io = io_open(&options, error, sizeof(error));
    if (!io)
        fail_msg("%s", error);
    world->sh = shard_of(world->group, 0);
    shard_init(world->sh, io);
    net_shard_init(&world->net, world->sh, &world->limits, &service);
    const struct listen_limits limits = {.connections_max = 1000, .per_ip_max = 4};
    listen_init(&world->listen, world->sh, net_of, &limits);
    struct io_address address = {.ip = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};
    const struct io_socket_options socket_options = {0};
    assert_int_equal(listen_add(&world->listen, &address, 0, &socket_options), 0);
    world->port = listen_port(&world->listen, 0);
    listen_start(&world->listen);
    pthread_barrier_wait(&world->ready);
    shard_run(world->sh);
    net_shard_fini(&world->net);
    listen_fini(&world->listen);
    shard_fini(world->sh);
    io_close_all(io);
    return NULL;
}

static int begin(void **state)
{
    (void)state;
    world = calloc(1, sizeof(*world));
    world->group = shard_group_new(1, SHARD_CREDITS);
    world->limits = (struct net_limits){.frame_bytes_max = FRAME_MAX,
                                        .unfinished_bytes_max = 1U << 20,
                                        .idle_max_ns = 3000000000,
                                        .held_bytes_max = 2U << 20,
                                        .working_bytes_max = 5U << 20,
                                        .request_bytes_max = 64U << 20};
    world->big = malloc(REFERENCE_BYTES);
    for (uint32_t i = 0; i < REFERENCE_BYTES; i++)
        world->big[i] = (uint8_t)(i * 7 + (i >> 9));
    pthread_barrier_init(&world->ready, NULL, 2);
    pthread_create(&world->thread, NULL, shard_main, NULL);
    pthread_barrier_wait(&world->ready);
    return 0;
}

/* ---- the client ---- */

static int dial(void)
{
    int s = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(world->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(s, (struct sockaddr *)&to, sizeof(to)), 0);
    int one = 1;
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct timeval limit = {.tv_sec = 10};
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    return s;
}

static void put(int s, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        ssize_t wrote = send(s, at, len, MSG_NOSIGNAL);
        assert_true(wrote > 0);
        at += wrote;
        len -= (size_t)wrote;
    }
}

static bool get(int s, void *data, size_t len)
{
    uint8_t *at = data;
    while (len > 0) {
        ssize_t got = read(s, at, len);
        if (got <= 0)
            return false;
        at += got;
        len -= (size_t)got;
    }
    return true;
}

static void be32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t from_be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* A frame with header v1, client id "c", and a body of `len` bytes that depend on the id. */
static size_t frame(uint8_t **out, int16_t key, uint32_t id, size_t len)
{
    size_t size = 4 + 8 + 3 + len;
    uint8_t *at = *out = malloc(size);
    be32(at, (uint32_t)(size - 4));
    at[4] = 0;
    at[5] = (uint8_t)key;
    at[6] = 0;
    at[7] = key == KEY_PIPELINED ? 3 : 0;
    be32(at + 8, id);
    memcpy(at + 12, "\0\1c", 3);
    for (size_t i = 0; i < len; i++)
        at[15 + i] = (uint8_t)(id * 31 + i * 7 + (i >> 8));
    return size;
}

static void put_frame(int s, int16_t key, uint32_t id, size_t len)
{
    uint8_t *bytes;
    size_t size = frame(&bytes, key, id, len);
    put(s, bytes, size);
    free(bytes);
}

static void look_by(int s, struct seen *seen)
{
    uint8_t *bytes;
    size_t size = frame(&bytes, KEY_LOOK, 1, 0);
    uint8_t head[8];
    put(s, bytes, size);
    assert_true(get(s, head, sizeof(head)));
    assert_true(get(s, seen, sizeof(*seen)));
    free(bytes);
}

static void look(struct seen *seen)
{
    int s = dial();
    look_by(s, seen);
    close(s);
}

static void expect_echo(int s, uint32_t id, size_t len)
{
    uint8_t head[8];
    assert_true(get(s, head, sizeof(head)));
    assert_int_equal(from_be32(head), 4 + len);
    assert_int_equal(from_be32(head + 4), id);
    uint8_t *body = malloc(len + 1);
    assert_true(get(s, body, len));
    for (size_t i = 0; i < len; i++)
        assert_int_equal(body[i], (uint8_t)(id * 31 + i * 7 + (i >> 8)));
    free(body);
}

static void expect_closed(int s)
{
    uint8_t byte;
    assert_false(get(s, &byte, 1));
    close(s);
}

/* ---- the tests ---- */

static void test_frames_cut_anywhere(void **state)
{
    (void)state;
    int s = dial();
    const size_t lens[] = {0, 1, 100, 5000, 70000, 300000, 2000000};
    for (size_t i = 0; i < array_count(lens); i++) {
        uint8_t *bytes;
        size_t size = frame(&bytes, KEY_ECHO, (uint32_t)i + 1, lens[i]);
        for (size_t at = 0, run = 1; at < size; at += run, run = run * 3 + 1) {
            size_t now = run < size - at ? run : size - at;
            put(s, bytes + at, now);
            run = now;
            usleep(300);
        }
        expect_echo(s, (uint32_t)i + 1, lens[i]);
        free(bytes);
    }
    close(s);
}

static void test_many_in_one_write(void **state)
{
    (void)state;
    int s = dial();
    uint8_t *all = malloc(1 << 20);
    size_t used = 0;
    for (uint32_t id = 1; id <= 200; id++) {
        uint8_t *bytes;
        size_t size = frame(&bytes, KEY_ECHO, id, id * 3);
        memcpy(all + used, bytes, size);
        used += size;
        free(bytes);
    }
    put(s, all, used);
    for (uint32_t id = 1; id <= 200; id++)
        expect_echo(s, id, id * 3);
    free(all);
    close(s);
}

static void test_answers_in_order(void **state)
{
    (void)state;
    int s = dial();
    struct seen seen;
    look(&seen); /* what ran before is forgotten */
    for (uint32_t id = 1; id <= 40; id++) {
        uint8_t *bytes;
        int16_t key = id % 10 == 0 ? KEY_LATE : KEY_PIPELINED;
        size_t size = frame(&bytes, key, id, 20000);
        put(s, bytes, size);
        free(bytes);
    }
    for (uint32_t id = 1; id <= 40; id++)
        expect_echo(s, id, 20000);
    /* Nine pipelined ones stand between two that are not. */
    look(&seen);
    assert_in_range(seen.running_max, 2, 9);
    close(s);
}

static void test_references(void **state)
{
    (void)state;
    int s = dial();
    uint8_t *bytes;
    size_t size = frame(&bytes, KEY_REFERENCE, 5, 1);
    put(s, bytes, size);
    put(s, bytes, size);
    usleep(100000); /* nobody reads: no more is pinned than the limit */
    struct seen seen;
    look(&seen);
    assert_in_range(seen.pins_max, 1, CONN_PINS_MAX);
    uint8_t *body = malloc(REFERENCE_BYTES);
    for (int i = 0; i < 2; i++) {
        uint8_t head[12];
        uint8_t tail[4];
        assert_true(get(s, head, sizeof(head)));
        assert_int_equal(from_be32(head + 8), 7);
        assert_true(get(s, body, REFERENCE_BYTES));
        assert_memory_equal(body, world->big, REFERENCE_BYTES);
        assert_true(get(s, tail, sizeof(tail)));
        assert_int_equal(from_be32(tail), 8);
    }
    do
        look(&seen); /* the last bytes were read, and are about to be let go */
    while (seen.pins != 0);
    free(body);
    free(bytes);
    close(s);
}

static void test_half_closed_peer_gets_its_answers(void **state)
{
    (void)state;
    int s = dial();
    uint8_t *bytes;
    size_t size = frame(&bytes, KEY_LATE, 9, 10);
    put(s, bytes, size);
    shutdown(s, SHUT_WR);
    expect_echo(s, 9, 10);
    expect_closed(s);
    free(bytes);
}

static void test_a_peer_that_resets_is_not_waited_for(void **state)
{
    (void)state;
    const struct linger reset = {.l_onoff = 1};
    struct seen seen;
    int watcher = dial();
    do { /* unless it was answered before the reset came */
        int s = dial();
        put_frame(s, KEY_LATE, 9, 10);
        look_by(watcher, &seen);
        setsockopt(s, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(s);
        usleep(50000);
        look_by(watcher, &seen);
    } while (seen.orphans == 0);
    assert_int_equal(seen.orphans_may_wait, 0);
    close(watcher);
}

static void test_bad_frames_close(void **state)
{
    (void)state;
    const char *const bad[] = {"\xff\xff\xff\xff\0\0\0\0\0\0\0\0",   /* negative */
                               "\x7f\0\0\0\0\0\0\0\0\0\0\0",         /* too large */
                               "\0\0\0\3\0\0\0\0\0\0\0\0",           /* no room for a header */
                               "\0\0\0\xa\0\xd\0\0\0\0\0\1\xff\xff", /* not served */
                               "\0\0\0\xa\0\3\0\0\0\0\0\1\x7f\xff"}; /* client id beyond it */
    const size_t sizes[] = {12, 12, 12, 14, 14};
    for (size_t i = 0; i < array_count(bad); i++) {
        int s = dial();
        put(s, bad[i], sizes[i]);
        expect_closed(s);
    }
    struct seen seen;
    look(&seen);
    assert_int_equal(seen.closed[CLOSE_FRAME_SIZE], 3);
    assert_int_equal(seen.closed[CLOSE_UNSUPPORTED], 1);
    assert_int_equal(seen.closed[CLOSE_MALFORMED], 1);
}

static void test_unfinished_frames_wait_for_the_budget(void **state)
{
    (void)state;
    /* Each larger than the budget: one at a time gets through, none is lost. */
    int s[3];
    uint8_t *bytes;
    size_t size = frame(&bytes, KEY_ECHO, 3, 3000000);
    for (int i = 0; i < 3; i++) {
        s[i] = dial();
        put(s[i], bytes, 100000);
    }
    usleep(20000);
    for (int i = 0; i < 3; i++) {
        put(s[i], bytes + 100000, size - 100000);
        expect_echo(s[i], 3, 3000000);
    }
    for (int i = 0; i < 3; i++)
        close(s[i]);
    free(bytes);
    struct seen seen;
    look(&seen);
    assert_int_equal(seen.unfinished_bytes, 0);
}

static void test_lengths_without_bytes_hold_up_nobody(void **state)
{
    (void)state;
    /* The budget is 1 MiB: more than that is claimed, then sent in part, and not one more byte. */
    enum { IDLERS = 3 };
    int s[IDLERS];
    uint8_t *bytes;
    size_t size = frame(&bytes, KEY_ECHO, 3, 3000000);
    int honest = dial();
    for (int i = 0; i < IDLERS; i++) {
        s[i] = dial();
        put(s[i], bytes, 20);
    }
    usleep(20000);
    put(honest, bytes, size);
    expect_echo(honest, 3, 3000000);
    for (int i = 0; i < IDLERS; i++)
        put(s[i], bytes + 20, 400000);
    usleep(20000);
    put(honest, bytes, size); /* behind idlers who may go beyond the budget, each for a moment */
    expect_echo(honest, 3, 3000000);
    for (int i = 0; i < IDLERS; i++) /* they were not forgotten */
        put(s[i], bytes + 400020, size - 400020);
    for (int i = 0; i < IDLERS; i++) {
        expect_echo(s[i], 3, 3000000);
        close(s[i]);
    }
    close(honest);
    free(bytes);
    usleep(100000);
    struct seen seen;
    look(&seen);
    assert_int_equal(seen.unfinished_bytes, 0);
}

static void test_many_slow_senders_have_an_end(void **state)
{
    (void)state;
    /* Each brings a little at a time: together the budget, a largest frame, and that of one who
     * happens to be quick. */
    enum { COUNT = 3, BYTES = 8000000, MOST = (1 << 20) + 2 * FRAME_MAX };
    usleep(50000);
    int s[COUNT];
    uint8_t *bytes;
    (void)frame(&bytes, KEY_ECHO, 3, BYTES);
    int watcher = dial();
    size_t sent[COUNT] = {0};
    for (int i = 0; i < COUNT; i++)
        s[i] = dial();
    struct seen seen;
    do {
        for (int i = 0; i < COUNT; i++) {
            size_t len = min_u64(BYTES - sent[i], CONN_AHEAD_BYTES - 1);
            ssize_t wrote = send(s[i], bytes + sent[i], len, MSG_DONTWAIT | MSG_NOSIGNAL);
            sent[i] += wrote > 0 ? (size_t)wrote : 0;
        }
        usleep(CONN_FINISH_NS / 1000);
        look_by(watcher, &seen);
        assert_in_range(seen.unfinished_bytes, 0, MOST);
        assert_true(sent[0] + sent[1] + sent[2] < COUNT * BYTES);
    } while (seen.closed[CLOSE_SLOW_SENDER] == 0);
    for (int i = 0; i < COUNT; i++)
        close(s[i]);
    put_frame(watcher, KEY_ECHO, 3, 3000000);
    expect_echo(watcher, 3, 3000000);
    close(watcher);
    free(bytes);
}

static void test_who_reads_no_more_holds_up_nobody(void **state)
{
    (void)state;
    /* It lines up for the budget with the beginning of a frame, behind one that has used it up, and
     * a moment later is to end after answers that it does not read. */
    enum { ANSWERS = 4 };
    uint8_t *bytes;
    size_t size = frame(&bytes, KEY_ECHO, 3, 3000000);
    int holder = dial();
    put(holder, bytes, 2000000);
    usleep(50000);
    int last = dial();
    int room = 4096;
    setsockopt(last, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    setsockopt(last, IPPROTO_TCP, TCP_CORK, &(int){1}, sizeof(int));
    put_frame(last, KEY_PIPELINED, 1, 10); /* 1 ms */
    for (int i = 0; i < ANSWERS; i++)
        put_frame(last, KEY_REFERENCE, 2, 1);
    put_frame(last, KEY_END, 3, 1);
    put(last, bytes, 1000);
    setsockopt(last, IPPROTO_TCP, TCP_CORK, &(int){0}, sizeof(int));
    usleep(100000);
    close(holder);
    int honest = dial();
    put(honest, bytes, size);
    expect_echo(honest, 3, 3000000);
    close(honest);
    close(last);
    free(bytes);
}

static void test_what_waits_gives_its_memory_back(void **state)
{
    (void)state;
    /* There is room for one of them and a half: of three the first is answered before its time, the
     * third waits for that, and nobody else does. */
    enum { COUNT = 3 };
    usleep(50000); /* connections of other tests count for the limit of this address */
    int s[COUNT];
    int watcher = dial();
    uint8_t *bytes;
    size_t size = frame(&bytes, KEY_PARK, 3, 20000);
    struct seen seen;
    for (int i = 0; i < COUNT; i++) {
        s[i] = dial();
        put(s[i], bytes, size);
        look_by(watcher, &seen);
    }
    expect_echo(s[0], 3, 20000);
    usleep(50000);
    look_by(watcher, &seen);
    assert_in_range(seen.working_bytes, PARK_BYTES, 3 * PARK_BYTES);
    put(s[0], bytes, size); /* and the next in turn is the second */
    expect_echo(s[1], 3, 20000);
    for (int i = 0; i < COUNT; i++)
        close(s[i]);
    free(bytes);
    do
        look_by(watcher, &seen);
    while (seen.working_bytes != 0);
    close(watcher);
}

static void test_what_grows_does_it_one_at_a_time(void **state)
{
    (void)state;
    usleep(50000); /* connections of other tests count for the limit of this address */
    int s[GROWERS];
    uint8_t *bytes;
    size_t size = frame(&bytes, KEY_GROW, 1, 1000);
    struct seen seen;
    for (uint32_t i = 0; i < GROWERS; i++) {
        s[i] = dial();
        put(s[i], bytes, size);
    }
    for (uint32_t i = 0; i < GROWERS; i++) {
        expect_echo(s[i], 1, 1000);
        close(s[i]);
    }
    free(bytes);
    int watcher = dial();
    look_by(watcher, &seen);
    close(watcher);
    /* All of them together had 9 MiB; the budget is 5, and one goes on beyond it. */
    assert_in_range(seen.working_bytes_max, world->limits.working_bytes_max,
                    world->limits.working_bytes_max + GROW_BYTES * 2 / 3);
    assert_int_equal(seen.working_bytes, 0);
}

static void test_whole_frames_count_while_they_wait(void **state)
{
    (void)state;
    /* Behind one that waits for ever: a few are taken in, then it is answered before its time. */
    enum { COUNT = 8, BYTES = 1000000 };
    usleep(50000);
    int s = dial();
    uint8_t *bytes;
    size_t size = frame(&bytes, KEY_PARK, 3, 10);
    put(s, bytes, size);
    free(bytes);
    size = frame(&bytes, KEY_LOOK, 4, BYTES);
    for (int i = 0; i < COUNT; i++)
        put(s, bytes, size);
    expect_echo(s, 3, 10);
    struct seen seen;
    for (int i = 0; i < COUNT; i++) {
        uint8_t head[8];
        assert_true(get(s, head, sizeof(head)));
        assert_true(get(s, &seen, sizeof(seen)));
        assert_in_range(seen.whole_bytes, BYTES, 4 * BYTES); /* twice the budget, and one */
    }
    free(bytes);
    close(s);
    look(&seen);
    assert_in_range(seen.whole_bytes, 0, 100); /* of this question */
}

static void test_limit_per_address(void **state)
{
    (void)state;
    usleep(50000);
    int s[5];
    for (int i = 0; i < 4; i++)
        s[i] = dial();
    usleep(20000);
    s[4] = dial();
    expect_closed(s[4]);
    for (int i = 0; i < 4; i++)
        close(s[i]);
    usleep(50000);
    int again = dial(); /* the places are free again */
    uint8_t *bytes;
    size_t size = frame(&bytes, KEY_ECHO, 1, 1);
    put(again, bytes, size);
    expect_echo(again, 1, 1);
    free(bytes);
    close(again);
}

static void test_idle_connections_close(void **state)
{
    (void)state;
    int s = dial();
    put(s, "\0\0", 2); /* half a frame, then silence */
    expect_closed(s);
    struct seen seen;
    look(&seen);
    assert_true(seen.closed[CLOSE_IDLE] >= 1);
}

/* Drains: what was asked is answered, and nothing is left. */
static int finish(void **state)
{
    (void)state;
    int s = dial();
    int other = dial();
    uint8_t *asked;
    uint8_t *late;
    uint8_t *stop;
    size_t asked_size = frame(&asked, KEY_ECHO, 3, 100);
    size_t late_size = frame(&late, KEY_LATE, 4, 100);
    size_t stop_size = frame(&stop, KEY_STOP, 5, 0);
    asked = realloc(asked, asked_size + late_size);
    memcpy(asked + asked_size, late, late_size);
    put(other, asked, asked_size + late_size);
    expect_echo(other, 3, 100); /* so the later one is there, too */
    put(s, stop, stop_size);
    expect_echo(other, 4, 100);
    expect_closed(other);
    expect_closed(s);
    pthread_join(world->thread, NULL);
    shard_group_free(world->group);
    pthread_barrier_destroy(&world->ready);
    free(asked);
    free(late);
    free(stop);
    free(world->big);
    free(world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_cut_anywhere),
        cmocka_unit_test(test_many_in_one_write),
        cmocka_unit_test(test_answers_in_order),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_half_closed_peer_gets_its_answers),
        cmocka_unit_test(test_a_peer_that_resets_is_not_waited_for),
        cmocka_unit_test(test_bad_frames_close),
        cmocka_unit_test(test_unfinished_frames_wait_for_the_budget),
        cmocka_unit_test(test_lengths_without_bytes_hold_up_nobody),
        cmocka_unit_test(test_many_slow_senders_have_an_end),
        cmocka_unit_test(test_who_reads_no_more_holds_up_nobody),
        cmocka_unit_test(test_what_waits_gives_its_memory_back),
        cmocka_unit_test(test_what_grows_does_it_one_at_a_time),
        cmocka_unit_test(test_whole_frames_count_while_they_wait),
        cmocka_unit_test(test_limit_per_address),
        cmocka_unit_test(test_idle_connections_close),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
