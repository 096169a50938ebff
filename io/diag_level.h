/* SPDX-License-Identifier: Apache-2.0
 *
 * How much is said, subject by subject. A line belongs to the logger that its event's name begins
 * with (log.damaged: log), and is said when it is not beyond that logger's level. One without a
 * level of its own goes by the root's. Any thread may ask and set them while the broker runs; a
 * restart forgets what was set.
 */
#pragma once

#include "io/base.h"

/* The levels that a logger may have. Lines are errors, warnings and informations: FATAL silences
 * all three, DEBUG and TRACE say no more than INFO. */
enum diag_level { DIAG_FATAL = 1, DIAG_ERROR, DIAG_WARN, DIAG_INFO, DIAG_DEBUG, DIAG_TRACE };

enum { DIAG_ROOT = 0 }; /* the first logger */

struct diag_logger {
    const char *name;
    const char *doc;
};

extern const struct diag_logger diag_loggers[];
extern const uint32_t diag_logger_count;

/* Of a line; the root's when no logger has that name. */
uint32_t diag_logger_of(const char *event);

enum diag_level diag_level_of(uint32_t logger); /* its own, or the root's */
void diag_level_set(uint32_t logger, enum diag_level level);
void diag_level_unset(uint32_t logger);
