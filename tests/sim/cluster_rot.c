/* SPDX-License-Identifier: Apache-2.0
 *
 * Scenario "rot": bits flip in closed segments of one broker of a cluster, between its troubles and
 * in the midst of them, while other members of the commit set have what it has. Nobody is served
 * anything wrong (cluster_facts.c), and in the end every byte is what it was: the scrub or a reader
 * has found it, and another replica had it.
 */
#include "core/log/log_private.h"
#include "tests/sim/cluster.h"

#include <stdio.h>
#include <string.h>

#define FLIPS_MAX 6U /* at a time */

void cluster_rot_init(struct cluster *cl)
{
    cl->rot.victim = (uint32_t)rng_below(&cl->rng, cl->count);
    (void)snprintf(cl->rot.segment_ms, sizeof(cl->rot.segment_ms), "%u",
                   200U << rng_below(&cl->rng, 4));
    const bool scrubs = !rng_one_in(&cl->rng, 4); /* else readers are often first */
    cl->unclean = false; /* who leads without being in the set takes healthy copies away */
    cl->deletes = false; /* and so does who deletes: damage may begin below a log's start */
    for (uint32_t i = 0; i < cl->count; i++)
        cl->nodes[i].scrub_ms = scrubs ? "40" : "400";
}

/* A byte of a closed segment. */
struct rot_place {
    const struct segment *segment;
    uint32_t at;
};

/* Others have it, too, and will not lose it: it is committed, and the set is not this broker alone.
 */
static bool is_elsewhere(const struct cluster *cl, const struct partition *pt,
                         const struct segment *segment)
{
    const struct image *image;
    const struct topic_image *topic = cluster_newest_topic(cl, &image);
    const struct partition_image *now = topic && uuid_equal(&topic->id, &pt->key.topic_id)
                                            ? image_partition(topic, pt->key.partition)
                                            : NULL;
    return now && now->isr_count > 1 && image_in_set(now, pt->bs->broker->node_id) &&
           segment->end_offset <= pt->high_watermark;
}

/* Of all bytes each is as likely. */
static void place_look(struct cluster *cl, const struct partition *pt, struct rot_place *place,
                       uint64_t *seen)
{
    const struct log_body *lg = log_body_of_const(pt->log);
    const struct segment *segment;
    if (lg->state != LOG_LIVE || lg->ls->offline)
        return;
    TAILQ_FOREACH (segment, &lg->segments, link) {
        if (!segment->sealed || segment->below || segment->size == 0 ||
            !is_elsewhere(cl, pt, segment))
            continue;
        *seen += segment->size;
        if (rng_below(&cl->rng, *seen) < segment->size)
            *place = (struct rot_place){segment, (uint32_t)rng_below(&cl->rng, segment->size)};
    }
}

static bool place_find(struct cluster *cl, const struct node *node, struct rot_place *place)
{
    uint64_t seen = 0;
    for (uint16_t s = 0; s < node->shards; s++) {
        const struct broker_shard *bs = broker_shard_of(process_shard(node->process, s));
        for (uint32_t i = 0; i < bs->partitions.size; i++) {
            const struct partition *pt = bs->partitions.slots[i];
            if (pt && !pt->internal && !pt->closing)
                place_look(cl, pt, place, &seen);
        }
    }
    return seen > 0;
}

/* -1: there is no such byte. */
static int byte_at(const struct cluster *cl, const char *path, uint32_t at)
{
    struct fs *fs = machine_fs(cl->nodes[cl->rot.victim].machine);
    uint8_t byte;
    int file = fs_open(fs, path, FS_READ);
    if (file < 0)
        return -1;
    int64_t got = fs_read(fs, file, &byte, 1, at);
    fs_close(fs, file);
    return got == 1 ? byte : -1;
}

static void remember(struct cluster *cl, const struct segment *segment, const char *path,
                     uint32_t at, uint8_t was)
{
    struct cluster_rot *rot = &cl->rot;
    const struct log *log = &segment->lg->log;
    for (uint32_t i = 0; i < rot->count; i++)
        if (rot->flips[i].at == at && strcmp(rot->flips[i].path, path) == 0)
            return; /* once more */
    struct cluster_flip *flip = &rot->flips[rot->count++];
    *flip = (struct cluster_flip){.at = at, .was = was, .segment_base = segment->base};
    memcpy(flip->key.topic_id.bytes, log->id.topic_id, sizeof(log->id.topic_id));
    flip->key.partition = log->id.partition;
    (void)snprintf(flip->path, sizeof(flip->path), "%s", path);
}

/* Some bytes of one place, near each other or all over the segment. */
static void flip_some(struct cluster *cl, const struct rot_place *place, const char *path)
{
    uint32_t at = place->at;
    const uint32_t size = place->segment->size;
    const uint32_t step = 1U << rng_below(&cl->rng, 12);
    for (uint64_t n = rng_between(&cl->rng, 1, FLIPS_MAX); n > 0; n--) {
        const uint8_t mask = (uint8_t)(1U << rng_below(&cl->rng, 8));
        const int was = byte_at(cl, path, at);
        if (was < 0 || cl->rot.count == CLUSTER_FLIPS_MAX)
            return;
        remember(cl, place->segment, path, at, (uint8_t)was);
        must(machine_disk_damage(cl->nodes[cl->rot.victim].machine, path, at, mask));
        world_note(cl->world, "bits %02x of byte %u of %s of broker %d flip", mask, at, path,
                   cl->nodes[cl->rot.victim].id);
        at = (at + step) % size;
    }
}

void cluster_rot(struct cluster *cl)
{
    struct node *node = &cl->nodes[cl->rot.victim];
    struct rot_place place = {0};
    char path[400];
    if (!cluster_is_up(cl, cl->rot.victim) || !place_find(cl, node, &place))
        return;
    const struct log *log = &place.segment->lg->log;
    (void)snprintf(path, sizeof(path), "%s/%s-%d/%020lld.log", place.segment->lg->ls->dir->path,
                   log->topic, (int)log->id.partition, (long long)place.segment->base);
    flip_some(cl, &place, path);
    if (rng_one_in(&cl->rng, 4))
        machine_crash_in_call(node->machine, rng_one_in(&cl->rng, 4) ? CRASH_KILL : CRASH_POWER,
                              (uint32_t)rng_between(&cl->rng, 1, 4));
    cluster_pass(cl, rng_below(&cl->rng, 400 * MS), 0);
    machine_crash_in_call(node->machine, CRASH_KILL, 0);
}

/* NULL: that broker has none. */
static const struct log *log_of(const struct cluster *cl, const struct cluster_flip *flip)
{
    const struct node *node = &cl->nodes[cl->rot.victim];
    const struct partition *pt =
        cluster_is_up(cl, cl->rot.victim) ? cluster_partition_on(node, &flip->key) : NULL;
    return pt ? pt->log : NULL;
}

/* Below the log's start nobody has it any more, and in the segment that holds the start only what
 * is read matters. */
static const struct cluster_flip *not_mended(const struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->rot.count; i++) {
        const struct cluster_flip *flip = &cl->rot.flips[i];
        const struct log *log = log_of(cl, flip);
        const int byte = byte_at(cl, flip->path, flip->at);
        if (log && log->start_offset <= flip->segment_base && byte >= 0 && byte != flip->was)
            return flip;
    }
    return NULL;
}

static bool is_told_of(const struct log *log)
{
    const struct segment *segment;
    TAILQ_FOREACH (segment, &log_body_of_const(log)->segments, link)
        if (segment->damage && segment->base >= log->start_offset)
            return true;
    return false;
}

/* Nor is anything believed to be damaged. */
static bool is_told_damaged(const struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->count; i++) {
        const struct node *node = &cl->nodes[i];
        for (uint16_t s = 0; cluster_is_up(cl, i) && s < node->shards; s++) {
            const struct partition_table *table =
                &broker_shard_of(process_shard(node->process, s))->partitions;
            for (uint32_t k = 0; k < table->size; k++)
                if (table->slots[k] && is_told_of(table->slots[k]->log))
                    return true;
        }
    }
    return false;
}

bool cluster_rot_is_mended(const struct cluster *cl)
{
    return !not_mended(cl) && !is_told_damaged(cl);
}

void cluster_rot_wrong(struct cluster *cl)
{
    const struct cluster_flip *flip = not_mended(cl);
    if (flip)
        cluster_wrong(&cl->facts, "byte %u of %.200s of broker %d has rotten and is not mended",
                      flip->at, flip->path, cl->nodes[cl->rot.victim].id);
    else if (is_told_damaged(cl))
        cluster_wrong(&cl->facts, "a broker takes a log for damaged that is not");
}
