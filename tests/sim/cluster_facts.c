/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/cluster.h"

#include <stdarg.h>
#include <string.h>

void cluster_wrong(struct cluster_facts *facts, const char *format, ...)
{
    if (facts->failed)
        return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(facts->why, sizeof(facts->why), format, args);
    va_end(args);
    facts->failed = true;
}

static unsigned producer_of(uint64_t value)
{
    return (unsigned)(value >> 32);
}

static unsigned number_of(uint64_t value)
{
    return (unsigned)(value & UINT32_MAX);
}

void cluster_seen(struct cluster *cl, uint32_t partition, int64_t offset, uint64_t value)
{
    struct cluster_facts *facts = &cl->facts;
    struct cluster_partition *pt = &facts->partition[partition];
    if (offset < 0 || offset >= (int64_t)CLUSTER_OFFSETS_MAX) {
        cluster_wrong(facts, "partition %u has offset %lld", partition, (long long)offset);
        return;
    }
    uint64_t known = pt->values[offset];
    if (known != 0 && known != value && !cl->unclean)
        cluster_wrong(facts, "partition %u offset %lld was %u/%u%s, and is %u/%u now", partition,
                      (long long)offset, producer_of(known), number_of(known),
                      pt->acked[offset] ? " (acknowledged)" : "", producer_of(value),
                      number_of(value));
    pt->values[offset] = value;
    if (offset >= pt->end)
        pt->end = offset + 1;
}

void cluster_acked(struct cluster *cl, uint32_t partition, int64_t offset, uint64_t value)
{
    cluster_seen(cl, partition, offset, value);
    if (!cl->facts.failed)
        cl->facts.partition[partition].acked[offset] = true;
    cl->facts.acks++;
    cl->facts.partition[partition].acks++;
}

/* Producers 0, 3, ... are not idempotent: theirs may be there twice, and so may those of others
 * that have begun anew. */
static void conclude_partition(struct cluster *cl, uint32_t partition)
{
    struct cluster_facts *facts = &cl->facts;
    const struct cluster_partition *pt = &facts->partition[partition];
    unsigned newest[CLUSTER_PRODUCERS + 1] = {0};
    for (int64_t offset = 0; offset < pt->end; offset++) {
        uint64_t value = pt->values[offset];
        if (pt->acked[offset] && !pt->read_back[offset] && offset >= pt->deleted && !cl->unclean)
            cluster_wrong(facts, "partition %u offset %lld: %u/%u was acknowledged and is lost",
                          partition, (long long)offset, producer_of(value), number_of(value));
        if (!pt->read_back[offset])
            continue;
        unsigned producer = producer_of(value) % (CLUSTER_PRODUCERS + 1);
        if (producer % 3 != 0 && !pt->begun_anew[producer] && number_of(value) <= newest[producer])
            cluster_wrong(facts, "partition %u offset %lld: %u/%u comes after %u", partition,
                          (long long)offset, producer, number_of(value), newest[producer]);
        newest[producer] = number_of(value);
    }
}

void cluster_conclude(struct cluster *cl)
{
    for (uint32_t i = 0; i < CLUSTER_PARTITIONS; i++)
        conclude_partition(cl, i);
}
