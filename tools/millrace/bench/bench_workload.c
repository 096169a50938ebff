/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_workload.h"

#include "io/nearest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { NUMBER, RATIO, FLAG, TEXT, WORD };

struct field {
    const char *key;
    enum kind kind;
    bool wanted; /* there is no default */
    int64_t min, max;
    const char *words; /* WORD: "A|B", the value is the place */
    size_t at;
};

#define MILLION 1000000

static const struct field workload_fields[] = {
    {"name", TEXT, .at = offsetof(struct workload, name)},
    {"topics", NUMBER, true, 1, 10 * MILLION, .at = offsetof(struct workload, topics)},
    {"partitionsPerTopic", NUMBER, true, 1, MILLION, .at = offsetof(struct workload, partitions)},
    {"keyDistributor", WORD, .words = "NO_KEY|KEY_ROUND_ROBIN|RANDOM_NANO",
     .at = offsetof(struct workload, keys)},
    {"messageSize", NUMBER, true, 1, 256 << 20, .at = offsetof(struct workload, message_bytes)},
    {"useRandomizedPayloads", FLAG, .at = offsetof(struct workload, randomized)},
    {"randomBytesRatio", RATIO, .at = offsetof(struct workload, random_ratio)},
    {"randomizedPayloadPoolSize", NUMBER, false, 0, 10 * MILLION,
     .at = offsetof(struct workload, pool)},
    {"payloadFile", TEXT, .at = offsetof(struct workload, payload_file)},
    {"subscriptionsPerTopic", NUMBER, false, 0, 10000,
     .at = offsetof(struct workload, subscriptions)},
    {"consumerPerSubscription", NUMBER, false, 0, 10000,
     .at = offsetof(struct workload, consumers)},
    {"producersPerTopic", NUMBER, true, 1, 10000, .at = offsetof(struct workload, producers)},
    {"producerRate", NUMBER, false, 0, 1000 * MILLION, .at = offsetof(struct workload, rate)},
    {"consumerBacklogSizeGB", NUMBER, false, 0, MILLION,
     .at = offsetof(struct workload, backlog_gib)},
    {"backlogDrainRatio", RATIO, .at = offsetof(struct workload, drain_ratio)},
    {"testDurationMinutes", NUMBER, false, 0, MILLION,
     .at = offsetof(struct workload, test_minutes)},
    {"warmupDurationMinutes", NUMBER, false, 0, MILLION,
     .at = offsetof(struct workload, warm_minutes)},
};

static const struct field driver_fields[] = {
    {"name", TEXT, .at = offsetof(struct driver, name)},
    {"driverClass", TEXT, .at = offsetof(struct driver, driver_class)},
    {"replicationFactor", NUMBER, false, 1, INT16_MAX, .at = offsetof(struct driver, replication)},
    {"reset", FLAG, .at = offsetof(struct driver, reset)},
    {"topicConfig", TEXT, .at = offsetof(struct driver, topic)},
    {"commonConfig", TEXT, .at = offsetof(struct driver, common)},
    {"producerConfig", TEXT, .at = offsetof(struct driver, producer)},
    {"consumerConfig", TEXT, .at = offsetof(struct driver, consumer)},
};

static bool refuse(struct yaml_error *error, uint32_t line, const char *format, ...)
    printf_like(3, 4);

static bool refuse(struct yaml_error *error, uint32_t line, const char *format, ...)
{
    va_list arguments;
    error->line = line;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return false;
}

/* ---- values ---- */

static bool take_number(void *to, const struct field *field, const struct yaml_entry *entry,
                        struct yaml_error *error)
{
    char *end;
    errno = 0;
    const int64_t number = strtoll(entry->value, &end, 10);
    if (errno || end == entry->value || *end || number < field->min || number > field->max)
        return refuse(error, entry->line, "%s: %.40s: a number from %lld to %lld is wanted",
                      field->key, entry->value, (long long)field->min, (long long)field->max);
    memcpy(to, &number, sizeof(number));
    return true;
}

static bool take_ratio(void *to, const struct field *field, const struct yaml_entry *entry,
                       struct yaml_error *error)
{
    char *end;
    const double ratio = strtod(entry->value, &end);
    if (end == entry->value || *end || !(ratio >= 0 && ratio <= 1))
        return refuse(error, entry->line, "%s: %.40s: a number from 0 to 1 is wanted", field->key,
                      entry->value);
    memcpy(to, &ratio, sizeof(ratio));
    return true;
}

/* The place of the value in "A|B". */
static bool take_word(void *to, const struct field *field, const char *words,
                      const struct yaml_entry *entry, struct yaml_error *error)
{
    int64_t place = 0;
    const size_t wanted = strlen(entry->value);
    for (const char *at = words; *at; place++) {
        const size_t len = strcspn(at, "|");
        if (len == wanted && memcmp(at, entry->value, len) == 0) {
            memcpy(to, &place, sizeof(place));
            return true;
        }
        at += len + (at[len] == '|');
    }
    return refuse(error, entry->line, "%s: %.40s: one of %s is wanted", field->key, entry->value,
                  words);
}

static bool take_value(char *to, const struct field *field, const struct yaml_entry *entry,
                       struct yaml_error *error)
{
    const char *text = entry->value;
    switch (field->kind) {
    case NUMBER:
        return take_number(to, field, entry, error);
    case RATIO:
        return take_ratio(to, field, entry, error);
    case FLAG:
        return take_word(to, field, "false|true", entry, error);
    case WORD:
        return take_word(to, field, field->words, entry, error);
    case TEXT:
        memcpy(to, &text, sizeof(text));
        break;
    }
    return true;
}

/* ---- keys ---- */

static bool refuse_key(const struct field *fields, size_t count, const struct yaml_entry *entry,
                       struct yaml_error *error)
{
    char name[NEAREST_NAME_LEN_MAX + 1];
    struct nearest nearest;
    (void)snprintf(name, sizeof(name), "%s", entry->key);
    nearest_begin(&nearest, name);
    for (size_t i = 0; i < count; i++)
        (void)nearest_offer(&nearest, fields[i].key);
    return refuse(error, entry->line, "%.60s: there is no such key%s%s%s", entry->key,
                  nearest.found ? "; did you mean '" : "", nearest.found ? nearest.found : "",
                  nearest.found ? "'?" : "");
}

static bool take_all(void *to, const struct field *fields, size_t count, const struct yaml_map *map,
                     struct yaml_error *error)
{
    bool there[YAML_ENTRIES_MAX] = {false};
    for (uint32_t i = 0; i < map->count; i++) {
        const struct yaml_entry *entry = &map->entries[i];
        size_t at = 0;
        while (at < count && strcmp(fields[at].key, entry->key) != 0)
            at++;
        if (at == count)
            return refuse_key(fields, count, entry, error);
        if (!entry->value)
            continue;
        there[at] = true;
        if (!take_value((char *)to + fields[at].at, &fields[at], entry, error))
            return false;
    }
    for (size_t at = 0; at < count; at++)
        if (fields[at].wanted && !there[at])
            return refuse(error, 0, "%s is missing", fields[at].key);
    return true;
}

bool workload_read(struct workload *workload, const struct yaml_map *map, struct yaml_error *error)
{
    struct workload *w = workload;
    *w = (struct workload){.drain_ratio = 1, .warm_minutes = 1};
    if (!take_all(w, workload_fields, array_count(workload_fields), map, error))
        return false;
    if (w->randomized && w->pool == 0)
        return refuse(error, 0, "useRandomizedPayloads needs randomizedPayloadPoolSize: how many?");
    if (w->randomized && w->pool * w->message_bytes > 256 << 20)
        return refuse(error, 0, "randomizedPayloadPoolSize times messageSize is above 256 MiB");
    if (w->subscriptions > 0 && w->consumers == 0)
        return refuse(error, 0, "subscriptionsPerTopic needs consumerPerSubscription: how many?");
    if (w->backlog_gib > 0 && w->subscriptions == 0)
        return refuse(error, 0, "consumerBacklogSizeGB needs subscriptions that read it");
    if (w->backlog_gib > 0 && w->rate == 0)
        return refuse(error, 0,
                      "consumerBacklogSizeGB needs a producerRate: no rate can be "
                      "searched for while nobody reads");
    return true;
}

bool driver_read(struct driver *driver, const struct yaml_map *map, struct yaml_error *error)
{
    *driver = (struct driver){.replication = -1};
    return take_all(driver, driver_fields, array_count(driver_fields), map, error);
}

/* ---- properties of Kafka's clients ---- */

static const char *const working[] = {
    "acks",
    "batch.size",
    "bootstrap.servers",
    "client.id",
    "compression.type",
    "enable.idempotence",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "linger.ms",
    "max.partition.fetch.bytes",
    "request.timeout.ms",
};

static const char *const idle[] = {
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "buffer.memory",
    "check.crcs",
    "client.dns.lookup",
    "client.rack",
    "connections.max.idle.ms",
    "default.api.timeout.ms",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "heartbeat.interval.ms",
    "isolation.level",
    "key.deserializer",
    "key.serializer",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.poll.interval.ms",
    "max.poll.records",
    "max.request.size",
    "metadata.max.age.ms",
    "metadata.max.idle.ms",
    "partition.assignment.strategy",
    "partitioner.class",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "send.buffer.bytes",
    "session.timeout.ms",
    "value.deserializer",
    "value.serializer",
};

static bool offer(struct nearest *nearest, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], nearest->wanted) == 0)
            return true;
        (void)nearest_offer(nearest, names[i]);
    }
    return false;
}

enum property_effect property_effect(const char *key, const char **nearest)
{
    struct nearest search;
    *nearest = NULL;
    nearest_begin(&search, key);
    if (offer(&search, working, array_count(working)))
        return PROPERTY_WORKS;
    if (offer(&search, idle, array_count(idle)))
        return PROPERTY_IDLE;
    *nearest = search.found;
    return PROPERTY_UNKNOWN;
}
