/* SPDX-License-Identifier: Apache-2.0
 *
 * What a resource sets for itself, beside the broker's settings at start: a topic's overrides, and
 * the dynamic settings of a broker or of all brokers. Changed as IncrementalAlterConfigs (KIP-339)
 * and AlterConfigs do it, resolved into the structs that the code reads, and described as
 * DescribeConfigs (KIP-226) wants it.
 *
 * A handler copies the overrides, makes all its changes, resolves the copy (this checks the keys
 * against each other) and only then lets the copy take the place of the original.
 */
#pragma once

#include "core/conf/conf.h"

struct override {
    uint16_t key; /* index in conf_keys; never stored or sent: names are */
    char *value;  /* canonical text */
};

/* Sorted by key. A topic without overrides costs two words. */
struct overrides {
    struct override *item;
    uint16_t count;
    uint8_t scope; /* enum conf_scope: a topic's, or a broker's */
};

void overrides_init(struct overrides *overrides, enum conf_scope scope);
void overrides_fini(struct overrides *overrides);
void overrides_copy(struct overrides *to, const struct overrides *from);

/* The values are IncrementalAlterConfigs' config_operation. */
enum override_op {
    OVERRIDE_SET = 0,
    OVERRIDE_DELETE = 1,
    OVERRIDE_APPEND = 2,
    OVERRIDE_SUBTRACT = 3,
};

/* Whose settings are looked at. The pointers that do not apply are NULL. */
struct conf_view {
    const struct conf *conf;         /* what the broker was started with */
    const struct overrides *cluster; /* dynamic, for all brokers */
    const struct overrides *broker;  /* dynamic, for this broker */
    const struct overrides *topic;   /* makes this a view of the topic */
};

/* One change; name and value need no NUL. A value of NULL is refused unless op is DELETE. APPEND
 * and SUBTRACT begin with what holds now in `view` where the overrides are silent. On false nothing
 * has changed. */
bool overrides_alter(struct overrides *overrides, enum override_op op, const char *name,
                     size_t name_len, const char *value, size_t value_len,
                     const struct conf_view *view, struct conf_error *error) warn_unused;

/* What a topic goes by. False if its keys contradict each other. */
bool overrides_resolve_topic(const struct conf_view *view, struct topic_conf *topic,
                             struct conf_error *error) warn_unused;

/* ---- values and where they come from ---- */

struct conf_value {
    const char *text;           /* canonical, in this key's unit; NULL: no value */
    const struct conf_key *key; /* whose value it is: the key asked for, or a twin */
    uint8_t source;             /* enum conf_source */
    char buffer[24];            /* of a text that was converted */
};

/* What holds for the key. Do not copy the value: text may lie in its buffer. */
void conf_value_find(const struct conf_view *view, const struct conf_key *key,
                     struct conf_value *value);

enum {
    CONF_SYNONYM_COUNT_MAX = 16,
};

/* Everything that DescribeConfigs says of a key. */
struct conf_entry {
    const struct conf_key *key; /* name, doc, type: conf_type_of */
    struct conf_value value;    /* text is NULL also for a sensitive key */
    bool read_only;
    bool sensitive;
    struct {
        const char *name;
        const char *text; /* NULL for a sensitive key; in the unit of its own name */
        uint8_t source;
    } synonym[CONF_SYNONYM_COUNT_MAX]; /* by precedence, the value's own source first */
    uint32_t synonym_count;
};

void conf_describe(const struct conf_view *view, const struct conf_key *key,
                   struct conf_entry *entry);

/* Whether a key belongs in an answer that lists all: a topic's keys do, a broker's too, except
 * those that have no effect and were not set. Asked for by name, every key is described. */
bool conf_is_listed(const struct conf_view *view, const struct conf_key *key);
