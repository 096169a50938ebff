/* SPDX-License-Identifier: Apache-2.0
 *
 * Each kind has one writer and one reader, side by side, so that their order of fields can be
 * compared by eye.
 */
#include "core/metadata/metadata_record.h"

#include "io/mem.h"

#include <stdio.h>
#include <string.h>

#define FLAG_MANDATORY 1U

static bool kind_is_known(uint16_t kind, int16_t by_level)
{
    switch (kind) {
#define X(name, number, text, mandatory, level)                                                    \
    case number:                                                                                   \
        return (level) <= by_level;
        METADATA_KINDS(X)
#undef X
    default:
        return false;
    }
}

int16_t metadata_kind_level(enum metadata_kind kind)
{
    switch (kind) {
#define X(name, number, text, mandatory, level)                                                    \
    case METADATA_##name:                                                                          \
        return level;
        METADATA_KINDS(X)
#undef X
    }
    return METADATA_LEVEL_OLDEST;
}

static bool kind_is_mandatory(enum metadata_kind kind)
{
    switch (kind) {
#define X(name, number, text, mandatory, level)                                                    \
    case METADATA_##name:                                                                          \
        return mandatory;
        METADATA_KINDS(X)
#undef X
    }
    return true;
}

const char *metadata_kind_name(uint16_t kind)
{
    switch (kind) {
#define X(name, number, text, mandatory, level)                                                    \
    case number:                                                                                   \
        return text;
        METADATA_KINDS(X)
#undef X
#define X(name, number, text)                                                                      \
    case number:                                                                                   \
        return text;
        METADATA_KINDS_RESERVED(X)
#undef X
    default:
        return "unknown";
    }
}

/* ---- pieces ---- */

/* Length + 1, so that 0 is null. */
static void put_str(struct bytes_out *out, struct str text)
{
    must(text.len < UINT16_MAX);
    put_u16(out, (uint16_t)(text.len + 1));
    if (text.len > 0)
        put_bytes(out, text.data, (size_t)text.len);
}

static struct str take_str(struct bytes_in *in)
{
    int32_t len = (int32_t)take_u16(in) - 1;
    if (len < 0)
        return str_null();
    const uint8_t *data = take_bytes(in, (size_t)len);
    if (data != NULL && memchr(data, 0, (size_t)len) != NULL)
        in->overrun = true; /* no text of ours: images keep texts with a zero at the end */
    if (data == NULL || in->overrun)
        return str_null();
    return (struct str){(const char *)data, len};
}

static void put_uuid(struct bytes_out *out, const struct uuid *uuid)
{
    put_bytes(out, uuid->bytes, sizeof(uuid->bytes));
}

static struct uuid take_uuid(struct bytes_in *in)
{
    struct uuid uuid;
    take_into(in, uuid.bytes, sizeof(uuid.bytes));
    return uuid;
}

static void put_ids(struct bytes_out *out, const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put_i32(out, ids[i]);
}

/* Room for `count` things that take at least `bytes_each` of what is left; NULL marks `in`. */
static void *take_room(struct bytes_in *in, struct arena *arena, uint64_t count, size_t bytes_each,
                       size_t size)
{
    void *room = NULL;
    if (count <= (uint64_t)(in->end - in->at) / bytes_each)
        room = arena_array(arena, (size_t)count, size);
    if (room == NULL)
        in->overrun = true;
    return room;
}

static const int32_t *take_ids(struct bytes_in *in, struct arena *arena, uint64_t count)
{
    int32_t *ids = take_room(in, arena, count, sizeof(*ids), sizeof(*ids));
    for (uint64_t i = 0; ids != NULL && i < count; i++)
        ids[i] = take_i32(in);
    return ids;
}

/* ---- the kinds ---- */

static void put_broker_up(struct bytes_out *out, const struct metadata_broker_up *up)
{
    put_i32(out, up->id);
    put_i64(out, up->epoch);
    put_uuid(out, &up->directory);
    put_u8(out, up->lossy);
    put_str(out, up->rack);
    put_str(out, up->version);
    put_u32(out, up->endpoint_count);
    for (uint32_t i = 0; i < up->endpoint_count; i++) {
        put_str(out, up->endpoints[i].listener);
        put_str(out, up->endpoints[i].host);
        put_u16(out, up->endpoints[i].port);
    }
}

static void take_broker_up(struct bytes_in *in, struct arena *arena, struct metadata_broker_up *up)
{
    up->id = take_i32(in);
    up->epoch = take_i64(in);
    up->directory = take_uuid(in);
    up->lossy = take_u8(in) != 0;
    up->rack = take_str(in);
    up->version = take_str(in);
    up->endpoint_count = take_u32(in);
    if (up->endpoint_count > METADATA_ENDPOINTS_MAX)
        in->overrun = true;
    struct metadata_endpoint *endpoints =
        in->overrun ? NULL : take_room(in, arena, up->endpoint_count, 6, sizeof(*endpoints));
    for (uint32_t i = 0; endpoints != NULL && i < up->endpoint_count; i++) {
        endpoints[i].listener = take_str(in);
        endpoints[i].host = take_str(in);
        endpoints[i].port = take_u16(in);
        if (endpoints[i].listener.len < 0 || endpoints[i].host.len < 0)
            in->overrun = true;
    }
    up->endpoints = endpoints;
    if (up->id < 0)
        in->overrun = true;
}

static void put_topic_create(struct bytes_out *out, const struct metadata_topic_create *create)
{
    put_uuid(out, &create->id);
    put_str(out, create->name);
}

static void take_topic_create(struct bytes_in *in, struct metadata_topic_create *create)
{
    create->id = take_uuid(in);
    create->name = take_str(in);
    if (create->name.len <= 0)
        in->overrun = true;
}

static void put_partitions(struct bytes_out *out, const struct metadata_partitions *partitions)
{
    put_uuid(out, &partitions->topic_id);
    put_i32(out, partitions->first);
    put_u32(out, partitions->count);
    put_u32(out, partitions->replica_count);
    put_ids(out, partitions->replicas, (size_t)partitions->count * partitions->replica_count);
}

static void take_partitions(struct bytes_in *in, struct arena *arena,
                            struct metadata_partitions *partitions)
{
    partitions->topic_id = take_uuid(in);
    partitions->first = take_i32(in);
    partitions->count = take_u32(in);
    partitions->replica_count = take_u32(in);
    if (partitions->first < 0 || partitions->count == 0 || partitions->count > INT32_MAX ||
        partitions->replica_count == 0 || partitions->replica_count > METADATA_REPLICAS_MAX)
        in->overrun = true;
    if (!in->overrun)
        partitions->replicas =
            take_ids(in, arena, (uint64_t)partitions->count * partitions->replica_count);
}

static bool is_moving(const struct metadata_partition_change *change)
{
    return change->adding != 0 || change->removing_count > 0;
}

static void put_partition_change(struct bytes_out *out,
                                 const struct metadata_partition_change *change)
{
    put_uuid(out, &change->topic_id);
    put_i32(out, change->partition);
    put_i32(out, change->leader);
    put_i32(out, change->leader_epoch);
    put_i32(out, change->partition_epoch);
    put_u32(out, change->replica_count);
    put_ids(out, change->replicas, change->replica_count);
    put_u32(out, change->isr_count);
    put_ids(out, change->isr, change->isr_count);
    if (is_moving(change)) {
        put_u32(out, change->removing_count);
        put_u64(out, change->adding);
    }
}

static const int32_t *take_set(struct bytes_in *in, struct arena *arena, uint32_t *count)
{
    *count = take_u32(in);
    if (*count > METADATA_REPLICAS_MAX)
        in->overrun = true;
    return in->overrun ? NULL : take_ids(in, arena, *count);
}

static void take_partition_change(struct bytes_in *in, struct arena *arena,
                                  struct metadata_partition_change *change)
{
    change->topic_id = take_uuid(in);
    change->partition = take_i32(in);
    change->leader = take_i32(in);
    change->leader_epoch = take_i32(in);
    change->partition_epoch = take_i32(in);
    change->replicas = take_set(in, arena, &change->replica_count);
    change->isr = take_set(in, arena, &change->isr_count);
    if (in->at < in->end) {
        change->removing_count = take_u32(in);
        change->adding = take_u64(in);
    }
    if (change->replica_count == 0 || change->removing_count >= change->replica_count) {
        in->overrun = true;
        return;
    }
    uint32_t stays = change->replica_count - change->removing_count;
    if (stays < 64 && change->adding >> stays != 0)
        in->overrun = true;
}

static void put_config(struct bytes_out *out, const struct metadata_config *config)
{
    put_u8(out, (uint8_t)config->resource);
    put_uuid(out, &config->topic_id);
    put_i32(out, config->broker_id);
    put_u32(out, config->setting_count);
    for (uint32_t i = 0; i < config->setting_count; i++) {
        put_str(out, config->settings[i].name);
        put_str(out, config->settings[i].value);
    }
}

static void take_config(struct bytes_in *in, struct arena *arena, struct metadata_config *config)
{
    uint8_t resource = take_u8(in);
    if (resource != METADATA_RESOURCE_TOPIC && resource != METADATA_RESOURCE_BROKER)
        in->overrun = true;
    config->resource =
        resource == METADATA_RESOURCE_TOPIC ? METADATA_RESOURCE_TOPIC : METADATA_RESOURCE_BROKER;
    config->topic_id = take_uuid(in);
    config->broker_id = take_i32(in);
    config->setting_count = take_u32(in);
    struct metadata_setting *settings =
        in->overrun ? NULL : take_room(in, arena, config->setting_count, 4, sizeof(*settings));
    for (uint32_t i = 0; settings != NULL && i < config->setting_count; i++) {
        settings[i].name = take_str(in);
        settings[i].value = take_str(in);
        if (settings[i].name.len <= 0 || settings[i].value.len < 0)
            in->overrun = true;
    }
    config->settings = settings;
}

static void put_producer_ids(struct bytes_out *out, const struct metadata_producer_ids *ids)
{
    put_i32(out, ids->broker_id);
    put_i64(out, ids->broker_epoch);
    put_i64(out, ids->first);
    put_i32(out, ids->count);
}

static void take_producer_ids(struct bytes_in *in, struct metadata_producer_ids *ids)
{
    ids->broker_id = take_i32(in);
    ids->broker_epoch = take_i64(in);
    ids->first = take_i64(in);
    ids->count = take_i32(in);
    if (ids->first < 0 || ids->count < 0 || ids->first > INT64_MAX - ids->count)
        in->overrun = true;
}

static void put_quota(struct bytes_out *out, const struct metadata_quota *quota)
{
    for (unsigned of = 0; of < QUOTA_PARTS; of++) {
        const struct quota_part *part = &quota->entity.part[of];
        put_u8(out, (uint8_t)part->match);
        put_str(out, part->match == QUOTA_NAMED ? part->name : str_null());
    }
    put_u32(out, quota->limit_count);
    for (uint32_t i = 0; i < quota->limit_count; i++) {
        uint64_t bits;
        memcpy(&bits, &quota->limits[i].value, sizeof(bits));
        put_str(out, quota->limits[i].key);
        put_u64(out, bits);
    }
}

static void take_quota(struct bytes_in *in, struct arena *arena, struct metadata_quota *quota)
{
    for (unsigned of = 0; of < QUOTA_PARTS; of++) {
        struct quota_part *part = &quota->entity.part[of];
        uint8_t match = take_u8(in);
        part->match = match <= QUOTA_NAMED ? (enum quota_match)match : QUOTA_ABSENT;
        part->name = take_str(in);
        if (match > QUOTA_NAMED || (part->name.len > 0) != (match == QUOTA_NAMED))
            in->overrun = true;
    }
    quota->limit_count = take_u32(in);
    struct metadata_limit *limits =
        in->overrun ? NULL : take_room(in, arena, quota->limit_count, 10, sizeof(*limits));
    for (uint32_t i = 0; limits != NULL && i < quota->limit_count; i++) {
        limits[i].key = take_str(in);
        uint64_t bits = take_u64(in);
        memcpy(&limits[i].value, &bits, sizeof(bits));
        if (limits[i].key.len <= 0 || !(limits[i].value > 0))
            in->overrun = true;
    }
    quota->limits = limits;
}

static void put_body(struct bytes_out *out, const struct metadata_record *record)
{
    switch (record->kind) {
    case METADATA_NOOP:
        put_i32(out, record->noop.controller_id);
        put_i32(out, record->noop.controller_epoch);
        return;
    case METADATA_BROKER_UP:
        put_broker_up(out, &record->broker_up);
        return;
    case METADATA_TOPIC_CREATE:
        put_topic_create(out, &record->topic_create);
        return;
    case METADATA_BROKER_DOWN:
        put_i32(out, record->broker_down.id);
        put_i64(out, record->broker_down.epoch);
        return;
    case METADATA_BROKER_DRAINING:
        put_i32(out, record->broker_draining.id);
        put_i64(out, record->broker_draining.epoch);
        return;
    case METADATA_TOPIC_DELETE:
        put_uuid(out, &record->topic_delete.id);
        return;
    case METADATA_PARTITIONS:
        put_partitions(out, &record->partitions);
        return;
    case METADATA_PARTITION_CHANGE:
        put_partition_change(out, &record->partition_change);
        return;
    case METADATA_CONFIG:
        put_config(out, &record->config);
        return;
    case METADATA_PRODUCER_IDS:
        put_producer_ids(out, &record->producer_ids);
        return;
    case METADATA_FEATURE:
        put_str(out, record->feature.name);
        put_i16(out, record->feature.level);
        return;
    case METADATA_CLIENT_QUOTA:
        put_quota(out, &record->quota);
        return;
    }
}

static void take_body(struct bytes_in *in, struct arena *arena, struct metadata_record *record)
{
    switch (record->kind) {
    case METADATA_NOOP:
        record->noop.controller_id = take_i32(in);
        record->noop.controller_epoch = take_i32(in);
        return;
    case METADATA_BROKER_UP:
        take_broker_up(in, arena, &record->broker_up);
        return;
    case METADATA_TOPIC_CREATE:
        take_topic_create(in, &record->topic_create);
        return;
    case METADATA_BROKER_DOWN:
        record->broker_down.id = take_i32(in);
        record->broker_down.epoch = take_i64(in);
        return;
    case METADATA_BROKER_DRAINING:
        record->broker_draining.id = take_i32(in);
        record->broker_draining.epoch = take_i64(in);
        return;
    case METADATA_TOPIC_DELETE:
        record->topic_delete.id = take_uuid(in);
        return;
    case METADATA_PARTITIONS:
        take_partitions(in, arena, &record->partitions);
        return;
    case METADATA_PARTITION_CHANGE:
        take_partition_change(in, arena, &record->partition_change);
        return;
    case METADATA_CONFIG:
        take_config(in, arena, &record->config);
        return;
    case METADATA_PRODUCER_IDS:
        take_producer_ids(in, &record->producer_ids);
        return;
    case METADATA_FEATURE:
        record->feature.name = take_str(in);
        record->feature.level = take_i16(in);
        if (record->feature.name.len <= 0)
            in->overrun = true;
        return;
    case METADATA_CLIENT_QUOTA:
        take_quota(in, arena, &record->quota);
        return;
    }
}

/* ---- the envelope ---- */

/* The newest body that is known: 2 has moves of partitions. */
static uint8_t newest_version(uint16_t kind)
{
    return kind == METADATA_PARTITION_CHANGE ? 2 : 1;
}

/* Who does not know of moves may not read of one: it would forget it. */
static uint8_t version_of(const struct metadata_record *record)
{
    bool moves = record->kind == METADATA_PARTITION_CHANGE && is_moving(&record->partition_change);
    return moves ? 2 : 1;
}

void metadata_record_encode(struct bytes_out *out, const struct metadata_record *record)
{
    put_u16(out, (uint16_t)record->kind);
    put_u8(out, kind_is_mandatory(record->kind) ? FLAG_MANDATORY : 0);
    put_u8(out, version_of(record));
    put_u8(out, version_of(record));
    struct bytes_out length = *out;
    put_u32(out, 0);
    const uint8_t *body = out->at;
    put_body(out, record);
    if (!out->overrun)
        put_u32(&length, (uint32_t)(out->at - body));
}

static size_t str_size(struct str text)
{
    return 2U + (text.len > 0 ? (size_t)text.len : 0);
}

size_t metadata_record_size(const struct metadata_record *record)
{
    size_t size = METADATA_ENVELOPE + 64; /* above every fixed part */
    switch (record->kind) {
    case METADATA_BROKER_UP:
        size += str_size(record->broker_up.rack) + str_size(record->broker_up.version);
        for (uint32_t i = 0; i < record->broker_up.endpoint_count; i++)
            size += 2 + str_size(record->broker_up.endpoints[i].listener) +
                    str_size(record->broker_up.endpoints[i].host);
        return size;
    case METADATA_TOPIC_CREATE:
        return size + str_size(record->topic_create.name);
    case METADATA_PARTITIONS:
        return size + sizeof(int32_t) * record->partitions.count *
                          (size_t)record->partitions.replica_count;
    case METADATA_PARTITION_CHANGE:
        return size + sizeof(int32_t) * ((size_t)record->partition_change.replica_count +
                                         record->partition_change.isr_count);
    case METADATA_CONFIG:
        for (uint32_t i = 0; i < record->config.setting_count; i++)
            size += str_size(record->config.settings[i].name) +
                    str_size(record->config.settings[i].value);
        return size;
    case METADATA_FEATURE:
        return size + str_size(record->feature.name);
    case METADATA_CLIENT_QUOTA:
        for (unsigned of = 0; of < QUOTA_PARTS; of++)
            size += str_size(record->quota.entity.part[of].name);
        for (uint32_t i = 0; i < record->quota.limit_count; i++)
            size += 8 + str_size(record->quota.limits[i].key);
        return size;
    case METADATA_NOOP:
    case METADATA_BROKER_DOWN:
    case METADATA_BROKER_DRAINING:
    case METADATA_TOPIC_DELETE:
    case METADATA_PRODUCER_IDS:
        return size;
    }
    return size;
}

void metadata_records_add(struct metadata_records *records, const struct metadata_record *record)
{
    size_t wanted = records->length + metadata_record_size(record);
    if (wanted > records->room) {
        records->room = wanted > 2 * records->room ? wanted : 2 * records->room;
        records->data = mem_realloc(records->data, records->room);
    }
    struct bytes_out out =
        bytes_out_of(records->data + records->length, records->room - records->length);
    metadata_record_encode(&out, record);
    must(!out.overrun);
    records->length = (size_t)(out.at - records->data);
    records->count++;
}

void metadata_records_fini(struct metadata_records *records)
{
    mem_free(records->data);
    *records = (struct metadata_records){0};
}

static enum metadata_verdict unreadable(bool mandatory, uint16_t kind, uint8_t least_reader,
                                        char *sentence, size_t size)
{
    if (!mandatory)
        return METADATA_SKIPPED;
    (void)snprintf(sentence, size,
                   "the metadata log holds a record of kind %u (%s), for readers of version %u and "
                   "up, and this version of Millrace may not skip it; start the version that wrote "
                   "it, or a newer one",
                   kind, metadata_kind_name(kind), least_reader);
    return METADATA_REFUSED;
}

enum metadata_verdict metadata_record_decode(struct bytes_in *in, int16_t level,
                                             struct arena *arena, struct metadata_record *record,
                                             char *sentence, size_t sentence_size)
{
    if (in->at == in->end && !in->overrun)
        return METADATA_END;
    uint16_t kind = take_u16(in);
    uint8_t flags = take_u8(in);
    (void)take_u8(in);
    uint8_t least_reader = take_u8(in);
    uint32_t length = take_u32(in);
    const uint8_t *bytes = take_bytes(in, length);
    if (bytes == NULL || in->overrun) {
        in->overrun = true;
        (void)snprintf(sentence, sentence_size, "a metadata record of kind %u (%s) is cut off",
                       kind, metadata_kind_name(kind));
        return METADATA_REFUSED;
    }
    if (!kind_is_known(kind, level) || least_reader > newest_version(kind))
        return unreadable(flags & FLAG_MANDATORY, kind, least_reader, sentence, sentence_size);
    *record = (struct metadata_record){.kind = (enum metadata_kind)kind};
    struct bytes_in body = bytes_in_of(bytes, length);
    take_body(&body, arena, record);
    if (body.overrun) {
        (void)snprintf(sentence, sentence_size, "a metadata record of kind %u (%s) is damaged",
                       kind, metadata_kind_name(kind));
        return METADATA_REFUSED;
    }
    return METADATA_READ;
}
