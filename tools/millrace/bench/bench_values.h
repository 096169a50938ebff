/* SPDX-License-Identifier: Apache-2.0
 *
 * What is sent: keys and values of records. Values are cut out of one block of random bytes, each
 * from another place, so that no codec and no drive finds a repetition that was not asked for; of
 * every 256 bytes the part that --compressible names is zeros. A workload may ask for repetitions:
 * for one value, or for some that are random at their begin and zeros behind.
 *
 * A stamped value begins with who it is (big-endian, as all on the wire):
 *
 *      0  magic "mrbench1"
 *      8  run     u64   random, of this run
 *     16  number  u64   of the record in its partition, from 0
 *     24  due     u64   on the generator's monotonic clock, in nanoseconds
 */
#pragma once

#include "tools/millrace/bench/bench_options.h"

#define BENCH_STAMP_SIZE 32U /* of the value of a stamped record */
#define BENCH_KEY_SIZE   16U

/* Private but for the head's knowledge; key_lanes and dice are for who chooses partitions. */
struct values {
    const struct bench_options *o;
    uint8_t *payload;
    uint32_t payload_places, payload_step; /* where a value may begin */
    double *key_shares;                    /* cumulated */
    uint64_t next_key;                     /* of those that come in turn */
    uint32_t *key_lanes;                   /* of each key, among one topic's lanes */
    uint64_t dice;
};

struct bench_stamp {
    uint64_t run_id, sequence, due_ns;
};

/* o: borrowed until the end. partitions: of each topic. */
void values_init(struct values *values, const struct bench_options *o, uint32_t partitions);
void values_fini(struct values *values);
/* A key by the distribution; -1 without keys. */
int64_t key_draw(struct values *values);
uint32_t key_text(char key[BENCH_KEY_SIZE], int64_t number);
/* The next value, o->record_bytes long, until the next one is asked for. stamp: NULL: none. */
uint8_t *value_draw(struct values *values, const struct bench_stamp *stamp);
/* False when it has none. */
bool stamp_read(struct bench_stamp *stamp, const uint8_t *value, int32_t len);
