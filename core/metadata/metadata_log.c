/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch, little-endian:
 *
 *      0  magic             u32  "MLOG"
 *      4  crc               u32, CRC-32C from byte 8 to the end
 *      8  version           u16
 *     10  least_reader      u16
 *     12  controller epoch  i32
 *     16  number            u64
 *     24  nonce             u64
 *     32  previous hash     u64
 *     40  record count      u32
 *     44  length            u32, of the records
 *     48  records
 */
#include "core/metadata/metadata_log.h"

#include "io/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define ENTRY_MAGIC   0x474f4c4dU /* "MLOG" */
#define ENTRY_HEADER  48U
#define HEAD_MAGIC    0x4445484dU /* "MHED" */
#define HEAD_SIZE     48U
#define LOG_VERSION   1U
#define CONTROL_EPOCH "/controller_epoch"
#define HEAD_PATH     METADATA_LOG_ROOT "/head"

static void entry_path(uint64_t number, char path[STORE_PATH_MAX + 1])
{
    (void)snprintf(path, STORE_PATH_MAX + 1, METADATA_LOG_ROOT "/e/%010" PRIu64, number);
}

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31);
}

static uint64_t entry_hash(uint64_t previous, uint64_t nonce, uint32_t crc)
{
    return mix(mix(previous ^ nonce) + crc);
}

struct entry {
    int32_t epoch; /* of the controller */
    uint64_t number;
    uint64_t nonce;
    uint64_t previous; /* hash */
};

/* The caller's to mem_free(). */
static uint8_t *entry_bytes(const struct entry *entry, const struct metadata_records *records,
                            size_t *length)
{
    *length = ENTRY_HEADER + records->length;
    uint8_t *bytes = mem_alloc(*length);
    struct bytes_out out = bytes_out_of(bytes, *length);
    put_u32(&out, ENTRY_MAGIC);
    put_u32(&out, 0);
    put_u16(&out, LOG_VERSION);
    put_u16(&out, LOG_VERSION);
    put_i32(&out, entry->epoch);
    put_u64(&out, entry->number);
    put_u64(&out, entry->nonce);
    put_u64(&out, entry->previous);
    put_u32(&out, records->count);
    put_u32(&out, (uint32_t)records->length);
    put_bytes(&out, records->data, records->length);
    must(!out.overrun);
    uint32_t crc = crc32c(0, bytes + 8, *length - 8);
    out = bytes_out_of(bytes + 4, 4);
    put_u32(&out, crc);
    return bytes;
}

void metadata_log_init(struct metadata_log *log, const struct metadata_log_options *options)
{
    *log = (struct metadata_log){.options = *options, .epoch = -1};
}

void metadata_log_fini(struct metadata_log *log)
{
    mem_free(log->snapshot);
    mem_free(log->entry);
    metadata_records_fini(&log->chunks);
}

void metadata_log_fail(struct metadata_log *log, const char *format, ...)
{
    char sentence[512];
    if (log->failed)
        return;
    log->failed = true;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    log->options.on_failed(log->options.user, sentence);
}

/* ---- the head ---- */

size_t metadata_log_put_head(const struct metadata_log_head *head, uint8_t to[64])
{
    struct bytes_out out = bytes_out_of(to, HEAD_SIZE);
    put_u32(&out, HEAD_MAGIC);
    put_u32(&out, 0);
    put_u64(&out, head->number);
    put_u64(&out, head->hash);
    put_u64(&out, head->snapshot);
    put_u64(&out, head->snapshot_hash);
    put_u32(&out, head->snapshot_chunks);
    put_u32(&out, 0);
    must(!out.overrun);
    out = bytes_out_of(to + 4, 4);
    put_u32(&out, crc32c(0, to + 8, HEAD_SIZE - 8));
    return HEAD_SIZE;
}

bool metadata_log_take_head(const void *data, uint32_t len, struct metadata_log_head *head)
{
    struct bytes_in in = bytes_in_of(data, len);
    uint32_t magic = take_u32(&in);
    uint32_t crc = take_u32(&in);
    if (len < HEAD_SIZE || magic != HEAD_MAGIC || crc != crc32c(0, in.at, HEAD_SIZE - 8))
        return false;
    head->number = take_u64(&in);
    head->hash = take_u64(&in);
    head->snapshot = take_u64(&in);
    head->snapshot_hash = take_u64(&in);
    head->snapshot_chunks = take_u32(&in);
    return true;
}

uint32_t metadata_log_nodes(struct store_op ops[METADATA_LOG_NODES], uint8_t head[64])
{
    static const char *const paths[] = {METADATA_LOG_ROOT, METADATA_LOG_ROOT "/e",
                                        METADATA_LOG_ROOT "/snap", HEAD_PATH, CONTROL_EPOCH};
    const struct metadata_log_head empty = {0};
    for (uint32_t i = 0; i < METADATA_LOG_NODES; i++)
        ops[i] = (struct store_op){.kind = STORE_CREATE, .path = paths[i], .data = "", .len = 0};
    ops[3].data = head;
    ops[3].len = (uint32_t)metadata_log_put_head(&empty, head);
    ops[4].data = "0";
    ops[4].len = 1;
    return METADATA_LOG_NODES;
}

/* ---- reading ---- */

static void read_end(struct metadata_log *log);
static void read_behind_barrier(struct metadata_log *log);

static void fail_forked(struct metadata_log *log, uint64_t number)
{
    metadata_log_fail(log,
                      "entry %" PRIu64 " of the metadata log is not the one that was applied "
                      "here: the store has lost entries and was written to again; restore it "
                      "from a copy",
                      number);
}

bool metadata_log_holds(struct metadata_log *log)
{
    if (log->number != log->options.known.number || log->hash == log->options.known.hash)
        return true;
    fail_forked(log, log->number);
    return false;
}

/* Does it still hold what was applied here, in this life or an earlier one? */
static bool head_holds(struct metadata_log *log)
{
    const struct metadata_log_head *head = &log->head;
    const struct metadata_mark *known = &log->options.known;
    const uint64_t number = max_u64(log->number, known->number);
    const uint64_t hash = number == log->number ? log->hash : known->hash;
    if (head->number > number || number == 0)
        return true;
    if (head->number == number && head->hash == hash)
        return true;
    if (head->number == number)
        fail_forked(log, number);
    else
        metadata_log_fail(log,
                          "the metadata log ends at entry %" PRIu64 ", and entry %" PRIu64
                          " was applied here: the store has lost entries; restore it from a copy "
                          "that is not older",
                          head->number, number);
    return false;
}

/* False, and the log has failed: this entry is not what follows. */
static bool entry_take(struct metadata_log *log, const uint8_t *data, uint32_t len)
{
    uint64_t number = log->number + 1;
    struct bytes_in in = bytes_in_of(data, len);
    uint32_t magic = take_u32(&in);
    uint32_t crc = take_u32(&in);
    if (len < ENTRY_HEADER || magic != ENTRY_MAGIC || crc != crc32c(0, data + 8, len - 8)) {
        metadata_log_fail(log,
                          "entry %" PRIu64 " of the metadata log is damaged; restore the "
                          "metadata store from a copy",
                          number);
        return false;
    }
    (void)take_u16(&in);
    uint16_t least_reader = take_u16(&in);
    if (least_reader > LOG_VERSION) {
        metadata_log_fail(log,
                          "the metadata log is of version %u, which this version of Millrace "
                          "may not read; start the version that wrote it",
                          least_reader);
        return false;
    }
    int32_t epoch = take_i32(&in);
    uint64_t found = take_u64(&in);
    uint64_t nonce = take_u64(&in);
    uint64_t previous = take_u64(&in);
    (void)take_u32(&in);
    uint32_t length = take_u32(&in);
    if (found != number || previous != log->hash || epoch < log->epoch ||
        length != len - ENTRY_HEADER) {
        metadata_log_fail(log,
                          "entry %" PRIu64 " of the metadata log does not follow entry %" PRIu64
                          ": the store has lost or forked what it acknowledged; restore the "
                          "metadata store from a copy",
                          number, log->number);
        return false;
    }
    const struct metadata_batch batch = {.number = number, .records = in};
    char sentence[400];
    if (!log->options.on_batch(log->options.user, &batch, sentence, sizeof(sentence))) {
        metadata_log_fail(log, "entry %" PRIu64 " of the metadata log: %s", number, sentence);
        return false;
    }
    log->number = number;
    log->hash = entry_hash(previous, nonce, crc);
    log->epoch = epoch;
    log->bytes_since_snapshot += len;
    log->head_is_fresh = false;
    log->missed = false;
    return metadata_log_holds(log);
}

static void read_failed(struct metadata_log *log, const char *what, enum store_result result)
{
    if (result == STORE_EXPIRED || result == STORE_CLOSED)
        return; /* it is told as an event; until metadata_log_reopen() */
    metadata_log_fail(log, "cannot read %s of the metadata log: %s", what,
                      store_result_name(result));
}

static void on_entry(void *user, enum store_result result, const void *data, uint32_t len,
                     const struct store_stat *stat)
{
    (void)stat;
    struct metadata_log *log = user;
    if (log->failed)
        return;
    if (result == STORE_UNKNOWN) {
        metadata_log_read_next(log);
    } else if (result == STORE_NO_NODE && !log->head_is_fresh) {
        metadata_log_read_head(log); /* the end, or a snapshot took the entries' place */
    } else if (result == STORE_NO_NODE && log->head.number > log->number && !log->missed) {
        log->missed = true; /* a snapshot may have taken its place since the head was read */
        metadata_log_read_head(log);
    } else if (result == STORE_NO_NODE) {
        read_end(log);
    } else if (result != STORE_OK) {
        read_failed(log, "an entry", result);
    } else if (entry_take(log, data, len)) {
        metadata_log_read_next(log);
    }
}

void metadata_log_read_next(struct metadata_log *log)
{
    char path[STORE_PATH_MAX + 1];
    entry_path(log->number + 1, path);
    store_get(log->options.store, path, false, on_entry, log);
}

static void on_watched(void *user, enum store_result result, const void *data, uint32_t len,
                       const struct store_stat *stat)
{
    (void)data;
    (void)len;
    (void)stat;
    struct metadata_log *log = user;
    if (log->failed || log->in_office || log->reading)
        return;
    if (result == STORE_OK) {
        log->reading = true;
        metadata_log_read_next(log);
    } else if (result != STORE_NO_NODE && result != STORE_UNKNOWN) {
        read_failed(log, "the end", result);
    }
}

/* No entry follows. Then the head may not know of one, either. */
static void read_end(struct metadata_log *log)
{
    if (log->head.number > log->number) {
        metadata_log_fail(log,
                          "the metadata log ends at entry %" PRIu64 ", its head says %" PRIu64
                          ": the store has lost entries; restore it from a copy",
                          log->number, log->head.number);
        return;
    }
    if (log->again) {
        log->again = false;
        read_behind_barrier(log);
        return;
    }
    log->reading = false;
    void (*done)(void *) = log->read_done;
    log->read_done = NULL;
    log->options.on_end(log->options.user);
    if (done)
        done(log->read_user);
    if (!log->tailing || log->in_office || log->failed)
        return;
    char path[STORE_PATH_MAX + 1];
    entry_path(log->number + 1, path);
    store_exists(log->options.store, path, true, on_watched, log);
}

static void on_head(void *user, enum store_result result, const void *data, uint32_t len,
                    const struct store_stat *stat)
{
    struct metadata_log *log = user;
    if (log->failed)
        return;
    if (result == STORE_UNKNOWN) {
        metadata_log_read_head(log);
        return;
    }
    if (result != STORE_OK) {
        read_failed(log, "the head", result);
        return;
    }
    if (!metadata_log_take_head(data, len, &log->head)) {
        metadata_log_fail(log,
                          "the head of the metadata log is damaged; restore the metadata store "
                          "from a copy");
        return;
    }
    log->head_version = stat->version;
    log->head_is_fresh = true;
    if (!head_holds(log))
        return;
    if (log->head.snapshot > log->number)
        metadata_snapshot_read(log);
    else
        metadata_log_read_next(log);
}

void metadata_log_read_head(struct metadata_log *log)
{
    store_get(log->options.store, HEAD_PATH, false, on_head, log);
}

static void on_barrier_read(void *user, enum store_result result, uint32_t bad_op,
                            const struct store_stat *stats)
{
    (void)bad_op;
    (void)stats;
    struct metadata_log *log = user;
    if (log->failed)
        return;
    if (result == STORE_UNKNOWN)
        store_barrier(log->options.store, on_barrier_read, log);
    else if (result == STORE_OK)
        metadata_log_read_head(log);
    else
        read_failed(log, "the head", result);
}

static void read_behind_barrier(struct metadata_log *log)
{
    log->reading = true;
    log->head_is_fresh = false;
    store_barrier(log->options.store, on_barrier_read, log);
}

void metadata_log_read(struct metadata_log *log, bool tail, void (*done)(void *user), void *user)
{
    must(!log->in_office);
    log->tailing = tail;
    log->read_done = done;
    log->read_user = user;
    if (log->reading)
        log->again = true;
    else
        read_behind_barrier(log);
}

void metadata_log_on_event(struct metadata_log *log, const struct store_event *event)
{
    if (event->kind != STORE_NODE_CREATED || log->failed || log->reading || log->in_office)
        return;
    char path[STORE_PATH_MAX + 1];
    entry_path(log->number + 1, path);
    if (strcmp(event->path, path) != 0)
        return;
    log->reading = true;
    log->head_is_fresh = false;
    metadata_log_read_next(log);
}

/* ---- appending ---- */

void metadata_log_enter(struct metadata_log *log, int32_t epoch, int32_t epoch_version)
{
    must(!log->reading);
    log->in_office = true;
    log->epoch_version = epoch_version;
    log->epoch = epoch;
}

void metadata_log_leave(struct metadata_log *log)
{
    must(!log->append_done && !log->snapshot_done);
    log->in_office = false;
}

void metadata_log_reopen(struct metadata_log *log, struct store *store)
{
    metadata_log_leave(log);
    log->options.store = store;
    log->reading = false;
    log->again = false;
    log->missed = false;
    log->read_done = NULL;
}

static void append_end(struct metadata_log *log, enum metadata_append_result result)
{
    void (*done)(void *, enum metadata_append_result) = log->append_done;
    log->append_done = NULL;
    if (result == METADATA_APPENDED) {
        struct bytes_in in = bytes_in_of(log->entry + 4, 4);
        log->hash = entry_hash(log->hash, log->nonce, take_u32(&in));
        log->number++;
        log->head.number = log->number;
        log->head.hash = log->hash;
        log->head_version++;
        log->bytes_since_snapshot += log->entry_length;
    }
    mem_free(log->entry);
    log->entry = NULL;
    done(log->append_user, result);
}

static void append_send(struct metadata_log *log);
static void append_verify(struct metadata_log *log);

/* What became of an append whose answer was lost, or that was refused after it had been sent twice:
 * the entry tells. */
static void on_verified(void *user, enum store_result result, const void *data, uint32_t len,
                        const struct store_stat *stat)
{
    (void)stat;
    struct metadata_log *log = user;
    if (result == STORE_UNKNOWN) {
        append_verify(log);
    } else if (result == STORE_OK) {
        bool ours = len == log->entry_length && memcmp(data, log->entry, len) == 0;
        append_end(log, ours ? METADATA_APPENDED : METADATA_FENCED);
    } else if (result != STORE_NO_NODE) {
        append_end(log, METADATA_FAILED);
    } else if (log->refused) {
        append_end(log, METADATA_FENCED);
    } else {
        log->sent_again = true;
        append_send(log);
    }
}

static void on_barrier_verify(void *user, enum store_result result, uint32_t bad_op,
                              const struct store_stat *stats)
{
    (void)bad_op;
    (void)stats;
    struct metadata_log *log = user;
    if (result == STORE_UNKNOWN) {
        append_verify(log);
    } else if (result == STORE_OK) {
        char path[STORE_PATH_MAX + 1];
        entry_path(log->number + 1, path);
        store_get(log->options.store, path, false, on_verified, log);
    } else {
        append_end(log, METADATA_FAILED);
    }
}

static void append_verify(struct metadata_log *log)
{
    store_barrier(log->options.store, on_barrier_verify, log);
}

static void on_append(void *user, enum store_result result, uint32_t bad_op,
                      const struct store_stat *stats)
{
    (void)bad_op;
    (void)stats;
    struct metadata_log *log = user;
    switch (result) {
    case STORE_OK:
        append_end(log, METADATA_APPENDED);
        return;
    case STORE_UNKNOWN:
        if (io_mutation(log->options.sh->io, "metadata.unknown_append_believed"))
            append_end(log, METADATA_APPENDED);
        else
            append_verify(log);
        return;
    case STORE_BAD_VERSION:
    case STORE_EXISTS:
        log->refused = true;
        append_verify(log);
        return;
    case STORE_NO_NODE:
    case STORE_NOT_EMPTY:
    case STORE_TOO_BIG:
    case STORE_EXPIRED:
    case STORE_CLOSED:
        append_end(log, METADATA_FAILED);
        return;
    }
}

static void append_send(struct metadata_log *log)
{
    struct metadata_log_head head = log->head;
    struct bytes_in in = bytes_in_of(log->entry + 4, 4);
    head.number = log->number + 1;
    head.hash = entry_hash(log->hash, log->nonce, take_u32(&in));
    uint8_t head_bytes[64];
    char path[STORE_PATH_MAX + 1];
    entry_path(head.number, path);
    const struct store_op ops[] = {
        {.kind = STORE_CHECK, .path = CONTROL_EPOCH, .version = log->epoch_version},
        {.kind = STORE_CREATE,
         .path = path,
         .data = log->entry,
         .len = (uint32_t)log->entry_length},
        {.kind = STORE_SET,
         .path = HEAD_PATH,
         .version = log->head_version,
         .data = head_bytes,
         .len = (uint32_t)metadata_log_put_head(&head, head_bytes)},
    };
    store_multi(log->options.store, ops, array_count(ops), on_append, log);
}

void metadata_log_append(struct metadata_log *log, const struct metadata_records *records,
                         void (*done)(void *user, enum metadata_append_result result), void *user)
{
    must(log->in_office && !log->append_done && !log->reading && !log->snapshot_done);
    must(records->length <= METADATA_BATCH_BYTES_MAX);
    log->append_done = done;
    log->append_user = user;
    log->sent_again = false;
    log->refused = false;
    log->nonce = io_random(log->options.sh->io);
    const struct entry entry = {
        .epoch = log->epoch, .number = log->number + 1, .nonce = log->nonce, .previous = log->hash};
    log->entry = entry_bytes(&entry, records, &log->entry_length);
    append_send(log);
}

/* ---- a log that begins with something ---- */

enum store_result metadata_log_seed(struct store_tree *tree, uint64_t number, uint64_t nonce,
                                    const struct metadata_records *records)
{
    const struct store_node *node = store_tree_find(tree, HEAD_PATH);
    struct metadata_log_head head;
    must(node != NULL && metadata_log_take_head(node->data, node->len, &head));
    must(head.number + 1 == number && records->length <= METADATA_BATCH_BYTES_MAX);
    const struct entry entry = {.number = number, .nonce = nonce, .previous = head.hash};
    size_t length;
    uint8_t *bytes = entry_bytes(&entry, records, &length);
    struct bytes_in in = bytes_in_of(bytes + 4, 4);
    head.number = number;
    head.hash = entry_hash(head.hash, nonce, take_u32(&in));
    uint8_t head_bytes[64];
    char path[STORE_PATH_MAX + 1];
    entry_path(number, path);
    const struct store_op ops[] = {
        {.kind = STORE_CREATE, .path = path, .data = bytes, .len = (uint32_t)length},
        {.kind = STORE_SET,
         .path = HEAD_PATH,
         .version = -1,
         .data = head_bytes,
         .len = (uint32_t)metadata_log_put_head(&head, head_bytes)},
    };
    uint32_t bad_op;
    enum store_result result = store_tree_multi(tree, ops, array_count(ops), 0, &bad_op, NULL);
    mem_free(bytes);
    return result;
}
