/* SPDX-License-Identifier: Apache-2.0 */
#include "core/partition/partition_trim.h"

#include "core/broker.h"

static void deliver(struct shard *here, struct mail *mail)
{
    (void)here;
    struct partition_trim *trim = container_of(mail, struct partition_trim, priv.mail);
    trim->done(trim);
}

static void finish(struct partition_trim *trim, enum err error, int64_t low_watermark)
{
    struct shard *here = shard_here();
    trim->error = (int16_t)error;
    trim->low_watermark = error == ERR_NONE ? low_watermark : -1;
    if (trim->priv.from->sh == here)
        trim->done(trim);
    else
        shard_answer(here, &trim->priv.mail, deliver);
}

static void on_change(struct log_change *change)
{
    struct partition_trim *trim = container_of(change, struct partition_trim, priv.change);
    struct partition *pt = trim->priv.pt;
    int64_t start = pt->log->start_offset;
    enum err error = ERR_NONE;
    if (change->verdict == LOG_OFFLINE)
        error = ERR_KAFKA_STORAGE_ERROR;
    else if (change->verdict == LOG_CLOSED)
        error = ERR_NOT_LEADER_OR_FOLLOWER;
    else if (start < trim->offset) /* else another trim was faster */
        error = ERR_OFFSET_OUT_OF_RANGE;
    partition_start_moved(pt);
    partition_unpinned(pt);
    finish(trim, error, start);
}

static void trim_to(struct partition *pt, struct partition_trim *trim)
{
    if (trim->offset == TRIM_TO_HIGH_WATERMARK)
        trim->offset = pt->high_watermark;
    if (trim->offset < 0 || trim->offset > pt->high_watermark) {
        finish(trim, ERR_OFFSET_OUT_OF_RANGE, -1);
        return;
    }
    if (trim->offset <= pt->log->start_offset) {
        finish(trim, ERR_NONE, pt->log->start_offset);
        return;
    }
    trim->priv.pt = pt;
    trim->priv.change = (struct log_change){.done = on_change};
    partition_pinned(pt);
    log_start_set(pt->log, &trim->priv.change, trim->offset);
}

void partition_trim_here(struct partition *pt, struct partition_trim *trim)
{
    trim->priv.from = pt->bs;
    trim_to(pt, trim);
}

static void trim_for_client(struct broker_shard *bs, struct partition_trim *trim)
{
    struct partition *pt = partition_find(&bs->partitions, &trim->key);
    if (!pt)
        finish(trim, partition_absence(bs, &trim->key), -1);
    else if (!pt->leading)
        finish(trim, ERR_NOT_LEADER_OR_FOLLOWER, -1);
    else if (pt->internal)
        finish(trim, ERR_INVALID_TOPIC_EXCEPTION, -1);
    else if (!(pt->conf.cleanup_policy & CONF_CLEANUP_DELETE))
        finish(trim, ERR_POLICY_VIOLATION, -1);
    else if (broker_logs_failed(pt))
        finish(trim, ERR_KAFKA_STORAGE_ERROR, -1);
    else
        trim_to(pt, trim);
}

static void on_trim(struct shard *here, struct mail *mail)
{
    trim_for_client(broker_shard_of(here), container_of(mail, struct partition_trim, priv.mail));
}

void partition_trim(struct broker_shard *from, struct partition_trim *trim)
{
    trim->priv.from = from;
    if (trim->home == from->sh->id)
        trim_for_client(from, trim);
    else
        shard_post(from->sh, trim->home, &trim->priv.mail, on_trim);
}
