/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/disk_room.h"

#include "core/log/checkpoint_run.h"
#include "core/log/file_job.h"
#include "core/log/log_change.h"
#include "core/log/log_dir_private.h"
#include "core/log/log_private.h"
#include "core/log/writer.h"
#include "io/diag.h"

#define ROOM_CHECK_NS 1000000000ULL
#define ROOM_FIRST    (16ULL << 20) /* until the disk has answered */

static void tell(struct log_shard *ls, bool was_full, uint64_t free_bytes)
{
    if (ls->full && !was_full)
        diag_warn(ls->sh, "log.disk_full",
                  "dir=%s free_bytes=%llu reserve_bytes=%llu produce=refused", ls->dir->path,
                  (unsigned long long)free_bytes,
                  (unsigned long long)ls->dir->options.reserve_bytes);
    if (was_full && !ls->full)
        diag_info(ls->sh, "log.disk_has_room", "dir=%s free_bytes=%llu produce=accepted",
                  ls->dir->path, (unsigned long long)free_bytes);
}

static void on_space(struct file_job *job)
{
    struct log_shard *ls = job->ls;
    const uint64_t reserve = ls->dir->options.reserve_bytes;
    const uint64_t free_bytes = job->result >= 0 ? job->length : UINT64_MAX;
    const uint64_t part =
        free_bytes > reserve ? (free_bytes - reserve) / ls->dir->options.shards : 0;
    const bool was_full = ls->full;
    ls->space_asked = false;
    ls->full = part < FS_BLOCK;
    ls->room = part > ls->journal.used ? part - ls->journal.used : 0;
    ls->room_given = ls->room;
    __atomic_store_n(&ls->dir->priv->full, ls->full, __ATOMIC_RELAXED);
    tell(ls, was_full, free_bytes);
    if (ls->full)
        log_on_sweep_timer(ls->sh, &ls->sweep_timer); /* what lies below a start goes at once */
    if (ls->room == 0)
        checkpoint_want(ls);
    if (was_full && !ls->full) {
        /* Writes that found no space try again. */
        struct log_body *lg;
        TAILQ_FOREACH (lg, &ls->logs, all_link)
            writer_want(lg);
    }
    log_shard_kick(ls);
}

static void ask(struct log_shard *ls)
{
    if (ls->space_asked || ls->stopping || ls->offline)
        return;
    ls->space_asked = true;
    struct file_job *job = file_job_new(ls, JOB_SPACE, NULL, NULL, on_space);
    job->length = ls->dir->options.reserve_bytes;
    file_job_start(job);
}

static void on_timer(struct shard *sh, struct timer *timer)
{
    struct log_shard *ls = container_of(timer, struct log_shard, space_timer);
    if (ls->stopping || ls->offline)
        return;
    ask(ls);
    timer_set(sh, timer, io_now_ns(ls->io) + ROOM_CHECK_NS);
}

void disk_room_start(struct log_shard *ls)
{
    ls->space_timer = (struct timer){.fn = on_timer, .name = "log.space"};
    ls->room = ls->dir->options.reserve_bytes > 0 ? ROOM_FIRST : UINT64_MAX;
    ls->room_given = ls->dir->options.reserve_bytes > 0 ? ROOM_FIRST : 0;
    if (ls->dir->options.reserve_bytes > 0)
        timer_set(ls->sh, &ls->space_timer, io_now_ns(ls->io) + ROOM_CHECK_NS);
}

void disk_room_stop(struct log_shard *ls)
{
    timer_cancel(ls->sh, &ls->space_timer);
}

enum log_verdict disk_room_verdict(const struct log_shard *ls)
{
    /* What one shard has heard counts for all: the others' rooms are from before. */
    if (ls->full || __atomic_load_n(&ls->dir->priv->full, __ATOMIC_RELAXED))
        return LOG_FULL;
    return ls->room > 0 ? LOG_OK : LOG_WAIT;
}

void disk_room_spend(struct log_shard *ls, uint32_t bytes)
{
    if (ls->room == UINT64_MAX || io_mutation(ls->io, "disk_room.not_counted"))
        return;
    ls->room -= min_u64(bytes, ls->room);
    if (ls->room < ls->room_given / 2)
        ask(ls);
}

void disk_room_written(struct log_shard *ls)
{
    if (ls->room == 0)
        ask(ls);
}
