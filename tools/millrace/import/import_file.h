/* SPDX-License-Identifier: Apache-2.0
 *
 * A file of Kafka's gets a name, or a copy, in a folder of ours.
 *
 *   reflink  the file system shares the blocks until one of both writes: as good as a copy
 *   link     the same file under a second name: for closed segments only, which neither broker
 *            writes (core/log/recycle.c leaves a file alone that has two names), and only when the
 *            file belongs to whoever runs the import, so that nobody has to change its owner
 *   copy     its bytes, once more
 *
 * Durable when its folder is flushed afterwards.
 */
#pragma once

#include "io/base.h"

enum import_way {
    IMPORT_REFLINK,
    IMPORT_LINK,
    IMPORT_COPY,
    IMPORT_WAYS,
};
extern const char *const import_way_names[IMPORT_WAYS];

struct import_ways {
    bool allowed[IMPORT_WAYS]; /* tried in their order; a copy must be allowed */
    uint64_t files[IMPORT_WAYS];
    uint64_t bytes[IMPORT_WAYS];
};

/* `bytes` of the file: what is behind them is left out. 0, or -errno. */
int import_file(struct import_ways *ways, const char *from, const char *to, uint64_t bytes,
                bool is_closed);
