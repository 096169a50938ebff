/* SPDX-License-Identifier: Apache-2.0
 *
 * What a running broker has counted, as log lines: `kill -USR1` asks for them.
 */
#pragma once

#include "core/broker.h"

void counters_print(struct broker *broker);
