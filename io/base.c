/* SPDX-License-Identifier: Apache-2.0 */
#include "io/base.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void must_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "panic: %s:%d: must(%s)\n", file, line, condition);
    abort();
}
