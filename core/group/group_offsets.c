/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/group_offsets.h"

const struct group_topic *group_offsets_topic(const struct group_offsets *offsets, struct str name)
{
    struct group_topic *topic = NULL;
    if (name.len >= 0)
        HASH_FIND(hh, offsets->topics, name.data, (size_t)name.len, topic);
    return topic;
}

static struct group_offset *find(const struct group_offsets *offsets,
                                 const struct group_topic *topic, int32_t partition)
{
    struct group_offset *found = NULL;
    if (!topic)
        return NULL;
    const struct group_offset_key key = {.topic = topic->number, .partition = partition};
    HASH_FIND(hh, offsets->map, &key, sizeof(key), found);
    return found;
}

const struct group_offset *group_offsets_find(const struct group_offsets *offsets, struct str topic,
                                              int32_t partition)
{
    return find(offsets, group_offsets_topic(offsets, topic), partition);
}

static size_t topic_size(const struct group_topic *topic)
{
    return sizeof(*topic) + (size_t)topic->name.len + 1;
}

static size_t offset_size(const struct group_offset *offset)
{
    return sizeof(*offset) + (size_t)max_i64(offset->metadata.len, -1) + 1;
}

static struct group_topic *topic_add(struct group_offsets *offsets, struct str name)
{
    struct group_topic *topic = mem_zalloc(sizeof(*topic));
    topic->name = group_text_copy(name.len >= 0 ? name : str_of(""));
    topic->number = offsets->next_number++;
    TAILQ_INIT(&topic->offsets);
    HASH_ADD_KEYPTR(hh, offsets->topics, topic->name.data, (size_t)topic->name.len, topic);
    offsets->topic_count++;
    offsets->bytes += topic_size(topic);
    return topic;
}

static struct group_offset *offset_add(struct group_offsets *offsets, struct group_topic *topic,
                                       int32_t partition)
{
    struct group_offset *offset = mem_zalloc(sizeof(*offset));
    offset->home = topic;
    offset->topic = topic->name;
    offset->partition = partition;
    offset->metadata = str_null();
    offset->key = (struct group_offset_key){.topic = topic->number, .partition = partition};
    HASH_ADD(hh, offsets->map, key, sizeof(offset->key), offset);
    TAILQ_INSERT_TAIL(&topic->offsets, offset, link);
    topic->count++;
    offsets->count++;
    offsets->bytes += offset_size(offset);
    return offset;
}

void group_offsets_put(struct group_offsets *offsets, const struct group_offset *offset)
{
    struct group_topic *topic = no_const(group_offsets_topic(offsets, offset->topic));
    if (!topic)
        topic = topic_add(offsets, offset->topic);
    struct group_offset *place = find(offsets, topic, offset->partition);
    if (!place)
        place = offset_add(offsets, topic, offset->partition);
    offsets->bytes -= offset_size(place);
    struct str metadata = group_text_copy(offset->metadata);
    mem_free(no_const(place->metadata.data));
    place->metadata = metadata;
    place->topic_id = offset->topic_id;
    place->offset = offset->offset;
    place->leader_epoch = offset->leader_epoch;
    place->commit_ms = offset->commit_ms;
    place->expire_ms = offset->expire_ms;
    offsets->bytes += offset_size(place);
}

static void drop(struct group_offsets *offsets, struct group_offset *offset)
{
    struct group_topic *topic = offset->home;
    HASH_DELETE(hh, offsets->map, offset);
    TAILQ_REMOVE(&topic->offsets, offset, link);
    topic->count--;
    offsets->count--;
    offsets->bytes -= offset_size(offset);
    mem_free(no_const(offset->metadata.data));
    mem_free(offset);
    if (topic->count > 0)
        return;
    HASH_DELETE(hh, offsets->topics, topic);
    offsets->topic_count--;
    offsets->bytes -= topic_size(topic);
    mem_free(no_const(topic->name.data));
    mem_free(topic);
}

static size_t growth(const struct group_offsets *offsets, const struct group_offset *put)
{
    const struct group_topic *topic = group_offsets_topic(offsets, put->topic);
    const struct group_offset *place = find(offsets, topic, put->partition);
    const size_t topic_bytes = sizeof(*topic) + (size_t)max_i64(put->topic.len, 0) + 1;
    const size_t had = place ? offset_size(place) : 0;
    const size_t has = offset_size(put) + (topic ? 0 : topic_bytes);
    return has > had ? has - had : 0;
}

size_t group_offsets_growth(const struct group_offsets *offsets, const struct group_offset *puts,
                            uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += growth(offsets, &puts[i]);
    return bytes;
}

bool group_offsets_remove(struct group_offsets *offsets, struct str topic, int32_t partition)
{
    struct group_offset *offset = no_const(group_offsets_find(offsets, topic, partition));
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

bool group_offset_is_old(const struct group_offset *offset, int64_t retention_ms, int64_t now_ms)
{
    return offset->expire_ms >= 0 ? now_ms >= offset->expire_ms
                                  : is_older(offset->commit_ms, retention_ms, now_ms);
}

/* Who reads a topic is asked last: all members are looked at for it. */
bool group_offset_is_expired(const struct group *g, const struct group_offset *offset,
                             int64_t retention_ms, int64_t now_ms)
{
    const bool managed = g->protocol_type.len > 0;
    int64_t since_ms = offset->commit_ms;
    if (managed && g->state == GROUP_EMPTY && g->state_since_ms >= 0)
        since_ms = g->state_since_ms;
    const bool old = offset->expire_ms >= 0 ? now_ms >= offset->expire_ms
                                            : is_older(since_ms, retention_ms, now_ms);
    if (!old || g->state == GROUP_EMPTY)
        return old;
    return managed && g->state == GROUP_STABLE && group_is_consumer(g) &&
           !group_subscribes(g, offset->topic);
}
