/* SPDX-License-Identifier: Apache-2.0
 *
 * One consumer group of the protocol of KIP-848: the state machine, and nothing else. It knows no
 * sockets, no log and no clock of its own: a host (core/group/groups_consumer.c, or a test) gives
 * it heartbeats, time and what it knows of topics, and writes down what has changed.
 *
 * Three epochs say how far things are. The group's grows when its members, what they want, or the
 * topics change. The assignment's is the group's epoch for which the target was computed: what each
 * member is to have in the end. A member's is the assignment's epoch that it has come to: it first
 * gives back what it is to lose, and says so by a heartbeat that no longer names it; then it gets
 * the new epoch, and of what it is to have that which nobody else holds. So no partition ever has
 * two readers.
 *
 * Whatever a call has changed is marked (`dirty`), the host writes it
 * (core/group/consumer_record.h) and answers when that is durable.
 *
 * What cannot be kept is refused, and by that who wants it, never those that were there: a target
 * whose record the log would not take, a plan or matches of an expression beyond the memory for
 * members of all groups.
 *
 * Members may speak the classic protocol: a group migrates with those it has, in both directions
 * (core/group/consumer_classic.h, core/group/consumer_migrate.h).
 *
 * Sources: the protocol's requests, KIP-848, KIP-1251 (commits under an older epoch).
 */
#pragma once

#include "core/group/assign.h"
#include "core/group/consumer_subscription.h"

#include <sys/queue.h>

#define CONSUMER_EPOCH_JOIN         0
#define CONSUMER_EPOCH_LEAVE        (-1)
#define CONSUMER_EPOCH_LEAVE_STATIC (-2) /* it will be back, by its instance id */

/* As the protocol writes them. */
#define CONSUMER_STATES(X)                                                                         \
    X(CONSUMER_EMPTY, "Empty")                                                                     \
    X(CONSUMER_ASSIGNING, "Assigning")     /* the target is older than the group */                \
    X(CONSUMER_RECONCILING, "Reconciling") /* somebody has not come to the target yet */           \
    X(CONSUMER_STABLE, "Stable")                                                                   \
    X(CONSUMER_DEAD, "Dead")

enum consumer_state {
#define X(name, text) name,
    CONSUMER_STATES(X)
#undef X
        CONSUMER_STATE_COUNT
};

const char *consumer_state_name(enum consumer_state state);

/* Numbers of the records. */
enum consumer_member_state {
    CONSUMER_MEMBER_STABLE = 0,
    CONSUMER_MEMBER_REVOKING = 1, /* it is to give something back first */
    CONSUMER_MEMBER_WAITING = 2,  /* others have not given back yet what it is to have */
    CONSUMER_MEMBER_UNKNOWN = 127 /* written by who knew more states than there are here */
};

enum consumer_dirty {
    CONSUMER_DIRTY_MEMBER = 1,  /* who it is and what it wants */
    CONSUMER_DIRTY_TARGET = 2,  /* what it is to have */
    CONSUMER_DIRTY_CURRENT = 4, /* what it has */
    CONSUMER_DIRTY_GROUP = 8,   /* the group's epoch */
    CONSUMER_DIRTY_EPOCH = 16   /* the assignment's */
};

/* Of a member that speaks the classic protocol still, while its group migrates
 * (core/group/consumer_classic.h). */
struct consumer_classic {
    int32_t session_timeout_ms;
    struct group_protocol *protocols; /* one allocation with their bytes; one at least */
    uint32_t protocol_count;
    uint64_t join_by_ns; /* it was told to join again; UINT64_MAX: it was not */
    uint64_t sync_by_ns; /* it has joined, and is to ask what is its own; likewise */
};

/* A protocol that such members speak, and how many. */
struct consumer_spoken {
    struct str name;
    uint32_t members;
    UT_hash_handle hh;
};

struct consumer_member {
    struct str id;
    struct str instance_id; /* null: dynamic */
    struct str rack_id;     /* null: unknown */
    struct str client_id;
    struct str client_host;
    struct consumer_subscription *subscription; /* NULL only while it is read back */
    struct consumer_classic *classic;           /* NULL: it speaks the protocol of KIP-848 */
    int32_t assignor;                           /* enum assignor; -1: any */
    int32_t rebalance_timeout_ms;
    int32_t epoch;
    int32_t previous_epoch;
    enum consumer_member_state state;
    struct tp_set target;
    struct tp_set assigned;
    struct tp_set revoking;
    uint64_t expires_ns;
    uint64_t revoke_by_ns; /* UINT64_MAX: nothing is to be given back */
    uint8_t dirty;
    bool planned;            /* some target was made for what it wants now */
    bool reconciled;         /* private: counted as such */
    int32_t *restored_since; /* private: of `assigned`, until the group is served; */
    int32_t *revoked_since;  /* likewise of `revoking` */
    TAILQ_ENTRY(consumer_member) dirty_link;
    UT_hash_handle hh; /* by id, in order of arrival */
    UT_hash_handle hh_instance;
};

/* A partition that a member has, or is still to give back, and since which epoch. */
struct consumer_holding {
    struct tp part;
    int32_t epoch;
    struct consumer_member *member;
    UT_hash_handle hh;
};

/* A member that is gone, or an expression that nobody uses any more: its records go, too. */
struct consumer_gone {
    struct str id;
    bool regex;
    STAILQ_ENTRY(consumer_gone) link;
};

struct consumer_group;

struct consumer_host {
    uint64_t (*now_ns)(struct consumer_host *host);
    int64_t (*wall_ms)(struct consumer_host *host);
    /* Is there such a topic, of which id and with how many partitions? */
    bool (*topic)(struct consumer_host *host, struct str name, struct uuid *id,
                  uint32_t *partitions);
    /* What is it called? Null: there is none such. */
    struct str (*topic_name)(struct consumer_host *host, const struct uuid *id);
    /* assign_run(), now or later; then consumer_group_assigned(), which takes the plan. */
    void (*assign)(struct consumer_host *host, struct consumer_group *g, struct assign_plan *plan);
    /* Ask all expressions that were not asked against the newest topics; then, in a later call,
     * consumer_group_resolved(). */
    void (*resolve)(struct consumer_host *host, struct consumer_group *g);
    /* What is larger cannot be stored. */
    size_t (*record_bytes_max)(struct consumer_host *host, const struct consumer_group *g);
    /* NULL, or why it cannot be used. */
    const char *(*regex_check)(struct consumer_host *host, struct str regex);

    int32_t session_timeout_ms;
    int32_t heartbeat_interval_ms;
    uint32_t members_max;
    bool served[ASSIGNOR_COUNT];
    enum assignor preferred;
    uint32_t regexes_max;      /* of one group */
    uint64_t topics_version;   /* grows when topics come, go or get partitions; > 0 */
    uint64_t member_bytes;     /* of all groups of this host: kept by the groups */
    uint64_t member_bytes_max; /* no member joins above it */

    /* group.consumer.migration.policy, and what members of the classic protocol are held to */
    bool upgrades;   /* a classic group becomes one of these */
    bool downgrades; /* and the other way */
    bool mixes;      /* members of the classic protocol may come in */
    uint32_t classic_members_max;
    int32_t classic_session_min_ms;
    int32_t classic_session_max_ms;
};

struct consumer_group {
    struct consumer_host *host;
    void *user; /* the host's */
    struct str id;
    bool dead;
    int32_t epoch;
    int32_t assignment_epoch;
    uint64_t metadata_hash;          /* of the topics that it reads, as the epoch stands for them */
    struct consumer_member *members; /* map by id */
    struct consumer_member *statics; /* map by instance id */
    uint32_t member_count;
    uint32_t classic_count;         /* of them, those that speak the classic protocol */
    struct consumer_spoken *spoken; /* map by name */
    bool stays;                     /* its record as a classic group would be too large */
    bool calm; /* as a classic group it need not rebalance: nothing has changed since */
    struct consumer_subscriptions subscriptions;
    struct consumer_holding *holdings; /* map by partition */
    size_t bytes;

    /* No event of time comes earlier; UINT64_MAX: none comes. The host calls consumer_group_tick()
     * then. */
    uint64_t deadline_ns;

    /* to be written */
    uint8_t dirty; /* CONSUMER_DIRTY_GROUP, CONSUMER_DIRTY_EPOCH */
    bool regexes_dirty;
    TAILQ_HEAD(, consumer_member) dirty_members;
    STAILQ_HEAD(, consumer_gone) gone;

    /* private */
    bool restoring; /* nobody holds anything before all is read back */
    uint32_t reconciled_count;
    uint32_t votes[ASSIGNOR_COUNT];
    uint64_t topics_seen;   /* the version of the host's that metadata_hash is of, */
    uint64_t wishes_seen;   /* and that of the subscriptions; */
    bool looked;            /* and it is of any */
    uint64_t plan_after_ns; /* no plan is begun before */
    bool planning;          /* a plan is being worked on */
    int32_t plan_epoch;     /* and will be for this epoch of the group */
    size_t plan_bytes;      /* of memory, meanwhile */
    int32_t refused_epoch;  /* no plan for it could be kept: */
    enum err refusal;       /* what who asked for it is told */
    bool resolving;
    LIST_HEAD(, consumer_cursor) cursors;
};

struct consumer_group *consumer_group_new(struct consumer_host *host, struct str id);
/* No plan and no expression of it is being worked on. */
void consumer_group_free(struct consumer_group *g);

/* ---- requests ---- */

struct consumer_heartbeat {
    /* in */
    struct str member_id;
    int32_t epoch;
    struct str instance_id; /* null: dynamic */
    struct str rack_id;     /* null: unchanged, as in what follows */
    struct str client_id;
    struct str client_host;
    int32_t rebalance_timeout_ms; /* -1 */
    const struct str *names;      /* name_count -1 */
    int32_t name_count;
    struct str regex;
    struct str assignor;
    const struct tp_set *owned; /* NULL */

    /* out */
    enum err error;
    const char *message; /* with an error */
    struct str member_id_out;
    int32_t epoch_out;
    int32_t interval_ms;
    const struct tp_set *assignment; /* NULL: as it was; valid until the next call */
};

/* What can be said of it without a group (K1). */
enum err consumer_heartbeat_check(const struct consumer_heartbeat *hb, bool client_made_id,
                                  const char **message);
void consumer_group_heartbeat(struct consumer_group *g, struct consumer_heartbeat *hb);
/* Would a group without members take it in? Nothing is changed but the answer. */
bool consumer_group_may_join(const struct consumer_group *g, struct consumer_heartbeat *hb);

/* May this one commit, or read, what the group has committed? A commit under an older epoch counts
 * for what the member has had since: ask for each partition then (K6). */
enum err consumer_group_commit(const struct consumer_group *g, struct str member_id, int32_t epoch,
                               bool *each_partition);
bool consumer_group_commit_of(const struct consumer_group *g, struct str member_id, int32_t epoch,
                              const struct tp *part);
/* What a member is told whose epoch it is not: it knows errors of its own protocol only. */
enum err consumer_stale_error(const struct consumer_member *member);
enum err consumer_group_fetch(const struct consumer_group *g, struct str member_id, int32_t epoch);

/* ---- time and work ---- */

void consumer_group_tick(struct consumer_group *g);
/* What it costs is not to be paid again before that time. */
void consumer_group_rest(struct consumer_group *g, uint64_t until_ns);
/* Members whose records the log would not take are fenced; how many. To be called before what has
 * changed is written. */
uint32_t consumer_group_shed(struct consumer_group *g);
/* What was written last is in the log and may be durable or not: something is to be written again,
 * which says that it is. */
void consumer_group_doubt(struct consumer_group *g);
/* The plan is worked out; it goes. */
void consumer_group_assigned(struct consumer_group *g, struct assign_plan *plan);
/* All that were asked have been told (consumer_group_resolve_one()). */
void consumer_group_resolve_one(struct consumer_group *g, struct str regex, uint64_t version,
                                const struct str *topics, uint32_t count);
void consumer_group_resolved(struct consumer_group *g);

/* ---- what was read back ---- */

/* A later one takes the place of an earlier one; NULL: it is taken back. In any order. */
struct consumer_restored_member {
    bool classic;
    int32_t session_timeout_ms; /* of the classic protocol, as what follows */
    const struct group_protocol *protocols;
    uint32_t protocol_count;
    struct str instance_id, rack_id, client_id, client_host;
    const struct str *names;
    uint32_t name_count;
    struct str regex;
    struct str assignor;
    int32_t rebalance_timeout_ms;
};
struct consumer_restored_current {
    int32_t epoch;
    int32_t previous_epoch;
    enum consumer_member_state state;
    struct tp_set assigned; /* taken over, all four */
    struct tp_set revoking;
    int32_t *since;         /* of `assigned`; NULL: `epoch` */
    int32_t *revoked_since; /* of `revoking`, likewise */
};
void consumer_restore_member(struct consumer_group *g, struct str id,
                             const struct consumer_restored_member *member);
/* Taken over; NULL: taken back. */
void consumer_restore_target(struct consumer_group *g, struct str id, struct tp_set *target);
void consumer_restore_current(struct consumer_group *g, struct str id,
                              const struct consumer_restored_current *current);
/* The host serves from now on: whoever was restored has a session timeout to be heard. */
void consumer_group_resume(struct consumer_group *g);

/* ---- questions ---- */

/* A walk over all members in as many turns as it takes; those that come meanwhile are at the end.
 */
struct consumer_cursor {
    struct consumer_group *g; /* NULL: it is over */
    struct consumer_member *next;
    LIST_ENTRY(consumer_cursor) link;
};
void consumer_cursor_begin(struct consumer_cursor *cursor, struct consumer_group *g);
const struct consumer_member *consumer_cursor_next(struct consumer_cursor *cursor);
void consumer_cursor_end(struct consumer_cursor *cursor);

enum consumer_state consumer_group_state(const struct consumer_group *g);
enum assignor consumer_group_assignor(const struct consumer_group *g);
const struct consumer_member *consumer_group_member(const struct consumer_group *g, struct str id);
/* The epoch since which its member has it; -1: nobody has. */
int32_t consumer_group_held_since(const struct consumer_group *g, const struct tp *part);
bool consumer_group_is_dirty(const struct consumer_group *g);
/* All its members speak the classic protocol, and it is to become a group of that. */
bool consumer_group_wants_downgrade(const struct consumer_group *g);
/* But it cannot, and what has changed is to be shared among those it has. */
void consumer_group_stay(struct consumer_group *g);
/* It was never more than a name. */
bool consumer_group_is_void(const struct consumer_group *g);
/* Everything that was marked is written, or will be. */
void consumer_group_clean(struct consumer_group *g);
