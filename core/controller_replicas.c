/* SPDX-License-Identifier: Apache-2.0 */
#include "core/controller_replicas.h"

#include <string.h>

#define BALANCE_LOOKS 10000U /* partitions per batch: some 10 us */

/* The next state of a partition. */
struct next_state {
    const struct topic_image *topic;
    const struct partition_image *was;
    int32_t partition;
    int32_t leader;
    int32_t leader_epoch;
    int32_t set[METADATA_REPLICAS_MAX];
    uint32_t set_count;
};

static bool holds(const int32_t *ids, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static void next_begin(struct next_state *next, const struct topic_image *topic, uint32_t partition)
{
    const struct partition_image *was = &topic->partitions[partition];
    *next = (struct next_state){.topic = topic,
                                .was = was,
                                .partition = (int32_t)partition,
                                .leader = was->leader,
                                .leader_epoch = was->leader_epoch,
                                .set_count = was->isr_count};
    must(was->isr_count <= METADATA_REPLICAS_MAX);
    memcpy(next->set, was->isr, was->isr_count * sizeof(next->set[0]));
}

static void set_remove(struct next_state *next, int32_t id)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < next->set_count; i++)
        if (next->set[i] != id)
            next->set[kept++] = next->set[i];
    next->set_count = kept;
}

/* min.insync.replicas, or the number of replicas if that is less. */
static uint32_t insync_min(const struct next_state *next)
{
    return (uint32_t)min_u64((uint64_t)next->topic->conf.min_insync_replicas,
                             next->was->replica_count);
}

/* A new epoch: whoever may lead by now does. */
static void elect(const struct controller_step *step, struct next_state *next)
{
    next->leader = -1;
    next->leader_epoch++;
    for (uint32_t i = 0; i < next->was->replica_count && next->leader < 0; i++) {
        int32_t id = next->was->replicas[i];
        if (holds(next->set, next->set_count, id) &&
            image_broker_is_live(image_edit_peek(step->edit), id))
            next->leader = id;
    }
}

static void write_state(struct controller_step *step, const struct next_state *next)
{
    const struct partition_image *was = next->was;
    controller_step_record(
        step, &(struct metadata_record){.kind = METADATA_PARTITION_CHANGE,
                                        .partition_change = {
                                            .topic_id = next->topic->id,
                                            .partition = next->partition,
                                            .leader = next->leader,
                                            .leader_epoch = next->leader_epoch,
                                            .partition_epoch = was->partition_epoch + 1,
                                            .replicas = was->replicas,
                                            .isr = next->set,
                                            .replica_count = was->replica_count,
                                            .isr_count = next->set_count,
                                        }});
}

/* ---- brokers ---- */

static void partition_loses(struct controller_step *step, const struct topic_image *topic,
                            uint32_t partition, int32_t id, bool bounced)
{
    struct next_state next;
    next_begin(&next, topic, partition);
    if (bounced && next.was->replica_count == 1)
        return;
    bool member = holds(next.set, next.set_count, id);
    uint32_t least = step->mutate_shrink ? 1 : insync_min(&next);
    if (member && next.set_count > least)
        set_remove(&next, id);
    if (next.leader == id)
        elect(step, &next);
    if (next.leader_epoch != next.was->leader_epoch || next.set_count != next.was->isr_count)
        write_state(step, &next);
}

static void partition_gains(struct controller_step *step, const struct topic_image *topic,
                            uint32_t partition, int32_t id, bool lossy)
{
    struct next_state next;
    next_begin(&next, topic, partition);
    bool member = holds(next.set, next.set_count, id);
    if (!member && next.leader != id)
        return;
    if (lossy) {
        set_remove(&next, id);
        if (next.leader == id || next.leader < 0)
            elect(step, &next);
        write_state(step, &next);
    } else if (next.leader < 0) {
        elect(step, &next);
        write_state(step, &next);
    }
}

/* The topic as it is by now; NULL: it has gone. */
static const struct topic_image *topic_now(const struct controller_step *step, uint32_t index)
{
    return image_edit_topic_by_id(step->edit, &step->base->topics[index]->id);
}

static bool is_full(const struct controller_step *step)
{
    return step->records.length >= CONTROL_BATCH_BYTES;
}

bool controller_broker_down(struct controller_step *step, struct controller_pass *pass,
                            const struct metadata_broker_down *down)
{
    if (!pass->begun)
        controller_step_record(
            step, &(struct metadata_record){.kind = METADATA_BROKER_DOWN, .broker_down = *down});
    pass->begun = true;
    for (; pass->topic < step->base->topic_count; pass->topic++) {
        if (is_full(step))
            return false;
        const struct topic_image *topic = topic_now(step, pass->topic);
        for (uint32_t i = 0; topic && i < topic->partition_count; i++) {
            partition_loses(step, topic, i, down->id, pass->bounced);
            topic = topic_now(step, pass->topic); /* a record has made it anew */
        }
    }
    return true;
}

bool controller_broker_up(struct controller_step *step, struct controller_pass *pass,
                          const struct metadata_broker_up *up)
{
    if (!pass->begun)
        controller_step_record(
            step, &(struct metadata_record){.kind = METADATA_BROKER_UP, .broker_up = *up});
    pass->begun = true;
    for (; pass->topic < step->base->topic_count; pass->topic++) {
        if (is_full(step))
            return false;
        const struct topic_image *topic = topic_now(step, pass->topic);
        for (uint32_t i = 0; topic && i < topic->partition_count; i++) {
            partition_gains(step, topic, i, up->id, up->lossy);
            topic = topic_now(step, pass->topic);
        }
    }
    return true;
}

/* ---- sets ---- */

/* Is a request for a set sound, and may each of its new members join? */
static enum err check_members(const struct controller_step *step, const struct control_alter *alter,
                              const struct next_state *next)
{
    const struct image *image = image_edit_peek(step->edit);
    bool has_leader = false;
    if (alter->member_count == 0 || alter->member_count > next->was->replica_count)
        return ERR_INVALID_REQUEST;
    for (uint32_t i = 0; i < alter->member_count; i++) {
        const struct control_member *member = &alter->members[i];
        if (!holds(next->was->replicas, next->was->replica_count, member->id))
            return ERR_INVALID_REQUEST;
        for (uint32_t j = 0; j < i; j++)
            if (alter->members[j].id == member->id)
                return ERR_INVALID_REQUEST;
        has_leader = has_leader || member->id == alter->leader;
        if (holds(next->set, next->set_count, member->id))
            continue;
        const struct broker_image *broker = image_broker(image, member->id);
        bool same = broker && broker->epoch == member->broker_epoch;
        if (!same || !broker->live)
            return ERR_INELIGIBLE_REPLICA;
    }
    if (!has_leader)
        return ERR_INVALID_REQUEST;
    bool below = alter->member_count < insync_min(next) && alter->member_count < next->set_count;
    return below && !step->mutate_shrink ? ERR_INVALID_REQUEST : ERR_NONE;
}

static enum err check_state(const struct controller_step *step, const struct control_alter *alter,
                            const struct partition_image *now)
{
    const struct broker_image *asker = image_broker(image_edit_peek(step->edit), alter->leader);
    if (!asker || !asker->live || asker->epoch != alter->broker_epoch)
        return ERR_STALE_BROKER_EPOCH;
    if (alter->leader_epoch < now->leader_epoch || now->leader != alter->leader)
        return ERR_FENCED_LEADER_EPOCH;
    if (alter->leader_epoch > now->leader_epoch)
        return ERR_NOT_CONTROLLER; /* it knows more than we do: so there is another */
    return alter->partition_epoch == now->partition_epoch ? ERR_NONE : ERR_INVALID_UPDATE_VERSION;
}

void controller_alter_partition(struct controller_step *step, struct control_op *op)
{
    const struct control_alter *alter = op->alter;
    const struct topic_image *topic = image_edit_topic_by_id(step->edit, &alter->topic_id);
    const struct partition_image *now = topic ? image_partition(topic, alter->partition) : NULL;
    if (!now) {
        op->error = topic ? ERR_UNKNOWN_TOPIC_OR_PARTITION : ERR_UNKNOWN_TOPIC_ID;
        return;
    }
    struct next_state next;
    next_begin(&next, topic, (uint32_t)alter->partition);
    enum err error = check_state(step, alter, now);
    if (error == ERR_NONE)
        error = check_members(step, alter, &next);
    op->error = (int16_t)error;
    if (error != ERR_NONE)
        return;
    next.set_count = alter->member_count;
    for (uint32_t i = 0; i < alter->member_count; i++)
        next.set[i] = alter->members[i].id;
    write_state(step, &next);
}

enum err controller_elect_preferred(struct controller_step *step, const struct uuid *topic_id,
                                    int32_t partition)
{
    const struct topic_image *topic = image_edit_topic_by_id(step->edit, topic_id);
    if (!topic || !image_partition(topic, partition))
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    struct next_state next;
    next_begin(&next, topic, (uint32_t)partition);
    int32_t preferred = next.was->replicas[0];
    if (next.leader == preferred)
        return ERR_ELECTION_NOT_NEEDED;
    if (!holds(next.set, next.set_count, preferred) ||
        !image_broker_is_live(image_edit_peek(step->edit), preferred))
        return ERR_PREFERRED_LEADER_NOT_AVAILABLE;
    elect(step, &next);
    write_state(step, &next);
    return ERR_NONE;
}

bool controller_balance(struct controller_step *step, struct controller_pass *pass)
{
    uint32_t looked_at = 0;
    for (; pass->topic < step->base->topic_count; pass->topic++) {
        if (is_full(step) || looked_at > BALANCE_LOOKS)
            return false;
        const struct topic_image *topic = step->base->topics[pass->topic];
        looked_at += topic->partition_count;
        for (uint32_t i = 0; i < topic->partition_count; i++) {
            const struct partition_image *partition = &topic->partitions[i];
            if (partition->leader != partition->replicas[0])
                (void)controller_elect_preferred(step, &topic->id, (int32_t)i);
        }
    }
    return true;
}
