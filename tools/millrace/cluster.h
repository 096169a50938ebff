/* SPDX-License-Identifier: Apache-2.0
 *
 * What commands ask a cluster about its topics: where they are, what they are called, how long
 * their partitions are.
 */
#pragma once

#include "tools/millrace/output.h"
#include "tools/millrace/session.h"

/* Metadata of the named topics, of all topics when names is NULL. The response's memory is
 * s->arena's. */
int cluster_metadata(struct session *s, const char *const *names, uint32_t count, bool create,
                     struct metadata_response *metadata);
/* The broker, connected, or NULL, said. */
struct broker_link *cluster_broker(struct session *s, const struct metadata_response *metadata,
                                   int32_t node_id);
/* Where changes of topics go: the controller, or, when none is known, the bootstrap broker. */
struct broker_link *cluster_controller(struct session *s);
/* Asks it; the answer's memory is the arena's. */
int cluster_ask_controller(struct session *s, int16_t key, const void *request, void *response,
                           struct arena *arena);

/* As the protocol numbers them. */
enum config_of { CONFIG_OF_TOPIC = 2, CONFIG_OF_BROKER = 4 };
enum config_operation { CONFIG_SET = 0, CONFIG_DELETE = 1 };
/* Adds an object for each setting to `rows`; link: whom to ask, NULL: any broker. */
int cluster_configs(struct session *s, struct broker_link *link, enum config_of of, struct str name,
                    json_t *rows);

/* Says that there is no such topic and which one could be meant. */
int topic_not_found(struct session *s, const char *name);
/* Says Kafka's error for a thing ("topic 'x'"); the exit code that it means. text: the broker's
 * sentence, may be null. */
int broker_error(const struct session *s, const char *thing, int16_t error, struct str text);
int partition_error(const struct session *s, struct str topic, int32_t partition, int16_t error);
int exit_code_of(int16_t error);

/* An offset to be looked up by ListOffsets; errors stand in `error`. */
struct offset_query {
    struct str topic;
    int32_t partition;
    int32_t leader; /* -1: none, error is set */
    int64_t timestamp;
    int64_t offset; /* the answer; -1: nothing that late */
    int16_t error;
};
#define TIMESTAMP_LATEST   (-1)
#define TIMESTAMP_EARLIEST (-2)

/* One request per leader and at most one query per partition. What will pass by itself is asked
 * again for so long: whoever shows how things are shows that, too. */
#define OFFSETS_LOOK_MS 2000U
int cluster_list_offsets(struct session *s, const struct metadata_response *metadata,
                         struct offset_query *queries, uint32_t count, uint64_t patience_ms);

/* How many items went well; then the exit code of all. */
struct tally {
    uint32_t good, bad;
    int code; /* of the last that failed */
};
void tally_add(struct tally *tally, int code);
int tally_code(const struct tally *tally);

char *text_of(struct session *s, struct str str); /* "" for null */
int text_order(struct str a, struct str b);       /* as strcmp() */
json_t *json_of(struct str str);        /* null for null; bytes that are no UTF-8 are replaced */
json_t *json_of_offset(int64_t offset); /* null below 0 */
json_t *json_of_i32s(const int32_t *values, int32_t count);
