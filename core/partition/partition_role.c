/* SPDX-License-Identifier: Apache-2.0
 *
 * Who leads: the change from one role of a partition to the next.
 *
 * An image names leader and leader epoch. When either is new, the former role ends at once: no
 * append is taken, those that wait for the high watermark are told so, parked readers look again,
 * the fetcher drops the partition. The new one begins when nothing of the former is on its way into
 * the log any more (pt->writes): else an append of the former epoch could come behind the place
 * where the new one began. What the role is then is read from the newest image, so of several
 * changes that come meanwhile only the last is seen.
 *
 * A partition of one replica goes through the same states; there is never anything to wait for.
 */
#include "core/broker.h"
#include "core/group/groups.h"
#include "core/partition/partition_loss.h"
#include "core/partition/partition_private.h"
#include "core/partition/partition_replicas.h"
#include "core/replica/replica_fetcher.h"
#include "io/diag.h"

static void lead(struct partition *pt, const struct partition_image *image)
{
    pt->leading = true;
    if (image->replica_count > 1)
        pt->replicas = partition_replicas_new(pt, image);
    partition_advance(pt);
}

static void role_begin(struct partition *pt)
{
    const struct image *images = pt->bs->image;
    const struct topic_image *topic = image_topic_by_id(images, &pt->key.topic_id);
    const struct partition_image *image = topic ? image_partition(topic, pt->key.partition) : NULL;
    if (!pt->role_begins || pt->writes > 0 || pt->closing || pt->bs->roles_ended || !image)
        return;
    pt->role_begins = false;
    if (image->leader == pt->bs->broker->node_id && !partition_loss_may_lead(pt, image))
        return; /* the next epoch is asked for */
    if (image->leader == pt->bs->broker->node_id)
        lead(pt, image);
    else if (image->leader >= 0 && !broker_logs_failed(pt))
        replica_follow(pt);
}

static void role_leave(struct partition *pt)
{
    bool led = pt->leading;
    pt->leading = false;
    pt->watermark_was_known = false;
    if (led && pt->coordinates)
        groups_partition_gone(pt->bs->groups, &pt->key);
    if (pt->replicas)
        partition_replicas_free(pt->replicas);
    pt->replicas = NULL;
    partition_loss_end(pt);
    replica_unfollow(pt);
    partition_appends_abandon(pt, ERR_NOT_LEADER_OR_FOLLOWER);
    partition_wake(pt, true);
    if (led)
        diag_info(pt->bs->sh, "partition.resigned", "topic=%s partition=%d leader_epoch=%d",
                  pt->log->topic, pt->key.partition, pt->leader_epoch);
}

void partition_role_set(struct partition *pt, const struct partition_image *image)
{
    if (pt->leader == image->leader && pt->leader_epoch == image->leader_epoch) {
        if (pt->replicas)
            partition_replicas_update(pt->replicas, image);
        return;
    }
    role_leave(pt);
    pt->leader = image->leader;
    pt->leader_epoch = image->leader_epoch;
    pt->role_begins = true;
    role_begin(pt);
}

void partition_write_end(struct partition *pt)
{
    must(pt->writes > 0);
    if (--pt->writes == 0)
        role_begin(pt);
}

void partition_role_end(struct partition *pt)
{
    pt->role_begins = false;
    role_leave(pt);
}
