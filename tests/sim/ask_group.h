/* SPDX-License-Identifier: Apache-2.0
 *
 * What every kind of member asks in the same way: heartbeats and farewells of the classic protocol,
 * and commits of one offset.
 */
#pragma once

#include "tests/sim/actor.h"

/* As whom an actor asks. Empty texts: as nobody. */
struct seat {
    const char *group;
    const char *member_id;
    const char *instance_id; /* "": a dynamic member */
    int32_t generation;      /* or epoch */
};

void ask_heartbeat(struct actor *a, struct ask *ask, const struct seat *seat, client_call_fn *done);
void ask_leave(struct actor *a, struct ask *ask, const struct seat *seat, client_call_fn *done);
/* False: nobody knows how it went. Else *error is the group's or the member's. */
bool ask_left(struct ask *ask, int16_t *error);

/* At a version from `version_min` on. */
void ask_commit(struct actor *a, struct ask *ask, const struct seat *seat, int16_t version_min,
                const struct topic_fact *topic, int32_t partition, int64_t offset,
                client_call_fn *done);
/* False: nobody knows how it went. */
bool ask_committed(struct ask *ask, int16_t *error);
