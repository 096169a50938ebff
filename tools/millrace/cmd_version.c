/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/command.h"

#include <stdio.h>

int cmd_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("millrace " MR_VERSION);
    return EXIT_OK;
}
