/* SPDX-License-Identifier: Apache-2.0
 *
 * The commit journal of one shard in one log directory: the place where an append becomes durable.
 *
 * One flush serves everybody: records of all partitions are packed into a group, the group is one
 * write with RWF_DSYNC on space that was written before, and up to JOURNAL_FLIGHTS groups are in
 * flight. There is no timer: while fewer are in flight, a group leaves at the end of each turn; at
 * the limit the next one collects. So a lone append waits for nobody, and under load groups grow by
 * themselves (measured: 4 in flight commit three times as often as one, facts of the disk in the
 * README).
 *
 * Groups complete in any order and are told in theirs: on_written(seq) says that everything up to
 * seq has reached the drive and survives the end of this process, on_commit(seq) that it is
 * durable. A failed write is final (on_failure).
 *
 * A group in which no record has to be durable is a plain write. What is durable has no gap, since
 * replay ends at one: so a durable group behind plain ones waits for a flush of the file, which
 * runs beside its own write. The same flush comes when somebody wants all to be durable
 * (journal_want) or when much is not.
 *
 * Space: the file is a ring (core/log/journal_format.h). A group goes only where released space is,
 * and space is released by a superblock that is durable itself. A part is kept for the groups that
 * a checkpoint must see durable before it can release anything. The journal starts small and grows
 * in the background by zeros written at its end.
 */
#pragma once

#include "core/log/journal_format.h"
#include "io/durations.h"
#include "io/io.h"

#define JOURNAL_FLIGHTS     4U
#define JOURNAL_BUFFERS     (JOURNAL_FLIGHTS + 2U) /* one collects, one may be full and waiting */
#define JOURNAL_START       (1U << 20) /* written before the first start is ready: it grows soon */
#define JOURNAL_GROUP_PACED (128U << 10) /* the pace makes no group shorter */
#define JOURNAL_GROW_PIECE  (128U << 10)
#define JOURNAL_GROW_LARGE                                                                         \
    (1U << 20) /* of what is long: jobs of thousands of logs are in between */
#define JOURNAL_STEP       (8U << 20)
#define JOURNAL_MAX        (64ULL << 20)
#define JOURNAL_MANY_MAX   (1ULL << 30) /* of a shard with thousands of logs */
#define JOURNAL_DISK_SHARE 64U          /* beyond JOURNAL_MAX it takes no larger part of the disk */
#define JOURNAL_DISK_FREE  20U          /* nor does it grow into the last part of it */
#define JOURNAL_PLAIN_MAX                                                                          \
    (4U << 20) /* written plainly and not flushed, at the most: then it is                         \
                */

enum journal_group_state { GROUP_FREE, GROUP_OPEN, GROUP_FULL, GROUP_FLIGHT, GROUP_DONE };

struct journal_group {
    struct io_op op;
    struct journal *journal;
    TAILQ_ENTRY(journal_group) link;
    uint8_t *buffer; /* JOURNAL_GROUP_MAX bytes, touched as far as groups are filled */
    enum journal_group_state state;
    uint32_t used; /* with the header */
    uint32_t max;
    uint32_t bytes; /* written: used, padded */
    bool durable;   /* a record in it has to be */
    bool plain;     /* written without DSYNC */
    uint64_t submitted_ns;
    uint32_t count;
    uint32_t crc; /* of the records so far */
    uint64_t seq;
    uint64_t position;
};

TAILQ_HEAD(journal_groups, journal_group);

/* home: its shard */
struct journal {
    struct io *io;
    char *path;
    int file;
    uint8_t directory[16];
    struct journal_superblock sb; /* as last written or being written */
    uint64_t length;              /* end of the area in use; sb.length may be further already */
    uint32_t group_cap;           /* a sixteenth of the journal, JOURNAL_GROUP_MAX at most */
    uint32_t group_max;    /* of the next group: the cap, or what the disk takes in a millisecond */
    uint64_t bytes_per_ms; /* what it took lately, 0: not known yet */
    uint64_t done_ns;      /* when the last group was done */
    uint64_t flight_bytes;

    uint64_t next_seq;      /* of the next group to be opened */
    uint64_t acked_seq;     /* all up to it are durable */
    uint64_t written_seq;   /* all up to it are with the drive */
    uint64_t submitted_seq; /* all up to it were given to the disk */
    uint64_t released_seq;  /* groups below it gave their space back */
    uint64_t head;          /* where the next group goes, if it fits there */
    uint64_t tail;          /* released up to here */
    uint64_t used;          /* bytes between tail and head, skipped ends included */
    uint64_t mark_seq;      /* journal_mark() */
    uint64_t mark_end;      /* where group mark_seq ends; 0: not submitted yet */

    /* plain groups */
    uint64_t plain_seq;     /* the last one that was given to the disk */
    uint64_t plain_written; /* the last one up to written_seq */
    uint64_t plain_bytes;   /* since the last flush began */
    uint64_t want_seq;      /* groups up to it are written durably, if they are not written yet */
    uint64_t sync_want;     /* a flush is to cover this plain group */
    uint64_t sync_seq;      /* what the running one covers */
    uint64_t synced_seq;    /* what the last one has covered */
    struct io_op sync_op;
    bool sync_busy;

    uint8_t *buffers; /* of all groups */
    struct journal_group groups[JOURNAL_BUFFERS];
    struct journal_groups free; /* the buffer used last comes first: it is in the cache */
    struct journal_groups full; /* in order, waiting for a flight or for space */
    struct journal_groups flights;
    struct journal_group *open; /* collects */
    unsigned in_flight;
    bool failed;
    bool starved; /* the next group does not fit: space must be released */

    /* superblock */
    struct io_op sb_op;
    uint8_t *sb_block;
    bool sb_busy;
    bool sb_again;
    struct journal_superblock sb_next;

    /* growth */
    struct io_op grow_op;
    struct fs *fs;
    uint64_t grow_to;
    uint64_t grown; /* zeros are written up to here */
    uint64_t length_max;
    int64_t grow_result;
    bool growing;

    void (*on_written)(struct journal *journal, uint64_t seq); /* before on_commit */
    void (*on_commit)(struct journal *journal, uint64_t seq);
    /* The superblock asked for last is durable; after a failure: something in flight has ended. */
    void (*on_release)(struct journal *journal);
    void (*on_failure)(struct journal *journal, const char *verb, int64_t result);
    void *user;

    uint64_t count_groups;
    uint64_t count_plain; /* of these, written plainly */
    uint64_t count_syncs;
    uint64_t count_bytes;
    uint64_t flights_max;
    struct durations commits; /* from a group's submission to its completion */
};

/* What a fresh generation left on disk (journal_create, core/log/journal_replay.h). Callbacks are
 * the caller's to set. */
void journal_start(struct journal *journal, struct io *io, struct fs *fs, const char *path,
                   int file, const uint8_t directory[16], const struct journal_superblock *sb,
                   uint64_t length_max);
void journal_stop(struct journal *journal); /* nothing in flight */

/* At least `need` bytes of the open group to write records into (need <= group_max -
 * JOURNAL_GROUP_HEADER); *room says how many there are, *crc what to continue. NULL: none now, the
 * caller tries again after on_commit. */
uint8_t *journal_reserve(struct journal *journal, uint32_t need, uint32_t *room, uint32_t *crc);
/* `bytes` of them are records now, which make the group durable or not. The group's seq. */
uint64_t journal_written(struct journal *journal, uint32_t bytes, uint32_t records, uint32_t crc,
                         bool durable);
/* What has a record by now is to be durable as soon as may be. */
void journal_want(struct journal *journal);
/* Sends what waits, as far as flights and space allow: at the end of each turn. */
void journal_flush(struct journal *journal);

/* For a checkpoint: the seq of the last group that has (or will have) a record by now; what is
 * appended afterwards may share it or come later. */
uint64_t journal_mark(struct journal *journal);
/* Group mark_seq and all before it are not needed any more; on_release() when that is durable. */
void journal_release(struct journal *journal, uint64_t checkpoint_seq, bool clean);

/* Of its space: it should be given back, or there should be more of it. */
static inline bool journal_half_full(const struct journal *journal)
{
    return journal->used > (journal->length - JOURNAL_AREA) / 2;
}

/* Nothing collected, nothing in flight. */
bool journal_idle(const struct journal *journal);
void journal_grow(struct journal *journal, uint64_t wanted);
