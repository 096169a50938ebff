/* SPDX-License-Identifier: Apache-2.0
 *
 * Partitions of __consumer_offsets as they come and go (core/group/groups.h). What a record says
 * takes the place of what an earlier one of the same key said; when all have been read the groups
 * begin.
 */
#include "core/group/consumer_record.h"
#include "core/group/groups_private.h"
#include "core/internal_topic.h"
#include "io/diag.h"

struct group_slot *groups_slot(const struct groups *groups, int32_t partition)
{
    struct group_slot *slot = NULL;
    HASH_FIND(hh, groups->slots, &partition, sizeof(partition), slot);
    return slot;
}

void groups_slot_maybe_free(struct group_slot *slot)
{
    struct groups *groups = slot->groups;
    if (slot->state != SLOT_GONE || slot->reading || slot->entries > 0)
        return;
    const struct partition_key key = slot->store.key;
    const bool again = slot->again;
    group_store_fini(&slot->store);
    mem_free(slot);
    struct partition *pt = again ? partition_find(&groups->bs->partitions, &key) : NULL;
    if (pt && pt->coordinates && pt->leading && partition_watermark_known(pt))
        groups_partition_led(groups, pt);
    groups_maybe_stopped(groups);
}

/* ---- records ---- */

static void forget_if_void(struct group_entry *entry)
{
    if (entry->group && group_is_void(entry->group) && entry->offsets.count == 0) {
        groups_hold(entry);
        groups_release(entry);
    }
}

static void load_group(struct group_slot *slot, const struct group_record *record)
{
    struct group_entry *entry = groups_find(slot->groups, record->group);
    if (record->tombstone && (!entry || entry->consumer))
        return;
    if (!entry)
        entry = group_entry_new(slot, record->group);
    group_entry_renew(entry);
    entry->stored = !record->tombstone;
    if (!record->tombstone)
        group_record_restore(record, entry->group);
    forget_if_void(entry);
}

static void load_offset(struct group_slot *slot, const struct group_record *record)
{
    struct group_entry *entry = groups_find(slot->groups, record->group);
    if (!entry && record->tombstone)
        return;
    if (!entry)
        entry = group_entry_new(slot, record->group);
    if (record->tombstone)
        group_offsets_remove(&entry->offsets, record->offset.topic, record->offset.partition);
    else
        group_offsets_put(&entry->offsets, &record->offset);
    group_entry_account(entry);
    forget_if_void(entry);
}

/* Groups are found by the partition that their id names: one that lies elsewhere is nobody's. */
static bool belongs_here(const struct group_slot *slot, struct str id)
{
    const struct topic_image *topic =
        image_topic_by_id(slot->groups->bs->image, &slot->store.key.topic_id);
    return topic && internal_topic_partition(id, topic->partition_count) == slot->partition;
}

/* One of a member may stand before the group's own; the group is taken back by its own. */
static void load_consumer(struct group_slot *slot, const struct consumer_record *record)
{
    struct group_entry *entry = groups_find(slot->groups, record->group);
    if (record->tombstone && (!entry || !entry->consumer))
        return;
    if (!entry)
        entry = group_entry_new(slot, record->group);
    if (record->tombstone && record->kind == CONSUMER_RECORD_GROUP) {
        group_entry_renew(entry);
        entry->stored = false;
        forget_if_void(entry);
        return;
    }
    if (!entry->consumer)
        group_entry_renew_consumer(entry);
    entry->stored = true;
    if (!record->tombstone || record->member.len > 0)
        consumer_record_restore(record, entry->consumer);
}

static const char *on_other(struct group_load *load, const struct group_record *record)
{
    struct group_slot *slot = load->user;
    struct consumer_record consumer;
    if (!consumer_record_read(&consumer, record, &load->arena))
        return NULL;
    if (consumer.reason)
        return consumer.reason;
    if (!belongs_here(slot, consumer.group))
        return "the group belongs to another partition";
    if (consumer.tombstone && io_mutation(slot->groups->bs->sh->io, "consumer.tombstone_ignored"))
        return NULL;
    if (consumer.kind == CONSUMER_RECORD_CURRENT &&
        io_mutation(slot->groups->bs->sh->io, "consumer.holdings_forgotten"))
        return NULL;
    load_consumer(slot, &consumer);
    return NULL;
}

static const char *on_record(struct group_load *load, const struct group_record *record)
{
    struct group_slot *slot = load->user;
    if (slot->state == SLOT_GONE)
        return NULL;
    if (record->kind == GROUP_RECORD_OTHER)
        return on_other(load, record);
    if (!belongs_here(slot, record->group))
        return "the group belongs to another partition";
    if (record->tombstone && io_mutation(slot->groups->bs->sh->io, "group.tombstone_ignored"))
        return NULL;
    if (record->kind == GROUP_RECORD_GROUP &&
        io_mutation(slot->groups->bs->sh->io, "group.generation_forgotten"))
        return NULL;
    if (record->kind == GROUP_RECORD_GROUP)
        load_group(slot, record);
    else
        load_offset(slot, record);
    return NULL;
}

/* ---- partitions come and go ---- */

static void each_entry(struct group_slot *slot, void (*fn)(struct group_entry *entry))
{
    struct group_entry *entry;
    struct group_entry *next;
    slot->entries++; /* held until all of them are done with */
    for (entry = TAILQ_FIRST(&slot->groups->entries); entry; entry = next) {
        next = TAILQ_NEXT(entry, link);
        if (entry->slot == slot && !entry->hidden)
            fn(entry);
    }
    slot->entries--;
}

/* Members have had no chance to be heard while their group was read back. */
static void entry_begin(struct group_entry *entry)
{
    if (entry->consumer)
        consumer_group_resume(entry->consumer);
    else
        group_resume(entry->group);
    groups_settle(entry);
}

static void on_loaded(struct group_load *load)
{
    struct group_slot *slot = load->user;
    struct groups *groups = slot->groups;
    slot->reading = false;
    groups->loading--;
    if (slot->state != SLOT_GONE)
        slot->state = load->error == ERR_NONE ? SLOT_SERVING : SLOT_FAILED;
    each_entry(slot, slot->state == SLOT_SERVING ? entry_begin : group_entry_drop);
    if (load->records > 0 || (load->error != ERR_NONE && slot->state != SLOT_GONE))
        diag_info(groups->bs->sh, "group.loaded",
                  "partition=%d records=%lu skipped=%lu groups=%u error=%d", slot->partition,
                  load->records, load->skipped, slot->entries, (int)load->error);
    groups_slot_maybe_free(slot);
    group_sweep_loaded(&groups->sweep);
}

void groups_partition_led(struct groups *groups, struct partition *pt)
{
    if (groups->draining || groups_slot(groups, pt->key.partition))
        return;
    struct group_slot *slot = mem_zalloc(sizeof(*slot));
    slot->groups = groups;
    slot->partition = pt->key.partition;
    slot->state = SLOT_LOADING;
    slot->reading = true;
    group_store_init(&slot->store, groups->bs, &pt->key);
    HASH_ADD(hh, groups->slots, partition, sizeof(slot->partition), slot);
    groups->loading++;
    slot->load.on_record = on_record;
    slot->load.done = on_loaded;
    slot->load.user = slot;
    group_load_start(&slot->load, pt);
}

static void slot_gone(struct group_slot *slot)
{
    HASH_DELETE(hh, slot->groups->slots, slot);
    slot->state = SLOT_GONE;
    if (slot->reading)
        group_load_cancel(&slot->load); /* what was read so far goes when it has ended */
    else
        each_entry(slot, group_entry_drop);
    groups_slot_maybe_free(slot);
}

void groups_slot_reload(struct group_slot *slot)
{
    if (slot->state != SLOT_SERVING)
        return;
    slot->again = true;
    slot_gone(slot);
}

void groups_partition_gone(struct groups *groups, const struct partition_key *key)
{
    struct group_slot *slot = groups_slot(groups, key->partition);
    if (slot && uuid_equal(&slot->store.key.topic_id, &key->topic_id))
        slot_gone(slot);
}

void groups_topic_gone(struct groups *groups, const struct topic_image *topic)
{
    group_sweep_topic_gone(&groups->sweep, topic);
}

void groups_drain(struct groups *groups)
{
    groups->draining = true;
    group_sweep_drain(&groups->sweep);
    while (groups->slots)
        slot_gone(groups->slots);
}
