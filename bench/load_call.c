/* SPDX-License-Identifier: Apache-2.0
 *
 * What bench-load asks one request at a time: topics, offsets, round trips, the first
 * acknowledgement after a start.
 */
#include "bench/load.h"

#include "core/record/batch_builder.h"
#include "net/err.h"
#include "net/header.h"
#include "net/kafka.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CONFIGS_MAX      16
#define READY_WAIT_NS    120000000000ULL
#define FIRST_ACK_WAIT_S 600ULL

/* ---- a call ---- */

int call_open(const struct load_options *options)
{
    int file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    struct timeval limit = {.tv_sec = 60};
    must(file >= 0);
    (void)setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    const struct sockaddr *address = (const struct sockaddr *)&options->broker;
    if (connect(file, address, sizeof(options->broker)) == 0)
        return file;
    int error = errno;
    (void)close(file);
    errno = error;
    return -1;
}

static bool receive_all(int file, uint8_t *to, size_t len)
{
    while (len > 0) {
        ssize_t got = recv(file, to, len, 0);
        if (got <= 0)
            return false;
        to += got;
        len -= (size_t)got;
    }
    return true;
}

bool call(struct load *load, int socket, int16_t key, int16_t version, const void *request,
          void *response)
{
    struct frame frame;
    uint32_t len;
    arena_reset(&load->arena);
    frame_make(&frame, &load->arena, key, version, 1, request, (struct iovec){0});
    /* A blocking socket takes all of so small a request at once. */
    if (writev(socket, frame.iov, (int)frame.iov_count) != (ssize_t)frame.len ||
        !receive_all(socket, (uint8_t *)&len, sizeof(len)))
        return false;
    len = __builtin_bswap32(len);
    uint8_t *data = arena_alloc(&load->arena, len);
    if (data == NULL || !receive_all(socket, data, len))
        return false;
    struct rd r;
    struct piece *piece = arena_alloc(&load->arena, sizeof(*piece));
    int32_t correlation_id;
    must(piece != NULL);
    rd_init(&r, span_of(piece, data, len));
    return header_read_response(&r, &load->arena, key, version, &correlation_id) &&
           kafka_read(kafka_response_kind(key), &r, &load->arena, version, response);
}

/* ---- topics ---- */

static void pause_ns(long ns)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

/* "key=value,..." into configs; the texts stay in `text`. */
static int32_t configs_of(char *text, struct create_topics_request_config *configs)
{
    int32_t count = 0;
    char *rest = text;
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        char *value = strchr(word, '=');
        if (value == NULL)
            continue;
        if (count == CONFIGS_MAX)
            give_up("more than %d configurations", CONFIGS_MAX);
        *value++ = '\0';
        configs[count++] =
            (struct create_topics_request_config){.name = str_of(word), .value = str_of(value)};
    }
    return count;
}

static int32_t topic_create(struct load *load, int socket)
{
    const struct load_options *o = &load->options;
    struct create_topics_request_config configs[CONFIGS_MAX];
    char *text = strdup(o->configs ? o->configs : "");
    must(text != NULL);
    struct create_topics_request_topic topic = {.name = str_of(o->topic),
                                                .num_partitions = (int32_t)o->partitions,
                                                .replication_factor = 1,
                                                .configs = configs,
                                                .configs_count = configs_of(text, configs)};
    struct create_topics_request request = {
        .topics = &topic, .topics_count = 1, .timeout_ms = 60000};
    struct create_topics_response response;
    bool answered = call(load, socket, KEY_CREATE_TOPICS, 5, &request, &response);
    free(text);
    if (!answered || response.topics_count != 1)
        return -1;
    int16_t error = response.topics[0].error_code;
    return error == ERR_TOPIC_ALREADY_EXISTS ? 0 : error;
}

int32_t offsets_of(struct load *load, int socket, int64_t timestamp, int64_t *offsets)
{
    const struct load_options *o = &load->options;
    struct list_offsets_request_partition *partitions = calloc(o->partitions, sizeof(*partitions));
    must(partitions != NULL);
    for (uint32_t i = 0; i < o->partitions; i++) {
        partitions[i] = (struct list_offsets_request_partition){
            .partition_index = (int32_t)i, .current_leader_epoch = -1, .timestamp = timestamp};
    }
    struct list_offsets_request_topic topic = {.name = str_of(o->topic),
                                               .partitions = partitions,
                                               .partitions_count = (int32_t)o->partitions};
    struct list_offsets_request request = {.replica_id = -1, .topics = &topic, .topics_count = 1};
    struct list_offsets_response response;
    bool answered = call(load, socket, KEY_LIST_OFFSETS, 5, &request, &response);
    free(partitions);
    if (!answered || response.topics_count != 1 ||
        response.topics[0].partitions_count != (int32_t)o->partitions)
        return -1;
    int32_t error = 0;
    for (uint32_t i = 0; i < o->partitions; i++) {
        const struct list_offsets_response_partition *answer = &response.topics[0].partitions[i];
        if (answer->error_code != 0)
            error = answer->error_code;
        else if ((uint32_t)answer->partition_index < o->partitions)
            offsets[answer->partition_index] = answer->offset;
    }
    return error;
}

int32_t topic_make(struct load *load, int socket)
{
    int64_t *offsets = calloc(load->options.partitions, sizeof(*offsets));
    must(offsets != NULL);
    int32_t error = topic_create(load, socket);
    uint64_t limit_ns = now_ns() + READY_WAIT_NS;
    if (error == 0) {
        while ((error = offsets_of(load, socket, -1, offsets)) > 0 && now_ns() < limit_ns)
            pause_ns(1000000);
    }
    free(offsets);
    return error;
}

void run_create(struct load *load)
{
    int socket = call_open(&load->options);
    if (socket < 0)
        give_up("cannot connect: %m");
    int32_t error = topic_make(load, socket);
    if (error != 0)
        give_up("topic %s: Kafka error %d", load->options.topic, error);
    puts("{}");
}

/* ---- round trips ---- */

void run_round_trips(struct load *load)
{
    int socket = call_open(&load->options);
    if (socket < 0)
        give_up("cannot connect: %m");
    uint64_t began_ns = now_ns();
    uint64_t warm_ns = began_ns + (uint64_t)(load->options.warm_seconds * 1e9);
    uint64_t end_ns = began_ns + (uint64_t)(load->options.seconds * 1e9);
    bool warm = false;
    measure_begin(load);
    for (uint64_t at_ns = began_ns; at_ns < end_ns; at_ns = now_ns()) {
        if (!warm && at_ns >= warm_ns) {
            warm = true;
            measure_begin(load);
            at_ns = now_ns();
        }
        struct api_versions_request request = {0};
        struct api_versions_response response;
        if (!call(load, socket, KEY_API_VERSIONS, 0, &request, &response))
            give_up("no answer to ApiVersions: %m");
        load->measure.requests++;
        histogram_add(&load->measure.latency, now_ns() - at_ns);
    }
    measure_print(load);
}

/* ---- from start to the first acknowledgement ---- */

struct iovec batch_make(const struct load_options *options)
{
    struct batch_builder builder;
    uint8_t *value = malloc(options->record_bytes);
    uint64_t random = 0x9e3779b97f4a7c15U;
    must(value != NULL);
    batch_builder_init(&builder);
    batch_builder_start(&builder);
    int64_t wall_ms = (int64_t)time(NULL) * 1000;
    for (uint32_t i = 0; i < options->records; i++) {
        for (uint32_t k = 0; k < options->record_bytes; k++) {
            random = random * 6364136223846793005U + 1442695040888963407U;
            value[k] = (uint8_t)(random >> 56);
        }
        struct bytes_or_null bytes = {.data = value, .len = (int32_t)options->record_bytes};
        batch_builder_add(&builder, wall_ms, BYTES_NULL, bytes, NULL, 0);
    }
    const uint8_t *data;
    size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &data);
    free(value);
    return (struct iovec){.iov_base = no_const(data), .iov_len = len}; /* kept by the builder */
}

static bool produce_one(struct load *load, int socket, struct iovec batch)
{
    struct piece piece;
    struct produce_request_partition partition = {
        .records = records_of(span_of(&piece, batch.iov_base, (uint32_t)batch.iov_len))};
    struct produce_request_topic topic = {.name = str_of(load->options.topic),
                                          .partition_data = &partition,
                                          .partition_data_count = 1};
    struct produce_request request = {.transactional_id = str_null(),
                                      .acks = -1,
                                      .timeout_ms = 30000,
                                      .topic_data = &topic,
                                      .topic_data_count = 1};
    struct produce_response response;
    return call(load, socket, KEY_PRODUCE, 9, &request, &response) &&
           response.responses_count == 1 && response.responses[0].partition_responses_count == 1 &&
           response.responses[0].partition_responses[0].error_code == 0;
}

/* Connects, makes the topic unless it is there, produces; from the beginning until it works. */
void run_first_ack(struct load *load)
{
    struct iovec batch = batch_make(&load->options);
    uint64_t since_ns = load->options.since_ns > 0 ? load->options.since_ns : now_ns();
    uint64_t limit_ns = now_ns() + FIRST_ACK_WAIT_S * 1000000000U;
    for (uint64_t connected_ns = 0; now_ns() < limit_ns; pause_ns(500000)) {
        int socket = call_open(&load->options);
        if (socket < 0)
            continue;
        if (connected_ns == 0)
            connected_ns = now_ns();
        if (topic_make(load, socket) == 0 && produce_one(load, socket, batch)) {
            printf("{\"first_ack_ms\": %.2f, \"first_connection_ms\": %.2f}\n",
                   (double)(now_ns() - since_ns) / 1e6, (double)(connected_ns - since_ns) / 1e6);
            return;
        }
        (void)close(socket);
    }
    give_up("no acknowledgement within %llu s", FIRST_ACK_WAIT_S);
}
