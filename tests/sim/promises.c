/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/promises.h"

#include "net/err.h"

#include <string.h>

#define FLUSH_SLACK_NS (60 * MS) /* what a disk that is not slow may take */

/* ---- the topics ---- */

void promises_begin(struct model *m)
{
    m->modes = true;
    for (uint32_t i = 0; i < TOPICS_MAX; i++) {
        struct topic_fact *topic = &m->topics[i];
        topic->mode_first = (uint8_t)rng_below(&m->rng, 3);
        topic->mode = topic->mode_asked = topic->mode_first;
        topic->changes = rng_one_in(&m->rng, 3);
        topic->relaxed = topic->mode_first != LOG_DURABLE || topic->changes;
        topic->flush_ms = -1;
        if (rng_one_in(&m->rng, 4))
            topic->flush_messages = (int32_t)rng_between(&m->rng, 1, 12);
        else if (rng_one_in(&m->rng, 3))
            topic->flush_ms = (int32_t)rng_below(&m->rng, 8);
    }
}

/* The least that an answer to this question may have promised. */
static uint8_t promise_of(const struct model *m, const struct topic_fact *topic)
{
    uint8_t mode = LOG_NEVER;
    while (mode > LOG_DURABLE && mode != topic->mode && mode != topic->mode_asked &&
           m->answer_asked_ns > topic->mode_ns[mode])
        mode--;
    return mode;
}

void promises_served(struct model *m, struct partition_fact *fact)
{
    if (m->answer_life != m->life || fact->served_life == m->life)
        return;
    fact->served_life = m->life;
    fact->served_ns = world_now_ns(m->world);
}

void promises_acked(struct model *m, struct attempt *attempt)
{
    struct topic_fact *topic = &m->topics[attempt->topic];
    struct partition_fact *fact = &topic->partition[attempt->partition];
    int64_t end = attempt->offset + attempt->count;
    uint8_t promise = promise_of(m, topic);
    promises_served(m, fact);
    if (promise == LOG_DURABLE)
        fact->floor = max_i64(fact->floor, end);
    else if (topic->flush_messages > 0)
        fact->floor = max_i64(fact->floor, end - topic->flush_messages + 1);
    if (promise != LOG_NEVER && attempt->written_ns == 0)
        attempt->written_ns = world_now_ns(m->world);
    if (promise != LOG_NEVER)
        fact->floor_kill = max_i64(fact->floor_kill, end);
}

/* ---- ends and starts ---- */

static void flushed_by_now(struct model *m)
{
    uint64_t now_ns = world_now_ns(m->world);
    for (uint64_t tag = 1; tag <= m->count; tag++) {
        const struct attempt *attempt = &m->attempts[tag];
        struct topic_fact *topic = &m->topics[attempt->topic];
        struct partition_fact *fact = &topic->partition[attempt->partition];
        if (attempt->offset < 0 || attempt->forgotten || topic->flush_ms < 0 ||
            attempt->written_ns == 0 ||
            now_ns - attempt->written_ns < (uint32_t)topic->flush_ms * MS + FLUSH_SLACK_NS)
            continue;
        fact->floor = max_i64(fact->floor, attempt->offset + attempt->count);
    }
}

void promises_crashed(struct model *m, enum crash crash)
{
    uint8_t risk = crash == CRASH_KILL ? RISK_KILL : RISK_POWER;
    if (!m->modes)
        return;
    if (risk == RISK_POWER && !m->slow)
        flushed_by_now(m);
    m->risk = risk > m->risk ? risk : m->risk;
}

static const struct recovered_log *recovered_of(const struct log_dir *dir,
                                                const struct topic_fact *topic, int32_t partition)
{
    for (uint32_t i = 0; i < dir->recovered_count; i++) {
        const struct recovered_log *log = &dir->recovered[i];
        if (log->id.partition == partition &&
            memcmp(log->id.topic_id, topic->id.bytes, sizeof(topic->id.bytes)) == 0)
            return log;
    }
    return NULL;
}

static void lose(struct model *m, struct partition_fact *fact, int64_t end)
{
    for (int64_t offset = end; offset < fact->tags_size; offset++) {
        struct attempt *attempt = &m->attempts[fact->tags[offset]];
        if (fact->tags[offset] == 0)
            continue;
        m->lost += attempt->acked;
        attempt->acked = false;
        attempt->offset = -1;
        attempt->written_ns = 0;
        fact->tags[offset] = 0;
    }
    fact->end = end;
    fact->epoch_least = fact->epoch + 1;
}

static void partition_recovered(struct model *m, const struct topic_fact *topic,
                                struct partition_fact *fact, const struct recovered_log *log)
{
    static const char *const after[] = {"a clean stop", "a kill", "a loss of power"};
    int64_t end = log ? log->end_offset : 0;
    int64_t floor = fact->end;
    if (topic->relaxed && m->risk == RISK_KILL)
        floor = max_i64(fact->floor, fact->floor_kill);
    else if (topic->relaxed && m->risk == RISK_POWER)
        floor = fact->floor;
    if (end < floor) {
        wrong(m, "%s-%d (%s) ends at %lld after %s, and %lld was promised", topic->name,
              (int)(fact - topic->partition), log_durability_text(topic->mode), (long long)end,
              after[m->risk], (long long)floor);
        return;
    }
    if (end < fact->end)
        lose(m, fact, end);
    if (topic->relaxed &&
        m->risk != RISK_NONE) { /* some may be gone of which nobody has told yet */
        fact->losses++;
        fact->loss_life = m->life;
    }
    fact->floor = fact->floor_kill = end;
}

void promises_recovered(struct model *m, const struct log_dir *dir)
{
    for (uint32_t i = 0; i < TOPICS_MAX; i++) {
        struct topic_fact *topic = &m->topics[i];
        for (int32_t p = 0; topic->state == TOPIC_THERE && p < topic->partitions; p++)
            partition_recovered(m, topic, &topic->partition[p], recovered_of(dir, topic, p));
    }
    m->risk = RISK_NONE;
    m->slow = false;
}

/* ---- epochs ---- */

void promises_epoch_seen(struct model *m, struct topic_fact *topic, int32_t partition,
                         int32_t epoch, uint64_t asked_ns)
{
    struct partition_fact *fact = &topic->partition[partition];
    bool served = fact->served_life == m->life && fact->served_ns < asked_ns;
    if (m->answer_life != m->life)
        return;
    if (!topic->relaxed && epoch != 0)
        wrong(m, "%s-%d is always durable, and its leader epoch became %d", topic->name, partition,
              epoch);
    if (epoch < fact->epoch || (served && epoch < fact->epoch_least))
        wrong(m, "%s-%d has lost what it had told, and is led in epoch %d, not %d", topic->name,
              partition, epoch, fact->epoch_least);
    fact->epoch = epoch;
}

bool promises_excuse(const struct model *m, const struct topic_fact *topic, int16_t error)
{
    return m->modes && topic->relaxed && error == ERR_NOT_LEADER_OR_FOLLOWER;
}
