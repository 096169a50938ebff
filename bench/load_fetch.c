/* SPDX-License-Identifier: Apache-2.0
 *
 * Fetching: connection i reads partitions i, i + connections, ... from their start to where they
 * ended when it began, once or again and again. Idle: every connection parks a fetch at the end of
 * its partitions, where nothing comes, and asks again when it times out.
 */
#include "bench/load.h"

#include "core/record/batch.h"
#include "net/kafka.h"

#include <stdlib.h>

/* The newest version that names topics and not their ids. */
#define VERSION       12
#define WAIT_MS       500
#define RESPONSE_SIZE (50 << 20) /* what Kafka's clients ask for */

struct range {
    int64_t start, end, next;
};

struct fetching {
    struct range *ranges; /* [partitions], as they were at the beginning */
    uint32_t live;        /* connections that are not at the end */
    bool idle;
};

/* What a connection's next request consists of. */
struct fetcher {
    struct fetching *fetching;
    struct arena arena;
    struct frame frame;
    struct fetch_request_partition *partitions; /* every `connections`th from the first on */
    struct range *ranges;                       /* where it is in each of them */
    int32_t partitions_count;
};

static void request_next(struct load *load, struct conn *c)
{
    struct fetcher *fetcher = c->user;
    for (int32_t i = 0; i < fetcher->partitions_count; i++)
        fetcher->partitions[i].fetch_offset = fetcher->ranges[i].next;
    struct fetch_request_topic topic = {.topic = str_of(load->options.topic),
                                        .partitions = fetcher->partitions,
                                        .partitions_count = fetcher->partitions_count};
    struct fetch_request request;
    init_fetch_request(&request);
    request.max_wait_ms = WAIT_MS;
    request.min_bytes = 1;
    request.max_bytes = RESPONSE_SIZE;
    request.session_epoch = -1; /* no session */
    request.topics = &topic;
    request.topics_count = 1;
    arena_reset(&fetcher->arena);
    frame_make(&fetcher->frame, &fetcher->arena, KEY_FETCH, VERSION, (int32_t)c->number, &request,
               (struct iovec){0});
    conn_queue(c, &fetcher->frame, now_ns());
}

/* Moves the range behind the last whole batch. */
static void take_records(struct load *load, struct range *range, struct records records)
{
    struct span rest = records.span;
    struct batch_header header;
    load->measure.bytes += rest.len;
    while (batch_header_read(&header, &rest) && header.length > 0 &&
           batch_size(&header) <= (int64_t)rest.len) {
        range->next = batch_last_offset(&header) + 1;
        load->measure.batches++;
        span_advance(&rest, (uint32_t)batch_size(&header));
    }
}

static bool at_end(const struct fetcher *fetcher)
{
    for (int32_t i = 0; i < fetcher->partitions_count; i++) {
        if (fetcher->ranges[i].next < fetcher->ranges[i].end)
            return false;
    }
    return true;
}

static void rewind_ranges(struct fetcher *fetcher)
{
    for (int32_t i = 0; i < fetcher->partitions_count; i++)
        fetcher->ranges[i].next = fetcher->ranges[i].start;
}

static void take_partition(struct load *load, struct fetcher *fetcher,
                           const struct fetch_response_partition *partition)
{
    if (partition->error_code != 0) {
        load->measure.errors++;
        load->error_code = partition->error_code;
        return;
    }
    int32_t first = fetcher->partitions[0].partition;
    int32_t at = (partition->partition_index - first) / (int32_t)load->options.connections;
    if (at < 0 || at >= fetcher->partitions_count ||
        fetcher->partitions[at].partition != partition->partition_index)
        give_up("partition %d was not asked for", partition->partition_index);
    take_records(load, &fetcher->ranges[at], partition->records);
}

static void on_answer(struct load *load, struct conn *c, const struct flight *flight,
                      struct rd *body)
{
    struct fetcher *fetcher = c->user;
    struct fetch_response response;
    if (!read_fetch_response(body, &load->answer_arena, VERSION, &response))
        give_up("a fetch answer that cannot be read");
    load->measure.requests++;
    histogram_add(&load->measure.latency, now_ns() - flight->since_ns);
    for (int32_t t = 0; t < response.responses_count; t++) {
        for (int32_t i = 0; i < response.responses[t].partitions_count; i++)
            take_partition(load, fetcher, &response.responses[t].partitions[i]);
    }
    if (!fetcher->fetching->idle && at_end(fetcher)) {
        if (!load->options.repeat) {
            fetcher->fetching->live--;
            return;
        }
        rewind_ranges(fetcher);
    }
    request_next(load, c);
}

static void fetcher_begin(struct load *load, struct conn *c, struct fetching *fetching)
{
    const struct load_options *o = &load->options;
    struct fetcher *fetcher = calloc(1, sizeof(*fetcher));
    must(fetcher != NULL);
    c->user = fetcher;
    fetcher->fetching = fetching;
    arena_init(&fetcher->arena, 1U << 24);
    fetcher->partitions = calloc(o->partitions, sizeof(*fetcher->partitions));
    fetcher->ranges = calloc(o->partitions, sizeof(*fetcher->ranges));
    must(fetcher->partitions != NULL && fetcher->ranges != NULL);
    uint32_t partition = c->number % o->partitions;
    do {
        fetcher->ranges[fetcher->partitions_count] = fetching->ranges[partition];
        struct fetch_request_partition *of = &fetcher->partitions[fetcher->partitions_count++];
        init_fetch_request_partition(of);
        of->partition = (int32_t)partition;
        of->partition_max_bytes = (int32_t)o->fetch_bytes;
        partition += o->connections;
    } while (partition < o->partitions);
    request_next(load, c);
    conn_flush(c);
}

static void ranges_find(struct load *load, struct fetching *fetching)
{
    uint32_t count = load->options.partitions;
    int socket = call_open(&load->options);
    int64_t *starts = calloc(count, sizeof(*starts));
    int64_t *ends = calloc(count, sizeof(*ends));
    fetching->ranges = calloc(count, sizeof(*fetching->ranges));
    must(starts != NULL && ends != NULL && fetching->ranges != NULL);
    int32_t error = offsets_of(load, socket, -2, starts);
    error = error != 0 ? error : offsets_of(load, socket, -1, ends);
    if (error != 0)
        give_up("topic %s: ListOffsets: Kafka error %d", load->options.topic, error);
    for (uint32_t i = 0; i < count; i++) {
        fetching->ranges[i] = (struct range){.start = starts[i], .end = ends[i]};
        fetching->ranges[i].next = fetching->idle ? ends[i] : starts[i];
    }
    free(starts);
    free(ends);
}

static void run(struct load *load, bool idle)
{
    const struct load_options *o = &load->options;
    struct fetching fetching = {.idle = idle, .live = o->connections};
    load->key = KEY_FETCH;
    load->version = VERSION;
    load->on_answer = on_answer;
    ranges_find(load, &fetching);
    conns_open(load, 1);
    uint64_t began_ns = now_ns();
    measure_begin(load);
    for (uint32_t i = 0; i < o->connections; i++)
        fetcher_begin(load, &load->conns[i], &fetching);
    uint64_t warm_ns = began_ns + (uint64_t)(o->warm_seconds * 1e9);
    bool warm = false;
    while (fetching.live > 0 && now_ns() < began_ns + (uint64_t)(o->seconds * 1e9)) {
        if (!warm && now_ns() >= warm_ns) {
            warm = true;
            measure_begin(load);
        }
        conns_turn(load, 100000000U);
    }
    measure_print(load);
    free(fetching.ranges);
}

void run_fetch(struct load *load)
{
    run(load, false);
}

void run_idle(struct load *load)
{
    run(load, true);
}
