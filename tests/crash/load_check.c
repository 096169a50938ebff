/* SPDX-License-Identifier: Apache-2.0
 *
 * The judge of crash-load: every partition is read and held against what was sent.
 */
#include "tests/crash/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- checking ---- */

struct check {
    int socket;
    struct bytes out, in, records;
    int32_t correlation_id;
    int16_t last_error;
    uint64_t batches, record_count, bytes;
};

/* The connection is gone: the check begins again. Anything else that is wrong is a failure. */
enum outcome { OUTCOME_GOOD, OUTCOME_BAD, OUTCOME_LOST_CONNECTION };

struct batch_header {
    int64_t offset;
    int32_t length;
    uint32_t crc;
    uint16_t attributes;
    int32_t last_delta;
    int64_t producer_id;
    int32_t sequence;
    int32_t count;
};

static struct batch_header take_header(struct reader *reader)
{
    struct batch_header header;
    header.offset = take64(reader);
    header.length = take32(reader);
    (void)take32(reader);
    (void)take(reader, 1);
    header.crc = (uint32_t)take32(reader);
    header.attributes = (uint16_t)take16(reader);
    header.last_delta = take32(reader);
    (void)take64(reader);
    (void)take64(reader);
    header.producer_id = take64(reader);
    (void)take16(reader);
    header.sequence = take32(reader);
    header.count = take32(reader);
    return header;
}

static uint32_t producer_of(int64_t id)
{
    uint32_t found = PRODUCERS_MAX;
    (void)pthread_mutex_lock(&load.lock);
    for (size_t i = 0; i < load.id_count; i++) {
        if (load.ids[i].id == id)
            found = load.ids[i].producer;
    }
    (void)pthread_mutex_unlock(&load.lock);
    return found;
}

/* Holds the batch that was read against the next one of its stream; NULL or what is wrong. */
static const char *match(struct partition *pa, uint32_t producer, const struct batch_header *header,
                         struct batch *found)
{
    struct stream *stream = &pa->streams[producer];
    const char *wrong = NULL;
    (void)pthread_mutex_lock(&pa->lock);
    if (stream->cursor >= stream->count) {
        wrong = "was never sent, or is there twice";
    } else {
        struct batch *batch = &stream->batches[stream->cursor];
        int64_t known = batch->acked_offset >= 0 ? batch->acked_offset : batch->seen_offset;
        if (batch->producer_id != header->producer_id || batch->first_sequence != header->sequence)
            wrong = "is out of order, there twice, or behind one that is missing";
        else if ((int32_t)batch->count != header->count || header->last_delta != header->count - 1)
            wrong = "has another number of records";
        else if (known >= 0 && known != header->offset)
            wrong = "was acknowledged or seen at another offset";
        batch->seen_offset = header->offset;
        *found = *batch;
        stream->cursor++;
        if (stream->seen < stream->cursor)
            stream->seen = stream->cursor;
    }
    (void)pthread_mutex_unlock(&pa->lock);
    return wrong;
}

static void say_bad(const struct partition *pa, const struct batch_header *header,
                    const char *wrong)
{
    failed("%s-%d: the batch at offset %lld (producer id %lld, sequence %d): %s", pa->topic,
           pa->number, (long long)header->offset, (long long)header->producer_id, header->sequence,
           wrong);
}

/* All whole batches of an answer. Moves *offset. */
static enum outcome check_batches(struct check *ck, uint32_t partition, struct reader data,
                                  int64_t *offset)
{
    struct partition *pa = load.partitions[partition];
    const int64_t first = *offset;
    while (data.end - data.at >= 61) {
        const uint8_t *begin = data.at;
        struct batch_header header = take_header(&data);
        if (header.length < 49 || header.length + 12 > data.end - begin)
            break;
        data.at = begin + 12 + header.length;
        if (header.offset + header.last_delta < first)
            continue; /* the batch that holds the offset may begin before it; ours never do */
        const char *wrong = NULL;
        uint32_t producer = producer_of(header.producer_id);
        struct batch batch = {0};
        if (header.offset != *offset)
            wrong = "does not follow the one before";
        else if (crc32c(0, begin + 21, (size_t)header.length - 9) != header.crc)
            wrong = "its CRC";
        else if (producer == PRODUCERS_MAX)
            wrong = "no producer of ours";
        else
            wrong = match(pa, producer, &header, &batch);
        if (!wrong &&
            !unpack(&ck->records, header.attributes & 7, begin + 61, (size_t)header.length - 49))
            wrong = "does not inflate";
        if (!wrong)
            wrong = check_records(&ck->records, producer, partition, &batch);
        if (wrong) {
            say_bad(pa, &header, wrong);
            return OUTCOME_BAD;
        }
        *offset = header.offset + header.count;
        ck->batches++;
        ck->record_count += (uint64_t)header.count;
        ck->bytes += (uint64_t)header.length + 12;
    }
    return OUTCOME_GOOD;
}

static enum outcome end_offset(struct check *ck, const struct partition *pa, int64_t when,
                               int64_t *offset)
{
    struct reader reader;
    begin_request(&ck->out, API_LIST_OFFSETS, 1, ++ck->correlation_id);
    put32(&ck->out, -1);
    put32(&ck->out, 1);
    put_string(&ck->out, pa->topic);
    put32(&ck->out, 1);
    put32(&ck->out, pa->number);
    put64(&ck->out, when);
    if (!call(ck->socket, &ck->out, &ck->in, &reader))
        return OUTCOME_LOST_CONNECTION;
    (void)take32(&reader);
    (void)take(&reader, (size_t)take16(&reader));
    (void)take64(&reader);
    int16_t error = take16(&reader);
    (void)take64(&reader);
    *offset = take64(&reader);
    ck->last_error = error;
    if (error != 0 && is_retriable(error))
        return OUTCOME_LOST_CONNECTION;
    if (error == 0 && !reader.bad)
        return OUTCOME_GOOD;
    failed("%s-%d: ListOffsets: error %d", pa->topic, pa->number, error);
    return OUTCOME_BAD;
}

static enum outcome fetch(struct check *ck, const struct partition *pa, int64_t offset,
                          struct reader *data)
{
    struct reader reader;
    begin_request(&ck->out, API_FETCH, 10, ++ck->correlation_id);
    put32(&ck->out, -1);
    put32(&ck->out, 500);
    put32(&ck->out, 1);
    put32(&ck->out, FETCH_BYTES);
    put8(&ck->out, (uint8_t)(ck->correlation_id & 1)); /* isolation: both must see all of it */
    put32(&ck->out, 0);                                /* no session */
    put32(&ck->out, -1);
    put32(&ck->out, 1);
    put_string(&ck->out, pa->topic);
    put32(&ck->out, 1);
    put32(&ck->out, pa->number);
    put32(&ck->out, -1); /* leader epoch */
    put64(&ck->out, offset);
    put64(&ck->out, -1); /* log start */
    put32(&ck->out, FETCH_BYTES);
    put32(&ck->out, 0); /* forgotten topics */
    if (!call(ck->socket, &ck->out, &ck->in, &reader))
        return OUTCOME_LOST_CONNECTION;
    (void)take(&reader, 14); /* throttle time, error and number of a session, topics */
    (void)take(&reader, (size_t)take16(&reader));
    (void)take64(&reader);
    int16_t error = take16(&reader);
    (void)take(&reader, 24); /* high watermark, last stable offset, log start */
    for (int32_t aborted = take32(&reader); aborted > 0 && !reader.bad; aborted--)
        (void)take(&reader, 16);
    int32_t len = take32(&reader);
    ck->last_error = error;
    if (error != 0 && is_retriable(error))
        return OUTCOME_LOST_CONNECTION;
    if (error != 0 || reader.bad || len < 0 || len > reader.end - reader.at) {
        failed("%s-%d: Fetch at offset %lld: error %d", pa->topic, pa->number, (long long)offset,
               error);
        return OUTCOME_BAD;
    }
    *data = (struct reader){.at = reader.at, .end = reader.at + len};
    return OUTCOME_GOOD;
}

/* The batches of a stream that lie before an offset. */
static size_t batches_before(const struct stream *stream, int64_t offset)
{
    size_t low = 0;
    size_t high = stream->seen;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (stream->batches[middle].seen_offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void begin_streams(struct partition *pa, int64_t offset)
{
    (void)pthread_mutex_lock(&pa->lock);
    for (uint32_t i = 0; i < load.producer_count; i++) {
        struct stream *stream = &pa->streams[i];
        stream->cursor = batches_before(stream, offset);
        stream->must_reach = stream->acked > stream->seen ? stream->acked : stream->seen;
    }
    (void)pthread_mutex_unlock(&pa->lock);
}

static enum outcome end_streams(struct partition *pa, int64_t end)
{
    for (uint32_t i = 0; i < load.producer_count; i++) {
        (void)pthread_mutex_lock(&pa->lock);
        const struct stream *stream = &pa->streams[i];
        bool lost = stream->cursor < stream->must_reach;
        struct batch batch = lost ? stream->batches[stream->cursor] : (struct batch){0};
        size_t number = stream->cursor;
        (void)pthread_mutex_unlock(&pa->lock);
        if (!lost)
            continue;
        failed("%s-%d: LOST: batch %zu of producer %u (id %lld, sequence %d, %u records, "
               "acknowledged at "
               "offset %lld, seen at %lld); the log ends at %lld",
               pa->topic, pa->number, number, i, (long long)batch.producer_id, batch.first_sequence,
               batch.count, (long long)batch.acked_offset, (long long)batch.seen_offset,
               (long long)end);
        return OUTCOME_BAD;
    }
    return OUTCOME_GOOD;
}

static enum outcome check_partition(struct check *ck, uint32_t partition, bool all)
{
    struct partition *pa = load.partitions[partition];
    int64_t offset = all ? 0 : pa->next_offset;
    begin_streams(pa, offset);
    int64_t start;
    int64_t end;
    enum outcome outcome = end_offset(ck, pa, -2, &start);
    if (outcome == OUTCOME_GOOD && start != 0) {
        failed("%s-%d: the log begins at %lld", pa->topic, pa->number, (long long)start);
        return OUTCOME_BAD;
    }
    if (outcome == OUTCOME_GOOD)
        outcome = end_offset(ck, pa, -1, &end);
    while (outcome == OUTCOME_GOOD && offset < end) {
        struct reader data;
        int64_t before = offset;
        outcome = fetch(ck, pa, offset, &data);
        if (outcome == OUTCOME_GOOD)
            outcome = check_batches(ck, partition, data, &offset);
        if (outcome == OUTCOME_GOOD && offset == before) {
            failed("%s-%d: Fetch at %lld gives no batch, the log ends at %lld", pa->topic,
                   pa->number, (long long)offset, (long long)end);
            return OUTCOME_BAD;
        }
    }
    if (outcome == OUTCOME_GOOD)
        outcome = end_streams(pa, end);
    if (outcome == OUTCOME_GOOD) {
        pa->next_offset = pa->checked_offset;
        pa->checked_offset = offset;
    }
    return outcome;
}

static enum outcome check_once(struct check *ck, bool all)
{
    ck->socket = connect_to(load.port);
    if (ck->socket < 0)
        return OUTCOME_LOST_CONNECTION;
    enum outcome outcome = OUTCOME_GOOD;
    for (uint32_t i = 0; i < atomic_load(&load.partition_count) && outcome == OUTCOME_GOOD; i++)
        outcome = check_partition(ck, i, all);
    close(ck->socket);
    return outcome;
}

void check(bool all)
{
    struct check ck = {0};
    const uint64_t deadline_ns = now_ns() + 60ULL * 1000000000U;
    enum outcome outcome = OUTCOME_LOST_CONNECTION;
    while (outcome == OUTCOME_LOST_CONNECTION && !has_failed()) {
        if (now_ns() > deadline_ns)
            failed("the broker cannot be read from for 60 s, last error %d", ck.last_error);
        else if ((outcome = check_once(&ck, all)) == OUTCOME_LOST_CONNECTION)
            pause_ms(20);
    }
    free(ck.out.data);
    free(ck.in.data);
    free(ck.records.data);
    if (has_failed())
        return;
    printf("ok read_batches=%llu read_records=%llu read_bytes=%llu acked_batches=%llu "
           "acked_records=%llu "
           "resent_requests=%llu repeats=%llu connections=%llu\n",
           (unsigned long long)ck.batches, (unsigned long long)ck.record_count,
           (unsigned long long)ck.bytes, (unsigned long long)atomic_load(&load.acked_batches),
           (unsigned long long)atomic_load(&load.acked_records),
           (unsigned long long)atomic_load(&load.resent),
           (unsigned long long)atomic_load(&load.repeats),
           (unsigned long long)atomic_load(&load.reconnects));
}
