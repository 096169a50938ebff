/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots of the metadata log: written in chunks beside it, then named by the head in one step;
 * only after that are older entries and snapshots removed. Every step checks the controller epoch,
 * so a deposed controller cannot touch a snapshot that is in use. A chunk that is there already is
 * the rest of an attempt that did not reach the head, and is overwritten.
 *
 * A chunk, little-endian: magic u32 "MSNP", crc u32 from byte 8 on, version u16, least_reader u16,
 * index u32, number u64, records.
 */
#include "core/metadata/metadata_log.h"
#include "io/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_MAGIC   0x504e534dU /* "MSNP" */
#define CHUNK_HEADER  24U
#define CHUNK_VERSION 1U
#define ENTRIES       METADATA_LOG_ROOT "/e"
#define SNAPSHOTS     METADATA_LOG_ROOT "/snap"
#define HEAD          METADATA_LOG_ROOT "/head"

static void snapshot_path(uint64_t number, char path[STORE_PATH_MAX + 1])
{
    (void)snprintf(path, STORE_PATH_MAX + 1, SNAPSHOTS "/%010" PRIu64, number);
}

static void chunk_path(uint64_t number, uint32_t chunk, char path[STORE_PATH_MAX + 1])
{
    (void)snprintf(path, STORE_PATH_MAX + 1, SNAPSHOTS "/%010" PRIu64 "/%04u", number, chunk);
}

/* ---- reading ---- */

static void read_chunk(struct metadata_log *log);

static bool chunk_take(struct metadata_log *log, const uint8_t *data, uint32_t len)
{
    struct bytes_in in = bytes_in_of(data, len);
    uint32_t magic = take_u32(&in);
    uint32_t crc = take_u32(&in);
    if (len < CHUNK_HEADER || magic != CHUNK_MAGIC || crc != crc32c(0, data + 8, len - 8))
        return false;
    (void)take_u16(&in);
    uint16_t least_reader = take_u16(&in);
    uint32_t index = take_u32(&in);
    uint64_t number = take_u64(&in);
    if (least_reader > CHUNK_VERSION || index != log->snapshot_chunk ||
        number != log->head.snapshot)
        return false;
    size_t length = (size_t)(in.end - in.at);
    log->snapshot = mem_realloc(log->snapshot, log->snapshot_length + length + 1);
    memcpy(log->snapshot + log->snapshot_length, in.at, length);
    log->snapshot_length += length;
    return true;
}

static void snapshot_apply(struct metadata_log *log)
{
    const struct metadata_batch batch = {
        .number = log->head.snapshot,
        .snapshot = true,
        .records = bytes_in_of(log->snapshot, log->snapshot_length),
    };
    char sentence[400];
    bool good = log->options.on_batch(log->options.user, &batch, sentence, sizeof(sentence));
    mem_free(log->snapshot);
    log->snapshot = NULL;
    if (!good) {
        metadata_log_fail(log, "snapshot %" PRIu64 " of the metadata log: %s", batch.number,
                          sentence);
        return;
    }
    log->number = log->head.snapshot;
    log->hash = log->head.snapshot_hash;
    log->bytes_since_snapshot = 0;
    log->missed = false;
    if (metadata_log_holds(log))
        metadata_log_read_next(log);
}

static void on_chunk(void *user, enum store_result result, const void *data, uint32_t len,
                     const struct store_stat *stat)
{
    (void)stat;
    struct metadata_log *log = user;
    if (log->failed)
        return;
    if (result == STORE_UNKNOWN) {
        read_chunk(log);
    } else if (result == STORE_NO_NODE) {
        metadata_log_read_head(log); /* a newer snapshot took its place meanwhile */
    } else if (result == STORE_EXPIRED || result == STORE_CLOSED) {
        return; /* it is told as an event; until metadata_log_reopen() */
    } else if (result != STORE_OK) {
        metadata_log_fail(log, "cannot read a snapshot of the metadata log: %s",
                          store_result_name(result));
    } else if (!chunk_take(log, data, len)) {
        metadata_log_fail(log,
                          "chunk %u of snapshot %" PRIu64 " of the metadata log is damaged or of a "
                          "newer version; restore the metadata store from a copy",
                          log->snapshot_chunk, log->head.snapshot);
    } else if (++log->snapshot_chunk < log->head.snapshot_chunks) {
        read_chunk(log);
    } else {
        snapshot_apply(log);
    }
}

static void read_chunk(struct metadata_log *log)
{
    char path[STORE_PATH_MAX + 1];
    chunk_path(log->head.snapshot, log->snapshot_chunk, path);
    store_get(log->options.store, path, false, on_chunk, log);
}

void metadata_snapshot_read(struct metadata_log *log)
{
    mem_free(log->snapshot);
    log->snapshot = NULL;
    log->snapshot_length = 0;
    log->snapshot_chunk = 0;
    read_chunk(log);
}

/* ---- writing ---- */

static void write_folder(struct metadata_log *log);
static void write_chunk(struct metadata_log *log, enum store_op_kind kind);
static void write_head(struct metadata_log *log);
static void clean_entries(struct metadata_log *log);

static void snapshot_end(struct metadata_log *log)
{
    void (*done)(void *) = log->snapshot_done;
    log->snapshot_done = NULL;
    metadata_records_fini(&log->chunks);
    done(log->snapshot_user);
}

/* The end of the chunk that begins at chunk_at: whole records. */
static size_t chunk_end(const struct metadata_log *log)
{
    size_t at = log->chunk_at;
    while (at < log->chunks.length && at - log->chunk_at < METADATA_SNAPSHOT_CHUNK) {
        struct bytes_in in =
            bytes_in_of(log->chunks.data + at + METADATA_ENVELOPE - 4, sizeof(uint32_t));
        at += METADATA_ENVELOPE + take_u32(&in);
    }
    must(at <= log->chunks.length);
    return at;
}

static void on_chunk_written(void *user, enum store_result result, uint32_t bad_op,
                             const struct store_stat *stats)
{
    (void)stats;
    struct metadata_log *log = user;
    if (result == STORE_NO_NODE && bad_op == 1) {
        write_folder(log); /* its answer was lost, and it had not happened */
    } else if (result == STORE_UNKNOWN) {
        write_chunk(log, STORE_CREATE);
    } else if (result == STORE_EXISTS) {
        write_chunk(log, STORE_SET);
    } else if (result != STORE_OK) {
        snapshot_end(log);
    } else if (log->chunk_next < log->chunks.length) {
        log->chunk_at = log->chunk_next;
        log->chunk_index++;
        write_chunk(log, STORE_CREATE);
    } else {
        write_head(log);
    }
}

static void write_chunk(struct metadata_log *log, enum store_op_kind kind)
{
    log->chunk_next = chunk_end(log);
    size_t length = log->chunk_next - log->chunk_at;
    uint8_t *bytes = mem_alloc(CHUNK_HEADER + length);
    struct bytes_out out = bytes_out_of(bytes, CHUNK_HEADER + length);
    put_u32(&out, CHUNK_MAGIC);
    put_u32(&out, 0);
    put_u16(&out, CHUNK_VERSION);
    put_u16(&out, CHUNK_VERSION);
    put_u32(&out, log->chunk_index);
    put_u64(&out, log->number);
    put_bytes(&out, log->chunks.data + log->chunk_at, length);
    must(!out.overrun);
    uint32_t crc = crc32c(0, bytes + 8, CHUNK_HEADER + length - 8);
    out = bytes_out_of(bytes + 4, 4);
    put_u32(&out, crc);
    char path[STORE_PATH_MAX + 1];
    chunk_path(log->number, log->chunk_index, path);
    const struct store_op ops[] = {
        {.kind = STORE_CHECK, .path = "/controller_epoch", .version = log->epoch_version},
        {.kind = kind,
         .path = path,
         .version = -1,
         .data = bytes,
         .len = (uint32_t)(CHUNK_HEADER + length)},
    };
    store_multi(log->options.store, ops, array_count(ops), on_chunk_written, log);
    mem_free(bytes);
}

static void on_folder(void *user, enum store_result result, uint32_t bad_op,
                      const struct store_stat *stats)
{
    (void)bad_op;
    (void)stats;
    struct metadata_log *log = user;
    if (result == STORE_OK || result == STORE_EXISTS || result == STORE_UNKNOWN)
        write_chunk(log, STORE_CREATE);
    else
        snapshot_end(log);
}

static void write_folder(struct metadata_log *log)
{
    char path[STORE_PATH_MAX + 1];
    snapshot_path(log->number, path);
    const struct store_op ops[] = {
        {.kind = STORE_CHECK, .path = "/controller_epoch", .version = log->epoch_version},
        {.kind = STORE_CREATE, .path = path, .data = "", .len = 0},
    };
    store_multi(log->options.store, ops, array_count(ops), on_folder, log);
}

void metadata_log_snapshot(struct metadata_log *log, struct metadata_records *take_records,
                           void (*done)(void *user), void *user)
{
    must(log->in_office && !log->append_done && !log->reading && !log->snapshot_done);
    log->chunks = *take_records;
    *take_records = (struct metadata_records){0};
    log->chunk_at = 0;
    log->chunk_index = 0;
    log->snapshot_done = done;
    log->snapshot_user = user;
    write_folder(log);
}

static void snapshot_named(struct metadata_log *log)
{
    log->head.snapshot = log->number;
    log->head.snapshot_hash = log->hash;
    log->head.snapshot_chunks = log->chunk_index + 1;
    log->bytes_since_snapshot = 0;
    clean_entries(log);
}

/* Did an unanswered change of the head happen? */
static void on_head_again(void *user, enum store_result result, const void *data, uint32_t len,
                          const struct store_stat *stat)
{
    struct metadata_log *log = user;
    struct metadata_log_head head;
    if (result == STORE_UNKNOWN) {
        store_get(log->options.store, HEAD, false, on_head_again, log);
    } else if (result != STORE_OK || !metadata_log_take_head(data, len, &head)) {
        snapshot_end(log);
    } else if (stat->version == log->head_version) {
        write_head(log);
    } else if (head.snapshot == log->number && stat->version == log->head_version + 1) {
        log->head_version++;
        snapshot_named(log);
    } else {
        snapshot_end(log); /* another controller is in office: the next append will tell */
    }
}

static void on_head_written(void *user, enum store_result result, uint32_t bad_op,
                            const struct store_stat *stats)
{
    (void)bad_op;
    (void)stats;
    struct metadata_log *log = user;
    if (result == STORE_OK) {
        log->head_version++;
        snapshot_named(log);
    } else if (result == STORE_UNKNOWN) {
        store_get(log->options.store, HEAD, false, on_head_again, log);
    } else {
        snapshot_end(log);
    }
}

static void write_head(struct metadata_log *log)
{
    struct metadata_log_head head = log->head;
    head.snapshot = log->number;
    head.snapshot_hash = log->hash;
    head.snapshot_chunks = log->chunk_index + 1;
    uint8_t bytes[64];
    const struct store_op ops[] = {
        {.kind = STORE_CHECK, .path = "/controller_epoch", .version = log->epoch_version},
        {.kind = STORE_SET,
         .path = HEAD,
         .version = log->head_version,
         .data = bytes,
         .len = (uint32_t)metadata_log_put_head(&head, bytes)},
    };
    store_multi(log->options.store, ops, array_count(ops), on_head_written, log);
}

/* ---- cleaning: what fails here is left for the next snapshot ---- */

struct deletes {
    struct store_op ops[METADATA_DELETES_PER_MULTI];
    char paths[METADATA_DELETES_PER_MULTI][64];
    uint32_t count;
};

static struct deletes *deletes_new(const struct metadata_log *log)
{
    struct deletes *deletes = mem_zalloc(sizeof(*deletes));
    deletes->ops[deletes->count++] = (struct store_op){
        .kind = STORE_CHECK, .path = "/controller_epoch", .version = log->epoch_version};
    return deletes;
}

static void deletes_add(struct deletes *deletes, const char *folder, const char *name)
{
    if (deletes->count == METADATA_DELETES_PER_MULTI)
        return;
    char *path = deletes->paths[deletes->count];
    (void)snprintf(path, sizeof(deletes->paths[0]), "%s/%s", folder, name);
    deletes->ops[deletes->count++] =
        (struct store_op){.kind = STORE_DELETE, .path = path, .version = -1};
}

static bool is_older(const char *name, uint64_t than)
{
    return strtoull(name, NULL, 10) < than;
}

static void on_cleaned(void *user, enum store_result result, uint32_t bad_op,
                       const struct store_stat *stats)
{
    (void)result;
    (void)bad_op;
    (void)stats;
    snapshot_end(user);
}

static void on_old_chunks(void *user, enum store_result result, const char *const *names,
                          uint32_t count, const struct store_stat *stat)
{
    (void)stat;
    struct metadata_log *log = user;
    if (result != STORE_OK) {
        snapshot_end(log);
        return;
    }
    char path[STORE_PATH_MAX + 1];
    snapshot_path(log->cleaning, path);
    struct deletes *deletes = deletes_new(log);
    for (uint32_t i = 0; i < count && i < METADATA_DELETES_PER_MULTI - 2; i++)
        deletes_add(deletes, path, names[i]);
    deletes_add(deletes, SNAPSHOTS, strrchr(path, '/') + 1);
    store_multi(log->options.store, deletes->ops, deletes->count, on_cleaned, log);
    mem_free(deletes);
}

static void on_snapshots(void *user, enum store_result result, const char *const *names,
                         uint32_t count, const struct store_stat *stat)
{
    (void)stat;
    struct metadata_log *log = user;
    if (result != STORE_OK || count == 0 || !is_older(names[0], log->head.snapshot)) {
        snapshot_end(log);
        return;
    }
    char path[STORE_PATH_MAX + 1];
    log->cleaning = strtoull(names[0], NULL, 10);
    snapshot_path(log->cleaning, path);
    store_children(log->options.store, path, false, on_old_chunks, log);
}

static void on_entries(void *user, enum store_result result, const char *const *names,
                       uint32_t count, const struct store_stat *stat);

static void on_entries_deleted(void *user, enum store_result result, uint32_t bad_op,
                               const struct store_stat *stats)
{
    (void)bad_op;
    (void)stats;
    struct metadata_log *log = user;
    if (result == STORE_OK)
        clean_entries(log); /* until none is left */
    else
        snapshot_end(log);
}

static void on_entries(void *user, enum store_result result, const char *const *names,
                       uint32_t count, const struct store_stat *stat)
{
    (void)stat;
    struct metadata_log *log = user;
    if (result != STORE_OK) {
        snapshot_end(log);
        return;
    }
    struct deletes *deletes = deletes_new(log);
    for (uint32_t i = 0; i < count; i++) {
        if (is_older(names[i], log->head.snapshot + 1))
            deletes_add(deletes, ENTRIES, names[i]);
    }
    if (deletes->count > 1)
        store_multi(log->options.store, deletes->ops, deletes->count, on_entries_deleted, log);
    else
        store_children(log->options.store, SNAPSHOTS, false, on_snapshots, log);
    mem_free(deletes);
}

static void clean_entries(struct metadata_log *log)
{
    store_children(log->options.store, ENTRIES, false, on_entries, log);
}
