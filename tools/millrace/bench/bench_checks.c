/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_checks.h"

#include "io/mem.h"

#include <string.h>

enum { BIT_ACKED = 1, BIT_SEEN = 2 };

#define ROOM_MIN 4096U

void checks_init(struct checks *checks, uint32_t lane_count)
{
    *checks = (struct checks){.lane_count = lane_count};
    checks->lanes = mem_zalloc(lane_count * sizeof(*checks->lanes));
}

void checks_fini(struct checks *checks)
{
    for (uint32_t i = 0; i < checks->lane_count; i++)
        mem_free(checks->lanes[i].bits);
    mem_free(checks->lanes);
    mem_free(checks->told);
}

static unsigned bits_of(const struct checks_lane *lane, uint64_t number)
{
    if (number >= lane->room)
        return 0;
    return lane->bits[number / 4] >> (number % 4 * 2) & 3;
}

static void bit_set(struct checks_lane *lane, uint64_t number, unsigned bit)
{
    if (number >= lane->room) {
        uint64_t room = max_u64(ROOM_MIN, max_u64(lane->room * 2, round_up(number + 1, 4)));
        lane->bits = mem_realloc(lane->bits, room / 4);
        memset(lane->bits + lane->room / 4, 0, (room - lane->room) / 4);
        lane->room = room;
    }
    lane->bits[number / 4] |= (uint8_t)(bit << (number % 4 * 2));
}

void checks_acked(struct checks *checks, uint32_t lane, uint64_t first, uint64_t count)
{
    struct checks_lane *of = &checks->lanes[lane];
    for (uint64_t i = 0; i < count; i++)
        bit_set(of, first + i, BIT_ACKED);
    of->acked_end = max_u64(of->acked_end, first + count);
}

bool checks_seen(struct checks *checks, uint32_t lane, uint64_t number, uint64_t sent)
{
    struct checks_lane *of = &checks->lanes[lane];
    if (number >= sent) {
        checks->foreign++;
        return false;
    }
    if (bits_of(of, number) & BIT_SEEN)
        of->duplicates++;
    else if (number < of->next)
        of->reordered++;
    bit_set(of, number, BIT_SEEN);
    of->next = max_u64(of->next, number + 1);
    return true;
}

struct checks_sum checks_sum_of(const struct checks *checks, uint32_t lane)
{
    const struct checks_lane *of = &checks->lanes[lane];
    struct checks_sum sum = {.duplicates = of->duplicates, .reordered = of->reordered};
    bool in_gap = false;
    if (checks->told)
        return checks->told[lane];
    for (uint64_t i = 0; i < max_u64(of->next, of->acked_end); i++) {
        const unsigned bits = bits_of(of, i);
        sum.acked += (bits & BIT_ACKED) != 0;
        sum.seen += (bits & BIT_SEEN) != 0;
        sum.lost += bits == BIT_ACKED;
        sum.surplus += bits == BIT_SEEN;
        bool missing = !(bits & BIT_SEEN) && i < of->next;
        sum.gaps += missing && !in_gap;
        in_gap = missing;
    }
    return sum;
}

struct checks_sum checks_sum_all(const struct checks *checks)
{
    struct checks_sum all = {0};
    for (uint32_t i = 0; i < checks->lane_count; i++) {
        const struct checks_sum sum = checks_sum_of(checks, i);
        all.acked += sum.acked;
        all.seen += sum.seen;
        all.lost += sum.lost;
        all.duplicates += sum.duplicates;
        all.reordered += sum.reordered;
        all.gaps += sum.gaps;
        all.surplus += sum.surplus;
    }
    return all;
}

bool checks_good(const struct checks *checks, const struct checks_sum *sum)
{
    return sum->lost == 0 && sum->duplicates == 0 && sum->reordered == 0 && checks->corrupt == 0;
}
