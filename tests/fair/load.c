/* SPDX-License-Identifier: Apache-2.0
 *
 * fair-load: paced connections, and neighbours at full speed beside them.
 *
 *     fair-load PORT TOPIC PARTITIONS SECONDS [NEIGHBOUR]...
 *
 * 100 connections send a small Produce each on a fixed schedule, 20 times a second, whatever the
 * answers do; a latency runs from the moment the request was due, so a broker that falls behind
 * cannot hide it. A neighbour is one more connection and thread that keeps its pipe full:
 *
 *   batches   1 MiB batches, 5 in flight        small     1 KiB batches, 64 in flight
 *   reads     Fetch of 1 MiB at the start       metadata  all topics, 8 in flight
 *   versions  ApiVersions, 1,000 in flight      silent    8 MiB of ApiVersions, nothing is ever
 * read
 *
 * The last partition belongs to the neighbours. It prints one line of JSON: how many paced requests
 * were due and answered, their latencies in microseconds, and what each neighbour got done.
 */
#include "tests/crash/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PACED           100U
#define PACED_PERIOD_NS 50000000U
#define QUEUE_MAX       4096U /* due and not answered, per connection */
#define NEIGHBOURS_MAX  8U
#define BATCH_SMALL     100U
#define SETTLE_NS       500000000U /* not measured: connections meet a cold broker */

enum { KEY_METADATA = 3, KEY_API_VERSIONS = 18 };

struct paced {
    int socket;
    uint64_t due_ns;
    uint64_t sent_due[QUEUE_MAX]; /* ring: when what is in flight was due */
    uint32_t first, in_flight;
    uint8_t in[4096];
    size_t in_len;
};

struct neighbour {
    pthread_t thread;
    const char *kind;
    uint64_t answers, bytes;
    bool failed;
};

static struct {
    uint16_t port;
    const char *topic;
    int32_t partitions;
    uint64_t began_ns, end_ns;
    _Atomic bool ended;
    struct paced paced[PACED];
    struct neighbour neighbours[NEIGHBOURS_MAX];
    unsigned neighbour_count;
    uint32_t *latency_us;
    size_t due, answered, errors;
} load;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void die(const char *what)
{
    (void)fprintf(stderr, "fair-load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- requests ---- */

static uint32_t crc32c(const uint8_t *data, size_t len)
{
    static uint32_t table[256];
    for (uint32_t i = 0; table[255] == 0 && i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0x82f63b78U : 0);
    }
    uint32_t crc = ~0U;
    for (size_t i = 0; i < len; i++)
        crc = crc >> 8 ^ table[(crc ^ data[i]) & 0xff];
    return ~crc;
}

/* One record in one batch. */
static void put_batch(struct bytes *to, size_t value_len)
{
    struct bytes record = {0};
    struct bytes body = {0};
    put8(&record, 0);
    put_varint(&record, 0);
    put_varint(&record, 0);
    put_varint(&record, -1);
    put_varint(&record, (int64_t)value_len);
    memset(room_for(&record, value_len), 'x', value_len);
    record.len += value_len;
    put_varint(&record, 0);
    put16(&body, 0);
    put32(&body, 0);
    int64_t wall_ms = (int64_t)time(NULL) * 1000;
    put64(&body, wall_ms);
    put64(&body, wall_ms);
    put64(&body, -1);
    put16(&body, -1);
    put32(&body, -1);
    put32(&body, 1);
    put_varint(&body, (int64_t)record.len);
    put(&body, record.data, record.len);
    put32(to, (int64_t)body.len + 21); /* the records field: the whole batch */
    put64(to, 0);
    put32(to, (int64_t)body.len + 9);
    put32(to, -1);
    put8(to, 2);
    put32(to, crc32c(body.data, body.len));
    put(to, body.data, body.len);
    free(record.data);
    free(body.data);
}

static void begin(struct bytes *out, int16_t key, int16_t version)
{
    out->len = 0;
    put32(out, 0);
    put16(out, key);
    put16(out, version);
    put32(out, 7);
    put_string(out, "fair-load");
}

static void build_produce(struct bytes *out, int32_t partition, size_t value_len)
{
    begin(out, API_PRODUCE, 3);
    put16(out, -1);
    put16(out, -1);
    put32(out, 10000);
    put32(out, 1);
    put_string(out, load.topic);
    put32(out, 1);
    put32(out, partition);
    put_batch(out, value_len);
    set32(out, 0, out->len - 4);
}

static void build_fetch(struct bytes *out, int32_t partition)
{
    begin(out, API_FETCH, 4);
    put32(out, -1);
    put32(out, 500);
    put32(out, 1);
    put32(out, 1 << 20);
    put8(out, 0);
    put32(out, 1);
    put_string(out, load.topic);
    put32(out, 1);
    put32(out, partition);
    put64(out, 0);
    put32(out, 1 << 20);
    set32(out, 0, out->len - 4);
}

static void build_metadata(struct bytes *out)
{
    begin(out, KEY_METADATA, 1);
    put32(out, -1);
    set32(out, 0, out->len - 4);
}

static void build_versions(struct bytes *out)
{
    begin(out, KEY_API_VERSIONS, 0);
    set32(out, 0, out->len - 4);
}

/* ---- neighbours ---- */

static unsigned build_for(const struct neighbour *nb, struct bytes *out)
{
    int32_t partition = load.partitions - 1;
    if (strcmp(nb->kind, "batches") == 0)
        return build_produce(out, partition, (1U << 20) - 200), 5;
    if (strcmp(nb->kind, "small") == 0)
        return build_produce(out, partition, 1024), 64;
    if (strcmp(nb->kind, "reads") == 0)
        return build_fetch(out, partition), 5;
    if (strcmp(nb->kind, "metadata") == 0)
        return build_metadata(out), 8;
    if (strcmp(nb->kind, "versions") == 0)
        return build_versions(out), 1000;
    return 0;
}

/* Requests go out in a thread of their own, so that sending never waits for reading. */
struct pipe_out {
    int socket;
    const struct bytes *request;
    _Atomic uint64_t sent, answered;
    unsigned in_flight;
};

static void *send_main(void *argument)
{
    struct pipe_out *po = argument;
    while (!atomic_load(&load.ended)) {
        if (atomic_load(&po->sent) - atomic_load(&po->answered) >= po->in_flight) {
            (void)nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
            continue;
        }
        size_t done = 0;
        while (done < po->request->len) {
            ssize_t sent =
                send(po->socket, po->request->data + done, po->request->len - done, MSG_NOSIGNAL);
            if (sent <= 0)
                return NULL;
            done += (size_t)sent;
        }
        atomic_fetch_add(&po->sent, 1);
    }
    return NULL;
}

static bool receive_whole(int file, uint8_t *to, size_t len)
{
    while (len > 0) {
        ssize_t got = recv(file, to, len, 0);
        if (got <= 0)
            return false;
        to += got;
        len -= (size_t)got;
    }
    return true;
}

static void run_silent(struct neighbour *nb)
{
    struct bytes one = {0};
    int file = connect_to(load.port);
    build_versions(&one);
    if (file < 0)
        die("connect");
    (void)fcntl(file, F_SETFL, O_NONBLOCK);
    while (!atomic_load(&load.ended) && nb->bytes < (8U << 20)) {
        ssize_t sent = send(file, one.data, one.len, MSG_NOSIGNAL);
        if (sent > 0)
            nb->bytes += (uint64_t)sent;
        else
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    while (!atomic_load(&load.ended))
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    close(file);
    free(one.data);
}

static void *neighbour_main(void *argument)
{
    struct neighbour *nb = argument;
    if (strcmp(nb->kind, "silent") == 0)
        return run_silent(nb), NULL;
    struct bytes request = {0};
    struct bytes answer = {0};
    struct pipe_out po = {.request = &request};
    po.in_flight = build_for(nb, &request);
    po.socket = connect_to(load.port);
    if (po.in_flight == 0 || po.socket < 0)
        die(nb->kind);
    pthread_t sender;
    (void)pthread_create(&sender, NULL, send_main, &po);
    while (!atomic_load(&load.ended)) {
        uint8_t word[4];
        if (!receive_whole(po.socket, word, sizeof(word)))
            break;
        size_t len = (size_t)word[0] << 24 | (size_t)word[1] << 16 | (size_t)word[2] << 8 | word[3];
        answer.len = 0;
        if (!receive_whole(po.socket, room_for(&answer, len), len))
            break;
        atomic_fetch_add(&po.answered, 1);
        nb->answers++;
        nb->bytes += request.len + len;
    }
    nb->failed = !atomic_load(&load.ended);
    (void)shutdown(po.socket, SHUT_RDWR);
    (void)pthread_join(sender, NULL);
    close(po.socket);
    free(request.data);
    free(answer.data);
    return NULL;
}

/* ---- paced ---- */

static void paced_send(struct paced *pc, const struct bytes *request, uint64_t due_ns)
{
    if (pc->in_flight == QUEUE_MAX)
        die("a paced connection is starved");
    pc->sent_due[(pc->first + pc->in_flight++) % QUEUE_MAX] = due_ns;
    if (due_ns >= load.began_ns)
        load.due++;
    if (send(pc->socket, request->data, request->len, MSG_NOSIGNAL) != (ssize_t)request->len)
        die("a paced connection cannot send");
}

static void paced_answer(struct paced *pc, const uint8_t *body, size_t len, uint64_t now)
{
    struct reader reader = {.at = body, .end = body + len};
    (void)take32(&reader); /* correlation id */
    (void)take32(&reader);
    const size_t topic_len = (size_t)take16(&reader);
    (void)take(&reader, topic_len);
    (void)take32(&reader);
    (void)take32(&reader);
    if (take16(&reader) != 0 || reader.bad)
        load.errors++;
    uint64_t due_ns = pc->sent_due[pc->first];
    pc->first = (pc->first + 1) % QUEUE_MAX;
    pc->in_flight--;
    if (due_ns >= load.began_ns)
        load.latency_us[load.answered++] = (uint32_t)((now - due_ns) / 1000);
}

static void paced_read(struct paced *pc)
{
    ssize_t got = recv(pc->socket, pc->in + pc->in_len, sizeof(pc->in) - pc->in_len, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN))
        die("a paced connection has lost the broker");
    uint64_t now = now_ns();
    pc->in_len += got > 0 ? (size_t)got : 0;
    size_t at = 0;
    while (pc->in_len - at >= 4) {
        const uint8_t *word = pc->in + at;
        size_t len = (size_t)word[0] << 24 | (size_t)word[1] << 16 | (size_t)word[2] << 8 | word[3];
        if (pc->in_len - at - 4 < len)
            break;
        paced_answer(pc, word + 4, len, now);
        at += 4 + len;
    }
    memmove(pc->in, pc->in + at, pc->in_len - at);
    pc->in_len -= at;
}

static uint64_t paced_due(struct bytes *requests, uint64_t now)
{
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < PACED; i++) {
        struct paced *pc = &load.paced[i];
        while (pc->due_ns <= now && pc->due_ns < load.end_ns) {
            paced_send(pc, &requests[i], pc->due_ns);
            pc->due_ns += PACED_PERIOD_NS;
        }
        if (pc->due_ns < next)
            next = pc->due_ns;
    }
    return next;
}

static void paced_main(void)
{
    struct bytes requests[PACED] = {0};
    struct epoll_event events[PACED];
    int poll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t first = now_ns() + 50000000U;
    for (unsigned i = 0; i < PACED; i++) {
        struct paced *pc = &load.paced[i];
        pc->socket = connect_to(load.port);
        if (pc->socket < 0)
            die("connect");
        pc->due_ns = first + (uint64_t)i * PACED_PERIOD_NS / PACED;
        build_produce(&requests[i], (int32_t)(i % (unsigned)(load.partitions - 1)), BATCH_SMALL);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = pc};
        (void)epoll_ctl(poll, EPOLL_CTL_ADD, pc->socket, &event);
    }
    uint64_t give_up_ns = load.end_ns + 5000000000U;
    for (;;) {
        uint64_t now = now_ns();
        uint64_t next = paced_due(requests, now);
        bool over = now >= load.end_ns;
        if (over && (load.answered == load.due || now > give_up_ns))
            break;
        uint64_t wait = over ? 1000000U : next > now ? next - now : 0;
        struct timespec limit = {.tv_sec = (time_t)(wait / 1000000000U),
                                 .tv_nsec = (long)(wait % 1000000000U)};
        int count = epoll_pwait2(poll, events, PACED, &limit, NULL);
        for (int i = 0; i < count; i++)
            paced_read(events[i].data.ptr);
    }
    for (unsigned i = 0; i < PACED; i++) {
        close(load.paced[i].socket);
        free(requests[i].data);
    }
    close(poll);
}

/* ---- the table ---- */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t quantile(double part)
{
    return load.answered ? load.latency_us[(size_t)((double)(load.answered - 1) * part)] : 0;
}

static void print_result(void)
{
    qsort(load.latency_us, load.answered, sizeof(*load.latency_us), by_value);
    printf("{\"due\": %zu, \"answered\": %zu, \"errors\": %zu, \"p50_us\": %u, \"p99_us\": %u, "
           "\"p999_us\": %u, "
           "\"max_us\": %u, \"neighbours\": [",
           load.due, load.answered, load.errors, quantile(0.5), quantile(0.99), quantile(0.999),
           quantile(1));
    for (unsigned i = 0; i < load.neighbour_count; i++) {
        const struct neighbour *nb = &load.neighbours[i];
        printf("%s{\"kind\": \"%s\", \"answers\": %" PRIu64 ", \"bytes\": %" PRIu64
               ", \"failed\": %s}",
               i ? ", " : "", nb->kind, nb->answers, nb->bytes, nb->failed ? "true" : "false");
    }
    printf("]}\n");
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc > 5 + (int)NEIGHBOURS_MAX) {
        (void)fprintf(stderr, "usage: fair-load PORT TOPIC PARTITIONS SECONDS [NEIGHBOUR]...\n");
        return 2;
    }
    load.port = (uint16_t)strtoul(argv[1], NULL, 10);
    load.topic = argv[2];
    load.partitions = (int32_t)strtol(argv[3], NULL, 10);
    const uint64_t seconds = strtoul(argv[4], NULL, 10);
    load.began_ns = now_ns() + SETTLE_NS;
    load.end_ns = load.began_ns + seconds * 1000000000U;
    load.latency_us = malloc((seconds + 1) * PACED * (1000000000U / PACED_PERIOD_NS) * 2 *
                             sizeof(*load.latency_us));
    if (!load.latency_us || load.partitions < 2)
        return 2;
    for (int i = 5; i < argc; i++) {
        struct neighbour *nb = &load.neighbours[load.neighbour_count++];
        nb->kind = argv[i];
        (void)pthread_create(&nb->thread, NULL, neighbour_main, nb);
    }
    paced_main();
    atomic_store(&load.ended, true);
    /* A neighbour that waits for an answer gets one: the broker answers everybody. */
    for (unsigned i = 0; i < load.neighbour_count; i++)
        (void)pthread_join(load.neighbours[i].thread, NULL);
    print_result();
    return 0;
}
