/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/journal_replay.h"

#include "io/mem.h"

#include <stdio.h>

#define JOURNAL_CHUNK (1U << 20)

/* ---- the walk ---- */

static bool journal_header_at(const struct journal_walk *walk, uint64_t at,
                              struct journal_group_header *group)
{
    if (at + FS_BLOCK > walk->size || !journal_group_decode(group, walk->bytes + at))
        return false;
    bool ours = (group->generation == walk->sb.generation && group->nonce == walk->sb.nonce) ||
                walk->mistake_any_generation;
    return ours && group->position == at && group->length <= walk->size - at - JOURNAL_GROUP_HEADER;
}

/* A whole group `seq` at `at`? */
static bool journal_group_at(const struct journal_walk *walk, uint64_t at, uint64_t seq,
                             struct journal_group_header *group)
{
    if (!journal_header_at(walk, at, group) || group->seq != seq)
        return false;
    const uint8_t *body = walk->bytes + at + JOURNAL_GROUP_HEADER;
    return walk->mistake_no_crc || crc32c(0, body, group->length) == group->body_crc;
}

static bool journal_walk_group(const struct journal_walk *walk, uint64_t at,
                               const struct journal_group_header *group, struct log_error *error)
{
    struct bytes_in in = bytes_in_of(walk->bytes + at + JOURNAL_GROUP_HEADER, group->length);
    for (uint32_t i = 0; i < group->count; i++) {
        const uint8_t *start = in.at;
        struct journal_record record;
        uint32_t length = journal_record_decode(&record, &in);
        uint64_t position = (uint64_t)(start - walk->bytes);
        if (length == 0)
            return log_refuse(error, LOG_ERROR_DAMAGED,
                              "%s is damaged at offset %llu: a record does not fit its group; "
                              "restore the file from a copy, or take this node out of service",
                              walk->path, (unsigned long long)position);
        struct bytes_in body = {.at = in.at, .end = start + length};
        in.at = body.end;
        if (!walk->on_record(walk->argument, &record, body, position, error))
            return false;
    }
    return true;
}

/* What else this generation has written, from group `seq` on, at which the walk ended. True: a
 * later group says that this one was durable. */
static bool journal_has_witness(struct journal_walk *walk, uint64_t seq)
{
    bool witness = false;
    for (uint64_t at = JOURNAL_AREA; at + FS_BLOCK <= walk->size; at += FS_BLOCK) {
        struct journal_group_header group;
        if (!journal_header_at(walk, at, &group) || group.seq < seq)
            continue;
        walk->discarded_groups++;
        walk->discarded_bytes += group.length;
        witness = witness || (group.seq > seq && group.acked_seq >= seq);
    }
    return witness;
}

bool journal_walk(struct journal_walk *walk, struct log_error *error)
{
    if (walk->sb.clean)
        return true;
    uint64_t at = walk->sb.released_pos;
    uint64_t seq = walk->sb.released_seq;
    struct journal_group_header group;
    for (;; seq++) {
        uint64_t place = at;
        if (!journal_group_at(walk, place, seq, &group)) {
            place = JOURNAL_AREA;
            if (!journal_group_at(walk, place, seq, &group))
                break;
        }
        bool skip = walk->mistake_skip_group && seq == walk->sb.released_seq + 2;
        if (!skip && !journal_walk_group(walk, place, &group, error))
            return false;
        walk->groups++;
        walk->group_bytes += group.length;
        at = place + round_up((uint64_t)JOURNAL_GROUP_HEADER + group.length, FS_BLOCK);
    }
    walk->end = at;
    if (!walk->mistake_any_generation && journal_has_witness(walk, seq))
        return log_refuse(error, LOG_ERROR_DAMAGED,
                          "%s is damaged: group %llu (near offset %llu) was acknowledged and does "
                          "not match its checksum; restore the directory from a replica or a copy",
                          walk->path, (unsigned long long)seq, (unsigned long long)at);
    return true;
}

bool journal_superblock_find(const uint8_t *bytes, uint64_t size, const char *path,
                             const uint8_t directory[16], struct journal_superblock *sb,
                             struct log_error *error)
{
    bool found = false;
    for (uint64_t at = 0; at < JOURNAL_AREA && at + FS_BLOCK <= size; at += FS_BLOCK) {
        struct bytes_in own;
        const uint8_t *owner = NULL;
        enum format_verdict verdict =
            format_check(bytes + at, JOURNAL_MAGIC, JOURNAL_VERSION, &own, &owner);
        if (verdict == FORMAT_NEWER)
            return log_refuse(error, LOG_ERROR_NEWER,
                              "%s was written by a newer version of Millrace that this one may not "
                              "read; start that version and stop it cleanly first",
                              path);
        if (verdict != FORMAT_OK)
            continue;
        if (memcmp(owner, directory, 16) != 0)
            return log_refuse(error, LOG_ERROR_FOREIGN,
                              "%s belongs to another data directory; restore the right file", path);
        struct journal_superblock candidate;
        journal_superblock_decode(&candidate, &own);
        if (!found || candidate.count > sb->count)
            *sb = candidate;
        found = true;
    }
    if (found && sb->length > size)
        return log_refuse(error, LOG_ERROR_DAMAGED,
                          "%s is cut off: %llu of %llu bytes are there; restore the file from a "
                          "copy, or take this node out of service",
                          path, (unsigned long long)size, (unsigned long long)sb->length);
    if (found && sb->released_pos % FS_BLOCK == 0 && sb->released_pos >= JOURNAL_AREA)
        return true;
    return log_refuse(error, LOG_ERROR_DAMAGED,
                      "%s is damaged at offset 0: neither superblock matches its checksum; restore "
                      "the file from a copy, or take this node out of service",
                      path);
}

/* ---- files ---- */

static void journal_file_init(struct journal_file *jf, struct fs *fs, const char *path)
{
    *jf = (struct journal_file){.fs = fs, .file = -1};
    jf->path = mem_strdup(path);
}

struct journal_reading {
    struct journal_file *jf;
    int64_t results[FS_WORKERS]; /* of the failure, if there is one */
};

static bool journal_read_chunk(void *argument, uint32_t worker, uint32_t index)
{
    struct journal_reading *reading = argument;
    struct journal_file *jf = reading->jf;
    uint64_t at = JOURNAL_AREA + (uint64_t)index * JOURNAL_CHUNK;
    uint64_t bytes = min_u64(JOURNAL_CHUNK, jf->size - at);
    int64_t result = fs_read(jf->fs, jf->file, jf->bytes + at, bytes, at);
    reading->results[worker] = min_i64(result, 0);
    return result >= 0;
}

static int64_t journal_read_area(struct journal_file *jf)
{
    struct journal_reading reading = {.jf = jf};
    uint64_t area = jf->size - min_u64(JOURNAL_AREA, jf->size);
    (void)fs_each(jf->fs, (uint32_t)(round_up(area, JOURNAL_CHUNK) / JOURNAL_CHUNK),
                  journal_read_chunk, &reading);
    int64_t result = 0;
    for (uint32_t i = 0; i < FS_WORKERS; i++)
        result = min_i64(result, reading.results[i]);
    return result;
}

bool journal_read(struct journal_file *jf, struct fs *fs, const char *path,
                  const uint8_t directory[16], struct log_error *error)
{
    journal_file_init(jf, fs, path);
    int64_t result = fs_open(fs, path, FS_WRITE | FS_DIRECT);
    jf->file = (int)result;
    if (result >= 0)
        result = fs_size(fs, jf->file);
    if (result < 0) {
        (void)log_refuse_io(error, "open", path, result);
        journal_file_close(jf);
        return false;
    }
    jf->size = round_down((uint64_t)result, FS_BLOCK);
    jf->bytes = mem_pages(max_u64(jf->size, FS_BLOCK));
    result = fs_read(fs, jf->file, jf->bytes, min_u64(JOURNAL_AREA, jf->size), 0);
    bool good = result < 0
                    ? log_refuse_io(error, "read", path, result)
                    : journal_superblock_find(jf->bytes, jf->size, path, directory, &jf->sb, error);
    if (good && !jf->sb.clean)
        result = journal_read_area(jf);
    /* A group that a killed process was writing is read here and may be in the drive's cache only.
     * Files are removed and cut because of what it says, so a power loss may not take it back. */
    if (good && result >= 0)
        result = fs_sync(fs, jf->file);
    if (good && result < 0)
        good = log_refuse_io(error, "read", path, result);
    if (!good)
        journal_file_close(jf);
    return good;
}

void journal_forget(struct journal_file *jf)
{
    if (jf->bytes != NULL)
        mem_pages_free(jf->bytes, max_u64(jf->size, FS_BLOCK));
    jf->bytes = NULL;
}

void journal_file_close(struct journal_file *jf)
{
    journal_forget(jf);
    if (jf->file >= 0)
        fs_close(jf->fs, jf->file);
    jf->file = -1;
    mem_free(jf->path);
    jf->path = NULL;
}

static int64_t journal_put_superblock(struct journal_file *jf, const uint8_t directory[16])
{
    jf->sb.count++;
    uint8_t *block = mem_pages(FS_BLOCK);
    journal_superblock_encode(&jf->sb, directory, block);
    int64_t result = fs_write(jf->fs, jf->file, block, FS_BLOCK, (jf->sb.count & 1) * FS_BLOCK);
    if (result >= 0)
        result = fs_sync(jf->fs, jf->file);
    mem_pages_free(block, FS_BLOCK);
    return result;
}

static int64_t journal_fill(struct journal_file *jf, uint64_t length)
{
    uint8_t *zeros = mem_pages(JOURNAL_CHUNK);
    int64_t result = 0;
    for (uint64_t at = 0; result >= 0 && at < length;) {
        uint64_t bytes = min_u64(JOURNAL_CHUNK, length - at);
        result = fs_write(jf->fs, jf->file, zeros, bytes, at);
        at += bytes;
    }
    mem_pages_free(zeros, JOURNAL_CHUNK);
    return result;
}

bool journal_create(struct journal_file *jf, struct fs *fs, const char *path,
                    const uint8_t directory[16], uint64_t length, uint64_t nonce,
                    struct log_error *error)
{
    journal_file_init(jf, fs, path);
    size_t size = strlen(path) + sizeof(".new");
    char *aside = mem_alloc(size);
    (void)snprintf(aside, size, "%s.new", path);
    int64_t result = fs_open(fs, aside, FS_WRITE | FS_CREATE | FS_DIRECT);
    jf->file = (int)result;
    jf->size = length;
    jf->sb = (struct journal_superblock){.nonce = nonce,
                                         .generation = 1,
                                         .released_seq = 1,
                                         .released_pos = JOURNAL_AREA,
                                         .length = length};
    if (result >= 0)
        result = journal_fill(jf, length);
    if (result >= 0)
        result = journal_put_superblock(jf, directory);
    /* The name is made durable by the caller, with all others of the directory. */
    if (result >= 0)
        result = fs_rename(fs, aside, path);
    mem_free(aside);
    if (result >= 0)
        return true;
    (void)log_refuse_io(error, "create", path, result);
    journal_file_close(jf);
    return false;
}

bool journal_renew(struct journal_file *jf, const uint8_t directory[16], uint64_t nonce,
                   uint64_t checkpoint_seq, struct log_error *error)
{
    jf->sb.nonce = nonce;
    jf->sb.generation++;
    jf->sb.released_seq = 1;
    jf->sb.released_pos = JOURNAL_AREA;
    jf->sb.length = jf->size;
    jf->sb.checkpoint_seq = checkpoint_seq;
    jf->sb.clean = false;
    int64_t result = journal_put_superblock(jf, directory);
    if (result >= 0)
        result = journal_put_superblock(jf, directory);
    return result >= 0 || log_refuse_io(error, "write", jf->path, result);
}
