/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record/deflate.h"

#include "core/record/codec_private.h"

#include <string.h>

#include "io/mem.h"

/* Grown by at least so much. */
#define OUT_STEP (64U << 10)
/* A match finder has a few times the window; of what levels above 19 would take, this leaves a
 * tenth. */
#define ZSTD_WINDOW_LOG_WRITE 23

static const LZ4F_preferences_t lz4_preferences = {
    .frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent}};

static void drop_gzip(struct deflater *deflater)
{
    if (deflater->gzip != NULL)
        (void)deflateEnd(deflater->gzip);
    mem_free(deflater->gzip);
    deflater->gzip = NULL;
}

void deflater_init(struct deflater *deflater)
{
    *deflater = (struct deflater){0};
}

void deflater_fini(struct deflater *deflater)
{
    drop_gzip(deflater);
    (void)LZ4F_freeCompressionContext(deflater->lz4);
    (void)ZSTD_freeCCtx(deflater->zstd);
    mem_free(deflater->out);
    mem_free(deflater->block);
    *deflater = (struct deflater){0};
}

size_t deflate_bound(enum codec codec, size_t len)
{
    switch (codec) {
    case CODEC_GZIP:
        /* zlib's bound for any parameters, and gzip's header and trailer. */
        return len + ((len + 7) >> 3) + ((len + 63) >> 6) + 5 + 18;
    case CODEC_SNAPPY:
        return XERIAL_HEADER_SIZE + (len / XERIAL_BLOCK_SIZE + 1) *
                                        (4 + snappy_max_compressed_length(XERIAL_BLOCK_SIZE));
    case CODEC_LZ4:
        return LZ4F_compressFrameBound(len, &lz4_preferences);
    case CODEC_ZSTD:
        return ZSTD_compressBound(len);
    case CODEC_NONE:
    default:
        return len;
    }
}

/* ---- contexts ---- */

static void gzip_ready(struct deflater *deflater, int level)
{
    if (level < Z_NO_COMPRESSION || level > Z_BEST_COMPRESSION)
        level = Z_DEFAULT_COMPRESSION;
    if (deflater->gzip != NULL && deflater->gzip_level != level)
        drop_gzip(deflater);
    if (deflater->gzip != NULL) {
        must(deflateReset(deflater->gzip) == Z_OK);
        return;
    }
    deflater->gzip = codec_gzip_new();
    must(deflateInit2(deflater->gzip, level, Z_DEFLATED, GZIP_WINDOW_BITS, 8, Z_DEFAULT_STRATEGY) ==
         Z_OK);
    deflater->gzip_level = level;
}

/* Begins a frame at `to`. */
static size_t lz4_begin(struct deflater *deflater, int level, uint8_t *to, size_t room)
{
    LZ4F_preferences_t preferences = lz4_preferences;
    preferences.compressionLevel = level == CODEC_LEVEL_DEFAULT ? 0 : level;
    if (deflater->lz4 == NULL)
        deflater->lz4 = LZ4F_createCompressionContext_advanced(codec_lz4_memory, LZ4F_VERSION);
    must(deflater->lz4 != NULL);
    size_t made = LZ4F_compressBegin(deflater->lz4, to, room, &preferences);
    must(LZ4F_isError(made) == 0);
    return made;
}

static void zstd_ready(struct deflater *deflater)
{
    if (deflater->zstd == NULL)
        deflater->zstd = ZSTD_createCCtx_advanced(codec_zstd_memory);
    must(deflater->zstd != NULL);
}

static size_t snappy_head(uint8_t *to)
{
    memcpy(to, XERIAL_MAGIC, XERIAL_MAGIC_SIZE);
    codec_put_be32(to + 8, 1);
    codec_put_be32(to + 12, 1);
    return XERIAL_HEADER_SIZE;
}

/* At most XERIAL_BLOCK_SIZE bytes, with their length in front. */
static size_t snappy_block(uint8_t *to, const uint8_t *from, size_t len)
{
    size_t made = snappy_max_compressed_length(len);
    must(snappy_compress((const char *)(const void *)from, len, (char *)(void *)(to + 4), &made) ==
         SNAPPY_OK);
    codec_put_be32(to, (uint32_t)made);
    return 4 + made;
}

/* ---- at once ---- */

static size_t gzip_run(struct deflater *deflater, int level, const uint8_t *from, size_t len,
                       uint8_t *to)
{
    gzip_ready(deflater, level);
    must(len <= UINT32_MAX / 2);
    z_stream *gzip = deflater->gzip;
    gzip->next_in = from;
    gzip->avail_in = (unsigned)len;
    gzip->next_out = to;
    gzip->avail_out = (unsigned)deflate_bound(CODEC_GZIP, len);
    must(deflate(gzip, Z_FINISH) == Z_STREAM_END);
    return gzip->total_out;
}

static size_t snappy_run(const uint8_t *from, size_t len, uint8_t *to)
{
    uint8_t *at = to + snappy_head(to);
    while (len > 0) {
        size_t run = min_u64(len, XERIAL_BLOCK_SIZE);
        at += snappy_block(at, from, run);
        from += run;
        len -= run;
    }
    return (size_t)(at - to);
}

static size_t lz4_run(struct deflater *deflater, int level, const uint8_t *from, size_t len,
                      uint8_t *to)
{
    size_t room = deflate_bound(CODEC_LZ4, len);
    size_t made = lz4_begin(deflater, level, to, room);
    size_t body = LZ4F_compressUpdate(deflater->lz4, to + made, room - made, from, len, NULL);
    must(LZ4F_isError(body) == 0);
    made += body;
    size_t end = LZ4F_compressEnd(deflater->lz4, to + made, room - made, NULL);
    must(LZ4F_isError(end) == 0);
    return made + end;
}

static size_t zstd_run(struct deflater *deflater, int level, const uint8_t *from, size_t len,
                       uint8_t *to)
{
    zstd_ready(deflater);
    if (level == CODEC_LEVEL_DEFAULT)
        level = ZSTD_CLEVEL_DEFAULT;
    size_t made = ZSTD_compressCCtx(deflater->zstd, to, ZSTD_compressBound(len), from, len, level);
    must(ZSTD_isError(made) == 0);
    return made;
}

size_t deflater_run(struct deflater *deflater, enum codec codec, int level, const void *from,
                    size_t len, uint8_t *to)
{
    switch (codec) {
    case CODEC_GZIP:
        return gzip_run(deflater, level, from, len, to);
    case CODEC_SNAPPY:
        return snappy_run(from, len, to);
    case CODEC_LZ4:
        return lz4_run(deflater, level, from, len, to);
    case CODEC_ZSTD:
        return zstd_run(deflater, level, from, len, to);
    case CODEC_NONE:
    default:
        memcpy(to, from, len);
        return len;
    }
}

/* ---- as a stream ---- */

/* Room for so much more. */
static uint8_t *out_reserve(struct deflater *deflater, size_t more)
{
    if (deflater->out_cap - deflater->out_len < more) {
        deflater->out_cap = max_u64(deflater->out_cap * 2, deflater->out_len + more + OUT_STEP);
        deflater->out = mem_realloc(deflater->out, deflater->out_cap);
    }
    return deflater->out + deflater->out_len;
}

static void out_made(struct deflater *deflater, size_t made)
{
    deflater->out_len += made;
    must(deflater->out_len <= deflater->out_cap);
    deflater->too_large = deflater->out_len > deflater->out_max;
}

static void zstd_start(struct deflater *deflater, int level, uint64_t len)
{
    zstd_ready(deflater);
    ZSTD_CCtx *zstd = deflater->zstd;
    (void)ZSTD_CCtx_reset(zstd, ZSTD_reset_session_and_parameters);
    size_t result = ZSTD_CCtx_setParameter(
        zstd, ZSTD_c_compressionLevel, level == CODEC_LEVEL_DEFAULT ? ZSTD_CLEVEL_DEFAULT : level);
    must(ZSTD_isError(result) == 0);
    if (len > (1ULL << ZSTD_WINDOW_LOG_WRITE))
        result = ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, ZSTD_WINDOW_LOG_WRITE);
    must(ZSTD_isError(result) == 0);
    result = ZSTD_CCtx_setPledgedSrcSize(zstd, len);
    must(ZSTD_isError(result) == 0);
}

void deflater_start(struct deflater *deflater, enum codec codec, int level, uint64_t len,
                    size_t head, size_t out_max)
{
    deflater->codec = codec;
    deflater->out_len = head;
    deflater->out_max = out_max;
    deflater->too_large = false;
    deflater->block_len = 0;
    deflater->out_cap = head + min_u64(len, out_max) / 4 + OUT_STEP;
    mem_free(deflater->out);
    deflater->out = mem_alloc(deflater->out_cap);
    switch (codec) {
    case CODEC_GZIP:
        gzip_ready(deflater, level);
        break;
    case CODEC_SNAPPY:
        if (deflater->block == NULL)
            deflater->block = mem_alloc(XERIAL_BLOCK_SIZE);
        out_made(deflater, snappy_head(out_reserve(deflater, XERIAL_HEADER_SIZE)));
        break;
    case CODEC_LZ4: {
        uint8_t *to = out_reserve(deflater, LZ4F_HEADER_SIZE_MAX);
        out_made(deflater, lz4_begin(deflater, level, to, LZ4F_HEADER_SIZE_MAX));
        break;
    }
    case CODEC_ZSTD:
        zstd_start(deflater, level, len);
        break;
    case CODEC_NONE:
    default:
        break;
    }
}

/* Until the input is used up, or (at the end) nothing more comes. */
static void gzip_put(struct deflater *deflater, const uint8_t *from, size_t len, int flush)
{
    z_stream *gzip = deflater->gzip;
    gzip->next_in = from;
    gzip->avail_in = (unsigned)len;
    int result = Z_OK;
    while (!deflater->too_large &&
           (flush == Z_FINISH ? result != Z_STREAM_END : gzip->avail_in > 0)) {
        gzip->next_out = out_reserve(deflater, OUT_STEP);
        gzip->avail_out = OUT_STEP;
        result = deflate(gzip, flush);
        must(result == Z_OK || result == Z_STREAM_END);
        out_made(deflater, OUT_STEP - gzip->avail_out);
    }
}

static void zstd_put(struct deflater *deflater, const uint8_t *from, size_t len,
                     ZSTD_EndDirective end)
{
    ZSTD_inBuffer in = {.src = from, .size = len};
    size_t left = 1;
    while (!deflater->too_large && (end == ZSTD_e_end ? left > 0 : in.pos < in.size)) {
        ZSTD_outBuffer out = {.dst = out_reserve(deflater, OUT_STEP), .size = OUT_STEP};
        left = ZSTD_compressStream2(deflater->zstd, &out, &in, end);
        must(ZSTD_isError(left) == 0);
        out_made(deflater, out.pos);
    }
}

static void snappy_flush(struct deflater *deflater)
{
    if (deflater->block_len == 0)
        return;
    uint8_t *to = out_reserve(deflater, 4 + snappy_max_compressed_length(XERIAL_BLOCK_SIZE));
    out_made(deflater, snappy_block(to, deflater->block, deflater->block_len));
    deflater->block_len = 0;
}

static void snappy_put(struct deflater *deflater, const uint8_t *from, size_t len)
{
    while (len > 0 && !deflater->too_large) {
        size_t run = min_u64(len, XERIAL_BLOCK_SIZE - deflater->block_len);
        memcpy(deflater->block + deflater->block_len, from, run);
        deflater->block_len += run;
        from += run;
        len -= run;
        if (deflater->block_len == XERIAL_BLOCK_SIZE)
            snappy_flush(deflater);
    }
}

static void lz4_put(struct deflater *deflater, const uint8_t *from, size_t len)
{
    size_t room = LZ4F_compressBound(len, &lz4_preferences);
    uint8_t *to = out_reserve(deflater, room);
    size_t made = from != NULL ? LZ4F_compressUpdate(deflater->lz4, to, room, from, len, NULL)
                               : LZ4F_compressEnd(deflater->lz4, to, room, NULL);
    must(LZ4F_isError(made) == 0);
    out_made(deflater, made);
}

bool deflater_put(struct deflater *deflater, const void *from, size_t len)
{
    if (deflater->too_large)
        return false;
    switch (deflater->codec) {
    case CODEC_GZIP:
        gzip_put(deflater, from, len, Z_NO_FLUSH);
        break;
    case CODEC_SNAPPY:
        snappy_put(deflater, from, len);
        break;
    case CODEC_LZ4:
        lz4_put(deflater, from, len);
        break;
    case CODEC_ZSTD:
        zstd_put(deflater, from, len, ZSTD_e_continue);
        break;
    case CODEC_NONE:
    default:
        memcpy(out_reserve(deflater, len), from, len);
        out_made(deflater, len);
    }
    return !deflater->too_large;
}

static void stream_end(struct deflater *deflater)
{
    if (deflater->codec == CODEC_GZIP)
        gzip_put(deflater, NULL, 0, Z_FINISH);
    else if (deflater->codec == CODEC_SNAPPY)
        snappy_flush(deflater);
    else if (deflater->codec == CODEC_LZ4)
        lz4_put(deflater, NULL, 0);
    else if (deflater->codec == CODEC_ZSTD)
        zstd_put(deflater, NULL, 0, ZSTD_e_end);
}

uint8_t *deflater_end(struct deflater *deflater, size_t *len)
{
    if (!deflater->too_large)
        stream_end(deflater);
    uint8_t *out = deflater->out;
    deflater->out = NULL;
    if (deflater->too_large) {
        mem_free(out);
        out = NULL;
    }
    *len = out != NULL ? deflater->out_len : 0;
    if (deflater->zstd != NULL && ZSTD_sizeof_CCtx(deflater->zstd) > KEEP_SIZE_MAX) {
        (void)ZSTD_freeCCtx(deflater->zstd);
        deflater->zstd = NULL;
    }
    return out;
}
