/* SPDX-License-Identifier: Apache-2.0
 *
 * What image_edit.c (begin, overlay, end) and image_apply.c (records) share.
 */
#pragma once

#include "core/metadata/image_edit.h"
#include "core/metadata/image_private.h"
#include "io/mem.h"

#define uthash_malloc(size)               mem_alloc(size)
#define uthash_free(memory, len)          mem_free(memory)
#define HASH_FUNCTION(key, len, hash_out) HASH_FNV(key, len, hash_out)
#include <uthash.h>

/* A topic that is new, changed or deleted in this edit. */
struct edit_topic {
    struct uuid id;
    struct topic_image *topic; /* our own until the end; NULL: deleted */
    bool reconfigured;
    char *folded; /* key of by_name; NULL: not in it */
    UT_hash_handle by_id;
    UT_hash_handle by_name;
};

struct image_edit {
    const struct image *base;   /* NULL: from nothing */
    const struct image *before; /* where partitions are at home; NULL: nowhere yet */
    struct image *next;
    struct image_tables *tables; /* of next */
    struct edit_topic *by_id;
    struct edit_topic *by_name; /* by folded name, those not deleted */
    uint32_t changed_count;
    bool settings_changed; /* every topic's configuration is resolved anew */
    bool quotas_changed;   /* next has a table of its own */
    uint32_t ignored;
};

/* In the arena of the next image. */
void *edit_take_room(struct image_edit *edit, size_t count, size_t size);
/* A copy there; NULL of null. */
const char *edit_keep_str(struct image_edit *edit, struct str text);
/* The brokers of `base`, with room for `room`. */
void edit_copy_brokers(struct image_edit *edit, const struct image *base, uint32_t room);

/* NULL: not changed so far. */
struct edit_topic *edit_find_changed(const struct image_edit *edit, const struct uuid *id);
/* Our own copy of a topic, made at its first change. NULL: there is no such topic. */
struct edit_topic *edit_change(struct image_edit *edit, const struct uuid *id);
/* A topic that is new; it is the edit's from now on. */
struct edit_topic *edit_add_changed(struct image_edit *edit, struct topic_image *topic);
/* Points each of `partitions` at its replicas in topic->ids. */
void edit_place_ids(struct topic_image *topic, struct partition_image *partitions);

/* The settings of a topic, or (NULL) of this broker. */
struct conf_view edit_view(const struct image_edit *edit, const struct overrides *topic);
