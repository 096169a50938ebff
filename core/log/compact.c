/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/compact.h"

#include <string.h>

#include "io/mem.h"

void compactor_init(struct compactor *cp)
{
    *cp = (struct compactor){0};
    inflater_init(&cp->inflater);
    deflater_init(&cp->deflater);
    batch_builder_init(&cp->builder);
}

void compactor_fini(struct compactor *cp)
{
    inflater_fini(&cp->inflater);
    deflater_fini(&cp->deflater);
    batch_builder_fini(&cp->builder);
    key_map_fini(&cp->map);
    mem_free(cp->kept);
    *cp = (struct compactor){0};
}

static bool is_marker(const struct batch_header *header)
{
    return (header->attributes & BATCH_CONTROL) != 0;
}

enum compact_verdict compact_note(struct compactor *cp, const uint8_t *bytes, uint32_t len,
                                  int64_t from_offset)
{
    struct batch_header header;
    struct record_iter iter;
    struct record record;
    struct piece piece;
    batch_header_of(&header, bytes);
    if (is_marker(&header) || aborted_has(&cp->rules.aborted, &header))
        return COMPACT_KEEP;
    if (header.record_count < 0)
        return COMPACT_BROKEN;
    if ((uint64_t)header.record_count > key_map_room(&cp->map))
        return COMPACT_FULL;
    if (!record_iter_init(&iter, &cp->inflater, span_of(&piece, bytes, len),
                          cp->rules.inflated_bytes_max))
        return COMPACT_BROKEN;
    enum record_status status;
    while ((status = record_iter_next(&iter, &record)) == RECORD_READY) {
        if (record.key != NULL && record.offset >= from_offset)
            key_map_put(&cp->map, record.key, (uint32_t)record.key_len, record.offset);
    }
    record_iter_fini(&iter);
    return status == RECORD_END ? COMPACT_KEEP : COMPACT_BROKEN;
}

/* ---- what is kept ---- */

static bool tombstone_is_over(const struct compactor *cp, const struct batch_header *header)
{
    if (cp->rules.mistake_tombstone_early)
        return true;
    return (header->attributes & BATCH_DELETE_HORIZON) != 0 &&
           header->base_timestamp <= cp->rules.now_ms;
}

static bool is_kept(const struct compactor *cp, const struct batch_header *header,
                    const struct record *record)
{
    if (record->offset >= cp->known_upto)
        return true;
    if (record->key == NULL)
        return false;
    int64_t newest = key_map_get(&cp->map, record->key, (uint32_t)record->key_len);
    if (cp->rules.mistake_drops_newest && record->offset == newest &&
        newest % 7 == 0) /* now and then, as a mistake would be */
        return false;
    if (record->offset < newest)
        return false;
    return record->value != NULL || !tombstone_is_over(cp, header);
}

static bool is_last_of_producer(const struct compactor *cp, const struct batch_header *header)
{
    uint32_t low = 0;
    uint32_t high = cp->rules.producer_count;
    if (header->producer_id < 0)
        return false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (cp->rules.producers[middle].id < header->producer_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < cp->rules.producer_count && cp->rules.producers[low].id == header->producer_id &&
           cp->rules.producers[low].last_offset == batch_last_offset(header);
}

/* What a walk over the records has found. */
struct survey {
    uint32_t count;
    uint32_t kept;
    bool tombstones; /* among the kept, below known_upto */
};

static enum record_status survey_records(struct compactor *cp, const struct batch_header *header,
                                         struct span batch, struct survey *survey)
{
    struct record_iter iter;
    struct record record;
    *survey = (struct survey){0};
    uint32_t size = (uint32_t)header->record_count / 8 + 1;
    if (size > cp->kept_size) {
        cp->kept = mem_realloc(cp->kept, size);
        cp->kept_size = size;
    }
    memset(cp->kept, 0, size);
    bool aborted = aborted_has(&cp->rules.aborted, header);
    if (!record_iter_init(&iter, &cp->inflater, batch, cp->rules.inflated_bytes_max))
        return RECORD_BROKEN;
    enum record_status status;
    while ((status = record_iter_next(&iter, &record)) == RECORD_READY) {
        uint32_t at = survey->count++;
        if (aborted || !is_kept(cp, header, &record))
            continue;
        cp->kept[at / 8] |= (uint8_t)(1U << at % 8);
        survey->kept++;
        survey->tombstones =
            survey->tombstones || (record.value == NULL && record.offset < cp->known_upto);
    }
    record_iter_fini(&iter);
    return status;
}

/* ---- the new form ---- */

static void begin_like(struct compactor *cp, const struct batch_header *header)
{
    struct batch_builder *builder = &cp->builder;
    batch_builder_start(builder);
    builder->header.base_offset = header->base_offset;
    builder->header.leader_epoch = header->leader_epoch;
    builder->header.producer_id = header->producer_id;
    builder->header.producer_epoch = header->producer_epoch;
    builder->header.base_sequence = header->base_sequence;
    builder->header.attributes = header->attributes & (BATCH_LOG_APPEND_TIME | BATCH_TRANSACTIONAL);
}

static enum compact_verdict finish_like(struct compactor *cp, const struct batch_header *header,
                                        enum codec codec, const uint8_t **out, uint32_t *out_len)
{
    cp->builder.header.last_offset_delta = header->last_offset_delta;
    *out_len = (uint32_t)batch_builder_finish(&cp->builder, &cp->deflater, codec,
                                              CODEC_LEVEL_DEFAULT, out);
    return COMPACT_CHANGED;
}

/* Without records there is nothing to compress, and no time of a tombstone to remember. */
static enum compact_verdict make_empty(struct compactor *cp, const struct batch_header *header,
                                       const uint8_t **out, uint32_t *out_len)
{
    if (header->record_count == 0)
        return COMPACT_KEEP;
    begin_like(cp, header);
    cp->builder.header.base_timestamp = BATCH_NO_TIMESTAMP;
    cp->builder.header.max_timestamp = header->max_timestamp;
    return finish_like(cp, header, CODEC_NONE, out, out_len);
}

/* The records whose bits are set. A tombstone among them has a time from now on. */
static enum compact_verdict make_less(struct compactor *cp, const struct batch_header *header,
                                      struct span batch, bool times_begin, const uint8_t **out,
                                      uint32_t *out_len)
{
    struct record_iter iter;
    struct record record;
    uint32_t at = 0;
    begin_like(cp, header);
    if (times_begin || (header->attributes & BATCH_DELETE_HORIZON) != 0) {
        cp->builder.header.attributes |= BATCH_DELETE_HORIZON;
        cp->builder.header.base_timestamp = header->base_timestamp;
        cp->builder.base_timestamp_set = true;
    }
    if (times_begin)
        cp->builder.header.base_timestamp = cp->rules.horizon_ms;
    must(record_iter_init(&iter, &cp->inflater, batch, cp->rules.inflated_bytes_max));
    while (record_iter_next(&iter, &record) == RECORD_READY) {
        if (cp->kept[at / 8] & (1U << at % 8)) {
            cp->builder.next_delta = (int32_t)(record.offset - header->base_offset);
            batch_builder_add_record(&cp->builder, &record);
        }
        at++;
    }
    record_iter_fini(&iter);
    return finish_like(cp, header, (enum codec)batch_codec(header), out, out_len);
}

enum compact_verdict compact_batch(struct compactor *cp, const uint8_t *bytes, uint32_t len,
                                   const uint8_t **out, uint32_t *out_len)
{
    struct batch_header header;
    struct piece piece;
    struct survey survey;
    struct span batch = span_of(&piece, bytes, len);
    batch_header_of(&header, bytes);
    if (header.record_count < 0)
        return COMPACT_BROKEN;
    if (is_marker(&header)) {
        cp->records_read += (uint32_t)header.record_count;
        cp->records_kept += (uint32_t)header.record_count;
        return COMPACT_KEEP;
    }
    if (survey_records(cp, &header, batch, &survey) != RECORD_END)
        return COMPACT_BROKEN;
    cp->records_read += survey.count;
    cp->records_kept += survey.kept;
    if (survey.kept == 0 && is_last_of_producer(cp, &header))
        return make_empty(cp, &header, out, out_len);
    if (survey.kept == 0 && batch_last_offset(&header) >= cp->known_upto)
        return COMPACT_KEEP; /* an empty one, behind what was looked at */
    if (survey.kept == 0)
        return COMPACT_GONE;
    bool times_begin = survey.tombstones && (header.attributes & BATCH_DELETE_HORIZON) == 0;
    if (survey.kept == survey.count && !times_begin)
        return COMPACT_KEEP;
    return make_less(cp, &header, batch, times_begin, out, out_len);
}
