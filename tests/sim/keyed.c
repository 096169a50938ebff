/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/keyed.h"

#include <stdlib.h>
#include <string.h>

#include "net/err.h"

struct keyed_facts *keyed_facts_new(void)
{
    struct keyed_facts *facts = calloc(1, sizeof(*facts));
    must(facts != NULL);
    facts->records = calloc(KEYED_RECORDS_MAX, sizeof(facts->records[0]));
    must(facts->records != NULL);
    inflater_init(&facts->inflater);
    return facts;
}

static void lines_clear(struct keyed_facts *facts, uint32_t topic)
{
    for (uint32_t i = 0; i < PARTITIONS_MAX; i++) {
        free(facts->lines[topic][i].at);
        facts->lines[topic][i] = (struct keyed_line){0};
    }
}

void keyed_facts_free(struct keyed_facts *facts)
{
    for (uint32_t i = 0; i < TOPICS_MAX; i++)
        lines_clear(facts, i);
    inflater_fini(&facts->inflater);
    free(facts->records);
    free(facts);
}

static struct keyed_line *line_of(struct model *m, const struct topic_fact *topic,
                                  int32_t partition)
{
    struct keyed_facts *facts = m->keyed;
    uint32_t index = model_topic_index(m, topic);
    if (facts->incarnations[index] != topic->incarnation)
        lines_clear(facts, index);
    facts->incarnations[index] = topic->incarnation;
    return &facts->lines[index][partition];
}

bool keyed_is_valid(const struct model *m, uint32_t number)
{
    const struct keyed_record *record = &m->keyed->records[number];
    const struct topic_fact *topic = &m->topics[record->topic];
    return topic->state == TOPIC_THERE && topic->incarnation == record->incarnation;
}

/* ---- what is sent ---- */

uint32_t keyed_draw(struct model *m, struct rng *rng, struct topic_fact *topic, int32_t partition,
                    uint32_t count)
{
    struct keyed_facts *facts = m->keyed;
    if (facts->count + count >= KEYED_RECORDS_MAX)
        return 0;
    uint32_t first = facts->count + 1;
    for (uint32_t i = 0; i < count; i++)
        facts->records[++facts->count] = (struct keyed_record){
            .topic = model_topic_index(m, topic),
            .partition = (uint8_t)partition,
            .key = (uint8_t)rng_below(rng, KEYED_KEYS),
            .tombstone = rng_one_in(rng, 5),
            .value_len = (uint16_t)(rng_one_in(rng, 8) ? rng_between(rng, 1000, 3500)
                                                       : rng_between(rng, 0, 600)),
            .incarnation = topic->incarnation,
            .offset = -1,
            .sent_ns = world_now_ns(m->world)};
    return first;
}

static void value_fill(uint32_t number, uint8_t *to, uint32_t len)
{
    uint64_t state = number * 0x9e3779b97f4a7c15ULL + 1;
    for (uint32_t i = 0; i < len; i++) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        to[i] = (uint8_t)(state >> 57);
    }
}

void keyed_batch(struct model *m, uint32_t first, uint32_t count, struct batch_builder *builder)
{
    uint8_t value[3500];
    batch_builder_start(builder);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t number = first + i;
        const struct keyed_record *record = &m->keyed->records[number];
        const struct record_header header = {.key = "number",
                                             .key_len = 6,
                                             .value = (const uint8_t *)&number,
                                             .value_len = sizeof(number)};
        uint8_t key[12];
        memset(key, record->key, sizeof(key));
        value_fill(number, value, record->value_len);
        batch_builder_add(builder, (int64_t)number,
                          (struct bytes_or_null){key, (int32_t)(record->key % sizeof(key)) + 1},
                          record->tombstone ? BYTES_NULL
                                            : (struct bytes_or_null){value, record->value_len},
                          &header, 1);
    }
}

/* ---- where it is ---- */

static void place(struct model *m, uint32_t number, int64_t offset)
{
    struct keyed_record *record = &m->keyed->records[number];
    const struct topic_fact *topic = &m->topics[record->topic];
    struct keyed_line *line = line_of(m, topic, record->partition);
    if (record->offset == offset)
        return;
    if (record->offset >= 0 || offset < 0 || offset > KEYED_RECORDS_MAX) {
        wrong(m, "record %u of %s-%u is at %lld and at %lld", number, topic->name,
              record->partition, (long long)record->offset, (long long)offset);
        return;
    }
    if (offset >= line->size) {
        uint32_t size = (uint32_t)offset * 2 + 64;
        line->at = realloc(line->at, size * sizeof(line->at[0]));
        must(line->at != NULL);
        memset(line->at + line->size, 0, (size - line->size) * sizeof(line->at[0]));
        line->size = size;
    }
    if (line->at[offset] != 0)
        wrong(m, "%s-%u: record %u is at %lld, where record %u was", topic->name, record->partition,
              number, (long long)offset, line->at[offset]);
    line->at[offset] = number;
    record->offset = offset;
}

void keyed_acked(struct model *m, uint32_t first, uint32_t count, int64_t base_offset)
{
    struct keyed_record *record = &m->keyed->records[first];
    struct partition_fact *fact = &m->topics[record->topic].partition[record->partition];
    for (uint32_t i = 0; i < count; i++)
        place(m, first + i, base_offset + i);
    fact->end = max_i64(fact->end, base_offset + count);
    m->keyed->acked += count;
    m->acks++;
}

/* ---- what is missing ---- */

static bool same_line(const struct keyed_record *a, const struct keyed_record *b)
{
    return a->topic == b->topic && a->partition == b->partition && a->incarnation == b->incarnation;
}

/* May the tombstone's time be over? */
static bool is_over(const struct model *m, const struct keyed_record *record)
{
    uint64_t age_ns = world_now_ns(m->world) - record->sent_ns;
    return record->tombstone && (m->clock_jumped || age_ns >= m->keyed->retention_ns);
}

/* Is there a newer one of its key, or may there be one that nobody was told of? When all is read
 * that can only be a tombstone that came and went. */
static bool is_superseded(struct model *m, const struct keyed_record *record, bool all_read)
{
    const struct keyed_line *line = line_of(m, &m->topics[record->topic], record->partition);
    for (int64_t at = record->offset + 1; at < line->size; at++) {
        if (line->at[at] != 0 && m->keyed->records[line->at[at]].key == record->key)
            return true;
    }
    for (uint32_t i = 1; i <= m->keyed->count; i++) {
        const struct keyed_record *other = &m->keyed->records[i];
        if (other == record || other->key != record->key || !same_line(other, record) ||
            other->refused)
            continue;
        if (other->offset < 0 && (!all_read || is_over(m, other)))
            return true;
    }
    return false;
}

static void missing(struct model *m, uint32_t number, bool all_read)
{
    struct keyed_facts *facts = m->keyed;
    const struct keyed_record *record = &facts->records[number];
    uint64_t age_ns = world_now_ns(m->world) - record->sent_ns;
    const char *name = m->topics[record->topic].name;
    if (age_ns < facts->lag_ns && !m->clock_jumped)
        wrong(m, "%s-%u: record %u at %lld is gone after %llu us", name, record->partition, number,
              (long long)record->offset, (unsigned long long)age_ns / 1000);
    else if (is_superseded(m, record, all_read))
        facts->superseded++;
    else if (is_over(m, record))
        facts->tombstones_gone++;
    else
        wrong(m, "%s-%u: record %u at %lld is gone, a %s, the newest of key %u", name,
              record->partition, number, (long long)record->offset,
              record->tombstone ? "young tombstone" : "value", record->key);
}

/* ---- reading ---- */

static void record_check(struct model *m, const struct topic_fact *topic, int32_t partition,
                         struct record *read)
{
    struct record_header header = {0};
    uint32_t number = 0;
    bool told = record_header_next(read, &header) && header.value_len == sizeof(number);
    if (told)
        memcpy(&number, header.value, sizeof(number));
    if (number == 0 || number > m->keyed->count) {
        wrong(m, "%s-%d: a record that nobody sent at %lld", topic->name, partition,
              (long long)read->offset);
        return;
    }
    struct keyed_record *record = &m->keyed->records[number];
    uint8_t value[3500];
    value_fill(number, value, record->value_len);
    bool same = record->topic == model_topic_index(m, topic) && record->partition == partition &&
                record->incarnation == topic->incarnation && !record->refused &&
                read->key_len == record->key % 12 + 1 && read->key[0] == record->key &&
                (read->value == NULL) == record->tombstone &&
                (m->keyed->lag_ns > 0 || read->timestamp == (int64_t)number);
    if (same && !record->tombstone)
        same = read->value_len == record->value_len &&
               memcmp(read->value, value, record->value_len) == 0;
    if (!same)
        wrong(m, "%s-%d: record %u at %lld is not what was sent", topic->name, partition, number,
              (long long)read->offset);
    else
        place(m, number, read->offset);
    record->read_last = m->reckoning;
    m->keyed->read++;
}

/* What the line knows between these offsets was not in the answer. */
static void missing_between(struct model *m, const struct topic_fact *topic, int32_t partition,
                            int64_t from, int64_t upto)
{
    const struct keyed_line *line = line_of(m, topic, partition);
    for (int64_t at = from; at < upto && at < line->size && !m->failed; at++) {
        if (line->at[at] != 0)
            missing(m, line->at[at], false);
    }
}

/* The offset after the batch. */
static int64_t batch_check(struct model *m, const struct topic_fact *topic, int32_t partition,
                           int64_t from, struct span batch)
{
    struct record_iter iter;
    struct record record;
    int64_t next = from;
    if (!record_iter_init(&iter, &m->keyed->inflater, batch, 1 << 20)) {
        wrong(m, "%s-%d: no batch at %lld", topic->name, partition, (long long)from);
        return from;
    }
    int64_t last = batch_last_offset(&iter.header);
    if (batch_crc(batch) != iter.header.crc || last < from)
        wrong(m, "%s-%d: a damaged batch at %lld", topic->name, partition, (long long)from);
    enum record_status status;
    while ((status = record_iter_next(&iter, &record)) == RECORD_READY && !m->failed) {
        if (record.offset < from)
            continue;
        if (record.offset < next || record.offset > last)
            wrong(m, "%s-%d: offset %lld after %lld", topic->name, partition,
                  (long long)record.offset, (long long)next - 1);
        missing_between(m, topic, partition, next, record.offset);
        next = record.offset + 1;
        record_check(m, topic, partition, &record);
    }
    if (status != RECORD_END && !m->failed)
        wrong(m, "%s-%d: the batch at %lld holds no records", topic->name, partition,
              (long long)from);
    record_iter_fini(&iter);
    missing_between(m, topic, partition, next, last + 1);
    return last + 1;
}

bool keyed_begins_whole(const uint8_t *bytes, uint32_t len)
{
    struct batch_header header;
    if (len < BATCH_HEADER_SIZE)
        return false;
    batch_header_of(&header, bytes);
    return batch_size(&header) <= len;
}

int64_t keyed_read(struct model *m, struct topic_fact *topic, int32_t partition, int64_t offset,
                   const uint8_t *bytes, uint32_t len)
{
    uint32_t at = 0;
    while (!m->failed && len - at >= BATCH_HEADER_SIZE) {
        struct batch_header header;
        struct piece piece;
        batch_header_of(&header, bytes + at);
        int64_t size = batch_size(&header);
        if (size < BATCH_HEADER_SIZE || size > (1 << 20) || header.magic != BATCH_MAGIC) {
            wrong(m, "%s-%d: no batch at %lld", topic->name, partition, (long long)offset);
            break;
        }
        if (size > (int64_t)(len - at))
            break;
        if (at > 0 && header.base_offset < offset)
            wrong(m, "%s-%d: a batch at %lld after %lld", topic->name, partition,
                  (long long)header.base_offset, (long long)offset);
        offset =
            batch_check(m, topic, partition, offset, span_of(&piece, bytes + at, (uint32_t)size));
        at += (uint32_t)size;
        m->batches_read++;
    }
    if (at == 0 && len > 0)
        wrong(m, "%s-%d: no whole batch at %lld in %u bytes", topic->name, partition,
              (long long)offset, len);
    return offset;
}

void keyed_conclude(struct model *m)
{
    for (uint32_t i = 1; i <= m->keyed->count && !m->failed; i++) {
        const struct keyed_record *record = &m->keyed->records[i];
        if (keyed_is_valid(m, i) && record->offset >= 0 && !record->read_last)
            missing(m, i, true);
    }
}
