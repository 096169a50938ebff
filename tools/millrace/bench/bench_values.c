/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_values.h"

#include "io/mem.h"
#include "tools/millrace/bench/bench_schedule.h"
#include "tools/millrace/partitioner.h"

#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define PAYLOAD_EXTRA 65536U /* places to begin at */
#define COMPRESS_STEP 256U

static const char magic[8] = {'m', 'r', 'b', 'e', 'n', 'c', 'h', '1'};

/* ---- keys ---- */

uint32_t key_text(char key[BENCH_KEY_SIZE], int64_t number)
{
    return (uint32_t)snprintf(key, BENCH_KEY_SIZE, "key-%08lld", (long long)number);
}

static void keys_init(struct values *values, int32_t partitions)
{
    const size_t count = (size_t)values->o->key_count;
    if (values->o->keys == KEY_NONE)
        return;
    values->key_lanes = mem_zalloc(count * sizeof(*values->key_lanes));
    values->key_shares = mem_zalloc(count * sizeof(*values->key_shares));
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        char key[BENCH_KEY_SIZE];
        uint32_t len = key_text(key, (int64_t)i);
        values->key_lanes[i] = (uint32_t)partition_of_key(key, len, partitions);
        sum += values->o->keys == KEY_ZIPF ? pow((double)(i + 1), -values->o->key_skew) : 1;
        values->key_shares[i] = sum;
    }
    for (size_t i = 0; i < count; i++)
        values->key_shares[i] /= sum;
}

int64_t key_draw(struct values *values)
{
    if (values->o->keys == KEY_NONE)
        return -1;
    if (values->o->keys == KEY_CYCLE)
        return (int64_t)(values->next_key++ % (uint64_t)values->o->key_count);
    const double at = dice_unit(&values->dice);
    int64_t low = 0;
    int64_t high = values->o->key_count - 1;
    while (low < high) { /* the first whose share reaches so far */
        int64_t middle = (low + high) / 2;
        if (values->key_shares[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- values ---- */

/* So many values, one behind the other. */
static void payloads_make(struct values *values)
{
    const size_t size = (size_t)values->o->record_bytes;
    values->payload_places = (uint32_t)values->o->payloads;
    values->payload_step = (uint32_t)size;
    values->payload = mem_zalloc(values->payload_places * size);
    for (uint32_t at = 0; at < values->payload_places; at++)
        for (int64_t i = 0; i < values->o->random_bytes; i++)
            values->payload[at * size + (size_t)i] = (uint8_t)(dice_next(&values->dice) >> 56);
}

static void payload_init(struct values *values)
{
    const uint32_t zeros = COMPRESS_STEP * (uint32_t)values->o->compressible / 100;
    const size_t bytes = (size_t)values->o->record_bytes + PAYLOAD_EXTRA;
    if (values->o->payloads > 0) {
        payloads_make(values);
        if (values->o->payload)
            memcpy(values->payload, values->o->payload, (size_t)values->o->record_bytes);
        return;
    }
    values->payload_places = PAYLOAD_EXTRA;
    values->payload_step = 1;
    values->payload = mem_zalloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        if (i % COMPRESS_STEP >= zeros)
            values->payload[i] = (uint8_t)(dice_next(&values->dice) >> 56);
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

uint8_t *value_draw(struct values *values, const struct bench_stamp *stamp)
{
    const size_t place = dice_next(&values->dice) % values->payload_places;
    uint8_t *value = values->payload + place * values->payload_step;
    if (stamp)
        stamp_write(value, stamp);
    return value;
}

/* ---- both ---- */

void values_init(struct values *values, const struct bench_options *o, uint32_t partitions)
{
    *values = (struct values){.o = o};
    values->dice = ((uint64_t)o->seed + o->part) * 0x9e3779b97f4a7c15U + 1;
    payload_init(values);
    keys_init(values, (int32_t)partitions);
}

void values_fini(struct values *values)
{
    mem_free(values->payload);
    mem_free(values->key_lanes);
    mem_free(values->key_shares);
}
