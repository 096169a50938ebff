/* SPDX-License-Identifier: Apache-2.0
 *
 * Incremental fetch sessions (KIP-227): what a client asked for before, so that it need not name
 * unchanged partitions again, and is not told of them. One cache per shard, holding its share of
 * max.incremental.fetch.session.cache.slots; the home shard is the low byte of a session's id, and
 * a session is of use only to connections of that shard (a client that comes back elsewhere is told
 * FETCH_SESSION_ID_NOT_FOUND, and starts anew).
 *
 * What the sessions of a shard remember is bounded in bytes: clients choose the names. Over the
 * bound those idle for long go, and a session that would be too large is not kept: its client
 * fetches on without.
 *
 * Rules S1-S5: the epoch, which partitions an incremental answer names, and the order of
 * partitions, where those that gave data go to the end so that none starves.
 */
#pragma once

#include "core/broker.h"
#include "io/map.h"

#define FETCH_SESSION_IDLE_NS        120000000000ULL /* may be evicted for another after this */
#define FETCH_SESSION_PARTITIONS_MAX 100000U

/* Who a partition is in a session: its topic as the client names it. */
struct fetch_session_key {
    int32_t partition;
    bool by_id;
    struct uuid topic_id;
    struct str topic;
};

struct fetch_session_partition {
    uint8_t *key; /* encoded */
    uint32_t key_len;
    int32_t partition;
    struct uuid topic_id;
    struct str topic; /* own memory */

    /* asked last */
    int64_t offset;
    int32_t bytes_max;
    int32_t current_leader_epoch;
    int32_t last_fetched_epoch;
    /* told last */
    int64_t high_watermark;
    int64_t log_start_offset;

    TAILQ_ENTRY(fetch_session_partition) link;
    UT_hash_handle hh;
};

TAILQ_HEAD(fetch_session_order, fetch_session_partition);

struct fetch_sessions;

struct fetch_session {
    struct fetch_sessions *sessions;
    int32_t id;
    int32_t epoch; /* of the next request */
    bool by_id;
    uint32_t count;
    struct fetch_session_partition *partitions; /* map */
    struct fetch_session_order order;
    uint64_t used_ns;
    TAILQ_ENTRY(fetch_session) link; /* least recently used first */
    UT_hash_handle hh;
};

TAILQ_HEAD(fetch_session_list, fetch_session);

struct fetch;
TAILQ_HEAD(fetch_list, fetch);

struct fetch_sessions {
    struct broker_shard *bs;
    struct fetch_list under_way; /* of connections of this shard */
    struct fetch_session *map;
    struct fetch_session_list used;
    uint32_t count;
    uint32_t count_max;
    uint64_t bytes; /* of their partitions */
    uint64_t bytes_max;
    uint64_t evictions;
};

struct fetch_sessions *fetch_sessions_new(struct broker_shard *bs);
void fetch_sessions_free(struct fetch_sessions *sessions);

/* NULL: there is no such session here. Does not touch its place among the used. */
struct fetch_session *fetch_session_find(struct fetch_sessions *sessions, int32_t id);
/* NULL when the cache is full of sessions that may not be evicted. */
struct fetch_session *fetch_session_new(struct fetch_sessions *sessions, bool by_id,
                                        uint32_t partition_count);
void fetch_session_close(struct fetch_sessions *sessions, struct fetch_session *session);
/* It was used: the epoch moves on (MAX wraps to 1). */
void fetch_session_use(struct fetch_sessions *sessions, struct fetch_session *session);

/* Added at the end of the order when it is new; NULL over FETCH_SESSION_PARTITIONS_MAX, when the
 * shard's bytes are used up, and for a name that no topic can have. */
struct fetch_session_partition *fetch_session_put(struct fetch_session *session,
                                                  const struct fetch_session_key *key);
struct fetch_session_partition *fetch_session_get(struct fetch_session *session,
                                                  const struct fetch_session_key *key);
void fetch_session_forget(struct fetch_session *session, const struct fetch_session_key *key);
/* It gave data: the others come first next time. */
void fetch_session_rotate(struct fetch_session *session, struct fetch_session_partition *partition);
