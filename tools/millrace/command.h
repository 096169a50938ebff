/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line: one table of commands says names, options, help and who runs them
 * (tools/millrace/command.c); a command is one file, cmd_<name>.c.
 */
#pragma once

#include "io/base.h"

/* What scripts see. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_UNREACHABLE = 3,   /* no broker there, or it did not answer in time */
    EXIT_PARTLY = 4,        /* some items failed */
    EXIT_PRESENCE = 5,      /* not found, or there already */
    EXIT_REFUSED_IO = 20,   /* the machine refuses io_uring */
    EXIT_REFUSED_DATA = 21, /* the data directory is in use, foreign, newer or damaged */
    EXIT_INTERRUPTED = 130,
};

int cmd_start(int argc, char **argv);
int cmd_version(int argc, char **argv);
