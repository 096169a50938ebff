/* SPDX-License-Identifier: Apache-2.0
 *
 * One consumer group of the classic protocol: the state machine, and nothing else. It knows no
 * sockets, no log and no clock of its own: a host (core/group/groups.c, or a test) gives it
 * requests, time and chance, writes down what it asks to be written, and is told the answers.
 *
 * How a generation comes to be: members join, and each answer is held back until all members have
 * (PreparingRebalance); then the generation grows, everyone is answered, and the leader alone is
 * told who is there (CompletingRebalance); the leader decides who reads what, everyone else waits
 * for that in SyncGroup; when the decision is stored the group is Stable. Whoever joins, leaves or
 * falls silent begins it again.
 *
 * Waiting requests are the host's memory, lent until their done(). done() may run inside the call
 * that brought the request, and must not call back into the group; pointers in the answer are valid
 * only within it.
 *
 * Sources: the protocol's requests and KIPs 62 (rebalance timeout), 134 (initial delay), 345
 * (static members), 389 (group.max.size), 394 (member id required), 559 (protocol type and name),
 * 814 (static leader skips the assignment).
 */
#pragma once

#include "core/group/group_member.h"

#include <sys/queue.h>

/* In the table in core/group/group.c stands who may follow whom. */
#define GROUP_STATES(X)                                                                            \
    X(GROUP_EMPTY, "Empty")                                                                        \
    X(GROUP_PREPARING_REBALANCE, "PreparingRebalance")                                             \
    X(GROUP_COMPLETING_REBALANCE, "CompletingRebalance")                                           \
    X(GROUP_STABLE, "Stable")                                                                      \
    X(GROUP_DEAD, "Dead")

enum group_state {
#define X(name, text) name,
    GROUP_STATES(X)
#undef X
        GROUP_STATE_COUNT
};

/* As the protocol writes it. */
const char *group_state_name(enum group_state state);

struct group;

struct group_host {
    uint64_t (*now_ns)(struct group_host *host);
    int64_t (*wall_ms)(struct group_host *host);
    uint64_t (*random)(struct group_host *host);
    /* Write the group as it is now, while group_is_deciding() with next_assignment in place of each
     * assignment; then, in a later call, group_stored(group, ticket, ...). Tickets only rise. */
    void (*store)(struct group_host *host, struct group *group, uint64_t ticket);
    /* What is larger cannot be stored. */
    size_t (*record_bytes_max)(struct group_host *host, const struct group *group);

    int32_t session_timeout_min_ms;
    int32_t session_timeout_max_ms;
    int32_t initial_rebalance_delay_ms;
    uint32_t members_max;      /* group.max.size */
    size_t group_bytes_max;    /* of one group's members */
    uint64_t member_bytes;     /* of all groups of this host: kept by the groups */
    uint64_t member_bytes_max; /* no member joins above it */
};

/* A member id that was given away and has not come back yet. */
struct group_pending {
    struct str id;
    uint64_t expires_ns;
    UT_hash_handle hh;
};

struct group {
    struct group_host *host;
    void *user; /* the host's */
    struct str id;
    enum group_state state;
    int32_t generation;
    struct str protocol_type; /* null until the first member */
    struct str protocol;      /* the chosen one; null while there is none */
    struct str leader;        /* a member's id; null: none */
    int64_t state_since_ms;   /* wall clock */

    struct group_member *members; /* map by id */
    struct group_member *statics; /* map by instance id */
    uint32_t member_count;
    uint32_t joined_count;
    uint32_t sync_pending_count;
    struct group_pending *pending; /* map by id */
    uint32_t pending_count;
    size_t bytes;

    /* No event of time comes earlier; UINT64_MAX: none comes. The host calls group_tick() then. */
    uint64_t deadline_ns;

    /* private */
    uint64_t join_ends_ns; /* PreparingRebalance */
    uint64_t sync_ends_ns; /* for those that have not synced */
    bool delayed;          /* the initial delay runs */
    bool joined_meanwhile; /* somebody joined within it */
    bool undecided;        /* no leader has decided this generation; its record has none */
    int32_t delay_left_ms;
    uint64_t tickets;
    uint64_t sync_ticket; /* the decision of this generation is being stored; 0: it is not */
    TAILQ_HEAD(, group_join) storing; /* static members that wait for their new id to be stored */
};

struct group *group_new(struct group_host *host, struct str id);
/* Nothing waits any more. */
void group_free(struct group *g);

/* ---- requests ---- */

struct group_join {
    /* in */
    struct str member_id;   /* "": it has none yet */
    struct str instance_id; /* null: a dynamic member */
    struct str client_id;
    struct str client_host;
    struct str protocol_type;
    const struct group_protocol *protocols; /* needed only within group_join() */
    uint32_t protocol_count;
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms;
    bool member_id_required; /* v4+: a new dynamic member is given an id first (G4) */
    bool may_skip;           /* v9+: knows skip_assignment (G12) */
    void (*done)(struct group_join *join);
    void *user;

    /* out */
    enum err error;
    int32_t generation; /* -1 with an error */
    struct str protocol_type_out;
    struct str protocol; /* null with an error */
    struct str leader;
    struct str member_id_out;
    bool skip_assignment;
    const struct group *members_of; /* the leader is told its members; NULL: nobody is */

    /* private */
    struct group *group; /* while it waits */
    struct group_member *member;
    TAILQ_ENTRY(group_join) link;
    uint64_t ticket;
    struct str old_leader;
    bool stores;
};

struct group_assignment {
    struct str member_id;
    struct bytes assignment;
};

struct group_sync {
    /* in */
    struct str member_id;
    struct str instance_id;
    int32_t generation;
    struct str protocol_type; /* null: does not say */
    struct str protocol;
    const struct group_assignment *assignments; /* needed only within group_sync() */
    uint32_t assignment_count;
    void (*done)(struct group_sync *sync);
    void *user;

    /* out */
    enum err error;
    struct str protocol_type_out; /* null with an error */
    struct str protocol_out;
    struct bytes assignment;

    /* private */
    struct group *group; /* while it waits */
    struct group_member *member;
};

void group_join(struct group *g, struct group_join *join);
void group_sync(struct group *g, struct group_sync *sync);
enum err group_heartbeat(struct group *g, struct str member_id, struct str instance_id,
                         int32_t generation);
/* An empty member id with an instance id is an administrator's removal. */
enum err group_leave(struct group *g, struct str member_id, struct str instance_id);
/* May this one commit offsets now? A member that may is alive thereby (O1). */
enum err group_commit(struct group *g, struct str member_id, struct str instance_id,
                      int32_t generation);

/* Whoever waits is gone, or must not wait any longer: ends it with this error. The member stays as
 * joined as it was; one that was never told its id is given a session timeout to come back. Nothing
 * when it does not wait. */
void group_join_cancel(struct group_join *join, enum err error);
void group_sync_cancel(struct group_sync *sync, enum err error);

/* ---- time and storage ---- */

void group_tick(struct group *g);
void group_stored(struct group *g, uint64_t ticket, enum err error);

/* What was read back from the log: members first, then the group, which is then Empty or Stable. */
void group_restore_member(struct group *g, struct str member_id, struct str instance_id,
                          struct str client_id, struct str client_host, int32_t session_timeout_ms,
                          int32_t rebalance_timeout_ms, const struct group_protocol *protocols,
                          uint32_t protocol_count, struct bytes assignment);
void group_restore(struct group *g, int32_t generation, struct str protocol_type,
                   struct str protocol, struct str leader, int64_t state_since_ms);

/* Of members that were of another kind of group; the protocol is one that all speak. Undecided:
 * nobody who leads has decided who has what, so they are to join again (group_resume()). */
void group_restore_chosen(struct group *g, int32_t generation, struct str protocol_type,
                          bool undecided);

/* The host serves from now on: whoever was restored has a session timeout to be heard. */
void group_resume(struct group *g);
/* A mistake on purpose: nobody has anything. */
void group_forget_assignments(struct group *g);
/* Everybody who waits is answered with the error; the group is Dead. */
void group_kill(struct group *g, enum err error);

/* ---- questions ---- */

/* Is a consumer of it reading the topic? What cannot be parsed may mean any topic (G14). */
bool group_subscribes(const struct group *g, struct str topic);
bool group_is_consumer(const struct group *g);
/* The leader's decision is being stored: next_assignment, of everybody, is what will be. */
bool group_is_deciding(const struct group *g);
/* Nothing to remember: no members, nobody expected, never a generation. */
bool group_is_void(const struct group *g);
