/* SPDX-License-Identifier: Apache-2.0
 *
 * A group of one protocol becomes one of the other while its members go on (KIP-848, Migration).
 *
 * Up: when a member of KIP-848 joins a classic group of consumers. Each member is taken over with
 * what it was assigned last, in the generation that there is, which becomes the epoch; it speaks
 * the classic protocol on (core/group/consumer_classic.h). What members hold is known from then on,
 * so the newcomer gets nothing that is not given back first.
 *
 * Down: when the last member of KIP-848 is gone. The epoch becomes the generation, what each has
 * its assignment, and the members are told to join again.
 *
 * Both are decisions in memory; the host writes the new group and the old one's end as one batch,
 * so a crash finds the one or the other.
 */
#pragma once

#include "core/group/consumer_embedded.h"
#include "core/group/group.h"

/* Into a new group, of which all is to be written. False, and why: it cannot be. The classic group
 * stays as it is. */
bool consumer_migrate_up(struct consumer_group *g, const struct group *from,
                         const char **message) warn_unused;
/* Into a new classic group; every member speaks that protocol. The consumer group stays. False: a
 * member is too large. takes_target is a mistake on purpose: what members are to have for what they
 * have. */
bool consumer_migrate_down(const struct consumer_group *g, bool takes_target,
                           struct group *to) warn_unused;
