/* SPDX-License-Identifier: Apache-2.0
 *
 * A data directory as a command opens it, while no broker has it: for one thread, without memory to
 * speak of.
 */
#pragma once

#include "core/log/log_dir.h"

/* Of one that is there already: it keeps its identity. */
struct log_dir_options data_directory_options(const char *path);
