/* SPDX-License-Identifier: Apache-2.0 */
#include "core/internal_topic.h"

#include "core/controller/controller.h"
#include "io/mem.h"

#include <stdio.h>

#define SEGMENT_BYTES_MIN 1048576 /* of any topic */

/* ---- making one ---- */

struct creation {
    struct control_op op;
    struct control_item item;
    struct control_config configs[3];
    char segment_bytes[16];
    struct arena arena;
};

static void on_created(struct control_op *op)
{
    struct creation *creation = container_of(op, struct creation, op);
    arena_fini(&creation->arena);
    mem_free(creation);
}

/* As many as there can be now; who wants them all starts all brokers before the first group. */
static int16_t replication_factor(const struct broker_shard *bs)
{
    int16_t live = 0;
    for (uint32_t i = 0; i < bs->image->broker_count && live < INT16_MAX; i++)
        live += bs->image->brokers[i].live;
    return (int16_t)min_i64(bs->broker->conf->broker.offsets_topic_replication_factor,
                            max_i64(live, 1));
}

void internal_topic_create(struct broker_shard *bs, const char *name)
{
    const struct broker_conf *conf = &bs->broker->conf->broker;
    struct creation *creation = mem_zalloc(sizeof(*creation));
    arena_init(&creation->arena, 1U << 16);
    creation->configs[0] =
        (struct control_config){.name = str_of("cleanup.policy"), .value = str_of("compact")};
    /* Small, so that compaction finds closed segments soon. */
    (void)snprintf(creation->segment_bytes, sizeof(creation->segment_bytes), "%lld",
                   (long long)max_i64(conf->offsets_topic_segment_bytes, SEGMENT_BYTES_MIN));
    creation->configs[1] = (struct control_config){.name = str_of("segment.bytes"),
                                                   .value = str_of(creation->segment_bytes)};
    creation->configs[2] =
        (struct control_config){.name = str_of("compression.type"), .value = str_of("producer")};
    creation->item = (struct control_item){
        .name = str_of(name),
        .partition_count = conf->offsets_topic_num_partitions,
        .replication_factor = replication_factor(bs),
        .configs = creation->configs,
        .config_count = array_count(creation->configs),
    };
    creation->op = (struct control_op){.kind = CONTROL_CREATE_TOPICS,
                                       .arena = &creation->arena,
                                       .items = &creation->item,
                                       .item_count = 1,
                                       .from_auto_create = true,
                                       .done = on_created};
    controller_submit(bs, &creation->op);
}

/* ---- which partition ---- */

/* The next code point and its length in bytes; U+FFFD and one byte for what is no UTF-8. */
static uint32_t code_point(const uint8_t *at, size_t left, size_t *len)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    size_t more = at[0] < 0x80 ? 0 : at[0] < 0xc0 ? 4 : at[0] < 0xe0 ? 1 : at[0] < 0xf0 ? 2 : 3;
    *len = 1;
    if (more == 0)
        return at[0];
    if (more > 3 || at[0] >= 0xf8 || left <= more)
        return 0xfffd;
    uint32_t point = at[0] & (0x3fU >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0xfffd;
        point = point << 6 | (at[i] & 0x3fU);
    }
    if (point < least[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0xfffd;
    *len = more + 1;
    return point;
}

int32_t internal_topic_partition(struct str key, uint32_t partition_count)
{
    must(partition_count > 0);
    uint32_t hash = 0;
    size_t len = key.len > 0 ? (size_t)key.len : 0;
    for (size_t i = 0, step; i < len; i += step) {
        uint32_t point = code_point((const uint8_t *)key.data + i, len - i, &step);
        if (point >= 0x10000) {
            hash = hash * 31 + (0xd800 + ((point - 0x10000) >> 10));
            point = 0xdc00 + ((point - 0x10000) & 0x3ff);
        }
        hash = hash * 31 + point;
    }
    int32_t value = (int32_t)hash;
    uint32_t absolute = value == INT32_MIN ? 0 : (uint32_t)(value < 0 ? -value : value);
    return (int32_t)(absolute % partition_count);
}
