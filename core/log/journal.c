/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/journal.h"

#include "io/mem.h"

/* A record waits for the group in front of it, so groups are no longer than the disk takes in a
 * millisecond; many small commits are as good to it as few large ones from 128 KiB on. */
static void journal_set_group_max(struct journal *journal)
{
    uint64_t area = journal->length - JOURNAL_AREA;
    journal->group_cap = (uint32_t)min_u64(
        JOURNAL_GROUP_MAX, max_u64(round_down(area / 16, FS_BLOCK), 2 * (uint64_t)FS_BLOCK));
    must(area >= 6ULL * journal->group_cap);
    uint64_t pace = max_u64(round_down(journal->bytes_per_ms, FS_BLOCK), JOURNAL_GROUP_PACED);
    journal->group_max = journal->bytes_per_ms == 0 ? journal->group_cap
                                                    : (uint32_t)min_u64(journal->group_cap, pace);
}

/* How fast was the disk with this one? The time behind the group before it is not its own. */
static void journal_measure(struct journal *journal, const struct journal_group *group)
{
    uint64_t now = io_now_ns(journal->io);
    uint64_t took = now - max_u64(group->submitted_ns, journal->done_ns);
    journal->done_ns = now;
    durations_add(&journal->commits, now - group->submitted_ns);
    if (group->bytes < JOURNAL_GROUP_PACED / 2 || took == 0)
        return;
    uint64_t rate = group->bytes * 1000000ULL / took;
    uint64_t old = journal->bytes_per_ms;
    journal->bytes_per_ms = max_u64(old == 0 ? rate : old - old / 8 + rate / 8, 1);
    journal_set_group_max(journal);
}

void journal_start(struct journal *journal, struct io *io, struct fs *fs, const char *path,
                   int file, const uint8_t directory[16], const struct journal_superblock *sb,
                   uint64_t length_max)
{
    *journal = (struct journal){.io = io, .fs = fs, .file = file, .sb = *sb};
    journal->path = mem_strdup(path);
    memcpy(journal->directory, directory, 16);

    journal->length_max = length_max;
    journal->next_seq = sb->released_seq;
    journal->acked_seq = sb->released_seq - 1;
    journal->written_seq = sb->released_seq - 1;
    journal->synced_seq = sb->released_seq - 1;
    journal->head = sb->released_pos;
    journal->tail = sb->released_pos;
    journal->released_seq = sb->released_seq;
    count_set(&journal->length, sb->length);
    journal_set_group_max(journal);
    journal->submitted_seq = sb->released_seq - 1;
    journal->sb_next = *sb;
    journal->sb_block = mem_pages(FS_BLOCK);
    TAILQ_INIT(&journal->free);
    TAILQ_INIT(&journal->full);
    TAILQ_INIT(&journal->flights);
    journal->buffers = mem_pages(JOURNAL_BUFFERS * (size_t)JOURNAL_GROUP_MAX);
    for (unsigned i = 0; i < JOURNAL_BUFFERS; i++) {
        struct journal_group *group = &journal->groups[i];
        group->journal = journal;
        group->buffer = journal->buffers + (size_t)i * JOURNAL_GROUP_MAX;
        TAILQ_INSERT_TAIL(&journal->free, group, link);
    }
}

void journal_stop(struct journal *journal)
{
    must(journal->in_flight == 0 && !journal->sb_busy && !journal->sync_busy && !journal->growing);
    mem_pages_free(journal->buffers, JOURNAL_BUFFERS * (size_t)JOURNAL_GROUP_MAX);
    mem_pages_free(journal->sb_block, FS_BLOCK);
    mem_free(journal->path);
}

/* ---- collecting ---- */

static void journal_close_group(struct journal *journal)
{
    struct journal_group *group = journal->open;
    journal->open = NULL;
    group->state = GROUP_FULL;
    TAILQ_INSERT_TAIL(&journal->full, group, link);
}

uint8_t *journal_reserve(struct journal *journal, uint32_t need, uint32_t *room, uint32_t *crc)
{
    must(need <= journal->group_max - JOURNAL_GROUP_HEADER);
    if (journal->open != NULL && journal->open->max - journal->open->used < need) {
        journal_close_group(journal);
    }
    if (journal->open == NULL) {
        journal_flush(journal);
        struct journal_group *group = TAILQ_FIRST(&journal->free);
        if (group == NULL || journal->failed || !TAILQ_EMPTY(&journal->full))
            return NULL;
        TAILQ_REMOVE(&journal->free, group, link);
        group->state = GROUP_OPEN;
        group->used = JOURNAL_GROUP_HEADER;
        group->max = journal->group_max;
        group->count = 0;
        group->crc = 0;
        group->durable = false;
        group->seq = journal->next_seq++;
        journal->open = group;
    }
    *room = journal->open->max - journal->open->used;
    *crc = journal->open->crc;
    return journal->open->buffer + journal->open->used;
}

uint64_t journal_written(struct journal *journal, uint32_t bytes, uint32_t records, uint32_t crc,
                         bool durable)
{
    struct journal_group *group = journal->open;
    must(bytes <= group->max - group->used);
    group->used += bytes;
    group->count += records;
    group->crc = crc;
    group->durable = group->durable || durable;
    return group->seq;
}

/* ---- space ---- */

/* Where a group of `bytes` may go; 0: nowhere now. */
static uint64_t journal_place(const struct journal *journal, uint64_t bytes)
{
    if (journal->used == 0 || journal->head > journal->tail) {
        if (journal->head + bytes <= journal->length)
            return journal->head;
        uint64_t limit = journal->used == 0 ? journal->length : journal->tail;
        return JOURNAL_AREA + bytes <= limit ? JOURNAL_AREA : 0;
    }
    return journal->head + bytes <= journal->tail ? journal->head : 0;
}

/* A checkpoint frees space only when the group it marked is durable, and at that moment up to two
 * groups (one full, one collecting) may not have left yet. So the space of two groups, and of what
 * a wrap wastes, is kept for groups up to the mark: else the journal could fill up and wait for
 * itself. */
static bool journal_may_take(const struct journal *journal, const struct journal_group *group,
                             uint64_t position, uint64_t bytes)
{
    if (position == 0 || group->seq <= journal->mark_seq)
        return position != 0;
    uint64_t skipped = position != journal->head ? journal->length - journal->head : 0;
    uint64_t area = journal->length - JOURNAL_AREA;
    return journal->used + skipped + bytes + 3ULL * journal->group_cap <= area;
}

static void journal_take(struct journal *journal, uint64_t position, uint64_t bytes)
{
    if (position != journal->head)
        count_up(&journal->used, journal->length - journal->head);
    journal->head = position + bytes;
    count_up(&journal->used, bytes);
}

/* ---- writing ---- */

static void journal_acknowledge(struct journal *journal, uint64_t seq)
{
    if (seq <= journal->acked_seq)
        return;
    journal->acked_seq = seq;
    journal->on_commit(journal, seq);
}

/* ---- plain groups, and the flush that makes them durable ---- */

static void journal_on_sync(struct io_op *op);

static void journal_sync(struct journal *journal)
{
    if (journal->sync_busy || journal->failed || journal->sync_want <= journal->synced_seq ||
        journal->written_seq < journal->sync_want)
        return;
    journal->sync_busy = true;
    journal->sync_seq = journal->written_seq;
    journal->plain_bytes = 0;
    count_up(&journal->count_syncs, 1);
    journal->sync_op.done = journal_on_sync;
    io_sync(journal->io, &journal->sync_op, journal->file);
}

/* Durable without a gap: up to the last flush, or (no plain one is behind that) all. */
static void journal_settle(struct journal *journal)
{
    bool all = journal->plain_written <= journal->synced_seq ||
               io_mutation(journal->io, "journal.plain_counts_as_durable");
    journal_acknowledge(journal, all ? journal->written_seq : journal->synced_seq);
    journal_sync(journal);
}

static void journal_on_sync(struct io_op *op)
{
    struct journal *journal = container_of(op, struct journal, sync_op);
    journal->sync_busy = false;
    if (op->res < 0 && !journal->failed) {
        journal->failed = true;
        journal->on_failure(journal, "flush", op->res);
    }
    if (!journal->failed) {
        journal->synced_seq = journal->sync_seq;
        journal_settle(journal);
    }
    journal->on_release(journal);
}

/* Plain ones that were given to the disk are to be flushed. */
static void journal_want_plain(struct journal *journal)
{
    journal->sync_want = journal->plain_seq;
}

void journal_want(struct journal *journal)
{
    journal->want_seq = journal->next_seq - 1;
    journal_want_plain(journal);
    journal_sync(journal);
}

static uint64_t journal_plain_max(const struct journal *journal)
{
    return min_u64(JOURNAL_PLAIN_MAX, (journal->length - JOURNAL_AREA) / 8);
}

/* How is this one to be written? */
static bool journal_is_durable(struct journal *journal, struct journal_group *group, uint32_t bytes)
{
    group->plain = !group->durable && group->seq > journal->want_seq;
    if (group->plain) {
        journal->plain_seq = group->seq;
        journal->plain_bytes += bytes;
        count_up(&journal->count_plain, 1);
        if (journal->plain_bytes > journal_plain_max(journal))
            journal_want_plain(journal);
    } else if (journal->plain_seq > journal->synced_seq) {
        journal_want_plain(journal); /* it is nothing without those before it */
    }
    return !group->plain && !io_mutation(journal->io, "journal.no_dsync");
}

static void journal_retire(struct journal *journal)
{
    uint64_t seq = 0;
    struct journal_group *group;
    while ((group = TAILQ_FIRST(&journal->flights)) != NULL && group->state == GROUP_DONE) {
        TAILQ_REMOVE(&journal->flights, group, link);
        group->state = GROUP_FREE;
        TAILQ_INSERT_HEAD(&journal->free, group, link);
        seq = group->seq;
        if (group->plain)
            journal->plain_written = seq;
        else if (journal->plain_written > journal->synced_seq &&
                 io_mutation(journal->io, "journal.durable_covers_plain"))
            journal->synced_seq = seq;
    }
    if (seq == 0)
        return;
    journal->written_seq = seq;
    journal->on_written(journal, seq);
    journal_settle(journal);
}

static void journal_on_write(struct io_op *op)
{
    struct journal_group *group = container_of(op, struct journal_group, op);
    struct journal *journal = group->journal;
    journal->in_flight--;
    journal->flight_bytes -= group->bytes;
    group->state = GROUP_DONE;
    bool overlooked = io_mutation(journal->io, "journal.failed_write_overlooked");
    if (op->res < 0 && !journal->failed && !overlooked) {
        journal->failed = true;
        journal->on_failure(journal, "write", op->res);
    }
    if (journal->failed) {
        journal->on_release(journal); /* nothing is acknowledged any more */
        return;
    }
    journal_measure(journal, group);
    if (io_mutation(journal->io, "journal.ack_out_of_order"))
        journal_acknowledge(journal, group->seq);
    journal_retire(journal);
    journal_flush(journal);
}

static void journal_submit(struct journal *journal, struct journal_group *group, uint64_t position,
                           uint32_t bytes)
{
    journal_take(journal, position, bytes);
    group->position = position;
    const struct journal_group_header header = {
        .body_crc = group->crc,
        .generation = journal->sb.generation,
        .nonce = journal->sb.nonce,
        .seq = group->seq,
        .position = position,
        .acked_seq = journal->acked_seq,
        .length = group->used - JOURNAL_GROUP_HEADER,
        .count = group->count,
    };
    journal_group_encode(&header, group->buffer);
    memset(group->buffer + group->used, 0, bytes - group->used);
    if (group->seq == journal->mark_seq)
        journal->mark_end = journal->head;
    journal->submitted_seq = group->seq;
    group->state = GROUP_FLIGHT;
    TAILQ_INSERT_TAIL(&journal->flights, group, link);
    group->bytes = bytes;
    group->submitted_ns = io_now_ns(journal->io);
    journal->flight_bytes += bytes;
    journal->in_flight++;
    count_set(&journal->flights_max, max_u64(journal->flights_max, journal->in_flight));
    count_up(&journal->count_groups, 1);
    count_up(&journal->count_bytes, bytes);
    group->op.done = journal_on_write;
    const struct iovec iov = {.iov_base = group->buffer, .iov_len = bytes};
    io_write(journal->io, &group->op, journal->file, &iov, 1, position,
             journal_is_durable(journal, group, bytes));
    journal_sync(journal);
}

void journal_flush(struct journal *journal)
{
    while (!journal->failed && journal->in_flight < JOURNAL_FLIGHTS) {
        struct journal_group *group = TAILQ_FIRST(&journal->full);
        if (group == NULL)
            group = journal->open;
        if (group == NULL || group->count == 0)
            return;
        uint32_t bytes = (uint32_t)round_up(group->used, FS_BLOCK);
        if (journal->in_flight > 0 && journal->flight_bytes + bytes > 2ULL * journal->group_max)
            return; /* the disk is busy for a while; it goes on collecting */
        if (group == journal->open)
            journal_close_group(journal);
        uint64_t position = journal_place(journal, bytes);
        journal->starved = !journal_may_take(journal, group, position, bytes);
        if (journal->starved)
            return;
        TAILQ_REMOVE(&journal->full, group, link);
        journal_submit(journal, group, position, bytes);
    }
}

bool journal_idle(const struct journal *journal)
{
    return journal->in_flight == 0 && TAILQ_EMPTY(&journal->full) &&
           (journal->open == NULL || journal->open->count == 0);
}

/* ---- releasing ---- */

uint64_t journal_mark(struct journal *journal)
{
    /* What comes from now on is behind the mark, so it may not join a group before it: a checkpoint
     * would release the prefix that it carries. */
    bool named = journal->open != NULL && journal->open->count > 0 &&
                 io_mutation(journal->io, "journal.mark_in_open_group");
    if (journal->open != NULL && journal->open->count > 0 && !named)
        journal_close_group(journal);
    journal_want(journal);
    const struct journal_group *last =
        named ? journal->open : TAILQ_LAST(&journal->full, journal_groups);
    if (last != NULL) {
        journal->mark_seq = last->seq;
        journal->mark_end = 0;
        return journal->mark_seq;
    }
    /* An open group without records has a number already, but nothing in it. */
    journal->mark_seq = journal->next_seq - 1 - (journal->open != NULL ? 1 : 0);
    journal->mark_end = journal->head;
    return journal->mark_seq;
}

static void journal_write_superblock(struct journal *journal);

static void journal_apply_release(struct journal *journal, uint64_t released_seq, uint64_t tail)
{
    journal->released_seq = released_seq;
    journal->tail = tail;
    if (journal->tail == journal->head && journal->submitted_seq < released_seq)
        count_set(&journal->used, 0);
    else if (journal->head > journal->tail)
        count_set(&journal->used, journal->head - journal->tail);
    else
        count_set(&journal->used, journal->length - journal->tail + journal->head - JOURNAL_AREA);
}

/* The new end is of use when nothing is wrapped round the old one: until then it gives no room, and
 * to count with it would use up what is kept for a checkpoint's mark. */
static void journal_adopt_length(struct journal *journal)
{
    bool wrapped = journal->used > 0 && journal->head <= journal->tail;
    if (wrapped || journal->length == journal->sb.length)
        return;
    count_set(&journal->length, journal->sb.length);
    journal_set_group_max(journal);
}

static void journal_on_superblock(struct io_op *op)
{
    struct journal *journal = container_of(op, struct journal, sb_op);
    journal->sb_busy = false;
    if (op->res < 0 && !journal->failed) {
        journal->failed = true;
        journal->on_failure(journal, "write the superblock of", op->res);
    }
    if (!journal->failed) {
        if (journal->released_seq != journal->sb.released_seq)
            journal_apply_release(journal, journal->sb.released_seq, journal->sb.released_pos);
        journal_adopt_length(journal);
        if (journal->sb_again) {
            journal_write_superblock(journal);
            return;
        }
        journal_flush(journal);
    }
    journal->on_release(journal);
}

static void journal_write_superblock(struct journal *journal)
{
    if (journal->sb_busy) {
        journal->sb_again = true;
        return;
    }
    journal->sb_busy = true;
    journal->sb_again = false;
    journal->sb_next.count++;
    journal->sb = journal->sb_next;
    journal_superblock_encode(&journal->sb, journal->directory, journal->sb_block);
    journal->sb_op.done = journal_on_superblock;
    const struct iovec iov = {.iov_base = journal->sb_block, .iov_len = FS_BLOCK};
    io_write(journal->io, &journal->sb_op, journal->file, &iov, 1,
             (journal->sb.count & 1) * FS_BLOCK, true);
}

void journal_release(struct journal *journal, uint64_t checkpoint_seq, bool clean)
{
    must(journal->mark_end != 0 && journal->acked_seq >= journal->mark_seq);
    journal->sb_next.released_seq = journal->mark_seq + 1;
    journal->sb_next.released_pos = journal->mark_end;
    journal->sb_next.checkpoint_seq = checkpoint_seq;
    journal->sb_next.clean = clean;
    if (io_mutation(journal->io, "journal.release_before_superblock"))
        journal_apply_release(journal, journal->mark_seq + 1, journal->mark_end);
    journal_write_superblock(journal);
}

/* ---- growing: zeros at the end, synced, then a superblock with the new length ----
 *
 * A piece at a time: a write that makes the file longer keeps every other write to it waiting, and
 * fills the disk's queue in front of them.
 */

/* A journal is worth no more than a part of the disk, and nothing when that is nearly full. */
static bool journal_grow_may(const struct journal *journal)
{
    struct fs_space space;
    if (fs_space(journal->fs, journal->path, &space) < 0)
        return true; /* the write will say why */
    uint64_t more = journal->grow_to - journal->sb_next.length;
    bool large = journal->grow_to > JOURNAL_MAX;
    return (!large || journal->grow_to <= space.total_bytes / JOURNAL_DISK_SHARE) &&
           space.free_bytes >= more + space.total_bytes / JOURNAL_DISK_FREE;
}

static void journal_grow_work(void *argument)
{
    struct journal *journal = argument;
    journal->grow_result = 0;
    if (journal->grown == journal->sb_next.length && !journal_grow_may(journal))
        journal->grow_to = journal->grown;
    if (journal->grow_to == journal->grown)
        return;
    uint64_t piece = journal->grow_to > JOURNAL_MAX ? JOURNAL_GROW_LARGE : JOURNAL_GROW_PIECE;
    uint64_t bytes = min_u64(piece, journal->grow_to - journal->grown);
    uint8_t *zeros = mem_pages(bytes);
    journal->grow_result = fs_write(journal->fs, journal->file, zeros, bytes, journal->grown);
    mem_pages_free(zeros, bytes);
    journal->grown += bytes;
    if (journal->grow_result >= 0 && journal->grown == journal->grow_to)
        journal->grow_result = fs_sync(journal->fs, journal->file);
}

static void journal_on_grow(struct io_op *op)
{
    struct journal *journal = container_of(op, struct journal, grow_op);
    bool more = journal->grow_result >= 0 && journal->grown < journal->grow_to;
    if (more && !journal->failed) {
        io_work(journal->io, &journal->grow_op, journal_grow_work, journal);
        return;
    }
    journal->growing = false;
    if (journal->failed || more) {
        journal->on_release(journal);
        return;
    }
    if (journal->grow_result < 0) {
        /* No space, most likely: the journal works as it is. */
        journal->length_max = journal->sb_next.length;
        return;
    }
    if (journal->grow_to == journal->sb_next.length) {
        journal->on_release(journal);
        return;
    }
    journal->sb_next.length = journal->grow_to;
    journal_write_superblock(journal);
}

void journal_grow(struct journal *journal, uint64_t wanted)
{
    uint64_t length = journal->sb_next.length;
    uint64_t most = min_u64(wanted, journal->length_max);
    if (journal->growing || journal->failed || length >= most)
        return;
    journal->growing = true;
    journal->grown = length;
    journal->grow_to = min_u64(length + max_u64(JOURNAL_STEP, round_down(length, FS_BLOCK)), most);
    journal->grow_op.done = journal_on_grow;
    io_work(journal->io, &journal->grow_op, journal_grow_work, journal);
}
