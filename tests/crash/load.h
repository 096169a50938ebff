/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of crash-load share: the truth about every batch, and the failure. See load.c.
 */
#pragma once

#include "tests/crash/wire.h"

#include <pthread.h>
#include <stdatomic.h>

#define array_count(array) (sizeof(array) / sizeof((array)[0]))

#define PRODUCERS_MAX      16U
#define PARTITIONS_MAX     256U
#define REQUESTS_IN_FLIGHT 5U
#define ITEMS_MAX          4U /* batches, of different partitions, in one request */
#define BATCH_IN_FLIGHT    5U /* of one stream: what a broker must remember of a producer */
#define RECORDS_MAX        20U
#define BODY_MIN           100U
#define BODY_MAX           100000U
#define BATCH_BYTES_MAX    1000000U
#define POOL_BYTES         (BODY_MAX + 65536U)
#define FETCH_BYTES        (4U << 20)
#define RECORD_MAGIC       0x6c696d72U

enum codec { CODEC_NONE = 0, CODEC_GZIP = 1, CODEC_LZ4 = 3, CODEC_ZSTD = 4 };

/* One batch of a stream; everything else about it follows from the stream and its number. */
struct batch {
    int64_t producer_id;
    int64_t timestamp_ms;
    int64_t acked_offset;  /* -1: no answer yet */
    int64_t seen_offset;   /* -1: not read yet */
    uint64_t first_record; /* number of its first record in the stream */
    int32_t first_sequence;
    uint32_t count;
};

struct stream {
    struct batch *batches;
    size_t count, room;
    size_t acked; /* the batches before this one are acknowledged */
    size_t seen;  /* the batches before this one were read */
    int64_t producer_id;
    int32_t next_sequence;
    uint64_t next_record;
    size_t cursor, must_reach; /* of the check that runs */
};

struct partition {
    char topic[64];
    int32_t number;
    pthread_mutex_t lock; /* guards its streams' batches */
    struct stream streams[PRODUCERS_MAX];
    int64_t next_offset;    /* where the next check begins to read: the last but one check's end */
    int64_t checked_offset; /* the last check's end */
};

struct item {
    uint32_t partition;
    size_t batch;
    bool repeat; /* was acknowledged before */
    bool done;
};

struct request {
    int32_t correlation_id;
    uint32_t item_count;
    struct item items[ITEMS_MAX];
};

struct producer {
    uint32_t number;
    pthread_t thread;
    int socket;
    int64_t id;
    int16_t epoch;
    int32_t correlation_id;
    uint32_t in_flight_count;
    struct request in_flight[REQUESTS_IN_FLIGHT];
    uint32_t of_stream[PARTITIONS_MAX]; /* batches in flight */
    uint64_t random;
    uint64_t sent_bytes, began_ns;
    struct bytes out, records, packed, in;
};

struct load {
    uint16_t port;
    uint32_t producer_count;
    uint64_t rate_bytes_per_s;
    uint64_t seed;
    struct producer producers[PRODUCERS_MAX];
    struct partition *partitions[PARTITIONS_MAX];
    _Atomic uint32_t partition_count;
    _Atomic bool writing, ended;
    pthread_mutex_t lock; /* the failure, the ids */
    char failure[512];
    struct {
        int64_t id;
        uint32_t producer;
    } * ids;
    size_t id_count;
    _Atomic uint64_t acked_batches, acked_records, repeats, resent, reconnects;
    uint8_t pool[POOL_BYTES];
};

extern struct load load;

uint64_t random_next(uint64_t *state);
uint32_t random_below(uint64_t *state, uint32_t bound);
uint64_t now_ns(void);
int64_t wall_ms(void);
void pause_ms(long ms);
/* The first failure is kept: later ones follow from it. */
void failed(const char *text, ...) __attribute__((format(printf, 1, 2)));
bool has_failed(void);
void *grown(void *memory, size_t size);

/* load_batch.c */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
uint32_t batch_count(uint32_t producer, uint32_t partition, size_t number);
void put_batch(struct producer *pr, uint32_t partition, size_t number);
bool unpack(struct bytes *to, enum codec codec, const uint8_t *from, size_t len);
const char *check_records(const struct bytes *records, uint32_t producer, uint32_t partition,
                          const struct batch *batch);

/* load_produce.c: the thread of one producer. */
void *producer_main(void *arg);
/* A lost connection and these errors say nothing about the batch: it goes out again. */
bool is_retriable(int16_t error);

/* load_check.c: reads and judges, and prints the numbers when nothing has failed. */
void check(bool all);
