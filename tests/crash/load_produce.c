/* SPDX-License-Identifier: Apache-2.0
 *
 * The producers of crash-load: one thread and one connection each, any number of brokers' lives.
 */
#include "tests/crash/load.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- producing ---- */

bool is_retriable(int16_t error)
{
    static const int16_t errors[] = {3, 5, 6, 7, 13, 14, 15, 16, 19, 20, 56};
    for (size_t i = 0; i < array_count(errors); i++) {
        if (errors[i] == error)
            return true;
    }
    return false;
}

static void hang_up(struct producer *pr)
{
    if (pr->socket >= 0)
        close(pr->socket);
    pr->socket = -1;
}

/* An id that was handed out twice would let one producer pass for the other. */
static void know_id(struct producer *pr)
{
    (void)pthread_mutex_lock(&load.lock);
    bool twice = false;
    for (size_t i = 0; i < load.id_count; i++)
        twice |= load.ids[i].id == pr->id;
    load.ids = grown(load.ids, (load.id_count + 1) * sizeof(load.ids[0]));
    load.ids[load.id_count].id = pr->id;
    load.ids[load.id_count++].producer = pr->number;
    (void)pthread_mutex_unlock(&load.lock);
    if (twice)
        failed("producer id %lld was handed out twice", (long long)pr->id);
}

static bool get_id(struct producer *pr)
{
    struct reader reader;
    begin_request(&pr->out, API_INIT_PRODUCER_ID, 0, ++pr->correlation_id);
    put16(&pr->out, -1);
    put32(&pr->out, 60000);
    if (!call(pr->socket, &pr->out, &pr->in, &reader))
        return false;
    (void)take32(&reader);
    if (take16(&reader) != 0)
        return false;
    pr->id = take64(&reader);
    pr->epoch = take16(&reader);
    know_id(pr);
    return true;
}

/* Appends a batch to a stream. A producer that has a new id begins its sequences again. */
static size_t batch_new(struct producer *pr, uint32_t partition)
{
    struct partition *pa = load.partitions[partition];
    struct stream *stream = &pa->streams[pr->number];
    (void)pthread_mutex_lock(&pa->lock);
    if (stream->count == stream->room) {
        stream->room = stream->room ? stream->room * 2 : 64;
        stream->batches = grown(stream->batches, stream->room * sizeof(stream->batches[0]));
    }
    if (stream->producer_id != pr->id)
        stream->next_sequence = 0;
    stream->producer_id = pr->id;
    size_t number = stream->count++;
    uint32_t count = batch_count(pr->number, partition, number);
    stream->batches[number] = (struct batch){
        .producer_id = pr->id,
        .timestamp_ms = wall_ms(),
        .acked_offset = -1,
        .seen_offset = -1,
        .first_record = stream->next_record,
        .first_sequence = stream->next_sequence,
        .count = count,
    };
    stream->next_sequence += (int32_t)count;
    stream->next_record += count;
    (void)pthread_mutex_unlock(&pa->lock);
    return number;
}

static bool send_produce(struct producer *pr, struct request *request)
{
    struct bytes *out = &pr->out;
    request->correlation_id = ++pr->correlation_id;
    begin_request(out, API_PRODUCE, 7, request->correlation_id);
    put16(out, -1);
    put16(out, random_below(&pr->random, 4) ? -1 : 1);
    put32(out, 30000);
    size_t count_at = out->len;
    size_t count = 0;
    put32(out, 0);
    for (uint32_t i = 0; i < request->item_count; i++) {
        const struct item *item = &request->items[i];
        if (item->done)
            continue;
        count++;
        put_string(out, load.partitions[item->partition]->topic);
        put32(out, 1);
        put32(out, load.partitions[item->partition]->number);
        size_t at = out->len;
        put32(out, 0);
        put_batch(pr, item->partition, item->batch);
        set32(out, at, out->len - at - 4);
    }
    set32(out, count_at, count);
    pr->sent_bytes += out->len;
    return send_request(pr->socket, out);
}

static bool in_request(const struct request *request, uint32_t partition)
{
    for (uint32_t i = 0; i < request->item_count; i++) {
        if (request->items[i].partition == partition)
            return true;
    }
    return false;
}

/* Sometimes the last acknowledged batch of a stream again, as long as it is among the five that a
 * broker remembers and still of this id. */
static bool repeat_of(struct producer *pr, uint32_t partition, size_t *number)
{
    struct partition *pa = load.partitions[partition];
    struct stream *stream = &pa->streams[pr->number];
    (void)pthread_mutex_lock(&pa->lock);
    bool possible = stream->acked > 0 && pr->of_stream[partition] < BATCH_IN_FLIGHT - 1 &&
                    stream->batches[stream->acked - 1].producer_id == pr->id;
    *number = stream->acked - 1;
    (void)pthread_mutex_unlock(&pa->lock);
    return possible && random_below(&pr->random, 24) == 0;
}

static void request_new(struct producer *pr, struct request *request)
{
    *request = (struct request){0};
    uint32_t partition_count = atomic_load(&load.partition_count);
    uint32_t wanted = 1 + random_below(&pr->random, ITEMS_MAX);
    for (uint32_t tries = 0; tries < 2 * ITEMS_MAX && request->item_count < wanted; tries++) {
        uint32_t partition = random_below(&pr->random, partition_count);
        if (pr->of_stream[partition] >= BATCH_IN_FLIGHT || in_request(request, partition))
            continue;
        struct item *item = &request->items[request->item_count++];
        item->partition = partition;
        item->repeat = repeat_of(pr, partition, &item->batch);
        if (!item->repeat)
            item->batch = batch_new(pr, partition);
        pr->of_stream[partition]++;
    }
}

static void on_ack(struct producer *pr, struct item *item, int64_t offset)
{
    struct partition *pa = load.partitions[item->partition];
    struct stream *stream = &pa->streams[pr->number];
    (void)pthread_mutex_lock(&pa->lock);
    struct batch *batch = &stream->batches[item->batch];
    int64_t known = batch->acked_offset >= 0 ? batch->acked_offset : batch->seen_offset;
    bool first = batch->acked_offset < 0;
    batch->acked_offset = offset;
    if (first && item->batch != stream->acked)
        failed("%s-%d: producer %u: batch %zu was acknowledged before batch %zu", pa->topic,
               pa->number, pr->number, item->batch, stream->acked);
    if (first)
        stream->acked = item->batch + 1;
    uint32_t count = batch->count;
    (void)pthread_mutex_unlock(&pa->lock);
    if (known >= 0 && known != offset)
        failed("%s-%d: producer %u: batch %zu at offset %lld is acknowledged at offset %lld",
               pa->topic, pa->number, pr->number, item->batch, (long long)known, (long long)offset);
    item->done = true;
    pr->of_stream[item->partition]--;
    if (first) {
        atomic_fetch_add(&load.acked_batches, 1);
        atomic_fetch_add(&load.acked_records, count);
    } else {
        atomic_fetch_add(&load.repeats, 1);
    }
}

/* The answers of one request; false: the connection is to be given up. */
static bool on_answer(struct producer *pr, struct reader *reader)
{
    struct request *request = &pr->in_flight[0];
    bool good = true;
    int32_t topics = take32(reader);
    uint32_t at = 0;
    for (int32_t i = 0; i < topics && !reader->bad; i++) {
        (void)take(reader, (size_t)take16(reader));
        int32_t answers = take32(reader);
        (void)take32(reader);
        int16_t error = take16(reader);
        int64_t offset = take64(reader);
        (void)take(reader, 16); /* append time, log start */
        while (at < request->item_count && request->items[at].done)
            at++;
        if (reader->bad || answers != 1 || at == request->item_count) {
            failed("an answer to Produce that does not fit its request");
            return false;
        }
        struct item *item = &request->items[at++];
        const struct partition *pa = load.partitions[item->partition];
        if (error == 0)
            on_ack(pr, item, offset);
        else if (!is_retriable(error))
            failed("%s-%d: producer %u: batch %zu%s: error %d", pa->topic, pa->number, pr->number,
                   item->batch, item->repeat ? " (again)" : "", error);
        good &= error == 0;
    }
    return good;
}

static bool receive_one(struct producer *pr)
{
    struct reader reader;
    int32_t correlation_id;
    if (!receive_answer(pr->socket, &pr->in, &reader, &correlation_id))
        return false;
    if (correlation_id != pr->in_flight[0].correlation_id) {
        failed("producer %u: the answer to request %d came where that to %d was due", pr->number,
               correlation_id, pr->in_flight[0].correlation_id);
        return false;
    }
    if (!on_answer(pr, &reader))
        return false;
    pr->in_flight_count--;
    memmove(pr->in_flight, pr->in_flight + 1, pr->in_flight_count * sizeof(pr->in_flight[0]));
    return true;
}

/* What was in flight goes out again in its order. A repeat would no longer be among the last five.
 */
static bool resend(struct producer *pr)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < pr->in_flight_count; i++) {
        struct request request = pr->in_flight[i];
        uint32_t open = 0;
        for (uint32_t j = 0; j < request.item_count; j++) {
            struct item *item = &request.items[j];
            if (item->repeat && !item->done) {
                item->done = true;
                pr->of_stream[item->partition]--;
            }
            open += !item->done;
        }
        if (open > 0)
            pr->in_flight[kept++] = request;
    }
    pr->in_flight_count = kept;
    for (uint32_t i = 0; i < kept; i++) {
        atomic_fetch_add(&load.resent, 1);
        if (!send_produce(pr, &pr->in_flight[i]))
            return false;
    }
    return true;
}

static bool connected(struct producer *pr)
{
    if (pr->socket >= 0)
        return true;
    pr->socket = connect_to(load.port);
    if (pr->socket < 0)
        return false;
    atomic_fetch_add(&load.reconnects, 1);
    pr->began_ns = now_ns();
    pr->sent_bytes = 0;
    return (pr->id >= 0 || get_id(pr)) && resend(pr);
}

static bool may_send(const struct producer *pr)
{
    uint64_t share = load.rate_bytes_per_s / load.producer_count;
    return atomic_load(&load.writing) && pr->in_flight_count < REQUESTS_IN_FLIGHT &&
           atomic_load(&load.partition_count) > 0 &&
           pr->sent_bytes < (now_ns() - pr->began_ns) / 1000000 * share / 1000;
}

/* One step of a producer; false: hang up and try again. */
static bool produce_some(struct producer *pr)
{
    if (!connected(pr))
        return false;
    while (may_send(pr)) {
        if (pr->in_flight_count == 0 && random_below(&pr->random, 4000) == 0 && !get_id(pr))
            return false;
        struct request *request = &pr->in_flight[pr->in_flight_count];
        request_new(pr, request);
        if (request->item_count == 0)
            break;
        pr->in_flight_count++;
        if (!send_produce(pr, request))
            return false;
    }
    if (pr->in_flight_count == 0) {
        pause_ms(2);
        return true;
    }
    if (random_below(&pr->random, 5000) == 0)
        return false; /* not every lost connection is a dead broker */
    struct pollfd wait = {.fd = pr->socket, .events = POLLIN};
    int ready = poll(&wait, 1, pr->in_flight_count < REQUESTS_IN_FLIGHT ? 5 : 1000);
    return ready <= 0 || receive_one(pr);
}

void *producer_main(void *arg)
{
    struct producer *pr = arg;
    while (!atomic_load(&load.ended) && !has_failed()) {
        if (!produce_some(pr)) {
            hang_up(pr);
            pause_ms(5);
        }
    }
    hang_up(pr);
    return NULL;
}
