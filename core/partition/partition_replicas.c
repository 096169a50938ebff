/* SPDX-License-Identifier: Apache-2.0 */
#include "core/partition/partition_replicas.h"

#include "core/broker.h"
#include "core/broker_logs.h"
#include "core/controller/controller.h"
#include "core/partition/partition_private.h"
#include "io/diag.h"
#include "io/mem.h"

#define AGAIN_NS 100000000U /* between two sendings of a proposal */

/* Lent to the control shard while it is away; it may outlive who made it. */
struct partition_proposal {
    struct control_op op;
    struct control_alter alter; /* what is sent, each time the same bytes */
    struct partition_key key;
    struct broker_shard *bs;
    bool orphan;
};

static bool mutates(const struct partition_replicas *replicas, const char *name)
{
    return io_mutation(replicas->pt->bs->sh->io, name);
}

static int32_t own_id(const struct partition_replicas *replicas)
{
    return replicas->pt->bs->broker->node_id;
}

uint32_t partition_insync_min(const struct partition *pt)
{
    return pt->replicas ? pt->replicas->insync_min : 1;
}

bool partition_set_is_enough(const struct partition *pt)
{
    return !pt->replicas || pt->replicas->set_count >= partition_insync_min(pt);
}

static bool is_live(const struct partition *pt, int32_t id)
{
    return image_broker_is_live(pt->bs->image, id);
}

bool partition_has_quorum(const struct partition *pt)
{
    const struct partition_replicas *replicas = pt->replicas;
    if (!replicas)
        return true;
    uint32_t alive = 1;
    for (uint32_t i = 0; i < replicas->count; i++)
        alive += replicas->followers[i].in_set && is_live(pt, replicas->followers[i].id);
    return alive >= partition_insync_min(pt);
}

/* ---- the high watermark ---- */

int64_t partition_replicas_least(const struct partition_replicas *replicas)
{
    const struct partition *pt = replicas->pt;
    if (!partition_set_is_enough(pt))
        return -1;
    const bool only_proposal = mutates(replicas, "replica.only_proposal_counts");
    const bool no_proposal = mutates(replicas, "replica.proposal_not_counted");
    int64_t least = pt->log->durable_offset;
    for (uint32_t i = 0; i < replicas->count; i++) {
        const struct partition_follower *follower = &replicas->followers[i];
        bool counts = follower->in_set || follower->in_proposal; /* superset */
        if (no_proposal)
            counts = follower->in_set;
        if (only_proposal && replicas->proposal)
            counts = follower->in_proposal;
        if (!counts)
            continue;
        if (!follower->seen)
            return -1;
        least = min_i64(least, follower->durable_end);
    }
    return least;
}

/* ---- proposals ---- */

static void proposal_send(struct partition_replicas *replicas)
{
    struct partition_proposal *proposal = replicas->proposal;
    control_op_init(&proposal->op, CONTROL_ALTER_PARTITION, NULL, proposal->op.done);
    proposal->op.user = proposal;
    proposal->op.alter = &proposal->alter;
    replicas->proposal_away = true;
    proposal->bs->proposals++;
    controller_submit(proposal->bs, &proposal->op);
}

static void proposal_forget(struct partition_replicas *replicas)
{
    struct partition_proposal *proposal = replicas->proposal;
    timer_cancel(replicas->pt->bs->sh, &replicas->again);
    replicas->proposal = NULL;
    for (uint32_t i = 0; i < replicas->count; i++)
        replicas->followers[i].in_proposal = false;
    if (replicas->proposal_away)
        proposal->orphan = true;
    else
        mem_free(proposal);
    replicas->proposal_away = false;
}

static void on_proposed(struct control_op *op);

/* The set as it is, with the epochs under which its members were last seen. */
static void proposal_fill(const struct partition_replicas *replicas, struct control_alter *alter,
                          const struct partition_follower *joins,
                          const struct partition_follower *leaves)
{
    alter->member_count = 0;
    alter->members[alter->member_count++] =
        (struct control_member){own_id(replicas), alter->broker_epoch};
    for (uint32_t i = 0; i < replicas->count; i++) {
        const struct partition_follower *follower = &replicas->followers[i];
        if ((follower->in_set && follower != leaves) || follower == joins)
            alter->members[alter->member_count++] =
                (struct control_member){follower->id, follower->broker_epoch};
    }
}

static struct partition_proposal *proposal_new(struct partition_replicas *replicas)
{
    struct partition *pt = replicas->pt;
    const struct broker_image *self = image_broker(pt->bs->image, own_id(replicas));
    struct partition_proposal *proposal = mem_zalloc(sizeof(*proposal));
    proposal->bs = pt->bs;
    proposal->key = pt->key;
    proposal->op.done = on_proposed;
    proposal->alter = (struct control_alter){.topic_id = pt->key.topic_id,
                                             .partition = pt->key.partition,
                                             .leader = own_id(replicas),
                                             .broker_epoch = self ? self->epoch : -1,
                                             .leader_epoch = pt->leader_epoch,
                                             .partition_epoch = replicas->partition_epoch};
    return proposal;
}

static void propose(struct partition_replicas *replicas, struct partition_follower *joins,
                    struct partition_follower *leaves)
{
    replicas->proposal = proposal_new(replicas);
    proposal_fill(replicas, &replicas->proposal->alter, joins, leaves);
    if (joins)
        joins->in_proposal = true;
    if (leaves && mutates(replicas, "replica.shrunk_before_confirmed")) {
        leaves->in_set = false;
        replicas->set_count--;
    }
    if (mutates(replicas, "replica.only_proposal_counts"))
        for (uint32_t i = 0; i < replicas->count; i++)
            replicas->followers[i].in_proposal |=
                replicas->followers[i].in_set && &replicas->followers[i] != leaves;
    diag_info(replicas->pt->bs->sh, "partition.set_proposed",
              "topic=%s partition=%d leader_epoch=%d partition_epoch=%d joins=%d leaves=%d",
              replicas->pt->log->topic, replicas->pt->key.partition, replicas->pt->leader_epoch,
              replicas->partition_epoch, joins ? joins->id : -1, leaves ? leaves->id : -1);
    proposal_send(replicas);
}

/* Who was to join cannot, or who was to leave may not: min.insync.replicas is more than we know.
 * Nobody knows whether an earlier copy was taken, so the set is not simply
 * believed to be the old one again: the old one is proposed, which gives it a new epoch. */
static void proposal_withdraw(struct partition_replicas *replicas)
{
    proposal_fill(replicas, &replicas->proposal->alter, NULL, NULL);
}

static struct partition_follower *follower_of(const struct partition *pt, int32_t id)
{
    struct partition_replicas *replicas = pt->replicas;
    for (uint32_t i = 0; replicas && i < replicas->count; i++)
        if (replicas->followers[i].id == id)
            return &replicas->followers[i];
    return NULL;
}

/* A deliberate mistake: not the same bytes. */
static void proposal_read_epochs(struct partition_replicas *replicas)
{
    struct control_alter *alter = &replicas->proposal->alter;
    for (uint32_t i = 0; i < alter->member_count; i++) {
        const struct partition_follower *member = follower_of(replicas->pt, alter->members[i].id);
        if (member)
            alter->members[i].broker_epoch = member->broker_epoch;
    }
}

static void on_again(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct partition_replicas *replicas = container_of(timer, struct partition_replicas, again);
    if (broker_logs_failed(replicas->pt))
        return; /* see partition_replicas_look() */
    if (mutates(replicas, "replica.proposal_dropped")) {
        proposal_forget(replicas);
        return;
    }
    if (mutates(replicas, "replica.retry_reads_epochs"))
        proposal_read_epochs(replicas);
    proposal_send(replicas);
}

/* Taken or refused: an image will say what is so. Until then it is sent again. */
static void on_proposed(struct control_op *op)
{
    struct partition_proposal *proposal = op->user;
    struct broker_shard *bs = proposal->bs;
    bs->proposals--;
    if (proposal->orphan) {
        mem_free(proposal);
        partition_proposal_ended(bs);
        return;
    }
    struct partition *pt = partition_find(&proposal->bs->partitions, &proposal->key);
    must(pt && pt->replicas && pt->replicas->proposal == proposal);
    struct partition_replicas *replicas = pt->replicas;
    replicas->proposal_away = false;
    if (op->error != ERR_NONE && mutates(replicas, "replica.refusal_believed")) {
        proposal_forget(replicas);
        return;
    }
    if (op->error == ERR_INELIGIBLE_REPLICA || op->error == ERR_INVALID_REQUEST)
        proposal_withdraw(replicas);
    replicas->again.fn = on_again;
    timer_set(pt->bs->sh, &replicas->again, io_now_ns(pt->bs->sh->io) + AGAIN_NS);
}

/* ---- followers ---- */

enum err partition_replicas_check(const struct partition *pt, int32_t id, int64_t broker_epoch)
{
    const struct broker_image *broker = image_broker(pt->bs->image, id);
    if (!follower_of(pt, id))
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (!broker || broker->epoch != broker_epoch)
        return ERR_NOT_LEADER_OR_FOLLOWER; /* one of us does not know yet: it asks again */
    return ERR_NONE;
}

static bool may_join(const struct partition_replicas *replicas,
                     const struct partition_follower *follower)
{
    const struct partition *pt = replicas->pt;
    const struct broker_image *broker = image_broker(pt->bs->image, follower->id);
    if (follower->in_set || replicas->proposal || !broker ||
        !image_broker_stays(pt->bs->image, follower->id))
        return false;
    if (broker->epoch != follower->broker_epoch || follower->durable_end < pt->high_watermark)
        return false;
    return follower->durable_end >= replicas->epoch_start ||
           mutates(replicas, "replica.joins_below_epoch_start");
}

void partition_replicas_fetched(struct partition *pt, int32_t id, int64_t broker_epoch,
                                int64_t offset)
{
    struct partition_follower *follower = follower_of(pt, id);
    must(follower && offset <= pt->log->end_offset);
    follower->seen = true;
    follower->broker_epoch = broker_epoch;
    follower->durable_end = offset;
    if (mutates(pt->replicas, "replica.sent_counts_as_durable"))
        follower->durable_end = pt->log->durable_offset;
    if (offset >= pt->log->durable_offset)
        follower->caught_up_ns = io_now_ns(pt->bs->sh->io);
    partition_advance(pt);
    /* The advance may have woken somebody, but nobody in it changes roles. */
    if (may_join(pt->replicas, follower))
        propose(pt->replicas, follower, NULL);
}

static bool is_throttled(const struct partition *pt, int32_t id)
{
    const struct partition_follower *follower = follower_of(pt, id);
    return pt->throttled[REPLICA_LEADS] && follower && !follower->in_set;
}

bool partition_replicas_hold(const struct partition *pt, int32_t id)
{
    return is_throttled(pt, id) && replica_throttle_rest_ns(pt->bs, REPLICA_LEADS) > 0;
}

void partition_replicas_count(const struct partition *pt, int32_t id, uint64_t bytes)
{
    if (is_throttled(pt, id))
        replica_throttle_use(pt->bs, REPLICA_LEADS, bytes);
}

bool partition_replicas_tell(struct partition *pt, int32_t id)
{
    struct partition_follower *follower = follower_of(pt, id);
    must(follower);
    const bool is_new = follower->told_watermark < pt->high_watermark;
    follower->told_watermark = pt->high_watermark;
    return is_new;
}

void partition_replicas_look(struct partition_replicas *replicas)
{
    struct partition *pt = replicas->pt;
    uint64_t lag_ns = (uint64_t)pt->bs->broker->conf->broker.replica_lag_time_max_ms * 1000000U;
    uint64_t now_ns = io_now_ns(pt->bs->sh->io);
    if (replicas->proposal || replicas->set_count <= partition_insync_min(pt))
        return;
    if (broker_logs_failed(pt))
        return; /* they cannot fetch because of us: it is we who must go
                 * (core/partition/partition_offline.c)
                 */
    for (uint32_t i = 0; i < replicas->count; i++) {
        struct partition_follower *follower = &replicas->followers[i];
        if (follower->in_set && now_ns - follower->caught_up_ns > lag_ns) {
            propose(replicas, NULL, follower);
            return;
        }
    }
}

/* ---- life ---- */

static bool holds(const int32_t *ids, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static void set_read(struct partition_replicas *replicas, const struct partition_image *image)
{
    replicas->partition_epoch = image->partition_epoch;
    replicas->set_count = image->isr_count;
    replicas->insync_min = image_insync_min(&replicas->pt->conf, image);
    for (uint32_t i = 0; i < replicas->count; i++)
        replicas->followers[i].in_set =
            holds(image->isr, image->isr_count, replicas->followers[i].id);
}

struct partition_replicas *partition_replicas_new(struct partition *pt,
                                                  const struct partition_image *image)
{
    struct partition_replicas *replicas =
        mem_zalloc(sizeof(*replicas) + image->replica_count * sizeof(struct partition_follower));
    replicas->pt = pt;
    replicas->epoch_start = pt->log->end_offset;
    replicas->again.name = "partition.proposal";
    for (uint32_t i = 0; i < image->replica_count; i++) {
        if (image->replicas[i] == pt->bs->broker->node_id)
            continue;
        replicas->followers[replicas->count++] = (struct partition_follower){
            .id = image->replicas[i], .caught_up_ns = io_now_ns(pt->bs->sh->io)};
    }
    set_read(replicas, image);
    return replicas;
}

void partition_replicas_free(struct partition_replicas *replicas)
{
    if (replicas->proposal)
        proposal_forget(replicas);
    mem_free(replicas);
}

void partition_replicas_update(struct partition_replicas *replicas,
                               const struct partition_image *image)
{
    replicas->insync_min = image_insync_min(&replicas->pt->conf, image); /* a setting, too */
    if (image->partition_epoch == replicas->partition_epoch)
        return;
    set_read(replicas, image);
    if (replicas->proposal)
        proposal_forget(replicas); /* same bytes: it was about an older epoch */
    partition_advance(replicas->pt);
}
