/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/group_write.h"

#include "core/group/consumer_record.h"
#include "core/group/groups_private.h"

/* One batch of a removal: some hundred microseconds, and far below max.message.bytes. */
#define REMOVAL_OFFSETS   512U
#define REMOVAL_BYTES     (64U << 10)
#define REMOVAL_ARENA_MAX (4U << 20)
#define FULL_EVERY        64U /* records */

/* ---- one batch ---- */

static void write_apply(const struct group_write *write)
{
    struct group_entry *entry = write->entry;
    for (uint32_t i = 0; i < write->count; i++) {
        const struct group_offset *offset = &write->offsets[i];
        if (write->remove)
            group_offsets_remove(&entry->offsets, offset->topic, offset->partition);
        else
            group_offsets_put(&entry->offsets, offset);
    }
    group_entry_account(entry);
}

static void removal_step(struct group_removal *removal);

static void write_end(struct group_write *write, enum err error)
{
    struct group_entry *entry = write->entry;
    write->error = group_store_offset_error(error);
    if (error == ERR_NONE)
        write_apply(write);
    TAILQ_REMOVE(&entry->writes, write, link);
    write->done(write);
    if (entry->removal && TAILQ_EMPTY(&entry->writes)) {
        struct group_removal *removal = entry->removal;
        entry->removal = NULL;
        removal_step(removal);
    }
    groups_release(entry);
}

static void on_written(struct group_append *append)
{
    write_end(append->user, append->error);
}

/* The mistake: nobody waits for the log. */
static void on_written_unseen(struct group_append *append)
{
    (void)append;
}

static void on_written_early(struct shard *here, struct mail *mail)
{
    (void)here;
    write_end(container_of(mail, struct group_write, mail), ERR_NONE);
}

static void on_not_written(struct shard *here, struct mail *mail)
{
    (void)here;
    write_end(container_of(mail, struct group_write, mail), ERR_RECORD_LIST_TOO_LARGE);
}

static void on_no_room(struct shard *here, struct mail *mail)
{
    (void)here;
    write_end(container_of(mail, struct group_write, mail), ERR_COORDINATOR_NOT_AVAILABLE);
}

/* The memory for all groups. Whose offsets are there goes on with them when others have used it up;
 * the rest hears an error on which clients come back. */
static bool has_room(const struct group_write *write)
{
    const struct group_entry *entry = write->entry;
    return write->remove || entry->groups->bytes < entry->groups->bytes_max ||
           group_offsets_growth(&entry->offsets, write->offsets, write->count) == 0 ||
           !groups_are_full(entry->groups, entry->id);
}

static bool write_add(const struct group_write *write, const struct group_offset *offset)
{
    struct str id = write->entry->id;
    struct group_record_bytes record;
    bool fits = write->remove ? group_record_of_offset_gone(&record, write->arena, id,
                                                            offset->topic, offset->partition)
                              : group_record_of_offset(&record, write->arena, id, offset);
    if (fits)
        group_store_add(&write->entry->slot->store, &record);
    return fits;
}

struct tombstones {
    struct consumer_writer writer;
    struct group_store *store;
};

static bool on_tombstone(struct consumer_writer *writer, const struct group_record_bytes *record)
{
    group_store_add(container_of(writer, struct tombstones, writer)->store, record);
    return true;
}

/* That it is gone. */
static bool write_add_group(const struct group_write *write)
{
    const struct group_entry *entry = write->entry;
    struct tombstones to = {.writer = {.add = on_tombstone, .arena = write->arena},
                            .store = &write->entry->slot->store};
    struct group_record_bytes record;
    if (entry->consumer)
        return consumer_record_gone(&to.writer, entry->consumer);
    if (!group_record_of_group_gone(&record, write->arena, entry->id))
        return false;
    group_store_add(to.store, &record);
    return true;
}

static bool write_build(const struct group_write *write)
{
    struct group_store *store = &write->entry->slot->store;
    group_store_begin(store);
    for (uint32_t i = 0; i < write->count; i++) {
        if (!write_add(write, &write->offsets[i]))
            return false;
        if (i % FULL_EVERY == 0 && group_store_is_full(store))
            return false; /* the log would refuse it; a request may be a hundred times as long */
    }
    return !write->group_too || write_add_group(write);
}

void group_write_start(struct group_write *write)
{
    struct group_entry *entry = write->entry;
    struct shard *sh = entry->groups->bs->sh;
    must(write->count > 0 || write->group_too);
    groups_hold(entry);
    TAILQ_INSERT_TAIL(&entry->writes, write, link);
    if (!has_room(write)) {
        shard_post(sh, sh->id, &write->mail, on_no_room);
    } else if (!write_build(write)) {
        shard_post(sh, sh->id, &write->mail, on_not_written);
    } else if (io_mutation(sh->io, "group.acknowledged_early")) {
        group_store_append(&entry->slot->store, on_written_unseen, NULL);
        shard_post(sh, sh->id, &write->mail, on_written_early);
    } else {
        group_store_append(&entry->slot->store, on_written, write);
    }
}

/* ---- removals ---- */

static bool is_being_written(const struct group_entry *entry, const struct group_offset *offset)
{
    const struct group_write *write;
    TAILQ_FOREACH (write, &entry->writes, link)
        for (uint32_t i = 0; !write->remove && i < write->count; i++)
            if (write->offsets[i].partition == offset->partition &&
                str_equal(write->offsets[i].topic, offset->topic))
                return true;
    return false;
}

static bool is_to_go(const struct group_removal *removal, const struct group_offset *offset)
{
    return (!removal->wants || removal->wants(removal, offset)) &&
           !is_being_written(removal->entry, offset);
}

/* The topic may be gone from memory before the write is done, so its name is copied. */
static bool collect_topic(struct group_removal *removal, const struct group_topic *topic,
                          size_t *bytes)
{
    struct group_write *write = &removal->write;
    const struct group_offset *offset;
    struct str name = str_null();
    TAILQ_FOREACH (offset, &topic->offsets, link) {
        if (!is_to_go(removal, offset))
            continue;
        *bytes += (size_t)topic->name.len + (size_t)removal->entry->id.len;
        if (write->count == REMOVAL_OFFSETS || (*bytes > REMOVAL_BYTES && write->count > 0))
            return false;
        if (name.len < 0) {
            char *copy = arena_alloc(&removal->arena, (size_t)topic->name.len);
            if (!copy)
                return false;
            memcpy(copy, topic->name.data, (size_t)topic->name.len);
            name = (struct str){copy, topic->name.len};
        }
        write->offsets[write->count++] =
            (struct group_offset){.topic = name, .partition = offset->partition};
    }
    return true;
}

static void on_removed(struct group_write *write)
{
    struct group_removal *removal = container_of(write, struct group_removal, write);
    removal->error = write->error;
    if (write->error == ERR_NONE)
        removal->removed += write->count;
    if (removal->finishing && write->error == ERR_NONE)
        removal->entry->stored = false;
    removal_step(removal);
}

/* False: there is nothing to be taken back, or not now. */
static bool removal_collect(struct group_removal *removal)
{
    size_t bytes = 0;
    arena_reset(&removal->arena);
    removal->write = (struct group_write){
        .entry = removal->entry,
        .offsets = arena_array(&removal->arena, REMOVAL_OFFSETS, sizeof(struct group_offset)),
        .remove = true,
        .arena = &removal->arena,
        .done = on_removed};
    must(removal->write.offsets);
    const struct group_topic *topic = removal->entry->offsets.topics;
    while (topic && collect_topic(removal, topic, &bytes))
        topic = topic->hh.next;
    return removal->write.count > 0;
}

static void removal_end(struct group_removal *removal)
{
    struct group_entry *entry = removal->entry;
    if (removal->error != ERR_NONE)
        entry->ending = false;
    else if (entry->ending && entry->consumer)
        entry->consumer->dead = true;
    else if (entry->ending && entry->group->state != GROUP_DEAD)
        group_kill(entry->group, ERR_COORDINATOR_NOT_AVAILABLE);
    arena_fini(&removal->arena);
    removal->done(removal);
    groups_release(entry);
}

static bool is_over(const struct group_entry *entry)
{
    return group_entry_is_empty(entry) && !group_entry_is_dead(entry) &&
           entry->offsets.count == 0 && TAILQ_EMPTY(&entry->writes);
}

/* Nothing is left to be taken back but the group. */
static void removal_finish(struct group_removal *removal)
{
    struct group_entry *entry = removal->entry;
    removal->finishing = true;
    entry->ending = true;
    removal->write.group_too = true;
    if (entry->stored && !group_entry_is_dead(entry))
        group_write_start(&removal->write);
    else
        removal_end(removal);
}

static void removal_step(struct group_removal *removal)
{
    struct group_entry *entry = removal->entry;
    if (removal->error != ERR_NONE || removal->finishing) {
        removal_end(removal);
    } else if (removal_collect(removal)) {
        group_write_start(&removal->write);
    } else if (!removal->group_too || (removal->wants && !is_over(entry))) {
        removal_end(removal);
    } else if (!TAILQ_EMPTY(&entry->writes)) {
        must(!entry->removal); /* a group goes once */
        entry->removal = removal;
    } else {
        removal_finish(removal);
    }
}

void group_removal_start(struct group_removal *removal)
{
    removal->error = ERR_NONE;
    removal->removed = 0;
    removal->finishing = false;
    removal->entry->ending |= removal->group_too && !removal->wants;
    arena_init(&removal->arena, REMOVAL_ARENA_MAX);
    groups_hold(removal->entry);
    removal_step(removal);
}
