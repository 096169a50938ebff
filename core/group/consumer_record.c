/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/consumer_record.h"

/* ---- reading ---- */

static void
read_classic(struct consumer_record *record, struct arena *arena,
             const struct consumer_group_member_metadata_value_classic_member_metadata *classic)
{
    struct consumer_restored_member *member = &record->of_member;
    const size_t count = (size_t)max_i64(classic->supported_protocols_count, 0);
    struct group_protocol *protocols = arena_array(arena, count, sizeof(*protocols));
    if (count == 0 || count > GROUP_PROTOCOLS_MAX || !protocols) {
        record->reason = "the member speaks the classic protocol, and no assignor";
        return;
    }
    for (size_t i = 0; i < count; i++)
        protocols[i] =
            (struct group_protocol){.name = classic->supported_protocols[i].name,
                                    .metadata = classic->supported_protocols[i].metadata};
    member->classic = true;
    member->session_timeout_ms = classic->session_timeout_ms;
    member->protocols = protocols;
    member->protocol_count = (uint32_t)count;
}

static void read_member(struct consumer_record *record, struct rd *rd, struct arena *arena)
{
    struct consumer_group_member_metadata_value value;
    if (!read_consumer_group_member_metadata_value(rd, arena, 0, &value)) {
        record->reason = "the value is no member";
        return;
    }
    record->of_member = (struct consumer_restored_member){
        .instance_id = value.instance_id,
        .rack_id = value.rack_id,
        .client_id = value.client_id,
        .client_host = value.client_host,
        .names = value.subscribed_topic_names,
        .name_count = (uint32_t)max_i64(value.subscribed_topic_names_count, 0),
        .regex = value.subscribed_topic_regex,
        .assignor = value.server_assignor,
        .rebalance_timeout_ms = value.rebalance_timeout_ms,
    };
    if (value.has_classic_member_metadata)
        read_classic(record, arena, &value.classic_member_metadata);
}

static void read_value(struct consumer_record *record, struct bytes value, struct arena *arena)
{
    struct rd rd;
    struct piece piece;
    bool good = true;
    rd_init(&rd, span_of(&piece, value.data, (uint32_t)value.len));
    if (rd_i16(&rd) != 0 || rd.bad)
        record->reason = "the value has no version that is known";
    else if (record->kind == CONSUMER_RECORD_GROUP)
        good = read_consumer_group_metadata_value(&rd, arena, 0, &record->of_group);
    else if (record->kind == CONSUMER_RECORD_MEMBER)
        read_member(record, &rd, arena);
    else if (record->kind == CONSUMER_RECORD_EPOCH)
        good =
            read_consumer_group_target_assignment_metadata_value(&rd, arena, 0, &record->of_epoch);
    else if (record->kind == CONSUMER_RECORD_TARGET)
        good =
            read_consumer_group_target_assignment_member_value(&rd, arena, 0, &record->of_target);
    else if (record->kind == CONSUMER_RECORD_CURRENT)
        good =
            read_consumer_group_current_member_assignment_value(&rd, arena, 0, &record->of_current);
    if (!good)
        record->reason = "the value is nothing of a consumer group";
}

/* All keys begin with the group; those of members, and of expressions, go on with one string. */
static bool read_key(struct consumer_record *record, struct rd *rd, struct arena *arena)
{
    struct consumer_group_member_metadata_key two;
    struct consumer_group_metadata_key one;
    if (record->kind == CONSUMER_RECORD_MEMBER || record->kind == CONSUMER_RECORD_TARGET ||
        record->kind == CONSUMER_RECORD_CURRENT || record->kind == CONSUMER_RECORD_REGEX) {
        if (!read_consumer_group_member_metadata_key(rd, arena, 0, &two))
            return false;
        record->group = two.group_id;
        record->member = two.member_id;
        return record->member.len > 0;
    }
    if (!read_consumer_group_metadata_key(rd, arena, 0, &one))
        return false;
    record->group = one.group_id;
    return true;
}

bool consumer_record_read(struct consumer_record *record, const struct group_record *from,
                          struct arena *arena)
{
    struct rd rd;
    struct piece piece;
    memset(record, 0, sizeof(*record));
    rd_init(&rd, span_of(&piece, from->key.data, (uint32_t)max_i64(from->key.len, 0)));
    const int16_t kind = rd_i16(&rd);
    if ((kind < CONSUMER_RECORD_GROUP || kind > CONSUMER_RECORD_CURRENT) &&
        kind != CONSUMER_RECORD_REGEX)
        return false;
    record->kind = (enum consumer_record_kind)kind;
    record->tombstone = from->tombstone;
    if (!read_key(record, &rd, arena))
        record->reason = "the key names no consumer group, or none of its members";
    else if (!record->tombstone)
        read_value(record, from->value_bytes, arena);
    return true;
}

/* ---- into a group ---- */

/* What is there twice, or negative, is nobody's. */
static void part_add(struct tp_set *set, const struct uuid *topic, int32_t partition)
{
    if (partition >= 0)
        set->parts[set->count++] = (struct tp){.topic = *topic, .partition = partition};
}

static struct tp_set set_end(struct tp_set set)
{
    if (tp_sort(set.parts, set.count))
        return set;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < set.count; i++)
        if (kept == 0 || tp_compare(&set.parts[kept - 1], &set.parts[i]) != 0)
            set.parts[kept++] = set.parts[i];
    set.count = kept;
    return set;
}

static struct tp_set target_of(const struct consumer_group_target_assignment_member_value *value)
{
    size_t room = 1;
    for (int32_t i = 0; i < value->topic_partitions_count; i++)
        room += (size_t)max_i64(value->topic_partitions[i].partitions_count, 0);
    struct tp_set set = {.parts = mem_alloc(room * sizeof(struct tp))};
    for (int32_t i = 0; i < value->topic_partitions_count; i++)
        for (int32_t p = 0; p < value->topic_partitions[i].partitions_count; p++)
            part_add(&set, &value->topic_partitions[i].topic_id,
                     value->topic_partitions[i].partitions[p]);
    return set_end(set);
}

typedef struct consumer_group_current_member_assignment_value_topic_partition current_topic;

static struct tp_set current_of(const current_topic *topics, int32_t count)
{
    size_t room = 1;
    for (int32_t i = 0; i < count; i++)
        room += (size_t)max_i64(topics[i].partitions_count, 0);
    struct tp_set set = {.parts = mem_alloc(room * sizeof(struct tp))};
    for (int32_t i = 0; i < count; i++)
        for (int32_t p = 0; p < topics[i].partitions_count; p++)
            part_add(&set, &topics[i].topic_id, topics[i].partitions[p]);
    return set_end(set);
}

/* Since which epoch each is held; who wrote no epochs knew none. */
static int32_t *since_of(const current_topic *topics, int32_t count, int32_t epoch,
                         const struct tp_set *set)
{
    int32_t *since = mem_alloc((set->count + 1UL) * sizeof(*since));
    for (uint32_t i = 0; i < set->count; i++)
        since[i] = epoch;
    for (int32_t t = 0; t < count; t++) {
        const current_topic *topic = &topics[t];
        for (int32_t p = 0; p < topic->assignment_epochs_count && p < topic->partitions_count;
             p++) {
            const struct tp part = {.topic = topic->topic_id, .partition = topic->partitions[p]};
            const uint32_t at = tp_set_find(set, &part);
            if (at < set->count)
                since[at] = topic->assignment_epochs[p];
        }
    }
    return since;
}

static enum consumer_member_state state_of(int8_t number)
{
    return number >= CONSUMER_MEMBER_STABLE && number <= CONSUMER_MEMBER_WAITING
               ? (enum consumer_member_state)number
               : CONSUMER_MEMBER_UNKNOWN;
}

static void restore_current(const struct consumer_record *record, struct consumer_group *g)
{
    const struct consumer_group_current_member_assignment_value *value = &record->of_current;
    struct consumer_restored_current current = {
        .epoch = value->member_epoch,
        .previous_epoch = value->previous_member_epoch,
        .state = state_of(value->state),
        .assigned = current_of(value->assigned_partitions, value->assigned_partitions_count),
        .revoking = current_of(value->partitions_pending_revocation,
                               value->partitions_pending_revocation_count)};
    current.since = since_of(value->assigned_partitions, value->assigned_partitions_count,
                             value->member_epoch, &current.assigned);
    current.revoked_since =
        since_of(value->partitions_pending_revocation, value->partitions_pending_revocation_count,
                 value->member_epoch, &current.revoking);
    consumer_restore_current(g, record->member, &current);
}

void consumer_record_restore(const struct consumer_record *record, struct consumer_group *g)
{
    struct tp_set target = {0};
    switch (record->kind) {
    case CONSUMER_RECORD_GROUP:
        g->epoch = record->of_group.epoch;
        g->metadata_hash = (uint64_t)record->of_group.metadata_hash;
        break;
    case CONSUMER_RECORD_EPOCH:
        g->assignment_epoch = record->of_epoch.assignment_epoch;
        break;
    case CONSUMER_RECORD_MEMBER:
        consumer_restore_member(g, record->member, record->tombstone ? NULL : &record->of_member);
        break;
    case CONSUMER_RECORD_TARGET:
        if (!record->tombstone)
            target = target_of(&record->of_target);
        consumer_restore_target(g, record->member, record->tombstone ? NULL : &target);
        break;
    case CONSUMER_RECORD_CURRENT:
        if (record->tombstone)
            consumer_restore_current(g, record->member, NULL);
        else
            restore_current(record, g);
        break;
    case CONSUMER_RECORD_TOPICS:
    case CONSUMER_RECORD_REGEX: /* asked again */
        break;
    }
}

/* ---- writing ---- */

static bool key_of(struct group_record_bytes *bytes, struct arena *arena,
                   enum consumer_record_kind kind, struct str group, struct str member)
{
    const struct consumer_group_metadata_key one = {.group_id = group};
    const struct consumer_group_member_metadata_key two = {.group_id = group, .member_id = member};
    struct wr w;
    wr_init(&w, arena);
    wr_i16(&w, (int16_t)kind);
    if (member.len >= 0)
        write_consumer_group_member_metadata_key(&w, 0, &two);
    else
        write_consumer_group_metadata_key(&w, 0, &one);
    return group_record_piece(&w, arena, &bytes->key);
}

static bool add_gone(struct consumer_writer *writer, enum consumer_record_kind kind,
                     struct str group, struct str member)
{
    struct group_record_bytes bytes = {.value = {.len = -1}};
    return key_of(&bytes, writer->arena, kind, group, member) && writer->add(writer, &bytes);
}

static void value_begin(struct wr *w, struct arena *arena)
{
    wr_init(w, arena);
    wr_i16(w, 0);
}

static bool add(struct consumer_writer *writer, struct wr *w, enum consumer_record_kind kind,
                struct str group, struct str member)
{
    struct group_record_bytes bytes;
    return group_record_piece(w, writer->arena, &bytes.value) &&
           key_of(&bytes, writer->arena, kind, group, member) && writer->add(writer, &bytes);
}

static struct str text_or_empty(struct str text)
{
    return text.len >= 0 ? text : str_of("");
}

static bool fill_classic(struct arena *arena, const struct consumer_classic *classic,
                         struct consumer_group_member_metadata_value *value)
{
    struct consumer_group_member_metadata_value_classic_member_metadata *out =
        &value->classic_member_metadata;
    value->has_classic_member_metadata = classic != NULL; /* null is not the default */
    if (!classic)
        return true;
    out->session_timeout_ms = classic->session_timeout_ms;
    out->supported_protocols =
        arena_array(arena, classic->protocol_count, sizeof(*out->supported_protocols));
    out->supported_protocols_count = (int32_t)classic->protocol_count;
    for (uint32_t i = 0; out->supported_protocols && i < classic->protocol_count; i++) {
        struct consumer_group_member_metadata_value_supported_protocol *to =
            &out->supported_protocols[i];
        init_consumer_group_member_metadata_value_supported_protocol(to);
        to->name = classic->protocols[i].name;
        to->metadata = classic->protocols[i].metadata;
    }
    return out->supported_protocols != NULL;
}

static bool add_member(struct consumer_writer *writer, const struct consumer_group *g,
                       const struct consumer_member *m)
{
    struct consumer_group_member_metadata_value value;
    struct wr w;
    init_consumer_group_member_metadata_value(&value);
    if (!fill_classic(writer->arena, m->classic, &value))
        return false;
    value.instance_id = m->instance_id;
    value.rack_id = m->rack_id;
    value.client_id = text_or_empty(m->client_id);
    value.client_host = text_or_empty(m->client_host);
    value.subscribed_topic_names = m->subscription->names;
    value.subscribed_topic_names_count = (int32_t)m->subscription->name_count;
    value.subscribed_topic_regex =
        m->subscription->regex ? m->subscription->regex->text : str_of(""); /* as Kafka's */
    value.rebalance_timeout_ms = m->rebalance_timeout_ms;
    value.server_assignor =
        m->assignor >= 0 ? str_of(assign_name((enum assignor)m->assignor)) : str_null();
    value_begin(&w, writer->arena);
    write_consumer_group_member_metadata_value(&w, 0, &value);
    return add(writer, &w, CONSUMER_RECORD_MEMBER, g->id, m->id);
}

static int32_t topics_in(const struct tp_set *set)
{
    int32_t count = 0;
    uint32_t run;
    for (uint32_t at = 0; (run = tp_set_run(set, at)) > 0; at += run)
        count++;
    return count;
}

static int32_t *numbers_of(struct arena *arena, const struct tp *parts, uint32_t count)
{
    int32_t *numbers = arena_array(arena, count, sizeof(*numbers));
    for (uint32_t i = 0; numbers && i < count; i++)
        numbers[i] = parts[i].partition;
    return numbers;
}

static bool add_target(struct consumer_writer *writer, const struct consumer_group *g,
                       const struct consumer_member *m)
{
    struct consumer_group_target_assignment_member_value value;
    struct consumer_group_target_assignment_member_value_topic_partition *out;
    const struct tp_set *set = &m->target;
    struct wr w;
    uint32_t run;
    init_consumer_group_target_assignment_member_value(&value);
    value.topic_partitions =
        arena_array(writer->arena, (size_t)topics_in(set), sizeof(*value.topic_partitions));
    for (uint32_t at = 0; value.topic_partitions && (run = tp_set_run(set, at)) > 0; at += run) {
        out = &value.topic_partitions[value.topic_partitions_count++];
        init_consumer_group_target_assignment_member_value_topic_partition(out);
        out->topic_id = set->parts[at].topic;
        out->partitions = numbers_of(writer->arena, &set->parts[at], run);
        out->partitions_count = (int32_t)run;
        if (!out->partitions)
            return false;
    }
    if (!value.topic_partitions)
        return false;
    value_begin(&w, writer->arena);
    write_consumer_group_target_assignment_member_value(&w, 0, &value);
    return add(writer, &w, CONSUMER_RECORD_TARGET, g->id, m->id);
}

static current_topic *current_topics(struct arena *arena, const struct consumer_group *g,
                                     const struct tp_set *set, int32_t *count)
{
    current_topic *topics = arena_array(arena, (size_t)topics_in(set), sizeof(*topics));
    uint32_t run;
    *count = 0;
    for (uint32_t at = 0; topics && (run = tp_set_run(set, at)) > 0; at += run) {
        current_topic *out = &topics[(*count)++];
        init_consumer_group_current_member_assignment_value_topic_partition(out);
        out->topic_id = set->parts[at].topic;
        out->partitions = numbers_of(arena, &set->parts[at], run);
        out->partitions_count = (int32_t)run;
        out->assignment_epochs = arena_array(arena, run, sizeof(*out->assignment_epochs));
        out->assignment_epochs_count = (int32_t)run;
        if (!out->partitions || !out->assignment_epochs)
            return NULL;
        for (uint32_t i = 0; i < run; i++)
            out->assignment_epochs[i] = consumer_group_held_since(g, &set->parts[at + i]);
    }
    return topics;
}

static bool add_current(struct consumer_writer *writer, const struct consumer_group *g,
                        const struct consumer_member *m)
{
    struct consumer_group_current_member_assignment_value value;
    struct wr w;
    init_consumer_group_current_member_assignment_value(&value);
    value.member_epoch = m->epoch;
    value.previous_member_epoch = m->previous_epoch;
    value.state = (int8_t)m->state;
    value.assigned_partitions =
        current_topics(writer->arena, g, &m->assigned, &value.assigned_partitions_count);
    value.partitions_pending_revocation =
        current_topics(writer->arena, g, &m->revoking, &value.partitions_pending_revocation_count);
    if (!value.assigned_partitions || !value.partitions_pending_revocation)
        return false;
    value_begin(&w, writer->arena);
    write_consumer_group_current_member_assignment_value(&w, 0, &value);
    return add(writer, &w, CONSUMER_RECORD_CURRENT, g->id, m->id);
}

static bool add_group(struct consumer_writer *writer, const struct consumer_group *g)
{
    struct consumer_group_metadata_value value;
    struct wr w;
    init_consumer_group_metadata_value(&value);
    value.epoch = g->epoch;
    value.metadata_hash = (int64_t)g->metadata_hash;
    value_begin(&w, writer->arena);
    write_consumer_group_metadata_value(&w, 0, &value);
    return add(writer, &w, CONSUMER_RECORD_GROUP, g->id, str_null());
}

static bool add_epoch(struct consumer_writer *writer, const struct consumer_group *g)
{
    struct consumer_group_target_assignment_metadata_value value;
    struct wr w;
    init_consumer_group_target_assignment_metadata_value(&value);
    value.assignment_epoch = g->assignment_epoch;
    value.assignment_timestamp = g->host->wall_ms(g->host);
    value_begin(&w, writer->arena);
    write_consumer_group_target_assignment_metadata_value(&w, 0, &value);
    return add(writer, &w, CONSUMER_RECORD_EPOCH, g->id, str_null());
}

/* What it matches is asked again at every start: a list that is too long for a record is left out.
 */
#define REGEX_RECORD_BYTES_MAX (512U << 10)

static bool is_long(const struct consumer_group *g, const struct consumer_regex *regex)
{
    const size_t max = min_u64(REGEX_RECORD_BYTES_MAX, g->host->record_bytes_max(g->host, g) / 2);
    size_t bytes = 0;
    for (uint32_t i = 0; i < regex->topic_count; i++)
        bytes += (size_t)regex->topics[i].len + 2;
    return bytes > max;
}

static bool add_regex(struct consumer_writer *writer, const struct consumer_group *g,
                      const struct consumer_regex *regex)
{
    if (is_long(g, regex))
        return true;
    struct consumer_group_regular_expression_value value;
    struct wr w;
    init_consumer_group_regular_expression_value(&value);
    value.topics = regex->topics;
    value.topics_count = (int32_t)regex->topic_count;
    value.version = (int64_t)regex->asked;
    value.timestamp = regex->resolved_ms;
    value_begin(&w, writer->arena);
    write_consumer_group_regular_expression_value(&w, 0, &value);
    return add(writer, &w, CONSUMER_RECORD_REGEX, g->id, regex->text);
}

static bool add_gone_member(struct consumer_writer *writer, const struct consumer_group *g,
                            struct str id)
{
    return add_gone(writer, CONSUMER_RECORD_CURRENT, g->id, id) &&
           add_gone(writer, CONSUMER_RECORD_TARGET, g->id, id) &&
           add_gone(writer, CONSUMER_RECORD_MEMBER, g->id, id);
}

static bool add_removed(struct consumer_writer *writer, const struct consumer_group *g)
{
    bool good = true;
    const struct consumer_gone *gone;
    STAILQ_FOREACH (gone, &g->gone, link) {
        if (gone->regex)
            good = good && add_gone(writer, CONSUMER_RECORD_REGEX, g->id, gone->id);
        else
            good = good && add_gone_member(writer, g, gone->id);
    }
    return good;
}

typedef bool add_of_member(struct consumer_writer *writer, const struct consumer_group *g,
                           const struct consumer_member *m);

static bool add_members(struct consumer_writer *writer, const struct consumer_group *g,
                        unsigned dirty, add_of_member *one)
{
    const struct consumer_member *m;
    TAILQ_FOREACH (m, &g->dirty_members, dirty_link)
        if ((m->dirty & dirty) != 0 && !one(writer, g, m))
            return false;
    return true;
}

static bool add_regexes(struct consumer_writer *writer, const struct consumer_group *g)
{
    const struct consumer_regex *regex = g->regexes_dirty ? g->subscriptions.regexes : NULL;
    for (; regex; regex = regex->hh.next)
        if (regex->dirty && !add_regex(writer, g, regex))
            return false;
    return true;
}

/* The group's epoch stands before the target, and the target before its epoch: what a crash cuts
 * off is computed again. */
bool consumer_record_changes(struct consumer_writer *writer, const struct consumer_group *g)
{
    return add_removed(writer, g) && add_regexes(writer, g) &&
           add_members(writer, g, CONSUMER_DIRTY_MEMBER, add_member) &&
           ((g->dirty & CONSUMER_DIRTY_GROUP) == 0 || add_group(writer, g)) &&
           add_members(writer, g, CONSUMER_DIRTY_TARGET, add_target) &&
           ((g->dirty & CONSUMER_DIRTY_EPOCH) == 0 || add_epoch(writer, g)) &&
           add_members(writer, g, CONSUMER_DIRTY_CURRENT, add_current);
}

static bool add_gone_members(struct consumer_writer *writer, const struct consumer_group *g)
{
    for (const struct consumer_member *m = g->members; m; m = m->hh.next)
        if (!add_gone_member(writer, g, m->id))
            return false;
    return true;
}

/* Members of the classic protocol have no expressions. */
bool consumer_record_gone(struct consumer_writer *writer, const struct consumer_group *g)
{
    return add_removed(writer, g) && add_gone_members(writer, g) &&
           add_gone(writer, CONSUMER_RECORD_EPOCH, g->id, str_null()) &&
           add_gone(writer, CONSUMER_RECORD_TOPICS, g->id, str_null()) &&
           add_gone(writer, CONSUMER_RECORD_GROUP, g->id, str_null());
}
