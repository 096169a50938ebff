/* SPDX-License-Identifier: Apache-2.0 */
#include "core/api/offset_lookup.h"

#include "core/broker.h"
#include "core/record/record.h"
#include "io/mem.h"

#include <string.h>

/* Of batches that are copied for the helper thread at a time, per shard; one that is larger comes
 * alone. */
#define SCAN_BYTES_MAX (4U << 20)

struct offset_scan {
    struct helper_job job;
    struct offset_lookup *lookup;
    struct inflater inflater;
    struct record_find find;
    int64_t target;
    int64_t from_offset;
    bool begun;
    bool found;
    struct piece piece;
    uint32_t copied;
    uint8_t batch[];
};

static void find_time(struct offset_lookup *lookup);

/* ---- whose batch is copied next ---- */

static bool scan_fits(const struct offset_scans *scans, uint32_t length)
{
    return scans->bytes == 0 || scans->bytes + length <= SCAN_BYTES_MAX;
}

static void scan_hold(struct offset_lookup *lookup, uint32_t length)
{
    struct offset_scans *scans = &lookup->priv.bs->offset_scans;
    must(scans->bytes >= lookup->priv.held);
    scans->bytes += length;
    scans->bytes -= lookup->priv.held;
    count_set(&scans->bytes_most, max_u64(scans->bytes_most, scans->bytes));
    lookup->priv.held = length;
}

/* What it has found may be gone by now, so it is looked for again. */
static void on_called(struct shard *sh, struct task *task)
{
    struct offset_lookup *lookup = container_of(task, struct offset_lookup, priv.called);
    struct partition *pt = lookup->priv.pt;
    (void)sh;
    find_time(lookup);
    partition_unpinned(pt);
}

static void scan_call(struct offset_scans *scans, struct shard *sh)
{
    struct offset_lookup *first;
    while ((first = TAILQ_FIRST(&scans->line)) && scan_fits(scans, first->priv.find.range.length)) {
        TAILQ_REMOVE(&scans->line, first, priv.link);
        scan_hold(first, first->priv.find.range.length);
        shard_ready(sh, &first->priv.called);
    }
}

/* Its batch is not needed any more, or never was. */
static void scan_put(struct offset_lookup *lookup)
{
    if (lookup->priv.held == 0)
        return;
    struct broker_shard *bs = lookup->priv.bs;
    scan_hold(lookup, 0);
    scan_call(&bs->offset_scans, bs->sh);
}

/* False: it waits for its turn, and so does its partition with being freed. */
static bool scan_begin(struct offset_lookup *lookup)
{
    struct offset_scans *scans = &lookup->priv.bs->offset_scans;
    const uint32_t length = lookup->priv.find.range.length;
    if (lookup->priv.held > 0 || (TAILQ_EMPTY(&scans->line) && scan_fits(scans, length))) {
        scan_hold(lookup, length);
        return true;
    }
    lookup->priv.called = (struct task){.fn = on_called, .name = "offset.lookup"};
    partition_pinned(lookup->priv.pt);
    TAILQ_INSERT_TAIL(&scans->line, lookup, priv.link);
    return false;
}

/* ---- the end ---- */

static void deliver(struct shard *here, struct mail *mail)
{
    (void)here;
    struct offset_lookup *lookup = container_of(mail, struct offset_lookup, priv.mail);
    lookup->done(lookup);
}

static void finish(struct offset_lookup *lookup)
{
    struct shard *here = shard_here();
    scan_put(lookup);
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

static struct span scan_batch(struct offset_scan *scan)
{
    return span_of(&scan->piece, scan->batch, scan->copied);
}

static void scan_free(struct offset_lookup *lookup)
{
    inflater_fini(&lookup->priv.scan->inflater);
    mem_free(lookup->priv.scan);
    lookup->priv.scan = NULL;
}

/* On a helper thread: only the copy of the batch is touched. */
static bool scan_work(struct helper_job *job, uint32_t slices)
{
    struct offset_scan *scan = container_of(job, struct offset_scan, job);
    if (!scan->begun && !record_find_start(&scan->find, &scan->inflater, scan_batch(scan),
                                           scan->target, scan->from_offset, INFLATED_BYTES_MAX))
        return false;
    scan->begun = true;
    const enum record_status status = record_find_step(&scan->find, slices);
    scan->found = status == RECORD_READY;
    return status == RECORD_MORE;
}

static void scan_rewind(struct helper_job *job)
{
    struct offset_scan *scan = container_of(job, struct offset_scan, job);
    inflater_fini(&scan->inflater);
    inflater_init(&scan->inflater);
    scan->begun = false;
}

/* The log may begin inside the batch: what made it young enough may lie below the start. */
static void on_scanned(struct helper_job *job)
{
    struct offset_scan *scan = container_of(job, struct offset_scan, job);
    struct offset_lookup *lookup = scan->lookup;
    const struct span batch = scan_batch(scan);
    struct batch_header header;
    if (scan->found) {
        lookup->offset = scan->find.offset;
        lookup->found_timestamp = scan->find.timestamp;
    }
    bool cut = lookup->offset < 0 && lookup->question == OFFSET_OF_TIMESTAMP &&
               batch_header_read(&header, &batch) && header.base_offset < lookup->priv.from_offset;
    if (cut)
        lookup->priv.from_offset = batch_last_offset(&header) + 1;
    struct partition *pt = lookup->priv.pt;
    scan_free(lookup);
    if (cut)
        find_time(lookup);
    else
        finish(lookup);
    partition_unpinned(pt);
}

static void scan_start(struct offset_lookup *lookup)
{
    struct offset_scan *scan = lookup->priv.scan;
    const struct span batch = scan_batch(scan);
    struct batch_header header;
    scan->target = lookup->timestamp;
    if (lookup->question == OFFSET_MAX_TIMESTAMP && batch_header_read(&header, &batch))
        scan->target = header.max_timestamp;
    scan->from_offset = lookup->priv.from_offset;
    scan->job = (struct helper_job){.work = scan_work, .rewind = scan_rewind, .done = on_scanned};
    helper_line_go(&lookup->priv.bs->helper_line, &scan->job);
}

static void copy_next(struct offset_lookup *lookup);

static bool copy_pinned(struct offset_lookup *lookup)
{
    struct log_pin *pin = &lookup->priv.pin;
    struct offset_scan *scan = lookup->priv.scan;
    if (pin->verdict != LOG_OK) {
        scan_free(lookup);
        partition_unpinned(lookup->priv.pt);
        finish_error(lookup, error_of(pin->verdict));
        return false;
    }
    for (uint32_t i = 0; i < pin->pieces; i++) {
        memcpy(scan->batch + scan->copied, pin->iov[i].iov_base, pin->iov[i].iov_len);
        scan->copied += (uint32_t)pin->iov[i].iov_len;
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
    const struct offset_scan *scan = lookup->priv.scan;
    while (scan->copied < range->length) {
        uint32_t left = range->length - scan->copied;
        pin->done = on_pinned;
        pin->user = lookup;
        pin->check = &lookup->priv.check;
        if (!log_pin(lookup->priv.pt->log, range, scan->copied,
                     (uint32_t)min_u64(left, LOG_PIN_BYTES_MAX), pin))
            return;
        if (!copy_pinned(lookup))
            return;
    }
    scan_start(lookup);
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
    if (!scan_begin(lookup))
        return;
    lookup->leader_epoch = lookup->priv.pt->leader_epoch;
    lookup->priv.scan = mem_alloc(sizeof(struct offset_scan) + find->range.length);
    *lookup->priv.scan = (struct offset_scan){.lookup = lookup};
    inflater_init(&lookup->priv.scan->inflater);
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
    lookup->priv.bs = bs;
    lookup->priv.held = 0;
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
