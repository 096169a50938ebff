/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group_offsets.h"

/* The key: partition, then the topic's name. */
#define KEY_HEAD sizeof(int32_t)

static size_t key_len_of(struct str topic)
{
    return KEY_HEAD + (size_t)max_i64(topic.len, 0);
}

static void key_put(uint8_t *key, struct str topic, int32_t partition)
{
    memcpy(key, &partition, KEY_HEAD);
    if (topic.len > 0)
        memcpy(key + KEY_HEAD, topic.data, (size_t)topic.len);
}

static struct group_offset *find(const struct group_offsets *offsets, struct str topic,
                                 int32_t partition)
{
    struct group_offset *found = NULL;
    uint8_t
        short_key[KEY_HEAD + 256]; /* topics' names are at most 249 bytes; others are asked for */
    size_t len = key_len_of(topic);
    uint8_t *key = len <= sizeof(short_key) ? short_key : mem_alloc(len);
    key_put(key, topic, partition);
    HASH_FIND(hh, offsets->map, key, len, found);
    if (key != short_key)
        mem_free(key);
    return found;
}

static size_t size_of(const struct group_offset *offset)
{
    return sizeof(*offset) + key_len_of(offset->topic) + (size_t)max_i64(offset->metadata.len, -1) +
           1;
}

void group_offsets_put(struct group_offsets *offsets, const struct group_offset *offset)
{
    struct group_offset *place = find(offsets, offset->topic, offset->partition);
    if (place) {
        offsets->bytes -= size_of(place);
    } else {
        place = mem_zalloc(sizeof(*place));
        size_t len = key_len_of(offset->topic);
        place->key = mem_alloc(len);
        key_put(place->key, offset->topic, offset->partition);
        place->topic = (struct str){.data = (const char *)place->key + KEY_HEAD,
                                    .len = (int32_t)(len - KEY_HEAD)};
        place->partition = offset->partition;
        place->metadata = str_null();
        HASH_ADD_KEYPTR(hh, offsets->map, place->key, len, place);
        offsets->count++;
    }
    struct str metadata = group_text_copy(offset->metadata);
    mem_free(no_const(place->metadata.data));
    place->metadata = metadata;
    place->offset = offset->offset;
    place->leader_epoch = offset->leader_epoch;
    place->commit_ms = offset->commit_ms;
    place->expire_ms = offset->expire_ms;
    offsets->bytes += size_of(place);
}

const struct group_offset *group_offsets_find(const struct group_offsets *offsets, struct str topic,
                                              int32_t partition)
{
    return find(offsets, topic, partition);
}

static void drop(struct group_offsets *offsets, struct group_offset *offset)
{
    HASH_DELETE(hh, offsets->map, offset);
    offsets->count--;
    offsets->bytes -= size_of(offset);
    mem_free(no_const(offset->metadata.data));
    mem_free(offset->key);
    mem_free(offset);
}

bool group_offsets_remove(struct group_offsets *offsets, struct str topic, int32_t partition)
{
    struct group_offset *offset = find(offsets, topic, partition);
    if (!offset)
        return false;
    drop(offsets, offset);
    return true;
}

void group_offsets_fini(struct group_offsets *offsets)
{
    while (offsets->map)
        drop(offsets, offsets->map);
    must(offsets->count == 0 && offsets->bytes == 0);
}

static bool is_older(int64_t since_ms, int64_t retention_ms, int64_t now_ms)
{
    return now_ms - retention_ms >= since_ms;
}

bool group_offset_is_expired(const struct group *g, const struct group_offset *offset,
                             int64_t retention_ms, int64_t now_ms)
{
    int64_t since_ms = offset->commit_ms;
    if (g->protocol_type.len > 0) {
        if (g->state == GROUP_EMPTY)
            since_ms = g->state_since_ms >= 0 ? g->state_since_ms : offset->commit_ms;
        else if (g->state != GROUP_STABLE || !group_is_consumer(g) ||
                 group_subscribes(g, offset->topic))
            return false;
    } else if (g->state != GROUP_EMPTY) {
        return false;
    }
    if (offset->expire_ms >= 0)
        return now_ms >= offset->expire_ms;
    return is_older(since_ms, retention_ms, now_ms);
}
