/* SPDX-License-Identifier: Apache-2.0
 *
 * BROKER_LOGGER, as DescribeConfigs and IncrementalAlterConfigs (KIP-412) have it: how much this
 * broker says, logger by logger (io/diag_level.h). Unlike all other settings these are its own:
 * they are changed at once, no controller is asked, and a restart forgets them.
 */
#pragma once

#include "core/controller/controller.h"
#include "net/conn.h"
#include "net/kafka.h"

/* All of them, or those that are asked for by name. False: no room for the answer. */
bool loggers_describe(struct request *q, const struct describe_configs_request_resource *in,
                      bool documented, struct describe_configs_response_result *out) warn_unused;

/* All changes of the item; or none, and its error says why. */
void loggers_change(struct request *q, struct control_item *item, bool validate_only);
