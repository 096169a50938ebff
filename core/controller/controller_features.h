/* SPDX-License-Identifier: Apache-2.0
 *
 * Levels of features, which all brokers of a cluster agree to: today there is one, of the metadata
 * (METADATA_LEVEL). Each broker says in its registration up to which it takes part. A cluster that
 * is new begins with its first controller's; from then on a level is raised when somebody asks for
 * it, and every broker that is registered knows it. What came with a level is refused before. A
 * broker that comes later and does not know it stops, and says so.
 *
 * There is no way back: an older version could not read what the log may hold by then.
 * home: the control shard.
 */
#pragma once

#include "core/controller/controller_step.h"

enum upgrade_type { UPGRADE = 1, SAFE_DOWNGRADE = 2, UNSAFE_DOWNGRADE = 3 };

/* All items, or none when one of them is refused. */
void controller_update_features(struct controller_step *step, struct control_op *op);
