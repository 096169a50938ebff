/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/group_facts.h"

#include "net/err.h"

#include <stdlib.h>
#include <string.h>

struct group_facts *group_facts_new(void)
{
    struct group_facts *facts = calloc(1, sizeof(*facts));
    must(facts != NULL);
    for (uint32_t i = 0; i < GROUPS_MAX; i++)
        (void)snprintf(facts->groups[i].name, sizeof(facts->groups[i].name), "group-%u", i);
    return facts;
}

void group_facts_free(struct group_facts *facts)
{
    free(facts);
}

/* ---- members ---- */

/* What JoinGroup told in an earlier life counts no more. */
static struct group_fact *fact_in(const struct model *m, uint32_t group, uint32_t life)
{
    struct group_fact *fact = &m->groups->groups[group];
    if (fact->life == life)
        return fact;
    fact->life = life;
    fact->joined = -1;
    memset(fact->holders, 0, sizeof(fact->holders));
    return fact;
}

/* Of two answers that crossed nobody knows which came first. */
static void holder_set(struct model *m, struct group_fact *fact, const struct ask *ask,
                       int instance, const char *member_id)
{
    const bool crossed = ask->asked_ns <= fact->holders[instance].since_ns;
    (void)snprintf(fact->holders[instance].id, GROUP_NAME_SIZE, "%s", crossed ? "" : member_id);
    fact->holders[instance].since_ns = world_now_ns(m->world);
}

void group_joined(struct model *m, uint32_t group, const struct ask *ask, int32_t generation,
                  int instance, const char *member_id)
{
    if (ask->life != m->life)
        return;
    struct group_fact *fact = fact_in(m, group, ask->life);
    if (generation > fact->joined)
        fact->joined = generation;
    if (instance >= 0)
        holder_set(m, fact, ask, instance, member_id);
}

void group_owner(struct model *m, uint32_t group, int32_t generation, uint32_t share,
                 const char *owner)
{
    struct group_fact *fact = &m->groups->groups[group];
    if (generation < 0 || (uint32_t)generation >= GROUP_GENERATION || share >= GROUP_SHARES) {
        wrong(m, "%s: generation %d, share %u", fact->name, generation, share);
        return;
    }
    char *known = fact->owners[generation][share];
    if (known[0] != '\0' && strcmp(known, owner) != 0)
        wrong(m, "%s: share %u of generation %d is %s's and %s's", fact->name, share, generation,
              known, owner);
    (void)snprintf(known, GROUP_NAME_SIZE, "%s", owner);
    if (generation > fact->synced) {
        fact->synced = generation;
        m->groups->generations++;
    }
}

bool group_is_fenced(const struct model *m, uint32_t group, uint32_t life, int32_t generation,
                     int instance, const char *member_id)
{
    const struct group_fact *fact = fact_in(m, group, life);
    if (generation < fact->joined)
        return true;
    return instance >= 0 && fact->holders[instance].id[0] != '\0' &&
           strcmp(fact->holders[instance].id, member_id) != 0;
}

/* ---- offsets ---- */

struct commit_fact *group_commit_begin(struct model *m, uint32_t group,
                                       const struct topic_fact *topic, int32_t partition,
                                       int64_t offset)
{
    struct group_facts *facts = m->groups;
    if (facts->commit_count == GROUP_COMMITS)
        return NULL;
    struct commit_fact *commit = &facts->commits[facts->commit_count++];
    *commit = (struct commit_fact){.group = group,
                                   .topic = topic ? model_topic_index(m, topic) : ANY_TOPIC,
                                   .partition = partition,
                                   .incarnation = topic ? topic->incarnation : 0,
                                   .offset = offset,
                                   .sent_ns = world_now_ns(m->world),
                                   .life = m->life};
    return commit;
}

void group_committed(struct model *m, struct commit_fact *commit, enum commit_end end)
{
    static const char *const ends[] = {"open", "acknowledged", "refused", "lost"};
    const char *name = m->groups->groups[commit->group].name;
    world_note(m->world, "%s: topic %d-%d offset %lld of life %u: %s", name, commit->topic,
               commit->partition, (long long)commit->offset, commit->life, ends[end]);
    commit->end = end;
    commit->ended_ns = world_now_ns(m->world);
    if (end != COMMIT_ACKED)
        return;
    m->groups->accepted++;
    if (commit->old)
        wrong(m, "%s: offset %lld was committed by a generation that was over", name,
              (long long)commit->offset);
    else if (commit->fenced && commit->life == m->life)
        wrong(m, "%s: offset %lld was committed by a member that was none any more", name,
              (long long)commit->offset);
}

static bool is_of(const struct model *m, const struct commit_fact *commit, uint32_t group,
                  const struct topic_fact *topic, int32_t partition)
{
    if (commit->group != group)
        return false;
    return commit->topic == ANY_TOPIC ||
           (commit->topic == model_topic_index(m, topic) && commit->partition == partition);
}

/* Was it acknowledged before `asked_ns`, and does the topic know it? */
static bool is_certain(const struct commit_fact *commit, const struct topic_fact *topic,
                       uint64_t asked_ns)
{
    return commit->end == COMMIT_ACKED && commit->ended_ns <= asked_ns &&
           (commit->topic == ANY_TOPIC || commit->incarnation == topic->incarnation);
}

/* Has `later` surely been done after `commit`? */
static bool is_replaced_by(const struct commit_fact *commit, const struct commit_fact *later)
{
    if (commit->end == COMMIT_ACKED)
        return commit->ended_ns < later->sent_ns;
    return later->life > commit->life;
}

static bool may_count(const struct model *m, const struct commit_fact *commit,
                      const struct topic_fact *topic, int32_t partition, uint64_t asked_ns)
{
    const struct group_facts *facts = m->groups;
    if (commit->end == COMMIT_REFUSED)
        return false;
    for (uint32_t i = 0; i < facts->commit_count; i++) {
        const struct commit_fact *later = &facts->commits[i];
        if (later != commit && is_of(m, later, commit->group, topic, partition) &&
            is_certain(later, topic, asked_ns) && is_replaced_by(commit, later))
            return false;
    }
    return true;
}

void group_fetched(struct model *m, uint32_t group, struct topic_fact *topic, int32_t partition,
                   int64_t offset, uint64_t asked_ns)
{
    const struct group_facts *facts = m->groups;
    bool acked = false;
    m->groups->fetched++;
    for (uint32_t i = 0; i < facts->commit_count; i++) {
        const struct commit_fact *commit = &facts->commits[i];
        if (!is_of(m, commit, group, topic, partition))
            continue;
        if (commit->offset == offset && may_count(m, commit, topic, partition, asked_ns))
            return;
        acked |= commit->offset >= 0 && is_certain(commit, topic, asked_ns);
    }
    if (offset == -1 && !acked)
        return;
    wrong(m, "%s: %s-%d is at offset %lld, which is not what was committed",
          facts->groups[group].name, topic->name, partition, (long long)offset);
}

/* ---- errors ---- */

bool group_error_is_vague(int16_t error)
{
    return error == ERR_NOT_COORDINATOR || error == ERR_COORDINATOR_NOT_AVAILABLE ||
           error == ERR_REQUEST_TIMED_OUT || error == ERR_UNKNOWN_SERVER_ERROR;
}

bool group_error_is_passing(int16_t error)
{
    return error == ERR_NOT_COORDINATOR || error == ERR_COORDINATOR_NOT_AVAILABLE ||
           error == ERR_COORDINATOR_LOAD_IN_PROGRESS || error == ERR_REBALANCE_IN_PROGRESS;
}
