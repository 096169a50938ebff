/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/group_sweep.h"

#include "core/group/groups_private.h"
#include "io/diag.h"

#define MS_PER_MINUTE 60000
/* What two clocks may differ between two checks before it is called a jump. */
#define CLOCK_SLACK_MS 60000

struct gone_topic {
    struct str name;
    struct uuid id;
    UT_hash_handle hh;
    UT_hash_handle hh_name;
};

/* ---- topics that are gone ---- */

static struct gone_topic *gone_by_name(const struct gone_topics *topics, struct str name)
{
    struct gone_topic *gone;
    HASH_FIND(hh_name, topics->by_name, name.data, (size_t)name.len, gone);
    return gone;
}

static void gone_add(struct gone_topics *topics, const struct topic_image *topic)
{
    struct gone_topic *gone = mem_zalloc(sizeof(*gone));
    gone->name = group_text_copy(str_of(topic->name));
    gone->id = topic->id;
    HASH_ADD(hh, topics->by_id, id, sizeof(gone->id), gone);
    if (!gone_by_name(topics, gone->name))
        HASH_ADD_KEYPTR(hh_name, topics->by_name, gone->name.data, (size_t)gone->name.len, gone);
}

static void gone_clear(struct gone_topics *topics)
{
    HASH_CLEAR(hh_name, topics->by_name);
    while (topics->by_id) {
        struct gone_topic *gone = topics->by_id;
        HASH_DELETE(hh, topics->by_id, gone);
        mem_free(no_const(gone->name.data));
        mem_free(gone);
    }
}

static bool is_gone(const struct group_sweep *sweep, const struct group_offset *offset)
{
    struct gone_topic *gone;
    if (uuid_is_zero(&offset->topic_id))
        return gone_by_name(&sweep->gone, offset->topic) != NULL;
    HASH_FIND(hh, sweep->gone.by_id, &offset->topic_id, sizeof(offset->topic_id), gone);
    return gone != NULL;
}

static bool is_orphan(const struct group_sweep *sweep, const struct group_offset *offset)
{
    const struct image *image = sweep->groups->bs->image;
    return !image_topic_by_name(image, offset->topic.data, (size_t)offset->topic.len);
}

/* ---- one group ---- */

static bool is_expired(const struct group_sweep *sweep, const struct group_entry *entry,
                       const struct group_offset *offset)
{
    if (entry->consumer)
        return group_offset_is_old(offset, sweep->retention_ms, sweep->wall_ms) &&
               !group_entry_reads(entry, offset->topic);
    return group_offset_is_expired(entry->group, offset, sweep->retention_ms, sweep->wall_ms);
}

static bool sweep_wants(const struct group_removal *removal, const struct group_offset *offset)
{
    const struct group_sweep *sweep = removal->user;
    return is_gone(sweep, offset) || (sweep->orphans && is_orphan(sweep, offset)) ||
           (sweep->expires && is_expired(sweep, removal->entry, offset));
}

static void on_removal(struct group_removal *removal)
{
    struct group_sweep *sweep = removal->user;
    sweep->removed += removal->removed;
    sweep->away = false;
    if (!sweep->starting)
        shard_ready(sweep->groups->bs->sh, &sweep->task);
}

static void sweep_entry(struct group_sweep *sweep, struct group_entry *entry)
{
    if (group_entry_is_dead(entry) || entry->ending)
        return;
    sweep->starting = true;
    sweep->away = true;
    sweep->removal = (struct group_removal){.entry = entry,
                                            .wants = sweep_wants,
                                            .group_too = sweep->expires,
                                            .done = on_removal,
                                            .user = sweep};
    group_removal_start(&sweep->removal);
    sweep->starting = false;
}

/* ---- all of them ---- */

static bool is_wanted(const struct group_sweep *sweep)
{
    return sweep->gone_next.by_id || sweep->orphans_next || sweep->expires_next;
}

static void sweep_begin(struct group_sweep *sweep)
{
    const struct groups *groups = sweep->groups;
    if (sweep->running || groups->draining || groups->loading > 0 || !is_wanted(sweep))
        return;
    sweep->running = true;
    sweep->removed = 0;
    sweep->gone = sweep->gone_next;
    sweep->orphans = sweep->orphans_next;
    sweep->expires = sweep->expires_next;
    sweep->gone_next = (struct gone_topics){0};
    sweep->orphans_next = false;
    sweep->expires_next = false;
    shard_ready(sweep->groups->bs->sh, &sweep->task);
}

static void sweep_end(struct group_sweep *sweep)
{
    if (sweep->removed > 0)
        diag_info(sweep->groups->bs->sh, "group.offsets_removed", "offsets=%lu", sweep->removed);
    group_walk_end(&sweep->walk);
    gone_clear(&sweep->gone);
    sweep->running = false;
    sweep_begin(sweep);
    groups_maybe_stopped(sweep->groups);
}

static void sweep_step(struct shard *sh, struct task *task)
{
    struct group_sweep *sweep = container_of(task, struct group_sweep, task);
    const uint64_t began_ns = io_clock_ns(sh->io);
    struct group_entry *entry;
    while (!sweep->groups->draining &&
           (entry = group_walk_next(sweep->groups, &sweep->walk)) != NULL) {
        sweep_entry(sweep, entry);
        if (sweep->away)
            return;
        if (shard_should_yield(sh, began_ns)) {
            shard_ready(sh, task);
            return;
        }
    }
    sweep_end(sweep);
}

/* ---- when ---- */

static void timer_next(struct group_sweep *sweep)
{
    timer_set(sweep->groups->bs->sh, &sweep->timer,
              sweep->now_ns + (uint64_t)sweep->interval_ms * NS_PER_MS);
}

/* False: the wall clock has not gone as the other one since. */
static bool look_at_clocks(struct group_sweep *sweep)
{
    const struct shard *sh = sweep->groups->bs->sh;
    const int64_t wall_ms = io_wall_ms(sh->io);
    const uint64_t now_ns = io_now_ns(sh->io);
    const int64_t gone_ms = (int64_t)((now_ns - sweep->now_ns) / NS_PER_MS);
    const int64_t jump_ms = wall_ms - sweep->wall_ms - gone_ms;
    sweep->wall_ms = wall_ms;
    sweep->now_ns = now_ns;
    if (jump_ms <= CLOCK_SLACK_MS && jump_ms >= -CLOCK_SLACK_MS)
        return true;
    diag_warn(sweep->groups->bs->sh, "group.clock_jumped", "jump_ms=%ld expiry_waits_ms=%ld",
              jump_ms, sweep->interval_ms);
    return false;
}

static void on_timer(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct group_sweep *sweep = container_of(timer, struct group_sweep, timer);
    sweep->expires_next = look_at_clocks(sweep);
    timer_next(sweep);
    sweep_begin(sweep);
}

void group_sweep_init(struct group_sweep *sweep, struct groups *groups)
{
    const struct broker_conf *conf = &groups->bs->broker->conf->broker;
    *sweep = (struct group_sweep){
        .groups = groups,
        .timer = {.fn = on_timer, .name = "group.sweep"},
        .task = {.fn = sweep_step, .name = "group.sweep"},
        .retention_ms = (int64_t)conf->offsets_retention_minutes * MS_PER_MINUTE,
        .interval_ms = conf->offsets_retention_check_interval_ms,
        .wall_ms = io_wall_ms(groups->bs->sh->io),
        .now_ns = io_now_ns(groups->bs->sh->io),
    };
    timer_next(sweep);
}

void group_sweep_fini(struct group_sweep *sweep)
{
    must(!sweep->running);
    gone_clear(&sweep->gone_next);
}

void group_sweep_topic_gone(struct group_sweep *sweep, const struct topic_image *topic)
{
    if (TAILQ_EMPTY(&sweep->groups->entries) && sweep->groups->loading == 0)
        return;
    gone_add(&sweep->gone_next, topic);
    sweep_begin(sweep);
}

void group_sweep_loaded(struct group_sweep *sweep)
{
    sweep->orphans_next = true;
    sweep_begin(sweep);
}

void group_sweep_drain(struct group_sweep *sweep)
{
    timer_cancel(sweep->groups->bs->sh, &sweep->timer);
}
