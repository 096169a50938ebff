/* SPDX-License-Identifier: Apache-2.0
 *
 * Checksums and the check of a produced batch, for the benchmarks.
 */
#include "bench/shim.h"
#include "core/record/batch_builder.h"
#include "core/record/batch_check.h"
#include "io/crc.h"
#include "io/mem.h"

#include <string.h>

#define WALL_MS      1700000000000LL
#define RECORD_BYTES 1024U
#define LEVEL        3 /* of gzip and zstd; what takes the check's time is the inflating */

uint32_t shim_crc(const void *data, size_t len)
{
    return crc32c(0, data, len);
}

uint32_t shim_crc_copy(void *to, const void *from, size_t len)
{
    return crc32c_copy(0, to, from, len);
}

struct shim_batch {
    struct batch_builder builder;
    struct deflater deflater;
    struct inflater inflater;
    struct batch_rules rules;
    struct batch_check check;
    struct piece piece;
    const uint8_t *bytes;
    size_t len;
};

unsigned shim_codecs(void)
{
    return CODEC_COUNT;
}

const char *shim_codec_of(unsigned codec)
{
    return codec_name((int)codec);
}

struct shim_batch *shim_batch_open(unsigned codec, uint32_t plain_bytes)
{
    struct shim_batch *batch = mem_zalloc(sizeof(*batch));
    uint8_t value[RECORD_BYTES];
    uint64_t random = 88172645463325252U;
    inflater_init(&batch->inflater);
    deflater_init(&batch->deflater);
    batch_builder_init(&batch->builder);
    batch_builder_start(&batch->builder);
    memset(value, 'v', sizeof(value));
    while (batch_builder_size(&batch->builder) < plain_bytes) {
        for (uint32_t i = 0; i < RECORD_BYTES / 2; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            value[i] = (uint8_t)random;
        }
        struct bytes_or_null bytes = {.data = value, .len = RECORD_BYTES};
        batch_builder_add(&batch->builder, WALL_MS, BYTES_NULL, bytes, NULL, 0);
    }
    batch->len = batch_builder_finish(&batch->builder, &batch->deflater, (enum codec)codec, LEVEL,
                                      &batch->bytes);
    batch->rules = (struct batch_rules){.now_ms = WALL_MS,
                                        .timestamp_before_max_ms = INT64_MAX,
                                        .timestamp_after_max_ms = INT64_MAX,
                                        .inflated_bytes_max = 1U << 30,
                                        .message_bytes_max = 64 << 20,
                                        .segment_bytes = 1 << 30,
                                        .zstd_allowed = true};
    return batch;
}

size_t shim_batch_bytes(const struct shim_batch *batch)
{
    return batch->len;
}

void shim_batch_check(struct shim_batch *batch)
{
    struct span span = span_of(&batch->piece, batch->bytes, (uint32_t)batch->len);
    batch_check_start(&batch->check, &batch->rules, &batch->inflater, span);
    enum batch_verdict verdict = BATCH_MORE;
    while (verdict == BATCH_MORE)
        verdict = batch_check_step(&batch->check, 4);
    must(verdict == BATCH_GOOD);
}

void shim_batch_close(struct shim_batch *batch)
{
    inflater_fini(&batch->inflater);
    deflater_fini(&batch->deflater);
    batch_builder_fini(&batch->builder);
    mem_free(batch);
}
