/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/group_record.h"

/* First two bytes of the key. Offsets were kind 0 up to Kafka 0.8; both have one schema. */
enum key_kind {
    KEY_OFFSET_OLD = 0,
    KEY_OFFSET = 1,
    KEY_GROUP = 2,
};

/* First two bytes of the value. */
#define OFFSET_VERSION        3
#define OFFSET_VERSION_EXPIRY 1 /* the only one with an expiry */
#define OFFSET_VERSION_MAX    4
#define GROUP_VERSION         3
#define GROUP_VERSION_MAX     4

/* ---- reading ---- */

static void poisoned(struct group_record *record, const char *reason)
{
    record->kind = GROUP_RECORD_POISONED;
    record->reason = reason;
}

static struct span span_of_bytes(struct piece *piece, struct bytes bytes)
{
    return span_of(piece, bytes.data, (uint32_t)max_i64(bytes.len, 0));
}

/* A reader behind the version; false and a reason when there is none that is known. */
static bool value_begin(struct group_record *record, struct rd *rd, struct bytes value,
                        struct piece *piece, int16_t version_max, int16_t *version)
{
    rd_init(rd, span_of_bytes(piece, value));
    *version = rd_i16(rd);
    if (!rd->bad && *version >= 0 && *version <= version_max)
        return true;
    poisoned(record, "the value has no version that is known");
    return false;
}

static void offset_read(struct group_record *record, struct bytes value, struct arena *arena)
{
    struct rd rd;
    struct piece piece;
    struct offset_commit_value read;
    int16_t version;
    if (!value_begin(record, &rd, value, &piece, OFFSET_VERSION_MAX, &version))
        return;
    if (!read_offset_commit_value(&rd, arena, version, &read)) {
        poisoned(record, "the value is no committed offset");
        return;
    }
    record->offset.offset = read.offset;
    record->offset.leader_epoch = read.leader_epoch;
    record->offset.metadata = read.metadata;
    record->offset.commit_ms = read.commit_timestamp;
    record->offset.expire_ms = read.expire_timestamp;
}

static bool has_nameless_member(const struct group_metadata_value *value)
{
    for (int32_t i = 0; i < value->members_count; i++)
        if (value->members[i].member_id.len <= 0)
            return true;
    return false;
}

static void group_read(struct group_record *record, struct bytes value, struct arena *arena)
{
    struct rd rd;
    struct piece piece;
    int16_t version;
    if (!value_begin(record, &rd, value, &piece, GROUP_VERSION_MAX, &version))
        return;
    if (!read_group_metadata_value(&rd, arena, version, &record->value))
        poisoned(record, "the value is no group");
    else if (record->value.members_count > 0 && record->value.protocol.len < 0)
        poisoned(record, "the group has members and no protocol");
    else if (has_nameless_member(&record->value))
        poisoned(record, "the group has a member without an id");
}

void group_record_read(struct group_record *record, struct bytes key, struct bytes value,
                       struct arena *arena)
{
    struct rd rd;
    struct piece piece;
    memset(record, 0, sizeof(*record));
    record->tombstone = value.len < 0;
    rd_init(&rd, span_of_bytes(&piece, key));
    int16_t kind = rd_i16(&rd);
    if (rd.bad) {
        poisoned(record, "the key has no kind");
        return;
    }
    if (kind == KEY_OFFSET || kind == KEY_OFFSET_OLD) {
        struct offset_commit_key read;
        record->kind = GROUP_RECORD_OFFSET;
        if (!read_offset_commit_key(&rd, arena, 0, &read)) {
            poisoned(record, "the key names no group, topic and partition");
            return;
        }
        record->group = read.group;
        record->offset.topic = read.topic;
        record->offset.partition = read.partition;
        if (!record->tombstone)
            offset_read(record, value, arena);
    } else if (kind == KEY_GROUP) {
        struct group_metadata_key read;
        record->kind = GROUP_RECORD_GROUP;
        if (!read_group_metadata_key(&rd, arena, 0, &read)) {
            poisoned(record, "the key names no group");
            return;
        }
        record->group = read.group;
        if (!record->tombstone)
            group_read(record, value, arena);
    } else {
        record->kind = GROUP_RECORD_OTHER;
        record->key = key;
        record->value_bytes = value;
    }
}

void group_record_restore(const struct group_record *record, struct group *g)
{
    const struct group_metadata_value *value = &record->value;
    must(record->kind == GROUP_RECORD_GROUP && !record->tombstone);
    for (int32_t i = 0; i < value->members_count; i++) {
        const struct group_metadata_value_member_metadata *m = &value->members[i];
        const struct group_protocol protocol = {.name = value->protocol,
                                                .metadata = m->subscription};
        int32_t rebalance_ms = m->rebalance_timeout < 0 ? m->session_timeout : m->rebalance_timeout;
        group_restore_member(g, m->member_id, m->group_instance_id, m->client_id, m->client_host,
                             m->session_timeout, rebalance_ms, &protocol, 1, m->assignment);
    }
    group_restore(g, value->generation, value->protocol_type, value->protocol, value->leader,
                  value->current_state_timestamp);
}

/* ---- writing ---- */

bool group_record_piece(struct wr *w, struct arena *arena, struct bytes *bytes)
{
    uint64_t len = wr_len(w);
    const struct out_part *part = wr_finish(w);
    if (w->bad || len > INT32_MAX)
        return false;
    uint8_t *to = arena_alloc(arena, (size_t)len);
    if (!to)
        return false;
    *bytes = (struct bytes){.data = to, .len = (int32_t)len};
    for (; part; part = part->next) {
        memcpy(to, part->data, part->len);
        to += part->len;
    }
    return true;
}

static bool offset_key(struct group_record_bytes *bytes, struct arena *arena, struct str group,
                       struct str topic, int32_t partition)
{
    const struct offset_commit_key key = {.group = group, .topic = topic, .partition = partition};
    struct wr w;
    wr_init(&w, arena);
    wr_i16(&w, KEY_OFFSET);
    write_offset_commit_key(&w, 0, &key);
    return group_record_piece(&w, arena, &bytes->key);
}

bool group_record_of_offset(struct group_record_bytes *bytes, struct arena *arena, struct str group,
                            const struct group_offset *offset)
{
    if (!offset_key(bytes, arena, group, offset->topic, offset->partition))
        return false;
    struct offset_commit_value value;
    init_offset_commit_value(&value);
    value.offset = offset->offset;
    value.leader_epoch = offset->leader_epoch;
    value.metadata = offset->metadata.len >= 0 ? offset->metadata : str_of("");
    value.commit_timestamp = offset->commit_ms;
    value.expire_timestamp = offset->expire_ms;
    int16_t version = offset->expire_ms >= 0 ? OFFSET_VERSION_EXPIRY : OFFSET_VERSION;
    struct wr w;
    wr_init(&w, arena);
    wr_i16(&w, version);
    write_offset_commit_value(&w, version, &value);
    return group_record_piece(&w, arena, &bytes->value);
}

bool group_record_of_offset_gone(struct group_record_bytes *bytes, struct arena *arena,
                                 struct str group, struct str topic, int32_t partition)
{
    bytes->value = (struct bytes){.len = -1};
    return offset_key(bytes, arena, group, topic, partition);
}

static bool group_key(struct group_record_bytes *bytes, struct arena *arena, struct str group)
{
    const struct group_metadata_key key = {.group = group};
    struct wr w;
    wr_init(&w, arena);
    wr_i16(&w, KEY_GROUP);
    write_group_metadata_key(&w, 0, &key);
    return group_record_piece(&w, arena, &bytes->key);
}

static void member_fill(const struct group *g, const struct group_member *m,
                        struct group_metadata_value_member_metadata *out)
{
    init_group_metadata_value_member_metadata(out);
    out->member_id = m->id;
    out->group_instance_id = m->instance_id;
    out->client_id = m->client_id.len >= 0 ? m->client_id : str_of("");
    out->client_host = m->client_host.len >= 0 ? m->client_host : str_of("");
    out->rebalance_timeout = m->rebalance_timeout_ms;
    out->session_timeout = m->session_timeout_ms;
    out->subscription = group_member_metadata(m, g->protocol);
    out->assignment = group_is_deciding(g) ? m->next_assignment : m->assignment;
}

bool group_record_of_group(struct group_record_bytes *bytes, struct arena *arena,
                           const struct group *g)
{
    if (!group_key(bytes, arena, g->id))
        return false;
    struct group_metadata_value value;
    init_group_metadata_value(&value);
    value.protocol_type = g->protocol_type.len >= 0 ? g->protocol_type : str_of("");
    value.generation = g->generation;
    value.protocol = g->protocol;
    value.leader = g->undecided ? str_null() : g->leader;
    value.current_state_timestamp = g->state_since_ms;
    value.members = arena_array(arena, g->member_count, sizeof(*value.members));
    if (!value.members)
        return false;
    for (const struct group_member *m = g->members; m; m = m->hh.next)
        member_fill(g, m, &value.members[value.members_count++]);
    struct wr w;
    wr_init(&w, arena);
    wr_i16(&w, GROUP_VERSION);
    write_group_metadata_value(&w, GROUP_VERSION, &value);
    return group_record_piece(&w, arena, &bytes->value);
}

bool group_record_of_group_gone(struct group_record_bytes *bytes, struct arena *arena,
                                struct str group)
{
    bytes->value = (struct bytes){.len = -1};
    return group_key(bytes, arena, group);
}
