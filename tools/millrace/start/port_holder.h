/* SPDX-License-Identifier: Apache-2.0
 *
 * Who listens on a TCP port of this machine, for the sentence that refuses a second broker.
 */
#pragma once

#include "io/base.h"

#include <sys/types.h>

/* The process that listens on the port, on whatever address, and its name (/proc/PID/comm); 0 when
 * there is none but this one, or when /proc does not tell: another user's, another namespace's. */
pid_t port_holder_find(uint16_t port, char name[32]);
