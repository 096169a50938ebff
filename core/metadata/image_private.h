/* SPDX-License-Identifier: Apache-2.0
 *
 * What core/metadata/image.c and core/metadata/image_edit.c know of an image and nobody else: its
 * tables, and how topics are shared.
 */
#pragma once

#include "core/metadata/image.h"
#include "core/metadata/quota_table.h"
#include "io/arena.h"

#define IMAGE_ARENA_BYTES_MAX (64U << 20) /* brokers and features: far above any real cluster */

/* Dynamic settings of one broker; broker_id -1: of all. */
struct image_settings {
    int32_t broker_id;
    struct overrides overrides;
};

/* Two tables over the same topics, open addressing, at most half full. The name's hash does not
 * tell '.' from '_': names that differ only there may not exist side by side (Kafka's metric
 * names would collide), and so one probe finds the collision. */
struct image_tables {
    const struct conf *conf; /* what the broker was started with */
    int32_t node_id;
    uint16_t shard_count;
    uint64_t seed; /* of the hashes: nobody outside can make names collide */
    bool mutate_shared;
    uint32_t mask;
    struct topic_image **by_name;
    struct topic_image **by_id;
    struct topic_image **topics;     /* image->topics */
    struct arena arena;              /* brokers, endpoints, features, the cluster id */
    struct image_settings *settings; /* sorted by broker id, the first two are -1 and node_id */
    uint32_t settings_count;
    struct broker_conf broker_conf;
    struct topic_conf topic_conf; /* of a topic without overrides */
    uint32_t *load;               /* [shard_count]: partitions at home there */
    struct quota_table *quotas;   /* image->quotas */
};

/* The topic whose name collides with (or is) `name`. */
struct topic_image *image_collision(const struct image *image, const char *name, size_t len);

void image_table_insert(struct image_tables *tables, struct topic_image *topic);
void topic_image_free(struct topic_image *topic);
