/* SPDX-License-Identifier: Apache-2.0
 *
 * The shipped broker over its lives, as in broker.c, with topics that are compacted: small
 * segments, a cleaner that is always at it, writers of keys and tombstones, readers, and an
 * administrator who takes topics away under them. What may be missing is said in keyed.h.
 */
#include "tests/sim/actor.h"
#include "tests/sim/keyed.h"
#include "tests/sim/scenario.h"

static const struct cast cast[] = {
    {&actor_key_writer, 5},
    {&actor_key_reader, 3},
    {&actor_admin, 1},
};

static void setting(struct node *node, const char *name, const char *value)
{
    must(node->setting_count < array_count(node->settings));
    node->settings[node->setting_count++] = (struct conf_assignment){.name = name, .value = value};
}

static void compact_begin(struct model *m)
{
    static const char *const ratios[] = {"0", "0.1", "0.5"};
    static const char *const times_ms[] = {"0", "5", "40", "200"};
    static const uint64_t times_ns[] = {0, 5 * MS, 40 * MS, 200 * MS};
    struct node *node = m->node;
    m->keyed = keyed_facts_new();
    node->segment_bytes = 16384 << rng_below(&m->rng, 3);
    node->retention_bytes = -1;
    m->forgets = false;
    uint64_t lag = rng_one_in(&m->rng, 3) ? rng_below(&m->rng, 4) : 0;
    uint64_t retention = rng_below(&m->rng, 4);
    m->keyed->lag_ns = times_ns[lag];
    m->keyed->retention_ns = times_ns[retention];
    setting(node, "log.cleanup.policy", "compact");
    /* The lag goes by the broker's time; else a record's timestamp is its number. */
    setting(node, "log.message.timestamp.type", lag > 0 ? "LogAppendTime" : "CreateTime");
    setting(node, "log.cleaner.backoff.ms", rng_one_in(&m->rng, 2) ? "5" : "20");
    setting(node, "log.cleaner.min.cleanable.ratio", ratios[rng_below(&m->rng, 3)]);
    setting(node, "log.cleaner.min.compaction.lag.ms", times_ms[lag]);
    setting(node, "log.cleaner.delete.retention.ms", times_ms[retention]);
    /* The least map has room for fewer keys than a segment may have records. */
    setting(node, "log.cleaner.dedupe.buffer.size", rng_one_in(&m->rng, 2) ? "1" : "100000");
}

static void compact_end(struct model *m)
{
    const struct keyed_facts *facts = m->keyed;
    world_note(m->world,
               "%llu records acknowledged, %llu read; met: %llu superseded, %llu tombstones gone",
               (unsigned long long)facts->acked, (unsigned long long)facts->read,
               (unsigned long long)facts->superseded, (unsigned long long)facts->tombstones_gone);
    keyed_facts_free(m->keyed);
    m->keyed = NULL;
}

static const struct broker_lives lives = {
    .cast = cast, .cast_count = array_count(cast), .begin = compact_begin, .end = compact_end};

static bool compact_play(struct world *world, char *why, size_t why_size)
{
    return broker_lives_play(world, &lives, why, why_size);
}

const struct scenario scenario_compact = {
    .name = "compact",
    .summary = "the shipped broker with compacted topics and clients that read and write keys",
    .options = broker_lives_options,
    .play = compact_play,
};
