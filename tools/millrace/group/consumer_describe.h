/* SPDX-License-Identifier: Apache-2.0
 *
 * A consumer group of KIP-848 as its coordinator describes it, told in the words of DescribeGroups,
 * which knows the classic protocol alone: what members want and have is in the same bytes, the
 * assignor is the protocol's name.
 */
#pragma once

#include "tools/millrace/group/groups.h"

/* ERR_GROUP_ID_NOT_FOUND in its error_code when there is none, or no broker that knows of such. */
int consumer_describe(struct session *s, const char *name,
                      struct describe_groups_response_group *group);
