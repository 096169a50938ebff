/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/consumer_embedded.h"

#include "core/group/group_record.h"

#define VERSION_MAX 3

static bool begin(struct rd *rd, struct piece *piece, struct bytes bytes, int16_t *version)
{
    rd_init(rd, span_of(piece, bytes.data, (uint32_t)max_i64(bytes.len, 0)));
    *version = rd_i16(rd);
    if (rd->bad || *version < 0)
        return false;
    if (*version > VERSION_MAX)
        *version = VERSION_MAX;
    return true;
}

bool consumer_embedded_subscription(struct bytes bytes, struct arena *arena,
                                    struct consumer_protocol_subscription *out)
{
    struct rd rd;
    struct piece piece;
    int16_t version;
    return begin(&rd, &piece, bytes, &version) &&
           read_consumer_protocol_subscription(&rd, arena, version, out);
}

bool consumer_embedded_assignment(struct bytes bytes, struct arena *arena,
                                  struct consumer_protocol_assignment *out)
{
    struct rd rd;
    struct piece piece;
    int16_t version;
    return begin(&rd, &piece, bytes, &version) &&
           read_consumer_protocol_assignment(&rd, arena, version, out);
}

/* ---- sets ---- */

static struct tp_set set_new(size_t room)
{
    return (struct tp_set){.parts = mem_alloc((room + 1) * sizeof(struct tp))};
}

static void set_add(struct consumer_host *host, struct tp_set *set, struct str topic,
                    const int32_t *numbers, int32_t count)
{
    struct uuid id;
    uint32_t partitions;
    if (!host->topic(host, topic, &id, &partitions))
        return;
    for (int32_t i = 0; i < count; i++)
        if (numbers[i] >= 0 && (uint32_t)numbers[i] < partitions)
            set->parts[set->count++] = (struct tp){.topic = id, .partition = numbers[i]};
}

static struct tp_set set_end(struct tp_set set)
{
    uint32_t kept = 0;
    if (tp_sort(set.parts, set.count))
        return set;
    for (uint32_t i = 0; i < set.count; i++)
        if (kept == 0 || tp_compare(&set.parts[kept - 1], &set.parts[i]) != 0)
            set.parts[kept++] = set.parts[i];
    set.count = kept;
    return set;
}

struct tp_set consumer_embedded_owned(struct consumer_host *host,
                                      const struct consumer_protocol_subscription *subscription)
{
    size_t room = 0;
    for (int32_t i = 0; i < subscription->owned_partitions_count; i++)
        room += (size_t)max_i64(subscription->owned_partitions[i].partitions_count, 0);
    struct tp_set set = set_new(room);
    for (int32_t i = 0; i < subscription->owned_partitions_count; i++) {
        const struct consumer_protocol_subscription_owned_partition *of =
            &subscription->owned_partitions[i];
        set_add(host, &set, of->topic, of->partitions, of->partitions_count);
    }
    return set_end(set);
}

struct tp_set consumer_embedded_assigned(struct consumer_host *host,
                                         const struct consumer_protocol_assignment *assignment)
{
    size_t room = 0;
    for (int32_t i = 0; i < assignment->assigned_partitions_count; i++)
        room += (size_t)max_i64(assignment->assigned_partitions[i].partitions_count, 0);
    struct tp_set set = set_new(room);
    for (int32_t i = 0; i < assignment->assigned_partitions_count; i++) {
        const struct consumer_protocol_assignment_assigned_partition *of =
            &assignment->assigned_partitions[i];
        set_add(host, &set, of->topic, of->partitions, of->partitions_count);
    }
    return set_end(set);
}

/* ---- writing ---- */

static bool fill(struct consumer_host *host, const struct tp_set *set, struct arena *arena,
                 struct consumer_protocol_assignment *out)
{
    uint32_t run;
    size_t topics = 0;
    for (uint32_t at = 0; (run = tp_set_run(set, at)) > 0; at += run)
        topics++;
    init_consumer_protocol_assignment(out);
    out->assigned_partitions = arena_array(arena, topics, sizeof(*out->assigned_partitions));
    if (!out->assigned_partitions)
        return false;
    for (uint32_t at = 0; (run = tp_set_run(set, at)) > 0; at += run) {
        const struct str name = host->topic_name(host, &set->parts[at].topic);
        if (name.len < 0)
            continue; /* deleted meanwhile */
        struct consumer_protocol_assignment_assigned_partition *to =
            &out->assigned_partitions[out->assigned_partitions_count++];
        init_consumer_protocol_assignment_assigned_partition(to);
        to->topic = name;
        to->partitions = arena_array(arena, run, sizeof(*to->partitions));
        if (!to->partitions)
            return false;
        for (uint32_t i = 0; i < run; i++)
            to->partitions[to->partitions_count++] = set->parts[at + i].partition;
    }
    return true;
}

bool consumer_embedded_write(struct consumer_host *host, const struct tp_set *set,
                             struct bytes metadata, struct arena *arena, struct bytes *out)
{
    struct consumer_protocol_assignment assignment;
    struct rd rd;
    struct piece piece;
    struct wr w;
    int16_t version;
    if (!begin(&rd, &piece, metadata, &version))
        version = 0;
    if (!fill(host, set, arena, &assignment))
        return false;
    wr_init(&w, arena);
    wr_i16(&w, version);
    write_consumer_protocol_assignment(&w, version, &assignment);
    return group_record_piece(&w, arena, out);
}
