/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration: one table of keys (conf.def, conf_ignored.def), the structs that follow from it,
 * and the loading of a broker's settings at start.
 *
 * A value comes from the first that has one: --flags, --override, the file, the default. Every
 * source is checked by the same table, every mistake is reported at once, and each key remembers
 * where its value came from. How the parts divide:
 *
 *   conf_table.c    the table: names, types, what is valid, the nearest name
 *   conf.c          loading, the report, what keys say about each other
 *   overrides.h     what a topic (or a running broker) sets for itself, and DescribeConfigs
 *
 * A new key is one row in conf.def.
 */
#pragma once

#include "io/base.h"
#include "net/listener.h"

/* Which kind of resource a key belongs to. The same name may be in both. */
enum conf_scope {
    CONF_BROKER,
    CONF_TOPIC,
};

enum conf_class {
    CONF_HONOURED,
    CONF_MAPPED,    /* an older name for another key */
    CONF_PLANNED,   /* checked and kept, but nothing obeys it yet */
    CONF_NO_EFFECT, /* one of Kafka's that means nothing here */
    CONF_REFUSED,   /* a value other than the default stops the start */
    CONF_UNKNOWN,   /* in no table */
};

enum conf_dynamic {
    CONF_READ_ONLY,    /* changes with a restart */
    CONF_PER_BROKER,   /* changes at run time, for one broker */
    CONF_CLUSTER_WIDE, /* changes at run time, for one broker or for all */
};

/* The values are those of DescribeConfigs' config_source. */
enum conf_source {
    CONF_DYNAMIC_TOPIC = 1,
    CONF_DYNAMIC_BROKER = 2,
    CONF_DYNAMIC_DEFAULT_BROKER = 3,
    CONF_STATIC_BROKER = 4,
    CONF_DEFAULT = 5,
};

/* What a value looks like, and the C type of its field. */
enum conf_kind {
    CONF_BOOLEAN,  /* bool */
    CONF_SHORT,    /* int16_t */
    CONF_INT,      /* int32_t */
    CONF_LONG,     /* int64_t */
    CONF_DOUBLE,   /* double */
    CONF_STRING,   /* const char *, NULL when there is no value */
    CONF_LIST,     /* const char *, items joined by ',' without blanks */
    CONF_CLASS,    /* a Java class name */
    CONF_PASSWORD, /* never shown */
    CONF_CHOICE,   /* a string of a fixed list: uint8_t, its place in the list */
    CONF_CHOICES,  /* a list of items of a fixed list: uint8_t, a bit for each */
    CONF_SIZE,     /* a string such as 512M: int64_t, bytes; auto is 0 */
};

enum {
    CONF_VALUE_LEN_MAX = 32767, /* of a Kafka string */
};

/* The order of compression.type's choices: a codec's (core/record/codec.h) is one more than its
 * number. */
enum {
    CONF_COMPRESSION_PRODUCER,
    CONF_COMPRESSION_NONE,
    CONF_COMPRESSION_GZIP,
    CONF_COMPRESSION_SNAPPY,
    CONF_COMPRESSION_LZ4,
    CONF_COMPRESSION_ZSTD,
};

/* The order of message.timestamp.type's choices, and the bits of cleanup.policy's. */
enum conf_timestamp_type {
    CONF_TIMESTAMP_CREATE_TIME,
    CONF_TIMESTAMP_LOG_APPEND_TIME,
};
/* Likewise of millrace.durability's (and of enum log_durability). */
enum conf_durability {
    CONF_DURABILITY_DURABLE,
    CONF_DURABILITY_OS,
    CONF_DURABILITY_NEVER,
};
/* Of millrace.log.level (and of enum diag_level), and of millrace.log.format. */
enum conf_log_level {
    CONF_LOG_LEVEL_ERROR,
    CONF_LOG_LEVEL_WARN,
    CONF_LOG_LEVEL_INFO,
};
enum conf_log_format {
    CONF_LOG_FORMAT_LOGFMT,
    CONF_LOG_FORMAT_JSON,
};
/* The bits of group.coordinator.rebalance.protocols. */
enum {
    CONF_PROTOCOL_CLASSIC = 1 << 0,
    CONF_PROTOCOL_CONSUMER = 1 << 1,
};
/* The order of group.consumer.migration.policy's choices. */
enum conf_migration {
    CONF_MIGRATION_BIDIRECTIONAL,
    CONF_MIGRATION_UPGRADE,
    CONF_MIGRATION_DOWNGRADE,
    CONF_MIGRATION_DISABLED,
};
enum {
    CONF_CLEANUP_COMPACT = 1 << 0,
    CONF_CLEANUP_DELETE = 1 << 1,
};

/* Of replica.selector.class: Kafka's own classes, by name. */
#define CONF_LEADER_SELECTOR     "org.apache.kafka.common.replica.LeaderSelector"
#define CONF_RACK_AWARE_SELECTOR "org.apache.kafka.common.replica.RackAwareReplicaSelector"
#define CONF_RACK_LEN_MAX        255U /* bytes of broker.rack */

/* The C types of the kinds that may have a field. */
#define CONF_C_BOOLEAN bool
#define CONF_C_SHORT   int16_t
#define CONF_C_INT     int32_t
#define CONF_C_LONG    int64_t
#define CONF_C_DOUBLE  double
#define CONF_C_STRING  const char *
#define CONF_C_LIST    const char *
#define CONF_C_CHOICE  uint8_t
#define CONF_C_CHOICES uint8_t
#define CONF_C_SIZE    int64_t

/* The broker's own settings. Text belongs to the struct conf that it is part of. */
struct broker_conf {
#define BROKER_FIELD(class, kind, field, name, fallback, valid, dynamic, twins, doc)               \
    CONF_C_##kind field;
#define BROKER_KEY(class, kind, name, fallback, valid, dynamic, twins, doc)
#define TOPIC_FIELD(class, kind, field, name, fallback, valid, twins, doc)
#define TOPIC_KEY(class, kind, name, fallback, valid, twins, doc)
#include "core/conf/conf.def"
#undef TOPIC_FIELD
#undef BROKER_FIELD
};

/* What a topic goes by: its overrides, and the broker's defaults for the rest. No pointers. */
struct topic_conf {
#define BROKER_FIELD(class, kind, field, name, fallback, valid, dynamic, twins, doc)
#define TOPIC_FIELD(class, kind, field, name, fallback, valid, twins, doc) CONF_C_##kind field;
#include "core/conf/conf.def"
#undef TOPIC_KEY
#undef TOPIC_FIELD
#undef BROKER_KEY
#undef BROKER_FIELD
};

/* Which values a key takes. */
struct conf_valid {
    int64_t min; /* numbers: min..max when has_range */
    int64_t max;
    bool has_range;
    const char *choices; /* "a,b": one of these (lists: some of these) */
    const char *refused; /* further values of Kafka's that are known and refused ... */
    const char *reason;  /* ... because of this */
    bool (*check)(const char *value);
    const char *expects; /* what check wants, in words */
};

struct conf_key {
    const char *name;
    const char *fallback; /* the default's text, or NULL */
    const char *twins;    /* broker keys that speak when this one is silent */
    const char *doc;      /* a sentence; for CONF_NO_EFFECT the reason */
    struct conf_valid valid;
    uint8_t name_len;
    uint8_t scope;
    uint8_t class;
    uint8_t kind;
    uint8_t dynamic;
    bool has_field;
    uint16_t field; /* offset in struct broker_conf or struct topic_conf */
};

/* A sentence for people, and Kafka's error for the client that caused it: INVALID_CONFIG (40) or
 * INVALID_REQUEST (42). */
struct conf_error {
    int16_t code;
    char text[640];
};

/* ---- the table (conf_table.c) ---- */

/* Every key, in the order of the help. */
extern const struct conf_key conf_keys[];
extern const uint16_t conf_key_count;
/* Above conf_key_count, for arrays. */
enum {
    CONF_KEY_COUNT_MAX = 512,
};

/* How many keys there are of a scope. */
uint16_t conf_scope_count(enum conf_scope scope);

/* NULL if there is no such key. */
const struct conf_key *conf_find(enum conf_scope scope, const char *name);
static inline uint16_t conf_index(const struct conf_key *key)
{
    return (uint16_t)(key - conf_keys);
}

/* The key whose name a typing mistake could have turned into `name`, or NULL. */
const struct conf_key *conf_nearest(enum conf_scope scope, const char *name);

/* Checks a value and writes its canonical text ("TRUE" is true, " 7 " is 7), at most
 * CONF_VALUE_LEN_MAX bytes and NUL, to *text, which the caller gives to mem_free(). */
bool conf_check(const struct conf_key *key, const char *value, char **text,
                struct conf_error *error) warn_unused;

/* The items of a canonical list ("a,b,c"), sorted for conf_items_hold(); they point into it. The
 * caller gives the array to mem_free(). */
struct conf_item {
    const char *text;
    size_t len;
};
struct conf_item *conf_items(const char *list, size_t *count);
bool conf_items_hold(const struct conf_item *items, size_t count, const char *text, size_t len);

/* Sets the key's field in *base (a struct broker_conf or topic_conf) from canonical text; NULL is
 * no value. Text fields borrow `text`. */
void conf_store(const struct conf_key *key, const char *text, void *base);

/* Kafka's number and name for the kind: DescribeConfigs' config_type. */
int8_t conf_type_of(const struct conf_key *key);
const char *conf_type_name(const struct conf_key *key);
/* "ms", "bytes", ..., or "" */
const char *conf_unit_of(const struct conf_key *key);
/* What its kind and its own limits allow, of an integer. */
void conf_range(const struct conf_key *key, int64_t *min, int64_t *max);
/* What the key takes, in words: "an integer from 1 to 10", "one of CreateTime, LogAppendTime". */
const char *conf_expects(const struct conf_key *key, char *buffer, size_t size);
const char *conf_class_name(enum conf_class class);

/* The number of CPUs that millrace.cores asks for, or the CPUs themselves. */
enum {
    CONF_CPU_MAX = 1024,
};
struct conf_cores {
    uint32_t count; /* 0: all; otherwise so many, of any, unless listed */
    bool listed;
    uint64_t cpus[CONF_CPU_MAX / 64];
};
bool conf_cores_parse(const char *text, struct conf_cores *cores) warn_unused;

/* Takes the next "address:count" off max.connections.per.ip.overrides; the port of *address is
 * meaningless. False at the end, or at a mistake: then *list is not at its end. */
bool conf_ip_limit_next(const char **list, struct address *address, int32_t *limit);

/* ---- a broker's settings (conf.c) ---- */

enum conf_origin {
    CONF_FROM_FILE,
    CONF_FROM_OVERRIDE,
    CONF_FROM_FLAG,
};

/* What one key was set to at start. */
struct conf_setting {
    char *text; /* canonical; NULL: not set */
    uint32_t line;
    uint8_t origin; /* enum conf_origin */
};

enum conf_level {
    CONF_DETAIL, /* a key that does what it says: for those who ask */
    CONF_INFO,
    CONF_WARN,
    CONF_ERROR, /* the broker must not start */
};

struct conf_line {
    uint8_t level;
    uint8_t class;   /* enum conf_class */
    const char *key; /* in the table, or NULL */
    char *text;      /* a sentence without line end */
};

/* Immutable once loaded. */
struct conf {
    struct broker_conf broker;
    struct topic_conf topic; /* of a topic without overrides */
    struct listener_set listeners;
    struct conf_setting set[CONF_KEY_COUNT_MAX];
    struct conf_line *line; /* the report */
    uint32_t line_count;
    uint32_t line_capacity;
    uint32_t error_count;
    uint32_t unknown_count;
};

/* A setting from the command line. */
struct conf_assignment {
    const char *name;
    const char *value;
};

struct conf_input {
    const char *file_name; /* NULL: no file */
    const char *file;      /* its content */
    size_t file_len;
    const struct conf_assignment *override; /* in order; the last of a key wins */
    uint32_t override_count;
    const struct conf_assignment *flag; /* --data-dir and the like, by the key they stand for */
    uint32_t flag_count;
    const char *hostname; /* advertised in place of a wildcard */
};

/* False if the broker must not start; the report says why, completely. Either way conf_fini. */
bool conf_load(struct conf *conf, const struct conf_input *input) warn_unused;
void conf_fini(struct conf *conf);
