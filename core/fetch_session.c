/* SPDX-License-Identifier: Apache-2.0 */
#include "core/fetch_session.h"

#include <string.h>

#define KEY_BYTES_MAX (8U + 32767U)
#define HOME_BITS     8U /* SHARDS_MAX */

struct fetch_sessions *fetch_sessions_new(struct broker_shard *bs)
{
    struct fetch_sessions *sessions = mem_zalloc(sizeof(*sessions));
    int32_t slots = bs->broker->conf->broker.max_incremental_fetch_session_cache_slots;
    sessions->bs = bs;
    sessions->count_max = (uint32_t)max_i64(slots, 0) / bs->sh->count;
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

static void partition_free(struct fetch_session *session, struct fetch_session_partition *partition)
{
    must(session->partitions); /* the list and the map hold the same */
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

struct fetch_session_partition *fetch_session_get(struct fetch_session *session,
                                                  const struct fetch_session_key *key)
{
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
    if (session->count == FETCH_SESSION_PARTITIONS_MAX)
        return NULL;
    uint8_t bytes[KEY_BYTES_MAX];
    partition = mem_zalloc(sizeof(*partition));
    partition->key_len = key_encode(key, bytes);
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
