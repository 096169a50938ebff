/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/producer_state.h"

#include "io/mem.h"

#define PRODUCER_ENCODED       31U
#define PRODUCER_BATCH_ENCODED 32U

void producer_state_init(struct producer_state *ps, uint64_t seed)
{
    *ps = (struct producer_state){.seed = seed};
}

void producer_state_fini(struct producer_state *ps)
{
    mem_free(ps->producers);
    mem_free(ps->slots);
    *ps = (struct producer_state){0};
}

/* ---- the hash ---- */

static uint32_t producer_slot_of(const struct producer_state *ps, int64_t id)
{
    uint64_t x = (uint64_t)id ^ ps->seed;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return (uint32_t)(x ^ (x >> 31)) & ps->slots_mask;
}

static struct producer *producer_lookup(const struct producer_state *ps, int64_t id)
{
    if (ps->count == 0)
        return NULL;
    for (uint32_t slot = producer_slot_of(ps, id); ps->slots[slot] != 0;
         slot = (slot + 1) & ps->slots_mask) {
        struct producer *producer = &ps->producers[ps->slots[slot] - 1];
        if (producer->id == id)
            return producer;
    }
    return NULL;
}

static void producer_slot_insert(struct producer_state *ps, uint32_t index)
{
    uint32_t slot = producer_slot_of(ps, ps->producers[index].id);
    while (ps->slots[slot] != 0)
        slot = (slot + 1) & ps->slots_mask;
    ps->slots[slot] = index + 1;
}

/* Linear probing without tombstones: what follows moves into the hole if it may stand there. */
static void producer_slot_remove(struct producer_state *ps, int64_t id)
{
    uint32_t hole = producer_slot_of(ps, id);
    while (ps->producers[ps->slots[hole] - 1].id != id)
        hole = (hole + 1) & ps->slots_mask;
    uint32_t slot = hole;
    for (;;) {
        slot = (slot + 1) & ps->slots_mask;
        if (ps->slots[slot] == 0)
            break;
        uint32_t wanted = producer_slot_of(ps, ps->producers[ps->slots[slot] - 1].id);
        if (((slot - wanted) & ps->slots_mask) >= ((slot - hole) & ps->slots_mask)) {
            ps->slots[hole] = ps->slots[slot];
            hole = slot;
        }
    }
    ps->slots[hole] = 0;
}

static void producer_grow(struct producer_state *ps)
{
    ps->size = ps->size == 0 ? 4 : ps->size * 2;
    ps->producers = mem_realloc(ps->producers, ps->size * sizeof(ps->producers[0]));
    mem_free(ps->slots);
    ps->slots_mask = ps->size * 2 - 1;
    ps->slots = mem_zalloc((size_t)ps->size * 2 * sizeof(ps->slots[0]));
    for (uint32_t i = 0; i < ps->count; i++)
        producer_slot_insert(ps, i);
}

/* ---- the list by last use ---- */

static void producer_unlink(struct producer_state *ps, const struct producer *producer)
{
    if (producer->newer != 0)
        ps->producers[producer->newer - 1].older = producer->older;
    else
        ps->newest = producer->older;
    if (producer->older != 0)
        ps->producers[producer->older - 1].newer = producer->newer;
    else
        ps->oldest = producer->newer;
}

static void producer_link_newest(struct producer_state *ps, uint32_t index)
{
    struct producer *producer = &ps->producers[index];
    producer->newer = 0;
    producer->older = ps->newest;
    if (ps->newest != 0)
        ps->producers[ps->newest - 1].newer = index + 1;
    else
        ps->oldest = index + 1;
    ps->newest = index + 1;
}

static void producer_remove(struct producer_state *ps, uint32_t index)
{
    producer_slot_remove(ps, ps->producers[index].id);
    producer_unlink(ps, &ps->producers[index]);
    uint32_t last = --ps->count;
    if (index == last)
        return;
    /* The last entry moves into the gap, and everything that names it follows. */
    struct producer moved = ps->producers[last];
    producer_slot_remove(ps, moved.id);
    ps->producers[index] = moved;
    producer_slot_insert(ps, index);
    if (moved.newer != 0)
        ps->producers[moved.newer - 1].older = index + 1;
    else
        ps->newest = index + 1;
    if (moved.older != 0)
        ps->producers[moved.older - 1].newer = index + 1;
    else
        ps->oldest = index + 1;
}

static struct producer *producer_add(struct producer_state *ps, int64_t id)
{
    if (ps->count == ps->size)
        producer_grow(ps);
    uint32_t index = ps->count++;
    ps->producers[index] =
        (struct producer){.id = id, .txn_first_offset = -1, .coordinator_epoch = -1};
    producer_slot_insert(ps, index);
    producer_link_newest(ps, index);
    return &ps->producers[index];
}

/* ---- rules ---- */

static const struct producer_batch *producer_batch_at(const struct producer *producer, uint32_t n)
{
    return &producer->batches[(producer->first + n) % PRODUCER_REMEMBERED];
}

enum producer_verdict producer_check(const struct producer_state *ps, int64_t id, int16_t epoch,
                                     int32_t base_sequence, int32_t last_sequence,
                                     struct producer_batch *original)
{
    const struct producer *producer = producer_lookup(ps, id);
    if (producer == NULL)
        return PRODUCER_OK;
    if (epoch < producer->epoch)
        return PRODUCER_INVALID_EPOCH;
    if (epoch > producer->epoch)
        return base_sequence == 0 ? PRODUCER_OK : PRODUCER_OUT_OF_ORDER;
    if (producer->count == 0)
        return PRODUCER_OK;
    /* Newest first: a retry is most often of the last batch. */
    uint32_t oldest = producer->count > PRODUCER_BATCHES ? producer->count - PRODUCER_BATCHES : 0;
    for (uint32_t n = producer->count; n-- > oldest;) {
        const struct producer_batch *batch = producer_batch_at(producer, n);
        if (batch->base_sequence == base_sequence && batch->last_sequence == last_sequence) {
            *original = *batch;
            return PRODUCER_DUPLICATE;
        }
    }
    int32_t last = producer_batch_at(producer, producer->count - 1U)->last_sequence;
    int32_t wanted = last == INT32_MAX ? 0 : last + 1;
    return base_sequence == wanted ? PRODUCER_OK : PRODUCER_OUT_OF_ORDER;
}

void producer_absorb(struct producer_state *ps, int64_t id, int16_t epoch,
                     const struct producer_batch *batch, int64_t now_ms, uint32_t ids_max)
{
    struct producer *producer = producer_lookup(ps, id);
    if (producer == NULL) {
        if (ids_max > 0 && ps->count >= ids_max)
            producer_remove(ps, ps->oldest - 1);
        producer = producer_add(ps, id);
    } else if (ps->newest != (uint32_t)(producer - ps->producers) + 1) {
        producer_unlink(ps, producer);
        producer_link_newest(ps, (uint32_t)(producer - ps->producers));
    }
    if (producer->epoch != epoch) {
        producer->epoch = epoch;
        producer->count = 0;
    }
    producer->last_used_ms = now_ms;
    if (producer->count == PRODUCER_REMEMBERED) {
        producer->first = (uint8_t)((producer->first + 1U) % PRODUCER_REMEMBERED);
        producer->count--;
    }
    producer->batches[(producer->first + producer->count) % PRODUCER_REMEMBERED] = *batch;
    producer->count++;
}

const struct producer *producer_find(const struct producer_state *ps, int64_t id)
{
    return producer_lookup(ps, id);
}

void producer_expire(struct producer_state *ps, int64_t before_ms)
{
    /* Downwards: the entry that moves into a gap was looked at already. */
    for (uint32_t i = ps->count; i-- > 0;) {
        const struct producer *producer = &ps->producers[i];
        if (producer->last_used_ms < before_ms && producer->txn_first_offset < 0)
            producer_remove(ps, i);
    }
}

void producer_truncate(struct producer_state *ps, int64_t offset)
{
    for (uint32_t i = ps->count; i-- > 0;) {
        struct producer *producer = &ps->producers[i];
        while (producer->count > 0 &&
               producer_batch_at(producer, producer->count - 1U)->last_offset >= offset)
            producer->count--;
        if (producer->count == 0)
            producer_remove(ps, i);
    }
}

/* ---- on disk: from the one idle longest to the newest, so that reading restores the order ---- */

size_t producer_encoded_size(const struct producer_state *ps)
{
    return 4 + (size_t)ps->count * (PRODUCER_ENCODED + PRODUCER_BATCH_ENCODED * PRODUCER_BATCHES);
}

static uint32_t producer_durable_count(const struct producer *producer, int64_t upto_offset)
{
    uint32_t count = producer->count;
    while (count > 0 && producer_batch_at(producer, count - 1)->last_offset >= upto_offset)
        count--;
    return count;
}

void producer_encode(const struct producer_state *ps, int64_t upto_offset, struct bytes_out *out)
{
    uint32_t ids = 0;
    for (uint32_t i = 0; i < ps->count; i++)
        ids += producer_durable_count(&ps->producers[i], upto_offset) > 0;
    put_u32(out, ids);
    for (uint32_t at = ps->oldest; at != 0; at = ps->producers[at - 1].newer) {
        const struct producer *producer = &ps->producers[at - 1];
        uint32_t count = producer_durable_count(producer, upto_offset);
        if (count == 0)
            continue;
        uint32_t first = count > PRODUCER_BATCHES ? count - PRODUCER_BATCHES : 0;
        put_i64(out, producer->id);
        put_i64(out, producer->txn_first_offset);
        put_i64(out, producer->last_used_ms);
        put_i32(out, producer->coordinator_epoch);
        put_i16(out, producer->epoch);
        put_u8(out, (uint8_t)(count - first));
        for (uint32_t n = first; n < count; n++) {
            const struct producer_batch *batch = producer_batch_at(producer, n);
            put_i32(out, batch->base_sequence);
            put_i32(out, batch->last_sequence);
            put_i64(out, batch->base_offset);
            put_i64(out, batch->last_offset);
            put_i64(out, batch->timestamp);
        }
    }
}

static bool producer_decode_one(struct producer_state *ps, struct bytes_in *in)
{
    int64_t id = take_i64(in);
    if (in->overrun || producer_lookup(ps, id) != NULL)
        return false;
    struct producer *producer = producer_add(ps, id);
    producer->txn_first_offset = take_i64(in);
    producer->last_used_ms = take_i64(in);
    producer->coordinator_epoch = take_i32(in);
    producer->epoch = take_i16(in);
    uint8_t count = take_u8(in);
    if (count > PRODUCER_BATCHES)
        return false;
    for (uint32_t n = 0; n < count; n++) {
        struct producer_batch *batch = &producer->batches[n];
        batch->base_sequence = take_i32(in);
        batch->last_sequence = take_i32(in);
        batch->base_offset = take_i64(in);
        batch->last_offset = take_i64(in);
        batch->timestamp = take_i64(in);
    }
    producer->count = count;
    return !in->overrun;
}

bool producer_decode(struct producer_state *ps, struct bytes_in *in)
{
    must(ps->count == 0);
    uint32_t count = take_u32(in);
    if (in->overrun || count > (size_t)(in->end - in->at) / PRODUCER_ENCODED)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!producer_decode_one(ps, in))
            return false;
    }
    return true;
}
