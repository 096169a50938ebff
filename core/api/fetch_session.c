/* SPDX-License-Identifier: Apache-2.0 */
#include "core/api/fetch_session.h"

#include "core/topic_name.h"

#include <string.h>

#define KEY_BYTES_MAX     (4U + TOPIC_NAME_LEN_MAX)
#define SESSION_BYTES_MAX (32ULL << 20) /* of a shard: 150,000 partitions of short names */
#define HOME_BITS         8U            /* SHARDS_MAX */

struct fetch_sessions *fetch_sessions_new(struct broker_shard *bs)
{
    struct fetch_sessions *sessions = mem_zalloc(sizeof(*sessions));
    int32_t slots = bs->broker->conf->broker.max_incremental_fetch_session_cache_slots;
    sessions->bs = bs;
    sessions->count_max = (uint32_t)max_i64(slots, 0) / bs->sh->count;
    sessions->bytes_max = min_u64(bs->broker->options.plan.heap_bytes / bs->broker->shard_count / 8,
                                  SESSION_BYTES_MAX);
    TAILQ_INIT(&sessions->used);
    TAILQ_INIT(&sessions->under_way);
    return sessions;
}

void fetch_sessions_free(struct fetch_sessions *sessions)
{
    struct fetch_session *session;
    while ((session = TAILQ_FIRST(&sessions->used)))
        fetch_session_close(sessions, session);
    mem_free(sessions);
}

struct fetch_session *fetch_session_find(struct fetch_sessions *sessions, int32_t id)
{
    struct fetch_session *session;
    HASH_FIND(hh, sessions->map, &id, sizeof(id), session);
    return session;
}

/* With the map's share of it and the allocator's. */
static uint64_t partition_bytes(uint32_t key_len)
{
    return sizeof(struct fetch_session_partition) + key_len + 32;
}

static void partition_free(struct fetch_session *session, struct fetch_session_partition *partition)
{
    must(session->partitions); /* the list and the map hold the same */
    session->sessions->bytes -= partition_bytes(partition->key_len);
    HASH_DEL(session->partitions, partition);
    TAILQ_REMOVE(&session->order, partition, link);
    session->count--;
    mem_free(partition->key);
    mem_free(partition);
}

void fetch_session_close(struct fetch_sessions *sessions, struct fetch_session *session)
{
    struct fetch_session_partition *partition;
    while ((partition = TAILQ_FIRST(&session->order)))
        partition_free(session, partition);
    HASH_DEL(sessions->map, session);
    TAILQ_REMOVE(&sessions->used, session, link);
    sessions->count--;
    mem_free(session);
}

/* Makes room for a session of `partition_count`: the least recently used goes if it has been idle
 * for long, or is smaller. */
static bool make_room(struct fetch_sessions *sessions, uint32_t partition_count)
{
    if (sessions->count < sessions->count_max)
        return true;
    struct fetch_session *oldest = TAILQ_FIRST(&sessions->used);
    if (!oldest)
        return false;
    uint64_t now = io_now_ns(sessions->bs->sh->io);
    if (now - oldest->used_ns < FETCH_SESSION_IDLE_NS && oldest->count >= partition_count)
        return false;
    sessions->evictions++;
    fetch_session_close(sessions, oldest);
    return true;
}

static int32_t new_id(struct fetch_sessions *sessions)
{
    for (;;) {
        uint32_t random = (uint32_t)io_random(sessions->bs->sh->io) & (uint32_t)INT32_MAX;
        int32_t id = (int32_t)((random & ~((1U << HOME_BITS) - 1)) | sessions->bs->sh->id);
        if (id > (int32_t)((1U << HOME_BITS) - 1) && !fetch_session_find(sessions, id))
            return id;
    }
}

struct fetch_session *fetch_session_new(struct fetch_sessions *sessions, bool by_id,
                                        uint32_t partition_count)
{
    if (!make_room(sessions, partition_count))
        return NULL;
    struct fetch_session *session = mem_zalloc(sizeof(*session));
    session->sessions = sessions;
    session->id = new_id(sessions);
    session->epoch = 1;
    session->by_id = by_id;
    session->used_ns = io_now_ns(sessions->bs->sh->io);
    TAILQ_INIT(&session->order);
    TAILQ_INSERT_TAIL(&sessions->used, session, link);
    HASH_ADD(hh, sessions->map, id, sizeof(session->id), session);
    sessions->count++;
    return session;
}

void fetch_session_use(struct fetch_sessions *sessions, struct fetch_session *session)
{
    session->epoch = session->epoch == INT32_MAX ? 1 : session->epoch + 1;
    session->used_ns = io_now_ns(sessions->bs->sh->io);
    TAILQ_REMOVE(&sessions->used, session, link);
    TAILQ_INSERT_TAIL(&sessions->used, session, link);
}

/* ---- partitions ---- */

static uint32_t key_encode(const struct fetch_session_key *key, uint8_t *bytes)
{
    memcpy(bytes, &key->partition, sizeof(key->partition));
    if (key->by_id) {
        memcpy(bytes + 4, key->topic_id.bytes, sizeof(key->topic_id.bytes));
        return 4 + (uint32_t)sizeof(key->topic_id.bytes);
    }
    memcpy(bytes + 4, key->topic.data, (size_t)key->topic.len);
    return 4 + (uint32_t)key->topic.len;
}

static bool key_is_possible(const struct fetch_session_key *key)
{
    return key->by_id || (key->topic.len >= 0 && key->topic.len <= TOPIC_NAME_LEN_MAX);
}

/* Room for so many bytes more, if sessions that have been idle for long can give it. */
static bool make_bytes(struct fetch_session *session, uint64_t bytes)
{
    struct fetch_sessions *sessions = session->sessions;
    uint64_t now = io_now_ns(sessions->bs->sh->io);
    while (sessions->bytes + bytes > sessions->bytes_max) {
        struct fetch_session *oldest = TAILQ_FIRST(&sessions->used);
        if (oldest == session || now - oldest->used_ns < FETCH_SESSION_IDLE_NS)
            return false;
        sessions->evictions++;
        fetch_session_close(sessions, oldest);
    }
    return true;
}

struct fetch_session_partition *fetch_session_get(struct fetch_session *session,
                                                  const struct fetch_session_key *key)
{
    if (!key_is_possible(key))
        return NULL;
    uint8_t bytes[KEY_BYTES_MAX];
    uint32_t len = key_encode(key, bytes);
    struct fetch_session_partition *partition;
    HASH_FIND(hh, session->partitions, bytes, len, partition);
    return partition;
}

struct fetch_session_partition *fetch_session_put(struct fetch_session *session,
                                                  const struct fetch_session_key *key)
{
    struct fetch_session_partition *partition = fetch_session_get(session, key);
    if (partition)
        return partition;
    if (session->count == FETCH_SESSION_PARTITIONS_MAX || !key_is_possible(key))
        return NULL;
    uint8_t bytes[KEY_BYTES_MAX];
    uint32_t key_len = key_encode(key, bytes);
    if (!make_bytes(session, partition_bytes(key_len)))
        return NULL;
    partition = mem_zalloc(sizeof(*partition));
    partition->key_len = key_len;
    session->sessions->bytes += partition_bytes(key_len);
    partition->key = mem_alloc(partition->key_len);
    memcpy(partition->key, bytes, partition->key_len);
    partition->partition = key->partition;
    partition->topic_id = key->topic_id;
    partition->topic =
        key->by_id ? str_null() : (struct str){(const char *)partition->key + 4, key->topic.len};
    partition->high_watermark = -1;
    partition->log_start_offset = -1;
    HASH_ADD_KEYPTR(hh, session->partitions, partition->key, partition->key_len, partition);
    TAILQ_INSERT_TAIL(&session->order, partition, link);
    session->count++;
    return partition;
}

void fetch_session_forget(struct fetch_session *session, const struct fetch_session_key *key)
{
    struct fetch_session_partition *partition = fetch_session_get(session, key);
    if (partition)
        partition_free(session, partition);
}

void fetch_session_rotate(struct fetch_session *session, struct fetch_session_partition *partition)
{
    TAILQ_REMOVE(&session->order, partition, link);
    TAILQ_INSERT_TAIL(&session->order, partition, link);
}
