/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace topic export`: a live topic as Apache Kafka keeps one. Its batches are fetched from the
 * leaders, from the first offset to the one that is the last when the command begins, and written
 * as they come; what stands beside segments is made of them (tools/millrace/import/log_export.h).
 */
#include "core/record/batch.h"
#include "io/fs.h"
#include "io/mem.h"
#include "io/threads.h"
#include "net/err.h"
#include "net/kafka.h"
#include "tools/millrace/cluster.h"
#include "tools/millrace/import/kafka_text.h"
#include "tools/millrace/import/log_export.h"

#include <stdio.h>
#include <string.h>

#define FETCH_VERSION_MAX 12 /* by name: any broker of the last years */
#define FETCH_BYTES       (16U << 20)
#define PATIENCE_MS       10000

struct partition_export {
    struct session *s;
    struct log_export export;
    struct broker_link *link;
    uint64_t segment_bytes;
    int64_t next; /* offset */
    int64_t end;
    int file; /* -1: none yet */
    uint64_t size;
};

static int failed_file(const struct partition_export *pe, const char *verb, int64_t result)
{
    complain(pe->s->inv, "cannot %s a segment in %s: %s", verb, pe->export.from,
             strerror((int)-result));
    return EXIT_FAILED;
}

/* ---- segments ---- */

static int segment_end(struct partition_export *pe)
{
    if (pe->file < 0)
        return EXIT_OK;
    int result = fs_sync(fs_host(), pe->file);
    fs_close(fs_host(), pe->file);
    pe->file = -1;
    return result >= 0 ? EXIT_OK : failed_file(pe, "flush", result);
}

static int segment_begin(struct partition_export *pe, int64_t base)
{
    int code = segment_end(pe);
    char name[32];
    (void)snprintf(name, sizeof(name), "%020lld.log", (long long)base);
    char *path = kafka_path(pe->export.from, name);
    pe->file = fs_open(fs_host(), path, FS_WRITE | FS_CREATE | FS_EXCLUSIVE);
    pe->size = 0;
    mem_free(path);
    if (pe->file >= 0)
        return code;
    return failed_file(pe, "make", pe->file);
}

static int put_batch(struct partition_export *pe, const struct batch_header *header,
                     const uint8_t *bytes)
{
    uint64_t len = (uint64_t)batch_size(header);
    int code = EXIT_OK;
    if (pe->file < 0 || pe->size + len > pe->segment_bytes)
        code = segment_begin(pe, header->base_offset);
    if (code != EXIT_OK)
        return code;
    int64_t result = fs_write(fs_host(), pe->file, bytes, len, pe->size);
    pe->size += len;
    pe->next = batch_last_offset(header) + 1;
    return result >= 0 ? EXIT_OK : failed_file(pe, "write", result);
}

/* ---- fetching ---- */

/* The whole batches of an answer. */
static int put_batches(struct partition_export *pe, const uint8_t *bytes, uint32_t len)
{
    uint32_t at = 0;
    int64_t before = pe->next;
    int code = EXIT_OK;
    while (code == EXIT_OK && pe->next < pe->end && len - at >= BATCH_HEADER_SIZE) {
        struct batch_header header;
        struct piece piece;
        batch_header_of(&header, bytes + at);
        int64_t size = batch_size(&header);
        if (size < BATCH_HEADER_SIZE || size > len - at)
            break;
        if (header.magic != BATCH_MAGIC || header.last_offset_delta < 0 ||
            batch_crc(span_of(&piece, bytes + at, (uint32_t)size)) != header.crc) {
            complain(pe->s->inv, "%s-%d: the batch at offset %lld is damaged", pe->export.topic,
                     (int)pe->export.partition, (long long)header.base_offset);
            return EXIT_VERIFY;
        }
        if (batch_last_offset(&header) >= pe->next)
            code = put_batch(pe, &header, bytes + at);
        at += (uint32_t)size;
    }
    if (code == EXIT_OK && pe->next == before) {
        complain(pe->s->inv, "%s-%d: nothing comes behind offset %lld, and it goes on to %lld",
                 pe->export.topic, (int)pe->export.partition, (long long)pe->next,
                 (long long)pe->end);
        code = EXIT_FAILED;
    }
    return code;
}

static int take_answer(struct partition_export *pe, const struct fetch_response *response)
{
    if (response->error_code != ERR_NONE)
        return partition_error(pe->s, str_of(pe->export.topic), pe->export.partition,
                               response->error_code);
    if (response->responses_count != 1 || response->responses[0].partitions_count != 1) {
        complain(pe->s->inv, "the broker answers for another partition than it was asked for");
        return EXIT_FAILED;
    }
    const struct fetch_response_partition *partition = &response->responses[0].partitions[0];
    if (partition->error_code != ERR_NONE)
        return partition_error(pe->s, str_of(pe->export.topic), pe->export.partition,
                               partition->error_code);
    uint32_t len = partition->records.kind == RECORDS_SPAN ? partition->records.span.len : 0;
    uint8_t *bytes = mem_alloc(len + 1);
    span_peek(&partition->records.span, bytes, len);
    int code = put_batches(pe, bytes, len);
    mem_free(bytes);
    return code;
}

static int fetch_some(struct partition_export *pe)
{
    struct fetch_request request;
    struct fetch_request_topic topic;
    struct fetch_request_partition partition;
    struct fetch_response response;
    struct arena arena;
    init_fetch_request(&request);
    init_fetch_request_topic(&topic);
    init_fetch_request_partition(&partition);
    partition.partition = pe->export.partition;
    partition.fetch_offset = pe->next;
    partition.partition_max_bytes = FETCH_BYTES;
    topic.topic = str_of(pe->export.topic);
    topic.partitions = &partition;
    topic.partitions_count = 1;
    request.max_bytes = FETCH_BYTES;
    request.session_epoch = -1;
    request.topics = &topic;
    request.topics_count = 1;
    arena_init(&arena, CLIENT_ARENA_MAX);
    int code =
        session_call(pe->s, pe->link, KEY_FETCH, FETCH_VERSION_MAX, &request, &response, &arena);
    if (code == EXIT_OK)
        code = take_answer(pe, &response);
    arena_fini(&arena);
    return code;
}

/* ---- a partition ---- */

static int export_offsets(struct session *s, const struct metadata_response *metadata,
                          struct partition_export *pe)
{
    struct offset_query query = {.topic = str_of(pe->export.topic),
                                 .partition = pe->export.partition,
                                 .leader = pe->link->node_id,
                                 .timestamp = TIMESTAMP_EARLIEST};
    int code = cluster_list_offsets(s, metadata, &query, 1, PATIENCE_MS);
    pe->next = pe->export.start_offset = query.offset;
    if (code == EXIT_OK && query.error == ERR_NONE) {
        query.timestamp = TIMESTAMP_LATEST;
        code = cluster_list_offsets(s, metadata, &query, 1, PATIENCE_MS);
        pe->end = query.offset;
    }
    if (code == EXIT_OK && query.error != ERR_NONE)
        code = partition_error(s, query.topic, query.partition, query.error);
    return code;
}

static int export_records(struct partition_export *pe)
{
    int code = pe->next < pe->end ? EXIT_OK : segment_begin(pe, pe->next);
    while (code == EXIT_OK && pe->next < pe->end)
        code = fetch_some(pe);
    int ended = segment_end(pe);
    return code != EXIT_OK ? code : ended;
}

static int export_partition(struct session *s, const struct metadata_response *metadata,
                            const struct metadata_response_topic *topic, int32_t number,
                            int32_t leader, struct listing *listing)
{
    int64_t segment_bytes = 0;
    if (!option_number(s->inv, "segment-bytes", 1 << 20, INT32_MAX, &segment_bytes))
        return EXIT_USAGE;
    struct partition_export pe = {.s = s,
                                  .segment_bytes = (uint64_t)segment_bytes,
                                  .file = -1,
                                  .export = {.topic = text_of(s, topic->name),
                                             .partition = number,
                                             .topic_id = topic->topic_id,
                                             .to = option_text(s->inv, "to")}};
    pe.link = cluster_broker(s, metadata, leader);
    int code = pe.link ? export_offsets(s, metadata, &pe) : EXIT_UNREACHABLE;
    char *folder = code == EXIT_OK ? log_export_folder(&pe.export) : NULL;
    pe.export.from = folder;
    if (folder)
        code = export_records(&pe);
    bool good = folder && code == EXIT_OK && log_export_finish(&pe.export);
    if (good)
        listing_row(listing, log_export_row(&pe.export));
    else if (code == EXIT_OK)
        complain(s->inv, "%s", pe.export.reason);
    mem_free(folder);
    return good || code != EXIT_OK ? code : EXIT_FAILED;
}

/* ---- all of them ---- */

static int work(struct session *s)
{
    const struct invocation *inv = s->inv;
    struct metadata_response metadata;
    struct tally tally = {0};
    int code = cluster_metadata(s, inv->operands, inv->operand_count, false, &metadata);
    if (code != EXIT_OK)
        return code;
    struct listing *listing = log_export_listing(inv);
    for (int32_t i = 0; i < metadata.topics_count; i++) {
        const struct metadata_response_topic *topic = &metadata.topics[i];
        if (topic->error_code == ERR_UNKNOWN_TOPIC_OR_PARTITION)
            tally_add(&tally, topic_not_found(s, text_of(s, topic->name)));
        else if (topic->error_code != ERR_NONE)
            tally_add(&tally,
                      broker_error(s, text_of(s, topic->name), topic->error_code, str_null()));
        for (int32_t p = 0; topic->error_code == ERR_NONE && p < topic->partitions_count; p++)
            tally_add(&tally,
                      export_partition(s, &metadata, topic, topic->partitions[p].partition_index,
                                       topic->partitions[p].leader_id, listing));
    }
    listing_close(listing);
    return tally_code(&tally);
}

int cmd_topic_export(struct invocation *inv)
{
    const char *to = option_text(inv, "to");
    if (!to)
        return usage_error(inv, "--to DIR is wanted: where the folders go");
    int result = fs_mkdir(fs_host(), to);
    if (result < 0) {
        complain(inv, "cannot make %s: %s; name a directory in one that is there", to,
                 strerror(-result));
        return EXIT_FAILED;
    }
    return session_run(inv, work);
}
