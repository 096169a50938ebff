/* SPDX-License-Identifier: Apache-2.0
 *
 * What a leader says about a partition, done to the follower's log: batches are checked and
 * appended, what the leader does not have is cut off, a log that shares nothing with the leader's
 * begins anew.
 *
 * The part of a partition that has changed its leader meanwhile, or whose log is not where it was
 * when it was asked for, is dropped: it will be asked for again by whoever follows then.
 */
#include "core/partition/partition_private.h"
#include "core/partition/partition_trim.h"
#include "core/record/batch.h"
#include "core/replica/replica_private.h"
#include "io/diag.h"
#include "io/mem.h"

/* A batch on its way into the log. */
struct follow_append {
    struct log_append append;
    struct replica_fetcher *fetcher;
    struct partition *pt;
};

struct follow_truncate {
    struct log_change change;
    struct replica_fetcher *fetcher;
    struct partition *pt;
    int64_t offset;
    bool reset; /* all goes, and the log begins at `offset` */
};

/* ---- into the log ---- */

/* `count` is one of the fetcher's. */
static void write_ended(struct replica_fetcher *f, struct partition *pt, uint32_t *count)
{
    must(*count > 0);
    --*count;
    partition_write_end(pt); /* it may have another role from here on */
    replica_wake(f);
}

/* The follower's own idea of the high watermark: where it begins should it lead. */
static void watermark_settle(struct partition *pt)
{
    const struct partition_follow *follow = pt->follow;
    if (!follow)
        return;
    int64_t known = min_i64(follow->leader_watermark, pt->log->durable_offset);
    if (known <= pt->high_watermark)
        return;
    pt->high_watermark = known;
    partition_wake(pt, false);
}

static void on_appended(struct log_append *append)
{
    struct follow_append *op = append->user;
    struct partition *pt = op->pt;
    struct replica_fetcher *f = op->fetcher;
    if (append->verdict == LOG_OK) {
        watermark_settle(pt);
    } else if (pt->follow) {
        diag_warn(f->bs->sh, "replica.append_failed", "topic=%s partition=%d reason=%s",
                  pt->log->topic, pt->key.partition, log_verdict_text(append->verdict));
        replica_back_off(pt->follow, DAMAGE_BACKOFF_NS);
    }
    mem_free(op);
    write_ended(f, pt, &f->writes);
}

/* Is this the next batch of the log, by what its leader may have written? */
static bool batch_fits(const struct partition *pt, const struct batch_header *header)
{
    return header->magic == BATCH_MAGIC && header->last_offset_delta >= 0 &&
           header->base_offset >= pt->log->end_offset &&
           header->leader_epoch >= pt->log->leader_epoch &&
           header->leader_epoch <= pt->leader_epoch;
}

static void cut_to(struct partition *pt, int64_t offset, bool reset);

/* Nothing is here, and the log begins inside this batch: it was emptied at its own start, which the
 * leader's records do not know (after an unclean election). It begins where the batch does. */
static bool begins_inside(const struct partition *pt, const struct batch_header *header)
{
    return pt->log->start_offset == pt->log->end_offset &&
           header->base_offset < pt->log->end_offset && header->base_offset >= 0 &&
           header->last_offset_delta >= pt->log->end_offset - header->base_offset;
}

/* The first batch of *records goes into the log. False: no more of this partition now. */
static bool append_one(struct partition *pt, struct span *records)
{
    struct partition_follow *follow = pt->follow;
    struct batch_header header;
    if (!batch_header_read(&header, records) || batch_size(&header) > records->len)
        return false; /* the end of the answer, in the middle of a batch */
    if (begins_inside(pt, &header)) {
        cut_to(pt, header.base_offset, true);
        return false;
    }
    if (!batch_fits(pt, &header)) {
        diag_warn(pt->bs->sh, "replica.batch_refused",
                  "topic=%s partition=%d base_offset=%lld leader_epoch=%d log_end=%lld",
                  pt->log->topic, pt->key.partition, (long long)header.base_offset,
                  header.leader_epoch, (long long)pt->log->end_offset);
        replica_back_off(follow, DAMAGE_BACKOFF_NS);
        return false;
    }
    struct follow_append *op = mem_alloc(sizeof(*op));
    *op = (struct follow_append){.fetcher = follow->fetcher, .pt = pt};
    op->append = (struct log_append){.batch = span_first(*records, (uint32_t)batch_size(&header)),
                                     .leader_epoch = header.leader_epoch,
                                     .replica = true,
                                     .append_time_ms = -1,
                                     .max_timestamp = LOG_KEEP,
                                     .done = on_appended,
                                     .user = op};
    enum log_verdict verdict = log_append(pt->log, &op->append);
    if (verdict != LOG_OK && verdict != LOG_WAIT) {
        diag_warn(pt->bs->sh, "replica.append_refused", "topic=%s partition=%d reason=%s",
                  pt->log->topic, pt->key.partition, log_verdict_text(verdict));
        mem_free(op);
        replica_back_off(follow, DAMAGE_BACKOFF_NS);
        return false;
    }
    follow->fetcher->writes++;
    partition_write_begin(pt);
    span_advance(records, (uint32_t)batch_size(&header));
    /* One that waits may yet be refused, and nothing may come after a gap. */
    return verdict == LOG_OK;
}

/* ---- truncation ---- */

static void on_truncated(struct log_change *change)
{
    struct follow_truncate *op = change->user;
    struct partition *pt = op->pt;
    struct replica_fetcher *f = op->fetcher;
    diag_info(f->bs->sh, op->reset ? "replica.reset" : "replica.truncated",
              "topic=%s partition=%d to=%lld reason=%s", pt->log->topic, pt->key.partition,
              (long long)op->offset, log_verdict_text(change->verdict));
    if (change->verdict == LOG_OK && op->reset)
        pt->high_watermark = pt->log->start_offset; /* what lies below is gone with consent */
    else if (change->verdict == LOG_OK)
        pt->high_watermark = min_i64(pt->high_watermark, pt->log->end_offset);
    else if (pt->follow)
        replica_back_off(pt->follow, DAMAGE_BACKOFF_NS);
    mem_free(op);
    write_ended(f, pt, &f->cuts);
}

static void cut_to(struct partition *pt, int64_t offset, bool reset)
{
    struct replica_fetcher *f = pt->follow->fetcher;
    struct follow_truncate *op = mem_zalloc(sizeof(*op));
    op->change = (struct log_change){.done = on_truncated, .user = op};
    op->fetcher = f;
    op->pt = pt;
    op->offset = offset;
    op->reset = reset;
    f->cuts++;
    partition_write_begin(pt);
    if (reset)
        log_reset(pt->log, &op->change, offset);
    else
        log_truncate(pt->log, &op->change, offset);
}

/* The leader's history parts from ours: its epoch ends where it says. Ours of that epoch may end
 * earlier; or we never had it, then all that is newer than it goes. Never to a high watermark.
 * Where they part at or below the leader's start nothing of ours is of use, and there may be no
 * batch of ours that begins there. */
static void follow_diverged(struct partition *pt, const struct fetched_part *part)
{
    int32_t epoch;
    int64_t end;
    if (part->diverging_end_offset <= part->log_start_offset) {
        cut_to(pt, part->log_start_offset, true);
        return;
    }
    if (!log_epoch_end(pt->log, part->diverging_epoch, &epoch, &end)) {
        epoch = part->diverging_epoch; /* newer than all of ours */
        end = pt->log->end_offset;
    }
    if (epoch == part->diverging_epoch)
        end = min_i64(end, part->diverging_end_offset);
    if (end < pt->log->start_offset) { /* we have deleted what we shared: an unclean leader's */
        cut_to(pt, part->log_start_offset, true);
        return;
    }
    if (io_mutation(pt->bs->sh->io, "replica.truncates_to_watermark"))
        end = min_i64(pt->high_watermark, pt->log->end_offset);
    end = max_i64(end, pt->log->start_offset);
    /* Where nothing stays, the epochs of what was deleted go, too: they may be newer than those of
     * what comes, in the same segment. */
    if (end < pt->log->end_offset)
        cut_to(pt, end, end == pt->log->start_offset);
    else
        replica_back_off(pt->follow, BACKOFF_NS); /* the leader contradicts itself */
}

/* ---- what came ---- */

static void on_trimmed(struct partition_trim *trim)
{
    mem_free(trim);
}

/* The leader's log begins later by now. */
static void follow_start(struct partition *pt, int64_t start)
{
    start = min_i64(start, pt->high_watermark);
    if (start <= pt->log->start_offset)
        return;
    struct partition_trim *trim = mem_zalloc(sizeof(*trim));
    trim->offset = start;
    trim->done = on_trimmed;
    partition_trim_here(pt, trim);
}

/* The leader has nothing any more of what comes next here, and says where its first batch begins.
 * All of ours lies below its start, or was never committed: it goes. */
static void follow_below_start(struct partition *pt, int64_t first)
{
    if (io_mutation(pt->bs->sh->io, "replica.stays_below_start"))
        replica_back_off(pt->follow, DAMAGE_BACKOFF_NS);
    else
        cut_to(pt, first, true);
}

static uint64_t refusal_ns(struct partition_follow *follow)
{
    uint64_t for_ns = BACKOFF_FIRST_NS << follow->refusals;
    if (for_ns >= BACKOFF_NS)
        return BACKOFF_NS;
    follow->refusals++;
    return for_ns;
}

static void follow_error(struct partition *pt, const struct fetched_part *part)
{
    if (part->error == ERR_OFFSET_OUT_OF_RANGE && part->log_start_offset >= 0 &&
        part->log_start_offset != part->offset) {
        follow_below_start(pt, part->log_start_offset);
        return;
    }
    if (part->error == ERR_OFFSET_OUT_OF_RANGE)
        diag_warn(pt->bs->sh, "replica.out_of_range",
                  "topic=%s partition=%d offset=%lld leader_log_start=%lld", pt->log->topic,
                  pt->key.partition, (long long)part->offset, (long long)part->log_start_offset);
    replica_back_off(pt->follow, part->error == ERR_OFFSET_OUT_OF_RANGE ? DAMAGE_BACKOFF_NS
                                                                        : refusal_ns(pt->follow));
}

bool replica_part_take(struct replica_fetcher *f, struct fetched_part *part, uint64_t began_ns)
{
    struct partition *pt = partition_find(&f->bs->partitions, &part->key);
    struct partition_follow *follow = pt ? pt->follow : NULL;
    if (!follow || follow->fetcher != f || pt->leader_epoch != part->leader_epoch)
        return true;
    if (pt->log->end_offset != part->offset) /* moved on: between two of its batches at the most */
        return true;
    if (part->error != ERR_NONE) {
        follow_error(pt, part);
        return true;
    }
    follow->refusals = 0;
    if (part->diverging_epoch >= 0) {
        follow_diverged(pt, part);
        return true;
    }
    follow->leader_watermark = part->high_watermark;
    if (pt->throttled[REPLICA_FOLLOWS] && !part->counted)
        replica_throttle_use(f->bs, REPLICA_FOLLOWS, part->records.len);
    part->counted = true;
    while (part->records.len > 0 && append_one(pt, &part->records)) {
        part->offset = pt->log->end_offset;
        if (shard_should_yield(f->bs->sh, began_ns))
            return false;
    }
    watermark_settle(pt);
    follow_start(pt, part->log_start_offset);
    return true;
}
