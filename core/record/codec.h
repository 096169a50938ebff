/* SPDX-License-Identifier: Apache-2.0
 *
 * The four compression codecs of a record batch, behind one pull interface.
 *
 * A compressed batch is a lie waiting to happen: 1 KiB may claim 4 GiB. So nothing is ever inflated
 * as a whole. An inflater reads a span and hands out the plain bytes in slices of at most 64 KiB;
 * between two slices the caller may stop, yield its turn or give up, and it says beforehand how
 * many bytes it is willing to see in all. A call also takes at most 64 KiB of input, so that input
 * which yields nothing (empty blocks) cannot hold a shard either.
 *
 * The exception is snappy: its library works on whole blocks. Kafka's own framing has blocks of
 * 32 KiB, but librdkafka and the Go clients send one raw block per batch, whose copies may reach
 * back to its beginning. Such a block is inflated in one call, into memory bounded by its own
 * length (22 times, the most the format can do) and by the limit. Who cannot wait for that hands
 * batches of more than 64 KiB to a helper thread.
 *
 * What Kafka's own readers refuse is refused here too, because a batch that is accepted has to be
 * readable by every client: LZ4 frames with dependent blocks or a dictionary, a second LZ4 frame,
 * bytes after the end. Several gzip members or zstd frames in a row are read as one.
 *
 * Contexts are explicit and reused: an inflater or deflater is created once per owner and serves
 * one stream at a time. It may move to another thread between calls.
 */
#pragma once

#include "io/span.h"

/* The values are those of the attributes of a record batch, bits 0 to 2. */
enum codec {
    CODEC_NONE = 0,
    CODEC_GZIP = 1,
    CODEC_SNAPPY = 2,
    CODEC_LZ4 = 3,
    CODEC_ZSTD = 4,
};
#define CODEC_COUNT 5

#define CODEC_SLICE_SIZE_MAX 65536U

/* No batch may come out of its compression larger than this (bombs): a produce is refused then, at
 * less where messages are small (core/partition/partition_append.c), and so whoever reads what was
 * accepted asks for no more. */
#define INFLATED_BYTES_MAX (1ULL << 30)

/* As Kafka spells them in compression.type; NULL for an unknown value. */
const char *codec_name(int codec);
/* False for an unknown name. "uncompressed" and "none" are both CODEC_NONE. */
bool codec_of_name(const char *name, enum codec *codec);

enum inflate_status {
    INFLATE_SLICE,     /* here are some bytes, perhaps none yet; call again */
    INFLATE_END,       /* the stream ended properly, with its input */
    INFLATE_BROKEN,    /* the input is not what its codec says, or is cut off, or goes on too far */
    INFLATE_TOO_LARGE, /* the output passes the limit */
};

/* Zero-initialised by inflater_init; the fields are private. About 150 bytes; contexts and buffers
 * are allocated when a codec is first used: gzip 40 KiB, snappy and slices 64 KiB each, LZ4 128
 * KiB, zstd 160 KiB plus its window. Those of unusual size are released at the end of the stream.
 */
struct inflater {
    enum codec codec;
    enum inflate_status status;
    bool stream_ended;
    bool raw_snappy;
    bool is_oversize;
    struct span input;
    uint64_t output_left;
    struct z_stream_s *gzip;
    struct LZ4F_dctx_s *lz4;
    struct ZSTD_DCtx_s *zstd;
    uint8_t *slice;
    /* Snappy: the block that is handed out, and the place where a block in pieces is put together.
     */
    uint8_t *block, *gathered;
    uint32_t block_len, block_at;
    size_t block_cap, gathered_cap;
};

void inflater_init(struct inflater *inflater);
void inflater_fini(struct inflater *inflater);

/* Begins a stream over `input`, whose pieces must live until its end; a stream before it is
 * forgotten. At most `output_max` bytes will come out. CODEC_NONE hands out the input itself. */
void inflater_start(struct inflater *inflater, enum codec codec, struct span input,
                    uint64_t output_max);

/* The next slice: *data is valid until the next call. Any status but INFLATE_SLICE is final and
 * comes again when called again, with *len 0. */
enum inflate_status inflater_next(struct inflater *inflater, const uint8_t **data, uint32_t *len);

/* Bytes that have not come out yet, of those that may. */
static inline uint64_t inflater_left(const struct inflater *inflater)
{
    return inflater->output_left;
}
