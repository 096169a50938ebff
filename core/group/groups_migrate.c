/* SPDX-License-Identifier: Apache-2.0
 *
 * Which kind a group is, and how it becomes one of the other kind: without members by whoever asks
 * for it, with members by a migration (core/group/consumer_migrate.h).
 */
#include "core/group/consumer_migrate.h"
#include "core/group/groups_private.h"
#include "io/diag.h"

/* The group becomes one of the other kind: what the log says of it is taken back. */
static void write_gone(struct group_entry *entry)
{
    struct group_store *store = &entry->slot->store;
    struct group_record_bytes record;
    if (!entry->stored)
        return;
    if (entry->consumer) {
        group_entry_write(entry, consumer_record_gone);
    } else {
        arena_reset(&entry->groups->arena);
        group_store_begin(store);
        must(group_record_of_group_gone(&record, &entry->groups->arena, entry->id));
        group_store_add(store, &record);
        group_entry_append(entry);
    }
    entry->stored = false;
}

static struct group_entry *get_any(struct groups *groups, struct str id, enum err *error)
{
    struct group_entry *entry = groups_get(groups, id);
    *error = !entry || group_entry_is_dead(entry) ? ERR_COORDINATOR_NOT_AVAILABLE : ERR_NONE;
    return entry && *error == ERR_NONE ? entry : NULL;
}

struct group_entry *groups_get_classic(struct groups *groups, struct str id, enum err *error)
{
    struct group_entry *entry = get_any(groups, id, error);
    if (!entry || entry->group)
        return entry;
    if (!group_entry_is_empty(entry))
        *error = ERR_INCONSISTENT_GROUP_PROTOCOL;
    else if (entry->consumer->planning || entry->consumer->resolving)
        *error = ERR_COORDINATOR_LOAD_IN_PROGRESS;
    if (*error != ERR_NONE)
        return NULL;
    write_gone(entry);
    group_entry_renew(entry);
    return entry;
}

/* A group of the other kind stays one when the member would not come in. */
static bool may_join(struct group_entry *entry, struct consumer_heartbeat *hb)
{
    struct consumer_group *trial = consumer_group_new(&entry->groups->consumers, entry->id);
    trial->user = entry;
    const bool may = consumer_group_may_join(trial, hb);
    consumer_group_free(trial);
    return may;
}

/* ---- with members ---- */

/* All of them at once, or nothing: a crash finds the group as one of the kinds. */
struct batch {
    struct consumer_writer writer;
    struct group_store *store;
};

static bool batch_add(struct consumer_writer *writer, const struct group_record_bytes *record)
{
    struct batch *batch = container_of(writer, struct batch, writer);
    group_store_add(batch->store, record);
    arena_reset(writer->arena);
    return true;
}

static struct batch batch_begin(struct group_entry *entry)
{
    arena_reset(&entry->groups->arena);
    group_store_begin(&entry->slot->store);
    return (struct batch){.writer = {.add = batch_add, .arena = &entry->groups->arena},
                          .store = &entry->slot->store};
}

/* False: it is too large for the log. */
static bool batch_end(struct group_entry *entry, const struct consumer_group *g, bool complete)
{
    struct consumer_host *host = &entry->groups->consumers;
    const struct batch_builder *builder = &entry->slot->store.builder;
    arena_reset(&entry->groups->arena);
    if (!complete || batch_builder_size(builder) > host->record_bytes_max(host, g))
        return false;
    group_entry_append(entry);
    entry->stored = true;
    return true;
}

static const char *what_forbids_upgrade(const struct group_entry *entry)
{
    const struct consumer_host *host = &entry->groups->consumers;
    if (!host->upgrades)
        return "the group is one of the classic protocol, and group.consumer.migration.policy "
               "does not allow it to become another one";
    if (!group_is_consumer(entry->group))
        return "the members of the group are no consumers";
    if (entry->group->member_count > host->members_max)
        return "the group has more members than one of this protocol may have";
    return NULL;
}

static bool write_upgrade(struct group_entry *entry, struct consumer_group *g)
{
    struct io *io = entry->groups->bs->sh->io;
    struct batch batch = batch_begin(entry);
    struct group_record_bytes gone;
    bool good = true;
    if (entry->stored) {
        good = group_record_of_group_gone(&gone, batch.writer.arena, entry->id);
        if (good)
            (void)batch_add(&batch.writer, &gone);
    }
    if (!io_mutation(io, "migrate.tombstone_alone") || !entry->stored)
        good = good && consumer_record_changes(&batch.writer, g);
    if (!batch_end(entry, g, good))
        return false;
    consumer_group_clean(g);
    return true;
}

/* The heartbeat that asks for it is taken by the new group, or there is none. Members that wait are
 * told to join again. */
static enum err upgrade(struct group_entry *entry, struct consumer_heartbeat *hb)
{
    struct group *from = entry->group;
    hb->message = what_forbids_upgrade(entry);
    if (hb->message)
        return ERR_GROUP_ID_NOT_FOUND;
    if (io_mutation(entry->groups->bs->sh->io, "migrate.assignments_forgotten"))
        group_forget_assignments(from);
    struct consumer_group *g = consumer_group_new(&entry->groups->consumers, entry->id);
    enum err error = ERR_NONE;
    g->user = entry;
    if (!consumer_migrate_up(g, from, &hb->message)) {
        error = ERR_GROUP_ID_NOT_FOUND;
    } else if (!consumer_group_may_join(g, hb)) {
        error = hb->error;
    } else if (!write_upgrade(entry, g)) {
        hb->message = "the group has too many members to change its protocol with them";
        error = ERR_UNKNOWN_SERVER_ERROR;
    }
    if (error != ERR_NONE) {
        consumer_group_free(g);
        return error;
    }
    group_kill(from, ERR_REBALANCE_IN_PROGRESS);
    group_entry_become(entry, NULL, g);
    diag_info(entry->groups->bs->sh, "group.upgraded", "group=%.*s members=%u epoch=%d",
              entry->id.len, entry->id.data, g->member_count, g->epoch);
    return ERR_NONE;
}

static bool write_downgrade(struct group_entry *entry, const struct group *to)
{
    struct batch batch = batch_begin(entry);
    struct group_record_bytes record;
    const bool good = consumer_record_gone(&batch.writer, entry->consumer) &&
                      group_record_of_group(&record, batch.writer.arena, to);
    if (good)
        (void)batch_add(&batch.writer, &record);
    return batch_end(entry, entry->consumer, good);
}

/* Behind what is being worked on, which is about members that there are. */
bool groups_downgrade(struct group_entry *entry)
{
    struct consumer_group *g = entry->consumer;
    if (g->planning || g->resolving)
        return false;
    struct group *to = group_new(&entry->groups->host, entry->id);
    const bool mistake = io_mutation(entry->groups->bs->sh->io, "migrate.target_is_held");
    to->user = entry;
    if (!consumer_migrate_down(g, mistake, to) || !write_downgrade(entry, to)) {
        group_free(to);
        consumer_group_stay(g);
        return false;
    }
    group_entry_become(entry, to, NULL);
    diag_info(entry->groups->bs->sh, "group.downgraded", "group=%.*s members=%u generation=%d",
              entry->id.len, entry->id.data, to->member_count, to->generation);
    group_resume(to);
    return true;
}

struct group_entry *groups_get_consumer(struct groups *groups, struct str id,
                                        struct consumer_heartbeat *hb, enum err *error)
{
    struct group_entry *entry = get_any(groups, id, error);
    if (!entry || entry->consumer)
        return entry;
    if (!group_entry_is_empty(entry)) {
        *error = upgrade(entry, hb);
        return *error == ERR_NONE ? entry : NULL;
    }
    if (!may_join(entry, hb)) {
        *error = hb->error;
        groups_settle(entry); /* it may have been made for this */
        return NULL;
    }
    write_gone(entry);
    group_entry_renew_consumer(entry);
    return entry;
}
