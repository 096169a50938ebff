/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as journals and checkpoints, and a start on top of them. The input is a recipe
 * (tests/fuzz/fuzz_disk.h) of up to two journals with superblocks, groups and records, of entries
 * in a checkpoint file, of the files that extents and compactions speak of, and of bits that are
 * flipped afterwards.
 *
 * Beyond not crashing: the walk hands out no record of a group whose checksum lies, judged by a
 * checksum of our own; it finds all groups of a journal that nobody damaged; a start that succeeds
 * leaves a directory on which the next one succeeds too, with the same logs; a start that is
 * refused says why.
 */
#include "core/log/log_directory.h"
#include "io/mem.h"
#include "tests/fuzz/fuzz_disk.h"

#include <stdlib.h>

#define BLOCKS   18U
#define SIZE     (BLOCKS * FS_BLOCK)
#define BODY_MAX 20000U
#define FILES    6U
#define FILE_MAX (48U << 10)
#define NONCE    0x0123456789abcdefULL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of a log's directory: a segment, or one that compaction made and has not put in its place. */
struct recipe_file {
    uint32_t log;
    int64_t base;
    bool cleaned;
    uint32_t tag; /* of a cleaned one */
    uint32_t size;
    uint8_t bytes[FILE_MAX];
};

struct recipe {
    struct bytes_in in;
    struct recipe_journal {
        uint8_t bytes[SIZE] __attribute__((aligned(FS_BLOCK)));
        uint32_t size;
        uint64_t seq;
        uint64_t place;
        uint32_t groups;
        bool touched; /* something is not as a writer would have left it */
    } journals[2];
    struct recipe_journal *now;
    uint32_t used; /* journals */
    struct fuzz_log logs[FUZZ_LOGS];
    uint8_t body[BODY_MAX];
    struct bytes_out group; /* records of the open group */
    uint32_t count;
    bool odd;              /* a record in it that no writer writes */
    uint8_t entries[8192]; /* of the checkpoint file */
    struct bytes_out checkpoint;
    struct recipe_file files[FILES];
    uint32_t file_count;
    uint8_t batch[FILE_MAX];
};

/* ---- writing ---- */

/* That file, empty when it is new; NULL when there are enough. */
static struct recipe_file *file_of(struct recipe *re, const struct fuzz_log *log, int64_t base,
                                   bool cleaned, uint32_t tag)
{
    uint32_t number = (uint32_t)(log - re->logs);
    for (uint32_t i = 0; i < re->file_count; i++) {
        struct recipe_file *file = &re->files[i];
        if (file->log == number && file->base == base && file->cleaned == cleaned &&
            file->tag == tag)
            return file;
    }
    if (re->file_count == FILES || base < 0)
        return NULL;
    struct recipe_file *file = &re->files[re->file_count++];
    memset(file, 0, sizeof(*file));
    file->log = number;
    file->base = base;
    file->cleaned = cleaned;
    file->tag = tag;
    return file;
}

static const uint8_t *directory_uuid(void)
{
    static const uint8_t uuid[17] = "fuzzed directory";
    return uuid;
}

static void put_superblock(struct recipe *re, uint8_t mask, uint32_t block)
{
    struct bytes_in *in = &re->in;
    const struct journal_superblock sb = {.nonce = fuzz_number(in, mask, 0, NONCE),
                                          .generation = fuzz_number(in, mask, 1, 3),
                                          .count = fuzz_number(in, mask, 2, 7 + block),
                                          .released_seq = fuzz_number(in, mask, 3, 1),
                                          .released_pos = fuzz_number(in, mask, 4, JOURNAL_AREA),
                                          .length = fuzz_number(in, mask, 5, SIZE),
                                          .checkpoint_seq = fuzz_number(in, mask, 6, 0),
                                          .clean = (mask >> 7 & 1) != 0};
    journal_superblock_encode(&sb, directory_uuid(), re->now->bytes + block * FS_BLOCK);
    re->now->touched = re->now->touched || mask != 0;
}

static void journal_begin(struct recipe *re, uint32_t number)
{
    re->now = &re->journals[number];
    memset(re->now, 0, sizeof(*re->now));
    re->now->size = SIZE;
    re->now->seq = 1;
    re->now->place = JOURNAL_AREA;
    re->used = number + 1;
    put_superblock(re, 0, 0);
    put_superblock(re, 0, 1);
}

static void end_group(struct recipe *re, uint8_t flags)
{
    struct bytes_in *in = &re->in;
    struct recipe_journal *jn = re->now;
    uint32_t length = (uint32_t)(re->group.at - re->body);
    uint32_t mask = flags & 1 ? take_u8(in) : 0;
    const struct journal_group_header header = {
        .body_crc = crc32c(0, re->body, length) + (flags >> 1 & 1U),
        .generation = fuzz_number(in, mask, 0, 3),
        .nonce = fuzz_number(in, mask, 1, NONCE),
        .seq = fuzz_number(in, mask, 2, jn->seq),
        .position = fuzz_number(in, mask, 3, jn->place),
        .acked_seq = fuzz_number(in, mask, 4, jn->seq - 1),
        .length = (uint32_t)fuzz_number(in, mask, 5, length),
        .count = (uint32_t)fuzz_number(in, mask, 6, re->count)};
    uint64_t end = round_up(jn->place + JOURNAL_GROUP_HEADER + length, FS_BLOCK);
    if (end > SIZE) {
        jn->place = JOURNAL_AREA;
        jn->touched = true; /* over groups that are not released */
        end = round_up(jn->place + JOURNAL_GROUP_HEADER + length, FS_BLOCK);
    }
    jn->touched = jn->touched || re->odd || mask != 0 || (flags & 3) != 0;
    journal_group_encode(&header, jn->bytes + jn->place);
    memcpy(jn->bytes + jn->place + JOURNAL_GROUP_HEADER, re->body, length);
    jn->seq++;
    jn->groups++;
    jn->place = end;
    re->group = bytes_out_of(re->body, BODY_MAX);
    re->count = 0;
    re->odd = false;
}

/* The record's header, with room for what follows; false when the group is full. */
static bool put_head(struct recipe *re, struct fuzz_log *log, uint16_t kind, uint32_t length,
                     uint8_t mask)
{
    struct bytes_in *in = &re->in;
    if (length > (size_t)(re->group.end - re->group.at))
        return false;
    struct journal_record record = {.kind = (uint16_t)fuzz_number(in, mask, 0, kind),
                                    .version = (uint16_t)fuzz_number(in, mask, 1, 1),
                                    .id = fuzz_id((uint32_t)(log - re->logs)),
                                    .incarnation = FUZZ_INCARNATION};
    log->change = fuzz_number(in, mask, 2, log->change + 1);
    record.change = log->change;
    journal_record_encode(&record, (uint32_t)fuzz_number(in, mask, 3, length), &re->group);
    re->odd = re->odd || (mask & 8) != 0;
    re->count++;
    return true;
}

/* Of a batch of `size` bytes at the log's end, or wherever the mask moves it. */
static struct journal_append append_of(struct recipe *re, struct fuzz_log *log, uint32_t mask,
                                       uint32_t size)
{
    struct bytes_in *in = &re->in;
    if (mask >> 15 & 1) { /* a new segment */
        log->segment_base = log->end_offset;
        log->position = 0;
    }
    return (struct journal_append){
        .segment_base = (int64_t)fuzz_number(in, mask, 0, (uint64_t)log->segment_base),
        .position = (uint32_t)fuzz_number(in, mask, 1, log->position),
        .bytes = (uint32_t)fuzz_number(in, mask, 2, size),
        .last = (mask >> 3 & 1) == 0,
        .batch_position = (uint32_t)fuzz_number(in, mask, 4, log->position),
        .base_offset = (int64_t)fuzz_number(in, mask, 5, (uint64_t)log->end_offset),
        .last_offset = (int64_t)fuzz_number(in, mask, 6, (uint64_t)log->end_offset),
        .producer_id = (int64_t)fuzz_number(in, mask, 7, UINT64_MAX),
        .base_sequence = (int32_t)fuzz_number(in, mask, 8, 0),
        .last_sequence = (int32_t)fuzz_number(in, mask, 9, 0),
        .leader_epoch = (int32_t)fuzz_number(in, mask, 10, 0),
        .producer_epoch = (int16_t)fuzz_number(in, mask, 11, 0),
    };
}

/* Its bytes; and the log ends behind it. */
static void append_batch(struct recipe *re, struct fuzz_log *log,
                         const struct journal_append *append, uint32_t mask, uint8_t *to,
                         uint32_t size)
{
    test_batch(to, size, log->change, 1, -1, 0, -1);
    batch_put_place(to, append->base_offset, append->leader_epoch);
    if (mask >> 12 & 1)
        to[take_u8(&re->in) % size] ^= take_u8(&re->in);
    if (append->last) {
        log->position = append->position + append->bytes;
        log->end_offset = (int64_t)((uint64_t)append->last_offset + 1);
    }
}

static void put_append(struct recipe *re, struct fuzz_log *log)
{
    uint8_t head = take_u8(&re->in);
    uint32_t mask = take_u16(&re->in);
    uint32_t size = BATCH_HEADER_SIZE + take_u8(&re->in) * 16U;
    if (!put_head(re, log, JOURNAL_APPEND, JOURNAL_APPEND_HEADER + size, head & 15))
        return;
    struct journal_append append = append_of(re, log, mask, size);
    journal_append_encode(&append, &re->group);
    append_batch(re, log, &append, mask, re->group.at, size);
    re->group.at += size;
}

/* The whole blocks of the batch in the segment: as they are, torn, or not at all. */
static void put_inner(struct recipe *re, const struct fuzz_log *log,
                      const struct journal_extent *extent, uint32_t start, uint32_t fate)
{
    uint64_t end = (uint64_t)extent->inner_position + extent->inner_bytes;
    struct recipe_file *file = file_of(re, log, extent->append.segment_base, false, 0);
    if (file == NULL || end > FILE_MAX || extent->inner_position < start || (fate & 1) != 0)
        return;
    const uint8_t *from = re->batch + (extent->inner_position - start);
    memcpy(file->bytes + extent->inner_position, from, extent->inner_bytes);
    if ((fate & 2) != 0)
        file->bytes[extent->inner_position + take_u16(&re->in) % extent->inner_bytes] ^= 1;
    file->size = (uint32_t)max_u64(file->size, end);
}

/* A large batch: its whole blocks in the segment, the rest here. */
static void put_extent(struct recipe *re, struct fuzz_log *log)
{
    struct bytes_in *in = &re->in;
    uint8_t head = take_u8(in);
    uint32_t mask = take_u16(in);
    uint32_t size = 2 * FS_BLOCK + take_u8(in) * 32U;
    uint32_t start = mask >> 15 & 1 ? 0 : log->position;
    if (start > FILE_MAX - size)
        return;
    struct journal_extent extent = {.inner_position = (uint32_t)round_up(start, FS_BLOCK)};
    uint32_t before = extent.inner_position - start;
    extent.inner_bytes = (uint32_t)round_down(start + size, FS_BLOCK) - extent.inner_position;
    uint32_t behind = size - before - extent.inner_bytes;
    if (!put_head(re, log, JOURNAL_EXTENT, JOURNAL_EXTENT_HEADER + before + behind, head & 15))
        return;
    extent.append = append_of(re, log, mask, size);
    append_batch(re, log, &extent.append, mask, re->batch, size);
    extent.inner_crc = crc32c(0, re->batch + before, extent.inner_bytes) + (mask >> 14 & 1);
    if (head >> 6 & 1)
        extent.inner_bytes = (uint32_t)fuzz_number(in, 1, 0, extent.inner_bytes);
    else
        put_inner(re, log, &extent, start, head >> 4);
    journal_extent_encode(&extent, &re->group);
    put_bytes(&re->group, re->batch, before);
    put_bytes(&re->group, re->batch + size - behind, behind);
}

/* Compaction: a new segment for some that go. Its file is there, has another size, or is gone. */
static void put_swap(struct recipe *re, struct fuzz_log *log)
{
    struct bytes_in *in = &re->in;
    uint8_t mask = take_u8(in);
    struct swap_record swap = {
        .tag = take_u8(in),
        .new_size = take_u8(in) * 16U,
        .clean_upto = (int64_t)fuzz_number(in, mask, 4, (uint64_t)log->segment_base),
        .end_offset = (int64_t)fuzz_number(in, mask, 5, (uint64_t)log->segment_base),
        .count = take_u8(in) & 3};
    for (uint32_t i = 1; i < swap.count; i++)
        swap.bases[i] = swap.bases[i - 1] + take_u8(in);
    uint8_t bytes[SWAP_ENCODED_BYTES];
    struct bytes_out out = bytes_out_of(bytes, sizeof(bytes));
    swap_record_encode(&swap, &out);
    uint32_t length = (uint32_t)(out.at - bytes);
    if (!put_head(re, log, JOURNAL_SWAP, JOURNAL_RECORD_HEADER + length, mask & 15))
        return;
    put_bytes(&re->group, bytes, length);
    bool placed = (mask >> 7 & 1) != 0; /* under its last name already */
    struct recipe_file *file = file_of(re, log, swap.bases[0], !placed, placed ? 0 : swap.tag);
    if (swap.new_size > 0 && file != NULL)
        file->size = (uint32_t)fuzz_number(in, mask, 6, swap.new_size) % FILE_MAX;
}

static void put_change(struct recipe *re, struct fuzz_log *log, uint16_t kind)
{
    struct bytes_in *in = &re->in;
    uint8_t mask = take_u8(in);
    uint32_t length = JOURNAL_RECORD_HEADER + (kind == JOURNAL_TRUNCATE    ? 20
                                               : kind == JOURNAL_LOG_START ? 16
                                               : kind == JOURNAL_RESET     ? 8
                                                                           : 0);
    if (!put_head(re, log, kind, length, mask & 15))
        return;
    if (kind == JOURNAL_LOG_START) {
        put_u64(&re->group, fuzz_number(in, mask, 4, (uint64_t)log->end_offset));
        put_u64(&re->group, fuzz_number(in, mask, 5, (uint64_t)log->segment_base));
    }
    if (kind == JOURNAL_RESET) {
        log->end_offset = (int64_t)fuzz_number(in, mask, 4, (uint64_t)log->end_offset);
        log->segment_base = log->end_offset;
        log->position = 0;
        put_i64(&re->group, log->end_offset);
    }
    if (kind != JOURNAL_TRUNCATE)
        return;
    log->end_offset = (int64_t)fuzz_number(in, mask, 4, (uint64_t)log->end_offset);
    log->position = (uint32_t)fuzz_number(in, mask, 5, log->position);
    put_i64(&re->group, log->end_offset);
    put_i64(&re->group, (int64_t)fuzz_number(in, mask, 6, (uint64_t)log->segment_base));
    put_u32(&re->group, log->position);
}

static void put_birth(struct recipe *re, struct fuzz_log *log)
{
    uint8_t mask = take_u8(&re->in);
    uint8_t bytes[1024];
    struct bytes_out out = bytes_out_of(bytes, sizeof(bytes));
    struct fuzz_log born = *log;
    born.change++;
    fuzz_entry(&re->in, &born, (uint32_t)(log - re->logs), &out);
    uint32_t length = (uint32_t)(out.at - bytes);
    if (put_head(re, log, JOURNAL_CHECKPOINT, JOURNAL_RECORD_HEADER + length, mask & 15))
        put_bytes(&re->group, bytes, length);
}

static void put_raw(struct recipe *re)
{
    uint8_t len = take_u8(&re->in);
    const uint8_t *bytes = take_bytes(&re->in, len);
    if (bytes != NULL && len <= re->group.end - re->group.at) {
        put_bytes(&re->group, bytes, len);
        re->count++;
        re->odd = true;
    }
}

static void put_entry(struct recipe *re, uint32_t number, bool raw)
{
    uint8_t *length = re->checkpoint.at;
    if (re->checkpoint.end - length < 1024)
        return;
    re->checkpoint.at += 4;
    if (raw) {
        uint8_t len = take_u8(&re->in);
        const uint8_t *bytes = take_bytes(&re->in, len);
        put_bytes(&re->checkpoint, bytes, bytes != NULL ? len : 0);
    } else {
        fuzz_entry(&re->in, &re->logs[number], number, &re->checkpoint);
    }
    struct bytes_out out = bytes_out_of(length, 4);
    put_u32(&out, (uint32_t)(re->checkpoint.at - length - 4));
}

static void damage(struct recipe *re)
{
    uint32_t at = take_u16(&re->in);
    /* Most bytes of a group are data: half of the flips hit headers. */
    at = at & 1 ? at / 2 % BLOCKS * FS_BLOCK + at / 64 % 128 : (at * 2U) % SIZE;
    re->now->bytes[at] ^= take_u8(&re->in);
    re->now->touched = true;
}

static void cook_one(struct recipe *re)
{
    uint8_t op = take_u8(&re->in);
    struct fuzz_log *log = &re->logs[op >> 4 & 3];
    uint8_t flags = op >> 6;
    switch (op & 15) {
    case 0:
        if (flags == 3)
            put_extent(re, log);
        else
            put_append(re, log);
        break;
    case 1:
        if (flags == 3)
            put_swap(re, log);
        else
            put_append(re, log);
        break;
    case 2:
        put_change(re, log, JOURNAL_TRUNCATE);
        break;
    case 3:
        put_change(re, log, JOURNAL_LOG_START);
        break;
    case 4:
        put_change(re, log, flags == 3 ? JOURNAL_RESET : JOURNAL_DELETE);
        break;
    case 5:
        put_birth(re, log);
        break;
    case 6:
        put_raw(re);
        break;
    case 7:
    case 8:
        end_group(re, flags);
        break;
    case 9:
        put_entry(re, op >> 4 & 3, false);
        break;
    case 10:
        put_entry(re, 0, true);
        break;
    case 11:
        damage(re);
        break;
    case 12:
        put_superblock(re, take_u8(&re->in), flags & 1);
        break;
    case 13:
        re->now->place = JOURNAL_AREA + take_u8(&re->in) % (BLOCKS - 2) * FS_BLOCK;
        re->now->touched = true;
        break;
    case 14:
        re->now->size = take_u16(&re->in) % SIZE;
        re->now->touched = true;
        break;
    default:
        if (re->used == 1)
            journal_begin(re, 1);
        break;
    }
}

/* ---- the walk alone ---- */

struct walker {
    const struct recipe_journal *jn;
    const uint8_t *bytes;
    uint64_t group; /* the one that was judged last */
};

/* The group that the record stands in, found and judged without the code under test. */
static bool on_record(void *argument, const struct journal_record *record, struct bytes_in body,
                      uint64_t position, struct log_error *error)
{
    struct walker *wk = argument;
    (void)record;
    (void)error;
    must(body.at <= body.end && body.end <= wk->bytes + wk->jn->size);
    for (uint64_t at = round_down(position, FS_BLOCK); at >= JOURNAL_AREA; at -= FS_BLOCK) {
        const uint8_t *head = wk->bytes + at;
        struct bytes_in in = bytes_in_of(head, JOURNAL_GROUP_HEADER);
        if (take_u64(&in) != JOURNAL_GROUP_MAGIC || take_u32(&in) != fuzz_crc(head + 12, 52))
            continue;
        uint32_t body_crc = take_u32(&in);
        in.at = head + 56;
        uint32_t length = take_u32(&in);
        if (position >= at + JOURNAL_GROUP_HEADER + length)
            continue;
        if (wk->group != at)
            must(fuzz_crc(head + JOURNAL_GROUP_HEADER, length) == body_crc);
        wk->group = at;
        return true;
    }
    must(false); /* a record of no group */
    return false;
}

static bool walk_one(const struct recipe_journal *jn)
{
    /* Of its exact size, so that a read past the end is seen. */
    uint64_t size = round_down(jn->size, FS_BLOCK);
    uint8_t *bytes = aligned_alloc(FS_BLOCK, size > 0 ? size : FS_BLOCK);
    memcpy(bytes, jn->bytes, size);
    struct walker wk = {.jn = jn, .bytes = bytes};
    struct journal_walk walk = {
        .bytes = bytes, .size = size, .path = "journal", .on_record = on_record, .argument = &wk};
    struct log_error error = {0};
    bool good =
        journal_superblock_find(bytes, size, "journal", directory_uuid(), &walk.sb, &error) &&
        journal_walk(&walk, &error);
    must(good || (error.kind != LOG_ERROR_NONE && error.text[0] != '\0'));
    must(jn->touched || (good && walk.groups == jn->groups && walk.discarded_groups == 0));
    free(bytes);
    return good;
}

/* ---- a start ---- */

struct outcome {
    uint32_t count;
    struct {
        int64_t start_offset;
        int64_t end_offset;
        uint64_t size_bytes;
    } logs[64];
};

static bool start(struct log_dir *dir, struct outcome *outcome)
{
    struct log_error error;
    if (!log_dir_recover(dir, &error)) {
        must(error.kind != LOG_ERROR_NONE && error.kind != LOG_ERROR_IO && error.text[0] != '\0');
        return false;
    }
    outcome->count = dir->recovered_count;
    for (uint32_t i = 0; i < dir->recovered_count && i < array_count(outcome->logs); i++) {
        const struct recovered_log *log = &dir->recovered[i];
        must(log->start_offset >= 0 && log->start_offset <= log->end_offset);
        outcome->logs[i].start_offset = log->start_offset;
        outcome->logs[i].end_offset = log->end_offset;
        outcome->logs[i].size_bytes = log->size_bytes;
    }
    return true;
}

static void write_file(const struct recipe_file *file, struct log_dir *dir)
{
    char directory[64];
    char path[128];
    uint8_t *identity = mem_pages(FS_BLOCK);
    struct log_id id = fuzz_id(file->log);
    log_identity_encode(identity, dir->uuid, &id, FUZZ_INCARNATION);
    (void)snprintf(directory, sizeof(directory), FUZZ_DIRECTORY "/t-%u", file->log);
    (void)log_directory_claim(dir->fs, directory, identity);
    mem_pages_free(identity, FS_BLOCK);
    if (file->cleaned)
        (void)snprintf(path, sizeof(path), "%s/%020lld.%08x.cleaned", directory,
                       (long long)file->base, file->tag);
    else
        (void)snprintf(path, sizeof(path), "%s/%020lld.log", directory, (long long)file->base);
    fuzz_file(dir->fs, path, file->bytes, file->size);
}

static void recover(const struct recipe *re)
{
    static const char *const names[] = {FUZZ_DIRECTORY "/journal-0", FUZZ_DIRECTORY "/journal-1"};
    struct fuzz_disk disk;
    struct log_error error;
    fuzz_disk_open(&disk);
    struct log_dir_options options = fuzz_options(disk.fs, 1);
    struct log_dir *dir = log_dir_open(&options, &error);
    must(dir != NULL);
    for (uint32_t i = 0; i < re->used; i++)
        fuzz_file(disk.fs, names[i], re->journals[i].bytes, re->journals[i].size);
    for (uint32_t i = 0; i < re->file_count; i++)
        write_file(&re->files[i], dir);
    const struct record_payload payload = {.data = re->entries,
                                           .length = (uint32_t)(re->checkpoint.at - re->entries)};
    struct record_file rf;
    must(record_file_create(&rf, disk.fs, FUZZ_DIRECTORY "/checkpoint-0", CHECKPOINT_MAGIC,
                            dir->uuid, 1, &payload, payload.length > 0, &error));
    record_file_close(&rf);
    struct outcome first = {0};
    struct outcome second = {0};
    bool good = start(dir, &first);
    log_dir_close(dir);
    if (good) {
        options.shards = 2;
        dir = log_dir_open(&options, &error);
        must(dir != NULL && start(dir, &second));
        must(memcmp(&first, &second, sizeof(first)) == 0);
        log_dir_close(dir);
    }
    world_free(disk.world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct recipe re;
    re.in = bytes_in_of(data, size);
    re.group = bytes_out_of(re.body, BODY_MAX);
    re.count = 0;
    re.odd = false;
    re.checkpoint = bytes_out_of(re.entries, sizeof(re.entries));
    memset(re.logs, 0, sizeof(re.logs));
    re.file_count = 0;
    journal_begin(&re, 0);
    while (re.in.at < re.in.end)
        cook_one(&re);
    bool good = true;
    for (uint32_t i = 0; i < re.used; i++)
        good = walk_one(&re.journals[i]) && good;
    if (good)
        recover(&re);
    return 0;
}
