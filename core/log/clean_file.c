/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/clean_file.h"

#include <endian.h>
#include <string.h>

#include "io/mem.h"

#define INDEX_MAX 8192U /* entries: above it every other one goes */

/* ---- reading ---- */

void clean_input_init(struct clean_input *in, struct fs *fs)
{
    *in = (struct clean_input){.fs = fs, .file = -1, .buffer_size = CLEAN_BUFFER_BYTES};
    in->buffer = mem_pages(in->buffer_size);
}

bool clean_input_open(struct clean_input *in, const char *path, uint32_t size, int64_t base)
{
    must(in->file < 0);
    int64_t result = fs_open(in->fs, path, FS_READ | FS_DIRECT);
    if (result < 0) {
        in->error = result;
        return false;
    }
    in->file = (int)result;
    in->size = size;
    in->at = 0;
    in->offset_from = base;
    in->have = 0;
    return true;
}

void clean_input_close(struct clean_input *in)
{
    if (in->file >= 0)
        fs_close(in->fs, in->file);
    in->file = -1;
}

void clean_input_fini(struct clean_input *in)
{
    clean_input_close(in);
    mem_pages_free(in->buffer, in->buffer_size);
    in->buffer = NULL;
}

/* At least `len` bytes from `at` on are in the buffer. */
static enum clean_read input_hold(struct clean_input *in, uint32_t len)
{
    uint64_t end = (uint64_t)in->at + len;
    if (in->have > 0 && in->at >= in->from && end <= in->from + in->have)
        return CLEAN_BATCH;
    uint64_t from = round_down(in->at, FS_BLOCK);
    if (round_up(end, FS_BLOCK) - from > in->buffer_size) {
        mem_pages_free(in->buffer, in->buffer_size);
        in->buffer_size = round_up(end, FS_BLOCK) - from;
        in->buffer = mem_pages(in->buffer_size);
    }
    uint64_t wanted = min_u64(in->buffer_size, round_up(in->size, FS_BLOCK) - from);
    int64_t result = fs_read(in->fs, in->file, in->buffer, wanted, from);
    in->from = from;
    in->have = (uint64_t)max_i64(result, 0);
    in->bytes += in->have;
    if (result < 0) {
        in->error = result;
        return CLEAN_FAILED;
    }
    return from + in->have >= end ? CLEAN_BATCH : CLEAN_DAMAGED;
}

/* False: `damage` says why. */
static bool input_header_fits(struct clean_input *in)
{
    const struct batch_header *header = &in->header;
    const int64_t size = batch_size(header);
    in->damage = CLEAN_HEADER;
    if (size < BATCH_HEADER_SIZE || header->magic != BATCH_MAGIC || header->last_offset_delta < 0 ||
        header->record_count < 0)
        return false;
    in->damage = CLEAN_BEYOND;
    if (size > in->size - in->at)
        return false;
    in->damage = CLEAN_ORDER;
    return header->base_offset >= in->offset_from;
}

enum clean_read clean_input_next(struct clean_input *in, const uint8_t **bytes)
{
    struct batch_header *header = &in->header;
    if (in->at == in->size)
        return CLEAN_END;
    in->damage = CLEAN_SHORT;
    if (in->size - in->at < BATCH_HEADER_SIZE)
        return CLEAN_DAMAGED;
    enum clean_read status = input_hold(in, BATCH_HEADER_SIZE);
    if (status != CLEAN_BATCH)
        return status;
    batch_header_of(header, in->buffer + (in->at - in->from));
    int64_t size = batch_size(header);
    if (!input_header_fits(in))
        return CLEAN_DAMAGED;
    in->damage = CLEAN_SHORT;
    status = input_hold(in, (uint32_t)size);
    if (status != CLEAN_BATCH)
        return status;
    *bytes = in->buffer + (in->at - in->from);
    struct piece piece;
    in->damage = CLEAN_CHECKSUM;
    if (batch_crc(span_of(&piece, *bytes, (uint32_t)size)) != header->crc)
        return CLEAN_DAMAGED;
    in->at += (uint32_t)size;
    in->offset_from = batch_last_offset(header) + 1;
    return CLEAN_BATCH;
}

/* ---- writing ---- */

void clean_output_init(struct clean_output *out, struct fs *fs)
{
    *out = (struct clean_output){.fs = fs, .file = -1};
    out->buffer = mem_pages(CLEAN_BUFFER_BYTES);
    out->index = mem_alloc(INDEX_MAX * sizeof(out->index[0]));
}

void clean_output_begin(struct clean_output *out, const char *path, int64_t base,
                        uint32_t index_interval)
{
    must(out->file < 0);
    mem_free(out->path);
    out->path = mem_strdup(path);
    out->base = base;
    out->size = 0;
    out->used = 0;
    out->max_timestamp = INT64_MIN;
    out->index_count = 0;
    out->index_interval = (uint32_t)max_u64(index_interval, 1);
}

/* The first `len` bytes of the buffer, whole blocks, to the place behind what was written. */
static int64_t output_write(struct clean_output *out, uint32_t len)
{
    int64_t result = 0;
    if (out->file < 0) {
        result = fs_open(out->fs, out->path, FS_WRITE | FS_CREATE | FS_EXCLUSIVE | FS_DIRECT);
        if (result < 0)
            return result;
        out->file = (int)result;
    }
    result = fs_write(out->fs, out->file, out->buffer, len, out->size - out->used);
    out->bytes += len;
    return min_i64(result, 0);
}

static void output_index(struct clean_output *out, int64_t offset)
{
    uint32_t last = out->index_count > 0 ? out->index[out->index_count - 1].position : 0;
    if (out->size - last < out->index_interval || out->size == 0)
        return;
    if (out->index_count == INDEX_MAX) {
        for (uint32_t i = 0; i < INDEX_MAX / 2; i++)
            out->index[i] = out->index[(size_t)i * 2];
        out->index_count = INDEX_MAX / 2;
        out->index_interval *= 2;
    }
    out->index[out->index_count++] = (struct clean_index_entry){
        .relative_offset = (uint32_t)(offset - out->base), .position = out->size};
}

int64_t clean_output_put(struct clean_output *out, const uint8_t *bytes, uint32_t len)
{
    struct batch_header header;
    batch_header_of(&header, bytes);
    output_index(out, batch_last_offset(&header));
    if (header.record_count > 0 && header.max_timestamp > out->max_timestamp) {
        out->max_timestamp = header.max_timestamp;
        out->max_offset = header.base_offset;
        out->max_position = out->size;
        out->max_length = len;
    }
    while (len > 0) {
        uint32_t run = (uint32_t)min_u64(len, CLEAN_BUFFER_BYTES - out->used);
        memcpy(out->buffer + out->used, bytes, run);
        out->used += run;
        out->size += run;
        bytes += run;
        len -= run;
        if (out->used < CLEAN_BUFFER_BYTES)
            continue;
        int64_t result = output_write(out, CLEAN_BUFFER_BYTES);
        if (result < 0)
            return result;
        out->used = 0;
    }
    return 0;
}

/* Kafka's form: big-endian, relative offset and position. */
static int64_t write_index(const struct clean_output *out, const char *path)
{
    size_t size = out->index_count * 8U;
    uint8_t *bytes = mem_zalloc(size + 1);
    for (uint32_t i = 0; i < out->index_count; i++) {
        uint32_t pair[2] = {htobe32(out->index[i].relative_offset),
                            htobe32(out->index[i].position)};
        memcpy(bytes + (size_t)i * 8, pair, 8);
    }
    int64_t result = fs_open(out->fs, path, FS_WRITE | FS_CREATE);
    if (result >= 0) {
        int file = (int)result;
        result = size > 0 ? fs_write(out->fs, file, bytes, size, 0) : 0;
        if (result >= 0)
            result = fs_sync(out->fs, file);
        fs_close(out->fs, file);
    }
    mem_free(bytes);
    return min_i64(result, 0);
}

int64_t clean_output_finish(struct clean_output *out, const char *index_path, bool mistake_no_flush)
{
    if (out->size == 0)
        return 0;
    uint32_t whole = (uint32_t)round_up(out->used, FS_BLOCK);
    memset(out->buffer + out->used, 0, whole - out->used);
    int64_t result = whole > 0 ? output_write(out, whole) : 0;
    if (result >= 0)
        result = fs_truncate(out->fs, out->file, out->size);
    if (result >= 0 && !mistake_no_flush)
        result = fs_sync(out->fs, out->file);
    if (result >= 0)
        result = write_index(out, index_path);
    fs_close(out->fs, out->file);
    out->file = -1;
    return result;
}

void clean_output_drop(struct clean_output *out, bool may_unlink)
{
    if (out->file < 0)
        return;
    fs_close(out->fs, out->file);
    if (may_unlink)
        (void)!fs_unlink(out->fs, out->path);
    out->file = -1;
}

void clean_output_fini(struct clean_output *out)
{
    must(out->file < 0);
    mem_pages_free(out->buffer, CLEAN_BUFFER_BYTES);
    mem_free(out->index);
    mem_free(out->path);
}
