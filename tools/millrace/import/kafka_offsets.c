/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/kafka_offsets.h"

#include "core/group/group_record.h"
#include "core/record/record.h"
#include "io/mem.h"
#include "tools/millrace/import/kafka_scan.h"
#include "tools/millrace/import/kafka_text.h"
#include "tools/millrace/segment_file.h"

#include <stdio.h>

#define ARENA_BYTES_MAX (256U << 20)

/* A key of the topic that has a value now; or a group that was met. */
struct key {
    UT_hash_handle hh;
    uint32_t len;
    uint8_t bytes[];
};

struct counting {
    struct key *offsets;
    struct inflater inflater;
    struct arena arena;
};

static void keys_put(struct key **keys, const void *bytes, uint32_t len)
{
    struct key *key;
    HASH_FIND(hh, *keys, bytes, len, key);
    if (key)
        return;
    key = mem_zalloc(sizeof(*key) + len);
    key->len = len;
    memcpy(key->bytes, bytes, len);
    HASH_ADD_KEYPTR(hh, *keys, key->bytes, key->len, key);
}

static void keys_remove(struct key **keys, const void *bytes, uint32_t len)
{
    struct key *key;
    HASH_FIND(hh, *keys, bytes, len, key);
    if (!key)
        return;
    HASH_DELETE(hh, *keys, key);
    mem_free(key);
}

static uint64_t keys_fini(struct key **keys)
{
    uint64_t count = HASH_COUNT(*keys);
    struct key *key;
    struct key *following;
    HASH_ITER(hh, *keys, key, following)
    {
        HASH_DELETE(hh, *keys, key);
        mem_free(key);
    }
    return count;
}

static void take_record(struct counting *counting, const struct record *record)
{
    struct group_record read;
    group_record_read(&read, (struct bytes){record->key, record->key_len},
                      (struct bytes){record->value, record->value_len}, &counting->arena);
    if (read.kind == GROUP_RECORD_OFFSET && read.tombstone)
        keys_remove(&counting->offsets, record->key, (uint32_t)record->key_len);
    else if (read.kind == GROUP_RECORD_OFFSET)
        keys_put(&counting->offsets, record->key, (uint32_t)record->key_len);
    arena_reset(&counting->arena);
}

static void take_batch(struct counting *counting, const struct segment_file *segment)
{
    struct record_iter iter;
    struct record record;
    if (!record_iter_init(&iter, &counting->inflater, segment->batch, INFLATED_BYTES_MAX))
        return;
    while (record_iter_next(&iter, &record) == RECORD_READY)
        take_record(counting, &record);
    record_iter_fini(&iter);
}

static void take_partition(struct counting *counting, const struct kafka_partition *partition)
{
    const struct kafka_scan *scan = partition->scan;
    for (uint32_t i = 0; i < scan->segment_count; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%020lld.log", (long long)scan->segments[i].base);
        char *path = kafka_path(partition->directory, name);
        struct segment_file segment;
        if (segment_file_open(&segment, path))
            while (segment_file_next(&segment) == SEGMENT_BATCH)
                if (!(segment.header.attributes & BATCH_CONTROL) &&
                    !kafka_scan_is_aborted(scan, &segment.header))
                    take_batch(counting, &segment);
        segment_file_close(&segment);
        mem_free(path);
    }
}

/* The groups among the keys that are left. */
static uint64_t count_groups(struct counting *counting)
{
    struct key *groups = NULL;
    for (const struct key *key = counting->offsets; key; key = key->hh.next) {
        struct group_record read;
        group_record_read(&read, (struct bytes){key->bytes, (int32_t)key->len},
                          (struct bytes){.len = -1}, &counting->arena);
        if (read.group.len > 0)
            keys_put(&groups, read.group.data, (uint32_t)read.group.len);
        arena_reset(&counting->arena);
    }
    return keys_fini(&groups);
}

void kafka_offsets_count(const struct kafka_topic *topic, uint64_t *groups, uint64_t *offsets)
{
    struct counting counting = {0};
    inflater_init(&counting.inflater);
    arena_init(&counting.arena, ARENA_BYTES_MAX);
    for (uint32_t i = 0; i < topic->partition_count; i++)
        take_partition(&counting, &topic->partitions[i]);
    *groups = count_groups(&counting);
    *offsets = keys_fini(&counting.offsets);
    arena_fini(&counting.arena);
    inflater_fini(&counting.inflater);
}
