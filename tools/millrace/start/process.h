/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel says of this process (/proc/self).
 */
#pragma once

#include "io/base.h"

struct process {
    double cpu_seconds;     /* user and system */
    double started_seconds; /* since 1970 */
    double uptime_seconds;
    uint64_t resident_bytes, virtual_bytes;
    uint64_t open_files, open_files_max;
};

/* What cannot be read stays 0. */
void process_read(struct process *process);
