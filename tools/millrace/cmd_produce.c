/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace produce`: lines in, record batches out.
 *
 * A lane is one partition: a batch that fills, and at most one that is under way. One at a time
 * keeps order when something has to be sent again, and lets an idempotent producer send it with the
 * same sequence numbers. A batch leaves when it is full, has lingered, or the input has ended;
 * while a lane has both, the input is not read on, and so nothing grows without bound.
 */
#include "core/record/batch_builder.h"
#include "io/mem.h"
#include "net/err.h"
#include "tools/millrace/cluster.h"
#include "tools/millrace/partitioner.h"
#include "tools/millrace/produce_input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define HEADERS_MAX        INPUT_HEADERS_MAX
#define CREATE_PATIENCE_MS 5000U /* a topic that is being created */
#define TELL_AFTER_MS      2000U /* before that a retry is nobody's business */

struct producer;

struct lane {
    struct producer *producer;
    int32_t partition;
    int32_t leader;
    struct batch_builder filling;
    int32_t filling_count;
    uint64_t filling_since_ns;

    /* the batch under way */
    struct batch_builder sent;
    const uint8_t *bytes; /* NULL: none */
    size_t len;
    int32_t count;
    int64_t timestamp; /* of its first record, for what is printed */
    bool in_flight;
    uint64_t first_try_ns;
    uint64_t try_at_ns;
    bool told; /* that it is being tried again */
    struct client_call call;
    int32_t sequence; /* of the next new batch */
};

struct producer {
    struct session *s;
    const char *topic;
    struct uuid topic_id;
    struct metadata_response metadata;
    struct lane *lanes;
    int32_t lane_count;
    int32_t sticky; /* where records without a key go now */
    struct input input;
    struct deflater deflater;
    enum codec codec;
    int16_t acks;
    int64_t producer_id; /* -1: not idempotent */
    int16_t producer_epoch;
    const char *key;
    int64_t partition; /* -1: not said */
    struct record_header headers[HEADERS_MAX];
    int32_t header_count;
    struct input_record record; /* cut, waiting for room in its lane */
    bool has_record;
    bool drained; /* the input has no more records */
    bool news;
    bool stale; /* where the leaders are has to be asked again */
    struct listing *listing;
    struct tally tally; /* of records */
    uint64_t printed;
};

/* ---- what came of it ---- */

static const struct column columns[] = {
    {.key = "topic", .title = "TOPIC"},
    {.key = "partition", .title = "PARTITION"},
    {.key = "offset", .title = "OFFSET"},
};

static void print_produced(struct producer *p, const struct lane *lane, int64_t base_offset)
{
    p->printed += (uint64_t)lane->count;
    if (p->s->inv->quiet)
        return;
    for (int32_t i = 0; i < lane->count; i++) {
        if (p->listing)
            listing_row(p->listing,
                        json_pack("{s:s, s:i, s:o}", "topic", p->topic, "partition",
                                  lane->partition, "offset",
                                  base_offset < 0 ? json_null() : json_integer(base_offset + i)));
        else if (base_offset >= 0)
            printf("Produced to partition %d at offset %lld\n", lane->partition,
                   (long long)base_offset + i);
        else
            printf("Sent to partition %d\n", lane->partition);
    }
}

static void batch_over(struct lane *lane, int code)
{
    for (int32_t i = 0; i < lane->count; i++)
        tally_add(&lane->producer->tally, code);
    lane->bytes = NULL;
}

/* Again, later, unless it has been tried for too long. */
static void batch_again(struct lane *lane, int16_t error, struct str why)
{
    struct producer *p = lane->producer;
    struct session *s = p->s;
    uint64_t now_ns = session_now_ns(s);
    uint64_t patience_ns = 2 * (uint64_t)s->settings.request_timeout_ms * NS_PER_MS;
    p->stale = true;
    lane->try_at_ns = now_ns + (uint64_t)s->settings.retry_backoff_ms * NS_PER_MS;
    if (why.len <= 0)
        why = str_of(err_sentence(error));
    bool long_since = now_ns - lane->first_try_ns > TELL_AFTER_MS * NS_PER_MS;
    if (s->inv->verbose || (long_since && !lane->told)) {
        note(s->inv, "partition %d: %.*s%s%s%s; trying again", lane->partition, why.len, why.data,
             error ? " (" : "", error ? err_name(error) : "", error ? ")" : "");
        lane->told = long_since;
    }
    if (now_ns - lane->first_try_ns < patience_ns)
        return;
    complain(s->inv, "topic '%s', partition %d: %d records were not acknowledged: %.*s", p->topic,
             lane->partition, lane->count, why.len, why.data);
    batch_over(lane, EXIT_UNREACHABLE);
}

static void batch_failed(struct lane *lane, int16_t error, struct str text)
{
    struct producer *p = lane->producer;
    char thing[400];
    (void)snprintf(thing, sizeof(thing), "topic '%s', partition %d, %d records", p->topic,
                   lane->partition, lane->count);
    int code = broker_error(p->s, thing, error, text);
    if (error == ERR_MESSAGE_TOO_LARGE && lane->count > 1)
        fprintf(stderr, "next:  -X batch.size=BYTES makes smaller batches\n");
    if (p->producer_id >= 0)
        lane->sequence -= lane->count; /* the broker has not seen them */
    batch_over(lane, code);
}

static void take_answer(struct lane *lane, struct client_call *call)
{
    struct produce_response response;
    struct rd r;
    rd_init(&r, call->answer);
    if (!read_produce_response(&r, call->arena, call->version, &response) ||
        response.responses_count != 1 || response.responses[0].partition_responses_count != 1) {
        batch_failed(lane, ERR_UNKNOWN_SERVER_ERROR, str_of("the answer cannot be read"));
        return;
    }
    const struct produce_response_partition *partition =
        &response.responses[0].partition_responses[0];
    int16_t error = partition->error_code;
    struct str text = partition->error_message;
    if (text.len <= 0 && partition->record_errors_count > 0)
        text = partition->record_errors[0].batch_index_error_message;
    if (error == ERR_NONE || error == ERR_DUPLICATE_SEQUENCE_NUMBER) {
        print_produced(lane->producer, lane, error ? -1 : partition->base_offset);
        batch_over(lane, EXIT_OK);
    } else if (err_retriable(error) && error != ERR_CORRUPT_MESSAGE) {
        batch_again(lane, error, text);
    } else {
        batch_failed(lane, error, text);
    }
}

static void on_produced(struct client *c, struct client_call *call)
{
    struct lane *lane = container_of(call, struct lane, call);
    lane->in_flight = false;
    lane->producer->news = true;
    if (call->status == CLIENT_ANSWERED && lane->producer->acks == 0) {
        print_produced(lane->producer, lane, -1);
        batch_over(lane, EXIT_OK);
    } else if (call->status == CLIENT_ANSWERED) {
        take_answer(lane, call);
    } else {
        batch_again(lane, 0, str_of(c->why));
    }
}

/* ---- sending ---- */

/* The filled batch becomes the one under way. */
static void batch_close(struct lane *lane)
{
    struct producer *p = lane->producer;
    struct batch_builder filled = lane->filling;
    lane->filling = lane->sent;
    lane->sent = filled;
    lane->count = lane->filling_count;
    lane->filling_count = 0;
    struct batch_header *header = &lane->sent.header;
    if (p->producer_id >= 0) {
        header->producer_id = p->producer_id;
        header->producer_epoch = p->producer_epoch;
        header->base_sequence = lane->sequence;
        lane->sequence = (int32_t)(((uint32_t)lane->sequence + (uint32_t)lane->count) & INT32_MAX);
    }
    lane->len = batch_builder_finish(&lane->sent, &p->deflater, p->codec,
                                     (int)p->s->settings.compression_level, &lane->bytes);
    lane->first_try_ns = session_now_ns(p->s);
    lane->told = false;
    lane->try_at_ns = 0;
    batch_builder_start(&lane->filling);
    if (p->sticky == lane->partition)
        p->sticky = (p->sticky + 1) % p->lane_count;
}

static void batch_send(struct lane *lane)
{
    struct producer *p = lane->producer;
    struct session *s = p->s;
    s->hush = true;
    struct broker_link *link =
        lane->leader < 0 ? NULL : cluster_broker(s, &p->metadata, lane->leader);
    s->hush = false;
    if (!link) {
        batch_again(lane, ERR_LEADER_NOT_AVAILABLE, str_null());
        return;
    }
    struct produce_request_partition partition = {
        .index = lane->partition,
        .records = records_ref((uint32_t)lane->len, (uintptr_t)lane->bytes),
    };
    struct produce_request_topic topic = {
        .name = str_of(p->topic),
        .topic_id = p->topic_id,
        .partition_data = &partition,
        .partition_data_count = 1,
    };
    struct produce_request request = {
        .transactional_id = str_null(),
        .acks = p->acks,
        .timeout_ms = (int32_t)s->settings.request_timeout_ms,
        .topic_data = &topic,
        .topic_data_count = 1,
    };
    int16_t newest = uuid_is_zero(&p->topic_id) ? 12 : CLIENT_NEWEST;
    int16_t version = client_version(&link->client, KEY_PRODUCE, newest);
    if (version < 0) {
        batch_failed(lane, ERR_UNSUPPORTED_VERSION, str_null());
        return;
    }
    lane->call.done = on_produced;
    struct wr *w = client_begin(&link->client, &lane->call, KEY_PRODUCE, version);
    write_produce_request(w, version, &request);
    uint64_t deadline_ns = session_deadline_ns(s);
    lane->in_flight = true;
    bool sent = p->acks == 0 ? client_send_silent(&link->client, &lane->call, deadline_ns)
                             : client_send(&link->client, &lane->call, deadline_ns);
    must(sent); /* the records are by reference, the rest is small */
}

static bool is_full(const struct lane *lane)
{
    return (int64_t)batch_builder_size(&lane->filling) >= lane->producer->s->settings.batch_size;
}

/* Sends what is due; when the next will be. */
static uint64_t send_due(struct producer *p)
{
    uint64_t now_ns = session_now_ns(p->s);
    uint64_t linger_ns = (uint64_t)p->s->settings.linger_ms * NS_PER_MS;
    uint64_t next_ns = UINT64_MAX;
    for (int32_t i = 0; i < p->lane_count; i++) {
        struct lane *lane = &p->lanes[i];
        if (lane->in_flight)
            continue;
        if (!lane->bytes && lane->filling_count > 0) {
            uint64_t due_ns = lane->filling_since_ns + linger_ns;
            if (p->drained || is_full(lane) || due_ns <= now_ns)
                batch_close(lane);
            else
                next_ns = min_u64(next_ns, due_ns);
        }
        if (lane->bytes && lane->try_at_ns <= now_ns)
            batch_send(lane);
        if (lane->bytes && !lane->in_flight)
            next_ns = min_u64(next_ns, lane->try_at_ns);
    }
    return next_ns;
}

static bool all_sent(const struct producer *p)
{
    for (int32_t i = 0; i < p->lane_count; i++)
        if (p->lanes[i].bytes || p->lanes[i].filling_count > 0)
            return false;
    return true;
}

/* ---- filling ---- */

static struct lane *lane_of(struct producer *p, const struct input_record *record)
{
    int64_t partition = record->partition >= 0 ? record->partition : p->partition;
    if (partition < 0 && record->key.len >= 0)
        partition = partition_of_key(record->key.data, (size_t)record->key.len, p->lane_count);
    if (partition < 0)
        partition = p->sticky;
    return partition < p->lane_count ? &p->lanes[partition] : NULL;
}

static void lane_add(struct producer *p, struct lane *lane, struct input_record *record)
{
    if (lane->filling_count++ == 0)
        lane->filling_since_ns = session_now_ns(p->s);
    int64_t timestamp =
        record->timestamp != BATCH_NO_TIMESTAMP ? record->timestamp : io_wall_ms(p->s->sh->io);
    for (int32_t i = 0; i < p->header_count && record->header_count < (int32_t)HEADERS_MAX; i++)
        record->headers[record->header_count++] = p->headers[i];
    batch_builder_add(&lane->filling, timestamp, record->key, record->value, record->headers,
                      record->header_count);
}

/* Cuts records until one has no room or there are no more; false after bad input. */
static bool fill(struct producer *p)
{
    for (;;) {
        enum input_status status = p->has_record ? INPUT_RECORD : input_next(&p->input, &p->record);
        if (status == INPUT_MORE)
            input_read(&p->input, p->s->sh->io);
        if (status == INPUT_BAD)
            complain(p->s->inv, "%s", p->input.problem);
        p->drained = status == INPUT_END;
        if (status != INPUT_RECORD)
            return status != INPUT_BAD;
        if (p->key && p->record.key.len < 0)
            p->record.key = (struct bytes_or_null){.data = p->key, .len = (int32_t)strlen(p->key)};
        struct lane *lane = lane_of(p, &p->record);
        if (!lane) {
            complain(p->s->inv, "topic '%s' has no partition %lld, only 0 to %d", p->topic,
                     (long long)(p->record.partition >= 0 ? p->record.partition : p->partition),
                     p->lane_count - 1);
            return false;
        }
        p->has_record = is_full(lane);
        if (p->has_record) {
            if (lane->bytes)
                return true; /* until the one under way is acknowledged */
            batch_close(lane);
            continue;
        }
        lane_add(p, lane, &p->record);
    }
}

/* ---- beginning ---- */

static bool is_settling(int16_t error)
{
    return error == ERR_UNKNOWN_TOPIC_OR_PARTITION || error == ERR_LEADER_NOT_AVAILABLE;
}

/* The topic's partitions and leaders; it may be created by being asked for. */
static int find_topic(struct producer *p)
{
    struct session *s = p->s;
    uint64_t until_ns = session_now_ns(s) + CREATE_PATIENCE_MS * NS_PER_MS;
    const struct metadata_response_topic *topic;
    for (;;) {
        int code = cluster_metadata(s, &p->topic, 1, true, &p->metadata);
        if (code != EXIT_OK)
            return code;
        topic = p->metadata.topics_count == 1 ? &p->metadata.topics[0] : NULL;
        if (topic && topic->error_code == ERR_NONE && topic->partitions_count > 0)
            break;
        int16_t error = ERR_UNKNOWN_SERVER_ERROR;
        if (topic)
            error = topic->error_code;
        bool settling = is_settling(error) && session_now_ns(s) < until_ns;
        if (!settling && s->hush)
            return EXIT_UNREACHABLE;
        if (!settling && error == ERR_UNKNOWN_TOPIC_OR_PARTITION)
            return topic_not_found(s, p->topic);
        if (!settling)
            return broker_error(s, p->topic, error, str_null());
        session_pause(s, (uint64_t)s->settings.retry_backoff_ms * NS_PER_MS);
    }
    p->topic_id = topic->topic_id;
    if (!p->lanes) {
        p->lane_count = topic->partitions_count;
        p->lanes = mem_zalloc((size_t)p->lane_count * sizeof(*p->lanes));
        for (int32_t i = 0; i < p->lane_count; i++) {
            p->lanes[i].producer = p;
            p->lanes[i].partition = i;
            p->lanes[i].leader = -1;
            batch_builder_init(&p->lanes[i].filling);
            batch_builder_init(&p->lanes[i].sent);
            batch_builder_start(&p->lanes[i].filling);
        }
    }
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        const struct metadata_response_partition *partition = &topic->partitions[i];
        if (partition->partition_index >= 0 && partition->partition_index < p->lane_count)
            p->lanes[partition->partition_index].leader = partition->leader_id;
    }
    return EXIT_OK;
}

static int take_producer_id(struct producer *p)
{
    struct session *s = p->s;
    struct init_producer_id_request request;
    struct init_producer_id_response response;
    uint64_t until_ns = session_deadline_ns(s);
    init_init_producer_id_request(&request);
    request.transactional_id = str_null();
    request.transaction_timeout_ms = INT32_MAX;
    request.producer_id = -1;
    request.producer_epoch = -1;
    for (;;) {
        int code = session_call(s, NULL, KEY_INIT_PRODUCER_ID, CLIENT_NEWEST, &request, &response,
                                &s->arena);
        if (code != EXIT_OK)
            return code;
        if (response.error_code == ERR_NONE)
            break;
        if (!err_retriable(response.error_code) || session_now_ns(s) >= until_ns)
            return broker_error(s, "a producer id", response.error_code, str_null());
        session_pause(s, (uint64_t)s->settings.retry_backoff_ms * NS_PER_MS);
    }
    p->producer_id = response.producer_id;
    p->producer_epoch = response.producer_epoch;
    return EXIT_OK;
}

static int read_headers(struct producer *p)
{
    const char *text;
    for (uint32_t cursor = 0; (text = option_next(p->s->inv, "header", &cursor));) {
        const char *equals = strchr(text, '=');
        if (!equals || equals == text)
            return usage_error(p->s->inv, "--header %s: KEY=VALUE is wanted", text);
        if (p->header_count == (int32_t)HEADERS_MAX)
            return usage_error(p->s->inv, "more than %u headers", HEADERS_MAX);
        p->headers[p->header_count++] = (struct record_header){
            .key = text,
            .key_len = (int32_t)(equals - text),
            .value = (const uint8_t *)equals + 1,
            .value_len = (int32_t)strlen(equals + 1),
        };
    }
    return EXIT_OK;
}

static int open_input(struct producer *p)
{
    const struct invocation *inv = p->s->inv;
    const char *format = option_text(inv, "input-format");
    const char *delimiter = option_text(inv, "key-delimiter");
    char with_key[256];
    if (delimiter) {
        if (option_on(inv, "input-format"))
            return usage_error(inv, "-K and -f say the same; one of them is enough");
        (void)snprintf(with_key, sizeof(with_key), "%%k%s%%s\\n", delimiter);
        format = with_key;
    }
    int file = STDIN_FILENO;
    const char *name = option_text(inv, "file");
    if (name && (file = open(name, O_RDONLY | O_CLOEXEC)) < 0) {
        complain(inv, "cannot read %s: %s", name, strerror(errno));
        return EXIT_FAILED;
    }
    if (!input_init(&p->input, inv, format, file, &p->news))
        return EXIT_USAGE;
    p->input.empty_is_null = option_on(inv, "null");
    return EXIT_OK;
}

static int read_options(struct producer *p)
{
    struct session *s = p->s;
    const char *acks = option_text(s->inv, "acks");
    const char *codec = option_text(s->inv, "compression");
    acks = acks ? acks : s->settings.acks;
    codec = codec ? codec : s->settings.compression;
    if (strcmp(acks, "all") == 0 || strcmp(acks, "-1") == 0)
        p->acks = -1;
    else if (strcmp(acks, "0") == 0 || strcmp(acks, "1") == 0)
        p->acks = (int16_t)(acks[0] - '0');
    else
        return usage_error(s->inv, "-X acks=%s: all, 1 or 0 is wanted", acks);
    if (!codec_of_name(codec, &p->codec))
        return usage_error(s->inv, "-X compression.type=%s: there is no such codec", codec);
    if (!option_number(s->inv, "partition", 0, INT32_MAX, &p->partition))
        return EXIT_USAGE;
    p->key = option_text(s->inv, "key");
    int code = read_headers(p);
    return code == EXIT_OK ? open_input(p) : code;
}

/* ---- running ---- */

/* Sends what is due and waits until something happens. */
static void step(struct producer *p)
{
    if (p->stale) {
        p->s->hush = true; /* what is under way runs out of patience in time */
        p->stale = find_topic(p) != EXIT_OK;
        p->s->hush = false;
    }
    uint64_t until_ns = send_due(p);
    (void)fflush(stdout);
    if (!(p->drained && all_sent(p)))
        session_turn(p->s, until_ns, &p->news);
}

static int run(struct producer *p)
{
    bool good = true;
    while (good && !(p->drained && all_sent(p))) {
        p->news = false;
        good = fill(p);
        if (good)
            step(p);
    }
    if (p->input.error) {
        complain(p->s->inv, "the input cannot be read: %s", strerror(p->input.error));
        good = false;
    }
    /* What was taken before bad input is still delivered. */
    p->drained = true;
    p->has_record = false;
    while (!all_sent(p)) {
        p->news = false;
        step(p);
    }
    return good ? EXIT_OK : EXIT_FAILED;
}

static int produce(struct session *s)
{
    struct producer p = {.s = s, .topic = s->inv->operands[0], .partition = -1, .producer_id = -1};
    deflater_init(&p.deflater);
    int code = read_options(&p);
    if (code == EXIT_OK)
        code = find_topic(&p);
    /* Sequence numbers make sense only when every acknowledgement is heard (KIP-98). */
    if (code == EXIT_OK && p.acks == -1 && s->settings.idempotence)
        code = take_producer_id(&p);
    if (code == EXIT_OK) {
        p.sticky = (int32_t)(io_random(s->sh->io) % (uint64_t)p.lane_count);
        if (!format_is_table(s->inv))
            p.listing = listing_open(s->inv, columns, array_count(columns));
        code = run(&p);
        if (p.listing)
            listing_close(p.listing);
        if (code == EXIT_OK)
            code = tally_code(&p.tally);
        if (s->inv->verbose)
            note(s->inv, "%llu records acknowledged", (unsigned long long)p.printed);
    }
    for (int32_t i = 0; i < p.lane_count; i++) {
        batch_builder_fini(&p.lanes[i].filling);
        batch_builder_fini(&p.lanes[i].sent);
    }
    mem_free(p.lanes);
    deflater_fini(&p.deflater);
    s->abandoned = p.input.reading;
    if (!p.input.reading)
        input_fini(&p.input);
    return code;
}

int cmd_produce(struct invocation *inv)
{
    return session_run(inv, produce);
}
