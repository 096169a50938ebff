/* SPDX-License-Identifier: Apache-2.0
 *
 * Who of a consumer group reads which partition: what the leader of a group of the classic protocol
 * works out for all members (KIP-62). The two that every client knows: range gives each member a
 * run of each topic's partitions, round robin deals all partitions out one by one.
 *
 * Members are taken in the order that other clients use, those with an instance id first, by it,
 * then the others by member id, so that a leader of another make comes to the same.
 */
#pragma once

#include "net/kafka.h"

struct assignor_member {
    struct str id;
    struct str instance_id;   /* null: none */
    const struct str *topics; /* that it wants */
    int32_t topic_count;
    struct consumer_protocol_assignment assignment; /* the result; the arena's */
};

struct assignor_topic {
    struct str name;
    int32_t partitions; /* 0: there is no such topic */
};

enum assignor { ASSIGNOR_RANGE, ASSIGNOR_ROUND_ROBIN, ASSIGNOR_COUNT };

/* As members call it; NULL beyond the last. The order is that of preference. */
const char *assignor_name(enum assignor assignor);
/* ASSIGNOR_COUNT: none of that name. */
enum assignor assignor_find(struct str name);

/* Sorts members and topics, and fills in the assignments. False: the arena's limit. */
bool assignor_run(enum assignor assignor, struct assignor_member *members, uint32_t member_count,
                  struct assignor_topic *topics, uint32_t topic_count,
                  struct arena *arena) warn_unused;
