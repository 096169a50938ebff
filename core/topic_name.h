/* SPDX-License-Identifier: Apache-2.0
 *
 * Topic names (C1): 1 to 249 of [a-zA-Z0-9._-], not "." or "..". That two of them collide
 * is seen by the image (image_edit_collision).
 */
#pragma once

#include "net/wire.h"

#define TOPIC_NAME_LEN_MAX 249

/* NULL when the name is good, else what is wrong with it. */
const char *topic_name_problem(struct str name);
