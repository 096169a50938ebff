/* SPDX-License-Identifier: Apache-2.0
 *
 * What core/partition/partition.h promises, but for the line of appends
 * (core/partition/partition_append.c): finding, watching, and following the images.
 *
 * Images share unchanged topics, so the difference between two of them is found by walking both
 * lists of topics (sorted by name) and comparing pointers: 10,000 topics cost some 10 us.
 */
#include "core/broker.h"
#include "core/group/groups.h"
#include "core/internal_topic.h"
#include "core/partition/partition_loss.h"
#include "core/partition/partition_mend.h"
#include "core/partition/partition_offline.h"
#include "core/partition/partition_private.h"
#include "core/partition/partition_replicas.h"
#include "io/diag.h"
#include "io/mem.h"

#include <assert.h>
#include <string.h>

#define TABLE_FIRST 64U

/* ---- the table: open addressing, linear probing ---- */

static uint32_t key_hash(const struct partition_key *key)
{
    uint64_t word;
    memcpy(&word, key->topic_id.bytes, sizeof(word)); /* random already */
    word ^= (uint64_t)(uint32_t)key->partition * 0x9e3779b97f4a7c15ULL;
    return (uint32_t)(word ^ word >> 32);
}

static bool key_equal(const struct partition_key *a, const struct partition_key *b)
{
    return a->partition == b->partition &&
           memcmp(a->topic_id.bytes, b->topic_id.bytes, sizeof(a->topic_id.bytes)) == 0;
}

static uint32_t slot_of(const struct partition_table *table, const struct partition_key *key)
{
    uint32_t slot = key_hash(key) & (table->size - 1);
    while (table->slots[slot] && !key_equal(&table->slots[slot]->key, key))
        slot = (slot + 1) & (table->size - 1);
    return slot;
}

struct partition *partition_find(const struct partition_table *table,
                                 const struct partition_key *key)
{
    return table->size ? table->slots[slot_of(table, key)] : NULL;
}

static void table_grow(struct partition_table *table)
{
    struct partition_table old = *table;
    table->size = old.size ? old.size * 2 : TABLE_FIRST;
    table->slots = mem_zalloc(table->size * sizeof(struct partition *));
    for (uint32_t i = 0; i < old.size; i++)
        if (old.slots[i])
            table->slots[slot_of(table, &old.slots[i]->key)] = old.slots[i];
    mem_free(old.slots);
}

static void table_add(struct partition_table *table, struct partition *pt)
{
    if (table->count * 2 >= table->size)
        table_grow(table);
    uint32_t slot = slot_of(table, &pt->key);
    must(!table->slots[slot]);
    table->slots[slot] = pt;
    table->count++;
}

/* Closes the gap, so that no tombstones are needed. */
static void table_remove(struct partition_table *table, struct partition *pt)
{
    uint32_t slot = slot_of(table, &pt->key);
    must(table->slots[slot] == pt);
    table->slots[slot] = NULL;
    table->count--;
    for (uint32_t next = (slot + 1) & (table->size - 1); table->slots[next];
         next = (next + 1) & (table->size - 1)) {
        struct partition *moved = table->slots[next];
        table->slots[next] = NULL;
        table->slots[slot_of(table, &moved->key)] = moved;
    }
}

/* ---- watching ---- */

static void wake(struct partition_watch *watch)
{
    partition_watch_remove(watch);
    watch->on_wake(watch);
}

static int64_t visible_to(const struct partition *pt, const struct partition_watch *watch)
{
    if (watch->replica)
        return pt->log->durable_offset;
    return watch->committed_only ? partition_last_stable_offset(pt) : pt->high_watermark;
}

static bool sees_more(const struct partition *pt, const struct partition_watch *watch)
{
    return visible_to(pt, watch) > watch->offset ||
           (watch->replica && pt->high_watermark > watch->watermark);
}

bool partition_watch_is_late(const struct partition_watch *watch)
{
    return watch->change != watch->pt->change || sees_more(watch->pt, watch);
}

void partition_wake(struct partition *pt, bool all)
{
    struct partition_watch *watch;
    struct partition_watch *next;
    if (all)
        pt->change = ++pt->bs->changes;
    for (watch = TAILQ_FIRST(&pt->watches); watch; watch = next) {
        next = TAILQ_NEXT(watch, link);
        if (all || sees_more(pt, watch) || watch->offset < pt->log->start_offset)
            wake(watch);
    }
}

void partition_start_moved(struct partition *pt)
{
    partition_wake(pt, false);
}

void partition_watch_add(struct partition *pt, struct partition_watch *watch)
{
    must(!watch->pt && !pt->closing);
    watch->pt = pt;
    TAILQ_INSERT_TAIL(&pt->watches, watch, link);
}

void partition_watch_remove(struct partition_watch *watch)
{
    if (!watch->pt)
        return;
    TAILQ_REMOVE(&watch->pt->watches, watch, link);
    watch->pt = NULL;
}

static bool is_ours(const struct broker_shard *bs, const struct partition_image *image)
{
    return image->home == bs->sh->id && image_has_replica(image, bs->broker->node_id);
}

enum err partition_absence(const struct broker_shard *bs, const struct partition_key *key)
{
    const struct topic_image *topic =
        bs->image ? image_topic_by_id(bs->image, &key->topic_id) : NULL;
    const struct partition_image *image = topic ? image_partition(topic, key->partition) : NULL;
    if (!image)
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    return is_ours(bs, image) ? ERR_KAFKA_STORAGE_ERROR : ERR_NOT_LEADER_OR_FOLLOWER;
}

static enum err check_epoch(const struct partition *pt, bool serves, int32_t current_leader_epoch)
{
    if (!serves)
        return ERR_NOT_LEADER_OR_FOLLOWER;
    if (broker_logs_failed(pt))
        return ERR_KAFKA_STORAGE_ERROR;
    if (current_leader_epoch < 0 || current_leader_epoch == pt->leader_epoch)
        return ERR_NONE;
    return current_leader_epoch < pt->leader_epoch ? ERR_FENCED_LEADER_EPOCH
                                                   : ERR_UNKNOWN_LEADER_EPOCH;
}

enum err partition_check_leader(const struct partition *pt, int32_t current_leader_epoch)
{
    return check_epoch(pt, pt->leading, current_leader_epoch);
}

enum err partition_check_reader(const struct partition *pt, int32_t current_leader_epoch)
{
    return check_epoch(pt, pt->leading || pt->follow, current_leader_epoch);
}

bool partition_epoch_end(const struct partition *pt, int32_t asked, int32_t *epoch,
                         int64_t *end_offset)
{
    if (asked == pt->leader_epoch) {
        *epoch = asked;
        *end_offset = pt->log->end_offset;
        return true;
    }
    if (log_epoch_end(pt->log, asked, epoch, end_offset))
        return true;
    if (asked < 0 || asked > pt->leader_epoch)
        return false;
    /* Newer than all there are records of, older than ours: it left none here. */
    *epoch = pt->log->leader_epoch < 0 ? 0 : pt->log->leader_epoch;
    *end_offset = pt->log->end_offset;
    return true;
}

bool partition_agrees(const struct partition *pt, int32_t last, int64_t offset, int32_t *epoch,
                      int64_t *end_offset)
{
    *epoch = -1;
    *end_offset = -1;
    if (last < 0)
        return true;
    return partition_epoch_end(pt, last, epoch, end_offset) && *epoch >= last &&
           *end_offset >= offset;
}

/* ---- the high watermark ---- */

bool partition_watermark_known(const struct partition *pt)
{
    return !pt->replicas || pt->high_watermark >= pt->replicas->epoch_start;
}

/* Whoever leads a partition of __consumer_offsets coordinates the groups that are in it. */
static void coordinate(struct partition *pt)
{
    if (pt->coordinates && pt->leading && partition_watermark_known(pt))
        groups_partition_led(pt->bs->groups, pt);
}

void partition_advance(struct partition *pt)
{
    if (!pt->leading)
        return;
    int64_t least = pt->replicas ? partition_replicas_least(pt->replicas) : pt->log->acked_offset;
    must(pt->replicas || least >= pt->high_watermark);
    bool was_known = pt->watermark_was_known;
    if (least > pt->high_watermark)
        pt->high_watermark = least;
    pt->watermark_was_known = partition_watermark_known(pt);
    partition_appends_committed(pt);
    if (!io_mutation(pt->bs->sh->io, "partition.watch_not_woken"))
        partition_wake(pt, false);
    if (pt->watermark_was_known && !was_known)
        coordinate(pt);
}

static void on_acked(struct log *lg)
{
    partition_advance(lg->user);
}

static void on_damaged(struct log *lg)
{
    const struct partition *pt = lg->user;
    mender_damaged(pt->bs->mender, pt);
}

/* ---- opening and closing ---- */

/* Internal topics are what the broker itself relies on. With several replicas a record counts where
 * it is durable: followers fetch what is durable here and tell what is durable there, and one that
 * lost what it had told could otherwise lead. */
enum log_durability partition_durability(const struct topic_image *topic,
                                         const struct partition_image *image)
{
    static_assert((int)CONF_DURABILITY_OS == (int)LOG_OS &&
                      (int)CONF_DURABILITY_NEVER == (int)LOG_NEVER,
                  "the same order");
    if (topic->internal || image->replica_count > 1)
        return LOG_DURABLE;
    return (enum log_durability)topic->conf.durability;
}

static struct log_config log_config_of(const struct topic_image *topic,
                                       const struct partition_image *image,
                                       const struct broker_conf *broker)
{
    const struct topic_conf *conf = &topic->conf;
    struct log_config config = log_config_default;
    config.durability = partition_durability(topic, image);
    config.flush_messages = (uint64_t)conf->flush_messages;
    config.flush_ms = (uint64_t)conf->flush_ms;
    config.segment_bytes = (uint64_t)conf->segment_bytes;
    config.producer_expiration_ms = (uint64_t)broker->producer_id_expiration_ms;
    config.index_interval_bytes = (uint32_t)conf->index_interval_bytes;
    config.index_bytes = (uint32_t)conf->segment_index_bytes;
    config.roll_ms = conf->segment_ms;
    if (conf->cleanup_policy & CONF_CLEANUP_COMPACT) /* the active segment is never compacted */
        config.roll_ms = min_i64(config.roll_ms, conf->max_compaction_lag_ms);
    config.roll_jitter_ms = conf->segment_jitter_ms;
    config.delete_delay_ms = (uint64_t)conf->file_delete_delay_ms;
    return config;
}

/* dir->recovered is sorted by topic name and partition; a name may be there under several ids. */
static struct recovered_log *recovered_of(const struct log_dir *dir, const char *topic,
                                          const struct partition_key *key)
{
    uint32_t low = 0;
    uint32_t high = dir->recovered_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct recovered_log *at = &dir->recovered[middle];
        int order = strcmp(at->topic, topic);
        if (order < 0 || (order == 0 && at->id.partition < key->partition))
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < dir->recovered_count; low++) {
        struct recovered_log *at = &dir->recovered[low];
        if (strcmp(at->topic, topic) != 0 || at->id.partition != key->partition)
            return NULL;
        if (memcmp(at->id.topic_id, key->topic_id.bytes, sizeof(at->id.topic_id)) == 0)
            return at->state ? at : NULL; /* it was here, and went: the new one is another */
    }
    return NULL;
}

static struct partition *partition_new(struct broker_shard *bs, const struct partition_key *key,
                                       struct log *log)
{
    struct partition *pt = mem_zalloc(sizeof(*pt));
    pt->bs = bs;
    pt->key = *key;
    pt->log = log;
    pt->leader = -1;
    pt->leader_epoch = -1;
    pt->loss_epoch = -1;
    pt->high_watermark = log->start_offset;
    TAILQ_INIT(&pt->appends);
    TAILQ_INIT(&pt->committing);
    TAILQ_INIT(&pt->watches);
    pt->step = (struct task){.fn = partition_appends_step, .name = "partition.append"};
    log->user = pt;
    log->on_acked = on_acked;
    log->on_damaged = on_damaged;
    return pt;
}

static void partition_free(struct partition *pt)
{
    if (pt->replicas)
        partition_replicas_free(pt->replicas);
    must(!pt->loss);
    log_free(pt->log);
    mem_free(pt);
}

static void partition_configure(struct partition *pt, const struct topic_image *topic,
                                const struct partition_image *image)
{
    struct broker_shard *bs = pt->bs;
    pt->conf = topic->conf;
    pt->internal = topic->internal;
    for (int side = 0; side < REPLICA_SIDES; side++)
        pt->throttled[side] = image->replica_count > 1 &&
                              replica_throttle_names(topic, pt->key.partition, bs->broker->node_id,
                                                     (enum replica_side)side);
    pt->coordinates =
        topic->internal && str_equal(str_of(topic->name), str_of(INTERNAL_TOPIC_OFFSETS));
    struct log_config config = log_config_of(topic, image, &bs->broker->conf->broker);
    log_configure(pt->log, &config);
    partition_role_set(pt, image);
}

static void partition_delete(struct partition *pt);

/* A log that nobody wants. */
static void drop_found(struct broker_shard *bs, const struct partition_key *key,
                       struct recovered_log *recovered, struct log_shard *ls)
{
    diag_info(bs->sh, "log.orphan", "topic=%s partition=%d", recovered->topic, key->partition);
    partition_delete(partition_new(bs, key, log_adopt(ls, recovered, &log_config_default)));
}

/* What a start has found of it, in whichever directory; NULL: nothing. Of two (it was moved away
 * and back while one directory was offline) the one that ends later in its leaders' history stays:
 * of what was committed the other has nothing beyond it. */
static struct log *log_found(struct broker_shard *bs, const char *topic,
                             const struct partition_key *key, const struct log_config *config)
{
    const struct log_dirs *dirs = bs->broker->dirs;
    struct recovered_log *best = NULL;
    struct log_shard *home = NULL;
    for (uint32_t i = 0; i < dirs->count; i++) {
        const struct log_dir *dir = dirs->entries[i].dir;
        struct recovered_log *recovered = dir ? recovered_of(dir, topic, key) : NULL;
        if (!recovered)
            continue;
        bool better = !best || recovered_is_newer(recovered, best);
        if (best)
            drop_found(bs, key, better ? best : recovered, better ? home : bs->logs.of[i]);
        if (better) {
            best = recovered;
            home = bs->logs.of[i];
        }
    }
    return best ? log_adopt(home, best, config) : NULL;
}

/* NULL: its log cannot be had. One that was here before, of which the directories that work know
 * nothing, lies in one that does not, or was in one that is lost: it is not made anew while anybody
 * believes that this broker has it (core/partition/partition_offline.h). */
static struct partition *partition_open(struct broker_shard *bs, const struct topic_image *topic,
                                        const struct partition_image *image,
                                        const struct partition_key *key, bool is_new)
{
    struct log_config config = log_config_of(topic, image, &bs->broker->conf->broker);
    struct log *log = log_found(bs, topic->name, key, &config);
    const struct log_dirs *dirs = bs->broker->dirs;
    bool mistake = dirs->count > 1 && io_mutation(bs->sh->io, "partition.missing_log_made_anew");
    bool is_lost = dirs->lost && image_in_set(image, bs->broker->node_id);
    bool may_make = is_new || (dirs->missing == 0 && !is_lost) || mistake;
    struct log_shard *place = log || !may_make ? NULL : broker_logs_place(bs);
    if (place) {
        struct log_id id = {.partition = key->partition};
        memcpy(id.topic_id, key->topic_id.bytes, sizeof(id.topic_id));
        log = log_new(place, &id, topic->name, &config, 0);
    }
    if (!log) {
        diag_warn(bs->sh, "partition.offline", "topic=%s partition=%d", topic->name,
                  key->partition);
        return NULL;
    }
    struct partition *pt = partition_new(bs, key, log);
    table_add(&bs->partitions, pt);
    return pt;
}

void partition_pinned(struct partition *pt)
{
    pt->pins++;
}

void partition_unpinned(struct partition *pt)
{
    must(pt->pins > 0);
    if (--pt->pins == 0 && pt->deleted)
        partition_free(pt);
}

/* ---- following the images ---- */

/* The last deletion of an image, or of a stop, lets that go on; so does the last reader of the
 * image before. */
static void maybe_applied(struct broker_shard *bs)
{
    if (bs->deletions > 0 || bs->image_holds[(bs->image_number - 1) % 2] > 0)
        return;
    void (*applied)(void *) = bs->applied;
    void (*stopped)(void *) = bs->proposals > 0 ? NULL : bs->stopped;
    bs->applied = NULL;
    if (applied)
        applied(bs->applied_user);
    if (!stopped)
        return;
    bs->stopped = NULL;
    bs->partitions_ended = true;
    stopped(bs->stopped_user);
}

void partition_proposal_ended(struct broker_shard *bs)
{
    maybe_applied(bs);
}

static void on_deleted(struct log_change *change)
{
    struct partition *pt = change->user;
    struct broker_shard *bs = pt->bs;
    if (change->verdict != LOG_OK)
        diag_warn(bs->sh, "partition.delete_failed", "topic=%s partition=%d reason=%s",
                  pt->log->topic, pt->key.partition, log_verdict_text(change->verdict));
    pt->deleted = true;
    if (pt->pins == 0)
        partition_free(pt);
    bs->deletions--;
    maybe_applied(bs);
}

void partition_maybe_closed(struct partition *pt)
{
    if (!pt->closing || pt->check || pt->deletion.done || !TAILQ_EMPTY(&pt->appends))
        return;
    pt->deletion = (struct log_change){.done = on_deleted, .user = pt};
    log_delete(pt->log, &pt->deletion);
}

static void partition_delete(struct partition *pt)
{
    if (pt->internal)
        groups_partition_gone(pt->bs->groups, &pt->key);
    pt->closing = true;
    partition_role_end(pt);
    pt->bs->deletions++;
    partition_wake(pt, true);
    shard_ready(pt->bs->sh, &pt->step); /* ends the appends in line, then closes */
}

static void partition_gone(struct broker_shard *bs, struct partition *pt)
{
    table_remove(&bs->partitions, pt);
    partition_delete(pt);
}

/* Ours since `was`, the topic in the image before? The first image has all that was here before. */
static bool is_new(const struct broker_shard *bs, const struct topic_image *was, bool first,
                   int32_t partition)
{
    const struct partition_image *image = was ? image_partition(was, partition) : NULL;
    return !first && !(image && is_ours(bs, image));
}

/* `was`: the topic in the image before, NULL: it was not there. */
static void topic_applied(struct broker_shard *bs, const struct topic_image *topic,
                          const struct topic_image *was, bool first)
{
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct partition_image *image = &topic->partitions[i];
        struct partition_key key = {.topic_id = topic->id, .partition = (int32_t)i};
        struct partition *pt = partition_find(&bs->partitions, &key);
        if (!is_ours(bs, image)) {
            if (pt && !io_mutation(bs->sh->io, "partition.moved_log_stays"))
                partition_gone(bs, pt);
            continue;
        }
        if (!pt)
            pt = partition_open(bs, topic, image, &key, is_new(bs, was, first, (int32_t)i));
        if (pt)
            partition_configure(pt, topic, image);
    }
}

static void topic_gone(struct broker_shard *bs, const struct topic_image *topic)
{
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        struct partition_key key = {.topic_id = topic->id, .partition = (int32_t)i};
        struct partition *pt = partition_find(&bs->partitions, &key);
        if (pt)
            partition_gone(bs, pt);
    }
    groups_topic_gone(bs->groups, topic);
}

/* Logs in the directory whose topic is gone, or whose partition lies on other brokers by now:
 * deleted or moved while this broker was down, or cut off by a crash between the metadata and the
 * disk. Each shard takes its share. */
static void drop_orphans(struct broker_shard *bs, const struct image *image,
                         const struct log_dir *dir, struct log_shard *ls)
{
    for (uint32_t i = bs->sh->id; i < dir->recovered_count; i += bs->sh->count) {
        struct recovered_log *recovered = &dir->recovered[i];
        struct partition_key key = {.partition = recovered->id.partition};
        memcpy(key.topic_id.bytes, recovered->id.topic_id, sizeof(recovered->id.topic_id));
        const struct topic_image *topic = image_topic_by_id(image, &key.topic_id);
        const struct partition_image *partition =
            topic ? image_partition(topic, key.partition) : NULL;
        if (partition && image_has_replica(partition, bs->broker->node_id))
            continue;
        drop_found(bs, &key, recovered, ls);
    }
}

static bool same_topic(const struct topic_image *a, const struct topic_image *b)
{
    return memcmp(a->id.bytes, b->id.bytes, sizeof(a->id.bytes)) == 0;
}

/* Are there other topics, or other numbers of partitions? */
static bool topics_applied(struct broker_shard *bs, const struct image *before,
                           const struct image *image)
{
    uint32_t old_count = before ? before->topic_count : 0;
    uint32_t a = 0;
    uint32_t b = 0;
    bool topics_changed = false;
    while (a < old_count || b < image->topic_count) {
        const struct topic_image *was = a < old_count ? before->topics[a] : NULL;
        const struct topic_image *is = b < image->topic_count ? image->topics[b] : NULL;
        int order = !was ? 1 : !is ? -1 : strcmp(was->name, is->name);
        bool same = order == 0 && same_topic(was, is);
        topics_changed |= !same || was->partition_count != is->partition_count;
        if (order < 0 || (order == 0 && !same))
            topic_gone(bs, was);
        if (order >= 0 && is != was)
            topic_applied(bs, is, same ? was : NULL, !before);
        a += order <= 0;
        b += order >= 0;
    }
    return topics_changed;
}

static void logs_applied(struct broker_shard *bs, const struct image *before,
                         const struct image *image)
{
    bool topics_changed = topics_applied(bs, before, image);
    const struct log_dirs *dirs = bs->broker->dirs;
    for (uint32_t i = 0; !before && i < dirs->count; i++) {
        if (dirs->entries[i].dir)
            drop_orphans(bs, image, dirs->entries[i].dir, bs->logs.of[i]);
    }
    if (topics_changed)
        groups_topics_changed(bs->groups);
    partition_offline_look(bs->offline);
}

void partitions_apply(struct broker_shard *bs, const struct image *image,
                      void (*applied)(void *user), void *user)
{
    must(!bs->applied);
    const struct image *before = bs->image;
    bs->image = image;
    mender_image(bs->mender);
    bs->image_number++;
    if (!bs->partitions_ended)
        logs_applied(bs, before, image);
    bs->applied = applied;
    bs->applied_user = user;
    maybe_applied(bs);
}

uint32_t partitions_hold_image(struct broker_shard *bs)
{
    uint32_t hold = bs->image_number % 2;
    bs->image_holds[hold]++;
    return hold;
}

void partitions_release_image(struct broker_shard *bs, uint32_t hold)
{
    must(bs->image_holds[hold] > 0);
    if (--bs->image_holds[hold] == 0)
        maybe_applied(bs);
}

void partitions_each(struct broker_shard *bs, void (*fn)(struct partition *pt))
{
    for (uint32_t i = 0; i < bs->partitions.size; i++)
        if (bs->partitions.slots[i])
            fn(bs->partitions.slots[i]);
}

static void look_at_followers(struct partition *pt)
{
    if (pt->replicas)
        partition_replicas_look(pt->replicas);
}

static void on_lag(struct shard *sh, struct timer *timer)
{
    struct broker_shard *bs = container_of(timer, struct broker_shard, lag);
    (void)sh;
    partitions_each(bs, look_at_followers);
    partitions_watch_lag(bs);
}

void partitions_watch_lag(struct broker_shard *bs)
{
    int64_t lag_ms = bs->broker->conf->broker.replica_lag_time_max_ms;
    bs->lag = (struct timer){.fn = on_lag, .name = "partition.lag"};
    timer_set(bs->sh, &bs->lag,
              io_now_ns(bs->sh->io) + (uint64_t)min_i64(lag_ms, INT32_MAX) * 500000U);
}

static void abandon(struct partition *pt)
{
    partition_appends_abandon(pt, ERR_REQUEST_TIMED_OUT);
    partition_loss_end(pt);
}

void partitions_abandon_appends(struct broker_shard *bs)
{
    partitions_each(bs, abandon);
}

void partitions_end_roles(struct broker_shard *bs)
{
    timer_cancel(bs->sh, &bs->lag);
    bs->roles_ended = true;
    partition_offline_stop(bs->offline);
    partitions_each(bs, partition_role_end);
}

void partitions_stop(struct broker_shard *bs, void (*done)(void *user), void *user)
{
    bs->stopped = done;
    bs->stopped_user = user;
    maybe_applied(bs);
}

void partition_table_fini(struct partition_table *table)
{
    for (uint32_t i = 0; i < table->size; i++)
        if (table->slots[i])
            partition_free(table->slots[i]);
    mem_free(table->slots);
    *table = (struct partition_table){0};
}
