/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace topic describe --storage`: what topics have on the disks of their brokers, and what
 * those disks hold of segments that are gone.
 */
#pragma once

#include "tools/millrace/session.h"

/* The topics are the operands of the invocation. */
int topic_describe_storage(struct session *s);
