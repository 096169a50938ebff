/* SPDX-License-Identifier: Apache-2.0
 *
 * What commands ask a cluster about its consumer groups: who coordinates them, who is in them, what
 * they have committed. A coordinator that moves or still loads is asked again until the request's
 * timeout.
 */
#pragma once

#include "tools/millrace/cluster.h"

/* One request about `group` and its answer, from its coordinator. error_of(response): the error
 * that decides whether to ask again; other errors are the caller's to look at. */
int group_call(struct session *s, const char *group, int16_t key, int16_t version_max,
               const void *request, void *response, int16_t (*error_of)(const void *response));
/* The coordinator of a group, connected; NULL, and said, when it cannot be. */
struct broker_link *group_coordinator(struct session *s, const char *group);
/* The same on a connection of its own. */
struct broker_link *group_coordinator_apart(struct session *s, const char *group);

/* Every group of the cluster, one listing per broker. states, types: what the brokers shall filter
 * by, or count 0. */
struct group_entry {
    const char *name;
    const char *protocol_type;
    const char *state; /* "" when the broker is too old to say */
    const char *type;
    int32_t broker;
};
struct group_filter {
    struct str states[16];
    struct str types[4];
    int32_t state_count, type_count;
};
int group_list(struct session *s, const struct group_filter *filter, struct group_entry **entries,
               uint32_t *count);

/* The groups that are named, or, with --all-groups, all; consumers: of those, the ones of consumers
 * alone. EXIT_USAGE, and said, when it is neither or both. */
int groups_asked(struct session *s, bool consumers, const char *const **names, uint32_t *count);

/* Says that there is no such group and which one could be meant. */
int group_not_found(struct session *s, const char *name);

/* The group as its coordinator describes it; ERR_GROUP_ID_NOT_FOUND in its error_code when there is
 * none, whatever the broker's version calls that. */
int group_describe(struct session *s, const char *name,
                   struct describe_groups_response_group *group);

/* Is nobody in it? Says why not otherwise; `what` is what that forbids: "seek". */
bool group_is_empty(struct session *s, const char *name,
                    const struct describe_groups_response_group *group, const char *what);

/* What members say of themselves and are told, in the bytes that all consumers agree on; false when
 * they are none. */
bool group_subscription(struct session *s, struct bytes metadata,
                        struct consumer_protocol_subscription *subscription);
bool group_assignment(struct session *s, struct bytes bytes,
                      struct consumer_protocol_assignment *assignment);

/* A partition of a group: what it has committed and how far the log goes. */
struct group_partition {
    struct str topic;
    int32_t partition;
    int64_t committed; /* -1: nothing */
    int32_t leader_epoch;
    struct str metadata;
    int64_t start, end; /* of the log; -1: not known, error says why */
    int16_t error;
    const struct describe_groups_response_member *member; /* who reads it, or NULL */
};
struct group_partitions {
    struct group_partition *list; /* of s->arena */
    uint32_t count, room;
    uint32_t sorted; /* so many from the first on are in order */
};

/* Found, or added without a commit. */
struct group_partition *group_partition_of(struct session *s, struct group_partitions *partitions,
                                           struct str topic, int32_t partition);
/* Adds everything the group has committed. */
int group_committed(struct session *s, const char *name, struct group_partitions *partitions);
/* Sorts by topic and partition, and looks up the ends of the logs. */
int group_log_ends(struct session *s, struct group_partitions *partitions);

/* Looks one time up in every partition; the answers go to offsets[count], -1: none that late or an
 * error, which stands in the partition. */
int group_offsets_at(struct session *s, struct group_partitions *partitions, int64_t timestamp,
                     int64_t *offsets);
