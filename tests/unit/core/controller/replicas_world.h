/* SPDX-License-Identifier: Apache-2.0
 *
 * One partition of the topic "t" on brokers that come and go: for tests of what the controller
 * decides about it. Include in one file of a program.
 */
#pragma once

#include "core/controller/controller_replicas.h"
#include "tests/unit/core/controller/controller_world.h"

#include <stdio.h>

static inline struct world *world_with(const char *properties, int32_t brokers,
                                       const int32_t *replicas, int32_t replica_count)
{
    struct world *w = world_of(properties, brokers);
    const struct control_assignment assignment = {.broker_ids = replicas,
                                                  .broker_count = replica_count};
    struct control_item item = {.name = str_of("t"),
                                .partition_count = -1,
                                .replication_factor = -1,
                                .assignments = &assignment,
                                .assignment_count = 1};
    assert_int_equal(decide(w, CONTROL_CREATE_TOPICS, &item), ERR_NONE);
    end_batch(w);
    return w;
}

static inline const struct partition_image *partition(struct world *w)
{
    return &find(w, "t")->partitions[0];
}

/* Ids of one digit, in order. */
static inline void is_list(const int32_t *ids, uint32_t count, const char *expected)
{
    char text[64] = "";
    for (uint32_t i = 0; i < count; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d", ids[i]);
    assert_string_equal(text, expected);
}

static inline void is(struct world *w, int32_t leader, int32_t leader_epoch, const char *set)
{
    const struct partition_image *now = partition(w);
    is_list(now->isr, now->isr_count, set);
    assert_int_equal(now->leader, leader);
    assert_int_equal(now->leader_epoch, leader_epoch);
}

static inline void goes(struct world *w, int32_t id)
{
    struct controller_pass pass = {0};
    const struct broker_image *broker = image_broker(w->image, id);
    const struct metadata_broker_down down = {.id = id, .epoch = broker->epoch};
    assert_true(controller_broker_down(&w->step, &pass, &down));
    end_batch(w);
}

static inline void comes(struct world *w, int32_t id, bool lossy)
{
    struct controller_pass pass = {0};
    if (lossy)
        assert_true(controller_broker_lossy(&w->step, &pass, id));
    pass = (struct controller_pass){0};
    const struct broker_image *broker = image_broker(w->image, id);
    const struct metadata_broker_up up = {.id = id,
                                          .epoch = broker->epoch + 10,
                                          .rack = str_null(),
                                          .version = str_null(),
                                          .lossy = lossy};
    assert_true(controller_broker_up(&w->step, &pass, &up));
    end_batch(w);
}

/* What the leader by the image may ask for, until a test makes something of it wrong. */
static inline struct control_alter alter_of(struct world *w, const int32_t *ids, uint32_t count)
{
    const struct partition_image *now = partition(w);
    const struct broker_image *leader = image_broker(w->image, now->leader);
    struct control_alter alter = {.topic_id = find(w, "t")->id,
                                  .leader = now->leader,
                                  .broker_epoch = leader ? leader->epoch : -1,
                                  .leader_epoch = now->leader_epoch,
                                  .partition_epoch = now->partition_epoch,
                                  .member_count = count};
    for (uint32_t i = 0; i < count; i++) {
        const struct broker_image *broker = image_broker(w->image, ids[i]);
        alter.members[i] = (struct control_member){ids[i], broker ? broker->epoch : -1};
    }
    return alter;
}

/* Asks, and what was decided becomes the image; a refusal changes nothing. */
static inline int16_t asks(struct world *w, const struct control_alter *alter)
{
    struct control_op op = {.kind = CONTROL_ALTER_PARTITION, .arena = &w->arena, .alter = alter};
    assert_true(controller_step(&w->step, &op));
    assert_int_equal(end_batch(w), op.error == ERR_NONE ? 1 : 0);
    return op.error;
}

static inline void joins(struct world *w, const int32_t *ids, uint32_t count)
{
    struct control_alter alter = alter_of(w, ids, count);
    assert_int_equal(asks(w, &alter), ERR_NONE);
}
