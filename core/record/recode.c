/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record/recode.h"

#include "io/mem.h"

static bool pump(struct recode *recode, struct inflater *inflater, struct deflater *deflater,
                 enum codec codec, struct span records)
{
    enum inflate_status status;
    inflater_start(inflater, codec, records, recode->plain_bytes);
    for (;;) {
        const uint8_t *data;
        uint32_t len;
        status = inflater_next(inflater, &data, &len);
        if (status != INFLATE_SLICE)
            return status == INFLATE_END;
        if (recode->mistake_cut && len > 1)
            len--;
        if (len > 0 && !deflater_put(deflater, data, len))
            return true; /* deflater_end() tells */
    }
}

void recode_run(struct recode *recode, struct inflater *inflater, struct deflater *deflater)
{
    struct batch_header header;
    struct span records = recode->batch;
    size_t len;
    recode->bytes = NULL;
    recode->status = RECODE_BROKEN;
    if (!batch_header_read(&header, &recode->batch))
        return;
    const enum codec codec = (enum codec)batch_codec(&header);
    span_advance(&records, BATCH_HEADER_SIZE);
    deflater_start(deflater, recode->codec, recode->level, recode->plain_bytes, BATCH_HEADER_SIZE,
                   recode->bytes_max);
    bool whole = pump(recode, inflater, deflater, codec, records);
    uint8_t *bytes = deflater_end(deflater, &len);
    recode->status = !whole ? RECODE_BROKEN : bytes == NULL ? RECODE_TOO_LARGE : RECODE_OK;
    if (recode->status != RECODE_OK) {
        mem_free(bytes);
        return;
    }
    struct piece piece;
    header.attributes =
        (uint16_t)((header.attributes & ~(unsigned)BATCH_CODEC_MASK) | (unsigned)recode->codec);
    header.length = (int32_t)(len - BATCH_LENGTH_END);
    batch_header_put(&header, bytes);
    header.crc = batch_crc(span_of(&piece, bytes, (uint32_t)len));
    batch_header_put(&header, bytes);
    recode->bytes = bytes;
    recode->len = (uint32_t)len;
}
