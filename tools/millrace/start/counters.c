/* SPDX-License-Identifier: Apache-2.0
 *
 * Printed by the thread that waits for signals, so that a shard that is stuck is described too. The
 * counters are read without order: each is right, together they are about the same moment.
 */
#include "tools/millrace/start/counters.h"

#include "io/diag.h"

#include <inttypes.h>

static void print_shard(struct shard *sh)
{
    const uint64_t busy_us = count_read(&sh->busy_ns) / 1000;
    diag_info(NULL, "counters.shard",
              "shard=%u turns=%" PRIu64 " busy_us=%" PRIu64 " stalls=%" PRIu64 " mails=%" PRIu64,
              sh->id, count_read(&sh->turns), busy_us, count_read(&sh->stalls),
              count_read(&sh->mails));
    for (unsigned i = 0; i < SHARD_STALLS_NAMED; i++) {
        const struct shard_stalls *stalls = &sh->stalls_of[i];
        const uint64_t count = count_read(&stalls->count);
        const char *name = __atomic_load_n(&stalls->name, __ATOMIC_RELAXED);
        if (count > 0)
            diag_info(NULL, "counters.stalls",
                      "shard=%u step=%s count=%" PRIu64 " longest_us=%" PRIu64, sh->id,
                      name ? name : "other", count, count_read(&stalls->longest_ns) / 1000);
    }
    struct io *io = __atomic_load_n(&sh->io, __ATOMIC_ACQUIRE);
    if (!io)
        return;
    const struct io_counts *counts = io_counts(io);
    diag_info(NULL, "counters.io",
              "shard=%u enters=%" PRIu64 " submissions=%" PRIu64 " completions=%" PRIu64
              " bytes_received=%" PRIu64 " bytes_sent=%" PRIu64 " bytes_written=%" PRIu64
              " bytes_read=%" PRIu64 " sleeps=%" PRIu64,
              sh->id, count_read(&counts->enters), count_read(&counts->submissions),
              count_read(&counts->completions), count_read(&counts->bytes_received),
              count_read(&counts->bytes_sent), count_read(&counts->bytes_written),
              count_read(&counts->bytes_read), count_read(&counts->sleeps));
}

static void print_logs(const struct broker_shard *bs, uint16_t id)
{
    struct log_counts counts;
    broker_logs_counts(bs, &counts);
    diag_info(NULL, "counters.log",
              "shard=%u appends=%" PRIu64 " bytes=%" PRIu64 " duplicates=%" PRIu64
              " copied_bytes=%" PRIu64 " waits=%" PRIu64 " pins_tail=%" PRIu64 " pins_cold=%" PRIu64
              " cold_bytes=%" PRIu64 " damaged=%" PRIu64 " mended=%" PRIu64 " tail_bytes=%" PRIu64
              " scrubbed_bytes=%" PRIu64 " scrub_passes=%" PRIu64,
              id, counts.appends, counts.appended_bytes, counts.duplicates, counts.copied_bytes,
              counts.waits, counts.pins_tail, counts.pins_cold, counts.cold_bytes, counts.damaged,
              counts.mended, counts.tail_bytes, counts.scrubbed_bytes, counts.scrub_passes);
    diag_info(NULL, "counters.journal",
              "shard=%u commits=%" PRIu64 " bytes=%" PRIu64 " in_flight_most=%" PRIu64
              " checkpoints=%" PRIu64 " length=%" PRIu64 " used=%" PRIu64 " segment_writes=%" PRIu64
              " segment_bytes=%" PRIu64 " bypass_writes=%" PRIu64 " bypass_bytes=%" PRIu64
              " rolls=%" PRIu64 " recycled=%" PRIu64 " reused=%" PRIu64 " plain_commits=%" PRIu64
              " flushes=%" PRIu64 " acks_before_durable=%" PRIu64,
              id, counts.groups, counts.group_bytes, counts.groups_in_flight_max,
              counts.checkpoints, counts.journal_bytes, counts.journal_used_bytes,
              counts.segment_writes, counts.segment_bytes, counts.bypass_writes,
              counts.bypass_bytes, counts.rolls, counts.segments_recycled, counts.segments_reused,
              counts.plain_groups, counts.journal_flushes, counts.early_acks);
}

static void print_requests(const struct broker_shard *bs, uint16_t id)
{
    diag_info(NULL, "counters.requests",
              "shard=%u yields=%" PRIu64 " scan_bytes_most=%" PRIu64 " helper_jobs=%" PRIu64
              " helper_rewinds=%" PRIu64,
              id, count_read(&bs->yields), count_read(&bs->offset_scans.bytes_most),
              count_read(&bs->helper_line.jobs), count_read(&bs->helper_line.rewinds));
}

static void print_net(const struct net_shard *net, uint16_t id)
{
    diag_info(NULL, "counters.net",
              "shard=%u connections=%" PRIu64 " opened=%" PRIu64 " requests=%" PRIu64
              " bytes_in=%" PRIu64 " bytes_copied=%" PRIu64 " sends=%" PRIu64,
              id, count_read(&net->conn_count), count_read(&net->opened),
              count_read(&net->requests), count_read(&net->bytes_in),
              count_read(&net->bytes_copied), count_read(&net->sends));
    for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
        if (count_read(&net->closed[i]) > 0)
            diag_info(NULL, "counters.closed", "shard=%u reason=%s count=%" PRIu64, id,
                      close_reason_name((enum close_reason)i), count_read(&net->closed[i]));
}

void counters_print(struct broker *broker)
{
    for (uint16_t i = 0; i < broker->shard_count; i++) {
        print_shard(shard_of(broker->group, i));
        print_net(&broker->shards[i].net, i);
        print_requests(&broker->shards[i], i);
        print_logs(&broker->shards[i], i);
    }
}
