/* SPDX-License-Identifier: Apache-2.0
 *
 * The code does what the model does. A witness of the model (tests/model/commit_set.h) that hands
 * each event to the shipped code and compares what both then know:
 *
 *   the controller    core/controller/controller_replicas.c: records, images; leader, epochs,
 *                     set, who lives
 *   each broker       core/partition/ partition_role.c, partition_replicas.c, partition.c, and
 *                     core/replica/replica_follow.c: who leads, high watermark, what is known of
 *                     followers, what is proposed and with which bytes, where a log is cut
 *
 * The model decides what comes when; what a message says to a broker is what another one's code had
 * said. Wrapped by the linker are the log (tests/model/short_log.c), the way to the controller, and
 * the fetcher, whose messages the model carries.
 */
#pragma once

#include "tests/model/commit_set.h"

struct in_step;
struct shard;

/* On a shard of the simulated world, whose io_mutation() says what of the code is broken. */
struct in_step *in_step_new(struct shard *sh, int insync_min);
void in_step_free(struct in_step *s);
/* For struct model_witness: `user` is the struct in_step. */
bool in_step_sees(void *user, const struct model *m, const struct model_event *event, char *why,
                  int why_size);
