/* SPDX-License-Identifier: Apache-2.0 */
#include "io/base.h"

#include <stdio.h>
#include <stdlib.h>

/* io/diag.c. Weak, because a test of a pure part is linked without shards and has none to tell of.
 */
__attribute__((weak)) void diag_dump_here(void);

_Noreturn void must_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "panic: %s:%d: must(%s)\n", file, line, condition);
    if (diag_dump_here != NULL)
        diag_dump_here();
    abort();
}
