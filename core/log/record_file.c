/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/record_file.h"

#include "io/mem.h"

#include <errno.h>
#include <stdio.h>

#define RECORD_FILE_VERSION 2U
#define RECORD_FILE_READER  1U          /* the oldest that may read it */
#define RECORD_BATCH_MAGIC  0x42434552U /* "RECB" */
#define RECORD_BATCH_HEADER 32U

uint64_t record_file_batch_size(uint32_t payload_length)
{
    return round_up((uint64_t)RECORD_BATCH_HEADER + payload_length, FS_BLOCK);
}

/* ---- one batch ---- */

static void record_batch_encode(uint8_t *to, uint64_t nonce, uint64_t seq,
                                struct record_payload payload)
{
    struct bytes_out out = bytes_out_of(to, RECORD_BATCH_HEADER);
    put_u32(&out, RECORD_BATCH_MAGIC);
    put_u32(&out, 0);
    put_u64(&out, nonce);
    put_u64(&out, seq);
    put_u32(&out, payload.length);
    put_u32(&out, 0);
    uint32_t crc = crc32c(0, to + 8, RECORD_BATCH_HEADER - 8);
    crc = crc32c_copy(crc, to + RECORD_BATCH_HEADER, payload.data, payload.length);
    out = bytes_out_of(to + 4, 4);
    put_u32(&out, crc);
    size_t used = RECORD_BATCH_HEADER + (size_t)payload.length;
    memset(to + used, 0, record_file_batch_size(payload.length) - used);
}

/* Is there a whole batch of this file at `at`? Its sequence number, 0 for no. */
static uint64_t record_batch_check(const uint8_t *at, uint64_t room, uint64_t nonce,
                                   struct record_payload *payload)
{
    struct bytes_in in = bytes_in_of(at, room < RECORD_BATCH_HEADER ? 0 : RECORD_BATCH_HEADER);
    uint32_t magic = take_u32(&in);
    uint32_t crc = take_u32(&in);
    uint64_t found_nonce = take_u64(&in);
    uint64_t seq = take_u64(&in);
    uint32_t length = take_u32(&in);
    if (in.overrun || magic != RECORD_BATCH_MAGIC || found_nonce != nonce ||
        length > room - RECORD_BATCH_HEADER)
        return 0;
    if (crc != crc32c(0, at + 8, RECORD_BATCH_HEADER - 8 + (size_t)length))
        return 0;
    *payload = (struct record_payload){.data = at + RECORD_BATCH_HEADER, .length = length};
    return seq;
}

/* ---- making a file: aside, synced, renamed ---- */

struct record_new {
    struct fs *fs;
    const char *path;
    const char *magic;
    const uint8_t *directory;
    uint64_t nonce;
    uint64_t first_seq;
    const struct record_payload *payloads;
    uint32_t count;
    /* results */
    int file;
    uint64_t position;
    uint64_t size;
    const char *verb; /* of what failed */
};

static int64_t record_new_write(struct record_new *rn)
{
    uint64_t biggest = FS_BLOCK;
    for (uint32_t i = 0; i < rn->count; i++)
        biggest = max_u64(biggest, record_file_batch_size(rn->payloads[i].length));
    uint8_t *buffer = mem_pages(biggest);
    struct bytes_out own =
        format_begin(buffer, rn->magic, RECORD_FILE_VERSION, RECORD_FILE_READER, rn->directory);
    put_u64(&own, rn->nonce);
    put_u64(&own, rn->first_seq);
    put_u64(&own, rn->count);
    format_end(buffer);
    int64_t result = fs_write(rn->fs, rn->file, buffer, FS_BLOCK, 0);
    rn->position = FS_BLOCK;
    for (uint32_t i = 0; result >= 0 && i < rn->count; i++) {
        uint64_t bytes = record_file_batch_size(rn->payloads[i].length);
        record_batch_encode(buffer, rn->nonce, rn->first_seq + i, rn->payloads[i]);
        result = fs_write(rn->fs, rn->file, buffer, bytes, rn->position);
        rn->position += bytes;
    }
    mem_pages_free(buffer, biggest);
    return result;
}

static int record_sync_parent(struct fs *fs, const char *path)
{
    char *parent = mem_strdup(path);
    char *slash = strrchr(parent, '/');
    int result;
    if (slash == NULL) {
        result = fs_sync_dir(fs, ".");
    } else {
        *slash = '\0';
        result = fs_sync_dir(fs, parent);
    }
    mem_free(parent);
    return result;
}

static int64_t record_new_make(struct record_new *rn)
{
    size_t size = strlen(rn->path) + sizeof(".new");
    char *aside = mem_alloc(size);
    (void)snprintf(aside, size, "%s.new", rn->path);
    rn->verb = "create";
    int64_t result = fs_open(rn->fs, aside, FS_WRITE | FS_CREATE | FS_DIRECT);
    rn->file = (int)result;
    if (result >= 0) {
        rn->verb = "write";
        result = fs_truncate(rn->fs, rn->file, 0);
        if (result >= 0)
            result = record_new_write(rn);
        rn->size = round_up(rn->position + 1, RECORD_FILE_STEP);
        if (result >= 0)
            result = fs_allocate(rn->fs, rn->file, rn->position, rn->size - rn->position);
        if (result >= 0)
            result = fs_sync(rn->fs, rn->file);
        if (result >= 0)
            result = fs_rename(rn->fs, aside, rn->path);
        if (result >= 0)
            result = record_sync_parent(rn->fs, rn->path);
        if (result < 0)
            fs_close(rn->fs, rn->file);
    }
    mem_free(aside);
    return result;
}

static void record_file_adopt(struct record_file *rf, const struct record_new *rn)
{
    if (rf->file >= 0)
        fs_close(rf->fs, rf->file);
    rf->file = rn->file;
    rf->nonce = rn->nonce;
    rf->next_seq = rn->first_seq + rn->count;
    rf->born_seq = rf->next_seq;
    rf->position = rn->position;
    rf->size = rn->size;
}

static void record_file_prepare(struct record_file *rf, struct fs *fs, const char *path,
                                const char magic[8], const uint8_t directory[16])
{
    *rf = (struct record_file){.fs = fs, .file = -1, .next_seq = 1};
    rf->path = mem_strdup(path);
    memcpy(rf->magic, magic, 8);
    memcpy(rf->directory, directory, 16);
    STAILQ_INIT(&rf->queue);
}

bool record_file_create(struct record_file *rf, struct fs *fs, const char *path,
                        const char magic[8], const uint8_t directory[16], uint64_t nonce,
                        const struct record_payload *payloads, uint32_t count,
                        struct log_error *error)
{
    record_file_prepare(rf, fs, path, magic, directory);
    if (record_file_rewrite_now(rf, payloads, count, nonce, error))
        return true;
    record_file_close(rf);
    return false;
}

bool record_file_restart(struct record_file *rf, struct fs *fs, const char *path,
                         const char magic[8], const uint8_t directory[16], uint64_t nonce,
                         uint64_t first_seq, struct log_error *error)
{
    record_file_prepare(rf, fs, path, magic, directory);
    rf->next_seq = first_seq;
    if (record_file_rewrite_now(rf, NULL, 0, nonce, error))
        return true;
    record_file_close(rf);
    return false;
}

bool record_file_rewrite_now(struct record_file *rf, const struct record_payload *payloads,
                             uint32_t count, uint64_t nonce, struct log_error *error)
{
    must(!rf->busy);
    struct record_new rn = {.fs = rf->fs,
                            .path = rf->path,
                            .magic = rf->magic,
                            .directory = rf->directory,
                            .nonce = nonce,
                            .first_seq = rf->next_seq,
                            .payloads = payloads,
                            .count = count};
    int64_t result = record_new_make(&rn);
    if (result < 0)
        return log_refuse_io(error, rn.verb, rf->path, result);
    record_file_adopt(rf, &rn);
    return true;
}

/* ---- reading ---- */

static bool record_file_head(struct record_file *rf, const uint8_t *block, struct log_error *error)
{
    struct bytes_in own;
    const uint8_t *directory = NULL;
    switch (format_check(block, rf->magic, RECORD_FILE_VERSION, &own, &directory)) {
    case FORMAT_OK:
        break;
    case FORMAT_NEWER:
        return log_refuse(error, LOG_ERROR_NEWER,
                          "%s was written by a newer version of Millrace that this one may not "
                          "read; start that version",
                          rf->path);
    case FORMAT_FOREIGN:
        return log_refuse(error, LOG_ERROR_FOREIGN,
                          "%s is not a file of Millrace; move it away or choose another directory",
                          rf->path);
    case FORMAT_EMPTY:
    case FORMAT_DAMAGED:
        return log_refuse(error, LOG_ERROR_DAMAGED,
                          "%s is damaged at offset 0: its first block does not match its checksum; "
                          "restore the file from a copy",
                          rf->path);
    }
    if (memcmp(directory, rf->directory, 16) != 0)
        return log_refuse(error, LOG_ERROR_FOREIGN,
                          "%s belongs to another data directory; restore the right file", rf->path);
    rf->nonce = take_u64(&own);
    rf->next_seq = take_u64(&own);
    rf->born_seq = rf->next_seq + take_u64(&own);
    return true;
}

static bool record_file_walk(struct record_file *rf, const uint8_t *bytes, uint64_t size,
                             bool (*on_batch)(void *, const uint8_t *, uint32_t,
                                              struct log_error *),
                             void *argument, struct log_error *error)
{
    static const uint8_t zeros[FS_BLOCK];
    rf->position = FS_BLOCK;
    struct record_payload payload = {0};
    while (rf->position < size && record_batch_check(bytes + rf->position, size - rf->position,
                                                     rf->nonce, &payload) == rf->next_seq) {
        if (!on_batch(argument, payload.data, payload.length, error))
            return false;
        rf->position += record_file_batch_size(payload.length);
        rf->next_seq++;
    }
    /* What ends the walk: zeros never written, a torn tail, or damage with valid batches behind. */
    for (uint64_t at = rf->position; at < size; at += FS_BLOCK) {
        rf->torn_tail =
            rf->torn_tail || memcmp(bytes + at, zeros, min_u64(FS_BLOCK, size - at)) != 0;
        if (record_batch_check(bytes + at, size - at, rf->nonce, &payload) > rf->next_seq)
            return log_refuse(error, LOG_ERROR_DAMAGED,
                              "%s is damaged at offset %llu: batch %llu does not match its "
                              "checksum, and later ones follow; restore the file from a copy",
                              rf->path, (unsigned long long)rf->position,
                              (unsigned long long)rf->next_seq);
    }
    return rf->next_seq >= rf->born_seq ||
           log_refuse(error, LOG_ERROR_DAMAGED,
                      "%s is damaged at offset %llu: batch %llu of the %llu that it was written "
                      "with is not there, or does not match its checksum; restore the file from a "
                      "copy",
                      rf->path, (unsigned long long)rf->position, (unsigned long long)rf->next_seq,
                      (unsigned long long)rf->born_seq - 1);
}

bool record_file_open(struct record_file *rf, struct fs *fs, const char *path, const char magic[8],
                      const uint8_t directory[16],
                      bool (*on_batch)(void *, const uint8_t *, uint32_t, struct log_error *),
                      void *argument, struct log_error *error)
{
    record_file_prepare(rf, fs, path, magic, directory);
    int64_t result = fs_open(fs, path, FS_WRITE | FS_DIRECT);
    if (result < 0) {
        record_file_close(rf);
        return log_refuse_io(error, "open", path, result);
    }
    rf->file = (int)result;
    result = fs_size(fs, rf->file);
    uint64_t size = result > 0 ? (uint64_t)result : 0;
    size_t room = round_up(max_u64(size, 1), FS_BLOCK);
    uint8_t *bytes = mem_pages(room);
    for (uint64_t at = 0; result >= 0 && at < size;) {
        result = fs_read(fs, rf->file, bytes + at, min_u64(room - at, 1U << 20), at);
        if (result <= 0)
            break;
        at += (uint64_t)result;
    }
    bool good = result < 0 ? log_refuse_io(error, "read", path, result)
                           : record_file_head(rf, bytes, error) &&
                                 record_file_walk(rf, bytes, size, on_batch, argument, error);
    rf->size = round_down(size, FS_BLOCK);
    mem_pages_free(bytes, room);
    /* A batch that a killed process was writing may be read before it is on stable storage, and the
     * next durable write does not cover it: without this, a power loss could take it back from
     * under its successor. The same holds for its name, when a rename was the last thing done. */
    result = good ? fs_sync(fs, rf->file) : 0;
    if (good && result >= 0)
        result = record_sync_parent(fs, path);
    if (result < 0)
        good = log_refuse_io(error, "sync", path, result);
    if (!good)
        record_file_close(rf);
    return good;
}

void record_file_close(struct record_file *rf)
{
    must(!rf->busy);
    if (rf->file >= 0)
        fs_close(rf->fs, rf->file);
    rf->file = -1;
    mem_free(rf->path);
    rf->path = NULL;
    if (rf->buffer != NULL)
        mem_pages_free(rf->buffer, rf->buffer_size);
    rf->buffer = NULL;
}

/* ---- appending ---- */

static uint64_t record_file_encode(struct record_file *rf, struct record_payload payload)
{
    uint64_t bytes = record_file_batch_size(payload.length);
    if (bytes > rf->buffer_size) {
        if (rf->buffer != NULL)
            mem_pages_free(rf->buffer, rf->buffer_size);
        rf->buffer_size = round_up(bytes, 64U << 10);
        rf->buffer = mem_pages(rf->buffer_size);
    }
    record_batch_encode(rf->buffer, rf->nonce, rf->next_seq, payload);
    return bytes;
}

static int64_t record_file_grow(struct record_file *rf, uint64_t bytes)
{
    uint64_t wanted = round_up(rf->position + bytes, RECORD_FILE_STEP);
    int64_t result = fs_allocate(rf->fs, rf->file, rf->size, wanted - rf->size);
    if (result >= 0)
        result = fs_sync(rf->fs, rf->file);
    if (result >= 0)
        rf->size = wanted;
    return result;
}

static void record_file_next(struct record_file *rf);

static void record_file_fail(struct record_file *rf, const char *verb, int64_t result)
{
    struct log_error error;
    (void)log_refuse_io(&error, verb, rf->path, result);
    rf->failed = true;
    (void)snprintf(rf->reason, sizeof(rf->reason), "%.255s", error.text);
}

static void record_append_finish(struct record_file *rf)
{
    struct record_append *append = STAILQ_FIRST(&rf->queue);
    STAILQ_REMOVE_HEAD(&rf->queue, link);
    append->failed = rf->failed;
    rf->busy = false;
    append->done(append);
    if (!rf->busy)
        record_file_next(rf);
}

static void record_append_on_write(struct io_op *op)
{
    struct record_file *rf = container_of(op, struct record_file, op);
    if (op->res < 0) {
        record_file_fail(rf, "append to", op->res);
    } else {
        rf->position += (uint64_t)op->res;
        rf->next_seq++;
    }
    record_append_finish(rf);
}

static void record_append_write(struct record_file *rf)
{
    uint64_t bytes = record_file_encode(rf, STAILQ_FIRST(&rf->queue)->payload);
    struct iovec iov = {.iov_base = rf->buffer, .iov_len = bytes};
    rf->op.done = record_append_on_write;
    io_write(rf->io, &rf->op, rf->file, &iov, 1, rf->position, true);
}

static void record_grow_work(void *argument)
{
    struct record_file *rf = argument;
    rf->work_result =
        record_file_grow(rf, record_file_batch_size(STAILQ_FIRST(&rf->queue)->payload.length));
}

static void record_grow_on_work(struct io_op *op)
{
    struct record_file *rf = container_of(op, struct record_file, op);
    if (rf->work_result >= 0) {
        record_append_write(rf);
        return;
    }
    record_file_fail(rf, "extend", rf->work_result);
    record_append_finish(rf);
}

/* A failed file fails what comes after it, but not inside the call that asked. */
static void record_fail_on_work(struct io_op *op)
{
    record_append_finish(container_of(op, struct record_file, op));
}

static void record_nothing(void *argument)
{
    (void)argument;
}

/* ---- rewriting ---- */

static void record_rewrite_work(void *argument)
{
    struct record_file *rf = argument;
    const struct record_rewrite *rewrite = rf->rewrite;
    struct record_new rn = {.fs = rf->fs,
                            .path = rf->path,
                            .magic = rf->magic,
                            .directory = rf->directory,
                            .nonce = rewrite->nonce,
                            .first_seq = rf->next_seq,
                            .payloads = rewrite->payloads,
                            .count = rewrite->count};
    rf->work_result = record_new_make(&rn);
    if (rf->work_result >= 0)
        record_file_adopt(rf, &rn);
}

static void record_rewrite_on_work(struct io_op *op)
{
    struct record_file *rf = container_of(op, struct record_file, op);
    struct record_rewrite *rewrite = rf->rewrite;
    rf->rewrite = NULL;
    rf->busy = false;
    if (rf->work_result < 0)
        record_file_fail(rf, "rewrite", rf->work_result);
    rewrite->failed = rf->failed;
    rewrite->done(rewrite);
    if (!rf->busy)
        record_file_next(rf);
}

/* ---- what is next: one thing at a time ---- */

static void record_file_next(struct record_file *rf)
{
    if (rf->rewrite != NULL && !rf->failed) {
        rf->busy = true;
        rf->op.done = record_rewrite_on_work;
        io_work(rf->io, &rf->op, record_rewrite_work, rf);
        return;
    }
    const struct record_append *append = STAILQ_FIRST(&rf->queue);
    if (append == NULL)
        return;
    rf->busy = true;
    if (rf->failed) {
        rf->op.done = record_fail_on_work;
        io_work(rf->io, &rf->op, record_nothing, NULL);
        return;
    }
    if (rf->position + record_file_batch_size(append->payload.length) > rf->size) {
        rf->op.done = record_grow_on_work;
        io_work(rf->io, &rf->op, record_grow_work, rf);
        return;
    }
    record_append_write(rf);
}

void record_file_append(struct record_file *rf, struct io *io, struct record_append *append)
{
    must(append->payload.length <= RECORD_FILE_BATCH_MAX);
    rf->io = io;
    append->failed = false;
    STAILQ_INSERT_TAIL(&rf->queue, append, link);
    if (!rf->busy)
        record_file_next(rf);
}

void record_file_rewrite(struct record_file *rf, struct io *io, struct record_rewrite *rewrite)
{
    must(rf->rewrite == NULL && !rf->failed);
    rf->io = io;
    rf->rewrite = rewrite;
    if (!rf->busy)
        record_file_next(rf);
}
