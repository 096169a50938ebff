/* SPDX-License-Identifier: Apache-2.0
 *
 * The batches that are sent. They are made once and sent again and again where nothing in them has
 * to differ; else each slot builds its own.
 */
#include "io/mem.h"
#include "tools/millrace/bench/bench.h"

#include <string.h>

#define READY_BYTES                                                                                \
    (2U << 20) /* of ready-made batches: they stay in the cache, the machine is the broker's too   \
                */

static void record_add(struct bench *b, struct batch_builder *builder, int64_t wall_ms,
                       const struct bench_stamp *stamp, int64_t key)
{
    char text[BENCH_KEY_SIZE];
    struct bytes_or_null key_bytes = BYTES_NULL;
    if (key >= 0)
        key_bytes = (struct bytes_or_null){.data = text, .len = (int32_t)key_text(text, key)};
    const struct bytes_or_null bytes = {.data = value_draw(&b->values, stamp),
                                        .len = (int32_t)b->o.record_bytes};
    batch_builder_add(builder, wall_ms, key_bytes, bytes, NULL, 0);
}

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
    b->run_id = io_random(b->s->sh->io);
    b->builds = b->o.stamped || b->o.idempotent || b->o.joins || b->o.keys != KEY_NONE;
    b->pinned = b->o.stamped || b->o.joins || b->o.producers > 0;
    b->joined_max = (uint32_t)min_i64(b->o.batch_bytes / b->o.record_bytes + b->o.batch_records + 1,
                                      BENCH_RECORDS_MAX);
    values_init(&b->values, &b->o, bench_topic_partitions(b));
    const size_t bytes = (size_t)(b->o.batch_records * b->o.record_bytes);
    const size_t count = b->builds ? 0 : 1 + min_u64(READY_BYTES / bytes, BENCH_BATCHES_MAX - 1);
    while (b->batch_count < count)
        ready_make(b, &b->batches[b->batch_count++]);
}

void bench_batches_fini(struct bench *b)
{
    for (uint32_t i = 0; i < b->batch_count; i++)
        mem_free(b->batches[i].data);
    values_fini(&b->values);
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
