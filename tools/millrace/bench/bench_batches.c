/* SPDX-License-Identifier: Apache-2.0
 *
 * What is sent. Values are cut out of one block of random bytes, each from another place, so that
 * no codec and no drive finds a repetition that was not asked for; of every 256 bytes the part
 * that --compressible names is zeros. A workload may ask for repetitions: for one value, or for
 * some that are random at their begin and zeros behind.
 *
 * A stamped value begins with who it is (big-endian, as all on the wire):
 *
 *      0  magic "mrbench1"
 *      8  run     u64   random, of this run
 *     16  number  u64   of the record in its partition, from 0
 *     24  due     u64   on the generator's monotonic clock, in nanoseconds
 */
#include "io/mem.h"
#include "tools/millrace/bench/bench.h"
#include "tools/millrace/partitioner.h"

#include <endian.h>
#include <math.h>
#include <string.h>

#define PAYLOAD_EXTRA 65536U /* places to begin at */
#define COMPRESS_STEP 256U
#define READY_BYTES                                                                                \
    (2U << 20) /* of ready-made batches: they stay in the cache, the machine is the broker's too   \
                */

static const char magic[8] = {'m', 'r', 'b', 'e', 'n', 'c', 'h', '1'};

/* ---- keys ---- */

static uint32_t key_text(char key[BENCH_KEY_SIZE], int64_t number)
{
    return (uint32_t)snprintf(key, BENCH_KEY_SIZE, "key-%08lld", (long long)number);
}

static void keys_init(struct bench *b)
{
    const size_t count = (size_t)b->o.key_count;
    if (b->o.keys == KEY_NONE)
        return;
    const int32_t partitions = (int32_t)bench_topic_partitions(b);
    b->key_lanes = mem_zalloc(count * sizeof(*b->key_lanes));
    b->key_shares = mem_zalloc(count * sizeof(*b->key_shares));
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        char key[BENCH_KEY_SIZE];
        uint32_t len = key_text(key, (int64_t)i);
        b->key_lanes[i] = (uint32_t)partition_of_key(key, len, partitions);
        sum += b->o.keys == KEY_ZIPF ? pow((double)(i + 1), -b->o.key_skew) : 1;
        b->key_shares[i] = sum;
    }
    for (size_t i = 0; i < count; i++)
        b->key_shares[i] /= sum;
}

int64_t key_draw(struct bench *b)
{
    if (b->o.keys == KEY_NONE)
        return -1;
    if (b->o.keys == KEY_CYCLE)
        return (int64_t)(b->next_key++ % (uint64_t)b->o.key_count);
    const double at = dice_unit(&b->dice);
    int64_t low = 0;
    int64_t high = b->o.key_count - 1;
    while (low < high) { /* the first whose share reaches so far */
        int64_t middle = (low + high) / 2;
        if (b->key_shares[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- values ---- */

/* So many values, one behind the other. */
static void payloads_make(struct bench *b)
{
    const size_t size = (size_t)b->o.record_bytes;
    b->payload_places = (uint32_t)b->o.payloads;
    b->payload_step = (uint32_t)size;
    b->payload = mem_zalloc(b->payload_places * size);
    for (uint32_t at = 0; at < b->payload_places; at++)
        for (int64_t i = 0; i < b->o.random_bytes; i++)
            b->payload[at * size + (size_t)i] = (uint8_t)(dice_next(&b->dice) >> 56);
}

static void payload_init(struct bench *b)
{
    const uint32_t zeros = COMPRESS_STEP * (uint32_t)b->o.compressible / 100;
    const size_t bytes = (size_t)b->o.record_bytes + PAYLOAD_EXTRA;
    if (b->o.payloads > 0) {
        payloads_make(b);
        if (b->o.payload)
            memcpy(b->payload, b->o.payload, (size_t)b->o.record_bytes);
        return;
    }
    b->payload_places = PAYLOAD_EXTRA;
    b->payload_step = 1;
    b->payload = mem_zalloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        if (i % COMPRESS_STEP >= zeros)
            b->payload[i] = (uint8_t)(dice_next(&b->dice) >> 56);
}

static void stamp_write(uint8_t *to, const struct bench_stamp *stamp)
{
    const uint64_t words[] = {htobe64(stamp->run_id), htobe64(stamp->sequence),
                              htobe64(stamp->due_ns)};
    memcpy(to, magic, sizeof(magic));
    memcpy(to + sizeof(magic), words, sizeof(words));
}

bool stamp_read(struct bench_stamp *stamp, const uint8_t *value, int32_t len)
{
    uint64_t words[3];
    if (len < (int32_t)BENCH_STAMP_SIZE || memcmp(value, magic, sizeof(magic)) != 0)
        return false;
    memcpy(words, value + sizeof(magic), sizeof(words));
    *stamp = (struct bench_stamp){be64toh(words[0]), be64toh(words[1]), be64toh(words[2])};
    return true;
}

static void record_add(struct bench *b, struct batch_builder *builder, int64_t wall_ms,
                       const struct bench_stamp *stamp, int64_t key)
{
    char text[BENCH_KEY_SIZE];
    struct bytes_or_null key_bytes = BYTES_NULL;
    if (key >= 0)
        key_bytes = (struct bytes_or_null){.data = text, .len = (int32_t)key_text(text, key)};
    const size_t place = dice_next(&b->dice) % b->payload_places;
    uint8_t *value = b->payload + place * b->payload_step;
    if (stamp)
        stamp_write(value, stamp);
    const struct bytes_or_null bytes = {.data = value, .len = (int32_t)b->o.record_bytes};
    batch_builder_add(builder, wall_ms, key_bytes, bytes, NULL, 0);
}

/* ---- batches ---- */

static void ready_make(struct bench *b, struct bench_batch *batch)
{
    struct batch_builder builder;
    const uint8_t *data;
    batch_builder_init(&builder);
    batch_builder_start(&builder);
    int64_t wall_ms = io_wall_ms(b->s->sh->io);
    for (int64_t i = 0; i < b->o.batch_records; i++)
        record_add(b, &builder, wall_ms, NULL, -1);
    batch->len = (uint32_t)batch_builder_finish(&builder, &b->deflater, b->o.codec,
                                                (int)b->s->settings.compression_level, &data);
    batch->data = mem_alloc(batch->len);
    memcpy(batch->data, data, batch->len);
    batch_builder_fini(&builder);
}

void bench_batches_init(struct bench *b)
{
    deflater_init(&b->deflater);
    b->dice = ((uint64_t)b->o.seed + b->o.part) * 0x9e3779b97f4a7c15U + 1;
    b->run_id = io_random(b->s->sh->io);
    b->builds = b->o.stamped || b->o.idempotent || b->o.joins || b->o.keys != KEY_NONE;
    b->pinned = b->o.stamped || b->o.joins || b->o.producers > 0;
    b->joined_max = (uint32_t)min_i64(b->o.batch_bytes / b->o.record_bytes + b->o.batch_records + 1,
                                      BENCH_RECORDS_MAX);
    payload_init(b);
    keys_init(b);
    const size_t bytes = (size_t)(b->o.batch_records * b->o.record_bytes);
    const size_t count = b->builds ? 0 : 1 + min_u64(READY_BYTES / bytes, BENCH_BATCHES_MAX - 1);
    while (b->batch_count < count)
        ready_make(b, &b->batches[b->batch_count++]);
}

void bench_batches_fini(struct bench *b)
{
    for (uint32_t i = 0; i < b->batch_count; i++)
        mem_free(b->batches[i].data);
    mem_free(b->payload);
    mem_free(b->key_lanes);
    mem_free(b->key_shares);
    deflater_fini(&b->deflater);
}

void slot_add(struct bench_slot *slot, uint64_t due_ns, uint32_t count, int64_t key)
{
    struct bench *b = slot->conn->bench;
    const int64_t wall_ms = io_wall_ms(b->s->sh->io);
    if (slot->records == 0) {
        slot->due_ns = due_ns;
        slot->first_sequence = slot->lane->sequence;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct bench_stamp stamp = {b->run_id, slot->lane->sequence++, due_ns};
        if (slot->dues)
            slot->dues[slot->records + i] = due_ns;
        if (b->builds)
            record_add(b, &slot->builder, wall_ms, b->o.stamped ? &stamp : NULL, key);
    }
    slot->records += count;
}

const uint8_t *slot_batch(struct bench_slot *slot, uint32_t *len)
{
    struct bench *b = slot->conn->bench;
    if (!b->builds) {
        const struct bench_batch *batch = &b->batches[b->next_batch++ % b->batch_count];
        *len = batch->len;
        return batch->data;
    }
    struct batch_header *header = &slot->builder.header;
    if (b->o.idempotent) {
        size_t lane = (size_t)(slot->lane - b->lanes);
        if (b->o.producers > 0)
            lane %= bench_topic_partitions(b);
        int32_t *sequence = &slot->conn->sequences[lane];
        header->producer_id = slot->conn->producer_id;
        header->producer_epoch = slot->conn->producer_epoch;
        header->base_sequence = *sequence;
        *sequence = (int32_t)(((uint32_t)*sequence + slot->records) & INT32_MAX);
    }
    const uint8_t *data;
    *len = (uint32_t)batch_builder_finish(&slot->builder, &b->deflater, b->o.codec,
                                          (int)b->s->settings.compression_level, &data);
    return data;
}
