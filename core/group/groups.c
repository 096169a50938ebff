/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups and the calls about them: the host of the state machines, what is remembered and
 * forgotten, and the way of a request to its group and back. Partitions come and go in
 * core/group/groups_load.c.
 */
#include "core/group/groups_private.h"
#include "core/internal_topic.h"
#include "io/diag.h"

/* Of the heap, for all shards: what members say of themselves; ids and committed offsets. */
#define MEMBERS_SHARE 8U /* one part in so many */
#define OFFSETS_SHARE 4U
/* One group's members; their record has to fit a batch, so nothing near it can be stable. */
#define GROUP_BYTES_MAX (64U << 20)
/* A group that nobody uses costs this much at least: entry, state machine, tables. */
#define ENTRY_BYTES     2048U
#define ARENA_BYTES_MAX (256U << 20)

/* ---- the host of the groups ---- */

static struct groups *groups_of(struct group_host *host)
{
    return container_of(host, struct groups, host);
}

static uint64_t host_now_ns(struct group_host *host)
{
    return io_now_ns(groups_of(host)->bs->sh->io);
}

static int64_t host_wall_ms(struct group_host *host)
{
    return io_wall_ms(groups_of(host)->bs->sh->io);
}

static uint64_t host_random(struct group_host *host)
{
    return io_random(groups_of(host)->bs->sh->io);
}

static size_t host_record_bytes_max(struct group_host *host, const struct group *g)
{
    const struct group_entry *entry = g->user;
    const struct partition *pt =
        partition_find(&groups_of(host)->bs->partitions, &entry->slot->store.key);
    return pt ? (size_t)max_i64(pt->conf.max_message_bytes, 0) : 0;
}

/* A group's record on its way. */
struct group_save {
    struct group_entry *entry;
    uint64_t kinds; /* the group is another one when these have grown */
    uint64_t ticket;
    struct mail mail; /* when it could not even be sent */
};

static void save_end(struct group_save *save, enum err error)
{
    struct group_entry *entry = save->entry;
    const bool same = entry->group && entry->kinds == save->kinds;
    if (same && io_mutation(entry->groups->bs->sh->io, "group.stale_decision"))
        save->ticket = entry->group->sync_ticket;
    if (same)
        group_stored(entry->group, save->ticket, group_store_group_error(error));
    mem_free(save);
    groups_release(entry);
}

static void on_saved(struct group_append *append)
{
    save_end(append->user, append->error);
}

static void on_not_sent(struct shard *here, struct mail *mail)
{
    (void)here;
    save_end(container_of(mail, struct group_save, mail), ERR_RECORD_LIST_TOO_LARGE);
}

static void host_store(struct group_host *host, struct group *g, uint64_t ticket)
{
    struct groups *groups = groups_of(host);
    struct group_entry *entry = g->user;
    struct group_store *store = &entry->slot->store;
    struct group_save *save = mem_zalloc(sizeof(*save));
    struct group_record_bytes record;
    save->entry = entry;
    save->kinds = entry->kinds;
    save->ticket = ticket;
    groups_hold(entry);
    arena_reset(&groups->arena);
    if (!group_record_of_group(&record, &groups->arena, g)) {
        shard_post(groups->bs->sh, groups->bs->sh->id, &save->mail, on_not_sent);
        return;
    }
    group_store_begin(store);
    group_store_add(store, &record);
    group_store_append(store, on_saved, save);
    entry->stored = true; /* or will be: its tombstone comes behind it */
    arena_reset(&groups->arena);
}

/* ---- beginning and end ---- */

struct groups *groups_new(struct broker_shard *bs)
{
    struct groups *groups = mem_zalloc(sizeof(*groups));
    const struct broker_conf *conf = &bs->broker->conf->broker;
    size_t heap_bytes = bs->broker->options.plan.heap_bytes / bs->broker->shard_count;
    groups->bs = bs;
    TAILQ_INIT(&groups->entries);
    groups->host = (struct group_host){
        .now_ns = host_now_ns,
        .wall_ms = host_wall_ms,
        .random = host_random,
        .record_bytes_max = host_record_bytes_max,
        .store = host_store,
        .session_timeout_min_ms = conf->group_min_session_timeout_ms,
        .session_timeout_max_ms = conf->group_max_session_timeout_ms,
        .initial_rebalance_delay_ms = conf->group_initial_rebalance_delay_ms,
        .members_max = (uint32_t)conf->group_max_size,
        .group_bytes_max = GROUP_BYTES_MAX,
        .member_bytes_max = heap_bytes / MEMBERS_SHARE,
    };
    groups->bytes_max = heap_bytes / OFFSETS_SHARE;
    groups_consumer_init(groups);
    arena_init(&groups->arena, ARENA_BYTES_MAX);
    group_sweep_init(&groups->sweep, groups);
    return groups;
}

void groups_free(struct groups *groups)
{
    must(TAILQ_EMPTY(&groups->entries) && !groups->slots && groups->loading == 0);
    must(groups->bytes == 0 && groups->host.member_bytes == 0);
    must(groups->consumers.member_bytes == 0);
    group_sweep_fini(&groups->sweep);
    arena_fini(&groups->arena);
    mem_free(groups);
}

void groups_maybe_stopped(struct groups *groups)
{
    if (!groups->stopped || groups->sweep.running || groups->loading > 0 ||
        !TAILQ_EMPTY(&groups->entries))
        return;
    void (*stopped)(void *) = groups->stopped;
    groups->stopped = NULL;
    stopped(groups->stopped_user);
}

void groups_stop(struct groups *groups, void (*done)(void *user), void *user)
{
    must(groups->draining);
    groups->stopped = done;
    groups->stopped_user = user;
    groups_maybe_stopped(groups);
}

/* ---- groups ---- */

struct group_entry *groups_find(const struct groups *groups, struct str id)
{
    struct group_entry *entry = NULL;
    if (id.len >= 0)
        HASH_FIND(hh, groups->map, id.data, (size_t)id.len, entry);
    return entry;
}

struct group_entry *groups_find_classic(const struct groups *groups, struct str id)
{
    struct group_entry *entry = groups_find(groups, id);
    return entry && entry->group ? entry : NULL;
}

struct group_entry *groups_find_consumer(const struct groups *groups, struct str id)
{
    struct group_entry *entry = groups_find(groups, id);
    return entry && entry->consumer ? entry : NULL;
}

bool group_entry_is_dead(const struct group_entry *entry)
{
    return entry->consumer ? entry->consumer->dead : entry->group->state == GROUP_DEAD;
}

bool group_entry_is_empty(const struct group_entry *entry)
{
    return entry->consumer ? entry->consumer->member_count == 0
                           : entry->group->state == GROUP_EMPTY && entry->group->pending_count == 0;
}

bool group_entry_reads(const struct group_entry *entry, struct str topic)
{
    if (entry->consumer)
        return consumer_subscribes(&entry->consumer->subscriptions, topic);
    return entry->group->state != GROUP_EMPTY && group_subscribes(entry->group, topic);
}

uint32_t groups_count(const struct groups *groups)
{
    return HASH_COUNT(groups->map);
}

bool groups_are_loading(const struct groups *groups)
{
    return groups->loading > 0;
}

static void on_group_time(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct group_entry *entry = container_of(timer, struct group_entry, timer);
    if (entry->consumer)
        consumer_group_tick(entry->consumer);
    else
        group_tick(entry->group);
    groups_settle(entry);
}

void group_entry_account(struct group_entry *entry)
{
    struct groups *groups = entry->groups;
    groups->bytes -= entry->bytes;
    entry->bytes = ENTRY_BYTES + (size_t)entry->id.len + entry->offsets.bytes;
    groups->bytes += entry->bytes;
}

static void entry_free_group(struct group_entry *entry)
{
    if (entry->group)
        group_free(entry->group);
    if (entry->consumer)
        consumer_group_free(entry->consumer);
    entry->group = NULL;
    entry->consumer = NULL;
    entry->kinds++;
}

void group_entry_become(struct group_entry *entry, struct group *group,
                        struct consumer_group *consumer)
{
    entry_free_group(entry);
    entry->group = group;
    entry->consumer = consumer;
    if (group)
        group->user = entry;
    if (consumer)
        consumer->user = entry;
}

void group_entry_renew(struct group_entry *entry)
{
    group_entry_become(entry, group_new(&entry->groups->host, entry->id), NULL);
}

void group_entry_renew_consumer(struct group_entry *entry)
{
    group_entry_become(entry, NULL, consumer_group_new(&entry->groups->consumers, entry->id));
}

struct group_entry *group_entry_new(struct group_slot *slot, struct str id)
{
    struct groups *groups = slot->groups;
    struct group_entry *entry = mem_zalloc(sizeof(*entry));
    entry->groups = groups;
    entry->slot = slot;
    entry->id = group_text_copy(id);
    group_entry_renew(entry);
    entry->timer = (struct timer){.fn = on_group_time, .name = "group.time"};
    TAILQ_INIT(&entry->writes);
    TAILQ_INIT(&entry->waits);
    TAILQ_INSERT_TAIL(&groups->entries, entry, link);
    HASH_ADD_KEYPTR(hh, groups->map, entry->id.data, (size_t)entry->id.len, entry);
    slot->entries++;
    group_entry_account(entry);
    return entry;
}

/* Nobody finds it any more; whoever holds it still has it. */
static void entry_hide(struct group_entry *entry)
{
    struct groups *groups = entry->groups;
    if (entry->hidden)
        return;
    entry->hidden = true;
    HASH_DELETE(hh, groups->map, entry);
    timer_cancel(groups->bs->sh, &entry->timer);
}

static void entry_free(struct group_entry *entry)
{
    struct groups *groups = entry->groups;
    struct group_slot *slot = entry->slot;
    must(entry->holds == 0 && TAILQ_EMPTY(&entry->writes) && !entry->removal);
    must(TAILQ_EMPTY(&entry->waits));
    entry_hide(entry);
    TAILQ_REMOVE(&groups->entries, entry, link);
    groups->bytes -= entry->bytes;
    group_offsets_fini(&entry->offsets);
    entry_free_group(entry);
    mem_free(no_const(entry->id.data));
    mem_free(entry);
    slot->entries--;
    groups_slot_maybe_free(slot);
    groups_maybe_stopped(groups);
}

void groups_hold(struct group_entry *entry)
{
    entry->holds++;
}

void groups_release(struct group_entry *entry)
{
    must(entry->holds > 0);
    entry->holds--;
    groups_settle(entry);
}

void group_entry_drop(struct group_entry *entry)
{
    if (entry->consumer)
        entry->consumer->dead = true;
    else if (entry->group->state != GROUP_DEAD) /* it may be on its way out already */
        group_kill(entry->group, ERR_NOT_COORDINATOR);
    entry_hide(entry);
    group_entry_end_waits(entry, UINT64_MAX, ERR_NOT_COORDINATOR);
    groups_settle(entry);
}

static bool is_void(const struct group_entry *entry)
{
    return entry->consumer ? consumer_group_is_void(entry->consumer) : group_is_void(entry->group);
}

void groups_settle(struct group_entry *entry)
{
    struct shard *sh = entry->groups->bs->sh;
    group_entry_flush(entry);
    const uint64_t deadline_ns =
        entry->consumer ? entry->consumer->deadline_ns : entry->group->deadline_ns;
    bool forget = group_entry_is_dead(entry) || (is_void(entry) && entry->offsets.count == 0);
    if (forget && entry->holds == 0)
        entry_free(entry);
    else if (entry->hidden || entry->slot->state != SLOT_SERVING || deadline_ns == UINT64_MAX)
        timer_cancel(sh, &entry->timer);
    else if (!timer_is_set(&entry->timer) || entry->timer.at_ns != deadline_ns)
        timer_set(sh, &entry->timer, deadline_ns);
}

struct group_entry *group_walk_next(struct groups *groups, struct group_walk *walk)
{
    struct group_entry *entry =
        walk->at ? TAILQ_NEXT(walk->at, link) : TAILQ_FIRST(&groups->entries);
    while (entry && (entry->hidden || entry->slot->state != SLOT_SERVING))
        entry = TAILQ_NEXT(entry, link);
    if (entry)
        groups_hold(entry);
    group_walk_end(walk);
    walk->at = entry;
    return entry;
}

void group_walk_end(struct group_walk *walk)
{
    struct group_entry *at = walk->at;
    walk->at = NULL;
    if (at)
        groups_release(at);
}

/* ---- calls ---- */

/* Which partition has the group, and where is it? False: nobody made the topic yet. */
static bool place_of(const struct broker_shard *bs, struct str id, int32_t *partition,
                     uint16_t *home)
{
    const struct str name = str_of(INTERNAL_TOPIC_OFFSETS);
    const struct topic_image *topic =
        bs->image ? image_topic_by_name(bs->image, name.data, (size_t)name.len) : NULL;
    if (!topic)
        return false;
    *partition = internal_topic_partition(id, topic->partition_count);
    *home = topic->partitions[*partition].home;
    return topic->partitions[*partition].leader == bs->broker->node_id;
}

bool groups_are_full(const struct groups *groups, struct str id)
{
    if (groups->bytes < groups->bytes_max)
        return false;
    diag_warn(groups->bs->sh, "group.no_memory", "bytes=%zu bytes_max=%zu group=%.*s",
              groups->bytes, groups->bytes_max, id.len, id.data);
    return true;
}

struct group_entry *groups_get(struct groups *groups, struct str id)
{
    struct group_entry *entry = groups_find(groups, id);
    int32_t partition;
    uint16_t home;
    if (entry)
        return entry;
    if (!place_of(groups->bs, id, &partition, &home) || groups_are_full(groups, id))
        return NULL;
    struct group_slot *slot = groups_slot(groups, partition);
    return slot && slot->state == SLOT_SERVING ? group_entry_new(slot, id) : NULL;
}

static void on_call_back(struct shard *here, struct mail *mail)
{
    (void)here;
    struct group_call *call = container_of(mail, struct group_call, mail);
    call->done(call);
}

void group_call_end(struct group_call *call, enum err error)
{
    struct shard *here = shard_here();
    call->error = error;
    if (call->from->sh == here)
        call->done(call);
    else
        shard_answer(here, &call->mail, on_call_back);
}

/* G3 */
static enum err call_check(const struct groups *groups, const struct group_call *call)
{
    static const enum err errors[] = {
        [SLOT_LOADING] = ERR_COORDINATOR_LOAD_IN_PROGRESS,
        [SLOT_SERVING] = ERR_NONE,
        [SLOT_FAILED] = ERR_COORDINATOR_NOT_AVAILABLE,
        [SLOT_GONE] = ERR_NOT_COORDINATOR,
    };
    const struct group_slot *slot = groups_slot(groups, call->partition);
    if (!slot)
        return ERR_NOT_COORDINATOR;
    if (slot->state == SLOT_LOADING &&
        io_mutation(groups->bs->sh->io, "group.served_while_loading"))
        return ERR_NONE;
    const struct group_entry *entry = groups_find(groups, call->group_id);
    if (slot->state == SLOT_SERVING && entry && entry->ending)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    return errors[slot->state];
}

static void arrive(struct groups *groups, struct group_call *call)
{
    call->error = call_check(groups, call);
    if (call->error == ERR_NONE)
        call->run(groups, call);
    else
        group_call_end(call, call->error);
}

static void on_call(struct shard *here, struct mail *mail)
{
    arrive(broker_shard_of(here)->groups, container_of(mail, struct group_call, mail));
}

bool group_call_place(const struct broker_shard *from, struct group_call *call)
{
    return place_of(from, call->group_id, &call->partition, &call->home);
}

void group_call_run(struct broker_shard *home, struct group_call *call)
{
    call->from = home;
    arrive(home->groups, call);
}

void group_call_start(struct broker_shard *from, struct group_call *call)
{
    call->from = from;
    if (!group_call_place(from, call)) {
        call->error = ERR_NOT_COORDINATOR;
        call->done(call);
    } else if (call->home == from->sh->id) {
        arrive(from->groups, call);
    } else {
        shard_post(from->sh, call->home, &call->mail, on_call);
    }
}
