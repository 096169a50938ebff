/* SPDX-License-Identifier: Apache-2.0
 *
 * What the controller decides about leaders and commit sets: when brokers come and go, when a
 * leader asks for another set, and when leadership is to go back to the preferred replica. Pure, as
 * core/controller/controller_step.h: an image in, records out.
 *
 * The rules, by the names of the model (tests/model/commit_set.c):
 *
 *   from the set   a leader is the first live replica, in the order of replicas, of the commit set;
 *                  any other only when somebody has asked for that
 *                  (unclean.leader.election.enable, ElectLeaders): it then is the whole set
 *   never below    a dead broker leaves the set only while min.insync.replicas members remain
 *                  (who was needed leaves as soon as others have joined)
 *   lossy          who may have lost what it acknowledged leaves every set before it is there
 *                  again, however many remain
 *   resigned       a leader whose log cannot be used any more names the set without itself:
 *                  another member leads, and it leaves the set if that remains large enough
 *   recovering     a leader that may have lost what it alone had acknowledged leads on, in a new
 *                  epoch
 *   epochs match   a set is changed only when leader, leader epoch and partition epoch are those of
 *                  the state, and each new member is live under the broker epoch that is named
 */
#pragma once

#include "core/controller/controller_step.h"
#include "net/err.h"

/* Where a pass over all partitions stands. Zeroed before the first call. */
struct controller_pass {
    uint32_t topic; /* of step->base */
    bool begun;     /* the broker's own record is written */
    bool bounced;   /* it goes and comes in one batch: what lies on it alone stays as it was */
};

/* The registration of this broker has gone. Leadership moves, and it leaves the commit sets that
 * remain large enough. False when the batch is full: call again with the next one. */
bool controller_broker_down(struct controller_step *step, struct controller_pass *pass,
                            const struct metadata_broker_down *down);
/* What this broker has acknowledged may be lost. To be called, until it returns true, while it is
 * not live, so that it cannot be elected meanwhile; again from the beginning does no harm. False
 * when the batch is full. */
bool controller_broker_lossy(struct controller_step *step, struct controller_pass *pass,
                             int32_t id);
/* It is there (again). Partitions without a leader get one if it may lead them. One that was there
 * already under another epoch has bounced: controller_broker_down() comes first. */
bool controller_broker_up(struct controller_step *step, struct controller_pass *pass,
                          const struct metadata_broker_up *up);
/* op->drain: a broker is about to stop. It leads nothing any more that another member of the set
 * may lead, and leaves the sets that remain large enough. False when the batch is full: call again.
 */
bool controller_broker_drain(struct controller_step *step, struct control_op *op);
/* Decides op->alter; op->error says what came of it. */
void controller_alter_partition(struct controller_step *step, struct control_op *op);
/* Every partition that may be led by the first of its replicas is. False: there is more to look at,
 * in the next batch. */
bool controller_balance(struct controller_step *step, struct controller_pass *pass);
/* Partitions without a leader get one, if their topic's unclean.leader.election.enable lets it.
 * When brokers have come or gone, all of them, because a member of the set may have come with the
 * others, or that setting has changed. False: there is more to look at. */
bool controller_lead_all(struct controller_step *step, struct controller_pass *pass);
/* Any replica that is there, if none of the set is. NONE, or why not. */
enum err controller_elect_unclean(struct controller_step *step, const struct uuid *topic_id,
                                  int32_t partition);
/* To the first of its replicas, if that is live and in the set. NONE, or why not. */
enum err controller_elect_preferred(struct controller_step *step, const struct uuid *topic_id,
                                    int32_t partition);
