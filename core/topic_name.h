/* SPDX-License-Identifier: Apache-2.0
 *
 * Topic names (C1): 1 to 249 of [a-zA-Z0-9._-], not "." or "..". Kafka's metrics turn '.' into '_',
 * so two names that differ only in that collide: the second is refused at creation.
 */
#pragma once

#include "net/wire.h"

#define TOPIC_NAME_LEN_MAX 249

/* NULL when the name is good, else what is wrong with it. */
const char *topic_name_problem(struct str name);
/* Do they differ only in '.' and '_'? True for equal names as well. */
bool topic_name_collides(struct str a, struct str b);
