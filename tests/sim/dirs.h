/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold of a broker with several log directories, some of which fail: in the middle of a
 * life (a write or flush fails, once or from then on), or from the start of one. An answer is
 * looked at when it comes:
 *   - a partition says KAFKA_STORAGE_ERROR only if the directory that holds it has failed
 *   - nothing that was asked after that is answered without an error
 * That what was acknowledged is there again when the directory is, and that the other directories
 * miss nothing, the model says at the end as ever.
 */
#pragma once

#include "tests/sim/actor.h"

/* Of a partition, to this question; nothing happens in other scenarios. */
void dirs_answered(struct model *m, const struct ask *ask, int16_t error,
                   const struct topic_fact *topic, uint32_t partition);
