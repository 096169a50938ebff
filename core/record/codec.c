/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record/codec_private.h"

#include <string.h>
#include <strings.h>

#include "io/mem.h"

/* zstd's own default for a decoder, and Kafka's: a window of 128 MiB, which level 22 uses. Only the
 * part of it that output fills is ever touched, so the limit on output bounds real memory. */
#define ZSTD_WINDOW_LOG_MAX 27
/* Snappy's best element makes 64 bytes out of 3. */
#define SNAPPY_RATIO_MAX    22U
#define LZ4_FRAME_MAGIC     0x184d2204U
#define LZ4_BLOCK_ID_64_KIB 4

static const char *const codec_names[CODEC_COUNT] = {"none", "gzip", "snappy", "lz4", "zstd"};

const char *codec_name(int codec)
{
    return codec >= 0 && codec < CODEC_COUNT ? codec_names[codec] : NULL;
}

bool codec_of_name(const char *name, enum codec *codec)
{
    for (int i = 0; i < CODEC_COUNT; i++) {
        if (strcasecmp(name, codec_names[i]) == 0) {
            *codec = (enum codec)i;
            return true;
        }
    }
    *codec = CODEC_NONE;
    return strcasecmp(name, "uncompressed") == 0;
}

static void *library_alloc(void *opaque, size_t size)
{
    (void)opaque;
    return mem_alloc(size);
}

static void *zlib_alloc(void *opaque, unsigned count, unsigned size)
{
    (void)opaque;
    return mem_zalloc((size_t)count * size);
}

static void library_free(void *opaque, void *pointer)
{
    (void)opaque;
    mem_free(pointer);
}

const LZ4F_CustomMem codec_lz4_memory = {.customAlloc = library_alloc, .customFree = library_free};
const ZSTD_customMem codec_zstd_memory = {.customAlloc = library_alloc, .customFree = library_free};

z_stream *codec_gzip_new(void)
{
    z_stream *gzip = mem_zalloc(sizeof(*gzip));
    gzip->zalloc = zlib_alloc;
    gzip->zfree = library_free;
    return gzip;
}

static uint32_t be32_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Grows *buffer to `size` without keeping what is in it. */
static void buffer_reserve(uint8_t **buffer, size_t *cap, size_t size)
{
    if (size <= *cap)
        return;
    mem_free(*buffer);
    *buffer = mem_alloc(size);
    *cap = size;
}

static void drop_gzip(struct inflater *inflater)
{
    if (inflater->gzip != NULL)
        (void)inflateEnd(inflater->gzip);
    mem_free(inflater->gzip);
    inflater->gzip = NULL;
}

static void drop_lz4(struct inflater *inflater)
{
    if (inflater->lz4 != NULL)
        (void)LZ4F_freeDecompressionContext(inflater->lz4);
    inflater->lz4 = NULL;
}

static void drop_zstd(struct inflater *inflater)
{
    if (inflater->zstd != NULL)
        (void)ZSTD_freeDCtx(inflater->zstd);
    inflater->zstd = NULL;
}

static void drop_blocks(struct inflater *inflater)
{
    mem_free(inflater->block);
    mem_free(inflater->gathered);
    inflater->block = inflater->gathered = NULL;
    inflater->block_cap = inflater->gathered_cap = 0;
    inflater->block_len = inflater->block_at = 0;
}

void inflater_init(struct inflater *inflater)
{
    *inflater = (struct inflater){.status = INFLATE_END};
}

void inflater_fini(struct inflater *inflater)
{
    drop_gzip(inflater);
    drop_lz4(inflater);
    drop_zstd(inflater);
    drop_blocks(inflater);
    mem_free(inflater->slice);
    *inflater = (struct inflater){.status = INFLATE_END};
}

/* A context that failed in the middle, or grew, is cheaper to drop than to reason about. */
static void release_oversize(struct inflater *inflater)
{
    if (inflater->block_cap > KEEP_SIZE_MAX || inflater->gathered_cap > KEEP_SIZE_MAX)
        drop_blocks(inflater);
    if (inflater->lz4 != NULL && inflater->is_oversize)
        drop_lz4(inflater);
    if (inflater->zstd != NULL && ZSTD_sizeof_DCtx(inflater->zstd) > KEEP_SIZE_MAX)
        drop_zstd(inflater);
    inflater->is_oversize = false;
}

static void gzip_ready(struct inflater *inflater)
{
    if (inflater->gzip != NULL) {
        must(inflateReset(inflater->gzip) == Z_OK);
        return;
    }
    inflater->gzip = codec_gzip_new();
    must(inflateInit2(inflater->gzip, GZIP_WINDOW_BITS) == Z_OK);
}

static void lz4_ready(struct inflater *inflater)
{
    if (inflater->lz4 == NULL)
        inflater->lz4 = LZ4F_createDecompressionContext_advanced(codec_lz4_memory, LZ4F_VERSION);
    must(inflater->lz4 != NULL);
    LZ4F_resetDecompressionContext(inflater->lz4);
}

static void zstd_ready(struct inflater *inflater)
{
    if (inflater->zstd == NULL)
        inflater->zstd = ZSTD_createDCtx_advanced(codec_zstd_memory);
    must(inflater->zstd != NULL);
    size_t reset = ZSTD_DCtx_reset(inflater->zstd, ZSTD_reset_session_only);
    size_t window =
        ZSTD_DCtx_setParameter(inflater->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    must(ZSTD_isError(reset) == 0 && ZSTD_isError(window) == 0);
}

/* Kafka's Java reader demands independent blocks and knows no dictionaries. */
static bool lz4_header_is_readable(struct inflater *inflater)
{
    uint8_t head[6];
    if (inflater->input.len < sizeof(head))
        return false;
    span_peek(&inflater->input, head, sizeof(head));
    uint32_t magic =
        (uint32_t)head[3] << 24 | (uint32_t)head[2] << 16 | (uint32_t)head[1] << 8 | head[0];
    unsigned flags = head[4];
    inflater->is_oversize = ((head[5] >> 4) & 7) > LZ4_BLOCK_ID_64_KIB + 1;
    return magic == LZ4_FRAME_MAGIC && flags >> 6 == 1 && (flags & 0x20) != 0 && (flags & 3) == 0;
}

/* Finds out which of the two framings of snappy this is. */
static bool snappy_header_is_readable(struct inflater *inflater)
{
    uint8_t head[XERIAL_HEADER_SIZE];
    inflater->raw_snappy = true;
    if (inflater->input.len < XERIAL_MAGIC_SIZE)
        return inflater->input.len > 0;
    span_peek(&inflater->input, head, XERIAL_MAGIC_SIZE);
    if (memcmp(head, XERIAL_MAGIC, XERIAL_MAGIC_SIZE) != 0)
        return true;
    inflater->raw_snappy = false;
    if (inflater->input.len < sizeof(head))
        return false;
    span_take(&inflater->input, head, sizeof(head));
    return be32_at(head + 8) >= 1 && be32_at(head + 12) == 1;
}

static bool stream_ready(struct inflater *inflater)
{
    if (inflater->codec == CODEC_NONE)
        return true;
    if (inflater->codec == CODEC_SNAPPY)
        return snappy_header_is_readable(inflater);
    if (inflater->slice == NULL)
        inflater->slice = mem_alloc(CODEC_SLICE_SIZE_MAX);
    if (inflater->codec == CODEC_GZIP)
        gzip_ready(inflater);
    else if (inflater->codec == CODEC_ZSTD)
        zstd_ready(inflater);
    else if (inflater->codec != CODEC_LZ4 || !lz4_header_is_readable(inflater))
        return false;
    else
        lz4_ready(inflater);
    return true;
}

void inflater_start(struct inflater *inflater, enum codec codec, struct span input,
                    uint64_t output_max)
{
    release_oversize(inflater);
    inflater->codec = codec;
    inflater->input = input;
    inflater->output_left = output_max;
    inflater->stream_ended = false;
    inflater->block_len = inflater->block_at = 0;
    inflater->status = stream_ready(inflater) ? INFLATE_SLICE : INFLATE_BROKEN;
}

/* One call of a library: bytes in, bytes out, and whether its frame is complete. */
struct step {
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len;
    size_t used, made;
    bool frame_ended;
};

static enum inflate_status gzip_step(struct inflater *inflater, struct step *step)
{
    z_stream *gzip = inflater->gzip;
    gzip->next_in = step->in;
    gzip->avail_in = (unsigned)step->in_len;
    gzip->next_out = step->out;
    gzip->avail_out = (unsigned)step->out_len;
    int result = inflate(gzip, Z_NO_FLUSH);
    step->used = step->in_len - gzip->avail_in;
    step->made = step->out_len - gzip->avail_out;
    if (result == Z_STREAM_END) {
        step->frame_ended = true;
        return inflateReset(gzip) == Z_OK ? INFLATE_SLICE : INFLATE_BROKEN;
    }
    return result == Z_OK || result == Z_BUF_ERROR ? INFLATE_SLICE : INFLATE_BROKEN;
}

static enum inflate_status lz4_step(struct inflater *inflater, struct step *step)
{
    step->used = step->in_len;
    step->made = step->out_len;
    size_t hint =
        LZ4F_decompress(inflater->lz4, step->out, &step->made, step->in, &step->used, NULL);
    if (LZ4F_isError(hint) != 0)
        return INFLATE_BROKEN;
    step->frame_ended = hint == 0;
    return INFLATE_SLICE;
}

static enum inflate_status zstd_step(struct inflater *inflater, struct step *step)
{
    ZSTD_inBuffer in = {.src = step->in, .size = step->in_len};
    ZSTD_outBuffer out = {.dst = step->out, .size = step->out_len};
    size_t hint = ZSTD_decompressStream(inflater->zstd, &out, &in);
    if (ZSTD_isError(hint) != 0)
        return INFLATE_BROKEN;
    step->used = in.pos;
    step->made = out.pos;
    step->frame_ended = hint == 0;
    return INFLATE_SLICE;
}

static enum inflate_status stream_step(struct inflater *inflater, struct step *step)
{
    if (inflater->codec == CODEC_GZIP)
        return gzip_step(inflater, step);
    return inflater->codec == CODEC_LZ4 ? lz4_step(inflater, step) : zstd_step(inflater, step);
}

/* Fills one slice, from at most as much input. One byte more than the limit is asked for, because
 * only a byte that really comes out shows that the limit was passed. */
static enum inflate_status stream_slice(struct inflater *inflater, uint32_t *len)
{
    size_t room = (size_t)min_u64(CODEC_SLICE_SIZE_MAX, inflater->output_left + 1);
    size_t filled = 0;
    uint32_t input_left = CODEC_SLICE_SIZE_MAX;
    while (filled < room && input_left > 0) {
        uint32_t run;
        const uint8_t *in = span_front(&inflater->input, &run);
        if (run > input_left)
            run = input_left;
        struct step step = {
            .in = in, .in_len = run, .out = inflater->slice + filled, .out_len = room - filled};
        enum inflate_status status = stream_step(inflater, &step);
        if (status != INFLATE_SLICE)
            return status;
        span_advance(&inflater->input, (uint32_t)step.used);
        input_left -= (uint32_t)step.used;
        filled += step.made;
        inflater->stream_ended = step.frame_ended && inflater->input.len == 0;
        if (inflater->stream_ended)
            break;
        /* LZ4: a second frame would be invisible to Kafka's readers. */
        if (step.frame_ended && inflater->codec == CODEC_LZ4)
            return INFLATE_BROKEN;
        if (step.used == 0 && step.made == 0)
            return INFLATE_BROKEN;
    }
    if (filled > inflater->output_left)
        return INFLATE_TOO_LARGE;
    inflater->output_left -= filled;
    *len = (uint32_t)filled;
    return INFLATE_SLICE;
}

/* The next `len` bytes of the input in one piece; drops them. */
static const uint8_t *gather(struct inflater *inflater, uint32_t len)
{
    uint32_t run;
    const uint8_t *front = span_front(&inflater->input, &run);
    if (run >= len) {
        span_advance(&inflater->input, len);
        return front;
    }
    buffer_reserve(&inflater->gathered, &inflater->gathered_cap, len);
    span_take(&inflater->input, inflater->gathered, len);
    return inflater->gathered;
}

static enum inflate_status snappy_block(struct inflater *inflater)
{
    uint32_t len = inflater->input.len;
    if (!inflater->raw_snappy) {
        uint8_t head[4];
        if (inflater->input.len < sizeof(head))
            return INFLATE_BROKEN;
        span_take(&inflater->input, head, sizeof(head));
        len = be32_at(head);
    }
    if (len == 0 || len > inflater->input.len)
        return INFLATE_BROKEN;
    const uint8_t *in = gather(inflater, len);
    const char *from = (const char *)(const void *)in;
    size_t size;
    if (snappy_uncompressed_length(from, len, &size) != SNAPPY_OK ||
        size > (uint64_t)len * SNAPPY_RATIO_MAX)
        return INFLATE_BROKEN;
    if (size > inflater->output_left || size > UINT32_MAX)
        return INFLATE_TOO_LARGE;
    buffer_reserve(&inflater->block, &inflater->block_cap, max_u64(size, CODEC_SLICE_SIZE_MAX));
    if (snappy_uncompress(from, len, (char *)(void *)inflater->block, &size) != SNAPPY_OK)
        return INFLATE_BROKEN;
    inflater->output_left -= size;
    inflater->block_len = (uint32_t)size;
    inflater->block_at = 0;
    return INFLATE_SLICE;
}

static enum inflate_status snappy_slice(struct inflater *inflater, const uint8_t **data,
                                        uint32_t *len)
{
    if (inflater->block_at == inflater->block_len) {
        if (inflater->input.len == 0)
            return INFLATE_END;
        enum inflate_status status = snappy_block(inflater);
        if (status != INFLATE_SLICE)
            return status;
    }
    uint32_t run = inflater->block_len - inflater->block_at;
    *len = run < CODEC_SLICE_SIZE_MAX ? run : CODEC_SLICE_SIZE_MAX;
    *data = inflater->block + inflater->block_at;
    inflater->block_at += *len;
    return INFLATE_SLICE;
}

static enum inflate_status plain_slice(struct inflater *inflater, const uint8_t **data,
                                       uint32_t *len)
{
    if (inflater->input.len == 0)
        return INFLATE_END;
    uint32_t run;
    *data = span_front(&inflater->input, &run);
    if (run > CODEC_SLICE_SIZE_MAX)
        run = CODEC_SLICE_SIZE_MAX;
    if (run > inflater->output_left)
        return INFLATE_TOO_LARGE;
    span_advance(&inflater->input, run);
    inflater->output_left -= run;
    *len = run;
    return INFLATE_SLICE;
}

enum inflate_status inflater_next(struct inflater *inflater, const uint8_t **data, uint32_t *len)
{
    *data = NULL;
    *len = 0;
    if (inflater->status != INFLATE_SLICE)
        return inflater->status;
    if (inflater->codec == CODEC_NONE) {
        inflater->status = plain_slice(inflater, data, len);
    } else if (inflater->codec == CODEC_SNAPPY) {
        inflater->status = snappy_slice(inflater, data, len);
    } else if (inflater->stream_ended) {
        inflater->status = INFLATE_END;
    } else {
        *data = inflater->slice;
        inflater->status = stream_slice(inflater, len);
    }
    if (inflater->status != INFLATE_SLICE) {
        *len = 0;
        release_oversize(inflater);
    }
    return inflater->status;
}
