/* SPDX-License-Identifier: Apache-2.0
 *
 * What the world outside knows of compacted topics (model.h knows the topics themselves): which
 * record was sent with which key, where it was acknowledged or read, and what may be missing. A
 * record carries its number in a header, all else follows from that.
 *
 * What is checked where:
 *   keyed_acked     at another offset than before, or where another record is
 *   keyed_read      records that nobody sent, others than were sent, at another place; offsets that
 *                   do not grow; and whatever is missing: only what has a newer record of its key,
 *                   or is a tombstone whose time is over, and nothing younger than the lag
 *   keyed_conclude  the same, now that all that is in the log was read: while clients write, an
 *                   answer that nobody has seen may have been about a newer record
 */
#pragma once

#include "core/record/record.h"
#include "tests/sim/model.h"

#define KEYED_RECORDS_MAX 16384U
#define KEYED_BATCH_MAX   4U
#define KEYED_KEYS        24U

struct keyed_record {
    uint8_t topic;
    uint8_t partition;
    uint8_t key;
    bool tombstone;
    bool refused;   /* it is not in the log */
    bool read_last; /* the reckoning has met it */
    uint16_t value_len;
    uint32_t incarnation; /* of the topic */
    int64_t offset;       /* -1: unknown */
    uint64_t sent_ns;     /* of the world */
};

struct keyed_line {
    uint32_t *at; /* [size] number of the record by offset, 0: not known */
    uint32_t size;
};

struct keyed_facts {
    struct keyed_record *records; /* [number], from 1 on */
    uint32_t count;
    uint32_t incarnations[TOPICS_MAX]; /* that the lines are of */
    struct keyed_line lines[TOPICS_MAX][PARTITIONS_MAX];
    uint64_t lag_ns;
    uint64_t retention_ns;
    struct inflater inflater;
    /* what came to pass */
    uint64_t acked, read, superseded, tombstones_gone;
};

struct keyed_facts *keyed_facts_new(void);
void keyed_facts_free(struct keyed_facts *facts);

/* Draws `count` records for a partition; the number of the first, 0: there were enough. */
uint32_t keyed_draw(struct model *m, struct rng *rng, struct topic_fact *topic, int32_t partition,
                    uint32_t count);
void keyed_batch(struct model *m, uint32_t first, uint32_t count, struct batch_builder *builder);
/* Is it of a topic that is there, and was not deleted since? */
bool keyed_is_valid(const struct model *m, uint32_t number);
void keyed_acked(struct model *m, uint32_t first, uint32_t count, int64_t base_offset);
/* The whole batches of an answer to a fetch from `offset`; the offset after them. */
int64_t keyed_read(struct model *m, struct topic_fact *topic, int32_t partition, int64_t offset,
                   const uint8_t *bytes, uint32_t len);
bool keyed_begins_whole(const uint8_t *bytes, uint32_t len);
/* All partitions were read from their beginning to their end. */
void keyed_conclude(struct model *m);
