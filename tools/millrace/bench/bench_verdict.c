/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_verdict.h"

#include <stdio.h>
#include <string.h>

unsigned second_faults(const struct bench_second *second)
{
    unsigned faults = 0;
    if (second->lag_p99 > VERDICT_LAG_NS)
        faults |= FAULT_LAG;
    if (second->own_cpu + second->own_wait > VERDICT_CPU || second->own_wait > VERDICT_WAIT)
        faults |= FAULT_CPU;
    if (second->steal > VERDICT_STEAL)
        faults |= FAULT_STEAL;
    return faults;
}

struct verdict verdict_of(const struct bench_second *seconds, uint32_t count)
{
    struct verdict verdict = {.seconds = count};
    for (uint32_t i = 0; i < count; i++) {
        unsigned faults = second_faults(&seconds[i]);
        verdict.lag += (faults & FAULT_LAG) != 0;
        verdict.cpu += (faults & FAULT_CPU) != 0;
        verdict.steal += (faults & FAULT_STEAL) != 0;
        verdict.bad += faults != 0;
    }
    verdict.valid = (double)verdict.bad <= VERDICT_SHARE * (double)count;
    return verdict;
}

static void add(char text[VERDICT_TEXT_SIZE], uint32_t bad, const struct verdict *verdict,
                const char *what)
{
    size_t used = strlen(text);
    if (bad > 0)
        (void)snprintf(text + used, VERDICT_TEXT_SIZE - used, "%s%s in %u of %u seconds",
                       used > 0 && text[used - 1] != ' ' ? "; " : "", what, bad, verdict->seconds);
}

const char *verdict_text(const struct verdict *verdict, char text[VERDICT_TEXT_SIZE])
{
    text[0] = 0;
    if (verdict->valid)
        return text;
    if (verdict->who)
        (void)snprintf(text, VERDICT_TEXT_SIZE, "agent %s: ", verdict->who);
    add(text, verdict->lag, verdict, "1 % of the records left over 1 ms late");
    add(text, verdict->cpu, verdict, "the generator lacked processor time");
    add(text, verdict->steal, verdict, "the hypervisor gave 10 % of the machine to others");
    return text;
}
