/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding what a Fetch asks for, on the shards that own the partitions, and waiting there until it
 * is enough.
 *
 * The parts of one home shard travel together (struct fetch_group). A group that finds enough, or
 * something that must be told at once, is answered; one that does not parks: it watches its
 * partitions, costs nothing until one of them moves, then looks again. Enough for a group is what
 * it had when it was here last and its share of what was missing then, rounded up: when all
 * together have bytes_min, at least one of them has that much, so nothing that is enough goes
 * unnoticed. The connection's shard then calls the others back (cancel) and counts; too little
 * after all, and the groups go out again, each of them for more than it has, so that no round is in
 * vain.
 *
 * Rules: F1 (when to answer), F2 (early wake-ups), F6, F8, F9, F10 of the fetch semantics.
 */
#include "core/api/fetch_private.h"

#include "core/log/aborted.h"
#include "core/partition/partition_replicas.h"
#include "core/partition/read_replica.h"
#include "io/mem.h"

/* ---- on the home shard ---- */

static void group_answered(struct fetch_group *group);

static void on_group_answer(struct shard *here, struct mail *mail)
{
    (void)here;
    group_answered(container_of(mail, struct fetch_group, mail));
}

static bool is_local(const struct fetch_group *group)
{
    return group->fetch->q->conn->net->sh->id == group->home;
}

static void group_answer(struct fetch_group *group)
{
    if (is_local(group))
        group_answered(group);
    else
        shard_answer(group->bs->sh, &group->mail, on_group_answer);
}

static void group_reread(struct shard *sh, struct task *task);
static void group_reading(struct shard *sh, struct task *task);

static void unwatch(struct fetch_group *group)
{
    for (uint32_t i = 0; i < group->part_count; i++)
        partition_watch_remove(&group->parts[i]->watch);
}

static void unpark(struct fetch_group *group)
{
    group->parked = false;
    group->woken_ns = shard_step_ns(group->bs->sh);
    unwatch(group);
}

static void on_wake(struct partition_watch *watch)
{
    struct fetch_part *part = container_of(watch, struct fetch_part, watch);
    struct fetch_group *group = part->group;
    if (!group->parked)
        return;
    unpark(group);
    group->reread = (struct task){.fn = group_reread, .name = "fetch.reread"};
    shard_ready(group->bs->sh, &group->reread);
}

static void part_fail(struct fetch_part *part, enum err error)
{
    part->error = (int16_t)error;
    part->high_watermark = -1;
    part->last_stable_offset = -1;
    part->log_start_offset = -1;
    part->range.length = 0;
    part->group->urgent = true;
}

/* A group of many parts is read in several turns, and finding may take a while: a part that was
 * looked at first may have gone on, or got another leader, before it was watched. */
static void park_late(struct fetch_group *group)
{
    for (uint32_t i = 0; i < group->part_count; i++) {
        struct fetch_part *part = group->parts[i];
        if (!partition_watch_is_late(&part->watch))
            continue;
        on_wake(&part->watch);
        return;
    }
}

/* False: a partition went while the others were looked for, and that must be told. */
static bool park(struct fetch_group *group)
{
    for (uint32_t i = 0; i < group->part_count; i++) {
        struct fetch_part *part = group->parts[i];
        struct partition *pt = partition_find(&group->bs->partitions, &part->key);
        if (!pt || pt->closing) {
            part_fail(part, ERR_UNKNOWN_TOPIC_OR_PARTITION);
            unwatch(group);
            return false;
        }
        part->watch = (struct partition_watch){
            .on_wake = on_wake,
            .offset = part->upto,
            .committed_only = group->fetch->committed_only,
            .replica = group->fetch->replica >= 0,
            .watermark = read_replicas_are_used(group->bs) ? part->high_watermark : INT64_MAX,
            .change = part->change,
        };
        partition_watch_add(pt, &part->watch);
    }
    group->parked = true;
    if (group->parked_ns == 0)
        group->parked_ns = shard_step_ns(group->bs->sh);
    park_late(group);
    return true;
}

static void group_found(struct fetch_group *group)
{
    bool enough = group->urgent || group->bytes >= group->enough;
    if (enough || group->give_up || !group->fetch->may_wait)
        group_answer(group);
    else if (!park(group))
        group_answer(group);
}

/* A follower gets whole batches from the first one of the log on. When its log ends elsewhere it is
 * told where that batch begins, which may be below the log's start: it begins anew there. */
static bool part_begins_elsewhere(const struct fetch_part *part, const struct log_find *find)
{
    const struct log_range *range = &find->range;
    if (part->group->fetch->replica < 0 || find->verdict != LOG_OK)
        return false;
    if (part->offset < part->log_start_offset)
        return range->length == 0 || range->base_offset != part->offset;
    return range->length > 0 && range->base_offset < part->offset &&
           range->base_offset < part->log_start_offset;
}

/* Which transactions its reader passes over (F7). */
static void part_tell_aborted(struct fetch_part *part)
{
    const struct partition *pt = partition_find(&part->group->bs->partitions, &part->key);
    if (part->group->fetch->committed_only && pt && pt->log)
        part->aborted = log_aborted(pt->log, &part->range, part->offset, &part->aborted_count);
}

/* Of what a follower gets, no more than fits in its answer. */
static void part_count(const struct fetch_part *part)
{
    const struct fetch_group *group = part->group;
    const struct partition *pt = partition_find(&group->bs->partitions, &part->key);
    if (group->fetch->replica < 0 || !pt || group->bytes >= group->fetch->bytes_max)
        return;
    partition_replicas_count(pt, group->fetch->replica,
                             min_u64(part->range.length, group->fetch->bytes_max - group->bytes));
}

/* What a reader of a log that does not serve now is told: of a follower that is being cut, that
 * others may. */
static enum err closed_error(const struct fetch_part *part)
{
    const struct partition *pt = partition_find(&part->group->bs->partitions, &part->key);
    return pt && !pt->leading && !pt->closing ? ERR_NOT_LEADER_OR_FOLLOWER
                                              : ERR_UNKNOWN_TOPIC_OR_PARTITION;
}

static void part_found(struct fetch_part *part, const struct log_find *find)
{
    if (part_begins_elsewhere(part, find)) {
        int64_t start = part->log_start_offset;
        part_fail(part, ERR_OFFSET_OUT_OF_RANGE);
        part->log_start_offset =
            find->range.length > 0 ? min_i64(find->range.base_offset, start) : start;
    } else if (find->verdict == LOG_OK) {
        part->range = find->range;
        part_tell_aborted(part);
        part_count(part);
        part->group->bytes += find->range.length;
    } else if (find->verdict == LOG_OUT_OF_RANGE) {
        part_fail(part, ERR_OFFSET_OUT_OF_RANGE);
    } else {
        part_fail(part, find->verdict == LOG_OFFLINE   ? ERR_KAFKA_STORAGE_ERROR
                        : find->verdict == LOG_CORRUPT ? ERR_CORRUPT_MESSAGE
                                                       : closed_error(part));
    }
}

static void one_found(struct fetch_group *group)
{
    must(group->finding > 0);
    if (--group->finding == 0)
        group_found(group);
}

/* Not in the part: most parts of fetches that wait have nothing to look for, and there may be a
 * million of them. */
struct fetch_find {
    struct log_find find;
    struct fetch_part *part;
};

static void on_found(struct log_find *find)
{
    struct fetch_find *ff = container_of(find, struct fetch_find, find);
    struct fetch_part *part = ff->part;
    part_found(part, find);
    mem_free(ff);
    one_found(part->group);
}

static void part_find(struct fetch_part *part, struct log *lg)
{
    struct fetch_group *group = part->group;
    struct fetch_find *ff = mem_alloc(sizeof(*ff));
    ff->part = part;
    ff->find = (struct log_find){
        .offset = max_i64(part->offset, lg->start_offset),
        .upto_offset = part->upto,
        .bytes_max = (uint32_t)min_i64(part->bytes_max, group->fetch->bytes_max),
        .one_at_least = true,
        .done = on_found,
    };
    if (!log_find(lg, &ff->find)) {
        group->finding++;
        return;
    }
    part_found(part, &ff->find);
    mem_free(ff);
}

/* All that a follower has is older than anything that is left here. It may never have been
 * committed: what is known of that time was deleted with its records (found by a seed: such a
 * record was read at the follower, above whose start the leader's log begins). */
static bool is_unproven(const struct partition *pt, const struct fetch_part *part)
{
    return part->group->fetch->replica >= 0 && part->last_fetched_epoch >= 0 &&
           part->last_fetched_epoch != pt->leader_epoch &&
           (log_oldest_epoch(pt->log) < 0 ||
            part->last_fetched_epoch < log_oldest_epoch(pt->log)) &&
           !io_mutation(pt->bs->sh->io, "fetch.unproven_history_kept");
}

/* A reader that knows which epoch its last record had: does our history agree (F9)? */
static bool diverges(const struct partition *pt, struct fetch_part *part)
{
    int32_t epoch;
    int64_t end_offset;
    if (is_unproven(pt, part)) {
        part->diverging_epoch = part->last_fetched_epoch;
        part->diverging_end_offset = pt->log->start_offset;
        part->group->urgent = true;
        return true;
    }
    if (partition_agrees(pt, part->last_fetched_epoch, part->offset, &epoch, &end_offset))
        return false;
    if (epoch < 0) {
        part_fail(part, ERR_OFFSET_OUT_OF_RANGE);
        return true;
    }
    part->diverging_epoch = epoch;
    part->diverging_end_offset = end_offset;
    part->group->urgent = true;
    return true;
}

static enum err part_check(const struct fetch_part *part, const struct partition *pt)
{
    const struct fetch *f = part->group->fetch;
    int32_t epoch = part->current_leader_epoch;
    bool unfenced = f->replica >= 0 && io_mutation(pt->bs->sh->io, "replica.unfenced_fetch");
    if (f->replica >= 0 && epoch < 0)
        return ERR_FENCED_LEADER_EPOCH; /* a follower follows somebody in particular */
    enum err error = f->may_follow ? partition_check_reader(pt, epoch)
                                   : partition_check_leader(pt, unfenced ? -1 : epoch);
    if (error == ERR_NONE && f->replica >= 0)
        return partition_replicas_check(pt, f->replica, f->replica_epoch);
    if (error == ERR_NONE && !f->knows_zstd && pt->conf.compression_type == CONF_COMPRESSION_ZSTD)
        error = ERR_UNSUPPORTED_COMPRESSION_TYPE; /* F12 */
    return error;
}

/* What the partition says of itself, and how far this reader sees. */
static void part_look(struct fetch_part *part, const struct partition *pt)
{
    const struct fetch *f = part->group->fetch;
    part->change = pt->change;
    part->high_watermark = pt->high_watermark;
    part->last_stable_offset = partition_last_stable_offset(pt);
    if (io_mutation(pt->bs->sh->io, "fetch.high_watermark_early"))
        part->high_watermark = part->last_stable_offset = pt->log->end_offset;
    if (!pt->leading && io_mutation(pt->bs->sh->io, "fetch.follower_past_watermark"))
        part->high_watermark = part->last_stable_offset = pt->log->end_offset;
    part->log_start_offset = pt->log->start_offset;
    part->upto = f->replica >= 0     ? pt->log->durable_offset
                 : f->committed_only ? part->last_stable_offset
                                     : part->high_watermark;
}

static bool part_in_range(struct fetch_part *part, struct partition *pt)
{
    int64_t start = pt->log->start_offset;
    if (part->offset < start && part->group->fetch->replica >= 0)
        return true; /* part_found() looks further */
    if (part->offset < start) {
        part_fail(part, ERR_OFFSET_OUT_OF_RANGE);
        part->log_start_offset = start;
        return false;
    }
    if (diverges(pt, part))
        return false;
    if (part->offset > pt->log->end_offset && !pt->leading) {
        /* The leader may have it: a consumer that does not know who leads must not take this for
         * the end of the log, and begin anew. */
        part_fail(part, ERR_OFFSET_NOT_AVAILABLE);
        return false;
    }
    if (part->offset > pt->log->end_offset) {
        part_fail(part, ERR_OFFSET_OUT_OF_RANGE);
        /* A follower without a record of its own, whose epoch would have told, in front of a leader
         * that was elected uncleanly: it begins anew. */
        if (part->group->fetch->replica >= 0)
            part->log_start_offset = start;
        return false;
    }
    return true;
}

/* A follower asks for what comes next, which says how far it is; what it is told of the high
 * watermark its own readers see. */
static void part_follows(struct fetch_part *part, struct partition *pt)
{
    const struct fetch *f = part->group->fetch;
    partition_replicas_fetched(pt, f->replica, f->replica_epoch, part->offset);
    part->high_watermark = pt->high_watermark; /* it may have gone on by that */
    if (partition_replicas_tell(pt, f->replica) && read_replicas_are_used(part->group->bs))
        part->group->urgent = true;
}

/* Is there a replica that is nearer to this consumer (F10)? It is told, and gets no records here.
 */
static bool part_is_nearer_elsewhere(struct fetch_part *part, const struct partition *pt)
{
    const struct fetch *f = part->group->fetch;
    if (!f->may_follow || !pt->leading)
        return false;
    part->read_replica = read_replica_for(pt, f->request.rack_id, part->offset);
    if (part->read_replica < 0)
        return false;
    part->group->urgent = true;
    return true;
}

static void part_read(struct fetch_part *part)
{
    struct fetch_group *group = part->group;
    const struct fetch *f = group->fetch;
    part->error = ERR_NONE;
    part->range = (struct log_range){0};
    mem_free(part->aborted); /* of an earlier look */
    part->aborted = NULL;
    part->aborted_count = 0;
    part->diverging_epoch = -1;
    part->read_replica = -1;
    struct partition *pt = partition_find(&group->bs->partitions, &part->key);
    if (!pt) {
        part_fail(part, partition_absence(group->bs, &part->key));
        return;
    }
    enum err error = part_check(part, pt);
    if (error != ERR_NONE) {
        part_fail(part, error);
        return;
    }
    part_look(part, pt);
    if (!part_in_range(part, pt))
        return;
    bool below = part->offset < pt->log->start_offset;
    if (f->replica >= 0 && !below)
        part_follows(part, pt);
    if (part_is_nearer_elsewhere(part, pt) || (part->offset >= part->upto && !below))
        return;
    if (f->replica >= 0 && partition_replicas_hold(pt, f->replica))
        return;
    part_find(part, pt->log);
}

#define READ_ITEMS 16U /* between looks at the clock */

/* Many parts are read in several turns. */
static void group_read_on(struct fetch_group *group)
{
    struct shard *sh = group->bs->sh;
    const uint64_t began_ns = io_clock_ns(sh->io);
    while (group->next < group->part_count) {
        if (group->next % READ_ITEMS == READ_ITEMS - 1 && shard_should_yield(sh, began_ns)) {
            group->reading = (struct task){.fn = group_reading, .name = "fetch.read"};
            shard_ready(sh, &group->reading);
            return;
        }
        struct fetch_part *part = group->parts[group->next++];
        part->group = group;
        part_read(part);
    }
    one_found(group);
}

static void group_reading(struct shard *sh, struct task *task)
{
    (void)sh;
    group_read_on(container_of(task, struct fetch_group, reading));
}

static void group_read(struct fetch_group *group)
{
    group->bytes = 0;
    group->urgent = false;
    group->finding = 1;
    group->next = 0;
    group_read_on(group);
}

static void group_reread(struct shard *sh, struct task *task)
{
    (void)sh;
    group_read(container_of(task, struct fetch_group, reread));
}

static void on_group(struct shard *here, struct mail *mail)
{
    struct fetch_group *group = container_of(mail, struct fetch_group, mail);
    group->bs = broker_shard_of(here);
    group_read(group);
}

static void on_cancel_back(struct shard *here, struct mail *mail);

static void group_cancel(struct fetch_group *group)
{
    group->give_up = true;
    if (!group->parked)
        return; /* it is finding, or on its way back */
    unpark(group);
    group_answer(group);
}

static void on_cancel(struct shard *here, struct mail *mail)
{
    group_cancel(container_of(mail, struct fetch_group, cancel));
    shard_answer(here, mail, on_cancel_back);
}

/* ---- on the connection's shard ---- */

static void cancel_groups(struct fetch *f);
static void one_back(struct fetch *f);

static void send_groups(struct fetch *f, uint64_t missing)
{
    struct shard *sh = f->q->conn->net->sh;
    f->outstanding = 1;
    f->sending = true;
    f->calling_back = false;
    for (uint32_t i = 0; i < f->group_count; i++) {
        struct fetch_group *group = &f->groups[i];
        group->away = true;
        group->enough = group->bytes + (missing + f->group_count - 1) / f->group_count;
        group->give_up = false;
        group->parked = false;
        group->parked_ns = 0;
        f->outstanding++;
        if (is_local(group))
            on_group(sh, &group->mail);
        else
            shard_post(sh, group->home, &group->mail, on_group);
    }
    f->sending = false;
    if (f->calling_back)
        cancel_groups(f);
    one_back(f);
}

/* Calls back the groups that are still away. */
static void cancel_groups(struct fetch *f)
{
    f->calling_back = true;
    if (f->sending)
        return; /* when all have been sent */
    struct shard *sh = f->q->conn->net->sh;
    f->outstanding++; /* a cancel may bring the last of them */
    for (uint32_t i = 0; i < f->group_count; i++) {
        struct fetch_group *group = &f->groups[i];
        if (!group->away || group->cancelling)
            continue;
        if (is_local(group)) {
            group_cancel(group);
        } else {
            group->cancelling = true;
            f->outstanding++;
            shard_post(sh, group->home, &group->cancel, on_cancel);
        }
    }
    one_back(f);
}

static void collect(struct fetch *f);

static void one_back(struct fetch *f)
{
    must(f->outstanding > 0);
    if (--f->outstanding == 0)
        collect(f);
}

static void group_answered(struct fetch_group *group)
{
    struct fetch *f = group->fetch;
    group->away = false;
    if (f->outstanding > 1)
        cancel_groups(f); /* one has enough: what have the others? */
    one_back(f);
}

static void on_cancel_back(struct shard *here, struct mail *mail)
{
    (void)here;
    struct fetch_group *group = container_of(mail, struct fetch_group, cancel);
    group->cancelling = false;
    one_back(group->fetch);
}

/* It was parked while all of its groups were: from the last one that parked until the first one
 * that was woken for good. */
static void count_park(struct fetch *f)
{
    struct request_time *time = &f->q->time;
    uint64_t from_ns = 0;
    uint64_t until_ns = UINT64_MAX;
    for (uint32_t i = 0; i < f->group_count; i++) {
        const struct fetch_group *group = &f->groups[i];
        if (group->parked_ns == 0)
            return;
        from_ns = max_u64(from_ns, group->parked_ns);
        until_ns = min_u64(until_ns, group->woken_ns);
    }
    request_time_pass(time, STEP_WORK, from_ns);
    request_time_pass(time, STEP_PARK, until_ns);
}

/* All groups are back. */
static void collect(struct fetch *f)
{
    uint64_t bytes = 0;
    count_park(f);
    bool urgent = false;
    for (uint32_t i = 0; i < f->group_count; i++) {
        bytes += f->groups[i].bytes;
        urgent |= f->groups[i].urgent;
    }
    if (f->may_wait && !f->ending && !urgent && bytes < f->bytes_min) {
        send_groups(f, f->bytes_min - bytes);
        return;
    }
    timer_cancel(f->q->conn->net->sh, &f->deadline);
    fetch_finish(f);
}

static void on_deadline(struct shard *sh, struct timer *timer)
{
    (void)sh;
    fetch_end(container_of(timer, struct fetch, deadline));
}

void fetch_end(struct fetch *f)
{
    if (f->ending)
        return;
    f->ending = true;
    cancel_groups(f);
}

void fetch_read(struct fetch *f)
{
    struct shard *sh = f->q->conn->net->sh;
    if (f->group_count == 0) { /* nothing to wait for (F1) */
        fetch_finish(f);
        return;
    }
    if (f->may_wait) {
        f->deadline = (struct timer){.fn = on_deadline, .name = "fetch.deadline"};
        timer_set(sh, &f->deadline,
                  io_now_ns(sh->io) + (uint64_t)f->request.max_wait_ms * 1000000U);
    }
    send_groups(f, f->bytes_min);
}
