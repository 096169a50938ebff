/* SPDX-License-Identifier: Apache-2.0
 *
 * What the OpenMessaging benchmark calls a workload and a driver: two flat YAML files, whose keys
 * are taken here with their meaning there. A key that is none is refused with the nearest one, as a
 * load that somebody mistyped would be measured as another one.
 */
#pragma once

#include "tools/millrace/bench/bench_yaml.h"

/* Numbers are the file's; what is not in it has the benchmark's default. */
struct workload {
    const char *name;
    int64_t topics, partitions;                  /* of each topic */
    int64_t producers, subscriptions, consumers; /* of each topic; the last of a subscription */
    int64_t message_bytes;
    int64_t rate;        /* records per second of all; 0: search */
    int64_t keys;        /* enum workload_keys */
    int64_t backlog_gib; /* 0: none */
    double drain_ratio;  /* of it that has to be read */
    int64_t test_minutes, warm_minutes;
    int64_t randomized; /* values are random at their begin */
    double random_ratio;
    int64_t pool;             /* so many values */
    const char *payload_file; /* the only value; NULL: none */
};

enum workload_keys { WORKLOAD_NO_KEY, WORKLOAD_ROUND_ROBIN, WORKLOAD_RANDOM };
#define WORKLOAD_KEYS 10000 /* so many different ones */

struct driver {
    const char *name, *driver_class;
    int64_t replication; /* -1: the broker's */
    int64_t reset;
    const char *topic, *common, *producer, *consumer; /* Java properties; NULL: none */
};

/* From a map, whose strings they borrow. False: *error says what is wrong. */
bool workload_read(struct workload *workload, const struct yaml_map *map,
                   struct yaml_error *error) warn_unused;
bool driver_read(struct driver *driver, const struct yaml_map *map,
                 struct yaml_error *error) warn_unused;

/* What a property of a Kafka client does here. */
enum property_effect {
    PROPERTY_WORKS, /* it is a setting (settings.h) */
    PROPERTY_IDLE,  /* Kafka's clients have it; here it has no effect */
    PROPERTY_UNKNOWN,
};
/* nearest: one that it could be a mistyped form of, or NULL. */
enum property_effect property_effect(const char *key, const char **nearest);
