/* SPDX-License-Identifier: Apache-2.0
 *
 * A wall clock that jumps forward must not make a broker forget what is young. Between two looks
 * wall clock and monotonic clock must agree to CLOCK_JUMP_MS; when the wall clock has gained more,
 * a line says so, and what goes by age rests for CLOCK_JUMP_REST_MS, in which the clock can be
 * mended. (A clock that is wrong already when the broker starts cannot be told from a long stop.)
 */
#pragma once

#include "io/shard.h"

#define CLOCK_JUMP_MS      60000
#define CLOCK_JUMP_REST_MS 3600000

struct clock_jump {
    int64_t wall_ms; /* both at the last look */
    uint64_t clock_ns;
    uint64_t rests_until_ns;
};

void clock_jump_start(struct clock_jump *jump, const struct shard *sh);
/* `what` rests, in the line. */
void clock_jump_look(struct clock_jump *jump, struct shard *sh, const char *what);

static inline bool clock_jump_rests(const struct clock_jump *jump)
{
    return jump->clock_ns < jump->rests_until_ns;
}
