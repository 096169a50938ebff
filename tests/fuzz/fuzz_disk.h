/* SPDX-License-Identifier: Apache-2.0
 *
 * For fuzz targets of files: a simulated machine with an empty disk, files from bytes, and numbers
 * that are what the format expects unless the input says otherwise.
 *
 * Checksums keep mutations out, so these targets read their input as a recipe: it says which
 * records, groups, entries and batches there are and where they differ from a right file, the
 * harness writes the files with right checksums, and only then damages what the recipe damages.
 */
#pragma once

#include "core/log/log_dir.h"
#include "core/log/recovery.h"
#include "io/sim/sim.h"
#include "tests/unit/log_batches.h"

#include <stdio.h>

#define FUZZ_DIRECTORY "/data/log"

/* Simulated disks come and go thousands of times a second: a long quarantine is mostly page faults.
 */
const char *__asan_default_options(void); // NOLINT(bugprone-reserved-identifier)
const char *__asan_default_options(void)  // NOLINT(bugprone-reserved-identifier)
{
    return "quarantine_size_mb=4";
}

struct fuzz_disk {
    struct world *world;
    struct machine *machine;
    struct fs *fs;
};

static inline void fuzz_disk_open(struct fuzz_disk *disk)
{
    struct world_options options;
    world_options_calm(&options, 1);
    disk->world = world_new(&options);
    disk->machine = world_machine(disk->world, "node");
    disk->fs = machine_fs(disk->machine);
    must(fs_mkdir(disk->fs, "/data") >= 0 && fs_sync_dir(disk->fs, "/") >= 0);
}

static inline struct log_dir_options fuzz_options(struct fs *fs, uint16_t shards)
{
    return (struct log_dir_options){.path = FUZZ_DIRECTORY,
                                    .fs = fs,
                                    .may_format = true,
                                    .new_uuid = "fuzzed directory",
                                    .node_id = 1,
                                    .pid = 1,
                                    .shards = shards,
                                    .tail_bytes = 1U << 20,
                                    .cold_bytes = 1U << 20,
                                    .open_files_max = 4,
                                    .journal_bytes = 64U << 10};
}

static inline void fuzz_file(struct fs *fs, const char *path, const void *bytes, size_t size)
{
    int file = fs_open(fs, path, FS_WRITE | FS_CREATE);
    must(file >= 0 && fs_truncate(fs, file, 0) >= 0);
    must(size == 0 || fs_write(fs, file, bytes, size, 0) >= 0);
    must(fs_sync(fs, file) >= 0);
    fs_close(fs, file);
}

/* The expected value, moved a little or replaced when the recipe's mask says so. */
static inline uint64_t fuzz_number(struct bytes_in *in, uint32_t mask, uint32_t bit,
                                   uint64_t expected)
{
    if ((mask >> bit & 1U) == 0)
        return expected;
    uint8_t by = take_u8(in);
    return by < 0xf0 ? expected + by - 0x78 : take_u64(in);
}

/* CRC-32C by its definition: what the code under test computes must not be its own witness. */
static inline uint32_t fuzz_crc(const uint8_t *data, size_t len)
{
    static uint32_t table[256];
    for (uint32_t i = 0; i < 256 && table[255] == 0; i++) {
        uint32_t state = i;
        for (int bit = 0; bit < 8; bit++)
            state = (state >> 1) ^ (0x82f63b78U & (0U - (state & 1)));
        table[i] = state;
    }
    uint32_t state = ~0U;
    for (size_t i = 0; i < len; i++)
        state = (state >> 8) ^ table[(state ^ data[i]) & 0xff];
    return ~state;
}

/* ---- logs that the recipes speak of ---- */

#define FUZZ_LOGS        4U
#define FUZZ_INCARNATION 7U

static inline struct log_id fuzz_id(uint32_t number)
{
    return (struct log_id){.topic_id = "fuzzed-topic-id", .partition = (int32_t)number};
}

/* An entry of a checkpoint as the model has it; the recipe may move every field. */
struct fuzz_log {
    uint64_t change;
    int64_t segment_base;
    uint32_t position;
    int64_t start_offset;
    int64_t end_offset;
    uint32_t anchor;
    uint32_t sealed_count;
    uint64_t sealed_bytes;
};

static inline void fuzz_entry(struct bytes_in *in, const struct fuzz_log *log, uint32_t number,
                              struct bytes_out *out)
{
    uint32_t mask = take_u16(in);
    mask |= (uint32_t)take_u8(in) << 16;
    struct epoch_history epochs = {0};
    struct producer_state producers;
    producer_state_init(&producers, 1);
    struct checkpoint_entry entry = {
        .id = fuzz_id(number),
        .incarnation = FUZZ_INCARNATION,
        .change = fuzz_number(in, mask, 0, log->change),
        .deleted = (mask >> 1 & 1) != 0,
        .topic = "t",
        .start_offset = (int64_t)fuzz_number(in, mask, 2, (uint64_t)log->start_offset),
        .end_offset = (int64_t)fuzz_number(in, mask, 3, (uint64_t)log->end_offset),
        .end = {(int64_t)fuzz_number(in, mask, 4, (uint64_t)log->segment_base),
                (uint32_t)fuzz_number(in, mask, 5, log->position)},
        .sealed_count = (uint32_t)fuzz_number(in, mask, 6, log->sealed_count),
        .sealed_bytes = fuzz_number(in, mask, 7, log->sealed_bytes),
        .anchor = (uint32_t)fuzz_number(in, mask, 16, log->anchor),
        .epochs = &epochs,
        .producers = &producers,
    };
    entry.flushed =
        (struct log_place){(int64_t)fuzz_number(in, mask, 8, (uint64_t)entry.end.segment_base),
                           (uint32_t)fuzz_number(in, mask, 9, entry.end.position)};
    struct log_place open[3];
    entry.open = open;
    for (uint32_t i = mask >> 10 & 3; i > 0; i--)
        open[entry.open_count++] =
            (struct log_place){(int64_t)take_u8(in), (uint32_t)take_u8(in) * 32U};
    if (mask >> 12 & 1)
        take_into(in, entry.topic, 3);
    if (mask >> 13 & 1)
        epoch_assign(&epochs, take_u8(in), (int64_t)fuzz_number(in, mask, 14, 0));
    if (mask >> 15 & 1) {
        const struct producer_batch batch = {.base_sequence = take_u8(in),
                                             .last_sequence = take_u8(in),
                                             .base_offset = take_u8(in),
                                             .last_offset = take_u8(in)};
        producer_absorb(&producers, take_u8(in), (int16_t)take_u8(in), &batch, 1, 5);
    }
    checkpoint_encode(&entry, out);
    epoch_fini(&epochs);
    producer_state_fini(&producers);
}
