/* SPDX-License-Identifier: Apache-2.0 */
#include "core/api/offset_lookup.h"

#include "core/broker.h"
#include "core/record/record.h"
#include "io/mem.h"

#include <string.h>

/* As for a produce: a batch does not become larger than this. */

static void deliver(struct shard *here, struct mail *mail)
{
    (void)here;
    struct offset_lookup *lookup = container_of(mail, struct offset_lookup, priv.mail);
    lookup->done(lookup);
}

static void finish(struct offset_lookup *lookup)
{
    struct shard *here = shard_here();
    if (lookup->priv.from->sh == here)
        lookup->done(lookup);
    else
        shard_answer(here, &lookup->priv.mail, deliver);
}

static void finish_error(struct offset_lookup *lookup, enum err error)
{
    lookup->error = (int16_t)error;
    finish(lookup);
}

static enum err error_of(enum log_verdict verdict)
{
    return verdict == LOG_OFFLINE   ? ERR_KAFKA_STORAGE_ERROR
           : verdict == LOG_CORRUPT ? ERR_CORRUPT_MESSAGE
                                    : ERR_UNKNOWN_TOPIC_OR_PARTITION;
}

/* ---- a record in a batch ---- */

/* On a helper thread: only the copy of the batch is touched. */
static void scan(void *argument)
{
    struct offset_lookup *lookup = argument;
    struct piece piece;
    struct span batch = span_of(&piece, lookup->priv.batch, lookup->priv.find.range.length);
    struct inflater inflater;
    struct record_find find;
    struct batch_header header;
    inflater_init(&inflater);
    int64_t target = lookup->timestamp;
    if (lookup->question == OFFSET_MAX_TIMESTAMP && batch_header_read(&header, &batch))
        target = header.max_timestamp;
    if (record_find_start(&find, &inflater, batch, target, lookup->priv.from_offset,
                          INFLATED_BYTES_MAX)) {
        enum record_status status;
        do {
            status = record_find_step(&find, 16);
        } while (status == RECORD_MORE);
        if (status == RECORD_READY) {
            lookup->offset = find.offset;
            lookup->found_timestamp = find.timestamp;
        }
    }
    inflater_fini(&inflater);
}

static void find_time(struct offset_lookup *lookup);

/* The log may begin inside the batch: what made it young enough may lie below the start. */
static void on_scanned(struct io_op *op)
{
    struct offset_lookup *lookup = container_of(op, struct offset_lookup, priv.work);
    struct piece piece;
    struct span batch = span_of(&piece, lookup->priv.batch, lookup->priv.find.range.length);
    struct batch_header header;
    bool cut = lookup->offset < 0 && lookup->question == OFFSET_OF_TIMESTAMP &&
               batch_header_read(&header, &batch) && header.base_offset < lookup->priv.from_offset;
    if (cut)
        lookup->priv.from_offset = batch_last_offset(&header) + 1;
    struct partition *pt = lookup->priv.pt;
    mem_free(lookup->priv.batch);
    if (cut)
        find_time(lookup);
    else
        finish(lookup);
    partition_unpinned(pt);
}

static void copy_next(struct offset_lookup *lookup);

static bool copy_pinned(struct offset_lookup *lookup)
{
    struct log_pin *pin = &lookup->priv.pin;
    if (pin->verdict != LOG_OK) {
        mem_free(lookup->priv.batch);
        partition_unpinned(lookup->priv.pt);
        finish_error(lookup, error_of(pin->verdict));
        return false;
    }
    for (uint32_t i = 0; i < pin->pieces; i++) {
        memcpy(lookup->priv.batch + lookup->priv.batch_at, pin->iov[i].iov_base,
               pin->iov[i].iov_len);
        lookup->priv.batch_at += (uint32_t)pin->iov[i].iov_len;
    }
    log_unpin(pin);
    return true;
}

static void on_pinned(struct log_pin *pin)
{
    struct offset_lookup *lookup = pin->user;
    if (copy_pinned(lookup))
        copy_next(lookup);
}

static void copy_next(struct offset_lookup *lookup)
{
    struct log_pin *pin = &lookup->priv.pin;
    const struct log_range *range = &lookup->priv.find.range;
    while (lookup->priv.batch_at < range->length) {
        uint32_t left = range->length - lookup->priv.batch_at;
        pin->done = on_pinned;
        pin->user = lookup;
        pin->check = &lookup->priv.check;
        if (!log_pin(lookup->priv.pt->log, range, lookup->priv.batch_at,
                     (uint32_t)min_u64(left, LOG_PIN_BYTES_MAX), pin))
            return;
        if (!copy_pinned(lookup))
            return;
    }
    lookup->priv.work.done = on_scanned;
    io_work(lookup->priv.pt->bs->sh->io, &lookup->priv.work, scan, lookup);
}

/* ---- the batch ---- */

static void found(struct offset_lookup *lookup)
{
    const struct log_find *find = &lookup->priv.find;
    if (find->verdict != LOG_OK) {
        finish_error(lookup, error_of(find->verdict));
        return;
    }
    if (find->range.length == 0) { /* no record is that young: no error, no offset */
        finish(lookup);
        return;
    }
    lookup->leader_epoch = lookup->priv.pt->leader_epoch;
    lookup->priv.batch = mem_alloc(find->range.length);
    lookup->priv.batch_at = 0;
    lookup->priv.check.begun = false;
    partition_pinned(lookup->priv.pt);
    copy_next(lookup);
}

static void on_found(struct log_find *find)
{
    found(container_of(find, struct offset_lookup, priv.find));
}

static void find_time(struct offset_lookup *lookup)
{
    struct log_find *find = &lookup->priv.find;
    struct log *log = lookup->priv.pt->log;
    if (!io_mutation(lookup->priv.pt->bs->sh->io, "offsets.time_below_start"))
        lookup->priv.from_offset = max_i64(lookup->priv.from_offset, log->start_offset);
    *find = (struct log_find){.offset = lookup->priv.from_offset,
                              .upto_offset = lookup->priv.upto_offset,
                              .done = on_found};
    bool now = lookup->question == OFFSET_MAX_TIMESTAMP
                   ? log_find_timestamp_max(log, find)
                   : log_find_timestamp(log, find, lookup->timestamp);
    if (now)
        found(lookup);
}

/* ---- the question ---- */

static void look_up(struct broker_shard *bs, struct offset_lookup *lookup)
{
    struct partition *pt = partition_find(&bs->partitions, &lookup->key);
    if (!pt) {
        finish_error(lookup, partition_absence(bs, &lookup->key));
        return;
    }
    enum err error = partition_check_leader(pt, lookup->current_leader_epoch);
    if (error != ERR_NONE) {
        finish_error(lookup, error);
        return;
    }
    bool about_end = lookup->question != OFFSET_EARLIEST && lookup->question != OFFSET_END_OF_EPOCH;
    if (about_end && !partition_watermark_known(pt)) {
        finish_error(lookup, ERR_OFFSET_NOT_AVAILABLE);
        return;
    }
    lookup->priv.pt = pt;
    int64_t upto = lookup->committed_only ? partition_last_stable_offset(pt) : pt->high_watermark;
    switch (lookup->question) {
    case OFFSET_LATEST:
        lookup->offset = upto;
        lookup->leader_epoch = pt->leader_epoch;
        break;
    case OFFSET_EARLIEST:
        lookup->offset = pt->log->start_offset;
        lookup->leader_epoch = pt->leader_epoch;
        break;
    case OFFSET_END_OF_EPOCH:
        (void)partition_epoch_end(pt, lookup->asked_epoch, &lookup->leader_epoch, &lookup->offset);
        break;
    case OFFSET_MAX_TIMESTAMP:
    case OFFSET_OF_TIMESTAMP:
        lookup->priv.from_offset = 0;
        lookup->priv.upto_offset = upto;
        find_time(lookup);
        return;
    }
    finish(lookup);
}

static void on_lookup(struct shard *here, struct mail *mail)
{
    look_up(broker_shard_of(here), container_of(mail, struct offset_lookup, priv.mail));
}

void offset_lookup_start(struct broker_shard *from, struct offset_lookup *lookup)
{
    lookup->error = ERR_NONE;
    lookup->offset = -1;
    lookup->found_timestamp = -1;
    lookup->leader_epoch = -1;
    lookup->priv.from = from;
    if (lookup->home == from->sh->id)
        look_up(from, lookup);
    else
        shard_post(from->sh, lookup->home, &lookup->priv.mail, on_lookup);
}
