/* SPDX-License-Identifier: Apache-2.0
 *
 * Rot: the broker's scrub says of no batch that it is damaged while the disk keeps what it was
 * given, and finds the bit that flips in a closed segment.
 */
#pragma once

#include "tests/sim/model.h"

/* At any moment of a life in which nothing has rotten. */
void rot_is_not_seen(struct model *m);
/* When everybody rests: flips a bit, and waits until it is found. */
void rot_is_found(struct model *m);
