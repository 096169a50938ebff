/* SPDX-License-Identifier: Apache-2.0
 *
 * A planned stop hands leadership over first: the controller is told, moves what others may lead,
 * and only then does this broker end what it serves. So a client finds another leader instead of a
 * dead one, and is told here which (KIP-951): the broker answers for a moment more.
 *
 * The time for that is bounded, and a broker that has nobody to hand over to, no controller or no
 * store waits for nothing: others then lead when its registration has gone, as after a crash.
 * home: the control shard.
 */
#pragma once

#include "core/broker.h"

enum handover_state {
    HANDOVER_ASKING,    /* the controller */
    HANDOVER_WAITING,   /* for a controller */
    HANDOVER_LOOKING,   /* it has decided; the image with that is on its way */
    HANDOVER_LINGERING, /* clients are told who leads by now */
    HANDOVER_COMPLETE,  /* this broker leads nothing that another one could */
    HANDOVER_GIVEN_UP,
};

/* Once; then done(), which may be inside the call. */
void handover_begin(struct broker *broker, void (*done)(struct broker *broker));
enum handover_state handover_state_of(const struct handover *handover);
void handover_free(struct handover *handover);
