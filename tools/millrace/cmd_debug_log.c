/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace debug log dump`, `verify` and `repair --dry-run`: what stands in segment files, whether
 * it is what was written, and what of it is lost where it is not. No broker is asked, so the files
 * of one that does not start can be looked at.
 */
#include "core/record/record.h"
#include "io/mem.h"
#include "tools/millrace/output.h"
#include "tools/millrace/record_format.h"
#include "tools/millrace/segment_file.h"

#include <errno.h>
#include <string.h>

/* ---- all files of the operands ---- */

struct reading {
    struct invocation *inv;
    struct listing *listing; /* NULL: records are printed instead */
    struct record_format format;
    struct inflater inflater;
    bool deep;
    uint32_t damaged;
    uint32_t unreadable;
};

static int reading_end(const struct reading *reading)
{
    if (reading->unreadable > 0)
        return EXIT_FAILED;
    return reading->damaged > 0 ? EXIT_REFUSED_DATA : EXIT_OK;
}

static int each_segment(struct reading *reading,
                        void (*look)(struct reading *reading, struct segment_file *segment))
{
    struct invocation *inv = reading->inv;
    struct segment_list list = {0};
    int error = 0;
    int code = EXIT_OK;
    for (uint32_t i = 0; i < inv->operand_count && code == EXIT_OK; i++) {
        if (!segment_list_add(&list, inv->operands[i], &error)) {
            complain(inv,
                     "'%s' cannot be read: %s; name a segment file, a partition's directory or "
                     "a data directory",
                     inv->operands[i], strerror(error));
            code = error == ENOENT ? EXIT_PRESENCE : EXIT_FAILED;
        }
    }
    if (code == EXIT_OK && list.count == 0) {
        complain(inv, "there is no segment file (*.log) at or below '%s'", inv->operands[0]);
        code = EXIT_PRESENCE;
    }
    for (uint32_t i = 0; i < list.count && code == EXIT_OK; i++) {
        struct segment_file segment;
        if (segment_file_open(&segment, list.paths[i])) {
            look(reading, &segment);
        } else {
            complain(inv, "'%s' cannot be read: %s", list.paths[i], segment.reason);
            reading->unreadable++;
        }
        segment_file_close(&segment);
    }
    segment_list_fini(&list);
    return code == EXIT_OK ? reading_end(reading) : code;
}

/* What is inside of a batch: NULL, or what is wrong with it. */
static const char *records_fault(struct reading *reading, const struct segment_file *segment)
{
    struct record_iter iter;
    struct record record;
    if (!record_iter_init(&iter, &reading->inflater, segment->batch, INFLATED_BYTES_MAX))
        return "it is no whole batch";
    int64_t next = segment->header.base_offset;
    const char *fault = NULL;
    enum record_status status;
    while (!fault && (status = record_iter_next(&iter, &record)) != RECORD_END) {
        if (status != RECORD_READY)
            fault = "its records cannot be read";
        else if (record.offset < next || record.offset > batch_last_offset(&segment->header))
            fault = "the offset of a record is out of order, or outside of its batch";
        else
            next = record.offset + 1;
    }
    record_iter_fini(&iter);
    return fault;
}

/* The end of a file: told when it is not the end of its data. */
static void tell_end(struct reading *reading, const struct segment_file *segment,
                     enum segment_next why)
{
    if (why == SEGMENT_DAMAGED) {
        reading->damaged++;
        complain(
            reading->inv,
            "'%s' is damaged at position %llu, offset %lld or behind: %s; restore the file from "
            "a copy or a replica",
            segment->path, (unsigned long long)segment->at, (long long)segment->next_offset,
            segment->reason);
    } else if (why == SEGMENT_UNREADABLE) {
        reading->unreadable++;
        complain(reading->inv, "'%s' cannot be read at position %llu: %s", segment->path,
                 (unsigned long long)segment->at, segment->reason);
    }
}

/* ---- dump ---- */

static const struct column batch_columns[] = {
    {.key = "topic", .title = "TOPIC"},
    {.key = "partition", .title = "PARTITION"},
    {.key = "file", .title = "FILE", .wide = true},
    {.key = "position", .title = "POSITION"},
    {.key = "base_offset", .title = "FIRST"},
    {.key = "last_offset", .title = "LAST"},
    {.key = "records", .title = "RECORDS"},
    {.key = "bytes", .title = "BYTES"},
    {.key = "codec", .title = "CODEC"},
    {.key = "max_timestamp", .title = "TIMESTAMP"},
    {.key = "timestamp_type", .title = "TIME OF", .wide = true},
    {.key = "leader_epoch", .title = "EPOCH"},
    {.key = "producer_id", .title = "PRODUCER"},
    {.key = "producer_epoch", .title = "PRODUCER EPOCH", .wide = true},
    {.key = "base_sequence", .title = "SEQUENCE", .wide = true},
    {.key = "kind", .title = "KIND", .wide = true},
};

static const char *kind_of(const struct batch_header *header)
{
    if (header->attributes & BATCH_CONTROL)
        return "control";
    return header->attributes & BATCH_TRANSACTIONAL ? "transactional" : "data";
}

static json_t *batch_row(const struct segment_file *segment)
{
    const struct batch_header *header = &segment->header;
    const char *codec = codec_name(batch_codec(header));
    bool append_time = header->attributes & BATCH_LOG_APPEND_TIME;
    return json_pack(
        "{s:s?, s:i, s:s, s:I, s:I, s:I, s:i, s:I, s:s, s:I, s:s, s:i, s:I, s:i, s:i, s:s}",
        "topic", segment->topic[0] ? segment->topic : NULL, "partition", segment->partition, "file",
        segment->path, "position", (json_int_t)segment->at, "base_offset",
        (json_int_t)header->base_offset, "last_offset", (json_int_t)batch_last_offset(header),
        "records", header->record_count, "bytes", (json_int_t)batch_size(header), "codec",
        codec ? codec : "unknown", "max_timestamp", (json_int_t)header->max_timestamp,
        "timestamp_type", append_time ? "LogAppendTime" : "CreateTime", "leader_epoch",
        header->leader_epoch, "producer_id", (json_int_t)header->producer_id, "producer_epoch",
        header->producer_epoch, "base_sequence", header->base_sequence, "kind", kind_of(header));
}

static void dump_records(struct reading *reading, const struct segment_file *segment)
{
    const struct envelope envelope = {
        .topic = segment->topic,
        .partition = segment->partition,
        .broker = -1,
        .log_append_time = segment->header.attributes & BATCH_LOG_APPEND_TIME,
    };
    struct record_iter iter;
    struct record record;
    if (!record_iter_init(&iter, &reading->inflater, segment->batch, INFLATED_BYTES_MAX))
        return;
    while (record_iter_next(&iter, &record) == RECORD_READY) {
        if (option_on(reading->inv, "json")) {
            record_print_json(stdout, &envelope, &record);
            putc_unlocked('\n', stdout);
        } else {
            record_print(stdout, &reading->format, segment->topic, segment->partition, &record);
        }
    }
    record_iter_fini(&iter);
}

static void dump_segment(struct reading *reading, struct segment_file *segment)
{
    enum segment_next next;
    while ((next = segment_file_next(segment)) == SEGMENT_BATCH) {
        if (reading->listing) {
            listing_row(reading->listing, batch_row(segment));
            continue;
        }
        const char *fault = records_fault(reading, segment);
        if (fault) {
            reading->damaged++;
            complain(reading->inv, "'%s', the batch at position %llu: %s", segment->path,
                     (unsigned long long)segment->at, fault);
        } else {
            dump_records(reading, segment);
        }
    }
    tell_end(reading, segment, next);
}

int cmd_debug_log_dump(struct invocation *inv)
{
    struct reading reading = {.inv = inv};
    bool records = option_on(inv, "records") || option_on(inv, "json");
    if (records &&
        !record_format_parse(&reading.format, inv, option_text(inv, "output-format"), "svktpoThSK"))
        return EXIT_USAGE;
    inflater_init(&reading.inflater);
    if (!records)
        reading.listing = listing_open(inv, batch_columns, array_count(batch_columns));
    int code = each_segment(&reading, dump_segment);
    if (reading.listing)
        listing_close(reading.listing);
    inflater_fini(&reading.inflater);
    record_format_fini(&reading.format);
    return code;
}

/* ---- verify ---- */

static const struct column verdict_columns[] = {
    {.key = "file", .title = "FILE"},
    {.key = "verdict", .title = "VERDICT"},
    {.key = "base_offset", .title = "FIRST"},
    {.key = "end_offset", .title = "END"},
    {.key = "batches", .title = "BATCHES"},
    {.key = "records", .title = "RECORDS"},
    {.key = "bytes", .title = "BYTES", .unit = UNIT_BYTES},
    {.key = "unused_bytes", .title = "UNUSED", .unit = UNIT_BYTES},
    {.key = "damaged_at", .title = "DAMAGED AT", .wide = true},
    {.key = "reason", .title = "REASON", .wide = true},
};

static void verify_segment(struct reading *reading, struct segment_file *segment)
{
    int64_t first = -1;
    int64_t batches = 0;
    int64_t records = 0;
    enum segment_next next;
    while ((next = segment_file_next(segment)) == SEGMENT_BATCH) {
        const char *fault = reading->deep ? records_fault(reading, segment) : NULL;
        if (fault) {
            (void)snprintf(segment->reason, sizeof(segment->reason), "%s", fault);
            next = SEGMENT_DAMAGED;
            break;
        }
        first = batches++ == 0 ? segment->header.base_offset : first;
        records += segment->header.record_count;
    }
    bool good = next == SEGMENT_END;
    json_t *row =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "file", segment->path, "verdict",
                  good                      ? "good"
                  : next == SEGMENT_DAMAGED ? "damaged"
                                            : "unreadable",
                  "base_offset", (json_int_t)first, "end_offset",
                  (json_int_t)(batches > 0 ? segment->next_offset : -1), "batches",
                  (json_int_t)batches, "records", (json_int_t)records, "bytes",
                  (json_int_t)segment->at, "unused_bytes", (json_int_t)segment->unused);
    if (!good) {
        json_object_set_new(row, "damaged_at", json_integer((json_int_t)segment->at));
        json_object_set_new(row, "reason", json_string(segment->reason));
    }
    listing_row(reading->listing, row);
    tell_end(reading, segment, next);
}

int cmd_debug_log_verify(struct invocation *inv)
{
    struct reading reading = {.inv = inv, .deep = option_on(inv, "deep")};
    inflater_init(&reading.inflater);
    reading.listing = listing_open(inv, verdict_columns, array_count(verdict_columns));
    int code = each_segment(&reading, verify_segment);
    listing_close(reading.listing);
    inflater_fini(&reading.inflater);
    return code;
}

/* ---- repair ---- */

static const struct column part_columns[] = {
    {.key = "file", .title = "FILE"},
    {.key = "part", .title = "PART"},
    {.key = "position", .title = "POSITION"},
    {.key = "bytes", .title = "BYTES", .unit = UNIT_BYTES},
    {.key = "base_offset", .title = "FIRST"},
    {.key = "end_offset", .title = "END"},
    {.key = "batches", .title = "BATCHES"},
    {.key = "reason", .title = "REASON", .wide = true},
};

/* A run of good batches, or what lies between two of those. */
struct part {
    uint64_t position;
    int64_t base_offset;
    int64_t batches;
};

static void part_row(struct reading *reading, const struct segment_file *segment,
                     const struct part *part, uint64_t end, int64_t end_offset, const char *reason)
{
    if (end == part->position)
        return;
    listing_row(reading->listing,
                json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:s?}", "file", segment->path,
                          "part", reason ? "lost" : "kept", "position", (json_int_t)part->position,
                          "bytes", (json_int_t)(end - part->position), "base_offset",
                          (json_int_t)part->base_offset, "end_offset",
                          end_offset >= 0 ? json_integer(end_offset) : json_null(), "batches",
                          reason ? json_null() : json_integer(part->batches), "reason", reason));
}

/* What is damaged ends where the next good batch begins; its end is not known at a file's end. */
static void repair_segment(struct reading *reading, struct segment_file *segment)
{
    struct part kept = {.base_offset = segment_file_offset(segment)};
    for (;;) {
        enum segment_next next = segment_file_next(segment);
        if (next == SEGMENT_BATCH) {
            kept.batches++;
            continue;
        }
        const int64_t offset = segment_file_offset(segment);
        part_row(reading, segment, &kept, segment->at, offset, NULL);
        if (next == SEGMENT_UNREADABLE)
            tell_end(reading, segment, next);
        if (next != SEGMENT_DAMAGED)
            return;
        char reason[sizeof(segment->reason)];
        const struct part lost = {.position = segment->at, .base_offset = offset};
        (void)snprintf(reason, sizeof(reason), "%s", segment->reason);
        reading->damaged++;
        if (!segment_file_resync(segment)) {
            part_row(reading, segment, &lost, segment->size, -1, reason);
            return;
        }
        if (segment_file_next(segment) != SEGMENT_BATCH)
            return; /* somebody changes it meanwhile */
        part_row(reading, segment, &lost, segment->at, segment->header.base_offset, reason);
        kept = (struct part){
            .position = segment->at, .base_offset = segment->header.base_offset, .batches = 1};
    }
}

int cmd_debug_log_repair(struct invocation *inv)
{
    struct reading reading = {.inv = inv};
    if (!option_on(inv, "dry-run"))
        return usage_error(
            inv, "only --dry-run is there: no repair can bring back what a disk has lost, and a "
                 "running broker already serves everything around it");
    reading.listing = listing_open(inv, part_columns, array_count(part_columns));
    int code = each_segment(&reading, repair_segment);
    listing_close(reading.listing);
    if (reading.damaged > 0)
        note(inv,
             "%u places are damaged, and nothing was written; a broker answers CORRUPT_MESSAGE for "
             "the offsets that are lost and serves the others. Restore the file from a copy; where "
             "the partition has replicas, move it to another broker and back",
             reading.damaged);
    return code;
}
