/* SPDX-License-Identifier: Apache-2.0
 *
 * A member of a classic consumer group, as its coordinator knows it: who it is, how long it may be
 * silent, which protocols it speaks, and which of its requests waits for an answer. What is read
 * from requests is copied: a member outlives them. What the members together make of it is
 * core/group/group.c's.
 */
#pragma once

#include "io/map.h"
#include "net/err.h"
#include "net/wire.h"

/* More than any client offers (three at most); bounds the search for one that all speak. */
#define GROUP_PROTOCOLS_MAX 64U

/* An assignment strategy that a member knows, and what it wants to tell the leader about itself;
 * opaque but for OffsetDelete and expiry (G14). */
struct group_protocol {
    struct str name;
    struct bytes metadata;
};

struct group_join;
struct group_sync;

struct group_member {
    struct str id;
    struct str instance_id; /* null: dynamic */
    struct str client_id;
    struct str client_host;
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms;
    struct group_protocol *protocols; /* one allocation with their bytes */
    uint32_t protocol_count;
    struct bytes assignment;      /* own memory */
    struct bytes next_assignment; /* likewise: what the leader decided, until it is stored */
    size_t bytes;                 /* of memory, all together */

    struct group_join *join; /* waits; NULL also when its connection went while it waited */
    struct group_sync *sync; /* waits */
    bool joined;             /* for the next generation */
    bool is_new;             /* has never been told its generation */
    bool sync_pending;       /* was told its generation, and has not asked for its assignment */
    uint64_t expires_ns;

    UT_hash_handle hh; /* by id, in order of arrival */
    UT_hash_handle hh_instance;
};

struct group_member *group_member_new(struct str id, struct str instance_id, struct str client_id,
                                      struct str client_host);
void group_member_free(struct group_member *member);
/* A static member is taken over: same place, new id. Not while it is in a map. */
void group_member_rename(struct group_member *member, struct str id);
void group_member_set_protocols(struct group_member *member, const struct group_protocol *protocols,
                                uint32_t count);
void group_member_set_assignment(struct group_member *member, struct bytes assignment);
void group_member_set_next_assignment(struct group_member *member, struct bytes assignment);
/* What was decided becomes what is. */
void group_member_take_next_assignment(struct group_member *member);

/* The same protocols in the same order with the same bytes? */
bool group_member_matches(const struct group_member *member, const struct group_protocol *protocols,
                          uint32_t count);
/* NULL when it does not speak it. */
const struct group_protocol *group_member_protocol(const struct group_member *member,
                                                   struct str name);
/* Empty when it does not speak it. */
struct bytes group_member_metadata(const struct group_member *member, struct str protocol);

/* Protocols with their bytes, in one allocation. */
struct group_protocol *group_protocols_copy(const struct group_protocol *protocols, uint32_t count);
size_t group_protocols_size(const struct group_protocol *protocols, uint32_t count);
bool group_protocols_equal(const struct group_protocol *a, uint32_t a_count,
                           const struct group_protocol *b, uint32_t b_count);

/* A copy in memory of its own; null stays null. */
struct str group_text_copy(struct str text);
