/* SPDX-License-Identifier: Apache-2.0
 *
 * What the members of consumer groups of KIP-848 know of each other, put together. Checked is, as
 * each answer comes in:
 *
 *   consumer_take        a member takes what it was told to be its own while another one has it: it
 *                        took it, has not given it back, has been heard of within the session
 *                        timeout, and has had less than the rebalance timeout to give it back
 *   consumer_committed   a commit under an epoch in which the member had the partition, sent when
 * it had given it back and another one had it, was accepted; or one of a member that had left
 */
#pragma once

#include "tests/sim/actor.h"

#define CONSUMER_GROUPS       2U
#define CONSUMER_MEMBERS      16U
#define CONSUMER_ELDERS       10U /* those of the classic protocol, from here on */
#define CONSUMER_PARTS        128U
#define CONSUMER_LIST         64U
#define CONSUMER_SESSION_MS   60
#define CONSUMER_REBALANCE_MS 240
#define CONSUMER_NOBODY       UINT32_MAX

struct consumer_part {
    struct uuid topic;
    int32_t partition;
};

/* What a member has, or is told to have. */
struct consumer_list {
    struct consumer_part parts[CONSUMER_LIST];
    uint32_t count;
};

struct consumer_facts {
    struct {
        char name[16];
        struct {
            struct consumer_part part;
            uint32_t member; /* CONSUMER_NOBODY */
        } parts[CONSUMER_PARTS];
        uint32_t part_count;
    } groups[CONSUMER_GROUPS];
    struct {
        uint64_t heard_ns; /* sent then, and answered */
        uint64_t clean_ns; /* likewise, when it had nothing to give back */
    } members[CONSUMER_MEMBERS];
    bool migrates;                     /* now and then all that speak KIP-848's protocol are gone */
    uint64_t taken, accepted, refused; /* what came to pass */
};

struct consumer_facts *consumer_facts_new(void);

bool consumer_has(const struct consumer_list *list, const struct consumer_part *part);
void consumer_take(struct model *m, uint32_t group, uint32_t member,
                   const struct consumer_part *part);
void consumer_give(struct model *m, uint32_t group, uint32_t member,
                   const struct consumer_part *part);
/* Nobody who speaks KIP-848's protocol is to be in the group now. */
bool consumer_is_classic_time(const struct model *m, uint32_t group);
/* Who has it for certain, now. */
uint32_t consumer_holder(const struct model *m, uint32_t group, const struct consumer_part *part);
