/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/rot.h"

#include "core/log/log_private.h"

#include <stdio.h>

#define SETTLE_NS (100 * MS)
#define FOUND_NS  (20 * S)

/* A byte of a closed segment. */
struct rot_place {
    struct log_body *lg;
    int64_t base;
    uint32_t version;
    uint32_t at;
};

static uint64_t damaged(const struct model *m)
{
    struct log_counts counts;
    node_log_counts(m->node, &counts);
    return counts.damaged + counts.unreadable;
}

void rot_is_not_seen(struct model *m)
{
    if (damaged(m) > 0)
        wrong(m, "the broker says that the disk has damaged a batch, which it has not");
}

static struct segment *segment_at(const struct rot_place *place)
{
    return segment_named(place->lg, place->base, place->version);
}

/* Of all bytes each is as likely. */
static void place_look(struct model *m, struct log_body *lg, struct rot_place *place,
                       uint64_t *seen)
{
    const struct segment *segment;
    if (lg->swap.count > 0)
        return; /* the name of a compacted segment leads to the file it replaces for a moment */
    TAILQ_FOREACH (segment, &lg->segments, link) {
        if (lg->state != LOG_LIVE || !segment->sealed || segment->below || segment->swapping ||
            segment->size == 0)
            continue;
        *seen += segment->size;
        if (rng_below(world_rng(m->world), *seen) < segment->size)
            *place =
                (struct rot_place){.lg = lg, .base = segment->base, .version = segment->version};
    }
}

static bool place_find(struct model *m, struct rot_place *place)
{
    uint64_t seen = 0;
    for (uint32_t i = 0; i < m->node->shards * LOG_DIRS_MAX; i++) {
        const struct broker_shard *bs = &m->node->broker->shards[i / LOG_DIRS_MAX];
        const struct log_shard *ls = bs->logs.of[i % LOG_DIRS_MAX];
        struct log_body *lg;
        if (ls == NULL || log_shard_offline(ls))
            continue;
        TAILQ_FOREACH (lg, &ls->logs, all_link)
            place_look(m, lg, place, &seen);
    }
    if (place->lg != NULL)
        place->at = (uint32_t)rng_below(world_rng(m->world), segment_at(place)->size);
    return place->lg != NULL;
}

struct rot_wait {
    struct model *m;
    const struct rot_place *place;
};

static bool is_found(void *argument)
{
    const struct rot_wait *wait = argument;
    return !node_runs(wait->m->node) || damaged(wait->m) > 0 || segment_at(wait->place) == NULL;
}

void rot_is_found(struct model *m)
{
    struct rot_place place = {0};
    struct rot_wait wait = {.m = m, .place = &place};
    char path[400];
    world_run(m->world, world_now_ns(m->world) + SETTLE_NS);
    if (!node_runs(m->node) || !m->node->broker || !place_find(m, &place))
        return;
    (void)snprintf(path, sizeof(path), "%s/%s-%d/%020lld.log", place.lg->ls->dir->path,
                   place.lg->log.topic, (int)place.lg->log.id.partition, (long long)place.base);
    uint8_t mask = (uint8_t)(1U << rng_below(world_rng(m->world), 8));
    if (!machine_disk_damage(m->node->machine, path, place.at, mask)) {
        wrong(m, "%s has no byte %u", path, place.at);
        return;
    }
    world_note(m->world, "bits %02x of byte %u of %s flip", mask, place.at, path);
    if (!world_run_until(m->world, is_found, &wait, world_now_ns(m->world) + FOUND_NS))
        wrong(m, "bits %02x of byte %u of %s have flipped, and nobody has found it", mask, place.at,
              path);
}
