/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/model.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "io/crc.h"
#include "net/err.h"
#include "tests/sim/keyed.h"
#include "tests/sim/promises.h"

void wrong(struct model *m, const char *format, ...)
{
    if (m->failed)
        return;
    m->failed = true;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(m->why, sizeof(m->why), format, arguments);
    va_end(arguments);
    world_note(m->world, "WRONG: %s", m->why);
}

bool model_excuses(const struct model *m, uint32_t life, int16_t error)
{
    uint64_t bit = 1ULL << (life & 63);
    if ((m->stops & bit) && error == ERR_NOT_LEADER_OR_FOLLOWER)
        return true;
    /* The last directory's failure, too, can be asked about before the broker stops. */
    return (m->fails & bit) &&
           (error == ERR_KAFKA_STORAGE_ERROR || error == ERR_LEADER_NOT_AVAILABLE ||
            error == ERR_NOT_LEADER_OR_FOLLOWER || error == ERR_NOT_CONTROLLER ||
            error == ERR_COORDINATOR_LOAD_IN_PROGRESS);
}

void model_init(struct model *m, struct world *world, struct node *node)
{
    *m = (struct model){.world = world, .node = node, .rng = rng_split(world_rng(world))};
    m->forgets = node->retention_bytes >= 0;
    inflater_init(&m->inflater);
    m->large_one_in = rng_one_in(&m->rng, 8) ? 6 : 40;
    m->attempts = calloc(ATTEMPTS_MAX, sizeof(*m->attempts));
    must(m->attempts != NULL);
    for (uint32_t i = 0; i < TOPICS_MAX; i++) {
        struct topic_fact *topic = &m->topics[i];
        (void)snprintf(topic->name, sizeof(topic->name), "topic-%u", i);
    }
}

void model_rewrites(struct model *m)
{
    m->rewrites = true;
    for (uint32_t i = 0; i < TOPICS_MAX; i++) {
        m->topics[i].append_time = i % 2 == 1;
        m->topics[i].zstd = i % 4 >= 2;
    }
}

static void partitions_clear(struct topic_fact *topic)
{
    for (uint32_t i = 0; i < PARTITIONS_MAX; i++) {
        free(topic->partition[i].tags);
        topic->partition[i] = (struct partition_fact){0};
    }
}

void model_fini(struct model *m)
{
    for (uint32_t i = 0; i < TOPICS_MAX; i++)
        partitions_clear(&m->topics[i]);
    inflater_fini(&m->inflater);
    free(m->attempts);
}

/* ---- topics ---- */

static void attempts_forget(struct model *m, uint8_t topic)
{
    for (uint64_t tag = 1; tag <= m->count; tag++) {
        if (m->attempts[tag].topic == topic)
            m->attempts[tag].forgotten = true;
    }
}

void topic_state_set(struct model *m, struct topic_fact *topic, enum topic_state state)
{
    if (state == topic->state)
        return;
    for (uint32_t i = 0; i < PARTITIONS_MAX && state == TOPIC_ASKED && m->forgets; i++)
        topic->partition[i].start_asked = INT64_MAX;
    if (state == TOPIC_GOING)
        attempts_forget(m, model_topic_index(m, topic));
    if (state == TOPIC_FREE) {
        partitions_clear(topic);
        topic->partitions = 0;
        topic->partitions_max = 0;
        topic->life = m->life;
        topic->incarnation++;
        topic->id = (struct uuid){0};
        topic->mode = topic->mode_asked = topic->mode_first;
        memset(topic->mode_ns, 0, sizeof(topic->mode_ns));
    }
    topic->state = state;
    topic->since_ns = world_now_ns(m->world);
    world_note(m->world, "%s is %s", topic->name,
               (const char *[]){"free", "asked for", "there", "going"}[state]);
}

struct topic_fact *model_topic(struct model *m, struct rng *rng)
{
    uint64_t from = rng_below(rng, TOPICS_MAX);
    for (uint64_t i = 0; i < TOPICS_MAX; i++) {
        struct topic_fact *topic = &m->topics[(from + i) % TOPICS_MAX];
        if (topic->state == TOPIC_THERE)
            return topic;
    }
    return NULL;
}

uint8_t model_topic_index(const struct model *m, const struct topic_fact *topic)
{
    return (uint8_t)(topic - m->topics);
}

struct topic_fact *model_topic_find(struct model *m, struct str name, const struct uuid *id)
{
    for (uint32_t i = 0; i < TOPICS_MAX; i++) {
        struct topic_fact *topic = &m->topics[i];
        if (name.len > 0 ? str_equal(name, str_of(topic->name))
                         : memcmp(&topic->id, id, sizeof(*id)) == 0 && !uuid_is_zero(id))
            return topic;
    }
    return NULL;
}

static void topic_seen(struct model *m, struct topic_fact *topic,
                       const struct metadata_response_topic *seen, uint64_t asked_ns)
{
    bool before = topic->since_ns < asked_ns;
    if (topic->state == TOPIC_FREE && before)
        wrong(m, "%s was deleted and is back", topic->name);
    if (topic->state != TOPIC_THERE || !before)
        return;
    if (memcmp(&topic->id, &seen->topic_id, sizeof(topic->id)) != 0)
        wrong(m, "%s has another id", topic->name);
    if (seen->partitions_count < topic->partitions ||
        seen->partitions_count > topic->partitions_max)
        wrong(m, "%s has %d partitions, not %d", topic->name, seen->partitions_count,
              topic->partitions);
    for (int32_t i = 0; i < seen->partitions_count; i++) {
        int16_t error = seen->partitions[i].error_code;
        if (error != ERR_NONE && !model_excuses(m, m->answer_life, error))
            wrong(m, "%s-%d: Metadata says %s", topic->name, i, err_name(error));
        if (m->modes && seen->partitions[i].partition_index < topic->partitions)
            promises_epoch_seen(m, topic, seen->partitions[i].partition_index,
                                seen->partitions[i].leader_epoch, asked_ns);
    }
}

void model_topics_seen(struct model *m, const struct metadata_response *response, uint64_t asked_ns)
{
    bool found[TOPICS_MAX] = {false};
    for (int32_t i = 0; i < response->topics_count; i++) {
        const struct metadata_response_topic *seen = &response->topics[i];
        struct topic_fact *topic = model_topic_find(m, seen->name, &seen->topic_id);
        if (!topic && seen->is_internal)
            continue;
        if (!topic) {
            wrong(m, "Metadata knows %.*s", seen->name.len, seen->name.data);
            return;
        }
        found[topic - m->topics] = true;
        topic_seen(m, topic, seen, asked_ns);
    }
    for (uint32_t i = 0; i < TOPICS_MAX; i++) {
        const struct topic_fact *topic = &m->topics[i];
        if (topic->state == TOPIC_THERE && topic->since_ns < asked_ns && !found[i])
            wrong(m, "%s was confirmed and is not there", topic->name);
    }
}

/* ---- batches ---- */

static uint32_t size_draw(const struct model *m, struct rng *rng)
{
    if (rng_one_in(rng, m->large_one_in))
        return (uint32_t)rng_between(rng, 6000, 40000);
    if (rng_one_in(rng, 6))
        return (uint32_t)rng_between(rng, 600, 6000);
    return (uint32_t)rng_between(rng, 1, 600);
}

static void value_fill(struct rng *rng, uint8_t *to, uint32_t len)
{
    for (uint32_t at = 0; at < len; at += 8) {
        uint64_t word = rng_next(rng);
        memcpy(to + at, &word, min_u64(8, len - at));
    }
}

/* No zstd: old versions of Produce may not carry it. */
static enum codec codec_draw(struct rng *rng)
{
    static const enum codec codecs[] = {CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4};
    return rng_one_in(rng, 5) ? codecs[rng_below(rng, array_count(codecs))] : CODEC_NONE;
}

/* Of the records of a batch, whatever they are compressed by; 0: they cannot be inflated. */
static uint32_t plain_crc(struct model *m, struct span batch)
{
    struct batch_header header;
    uint32_t crc = 0;
    if (!batch_header_read(&header, &batch))
        return 0;
    span_advance(&batch, BATCH_HEADER_SIZE);
    inflater_start(&m->inflater, (enum codec)batch_codec(&header), batch, 1 << 20);
    for (;;) {
        const uint8_t *data;
        uint32_t len;
        enum inflate_status status = inflater_next(&m->inflater, &data, &len);
        if (status != INFLATE_SLICE)
            return status == INFLATE_END ? crc : 0;
        crc = crc32c(crc, data, len);
    }
}

/* Is it as its topic wants it, and otherwise what was sent? */
static bool is_rewritten_right(struct model *m, const struct topic_fact *topic,
                               const struct attempt *attempt, const struct batch_header *header,
                               const uint8_t *bytes)
{
    struct piece piece;
    uint32_t size = (uint32_t)batch_size(header);
    bool append_time = (header->attributes & BATCH_LOG_APPEND_TIME) != 0;
    if (append_time != topic->append_time || (topic->zstd && batch_codec(header) != CODEC_ZSTD))
        return false;
    if (!append_time && header->max_timestamp != header->base_timestamp)
        return false;
    return (topic->zstd || size == attempt->size) &&
           plain_crc(m, span_of(&piece, bytes, size)) == attempt->plain_crc;
}

size_t model_batch(struct model *m, uint64_t tag, struct batch_builder *builder,
                   struct deflater *deflater, const uint8_t **bytes)
{
    struct attempt *attempt = &m->attempts[tag];
    struct rng rng = {.state = tag * 7919};
    uint8_t value[40000];
    uint32_t size = size_draw(m, &rng);
    uint32_t count = (uint32_t)rng_between(&rng, 1, 3);
    enum codec codec = codec_draw(&rng);
    batch_builder_start(builder);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len = size / count;
        value_fill(&rng, value, len);
        batch_builder_add(builder, (int64_t)tag, BYTES_NULL,
                          (struct bytes_or_null){.data = value, .len = (int32_t)len}, NULL, 0);
    }
    builder->header.producer_id = attempt->producer_id;
    builder->header.producer_epoch = attempt->idempotent ? 0 : -1;
    builder->header.base_sequence = attempt->sequence;
    size_t whole = batch_builder_finish(builder, deflater, codec, 1, bytes);
    struct batch_header header;
    batch_header_of(&header, *bytes);
    attempt->size = (uint32_t)whole;
    attempt->crc = header.crc;
    attempt->count = (int32_t)count;
    struct piece piece;
    attempt->plain_crc = plain_crc(m, span_of(&piece, *bytes, (uint32_t)whole));
    return whole;
}

uint64_t model_attempt(struct model *m, struct rng *rng)
{
    struct topic_fact *topic = model_topic(m, rng);
    if (!topic || m->count + 1 >= ATTEMPTS_MAX)
        return 0;
    uint64_t tag = ++m->count;
    m->attempts[tag] =
        (struct attempt){.topic = model_topic_index(m, topic),
                         .partition = (uint8_t)rng_below(rng, (uint64_t)topic->partitions),
                         .producer_id = -1,
                         .sequence = -1,
                         .offset = -1};
    return tag;
}

/* Who is where: from acknowledgements and from reading. */
static void place(struct model *m, uint64_t tag, int64_t offset)
{
    struct attempt *attempt = &m->attempts[tag];
    struct topic_fact *topic = &m->topics[attempt->topic];
    struct partition_fact *partition = &topic->partition[attempt->partition];
    if (attempt->offset == offset)
        return;
    if (attempt->offset >= 0) {
        wrong(m, "batch %llu of %s-%u is at %lld and at %lld", (unsigned long long)tag, topic->name,
              attempt->partition, (long long)attempt->offset, (long long)offset);
        return;
    }
    if (offset < 0 || offset > ATTEMPTS_MAX * 4) {
        wrong(m, "batch %llu of %s-%u at offset %lld", (unsigned long long)tag, topic->name,
              attempt->partition, (long long)offset);
        return;
    }
    if (offset >= partition->tags_size) {
        uint32_t size = (uint32_t)max_u64((uint64_t)offset + 1, partition->tags_size * 2ULL + 64);
        partition->tags = realloc(partition->tags, size * sizeof(uint64_t));
        must(partition->tags != NULL);
        memset(partition->tags + partition->tags_size, 0,
               (size - partition->tags_size) * sizeof(uint64_t));
        partition->tags_size = size;
    }
    if (partition->tags[offset] != 0)
        wrong(m, "%s-%u: batch %llu is at %lld, where batch %llu was", topic->name,
              attempt->partition, (unsigned long long)tag, (long long)offset,
              (unsigned long long)partition->tags[offset]);
    partition->tags[offset] = tag;
    attempt->offset = offset;
    attempt->known_ns = world_now_ns(m->world);
}

void model_acked(struct model *m, uint64_t tag, int64_t base_offset)
{
    struct attempt *attempt = &m->attempts[tag];
    struct partition_fact *partition = &m->topics[attempt->topic].partition[attempt->partition];
    if (attempt->forgotten || promises_is_stale(m, partition))
        return;
    attempt->acked = true;
    m->acks++;
    place(m, tag, base_offset);
    partition->end = max_i64(partition->end, base_offset + attempt->count);
    if (m->modes)
        promises_acked(m, attempt);
}

static void batch_read(struct model *m, struct topic_fact *topic, int32_t partition,
                       const struct batch_header *header, const uint8_t *bytes)
{
    uint64_t tag = (uint64_t)header->base_timestamp;
    long long offset = header->base_offset;
    if (tag == 0 || tag > m->count || m->attempts[tag].topic != model_topic_index(m, topic) ||
        m->attempts[tag].partition != partition || m->attempts[tag].forgotten) {
        wrong(m, "%s-%d: a batch that nobody sent at %lld", topic->name, partition, offset);
        return;
    }
    const struct attempt *attempt = &m->attempts[tag];
    uint32_t size = (uint32_t)batch_size(header);
    bool rewritten = topic->append_time || topic->zstd;
    if (rewritten ? !is_rewritten_right(m, topic, attempt, header, bytes)
                  : size != attempt->size || header->crc != attempt->crc)
        wrong(m, "%s-%d: batch %llu at %lld is not what its topic makes of it", topic->name,
              partition, (unsigned long long)tag, offset);
    if (header->last_offset_delta != attempt->count - 1 ||
        crc32c(0, bytes + BATCH_CRC_FROM, size - BATCH_CRC_FROM) != header->crc)
        wrong(m, "%s-%d: batch %llu at %lld has other bytes", topic->name, partition,
              (unsigned long long)tag, offset);
    place(m, tag, offset);
    m->batches_read++;
}

int64_t model_read(struct model *m, struct topic_fact *topic, int32_t partition, int64_t offset,
                   const uint8_t *bytes, uint32_t len)
{
    uint32_t at = 0;
    if (promises_is_stale(m, &topic->partition[partition]))
        return offset;
    promises_served(m, &topic->partition[partition]);
    while (!m->failed && len - at >= BATCH_HEADER_SIZE) {
        struct batch_header header;
        batch_header_of(&header, bytes + at);
        int64_t size = batch_size(&header);
        if (size < BATCH_HEADER_SIZE || size > (1 << 20) || header.magic != BATCH_MAGIC) {
            wrong(m, "%s-%d: no batch at %lld", topic->name, partition, (long long)offset);
            break;
        }
        if (size > (int64_t)(len - at))
            break;
        bool here = at == 0 ? header.base_offset <= offset && batch_last_offset(&header) >= offset
                            : header.base_offset == offset;
        if (!here)
            wrong(m, "%s-%d: a batch at %lld where %lld was expected", topic->name, partition,
                  (long long)header.base_offset, (long long)offset);
        batch_read(m, topic, partition, &header, bytes + at);
        offset = batch_last_offset(&header) + 1;
        at += (uint32_t)size;
    }
    if (at == 0 && len > 0)
        wrong(m, "%s-%d: no whole batch at %lld in %u bytes", topic->name, partition,
              (long long)offset, len);
    return offset;
}

void model_end(struct model *m, struct topic_fact *topic, int32_t partition, int64_t end,
               int64_t at_least)
{
    struct partition_fact *fact = &topic->partition[partition];
    if (promises_is_stale(m, fact))
        return;
    if (end < at_least)
        wrong(m, "%s-%d ends at %lld, and ended at %lld", topic->name, partition, (long long)end,
              (long long)at_least);
    fact->end = max_i64(fact->end, end);
}

void model_start(struct model *m, struct topic_fact *topic, int32_t partition, int64_t start,
                 int64_t at_least)
{
    struct partition_fact *fact = &topic->partition[partition];
    if (promises_is_stale(m, fact))
        return;
    if (start < at_least)
        wrong(m, "%s-%d begins at %lld, and began at %lld", topic->name, partition,
              (long long)start, (long long)at_least);
    if (start > fact->start_asked)
        wrong(m, "%s-%d begins at %lld, and nobody wanted it behind %lld", topic->name, partition,
              (long long)start, (long long)fact->start_asked);
    fact->start = max_i64(fact->start, start);
    fact->end = max_i64(fact->end, start);
}

/* ---- the end ---- */

struct producer_line {
    uint64_t tag;
    uint32_t connection;
    int64_t producer_id;
    int32_t next_sequence;
};

/* Batches of one producer lie in the order of sending; of an idempotent one without a gap, but
 * where its first ones are gone: trimmed, or lost with all that was known of it. Others promise
 * order on one connection only. */
static void line_check(struct model *m, struct producer_line *line, uint64_t tag, bool lossy,
                       const char *where)
{
    const struct attempt *attempt = &m->attempts[tag];
    bool same = attempt->idempotent ? attempt->producer_id == line->producer_id
                                    : attempt->connection == line->connection;
    if (line->tag != 0 && same && tag < line->tag)
        wrong(m, "%s: batch %llu lies after batch %llu of its producer", where,
              (unsigned long long)tag, (unsigned long long)line->tag);
    bool cut = (line->tag == 0 && line->next_sequence < 0) || (lossy && (line->tag == 0 || !same));
    if (attempt->idempotent && !cut && attempt->sequence != (same ? line->next_sequence : 0))
        wrong(m, "%s: batch %llu with sequence %d, after %d of its producer", where,
              (unsigned long long)tag, attempt->sequence, same ? line->next_sequence : 0);
    *line = (struct producer_line){.tag = tag,
                                   .connection = attempt->connection,
                                   .producer_id = attempt->producer_id,
                                   .next_sequence = attempt->sequence + attempt->count};
}

/* The log may begin inside a batch. */
static int64_t first_offset(const struct model *m, const struct partition_fact *fact)
{
    for (int64_t offset = min_i64(fact->start, (int64_t)fact->tags_size - 1); offset >= 0;
         offset--) {
        if (fact->tags[offset] != 0)
            return offset + m->attempts[fact->tags[offset]].count > fact->start ? offset
                                                                                : fact->start;
    }
    return fact->start;
}

static void partition_conclude(struct model *m, const struct topic_fact *topic, uint32_t partition)
{
    struct producer_line lines[PRODUCERS_MAX] = {0};
    const struct partition_fact *fact = &topic->partition[partition];
    char where[32];
    (void)snprintf(where, sizeof(where), "%s-%u", topic->name, partition);
    for (uint32_t i = 0; i < PRODUCERS_MAX && fact->start > 0; i++)
        lines[i].next_sequence = -1;
    for (int64_t offset = first_offset(m, fact); offset < fact->end && !m->failed;) {
        uint64_t tag = offset < fact->tags_size ? fact->tags[offset] : 0;
        if (tag == 0) {
            wrong(m, "%s: nothing was read at %lld", where, (long long)offset);
            return;
        }
        line_check(m, &lines[m->attempts[tag].producer], tag, fact->losses > 0, where);
        offset += m->attempts[tag].count;
    }
}

void model_conclude(struct model *m)
{
    if (m->keyed) {
        keyed_conclude(m);
        return;
    }
    for (uint32_t i = 0; i < TOPICS_MAX; i++) {
        const struct topic_fact *topic = &m->topics[i];
        for (uint32_t p = 0; topic->state == TOPIC_THERE && p < (uint32_t)topic->partitions; p++)
            partition_conclude(m, topic, p);
    }
}
