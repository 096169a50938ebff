/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine that reads. Each reader is a connection with one Fetch in flight; together they read
 * all lanes, some of them several times when there are more readers than lanes. Records are counted
 * by the headers of their batches; only stamped ones are looked at one by one.
 */
#include "core/record/record.h"
#include "io/mem.h"
#include "net/err.h"
#include "tools/millrace/bench/bench.h"

#include <string.h>

#define AGAIN_NS         (100 * NS_PER_MS)
#define ANSWER_BYTES_MAX (256U << 20)

/* ---- what came ---- */

static void take_stamped(struct bench_reader *reader, struct read_part *part, struct span batch,
                         uint64_t now_ns)
{
    struct bench *b = reader->bench;
    struct record_iter iter;
    struct record record;
    if (b->checks) {
        struct batch_header header;
        bool good = batch_header_read(&header, &batch) && header.crc == batch_crc(batch);
        b->checks->corrupt += !good;
    }
    if (!record_iter_init(&iter, &b->inflater, batch, INFLATED_BYTES_MAX))
        return;
    while (record_iter_next(&iter, &record) == RECORD_READY) {
        struct bench_stamp stamp;
        if (record.offset < part->next)
            continue; /* the batch began before what was asked for */
        if (!stamp_read(&stamp, record.value, record.value_len) || stamp.run_id != b->run_id) {
            b->foreign++;
            continue;
        }
        measure_arrived(&b->measure, stamp.due_ns, now_ns, (uint64_t)record.value_len);
        if (b->checks)
            (void)checks_seen(b->checks, (uint32_t)(part->lane - b->lanes), stamp.sequence,
                              part->lane->sequence);
    }
    record_iter_fini(&iter);
}

static void take_records(struct bench_reader *reader, struct read_part *part, struct span rest,
                         uint64_t now_ns)
{
    struct bench *b = reader->bench;
    struct batch_header header;
    while (batch_header_read(&header, &rest) && header.length > 0 &&
           batch_size(&header) <= (int64_t)rest.len) {
        struct span batch = rest;
        batch.len = (uint32_t)batch_size(&header);
        if (b->o.stamped)
            take_stamped(reader, part, batch, now_ns);
        else
            measure_read(&b->measure, now_ns, (uint64_t)max_i64(header.record_count, 0), batch.len);
        b->read_records += (uint64_t)max_i64(header.record_count, 0);
        part->next = batch_last_offset(&header) + 1;
        span_advance(&rest, batch.len);
    }
}

/* Answers have the order of requests, so that it is nearly always the next one. */
static struct read_part *part_of(struct bench_reader *reader, struct str topic, int32_t partition)
{
    for (uint32_t i = 0; i < reader->part_count; i++) {
        const uint32_t at = (reader->next_part + i) % reader->part_count;
        struct read_part *part = &reader->parts[at];
        if (part->lane->partition != partition || !str_equal(str_of(part->lane->topic), topic))
            continue;
        reader->next_part = at + 1;
        return part;
    }
    return NULL;
}

/* False when something failed that would fail again at once. */
static bool take_answer(struct bench_reader *reader, const struct fetch_response *response,
                        uint64_t now_ns)
{
    struct bench *b = reader->bench;
    bool good = response->error_code == ERR_NONE;
    if (!good)
        measure_failed(&b->measure, now_ns, response->error_code, 0);
    for (int32_t t = 0; t < response->responses_count; t++) {
        const struct fetch_response_topic *topic = &response->responses[t];
        for (int32_t i = 0; i < topic->partitions_count; i++) {
            const struct fetch_response_partition *partition = &topic->partitions[i];
            struct read_part *part = part_of(reader, topic->topic, partition->partition_index);
            if (partition->error_code != ERR_NONE || !part) {
                measure_failed(&b->measure, now_ns, partition->error_code, 0);
                good = false;
                continue;
            }
            take_records(reader, part, partition->records.span, now_ns);
        }
    }
    return good;
}

/* ---- asking ---- */

static bool at_end(const struct bench_reader *reader)
{
    for (uint32_t i = 0; i < reader->part_count; i++)
        if (reader->parts[i].next < reader->parts[i].end)
            return false;
    return true;
}

bool bench_readers_pending(struct bench *b)
{
    for (uint32_t i = 0; i < b->reader_count; i++)
        if (!at_end(&b->readers[i]))
            return true;
    return false;
}

static void on_fetched(struct client *client, struct client_call *call);

/* Parts of a topic stand together. */
static void ask(struct bench_reader *reader)
{
    struct bench *b = reader->bench;
    struct fetch_request_partition *partitions = reader->request_partitions;
    struct fetch_request request;
    init_fetch_request(&request);
    request.max_wait_ms = (int32_t)(b->o.wait_ns / NS_PER_MS);
    request.min_bytes = (int32_t)b->s->settings.fetch_min_bytes;
    request.max_bytes = (int32_t)b->o.fetch_bytes_max;
    request.session_epoch = -1; /* no session */
    request.topics = reader->request_topics;
    struct fetch_request_topic *topic = NULL;
    for (uint32_t i = 0; i < reader->part_count; i++) {
        const struct bench_lane *lane = reader->parts[i].lane;
        if (!topic || !str_equal(topic->topic, str_of(lane->topic))) {
            topic = &request.topics[request.topics_count++];
            init_fetch_request_topic(topic);
            topic->topic = str_of(lane->topic);
            topic->partitions = &partitions[i];
        }
        init_fetch_request_partition(&partitions[i]);
        partitions[i].partition = lane->partition;
        partitions[i].fetch_offset = reader->parts[i].next;
        partitions[i].partition_max_bytes = (int32_t)b->o.fetch_bytes;
        topic->partitions_count++;
    }
    int16_t version = client_version(&reader->client, KEY_FETCH, BENCH_VERSION_MAX);
    reader->call.done = on_fetched;
    reader->asked_ns = io_clock_ns(reader->client.sh->io);
    struct wr *w = client_begin(&reader->client, &reader->call, KEY_FETCH, version);
    write_fetch_request(w, version, &request);
    bool sent = client_send(&reader->client, &reader->call, session_deadline_ns(b->s));
    must(sent);
}

static void ask_on(struct bench_reader *reader)
{
    struct bench *b = reader->bench;
    reader->paused = b->reading_paused;
    if (reader->paused)
        return;
    if (reader->part_count == 0 || (!b->o.follow && at_end(reader))) {
        if (!b->o.repeat || reader->part_count == 0) {
            b->readers_over += !reader->over; /* a new connection finds it over again */
            reader->over = true;
            b->news = true;
            return;
        }
        for (uint32_t i = 0; i < reader->part_count; i++)
            reader->parts[i].next = reader->parts[i].start;
    }
    ask(reader);
}

static void on_fetched(struct client *client, struct client_call *call)
{
    struct bench_reader *reader = container_of(call, struct bench_reader, call);
    struct bench *b = reader->bench;
    struct fetch_response response;
    struct rd r;
    if (call->status != CLIENT_ANSWERED)
        return; /* on_lost follows */
    const uint64_t now_ns = io_clock_ns(client->sh->io);
    rd_init(&r, call->answer);
    if (!read_fetch_response(&r, call->arena, call->version, &response)) {
        client_close(client);
        return;
    }
    measure_fetched(&b->measure, reader->asked_ns, now_ns);
    if (b->closing)
        return;
    if (take_answer(reader, &response, now_ns))
        ask_on(reader);
    else
        timer_set(client->sh, &reader->again, session_now_ns(b->s) + AGAIN_NS);
}

/* ---- connections ---- */

static void on_ready(struct client *client)
{
    struct bench_reader *reader = container_of(client, struct bench_reader, client);
    if (client_version(client, KEY_FETCH, BENCH_VERSION_MAX) < 0) {
        client_close(client);
        return;
    }
    reader->bench->readers_ready += !reader->connected;
    reader->connected = true;
    reader->bench->news = true;
    if (reader->bench->reading)
        ask_on(reader);
}

static void on_lost(struct client *client)
{
    struct bench_reader *reader = container_of(client, struct bench_reader, client);
    struct bench *b = reader->bench;
    b->news = true;
    if (b->closing || !b->reading)
        return;
    b->measure.reconnects++;
    timer_set(client->sh, &reader->again, session_now_ns(b->s) + AGAIN_NS);
}

static void on_again(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct bench_reader *reader = container_of(timer, struct bench_reader, again);
    if (reader->client.state == CLIENT_READY)
        ask_on(reader);
    else if (reader->client.state == CLIENT_IDLE)
        client_connect(&reader->client, &reader->bench->brokers[reader->broker].address);
}

static void parts_room(struct bench_reader *reader, size_t parts, size_t topics)
{
    reader->parts = mem_zalloc(parts * sizeof(*reader->parts));
    reader->request_partitions = mem_zalloc(parts * sizeof(*reader->request_partitions));
    reader->request_topics = mem_zalloc(topics * sizeof(*reader->request_topics));
}

static void part_add(struct bench_reader *reader, struct bench_lane *lane)
{
    reader->parts[reader->part_count++] = (struct read_part){
        .lane = lane,
        .start = lane->start,
        .end = lane->end,
        .next = reader->bench->o.from_end ? lane->end : lane->start,
    };
}

/* Every count-th of its broker's lanes from the rank on. When there are fewer lanes the readers
 * beyond them read one that another reads too, or none where each record is to be seen once. */
static void parts_make(struct bench_reader *reader, uint32_t rank, uint32_t count)
{
    struct bench *b = reader->bench;
    const struct bench_broker *broker = &b->brokers[reader->broker];
    parts_room(reader, broker->lane_count + 1, (size_t)b->o.topics);
    if (broker->lane_count == 0 || (b->o.stamped && rank >= broker->lane_count))
        return;
    for (uint32_t at = rank % broker->lane_count; at < broker->lane_count; at += count)
        part_add(reader, &b->lanes[broker->lanes[at]]);
}

static void reader_init(struct bench *b, struct bench_reader *reader, uint32_t broker)
{
    const struct client_options options = {
        .client_id = str_of(b->s->settings.client_id),
        .software_name = str_of("millrace-bench"),
        .software_version = str_of(MR_VERSION),
        .answer_bytes_max = ANSWER_BYTES_MAX,
        .holds_blocks = true,
        .connect_timeout_ns = (uint64_t)b->s->settings.request_timeout_ms * NS_PER_MS,
        .on_ready = on_ready,
        .on_lost = on_lost,
    };
    client_init(&reader->client, b->s->sh, &options);
    reader->bench = b;
    reader->broker = broker;
    reader->again = (struct timer){.fn = on_again, .name = "bench.read_again"};
}

static int readers_connect(struct bench *b)
{
    for (uint32_t i = 0; i < b->reader_count; i++)
        client_connect(&b->readers[i].client, &b->brokers[b->readers[i].broker].address);
    while (b->readers_ready < b->reader_count) {
        for (uint32_t i = 0; i < b->reader_count; i++) {
            struct bench_reader *reader = &b->readers[i];
            if (reader->connected || reader->client.state != CLIENT_IDLE)
                continue;
            complain(b->s->inv, "%s, reader %u: %s", b->brokers[reader->broker].host, i,
                     reader->client.why);
            return EXIT_UNREACHABLE;
        }
        b->news = false;
        session_turn(b->s, UINT64_MAX, &b->news);
    }
    return EXIT_OK;
}

int bench_readers_open(struct bench *b, uint32_t count)
{
    inflater_init(&b->inflater);
    b->reader_count = (uint32_t)max_u64(count, b->broker_count);
    b->readers = mem_zalloc(b->reader_count * sizeof(*b->readers));
    for (uint32_t i = 0; i < b->reader_count; i++) {
        const uint32_t broker = i % b->broker_count;
        reader_init(b, &b->readers[i], broker);
        parts_make(&b->readers[i], i / b->broker_count,
                   (b->reader_count - broker + b->broker_count - 1) / b->broker_count);
    }
    return readers_connect(b);
}

/* A consumer is a reader for each broker that leads some of its partitions; it has every
 * `consumers`-th of its topic, from the rank on. */
static void consumer_make(struct bench *b, struct bench_lane *lanes, uint32_t rank)
{
    const uint32_t partitions = bench_topic_partitions(b);
    for (uint32_t broker = 0; broker < b->broker_count; broker++) {
        struct bench_reader *reader = NULL;
        for (uint32_t p = rank; p < partitions; p += (uint32_t)b->o.consumers) {
            if (lanes[p].broker != broker)
                continue;
            if (!reader) {
                reader = &b->readers[b->reader_count++];
                reader_init(b, reader, broker);
                parts_room(reader, partitions / (size_t)b->o.consumers + 1, 1);
            }
            part_add(reader, &lanes[p]);
        }
    }
    b->idle_consumers += rank >= partitions;
}

int bench_subscribers_open(struct bench *b)
{
    const size_t consumers = (size_t)(b->o.topics * b->o.subscriptions * b->o.consumers);
    inflater_init(&b->inflater);
    b->readers = mem_zalloc((consumers * b->broker_count + 1) * sizeof(*b->readers));
    for (uint32_t topic = 0; topic < (uint32_t)b->o.topics; topic++)
        for (int64_t i = 0; i < b->o.subscriptions * b->o.consumers; i++)
            consumer_make(b, bench_producer_lanes(b, topic), (uint32_t)(i % b->o.consumers));
    return readers_connect(b);
}

void bench_readers_pause(struct bench *b)
{
    b->reading_paused = true;
}

/* Those that are lost go on by themselves when they are back. */
void bench_readers_resume(struct bench *b)
{
    b->reading_paused = false;
    for (uint32_t i = 0; i < b->reader_count; i++)
        if (b->readers[i].paused && b->readers[i].client.state == CLIENT_READY)
            ask_on(&b->readers[i]);
}

void bench_readers_begin(struct bench *b)
{
    b->reading = true;
    for (uint32_t i = 0; i < b->reader_count; i++) {
        struct bench_reader *reader = &b->readers[i];
        if (reader->client.state == CLIENT_READY)
            ask_on(reader);
        else /* it was lost since it was opened */
            timer_set(b->s->sh, &reader->again, session_now_ns(b->s));
    }
}

int bench_readers_extend(struct bench *b)
{
    int code = bench_lanes_offsets(b);
    for (uint32_t i = 0; code == EXIT_OK && i < b->reader_count; i++)
        for (uint32_t k = 0; k < b->readers[i].part_count; k++)
            b->readers[i].parts[k].end = b->readers[i].parts[k].lane->end;
    return code;
}

int bench_read_run(struct bench *b)
{
    struct io *io = b->s->sh->io;
    b->epoch_ns = io_clock_ns(io);
    b->started_wall_ms = (uint64_t)io_wall_ms(io);
    const uint64_t warm_ns = b->epoch_ns + b->o.warm_ns;
    b->until_ns = b->o.duration_ns > 0 ? warm_ns + b->o.duration_ns : UINT64_MAX;
    bench_readers_begin(b);
    for (uint64_t now_ns = b->epoch_ns; now_ns < b->until_ns; now_ns = io_clock_ns(io)) {
        if (b->readers_over == b->reader_count || bench_interrupted())
            break;
        if (b->measure.began_ns == 0 && now_ns >= warm_ns)
            bench_measure_begin(b, warm_ns);
        bench_turn(b, min_u64(b->measure.began_ns == 0 ? warm_ns : UINT64_MAX, b->until_ns));
    }
    bench_measure_end(b);
    return bench_interrupted() ? EXIT_INTERRUPTED : EXIT_OK;
}

void bench_readers_close(struct bench *b)
{
    const bool never = false;
    b->closing = true;
    for (uint32_t i = 0; i < b->reader_count; i++) {
        timer_cancel(b->s->sh, &b->readers[i].again);
        client_close(&b->readers[i].client);
    }
    for (uint32_t i = 0; i < b->reader_count; i++) {
        struct bench_reader *reader = &b->readers[i];
        while (reader->client.state != CLIENT_IDLE)
            session_turn(b->s, session_now_ns(b->s) + NS_PER_MS, &never);
        client_fini(&reader->client);
        mem_free(reader->parts);
        mem_free(reader->request_partitions);
        mem_free(reader->request_topics);
    }
    if (b->readers)
        inflater_fini(&b->inflater);
    mem_free(b->readers);
    b->readers = NULL;
}
