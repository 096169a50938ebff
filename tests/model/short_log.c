/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/model/short_log.h"

#include "core/record/batch.h"

static struct short_log *of(const struct log *lg)
{
    return (struct short_log *)(uintptr_t)lg; /* its first field; the caller's is not const */
}

static void put(struct short_log *log, struct model_record record)
{
    int64_t offset = log->lg.end_offset++;
    must(offset < MODEL_LOG_MAX);
    log->records[offset] = record;
    log->lg.leader_epoch = SHORT_LOG_EPOCH(record.epoch);
    epoch_assign(&log->epochs, log->lg.leader_epoch, offset);
}

static void cut(struct short_log *log, int64_t offset)
{
    must(log->under_way_count == 0);
    epoch_truncate_end(&log->epochs, offset);
    log->lg.end_offset = log->lg.durable_offset = log->lg.acked_offset = offset;
    log->lg.leader_epoch = epoch_latest(&log->epochs);
}

void short_log_init(struct short_log *log, const struct model_record *records, int count)
{
    *log = (struct short_log){.lg = {.leader_epoch = -1, .first_unstable_offset = -1}};
    for (int i = 0; i < count; i++)
        put(log, records[i]);
    log->lg.durable_offset = log->lg.acked_offset = count;
}

/* Of what is under way, the first `count`. */
static void end(struct short_log *log, uint32_t count, enum log_verdict verdict)
{
    struct log_append *ended[MODEL_LOG_MAX];
    for (uint32_t i = 0; i < count; i++)
        ended[i] = log->under_way[i];
    log->under_way_count -= count;
    for (uint32_t i = 0; i < log->under_way_count; i++)
        log->under_way[i] = log->under_way[count + i];
    for (uint32_t i = 0; i < count; i++) {
        ended[i]->verdict = verdict;
        ended[i]->done(ended[i]);
    }
}

void short_log_fini(struct short_log *log)
{
    end(log, log->under_way_count, LOG_CLOSED);
    epoch_fini(&log->epochs);
}

void short_log_add(struct short_log *log, struct model_record record, struct log_append *op)
{
    op->last_offset = log->lg.end_offset;
    put(log, record);
    log->under_way[log->under_way_count++] = op;
}

void short_log_flush(struct short_log *log, int64_t offset)
{
    uint32_t count = 0;
    log->lg.durable_offset = log->lg.acked_offset = offset;
    while (count < log->under_way_count && log->under_way[count]->last_offset < offset)
        count++;
    end(log, count, LOG_OK);
}

/* ---- what the code calls ---- */

/* The value of a record is the producer id of its batch. */
enum log_verdict __wrap_log_append(struct log *lg, struct log_append *op);
enum log_verdict __wrap_log_append(struct log *lg, struct log_append *op)
{
    struct batch_header header;
    must(op->replica && batch_header_read(&header, &op->batch));
    must(header.base_offset == lg->end_offset);
    short_log_add(of(lg), (struct model_record){op->leader_epoch + 1, (int)header.producer_id}, op);
    return LOG_OK;
}

static void change_end(struct log_change *change)
{
    change->verdict = LOG_OK;
    change->done(change);
}

void __wrap_log_truncate(struct log *lg, struct log_change *change, int64_t offset);
void __wrap_log_truncate(struct log *lg, struct log_change *change, int64_t offset)
{
    cut(of(lg), offset);
    change_end(change);
}

void __wrap_log_reset(struct log *lg, struct log_change *change, int64_t offset);
void __wrap_log_reset(struct log *lg, struct log_change *change, int64_t offset)
{
    must(offset == 0); /* nothing is ever deleted */
    cut(of(lg), offset);
    change_end(change);
}

bool __wrap_log_epoch_end(const struct log *lg, int32_t asked, int32_t *epoch, int64_t *end_offset);
bool __wrap_log_epoch_end(const struct log *lg, int32_t asked, int32_t *epoch, int64_t *end_offset)
{
    return epoch_end(&of(lg)->epochs, asked, lg->end_offset, epoch, end_offset);
}

bool __wrap_log_shard_offline(const struct log_shard *ls);
bool __wrap_log_shard_offline(const struct log_shard *ls)
{
    (void)ls;
    return false;
}
