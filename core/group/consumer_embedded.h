/* SPDX-License-Identifier: Apache-2.0
 *
 * The embedded consumer protocol: what members of the classic protocol tell their leader, and the
 * leader them, in bytes that only a migration reads. Topics stand there by name.
 */
#pragma once

#include "core/group/consumer_group.h"
#include "io/arena.h"
#include "net/kafka.h"

/* In the arena, as views into the bytes. False: it is malformed. A version that is not known yet is
 * read as the newest that is. */
bool consumer_embedded_subscription(struct bytes bytes, struct arena *arena,
                                    struct consumer_protocol_subscription *out) warn_unused;
bool consumer_embedded_assignment(struct bytes bytes, struct arena *arena,
                                  struct consumer_protocol_assignment *out) warn_unused;

/* As sets, in memory of their own: topics that there are, and of those the partitions. */
struct tp_set consumer_embedded_owned(struct consumer_host *host,
                                      const struct consumer_protocol_subscription *subscription);
struct tp_set consumer_embedded_assigned(struct consumer_host *host,
                                         const struct consumer_protocol_assignment *assignment);

/* The other way, in the version of the member's metadata. False: the arena is full. */
bool consumer_embedded_write(struct consumer_host *host, const struct tp_set *set,
                             struct bytes metadata, struct arena *arena,
                             struct bytes *out) warn_unused;
