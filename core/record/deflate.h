/* SPDX-License-Identifier: Apache-2.0
 *
 * Compressing records: a whole batch at once for those who make batches, or as a stream, slice by
 * slice, for the broker that writes a batch in its topic's codec (core/record/recode.h). Snappy is
 * written with Kafka's (xerial) framing, LZ4 as a frame of independent 64 KiB blocks.
 */
#pragma once

#include "core/record/codec.h"

/* Zero-initialised by deflater_init; the fields are private. Contexts are allocated when a codec is
 * first used and kept for the next batch unless they are large. May move to another thread between
 * calls. */
struct deflater {
    struct z_stream_s *gzip;
    int gzip_level;
    struct LZ4F_cctx_s *lz4;
    struct ZSTD_CCtx_s *zstd;
    /* the stream */
    enum codec codec;
    uint8_t *out;
    size_t out_len, out_cap, out_max;
    bool too_large;
    uint8_t *block; /* snappy: what waits to be a whole block */
    size_t block_len;
};

/* Levels are the library's own; one that it does not have is the nearest or the default. */
#define CODEC_LEVEL_DEFAULT (-1000)

void deflater_init(struct deflater *deflater);
void deflater_fini(struct deflater *deflater);

/* Room that `len` bytes may need when compressed. */
size_t deflate_bound(enum codec codec, size_t len);

/* Compresses `len` bytes to `to`, which has room for deflate_bound(codec, len); returns the
 * compressed length. */
size_t deflater_run(struct deflater *deflater, enum codec codec, int level, const void *from,
                    size_t len, uint8_t *to);

/* Begins a stream of `len` bytes. What comes out stands behind `head` bytes of the caller's and
 * has, with them, at most `out_max` bytes. */
void deflater_start(struct deflater *deflater, enum codec codec, int level, uint64_t len,
                    size_t head, size_t out_max);
/* False: it would be more, now or before. */
bool deflater_put(struct deflater *deflater, const void *from, size_t len) warn_unused;
/* The head (unwritten) and the stream, *len bytes, the caller's to mem_free(); NULL: too large. */
uint8_t *deflater_end(struct deflater *deflater, size_t *len);
