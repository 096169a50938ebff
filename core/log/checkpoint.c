/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/checkpoint.h"

#include "io/mem.h"

#define CHECKPOINT_RELAXED       1U
#define CHECKPOINT_MAY_HAVE_LOST 2U
#define CHECKPOINT_HAS_ABORTED   4U

size_t checkpoint_encoded_size(const struct checkpoint_entry *entry)
{
    return 128 + LOG_TOPIC_MAX + 8U + SWAP_ENCODED_BYTES + 12U * (size_t)entry->open_count +
           epoch_encoded_size(entry->epochs) + producer_encoded_size(entry->producers);
}

static void put_place(struct bytes_out *out, struct log_place place)
{
    put_i64(out, place.segment_base);
    put_u32(out, place.position);
}

void swap_record_encode(const struct swap_record *swap, struct bytes_out *out)
{
    put_u32(out, swap->tag);
    put_u32(out, swap->new_size);
    put_i64(out, swap->clean_upto);
    put_i64(out, swap->end_offset);
    put_u32(out, swap->count);
    for (uint32_t i = 0; i < swap->count; i++)
        put_i64(out, swap->bases[i]);
}

bool swap_record_decode(struct swap_record *swap, struct bytes_in *in)
{
    *swap = (struct swap_record){0};
    swap->tag = take_u32(in);
    swap->new_size = take_u32(in);
    swap->clean_upto = take_i64(in);
    swap->end_offset = take_i64(in);
    swap->count = take_u32(in);
    if (in->overrun || swap->count > SWAP_SEGMENTS_MAX || swap->new_size > INT32_MAX)
        return false;
    int64_t least = 0;
    bool good = true;
    for (uint32_t i = 0; i < swap->count; i++) {
        swap->bases[i] = take_i64(in);
        good = good && swap->bases[i] >= least;
        least = max_i64(least, min_i64(swap->bases[i], INT64_MAX - 1)) + 1;
    }
    return good && !in->overrun && (swap->count == 0 || swap->end_offset >= least);
}

static struct log_place take_place(struct bytes_in *in)
{
    struct log_place place;
    place.segment_base = take_i64(in);
    place.position = take_u32(in);
    return place;
}

void checkpoint_encode(const struct checkpoint_entry *entry, struct bytes_out *out)
{
    put_bytes(out, entry->id.topic_id, 16);
    put_i32(out, entry->id.partition);
    put_u32(out, entry->incarnation);
    put_u64(out, entry->change);
    put_u8(out, entry->deleted ? 1 : 0);
    uint8_t topic_len = (uint8_t)strlen(entry->topic);
    put_u8(out, topic_len);
    put_bytes(out, entry->topic, topic_len);
    put_i64(out, entry->start_offset);
    put_i64(out, entry->end_offset);
    put_place(out, entry->end);
    put_place(out, entry->flushed);
    put_u32(out, entry->sealed_count);
    put_u64(out, entry->sealed_bytes);
    put_u32(out, entry->open_count);
    for (uint32_t i = 0; i < entry->open_count; i++)
        put_place(out, entry->open[i]);
    struct epoch_history known = *entry->epochs;
    while (known.count > 0 && known.entries[known.count - 1].start_offset >= entry->end_offset)
        known.count--;
    epoch_encode(&known, out);
    producer_encode(entry->producers, entry->end_offset, out);
    put_u32(out, entry->anchor);
    put_i64(out, entry->clean_upto);
    swap_record_encode(&entry->swap, out);
    put_u8(out, (uint8_t)((entry->relaxed ? CHECKPOINT_RELAXED : 0) |
                          (entry->may_have_lost ? CHECKPOINT_MAY_HAVE_LOST : 0) |
                          (entry->has_aborted ? CHECKPOINT_HAS_ABORTED : 0)));
}

void checkpoint_payloads_add(struct checkpoint_payloads *batches,
                             const struct checkpoint_entry *entry)
{
    size_t need = checkpoint_encoded_size(entry) + 4;
    uint32_t count = batches->count;
    if (count == 0 || batches->room - batches->payloads[count - 1].length < need) {
        batches->payloads =
            mem_realloc(batches->payloads, (count + 1) * sizeof(batches->payloads[0]));
        batches->room = max_u64(need, CHECKPOINT_BATCH_MAX);
        batches->payloads[batches->count++] =
            (struct record_payload){.data = mem_alloc(batches->room)};
    }
    struct record_payload *last = &batches->payloads[batches->count - 1];
    uint8_t *at = (uint8_t *)no_const(last->data) + last->length;
    struct bytes_out out = bytes_out_of(at + 4, need - 4);
    checkpoint_encode(entry, &out);
    must(!out.overrun);
    uint32_t length = (uint32_t)(out.at - at);
    out = bytes_out_of(at, 4);
    put_u32(&out, length - 4);
    last->length += length;
}

void checkpoint_payloads_fini(struct checkpoint_payloads *batches)
{
    for (uint32_t i = 0; i < batches->count; i++)
        mem_free(no_const(batches->payloads[i].data));
    mem_free(batches->payloads);
}

static bool checkpoint_decode_open(struct checkpoint_entry *entry, struct bytes_in *in)
{
    entry->open = NULL;
    if (in->overrun || entry->open_count > CHECKPOINT_OPEN_MAX)
        return false;
    if (entry->open_count > 0)
        entry->open = mem_zalloc(entry->open_count * sizeof(entry->open[0]));
    int64_t least = 0;
    bool good = true;
    for (uint32_t i = 0; i < entry->open_count; i++) {
        entry->open[i] = take_place(in);
        good = good && entry->open[i].segment_base >= least;
        least = max_i64(least, min_i64(entry->open[i].segment_base, INT64_MAX - 1)) + 1;
    }
    return good && !in->overrun && entry->end.segment_base >= least;
}

/* No log comes near them; what counts on from there would wrap. */
#define CHANGE_MAX (UINT64_MAX / 2)
#define OFFSET_MAX (INT64_MAX - INT32_MAX) /* as batches have it: core/record/batch_scan.c */

/* Segments before the last one, each once and in order. */
static bool open_in_order(const struct checkpoint_entry *entry)
{
    int64_t before = -1;
    for (uint32_t i = 0; i < entry->open_count; i++) {
        if (entry->open[i].segment_base <= before)
            return false;
        before = entry->open[i].segment_base;
    }
    return before < entry->end.segment_base;
}

bool checkpoint_decode(struct checkpoint_entry *entry, struct bytes_in *in)
{
    take_into(in, entry->id.topic_id, 16);
    entry->id.partition = take_i32(in);
    entry->incarnation = take_u32(in);
    entry->change = take_u64(in);
    entry->deleted = (take_u8(in) & 1) != 0;
    uint8_t topic_len = take_u8(in);
    memset(entry->topic, 0, sizeof(entry->topic));
    if (topic_len <= LOG_TOPIC_MAX)
        take_into(in, entry->topic, topic_len);
    entry->start_offset = take_i64(in);
    entry->end_offset = take_i64(in);
    entry->end = take_place(in);
    entry->flushed = take_place(in);
    entry->sealed_count = take_u32(in);
    entry->sealed_bytes = take_u64(in);
    entry->open_count = take_u32(in);
    bool good = checkpoint_decode_open(entry, in) && topic_len > 0 && topic_len <= LOG_TOPIC_MAX &&
                memchr(entry->topic, '/', topic_len) == NULL && strlen(entry->topic) == topic_len &&
                entry->id.partition >= 0 && entry->change <= CHANGE_MAX &&
                entry->start_offset >= 0 && entry->end_offset <= OFFSET_MAX &&
                entry->end_offset >= entry->start_offset && entry->end.position <= INT32_MAX &&
                entry->flushed.position <= INT32_MAX && entry->end.segment_base >= 0 &&
                entry->end.segment_base <= entry->end_offset &&
                entry->flushed.segment_base >= entry->end.segment_base && open_in_order(entry);
    good = epoch_decode(entry->epochs, in) && producer_decode(entry->producers, in) && good;
    /* Entries of the first versions end here. */
    entry->anchor = in->at < in->end ? take_u32(in) : LOG_NO_ANCHOR;
    entry->clean_upto = 0;
    entry->swap = (struct swap_record){0};
    if (in->at < in->end) { /* nor did the next ones know of compaction */
        entry->clean_upto = take_i64(in);
        good = swap_record_decode(&entry->swap, in) && good;
    }
    uint8_t promise = in->at < in->end ? take_u8(in) : 0; /* in the first ones all was durable */
    entry->relaxed = (promise & CHECKPOINT_RELAXED) != 0;
    entry->may_have_lost = (promise & CHECKPOINT_MAY_HAVE_LOST) != 0;
    entry->has_aborted = (promise & CHECKPOINT_HAS_ABORTED) != 0;
    return good && !in->overrun;
}
