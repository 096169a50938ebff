/* SPDX-License-Identifier: Apache-2.0
 *
 * crash-load: idempotent producers that outlive the broker, and the judge of what it kept.
 *
 *     crash-load PORT [--producers N] [--rate MIB_PER_S] [--seed N]
 *
 * Several producers, a thread and a connection each, write batches of 1 to 20 records of 100 B to
 * 100 KB over all partitions, some compressed, up to five requests in flight. Producer id, epoch
 * and sequences are kept here: after a lost connection every batch without an answer goes out
 * again, byte for byte with the sequence it had, so that the broker must tell what it has already.
 * Now and then a batch that was acknowledged before goes out again too: its answer must be the
 * same.
 *
 * The truth is a list of batches per producer and partition (a stream), in the order of their
 * sequences: what was acknowledged, where, and where it was seen. A check reads every partition
 * from where the check before the last one ended (so everything is read again after one more
 * crash), a full check from offset 0, and demands:
 *
 *   offsets have no gaps; batches and records carry their CRC, producer, stream and number;
 *   the batches of a stream come in order, none twice, none left out;
 *   what was acknowledged before the check began is there, at the offset that was acknowledged;
 *   what was seen once is there for ever, whether it was acknowledged or not.
 *
 * It reads commands from stdin, a line each, and answers each with one line, `ok ...` or `FAIL
 * ...`: topic NAME PARTITIONS [SEGMENT_BYTES], run, check, full, progress (something more is
 * acknowledged), drain (stop writing and wait until
 * everything is acknowledged), quit. A failure is remembered and is the answer to every check.
 *
 * The wire is spoken by hand, in old fixed versions, and shares no code with the broker: the same
 * mistake on both sides would hide itself.
 */
#include "tests/crash/load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct load load = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- small things ---- */

uint64_t random_next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15U;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

uint32_t random_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)(random_next(state) % bound);
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void pause_ms(long ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

void failed(const char *text, ...)
{
    (void)pthread_mutex_lock(&load.lock);
    if (load.failure[0] == 0) {
        va_list arguments;
        va_start(arguments, text);
        vsnprintf(load.failure, sizeof(load.failure), text, arguments);
        va_end(arguments);
    }
    (void)pthread_mutex_unlock(&load.lock);
}

bool has_failed(void)
{
    (void)pthread_mutex_lock(&load.lock);
    bool is_failed = load.failure[0] != 0;
    (void)pthread_mutex_unlock(&load.lock);
    return is_failed;
}

void *grown(void *memory, size_t size)
{
    memory = realloc(memory, size);
    if (!memory)
        abort();
    return memory;
}

/* ---- commands ---- */

static int16_t create_topic(const char *topic, int32_t partitions, const char *segment_bytes)
{
    struct bytes out = {0};
    struct bytes in = {0};
    struct reader reader;
    int16_t error = -1;
    int file = connect_to(load.port);
    begin_request(&out, API_CREATE_TOPICS, 2, 1);
    put32(&out, 1);
    put_string(&out, topic);
    put32(&out, partitions);
    put16(&out, 1);
    put32(&out, 0);
    put32(&out, segment_bytes ? 1 : 0);
    if (segment_bytes) {
        put_string(&out, "segment.bytes");
        put_string(&out, segment_bytes);
    }
    put32(&out, 10000);
    put8(&out, 0);
    if (file >= 0 && call(file, &out, &in, &reader)) {
        (void)take64(&reader);
        (void)take(&reader, (size_t)take16(&reader));
        error = take16(&reader);
    }
    if (file >= 0)
        close(file);
    free(out.data);
    free(in.data);
    return error;
}

static void on_topic(const char *topic, int32_t partitions, const char *segment_bytes)
{
    int16_t error = -1;
    for (int tries = 0; tries < 500 && error != 0 && error != 36; tries++) { /* 36: it is there */
        if (tries > 0)
            pause_ms(20);
        error = create_topic(topic, partitions, segment_bytes);
    }
    if (error != 0 && error != 36) {
        failed("CreateTopics %s: error %d", topic, error);
        return;
    }
    for (int32_t i = 0; i < partitions && atomic_load(&load.partition_count) < PARTITIONS_MAX;
         i++) {
        struct partition *pa = grown(NULL, sizeof(*pa));
        *pa = (struct partition){.number = i};
        snprintf(pa->topic, sizeof(pa->topic), "%s", topic);
        (void)pthread_mutex_init(&pa->lock, NULL);
        for (uint32_t j = 0; j < PRODUCERS_MAX; j++)
            pa->streams[j].producer_id = -1;
        load.partitions[atomic_load(&load.partition_count)] = pa;
        atomic_fetch_add(&load.partition_count, 1);
    }
    printf("ok\n");
}

static bool all_acked(void)
{
    for (uint32_t i = 0; i < atomic_load(&load.partition_count); i++) {
        struct partition *pa = load.partitions[i];
        bool open = false;
        (void)pthread_mutex_lock(&pa->lock);
        for (uint32_t j = 0; j < load.producer_count; j++)
            open |= pa->streams[j].acked < pa->streams[j].count;
        (void)pthread_mutex_unlock(&pa->lock);
        if (open)
            return false;
    }
    return true;
}

static void on_drain(void)
{
    atomic_store(&load.writing, false);
    const uint64_t deadline_ns = now_ns() + 60ULL * 1000000000U;
    while (!all_acked() && !has_failed() && now_ns() < deadline_ns)
        pause_ms(5);
    if (!all_acked())
        failed("batches are without an acknowledgement for 60 s");
    else
        printf("ok\n");
}

/* A broker that is read from and takes nothing is not back. */
static void on_progress(void)
{
    const uint64_t deadline_ns = now_ns() + 20ULL * 1000000000U;
    const uint64_t wanted = atomic_load(&load.acked_batches) + load.producer_count;
    while (atomic_load(&load.acked_batches) < wanted && !has_failed() && now_ns() < deadline_ns)
        pause_ms(2);
    if (atomic_load(&load.acked_batches) < wanted)
        failed("nothing was acknowledged for 20 s");
    else
        printf("ok\n");
}

static void on_command(char *line)
{
    char topic[64];
    char segment_bytes[32];
    int partitions;
    int fields = sscanf(line, "topic %63s %d %31s", topic, &partitions, segment_bytes);
    if (fields >= 2)
        on_topic(topic, partitions, fields == 3 ? segment_bytes : NULL);
    else if (strcmp(line, "run\n") == 0)
        atomic_store(&load.writing, true), printf("ok\n");
    else if (strcmp(line, "check\n") == 0)
        check(false);
    else if (strcmp(line, "full\n") == 0)
        check(true);
    else if (strcmp(line, "progress\n") == 0)
        on_progress();
    else if (strcmp(line, "drain\n") == 0)
        on_drain();
    else
        failed("unknown command %s", line);
    if (has_failed())
        printf("FAIL %s\n", load.failure);
    (void)fflush(stdout);
}

static void fill_pool(void)
{
    uint64_t random = load.seed;
    for (size_t i = 0; i < POOL_BYTES; i++) /* half of it can be squeezed */
        load.pool[i] = i / 512 % 2 ? (uint8_t)random_next(&random) : (uint8_t) "millrace"[i % 8];
}

int main(int argc, char **argv)
{
    load.producer_count = 8;
    load.rate_bytes_per_s = 20U << 20;
    load.seed = 1;
    for (int i = 2; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--producers") == 0 && value >= 1 && value <= PRODUCERS_MAX)
            load.producer_count = (uint32_t)value;
        else if (strcmp(argv[i], "--rate") == 0)
            load.rate_bytes_per_s = value << 20;
        else if (strcmp(argv[i], "--seed") == 0)
            load.seed = value;
    }
    load.port = argc > 1 ? (uint16_t)strtoul(argv[1], NULL, 10) : 0;
    if (load.port == 0) {
        fprintf(stderr, "crash-load PORT [--producers N] [--rate MIB_PER_S] [--seed N]\n");
        return 2;
    }
    fill_pool();
    for (uint32_t i = 0; i < load.producer_count; i++) {
        struct producer *pr = &load.producers[i];
        *pr = (struct producer){.number = i, .socket = -1, .id = -1, .random = load.seed * 64 + i};
        if (pthread_create(&pr->thread, NULL, producer_main, pr) != 0)
            abort();
    }
    char line[256];
    while (fgets(line, sizeof(line), stdin) && strcmp(line, "quit\n") != 0)
        on_command(line);
    atomic_store(&load.ended, true);
    for (uint32_t i = 0; i < load.producer_count; i++)
        (void)pthread_join(load.producers[i].thread, NULL);
    return has_failed();
}
