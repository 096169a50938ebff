/* SPDX-License-Identifier: Apache-2.0 */
#include "core/clock_jump.h"

#include "io/diag.h"

void clock_jump_start(struct clock_jump *jump, const struct shard *sh)
{
    *jump = (struct clock_jump){.wall_ms = io_wall_ms(sh->io), .clock_ns = io_now_ns(sh->io)};
}

void clock_jump_look(struct clock_jump *jump, struct shard *sh, const char *what)
{
    const int64_t wall_ms = io_wall_ms(sh->io);
    const uint64_t clock_ns = io_now_ns(sh->io);
    const int64_t gained_ms =
        wall_ms - jump->wall_ms - (int64_t)((clock_ns - jump->clock_ns) / 1000000);
    jump->wall_ms = wall_ms;
    jump->clock_ns = clock_ns;
    if (gained_ms <= CLOCK_JUMP_MS)
        return;
    jump->rests_until_ns = clock_ns + CLOCK_JUMP_REST_MS * 1000000ULL;
    diag_warn(sh, "log.clock_jump", "gained_ms=%lld rests=%s rests_ms=%d next_step=%s",
              (long long)gained_ms, what, CLOCK_JUMP_REST_MS, "look at the clock of this machine");
}
