/* SPDX-License-Identifier: Apache-2.0
 *
 * What a start found, in log lines: was the last stop clean, what was replayed, which bytes were
 * dropped because they were not durable, and which logs had promised less than that. Who looks for
 * a lost record begins here.
 */
#include "core/log/recovery.h"

#include "io/diag.h"

#define LOGS_NAMED_MAX 10U /* further ones are in the sum only */

static void report_journals(struct recovery *rc, struct log_dir *dir)
{
    for (uint32_t i = 0; i < rc->journal_count; i++) {
        const struct journal_file *jf = &rc->journals[i];
        if (jf->discarded_groups == 0)
            continue;
        dir->discarded_bytes += jf->discarded_bytes;
        diag_info(NULL, "recovery.groups_discarded",
                  "journal=journal-%u position=%llu groups=%llu bytes=%llu reason=%s", i,
                  (unsigned long long)jf->end, (unsigned long long)jf->discarded_groups,
                  (unsigned long long)jf->discarded_bytes, "not durable");
    }
}

static void report_logs(const struct recovery *rc, struct log_dir *dir)
{
    uint32_t named = 0;
    for (uint32_t i = 0; i < rc->count; i++) {
        const struct recovery_log *log = rc->logs[i];
        dir->discarded_bytes += log->discarded_bytes;
        if (log->discarded_bytes == 0 || named++ >= LOGS_NAMED_MAX)
            continue;
        diag_info(NULL, "recovery.appends_discarded", "log=%s-%d offset=%lld bytes=%llu reason=%s",
                  log->entry.topic, (int)log->id.partition, (long long)log->entry.end_offset,
                  (unsigned long long)log->discarded_bytes, "not durable");
    }
}

/* Those that may have acknowledged more than there is. */
static void report_losses(const struct recovery *rc, struct log_dir *dir)
{
    for (uint32_t i = 0; i < rc->count; i++) {
        const struct recovery_log *log = rc->logs[i];
        if (!log->entry.may_have_lost || dir->may_have_lost++ >= LOGS_NAMED_MAX)
            continue;
        diag_warn(NULL, "recovery.may_have_lost", "log=%s-%d offset=%lld reason=%s",
                  log->entry.topic, (int)log->id.partition, (long long)log->entry.end_offset,
                  "unclean stop in a mode of less than durable");
    }
}

void recovery_report(struct recovery *rc)
{
    struct log_dir *dir = rc->dir;
    bool any = false;
    for (uint32_t i = 0; i < rc->journal_count; i++)
        any = any || (rc->journals[i].path != NULL && !rc->is_new[i]);
    dir->discarded_bytes = 0;
    report_journals(rc, dir);
    report_logs(rc, dir);
    report_losses(rc, dir);
    enum diag_level level = dir->was_clean ? DIAG_INFO : DIAG_WARN;
    diag_line(NULL, level, "recovery.done",
              "directory=%s last_stop=%s logs=%u groups=%llu records=%llu bytes=%llu "
              "discarded_bytes=%llu may_have_lost=%u",
              dir->path,
              !any             ? "none"
              : dir->was_clean ? "clean"
                               : "unclean",
              rc->count, (unsigned long long)dir->replayed_groups,
              (unsigned long long)dir->replayed_records, (unsigned long long)dir->replayed_bytes,
              (unsigned long long)dir->discarded_bytes, dir->may_have_lost);
}
