/* SPDX-License-Identifier: Apache-2.0
 *
 * A partition gets other replicas (KIP-455), in two steps. First it has the new ones beside the
 * old: those it is to have come first, those that will go last. They follow its leader and join the
 * commit set as any replica does. When all it is to have are in the set the others go, from the set
 * and from the partition, and the brokers they lie on delete them. Each step is a new leader epoch,
 * so that a leader knows its followers anew.
 *
 * Taking back (no replicas given) is a move to what it was before, which is over at once when
 * enough of that is in the set.
 */
#pragma once

#include "core/controller/controller_partition.h"

/* item->replicas for item->partition of `topic`; what came of it stands in the item. */
void controller_reassign(struct controller_step *step, struct control_op *op,
                         struct control_item *item, const struct topic_image *topic);
/* After a change of the set: is the move over? Then `next` says so. */
void controller_reassign_end(const struct controller_step *step, struct next_state *next);
