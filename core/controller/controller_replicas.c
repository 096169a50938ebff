/* SPDX-License-Identifier: Apache-2.0 */
#include "core/controller/controller_replicas.h"

#include "core/controller/controller_partition.h"
#include "core/controller/controller_reassign.h"

#define BALANCE_LOOKS 10000U /* partitions per batch: some 10 us */
#define BALANCE_MOVES 500U   /* leaders, or those of one topic: their clients have to find them */

static void write_if_changed(struct controller_step *step, const struct next_state *next)
{
    if (next->leader_epoch != next->was->leader_epoch || next->set_count != next->was->isr_count)
        next_write(step, next);
}

/* ---- brokers ---- */

/* What a pass over all partitions is about. */
struct broker_change {
    int32_t id;
    bool bounced;
    uint32_t *remaining; /* of one that is about to stop: what nobody else may lead */
};

static void partition_loses(struct controller_step *step, const struct topic_image *topic,
                            uint32_t partition, const struct broker_change *change)
{
    struct next_state next;
    next_begin(&next, topic, partition);
    if (change->bounced && next.was->replica_count == 1)
        return;
    next_set_leave(step, &next, change->id);
    if (next.leader == change->id)
        next_elect(step, &next);
    write_if_changed(step, &next);
}

/* Who leads and is about to stop does not, as soon as another one may. */
static void hand_over(const struct controller_step *step, struct next_state *next)
{
    if (next->leader >= 0 && !image_broker_stays(image_edit_peek(step->edit), next->leader) &&
        next_candidate(step, next) >= 0)
        next_elect(step, next);
}

static void partition_gains(struct controller_step *step, const struct topic_image *topic,
                            uint32_t partition, const struct broker_change *change)
{
    struct next_state next;
    next_begin(&next, topic, partition);
    if (!image_has_replica(next.was, change->id))
        return;
    if (next.leader < 0)
        next_elect(step, &next);
    if (next.leader < 0 && next.was->leader < 0)
        next.leader_epoch = next.was->leader_epoch; /* nobody leads, as before */
    hand_over(step, &next);
    controller_reassign_end(step, &next);
    write_if_changed(step, &next);
}

/* Nobody knows what is left of its copy, so it counts for nothing, even where it was the last. */
static void copy_is_lost(struct controller_step *step, struct next_state *next, int32_t id)
{
    next_set_remove(next, id);
    if (next->leader == id)
        next_elect(step, next);
    if (next->set_count == 0 && next->was->isr_count > 0)
        step->last_copies_lost++;
    write_if_changed(step, next);
}

static void partition_loses_copy(struct controller_step *step, const struct topic_image *topic,
                                 uint32_t partition, const struct broker_change *change)
{
    struct next_state next;
    next_begin(&next, topic, partition);
    copy_is_lost(step, &next, change->id);
}

/* While it still serves: who can go on without it does. */
static void partition_hands_over(struct controller_step *step, const struct topic_image *topic,
                                 uint32_t partition, const struct broker_change *change)
{
    struct next_state next;
    next_begin(&next, topic, partition);
    bool leads = next.leader == change->id;
    if (leads && next_candidate(step, &next) < 0) {
        ++*change->remaining;
        return;
    }
    next_set_leave(step, &next, change->id);
    if (leads)
        next_elect(step, &next);
    write_if_changed(step, &next);
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

/* Of every partition from pass->topic on. False: the batch is full. */
static bool each_partition(struct controller_step *step, struct controller_pass *pass,
                           void (*fn)(struct controller_step *step, const struct topic_image *topic,
                                      uint32_t partition, const struct broker_change *change),
                           const struct broker_change *change)
{
    for (; pass->topic < step->base->topic_count; pass->topic++) {
        if (is_full(step))
            return false;
        const struct topic_image *topic = topic_now(step, pass->topic);
        for (uint32_t i = 0; topic && i < topic->partition_count; i++) {
            fn(step, topic, i, change);
            topic = topic_now(step, pass->topic); /* a record has made it anew */
        }
    }
    return true;
}

/* A pass begins with what is its reason. */
static void pass_begin(struct controller_step *step, struct controller_pass *pass,
                       const struct metadata_record *record)
{
    if (!pass->begun)
        controller_step_record(step, record);
    pass->begun = true;
}

bool controller_broker_down(struct controller_step *step, struct controller_pass *pass,
                            const struct metadata_broker_down *down)
{
    pass_begin(step, pass,
               &(struct metadata_record){.kind = METADATA_BROKER_DOWN, .broker_down = *down});
    const struct broker_change change = {.id = down->id, .bounced = pass->bounced};
    return each_partition(step, pass, partition_loses, &change);
}

bool controller_broker_lossy(struct controller_step *step, struct controller_pass *pass, int32_t id)
{
    const struct broker_change change = {.id = id};
    return step->mutate_lossy || each_partition(step, pass, partition_loses_copy, &change);
}

bool controller_broker_up(struct controller_step *step, struct controller_pass *pass,
                          const struct metadata_broker_up *up)
{
    pass_begin(step, pass, &(struct metadata_record){.kind = METADATA_BROKER_UP, .broker_up = *up});
    const struct broker_change change = {.id = up->id};
    return each_partition(step, pass, partition_gains, &change);
}

bool controller_broker_drain(struct controller_step *step, struct control_op *op)
{
    struct control_drain *drain = op->drain;
    const struct broker_image *broker = image_broker(image_edit_peek(step->edit), drain->id);
    if (!broker || !broker->live || broker->epoch != drain->epoch) {
        op->error = ERR_STALE_BROKER_EPOCH;
        return true;
    }
    if (!broker->draining)
        controller_step_record(
            step,
            &(struct metadata_record){.kind = METADATA_BROKER_DRAINING,
                                      .broker_draining = {.id = drain->id, .epoch = drain->epoch}});
    if (step->mutate_drain)
        return true;
    struct controller_pass pass = {.topic = (uint32_t)op->next_item};
    const struct broker_change change = {.id = drain->id, .remaining = &drain->remaining};
    bool done = each_partition(step, &pass, partition_hands_over, &change);
    op->next_item = (int32_t)pass.topic;
    return done;
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
        if (!image_has_replica(next->was, member->id))
            return ERR_INVALID_REQUEST;
        for (uint32_t j = 0; j < i; j++)
            if (alter->members[j].id == member->id)
                return ERR_INVALID_REQUEST;
        has_leader = has_leader || member->id == alter->leader;
        if (ids_hold(next->set, next->set_count, member->id))
            continue;
        const struct broker_image *broker = image_broker(image, member->id);
        bool same = broker && (broker->epoch == member->broker_epoch || step->mutate_epochs);
        if (!same || !broker->live || broker->draining)
            return ERR_INELIGIBLE_REPLICA;
    }
    if (!has_leader)
        return ERR_INVALID_REQUEST;
    bool below =
        alter->member_count < next_insync_min(next) && alter->member_count < next->set_count;
    return below && !step->mutate_shrink ? ERR_INVALID_REQUEST : ERR_NONE;
}

static enum err check_state(const struct controller_step *step, const struct control_alter *alter,
                            const struct partition_image *now)
{
    const struct broker_image *asker = image_broker(image_edit_peek(step->edit), alter->leader);
    if (!asker || !asker->live || asker->epoch != alter->broker_epoch)
        return ERR_STALE_BROKER_EPOCH;
    if (alter->leader_epoch < now->leader_epoch || (now->leader != alter->leader && !alter->lost))
        return ERR_FENCED_LEADER_EPOCH;
    if (alter->leader_epoch > now->leader_epoch)
        return ERR_NOT_CONTROLLER; /* it knows more than we do: so there is another */
    return alter->partition_epoch == now->partition_epoch ? ERR_NONE : ERR_INVALID_UPDATE_VERSION;
}

/* The set has grown: who is not there, or is about to go, may leave it now. Nothing else would ask
 * for that before the leader has missed it for replica.lag.time.max.ms, and until then it would
 * wait for it with every acknowledgement. */
static void set_settle(const struct controller_step *step, struct next_state *next)
{
    if (step->mutate_settle)
        return;
    for (uint32_t i = next->set_count; i-- > 0;) {
        int32_t id = next->set[i];
        if (id != next->leader && !image_broker_stays(image_edit_peek(step->edit), id))
            next_set_leave(step, next, id);
    }
    hand_over(step, next);
}

/* The set without its leader: a leader that cannot use its log any more, because the directory is
 * offline, lets another member lead. It leaves the set as a dead broker would. */
static bool alter_resigns(const struct control_alter *alter)
{
    for (uint32_t i = 0; i < alter->member_count; i++)
        if (alter->members[i].id == alter->leader)
            return false;
    return alter->member_count > 0;
}

static enum err resign(struct controller_step *step, const struct control_alter *alter,
                       struct next_state *next)
{
    const struct image *image = image_edit_peek(step->edit);
    int32_t leader = -1;
    for (uint32_t i = 0; i < alter->member_count; i++)
        if (!ids_hold(next->set, next->set_count, alter->members[i].id))
            return ERR_INVALID_REQUEST;
    for (uint32_t i = 0; i < next->replica_count && leader < 0; i++) {
        int32_t id = next->replicas[i];
        bool may = ids_hold(next->set, next->set_count, id) || step->mutate_resign;
        if (id != alter->leader && may && image_broker_stays(image, id))
            leader = id;
    }
    if (leader < 0)
        return ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE;
    next->leader = leader;
    next->leader_epoch++;
    next_set_leave(step, next, alter->leader);
    next_write(step, next);
    return ERR_NONE;
}

/* The leader may have lost what it acknowledged alone, by the promise of its topic. It leads on, in
 * a new epoch; what a set has committed was durable (core/partition/partition_loss.h). */
static void alter_recovering(struct controller_step *step, struct next_state *next)
{
    next->leader_epoch++;
    next_write(step, next);
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
    if (error == ERR_NONE && alter->lost) {
        copy_is_lost(step, &next, alter->leader);
        return;
    }
    if (error == ERR_NONE && !alter->recovering && alter_resigns(alter)) {
        op->error = (int16_t)resign(step, alter, &next);
        return;
    }
    if (error == ERR_NONE && !alter->recovering)
        error = check_members(step, alter, &next);
    op->error = (int16_t)error;
    if (error != ERR_NONE)
        return;
    if (alter->recovering) {
        alter_recovering(step, &next);
        return;
    }
    next.set_count = alter->member_count;
    for (uint32_t i = 0; i < alter->member_count; i++)
        next.set[i] = alter->members[i].id;
    set_settle(step, &next);
    controller_reassign_end(step, &next);
    next_write(step, &next);
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
    if (!ids_hold(next.set, next.set_count, preferred) ||
        !image_broker_stays(image_edit_peek(step->edit), preferred))
        return ERR_PREFERRED_LEADER_NOT_AVAILABLE;
    next_elect(step, &next);
    next_write(step, &next);
    return ERR_NONE;
}

enum err controller_elect_unclean(struct controller_step *step, const struct uuid *topic_id,
                                  int32_t partition)
{
    const struct topic_image *topic = image_edit_topic_by_id(step->edit, topic_id);
    if (!topic || !image_partition(topic, partition))
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    struct next_state next;
    next_begin(&next, topic, (uint32_t)partition);
    if (next.leader >= 0)
        return ERR_ELECTION_NOT_NEEDED;
    next_elect_unclean(step, &next);
    if (next.leader < 0)
        return ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE;
    next_write(step, &next);
    return ERR_NONE;
}

static void partition_is_led(struct controller_step *step, const struct topic_image *topic,
                             uint32_t partition, const struct broker_change *change)
{
    struct next_state next;
    (void)change;
    if (topic->partitions[partition].leader >= 0)
        return;
    next_begin(&next, topic, partition);
    next_elect_as_set(step, &next);
    if (next.leader >= 0)
        next_write(step, &next);
}

bool controller_lead_all(struct controller_step *step, struct controller_pass *pass)
{
    return each_partition(step, pass, partition_is_led, NULL);
}

bool controller_balance(struct controller_step *step, struct controller_pass *pass)
{
    uint32_t looked_at = 0;
    uint32_t moved = 0;
    for (; pass->topic < step->base->topic_count; pass->topic++) {
        if (is_full(step) || looked_at > BALANCE_LOOKS || moved > BALANCE_MOVES)
            return false;
        const struct topic_image *topic = step->base->topics[pass->topic];
        looked_at += topic->partition_count;
        for (uint32_t i = 0; i < topic->partition_count; i++) {
            const struct partition_image *partition = &topic->partitions[i];
            if (partition->leader != partition->replicas[0])
                moved += controller_elect_preferred(step, &topic->id, (int32_t)i) == ERR_NONE;
        }
    }
    return true;
}
