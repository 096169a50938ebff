/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/dirs.h"

#include "net/err.h"
#include "tests/sim/scenario.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DIRS_MAX 3U

static const char *const paths[DIRS_MAX] = {"/data", "/more", "/third"};
static const char *const lists[DIRS_MAX + 1] = {"", "/data", "/data,/more", "/data,/more,/third"};

struct dirs_facts {
    uint32_t count;
    struct disk_fault fault; /* laid, to strike in this life: */
    uint32_t life;
    /* When a shard's part of a directory was first seen to have failed, in this life. */
    uint64_t failed_ns[DIRS_MAX][SHARDS_MAX];
    uint32_t failed_life;
    /* what came to pass */
    uint64_t strikes, missing, refused, acks_beside;
};

/* ---- what the broker knows of itself ---- */

static void look(struct model *m)
{
    struct dirs_facts *facts = m->dirs;
    const struct broker *broker = m->node->broker;
    if (facts->failed_life != m->life)
        memset(facts->failed_ns, 0, sizeof(facts->failed_ns));
    facts->failed_life = m->life;
    for (uint16_t s = 0; broker && s < broker->shard_count; s++) {
        for (uint32_t d = 0; d < facts->count; d++) {
            const struct log_shard *ls = broker->shards[s].logs.of[d];
            if (ls && log_shard_offline(ls) && facts->failed_ns[d][s] == 0)
                facts->failed_ns[d][s] = world_now_ns(m->world);
        }
    }
}

/* Since when its directory has failed; 0: it has not; 1: since the start. */
static uint64_t failed_since(const struct model *m, const struct topic_fact *topic,
                             uint32_t partition)
{
    const struct broker *broker = m->node->broker;
    struct partition_key key = {.topic_id = topic->id, .partition = (int32_t)partition};
    for (uint16_t s = 0; s < broker->shard_count; s++) {
        const struct broker_shard *bs = &broker->shards[s];
        const struct partition *pt = partition_find(&bs->partitions, &key);
        for (uint32_t d = 0; pt && d < m->dirs->count; d++)
            if (bs->logs.of[d] == pt->log->home)
                return m->dirs->failed_ns[d][s];
    }
    return broker->dirs->missing > 0;
}

static bool is_there(const struct model *m, const struct topic_fact *topic, uint32_t partition)
{
    const struct broker *broker = m->node->broker;
    struct partition_key key = {.topic_id = topic->id, .partition = (int32_t)partition};
    for (uint16_t s = 0; s < broker->shard_count; s++)
        if (partition_find(&broker->shards[s].partitions, &key))
            return true;
    return false;
}

void dirs_answered(struct model *m, const struct ask *ask, int16_t error,
                   const struct topic_fact *topic, uint32_t partition)
{
    struct dirs_facts *facts = m->dirs;
    if (!facts || ask->life != m->life || !node_runs(m->node) || !m->node->broker ||
        topic->state != TOPIC_THERE)
        return;
    look(m);
    uint64_t since_ns = failed_since(m, topic, partition);
    facts->refused += error == ERR_KAFKA_STORAGE_ERROR;
    facts->acks_beside += error == ERR_NONE && (m->fails & (1ULL << (m->life & 63)));
    if (error == ERR_KAFKA_STORAGE_ERROR && since_ns == 0)
        wrong(m, "%s-%u: KAFKA_STORAGE_ERROR, and its directory works", topic->name, partition);
    if (error == ERR_NONE && since_ns > 1 && ask->asked_ns > since_ns)
        wrong(m, "%s-%u is served by a directory that has failed", topic->name, partition);
    if (error == ERR_NONE && since_ns == 1 && !is_there(m, topic, partition))
        wrong(m, "%s-%u is served, and its directory is missing", topic->name, partition);
}

/* ---- what happens to the disks ---- */

static void fails(struct model *m)
{
    m->slow = true;
    m->fails |= 1ULL << (m->life & 63);
}

static struct disk_fault fault_of(struct rng *rng, uint32_t dir)
{
    static const unsigned kinds[] = {DISK_WRITE, DISK_SYNC, DISK_WRITE | DISK_SYNC | DISK_NAMES,
                                     DISK_READ | DISK_WRITE | DISK_SYNC | DISK_NAMES};
    struct disk_fault fault = {.calls = kinds[rng_below(rng, array_count(kinds))],
                               .times = rng_one_in(rng, 2) ? 1 : UINT32_MAX,
                               .error = -EIO};
    (void)snprintf(fault.prefix, sizeof(fault.prefix), "%s/", paths[dir]);
    return fault;
}

/* A directory that is known, and cannot be read or written from the start on. The first one has
 * the metadata: without it there is no start. */
static void dirs_life(struct model *m, bool disturbed)
{
    struct rng *rng = world_rng(m->world);
    machine_disk_heal(m->node->machine);
    if (!disturbed || !m->node->was_ready || !rng_one_in(rng, 4))
        return;
    struct disk_fault fault = fault_of(rng, (uint32_t)rng_between(rng, 1, m->dirs->count - 1));
    fault.calls |= rng_one_in(rng, 2) ? DISK_READ : DISK_WRITE;
    fault.times = UINT32_MAX;
    machine_disk_fault(m->node->machine, &fault);
    m->dirs->missing++;
    fails(m);
}

static void strike(void *argument)
{
    struct model *m = argument;
    if (m->dirs->life != m->life || !node_runs(m->node))
        return;
    machine_disk_fault(m->node->machine, &m->dirs->fault);
    m->dirs->strikes++;
    fails(m);
}

static void dirs_ready(struct model *m)
{
    struct rng *rng = world_rng(m->world);
    if (rng_one_in(rng, 3))
        return;
    uint32_t dir = rng_one_in(rng, 6) ? 0 : (uint32_t)rng_between(rng, 1, m->dirs->count - 1);
    m->dirs->fault = fault_of(rng, dir);
    m->dirs->fault.calls &= ~(unsigned)DISK_READ; /* a read that fails is answered, and no more */
    m->dirs->life = m->life;
    world_at(m->world, world_now_ns(m->world) + rng_below(rng, 60 * MS), strike, m);
}

/* ---- the play ---- */

static void dirs_begin(struct model *m)
{
    m->dirs = calloc(1, sizeof(*m->dirs));
    must(m->dirs != NULL);
    m->dirs->count = (uint32_t)rng_between(&m->rng, 2, DIRS_MAX);
    m->node->log_dirs = lists[m->dirs->count];
    m->node->tail_bytes *= m->dirs->count;
    m->node->cold_bytes *= m->dirs->count;
    m->node->open_files_max *= m->dirs->count;
}

static void dirs_end(struct model *m)
{
    const struct dirs_facts *facts = m->dirs;
    world_note(m->world,
               "%u directories, %llu strikes, %llu missing at a start, %llu refused, %llu served "
               "in such lives",
               facts->count, (unsigned long long)facts->strikes, (unsigned long long)facts->missing,
               (unsigned long long)facts->refused, (unsigned long long)facts->acks_beside);
    m->dirs->life = 0;
    free(m->dirs);
    m->dirs = NULL;
}

static bool dirs_play(struct world *world, char *why, size_t why_size)
{
    static const struct broker_lives dirs = {
        .begin = dirs_begin, .end = dirs_end, .life = dirs_life, .ready = dirs_ready};
    return broker_lives_play(world, &dirs, why, why_size);
}

const struct scenario scenario_dirs = {
    .name = "dirs",
    .summary = "several log directories, of which some fail while others go on",
    .options = broker_lives_options,
    .play = dirs_play,
};
