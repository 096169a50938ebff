/* SPDX-License-Identifier: Apache-2.0
 *
 * What this broker asks of a controller that is another broker: commit sets (AlterPartition),
 * blocks of producer ids (AllocateProducerIds), topics that are made because they were asked for
 * (CreateTopics), and that others may lead what it leads before it stops (ControlledShutdown). One
 * connection, one request in flight, in order of arrival. A request whose answer was lost ends with
 * NOT_CONTROLLER: whoever asked, asks again.
 *
 * What clients ask of a controller is not passed on: they are told who it is. But for settings
 * and quotas, which they ask any broker to change, and settings of a broker that one.
 * home: shard 0, the control shard.
 */
#pragma once

#include "core/controller/controller.h"

struct controller_link;

#define BROKER_CLIENT_ID "broker" /* of requests that were passed on */

struct controller_link *controller_link_new(struct broker_shard *bs);
/* Is it of a kind that is passed on? */
bool controller_link_takes(const struct control_op *op);
/* Takes such an op that has arrived by mail, and answers it. */
void controller_link_submit(struct controller_link *link, struct control_op *op);
/* All that is asked ends now, and so does what will be; then done(user). */
void controller_link_stop(struct controller_link *link, void (*done)(void *user), void *user);
void controller_link_free(struct controller_link *link);
